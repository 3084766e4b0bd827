/**
 * Which calls have a place where their start can be kept.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { commandIndex } from "../../src/run/kept_start.ts";

const CALLS: readonly (readonly [
  words: readonly string[],
  index: number | null,
  why: string,
])[] = [
  [["sandbox", "true"], 1, "the first positional is the command"],
  [["sandbox", "--", "true"], 2, "behind the separator"],
  [["sandbox", "--", "--explain"], 2, "a flag's name as command"],
  [
    ["sandbox", "-P", ":workspace", "ls", "-P"],
    3,
    "a profile; the rest is the command's",
  ],
  [
    ["sandbox", "-C", "/tmp", "-P", "x", "--", "ls"],
    6,
    "a directory and a profile",
  ],
  [["sandbox", "--launcher", "bundled", "ls"], 3, "a launcher"],
  [["sandbox"], null, "no command"],
  [["sandbox", "--"], null, "no command behind the separator"],
  [["sandbox", "-P"], null, "a flag without its value"],
  [["sandbox", "-P", "x"], null, "a profile and no command"],
  [["sandbox", "--explain", "ls"], null, "nothing is run"],
  [["sandbox", "-Px", "ls"], null, "a spelling that only the parser reads"],
  [["sandbox", "--pass-fd", "3", "ls"], null, "a descriptor of the caller's"],
  [["-c", "a=1", "sandbox", "ls"], null, "session settings before the command"],
  [["doctor"], null, "another command"],
  [["sandbox", "clean"], null, "nothing is run"],
  [["sandbox", "--", "clean"], 2, "a program of that name"],
  [[], null, "no words"],
];

for (const [words, index, why] of CALLS) {
  test(`the command of [${words.join(" ")}] is at ${index}: ${why}`, () => {
    expect(commandIndex(words)).toBe(index);
  });
}
