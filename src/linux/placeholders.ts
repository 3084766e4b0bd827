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
import {
  openStateFolder,
  type StateError,
  type StateHome,
} from "../host/state_folder.ts";
import {
  beginRecord,
  completeRecord,
  isEmpty,
  isMarked,
  lockWaiting,
  MARK,
  openParent,
  openRecord,
  readRecord,
  recordName,
  speaksOf,
  whileLocked,
} from "./placeholder_records.ts";
import { type ByteString, toText } from "../bytes.ts";
import type { Placeholder } from "./plan.ts";
import { type AbsPath, nameOf } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import {
  close,
  flock,
  fstat,
  lstatAt,
  mkdirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt,
  setModified,
  setUmask,
  type Stat,
  type SysError,
  unlinkAt,
} from "../sys/calls.ts";
import * as abi from "../sys/abi.ts";

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
  /** A record can't be written. */
  | { readonly kind: "records"; readonly error: SysError }
  | {
    readonly kind: "placeholder";
    readonly path: AbsPath;
    readonly why: string;
    /** What refused to make it. */
    readonly error?: SysError;
  };

/** How often a placeholder that others remove at the same moment is tried again. */
const ATTEMPTS = 16;

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
    // Whatever the caller's: runs of other users must be able to open a placeholder, for its lock.
    const mask = setUmask(0);
    const failed = makeAll(wanted, records.value, held);
    setUmask(mask);
    return failed;
  });
  if (failure === null) return ok({ held, recordsFd: records.value });
  releasePlaceholders(held, records.value);
  close(records.value);
  return failure;
}

/** Puts each into `held` as it is made. @returns the first failure */
function makeAll(
  wanted: readonly Placeholder[],
  recordsFd: number,
  held: HeldPlaceholder[],
): { readonly ok: false; readonly error: PlaceholderError } | null {
  for (const placeholder of wanted) {
    const made = makeOne(placeholder, recordsFd);
    if (!made.ok) return made;
    held.push(made.value);
  }
  return null;
}

function makeOne(
  placeholder: Placeholder,
  recordsFd: number,
): Result<HeldPlaceholder, PlaceholderError> {
  const { path, node } = placeholder;
  const name = nameOf(path);
  const record = recordName(path);
  const parent = openParent(path);
  if (!parent.ok) return unmade(path, parent.error);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const recorded = readRecord(recordsFd, record);
    const begun = recorded === null
      ? beginRecord(recordsFd, record, { path, node })
      : null;
    if (begun?.ok === false) {
      close(parent.value);
      return unrecorded(begun.error);
    }
    /** Takes back what this attempt has begun. */
    const forget = (): void => {
      if (begun === null) return;
      unlinkAt(recordsFd, record, 0);
      close(begun.value);
    };
    const made = create(parent.value, name, node);
    if (!made.ok && made.error.errno !== abi.EEXIST) {
      forget();
      close(parent.value);
      return unmade(path, made.error);
    }
    const locked = lockShared(parent.value, name, node);
    if (locked === "gone") {
      if (begun !== null) close(begun.value);
      continue;
    }
    if (typeof locked === "string") {
      if (made.ok) takeBack(parent.value, name, node);
      forget();
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
    if (!ours) {
      forget();
      return ok(held);
    }
    // One that another run has completed speaks of this very inode.
    if (made.ok || recorded?.inode === undefined) {
      const written = identify(begun ?? openRecord(recordsFd, record), held);
      if (!written.ok) {
        if (made.ok) removeIfFree(held);
        close(fd);
        if (begun !== null) unlinkAt(recordsFd, record, 0);
        close(parent.value);
        return unrecorded(written.error);
      }
    }
    return ok(held);
  }
  close(parent.value);
  return fail({
    kind: "placeholder",
    path,
    why: "other runs keep removing it",
  });
}

/** Adds to an open record which inode it speaks of, and closes it. */
function identify(
  record: Result<number, SysError>,
  { device, inode, lockFd }: HeldPlaceholder,
): Result<void, SysError> {
  if (!record.ok) return record;
  const identity = { device, inode, isMarked: isMarked(lockFd) };
  const written = completeRecord(record.value, identity);
  close(record.value);
  return written;
}

function unrecorded(
  error: SysError,
): { readonly ok: false; readonly error: PlaceholderError } {
  return fail({ kind: "records", error });
}

function unmade(
  path: AbsPath,
  error: SysError,
): { readonly ok: false; readonly error: PlaceholderError } {
  const why = `${toText(error.call as ByteString)} says ${
    abi.errnoText(error.errno)
  }`;
  return fail({ kind: "placeholder", path, why, error });
}

/** Whether an entry that we may not open is another run's all the same: without its lock no mount may stand on it. */
export function isPlaceholderOfOthers(path: AbsPath): boolean {
  const fd = open(path, abi.O_PATH | O_NOFOLLOW);
  if (!fd.ok) return false;
  const marked = isMarked(fd.value);
  close(fd.value);
  return marked;
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

function create(
  parentFd: number,
  name: string,
  node: "directory" | "file",
): Result<number, SysError> {
  return node === "directory"
    ? mkdirAt(parentFd, name, 0o755)
    : createFile(parentFd, name);
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
export function lockShared(
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
