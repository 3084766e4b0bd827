/**
 * What goes through the managed network, beside the reference releases in the same minutes: throughput, requests, tunnels, start-up.
 *
 * The origin is one process on the host's loopback, the load comes from inside each sandbox: curl for 100 MB, a small program of ours
 * for requests and tunnels (`bench_network_load.ts`). All subjects read one config that both releases and ours understand. Every round
 * runs each subject once for each row, beginning with another subject than the last; a ratio is the median of the rounds' ratios to
 * the better peer of the same round.
 *
 * @module
 */

import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { HALF_BYTES, LOAD_PROGRAM, startOrigin } from "./bench_network_load.ts";
import type { Peer } from "./bench_peers.ts";
import {
  type BenchRow,
  emptyRow,
  MIN_PAIRS,
  quantile,
} from "./bench_result.ts";
import { type Answers, interleaved } from "./bench_runs.ts";

const TUNNELS = 2_000;
const RUN_MS = 60_000;
/** A peer that failed so often in a row of the table, and never succeeded, is not waited for again: each time may take a minute. */
const TRIALS = 3;
const CURL =
  "env -u NO_PROXY -u no_proxy curl -sS --fail -o /dev/null --max-time 50";

type Subject = { readonly name: string; readonly path: string };

type Row = {
  readonly name: string;
  readonly unit: string;
  /** The line of a shell inside. Its standard output is read by `read`. */
  readonly line: string;
  readonly read: (text: string) => number;
  readonly better: "more" | "less";
};

/** For each row ours, with its ratio to the better of the peers, and theirs. */
export function networkRows(
  codex: string,
  { folder, env, rounds, peers, parts }: {
    readonly folder: string;
    readonly env: Record<string, string>;
    readonly rounds: number;
    readonly peers: readonly Peer[];
    /** Beginnings of names: only those rows, all when there are none. */
    readonly parts: readonly string[];
  },
): readonly BenchRow[] {
  const home = join(folder, "network-home");
  const work = join(folder, "network-work");
  for (const made of [home, work]) mkdirSync(made, { mode: 0o700 });
  writeFileSync(
    join(home, "config.toml"),
    `default_permissions = "net"
[features]
network_proxy = true
[permissions.net]
extends = ":read-only"
[permissions.net.network]
enabled = true
allow_local_binding = true
domains = { "127.0.0.1" = "allow" }
`,
  );
  const body = join(work, "zeros");
  writeFileSync(body, "");
  truncateSync(body, HALF_BYTES);
  const origin = startOrigin(folder);
  try {
    const place = { cwd: work, env: { ...env, CODEX_HOME: home } };
    const subjects = [
      { name: "ours", path: codex },
      ...peers.flatMap(({ name, codex: path }) =>
        path === null ? [] : [{ name, path }]
      ),
    ];
    return rowsOf(origin.port, body)
      .filter(({ name }) =>
        parts.length === 0 || parts.some((part) => name.startsWith(part))
      )
      .flatMap((row) => figuresOf(row, subjects, place, rounds));
  } finally {
    origin.stop();
  }
}

function rowsOf(port: string, body: string): readonly Row[] {
  const url = `http://127.0.0.1:${port}`;
  const bun = process.execPath;
  const transfer = (name: string, words: string): Row => ({
    name: `network: ${name}, 100 MB`,
    unit: "MB/s",
    line: `${CURL} ${words}`,
    read: (text) => Number(text) / 1e6,
    better: "more",
  });
  const load = (name: string, role: string): Row => ({
    name: `network: ${name}, 16 clients`,
    unit: "requests/s",
    line: `${bun} ${LOAD_PROGRAM} ${role} ${port}`,
    read: (text) => JSON.parse(text).perSecond,
    better: "more",
  });
  const down = "-w '%{speed_download}'";
  return [
    {
      name: "network: true",
      unit: "ms",
      line: "true",
      read: () => Number.NaN, // the run's own time
      better: "less",
    },
    transfer("forward GET", `${down} -x $HTTP_PROXY ${url}/half`),
    transfer(
      "forward POST",
      `-w '%{speed_upload}' -H Expect: -X POST -T ${body} -x $HTTP_PROXY ${url}/half`,
    ),
    transfer("CONNECT", `${down} -p -x $HTTP_PROXY ${url}/half`),
    transfer("SOCKS", `${down} -x $ALL_PROXY ${url}/half`),
    load("kept connections", "keep-alive"),
    load("a connection for each request", "new"),
    {
      name: `network: ${TUNNELS} tunnels, opened and held`,
      unit: "ms",
      line: `${bun} ${LOAD_PROGRAM} tunnels ${port} ${TUNNELS}`,
      read(text): number {
        const { stood, ms } = JSON.parse(text);
        return stood === TUNNELS ? ms : Number.NaN;
      },
      better: "less",
    },
  ];
}

function figuresOf(
  row: Row,
  subjects: readonly Subject[],
  place: { readonly cwd: string; readonly env: Record<string, string> },
  rounds: number,
): readonly BenchRow[] {
  const isStart = row.line === "true";
  const results = interleaved(
    subjects.length,
    rounds,
    (which, soFar) =>
      which > 0 && isHopeless(soFar[which]!)
        ? null
        : measure(row, subjects[which]!, place),
    isStart ? {} : {
      // Only a start is so short that cold caches show.
      warmUps: 0,
      // What takes seconds is done no more often than a ratio needs: a round in which no peer succeeds gives no pair.
      isEnough: (soFar, round) => round >= MIN_PAIRS && hasPairs(soFar),
    },
  );
  const [ours = [], ...theirs] = results;
  const peers = subjects.slice(1);
  const name = row.name.replace("network: ", "");
  const better = row.better === "more" ? Math.max : Math.min;
  const best = ours.map((_, round) => {
    const read = theirs.map((values) => values[round] ?? Number.NaN)
      .filter((value) => !Number.isNaN(value));
    return read.length === 0 ? Number.NaN : better(...read);
  });
  const bound = row.better === "more" ? "least" as const : "most" as const;
  const first = peers.find(({ name }) => name.includes("145"));
  return [
    figureRow(row, `${name}: ours`, ours, {
      name: "the better peer",
      values: best,
      budget: { bound, value: 1 },
    }),
    // A start is held to 0.145 by itself as well.
    ...(isStart && first !== undefined
      ? [
        figureRow(row, `${name}: ours, to ${first.name}`, ours, {
          name: first.name,
          values: results[subjects.indexOf(first)]!,
          budget: { bound: "most", value: 0.6 },
        }),
      ]
      : []),
    ...peers.map((peer, index) =>
      figureRow(row, `${name}: ${peer.name}`, theirs[index]!, null)
    ),
  ];
}

/** As many as a ratio needs, or as many as there will ever be. */
function hasPairs([ours = [], ...theirs]: Answers): boolean {
  const pairs = ours.filter((_, round) =>
    theirs.some((values) => !Number.isNaN(values[round] ?? Number.NaN))
  );
  return pairs.length >= MIN_PAIRS || theirs.every(isHopeless);
}

function isHopeless(values: readonly number[]): boolean {
  return values.length >= TRIALS && values.every(Number.isNaN);
}

function figureRow(
  { unit, better }: Row,
  name: string,
  values: readonly number[],
  against: {
    readonly name: string;
    readonly values: readonly number[];
    readonly budget: {
      readonly bound: "most" | "least";
      readonly value: number;
    };
  } | null,
): BenchRow {
  const read = values.filter((value) => !Number.isNaN(value));
  if (read.length === 0) {
    return emptyRow("network", name, `none of ${values.length} succeeded`);
  }
  const ratios = against === null ? [] : values
    .map((value, round) => value / against.values[round]!)
    .filter((ratio) => !Number.isNaN(ratio));
  const ratio = ratios.length < MIN_PAIRS ? null : quantile(ratios, 0.5);
  return {
    table: "network",
    name,
    median: quantile(read, 0.5),
    // Of a rate the slow end is the low one.
    p95: quantile(read, better === "less" ? 0.95 : 0.05),
    unit,
    against: ratios.length === 0 ? null : against!.name,
    ratio,
    pairs: ratios.length,
    budgets: against === null || ratios.length === 0 ? [] : [{
      of: "ratio",
      ...against.budget,
      isKept: ratio === null
        ? null
        : against.budget.bound === "most"
        ? ratio <= against.budget.value
        : ratio >= against.budget.value,
    }],
    peakMb: null,
    processes: null,
    note: read.length < values.length
      ? `${values.length - read.length} of ${values.length} failed`
      : null,
  };
}

function measure(
  row: Row,
  subject: Subject,
  place: { readonly cwd: string; readonly env: Record<string, string> },
): number {
  const words = row.line === "true" ? ["true"] : ["sh", "-c", row.line];
  const started = Bun.nanoseconds();
  const done = Bun.spawnSync([subject.path, "sandbox", "--", ...words], {
    ...place,
    // Helpers of 0.145 keep the pipes of a run open for two seconds: its start is not to pay for that.
    stdio: row.line === "true"
      ? ["ignore", "ignore", "ignore"]
      : ["ignore", "pipe", "pipe"],
    timeout: RUN_MS,
  });
  const ms = (Bun.nanoseconds() - started) / 1e6;
  if (done.exitCode !== 0) {
    // A release that can't do it has no figure; ours has to.
    if (subject.name !== "ours") return Number.NaN;
    throw new Error(
      `Cannot measure "${row.name}": status ${done.exitCode}, ${
        done.stderr?.toString().trim() ?? ""
      }`,
    );
  }
  return row.line === "true" ? ms : row.read(done.stdout?.toString() ?? "");
}
