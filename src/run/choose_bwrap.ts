/**
 * Which bwrap makes the sandbox: the system's where it is trusted and can do what the plan needs, else the bundled one.
 *
 * For uid 0 it is the other way round: the device nodes belong to it on the host as well, and only our build binds them read-only.
 *
 * Effects: looks for candidates on PATH and tries them out.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { describe, type Failure, launchFailure } from "../failure.ts";
import { variable } from "../host/origin.ts";
import { type ProbedFacts, probePath } from "../host/probe.ts";
import type { StateHome } from "../host/state_folder.ts";
import {
  type BundledBwrap,
  DIGEST_MISMATCH,
  loadBundledBwrap,
} from "../linux/bundled_bwrap.ts";
import {
  type BwrapAbility,
  bwrapCandidates,
  explainRefusal,
  hasOption,
  judgeBwrap,
} from "../linux/bwrap_choice.ts";
import type { PlanSize } from "../linux/many_mounts.ts";
import type { Launcher } from "../linux/plan.ts";
import type { Draft } from "../linux/draft.ts";
import {
  abilityOf,
  type BwrapFile,
  namespaceFacts,
} from "../linux/probe_bwrap.ts";
import { layoutOf, writableRoots } from "../policy/layout.ts";
import type { AbsPath } from "../policy/path.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { hasMountSetattr, stat } from "../sys/calls.ts";
import type { Identity } from "../sys/identity.ts";
import { unobserved } from "../sys/observed.ts";
import { type RunRequest, stateHomeOf } from "./request.ts";

/** A bwrap that may be run, can do what the plan needs, and works here. */
interface Chosen {
  readonly file: BwrapFile;
  readonly launcher: Launcher;
  readonly ability: BwrapAbility;
  /** What it lacks, `null` for nothing. */
  readonly warning: string | null;
}

/** Whether a failure says something about this host, and not about this file or about what this one run is short of. */
export function isOfTheHost(failure: Failure): boolean {
  const text = describe(failure);
  return !text.startsWith(DIGEST_MISMATCH) && !SHORTAGE.test(text);
}

const SHORTAGE = /\b(?:EMFILE|ENFILE|ENOMEM|EAGAIN|EFBIG)\b/;

export function chooseBwrap(
  request: RunRequest,
  facts: ProbedFacts,
  draft: Draft,
): Result<Chosen, Failure> {
  const cache = stateHomeOf(request);
  // One file may be found by several names, and is named once.
  const reasons = new Set<string>();
  if (draft.size !== null && request.launcher === "auto") {
    const linear = linearBwrap(draft.size, cache, request.user);
    if (linear !== null) return ok(linear);
  }
  if (request.launcher === "auto" && ownsDevices(request)) {
    const guarded = bundledBwrap(request, draft, new Set([GUARDED_DEVICES]));
    if (guarded.ok || !isOfTheHost(guarded.error)) return guarded;
    const system = systemBwrap(request, facts, draft, cache, reasons);
    return system?.ok !== true ? guarded : ok({
      ...system.value,
      warning:
        `root can change the modes of the host's device nodes: only the bundled bubblewrap binds them read-only (${
          describe(guarded.error)
        })`,
    });
  }
  if (request.launcher !== "bundled") {
    const system = systemBwrap(request, facts, draft, cache, reasons);
    if (system !== null) return system;
    if (request.launcher === "system") {
      return launchFailure(
        `Cannot use a system bubblewrap: ${[...reasons].join("; ")}${
          draft.size === null ? "" : "; leave --launcher system out"
        }`,
      );
    }
  }
  return bundledBwrap(request, draft, reasons);
}

/** @param reasons why it is this one */
function bundledBwrap(
  request: RunRequest,
  draft: Draft,
  reasons: ReadonlySet<string>,
): Result<Chosen, Failure> {
  const cache = stateHomeOf(request);
  const bundled = unobserved(loadBundledBwrap);
  if (!bundled.ok) {
    // That it had to be this one is no reason for its failure.
    const why = reasons.size === 0 || reasons.has(GUARDED_DEVICES)
      ? ""
      : ` (${[...reasons].join("; ")})`;
    return launchFailure(`${bundled.error.message}${why}`);
  }
  const ability = abilityOf(bundled.value.file, cache, request.user);
  if (!ability.ok) {
    return launchFailure(
      `Cannot start the bundled bubblewrap: ${ability.error.call} says ${
        abi.errnoText(ability.error.errno)
      }`,
    );
  }
  if (ability.value.trial.kind === "fails") {
    return launchFailure(
      explainRefusal(namespaceFacts(request.euid), ability.value.trial.stderr),
    );
  }
  const unfit = unfitOf(draft.size, ability.value);
  if (unfit !== null) {
    return launchFailure(
      `Cannot use the bundled bubblewrap: it ${unfit}; deny directories instead of their files${
        reasons.size === 0 ? "" : ` (${[...reasons].join("; ")})`
      }`,
    );
  }
  const reason = request.launcher === "bundled"
    ? "--launcher bundled"
    : [...reasons].join("; ");
  return ok(asChosen(bundled.value, ability.value, reason));
}

const GUARDED_DEVICES =
  "uid 0 owns the host's device nodes, and only the bundled bwrap binds them read-only";

/** An owner changes a node's mode without a capability: it could close the host's `/dev/null` to everybody. */
function ownsDevices({ euid, user }: RunRequest): boolean {
  return euid === 0 && user === null;
}

/** The bundled bwrap, where it works here and its time does not grow with the square of the plan's many mounts. */
function linearBwrap(
  size: PlanSize,
  cache: StateHome | null,
  user: Identity | null,
): Chosen | null {
  const bundled = unobserved(loadBundledBwrap);
  if (!bundled.ok) return null;
  const ability = abilityOf(bundled.value.file, cache, user);
  if (!ability.ok || ability.value.trial.kind === "fails") return null;
  if (
    !many().isLinear(ability.value, hasMountSetattr()) ||
    unfitOf(size, ability.value) !== null
  ) return null;
  return asChosen(
    bundled.value,
    ability.value,
    `${size.binds} binds: the system's time would grow with their square`,
  );
}

/** @returns `null` to go on with the bundled one; `reasons` then says why */
function systemBwrap(
  request: RunRequest,
  facts: ProbedFacts,
  draft: Draft,
  cache: StateHome | null,
  reasons: Set<string>,
): Result<Chosen, Failure> | null {
  let tried: AbsPath | null = null;
  for (
    const candidate of bwrapCandidates(
      variable(request.callerEnvironment, "PATH"),
    )
  ) {
    // Most places of PATH have none: one call instead of a walk.
    if (!stat(candidate).ok) continue;
    probePath(facts.paths, candidate);
    const trust = judgeBwrap(facts, candidate, {
      cwd: request.policy.cwd,
      workspaceRoots: request.policy.workspaceRoots,
      writableRoots: writableRoots(layoutOf(request.policy, facts)).map((
        { path },
      ) => path),
    });
    if (trust.kind === "absent") continue;
    if (trust.kind === "untrusted") {
      reasons.add(
        `${toText(candidate)} is not trusted: ${trust.why}`,
      );
      continue;
    }
    // One file by two names of PATH, as /usr/bin and /bin: it was refused a moment ago, and asking it again can take its whole time.
    if (trust.path === tried) continue;
    tried = trust.path;
    const identity = stat(trust.path);
    if (!identity.ok) continue;
    const { device, inode, ctimeSeconds, ctimeNanoseconds } = identity.value;
    const file: BwrapFile = {
      path: trust.path,
      identity: `${device}:${inode}:${ctimeSeconds}.${ctimeNanoseconds}`,
    };
    const ability = abilityOf(file, cache, request.user);
    if (!ability.ok) {
      reasons.add(
        `${toText(trust.path)} can't be started: ${
          abi.errnoText(ability.error.errno)
        }`,
      );
      continue;
    }
    const missing = draft.needed.filter((option) =>
      !hasOption(ability.value, option)
    );
    const isSilent = ability.value.options.length === 0 &&
      ability.value.trial.kind === "fails";
    if (missing.length > 0 && !isSilent) {
      reasons.add(`${toText(trust.path)} lacks ${missing.join(", ")}`);
      continue;
    }
    const unfit = unfitOf(draft.size, ability.value);
    if (unfit !== null) {
      reasons.add(`${toText(trust.path)} ${unfit}`);
      continue;
    }
    if (ability.value.trial.kind === "fails") {
      reasons.add(
        `${toText(trust.path)} does not work here: ${
          explainRefusal(
            namespaceFacts(request.euid),
            ability.value.trial.stderr,
          )
        }`,
      );
      continue;
    }
    const reason = request.launcher === "system"
      ? "--launcher system"
      : "trusted, with every option that the plan needs";
    return ok({
      file,
      launcher: {
        kind: "system",
        path: trust.path,
        version: ability.value.version,
        reason,
      },
      ability: ability.value,
      warning: null,
    });
  }
  if (reasons.size === 0) reasons.add("no bwrap on PATH");
  return null;
}

function asChosen(
  { file, version, sha256 }: BundledBwrap,
  ability: BwrapAbility,
  reason: string,
): Chosen {
  return {
    file,
    launcher: { kind: "bundled", version, sha256, reason },
    ability,
    warning: null,
  };
}

function unfitOf(size: PlanSize | null, ability: BwrapAbility): string | null {
  return size === null
    ? null
    : many().unfitFor(size, ability, hasMountSetattr());
}

/** Loaded by the plans that need it. */
function many(): typeof import("../linux/many_mounts.ts") {
  return require("../linux/many_mounts.ts");
}
