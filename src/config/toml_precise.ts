/**
 * The exact TOML reader: values, and for each key where it stands and whether a number was written as a float.
 *
 * Pure, but heavy to load: only {@linkcode file://./toml.ts} asks for it, when an error or a report needs it.
 *
 * @module
 */
import { type AST, ParseError, parseTOML } from "toml-eslint-parser";
import { fail, ok, type Result } from "../result.ts";
import type { Position, TomlTable, TomlValue } from "./config.ts";
import { newTable } from "./values.ts";

/** What is known of one key. Children of a list go by their index. */
export interface TomlNode {
  readonly keyAt: Position;
  valueAt: Position;
  isFloat: boolean;
  readonly children: Map<string, TomlNode>;
}

/** A document read exactly. */
export interface PreciseToml {
  readonly table: TomlTable;
  readonly root: TomlNode;
}

/** Why and where a text is no TOML. */
export interface TomlFault extends Position {
  readonly message: string;
}

/** Reads a whole text without byte order mark. @throws {RangeError} when it nests deeper than the stack */
export function parsePrecisely(text: string): Result<PreciseToml, TomlFault> {
  // TOML knows no line that ends like this; the parser below takes it for one.
  const bare = text.search(/\r(?!\n)/);
  if (bare !== -1) {
    const lines = text.slice(0, bare).split("\n");
    return fail({
      message: "bare carriage return",
      line: lines.length,
      column: lines.at(-1)!.length + 1,
    });
  }
  try {
    const ast = parseTOML(text, { tomlVersion: "1.1" });
    const table = newTable();
    const root = nodeAt({ line: 1, column: 0 });
    for (const item of ast.body[0].body) {
      if (item.type === "TOMLKeyValue") addKeyValue(item, table, root);
      else addTable(item, table, root);
    }
    return ok({ table, root });
  } catch (error) {
    if (error instanceof OutOfRange) return fail(error.fault);
    if (!(error instanceof ParseError)) throw error;
    return fail({
      message: error.message,
      line: error.lineNumber,
      column: error.column + 1,
    });
  }
}

/** Thrown and caught in this file. */
class OutOfRange extends Error {
  readonly fault: TomlFault;
  constructor(at: Position) {
    super("integer out of range");
    this.fault = { message: this.message, ...at };
  }
}

type Filling = { [key: string]: TomlValue };

function addTable(item: AST.TOMLTable, table: Filling, root: TomlNode): void {
  const at = item.key.loc.start;
  let filling: Filling | TomlValue[] = table;
  let node = root;
  const steps = item.resolvedKey;
  steps.forEach((step, index) => {
    const key = String(step);
    // Numbers are indexes into lists of tables: a list is a table of its indexes here.
    const slots = filling as Filling;
    if (!Object.hasOwn(slots, key)) {
      slots[key] = typeof steps[index + 1] === "number" ? [] : newTable();
    }
    node = childNode(node, key, at);
    filling = slots[key] as Filling | TomlValue[];
  });
  node.valueAt = position(at);
  for (const pair of item.body) addKeyValue(pair, filling as Filling, node);
}

function addKeyValue(
  pair: AST.TOMLKeyValue,
  table: Filling,
  parent: TomlNode,
): void {
  let filling = table;
  let node = parent;
  const keys = pair.key.keys;
  keys.forEach((part, index) => {
    const key = part.type === "TOMLBare" ? part.name : part.value;
    node = childNode(node, key, part.loc.start);
    if (index === keys.length - 1) {
      filling[key] = valueOf(pair.value, node);
      return;
    }
    if (!Object.hasOwn(filling, key)) filling[key] = newTable();
    filling = filling[key] as Filling;
  });
}

function valueOf(value: AST.TOMLContentNode, node: TomlNode): TomlValue {
  node.valueAt = position(value.loc.start);
  switch (value.type) {
    case "TOMLInlineTable": {
      const table = newTable();
      for (const pair of value.body) addKeyValue(pair, table, node);
      return table;
    }
    case "TOMLArray":
      return value.elements.map((element, index) =>
        valueOf(
          element,
          childNode(node, String(index), element.loc.start),
        )
      );
    case "TOMLValue":
      if (value.kind === "float") node.isFloat = true;
      if (value.kind !== "integer") return value.value;
      // The parser takes any length; TOML's integers have 64 bits.
      if (BigInt.asIntN(64, value.bigint) !== value.bigint) {
        throw new OutOfRange(position(value.loc.start));
      }
      return Number.isSafeInteger(value.value) ? value.value : value.bigint;
  }
}

function childNode(
  parent: TomlNode,
  key: string,
  at: { readonly line: number; readonly column: number },
): TomlNode {
  let child = parent.children.get(key);
  if (child === undefined) {
    child = nodeAt(at);
    parent.children.set(key, child);
  }
  return child;
}

function nodeAt(
  at: { readonly line: number; readonly column: number },
): TomlNode {
  return {
    keyAt: position(at),
    valueAt: position(at),
    isFloat: false,
    children: new Map(),
  };
}

/** The parser counts columns from 0. */
function position(
  at: { readonly line: number; readonly column: number },
): Position {
  return { line: at.line, column: at.column + 1 };
}
