/**
 * What a walk looks for: the patterns of a policy, grouped by the directory where a walk for them starts.
 *
 * Pure.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { compileGlob, type Glob } from "../policy/glob.ts";
import { type Component } from "../policy/glob_parser.ts";
import { type AbsPath, depthOf, isInside, ROOT } from "../policy/path.ts";
import { DEV_SHM, isMadeFresh, placeOf } from "../policy/places.ts";
import type { GlobDeny, Policy } from "../policy/policy.ts";
import type { PathFacts } from "../policy/facts.ts";

/** One pattern to look for. */
export interface Wanted {
  readonly deny: GlobDeny;
  readonly glob: Glob;
  /** Canonical form of the pattern's prefix. */
  readonly prefix: AbsPath;
}

/** The patterns of `policy` that can be looked for. */
export function wantedBy(policy: Policy, facts: PathFacts): readonly Wanted[] {
  const wanted: Wanted[] = [];
  for (const deny of policy.globs) {
    const glob = compileGlob(deny.pattern);
    const place = placeOf(facts, deny.prefix);
    if (!glob.ok || place?.node !== "directory" || place.path === ROOT) {
      continue;
    }
    if (isMadeFresh(place.path) && !isInside(place.path, { root: DEV_SHM })) {
      continue;
    }
    wanted.push({ deny, glob: glob.value, prefix: place.path });
  }
  return wanted;
}

/** One alternative of one pattern. */
export interface Search {
  readonly wanted: Wanted;
  readonly components: readonly Component[];
  /** Levels below the walk's root. */
  readonly maxDepth: number;
}

/** Walks start at the outermost prefixes; a pattern further in says its way there as plain components. */
export function searchesByRoot(
  wanted: readonly Wanted[],
  maxDepth: number | null,
): ReadonlyMap<AbsPath, readonly Search[]> {
  const prefixes = wanted.map((one) => one.prefix);
  const byRoot = new Map<AbsPath, Search[]>();
  for (const one of wanted) {
    const root = prefixes.reduce(
      (outer, prefix) =>
        isInside(one.prefix, { root: prefix }) &&
          depthOf(prefix) < depthOf(outer)
          ? prefix
          : outer,
      one.prefix,
    );
    const way = one.prefix === root
      ? []
      : one.prefix.slice(root === "/" ? 1 : root.length + 1).split("/");
    const plain = way.map(literalComponent);
    const depth = maxDepth === null ? Infinity : maxDepth + way.length;
    const searches = byRoot.get(root) ?? [];
    byRoot.set(root, searches);
    for (const rest of one.glob.alternatives) {
      const components = [...plain, ...rest];
      searches.push({ wanted: one, components, maxDepth: depth });
    }
  }
  return byRoot;
}

function literalComponent(name: string): Component {
  const literal = name as ByteString;
  return { kind: "name", tokens: [], literal, suffix: literal };
}

/** The last bytes of names that may match, `null` when any may. */
export function lastBytesOf(searches: readonly Search[]): Uint8Array | null {
  const flags = new Uint8Array(256);
  for (const { components } of searches) {
    const last = components[components.length - 1];
    if (last === undefined || last.kind === "deep" || last.suffix === "") {
      return null;
    }
    flags[last.suffix.charCodeAt(last.suffix.length - 1)] = 1;
  }
  return flags;
}

/** A quick test of a file's last byte for one search: false means that it can't match. */
export function testFor(
  { components }: Search,
  state: number,
): (buffer: Uint8Array, start: number, end: number) => boolean {
  const last = components[components.length - 1];
  if (state === 0 || last === undefined) return () => false;
  if (last.kind === "deep" || last.suffix === "") return () => true;
  const { suffix } = last;
  const length = suffix.length;
  const final = suffix.charCodeAt(length - 1);
  return (buffer, start, end) => {
    if (buffer[end - 1] !== final || end - start < length) return false;
    for (let back = 2; back <= length; back++) {
      if (buffer[end - back] !== suffix.charCodeAt(length - back)) return false;
    }
    return true;
  };
}
