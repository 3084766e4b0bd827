/**
 * What is asked of the host around a run, and what `codex sandbox clean` takes away: whose it is, whether somebody uses it, whether the
 * look at it has an end.
 *
 * @module
 */
import { type Defence, live, type Notice, pure } from "./defence.ts";

const LEFT = "src/linux/leftovers.ts";
const SOCKETS = "src/host/daemon_sockets.ts";

const CLEANED: Notice = ["linux/leftovers_test.ts"];
const OTHERS: Notice = ["sandbox/clean_test.ts", "belongs to somebody else"];
const FOUND: Notice = ["host/daemon_sockets_test.ts"];

const CLEANING: readonly Defence[] = [
  [
    "a registry that others can write is not looked at",
    `stat.value.uid !== euid || (stat.value.mode & 0o022) !== 0`,
    `stat.value.uid !== euid`,
  ],
  [
    "a registry that another run uses is left alone",
    `    const free = !lock.ok || flock(lock.value, abi.LOCK_EX | abi.LOCK_NB).ok;`,
    `    const free = true;`,
  ],
  [
    "a mount point that is not empty stays",
    `    if (!isEmpty) return "left by a dead run, but not empty any more";\n`,
    ``,
  ],
  [
    "a mount point that another run uses stays",
    `    if (!flock(fd.value, abi.LOCK_EX | abi.LOCK_NB).ok) {`,
    `    if (false) {`,
  ],
  [
    "a mount point that is another's by now stays",
    `    if (!stat.ok || stat.value.uid !== euid) {`,
    `    if (!stat.ok) {`,
  ],
  [
    "what a writer that lives has not finished stays",
    `pid === undefined || isAlive(Number(pid))`,
    `pid === undefined`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, LEFT, text, instead, CLEANED)
);

const SOCKET_STEPS: readonly Defence[] = [
  [
    "what is no socket is not taken for a daemon's",
    `      return type === abi.S_IFSOCK || type === abi.S_IFIFO;`,
    `      return true;`,
  ],
  [
    "a folder of sockets is no link",
    `  const there = node === "directory" ? lstat(path) : stat(path);`,
    `  const there = stat(path);`,
  ],
  [
    "a private folder of sockets is the user's own",
    `type === abi.S_IFDIR && uid === euid && (mode & 0o077) === 0;`,
    `type === abi.S_IFDIR && (mode & 0o077) === 0;`,
  ],
  [
    "a private folder of sockets is closed to others",
    `type === abi.S_IFDIR && uid === euid && (mode & 0o077) === 0;`,
    `type === abi.S_IFDIR && uid === euid;`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, SOCKETS, text, instead, FOUND)
);

export const AROUND: readonly Defence[] = [
  live(
    "a registry of another's is not looked at",
    LEFT,
    `stat.value.uid !== euid || (stat.value.mode & 0o022) !== 0`,
    `(stat.value.mode & 0o022) !== 0`,
    OTHERS,
  ),
  ...CLEANING,
  pure(
    "links that loop are not followed for ever",
    "src/host/probe.ts",
    `        if (links > MAX_LINKS) return;\n`,
    ``,
    ["host/probe_test.ts"],
  ),
  ...SOCKET_STEPS,
];
