/**
 * Carries a plan out: opens what it names, checks that it is what was seen, and becomes bubblewrap.
 *
 * Effects, in one synchronous stretch on the main thread: the last calls before execve(2) change this thread's and this process's
 * state (signals, limits, descriptors), and nothing may run in between.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import type { AbsPath } from "../policy/path.ts";
import { fail, ok, type Result, unreachable } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  execve,
  fstat,
  lstat,
  open,
  openAt2,
  sealedMemfd,
  type SysError,
} from "../sys/calls.ts";
import { bwrapArguments, type BwrapFds } from "./bwrap_argv.ts";
import type { Identity } from "../sys/identity.ts";
import type { MountOp } from "./mounts.ts";
import type { SandboxPlan } from "./plan.ts";
import type { BwrapFile } from "./probe_bwrap.ts";
import {
  failed,
  highDescriptor,
  type LaunchError,
  restoreState,
} from "./process_state.ts";

/** Everything that a launch needs besides the plan. The filter is struct sock_filter, 8 bytes each. */
export interface Launch {
  readonly plan: SandboxPlan;
  readonly bwrap: BwrapFile;
  /** What bwrap itself gets: no loader variable among it. */
  readonly environment: readonly ByteString[];
  /** Entries that only the command gets, by `--setenv` in a descriptor. */
  readonly lateEnvironment: readonly ByteString[];
  /** The filter that bwrap loads into the command (or the inner stage) and into its own PID 1. */
  readonly filter: Uint8Array;
  /** What bwrap executes. */
  readonly command: readonly string[];
  /** Content of the memfd that the inner stage reads; its number replaces {@linkcode INNER_FD}. */
  readonly innerOrders: string | null;
  /** Soft RLIMIT_NOFILE of the caller. */
  readonly softNofile: number;
  /** What the inner stage listens on for us, by the control channel; none without one. */
  readonly listenPorts: readonly number[];
  /** Where the command lies for the program that listens and then executes it, {@linkcode PROGRAM_PATH}; `null` without one. */
  readonly place: ByteString | null;
  /** The inner stage says why it could not start the command, also to us: {@linkcode REPORT_FD} is in `command`. */
  readonly reportsFailures: boolean;
}

/** Stands in `command` for the number of the memfd that the inner stage reads. */
export const INNER_FD = "\0inner-fd";

/** Stands in `command` for the number of the control channel's inner end. */
export const CHANNEL_FD = "\0channel-fd";

/** Stands in `command` for the number of the pipe in which the inner stage says why it could not start the command. */
export const REPORT_FD = "\0report-fd";

/** Stands in `command` for the path of the program that makes the listeners. */
export const PROGRAM_PATH = "\0program-path";

/** Descriptors of a plan, opened. */
export interface Opened {
  readonly fds: Omit<BwrapFds, "supervised">;
  readonly command: readonly string[];
  /** Everything that bwrap must inherit, under the same numbers. */
  readonly keep: number[];
}

/** Opens every descriptor that the plan needs; nothing has been changed when it fails. */
export function openPlan(launch: Launch): Result<Opened, LaunchError> {
  const keep: number[] = [...launch.plan.passFds];
  const mounts = new Map<number, string>();
  for (const [index, step] of launch.plan.mounts.entries()) {
    const fd = openFor(step.op);
    if (fd === null) continue;
    if (!fd.ok) return fd;
    keep.push(fd.value);
    mounts.set(index, String(fd.value));
  }
  const seccomp = highDescriptor(
    sealedMemfd("codex-filter", launch.filter, "data"),
    "the seccomp filter",
  );
  if (!seccomp.ok) return seccomp;
  keep.push(seccomp.value);
  let command = launch.command;
  if (launch.innerOrders !== null) {
    const orders = highDescriptor(
      sealedMemfd("codex-orders", latin1(launch.innerOrders), "data"),
      "the inner stage's orders",
    );
    if (!orders.ok) return orders;
    keep.push(orders.value);
    command = command.map((word) =>
      word === INNER_FD ? String(orders.value) : word
    );
  }
  return ok({ fds: { seccomp: String(seccomp.value), mounts }, command, keep });
}

function latin1(text: string): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(text.length));
  Buffer.from(bytes.buffer).write(text, 0, "latin1");
  return bytes;
}

/** @returns `null` for steps that take no descriptor */
function openFor(op: MountOp): Result<number, LaunchError> | null {
  switch (op.kind) {
    case "bind_seen":
      return openSeen(op.path, op.seen);
    case "empty_file":
      if (op.shared === true) return null;
      return highDescriptor(
        open("/dev/null" as ByteString, abi.O_RDONLY),
        "/dev/null",
      );
    case "bind_own":
      return highDescriptor(open(op.source, abi.O_PATH), toText(op.source));
    case "bind_path":
    case "tmpfs":
    case "symlink":
    case "remount_read_only":
    case "dev":
    case "proc":
      return null;
    default:
      return unreachable(op);
  }
}

/** Opens the very thing that the probe saw, by a path without links, or fails. */
function openSeen(
  path: AbsPath,
  seen: { readonly device: number; readonly inode: number },
): Result<number, LaunchError> {
  const fd = highDescriptor(
    openAt2(abi.AT_FDCWD, path, abi.O_PATH, abi.RESOLVE_NO_SYMLINKS),
    toText(path),
  );
  if (!fd.ok) {
    const there = lstat(path);
    const isOutdated = !there.ok && there.error.errno === abi.ENOENT;
    return fail({ ...fd.error, isOutdated });
  }
  const stat = fstat(fd.value);
  if (!stat.ok) return failed(`Cannot look at ${toText(path)}`, stat.error);
  if (stat.value.device !== seen.device || stat.value.inode !== seen.inode) {
    return fail({
      kind: "launch",
      message: `Cannot mount ${
        toText(path)
      }: it was replaced while the sandbox was being set up; run again`,
    });
  }
  return fd;
}

/** A list that is longer goes by descriptor: what one exec takes is bounded (execve(2)), and the command's own words need room. */
const MAX_WORDS_OF_EXEC = 500;

/**
 * The argument list as bubblewrap gets it: all of it, or a descriptor that holds everything before the command, which is added to
 * `keep`.
 *
 * @param commandWords how many words at the end are the command's
 */
export function bwrapArgv(
  words: readonly string[],
  commandWords: number,
  keep: number[],
  { lateEnvironment }: Launch,
): Result<string[], LaunchError> {
  // Values of variables are nobody's business, and everybody on the host can read a command line.
  if (words.length <= MAX_WORDS_OF_EXEC && lateEnvironment.length === 0) {
    return ok(["bwrap", ...words]);
  }
  const own = words.length - commandWords - 1; // "--" stands between
  const text = `${words.slice(0, own).join("\0")}\0`;
  const fd = highDescriptor(
    sealedMemfd("codex-arguments", latin1(text), "data"),
    "the arguments of bubblewrap",
  );
  if (!fd.ok) return fd;
  keep.push(fd.value);
  return ok(["bwrap", "--args", String(fd.value), ...words.slice(own)]);
}

/** Becomes bubblewrap. @returns only when that failed, before anything was started */
export function launchByExec(launch: Launch): LaunchError {
  const { user } = launch.plan;
  const opened = asCommandUser(launch, () => openPlan(launch));
  if (!opened.ok) return opened.error;
  const { fds, command, keep } = opened.value;
  const words = bwrapArguments(
    launch.plan,
    { ...fds, supervised: null },
    launch.lateEnvironment,
    command,
  );
  const argv = bwrapArgv(words, command.length, keep, launch);
  if (!argv.ok) return argv.error;
  const restored = restoreState(keep, launch.softNofile);
  if (!restored.ok) return restored.error;
  if (user !== undefined) {
    const become = identity().becomeUser(user);
    if (!become.ok) return cannotBecome(user, become.error).error;
  }
  const error = execve({
    path: launch.bwrap.path,
    argv: argv.value,
    environment: launch.environment,
  });
  return failed(`Cannot start bubblewrap ${launch.bwrap.path}`, error).error;
}

/** Loaded only with `--user`. */
function identity(): typeof import("../sys/identity.ts") {
  return require("../sys/identity.ts");
}

/**
 * Does `work` with the rights of whoever the command will be: with `--user` his files are opened and the sandbox is started as him.
 * Records and placeholders stay ours.
 */
export function asCommandUser<T>(
  { plan: { user } }: Launch,
  work: () => Result<T, LaunchError>,
): Result<T, LaunchError> {
  if (user === undefined) return work();
  const done = identity().asUser(user, work);
  return done.ok ? done.value : cannotBecome(user, done.error);
}

function cannotBecome(
  user: Identity,
  error: SysError,
): { readonly ok: false; readonly error: LaunchError } {
  return failed(`Cannot become uid ${user.uid}, gid ${user.gid}`, error);
}
