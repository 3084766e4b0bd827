/**
 * Carries out `codex config` and `codex policy`: loads, gathers, and hands over to the pure commands.
 *
 * Effects: those of loading config files and of gathering facts. Loaded by `main` only for these commands.
 *
 * @module
 */
import { workingDirectory } from "./run/working_directory.ts";
import { type ByteString, toText } from "./bytes.ts";
import type { ConfigOptions, PolicyOptions } from "./cli/answer_options.ts";
import type { SessionConfig } from "./cli/options.ts";
import type {
  ConfigError,
  ConfigOrigin,
  ConfigRequest,
  Finding,
  LoadedConfig,
  RunConfig,
} from "./config/config.ts";
import { CONFIG_HOST } from "./config/host_files.ts";
import { locate, mergeLayers } from "./config/layers.ts";
import { loadConfig, loadFile } from "./config/load.ts";
import { domainsTableOf, networkLackOf } from "./config/network_rules.ts";
import { listProfiles } from "./config/profile_list.ts";
import { checkAll } from "./config/check_all.ts";
import { placesOf } from "./config/decide.ts";
import { selectRun } from "./config/run.ts";
import { createInterfaceReader } from "./egress/host_dialer.ts";
import { type Failure, globFailure } from "./failure.ts";
import { gatherFacts } from "./host/gather.ts";
import { homeOf, type Origin as Caller, variable } from "./host/origin.ts";
import type { PathFacts } from "./policy/facts.ts";
import { ownPathsOf } from "./own_paths.ts";
import { type AbsPath, resolvePath } from "./policy/path.ts";
import type { Origin } from "./policy/policy.ts";
import { backEndRefusal } from "./run/back_end.ts";
import { fail, ok, type Result, unreachable } from "./result.ts";
import { configCheck } from "./commands/config_check.ts";
import { configSchema } from "./commands/config_schema.ts";
import { configShow } from "./commands/config_show.ts";
import type { CommandOutput } from "./commands/output.ts";
import { policyConnect } from "./commands/policy_connect.ts";
import { policyList } from "./commands/policy_list.ts";
import { policyWhy } from "./commands/policy_why.ts";

/** What the command says, or why it can't be carried out. */
export function runConfigCommand(
  options: ConfigOptions,
  caller: Caller,
): Result<CommandOutput, Failure> {
  switch (options.kind) {
    case "config_schema":
      return ok(configSchema());
    case "config_check":
      return checkConfig(options, caller);
    case "config_show":
      return showConfig(options, caller);
    default:
      return unreachable(options);
  }
}

/** What the command says, or why it can't be carried out. */
export function runPolicyCommand(
  options: PolicyOptions,
  caller: Caller,
): Result<CommandOutput, Failure> {
  switch (options.kind) {
    case "policy_why":
      return explainPaths(options, caller);
    case "policy_connect":
      return explainHosts(options, caller);
    case "policy_list":
      return listConfigured(options, caller);
    default:
      return unreachable(options);
  }
}

function checkConfig(
  { file, config }: Extract<ConfigOptions, { kind: "config_check" }>,
  caller: Caller,
): Result<CommandOutput, Failure> {
  const origin = configOrigin(caller, null);
  if (!origin.ok) return origin;
  const request = requestOf(config, null);
  const path = file === null ? null : resolvePath(origin.value.cwd, file);
  const loaded = path === null
    ? loadConfig(request, origin.value)
    : loadFile(path, origin.value);
  if (!loaded.ok) {
    const findings = [findingOf(loaded.error)];
    const run = null;
    return ok(configCheck({ findings, run, fileCount: 1, locate: (it) => it }));
  }
  const { realPath } = CONFIG_HOST;
  const findings = checkAll(loaded.value, request, realPath);
  const selected = path === null && findings.every(isWarning)
    ? selectRun(loaded.value, request, realPath)
    : null;
  const base = {
    locate: locator(loaded.value),
    fileCount: loaded.value.files.length,
  };
  if (selected === null || !selected.ok) {
    return ok(configCheck({ ...base, findings, run: null }));
  }
  const { policy } = selected.value;
  const facts = factsFor(selected.value, loaded.value, caller, []);
  if (!facts.ok) {
    const { origin, message } = facts.error.error;
    const place = origin === null
      ? { file: null, key: selected.value.name }
      : base.locate(origin);
    const error: Finding = { severity: "error", ...place, message };
    return ok(
      configCheck({ ...base, findings: [...findings, error], run: null }),
    );
  }
  const run = { policy, facts: facts.value };
  const refusal = refusalOf(selected.value);
  const refused: readonly Finding[] = refusal === null ? [] : [{
    severity: "error",
    file: null,
    key: selected.value.name,
    message: refusal,
  }];
  return ok(configCheck({ ...base, findings: [...findings, ...refused], run }));
}

function showConfig(
  { showsOrigins, format, config }: Extract<
    ConfigOptions,
    { kind: "config_show" }
  >,
  caller: Caller,
): Result<CommandOutput, Failure> {
  const loaded = loadFor(config, null, null, caller);
  if (!loaded.ok) return loaded;
  const { layers } = loaded.value;
  const run = selectRun(
    loaded.value,
    requestOf(config, null),
    CONFIG_HOST.realPath,
  );
  const selected = run.ok ? run.value : null;
  const place = locator(loaded.value);
  return ok(
    configShow({ layers, selected, showsOrigins, format, locate: place }),
  );
}

function explainPaths(
  options: Extract<PolicyOptions, { kind: "policy_why" }>,
  caller: Caller,
): Result<CommandOutput, Failure> {
  const { config, profile, cd, operation, format } = options;
  const chosen = chosenRun(config, profile, cd, caller);
  if (!chosen.ok) return chosen;
  const { loaded, run } = chosen.value;
  const paths: AbsPath[] = [];
  for (const typed of options.paths) {
    const path = resolvePath(run.policy.cwd, typed);
    if (path !== null) paths.push(path);
  }
  const facts = factsFor(run, loaded, caller, paths);
  if (!facts.ok) return facts;
  const { policy } = run;
  const output = policyWhy({
    policy,
    facts: facts.value,
    operation,
    paths,
    format,
    locate: locator(loaded),
  });
  const refusal = refusalOf(run);
  return ok(refusal === null ? output : withRefusal(output, refusal));
}

function explainHosts(
  options: Extract<PolicyOptions, { kind: "policy_connect" }>,
  caller: Caller,
): Result<CommandOutput, Failure> {
  const { config, profile, cd, format } = options;
  const chosen = chosenRun(config, profile, cd, caller);
  if (!chosen.ok) return chosen;
  const { loaded, run } = chosen.value;
  const { policy, network, name } = run;
  const output = policyConnect({
    profile: name,
    network: policy.network,
    rules: network.rules,
    lack: networkLackOf(name, network.table, network.requirements),
    domainsTable: domainsTableOf(name, network.rules),
    targets: options.targets.map(toText),
    own: createInterfaceReader()(),
    format,
    locate: locator(loaded),
  });
  const refusal = refusalOf(run);
  return ok(refusal === null ? output : withRefusal(output, refusal));
}

/** The run that a question is about. */
function chosenRun(
  config: SessionConfig,
  profile: string | null,
  cd: ByteString | null,
  caller: Caller,
): Result<
  { readonly loaded: LoadedConfig; readonly run: RunConfig },
  Failure
> {
  const loaded = loadFor(config, profile, cd, caller);
  if (!loaded.ok) return loaded;
  const asked = requestOf(config, profile);
  const run = selectRun(loaded.value, asked, CONFIG_HOST.realPath);
  return run.ok
    ? ok({ loaded: loaded.value, run: run.value })
    : fail({ kind: "config", error: run.error });
}

function withRefusal(output: CommandOutput, refusal: string): CommandOutput {
  return {
    ...output,
    stderr: `${output.stderr}codex: warning: no run does this: ${refusal}\n`,
  };
}

/** What no run can do of a profile, whatever its files say. */
function refusalOf({ policy, features }: RunConfig): string | null {
  return backEndRefusal(policy, features.useLegacyLandlock);
}

function listConfigured(
  { config, format }: Extract<PolicyOptions, { kind: "policy_list" }>,
  caller: Caller,
): Result<CommandOutput, Failure> {
  const loaded = loadFor(config, null, null, caller);
  if (!loaded.ok) return loaded;
  const { layers } = loaded.value;
  const profiles = listProfiles(layers, mergeLayers(layers));
  const run = selectRun(
    loaded.value,
    requestOf(config, null),
    CONFIG_HOST.realPath,
  );
  const selected = run.ok ? run.value.name : null;
  const place = locator(loaded.value);
  return ok(policyList({ profiles, selected, format, locate: place }));
}

function requestOf(
  config: SessionConfig,
  profile: string | null,
): ConfigRequest {
  return {
    overrides: config.overrides,
    features: config.features,
    configProfile: config.configProfile,
    permissionProfile: profile,
    legacyMode: "read_only",
    requirements: "root_owned",
  };
}

function configOrigin(
  caller: Caller,
  cd: ByteString | null,
): Result<ConfigOrigin, Failure> {
  const { cwd, environment, uid } = caller;
  const at = workingDirectory(cwd, cd);
  return at.ok ? ok({ cwd: at.value, environment, uid }) : at;
}

function loadFor(
  config: SessionConfig,
  profile: string | null,
  cd: ByteString | null,
  caller: Caller,
): Result<LoadedConfig, Failure> {
  const origin = configOrigin(caller, cd);
  if (!origin.ok) return origin;
  const loaded = loadConfig(requestOf(config, profile), origin.value);
  return loaded.ok ? loaded : fail({ kind: "config", error: loaded.error });
}

function factsFor(
  run: RunConfig,
  loaded: LoadedConfig,
  caller: Caller,
  asked: readonly AbsPath[],
): Result<PathFacts, ReturnType<typeof globFailure>> {
  const own = ownPathsOf(loaded.codexHome, run.ownFiles);
  const { policy } = run;
  const facts = gatherFacts({
    policy,
    own,
    asked,
    euid: caller.euid,
    surroundings: {
      home: () => homeOf(caller.environment, caller.uid),
      variable: (name) => variable(caller.environment, name),
    },
  });
  if (facts.ok) return facts;
  return fail(globFailure(facts.error, policy));
}

function locator(loaded: LoadedConfig): (origin: Origin) => Origin {
  const places = placesOf(loaded);
  return (origin) => locate(places, origin);
}

function isWarning(finding: Finding): boolean {
  return finding.severity === "warning";
}

function findingOf(error: ConfigError): Finding {
  const { file, line, column, key, message } = error;
  return {
    severity: "error",
    file,
    key,
    message,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
  };
}
