/**
 * Whose rights a piece of work is done with: for `--user`, and for what uid 0 may do without capabilities.
 *
 * Raw system calls change the calling thread alone, and that is what is wanted: it is the main thread that looks at files, starts
 * children and executes, and both fork and exec take the calling thread's rights along. libc's wrappers would change every thread.
 * Source: setresuid(2), setgroups(2), capset(2), credentials(7), capabilities(7).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { ok, type Result } from "../result.ts";
import { AT_FDCWD, EACCES } from "./abi.ts";
import { cString, exitNow, getgroups, ids, type SysError } from "./calls.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { spoil } from "./observed.ts";
import { outcome, SYS } from "./outcome.ts";

/** `uid_t` and `gid_t` for "leave it as it is". */
const UNCHANGED = 0xffff_ffff;

/** `linux/prctl.h`. */
const PR_CAPBSET_DROP = 24;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/** `linux/capability.h`: the version of three words for each of two halves. */
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
const CAPABILITY_BYTES = 24;

/** `fcntl.h`, `unistd.h`. */
const AT_EACCESS = 0x200;
const X_OK = 1;
const W_OK = 2;

/** Numbers of a user; supplementary groups are given up. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

function setGroups(groups: readonly number[]): Result<number, SysError> {
  const list = stableBytes(Math.max(groups.length * 4, 4));
  const view = new DataView(list.buffer);
  groups.forEach((group, index) => view.setUint32(index * 4, group, true));
  return outcome("setgroups", syscall(SYS.setgroups, groups.length, list));
}

/** Groups first, the uid last: without it the rest is no longer allowed. */
function take(
  user: Identity,
  saved: Identity | null,
): Result<number, SysError> {
  syscall(SYS.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  const groups = setGroups([]);
  if (!groups.ok) return groups;
  const { uid, gid } = user;
  const group = outcome(
    `setresgid ${gid}`,
    syscall(SYS.setresgid, gid, gid, saved === null ? gid : saved.gid),
  );
  if (!group.ok) return group;
  return outcome(
    `setresuid ${uid}`,
    syscall(SYS.setresuid, uid, uid, saved === null ? uid : saved.uid),
  );
}

/** Becomes `user` for good, right before an exec. On failure nothing may be executed. */
export function becomeUser(user: Identity): Result<number, SysError> {
  return take(user, null);
}

/**
 * Does `work` with the rights of `user`, and takes our own back afterwards.
 *
 * A child that is started meanwhile is that user's for good: exec forgets the saved id. What can't be taken back ends the process.
 */
export function asUser<T>(user: Identity, work: () => T): Result<T, SysError> {
  const own = ids();
  const groups = getgroups();
  if (!groups.ok) return groups;
  const caller = { uid: own.euid, gid: own.egid };
  const giveBack = (): boolean => {
    const uid = syscall(SYS.setresuid, own.uid, own.euid, UNCHANGED);
    const gid = syscall(SYS.setresgid, own.gid, own.egid, UNCHANGED);
    return uid === 0 && gid === 0 && setGroups(groups.value).ok;
  };
  const taken = take(user, caller);
  if (!taken.ok) {
    // The run ends with this error: what of it was taken makes no difference any more.
    giveBack();
    return taken;
  }
  try {
    return ok(work());
  } finally {
    if (!giveBack()) exitNow(125);
  }
}

/**
 * Gives every capability up, for good where no_new_privs is set. The ambient set goes with the others.
 *
 * The bounding set is emptied where CAP_SETPCAP allows it; where it doesn't, no_new_privs makes it worthless.
 */
export function dropCapabilities(): Result<number, SysError> {
  let dropped = 0;
  for (let capability = 0; capability < 64 && dropped >= 0; capability++) {
    dropped = syscall(SYS.prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  const header = stableBytes(8);
  new DataView(header.buffer).setUint32(0, LINUX_CAPABILITY_VERSION_3, true);
  return outcome(
    "capset",
    syscall(SYS.capset, header, stableBytes(CAPABILITY_BYTES)),
  );
}

/** Whether this thread could write `path` if it had no capability: by owner, mode, access list and mount, as the kernel sees them. */
export function canWriteWithoutCapabilities(
  path: ByteString,
  node: "directory" | "file",
): boolean {
  spoil(); // it depends on access lists and mounts, which no kept start looks at
  const header = stableBytes(8);
  new DataView(header.buffer).setUint32(0, LINUX_CAPABILITY_VERSION_3, true);
  const before = stableBytes(CAPABILITY_BYTES);
  // What can't be asked is no reason to refuse a run: then the command itself meets the kernel's answer.
  if (syscall(SYS.capget, header, before) < 0) return true;
  const without = stableBytes(CAPABILITY_BYTES);
  without.set(before);
  without.fill(0, 0, 4);
  without.fill(0, 12, 16);
  if (syscall(SYS.capset, header, without) < 0) return true;
  const asked = syscall(
    SYS.faccessat2,
    AT_FDCWD,
    cString(path),
    node === "directory" ? W_OK | X_OK : W_OK,
    AT_EACCESS,
  );
  if (syscall(SYS.capset, header, before) < 0) exitNow(125);
  return asked !== -EACCES;
}
