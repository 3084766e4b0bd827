/**
 * TOML: what is read and refused, where a fault stands, and that both parsers agree.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Layer, TomlTable } from "../../src/config/config.ts";
import { isInteger, parseToml, positionOf } from "../../src/config/toml.ts";
import { parsePrecisely } from "../../src/config/toml_precise.ts";
import { isTable } from "../../src/config/values.ts";
import { abs } from "../../src/policy/path.ts";

const fast = (text: string): unknown => Bun.TOML.parse(text);
const CORPUS = join(import.meta.dir, "../corpus/toml");

function layer(text: string): Layer {
  const table = parseToml(text, fast);
  return {
    kind: "user",
    file: abs("/c.toml"),
    base: abs("/"),
    table: table.ok ? table.value : {},
    text,
  };
}

/** A tree of plain objects with sorted keys, so that two parsers can be compared. */
function plain(value: unknown): unknown {
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

const REFUSED = [ // text, line, column, fragment
  ["a = 1\na = 2\n", 2, 1, "Cannot redefine key 'a'"],
  ["a = tru\n", 1, 5, "Strings must be quoted"],
  ["[a]\n[a]\n", 2, 2, "Cannot redefine table 'a'"],
  ["\n\n= 1", 3, 1, "Expected a key"],
] as const;

describe("refused, with the place", () => {
  for (const [text, line, column, fragment] of REFUSED) {
    test(JSON.stringify(text), () => {
      const result = parseToml(text, fast);
      expect(result).toEqual({
        ok: false,
        error: {
          line,
          column,
          message: expect.stringContaining(fragment) as unknown as string,
        },
      });
    });
  }
});

test("where only the fast parser refuses, the exact one decides", () => {
  const text = "a = 9223372036854775807\n";
  expect(() => fast(text)).toThrow();
  const result = parseToml(text, fast);
  expect(result.ok && plain(result.value)).toEqual(
    [["a", "integer 9223372036854775807"]],
  );
});

test("a byte order mark counts nothing, also for positions", () => {
  const marked = layer("\uFEFFa = 1\n");
  expect(marked.table).toEqual({ a: 1 });
  expect(positionOf(marked, ["a"])).toEqual({ line: 1, column: 5 });
});

const DEPTHS = [ // text, accepted
  ["[".repeat(63) + "]".repeat(63), true],
  ["[".repeat(65) + "]".repeat(65), false],
  ["{a=".repeat(65) + "1" + "}".repeat(65), false],
  ["[".repeat(100_000), false],
  ["[".repeat(100_000) + "]".repeat(100_000), false],
] as const;

describe("nesting ends at 64", () => {
  for (const [value, accepted] of DEPTHS) {
    test(`${value.slice(0, 6)} of ${value.length} characters: ${accepted}`, () => {
      const result = parseToml(`a = ${value}`, fast);
      expect(result.ok).toBe(accepted);
    });
  }
});

test("positions of keys and values, in tables, inline tables, lists and dotted keys", () => {
  const text = 'x.y = 1\n[t."a b"]\nk = { l = [ 1, "two" ] }\n[[n]]\nm = 2\n';
  const at = (...path: readonly string[]) => {
    const key = positionOf(layer(text), path, "key");
    const value = positionOf(layer(text), path);
    return `${key?.line}:${key?.column} ${value?.line}:${value?.column}`;
  };
  expect([
    at("x", "y"),
    at("t", "a b"),
    at("t", "a b", "k", "l"),
    at("t", "a b", "k", "l", "1"),
    at("n", "0", "m"),
    at("nowhere"),
  ]).toEqual([
    "1:3 1:7",
    "2:2 2:2",
    "3:7 3:11",
    "3:16 3:16",
    "5:1 5:5",
    "undefined:undefined undefined:undefined",
  ]);
});

const INTEGERS = [ // text of a, is an integer
  ["1", true],
  ["0x10", true],
  ["-3", true],
  ["1.0", false],
  ["1e3", false],
  ["1_0.5", false],
  ["inf", false],
  ["9223372036854775807", true],
  ['"1"', false],
] as const;

describe("integers", () => {
  for (const [value, expected] of INTEGERS) {
    test(`${value}: ${expected}`, () => {
      const given = layer(`a = ${value}`);
      expect(isInteger(given, ["a"], given.table.a!)).toBe(expected);
    });
  }
  test("a float elsewhere doesn't make one of an integer", () => {
    const given = layer("b = 1.5\na = 1");
    expect(isInteger(given, ["a"], 1)).toBe(true);
  });
});

// Both parsers on the same text. Known differences, all harmless because the exact parser decides: integers beyond 2^53.
function verdicts(text: string): { fast: unknown; precise: unknown } {
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

describe("both parsers agree on the corpus", () => {
  for (const name of readdirSync(CORPUS).sort()) {
    test(name, () => {
      const text = readFileSync(join(CORPUS, name), "utf8");
      const { fast, precise } = verdicts(text);
      expect(precise).toEqual(fast);
    });
  }
});

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
const line = fc.oneof(
  fc.tuple(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES))
    .map(([key, value]) => `${key} = ${value}`),
  fc.constantFrom(...KEYS).map((key) => `[${key}]`),
  fc.constantFrom(...KEYS).map((key) => `[[${key}]]`),
  fc.constant("# comment"),
  fc.constant(""),
);

test("both parsers agree on documents put together from parts", () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
      const { fast, precise } = verdicts(`${lines.join("\n")}\n`);
      expect(precise).toEqual(fast);
    }),
    { seed: 20_261, numRuns: 3_000 },
  );
});

test("no text makes the reader throw or hang, what is refused has one line, and both parsers agree", () => {
  const noise = fc.string({
    unit: fc.constantFrom(..."ab01.=[]{}\"'\\#,\n\r\t -+_:\u0000é😀"),
    maxLength: 60,
  });
  fc.assert(
    fc.property(noise, (text) => {
      const result = parseToml(text, fast);
      if (!result.ok) expect(result.error.message).not.toContain("\n");
      const { fast: quick, precise } = verdicts(text);
      expect(precise).toEqual(quick);
    }),
    { seed: 20_262, numRuns: 5_000 },
  );
});
