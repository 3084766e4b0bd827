/**
 * Both TOML parsers on the same text, and texts for them: the runtime's, which is fast, and the exact one, which knows places.
 *
 * @module
 */
import fc from "fast-check";
import type { TomlTable } from "../../src/config/config.ts";
import { parsePrecisely } from "../../src/config/toml_precise.ts";
import { isTable } from "../../src/config/values.ts";

export const fast = (text: string): unknown => Bun.TOML.parse(text);

/** A tree of plain objects with sorted keys, so that two parsers can be compared. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "bigint") return `integer ${value}`;
  if (Object.is(value, -0)) return 0;
  if (typeof value !== "object" || value === null) return value;
  if (!isTable(value as TomlTable)) return "date";
  return Object.keys(value).sort().map((key) => [
    key,
    plain((value as TomlTable)[key]),
  ]);
}

/**
 * What each makes of a text, byte order marks left out: those our reader takes off. Known differences, all harmless because the
 * exact parser decides: integers beyond 2^53.
 */
export function verdicts(
  written: string,
): { fast: unknown; precise: unknown } {
  const text = written.replace(/^\uFEFF+/, "");
  let quick: unknown;
  try {
    quick = plain(fast(text));
  } catch (error) {
    quick = /losslessly/.test(String(error)) ? "big" : "refused";
  }
  const exact = parsePrecisely(text);
  const big = quick === "big";
  return {
    fast: big ? "refused or big" : quick,
    precise: big
      ? "refused or big"
      : exact.ok
      ? plain(exact.value.table)
      : "refused",
  };
}

const KEYS = ["a", "b", '"a.b"', "'c'", "a.b", "__proto__", "constructor", "1"];
const VALUES = [
  "1",
  "-0",
  "0x1f",
  "1.0",
  "1e2",
  "true",
  "inf",
  '"x"',
  "'y'",
  '"\\u00e9\\n"',
  '"""a\nb"""',
  "'''q'''",
  "1979-05-27",
  "07:32:00",
  "[]",
  "[1, 2,]",
  "{}",
  "{ a = 1 }",
  "{ a.b = 1, c = [ { d = 2 } ] }",
];
/** A line of a document, mostly well formed. */
export const line = fc.oneof(
  fc.tuple(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES))
    .map(([key, value]) => `${key} = ${value}`),
  fc.constantFrom(...KEYS).map((key) => `[${key}]`),
  fc.constantFrom(...KEYS).map((key) => `[[${key}]]`),
  fc.constant("# comment"),
  fc.constant(""),
);
