/**
 * What deny globs hide among paths that somebody else has listed: the walker's rules without the walk.
 *
 * Pure.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { isAccepted, START, step } from "../policy/glob.ts";
import { type AbsPath, childOf } from "../policy/path.ts";
import type { Search } from "./glob_searches.ts";

/** A directory on the way: what the patterns make of it. */
interface Way {
  readonly states: readonly number[];
  readonly depth: number;
  /** It is hidden, or lies in what is hidden. */
  readonly hidden: Hidden | null;
}

/** One hidden path, with the pattern that hides it. */
export interface Hidden {
  readonly path: AbsPath;
  readonly pattern: ByteString;
}

/**
 * Everything that the patterns hide of `relative` (paths below `root`, without it), each once; of what lies in a hidden directory
 * the directory.
 */
export function hiddenAmong(
  root: AbsPath,
  searches: readonly Search[],
  relative: readonly ByteString[],
): readonly Hidden[] {
  const top: Way = {
    states: searches.map(() => START),
    depth: 0,
    hidden: null,
  };
  const ways = new Map<string, Way>([["", top]]);
  const found = new Map<AbsPath, Hidden>();
  for (const path of relative) {
    const { hidden } = stepTo(path, root, searches, ways);
    if (hidden !== null) found.set(hidden.path, hidden);
  }
  return [...found.values()];
}

function stepTo(
  path: string,
  root: AbsPath,
  searches: readonly Search[],
  ways: Map<string, Way>,
): Way {
  const slash = path.lastIndexOf("/");
  const above = slash === -1 ? "" : path.slice(0, slash);
  let way = ways.get(above);
  if (way === undefined) {
    way = stepTo(above, root, searches, ways);
    ways.set(above, way);
  }
  if (way.hidden !== null) return way;
  const name = path.slice(slash + 1) as ByteString;
  const depth = way.depth + 1;
  const { states } = way;
  const next = searches.map(({ components, maxDepth }, index) => {
    const state = states[index] ?? 0;
    return state === 0 || depth > maxDepth ? 0 : step(components, state, name);
  });
  const hit = searches.find(({ components }, index) =>
    isAccepted(components, next[index] ?? 0)
  );
  const hidden = hit === undefined
    ? null
    : { path: childOf(root, path), pattern: hit.wanted.deny.pattern };
  return { states: next, depth, hidden };
}
