/**
 * The Landlock rule for a standard stream that the caller opened for reading: what may still be opened for writing.
 *
 * A descriptor brings its mount along: `/proc/self/fd/0` opens the file again with the rights of the host's mount, not of ours. A
 * Landlock domain goes by the file itself, so in one that allows writing only below what the plan makes writable the way is shut.
 *
 * Pure. Limits: the rights of Landlock's third version are needed, for before it nothing stops truncate(2); a file's mode and
 * extended attributes are not covered, no version handles those. Source: `linux/landlock.h`, landlock(7).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import {
  LANDLOCK_ACCESS_FS_REFER,
  LANDLOCK_ACCESS_FS_TRUNCATE,
  LANDLOCK_ACCESS_FS_WRITE_FILE,
} from "../sys/abi.ts";
import type { MountStep } from "./mounts.ts";

/** The first version of Landlock that handles truncation (Linux 6.2). */
export const LANDLOCK_VERSION = 3;

/** What the domain decides about. REFER is among them only because Landlock denies it wherever it is not handled. */
export const HANDLED_RIGHTS = LANDLOCK_ACCESS_FS_WRITE_FILE |
  LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_REFER;

/** Allowed on a file that the caller opened for writing himself, and below each of {@linkcode writablePlaces}. */
export const WRITE_RIGHTS = LANDLOCK_ACCESS_FS_WRITE_FILE |
  LANDLOCK_ACCESS_FS_TRUNCATE;

/** Allowed everywhere: mounts decide about renames and links, as without a domain. */
export const ROOT_RIGHTS = LANDLOCK_ACCESS_FS_REFER;

/** What the inner stage is told to allow. */
export interface WriteGuard {
  /** Paths in the sandbox's view, below which files may be written. */
  readonly places: readonly ByteString[];
  /** Descriptors that the caller may have opened for writing: opening the same again is his grant. */
  readonly fds: readonly number[];
}

/** Where a plan lets the command write: its writable binds, its private folders, and what is made fresh in every plan. */
export function writablePlaces(mounts: readonly MountStep[]): ByteString[] {
  return mounts.flatMap(({ op }): ByteString[] => {
    switch (op.kind) {
      case "bind_path":
      case "bind_seen":
        return op.access === "writable" ? [op.path] : [];
      case "tmpfs":
        return (op.mode & 0o222) !== 0 ? [op.path] : [];
      case "dev":
        return ["/dev" as ByteString];
      case "proc":
        return ["/proc" as ByteString];
      default:
        return [];
    }
  }).filter((path, index, all) =>
    all.indexOf(path) === index && !isEmptyRoot(path, mounts)
  );
}

/** The empty root is a tmpfs of mode 755 that becomes read-only at the end: a rule for it would be one for every file. */
function isEmptyRoot(path: ByteString, mounts: readonly MountStep[]): boolean {
  return path === "/" && mounts[0]?.op.kind === "tmpfs";
}
