/**
 * A chosen profile, built: inheritance, entries, network and options of one `[permissions.NAME]`, a built-in or a legacy mode.
 *
 * Pure. Types have been checked before; what is left to find here is meaning: names, paths, globs.
 *
 * @module
 */
import { type ByteString, fromText, toText } from "../bytes.ts";
import { nearest as nearestWord } from "../nearest.ts";
import { type AbsPath, childOf, resolvePath } from "../policy/path.ts";
import {
  DEFAULT_POLICY_OPTIONS,
  type Entry,
  METADATA_NAMES,
  type NetworkMode,
  type Origin,
  type PermissionProfile,
  type PolicyOptions,
  type PromiseName,
  type SpecialPath,
} from "../policy/policy.ts";
import { type ResolvedPolicy, resolvePolicy } from "../policy/resolve.ts";
import { fail, ok, type Result } from "../result.ts";
import type { Layer, TomlTable, TomlValue } from "./config.ts";
import { entriesOf, pathOf } from "./entries.ts";
import { type Fault, layerOf, originOf } from "./layers.ts";
import {
  decideNetwork,
  plainDomain,
  withPlainDomains,
} from "./network_settings.ts";
import {
  BUILT_IN_NAMES,
  type Choice,
  type SandboxMode,
  undefinedProfile,
} from "./selection.ts";
import {
  isTable,
  keyPart,
  keyText,
  lookup,
  mergeTables,
  newTable,
  own,
  ownTable,
} from "./values.ts";

/** What a profile is built from. */
export interface ProfileContext {
  readonly layers: readonly Layer[];
  /** The layers merged. */
  readonly table: TomlTable;
  readonly cwd: AbsPath;
  readonly home: AbsPath | null;
  readonly tmpdir: ByteString | null;
  /** `[experimental_network]` where it applies. */
  readonly networkRequirements: TomlTable | null;
}

/** A profile with nothing left to look up but the symbols of the wire format. */
export interface BuiltProfile {
  readonly name: string;
  readonly profile: PermissionProfile;
  readonly options: PolicyOptions;
  readonly workspaceRoots: readonly AbsPath[];
  readonly networkMode: NetworkMode;
  readonly networkTable: TomlTable;
  readonly networkOriginOf: (path: readonly string[]) => Origin;
}

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

/** A built-in profile by name, `null` when there is none of it. */
export function buildBuiltIn(
  name: string,
  context: ProfileContext,
): BuiltProfile | null {
  switch (name) {
    case ":read-only":
      return closed(name, context.cwd, [symbol("root", "read", name)]);
    case ":workspace":
      return closed(
        name,
        context.cwd,
        workspaceEntries([context.cwd], {
          name,
          hasTmpdir: true,
          hasSlashTmp: true,
        }),
      );
    case ":danger-full-access":
      return {
        ...closed(name, context.cwd, []),
        profile: { kind: "disabled" },
        networkMode: "host",
      };
    default:
      return null;
  }
}

function closed(
  name: string,
  cwd: AbsPath,
  entries: readonly Entry[],
): BuiltProfile {
  return {
    name,
    profile: {
      kind: "managed",
      fileSystem: { kind: "restricted", entries },
      network: "restricted",
    },
    options: DEFAULT_POLICY_OPTIONS,
    workspaceRoots: [cwd],
    networkMode: "none",
    networkTable: newTable(),
    networkOriginOf: () => builtInOrigin(name),
  };
}

/** The entries of `:workspace` in their fixed order. Further roots come with the legacy form only, and once more behind. */
function workspaceEntries(
  roots: readonly [AbsPath, ...AbsPath[]],
  options: {
    readonly name: string;
    readonly hasTmpdir: boolean;
    readonly hasSlashTmp: boolean;
  },
): readonly Entry[] {
  const { name } = options;
  const entries: Entry[] = [symbol("root", "read", name)];
  for (const root of roots) entries.push(plain(root, "write", name));
  if (options.hasSlashTmp) entries.push(symbol("slash_tmp", "write", name));
  if (options.hasTmpdir) entries.push(symbol("tmpdir", "write", name));
  for (const root of roots.slice(1)) entries.push(plain(root, "write", name));
  for (const metadata of METADATA_NAMES) {
    for (const root of roots) {
      entries.push(plain(childOf(root, metadata), "read", name));
    }
  }
  return entries;
}

function plain(path: AbsPath, access: "read" | "write", name: string): Entry {
  return {
    path: { kind: "path", path },
    access,
    origin: builtInOrigin(name),
  };
}

function symbol(
  kind: "root" | "slash_tmp" | "tmpdir",
  access: "read" | "write",
  name: string,
): Entry {
  const value: SpecialPath = { kind };
  return {
    path: { kind: "special", value },
    access,
    origin: builtInOrigin(name),
  };
}

function builtInOrigin(name: string): Origin {
  return { file: null, key: `built-in ${name}` };
}

// ---- legacy ----

function buildLegacy(
  mode: SandboxMode,
  context: ProfileContext,
): Result<BuiltProfile, readonly Fault[]> {
  switch (mode) {
    case "read-only":
      return ok(buildBuiltIn(":read-only", context)!);
    case "danger-full-access":
      return ok(buildBuiltIn(":danger-full-access", context)!);
    case "workspace-write":
      return buildLegacyWorkspace(context);
  }
}

function buildLegacyWorkspace(
  context: ProfileContext,
): Result<BuiltProfile, readonly Fault[]> {
  const name = ":workspace";
  const settings = ownTable(context.table, "sandbox_workspace_write") ??
    newTable();
  const roots = legacyRoots(settings, context);
  if (!roots.ok) return fail([roots.error]);
  const workspaceRoots: [AbsPath, ...AbsPath[]] = [context.cwd, ...roots.value];
  const entries = workspaceEntries(workspaceRoots, {
    name,
    hasTmpdir: own(settings, "exclude_tmpdir_env_var") !== true,
    hasSlashTmp: own(settings, "exclude_slash_tmp") !== true,
  });
  const network = newTable();
  if (own(settings, "network_access") === true) network.enabled = true;
  const decision = decideNetwork(
    network,
    featureOf(context.table),
    context.networkRequirements,
  );
  return ok({
    name,
    profile: {
      kind: "managed",
      fileSystem: { kind: "restricted", entries },
      network: decision.access,
    },
    options: DEFAULT_POLICY_OPTIONS,
    workspaceRoots,
    networkMode: decision.mode,
    networkTable: decision.table,
    networkOriginOf: (path) =>
      featureOrigin(context, path) ??
        originOf(context.layers, ["sandbox_workspace_write", "network_access"]),
  });
}

/** Relative to the directory of the file that names them; each once, without the working directory. */
function legacyRoots(
  settings: TomlTable,
  context: ProfileContext,
): Result<readonly AbsPath[], Fault> {
  const list = own(settings, "writable_roots") as
    | readonly string[]
    | undefined;
  if (list === undefined) return ok([]);
  const key = ["sandbox_workspace_write", "writable_roots"];
  const base = layerOf(context.layers, key)?.base ?? context.cwd;
  const roots = new Set<AbsPath>();
  for (const text of list) {
    const path = text === "" ? null : pathOf(text, context.home) ??
      (text.startsWith("~") ? null : resolvePath(base, fromText(text)));
    if (path === null) {
      return fail({
        severity: "error",
        origin: originOf(context.layers, key),
        message: `writable root ${
          JSON.stringify(text)
        } is no path: it must be absolute, relative or \`~/...\``,
      });
    }
    if (path !== context.cwd) roots.add(path);
  }
  return ok([...roots]);
}

// ---- profiles of the user ----

/** A profile and its parents, the outermost first; a built-in parent can only be the first. */
type Chain = readonly Link[];

interface Link {
  readonly name: string;
  readonly table: TomlTable;
  /** `permissions.NAME` as it is typed. */
  readonly key: string;
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
    featureOf(context.table),
    context.networkRequirements,
  );
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

/** Follows `extends` upwards. */
function chainOf(
  name: string,
  context: ProfileContext,
): Result<Chain, Fault> {
  const permissions = ownTable(context.table, "permissions") ?? newTable();
  const chain: Link[] = [];
  const names: string[] = [];
  let at = name;
  while (true) {
    const table = own(permissions, at) as TomlTable;
    chain.unshift({
      name: at,
      table: comparable(table),
      key: keyText(["permissions", at]),
    });
    names.push(at);
    const parent = own(table, "extends") as string | undefined;
    if (parent === undefined) return ok(chain);
    const key = ["permissions", at, "extends"];
    const origin = originOf(context.layers, key);
    if (parent.startsWith(":")) {
      const inner = builtInTable(parent);
      if (inner === null) {
        return fail(unsupportedParent(at, parent, origin));
      }
      chain.unshift({ name: parent, table: inner, key: parent });
      return ok(chain);
    }
    if (names.includes(parent)) {
      const cycle = [...names, parent].join(" -> ");
      return fail({
        severity: "error",
        origin,
        message: `permissions profile inheritance cycle detected: ${cycle}`,
      });
    }
    if (!Object.hasOwn(permissions, parent)) {
      return fail(undefinedParent(at, parent, origin, permissions));
    }
    at = parent;
  }
}

function unsupportedParent(
  name: string,
  parent: string,
  origin: Origin,
): Fault {
  return {
    severity: "error",
    origin,
    message:
      `permissions profile \`${name}\` cannot extend unsupported built-in profile \`${parent}\`: only \`:read-only\` and \`:workspace\` can be extended`,
  };
}

function undefinedParent(
  name: string,
  parent: string,
  origin: Origin,
  permissions: TomlTable,
): Fault {
  const known = [
    ...Object.keys(permissions).filter((it) => it !== name),
    ":read-only",
    ":workspace",
  ];
  const meant = nearestWord(parent, known);
  const hint = meant === null ? "" : ` (did you mean \`${meant}\`?)`;
  return {
    severity: "error",
    origin,
    message:
      `permissions profile \`${name}\` extends undefined profile \`${parent}\`${hint}`,
  };
}

/** A profile's table with its domains spelled alike, so that a child's word meets its parent's. */
function comparable(table: TomlTable): TomlTable {
  const network = ownTable(table, "network");
  return network === undefined
    ? table
    : { ...table, network: withPlainDomains(network) };
}

/** The built-in profiles as parents: the tables that spell them. */
function builtInTable(name: string): TomlTable | null {
  switch (name) {
    case ":read-only":
      return { filesystem: { ":root": "read" } };
    case ":workspace":
      return {
        filesystem: {
          ":root": "read",
          ":slash_tmp": "write",
          ":tmpdir": "write",
          ":workspace_roots": {
            ".": "write",
            ".git": "read",
            ".agents": "read",
            ".codex": "read",
          },
        },
      };
    default:
      return null;
  }
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

/** A key whose last part is a host in its plain form, with the host as the file spells it. */
function asWritten(
  table: TomlTable,
  path: readonly string[],
): readonly string[] {
  if (path.at(-2) !== "domains" || lookup(table, path) !== undefined) {
    return path;
  }
  const domains = lookup(table, path.slice(0, -1));
  const keys = isTable(domains) ? Object.keys(domains) : [];
  const written = keys.find((key) => plainDomain(key) === path.at(-1));
  return written === undefined ? path : [...path.slice(0, -1), written];
}

function featureOf(table: TomlTable): TomlValue | undefined {
  return lookup(table, ["features", "network_proxy"]);
}

/** Where `[features.network_proxy]` sets a network key, `null` when it doesn't. */
function featureOrigin(
  { layers, table }: ProfileContext,
  path: readonly string[],
): Origin | null {
  if (path[0] === "enabled") return null;
  const key = asWritten(table, ["features", "network_proxy", ...path]);
  return lookup(table, key) === undefined ? null : originOf(layers, key);
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

/** What `codex policy list` shows: every profile with its description and where it is defined. */
export function listProfiles(
  layers: readonly Layer[],
  table: TomlTable,
): readonly {
  readonly name: string;
  readonly description: string | null;
  readonly origin: Origin;
}[] {
  const permissions = ownTable(table, "permissions") ?? newTable();
  const own = Object.keys(permissions).sort().map((name) => {
    const description = lookup(permissions, [name, "description"]);
    return {
      name,
      description: typeof description === "string" ? description : null,
      origin: originOf(layers, ["permissions", name]),
    };
  });
  const builtIn = BUILT_IN_NAMES.map((name) => ({
    name,
    description: BUILT_IN_DESCRIPTIONS[name] ?? null,
    origin: builtInOrigin(name),
  }));
  return [...builtIn, ...own];
}

const BUILT_IN_DESCRIPTIONS: { readonly [name: string]: string } = {
  ":read-only": "Read everything, write nothing, no network",
  ":workspace":
    "Read everything, write the working directory and temporary folders, no network",
  ":danger-full-access": "No sandbox at all",
};

/** A path for a message. */
export function shownPath(path: AbsPath): string {
  return `"${toText(path)}"`;
}
