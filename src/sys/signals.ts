/**
 * Calls on signals: what they do, and handlers that need no code of ours in JavaScript.
 *
 * @module
 */
import { ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { executablePage, stableBytes, syscall } from "./ffi.ts";
import { ARCH, failed, outcome, SYS, type SysError } from "./outcome.ts";

/** Sets a signal's action to the default (rt_sigaction(2)). */
export function signalDefault(signal: number): Result<number, SysError> {
  const action = stableBytes(SIGACTION_BYTES);
  return outcome(
    `sigaction ${signal}`,
    syscall(SYS.rt_sigaction, signal, action, 0, abi.SIGSET_BYTES),
  );
}

/** Ignores a signal (rt_sigaction(2)). */
export function signalIgnore(signal: number): Result<number, SysError> {
  const action = stableBytes(SIGACTION_BYTES);
  new DataView(action.buffer).setUint32(0, SIG_IGN, true);
  return outcome(
    `sigaction ${signal}`,
    syscall(SYS.rt_sigaction, signal, action, 0, abi.SIGSET_BYTES),
  );
}

/** Takes a signal out of this thread's mask (rt_sigprocmask(2)). Children that are there already keep theirs. */
export function unblockSignal(signal: number): Result<number, SysError> {
  return outcome(
    `sigprocmask ${signal}`,
    syscall(
      SYS.rt_sigprocmask,
      abi.SIG_UNBLOCK,
      signalSet([signal]),
      0,
      abi.SIGSET_BYTES,
    ),
  );
}

/** Bits of a kernel signal set: bit n-1 for signal n. Signals 1–64. */
export function signalSet(signals: readonly number[]): Uint8Array<ArrayBuffer> {
  const set = stableBytes(128);
  const view = new DataView(set.buffer);
  let low = 0;
  let high = 0;
  for (const signal of signals) {
    if (signal <= 32) low |= 1 << (signal - 1);
    else high |= 1 << (signal - 33);
  }
  view.setUint32(0, low >>> 0, true);
  view.setUint32(4, high >>> 0, true);
  return set;
}

/**
 * From now on each of `signals` writes its number to `fd` instead of acting; one that the caller had ignored stays ignored.
 *
 * exec resets caught signals to their default, so children are not touched by this.
 *
 * @param fd below 65,536, non-blocking, kept open as long as the process lives
 */
export function catchSignals(
  signals: readonly number[],
  fd: number,
): Result<void, SysError> {
  const { handler, restorer } = signalWriterCode(ARCH, fd);
  let address = handlerPages.get(fd);
  if (address === undefined) {
    const code = new Uint8Array(64);
    code.set(handler);
    code.set(restorer, 48);
    address = executablePage(code);
    handlerPages.set(fd, address);
  }
  for (const signal of signals) {
    const before = stableBytes(SIGACTION_BYTES);
    const asked = syscall(
      SYS.rt_sigaction,
      signal,
      0,
      before,
      abi.SIGSET_BYTES,
    );
    if (asked < 0) {
      return failed(`sigaction ${signal}`, asked);
    }
    if (isIgnored(before)) continue;
    const action = stableBytes(SIGACTION_BYTES);
    const view = new DataView(action.buffer);
    view.setBigUint64(0, BigInt(address), true);
    view.setBigUint64(
      8,
      BigInt(restorer.length === 0 ? SA_RESTART : SA_RESTART | SA_RESTORER),
      true,
    );
    view.setBigUint64(
      16,
      BigInt(restorer.length === 0 ? 0 : address + 48),
      true,
    );
    const set = syscall(SYS.rt_sigaction, signal, action, 0, abi.SIGSET_BYTES);
    if (set < 0) {
      return failed(`sigaction ${signal}`, set);
    }
  }
  return ok(undefined);
}

/** Handlers that have been made, by the descriptor that they write to. */
const handlerPages = new Map<number, number>();

/** Whether a struct sigaction says SIG_IGN. */
function isIgnored(action: Uint8Array<ArrayBuffer>): boolean {
  return new DataView(action.buffer).getBigUint64(0, true) === BigInt(SIG_IGN);
}

/** Where a caller ignores SIGCHLD, children are gone before wait4(2) can tell how they ended. */
export function noticeChildren(): void {
  const before = stableBytes(SIGACTION_BYTES);
  syscall(SYS.rt_sigaction, abi.SIGCHLD, 0, before, abi.SIGSET_BYTES);
  if (isIgnored(before)) signalDefault(abi.SIGCHLD);
}

/**
 * Code of a signal handler that writes the signal's number, one byte, to `fd`.
 *
 * A handler in JavaScript is impossible, and a blocked signal with signalfd(2) is not enough: the runtime has threads of its own that
 * don't block it, and the kernel would give it to them. A handler runs in whichever thread the kernel picks.
 */
export function signalWriterCode(
  arch: abi.Arch,
  fd: number,
): { readonly handler: Uint8Array; readonly restorer: Uint8Array } {
  if (arch === "x64") {
    return {
      // push rdi; mov rsi, rsp; mov edi, fd; mov edx, 1; mov eax, 1 (write); syscall; pop rdi; ret
      handler: new Uint8Array([
        0x57,
        0x48,
        0x89,
        0xe6,
        0xbf,
        ...littleEndian(fd),
        0xba,
        1,
        0,
        0,
        0,
        0xb8,
        1,
        0,
        0,
        0,
        0x0f,
        0x05,
        0x5f,
        0xc3,
      ]),
      // mov eax, 15 (rt_sigreturn); syscall
      restorer: new Uint8Array([0xb8, 15, 0, 0, 0, 0x0f, 0x05]),
    };
  }
  // str x0, [sp, #-16]!; mov x1, sp; movz w0, fd; mov x2, 1; mov x8, 64 (write); svc 0; ldr x0, [sp], #16; ret
  const words = [
    0xf81f0fe0,
    0x910003e1,
    0x52800000 | (fd << 5),
    0xd2800022,
    0xd2800808,
    0xd4000001,
    0xf84107e0,
    0xd65f03c0,
  ];
  return {
    handler: new Uint8Array(words.flatMap(littleEndian)),
    restorer: new Uint8Array(0),
  };
}

function littleEndian(word: number): number[] {
  return [
    word & 0xff,
    (word >>> 8) & 0xff,
    (word >>> 16) & 0xff,
    (word >>> 24) & 0xff,
  ];
}

/** The kernel's struct sigaction of `asm/signal.h`: handler, flags, restorer, mask. */
const SIGACTION_BYTES = 32;

/** `asm/signal.h`. */
const SA_RESTORER = 0x04000000;
const SA_RESTART = 0x10000000;
const SIG_IGN = 1;
