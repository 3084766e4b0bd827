/**
 * Calls on directories: where we are, what is in one, names made and taken away.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { ok, type Result } from "../result.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { readLatin1 } from "./latin1.ts";
import { spoil } from "./observed.ts";
import {
  cString,
  failed,
  outcome,
  pathArgument,
  SYS,
  type SysError,
} from "./outcome.ts";

/** getcwd(2): the canonical working directory, or ENOENT when it was removed. */
export function getcwd(): Result<ByteString, SysError> {
  const buffer = stableBytes(4096);
  const result = syscall(SYS.getcwd, buffer, buffer.length);
  if (result < 0) return failed("getcwd", result);
  // The count includes the NUL. A directory outside the root is spelled "(unreachable)…".
  return ok(readLatin1(buffer, 0, result - 1) as ByteString);
}

/** chdir(2). */
export function chdir(path: ByteString): Result<number, SysError> {
  return outcome(`chdir ${path}`, syscall(SYS.chdir, pathArgument(path)));
}

/** mkdirat(2). */
export function mkdirAt(
  dirfd: number,
  name: string,
  mode: number,
): Result<number, SysError> {
  spoil();
  return outcome(
    `mkdir ${name}`,
    syscall(SYS.mkdirat, dirfd, pathArgument(name), mode),
  );
}

/** umask(2), which can't fail. @returns the one before */
export function setUmask(mask: number): number {
  return syscall(SYS.umask, mask);
}

/** unlinkat(2). @param flags 0, or AT_REMOVEDIR for an empty directory */
export function unlinkAt(
  dirfd: number,
  name: string,
  flags: number,
): Result<number, SysError> {
  spoil();
  return outcome(
    `unlink ${name}`,
    syscall(SYS.unlinkat, dirfd, pathArgument(name), flags),
  );
}

/** renameat2(2) within one directory, replacing what has the new name. */
export function renameAt(
  dirfd: number,
  from: string,
  to: string,
): Result<number, SysError> {
  spoil();
  return outcome(
    `rename ${from}`,
    syscall(SYS.renameat2, dirfd, cString(from), dirfd, cString(to), 0),
  );
}

/** Names in an open directory (getdents64(2)), without `.` and `..`, in the directory's order. */
export function readDirectory(fd: number): Result<ByteString[], SysError> {
  const names: ByteString[] = [];
  const buffer = stableBytes(32_768);
  const text = Buffer.from(buffer.buffer);
  const view = new DataView(buffer.buffer);
  for (;;) {
    const count = syscall(SYS.getdents64, fd, buffer, buffer.length);
    if (count < 0) {
      return failed("getdents64", count);
    }
    if (count === 0) return ok(names);
    // struct linux_dirent64: u64 ino, s64 off, u16 reclen at 16, u8 type at 18, name at 19.
    for (let at = 0; at < count; at += view.getUint16(at + 16, true)) {
      const end = text.indexOf(0, at + 19);
      const name = text.toString("latin1", at + 19, end) as ByteString;
      if (name !== "." && name !== "..") names.push(name);
    }
  }
}

/**
 * The same without making a string of each name: `visit` gets the bytes `start` to `end` of `buffer` and d_type (`dirent.h`).
 *
 * @param buffer stable bytes, overwritten by the next call; 32 KiB or more read a directory in few calls
 * @param enough asked with the number of entries so far before each call and at the end; `true` ends the reading
 * @param lastBytes one flag for each value of a byte: a name whose last byte has none is counted and not visited, unless it may be a
 * directory's. Most names of a large tree are of no interest, and a call for each is what its walk costs
 */
export function visitDirectory(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
  visit: (start: number, end: number, type: number) => void,
  enough: (entries: number) => boolean = () => false,
  lastBytes: Uint8Array | null = null,
): Result<number, SysError> {
  let entries = 0;
  for (;;) {
    if (enough(entries)) return ok(0);
    const count = syscall(SYS.getdents64, fd, buffer, buffer.length);
    if (count <= 0) return outcome("getdents64", count);
    for (let at = 0; at < count;) {
      const next = at + buffer[at + 16]! + 256 * buffer[at + 17]!;
      const type = buffer[at + 18]!;
      const start = at + 19;
      entries++;
      // Entries are padded to 8 bytes, after the NUL with anything: the name's end is in the last eight.
      let end = Math.max(start, next - 8);
      while (buffer[end] !== 0) end++;
      if (
        lastBytes !== null && lastBytes[buffer[end - 1]!] === 0 &&
        type !== DT_DIR && type !== DT_UNKNOWN
      ) {
        at = next;
        continue;
      }
      const dots = buffer[start] === 0x2e &&
        (end - start === 1 ||
          (end - start === 2 && buffer[start + 1] === 0x2e));
      if (!dots) visit(start, end, type);
      at = next;
    }
  }
}

/** `dirent.h`. */
const DT_UNKNOWN = 0;
const DT_DIR = 4;
