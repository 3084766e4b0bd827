/**
 * Does a document have the types it must have? Every key of every table is looked at, used or not.
 *
 * Pure.
 *
 * @module
 */
import { nearest as nearestWord } from "../nearest.ts";
import type { Layer, TomlTable, TomlValue } from "./config.ts";
import type { Shape, TableShape } from "./schema.ts";
import { isInteger } from "./toml.ts";
import { isTable, keyText, orList, valueText } from "./values.ts";

/** Something wrong at `path` of a layer. `at` says whether its key or its value is meant. */
export interface TypeFault {
  readonly severity: "error" | "warning";
  readonly path: readonly string[];
  readonly at: "key" | "value";
  readonly message: string;
}

/** Every fault of a layer's table against `shape`, in the order of the document. */
export function checkTypes(
  layer: Layer,
  shape: TableShape,
): readonly TypeFault[] {
  const checking: Checking = { layer, faults: [], path: [] };
  checkTable(checking, layer.table, shape);
  return checking.faults;
}

interface Checking {
  readonly layer: Layer;
  readonly faults: TypeFault[];
  /** Grows and shrinks with the walk. */
  readonly path: string[];
}

function check(checking: Checking, value: TomlValue, shape: Shape): void {
  switch (shape.kind) {
    case "any":
      return;
    case "string":
      if (typeof value !== "string") mismatch(checking, value, "a string");
      return;
    case "boolean":
      if (typeof value !== "boolean") mismatch(checking, value, "a boolean");
      return;
    case "integer":
      if (
        !isInteger(checking.layer, checking.path, value) ||
        (value as number) < shape.min || (value as number) > shape.max
      ) integerFault(checking, value, shape);
      return;
    case "choice":
      if (
        typeof value !== "string" ||
        !(shape.values.includes(value) ||
          shape.aliases?.includes(value) === true)
      ) choiceFault(checking, value, shape.values);
      return;
    case "list":
      if (!Array.isArray(value)) {
        mismatch(checking, value, `a list of ${plural(shape.of)}`);
        return;
      }
      value.forEach((element, index) =>
        within(
          checking,
          String(index),
          () => check(checking, element, shape.of),
        )
      );
      return;
    case "table":
      if (isTable(value)) checkTable(checking, value, shape);
      else mismatch(checking, value, "a table");
      return;
    case "map":
      if (isTable(value)) checkMap(checking, value, shape);
      else mismatch(checking, value, `a table of ${plural(shape.of)}`);
      return;
    case "either": {
      const wantsTable = isTable(value);
      const form = shape.of.find((it) => isTableShape(it) === wantsTable) ??
        shape.of[0]!;
      check(checking, value, form);
      return;
    }
  }
}

function checkTable(
  checking: Checking,
  table: TomlTable,
  shape: TableShape,
): void {
  for (const key of Object.keys(table)) {
    checking.path.push(key);
    if (Object.hasOwn(shape.keys, key)) {
      check(checking, table[key]!, shape.keys[key]!.shape);
    } else if (shape.others !== "silent") {
      unknownKey(checking, key, shape);
    }
    checking.path.pop();
  }
}

function checkMap(
  checking: Checking,
  table: TomlTable,
  shape: Extract<Shape, { kind: "map" }>,
): void {
  const words = wordsOf(shape.of);
  for (const key of Object.keys(table)) {
    const value = table[key]!;
    const isKnown = shape.except !== undefined &&
      Object.hasOwn(shape.except, key);
    // Thousands of entries look like this.
    if (!isKnown && typeof value === "string" && words?.has(value) === true) {
      continue;
    }
    checking.path.push(key);
    check(checking, value, isKnown ? shape.except![key]!.shape : shape.of);
    checking.path.pop();
  }
}

function within(checking: Checking, step: string, walk: () => void): void {
  checking.path.push(step);
  walk();
  checking.path.pop();
}

/** The words that a shape accepts as they are, `null` when it takes none. */
function wordsOf(shape: Shape): ReadonlySet<string> | null {
  const forms = shape.kind === "either" ? shape.of : [shape];
  const choice = forms.find((form) => form.kind === "choice");
  return choice === undefined
    ? null
    : new Set([...choice.values, ...choice.aliases ?? []]);
}

function isTableShape(shape: Shape): boolean {
  return shape.kind === "table" || shape.kind === "map";
}

function unknownKey(checking: Checking, key: string, shape: TableShape): void {
  const known = Object.keys(shape.keys);
  const meant = nearestWord(key, known);
  const hint = meant === null ? "" : ` (did you mean "${meant}"?)`;
  checking.faults.push({
    severity: shape.others === "error" ? "error" : "warning",
    path: [...checking.path],
    at: "key",
    message: `unknown key ${keyText(checking.path)}${hint}`,
  });
}

function integerFault(
  checking: Checking,
  value: TomlValue,
  { min, max }: { readonly min: number; readonly max: number },
): void {
  const { layer, path } = checking;
  if (typeof value !== "number") {
    mismatch(checking, value, "an integer");
    return;
  }
  if (!isInteger(layer, path, value)) {
    // As written: 1.0 is no integer, and JavaScript would print 1.
    const written = Number.isInteger(value) ? value.toFixed(1) : String(value);
    checking.faults.push({
      severity: "error",
      path: [...path],
      at: "value",
      message: `key ${keyText(path)} is ${written}, expected an integer`,
    });
    return;
  }
  const bound = value < min ? `at least ${min}` : `at most ${max}`;
  checking.faults.push({
    severity: "error",
    path: [...path],
    at: "value",
    message: `key ${keyText(path)} is ${value}: ${
      path.at(-1)
    } must be ${bound}`,
  });
}

function choiceFault(
  checking: Checking,
  value: TomlValue,
  values: readonly string[],
): void {
  const meant = typeof value === "string" ? nearestWord(value, values) : null;
  const hint = meant === null ? "" : ` (did you mean "${meant}"?)`;
  mismatch(checking, value, `${orList(values)}${hint}`);
}

function mismatch(checking: Checking, value: TomlValue, wish: string): void {
  checking.faults.push({
    severity: "error",
    path: [...checking.path],
    at: "value",
    message: `key ${keyText(checking.path)} is ${
      valueText(value)
    }, expected ${wish}`,
  });
}

function plural(shape: Shape): string {
  switch (shape.kind) {
    case "string":
      return "strings";
    case "boolean":
      return "booleans";
    case "choice":
      return orList(shape.values);
    default:
      return "values";
  }
}
