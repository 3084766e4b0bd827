/**
 * Random policies (`generate.ts`) on a real disk: the tree, what is asked of it, and the words in which policy and questions are put.
 *
 * For the live tests and for the comparison with reference releases; no test runner in here.
 *
 * @module
 */
import { chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import type { Operation } from "../../src/policy/access.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";
import type { Entry } from "../../src/policy/policy.ts";
import { pathEntry } from "../../src/policy/wire.ts";
import { EXISTING, type GeneratedLine, pathsBelow } from "./generate.ts";
import { globOf } from "./world.ts";
import { writeProfile } from "./write_profile.ts";

/** Below the tree: any depth, one level, one character, a class, a whole subtree. */
export const GLOBS = [
  ...["w/**/g", "w/**/b", "w/*", "w/a/?", "w/[ef]", "x/**/m", "x/*"],
  ...["w/a/**/i", "**/c*"],
] as const;

/** A path, and what is to be done with it. */
export type Question = readonly [AbsPath, Operation];

/** From and to, relative to the tree. */
export type Renames = readonly (readonly [string, string])[];

/** The same tree each time: what one policy's command left is gone for the next. */
export function makeTree(
  base: string,
  owner: { readonly uid: number; readonly gid: number },
): void {
  const own = (path: string): void => chownSync(path, owner.uid, owner.gid);
  rmSync(base, { recursive: true, force: true });
  mkdirSync(base);
  own(base);
  for (const path of EXISTING) {
    if (path.endsWith("/")) mkdirSync(`${base}/${path}`);
    else writeFileSync(`${base}/${path}`, "", { mode: 0o755 });
    own(`${base}/${path}`);
  }
}

/** What is asked of each policy. `w/no/such` has no parent to be made in. */
export function questionsBelow(
  base: string,
  renames: Renames,
): readonly Question[] {
  const existing = EXISTING.map((it) => `${base}/${it.replace(/\/$/, "")}`);
  return [
    ...pathsBelow(base).filter((path) => !path.endsWith("/no/such")).flatMap(
      (path) =>
        (["read", "write", "create"] as const)
          .filter((kind) => kind !== "read" || existing.includes(path))
          .map((kind): Question => [path, { kind }]),
    ),
    ...renames.map(([from, to]): Question => [
      abs(`${base}/${from}`),
      { kind: "rename", to: abs(`${base}/${to}`) },
    ]),
  ];
}

/** A question for `path-ops` of the probe. */
export function wordsOf([path, operation]: Question): readonly string[] {
  return "to" in operation
    ? [operation.kind, path, operation.to]
    : [operation.kind, path];
}

/** Every path that the questions are about. */
export function pathsOf(questions: readonly Question[]): readonly AbsPath[] {
  return questions.flatMap(([path, operation]) =>
    "to" in operation ? [path, operation.to] : [path]
  );
}

/** Lines and denied globs, whole paths, as permission profile JSON. */
export function profileJson(
  lines: readonly GeneratedLine[],
  globs: readonly string[] = [],
): string {
  const origin = { file: null, key: "" };
  const entries = lines.map(([path, mode]): Entry =>
    path === ":root"
      ? {
        path: { kind: "special", value: { kind: "root" } },
        access: mode,
        origin,
      }
      : pathEntry(abs(path), mode, "")
  );
  const denied = globs.map((pattern): Entry => ({
    path: { kind: "glob_pattern", pattern: globOf(pattern).pattern },
    access: "deny",
    origin,
  }));
  const written = writeProfile({
    kind: "managed",
    fileSystem: { kind: "restricted", entries: [...entries, ...denied] },
    network: "restricted",
  });
  if (!written.ok) throw new Error(written.error.message);
  return written.value;
}
