/**
 * The request of `codex sandbox`: options and config files become a policy and an environment.
 *
 * The wiring of the rooms `cli`, `config` and `policy`. Effects: reads config files, looks at the working directory.
 *
 * @module
 */
import { workingDirectory } from "./working_directory.ts";
import { type ByteString } from "../bytes.ts";
import type { SandboxOptions, UserChoice } from "../cli/sandbox_options.ts";
import type {
  ConfigRequest,
  EnvironmentPolicy,
  LoadedConfig,
  RunConfig,
} from "../config/config.ts";
import { commandEnvironment } from "../config/command_environment.ts";
import { CONFIG_HOST } from "../config/host_files.ts";
import { loadConfig } from "../config/load.ts";
import { selectRun } from "../config/run.ts";
import { ownFilesOf } from "../config/decide.ts";
import { type Failure, requestFailure } from "../failure.ts";
import { type Origin, primaryGroup } from "../host/origin.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import { backEndOf, backEndRefusal } from "./back_end.ts";
import type { ServedNetwork } from "./network_requests.ts";
import { networkRequests } from "./on_demand.ts";
import type { RunRequest } from "./request.ts";
import { stateRun } from "./state_policy.ts";
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
  const cwd = workingDirectory(origin.cwd, named?.cd ?? null);
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
  const refusal = backEndRefusal(chosen.value.policy, isLegacy);
  if (refusal !== null) return requestFailure(refusal);
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
    return requestFailure(
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
    return requestFailure(
      `Cannot use --network-log: profile ${policy.name} has no managed network, which network.domains or network.managed = true would give it`,
    );
  }
  const served = networkRequests().managedNetwork(
    run,
    reporting,
    origin,
    environmentOf(origin, run.environment, policy),
  );
  return served.ok ? served : requestFailure(served.error);
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
