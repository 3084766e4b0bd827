/**
 * Layers to one table, and back: which layer a value came from, and where it stands there.
 *
 * Pure. Nothing is recorded while merging: the highest layer that has a key is the one that decides, so it is looked for when
 * somebody asks.
 *
 * @module
 */
import type { ConfigError, Finding, Layer, TomlTable } from "./config.ts";
import { pathOfKey } from "./override.ts";
import { positionOf } from "./toml.ts";
import type { Origin } from "../policy/policy.ts";
import {
  keyText,
  lookup,
  mergeTables,
  newTable,
  withKeptProxyTable,
} from "./values.ts";

/** Lowest first; a single layer is handed back as it is. */
export function mergeLayers(layers: readonly Layer[]): TomlTable {
  let merged: TomlTable | null = null;
  for (const { table } of layers) {
    merged = merged === null
      ? table
      : mergeTables(merged, withKeptProxyTable(merged, table));
  }
  return merged ?? newTable();
}

/** Everything that a layer says, also what later words of the same command line replace. */
export function tablesOf(layer: Layer): readonly TomlTable[] {
  return layer.words ?? [layer.table];
}

/** The layer whose value counts for `path`, `null` when no layer has it. */
export function layerOf(
  layers: readonly Layer[],
  path: readonly string[],
): Layer | null {
  for (let index = layers.length - 1; index >= 0; index--) {
    const layer = layers[index]!;
    if (lookup(layer.table, path) !== undefined) return layer;
  }
  return null;
}

/** Where the value of `path` was written. Line and column are left to {@linkcode locate}. */
export function originOf(
  layers: readonly Layer[],
  path: readonly string[],
  key: string = keyText(path),
): Origin {
  const layer = layerOf(layers, path);
  return layer === null ? { file: null, key } : originIn(layer, path, key);
}

/** Where `path` is written in a layer. @param key its dotted form, where the caller has it already */
export function originIn(
  layer: Layer,
  path: readonly string[],
  key: string = keyText(path),
): Origin {
  if (layer.kind !== "session") return { file: layer.file, key };
  return { file: null, key: layer.spellings?.get(key) ?? `-c ${key}` };
}

/** `origin` with line and column, where its file is one of `layers` and has the key. Loads the exact TOML reader. */
export function locate(
  layers: readonly Layer[],
  origin: Origin,
  what: "key" | "value" = "value",
): Origin {
  if (origin.file === null || origin.line !== undefined) return origin;
  const path = pathOfKey(origin.key);
  if (path === null) return origin;
  for (const layer of layers) {
    if (layer.file !== origin.file) continue;
    const position = positionOf(layer, path, what);
    if (position !== null) return { ...origin, ...position };
  }
  return origin;
}

/** Something wrong, before anybody asked for its line. */
export interface Fault {
  readonly severity: Finding["severity"];
  readonly origin: Origin;
  /** Which half of the key stands at the place; the value when absent. */
  readonly at?: "key" | "value";
  readonly message: string;
}

/** A fault as a run reports it. A message about a word of the command line begins with that word. */
export function errorOf(layers: readonly Layer[], fault: Fault): ConfigError {
  const { origin, message, at } = fault;
  const located = locate(layers, origin, at);
  return { kind: "config", ...located, message: withWord(origin, message) };
}

/** A fault as `codex config check` reports it. */
export function findingOf(layers: readonly Layer[], fault: Fault): Finding {
  const { severity, origin, message, at } = fault;
  const located = locate(layers, origin, at);
  return { severity, ...located, message: withWord(origin, message) };
}

function withWord(origin: Origin, message: string): string {
  const isWord = origin.file === null && origin.key.startsWith("-");
  return isWord ? `${origin.key}: ${message}` : message;
}
