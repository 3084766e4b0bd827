/**
 * The kernel's side of the search for repositories.
 *
 * Effects: lstat(2), openat2(2), getdents64(2), open(2) of small files, `/proc/self/mountinfo`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { AbsPath } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  lstat,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  readFile,
  visitDirectory,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { ENTRY_KINDS } from "./directory_reader.ts";
import type { PathKind } from "../policy/facts.ts";
import { factFromStat, readSmallFile } from "./probe.ts";
import type { RepositoryReader } from "./repositories.ts";

/** Small enough that a huge directory is given up in time. */
const BUFFER_BYTES = 16_384;

/** `.gitmodules` and the configuration of a submodule are short. */
const MAX_TEXT_BYTES = 262_144;

/**
 * File systems of this machine's own disks and memory, and of the kernel itself in /proc, /sys and /dev, which are closed anyhow.
 * Anything else may hang or start a program.
 */
const LOCAL = new Set([
  "bcachefs",
  "btrfs",
  "cgroup",
  "cgroup2",
  "devpts",
  "devtmpfs",
  "exfat",
  "ext2",
  "ext3",
  "ext4",
  "f2fs",
  "mqueue",
  "ntfs3",
  "overlay",
  "proc",
  "ramfs",
  "sysfs",
  "tmpfs",
  "vfat",
  "xfs",
  "zfs",
]);

/** The kernel's own reader. `euid` is the caller's, whose directories the command could open up again. */
export function kernelRepositoryReader(euid: number): RepositoryReader {
  const buffer = stableBytes(BUFFER_BYTES);
  return {
    kindOf(path): PathKind {
      const stat = lstat(path);
      if (stat.ok) return factFromStat(stat.value).kind;
      const { errno } = stat.error;
      return errno === abi.ENOENT || errno === abi.ENOTDIR
        ? "missing"
        : "unreadable";
    },
    isOurs(path): boolean {
      const stat = lstat(path);
      return stat.ok && stat.value.uid === euid;
    },
    read(directory, visit, enough): boolean {
      const fd = open(directory, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!fd.ok) return false;
      const done = visitDirectory(fd.value, buffer, (start, end, type) => {
        visit(buffer, start, end, ENTRY_KINDS[type] ?? null);
      }, enough);
      close(fd.value);
      return done.ok;
    },
    text(file): ByteString | null {
      const text = readSmallFile(file, MAX_TEXT_BYTES);
      return text.ok ? text.value : null;
    },
    now: () => performance.now(),
  };
}

/** Mount points of file systems that a walk must not enter: it would hang on a dead server, or start an automounter. */
export function foreignMountPoints(): ReadonlySet<AbsPath> {
  const table = readFile("/proc/self/mountinfo", 16 * 1024 * 1024);
  return foreignPlaces(table.ok ? table.value : "");
}

/** The mount points in a table of proc_pid_mountinfo(5) whose file systems are not of this machine. */
export function foreignPlaces(text: string): ReadonlySet<AbsPath> {
  const foreign = new Set<AbsPath>();
  for (let start = 0; start < text.length;) {
    const end = text.indexOf("\n", start);
    // The optional fields before it end with a dash; a place can't hold a blank.
    const type = text.indexOf(" - ", start) + 3;
    if (type === 2 || end === -1) break;
    if (!LOCAL.has(text.slice(type, text.indexOf(" ", type)))) {
      foreign.add(placeIn(text.slice(start, type)));
    }
    start = end + 1;
  }
  return foreign;
}

/** The fifth field, in which space, tab, newline and backslash are three octal digits (proc_pid_mountinfo(5)). */
function placeIn(line: string): AbsPath {
  const place = line.split(" ", 5)[4] ?? "";
  if (!place.includes("\\")) return place as AbsPath;
  return place.replace(
    /\\([0-7]{3})/g,
    (_, digits: string) => String.fromCharCode(parseInt(digits, 8)),
  ) as AbsPath;
}
