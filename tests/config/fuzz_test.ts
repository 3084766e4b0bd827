/**
 * Config files of anybody: nothing throws, both parsers read the same, and every value has its place in the text.
 *
 * @module
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Layer, TomlValue } from "../../src/config/config.ts";
import { parseOverride } from "../../src/config/override.ts";
import { parseToml, positionOf } from "../../src/config/toml.ts";
import { parsePrecisely } from "../../src/config/toml_precise.ts";
import { isTable, keyText } from "../../src/config/values.ts";
import { abs } from "../../src/policy/path.ts";
import { fuzz, FUZZ_TIMEOUT_MS } from "../fuzzing.ts";
import { fast, line, plain, verdicts } from "./two_parsers.ts";

const RUNS = 3_000;
const TOKENS = [
  ..."=.[]{}\"'\\#,-+_:".split(""),
  ...["\n", "\r\n", "\r", "\t", "\0", "[[", "]]", '"""', "'''", "\xef\xbb\xbf"],
  ...[
    "a = 1\n",
    "[a]\n",
    "a.b",
    "inf",
    "1e9",
    "0x",
    "1979-05-27",
    "\\u00e9",
    "\\ud800",
  ],
  ...["__proto__", "\xc3\xa9", "\xff", "9223372036854775808", "true"],
].map((text) => Buffer.from(text, "latin1"));

const document = fc.array(line, { maxLength: 8 })
  .map((lines) => Buffer.from(`${lines.join("\n")}\n`));

test("both TOML parsers read the same, and every value has a place", () => {
  let accepted = 0;
  const tried = fuzz({
    room: "toml",
    seed: 51,
    runs: RUNS,
    tokens: TOKENS,
    grammar: document,
    maxBytes: 2_000,
  }, (bytes) => {
    const text = bytes.toString("utf8");
    const result = parseToml(text, fast);
    if (!result.ok) expect(result.error.message).not.toContain("\n");
    const { fast: quick, precise } = verdicts(text);
    expect(precise).toEqual(quick);
    if (!result.ok) return;
    accepted++;
    const table = result.value;
    const layer: Layer = {
      kind: "user",
      file: abs("/c.toml"),
      base: abs("/"),
      table,
      text,
    };
    const lines = text.split("\n").length;
    for (const path of leavesOf(table)) {
      const place = positionOf(layer, path);
      if (place === null || place.line < 1 || place.line > lines) {
        throw new Error(`${keyText(path)} stands at ${JSON.stringify(place)}`);
      }
    }
  });
  expect(accepted).toBeGreaterThan(tried / 20);
}, FUZZ_TIMEOUT_MS);

/** The paths of all values that are no table and stand in no list. */
function leavesOf(value: TomlValue): readonly string[][] {
  if (!isTable(value)) return [[]];
  return Object.keys(value).flatMap((key) =>
    leavesOf(value[key]!).map((path) => [key, ...path])
  );
}

const override = fc.tuple(
  fc.constantFrom("a", "a.b", '"a.b".c', "'x'", "permissions.p.extends", "1"),
  fc.constantFrom("=", " = ", "=\t"),
  fc.constantFrom(
    ...'1|-0|0x1f|1.5|inf|true|"x"|\'y\'|[]|[1, 2,]|{}|{ a = 1 }|{ a.b = 1 }|plain|a b|tru|"""q"""|07:32:00|[1|{a|"x'
      .split("|"),
  ),
).map((parts) => Buffer.from(parts.join("")));

test("a value of -c is what the exact parser reads, or the text itself", () => {
  let accepted = 0;
  const tried = fuzz({
    room: "override",
    seed: 52,
    runs: RUNS,
    tokens: TOKENS,
    grammar: override,
    maxBytes: 500,
  }, (bytes) => {
    const raw = bytes.toString("utf8");
    const read = parseOverride(raw, fast as never);
    // Where a key is quoted, the first sign of equality may be in it.
    if (!read.ok || /^[^=]*["']/.test(raw)) return;
    accepted++;
    const { value } = read.value;
    const text = raw.slice(raw.indexOf("=") + 1).trim();
    const exact = parsePrecisely(`value = ${text}\n`);
    const isOne = exact.ok && Object.keys(exact.value.table).length === 1;
    if (isOne && value !== text) {
      expect(plain(value)).toEqual(plain(exact.value.table["value"]!));
    } else expect(value).toBe(text);
  });
  expect(accepted).toBeGreaterThan(tried / 10);
}, FUZZ_TIMEOUT_MS);
