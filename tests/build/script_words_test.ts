/**
 * The scripts that people call: their usage is in their heads, and a word that they don't know is never passed over.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { usageOf } from "../../scripts/script_words.ts";

const SCRIPTS = `${import.meta.dirname}/../../scripts`;

const CASES = [ // script, words that it can't use, what it says of them
  ["bench", ["--round", "3"], "Unknown option '--round'"],
  ["bench", ["--rounds", "0"], 'Cannot use --rounds "0"'],
  ["bench", ["start"], 'Unknown word "start"'],
  ["compare", [], "Cannot compare without --reference FILE"],
  ["compare", ["--reference", "/bin/true"], 'Cannot compare with "/bin/true"'],
  ["compare", ["--reference", "/no/such"], 'Cannot compare with "/no/such"'],
  ["fuzz", ["--seconds", "x"], 'Cannot use --seconds "x"'],
  ["fuzz", ["nothing"], 'Unknown target "nothing"'],
  ["mutate", ["--job", "3"], "Unknown option '--job'"],
  ["mutate", ["--minutes", "soon"], 'Cannot use --minutes "soon"'],
  ["mutate", ["no such step"], 'No step has "no such step"'],
  ["soak", ["--quik"], "Unknown option '--quik'"],
  ["soak", ["--minutes", "-"], 'Cannot use --minutes "-"'],
  ["soak", ["no such part"], 'No part has "no such part"'],
  ["soak_network", ["--requests", "0"], 'Cannot use --requests "0"'],
] as const;
for (const [script, words, said] of CASES) {
  test(`${script} ${words.join(" ")} is refused with status 2 and the usage`, () => {
    const { status, stdout, stderr } = called(script, words);
    const [first, ...rest] = stderr.split("\n");
    expect({ status, stdout, first, rest: rest.join("\n") }).toEqual({
      status: 2,
      stdout: "",
      first: expect.stringContaining(`${script}: ${said}`),
      rest: `${usageIn(script)}\n`,
    });
  });
}

for (const script of new Set(CASES.map(([name]) => name))) {
  test(`${script} --help prints its usage and does nothing`, () => {
    expect(called(script, ["--help"])).toEqual({
      status: 0,
      stdout: `${usageIn(script)}\n`,
      stderr: "",
    });
  });
}

function usageIn(script: string): string {
  const usage = usageOf(readFileSync(`${SCRIPTS}/${script}.ts`, "utf8"));
  expect(usage).toStartWith("Usage: ");
  return usage;
}

function called(
  script: string,
  words: readonly string[],
): { status: number | null; stdout: string; stderr: string } {
  const done = Bun.spawnSync([
    process.execPath,
    `${SCRIPTS}/${script}.ts`,
    ...words,
  ], { stdin: "ignore", timeout: 60_000 });
  return {
    status: done.exitCode,
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
  };
}
