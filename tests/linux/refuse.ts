/**
 * System calls that this thread is refused from now on: for failures that no host shows at will.
 *
 * @module
 */
import * as abi from "../../src/sys/abi.ts";
import { O_DIRECTORY, prctl, seccompSetFilter } from "../../src/sys/calls.ts";
import { SYS } from "../../src/sys/outcome.ts";

/** A system call that fails. */
export interface Refused {
  readonly call: keyof typeof SYS;
  /** Only with this value in the low half of that argument, counted from 0. */
  readonly when?: readonly [argument: number, value: number];
  /** EPERM without it. */
  readonly errno?: number;
}

/** struct sock_filter (`linux/filter.h`): a word, two jumps, a value. */
function instruction(
  code: number,
  then: number,
  otherwise: number,
  value: number,
): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint8(2, then);
  view.setUint8(3, otherwise);
  view.setUint32(4, value, true);
  return bytes;
}

const LOAD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_ANY = 0x45;
const RETURN = 0x06;
/** `linux/seccomp.h`: where the number and the arguments lie in struct seccomp_data, and two verdicts. */
const AT_NUMBER = 0;
const AT_ARGUMENTS = 16;
const ERRNO = 0x0005_0000;
const ALLOW = 0x7fff_0000;
const KILL_PROCESS = 0x8000_0000;

/** From here on those calls fail. */
export function refuse(calls: readonly Refused[]): void {
  if (calls.length === 0) return;
  const program = calls.flatMap(({ call, when, errno = abi.EPERM }) => [
    instruction(LOAD, 0, 0, AT_NUMBER),
    instruction(JUMP_IF_EQUAL, 0, when === undefined ? 1 : 3, SYS[call]),
    ...(when === undefined ? [] : [
      instruction(LOAD, 0, 0, AT_ARGUMENTS + 8 * when[0]),
      instruction(JUMP_IF_EQUAL, 0, 1, when[1]),
    ]),
    instruction(RETURN, 0, 0, ERRNO | errno),
  ]);
  const whole = [...program, instruction(RETURN, 0, 0, ALLOW)];
  const privileges = prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  const installed = seccompSetFilter(Buffer.concat(whole));
  if (!privileges.ok || !installed.ok) throw new Error("cannot refuse");
}

/** From here on whoever opens anything so that a pipe without another end would hold him dies of it, and needs not be waited for. */
export function dieRatherThanWait(): void {
  const program = [
    instruction(LOAD, 0, 0, AT_NUMBER),
    instruction(JUMP_IF_EQUAL, 0, 3, SYS.openat),
    instruction(LOAD, 0, 0, AT_ARGUMENTS + 8 * 2),
    instruction(JUMP_IF_ANY, 1, 0, abi.O_NONBLOCK | abi.O_PATH | O_DIRECTORY),
    instruction(RETURN, 0, 0, KILL_PROCESS),
    instruction(RETURN, 0, 0, ALLOW),
  ];
  const privileges = prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  const installed = seccompSetFilter(Buffer.concat(program));
  if (!privileges.ok || !installed.ok) throw new Error("cannot die");
}
