/**
 * From options and surroundings to one run's request: config files or wire formats become a policy and an environment.
 *
 * The wiring of the rooms `cli`, `config` and `policy`. Effects: reads config files, looks at the working directory.
 *
 * @module
 */
import type { RunRequest } from "./request.ts";
import { type ByteString, fromText, toText } from "../bytes.ts";
import { type HelperOptions } from "../cli/helper_options.ts";
import { NO_LIMITS } from "../cli/run_limits.ts";
import {
  type SandboxOptions,
  type UserChoice,
} from "../cli/sandbox_options.ts";
import {
  type ConfigRequest,
  type EnvironmentPolicy,
  type LoadedConfig,
  type RunConfig,
} from "../config/config.ts";
import { commandEnvironment } from "../config/environment.ts";
import { CONFIG_HOST } from "../config/host_files.ts";
import { loadConfig } from "../config/load.ts";
import { ownFilesOf, selectRun } from "../config/run.ts";
import type { Failure } from "../failure.ts";
import { homeOf, type Origin, primaryGroup, variable } from "../host/origin.ts";
import type { ServedNetwork } from "./network_requests.ts";
import {
  type AbsPath,
  childOf,
  resolvePath,
  toAbsPath,
} from "../policy/path.ts";
import {
  DEFAULT_POLICY_OPTIONS,
  type NetworkMode,
  type PermissionProfile,
  type Policy,
} from "../policy/policy.ts";
import { resolvePolicy } from "../policy/resolve.ts";
import { parseProfile } from "../policy/wire.ts";
import { profileFromSplit } from "../policy/wire_split.ts";
import { adjustProfile, parseSandboxState } from "../policy/wire_state.ts";
import { fail, ok, type Result, unreachable } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { stat } from "../sys/calls.ts";
import type { Identity } from "../sys/identity.ts";

/** The request of `codex sandbox`. */
export function sandboxRequest(
  options: SandboxOptions,
  origin: Origin,
  teller: RunRequest["teller"],
  mark: RunRequest["mark"],
): Result<RunRequest, Failure> {
  const { policy: choice } = options;
  const named = choice.kind === "named" ? choice : null;
  const cwd = workingDirectory(origin, named?.cd ?? null);
  if (!cwd.ok) return cwd;
  const asked: ConfigRequest = {
    overrides: options.config.overrides,
    features: options.config.features,
    configProfile: options.config.configProfile,
    permissionProfile: named?.profile ?? null,
    legacyMode: choice.kind === "configured" ? choice.legacyMode : "read_only",
    requirements: named?.requirements ?? "all",
  };
  const loaded = loadConfig(asked, {
    cwd: cwd.value,
    environment: origin.environment,
    uid: origin.uid,
  });
  if (!loaded.ok) return fail({ kind: "config", error: loaded.error });
  const run = selectRun(loaded.value, asked, CONFIG_HOST.realPath);
  if (!run.ok) return fail({ kind: "config", error: run.error });
  const chosen = choice.kind === "state"
    ? stateRun(choice, run.value, origin)
    : ok({
      policy: run.value.policy,
      warnings: run.value.warnings,
      usesLandlock: run.value.features.useLegacyLandlock,
    });
  if (!chosen.ok) return chosen;
  const isLegacy = options.backend === "auto" && chosen.value.usesLandlock;
  const checked = checkBackEnd(chosen.value.policy, isLegacy);
  if (!checked.ok) return checked;
  const served = networkOf(options, run.value, chosen.value.policy, origin);
  if (!served.ok) return served;
  const user = options.user === null
    ? ok(null)
    : commandUser(options.user, origin);
  if (!user.ok) return user;
  return ok({
    ...surroundings(
      origin,
      loaded.value,
      run.value.environment,
      chosen.value.policy,
    ),
    ...(user.value === null ? {} : { euid: user.value.uid }),
    user: user.value,
    ...(served.value ?? { network: null }),
    marksSandbox: true,
    command: options.command,
    backend: backEndOf(options.backend, isLegacy, chosen.value.policy),
    givenUp: options.givenUp,
    launcher: options.launcher,
    stage: options.stage,
    outlivesCaller: options.lifetime === "outlives_caller",
    limits: options.limits,
    teller,
    passFds: options.passedFds,
    warnings: chosen.value.warnings,
    explains: options.action !== "run",
    proc: "fresh",
    chdir: null,
    mark,
  });
}

/**
 * Whom the command runs as: `null` when that is whoever calls. Without a group it is the one that `/etc/passwd` gives the user, else
 * the one with his number. Config files are read as root, HOME and the rest of the environment stay as they are.
 */
function commandUser(
  { uid, gid }: UserChoice,
  origin: Origin,
): Result<Identity | null, Failure> {
  const isSelf = uid === origin.euid && (gid === null || gid === origin.egid);
  if (isSelf) return ok(null);
  if (origin.euid !== 0) {
    return wrong(
      `Cannot use --user ${uid}: only root can become another user, and this is uid ${origin.euid}; leave it out`,
    );
  }
  return ok({ uid, gid: gid ?? primaryGroup(uid) ?? uid });
}

/** The network of a run that is proxied, and the environment beside it; `null` for any other. */
function networkOf(
  { network: reporting }: SandboxOptions,
  run: RunConfig,
  policy: Policy,
  origin: Origin,
): Result<ServedNetwork | null, Failure> {
  if (policy.network !== "proxied") {
    if (reporting.log === null) return ok(null);
    return wrong(
      `Cannot use --network-log: profile ${policy.name} has no managed network, which network.domains or network.managed = true would give it`,
    );
  }
  const served = networkRequests().managedNetwork(
    run,
    reporting,
    origin,
    environmentOf(origin, run.environment, policy),
  );
  return served.ok ? served : wrong(served.error);
}

/** Loaded on demand: most runs have no proxy. */
function networkRequests(): typeof import("./network_requests.ts") {
  return require("./network_requests.ts");
}

/** The request of the helper's outer stage. No config file is read: the caller has decided. */
export function helperRequest(
  options: HelperOptions,
  origin: Origin,
  mark: RunRequest["mark"],
): Result<RunRequest, Failure> {
  const resolved = helperPolicy(options, origin);
  if (!resolved.ok) return resolved;
  const { policy, warnings } = resolved.value;
  const isLegacy = options.enforcement === "legacy_landlock";
  const refusal = backEndRefusal(policy, isLegacy);
  if (refusal !== null) {
    // Each generation of callers matches its own words.
    return options.policy.kind === "profile" ? wrong(refusal) : wrong(
      refusal.replace("permission profiles", "split sandbox policies"),
    );
  }
  const { proxy } = options;
  const served = proxy.kind === "none" || policy.network !== "proxied"
    ? ok(null)
    : networkRequests().callersNetwork(proxy, origin.environment);
  if (!served.ok) return wrong(served.error);
  const home = homeOf(origin.environment, origin.uid);
  return ok({
    policy,
    callerEnvironment: origin.environment,
    // What the caller passes is the command's environment already.
    environment: served.value?.environment ?? origin.environment,
    network: served.value?.network ?? null,
    environmentPolicy: null,
    codexHome: helperHome(origin, home),
    ownFiles: [],
    uid: origin.uid,
    euid: origin.euid,
    stateOwner: origin.euid,
    user: null,
    marksSandbox: false,
    command: options.command,
    backend: backEndOf("auto", isLegacy, policy),
    givenUp: [],
    launcher: "auto",
    stage: "auto",
    outlivesCaller: false,
    limits: NO_LIMITS,
    teller: null,
    passFds: [],
    warnings,
    explains: false,
    proc: options.proc,
    chdir: helperDirectory(options.commandCwd, origin),
    mark,
  });
}

/** The policy that the helper's flags carry. */
export function helperPolicy(
  options: HelperOptions,
  origin: Origin,
): Result<
  { readonly policy: Policy; readonly warnings: readonly string[] },
  Failure
> {
  const base = origin.cwd ?? "/" as AbsPath;
  const cwd = resolvePath(base, options.policyCwd);
  if (cwd === null) {
    return wrong(
      `Cannot use --sandbox-policy-cwd ${
        toText(options.policyCwd)
      }: it holds a NUL`,
    );
  }
  const profile = helperProfile(options, cwd);
  if (!profile.ok) return profile;
  const name = "--permission-profile";
  // As in the reference: Landlock has no way out to offer, so there the network is none.
  if (options.proxy.kind === "none") {
    return wirePolicy(profile.value, name, cwd, origin);
  }
  const network = options.enforcement === "bubblewrap" ? "proxied" : "none";
  // The namespace is what the caller asked for, also where files are not to be confined.
  const confined: PermissionProfile = profile.value.kind === "disabled"
    ? { kind: "external", network: "restricted" }
    : profile.value;
  return wirePolicy(confined, name, cwd, origin, network);
}

function helperProfile(
  options: HelperOptions,
  cwd: AbsPath,
): Result<PermissionProfile, Failure> {
  const { policy } = options;
  switch (policy.kind) {
    case "profile": {
      const parsed = parseProfile(
        fromText(policy.json),
        "--permission-profile",
      );
      return parsed.ok ? parsed : usage(
        `invalid value for '--permission-profile': ${parsed.error.message}`,
      );
    }
    case "legacy":
    case "split": {
      const isSplit = policy.kind === "split";
      const legacy = isSplit ? policy.legacyJson : policy.json;
      const parsed = profileFromSplit({
        sandboxPolicy: legacy === null ? null : fromText(legacy),
        fileSystemPolicy: isSplit ? fromText(policy.fileSystemJson) : null,
        networkPolicy: isSplit ? fromText(policy.networkJson) : null,
      }, cwd);
      if (parsed.ok) return parsed;
      return parsed.error.kind === "usage"
        ? usage(parsed.error.message)
        : wrong(parsed.error.message);
    }
    default:
      return unreachable(policy);
  }
}

/** Where the helper's command starts: only a directory that is spelled through links is entered, by its real path. */
function helperDirectory(
  commandCwd: ByteString | null,
  origin: Origin,
): AbsPath | null {
  if (commandCwd === null) return origin.cwd;
  const spelled = resolvePath(origin.cwd ?? "/" as AbsPath, commandCwd);
  const real = spelled === null ? null : CONFIG_HOST.realPath(spelled);
  return real !== null && real !== commandCwd ? real : origin.cwd;
}

/** `$CODEX_HOME` of the helper: nothing is refused over it, it only serves caches and records. */
function helperHome(origin: Origin, home: AbsPath | null): AbsPath | null {
  const set = variable(origin.environment, "CODEX_HOME");
  if (set !== null && set !== "") return toAbsPath(set);
  return home === null ? null : childOf(home, ".codex");
}

/** A profile off the wire, with the symbols that the caller's surroundings give it. */
function wirePolicy(
  profile: PermissionProfile,
  name: string,
  cwd: AbsPath,
  origin: Origin,
  network: NetworkMode =
    profile.kind === "disabled" || profile.network === "enabled"
      ? "host"
      : "none",
): Result<
  { readonly policy: Policy; readonly warnings: readonly string[] },
  Failure
> {
  const resolved = resolvePolicy(profile, {
    name,
    cwd,
    workspaceRoots: [cwd],
    home: homeOf(origin.environment, origin.uid),
    tmpdir: variable(origin.environment, "TMPDIR"),
    network,
    options: DEFAULT_POLICY_OPTIONS,
  });
  if (!resolved.ok) return fail({ kind: "policy", error: resolved.error });
  const warnings = resolved.value.warnings.map(({ message }) => message);
  return ok({ policy: resolved.value.policy, warnings });
}

/** `--sandbox-state-json`: the state decides about permissions, config files only about the environment. */
function stateRun(
  choice: Extract<SandboxOptions["policy"], { kind: "state" }>,
  run: RunConfig,
  origin: Origin,
): Result<
  {
    readonly policy: Policy;
    readonly warnings: readonly string[];
    readonly usesLandlock: boolean;
  },
  Failure
> {
  const state = parseSandboxState(fromText(choice.json));
  if (!state.ok) return wrong(state.error.message);
  const own = CONFIG_HOST.realPath("/proc/self/exe" as AbsPath);
  const { helper } = state.value;
  if (helper !== null && CONFIG_HOST.realPath(helper) !== own) {
    return wrong(
      `Cannot use codexLinuxSandboxExe ${
        toText(helper)
      } of --sandbox-state-json: this executable is its own helper; leave it out`,
    );
  }
  const directory = isDirectory(state.value.cwd);
  if (!directory.ok) return directory;
  const readableRoots: AbsPath[] = [];
  for (const root of choice.readableRoots) {
    const path = resolvePath(origin.cwd ?? "/" as AbsPath, root);
    if (path === null) {
      return wrong(
        `Cannot use --sandbox-state-readable-root ${
          toText(root)
        }: it holds a NUL`,
      );
    }
    readableRoots.push(path);
  }
  const tmpdir = variable(origin.environment, "TMPDIR");
  const profile = adjustProfile(
    state.value,
    { readableRoots, disableNetwork: choice.network === "restricted" },
    tmpdir === null ? null : toAbsPath(tmpdir),
  );
  if (!profile.ok) return wrong(profile.error.message);
  const resolved = wirePolicy(
    profile.value,
    "--sandbox-state-json",
    state.value.cwd,
    origin,
  );
  if (!resolved.ok) return resolved;
  return ok({
    policy: resolved.value.policy,
    warnings: [...run.warnings, ...resolved.value.warnings],
    usesLandlock: state.value.useLegacyLandlock,
  });
}

/** What this version can't enforce is refused by name; a weaker sandbox is never chosen instead. */
function checkBackEnd(
  policy: Policy,
  usesLandlock: boolean,
): Result<void, Failure> {
  const refusal = backEndRefusal(policy, usesLandlock);
  return refusal === null ? ok(undefined) : wrong(refusal);
}

/** What a run of this version would refuse `policy` with, `null` when it wouldn't. */
export function backEndRefusal(
  policy: Policy,
  usesLandlock: boolean,
): string | null {
  if (policy.network === "proxied" && !policy.options.loopback) {
    return `Cannot honour loopback = false of profile ${policy.name}: the command reaches the managed network over its own loopback; leave one of both out`;
  }
  if (usesLandlock && legacyLandlock(policy) === "refused") {
    return "filesystem-restricted execution requires bubblewrap: permission profiles requiring direct runtime enforcement are incompatible with --use-legacy-landlock; leave use_legacy_landlock out";
  }
  return null;
}

/** The flag of old chooses Landlock where its rule of equality holds. */
function backEndOf(
  chosen: RunRequest["backend"],
  isLegacy: boolean,
  policy: Policy,
): RunRequest["backend"] {
  return isLegacy && legacyLandlock(policy) === "honoured"
    ? "landlock"
    : chosen;
}

/** Loaded on demand: hardly anybody sets the flag. */
function legacyLandlock(
  policy: Policy,
): ReturnType<typeof import("../policy/legacy_landlock.ts").legacyLandlock> {
  const module: typeof import("../policy/legacy_landlock.ts") = require(
    "../policy/legacy_landlock.ts",
  );
  return module.legacyLandlock(policy);
}

/** What is the same for every run of ours. */
function surroundings(
  origin: Origin,
  loaded: LoadedConfig,
  environment: EnvironmentPolicy,
  policy: Policy,
): Pick<
  RunRequest,
  | "policy"
  | "callerEnvironment"
  | "environment"
  | "environmentPolicy"
  | "codexHome"
  | "ownFiles"
  | "uid"
  | "euid"
  | "stateOwner"
> {
  return {
    policy,
    callerEnvironment: origin.environment,
    environment: environmentOf(origin, environment, policy),
    environmentPolicy: environment,
    codexHome: loaded.codexHome,
    ownFiles: ownFilesOf(loaded),
    uid: origin.uid,
    euid: origin.euid,
    stateOwner: origin.euid,
  };
}

function environmentOf(
  origin: Origin,
  environment: EnvironmentPolicy,
  policy: Policy,
): readonly ByteString[] {
  return commandEnvironment(environment, origin.environment, {
    network: policy.network,
    sandbox: policy.enforcement === "disabled" ? null : "bubblewrap",
  });
}

/** `-C`, or where we are. Literal: the real place is the planner's matter. */
function workingDirectory(
  origin: Origin,
  cd: ByteString | null,
): Result<AbsPath, Failure> {
  if (cd === null) {
    if (origin.cwd !== null) return ok(origin.cwd);
    return wrong(
      "Cannot run here: the working directory was removed or is outside the root; go to another or use -C DIR",
    );
  }
  if (cd === "") {
    // Out of a variable that is not set: the directory that we are in is not what was meant to be opened.
    return wrong('Cannot use -C "": the name is empty');
  }
  const path = cd.startsWith("/")
    ? toAbsPath(cd)
    : origin.cwd === null
    ? null
    : resolvePath(origin.cwd, cd);
  if (path === null) {
    return wrong(`Cannot use -C ${toText(cd)}: it is no path from here`);
  }
  const directory = isDirectory(path);
  return directory.ok ? ok(path) : directory;
}

function isDirectory(path: AbsPath): Result<void, Failure> {
  const there = stat(path);
  if (!there.ok) {
    return wrong(
      `Cannot run in ${toText(path)}: ${abi.errnoText(there.error.errno)}`,
    );
  }
  if ((there.value.mode & abi.S_IFMT) === abi.S_IFDIR) return ok(undefined);
  return wrong(`Cannot run in ${toText(path)}: ${abi.errnoText(abi.ENOTDIR)}`);
}

function wrong(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "request", message });
}

function usage(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "usage", error: { kind: "usage", message } });
}
