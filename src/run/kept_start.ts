/**
 * Starts a sandbox whose plan was made before, where every answer that the plan rests on is still the same.
 *
 * A decision is a function of the caller's words, some variables and what the host answered. The last run of the same command in the
 * same place left both the questions and the outcome (`keep_start.ts`); here each question is asked again, and only when all answers
 * are equal the outcome is carried out. Anything else goes the long way. What concerns this start alone is never kept: streams,
 * limits, the environment, the digest of the bundled bubblewrap, the identity of what is bound.
 *
 * Effects. Imports only what this short way needs: the rest of the program lies in modules that it leaves unread. Loops instead of the
 * arrays' methods, `Buffer`, `process`: the first use of each costs 20 to 200 microseconds (docs/decisions.md), and here every use is
 * the first.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { EnvironmentPolicy } from "../config/config.ts";
import {
  commandEnvironment,
  type Confinement,
} from "../config/command_environment.ts";
import { NOT_SET, type Origin, variable } from "../host/origin.ts";
import { loadBundledBwrap } from "../linux/bundled_bwrap.ts";
import {
  callerSoftLimit,
  closeAbstractSockets,
  firstOwnFd,
  restoreState,
} from "../linux/process_state.ts";
import { assembledFilter } from "../linux/seccomp/programs.ts";
import type { FilterRequest } from "../linux/seccomp/request.ts";
import * as abi from "../sys/abi.ts";
import {
  access,
  askText,
  close,
  duplicate,
  execve,
  fileStatusFlags,
  fileSystemType,
  fstat,
  isHarmlessDevice,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt2,
  readAll,
  readDirectory,
  readFile,
  readlink,
  sealedMemfd,
} from "../sys/calls.ts";
import type { Observation } from "../sys/observed.ts";

/** Where and under what key a start is kept. */
export interface KeptPlace {
  /** `$CODEX_HOME/sandbox/starts`. */
  readonly folder: ByteString;
  /** `$CODEX_HOME/sandbox/placeholders`. */
  readonly records: ByteString;
  /** A file of it, one of {@linkcode SLOTS}. */
  readonly name: string;
  /** Everything that is compared as it is: this executable, the user, the directory, the words up to the command. */
  readonly key: string;
}

/** A descriptor that is opened anew at every start; `at` is its place in the words. */
export type KeptDescriptor =
  | { readonly at: number; readonly kind: "filter" | "nothing" }
  | {
    readonly at: number;
    readonly kind: "bind";
    readonly path: string;
    readonly device: number;
    readonly inode: number;
  };

/** A plan's outcome, and what it rests on. */
export interface KeptStart {
  readonly key: string;
  readonly observations: readonly Observation[];
  readonly environment: EnvironmentPolicy;
  readonly confinement: Confinement;
  /** A path, or `null` for the bundled one. */
  readonly bwrap: string | null;
  /** bwrap's words up to and including `--`; the command's follow. */
  readonly words: readonly string[];
  readonly descriptors: readonly KeptDescriptor[];
  readonly filter: FilterRequest;
  /** With the host's network: its abstract names are closed. */
  readonly closesAbstract: boolean;
}

/** The number of files: a start overwrites the one that had its slot. */
const SLOTS = 512;
const LIMIT_BYTES = 128 * 1024;

/** bwrap's limit, as `bwrap_argv.ts` has it: beyond, the command line goes by descriptor. */
const MAX_DIRECT_ARGUMENTS = 8_900;

/** A caller with fewer descriptors goes the long way, which counts them. */
const MIN_SOFT_NOFILE = 256;

/**
 * The index of the command's first word, where nothing but a profile, a directory and a launcher stand before it; else `null`.
 *
 * Other flags are either of no use twice (`--explain`) or ask for somebody who stays.
 */
export function commandIndex(words: readonly string[]): number | null {
  // `codex sandbox clean` runs nothing.
  if (words[0] !== "sandbox" || words[1] === "clean") return null;
  for (let at = 1; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--") return at + 1 < words.length ? at + 1 : null;
    if (!word.startsWith("-")) return at;
    if (word !== "-P" && word !== "-C" && word !== "--launcher") return null;
    at += 1;
  }
  return null;
}

/** The place of such a start, `null` when it can have none. */
export function keptPlace(origin: Origin): KeptPlace | null {
  const command = commandIndex(origin.words);
  const home = variable(origin.environment, "CODEX_HOME") ?? "";
  const user = variable(origin.environment, "HOME") ?? "";
  const codexHome = home !== "" ? home : `${user}/.codex`;
  // Without either variable the passwd file decides: the long way knows how.
  const isNamed = codexHome.startsWith("/") && codexHome !== "/.codex";
  if (command === null || origin.cwd === null || !isNamed) return null;
  const own = askText("/proc/self/exe" as ByteString, "content");
  const { uid, gid, cwd, words } = origin;
  const key = [
    own,
    uid,
    gid,
    codexHome,
    cwd,
    words.slice(1, command + 1).join("\0"),
  ].join("\0");
  return {
    folder: `${codexHome}/sandbox/starts` as ByteString,
    records: `${codexHome}/sandbox/placeholders` as ByteString,
    name: `${slotOf(key)}.json`,
    key,
  };
}

let missed: KeptPlace | null = null;

/** The start went the long way: its outcome is to be kept there. */
export function missStart(place: KeptPlace): void {
  missed = place;
}

/** Where the outcome of this start is to be kept; `null` for one that can't be. */
export function missedStart(): KeptPlace | null {
  return missed;
}

/** FNV-1a over the key's characters. */
function slotOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) {
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  }
  return (hash >>> 8) % SLOTS;
}

/** Becomes bubblewrap as the kept plan has it. @returns only when there is none, or it no longer holds; nothing is changed then */
export function startKept(origin: Origin, place: KeptPlace): void {
  const { environment, words, euid } = origin;
  // Loader variables need words of their own; their values are not kept.
  if (!areStreamsPlain() || holdsLoaderVariable(environment)) return;
  if (hasRecords(place)) return;
  const kept = readKept(place, euid);
  if (kept === null || !stillHolds(kept.observations, environment)) return;
  const softNofile = callerSoftLimit();
  if (softNofile < MIN_SOFT_NOFILE) return;
  const opened = openDescriptors(kept);
  if (opened === null) return;
  const bwrap = kept.bwrap ?? bundledPath();
  if (bwrap === null) return;
  const argv = ["bwrap", ...kept.words];
  const keep: number[] = [];
  for (const { at, fd } of opened) {
    argv[at + 1] = String(fd);
    keep.push(fd);
  }
  const command = commandIndex(words) ?? 0;
  if (argv.length + words.length - command > MAX_DIRECT_ARGUMENTS) return;
  for (let at = command; at < words.length; at++) argv.push(words[at] ?? "");
  // What this does the long way does as well: nothing is lost when it fails half way.
  if (kept.closesAbstract && !closeAbstractSockets().ok) return;
  const restored = restoreState(keep, softNofile);
  if (!restored.ok) return;
  execve({
    path: bwrap,
    argv,
    environment: commandEnvironment(
      kept.environment,
      environment,
      kept.confinement,
    ),
  });
}

/** Pipes, sockets, `/dev/null` and its kin, files for writing: whatever the long way would look at twice goes there. */
function areStreamsPlain(): boolean {
  return isStreamPlain(0) && isStreamPlain(1) && isStreamPlain(2);
}

function isStreamPlain(fd: number): boolean {
  const file = askText(NO_PATH, "content", fd);
  if (file === `-${abi.EBADF}`) return true;
  switch (modeOf(file) & abi.S_IFMT) {
    case abi.S_IFIFO:
    case abi.S_IFSOCK:
      return true;
    case abi.S_IFCHR:
      return isHarmlessDevice(fd);
    case abi.S_IFREG: {
      const flags = fileStatusFlags(fd);
      return flags.ok && (flags.value & abi.O_ACCMODE) !== abi.O_RDONLY;
    }
    default:
      return false;
  }
}

const NO_PATH = "" as ByteString;

/** The mode in the text of an answer; NaN, which equals nothing, in that of a failure. */
function modeOf(answer: string): number {
  return Number(answer.split(" ")[2]);
}

/** The user in the text of an answer; NaN in that of a failure. */
function ownerOf(answer: string): number {
  return Number(answer.split(" ")[3]);
}

/** Whether some run has placeholders on record: one that was killed left them, and the long way takes them away. */
function hasRecords({ records }: KeptPlace): boolean {
  const folder = open(records, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!folder.ok) return false;
  const names = readDirectory(folder.value);
  close(folder.value);
  return names.ok && names.value.length > 0;
}

function holdsLoaderVariable(environment: readonly ByteString[]): boolean {
  for (const entry of environment) {
    if (
      entry.startsWith("LD_") || entry.startsWith("MALLOC_") ||
      entry.startsWith("GLIBC_TUNABLES")
    ) return true;
  }
  return false;
}

function readKept(place: KeptPlace, euid: number): KeptStart | null {
  const folder = askText(place.folder, "lstat");
  const isOurs = ownerOf(folder) === euid &&
    (modeOf(folder) & ~0o700) === abi.S_IFDIR;
  if (!isOurs) return null;
  const fd = open(
    `${place.folder}/${place.name}` as ByteString,
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,
  );
  if (!fd.ok) return null;
  const file = askText(NO_PATH, "content", fd.value);
  const isWhole = ownerOf(file) === euid &&
    (modeOf(file) & ~0o600) === abi.S_IFREG;
  const text = isWhole ? readAll(fd.value, LIMIT_BYTES) : null;
  close(fd.value);
  if (text?.ok !== true) return null;
  try {
    const kept = JSON.parse(text.value) as KeptStart;
    return kept.key === place.key ? kept : null;
  } catch {
    return null;
  }
}

/** Asks every question again. */
function stillHolds(
  observations: readonly Observation[],
  environment: readonly ByteString[],
): boolean {
  for (const [kind, subject, answer] of observations) {
    if (answerNow(kind, subject, environment) !== answer) return false;
  }
  return true;
}

function answerNow(
  kind: Observation[0],
  subject: string,
  environment: readonly ByteString[],
): string | null {
  const path = subject as ByteString;
  switch (kind) {
    case "lstat":
    case "stat":
      return askText(path, kind);
    case "open":
      // What was opened is only looked at: equal identity, owner, mode and ctime open equally. An open that was refused never holds
      // again.
      return askText(path, "content");
    case "access": {
      const result = access(Number(subject[0]), subject.slice(1));
      return String(result.ok ? 0 : -result.error.errno);
    }
    case "link": {
      const target = readlink(path);
      return target.ok ? target.value : String(-target.error.errno);
    }
    case "text": {
      const text = readFile(subject, LIMIT_BYTES);
      return text.ok ? text.value : `-${text.error.errno}`;
    }
    case "file_system": {
      const type = fileSystemType(path);
      return String(type.ok ? type.value : -type.error.errno);
    }
    case "variable":
      return variable(environment, subject) ?? NOT_SET;
    default:
      return null;
  }
}

interface OpenedDescriptor {
  readonly at: number;
  readonly fd: number;
}

function openDescriptors(kept: KeptStart): readonly OpenedDescriptor[] | null {
  const opened: OpenedDescriptor[] = [];
  for (const one of kept.descriptors) {
    const fd = openOne(one, kept.filter);
    if (fd === null) return null;
    opened.push({ at: one.at, fd });
  }
  return opened;
}

function openOne(
  one: KeptDescriptor,
  filter: FilterRequest,
): number | null {
  switch (one.kind) {
    case "filter":
      return high(
        sealedMemfd("codex-filter", assembledFilter(filter), "data"),
      );
    case "nothing":
      return high(open("/dev/null" as ByteString, abi.O_RDONLY));
    case "bind": {
      const fd = high(
        openAt2(
          abi.AT_FDCWD,
          one.path,
          abi.O_PATH,
          abi.RESOLVE_NO_SYMLINKS,
        ),
      );
      const there = fd === null ? null : fstat(fd);
      return there?.ok === true && there.value.device === one.device &&
          there.value.inode === one.inode
        ? fd
        : null;
    }
    default:
      return null;
  }
}

function high(fd: ReturnType<typeof open>): number | null {
  if (!fd.ok || fd.value >= firstOwnFd()) return fd.ok ? fd.value : null;
  const moved = duplicate(fd.value, firstOwnFd());
  close(fd.value);
  return moved.ok ? moved.value : null;
}

function bundledPath(): string | null {
  const bundled = loadBundledBwrap();
  return bundled.ok ? bundled.value.file.path : null;
}
