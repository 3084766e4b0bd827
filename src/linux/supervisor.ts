/**
 * A run that somebody of ours stays for: placeholders to remove, mounts to verify, a caller to outlive.
 *
 * The supervisor starts the watcher, then bubblewrap, checks the mounts while bubblewrap waits, lets it go, and ends with the
 * command's status. Signals are caught from before the first placeholder to after the last removal; a fatal one ends the whole
 * sandbox, and then the supervisor by the same signal. SIGKILL is the watcher's case.
 *
 * Effects, all synchronous: no event loop is needed.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import type { AbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  catchSignals,
  type ChildStatus,
  close,
  closeOnExecFrom,
  duplicate,
  exitNow,
  fstat,
  getpid,
  kill,
  O_NOFOLLOW,
  open,
  openAt2,
  pidfdOpen,
  pipe,
  poll,
  prctl,
  read,
  readFile,
  sealedMemfd,
  setSoftLimit,
  signalDefault,
  spawn,
  stat,
  type SysError,
  waitFor,
  writeAll,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { bwrapArguments } from "./bwrap_argv.ts";
import {
  failed,
  firstOwnFd,
  type Launch,
  type LaunchError,
  openPlan,
} from "./launcher.ts";
import type { MountStep } from "./mounts.ts";
import {
  type HeldPlaceholder,
  makePlaceholders,
  type PlaceholderError,
  reclaimPlaceholders,
  releasePlaceholders,
} from "./placeholders.ts";
import {
  childPidOf,
  DISMISSED,
  killInit,
  waitForEnd,
  type WatcherOrders,
} from "./watcher.ts";

/** Signals that end the run: their default action is death, and they can be caught. */
const FATAL_SIGNALS = [
  abi.SIGHUP,
  abi.SIGINT,
  abi.SIGQUIT,
  abi.SIGTERM,
  abi.SIGUSR1,
  abi.SIGUSR2,
  abi.SIGALRM,
];

/** How long bubblewrap may take to make its mounts. */
const MOUNT_TIMEOUT_MS = 30_000;

/** How long a sandbox whose first process is dead may take to go. */
const END_TIMEOUT_MS = 10_000;

/** Between two looks at the mounts of a bubblewrap that is still making them. */
const LOOK_INTERVAL_NS = 150_000;

/** Where the state folder is. */
export interface SupervisorHome {
  readonly codexHome: AbsPath;
  readonly euid: number;
}

/** Everything open or running on behalf of one run. */
interface Run {
  readonly launch: Launch;
  readonly held: readonly HeldPlaceholder[];
  readonly recordsFd: number | null;
  readonly signals: number;
  readonly lifeline: number;
  readonly status: number;
  /** What bubblewrap has written to `--json-status-fd` so far. */
  readonly said: { text: string };
  readonly sync: number;
  readonly watcher: number;
  readonly bwrap: number;
  readonly blocked: number | null;
}

/** How the run ended. */
export type RunEnd =
  | { readonly kind: "exited"; readonly status: number }
  /** We were told to end by this signal, and everything inside is gone. */
  | { readonly kind: "signalled"; readonly signal: number };

/** Runs the plan to its end. Placeholders are gone when it returns, also on failure. */
export function superviseRun(
  launch: Launch,
  home: SupervisorHome,
): Result<RunEnd, LaunchError> {
  // 1. Nothing may interrupt between the first placeholder and the last removal.
  const signals = pipe(abi.O_NONBLOCK);
  if (!signals.ok) return failed("Cannot make pipes", signals.error);
  const caught = catchSignals(FATAL_SIGNALS, signals.value[1]);
  if (!caught.ok) return failed("Cannot catch signals", caught.error);
  // A monitor that is killed before it has named its child leaves it waiting for ever: such an orphan comes to us.
  prctl(abi.PR_SET_CHILD_SUBREAPER, 1);
  // 2. The mount points.
  const placeholders = launch.plan.placeholders;
  const made = placeholders.length === 0
    ? ok({ held: [], recordsFd: null })
    : makePlaceholders(placeholders, home);
  if (!made.ok) {
    return fail({
      kind: "launch",
      message: describePlaceholderError(made.error),
    });
  }
  const { held, recordsFd } = made.value;
  // 3. The watcher, then bubblewrap.
  const run = start(
    onHeld(launch, held),
    held,
    recordsFd,
    signals.value[0],
  );
  if (!run.ok) {
    if (recordsFd !== null) releasePlaceholders(held, recordsFd);
    return run;
  }
  // 4. What dead runs left. Only now, while bubblewrap is busy: nobody waits for it, and what this run relies on is locked.
  if (recordsFd !== null) reclaimPlaceholders(home);
  // 5. Look at the mounts before the command starts.
  const verified = run.value.blocked === null
    ? ok(undefined)
    : verify(run.value, run.value.blocked);
  const end = verified.ok ? follow(run.value) : stop(run.value);
  finish(run.value);
  return verified.ok ? ok(end) : verified;
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
  if (end.kind === "exited") exitNow(end.status);
  signalDefault(end.signal);
  kill(getpid(), end.signal);
  exitNow(128 + end.signal);
}

function describePlaceholderError(error: PlaceholderError): string {
  switch (error.kind) {
    case "placeholder":
      return `Cannot protect ${toText(error.path)}: ${error.why}`;
    case "state":
      return `Cannot use the state folder ${toText(error.path)}: ${error.why}`;
    case "sys":
      return `Cannot make a placeholder for protected metadata: ${error.call} says ${
        abi.errnoText(error.errno)
      }`;
  }
}

/** The same open file under a number of ours, so that no child's number overwrites it. */
function own(fd: Result<number, SysError>): Result<number, SysError> {
  if (!fd.ok || fd.value >= firstOwnFd()) return fd;
  const moved = duplicate(fd.value, firstOwnFd());
  close(fd.value);
  return moved;
}

function ownPipe(): Result<
  { readonly from: number; readonly to: number },
  SysError
> {
  const ends = pipe();
  if (!ends.ok) return ends;
  const from = own(ok(ends.value[0]));
  if (!from.ok) return from;
  const to = own(ok(ends.value[1]));
  return to.ok ? ok({ from: from.value, to: to.value }) : to;
}

function start(
  launch: Launch,
  held: readonly HeldPlaceholder[],
  recordsFd: number | null,
  signals: number,
): Result<Run, LaunchError> {
  // Whatever else is open, the caller's stray descriptors included, reaches neither child.
  const closing = closeOnExecFrom(3);
  if (!closing.ok) {
    return failed("Cannot close inherited descriptors", closing.error);
  }
  const opened = openPlan(launch);
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
        : { kind: "sys", call: "pipe2", errno: 24 },
    );
  }
  const watcher = startWatcher({
    lifeline: lifeline.from,
    info: info.from,
    sync: sync.from,
    records: recordsFd,
    placeholders: held,
    syncIsProof: launch.plan.proc === "fresh",
  });
  if (!watcher.ok) return failed("Cannot start the watcher", watcher.error);
  const verifying = launch.plan.supervisor.includes("mount verification");
  const words = bwrapArguments(
    launch.plan,
    {
      ...opened.value.fds,
      supervised: {
        info: String(info.to),
        status: String(status.to),
        sync: String(sync.to),
        block: verifying ? String(block.from) : null,
      },
    },
    launch.lateEnvironment,
    opened.value.command,
  );
  const limit = setSoftLimit(abi.RLIMIT_NOFILE, launch.softNofile);
  if (!limit.ok) {
    return failed("Cannot restore the limit of open files", limit.error);
  }
  const keep = [
    ...opened.value.keep,
    info.to,
    status.to,
    sync.to,
    ...(verifying ? [block.from] : []),
  ];
  const bwrap = spawn({
    path: launch.bwrap.path,
    argv: ["bwrap", ...words],
    environment: launch.environment,
    session: "inherited",
    descriptors: keep.map((fd) => [fd, fd] as const),
  });
  for (
    const fd of [
      info.to,
      info.from,
      status.to,
      sync.to,
      block.from,
      lifeline.from,
    ]
  ) close(fd);
  for (const fd of opened.value.keep) if (fd >= firstOwnFd()) close(fd);
  if (!bwrap.ok) {
    writeAll(lifeline.to, new Uint8Array([DISMISSED]));
    waitFor(watcher.value);
    return failed(`Cannot start bubblewrap ${launch.bwrap.path}`, bwrap.error);
  }
  return ok({
    launch,
    held,
    recordsFd,
    signals,
    lifeline: lifeline.to,
    status: status.from,
    said: { text: "" },
    sync: sync.from,
    watcher: watcher.value,
    bwrap: bwrap.value,
    blocked: verifying ? block.to : null,
  });
}

/** Starts ourselves as the watcher: a session of its own, `/dev/null` as stdio, only the descriptors of its orders. */
function startWatcher(orders: WatcherOrders): Result<number, SysError> {
  const nothing = own(open("/dev/null" as ByteString, abi.O_RDWR));
  if (!nothing.ok) return nothing;
  const text = Buffer.from(JSON.stringify(orders), "latin1");
  const bytes = stableBytes(text.length);
  bytes.set(text);
  const ordersFd = own(sealedMemfd("codex-watcher", bytes, "data"));
  if (!ordersFd.ok) return ordersFd;
  const keep = [
    ordersFd.value,
    orders.lifeline,
    orders.info,
    orders.sync,
    ...(orders.records === null ? [] : [orders.records]),
    ...orders.placeholders.flatMap((
      { parentFd, lockFd },
    ) => [parentFd, lockFd]),
  ];
  const child = spawn({
    path: "/proc/self/exe",
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
  close(nothing.value);
  close(ordersFd.value);
  return child;
}

/** Waits for the mounts, compares them with the plan, and lets the sandbox go when all are what they should be. */
function verify(run: Run, blocked: number): Result<void, LaunchError> {
  const pid = awaitChildPid(run);
  if (pid === null) {
    return fail({
      kind: "launch",
      message: "bubblewrap ended while it was setting the sandbox up",
    });
  }
  const ready = awaitMounts(run, pid);
  if (!ready.ok) return ready;
  const standing = lookAt(pid);
  if (!standing.ok) return standing;
  for (const step of run.launch.plan.mounts) {
    const checked = verifyStep(step, standing.value);
    if (!checked.ok) return checked;
  }
  close(standing.value.rootFd);
  writeAll(blocked, new Uint8Array([1]));
  close(blocked);
  return ok(undefined);
}

/** The host's number of the sandbox's first process, `null` when bubblewrap ended before it said so. */
function awaitChildPid(run: Run): number | null {
  const deadline = performance.now() + MOUNT_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const pid = childPidOf(run.said.text);
    if (pid !== null) return pid;
    if (!hearStatus(run, 1e9)) return null;
  }
  return null;
}

/** Takes in what bubblewrap has to say, waiting for it at most so long. @returns `false` at end of file */
function hearStatus(run: Run, timeoutNs: number): boolean {
  const ready = poll([{ fd: run.status, events: 1 }], timeoutNs);
  if (!ready.ok) return false;
  if ((ready.value[0] ?? 0) === 0) return true;
  const chunk = stableBytes(4096);
  const count = read(run.status, chunk);
  if (!count.ok || count.value === 0) return false;
  run.said.text += Buffer.from(chunk.buffer).toString("latin1", 0, count.value);
  return true;
}

/**
 * Until the sandbox stands on its own root.
 *
 * Every plan has a private `/dev`. At first the child sees the host's; while bubblewrap builds, its root is a scaffold without `/dev`;
 * only when every mount has been made does it move into the new root.
 */
function awaitMounts(run: Run, pid: number): Result<void, LaunchError> {
  const host = stat("/dev" as ByteString);
  if (!host.ok) return failed("Cannot look at /dev", host.error);
  const root = `/proc/${pid}/root`;
  const inside = `${root}/dev` as ByteString;
  const deadline = performance.now() + MOUNT_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const there = stat(inside);
    if (there.ok && there.value.device !== host.value.device) {
      return ok(undefined);
    }
    // Its death closes the pipe, and so wakes us early.
    const ready = poll([{ fd: run.sync, events: 1 }], LOOK_INTERVAL_NS);
    if (ready.ok && (ready.value[0] ?? 0) !== 0) {
      return fail({
        kind: "launch",
        message: "bubblewrap ended while it was setting the sandbox up",
      });
    }
  }
  return fail({
    kind: "launch",
    message: `the mounts were not ready within ${MOUNT_TIMEOUT_MS / 1000} s`,
  });
}

/** The sandbox as it stands, seen from outside. */
interface Standing {
  readonly rootFd: number;
  /** Options of the topmost mount at each place (proc_pid_mountinfo(5)). */
  readonly mounts: ReadonlyMap<string, readonly string[]>;
}

function lookAt(pid: number): Result<Standing, LaunchError> {
  const table = readFile(`/proc/${pid}/mountinfo`, 64 * 1024 * 1024);
  if (!table.ok) {
    return failed("Cannot read the sandbox's mount table", table.error);
  }
  const rootFd = open(`/proc/${pid}/root` as ByteString, abi.O_PATH);
  if (!rootFd.ok) return failed("Cannot look into the sandbox", rootFd.error);
  const mounts = new Map<string, readonly string[]>();
  for (const line of table.value.split("\n")) {
    const [, , , , place, options] = line.split(" ");
    if (place === undefined || options === undefined) continue;
    // Space, tab, newline and backslash are written as three octal digits.
    const path = place.replace(
      /\\([0-7]{3})/g,
      (_, digits: string) => String.fromCharCode(parseInt(digits, 8)),
    );
    mounts.set(path, options.split(","));
  }
  return ok({ rootFd: rootFd.value, mounts });
}

/** Whether a planned mount is there, where it should be, and what it should be. */
function verifyStep(
  { op }: MountStep,
  standing: Standing,
): Result<void, LaunchError> {
  const place = op.kind === "dev"
    ? "/dev"
    : op.kind === "proc"
    ? "/proc"
    : op.path;
  if (op.kind === "symlink") return ok(undefined);
  const options = standing.mounts.get(place);
  if (options === undefined) return swapped(place, "it is not mounted");
  const readOnly = op.kind === "remount_read_only" ||
    op.kind === "empty_file" || op.kind === "bind_own" ||
    ((op.kind === "bind_path" || op.kind === "bind_seen") &&
      op.access === "read_only");
  if (readOnly && !options.includes("ro")) {
    return swapped(place, "it is not read-only");
  }
  if (op.kind !== "bind_seen") return ok(undefined);
  const relative = place === "/" ? "." : place.slice(1);
  const fd = openAt2(
    standing.rootFd,
    relative,
    abi.O_PATH | O_NOFOLLOW,
    abi.RESOLVE_BENEATH | abi.RESOLVE_NO_SYMLINKS,
  );
  if (!fd.ok) return swapped(place, abi.errnoText(fd.error.errno));
  const there = fstat(fd.value);
  close(fd.value);
  const same = there.ok && there.value.device === op.seen.device &&
    there.value.inode === op.seen.inode;
  return same ? ok(undefined) : swapped(place, "something else is mounted");
}

function swapped(place: string, what: string): Result<void, LaunchError> {
  return fail({
    kind: "launch",
    message: `Cannot verify the mount of ${
      toText(place as ByteString)
    }: ${what}, something was swapped while the sandbox was being set up; run again`,
  });
}

/** Waits for the end of bubblewrap, or for a signal that ends everything. */
function follow(run: Run): RunEnd {
  const handle = pidfdOpen(run.bwrap);
  if (!handle.ok) return stop(run);
  const word = stableBytes(1);
  for (;;) {
    const ready = poll([{ fd: run.signals, events: 1 }, {
      fd: handle.value,
      events: 1,
    }], null);
    if (!ready.ok) return stop(run);
    const [signalled = 0, ended = 0] = ready.value;
    if (signalled !== 0) {
      const count = read(run.signals, word);
      const signal = count.ok && count.value === 1
        ? word[0] ?? abi.SIGTERM
        : abi.SIGTERM;
      stop(run);
      return { kind: "signalled", signal };
    }
    if (ended === 0) continue;
    const status = waitFor(run.bwrap);
    return status.ok && status.value !== null
      ? endOf(run, status.value.status)
      : stop(run);
  }
}

/** bubblewrap's own failure has status 1 too: only `--json-status-fd` tells whether the command ran. */
function endOf(run: Run, status: ChildStatus): RunEnd {
  // It has ended, so everything that it had to say is in the pipe.
  while (!/"exit-code"/.test(run.said.text)) {
    const ready = poll([{ fd: run.status, events: 1 }], 0);
    if (!ready.ok || (ready.value[0] ?? 0) === 0 || !hearStatus(run, 0)) break;
  }
  // Process 1 stays as long as anything that the command left in the background, and it may outlive a killed monitor: it goes now.
  const pid = childPidOf(run.said.text);
  if (pid !== null) killInit(pid, run.sync);
  if (status.kind === "exited") {
    const ran = /"exit-code"/.test(run.said.text) || status.status !== 1;
    return { kind: "exited", status: ran ? status.status : 125 };
  }
  return { kind: "exited", status: 128 + status.signal };
}

/** Ends everything inside at once. */
function stop(run: Run): RunEnd {
  // Without its number the first process would outlive the monitor: bubblewrap tells it right after making it.
  const pid = awaitChildPid(run);
  if (pid !== null) killInit(pid, run.sync);
  kill(run.bwrap, abi.SIGKILL);
  waitFor(run.bwrap);
  return { kind: "exited", status: 125 };
}

/** Kills what bubblewrap has left to us; its children that are already dead or gone make no difference. */
function killOrphans(watcher: number): void {
  const pid = getpid();
  const children = readFile(`/proc/${pid}/task/${pid}/children`, 65_536);
  if (!children.ok) return;
  for (const child of children.value.split(" ")) {
    if (child !== "" && Number(child) !== watcher) {
      kill(Number(child), abi.SIGKILL);
    }
  }
}

/** The order of the end: sandbox gone, placeholders removed, watcher dismissed. */
function finish(run: Run): void {
  if (run.blocked !== null) close(run.blocked);
  killOrphans(run.watcher);
  const gone = waitForEnd(run.sync, END_TIMEOUT_MS);
  if (!gone) {
    // Left to the watcher, which has more time: our death closes the lifeline.
    return;
  }
  if (run.recordsFd !== null && run.launch.plan.proc === "fresh") {
    releasePlaceholders(run.held, run.recordsFd);
  }
  writeAll(run.lifeline, new Uint8Array([DISMISSED]));
  kill(run.watcher, abi.SIGKILL);
  waitFor(run.watcher);
}
