/**
 * Strict JSON (RFC 8259), for policies that come from other programs.
 *
 * Pure. Stricter than `JSON.parse`, equal where both accept: duplicate keys, lone surrogates, a byte order mark, bytes that are not
 * UTF-8, more than {@linkcode MAX_JSON_DEPTH} levels and more than {@linkcode MAX_JSON_BYTES} are errors. Numbers keep their text, so
 * that `1` and `1.0` stay apart.
 *
 * @module
 */
import { type ByteString, decodeText } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";

/** Choice of ours: a policy of 2,000 entries has about 200 KiB. */
export const MAX_JSON_BYTES = 1_048_576;
/** Choice of ours; a permission profile has 6 levels. */
const MAX_JSON_DEPTH = 64;

/** A value and where it starts. `at` is an offset in UTF-16 units, from 0. */
export type JsonValue =
  | { readonly kind: "null"; readonly at: number }
  | { readonly kind: "boolean"; readonly at: number; readonly value: boolean }
  | {
    readonly kind: "number";
    readonly at: number;
    readonly value: number;
    readonly text: string;
  }
  | { readonly kind: "string"; readonly at: number; readonly value: string }
  | {
    readonly kind: "array";
    readonly at: number;
    readonly items: readonly JsonValue[];
  }
  | JsonObject;

/** Members in their order; every key once. */
export interface JsonObject {
  readonly kind: "object";
  readonly at: number;
  readonly members: ReadonlyMap<string, JsonValue>;
}

/** What is wrong with a text, and where. */
export interface JsonError {
  /** UTF-16 units from 0; bytes when the text is not UTF-8 or too long. */
  readonly at: number;
  /** One line, no full stop, with the offset. */
  readonly message: string;
}

/** The one value that `bytes` spell. */
export function readJson(bytes: ByteString): Result<JsonValue, JsonError> {
  if (bytes.length > MAX_JSON_BYTES) {
    return fail(errorAt(
      MAX_JSON_BYTES,
      `the text has ${bytes.length} bytes, at most ${MAX_JSON_BYTES} are read`,
    ));
  }
  const text = decodeText(bytes);
  if (text === null) {
    const at = invalidByteOffset(bytes);
    return fail(errorAt(at, "the text is not UTF-8"));
  }
  if (text.startsWith("\uFEFF")) {
    return fail(errorAt(0, "the text starts with a byte order mark"));
  }
  const reader: Reader = { text, at: 0, error: null };
  skipSpace(reader);
  const value = readValue(reader, 1);
  if (value !== null) {
    skipSpace(reader);
    if (reader.at < text.length) refuse(reader, "text after the value");
  }
  if (reader.error !== null) return fail(reader.error);
  if (value === null) throw new Error("no value and no error");
  return ok(value);
}

type Reader = { readonly text: string; at: number; error: JsonError | null };

function errorAt(at: number, what: string): JsonError {
  return { at, message: `${what} at offset ${at}` };
}

/** Keeps the first error; the value that led to it is `null`. */
function refuse(reader: Reader, what: string, at = reader.at): null {
  reader.error ??= errorAt(at, what);
  return null;
}

/** The first offset up to which the bytes are UTF-8. */
function invalidByteOffset(bytes: ByteString): number {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    // A character cut in two at the middle is not the fault that is looked for: up to 3 bytes are given back.
    const whole = [0, 1, 2, 3].some((less) =>
      middle - less >= 0 &&
      decodeText(bytes.slice(0, middle - less) as ByteString) !== null
    );
    if (whole) good = middle;
    else bad = middle;
  }
  while (
    good > 0 && decodeText(bytes.slice(0, good) as ByteString) === null
  ) good--;
  return good;
}

function skipSpace(reader: Reader): void {
  for (;;) {
    const code = reader.text.charCodeAt(reader.at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) {
      return;
    }
    reader.at++;
  }
}

function readValue(reader: Reader, depth: number): JsonValue | null {
  const at = reader.at;
  switch (reader.text[at]) {
    case undefined:
      return refuse(reader, "a value is missing");
    case "{":
      return readObject(reader, depth);
    case "[":
      return readArray(reader, depth);
    case '"': {
      const value = readString(reader);
      return value === null ? null : { kind: "string", at, value };
    }
    case "t":
      return readWord(reader, "true", { kind: "boolean", at, value: true });
    case "f":
      return readWord(reader, "false", { kind: "boolean", at, value: false });
    case "n":
      return readWord(reader, "null", { kind: "null", at });
    default:
      return readNumber(reader);
  }
}

function readWord(
  reader: Reader,
  word: string,
  value: JsonValue,
): JsonValue | null {
  if (!reader.text.startsWith(word, reader.at)) {
    return refuse(reader, "no JSON value");
  }
  reader.at += word.length;
  return value;
}

function readNumber(reader: Reader): JsonValue | null {
  const pattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
  pattern.lastIndex = reader.at;
  const text = pattern.exec(reader.text)?.[0];
  if (text === undefined) return refuse(reader, "no JSON value");
  const at = reader.at;
  reader.at += text.length;
  return { kind: "number", at, value: Number(text), text };
}

function readArray(reader: Reader, depth: number): JsonValue | null {
  const at = reader.at;
  if (depth > MAX_JSON_DEPTH) return tooDeep(reader);
  const items: JsonValue[] = [];
  reader.at++;
  skipSpace(reader);
  if (reader.text[reader.at] === "]") {
    reader.at++;
    return { kind: "array", at, items };
  }
  for (;;) {
    skipSpace(reader);
    const item = readValue(reader, depth + 1);
    if (item === null) return null;
    items.push(item);
    const end = readSeparator(reader, "]");
    if (end === null) return null;
    if (end) return { kind: "array", at, items };
  }
}

function readObject(reader: Reader, depth: number): JsonObject | null {
  const at = reader.at;
  if (depth > MAX_JSON_DEPTH) return tooDeep(reader);
  const members = new Map<string, JsonValue>();
  reader.at++;
  skipSpace(reader);
  if (reader.text[reader.at] === "}") {
    reader.at++;
    return { kind: "object", at, members };
  }
  for (;;) {
    skipSpace(reader);
    const start = reader.at;
    if (reader.text[start] !== '"') return refuse(reader, "a key is missing");
    const key = readString(reader);
    if (key === null) return null;
    if (members.has(key)) {
      return refuse(reader, `duplicate key ${JSON.stringify(key)}`, start);
    }
    skipSpace(reader);
    if (reader.text[reader.at] !== ":") {
      return refuse(reader, 'a ":" is missing');
    }
    reader.at++;
    skipSpace(reader);
    const value = readValue(reader, depth + 1);
    if (value === null) return null;
    members.set(key, value);
    const end = readSeparator(reader, "}");
    if (end === null) return null;
    if (end) return { kind: "object", at, members };
  }
}

function tooDeep(reader: Reader): null {
  return refuse(reader, `more than ${MAX_JSON_DEPTH} levels`);
}

/** Whether the list ends (`true`) or goes on (`false`) here. */
function readSeparator(reader: Reader, close: "]" | "}"): boolean | null {
  skipSpace(reader);
  const char = reader.text[reader.at];
  if (char !== close && char !== ",") {
    return refuse(reader, `a "," or "${close}" is missing`);
  }
  reader.at++;
  return char === close;
}

function readString(reader: Reader): string | null {
  // deno-lint-ignore no-control-regex
  const plain = /[^"\\\x00-\x1f]*/y;
  const parts: string[] = [];
  const start = reader.at;
  reader.at++;
  for (;;) {
    plain.lastIndex = reader.at;
    const part = plain.exec(reader.text)?.[0] ?? "";
    parts.push(part);
    reader.at += part.length;
    const char = reader.text[reader.at];
    if (char === undefined) return refuse(reader, 'a closing " is missing');
    if (char === '"') break;
    if (char !== "\\") return refuse(reader, "a control character in a string");
    const escaped = readEscape(reader);
    if (escaped === null) return null;
    parts.push(escaped);
  }
  reader.at++;
  const value = parts.join("");
  if (!value.isWellFormed()) {
    return refuse(reader, "a lone surrogate in a string", start);
  }
  return value;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

function readEscape(reader: Reader): string | null {
  const letter = reader.text[reader.at + 1] ?? "";
  if (letter === "u") {
    const digits = reader.text.slice(reader.at + 2, reader.at + 6);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) {
      return refuse(reader, "four hexadecimal digits are missing");
    }
    reader.at += 6;
    return String.fromCharCode(parseInt(digits, 16));
  }
  const char = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
  if (char === undefined) return refuse(reader, "an unknown escape");
  reader.at += 2;
  return char;
}
