/**
 * TOML text to values, fast where all is well and exact where something has to be said.
 *
 * The fast parser (`Bun.TOML.parse`, handed in) gives no positions and blurs `1.0` and `1`; the exact one costs tens of
 * milliseconds and is loaded on the first error or report. Where only the fast one refuses a text, the exact one decides.
 *
 * Pure. Limit: tables and lists nest at most {@linkcode MAX_DEPTH} deep.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import type { Layer, Position, TomlTable, TomlValue } from "./config.ts";
import type { PreciseToml, TomlFault, TomlNode } from "./toml_precise.ts";

/** Deepest nesting of tables and lists that is read. */
const MAX_DEPTH = 64;

/** `Bun.TOML.parse`: a text to a tree of plain values. @throws on what is no TOML, also {@linkcode RangeError} on deep nesting */
export type TomlParser = (text: string) => unknown;

/** A text that is no TOML. Position where it is known. */
export interface TomlError extends Partial<Position> {
  readonly message: string;
}

/** The table that `text` spells; a byte order mark before it counts nothing. */
export function parseToml(
  text: string,
  fast: TomlParser,
): Result<TomlTable, TomlError> {
  const body = withoutMark(text);
  if (body.charCodeAt(0) === MARK) {
    const message = "invalid TOML: a second byte order mark";
    return fail({ message, line: 1, column: 1 });
  }
  let parsed: unknown;
  let reason: string;
  try {
    parsed = fast(body);
    return checkDepth(parsed as TomlTable);
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  const precise = readPrecisely(body);
  if (precise.ok) return checkDepth(precise.value.table);
  const { line, column } = precise.error;
  if (precise.error.message === TOO_DEEP) return precise;
  return fail({
    message: `invalid TOML: ${oneLine(reason)}`,
    line,
    column,
  });
}

/** Where the key at `path` of a layer, or its value, stands; `null` when the text doesn't hold it (or there is none). */
export function positionOf(
  layer: Layer,
  path: readonly string[],
  what: "key" | "value" = "value",
): Position | null {
  const node = nodeOf(layer, path);
  if (node === null) return null;
  return what === "key" ? node.keyAt : node.valueAt;
}

/** Whether the number at `path` is an integer: by its value, and where the text holds any float by how it was written. */
export function isInteger(
  layer: Layer,
  path: readonly string[],
  value: TomlValue,
): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value !== "number" || !Number.isInteger(value)) return false;
  if (layer.text === null || !FLOAT_LITERAL.test(layer.text)) return true;
  return nodeOf(layer, path)?.isFloat !== true;
}

/** May also match in a string or comment: then the exact parser decides. */
const FLOAT_LITERAL = /=\s*[+-]?[0-9][0-9_]*[.eE]/;

const TOO_DEEP = `invalid TOML: nested deeper than ${MAX_DEPTH} levels`;

/** U+FEFF. TOML allows one; the fast parser would skip further ones, the exact one refuses them. */
const MARK = 0xfeff;

/** Read once per layer: `config check` asks for many positions. */
const preciseOfLayer = new WeakMap<Layer, PreciseToml | null>();

function nodeOf(layer: Layer, path: readonly string[]): TomlNode | null {
  if (layer.text === null) return null;
  let precise = preciseOfLayer.get(layer);
  if (precise === undefined) {
    const read = readPrecisely(withoutMark(layer.text));
    precise = read.ok ? read.value : null;
    preciseOfLayer.set(layer, precise);
  }
  let node: TomlNode | undefined = precise?.root;
  for (const part of path) node = node?.children.get(part);
  return node ?? null;
}

function readPrecisely(text: string): Result<PreciseToml, TomlFault> {
  // Loaded here and only here: see the module's first lines.
  const { parsePrecisely } = require(
    "./toml_precise.ts",
  ) as typeof import("./toml_precise.ts");
  try {
    return parsePrecisely(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return fail({ message: TOO_DEEP, line: 1, column: 1 });
  }
}

function checkDepth(table: TomlTable): Result<TomlTable, TomlError> {
  return isDeeper(table, MAX_DEPTH) ? fail({ message: TOO_DEEP }) : ok(table);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  // Dates of the parsers have no own keys that are objects.
  for (const inner of Object.values(value)) {
    if (typeof inner === "object" && isDeeper(inner, levels - 1)) return true;
  }
  return false;
}

function withoutMark(text: string): string {
  return text.charCodeAt(0) === MARK ? text.slice(1) : text;
}

function oneLine(reason: string): string {
  return reason.replace(/^TOML Parse error: /, "").replace(/\s+/g, " ")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
}
