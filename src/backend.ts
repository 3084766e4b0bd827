/**
 * One run from a resolved policy to its end: probe, plan, choose a bwrap, explain or launch.
 *
 * The wiring between the rooms; each decision lives in its own.
 *
 * @module
 */
import type { ByteString } from "./bytes.ts";
import { toText } from "./bytes.ts";
import type { NetworkRequest } from "./egress/network_request.ts";
import type { EnvironmentPolicy } from "./config/config.ts";
import type { RunLimits } from "./cli/options.ts";
import { gatherFacts } from "./host/gather.ts";
import { ownPathsOf } from "./own_paths.ts";
import { canRun, lookUpCommand } from "./host/command.ts";
import { follow, type PathFacts } from "./host/facts.ts";
import { homeOf, variable } from "./host/origin.ts";
import { type FactMap, probePath } from "./host/probe.ts";
import { liesBelow, readOnlyStreams } from "./host/streams.ts";
import { openStateFolder, stateFolderOf } from "./host/state_folder.ts";
import {
  type BundledBwrap,
  DIGEST_MISMATCH,
  loadBundledBwrap,
} from "./linux/bundled_bwrap.ts";
import {
  type BwrapAbility,
  bwrapCandidates,
  explainRefusal,
  hasOption,
  judgeBwrap,
} from "./linux/bwrap_choice.ts";
import { type CommandVerdict, judgeCommand } from "./linux/command.ts";
import { missedStart } from "./kept_start.ts";
import { executeCommand, type InnerOrders } from "./linux/inner_stage.ts";
import { writablePlaces } from "./linux/landlock.ts";
import {
  curesOf,
  type ExposedStream,
  NO_CURES,
  type StreamCures,
  type StreamRefusal,
} from "./linux/stream_cures.ts";
import {
  callerSoftLimit,
  CHANNEL_FD,
  closeAbstractSockets,
  INNER_FD,
  type Launch,
  launchByExec,
  REPORT_FD,
  restoreState,
} from "./linux/launcher.ts";
import {
  type InnerStart,
  innerStart,
  ownExecutable,
} from "./linux/own_files.ts";
import type { PlanSize } from "./linux/many_mounts.ts";
import { completePlan, type Draft, draftPlan } from "./linux/planner.ts";
import type {
  DirectPlan,
  EnvironmentChange,
  LandlockPlan,
  Launcher,
  Placeholder,
  Plan,
  SandboxPlan,
} from "./linux/plan.ts";
import {
  abilityOf,
  type BwrapFile,
  namespaceFacts,
} from "./linux/probe_bwrap.ts";
import { reclaimIfAny } from "./linux/placeholders.ts";
import type { RunEnd } from "./linux/run_events.ts";
import { assembledFilter } from "./linux/seccomp/programs.ts";
import type { ResultTeller } from "./run_result.ts";
import {
  endLike,
  superviseRun,
  type SupervisorHome,
} from "./linux/supervisor.ts";
import { isLoaderVariable } from "./config/environment.ts";
import { describe, type Failure, globFailure } from "./failure.ts";
import {
  type Layout,
  layoutOf,
  mountOf,
  writableRoots,
} from "./policy/layout.ts";
import type { MountPoint } from "./policy/decision.ts";
import {
  type AbsPath,
  isInside,
  parentOf,
  ROOT,
  toAbsPath,
} from "./policy/path.ts";
import type { Policy, PromiseName } from "./policy/policy.ts";
import { validatePolicy } from "./policy/refusals.ts";
import { policyWarnings } from "./policy/warnings.ts";
import { fail, ok, type Result } from "./result.ts";
import * as abi from "./sys/abi.ts";
import type { Identity } from "./sys/identity.ts";
import {
  accessExecutable,
  accessWritable,
  chdir,
  close,
  fileStatusFlags,
  fstat,
  hasMountSetattr,
  hostArch,
  isTerminal,
  landlockVersion,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  readDirectory,
  readlink,
  stat,
  type SysError,
  writeAll,
} from "./sys/calls.ts";
import { observations, unobserved } from "./sys/observed.ts";

/** What one run was asked for, everything resolved but the host. */
export interface RunRequest {
  readonly policy: Policy;
  readonly command: readonly [ByteString, ...ByteString[]];
  /** The environment that we were started with: its PATH finds a system bwrap. */
  readonly callerEnvironment: readonly ByteString[];
  /** The command's whole environment but PWD. */
  readonly environment: readonly ByteString[];
  /** How it was made from the caller's; `null` where the caller made it himself. */
  readonly environmentPolicy: EnvironmentPolicy | null;
  /** `null`: there is no home; nothing is cached, and what needs records is refused. */
  readonly codexHome: AbsPath | null;
  /** `environment` has our own marks. */
  readonly marksSandbox: boolean;
  /** Config files that were read. */
  readonly ownFiles: readonly AbsPath[];
  readonly uid: number;
  /** Whom the command runs as. */
  readonly euid: number;
  /** Whom the state folder belongs to: the caller. Another than `euid` only with `user`. */
  readonly stateOwner: number;
  /** Whom uid 0 becomes before anything of the sandbox is started (`--user`); `null`: nobody else. */
  readonly user: Identity | null;
  /** `auto`: Landlock alone where bubblewrap can't be used and all that the policy says is kept. */
  readonly backend: "auto" | "bubblewrap" | "landlock";
  /** Promises that the caller does without, by hand, with `landlock` only. */
  readonly givenUp: readonly PromiseName[];
  readonly launcher: "auto" | "system" | "bundled";
  readonly stage: "auto" | "one_start" | "inner";
  readonly outlivesCaller: boolean;
  readonly limits: RunLimits;
  /** Whom `--result-json` tells the end; `null` without it. */
  readonly teller: ResultTeller | null;
  readonly passFds: readonly number[];
  /** Who serves the network; `null` unless it is proxied. */
  readonly network: NetworkRequest | null;
  readonly warnings: readonly string[];
  /** `none`: the helper was told not to mount a fresh `/proc`. */
  readonly proc: "fresh" | "none";
  /** Where the command starts, canonical; `null`: in the policy's directory. */
  readonly chdir: AbsPath | null;
  /** The plan is going to be printed: everything in it is worked out, also what a run needs not. */
  readonly explains: boolean;
  readonly mark: (step: string) => void;
}

/** A plan that is ready to be carried out. */
export type Prepared =
  | { readonly kind: "direct"; readonly plan: DirectPlan }
  | {
    readonly kind: "sandbox";
    readonly plan: SandboxPlan;
    readonly bwrap: BwrapFile;
    readonly innerWords: readonly string[];
    readonly facts: PathFacts;
    /** By the wall clock. */
    readonly startedMs: number;
  }
  | { readonly kind: "landlock"; readonly plan: LandlockPlan };

/** Whether an entry's name acts on the dynamic loader or on malloc: it reaches the command and nothing that we start before it. */
function isLoaderEntry(entry: ByteString): boolean {
  const first = entry[0];
  if (first !== "L" && first !== "M" && first !== "G") return false;
  return isLoaderVariable(entry.split("=", 1)[0] ?? "");
}

/** Everything up to the plan. */
export function prepareRun(request: RunRequest): Result<Prepared, Failure> {
  request.teller?.begin(request.policy.name);
  const streams = unobserved(() => checkDescriptors(request));
  if (!streams.ok) return streams;
  if (request.policy.enforcement === "disabled") {
    const limit = limitNameOf(request.limits);
    if (limit !== null) {
      return fail({
        kind: "request",
        message:
          `Cannot honour ${limit} under profile ${request.policy.name}: without a sandbox nothing holds what the command starts; leave it out, or use timeout(1)`,
      });
    }
    const [promise] = [...request.policy.options.require, ...request.givenUp];
    return promise === undefined
      ? ok({ kind: "direct", plan: directPlan(request) })
      : launchFailure(
        `Cannot keep or give up "${promise}": profile ${request.policy.name} runs without a sandbox, which promises nothing`,
      );
  }
  const startedMs = Date.now();
  makeStateFolder(request);
  // Asked as the parent of whoever calls: another user may not.
  callerSoftLimit();
  const drafted = withRightsOf(request.user, () => draftFromHost(request));
  if (!drafted.ok) return drafted;
  const { facts, draft } = drafted.value;
  request.mark("plan");
  const alone = (failure: string | null): Result<Prepared, Failure> =>
    landlockRun().prepareLandlock(request, facts, draft.draft, failure);
  if (request.backend === "landlock") return alone(null);
  const chosen = chooseBwrap(request, facts, draft.draft);
  if (!chosen.ok) {
    const failure = describe(chosen.error);
    return mayFallBack(request) && !failure.startsWith(DIGEST_MISMATCH)
      ? alone(failure)
      : chosen;
  }
  request.mark("bubblewrap");
  const plan = completePlan(
    draft.draft,
    chosen.value.launcher,
    chosen.value.ability,
  );
  if (!plan.ok) return fail({ kind: "plan", error: plan.error });
  if (request.teller !== null && !request.explains) {
    const opened = request.teller.open(request.policy, facts);
    if (!opened.ok) return opened;
  }
  return ok({
    kind: "sandbox",
    plan: plan.value,
    bwrap: chosen.value.file,
    innerWords: draft.innerWords(),
    facts,
    startedMs,
  });
}

/** A plan's first half, with what it was made from. */
interface Drafted {
  readonly facts: PathFacts & { readonly paths: FactMap };
  readonly draft: {
    readonly draft: Draft;
    readonly innerWords: () => readonly string[];
  };
}

/** Asks the host, with the rights of whoever the command will be. */
function draftFromHost(request: RunRequest): Result<Drafted, Failure> {
  const gathered = gatherFacts({
    policy: request.policy,
    own: ownPathsOf(request.codexHome, request.ownFiles),
    euid: request.euid,
    surroundings: {
      home: () => homeOf(request.callerEnvironment, request.uid),
      variable: (name) => variable(request.callerEnvironment, name),
    },
  });
  if (!gathered.ok) {
    return fail(globFailure(gathered.error, request.policy));
  }
  const searched = withRipgrep(request, gathered.value);
  if (!searched.ok) return searched;
  const facts = searched.value;
  request.mark("probe");
  const valid = validatePolicy(request.policy, facts);
  if (!valid.ok) return fail({ kind: "policy", error: valid.error });
  const draft = draftRun(request, facts);
  if (!draft.ok) return draft;
  const unusable = request.euid === 0
    ? unusableRoot(writableRoots(layoutOf(request.policy, facts)), facts)
    : null;
  if (unusable !== null) return launchFailure(unusable);
  const barred = request.user === null
    ? null
    : outOfReach(request, draft.value.draft);
  return barred === null ? ok({ facts, draft: draft.value }) : barred;
}

/** The facts, with what a trusted rg adds where the profile asks for it. */
function withRipgrep(
  { policy, callerEnvironment }: RunRequest,
  facts: Drafted["facts"],
): Result<Drafted["facts"], Failure> {
  if (policy.options.globBackend !== "ripgrep" || policy.globs.length === 0) {
    return ok(facts);
  }
  const { addRipgrep }: typeof import("./linux/ripgrep.ts") = require(
    "./linux/ripgrep.ts",
  );
  const path = variable(callerEnvironment, "PATH");
  const added = addRipgrep({ policy, facts, path });
  return added.ok ? added : fail({ kind: "request", message: added.error });
}

/** How much each glob hides now. */
function globCovers(policy: Policy, facts: PathFacts): SandboxPlan["globs"] {
  return policy.globs.map(({ pattern }) => {
    const matches = facts.globMatches.filter((it) => it.pattern === pattern);
    const directories = matches.filter(({ kind }) =>
      kind === "directory"
    ).length;
    return { pattern, directories, files: matches.length - directories };
  });
}

/** What root can use and `--user` can't, although the run needs it. Asked with that user's rights. */
function outOfReach(
  { policy, euid, backend }: RunRequest,
  { stage }: Draft,
): { readonly ok: false; readonly error: Failure } | null {
  const there = accessExecutable(policy.cwd);
  if (!there.ok) {
    return launchFailure(
      `Cannot run in ${toText(policy.cwd)} as uid ${euid} (--user): ${
        abi.errnoText(there.error.errno)
      }`,
    );
  }
  const isNeeded = stage.kind === "inner" && backend !== "landlock";
  const own = isNeeded ? ownExecutable() : null;
  if (own === null) return null;
  const readable = open(own, abi.O_RDONLY);
  if (readable.ok) close(readable.value);
  return readable.ok && accessExecutable(own).ok ? null : launchFailure(
    `Cannot run as uid ${euid} (--user): that user can't read and execute ${
      toText(own)
    }, which is started inside the sandbox (${stage.reason}); put it where everybody can, as in /usr/local/bin`,
  );
}

/** Loaded only with `--user`, or where root meets another's files: a start without either doesn't pay for it. */
function identity(): typeof import("./sys/identity.ts") {
  return require("./sys/identity.ts");
}

/** Does `work` as `user`, where one was named. */
function withRightsOf<T>(
  user: Identity | null,
  work: () => Result<T, Failure>,
): Result<T, Failure> {
  if (user === null) return work();
  const done = identity().asUser(user, work);
  return done.ok ? done.value : cannotBecome(user, done.error);
}

function cannotBecome(
  user: Identity,
  error: SysError,
): { readonly ok: false; readonly error: Failure } {
  return launchFailure(
    `Cannot become uid ${user.uid}, gid ${user.gid} (--user): ${error.call} says ${
      abi.errnoText(error.errno)
    }`,
  );
}

/**
 * Why a run as uid 0 could not work: without capabilities root is one user among others. `null` when nothing stands in the way.
 *
 * Owner and mode come from the facts; only where they say no is the kernel asked, which knows access lists and groups as well.
 */
function unusableRoot(
  roots: readonly MountPoint[],
  facts: PathFacts,
): string | null {
  for (const { path, node } of roots) {
    const fact = facts.paths.get(path);
    // What root owns it can open up; what everybody may write it may write too.
    if (fact === undefined || fact.uid === 0) continue;
    const isDirectory = fact.kind === "directory";
    const needed = isDirectory ? 0o003 : 0o002;
    if ((fact.mode & needed) === needed) continue;
    if (node === "missing" || (!isDirectory && fact.kind !== "file")) continue;
    const kind = isDirectory ? "directory" : "file";
    if (identity().canWriteWithoutCapabilities(path, kind)) continue;
    return `Cannot write ${
      toText(path)
    } as root, which has no capability in the sandbox: workspace belongs to uid ${fact.uid}: run as that user, or --user ${fact.uid}`;
  }
  return null;
}

/** Whoever names a way of bubblewrap's wants bubblewrap. */
function mayFallBack({ backend, launcher, stage }: RunRequest): boolean {
  return backend === "auto" && launcher === "auto" && stage === "auto";
}

/** Loaded on demand: a run under bubblewrap never pays for the second rung. */
function landlockRun(): typeof import("./landlock_run.ts") {
  return require("./landlock_run.ts");
}

/** Carries a plan out. @returns only on failure before the command started; later, where the network is served */
export function carryOut(
  request: RunRequest,
  prepared: Prepared,
  warn: (line: string) => void,
): Failure | Promise<Failure> {
  switch (prepared.kind) {
    case "direct": {
      const restored = restoreState(request.passFds, callerSoftLimit());
      if (!restored.ok) return { kind: "launch", error: restored.error };
      if (request.user !== null) {
        const become = identity().becomeUser(request.user);
        if (!become.ok) return cannotBecome(request.user, become.error).error;
      }
      const moved = chdir(request.policy.cwd);
      if (!moved.ok) {
        const why = abi.errnoText(moved.error.errno);
        return {
          kind: "request",
          message: `Cannot run in ${toText(request.policy.cwd)}: ${why}`,
        };
      }
      return executeCommand(request.command, request.environment);
    }
    case "landlock":
      reclaimFor(request);
      return landlockRun().launchLandlock(request, prepared.plan);
    case "sandbox": {
      const launch = launchOf(request, prepared);
      request.mark("launch");
      if (prepared.plan.abstractSockets?.reach === "closed") {
        const closed = closeAbstractSockets();
        if (!closed.ok) return { kind: "launch", error: closed.error };
      }
      if (prepared.plan.supervisor.length === 0) {
        keepForNextTime(request, launch);
        reclaimFor(request);
        return { kind: "launch", error: launchByExec(launch) };
      }
      const home = request.codexHome === null
        ? null
        : { codexHome: request.codexHome, euid: request.stateOwner };
      const atEnd = (): void => warnOfRepositories(request, prepared, warn);
      if (request.network !== null) {
        return serveRun(request, request.network, launch, home, atEnd);
      }
      const end = superviseRun(launch, home, prepared.plan.rules);
      if (!end.ok) return { kind: "launch", error: end.error };
      atEnd();
      return endRun(request, end.value);
    }
  }
}

/** A run with an event loop, all of it loaded on demand. */
async function serveRun(
  request: RunRequest,
  network: NetworkRequest,
  launch: Launch,
  home: SupervisorHome | null,
  atEnd: () => void,
): Promise<Failure> {
  const { prepareService } = require(
    "./egress/service.ts",
  ) as typeof import("./egress/service.ts");
  const { superviseServed } = require(
    "./linux/served_run.ts",
  ) as typeof import("./linux/served_run.ts");
  const service = prepareService(
    network,
    (line) => void writeAll(2, Buffer.from(`codex: ${line}\n`, "utf8")),
  );
  if (!service.ok) return launchFailure(service.error).error;
  const end = await superviseServed(
    launch,
    home,
    launch.plan.rules,
    service.value,
  );
  if (!end.ok) return { kind: "launch", error: end.error };
  atEnd();
  return endRun(request, end.value);
}

/** Tells the end where it was asked for, and ends like the run. */
function endRun({ teller }: RunRequest, end: RunEnd): never {
  teller?.tellEnd(end);
  return endLike(end);
}

/** What a command makes inside a writable directory is obeyed outside later: hooks and settings of a repository. */
function warnOfRepositories(
  { policy, euid, user }: RunRequest,
  { facts, startedMs }: Extract<Prepared, { kind: "sandbox" }>,
  warn: (line: string) => void,
): void {
  if (facts.repositories === undefined) return;
  const { appearedWarning } = require(
    "./host/search.ts",
  ) as typeof import("./host/search.ts");
  const line = withRightsOf(
    user,
    () => ok(appearedWarning(policy, facts, startedMs, euid)),
  );
  if (line.ok && line.value !== null) warn(line.value);
}

/** What dead runs left, by a run that needs no placeholder itself. */
function reclaimFor({ codexHome, stateOwner: euid }: RunRequest): void {
  if (codexHome !== null) reclaimIfAny({ codexHome, euid });
}

/** Leaves what this run found out for the next start of the same command, where it rests on nothing else. */
function keepForNextTime(request: RunRequest, launch: Launch): void {
  const place = missedStart();
  const seen = observations();
  const { codexHome, euid, policy, environmentPolicy } = request;
  if (
    place === null || seen === null || codexHome === null ||
    environmentPolicy === null || request.user !== null
  ) return;
  const { keepStart } = require(
    "./keep_start.ts",
  ) as typeof import("./keep_start.ts");
  keepStart({
    place,
    launch,
    observations: seen,
    environment: environmentPolicy,
    confinement: { network: policy.network, sandbox: "bubblewrap" },
    codexHome,
    euid,
  });
}

/** The flag that asks for somebody who stays with the run, `null` for none. */
export function limitNameOf(limits: RunLimits): string | null {
  if (limits.timeoutMs !== null) return "--timeout";
  if (limits.graceMs !== null) return "--grace";
  return limits.result !== null ? "--result-json" : null;
}

/** Standard streams that would be ways out, and descriptors that aren't there. */
function checkDescriptors(request: RunRequest): Result<void, Failure> {
  const refuse = (message: string): Result<void, Failure> =>
    fail({ kind: "launch", error: { kind: "launch", message } });
  for (const fd of [0, 1, 2]) {
    const what = wayOut(fd);
    if (what !== null) {
      return refuse(
        `Cannot pass ${what} as descriptor ${fd}: it would open the host's files to the command; redirect it`,
      );
    }
  }
  for (const fd of request.passFds) {
    const open = fileStatusFlags(fd);
    if (!open.ok || isOfRuntime(fd)) {
      return refuse(
        `Cannot pass descriptor ${fd} of --pass-fd: the caller has not opened it`,
      );
    }
    const what = wayOut(fd);
    if (what !== null) {
      return refuse(
        `Cannot pass descriptor ${fd} of --pass-fd: it is ${what}, which would open the host's files to the command`,
      );
    }
  }
  return ok(undefined);
}

/** What keeps files that were opened for reading from being written, or why nothing can: never without it. */
function cureStreams(
  request: RunRequest,
  layout: Layout,
): Result<StreamCures, Failure> {
  const fds = [0, 1, 2, ...request.passFds];
  const streams = readOnlyStreams(fds, request.euid);
  if (streams.length === 0) return ok(NO_CURES);
  const writable = writableRoots(layout).map(({ path }) => path);
  const exposed = streams.flatMap(({ fd, path }): ExposedStream[] => {
    if (path === null) return [{ fd, path, isBelowWritable: false }];
    if (mountOf(layout, path).state === "writable") return [];
    return [{ fd, path, isBelowWritable: liesBelow(path, writable) }];
  });
  if (exposed.length === 0) return ok(NO_CURES);
  const version = landlockVersion();
  const cures = curesOf(exposed, version.ok ? version.value : 0);
  return cures.ok ? cures : cannotPass(cures.error);
}

/** A stream without a cure. */
export function cannotPass(
  { fd, why }: StreamRefusal,
): { readonly ok: false; readonly error: Failure } {
  return launchFailure(
    `Cannot pass a file opened for reading as descriptor ${fd}: ${why}; pipe it in, as in "cat FILE | codex sandbox ..."`,
  );
}

/** What a descriptor is that would open the host's files; `null` for anything else, a closed one included. */
function wayOut(fd: number): string | null {
  const stat = fstat(fd);
  if (!stat.ok) return null;
  const type = stat.value.mode & abi.S_IFMT;
  if (type === abi.S_IFDIR) return "a directory";
  return type === abi.S_IFBLK ? "a block device" : null;
}

/**
 * Whether the runtime opened the descriptor: at its start it makes an event queue and an event counter and nothing that stays open
 * besides. It marks everything from 4 up close-on-exec, so that flag tells nothing. A caller's own counter is refused with them.
 */
export function isOfRuntime(fd: number): boolean {
  const target = readlink(`/proc/self/fd/${fd}` as ByteString);
  return !target.ok || target.value === "anon_inode:[eventpoll]" ||
    target.value === "anon_inode:[eventfd]";
}

function directPlan(request: RunRequest): DirectPlan {
  return {
    kind: "direct",
    profile: request.policy.name,
    cwd: request.policy.cwd,
    ...(request.user === null ? {} : { user: request.user }),
    environmentChanges: environmentChanges(request, []),
    passFds: request.passFds,
    command: request.command,
    warnings: request.warnings,
  };
}

/**
 * The first run makes the state folder before it looks: a folder that came afterwards would be seen inside. Where it can't be made
 * nothing is kept in it either.
 */
function makeStateFolder({ codexHome, stateOwner: euid }: RunRequest): void {
  if (codexHome === null || stat(stateFolderOf(codexHome)).ok) return;
  const made = openStateFolder(codexHome, [], { create: true, euid });
  if (made.ok) close(made.value);
}

function draftRun(
  request: RunRequest,
  facts: PathFacts & { readonly paths: FactMap },
): Result<
  { readonly draft: Draft; readonly innerWords: () => readonly string[] },
  Failure
> {
  const { policy } = request;
  const layout = layoutOf(policy, facts);
  const shows = (path: AbsPath): boolean => {
    if (
      isInside(path, { root: "/proc" as AbsPath }) ||
      isInside(path, { root: "/dev" as AbsPath })
    ) return false;
    const { state } = mountOf(layout, path);
    return state === "read_only" || state === "writable";
  };
  const candidates = lookUpCommand(facts.paths, {
    name: request.command[0],
    cwd: policy.cwd,
    path: variable(request.environment, "PATH"),
    euid: request.euid,
  });
  const verdict = judgeCommand(candidates, {
    shows,
    runs: canRun,
    machine: hostArch() === "x64" ? 62 : 183,
  });
  const refused = refusalOf(request.command[0], verdict);
  if (refused !== null) return fail(refused);
  const cures = unobserved(() => cureStreams(request, layout));
  if (!cures.ok) return cures;
  const log = request.network?.kind === "managed" ? request.network.log : null;
  if (log !== null && mountOf(layout, log).state === "writable") {
    return launchFailure(
      `Cannot write the network log ${
        toText(log)
      }: the sandbox could write it too; name a file outside of its writable places`,
    );
  }
  let inner: InnerStart | null = null;
  const mountPoints = layout.mountPoints.filter(({ node, path }) =>
    node !== "missing" || canMakeBelow(parentOf(path), request.euid)
  );
  const start = startPlace(request, facts, shows);
  const draft = draftPlan({
    policy,
    mountPoints,
    links: layout.links,
    repositories: facts.repositories ?? null,
    factAt: (path) => facts.paths.get(path) ?? absent(path),
    exists: (path) => stat(path).ok,
    possiblePlaceholders: possiblePlaceholders(mountPoints, facts),
    root: request.euid === 0,
    arch: hostArch() === "x64" ? "x86_64" : "arm64",
    command: request.command,
    verdict,
    forcedStage: request.stage,
    outlivesCaller: request.outlivesCaller,
    rules: {
      timeoutMs: request.limits.timeoutMs,
      graceMs: request.limits.graceMs,
      terminal: [0, 1, 2].some(isTerminal),
    },
    tellsResult: request.teller !== null,
    proc: request.proc,
    chdir: start.chdir,
    passFds: request.passFds,
    guardedFds: cures.value.guarded,
    reboundFds: cures.value.rebound,
    landlock: () => {
      const version = landlockVersion();
      return version.ok ? version : fail(abi.errnoText(version.error.errno));
    },
    environmentChanges: environmentChanges(
      request,
      request.explains ? request.environment.filter(isLoaderEntry) : [],
    ),
    softNofile: callerSoftLimit(),
    user: request.user,
    own: () => (inner ??= innerStart(shows)).own,
    globs: request.explains ? globCovers(policy, facts) : [],
    ...(request.explains && request.network !== null
      ? { served: networkRequests().describeNetwork(request.network) }
      : {}),
    warnings: [
      ...start.warnings,
      ...request.warnings,
      ...policyWarnings(policy, facts),
    ],
  });
  if (!draft.ok) return fail({ kind: "plan", error: draft.error });
  return ok({
    draft: draft.value,
    // A plan of many mounts may get its inner stage only once its bwrap is known.
    innerWords: () => inner === null ? [] : (inner as InnerStart).words,
  });
}

/** Directories that every view has as its own. */
const OWN_DIRECTORIES: readonly string[] = [
  "/proc",
  "/dev",
  "/dev/shm",
  "/dev/pts",
];

interface StartPlace {
  readonly chdir: AbsPath;
  readonly warnings: readonly string[];
}

/** The command's directory, canonical. Where the view doesn't show it: the home, or `/`, and a line that says so. */
function startPlace(
  request: RunRequest,
  facts: Pick<PathFacts, "paths">,
  shows: (path: AbsPath) => boolean,
): StartPlace {
  const wanted = request.chdir ?? request.policy.cwd;
  const led = request.chdir === null ? follow(facts, wanted) : null;
  const place = request.chdir ?? (led?.exists ? led.resolved : null);
  if (place !== null && (shows(place) || OWN_DIRECTORIES.includes(place))) {
    return { chdir: place, warnings: [] };
  }
  const chdir = shownHome(request, shows) ?? ROOT;
  const warning = `profile ${request.policy.name} does not show ${
    toText(wanted)
  }: the command starts in ${toText(chdir)}`;
  return { chdir, warnings: [warning] };
}

function shownHome(
  request: RunRequest,
  shows: (path: AbsPath) => boolean,
): AbsPath | null {
  const home = toAbsPath(variable(request.environment, "HOME") ?? "");
  if (home === null) return null;
  const fd = open(home, abi.O_PATH | O_DIRECTORY);
  if (!fd.ok) return null;
  const real = readlink(`/proc/self/fd/${fd.value}` as ByteString);
  close(fd.value);
  const path = real.ok ? toAbsPath(real.value) : null;
  return path !== null && shows(path) && accessExecutable(path).ok
    ? path
    : null;
}

function absent(path: AbsPath): never {
  throw new Error(`no fact about ${path}`);
}

function refusalOf(name: ByteString, verdict: CommandVerdict): Failure | null {
  switch (verdict.kind) {
    case "not_found":
      return { kind: "command_not_found", name };
    case "not_executable":
      return {
        kind: "command_not_executable",
        name,
        why: `${toText(verdict.path)}: ${verdict.why}`,
      };
    default:
      return null;
  }
}

/**
 * Empty files and directories that the plan mounts on in a writable place. Each may be the placeholder of another run, which removes
 * it at its end unless somebody else holds its lock, and our mount would go with it: so their locks are taken as well.
 */
function possiblePlaceholders(
  points: readonly MountPoint[],
  facts: PathFacts,
): Placeholder[] {
  const states = new Map(points.map(({ path, state }) => [path, state]));
  return points.flatMap(
    ({ path, state, node, parent, decider }): Placeholder[] => {
      if (state === "writable" || node === "missing" || parent === null) {
        return [];
      }
      const fact = facts.paths.get(path);
      if (states.get(parent) !== "writable" || fact === undefined) return [];
      // Daemons' own: no run ever made one.
      if (decider.kind === "socket") return [];
      // More than two links means subdirectories on most file systems: not empty, and no need to look.
      const mayBe = node === "directory"
        ? fact.linkCount <= 2
        : fact.kind === "file" && fact.sizeBytes === 0;
      return mayBe && isEmptyAndOpen(path, node) ? [{ path, node }] : [];
    },
  );
}

/**
 * Whether a run can make a name in `folder`. Where its user neither may nor owns the folder, so that it could open it up, the name
 * needs no placeholder: nobody in the sandbox has more rights than the caller.
 */
function canMakeBelow(folder: AbsPath, euid: number): boolean {
  if (euid === 0) return true;
  const fact = stat(folder);
  return !fact.ok || fact.value.uid === euid || accessWritable(folder).ok;
}

/** Whether it can be opened for reading, as every placeholder can, and has nothing in it. */
function isEmptyAndOpen(path: AbsPath, node: "directory" | "file"): boolean {
  const flags = abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK;
  const fd = open(path, node === "directory" ? flags | O_DIRECTORY : flags);
  // Gone meanwhile: it was another run's, which has ended. It is made again.
  if (!fd.ok) return fd.error.errno === abi.ENOENT;
  const names = node === "directory" ? readDirectory(fd.value) : ok([]);
  close(fd.value);
  // A directory that goes between the two calls has no names to give (ENOENT): it is made again, too.
  return names.ok ? names.value.length === 0 : names.error.errno === abi.ENOENT;
}

/** A bwrap that may be run, can do what the plan needs, and works here. */
interface Chosen {
  readonly file: BwrapFile;
  readonly launcher: Launcher;
  readonly ability: BwrapAbility;
}

function chooseBwrap(
  request: RunRequest,
  facts: PathFacts & { readonly paths: FactMap },
  draft: Draft,
): Result<Chosen, Failure> {
  const cache = request.codexHome === null ? null : {
    codexHome: request.codexHome,
    euid: request.stateOwner,
  };
  const reasons: string[] = [];
  if (draft.size !== null && request.launcher === "auto") {
    const linear = linearBwrap(draft.size, cache, request.user);
    if (linear !== null) return ok(linear);
  }
  if (request.launcher !== "bundled") {
    const system = systemBwrap(request, facts, draft, cache, reasons);
    if (system !== null) return system;
    if (request.launcher === "system") {
      return launchFailure(
        `Cannot use a system bubblewrap: ${reasons.join("; ")}${
          draft.size === null ? "" : "; leave --launcher system out"
        }`,
      );
    }
  }
  const bundled = unobserved(loadBundledBwrap);
  if (!bundled.ok) {
    const why = reasons.length === 0 ? "" : ` (${reasons.join("; ")})`;
    return launchFailure(`${bundled.error.message}${why}`);
  }
  const ability = abilityOf(bundled.value.file, cache, request.user);
  if (!ability.ok) {
    return launchFailure(
      `Cannot start the bundled bubblewrap: ${ability.error.call} says ${
        abi.errnoText(ability.error.errno)
      }`,
    );
  }
  if (ability.value.trial.kind === "fails") {
    return launchFailure(
      explainRefusal(namespaceFacts(request.euid), ability.value.trial.stderr),
    );
  }
  const unfit = unfitOf(draft.size, ability.value);
  if (unfit !== null) {
    return launchFailure(
      `Cannot use the bundled bubblewrap: it ${unfit}; deny directories instead of their files${
        reasons.length === 0 ? "" : ` (${reasons.join("; ")})`
      }`,
    );
  }
  const reason = request.launcher === "bundled"
    ? "--launcher bundled"
    : reasons.join("; ");
  return ok(asChosen(bundled.value, ability.value, reason));
}

function asChosen(
  { file, version, sha256 }: BundledBwrap,
  ability: BwrapAbility,
  reason: string,
): Chosen {
  return {
    file,
    launcher: { kind: "bundled", version, sha256, reason },
    ability,
  };
}

/** Loaded by the plans that need it. */
function many(): typeof import("./linux/many_mounts.ts") {
  return require("./linux/many_mounts.ts");
}

function unfitOf(size: PlanSize | null, ability: BwrapAbility): string | null {
  return size === null
    ? null
    : many().unfitFor(size, ability, hasMountSetattr());
}

/** The bundled bwrap, where it works here and its time does not grow with the square of the plan's many mounts. */
function linearBwrap(
  size: PlanSize,
  cache: { readonly codexHome: AbsPath; readonly euid: number } | null,
  user: Identity | null,
): Chosen | null {
  const bundled = unobserved(loadBundledBwrap);
  if (!bundled.ok) return null;
  const ability = abilityOf(bundled.value.file, cache, user);
  if (!ability.ok || ability.value.trial.kind === "fails") return null;
  if (
    !many().isLinear(ability.value, hasMountSetattr()) ||
    unfitOf(size, ability.value) !== null
  ) return null;
  return asChosen(
    bundled.value,
    ability.value,
    `${size.binds} binds: the system's time would grow with their square`,
  );
}

/** @returns `null` to go on with the bundled one; `reasons` then says why */
function systemBwrap(
  request: RunRequest,
  facts: PathFacts & { readonly paths: FactMap },
  draft: Draft,
  cache: { readonly codexHome: AbsPath; readonly euid: number } | null,
  reasons: string[],
): Result<Chosen, Failure> | null {
  for (
    const candidate of bwrapCandidates(
      variable(request.callerEnvironment, "PATH"),
    )
  ) {
    // Most places of PATH have none: one call instead of a walk.
    if (!stat(candidate).ok) continue;
    probePath(facts.paths, candidate);
    const trust = judgeBwrap(facts, candidate, {
      cwd: request.policy.cwd,
      workspaceRoots: request.policy.workspaceRoots,
      writableRoots: writableRoots(layoutOf(request.policy, facts)).map((
        { path },
      ) => path),
    });
    if (trust.kind === "absent") continue;
    if (trust.kind === "untrusted") {
      reasons.push(
        `${toText(candidate)} is not trusted: ${
          toText(trust.why as ByteString)
        }`,
      );
      continue;
    }
    const identity = stat(trust.path);
    if (!identity.ok) continue;
    const { device, inode, ctimeSeconds, ctimeNanoseconds } = identity.value;
    const file: BwrapFile = {
      path: trust.path,
      identity: `${device}:${inode}:${ctimeSeconds}.${ctimeNanoseconds}`,
    };
    const ability = abilityOf(file, cache, request.user);
    if (!ability.ok) {
      reasons.push(
        `${trust.path} can't be started: ${abi.errnoText(ability.error.errno)}`,
      );
      continue;
    }
    const missing = draft.needed.filter((option) =>
      !hasOption(ability.value, option)
    );
    const isSilent = ability.value.options.length === 0 &&
      ability.value.trial.kind === "fails";
    if (missing.length > 0 && !isSilent) {
      reasons.push(`${trust.path} lacks ${missing.join(", ")}`);
      continue;
    }
    const unfit = unfitOf(draft.size, ability.value);
    if (unfit !== null) {
      const reason = `${trust.path} ${unfit}`;
      // One file may be found by several names.
      if (!reasons.includes(reason)) reasons.push(reason);
      continue;
    }
    if (ability.value.trial.kind === "fails") {
      reasons.push(
        `${trust.path} does not work here: ${
          explainRefusal(
            namespaceFacts(request.euid),
            ability.value.trial.stderr,
          )
        }`,
      );
      continue;
    }
    const reason = request.launcher === "system"
      ? "--launcher system"
      : "trusted, with every option that the plan needs";
    return ok({
      file,
      launcher: {
        kind: "system",
        path: trust.path,
        version: ability.value.version,
        reason,
      },
      ability: ability.value,
    });
  }
  if (reasons.length === 0) reasons.push("no bwrap on PATH");
  return null;
}

function launchFailure(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "launch", error: { kind: "launch", message } });
}

function launchOf(
  request: RunRequest,
  prepared: Extract<Prepared, { kind: "sandbox" }>,
): Launch {
  const { plan, bwrap } = prepared;
  const filter = assembledFilter(plan.filter);
  const softNofile = callerSoftLimit();
  if (plan.stage.kind === "one_start") {
    return {
      plan,
      bwrap,
      environment: request.environment.filter((entry) => !isLoaderEntry(entry)),
      lateEnvironment: request.environment.filter((entry) =>
        isLoaderEntry(entry) && entry.includes("=")
      ),
      filter,
      command: request.command,
      innerOrders: null,
      softNofile,
      listenPorts: [],
      reportsFailures: false,
    };
  }
  const ports = request.network === null
    ? []
    : networkRequests().listenPorts(request.network);
  const orders: InnerOrders = {
    command: request.command,
    environment: request.network === null
      ? request.environment
      : networkRequests().asStarted(
        request.environment,
        prepared.innerWords,
      ),
    filter: null,
    softNofile,
    passFds: request.passFds,
    writeGuard: plan.guardedFds.length === 0 ? null : {
      places: writablePlaces(plan.mounts),
      fds: [0, 1, 2, ...request.passFds],
    },
    reboundFds: plan.reboundFds,
    traceDomain: plan.traceDomain,
    listenPorts: ports,
  };
  return {
    plan,
    bwrap,
    environment: [],
    lateEnvironment: [],
    filter,
    command: [
      ...prepared.innerWords,
      "--inner-stage",
      INNER_FD,
      ...(request.teller !== null
        ? [ports.length === 0 ? "-1" : CHANNEL_FD, REPORT_FD]
        : ports.length === 0
        ? []
        : [CHANNEL_FD]),
    ],
    innerOrders: JSON.stringify(orders),
    softNofile,
    listenPorts: ports,
    reportsFailures: request.teller !== null,
  };
}

/** Loaded on demand: only a proxied run listens. */
function networkRequests(): typeof import("./egress/network_request.ts") {
  return require("./egress/network_request.ts");
}

/** Names of variables that differ from the caller's; values are nobody's business. */
function environmentChanges(
  request: RunRequest,
  late: readonly ByteString[],
): EnvironmentChange[] {
  if (!request.explains) return [];
  const before = new Set(request.callerEnvironment);
  const after = new Set(request.environment);
  const names = (entries: Iterable<string>): Set<string> =>
    new Set([...entries].map((entry) => entry.split("=", 1)[0] ?? ""));
  const set = names(
    [...after].filter((entry) => !before.has(entry as ByteString)),
  );
  const kept = names(after);
  const changes: EnvironmentChange[] = [];
  for (const name of set) {
    changes.push({ name: toText(name as ByteString), change: "set" });
  }
  for (const name of names(before)) {
    if (!kept.has(name)) {
      changes.push({ name: toText(name as ByteString), change: "removed" });
    }
  }
  for (const name of names(late)) {
    changes.push({
      name: toText(name as ByteString),
      change: "kept from all but the command",
    });
  }
  return changes.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/** What `--explain` and the tests see of a prepared run. */
export function planOf(prepared: Prepared): Plan {
  return prepared.plan;
}
