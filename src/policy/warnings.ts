/**
 * What works but may surprise: other names of covered files, odd files under protected names.
 *
 * Pure.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { PathFacts, PathKind } from "./facts.ts";
import type { MountPoint } from "./decision.ts";
import { layoutOf } from "./layout.ts";
import { type AbsPath, childOf, nameOf } from "./path.ts";
import { METADATA_NAMES, type Policy } from "./policy.ts";

/** Things that work but may surprise: hidden or read-only files that have another name somewhere. One line each. */
export function policyWarnings(
  policy: Policy,
  facts: PathFacts,
): readonly string[] {
  if (policy.enforcement !== "managed") return [];
  const warnings: string[] = [];
  let ofGlobs = 0;
  const { mountPoints } = layoutOf(policy, facts);
  for (const point of mountPoints) {
    for (const line of metadataWarnings(point, facts)) warnings.push(line);
    const { path, state, node, decider } = point;
    if (node !== "file" || (state !== "masked" && state !== "read_only")) {
      continue;
    }
    const links = decider.kind === "glob"
      ? decider.match.linkCount ?? 1
      : facts.paths.get(path)?.linkCount ?? 1;
    if (links < 2) continue;
    // Package managers link every file of theirs; who reads about three knows what about the others.
    if (decider.kind === "glob" && ++ofGlobs > LINKED_MATCHES_NAMED) continue;
    warnings.push(linkedLine(path, links, state));
  }
  const more = ofGlobs - LINKED_MATCHES_NAMED;
  if (more > 0) {
    warnings.push(
      `Cannot hide every name of ${more} more ${
        more === 1 ? "match" : "matches"
      } of deny globs: they have hard links`,
    );
  }
  return warnings;
}

function linkedLine(
  path: AbsPath,
  links: number,
  state: MountPoint["state"],
): string {
  const done = state === "masked" ? "hide" : "protect";
  return `Cannot ${done} every name of "${
    toText(path)
  }": it has ${links} hard links, and only this name is covered`;
}

/** What git obeys in a protected git directory, and what stands under a protected name and can't be used as what it says. */
function metadataWarnings(
  { path, state, decider }: MountPoint,
  facts: PathFacts,
): readonly string[] {
  const isProtected = decider.kind === "git_pointer" ||
    decider.kind === "nested_repository" ||
    (state === "read_only" && METADATA_NAMES.includes(nameOf(path)));
  if (!isProtected) return NONE;
  const kind = facts.paths.get(path)?.kind ?? "missing";
  if (kind !== "directory") {
    const odd = ODD_KINDS[kind];
    return odd === undefined ? NONE : [
      `"${toText(path)}" is ${odd} under a protected name: it stays as it is`,
    ];
  }
  return ["config", "config.worktree"].flatMap((name) => {
    const fact = facts.paths.get(childOf(path, name));
    return fact?.kind === "file" && fact.linkCount > 1
      ? [linkedLine(childOf(path, name), fact.linkCount, state)]
      : NONE;
  });
}

const NONE: readonly string[] = [];

const ODD_KINDS: { readonly [kind in PathKind]?: string } = {
  fifo: "a FIFO",
  socket: "a socket",
  char_device: "a device",
  block_device: "a device",
};

/** Matches with hard links that get a line each. */
const LINKED_MATCHES_NAMED = 3;
