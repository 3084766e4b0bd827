/**
 * What goes through the managed network, beside the reference releases in the same minutes: throughput, requests, tunnels, start-up.
 *
 * The origin is one process on the host's loopback, the load comes from inside each sandbox: curl for 200 MB, a small program of ours
 * for requests and tunnels (`bench_network_load.ts`). All subjects read one config that both releases and ours understand. Every round
 * runs each subject once for each row, beginning with another subject than the last; a ratio is the median of the rounds' ratios to
 * the better peer of the same round.
 *
 * @module
 */

import {
  existsSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { BODY_BYTES } from "./bench_network_load.ts";

const LOAD_PROGRAM = `${import.meta.dirname}/bench_network_load.ts`;
const TUNNELS = 2_000;
const RUN_MS = 60_000;
/** A row takes seconds here, and milliseconds in the other tables. */
const ROUNDS_IN_ONE = 8;
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

/** One line for each row: ours, the peers', and how ours compares to the better of them. */
export function networkTable(
  codex: string,
  { folder, env, rounds, peers, parts }: {
    readonly folder: string;
    readonly env: Record<string, string>;
    readonly rounds: number;
    readonly peers: readonly string[];
    /** Beginnings of names: only those rows, all when there are none. */
    readonly parts: readonly string[];
  },
): string {
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
  truncateSync(body, BODY_BYTES);
  const portFile = join(folder, "network-port");
  const origin = Bun.spawn(
    [process.execPath, LOAD_PROGRAM, "origin", portFile],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  try {
    for (let i = 0; i < 500 && !existsSync(portFile); i++) Bun.sleepSync(10);
    const port = readFileSync(portFile, "utf8");
    const place = { cwd: work, env: { ...env, CODEX_HOME: home } };
    const subjects = [
      { name: "ours", path: codex },
      ...peers.map((peer) => ({
        name: peer.slice(0, peer.indexOf("=")),
        path: resolve(peer.slice(peer.indexOf("=") + 1)),
      })),
    ];
    return rowsOf(port, body)
      .filter(({ name }) =>
        parts.length === 0 || parts.some((part) => name.startsWith(part))
      )
      .map((row) => `${rowLine(row, subjects, place, rounds)}\n`).join("");
  } finally {
    origin.kill();
  }
}

function rowsOf(port: string, body: string): readonly Row[] {
  const url = `http://127.0.0.1:${port}`;
  const bun = process.execPath;
  const transfer = (name: string, words: string): Row => ({
    name: `network: ${name}, 200 MB`,
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
    transfer("forward GET", `${down} -x $HTTP_PROXY ${url}/big`),
    transfer(
      "forward POST",
      `-w '%{speed_upload}' -H Expect: -X POST -T ${body} -x $HTTP_PROXY ${url}/up`,
    ),
    transfer("CONNECT", `${down} -p -x $HTTP_PROXY ${url}/big`),
    transfer("SOCKS", `${down} -x $ALL_PROXY ${url}/big`),
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

function rowLine(
  row: Row,
  subjects: readonly Subject[],
  place: { readonly cwd: string; readonly env: Record<string, string> },
  rounds: number,
): string {
  const isStart = row.line === "true";
  const most = isStart ? rounds : Math.ceil(rounds / ROUNDS_IN_ONE);
  const results = subjects.map((): number[] => []);
  for (let round = isStart ? -2 : 0; round < most; round++) { // two starts to fill the caches, not counted
    for (let i = 0; i < subjects.length; i++) {
      const which = (i + Math.max(round, 0)) % subjects.length;
      const result = measure(row, subjects[which]!, place);
      if (round >= 0) results[which]!.push(result);
    }
  }
  const figures = subjects.map(({ name }, index) =>
    `${name} ${figure(results[index]!)}`
  );
  const [ours = [], ...peers] = results;
  if (peers.length === 0) {
    return `${row.name}: ${figures.join(", ")} ${row.unit}`;
  }
  const ratios = ours.map((own, round) => {
    const theirs = peers.map((values) => values[round]!)
      .filter((value) => !Number.isNaN(value));
    if (theirs.length === 0) return row.better === "more" ? Infinity : 0;
    return own /
      (row.better === "more" ? Math.max(...theirs) : Math.min(...theirs));
  });
  const ratio = median(ratios);
  const isKept = row.better === "more" ? ratio >= 1 : ratio <= 1;
  return `${row.name}: ${
    figures.join(", ")
  } ${row.unit}; to the better of the others ${ratio.toFixed(2)} ${
    isKept ? "ok" : "OVER"
  }${isStart ? startRatios(subjects, results) : ""}`;
}

/** A start is held to each release by itself: at most 0.6 of 0.145. */
function startRatios(
  subjects: readonly Subject[],
  results: readonly (readonly number[])[],
): string {
  return subjects.slice(1).map(({ name }, index) => {
    const ratio = median(
      results[0]!.map((own, round) => own / results[index + 1]![round]!),
    );
    const isReference = name.includes("145");
    return `; to ${name} ${ratio.toFixed(2)}${
      isReference ? ` of 0.60 ${ratio <= 0.6 ? "ok" : "OVER"}` : ""
    }`;
  }).join("");
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

function figure(values: readonly number[]): string {
  const read = values.filter((value) => !Number.isNaN(value));
  return read.length === 0
    ? "none"
    : `${median(read).toFixed(median(read) < 100 ? 1 : 0)}${
      read.length < values.length
        ? ` (${values.length - read.length} of ${values.length} failed)`
        : ""
    }`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
