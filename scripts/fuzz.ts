/**
 * Tries untrusted inputs on every reader until the time is over; what is found is made small and written to `tests/corpus`.
 *
 * The properties are the fuzz tests themselves: they run in `npm test` with a fixed number of inputs and a fixed seed, and here with
 * seconds, or `FUZZ_RUNS` inputs, and a seed of this run, which is printed. A find is a failure from then on, in every test run, until
 * it is mended.
 *
 * Usage: npm run fuzz -- [--seconds N] [--seed N] [TARGET]…
 *
 * @module
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { outDir } from "./build_files.ts";
import { TARGETS } from "./fuzz_targets.ts";
import { misused, scriptWords, wholeNumber } from "./script_words.ts";

const TESTS = join(import.meta.dir, "../tests");
const DEFAULT_RUNS = "20000";

type Outcome = {
  readonly target: string;
  readonly title: string;
  readonly inputs: number;
  /** `null`: nothing was found. */
  readonly find: string | null;
};

if (import.meta.main) process.exitCode = main();

function main(): number {
  const { values, positionals } = scriptWords(import.meta.path, {
    seconds: { type: "string" },
    seed: { type: "string" },
  });
  const numberOf = (flag: string, word: string): number =>
    wholeNumber(import.meta.path, flag, word);
  const targets = positionals.length > 0 ? positionals : Object.keys(TARGETS);
  const properties = targets.flatMap((target) => {
    if (!Object.hasOwn(TARGETS, target)) {
      misused(
        import.meta.path,
        `Unknown target "${target}", must be ${
          Object.keys(TARGETS).join(", ")
        }`,
      );
    }
    return TARGETS[target]!.map(([file, title]) => ({ target, file, title }));
  });
  const seconds = values.seconds === undefined
    ? null
    : numberOf("--seconds", values.seconds);
  const seed = values.seed === undefined
    ? Math.floor(Math.random() * 0x7fff_ffff)
    : numberOf("--seed", values.seed);
  const budget = seconds === null
    ? { FUZZ_RUNS: process.env["FUZZ_RUNS"] || DEFAULT_RUNS }
    : { FUZZ_SECONDS: String(seconds / properties.length) };
  process.stdout.write(`seed ${seed}\n`);
  const outcomes = properties.map(({ target, file, title }) => {
    const outcome = tryProperty(target, file, title, {
      ...budget,
      FUZZ_SEED: String(seed),
    });
    const { inputs, find } = outcome;
    process.stdout.write(
      `${find === null ? "ok   " : "FOUND"} ${target.padEnd(16)} ${
        String(inputs).padStart(9)
      }  ${title}\n${find === null ? "" : `      ${find}\n`}`,
    );
    return outcome;
  });
  const finds = outcomes.filter(({ find }) => find !== null).length;
  const total = outcomes.reduce((sum, { inputs }) => sum + inputs, 0);
  process.stdout.write(`${total} inputs, ${finds} finds\n`);
  return finds === 0 ? 0 : 1;
}

function tryProperty(
  target: string,
  file: string,
  title: string,
  environment: Record<string, string>,
): Outcome {
  const folder = mkdtempSync(join(tmpdir(), "codex-fuzz-"));
  try {
    const report = join(folder, "report");
    const done = Bun.spawnSync([
      process.execPath,
      "test",
      join(TESTS, file),
      "--test-name-pattern",
      `^${title.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`,
    ], {
      cwd: join(TESTS, ".."),
      env: {
        ...process.env,
        CODEX_BUILD_DIR: outDir,
        FUZZ_FINDS: join(TESTS, "corpus"),
        FUZZ_REPORT: report,
        ...environment,
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const inputs = countIn(report);
    if (done.exitCode === 0 && inputs !== null) {
      return { target, title, inputs, find: null };
    }
    const said = done.stderr.toString();
    const find = /error: ([^\n]*)/.exec(said)?.[1] ??
      `it did not run: ${said.trim().slice(-200)}`;
    return { target, title, inputs: inputs ?? 0, find };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The inputs that the property says it has tried, `null` when it didn't come to its end. */
function countIn(report: string): number | null {
  try {
    return Number(readFileSync(report, "utf8"));
  } catch {
    return null;
  }
}
