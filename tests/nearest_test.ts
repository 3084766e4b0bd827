import { expect, test } from "bun:test";
import { editDistance, nearest } from "../src/nearest.ts";

const WORDS = ["read", "write", "deny", "permission-profile"];
const CASES: readonly (readonly [string, string | null, string])[] = [
  ["raed", "read", "two swapped letters are one edit"],
  ["READ", "read", "case counts nothing"],
  ["wirte", "write", "a swap inside the word"],
  ["permision-profle", "permission-profile", "long words may hold more slips"],
  ["perm", "permission-profile", "the only word that it begins"],
  ["pe", null, "two letters are no beginning"],
  ["execute", null, "nothing is near"],
  ["x", null, "one letter replaced by four is no slip"],
  ["", null, "nothing was typed"],
  ["r".repeat(81), null, "too long to be a slip"],
];
for (const [word, expected, why] of CASES) {
  test(`nearest("${word.slice(0, 20)}") is ${expected}: ${why}`, () => {
    expect(nearest(word, WORDS)).toBe(expected);
  });
}

test("of two equally near words the first is taken", () => {
  expect(nearest("cat", ["bat", "hat"])).toBe("bat");
});

test("of two words with the same beginning none is taken", () => {
  expect(nearest("sandbox", ["sandbox-state-json", "sandbox-policy-cwd"]))
    .toBe(null);
});

const DISTANCES = [
  ["", "abc", 3, "three insertions"],
  ["abc", "", 3, "three deletions"],
  ["ab", "ba", 1, "one swap"],
  ["kitten", "sitting", 3, "two replacements, one insertion"],
] as const;
for (const [a, b, edits, why] of DISTANCES) {
  test(`editDistance("${a}", "${b}") is ${edits}: ${why}`, () => {
    expect(editDistance(a, b)).toBe(edits);
  });
}
