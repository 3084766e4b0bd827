/**
 * Asks the host what lies at a path. The only place where the file system is looked at before a plan is made.
 *
 * Effects: lstat(2), readlink(2), open(2) of small files. Never follows a link by itself: each link is a fact of its own.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import {
  type AbsPath,
  ancestry,
  parentOf,
  ROOT,
  toAbsPath,
} from "../policy/path.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  fstat,
  lstat,
  O_NOFOLLOW,
  open,
  readAll,
  readlink,
  type Stat,
  type SysError,
} from "../sys/calls.ts";
import {
  MAX_LINKS,
  MISSING,
  type PathFact,
  type PathFacts,
  type PathKind,
} from "../policy/facts.ts";

/** Facts in the making: the probe adds to them, round after round. */
export type FactMap = Map<AbsPath, PathFact>;

/** All facts, with paths that more may be added to. */
export type ProbedFacts = PathFacts & { readonly paths: FactMap };

const KINDS: { readonly [type: number]: PathKind } = {
  [abi.S_IFDIR]: "directory",
  [abi.S_IFREG]: "file",
  [abi.S_IFLNK]: "symlink",
  [abi.S_IFIFO]: "fifo",
  [abi.S_IFSOCK]: "socket",
  [abi.S_IFCHR]: "char_device",
  [abi.S_IFBLK]: "block_device",
};

/** The fact that a stat result states. @param target readlink(2)'s answer for a link */
export function factFromStat(stat: Stat, target?: ByteString): PathFact {
  const fact = {
    kind: KINDS[stat.mode & abi.S_IFMT] ?? "unreadable",
    device: stat.device,
    inode: stat.inode,
    mode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    linkCount: stat.linkCount,
    sizeBytes: stat.sizeBytes,
  } as const;
  return target === undefined ? fact : { ...fact, target };
}

/** Adds what lies at `path`, at each component above it, and at every component of each link met on the way. */
export function probePath(facts: FactMap, path: AbsPath): void {
  if (facts.has(path)) return;
  // The usual case: the directory is known to be one, only the name in it is new.
  if (facts.get(parentOf(path))?.kind === "directory") {
    const fact = ask(path);
    facts.set(path, fact);
    if (fact.kind !== "symlink") return;
  }
  const pending: AbsPath[] = [path];
  let links = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const place of ancestry(next)) {
      let fact = facts.get(place);
      if (fact === undefined) {
        fact = ask(place);
        facts.set(place, fact);
      }
      if (fact.kind === "missing" || fact.kind === "unreadable") break;
      if (fact.kind === "symlink" && fact.target !== undefined) {
        links += 1;
        if (links > MAX_LINKS) return;
        const there = throughLink(place, fact.target, next);
        if (there !== null) pending.push(there);
        break;
      }
      if (fact.kind !== "directory") break;
    }
  }
}

/** `whole` (at or below the link `place`) with the link replaced by its target. `..` is folded only where no link precedes it. */
function throughLink(
  place: AbsPath,
  target: ByteString,
  whole: AbsPath,
): AbsPath | null {
  const rest = whole.slice(place.length);
  const base = target.startsWith("/")
    ? ROOT
    : place.slice(0, place.lastIndexOf("/"));
  return toAbsPath(`${base}/${target}${rest}`);
}

function ask(path: AbsPath): PathFact {
  const stat = lstat(path);
  if (!stat.ok) {
    const absent = stat.error.errno === abi.ENOENT ||
      stat.error.errno === abi.ENOTDIR;
    return absent ? MISSING : { ...MISSING, kind: "unreadable" };
  }
  if ((stat.value.mode & abi.S_IFMT) !== abi.S_IFLNK) {
    return factFromStat(stat.value);
  }
  const target = readlink(path);
  return target.ok
    ? factFromStat(stat.value, target.value)
    : { ...MISSING, kind: "unreadable" };
}

/**
 * The text of a small regular file that nobody's trick can turn into something else: no link, no FIFO, no device.
 *
 * @returns `null` when it is missing, not a regular file, or longer than `limitBytes`
 */
export function readSmallFile(
  path: AbsPath,
  limitBytes: number,
): Result<ByteString | null, SysError> {
  const fd = open(path, abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK);
  if (!fd.ok) {
    const harmless = [abi.ENOENT, abi.ENOTDIR, abi.ELOOP].includes(
      fd.error.errno,
    );
    return harmless ? ok(null) : fd;
  }
  try {
    const stat = fstat(fd.value);
    if (!stat.ok) return stat;
    if ((stat.value.mode & abi.S_IFMT) !== abi.S_IFREG) return ok(null);
    if (stat.value.sizeBytes > limitBytes) return ok(null);
    const text = readAll(fd.value, limitBytes);
    return text.ok ? ok(text.value) : text;
  } finally {
    close(fd.value);
  }
}
