/**
 * Our executable inside the namespaces: installs what must be installed there and executes the command.
 *
 * Orders come in a sealed memfd, never in argv: what is in argv can be read by everything inside. The command's environment comes in
 * the orders too, so that its loader variables never act on us.
 *
 * Effects, one synchronous stretch on the main thread: no_new_privs and filters belong to a thread, and execve(2) keeps the calling
 * thread's.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import { ok } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  dupTo,
  execve,
  exitNow,
  fileStatusFlags,
  fstat,
  getcwd,
  hostArch,
  landlockAllow,
  landlockRestrict,
  landlockRuleset,
  open,
  prctl,
  readAll,
  readFile,
  seccompSetFilter,
  seek,
  type SysError,
  tell,
  writeAll,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { searchPath } from "../host/candidates.ts";
import type { Policy } from "../policy/policy.ts";
import type { Domain } from "./domains.ts";
import {
  HANDLED_RIGHTS,
  ROOT_RIGHTS,
  WRITE_RIGHTS,
  type WriteGuard,
} from "./landlock.ts";
import { type InnerFailure, spellReport } from "./inner_report.ts";
import { callerSoftLimit, restoreState } from "./process_state.ts";
import type { ReboundStream } from "./stream_cures.ts";
import { assembledFilter } from "./seccomp/programs.ts";

/** What the inner stage is told. Strings are byte strings. */
export interface InnerOrders {
  readonly command: readonly ByteString[];
  /** The command's whole environment but PWD. */
  readonly environment: readonly ByteString[];
  /** A filter to install on top of the one that bubblewrap loaded, as a byte string of struct sock_filter; `null` for none. */
  readonly filter: string | null;
  readonly softNofile: number;
  readonly passFds: readonly number[];
  /** `null`: no stream of the caller's needs one. */
  readonly writeGuard: WriteGuard | null;
  /** Streams to be opened anew where their files are mounted read-only. */
  readonly reboundFds: readonly ReboundStream[];
  /** The domain in which `debug = true` lets processes trace each other; `null` without it. */
  readonly traceDomain: Domain | null;
  /** Ports of 127.0.0.1 to listen on for the supervisor, which gets the sockets over the control channel; none without one. */
  readonly listenPorts: readonly number[];
}

const ORDERS_LIMIT_BYTES = 64 * 1024 * 1024;

/** Our own failure before the command started. */
const OURS = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** A pipe to a supervisor that wants to know why the command was not started; the command does not get it. */
let reportFd = -1;

/**
 * Carries out the orders.
 *
 * @param ordersFd the sealed memfd
 * @param channel to the supervisor, where the orders need one
 * @param report as {@linkcode REPORT_FD} of the launcher has it; -1 without one
 */
export function runInnerStage(
  ordersFd: number,
  channel: number,
  report: number,
): never {
  reportFd = report;
  const text = readAll(ordersFd, ORDERS_LIMIT_BYTES);
  close(ordersFd);
  if (!text.ok) return stop(OURS, "Cannot read the inner stage's orders");
  const orders = JSON.parse(text.value) as InnerOrders;
  requireNoCapabilities();
  const restored = restoreState(orders.passFds, orders.softNofile);
  if (!restored.ok) return stop(OURS, restored.error.message);
  if (orders.listenPorts.length > 0) {
    const handed = controlChannel().handOverListeners(
      channel,
      orders.listenPorts,
    );
    if (!handed.ok) return stop(OURS, handed.error);
  }
  for (const stream of orders.reboundFds) rebind(stream);
  installWriteGuard(orders.writeGuard);
  installTraceDomain(orders.traceDomain);
  installFilter(orders.filter);
  return executeCommand(
    orders.command,
    withWorkingDirectory(orders.environment),
  );
}

/** Loaded on demand: only a proxied run has a channel. */
function controlChannel(): typeof import("./control_channel.ts") {
  return require("./control_channel.ts");
}

/**
 * The inner stage of a caller who made the namespaces himself (`--apply-seccomp-then-exec`).
 *
 * Whether he gave the command a network namespace of its own can't be known here: without network the tight table applies, which is
 * right in either case.
 */
export function runCallersInnerStage(
  policy: Policy,
  command: readonly ByteString[],
  environment: readonly ByteString[],
  routeSpecJson: string | null,
): never {
  requireNoCapabilities();
  const restored = restoreState([], callerSoftLimit());
  if (!restored.ok) return stop(OURS, restored.error.message);
  const isRouted = policy.network === "proxied";
  const routed = isRouted
    ? callersRoutes().openRoutes(routeSpecJson, environment)
    : ok(environment);
  if (!routed.ok) return stop(OURS, routed.error);
  const filter = assembledFilter({
    arch: hostArch() === "x64" ? "x86_64" : "arm64",
    network: policy.network === "host"
      ? "host"
      : isRouted
      ? "isolated"
      : "isolated_tight",
    debug: false,
    namespaces: "allowed",
  });
  installFilter(Buffer.from(filter).toString("latin1"));
  return executeCommand(command, routed.value);
}

/** Loaded on demand: only a caller with a proxy of its own has routes. */
function callersRoutes(): typeof import("./callers_routes.ts") {
  return require("./callers_routes.ts");
}

/** A sandbox whose first program still has capabilities could undo its own mounts: never go on in one. */
export function requireNoCapabilities(): void {
  const status = readFile("/proc/self/status", 65_536);
  const sets = status.ok
    ? [...status.value.matchAll(/^Cap(?:Prm|Eff):\s*([0-9a-f]+)$/gm)]
    : [];
  if (sets.length !== 2 || sets.some((set) => !/^0+$/.test(set[1] ?? ""))) {
    stop(OURS, "Linux sandbox retained effective or permitted capabilities");
  }
}

/** Puts the file's read-only mount in the place of the caller's stream, at the same offset. */
function rebind({ fd, place }: ReboundStream): void {
  const refuse = (why: string): never =>
    stop(OURS, `Cannot open descriptor ${fd} anew at ${toText(place)}: ${why}`);
  const before = fstat(fd);
  const offset = tell(fd);
  if (!before.ok) return refuse(abi.errnoText(before.error.errno));
  if (!offset.ok) return refuse(abi.errnoText(offset.error.errno));
  const again = open(place, abi.O_RDONLY);
  if (!again.ok) return refuse(abi.errnoText(again.error.errno));
  const after = fstat(again.value);
  const same = after.ok && after.value.device === before.value.device &&
    after.value.inode === before.value.inode;
  if (!same) return refuse("something else is mounted there");
  const moved = seek(again.value, offset.value);
  if (!moved.ok) return refuse(abi.errnoText(moved.error.errno));
  const placed = dupTo(again.value, fd);
  if (!placed.ok) return refuse(abi.errnoText(placed.error.errno));
  close(again.value);
}

/** From here on only what the guard allows can be opened for writing, through whatever descriptor. */
function installWriteGuard(guard: WriteGuard | null): void {
  if (guard === null) return;
  forbidNewPrivileges();
  const ruleset = landlockRuleset(HANDLED_RIGHTS);
  if (!ruleset.ok) return guardFailed(ruleset.error);
  const allow = (fd: number, rights: number): void => {
    const added = landlockAllow(ruleset.value, fd, rights);
    if (!added.ok && added.error.errno !== abi.EBADFD) guardFailed(added.error);
  };
  const allowBelow = (place: ByteString, rights: number): void => {
    const fd = open(place, abi.O_PATH);
    if (!fd.ok) return guardFailed(fd.error);
    allow(fd.value, rights);
    close(fd.value);
  };
  allowBelow("/" as ByteString, ROOT_RIGHTS);
  for (const place of guard.places) allowBelow(place, WRITE_RIGHTS);
  for (const fd of guard.fds) {
    const flags = fileStatusFlags(fd);
    // A closed stream is nobody's grant, and neither is one for reading.
    if (!flags.ok || (flags.value & abi.O_ACCMODE) === abi.O_RDONLY) continue;
    allow(fd, WRITE_RIGHTS);
  }
  const restricted = landlockRestrict(ruleset.value);
  close(ruleset.value);
  if (!restricted.ok) guardFailed(restricted.error);
}

/** Process 1 stays outside of it, and what is inside can't trace what is outside. */
function installTraceDomain(domain: Domain | null): void {
  if (domain === null) return;
  const { enterDomain } = loadDomains();
  const entered = enterDomain(domain);
  if (entered.ok) return;
  stop(
    OURS,
    `Cannot honour debug = true: ${entered.error.call} says ${
      abi.errnoText(entered.error.errno)
    }`,
    "landlock_restrict",
  );
}

function loadDomains(): typeof import("./enter_domain.ts") {
  return require("./enter_domain.ts");
}

function guardFailed(error: SysError): void {
  stop(
    OURS,
    `Cannot keep the command from writing to what it may only read: ${error.call} says ${
      abi.errnoText(error.errno)
    }`,
    "landlock_restrict",
  );
}

function forbidNewPrivileges(): void {
  const privileges = prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  if (!privileges.ok) {
    stop(
      OURS,
      `Cannot set no_new_privs: ${abi.errnoText(privileges.error.errno)}`,
      "seccomp_install",
    );
  }
}

export function installFilter(filter: string | null): void {
  forbidNewPrivileges();
  if (filter === null) return;
  const program = stableBytes(filter.length);
  Buffer.from(program.buffer).write(filter, 0, "latin1");
  const installed = seccompSetFilter(program);
  if (!installed.ok) {
    stop(
      OURS,
      `Cannot install the seccomp filter: ${
        abi.errnoText(installed.error.errno)
      }`,
      // A kernel without filters, or one that refuses this one.
      installed.error.errno === abi.ENOSYS
        ? "seccomp_backend"
        : "seccomp_install",
    );
  }
}

/** As bubblewrap does for the programs that it starts itself. */
export function withWorkingDirectory(
  environment: readonly ByteString[],
): ByteString[] {
  const cwd = getcwd();
  const others = environment.filter((entry) => !entry.startsWith("PWD="));
  return cwd.ok ? [...others, `PWD=${cwd.value}` as ByteString] : others;
}

/**
 * execvp(3): every place of PATH in order, and `/bin/sh` for a file that the kernel doesn't know the format of.
 *
 * 127 when nothing was found, 126 when something was found and can't be executed. A directory of PATH that can't be searched, as root's
 * own for another user, has nothing to find; it is named, because the command may lie there.
 */
export function executeCommand(
  command: readonly ByteString[],
  environment: readonly ByteString[],
): never {
  const name = command[0] ?? ("" as ByteString);
  const path = environment.find((entry) => entry.startsWith("PATH="))?.slice(
    5,
  ) as ByteString | undefined;
  const places = name === ""
    ? []
    : name.includes("/")
    ? [name]
    : searchPath(path ?? null).map((place) => `${place}/${name}`);
  let refused: number | null = null;
  let closed: string | null = null;
  for (const place of places) {
    let { errno } = execve({ path: place, argv: command, environment });
    if (errno === abi.ENOEXEC) {
      ({ errno } = execve({
        path: "/bin/sh",
        argv: ["/bin/sh", place, ...command.slice(1)],
        environment,
      }));
      return stop(
        NOT_EXECUTABLE,
        `Failed to execvp ${toText(name)}: ${abi.errnoText(errno)}`,
      );
    }
    if (errno === abi.ENOENT && exists(place as ByteString)) {
      return stop(
        NOT_FOUND,
        `Failed to execvp ${
          toText(name)
        }: its interpreter or loader is not there (ENOENT)`,
      );
    }
    if (errno === abi.ENOENT || errno === abi.ENOTDIR) continue;
    if (
      errno === abi.EACCES && place !== name && !exists(place as ByteString)
    ) {
      closed ??= place.slice(0, -name.length - 1);
      continue;
    }
    refused ??= errno;
    if (errno !== abi.EACCES) break;
  }
  if (refused !== null) {
    return stop(
      NOT_EXECUTABLE,
      `Failed to execvp ${toText(name)}: ${abi.errnoText(refused)}`,
    );
  }
  return stop(
    NOT_FOUND,
    `Failed to execvp ${toText(name)}: command not found (ENOENT)${
      closed === null
        ? ""
        : `; ${toText(closed as ByteString)} of PATH can't be searched`
    }`,
  );
}

function exists(path: ByteString): boolean {
  const fd = open(path, abi.O_PATH);
  if (fd.ok) close(fd.value);
  return fd.ok;
}

/** @param kind what a supervisor that wants to know is told; by default what the status says */
function stop(
  status: number,
  message: string,
  kind: InnerFailure = kindOf(status),
): never {
  writeAll(2, Buffer.from(`codex: ${message}\n`, "utf8"));
  if (reportFd >= 0) {
    writeAll(reportFd, Buffer.from(spellReport({ kind, message }), "utf8"));
  }
  exitNow(status);
}

function kindOf(status: number): InnerFailure {
  if (status === NOT_FOUND) return "command_not_found";
  return status === NOT_EXECUTABLE ? "command_not_executable" : "inner_stage";
}
