/**
 * `glob_backend = "ripgrep"`: a trusted `rg` lists the files once more, and what it adds is hidden too.
 *
 * It lists regular files and nothing else: no links, no empty directories, no sockets. Its answer alone would leave them open, so it
 * comes on top of the walker's and never in its place.
 *
 * Effects: runs rg, without environment, configuration or input, for a limited time.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { factFromStat, type ProbedFacts, probePath } from "../host/probe.ts";
import type { GlobMatch } from "../policy/facts.ts";
import { WALK_LIMITS } from "../host/glob.ts";
import {
  type Search,
  searchesByRoot,
  wantedBy,
} from "../host/glob_searches.ts";
import { hiddenAmong } from "../host/listed_paths.ts";
import type { AbsPath } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  type ChildStatus,
  close,
  closeOnExecFrom,
  duplicate,
  kill,
  lstat,
  memfdCreate,
  open,
  pidfdOpen,
  poll,
  readFile,
  spawn,
  stat,
  type SysError,
  waitFor,
} from "../sys/calls.ts";
import { bwrapCandidates, judgeBwrap } from "./bwrap_choice.ts";
import { firstOwnFd } from "./process_state.ts";

/** What {@linkcode addRipgrep} needs to know. `facts` are whole, the walker's matches included. */
export interface RipgrepRequest {
  readonly policy: Policy;
  readonly facts: ProbedFacts;
  /** The caller's PATH. */
  readonly path: ByteString | null;
}

/** A list that is longer is refused. */
const LIST_LIMIT_BYTES = 512 * 1024 * 1024;

/** Everything, whatever ignore files and configuration say; separated by NUL. */
const WORDS = [
  "--no-config",
  "--files",
  "--hidden",
  "--no-ignore",
  "--null",
  "--color=never",
  "--",
] as const;

/** The facts with rg's matches added to the walker's. The error says why that can't be had. */
export function addRipgrep(
  request: RipgrepRequest,
): Result<RipgrepRequest["facts"], string> {
  const { policy, facts } = request;
  const rg = trustedRg(request);
  if (!rg.ok) return refuse(policy, rg.error);
  const known = new Set(facts.globMatches.map(({ path }) => path));
  const added: GlobMatch[] = [];
  const wanted = wantedBy(policy, facts);
  for (
    const [root, searches] of searchesByRoot(wanted, policy.globScanMaxDepth)
  ) {
    const more = matchesBelow(root, searches, rg.value);
    if (!more.ok) return refuse(policy, more.error);
    for (const match of more.value) {
      if (known.has(match.path)) continue;
      known.add(match.path);
      added.push(match);
    }
  }
  if (known.size > WALK_LIMITS.matches) {
    return refuse(policy, `more than ${WALK_LIMITS.matches} matches`);
  }
  return ok(
    added.length === 0
      ? facts
      : { ...facts, globMatches: [...facts.globMatches, ...added] },
  );
}

function refuse(
  { name }: Policy,
  why: string,
): { readonly ok: false; readonly error: string } {
  return fail(
    `Cannot honour glob_backend = "ripgrep" of profile ${name}: ${why}; leave it out`,
  );
}

/** The first trusted `rg` of PATH, by the rule for bubblewrap. */
function trustedRg(
  { policy, facts, path }: RipgrepRequest,
): Result<AbsPath, string> {
  const reasons: string[] = [];
  for (const candidate of bwrapCandidates(path, "rg")) {
    if (!stat(candidate).ok) continue;
    probePath(facts.paths, candidate);
    const trust = judgeBwrap(facts, candidate, {
      cwd: policy.cwd,
      workspaceRoots: policy.workspaceRoots,
      writableRoots: policy.grants.filter(({ access }) => access === "write")
        .map((grant) => grant.path),
    });
    if (trust.kind === "trusted") return ok(trust.path);
    if (trust.kind === "untrusted") {
      reasons.push(
        `${toText(candidate)} is not trusted: ${trust.why}`,
      );
    }
  }
  return fail(reasons.join("; ") || "no rg on PATH");
}

function matchesBelow(
  root: AbsPath,
  searches: readonly Search[],
  rg: AbsPath,
): Result<readonly GlobMatch[], string> {
  const listed = listFiles(root, rg);
  if (!listed.ok) return listed;
  const matches: GlobMatch[] = [];
  for (const { path, pattern } of hiddenAmong(root, searches, listed.value)) {
    const found = lstat(path);
    if (!found.ok) continue; // gone meanwhile
    const { kind } = factFromStat(found.value);
    if (kind === "symlink") {
      return fail(`${toText(path)} became a link while it was looked at`);
    }
    matches.push({ path, kind, pattern });
  }
  return ok(matches);
}

/** Paths below `root`, without it. */
function listFiles(
  root: AbsPath,
  rg: AbsPath,
): Result<readonly ByteString[], string> {
  closeOnExecFrom(3); // what the caller left open is not rg's
  const opened = [
    high(open("/dev/null" as ByteString, abi.O_RDWR)),
    high(memfdCreate("codex-rg", "data")),
    high(memfdCreate("codex-rg-errors", "data")),
  ];
  const listed = runRg(root, rg, opened);
  for (const fd of opened) if (fd.ok) close(fd.value);
  return listed;
}

/** @param opened its standard streams */
function runRg(
  root: AbsPath,
  rg: AbsPath,
  opened: readonly Result<number, SysError>[],
): Result<readonly ByteString[], string> {
  const fds: number[] = [];
  for (const fd of opened) {
    if (!fd.ok) return failed("its streams can't be made", fd.error);
    fds.push(fd.value);
  }
  const child = spawn({
    path: rg,
    argv: ["rg", ...WORDS, root],
    environment: [],
    session: "own",
    descriptors: fds.map((fd, index) => [fd, index] as const),
  });
  if (!child.ok) return failed(`${toText(rg)} can't be started`, child.error);
  const end = endOf(child.value);
  if (end === null) {
    return fail(`rg took more than ${WALK_LIMITS.timeMs} ms`);
  }
  const [list, said] = fds.slice(1).map((fd) =>
    readFile(`/proc/self/fd/${fd}`, LIST_LIMIT_BYTES)
  );
  if (list?.ok !== true || said?.ok !== true) {
    return fail("its list is too long");
  }
  const serious = said.value.split("\n").find((line) =>
    line !== "" && !HARMLESS.test(line)
  );
  if (serious !== undefined) {
    return fail(`rg says "${toText(serious as ByteString)}"`);
  }
  if (end.kind === "signalled") {
    return fail(`rg was ended by signal ${end.signal}`);
  }
  if (end.status > 2) return fail(`rg ended with status ${end.status}`);
  const start = root === "/" ? 1 : root.length + 1;
  return ok(
    list.value.split("\0").slice(0, -1)
      .map((path) => path.slice(start) as ByteString),
  );
}

/** The same open file under a number that no child's overwrites. */
function high(fd: Result<number, SysError>): Result<number, SysError> {
  if (!fd.ok) return fd;
  const moved = duplicate(fd.value, firstOwnFd());
  close(fd.value);
  return moved;
}

function failed(
  what: string,
  { errno }: SysError,
): { readonly ok: false; readonly error: string } {
  return fail(`${what}: ${abi.errnoText(errno)}`);
}

/** What the walker judges by itself: a directory that is closed (EACCES) or went away (ENOENT). */
const HARMLESS = /\(os error (2|13)\)$/;

/** How rg ended; `null` when it took too long, and is gone now. */
function endOf(pid: number): ChildStatus | null {
  const handle = pidfdOpen(pid);
  const ready = handle.ok
    ? poll([{ fd: handle.value, events: 1 }], WALK_LIMITS.timeMs * 1e6)
    : handle;
  if (handle.ok) close(handle.value);
  const inTime = ready.ok && (ready.value[0] ?? 0) !== 0;
  if (!inTime) kill(-pid, abi.SIGKILL);
  const ended = waitFor(pid);
  if (!inTime) return null;
  // Somebody else's wait took the answer: nothing is known of rg, so its list is not used.
  return ended.ok ? ended.value : { kind: "exited", status: 127 };
}
