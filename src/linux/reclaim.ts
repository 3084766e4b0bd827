/**
 * Removal of placeholders that dead runs left.
 *
 * Effects: openat2(2), unlinkat(2), flock(2). Removed is only what is recorded, empty, held by nobody, and the recorded inode.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import {
  openStateFolder,
  stateFolderOf,
  type StateHome,
} from "../host/state_folder.ts";
import {
  isEmpty,
  openParent,
  readRecord,
  type RecordText,
  speaksOf,
  whileLocked,
} from "./placeholder_records.ts";
import { type AbsPath, ancestry, nameOf } from "../policy/path.ts";
import {
  close,
  flock,
  fstat,
  kill,
  lstat,
  lstatAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt,
  readDirectory,
  unlinkAt,
} from "../sys/calls.ts";
import * as abi from "../sys/abi.ts";

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

/** What a dead run left. */
export interface Reclaimed {
  readonly path: AbsPath;
  /** Why it could not be removed, `null` where it was, or would be. */
  readonly refused: string | null;
}

/**
 * Removes what dead runs left: recorded, empty, and locked by nobody.
 *
 * @param live names of records whose placeholders are known to be relied on: they are not looked at
 * @returns what was found; with `dryRun` nothing is removed. Without `waits`, none while another run is at work on its records
 */
export function reclaimPlaceholders(
  home: StateHome,
  { dryRun, waits }: { readonly dryRun: boolean; readonly waits: boolean } = {
    dryRun: false,
    waits: true,
  },
  live: ReadonlySet<string | null> = new Set(),
): Reclaimed[] {
  const records = openStateFolder(home.codexHome, ["placeholders"], {
    create: false,
    euid: home.euid,
  });
  if (!records.ok) return [];
  const found: Reclaimed[] = [];
  if (!waits && !flock(records.value, abi.LOCK_EX | abi.LOCK_NB).ok) {
    close(records.value);
    return found;
  }
  whileLocked(records.value, (isLocked) => {
    const names = readDirectory(records.value);
    for (const record of names.ok ? names.value : []) {
      if (record.startsWith(".")) {
        if (!dryRun) dropDraft(records.value, record);
        continue;
      }
      if (live.has(record)) continue;
      const text = readRecord(records.value, record);
      if (text === null) continue;
      const at = { text, record, recordsFd: records.value };
      const one = reclaimOne(at, { dryRun, isLocked });
      if (one !== null) found.push(one);
    }
  });
  close(records.value);
  return found;
}

/** A record that was never given its name: whoever wrote it was killed in between. One whose writer lives is left alone. */
function dropDraft(recordsFd: number, draft: string): void {
  const writer = kill(Number(draft.slice(draft.lastIndexOf(".") + 1)), 0);
  if (!writer.ok && writer.error.errno === abi.ESRCH) {
    unlinkAt(recordsFd, draft, 0);
  }
}

/** A record, and what it says. */
interface Recorded {
  readonly text: RecordText;
  readonly record: string;
  readonly recordsFd: number;
}

/** A leftover with everything open that is needed to judge it. */
interface Leftover extends Recorded {
  readonly parentFd: number;
  /** Open on the leftover. */
  readonly fd: number;
}

/** @param isLocked nobody else is at work on the records @returns what was found, `null` where nothing was left or it stays */
function reclaimOne(
  recorded: Recorded,
  { dryRun, isLocked }: {
    readonly dryRun: boolean;
    readonly isLocked: boolean;
  },
): Reclaimed | null {
  const { text, record, recordsFd } = recorded;
  const path = text.path as AbsPath;
  const forgetMissing = (): void => {
    // Of a run that is making it, where locks can't be had.
    const mayComeYet = text.inode === undefined && !isLocked;
    if (!dryRun && !mayComeYet) unlinkAt(recordsFd, record, 0);
  };
  const parentFd = openParent(path);
  if (!parentFd.ok) {
    if (isFolderGone(text, parentFd.error.errno)) forgetMissing();
    return null;
  }
  const kind = text.node === "directory" ? O_DIRECTORY : 0;
  const fd = openAt(
    parentFd.value,
    nameOf(path),
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK | kind,
  );
  let found: Reclaimed | null = null;
  if (fd.ok) {
    const leftover = { ...recorded, parentFd: parentFd.value, fd: fd.value };
    // A live run holds the shared lock. One that made it a moment ago and has no lock yet finds it gone and makes it again.
    if (flock(fd.value, abi.LOCK_EX | abi.LOCK_NB).ok) {
      const isLeft = isLeftover(leftover);
      const refused = dryRun ? null : forget(leftover, isLeft);
      if (isLeft) found = { path, refused };
    }
    close(fd.value);
  } else if (fd.error.errno === abi.ENOENT) {
    forgetMissing();
  }
  close(parentFd.value);
  return found;
}

/**
 * Whether the folder of a placeholder was removed, and the placeholder with it: what is there of its path lies on the same device.
 * Where another one begins, its file system may only not be mounted.
 */
function isFolderGone({ path, device }: RecordText, errno: number): boolean {
  if (errno !== abi.ENOENT && errno !== abi.ENOTDIR) return false;
  for (const place of ancestry(path as AbsPath).reverse()) {
    const there = lstat(place);
    if (there.ok) return device === undefined || there.value.device === device;
  }
  return false;
}

/**
 * Removes it if asked, then its record, while the lock is still held.
 *
 * @returns why it can't be removed, `null` where it is gone or was to stay
 */
function forget(leftover: Leftover, remove: boolean): string | null {
  if (remove) {
    const flags = leftover.text.node === "directory" ? abi.AT_REMOVEDIR : 0;
    const name = nameOf(leftover.text.path as AbsPath);
    const removed = unlinkAt(leftover.parentFd, name, flags);
    if (!removed.ok) return abi.errnoText(removed.error.errno);
  }
  unlinkAt(leftover.recordsFd, leftover.record, 0);
  return null;
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
