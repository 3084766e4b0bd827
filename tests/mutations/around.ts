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
  [
    "a mount point whose process may live stays",
    `  return asked.ok || asked.error.errno !== abi.ESRCH;`,
    `  return asked.ok;`,
  ],
  [
    "a record that can't be judged stays",
    `  if (verdict.kind === "leave") return end([kept(record, verdict.why)], false);\n`,
    ``,
  ],
  [
    "a mount point that no run has made stays",
    `  if (!verdict.made) {`,
    `  if (false) {`,
  ],
  [
    "a mount point is reached through no link",
    `    abi.O_RDONLY | O_DIRECTORY,
    abi.RESOLVE_NO_SYMLINKS,`,
    `    abi.O_RDONLY | O_DIRECTORY,
    0,`,
  ],
  [
    "a registry and its records are no links",
    `abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);`,
    `abi.O_RDONLY | O_DIRECTORY);`,
  ],
  [
    "a mark is no link",
    `  const fd = openAt(folder, name, abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK);`,
    `  const fd = openAt(folder, name, abi.O_RDONLY | abi.O_NONBLOCK);`,
  ],
  [
    "a pipe in a mount point's place holds nobody",
    `    nameOf(path),
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,`,
    `    nameOf(path),
    abi.O_RDONLY | O_NOFOLLOW,`,
  ],
  [
    "a pipe in the place of a registry's lock holds nobody",
    `    const flags = abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK;`,
    `    const flags = abi.O_RDONLY | O_NOFOLLOW;`,
  ],
  [
    "what takes a mount point's place while it is judged stays",
    `    if (!named.ok || named.value.inode !== stat.value.inode) {`,
    `    if (!named.ok) {`,
  ],
  [
    "who only looks removes no mount point of another release",
    `    if (!removes) return "removed";\n`,
    ``,
  ],
  [
    "who only looks removes no record of another release",
    `    if (forget && options.removes) {`,
    `    if (forget) {`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, LEFT, text, instead, CLEANED)
);

const JUDGING: readonly Defence[] = [
  [
    "a record that is not understood is not judged",
    `    if (!/^[1-9][0-9]*$/.test(name) || !KNOWN_TEXTS.has(text.trim())) {`,
    `    if (false) {`,
  ],
  [
    "a record of a process that lives is not judged",
    `    if (isAlive) return { kind: "leave", why: \`process \${name} uses it\` };\n`,
    ``,
  ],
  [
    "only what a run says that it made was made by one",
    `  const made = markers.some(({ text }) => text.trim() === "synthetic");`,
    `  const made = true;`,
  ],
].map(([step = "", text = "", instead = ""]) =>
  pure(step, "src/linux/reference_registry.ts", text, instead, [
    "linux/reference_registry_test.ts",
  ])
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
  ...JUDGING,
  pure(
    "links that loop are not followed for ever",
    "src/host/probe.ts",
    `        if (links > MAX_LINKS) return;\n`,
    ``,
    ["host/probe_test.ts"],
  ),
  ...SOCKET_STEPS,
];
