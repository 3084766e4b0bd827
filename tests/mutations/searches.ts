/**
 * The protective steps of what is looked for on the host before a run, and after it: what deny globs hide, repositories inside writable
 * directories, file systems that ignore case.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const GLOB = "src/host/glob.ts";
const SEARCHES = "src/host/glob_searches.ts";
const DIRECTORIES = "src/host/directory_reader.ts";
const REPOSITORIES = "src/host/repositories.ts";
const READER = "src/host/repository_reader.ts";
const SEARCH = "src/host/search.ts";
const FOLDING = "src/host/case_folding.ts";

const WALKED: Notice = ["host/glob_test.ts"];
const FOUND: Notice = ["host/repositories_test.ts"];
const SEARCHED: Notice = ["host/search_test.ts"];
const FOLDED: Notice = ["host/case_folding_test.ts"];

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

export const SEARCH_STEPS: readonly Defence[] = [
  ...GLOB_STEPS,
  ...REPOSITORY_STEPS,
  ...OTHER_STEPS,
];
