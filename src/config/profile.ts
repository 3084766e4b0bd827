/**
 * A chosen profile, built: inheritance, entries, network and options of one `[permissions.NAME]`, a built-in or a legacy mode.
 *
 * Pure. Types have been checked before; what is left to find here is meaning: names, paths, globs.
 *
 * @module
 */
import { fromText } from "../bytes.ts";
import {
  buildBuiltIn,
  buildLegacy,
  builtInOrigin,
  type BuiltProfile,
} from "./built_in_profiles.ts";
import type { TomlTable } from "./config.ts";
import { entriesOf, pathOf } from "./entries.ts";
import {
  asWritten,
  type Chain,
  chainOf,
  featureOf,
  featureOrigin,
  type ProfileContext,
} from "./inheritance.ts";
import { type Fault, originOf } from "./layers.ts";
import { decideNetwork } from "./network_settings.ts";
import { type Choice, undefinedProfile } from "./selection.ts";
import {
  keyPart,
  lookup,
  mergeTables,
  newTable,
  own,
  ownTable,
} from "./values.ts";
import { type AbsPath, resolvePath } from "../policy/path.ts";
import {
  DEFAULT_POLICY_OPTIONS,
  type Origin,
  type PolicyOptions,
  type PromiseName,
} from "../policy/policy.ts";
import { type ResolvedPolicy, resolvePolicy } from "../policy/resolve.ts";
import { fail, ok, type Result } from "../result.ts";

/** Builds what was chosen; on faults, all of them. */
export function buildChoice(
  choice: Choice,
  context: ProfileContext,
): Result<BuiltProfile, readonly Fault[]> {
  if (choice.kind === "legacy") return buildLegacy(choice.mode, context);
  const { name } = choice;
  const builtIn = buildBuiltIn(name, context);
  if (builtIn !== null) return ok(builtIn);
  const permissions = ownTable(context.table, "permissions");
  if (
    name.startsWith(":") || permissions === undefined ||
    !Object.hasOwn(permissions, name)
  ) return fail([undefinedProfile(name, choice.origin, permissions)]);
  return buildNamed(name, context);
}

/** The policy of a built profile for this run. */
export function resolveBuilt(
  built: BuiltProfile,
  context: ProfileContext,
): Result<ResolvedPolicy, Fault> {
  const resolved = resolvePolicy(built.profile, {
    name: built.name,
    cwd: context.cwd,
    home: context.home,
    tmpdir: context.tmpdir,
    workspaceRoots: built.workspaceRoots,
    network: built.networkMode,
    options: built.options,
  });
  if (resolved.ok) return resolved;
  const { origin, message } = resolved.error;
  return fail({
    severity: "error",
    origin: origin ?? { file: null, key: built.name },
    message,
  });
}

function buildNamed(
  name: string,
  context: ProfileContext,
): Result<BuiltProfile, readonly Fault[]> {
  const chain = chainOf(name, context);
  if (!chain.ok) return fail([chain.error]);
  let merged: TomlTable = newTable();
  for (const { table } of chain.value) merged = mergeTables(merged, table);
  const originInChain = (path: readonly string[]): Origin =>
    chainOrigin(chain.value, path, context);
  const faults: Fault[] = [];
  const workspaceRoots = rootsOf(merged, context, originInChain, faults);
  const files = ownTable(merged, "filesystem") ?? newTable();
  const built = entriesOf(files, {
    home: context.home,
    workspaceRoots,
    originOf: (path) => originInChain(["filesystem", ...path]),
  });
  faults.push(...built.faults);
  const network = decideNetwork(
    ownTable(merged, "network") ?? newTable(),
    featureOf(context),
    context.networkRequirements,
  );
  if (network.mode === "host") {
    const opened = openNetwork().openedByMistake(
      chain.value,
      context.layers,
    );
    if (opened !== null) faults.push(opened);
  }
  const networkOriginOf = (path: readonly string[]): Origin =>
    featureOrigin(context, path) ?? originInChain(["network", ...path]);
  const options = optionsOf(
    merged,
    unixSocketsOf(network.table, context, networkOriginOf, faults),
  );
  if (faults.length > 0) return fail(faults);
  const depth = own(files, "glob_scan_max_depth");
  return ok({
    name,
    profile: {
      kind: "managed",
      fileSystem: {
        kind: "restricted",
        entries: built.entries,
        ...(depth === undefined ? {} : { globScanMaxDepth: Number(depth) }),
      },
      network: network.access,
    },
    options,
    workspaceRoots,
    networkMode: network.mode,
    networkTable: network.table,
    networkOriginOf,
  });
}

function openNetwork(): typeof import("./open_network.ts") {
  return require("./open_network.ts");
}

/** The profile of a chain that decides about a key: the innermost that has it. */
function chainOrigin(
  chain: Chain,
  path: readonly string[],
  { layers, table }: ProfileContext,
): Origin {
  for (let index = chain.length - 1; index >= 0; index--) {
    const link = chain[index]!;
    if (lookup(link.table, path) === undefined) continue;
    if (link.name.startsWith(":")) return builtInOrigin(link.name);
    const written = asWritten(table, ["permissions", link.name, ...path]);
    const parts = written.slice(2).map(keyPart);
    return originOf(layers, written, [link.key, ...parts].join("."));
  }
  const own = chain.at(-1)!.name;
  return originOf(layers, ["permissions", own]);
}

/** The working directory, and the roots that the profile switches on. */
function rootsOf(
  merged: TomlTable,
  context: ProfileContext,
  originInChain: (path: readonly string[]) => Origin,
  faults: Fault[],
): readonly AbsPath[] {
  const roots = new Set<AbsPath>([context.cwd]);
  const table = ownTable(merged, "workspace_roots") ?? newTable();
  for (const key of Object.keys(table).sort()) {
    if (table[key] !== true) continue;
    const path = key === "" ? null : pathOf(key, context.home) ??
      (key.startsWith("~") ? null : resolvePath(context.cwd, fromText(key)));
    if (path !== null) {
      roots.add(path);
      continue;
    }
    faults.push({
      severity: "error",
      origin: originInChain(["workspace_roots", key]),
      message: `workspace root ${
        JSON.stringify(key)
      } is no path: it must be absolute, relative or \`~/...\``,
    });
  }
  return [...roots];
}

function unixSocketsOf(
  network: TomlTable,
  context: ProfileContext,
  networkOriginOf: (path: readonly string[]) => Origin,
  faults: Fault[],
): readonly AbsPath[] {
  const table = ownTable(network, "unix_sockets") ?? newTable();
  const allowed: AbsPath[] = [];
  for (const key of Object.keys(table).sort()) {
    if (table[key] !== "allow") continue;
    const path = pathOf(key, context.home);
    if (path !== null) allowed.push(path);
    else {
      faults.push({
        severity: "error",
        origin: networkOriginOf(["unix_sockets", key]),
        message: `unix socket ${
          JSON.stringify(key)
        } must be an absolute path, or \`~/...\``,
      });
    }
  }
  return allowed;
}

function optionsOf(
  merged: TomlTable,
  unixSockets: readonly AbsPath[],
): PolicyOptions {
  const defaults = DEFAULT_POLICY_OPTIONS;
  const tmp = own(merged, "tmp") as PolicyOptions["tmp"] | undefined;
  const require = own(merged, "require") as readonly PromiseName[] | undefined;
  const backend = own(merged, "glob_backend") as
    | PolicyOptions["globBackend"]
    | undefined;
  return {
    tmp: tmp ?? defaults.tmp,
    require: require === undefined ? [] : [...new Set(require)],
    debug: own(merged, "debug") === true,
    nestedNamespaces: own(merged, "nested_namespaces") === true,
    loopback: own(merged, "loopback") !== false,
    nestedRepositories: own(merged, "nested_repositories") === "write"
      ? "write"
      : "read",
    globBackend: backend ?? defaults.globBackend,
    unixSockets,
  };
}
