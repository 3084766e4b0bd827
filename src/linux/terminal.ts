/**
 * The caller's terminal: its modes as they were, and back to them, whatever the command did and however it ended.
 *
 * An own terminal for the command would begin here as well: what is saved would then be the outer one.
 *
 * Effects: ioctl(2) on the caller's streams.
 *
 * @module
 */
import * as abi from "../sys/abi.ts";
import {
  fchmod,
  fileStatusFlags,
  foregroundGroup,
  fstat,
  getpgrp,
  setFileStatusFlags,
  setTerminalModes,
  signalDefault,
  signalIgnore,
  terminalModes,
} from "../sys/calls.ts";

/** A terminal's modes at one moment. */
export interface TerminalModes {
  readonly fd: number;
  readonly modes: Uint8Array<ArrayBuffer>;
  /** Of the open file, which whoever started us has as well: the command could leave it non-blocking. */
  readonly flags: number | null;
  /** Permission bits of the device, which is the user's: the command could open it to others. */
  readonly rights: number | null;
}

const PERMISSION_BITS = 0o7777;

/** Of the first standard stream that is a terminal; `null` without one. */
export function saveTerminal(): TerminalModes | null {
  for (const fd of [0, 1, 2]) {
    const modes = terminalModes(fd);
    if (!modes.ok) continue;
    const flags = fileStatusFlags(fd);
    return {
      fd,
      modes: modes.value,
      flags: flags.ok ? flags.value : null,
      rights: rightsOf(fd),
    };
  }
  return null;
}

function rightsOf(fd: number): number | null {
  const device = fstat(fd);
  return device.ok ? device.value.mode & PERMISSION_BITS : null;
}

/**
 * Gives the open file its flags, the device its permissions and the terminal these modes again, if they have changed and it is ours to change: in the background it is somebody else's.
 *
 * A terminal that is gone has no modes.
 */
export function restoreTerminal(
  { fd, modes, flags, rights }: TerminalModes,
): void {
  if (flags !== null) setFileStatusFlags(fd, flags);
  if (rights !== null && rightsOf(fd) !== rights) fchmod(fd, rights);
  const now = terminalModes(fd);
  if (!now.ok || Buffer.from(now.value.buffer).equals(modes)) return;
  const foreground = foregroundGroup(fd);
  // Without a foreground group it is not our controlling terminal, and no shell gives it to somebody else meanwhile.
  if (foreground.ok && foreground.value !== getpgrp()) return;
  // Between the look and the call the shell may take it away: better without effect than stopped by SIGTTOU.
  signalIgnore(abi.SIGTTOU);
  setTerminalModes(fd, modes);
  signalDefault(abi.SIGTTOU);
}
