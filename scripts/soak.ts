/**
 * Runs, kills and starves the sandbox many times, and names whatever is left: a file, a mount, a process, memory.
 *
 * Usage: npm run soak -- [--minutes N] [--quick] [WORD...]   only parts that contain every WORD
 *
 * The whole is 200 kills, 200 runs at once and 10,000 in sequence, about five minutes on two cores; `--minutes` scales it, `--quick`
 * is a twentieth of it. Ends with a table and status 1 if anything was left or a run ended as it must not.
 *
 * Limits: the parts with a full or read-only disk need root or user namespaces; exhausted processes need root, because the limit is
 * counted per user. What is only killed in the first milliseconds of a run that nobody supervises may go on (threat model), so kills are
 * of supervised runs.
 *
 * @module
 */
import process from "node:process";
import { misused, scriptWords } from "./script_words.ts";
import { type Ground, makeGround, type Outcome } from "./soak_ground.ts";
import { clocks, kills, parallel, replaced, sequential } from "./soak_runs.ts";
import { wallClock } from "./soak_clock.ts";
import { descriptors, onTmpfs, processes } from "./soak_starved.ts";

type Part = readonly [
  name: string,
  run: (ground: Ground, scale: number) => Promise<Outcome>,
];

/** Minutes of the whole on two cores. */
const WHOLE_MINUTES = 5;
const QUICK = 0.05;

const PARTS: readonly Part[] = [
  ["SIGKILL at random moments", kills],
  ["runs at once", parallel],
  ["runs in sequence", sequential],
  ["a full CODEX_HOME", (ground) => onTmpfs(ground, "home", "full")],
  ["a full workspace", (ground) => onTmpfs(ground, "work", "full")],
  ["a read-only CODEX_HOME", (ground) => onTmpfs(ground, "home", "read-only")],
  ["a read-only workspace", (ground) => onTmpfs(ground, "work", "read-only")],
  ["no more processes", processes],
  ["no more descriptors", descriptors],
  ["a workspace that is deleted or replaced", replaced],
  ["clocks that jump between runs", clocks],
  ["a wall clock that jumps", wallClock],
];

if (import.meta.main) await main();

async function main(): Promise<void> {
  const { values, positionals } = scriptWords(import.meta.path, {
    minutes: { type: "string", default: String(WHOLE_MINUTES) },
    quick: { type: "boolean", default: false },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) {
    misused(
      import.meta.path,
      `Cannot use --minutes "${values.minutes}": must be a number above 0`,
    );
  }
  const parts = PARTS.filter(([name]) =>
    positionals.every((word) => name.includes(word))
  );
  if (parts.length === 0) {
    const names = PARTS.map(([name]) => name).join(", ");
    const words = positionals.map((word) => `"${word}"`).join(" and ");
    misused(import.meta.path, `No part has ${words}, there are: ${names}`);
  }
  const scale = values.quick ? QUICK : minutes / WHOLE_MINUTES;
  const rows: string[] = [];
  let failed = 0;
  for (const [name, part] of parts) {
    const started = performance.now();
    const ground = makeGround();
    let outcome: Outcome;
    try {
      outcome = await part(ground, scale);
    } finally {
      ground.clean();
    }
    const { runs, faults, note } = outcome;
    failed += faults.length;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    rows.push(
      `| ${name} | ${runs} | ${
        faults.length === 0 ? "nothing" : `${faults.length} faults`
      } | ${note} | ${seconds} s |`,
    );
    process.stderr.write(`${rows.at(-1)}\n`);
    for (const fault of faults.slice(0, 20)) {
      process.stderr.write(`  ${fault}\n`);
    }
  }
  process.stdout.write(
    [
      "| what | runs | left | note | time |",
      "| ---- | ---- | ---- | ---- | ---- |",
      ...rows,
      "",
    ].join("\n"),
  );
  process.exitCode = failed === 0 ? 0 : 1;
}
