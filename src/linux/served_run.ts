/**
 * A supervised run whose network we serve: supervisor and proxy are one process with one event loop.
 *
 * The inner stage makes the listeners inside, hands them over the control channel and waits; once they are served it goes on, and the
 * events of the run come between those of the proxy. Signals and the end of bubblewrap wake the loop through the socket that the
 * signal handler writes to.
 *
 * Effects: those of `run.ts`, and the runtime's event loop.
 *
 * @module
 */
import type { NetworkService } from "../egress/service.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  getLimit,
  poll,
  setSoftLimit,
  unblockSignal,
} from "../sys/calls.ts";
import { accept, takeListeners } from "./control_channel.ts";
import { type Launch } from "./launcher.ts";
import { failed, type LaunchError } from "./process_state.ts";
import {
  feed,
  finishRun,
  hearStatus,
  nextDueMs,
  type Run,
  type SignalPipe,
  takeEvent,
} from "./run.ts";
import {
  BEGINNING,
  type RunEnd,
  type RunEvent,
  type RunRules,
  type RunState,
} from "./run_events.ts";
import type { StateHome } from "../host/state_folder.ts";
import { beginRun } from "./supervisor.ts";

/** How long the inner stage may take to hand its listeners over. */
const HANDOVER_TIMEOUT_MS = 30_000;

/** A longer timer of the runtime's fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Runs the plan to its end and serves its network meanwhile. Nobody and nothing is left when it resolves, also on failure. */
export async function superviseServed(
  launch: Launch,
  home: StateHome | null,
  rules: RunRules,
  signals: SignalPipe,
  service: NetworkService,
): Promise<Result<RunEnd, LaunchError>> {
  const begun = beginRun(launch, home, rules, signals);
  if (!begun.ok) return begun;
  const run = begun.value;
  service.load();
  const started = handOver(run, rules, service);
  const { state, failure } = started;
  const end = state.kind === "over" ? state.end : await follow(
    run,
    state,
    rules,
  );
  finishRun(run);
  await service.end(end.kind !== "exited" || end.status !== 0);
  return failure === null ? ok(end) : fail(failure);
}

export interface Started {
  readonly state: RunState;
  /** Why the command could not be started. */
  readonly failure: LaunchError | null;
}

/** Takes the listeners, serves them, and lets the command go. A stage that ends before has said why; its status is the run's. */
export function handOver(
  run: Run,
  rules: RunRules,
  service: NetworkService,
): Started {
  const { channel, launch } = run;
  if (channel === null) throw new Error("a served run has a channel");
  let state = feed(run, BEGINNING, { kind: "started" }, rules);
  const lost = (error: LaunchError): Started => ({
    state: feed(run, state, { kind: "lost" }, rules),
    failure: error,
  });
  const deadline = performance.now() + HANDOVER_TIMEOUT_MS;
  while (state.kind !== "over") {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) {
      return lost({
        kind: "launch",
        message: `the inner stage was not ready within ${
          HANDOVER_TIMEOUT_MS / 1_000
        } s`,
      });
    }
    const event = takeRunEvent(run);
    if (event !== null) {
      state = feed(run, state, event, rules);
      continue;
    }
    const ready = poll(
      [channel, run.signals.from, run.bwrapHandle].map((fd) => ({
        fd,
        events: 1,
      })),
      Math.min(leftMs, nextDueMs(run) ?? leftMs) * 1e6,
    );
    if (!ready.ok) return lost(failed("Cannot wait", ready.error).error);
    if ((ready.value[0] ?? 0) === 0) continue;
    // The inner stage runs: bubblewrap has named it long ago.
    hearStatus(run, 0);
    const taken = takeListeners(channel, launch.listenPorts.length);
    if (!taken.ok) {
      return lost(failed("Cannot take over the listeners", taken.error).error);
    }
    if (taken.value !== null) {
      try {
        service.start(taken.value, raisedLimit());
      } catch (error) {
        return lost({
          kind: "launch",
          message: `Cannot serve the managed network: ${
            error instanceof Error ? error.message : String(error)
          }`,
        });
      }
      const accepted = accept(channel);
      if (!accepted.ok) {
        return lost(failed("Cannot let the command go", accepted.error).error);
      }
    }
    break;
  }
  close(channel);
  return { state, failure: null };
}

/** Of each connection two descriptors are held: what the hard limit allows is ours, the command has its own. */
function raisedLimit(): number {
  const limit = getLimit(0, abi.RLIMIT_NOFILE);
  if (!limit.ok) return 1_024;
  const { soft, hard } = limit.value;
  return setSoftLimit(abi.RLIMIT_NOFILE, hard).ok ? hard : soft;
}

/** Lets the event loop turn until the run is over. */
function follow(run: Run, begun: RunState, rules: RunRules): Promise<RunEnd> {
  return new Promise((resolve) => {
    let state = begun;
    let timer: ReturnType<typeof setTimeout> | null = null;
    const take = (event: RunEvent): void => {
      if (state.kind === "over") return;
      state = feed(run, state, event, rules);
      if (state.kind === "over") {
        if (timer !== null) clearTimeout(timer);
        resolve(state.end);
      }
    };
    const drain = (): void => {
      while (state.kind !== "over") {
        const event = takeRunEvent(run);
        if (event === null) break;
        take(event);
      }
      if (timer !== null) clearTimeout(timer);
      const dueMs = state.kind === "over" ? null : nextDueMs(run);
      timer = dueMs === null ? null : setTimeout(
        drain,
        Math.min(Math.ceil(dueMs), MAX_TIMER_MS),
      );
    };
    const lose = (): void => take({ kind: "lost" });
    // What the caller has blocked is blocked in the command too; here it would keep the end from us.
    unblockSignal(abi.SIGCHLD);
    const watched = Bun.connect({
      fd: run.signals.from,
      socket: {
        data(_socket: unknown, bytes: Uint8Array): void {
          for (const signal of bytes) {
            if (signal !== abi.SIGCHLD) take({ kind: "signal", signal });
          }
          drain();
        },
        close: lose,
        error: lose,
      },
    } as never) as Promise<unknown>;
    watched.then(drain, lose);
  });
}

/** What happened besides the end of some child, which {@linkcode takeEvent} sees by itself. */
function takeRunEvent(run: Run): RunEvent | null {
  for (;;) {
    const event = takeEvent(run, "no_wait");
    const isChild = event?.kind === "signal" && event.signal === abi.SIGCHLD;
    if (!isChild) return event;
  }
}
