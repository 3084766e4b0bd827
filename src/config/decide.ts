/**
 * Layers and requirements to what one run does, or the first reason why it must not start.
 *
 * Pure. What a project changes is found by deciding twice, with its layers and without.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type {
  ConfigRequest,
  Layer,
  LoadedConfig,
  RunConfig,
  TomlTable,
} from "./config.ts";
import { environmentOf } from "./environment.ts";
import type { ProfileContext } from "./inheritance.ts";
import { documentFaults } from "./layer_faults.ts";
import { type Fault, mergeLayers } from "./layers.ts";
import type { NetworkRules } from "./network_rules.ts";
import { buildChoice, resolveBuilt } from "./profile.ts";
import type { BuiltProfile } from "./built_in_profiles.ts";
import {
  type Allowance,
  allowanceOf,
  blame,
  type Outcome,
  wideningOf,
} from "./project.ts";
import {
  allowedChoice,
  NO_REQUIREMENTS,
  required,
  type Requirements,
  requirementsLayer,
  requirementsOf,
} from "./requirements.ts";
import { type Choice, choose, DEFAULT_ORIGIN } from "./selection.ts";
import { lookup, ownTable } from "./values.ts";
import { type AbsPath, isInside, ROOT, toAbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";

/** Follows every link of a path; `null` when that fails. Only asked when a project layer grants something. */
export type RealPath = (path: AbsPath) => AbsPath | null;

/** Layers and requirements as places where something can stand. */
export function placesOf(loaded: LoadedConfig): readonly Layer[] {
  const file = loaded.requirements;
  if (file === null) return loaded.layers;
  return [...loaded.layers, requirementsLayer(file)];
}

/** What profiles of these layers are built from, for commands that look at single profiles. */
export function profileContextOf(
  loaded: LoadedConfig,
  layers: readonly Layer[] = loaded.layers,
  requirements: Requirements = NO_REQUIREMENTS,
): ProfileContext {
  return {
    layers,
    table: mergeLayers(layers),
    cwd: loaded.cwd,
    home: loaded.home,
    tmpdir: loaded.tmpdir,
    networkRequirements: requirements.network,
  };
}

export function decide(
  loaded: LoadedConfig,
  request: ConfigRequest,
  realPath: RealPath,
): Result<RunConfig, readonly Fault[]> {
  const faults = documentFaults(loaded, request);
  const errors = faults.filter(({ severity }) => severity === "error");
  if (errors.length > 0) return fail(errors);
  const requirements = requirementsOf(loaded, request);
  if (!requirements.ok) return requirements;
  const run: Deciding = { loaded, request, requirements: requirements.value };
  const decided = decideLayers(run, loaded.layers);
  if (!decided.ok) return decided;
  const widened = projectFault(run, decided.value, realPath);
  if (widened !== null) return fail([widened]);
  const rules = rulesOf(decided.value.built, run);
  if (!rules.ok) return rules;
  return ok(runConfigOf(run, decided.value, rules.value, faults));
}

/** What the network's table says, also where there is no network this time: a bad pattern is found before it matters. */
export function rulesOf(
  built: BuiltProfile,
  { loaded, requirements }: Pick<Deciding, "loaded" | "requirements">,
): Result<NetworkRules | null, readonly Fault[]> {
  const isPlain = built.networkMode !== "proxied" &&
    Object.keys(built.networkTable).every((key) => key === "enabled");
  if (isPlain) return ok(null);
  const file = loaded.requirements?.file;
  return networkRules().networkRulesOf(
    built,
    requirements.network === null || file === undefined
      ? null
      : { table: requirements.network, file },
  );
}

/** Loaded on demand: most profiles say nothing about hosts. */
function networkRules(): typeof import("./network_rules.ts") {
  return require("./network_rules.ts");
}

export interface Deciding {
  readonly loaded: LoadedConfig;
  readonly request: ConfigRequest;
  readonly requirements: Requirements;
}

/** What a list of layers leads to. */
export interface Decided {
  readonly choice: Choice;
  readonly table: TomlTable;
  readonly built: BuiltProfile;
  readonly outcome: Outcome;
  readonly warnings: readonly string[];
}

function decideLayers(
  { loaded, request, requirements }: Deciding,
  layers: readonly Layer[],
): Result<Decided, readonly Fault[]> {
  const context = profileContextOf(loaded, layers, requirements);
  const { table } = context;
  const chosen = choose(layers, table, request.legacyMode);
  if (!chosen.ok) return fail([chosen.error]);
  const allowed = allowedChoice(chosen.value, requirements);
  const built = buildChoice(allowed.choice, context);
  if (!built.ok) return built;
  const final = required(built.value, requirements, context);
  const resolved = resolveBuilt(final.built, context);
  if (!resolved.ok) return fail([resolved.error]);
  const environment = environmentOf(table, layers);
  if (environment.faults.length > 0) return fail(environment.faults);
  return ok({
    choice: allowed.choice,
    table,
    built: final.built,
    outcome: {
      policy: resolved.value.policy,
      network: final.built.networkTable,
      environment: environment.policy,
    },
    warnings: [
      allowed.warning,
      final.warning,
      ...resolved.value.warnings.map(({ message, origin }) =>
        origin.file === null ? message : `${toText(origin.file)}: ${message}`
      ),
    ].filter((warning) => warning !== null),
  });
}

function runConfigOf(
  { loaded, requirements }: Deciding,
  { choice, table, built, outcome, warnings }: Decided,
  rules: NetworkRules | null,
  faults: readonly Fault[],
): RunConfig {
  const unknown = unknownKeysWarning(faults);
  const all = rules === null ? warnings : [...warnings, ...rules.warnings];
  return {
    name: built.name,
    chosenBy: choice.origin,
    policy: outcome.policy,
    profile: built.profile,
    environment: outcome.environment,
    network: {
      mode: built.networkMode,
      table: built.networkTable,
      originOf: built.networkOriginOf,
      requirements: requirements.network,
      rules: rules?.policy ?? null,
    },
    features: {
      useLegacyLandlock:
        lookup(table, ["features", "use_legacy_landlock"]) === true,
    },
    warnings: unknown === null ? all : [...all, unknown],
    ownFiles: ownFilesOf(loaded),
  };
}

/** All unknown keys of a run in one line. */
function unknownKeysWarning(faults: readonly Fault[]): string | null {
  const [first, ...rest] = faults;
  if (first === undefined) return null;
  const { file } = first.origin;
  const place = file === null ? first.origin.key : toText(file);
  const more = rest.length === 0
    ? ""
    : ` (+${rest.length} more: codex config check)`;
  return `${place}: ${first.message} is ignored${more}`;
}

function baseOf(
  run: Deciding,
  layers: readonly Layer[],
): Result<Outcome, Fault> {
  const decided = decideLayers(run, layers);
  if (decided.ok) return ok(decided.value.outcome);
  const context = profileContextOf(run.loaded, layers, run.requirements);
  const chosen = choose(layers, context.table, run.request.legacyMode);
  const isOnlyUndefined = chosen.ok
    ? isUndefined(chosen.value, context.table)
    : chosen.error.origin.key === "permissions";
  if (!isOnlyUndefined) return fail(decided.error[0]!);
  const readOnly: Choice = {
    kind: "legacy",
    mode: "read-only",
    origin: DEFAULT_ORIGIN,
  };
  const built = buildChoice(readOnly, context);
  if (!built.ok) return fail(built.error[0]!);
  const final = required(built.value, run.requirements, context).built;
  const resolved = resolveBuilt(final, context);
  if (!resolved.ok) return resolved;
  const environment = environmentOf(context.table, layers);
  return ok({
    policy: resolved.value.policy,
    network: final.networkTable,
    environment: environment.policy,
  });
}

function isUndefined(choice: Choice, table: TomlTable): boolean {
  if (choice.kind !== "profile" || choice.name.startsWith(":")) return false;
  const permissions = ownTable(table, "permissions");
  return permissions === undefined || !Object.hasOwn(permissions, choice.name);
}

/** The caller's `$TMPDIR` where a project may write: absolute, and no ancestor of the home. */
function tmpdirOf({ tmpdir, home }: LoadedConfig): AbsPath | null {
  const path = tmpdir === null ? null : toAbsPath(tmpdir);
  if (path === null || path === ROOT) return null;
  return home !== null && isInside(home, { root: path }) ? null : path;
}

/**
 * Compares the policy without project layers, with the one in the project root, and with each further one. A layer set that
 * doesn't stand alone because its profile is only defined by the project is compared as `:read-only`.
 */
function projectFault(
  run: Deciding,
  all: Decided,
  realPath: RealPath,
): Fault | null {
  const { layers } = run.loaded;
  const projects = layers.filter((layer) => layer.kind === "project");
  if (projects.length === 0) return null;
  let allowance: Allowance = allowanceOf({
    projectRoot: run.loaded.projectRoot ?? run.loaded.cwd,
    home: run.loaded.home,
    tmpdir: tmpdirOf(run.loaded),
    realPath,
  });
  const narrowing: Allowance = { writable: [], realPath };
  const counted: Layer[] = layers.filter((layer) => layer.kind !== "project");
  const before = baseOf(run, counted);
  if (!before.ok) return before.error;
  let last = before.value;
  for (const project of projects) {
    if (project.inProjectRoot !== true) allowance = narrowing;
    counted.push(project);
    const some = layers.filter((layer) => counted.includes(layer));
    const isLast = some.length === layers.length;
    const next = isLast ? ok(all) : decideLayers(run, some);
    if (!next.ok) return next.error[0]!;
    const widening = wideningOf(last, next.value.outcome, allowance);
    if (widening !== null) {
      return {
        severity: "error",
        origin: blame(widening, next.value.choice.origin, [project]),
        message: widening.message,
      };
    }
    last = next.value.outcome;
  }
  return null;
}

/** What a command must not get at besides the state folder: every file that had a say, and the way to the folder. */
export function ownFilesOf(loaded: LoadedConfig): readonly AbsPath[] {
  const { files, spelledHome, codexHome } = loaded;
  return spelledHome === null || spelledHome === codexHome
    ? files
    : [spelledHome, ...files];
}
