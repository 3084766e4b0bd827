/**
 * Parts of the soak test that kill, crowd, repeat and misplace runs.
 *
 * @module
 */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterPatience } from "../tests/patience.ts";
import { killIfThere } from "../tests/sandbox/our_processes.ts";
import {
  atLeast,
  type Going,
  type Ground,
  isThere,
  METADATA_NAMES,
  NAP,
  type Outcome,
  pause,
} from "./soak_ground.ts";

/** A start takes about this long: kills fall into it and a little behind. */
const KILL_WINDOW_MS = 60;

/** Nothing that ends takes as long. */
const END_MS = 20_000;

/** Whom a kill hits. */
type Victim = "codex" | "monitor" | "command";

export async function kills(ground: Ground, scale: number): Promise<Outcome> {
  const { codex, start } = ground;
  const count = atLeast(200, scale, 12);
  const faults: string[] = [];
  let reclaimed = 0;
  for (let round = 0; round < count; round++) {
    const victim = (["codex", "monitor", "command"] as const)[round % 3] ??
      "codex";
    const going = start([
      ...[codex, "sandbox", "--", "sh", "-c"],
      `sleep ${NAP} & sleep ${NAP}`,
    ]);
    if (going.pid === null) {
      const { stderr } = await going.ended;
      faults.push(`kill ${round} of ${victim}: it did not start: ${stderr}`);
      continue;
    }
    await pause(Math.random() * KILL_WINDOW_MS);
    const hit = await kill(ground, victim, going.pid);
    if (!hit) process.kill(going.pid, "SIGTERM");
    if (!await endsSoon(going)) {
      for (const { pid, words } of ground.processes()) {
        faults.push(`kill ${round} of ${victim}: ${pid} goes on: ${words}`);
      }
      endAll(ground);
      await going.ended;
      continue;
    }
    const left = await ground.leftovers();
    const isRunning = left.some((line) => line.startsWith("process"));
    if (left.length > 0 && !isRunning) {
      // Killed between the record and the watcher: the next run's to remove.
      reclaimed++;
      await start([codex, "sandbox", "--", "true"]).ended;
    }
    const after = left.length === 0 ? [] : await ground.leftovers();
    for (const line of after) {
      faults.push(`kill ${round} of ${victim}: ${line}`);
    }
    if (after.length > 0) endAll(ground);
  }
  return {
    runs: count,
    faults,
    note: `${reclaimed} left their placeholders to the next run`,
  };
}

/** Whether a run that was hit ends, and gives its streams back: what goes on would hold them. */
async function endsSoon({ ended }: Going): Promise<boolean> {
  const late = Promise.withResolvers<false>();
  const stopWaiting = afterPatience(END_MS, () => late.resolve(false));
  try {
    return await Promise.race([ended.then(() => true), late.promise]);
  } finally {
    stopWaiting();
  }
}

function endAll(ground: Ground): void {
  for (const { pid } of ground.processes()) killIfThere(pid);
  for (const name of METADATA_NAMES) {
    rmSync(join(ground.work, name), { recursive: true, force: true });
  }
}

/** @returns whether there was such a victim */
async function kill(
  ground: Ground,
  victim: Victim,
  pid: number,
): Promise<boolean> {
  const deadline = performance.now() + 1_000;
  do {
    const found = victim === "codex"
      ? pid
      : ground.processes().filter(({ words }) =>
        words.startsWith(victim === "monitor" ? "bwrap " : "sh -c ") &&
        words.endsWith(`sleep ${NAP}`) // and no probe of bubblewrap
      ).map(({ pid }) => pid).sort((a, b) => a - b)[0];
    if (found !== undefined) {
      try {
        process.kill(found, "SIGKILL");
        return true;
      } catch {
        // gone meanwhile
      }
    }
    await pause(2);
  } while (performance.now() < deadline);
  return false;
}

export async function parallel(
  ground: Ground,
  scale: number,
): Promise<Outcome> {
  const { codex, start, work } = ground;
  const count = atLeast(200, scale, 20);
  const ends = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      start([
        ...[codex, "sandbox", "--", "sh", "-c"],
        `mkdir .git 2>/dev/null && exit 99; touch .codex/x 2>/dev/null && exit 98; exit ${
          index % 90
        }`,
      ]).ended),
  );
  const faults = ends.flatMap(({ end, stderr }, index) =>
    end === index % 90 && stderr === ""
      ? []
      : [`run ${index} ended with ${end}: ${stderr.trim()}`]
  );
  faults.push(...await ground.leftovers());
  return {
    runs: count,
    faults,
    note: `one workspace; ${readdirSync(work).length} files in it`,
  };
}

/** What could grow on the host. */
interface Level {
  readonly mounts: number;
  readonly processes: number;
  readonly files: number;
  readonly availableKb: number;
  readonly stateFiles: number;
}

function levelOf({ home }: Ground): Level {
  const text = (path: string): string => readFileSync(path, "utf8");
  return {
    mounts: text("/proc/self/mountinfo").split("\n").length,
    processes: readdirSync("/proc").filter((name) => /^\d+$/.test(name)).length,
    files: Number(text("/proc/sys/fs/file-nr").split("\t")[0]),
    availableKb: Number(
      /MemAvailable:\s+(\d+)/.exec(text("/proc/meminfo"))?.[1],
    ),
    stateFiles: readdirSync(join(home, "sandbox"), { recursive: true }).length,
  };
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0;
}

export async function sequential(
  ground: Ground,
  scale: number,
): Promise<Outcome> {
  const { codex, start } = ground;
  const count = atLeast(10_000, scale, 200);
  const faults: string[] = [];
  const took: number[] = [];
  for (let warm = 0; warm < 3; warm++) {
    await start([codex, "sandbox", "-P", ":read-only", "--", "true"]).ended;
  }
  const before = levelOf(ground);
  const levels: Level[] = [];
  for (let round = 0; round < count; round++) {
    const started = performance.now();
    // Every tenth is supervised.
    const profile = round % 10 === 0 ? "soak" : ":read-only";
    const { end, stderr } = await start([
      ...[codex, "sandbox", "-P", profile, "--", "true"],
    ]).ended;
    took.push(performance.now() - started);
    if (end !== 0 || stderr !== "") {
      faults.push(`run ${round} ended with ${end}: ${stderr.trim()}`);
    }
    if (round % Math.ceil(count / 10) === 0) levels.push(levelOf(ground));
  }
  const after = levelOf(ground);
  if (after.mounts > before.mounts) {
    faults.push(`mounts grew from ${before.mounts} to ${after.mounts}`);
  }
  if (after.stateFiles > before.stateFiles + 16) {
    faults.push(
      `the state folder grew from ${before.stateFiles} to ${after.stateFiles} files`,
    );
  }
  // Others use the machine too: only what is as large as a leak of one descriptor or 64 kB a run.
  if (count >= 1_000 && after.files > before.files + count) {
    faults.push(`open files grew from ${before.files} to ${after.files}`);
  }
  const lostKb = before.availableKb - after.availableKb;
  if (count >= 1_000 && lostKb > 64 * count) {
    faults.push(`${lostKb} kB of memory are gone`);
  }
  faults.push(...await ground.leftovers());
  const tenth = Math.ceil(count / 10);
  return {
    runs: count,
    faults,
    note: `median ${median(took.slice(0, tenth)).toFixed(1)} ms at first, ${
      median(took.slice(-tenth)).toFixed(1)
    } ms at last; open files ${
      levels.map(({ files }) => files).join(" ")
    }; available MB ${
      levels.map(({ availableKb }) => Math.round(availableKb / 1024)).join(" ")
    }`,
  };
}

/** Runs whose monotonic and boot clocks lie years apart, by time namespaces, with a time limit that counts on them. */
export async function clocks(ground: Ground, scale: number): Promise<Outcome> {
  const { codex, start } = ground;
  const faults: string[] = [];
  const count = atLeast(40, scale, 6);
  for (let round = 0; round < count; round++) {
    // Forwards by up to some thirty years and back to nothing, a different length each time.
    const offset = String((round * 7_919 % 31) * 31_536_000);
    const { end, stderr } = await start([
      ...["unshare", "--time", "--fork", "--monotonic", offset],
      ...["--boottime", offset, "--", codex, "sandbox", "--timeout", "15s"],
      ...["--", "sh", "-c", "sleep 0.02; exit 3"],
    ]).ended;
    if (end !== 3) faults.push(`offset ${offset}: ${end}: ${stderr}`);
    for (const line of await ground.leftovers()) {
      faults.push(`offset ${offset}: ${line}`);
    }
  }
  return { runs: count, faults, note: "monotonic and boot clock only" };
}

export async function replaced(
  ground: Ground,
  scale: number,
): Promise<Outcome> {
  const { codex, start, work, top } = ground;
  const count = atLeast(40, scale, 6);
  const faults: string[] = [];
  for (let round = 0; round < count; round++) {
    const going = start([
      ...[codex, "sandbox", "--", "sh", "-c"],
      `touch up; sleep 0.2; exit 3`,
    ]);
    const deadline = performance.now() + 5_000;
    while (!isThere(`${work}/up`) && performance.now() < deadline) {
      await pause(3);
    }
    if (round % 2 === 0) rmSync(work, { recursive: true });
    else renameSync(work, `${top}/old`);
    mkdirSync(work);
    const { end, stderr } = await going.ended;
    if (end !== 3) faults.push(`run ${round} ended with ${end}: ${stderr}`);
    const left = await ground.leftovers([work, `${top}/old`]);
    for (const line of left) faults.push(`run ${round}: ${line}`);
    rmSync(`${top}/old`, { recursive: true, force: true });
  }
  return { runs: count, faults, note: "" };
}
