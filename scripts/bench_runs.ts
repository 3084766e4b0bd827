/**
 * Runs of a row: how long they take, how much memory they hold, and which processes stay beside the command.
 *
 * @module
 */

import { readdirSync, readFileSync } from "node:fs";

const SETTLED_MS = 250;
/** Nothing is kept of a start that rests on a file which changed less than two seconds ago. */
const SETTLING_MS = 3_100;
const PAGE_BYTES = 4096; // of x86-64; statm counts in pages

export type StartRow = {
  readonly name: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The row that this one is divided by, and the highest ratio that is allowed. */
  readonly against: string | null;
  readonly budget: number | null;
};

/** Rounds that fill the caches and are not counted. */
const WARM_UPS = 2;

/** What each subject has answered so far, one number a counted round. */
export type Answers = readonly (readonly number[])[];

/**
 * What each of `count` subjects answers.
 *
 * Every round asks each of them once, beginning one further than the last: what the machine does meanwhile falls on all alike.
 *
 * @param ask `null` leaves the subject out of this round
 */
export function interleaved(
  count: number,
  rounds: number,
  ask: (subject: number, soFar: Answers) => number | null,
  { warmUps = WARM_UPS, isEnough = (): boolean => false }: {
    readonly warmUps?: number;
    /** Ends it before its last round. */
    readonly isEnough?: (soFar: Answers, round: number) => boolean;
  } = {},
): Answers {
  const answers = Array.from({ length: count }, (): number[] => []);
  for (let round = -warmUps; round < rounds; round++) {
    if (isEnough(answers, round)) break;
    for (let i = 0; i < count; i++) {
      const subject = (i + Math.max(round, 0)) % count;
      const answer = ask(subject, answers);
      if (round >= 0 && answer !== null) answers[subject]!.push(answer);
    }
  }
  return answers;
}

/** Milliseconds of each row by its name, one number a round. */
export function measure(
  rows: readonly StartRow[],
  rounds: number,
  env: Record<string, string>,
): ReadonlyMap<string, readonly number[]> {
  Bun.sleepSync(SETTLING_MS);
  const times = interleaved(
    rows.length,
    rounds,
    (row) => runMs(rows[row]!, env),
  );
  return new Map(rows.map(({ name }, row) => [name, times[row]!]));
}

/** Milliseconds from the start to the end of one run that succeeds. */
export function runMs(
  { argv, cwd, name }: Pick<StartRow, "argv" | "cwd" | "name">,
  env: Record<string, string>,
  stdout: "ignore" | "pipe" = "ignore",
): number {
  const started = Bun.nanoseconds();
  const done = Bun.spawnSync([...argv], {
    cwd,
    env,
    stdio: ["ignore", stdout, "pipe"],
  });
  const ms = (Bun.nanoseconds() - started) / 1e6;
  if (done.exitCode !== 0) {
    throw new Error(
      `Cannot measure "${name}": status ${done.exitCode}, ${done.stderr.toString().trim()}`,
    );
  }
  return ms;
}

/**
 * The highest sum of resident bytes of a run's processes that was seen while it lasted.
 *
 * Sampled, because `ru_maxrss` of a process that was started by vfork(2) begins at the size of its parent: us.
 */
export function peakBytes(
  { argv, cwd }: StartRow,
  env: Record<string, string>,
): number {
  let peak = 0;
  for (let run = 0; run < 3; run++) {
    const child = Bun.spawn([...argv], {
      cwd,
      env,
      stdio: ["ignore", "ignore", "ignore"],
    });
    for (let now = treeBytes(child.pid); now > 0; now = treeBytes(child.pid)) {
      peak = Math.max(peak, now);
    }
  }
  return peak;
}

/** 0 when the process has ended. */
function treeBytes(pid: number): number {
  try {
    const [, pages] = readFileSync(`/proc/${pid}/statm`, "latin1").split(" ");
    const children = readFileSync(
      `/proc/${pid}/task/${pid}/children`,
      "latin1",
    );
    return Number(pages) * PAGE_BYTES +
      children.split(" ").filter((word) => word !== "")
        .reduce((sum, child) => sum + treeBytes(Number(child)), 0);
  } catch {
    return 0;
  }
}

/** Processes between us and the command while it runs, the command itself not counted. @param startMs how long a start takes */
export function residentProcesses(
  { argv, cwd }: StartRow,
  env: Record<string, string>,
  startMs: number,
): number | null {
  if (!argv.at(-1)!.endsWith("true") || argv.length === 1) return null;
  const settledMs = Math.max(SETTLED_MS, 3 * startMs);
  // Bare bubblewrap's command outlives it: it has to end by itself.
  const seconds = String(Math.ceil((settledMs + startMs) / 1_000));
  const child = Bun.spawn([...argv.slice(0, -1), "sleep", seconds], {
    cwd,
    env,
    stdio: ["ignore", "ignore", "ignore"],
  });
  Bun.sleepSync(settledMs);
  const count = descendants(child.pid); // the started one counts, the command does not
  child.kill("SIGTERM");
  Bun.sleepSync(Math.max(20, startMs));
  return count;
}

function descendants(pid: number): number {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      parents.set(
        Number(entry),
        Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]),
      );
    } catch {
      // it ended meanwhile
    }
  }
  const below = (of: number): number =>
    [...parents].filter(([, parent]) => parent === of)
      .reduce((sum, [child]) => sum + 1 + below(child), 0);
  return below(pid);
}
