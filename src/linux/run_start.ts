/**
 * Starts the processes of a supervised run: the watcher first, then bubblewrap.
 *
 * Effects: descriptors, posix_spawn(3).
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  closeOnExecFrom,
  duplicate,
  dupTo,
  hostArch,
  open,
  pidfdOpen,
  pipe,
  sealedMemfd,
  setSoftLimit,
  spawn,
  type SysError,
  waitFor,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { bwrapArguments } from "./bwrap_argv.ts";
import {
  asCommandUser,
  bwrapArgv,
  CHANNEL_FD,
  type Launch,
  type Opened,
  openPlan,
  PROGRAM_PATH,
  REPORT_FD,
} from "./launcher.ts";
import { failed, firstOwnFd, type LaunchError } from "./process_state.ts";
import type { HeldPlaceholder } from "./placeholders.ts";
import {
  dismissWatcher,
  endOrphans,
  killAll,
  type Run,
  type SignalPipe,
} from "./run.ts";
import { forwards, type RunRules } from "./run_events.ts";
import { saveTerminal } from "./terminal.ts";
import type { WatcherOrders } from "./watcher.ts";
import { type WatcherFds, watcherProgram } from "./watcher_program.ts";
import { watcherTemplates } from "./watcher_program.ts" with { type: "macro" };

/** What waits in the watcher's place, by the machine. */
const TEMPLATES: ReturnType<typeof watcherTemplates> = watcherTemplates();

/** What the run is started with, besides its plan. */
export interface StartRequest {
  readonly launch: Launch;
  readonly held: readonly HeldPlaceholder[];
  readonly recordsFd: number | null;
  readonly signals: SignalPipe;
  readonly rules: RunRules;
}

/** Both ends of a pipe. */
interface Pipe {
  readonly from: number;
  readonly to: number;
}

/** What is there before bubblewrap is. */
interface Beginning {
  readonly opened: Opened;
  readonly lifeline: Pipe;
  readonly info: Pipe;
  readonly status: Pipe;
  readonly sync: Pipe;
  readonly block: Pipe;
  readonly watcher: number;
  /** Its pidfd. */
  readonly watcherHandle: number;
  /** bubblewrap waits at `block` until its mounts have been looked at. */
  readonly verifying: boolean;
}

/** Starts both. Nobody is left when it fails. */
export function startRun(request: StartRequest): Result<Run, LaunchError> {
  const { launch, held, recordsFd } = request;
  // Whatever else is open, the caller's stray descriptors included, reaches neither child.
  const closing = closeOnExecFrom(3);
  if (!closing.ok) {
    return failed("Cannot close inherited descriptors", closing.error);
  }
  const opened = asCommandUser(launch, () => openPlan(launch));
  if (!opened.ok) return opened;
  const pipes = [ownPipe(), ownPipe(), ownPipe(), ownPipe(), ownPipe()];
  const ends = pipes.map((one) => one.ok ? one.value : null);
  const [lifeline, info, status, sync, block] = ends;
  if (!lifeline || !info || !status || !sync || !block) {
    const broken = pipes.find((one) => !one.ok);
    return failed(
      "Cannot make pipes",
      broken?.ok === false
        ? broken.error
        : { kind: "sys", call: "pipe2", errno: abi.EMFILE },
    );
  }
  const verifying = launch.plan.supervisor.includes("mount verification");
  const watcher = startWatcher(
    {
      lifeline: lifeline.from,
      info: info.from,
      sync: sync.from,
      records: recordsFd,
      placeholders: held,
      syncIsProof: launch.plan.proc === "fresh",
    },
    // Its end of file lets the sandbox go as well: not when we die, but when the sandbox is gone.
    verifying ? [block.to] : [],
  );
  if (!watcher.ok) return failed("Cannot start the watcher", watcher.error);
  // Before bubblewrap is there: a host that gives no handle of a process gives none of that one either, and it would be let go unwatched.
  const watcherHandle = pidfdOpen(watcher.value);
  if (!watcherHandle.ok) {
    dismissWatcher(lifeline.to, watcher.value);
    waitFor(watcher.value);
    return failed("Cannot watch the run", watcherHandle.error);
  }
  const run = startBubblewrap(request, {
    opened: opened.value,
    lifeline,
    info,
    status,
    sync,
    block,
    watcher: watcher.value,
    watcherHandle: watcherHandle.value,
    verifying,
  });
  if (run.ok) return run;
  dismissWatcher(lifeline.to, watcher.value);
  waitFor(watcher.value);
  return run;
}

/** @returns on failure nobody but the watcher is left */
function startBubblewrap(
  { launch, held, recordsFd, signals, rules }: StartRequest,
  {
    opened,
    lifeline,
    info,
    status,
    sync,
    block,
    watcher,
    watcherHandle,
    verifying,
  }: Beginning,
): Result<Run, LaunchError> {
  const channel = launch.listenPorts.length === 0 ? null : ownChannel();
  if (channel?.ok === false) {
    return failed("Cannot make the control channel", channel.error);
  }
  const inside = channel?.value.inside ?? null;
  const program = inside === null || launch.place === null
    ? null
    : listeningFile(launch, inside, launch.place);
  if (program?.ok === false) {
    return failed(
      "Cannot make the program that listens inside, --stage inner does without",
      program.error,
    );
  }
  const report = launch.reportsFailures ? ownPipe(abi.O_NONBLOCK) : null;
  if (report?.ok === false) return failed("Cannot make pipes", report.error);
  const told = report?.value ?? null;
  const words = bwrapArguments(
    launch.plan,
    {
      ...opened.fds,
      supervised: {
        info: String(info.to),
        status: String(status.to),
        sync: String(sync.to),
        block: verifying ? String(block.from) : null,
      },
    },
    launch.lateEnvironment,
    inside === null && told === null
      ? opened.command
      : opened.command.map((word) =>
        word === PROGRAM_PATH
          ? `/proc/self/fd/${program?.value ?? -1}`
          : word === CHANNEL_FD
          ? String(inside ?? -1)
          : word === REPORT_FD
          ? String(told?.to ?? -1)
          : word
      ),
  );
  const argv = bwrapArgv(
    words,
    opened.command.length,
    opened.keep,
    launch,
  );
  if (!argv.ok) return argv;
  const limit = setSoftLimit(abi.RLIMIT_NOFILE, launch.softNofile);
  if (!limit.ok) {
    return failed("Cannot restore the limit of open files", limit.error);
  }
  const keep = [
    ...opened.keep,
    info.to,
    status.to,
    sync.to,
    ...(verifying ? [block.from] : []),
    ...(inside === null ? [] : [inside]),
    ...(program === null ? [] : [program.value]),
    ...(told === null ? [] : [told.to]),
  ];
  const terminal = rules.terminal ? saveTerminal() : null;
  const bwrap = asCommandUser(launch, () => {
    const child = spawn({
      path: launch.bwrap.path,
      argv: argv.value,
      environment: launch.environment,
      // A key of the terminal is for the command: in our process group bubblewrap would die of it.
      session: forwards(rules) ? "own" : "inherited",
      descriptors: keep.map((fd) => [fd, fd] as const),
    });
    return child.ok
      ? child
      : failed(`Cannot start bubblewrap ${launch.bwrap.path}`, child.error);
  });
  for (
    const fd of [
      info.to,
      info.from,
      status.to,
      sync.to,
      block.from,
      lifeline.from,
      ...(inside === null ? [] : [inside]),
      ...(program === null ? [] : [program.value]),
      ...(told === null ? [] : [told.to]),
    ]
  ) close(fd);
  for (const fd of opened.keep) if (fd >= firstOwnFd()) close(fd);
  if (!bwrap.ok) return bwrap;
  const handle = pidfdOpen(bwrap.value);
  const run: Run = {
    launch,
    held,
    recordsFd,
    signals,
    lifeline: lifeline.to,
    status: status.from,
    said: { text: "", isHeard: false },
    sync: sync.from,
    watcher,
    watcherHandle,
    bwrap: bwrap.value,
    init: { handle: null },
    bwrapHandle: handle.ok ? handle.value : -1,
    blocked: verifying ? block.to : null,
    channel: channel?.value.outside ?? null,
    report: told?.from ?? null,
    terminal,
    timers: new Map(),
  };
  if (handle.ok) return ok(run);
  // While the watcher lives nothing lets it go.
  killAll(run);
  endOrphans(run);
  return failed("Cannot watch the run", handle.error);
}

/**
 * The watcher: a session of its own, `/dev/null` as stdio, only the descriptors of its orders.
 *
 * @param holds what is to stay open while it lives
 */
function startWatcher(
  orders: WatcherOrders,
  holds: readonly number[],
): Result<number, SysError> {
  const nothing = own(open("/dev/null" as ByteString, abi.O_RDWR));
  if (!nothing.ok) return nothing;
  const executable = own(open(OWN_EXECUTABLE, abi.O_PATH));
  if (!executable.ok) return executable;
  const text = Buffer.from(JSON.stringify(orders), "latin1");
  const bytes = stableBytes(text.length);
  bytes.set(text);
  const ordersFd = own(sealedMemfd("codex-watcher", bytes, "data"));
  if (!ordersFd.ok) return ordersFd;
  const keep = [
    ordersFd.value,
    executable.value,
    orders.lifeline,
    orders.info,
    orders.sync,
    ...holds,
    ...(orders.records === null ? [] : [orders.records]),
    ...orders.placeholders.flatMap((
      { parentFd, lockFd },
    ) => [parentFd, lockFd]),
  ];
  const startAs = (path: string): Result<number, SysError> =>
    spawn({
      path,
      argv: ["codex-linux-sandbox", "--watcher", String(ordersFd.value)],
      environment: [],
      session: "own",
      descriptors: [
        [nothing.value, 0],
        [nothing.value, 1],
        [nothing.value, 2],
        ...keep.map((fd) => [fd, fd] as const),
      ],
    });
  const program = waitingProgram({ ...orders, executable: executable.value });
  const waiting = program === null ? null : startAs(`/proc/self/fd/${program}`);
  // Where no memory file may be executed (vm.memfd_noexec, a security module), the watcher proper waits itself.
  const child = waiting?.ok === true ? waiting : startAs(OWN_EXECUTABLE);
  for (const fd of [nothing, executable, ordersFd]) close(fd.value);
  if (program !== null) close(program);
  return child;
}

const OWN_EXECUTABLE = "/proc/self/exe" as ByteString;

/** What waits in its place, ready to be executed; `null` where that can't be. */
function waitingProgram(fds: WatcherFds): number | null {
  const template = TEMPLATES[hostArch()];
  if (template === null) return null;
  const program = watcherProgram(template, fds);
  const file = own(sealedMemfd("codex-watcher", program, "executable"));
  return file.ok ? file.value : null;
}

/** The same open file under a number of ours, so that no child's number overwrites it. */
function own(fd: Result<number, SysError>): Result<number, SysError> {
  if (!fd.ok || fd.value >= firstOwnFd()) return fd;
  const moved = duplicate(fd.value, firstOwnFd());
  close(fd.value);
  return moved;
}

/** The program that listens inside, under the number by which it closes itself. */
function listeningFile(
  { plan, listenPorts: ports }: Launch,
  channel: number,
  place: ByteString,
): Result<number, SysError> {
  const { listeningProgram } = require(
    "./listening_program.ts",
  ) as typeof import("./listening_program.ts");
  const self = duplicate(channel, firstOwnFd());
  if (!self.ok) return self;
  const bytes = listeningProgram({
    arch: hostArch(),
    ports,
    channel,
    self: self.value,
    place,
    name: toText(plan.command[0] ?? place),
  });
  const file = sealedMemfd("codex-listening", bytes, "executable");
  if (!file.ok) return file;
  const placed = dupTo(file.value, self.value);
  close(file.value);
  return placed.ok ? self : placed;
}

/** Loaded on demand: only a run whose network is served has a channel. */
function ownChannel(): Result<
  { readonly inside: number; readonly outside: number },
  SysError
> {
  const { socketPair } = require(
    "../sys/sockets.ts",
  ) as typeof import("../sys/sockets.ts");
  const ends = socketPair("seqpacket");
  if (!ends.ok) return ends;
  const inside = own(ok(ends.value[0]));
  if (!inside.ok) return inside;
  const outside = own(ok(ends.value[1]));
  return outside.ok
    ? ok({ inside: inside.value, outside: outside.value })
    : outside;
}

function ownPipe(flags = 0): Result<Pipe, SysError> {
  const ends = pipe(flags);
  if (!ends.ok) return ends;
  const from = own(ok(ends.value[0]));
  if (!from.ok) return from;
  const to = own(ok(ends.value[1]));
  return to.ok ? ok({ from: from.value, to: to.value }) : to;
}
