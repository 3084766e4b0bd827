/**
 * Looks for repositories inside writable directories: first where git's own files say that there are submodules, then by a walk,
 * breadth first, that is bounded in time and entries and says where it was cut.
 *
 * Pure but for the reader that it is given. No link is followed and no other kind of file system entered: a walk must neither hang
 * on a dead server nor make an automounter work.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import {
  type AbsPath,
  childOf,
  isInside,
  nameOf,
  parentOf,
  resolvePath,
} from "../policy/path.ts";
import type { PathKind, Repositories } from "../policy/facts.ts";

/** What a search may cost. */
export interface SearchLimits {
  readonly timeMs: number;
  /** Names seen in all directories together. */
  readonly entries: number;
  readonly repositories: number;
  /** So many directories and names are seen even when the time is over: on a busy machine it may be over before the search begins. */
  readonly leastDirectories: number;
  readonly leastEntries: number;
}

/** A mount costs bubblewrap more the more there are, so the number is small. Choices of ours. */
export const SEARCH_LIMITS: SearchLimits = {
  timeMs: 5,
  entries: 50_000,
  repositories: 128,
  leastDirectories: 64,
  leastEntries: 2_000,
};

/** How the host is looked at. The seam for tests; see `repository_reader.ts` for the kernel's. */
export interface RepositoryReader {
  /** lstat(2), which starts no automounter. */
  readonly kindOf: (path: AbsPath) => PathKind;
  /** Whether the command could change its mode. */
  readonly isOurs: (path: AbsPath) => boolean;
  /**
   * Visits each name in a directory until `enough` says so, which is asked now and then.
   *
   * @returns whether it could be read
   */
  readonly read: (
    directory: AbsPath,
    visit: VisitName,
    enough: () => boolean,
  ) => boolean;
  /** The text of a small regular file, `null` for anything else. */
  readonly text: (file: AbsPath) => ByteString | null;
  /** Milliseconds since any fixed moment. */
  readonly now: () => number;
}

/** `kind` is `null` when the directory doesn't tell. Bytes are valid during the visit. */
export type VisitName = (
  buffer: Uint8Array,
  start: number,
  end: number,
  kind: PathKind | null,
) => void;

/**
 * Repositories below `roots`, the most important first.
 *
 * @param isClosed of a directory whose parent isn't: what can't be written, or must not be entered
 */
export function findRepositories(
  roots: readonly AbsPath[],
  isClosed: (directory: AbsPath) => boolean,
  reader: RepositoryReader,
  limits: SearchLimits = SEARCH_LIMITS,
): Repositories {
  const search: Search = {
    reader,
    limits,
    roots: new Set(roots),
    isClosed,
    deadline: reader.now() + limits.timeMs,
    entries: 0,
    directories: 0,
    found: new Set(),
    shut: new Set(),
    cut: null,
  };
  for (const root of roots) {
    for (const path of submodulesOf(search, root, root)) look(search, path);
  }
  for (const root of roots) walk(search, root);
  const { found, shut, cut } = search;
  return { found: [...found].sort(), shut: [...shut].sort(), cut };
}

interface Search {
  readonly reader: RepositoryReader;
  readonly limits: SearchLimits;
  readonly roots: ReadonlySet<AbsPath>;
  readonly isClosed: (directory: AbsPath) => boolean;
  readonly deadline: number;
  readonly found: Set<AbsPath>;
  readonly shut: Set<AbsPath>;
  entries: number;
  directories: number;
  cut: { readonly at: AbsPath; readonly why: string } | null;
}

/** Whether to stop; notes where that was. */
function isOver(search: Search, at: AbsPath): boolean {
  if (search.cut !== null) return true;
  const { limits } = search;
  const why = search.entries > limits.entries
    ? `more than ${limits.entries} names`
    : search.found.size + search.shut.size >= limits.repositories
    ? `more than ${limits.repositories} repositories`
    : isLate(search, search.deadline)
    ? `more than ${limits.timeMs} ms of looking`
    : null;
  if (why !== null) search.cut = { at, why };
  return why !== null;
}

function isLate(search: Search, deadline: number): boolean {
  const { entries, directories, limits, reader } = search;
  return (directories > limits.leastDirectories ||
    entries > limits.leastEntries) && reader.now() > deadline;
}

/** Breadth first: what lies near the root is what people work with. */
function walk(search: Search, root: AbsPath): void {
  const queue: AbsPath[] = [root];
  for (let next = 0; next < queue.length; next++) {
    const path = queue[next] as AbsPath;
    if (isOver(search, path)) return;
    if (path !== root && (search.roots.has(path) || search.isClosed(path))) {
      continue;
    }
    const seen = namesIn(search, path);
    if (!seen.readable) shutIn(search, path);
    // What can't be listed may be entered by name all the same.
    if (path !== root && (seen.hasGit || !seen.readable)) {
      look(search, path);
      for (const module of submodulesOf(search, path, root)) {
        look(search, module);
      }
    }
    for (const name of seen.directories) queue.push(childOf(path, name));
  }
}

/** Adds `path` if it is a repository. An empty `.git` is none: it may be the placeholder of another run, which takes it away. */
function look(search: Search, path: AbsPath): void {
  if (search.found.has(path) || search.roots.has(path)) return;
  search.directories++;
  const git = childOf(path, ".git");
  const kind = search.reader.kindOf(git);
  if (kind === "unreadable") shutIn(search, git);
  if (kind === "missing" || kind === "unreadable") return;
  if (kind === "directory" && !hasHead(search, git)) return;
  search.found.add(path);
}

/**
 * Notes the directory whose mode keeps us from `path`, if the command could open it up again: one run could shut it, the next one open
 * it and write the repositories that nobody has seen there. The search goes on, or a single such directory would end it for all.
 */
function shutIn(search: Search, path: AbsPath): void {
  const { reader, roots, shut } = search;
  let at = path;
  while (!roots.has(at) && reader.kindOf(at) === "unreadable") {
    at = parentOf(at);
  }
  if (roots.has(at)) search.cut ??= { at, why: "it can't be read" };
  else if (reader.kindOf(at) === "directory" && reader.isOurs(at)) shut.add(at);
}

function hasHead({ reader }: Search, git: AbsPath): boolean {
  const kind = reader.kindOf(childOf(git, "HEAD"));
  return kind !== "missing";
}

const DOT = 0x2e;

/** One directory's names. */
function namesIn(
  search: Search,
  path: AbsPath,
): {
  readonly readable: boolean;
  readonly hasGit: boolean;
  readonly directories: readonly ByteString[];
} {
  const directories: ByteString[] = [];
  let hasGit = false;
  search.directories++;
  const readable = search.reader.read(path, (buffer, start, end, kind) => {
    search.entries++;
    const isHidden = buffer[start] === DOT;
    if (!isHidden && kind !== "directory" && kind !== null) return;
    const name = Buffer.from(
      buffer.buffer,
      buffer.byteOffset + start,
      end - start,
    )
      .toString("latin1") as ByteString;
    if (name === ".git") hasGit = true;
    else if (kind === "directory" || kind === null) directories.push(name);
  }, () => isOver(search, path));
  return { readable, hasGit, directories };
}

/** Submodules that `.gitmodules` or `.git/modules` of a repository name, as far as they lie inside `root`, no link on the way. */
function* submodulesOf(
  search: Search,
  repository: AbsPath,
  root: AbsPath,
): Generator<AbsPath> {
  const { reader } = search;
  const named = new Set<AbsPath>();
  const text = reader.text(childOf(repository, ".gitmodules"));
  for (const path of valuesOf(text, "path")) {
    const module = resolvePath(repository, path);
    if (module !== null) named.add(module);
  }
  for (const path of workTrees(search, childOf(repository, ".git/modules"))) {
    named.add(path);
  }
  for (const path of named) {
    if (isOver(search, path)) return;
    if (path === repository || !isInside(path, { root })) continue;
    if (isOpen(search, path, root)) yield path;
  }
}

/** Whether a walk from `root` would come to `path`: no link on the way, nothing closed. */
function isOpen(search: Search, path: AbsPath, root: AbsPath): boolean {
  for (let at = path; at !== root; at = parentOf(at)) {
    if (search.isClosed(at)) return false;
    const kind = search.reader.kindOf(at);
    if (kind === "unreadable") shutIn(search, at);
    if (kind !== "directory") return false;
  }
  return true;
}

/** Where the git directories below `modules` have their work trees. Names of submodules may hold slashes. */
function* workTrees(search: Search, modules: AbsPath): Generator<AbsPath> {
  const { reader } = search;
  if (reader.kindOf(modules) !== "directory") return;
  const queue: AbsPath[] = [modules];
  for (let next = 0; next < queue.length; next++) {
    const path = queue[next] as AbsPath;
    if (isOver(search, path)) return;
    const isGit = path !== modules && nameOf(path) !== "modules" &&
      hasHead(search, path);
    if (isGit) {
      for (
        const value of valuesOf(
          reader.text(childOf(path, "config")),
          "worktree",
        )
      ) {
        const tree = resolvePath(path, value);
        if (tree !== null) yield tree;
      }
      const inner = childOf(path, "modules");
      if (reader.kindOf(inner) === "directory") queue.push(inner);
      continue;
    }
    for (const name of namesIn(search, path).directories) {
      queue.push(childOf(path, name));
    }
  }
}

/** The values of `key` in a git configuration, whatever section they stand in. */
export function valuesOf(
  text: ByteString | null,
  key: string,
): readonly string[] {
  if (text === null) return [];
  return text.split("\n").flatMap((line) => {
    const equals = line.indexOf("=");
    if (equals === -1 || line.slice(0, equals).trim().toLowerCase() !== key) {
      return [];
    }
    const value = line.slice(equals + 1).trim();
    const bare =
      value.startsWith('"') && value.endsWith('"') && value.length > 1
        ? value.slice(1, -1).replaceAll(/\\(["\\])/g, "$1")
        : value;
    return bare === "" ? [] : [bare];
  });
}
