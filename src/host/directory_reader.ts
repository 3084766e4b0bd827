/**
 * Reads directories as fast as the kernel tells them: getdents64(2) by descriptor, the kind of each entry included.
 *
 * Effects: openat(2), getdents64(2), fstatat(2), readlink(2).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  lstatAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  openAt,
  visitDirectory,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import {
  factOf,
  follow,
  NO_OWN_PATHS,
  type PathKind,
} from "../policy/facts.ts";
import type { DirectoryReader } from "./glob.ts";
import { factFromStat, type FactMap, probePath } from "./probe.ts";

/** `dirent.h`: d_type. What isn't here has to be asked. */
export const ENTRY_KINDS: { readonly [type: number]: PathKind } = {
  1: "fifo",
  2: "char_device",
  4: "directory",
  6: "block_device",
  8: "file",
  10: "symlink",
  12: "socket",
};

const BUFFER_BYTES = 65_536;

/** The kernel's own reader. `euid` is the caller's, whose directories the command could open again. */
export function kernelDirectoryReader(euid: number): DirectoryReader {
  const buffer = stableBytes(BUFFER_BYTES);
  return {
    open(parent, name): Result<number, number> {
      const flags = abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
      const fd = openAt(parent ?? abi.AT_FDCWD, name, flags);
      return fd.ok ? ok(fd.value) : fail(fd.error.errno);
    },
    read(directory, visit, enough, lastBytes): number {
      const done = visitDirectory(
        directory,
        buffer,
        (start, end, type) => {
          visit(buffer, start, end, ENTRY_KINDS[type] ?? null);
        },
        enough,
        lastBytes,
      );
      return done.ok ? 0 : done.error.errno;
    },
    close,
    kindOf(directory, name): PathKind {
      const stat = lstatAt(directory, name);
      return stat.ok ? factFromStat(stat.value).kind : "missing";
    },
    linkCountOf(directory, name): number {
      const stat = lstatAt(directory, name);
      return stat.ok ? stat.value.linkCount : 1;
    },
    isOwn(parent, name): boolean {
      const stat = lstatAt(parent ?? abi.AT_FDCWD, name as ByteString);
      // Root without capabilities in the sandbox owns what uid 0 owns, like anyone else.
      return !stat.ok || stat.value.uid === euid;
    },
    resolve(link): ReturnType<DirectoryReader["resolve"]> {
      const paths: FactMap = new Map();
      probePath(paths, link);
      const none = { gitPointers: new Map(), globMatches: [] };
      const facts = { paths, ...none, own: NO_OWN_PATHS };
      const led = follow(facts, link);
      if (led === null || !led.exists) return null;
      const { kind, linkCount } = factOf(facts, led.resolved);
      return kind === "file" && linkCount > 1
        ? { path: led.resolved, kind, linkCount }
        : { path: led.resolved, kind };
    },
    now: () => performance.now(),
  };
}
