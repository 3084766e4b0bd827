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
import { type AbsPath, nameOf } from "../policy/path.ts";
import {
  close,
  flock,
  fstat,
  kill,
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

/**
 * Removes what dead runs left: recorded, empty, and locked by nobody.
 *
 * @param live names of records whose placeholders are known to be relied on: they are not looked at
 * @returns the paths; with `dryRun` those that would be removed. Without `waits`, none while another run is at work on its records
 */
export function reclaimPlaceholders(
  home: StateHome,
  { dryRun, waits }: { readonly dryRun: boolean; readonly waits: boolean } = {
    dryRun: false,
    waits: true,
  },
  live: ReadonlySet<string | null> = new Set(),
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
      if (live.has(record)) continue;
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
