/**
 * TOML: what is read and refused, where a fault stands, and that both parsers agree.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Layer } from "../../src/config/config.ts";
import { isInteger, parseToml, positionOf } from "../../src/config/toml.ts";
import { abs } from "../../src/policy/path.ts";
import { fast, line, plain, verdicts } from "./two_parsers.ts";

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

const REFUSED = [ // text, line, column, fragment
  ["a = 1\na = 2\n", 2, 1, "Cannot redefine key 'a'"],
  ["a = tru\n", 1, 5, "Strings must be quoted"],
  ["[a]\n[a]\n", 2, 2, "Cannot redefine table 'a'"],
  ["\n\n= 1", 3, 1, "Expected a key"],
  ["\uFEFF\uFEFFa = 1\n", 1, 1, "a second byte order mark"],
  ["a = 9223372036854775808\n", 1, 5, "outside the 64-bit signed range"],
  ["a = [1, -9223372036854775809]", 1, 9, "outside the 64-bit signed range"],
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

describe("both parsers agree on the corpus", () => {
  for (const name of readdirSync(CORPUS).sort()) {
    test(name, () => {
      const text = readFileSync(join(CORPUS, name), "utf8");
      const { fast, precise } = verdicts(text);
      expect(precise).toEqual(fast);
    });
  }
});

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
