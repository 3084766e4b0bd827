/**
 * One function per system call, named after it, in TypeScript types. Nobody above sees a pointer.
 *
 * Failures are values that carry the call and its errno. Interrupted calls are tried again where that is safe.
 * Source: section 2 of the manual pages.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import {
  addressOf,
  executablePage,
  spawnFamily,
  stableBytes,
  syscall,
  type Word,
} from "./ffi.ts";
import { isObserving, observe, spoil, unobserved } from "./observed.ts";

/** A system call that failed: its name with what it was asked, and errno as a positive number. */
export interface SysError {
  readonly kind: "sys";
  readonly call: string;
  readonly errno: number;
}

/** The running architecture. @throws {Error} on one that we have no numbers for; the build offers none such */
export function hostArch(): abi.Arch {
  const arch = process.arch;
  if (arch === "x64" || arch === "arm64") return arch;
  throw new Error(`Cannot run on ${arch}: x86-64 and arm64 are supported`);
}

const ARCH: abi.Arch = process.arch === "arm64" ? "arm64" : "x64";
const SYS = abi.SYSCALLS[ARCH];
const STAT = abi.STAT_LAYOUTS[ARCH];
const OPEN_FLAGS = abi.openFlags(ARCH);

export const O_DIRECTORY = OPEN_FLAGS.O_DIRECTORY;
export const O_NOFOLLOW = OPEN_FLAGS.O_NOFOLLOW;

/** NUL-terminated bytes of a byte string, for the kernel. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const bytes = stableBytes(text.length + 1);
  Buffer.from(bytes.buffer).write(text, 0, "latin1");
  return bytes;
}

/** Where one path at a time is spelled for the kernel: paths are at most PATH_MAX (4,096 bytes) long, the NUL included. */
const PATH_BYTES = 4096;
let pathScratch: {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: Buffer;
} | undefined;

/**
 * A path for one call, valid until the next: a buffer of its own for each would cost more than the call.
 *
 * A path that is too long gets a buffer of its own, and the kernel's ENAMETOOLONG.
 */
function pathArgument(path: string): Uint8Array<ArrayBuffer> {
  if (path.length >= PATH_BYTES) return cString(path);
  if (pathScratch === undefined) {
    const bytes = stableBytes(PATH_BYTES);
    pathScratch = { bytes, text: Buffer.from(bytes.buffer) };
  }
  pathScratch.text.write(path, 0, "latin1");
  pathScratch.bytes[path.length] = 0;
  return pathScratch.bytes;
}

function outcome(call: string, result: number): Result<number, SysError> {
  return result < 0 ? fail({ kind: "sys", call, errno: -result }) : ok(result);
}

/** openat(2) from the working directory. @returns the descriptor; O_CLOEXEC is always added */
export function open(
  path: ByteString,
  flags: number,
  mode = 0,
): Result<number, SysError> {
  return openAt(abi.AT_FDCWD, path, flags, mode);
}

/** openat(2). @returns the descriptor; O_CLOEXEC is always added */
export function openAt(
  dirfd: number,
  path: string,
  flags: number,
  mode = 0,
): Result<number, SysError> {
  for (;;) {
    const result = syscall(
      SYS.openat,
      dirfd,
      pathArgument(path),
      flags | abi.O_CLOEXEC,
      mode,
    );
    if (result === -abi.EINTR) continue;
    if (isObserving()) observeOpen(dirfd, path, result);
    return outcome(`open ${path}`, result);
  }
}

/** By its whole path only: what a descriptor stood for is not asked again. */
function observeOpen(dirfd: number, path: string, result: number): void {
  if (dirfd !== abi.AT_FDCWD || path.startsWith("/proc/")) spoil();
  else {observe(
      "open",
      path,
      result < 0
        ? String(result)
        : contentText(unobserved(() => fstat(result))),
    );}
}

/** openat2(2). @param resolve RESOLVE_* bits of `linux/openat2.h` @param mode only with O_CREAT */
export function openAt2(
  dirfd: number,
  path: string,
  flags: number,
  resolve: number,
  mode = 0,
): Result<number, SysError> {
  spoil();
  const how = stableBytes(abi.OPEN_HOW_BYTES);
  const view = new DataView(how.buffer);
  view.setUint32(0, flags | abi.O_CLOEXEC, true);
  view.setUint32(8, mode, true);
  view.setUint32(16, resolve, true);
  return outcome(
    `openat2 ${path}`,
    syscall(SYS.openat2, dirfd, pathArgument(path), how, abi.OPEN_HOW_BYTES),
  );
}

/** close(2). Errors are of no use to anyone: the descriptor is gone either way. */
export function close(fd: number): void {
  syscall(SYS.close, fd);
}

/** read(2) once, into the whole of `buffer`. @returns bytes read, 0 at end of file */
export function read(fd: number, buffer: Uint8Array): Result<number, SysError> {
  for (;;) {
    const result = syscall(SYS.read, fd, buffer, buffer.length);
    if (result !== -abi.EINTR) return outcome("read", result);
  }
}

/** pread64(2) until `buffer` is full or the file ends. @param offset bytes from its start @returns bytes read */
export function readAt(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
): Result<number, SysError> {
  let done = 0;
  while (done < buffer.length) {
    const rest = buffer.subarray(done);
    const result = syscall(SYS.pread64, fd, rest, rest.length, offset + done);
    if (result === -abi.EINTR) continue;
    if (result < 0) {
      return fail({ kind: "sys", call: "pread64", errno: -result });
    }
    if (result === 0) break;
    done += result;
  }
  return ok(done);
}

/** The offset of an open file in bytes. From proc_pid_fdinfo(5), because results of calls are truncated to 32 bits. */
export function tell(fd: number): Result<number, SysError> {
  const info = readFile(`/proc/self/fdinfo/${fd}`, 4_096);
  if (!info.ok) return info;
  const offset = /^pos:\s*(\d+)$/m.exec(info.value)?.[1];
  return offset === undefined
    ? fail({ kind: "sys", call: `fdinfo ${fd}`, errno: abi.EINVAL })
    : ok(Number(offset));
}

/** Sets the offset of an open file (lseek(2)). @param offset bytes from its start */
export function seek(fd: number, offset: number): Result<void, SysError> {
  // The result is the offset again, truncated to 32 bits: what looks like an error may be none, so it is asked for.
  const result = syscall(SYS.lseek, fd, offset, abi.SEEK_SET);
  const there = tell(fd);
  if (there.ok && there.value === offset) return ok(undefined);
  return fail({ kind: "sys", call: `lseek ${fd}`, errno: Math.abs(result) });
}

/** Everything up to end of file, as a byte string. @param limitBytes more is an error (EFBIG) */
export function readAll(
  fd: number,
  limitBytes: number,
): Result<ByteString, SysError> {
  let text = "";
  // Most files are small; a large buffer wakes the collector of garbage.
  let chunk = stableBytes(Math.min(limitBytes + 1, 8_192));
  let view = Buffer.from(chunk.buffer);
  for (;;) {
    const count = read(fd, chunk);
    if (!count.ok) return count;
    if (count.value === 0) return ok(text as ByteString);
    text += view.toString("latin1", 0, count.value);
    if (count.value === chunk.length && chunk.length < 1_048_576) {
      chunk = stableBytes(chunk.length * 8);
      view = Buffer.from(chunk.buffer);
    }
    if (text.length > limitBytes) {
      return fail({ kind: "sys", call: "read", errno: 27 });
    }
  }
}

/** The whole of a kernel-made file such as `/proc/self/environ`. */
export function readFile(
  path: string,
  limitBytes: number,
): Result<ByteString, SysError> {
  if (isObserving() && path.startsWith("/proc/")) {
    const text = unobserved(() => readFile(path, limitBytes));
    observe("text", path, text.ok ? text.value : `-${text.error.errno}`);
    return text;
  }
  const fd = open(path as ByteString, abi.O_RDONLY);
  if (!fd.ok) return fd;
  const text = readAll(fd.value, limitBytes);
  close(fd.value);
  return text;
}

/** write(2) until all of `bytes` is out. */
export function writeAll(
  fd: number,
  bytes: Uint8Array,
): Result<void, SysError> {
  let offset = 0;
  while (offset < bytes.length) {
    const result = syscall(
      SYS.write,
      fd,
      bytes.subarray(offset),
      bytes.length - offset,
    );
    if (result === -abi.EINTR) continue;
    if (result < 0) return fail({ kind: "sys", call: "write", errno: -result });
    offset += result;
  }
  return ok(undefined);
}

/** What fstat(2) or lstat(2) says. `mode` holds the type bits too; device and inode are exact below 2^53. */
export interface Stat {
  readonly device: number;
  readonly inode: number;
  readonly mode: number;
  readonly linkCount: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly ctimeSeconds: number;
  readonly ctimeNanoseconds: number;
}

let statScratch: {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
} | undefined;

function statAt(
  call: string,
  dirfd: number,
  path: Word,
  flags: number,
): Result<Stat, SysError> {
  if (statScratch === undefined) {
    const bytes = stableBytes(STAT.bytes);
    statScratch = { bytes, view: new DataView(bytes.buffer) };
  }
  const { bytes, view } = statScratch;
  const result = syscall(SYS.newfstatat, dirfd, path, bytes, flags);
  if (result < 0) return fail({ kind: "sys", call, errno: -result });
  return ok({
    device: wide(view, STAT.dev),
    inode: wide(view, STAT.ino),
    mode: view.getUint32(STAT.mode, true),
    linkCount: STAT.nlinkBytes === 8
      ? wide(view, STAT.nlink)
      : view.getUint32(STAT.nlink, true),
    uid: view.getUint32(STAT.uid, true),
    gid: view.getUint32(STAT.gid, true),
    sizeBytes: wide(view, STAT.size),
    ctimeSeconds: wide(view, STAT.ctimeSeconds),
    ctimeNanoseconds: wide(view, STAT.ctimeNanoseconds),
  });
}

function wide(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

const EMPTY_PATH: { bytes: Uint8Array<ArrayBuffer> | null } = { bytes: null };

/** fstat(2), also of an O_PATH descriptor. */
export function fstat(fd: number): Result<Stat, SysError> {
  return statAt(
    `fstat ${fd}`,
    fd,
    EMPTY_PATH.bytes ??= cString(""),
    abi.AT_EMPTY_PATH,
  );
}

/** lstat(2): a final link is not followed. */
export function lstat(path: ByteString): Result<Stat, SysError> {
  const there = statAt(
    `lstat ${path}`,
    abi.AT_FDCWD,
    pathArgument(path),
    abi.AT_SYMLINK_NOFOLLOW,
  );
  if (isObserving()) observe("lstat", path, placeText(path, there));
  return there;
}

/** stat(2): links are followed. */
export function stat(path: ByteString): Result<Stat, SysError> {
  const there = statAt(`stat ${path}`, abi.AT_FDCWD, pathArgument(path), 0);
  if (isObserving()) observe("stat", path, placeText(path, there));
  return there;
}

/**
 * A place as one line to compare: what it is, whose, and the age of its content. A directory's content is asked for by itself, only
 * whether others are in it counts; what the kernel makes below `/proc` is as young as the question.
 */
export function placeText(path: string, there: Result<Stat, SysError>): string {
  if (!there.ok) return `-${there.error.errno}`;
  const { mode, device, inode, uid, gid, linkCount } = there.value;
  const isAgeless = (mode & abi.S_IFMT) === abi.S_IFDIR ||
    path.startsWith("/proc/");
  if (!isAgeless) return contentText(there);
  return `${device} ${inode} ${mode} ${uid} ${gid} ${linkCount > 2}`;
}

/** A file or directory with its content, as one line to compare. */
export function contentText(there: Result<Stat, SysError>): string {
  if (!there.ok) return `-${there.error.errno}`;
  const { device, inode, mode, uid, gid, linkCount } = there.value;
  const { sizeBytes, ctimeSeconds, ctimeNanoseconds } = there.value;
  return `${device} ${inode} ${mode} ${uid} ${gid} ${linkCount} ${sizeBytes} ${ctimeSeconds}.${ctimeNanoseconds}`;
}

/** When the file behind `fd` was last modified, as `[seconds, nanoseconds]`. */
export function modifiedAt(
  fd: number,
): Result<readonly [number, number], SysError> {
  const stat = fstat(fd);
  if (!stat.ok || statScratch === undefined) {
    return stat.ok
      ? fail({ kind: "sys", call: "fstat", errno: abi.EINVAL })
      : stat;
  }
  const { view } = statScratch;
  return ok([
    wide(view, abi.STAT_MTIME.seconds),
    wide(view, abi.STAT_MTIME.nanoseconds),
  ]);
}

/** utimensat(2) on an open file: sets when it was last modified, and nothing else. */
export function setModified(
  fd: number,
  [seconds, nanoseconds]: readonly [number, number],
): Result<number, SysError> {
  const times = stableBytes(32);
  const view = new DataView(times.buffer);
  view.setUint32(8, abi.UTIME_OMIT, true);
  view.setUint32(16, seconds, true);
  view.setUint32(24, nanoseconds, true);
  return outcome("utimensat", syscall(SYS.utimensat, fd, 0, times, 0));
}

/** The kind of file system at `path`, by its magic number (`f_type` of statfs(2)). */
export function fileSystemType(
  path: ByteString,
): Result<number, SysError> {
  const bytes = stableBytes(abi.STATFS_BYTES);
  const result = syscall(SYS.statfs, pathArgument(path), bytes);
  return result < 0
    ? fail({ kind: "sys", call: `statfs ${path}`, errno: -result })
    : ok(new DataView(bytes.buffer).getUint32(0, true));
}

/** fstatat(2) without following a final link. */
export function lstatAt(dirfd: number, name: string): Result<Stat, SysError> {
  spoil();
  return statAt(
    `lstat ${name}`,
    dirfd,
    pathArgument(name),
    abi.AT_SYMLINK_NOFOLLOW,
  );
}

/** faccessat(2) with X_OK, by the real ids: EACCES also on a mount without exec. */
export function accessExecutable(path: ByteString): Result<number, SysError> {
  return access(1, path);
}

/** faccessat(2) with W_OK and X_OK, by the real ids: whether entries of a directory can be made. */
export function accessWritable(path: ByteString): Result<number, SysError> {
  return access(3, path);
}

/** faccessat(2) by the real ids. @param mode R_OK 4, W_OK 2, X_OK 1 */
export function access(
  mode: number,
  path: string,
): Result<number, SysError> {
  const result = syscall(
    SYS.faccessat,
    abi.AT_FDCWD,
    pathArgument(path),
    mode,
  );
  if (isObserving()) observe("access", `${mode}${path}`, String(result));
  return outcome(`access ${path}`, result);
}

/** readlink(2), to 4,096 bytes (PATH_MAX). */
export function readlink(path: ByteString): Result<ByteString, SysError> {
  const buffer = stableBytes(4096);
  const result = syscall(
    SYS.readlinkat,
    abi.AT_FDCWD,
    pathArgument(path),
    buffer,
    buffer.length,
  );
  if (result < 0) {
    if (isObserving()) observe("link", path, String(result));
    return fail({ kind: "sys", call: `readlink ${path}`, errno: -result });
  }
  const target = Buffer.from(buffer.buffer).toString("latin1", 0, result);
  if (isObserving()) observe("link", path, target);
  return ok(target as ByteString);
}

/** getcwd(2): the canonical working directory, or ENOENT when it was removed. */
export function getcwd(): Result<ByteString, SysError> {
  const buffer = stableBytes(4096);
  const result = syscall(SYS.getcwd, buffer, buffer.length);
  if (result < 0) return fail({ kind: "sys", call: "getcwd", errno: -result });
  // The count includes the NUL. A directory outside the root is spelled "(unreachable)…".
  return ok(
    Buffer.from(buffer.buffer).toString("latin1", 0, result - 1) as ByteString,
  );
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
      return fail({ kind: "sys", call: "getdents64", errno: -count });
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

/** flock(2). @param operation LOCK_* bits; EAGAIN when LOCK_NB meets another's lock */
export function flock(fd: number, operation: number): Result<number, SysError> {
  spoil();
  return outcome("flock", syscall(SYS.flock, fd, operation));
}

/** pipe2(2) with O_CLOEXEC and `flags`. @returns [read end, write end] */
export function pipe(flags = 0): Result<readonly [number, number], SysError> {
  spoil();
  const ends = stableBytes(8);
  const result = syscall(SYS.pipe2, ends, flags | abi.O_CLOEXEC);
  if (result < 0) return fail({ kind: "sys", call: "pipe2", errno: -result });
  const view = new DataView(ends.buffer);
  return ok([view.getInt32(0, true), view.getInt32(4, true)]);
}

/** F_DUPFD_CLOEXEC of fcntl(2): a copy of `fd` numbered `atLeast` or above. */
export function duplicate(
  fd: number,
  atLeast: number,
): Result<number, SysError> {
  return outcome(
    `F_DUPFD ${fd}`,
    syscall(SYS.fcntl, fd, abi.F_DUPFD_CLOEXEC, atLeast),
  );
}

/** dup3(2) without flags: `to` becomes a copy of `from` that exec keeps. */
export function dupTo(from: number, to: number): Result<number, SysError> {
  return outcome(`dup3 ${from}`, syscall(SYS.dup3, from, to, 0));
}

/** Sets or clears close-on-exec. */
export function setCloseOnExec(
  fd: number,
  on: boolean,
): Result<number, SysError> {
  return outcome(
    `F_SETFD ${fd}`,
    syscall(SYS.fcntl, fd, abi.F_SETFD, on ? abi.FD_CLOEXEC : 0),
  );
}

/** F_GETFL: access mode and status flags of an open file, EBADF when the descriptor is closed. */
export function fileStatusFlags(fd: number): Result<number, SysError> {
  return outcome(`F_GETFL ${fd}`, syscall(SYS.fcntl, fd, abi.F_GETFL, 0));
}

/** isatty(3). */
export function isTerminal(fd: number): boolean {
  return terminalModes(fd).ok;
}

/** close_range(2): marks every descriptor from `first` to `last` close-on-exec. Since Linux 5.11. */
export function closeOnExecFrom(
  first: number,
  last = 0x7fffffff,
): Result<number, SysError> {
  return outcome(
    "close_range",
    syscall(SYS.close_range, first, last, abi.CLOSE_RANGE_CLOEXEC),
  );
}

/** memfd_create(2). MFD_EXEC is dropped on kernels before 6.3, which know no such restriction. */
export function memfdCreate(
  name: string,
  kind: "executable" | "data",
): Result<number, SysError> {
  const flags = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING;
  const path = cString(name);
  const wanted = kind === "executable" ? flags | abi.MFD_EXEC : flags;
  const result = syscall(SYS.memfd_create, path, wanted);
  if (result === -abi.EINVAL && wanted !== flags) {
    return outcome("memfd_create", syscall(SYS.memfd_create, path, flags));
  }
  return outcome("memfd_create", result);
}

/** A sealed memfd that holds `content`, its offset at 0: it can be neither written, grown nor shrunk by anyone. */
export function sealedMemfd(
  name: string,
  content: Uint8Array,
  kind: "executable" | "data",
): Result<number, SysError> {
  const fd = memfdCreate(name, kind);
  if (!fd.ok) return fd;
  // pwrite(2) leaves the offset where it is; a memfd takes all at once or fails.
  const written = syscall(SYS.pwrite64, fd.value, content, content.length, 0);
  const error = written === content.length ? null : Math.max(-written, 1);
  const sealed = error !== null
    ? -error
    : syscall(SYS.fcntl, fd.value, abi.F_ADD_SEALS, abi.ALL_SEALS);
  if (sealed >= 0 && kind === "data") return fd;
  // Executing a file that is open for writing fails (ETXTBSY), sealed or not.
  const reopened = sealed >= 0
    ? open(`/proc/self/fd/${fd.value}` as ByteString, abi.O_RDONLY)
    : fail(
      {
        kind: "sys",
        call: error === null ? "F_ADD_SEALS" : "pwrite64",
        errno: -sealed,
      } as const,
    );
  close(fd.value);
  return reopened;
}

/** Numbers of the caller: effective and real ids (geteuid(2) and its kin). */
export function ids(): {
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly egid: number;
} {
  return {
    uid: syscall(SYS.getuid),
    euid: syscall(SYS.geteuid),
    gid: syscall(SYS.getgid),
    egid: syscall(SYS.getegid),
  };
}

/** getgroups(2): the supplementary groups. */
export function getgroups(): Result<number[], SysError> {
  spoil();
  const list = stableBytes(65_536 * 4);
  const count = syscall(SYS.getgroups, 65_536, list);
  if (count < 0) return fail({ kind: "sys", call: "getgroups", errno: -count });
  const view = new DataView(list.buffer);
  return ok(
    Array.from(
      { length: count },
      (_, index) => view.getUint32(index * 4, true),
    ),
  );
}

export function getpid(): number {
  return syscall(SYS.getpid);
}

export function getppid(): number {
  return syscall(SYS.getppid);
}

/** exit_group(2): at once, without the runtime's own clean-up, which costs a millisecond. */
export function exitNow(status: number): never {
  syscall(SYS.exit_group, status);
  throw new Error("unreachable");
}

/** pidfd_open(2): a handle that can't be reused for another process. */
export function pidfdOpen(pid: number): Result<number, SysError> {
  return outcome(`pidfd_open ${pid}`, syscall(SYS.pidfd_open, pid, 0));
}

/** pidfd_send_signal(2). */
export function pidfdKill(
  pidfd: number,
  signal: number,
): Result<number, SysError> {
  return outcome(
    "pidfd_send_signal",
    syscall(SYS.pidfd_send_signal, pidfd, signal, 0, 0),
  );
}

/** The modes of a terminal (TCGETS of tty_ioctl(2)); ENOTTY for anything else. */
export function terminalModes(
  fd: number,
): Result<Uint8Array<ArrayBuffer>, SysError> {
  const modes = stableBytes(abi.TERMIOS_BYTES);
  const result = syscall(SYS.ioctl, fd, abi.TCGETS, modes);
  return result < 0
    ? fail({ kind: "sys", call: `TCGETS ${fd}`, errno: -result })
    : ok(modes);
}

/** Sets a terminal's modes at once (TCSETS of tty_ioctl(2)). In the background it raises SIGTTOU. */
export function setTerminalModes(
  fd: number,
  modes: Uint8Array<ArrayBuffer>,
): Result<number, SysError> {
  return outcome(`TCSETS ${fd}`, syscall(SYS.ioctl, fd, abi.TCSETS, modes));
}

/** The foreground process group of our controlling terminal (TIOCGPGRP); ENOTTY when `fd` is not open on it. */
export function foregroundGroup(fd: number): Result<number, SysError> {
  const word = stableBytes(8);
  const result = syscall(SYS.ioctl, fd, abi.TIOCGPGRP, word);
  return result < 0
    ? fail({ kind: "sys", call: `TIOCGPGRP ${fd}`, errno: -result })
    : ok(new DataView(word.buffer).getInt32(0, true));
}

/** The process group that we are in (getpgid(2)). */
export function getpgrp(): number {
  return syscall(SYS.getpgid, 0);
}

/** setsid(2): a session of one's own, without a controlling terminal. */
export function setsid(): Result<number, SysError> {
  return outcome("setsid", syscall(SYS.setsid));
}

/** kill(2). @param pid as kill(2) has it; negative for a process group */
export function kill(pid: number, signal: number): Result<number, SysError> {
  return outcome(`kill ${pid}`, syscall(SYS.kill, pid, signal));
}

/** A signal to our main thread, which we run on: it acts before this returns (tgkill(2)). */
export function raise(signal: number): Result<number, SysError> {
  const pid = getpid();
  return outcome(`raise ${signal}`, syscall(SYS.tgkill, pid, pid, signal));
}

/** A state change of a child. */
export type ChildStatus =
  | { readonly kind: "exited"; readonly status: number }
  | {
    readonly kind: "signalled";
    readonly signal: number;
  };

/** wait4(2), not waiting. @returns `null` when the child has not ended */
export function waitNoHang(
  pid: number,
): Result<{ pid: number; status: ChildStatus } | null, SysError> {
  return wait(pid, 1);
}

/** wait4(2) until the child has ended. */
export function waitFor(
  pid: number,
): Result<{ pid: number; status: ChildStatus } | null, SysError> {
  return wait(pid, 0);
}

function wait(
  pid: number,
  options: number,
): Result<{ pid: number; status: ChildStatus } | null, SysError> {
  const word = stableBytes(8);
  for (;;) {
    const result = syscall(SYS.wait4, pid, word, options, 0);
    if (result === -abi.EINTR) continue;
    if (result < 0) {
      return fail({ kind: "sys", call: `wait4 ${pid}`, errno: -result });
    }
    if (result === 0) return ok(null);
    // WIFSIGNALED and its kin of `bits/waitstatus.h`; stops are not asked for.
    const raw = new DataView(word.buffer).getInt32(0, true);
    const signal = raw & 0x7f;
    return ok({
      pid: result,
      status: signal === 0
        ? { kind: "exited", status: (raw >> 8) & 0xff }
        : { kind: "signalled", signal },
    });
  }
}

/** prctl(2) with one argument. */
export function prctl(
  option: number,
  argument: number,
): Result<number, SysError> {
  return outcome(
    `prctl ${option}`,
    syscall(SYS.prctl, option, argument, 0, 0, 0),
  );
}

/** Whether the kernel has mount_setattr(2) and lets us ask it: a call that could never do anything is answered with EINVAL. */
export function hasMountSetattr(): boolean {
  return syscall(SYS.mount_setattr, -1, 0, 0, 0, 0) === -abi.EINVAL;
}

/** The version of Landlock that the kernel has (landlock_create_ruleset(2)); ENOSYS without it, EOPNOTSUPP where it is switched off. */
export function landlockVersion(): Result<number, SysError> {
  return outcome(
    "landlock_create_ruleset",
    syscall(
      SYS.landlock_create_ruleset,
      0,
      0,
      abi.LANDLOCK_CREATE_RULESET_VERSION,
    ),
  );
}

/**
 * landlock_create_ruleset(2).
 *
 * @param handled LANDLOCK_ACCESS_FS_* bits
 * @param more LANDLOCK_ACCESS_NET_* (version 4 and later) and LANDLOCK_SCOPE_* bits (version 6); older kernels know no such fields
 * @returns the ruleset's descriptor
 */
export function landlockRuleset(
  handled: number,
  more: { readonly net: number; readonly scopes: number } = NOTHING_MORE,
): Result<number, SysError> {
  const bytes = more.scopes !== 0
    ? abi.LANDLOCK_RULESET_SCOPED_BYTES
    : more.net !== 0
    ? abi.LANDLOCK_RULESET_NET_BYTES
    : abi.LANDLOCK_RULESET_BYTES;
  const attributes = stableBytes(bytes);
  const view = new DataView(attributes.buffer);
  view.setUint32(0, handled, true);
  if (bytes > abi.LANDLOCK_RULESET_BYTES) view.setUint32(8, more.net, true);
  if (bytes > abi.LANDLOCK_RULESET_NET_BYTES) {
    view.setUint32(16, more.scopes, true);
  }
  return outcome(
    "landlock_create_ruleset",
    syscall(SYS.landlock_create_ruleset, attributes, bytes, 0),
  );
}

const NOTHING_MORE = { net: 0, scopes: 0 } as const;

/** landlock_add_rule(2) for a file or everything below a directory. EBADFD: pipes, sockets and their like lie beneath nothing */
export function landlockAllow(
  ruleset: number,
  beneath: number,
  rights: number,
): Result<number, SysError> {
  const rule = stableBytes(abi.LANDLOCK_PATH_BENEATH_BYTES);
  const view = new DataView(rule.buffer);
  view.setUint32(0, rights, true);
  view.setInt32(8, beneath, true);
  return outcome(
    "landlock_add_rule",
    syscall(
      SYS.landlock_add_rule,
      ruleset,
      abi.LANDLOCK_RULE_PATH_BENEATH,
      rule,
      0,
    ),
  );
}

/** landlock_restrict_self(2), for this thread and what it executes. Needs no_new_privs. */
export function landlockRestrict(ruleset: number): Result<number, SysError> {
  return outcome(
    "landlock_restrict_self",
    syscall(SYS.landlock_restrict_self, ruleset, 0),
  );
}

/** The kernel's struct sigaction of `asm/signal.h`: handler, flags, restorer, mask. */
const SIGACTION_BYTES = 32;

/** Sets a signal's action to the default (rt_sigaction(2)). */
export function signalDefault(signal: number): Result<number, SysError> {
  const action = stableBytes(SIGACTION_BYTES);
  return outcome(
    `sigaction ${signal}`,
    syscall(SYS.rt_sigaction, signal, action, 0, abi.SIGSET_BYTES),
  );
}

/** Ignores a signal (rt_sigaction(2)). */
export function signalIgnore(signal: number): Result<number, SysError> {
  const action = stableBytes(SIGACTION_BYTES);
  new DataView(action.buffer).setUint32(0, SIG_IGN, true);
  return outcome(
    `sigaction ${signal}`,
    syscall(SYS.rt_sigaction, signal, action, 0, abi.SIGSET_BYTES),
  );
}

/** Takes a signal out of this thread's mask (rt_sigprocmask(2)). Children that are there already keep theirs. */
export function unblockSignal(signal: number): Result<number, SysError> {
  return outcome(
    `sigprocmask ${signal}`,
    syscall(
      SYS.rt_sigprocmask,
      abi.SIG_UNBLOCK,
      signalSet([signal]),
      0,
      abi.SIGSET_BYTES,
    ),
  );
}

/** Bits of a kernel signal set: bit n-1 for signal n. Standard signals (1–31) only. */
export function signalSet(signals: readonly number[]): Uint8Array<ArrayBuffer> {
  const set = stableBytes(128);
  const view = new DataView(set.buffer);
  let bits = 0;
  for (const signal of signals) bits |= 1 << (signal - 1);
  view.setUint32(0, bits >>> 0, true);
  return set;
}

/**
 * Code of a signal handler that writes the signal's number, one byte, to `fd`.
 *
 * A handler in JavaScript is impossible, and a blocked signal with signalfd(2) is not enough: the runtime has threads of its own that
 * don't block it, and the kernel would give it to them. A handler runs in whichever thread the kernel picks.
 */
export function signalWriterCode(
  arch: abi.Arch,
  fd: number,
): { readonly handler: Uint8Array; readonly restorer: Uint8Array } {
  if (arch === "x64") {
    return {
      // push rdi; mov rsi, rsp; mov edi, fd; mov edx, 1; mov eax, 1 (write); syscall; pop rdi; ret
      handler: new Uint8Array([
        0x57,
        0x48,
        0x89,
        0xe6,
        0xbf,
        ...littleEndian(fd),
        0xba,
        1,
        0,
        0,
        0,
        0xb8,
        1,
        0,
        0,
        0,
        0x0f,
        0x05,
        0x5f,
        0xc3,
      ]),
      // mov eax, 15 (rt_sigreturn); syscall
      restorer: new Uint8Array([0xb8, 15, 0, 0, 0, 0x0f, 0x05]),
    };
  }
  // str x0, [sp, #-16]!; mov x1, sp; movz w0, fd; mov x2, 1; mov x8, 64 (write); svc 0; ldr x0, [sp], #16; ret
  const words = [
    0xf81f0fe0,
    0x910003e1,
    0x52800000 | (fd << 5),
    0xd2800022,
    0xd2800808,
    0xd4000001,
    0xf84107e0,
    0xd65f03c0,
  ];
  return {
    handler: new Uint8Array(words.flatMap(littleEndian)),
    restorer: new Uint8Array(0),
  };
}

function littleEndian(word: number): number[] {
  return [
    word & 0xff,
    (word >>> 8) & 0xff,
    (word >>> 16) & 0xff,
    (word >>> 24) & 0xff,
  ];
}

/** `asm/signal.h`. */
const SA_RESTORER = 0x04000000;
const SA_RESTART = 0x10000000;
const SIG_IGN = 1;

/** Whether a struct sigaction says SIG_IGN. */
function isIgnored(action: Uint8Array<ArrayBuffer>): boolean {
  return new DataView(action.buffer).getBigUint64(0, true) === BigInt(SIG_IGN);
}

/** Where a caller ignores SIGCHLD, children are gone before wait4(2) can tell how they ended. */
function noticeChildren(): void {
  const before = stableBytes(SIGACTION_BYTES);
  syscall(SYS.rt_sigaction, abi.SIGCHLD, 0, before, abi.SIGSET_BYTES);
  if (isIgnored(before)) signalDefault(abi.SIGCHLD);
}

/** Handlers that have been made, by the descriptor that they write to. */
const handlerPages = new Map<number, number>();

/**
 * From now on each of `signals` writes its number to `fd` instead of acting; one that the caller had ignored stays ignored.
 *
 * exec resets caught signals to their default, so children are not touched by this.
 *
 * @param fd below 65,536, non-blocking, kept open as long as the process lives
 */
export function catchSignals(
  signals: readonly number[],
  fd: number,
): Result<void, SysError> {
  const { handler, restorer } = signalWriterCode(ARCH, fd);
  let address = handlerPages.get(fd);
  if (address === undefined) {
    const code = new Uint8Array(64);
    code.set(handler);
    code.set(restorer, 48);
    address = executablePage(code);
    handlerPages.set(fd, address);
  }
  for (const signal of signals) {
    const before = stableBytes(SIGACTION_BYTES);
    const asked = syscall(
      SYS.rt_sigaction,
      signal,
      0,
      before,
      abi.SIGSET_BYTES,
    );
    if (asked < 0) {
      return fail({ kind: "sys", call: `sigaction ${signal}`, errno: -asked });
    }
    if (isIgnored(before)) continue;
    const action = stableBytes(SIGACTION_BYTES);
    const view = new DataView(action.buffer);
    view.setBigUint64(0, BigInt(address), true);
    view.setBigUint64(
      8,
      BigInt(restorer.length === 0 ? SA_RESTART : SA_RESTART | SA_RESTORER),
      true,
    );
    view.setBigUint64(
      16,
      BigInt(restorer.length === 0 ? 0 : address + 48),
      true,
    );
    const set = syscall(SYS.rt_sigaction, signal, action, 0, abi.SIGSET_BYTES);
    if (set < 0) {
      return fail({ kind: "sys", call: `sigaction ${signal}`, errno: -set });
    }
  }
  return ok(undefined);
}

/** One descriptor to wait for. */
export interface Polled {
  readonly fd: number;
  /** POLLIN 1, POLLOUT 4. Errors and hang-ups are always reported. */
  readonly events: number;
}

/**
 * ppoll(2).
 *
 * @param timeoutNs nanoseconds, or `null` to wait for ever
 * @returns the returned events of each descriptor, in order; all 0 on time-out or interruption
 */
export function poll(
  polled: readonly Polled[],
  timeoutNs: number | null,
): Result<number[], SysError> {
  const list = stableBytes(8 * Math.max(polled.length, 1));
  const view = new DataView(list.buffer);
  polled.forEach(({ fd, events }, index) => {
    view.setInt32(index * 8, fd, true);
    view.setInt16(index * 8 + 4, events, true);
  });
  const time = stableBytes(16);
  if (timeoutNs !== null) {
    const clock = new DataView(time.buffer);
    clock.setUint32(0, Math.floor(timeoutNs / 1e9), true);
    clock.setUint32(8, Math.floor(timeoutNs % 1e9), true);
  }
  const result = syscall(
    SYS.ppoll,
    list,
    polled.length,
    timeoutNs === null ? 0 : time,
    0,
    abi.SIGSET_BYTES,
  );
  if (result < 0 && result !== -abi.EINTR) {
    return fail({ kind: "sys", call: "ppoll", errno: -result });
  }
  return ok(
    polled.map((
      _,
      index,
    ) => (result <= 0 ? 0 : view.getUint16(index * 8 + 6, true))),
  );
}

/** Soft and hard limit as prlimit64(2) has them; RLIM_INFINITY is 2^64 - 1, inexact here. */
export interface ResourceLimit {
  readonly soft: number;
  readonly hard: number;
}

/** prlimit64(2), reading. @param pid 0 for this process */
export function getLimit(
  pid: number,
  resource: number,
): Result<ResourceLimit, SysError> {
  const bytes = stableBytes(16);
  const result = syscall(SYS.prlimit64, pid, resource, 0, bytes);
  if (result < 0) {
    return fail({ kind: "sys", call: `prlimit ${pid}`, errno: -result });
  }
  const view = new DataView(bytes.buffer);
  return ok({
    soft: Number(view.getBigUint64(0, true)),
    hard: Number(view.getBigUint64(8, true)),
  });
}

/** Sets this process's soft limit and keeps the hard one. */
export function setSoftLimit(
  resource: number,
  soft: number,
): Result<number, SysError> {
  const bytes = stableBytes(16);
  const got = syscall(SYS.prlimit64, 0, resource, 0, bytes);
  if (got < 0) return fail({ kind: "sys", call: "prlimit", errno: -got });
  const view = new DataView(bytes.buffer);
  const hard = view.getBigUint64(8, true);
  const wanted = BigInt(soft);
  view.setBigUint64(0, wanted > hard ? hard : wanted, true);
  return outcome("prlimit", syscall(SYS.prlimit64, 0, resource, bytes, 0));
}

/** A pointer array with its strings, for execve(2): keep it referenced until the call has returned. */
interface StringVector {
  readonly pointers: Uint8Array<ArrayBuffer>;
  readonly text: Uint8Array<ArrayBuffer>;
}

function stringVector(strings: readonly string[]): StringVector {
  // One buffer for all strings: a buffer each costs more than the rest of the exec.
  let length = 0;
  for (const string of strings) length += string.length + 1;
  const text = stableBytes(Math.max(length, 1));
  Buffer.from(text.buffer).write(
    strings.length === 0 ? "" : `${strings.join("\0")}\0`,
    0,
    "latin1",
  );
  const base = addressOf(text);
  const pointers = stableBytes(8 * (strings.length + 1));
  const view = new DataView(pointers.buffer);
  let at = base;
  strings.forEach((string, index) => {
    view.setUint32(index * 8, at % 2 ** 32, true);
    view.setUint32(index * 8 + 4, Math.floor(at / 2 ** 32), true);
    at += string.length + 1;
  });
  return { pointers, text };
}

/** What to execute: the file, and the exact argv and environment (`NAME=value` entries) as byte strings. */
export interface Program {
  readonly path: string;
  readonly argv: readonly string[];
  readonly environment: readonly string[];
}

/** execve(2). @returns only when it failed */
export function execve(program: Program): SysError {
  const argv = stringVector(program.argv);
  const environment = stringVector(program.environment);
  const result = syscall(
    SYS.execve,
    cString(program.path),
    argv.pointers,
    environment.pointers,
  );
  // Named again so that the vectors' text outlives the call.
  if (argv.text.length + environment.text.length === 0) {
    throw new Error("unreachable");
  }
  return { kind: "sys", call: `execve ${program.path}`, errno: -result };
}

/** `spawn.h`: POSIX_SPAWN_SETSIGDEF and POSIX_SPAWN_SETSID. */
const SPAWN_SETSIGDEF = 0x04;
const SPAWN_SETSID = 0x80;

/** A program with the descriptors it gets. Everything not listed must be close-on-exec already. */
export interface Spawned extends Program {
  /** Pairs [ours, theirs], done in order; ours ≥ 100 and theirs < 100, so that none overwrites another's source. */
  readonly descriptors: readonly (readonly [from: number, to: number])[];
  readonly session: "own" | "inherited";
}

/**
 * Starts a child (posix_spawn(3)) with SIGPIPE and SIGXFSZ, which the runtime ignores, and SIGCHLD, which a caller may, at their
 * defaults. @returns its pid
 */
export function spawn(program: Spawned): Result<number, SysError> {
  spoil();
  const family = spawnFamily();
  const call = `posix_spawn ${program.path}`;
  // glibc: posix_spawn_file_actions_t is 80 bytes, posix_spawnattr_t 336; musl's are no larger.
  const actions = stableBytes(128);
  const attributes = stableBytes(512);
  family.posix_spawn_file_actions_init(actions);
  family.posix_spawnattr_init(attributes);
  try {
    for (const [from, to] of program.descriptors) {
      const added = family.posix_spawn_file_actions_adddup2(actions, from, to);
      if (added !== 0) return fail({ kind: "sys", call, errno: added });
    }
    family.posix_spawnattr_setsigdefault(
      attributes,
      signalSet([abi.SIGPIPE, abi.SIGXFSZ, abi.SIGCHLD]),
    );
    family.posix_spawnattr_setflags(
      attributes,
      SPAWN_SETSIGDEF | (program.session === "own" ? SPAWN_SETSID : 0),
    );
    noticeChildren();
    const argv = stringVector(program.argv);
    const environment = stringVector(program.environment);
    const pid = stableBytes(4);
    const error = family.posix_spawn(
      pid,
      cString(program.path),
      actions,
      attributes,
      argv.pointers,
      environment.pointers,
    );
    if (error !== 0 || argv.text.length + environment.text.length === 0) {
      return fail({ kind: "sys", call, errno: error });
    }
    return ok(new DataView(pid.buffer).getInt32(0, true));
  } finally {
    family.posix_spawn_file_actions_destroy(actions);
    family.posix_spawnattr_destroy(attributes);
  }
}

/** seccomp(2) SECCOMP_SET_MODE_FILTER for this thread and its siblings (TSYNC). @param program struct sock_filter, 8 bytes each */
export function seccompSetFilter(
  program: Uint8Array,
): Result<number, SysError> {
  const code = stableBytes(program.length);
  code.set(program);
  // struct sock_fprog: u16 len, padding to 8, pointer.
  const header = stableBytes(16);
  const view = new DataView(header.buffer);
  view.setUint16(0, program.length / 8, true);
  view.setBigUint64(8, BigInt(addressOf(code)), true);
  const result = syscall(
    SYS.seccomp,
    abi.SECCOMP_SET_MODE_FILTER,
    abi.SECCOMP_FILTER_FLAG_TSYNC,
    header,
  );
  // A positive result is the id of a thread that could not be synchronised: nothing was installed.
  if (result > 0) {
    return fail({
      kind: "sys",
      call: `seccomp TSYNC thread ${result}`,
      errno: abi.ESRCH,
    });
  }
  return outcome("seccomp", result);
}
