/**
 * Finds what deny globs hide: one walk for all patterns below a directory.
 *
 * Effects: reads directories through a {@linkcode DirectoryReader}, by descriptor and never through a link, so that a directory that
 * is swapped for a link meanwhile is not entered. Hidden and ignored files count. Cost is bounded; beyond the bound the run is
 * refused, because a mask that was not looked for is a file left open.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { isAccepted, START, step } from "../policy/glob.ts";
import { type AbsPath, childOf, isInside } from "../policy/path.ts";
import { isMadeFresh, SYS } from "../policy/places.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import { EACCES, ELOOP, ENOENT, ENOTDIR, errnoText } from "../sys/abi.ts";
import type { GlobMatch, PathFacts, PathKind } from "../policy/facts.ts";
import {
  lastBytesOf,
  type Search,
  searchesByRoot,
  testFor,
  type Wanted,
  wantedBy,
} from "./glob_searches.ts";

/** Bounds of all walks of a run together. Choices of ours. */
export interface WalkLimits {
  readonly entries: number;
  readonly matches: number;
  readonly timeMs: number;
}

/** Two million entries take about a second, 50,000 masks about two with the bundled bubblewrap. */
export const WALK_LIMITS: WalkLimits = {
  entries: 2_000_000,
  matches: 50_000,
  timeMs: 10_000,
};

/** Each level keeps a descriptor open. Choice of ours. */
const MAX_WALK_DEPTH = 500;

/** How directories are read. The seam for tests; see `directory_reader.ts` for the kernel's. */
export interface DirectoryReader {
  /** Opens `name` in the open directory `parent`, or a path when that is `null`; a link is refused. The error is an errno. */
  readonly open: (
    parent: number | null,
    name: ByteString,
  ) => Result<number, number>;
  /**
   * Visits the entries, `.` and `..` left out: bytes `start` to `end` of `buffer`, valid during the visit. What is no directory and
   * has a last byte without a flag in `lastBytes` may be left out, but counts. `enough` is asked with the number of entries so far,
   * now and then and at the end; `true` ends the reading.
   *
   * @returns errno, 0 for success
   */
  readonly read: (
    directory: number,
    visit: VisitEntry,
    enough: (entries: number) => boolean,
    lastBytes: Uint8Array | null,
  ) => number;
  readonly close: (directory: number) => void;
  /** The kind of an entry whose directory doesn't tell. */
  readonly kindOf: (directory: number, name: ByteString) => PathKind;
  /** How many names a file has. */
  readonly linkCountOf: (directory: number, name: ByteString) => number;
  /** Whether `name` belongs to the caller, who could make it readable again. */
  readonly isOwn: (parent: number | null, name: ByteString) => boolean;
  /** Where a link leads in the end, `null` when nowhere. */
  readonly resolve: (
    link: AbsPath,
  ) => Pick<GlobMatch, "path" | "kind" | "linkCount"> | null;
  /** Milliseconds since any fixed moment. */
  readonly now: () => number;
}

/** `kind` is `null` when the directory doesn't tell. */
export type VisitEntry = (
  buffer: Uint8Array,
  start: number,
  end: number,
  kind: PathKind | null,
) => void;

/** Why a walk was given up: one line, no full stop. */
export interface GlobError {
  readonly kind: "glob";
  readonly pattern: ByteString;
  readonly message: string;
}

/**
 * Everything that the patterns hide, bytewise by path, each path once.
 *
 * What lies in a directory that matched is not listed: it is hidden with it. A link that matched is listed as its target.
 *
 * @param maxDepth levels below a pattern's prefix, 1 for its direct children; `null` for all
 */
export function findMatches(
  wanted: readonly Wanted[],
  maxDepth: number | null,
  reader: DirectoryReader,
  limits: WalkLimits = WALK_LIMITS,
): Result<readonly GlobMatch[], GlobError> {
  const walk: Walk = {
    reader,
    limits,
    deadline: reader.now() + limits.timeMs,
    entries: 0,
    matches: new Map(),
    lastBytes: null,
    error: null,
  };
  for (const [prefix, searches] of searchesByRoot(wanted, maxDepth)) {
    const opened = reader.open(null, prefix);
    if (!opened.ok) {
      const [first] = searches;
      if (first !== undefined) {
        closedDirectory(walk, null, prefix, prefix, first, opened.error);
      }
    } else {
      const states = searches.map(() => START);
      const root = { ...walk, lastBytes: lastBytesOf(searches) };
      walkDirectory(root, opened.value, prefix, searches, states, 1);
      walk.entries = root.entries;
      walk.error = root.error;
    }
    if (walk.error !== null) return fail(walk.error);
  }
  const found = [...walk.matches.values()];
  return ok(found.sort((a, b) => a.path < b.path ? -1 : 1));
}

/**
 * What the globs of `policy` hide on this host.
 *
 * Patterns that enforcement refuses anyhow (malformed, below the root, a prefix that loops) are left out: `validatePolicy` names
 * them.
 *
 * @param facts know each glob's prefix
 */
export function expandGlobs(
  policy: Policy,
  facts: PathFacts,
  reader: DirectoryReader,
): Result<readonly GlobMatch[], GlobError> {
  const wanted = wantedBy(policy, facts);
  return wanted.length === 0
    ? ok([])
    : findMatches(wanted, policy.globScanMaxDepth, reader);
}

interface Walk {
  readonly reader: DirectoryReader;
  readonly limits: WalkLimits;
  readonly deadline: number;
  readonly matches: Map<AbsPath, GlobMatch>;
  /** Of the patterns below the present root; see {@linkcode DirectoryReader.read}. */
  readonly lastBytes: Uint8Array | null;
  entries: number;
  error: GlobError | null;
}

interface SubDirectory {
  readonly name: ByteString;
  readonly states: readonly number[];
}

/** Reads `directory` (and closes it), then what is below. `depth` is that of its entries. */
function walkDirectory(
  walk: Walk,
  directory: number,
  path: AbsPath,
  searches: readonly Search[],
  states: readonly number[],
  depth: number,
): void {
  const below: SubDirectory[] = [];
  const tests = searches.map((search, index) =>
    testFor(search, states[index] ?? 0)
  );
  const [first] = searches;
  const before = walk.entries;
  const errno = walk.reader.read(directory, (buffer, start, end, kind) => {
    if (kind === "file" && !tests.some((test) => test(buffer, start, end))) {
      return;
    }
    if (walk.error !== null) return;
    const name = nameFrom(buffer, start, end);
    visit(walk, directory, path, name, kind, searches, states, depth, below);
  }, (entries) => {
    // One directory may hold more than all that is allowed.
    walk.entries = before + entries;
    if (first !== undefined) checkLimits(walk, first, path);
    return walk.error !== null;
  }, walk.lastBytes);
  if (errno !== 0 && first !== undefined) {
    const why = `"${toText(path)}" can't be read (${errnoText(errno)})`;
    giveUp(walk, first, why);
  }
  if (first !== undefined) {
    if (below.length > 0 && depth >= MAX_WALK_DEPTH) {
      giveUp(
        walk,
        first,
        `"${
          toText(path)
        }" lies ${MAX_WALK_DEPTH} levels deep, set glob_scan_max_depth or use a narrower prefix`,
      );
    }
  }
  for (const { name, states: inner } of below) {
    if (walk.error !== null) break;
    const inside = childOf(path, name);
    const opened = walk.reader.open(directory, name);
    if (opened.ok) {
      walkDirectory(walk, opened.value, inside, searches, inner, depth + 1);
      continue;
    }
    const search = searches.find((_, index) => inner[index] !== 0);
    if (search !== undefined) {
      closedDirectory(walk, directory, name, inside, search, opened.error);
    }
  }
  walk.reader.close(directory);
}

function visit(
  walk: Walk,
  directory: number,
  path: AbsPath,
  name: ByteString,
  told: PathKind | null,
  searches: readonly Search[],
  states: readonly number[],
  depth: number,
  below: SubDirectory[],
): void {
  const next = searches.map(({ components, maxDepth }, index) => {
    const state = states[index] ?? 0;
    return state === 0 || depth > maxDepth ? 0 : step(components, state, name);
  });
  const hit = searches.find(({ components }, index) =>
    isAccepted(components, next[index] ?? 0)
  );
  if (hit === undefined && next.every((state) => state === 0)) return;
  const kind = told ?? walk.reader.kindOf(directory, name);
  if (hit !== undefined) {
    addMatch(
      walk,
      hit,
      childOf(path, name),
      kind,
      () => walk.reader.linkCountOf(directory, name),
    );
    // Hidden whole, with all that is in it; the target of a link is elsewhere.
    return;
  }
  if (kind !== "directory") return;
  const inner = next.map((state, index) =>
    depth < (searches[index]?.maxDepth ?? 0) ? state : 0
  );
  if (inner.some((state) => state !== 0)) below.push({ name, states: inner });
}

function addMatch(
  walk: Walk,
  search: Search,
  at: AbsPath,
  kind: PathKind,
  linkCount: () => number,
): void {
  const { pattern } = search.wanted.deny;
  if (kind === "missing" || kind === "unreadable") return;
  if (kind !== "symlink") {
    const links = kind === "file" ? linkCount() : 1;
    walk.matches.set(at, {
      path: at,
      kind,
      pattern,
      ...(links > 1 ? { linkCount: links } : {}),
    });
  } else {
    const target = walk.reader.resolve(at);
    // What is made afresh in the sandbox holds nothing of the host's to hide.
    if (target === null || isMadeFresh(target.path)) return;
    if (isInside(target.path, { root: SYS })) return;
    if (isInside(search.wanted.prefix, { root: target.path })) {
      giveUp(
        walk,
        search,
        `"${toText(at)}" matches and is a link to "${
          toText(target.path)
        }", which holds the pattern's own directory`,
      );
      return;
    }
    if (!walk.matches.has(target.path)) {
      walk.matches.set(target.path, { ...target, pattern, via: at });
    }
  }
  if (walk.matches.size > walk.limits.matches) {
    giveUp(
      walk,
      search,
      `more than ${walk.limits.matches} matches, deny a directory that holds them instead`,
    );
  }
}

function nameFrom(
  buffer: Uint8Array,
  start: number,
  end: number,
): ByteString {
  return Buffer.from(buffer.buffer, buffer.byteOffset + start, end - start)
    .toString("latin1") as ByteString;
}

function checkLimits(walk: Walk, search: Search, path: AbsPath): void {
  const { limits } = walk;
  const why = walk.entries > limits.entries
    ? `more than ${limits.entries} entries`
    : walk.reader.now() > walk.deadline
    ? `more than ${limits.timeMs} ms of looking`
    : null;
  if (why === null) return;
  giveUp(
    walk,
    search,
    `${why} by "${
      toText(path)
    }", set glob_scan_max_depth or use a narrower prefix`,
  );
}

/**
 * A directory that can't be opened. One that is gone, or became a link, is not there to be searched; one that the command can't
 * open either holds nothing it could read. One of the caller's own could be opened again by the command: that is refused.
 */
function closedDirectory(
  walk: Walk,
  parent: number | null,
  name: ByteString,
  path: AbsPath,
  search: Search,
  errno: number,
): void {
  if (errno === ENOENT || errno === ENOTDIR || errno === ELOOP) return;
  if (errno === EACCES && !walk.reader.isOwn(parent, name)) return;
  giveUp(
    walk,
    search,
    `directory "${toText(path)}" can't be opened (${
      errno === EACCES ? "its mode forbids it" : errnoText(errno)
    })`,
  );
}

function giveUp(walk: Walk, { wanted }: Search, why: string): void {
  const { pattern } = wanted.deny;
  walk.error ??= {
    kind: "glob",
    pattern,
    message: `Cannot expand glob "${toText(pattern)}": ${why}`,
  };
}
