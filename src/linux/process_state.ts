/**
 * What a process must be before it becomes another program: its limits, signals and descriptors as the caller had them.
 *
 * Effects on this thread and this process. A small module: the shortest start needs nothing else of this room.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  closeOnExecFrom,
  duplicate,
  getLimit,
  getppid,
  landlockRestrict,
  landlockRuleset,
  prctl,
  setCloseOnExec,
  setSoftLimit,
  signalDefault,
  startingSoftNofile,
  type SysError,
} from "../sys/calls.ts";

/** Why the sandbox could not be started. `message` is one line. */
export interface LaunchError {
  readonly kind: "launch";
  readonly message: string;
  /** Something that the plan rests on is gone, and nothing was started: a plan that is made anew may fit. */
  readonly isOutdated?: boolean;
}

let firstOwn: number | undefined;

/**
 * Our descriptors start here: 0–2 and those of `--pass-fd` are the caller's. 100, and less only under a hard limit of open files so low
 * that a run would not fit above it.
 */
export function firstOwnFd(): number {
  if (firstOwn === undefined) {
    const limit = getLimit(0, abi.RLIMIT_NOFILE);
    firstOwn = limit.ok && limit.value.hard < 256 ? 10 : 100;
  }
  return firstOwn;
}

/** The same open file under a number that is ours. */
export function highDescriptor(
  fd: Result<number, SysError>,
  what: string,
): Result<number, LaunchError> {
  if (!fd.ok) return failed(`Cannot open ${what}`, fd.error);
  if (fd.value >= firstOwnFd()) return fd;
  const moved = duplicate(fd.value, firstOwnFd());
  close(fd.value);
  return moved.ok ? moved : failed(`Cannot open ${what}`, moved.error);
}

/** A launch failure that names the call's errno. */
export function failed(
  what: string,
  error: SysError,
): { readonly ok: false; readonly error: LaunchError } {
  return fail({
    kind: "launch",
    message: `${what}: ${error.call.split(" ")[0]} says ${
      abi.errnoText(error.errno)
    }`,
  });
}

/**
 * From here on nothing that this thread starts or executes reaches an abstract AF_UNIX name of the host: a Landlock domain with a scope
 * and nothing else, which leaves mounts alone.
 */
export function closeAbstractSockets(): Result<void, LaunchError> {
  const what = "Cannot close the host's abstract sockets";
  const privileges = prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  if (!privileges.ok) return failed(what, privileges.error);
  const scopes = abi.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET;
  const ruleset = landlockRuleset(0, { net: 0, scopes });
  if (!ruleset.ok) return failed(what, ruleset.error);
  const restricted = landlockRestrict(ruleset.value);
  close(ruleset.value);
  return restricted.ok ? ok(undefined) : failed(what, restricted.error);
}

/** Gives a process back what the runtime changed, and keeps only 0–2 and `keep` across exec. */
export function restoreState(
  keep: readonly number[],
  softNofile: number,
): Result<void, LaunchError> {
  const closing = closeOnExecFrom(3);
  if (!closing.ok) {
    return failed("Cannot close inherited descriptors", closing.error);
  }
  for (const fd of keep) {
    const kept = setCloseOnExec(fd, false);
    if (!kept.ok) return failed(`Cannot pass descriptor ${fd}`, kept.error);
  }
  // The runtime ignores two; a caller that ignores SIGCHLD would leave bubblewrap waiting for its child for ever.
  for (const signal of [abi.SIGPIPE, abi.SIGXFSZ, abi.SIGCHLD]) {
    const reset = signalDefault(signal);
    if (!reset.ok) return failed(`Cannot reset signal ${signal}`, reset.error);
  }
  const limit = setSoftLimit(abi.RLIMIT_NOFILE, softNofile);
  return limit.ok
    ? ok(undefined)
    : failed("Cannot restore the limit of open files", limit.error);
}

/**
 * The caller's soft limit of open files. The runtime has raised ours at its start, so the entry stub keeps it. Where that can't be, it is
 * read from our parent, which is right wherever the parent did not lower it just for us; where the hard limits differ, or the parent
 * can't be asked, the usual 1,024.
 */
export function callerSoftLimit(): number {
  return knownSoftLimit ??= askSoftLimit();
}

let knownSoftLimit: number | undefined;

function askSoftLimit(): number {
  const kept = startingSoftNofile();
  if (kept !== null) return kept;
  const own = getLimit(0, abi.RLIMIT_NOFILE);
  const parent = getLimit(getppid(), abi.RLIMIT_NOFILE);
  if (own.ok && parent.ok && parent.value.hard === own.value.hard) {
    return parent.value.soft;
  }
  return own.ok ? Math.min(1_024, own.value.hard) : 1_024;
}
