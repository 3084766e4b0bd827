/**
 * What is written down about a placeholder, and the marks by which one is known again.
 *
 * Effects: reads and writes below `$CODEX_HOME/sandbox/placeholders`, openat2(2), flock(2).
 *
 * @module
 */
import { type AbsPath, parentOf } from "../policy/path.ts";
import type { Result } from "../result.ts";
import {
  close,
  flock,
  getpid,
  lstatAt,
  modifiedAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  openAt,
  openAt2,
  readAll,
  readDirectory,
  renameAt,
  type Stat,
  type SysError,
  unlinkAt,
  writeAll,
} from "../sys/calls.ts";
import * as abi from "../sys/abi.ts";

/** What a record says. Paths are byte strings, one char per byte. */
export interface RecordText {
  readonly path: string;
  readonly node: "directory" | "file";
  /** Absent in a record whose owner died before it could add them. */
  readonly device?: number;
  readonly inode?: number;
  /** It bore our mark: an inode that bears it no longer is another file under the same number. */
  readonly isMarked?: boolean;
}

/** Two rounds of FNV-1a over the path, 16 hex digits: a file name for a path of any length. */
export function recordName(path: AbsPath): string {
  const round = (seed: number): string => {
    let hash = seed;
    for (let at = 0; at < path.length; at++) {
      hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193) >>> 0;
    }
    return hash.toString(16).padStart(8, "0");
  };
  return round(0x811c9dc5) + round(0x050c5d1f);
}

export function readRecord(recordsFd: number, name: string): RecordText | null {
  const fd = openAt(
    recordsFd,
    name,
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,
  );
  if (!fd.ok) return null;
  const text = readAll(fd.value, RECORD_LIMIT_BYTES);
  close(fd.value);
  return text.ok ? parseRecord(text.value) : null;
}

/** The beginning in its first line, what was added later in the others. A line that isn't whole counts for nothing. */
export function parseRecord(text: string): RecordText | null {
  const [first = "", ...added] = text.split("\n").map(parseLine);
  const { path, node } = (first ?? {}) as Partial<RecordText>;
  if (typeof path !== "string" || !path.startsWith("/")) return null;
  return Object.assign({}, ...added, { path, node });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/**
 * Begins a record, before the placeholder is made: whole or not at all.
 *
 * @returns the record, open, for {@linkcode completeRecord}
 */
export function beginRecord(
  recordsFd: number,
  name: string,
  text: Pick<RecordText, "path" | "node">,
): Result<number, SysError> {
  const beside = `.${name}.${getpid()}`;
  const fd = openAt(
    recordsFd,
    beside,
    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | O_NOFOLLOW,
    0o600,
  );
  if (!fd.ok) return fd;
  const written = writeAll(
    fd.value,
    Buffer.from(JSON.stringify(text), "latin1"),
  );
  const named = written.ok ? renameAt(recordsFd, beside, name) : written;
  if (named.ok) return fd;
  close(fd.value);
  unlinkAt(recordsFd, beside, 0);
  return named;
}

/** A record that is there, to add to it. */
export function openRecord(
  recordsFd: number,
  name: string,
): Result<number, SysError> {
  return openAt(
    recordsFd,
    name,
    abi.O_WRONLY | abi.O_APPEND | O_NOFOLLOW | abi.O_NONBLOCK,
  );
}

/**
 * Adds to a record what is known once the placeholder is there.
 *
 * Added, not put in the record's place: a file that takes another's name is written to disk at once (ext4's auto_da_alloc), and its
 * removal at the end of the run then waits for that.
 */
export function completeRecord(
  recordFd: number,
  identity: Required<Omit<RecordText, "path" | "node">>,
): Result<void, SysError> {
  // Before it, not behind it: a line that a killed run has not ended must not take this one along.
  const line = `\n${JSON.stringify(identity)}`;
  return writeAll(recordFd, Buffer.from(line, "latin1"));
}

/** Whether a record speaks of this very inode. Only under the lock of the records: a live run's record may still lack its inode. */
export function speaksOf(
  text: RecordText,
  record: string,
  recordsFd: number,
  fd: number,
  stat: Stat,
): boolean {
  if (text.inode !== undefined) {
    return stat.inode === text.inode && stat.device === text.device &&
      (text.isMarked !== true || isMarked(fd));
  }
  // The owner died between making it and recording its inode: then it was made right after the record.
  const written = lstatAt(recordsFd, record);
  if (!written.ok) return false;
  const seconds = stat.ctimeSeconds - written.value.ctimeSeconds +
    (stat.ctimeNanoseconds - written.value.ctimeNanoseconds) / 1e9;
  return seconds >= -0.1 && seconds <= PENDING_WINDOW_SECONDS;
}

/**
 * Does `work` while no other run with this state folder makes or removes anything. Where locks can't be had, it goes on without, and is
 * told so.
 */
export function whileLocked<T>(
  recordsFd: number,
  work: (isLocked: boolean) => T,
): T {
  const locked = lockWaiting(recordsFd, abi.LOCK_EX);
  const done = work(locked.ok);
  flock(recordsFd, abi.LOCK_UN);
  return done;
}

/** flock(2) that no signal cuts short: what one asks for is done after the beginning. */
export function lockWaiting(
  fd: number,
  operation: number,
): Result<number, SysError> {
  for (;;) {
    const locked = flock(fd, operation);
    if (locked.ok || locked.error.errno !== abi.EINTR) return locked;
  }
}

/** Opens the directory of a canonical path without following any link on the way. */
export function openParent(path: AbsPath): Result<number, SysError> {
  return openAt2(
    abi.AT_FDCWD,
    parentOf(path),
    abi.O_RDONLY | O_DIRECTORY,
    abi.RESOLVE_NO_SYMLINKS,
  );
}

/**
 * A placeholder says by the time of its last change that it is one: runs with another state folder can't read the record. A file
 * system that can't keep it, or anything that is put into it, makes it a directory like any other, which stays.
 */
export const MARK = [202_006_016, 123_456_700] as const;

export function isMarked(fd: number): boolean {
  const modified = modifiedAt(fd);
  return modified.ok && modified.value[0] === MARK[0] &&
    modified.value[1] === MARK[1];
}

export function isEmpty(fd: number, stat: Stat): boolean {
  if ((stat.mode & abi.S_IFMT) === abi.S_IFREG) return stat.sizeBytes === 0;
  if ((stat.mode & abi.S_IFMT) !== abi.S_IFDIR) return false;
  const names = readDirectory(fd);
  return names.ok && names.value.length === 0;
}

/** A record without an inode speaks of what was made within this many seconds after it. */
const PENDING_WINDOW_SECONDS = 2;

const RECORD_LIMIT_BYTES = 16_384;
