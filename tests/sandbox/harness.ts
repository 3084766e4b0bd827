/**
 * The floor of the live tests: folders of their own, the built executable, runs with a time limit, and a look round at the end.
 *
 * Everything is below /var/tmp, because /tmp is itself a writable root of `:workspace`. A test file calls {@linkcode setup} once per
 * subject or uses {@linkcode matrix}; {@linkcode leaveClean} goes into its `afterAll`. Nothing is ever killed by name: what is ours
 * carries {@linkcode MARK} in its environment, stands in one of our folders or holds one open.
 *
 * Limits: needs the built executable (`CODEX_BIN`, else build/codex). As root every case runs as root and as uid 65534; an ordinary
 * user proves only the user's half, and the run says so.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { parseRecord } from "../../src/linux/placeholder_records.ts";
import { afterPatience, comesToHold } from "../patience.ts";
import {
  isExecutableOf,
  killIfThere,
  type OurProcess,
  processesOf,
  removeUnheld,
} from "./our_processes.ts";
import { probeBinary } from "./probe.ts";

/** Who runs `codex`. */
export type Actor = "root" | "user";

/** Which bubblewrap: `auto` leaves it to the rule of trust. */
export type LauncherChoice = "auto" | "system" | "bundled";

/** Who executes the command: `auto` leaves it to the planner. */
export type StageChoice = "auto" | "one-start" | "inner";

/** One column of the matrix. */
export interface Variant {
  readonly actor: Actor;
  readonly launcher: LauncherChoice;
  readonly stage: StageChoice;
}

/** How a run is started, beside its words. */
export interface RunOptions {
  /** A shell's line in which `"$@"` is the whole call of codex: redirections, ulimits, traps. Without it codex is started directly. */
  readonly shell?: string;
  /** Added to the small environment that every run has; `undefined` removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Standard input; the null device without it. */
  readonly input?: Uint8Array;
  /** Working directory; the subject's `work` without it. */
  readonly cwd?: string;
  /** After this the run is killed and the test fails. */
  readonly timeoutMs?: number;
}

/** What came of a run. Texts have one char per byte. */
export interface Outcome {
  /** The status, or the name of the signal that ended codex itself. */
  readonly end: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A run that goes on. */
export interface Running {
  readonly pid: number;
  readonly kill: (signal: number) => void;
  readonly outcome: Promise<Outcome>;
}

/** One subject: folders and the ways to start codex in them. */
export interface Subject {
  readonly variant: Variant;
  /** Belongs to root, mode 0755; the next two lie in it and belong to the actor. */
  readonly dir: string;
  /** `CODEX_HOME`. */
  readonly home: string;
  readonly work: string;
  /** The executable, where the actor can reach it. */
  readonly codex: string;
  /** The static probe, where the actor can reach it. */
  readonly probe: string;
  readonly uid: number;
  /** `codex sandbox` with the variant's launcher and stage, then `words`. */
  readonly run: (
    words: readonly string[],
    options?: RunOptions,
  ) => Promise<Outcome>;
  /** `codex` with exactly these words. */
  readonly codexRun: (
    words: readonly string[],
    options?: RunOptions,
  ) => Promise<Outcome>;
  /** Any program as the actor, outside of any sandbox. */
  readonly outside: (
    words: readonly string[],
    options?: RunOptions,
  ) => Promise<Outcome>;
  /** As {@linkcode Subject.run}, without waiting for the end. */
  readonly start: (words: readonly string[], options?: RunOptions) => Running;
}

const ROOT_FOLDER = "/var/tmp";
/** A busy machine is slow, and nothing that waits for ever ends within these (`tests/patience.ts`). Only a failure takes as long. */
const RUN_TIMEOUT_MS = 60_000;
const UNTIL_TIMEOUT_MS = 30_000;
const NOBODY_TIMEOUT_MS = 20_000;
const OTHER_USER = 65_534;
const MARK = `CODEX_LIVE_TEST=${process.pid}-${Date.now()}`;
const SAFE_PATH =
  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const METADATA = ["/tmp/.git", "/tmp/.agents", "/tmp/.codex"];

const isRoot = process.getuid?.() === 0;
const folders: string[] = [];
let shared: { readonly codex: string; readonly probe: string } | null = null;
const metadataBefore = new Set(METADATA.filter((path) => existsSync(path)));

/** `CODEX_TEST_COLUMNS="root bundled"`: only these, for `scripts/mutate.ts`, which asks for a failure and not for a proof. */
const wanted = (process.env["CODEX_TEST_COLUMNS"] ?? "").split(" ")
  .filter((word) => word !== "");

/** Those of one dimension that are wanted; all of them where none is named. */
function onlyWanted<T extends string>(all: readonly T[]): readonly T[] {
  const named = all.filter((one) => wanted.includes(one));
  return named.length === 0 ? all : named;
}

/** The actors that this machine lets us be. */
export const ACTORS: readonly Actor[] = onlyWanted(
  isRoot ? ["root", "user"] : ["user"],
);

/** The launchers that this machine has. */
export const LAUNCHERS: readonly LauncherChoice[] = onlyWanted(
  existsSync("/usr/bin/bwrap") ? ["system", "bundled"] : ["bundled"],
);

/** Both actors, both launchers, both ways to start the command. */
export const EVERY_VARIANT: readonly Variant[] = variants(
  onlyWanted(["one-start", "inner"]),
);

/** Both actors and both ways, where the launcher makes no difference. */
export const BOTH_STAGES: readonly Variant[] = EVERY_VARIANT.filter((
  { launcher },
) => launcher === "bundled");

/** Where `--stage one-start` would bend the truth: the planner's own choice instead. */
export const TRUE_STAGES: readonly Variant[] = variants(["auto", "inner"]);

/** One column for what depends on none of it. */
export const PLAIN: Variant = {
  actor: ACTORS[0] ?? "user",
  launcher: "auto",
  stage: "auto",
};

/** As {@linkcode PLAIN}, once for each actor. */
export const BOTH_ACTORS: readonly Variant[] = ACTORS.map((actor) => ({
  ...PLAIN,
  actor,
}));

function variants(stages: readonly StageChoice[]): readonly Variant[] {
  return ACTORS.flatMap((actor) =>
    LAUNCHERS.flatMap((launcher) =>
      stages.map((stage) => ({ actor, launcher, stage }))
    )
  );
}

/** What this machine can't show. In CI that is a failure: there everything must be shown. */
export function notProved(what: string, why: string): void {
  const line = `NOT PROVED: ${what}: ${why}`;
  const asksForAll = wanted.length === 0;
  if (process.env["CI"] === "true" && asksForAll) throw new Error(line);
  process.stderr.write(`${line}\n`);
}

/** Runs `body` once for each column; the folders are made for it and taken away after it. */
export function matrix(
  title: string,
  columns: readonly Variant[],
  body: (subject: Subject) => Promise<void>,
): void {
  for (const variant of columns) {
    const { actor, launcher, stage } = variant;
    test(`${title} [${actor}, ${launcher}, ${stage}]`, async () => {
      const subject = setup(variant);
      try {
        await body(subject);
      } finally {
        endOurs(); // nobody, but after a failure
        remove(subject.dir);
      }
    });
  }
}

/** Folders for one subject. They go at the latest with {@linkcode leaveClean}. */
export function setup(variant: Variant = PLAIN): Subject {
  if (variant.actor === "root" && !isRoot) {
    throw new Error("root's half needs root");
  }
  const { codex, probe } = sharedFiles();
  const dir = newFolder();
  const home = `${dir}/home`;
  const work = `${dir}/work`;
  const uid = variant.actor === "root" ? 0 : process.getuid?.() || OTHER_USER;
  const owner = ownerOf({ uid });
  for (const folder of [home, work]) {
    mkdirSync(folder);
    chownSync(folder, owner.uid, owner.gid);
  }
  const flags = [
    ...(variant.launcher === "auto" ? [] : ["--launcher", variant.launcher]),
    ...(variant.stage === "auto" ? [] : ["--stage", variant.stage]),
  ];
  const start = (words: readonly string[], options: RunOptions): Running =>
    launch(asActor(variant.actor, words, options), { home, work, options });
  const outside: Subject["outside"] = (words, options = {}) =>
    start(words, options).outcome;
  return {
    variant,
    dir,
    home,
    work,
    codex,
    probe,
    uid,
    outside,
    codexRun: (words, options = {}) => outside([codex, ...words], options),
    run: (words, options = {}) =>
      outside([codex, "sandbox", ...flags, ...words], options),
    start: (words, options = {}) =>
      start([codex, "sandbox", ...flags, ...words], options),
  };
}

/** Whose the folders of a subject are. */
export function ownerOf(
  { uid }: Pick<Subject, "uid">,
): { readonly uid: number; readonly gid: number } {
  return { uid, gid: uid === 0 ? 0 : process.getgid?.() || OTHER_USER };
}

function newFolder(): string {
  const folder = mkdtempSync(`${ROOT_FOLDER}/codex-live-${process.pid}-`);
  chmodSync(folder, 0o755);
  folders.push(folder);
  return folder;
}

function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  folders.splice(folders.indexOf(folder), 1);
}

/** The executable and the probe; copies of them, where their own place is closed to the other user. */
function sharedFiles(): { readonly codex: string; readonly probe: string } {
  if (shared !== null) return shared;
  const built = realpathSync(
    process.env["CODEX_BIN"] ?? `${import.meta.dirname}/../../build/codex`,
  );
  const probe = realpathSync(probeBinary());
  if (isOpenToAll(built) && isOpenToAll(probe)) {
    return shared = { codex: built, probe };
  }
  const folder = newFolder();
  copyFileSync(built, `${folder}/codex`);
  copyFileSync(probe, `${folder}/probe`);
  for (const name of ["codex", "probe"]) chmodSync(`${folder}/${name}`, 0o755);
  return shared = { codex: `${folder}/codex`, probe: `${folder}/probe` };
}

/** Whether others may go down to `path` and read it. */
function isOpenToAll(path: string): boolean {
  const parts = path.split("/").slice(1);
  return parts.every((_, index) =>
    (statSync(`/${parts.slice(0, index + 1).join("/")}`).mode & 0o005) === 0o005
  );
}

function asActor(
  actor: Actor,
  words: readonly string[],
  options: RunOptions,
): readonly string[] {
  const wrapped = options.shell === undefined
    ? words
    : ["/bin/sh", "-c", options.shell, "sh", ...words];
  if (actor === "root" || !isRoot) return wrapped;
  const user = String(OTHER_USER);
  return [
    Bun.which("setpriv", { PATH: SAFE_PATH }) ?? "setpriv",
    ...["--reuid", user, "--regid", user, "--clear-groups", "--"],
    ...wrapped,
  ];
}

function launch(
  words: readonly string[],
  place: {
    readonly home: string;
    readonly work: string;
    readonly options: RunOptions;
  },
): Running {
  const { home, work, options } = place;
  const env: Record<string, string> = {
    PATH: SAFE_PATH,
    HOME: home,
    CODEX_HOME: home,
    LC_ALL: "C",
    [MARK.split("=")[0] ?? ""]: MARK.split("=")[1] ?? "",
  };
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (value === undefined) delete env[name];
    else env[name] = value;
  }
  const child = Bun.spawn([...words], {
    cwd: options.cwd ?? work,
    env,
    stdin: options.input ?? "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const timeoutMs = options.timeoutMs ?? RUN_TIMEOUT_MS;
  const outcome = async (): Promise<Outcome> => {
    const limit = Promise.withResolvers<never>();
    const stopWaiting = afterPatience(timeoutMs, () => {
      endOurs();
      child.kill(9);
      limit.reject(
        new Error(`no end after ${timeoutMs} ms: ${words.join(" ")}`),
      );
    });
    try {
      const [stdout, stderr] = await Promise.race([
        Promise.all([
          new Response(child.stdout).arrayBuffer(),
          new Response(child.stderr).arrayBuffer(),
          child.exited,
        ]),
        limit.promise,
      ]);
      return {
        end: child.signalCode ?? child.exitCode ?? "unknown",
        stdout: Buffer.from(stdout).toString("latin1"),
        stderr: Buffer.from(stderr).toString("latin1"),
      };
    } finally {
      stopWaiting();
    }
  };
  return {
    pid: child.pid,
    kill: (signal) => child.kill(signal),
    outcome: outcome(),
  };
}

/** Every process that this test file has started, directly or not, and that is still there. */
export function ourProcesses(): OurProcess[] {
  return processesOf({ mark: MARK, folders, codex: shared?.codex ?? null });
}

/** The process that watches over a supervised run. @throws {Error} when there is none: 0 in its place would mean our own group */
export function watcherOf(supervisor: number): number {
  const children = readFileSync(
    `/proc/${supervisor}/task/${supervisor}/children`,
    "latin1",
  );
  const found = children.split(" ").filter((pid) => pid !== "").find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("\0--watcher\0")
  );
  if (found === undefined) throw new Error("no watcher");
  return Number(found);
}

/**
 * Kills a run's supervisor and its watcher as if at one moment: whichever was left would end the run and clean up. With both gone nobody
 * does, so the rest of the run is ended here.
 */
export async function killWithWatcher(run: Running): Promise<void> {
  const watcher = watcherOf(run.pid);
  process.kill(run.pid, "SIGSTOP");
  await until(
    () =>
      /^State:\s*T/m.test(readFileSync(`/proc/${run.pid}/status`, "latin1")),
    "the supervisor stands still",
  );
  process.kill(watcher, "SIGKILL");
  process.kill(run.pid, "SIGKILL");
  endOurs();
  await run.outcome;
  await untilNobodyIsLeft();
}

/** Whether a process runs our own file, or the program that waits in the watcher's place. */
export function isOurExecutable(exe: string): boolean {
  return isExecutableOf(exe, shared?.codex ?? null);
}

/** Ends what a run that took too long has left. */
function endOurs(): void {
  for (const { pid } of ourProcesses()) killIfThere(pid);
}

/** A shell's line that tries another and says `did`, `refused` or `missing`: of a program that isn't there nothing was refused. */
export function attempted(line: string): string {
  return `${line} 2>/dev/null; case $? in 0) echo did;; 12[67]) echo missing;; *) echo refused;; esac`;
}

/** Waits until `holds`, looking every few milliseconds. @throws {Error} after `timeoutMs` */
export async function until(
  holds: () => boolean,
  what: string,
  timeoutMs = UNTIL_TIMEOUT_MS,
): Promise<void> {
  if (!await comesToHold(holds, timeoutMs)) {
    throw new Error(`never came true: ${what}`);
  }
}

/** Waits until a process is kept waiting for a lock of flock(2), as proc_locks(5) tells. */
export function untilLockedOut({ pid }: Running): Promise<void> {
  const waits = new RegExp(`-> FLOCK .* ${pid} `);
  return until(
    () => waits.test(readFileSync("/proc/locks", "utf8")),
    "it waits for the lock",
  );
}

/** Waits until no process of ours is left. */
export async function untilNobodyIsLeft(
  timeoutMs = NOBODY_TIMEOUT_MS,
): Promise<void> {
  try {
    await until(() => ourProcesses().length === 0, "nobody left", timeoutMs);
  } catch {
    expect(ourProcesses()).toEqual([]);
  }
}

/**
 * Places in the subject's folders of which its state folder has records. Those in `/tmp` are others' business too: what a run of
 * another file relies on keeps its record here, as it should.
 */
export function recordedPlaces({ dir, home }: Subject): string[] {
  const records = `${home}/sandbox/placeholders`;
  if (!isThere(records)) return [];
  return readdirSync(records)
    .map((name) => parseRecord(readFileSync(`${records}/${name}`, "latin1")))
    .map((record) => record?.path ?? "")
    .filter((path) => path.startsWith(`${dir}/`));
}

/** Whether something lies at `path`, a dangling link included. */
export function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** For `afterAll`: nobody of ours is left, nor our folders, nor a placeholder in /tmp. */
export async function leaveClean(): Promise<void> {
  try {
    await untilNobodyIsLeft();
  } finally {
    endOurs();
    const left = folders.splice(0);
    shared = null;
    for (const folder of left) rmSync(folder, { recursive: true, force: true });
    clearTmp();
  }
}

/**
 * What killed runs have left in /tmp the next run with their state folder would remove; here that folder is gone by then. That the runs
 * of one state folder leave nothing is what the tests themselves show, in their own folders. What somebody holds, or has filled,
 * stays.
 */
function clearTmp(): void {
  for (const path of METADATA) {
    if (metadataBefore.has(path) || !isThere(path)) continue;
    removeUnheld(path);
  }
}
