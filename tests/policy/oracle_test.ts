/**
 * The engine against a definition that was written apart from it: a few lines per rule, slow and plain, no mount points.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { access } from "../../src/policy/access.ts";
import {
  abs,
  type AbsPath,
  depthOf,
  isInside,
  parentOf,
} from "../../src/policy/path.ts";
import type { Access } from "../../src/policy/policy.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import {
  EXISTING,
  type GeneratedLine,
  linesBelow,
  pathsBelow,
  treeBelow,
} from "./generate.ts";
import { factsOf, policyOf } from "./world.ts";

const BASE = "/base";

/** The nearest thing above `path` that exists: what is missing is made there. */
function existingAbove(path: AbsPath): AbsPath {
  let at = parentOf(path);
  while (!ALL.has(at)) at = parentOf(at);
  return at;
}

const NAMES = [".git", ".agents", ".codex"];
const PATHS = pathsBelow(BASE);
const DIRECTORIES = new Set<string>(["/", BASE]);
const ALL = new Set<string>(DIRECTORIES);
for (const path of EXISTING) {
  const at = `${BASE}/${path.replace(/\/$/, "")}`;
  ALL.add(at);
  if (path.endsWith("/")) DIRECTORIES.add(at);
}

type Level = "write" | "read" | "none";
interface Entry {
  readonly path: AbsPath;
  readonly access: Access;
}
const ORDER: readonly Access[] = ["deny", "write", "read"];

/** What the entries say of a path, the placeholders of missing things not counted. */
function level(entries: readonly Entry[], path: AbsPath, full: boolean): Level {
  const over = entries.filter((entry) => isInside(path, { root: entry.path }));
  const deepest = Math.max(-1, ...over.map((entry) => depthOf(entry.path)));
  const same = over.filter((entry) => depthOf(entry.path) === deepest);
  const winner = ORDER.find((it) => same.some((entry) => entry.access === it));
  if (winner === undefined || winner === "deny") return "none";
  if (winner === "read") return "read";
  return !full && isMetadata(entries, path, deepest) ? "read" : "write";
}

/** Inside a protected name that an entry opens the names mean nothing. */
function isMetadataName(path: AbsPath): boolean {
  return NAMES.some((name) => path.endsWith(`/${name}`));
}

/** Below a protected name of a writable root, and no write entry from that name on down covers the path. */
function isMetadata(
  entries: readonly Entry[],
  path: AbsPath,
  deepest: number,
): boolean {
  for (const { path: root, access: mode } of entries) {
    if (mode !== "write" || !DIRECTORIES.has(root)) continue;
    if (entries.some((it) => it.path === root && it.access === "deny")) {
      continue;
    }
    if (isMetadataName(root)) continue;
    for (const name of NAMES) {
      const at = abs(`${root}/${name}`);
      if (isInside(path, { root: at }) && depthOf(at) > deepest) return true;
    }
  }
  return false;
}

/** The whole answer for one policy. */
function oracle(lines: readonly GeneratedLine[]): {
  readonly state: (path: AbsPath) => Level;
  readonly blocked: (path: AbsPath) => boolean;
  readonly region: (path: AbsPath) => string;
  readonly isFixed: (path: AbsPath) => boolean;
} {
  const entries = lines.map(([path, mode]): Entry => ({
    path: abs(path === ":root" ? "/" : path),
    access: mode,
  }));
  const full =
    lines.some(([path, mode]) => path === ":root" && mode === "write") &&
    entries.every((entry) =>
      entry.access !== "deny" &&
      entries.some((it) => it.path === entry.path && it.access === "write")
    );
  const state = (path: AbsPath): Level => level(entries, path, full);
  const exists = (path: AbsPath): boolean => ALL.has(path);
  // What may not come into being: the first missing component above everything that is not writable in a writable place.
  const protectedPaths = [
    ...entries.map((entry) => entry.path),
    ...(full ? [] : entries
      .filter((entry) =>
        entry.access === "write" && DIRECTORIES.has(entry.path) &&
        !isMetadataName(entry.path)
      )
      .flatMap(({ path }) => NAMES.map((name) => abs(`${path}/${name}`)))),
  ];
  const occupied = new Set<AbsPath>();
  for (const path of protectedPaths) {
    if (exists(path) || state(path) === "write") continue;
    let first = path;
    while (!exists(parentOf(first))) first = parentOf(first);
    if (state(parentOf(first)) === "write") occupied.add(first);
  }
  const blocked = (path: AbsPath): boolean =>
    [...occupied].some((at) => isInside(path, { root: at }));
  const isBorder = (path: AbsPath): boolean =>
    path === "/" || occupied.has(path) ||
    (exists(path) && state(path) !== state(parentOf(path)));
  // A writable directory above a border in the same writable area may not be renamed.
  const everywhere = [...new Set([...PATHS, ...protectedPaths, abs(BASE)])];
  const isPin = (path: AbsPath): boolean =>
    path !== "/" && DIRECTORIES.has(path) && state(path) === "write" &&
    everywhere.some((below) => {
      if (below === path || !isInside(below, { root: path })) return false;
      if (!isBorder(below) || (exists(below) && state(below) === "write")) {
        return false;
      }
      for (let at = parentOf(below); at !== path; at = parentOf(at)) {
        if (state(at) !== "write") return false;
      }
      return true;
    });
  const isFixed = (path: AbsPath): boolean => isBorder(path) || isPin(path);
  const region = (path: AbsPath): string => {
    let at = path;
    while (!isFixed(at)) at = parentOf(at);
    return at;
  };
  return { state, blocked, region, isFixed };
}

test("the engine agrees with the definition on 600 policies", () => {
  let judged = 0;
  let refused = 0;
  fc.assert(
    fc.property(linesBelow(BASE), (lines) => {
      const policy = policyOf(lines);
      const facts = factsOf(treeBelow(BASE), policy, { asked: PATHS });
      if (policyErrors(policy, facts).length > 0) {
        refused++;
        return;
      }
      const expected = oracle(lines);
      for (const path of PATHS) {
        judged++;
        const exists = ALL.has(path);
        const at = { path: path as string };
        if (exists) {
          const isReadable = expected.state(path) !== "none";
          const read = access(policy, facts, path, { kind: "read" }).allowed;
          const exec = access(policy, facts, path, { kind: "exec" }).allowed;
          expect({ ...at, read, exec }).toEqual({
            ...at,
            read: isReadable,
            exec: isReadable && !DIRECTORIES.has(path),
          });
        }
        const isWritable =
          (exists || expected.state(existingAbove(path)) === "write") &&
          expected.state(path) === "write" && !expected.blocked(path);
        const write = access(policy, facts, path, { kind: "write" }).allowed;
        const create = access(policy, facts, path, { kind: "create" }).allowed;
        expect({ ...at, write, create }).toEqual({
          ...at,
          write: isWritable,
          create: isWritable && !exists,
        });
      }
      compareRenames(lines, expected);
    }),
    { numRuns: 600, seed: 5 },
  );
  expect(judged).toBeGreaterThan(5_000);
  expect(refused).toBeLessThan(300);
});

const RENAMES = [
  ["w/f", "w/a/new"],
  ["w/f", "w/new"],
  ["w/a", "w/new"],
  ["w/a/b", "w/new"],
  ["w/a/b/h", "w/a/new"],
  ["w/e", "x/new"],
  ["x/l", "x/new"],
  ["w/.git", "w/new"],
  ["w/f", "w/.codex"],
  ["w/e/j", "w/f"],
] as const;

function compareRenames(
  lines: readonly GeneratedLine[],
  { state, blocked, region, isFixed }: ReturnType<typeof oracle>,
): void {
  const policy = policyOf(lines);
  const facts = factsOf(treeBelow(BASE), policy, { asked: PATHS });
  for (const [source, target] of RENAMES) {
    const from = abs(`${BASE}/${source}`);
    const to = abs(`${BASE}/${target}`);
    const isAllowed = state(parentOf(from)) === "write" &&
      state(parentOf(to)) === "write" &&
      region(parentOf(from)) === region(parentOf(to)) &&
      !isFixed(from) && !isFixed(to) && !blocked(to);
    const verdict = access(policy, facts, from, { kind: "rename", to });
    expect({ source, target, allowed: verdict.allowed }).toEqual({
      source,
      target,
      allowed: isAllowed,
    });
  }
}
