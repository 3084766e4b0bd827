/**
 * A prepared run to its end: carried out, watched where somebody must stay, told where its end was asked for.
 *
 * The wiring between the rooms; what each step does lies in its own. Effects: all of them.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { NetworkRequest } from "../egress/network_request.ts";
import { type Failure, launchFailure } from "../failure.ts";
import type { StateHome } from "../host/state_folder.ts";
import { executeCommand } from "../linux/inner_stage.ts";
import { type Launch, launchByExec } from "../linux/launcher.ts";
import {
  callerSoftLimit,
  closeAbstractSockets,
  type LaunchError,
  restoreState,
} from "../linux/process_state.ts";
import { reclaimIfAny } from "../linux/reclaim.ts";
import type { SignalPipe } from "../linux/run.ts";
import { LOST, type RunEnd } from "../linux/run_events.ts";
import {
  type Besides,
  catchRunSignals,
  endLike,
  superviseRun,
} from "../linux/supervisor.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { chdir, writeAll } from "../sys/calls.ts";
import { observations } from "../sys/observed.ts";
import { missedStart } from "./kept_start.ts";
import { launchOf } from "./launch.ts";
import { landlockRun } from "./on_demand.ts";
import { type Prepared, type RunRequest, stateHomeOf } from "./request.ts";
import { becomeForGood, withRightsOf } from "./user_rights.ts";

/** How often a run is planned, where what a plan rests on goes away before it is held: of other runs, or of whoever works there. */
const MOST_PLANS = 4;

/** What a run takes along from plan to plan. */
interface Attempt {
  readonly warn: (line: string) => void;
  readonly prepareAgain: () => Result<Prepared, Failure>;
  /** Plans made so far. */
  readonly plans: number;
  /** `null` before somebody of ours has had to stay. */
  readonly signals: SignalPipe | null;
}

/**
 * Carries a plan out.
 *
 * @param prepareAgain makes a plan anew, where the first rests on what has gone away
 * @returns only on failure before the command started; later, where the network is served
 */
export function carryOut(
  request: RunRequest,
  prepared: Prepared,
  warn: (line: string) => void,
  prepareAgain: () => Result<Prepared, Failure>,
): Failure | Promise<Failure> {
  switch (prepared.kind) {
    case "direct": {
      const restored = restoreState(request.passFds, callerSoftLimit());
      if (!restored.ok) return { kind: "launch", error: restored.error };
      if (request.user !== null) {
        const become = becomeForGood(request.user);
        if (!become.ok) return become.error;
      }
      const moved = chdir(request.policy.cwd);
      if (!moved.ok) {
        const why = abi.errnoText(moved.error.errno);
        return {
          kind: "request",
          message: `Cannot run in ${toText(request.policy.cwd)}: ${why}`,
        };
      }
      return executeCommand(request.command, request.environment);
    }
    case "landlock":
      reclaimFor(request);
      return landlockRun().launchLandlock(request, prepared.plan);
    case "sandbox":
      return carryOutSandbox(request, prepared, {
        warn,
        prepareAgain,
        plans: 1,
        signals: null,
      });
  }
}

type Sandbox = Extract<Prepared, { readonly kind: "sandbox" }>;

function carryOutSandbox(
  request: RunRequest,
  prepared: Sandbox,
  attempt: Attempt,
): Failure | Promise<Failure> {
  const { plan } = prepared;
  const launch = launchOf(request, prepared);
  request.mark("launch");
  // Once: domains are stacked (landlock(7)).
  if (plan.abstractSockets?.reach === "closed" && attempt.plans === 1) {
    const closed = closeAbstractSockets();
    if (!closed.ok) return { kind: "launch", error: closed.error };
  }
  if (plan.supervisor.length === 0 && attempt.signals === null) {
    keepForNextTime(request, launch);
    reclaimFor(request);
    return orAgain(request, attempt, launchByExec(launch));
  }
  const signals = attempt.signals === null
    ? catchRunSignals(launch, plan.rules)
    : ok(attempt.signals);
  if (!signals.ok) return { kind: "launch", error: signals.error };
  return superviseSandbox(request, prepared, launch, {
    ...attempt,
    signals: signals.value,
  });
}

function superviseSandbox(
  request: RunRequest,
  prepared: Sandbox,
  launch: Launch,
  attempt: Attempt & { readonly signals: SignalPipe },
): Failure | Promise<Failure> {
  const home = stateHomeOf(request);
  const { warn, signals } = attempt;
  const warnings = repositoryWarnings(request, prepared, warn);
  if (request.network !== null) {
    return serveRun(request, request.network, launch, home, attempt, () => {
      warnings.prepare();
      warnings.conclude();
    });
  }
  const { rules } = launch.plan;
  const end = superviseRun(launch, home, rules, signals, warnings);
  return end.ok
    ? endRun(request, end.value)
    : orAgain(request, attempt, end.error);
}

/** The failure, unless the plan was outdated and another one may fit. */
function orAgain(
  request: RunRequest,
  attempt: Attempt,
  error: LaunchError,
): Failure | Promise<Failure> {
  const failure: Failure = { kind: "launch", error };
  if (error.isOutdated !== true || attempt.plans >= MOST_PLANS) return failure;
  const anew = attempt.prepareAgain();
  if (!anew.ok) return anew.error;
  return anew.value.kind === "sandbox"
    ? carryOutSandbox(request, anew.value, {
      ...attempt,
      plans: attempt.plans + 1,
    })
    : failure;
}

/** A run with an event loop, all of it loaded on demand. */
async function serveRun(
  request: RunRequest,
  network: NetworkRequest,
  launch: Launch,
  home: StateHome | null,
  attempt: Attempt & { readonly signals: SignalPipe },
  atEnd: () => void,
): Promise<Failure> {
  const { prepareService } = require(
    "../egress/service.ts",
  ) as typeof import("../egress/service.ts");
  const { superviseServed } = require(
    "../linux/served_run.ts",
  ) as typeof import("../linux/served_run.ts");
  const service = prepareService(
    network,
    (line) => void writeAll(2, Buffer.from(`codex: ${line}\n`, "utf8")),
  );
  if (!service.ok) return launchFailure(service.error).error;
  const end = await superviseServed(
    launch,
    home,
    launch.plan.rules,
    attempt.signals,
    service.value,
  );
  if (!end.ok) return orAgain(request, attempt, end.error);
  atEnd();
  return endRun(request, end.value);
}

/** Tells the end where it was asked for, and ends like the run. */
function endRun({ teller }: RunRequest, end: RunEnd): never {
  teller?.tellEnd(end);
  if (end.kind === "lost") writeAll(2, Buffer.from(`codex: ${LOST}\n`));
  return endLike(end);
}

/**
 * What a command makes inside a writable directory is obeyed outside later: hooks and settings of a repository.
 *
 * `prepare` comes first, at any time; `conclude`, which warns, when the run is over.
 */
function repositoryWarnings(
  { policy, euid, user }: RunRequest,
  { facts, startedMs }: Extract<Prepared, { kind: "sandbox" }>,
  warn: (line: string) => void,
): Besides {
  let look: (() => string | null) | null = null;
  return {
    prepare: () => {
      if (facts.repositories === undefined) return;
      const { appearedSearch } = require(
        "../host/search.ts",
      ) as typeof import("../host/search.ts");
      look = appearedSearch(policy, facts, startedMs, euid);
    },
    conclude: () => {
      if (look === null) return;
      const line = withRightsOf(user, () => ok(look?.() ?? null));
      if (line.ok && line.value !== null) warn(line.value);
    },
  };
}

/** What dead runs left, by a run that needs no placeholder itself. */
function reclaimFor(request: RunRequest): void {
  const home = stateHomeOf(request);
  if (home !== null) reclaimIfAny(home);
}

/** Leaves what this run found out for the next start of the same command, where it rests on nothing else. */
function keepForNextTime(request: RunRequest, launch: Launch): void {
  const place = missedStart();
  const seen = observations();
  const { codexHome, euid, policy, environmentPolicy } = request;
  if (
    place === null || seen === null || codexHome === null ||
    environmentPolicy === null || request.user !== null
  ) return;
  const { keepStart } = require(
    "./keep_start.ts",
  ) as typeof import("./keep_start.ts");
  keepStart({
    place,
    launch,
    observations: seen,
    environment: environmentPolicy,
    confinement: { network: policy.network, sandbox: "bubblewrap" },
    codexHome,
    euid,
  });
}
