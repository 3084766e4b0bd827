/**
 * The profiles that need no table: the built-in ones, and the modes of old.
 *
 * Pure.
 *
 * @module
 */
import type { PolicyOptions } from "../policy/policy.ts";
import { fromText } from "../bytes.ts";
import type { TomlTable } from "./config.ts";
import { pathOf } from "./entries.ts";
import {
  featureOf,
  featureOrigin,
  type ProfileContext,
} from "./inheritance.ts";
import { type Fault, layerOf, originOf } from "./layers.ts";
import { decideNetwork } from "./network_settings.ts";
import type { SandboxMode } from "./selection.ts";
import { newTable, own, ownTable } from "./values.ts";
import { type AbsPath, childOf, resolvePath } from "../policy/path.ts";
import {
  DEFAULT_POLICY_OPTIONS,
  type Entry,
  METADATA_NAMES,
  type NetworkMode,
  type Origin,
  type PermissionProfile,
  type SpecialPath,
} from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";

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

export function builtInOrigin(name: string): Origin {
  return { file: null, key: `built-in ${name}` };
}

export function buildLegacy(
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
    featureOf(context),
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
