/**
 * Kernel numbers that the calls room uses: system calls by architecture, flags, structure layouts.
 *
 * Pure. Each constant names its header; sizes and offsets are bytes. Architectures: x86-64 and arm64, both little-endian.
 *
 * @module
 */

/** Architectures that we have numbers for, as `process.arch` spells them. */
export type Arch = "x64" | "arm64";

/** System call numbers: `asm/unistd_64.h` (x64), `asm-generic/unistd.h` (arm64). */
export interface SyscallNumbers {
  readonly read: number;
  readonly lseek: number;
  readonly pread64: number;
  readonly pwrite64: number;
  readonly write: number;
  readonly close: number;
  readonly fstat: number;
  readonly ioctl: number;
  readonly dup3: number;
  readonly fcntl: number;
  readonly flock: number;
  readonly getcwd: number;
  readonly getpid: number;
  readonly getppid: number;
  readonly getpgid: number;
  readonly geteuid: number;
  readonly getuid: number;
  readonly getegid: number;
  readonly getgid: number;
  readonly getgroups: number;
  readonly setsid: number;
  readonly kill: number;
  readonly tgkill: number;
  readonly wait4: number;
  readonly execve: number;
  readonly prctl: number;
  readonly capset: number;
  readonly rt_sigaction: number;
  readonly rt_sigprocmask: number;
  readonly pipe2: number;
  readonly ppoll: number;
  readonly openat: number;
  readonly openat2: number;
  readonly mkdirat: number;
  readonly umask: number;
  readonly unlinkat: number;
  readonly renameat2: number;
  readonly exit_group: number;
  readonly faccessat: number;
  readonly fchmod: number;
  readonly newfstatat: number;
  readonly statfs: number;
  readonly utimensat: number;
  readonly readlinkat: number;
  readonly getdents64: number;
  readonly prlimit64: number;
  readonly memfd_create: number;
  readonly close_range: number;
  readonly seccomp: number;
  readonly pidfd_open: number;
  readonly pidfd_send_signal: number;
  readonly landlock_create_ruleset: number;
  readonly landlock_add_rule: number;
  readonly landlock_restrict_self: number;
  readonly mount_setattr: number;
  readonly socket: number;
  readonly socketpair: number;
  readonly bind: number;
  readonly listen: number;
  readonly connect: number;
  readonly getsockopt: number;
  readonly setsockopt: number;
  readonly getsockname: number;
  readonly sendmsg: number;
  readonly recvmsg: number;
  readonly chdir: number;
  readonly setresuid: number;
  readonly setresgid: number;
  readonly setgroups: number;
  readonly capget: number;
  readonly faccessat2: number;
}

const SHARED_SINCE_5_1 = {
  pidfd_send_signal: 424,
  pidfd_open: 434,
  close_range: 436,
  openat2: 437,
  faccessat2: 439,
  mount_setattr: 442,
  landlock_create_ruleset: 444,
  landlock_add_rule: 445,
  landlock_restrict_self: 446,
} as const;

/** The numbers of each architecture. */
export const SYSCALLS: { readonly [arch in Arch]: SyscallNumbers } = {
  x64: {
    ...SHARED_SINCE_5_1,
    read: 0,
    lseek: 8,
    pread64: 17,
    pwrite64: 18,
    write: 1,
    close: 3,
    fstat: 5,
    rt_sigaction: 13,
    rt_sigprocmask: 14,
    ioctl: 16,
    getpid: 39,
    socket: 41,
    connect: 42,
    sendmsg: 46,
    recvmsg: 47,
    bind: 49,
    listen: 50,
    getsockname: 51,
    socketpair: 53,
    setsockopt: 54,
    getsockopt: 55,
    execve: 59,
    wait4: 61,
    kill: 62,
    tgkill: 234,
    fcntl: 72,
    flock: 73,
    getcwd: 79,
    chdir: 80,
    getuid: 102,
    getgid: 104,
    geteuid: 107,
    getegid: 108,
    getppid: 110,
    getpgid: 121,
    setsid: 112,
    getgroups: 115,
    setgroups: 116,
    setresuid: 117,
    setresgid: 119,
    capget: 125,
    capset: 126,
    prctl: 157,
    getdents64: 217,
    openat: 257,
    mkdirat: 258,
    umask: 95,
    fchmod: 91,
    newfstatat: 262,
    statfs: 137,
    utimensat: 280,
    unlinkat: 263,
    readlinkat: 267,
    faccessat: 269,
    renameat2: 316,
    exit_group: 231,
    ppoll: 271,
    dup3: 292,
    pipe2: 293,
    prlimit64: 302,
    seccomp: 317,
    memfd_create: 319,
  },
  arm64: {
    ...SHARED_SINCE_5_1,
    getcwd: 17,
    dup3: 24,
    fcntl: 25,
    ioctl: 29,
    flock: 32,
    mkdirat: 34,
    umask: 166,
    unlinkat: 35,
    faccessat: 48,
    capget: 90,
    capset: 91,
    renameat2: 276,
    exit_group: 94,
    chdir: 49,
    openat: 56,
    close: 57,
    pipe2: 59,
    getdents64: 61,
    read: 63,
    lseek: 62,
    pread64: 67,
    pwrite64: 68,
    write: 64,
    ppoll: 73,
    readlinkat: 78,
    fchmod: 52,
    newfstatat: 79,
    statfs: 43,
    utimensat: 88,
    fstat: 80,
    kill: 129,
    tgkill: 131,
    rt_sigaction: 134,
    rt_sigprocmask: 135,
    setresuid: 147,
    setresgid: 149,
    setsid: 157,
    getgroups: 158,
    setgroups: 159,
    prctl: 167,
    getpid: 172,
    getppid: 173,
    getpgid: 155,
    getuid: 174,
    geteuid: 175,
    getgid: 176,
    getegid: 177,
    socket: 198,
    socketpair: 199,
    bind: 200,
    listen: 201,
    connect: 203,
    getsockname: 204,
    setsockopt: 208,
    getsockopt: 209,
    sendmsg: 211,
    recvmsg: 212,
    execve: 221,
    wait4: 260,
    prlimit64: 261,
    seccomp: 277,
    memfd_create: 279,
  },
};

/** `fcntl.h`. O_DIRECTORY and O_NOFOLLOW differ on arm64: see {@linkcode openFlags}. */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** The two open flags whose values depend on the architecture (`asm/fcntl.h`). */
export function openFlags(
  arch: Arch,
): { readonly O_DIRECTORY: number; readonly O_NOFOLLOW: number } {
  return arch === "x64"
    ? { O_DIRECTORY: 0o200000, O_NOFOLLOW: 0o400000 }
    : { O_DIRECTORY: 0o40000, O_NOFOLLOW: 0o100000 };
}

/** `unistd.h`. */
export const SEEK_SET = 0;

/** `linux/fcntl.h`: -100 as the unsigned 32-bit value that the kernel truncates back to an int. */
export const AT_FDCWD = 0xffffff9c;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC = 1030;
export const F_ADD_SEALS = 1033;
export const FD_CLOEXEC = 1;
/** F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE. */
export const ALL_SEALS = 0xf;

/** `linux/memfd.h`. MFD_EXEC since Linux 6.3; older kernels refuse it with EINVAL. */
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const MFD_EXEC = 0x10;

/** `linux/close_range.h`. */
export const CLOSE_RANGE_CLOEXEC = 4;

/** `asm-generic/ioctls.h`. struct termios of `asm-generic/termbits.h` has 36 bytes. */
export const TCGETS = 0x5401;
export const TCSETS = 0x5402;
export const TIOCGPGRP = 0x540f;
export const TERMIOS_BYTES = 36;

/** `sys/file.h`. */
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

/** `linux/openat2.h`, struct open_how: u64 flags, mode, resolve. */
export const RESOLVE_NO_SYMLINKS = 0x04;
export const OPEN_HOW_BYTES = 24;

/** `linux/prctl.h`. */
export const PR_SET_PDEATHSIG = 1;
export const PR_SET_DUMPABLE = 4;
export const PR_SET_CHILD_SUBREAPER = 36;
export const PR_SET_NO_NEW_PRIVS = 38;

/** `linux/seccomp.h`. */
export const SECCOMP_SET_MODE_FILTER = 1;
export const SECCOMP_FILTER_FLAG_TSYNC = 1;

/** `linux/landlock.h`. The attributes are u64 handled rights of files, then of the network, then scopes; a rule is u64 rights and s32 descriptor, packed. */
export const LANDLOCK_CREATE_RULESET_VERSION = 1;
export const LANDLOCK_RULE_PATH_BENEATH = 1;
export const LANDLOCK_RULESET_BYTES = 8;
export const LANDLOCK_RULESET_NET_BYTES = 16;
export const LANDLOCK_RULESET_SCOPED_BYTES = 24;
export const LANDLOCK_PATH_BENEATH_BYTES = 12;
export const LANDLOCK_ACCESS_FS_EXECUTE = 1 << 0;
export const LANDLOCK_ACCESS_FS_WRITE_FILE = 1 << 1;
export const LANDLOCK_ACCESS_FS_READ_FILE = 1 << 2;
export const LANDLOCK_ACCESS_FS_READ_DIR = 1 << 3;
export const LANDLOCK_ACCESS_FS_REMOVE_DIR = 1 << 4;
export const LANDLOCK_ACCESS_FS_REMOVE_FILE = 1 << 5;
export const LANDLOCK_ACCESS_FS_MAKE_CHAR = 1 << 6;
export const LANDLOCK_ACCESS_FS_MAKE_DIR = 1 << 7;
export const LANDLOCK_ACCESS_FS_MAKE_REG = 1 << 8;
export const LANDLOCK_ACCESS_FS_MAKE_SOCK = 1 << 9;
export const LANDLOCK_ACCESS_FS_MAKE_FIFO = 1 << 10;
export const LANDLOCK_ACCESS_FS_MAKE_BLOCK = 1 << 11;
export const LANDLOCK_ACCESS_FS_MAKE_SYM = 1 << 12;
export const LANDLOCK_ACCESS_FS_REFER = 1 << 13;
export const LANDLOCK_ACCESS_FS_TRUNCATE = 1 << 14;
export const LANDLOCK_ACCESS_FS_IOCTL_DEV = 1 << 15;
export const LANDLOCK_ACCESS_FS_RESOLVE_UNIX = 1 << 16;
export const LANDLOCK_ACCESS_NET_BIND_TCP = 1 << 0;
export const LANDLOCK_ACCESS_NET_CONNECT_TCP = 1 << 1;
export const LANDLOCK_ACCESS_NET_BIND_UDP = 1 << 2;
export const LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP = 1 << 3;
export const LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0;
export const LANDLOCK_SCOPE_SIGNAL = 1 << 1;

/** `bits/resource.h`. */
export const RLIMIT_NOFILE = 7;

/** wait4(2): return at once (`linux/wait.h`). */
export const WNOHANG = 1;

/** `bits/socket.h`, `bits/socket_type.h`, `asm-generic/socket.h`. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const MSG_CTRUNC = 0x08;
export const MSG_TRUNC = 0x20;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;

/** struct msghdr (`bits/socket.h`) of 64-bit hosts: offsets of its pointers, and of the u32 or u64 lengths behind them. */
export const MSGHDR = {
  bytes: 56,
  iov: 16,
  iovlen: 24,
  control: 32,
  controllen: 40,
  flags: 48,
} as const;

/** struct cmsghdr (`bits/socket.h`): u64 length with the header, i32 level, i32 type, then the data. */
export const CMSGHDR = { bytes: 16, level: 8, type: 12 } as const;

/** Descriptors that one message can carry (SCM_MAX_FD of `net/scm.h`). */
export const SCM_MAX_FD = 253;

/** `asm/signal.h`, the same on both architectures. */
export const SIGHUP = 1;
export const SIGINT = 2;
export const SIGQUIT = 3;
export const SIGKILL = 9;
export const SIGUSR1 = 10;
export const SIGUSR2 = 12;
export const SIGPIPE = 13;
export const SIGALRM = 14;
export const SIGTERM = 15;
export const SIGCHLD = 17;
export const SIGCONT = 18;
export const SIGSTOP = 19;
export const SIGTSTP = 20;
export const SIGTTOU = 22;
export const SIGXFSZ = 25;
export const SIGWINCH = 28;
export const SIGSET_BYTES = 8;
export const SIG_UNBLOCK = 1;

/** `linux/stat.h`, file types of st_mode. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** struct stat: where `st_mtime` and its nanoseconds stand, on both architectures (`asm/stat.h`, `asm-generic/stat.h`). */
export const STAT_MTIME = { seconds: 88, nanoseconds: 96 };

/** utimensat(2): leave this time as it is (`linux/stat.h`). */
export const UTIME_OMIT = 0x3ffffffe;

/** struct statfs (`asm-generic/statfs.h`), whose first word is `f_type` on both architectures; with room to spare. */
export const STATFS_BYTES = 256;

/** struct stat of newfstatat(2): `asm/stat.h` (x64), `asm-generic/stat.h` (arm64). Offsets in bytes. */
export interface StatLayout {
  readonly bytes: number;
  readonly dev: number;
  readonly ino: number;
  readonly nlink: number;
  readonly nlinkBytes: 4 | 8;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  readonly ctimeSeconds: number;
  readonly ctimeNanoseconds: number;
}

export const STAT_LAYOUTS: { readonly [arch in Arch]: StatLayout } = {
  x64: {
    bytes: 144,
    dev: 0,
    ino: 8,
    nlink: 16,
    nlinkBytes: 8,
    mode: 24,
    uid: 28,
    gid: 32,
    rdev: 40,
    size: 48,
    ctimeSeconds: 104,
    ctimeNanoseconds: 112,
  },
  arm64: {
    bytes: 128,
    dev: 0,
    ino: 8,
    mode: 16,
    nlink: 20,
    nlinkBytes: 4,
    uid: 24,
    gid: 28,
    rdev: 32,
    size: 48,
    ctimeSeconds: 104,
    ctimeNanoseconds: 112,
  },
};

/** errno values that we decide on (`asm-generic/errno-base.h`, `errno.h`). */
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EINTR = 4;
export const E2BIG = 7;
export const ENOEXEC = 8;
export const EBADF = 9;
export const EACCES = 13;
export const ENOSPC = 28;
export const EROFS = 30;
export const EEXIST = 17;
export const ENOTDIR = 20;
export const EINVAL = 22;
export const EMFILE = 24;
export const EFBIG = 27;
export const ENOSYS = 38;
export const ENOTEMPTY = 39;
export const ELOOP = 40;
export const EBADFD = 77;

const ERRNO_TEXTS: {
  readonly [errno: number]: readonly [name: string, text: string];
} = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  3: ["ESRCH", "no such process"],
  4: ["EINTR", "interrupted"],
  5: ["EIO", "input/output error"],
  7: ["E2BIG", "argument list too long"],
  8: ["ENOEXEC", "not an executable format"],
  9: ["EBADF", "bad file descriptor"],
  10: ["ECHILD", "no child process"],
  11: ["EAGAIN", "temporarily unavailable"],
  12: ["ENOMEM", "out of memory"],
  13: ["EACCES", "permission denied"],
  16: ["EBUSY", "busy"],
  17: ["EEXIST", "already exists"],
  18: ["EXDEV", "different mounts"],
  20: ["ENOTDIR", "not a directory"],
  21: ["EISDIR", "is a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in the system"],
  24: ["EMFILE", "too many open files, raise the hard limit (ulimit -n)"],
  26: ["ETXTBSY", "text file busy"],
  27: ["EFBIG", "file too large, raise the limit (ulimit -f)"],
  28: ["ENOSPC", "no space left on the device"],
  30: ["EROFS", "read-only file system"],
  36: ["ENAMETOOLONG", "file name too long"],
  38: ["ENOSYS", "not available on this kernel"],
  39: ["ENOTEMPTY", "directory not empty"],
  40: ["ELOOP", "a symbolic link stands in the way"],
  77: ["EBADFD", "descriptor of the wrong kind"],
  95: ["EOPNOTSUPP", "not supported"],
  97: ["EAFNOSUPPORT", "address family not supported"],
  98: ["EADDRINUSE", "address in use"],
  99: ["EADDRNOTAVAIL", "address not available"],
};

/** `ENOENT: no such file or directory`, or `errno 77` for numbers without a text here. */
export function errnoText(errno: number): string {
  const known = ERRNO_TEXTS[errno];
  return known === undefined ? `errno ${errno}` : `${known[0]}: ${known[1]}`;
}
