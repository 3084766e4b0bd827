/**
 * Random policies over one small tree, for comparing the engine with the definition and, live, with the kernel.
 *
 * Everything lies below `base`, so that the same policy can be tried on a real directory.
 *
 * @module
 */
import fc from "fast-check";
import { abs, type AbsPath } from "../../src/policy/path.ts";
import type { Access } from "../../src/policy/policy.ts";
import type { Tree } from "./world.ts";

/** One entry of a generated policy: its path below `base`, or `:root`. */
export type GeneratedLine = readonly [string, Access];

/** What exists below `base`, relative: directories end with `/`. */
export const EXISTING = [
  "w/",
  "w/f",
  "w/.git/",
  "w/.git/config",
  "w/a/",
  "w/a/g",
  "w/a/.codex/",
  "w/a/.codex/c",
  "w/a/b/",
  "w/a/b/h",
  "w/a/b/d/",
  "w/a/b/d/i",
  "w/e/",
  "w/e/j",
  "x/",
  "x/k",
  "x/l/",
  "x/l/m",
] as const;

/** What is missing but may be named. */
export const ABSENT = [
  "w/new",
  "w/.codex",
  "w/a/new",
  "w/a/.git",
  "w/no",
  "w/no/such",
  "w/a/b/no",
  "x/new",
] as const;

/** The tree below `base` for tests in memory. */
export function treeBelow(base: string): Tree {
  const tree: Record<string, string> = { [base]: "dir" };
  for (const path of EXISTING) {
    const isDirectory = path.endsWith("/");
    tree[`${base}/${path.replace(/\/$/, "")}`] = isDirectory ? "dir" : "exe";
  }
  return tree;
}

/** Every path worth asking about. */
export function pathsBelow(base: string): readonly AbsPath[] {
  return [...EXISTING, ...ABSENT].map((path) =>
    abs(`${base}/${path.replace(/\/$/, "")}`)
  );
}

/** Lines of a policy: the root readable or not, and up to seven entries anywhere. */
export function linesBelow(
  base: string,
): fc.Arbitrary<readonly GeneratedLine[]> {
  const access = fc.constantFrom<Access>("read", "write", "deny");
  const line = fc.tuple(fc.constantFrom(...pathsBelow(base)), access);
  // Without a write nothing is interesting: every policy has one.
  const root = fc.constantFrom(`${base}/w`, `${base}/w/a`, `${base}/x`, base);
  return fc.tuple(
    fc.option(fc.constantFrom<Access>("read", "write"), { freq: 5 }),
    root,
    fc.uniqueArray(line, { maxLength: 7, selector: String }),
  ).map(([whole, writable, lines]) => [
    ...(whole === null ? [] : [[":root", whole] as const]),
    [writable, "write"] as const,
    ...lines,
  ]);
}
