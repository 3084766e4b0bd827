/**
 * TOML values: what they are, how they are named in messages, how two tables become one.
 *
 * Pure. A key may be called `__proto__` or `constructor`: tables are only read through own keys.
 *
 * @module
 */
import type { TomlTable, TomlValue } from "./config.ts";

/** Whether a value is a table, and no list, date or scalar. */
export function isTable(value: TomlValue | undefined): value is TomlTable {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return false;
  }
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** The value of an own key, `undefined` where there is none. */
export function own(table: TomlTable, key: string): TomlValue | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** The table at an own key, `undefined` where there is none or something else. */
export function ownTable(
  table: TomlTable,
  key: string,
): TomlTable | undefined {
  const value = own(table, key);
  return isTable(value) ? value : undefined;
}

/** The value at the end of `path`, `undefined` where a step is missing. List elements are no steps. */
export function lookup(
  table: TomlTable,
  path: readonly string[],
): TomlValue | undefined {
  let at: TomlValue | undefined = table;
  for (const part of path) {
    if (!isTable(at)) return undefined;
    at = own(at, part);
  }
  return at;
}

/** A table without keys that can be filled, safe for any key. */
export function newTable(): { [key: string]: TomlValue } {
  return Object.create(null);
}

/** `high` over `low`: tables key by key, everything else replaced. Untouched parts are shared, nothing is changed. */
export function mergeTables(low: TomlTable, high: TomlTable): TomlTable {
  const merged = newTable();
  for (const key of Object.keys(low)) merged[key] = low[key]!;
  for (const key of Object.keys(high)) {
    const below = merged[key];
    const above = high[key]!;
    merged[key] = isTable(below) && isTable(above)
      ? mergeTables(below, above)
      : above;
  }
  return merged;
}

/** Where the switch of the managed proxy stands, or what is laid over each profile's network. */
export const PROXY_FEATURE: readonly string[] = ["features", "network_proxy"];

/**
 * `high` as it is laid over `low`: a plain switch of the managed proxy becomes `enabled` of the table that it meets, so that it doesn't
 * take the hosts away which that table names.
 */
export function withKeptProxyTable(low: TomlTable, high: TomlTable): TomlTable {
  const features = ownTable(high, "features");
  const word = features === undefined
    ? undefined
    : own(features, "network_proxy");
  if (typeof word !== "boolean" || !isTable(lookup(low, PROXY_FEATURE))) {
    return high;
  }
  return {
    ...high,
    features: { ...features, network_proxy: { enabled: word } },
  };
}

/** A dotted key as one would type it: `permissions.p.filesystem."/opt/a.b"`. */
export function keyText(path: readonly string[]): string {
  return path.map(keyPart).join(".");
}

/** One part of a dotted key, in quotes where it needs them. */
export function keyPart(part: string): string {
  return part === "" || /[^A-Za-z0-9_-]/.test(part)
    ? JSON.stringify(part)
    : part;
}

/** A value for a message: scalars as written, at most 60 characters, anything else by its kind. */
export function valueText(value: TomlValue | undefined): string {
  if (value === undefined) return "missing";
  if (typeof value === "string") {
    return JSON.stringify(
      value.length > 60 ? `${value.slice(0, 60)}…` : value,
    );
  }
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return "a list";
  return isTable(value) ? "a table" : "a date";
}

/** `"a", "b" or "c"`. */
export function orList(words: readonly string[]): string {
  const quoted = words.map((word) => JSON.stringify(word));
  const last = quoted.pop() ?? "nothing";
  return quoted.length === 0 ? last : `${quoted.join(", ")} or ${last}`;
}
