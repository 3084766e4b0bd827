/**
 * The protective steps around a run: how files of others are read, where our own state lies, what is kept in memory, whom the watcher
 * ends.
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

const FILES = "src/sys/files.ts";
const DESCRIPTORS = "src/sys/descriptors.ts";
const PROBE = "src/host/probe.ts";
const CONFIG = "src/config/host_files.ts";
const STATE = "src/host/state_folder.ts";
const WATCHER = "src/linux/watcher.ts";
const IDENTITY = "src/sys/identity.ts";
const SUPERVISOR = "src/linux/supervisor.ts";

const MEMORY: Notice = ["sys/files_test.ts"];
const PROBED: Notice = ["host/probe_test.ts"];
const LOADED: Notice = ["config/load_test.ts"];
const SEARCHED: Notice = ["host/repositories_test.ts"];
const FOLDERS: Notice = ["host/state_folder_test.ts"];
const WATCHED: Notice = ["linux/watcher_test.ts"];
const LIFE = "sandbox/life_test.ts";
const USER = "sandbox/user_test.ts";
const SOCKETS = "sandbox/sockets_test.ts";

const MEMORY_STEPS: readonly Defence[] = [
  pure(
    "what is kept in memory is sealed",
    FILES,
    `    : syscall(SYS.fcntl, fd.value, abi.F_ADD_SEALS, abi.ALL_SEALS);`,
    `    : 0;`,
    MEMORY,
  ),
  pure(
    "what is kept in memory does not outlive an execve by itself",
    FILES,
    `  const flags = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING;`,
    `  const flags = abi.MFD_ALLOW_SEALING;`,
    MEMORY,
  ),
  pure(
    "what is opened does not outlive an execve by itself",
    FILES,
    `      flags | abi.O_CLOEXEC,`,
    `      flags,`,
    MEMORY,
  ),
  pure(
    "what is opened without links does not outlive an execve by itself",
    FILES,
    `  view.setUint32(0, flags | abi.O_CLOEXEC, true);`,
    `  view.setUint32(0, flags, true);`,
    MEMORY,
  ),
  pure(
    "a pipe does not outlive an execve by itself",
    DESCRIPTORS,
    `  const result = syscall(SYS.pipe2, ends, flags | abi.O_CLOEXEC);`,
    `  const result = syscall(SYS.pipe2, ends, flags);`,
    MEMORY,
  ),
  pure(
    "a file is read to its limit",
    FILES,
    `    if (text.length > limitBytes) {`,
    `    if (false) {`,
    MEMORY,
    LOADED,
  ),
];

const READING_STEPS: readonly Defence[] = [
  pure(
    "a file of the workspace is read through no link",
    PROBE,
    `abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK);`,
    `abi.O_RDONLY | abi.O_NONBLOCK);`,
    PROBED,
  ),
  pure(
    "a pipe of the workspace holds nobody",
    PROBE,
    `abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK);`,
    `abi.O_RDONLY | O_NOFOLLOW);`,
    PROBED,
  ),
  pure(
    "a device of the workspace is not read",
    PROBE,
    `    if ((stat.value.mode & abi.S_IFMT) !== abi.S_IFREG) return ok(null);\n`,
    ``,
    PROBED,
  ),
  pure(
    "a file of the workspace that is too long is not read",
    PROBE,
    `    if (stat.value.sizeBytes > limitBytes) return ok(null);\n`,
    ``,
    PROBED,
  ),
  pure(
    "a config file of a project is read through no link",
    CONFIG,
    `  const follow = links === "follow" ? 0 : O_NOFOLLOW;`,
    `  const follow = 0;`,
    LOADED,
  ),
  pure(
    "a config file that a link of yours waits for can't be made",
    "src/config/read_layer.ts",
    `    if (options.host.kindOf(file, "refuse") === "symlink") keep(file);\n`,
    ``,
    LOADED,
  ),
  pure(
    "a pipe in the place of a config file holds nobody",
    CONFIG,
    `abi.O_RDONLY | abi.O_NONBLOCK | follow);`,
    `abi.O_RDONLY | follow);`,
    PROBED,
  ),
  pure(
    "a config file is a regular file",
    CONFIG,
    `  if ((about.value.mode & abi.S_IFMT) !== abi.S_IFREG) {`,
    `  if (false) {`,
    LOADED,
  ),
  pure(
    "a directory that can't be looked into for repositories stays shut",
    "src/host/repositories.ts",
    `    if (!seen.readable) shutIn(search, path);`,
    ``,
    SEARCHED,
  ),
  pure(
    "a submodule behind a shut directory shuts that",
    "src/host/repositories.ts",
    `    if (kind === "unreadable") shutIn(search, at);`,
    ``,
    SEARCHED,
  ),
];

const RECORDS = "src/linux/placeholder_records.ts";
const RECORDED: Notice = ["linux/placeholder_records_test.ts"];

const SWAPPED_STEPS: readonly Defence[] = [
  pure(
    "a search by glob enters no link",
    "src/host/directory_reader.ts",
    `const flags = abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW;`,
    `const flags = abi.O_RDONLY | O_DIRECTORY;`,
    ["host/glob_test.ts"],
  ),
  pure(
    "a search for repositories enters no link",
    "src/host/repository_reader.ts",
    `open(directory, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);`,
    `open(directory, abi.O_RDONLY | O_DIRECTORY);`,
    ["host/repositories_test.ts"],
  ),
  pure(
    "a record is read through no link",
    RECORDS,
    `    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `    abi.O_RDONLY | abi.O_NONBLOCK,`,
    RECORDED,
  ),
  pure(
    "a pipe in a record's place holds nobody who reads it",
    RECORDS,
    `    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `    abi.O_RDONLY | O_NOFOLLOW,`,
    RECORDED,
  ),
  pure(
    "a record is begun through no link",
    RECORDS,
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | O_NOFOLLOW,`,
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC,`,
    RECORDED,
  ),
  pure(
    "nothing is added to a record through a link",
    RECORDS,
    `    abi.O_WRONLY | abi.O_APPEND | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `    abi.O_WRONLY | abi.O_APPEND | abi.O_NONBLOCK,`,
    RECORDED,
  ),
  pure(
    "a pipe in a record's place holds nobody who adds to it",
    RECORDS,
    `    abi.O_WRONLY | abi.O_APPEND | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `    abi.O_WRONLY | abi.O_APPEND | O_NOFOLLOW,`,
    RECORDED,
  ),
  pure(
    "the directory of a placeholder is reached through no link",
    RECORDS,
    `    abi.O_RDONLY | O_DIRECTORY,
    abi.RESOLVE_NO_SYMLINKS,`,
    `    abi.O_RDONLY | O_DIRECTORY,
    0,`,
    RECORDED,
  ),
  pure(
    "a bubblewrap that never has its mounts ready is not waited for",
    "src/linux/verify_mounts.ts",
    `  while (performance.now() < deadline) {`,
    `  while (true) {`,
    ["linux/verify_mounts_test.ts"],
  ),
  pure(
    "a bubblewrap that never names its child is not waited for",
    "src/linux/run.ts",
    `  const deadline = performance.now() + CHILD_TIMEOUT_MS;`,
    `  const deadline = Infinity;`,
    ["linux/verify_mounts_test.ts"],
  ),
];

const STATE_STEPS: readonly Defence[] = [
  pure(
    "the state folder is no link",
    STATE,
    `    const next = openAt(at, name, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);`,
    `    const next = openAt(at, name, abi.O_RDONLY | O_DIRECTORY);`,
    FOLDERS,
  ),
  pure(
    "the state folder is ours",
    STATE,
    `      !stat.ok || stat.value.uid !== options.euid ||`,
    `      !stat.ok ||`,
    FOLDERS,
  ),
  pure(
    "the state folder is made for us alone",
    STATE,
    `      const made = mkdirAt(at, name, 0o700);`,
    `      const made = mkdirAt(at, name, 0o755);`,
    FOLDERS,
  ),
  pure(
    "a file of our state is written through no link",
    STATE,
    `    abi.O_WRONLY | abi.O_CREAT | abi.O_EXCL | O_NOFOLLOW,`,
    `    abi.O_WRONLY | abi.O_CREAT,`,
    FOLDERS,
  ),
  pure(
    "a file of our state is private",
    STATE,
    `    0o600,`,
    `    0o644,`,
    FOLDERS,
  ),
];

const WATCH_STEPS: readonly Defence[] = [
  pure(
    "only a sandbox's first process is ended",
    WATCHER,
    `  if (isNamespaceInit(pid)) return handle.value;`,
    `  return handle.value;`,
    WATCHED,
  ),
  pure(
    "a number that another sandbox has by now is not ended",
    WATCHER,
    `  if (!isAtEnd(sync)) pidfdKill(handle, abi.SIGKILL);`,
    `  pidfdKill(handle, abi.SIGKILL);`,
    WATCHED,
  ),
  live(
    "a supervised run ends with the thread that started it",
    SUPERVISOR,
    `    const bound = prctl(abi.PR_SET_PDEATHSIG, abi.SIGTERM);`,
    `    const bound = { ok: true } as ReturnType<typeof prctl>;`,
    [LIFE, "thread that started it"],
    ["sandbox/calling_test.ts"],
  ),
];

const USER_STEPS: readonly Defence[] = [
  live(
    "--user leaves root's groups",
    IDENTITY,
    `  const groups = setGroups([]);`,
    `  const groups = { ok: true, value: 0 } as ReturnType<typeof setGroups>;`,
    [USER, "other groups may read"],
  ),
  live(
    "--user leaves root's group",
    IDENTITY,
    `    syscall(SYS.setresgid, gid, gid, saved === null ? gid : saved.gid),`,
    `    0,`,
    [USER, "its group and no other"],
  ),
  live(
    "with --user files are opened as that user",
    "src/linux/launcher.ts",
    `  const done = identity().asUser(user, work);
  return done.ok ? done.value : cannotBecome(user, done.error);`,
    `  return work();`,
    [USER, "--user"],
  ),
];

const INSIDE_STEPS: readonly Defence[] = [
  live(
    "a caller's inner stage refuses to go on with capabilities",
    "src/linux/inner_stage.ts",
    `  requireNoCapabilities();
  const restored = restoreState([], callerSoftLimit());`,
    `  const restored = restoreState([], callerSoftLimit());`,
    ["sandbox/helper_test.ts", "outside of a sandbox is refused to root"],
  ),
  live(
    "the host's abstract names are closed beside its network",
    "src/run/carry_out.ts",
    `  if (plan.abstractSockets?.reach === "closed" && attempt.plans === 1) {`,
    `  if (false) {`,
    [SOCKETS, "an abstract name of the host"],
  ),
  withSystem(live(
    "orphans of a killed monitor come to the supervisor",
    SUPERVISOR,
    `  const reaper = prctl(abi.PR_SET_CHILD_SUBREAPER, 1);`,
    `  const reaper = { ok: true } as ReturnType<typeof prctl>;`,
    ["sandbox/swap_test.ts", "leaves a process of the sandbox behind"],
  )),
  live(
    "an end by a signal leaves no core file of ours",
    SUPERVISOR,
    `      prctl(abi.PR_SET_DUMPABLE, 0);\n`,
    ``,
    [LIFE, "no core file"],
  ),
];

export const HOST: readonly Defence[] = [
  ...MEMORY_STEPS,
  ...READING_STEPS,
  ...SWAPPED_STEPS,
  ...STATE_STEPS,
  ...WATCH_STEPS,
  ...USER_STEPS,
  ...INSIDE_STEPS,
];
