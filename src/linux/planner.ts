/**
 * From policy and facts to the plan of a run: everything that can be decided before anything is done.
 *
 * Pure. Two steps, because which bwrap is fit depends on the mounts, and whether mounts are verified depends on the bwrap:
 * {@linkcode draftPlan}, then {@linkcode completePlan}.
 *
 * @module
 */
import {
  EMPTY_FILE_OPTION,
  FEW_MOUNTS,
  requiredOptions,
  takesDescriptor,
} from "./bwrap_argv.ts";
import { type BwrapAbility, hasOption } from "./bwrap_choice.ts";
import { chooseStage, SPARE_DESCRIPTORS, tooManyHeld } from "./choose_stage.ts";
import type { Domain } from "./domains.ts";
import type { Draft, DraftRequest } from "./draft.ts";
import type { PlanError } from "./plan.ts";
import { planMounts } from "./mounts.ts";
import type {
  AbstractSockets,
  Launcher,
  Placeholder,
  SandboxPlan,
  SupervisorReason,
} from "./plan.ts";
import type { FilterRequest } from "./seccomp/filters.ts";
import { rebindOf, streamNeedsProc } from "./stream_cures.ts";
import type { MountPoint } from "../policy/decision.ts";
import { isInside } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";

/** The first half. Refuses only what `--stage` forces and the command forbids. */
export function draftPlan(request: DraftRequest): Result<Draft, PlanError> {
  const stage = chooseStage(request);
  if (!stage.ok) return stage;
  if (request.policy.options.nestedNamespaces && request.root) {
    return fail({
      kind: "plan",
      message:
        `Cannot honour nested_namespaces = true of profile ${request.policy.name} as root: without capabilities the kernel lets nobody map uid 0 into a namespace; run as another user`,
    });
  }
  const tracing = traceDomainOf(request);
  if (!tracing.ok) return tracing;
  const placeholders = [
    ...request.mountPoints.flatMap((point): Placeholder[] =>
      point.node === "missing"
        ? [{ path: point.path, node: point.placeholder ?? "file" }]
        : []
    ),
    ...request.possiblePlaceholders,
  ];
  const filter: FilterRequest = {
    arch: request.arch,
    network: request.policy.network === "host"
      ? "host"
      : request.policy.options.loopback
      ? "isolated"
      : "isolated_tight",
    debug: request.policy.options.debug,
    namespaces: "allowed",
  };
  const draft = {
    request,
    stage: stage.value,
    traceDomain: tracing.value,
    placeholders,
    filter,
    mountsBelowWritable: isAnyBelowWritable(request.mountPoints),
  };
  // The longest variant: a fresh /proc and every option of a supervised run are needed by nobody less.
  const mounts = mountsOf(draft, "fresh");
  const needed = requiredOptions({
    mounts,
    supervisor: reasonsToStay(request, placeholders),
    disableUserns: disablesUserns(request.policy),
  });
  const size = mounts.length > FEW_MOUNTS ? many().sizeOf(mounts) : null;
  return ok({ ...draft, needed, mounts, size });
}

/** Loaded by the plans that need it. */
function many(): typeof import("./many_mounts.ts") {
  return require("./many_mounts.ts");
}

/** `debug = true` without a domain would put process 1 within reach: never. */
function traceDomainOf(
  { policy, landlock }: DraftRequest,
): Result<Domain | null, PlanError> {
  if (!policy.options.debug) return ok(null);
  const { TRACE_VERSION, traceDomain } = loadDomains();
  const version = landlock();
  const domain = version.ok ? traceDomain(version.value) : null;
  if (domain !== null) return ok(domain);
  return fail({
    kind: "plan",
    message:
      `Cannot honour debug = true of profile ${policy.name}: it needs Landlock ${TRACE_VERSION} (Linux 5.19), and this kernel has ${
        version.ok ? `version ${version.value}` : `none (${version.error})`
      }; leave it out`,
  });
}

/** With the host's network its abstract names are there too. */
function abstractSocketsOf(
  { policy, landlock }: DraftRequest,
): AbstractSockets | null {
  if (policy.network !== "host" || policy.enforcement !== "managed") {
    return null;
  }
  const { opensX11 }: typeof import("../policy/daemon_sockets.ts") = require(
    "../policy/daemon_sockets.ts",
  );
  if (opensX11(policy.options.unixSockets)) {
    return {
      reach: "open",
      reason: "unix_sockets opens X11, whose clients ask for an abstract name",
    };
  }
  const { SCOPE_VERSION } = loadDomains();
  const version = landlock();
  return version.ok && version.value >= SCOPE_VERSION
    ? { reach: "closed", reason: "a Landlock scope" }
    : {
      reach: "open",
      reason:
        `only Landlock ${SCOPE_VERSION} (Linux 6.12) closes them, and this kernel has ${
          version.ok ? `version ${version.value}` : `none (${version.error})`
        }`,
    };
}

/** Loaded on demand: most plans have no domain. */
function loadDomains(): typeof import("./domains.ts") {
  return require("./domains.ts");
}

/** Why somebody stays, as far as it is known before a bwrap is chosen. */
function reasonsToStay(
  { outlivesCaller, policy, rules, tellsResult }: DraftRequest,
  placeholders: readonly Placeholder[],
): SupervisorReason[] {
  const reasons: SupervisorReason[] = [];
  if (placeholders.length > 0) reasons.push("placeholders");
  if (policy.network === "proxied") reasons.push("managed network");
  if (outlivesCaller) reasons.push("--outlive-caller");
  if (rules.terminal) reasons.push("a terminal");
  if (rules.timeoutMs !== null) reasons.push("--timeout");
  if (rules.graceMs !== null) reasons.push("--grace");
  if (tellsResult) reasons.push("--result-json");
  return reasons;
}

function disablesUserns(policy: Policy): boolean {
  return !policy.options.nestedNamespaces;
}

function isAnyBelowWritable(points: readonly MountPoint[]): boolean {
  const writable = points.filter(({ state }) => state === "writable");
  return writable.length > 0 &&
    points.some(({ path }) =>
      writable.some((other) =>
        other.path !== path && isInside(path, { root: other.path })
      )
    );
}

function mountsOf(
  draft: Pick<Draft, "request" | "stage">,
  proc: "fresh" | "host",
): SandboxPlan["mounts"] {
  const { request, stage } = draft;
  return planMounts({
    mountPoints: request.mountPoints,
    links: request.links,
    factAt: request.factAt,
    exists: request.exists,
    proc,
    root: request.root,
    own: stage.kind !== "one_start"
      ? [...request.own(), ...request.reboundFds.map(rebindOf)]
      : [],
  });
}

/** Loaded on demand: few profiles require anything. */
function ladder(): typeof import("./ladder.ts") {
  return require("./ladder.ts");
}

/** Loaded with it. */
function promises(): typeof import("./promises.ts") {
  return require("./promises.ts");
}

/** The second half: with the bwrap that was chosen. */
export function completePlan(
  draft: Draft,
  launcher: Launcher,
  ability: BwrapAbility,
): Result<SandboxPlan, PlanError> {
  const { request } = draft;
  if (ability.trial.kind !== "works") {
    throw new Error("a plan needs a bwrap that works");
  }
  const proc = request.proc === "none" ? "host" : ability.trial.proc;
  const closesNesting = disablesUserns(request.policy);
  const byFilter = closesNesting && ability.trial.nesting === "filter";
  const [rebound] = request.reboundFds;
  if (proc === "host" && rebound !== undefined) {
    return fail({ kind: "plan", message: streamNeedsProc(rebound) });
  }
  if (request.policy.options.require.length > 0) {
    const broken = ladder().unkept(
      request.policy,
      promises().bubblewrapPromises({ proc, network: request.policy.network }),
    );
    if (broken !== null) return fail(broken);
  }
  const supervisor = reasonsToStay(request, draft.placeholders);
  if (draft.mountsBelowWritable && followsLinks(ability.version)) {
    supervisor.push("mount verification");
  }
  let stage = draft.stage;
  let mounts = proc === "fresh" ? draft.mounts : mountsOf(draft, proc);
  // What a glob has found may be gone by now: this option makes nothing on the host in its place.
  const wantsEmptyFile = draft.size !== null || request.policy.globs.length > 0;
  if (wantsEmptyFile && hasOption(ability, EMPTY_FILE_OPTION)) {
    mounts = many().shareEmptyFile(mounts);
  }
  const descriptors = mounts.filter(({ op }) => takesDescriptor(op)).length;
  const held = descriptors + request.passFds.length;
  if (
    draft.size !== null && stage.kind !== "inner" &&
    held > request.softNofile - SPARE_DESCRIPTORS
  ) {
    const reason = tooManyHeld(held);
    if (request.forcedStage === "one_start") {
      return fail({
        kind: "plan",
        message: `Cannot use --stage one-start: ${reason}`,
      });
    }
    stage = { kind: "inner", reason };
    mounts = mountsOf({ request, stage }, proc);
  }
  const abstractSockets = abstractSocketsOf(request);
  return ok({
    kind: "bubblewrap",
    profile: request.policy.name,
    cwd: request.policy.cwd,
    chdir: request.chdir,
    mounts,
    proc,
    network: request.policy.network,
    ...(abstractSockets === null ? {} : { abstractSockets }),
    filter: byFilter ? { ...draft.filter, namespaces: "denied" } : draft.filter,
    launcher,
    stage,
    supervisor,
    rules: request.rules,
    placeholders: draft.placeholders,
    repositories: request.repositories,
    disableUserns: closesNesting && !byFilter,
    ...(request.user ? { user: request.user } : {}),
    passFds: request.passFds,
    guardedFds: request.guardedFds,
    reboundFds: request.reboundFds,
    traceDomain: draft.traceDomain,
    environmentChanges: request.environmentChanges,
    command: request.command,
    globs: request.globs ?? [],
    ...(request.served === undefined ? {} : { served: request.served }),
    warnings: [
      ...request.warnings,
      ...(proc === "host"
        ? [
          `the host's /proc is visible inside, read-only: ${
            request.proc === "none"
              ? "--no-proc asks for no fresh one"
              : "a fresh one can't be mounted here"
          }`,
        ]
        : []),
      ...(descriptors > request.softNofile
        ? [`${descriptors} descriptors are held while the sandbox is set up`]
        : []),
    ],
  });
}

/** bubblewrap before 0.12 follows a last component that became a link while it makes mount points. Unknown versions count as old. */
export function followsLinks(version: string): boolean {
  const [major, minor] = version.split(".").map(Number);
  if (
    major === undefined || minor === undefined || Number.isNaN(major) ||
    Number.isNaN(minor)
  ) return true;
  return major === 0 && minor < 12;
}
