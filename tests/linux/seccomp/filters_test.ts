/**
 * The specification of the filter: which call, with which arguments, in which mode, gets which verdict, and why.
 *
 * Every row holds on both architectures. `A` allow, `P` EPERM, `N` ENOSYS.
 *
 * @module
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  describeFilter,
  filterProgram,
  rulesProgram,
} from "../../../src/linux/seccomp/filters.ts";
import { allFilterRequests } from "../../../src/linux/seccomp/filter_table.ts";
import { assembledFilter } from "../../../src/linux/seccomp/programs.ts";
import {
  FILTER_ARCHES,
  FILTER_NETWORKS,
  filterKey,
  type FilterRequest,
} from "../../../src/linux/seccomp/request.ts";
import { type Rule, rulesOf } from "../../../src/linux/seccomp/rules.ts";
import {
  type Arch,
  AUDIT_ARCH,
  type SyscallName,
  syscallNumber,
  SYSCALLS,
  X86_64_ONLY,
} from "../../../src/linux/seccomp/syscalls.ts";
import { type Outcome, runProgram } from "./bpf_interpreter.ts";

const NR_MAX = 0xffffffff;
const CLOEXEC = 0o2000000n;
const NONBLOCK = 0o4000n;
/** Rubbish in the half that the kernel drops. */
const HIGH = 0xdeadbeef_00000000n;
/** AT_FDCWD, as an int. */
const AT = 0xffffff9cn;

const LETTERS: Readonly<Record<string, Outcome>> = {
  A: "ALLOW",
  P: "ERRNO 1",
  N: "ERRNO 38",
};

const PLAIN = { debug: false, namespaces: "allowed" } as const;

/** Columns of the verdicts: isolated, isolated_tight, shared_restricted, host, host_without_unix. */
const NETWORK_ROWS: readonly (readonly [
  SyscallName,
  readonly bigint[],
  string,
  string,
])[] = [
  ["socket", [2n, 1n, 0n], "APPAA", "TCP"],
  ["socket", [2n, 1n | CLOEXEC | NONBLOCK, 6n], "APPAA", "TCP with flags"],
  ["socket", [2n, 2n, 0n], "APPAA", "UDP"],
  ["socket", [10n, 1n, 0n], "APPAA", "TCP over IPv6"],
  ["socket", [HIGH | 2n, 1n, 0n], "APPAA", "the family is an int"],
  ["socket", [HIGH | 10n, 1n, 0n], "APPAA", "the family is an int"],
  ["socket", [10n, 10n, 0n], "APPAA", "AF_INET alone has the old spelling"],
  [
    "socket",
    [2n, 10n, 0n],
    "PPPPP",
    "SOCK_PACKET turns AF_INET into AF_PACKET",
  ],
  [
    "socket",
    [HIGH | 2n, HIGH | 10n | CLOEXEC, 0n],
    "PPPPP",
    "the same, hidden",
  ],
  ["socket", [16n, 3n, 0n], "APPAA", "NETLINK_ROUTE: networkInterfaces()"],
  ["socket", [HIGH | 16n, 3n, HIGH], "APPAA", "ints"],
  ["socket", [16n, 3n, 9n], "PPPAA", "NETLINK_AUDIT"],
  ["socket", [16n, 3n, 12n], "PPPAA", "NETLINK_NETFILTER"],
  ["socket", [16n, 3n, 16n], "PPPAA", "NETLINK_GENERIC"],
  ["socket", [1n, 1n, 0n], "PPPAP", "an AF_UNIX stream connects to the host"],
  [
    "socket",
    [1n, 2n, 0n],
    "PPPAP",
    "an AF_UNIX datagram socket sends to the host",
  ],
  ["socket", [1n, 3n, 0n], "PPPAP", "AF_UNIX RAW is a datagram socket"],
  ["socket", [1n, 5n | CLOEXEC, 0n], "PPPAP", "AF_UNIX SEQPACKET"],
  ["socket", [HIGH | 1n, 1n, 0n], "PPPAP", "AF_UNIX with high bits"],
  ["socket", [17n, 3n, 3n], "PPPPP", "AF_PACKET: raw frames"],
  ["socket", [HIGH | 17n, 3n, 3n], "PPPPP", "AF_PACKET with high bits"],
  ["socket", [38n, 5n, 0n], "PPPPP", "AF_ALG: kernel crypto"],
  ["socket", [HIGH | 38n, 5n, 0n], "PPPPP", "AF_ALG with high bits"],
  ["socket", [40n, 1n, 0n], "PPPPP", "AF_VSOCK: the hypervisor"],
  ["socket", [HIGH | 40n, 1n, 0n], "PPPPP", "AF_VSOCK with high bits"],
  ["socket", [0n, 1n, 0n], "PPPAA", "AF_UNSPEC: not in the list"],
  ["socket", [29n, 3n, 1n], "PPPAA", "AF_CAN: not in the list"],
  ["socket", [0xffffffffn, 1n, 0n], "PPPAA", "no family at all"],

  ["socketpair", [1n, 1n, 0n], "AAAAA", "a stream pair is a pipe"],
  ["socketpair", [1n, 5n, 0n], "AAAAA", "a seqpacket pair is one too"],
  [
    "socketpair",
    [1n, 1n | CLOEXEC | NONBLOCK, 0n],
    "AAAAA",
    "flags don't count",
  ],
  ["socketpair", [HIGH | 1n, HIGH | 1n, 0n], "AAAAA", "ints"],
  ["socketpair", [HIGH | 1n, HIGH | 5n | CLOEXEC, 0n], "AAAAA", "the same"],
  ["socketpair", [1n, 2n, 0n], "PPPAP", "DGRAM: sendmsg names a host socket"],
  ["socketpair", [1n, 3n, 0n], "PPPAP", "RAW is DGRAM on AF_UNIX"],
  ["socketpair", [1n, 2n | CLOEXEC, 0n], "PPPAP", "DGRAM with a flag"],
  ["socketpair", [1n, HIGH | 2n, 0n], "PPPAP", "DGRAM with high bits"],
  ["socketpair", [1n, 0x12n, 0n], "PPPAP", "only four bits are the type"],
  ["socketpair", [1n, 0n, 0n], "PPPAP", "no type"],
  ["socketpair", [30n, 1n, 0n], "PPPAP", "AF_TIPC makes pairs too"],
  ["socketpair", [30n, 5n, 0n], "PPPAP", "AF_TIPC makes pairs too"],
  ["socketpair", [HIGH | 40n, 1n, 0n], "PPPPP", "AF_VSOCK"],

  ["connect", [3n, 1n, 16n], "APPAA", "loopback of one's own namespace"],
  ["bind", [3n, 1n, 16n], "APPAA", "a server on one's own loopback"],
  ["listen", [3n, 5n], "APPAA", "the same"],
  ["accept", [3n], "APPAA", "the same"],
  ["accept4", [3n], "APPAA", "the same"],
  ["sendto", [3n, 1n, 1n, 0n, 0n, 0n], "APAAA", "send() on a pair"],
  ["sendto", [3n, 1n, 1n, 0n, 0x7000n, 16n], "APPAA", "to an address"],
  [
    "sendto",
    [3n, 1n, 1n, 0n, 1n << 32n, 16n],
    "APPAA",
    "an address whose low half is 0",
  ],
  ["sendto", [3n, 1n, 1n, 0n, 0n, 16n], "APAAA", "a length without an address"],
  ["shutdown", [3n, 1n], "APAAA", "half-close of a pair"],
  ["getsockname", [3n], "APAAA", "reveals nothing of a pair"],
  ["getpeername", [3n], "APAAA", "the same"],
  ["setsockopt", [3n, 1n, 7n], "APAAA", "buffer sizes of a pair"],
  ["getsockopt", [3n, 1n, 17n], "APAAA", "SO_PEERCRED of a pair"],
  ["recvmmsg", [3n], "APAAA", "receiving names nobody"],
  [
    "sendmmsg",
    [3n],
    "APAAA",
    "on a stream or seqpacket pair a name has no effect",
  ],
];

for (const [name, args, verdicts, why] of NETWORK_ROWS) {
  test(`${name}(${hex(args)}) is ${verdicts}: ${why}`, () => {
    for (const arch of FILTER_ARCHES) {
      const outcomes = FILTER_NETWORKS.map((network) =>
        verdict({ arch, network, ...PLAIN }, name, args)
      );
      expect([arch, outcomes]).toEqual([arch, letters(verdicts)]);
    }
  });
}

/** Whatever the network and the other keys are. */
const ROWS_OF_EVERY_MODE: readonly (readonly [
  SyscallName,
  readonly bigint[],
  "A" | "P",
  string,
])[] = [
  ["ioctl", [0n, 0x5412n, 0n], "P", "TIOCSTI types into the terminal"],
  ["ioctl", [0n, 0x1_0000_5412n, 0n], "P", "TIOCSTI: the kernel drops bit 32"],
  [
    "ioctl",
    [0n, HIGH | 0x5412n, 0n],
    "P",
    "TIOCSTI: the kernel drops them all",
  ],
  ["ioctl", [0n, 0x541cn, 0n], "P", "TIOCLINUX pastes the selection"],
  ["ioctl", [0n, HIGH | 0x541cn, 0n], "P", "TIOCLINUX with high bits"],
  ["ioctl", [0n, 0x5452n, 1n], "P", "FIOASYNC: the terminal sends signals"],
  ["ioctl", [0n, HIGH | 0x5452n, 1n], "P", "FIOASYNC with high bits"],
  ["ioctl", [0n, 0x5423n, 0x7000n], "P", "TIOCSETD: another line discipline"],
  ["ioctl", [0n, HIGH | 0x5423n], "P", "TIOCSETD with high bits"],
  ["ioctl", [0n, 0x540cn], "P", "TIOCEXCL: nobody else opens the terminal"],
  ["ioctl", [0n, HIGH | 0x540cn], "P", "TIOCEXCL with high bits"],
  ["ioctl", [0n, 0x540an, 0n], "P", "TCOOFF: the terminal shows nothing more"],
  ["ioctl", [0n, HIGH | 0x540an, HIGH], "P", "TCOOFF with high bits"],
  ["ioctl", [0n, 0x540an, 1n], "A", "TCOON: it goes on"],
  ["ioctl", [0n, 0x540dn], "A", "TIOCNXCL: others may open it again"],
  ["ioctl", [0n, 0x5414n, 0x7000n], "A", "TIOCSWINSZ: own terminals need it"],
  ["ioctl", [3n, 0x50009401n], "P", "btrfs: a snapshot shows what is hidden"],
  ["ioctl", [3n, HIGH | 0x50009417n], "P", "btrfs: the newer one, high bits"],
  ["ioctl", [3n, 0x5000940en], "P", "btrfs: a subvolume past Landlock"],
  ["ioctl", [3n, 0x5000940fn], "P", "btrfs: one taken away with its mounts"],
  ["ioctl", [3n, 0x4020bc10n], "P", "bcachefs: a snapshot"],
  ["ioctl", [3n, 0x40049409n], "A", "FICLONE: cp --reflink"],
  ["ioctl", [3n, 0x4020940dn], "A", "FICLONERANGE: a part of it"],
  ["ioctl", [3n, 0xc0189436n], "A", "FIDEDUPERANGE: what is the same anyhow"],
  ["ioctl", [3n, HIGH | 0x40049409n], "A", "FICLONE with high bits"],
  ["ioctl", [3n, HIGH | 0x4020940dn], "A", "FICLONERANGE with high bits"],
  ["ioctl", [3n, HIGH | 0xc0189436n], "A", "FIDEDUPERANGE with high bits"],
  ["ioctl", [3n, HIGH | 0x4020bc10n], "P", "bcachefs: with high bits"],
  ["ioctl", [3n, 0x94n], "A", "the type is the second byte"],
  ["fcntl", [0n, 4n, 0o20000n], "P", "O_ASYNC: the terminal sends signals"],
  ["fcntl", [0n, 4n, 0o26002n], "P", "O_ASYNC among other flags"],
  ["fcntl", [0n, HIGH | 4n, HIGH | 0o20000n], "P", "O_ASYNC with high bits"],
  ["fcntl", [0n, 1024n, 0n], "P", "F_SETLEASE: whoever writes waits"],
  ["fcntl", [0n, 1024n, 1n], "P", "F_SETLEASE: whoever opens waits"],
  ["fcntl", [0n, HIGH | 1024n, HIGH], "P", "F_SETLEASE with high bits"],
  ["fcntl", [0n, HIGH | 1024n, HIGH | 1n], "P", "F_WRLCK with high bits"],
  [
    "fcntl",
    [0n, 1040n, 0x7000n],
    "P",
    "F_SETDELEG: a lease of a directory too",
  ],
  ["fcntl", [0n, HIGH | 1040n], "P", "F_SETDELEG with high bits"],
  ["fcntl", [0n, 1024n, 2n], "A", "a lease is given back"],
  ["fcntl", [0n, 1025n], "A", "F_GETLEASE"],
  ["fcntl", [0n, 4n, 0o4002n], "A", "O_NONBLOCK"],
  ["fcntl", [0n, 4n, 0o4001n], "A", "O_NONBLOCK of a file for writing"],
  ["fcntl", [0n, 2n, 1n], "A", "FD_CLOEXEC is no lease"],
  ["fcntl", [0n, 3n, 0o20000n], "A", "F_GETFL takes no flags"],
  ["fcntl", [0n, 2n, 0o20001n], "A", "F_SETFD"],
  ["ioctl", [0n, 0x5413n, 0n], "A", "TIOCGWINSZ: the size of the window"],
  ["ioctl", [0n, 0x5401n, 0n], "A", "TCGETS: isatty()"],
  ["ioctl", [0n, 0x80005412n, 0n], "A", "another command"],
  ["ioctl", [0x5412n, 0n, 0n], "A", "a descriptor is not a command"],
  ["io_uring_setup", [], "P", "a ring passes by the filter"],
  ["io_uring_enter", [], "P", "a ring passes by the filter"],
  ["io_uring_register", [], "P", "a ring passes by the filter"],
  ["pidfd_getfd", [], "P", "takes other processes' descriptors"],
  ["add_key", [], "P", "keyrings are the host's"],
  ["request_key", [], "P", "keyrings are the host's"],
  ["keyctl", [], "P", "keyrings are the host's"],
  ["bpf", [], "P", "kernel programs"],
  ["userfaultfd", [], "P", "wins races in the kernel"],
  ["perf_event_open", [], "P", "kernel attack surface"],
  ["open_by_handle_at", [], "P", "opens without a path"],
  ["kexec_load", [], "P", "another kernel"],
  ["kexec_file_load", [], "P", "another kernel"],
  ["init_module", [], "P", "kernel code"],
  ["finit_module", [], "P", "kernel code"],
  ["delete_module", [], "P", "kernel code"],
];

for (const [name, args, letter, why] of ROWS_OF_EVERY_MODE) {
  test(`${name}(${hex(args)}) is ${letter} in every mode: ${why}`, () => {
    for (const request of allFilterRequests()) {
      expect([filterKey(request), verdict(request, name, args)])
        .toEqual([filterKey(request), LETTERS[letter]!]);
    }
  });
}

/** Columns: debug off, debug on. */
const DEBUG_ROWS: readonly (readonly [SyscallName, string])[] = [
  ["ptrace", "PA"],
  ["process_vm_readv", "PA"],
  ["process_vm_writev", "PA"],
  ["process_madvise", "PA"],
];
for (const [name, verdicts] of DEBUG_ROWS) {
  test(`${name} is ${verdicts}: denied unless debug is on`, () => {
    for (const request of allFilterRequests()) {
      expect([filterKey(request), verdict(request, name, [])])
        .toEqual([
          filterKey(request),
          letters(verdicts)[request.debug ? 1 : 0]!,
        ]);
    }
  });
}

/** Columns: namespaces allowed, namespaces denied. */
const NAMESPACE_ROWS: readonly (readonly [
  SyscallName,
  readonly bigint[],
  string,
  string,
])[] = [
  ["unshare", [0x10000000n], "AP", "CLONE_NEWUSER"],
  ["unshare", [0x00020000n], "AP", "CLONE_NEWNS"],
  ["unshare", [0x02000000n], "AP", "CLONE_NEWCGROUP"],
  ["unshare", [0x04000000n], "AP", "CLONE_NEWUTS"],
  ["unshare", [0x08000000n], "AP", "CLONE_NEWIPC"],
  ["unshare", [0x20000000n], "AP", "CLONE_NEWPID"],
  ["unshare", [0x40000000n], "AP", "CLONE_NEWNET"],
  ["unshare", [0x00000080n], "AP", "CLONE_NEWTIME"],
  ["unshare", [0x00000600n | 0x10000000n], "AP", "hidden among plain flags"],
  ["unshare", [0x00100000n], "AP", "a flag that we don't know"],
  ["unshare", [1n << 32n], "AP", "a flag of the high half"],
  ["unshare", [0n], "AA", "nothing"],
  ["unshare", [0x00040600n], "AA", "FS, FILES and SYSVSEM make no namespace"],
  ["clone", [0x01200011n], "AA", "fork()"],
  ["clone", [0x003d0f00n], "AA", "pthread_create()"],
  ["clone", [0x00004111n], "AA", "vfork()"],
  ["clone", [0x00000080n], "AA", "in clone this byte is the exit signal"],
  ["clone", [0x10000011n], "AP", "CLONE_NEWUSER"],
  ["clone", [0x00020011n], "AP", "CLONE_NEWNS"],
  ["clone", [0x02000011n], "AP", "CLONE_NEWCGROUP"],
  ["clone", [0x04000011n], "AP", "CLONE_NEWUTS"],
  ["clone", [0x08000011n], "AP", "CLONE_NEWIPC"],
  ["clone", [0x20000011n], "AP", "CLONE_NEWPID"],
  ["clone", [0x40000011n], "AP", "CLONE_NEWNET"],
  ["clone", [HIGH | 0x10000011n], "AP", "CLONE_NEWUSER with high bits"],
  ["clone", [0x10000000n << 32n], "AA", "the kernel drops the high half"],
  ["clone3", [0x7000n, 88n], "NN", "ENOSYS makes C libraries use clone"],
  ["setns", [], "AP", "another namespace"],
  ["mount", [], "AP", "another tree"],
  ["umount2", [], "AP", "another tree"],
  ["pivot_root", [], "AP", "another root"],
  ["chroot", [], "AP", "another root"],
  ["move_mount", [], "AP", "another tree"],
  ["open_tree", [], "AP", "another tree"],
  ["open_tree_attr", [], "AP", "another tree"],
  ["fsopen", [], "AP", "another file system"],
  ["fsconfig", [], "AP", "another file system"],
  ["fsmount", [], "AP", "another file system"],
  ["fspick", [], "AP", "another file system"],
  ["mount_setattr", [], "AP", "a mount made writable"],
  ["prlimit64", [0n, 7n, 0x7000n, 0n], "AA", "its own limit: ulimit"],
  ["prlimit64", [HIGH, 7n, 0x7000n, 0n], "AA", "a process is an int"],
  ["prlimit64", [9n, 7n, 0n, 0x7000n], "AA", "another's limit is only asked"],
  ["prlimit64", [9n, 0n, 0x7000n, 0n], "AP", "RLIMIT_CPU of the host's"],
  ["prlimit64", [9n, 0n, 1n << 32n, 0n], "AP", "a pointer has two halves"],
  ["setpriority", [0n, 0n, 19n], "AA", "nice of itself"],
  ["setpriority", [HIGH, HIGH, 19n], "AA", "ints"],
  ["setpriority", [0n, 9n, 19n], "AP", "renice of the host's"],
  ["setpriority", [1n, 0n, 19n], "AP", "its group has the caller in it"],
  ["setpriority", [2n, 0n, 19n], "AP", "all processes of the user"],
  ["ioprio_set", [1n, 0n, 0n], "AA", "ionice of itself"],
  ["ioprio_set", [HIGH | 1n, HIGH, 0n], "AA", "ints"],
  ["ioprio_set", [1n, 9n, 0n], "AP", "ionice of the host's"],
  ["ioprio_set", [3n, 0n, 0n], "AP", "all processes of the user"],
  ["sched_setparam", [0n], "AA", "of itself"],
  ["sched_setparam", [HIGH], "AA", "a process is an int"],
  ["sched_setparam", [9n], "AP", "of the host's"],
  ["sched_setscheduler", [0n, 3n], "AA", "of itself"],
  ["sched_setscheduler", [9n, 5n], "AP", "SCHED_IDLE for the host's"],
  ["sched_setattr", [0n], "AA", "of itself"],
  ["sched_setattr", [9n], "AP", "of the host's"],
];
for (const [name, args, verdicts, why] of NAMESPACE_ROWS) {
  test(`${name}(${hex(args)}) is ${verdicts}: ${why}`, () => {
    for (const request of allFilterRequests()) {
      const column = request.namespaces === "allowed" ? 0 : 1;
      expect([filterKey(request), verdict(request, name, args)])
        .toEqual([filterKey(request), letters(verdicts)[column]!]);
    }
  });
}

/** Columns: where there is a view of one's own, where the host's devices are seen (the Landlock rung). */
const OPENING_ROWS: readonly (readonly [
  SyscallName,
  readonly bigint[],
  string,
  string,
])[] = [
  ["openat", [AT, 0x7000n, 0n], "AA", "O_RDONLY"],
  ["openat", [AT, 0x7000n, 1n], "AA", "O_WRONLY"],
  ["openat", [AT, 0x7000n, 2n], "AA", "O_RDWR"],
  ["openat", [3n, 0x7000n, 0x80000n, 3n], "AA", "a mode is no flag"],
  ["openat", [AT, 0x7000n, 3n], "AP", "no right of Landlock's is asked"],
  ["openat", [AT, 0x7000n, 0x80903n], "AP", "the same among other flags"],
  ["openat", [AT, 0x7000n, HIGH | 3n], "AP", "flags are an int"],
  ["openat2", [AT, 0x7000n, 0x7000n, 24n], "AN", "flags behind a pointer"],
];
const isBesideTheHost = ({ network, namespaces }: FilterRequest): boolean =>
  namespaces === "denied" && !network.startsWith("isolated");
for (const [name, args, verdicts, why] of OPENING_ROWS) {
  test(`${name}(${hex(args)}) is ${verdicts}: ${why}`, () => {
    for (const request of allFilterRequests()) {
      const column = isBesideTheHost(request) ? 1 : 0;
      expect([filterKey(request), verdict(request, name, args)])
        .toEqual([filterKey(request), letters(verdicts)[column]!]);
    }
  });
}

/** The same calls by the spelling that only x86-64 has. */
const OLD_OPENING_ROWS = OPENING_ROWS.filter(([name]) => name === "openat")
  .map(([, args, verdicts, why]) => [args.slice(1), verdicts, why] as const);
for (const [args, verdicts, why] of OLD_OPENING_ROWS) {
  test(`open(${hex(args)}), which only x86-64 has, is ${verdicts}: ${why}`, () => {
    for (const request of requestsOf("x86_64")) {
      const outcome = runProgram(programOf(request), {
        arch: AUDIT_ARCH.x86_64,
        nr: X86_64_ONLY.open,
        args,
      });
      const column = isBesideTheHost(request) ? 1 : 0;
      expect([filterKey(request), outcome])
        .toEqual([filterKey(request), letters(verdicts)[column]!]);
    }
  });
}

/** Columns: attributes allowed, attributes denied (a Landlock run that may write no directory). */
const ATTRIBUTE_ROWS: readonly (readonly [
  SyscallName,
  readonly bigint[],
  string,
  string,
])[] = [
  ["fchmod", [3n, 0o4755n], "AP", "a setuid file by a descriptor for reading"],
  ["fchmodat", [], "AP", "the mode of a file of the same user"],
  ["fchmodat2", [], "AP", "the same, newer"],
  ["fchown", [], "AP", "the group of a file of the same user"],
  ["fchownat", [], "AP", "the same by name"],
  ["utimensat", [], "AP", "times: make and backups go by them"],
  ["setxattr", [], "AP", "access lists are attributes"],
  ["lsetxattr", [], "AP", "attributes of a link"],
  ["fsetxattr", [], "AP", "attributes by a descriptor"],
  ["setxattrat", [], "AP", "the same, newer"],
  ["removexattr", [], "AP", "attributes taken away"],
  ["lremovexattr", [], "AP", "attributes of a link taken away"],
  ["fremovexattr", [], "AP", "attributes taken away by a descriptor"],
  ["removexattrat", [], "AP", "the same, newer"],
  ["file_setattr", [], "AP", "flags of a file"],
  ...([
    [0x40086602n, "FS_IOC_SETFLAGS: chattr"],
    [0x40046602n, "FS_IOC32_SETFLAGS"],
    [0x40087602n, "FS_IOC_SETVERSION"],
    [0x40047602n, "FS_IOC32_SETVERSION"],
    [0x401c5820n, "FS_IOC_FSSETXATTR: project quota"],
    [0x40806685n, "FS_IOC_ENABLE_VERITY: never writable"],
    [0x800c6613n, "FS_IOC_SET_ENCRYPTION_POLICY"],
    [0x40047211n, "FAT_IOCTL_SET_ATTRIBUTES: as chmod"],
    [0x40186f04n, "OCFS2_IOC_REFLINK: makes a file"],
  ] as const).flatMap(([command, why]) => [
    ["ioctl", [3n, command], "AP", why] as const,
    ["ioctl", [3n, HIGH | command], "AP", `${why}, with high bits`] as const,
  ]),
  ["ioctl", [3n, 0x80086601n], "AA", "FS_IOC_GETFLAGS: lsattr"],
];
for (const [name, args, verdicts, why] of ATTRIBUTE_ROWS) {
  test(`${name}(${hex(args)}) is ${verdicts}: ${why}`, () => {
    for (const request of allFilterRequests()) {
      const column = request.attributes === undefined ? 0 : 1;
      expect([filterKey(request), verdict(request, name, args)])
        .toEqual([filterKey(request), letters(verdicts)[column]!]);
    }
  });
}

/** The older spellings of calls that change attributes. */
const OLD_ATTRIBUTE_CALLS = Object.entries(X86_64_ONLY).filter(([name]) =>
  name !== "open"
);
for (const [name, nr] of OLD_ATTRIBUTE_CALLS) {
  test(`${name}, which only x86-64 has, goes with the attributes of files`, () => {
    for (const request of requestsOf("x86_64")) {
      const outcome = runProgram(programOf(request), {
        arch: AUDIT_ARCH.x86_64,
        nr,
      });
      expect([filterKey(request), outcome]).toEqual([
        filterKey(request),
        request.attributes === undefined ? "ALLOW" : "ERRNO 1",
      ]);
    }
  });
}

test("attributes are denied only where namespaces are, and no socket is isolated", () => {
  const requests = allFilterRequests().filter((it) =>
    it.attributes === "denied"
  );
  expect(requests.length).toBe(3 * 2 * FILTER_ARCHES.length);
  for (const { namespaces, network } of requests) {
    expect(namespaces).toBe("denied");
    expect(["shared_restricted", "host", "host_without_unix"])
      .toContain(network);
  }
});

test("every named call has a row", () => {
  const rows = [
    NETWORK_ROWS,
    ROWS_OF_EVERY_MODE,
    DEBUG_ROWS,
    NAMESPACE_ROWS,
    OPENING_ROWS,
    ATTRIBUTE_ROWS,
  ];
  const tested = new Set<string>(rows.flat().map(([name]) => name));
  expect(Object.keys(SYSCALLS).filter((name) => !tested.has(name))).toEqual([]);
});

test("a call belongs to one rule: a second one would never be asked", () => {
  for (const request of allFilterRequests()) {
    const calls = rulesOf(request).flatMap((rule) => [
      ...rule.calls,
      ...rule.onX86 ?? [],
    ]);
    const twice = calls.filter((call, index) => calls.indexOf(call) < index);
    expect([filterKey(request), twice]).toEqual([filterKey(request), []]);
  }
});

const BITS = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit));
const NAMESPACE_FLAGS = 0x7e020000n; // CLONE_NEW* but for CLONE_NEWTIME, which clone can't take

test("unshare takes three flags and no other bit, clone all but those of a namespace", () => {
  const bitsOf = (name: SyscallName): bigint =>
    BITS.filter((bit) => verdict(WITHOUT_NAMESPACES, name, [bit]) === LETTERS.P)
      .reduce((all, bit) => all | bit, 0n);
  expect({ unshare: bitsOf("unshare"), clone: bitsOf("clone") }).toEqual({
    unshare: 0xffffffff_ffffffffn & ~0x00040600n,
    clone: NAMESPACE_FLAGS,
  });
});

test("nothing of a rule can be left out or changed without a row that notices", () => {
  const seen = new Set<Rule>();
  const unnoticed: string[] = [];
  for (const request of requestsOf("x86_64")) {
    const rules = rulesOf(request);
    const rows = rowsFor(request);
    for (const [index, rule] of rules.entries()) {
      if (seen.has(rule)) continue;
      seen.add(rule);
      const numbers = callNumbers(rule);
      const own = rows.filter(({ nr }) => numbers.includes(nr));
      for (const [what, ...instead] of changesOf(rule)) {
        const program = rulesProgram(
          rules.toSpliced(index, 1, ...instead),
          "x86_64",
        );
        const isNoticed = own.some(({ nr, args, outcome }) =>
          runProgram(program, { arch: AUDIT_ARCH.x86_64, nr, args }) !== outcome
        );
        if (!isNoticed) unnoticed.push(`${rule.calls[0]}: ${what}`);
      }
    }
  }
  expect(unnoticed).toEqual([]);
});

/** Numbers on x86-64 that belong to x32. */
const X32_ROWS: readonly (readonly [number, Outcome, string])[] = [
  [0x40000000, "KILL_PROCESS", "x32 read"],
  [0x40000000 + 59, "KILL_PROCESS", "x32 of a native number"],
  [0x40000000 + 514, "KILL_PROCESS", "x32 ioctl"],
  [0xfffffffe, "KILL_PROCESS", "the last number with the bit"],
  [0xffffffff, "ALLOW", "-1 is no call: a debugger skips one with it"],
  [0x3fffffff, "ALLOW", "the last number without the bit: ENOSYS anyway"],
  [511, "ALLOW", "the number before x32's own"],
  [512, "ERRNO 38", "x32 rt_sigaction without the bit, run before Linux 5.4"],
  [514, "ERRNO 38", "x32 ioctl without the bit: TIOCSTI by another name"],
  [547, "ERRNO 38", "the last of x32's own"],
  [548, "ALLOW", "the number after x32's own"],
];
for (const [nr, outcome, why] of X32_ROWS) {
  test(`on x86-64 number ${nr} is ${outcome}: ${why}`, () => {
    for (const request of requestsOf("x86_64")) {
      const program = filterProgram(request);
      expect(runProgram(program, { arch: AUDIT_ARCH.x86_64, nr })).toBe(
        outcome,
      );
    }
  });
}

const FOREIGN: Readonly<Record<Arch, readonly (readonly [number, string])[]>> =
  {
    x86_64: [[0x40000003, "i386 by int 0x80"], [0xc00000b7, "arm64"]],
    arm64: [[0x40000028, "arm, 32 bit"], [0xc000003e, "x86-64"]],
  };
for (const arch of FILTER_ARCHES) {
  for (const [foreign, what] of FOREIGN[arch]) {
    test(`the ${arch} filter kills ${what}`, () => {
      for (const request of requestsOf(arch)) {
        expect(runProgram(filterProgram(request), { arch: foreign, nr: 1 }))
          .toBe("KILL_PROCESS");
      }
    });
  }
}

const anyRequest = fc.constantFrom(...allFilterRequests());
const anyArgs = fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), {
  maxLength: 6,
});
const RUNS = { seed: 20_261_121, numRuns: 400 } as const;

test("a call that no rule names is allowed, whatever its arguments", () => {
  fc.assert(
    fc.property(
      anyRequest,
      fc.integer({ min: 0, max: 1023 }),
      anyArgs,
      (request, nr, args) => {
        const { arch } = request;
        fc.pre(!namedNumbers(arch).has(nr));
        fc.pre(arch !== "x86_64" || nr < 512 || nr > 547);
        const call = { arch: AUDIT_ARCH[arch], nr, args };
        return runProgram(filterProgram(request), call) === "ALLOW";
      },
    ),
    RUNS,
  );
});

test("a call of any other architecture is killed, whatever it is", () => {
  fc.assert(
    fc.property(
      anyRequest,
      fc.nat(NR_MAX),
      fc.nat(NR_MAX),
      anyArgs,
      (request, arch, nr, args) => {
        fc.pre(arch !== AUDIT_ARCH[request.arch]);
        const outcome = runProgram(filterProgram(request), { arch, nr, args });
        return outcome === "KILL_PROCESS";
      },
    ),
    RUNS,
  );
});

test("bits that the kernel drops never change a verdict", () => {
  const calls = fc.constantFrom<[SyscallName, number][]>(
    ["socket", 3],
    ["socketpair", 3],
    ["ioctl", 2],
    ["fcntl", 3],
    ["clone", 1],
  );
  const low = fc.oneof(
    fc.nat(64),
    fc.constantFrom(0x5412, 0x541c, 0x540a, 0x9401, 0x10000011, 0o20000),
    fc.nat(NR_MAX),
  );
  fc.assert(
    fc.property(
      anyRequest,
      calls,
      fc.array(low, { minLength: 3, maxLength: 3 }),
      fc.nat(NR_MAX),
      (request, [name, ints], lows, high) => {
        const plain = lows.map(BigInt);
        const dirty = plain.map((value, index) =>
          index < ints ? value | (BigInt(high) << 32n) : value
        );
        return verdict(request, name, plain) === verdict(request, name, dirty);
      },
    ),
    RUNS,
  );
});

test("the programs made at build time are the ones that the rules give", () => {
  for (const request of allFilterRequests()) {
    expect(Buffer.from(assembledFilter(request)).toString("hex"))
      .toBe(Buffer.from(filterProgram(request)).toString("hex"));
  }
});

test("what is denied is told line by line, with the errno and the reason", () => {
  const lines = describeFilter({
    arch: "x86_64",
    network: "isolated",
    debug: false,
    namespaces: "denied",
  });
  expect(lines).toEqual([
    "kill every call of another architecture (int 0x80 and x32 included)",
    "deny socket but for AF_INET, AF_INET6 and NETLINK_ROUTE (EPERM): the network namespace bounds internet sockets; an AF_UNIX socket reaches the host's by path",
    "deny socketpair but for AF_UNIX stream and seqpacket pairs (EPERM): a datagram pair reaches the host's sockets with sendmsg",
    "deny ioctl of TIOCSTI, TIOCLINUX, FIOASYNC, TIOCSETD, TIOCEXCL, TCOOFF, btrfs and bcachefs (EPERM): they type into the caller's terminal, make it send signals to the host, leave it dead or locked, or copy what is hidden",
    "deny fcntl that sets O_ASYNC or takes a lease (EPERM): a terminal would send signals to its foreground group, and a lease makes other programs wait, on the host",
    "deny unshare of a namespace (EPERM): a nested namespace could undo the sandbox's view",
    "deny clone with a namespace flag (EPERM): a nested namespace could undo the sandbox's view",
    "deny setns, mount, umount2, pivot_root, chroot, move_mount, open_tree, open_tree_attr, fsopen, fsconfig, fsmount, fspick, mount_setattr (EPERM): another namespace or another tree is another view",
    "deny prlimit64 that sets a limit of another process (EPERM): a limit of no processor time ends whoever gets it",
    "deny setpriority of another process (EPERM): the host's processes would starve",
    "deny ioprio_set of another process (EPERM): the host's processes would starve",
    "deny sched_setparam, sched_setscheduler, sched_setattr of another process (EPERM): the host's processes would starve",
    "deny clone3 (ENOSYS): its flags lie behind a pointer; clone is used instead",
    "deny ptrace, process_vm_readv, process_vm_writev, process_madvise (EPERM): debug is off: another process can't be read or driven",
    "deny io_uring_setup, io_uring_enter, io_uring_register (EPERM): work put into a ring is never seen by this filter",
    "deny pidfd_getfd (EPERM): it takes descriptors out of other processes",
    "deny add_key, request_key, keyctl (EPERM): keyrings are shared with the host",
    "deny bpf, userfaultfd, perf_event_open (EPERM): kernel interfaces that attacks lean on and builds don't need",
    "deny open_by_handle_at (EPERM): it opens files without a path and passes by every mask",
    "deny kexec_load, kexec_file_load (EPERM): they replace the kernel",
    "deny init_module, finit_module, delete_module (EPERM): they change the kernel",
    "allow every other call",
  ]);
});

const WITHOUT_NAMESPACES = {
  arch: "x86_64",
  network: "host",
  debug: false,
  namespaces: "denied",
} as const;

/** What the tables say of a request, on x86-64. */
function rowsFor(request: FilterRequest): readonly {
  readonly nr: number;
  readonly args: readonly bigint[];
  readonly outcome: Outcome;
}[] {
  const row = (
    name: SyscallName,
    args: readonly bigint[],
    verdicts: string,
    column: number,
  ) => ({
    nr: syscallNumber(name, "x86_64"),
    args,
    outcome: letters(verdicts)[column]!,
  });
  const { network, debug, namespaces, attributes } = request;
  const quiet = attributes === undefined ? 0 : 1;
  return [
    ...NETWORK_ROWS.map(([name, args, verdicts]) =>
      row(name, args, verdicts, FILTER_NETWORKS.indexOf(network))
    ),
    ...ROWS_OF_EVERY_MODE.map(([name, args, letter]) =>
      row(name, args, letter, 0)
    ),
    ...DEBUG_ROWS.map(([name, verdicts]) =>
      row(name, [], verdicts, debug ? 1 : 0)
    ),
    ...NAMESPACE_ROWS.map(([name, args, verdicts]) =>
      row(name, args, verdicts, namespaces === "allowed" ? 0 : 1)
    ),
    ...ATTRIBUTE_ROWS.map(([name, args, verdicts]) =>
      row(name, args, verdicts, quiet)
    ),
    ...OPENING_ROWS.map(([name, args, verdicts]) =>
      row(name, args, verdicts, isBesideTheHost(request) ? 1 : 0)
    ),
    ...OLD_OPENING_ROWS.map(([args, verdicts]) => ({
      nr: X86_64_ONLY.open,
      args,
      outcome: letters(verdicts)[isBesideTheHost(request) ? 1 : 0]!,
    })),
    ...OLD_ATTRIBUTE_CALLS.map(([, nr]) => ({
      nr,
      args: [],
      outcome: letters("AP")[quiet]!,
    })),
  ];
}

function callNumbers(rule: Rule): number[] {
  return [
    ...rule.calls.map((name) => syscallNumber(name, "x86_64")),
    ...(rule.onX86 ?? []).map((name) => X86_64_ONLY[name]),
  ];
}

/** A rule with one thing less or otherwise: what was done, and what stands in the rule's place. */
function changesOf(rule: Rule): readonly (readonly [string, ...Rule[]])[] {
  const { calls, onX86 = [], cases, otherwise } = rule;
  return [
    ["the whole rule"],
    ...(calls.length === 1 ? [] : calls).map((call) =>
      [`call ${call}`, {
        ...rule,
        calls: calls.filter((it) => it !== call),
      }] as const
    ),
    ...(calls.length + onX86.length === 1 ? [] : onX86).map((call) =>
      [`call ${call}`, {
        ...rule,
        onX86: onX86.filter((it) => it !== call),
      }] as const
    ),
    ["otherwise", { ...rule, otherwise: other(otherwise) }],
    ...cases.flatMap((each, at) => {
      const named = (
        what: string,
        ...instead: Rule["cases"]
      ): readonly [string, Rule] => [
        `${what} of case ${at}`,
        { ...rule, cases: cases.toSpliced(at, 1, ...instead) },
      ];
      return [
        named("all"),
        named("verdict", { ...each, verdict: other(each.verdict) }),
        ...each.tests.flatMap((test, position) => {
          const tests = (...instead: typeof each.tests): typeof each => ({
            ...each,
            tests: each.tests.toSpliced(position, 1, ...instead),
          });
          const high = test.half === "high";
          return [
            each.tests.length === 1
              ? [
                `the only test of case ${at}`,
                { ...rule, cases: cases.slice(0, at), otherwise: each.verdict },
              ] as const
              : named(`test ${position}`, tests()),
            named(
              `half of test ${position}`,
              tests({ ...test, half: high ? "low" : "high" }),
            ),
            named(
              `value of test ${position}`,
              tests({ ...test, value: (test.value ^ 1) >>> 0 }),
            ),
            ...(test.mask === undefined ? [] : [
              named(
                `mask of test ${position}`,
                tests({ ...test, mask: 0xffffffff }),
              ),
            ]),
            ...(each.tests.some(({ arg, half }) =>
                arg === test.arg && half === "high"
              )
              ? []
              : [
                named(
                  `test ${position}, which looks at one half`,
                  {
                    ...each,
                    tests: [...each.tests, {
                      ...test,
                      half: "high",
                      is: "equal",
                      value: 0,
                      mask: 0xffffffff,
                    }],
                  },
                ),
              ]),
          ];
        }),
      ];
    }),
  ];
}

function other(verdict: Rule["otherwise"]): Rule["otherwise"] {
  return verdict === "ALLOW" ? "EPERM" : "ALLOW";
}

function verdict(
  request: FilterRequest,
  name: SyscallName,
  args: readonly bigint[],
): Outcome {
  const { arch } = request;
  const nr = syscallNumber(name, arch);
  return runProgram(programOf(request), { arch: AUDIT_ARCH[arch], nr, args });
}

const programs = new Map<string, Uint8Array>();

function programOf(request: FilterRequest): Uint8Array {
  const key = filterKey(request);
  const known = programs.get(key) ?? filterProgram(request);
  programs.set(key, known);
  return known;
}

function requestsOf(arch: Arch): FilterRequest[] {
  return allFilterRequests().filter((request) => request.arch === arch);
}

function namedNumbers(arch: Arch): Set<number> {
  return new Set([
    ...(Object.keys(SYSCALLS) as SyscallName[]).map((name) =>
      syscallNumber(name, arch)
    ),
    ...(arch === "x86_64" ? Object.values(X86_64_ONLY) : []),
  ]);
}

function letters(word: string): Outcome[] {
  return [...word].map((letter) => LETTERS[letter]!);
}

function hex(args: readonly bigint[]): string {
  return args.map((arg) => `0x${arg.toString(16)}`).join(", ");
}
