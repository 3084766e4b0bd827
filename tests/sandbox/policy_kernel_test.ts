/**
 * The engine against the kernel: random policies, each enforced on a real tree, every answer compared errno by errno.
 *
 * One sandbox asks about all paths, so that a policy costs one run. `POLICY_RUNS` says how many policies (default 40).
 */
import { afterAll, expect, test } from "bun:test";
import fc from "fast-check";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { NO_OWN_PATHS, type PathFacts } from "../../src/host/facts.ts";
import { gatherFacts } from "../../src/host/gather.ts";
import {
  access,
  type Operation,
  type Verdict,
} from "../../src/policy/access.ts";
import { layoutOf, leadsToVisible, mountOf } from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import type { Entry, Policy } from "../../src/policy/policy.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import { pathEntry, writeProfile } from "../../src/policy/wire.ts";
import {
  EXISTING,
  type GeneratedLine,
  linesBelow,
  pathsBelow,
} from "../policy/generate.ts";
import { policyOf } from "../policy/world.ts";
import { probeBinary } from "./probe.ts";

const RUNS = Number(process.env["POLICY_RUNS"] ?? 40);
const HELPER = process.env["CODEX_BIN"] ??
  `${import.meta.dirname}/../../build/codex`;
const folder = realpathSync(mkdtempSync("/var/tmp/policy-kernel-"));
const BASE = `${folder}/base`;
mkdirSync(`${folder}/home`);
mkdirSync(`${folder}/bin`);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PROBE = `${folder}/bin/probe`;

/** What is asked of each policy. `w/no/such` has no parent to be made in. */
const QUESTIONS: readonly (readonly [string, Operation])[] = [
  ...pathsBelow(BASE).filter((path) => !path.endsWith("/no/such")).flatMap(
    (path) =>
      (["read", "write", "create"] as const)
        .filter((kind) => kind !== "read" || isExisting(path))
        .map((kind) => [path, { kind }] as const),
  ),
  ...[
    ["w/f", "w/a/new"],
    ["w/f", "w/new"],
    ["w/a", "w/new"],
    ["w/a/b", "w/new"],
    ["w/a/b/h", "w/a/new"],
    ["w/e", "x/new"],
    ["x/l", "x/new"],
    ["w/.git", "w/new"],
    ["w/f", "w/.codex"],
  ].map(([from, to]): readonly [string, Operation] => [
    `${BASE}/${from}`,
    { kind: "rename", to: abs(`${BASE}/${to}`) },
  ]),
];

function isExisting(path: string): boolean {
  return EXISTING.some((it) => `${BASE}/${it.replace(/\/$/, "")}` === path);
}

function makeTree(): void {
  rmSync(BASE, { recursive: true, force: true });
  mkdirSync(BASE);
  for (const path of EXISTING) {
    if (path.endsWith("/")) mkdirSync(`${BASE}/${path}`, { recursive: true });
    else writeFileSync(`${BASE}/${path}`, "", { mode: 0o755 });
  }
}

function profileOf(lines: readonly GeneratedLine[]): string {
  const entries = lines.map(([path, mode]): Entry =>
    path === ":root"
      ? {
        path: { kind: "special", value: { kind: "root" } },
        access: mode,
        origin: { file: null, key: "" },
      }
      : pathEntry(abs(path), mode, "")
  );
  const fileSystem = { kind: "restricted", entries } as const;
  const written = writeProfile({
    kind: "managed",
    fileSystem,
    network: "restricted",
  });
  if (!written.ok) throw new Error(written.error.message);
  return written.value;
}

function factsOn(policy: Policy): PathFacts {
  const asked = QUESTIONS.flatMap(([path, operation]) =>
    "to" in operation ? [abs(path), operation.to] : [abs(path)]
  );
  const euid = process.geteuid?.() ?? 0;
  const facts = gatherFacts({ policy, own: NO_OWN_PATHS, asked, euid });
  if (!facts.ok) throw new Error(facts.error.message);
  return facts.value;
}

function askKernel(lines: readonly GeneratedLine[]): readonly string[] {
  const words = QUESTIONS.flatMap(([path, operation]) =>
    "to" in operation
      ? [operation.kind, path, operation.to]
      : [operation.kind, path]
  );
  const run = Bun.spawnSync([
    HELPER,
    "--sandbox-policy-cwd",
    folder,
    "--permission-profile",
    profileOf(lines),
    "--",
    PROBE,
    "path-ops",
    ...words,
  ], {
    argv0: "codex-linux-sandbox",
    cwd: folder,
    env: { PATH: "/usr/bin:/bin", CODEX_HOME: `${folder}/home` },
  });
  if (run.exitCode !== 0) {
    throw new Error(`${run.stderr}: ${JSON.stringify(lines)}`);
  }
  return run.stdout.toString().trim().split("\n");
}

function isWay(policy: Policy, facts: PathFacts, path: string): boolean {
  const layout = layoutOf(policy, facts);
  const { state, path: covering } = mountOf(layout, abs(path));
  return state === "masked" && covering !== path &&
    leadsToVisible(layout, abs(path));
}

/** Where two refusals stand side by side the kernel may name the other one. */
function agrees(verdict: Verdict, answer: string): boolean {
  if (verdict.allowed || answer === "ok") {
    return verdict.allowed && answer === "ok";
  }
  const pair = new Set([verdict.errno as string, answer]);
  return pair.size === 1 ||
    [["EACCES", "EROFS"], ["ENOENT", "EROFS"], ["ENOENT", "EACCES"], [
      "EBUSY",
      "ENOTDIR",
    ], ["EBUSY", "EISDIR"]].some((
      both,
    ) => both.every((it) => pair.has(it)));
}

test(`a real sandbox agrees with the engine on ${RUNS} policies`, () => {
  writeFileSync(PROBE, readFileSync(probeBinary()));
  chmodSync(PROBE, 0o755);
  let compared = 0;
  const reopened: GeneratedLine = [`${folder}/bin`, "read"];
  for (
    const generated of fc.sample(linesBelow(BASE), { numRuns: RUNS, seed: 6 })
  ) {
    const lines = [...generated, reopened];
    makeTree();
    const policy = { ...policyOf(lines), cwd: abs(folder) };
    const facts = factsOn(policy);
    if (policyErrors(policy, facts).length > 0) continue;
    const answers = askKernel(lines);
    const wrong = QUESTIONS.flatMap(([path, operation], index) => {
      const verdict = access(policy, facts, abs(path), operation);
      compared++;
      const answer = answers[index] ?? "nothing";
      // An empty directory on the way to something granted can be listed: it shows names that the policy itself spells.
      if (operation.kind === "read" && isWay(policy, facts, path)) return [];
      if (agrees(verdict, answer)) return [];
      const to = "to" in operation ? ` to ${operation.to}` : "";
      return [
        `${operation.kind} ${path}${to}: engine ${
          verdict.errno ?? "ok"
        }, kernel ${answer}`,
      ];
    });
    expect({ lines, wrong }).toEqual({ lines, wrong: [] });
  }
  expect(compared).toBeGreaterThan(RUNS * 20);
}, 600_000);
