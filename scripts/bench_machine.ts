/**
 * Where a measurement is made: the machine, the versions, and how much of the processors others take meanwhile.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import process from "node:process";
import type { Peer } from "./bench_peers.ts";
import type { BenchResult } from "./bench_result.ts";

export function machineOf(): BenchResult["machine"] {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown processor",
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: `Linux ${
      readFileSync("/proc/sys/kernel/osrelease", "utf8").trim()
    }`,
  };
}

/** Of ours, of what it is measured with, and of the peers. */
export function versionsOf(
  codex: string,
  peers: readonly Peer[],
): readonly string[] {
  const firstLine = (argv: readonly string[]): string => {
    try {
      const done = Bun.spawnSync([...argv], { stdin: "ignore" });
      return done.stdout.toString().split("\n")[0]!.trim();
    } catch {
      return "";
    }
  };
  const system = firstLine(["bwrap", "--version"]).split(" ").at(-1);
  return [
    firstLine([codex, "--version"]),
    `Bun ${process.versions["bun"]}`,
    ...(system === "" ? [] : [`the system's bubblewrap ${system}`]),
    ...(peers.length === 0
      ? []
      : [`peers: ${peers.map(({ name }) => name).join(", ")}`]),
  ];
}

/** Ticks that all processors have counted, those not idle, and those of this process and of what it has waited for. */
type Ticks = {
  readonly all: number;
  readonly busy: number;
  readonly own: number;
};

export function processorTicks(): Ticks {
  const [line = ""] = readFileSync("/proc/stat", "latin1").split("\n");
  const [
    user = 0,
    nice = 0,
    system = 0,
    idle = 0,
    wait = 0,
    irq = 0,
    soft = 0,
  ] = line.split(/\s+/).slice(1).map(Number);
  const busy = user + nice + system + irq + soft;
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // utime, stime, cutime, cstime: proc(5) counts them from 14 on.
  const own = fields.slice(11, 15).reduce((sum, it) => sum + Number(it), 0);
  return { all: busy + idle + wait, busy, own };
}

/** The share of the processors that neither was idle nor was ours. */
export function sharesOf(before: Ticks, after: Ticks): number {
  const all = after.all - before.all;
  const others = after.busy - before.busy - (after.own - before.own);
  return all <= 0 ? 0 : Math.max(0, others / all);
}
