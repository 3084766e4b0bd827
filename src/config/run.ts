/**
 * Layers and options to what one run does, and the complete list of what is wrong with them.
 *
 * Pure. A run stops at its first error; `codex config check` wants all, also in profiles that nobody selected.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import {
  type AbsPath,
  isInside,
  parentOf,
  ROOT,
  toAbsPath,
} from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import { checkTypes } from "./check_types.ts";
import { DEFAULT_ENVIRONMENT_POLICY } from "./config.ts";
import type {
  ConfigError,
  ConfigRequest,
  Features,
  Finding,
  Layer,
  LoadedConfig,
  RunConfig,
  TomlTable,
} from "./config.ts";
import { environmentOf } from "./environment.ts";
import {
  errorOf,
  type Fault,
  findingOf,
  mergeLayers,
  originIn,
} from "./layers.ts";
import type { NetworkRules } from "./network_rules.ts";
import {
  buildBuiltIn,
  buildChoice,
  type BuiltProfile,
  type ProfileContext,
  resolveBuilt,
} from "./profile.ts";
import {
  type Allowance,
  allowanceOf,
  blame,
  forbiddenKeys,
  type Outcome,
  wideningOf,
} from "./project.ts";
import {
  allowedChoice,
  NO_REQUIREMENTS,
  required,
  type Requirements,
  requirementsOf,
} from "./requirements.ts";
import { configShape } from "./schema.ts";
import { type Choice, choose, DEFAULT_ORIGIN } from "./selection.ts";
import { keyText, lookup, newTable, own, ownTable } from "./values.ts";

/** Follows every link of a path; `null` when that fails. Only asked when a project layer grants something. */
export type RealPath = (path: AbsPath) => AbsPath | null;

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

/** Every finding of the layers and requirements, selected or not, each once; errors of a document before those of its meaning. */
export function checkAll(
  loaded: LoadedConfig,
  request: ConfigRequest,
  realPath: RealPath,
): readonly Finding[] {
  const faults: Fault[] = [...documentFaults(loaded, request)];
  const areTypesRight = faults.every(({ severity }) => severity === "warning");
  const decided = areTypesRight
    ? decide(loaded, request, realPath)
    : fail<readonly Fault[]>([]);
  if (areTypesRight) faults.push(...profileFaults(loaded));
  if (!decided.ok) faults.push(...decided.error);
  const places = placesOf(loaded);
  const findings = new Map<string, Finding>();
  for (const fault of faults) {
    const finding = findingOf(places, fault);
    findings.set(JSON.stringify(finding), finding);
  }
  return [...findings.values()];
}

/** Layers and requirements as places where something can stand. */
export function placesOf(loaded: LoadedConfig): readonly Layer[] {
  const file = loaded.requirements;
  if (file === null) return loaded.layers;
  const layer: Layer = {
    kind: "managed",
    file: file.file,
    base: parentOf(file.file),
    table: file.table,
    text: file.text,
  };
  return [...loaded.layers, layer];
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

function decide(
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
function rulesOf(
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
    features: { useLegacyLandlock: false, networkProxy: null },
    warnings: [],
    ownFiles: ownFilesOf(loaded),
  };
}

/** What a command must not get at besides the state folder: every file that had a say, and the way to the folder. */
export function ownFilesOf(loaded: LoadedConfig): readonly AbsPath[] {
  const { files, spelledHome, codexHome } = loaded;
  return spelledHome === null || spelledHome === codexHome
    ? files
    : [spelledHome, ...files];
}

interface Deciding {
  readonly loaded: LoadedConfig;
  readonly request: ConfigRequest;
  readonly requirements: Requirements;
}

/** What a list of layers leads to. */
interface Decided {
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
    features: featuresOf(table),
    warnings: unknown === null ? all : [...all, unknown],
    ownFiles: ownFilesOf(loaded),
  };
}

function featuresOf(table: TomlTable): Features {
  const proxy = lookup(table, ["features", "network_proxy"]);
  return {
    useLegacyLandlock:
      lookup(table, ["features", "use_legacy_landlock"]) === true,
    networkProxy: proxy === undefined
      ? null
      : typeof proxy === "boolean"
      ? proxy
      : lookup(proxy as TomlTable, ["enabled"]) !== false,
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

// ---- documents ----

/** What can be said of each document by itself: types, reserved names, keys of old, what no project may set. */
function documentFaults(
  loaded: LoadedConfig,
  request: ConfigRequest,
): readonly Fault[] {
  if (loaded.layers.length === 0) return [];
  const shape = configShape();
  const faults: Fault[] = [];
  for (const layer of loaded.layers) {
    for (const { severity, path, at, message } of checkTypes(layer, shape)) {
      const origin = originIn(layer, path);
      faults.push({ severity, origin, at, message });
    }
    faults.push(...nameFaults(layer), ...legacyFaults(layer, request));
    if (layer.kind === "project") faults.push(...forbiddenKeys(layer));
  }
  return faults;
}

function nameFaults(layer: Layer): readonly Fault[] {
  const faults: Fault[] = [];
  const permissions = ownTable(layer.table, "permissions") ?? {};
  for (const name of Object.keys(permissions)) {
    if (!name.startsWith(":") && name !== "") continue;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["permissions", name]),
      at: "key",
      message: name === ""
        ? `profile name ${keyText(["permissions", name])} is empty`
        : `permissions profile \`${name}\` uses a reserved built-in profile prefix: drop the colon`,
    });
  }
  const markers = own(layer.table, "project_root_markers");
  for (const marker of Array.isArray(markers) ? markers : []) {
    if (typeof marker !== "string" || isMarker(marker)) continue;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["project_root_markers"]),
      message: `project root marker ${
        JSON.stringify(marker)
      } must be a relative path without \`.\` or \`..\` components`,
    });
  }
  return faults;
}

/** Whether a text can name an entry of a directory, or one further below. */
export function isMarker(marker: string): boolean {
  return !marker.includes("\0") &&
    marker.split("/").every((part) =>
      part !== "" && part !== "." && part !== ".."
    );
}

/** `profile = "x"` of old, and `-p x` beside it. Project layers may keep theirs: it is not read. */
function legacyFaults(
  layer: Layer,
  { configProfile }: ConfigRequest,
): readonly Fault[] {
  if (layer.kind === "project") return [];
  const faults: Fault[] = [];
  const profile = own(layer.table, "profile");
  if (profile !== undefined) {
    const name = typeof profile === "string" ? profile : "NAME";
    const message = configProfile !== null && configProfile === profile
      ? `--profile \`${name}\` cannot be used while \`profile = "${name}"\` is set: remove the key`
      : `legacy \`profile = "${name}"\` config is no longer supported: use -p ${name} with $CODEX_HOME/${name}.config.toml`;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["profile"]),
      at: "key",
      message,
    });
  }
  const profiles = ownTable(layer.table, "profiles");
  if (
    configProfile !== null && profiles !== undefined &&
    Object.hasOwn(profiles, configProfile)
  ) {
    faults.push({
      severity: "error",
      origin: originIn(layer, ["profiles", configProfile]),
      at: "key",
      message:
        `--profile \`${configProfile}\` cannot be used while \`[profiles.${configProfile}]\` exists: move it to $CODEX_HOME/${configProfile}.config.toml`,
    });
  }
  return faults;
}

/** Faults of every profile of the user, selected or not. */
function profileFaults(loaded: LoadedConfig): readonly Fault[] {
  const context = profileContextOf(loaded);
  const permissions = ownTable(context.table, "permissions") ?? {};
  const faults: Fault[] = [];
  for (const name of Object.keys(permissions)) {
    const choice: Choice = { kind: "profile", name, origin: DEFAULT_ORIGIN };
    const built = buildChoice(choice, context);
    if (!built.ok) {
      faults.push(...built.error);
      continue;
    }
    const resolved = resolveBuilt(built.value, context);
    if (!resolved.ok) {
      faults.push(resolved.error);
      continue;
    }
    const rules = rulesOf(built.value, {
      loaded,
      requirements: NO_REQUIREMENTS,
    });
    if (!rules.ok) faults.push(...rules.error);
    for (const { message, origin } of resolved.value.warnings) {
      // What the caller's TMPDIR is today is no fault of a file.
      if (message.startsWith('":tmpdir"')) continue;
      faults.push({ severity: "warning", origin, message });
    }
  }
  return faults;
}

// ---- projects ----

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
