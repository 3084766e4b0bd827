/**
 * Where repositories are looked for in one run: in its writable directories, the working directory's first.
 *
 * Effects: those of the reader.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { type AbsPath, childOf, isInside } from "../policy/path.ts";
import { DEV, PROC, SYS } from "../policy/places.ts";
import type { Policy } from "../policy/policy.ts";
import {
  rule,
  ruledPaths,
  type Rules,
  rulesOf,
  writableRootPaths,
} from "../policy/rules.ts";
import type { PathFacts, Repositories } from "../policy/facts.ts";
import { lstat } from "../sys/calls.ts";
import { findRepositories } from "./repositories.ts";
import {
  foreignMountPoints,
  kernelRepositoryReader,
} from "./repository_reader.ts";

/** Repositories inside the writable directories of `policy`; `null` where all may be written anyhow. */
export function searchRepositories(
  policy: Policy,
  facts: PathFacts,
  euid: number,
): Repositories | null {
  return plannedSearch(policy, facts, euid)?.() ?? null;
}

/** The search with everything decided that needs no look at the directories; `null` where all may be written anyhow. */
function plannedSearch(
  policy: Policy,
  facts: PathFacts,
  euid: number,
): (() => Repositories) | null {
  const rules = rulesOf(policy, facts);
  if (rules.fullWrite) return null;
  // Temporary folders are large, and what lies there comes and goes while a run starts.
  const roots = writableRootPaths(rules).filter((path) =>
    !isTemporary(rules, path)
  );
  const own = roots.filter((root) => isInside(policy.cwd, { root }));
  const others = roots.filter((root) => !own.includes(root));
  const isClosed = closedPlaces(rules);
  const reader = kernelRepositoryReader(euid);
  return () => findRepositories([...own, ...others], isClosed, reader);
}

/** Where a rule takes writing away, and where other file systems begin that may hang. */
export function closedPlaces(
  rules: Rules,
  mountPoints: () => ReadonlySet<AbsPath> = foreignMountPoints,
): (directory: AbsPath) => boolean {
  const closed = new Set<AbsPath>([PROC, DEV, SYS]);
  for (const path of ruledPaths(rules)) {
    if (rule(rules, path).state !== "writable") closed.add(path);
  }
  let foreign: ReadonlySet<AbsPath> | null = null;
  return (path) => closed.has(path) || (foreign ??= mountPoints()).has(path);
}

/** Whether only the symbols for temporary folders make `path` writable. */
function isTemporary(rules: Rules, path: AbsPath): boolean {
  const entries = rules.entries.get(path) ?? [];
  return entries.every(({ decider, access }) =>
    access !== "write" || decider.kind !== "grant" ||
    decider.grant.symbol === ":slash_tmp" || decider.grant.symbol === ":tmpdir"
  );
}

/** A `.git` whose status changed this much before a run can't be of that run, whatever a file system's clock is worth. */
const CLOCK_SLACK_S = 1;

/** More names than this make no line that anybody reads. */
const MAX_NAMED = 5;

/**
 * What looks, at the end of a run, for repositories that weren't there before it, and gives the line about them, `null` when there are
 * none. Made while somebody else is waited for: it costs more than the look in a small tree.
 *
 * @param startedMs when the run began, by the wall clock: it decides where the search before the run was cut
 */
export function appearedSearch(
  policy: Policy,
  before: PathFacts,
  startedMs: number,
  euid: number,
): () => string | null {
  const search = before.repositories === undefined
    ? null
    : plannedSearch(policy, before, euid);
  return () =>
    search === null
      ? null
      : appearedWarning(appearedIn(search().found, before, startedMs, euid));
}

function appearedWarning(appeared: readonly AbsPath[]): string | null {
  if (appeared.length === 0) return null;
  const named = appeared.slice(0, MAX_NAMED).map((path) => `"${toText(path)}"`);
  const rest = appeared.length - named.length;
  return `repositories appeared during the run: ${named.join(", ")}${
    rest === 0 ? "" : ` and ${rest} more`
  }; git obeys their hooks and settings when you use it there`;
}

/** Those of `after` that weren't there before the run. One that was only moved is none. */
function appearedIn(
  after: readonly AbsPath[],
  before: PathFacts,
  startedMs: number,
  euid: number,
): readonly AbsPath[] {
  const known = new Set(
    before.repositories?.found.map((repository) => {
      const fact = before.paths.get(childOf(repository, ".git"));
      return `${fact?.device}:${fact?.inode}`;
    }),
  );
  const wasCut = (before.repositories?.cut ?? null) !== null;
  return after.filter((repository) => {
    const git = lstat(childOf(repository, ".git"));
    // Another user's is nothing that the command made.
    if (!git.ok || git.value.uid !== euid) return false;
    const { device, inode, ctimeSeconds } = git.value;
    if (known.has(`${device}:${inode}`)) return false;
    return !wasCut || ctimeSeconds >= startedMs / 1000 - CLOCK_SLACK_S;
  });
}
