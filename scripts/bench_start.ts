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
  readonly launcher: { readonly path?: string };
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
  if (rows.length === 0) return [];
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
  const bare = (kind: string): Bar => ({
    label: `bubblewrap alone, ${kind}`,
    row: `bare ${kind} bwrap, mounts of default profile`,
    isOurs: false,
  });
  return [
    bare("bundled"),
    bare("system's"),
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
  const system = systemBwrap(codex, folder, env);
  const upstream = Bun.which("gcc") === null
    ? null
    : buildUpstreamBwrap(outDir, folder);
  const ours = (
    name: string,
    flags: readonly string[],
    cwd: string,
    against: StartRow,
    budget: number | null,
  ): StartRow => ({
    name,
    argv: [codex, "sandbox", ...flags, "--", "true"],
    cwd,
    against: against.name,
    budget,
  });
  /** A profile's starts by each bubblewrap, and what they are divided by; the first of it is what people have. */
  const bySystemAndBundled = (
    name: string,
    flags: readonly string[],
    cwd: string,
    { budget, verified }: {
      readonly budget: number;
      readonly verified: number;
    },
  ): StartRow => {
    const bareOf = (kind: string, file: string, launcher: string): StartRow => {
      const plan = explain(
        [codex, "sandbox", ...flags, "--launcher", launcher],
        cwd,
        env,
      );
      return {
        name: `bare ${kind} bwrap, mounts of ${name}`,
        argv: [file, ...bareArguments(plan.bwrapArguments)],
        cwd,
        against: null,
        budget: null,
      };
    };
    const edited = bareOf("bundled", bundled, "bundled");
    const have = system === null
      ? edited
      : bareOf("system's", system, "system");
    if (system !== null) {
      rows.push(
        have,
        ours(
          `${name}, system's bwrap`,
          [...flags, "--launcher", "system"],
          cwd,
          have,
          verified,
        ),
      );
    }
    rows.push(edited);
    // Ours is quicker than what people have: by its own measure the better bubblewrap would count against us.
    const unedited = upstream === null ? have : {
      ...edited,
      name: `bare upstream's bwrap ${upstream.version}, mounts of ${name}`,
      argv: [upstream.file, ...edited.argv.slice(1)],
    };
    if (upstream !== null) rows.push(unedited);
    const chosen = [...flags, "--launcher", "bundled"];
    rows.push(
      ours(name, chosen, cwd, unedited, budget),
      ours(
        `${name}, by the bundled bwrap's measure`,
        chosen,
        cwd,
        edited,
        null,
      ),
    );
    return have;
  };
  const bareDefault = bySystemAndBundled("default profile", [], plain, {
    budget: 2.5,
    verified: 2.5,
  });
  rows.push(
    ours(
      "default profile, planned anew",
      ["--stage", "one-start"],
      plain,
      bareDefault,
      null,
    ),
    ours(
      "default profile, inner stage",
      ["--stage", "inner"],
      plain,
      bareDefault,
      null,
    ),
  );
  const bareWorkspace = bySystemAndBundled(
    ":workspace, all names there",
    ["-P", ":workspace"],
    repo,
    { budget: 2.5, verified: 3.5 },
  );
  for (
    const launcher of system === null ? ["bundled"] : ["bundled", "system"]
  ) {
    rows.push(ours(
      `:workspace, placeholders${
        launcher === "system" ? ", system's bwrap" : ""
      }`,
      ["-P", ":workspace", "--launcher", launcher],
      plain,
      bareWorkspace,
      3.5,
    ));
  }
  rows.push(...peers.flatMap(({ name, argv, codex: theirs }): StartRow[] => [
    {
      name,
      argv: [...argv, "true"],
      cwd: plain,
      against: bareDefault.name,
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

/** The system's bubblewrap where ours trusts one, else `null`. */
function systemBwrap(
  codex: string,
  cwd: string,
  env: Record<string, string>,
): string | null {
  const argv = [codex, "sandbox", "--launcher", "system"];
  try {
    return explain(argv, cwd, env).launcher.path ?? null;
  } catch {
    return null;
  }
}

/** What `argv`, `codex sandbox` and its flags, would do. */
export function explain(
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
