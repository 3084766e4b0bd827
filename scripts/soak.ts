/**
 * Runs, kills and starves the sandbox many times, and names whatever is left: a file, a mount, a process, memory.
 *
 * Usage: bun scripts/soak.ts [--minutes N] [--quick] [WORD...]   only parts that contain every WORD
 *
 * The whole is 200 kills, 200 runs at once and 10,000 in sequence, about five minutes on two cores; `--minutes` scales it, `--quick`
 * is a twentieth of it. Ends with a table and status 1 if anything was left or a run ended as it must not.
 *
 * Limits: the parts with a full or read-only disk need root or user namespaces; exhausted processes need root, because the limit is
 * counted per user. A changing wall clock is not tried: it would be the host's. What is only killed in the first milliseconds of a run
 * that nobody supervises may go on (threat model), so kills are of supervised runs.
 *
 * @module
 */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import {
  type Ended,
  type Ground,
  makeGround,
  NAP,
  wordsOf,
} from "./soak_ground.ts";

/** What came of one part. */
interface Outcome {
  readonly runs: number;
  /** Each is a failure. */
  readonly faults: readonly string[];
  readonly note: string;
}

type Part = readonly [
  name: string,
  run: (ground: Ground, scale: number) => Promise<Outcome>,
];

/** Minutes of the whole on two cores. */
const WHOLE_MINUTES = 5;
const QUICK = 0.05;

/** A start takes about this long: kills fall into it and a little behind. */
const KILL_WINDOW_MS = 60;

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
];

if (import.meta.main) await main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<void> {
  const at = words.indexOf("--minutes");
  const minutes = at === -1 ? WHOLE_MINUTES : Number(words[at + 1]);
  const names = words.filter((word, index) =>
    !word.startsWith("--") && (at === -1 || index !== at + 1)
  );
  if (!(minutes > 0)) {
    process.stderr.write("soak: --minutes wants a number above 0\n");
    process.exitCode = 2;
    return;
  }
  const scale = words.includes("--quick") ? QUICK : minutes / WHOLE_MINUTES;
  const rows: string[] = [];
  let failed = 0;
  for (const [name, part] of PARTS) {
    if (!names.every((word) => name.includes(word))) continue;
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
      "| a changing wall clock | 0 | | not tried: it would be the host's | |",
      "",
    ].join("\n"),
  );
  process.exitCode = failed === 0 && rows.length > 0 ? 0 : 1;
}

function atLeast(count: number, scale: number, least: number): number {
  return Math.max(least, Math.round(count * scale));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One line of ours, or nothing: no report of the runtime, no stack. */
function saysTooMuch({ stderr }: Ended): boolean {
  return stderr.split("\n").some((line) =>
    line !== "" && !/^(codex|bwrap|sh|prlimit|timeout):/.test(line)
  );
}

/** Whom a kill hits. */
type Victim = "codex" | "monitor" | "command";

async function kills(ground: Ground, scale: number): Promise<Outcome> {
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
    await pause(Math.random() * KILL_WINDOW_MS);
    const hit = await kill(ground, victim, going.pid);
    if (!hit) process.kill(going.pid, "SIGTERM");
    await going.ended;
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

function endAll(ground: Ground): void {
  for (const pid of ground.processes()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // gone meanwhile
    }
  }
  for (const name of [".git", ".agents", ".codex"]) {
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
      : ground.processes().filter((one) =>
        victim === "monitor"
          ? wordsOf(one).startsWith("bwrap ")
          : wordsOf(one).startsWith("sh -c ")
      ).sort((a, b) => a - b)[0];
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

async function parallel(ground: Ground, scale: number): Promise<Outcome> {
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

async function sequential(ground: Ground, scale: number): Promise<Outcome> {
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

/** A small file system in a mount namespace of its own: nothing of it is left when its shell ends. */
async function onTmpfs(
  ground: Ground,
  what: "home" | "work",
  how: "full" | "read-only",
): Promise<Outcome> {
  const { codex, start, top } = ground;
  const folder = ground[what];
  const spoil = how === "full"
    ? `dd if=/dev/zero of=${folder}/fill bs=4k 2>/dev/null; i=0; while true > ${folder}/f$i; do i=$((i+1)); done 2>/dev/null`
    : `mount -o remount,ro ${folder}`;
  const line = `cp -r ${folder} ${top}/copy
mount -t tmpfs -o size=64k,nr_inodes=64 none ${folder} && cp -r ${top}/copy/. ${folder} && cd ${ground.work} || exit 90
{ ${spoil}; } 2>/dev/null
for profile in :read-only soak; do for round in 1 2 3; do
timeout 20 ${codex} sandbox -P $profile -- sh -c 'echo ran'; echo "$profile $?"
done; done
rm -f ${folder}/fill ${folder}/f[0-9]* 2>/dev/null
for name in .git .agents .codex; do [ -e ${ground.work}/$name ] && echo "left $name"; done
ls ${ground.home}/sandbox/placeholders 2>/dev/null | sed 's/^/left record /'; echo end`;
  const unshare = process.getuid?.() === 0 ? ["-m"] : ["-Urm"];
  const { end, stdout, stderr } = await start([
    "unshare",
    ...unshare,
    "sh",
    "-c",
    line,
  ]).ended;
  const lines = stdout.trim().split("\n");
  const statuses = lines.filter((one) => /^(:read-only|soak) \d+$/.test(one));
  const faults = [
    ...(lines.at(-1) === "end" ? [] : [`it ended with ${end}: ${stderr}`]),
    ...lines.filter((one) => one.startsWith("left")),
    ...statuses.filter((one) => !/ (0|125)$/.test(one)),
    ...(statuses.length === 6 ? [] : [`${statuses.length} runs of 6 ended`]),
    ...(saysTooMuch({ end, stdout, stderr }) ? [`it said: ${stderr}`] : []),
    ...await ground.leftovers(what === "work" ? [] : [ground.work]),
  ];
  return {
    runs: statuses.length,
    faults,
    note: `statuses ${statuses.map((one) => one.split(" ")[1]).join(" ")}`,
  };
}

/** As a user of whom nobody else is: the limit counts all his processes. */
async function processes(ground: Ground): Promise<Outcome> {
  if (process.getuid?.() !== 0) {
    return { runs: 0, faults: [], note: "not tried: needs root" };
  }
  const { codex, start, top } = ground;
  const uid = "64321";
  await start(["chown", "-R", `${uid}:${uid}`, `${top}/home`, `${top}/work`])
    .ended;
  const faults: string[] = [];
  const ends: (number | string)[] = [];
  for (let limit = 1; limit <= 16; limit++) {
    const ended = await start([
      ...["timeout", "20", "setpriv", "--reuid", uid, "--regid", uid],
      ...["--clear-groups", "prlimit", `--nproc=${limit}`],
      ...[codex, "sandbox", "--", "sh", "-c", "true"],
    ]).ended;
    ends.push(ended.end);
    if (![0, 1, 2, 125].includes(Number(ended.end))) {
      faults.push(`with ${limit} processes: ${ended.end}: ${ended.stderr}`);
    }
    for (const line of await ground.leftovers()) {
      faults.push(`with ${limit} processes: ${line}`);
    }
  }
  return { runs: ends.length, faults, note: `statuses ${ends.join(" ")}` };
}

async function descriptors(ground: Ground): Promise<Outcome> {
  const { codex, start } = ground;
  const faults: string[] = [];
  const ends: (number | string)[] = [];
  for (const limit of [4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96]) {
    const ended = await start([
      ...["timeout", "20", "prlimit", `--nofile=${limit}:${limit}`],
      ...[codex, "sandbox", "--", "sh", "-c", "true"],
    ]).ended;
    ends.push(ended.end);
    if (![0, 1, 125, 127, 134].includes(Number(ended.end))) {
      faults.push(`with ${limit} descriptors: ${ended.end}: ${ended.stderr}`);
    }
    for (const line of await ground.leftovers()) {
      faults.push(`with ${limit} descriptors: ${line}`);
    }
  }
  return { runs: ends.length, faults, note: `statuses ${ends.join(" ")}` };
}

/**
 * Runs whose clocks lie years apart, with a time limit that counts on them.
 *
 * Time namespaces shift the monotonic and the boot clock. The wall clock is the host's alone and is left as it is: what rests on it
 * (the age of a kept start's files) is a table of the unit tests.
 */
async function clocks(ground: Ground, scale: number): Promise<Outcome> {
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

async function replaced(ground: Ground, scale: number): Promise<Outcome> {
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

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
