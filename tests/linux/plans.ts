/**
 * Plans for tests: entries and a tree in memory become facts, a layout, a draft and a plan, as in a run.
 *
 * @module
 */
import type { ByteString } from "../../src/bytes.ts";
import { AT_ONCE } from "../../src/linux/run_events.ts";
import {
  follow,
  type GlobMatch,
  NO_OWN_PATHS,
  type OwnPaths,
  type SocketFact,
} from "../../src/policy/facts.ts";
import type { BwrapAbility } from "../../src/linux/bwrap_choice.ts";
import type { SandboxPlan } from "../../src/linux/plan.ts";
import { type DraftRequest } from "../../src/linux/draft.ts";
import { completePlan, draftPlan } from "../../src/linux/planner.ts";
import { layoutOf } from "../../src/policy/layout.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";
import type { Access, Policy } from "../../src/policy/policy.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import { ok } from "../../src/result.ts";
import { factsOf, policyOf, type Tree } from "../policy/world.ts";

export const HOST: Tree = {
  "/bin/sh": "exe",
  "/etc/passwd": "file",
  "/sys": "dir",
  "/dev/shm": "dir",
  "/tmp": "sticky",
  "/usr/bin/true": "exe",
  "/w": "dir",
};

export const ABLE: BwrapAbility = {
  options: " --ro-bind ",
  version: "0.12.0",
  trial: { kind: "works", proc: "fresh", nesting: "bwrap" },
};

/** One plan to be made. */
export interface Case {
  readonly name: string;
  readonly why: string;
  readonly entries: readonly (readonly [string, Access])[];
  readonly minimal?: boolean;
  readonly network?: Policy["network"];
  readonly options?: Partial<Policy["options"]>;
  readonly sockets?: readonly SocketFact[];
  readonly root?: boolean;
  readonly tree?: Tree;
  readonly own?: OwnPaths;
  readonly globs?: readonly string[];
  readonly matches?: readonly GlobMatch[];
  readonly cwd?: string;
  readonly enforcement?: Policy["enforcement"];
}

export const READ = [":root", "read"] as const;
export const WORKSPACE: Case["entries"] = [
  READ,
  ["/w", "write"],
  ["/tmp", "write"],
];
export const ALL_METADATA: Tree = {
  "/w/.git/HEAD": "file",
  "/w/.agents/a": "file",
  "/w/.codex/config.toml": "file",
  "/tmp/.git/HEAD": "file",
  "/tmp/.agents/a": "file",
  "/tmp/.codex/a": "file",
};

/** All that a plan is made from. @throws {Error} where a run would be refused */
export function requestOf(
  one: Case,
  options: Partial<Policy["options"]> = one.options ?? {},
): DraftRequest {
  const made = policyOf(one.entries, {
    options,
    minimal: one.minimal ?? false,
    globs: one.globs ?? [],
    cwd: one.cwd ?? "/w",
  });
  const policy: Policy = {
    ...made,
    network: one.network ?? "none",
    enforcement: one.enforcement ?? "managed",
  };
  const facts = factsOf({ ...HOST, ...one.tree }, policy, {
    own: one.own ?? NO_OWN_PATHS,
    matches: one.matches ?? [],
    ...(one.sockets === undefined ? {} : { sockets: one.sockets }),
  });
  const [refused] = policyErrors(policy, facts);
  if (refused !== undefined) throw new Error(refused.message);
  const layout = layoutOf(policy, facts);
  const exists = ["/sys", "/proc/sys", "/proc/sysrq-trigger"];
  return {
    policy,
    mountPoints: layout.mountPoints,
    links: layout.links,
    repositories: facts.repositories ?? null,
    factAt: (path: AbsPath) => {
      const fact = facts.paths.get(path);
      if (fact === undefined) throw new Error(`no fact about ${path}`);
      return fact;
    },
    exists: (path) => exists.includes(path),
    possiblePlaceholders: [],
    root: one.root ?? true,
    arch: "x86_64",
    command: ["true" as ByteString],
    verdict: { kind: "direct", path: "/usr/bin/true" as AbsPath },
    searchPath: () => ["/usr/bin"],
    runsFromMemory: () => true,
    forcedStage: "auto",
    outlivesCaller: false,
    rules: AT_ONCE,
    tellsResult: false,
    proc: "fresh",
    chdir: follow(facts, policy.cwd)?.resolved ?? null,
    passFds: [],
    guardedFds: [],
    reboundFds: [],
    landlock: () => ok(7),
    environmentChanges: [],
    softNofile: 1024,
    own: () => [],
    warnings: [],
  };
}

/** The finished plan, with the system's bubblewrap. */
export function planOf(one: Case, ability: BwrapAbility = ABLE): SandboxPlan {
  const draft = draftPlan(requestOf(one));
  if (!draft.ok) throw new Error(draft.error.message);
  const plan = completePlan(
    draft.value,
    {
      kind: "system",
      path: abs("/usr/bin/bwrap"),
      version: ability.version,
      reason: "test",
    },
    ability,
  );
  if (!plan.ok) throw new Error(plan.error.message);
  return plan.value;
}
