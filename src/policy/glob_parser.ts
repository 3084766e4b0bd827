/**
 * The words of a deny pattern: units, tokens, components.
 *
 * Pure.
 *
 * @module
 */
import { type ByteString, decodeText, isAscii } from "../bytes.ts";

export type Parser = {
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
export function parseSequence(parser: Parser, depth: number): Token[][] | null {
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

export function splitComponents(tokens: readonly Token[]): Component[] {
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

export function isDotDot(component: Component): boolean {
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

/** A choice of ours: what a person writes stays far below, and cost stays bounded. */
const MAX_ALTERNATIVES = 256;
