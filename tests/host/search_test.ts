/**
 * Where repositories are looked for before a run, and which of those that are found after it the command has made.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { NO_OWN_PATHS, type PathFacts } from "../../src/policy/facts.ts";
import { gatherFacts } from "../../src/host/gather.ts";
import { appearedSearch, closedPlaces } from "../../src/host/search.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access, Policy } from "../../src/policy/policy.ts";
import { rulesOf } from "../../src/policy/rules.ts";
import { factsOf, policyOf } from "../policy/world.ts";

const EUID = process.geteuid?.() ?? 0;
const AN_HOUR_MS = 3_600_000;

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function workspace(...repositories: readonly string[]): string {
  const root = realpathSync(mkdtempSync(`${tmpdir()}/codex-search-`));
  folders.push(root);
  for (const name of repositories) makeRepository(`${root}/${name}`);
  return root;
}

function makeRepository(path: string): void {
  mkdirSync(`${path}/.git`, { recursive: true });
  writeFileSync(`${path}/.git/HEAD`, "");
}

function policyFor(
  root: string,
  lines: readonly (readonly [string, Access])[],
): Policy {
  return policyOf([[":root", "read"], ...lines], {
    cwd: root,
    options: { nestedRepositories: "read" },
  });
}

function factsFor(policy: Policy): PathFacts {
  const facts = gatherFacts({ policy, own: NO_OWN_PATHS, euid: EUID });
  if (!facts.ok) throw new Error(facts.error.message);
  return facts.value;
}

const GRANTS: readonly (readonly [
  (root: string) => readonly (readonly [string, Access])[],
  readonly string[],
  string,
])[] = [
  [(root) => [[root, "write"]], ["a", "b"], "what may be written"],
  [
    (root) => [[root, "write"], [`${root}/a`, "read"]],
    ["b"],
    "not where a grant takes writing away",
  ],
  [
    (root) => [[`:tmpdir=${root}`, "write"]],
    [],
    "not in what only a symbol for temporary folders makes writable",
  ],
  [
    (root) => [[`:tmpdir=${root}`, "write"], [root, "write"]],
    ["a", "b"],
    "but where a grant of its own does as well",
  ],
];
for (const [linesFor, found, why] of GRANTS) {
  test(`repositories are looked for: ${why}`, () => {
    const root = workspace("a", "b");
    const { repositories } = factsFor(policyFor(root, linesFor(root)));
    expect(repositories?.found.map((path) => path.slice(root.length + 1)))
      .toEqual([...found]);
  });
}

test("no search enters what the kernel makes, nor another machine's file system", () => {
  const policy = policyFor("/w", [["/w", "write"]]);
  const isClosed = closedPlaces(
    rulesOf(policy, factsOf({ "/w": "dir" }, policy)),
    () => new Set([abs("/w/server")]),
  );
  const places = ["/proc", "/dev", "/sys", "/w/server", "/w/here"];
  expect(places.map((path) => isClosed(abs(path))))
    .toEqual([true, true, true, true, false]);
});

/** A run in which `work` happened: the line about what appeared, with the workspace's own name left out. */
function lineAfter(
  work: (root: string) => void,
  {
    euid = EUID,
    startedMs = Date.now(),
    wasCut = false,
    before = ["old"],
  }: {
    readonly euid?: number;
    readonly startedMs?: number;
    readonly wasCut?: boolean;
    readonly before?: readonly string[];
  } = {},
): string | null {
  const root = workspace(...before);
  const policy = policyFor(root, [[root, "write"]]);
  const facts = factsFor(policy);
  const cut = { found: [], shut: [], cut: { at: policy.cwd, why: "late" } };
  const look = appearedSearch(
    policy,
    wasCut ? { ...facts, repositories: cut } : facts,
    startedMs,
    euid,
  );
  work(root);
  return look()?.replaceAll(`${root}/`, "") ?? null;
}

const TOLD = "; git obeys their hooks and settings when you use it there";

test("a repository that the command made is told by its name", () => {
  expect(lineAfter((root) => makeRepository(`${root}/new`)))
    .toBe(`repositories appeared during the run: "new"${TOLD}`);
});

test("of many that it made five are named and the others counted", () => {
  const line = lineAfter((root) => {
    for (const name of "abcdefg") makeRepository(`${root}/${name}`);
  });
  expect(line).toBe(
    `repositories appeared during the run: "a", "b", "c", "d", "e" and 2 more${TOLD}`,
  );
});

test("one that was there before is not told, nor where it was moved", () => {
  expect(
    lineAfter((root) => renameSync(`${root}/old`, `${root}/moved`)),
  ).toBe(null);
});

test("one of another user is nothing that the command made", () => {
  expect(
    lineAfter((root) => makeRepository(`${root}/new`), { euid: EUID + 1 }),
  ).toBe(null);
});

test("where the search before was cut, only what is younger than the run is told", () => {
  const told = [0, Date.now() + AN_HOUR_MS].map((startedMs) =>
    lineAfter(() => {}, { wasCut: true, startedMs }) !== null
  );
  expect(told).toEqual([true, false]);
});

test("where it was not cut, what is new is told however old it seems", () => {
  const line = lineAfter((root) => makeRepository(`${root}/new`), {
    startedMs: Date.now() + AN_HOUR_MS,
  });
  expect(line).toContain('"new"');
});
