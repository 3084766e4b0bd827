/**
 * Paths that somebody else listed, judged as the walker would have judged them.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { searchesByRoot } from "../../src/host/glob_searches.ts";
import { hiddenAmong } from "../../src/host/listed_paths.ts";
import { compileGlob } from "../../src/policy/glob.ts";
import { abs } from "../../src/policy/path.ts";

const LISTED = [
  "top.env",
  "a/one.env",
  "a/b/two.env",
  "a/b/two.txt",
  ".hidden/h.env",
  "dir.env/inner.env",
  "dir.env/other",
  "n\nl.env",
  "\xff\x80.env",
];

const ROWS = [ // patterns below /w, depth, hidden, why
  [["**/*.env"], null, [
    ".hidden/h.env",
    "a/b/two.env",
    "a/one.env",
    "dir.env",
    "n\nl.env",
    "top.env",
    "\xff\x80.env",
  ], "a directory that matches once, for all that is in it"],
  [
    ["*.env"],
    null,
    ["dir.env", "n\nl.env", "top.env", "\xff\x80.env"],
    "one level",
  ],
  [["**/*.env"], 2, [
    ".hidden/h.env",
    "a/one.env",
    "dir.env",
    "n\nl.env",
    "top.env",
    "\xff\x80.env",
  ], "a limit of depth counts from the prefix"],
  [["**/two*"], 2, [], "depth 2 ends above"],
  [
    ["a/b/*", "**/*.txt"],
    null,
    ["a/b/two.env", "a/b/two.txt"],
    "two patterns, each path once",
  ],
  [["none/*"], null, [], "nothing"],
] as const;
for (const [patterns, depth, hidden, why] of ROWS) {
  test(`${patterns.join(" ")} to depth ${depth ?? "any"}: ${why}`, () => {
    const wanted = patterns.map((pattern) => {
      const glob = compileGlob(fromText(`/w/${pattern}`));
      if (!glob.ok) throw new Error(glob.error);
      const origin = { file: null, key: pattern };
      const deny = { pattern: glob.value.pattern, prefix: abs("/w"), origin };
      return { deny, glob: glob.value, prefix: glob.value.prefix };
    });
    const found: string[] = [];
    for (const [root, searches] of searchesByRoot(wanted, depth)) {
      const below = `${root}/`.slice("/w/".length);
      const listed = LISTED.filter((path) => path.startsWith(below))
        .map((path) => path.slice(below.length) as ByteString);
      for (const { path } of hiddenAmong(root, searches, listed)) {
        found.push(path.slice("/w/".length));
      }
    }
    expect(found.sort()).toEqual([...hidden].sort());
  });
}
