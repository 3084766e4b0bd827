/**
 * How a supervised run goes on and ends, as a table: rules, what happens in order, what is done, how it ended.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  array,
  assert,
  boolean,
  constantFrom,
  option,
  property,
  record,
} from "fast-check";
import {
  AT_ONCE,
  BEGINNING,
  caughtSignals,
  nextStep,
  type RunAction,
  type RunEnd,
  type RunEvent,
  type RunRules,
  type RunState,
} from "../../src/linux/run_events.ts";
import * as abi from "../../src/sys/abi.ts";

const GRACE: RunRules = { ...AT_ONCE, graceMs: 2_000 };
const TERMINAL: RunRules = { ...AT_ONCE, terminal: true };
const TERMINAL_GRACE: RunRules = { ...TERMINAL, graceMs: 2_000 };
const TIMEOUT: RunRules = { ...AT_ONCE, timeoutMs: 500 };
const TIMEOUT_GRACE: RunRules = { ...GRACE, timeoutMs: 500 };

const started: RunEvent = { kind: "started" };
const lost: RunEvent = { kind: "lost" };
const exits = (status: number): RunEvent => ({
  kind: "ended",
  status,
  ran: true,
  report: null,
});
const signal = (number: number): RunEvent => ({
  kind: "signal",
  signal: number,
});
const timer = (name: "timeout" | "grace" | "stop"): RunEvent => ({
  kind: "timer",
  timer: name,
});

const exited = (status: number): RunEnd => ({ kind: "exited", status });
const signalled = (number: number): RunEnd => ({
  kind: "signalled",
  signal: number,
});

const NAMES: Readonly<Record<number, string>> = {
  [abi.SIGHUP]: "HUP",
  [abi.SIGINT]: "INT",
  [abi.SIGQUIT]: "QUIT",
  [abi.SIGUSR1]: "USR1",
  [abi.SIGTERM]: "TERM",
  [abi.SIGCONT]: "CONT",
  [abi.SIGTSTP]: "TSTP",
  [abi.SIGWINCH]: "WINCH",
};

/** Actions in one word each: `+TERM` forwards, `grace=2000` arms. */
function spell(action: RunAction): string {
  switch (action.kind) {
    case "forward":
      return `+${NAMES[action.signal] ?? action.signal}`;
    case "arm":
      return `${action.timer}=${action.afterMs}`;
    default:
      return action.kind;
  }
}

const CASES: readonly (readonly [
  why: string,
  rules: RunRules,
  events: readonly RunEvent[],
  actions: string,
  end: RunEnd | null,
])[] = [
  ["the command's status is the run's", AT_ONCE, [started, exits(7)], "", {
    kind: "exited",
    status: 7,
  }],
  [
    "a command that dies of a signal of its own is 128+n, and we are not told to die of it",
    AT_ONCE,
    [started, exits(143)],
    "",
    exited(143),
  ],
  [
    "status 1 of a bubblewrap that never ran the command is ours",
    AT_ONCE,
    [started, { kind: "ended", status: 1, ran: false, report: null }],
    "",
    { kind: "not_started" },
  ],
  [
    "an inner stage that went no further says what it was",
    AT_ONCE,
    [started, {
      kind: "ended",
      status: 127,
      ran: true,
      report: { kind: "command_not_found", message: "m" },
    }],
    "",
    {
      kind: "refused_inside",
      status: 127,
      report: { kind: "command_not_found", message: "m" },
    },
  ],
  [
    "a killed monitor has its own status",
    AT_ONCE,
    [started, { kind: "ended", status: 137, ran: false, report: null }],
    "",
    exited(137),
  ],
  [
    "without a terminal and --grace a signal ends everything at once",
    AT_ONCE,
    [started, signal(abi.SIGTERM)],
    "kill_all",
    signalled(abi.SIGTERM),
  ],
  [
    "SIGINT too",
    AT_ONCE,
    [started, signal(abi.SIGINT)],
    "kill_all",
    signalled(abi.SIGINT),
  ],
  [
    "a run that can't be watched is ended",
    TERMINAL,
    [started, lost],
    "kill_all",
    { kind: "lost" },
  ],
  [
    "nothing happens after the end",
    AT_ONCE,
    [started, exits(0), signal(abi.SIGTERM), lost],
    "",
    exited(0),
  ],

  [
    "--grace: SIGTERM goes to the command, a stopped one is woken for it, and the time runs",
    GRACE,
    [started, signal(abi.SIGTERM)],
    "+TERM +CONT grace=2000",
    null,
  ],
  [
    "a trap's own status is the end",
    GRACE,
    [started, signal(abi.SIGTERM), exits(3)],
    "+TERM +CONT grace=2000",
    exited(3),
  ],
  [
    "a command that dies of what it was given dies by our order",
    GRACE,
    [started, signal(abi.SIGTERM), exits(143)],
    "+TERM +CONT grace=2000",
    signalled(abi.SIGTERM),
  ],
  [
    "when the time is over everything ends",
    GRACE,
    [started, signal(abi.SIGTERM), timer("grace")],
    "+TERM +CONT grace=2000 kill_all",
    signalled(abi.SIGTERM),
  ],
  [
    "a second signal is forwarded and does not begin the time anew",
    GRACE,
    [started, signal(abi.SIGTERM), signal(abi.SIGINT), timer("grace")],
    "+TERM +CONT grace=2000 +INT kill_all",
    signalled(abi.SIGTERM),
  ],
  [
    "without a terminal SIGINT means the end as well",
    GRACE,
    [started, signal(abi.SIGINT), timer("grace")],
    "+INT +CONT grace=2000 kill_all",
    signalled(abi.SIGINT),
  ],
  [
    "SIGUSR1 may mean anything",
    GRACE,
    [started, signal(abi.SIGUSR1), exits(0)],
    "+USR1",
    exited(0),
  ],
  [
    "a command that is not that far yet can't be told: the run ends",
    GRACE,
    [started, { kind: "undeliverable", signal: abi.SIGTERM }],
    "kill_all",
    signalled(abi.SIGTERM),
  ],
  [
    "a command that is not that far yet when its time is over: so it is told",
    TIMEOUT_GRACE,
    [started, timer("timeout"), {
      kind: "undeliverable",
      signal: abi.SIGTERM,
    }],
    "timeout=500 +TERM +CONT grace=2000 kill_all",
    { kind: "timeout" },
  ],
  [
    "a window's size that comes too early ends nothing",
    TERMINAL,
    [started, { kind: "undeliverable", signal: abi.SIGWINCH }],
    "",
    null,
  ],

  [
    "at a terminal ^C is the command's business, without a time",
    TERMINAL,
    [started, signal(abi.SIGINT), signal(abi.SIGINT), exits(0)],
    "+INT +INT",
    exited(0),
  ],
  [
    "a command that dies of ^C: so do we, as a shell expects it",
    TERMINAL,
    [started, signal(abi.SIGINT), exits(130)],
    "+INT",
    signalled(abi.SIGINT),
  ],
  [
    "^\\ likewise",
    TERMINAL_GRACE,
    [started, signal(abi.SIGQUIT), exits(131)],
    "+QUIT",
    signalled(abi.SIGQUIT),
  ],
  [
    "SIGTERM at a terminal has a time of ours",
    TERMINAL,
    [started, signal(abi.SIGTERM)],
    "+TERM +CONT grace=5000",
    null,
  ],
  [
    "a terminal that is gone, too; --grace sets it",
    TERMINAL_GRACE,
    [started, signal(abi.SIGHUP)],
    "+HUP +CONT grace=2000",
    null,
  ],
  [
    "the window's size is passed on",
    TERMINAL,
    [started, signal(abi.SIGWINCH), exits(0)],
    "+WINCH",
    exited(0),
  ],
  [
    "^Z: the command's handler first, then it stops, then we do; and all go on",
    TERMINAL,
    [started, signal(abi.SIGTSTP), timer("stop"), exits(0)],
    "+TSTP stop=100 suspend +CONT",
    exited(0),
  ],
  [
    "^Z and then SIGTERM: it ends instead",
    TERMINAL,
    [started, signal(abi.SIGTSTP), signal(abi.SIGTERM), timer("stop")],
    "+TSTP stop=100 +TERM +CONT grace=5000",
    null,
  ],
  [
    "SIGCONT without a stop of ours is passed on",
    TERMINAL,
    [started, signal(abi.SIGCONT), exits(0)],
    "+CONT",
    exited(0),
  ],

  [
    "--timeout ends everything at once",
    TIMEOUT,
    [started, timer("timeout")],
    "timeout=500 kill_all",
    { kind: "timeout" },
  ],
  [
    "a command that is faster has its own status",
    TIMEOUT,
    [started, exits(0)],
    "timeout=500",
    exited(0),
  ],
  [
    "at a terminal as well",
    { ...TERMINAL, timeoutMs: 500 },
    [started, timer("timeout")],
    "timeout=500 kill_all",
    { kind: "timeout" },
  ],
  [
    "with --grace SIGTERM comes first",
    TIMEOUT_GRACE,
    [started, timer("timeout"), timer("grace")],
    "timeout=500 +TERM +CONT grace=2000 kill_all",
    { kind: "timeout" },
  ],
  [
    "whatever the command makes of it, its time was over",
    TIMEOUT_GRACE,
    [started, timer("timeout"), exits(0)],
    "timeout=500 +TERM +CONT grace=2000",
    { kind: "timeout" },
  ],
  [
    "a run that was told to end before keeps that reason",
    TIMEOUT_GRACE,
    [started, signal(abi.SIGTERM), timer("timeout"), timer("grace")],
    "timeout=500 +TERM +CONT grace=2000 kill_all",
    signalled(abi.SIGTERM),
  ],
  [
    "a timer of an earlier moment means nothing",
    GRACE,
    [started, timer("grace")],
    "",
    null,
  ],
];

for (const [why, rules, events, actions, end] of CASES) {
  test(`a run: ${why}`, () => {
    let state: RunState = BEGINNING;
    const done: string[] = [];
    for (const event of events) {
      const step = nextStep(state, event, rules);
      state = step.state;
      done.push(...step.actions.map(spell));
    }
    expect(done.join(" ")).toBe(actions);
    expect(state.kind === "over" ? state.end : null).toEqual(end);
  });
}

test("each signal that would end us, and can be caught, is caught", () => {
  const { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM } = abi;
  const fatal = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM];
  for (const rules of [AT_ONCE, TIMEOUT, GRACE, TERMINAL]) {
    const caught = caughtSignals(rules);
    expect(fatal.filter((it) => !caught.includes(it))).toEqual([]);
  }
});

test("signals that mean nothing at once are caught only where they are passed on", () => {
  const quiet = [abi.SIGWINCH, abi.SIGTSTP, abi.SIGCONT];
  for (const rules of [AT_ONCE, TIMEOUT]) {
    expect(caughtSignals(rules).filter((it) => quiet.includes(it))).toEqual([]);
  }
  for (const rules of [GRACE, TERMINAL]) {
    expect(caughtSignals(rules).filter((it) => quiet.includes(it)))
      .toEqual(quiet);
  }
});

const EVENTS: readonly RunEvent[] = [
  started,
  lost,
  exits(0),
  exits(143),
  timer("timeout"),
  timer("grace"),
  timer("stop"),
  { kind: "undeliverable", signal: abi.SIGTERM },
  ...[
    abi.SIGHUP,
    abi.SIGINT,
    abi.SIGQUIT,
    abi.SIGTERM,
    abi.SIGUSR1,
    abi.SIGALRM,
    abi.SIGWINCH,
    abi.SIGTSTP,
    abi.SIGCONT,
  ].map(signal),
];

test("whatever happens, an end is final, is reached by one kill at most, and what was told to end has a time", () => {
  assert(
    property(
      record({
        timeoutMs: option(constantFrom(1, 500)),
        graceMs: option(constantFrom(1, 500)),
        terminal: boolean(),
      }),
      array(constantFrom(...EVENTS), { maxLength: 12 }),
      (rules, events) => {
        let state: RunState = BEGINNING;
        let kills = 0;
        let timed = false;
        for (const event of events) {
          const before = state;
          const step = nextStep(state, event, rules);
          state = step.state;
          if (before.kind === "over") {
            expect(step).toEqual({ state: before, actions: [] });
          }
          for (const action of step.actions) {
            if (action.kind === "kill_all") {
              kills++;
              expect(state.kind).toBe("over");
            }
            if (action.kind === "arm" && action.timer === "grace") timed = true;
            if (action.kind === "forward" || action.kind === "suspend") {
              expect(rules.terminal || rules.graceMs !== null).toBe(true);
            }
          }
          if (state.kind === "ending") expect(timed).toBe(true);
        }
        expect(kills).toBeLessThanOrEqual(1);
      },
    ),
    { seed: 9, numRuns: 2_000 },
  );
});
