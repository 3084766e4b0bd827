/**
 * Compares the mounts of a sandbox that waits at `--block-fd` with the plan, before the command starts.
 *
 * Effects: proc_pid_mountinfo(5), stat(2) and openat2(2) below `/proc/PID/root`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  fstat,
  lstat,
  open,
  openAt2,
  poll,
  readFile,
  type Stat,
  stat,
  writeAll,
} from "../sys/calls.ts";
import { failed, type LaunchError } from "./process_state.ts";
import type { Identity, MountStep } from "./mounts.ts";
import { awaitChildPid, type Run } from "./run.ts";

/** How long bubblewrap may take to make its mounts. */
const MOUNT_TIMEOUT_MS = 30_000;

/** Between two looks at the mounts of a bubblewrap that is still making them. */
const LOOK_INTERVAL_NS = 300_000;

/** Waits for the mounts, compares them with the plan, and lets the sandbox go when all are what they should be. */
export function verifyMounts(
  run: Run,
  blocked: number,
): Result<void, LaunchError> {
  const pid = awaitChildPid(run);
  if (pid === null) {
    return fail({
      kind: "launch",
      message: "bubblewrap ended while it was setting the sandbox up",
    });
  }
  rehearse(run, pid);
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

/**
 * Looks at the mounts while bubblewrap is still making them, and forgets what it saw: whatever a process does for the first time takes
 * several times as long, and now nobody waits.
 */
function rehearse(run: Run, pid: number): void {
  const standing = lookAt(pid);
  if (!standing.ok) return;
  for (const step of run.launch.plan.mounts) {
    verifyStep(step, standing.value);
    showsSeen(step, standing.value);
  }
  close(standing.value.rootFd);
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
  readonly mounts: ReadonlyMap<string, string>;
}

function lookAt(pid: number): Result<Standing, LaunchError> {
  const table = readFile(`/proc/${pid}/mountinfo`, 64 * 1024 * 1024);
  if (!table.ok) {
    return failed("Cannot read the sandbox's mount table", table.error);
  }
  const rootFd = open(`/proc/${pid}/root` as ByteString, abi.O_PATH);
  if (!rootFd.ok) return failed("Cannot look into the sandbox", rootFd.error);
  const mounts = new Map<string, string>();
  for (const line of table.value.split("\n")) {
    const [, , , , place, options] = line.split(" ", 6);
    if (place === undefined || options === undefined) continue;
    // Space, tab, newline and backslash are written as three octal digits.
    const path = !place.includes("\\") ? place : place.replace(
      /\\([0-7]{3})/g,
      (_, digits: string) => String.fromCharCode(parseInt(digits, 8)),
    );
    mounts.set(path, options);
  }
  return ok({ rootFd: rootFd.value, mounts });
}

/** Whether a planned mount is there, where it should be, and what it should be. */
function verifyStep(
  step: MountStep,
  standing: Standing,
): Result<void, LaunchError> {
  const { op } = step;
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
  if (readOnly && !options.split(",").includes("ro")) {
    return swapped(place, "it is not read-only");
  }
  return showsSeen(step, standing);
}

/** Whether what was seen before the mount is what the mount shows. */
function showsSeen(
  { op }: MountStep,
  standing: Standing,
): Result<void, LaunchError> {
  if (op.kind !== "bind_seen") return ok(undefined);
  const place = op.path;
  const relative = place === "/" ? "." : place.slice(1);
  // Nothing leads out of the sandbox's root: no link is followed, and a canonical path has no "..".
  const fd = openAt2(
    standing.rootFd,
    relative,
    abi.O_PATH,
    abi.RESOLVE_NO_SYMLINKS,
  );
  if (!fd.ok) return swapped(place, abi.errnoText(fd.error.errno));
  const there = fstat(fd.value);
  close(fd.value);
  if (!there.ok || !isSeen(there.value, op.seen)) {
    return swapped(place, "something else is mounted");
  }
  // A directory that was moved away for a moment has what we saw mounted on another in its place, and itself lies open elsewhere.
  const host = lstat(op.path);
  return host.ok && isSeen(host.value, op.seen)
    ? ok(undefined)
    : swapped(place, "something else lies there");
}

function isSeen(stat: Stat, seen: Identity): boolean {
  return stat.device === seen.device && stat.inode === seen.inode;
}

function swapped(place: string, what: string): Result<void, LaunchError> {
  return fail({
    kind: "launch",
    message: `Cannot verify the mount of ${
      toText(place as ByteString)
    }: ${what}, something was swapped while the sandbox was being set up; run again`,
  });
}
