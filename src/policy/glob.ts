/**
 * Deny patterns: what a glob means, and whether a path matches it.
 *
 * Pure. `*` and `?` stay within one name, `[a-z]`, `[!x]` and `[^x]` are classes (an unclosed `[` is itself), `{a,b}` are
 * alternatives, `\` takes the next character as itself, and a component `**` is any number of directories; at the end it is
 * everything below. Names that begin with a dot match like others. Matching compares characters where a name is UTF-8 and bytes where it isn't,
 * and takes at most (length of name × length of component) steps.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import {
  type Component,
  isDotDot,
  type Parser,
  parseSequence,
  splitComponents,
  type Token,
  unitsOf,
} from "./glob_parser.ts";
import { type AbsPath, ROOT, toAbsPath } from "./path.ts";
import { fail, ok, type Result } from "../result.ts";

/** A choice of ours: what a person writes stays far below, and cost stays bounded. */
const MAX_GLOB_BYTES = 4_096;
/** States of a walk are bits of one 32-bit number. */
const MAX_GLOB_COMPONENTS = 30;

/** A pattern, ready to match. */
export interface Glob {
  readonly pattern: ByteString;
  /** The directory that holds everything that can match. */
  readonly prefix: AbsPath;
  /** What follows the prefix, one list for each alternative that braces spell out. */
  readonly alternatives: readonly (readonly Component[])[];
}

/** Whether a path entry is a pattern: braces alone make none. */
export function isGlob(path: string): boolean {
  return path.includes("*") || path.includes("?") || path.includes("[") ||
    path.includes("]");
}

/** The directory before the first component that isn't plain text; braces count there, since `path` is known to be a glob. */
export function globPrefix(pattern: ByteString): AbsPath {
  const plain = pattern.slice(0, plainEndOf(pattern));
  return toAbsPath(plain.replace(/\\(.)/gs, "$1")) ?? ROOT;
}

/** `path` as the beginning of a pattern: every character stands for itself, and {@linkcode globPrefix} sees through it. */
export function escapeGlob(path: AbsPath): ByteString {
  return path.replace(/[*?[\]{}\\]/g, "\\$&") as ByteString;
}

/** Where the last `/` before the first special character stands; one behind a `\` is not special. */
function plainEndOf(pattern: ByteString): number {
  let slash = 0;
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at]!;
    if (char === "/") slash = at;
    // A slash can't be escaped.
    else if (char === "\\" && pattern[at + 1] !== "/") at++;
    else if (/[*?[\]{}\\]/.test(char)) return slash;
  }
  return slash;
}

/** The compiled form of an absolute pattern. The error is one line with the fragment `error parsing glob`. */
export function compileGlob(pattern: ByteString): Result<Glob, string> {
  const bad = (why: string): Result<Glob, string> =>
    fail(`error parsing glob "${toText(pattern)}": ${why}`);
  if (!pattern.startsWith("/")) return bad("it must be absolute");
  if (pattern.length > MAX_GLOB_BYTES) {
    return bad(`it is longer than ${MAX_GLOB_BYTES} bytes`);
  }
  const prefix = globPrefix(pattern);
  const plainEnd = plainEndOf(pattern);
  const units = unitsOf(pattern.slice(plainEnd + 1) as ByteString);
  const parser: Parser = { units, at: 0, error: null };
  const lists = parseSequence(parser, 0);
  if (lists === null) return bad(parser.error ?? "it can't be read");
  const alternatives: Component[][] = [];
  for (const tokens of lists) {
    const components = splitComponents(tokens);
    if (components.length === 0) return bad("it matches its own directory");
    if (components.length > MAX_GLOB_COMPONENTS) {
      return bad(`it has more than ${MAX_GLOB_COMPONENTS} components`);
    }
    if (components.some(isDotDot)) return bad('it has a component ".."');
    alternatives.push(components);
  }
  return ok({ pattern, prefix, alternatives });
}

/** The state before the first name. */
export const START = 1;

/**
 * The state after `name`: bit n means that the first n components have been matched. 0: nothing below can match.
 */
export function step(
  components: readonly Component[],
  state: number,
  name: ByteString,
): number {
  let next = 0;
  for (
    let index = 0, live = closed(components, state);
    live >>> index;
    index++
  ) {
    if ((live & (1 << index)) === 0) continue;
    const component = components[index];
    if (component === undefined) continue;
    if (component.kind === "deep") {
      next |= 1 << index;
      // At the end it takes at least one name.
      if (index === components.length - 1) next |= 1 << (index + 1);
    } else if (matchesName(component, name)) next |= 1 << (index + 1);
  }
  return next;
}

/** Whether a name that led to `state` is matched. */
export function isAccepted(
  components: readonly Component[],
  state: number,
): boolean {
  return (state & (1 << components.length)) !== 0;
}

/** `state` with what a `**` in the middle adds by standing for nothing. */
export function closed(
  components: readonly Component[],
  state: number,
): number {
  let live = state;
  for (let index = 0; index < components.length - 1; index++) {
    if ((live & (1 << index)) && components[index]?.kind === "deep") {
      live |= 1 << (index + 1);
    }
  }
  return live;
}

/** Whether one component matches one name. */
export function matchesName(
  component: Extract<Component, { kind: "name" }>,
  name: ByteString,
): boolean {
  if (component.literal !== null) return component.literal === name;
  if (!name.endsWith(component.suffix)) return false;
  return matchesUnits(component.tokens, unitsOf(name));
}

/** Wildcard matching that goes back to the last star only: an earlier one could gain nothing. */
function matchesUnits(
  tokens: readonly Token[],
  units: readonly number[],
): boolean {
  let token = 0;
  let unit = 0;
  let star = -1;
  let resume = 0;
  while (unit < units.length) {
    const current = tokens[token];
    if (current?.kind === "star") {
      star = token++;
      resume = unit;
    } else if (current !== undefined && takes(current, units[unit] ?? -1)) {
      token++;
      unit++;
    } else if (star !== -1) {
      token = star + 1;
      unit = ++resume;
    } else return false;
  }
  while (tokens[token]?.kind === "star") token++;
  return token === tokens.length;
}

function takes(token: Token, unit: number): boolean {
  switch (token.kind) {
    case "unit":
      return token.unit === unit;
    case "any":
      return true;
    case "class": {
      const isIn = token.ranges.some(([low, high]) =>
        low <= unit && unit <= high
      );
      return isIn !== token.isNegated;
    }
    default:
      return false;
  }
}
