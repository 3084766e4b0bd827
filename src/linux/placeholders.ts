/**
 * Empty files and directories on the host that a run needs as mount points, and their removal, however the run ends.
 *
 * A missing `.git` can only be kept from being created by a mount on it, and a mount needs something to stand on. Each placeholder is
 * recorded below `$CODEX_HOME/sandbox/placeholders` before it is made, and its inode is locked (flock(2), shared) by every run that
 * relies on it. It is removed only by whoever gets the exclusive lock, only while it is empty, and only if it is the recorded inode:
 * removing it earlier would take the mount away inside (since Linux 3.19). What a dead run left is reclaimed by the next one. A record
 * and what it speaks of change together, under a lock on the folder of records: else one run's new record is taken for the old one's.
 *
 * Effects: openat2(2), mkdirat(2), unlinkat(2), flock(2).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import {
  openStateFolder,
  type StateError,
  stateFolderOf,
  type StateHome,
} from "../host/state_folder.ts";
import { type AbsPath, nameOf, parentOf } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  flock,
  fstat,
  getpid,
  kill,
  lstatAt,
  mkdirAt,
  modifiedAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt,
  openAt2,
  readAll,
  readDirectory,
  renameAt,
  setModified,
  setUmask,
  type Stat,
  type SysError,
  unlinkAt,
  writeAll,
} from "../sys/calls.ts";
import type { Placeholder } from "./plan.ts";

/** A placeholder that this run relies on. Descriptors stay open until the run is over. */
export interface HeldPlaceholder {
  readonly path: AbsPath;
  readonly node: "directory" | "file";
  readonly parentFd: number;
  /** Open on the placeholder itself; carries the shared lock. */
  readonly lockFd: number;
  readonly device: number;
  readonly inode: number;
  /** Name of its record; `null` for one that was there before. */
  readonly record: string | null;
}

/** Why a placeholder can't be had. */
export type PlaceholderError =
  | StateError
  | {
    readonly kind: "placeholder";
    readonly path: AbsPath;
    readonly why: string;
  };

/**
 * A placeholder says by the time of its last change that it is one: runs with another state folder can't read the record. A file
 * system that can't keep it, or anything that is put into it, makes it a directory like any other, which stays.
 */
const MARK = [202_006_016, 123_456_700] as const;

/** How often a placeholder that others remove at the same moment is tried again. */
const ATTEMPTS = 16;

const RECORD_LIMIT_BYTES = 16_384;

/** A record without an inode speaks of what was made within this many seconds after it. */
const PENDING_WINDOW_SECONDS = 2;

/** What a record says. Paths are byte strings, one char per byte. */
interface RecordText {
  readonly path: string;
  readonly node: "directory" | "file";
  /** Absent in a record whose owner died before it could add them. */
  readonly device?: number;
  readonly inode?: number;
  /** It bore our mark: an inode that bears it no longer is another file under the same number. */
  readonly isMarked?: boolean;
}

/** Makes and locks every placeholder. On failure those already made are given back. */
export function makePlaceholders(
  wanted: readonly Placeholder[],
  home: StateHome,
): Result<
  { readonly held: readonly HeldPlaceholder[]; readonly recordsFd: number },
  PlaceholderError
> {
  const records = openStateFolder(home.codexHome, ["placeholders"], {
    create: true,
    euid: home.euid,
  });
  if (!records.ok) return records;
  const held: HeldPlaceholder[] = [];
  const failure = whileLocked(records.value, () => {
    for (const placeholder of wanted) {
      const made = makeOne(placeholder, records.value);
      if (!made.ok) return made;
      held.push(made.value);
    }
    return null;
  });
  if (failure === null) return ok({ held, recordsFd: records.value });
  releasePlaceholders(held, records.value);
  close(records.value);
  return failure;
}

/** Does `work` while no other run with this state folder makes or removes anything. Where locks can't be had, it goes on without. */
function whileLocked<T>(recordsFd: number, work: () => T): T {
  lockWaiting(recordsFd, abi.LOCK_EX);
  const done = work();
  flock(recordsFd, abi.LOCK_UN);
  return done;
}

/** flock(2) that no signal cuts short: what one asks for is done after the beginning. */
function lockWaiting(fd: number, operation: number): Result<number, SysError> {
  for (;;) {
    const locked = flock(fd, operation);
    if (locked.ok || locked.error.errno !== abi.EINTR) return locked;
  }
}

/** Opens the directory of a canonical path without following any link on the way. */
function openParent(path: AbsPath): Result<number, SysError> {
  return openAt2(
    abi.AT_FDCWD,
    parentOf(path),
    abi.O_RDONLY | O_DIRECTORY,
    abi.RESOLVE_NO_SYMLINKS,
  );
}

function makeOne(
  placeholder: Placeholder,
  recordsFd: number,
): Result<HeldPlaceholder, PlaceholderError> {
  const { path, node } = placeholder;
  const name = nameOf(path);
  const record = recordName(path);
  const parent = openParent(path);
  if (!parent.ok) return parent;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const recorded = readRecord(recordsFd, record);
    if (recorded === null) {
      const written = writeRecord(recordsFd, record, { path, node });
      if (!written.ok) {
        close(parent.value);
        return written;
      }
    }
    const made = create(parent.value, name, node);
    if (!made.ok && made.error.errno !== abi.EEXIST) {
      if (recorded === null) unlinkAt(recordsFd, record, 0);
      close(parent.value);
      return made;
    }
    const locked = lockShared(parent.value, name, node);
    if (locked === "gone") continue;
    if (typeof locked === "string") {
      if (made.ok) takeBack(parent.value, name, node);
      if (recorded === null) unlinkAt(recordsFd, record, 0);
      close(parent.value);
      return fail({ kind: "placeholder", path, why: locked });
    }
    const { fd, stat } = locked;
    // Ours: made now, or by another run of ours, alive or dead. Anything else was there before and stays.
    const ours = made.ok ||
      (recorded !== null && speaksOf(recorded, record, recordsFd, fd, stat));
    if (made.ok) setModified(fd, MARK);
    const held: HeldPlaceholder = {
      path,
      node,
      parentFd: parent.value,
      lockFd: fd,
      device: stat.device,
      inode: stat.inode,
      record: ours ? record : null,
    };
    if (ours) {
      const written = writeRecord(recordsFd, record, {
        path,
        node,
        device: stat.device,
        inode: stat.inode,
        isMarked: isMarked(fd),
      });
      if (!written.ok) {
        if (made.ok) removeIfFree(held);
        close(fd);
        if (recorded === null) unlinkAt(recordsFd, record, 0);
        close(parent.value);
        return written;
      }
    } else if (recorded === null) unlinkAt(recordsFd, record, 0);
    return ok(held);
  }
  close(parent.value);
  return fail({
    kind: "placeholder",
    path,
    why: "other runs keep removing it",
  });
}

/** Whether an entry that we may not open is another run's all the same: without its lock no mount may stand on it. */
export function isPlaceholderOfOthers(path: AbsPath): boolean {
  const fd = open(path, abi.O_PATH | O_NOFOLLOW);
  if (!fd.ok) return false;
  const marked = isMarked(fd.value);
  close(fd.value);
  return marked;
}

function isMarked(fd: number): boolean {
  const modified = modifiedAt(fd);
  return modified.ok && modified.value[0] === MARK[0] &&
    modified.value[1] === MARK[1];
}

/** Removes what was just made and can't be locked, unless somebody has filled it already. */
function takeBack(
  parentFd: number,
  name: string,
  node: "directory" | "file",
): void {
  if (node === "file") {
    const now = lstatAt(parentFd, name);
    if (!now.ok || now.value.sizeBytes !== 0) return;
  }
  unlinkAt(parentFd, name, node === "directory" ? abi.AT_REMOVEDIR : 0);
}

/** Whatever the caller's umask: runs of other users must be able to open it, for its lock. */
function create(
  parentFd: number,
  name: string,
  node: "directory" | "file",
): Result<number, SysError> {
  const mask = setUmask(0);
  const made = node === "directory"
    ? mkdirAt(parentFd, name, 0o755)
    : createFile(parentFd, name);
  setUmask(mask);
  return made;
}

function createFile(parentFd: number, name: string): Result<number, SysError> {
  const fd = openAt(
    parentFd,
    name,
    abi.O_WRONLY | abi.O_CREAT | abi.O_EXCL | O_NOFOLLOW,
    0o644,
  );
  if (fd.ok) close(fd.value);
  return fd;
}

/** The locked placeholder, `gone` when it was removed meanwhile, or why it can't serve. */
function lockShared(
  parentFd: number,
  name: string,
  node: "directory" | "file",
): { readonly fd: number; readonly stat: Stat } | "gone" | string {
  const kind = node === "directory" ? O_DIRECTORY : 0;
  const opened = openAt(
    parentFd,
    name,
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,
  );
  if (!opened.ok) {
    return opened.error.errno === abi.ENOENT
      ? "gone"
      : abi.errnoText(opened.error.errno);
  }
  const fd = opened.value;
  const locked = lockWaiting(fd, abi.LOCK_SH);
  const stat = fstat(fd);
  const now = lstatAt(parentFd, name);
  if (
    !locked.ok || !stat.ok || !now.ok || now.value.inode !== stat.value.inode
  ) {
    close(fd);
    return locked.ok ? "gone" : abi.errnoText(locked.error.errno);
  }
  if (!isEmpty(fd, stat.value)) {
    close(fd);
    return "something was put there while the sandbox was being set up; run again";
  }
  return { fd, stat: stat.value };
}

function isEmpty(fd: number, stat: Stat): boolean {
  if ((stat.mode & abi.S_IFMT) === abi.S_IFREG) return stat.sizeBytes === 0;
  if ((stat.mode & abi.S_IFMT) !== abi.S_IFDIR) return false;
  const names = readDirectory(fd);
  return names.ok && names.value.length === 0;
}

/**
 * Removes what this run relied on, unless others still do or somebody filled it. Call it only when the whole sandbox is gone.
 *
 * What can't be removed keeps its record, for a later run to look at.
 */
export function releasePlaceholders(
  held: readonly HeldPlaceholder[],
  recordsFd: number,
): void {
  whileLocked(recordsFd, () => {
    for (const placeholder of [...held].reverse()) {
      const { record, lockFd } = placeholder;
      // One of another state folder's runs goes with the last who relies on it; its maker may have marked it after we had its lock.
      // What nobody of us made is never removed.
      if (record !== null || isMarked(lockFd)) {
        const gone = removeIfFree(placeholder);
        if (gone && record !== null) unlinkAt(recordsFd, record, 0);
      }
      close(lockFd);
      close(placeholder.parentFd);
    }
  });
}

/** @returns whether the record is no longer needed */
function removeIfFree(placeholder: HeldPlaceholder): boolean {
  const { parentFd, lockFd, node } = placeholder;
  const name = nameOf(placeholder.path);
  if (!flock(lockFd, abi.LOCK_EX | abi.LOCK_NB).ok) return false;
  const now = lstatAt(parentFd, name);
  const same = now.ok && now.value.inode === placeholder.inode &&
    now.value.device === placeholder.device;
  if (!same) return true;
  // rmdir(2) refuses a directory that is not empty by itself.
  if (node === "file" && now.value.sizeBytes !== 0) return true;
  const removed = unlinkAt(
    parentFd,
    name,
    node === "directory" ? abi.AT_REMOVEDIR : 0,
  );
  return removed.ok || removed.error.errno === abi.ENOTEMPTY;
}

/**
 * The same for a run that needs no placeholder itself: where there is no record, this is one look into the folder (5 µs). It never
 * waits for another run.
 */
export function reclaimIfAny(
  home: StateHome,
): void {
  const place = `${stateFolderOf(home.codexHome)}/placeholders` as ByteString;
  const folder = open(place, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!folder.ok) return;
  const names = readDirectory(folder.value);
  close(folder.value);
  if (names.ok && names.value.length > 0) {
    reclaimPlaceholders(home, { dryRun: false, waits: false });
  }
}

/**
 * Removes what dead runs left: recorded, empty, and locked by nobody.
 *
 * @returns the paths; with `dryRun` those that would be removed. Without `waits`, none while another run is at work on its records
 */
export function reclaimPlaceholders(
  home: StateHome,
  { dryRun, waits }: { readonly dryRun: boolean; readonly waits: boolean } = {
    dryRun: false,
    waits: true,
  },
): AbsPath[] {
  const records = openStateFolder(home.codexHome, ["placeholders"], {
    create: false,
    euid: home.euid,
  });
  if (!records.ok) return [];
  const removed: AbsPath[] = [];
  if (!waits && !flock(records.value, abi.LOCK_EX | abi.LOCK_NB).ok) {
    close(records.value);
    return removed;
  }
  whileLocked(records.value, () => {
    const names = readDirectory(records.value);
    for (const record of names.ok ? names.value : []) {
      if (record.startsWith(".")) {
        if (!dryRun) dropDraft(records.value, record);
        continue;
      }
      const text = readRecord(records.value, record);
      if (text !== null && reclaimOne(text, record, records.value, dryRun)) {
        removed.push(text.path as AbsPath);
      }
    }
  });
  close(records.value);
  return removed;
}

/** A record that was never given its name: whoever wrote it was killed in between. One whose writer lives is left alone. */
function dropDraft(recordsFd: number, draft: string): void {
  const writer = kill(Number(draft.slice(draft.lastIndexOf(".") + 1)), 0);
  if (!writer.ok && writer.error.errno === abi.ESRCH) {
    unlinkAt(recordsFd, draft, 0);
  }
}

/** A leftover with everything open that is needed to judge it. */
interface Leftover {
  readonly text: RecordText;
  readonly record: string;
  readonly recordsFd: number;
  readonly parentFd: number;
  /** Open on the leftover. */
  readonly fd: number;
}

/** @returns whether it was (or would be) removed */
function reclaimOne(
  text: RecordText,
  record: string,
  recordsFd: number,
  dryRun: boolean,
): boolean {
  const path = text.path as AbsPath;
  const parentFd = openParent(path);
  if (!parentFd.ok) return false;
  const kind = text.node === "directory" ? O_DIRECTORY : 0;
  const fd = openAt(
    parentFd.value,
    nameOf(path),
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,
  );
  let reclaimed = false;
  if (fd.ok) {
    const leftover = {
      text,
      record,
      recordsFd,
      parentFd: parentFd.value,
      fd: fd.value,
    };
    // A live run holds the shared lock. One that made it a moment ago and has no lock yet finds it gone and makes it again.
    if (flock(fd.value, abi.LOCK_EX | abi.LOCK_NB).ok) {
      reclaimed = isLeftover(leftover);
      if (!dryRun) forget(leftover, reclaimed);
    }
    close(fd.value);
  } else if (
    fd.error.errno === abi.ENOENT && text.inode !== undefined && !dryRun
  ) {
    unlinkAt(recordsFd, record, 0);
  }
  close(parentFd.value);
  return reclaimed;
}

/** Removes it if asked, then its record, while the lock is still held. */
function forget(leftover: Leftover, remove: boolean): void {
  if (remove) {
    const flags = leftover.text.node === "directory" ? abi.AT_REMOVEDIR : 0;
    if (
      !unlinkAt(leftover.parentFd, nameOf(leftover.text.path as AbsPath), flags)
        .ok
    ) return;
  }
  unlinkAt(leftover.recordsFd, leftover.record, 0);
}

/** Whether it is empty and the inode that the record speaks of, and still has its name: another run may rely on what took it. */
function isLeftover(
  { text, record, recordsFd, parentFd, fd }: Leftover,
): boolean {
  const stat = fstat(fd);
  const named = lstatAt(parentFd, nameOf(text.path as AbsPath));
  return stat.ok && named.ok && named.value.inode === stat.value.inode &&
    isEmpty(fd, stat.value) &&
    speaksOf(text, record, recordsFd, fd, stat.value);
}

/** Whether a record speaks of this very inode. Only under the lock of the records: a live run's record may still lack its inode. */
function speaksOf(
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

/** Two rounds of FNV-1a over the path, 16 hex digits: a file name for a path of any length. */
function recordName(path: AbsPath): string {
  const round = (seed: number): string => {
    let hash = seed;
    for (let at = 0; at < path.length; at++) {
      hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193) >>> 0;
    }
    return hash.toString(16).padStart(8, "0");
  };
  return round(0x811c9dc5) + round(0x050c5d1f);
}

function readRecord(recordsFd: number, name: string): RecordText | null {
  const fd = openAt(
    recordsFd,
    name,
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,
  );
  if (!fd.ok) return null;
  const text = readAll(fd.value, RECORD_LIMIT_BYTES);
  close(fd.value);
  if (!text.ok) return null;
  try {
    const parsed = JSON.parse(text.value) as RecordText;
    return typeof parsed.path === "string" && parsed.path.startsWith("/")
      ? parsed
      : null;
  } catch {
    return null;
  }
}

function writeRecord(
  recordsFd: number,
  name: string,
  text: RecordText,
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
  close(fd.value);
  if (!written.ok) {
    unlinkAt(recordsFd, beside, 0);
    return written;
  }
  return renameAt(recordsFd, beside, name);
}
