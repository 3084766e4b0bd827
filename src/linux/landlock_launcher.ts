/**
 * Carries a Landlock plan out: opens what it names, gives every privilege up, restricts this thread and becomes the command.
 *
 * Effects, in one synchronous stretch on the main thread: capabilities, no_new_privs, domains and filters belong to a thread, and
 * execve(2) keeps the calling thread's. Everything that can fail comes before anything is given up.
 *
 * The order is a promise, each step for a reason:
 * 1. The ruleset is made whole: its places are opened while everything can still be opened.
 * 2. The runtime's changes are taken back, and everything but the caller's descriptors is marked close-on-exec.
 * 3. The user is changed while that is still allowed, and the directory is entered as that user.
 * 4. no_new_privs and no capabilities: as uid 0 there is no user namespace that would make them worthless.
 * 5. The domain, before the filter: the filter knows nothing of Landlock's calls, and needs to know nothing.
 * 6. The filter, last before the exec.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  chdir,
  close,
  fileStatusFlags,
  fstat,
  landlockAllow,
  landlockRestrict,
  landlockRuleset,
  openAt2,
  prctl,
} from "../sys/calls.ts";
import { becomeUser, dropCapabilities } from "../sys/identity.ts";
import {
  executeCommand,
  installFilter,
  requireNoCapabilities,
  withWorkingDirectory,
} from "./inner_stage.ts";
import { fileBits, netBits, scopeBits } from "./landlock_abi.ts";
import { failed, type LaunchError, restoreState } from "./process_state.ts";
import type { LandlockPlan, LandlockRule } from "./plan.ts";
import { assembledFilter } from "./seccomp/programs.ts";

/** What is needed besides the plan. */
export interface LandlockLaunch {
  readonly plan: LandlockPlan;
  /** The command's whole environment but PWD. */
  readonly environment: readonly ByteString[];
  /** Soft RLIMIT_NOFILE of the caller. */
  readonly softNofile: number;
}

/** Becomes the command. @returns only on failure before anything was given up */
export function launchAlone(launch: LandlockLaunch): LaunchError {
  const { plan, environment, softNofile } = launch;
  const ruleset = makeRuleset(plan);
  if (!ruleset.ok) return ruleset.error;
  const restored = restoreState(plan.passFds, softNofile);
  if (!restored.ok) return restored.error;
  if (plan.user !== undefined) {
    const { uid, gid } = plan.user;
    const become = becomeUser(plan.user);
    if (!become.ok) {
      return failed(
        `Cannot become uid ${uid}, gid ${gid} (--user)`,
        become.error,
      ).error;
    }
  }
  const cwd = plan.chdir ?? ("/" as ByteString);
  const moved = chdir(cwd);
  if (!moved.ok) {
    return failed(`Cannot run in ${toText(cwd)}`, moved.error).error;
  }
  const dropped = dropPrivileges();
  if (!dropped.ok) return dropped.error;
  if (ruleset.value !== null) {
    const restricted = landlockRestrict(ruleset.value);
    if (!restricted.ok) {
      return failed("Cannot restrict the command", restricted.error).error;
    }
  }
  const filter = assembledFilter(plan.filter);
  installFilter(Buffer.from(filter).toString("latin1"));
  return executeCommand(plan.command, withWorkingDirectory(environment));
}

/** The plan's domain as a ruleset; `null` where there is nothing that Landlock is to decide about. */
function makeRuleset(
  plan: LandlockPlan,
): Result<number | null, LaunchError> {
  const { files, net, scopes } = plan.handled;
  const handled = fileBits(files);
  const more = { net: netBits(net), scopes: scopeBits(scopes) };
  if (handled === 0 && more.net === 0 && more.scopes === 0) return ok(null);
  const ruleset = landlockRuleset(handled, more);
  if (!ruleset.ok) {
    return failed("Cannot make a Landlock domain", ruleset.error);
  }
  for (const rule of plan.rules) {
    const added = addRule(ruleset.value, rule);
    if (!added.ok) return added;
  }
  const added = addStreams(ruleset.value, handled, [0, 1, 2, ...plan.passFds]);
  return added.ok ? ruleset : added;
}

function addRule(
  ruleset: number,
  rule: LandlockRule,
): Result<void, LaunchError> {
  const path = toText(rule.path);
  const fd = openAt2(
    abi.AT_FDCWD,
    rule.path,
    abi.O_PATH,
    abi.RESOLVE_NO_SYMLINKS,
  );
  if (!fd.ok) {
    // What nobody granted by name, a device or /proc, may be missing.
    return rule.seen === null && rule.path !== "/" as string &&
        fd.error.errno === abi.ENOENT
      ? ok(undefined)
      : failed(`Cannot open ${path}`, fd.error);
  }
  const added = isWhatWasSeen(fd.value, rule)
    ? allow(ruleset, fd.value, fileBits(rule.rights), path)
    : fail<LaunchError>({
      kind: "launch",
      message:
        `Cannot allow ${path}: it was replaced while the sandbox was being set up; run again`,
    });
  close(fd.value);
  return added;
}

function isWhatWasSeen(fd: number, { seen }: LandlockRule): boolean {
  if (seen === null) return true;
  const stat = fstat(fd);
  return stat.ok && stat.value.device === seen.device &&
    stat.value.inode === seen.inode;
}

function allow(
  ruleset: number,
  fd: number,
  rights: number,
  what: string,
): Result<void, LaunchError> {
  if (rights === 0) return ok(undefined);
  const added = landlockAllow(ruleset, fd, rights);
  // Pipes, sockets and their like lie beneath nothing: no domain asks about them.
  return added.ok || added.error.errno === abi.EBADFD
    ? ok(undefined)
    : failed(`Cannot allow ${what}`, added.error);
}

/** What the caller opened may be opened again in the same way, through `/dev/stdout` and its like: it is his grant. */
function addStreams(
  ruleset: number,
  handled: number,
  fds: readonly number[],
): Result<void, LaunchError> {
  const reading = fileBits(["READ_FILE"]);
  const writing = fileBits(["WRITE_FILE", "TRUNCATE"]);
  for (const fd of fds) {
    const flags = fileStatusFlags(fd);
    const file = fstat(fd);
    if (!flags.ok || !file.ok) continue; // closed by the caller
    const type = file.value.mode & abi.S_IFMT;
    if (type !== abi.S_IFREG && type !== abi.S_IFCHR) continue;
    const mode = flags.value & abi.O_ACCMODE;
    const device = type === abi.S_IFCHR ? fileBits(["IOCTL_DEV"]) : 0;
    const rights = device |
      (mode === abi.O_RDONLY
        ? reading
        : mode === abi.O_WRONLY
        ? writing
        : reading | writing);
    const added = allow(ruleset, fd, rights & handled, `descriptor ${fd}`);
    if (!added.ok) return added;
  }
  return ok(undefined);
}

/** No privilege can be had any more, and none is left. */
function dropPrivileges(): Result<void, LaunchError> {
  const what = "Cannot give privileges up";
  const privileges = prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  if (!privileges.ok) return failed(what, privileges.error);
  const dropped = dropCapabilities();
  if (!dropped.ok) return failed(what, dropped.error);
  requireNoCapabilities();
  return ok(undefined);
}
