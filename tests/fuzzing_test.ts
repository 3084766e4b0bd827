/**
 * The fuzzer itself: a planted fault is found, made small and kept, and a command line that means nothing is refused.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { corpus, fuzz, kindOf } from "./fuzzing.ts";

const PLANTED = Buffer.from("http1.1", "latin1");
const options = {
  room: "http",
  seed: 1,
  runs: 5_000,
  tokens: [PLANTED],
} as const;

/** Fails on inputs that the corpus doesn't have. */
function check(bytes: Buffer): void {
  if (bytes.includes(PLANTED)) throw new Error("planted");
}

test("a planted fault is found, and made as small as it can be", () => {
  expect(() => fuzz(options, check)).toThrow(
    `hex ${PLANTED.toString("hex")}: planted`,
  );
});

test("the corpus is tried first, as it is", () => {
  const seen: string[] = [];
  const known = corpus("http");
  fuzz(
    { ...options, runs: known.length },
    (bytes) => seen.push(bytes.toString("hex")),
  );
  expect(seen).toEqual(known.map((bytes) => bytes.toString("hex")));
});

test("the same seed gives the same inputs, another one others", () => {
  const inputs = (seed: number): string => {
    const seen: string[] = [];
    fuzz(
      { ...options, seed, runs: 200 },
      (bytes) => seen.push(bytes.toString("hex")),
    );
    return seen.join(" ");
  };
  expect(inputs(1)).toBe(inputs(1));
  expect(inputs(1)).not.toBe(inputs(2));
});

/** Too deep for a few edits at once: each sign more is an answer of a new kind. */
function ladder(reads: ((bytes: Buffer) => unknown) | undefined): void {
  const runOf = (bytes: Buffer): number =>
    Math.max(0, ...(`${bytes}`.match(/~+/g) ?? []).map((run) => run.length));
  fuzz(
    {
      ...options,
      runs: 20_000,
      tokens: [Buffer.from("~")],
      ...(reads === undefined ? {} : { reads }),
    },
    (bytes) => {
      if (runOf(bytes) >= 12) throw new Error("the top");
    },
  );
}

test("the first input that gets an answer of a new kind leads on", () => {
  const rung = (bytes: Buffer): unknown => ({
    kind: String(`${bytes}`.match(/~+/g)?.sort().at(-1)?.length),
  });
  expect(() => ladder(undefined)).not.toThrow();
  expect(() => ladder(rung)).toThrow("the top");
});

const ANSWERS = [ // one, other, alike, why
  [{ kind: "a", host: "x" }, { kind: "a", host: "yy" }, true, "texts differ"],
  [{ kind: "a" }, { kind: "b" }, false, "the kind differs"],
  [{ error: 'no "x" 1' }, { error: 'no "yy" 22' }, true, "what is quoted"],
  [{ error: "no a" }, { error: "no b" }, false, "another message"],
  [{ port: 80 }, { port: 8_080 }, true, "numbers differ"],
  [[1, 2], [2, 1, 1], true, "the same kinds in a list"],
  [null, undefined, false, "none and nothing"],
] as const;
for (const [one, other, isAlike, why] of ANSWERS) {
  test(`answers are ${isAlike ? "alike" : "of two kinds"}: ${why}`, () => {
    expect(kindOf(one) === kindOf(other)).toBe(isAlike);
  });
}

test("a find is kept where the caller asks for it", () => {
  const folder = mkdtempSync(join(tmpdir(), "codex-finds-"));
  try {
    const program = `import { fuzz } from ${
      JSON.stringify(join(import.meta.dir, "fuzzing.ts"))
    };
const planted = Buffer.from("http1.1");
fuzz({ room: "http", seed: 1, runs: 5000, tokens: [planted] }, (bytes) => {
  if (bytes.includes(planted)) throw new Error("planted");
});`;
    const done = Bun.spawnSync([process.execPath, "-e", program], {
      env: { PATH: process.env["PATH"] ?? "", FUZZ_FINDS: folder },
      stderr: "pipe",
    });
    const [name = ""] = readdirSync(join(folder, "http"));
    expect(name).toStartWith("found_");
    expect(readFileSync(join(folder, "http", name))).toEqual(PLANTED);
    expect(done.stderr.toString()).toContain(`kept as http/${name}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const WORDS = [ // words, part of the message
  [["tomml"], 'Unknown target "tomml", must be toml'],
  [["--seconds", "0"], 'Cannot use --seconds "0": must be a number from 1'],
] as const;
for (const [words, part] of WORDS) {
  test(`fuzz ${words.join(" ")} is refused: ${part}`, () => {
    const done = Bun.spawnSync([
      process.execPath,
      join(import.meta.dir, "../scripts/fuzz.ts"),
      ...words,
    ], { stderr: "pipe" });
    expect(done.exitCode).toBe(2);
    expect(done.stderr.toString()).toContain(part);
  });
}
