/**
 * Files by which git finds another directory: `.git` of a linked worktree or submodule, `commondir`, and links in a git directory.
 *
 * Pure. A pointer is read as git reads it and as a person would: where the two differ both places are protected, because other
 * programs than git read these files too. Source: gitrepository-layout(5), and git's own reading of the text: the rest behind
 * `gitdir: ` up to the first NUL, line ends cut off at the end and nothing else.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { PathFacts } from "./facts.ts";
import { type AbsPath, childOf, resolvePath } from "./path.ts";
import { placeOf } from "./places.ts";

/** In a git directory: what holds settings that run programs, or further git directories. As a link it would lead out of what is protected. */
export const GIT_LINK_NAMES: readonly string[] = [
  "commondir",
  "config",
  "config.worktree",
  "hooks",
  "modules",
  "worktrees",
];

/**
 * Where a `.git` file leads, or `null` when it is no pointer.
 *
 * What stands before the first `:` must be `gitdir`; both halves are trimmed; a relative target starts at `directory`.
 */
export function gitdirTarget(
  text: ByteString,
  directory: AbsPath,
): AbsPath | null {
  const target = trim(gitdirText(text) ?? "", BLANKS);
  return target === "" ? null : resolvePath(directory, target);
}

/** Every directory that a reader of this `.git` file may take it to name. */
export function gitdirTargets(
  text: ByteString,
  directory: AbsPath,
): readonly AbsPath[] {
  return readings(gitdirText(text), "gitdir: ", text, directory);
}

/** Every directory that a reader of this `commondir` file, in the git directory `directory`, may take it to name. */
function commondirTargets(
  text: ByteString,
  directory: AbsPath,
): readonly AbsPath[] {
  return readings(text, "", text, directory);
}

/**
 * Whether a pointer goes up again behind a name (`a/../b`). Where `a` is a link that leads somewhere else than the text says; git
 * writes no such pointer.
 */
export function goesUpBehindName(text: ByteString): boolean {
  let named = false;
  for (const part of (gitdirText(text) ?? text).split("/")) {
    const name = trim(part, BLANKS);
    if (name === ".." && named) return true;
    if (name !== "" && name !== "." && name !== "..") named = true;
  }
  return false;
}

/**
 * The places behind `root`'s `.git`, as `[pointer, target as spelled there]`: those that a `.git` file names, the common directory of
 * each git directory, and links in any of them. Where a pointer was not read yet, the list ends before it.
 */
export function gitTargets(
  facts: PathFacts,
  root: AbsPath,
): readonly (readonly [AbsPath, AbsPath])[] {
  const targets: [AbsPath, AbsPath][] = [];
  const dotGit = childOf(root, ".git");
  const directories: AbsPath[] = [];
  const text = facts.gitPointers.get(dotGit);
  if (text === undefined) directories.push(dotGit);
  else {
    for (const target of gitdirTargets(text, root)) {
      targets.push([dotGit, target]);
      addDirectory(facts, target, directories);
    }
  }
  for (const directory of [...directories]) {
    const pointer = childOf(directory, "commondir");
    const common = facts.gitPointers.get(pointer);
    if (common === undefined) continue;
    for (const target of commondirTargets(common, directory)) {
      targets.push([pointer, target]);
      addDirectory(facts, target, directories);
    }
  }
  for (const directory of directories) {
    for (const name of GIT_LINK_NAMES) {
      const link = childOf(directory, name);
      if (facts.paths.get(link)?.kind === "symlink") targets.push([link, link]);
    }
  }
  return targets;
}

function addDirectory(
  facts: PathFacts,
  target: AbsPath,
  directories: AbsPath[],
): void {
  const place = placeOf(facts, target);
  if (place !== null) directories.push(place.path);
}

const BLANKS = " \t\r\n\f\v";
const LINE_ENDS = "\r\n";

/** What follows `gitdir:`, `null` when nothing of the kind stands there. */
function gitdirText(text: ByteString): string | null {
  const colon = text.indexOf(":");
  if (colon === -1 || colon > 64) return null;
  return trim(text.slice(0, colon), BLANKS) === "gitdir"
    ? text.slice(colon + 1)
    : null;
}

function readings(
  loose: string | null,
  prefix: string,
  text: ByteString,
  directory: AbsPath,
): readonly AbsPath[] {
  if (loose === null) return [];
  const found = new Set<AbsPath>();
  const exact = text.startsWith(prefix) ? text.slice(prefix.length) : loose;
  for (
    const target of [
      trimEnd(upToNul(exact), LINE_ENDS),
      trim(upToNul(loose), BLANKS),
    ]
  ) {
    const path = target === "" ? null : resolvePath(directory, target);
    if (path !== null) found.add(path);
  }
  return [...found];
}

function upToNul(text: string): string {
  const nul = text.indexOf("\0");
  return nul === -1 ? text : text.slice(0, nul);
}

/** ASCII only: `String.prototype.trim` would cut byte 0xA0 out of a UTF-8 name; a pattern would take quadratic time. */
function trim(text: string, blanks: string): string {
  let start = 0;
  while (start < text.length && blanks.includes(text.charAt(start))) start++;
  return trimEnd(text.slice(start), blanks);
}

function trimEnd(text: string, blanks: string): string {
  let end = text.length;
  while (end > 0 && blanks.includes(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}
