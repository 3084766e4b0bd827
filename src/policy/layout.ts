/**
 * The mount points that make a policy true on one host, and those of them that writing depends on.
 *
 * Pure. One list is computed once; `access.ts` answers from it and the planner mounts it, so they can't disagree. A rule that
 * changes nothing where it stands (a read below a read) has no mount point. Where {@linkcode validatePolicy} fails the layout is
 * not to be used.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { PathFacts } from "./facts.ts";
import type { Decider, MountPoint, MountState } from "./decision.ts";
import { compileGlob } from "./glob.ts";
import {
  type AbsPath,
  ancestry,
  depthOf,
  isInside,
  nameOf,
  parentOf,
  ROOT,
} from "./path.ts";
import {
  DEV,
  DEV_SHM,
  isMadeFresh,
  type Place,
  placeOf,
  PROC,
} from "./places.ts";
import { type GlobDeny, METADATA_NAMES, type Policy } from "./policy.ts";
import { nearest, rule, ruledPaths, type Rules, rulesOf } from "./rules.ts";

/** Everything that enforcement does about files. */
export interface Layout {
  readonly rules: Rules;
  /** The tree depth first, siblings bytewise: what is below a mount point follows it at once. The first is the root. */
  readonly mountPoints: readonly MountPoint[];
  readonly byPath: ReadonlyMap<AbsPath, MountPoint>;
  /** Links crossed by entries, with canonical parents: an empty root needs them remade. */
  readonly links: readonly AbsPath[];
}

/** The layout of `policy` on the host that `facts` describe; the same objects give the same layout without computing it again. */
export function layoutOf(policy: Policy, facts: PathFacts): Layout {
  const known = LAYOUTS.get(policy)?.get(facts);
  if (known !== undefined) return known;
  const layout = computeLayout(policy, facts);
  let byFacts = LAYOUTS.get(policy);
  if (byFacts === undefined) LAYOUTS.set(policy, byFacts = new WeakMap());
  byFacts.set(facts, layout);
  return layout;
}

/** The mount point that speaks for `path`, canonical: its own or the nearest above. */
export function mountOf(layout: Layout, path: AbsPath): MountPoint {
  const found = nearest(layout.byPath, path);
  if (found === null) throw new Error("a layout without a root");
  return found;
}

/** Whether `path`, canonical and inside a masked directory, is the way to something visible. */
export function leadsToVisible(layout: Layout, path: AbsPath): boolean {
  return layout.mountPoints.some((point) =>
    point.state !== "masked" && point.path !== path &&
    isInside(point.path, { root: path })
  );
}

/** Mount points through which files can be changed, pins left out. */
export function writableRoots(layout: Layout): readonly MountPoint[] {
  return layout.mountPoints.filter((point) =>
    point.state === "writable" && point.decider.kind !== "pin"
  );
}

/** Mount points that take writing away directly below `root`, metadata included. */
export function carveOuts(
  layout: Layout,
  root: MountPoint,
): readonly MountPoint[] {
  return layout.mountPoints.filter((point) =>
    (point.state === "read_only" || point.state === "masked") &&
    isInside(point.path, { root: root.path }) &&
    writableAbove(layout, point)?.path === root.path
  );
}

const LAYOUTS = new WeakMap<Policy, WeakMap<PathFacts, Layout>>();

type Draft = {
  readonly path: AbsPath;
  readonly state: MountState;
  readonly decider: Decider;
  readonly place: Place;
  readonly placeholder: "directory" | "file" | null;
};

function computeLayout(policy: Policy, facts: PathFacts): Layout {
  if (policy.enforcement !== "managed") return unconfined();
  const rules = rulesOf(policy, facts);
  const drafts = new Map<AbsPath, Draft>();
  for (const path of candidates(rules)) addDraft(path, rules, facts, drafts);
  addPins(rules, facts, drafts);
  const sorted = sortedBy([...drafts.values()], treeKey);
  const ways = waysToVisible(drafts);
  const above = new Map<AbsPath, AbsPath>();
  const mountPoints = sorted.map((draft) => finish(draft, drafts, ways, above));
  const byPath = new Map(mountPoints.map((point) => [point.path, point]));
  return { rules, mountPoints, byPath, links: crossedLinks(rules) };
}

function unconfined(): Layout {
  const none = new Map<never, never>();
  const root: MountPoint = {
    path: ROOT,
    state: "writable",
    decider: { kind: "unconfined", path: ROOT },
    node: "directory",
    traversable: false,
    parent: null,
  };
  const rules: Rules = {
    entries: none,
    globs: none,
    caps: none,
    own: none,
    hidden: none,
    fullWrite: true,
    looping: [],
  };
  return {
    rules,
    mountPoints: [root],
    byPath: new Map([[ROOT, root]]),
    links: [],
  };
}

/** Every path where something may change, outermost first. */
function candidates(rules: Rules): readonly AbsPath[] {
  const all = new Set([ROOT, PROC, DEV, ...ruledPaths(rules)]);
  return sortedBy([...all], depthKey);
}

/** Each key is made once: there may be as many paths as a glob has matches. */
function sortedBy<T>(all: readonly T[], keyOf: (one: T) => string): T[] {
  const keyed = all.map((one) => ({ one, key: keyOf(one) }));
  keyed.sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  return keyed.map(({ one }) => one);
}

/** Outermost first, then bytewise. */
function depthKey(path: AbsPath): string {
  return String.fromCharCode(depthOf(path)) + path;
}

/** Depth first: a masked directory can be closed as soon as the next path isn't in it. The root has the shortest key. */
function treeKey({ path }: Draft): string {
  return path === ROOT ? "" : path.replaceAll("/", "\0");
}

function addDraft(
  path: AbsPath,
  rules: Rules,
  facts: PathFacts,
  drafts: Map<AbsPath, Draft>,
): void {
  if (path === PROC || path === DEV) return addFresh(path, drafts);
  if (isMadeFresh(path) && !isInside(path, { root: DEV_SHM })) return;
  const { state, decider } = rule(rules, path);
  if (path === ROOT) {
    const place = directoryPlace(ROOT);
    drafts.set(ROOT, { path, state, decider, place, placeholder: null });
    return;
  }
  const place = placeFor(path, rules, facts);
  if (place === null) return;
  const missing = place.node === "missing";
  const at = missing ? place.firstMissing : path;
  const around = nearest(drafts, parentOf(at))?.state;
  if (missing) {
    if (around !== "writable" || drafts.has(at)) return;
    if (state !== "read_only" && state !== "masked") return;
    // What is missing of our own is a folder: a file in its place would look odd to whoever meets it.
    const isFolder = METADATA_NAMES.includes(nameOf(at)) ||
      decider.kind === "own";
    const placeholder = isFolder ? "directory" : "file";
    const closed = at === path ? state : "read_only";
    drafts.set(at, { path: at, state: closed, decider, place, placeholder });
    return;
  }
  if (state === around && state !== "private_tmp") return;
  // What an empty directory doesn't hold needs no mask.
  if (around === "private_tmp" && state === "masked" && path !== DEV_SHM) {
    return;
  }
  drafts.set(path, { path, state, decider, place, placeholder: null });
}

/** `/proc` and `/dev` are in every view, whatever is around them. */
function addFresh(path: AbsPath, drafts: Map<AbsPath, Draft>): void {
  const state = path === DEV ? "private_tmp" : "read_only";
  const place = directoryPlace(path);
  const decider = { kind: "system", path } as const;
  drafts.set(path, { path, state, decider, place, placeholder: null });
}

/** Where a rule's path lies; a glob match brings its own answer, as nobody asked about it beforehand. */
function placeFor(
  path: AbsPath,
  rules: Rules,
  facts: PathFacts,
): Place | null {
  const glob = rules.globs.get(path);
  if (glob?.kind === "glob") {
    const kind = glob.match.kind;
    const node = kind === "directory" ? "directory" : "file";
    return { ...directoryPlace(path), kind, node };
  }
  return placeOf(facts, path);
}

function directoryPlace(path: AbsPath): Place {
  return {
    path,
    node: "directory",
    kind: "directory",
    links: [],
    firstMissing: path,
    obstacle: null,
  };
}

/**
 * Renaming a directory above a mask takes the mask along, but the next run would not find the path it was told to deny. So each
 * directory between a writable root and a carve-out that was named literally becomes a mount point.
 */
function addPins(
  rules: Rules,
  facts: PathFacts,
  drafts: Map<AbsPath, Draft>,
): void {
  const globs: PatternCache = new Map();
  const done = new Map<GlobDeny, Set<AbsPath>>();
  for (const draft of [...drafts.values()]) {
    if (draft.state !== "read_only" && draft.state !== "masked") continue;
    if (draft.path === ROOT) continue;
    // Matches of one pattern in one directory bring the same pins.
    if (isPlainMatch(draft, rules) && isKnown(draft, done)) continue;
    const around = nearest(drafts, parentOf(draft.path));
    if (around?.state !== "writable") continue;
    for (const path of pinnable(draft, rules, facts, globs)) {
      if (drafts.has(path) || !isInside(path, { root: around.path })) continue;
      if (nearest(drafts, path)?.state !== "writable") continue;
      const decider = { kind: "pin", path, guards: draft.path } as const;
      const place = directoryPlace(path);
      const pin = { path, state: "writable", decider, place } as const;
      drafts.set(path, { ...pin, placeholder: null });
    }
  }
}

/** Of a pattern that has many matches, what is the same for each. */
type PatternCache = Map<ByteString, {
  readonly prefix: AbsPath;
  readonly fixed: ReturnType<typeof fixedDirectories>;
}>;

/** A match of a pattern that nothing but the pattern names. */
function isPlainMatch(
  { path, decider }: Draft,
  rules: Rules,
): boolean {
  return decider.kind === "glob" && decider.match.via === undefined &&
    !isLiteral(path, rules);
}

/** A literal entry for the same path asks for more than a pattern. */
function isLiteral(path: AbsPath, rules: Rules): boolean {
  return rules.entries.has(path) || rules.hidden.has(path);
}

/** Whether a match of the same pattern in the same directory was there before. */
function isKnown(
  { path, decider }: Draft,
  done: Map<GlobDeny, Set<AbsPath>>,
): boolean {
  if (decider.kind !== "glob") return false;
  let directories = done.get(decider.glob);
  if (directories === undefined) {
    done.set(decider.glob, directories = new Set());
  }
  const directory = parentOf(path);
  if (directories.has(directory)) return true;
  directories.add(directory);
  return false;
}

/** The directories above a carve-out whose names matter for finding it again. */
function pinnable(
  draft: Draft,
  rules: Rules,
  facts: PathFacts,
  globs: PatternCache,
): readonly AbsPath[] {
  const above = ancestry(parentOf(draft.path)).slice(1);
  const literal = isLiteral(draft.path, rules);
  const { decider } = draft;
  // The next run looks for it again and finds it wherever it is; pins would forbid renames in all of the tree.
  if (decider.kind === "nested_repository" && !literal) return [];
  if (decider.kind === "shut_directory" && !literal) return [];
  if (decider.kind !== "glob" || literal) return above;
  if (decider.match.via !== undefined) return above;
  const { pattern } = decider.glob;
  let known = globs.get(pattern);
  if (known === undefined) {
    const prefix = placeOf(facts, decider.glob.prefix)?.path ?? ROOT;
    known = { prefix, fixed: fixedDirectories(pattern) };
    globs.set(pattern, known);
  }
  const { prefix, fixed } = known;
  // Directories of the prefix count 0 and less below it: they are plain text, and fixed.
  return above.filter((_, index) =>
    fixed(index + 1 - depthOf(prefix), depthOf(draft.path) - index - 2)
  );
}

/**
 * Which directories between a pattern's prefix and a match stand for a component of their own: renaming one changes whether the
 * pattern finds the match. Those that a `**` swallowed are found again anywhere.
 *
 * @returns a predicate over (components below the prefix, counted from 1; directories between it and the match)
 */
function fixedDirectories(
  pattern: ByteString,
): (below: number, aboveMatch: number) => boolean {
  const glob = compileGlob(pattern);
  if (!glob.ok) return () => true;
  const plain = glob.value.alternatives.map((components) => {
    const kinds = components.map((component) => component.kind);
    const first = kinds.indexOf("deep");
    const after = kinds.length - 1 - kinds.lastIndexOf("deep");
    return { first, after };
  });
  return (below, aboveMatch) =>
    plain.some(({ first, after }) =>
      first === -1 || below <= first || aboveMatch < after - 1
    );
}

function finish(
  draft: Draft,
  drafts: ReadonlyMap<AbsPath, Draft>,
  ways: ReadonlySet<AbsPath>,
  above: Map<AbsPath, AbsPath>,
): MountPoint {
  const { path, state, decider, place, placeholder } = draft;
  const traversable = state === "masked" && placeholder === null &&
    place.node === "directory" && ways.has(path);
  const parent = path === ROOT ? null : nearestAbove(path, drafts, above);
  const point = { path, state, decider, traversable, parent };
  return placeholder === null
    ? { ...point, node: place.node }
    : { ...point, node: "missing", placeholder };
}

/** The mount point above; `known` has it for each directory that was asked about. */
function nearestAbove(
  path: AbsPath,
  drafts: ReadonlyMap<AbsPath, Draft>,
  known: Map<AbsPath, AbsPath>,
): AbsPath {
  const directory = parentOf(path);
  let above = known.get(directory);
  if (above === undefined) {
    above = nearest(drafts, directory)?.path ?? ROOT;
    known.set(directory, above);
  }
  return above;
}

/** Every directory above something that is not masked. */
function waysToVisible(
  drafts: ReadonlyMap<AbsPath, Draft>,
): ReadonlySet<AbsPath> {
  const ways = new Set<AbsPath>();
  for (const { path, state } of drafts.values()) {
    if (state === "masked") continue;
    for (let at = path; at !== ROOT && !ways.has(parentOf(at));) {
      at = parentOf(at);
      ways.add(at);
    }
  }
  return ways;
}

function crossedLinks(rules: Rules): readonly AbsPath[] {
  const links = new Set<AbsPath>();
  for (const entries of rules.entries.values()) {
    for (const { place } of entries) {
      for (const link of place.links) links.add(link);
    }
  }
  return sortedBy([...links], depthKey);
}

/** The writable root whose files `point` takes away: the nearest mount point above that isn't a pin, if it is writable. */
function writableAbove(layout: Layout, point: MountPoint): MountPoint | null {
  for (let at = point.parent; at !== null;) {
    const above = layout.byPath.get(at);
    if (above === undefined || above.state !== "writable") return null;
    if (above.decider.kind !== "pin") return above;
    at = above.parent;
  }
  return null;
}
