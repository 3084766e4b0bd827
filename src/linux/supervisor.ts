/**
 * A run that somebody of ours stays for: placeholders to remove, mounts to verify, a caller to outlive, a terminal, a time limit.
 *
 * The supervisor starts the watcher, then bubblewrap, checks the mounts while bubblewrap waits, lets it go, and ends with the
 * command's status. Signals are caught from before the first placeholder to after the last removal. SIGKILL is the watcher's case.
 *
 * Effects, all synchronous: no event loop is needed. One that has its own uses {@linkcode beginRun}, then `feed` and `takeEvent` of
 * `run.ts`, then `finishRun`.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { fail, ok, type Result, unreachable } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  catchSignals,
  exitNow,
  getpid,
  kill,
  pipe,
  prctl,
  signalDefault,
  type SysError,
} from "../sys/calls.ts";
import { asCommandUser, type Launch } from "./launcher.ts";
import { failed, type LaunchError } from "./process_state.ts";
import type { MountStep } from "./mounts.ts";
import {
  type HeldPlaceholder,
  makePlaceholders,
  type PlaceholderError,
  releasePlaceholders,
} from "./placeholders.ts";
import { reclaimPlaceholders } from "./reclaim.ts";
import type { StateHome } from "../host/state_folder.ts";
import {
  feed,
  finishRun,
  killAll,
  type Run,
  type SignalPipe,
  takeEvent,
} from "./run.ts";
import {
  BEGINNING,
  caughtSignals,
  type RunEnd,
  type RunRules,
} from "./run_events.ts";
import { startRun } from "./run_start.ts";
import { verifyMounts } from "./verify_mounts.ts";

/** What the caller of a run has to do besides, at moments when somebody else is waited for. */
export interface Besides {
  /** While bubblewrap is busy. */
  readonly prepare: () => void;
  /** When the run is over and its placeholders are gone, while the watcher goes. */
  readonly conclude: () => void;
}

/** Runs the plan to its end. Placeholders are gone when it returns, also on failure. */
export function superviseRun(
  launch: Launch,
  home: StateHome | null,
  rules: RunRules,
  signals: SignalPipe,
  besides: Besides,
): Result<RunEnd, LaunchError> {
  const run = beginRun(launch, home, rules, signals, besides.prepare);
  if (!run.ok) return run;
  let state = feed(run.value, BEGINNING, { kind: "started" }, rules);
  while (state.kind !== "over") {
    const event = takeEvent(run.value, "until_event");
    if (event !== null) state = feed(run.value, state, event, rules);
  }
  finishRun(run.value, besides.conclude);
  return ok(state.end);
}

/**
 * The first step of a run: nothing may interrupt between the first placeholder and the last removal.
 *
 * Where a run begins anew after a failure, these go on: what came meanwhile is still to be taken.
 */
export function catchRunSignals(
  launch: Launch,
  rules: RunRules,
): Result<SignalPipe, LaunchError> {
  // One that the caller ignores is not caught.
  signalDefault(abi.SIGCHLD);
  const isServed = launch.listenPorts.length > 0;
  const ends = isServed ? wakingSocket() : pipe(abi.O_NONBLOCK);
  if (!ends.ok) return failed("Cannot make pipes", ends.error);
  const signals = { from: ends.value[0], to: ends.value[1] };
  const caught = catchSignals(
    isServed ? [...caughtSignals(rules), abi.SIGCHLD] : caughtSignals(rules),
    signals.to,
  );
  if (!caught.ok) return failed("Cannot catch signals", caught.error);
  // As bubblewrap's --die-with-parent has it: the run goes with the caller's thread, unless it was asked to stay.
  if (!launch.plan.supervisor.includes("--outlive-caller")) {
    const bound = prctl(abi.PR_SET_PDEATHSIG, abi.SIGTERM);
    if (!bound.ok) return failed("Cannot end with the caller", bound.error);
  }
  // A monitor that is killed before it has named its child leaves it waiting for ever: such an orphan comes to us.
  const reaper = prctl(abi.PR_SET_CHILD_SUBREAPER, 1);
  if (!reaper.ok) {
    return failed("Cannot become the parent of orphans", reaper.error);
  }
  return ok(signals);
}

/**
 * Everything up to the moment at which the command goes: its events can be taken from then on.
 *
 * @param home `null`: there is none; a plan with placeholders, which need records, is refused
 * @param signals of {@linkcode catchRunSignals}
 * @param meanwhile done while bubblewrap is busy
 * @returns a run that must be followed to its end and given to `finishRun`; on failure nobody and nothing is left
 */
export function beginRun(
  launch: Launch,
  home: StateHome | null,
  rules: RunRules,
  signals: SignalPipe,
  meanwhile: () => void = () => {},
): Result<Run, LaunchError> {
  // 2. The mount points.
  const made = hold(launch, home);
  if (!made.ok) return made;
  const { held, recordsFd } = made.value;
  // 3. The watcher, then bubblewrap.
  const run = startRun({
    launch: onHeld(launch, held),
    held,
    recordsFd,
    signals,
    rules,
  });
  if (!run.ok) {
    if (recordsFd !== null) releasePlaceholders(held, recordsFd);
    return run;
  }
  // 4. What dead runs left. Only now, while bubblewrap is busy: nobody waits for it, and what this run relies on is locked.
  if (recordsFd !== null && home !== null) {
    const live = new Set(held.map(({ record }) => record));
    reclaimPlaceholders(home, undefined, live);
  }
  meanwhile();
  // 5. Look at the mounts before the command starts.
  const { blocked } = run.value;
  if (blocked === null) return run;
  // As the command's user: a root without CAP_SYS_PTRACE, as in containers, may not look into another's sandbox.
  const verified = asCommandUser(
    launch,
    () => verifyMounts(run.value, blocked),
  );
  if (verified.ok) return run;
  killAll(run.value);
  finishRun(run.value);
  return verified;
}

/** An event loop of the runtime's waits for sockets only; the end of a child comes through it as SIGCHLD. Loaded on demand. */
function wakingSocket(): Result<readonly [number, number], SysError> {
  const { socketPair } = require(
    "../sys/sockets.ts",
  ) as typeof import("../sys/sockets.ts");
  return socketPair("stream", abi.SOCK_NONBLOCK);
}

interface Held {
  readonly held: readonly HeldPlaceholder[];
  readonly recordsFd: number | null;
}

function hold(
  launch: Launch,
  home: StateHome | null,
): Result<Held, LaunchError> {
  const { placeholders } = launch.plan;
  if (placeholders.length === 0) return ok({ held: [], recordsFd: null });
  if (home === null) {
    return fail({
      kind: "launch",
      message:
        "Cannot keep placeholder records: neither CODEX_HOME nor HOME names an absolute path; set one of them",
    });
  }
  const made = makePlaceholders(placeholders, home);
  return made.ok ? made : fail({
    kind: "launch",
    message: describePlaceholderError(made.error, home),
    isOutdated: made.error.kind === "placeholder" &&
      made.error.error !== undefined &&
      OF_ANOTHER_HOST.has(made.error.error.errno),
  });
}

/** Where the folder is gone, or what stood there before and can't be made by us. */
const OF_ANOTHER_HOST: ReadonlySet<number> = new Set([
  abi.ENOENT,
  abi.EACCES,
  abi.EPERM,
  abi.EROFS,
]);

/** Errors that another folder for the records would not meet. */
const OF_THE_PLACE: ReadonlySet<number> = new Set([
  ...OF_ANOTHER_HOST,
  abi.ENOTDIR,
  abi.ENOSPC,
]);

function describePlaceholderError(
  error: PlaceholderError,
  { codexHome }: StateHome,
): string {
  switch (error.kind) {
    case "placeholder": {
      const isOfThePlace = OF_THE_PLACE.has(error.error?.errno ?? 0);
      return `Cannot protect ${toText(error.path)}: ${error.why}${
        isOfThePlace
          ? "; make it beforehand, or leave out the write grant around it"
          : ""
      }`;
    }
    case "state":
      return `Cannot use the state folder ${toText(error.path)}: ${error.why}`;
    case "records": {
      const { call, errno } = error.error;
      return `Cannot keep placeholder records below "${
        toText(codexHome)
      }": ${call} says ${abi.errnoText(errno)}${
        OF_THE_PLACE.has(errno)
          ? "; set CODEX_HOME to a directory that you can write"
          : ""
      }`;
    }
  }
}

/**
 * The launch with what was locked instead of what was seen: another run may have removed its placeholder after the probe, and the one
 * made anew in its place is as empty.
 */
function onHeld(launch: Launch, held: readonly HeldPlaceholder[]): Launch {
  const locked = new Map(held.map((one) => [one.path, one]));
  const mounts = launch.plan.mounts.map((step): MountStep => {
    if (step.op.kind !== "bind_seen") return step;
    const one = locked.get(step.op.path);
    if (one === undefined) return step;
    const { device, inode } = one;
    return { ...step, op: { ...step.op, seen: { device, inode } } };
  });
  return { ...launch, plan: { ...launch.plan, mounts } };
}

/** Ends this process in the way the run ended. */
export function endLike(end: RunEnd): never {
  switch (end.kind) {
    case "exited":
    case "refused_inside":
      return exitNow(end.status);
    case "signalled":
      // SIGQUIT would leave a core file of ours, 100 MB and more, where the caller stands.
      prctl(abi.PR_SET_DUMPABLE, 0);
      signalDefault(end.signal);
      kill(getpid(), end.signal);
      return exitNow(128 + end.signal);
    case "timeout":
      return exitNow(124);
    case "not_started":
    case "lost":
      return exitNow(125);
    default:
      return unreachable(end);
  }
}
