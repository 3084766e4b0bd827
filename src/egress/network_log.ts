/**
 * `--network-log FILE`: one JSON line for each request, denied ones too.
 *
 * The file is opened once, before anything starts; lines of one turn of the event loop are one write. One run writes a bounded number of
 * bytes: whoever asks without end must not fill the disk.
 *
 * @module
 */
import { closeSync, fstatSync, writeSync } from "node:fs";
import type { AbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { O_NOFOLLOW, openAt2 } from "../sys/calls.ts";
import type { ProxyEvent } from "./context.ts";
import { formatCutLine, formatLogLine } from "./report.ts";

/** Bytes that one run writes, but for the line that says so: a choice of ours, some 200,000 requests. */
export const MAX_LOG_BYTES = 64 * 1_048_576;

/** An open log. */
export interface NetworkLog {
  readonly write: (event: ProxyEvent) => void;
  /** Writes what waits and closes. @returns a line for stderr when a write had failed or the log was cut */
  readonly close: () => string | null;
}

/** Opens the log for appending, mode 0600. The path has no link in it. Links of both kinds, directories, pipes and devices are refused. */
export function openNetworkLog(
  path: AbsPath,
  maxBytes: number = MAX_LOG_BYTES,
): Result<NetworkLog, string> {
  // O_NONBLOCK: a pipe without a reader must not hold the start; it is refused below. No link: what was looked at is what is opened.
  const opened = openAt2(
    abi.AT_FDCWD,
    path,
    abi.O_WRONLY | abi.O_APPEND | abi.O_CREAT | O_NOFOLLOW | abi.O_NONBLOCK,
    abi.RESOLVE_NO_SYMLINKS,
    0o600,
  );
  if (!opened.ok) return fail(abi.errnoText(opened.error.errno));
  const fd = opened.value;
  const found = fstatSync(fd);
  const why = !found.isFile()
    ? "it is no regular file"
    : found.nlink > 1
    ? "it has another name, by which the sandbox could write it"
    : null;
  if (why !== null) {
    closeSync(fd);
    return fail(why);
  }
  let waiting = "";
  let left = maxBytes;
  /** Requests of which the log says nothing. */
  let leftOut = 0;
  let failure: string | null = null;
  let isScheduled = false;
  const flush = (): void => {
    isScheduled = false;
    const bytes = Buffer.from(waiting, "latin1");
    waiting = "";
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    } catch (error) {
      // A full disk must not end the run; it is told at the end.
      failure ??= errorCode(error);
    }
  };
  return ok({
    write(event): void {
      if (leftOut > 0) {
        leftOut++;
        return;
      }
      let line = `${formatLogLine(event)}\n`;
      left -= line.length;
      if (left < 0) {
        leftOut = 1;
        line = `${formatCutLine(event.time, maxBytes)}\n`;
      }
      waiting += line;
      if (isScheduled) return;
      isScheduled = true;
      setImmediate(flush);
    },
    close(): string | null {
      if (waiting !== "") flush();
      closeSync(fd);
      const why = failure ?? (leftOut === 0 ? null : tooMany(leftOut));
      return why === null ? null : `The network log is incomplete: ${why}`;
    },
  });
}

function tooMany(leftOut: number): string {
  return leftOut === 1
    ? "it is at its limit, and one request is not in it"
    : `it is at its limit, and ${leftOut} requests are not in it`;
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error
    ? String(error.code)
    : String(error);
}
