/**
 * The few things that loading config asks of the host, each one call or two.
 *
 * Effects: open(2), fstat(2), lstat(2), readlink(2). Files are opened without blocking, must be regular and at most
 * {@linkcode MAX_FILE_BYTES} long.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { MAX_LINKS } from "../policy/facts.ts";
import { type AbsPath, childOf, parentOf, ROOT } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  fstat,
  lstat,
  O_NOFOLLOW,
  open,
  readAll,
  readlink,
  stat,
} from "../sys/calls.ts";

/** Longest config file that is read. */
export const MAX_FILE_BYTES = 1_048_576;

/** A file's bytes and its owner. */
export interface HostFile {
  readonly bytes: ByteString;
  readonly uid: number;
}

/** What stands at a path. `unreadable` is every error but a missing file. */
export type HostKind =
  | "missing"
  | "directory"
  | "file"
  | "symlink"
  | "other"
  | "unreadable";

/** The questions, so that tests can answer them. */
export interface ConfigHost {
  /** `null` when there is no such file; else why it can't be read, in words. */
  readonly readFile: (
    path: AbsPath,
    links: "follow" | "refuse",
  ) => Result<HostFile | null, string>;
  readonly kindOf: (path: AbsPath, links: "follow" | "refuse") => HostKind;
  /** Every link followed, a missing end kept as written; `null` when a component can't be looked at. */
  readonly realPath: (path: AbsPath) => AbsPath | null;
}

/** The real host. */
export const CONFIG_HOST: ConfigHost = {
  readFile: readRegularFile,
  kindOf,
  realPath,
};

function readRegularFile(
  path: AbsPath,
  links: "follow" | "refuse",
): Result<HostFile | null, string> {
  const follow = links === "follow" ? 0 : O_NOFOLLOW;
  const fd = open(path, abi.O_RDONLY | abi.O_NONBLOCK | follow);
  if (!fd.ok) {
    const { errno } = fd.error;
    if (errno === abi.ENOENT || errno === abi.ENOTDIR) return ok(null);
    return fail(abi.errnoText(errno));
  }
  const file = readOpenFile(fd.value);
  close(fd.value);
  return file;
}

function readOpenFile(fd: number): Result<HostFile, string> {
  const about = fstat(fd);
  if (!about.ok) return fail(abi.errnoText(about.error.errno));
  if ((about.value.mode & abi.S_IFMT) !== abi.S_IFREG) {
    return fail("it must be a regular file");
  }
  const bytes = readAll(fd, MAX_FILE_BYTES);
  if (bytes.ok) return ok({ bytes: bytes.value, uid: about.value.uid });
  return fail(
    bytes.error.errno === abi.EFBIG
      ? "it is larger than 1 MiB"
      : abi.errnoText(bytes.error.errno),
  );
}

function kindOf(path: AbsPath, links: "follow" | "refuse"): HostKind {
  const about = links === "follow" ? stat(path) : lstat(path);
  if (!about.ok) {
    const { errno } = about.error;
    return errno === abi.ENOENT || errno === abi.ENOTDIR
      ? "missing"
      : "unreadable";
  }
  switch (about.value.mode & abi.S_IFMT) {
    case abi.S_IFDIR:
      return "directory";
    case abi.S_IFREG:
      return "file";
    case abi.S_IFLNK:
      return "symlink";
    default:
      return "other";
  }
}

function realPath(path: AbsPath): AbsPath | null {
  let pending = path.slice(1).split("/");
  let at: AbsPath = ROOT;
  let links = 0;
  while (pending.length > 0) {
    const name = pending.shift()!;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = parentOf(at);
      continue;
    }
    const next = childOf(at, name);
    const kind = kindOf(next, "refuse");
    if (kind === "unreadable") return null;
    if (kind !== "symlink") {
      at = next;
      continue;
    }
    const target = readlink(next);
    if (!target.ok || ++links > MAX_LINKS) return null;
    if (target.value.startsWith("/")) at = ROOT;
    pending = [...target.value.split("/"), ...pending];
  }
  return at;
}
