/**
 * The request of the helper, whose caller has decided: no config file is read.
 *
 * Effects: follows the links of the command's directory.
 *
 * @module
 */
import { type ByteString, fromText, toText } from "../bytes.ts";
import type { HelperOptions } from "../cli/helper_options.ts";
import { NO_LIMITS } from "../cli/run_limits.ts";
import { CONFIG_HOST } from "../config/host_files.ts";
import { type Failure, requestFailure } from "../failure.ts";
import { homeOf, type Origin, variable } from "../host/origin.ts";
import {
  type AbsPath,
  childOf,
  resolvePath,
  toAbsPath,
} from "../policy/path.ts";
import type { PermissionProfile, Policy } from "../policy/policy.ts";
import { parseProfile } from "../policy/wire.ts";
import { profileFromSplit } from "../policy/wire_split.ts";
import { fail, ok, type Result, unreachable } from "../result.ts";
import { backEndOf, backEndRefusal } from "./back_end.ts";
import { networkRequests } from "./on_demand.ts";
import type { RunRequest } from "./request.ts";
import { wirePolicy } from "./wire_policy.ts";

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
    return options.policy.kind === "profile"
      ? requestFailure(refusal)
      : requestFailure(
        refusal.replace("permission profiles", "split sandbox policies"),
      );
  }
  const { proxy } = options;
  const served = proxy.kind === "none" || policy.network !== "proxied"
    ? ok(null)
    : networkRequests().callersNetwork(proxy, origin.environment);
  if (!served.ok) return requestFailure(served.error);
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
    return requestFailure(
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
      return parsed.ok ? parsed : usageFailure(
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
        ? usageFailure(parsed.error.message)
        : requestFailure(parsed.error.message);
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

function usageFailure(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "usage", error: { kind: "usage", message } });
}
