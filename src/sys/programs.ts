/**
 * Calls that start a program: in our place, or as a child.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { writeLatin1 } from "./latin1.ts";
import { addressOf, spawnFamily, stableBytes, syscall } from "./ffi.ts";
import { spoil } from "./observed.ts";
import { cString, SYS, type SysError } from "./outcome.ts";
import { noticeChildren, signalSet } from "./signals.ts";

/** What to execute: the file, and the exact argv and environment (`NAME=value` entries) as byte strings. */
export interface Program {
  readonly path: string;
  readonly argv: readonly string[];
  readonly environment: readonly string[];
}

/** execve(2). @returns only when it failed */
export function execve(program: Program): SysError {
  const argv = stringVector(program.argv);
  const environment = stringVector(program.environment);
  const result = syscall(
    SYS.execve,
    cString(program.path),
    argv.pointers,
    environment.pointers,
  );
  // Named again so that the vectors' text outlives the call.
  if (argv.text.length + environment.text.length === 0) {
    throw new Error("unreachable");
  }
  return { kind: "sys", call: `execve ${program.path}`, errno: -result };
}

/** A program with the descriptors it gets. Everything not listed must be close-on-exec already. */
export interface Spawned extends Program {
  /** Pairs [ours, theirs], done in order; ours ≥ 100 and theirs < 100, so that none overwrites another's source. */
  readonly descriptors: readonly (readonly [from: number, to: number])[];
  readonly session: "own" | "inherited";
}

/**
 * Starts a child (posix_spawn(3)) with SIGPIPE and SIGXFSZ, which the runtime ignores, SIGCHLD, which a caller may, and the C library's
 * own at their defaults. @returns its pid
 */
export function spawn(program: Spawned): Result<number, SysError> {
  spoil();
  const family = spawnFamily();
  const call = `posix_spawn ${program.path}`;
  // glibc: posix_spawn_file_actions_t is 80 bytes, posix_spawnattr_t 336; musl's are no larger.
  const actions = stableBytes(128);
  const attributes = stableBytes(512);
  family.posix_spawn_file_actions_init(actions);
  family.posix_spawnattr_init(attributes);
  try {
    for (const [from, to] of program.descriptors) {
      const added = family.posix_spawn_file_actions_adddup2(actions, from, to);
      if (added !== 0) return fail({ kind: "sys", call, errno: added });
    }
    family.posix_spawnattr_setsigdefault(
      attributes,
      signalSet([abi.SIGPIPE, abi.SIGXFSZ, abi.SIGCHLD, ...LIBC_SIGNALS]),
    );
    family.posix_spawnattr_setflags(
      attributes,
      SPAWN_SETSIGDEF | (program.session === "own" ? SPAWN_SETSID : 0),
    );
    noticeChildren();
    const argv = stringVector(program.argv);
    const environment = stringVector(program.environment);
    const pid = stableBytes(4);
    const error = family.posix_spawn(
      pid,
      cString(program.path),
      actions,
      attributes,
      argv.pointers,
      environment.pointers,
    );
    if (error !== 0 || argv.text.length + environment.text.length === 0) {
      return fail({ kind: "sys", call, errno: error });
    }
    return ok(new DataView(pid.buffer).getInt32(0, true));
  } finally {
    family.posix_spawn_file_actions_destroy(actions);
    family.posix_spawnattr_destroy(attributes);
  }
}

/**
 * SIGCANCEL and SIGSETXID of glibc: its posix_spawn leaves them ignored in the child (`sysdeps/unix/sysv/linux/spawni.c`), and no call
 * of the library gives them back.
 */
const LIBC_SIGNALS = [32, 33];

/** `spawn.h`: POSIX_SPAWN_SETSIGDEF and POSIX_SPAWN_SETSID. */
const SPAWN_SETSIGDEF = 0x04;
const SPAWN_SETSID = 0x80;

/** A pointer array with its strings, for execve(2): keep it referenced until the call has returned. */
interface StringVector {
  readonly pointers: Uint8Array<ArrayBuffer>;
  readonly text: Uint8Array<ArrayBuffer>;
}

function stringVector(strings: readonly string[]): StringVector {
  // One buffer for all strings: a buffer each costs more than the rest of the exec.
  let length = 0;
  for (const string of strings) length += string.length + 1;
  const text = stableBytes(Math.max(length, 1));
  writeLatin1(strings.join("\0"), text);
  const base = addressOf(text);
  const pointers = stableBytes(8 * (strings.length + 1));
  const view = new DataView(pointers.buffer);
  let at = base;
  let index = 0;
  for (const string of strings) {
    view.setUint32(index, at % 2 ** 32, true);
    view.setUint32(index + 4, Math.floor(at / 2 ** 32), true);
    at += string.length + 1;
    index += 8;
  }
  return { pointers, text };
}
