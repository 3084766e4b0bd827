import { expect, test } from "bun:test";
import fc from "fast-check";
import type { ByteString } from "../../src/bytes.ts";
import { fromText } from "../../src/bytes.ts";
import { MAX_JSON_BYTES, readJson } from "../../src/policy/json.ts";
import { toPlain } from "./to_plain.ts";

const REFUSED = [ // text, message, why
  ["", "a value is missing at offset 0", "nothing is no value"],
  [" ", "a value is missing at offset 1", "nor is space"],
  [
    '{"a":1,"a":2}',
    'duplicate key "a" at offset 7',
    "one of two would be ignored",
  ],
  [
    '{"a":1,"\\u0061":2}',
    'duplicate key "a" at offset 7',
    "an escape spells the same key",
  ],
  [
    "\uFEFF{}",
    "the text starts with a byte order mark at offset 0",
    "a BOM is no space",
  ],
  [
    '"\\ud800"',
    "a lone surrogate in a string at offset 0",
    "it has no UTF-8 form",
  ],
  [
    '"\\udc00\\ud800"',
    "a lone surrogate in a string at offset 0",
    "the wrong order is no pair",
  ],
  ["{} {}", "text after the value at offset 3", "one value"],
  ["[1,]", "no JSON value at offset 3", "no trailing comma"],
  ['{"a":1,}', "a key is missing at offset 7", "no trailing comma"],
  ["{a:1}", "a key is missing at offset 1", "keys are strings"],
  ["01", "text after the value at offset 1", "no leading zero"],
  ["+1", "no JSON value at offset 0", "no plus"],
  [".5", "no JSON value at offset 0", "no bare fraction"],
  ["1.", "text after the value at offset 1", "no bare point"],
  ["NaN", "no JSON value at offset 0", "not a number is not JSON"],
  ["nul", "no JSON value at offset 0", "a cut word"],
  ["'a'", "no JSON value at offset 0", "double quotes only"],
  ['"a', 'a closing " is missing at offset 2', "a cut string"],
  ['"a\nb"', "a control character in a string at offset 2", "a raw newline"],
  ['"\\x41"', "an unknown escape at offset 1", "no such escape"],
  [
    '"\\u12g4"',
    "four hexadecimal digits are missing at offset 1",
    "a bad digit",
  ],
  [
    '"\\u+123"',
    "four hexadecimal digits are missing at offset 1",
    "parseInt would take it",
  ],
  ["[1 2]", 'a "," or "]" is missing at offset 3', "no separator"],
  ['{"a" 1}', 'a ":" is missing at offset 5', "no colon"],
  ["// c\n1", "no JSON value at offset 0", "no comments"],
] as const;

for (const [text, message, why] of REFUSED) {
  test(`${JSON.stringify(text)} is refused: ${why}`, () => {
    const read = readJson(fromText(text));
    expect(read.ok ? null : read.error.message).toBe(message);
  });
}

test("64 levels are read and 65 are not", () => {
  const nested = (n: number): ByteString =>
    fromText("[".repeat(n) + "]".repeat(n));
  expect(readJson(nested(64)).ok).toBe(true);
  expect(readJson(nested(65)).ok).toBe(false);
  expect(readJson(fromText("[".repeat(200_000))).ok).toBe(false);
});

test("a text of more than 1 MiB is refused unread", () => {
  const text = " ".repeat(MAX_JSON_BYTES) + "1";
  expect(readJson(fromText(text)).ok).toBe(false);
  expect(readJson(fromText(text.slice(1))).ok).toBe(true);
});

test("bytes that are not UTF-8 are refused with their offset", () => {
  const cases = [['"\xc3\xa4\xff"', 3], ["\xff", 0], ["{}\xe2\x82", 2], [
    '"\xed\xa0\x80"',
    1,
  ]] as const;
  for (const [bytes, at] of cases) {
    const read = readJson(bytes as unknown as ByteString);
    expect(read.ok ? null : read.error.at).toBe(at);
  }
});

test("__proto__ is a key like any other", () => {
  const read = readJson(fromText('{"__proto__":{"x":1}}'));
  const plain = read.ok ? toPlain(read.value) as object : {};
  expect(Object.keys(plain)).toEqual(["__proto__"]);
  expect("x" in plain).toBe(false);
});

test("1 and 1.0 stay apart", () => {
  const read = readJson(fromText("[1,1.0,1e0]"));
  const texts = read.ok && read.value.kind === "array"
    ? read.value.items.map((item) => item.kind === "number" ? item.text : "")
    : [];
  expect(texts).toEqual(["1", "1.0", "1e0"]);
});

test("what JSON.stringify writes is read as it was", () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ stringUnit: "grapheme", maxDepth: 6 }),
      fc.nat(4),
      (value, indent) => {
        const read = readJson(fromText(JSON.stringify(value, null, indent)));
        expect(read.ok && toPlain(read.value)).toEqual(
          JSON.parse(JSON.stringify(value)),
        );
      },
    ),
    { numRuns: 500, seed: 1 },
  );
});

/** Every mutation of a valid text by one character: what we accept JSON.parse accepts too, with the same value. */
test("nothing is accepted that JSON.parse refuses, and values agree", () => {
  const unit = fc.constantFrom(
    ...'{}[]",:\\u0123456789abdefnrtlsE+-. \n\t\u0000é\ud83d\ude00'.split(""),
  );
  fc.assert(
    fc.property(
      fc.jsonValue({ maxDepth: 4 }),
      fc.nat(),
      fc.nat(2),
      fc.array(unit, { maxLength: 3 }),
      (value, where, cut, insert) => {
        const text = JSON.stringify(value);
        const at = where % (text.length + 1);
        const mutant = text.slice(0, at) + insert.join("") +
          text.slice(at + cut);
        if (!mutant.isWellFormed()) return;
        const read = readJson(fromText(mutant));
        if (read.ok) expect(toPlain(read.value)).toEqual(JSON.parse(mutant));
      },
    ),
    { numRuns: 3000, seed: 2 },
  );
});
