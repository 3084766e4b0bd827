/**
 * Who starts the command: bubblewrap itself, or our inner stage.
 *
 * Pure.
 *
 * @module
 */
import {
  FEW_MOUNTS,
  MAX_BUNDLED_ARGUMENTS,
  MAX_DIRECT_ARGUMENTS,
} from "./bwrap_argv.ts";
import type { DraftRequest } from "./draft.ts";
import type { PlanError } from "./plan.ts";
import type { Stage } from "./plan.ts";
import { describeRebound } from "./stream_cures.ts";
import type { ByteString } from "../bytes.ts";
import type { MountPoint } from "../policy/decision.ts";
import type { AbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";

/** One start wherever its outcome is known beforehand; the inner stage otherwise. */
export function chooseStage(request: DraftRequest): Result<Stage, PlanError> {
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
      if (inner === null) {
        return ok({
          kind: "one_start",
          reason: "the outcome of starting the command is known beforehand",
        });
      }
      return ok(
        listeningStage(request) ?? { kind: "inner", reason: inner.reason },
      );
  }
}

/** The listeners by a small program, where nothing else needs the inner stage; `null` where something does. */
function listeningStage(request: DraftRequest): Stage | null {
  const { policy, verdict, tellsResult } = request;
  if (
    policy.network !== "proxied" || policy.options.debug || tellsResult ||
    verdict.kind !== "direct" || otherReason(request) !== null ||
    !request.runsFromMemory()
  ) return null;
  const place = spelledPlace(request, verdict.path);
  return place === null
    ? null
    : { kind: "listening", reason: LISTENERS_INSIDE, place };
}

/** The place of the command in the words of execvp(3), which a script sees; `null` where they name the same file in another way. */
function spelledPlace(
  { command, searchPath }: DraftRequest,
  found: AbsPath,
): ByteString | null {
  const [name] = command;
  if (name === undefined || name.includes("/")) return name ?? null;
  const place = searchPath().find((place) => `${place}/${name}` === found);
  return place === undefined ? null : found;
}

/** Why the command can't be started by bwrap itself; `optional` when only its exit status would be less exact. */
function innerReason(
  request: DraftRequest,
): { readonly reason: string; readonly optional: boolean } | null {
  if (request.policy.options.debug) {
    return { reason: "debug = true", optional: false };
  }
  if (request.policy.network === "proxied") {
    return { reason: LISTENERS_INSIDE, optional: false };
  }
  return otherReason(request);
}

const LISTENERS_INSIDE = "the listeners of the managed network are made inside";

/** As {@linkcode innerReason} has it, whatever the policy says. */
function otherReason(
  request: DraftRequest,
): { readonly reason: string; readonly optional: boolean } | null {
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

export function tooManyHeld(descriptors: number): string {
  return `${descriptors} descriptors are more than the limit of open files leaves`;
}

/** Descriptors that a run leaves free below the caller's soft limit. */
export const SPARE_DESCRIPTORS = 64;
