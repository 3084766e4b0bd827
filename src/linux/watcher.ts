/**
 * The process that outlives SIGKILL of the supervisor: it ends the sandbox and removes the placeholders.
 *
 * Until then `watcher_program.ts` waits in its place, under the same number and with the same descriptors, where that can be.
 *
 * It holds the read ends of three pipes: the lifeline, whose write end only the supervisor has; bwrap's `--info-fd`; and
 * `--sync-fd`, whose end of file means that the whole sandbox is gone, whoever died first. It has a session of its own, `/` as its
 * directory and `/dev/null` as stdio, so that it holds nobody's terminal, mount or pipe.
 *
 * Effects: blocking reads, kill(2), the placeholders.
 *
 * @module
 */
import { ROOT } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import {
  chdir,
  close,
  exitNow,
  kill,
  pidfdKill,
  pidfdOpen,
  poll,
  read,
  readAll,
  readFile,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { type HeldPlaceholder, releasePlaceholders } from "./placeholders.ts";
import { WORD_BYTES } from "./watcher_program.ts";

/** What the watcher is started with, in a sealed memfd. Descriptor numbers are its own. */
export interface WatcherOrders {
  readonly lifeline: number;
  readonly info: number;
  readonly sync: number;
  readonly records: number | null;
  readonly placeholders: readonly HeldPlaceholder[];
  /**
   * A fresh `/proc` is mounted inside: then end of file on `sync` proves that the sandbox is gone. Without one its first process must be
   * seen to end; where it was not met, the placeholders are left to the next start.
   */
  readonly syncIsProof: boolean;
}

const ORDERS_LIMIT_BYTES = 16 * 1024 * 1024;

/** How long a killed sandbox may take to go. A process in an uninterruptible read of a dead network mount can take for ever. */
const END_TIMEOUT_MS = 60_000;

/** Runs the watcher. @param ordersFd the sealed memfd */
export function runWatcher(ordersFd: number): never {
  const text = readAll(ordersFd, ORDERS_LIMIT_BYTES);
  if (!text.ok) exitNow(125);
  close(ordersFd);
  chdir(ROOT);
  const orders = JSON.parse(text.value) as WatcherOrders;
  if (awaitSupervisor(orders.lifeline) === "dismissed") exitNow(0);
  const named = namedIn(orders.info);
  const init = endSandbox(named, orders.sync);
  const gone = waitForEnd(orders.sync, init, END_TIMEOUT_MS);
  const isProof = orders.syncIsProof || isSeenToEnd(init, named);
  if (gone && isProof && orders.records !== null) {
    releasePlaceholders(orders.placeholders, orders.records);
  }
  exitNow(0);
}

/** Where `watcher_program.ts` has waited, the lifeline is at its end. */
function awaitSupervisor(lifeline: number): "dismissed" | "died" {
  const word = stableBytes(WORD_BYTES);
  for (;;) {
    const count = read(lifeline, word);
    if (!count.ok || count.value !== WORD_BYTES) return "died";
    if (word.every((byte) => byte === 0)) return "dismissed";
  }
}

/** Kills the sandbox's first process, and with it all others, if it is still the one that bwrap named. @returns as {@linkcode killInit} */
function endSandbox(pid: number | null, sync: number): number | null {
  return pid === null ? null : killInit(pid, sync);
}

/** The sandbox's first process, `null` where bwrap has not come to name it. */
function namedIn(info: number): number | null {
  const text = readAll(info, 65_536);
  return text.ok ? childPidOf(text.value) : null;
}

/**
 * Whether the first process of a sandbox has ended for certain, after {@linkcode waitForEnd}: its handle said so, or nobody has its number.
 *
 * @param init what {@linkcode openInit} returned for `pid`
 */
export function isSeenToEnd(init: number | null, pid: number | null): boolean {
  if (init !== null) return true;
  if (pid === null) return false;
  const found = kill(pid, 0);
  return !found.ok && found.error.errno === abi.ESRCH;
}

/** The `child-pid` of what bwrap wrote to `--info-fd` or `--json-status-fd`. */
export function childPidOf(text: string): number | null {
  const found = /"child-pid"\s*:\s*(\d+)/.exec(text);
  return found === null ? null : Number(found[1]);
}

/**
 * Kills process 1 of a sandbox.
 *
 * @returns as {@linkcode openInit}
 */
export function killInit(pid: number, sync: number): number | null {
  const handle = openInit(pid);
  if (handle !== null) killOpened(handle, sync);
  return handle;
}

/**
 * A handle of process 1 of a sandbox, to kill it and to wait for its end.
 *
 * Pids are reused: the handle is opened first, then the process must be the first of a nested PID namespace.
 *
 * @returns its pidfd; `null` when it is gone already
 */
export function openInit(pid: number): number | null {
  const handle = pidfdOpen(pid);
  if (!handle.ok) return null;
  if (isNamespaceInit(pid)) return handle.value;
  close(handle.value);
  return null;
}

/** Kills by a handle of {@linkcode openInit}, while the pipe is held: who opened it late may have met another's process 1. */
export function killOpened(handle: number, sync: number): void {
  if (!isAtEnd(sync)) pidfdKill(handle, abi.SIGKILL);
}

function isNamespaceInit(pid: number): boolean {
  const status = readFile(`/proc/${pid}/status`, 65_536);
  const line = status.ok
    ? /^NSpid:\s*(.*)$/m.exec(status.value)?.[1]
    : undefined;
  const numbers = line?.trim().split(/\s+/) ?? [];
  return numbers.length > 1 && numbers.at(-1) === "1";
}

/** Whether nobody holds the pipe any more, without waiting. */
export function isAtEnd(fd: number): boolean {
  const ready = poll([{ fd, events: 1 }], 0);
  return ready.ok && (ready.value[0] ?? 0) !== 0;
}

/**
 * Waits until nobody inside is left.
 *
 * The pipe tells that the first process has begun to end, which it does before it ends the others: its own end comes after theirs
 * (pid_namespaces(7)).
 *
 * @param init what {@linkcode killInit} returned
 * @returns whether that happened in time
 */
export function waitForEnd(
  sync: number,
  init: number | null,
  timeoutMs: number,
): boolean {
  const deadline = performance.now() + timeoutMs;
  const word = stableBytes(16);
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return false;
    const ready = poll([{ fd: sync, events: 1 }], leftMs * 1e6);
    if (!ready.ok) return false;
    if ((ready.value[0] ?? 0) === 0) continue;
    const count = read(sync, word);
    if (!count.ok || count.value !== 0) continue;
    if (init === null) return true;
    const left = Math.max(0, deadline - performance.now());
    const ended = poll([{ fd: init, events: 1 }], left * 1e6);
    return ended.ok && (ended.value[0] ?? 0) !== 0;
  }
}
