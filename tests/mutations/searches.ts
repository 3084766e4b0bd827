/**
 * The protective steps of what is looked for on the host before a run, and after it: what deny globs hide, repositories inside writable
 * directories, file systems that ignore case, the caller's streams, sockets of daemons.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const GATHER = "src/host/gather.ts";
const GLOB = "src/host/glob.ts";
const SEARCHES = "src/host/glob_searches.ts";
const DIRECTORIES = "src/host/directory_reader.ts";
const REPOSITORIES = "src/host/repositories.ts";
const READER = "src/host/repository_reader.ts";
const SEARCH = "src/host/search.ts";
const FOLDING = "src/host/case_folding.ts";
const STREAMS = "src/host/streams.ts";
const SOCKETS = "src/host/daemon_sockets.ts";

const GATHERED: Notice = ["host/gather_test.ts"];
const WALKED: Notice = ["host/glob_test.ts"];
const FOUND: Notice = ["host/repositories_test.ts"];
const SEARCHED: Notice = ["host/search_test.ts"];
const FOLDED: Notice = ["host/case_folding_test.ts"];
const STREAMED: Notice = ["host/streams_test.ts"];
const FOUND_SOCKETS: Notice = ["host/daemon_sockets_test.ts"];

const GLOB_STEPS: readonly Defence[] = [
  pure(
    "a pattern whose own directory is closed stops the run",
    GLOB,
    `        closedDirectory(walk, null, prefix, prefix, first, opened.error);\n`,
    ``,
    WALKED,
  ),
  pure(
    "a closed directory of one's own stops the run",
    GLOB,
    `  if (errno === EACCES && !walk.reader.isOwn(parent, name)) return;`,
    `  if (errno === EACCES) return;`,
    WALKED,
  ),
  pure(
    "nothing but its mode excuses another's closed directory",
    GLOB,
    `  if (errno === EACCES && !walk.reader.isOwn(parent, name)) return;`,
    `  if (!walk.reader.isOwn(parent, name)) return;`,
    WALKED,
  ),
  pure(
    "a directory that was read in part stops the run",
    GLOB,
    `  if (errno !== 0 && first !== undefined) {`,
    `  if (false) {`,
    WALKED,
  ),
  pure(
    "a search by glob sees so many entries and no more",
    GLOB,
    `  const why = walk.entries > limits.entries`,
    `  const why = false`,
    WALKED,
  ),
  pure(
    "the entries of all searches by glob count together",
    GLOB,
    `      walk.entries = root.entries;\n`,
    ``,
    WALKED,
  ),
  pure(
    "a search by glob has a time limit",
    GLOB,
    `    : walk.reader.now() > walk.deadline`,
    `    : false`,
    WALKED,
  ),
  pure(
    "a search by glob finds so many and no more",
    GLOB,
    `  if (walk.matches.size > walk.limits.matches) {`,
    `  if (false) {`,
    WALKED,
  ),
  pure(
    "a search by glob goes so deep and no deeper",
    GLOB,
    `    if (below.length > 0 && depth >= MAX_WALK_DEPTH) {`,
    `    if (false) {`,
    WALKED,
  ),
  pure(
    "a directory that holds more than is allowed is not read to its end",
    GLOB,
    `    return walk.error !== null;\n  }, walk.lastBytes);`,
    `    return false;\n  }, walk.lastBytes);`,
    WALKED,
  ),
  pure(
    "a search by glob that is given up opens nothing more",
    GLOB,
    `    if (walk.error !== null) break;\n`,
    ``,
    WALKED,
  ),
  pure(
    "a search by glob keeps no directory open",
    GLOB,
    `  walk.reader.close(directory);\n`,
    ``,
    WALKED,
  ),
  pure(
    "a link to what holds the pattern stops the run",
    GLOB,
    `    if (isInside(search.wanted.prefix, { root: target.path })) {`,
    `    if (false) {`,
    WALKED,
  ),
  pure(
    "patterns below /dev/shm are looked for",
    SEARCHES,
    `isMadeFresh(place.path) && !isInside(place.path, { root: DEV_SHM })`,
    `isMadeFresh(place.path)`,
    WALKED,
  ),
  pure(
    "a pattern is looked for below its own prefix",
    SEARCHES,
    `        isInside(one.prefix, { root: prefix }) &&
          depthOf`,
    `        depthOf`,
    WALKED,
  ),
  pure(
    "an entry whose kind nobody told is asked for its kind",
    DIRECTORIES,
    `      return stat.ok ? factFromStat(stat.value).kind : "missing";`,
    `      return stat.ok ? "missing" : "missing";`,
    WALKED,
  ),
  pure(
    "a directory that can't be read says so",
    DIRECTORIES,
    `      return done.ok ? 0 : done.error.errno;`,
    `      return 0;`,
    WALKED,
  ),
  pure(
    "a directory whose owner can't be told may be one's own",
    DIRECTORIES,
    `      return !stat.ok || stat.value.uid === euid;`,
    `      return stat.ok && stat.value.uid === euid;`,
    WALKED,
  ),
];

const REPOSITORY_STEPS: readonly Defence[] = [
  pure(
    "a root that can't be listed is no whole search",
    REPOSITORIES,
    `  if (roots.has(at)) search.cut ??= { at, why: "it can't be read" };
  else if`,
    `  if`,
    FOUND,
  ),
  pure(
    "where kinds are not told every name is looked at",
    REPOSITORIES,
    `    else if (kind === "directory" || kind === null) directories.push(name);`,
    `    else if (kind === "directory") directories.push(name);`,
    FOUND,
  ),
  pure(
    "submodules of a repository inside are looked at",
    REPOSITORIES,
    `        look(search, module);\n`,
    ``,
    FOUND,
  ),
  pure(
    "a search for repositories enters nothing that is closed",
    REPOSITORIES,
    `(search.roots.has(path) || search.isClosed(path))`,
    `search.roots.has(path)`,
    FOUND,
  ),
  pure(
    "nothing that is closed is looked for by name",
    REPOSITORIES,
    `    if (search.isClosed(at)) return false;\n`,
    ``,
    FOUND,
  ),
  pure(
    "a submodule's way has no link",
    REPOSITORIES,
    `    if (kind !== "directory") return false;\n`,
    ``,
    FOUND,
  ),
  pure(
    "a search for repositories sees so many names and says where it stopped",
    REPOSITORIES,
    `  const why = search.entries > limits.entries`,
    `  const why = false`,
    FOUND,
  ),
  pure(
    "a search for repositories finds so many and says where it stopped",
    REPOSITORIES,
    `    : search.found.size + search.shut.size >= limits.repositories`,
    `    : false`,
    FOUND,
  ),
  pure(
    "a search for repositories has a time limit",
    REPOSITORIES,
    `    : isLate(search, search.deadline)`,
    `    : false`,
    FOUND,
  ),
  pure(
    "what a search can't look at is not missing",
    READER,
    `      return errno === abi.ENOENT || errno === abi.ENOTDIR`,
    `      return errno > 0`,
    FOUND,
  ),
  pure(
    "only the caller's directories count as shut by the command",
    READER,
    `      return stat.ok && stat.value.uid === euid;`,
    `      return stat.ok;`,
    FOUND,
  ),
  pure(
    "a file system that may hang is foreign",
    READER,
    `    if (!LOCAL.has(text.slice(type, text.indexOf(" ", type)))) {`,
    `    if (false) {`,
    FOUND,
  ),
  pure(
    "a foreign place with a blank in its name is known by its name",
    READER,
    `  if (!place.includes("\\\\")) return place as AbsPath;`,
    `  if (place !== "") return place as AbsPath;`,
    FOUND,
  ),
  pure(
    "no foreign file system is entered",
    SEARCH,
    `(foreign ??= mountPoints()).has(path);`,
    `(foreign ??= new Set()).has(path);`,
    SEARCHED,
  ),
  pure(
    "no repository is looked for below what the kernel makes",
    SEARCH,
    `new Set<AbsPath>([PROC, DEV, SYS]);`,
    `new Set<AbsPath>([]);`,
    SEARCHED,
  ),
  pure(
    "no repository is looked for where writing is taken away",
    SEARCH,
    `    if (rule(rules, path).state !== "writable") closed.add(path);\n`,
    ``,
    SEARCHED,
  ),
  pure(
    "a repository that was moved during the run is not told as new",
    SEARCH,
    "    if (known.has(`${device}:${inode}`)) return false;\n",
    ``,
    SEARCHED,
  ),
  pure(
    "a repository of another user is not told as the command's",
    SEARCH,
    `    if (!git.ok || git.value.uid !== euid) return false;`,
    `    if (!git.ok) return false;`,
    SEARCHED,
  ),
  pure(
    "where the search before was cut what the command made is told all the same",
    SEARCH,
    `    return !wasCut || ctimeSeconds`,
    `    return !wasCut && ctimeSeconds`,
    SEARCHED,
  ),
];

const OTHER_STEPS: readonly Defence[] = [
  pure(
    "a served file system on which names ignore case is found",
    FOLDING,
    `    if (foldsCase(place.path, place.node === "directory")) folding.add(device);\n`,
    ``,
    FOLDED,
  ),
  pure(
    "what lies in a directory tells whether names ignore case there",
    FOLDING,
    `  return isFoundTurned(path) || (isDirectory &&`,
    `  return isFoundTurned(path) || (false && isDirectory &&`,
    FOLDED,
  ),
  pure(
    "names are tried behind no link",
    FOLDING,
    `abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);`,
    `abi.O_RDONLY | O_DIRECTORY);`,
    FOLDED,
  ),
  pure(
    "what can't be looked at is not missing",
    "src/host/probe.ts",
    `    return absent ? MISSING : { ...MISSING, kind: "unreadable" };`,
    `    return absent ? MISSING : MISSING;`,
    ["host/probe_test.ts"],
  ),
  pure(
    "a file of our state that can't be put in its place leaves nothing",
    "src/host/state_folder.ts",
    `  if (!renamed) unlinkAt(folder, beside, 0);\n`,
    ``,
    ["host/state_folder_test.ts"],
  ),
];

const STREAM_STEPS: readonly Defence[] = [
  pure(
    "a stream that is open for writing already is left as it is",
    STREAMS,
    `(flags.value & abi.O_ACCMODE) !== abi.O_RDONLY) return [];`,
    `false) return [];`,
    STREAMED,
  ),
  pure(
    "a file that its owner could open up is guarded",
    STREAMS,
    `file.value.uid === euid || (file.value.mode & 0o022) !== 0;`,
    `(file.value.mode & 0o222) !== 0;`,
    STREAMED,
  ),
  pure(
    "another's file that all may write is guarded",
    STREAMS,
    `file.value.uid === euid || (file.value.mode & 0o022) !== 0;`,
    `file.value.uid === euid || (file.value.mode & 0o020) !== 0;`,
    STREAMED,
  ),
  pure(
    "another's file that its group may write is guarded",
    STREAMS,
    `file.value.uid === euid || (file.value.mode & 0o022) !== 0;`,
    `file.value.uid === euid || (file.value.mode & 0o002) !== 0;`,
    STREAMED,
  ),
  pure(
    "a stream lies where its own inode is, not where its name leads",
    STREAMS,
    `const same = named.ok && named.value.inode === file.value.inode &&
      named.value.device === file.value.device;`,
    `const same = named.ok;`,
    STREAMED,
  ),
  pure(
    "a stream below a writable directory is known by any name of that",
    STREAMS,
    `    identityOf(above).some((identity) => identities.has(identity))`,
    `    places.includes(above) && identities.size > 0`,
    STREAMED,
  ),
  ...["eventpoll", "eventfd"].map((kind) =>
    pure(
      `the runtime's ${kind} is none of the caller's`,
      STREAMS,
      `target.value === "anon_inode:[${kind}]"`,
      `false`,
      STREAMED,
    )
  ),
];

const SOCKET_STEPS: readonly Defence[] = [
  pure(
    "a directory of a daemon's sockets is looked for as one",
    SOCKETS,
    `      const node = name.endsWith("/") ? "directory" : "socket";`,
    `      const node = "socket" as "socket" | "directory";`,
    FOUND_SOCKETS,
  ),
  pure(
    "a pipe of a daemon's takes orders as well",
    SOCKETS,
    `type === abi.S_IFSOCK || type === abi.S_IFIFO;`,
    `type === abi.S_IFSOCK;`,
    FOUND_SOCKETS,
  ),
  pure(
    "a socket is hidden where it is, not where a link to it is",
    SOCKETS,
    `    found.set(led.resolved, { ...known, path: led.resolved });`,
    `    found.set(led.resolved, known);`,
    FOUND_SOCKETS,
  ),
  pure(
    "all known places below a base are looked at",
    SOCKETS,
    `      if (isThere) yield { path, node, daemon };`,
    `      if (isThere) return yield { path, node, daemon };`,
    FOUND_SOCKETS,
  ),
];

const GATHER_STEPS: readonly Defence[] = [
  pure(
    "without all that the globs hide nothing runs",
    GATHER,
    `  return globMatches.ok
    ? ok({ ...facts, globMatches: globMatches.value })
    : globMatches;`,
    `  return ok({
    ...facts,
    globMatches: globMatches.ok ? globMatches.value : [],
  });`,
    GATHERED,
  ),
  pure(
    "a pointer of git's that can't be read whole leads nowhere",
    GATHER,
    `      gitPointers.set(pointer, known ?? ("" as ByteString));`,
    `      gitPointers.set(pointer, known ?? (".git" as ByteString));`,
    GATHERED,
  ),
  pure(
    "repositories that were found are among the facts",
    GATHER,
    `    ...(repositories === null ? {} : { repositories }),\n`,
    ``,
    SEARCHED,
  ),
  pure(
    "repositories are looked for where they are to be protected",
    GATHER,
    `    policy.options.nestedRepositories === "read" &&`,
    `    policy.options.nestedRepositories !== "read" &&`,
    SEARCHED,
  ),
];

export const SEARCH_STEPS: readonly Defence[] = [
  ...GATHER_STEPS,
  ...GLOB_STEPS,
  ...REPOSITORY_STEPS,
  ...OTHER_STEPS,
  ...STREAM_STEPS,
  ...SOCKET_STEPS,
];
