/**
 * What the filter denies, as data: rules by syscall, each with its reason.
 *
 * Pure. A call belongs to one rule. What no rule names is allowed.
 *
 * @module
 */
import { unreachable } from "../../result.ts";
import type { FilterRequest } from "./request.ts";
import {
  AF_ALG,
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_PACKET,
  AF_UNIX,
  AF_VSOCK,
  ATTRIBUTE_COMMANDS,
  BCACHEFS_REQUESTS,
  BTRFS_REQUESTS,
  CLONE_FILES,
  CLONE_FS,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_SYSVSEM,
  F_RDLCK,
  F_SETDELEG,
  F_SETFL,
  F_SETLEASE,
  F_WRLCK,
  FICLONE,
  FICLONERANGE,
  FIDEDUPERANGE,
  FIOASYNC,
  NETLINK_ROUTE,
  O_ACCMODE,
  O_ASYNC,
  O_COMMANDS_ONLY,
  REQUEST_TYPE_MASK,
  SOCK_PACKET,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOCK_TYPE_MASK,
  type SyscallName,
  TCOOFF,
  TCXONC,
  TIOCEXCL,
  TIOCLINUX,
  TIOCSETD,
  TIOCSTI,
  X86_64_ONLY,
} from "./syscalls.ts";

/** What becomes of a call; `KILL` is for foreign architectures only and no rule gives it. */
export type Verdict = "ALLOW" | "EPERM" | "ENOSYS";

/** Compares one half of an argument. The kernel takes an `int` from the low half, whatever stands in the high one. */
export interface ArgumentTest {
  readonly arg: 0 | 1 | 2 | 3 | 4 | 5;
  readonly half: "low" | "high";
  readonly mask?: number;
  readonly is: "equal" | "any_bit";
  readonly value: number;
}

/** Calls that share a verdict. */
export interface Rule {
  readonly calls: readonly SyscallName[];
  /** Older spellings of them that only x86-64 has. */
  readonly onX86?: readonly (keyof typeof X86_64_ONLY)[];
  /** In order; the first whose tests all hold decides. */
  readonly cases: readonly {
    readonly tests: readonly ArgumentTest[];
    readonly verdict: Verdict;
  }[];
  /** When no case does. */
  readonly otherwise: Verdict;
  /** Which of the calls, in words, when there are cases. */
  readonly what?: string;
  readonly why: string;
}

/** The rules of a request, in the order in which the program asks. */
export function rulesOf(request: FilterRequest): Rule[] {
  return [
    ...networkRules(request),
    request.attributes === "denied" ? QUIET_IOCTL_RULE : IOCTL_RULE,
    FCNTL_RULE,
    ...(request.attributes === "denied" ? [ATTRIBUTE_RULE] : []),
    ...(request.namespaces === "denied"
      ? [...NAMESPACE_RULES, ...OTHERS_RULES]
      : []),
    ...(isBesideTheHost(request) ? openingRules(request) : []),
    CLONE3_RULE,
    ...(request.debug ? [] : [DEBUG_RULE]),
    ...ALWAYS_DENIED,
  ];
}

/** Where the host's devices lie in the view: no network namespace, and no mounts of ours that would need one's own user namespace. */
function isBesideTheHost({ network, namespaces }: FilterRequest): boolean {
  return namespaces === "denied" && network !== "isolated" &&
    network !== "isolated_tight";
}

function networkRules({ network }: FilterRequest): Rule[] {
  switch (network) {
    case "isolated":
      return [ISOLATED_SOCKET_RULE, SOCKETPAIR_RULE];
    case "isolated_tight":
      return [NO_SOCKET_RULE, SOCKETPAIR_RULE, TIGHT_RULE];
    case "shared_restricted":
      return [NO_SOCKET_RULE, SOCKETPAIR_RULE, NO_PEER_RULE, SENDTO_RULE];
    case "host":
      return [HOST_SOCKET_RULE];
    case "host_without_unix":
      return [NO_UNIX_RULE, SOCKETPAIR_RULE];
    default:
      return unreachable(network);
  }
}

function intEquals(arg: ArgumentTest["arg"], value: number): ArgumentTest {
  return { arg, half: "low", is: "equal", value };
}

function maskedEquals(
  arg: ArgumentTest["arg"],
  mask: number,
  value: number,
): ArgumentTest {
  return { arg, half: "low", mask, is: "equal", value };
}

/** `socket(AF_INET, SOCK_PACKET, …)` is an old spelling of AF_PACKET that the kernel still takes (net/socket.c). */
const OLD_PACKET_SOCKET = {
  tests: [
    intEquals(0, AF_INET),
    maskedEquals(1, SOCK_TYPE_MASK, SOCK_PACKET),
  ],
  verdict: "EPERM",
} as const;

/** A list of what is allowed: families that are not namespaced (vsock, and who knows which next) stay out. */
const ISOLATED_SOCKET_RULE: Rule = {
  calls: ["socket"],
  cases: [
    OLD_PACKET_SOCKET,
    { tests: [intEquals(0, AF_INET)], verdict: "ALLOW" },
    { tests: [intEquals(0, AF_INET6)], verdict: "ALLOW" },
    {
      // Protocol 0 is NETLINK_ROUTE itself, no default that could stand for another one.
      tests: [intEquals(0, AF_NETLINK), intEquals(2, NETLINK_ROUTE)],
      verdict: "ALLOW",
    },
  ],
  otherwise: "EPERM",
  what: "but for AF_INET, AF_INET6 and NETLINK_ROUTE",
  why:
    "the network namespace bounds internet sockets; an AF_UNIX socket reaches the host's by path",
};

const NO_SOCKET_RULE: Rule = {
  calls: ["socket"],
  cases: [],
  otherwise: "EPERM",
  why: "no network, and an AF_UNIX socket reaches the host's by path",
};

/**
 * A DGRAM or RAW pair can send to any name with `sendmsg`, which no filter sees. On the two that are left the kernel never looks a
 * name up (net/unix/af_unix.c): STREAM answers EISCONN or EOPNOTSUPP, SEQPACKET drops the name and answers ENOTCONN when there is no
 * peer; `connect` answers EISCONN and `listen` EINVAL for a socket that was born connected.
 */
const SOCKETPAIR_RULE: Rule = {
  calls: ["socketpair"],
  cases: [SOCK_STREAM, SOCK_SEQPACKET].map((type) => ({
    tests: [intEquals(0, AF_UNIX), maskedEquals(1, SOCK_TYPE_MASK, type)],
    verdict: "ALLOW",
  })),
  otherwise: "EPERM",
  what: "but for AF_UNIX stream and seqpacket pairs",
  why: "a datagram pair reaches the host's sockets with sendmsg",
};

/** The reference's table for a run without network; `sendmsg`, `recvmsg` and `recvfrom` stay open in it. */
const TIGHT_RULE: Rule = {
  calls: [
    "connect",
    "accept",
    "accept4",
    "bind",
    "listen",
    "sendto",
    "shutdown",
    "getsockname",
    "getpeername",
    "setsockopt",
    "getsockopt",
    "recvmmsg",
    "sendmmsg",
  ],
  cases: [],
  otherwise: "EPERM",
  why: "loopback = false: no socket has an address",
};

/**
 * Without a network namespace. Only connected pairs and what the caller passed as a standard stream exist; `send`, `recv`, `shutdown`
 * and options work on them, and `sendmsg` and `sendmmsg` can't name anybody (see {@linkcode SOCKETPAIR_RULE}). An unconnected socket
 * that the caller passes as a standard stream is the caller's grant.
 */
const NO_PEER_RULE: Rule = {
  calls: ["connect", "bind", "listen", "accept", "accept4"],
  cases: [],
  otherwise: "EPERM",
  why: "no network, and no namespace that would bound it",
};

const SENDTO_RULE: Rule = {
  calls: ["sendto"],
  cases: [{
    tests: [
      { arg: 4, half: "low", is: "equal", value: 0 },
      { arg: 4, half: "high", is: "equal", value: 0 },
    ],
    verdict: "ALLOW",
  }],
  otherwise: "EPERM",
  what: "with an address",
  why: "only what is connected already may be sent to",
};

const NOT_THE_NETWORK = [
  ...[AF_VSOCK, AF_ALG, AF_PACKET].map((family) => ({
    tests: [intEquals(0, family)],
    verdict: "EPERM" as const,
  })),
  OLD_PACKET_SOCKET,
];

/** Daemons of the host take orders on AF_UNIX sockets, by path and by abstract name. */
const NO_UNIX_RULE: Rule = {
  calls: ["socket"],
  cases: [
    { tests: [intEquals(0, AF_UNIX)], verdict: "EPERM" },
    ...NOT_THE_NETWORK,
  ],
  otherwise: "ALLOW",
  what: "of AF_UNIX, AF_VSOCK, AF_ALG and AF_PACKET",
  why:
    "no mount hides the sockets of the host's daemons here, and the others are not the network that was enabled",
};

const HOST_SOCKET_RULE: Rule = {
  calls: ["socket", "socketpair"],
  cases: NOT_THE_NETWORK,
  otherwise: "ALLOW",
  what: "of AF_VSOCK, AF_ALG and AF_PACKET",
  why:
    "hypervisor, kernel crypto and raw frames are not the network that was enabled",
};

/**
 * btrfs and bcachefs copy a whole subvolume by one request: a snapshot in a writable folder shows every file that a mount hides in the
 * original, and no Landlock rule sees one being made. Nothing in a sandbox is lost with their other requests; the three that btrfs
 * gave to every file system (`cp --reflink`) name files by descriptors.
 */
const SNAPSHOT_CASES: Rule["cases"] = [
  ...[FICLONE, FICLONERANGE, FIDEDUPERANGE].map((command) => ({
    tests: [intEquals(1, command)],
    verdict: "ALLOW" as const,
  })),
  ...[BTRFS_REQUESTS, BCACHEFS_REQUESTS].map((type) => ({
    tests: [maskedEquals(1, REQUEST_TYPE_MASK, type)],
    verdict: "EPERM" as const,
  })),
];

/**
 * `cmd` is an `unsigned int`: bits above the low half are dropped by the kernel, so they may not help here. What the last three of the
 * terminal's do is no mode of it (termios(3)): it would stay when the run is over.
 */
const IOCTL_RULE: Rule = {
  calls: ["ioctl"],
  cases: [
    ...[TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL].map((command) => ({
      tests: [intEquals(1, command)],
      verdict: "EPERM" as const,
    })),
    { tests: [intEquals(1, TCXONC), intEquals(2, TCOOFF)], verdict: "EPERM" },
    ...SNAPSHOT_CASES,
  ],
  otherwise: "ALLOW",
  what:
    "of TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL, TCOOFF, btrfs and bcachefs",
  why:
    "they type into the caller's terminal, make it send signals to the host, leave it dead or locked, or copy what is hidden",
};

/**
 * Where nobody is named, a terminal takes its foreground group as the receiver (`tty_fasync`), which F_SETSIG lets it send any signal:
 * that group is the caller's, or his shell's, and no PID namespace stands between.
 *
 * A lease is had on whatever the user owns, read-only mounts notwithstanding, and whoever opens the file waits for its holder, 45 s as a
 * rule (`/proc/sys/fs/lease-break-time`).
 */
const FCNTL_RULE: Rule = {
  calls: ["fcntl"],
  cases: [
    {
      tests: [
        intEquals(1, F_SETFL),
        { arg: 2, half: "low", is: "any_bit", value: O_ASYNC },
      ],
      verdict: "EPERM",
    },
    ...[F_RDLCK, F_WRLCK].map((kind) => ({
      tests: [intEquals(1, F_SETLEASE), intEquals(2, kind)],
      verdict: "EPERM" as const,
    })),
    { tests: [intEquals(1, F_SETDELEG)], verdict: "EPERM" },
  ],
  otherwise: "ALLOW",
  what: "that sets O_ASYNC or takes a lease",
  why:
    "a terminal would send signals to its foreground group, and a lease makes other programs wait, on the host",
};

/** The same where the attributes of files are denied as well: a call belongs to one rule. */
const QUIET_IOCTL_RULE: Rule = {
  ...IOCTL_RULE,
  cases: [
    ...IOCTL_RULE.cases,
    ...Object.values(ATTRIBUTE_COMMANDS).map((command) => ({
      tests: [intEquals(1, command)],
      verdict: "EPERM" as const,
    })),
  ],
  what:
    "of TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL, TCOOFF, btrfs, bcachefs and flags of files",
  why:
    "they type into the caller's terminal, make it send signals, leave it dead or locked, or make or change files where they may only be read",
};

/** Landlock has no right for any of these, so they go by the file's owner alone. */
const ATTRIBUTE_RULE: Rule = {
  calls: [
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
    "file_setattr",
  ],
  onX86: ["chmod", "chown", "lchown", "utime", "utimes", "futimesat"],
  cases: [],
  otherwise: "EPERM",
  why: "modes, owners, times and attributes of what may only be read",
};

const NEW_NAMESPACE = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
  CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/** What `unshare` may take apart: all that makes no namespace. A list of what is allowed, because flags are still being added. */
const PLAIN_UNSHARE = CLONE_FS | CLONE_FILES | CLONE_SYSVSEM;

/**
 * Where bwrap's `--disable-userns` is not there to do it. The mount calls need CAP_SYS_ADMIN in a namespace, which nobody inside
 * has; they are denied as well because the Landlock rung can run as uid 0, and because Landlock has no hook for `open_tree`, the
 * `fs*` calls and `chroot`.
 */
const NAMESPACE_RULES: readonly Rule[] = [
  {
    calls: ["unshare"],
    cases: [{
      tests: [
        maskedEquals(0, ~PLAIN_UNSHARE >>> 0, 0),
        { arg: 0, half: "high", is: "equal", value: 0 },
      ],
      verdict: "ALLOW",
    }],
    otherwise: "EPERM",
    what: "of a namespace",
    why: "a nested namespace could undo the sandbox's view",
  },
  {
    // The low byte is the exit signal; CLONE_NEWTIME shares it and is no flag of clone. The high half is dropped (kernel/fork.c).
    calls: ["clone"],
    cases: [{
      tests: [{
        arg: 0,
        half: "low",
        is: "any_bit",
        value: NEW_NAMESPACE,
      }],
      verdict: "EPERM",
    }],
    otherwise: "ALLOW",
    what: "with a namespace flag",
    why: "a nested namespace could undo the sandbox's view",
  },
  {
    calls: [
      "setns",
      "mount",
      "umount2",
      "pivot_root",
      "chroot",
      "move_mount",
      "open_tree",
      "open_tree_attr",
      "fsopen",
      "fsconfig",
      "fsmount",
      "fspick",
      "mount_setattr",
    ],
    cases: [],
    otherwise: "EPERM",
    why: "another namespace or another tree is another view",
  },
];

/**
 * A file that is opened neither for reading nor for writing asks for no right of Landlock's, so this would open every device that the
 * user may open: a watchdog starts, a tape rewinds, and before Linux 6.10 commands can be given. `openat2` has its flags behind a
 * pointer; who asks for it falls back on ENOSYS.
 */
function openingRules({ arch }: FilterRequest): readonly Rule[] {
  const opening = (
    arg: ArgumentTest["arg"],
    calls: Pick<Rule, "calls" | "onX86">,
  ): Rule => ({
    ...calls,
    cases: [{
      tests: [maskedEquals(arg, O_ACCMODE, O_COMMANDS_ONLY)],
      verdict: "EPERM",
    }],
    otherwise: "ALLOW",
    what: "neither for reading nor for writing",
    why: "Landlock has no right for it: it would open devices",
  });
  return [
    opening(2, { calls: ["openat"] }),
    ...(arch === "x86_64" ? [opening(1, { calls: [], onX86: ["open"] })] : []),
    {
      calls: ["openat2"],
      cases: [],
      otherwise: "ENOSYS",
      why: "its flags lie behind a pointer; openat is used instead",
    },
  ];
}

/**
 * Without a PID namespace the host's processes of the same user can be named. Signals are Landlock's business, these calls nobody's.
 * `sched_setaffinity` stays open: C libraries name their own threads by number in it, and a processor less does no more harm than load.
 */
const OTHERS_RULES: readonly Rule[] = [
  {
    calls: ["prlimit64"],
    cases: [
      { tests: [intEquals(0, 0)], verdict: "ALLOW" },
      {
        tests: [
          { arg: 2, half: "low", is: "equal", value: 0 },
          { arg: 2, half: "high", is: "equal", value: 0 },
        ],
        verdict: "ALLOW",
      },
    ],
    otherwise: "EPERM",
    what: "that sets a limit of another process",
    why: "a limit of no processor time ends whoever gets it",
  },
  {
    // PRIO_PROCESS of oneself: a group or a user are others too.
    calls: ["setpriority"],
    cases: [{ tests: [intEquals(0, 0), intEquals(1, 0)], verdict: "ALLOW" }],
    otherwise: "EPERM",
    what: "of another process",
    why: "the host's processes would starve",
  },
  {
    // IOPRIO_WHO_PROCESS of oneself.
    calls: ["ioprio_set"],
    cases: [{ tests: [intEquals(0, 1), intEquals(1, 0)], verdict: "ALLOW" }],
    otherwise: "EPERM",
    what: "of another process",
    why: "the host's processes would starve",
  },
  {
    calls: ["sched_setparam", "sched_setscheduler", "sched_setattr"],
    cases: [{ tests: [intEquals(0, 0)], verdict: "ALLOW" }],
    otherwise: "EPERM",
    what: "of another process",
    why: "the host's processes would starve",
  },
];

/**
 * Other processes' memory. `process_madvise` belongs to them: since Linux 5.10 it acts on another process's pages. jemalloc, the one
 * common user, falls back to `madvise`.
 */
const DEBUG_RULE: Rule = {
  calls: [
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
  ],
  cases: [],
  otherwise: "EPERM",
  why: "debug is off: another process can't be read or driven",
};

/**
 * Its flags lie behind a pointer, so none can be denied. With CLONE_INTO_CGROUP a child is born in any control group whose files the
 * user may write, a read-only mount of them notwithstanding (kernel/cgroup/cgroup.c asks the inode only): out of the caller's limits.
 * Never EPERM: C libraries fall back to clone on ENOSYS only, and abort node's and Python's threads on anything else.
 */
const CLONE3_RULE: Rule = {
  calls: ["clone3"],
  cases: [],
  otherwise: "ENOSYS",
  why: "its flags lie behind a pointer; clone is used instead",
};

/** The kernel gives the last three only to capabilities that nobody inside has: a second lock for runs as uid 0. */
const ALWAYS_DENIED: readonly Rule[] = [
  denied(
    ["io_uring_setup", "io_uring_enter", "io_uring_register"],
    "work put into a ring is never seen by this filter",
  ),
  denied(["pidfd_getfd"], "it takes descriptors out of other processes"),
  denied(
    ["add_key", "request_key", "keyctl"],
    "keyrings are shared with the host",
  ),
  denied(
    ["bpf", "userfaultfd", "perf_event_open"],
    "kernel interfaces that attacks lean on and builds don't need",
  ),
  denied(
    ["open_by_handle_at"],
    "it opens files without a path and passes by every mask",
  ),
  denied(["kexec_load", "kexec_file_load"], "they replace the kernel"),
  denied(
    ["init_module", "finit_module", "delete_module"],
    "they change the kernel",
  ),
];

function denied(calls: readonly SyscallName[], why: string): Rule {
  return { calls, cases: [], otherwise: "EPERM", why };
}
