/**
 * From a resolved request to a plan: the host is asked, the plan drafted, a bwrap chosen.
 *
 * The wiring between the rooms; each decision lies in its own. Effects: asks the host, makes the state folder.
 *
 * @module
 */
import {
  describe,
  type Failure,
  globFailure,
  launchFailure,
  requestFailure,
} from "../failure.ts";
import { gatherFacts } from "../host/gather.ts";
import { homeOf, variable } from "../host/origin.ts";
import type { ProbedFacts } from "../host/probe.ts";
import { openStateFolder, stateFolderOf } from "../host/state_folder.ts";
import { callerSoftLimit } from "../linux/process_state.ts";
import type { DirectPlan } from "../linux/plan.ts";
import { completePlan } from "../linux/planner.ts";
import { ownPathsOf } from "../own_paths.ts";
import { layoutOf, writableRoots } from "../policy/layout.ts";
import { validatePolicy } from "../policy/refusals.ts";
import { fail, ok, type Result } from "../result.ts";
import { close, stat } from "../sys/calls.ts";
import { unobserved } from "../sys/observed.ts";
import { chooseBwrap, isOfTheHost } from "./choose_bwrap.ts";
import { checkDescriptors } from "./descriptors.ts";
import { draftRun, type RunDraft } from "./draft.ts";
import { environmentChanges } from "./environment.ts";
import { landlockRun } from "./on_demand.ts";
import { limitNameOf, type Prepared, type RunRequest } from "./request.ts";
import { outOfReach, unusableRoot, withRightsOf } from "./user_rights.ts";

/** A plan that is ready to be carried out. */
export function prepareRun(request: RunRequest): Result<Prepared, Failure> {
  request.teller?.begin(request.policy.name);
  const streams = unobserved(() => checkDescriptors(request));
  if (!streams.ok) return streams;
  if (request.policy.enforcement === "disabled") {
    const limit = limitNameOf(request.limits);
    if (limit !== null) {
      return requestFailure(
        `Cannot honour ${limit} under profile ${request.policy.name}: without a sandbox nothing holds what the command starts; leave it out, or use timeout(1)`,
      );
    }
    const [promise] = [...request.policy.options.require, ...request.givenUp];
    return promise === undefined
      ? ok({ kind: "direct", plan: directPlan(request) })
      : launchFailure(
        `Cannot keep or give up "${promise}": profile ${request.policy.name} runs without a sandbox, which promises nothing; leave it out`,
      );
  }
  const startedMs = Date.now();
  makeStateFolder(request);
  // Asked as the parent of whoever calls: another user may not.
  callerSoftLimit();
  const drafted = withRightsOf(request.user, () => draftFromHost(request));
  if (!drafted.ok) return drafted;
  const { facts, draft } = drafted.value;
  request.mark("plan");
  const alone = (failure: string | null): Result<Prepared, Failure> =>
    landlockRun().prepareLandlock(request, facts, draft.draft, failure);
  if (request.backend === "landlock") return alone(null);
  const chosen = chooseBwrap(request, facts, draft.draft);
  if (!chosen.ok) {
    // What the caller is short of for this one run says nothing about the host: a lower rung would be the limit's choice.
    return mayFallBack(request) && isOfTheHost(chosen.error)
      ? alone(describe(chosen.error))
      : chosen;
  }
  request.mark("bubblewrap");
  const plan = completePlan(
    draft.draft,
    chosen.value.launcher,
    chosen.value.ability,
  );
  if (!plan.ok) return fail({ kind: "plan", error: plan.error });
  const { warning } = chosen.value;
  if (request.teller !== null && !request.explains) {
    const opened = request.teller.open(request.policy, facts);
    if (!opened.ok) return opened;
  }
  return ok({
    kind: "sandbox",
    plan: warning === null
      ? plan.value
      : { ...plan.value, warnings: [...plan.value.warnings, warning] },
    bwrap: chosen.value.file,
    innerWords: draft.innerWords(),
    facts,
    startedMs,
  });
}

/** Whoever names a way of bubblewrap's wants bubblewrap. */
function mayFallBack({ backend, launcher, stage }: RunRequest): boolean {
  return backend === "auto" && launcher === "auto" && stage === "auto";
}

/**
 * The first run makes the state folder before it looks: a folder that came afterwards would be seen inside. Where it can't be made
 * nothing is kept in it either.
 */
function makeStateFolder({ codexHome, stateOwner: euid }: RunRequest): void {
  if (codexHome === null || stat(stateFolderOf(codexHome)).ok) return;
  const made = openStateFolder(codexHome, [], { create: true, euid });
  if (made.ok) close(made.value);
}

function directPlan(request: RunRequest): DirectPlan {
  return {
    kind: "direct",
    profile: request.policy.name,
    cwd: request.policy.cwd,
    ...(request.user === null ? {} : { user: request.user }),
    environmentChanges: environmentChanges(request, []),
    passFds: request.passFds,
    command: request.command,
    warnings: request.warnings,
  };
}

/** A plan's first half, with what it was made from. */
interface Drafted {
  readonly facts: ProbedFacts;
  readonly draft: RunDraft;
}

/** Asks the host, with the rights of whoever the command will be. */
function draftFromHost(request: RunRequest): Result<Drafted, Failure> {
  const gathered = gatherFacts({
    policy: request.policy,
    own: ownPathsOf(request.codexHome, request.ownFiles),
    euid: request.euid,
    surroundings: {
      home: () => homeOf(request.callerEnvironment, request.uid),
      variable: (name) => variable(request.callerEnvironment, name),
    },
  });
  if (!gathered.ok) {
    return fail(globFailure(gathered.error, request.policy));
  }
  const searched = withRipgrep(request, gathered.value);
  if (!searched.ok) return searched;
  const facts = searched.value;
  request.mark("probe");
  const valid = validatePolicy(request.policy, facts);
  if (!valid.ok) return fail({ kind: "policy", error: valid.error });
  const draft = draftRun(request, facts);
  if (!draft.ok) return draft;
  const unusable = request.euid === 0
    ? unusableRoot(writableRoots(layoutOf(request.policy, facts)), facts)
    : null;
  if (unusable !== null) return launchFailure(unusable);
  const barred = request.user === null
    ? null
    : outOfReach(request, draft.value.draft);
  return barred === null ? ok({ facts, draft: draft.value }) : barred;
}

/** The facts, with what a trusted rg adds where the profile asks for it. */
function withRipgrep(
  { policy, callerEnvironment }: RunRequest,
  facts: ProbedFacts,
): Result<ProbedFacts, Failure> {
  if (policy.options.globBackend !== "ripgrep" || policy.globs.length === 0) {
    return ok(facts);
  }
  const { addRipgrep }: typeof import("../linux/ripgrep.ts") = require(
    "../linux/ripgrep.ts",
  );
  const path = variable(callerEnvironment, "PATH");
  const added = addRipgrep({ policy, facts, path });
  return added.ok ? added : requestFailure(added.error);
}
