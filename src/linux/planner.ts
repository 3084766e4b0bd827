/**
 * From policy and facts to the plan of a run: everything that can be decided before anything is done.
 *
 * Pure. Two steps, because which bwrap is fit depends on the mounts, and whether mounts are verified depends on the bwrap:
 * {@linkcode draftPlan}, then {@linkcode completePlan}.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { PathFact, Repositories } from "../host/facts.ts";
import type { MountPoint } from "../policy/decision.ts";
import { type AbsPath, isInside } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import type { Identity } from "../sys/identity.ts";
import {
  EMPTY_FILE_OPTION,
  FEW_MOUNTS,
  MAX_BUNDLED_ARGUMENTS,
  MAX_DIRECT_ARGUMENTS,
  requiredOptions,
  takesDescriptor,
} from "./bwrap_argv.ts";
import { type BwrapAbility, hasOption } from "./bwrap_choice.ts";
import type { CommandVerdict } from "./command.ts";
import type { Domain } from "./domains.ts";
import type { PlanSize } from "./many_mounts.ts";
import { type OwnBind, planMounts } from "./mounts.ts";
import type {
  AbstractSockets,
  EnvironmentChange,
  Launcher,
  Placeholder,
  SandboxPlan,
  Stage,
  SupervisorReason,
} from "./plan.ts";
import type { RunRules } from "./run_events.ts";
import {
  describeRebound,
  rebindOf,
  type ReboundStream,
  streamNeedsProc,
} from "./stream_cures.ts";
import type { FilterRequest } from "./seccomp/filters.ts";

/** Why no plan can be made. `message` is one line. */
export interface PlanError {
  readonly kind: "plan";
  readonly message: string;
}

/** Descriptors that a run leaves free below the caller's soft limit. */
const SPARE_DESCRIPTORS = 64;

/** What the plan is made from, all of it known before a bwrap is chosen. */
export interface DraftRequest {
  readonly policy: Policy;
  readonly mountPoints: readonly MountPoint[];
  readonly links: readonly AbsPath[];
  readonly repositories: Repositories | null;
  readonly factAt: (path: AbsPath) => PathFact;
  readonly exists: (path: AbsPath) => boolean;
  /** Empty files and directories under our mounts: another run's placeholders, perhaps. They are locked like our own. */
  readonly possiblePlaceholders: readonly Placeholder[];
  readonly root: boolean;
  readonly arch: FilterRequest["arch"];
  readonly command: readonly ByteString[];
  readonly verdict: CommandVerdict;
  readonly forcedStage: "auto" | "one_start" | "inner";
  readonly outlivesCaller: boolean;
  readonly rules: RunRules;
  readonly tellsResult: boolean;
  readonly proc: "fresh" | "none";
  readonly chdir: AbsPath | null;
  readonly passFds: readonly number[];
  readonly guardedFds: readonly number[];
  readonly reboundFds: readonly ReboundStream[];
  /** The kernel's version of Landlock, or why it has none; asked only where a plan needs a domain. */
  readonly landlock: () => Result<number, string>;
  readonly environmentChanges: readonly EnvironmentChange[];
  readonly softNofile: number;
  /** `--user`. */
  readonly user?: Identity | null;
  /** What the inner stage needs in the view; asked only where there is one, because it costs 0.4 ms to find out. */
  readonly own: () => readonly OwnBind[];
  /** For `--explain`; absent where nobody asks. */
  readonly globs?: SandboxPlan["globs"];
  /** Of the network, where somebody asks what is planned. */
  readonly served?: readonly string[];
  readonly warnings: readonly string[];
}

/** A plan that lacks only its bwrap and what follows from it. */
export interface Draft {
  readonly request: DraftRequest;
  readonly traceDomain: Domain | null;
  readonly stage: Stage;
  readonly placeholders: readonly Placeholder[];
  readonly filter: FilterRequest;
  /** Options that any bwrap for this plan must know. */
  readonly needed: readonly string[];
  /** The mount plan with a fresh `/proc`, which nearly every host can have. */
  readonly mounts: SandboxPlan["mounts"];
  /** Of a plan of many mounts, for which not every bwrap is fit; else `null`. */
  readonly size: PlanSize | null;
  /** Some mount lies below a writable root, where others can move things about. */
  readonly mountsBelowWritable: boolean;
}

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
    own: stage.kind === "inner"
      ? [...request.own(), ...request.reboundFds.map(rebindOf)]
      : [],
  });
}

/** One start wherever its outcome is known beforehand; the inner stage otherwise. */
function chooseStage(request: DraftRequest): Result<Stage, PlanError> {
  const inner = innerReason(request);
  switch (request.forcedStage) {
    case "inner":
      return ok({ kind: "inner", reason: "--stage inner" });
    case "one_start":
      return inner === null || inner.optional
        ? ok({ kind: "one_start", reason: "--stage one-start" })
        : fail({
          kind: "plan",
          message: `Cannot use --stage one-start: ${inner.reason}`,
        });
    case "auto":
      return inner === null
        ? ok({
          kind: "one_start",
          reason: "the outcome of starting the command is known beforehand",
        })
        : ok({ kind: "inner", reason: inner.reason });
  }
}

/** Why the command can't be started by bwrap itself; `optional` when only its exit status would be less exact. */
function innerReason(
  request: DraftRequest,
): { readonly reason: string; readonly optional: boolean } | null {
  if (request.policy.options.debug) {
    return { reason: "debug = true", optional: false };
  }
  if (request.policy.network === "proxied") {
    return {
      reason: "the listeners of the managed network are made inside",
      optional: false,
    };
  }
  const [guarded] = request.guardedFds;
  if (guarded !== undefined) {
    return {
      reason:
        `descriptor ${guarded} is a file opened for reading: a Landlock rule keeps it from being written`,
      optional: false,
    };
  }
  const [rebound] = request.reboundFds;
  if (rebound !== undefined) {
    return { reason: describeRebound(rebound), optional: false };
  }
  const descriptors = heldByPoints(request.mountPoints) +
    request.passFds.length;
  if (descriptors > request.softNofile - SPARE_DESCRIPTORS) {
    return { reason: tooManyHeld(descriptors), optional: false };
  }
  const mountWords = request.mountPoints.length * 6;
  const words = mountWords + request.command.length;
  // Mounts that alone are too many for any but the bundled bwrap leave it room for the command.
  const most = mountWords > MAX_DIRECT_ARGUMENTS
    ? MAX_BUNDLED_ARGUMENTS
    : MAX_DIRECT_ARGUMENTS;
  if (words > most) {
    return {
      reason: `${words} arguments are more than bubblewrap takes`,
      optional: false,
    };
  }
  return request.verdict.kind === "inner"
    ? { reason: request.verdict.reason, optional: true }
    : null;
}

/** Of many masks it is not known yet whether they share one file; where they don't, {@linkcode completePlan} counts again. */
function heldByPoints(points: readonly MountPoint[]): number {
  if (points.length <= FEW_MOUNTS) return points.length;
  return points.filter(({ state, node }) =>
    state !== "masked" || node === "directory"
  ).length;
}

function tooManyHeld(descriptors: number): string {
  return `${descriptors} descriptors are more than the limit of open files leaves`;
}

/** Loaded on demand: few profiles require anything. */
function ladder(): typeof import("./ladder.ts") {
  return require("./ladder.ts");
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
  const [rebound] = request.reboundFds;
  if (proc === "host" && rebound !== undefined) {
    return fail({ kind: "plan", message: streamNeedsProc(rebound) });
  }
  if (request.policy.options.require.length > 0) {
    const broken = ladder().unkept(
      request.policy,
      ladder().bubblewrapPromises({ proc, network: request.policy.network }),
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
    draft.size !== null && stage.kind === "one_start" &&
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
    filter: draft.filter,
    launcher,
    stage,
    supervisor,
    rules: request.rules,
    placeholders: draft.placeholders,
    repositories: request.repositories,
    disableUserns: disablesUserns(request.policy),
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
          "the host's /proc is visible inside, read-only: a fresh one can't be mounted here",
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
