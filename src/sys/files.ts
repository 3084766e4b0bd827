/**
 * Calls on files: opened, read, written, asked about. Each answer that a plan may rest on is recorded for kept starts.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { readLatin1 } from "./latin1.ts";
import { isObserving, observe, spoil, unobserved } from "./observed.ts";
import {
  ARCH,
  cString,
  failed,
  outcome,
  pathArgument,
  SYS,
  type SysError,
} from "./outcome.ts";
import { contentText, fstat } from "./stat.ts";

const OPEN_FLAGS = abi.openFlags(ARCH);

export const O_DIRECTORY = OPEN_FLAGS.O_DIRECTORY;
export const O_NOFOLLOW = OPEN_FLAGS.O_NOFOLLOW;

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
      return failed("pread64", result);
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
  for (;;) {
    const count = read(fd, chunk);
    if (!count.ok) return count;
    if (count.value === 0) return ok(text as ByteString);
    text += readLatin1(chunk, 0, count.value);
    if (count.value === chunk.length && chunk.length < 1_048_576) {
      chunk = stableBytes(chunk.length * 8);
    }
    if (text.length > limitBytes) {
      return fail({ kind: "sys", call: "read", errno: abi.EFBIG });
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
    if (result < 0) return failed("write", result);
    offset += result;
  }
  return ok(undefined);
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

/** faccessat(2) with X_OK, by the real ids: EACCES also on a mount without exec. */
export function accessExecutable(path: ByteString): Result<number, SysError> {
  return access(1, path);
}

/** faccessat(2) with W_OK and X_OK, by the real ids: whether entries of a directory can be made. */
export function accessWritable(path: ByteString): Result<number, SysError> {
  return access(3, path);
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
    return failed(`readlink ${path}`, result);
  }
  const target = readLatin1(buffer, 0, result);
  if (isObserving()) observe("link", path, target);
  return ok(target as ByteString);
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
