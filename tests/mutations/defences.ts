/**
 * The protective steps of the Linux sandbox and of its proxy, one by one: what is lost when it is taken out, how it is taken out, and
 * which tests must then fail. `scripts/mutate.ts` does so.
 *
 * `text` stands in the file exactly once; `instead` is what a patched copy has in its place, and takes that one step out and nothing
 * else. The rules of the policy engine and of the layers of config have tables of their own: `tests/policy/mutation_test.ts` and
 * `tests/config/mutation_test.ts`.
 *
 * @module
 */
import {
  type Defence,
  live,
  type Notice,
  pure,
  withSystem,
} from "./defence.ts";
import { AROUND } from "./around.ts";
import { BUBBLEWRAP } from "./bubblewrap.ts";
import { CALL_STEPS } from "./calls.ts";
import { HOST } from "./host.ts";
import { KEPT_CHECKS } from "./kept.ts";
import { LANDLOCK } from "./landlock.ts";
import { PROXY_ENDS } from "./proxy_ends.ts";
import { PROXY_LIMITS } from "./proxy_limits.ts";
import { PROXY_POLICY } from "./proxy_policy.ts";
import { PROXY_RUN } from "./proxy_run.ts";
import { PROXY_WIRE } from "./proxy_wire.ts";
import { REFUSAL_STEPS } from "./refusals.ts";
import { RUN_STEPS } from "./runs.ts";
import { SEARCH_STEPS } from "./searches.ts";
import { STAGE_STEPS } from "./stages.ts";

const ESCAPES = "sandbox/escape_test.ts";
const CONFINEMENT = "sandbox/confinement_test.ts";
const LIFE = "sandbox/life_test.ts";
const STATE = "sandbox/state_test.ts";
const STREAMS = "sandbox/streams_test.ts";
const LAUNCHER = "sandbox/launcher_test.ts";
const SWAPS = "sandbox/swap_test.ts";
const PLAN = "linux/plan_test.ts";
const SMALL = "linux/small_program_test.ts";
const LISTENING = "src/linux/listening_program.ts";
const FILTERS = "linux/seccomp/filters_test.ts";
const CHOICE = "linux/bwrap_choice_test.ts";
const ARGV = "src/linux/bwrap_argv.ts";
const MOUNTS = "src/linux/mounts.ts";
const RULES = "src/linux/seccomp/rules.ts";
const WAITING = "src/linux/watcher_program.ts";
const VERIFY = "src/linux/verify_mounts.ts";
const TRUST = "src/linux/bwrap_choice.ts";
const CHOOSE = "src/run/choose_bwrap.ts";

const NAMESPACES: readonly Defence[] = [
  live(
    "process numbers are the sandbox's own",
    ARGV,
    `    "--unshare-pid",\n    "--unshare-ipc",\n    "--unshare-uts",\n  ];`,
    `    "--unshare-ipc",\n    "--unshare-uts",\n  ];`,
    [ESCAPES, "^(nice-host|pidfd-host)$"],
  ),
  live(
    "SysV and POSIX objects are the sandbox's own",
    ARGV,
    `    "--unshare-ipc",\n    "--unshare-uts",\n  ];`,
    `    "--unshare-uts",\n  ];`,
    [ESCAPES, "^(shm-key|posix-queue)$"],
  ),
  live(
    "the host name is the sandbox's own",
    ARGV,
    `    "--unshare-uts",\n  ];`,
    `  ];`,
    [CONFINEMENT, "namespaces are its own"],
  ),
  live(
    "a run without network has a network namespace of its own",
    ARGV,
    `if (plan.network !== "host") words.push("--unshare-net");`,
    "",
    [ESCAPES, "^tcp-host$"],
  ),
  live(
    "all capabilities are dropped",
    ARGV,
    `words.push("--cap-drop", "ALL");`,
    "",
    [ESCAPES, "^(umount-file-mask|mknod-tmp|chroot)$"],
  ),
  live(
    "no nested user namespace can be made",
    ARGV,
    `if (plan.disableUserns) words.push("--disable-userns");`,
    "",
    [ESCAPES, "^unshare-user$"],
  ),
  pure(
    "nor where bubblewrap can't close them: the filter denies namespaces",
    "src/linux/planner.ts",
    `filter: byFilter ? { ...draft.filter, namespaces: "denied" } : draft.filter,`,
    `filter: draft.filter,`,
    [PLAN, "close user namespaces the filter"],
  ),
  live(
    "the command has a session of its own",
    ARGV,
    `words.push("--new-session");`,
    "",
    [CONFINEMENT, "whose streams are no terminal"],
  ),
  live(
    "a run without a supervisor dies with the thread that started it",
    ARGV,
    `if (fds.supervised === null) words.push("--die-with-parent");`,
    "",
    [LIFE, "SIGKILL to us ends everything|thread that started it"],
  ),
  live(
    "the filter is loaded",
    ARGV,
    `if (fds.seccomp !== null) words.push("--seccomp", fds.seccomp);`,
    "",
    [CONFINEMENT, "no capability, no_new_privs and a filter"],
  ),
];

const MOUNT_STEPS: readonly Defence[] = [
  live(
    "the host's root is bound read-only",
    MOUNTS,
    `op: bindPath("read_only", "/"),`,
    `op: bindPath("writable", "/"),`,
    [ESCAPES, "^outside-write$"],
  ),
  live(
    "what is read-only is bound read-only, by path",
    ARGV,
    `        op.access === "writable" ? "--bind" : "--ro-bind",\n        op.path,\n        op.path,`,
    `        "--bind",\n        op.path,\n        op.path,`,
    [ESCAPES, "^outside-write$"],
  ),
  live(
    "what is read-only is bound read-only, by descriptor",
    ARGV,
    `        op.access === "writable" ? "--bind-fd" : "--ro-bind-fd",\n        required(fd, op),`,
    `        "--bind-fd",\n        required(fd, op),`,
    [ESCAPES, "^(git-write-plain|locked-write)$"],
  ),
  pure(
    "/sys is read-only where nothing but the network is confined",
    MOUNTS,
    `        request.exists(SYS)\n      ? [{`,
    `        false\n      ? [{`,
    ["linux/captured_test.ts"],
  ),
  pure(
    "/sys is read-only below a root that a policy makes writable",
    "src/policy/rules.ts",
    `  rules.own.set(SYS, { kind: "system", path: SYS });`,
    ``,
    [PLAN],
  ),
  live(
    "/dev is private",
    MOUNTS,
    `    { op: { kind: "dev" }, reason: "a private /dev with the harmless devices" },`,
    "",
    [ESCAPES, "^private-dev-shm$"],
  ),
  pure(
    "/proc/sys is read-only",
    MOUNTS,
    `      "/proc/sys",\n      "kernel settings`,
    `      "/proc/nowhere",\n      "kernel settings`,
    [PLAN],
  ),
  pure(
    "sysrq-trigger is read-only",
    MOUNTS,
    `...readOnly("/proc/sysrq-trigger",`,
    `...readOnly("/proc/nowhere",`,
    [PLAN],
  ),
  live(
    "what root alone could write below /proc is read-only",
    MOUNTS,
    `        op: { kind: "remount_read_only", path: PROC } as const,`,
    `        op: { kind: "remount_read_only", path: "/proc/1" as AbsPath } as const,`,
    [ESCAPES, "^proc-(any|read-only)$"],
  ),
  pure(
    "init's pipe is hidden from root",
    MOUNTS,
    `request.exists(INIT_PIPE)`,
    `false`,
    [PLAN, "uid 0 alone"],
  ),
  live(
    "process 1 is covered",
    MOUNTS,
    `    {
      op: { kind: "tmpfs", path: "/proc/1" as AbsPath, mode: 0o000 },
      reason: "PID 1 is the reaper: its memory is out of reach",
    },
    {
      op: { kind: "remount_read_only", path: "/proc/1" as AbsPath },
      reason: "the mask itself can't be written",
    },
`,
    "",
    [ESCAPES, "^init-(environ|maps)$"],
  ),
  live(
    "a masked file is closed",
    MOUNTS,
    `          op: { kind: "empty_file", path: point.path, mode: 0o000 },`,
    `          op: { kind: "empty_file", path: point.path, mode: 0o444 },`,
    [ESCAPES, "^secret-read$"],
  ),
  live(
    "a masked folder is closed",
    MOUNTS,
    `            mode: point.traversable ? 0o111 : 0o000,`,
    `            mode: 0o555,`,
    [ESCAPES, "^vault-list$"],
  ),
  live(
    "a mask becomes read-only",
    MOUNTS,
    `      steps.push({
        op: { kind: "remount_read_only", path: top },`,
    `      if (false) steps.push({
        op: { kind: "remount_read_only", path: top },`,
    [ESCAPES, "^(vault-chmod|agents-fill)$"],
  ),
  live(
    "an empty root becomes read-only",
    MOUNTS,
    `    ...(root.state === "masked"
      ? [{
        op: { kind: "remount_read_only", path: ROOT } as const,`,
    `    ...(false
      ? [{
        op: { kind: "remount_read_only", path: ROOT } as const,`,
    ["sandbox/policy_kernel_test.ts"],
    [PLAN],
  ),
  pure(
    "the host's /proc stays read-only where no fresh one can be had",
    MOUNTS,
    `op: bindPath("read_only", PROC),`,
    `op: bindPath("writable", PROC),`,
    [PLAN],
    ["linux/captured_test.ts"],
  ),
];

const FILTER_RULES: readonly Defence[] = [
  pure(
    "a foreign architecture is killed",
    "src/linux/seccomp/filters.ts",
    `      then: "native",\n      otherwise: "KILL",`,
    `      then: "native",\n      otherwise: "ALLOW",`,
    [FILTERS],
  ),
  pure(
    "x32 is killed",
    "src/linux/seccomp/filters.ts",
    `...(arch === "x86_64" ? killX32() : []),`,
    "",
    [FILTERS],
  ),
  pure(
    "numbers that x32 has for itself are no calls",
    "src/linux/seccomp/filters.ts",
    `      value: X32_OWN_NUMBERS.first,\n      then: "ENOSYS",`,
    `      value: X32_OWN_NUMBERS.first,\n      then: "ALLOW or named",`,
    [FILTERS, "number 51[24]"],
  ),
  pure(
    "the high half of an argument is looked at where it counts",
    "src/linux/seccomp/filters.ts",
    `(test.half === "high" ? 4 : 0)`,
    `(test.half === "high" ? 0 : 0)`,
    [FILTERS, "^sendto"],
  ),
  pure(
    "a rule allows nothing that no row asks for",
    RULES,
    `  cases: [SOCK_STREAM, SOCK_SEQPACKET].map((type) => ({`,
    `  cases: [SOCK_STREAM, SOCK_SEQPACKET, 4].map((type) => ({`,
    [FILTERS, "without a row that notices"],
  ),
  pure(
    "a call has one rule",
    RULES,
    `  denied(["pidfd_getfd"],`,
    `  denied(["pidfd_getfd", "ioctl"],`,
    [FILTERS, "a call belongs to one rule"],
  ),
  pure(
    "unshare takes no flag that nobody knows yet",
    RULES,
    `maskedEquals(0, ~PLAIN_UNSHARE >>> 0, 0),`,
    `maskedEquals(0, NEW_NAMESPACE, 0),`,
    [FILTERS, "no other bit"],
  ),
  pure(
    "a jump of the filter reaches as far as it must",
    "src/linux/seccomp/bpf.ts",
    `    if (far(then) || (otherwise !== undefined && far(otherwise))) {`,
    `    if (far(then)) {`,
    ["linux/seccomp/bpf_test.ts"],
  ),
  pure(
    "a filter ends in a verdict whatever way it takes",
    "src/linux/seccomp/bpf.ts",
    `      if (target >= program.length) {`,
    `      if (false) {`,
    ["linux/seccomp/bpf_test.ts"],
  ),
  pure(
    "sockets are an allow list without network",
    RULES,
    `return [ISOLATED_SOCKET_RULE, SOCKETPAIR_RULE];`,
    `return [SOCKETPAIR_RULE];`,
    [FILTERS],
  ),
  pure(
    "no datagram pair reaches the host's sockets",
    RULES,
    `return [ISOLATED_SOCKET_RULE, SOCKETPAIR_RULE];`,
    `return [ISOLATED_SOCKET_RULE];`,
    [FILTERS],
  ),
  pure(
    "netlink is the routing protocol only",
    RULES,
    `tests: [intEquals(0, AF_NETLINK), intEquals(2, NETLINK_ROUTE)],`,
    `tests: [intEquals(0, AF_NETLINK)],`,
    [FILTERS],
  ),
  pure(
    "loopback = false leaves no socket",
    RULES,
    `return [NO_SOCKET_RULE, SOCKETPAIR_RULE, TIGHT_RULE];`,
    `return [SOCKETPAIR_RULE, TIGHT_RULE];`,
    [FILTERS],
  ),
  pure(
    "the enabled network is no hypervisor and no raw frames",
    RULES,
    `return [HOST_SOCKET_RULE];`,
    `return [];`,
    [FILTERS],
  ),
  pure(
    "nobody types into a terminal",
    RULES,
    `    request.attributes === "denied" ? QUIET_IOCTL_RULE : IOCTL_RULE,`,
    ``,
    [FILTERS],
  ),
  pure(
    "no terminal sends signals to the host's programs, by ioctl",
    RULES,
    `    ...[TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL].map((command) => ({`,
    `    ...[TIOCSTI, TIOCLINUX, TIOCSETD, TIOCEXCL].map((command) => ({`,
    [FILTERS],
  ),
  live(
    "a terminal that was made non-blocking waits again",
    "src/linux/terminal.ts",
    `  if (flags !== null) setFileStatusFlags(fd, flags);\n`,
    ``,
    ["sandbox/terminal_test.ts", "made non-blocking waits again"],
  ),
  live(
    "a terminal is not left open to other users",
    "src/linux/terminal.ts",
    `  if (rights !== null && rightsOf(fd) !== rights) fchmod(fd, rights);\n`,
    ``,
    ["sandbox/terminal_test.ts", "opened to everybody"],
  ),
  pure(
    "a terminal keeps its line discipline",
    RULES,
    `    ...[TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL].map((command) => ({`,
    `    ...[TIOCSTI, TIOCLINUX, FIOASYNC, TIOCEXCL].map((command) => ({`,
    [FILTERS],
  ),
  pure(
    "a terminal stays open to others",
    RULES,
    `    ...[TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL].map((command) => ({`,
    `    ...[TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD].map((command) => ({`,
    [FILTERS],
  ),
  pure(
    "a terminal's output is not stopped for good",
    RULES,
    `    { tests: [intEquals(1, TCXONC), intEquals(2, TCOOFF)], verdict: "EPERM" },\n`,
    ``,
    [FILTERS],
  ),
  pure(
    "no terminal sends signals to the host's programs, by fcntl",
    RULES,
    `        { arg: 2, half: "low", is: "any_bit", value: O_ASYNC },`,
    `        { arg: 2, half: "low", is: "any_bit", value: 0 },`,
    [FILTERS],
  ),
  pure(
    "no lease makes the host's programs wait",
    RULES,
    `    ...[F_RDLCK, F_WRLCK].map((kind) => ({`,
    `    ...[].map((kind) => ({`,
    [FILTERS],
  ),
  pure(
    "no snapshot shows what is hidden",
    RULES,
    `    ...SNAPSHOT_CASES,\n`,
    ``,
    [FILTERS, "btrfs: a snapshot"],
  ),
  pure(
    "the low half of ioctl's request decides",
    RULES,
    `TIOCSETD, TIOCEXCL].map((command) => ({
      tests: [intEquals(1, command)],`,
    `TIOCSETD, TIOCEXCL].map((command) => ({
      tests: [intEquals(1, command), { arg: 1, half: "high", is: "equal", value: 0 }],`,
    [FILTERS],
  ),
  pure(
    "clone3 is not there",
    RULES,
    `    CLONE3_RULE,\n    ...(request.debug`,
    `    ...(request.debug`,
    [FILTERS],
  ),
  pure(
    "other processes' memory is closed",
    RULES,
    `...(request.debug ? [] : [DEBUG_RULE]),`,
    ``,
    [FILTERS],
  ),
  ...[
    ["io_uring", `["io_uring_setup", "io_uring_enter", "io_uring_register"]`],
    ["descriptors of other processes", `["pidfd_getfd"]`],
    ["keyrings", `["add_key", "request_key", "keyctl"]`],
    ["bpf, userfaultfd and perf", `["bpf", "userfaultfd", "perf_event_open"]`],
    ["handles", `["open_by_handle_at"]`],
    ["kexec", `["kexec_load", "kexec_file_load"]`],
    ["modules", `["init_module", "finit_module", "delete_module"]`],
  ].map(([what, calls]) =>
    pure(
      `${what}: denied`,
      RULES,
      calls ?? "",
      `[]`,
      [FILTERS],
    )
  ),
];

const STATE_STEPS: readonly Defence[] = [
  live(
    "inherited descriptors are closed",
    "src/linux/process_state.ts",
    `const closing = closeOnExecFrom(3);`,
    `const closing = closeOnExecFrom(1000);`,
    [STATE, "no descriptor but 0 to 2"],
  ),
  live(
    "SIGPIPE is given back",
    "src/linux/process_state.ts",
    `for (const signal of [abi.SIGPIPE, abi.SIGXFSZ, abi.SIGCHLD]) {`,
    `for (const signal of [abi.SIGXFSZ, abi.SIGCHLD]) {`,
    [STATE, "SIGPIPE|no signal is ignored"],
  ),
  live(
    "the limit of open files is given back",
    "src/linux/process_state.ts",
    `  const limit = setSoftLimit(abi.RLIMIT_NOFILE, softNofile);
  return limit.ok`,
    `  const limit = ok(undefined) as ReturnType<typeof setSoftLimit>;
  return limit.ok`,
    [STATE],
  ),
  live(
    "a disk as a stream is refused",
    "src/run/descriptors.ts",
    `  return type === abi.S_IFBLK ? "a block device" : null;`,
    `  return null;`,
    [STATE, "block device"],
  ),
  live(
    "a stream opened for reading is guarded",
    "src/linux/stream_cures.ts",
    `    if (landlock >= LANDLOCK_VERSION && !isBelowWritable) guarded.push(fd);`,
    `    if (landlock >= LANDLOCK_VERSION && !isBelowWritable) continue;`,
    [STREAMS],
  ),
  live(
    "a protected file below a writable root is not left to a Landlock rule",
    "src/linux/stream_cures.ts",
    `    if (landlock >= LANDLOCK_VERSION && !isBelowWritable) guarded.push(fd);`,
    `    if (landlock >= LANDLOCK_VERSION) guarded.push(fd);`,
    [STREAMS],
  ),
  live(
    "the guard handles truncation",
    "src/linux/landlock.ts",
    `export const HANDLED_RIGHTS = LANDLOCK_ACCESS_FS_WRITE_FILE |
  LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_REFER;`,
    `export const HANDLED_RIGHTS = LANDLOCK_ACCESS_FS_WRITE_FILE |
  LANDLOCK_ACCESS_FS_REFER;`,
    [STREAMS],
  ),
  live(
    "the result waits for room in a pipe that the command has filled",
    "src/run/result.ts",
    `    poll([{ fd: fd ?? -1, events: POLLOUT }], FULL_TIMEOUT_NS);`,
    ``,
    ["sandbox/result_test.ts", "shares the result's pipe"],
  ),
  live(
    "clean does not vouch for records that it can't read",
    "src/care.ts",
    `  const unread = unreadRecords(places);`,
    `  const unread = null as string | null;`,
    ["sandbox/clean_test.ts", "does not say that nothing is left"],
  ),
  live(
    "a device that was opened for reading is guarded as a file is",
    "src/host/streams.ts",
    `    const isDevice = type === abi.S_IFCHR;`,
    `    const isDevice = false;`,
    [STREAMS, "a device that the caller opened for reading"],
  ),
  live(
    "a stream behind --pass-fd is guarded too",
    "src/run/descriptors.ts",
    `  const fds = [0, 1, 2, ...request.passFds];
  const streams = readOnlyStreams(`,
    `  const fds = [0, 1, 2];
  const streams = readOnlyStreams(`,
    [STREAMS, "pass-fd"],
  ),
  live(
    "the inner stage refuses to go on with capabilities",
    "src/linux/inner_stage.ts",
    `  if (sets.length !== 2 || sets.some((set) => !/^0+$/.test(set[1] ?? ""))) {`,
    `  if (false) {`,
    ["sandbox/placeholder_test.ts", "refuses to go on with capabilities"],
  ),
  pure(
    "the program that listens refuses to go on with capabilities",
    LISTENING,
    `    none(0),
    none(12),
`,
    "",
    [SMALL],
  ),
  ...[
    [
      "the program that listens waits until it is answered",
      `      words: [{ in: answer.count, offset: 0 }, ACCEPTED.length],`,
      `      words: [0, 0],`,
    ],
    [
      "the program that listens takes no other answer",
      `        { in: block(Buffer.from(ACCEPTED, "latin1")), offset: 0 },`,
      `        { in: answer.bytes, offset: 0 },`,
    ],
    [
      "the program that listens starts nothing where a port is taken",
      `          words: [fd, loopback(port), 16],
          below: must(failed),`,
      `          words: [fd, loopback(port), 16],`,
    ],
  ].map(([step = "", text = "", instead = ""]) =>
    pure(step, LISTENING, text, instead, [SMALL])
  ),
  ...[
    ["the control channel", "channel"],
    ["the program that listens", "self"],
  ].map(([what = "", name = ""]) =>
    live(
      `the command does not get ${what}`,
      LISTENING,
      `    { number: SYS.close, words: [${name}], below: must(lost) },\n`,
      "",
      ["sandbox/network_test.ts", "holds no descriptor of the run's"],
    )
  ),
];

const LIFE_STEPS: readonly Defence[] = [
  live(
    "signals to us end what is inside",
    "src/linux/supervisor.ts",
    `isServed ? [...caughtSignals(rules), abi.SIGCHLD] : caughtSignals(rules),`,
    `[],`,
    [LIFE, "end of the cleaning up"],
  ),
  {
    ...live(
      "the watcher ends what is inside when the supervisor is killed",
      "src/linux/watcher.ts",
      `  const init = endSandbox(named, orders.sync);`,
      `  const init = null;`,
      [LIFE, "SIGKILL to us ends everything"],
    ),
    // What waits in its place has done so already where it knows the number.
    also: {
      file: "src/linux/run.ts",
      text: `  writeAll(run.lifeline, lifelineWord(pid));\n  run.init`,
      instead: `  run.init`,
    },
  },
  pure(
    "the waiting watcher kills what it was told, at once",
    WAITING,
    `  code.call(CALL.pidfd_send_signal);`,
    `  code.call(CALL.poll);`,
    ["linux/watcher_program_test.ts", "while somebody is inside"],
  ),
  pure(
    "the waiting watcher kills nobody when everybody inside is gone",
    WAITING,
    `  code.jump([0x75], "go on"); // jne`,
    ``,
    ["linux/watcher_program_test.ts", "kills nobody"],
  ),
  live(
    "the waiting watcher becomes the watcher proper",
    WAITING,
    `  code.call(CALL.execveat);`,
    ``,
    [LIFE, "SIGKILL to us ends everything"],
  ),
  live(
    "the watcher removes the placeholders",
    "src/linux/watcher.ts",
    `    releasePlaceholders(orders.placeholders, orders.records);`,
    ``,
    [LIFE, "SIGKILL to us ends everything"],
  ),
  live(
    "uid 0 gets the bubblewrap that binds device nodes read-only",
    CHOOSE,
    "return euid === 0 && user === null;",
    "return false;",
    [LAUNCHER, "changes the mode of a device node|uid 0 gets the bundled"],
  ),
  live(
    "a damaged bundled bubblewrap is not replaced by the system's",
    CHOOSE,
    "if (guarded.ok || !isOfTheHost(guarded.error)) return guarded;",
    "if (guarded.ok) return guarded;",
    [LAUNCHER, "not replaced by the system's for uid 0"],
  ),
  live(
    "what bubblewrap can do is remembered of one mount namespace",
    "src/linux/probe_bwrap.ts",
    " ${mounts.value.inode} ",
    " ",
    [LAUNCHER, "a container's mounts"],
  ),
  live(
    "no mount stands on another's placeholder that can't be locked",
    "src/run/mount_places.ts",
    `isPlaceholderOfOthers(path);`,
    `false;`,
    ["sandbox/placeholder_test.ts", "can't be locked"],
  ),
  pure(
    "a state folder that others can write is not used",
    "src/host/state_folder.ts",
    `      (stat.value.mode & 0o077) !== 0`,
    `      false`,
    ["host/state_folder_test.ts"],
  ),
];

const VERIFICATION: readonly Defence[] = [
  live(
    "what is bound is what was seen",
    "src/linux/launcher.ts",
    `  if (stat.value.device !== seen.device || stat.value.inode !== seen.inode) {`,
    `  if (false) {`,
    [SWAPS],
  ),
  live(
    "no link is followed to what is bound",
    "src/linux/launcher.ts",
    `openAt2(abi.AT_FDCWD, path, abi.O_PATH, abi.RESOLVE_NO_SYMLINKS),`,
    `openAt2(abi.AT_FDCWD, path, abi.O_PATH, 0),`,
    [SWAPS],
  ),
  withSystem(live(
    "a mount that is not there stops the run",
    VERIFY,
    `if (options === undefined) return swapped(place, "it is not mounted");`,
    `if (options === undefined) return ok(undefined);`,
    [SWAPS],
  )),
  withSystem(live(
    "a mount that should be read-only and isn't stops the run",
    VERIFY,
    `  if (readOnly && !options.split(",").includes("ro")) {`,
    `  if (false) {`,
    [SWAPS],
  )),
  withSystem(live(
    "a folder that was moved away while it was mounted stops the run",
    VERIFY,
    `    : swapped(place, "something else lies there");`,
    `    : ok(undefined);`,
    [SWAPS],
  )),
  withSystem(live(
    "a mount that shows something else stops the run",
    VERIFY,
    `    return swapped(place, "something else is mounted");`,
    ``,
    [SWAPS],
  )),
  withSystem(live(
    "what was mounted is looked at through no link",
    VERIFY,
    `    abi.RESOLVE_NO_SYMLINKS,`,
    `    0,`,
    [SWAPS, "covers what it has mounted"],
  )),
  live(
    "an old bubblewrap is verified",
    "src/linux/planner.ts",
    `    supervisor.push("mount verification");`,
    `    void 0;`,
    [SWAPS],
    [PLAN],
  ),
];

const TRUST_STEPS: readonly Defence[] = [
  pure(
    "a bwrap and its folders belong to root",
    TRUST,
    `    if (at.uid !== 0) {`,
    `    if (false) {`,
    [CHOICE],
  ),
  pure(
    "nobody else can write them",
    TRUST,
    `    if (at.kind !== "symlink" && (at.mode & 0o022) !== 0) {`,
    `    if (false) {`,
    [CHOICE],
  ),
  pure(
    "a setuid bwrap is not run",
    TRUST,
    `  if ((fact.mode & 0o6000) !== 0) {`,
    `  if (false) {`,
    [CHOICE],
  ),
  pure(
    "a bwrap in the workspace is not run",
    TRUST,
    `    if (isInside(real, { root })) {`,
    `    if (false) {`,
    [CHOICE],
  ),
  pure(
    "relative entries of PATH are not looked at",
    TRUST,
    `    const directory = toAbsPath(entry);`,
    "    const directory = toAbsPath(`/relative/${entry}`);",
    [CHOICE],
  ),
  withSystem(live(
    "a bwrap without an option that the plan needs is passed over",
    TRUST,
    "  return ability.options.includes(` ${option} `);",
    "  return ability.options !== option;",
    [LAUNCHER, "is passed over"],
  )),
  live(
    "the bundled bubblewrap is compared with its digest",
    "src/linux/bundled_bwrap.ts",
    `  if (digest !== BWRAP_SHA256) {`,
    `  if (false) {`,
    [LAUNCHER, "one bit changed"],
  ),
];

const SEAL = "scripts/seal_runtime.ts";
const REFUSED: Notice = ["build/seal_runtime_test.ts", "executable is refused"];
const STUBBED: Notice = ["build/seal_runtime_test.ts", "the stub"];

const SEALED_STEPS: readonly Defence[] = [
  ...[
    [
      "whose gap somebody uses",
      `  if (elf.subarray(gapStart, text.offset).some((byte) => byte !== 0)) {`,
    ],
    [
      "whose gap is too small",
      `  if (stubOffset + stub.value.length > text.offset) {`,
    ],
    [
      "that begins outside of its code",
      `  if (oldEntry < text.address || oldEntry >= text.address + text.fileBytes) {`,
    ],
    [
      "that has other code than one segment's",
      `  if (text === undefined || executable.length > 1) {`,
    ],
    [
      "whose code is not mapped with its gap",
      `  if (text.offset % PAGE_BYTES !== text.address % PAGE_BYTES) {`,
    ],
    ["that maps something over its gap", `  if (shares) {`],
    ["of an odd type", `  if (type !== ET_EXEC && type !== ET_DYN) {`],
    ["whose headers lie outside of it", `  if (segments === null) {`],
  ].map(([what = "", text = ""]) =>
    pure(
      `a runtime ${what} is not sealed`,
      SEAL,
      text,
      `  if (false) {`,
      REFUSED,
    )
  ),
  pure(
    "no section of the runtime is written over",
    SEAL,
    `      ends.push(offset + readOffset(view, at + 32));\n`,
    ``,
    STUBBED,
  ),
  pure(
    "the runtime's table of sections is not written over",
    SEAL,
    `  if (table !== 0 && table < limit) ends.push(table + count * SHDR_BYTES);\n`,
    ``,
    STUBBED,
  ),
  pure(
    "behind our settings the runtime's environment ends, on x86-64",
    SEAL,
    `      code.set([0x48, 0xc7, 0x40, 0x10, 0, 0, 0, 0], 43); // mov`,
    `      code.fill(0x90, 43, 51); // mov`,
    STUBBED,
  ),
  pure(
    "behind our settings the runtime's environment ends, on arm64",
    SEAL,
    `      words.setUint32(40, 0xf900113f, true); // str`,
    `      words.setUint32(40, 0xd503201f, true); // str`,
    STUBBED,
  ),
];

const SEALING: readonly Defence[] = [
  live(
    "bunfig.toml of the working directory is not read",
    "scripts/build.ts",
    `  "--no-compile-autoload-bunfig",\n`,
    ``,
    ["build/build_test.ts"],
    ["build/sealed_runtime_test.ts"],
  ),
  live(
    "the runtime sees no setting of its caller",
    "scripts/seal_runtime.ts",
    `  view.setBigUint64(E_ENTRY_OFFSET, BigInt(seal.stubAddress), true);`,
    `  view.setBigUint64(E_ENTRY_OFFSET, BigInt(seal.oldEntry), true);`,
    ["build/seal_runtime_test.ts"],
    ["build/sealed_runtime_test.ts"],
  ),
  ...SEALED_STEPS,
  live(
    "a setuid executable of ours refuses to run",
    "src/host/origin.ts",
    `  if (own.uid !== own.euid || own.gid !== own.egid) {`,
    `  if (false) {`,
    ["sandbox/calling_test.ts", "is refused to others in one line"],
  ),
];

const KEPT_STARTS: Notice = ["run/start_kept_test.ts"];

const KEPT: readonly Defence[] = [
  pure(
    "a kept start holds only while every answer is the same",
    "src/run/kept_start.ts",
    `    if (answerNow(kind, subject, environment) !== answer) return false;`,
    ``,
    KEPT_STARTS,
  ),
  pure(
    "a kept start is read from our own folder only",
    "src/run/kept_start.ts",
    `  if (!isOurs) return null;`,
    ``,
    KEPT_STARTS,
  ),
  pure(
    "a kept start binds what was seen",
    "src/run/kept_start.ts",
    `      return there?.ok === true && there.value.device === one.device &&
          there.value.inode === one.inode`,
    `      return there?.ok === true`,
    KEPT_STARTS,
  ),
  pure(
    "a kept start looks at the streams anew",
    "src/run/kept_start.ts",
    `if (!areStreamsPlain() || holdsLoaderVariable(environment)) return;`,
    `if (holdsLoaderVariable(environment)) return;`,
    KEPT_STARTS,
  ),
  pure(
    "a kept start leaves loader variables to the long way",
    "src/run/kept_start.ts",
    `if (!areStreamsPlain() || holdsLoaderVariable(environment)) return;`,
    `if (!areStreamsPlain()) return;`,
    KEPT_STARTS,
  ),
];

const PROJECTS: readonly Defence[] = [
  pure(
    "a project sets no loader variable",
    "src/config/project.ts",
    `    if (name !== "PATH" && !isLoaderVariable(name)) continue;`,
    `    continue;`,
    ["config/project_test.ts"],
  ),
];

/** All of them. */
export const DEFENCES: readonly Defence[] = [
  ...NAMESPACES,
  ...MOUNT_STEPS,
  ...FILTER_RULES,
  ...STATE_STEPS,
  ...LIFE_STEPS,
  ...VERIFICATION,
  ...TRUST_STEPS,
  ...BUBBLEWRAP,
  ...SEALING,
  ...KEPT,
  ...KEPT_CHECKS,
  ...PROJECTS,
  ...REFUSAL_STEPS,
  ...STAGE_STEPS,
  ...RUN_STEPS,
  ...LANDLOCK,
  ...HOST,
  ...CALL_STEPS,
  ...SEARCH_STEPS,
  ...AROUND,
  ...PROXY_POLICY,
  ...PROXY_WIRE,
  ...PROXY_RUN,
  ...PROXY_LIMITS,
  ...PROXY_ENDS,
];
