/**
 * Runs a small program with a time limit and keeps its output from the user.
 *
 * Effects: posix_spawn(3), pipes, kill(2), wait4(2).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { ok, type Result } from "../result.ts";
import { O_NONBLOCK, O_RDWR, SIGKILL } from "../sys/abi.ts";
import {
  type ChildStatus,
  close,
  closeOnExecFrom,
  duplicate,
  kill,
  open,
  pipe,
  poll,
  type Program,
  read,
  spawn,
  type SysError,
  waitFor,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";

/** What the program did. `output` is stdout and stderr as they came, at most {@linkcode OUTPUT_LIMIT_BYTES}. */
export interface ProbeOutcome {
  readonly status: ChildStatus | { readonly kind: "timed_out" };
  readonly output: ByteString;
}

/**
 * How long a program may take to answer. Small programs answer within milliseconds; a machine that reads them from a slow disk, or has
 * a hundred other things to do, takes seconds.
 */
export const PROBE_TIMEOUT_MS = 15_000;

/** One look counts at most this much: when a machine stands still, or we are stopped, nobody's time passes. */
const LOOK_MS = 250;

/** More output is dropped: no help text is longer. */
const OUTPUT_LIMIT_BYTES = 64 * 1024;

/** Above the child's own descriptors, 0 to 2, and below any limit of open files that a run fits into. */
const HIGH_FD = 10;

/**
 * Runs `program` with stdin from `/dev/null`.
 *
 * @param timeoutMs after which it is killed; time in which we don't run ourselves is not counted
 */
export function runProbe(
  program: Program,
  timeoutMs: number,
): Result<ProbeOutcome, SysError> {
  const opened: number[] = [];
  // The runtime has done so from 4 up; 3 may be the caller's.
  const closing = closeOnExecFrom(3);
  if (!closing.ok) return closing;
  try {
    const ends = pipe(O_NONBLOCK);
    if (!ends.ok) return ends;
    opened.push(...ends.value);
    const nothing = open("/dev/null" as ByteString, O_RDWR);
    if (!nothing.ok) return nothing;
    opened.push(nothing.value);
    const input = duplicate(nothing.value, HIGH_FD);
    if (!input.ok) return input;
    opened.push(input.value);
    const output = duplicate(ends.value[1], HIGH_FD);
    if (!output.ok) return output;
    opened.push(output.value);
    const child = spawn({
      ...program,
      session: "own",
      descriptors: [
        [input.value, 0],
        [output.value, 1],
        [output.value, 2],
      ],
    });
    if (!child.ok) return child;
    close(output.value);
    close(ends.value[1]);
    opened.splice(opened.indexOf(output.value), 1);
    opened.splice(opened.indexOf(ends.value[1]), 1);
    return collect(child.value, ends.value[0], timeoutMs);
  } finally {
    for (const fd of opened) close(fd);
  }
}

function collect(
  pid: number,
  fd: number,
  timeoutMs: number,
): Result<ProbeOutcome, SysError> {
  const chunk = stableBytes(16_384);
  let output = "";
  let leftMs = timeoutMs;
  let lookedMs = performance.now();
  for (;;) {
    const lookMs = Math.min(leftMs, LOOK_MS);
    const ready = poll([{ fd, events: 1 }], lookMs * 1e6);
    if (!ready.ok) return ready;
    if (ready.value[0] !== 0) {
      const count = read(fd, chunk);
      if (!count.ok || count.value === 0) break;
      if (output.length < OUTPUT_LIMIT_BYTES) {
        output += Buffer.from(chunk.buffer).toString("latin1", 0, count.value);
      }
    }
    const nowMs = performance.now();
    leftMs -= Math.min(nowMs - lookedMs, lookMs);
    lookedMs = nowMs;
    if (leftMs > 0) continue;
    // Its session is its own: whatever it started goes with it.
    kill(-pid, SIGKILL);
    waitFor(pid);
    return ok({
      status: { kind: "timed_out" },
      output: output as ByteString,
    });
  }
  const ended = waitFor(pid);
  if (!ended.ok) return ended;
  return ok({ status: ended.value, output: output as ByteString });
}
