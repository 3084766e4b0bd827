/**
 * A host in memory for the tests of `src/policy`: a few nodes, and the facts a probe would bring back from it.
 *
 * Only what was asked is answered, so a question that is forgotten fails a test.
 *
 * @module
 */
import { type ByteString, fromText } from "../../src/bytes.ts";
import {
  type GlobMatch,
  MISSING,
  NO_OWN_PATHS,
  type OwnPaths,
  type PathFact,
  type PathFacts,
  type SocketFact,
} from "../../src/policy/facts.ts";
import { globPrefix } from "../../src/policy/glob.ts";
import {
  abs,
  type AbsPath,
  ancestry,
  childOf,
  ROOT,
  toAbsPath,
} from "../../src/policy/path.ts";
import {
  type Access,
  DEFAULT_POLICY_OPTIONS,
  type GlobDeny,
  type Grant,
  type Policy,
  type PolicyOptions,
} from "../../src/policy/policy.ts";
import {
  followUp,
  MAX_FOLLOW_UPS,
  questions,
  repositoryQuestions,
} from "../../src/policy/questions.ts";

/**
 * Nodes by path: `dir`, `file`, `file: TEXT`, `exe`, `-> TARGET`, `locked` (lstat fails), `socket`, `fifo`, `device`, `hard` (two links),
 * `huge` (10 GiB), `open` (a directory of mode 777), `sticky` (1777).
 * Directories above are made.
 */
export type Tree = Readonly<Record<string, string>>;

/** The facts of `tree` about what `policy` asks for and `asked`. */
export function factsOf(
  tree: Tree,
  policy: Policy,
  {
    asked = [],
    own = NO_OWN_PATHS,
    matches = [],
    repositories = null,
    shut = [],
    sockets,
  }: {
    readonly asked?: readonly string[];
    /** Found on the host; `unix_sockets` is asked about beside them. */
    readonly sockets?: readonly SocketFact[];
    readonly own?: OwnPaths;
    readonly matches?: readonly GlobMatch[];
    /** What a search inside the writable directories found. */
    readonly repositories?: readonly string[] | null;
    /** Directories that the search could not look into. Counts beside `repositories`. */
    readonly shut?: readonly string[];
  } = {},
): PathFacts {
  const nodes = nodesOf(tree);
  const paths = new Map<AbsPath, PathFact>();
  const gitPointers = new Map<AbsPath, ByteString>();
  const found = repositories?.map(abs) ?? [];
  const facts = {
    paths,
    gitPointers,
    globMatches: matches,
    own,
    ...(repositories === null
      ? {}
      : { repositories: { found, shut: shut.map(abs), cut: null } }),
    ...(sockets === undefined ? {} : { sockets }),
  };
  for (const path of shut) ask(nodes, paths, abs(path));
  for (const path of found.flatMap(repositoryQuestions)) {
    ask(nodes, paths, path);
  }
  for (const { path } of sockets ?? []) ask(nodes, paths, path);
  if (sockets !== undefined) {
    for (const path of policy.options.unixSockets) ask(nodes, paths, path);
  }
  for (const path of questions(policy, own)) ask(nodes, paths, path);
  for (const path of asked) ask(nodes, paths, abs(path));
  for (let round = 0;; round++) {
    const more = followUp(policy, facts);
    if (more === null) return facts;
    if (round === MAX_FOLLOW_UPS) throw new Error("followUp never ends");
    for (const path of more.paths) ask(nodes, paths, path);
    for (const path of more.pointers) {
      gitPointers.set(path, fromText(nodes.get(path)?.text ?? ""));
    }
  }
}

/** A managed policy from `[path or symbol, access]` lines; `cwd` is `/w`. */
export function policyOf(
  lines: readonly (readonly [string, Access])[],
  { globs = [], options = {}, minimal = false, cwd = "/w" }: {
    readonly globs?: readonly string[];
    readonly options?: Partial<PolicyOptions>;
    readonly minimal?: boolean;
    readonly cwd?: string;
  } = {},
): Policy {
  return {
    name: "test",
    enforcement: "managed",
    unrestricted: false,
    grants: lines.map(([path, access]) => grantOf(path, access)),
    globs: globs.map(globOf),
    globScanMaxDepth: null,
    minimal,
    network: "none",
    cwd: abs(cwd),
    workspaceRoots: [abs(cwd)],
    options: { ...DEFAULT_POLICY_OPTIONS, ...options },
  };
}

export function grantOf(path: string, access: Access): Grant {
  const origin = { file: null, key: path };
  if (path === ":root") return { path: ROOT, access, symbol: path, origin };
  if (path === ":slash_tmp") {
    return { path: abs("/tmp"), access, symbol: path, origin };
  }
  if (path.startsWith(":tmpdir=")) {
    return { path: abs(path.slice(8)), access, symbol: ":tmpdir", origin };
  }
  if (path.startsWith("?")) {
    return { path: abs(path.slice(1)), access, skipIfMissing: true, origin };
  }
  return { path: abs(path), access, origin };
}

export function globOf(pattern: string): GlobDeny {
  const prefix = globPrefix(fromText(pattern));
  const origin = { file: null, key: pattern };
  return { pattern: fromText(pattern), prefix, origin };
}

/** What the walker would report for `pattern` at `path`. */
export function matchOf(
  pattern: string,
  path: string,
  kind: "file" | "directory" = "file",
  via?: string,
): GlobMatch {
  const match = { pattern: fromText(pattern), path: abs(path), kind };
  return via === undefined ? match : { ...match, via: abs(via) };
}

interface Node {
  readonly fact: PathFact;
  readonly text: string;
}

function nodesOf(tree: Tree): Map<AbsPath, Node> {
  const nodes = new Map<AbsPath, Node>();
  const all = { "/": "dir", "/tmp": "dir", "/proc": "dir", "/dev": "dir" };
  for (const [path, spec] of Object.entries({ ...all, ...tree })) {
    const at = abs(path);
    for (const above of ancestry(at)) {
      if (!nodes.has(above)) nodes.set(above, node("dir", nodes.size));
    }
    nodes.set(at, node(spec, nodes.size));
  }
  return nodes;
}

const PLAIN: PathFact = {
  ...MISSING,
  kind: "file",
  device: 1,
  mode: 0o644,
  linkCount: 1,
};

function node(spec: string, inode: number): Node {
  const fact = factFor(spec);
  return {
    fact: { ...fact, inode: fact.device === 0 ? 0 : inode + 2 },
    text: spec.startsWith("file: ") ? spec.slice(6) : "",
  };
}

function factFor(spec: string): PathFact {
  if (spec.startsWith("-> ")) {
    return { ...PLAIN, kind: "symlink", target: fromText(spec.slice(3)) };
  }
  if (spec.startsWith("file")) return PLAIN;
  switch (spec) {
    case "dir":
      return { ...PLAIN, kind: "directory", mode: 0o755 };
    case "open":
      return { ...PLAIN, kind: "directory", mode: 0o777 };
    case "sticky":
      return { ...PLAIN, kind: "directory", mode: 0o1777 };
    case "exe":
      return { ...PLAIN, mode: 0o755 };
    case "hard":
      return { ...PLAIN, linkCount: 2 };
    case "huge":
      return { ...PLAIN, sizeBytes: 10 * 1024 ** 3 };
    case "socket":
      return { ...PLAIN, kind: "socket" };
    case "fifo":
      return { ...PLAIN, kind: "fifo" };
    case "device":
      return { ...PLAIN, kind: "char_device" };
    case "locked":
      return { ...MISSING, kind: "unreadable" };
    default:
      throw new Error(`no such node: ${spec}`);
  }
}

/** Walks as a probe does: lstat of each component, links followed. */
function ask(
  nodes: ReadonlyMap<AbsPath, Node>,
  paths: Map<AbsPath, PathFact>,
  path: AbsPath,
): void {
  let at: AbsPath = ROOT;
  paths.set(ROOT, nodes.get(ROOT)?.fact ?? MISSING);
  let pending = path.slice(1).split("/").filter((part) => part !== "");
  for (let links = 0; pending.length > 0;) {
    const [name, ...rest] = pending as [string, ...string[]];
    pending = rest;
    if (name === "" || name === ".") continue;
    const next = toAbsPath(name === ".." ? `${at}/..` : childOf(at, name));
    if (next === null) return;
    if (name === "..") {
      at = next;
      continue;
    }
    const fact = nodes.get(next)?.fact ?? MISSING;
    paths.set(next, fact);
    if (fact.kind === "symlink") {
      if (++links > 40) return;
      const target = fact.target ?? "";
      if (target.startsWith("/")) at = ROOT;
      pending = [...target.split("/"), ...rest];
      continue;
    }
    if (fact.kind !== "directory") return;
    at = next;
  }
}
