/**
 * A plan's first half, from the request and the facts: what is the same whichever bwrap is chosen.
 *
 * Effects: looks at the command's directory and streams.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { type Failure, launchFailure } from "../failure.ts";
import { policyWarnings } from "../policy/warnings.ts";
import { searchPath } from "../host/candidates.ts";
import { canRun, lookUpCommand } from "../host/command.ts";
import type { PathFacts } from "../policy/facts.ts";
import { variable } from "../host/origin.ts";
import type { ProbedFacts } from "../host/probe.ts";
import { type CommandVerdict, judgeCommand } from "../linux/command.ts";
import { callerSoftLimit } from "../linux/process_state.ts";
import { type InnerStart, innerStart } from "../linux/own_files.ts";
import type { SandboxPlan } from "../linux/plan.ts";
import { type Draft } from "../linux/draft.ts";
import { draftPlan } from "../linux/planner.ts";
import { layoutOf, mountOf } from "../policy/layout.ts";
import { type AbsPath, isInside, parentOf } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  hostArch,
  isTerminal,
  landlockVersion,
  readFile,
  stat,
} from "../sys/calls.ts";
import { unobserved } from "../sys/observed.ts";
import { cureStreams } from "./descriptors.ts";
import { environmentChanges, isLoaderEntry } from "./environment.ts";
import { canMakeBelow, possiblePlaceholders } from "./mount_places.ts";
import { servedNetwork } from "./on_demand.ts";
import { type RunRequest } from "./request.ts";
import { startPlace } from "./start_place.ts";

/** A plan's first half. */
export interface RunDraft {
  readonly draft: Draft;
  readonly innerWords: () => readonly string[];
}

export function draftRun(
  request: RunRequest,
  facts: ProbedFacts,
): Result<RunDraft, Failure> {
  const { policy } = request;
  const layout = layoutOf(policy, facts);
  const shows = (path: AbsPath): boolean => {
    if (
      isInside(path, { root: "/proc" as AbsPath }) ||
      isInside(path, { root: "/dev" as AbsPath })
    ) return false;
    const { state } = mountOf(layout, path);
    return state === "read_only" || state === "writable";
  };
  const candidates = lookUpCommand(facts.paths, {
    name: request.command[0],
    cwd: policy.cwd,
    path: variable(request.environment, "PATH"),
    euid: request.euid,
  });
  const verdict = judgeCommand(candidates, {
    shows,
    runs: canRun,
    machine: hostArch() === "x64" ? 62 : 183,
  });
  const refused = refusalOf(request.command[0], verdict);
  if (refused !== null) return fail(refused);
  const cures = unobserved(() => cureStreams(request, layout));
  if (!cures.ok) return cures;
  const log = request.network?.kind === "managed" ? request.network.log : null;
  if (log !== null && mountOf(layout, log).state === "writable") {
    return launchFailure(
      `Cannot write the network log ${
        toText(log)
      }: the sandbox could write it too; name a file outside of its writable places`,
    );
  }
  let inner: InnerStart | null = null;
  const mountPoints = layout.mountPoints.filter(({ node, path }) =>
    node !== "missing" || canMakeBelow(parentOf(path), request.euid)
  );
  const start = startPlace(request, facts, shows);
  const draft = draftPlan({
    policy,
    mountPoints,
    links: layout.links,
    repositories: facts.repositories ?? null,
    factAt: (path) => facts.paths.get(path) ?? absent(path),
    exists: (path) => stat(path).ok,
    possiblePlaceholders: possiblePlaceholders(mountPoints, facts),
    root: request.euid === 0,
    arch: hostArch() === "x64" ? "x86_64" : "arm64",
    command: request.command,
    verdict,
    searchPath: () => searchPath(variable(request.environment, "PATH")),
    runsFromMemory,
    forcedStage: request.stage,
    outlivesCaller: request.outlivesCaller,
    rules: {
      timeoutMs: request.limits.timeoutMs,
      graceMs: request.limits.graceMs,
      terminal: [0, 1, 2].some(isTerminal),
    },
    tellsResult: request.teller !== null,
    proc: request.proc,
    chdir: start.chdir,
    passFds: request.passFds,
    guardedFds: cures.value.guarded,
    reboundFds: cures.value.rebound,
    landlock: () => {
      const version = landlockVersion();
      return version.ok ? version : fail(abi.errnoText(version.error.errno));
    },
    environmentChanges: environmentChanges(
      request,
      request.explains ? request.environment.filter(isLoaderEntry) : [],
    ),
    softNofile: callerSoftLimit(),
    user: request.user,
    own: () => (inner ??= innerStart(shows)).own,
    globs: request.explains ? globCovers(policy, facts) : [],
    ...(request.explains && request.network !== null
      ? { served: servedNetwork().describeNetwork(request.network) }
      : {}),
    warnings: [
      ...start.warnings,
      ...request.warnings,
      ...policyWarnings(policy, facts),
    ],
  });
  if (!draft.ok) return fail({ kind: "plan", error: draft.error });
  return ok({
    draft: draft.value,
    // A plan of many mounts may get its inner stage only once its bwrap is known.
    innerWords: () => inner === null ? [] : (inner as InnerStart).words,
  });
}

/** vm.memfd_noexec (memfd_create(2)): with 2 nothing in memory can be made executable. Before Linux 6.3 there is no such setting. */
function runsFromMemory(): boolean {
  const setting = readFile("/proc/sys/vm/memfd_noexec", 16);
  return !setting.ok || setting.value.trim() !== "2";
}

function refusalOf(name: ByteString, verdict: CommandVerdict): Failure | null {
  switch (verdict.kind) {
    case "not_found":
      return { kind: "command_not_found", name };
    case "not_executable":
      return {
        kind: "command_not_executable",
        name,
        why: `${toText(verdict.path)}: ${verdict.why}`,
      };
    default:
      return null;
  }
}

function absent(path: AbsPath): never {
  throw new Error(`no fact about ${path}`);
}

/** How much each glob hides now. */
function globCovers(policy: Policy, facts: PathFacts): SandboxPlan["globs"] {
  return policy.globs.map(({ pattern }) => {
    const matches = facts.globMatches.filter((it) => it.pattern === pattern);
    const directories = matches.filter(({ kind }) =>
      kind === "directory"
    ).length;
    return { pattern, directories, files: matches.length - directories };
  });
}
