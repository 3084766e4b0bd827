/**
 * What each version of Landlock can restrict, as data: rights on files, rights on the network, scopes.
 *
 * Pure. Everything works on a *given* version, so old kernels are emulated by passing a number. Numbers and names are those of
 * `linux/landlock.h`; what each version brought is in landlock(7), under "VERSIONS", and in the kernel's
 * Documentation/userspace-api/landlock.rst, under "Previous limitations".
 *
 * @module
 */
import * as abi from "../sys/abi.ts";

/** A right on files and directories, `LANDLOCK_ACCESS_FS_*`. */
export type FileRight = keyof typeof FILE_BITS;

/** A right on ports, `LANDLOCK_ACCESS_NET_*`. */
export type NetRight = keyof typeof NET_BITS;

/** What is kept within the domain, `LANDLOCK_SCOPE_*`. */
export type Scope = keyof typeof SCOPE_BITS;

const FILE_BITS = {
  EXECUTE: abi.LANDLOCK_ACCESS_FS_EXECUTE,
  WRITE_FILE: abi.LANDLOCK_ACCESS_FS_WRITE_FILE,
  READ_FILE: abi.LANDLOCK_ACCESS_FS_READ_FILE,
  READ_DIR: abi.LANDLOCK_ACCESS_FS_READ_DIR,
  REMOVE_DIR: abi.LANDLOCK_ACCESS_FS_REMOVE_DIR,
  REMOVE_FILE: abi.LANDLOCK_ACCESS_FS_REMOVE_FILE,
  MAKE_CHAR: abi.LANDLOCK_ACCESS_FS_MAKE_CHAR,
  MAKE_DIR: abi.LANDLOCK_ACCESS_FS_MAKE_DIR,
  MAKE_REG: abi.LANDLOCK_ACCESS_FS_MAKE_REG,
  MAKE_SOCK: abi.LANDLOCK_ACCESS_FS_MAKE_SOCK,
  MAKE_FIFO: abi.LANDLOCK_ACCESS_FS_MAKE_FIFO,
  MAKE_BLOCK: abi.LANDLOCK_ACCESS_FS_MAKE_BLOCK,
  MAKE_SYM: abi.LANDLOCK_ACCESS_FS_MAKE_SYM,
  REFER: abi.LANDLOCK_ACCESS_FS_REFER,
  TRUNCATE: abi.LANDLOCK_ACCESS_FS_TRUNCATE,
  IOCTL_DEV: abi.LANDLOCK_ACCESS_FS_IOCTL_DEV,
  RESOLVE_UNIX: abi.LANDLOCK_ACCESS_FS_RESOLVE_UNIX,
} as const;

const NET_BITS = {
  BIND_TCP: abi.LANDLOCK_ACCESS_NET_BIND_TCP,
  CONNECT_TCP: abi.LANDLOCK_ACCESS_NET_CONNECT_TCP,
  BIND_UDP: abi.LANDLOCK_ACCESS_NET_BIND_UDP,
  CONNECT_SEND_UDP: abi.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP,
} as const;

const SCOPE_BITS = {
  ABSTRACT_UNIX_SOCKET: abi.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
  SIGNAL: abi.LANDLOCK_SCOPE_SIGNAL,
} as const;

/** What a ruleset can speak of. */
export interface LandlockRights {
  readonly files: readonly FileRight[];
  readonly net: readonly NetRight[];
  readonly scopes: readonly Scope[];
}

/** What one version added. */
export interface LandlockVersion extends LandlockRights {
  readonly abi: number;
  /** The first kernel that has it. */
  readonly kernel: string;
  /** What could not be restricted before. */
  readonly closes: string;
}

/** Every version that is known, oldest first. A newer kernel is treated as the newest of these. */
export const LANDLOCK_VERSIONS: readonly LandlockVersion[] = [
  {
    abi: 1,
    kernel: "5.13",
    files: [
      "EXECUTE",
      "WRITE_FILE",
      "READ_FILE",
      "READ_DIR",
      "REMOVE_DIR",
      "REMOVE_FILE",
      "MAKE_CHAR",
      "MAKE_DIR",
      "MAKE_REG",
      "MAKE_SOCK",
      "MAKE_FIFO",
      "MAKE_BLOCK",
      "MAKE_SYM",
    ],
    net: [],
    scopes: [],
    closes: "files of the same user",
  },
  {
    abi: 2,
    kernel: "5.19",
    files: ["REFER"],
    net: [],
    scopes: [],
    closes: "nothing: renames and links to another directory can be allowed",
  },
  {
    abi: 3,
    kernel: "6.2",
    files: ["TRUNCATE"],
    net: [],
    scopes: [],
    closes: "emptying files that can't be opened for writing",
  },
  {
    abi: 4,
    kernel: "6.7",
    files: [],
    net: ["BIND_TCP", "CONNECT_TCP"],
    scopes: [],
    closes: "TCP ports",
  },
  {
    abi: 5,
    kernel: "6.10",
    files: ["IOCTL_DEV"],
    net: [],
    scopes: [],
    closes: "commands to devices that can only be read",
  },
  {
    abi: 6,
    kernel: "6.12",
    files: [],
    net: [],
    scopes: ["ABSTRACT_UNIX_SOCKET", "SIGNAL"],
    closes: "signals to others, and their abstract sockets",
  },
  {
    abi: 7,
    kernel: "6.15",
    files: [],
    net: [],
    scopes: [],
    closes: "nothing: what is denied can be logged",
  },
  {
    abi: 8,
    kernel: "7.0",
    files: [],
    net: [],
    scopes: [],
    closes: "nothing: all threads can be restricted at once",
  },
  {
    abi: 9,
    kernel: "7.1",
    files: ["RESOLVE_UNIX"],
    net: [],
    scopes: [],
    closes: "sockets of others in the file system",
  },
  {
    abi: 10,
    kernel: "7.2",
    files: [],
    net: ["BIND_UDP", "CONNECT_SEND_UDP"],
    scopes: [],
    closes: "UDP ports",
  },
];

/** Everything that a kernel with this version can restrict; 0, or less, is a kernel without Landlock. */
export function rightsOf(version: number): LandlockRights {
  const there = LANDLOCK_VERSIONS.filter((row) => row.abi <= version);
  return {
    files: there.flatMap((row) => row.files),
    net: there.flatMap((row) => row.net),
    scopes: there.flatMap((row) => row.scopes),
  };
}

/** The first kernel that restricts `right` on files. */
export function kernelWith(right: FileRight): string {
  return LANDLOCK_VERSIONS.find((row) => row.files.includes(right))!.kernel;
}

export function fileBits(rights: readonly FileRight[]): number {
  return rights.reduce((bits, right) => bits | FILE_BITS[right], 0);
}

export function netBits(rights: readonly NetRight[]): number {
  return rights.reduce((bits, right) => bits | NET_BITS[right], 0);
}

export function scopeBits(scopes: readonly Scope[]): number {
  return scopes.reduce((bits, scope) => bits | SCOPE_BITS[scope], 0);
}

/** What a read grant allows, in a directory or on a file. */
const READING: readonly FileRight[] = ["EXECUTE", "READ_FILE", "READ_DIR"];

/** What a write grant allows besides; devices can't be made anywhere. */
const WRITING: readonly FileRight[] = [
  "WRITE_FILE",
  "REMOVE_DIR",
  "REMOVE_FILE",
  "MAKE_DIR",
  "MAKE_REG",
  "MAKE_SOCK",
  "MAKE_FIFO",
  "MAKE_SYM",
  "REFER",
  "TRUNCATE",
];

/** The rights that the kernel takes in a rule for something that is no directory. */
const ON_A_FILE: readonly FileRight[] = [
  "EXECUTE",
  "WRITE_FILE",
  "READ_FILE",
  "TRUNCATE",
  "IOCTL_DEV",
];

/** The rights of one rule, as far as the version knows them. */
export function grantedRights(
  version: number,
  access: "read" | "write" | "device",
  node: "directory" | "file",
): readonly FileRight[] {
  const wanted = access === "read"
    ? READING
    : access === "write"
    ? [...READING, ...WRITING]
    : ON_A_FILE.filter((right) => right !== "EXECUTE");
  const known = rightsOf(version).files;
  return wanted.filter((right) =>
    known.includes(right) && (node === "directory" || ON_A_FILE.includes(right))
  );
}
