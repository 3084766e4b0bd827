/**
 * Answers from the host, as data: what decisions rest on. `src/host/` fills them in; the planner, `access` and the tests read them.
 *
 * Pure: types, and lookups that follow symbolic links inside the facts.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, ancestry, childOf, ROOT, toAbsPath } from "./path.ts";

/** What lstat(2) said of one path. `unreadable` stands for any error but ENOENT and ENOTDIR: it must be treated as the worst. */
export type PathKind =
  | "missing"
  | "directory"
  | "file"
  | "symlink"
  | "fifo"
  | "socket"
  | "char_device"
  | "block_device"
  | "unreadable";

/** One path's lstat(2). Numbers are 0 for `missing` and `unreadable`. */
export interface PathFact {
  readonly kind: PathKind;
  /** `st_dev` and `st_ino`, exact below 2^53 (device as makedev(3) encodes it). */
  readonly device: number;
  readonly inode: number;
  /** Permission bits, `st_mode & 07777`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  /** readlink(2), for `symlink` only. */
  readonly target?: ByteString;
}

/**
 * One thing that a deny glob hides. `path` is canonical: for a symbolic link that matched it is the target, and `via` is the link.
 *
 * `kind` is what lies at `path`, never `symlink`; a dangling link is no match.
 */
export interface GlobMatch {
  readonly path: AbsPath;
  readonly kind: PathKind;
  readonly pattern: ByteString;
  readonly via?: AbsPath;
  /** Names of a file that has more than one: only this one is hidden. */
  readonly linkCount?: number;
}

/** Our own places, as spelled; they are protected in every profile but full access. */
export interface OwnPaths {
  /** `$CODEX_HOME`, `/etc/codex`, the config files of this run, our executable, the chosen bwrap. */
  readonly readOnly: readonly AbsPath[];
  /** State folders: caches, records, locks. Hidden inside with mode 000. */
  readonly hidden: readonly AbsPath[];
}

/** A known socket of a daemon that is there, or a directory that has nothing but such sockets. `path` is canonical. */
export interface SocketFact {
  readonly path: AbsPath;
  /** `private_directory`: the user's own runtime directory. */
  readonly node: "socket" | "directory" | "private_directory";
  readonly daemon: string;
}

/** No place of ours: for tests and for `external` profiles. */
export const NO_OWN_PATHS: OwnPaths = { readOnly: [], hidden: [] };

/** What the probe found. Every component of every path that was asked for is in `paths`, and of the link targets met on the way. */
export interface PathFacts {
  readonly paths: ReadonlyMap<AbsPath, PathFact>;
  /**
   * Text of the regular files that point into git directories, by canonical path: `.git` in a writable root, `commondir` where it
   * leads. A file that can't be read has an empty text; one that is longer than {@linkcode MAX_POINTER_BYTES} too, and is refused.
   */
  readonly gitPointers: ReadonlyMap<AbsPath, ByteString>;
  readonly globMatches: readonly GlobMatch[];
  readonly own: OwnPaths;
  /** Found where a run would reach them: absent without the host's network. */
  readonly sockets?: readonly SocketFact[];
  /** Devices on which names ignore case and the kernel has an entry for each spelling. Absent where nobody looked. */
  readonly foldingDevices?: ReadonlySet<number>;
  /** Repositories inside writable directories. Absent where nobody looked. */
  readonly repositories?: Repositories;
}

/** What a search for repositories found. */
export interface Repositories {
  /** Canonical directories with a `.git` in them, of whatever kind; writable roots themselves are left out. */
  readonly found: readonly AbsPath[];
  /** Directories that only their mode keeps us from looking into, and the command could open up: they stay as they are. */
  readonly shut: readonly AbsPath[];
  /** Where the search was given up and why, `null` when it saw everything. */
  readonly cut: { readonly at: AbsPath; readonly why: string } | null;
}

/** Length up to which a `.git` or `commondir` file is read. Git's own limit for `.git`: blank lines behind a path are no end of it. */
export const MAX_POINTER_BYTES = 1_048_576;

/** The fact of `path`, `missing` when a component above it is missing. @throws {Error} when nobody asked: our mistake */
export function factOf(facts: PathFacts, path: AbsPath): PathFact {
  const fact = facts.paths.get(path);
  if (fact !== undefined) return fact;
  for (const above of ancestry(path)) {
    const known = facts.paths.get(above);
    if (known === undefined) break;
    if (
      known.kind === "missing" ||
      (known.kind !== "directory" && known.kind !== "symlink")
    ) return MISSING;
  }
  throw new Error(`no fact about ${path}`);
}

/** The fact of a path that isn't there. */
export const MISSING: PathFact = {
  kind: "missing",
  device: 0,
  inode: 0,
  mode: 0,
  uid: 0,
  gid: 0,
  linkCount: 0,
  sizeBytes: 0,
};

/** Limit of links followed in one path, as the kernel's MAXSYMLINKS (path_resolution(7)). */
export const MAX_LINKS = 40;

/**
 * Where `path` leads when every link is followed, with the links crossed on the way (outermost first).
 *
 * `resolved` is the canonical path of the deepest existing part plus the remaining components as written; `exists` says whether
 * the whole of it exists. `null` when links loop or a link leads to a place nobody asked about.
 */
export function follow(
  facts: Pick<PathFacts, "paths">,
  path: AbsPath,
): {
  readonly resolved: AbsPath;
  readonly exists: boolean;
  readonly links: readonly AbsPath[];
} | null {
  const links: AbsPath[] = [];
  let pending = path === ROOT ? [] : path.slice(1).split("/");
  let at: AbsPath = ROOT;
  while (pending.length > 0) {
    const [name, ...rest] = pending as [string, ...string[]];
    if (name === "" || name === ".") {
      pending = rest;
      continue;
    }
    if (name === "..") {
      at = (at.slice(0, at.lastIndexOf("/")) || "/") as AbsPath;
      pending = rest;
      continue;
    }
    const next = childOf(at, name);
    const fact = facts.paths.get(next);
    if (fact === undefined) return null;
    if (fact.kind === "missing" || fact.kind === "unreadable") {
      const resolved = toAbsPath(`${next}/${rest.join("/")}`);
      return resolved === null ? null : { resolved, exists: false, links };
    }
    if (fact.kind === "symlink") {
      links.push(next);
      if (links.length > MAX_LINKS || fact.target === undefined) return null;
      if (fact.target.startsWith("/")) at = ROOT;
      pending = [...fact.target.split("/"), ...rest];
      continue;
    }
    if (
      fact.kind !== "directory" &&
      rest.some((part) => part !== "" && part !== ".")
    ) {
      const resolved = toAbsPath(`${next}/${rest.join("/")}`);
      return resolved === null ? null : { resolved, exists: false, links };
    }
    at = next;
    pending = rest;
  }
  return { resolved: at, exists: true, links };
}
