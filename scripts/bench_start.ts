/**
 * What a start costs: ours beside bare bubblewrap with the same mounts, beside the floor, and beside the peers.
 *
 * Every round runs each row once, beginning one row further than the last. The mounts of the bare rows are those that
 * `codex sandbox --explain=json` prints.
 *
 * @module
 */

import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Peer } from "./bench_peers.ts";
import {
  type Bar,
  type BenchRow,
  emptyRow,
  quantile,
  timeRow,
} from "./bench_result.ts";
import {
  measure,
  peakBytes,
  residentProcesses,
  type StartRow,
} from "./bench_runs.ts";
import { COMPILE_FLAGS } from "./build.ts";
import { buildUpstreamBwrap } from "./build_bwrap.ts";
import { outDir } from "./build_files.ts";

/** Made in every workspace that must not need placeholders. */
export const METADATA_NAMES = [".git", ".codex", ".agents"] as const;

type Plan = {
  readonly launcher: { readonly kind: string; readonly path?: string };
  readonly supervisor: readonly unknown[];
  readonly bwrapArguments: readonly string[];
};

/** The rows of a start, those with a part of `parts` in their name and what they are divided by; all where there is no part. */
export function startRows(
  codex: string,
  { folder, env, rounds, peers, parts }: {
    readonly folder: string;
    readonly env: Record<string, string>;
    readonly rounds: number;
    readonly peers: readonly Peer[];
    readonly parts: readonly string[];
  },
): readonly BenchRow[] {
  const plain = join(folder, "plain");
  const [running, refused] = tried(peers, plain, env);
  const rows = chosenRows(plannedRows(codex, folder, env, running), parts);
  const times = measure(rows, rounds, env);
  return [
    ...rows.map((row) =>
      timeRow({
        table: "start",
        name: row.name,
        times: times.get(row.name)!,
        against: row.against === null
          ? null
          : { name: row.against, times: times.get(row.against)! },
        mostRatio: row.budget,
        peakMb: peakBytes(row, env) / 1e6,
        processes: residentProcesses(
          row,
          env,
          quantile(times.get(row.name)!, 0.5),
        ),
      })
    ),
    ...refused,
  ];
}

/** What the picture shows, from the floor up. */
export function startBars(peers: readonly Peer[]): readonly Bar[] {
  const bare = (kind: string, profile: string): Bar => ({
    label: `bubblewrap alone, ${kind}`,
    row: `bare ${kind} bwrap, mounts of ${profile}`,
    isOurs: false,
  });
  return [
    bare("bundled", "default profile, bundled bwrap"),
    bare("system's", "default profile"),
    { label: "codex, default profile", row: "default profile", isOurs: true },
    {
      label: "codex, :workspace",
      row: ":workspace, all names there",
      isOurs: true,
    },
    ...peers.map(({ name }) => ({ label: name, row: name, isOurs: false })),
  ];
}

/** The peers that can run here, and a row for each that can't, with what it says. */
function tried(
  peers: readonly Peer[],
  cwd: string,
  env: Record<string, string>,
): readonly [readonly Peer[], readonly BenchRow[]] {
  const running: Peer[] = [];
  const refused: BenchRow[] = [];
  for (const peer of peers) {
    const done = Bun.spawnSync([...peer.argv, "true"], {
      cwd,
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    if (done.exitCode === 0) running.push(peer);
    else {
      const said = done.stderr.toString().trim().split("\n").at(-1) ?? "";
      refused.push(
        emptyRow("start", peer.name, `status ${done.exitCode}: ${said}`),
      );
    }
  }
  return [running, refused];
}

function plannedRows(
  codex: string,
  folder: string,
  env: Record<string, string>,
  peers: readonly Peer[],
): StartRow[] {
  const plain = join(folder, "plain");
  const repo = join(folder, "repo");
  const bundled = join(folder, "bwrap");
  copyFileSync(join(outDir, "bwrap"), bundled);

  const rows: StartRow[] = [
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
  // Ours is quicker than what people have: by its own measure the better bubblewrap would count against us.
  const [own, kept] = rows.slice(-2) as [StartRow, StartRow];
  if (Bun.which("gcc") !== null) {
    const { file, version } = buildUpstreamBwrap(outDir, folder);
    const upstream: StartRow = {
      ...own,
      name: `bare upstream's bwrap ${version}, same mounts`,
      argv: [file, ...own.argv.slice(1)],
    };
    rows.splice(-1, 1, upstream, { ...kept, against: upstream.name }, {
      ...kept,
      name: `${kept.name}, by the bundled bwrap's measure`,
      budget: null,
    });
  }
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
  rows.push(...peers.flatMap(({ name, argv, codex: theirs }): StartRow[] => [
    {
      name,
      argv: [...argv, "true"],
      cwd: plain,
      against: bareDefault!.name,
      budget: null,
    },
    {
      name: `default profile, to ${name}`,
      argv: [codex, "sandbox", "--", "true"],
      cwd: plain,
      against: name,
      budget: theirs !== null && name.includes("145") ? 0.3 : null,
    },
  ]));
  return rows;
}

/** The asked rows with the rows they are divided by; all when none was asked for. */
function chosenRows(
  rows: readonly StartRow[],
  parts: readonly string[],
): readonly StartRow[] {
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
