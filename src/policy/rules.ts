/**
 * Precedence: which of the rules about a path decides.
 *
 * Pure. Everything here speaks of canonical paths: a link is followed when a rule is made, so that one file has one answer however
 * it is spelled. In order of strength:
 *
 * 1. a glob match at the path or above hides it, whatever a deeper entry says;
 * 2. our own hidden folders likewise;
 * 3. the entry with most components at the path or above; among equals deny, then write, then read; no entry is a deny;
 * 4. if that was a write: our own files stay read-only, always;
 * 5. and protected metadata and git's targets stay read-only, unless the entry is at their path or below.
 *
 * @module
 */
import type { GlobMatch, PathFacts } from "./facts.ts";
import type { Decider, MountState } from "./decision.ts";
import { gitTargets } from "./git_pointers.ts";
import {
  type AbsPath,
  childOf,
  depthOf,
  isInside,
  nameOf,
  parentOf,
  ROOT,
} from "./path.ts";
import {
  isMadeFresh,
  type Place,
  placeOf,
  PLATFORM_DIRECTORIES,
  SYS,
  TMP,
} from "./places.ts";
import {
  type GlobDeny,
  type Grant,
  METADATA_NAMES,
  type Policy,
} from "./policy.ts";

/** One entry, placed. `private` is the run's own temporary directory. */
export interface Rule {
  readonly access: "read" | "write" | "deny" | "private";
  readonly decider: Decider;
  readonly place: Place;
}

/** All rules of a policy on one host, by canonical path. */
export interface Rules {
  /** Entries, the strongest first. */
  readonly entries: ReadonlyMap<AbsPath, readonly Rule[]>;
  readonly globs: ReadonlyMap<AbsPath, Decider>;
  /** Metadata and git's targets: they cap a write that comes from above. */
  readonly caps: ReadonlyMap<AbsPath, Decider>;
  /** Our own files and `/sys`: they cap every write. */
  readonly own: ReadonlyMap<AbsPath, Decider>;
  readonly hidden: ReadonlyMap<AbsPath, Decider>;
  /** Everything may be written but {@linkcode own}; metadata isn't protected then. */
  readonly fullWrite: boolean;
  /** Entries whose links loop: enforcement must be refused. */
  readonly looping: readonly Grant[];
}

/** What holds at a path and why. */
export interface Ruling {
  readonly state: MountState;
  readonly decider: Decider;
}

/** Places every entry of `policy`, and adds the rules that hold without one. */
export function rulesOf(policy: Policy, facts: PathFacts): Rules {
  const looping: Grant[] = [];
  const placed = placeGrants(policy, facts, looping);
  const fullWrite = isFullWrite(policy, placed);
  const entries = new Map<AbsPath, Rule[]>();
  for (const rule of placed) addEntry(entries, rule);
  addPlatform(policy, facts, entries);
  addPrivateTmp(policy, facts, entries);
  hideSockets(policy, facts, entries);
  for (const rules of entries.values()) {
    rules.sort((a, b) => STRENGTH[b.access] - STRENGTH[a.access]);
  }
  const rules = {
    entries,
    globs: new Map<AbsPath, Decider>(),
    caps: new Map<AbsPath, Decider>(),
    own: new Map<AbsPath, Decider>(),
    hidden: new Map<AbsPath, Decider>(),
    fullWrite,
    looping,
  };
  addOwn(facts, rules);
  addGlobs(policy, facts, rules);
  if (!fullWrite) {
    addCaps(facts, rules);
    addNested(facts, rules);
  }
  openSockets(policy, facts, rules);
  return rules;
}

/** What holds at `path`, canonical. */
export function rule(rules: Rules, path: AbsPath): Ruling {
  const glob = nearest(rules.globs, path);
  if (glob !== null) return { state: "masked", decider: glob };
  const hidden = nearest(rules.hidden, path);
  if (hidden !== null) return { state: "masked", decider: hidden };
  const entry = nearest(rules.entries, path)?.[0];
  if (entry === undefined) {
    return { state: "masked", decider: { kind: "no_entry", path: ROOT } };
  }
  const { access, decider } = entry;
  if (access === "deny") return { state: "masked", decider };
  if (access === "read") return { state: "read_only", decider };
  if (access === "private") return { state: "private_tmp", decider };
  const own = nearest(rules.own, path);
  if (own !== null) return { state: "read_only", decider: own };
  const cap = nearest(rules.caps, path);
  if (cap !== null && depthOf(cap.path) > depthOf(decider.path)) {
    return { state: "read_only", decider: cap };
  }
  return { state: "writable", decider };
}

/** Every rule at `path` or above that did not decide, outermost first. */
export function losers(
  rules: Rules,
  path: AbsPath,
  winner: Decider,
): readonly Decider[] {
  const chain: Decider[] = [];
  for (let at = path;; at = parentOf(at)) {
    const here = [
      rules.globs.get(at),
      rules.hidden.get(at),
      ...(rules.entries.get(at) ?? []).map((entry) => entry.decider),
      rules.own.get(at),
      rules.caps.get(at),
    ];
    for (const decider of here) {
      if (decider !== undefined && decider !== winner) chain.push(decider);
    }
    if (at === ROOT) return chain.reverse();
  }
}

/** The value at `path` or at the nearest place above that has one. */
export function nearest<T>(
  map: ReadonlyMap<AbsPath, T>,
  path: AbsPath,
): T | null {
  if (map.size === 0) return null;
  for (let at = path;; at = parentOf(at)) {
    const value = map.get(at);
    if (value !== undefined) return value;
    if (at === ROOT) return null;
  }
}

/** Private wins over everything but a deny: a run that asked for its own `/tmp` never sees the shared one. */
const STRENGTH = { read: 0, write: 1, private: 2, deny: 3 } as const;

function placeGrants(
  policy: Policy,
  facts: PathFacts,
  looping: Grant[],
): Rule[] {
  const rules: Rule[] = [];
  const grants = policy.unrestricted ? [UNRESTRICTED] : policy.grants;
  for (const grant of grants) {
    const place = placeOf(facts, grant.path);
    if (place === null) {
      looping.push(grant);
      continue;
    }
    if (grant.skipIfMissing === true && place.node === "missing") continue;
    if (grant.symbol === ":slash_tmp" && place.node !== "directory") continue;
    const decider = { kind: "grant", path: place.path, grant } as const;
    rules.push({ access: grant.access, decider, place });
  }
  return rules;
}

const UNRESTRICTED: Grant = {
  path: ROOT,
  access: "write",
  symbol: ":root",
  origin: { file: null, key: "file_system.type" },
};

/**
 * Whether nothing is narrowed: the token `:root` (not the path `/`) is writable, no glob and no deny exists, and each read entry
 * has a write entry for the same place.
 */
function isFullWrite(policy: Policy, placed: readonly Rule[]): boolean {
  if (policy.unrestricted) return true;
  if (policy.globs.length > 0 || policy.options.tmp === "private") return false;
  const written = new Set<AbsPath>();
  let root = false;
  for (const { access, decider, place } of placed) {
    if (access === "deny") return false;
    if (access !== "write" || decider.kind !== "grant") continue;
    written.add(place.path);
    if (decider.grant.symbol === ":root") root = true;
  }
  return root && placed.every((rule) => written.has(rule.place.path));
}

function addEntry(entries: Map<AbsPath, Rule[]>, rule: Rule): void {
  const same = entries.get(rule.place.path);
  if (same === undefined) entries.set(rule.place.path, [rule]);
  else same.push(rule);
}

/** `:minimal` counts only where the root can't be read. */
function addPlatform(
  policy: Policy,
  facts: PathFacts,
  entries: Map<AbsPath, Rule[]>,
): void {
  if (!policy.minimal) return;
  const root = entries.get(ROOT);
  const denied = root?.some((rule) => rule.access === "deny") ?? true;
  if (!denied) return;
  for (const path of PLATFORM_DIRECTORIES) {
    const place = placeOf(facts, path);
    if (place === null || place.node === "missing") continue;
    const decider = { kind: "platform", path: place.path } as const;
    addEntry(entries, { access: "read", decider, place });
  }
}

function addPrivateTmp(
  policy: Policy,
  facts: PathFacts,
  entries: Map<AbsPath, Rule[]>,
): void {
  if (policy.options.tmp !== "private") return;
  for (const path of privateRoots(policy)) {
    const place = placeOf(facts, path);
    if (place === null || place.node !== "directory") continue;
    const decider = { kind: "private_tmp", path: place.path } as const;
    addEntry(entries, { access: "private", decider, place });
  }
}

/** Sockets of daemons are denied like a path of that name: what is granted deeper is seen, and `unix_sockets` leaves them out. */
function hideSockets(
  policy: Policy,
  facts: PathFacts,
  entries: Map<AbsPath, Rule[]>,
): void {
  const { sockets = [] } = facts;
  if (sockets.length === 0) return;
  const opened = openedPlaces(policy, facts);
  for (const { path, node, daemon } of sockets) {
    if (opened.some((place) => isInside(path, { root: place.path }))) continue;
    // Who works in a runtime directory, or grants it, sees it: the known names in it are hidden one by one.
    const isUsed = node === "private_directory" &&
      (isInside(policy.cwd, { root: path }) ||
        entries.get(path)?.some(({ access }) => access !== "deny") === true);
    const place = isUsed ? null : placeOf(facts, path);
    if (place === null || place.node === "missing") continue;
    const decider = { kind: "socket", path, daemon, opened: false } as const;
    addEntry(entries, { access: "deny", decider, place });
  }
}

/** What `unix_sockets` opens and something around would hide: an empty root, a private `/tmp`, a hidden directory. */
function openSockets(policy: Policy, facts: PathFacts, rules: Rules): void {
  if (facts.sockets === undefined || policy.network !== "host") return;
  for (const place of openedPlaces(policy, facts)) {
    const { path } = place;
    if (isMadeFresh(path) || rules.entries.has(path)) continue;
    const { state } = rule(rules, path);
    if (state === "read_only" || state === "writable") continue;
    const decider = {
      kind: "socket",
      path,
      daemon: "a daemon",
      opened: true,
    } as const;
    addEntry(rules.entries as Map<AbsPath, Rule[]>, {
      access: "read",
      decider,
      place,
    });
  }
}

function openedPlaces(policy: Policy, facts: PathFacts): readonly Place[] {
  return policy.options.unixSockets.flatMap((path) => {
    const place = placeOf(facts, path);
    return place === null || place.node === "missing" ? [] : [place];
  });
}

/** `/tmp`, and `$TMPDIR` where an entry names it. */
export function privateRoots(policy: Policy): readonly AbsPath[] {
  const named = policy.grants.filter((grant) => grant.symbol === ":tmpdir");
  return [...new Set([TMP, ...named.map((grant) => grant.path)])];
}

type Growing = {
  readonly [K in "globs" | "caps" | "own" | "hidden"]: Map<AbsPath, Decider>;
};

function addOwn(facts: PathFacts, rules: Growing): void {
  rules.own.set(SYS, { kind: "system", path: SYS });
  for (const spelled of facts.own.readOnly) {
    const path = placeOf(facts, spelled)?.path ?? spelled;
    rules.own.set(path, { kind: "own", path, access: "read_only" });
  }
  for (const spelled of facts.own.hidden) {
    const path = placeOf(facts, spelled)?.path ?? spelled;
    rules.hidden.set(path, { kind: "own", path, access: "hidden" });
  }
}

/** A match that lies in a private temporary directory is not in the view. */
function addGlobs(
  policy: Policy,
  facts: PathFacts,
  rules: Rules & Growing,
): void {
  if (facts.globMatches.length === 0) return;
  const byPattern = new Map<string, GlobDeny>();
  for (const glob of policy.globs) byPattern.set(glob.pattern, glob);
  const isPrivate = policy.options.tmp === "private";
  const found: [AbsPath, Decider][] = [];
  for (const match of facts.globMatches) {
    const glob = byPattern.get(match.pattern);
    if (glob === undefined) {
      throw new Error(`a match of ${match.pattern}, which nobody denied`);
    }
    if (isPrivate && rule(rules, match.path).state === "private_tmp") continue;
    found.push([match.path, globDecider(glob, match)]);
  }
  for (const [path, decider] of found) {
    if (!rules.globs.has(path)) rules.globs.set(path, decider);
  }
}

function globDecider(glob: GlobDeny, match: GlobMatch): Decider {
  return { kind: "glob", path: match.path, glob, match };
}

/** Protected metadata of every writable root, and the git directories that its pointers lead to. */
function addCaps(facts: PathFacts, rules: Rules & Growing): void {
  for (const root of writableRootPaths(rules)) {
    // Inside .git, .agents or .codex, opened by an entry of its own, these names mean nothing.
    if (METADATA_NAMES.includes(nameOf(root))) continue;
    for (const name of METADATA_NAMES) {
      const path = childOf(root, name);
      rules.caps.set(path, { kind: "metadata", path, root, name });
    }
    for (const [pointer, target] of gitTargets(facts, root)) {
      const place = placeOf(facts, target);
      // What loops is refused. What is missing must not be made: git would find it.
      if (place === null) continue;
      // A metadata name is the better reason.
      if (rules.caps.has(place.path)) continue;
      const path = place.path;
      rules.caps.set(path, { kind: "git_pointer", path, pointer });
    }
  }
}

/**
 * What exists of them in a repository inside a writable directory, and the directories in which nobody could look for one. Best effort: what is missing there may be made, as a whole new
 * repository may be, and a link in the way is no reason to refuse a run.
 */
function addNested(facts: PathFacts, rules: Rules & Growing): void {
  for (const repository of facts.repositories?.found ?? []) {
    const names = METADATA_NAMES.map((name) => childOf(repository, name));
    const targets = gitTargets(facts, repository).map(([, target]) => target);
    for (const spelled of [...names, ...targets]) {
      const place = placeOf(facts, spelled);
      if (place === null || place.node === "missing") continue;
      const { path } = place;
      if (rules.caps.has(path)) continue;
      rules.caps.set(path, { kind: "nested_repository", path, repository });
    }
  }
  for (const path of facts.repositories?.shut ?? []) {
    if (rules.caps.has(path)) continue;
    rules.caps.set(path, { kind: "shut_directory", path });
  }
}

/** Every path that a rule stands at; some more than once. */
export function ruledPaths(rules: Rules): readonly AbsPath[] {
  const { entries, globs, caps, own, hidden } = rules;
  return [entries, globs, caps, own, hidden].flatMap((map) => [...map.keys()]);
}

/** Canonical directories that an entry of their own makes writable. */
export function writableRootPaths(rules: Rules): readonly AbsPath[] {
  const roots: AbsPath[] = [];
  for (const [path, [strongest]] of rules.entries) {
    if (strongest?.access !== "write") continue;
    if (strongest.place.node !== "directory") continue;
    if (rule(rules, path).state === "writable") roots.push(path);
  }
  return roots;
}
