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
import { type ByteString, decodeText, isAscii, toText } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import { type AbsPath, isInside, ROOT, toAbsPath } from "./path.ts";

/** Choices of ours: what a person writes stays far below, and cost stays bounded. */
export const MAX_GLOB_BYTES = 4_096;
export const MAX_ALTERNATIVES = 256;
/** States of a walk are bits of one 32-bit number. */
export const MAX_GLOB_COMPONENTS = 30;

/** A pattern, ready to match. */
export interface Glob {
  readonly pattern: ByteString;
  /** The directory that holds everything that can match. */
  readonly prefix: AbsPath;
  /** What follows the prefix, one list for each alternative that braces spell out. */
  readonly alternatives: readonly (readonly Component[])[];
}

/** One component of a pattern. */
export type Component =
  /** `**` */
  | { readonly kind: "deep" }
  | {
    readonly kind: "name";
    readonly tokens: readonly Token[];
    /** The only name that matches, where there is just one. */
    readonly literal: ByteString | null;
    /** Bytes that every matching name ends with: a quick no. */
    readonly suffix: ByteString;
  };

/** One or more characters of a name. Units are code points, or {@linkcode BYTE_UNITS} plus a byte that is not UTF-8. */
export type Token =
  | { readonly kind: "unit"; readonly unit: number }
  | { readonly kind: "any" }
  | { readonly kind: "star"; readonly count: number }
  | {
    readonly kind: "class";
    readonly isNegated: boolean;
    readonly ranges: readonly (readonly [number, number])[];
  }
  | { readonly kind: "slash" };

/** Above every code point: stray bytes as units of their own. */
const BYTE_UNITS = 0x110000;

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

/** Whether the pattern names `path` itself. Being below a match is not matching. */
export function matchesPath(glob: Glob, path: AbsPath): boolean {
  if (path === glob.prefix || !isInside(path, { root: glob.prefix })) {
    return false;
  }
  const rest = path.slice(glob.prefix === ROOT ? 1 : glob.prefix.length + 1);
  const names = rest.split("/") as ByteString[];
  return glob.alternatives.some((components) => {
    let state = START;
    for (const [index, name] of names.entries()) {
      state = step(components, state, name);
      if (state === 0) return false;
      if (index === names.length - 1) return isAccepted(components, state);
    }
    return false;
  });
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

/** The units of a name: code points where the bytes are UTF-8, stray bytes otherwise. */
export function unitsOf(bytes: ByteString): readonly number[] {
  const units: number[] = [];
  const text = isAscii(bytes) ? bytes : decodeText(bytes);
  if (text !== null) {
    for (const char of text) units.push(char.codePointAt(0) ?? 0);
    return units;
  }
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(bytes, at);
    if (length === 0) units.push(BYTE_UNITS + bytes.charCodeAt(at++));
    else {
      const char = decodeText(bytes.slice(at, at + length) as ByteString);
      units.push(char?.codePointAt(0) ?? 0);
      at += length;
    }
  }
  return units;
}

/** Bytes of the UTF-8 character at `at`, 0 when there is none. */
function characterLength(bytes: ByteString, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    const char = decodeText(bytes.slice(at, at + length) as ByteString);
    if (char !== null) return length;
  }
  return 0;
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

type Parser = {
  readonly units: readonly number[];
  at: number;
  error: string | null;
};

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const SLASH = 0x2f;
const MINUS = 0x2d;
const NOT = [0x21, 0x5e];

const MAX_BRACE_DEPTH = 16;

/** All spellings from here to the end, or to the `,` or `}` that ends an alternative. */
function parseSequence(parser: Parser, depth: number): Token[][] | null {
  let lists: Token[][] = [[]];
  while (parser.at < parser.units.length) {
    const unit = parser.units[parser.at] ?? 0;
    if (depth > 0 && (unit === COMMA || unit === CLOSE_BRACE)) return lists;
    if (unit === CLOSE_BRACE) return refuse(parser, 'a "}" without "{"');
    if (unit === OPEN_BRACE) {
      const choices = parseBraces(parser, depth + 1);
      if (choices === null) return null;
      if (lists.length * choices.length > MAX_ALTERNATIVES) {
        return refuse(parser, `more than ${MAX_ALTERNATIVES} alternatives`);
      }
      lists = lists.flatMap((list) =>
        choices.map((choice) => [...list, ...choice])
      );
      continue;
    }
    const token = parseToken(parser);
    if (token === null) return null;
    for (const list of lists) list.push(token);
  }
  return depth === 0 ? lists : refuse(parser, 'a "{" without "}"');
}

function parseBraces(parser: Parser, depth: number): Token[][] | null {
  if (depth > MAX_BRACE_DEPTH) return refuse(parser, "braces are too deep");
  const choices: Token[][] = [];
  do {
    parser.at++;
    const choice = parseSequence(parser, depth);
    if (choice === null) return null;
    choices.push(...choice);
    if (choices.length > MAX_ALTERNATIVES) {
      return refuse(parser, `more than ${MAX_ALTERNATIVES} alternatives`);
    }
  } while (parser.units[parser.at] === COMMA);
  parser.at++;
  return choices;
}

function refuse(parser: Parser, why: string): null {
  parser.error ??= why;
  return null;
}

function parseToken(parser: Parser): Token | null {
  const unit = parser.units[parser.at++] ?? 0;
  switch (unit) {
    case STAR: {
      let count = 1;
      while (parser.units[parser.at] === STAR) {
        parser.at++;
        count++;
      }
      return { kind: "star", count };
    }
    case QUESTION:
      return { kind: "any" };
    case SLASH:
      return { kind: "slash" };
    case BACKSLASH: {
      const next = parser.units[parser.at++];
      if (next === undefined) return refuse(parser, "it ends with a backslash");
      return next === SLASH
        ? refuse(parser, 'a backslash before "/"')
        : { kind: "unit", unit: next };
    }
    case OPEN:
      return parseClass(parser);
    default:
      return { kind: "unit", unit };
  }
}

/** After the `[`. Without a `]` the bracket is itself. A `]` in the first place, and a `-` at either end, are members. */
function parseClass(parser: Parser): Token | null {
  const { units } = parser;
  let at = parser.at;
  const isNegated = NOT.includes(units[at] ?? 0);
  if (isNegated) at++;
  const end = units.indexOf(CLOSE, at + 1);
  if (end === -1) return { kind: "unit", unit: OPEN };
  const ranges: [number, number][] = [];
  while (at < end) {
    const low = units[at++] ?? 0;
    if (units[at] !== MINUS || at + 1 >= end) {
      ranges.push([low, low]);
      continue;
    }
    const high = units[at + 1] ?? 0;
    if (high < low) {
      const shown = `${printable(low)}-${printable(high)}`;
      return refuse(parser, `invalid range "${shown}"`);
    }
    ranges.push([low, high]);
    at += 2;
  }
  parser.at = end + 1;
  return { kind: "class", isNegated, ranges };
}

function printable(unit: number): string {
  return unit < BYTE_UNITS
    ? String.fromCodePoint(unit)
    : `\\x${(unit - BYTE_UNITS).toString(16)}`;
}

function splitComponents(tokens: readonly Token[]): Component[] {
  const components: Component[] = [];
  let current: Token[] = [];
  for (const token of [...tokens, { kind: "slash" } as const]) {
    if (token.kind !== "slash") {
      current.push(token);
      continue;
    }
    const component = componentOf(current);
    current = [];
    if (component === null) continue;
    const last = components[components.length - 1];
    if (component.kind === "deep" && last?.kind === "deep") continue;
    components.push(component);
  }
  return components;
}

/** `null` for an empty component and for `.`, which name nothing of their own. */
function componentOf(tokens: readonly Token[]): Component | null {
  if (tokens.length === 0) return null;
  if (tokens.every((token) => token.kind === "star")) {
    const count = tokens.reduce(
      (sum, token) => sum + (token.kind === "star" ? token.count : 0),
      0,
    );
    if (count > 1) return { kind: "deep" };
  }
  const suffix = literalSuffix(tokens);
  const isLiteral = tokens.every((token) => token.kind === "unit");
  const literal = isLiteral ? suffix : null;
  if (literal === ".") return null;
  return { kind: "name", tokens, literal, suffix };
}

function isDotDot(component: Component): boolean {
  return component.kind === "name" && component.literal === "..";
}

function literalSuffix(tokens: readonly Token[]): ByteString {
  let suffix = "";
  for (let index = tokens.length - 1; index >= 0; index--) {
    const token = tokens[index];
    if (token?.kind !== "unit") break;
    suffix = bytesOf(token.unit) + suffix;
  }
  return suffix as ByteString;
}

function bytesOf(unit: number): string {
  return unit < BYTE_UNITS
    ? Buffer.from(String.fromCodePoint(unit), "utf8").toString("latin1")
    : String.fromCharCode(unit - BYTE_UNITS);
}
