/**
 * How a supervised run goes on and ends: what happened, and what is to be done about it.
 *
 * Pure: a state and an event give the next state and the actions, in order. Whoever waits for events (a blocking poll, an event loop
 * that serves a proxy as well) carries the actions out and feeds the next event, until the state is `over`.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import type { InnerReport } from "./inner_report.ts";
import * as abi from "../sys/abi.ts";

/** What decides beforehand how the run may end. */
export interface RunRules {
  /** `--timeout`. */
  readonly timeoutMs: number | null;
  /** `--grace`: how long the command may take once it was told to end. */
  readonly graceMs: number | null;
  /** A stream of the command is a terminal: keys reach it as under a shell. */
  readonly terminal: boolean;
}

/** Everything ends at once. */
export const AT_ONCE: RunRules = {
  timeoutMs: null,
  graceMs: null,
  terminal: false,
};

/** With a terminal and without `--grace`: what SIGTERM and SIGHUP leave the command. */
const TERMINAL_GRACE_MS = 5_000;

/** Between SIGTSTP and the stop that follows it: time for the command's own handler. */
const STOP_DELAY_MS = 100;

/** How the run ended. */
export type RunEnd =
  /** The command's own status; 128+n when a signal ended it. */
  | { readonly kind: "exited"; readonly status: number }
  /** We were told to end by this signal, or the command died of it after it had been told so; nobody is left inside. */
  | { readonly kind: "signalled"; readonly signal: number }
  /** `--timeout` ended it. */
  | { readonly kind: "timeout" }
  /** The inner stage could not start the command. */
  | {
    readonly kind: "refused_inside";
    readonly status: number;
    readonly report: InnerReport;
  }
  /** bubblewrap, which has said why, ended before the command ran. */
  | { readonly kind: "not_started" }
  /** Somebody killed the watcher, or the host would not let us watch it, so it was ended. */
  | { readonly kind: "lost" };

/** What a lost run is told with. */
export const LOST = "the run could not be watched any longer and was ended";

/** What happened. */
export type RunEvent =
  /** The command has been let go. */
  | { readonly kind: "started" }
  /** A signal came to us. */
  | { readonly kind: "signal"; readonly signal: number }
  /** There was nobody to give this signal to: the command is not that far yet. */
  | { readonly kind: "undeliverable"; readonly signal: number }
  | { readonly kind: "timer"; readonly timer: RunTimer }
  /** bubblewrap has ended; `ran`: it had started what it was told to; `report`: of an inner stage that went no further. */
  | {
    readonly kind: "ended";
    readonly status: number;
    readonly ran: boolean;
    readonly report: InnerReport | null;
  }
  /** The run can't be watched any longer, or what it relies on has broken. */
  | { readonly kind: "lost" };

export type RunTimer = "timeout" | "grace" | "stop";

/** What is to be done. */
export type RunAction =
  /** To the command's process group. */
  | { readonly kind: "forward"; readonly signal: number }
  /** Ends everything inside and waits for bubblewrap's end. */
  | { readonly kind: "kill_all" }
  /** A `timer` event after so long; an earlier one of this name is replaced. */
  | {
    readonly kind: "arm";
    readonly timer: RunTimer;
    readonly afterMs: number;
  }
  /** Stops everybody inside and ourselves, as SIGTSTP would have; it is carried out when we go on, and they with us. */
  | { readonly kind: "suspend" };

export type RunState =
  | {
    readonly kind: "running";
    /** Signals that the command was given: dying of one of them is dying by our order. */
    readonly given: readonly number[];
  }
  /** The command was told to end and has time until the timer `grace`. */
  | {
    readonly kind: "ending";
    readonly given: readonly number[];
    readonly cause: RunEnd;
  }
  | { readonly kind: "over"; readonly end: RunEnd };

export interface RunStep {
  readonly state: RunState;
  readonly actions: readonly RunAction[];
}

/** Before the command has been let go. */
export const BEGINNING: RunState = { kind: "running", given: [] };

/** Whether the command gets the signals that come to us. */
export function forwards(rules: RunRules): boolean {
  return rules.terminal || rules.graceMs !== null;
}

/** Signals that end a run unless they are forwarded: their default action is death, and they can be caught. */
const FATAL_SIGNALS: readonly number[] = [
  abi.SIGHUP,
  abi.SIGINT,
  abi.SIGQUIT,
  abi.SIGTERM,
  abi.SIGUSR1,
  abi.SIGUSR2,
  abi.SIGALRM,
];

/** Those that are caught under these rules. */
export function caughtSignals(rules: RunRules): readonly number[] {
  return forwards(rules)
    ? [...FATAL_SIGNALS, abi.SIGWINCH, abi.SIGTSTP, abi.SIGCONT]
    : FATAL_SIGNALS;
}

/** What an event means in a state. Nothing more happens once a run is over. */
export function nextStep(
  state: RunState,
  event: RunEvent,
  rules: RunRules,
): RunStep {
  if (state.kind === "over") return { state, actions: [] };
  switch (event.kind) {
    case "started":
      return {
        state,
        actions: rules.timeoutMs === null
          ? []
          : [{ kind: "arm", timer: "timeout", afterMs: rules.timeoutMs }],
      };
    case "signal":
      return forwards(rules)
        ? forwardSignal(state, event.signal, rules)
        : endNow({ kind: "signalled", signal: event.signal });
    case "undeliverable":
      // A change of the window's size that came too early is no reason to end.
      if (!FATAL_SIGNALS.includes(event.signal)) return { state, actions: [] };
      return endNow(
        state.kind === "ending"
          ? state.cause
          : { kind: "signalled", signal: event.signal },
      );
    case "timer":
      return onTimer(state, event.timer, rules);
    case "ended":
      return over(endOf(state, event));
    case "lost":
      return endNow({ kind: "lost" });
    default:
      return unreachable(event);
  }
}

type Going = Exclude<RunState, { kind: "over" }>;

function over(end: RunEnd): RunStep {
  return { state: { kind: "over", end }, actions: [] };
}

function endNow(end: RunEnd): RunStep {
  return { state: { kind: "over", end }, actions: [{ kind: "kill_all" }] };
}

function forward(signal: number): RunAction {
  return { kind: "forward", signal };
}

/** As under a shell: the command decides what a signal means, and one that says "end" sets it a time. */
function forwardSignal(
  state: Going,
  signal: number,
  rules: RunRules,
): RunStep {
  if (signal === abi.SIGTSTP) {
    return {
      state,
      actions: [
        forward(abi.SIGTSTP),
        { kind: "arm", timer: "stop", afterMs: STOP_DELAY_MS },
      ],
    };
  }
  const given = state.given.includes(signal)
    ? state.given
    : [...state.given, signal];
  if (state.kind === "ending" || !setsTime(signal, rules)) {
    return { state: { ...state, given }, actions: [forward(signal)] };
  }
  return tellToEnd(
    { kind: "signalled", signal },
    signal,
    given,
    rules.graceMs ?? TERMINAL_GRACE_MS,
  );
}

/** Keys of a terminal may mean anything to a program; without one, whoever sends them wants an end. */
function setsTime(signal: number, rules: RunRules): boolean {
  switch (signal) {
    case abi.SIGTERM:
    case abi.SIGHUP:
      return true;
    case abi.SIGINT:
    case abi.SIGQUIT:
      return !rules.terminal;
    default:
      return false;
  }
}

function tellToEnd(
  cause: RunEnd,
  signal: number,
  given: readonly number[],
  graceMs: number,
): RunStep {
  return {
    state: { kind: "ending", given, cause },
    actions: [
      forward(signal),
      // A stopped command could not hear it.
      forward(abi.SIGCONT),
      { kind: "arm", timer: "grace", afterMs: graceMs },
    ],
  };
}

function onTimer(state: Going, timer: RunTimer, rules: RunRules): RunStep {
  switch (timer) {
    case "stop":
      // Whoever has told it to end meanwhile does not want to wait for somebody's fg.
      if (!forwards(rules) || state.kind === "ending") {
        return { state, actions: [] };
      }
      return {
        state,
        actions: [{ kind: "suspend" }, forward(abi.SIGCONT)],
      };
    case "grace":
      return state.kind === "ending"
        ? endNow(state.cause)
        : { state, actions: [] };
    case "timeout":
      if (rules.graceMs === null) return endNow({ kind: "timeout" });
      // Told to end already: that time is running, and it is the shorter way.
      if (state.kind === "ending") return { state, actions: [] };
      return tellToEnd(
        { kind: "timeout" },
        abi.SIGTERM,
        state.given,
        rules.graceMs,
      );
    default:
      return unreachable(timer);
  }
}

/** bubblewrap's own failure has status 1 too, so `ran` decides. */
function endOf(
  state: Going,
  { status, ran, report }: Extract<RunEvent, { kind: "ended" }>,
): RunEnd {
  if (report !== null) return { kind: "refused_inside", status, report };
  if (!ran && status === 1) return { kind: "not_started" };
  if (state.kind === "ending" && state.cause.kind === "timeout") {
    return state.cause;
  }
  const signal = status - 128;
  return state.given.includes(signal)
    ? { kind: "signalled", signal }
    : { kind: "exited", status };
}
