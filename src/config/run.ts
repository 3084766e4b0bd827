/**
 * What a run does by its config files: the short way where there are none, else `decide.ts`.
 *
 * Pure. A run stops at its first error and says how many more there are.
 *
 * @module
 */
import { buildBuiltIn } from "./built_in_profiles.ts";
import { checkAll } from "./check_all.ts";
import {
  type ConfigError,
  type ConfigRequest,
  DEFAULT_ENVIRONMENT_POLICY,
  type LoadedConfig,
  type RunConfig,
} from "./config.ts";
import { decide, ownFilesOf, placesOf, type RealPath } from "./decide.ts";
import type { ProfileContext } from "./inheritance.ts";
import { errorOf } from "./layers.ts";
import { resolveBuilt } from "./profile.ts";
import { DEFAULT_ORIGIN } from "./selection.ts";
import { newTable } from "./values.ts";
import { fail, ok, type Result } from "../result.ts";

/** What the run does, or the first reason why it must not start, with the number of the others. */
export function selectRun(
  loaded: LoadedConfig,
  request: ConfigRequest,
  realPath: RealPath,
): Result<RunConfig, ConfigError> {
  const plain = plainRun(loaded, request);
  if (plain !== null) return ok(plain);
  const decided = decide(loaded, request, realPath);
  if (decided.ok) return ok(decided.value);
  const [first] = decided.error;
  const total = checkAll(loaded, request, realPath)
    .filter((finding) => finding.severity === "error").length;
  const error = errorOf(placesOf(loaded), first!);
  return fail(total > 1 ? { ...error, more: total - 1 } : error);
}

/**
 * The run of a host without any config file, where at most `-P` or `--full-auto` says something: what {@linkcode decide} comes to
 * as well, without its 0.4 ms. Held to it by a test.
 *
 * @returns `null` where anything else has a say
 */
export function plainRun(
  loaded: LoadedConfig,
  request: ConfigRequest,
): RunConfig | null {
  const { overrides, features, permissionProfile, legacyMode } = request;
  if (loaded.requirements !== null || loaded.files.length > 0) return null;
  if (overrides.length > 0 || features.length > 0) return null;
  if (permissionProfile === null && legacyMode !== "read_only") return null;
  const context: ProfileContext = {
    layers: [],
    table: newTable(),
    cwd: loaded.cwd,
    home: loaded.home,
    tmpdir: loaded.tmpdir,
    networkRequirements: null,
  };
  const built = buildBuiltIn(permissionProfile ?? ":read-only", context);
  const resolved = built === null ? null : resolveBuilt(built, context);
  if (built === null || resolved === null || !resolved.ok) return null;
  if (resolved.value.warnings.length > 0) return null;
  return {
    name: built.name,
    chosenBy: permissionProfile === null ? DEFAULT_ORIGIN : {
      file: null,
      key: `-P ${JSON.stringify(permissionProfile)}`,
    },
    policy: resolved.value.policy,
    profile: built.profile,
    environment: DEFAULT_ENVIRONMENT_POLICY,
    network: {
      mode: built.networkMode,
      table: built.networkTable,
      originOf: built.networkOriginOf,
      requirements: null,
      rules: null,
    },
    features: { useLegacyLandlock: false },
    warnings: [],
    ownFiles: ownFilesOf(loaded),
  };
}
