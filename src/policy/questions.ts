/**
 * What must be asked of a host before a policy can be understood there.
 *
 * Pure. {@linkcode questions} needs no host. {@linkcode followUp} is asked again with the facts so far, until it wants nothing:
 * the answers (a `.git` file's text) lead to further places.
 *
 * @module
 */
import { NO_OWN_PATHS, type OwnPaths, type PathFacts } from "./facts.ts";
import { type AbsPath, childOf, nameOf, ROOT } from "./path.ts";
import { DEV_SHM, placeOf, PLATFORM_DIRECTORIES, SYS, TMP } from "./places.ts";
import { METADATA_NAMES, type Policy } from "./policy.ts";
import { GIT_LINK_NAMES, gitTargets } from "./git_pointers.ts";
import { privateRoots, rulesOf, writableRootPaths } from "./rules.ts";

/** Rounds of {@linkcode followUp} after which nothing can be left: file, target, file, target. */
export const MAX_FOLLOW_UPS = 4;

/** What the facts so far lead to. */
export interface FollowUp {
  /** To be lstat'ed like {@linkcode questions}. */
  readonly paths: readonly AbsPath[];
  /** Regular files to be read into `gitPointers` (O_NOFOLLOW, bounded; an empty text when that fails). */
  readonly pointers: readonly AbsPath[];
}

/** Every path that must be lstat'ed, with all its components and the links met on the way. No duplicates. */
export function questions(
  policy: Policy,
  own: OwnPaths = NO_OWN_PATHS,
): readonly AbsPath[] {
  const asked = new Set<AbsPath>([ROOT, policy.cwd, SYS, DEV_SHM]);
  for (const root of policy.workspaceRoots) asked.add(root);
  for (const grant of policy.grants) {
    asked.add(grant.path);
    if (grant.access === "write") addMetadata(asked, grant.path);
  }
  if (policy.unrestricted) addMetadata(asked, ROOT);
  for (const glob of policy.globs) asked.add(glob.prefix);
  if (policy.minimal) {
    for (const path of PLATFORM_DIRECTORIES) asked.add(path);
  }
  if (policy.options.tmp === "private") {
    for (const path of privateRoots(policy)) asked.add(path);
  }
  asked.add(TMP);
  for (const path of own.readOnly) asked.add(path);
  for (const path of own.hidden) asked.add(path);
  return [...asked];
}

/** What must be asked next, or `null` when the facts are complete. Nothing that they already answer is in it. */
export function followUp(policy: Policy, facts: PathFacts): FollowUp | null {
  const paths = new Set<AbsPath>();
  const pointers = new Set<AbsPath>();
  if (policy.enforcement !== "managed") return null;
  for (
    const root of [
      ...writableRootPaths(rulesOf(policy, facts)),
      ...facts.repositories?.found ?? [],
    ]
  ) {
    addPointer(facts, childOf(root, ".git"), pointers);
    addPointer(facts, childOf(root, ".git/commondir"), pointers);
    for (const [pointer, target] of gitTargets(facts, root)) {
      const place = placeOf(facts, target);
      // Links that loop are asked about once: then the target itself is known.
      if (place === null && facts.paths.has(target)) continue;
      if (place === null) paths.add(target);
      if (facts.paths.get(pointer)?.kind === "symlink") continue;
      const directory = place?.path ?? target;
      for (const name of GIT_LINK_NAMES) {
        const path = childOf(directory, name);
        if (!facts.paths.has(path) && placeOf(facts, path) === null) {
          paths.add(path);
        }
      }
      if (nameOf(pointer) === "commondir") continue;
      addPointer(facts, childOf(directory, "commondir"), pointers);
    }
  }
  if (paths.size === 0 && pointers.size === 0) return null;
  return { paths: [...paths], pointers: [...pointers] };
}

function addPointer(
  facts: PathFacts,
  path: AbsPath,
  pointers: Set<AbsPath>,
): void {
  if (facts.gitPointers.has(path)) return;
  // Behind a `.git` that is a link nobody asked: such a root is refused.
  if (facts.paths.get(path)?.kind === "file") pointers.add(path);
}

/** What must be asked about a repository inside a writable directory, before the next {@linkcode followUp}. */
export function repositoryQuestions(repository: AbsPath): readonly AbsPath[] {
  const asked = new Set<AbsPath>();
  addMetadata(asked, repository);
  return [...asked];
}

function addMetadata(asked: Set<AbsPath>, root: AbsPath): void {
  for (const name of METADATA_NAMES) asked.add(childOf(root, name));
  for (const name of GIT_LINK_NAMES) asked.add(childOf(root, `.git/${name}`));
}
