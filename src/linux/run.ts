/**
 * A run that is going on, seen from its supervisor: what is open and running for it, what happens to it, and what can be done to it.
 *
 * {@linkcode takeEvent} and {@linkcode feed} are the two ends of the reducer in `run_events.ts`: an event loop of another kind waits
 * for {@linkcode wakeFds} itself and uses the same two.
 *
 * Effects, none of which needs an event loop: poll(2), kill(2), wait4(2).
 *
 * @module
 */
import { unreachable } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  catchSignals,
  close,
  getpid,
  kill,
  poll,
  raise,
  read,
  readFile,
  reapIfEnded,
  signalDefault,
  waitFor,
  writeAll,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { type InnerReport, readReport } from "./inner_report.ts";
import type { Launch } from "./launcher.ts";
import { type HeldPlaceholder, releasePlaceholders } from "./placeholders.ts";
import {
  nextStep,
  type RunAction,
  type RunEvent,
  type RunRules,
  type RunState,
  type RunTimer,
} from "./run_events.ts";
import {
  restoreTerminal,
  saveTerminal,
  type TerminalModes,
} from "./terminal.ts";
import {
  childPidOf,
  isAtEnd,
  isSeenToEnd,
  killOpened,
  openInit,
  waitForEnd,
} from "./watcher.ts";
import { lifelineWord } from "./watcher_program.ts";

/** How long bubblewrap may take to name its child. */
const CHILD_TIMEOUT_MS = 30_000;

/** How long a sandbox whose first process is dead may take to go. */
const END_TIMEOUT_MS = 10_000;

/** How long a command that was sent SIGSTOP may take to stop, counted in looks: a busy machine lets neither it nor us go on. */
const STOPPED_TIMEOUT_MS = 200;

/** One look costs no more of that, however long we did not run meanwhile. */
const STOPPED_LOOK_MS = 2;

/** Where signals that come to us are written, one byte each. */
export interface SignalPipe {
  readonly from: number;
  readonly to: number;
}

/** Everything open or running on behalf of one run. */
export interface Run {
  readonly launch: Launch;
  readonly held: readonly HeldPlaceholder[];
  readonly recordsFd: number | null;
  readonly signals: SignalPipe;
  readonly lifeline: number;
  /** `--json-status-fd`: tells the child's number, and at the end whether the command ran. */
  readonly status: number;
  /** What has come from there so far, and whether the child's number has been taken from it. */
  readonly said: { text: string; isHeard: boolean };
  readonly sync: number;
  readonly watcher: number;
  /** A pidfd of the watcher. */
  readonly watcherHandle: number;
  readonly bwrap: number;
  /** A pidfd of the sandbox's first process, once it was named and if it is there. */
  readonly init: { handle: number | null };
  /** A pidfd of bubblewrap. */
  readonly bwrapHandle: number;
  readonly blocked: number | null;
  /** The control channel's outer end, where there is one. */
  readonly channel: number | null;
  /** Where the inner stage says why it could not start the command, non-blocking; `null` where nobody wants to know. */
  readonly report: number | null;
  /** The terminal as the caller had it; `null` without one. */
  readonly terminal: TerminalModes | null;
  /** When each armed timer is due, as performance.now() counts. */
  readonly timers: Map<RunTimer, number>;
}

/** Descriptors that become readable when {@linkcode takeEvent} has something to tell, or to hear. */
function wakeFds(run: Run): readonly number[] {
  const fds = [run.signals.from, run.bwrapHandle, run.watcherHandle];
  return run.said.isHeard ? fds : [...fds, run.status];
}

/** Milliseconds until the next timer is due, `null` when none is armed. */
export function nextDueMs(run: Run): number | null {
  if (run.timers.size === 0) return null;
  return Math.max(0, Math.min(...run.timers.values()) - performance.now());
}

/**
 * The next thing that happened.
 *
 * @param wait `until_event`: waits as long as it takes; `no_wait`: looks only
 * @returns `null` when there is nothing
 */
export function takeEvent(
  run: Run,
  wait: "until_event" | "no_wait",
): RunEvent | null {
  for (;;) {
    const dueMs = nextDueMs(run);
    const timeoutNs = wait === "no_wait"
      ? 0
      : dueMs === null
      ? null
      : Math.ceil(dueMs * 1e6);
    const ready = poll(
      wakeFds(run).map((fd) => ({ fd, events: 1 })),
      timeoutNs,
    );
    if (!ready.ok) return { kind: "lost" };
    const [signalled = 0, ended = 0, alone = 0, said = 0] = ready.value;
    if (signalled !== 0) return { kind: "signal", signal: takeSignal(run) };
    if (ended !== 0) return takeEnd(run);
    // Somebody has killed the watcher: nobody would end the run if we were killed as well.
    if (alone !== 0) return { kind: "lost" };
    // At its end without a number there is nothing more to hear: bubblewrap is about to end.
    if (said !== 0 && !hearStatus(run, 0)) run.said.isHeard = true;
    const timer = takeTimer(run);
    if (timer !== null) return { kind: "timer", timer };
    if (wait === "no_wait") return null;
  }
}

function takeSignal(run: Run): number {
  const word = stableBytes(1);
  const count = read(run.signals.from, word);
  return count.ok && count.value === 1 ? word[0] ?? abi.SIGTERM : abi.SIGTERM;
}

function takeTimer(run: Run): RunTimer | null {
  const now = performance.now();
  for (const [timer, at] of run.timers) {
    if (at > now) continue;
    run.timers.delete(timer);
    return timer;
  }
  return null;
}

/** bubblewrap's own failure has status 1 too: only `--json-status-fd` tells whether the command ran. */
function takeEnd(run: Run): RunEvent {
  const waited = waitFor(run.bwrap);
  if (!waited.ok) return { kind: "lost" };
  // It has ended, so everything that it had to say is in the pipe.
  while (!commandRan(run)) {
    const ready = poll([{ fd: run.status, events: 1 }], 0);
    if (!ready.ok || (ready.value[0] ?? 0) === 0 || !hearStatus(run, 0)) break;
  }
  // Process 1 stays as long as anything that the command left in the background, and it may outlive a killed monitor: it goes now.
  killFirst(run);
  const status = waited.value;
  return {
    kind: "ended",
    status: status.kind === "exited" ? status.status : 128 + status.signal,
    ran: commandRan(run),
    report: run.report === null ? null : takeReport(run.report),
  };
}

/** What stands in the pipe: the stage has ended, and writes no more. */
function takeReport(fd: number): InnerReport | null {
  const chunk = stableBytes(16_384);
  const count = read(fd, chunk);
  return count.ok
    ? readReport(Buffer.from(chunk.buffer).toString("utf8", 0, count.value))
    : null;
}

function commandRan(run: Run): boolean {
  return /"exit-code"/.test(run.said.text);
}

/** Puts an event through the reducer and carries out what follows from it. */
export function feed(
  run: Run,
  state: RunState,
  event: RunEvent,
  rules: RunRules,
): RunState {
  const step = nextStep(state, event, rules);
  let next = step.state;
  for (const action of step.actions) {
    const consequence = carryOut(run, action);
    if (consequence === null) continue;
    next = feed(run, next, consequence, rules);
    if (next.kind === "over") return next;
  }
  return next;
}

function carryOut(run: Run, action: RunAction): RunEvent | null {
  switch (action.kind) {
    case "forward":
      return forward(run, action.signal)
        ? null
        : { kind: "undeliverable", signal: action.signal };
    case "kill_all":
      killAll(run);
      return null;
    case "arm":
      run.timers.set(action.timer, performance.now() + action.afterMs);
      return null;
    case "suspend":
      suspend(run);
      return null;
    default:
      return unreachable(action);
  }
}

/**
 * To the process group that the command starts in, whose leader is the sandbox's first process. That one has no handlers, and the
 * kernel spares the first process of a PID namespace what has no handler: as long as it has no child, nobody would hear.
 *
 * @returns `false` when there is nobody in such a group (yet, or any more)
 */
function forward(run: Run, signal: number): boolean {
  const pid = awaitChildPid(run);
  if (pid === null || isAtEnd(run.sync)) return false;
  // Who is woken has been stopped, so it is there; a look in between would make two of SIGCONT and the one before it.
  const isHeard = signal === abi.SIGCONT || childrenOf(pid)?.length !== 0;
  return isHeard && kill(-pid, signal).ok;
}

/**
 * As the shell that started us expects it of a job: stopped until it says SIGCONT, the terminal meanwhile as it was. In an orphaned
 * process group nothing happens.
 *
 * Inside, default SIGTSTP stops nobody: their process group is an orphaned one (setpgid(2)). And nobody there has a controlling
 * terminal, so that the kernel would let them read what is typed for the shell. So all are stopped by SIGSTOP, those in sessions of
 * their own too.
 */
function suspend(run: Run): void {
  const stopped = stopAll(run);
  const ofCommand = run.terminal === null ? null : saveTerminal();
  if (run.terminal !== null) restoreTerminal(run.terminal);
  signalDefault(abi.SIGCONT);
  signalDefault(abi.SIGTSTP);
  raise(abi.SIGTSTP);
  catchSignals([abi.SIGTSTP, abi.SIGCONT], run.signals.to);
  if (ofCommand !== null) restoreTerminal(ofCommand);
  for (const pid of stopped) kill(pid, abi.SIGCONT);
}

/**
 * Sends SIGSTOP until nobody runs, or the time is over: who waits for input could take what is typed until it has been scheduled, and
 * who forks has a child that no walk has seen yet.
 *
 * @returns whom it has stopped; numbers stay theirs, for nobody inside can go while all are stopped
 */
function stopAll(run: Run): ReadonlySet<number> {
  const stopped = new Set<number>();
  const init = childPidOf(run.said.text);
  if (init === null || isAtEnd(run.sync)) return stopped;
  for (
    let leftMs = STOPPED_TIMEOUT_MS;
    leftMs > 0;
    leftMs -= STOPPED_LOOK_MS
  ) {
    const going = treeOf(init).filter(isGoing);
    if (going.length === 0) break;
    for (const pid of going) {
      if (!stopped.has(pid)) kill(pid, abi.SIGSTOP);
      stopped.add(pid);
    }
    poll([], 1e6);
  }
  return stopped;
}

function treeOf(pid: number): number[] {
  return [pid, ...(childrenOf(pid) ?? []).flatMap(treeOf)];
}

/** Whether a process is neither stopped nor dead (proc_pid_stat(5): the state stands behind the name in parentheses). */
function isGoing(pid: number): boolean {
  const stat = readFile(`/proc/${pid}/stat`, 4_096);
  if (!stat.ok) return false;
  const state = stat.value[stat.value.lastIndexOf(")") + 2];
  return state !== "T" && state !== "Z" && state !== "X";
}

/** The host's number of the sandbox's first process, `null` when bubblewrap ended before it said so. */
export function awaitChildPid(run: Run): number | null {
  const deadline = performance.now() + CHILD_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const pid = childPidOf(run.said.text);
    if (pid !== null) return pid;
    if (!hearStatus(run, 1e9)) return null;
  }
  return null;
}

/** Takes in what bubblewrap has to say, waiting for it at most so long. @returns `false` at end of file */
export function hearStatus(run: Run, timeoutNs: number): boolean {
  const ready = poll([{ fd: run.status, events: 1 }], timeoutNs);
  if (!ready.ok) return false;
  if ((ready.value[0] ?? 0) === 0) return true;
  const chunk = stableBytes(4096);
  const count = read(run.status, chunk);
  if (!count.ok || count.value === 0) return false;
  run.said.text += Buffer.from(chunk.buffer).toString("latin1", 0, count.value);
  meetChild(run);
  return true;
}

/**
 * As soon as the number is known: should we be killed, the watcher then ends the sandbox at once. Our own handle is opened as early:
 * the process is there, and nobody waits for us now, as they do at the end.
 */
function meetChild(run: Run): void {
  const pid = run.said.isHeard ? null : childPidOf(run.said.text);
  if (pid === null) return;
  writeAll(run.lifeline, lifelineWord(pid));
  run.init.handle = openInit(pid);
  run.said.isHeard = true;
}

function killFirst({ init, sync }: Run): void {
  if (init.handle !== null) killOpened(init.handle, sync);
}

/** Ends everything inside at once, and waits for bubblewrap's end. */
export function killAll(run: Run): void {
  // Without its number the first process would outlive the monitor: bubblewrap tells it right after making it.
  awaitChildPid(run);
  killFirst(run);
  kill(run.bwrap, abi.SIGKILL);
  waitFor(run.bwrap);
}

/** Kills what bubblewrap has left to us; its children that are already dead or gone make no difference. @returns who that was */
function killOrphans(watcher: number): number[] {
  const orphans = (childrenOf(getpid()) ?? [])
    .filter((child) => child !== watcher);
  for (const orphan of orphans) kill(orphan, abi.SIGKILL);
  return orphans;
}

/** Children of a process's main thread; `null` where the kernel doesn't tell (CONFIG_PROC_CHILDREN), or the process is gone. */
function childrenOf(pid: number): number[] | null {
  const children = readFile(`/proc/${pid}/task/${pid}/children`, 65_536);
  return children.ok
    ? children.value.split(" ").filter((word) => word !== "").map(Number)
    : null;
}

/**
 * The order of the end: sandbox gone, placeholders removed, watcher dismissed.
 *
 * @param meanwhile what else there is to do at the end: the watcher takes its time to go
 */
export function finishRun(run: Run, meanwhile: () => void = () => {}): void {
  const isDone = cleanUp(run);
  if (isDone) dismissWatcher(run.lifeline, run.watcher);
  meanwhile();
  // Not left to process 1, which reaps nobody in many containers.
  if (isDone) waitFor(run.watcher);
}

/** @returns `false` where it is left to the watcher, which has more time: our death closes the lifeline */
function cleanUp(run: Run): boolean {
  if (run.blocked !== null) close(run.blocked);
  const gone = endOrphans(run);
  if (run.terminal !== null) restoreTerminal(run.terminal);
  if (!gone) return false;
  // With the host's /proc the pipe alone is no proof; the end of the first process is one.
  const isProof = run.launch.plan.proc === "fresh" ||
    isSeenToEnd(run.init.handle, childPidOf(run.said.text));
  if (run.recordsFd !== null && isProof) {
    releasePlaceholders(run.held, run.recordsFd);
  }
  return true;
}

/** Kills what bubblewrap's death has left to us, and waits until nobody inside is left. @returns whether that happened in time */
export function endOrphans(run: Run): boolean {
  const orphans = killOrphans(run.watcher);
  const gone = waitForEnd(run.sync, run.init.handle, END_TIMEOUT_MS);
  // As in finishRun: not left to process 1. Whoever lives yet is not waited for.
  for (const orphan of orphans) reapIfEnded(orphan);
  return gone;
}

/** Everything is done: the watcher has nothing to do. Whoever dismisses it reaps it. */
export function dismissWatcher(lifeline: number, watcher: number): void {
  writeAll(lifeline, lifelineWord(0));
  kill(watcher, abi.SIGKILL);
}
