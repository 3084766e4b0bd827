/**
 * Calls that say what lies at a place: the stat family, recorded for kept starts.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { stableBytes, syscall, type Word } from "./ffi.ts";
import { isObserving, observe, spoil } from "./observed.ts";
import {
  ARCH,
  cString,
  failed,
  outcome,
  pathArgument,
  SYS,
  type SysError,
} from "./outcome.ts";

const STAT = abi.STAT_LAYOUTS[ARCH];

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

function scratch(): typeof statScratch & object {
  if (statScratch === undefined) {
    const bytes = stableBytes(STAT.bytes);
    statScratch = { bytes, view: new DataView(bytes.buffer) };
  }
  return statScratch;
}

function statAt(
  call: string,
  dirfd: number,
  path: Word,
  flags: number,
): Result<Stat, SysError> {
  const { bytes, view } = scratch();
  const result = syscall(SYS.newfstatat, dirfd, path, bytes, flags);
  if (result < 0) return failed(call, result);
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

/** Whether a descriptor of a character device is of one that takes no orders. A switch, because every kept start comes here. */
export function isHarmlessDevice(fd: number): boolean {
  if (!fstat(fd).ok) return false;
  switch (wide(scratch().view, STAT.rdev)) {
    case 0x103: // null
    case 0x105: // zero
    case 0x107: // full
    case 0x108: // random
    case 0x109: // urandom
      return true;
    default:
      return false;
  }
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

/**
 * A place as one line to compare: what it is, whose, and the age of its content. A directory's content is asked for by itself, only
 * whether others are in it counts; what the kernel makes below `/proc` is as young as the question.
 */
export function placeText(path: string, there: Result<Stat, SysError>): string {
  if (!there.ok) return `-${there.error.errno}`;
  const { mode, device, inode, uid, gid, linkCount } = there.value;
  if (!isAgeless(mode, path)) return contentText(there);
  return `${device} ${inode} ${mode} ${uid} ${gid} ${linkCount > 2}`;
}

/**
 * {@linkcode placeText} of lstat(2) or stat(2), or {@linkcode contentText} of stat(2), without what a start does not need: unobserved,
 * and no object is made of the answer.
 *
 * @param fd with an empty path: the open file itself, as fstat(2) has it
 */
export function askText(
  path: ByteString,
  question: "lstat" | "stat" | "content",
  fd: number = abi.AT_FDCWD,
): string {
  const { bytes, view } = scratch();
  const flags = path === ""
    ? abi.AT_EMPTY_PATH
    : question === "lstat"
    ? abi.AT_SYMLINK_NOFOLLOW
    : 0;
  const result = syscall(
    SYS.newfstatat,
    fd,
    pathArgument(path),
    bytes,
    flags,
  );
  if (result < 0) return String(result);
  const mode = view.getUint32(STAT.mode, true);
  const links = STAT.nlinkBytes === 8
    ? wide(view, STAT.nlink)
    : view.getUint32(STAT.nlink, true);
  const owner = `${wide(view, STAT.dev)} ${wide(view, STAT.ino)} ${mode} ${
    view.getUint32(STAT.uid, true)
  } ${view.getUint32(STAT.gid, true)}`;
  if (question !== "content" && isAgeless(mode, path)) {
    return `${owner} ${links > 2}`;
  }
  const seconds = wide(view, STAT.ctimeSeconds);
  const nanoseconds = wide(view, STAT.ctimeNanoseconds);
  return `${owner} ${links} ${wide(view, STAT.size)} ${seconds}.${nanoseconds}`;
}

function isAgeless(mode: number, path: string): boolean {
  return (mode & abi.S_IFMT) === abi.S_IFDIR || path.startsWith("/proc/");
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
  const type = new DataView(bytes.buffer).getUint32(0, true);
  if (isObserving()) {
    observe("file_system", path, String(result < 0 ? result : type));
  }
  return result < 0 ? failed(`statfs ${path}`, result) : ok(type);
}
