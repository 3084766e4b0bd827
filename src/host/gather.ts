/**
 * Asks the host everything that a policy wants to know there: places, git's pointers, and what deny globs find.
 *
 * Effects: those of the probe and of the directory reader. The only way to whole facts: facts without the globs' matches would
 * leave open what a glob hides.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { SocketSurroundings } from "../policy/daemon_sockets.ts";
import { type AbsPath, ROOT } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import {
  followUp,
  MAX_FOLLOW_UPS,
  questions,
  repositoryQuestions,
} from "../policy/questions.ts";
import { ok, type Result } from "../result.ts";
import { kernelDirectoryReader } from "./directory_reader.ts";
import {
  MAX_POINTER_BYTES,
  type OwnPaths,
  type SocketFact,
} from "../policy/facts.ts";
import { expandGlobs, type GlobError } from "./glob.ts";
import {
  type FactMap,
  type ProbedFacts,
  probePath,
  readSmallFile,
} from "./probe.ts";

/** What is asked beside the policy's own questions. */
export interface GatherRequest {
  readonly policy: Policy;
  readonly own: OwnPaths;
  /** Paths that `access` will be asked about. */
  readonly asked?: readonly AbsPath[];
  readonly euid: number;
  /** Where to look for daemons' sockets; asked only where the host's network would reach them. */
  readonly surroundings?: Omit<SocketSurroundings, "uid">;
}

/** The facts, complete for `layoutOf`, `validatePolicy` and `access`; `paths` may be added to. */
export function gatherFacts(
  { policy, own, asked = [], euid, surroundings }: GatherRequest,
): Result<ProbedFacts, GlobError> {
  const paths: FactMap = new Map();
  const gitPointers = new Map<AbsPath, ByteString>();
  const sockets =
    policy.network === "host" && policy.enforcement === "managed" &&
      surroundings !== undefined
      ? lookForSockets(paths, policy, { ...surroundings, uid: euid })
      : null;
  const basics = {
    paths,
    gitPointers,
    globMatches: [],
    own,
    ...(sockets === null ? {} : { sockets }),
  };
  for (const path of questions(policy, own)) probePath(paths, path);
  for (const path of asked) probePath(paths, path);
  const repositories = mayHoldRepositories(policy)
    ? search().searchRepositories(policy, basics, euid)
    : null;
  const folding = isOnOtherFileSystems(policy, paths)
    ? folds().foldingDevices(policy, basics)
    : null;
  const facts = {
    ...basics,
    ...(repositories === null ? {} : { repositories }),
    ...(folding === null ? {} : { foldingDevices: folding }),
  };
  for (const path of repositories?.shut ?? []) probePath(paths, path);
  for (const repository of repositories?.found ?? []) {
    for (const path of repositoryQuestions(repository)) probePath(paths, path);
  }
  for (let round = 0;; round++) {
    const more = followUp(policy, facts);
    if (more === null) break;
    // What is left unasked would be left unprotected.
    if (round === MAX_FOLLOW_UPS) {
      throw new Error("git's pointers lead on and on");
    }
    for (const path of more.paths) probePath(paths, path);
    for (const pointer of more.pointers) {
      const text = readSmallFile(pointer, MAX_POINTER_BYTES);
      const known = text.ok ? text.value : null;
      gitPointers.set(pointer, known ?? ("" as ByteString));
    }
  }
  if (policy.globs.length === 0) return ok(facts);
  const globMatches = expandGlobs(policy, facts, kernelDirectoryReader(euid));
  return globMatches.ok
    ? ok({ ...facts, globMatches: globMatches.value })
    : globMatches;
}

/** Whether anything that the policy names lies elsewhere than the root: only then can its names be of another kind. */
function isOnOtherFileSystems(policy: Policy, paths: FactMap): boolean {
  const { grants, globs } = policy;
  if (policy.enforcement !== "managed" || grants.length + globs.length < 2) {
    return false;
  }
  const root = paths.get(ROOT)?.device;
  const named = [
    ...grants.map(({ path }) => path),
    ...globs.map(({ prefix }) => prefix),
  ];
  return named.some((path) => {
    const fact = paths.get(path);
    // A link leads anywhere, and what has no fact of its own lies behind one.
    return fact === undefined || fact.kind === "symlink" ||
      (fact.kind !== "missing" && fact.device !== root);
  });
}

/** Loaded on demand: most policies name what lies on the root's own file system. */
function folds(): typeof import("./case_folding.ts") {
  return require("./case_folding.ts");
}

function mayHoldRepositories(policy: Policy): boolean {
  return policy.enforcement === "managed" &&
    policy.options.nestedRepositories === "read" &&
    policy.grants.some(({ access }) => access === "write");
}

/** Loaded on demand: a run that may write nothing never pays for it. */
function search(): typeof import("./search.ts") {
  return require("./search.ts");
}

/** Loads the list and the search only here: a run without the host's network needs neither. */
function lookForSockets(
  paths: FactMap,
  policy: Policy,
  surroundings: SocketSurroundings,
): readonly SocketFact[] {
  const { socketSearch }: typeof import("../policy/daemon_sockets.ts") =
    require("../policy/daemon_sockets.ts");
  const { findSockets }: typeof import("./daemon_sockets.ts") = require(
    "./daemon_sockets.ts",
  );
  for (const path of policy.options.unixSockets) probePath(paths, path);
  return findSockets(paths, socketSearch(surroundings), surroundings.uid);
}
