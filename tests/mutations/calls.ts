/**
 * The protective steps of the calls themselves: what each leaves in the record of a start that may be kept, whose rights are taken and
 * given back, what does not outlive an exec.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const FILES = "src/sys/files.ts";
const STAT = "src/sys/stat.ts";
const DIRECTORIES = "src/sys/directories.ts";
const DESCRIPTORS = "src/sys/descriptors.ts";
const OBSERVED = "src/sys/observed.ts";
const IDENTITY = "src/sys/identity.ts";

const RECORDED: Notice = ["sys/recorded_test.ts"];
const IDENTIFIED: Notice = ["sys/identity_test.ts"];
const SOCKETS: Notice = ["sys/sockets_test.ts", "outlives an execve"];

/** Where `spoil()` stands at the head of a function. */
function spoilt(what: string, file: string, head: string): Defence {
  return pure(
    `nothing is kept of a start that rests on ${what}`,
    file,
    `${head}\n  spoil();`,
    head,
    RECORDED,
  );
}

const RECORD_STEPS: readonly Defence[] = [
  pure(
    "nothing is kept of a start that opened a file below a descriptor",
    FILES,
    `  if (dirfd !== abi.AT_FDCWD || path.startsWith("/proc/")) spoil();`,
    `  if (path.startsWith("/proc/")) spoil();`,
    RECORDED,
  ),
  pure(
    "nothing is kept of a start that opened what the kernel makes",
    FILES,
    `  if (dirfd !== abi.AT_FDCWD || path.startsWith("/proc/")) spoil();`,
    `  if (dirfd !== abi.AT_FDCWD) spoil();`,
    RECORDED,
  ),
  pure(
    "what was opened is recorded",
    FILES,
    `    if (isObserving()) observeOpen(dirfd, path, result);\n`,
    ``,
    RECORDED,
  ),
  pure(
    "what could not be opened is recorded",
    FILES,
    `      result < 0
        ? String(result)
        : contentText`,
    `      result < 0
        ? "0"
        : contentText`,
    RECORDED,
  ),
  pure(
    "what one may do is recorded",
    FILES,
    '  if (isObserving()) observe("access", `${mode}${path}`, String(result));\n',
    ``,
    RECORDED,
  ),
  pure(
    "where a link points to is recorded",
    FILES,
    `  if (isObserving()) observe("link", path, target);\n`,
    ``,
    RECORDED,
  ),
  pure(
    "that something is no link is recorded",
    FILES,
    `    if (isObserving()) observe("link", path, String(result));\n`,
    ``,
    RECORDED,
  ),
  pure(
    "what the kernel says is recorded",
    FILES,
    '    observe("text", path, text.ok ? text.value : `-${text.error.errno}`);\n',
    ``,
    RECORDED,
  ),
  pure(
    "what lies at a place is recorded",
    STAT,
    `  if (isObserving()) observe("lstat", path, placeText(path, there));\n`,
    ``,
    RECORDED,
  ),
  pure(
    "what a link leads to is recorded",
    STAT,
    `  if (isObserving()) observe("stat", path, placeText(path, there));\n`,
    ``,
    RECORDED,
  ),
  pure(
    "the kind of a file system is recorded",
    STAT,
    `    observe("file_system", path, String(result < 0 ? result : type));\n`,
    ``,
    RECORDED,
  ),
  pure(
    "a variable of the caller is recorded",
    "src/host/origin.ts",
    `  if (isObserving()) observe("variable", name, value ?? NOT_SET);\n`,
    ``,
    RECORDED,
  ),
  pure(
    "two answers to one question spoil the record",
    OBSERVED,
    `    before !== undefined || answer.length > MAX_TEXT ||`,
    `    answer.length > MAX_TEXT ||`,
    RECORDED,
  ),
  pure(
    "a long answer spoils the record",
    OBSERVED,
    `    before !== undefined || answer.length > MAX_TEXT ||`,
    `    before !== undefined ||`,
    RECORDED,
  ),
  pure(
    "too many questions spoil the record",
    OBSERVED,
    `    record.size >= MAX_OBSERVATIONS`,
    `    false`,
    RECORDED,
  ),
  pure(
    "what is asked anew at every start does not hide what comes after it",
    OBSERVED,
    `    isPaused = before;`,
    `    isPaused = true;`,
    RECORDED,
  ),
  spoilt(
    "a file that was opened without links",
    FILES,
    `  mode = 0,
): Result<number, SysError> {`,
  ),
  spoilt(
    "what lies below a descriptor",
    STAT,
    `export function lstatAt(dirfd: number, name: string): Result<Stat, SysError> {`,
  ),
  spoilt(
    "a lock",
    DESCRIPTORS,
    `export function flock(fd: number, operation: number): Result<number, SysError> {`,
  ),
  spoilt(
    "a pipe",
    DESCRIPTORS,
    `export function pipe(flags = 0): Result<readonly [number, number], SysError> {`,
  ),
  spoilt(
    "a folder that was made",
    DIRECTORIES,
    `  mode: number,
): Result<number, SysError> {`,
  ),
  spoilt(
    "a name that was taken away",
    DIRECTORIES,
    `  flags: number,
): Result<number, SysError> {`,
  ),
  spoilt(
    "a name that was changed",
    DIRECTORIES,
    `  to: string,
): Result<number, SysError> {`,
  ),
  spoilt(
    "the caller's groups",
    "src/sys/processes.ts",
    `export function getgroups(): Result<number[], SysError> {`,
  ),
  spoilt(
    "a child",
    "src/sys/programs.ts",
    `export function spawn(program: Spawned): Result<number, SysError> {`,
  ),
  pure(
    "nothing is kept of a start that rests on what root could do without capabilities",
    IDENTITY,
    `  spoil(); // it`,
    `  // it`,
    RECORDED,
  ),
];

const RIGHTS_STEPS: readonly Defence[] = [
  pure(
    "an ambient capability is no user's",
    IDENTITY,
    `  syscall(SYS.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);\n`,
    ``,
    IDENTIFIED,
  ),
  pure(
    "who becomes a user can't become root again",
    IDENTITY,
    `    syscall(SYS.setresuid, uid, uid, saved === null ? uid : saved.uid),`,
    `    syscall(SYS.setresuid, uid, uid, UNCHANGED),`,
    IDENTIFIED,
  ),
  pure(
    "who becomes a user can't have root's group again",
    IDENTITY,
    `    syscall(SYS.setresgid, gid, gid, saved === null ? gid : saved.gid),`,
    `    syscall(SYS.setresgid, gid, gid, UNCHANGED),`,
    IDENTIFIED,
  ),
  pure(
    "root has his own user back after a piece of work",
    IDENTITY,
    `    const uid = syscall(SYS.setresuid, own.uid, own.euid, UNCHANGED);`,
    `    const uid = 0;`,
    IDENTIFIED,
  ),
  pure(
    "root has his own groups back after a piece of work",
    IDENTITY,
    `    return uid === 0 && gid === 0 && setGroups(groups.value).ok;`,
    `    return uid === 0 && gid === 0;`,
    IDENTIFIED,
  ),
  pure(
    "no capability can be had again",
    IDENTITY,
    `    dropped = syscall(SYS.prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);\n`,
    ``,
    IDENTIFIED,
  ),
  pure(
    "capabilities are given up in all sets",
    IDENTITY,
    `    syscall(SYS.capset, header, stableBytes(CAPABILITY_BYTES)),`,
    `    0,`,
    IDENTIFIED,
  ),
];

const EXEC_STEPS: readonly Defence[] = [
  pure(
    "a connection to a socket by path does not outlive an execve",
    "src/sys/sockets.ts",
    `  const type = abi.SOCK_STREAM | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK;
  const fd`,
    `  const type = abi.SOCK_STREAM | abi.SOCK_NONBLOCK;
  const fd`,
    SOCKETS,
  ),
  pure(
    "a connection of the proxy's does not outlive an execve",
    "src/sys/connect.ts",
    `    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,`,
    `    SOCK_STREAM | SOCK_NONBLOCK,`,
    SOCKETS,
  ),
  ...([
    ["connection to a socket by path", "fd"],
    ["listener", "result"],
  ] as const).map(([what, name]) =>
    pure(
      `a ${what} holds up no event loop`,
      "src/sys/sockets.ts",
      `  const type = abi.SOCK_STREAM | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK;
  const ${name}`,
      `  const type = abi.SOCK_STREAM | abi.SOCK_CLOEXEC;
  const ${name}`,
      SOCKETS,
    )
  ),
  pure(
    "a connection of the proxy's holds up no event loop",
    "src/sys/connect.ts",
    `    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,`,
    `    SOCK_STREAM | SOCK_CLOEXEC,`,
    SOCKETS,
  ),
  pure(
    "a socket by path that nobody listens on is no connection",
    "src/sys/sockets.ts",
    `  if (result === 0) return ok(fd);
  close(fd);
  return failed("connect", result);`,
    `  return ok(fd);`,
    ["sys/sockets_test.ts", "nobody listens on"],
  ),
  pure(
    "a connection by path that failed leaves no descriptor",
    "src/sys/sockets.ts",
    `  close(fd);
  return failed("connect", result);`,
    `  return failed("connect", result);`,
    ["sys/sockets_test.ts", "nobody listens on"],
  ),
];

export const CALL_STEPS: readonly Defence[] = [
  ...RECORD_STEPS,
  ...RIGHTS_STEPS,
  ...EXEC_STEPS,
];
