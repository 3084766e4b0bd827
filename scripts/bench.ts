/**
 * Measures the start of a sandbox as ratios to bare bubblewrap with the same mounts, all rows interleaved in one run.
 *
 * Absolute times differ between machines and hours; a ratio within one round does not, much. Every round runs each row once,
 * beginning one row further than the last. The mounts of the bare rows are those that `codex sandbox --explain=json` prints.
 * Needs root: `/tmp` of the measurement is a private one that has all metadata names, so that nothing is left on the host's.
 *
 * Usage: npm run bench -- [--rounds N] [--codex FILE] [--peer NAME=FILE]… [--row PART]…
 *
 * @module
 */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { loadavg } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { configTable } from "./bench_config.ts";
import { masksTable } from "./bench_masks.ts";
import { networkTable } from "./bench_network.ts";
import { COMPILE_FLAGS } from "./build.ts";
import { outDir } from "./build_files.ts";

/** Below this a median says too little: the ratio is not printed. */
const MIN_ROUNDS = 20;
const DEFAULT_ROUNDS = 40;
const PRIVATE_TMP_MARK = "CODEX_BENCH_PRIVATE_TMP";
const SETTLED_MS = 250;
/** Nothing is kept of a start that rests on a file which changed less than two seconds ago. */
const SETTLING_MS = 3_100;
const PAGE_BYTES = 4096; // of x86-64; statm counts in pages
/** Made in every workspace that must not need placeholders. */
export const METADATA_NAMES = [".git", ".codex", ".agents"] as const;

type Row = {
  readonly name: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  /** The row that this one is divided by, and the highest ratio that design §5 allows. */
  readonly against: string | null;
  readonly budget: number | null;
};

type Plan = {
  readonly launcher: { readonly kind: string; readonly path?: string };
  readonly supervisor: readonly unknown[];
  readonly bwrapArguments: readonly string[];
};

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    process.stderr.write(
      `bench: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exit(125);
  }
}

function main(): void {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: String(DEFAULT_ROUNDS) },
      codex: { type: "string", default: join(outDir, "codex") },
      peer: { type: "string", multiple: true, default: [] },
      row: { type: "string", multiple: true, default: [] },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isSafeInteger(rounds) || rounds < 1) {
    throw new Error(
      `Cannot use --rounds "${values.rounds}": must be a number from 1`,
    );
  }
  if (process.env[PRIVATE_TMP_MARK] === undefined) {
    return enterPrivateTmp(resolve(values.codex));
  }

  const folder = mkdtempSync("/var/tmp/codex-bench-");
  try {
    const codex = process.env[PRIVATE_TMP_MARK];
    const env = layFolders(folder);
    const rows = chosenRows(
      plannedRows(codex, folder, env, values.peer),
      values.row,
    );
    const times = measure(rows, rounds, env);
    process.stdout.write(table(rows, times, rounds, env));
    if (values.row.length === 0 || values.row.includes("config")) {
      process.stdout.write(configTable(codex, { folder, env, rounds }));
    }
    if (values.row.length === 0 || values.row.includes("masks")) {
      const bundled = join(folder, "bwrap");
      process.stdout.write(
        masksTable(codex, { folder, env, rounds, bundled }),
      );
    }
    const network = values.row.filter((part) => part.startsWith("network"));
    if (values.row.length === 0 || network.length > 0) {
      const { peer: peers } = values;
      process.stdout.write(
        networkTable(codex, { folder, env, rounds, peers, parts: network }),
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Starts this script again in a mount namespace of its own, with an empty `/tmp` that has the metadata names. */
function enterPrivateTmp(codex: string): void {
  if (process.getuid?.() !== 0) {
    throw new Error("Cannot make a private /tmp: run as root");
  }
  if (!existsSync(codex)) {
    throw new Error(`Cannot measure "${codex}": there is no such file`);
  }
  // What lies below /tmp is hidden by the private one.
  const shelter = mkdtempSync("/var/tmp/codex-bench-");
  try {
    const kept = codex.startsWith("/tmp/") ? join(shelter, "codex") : codex;
    if (kept !== codex) copyFileSync(codex, kept);
    const script = `mount -t tmpfs -o mode=1777 tmpfs /tmp && mkdir ${
      METADATA_NAMES.map((name) => `/tmp/${name}`).join(" ")
    } && touch ${
      METADATA_NAMES.map((name) => `/tmp/${name}/kept`).join(" ")
    } && exec "$@"`;
    const done = Bun.spawnSync([
      "unshare",
      "--mount",
      "--propagation=private",
      "sh",
      "-c",
      script,
      "sh",
      process.execPath,
      import.meta.path,
      ...process.argv.slice(2),
    ], {
      env: { ...process.env, [PRIVATE_TMP_MARK]: kept },
      stdio: ["ignore", "inherit", "inherit"],
    });
    process.exitCode = done.exitCode ?? 125;
  } finally {
    rmSync(shelter, { recursive: true, force: true });
  }
}

/** An empty workspace, one with all metadata names, and a state folder that no sandbox can write. */
function layFolders(folder: string): Record<string, string> {
  for (
    const name of [
      "home",
      "plain",
      ...METADATA_NAMES.map((name) => `repo/${name}`),
    ]
  ) {
    mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
  }
  // An empty one could be another run's placeholder, and would bring a supervisor.
  for (const name of METADATA_NAMES) {
    writeFileSync(join(folder, "repo", name, "kept"), "");
  }
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: join(folder, "home"),
    CODEX_HOME: join(folder, "home"),
    LANG: "C.UTF-8",
  };
}

function plannedRows(
  codex: string,
  folder: string,
  env: Record<string, string>,
  peers: readonly string[],
): Row[] {
  const plain = join(folder, "plain");
  const repo = join(folder, "repo");
  const bundled = join(folder, "bwrap");
  copyFileSync(join(outDir, "bwrap"), bundled);

  const rows: Row[] = [
    {
      name: "true",
      argv: ["/bin/true"],
      cwd: plain,
      against: null,
      budget: null,
    },
    {
      name: "floor: empty sealed program",
      argv: [emptyProgram(folder)],
      cwd: plain,
      against: null,
      budget: null,
    },
  ];
  /** A bare row with the mounts of a plan, and the row of ours that is divided by it. */
  const pair = (
    name: string,
    flags: readonly string[],
    cwd: string,
    budget: (plan: Plan) => number | null,
  ): void => {
    const plan = explain([codex, "sandbox", ...flags], cwd, env);
    const bwrap = plan.launcher.kind === "system"
      ? plan.launcher.path!
      : bundled;
    const kind = plan.launcher.kind === "system"
      ? "system's bwrap"
      : "bundled bwrap";
    const bare = `bare ${kind}, mounts of ${name}`;
    rows.push(
      {
        name: bare,
        argv: [bwrap, ...bareArguments(plan.bwrapArguments)],
        cwd,
        against: null,
        budget: null,
      },
      {
        name,
        argv: [codex, "sandbox", ...flags, "--", "true"],
        cwd,
        against: bare,
        budget: budget(plan),
      },
    );
  };
  const workspaceBudget = (plan: Plan): number =>
    plan.supervisor.length === 0 ? 2.5 : 3.5;
  pair("default profile", [], plain, () => 2.5);
  const [, , bareDefault] = rows;
  rows.push({
    ...bareDefault!,
    name: "bare bundled bwrap by path, same mounts",
    argv: [bundled, ...bareDefault!.argv.slice(1)],
    against: bareDefault!.name,
  });
  pair(
    "default profile, bundled bwrap",
    ["--launcher", "bundled"],
    plain,
    () => null,
  );
  rows.push({
    name: "default profile, planned anew",
    argv: [codex, "sandbox", "--stage", "one-start", "--", "true"],
    cwd: plain,
    against: bareDefault!.name,
    budget: null,
  }, {
    name: "default profile, inner stage",
    argv: [codex, "sandbox", "--stage", "inner", "--", "true"],
    cwd: plain,
    against: bareDefault!.name,
    budget: null,
  });
  pair(
    ":workspace, all names there",
    ["-P", ":workspace"],
    repo,
    workspaceBudget,
  );
  pair(
    ":workspace, all names there, bundled",
    ["-P", ":workspace", "--launcher", "bundled"],
    repo,
    workspaceBudget,
  );
  const repoBare = rows.find(({ name }) =>
    name.endsWith("mounts of :workspace, all names there")
  )!;
  rows.push({
    name: ":workspace, placeholders",
    argv: [codex, "sandbox", "-P", ":workspace", "--", "true"],
    cwd: plain,
    against: repoBare.name,
    budget: 3.5,
  });
  for (const peer of peers) {
    const [name, path] = [
      peer.slice(0, peer.indexOf("=")),
      peer.slice(peer.indexOf("=") + 1),
    ];
    if (name === "" || path === "") {
      throw new Error(`Cannot use --peer "${peer}": must be NAME=FILE`);
    }
    const row = `peer ${name}`;
    rows.push(
      {
        name: row,
        argv: [resolve(path), "sandbox", "--", "true"],
        cwd: plain,
        against: bareDefault!.name,
        budget: null,
      },
      {
        name: `default profile ÷ ${row}`,
        argv: [codex, "sandbox", "--", "true"],
        cwd: plain,
        against: row,
        budget: 0.3,
      },
    );
  }
  return rows;
}

/** The asked rows with the rows they are divided by; all when none was asked for. */
function chosenRows(
  rows: readonly Row[],
  parts: readonly string[],
): readonly Row[] {
  if (parts.length === 0) return rows;
  const asked = rows.filter(({ name }) =>
    parts.some((part) => name.includes(part))
  );
  return rows.filter((row) =>
    asked.includes(row) || asked.some(({ against }) => against === row.name)
  );
}

function explain(
  argv: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Plan {
  const done = Bun.spawnSync([...argv, "--explain=json", "--", "true"], {
    cwd,
    env,
    stdin: "ignore",
  });
  if (done.exitCode !== 0) {
    throw new Error(
      `Cannot plan "${
        argv.slice(1).join(" ")
      }": ${done.stderr.toString().trim()}`,
    );
  }
  return JSON.parse(done.stdout.toString());
}

/** The plan's arguments as they work without our descriptors: binds by path, no filter, no report pipes. */
export function bareArguments(planned: readonly string[]): string[] {
  const words: string[] = [];
  for (let i = 0; i < planned.length; i++) {
    const word = planned[i]!;
    const next = planned[i + 1] ?? "";
    switch (word) {
      case "--seccomp":
      case "--add-seccomp-fd":
      case "--info-fd":
      case "--json-status-fd":
      case "--sync-fd":
      case "--block-fd":
      case "--args":
        i++;
        break;
      case "--bind-fd":
      case "--ro-bind-fd":
        words.push(word.replace("-fd", ""), planned[i + 2]!, planned[i + 2]!);
        i += 2;
        break;
      case "--ro-bind-data":
        if (words.at(-2) === "--perms") words.splice(-2); // a bind keeps the mode of its source
        words.push("--ro-bind", "/dev/null", planned[i + 2]!);
        i += 2;
        break;
      case "--empty-file": // only the bundled bwrap has it
        if (words.at(-2) === "--perms") words.splice(-2);
        words.push("--ro-bind", "/dev/null", next);
        i++;
        break;
      case "--":
        return [...words, ...planned.slice(i)];
      default:
        words.push(word);
        if (word === "--argv0" || word === "--setenv") {
          words.push(next);
          i++;
        }
    }
  }
  return words;
}

/** The least that a program of ours can cost: a sealed runtime with nothing to do. */
function emptyProgram(folder: string): string {
  const source = join(folder, "empty.ts");
  writeFileSync(source, "export {};\n");
  const done = Bun.spawnSync([
    process.execPath,
    "build",
    ...COMPILE_FLAGS,
    `--compile-executable-path=${join(outDir, "runtime")}`,
    "--outfile=empty",
    source,
  ], { cwd: folder, env: { HOME: folder } });
  if (done.exitCode !== 0) {
    throw new Error(`Cannot compile the empty program: ${done.stderr}`);
  }
  return join(folder, "empty");
}

/** Milliseconds of each row, one number a round. */
function measure(
  rows: readonly Row[],
  rounds: number,
  env: Record<string, string>,
): ReadonlyMap<string, readonly number[]> {
  const times = new Map<string, number[]>(rows.map(({ name }) => [name, []]));
  Bun.sleepSync(SETTLING_MS);
  for (let round = -2; round < rounds; round++) { // two rounds to fill the caches, not counted
    for (let i = 0; i < rows.length; i++) {
      const row = rows[(i + Math.max(round, 0)) % rows.length]!;
      const ms = runOnce(row, env);
      if (round >= 0) times.get(row.name)!.push(ms);
    }
  }
  return times;
}

/** Milliseconds from the start to the end of one run that succeeds. */
function runOnce(
  { argv, cwd, name }: Row,
  env: Record<string, string>,
): number {
  const started = Bun.nanoseconds();
  const done = Bun.spawnSync([...argv], {
    cwd,
    env,
    stdio: ["ignore", "ignore", "pipe"],
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
function peakBytes({ argv, cwd }: Row, env: Record<string, string>): number {
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

/** Processes between us and the command while it runs, the command itself not counted. */
function residentProcesses(
  { argv, cwd }: Row,
  env: Record<string, string>,
): number | null {
  if (!argv.at(-1)!.endsWith("true") || argv.length === 1) return null;
  const child = Bun.spawn([...argv.slice(0, -1), "sleep", "1"], {
    cwd,
    env,
    stdio: ["ignore", "ignore", "ignore"],
  });
  Bun.sleepSync(SETTLED_MS);
  const count = descendants(child.pid); // the started one counts, the command does not
  child.kill("SIGTERM");
  Bun.sleepSync(20);
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

function table(
  rows: readonly Row[],
  times: ReadonlyMap<string, readonly number[]>,
  rounds: number,
  env: Record<string, string>,
): string {
  const head = [
    "row",
    "median ms",
    "p95 ms",
    "ratio",
    "budget",
    "peak MB",
    "processes",
  ];
  const body = rows.map((row) => {
    const own = times.get(row.name)!;
    const base = row.against === null ? undefined : times.get(row.against);
    const ratio = base === undefined
      ? null
      : quantile(own.map((ms, i) => ms / base[i]!), 0.5);
    return [
      row.name,
      quantile(own, 0.5).toFixed(2),
      quantile(own, 0.95).toFixed(2),
      ratio === null ? "" : rounds < MIN_ROUNDS ? "refused" : ratio.toFixed(2),
      row.budget === null || ratio === null || rounds < MIN_ROUNDS
        ? ""
        : `${row.budget.toFixed(2)} ${ratio <= row.budget ? "ok" : "OVER"}`,
      (peakBytes(row, env) / 1e6).toFixed(1),
      String(residentProcesses(row, env) ?? ""),
    ];
  });
  const widths = head.map((_, column) =>
    Math.max(...[head, ...body].map((line) => [...line[column]!].length))
  );
  const lines = [head, ...body].map((line) =>
    line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
    ).join("  ")
  );
  return `${lines.join("\n")}\n\n${notes(times, rounds).join("\n")}\n`;
}

function notes(
  times: ReadonlyMap<string, readonly number[]>,
  rounds: number,
): string[] {
  const median = (part: string): number | null => {
    const found = [...times].find(([name]) => name.startsWith(part));
    return found === undefined ? null : quantile(found[1], 0.5);
  };
  const empty = median("floor");
  const bare = median("bare system's bwrap, mounts of default profile") ??
    median("bare bundled bwrap, mounts of default profile");
  const [load] = loadavg();
  return [
    `${rounds} rounds; a ratio is the median of the rounds' ratios${
      rounds < MIN_ROUNDS ? `, and is refused below ${MIN_ROUNDS} rounds` : ""
    }`,
    ...(empty === null || bare === null ? [] : [
      `floor, the empty program and then bare bwrap: ${
        ((empty + bare) / bare).toFixed(2)
      }`,
    ]),
    `peak MB: all processes of a run together, sampled; processes: resident beside the command`,
    `${process.versions["bun"]} on ${kernel()}, load ${load!.toFixed(2)}${
      load! > 1 ? ": the machine is BUSY, measure again" : ""
    }`,
  ];
}

function kernel(): string {
  return `Linux ${readFileSync("/proc/sys/kernel/osrelease", "utf8").trim()}`;
}

function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ??
    Number.NaN;
}
