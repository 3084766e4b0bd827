/**
 * A run on the Landlock rung: chosen by hand, or because bubblewrap can't be used here.
 *
 * Loaded only then. The wiring between the rooms, as `prepare.ts` and `carry_out.ts` are for the first rung. Effects: asks the kernel for its version of
 * Landlock, and carries the plan out.
 *
 * @module
 */
import { cannotPass } from "./descriptors.ts";
import { limitNameOf, type Prepared, type RunRequest } from "./request.ts";
import type { ByteString } from "../bytes.ts";
import { type Failure, requestFailure } from "../failure.ts";
import type { ProbedFacts } from "../host/probe.ts";
import { chooseRung } from "../linux/ladder.ts";
import { launchAlone } from "../linux/landlock_launcher.ts";
import { planLandlock, type RootPlace } from "../linux/landlock_plan.ts";
import { callerSoftLimit } from "../linux/process_state.ts";
import type { LandlockPlan } from "../linux/plan.ts";
import type { Draft } from "../linux/draft.ts";
import { layoutOf } from "../policy/layout.ts";
import { type AbsPath, childOf } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  landlockVersion,
  lstat,
  O_DIRECTORY,
  open,
  readDirectory,
} from "../sys/calls.ts";

/** The version of Landlock that the kernel has; 0 where it has none, or where it is switched off. */
export function landlockOfKernel(): number {
  const version = landlockVersion();
  return version.ok ? version.value : 0;
}

/**
 * The plan of the second rung, or why nothing can be run.
 *
 * @param failure why bubblewrap can't be used; `null`: it was not to be tried
 */
export function prepareLandlock(
  request: RunRequest,
  facts: ProbedFacts,
  draft: Draft,
  failure: string | null,
): Result<Prepared, Failure> {
  const { policy } = request;
  const limit = limitNameOf(request.limits);
  if (limit !== null) {
    const first = failure === null ? "" : `${failure}; `;
    const why = limit === "--result-json"
      ? "nobody of ours stays to see the end; leave it out"
      : "nothing holds what the command starts; leave it out, or use timeout(1)";
    const message = `${first}Landlock alone can't honour ${limit}: ${why}`;
    return requestFailure(message);
  }
  const [stream] = draft.request.reboundFds;
  if (stream !== undefined) {
    return cannotPass({
      fd: stream.fd,
      why:
        "Landlock alone can't keep this one from being opened for writing, and without bubblewrap there is no mount",
    });
  }
  const layout = layoutOf(policy, facts);
  const landlock = landlockOfKernel();
  const rung = chooseRung({
    policy,
    layout,
    bubblewrap: failure === null ? null : { kind: "fails", why: failure },
    landlock,
    ...(facts.sockets === undefined ? {} : { sockets: facts.sockets }),
    mayFallBack: true,
    givenUp: request.givenUp,
  });
  if (!rung.ok) return fail({ kind: "plan", error: rung.error });
  if (rung.value.kind !== "landlock") {
    throw new Error("bubblewrap was not used");
  }
  return ok({
    kind: "landlock",
    plan: planLandlock({
      policy,
      layout,
      rung: rung.value,
      landlock,
      givenUp: request.givenUp,
      factAt: (path: AbsPath) => draft.request.factAt(path),
      arch: draft.request.arch,
      chdir: draft.request.chdir,
      user: request.user ?? undefined,
      rootPlaces: placesOfRoot(),
      sockets: facts.sockets ?? [],
      passFds: request.passFds,
      environmentChanges: draft.request.environmentChanges,
      command: request.command,
      warnings: draft.request.warnings,
    }),
  });
}

/** What lies directly in the root; what can't be looked at can't be granted either. */
function placesOfRoot(): readonly RootPlace[] {
  const root = open("/" as ByteString, abi.O_RDONLY | O_DIRECTORY);
  if (!root.ok) return [];
  const names = readDirectory(root.value);
  close(root.value);
  if (!names.ok) return [];
  return names.value.flatMap((name): RootPlace[] => {
    const path = childOf("/" as AbsPath, name);
    const there = lstat(path);
    if (!there.ok) return [];
    const type = there.value.mode & abi.S_IFMT;
    if (type === abi.S_IFLNK) return [];
    return [{ path, node: type === abi.S_IFDIR ? "directory" : "file" }];
  }).sort((a, b) => a.path < b.path ? -1 : 1);
}

/** Carries the plan out. @returns only on failure before the command started */
export function launchLandlock(
  request: RunRequest,
  plan: LandlockPlan,
): Failure {
  const error = launchAlone({
    plan,
    environment: request.marksSandbox
      ? request.environment.map(markedAlone)
      : request.environment,
    softNofile: callerSoftLimit(),
  });
  return { kind: "launch", error };
}

function markedAlone(entry: ByteString): ByteString {
  return entry === "CODEX_SANDBOX=bubblewrap"
    ? "CODEX_SANDBOX=landlock" as ByteString
    : entry;
}
