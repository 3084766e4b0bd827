/**
 * Calls on descriptors: copies, flags, locks, pipes, waiting.
 *
 * @module
 */
import { ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { spoil } from "./observed.ts";
import { failed, outcome, SYS, type SysError } from "./outcome.ts";

/** flock(2). @param operation LOCK_* bits; EAGAIN when LOCK_NB meets another's lock */
export function flock(fd: number, operation: number): Result<number, SysError> {
  spoil();
  return outcome("flock", syscall(SYS.flock, fd, operation));
}

/** pipe2(2) with O_CLOEXEC and `flags`. @returns [read end, write end] */
export function pipe(flags = 0): Result<readonly [number, number], SysError> {
  spoil();
  const ends = stableBytes(8);
  const result = syscall(SYS.pipe2, ends, flags | abi.O_CLOEXEC);
  if (result < 0) return failed("pipe2", result);
  const view = new DataView(ends.buffer);
  return ok([view.getInt32(0, true), view.getInt32(4, true)]);
}

/** F_DUPFD_CLOEXEC of fcntl(2): a copy of `fd` numbered `atLeast` or above. */
export function duplicate(
  fd: number,
  atLeast: number,
): Result<number, SysError> {
  const result = syscall(SYS.fcntl, fd, abi.F_DUPFD_CLOEXEC, atLeast);
  // fcntl(2): a number beyond the limit of open files is EINVAL, one that none is free above EMFILE. Both are the limit's doing.
  const refused = result === -abi.EINVAL ? -abi.EMFILE : result;
  return outcome(`F_DUPFD ${fd}`, refused);
}

/** dup3(2) without flags: `to` becomes a copy of `from` that exec keeps. */
export function dupTo(from: number, to: number): Result<number, SysError> {
  return outcome(`dup3 ${from}`, syscall(SYS.dup3, from, to, 0));
}

/** Sets or clears close-on-exec. */
export function setCloseOnExec(
  fd: number,
  on: boolean,
): Result<number, SysError> {
  return outcome(
    `F_SETFD ${fd}`,
    syscall(SYS.fcntl, fd, abi.F_SETFD, on ? abi.FD_CLOEXEC : 0),
  );
}

/** F_GETFL: access mode and status flags of an open file, EBADF when the descriptor is closed. */
export function fileStatusFlags(fd: number): Result<number, SysError> {
  return outcome(`F_GETFL ${fd}`, syscall(SYS.fcntl, fd, abi.F_GETFL, 0));
}

/** F_SETFL of fcntl(2): those of the flags that can be changed, for everybody who has the open file. */
export function setFileStatusFlags(
  fd: number,
  flags: number,
): Result<number, SysError> {
  return outcome(`F_SETFL ${fd}`, syscall(SYS.fcntl, fd, abi.F_SETFL, flags));
}

/** fchmod(2). @param mode permission bits */
export function fchmod(fd: number, mode: number): Result<number, SysError> {
  return outcome(`fchmod ${fd}`, syscall(SYS.fchmod, fd, mode));
}

/** close_range(2): marks every descriptor from `first` to `last` close-on-exec. Since Linux 5.11. */
export function closeOnExecFrom(
  first: number,
  last = 0x7fffffff,
): Result<number, SysError> {
  return outcome(
    "close_range",
    syscall(SYS.close_range, first, last, abi.CLOSE_RANGE_CLOEXEC),
  );
}

/** One descriptor to wait for. */
export interface Polled {
  readonly fd: number;
  /** POLLIN 1, POLLOUT 4. Errors and hang-ups are always reported. */
  readonly events: number;
}

/**
 * ppoll(2).
 *
 * @param timeoutNs nanoseconds, or `null` to wait for ever
 * @returns the returned events of each descriptor, in order; all 0 on time-out or interruption
 */
export function poll(
  polled: readonly Polled[],
  timeoutNs: number | null,
): Result<number[], SysError> {
  const list = stableBytes(8 * Math.max(polled.length, 1));
  const view = new DataView(list.buffer);
  polled.forEach(({ fd, events }, index) => {
    view.setInt32(index * 8, fd, true);
    view.setInt16(index * 8 + 4, events, true);
  });
  const time = stableBytes(16);
  if (timeoutNs !== null) {
    const clock = new DataView(time.buffer);
    clock.setUint32(0, Math.floor(timeoutNs / 1e9), true);
    clock.setUint32(8, Math.floor(timeoutNs % 1e9), true);
  }
  const result = syscall(
    SYS.ppoll,
    list,
    polled.length,
    timeoutNs === null ? 0 : time,
    0,
    abi.SIGSET_BYTES,
  );
  if (result < 0 && result !== -abi.EINTR) {
    return failed("ppoll", result);
  }
  return ok(
    polled.map((
      _,
      index,
    ) => (result <= 0 ? 0 : view.getUint16(index * 8 + 6, true))),
  );
}
