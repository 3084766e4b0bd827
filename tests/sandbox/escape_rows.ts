/**
 * Ways out of the sandbox that have been tried: what an attacker would do, and what the kernel must answer.
 *
 * Data only. {@linkcode ESCAPES} is run by `escape_test.ts` against decoys, as root and as a user, with both bubblewraps and both ways
 * to start the command. `{work}` is the workspace, `{outside}` a folder of the same user that no profile grants, `{home}`
 * `CODEX_HOME`, `{codex}` and `{probe}` the executables, `{pid}` a process on the host, `{tcp}` and `{udp}` ports there, `{shm}`,
 * `{sem}` and `{msg}` SysV objects, `{name}` a name for abstract sockets and queues, `{uid}` the user.
 *
 * A row's answer is what the probe (`probe/probe.c`) prints for the last call, or `call:errno` for an earlier one that failed;
 * alternatives are separated by `|`. Nothing is ever asked that would harm the host if it were granted: what is not a decoy is
 * only opened, or called with an argument that the kernel refuses after it has looked at the rights.
 *
 * @module
 */

/** What a row attacks. */
export type EscapeClass =
  | "files"
  | "mounts"
  | "processes"
  | "terminals"
  | "descriptors"
  | "ipc"
  | "kernel"
  | "network"
  | "our own files";

/** The kind of run in which it is tried. */
export type EscapeRun =
  | "workspace"
  | "read-only"
  | "network"
  | "stream"
  | "terminal";

/** A system call by name; arguments as `calls` of the probe takes them. */
export type Call = readonly [name: string, ...args: (string | number)[]];

/** One attempt. */
export interface Escape {
  readonly id: string;
  readonly class: EscapeClass;
  /** Without it: `workspace`. */
  readonly run?: EscapeRun;
  readonly tries: string;
  /** Calls in order, or a line of a shell that says something only when it got through. */
  readonly how: readonly Call[] | string;
  readonly answer: string;
  /** What it would give, or what it is like: `weak N` is spec §9, `class N` the table of known holes. */
  readonly why: string;
  /** Numbers or files of one architecture. */
  readonly only?: "x64";
  /** Who can try it at all. */
  readonly actor?: "root" | "user";
}

const AT = -100;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000;
const O_PATH = 0o10000000;
const O_TMPFILE = 0o20000000 | O_DIRECTORY;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_FOLLOW = 0x400;
const AT_REMOVEDIR = 0x200;
const EXCHANGE = 2;
const WHITEOUT = 4;
const MNT_DETACH = 2;
const S_IFCHR = 0o020000;
const S_IFIFO = 0o010000;
const S_IFREG = 0o100000;

/** flags, then exit_signal at offset 32: struct clone_args of 88 bytes. */
function cloneArgs(flags: bigint): string {
  const bytes = new Uint8Array(88);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, flags, true);
  view.setBigUint64(32, 17n, true);
  return `x:${bytes.toHex()}`;
}

/** An `int` as the kernel reads it. */
function int(...values: readonly number[]): string {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setInt32(index * 4, value, true));
  return `x:${bytes.toHex()}`;
}

/** A 64-bit word. */
function long(...values: readonly number[]): string {
  const bytes = new Uint8Array(8 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) =>
    view.setBigInt64(index * 8, BigInt(value), true)
  );
  return `x:${bytes.toHex()}`;
}

/** `struct timex` with ADJ_TICK and a tick of 0: EINVAL for whoever may, EPERM for whoever may not. */
const BAD_TICK = int(0x4000, ...Array<number>(51).fill(0));
/** A time zone that no place has: likewise. */
const BAD_ZONE = int(1_000_000, 0);
/** `struct open_how`: O_WRONLY, nothing resolved specially. */
const HOW_WRITE = long(1, 0, 0);

type Row = Omit<Escape, "class" | "run">;

function group(
  kind: EscapeClass,
  rows: readonly Row[],
  run: EscapeRun = "workspace",
): Escape[] {
  return rows.map((row) => ({ ...row, class: kind, run }));
}

const FILE = "s:{outside}/file";

const FILES = group("files", [
  {
    id: "control-write",
    tries: "a file of the workspace, which may be written",
    how: [["openat", AT, "s:{work}/plain", O_WRONLY]],
    answer: "ok",
    why: "the other answers say something only if this one is ok",
  },
  {
    id: "control-read",
    tries: "the decoy outside, which may be read",
    how: [["openat", AT, FILE, 0]],
    answer: "ok",
    why: "the decoy is there: EROFS below is about writing",
  },
  {
    id: "outside-write",
    tries: "open it for writing",
    how: [["openat", AT, FILE, O_WRONLY]],
    answer: "EROFS",
    why: "the plainest write",
  },
  {
    id: "outside-rdwr",
    tries: "open it for both",
    how: [["openat", AT, FILE, O_RDWR]],
    answer: "EROFS",
    why: "another access mode, another check",
  },
  {
    id: "outside-openat2",
    tries: "openat2 without any restriction",
    how: [["openat2", AT, FILE, HOW_WRITE, 24]],
    answer: "EROFS",
    why: "a newer entry to the same code",
  },
  {
    id: "outside-create",
    tries: "make a file beside it",
    how: [["openat", AT, "s:{outside}/new", O_WRONLY | O_CREAT, 0o600]],
    answer: "EROFS",
    why: "a new file on the host",
  },
  {
    id: "outside-tmpfile",
    tries: "make a file without a name",
    how: [["openat", AT, "s:{outside}", O_WRONLY | O_TMPFILE, 0o600]],
    answer: "EROFS",
    why: "it could be linked in later",
  },
  {
    id: "outside-unlink",
    tries: "remove it",
    how: [["unlinkat", AT, FILE, 0]],
    answer: "EROFS",
    why: "loss on the host",
  },
  {
    id: "outside-mkdir",
    tries: "make a folder",
    how: [["mkdirat", AT, "s:{outside}/dir", 0o700]],
    answer: "EROFS",
    why: "a new name on the host",
  },
  {
    id: "outside-symlink",
    tries: "make a link",
    how: [["symlinkat", "s:/etc", AT, "s:{outside}/link"]],
    answer: "EROFS",
    why: "a link that host programs follow",
  },
  {
    id: "outside-fifo",
    tries: "make a pipe with a name",
    how: [["mknodat", AT, "s:{outside}/pipe", S_IFIFO | 0o600, 0]],
    answer: "EROFS",
    why: "a channel to host programs",
  },
  {
    id: "outside-truncate",
    tries: "truncate by path",
    how: [["truncate", FILE, 0]],
    answer: "EROFS",
    why: "a write without an open",
  },
  {
    id: "outside-chmod",
    tries: "change its mode",
    how: [["fchmodat", AT, FILE, 0o777]],
    answer: "EROFS",
    why: "opens it to other users",
  },
  {
    id: "outside-fchmod",
    tries: "change its mode by a descriptor for reading",
    how: [["openat", AT, FILE, 0], ["fchmod", "@1", 0o777]],
    answer: "EROFS",
    why: "needs no right to write",
  },
  {
    id: "outside-chown",
    tries: "change its owner",
    how: [["fchownat", AT, FILE, "{uid}", -1, 0]],
    answer: "EROFS",
    why: "metadata of the host",
  },
  {
    id: "outside-fchown-path",
    tries: "change its owner by O_PATH and the empty name",
    how: [["openat", AT, FILE, O_PATH], [
      "fchownat",
      "@1",
      "s:",
      "{uid}",
      -1,
      AT_EMPTY_PATH,
    ]],
    answer: "EROFS",
    why: "an O_PATH descriptor brings its mount along",
  },
  {
    id: "outside-times",
    tries: "set its times",
    how: [["utimensat", AT, FILE, 0, 0]],
    answer: "EROFS",
    why: "build tools trust times",
  },
  {
    id: "outside-futimens",
    tries: "set its times by a descriptor for reading",
    how: [["openat", AT, FILE, 0], ["utimensat", "@1", 0, 0, 0]],
    answer: "EROFS",
    why: "needs no right to write",
  },
  {
    id: "outside-setxattr",
    tries: "an extended attribute",
    how: [["setxattr", FILE, "s:user.mark", "s:x", 1, 0]],
    answer: "EROFS",
    why: "attributes are read by host programs",
  },
  {
    id: "outside-fsetxattr",
    tries: "an extended attribute by descriptor",
    how: [["openat", AT, FILE, 0], [
      "fsetxattr",
      "@1",
      "s:user.mark",
      "s:x",
      1,
      0,
    ]],
    answer: "EROFS",
    why: "needs no right to write",
  },
  {
    id: "outside-chattr",
    tries: "the immutable flag by ioctl",
    how: [["openat", AT, FILE, 0], ["ioctl", "@1", 0x40086602, int(0x40, 0)]],
    answer: "EROFS|EPERM|ENOTTY|EOPNOTSUPP",
    why: "needs only a descriptor for reading",
  },
  {
    id: "outside-mmap",
    tries: "map it shared and writable",
    how: [["openat", AT, FILE, 0], ["mmap", 0, 4096, 3, 1, "@1", 0]],
    answer: "EACCES",
    why: "a write without write(2)",
  },
  {
    id: "outside-fallocate",
    tries: "allocate in it",
    how: [["openat", AT, FILE, 0], ["fallocate", "@1", 0, 0, 4096]],
    answer: "EBADF",
    why: "another call that writes",
  },
  {
    id: "outside-copy-range",
    tries: "copy into it inside the kernel",
    how: [["openat", AT, FILE, 0], [
      "openat",
      AT,
      "s:{work}/plain",
      0,
    ], ["copy_file_range", "@2", 0, "@1", 0, 5, 0]],
    answer: "EBADF",
    why: "another call that writes",
  },
  {
    id: "outside-reopen",
    tries: "O_PATH, then open it again through /proc/self/fd",
    how: "exec 9<{outside}/file; {probe} calls openat -100 s:/proc/self/fd/9 1",
    answer: "EROFS",
    why: "weak 6: a descriptor opened for one thing, used for another",
  },
  {
    id: "outside-dev-fd",
    tries: "open it again through /dev/fd",
    how: "exec 9<{outside}/file; {probe} calls openat -100 s:/dev/fd/9 1",
    answer: "EROFS",
    why: "another spelling of the same",
  },
  {
    id: "outside-dotdot",
    tries: "climb with .. from a descriptor of the workspace",
    how: [["openat", AT, "s:{work}", O_PATH], [
      "openat",
      "@1",
      "s:../outside/file",
      O_WRONLY,
    ]],
    answer: "EROFS",
    why: "class 20: another spelling of a path",
  },
  {
    id: "outside-self-root",
    tries: "/proc/self/root in front",
    how: [["openat", AT, "s:/proc/self/root{outside}/file", O_WRONLY]],
    answer: "EROFS",
    why: "class 20: what fooled lists of paths",
  },
  {
    id: "outside-thread-root",
    tries: "/proc/thread-self/root in front",
    how: [["openat", AT, "s:/proc/thread-self/root{outside}/file", O_WRONLY]],
    answer: "EROFS",
    why: "class 20",
  },
  {
    id: "outside-self-cwd",
    tries: "/proc/self/cwd/.. in front",
    how: [["openat", AT, "s:/proc/self/cwd/../outside/file", O_WRONLY]],
    answer: "EROFS",
    why: "class 20",
  },
  {
    id: "outside-by-link",
    tries: "a link in the workspace that leads there",
    how:
      "ln -s {outside} way; {probe} calls openat -100 s:{work}/way/file 1; rm way",
    answer: "EROFS",
    why: "class 4: links followed while writing",
  },
  {
    id: "outside-rename-in",
    tries: "move it into the workspace",
    how: [["renameat2", AT, FILE, AT, "s:{work}/stolen", 0]],
    answer: "EXDEV|EROFS",
    why: "what lies in the workspace can be written",
  },
  {
    id: "outside-rename-over",
    tries: "move a file of the workspace over it",
    how: [["renameat2", AT, "s:{work}/plain", AT, FILE, 0]],
    answer: "EXDEV|EROFS",
    why: "a write by renaming",
  },
  {
    id: "outside-exchange",
    tries: "exchange the two",
    how: [["renameat2", AT, "s:{work}/plain", AT, FILE, EXCHANGE]],
    answer: "EXDEV|EROFS",
    why: "both at once",
  },
  {
    id: "outside-hardlink",
    tries: "give it a second name in the workspace",
    how: [["linkat", AT, FILE, AT, "s:{work}/second", 0]],
    answer: "EXDEV",
    why: "class 24: writes through links",
  },
  {
    id: "outside-hardlink-fd",
    tries: "the same by descriptor and /proc/self/fd",
    how:
      "exec 9<{outside}/file; {probe} calls linkat -100 s:/proc/self/fd/9 -100 s:{work}/second 0x400",
    answer: "EXDEV",
    why: "class 24",
  },
  {
    id: "outside-hardlink-empty",
    tries: "the same by descriptor and the empty name",
    how: [["openat", AT, FILE, O_PATH], [
      "linkat",
      "@1",
      "s:",
      AT,
      "s:{work}/second",
      AT_EMPTY_PATH,
    ]],
    answer: "EXDEV|ENOENT",
    why: "class 24; before Linux 6.10 a capability is asked first",
  },
  ...([
    ["fchmodat2", 452, ["AT", FILE, 0o777, 0], "EROFS|ENOSYS"],
    [
      "setxattrat",
      463,
      ["AT", FILE, 0, "s:user.mark", "z:16", 16],
      "EROFS|ENOSYS",
    ],
    [
      "file-setattr",
      469,
      ["AT", FILE, "z:24", 24, 0],
      "EROFS|ENOSYS|EOPNOTSUPP",
    ],
  ] as const).map(([id, number, args, answer]): Row => ({
    id: `outside-${id}`,
    tries: `the newer call ${id}`,
    how: [[String(number), ...args.map((one) => one === "AT" ? AT : one)]],
    answer,
    why: "a newer entry to the same code",
  })),
  {
    id: "outside-open-pipe",
    tries: "write into a named pipe of the host",
    how: [["openat", AT, "s:{outside}/pipe-of-host", O_WRONLY | 0o4000]],
    answer: "ENXIO",
    why:
      "not prevented: a read-only mount lets pipes be written (ENXIO: nobody reads it just now); docs/threat-model.md says so",
  },
  {
    id: "outside-device",
    tries: "open a device node that lies there",
    actor: "root",
    how: [["openat", AT, "s:{outside}/zero", O_WRONLY]],
    answer: "EACCES|EROFS",
    why: "a node of the host's disk would be the host's disk",
  },
  {
    id: "secret-read",
    tries: "read a denied file",
    how: [["openat", AT, "s:{work}/secret", 0]],
    answer: "EACCES",
    why: "the plainest read",
  },
  {
    id: "secret-path-reopen",
    tries: "O_PATH, then open the empty name",
    how: [["openat", AT, "s:{work}/secret", O_PATH], [
      "linkat",
      "@1",
      "s:",
      AT,
      "s:{work}/second",
      AT_EMPTY_PATH,
    ]],
    answer: "EXDEV|ENOENT",
    why: "a second name would be outside of the mask",
  },
  {
    id: "secret-link",
    tries: "give the denied file a second name",
    how: [["linkat", AT, "s:{work}/secret", AT, "s:{work}/second", 0]],
    answer: "EXDEV",
    why: "the mask is a mount: links don't cross it",
  },
  {
    id: "secret-rename",
    tries: "move the denied file away",
    how: [["renameat2", AT, "s:{work}/secret", AT, "s:{work}/moved", 0]],
    answer: "EBUSY",
    why: "the next run would not find it to deny it",
  },
  {
    id: "secret-rename-over",
    tries: "move another file over it",
    how: [["renameat2", AT, "s:{work}/plain", AT, "s:{work}/secret", 0]],
    answer: "EBUSY",
    why: "removes the host's file",
  },
  {
    id: "secret-exchange",
    tries: "exchange it with another",
    how: [[
      "renameat2",
      AT,
      "s:{work}/plain",
      AT,
      "s:{work}/secret",
      EXCHANGE,
    ]],
    answer: "EBUSY",
    why: "a rename that needs no free name",
  },
  {
    id: "secret-unlink",
    tries: "remove it",
    how: [["unlinkat", AT, "s:{work}/secret", 0]],
    answer: "EBUSY",
    why: "loss on the host",
  },
  {
    id: "secret-chmod",
    tries: "open the mask by its mode",
    how: [["fchmodat", AT, "s:{work}/secret", 0o666]],
    answer: "EROFS",
    why: "the mask's owner is the command's user",
  },
  {
    id: "secret-self-root",
    tries: "read it by /proc/self/root",
    how: [["openat", AT, "s:/proc/self/root{work}/secret", 0]],
    answer: "EACCES",
    why: "class 20",
  },
  {
    id: "secret-case",
    tries: "read it under another case",
    how: [["openat", AT, "s:{work}/SECRET", 0]],
    answer: "ENOENT|EACCES",
    why: "CVE-2025-59944: matters where names ignore case",
  },
  {
    id: "vault-list",
    tries: "list a denied folder",
    how: [["openat", AT, "s:{work}/vault", O_DIRECTORY]],
    answer: "EACCES",
    why: "names are secrets too",
  },
  {
    id: "vault-inner",
    tries: "read a file in it",
    how: [["openat", AT, "s:{work}/vault/inner", 0]],
    answer: "EACCES|ENOENT",
    why: "what is below a mask is gone",
  },
  {
    id: "vault-create",
    tries: "write into the mask",
    how: [["openat", AT, "s:{work}/vault/new", O_WRONLY | O_CREAT, 0o600]],
    answer: "EACCES|EROFS",
    why: "class 26: a write that gets lost must fail",
  },
  {
    id: "vault-chmod",
    tries: "open the mask's mode",
    how: [["fchmodat", AT, "s:{work}/vault", 0o777]],
    answer: "EROFS",
    why: "the mask's owner is the command's user",
  },
  {
    id: "vault-rename",
    tries: "move it away",
    how: [["renameat2", AT, "s:{work}/vault", AT, "s:{work}/moved", 0]],
    answer: "EBUSY",
    why: "the next run would not find it to deny it",
  },
  {
    id: "vault-rmdir",
    tries: "remove the mask",
    how: [["unlinkat", AT, "s:{work}/vault", AT_REMOVEDIR]],
    answer: "EBUSY",
    why: "the folder behind it would be in reach",
  },
  {
    id: "vault-watch",
    tries: "watch it with inotify",
    how: [["inotify_init1", 0], [
      "inotify_add_watch",
      "@1",
      "s:{work}/vault",
      0xfff,
    ]],
    answer: "EACCES",
    why: "names of the host's files by their events",
  },
  {
    id: "pin-rename",
    tries: "move the folder above a denied file",
    how: [["renameat2", AT, "s:{work}/a", AT, "s:{work}/moved", 0]],
    answer: "EBUSY",
    why: "the mask moves along, the next run's rule doesn't",
  },
  {
    id: "pin-rename-inner",
    tries: "move the folder between",
    how: [["renameat2", AT, "s:{work}/a/b", AT, "s:{work}/a/c", 0]],
    answer: "EBUSY",
    why: "each folder on the way is pinned",
  },
  {
    id: "pin-exchange",
    tries: "exchange the folder above for another",
    how: [["renameat2", AT, "s:{work}/open", AT, "s:{work}/a", EXCHANGE]],
    answer: "EBUSY|EXDEV",
    why: "a rename that needs no free name",
  },
  {
    id: "pin-whiteout",
    tries: "move it and leave a whiteout",
    how: [["renameat2", AT, "s:{work}/a", AT, "s:{work}/moved", WHITEOUT]],
    answer: "EBUSY|EPERM|EINVAL",
    why: "a flag with a path of its own in the kernel",
  },
  {
    id: "pin-from-fd",
    tries: "move it by descriptors of the folder above",
    how: [["openat", AT, "s:{work}", O_PATH], [
      "renameat2",
      "@1",
      "s:a",
      "@1",
      "s:moved",
      0,
    ]],
    answer: "EBUSY",
    why: "weak 24: a kept descriptor",
  },
  {
    id: "deep-secret-read",
    tries: "read the denied file below the pins",
    how: [["openat", AT, "s:{work}/a/b/secret", 0]],
    answer: "EACCES",
    why: "pins must not lift the mask",
  },
  {
    id: "locked-write",
    tries: "write a read-only folder of the workspace",
    how: [["openat", AT, "s:{work}/locked/file", O_WRONLY]],
    answer: "EROFS",
    why: "a carve-out",
  },
  {
    id: "locked-rename",
    tries: "move it away",
    how: [["renameat2", AT, "s:{work}/locked", AT, "s:{work}/moved", 0]],
    answer: "EBUSY",
    why: "a carve-out under another name is none",
  },
  {
    id: "locked-link",
    tries: "give its file a second name",
    how: [["linkat", AT, "s:{work}/locked/file", AT, "s:{work}/second", 0]],
    answer: "EXDEV",
    why: "class 24",
  },
  {
    id: "locked-rename-out",
    tries: "move its file out",
    how: [["renameat2", AT, "s:{work}/locked/file", AT, "s:{work}/second", 0]],
    answer: "EXDEV|EROFS",
    why: "what is outside of the carve-out can be written",
  },
  {
    id: "env-read",
    tries: "read a file that a glob denies",
    how: [["openat", AT, "s:{work}/x.env", 0]],
    answer: "EACCES",
    why: "class 22",
  },
  {
    id: "env-deep-read",
    tries: "read a deeper and hidden one",
    how: [["openat", AT, "s:{work}/open/.hidden.env", 0]],
    answer: "EACCES",
    why: "class 22: hidden files match too",
  },
  {
    id: "env-link",
    tries: "read it by a link",
    how: "ln -s x.env l; {probe} calls openat -100 s:{work}/l 0; rm l",
    answer: "EACCES",
    why: "the link leads to the mask",
  },
  {
    id: "hidden-outside",
    tries: "read a denied file outside of the workspace",
    how: [["openat", AT, "s:{outside}/hidden", 0]],
    answer: "EACCES",
    why: "denies hold everywhere",
  },
  {
    id: "root-rename",
    tries: "rename the workspace itself",
    how: [["renameat2", AT, "s:{work}", AT, "s:{work}-2", 0]],
    answer: "EBUSY|EROFS",
    why: "protected names go by path",
  },
  {
    id: "root-rmdir",
    tries: "remove the workspace itself",
    how: [["unlinkat", AT, "s:{work}", AT_REMOVEDIR]],
    answer: "EBUSY|EROFS",
    why: "loss on the host",
  },
  {
    id: "prefix-sibling",
    tries: "a folder whose name starts like the workspace's",
    how: [["openat", AT, "s:{work}-evil/file", O_WRONLY]],
    answer: "EROFS",
    why: "class 6: a prefix without a separator",
  },
  {
    id: "handle-make",
    tries: "a handle of a denied file, opened",
    how: [["openat", AT, "s:{work}", O_DIRECTORY], [
      "open_by_handle_at",
      "@1",
      int(8, 1, 0, 0),
      0,
    ]],
    answer: "EPERM",
    why: "handles open files without a path, past every mask",
  },
  {
    id: "fanotify-everything",
    tries: "watch the whole file system",
    how: [["fanotify_init", 0x200, 0], [
      "fanotify_mark",
      "@1",
      0x101,
      0x20,
      AT,
      "s:{work}",
    ]],
    answer: "EPERM|fanotify_init:EPERM|fanotify_init:ENOSYS",
    why: "every name of the host by its events",
  },
  {
    id: "private-dev-shm",
    tries: "read the host's /dev/shm",
    how: [["openat", AT, "s:/dev/shm/{name}", 0]],
    answer: "ENOENT",
    why: "other programs' shared memory",
  },
]);

const METADATA_SPELLINGS: readonly (readonly [id: string, path: string])[] = [
  ["plain", "{work}/NAME"],
  ["dot", "{work}/./NAME"],
  ["double-slash", "{work}//NAME"],
  ["trailing-slash", "{work}/NAME/"],
  ["climb", "{work}/open/../NAME"],
  ["self-cwd", "/proc/self/cwd/NAME"],
  ["self-root", "/proc/self/root{work}/NAME"],
  ["relative", "NAME"],
];

const METADATA = group("files", [
  ...METADATA_SPELLINGS.map(([id, path]): Row => ({
    id: `codex-mkdir-${id}`,
    tries: `make .codex as ${path}`,
    how: [["mkdirat", AT, `s:${path.replace("NAME", ".codex")}`, 0o755]],
    answer: "EEXIST",
    why: "class 3: a protected name that is missing at the start",
  })),
  ...METADATA_SPELLINGS.map(([id, path]): Row => ({
    id: `git-write-${id}`,
    tries: `write .git/config as ${path}/config`,
    how: [[
      "openat",
      AT,
      `s:${path.replace("NAME", ".git")}/config`,
      O_WRONLY,
    ]],
    answer: "EROFS",
    why: "class 20: every spelling is the same mount",
  })),
  {
    id: "git-hook",
    tries: "plant a hook",
    how: [[
      "openat",
      AT,
      "s:{work}/.git/hooks/post-commit",
      O_WRONLY | O_CREAT,
      0o755,
    ]],
    answer: "EROFS",
    why: "class 7: it runs on the host with the next commit",
  },
  {
    id: "git-hook-dirfd",
    tries: "plant a hook by a descriptor of .git",
    how: [["openat", AT, "s:{work}/.git", O_PATH], [
      "openat",
      "@1",
      "s:hooks/pre-push",
      O_WRONLY | O_CREAT,
      0o755,
    ]],
    answer: "EROFS",
    why: "the descriptor brings the mount along",
  },
  {
    id: "git-config-rename",
    tries: "move a file over .git/config",
    how: [["renameat2", AT, "s:{work}/plain", AT, "s:{work}/.git/config", 0]],
    answer: "EXDEV|EROFS",
    why: "class 7",
  },
  {
    id: "git-rename",
    tries: "move .git away",
    how: [["renameat2", AT, "s:{work}/.git", AT, "s:{work}/old", 0]],
    answer: "EBUSY",
    why: "an own one could stand in its place",
  },
  {
    id: "git-exchange",
    tries: "exchange .git for a folder",
    how: [["renameat2", AT, "s:{work}/open", AT, "s:{work}/.git", EXCHANGE]],
    answer: "EBUSY",
    why: "likewise",
  },
  {
    id: "git-lock",
    tries: "make .git/index.lock",
    how: [[
      "openat",
      AT,
      "s:{work}/.git/index.lock",
      O_WRONLY | O_CREAT,
      0o600,
    ]],
    answer: "EROFS",
    why: "read-only is all of it",
  },
  {
    id: "git-umount",
    tries: "unmount .git",
    how: [["umount2", "s:{work}/.git", MNT_DETACH]],
    answer: "EPERM",
    why: "weak 1",
  },
  {
    id: "codex-config",
    tries: "plant a policy for the next run",
    how: [[
      "openat",
      AT,
      "s:{work}/.codex/config.toml",
      O_WRONLY | O_CREAT,
      0o600,
    ]],
    answer: "EROFS",
    why: "class 2: config in the repository",
  },
  {
    id: "codex-file",
    tries: "make .codex a file",
    how: [[
      "openat",
      AT,
      "s:{work}/.codex",
      O_WRONLY | O_CREAT | 0o200,
      0o600,
    ]],
    answer: "EEXIST",
    why: "class 3",
  },
  {
    id: "codex-symlink",
    tries: "make .codex a link",
    how: [["symlinkat", "s:/tmp", AT, "s:{work}/.codex"]],
    answer: "EEXIST",
    why: "class 3",
  },
  {
    id: "codex-link",
    tries: "link a file there",
    how: [["linkat", AT, "s:{work}/plain", AT, "s:{work}/.codex", 0]],
    answer: "EEXIST|EXDEV",
    why: "class 3",
  },
  {
    id: "codex-node",
    tries: "make .codex a pipe",
    how: [["mknodat", AT, "s:{work}/.codex", S_IFIFO | 0o600, 0]],
    answer: "EEXIST",
    why: "class 3: a reader would hang",
  },
  {
    id: "codex-rename-onto",
    tries: "move a folder there",
    how: [["renameat2", AT, "s:{work}/open", AT, "s:{work}/.codex", 0]],
    answer: "EBUSY|EEXIST",
    why: "class 3",
  },
  {
    id: "agents-rmdir",
    tries: "remove a placeholder",
    how: [["unlinkat", AT, "s:{work}/.agents", AT_REMOVEDIR]],
    answer: "EBUSY",
    why: "the name would be free",
  },
  {
    id: "agents-rename",
    tries: "move a placeholder away",
    how: [["renameat2", AT, "s:{work}/.agents", AT, "s:{work}/moved", 0]],
    answer: "EBUSY",
    why: "the name would be free",
  },
  {
    id: "agents-chmod",
    tries: "change a placeholder's mode",
    how: [["fchmodat", AT, "s:{work}/.agents", 0o777]],
    answer: "EROFS",
    why: "it is on the host as long as the run lasts",
  },
  {
    id: "agents-fill",
    tries: "fill a placeholder",
    how: [["mkdirat", AT, "s:{work}/.agents/skills", 0o755]],
    answer: "EROFS",
    why: "a filled one would stay",
  },
  {
    id: "agents-xattr",
    tries: "mark a placeholder",
    how: [["setxattr", "s:{work}/.agents", "s:user.mark", "s:x", 1, 0]],
    answer: "EROFS|EOPNOTSUPP|EPERM",
    why: "likewise",
  },
  {
    id: "tmp-git",
    tries: "make /tmp/.git",
    how: [["mkdirat", AT, "s:/tmp/.git", 0o755]],
    answer: "EEXIST",
    why: "an empty /tmp/.git breaks every build below /tmp",
  },
]);

const MOUNTS = group("mounts", [
  {
    id: "umount-file-mask",
    tries: "unmount the mask of a file",
    how: [["umount2", "s:{work}/secret", 0]],
    answer: "EPERM",
    why: "weak 1: as uid 0 it worked in the reference",
  },
  {
    id: "umount-dir-mask",
    tries: "unmount the mask of a folder, lazily",
    how: [["umount2", "s:{work}/vault", MNT_DETACH]],
    answer: "EPERM",
    why: "weak 1",
  },
  {
    id: "umount-pin",
    tries: "unmount a pin",
    how: [["umount2", "s:{work}/a", MNT_DETACH]],
    answer: "EPERM",
    why: "weak 1",
  },
  {
    id: "umount-init",
    tries: "unmount the cover of process 1",
    how: [["umount2", "s:/proc/1", MNT_DETACH]],
    answer: "EPERM",
    why: "weak 7",
  },
  {
    id: "umount-root",
    tries: "unmount the root",
    how: [["umount2", "s:/", MNT_DETACH]],
    answer: "EPERM",
    why: "weak 24",
  },
  {
    id: "umount-expire",
    tries: "let a mask expire",
    how: [["umount2", "s:{work}/vault", 4]],
    answer: "EPERM",
    why: "a flag with a path of its own",
  },
  {
    id: "remount-root",
    tries: "remount the root writable",
    how: [["mount", 0, "s:/", 0, 0x1020, 0]],
    answer: "EPERM",
    why: "weak 1: wrote outside in the reference",
  },
  {
    id: "remount-git",
    tries: "remount .git writable",
    how: [["mount", 0, "s:{work}/.git", 0, 0x1020, 0]],
    answer: "EPERM",
    why: "weak 1",
  },
  {
    id: "bind-over",
    tries: "bind a folder over .git",
    how: [["mount", "s:{work}/open", "s:{work}/.git", 0, 0x1000, 0]],
    answer: "EPERM",
    why: "git would read the command's",
  },
  {
    id: "bind-recursive",
    tries: "bind the root elsewhere",
    how: [["mount", "s:/", "s:{work}/open", 0, 0x5000, 0]],
    answer: "EPERM",
    why: "a copy of the tree may lack the masks",
  },
  {
    id: "move-mask",
    tries: "move the mask",
    how: [["mount", "s:{work}/vault", "s:{work}/open", 0, 0x2000, 0]],
    answer: "EPERM",
    why: "what is behind it would be in reach",
  },
  {
    id: "make-shared",
    tries: "change propagation",
    how: [["mount", 0, "s:/", 0, 0x104000, 0]],
    answer: "EPERM",
    why: "mounts could reach the host",
  },
  {
    id: "mount-proc",
    tries: "another /proc",
    how: [["mount", "s:proc", "s:{work}/open", "s:proc", 0, 0]],
    answer: "EPERM",
    why: "one without the covers",
  },
  {
    id: "mount-sysfs",
    tries: "another /sys",
    how: [["mount", "s:sysfs", "s:{work}/open", "s:sysfs", 0, 0]],
    answer: "EPERM",
    why: "a writable one",
  },
  {
    id: "mount-cgroup",
    tries: "the control groups",
    how: [["mount", "s:x", "s:{work}/open", "s:cgroup2", 0, 0]],
    answer: "EPERM",
    why: "weak 27: release_agent",
  },
  {
    id: "mount-overlay",
    tries: "an overlay over a mask",
    how: [[
      "mount",
      "s:x",
      "s:{work}/open",
      "s:overlay",
      0,
      "s:lowerdir={work}",
    ]],
    answer: "EPERM",
    why: "the layer below has no masks",
  },
  {
    id: "open-tree-clone",
    tries: "clone the tree below a mask",
    how: [["open_tree", AT, "s:{work}/vault", 1]],
    answer: "EPERM",
    why: "a detached copy without the mask",
  },
  {
    id: "open-tree-recursive",
    tries: "clone the whole tree",
    how: [["open_tree", AT, "s:/", 0x8001]],
    answer: "EPERM",
    why: "likewise",
  },
  {
    id: "open-tree-read",
    tries: "a plain handle of a mask",
    how: [["open_tree", AT, "s:{work}/vault", 0], [
      "openat",
      "@1",
      "s:inner",
      0,
    ]],
    answer: "EACCES|ENOENT",
    why: "it is the mask, not what is behind it",
  },
  {
    id: "move-mount",
    tries: "move a mount by descriptor",
    how: [["openat", AT, "s:{work}/vault", O_PATH], [
      "move_mount",
      "@1",
      "s:",
      AT,
      "s:{work}/open",
      4,
    ]],
    answer: "EPERM",
    why: "the newer entry",
  },
  {
    id: "mount-setattr",
    tries: "clear the read-only attribute",
    how: [["mount_setattr", AT, "s:/", 0, long(0, 1, 0, 0), 32]],
    answer: "EPERM",
    why: "the newer entry",
  },
  {
    id: "fsopen",
    tries: "a new file system context",
    how: [["fsopen", "s:tmpfs", 0]],
    answer: "EPERM",
    why: "the newer entry",
  },
  {
    id: "fspick",
    tries: "a context of a mounted one",
    how: [["fspick", AT, "s:/", 0]],
    answer: "EPERM",
    why: "the newer entry",
  },
  {
    id: "open-tree-attr",
    tries: "clone a tree and clear its read-only attribute in one call",
    how: [["467", AT, "s:{work}/.git", 1, long(0, 1, 0, 0), 32]],
    answer: "EPERM|ENOSYS",
    why: "the newest entry",
  },
  {
    id: "quota-fd",
    tries: "quotas by descriptor",
    how: [["openat", AT, "s:{work}", O_DIRECTORY], [
      "443",
      "@1",
      "0x80000200",
      0,
      0,
    ]],
    answer: "EPERM|ENOSYS|EINVAL",
    why: "the newer entry",
  },
  {
    id: "ns-by-pidfd",
    tries: "the mount namespace of process 1 by its handle",
    how: [["pidfd_open", 1, 0], ["ioctl", "@1", 0xff03, 0], ["setns", "@2", 0]],
    answer: "EPERM|ioctl:EPERM|ioctl:ENOTTY|ioctl:EINVAL",
    why: "past the cover of /proc/1",
  },
  {
    id: "setns-pidfd",
    tries: "all namespaces of process 1 at once",
    how: [["pidfd_open", 1, 0], ["setns", "@1", 0x6c020000]],
    answer: "EPERM",
    why: "past the cover of /proc/1",
  },
  {
    id: "pivot-root",
    tries: "another root",
    how: [["pivot_root", "s:{work}/open", "s:{work}/open"]],
    answer: "EPERM",
    why: "weak 24",
  },
  {
    id: "chroot",
    tries: "chroot",
    how: [["chroot", "s:{work}"]],
    answer: "EPERM",
    why: "the classic way up again",
  },
  {
    id: "setns-own",
    tries: "enter a mount namespace again",
    how: [["openat", AT, "s:/proc/self/ns/mnt", 0], ["setns", "@1", 0]],
    answer: "EPERM",
    why: "needs a capability that nobody has",
  },
  {
    id: "setns-user",
    tries: "enter one's own user namespace again",
    how: [["openat", AT, "s:/proc/self/ns/user", 0], ["setns", "@1", 0]],
    answer: "EINVAL|EPERM",
    why: "it would give all capabilities back",
  },
  {
    id: "ns-parent-user",
    tries: "the user namespace above",
    how: [["openat", AT, "s:/proc/self/ns/user", 0], ["ioctl", "@1", 0xb702]],
    answer: "EPERM",
    why: "the host's",
  },
  {
    id: "ns-parent-pid",
    tries: "the PID namespace above",
    how: [["openat", AT, "s:/proc/self/ns/pid", 0], ["ioctl", "@1", 0xb702]],
    answer: "EPERM",
    why: "the host's",
  },
  {
    id: "ns-owner",
    tries: "the user namespace that owns ours, then its parent",
    how: [
      ["openat", AT, "s:/proc/self/ns/mnt", 0],
      [
        "ioctl",
        "@1",
        0xb701,
      ],
      ["ioctl", "@2", 0xb702],
      ["ioctl", "@3", 0xb702],
    ],
    answer: "EPERM|ioctl:EPERM",
    why: "a way up by ioctl",
  },
  ...[
    ["user", 0x10000000, "ENOSPC|EPERM"],
    ["mount", 0x00020000, "EPERM"],
    ["pid", 0x20000000, "EPERM"],
    ["net", 0x40000000, "EPERM"],
    ["ipc", 0x08000000, "EPERM"],
    ["uts", 0x04000000, "EPERM"],
    ["cgroup", 0x02000000, "EPERM"],
    ["time", 0x00000080, "EPERM"],
  ].map(([what, flag, answer]): Row => ({
    id: `unshare-${what}`,
    tries: `a new ${what} namespace`,
    how: [["unshare", flag ?? 0]],
    answer: String(answer),
    why: "weak 24: in a nested one masks can be left behind",
  })),
  {
    id: "clone3-user",
    tries: "a new user namespace by clone3",
    how: [["clone3", cloneArgs(0x10000000n), 88]],
    answer: "ENOSYS",
    why: "its flags lie behind a pointer: no filter sees them",
  },
  {
    id: "clone3-user-mount",
    tries: "user and mount namespace at once by clone3",
    how: [["clone3", cloneArgs(0x10020000n), 88]],
    answer: "ENOSYS",
    why: "weak 24",
  },
  {
    id: "clone3-cgroup",
    tries: "a child born in another control group",
    how: [["clone3", cloneArgs(0x200000000n), 88]],
    answer: "ENOSYS",
    why:
      "weak 27: a read-only mount is not asked; the descriptor in it is 0, a wrong one",
  },
]);

const PROCESSES = group("processes", [
  {
    id: "kill-host",
    tries: "a signal to a process of the host",
    how: [["kill", "{pid}", 9]],
    answer: "ESRCH",
    why: "a PID namespace of its own",
  },
  {
    id: "tgkill-host",
    tries: "the same by thread",
    how: [["tgkill", "{pid}", "{pid}", 9]],
    answer: "ESRCH",
    why: "another entry",
  },
  {
    id: "sigqueue-host",
    tries: "the same with data",
    how: [["rt_sigqueueinfo", "{pid}", 9, "z:128"]],
    answer: "ESRCH|EPERM",
    why: "another entry",
  },
  {
    id: "pidfd-host",
    tries: "a handle of it",
    how: [["pidfd_open", "{pid}", 0]],
    answer: "ESRCH",
    why: "another entry",
  },
  {
    id: "sigio-host",
    tries: "make it the receiver of SIGIO",
    how: [["fcntl", 0, 8, "{pid}"]],
    answer: "ESRCH",
    why: "the kernel sends the signal then",
  },
  {
    id: "nice-host",
    tries: "its priority",
    how: [["setpriority", 0, "{pid}", 19]],
    answer: "ESRCH",
    why: "slows the host",
  },
  {
    id: "affinity-host",
    tries: "its processors",
    how: [["sched_setaffinity", "{pid}", 8, long(1)]],
    answer: "ESRCH",
    why: "slows the host",
  },
  {
    id: "scheduler-host",
    tries: "its scheduler",
    how: [["sched_setscheduler", "{pid}", 5, int(0)]],
    answer: "ESRCH",
    why: "slows the host",
  },
  {
    id: "ioprio-host",
    tries: "its disk priority",
    how: [["ioprio_set", 1, "{pid}", 0x6007]],
    answer: "ESRCH",
    why: "slows the host",
  },
  {
    id: "rlimit-host",
    tries: "its limits",
    how: [["prlimit64", "{pid}", 7, long(0, 0), 0]],
    answer: "ESRCH",
    why: "breaks the host's process",
  },
  {
    id: "pgid-host",
    tries: "its process group",
    how: [["setpgid", "{pid}", 0]],
    answer: "ESRCH|EPERM",
    why: "signals go by group",
  },
  {
    id: "migrate-host",
    tries: "its memory's place",
    how: [["migrate_pages", "{pid}", 1, long(1), long(1)]],
    answer: "ESRCH|ENOSYS",
    why: "another call that takes a pid",
  },
  {
    id: "kcmp-host",
    tries: "compare with it",
    how: [["kcmp", "{pid}", "{pid}", 1, 0, 0]],
    answer: "ESRCH|EPERM|ENOSYS",
    why: "another call that takes a pid",
  },
  {
    id: "ptrace-host",
    tries: "seize it",
    how: [["ptrace", 0x4206, "{pid}", 0, 0]],
    answer: "EPERM",
    why: "class 23",
  },
  {
    id: "ptrace-init",
    tries: "seize process 1",
    how: [["ptrace", 0x4206, 1, 0, 0]],
    answer: "EPERM",
    why: "weak 7: injected code outlived the run",
  },
  {
    id: "ptrace-parent",
    tries: "seize one's parent",
    how: "{probe} calls ptrace 0x4206 $$ 0 0",
    answer: "EPERM",
    why: "debug is off",
  },
  {
    id: "vm-write-init",
    tries: "write process 1's memory",
    how: [["process_vm_writev", 1, "z:16", 0, "z:16", 0, 0]],
    answer: "EPERM",
    why: "weak 7",
  },
  {
    id: "vm-read-host",
    tries: "read the host process's memory",
    how: [["process_vm_readv", "{pid}", "z:16", 0, "z:16", 0, 0]],
    answer: "EPERM",
    why: "class 23",
  },
  {
    id: "madvise-init",
    tries: "advise on process 1's pages",
    how: [["pidfd_open", 1, 0], [
      "process_madvise",
      "@1",
      "z:16",
      0,
      21,
      0,
    ]],
    answer: "EPERM",
    why: "it can push its pages out",
  },
  {
    id: "pidfd-getfd-init",
    tries: "take a descriptor of process 1",
    how: [["pidfd_open", 1, 0], ["pidfd_getfd", "@1", 0, 0]],
    answer: "EPERM",
    why: "it holds the pipes to the watcher",
  },
  {
    id: "kill-init",
    tries: "kill process 1, and go on",
    how: [["kill", 1, 9]],
    answer: "ok",
    why: "the kernel drops it: this line would be missing otherwise",
  },
  {
    id: "stop-init",
    tries: "stop process 1, and go on",
    how: [["kill", 1, 19]],
    answer: "ok",
    why: "the kernel drops it too",
  },
  {
    id: "kill-init-pidfd",
    tries: "kill process 1 by its handle",
    how: [["pidfd_open", 1, 0], ["pidfd_send_signal", "@1", 9, 0, 0]],
    answer: "ok",
    why: "likewise",
  },
  ...["mem", "environ", "maps", "auxv", "cmdline", "cwd", "root", "exe"].map((
    name,
  ): Row => ({
    id: `init-${name}`,
    tries: `open /proc/1/${name}`,
    how: [["openat", AT, `s:/proc/1/${name}`, 0]],
    answer: "EACCES",
    why: name === "cmdline"
      ? "weak 28: it held the whole policy"
      : "class 23: process 1 is bubblewrap's",
  })),
  {
    id: "init-fd",
    tries: "list /proc/1/fd",
    how: [["openat", AT, "s:/proc/1/fd", O_DIRECTORY]],
    answer: "EACCES",
    why: "class 23",
  },
  {
    id: "init-task-mem",
    tries: "open /proc/1/task/1/mem for writing",
    how: [["openat", AT, "s:/proc/1/task/1/mem", O_RDWR]],
    answer: "EACCES",
    why: "weak 7",
  },
  {
    id: "init-ns",
    tries: "open /proc/1/ns/mnt",
    how: [["openat", AT, "s:/proc/1/ns/mnt", 0]],
    answer: "EACCES",
    why: "a namespace to enter",
  },
  {
    id: "init-climb",
    tries: "/proc/self/../1/mem",
    how: [["openat", AT, "s:/proc/self/../1/mem", 0]],
    answer: "EACCES",
    why: "another spelling",
  },
  {
    id: "proc-host",
    tries: "/proc of the host's process",
    how: [["openat", AT, "s:/proc/{pid}/environ", 0]],
    answer: "ENOENT",
    why: "class 23",
  },
  {
    id: "daemon",
    tries: "stay behind in a session of its own",
    how:
      "(setsid sh -c 'trap \"\" HUP TERM INT; exec sleep 86397' </dev/null >/dev/null 2>&1 &)",
    answer: "",
    why: "weak 16: looked for after the run",
  },
]);

const TERMINALS = group("terminals", [
  {
    id: "tty-open",
    tries: "/dev/tty",
    how: [["openat", AT, "s:/dev/tty", O_RDWR]],
    answer: "ENXIO",
    why: "weak 20: no controlling terminal",
  },
  {
    id: "sti",
    tries: "type into the caller's terminal",
    how: [["ioctl", 0, 0x5412, "s:x"]],
    answer: "EPERM",
    why: "CVE-2017-5226",
  },
  {
    id: "sti-high",
    tries: "the same with high bits",
    how: [["ioctl", 0, "0x100005412", "s:x"]],
    answer: "EPERM",
    why: "class 16: the kernel drops them",
  },
  {
    id: "sti-reopened",
    tries: "the same on the terminal opened again",
    how: [["openat", AT, "s:/proc/self/fd/0", O_RDWR], [
      "ioctl",
      "@1",
      0x5412,
      "s:x",
    ]],
    answer: "EPERM",
    why: "another descriptor of it",
  },
  {
    id: "linux-paste",
    tries: "the console's paste",
    how: [["ioctl", 0, 0x541c, "x:0300"]],
    answer: "EPERM",
    why: "CVE-2023-28100",
  },
  {
    id: "steal",
    tries: "make it one's own controlling terminal",
    how: "exec setsid {probe} calls ioctl 0 0x540e 0",
    answer: "EPERM",
    why: "then keys would be signals for the caller",
  },
  {
    id: "steal-force",
    tries: "steal it by force",
    how: "exec setsid {probe} calls ioctl 0 0x540e 1",
    answer: "EPERM",
    why: "needs a capability",
  },
  {
    id: "steal-open",
    tries: "get it by opening it as a session's leader",
    how:
      "exec setsid {probe} calls openat -100 s:/proc/self/fd/0 2 , openat -100 s:/dev/tty 2",
    answer: "ENXIO",
    why: "opening gives it only when nobody has it",
  },
  {
    id: "foreground",
    tries: "take the foreground",
    how: [["ioctl", 0, 0x5410, int(1)]],
    answer: "ENOTTY",
    why: "signals of keys would go elsewhere",
  },
  {
    id: "hangup",
    tries: "vhangup",
    how: [["vhangup"]],
    answer: "EPERM",
    why: "it would end the caller's shell",
  },
  {
    id: "console",
    tries: "redirect the console's output",
    how: [["ioctl", 0, 0x541d, 0]],
    answer: "EPERM|ENOTTY",
    why: "kernel messages would come here",
  },
  {
    id: "exclusive-others",
    tries: "the host's other terminals",
    how: "ls /dev/pts/ | grep -v ptmx",
    answer: "",
    why: "a devpts of its own",
  },
], "terminal");

const DESCRIPTORS = [
  ...group("descriptors", [
    {
      id: "inherited",
      tries: "what the caller had open beside 0 to 2",
      how: "ls -l /proc/self/fd | grep -c outside",
      answer: "0",
      why: "weak 6: a folder's descriptor read a denied file",
    },
    {
      id: "inherited-numbers",
      tries: "descriptors 3 to 60 by number",
      how:
        "n=3; while [ $n -lt 60 ]; do [ -e /proc/self/fd/$n ] && echo $n; n=$((n+1)); done",
      answer: "",
      why: "weak 6",
    },
    {
      id: "memfd-exec",
      tries: "run from a memory file: is the filter still there?",
      how: "{probe} self-exec-memfd caps | grep -E 'Eff|Prm|New|Sec' | sort",
      answer:
        "CapEff 0000000000000000 CapPrm 0000000000000000 NoNewPrivs 1 Seccomp 2",
      why: "class 20: nothing on disk is executed",
    },
    {
      id: "setuid",
      tries: "a setuid program of root",
      actor: "user",
      how: "{outside}/setuid creds",
      answer: "{uid} {uid} {uid} {uid} {uid} {uid}",
      why: "class 19: no_new_privs",
    },
    {
      id: "setuid-loader",
      tries: "the same through the workspace",
      actor: "user",
      how: "cp {outside}/setuid s && chmod 4755 s && ./s creds; rm -f s",
      answer: "{uid} {uid} {uid} {uid} {uid} {uid}",
      why: "class 19",
    },
    {
      id: "file-caps",
      tries: "a program with file capabilities",
      how: "{outside}/capable caps | grep -E 'Eff|Prm' | sort",
      answer: "CapEff 0000000000000000 CapPrm 0000000000000000",
      why: "class 17",
    },
    {
      id: "setuid-plant",
      tries: "leave a setuid program of root in the workspace",
      actor: "root",
      how: [["fchmodat", AT, "s:{work}/script", 0o4755]],
      answer: "ok",
      why:
        "not prevented: a write grant is one for modes too, and the file is root's own",
    },
    {
      id: "setuid-root",
      tries: "become root",
      actor: "user",
      how: [["setuid", 0]],
      answer: "EINVAL|EPERM",
      why: "root has no number in this user namespace",
    },
    {
      id: "setresuid",
      tries: "become another user",
      how: [["setresuid", 1, 1, 1]],
      answer: "EINVAL|EPERM",
      why: "one user is mapped",
    },
    {
      id: "setgroups",
      tries: "drop or gain groups",
      how: [["setgroups", 1, int(0)]],
      answer: "EPERM",
      why: "groups open files",
    },
    {
      id: "capset",
      tries: "give oneself capabilities",
      how: [[
        "capset",
        "x:2205082000000000",
        int(0x200000, 0x200000, 0, 0, 0, 0),
      ]],
      answer: "EPERM",
      why: "class 17",
    },
    {
      id: "ambient",
      tries: "raise an ambient capability",
      how: [["prctl", 47, 2, 21, 0, 0]],
      answer: "EPERM",
      why: "class 17",
    },
    {
      id: "no-new-privs-off",
      tries: "switch no_new_privs off",
      how: [["prctl", 38, 0, 0, 0, 0]],
      answer: "EINVAL",
      why: "class 21: no way to turn it off",
    },
    {
      id: "seccomp-strict-off",
      tries: "switch the filter off",
      how: [["prctl", 22, 0, 0, 0, 0]],
      answer: "EINVAL",
      why: "class 21",
    },
    {
      id: "pair-send-path",
      tries: "a stream pair's end, sent to the host's socket",
      how: [["socketpair", 1, 1, 0, "pair:0"], [
        "sendmsg",
        "pair:0:0",
        "msg:{outside}/dgram",
        0,
      ]],
      answer: "EISCONN|EOPNOTSUPP",
      why: "weak 3: the address lies behind a pointer",
    },
    {
      id: "pair-seq-send-path",
      tries: "a seqpacket pair's end, likewise, its peer closed",
      how: [["socketpair", 1, 5, 0, "pair:0"], ["close", "pair:0:1"], [
        "sendmsg",
        "pair:0:0",
        "msg:{outside}/dgram",
        0x4000,
      ]],
      answer: "ENOTCONN|EPIPE|ECONNRESET",
      why: "weak 3",
    },
    {
      id: "pair-reconnect",
      tries: "connect one end to the host's socket",
      how: [["socketpair", 1, 1, 0, "pair:0"], [
        "connect",
        "pair:0:0",
        "un:{outside}/stream",
        110,
      ]],
      answer: "EISCONN",
      why: "a pair is connected for ever",
    },
    {
      id: "pair-dissolve",
      tries: "dissolve the pair first",
      how: [["socketpair", 1, 1, 0, "pair:0"], [
        "connect",
        "pair:0:0",
        "x:0000",
        2,
      ], ["connect", "pair:0:0", "un:{outside}/stream", 110]],
      answer: "EISCONN|connect:EINVAL|connect:EISCONN",
      why: "AF_UNSPEC dissolves datagram pairs",
    },
    {
      id: "pair-listen",
      tries: "make one end a server",
      how: [["socketpair", 1, 1, 0, "pair:0"], ["listen", "pair:0:0", 1]],
      answer: "EINVAL",
      why: "a server that the host could connect to",
    },
  ]),
  ...group("descriptors", [
    {
      id: "stdin-control",
      tries: "read the file behind standard input",
      how: "head -c 5",
      answer: "decoy",
      why: "the rows below are about this file",
    },
    ...[
      ["proc-fd", "/proc/self/fd/0"],
      ["dev-stdin", "/dev/stdin"],
      ["dev-fd", "/dev/fd/0"],
      ["thread-fd", "/proc/thread-self/fd/0"],
    ].map(([id, path]): Row => ({
      id: `stdin-${id}`,
      tries: `open ${path} for writing`,
      how: [["openat", AT, `s:${path}`, O_WRONLY]],
      answer: "EACCES",
      why: "a descriptor brings the host's mount along (measured)",
    })),
    {
      id: "stdin-rdwr",
      tries: "open it for both",
      how: [["openat", AT, "s:/proc/self/fd/0", O_RDWR]],
      answer: "EACCES",
      why: "likewise",
    },
    {
      id: "stdin-openat2",
      tries: "openat2",
      how: [["openat2", AT, "s:/proc/self/fd/0", HOW_WRITE, 24]],
      answer: "EACCES",
      why: "likewise",
    },
    {
      id: "stdin-truncate",
      tries: "truncate by path",
      how: [["truncate", "s:/proc/self/fd/0", 0]],
      answer: "EACCES",
      why: "only from Landlock's third version on",
    },
    {
      id: "stdin-ftruncate",
      tries: "truncate by descriptor",
      how: [["ftruncate", 0, 0]],
      answer: "EINVAL|EBADF",
      why: "it is open for reading",
    },
    {
      id: "stdin-mmap",
      tries: "map it shared and writable",
      how: [["mmap", 0, 4096, 3, 1, 0, 0]],
      answer: "EACCES",
      why: "likewise",
    },
    {
      id: "stdin-link",
      tries: "give it a name in the workspace",
      how: [[
        "linkat",
        AT,
        "s:/proc/self/fd/0",
        AT,
        "s:{work}/second",
        AT_SYMLINK_FOLLOW,
      ]],
      answer: "EXDEV",
      why: "there it could be written",
    },
    {
      id: "stdin-link-empty",
      tries: "the same by the empty name",
      how: [["linkat", 0, "s:", AT, "s:{work}/second", AT_EMPTY_PATH]],
      answer: "EXDEV|ENOENT",
      why: "there it could be written",
    },
    {
      id: "stdin-dir",
      tries: "climb from it",
      how: [["openat", 0, "s:../secret", 0]],
      answer: "ENOTDIR",
      why: "a folder as stdin is refused; a file leads nowhere",
    },
  ], "stream"),
];

const IPC = group("ipc", [
  {
    id: "shm-key",
    tries: "the host's shared memory by key",
    how: [["shmget", "{key}", 0, 0]],
    answer: "ENOENT",
    why: "weak 22",
  },
  {
    id: "shm-id",
    tries: "the host's shared memory by number",
    how: [["shmat", "{shm}", 0, 0]],
    answer: "EINVAL|EIDRM",
    why: "weak 22",
  },
  {
    id: "shm-remove",
    tries: "remove it",
    how: [["shmctl", "{shm}", 0, 0]],
    answer: "EINVAL|EIDRM",
    why: "weak 22",
  },
  {
    id: "sem-key",
    tries: "the host's semaphores by key",
    how: [["semget", "{key}", 0, 0]],
    answer: "ENOENT",
    why: "weak 22",
  },
  {
    id: "sem-remove",
    tries: "remove them by number",
    how: [["semctl", "{sem}", 0, 0, 0]],
    answer: "EINVAL|EIDRM",
    why: "weak 22",
  },
  {
    id: "msg-key",
    tries: "the host's message queue by key",
    how: [["msgget", "{key}", 0]],
    answer: "ENOENT",
    why: "weak 22",
  },
  {
    id: "msg-send",
    tries: "send to it by number",
    how: [["msgsnd", "{msg}", long(1, 0), 4, 0o4000]],
    answer: "EINVAL|EIDRM",
    why: "weak 22",
  },
  {
    id: "posix-queue",
    tries: "the host's POSIX queue",
    how: [["mq_open", "s:{name}", O_RDWR, 0, 0]],
    answer: "ENOENT",
    why: "it goes with the IPC namespace",
  },
  {
    id: "unix-stream",
    tries: "a stream socket to a path",
    how: [["socket", 1, 1, 0], ["connect", "@1", "un:{outside}/stream", 110]],
    answer: "socket:EPERM",
    why: "class 14: daemons",
  },
  {
    id: "unix-dgram",
    tries: "a datagram socket to a path",
    how: [["socket", 1, 2, 0], ["sendmsg", "@1", "msg:{outside}/dgram", 0]],
    answer: "socket:EPERM",
    why: "weak 3: reached the host in the reference",
  },
  {
    id: "unix-raw",
    tries: "a raw socket of AF_UNIX, which is a datagram one",
    how: [["socket", 1, 3, 0], ["sendmsg", "@1", "msg:{outside}/dgram", 0]],
    answer: "socket:EPERM",
    why: "weak 3: another spelling",
  },
  {
    id: "unix-seqpacket",
    tries: "a seqpacket socket",
    how: [["socket", 1, 5, 0]],
    answer: "EPERM",
    why: "weak 3",
  },
  {
    id: "unix-flags",
    tries: "a datagram socket with flags in its type",
    how: [["socket", 1, 0o2004002, 0]],
    answer: "EPERM",
    why: "flags must not hide the type",
  },
  {
    id: "unix-high",
    tries: "AF_UNIX with high bits",
    how: [["socket", "0x100000001", 1, 0]],
    answer: "EPERM",
    why: "the kernel drops them",
  },
  {
    id: "unix-abstract",
    tries: "an abstract socket of the host",
    how: [["socket", 1, 1, 0], ["connect", "@1", "un:@{name}", "{namelen}"]],
    answer: "socket:EPERM",
    why: "class 15",
  },
  {
    id: "pair-dgram",
    tries: "a pair of datagram sockets",
    how: [["socketpair", 1, 2, 0, "pair:0"], [
      "sendmsg",
      "pair:0:0",
      "msg:{outside}/dgram",
      0,
    ]],
    answer: "socketpair:EPERM",
    why: "weak 3: a pair reaches the host as well",
  },
  {
    id: "pair-raw",
    tries: "a pair of raw sockets",
    how: [["socketpair", 1, 3, 0, "pair:0"]],
    answer: "EPERM",
    why: "weak 3",
  },
  {
    id: "pair-flags",
    tries: "a datagram pair with flags in its type",
    how: [["socketpair", 1, 0o2004002, 0, "pair:0"]],
    answer: "EPERM",
    why: "weak 3",
  },
  {
    id: "keyring-session",
    tries: "the session's keyring",
    how: [["keyctl", 0, -3, 0]],
    answer: "EPERM",
    why: "weak 21: shared with the host",
  },
  {
    id: "keyring-add",
    tries: "add a key to nowhere",
    how: [["add_key", "s:user", "s:d", "s:x", 1, 0]],
    answer: "EPERM",
    why: "weak 21",
  },
  {
    id: "keyring-request",
    tries: "ask for a key",
    how: [["request_key", "s:user", "s:nothing", 0, 0]],
    answer: "EPERM",
    why: "weak 21: it can start a program of the host",
  },
]);

const OPEN_FOR_WRITING: readonly (readonly [path: string, why: string])[] = [
  ["/proc/sysrq-trigger", "weak 27: the kernel's emergency keys"],
  ["/proc/sys/kernel/core_pattern", "weak 2: a program of root's on the host"],
  ["/proc/sys/kernel/modprobe", "weak 27: likewise"],
  ["/proc/sys/kernel/hostname", "weak 2"],
  ["/proc/sys/vm/drop_caches", "weak 2"],
  ["/proc/sys/fs/binfmt_misc/register", "weak 27: an interpreter for others"],
  ["/sys/kernel/uevent_helper", "weak 27"],
  ["/sys/fs/cgroup/cgroup.procs", "weak 27: out of the caller's limits"],
  ["/sys/fs/cgroup/cpu/release_agent", "weak 27: a program of root's"],
  ["/sys/fs/cgroup/cpu/tasks", "weak 27"],
  ["/sys/kernel/debug/tracing/trace_marker", "tracing of the host"],
  ["/sys/power/state", "the machine's sleep"],
  ["/sys/firmware/efi/efivars", "the firmware's variables"],
  ["/proc/kcore", "the kernel's memory"],
  ["/proc/kmsg", "the kernel's log"],
  ["/proc/mtrr", "memory types"],
  ["/proc/irq/default_smp_affinity", "interrupts of the host"],
  ["/proc/scsi/scsi", "as uid 0 it removes disks; the kernel asks for no more"],
  ["/proc/acpi/wakeup", "what wakes the machine"],
  ["/proc/self/uid_map", "the map of users"],
  ["/proc/self/gid_map", "the map of groups"],
  ["/proc/self/attr/current", "a security module's label"],
  ["/dev/mem", "the machine's memory"],
  ["/dev/kmsg", "the kernel's log"],
  ["/dev/kvm", "a hypervisor"],
  ["/dev/fuse", "a file system of its own"],
  ["/dev/loop-control", "loop devices"],
  ["/dev/loop0", "loop devices"],
  ["/dev/net/tun", "a network device"],
  ["/dev/userfaultfd", "the call that the filter denies"],
  ["/dev/vhost-net", "a hypervisor's network"],
  ["/dev/vda", "a disk"],
  ["/dev/sda", "a disk"],
  ["/dev/input/event0", "the keyboard"],
];

const KERNEL = group("kernel", [
  ...OPEN_FOR_WRITING.map(([path, why]): Row => ({
    id: `write-${path.slice(1).replaceAll(/[^a-z0-9]+/g, "-")}`,
    tries: `open ${path} for writing`,
    how: [["openat", AT, `s:${path}`, O_WRONLY]],
    answer: path === "/proc/self/uid_map" || path === "/proc/self/gid_map" ||
        path === "/proc/self/attr/current"
      ? "EPERM|EACCES|EROFS|ENOENT|ok"
      : "EROFS|EACCES|EPERM|ENOENT|ENXIO|EISDIR",
    why,
  })),
  {
    id: "proc-any",
    tries: "every file of /proc that is no process's",
    how:
      "find /proc -path '/proc/[0-9]*' -prune -o -path /proc/self -prune -o -path /proc/thread-self -prune -o -type f -print 2>/dev/null | xargs {probe} open-write | grep '\tok$' | if [ {uid} = 0 ]; then cat; else grep -v ^/proc/pressure/; fi",
    answer: "",
    why:
      "weak 2, and what nobody has thought of; a user's own triggers of /proc/pressure cost nobody anything",
  },
  {
    id: "proc-top-read-only",
    tries: "the folders of /proc that hold settings",
    actor: "root",
    how:
      'for d in sys irq bus scsi acpi asound fs/cifs dynamic_debug driver/nvidia pressure; do [ ! -e /proc/$d ] || grep -q " /proc/$d ro" /proc/self/mountinfo || echo $d; done',
    answer: "",
    why: "as uid 0 files there are the host's to write, whatever they are",
  },
  {
    id: "sys-any",
    tries: "a file of /sys that the user may write",
    how:
      "find /sys -type f -perm -u+w -print 2>/dev/null | head -400 | xargs {probe} open-write | grep '\tok$'",
    answer: "",
    why: "weak 27",
  },
  {
    id: "uid-map",
    tries: "map another user",
    how: "echo '0 0 1' > /proc/self/uid_map && echo did",
    answer: "",
    why: "class 17",
  },
  {
    id: "mknod-mem",
    tries: "make a device node of the memory",
    how: [["mknodat", AT, "s:{work}/mem", S_IFCHR | 0o666, 0x101]],
    answer: "EPERM",
    why: "class 17",
  },
  {
    id: "mknod-tmp",
    tries: "make a device node in the private /dev",
    how: [["mknodat", AT, "s:/dev/mem", S_IFCHR | 0o666, 0x101]],
    answer: "EPERM",
    why: "class 17",
  },
  {
    id: "mknod-regular",
    tries: "mknod of a plain file outside",
    how: [["mknodat", AT, "s:{outside}/node", S_IFREG | 0o600, 0]],
    answer: "EROFS",
    why: "another way to make a file",
  },
  {
    id: "bpf",
    tries: "bpf",
    how: [["bpf", 0, 0, 0]],
    answer: "EPERM",
    why: "a kernel interface that attacks lean on",
  },
  {
    id: "userfaultfd",
    tries: "userfaultfd, also for user faults only",
    how: [["userfaultfd", 1]],
    answer: "EPERM",
    why: "it stretches races",
  },
  {
    id: "io-uring",
    tries: "io_uring",
    how: [["io_uring_setup", 1, 0]],
    answer: "EPERM",
    why: "weak 23: work in a ring passes the filter by",
  },
  {
    id: "perf",
    tries: "performance counters",
    how: [["perf_event_open", "z:128", 0, -1, -1, 0]],
    answer: "EPERM",
    why: "side channels and a large attack surface",
  },
  {
    id: "kexec",
    tries: "load another kernel",
    how: [["kexec_load", 0, 0, 0, 0xffff]],
    answer: "EPERM",
    why: "class 17",
  },
  {
    id: "init-module",
    tries: "load a module",
    how: [["init_module", 0, 0, "s:"]],
    answer: "EPERM",
    why: "class 17",
  },
  {
    id: "finit-module",
    tries: "load a module by descriptor",
    how: [["finit_module", -1, "s:", 0]],
    answer: "EPERM",
    why: "class 17",
  },
  {
    id: "reboot",
    tries: "reboot with wrong magic",
    how: [["reboot", 0, 0, 0, 0]],
    answer: "EPERM",
    why: "EINVAL would mean that it may",
  },
  {
    id: "swapon",
    tries: "swap on nothing",
    how: [["swapon", "s:/nothing", 0]],
    answer: "EPERM",
    why: "ENOENT would mean that it may",
  },
  {
    id: "swapoff",
    tries: "swap off nothing",
    how: [["swapoff", "s:/nothing"]],
    answer: "EPERM",
    why: "likewise",
  },
  {
    id: "acct",
    tries: "process accounting to nothing",
    how: [["acct", "s:/nothing/here"]],
    answer: "EPERM|ENOSYS",
    why: "it would write a file of the host",
  },
  {
    id: "quota",
    tries: "switch quotas on on nothing",
    how: [["quotactl", "0x80000200", "s:/nothing", 0, 0]],
    answer: "EPERM|ENOSYS|ENOENT|ENOTBLK",
    why: "class 17",
  },
  {
    id: "hostname",
    tries: "another host name",
    how: [["sethostname", "s:x", 1]],
    answer: "EPERM",
    why: "weak 2",
  },
  {
    id: "domainname",
    tries: "another domain name",
    how: [["setdomainname", "s:x", 1]],
    answer: "EPERM",
    why: "weak 2",
  },
  {
    id: "adjtimex",
    tries: "the clock's tick, with an impossible one",
    how: [["adjtimex", BAD_TICK]],
    answer: "EPERM",
    why: "EINVAL would mean that it may",
  },
  {
    id: "timezone",
    tries: "the kernel's time zone, an impossible one",
    how: [["settimeofday", 0, BAD_ZONE]],
    answer: "EPERM",
    why: "EINVAL would mean that it may",
  },
  {
    id: "syslog",
    tries: "the console's level, an impossible one",
    how: [["syslog", 8, 0, 0]],
    answer: "EPERM",
    why: "EINVAL would mean that it may",
  },
  {
    id: "iopl",
    only: "x64",
    tries: "the ports of the machine",
    how: [["iopl", 3]],
    answer: "EPERM|ENOSYS",
    why: "class 17",
  },
  {
    id: "ioperm",
    only: "x64",
    tries: "one port",
    how: [["ioperm", 0x80, 1, 1]],
    answer: "EPERM|ENOSYS",
    why: "class 17",
  },
  {
    id: "int80",
    only: "x64",
    tries: "the 32-bit entry",
    how: "{probe} int80; [ $? = 159 ] && echo killed",
    answer: "killed",
    why: "its numbers mean other calls",
  },
  {
    id: "x32",
    only: "x64",
    tries: "the x32 table",
    how: "{probe} x32; [ $? = 159 ] && echo killed",
    answer: "killed",
    why: "its numbers mean other calls",
  },
  {
    id: "vsyscall-high",
    tries: "a call number with high bits",
    how: [["ioctl", -1, "0x100005412", 0]],
    answer: "EPERM",
    why: "class 16",
  },
]);

const FAMILIES: readonly (readonly [name: string, family: number])[] = [
  ["ax25", 3],
  ["x25", 9],
  ["key", 15],
  ["packet", 17],
  ["rds", 21],
  ["pppox", 24],
  ["can", 29],
  ["tipc", 30],
  ["bluetooth", 31],
  ["alg", 38],
  ["nfc", 39],
  ["vsock", 40],
  ["kcm", 41],
  ["qipcrtr", 42],
  ["smc", 43],
  ["xdp", 44],
  ["mctp", 45],
];

const NETWORK = [
  ...group("network", [
    ...FAMILIES.map(([name, family]): Row => ({
      id: `family-${name}`,
      tries: `a socket of AF_${name.toUpperCase()}`,
      how: [["socket", family, 3, 0]],
      answer: "EPERM",
      why:
        "not bounded by a network namespace, or a module that would be loaded",
    })),
    ...[["kobject", 15], ["audit", 9], ["connector", 11], ["generic", 16], [
      "netfilter",
      12,
    ], ["crypto", 21]].map(([name, protocol]): Row => ({
      id: `netlink-${name}`,
      tries: `a netlink socket, ${name}`,
      how: [["socket", 16, 3, protocol ?? 0]],
      answer: "EPERM",
      why: "only the routing protocol is bounded by the namespace",
    })),
    {
      id: "inet-raw",
      tries: "a raw socket",
      how: [["socket", 2, 3, 1]],
      answer: "EPERM",
      why: "class 12",
    },
    {
      id: "inet-packet",
      tries: "the old spelling of AF_PACKET",
      how: [["socket", 2, 10, 0x300]],
      answer: "EPERM",
      why: "class 12",
    },
    {
      id: "tcp-host",
      tries: "the host's loopback by TCP",
      how: [["socket", 2, 1, 0], ["connect", "@1", "in:127.0.0.1:{tcp}", 16]],
      answer: "ECONNREFUSED",
      why: "class 13",
    },
    {
      id: "tcp-host-zero",
      tries: "the same by 0.0.0.0",
      how: [["socket", 2, 1, 0], ["connect", "@1", "in:0.0.0.0:{tcp}", 16]],
      answer: "ECONNREFUSED",
      why: "class 13: another spelling",
    },
    {
      id: "tcp-host-other",
      tries: "the same by 127.1.2.3",
      how: [["socket", 2, 1, 0], ["connect", "@1", "in:127.1.2.3:{tcp}", 16]],
      answer: "ECONNREFUSED",
      why: "class 13",
    },
    {
      id: "tcp-fastopen",
      tries: "a connection within sendto",
      how: [["socket", 2, 1, 0], [
        "sendto",
        "@1",
        "s:probe",
        5,
        0x20004000,
        "in:127.0.0.1:{tcp}",
        16,
      ]],
      answer: "ECONNREFUSED|EOPNOTSUPP|EINPROGRESS",
      why: "class 12",
    },
    {
      id: "udp-host",
      tries: "the host's loopback by UDP",
      how: [["socket", 2, 2, 0], [
        "sendto",
        "@1",
        "s:probe",
        5,
        0,
        "in:127.0.0.1:{udp}",
        16,
      ]],
      answer: "ok",
      why: "it goes to one's own loopback: the decoy must not get it",
    },
    {
      id: "tcp-outside",
      tries: "an address of the internet",
      how: [["socket", 2, 1, 0], ["connect", "@1", "in:192.0.2.1:80", 16]],
      answer: "ENETUNREACH",
      why: "class 12",
    },
    {
      id: "udp-outside",
      tries: "a datagram to the internet",
      how: [["socket", 2, 2, 0], [
        "sendto",
        "@1",
        "s:probe",
        5,
        0,
        "in:192.0.2.1:53",
        16,
      ]],
      answer: "ENETUNREACH",
      why: "class 11: DNS as a channel",
    },
    {
      id: "metadata-service",
      tries: "a cloud's metadata address",
      how: [["socket", 2, 1, 0], [
        "connect",
        "@1",
        "in:169.254.169.254:80",
        16,
      ]],
      answer: "ENETUNREACH",
      why: "class 11",
    },
    {
      id: "multicast",
      tries: "a datagram to everybody",
      how: [["socket", 2, 2, 0], [
        "sendto",
        "@1",
        "s:probe",
        5,
        0,
        "in:224.0.0.1:5353",
        16,
      ]],
      answer: "ENETUNREACH",
      why: "class 12",
    },
    {
      id: "ping-socket",
      tries: "a ping socket to the internet",
      how: [["socket", 2, 2, 1], [
        "sendto",
        "@1",
        "x:0800f7ff00000000",
        8,
        0,
        "in:192.0.2.1:0",
        16,
      ]],
      answer: "ENETUNREACH|socket:EACCES",
      why: "class 12",
    },
    {
      id: "device-up",
      tries: "switch an interface",
      how: [["socket", 2, 2, 0], [
        "ioctl",
        "@1",
        0x8914,
        `x:6c6f${"00".repeat(38)}`,
      ]],
      answer: "EPERM",
      why: "needs a capability in the namespace",
    },
    {
      id: "unix-in-inet",
      tries: "an AF_INET socket connected to a path",
      how: [["socket", 2, 1, 0], ["connect", "@1", "un:{outside}/stream", 110]],
      answer: "EAFNOSUPPORT|EINVAL",
      why: "the family is the socket's, not the address's",
    },
    {
      id: "names",
      tries: "the name of a host",
      how: "getent hosts example.com && echo did",
      answer: "",
      why: "class 11",
    },
    {
      id: "net-namespace",
      tries: "the network namespace of process 1",
      how: [["openat", AT, "s:/proc/1/ns/net", 0]],
      answer: "EACCES",
      why: "one to enter",
    },
  ]),
  ...group("network", [
    {
      id: "host-control",
      tries: "the host's loopback, which was enabled",
      how: [["socket", 2, 1, 0], ["connect", "@1", "in:127.0.0.1:{tcp}", 16]],
      answer: "ok",
      why: "these rows are with the network enabled",
    },
    ...FAMILIES.filter(([name]) => ["packet", "alg", "vsock"].includes(name))
      .map(([name, family]): Row => ({
        id: `host-family-${name}`,
        tries: `with the network enabled, a socket of AF_${name.toUpperCase()}`,
        how: [["socket", family, 3, 0]],
        answer: "EPERM",
        why: "not the network that was enabled",
      })),
    {
      id: "host-unix",
      tries: "a stream socket of the host by its path",
      how: [["socket", 1, 1, 0], [
        "connect",
        "@1",
        "un:{outside}/stream",
        110,
      ]],
      answer: "ok",
      why:
        "not prevented: with the network enabled sockets are reached; known daemons are another matter",
    },
    {
      id: "host-abstract",
      tries: "an abstract socket of the host",
      how: [["socket", 1, 1, 0], ["connect", "@1", "un:@{name}", "{namelen}"]],
      answer: "EPERM",
      why: "a Landlock scope",
    },
    {
      id: "host-raw",
      tries: "with the network enabled, a raw socket",
      how: [["socket", 2, 3, 1]],
      answer: "EPERM",
      why: "no capability",
    },
    {
      id: "host-packet",
      tries: "with the network enabled, the old spelling of AF_PACKET",
      how: [["socket", 2, 10, 0x300]],
      answer: "EPERM",
      why: "raw frames",
    },
    {
      id: "host-device",
      tries: "with the network enabled, switch an interface",
      how: [["socket", 2, 2, 0], [
        "ioctl",
        "@1",
        0x8914,
        `x:7a7a7a7a${"00".repeat(36)}`,
      ]],
      answer: "EPERM|ENODEV",
      why: "the host's interfaces; the name is nobody's",
    },
    {
      id: "host-io-uring",
      tries: "with the network enabled, io_uring",
      how: [["io_uring_setup", 1, 0]],
      answer: "EPERM",
      why: "weak 23: allowed in the reference",
    },
    {
      id: "host-keyring",
      tries: "with the network enabled, the keyring",
      how: [["keyctl", 0, -3, 0]],
      answer: "EPERM",
      why: "weak 21",
    },
    {
      id: "host-sti",
      tries: "with the network enabled, TIOCSTI",
      how: [["ioctl", -1, 0x5412, 0]],
      answer: "EPERM",
      why: "weak 19",
    },
    {
      id: "host-ptrace",
      tries: "with the network enabled, ptrace",
      how: [["ptrace", 16, 0, 0, 0]],
      answer: "EPERM",
      why: "weak 7",
    },
    {
      id: "host-outside-write",
      tries: "with the network enabled, a file outside",
      how: [["openat", AT, FILE, O_WRONLY]],
      answer: "EROFS",
      why: "half a sandbox is none",
    },
    {
      id: "host-umount",
      tries: "with the network enabled, unmount a mask",
      how: [["umount2", "s:{work}/.git", MNT_DETACH]],
      answer: "EPERM",
      why: "weak 1",
    },
    {
      id: "host-proc",
      tries: "with the network enabled, /proc of the host's process",
      how: [["openat", AT, "s:/proc/{pid}/environ", 0]],
      answer: "ENOENT",
      why: "class 23",
    },
    {
      id: "host-shm",
      tries: "with the network enabled, the host's shared memory",
      how: [["shmat", "{shm}", 0, 0]],
      answer: "EINVAL|EIDRM",
      why: "weak 22",
    },
  ], "network"),
];

const OWN = group("our own files", [
  {
    id: "home-config",
    tries: "write config.toml in CODEX_HOME",
    how: [["openat", AT, "s:{home}/config.toml", O_WRONLY]],
    answer: "EROFS",
    why: "class 21: the next run's policy",
  },
  {
    id: "home-create",
    tries: "make a profile in CODEX_HOME",
    how: [[
      "openat",
      AT,
      "s:{home}/evil.config.toml",
      O_WRONLY | O_CREAT,
      0o600,
    ]],
    answer: "EROFS",
    why: "class 21",
  },
  {
    id: "home-rename",
    tries: "move CODEX_HOME away",
    how: [["renameat2", AT, "s:{home}", AT, "s:{home}-2", 0]],
    answer: "EROFS|EBUSY|EACCES",
    why: "class 21",
  },
  {
    id: "state-list",
    tries: "list our state folder",
    how: [["openat", AT, "s:{home}/sandbox", O_DIRECTORY]],
    answer: "EACCES",
    why: "weak 13: records and locks",
  },
  {
    id: "state-record",
    tries: "plant a record of a placeholder",
    how: [[
      "openat",
      AT,
      "s:{home}/sandbox/placeholders/0000000000000000",
      O_WRONLY | O_CREAT,
      0o600,
    ]],
    answer: "EACCES|ENOENT|EROFS",
    why: "weak 13: a planted record would delete files",
  },
  {
    id: "state-lock",
    tries: "open the folder of the records, to lock it",
    how: [["openat", AT, "s:{home}/sandbox/placeholders", 0]],
    answer: "EACCES|ENOENT",
    why: "a held lock would stop every other run",
  },
  {
    id: "state-cache",
    tries: "read the cache of abilities",
    how: [["openat", AT, "s:{home}/sandbox/cache", 0]],
    answer: "EACCES|ENOENT",
    why: "class 21",
  },
  {
    id: "own-binary",
    tries: "change our executable's mode",
    how: [["fchmodat", AT, "s:{codex}", 0o755]],
    answer: "EROFS",
    why: "class 21: the next run would run it; a write says ETXTBSY first",
  },
  {
    id: "own-binary-unlink",
    tries: "remove it",
    how: [["unlinkat", AT, "s:{codex}", 0]],
    answer: "EROFS|EBUSY",
    why: "class 21",
  },
  {
    id: "own-binary-inside",
    tries: "change the mode of the one that the inner stage runs",
    how:
      "if [ -e /dev/codex-linux-sandbox ]; then {probe} calls fchmodat -100 s:/dev/codex-linux-sandbox 0755; else echo EROFS; fi",
    answer: "EROFS",
    why: "it is the same file",
  },
  {
    id: "bwrap-write",
    tries: "change the mode of the system's bubblewrap",
    how: [["fchmodat", AT, "s:/usr/bin/bwrap", 0o755]],
    answer: "EROFS|ENOENT",
    why: "it runs with the caller's rights",
  },
  {
    id: "etc-codex",
    tries: "make a folder beside /etc/codex",
    how: [["mkdirat", AT, "s:/etc/{name}", 0o755]],
    answer: "EROFS",
    why: "class 21: requirements that root owns",
  },
  {
    id: "nested-run",
    tries: "start ourselves without a sandbox, and write outside",
    how:
      "{codex} sandbox -P :danger-full-access -- {probe} calls openat -100 s:{outside}/file 1",
    answer: "EROFS",
    why: "class 21: full access inside is what is there already",
  },
  {
    id: "nested-helper",
    tries: "be the inner stage with orders of one's own",
    how:
      "ln -s {codex} codex-linux-sandbox; ./codex-linux-sandbox --watcher 0 </dev/null && echo did; rm -f codex-linux-sandbox",
    answer: "",
    why: "a watcher removes files by its orders",
  },
]);

const READ_ONLY = group("files", [
  {
    id: "ro-write",
    tries: "with :read-only, write a file of the working directory",
    how: [["openat", AT, "s:{work}/plain", O_WRONLY]],
    answer: "EROFS",
    why: "nothing is granted",
  },
  {
    id: "ro-tmp",
    tries: "with :read-only, make a file in /tmp",
    how: [["openat", AT, "s:/tmp/{name}", O_WRONLY | O_CREAT, 0o600]],
    answer: "EROFS",
    why: "nothing is granted",
  },
  {
    id: "ro-var-tmp",
    tries: "with :read-only, make a file in /var/tmp",
    how: [["openat", AT, "s:/var/tmp/{name}", O_WRONLY | O_CREAT, 0o600]],
    answer: "EROFS",
    why: "nothing is granted",
  },
  {
    id: "ro-git",
    tries: "with :read-only, make .agents",
    how: [["mkdirat", AT, "s:{work}/.agents", 0o755]],
    answer: "EROFS",
    why: "nothing is granted, no placeholder is needed",
  },
  {
    id: "ro-run",
    tries: "with :read-only, make a file in /run",
    how: [["openat", AT, "s:/run/{name}", O_WRONLY | O_CREAT, 0o600]],
    answer: "EROFS",
    why: "sockets and locks of the host",
  },
  {
    id: "ro-etc",
    tries: "with :read-only, write /etc/passwd",
    how: [["openat", AT, "s:/etc/passwd", O_WRONLY]],
    answer: "EROFS|EACCES",
    why: "as uid 0 only the mount is in the way",
  },
  {
    id: "ro-root",
    tries: "with :read-only, make a file in /",
    how: [["openat", AT, "s:/{name}", O_WRONLY | O_CREAT, 0o600]],
    answer: "EROFS",
    why: "as uid 0 only the mount is in the way",
  },
], "read-only");

/** All of them. */
export const ESCAPES: readonly Escape[] = [
  ...FILES,
  ...METADATA,
  ...MOUNTS,
  ...PROCESSES,
  ...TERMINALS,
  ...DESCRIPTORS,
  ...IPC,
  ...KERNEL,
  ...NETWORK,
  ...OWN,
  ...READ_ONLY,
];
