/**
 * Calls on processes: who we are, who else there is, how they ended, what they may use.
 *
 * @module
 */
import { ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { spoil } from "./observed.ts";
import { failed, hostArch, outcome, SYS, type SysError } from "./outcome.ts";

/** Numbers of the caller: effective and real ids (geteuid(2) and its kin). */
export function ids(): {
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly egid: number;
} {
  return {
    uid: syscall(SYS.getuid),
    euid: syscall(SYS.geteuid),
    gid: syscall(SYS.getgid),
    egid: syscall(SYS.getegid),
  };
}

/** getgroups(2): the supplementary groups. */
export function getgroups(): Result<number[], SysError> {
  spoil();
  const list = stableBytes(65_536 * 4);
  const count = syscall(SYS.getgroups, 65_536, list);
  if (count < 0) return failed("getgroups", count);
  const view = new DataView(list.buffer);
  return ok(
    Array.from(
      { length: count },
      (_, index) => view.getUint32(index * 4, true),
    ),
  );
}

export function getpid(): number {
  return syscall(SYS.getpid);
}

export function getppid(): number {
  return syscall(SYS.getppid);
}

/** The process group that we are in (getpgid(2)). */
export function getpgrp(): number {
  return syscall(SYS.getpgid, 0);
}

/** setsid(2): a session of one's own, without a controlling terminal. */
export function setsid(): Result<number, SysError> {
  return outcome("setsid", syscall(SYS.setsid));
}

/** exit_group(2): at once, without the runtime's own clean-up, which costs a millisecond. */
export function exitNow(status: number): never {
  syscall(SYS.exit_group, status);
  throw new Error("unreachable");
}

/** pidfd_open(2): a handle that can't be reused for another process. */
export function pidfdOpen(pid: number): Result<number, SysError> {
  return outcome(`pidfd_open ${pid}`, syscall(SYS.pidfd_open, pid, 0));
}

/** pidfd_send_signal(2). */
export function pidfdKill(
  pidfd: number,
  signal: number,
): Result<number, SysError> {
  return outcome(
    "pidfd_send_signal",
    syscall(SYS.pidfd_send_signal, pidfd, signal, 0, 0),
  );
}

/** kill(2). @param pid as kill(2) has it; negative for a process group */
export function kill(pid: number, signal: number): Result<number, SysError> {
  return outcome(`kill ${pid}`, syscall(SYS.kill, pid, signal));
}

/** A signal to our main thread, which we run on: it acts before this returns (tgkill(2)). */
export function raise(signal: number): Result<number, SysError> {
  const pid = getpid();
  return outcome(`raise ${signal}`, syscall(SYS.tgkill, pid, pid, signal));
}

/** A state change of a child. */
export type ChildStatus =
  | { readonly kind: "exited"; readonly status: number }
  | {
    readonly kind: "signalled";
    readonly signal: number;
  };

/** wait4(2) for a child that has ended; one that lives is left alone. */
export function reapIfEnded(pid: number): void {
  syscall(SYS.wait4, pid, stableBytes(8), abi.WNOHANG, 0);
}

/** wait4(2) until the child has ended. */
export function waitFor(pid: number): Result<ChildStatus, SysError> {
  const word = stableBytes(8);
  for (;;) {
    const result = syscall(SYS.wait4, pid, word, 0, 0);
    if (result === -abi.EINTR) continue;
    if (result < 0) {
      return failed(`wait4 ${pid}`, result);
    }
    // WIFSIGNALED and its kin of `bits/waitstatus.h`; stops are not asked for.
    const raw = new DataView(word.buffer).getInt32(0, true);
    const signal = raw & 0x7f;
    return ok(
      signal === 0
        ? { kind: "exited", status: (raw >> 8) & 0xff }
        : { kind: "signalled", signal },
    );
  }
}

/** Soft and hard limit as prlimit64(2) has them; RLIM_INFINITY is 2^64 - 1, inexact here. */
export interface ResourceLimit {
  readonly soft: number;
  readonly hard: number;
}

/** prlimit64(2), reading. @param pid 0 for this process */
export function getLimit(
  pid: number,
  resource: number,
): Result<ResourceLimit, SysError> {
  const bytes = stableBytes(16);
  const result = syscall(SYS.prlimit64, pid, resource, 0, bytes);
  if (result < 0) {
    return failed(`prlimit ${pid}`, result);
  }
  const view = new DataView(bytes.buffer);
  return ok({
    soft: Number(view.getBigUint64(0, true)),
    hard: Number(view.getBigUint64(8, true)),
  });
}

/**
 * The soft limit of open files that this process was started with, `null` where the entry stub could not keep it
 * (`scripts/seal_runtime.ts`: the base of `gs`, x86-64 only). On the main thread alone.
 */
export function startingSoftNofile(): number | null {
  if (hostArch() !== "x64") return null;
  const word = stableBytes(8);
  if (syscall(ARCH_PRCTL, ARCH_GET_GS, word) < 0) return null;
  const kept = Number(new DataView(word.buffer).getBigUint64(0, true));
  return kept === 0 ? null : kept - 1;
}

/** arch_prctl(2), which only x86-64 has: `asm/unistd_64.h`, `asm/prctl.h`. */
const ARCH_PRCTL = 158;
const ARCH_GET_GS = 0x1004;

/** Sets this process's soft limit and keeps the hard one. */
export function setSoftLimit(
  resource: number,
  soft: number,
): Result<number, SysError> {
  const bytes = stableBytes(16);
  const got = syscall(SYS.prlimit64, 0, resource, 0, bytes);
  if (got < 0) return failed("prlimit", got);
  const view = new DataView(bytes.buffer);
  const hard = view.getBigUint64(8, true);
  const wanted = BigInt(soft);
  view.setBigUint64(0, wanted > hard ? hard : wanted, true);
  return outcome("prlimit", syscall(SYS.prlimit64, 0, resource, bytes, 0));
}
