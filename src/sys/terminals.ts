/**
 * Calls on terminals: their modes and who is in the foreground.
 *
 * @module
 */
import { ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { failed, outcome, SYS, type SysError } from "./outcome.ts";

/** isatty(3). */
export function isTerminal(fd: number): boolean {
  return syscall(SYS.ioctl, fd, abi.TCGETS, stableBytes(abi.TERMIOS_BYTES)) >=
    0;
}

/** The modes of a terminal (TCGETS of tty_ioctl(2)); ENOTTY for anything else. */
export function terminalModes(
  fd: number,
): Result<Uint8Array<ArrayBuffer>, SysError> {
  const modes = stableBytes(abi.TERMIOS_BYTES);
  const result = syscall(SYS.ioctl, fd, abi.TCGETS, modes);
  return result < 0 ? failed(`TCGETS ${fd}`, result) : ok(modes);
}

/** Sets a terminal's modes at once (TCSETS of tty_ioctl(2)). In the background it raises SIGTTOU. */
export function setTerminalModes(
  fd: number,
  modes: Uint8Array<ArrayBuffer>,
): Result<number, SysError> {
  return outcome(`TCSETS ${fd}`, syscall(SYS.ioctl, fd, abi.TCSETS, modes));
}

/** The foreground process group of our controlling terminal (TIOCGPGRP); ENOTTY when `fd` is not open on it. */
export function foregroundGroup(fd: number): Result<number, SysError> {
  const word = stableBytes(8);
  const result = syscall(SYS.ioctl, fd, abi.TIOCGPGRP, word);
  return result < 0
    ? failed(`TIOCGPGRP ${fd}`, result)
    : ok(new DataView(word.buffer).getInt32(0, true));
}
