/**
 * The administrator's requirements, laid over what was chosen: allowed profiles and modes, paths nobody reads.
 *
 * Pure. Whatever isn't allowed becomes less and a warning says so; nothing here ever opens more than was chosen, but for
 * `default_permissions`, which is the administrator's own word.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { ProfileContext } from "./inheritance.ts";
import { parentOf } from "../policy/path.ts";
import type { Entry, PermissionProfile } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import { checkTypes } from "./check_types.ts";
import type {
  ConfigRequest,
  Layer,
  LoadedConfig,
  RequirementsFile,
  TomlTable,
} from "./config.ts";
import { denyPathOf } from "./entries.ts";
import { type Fault, originIn } from "./layers.ts";
import { buildBuiltIn, type BuiltProfile } from "./built_in_profiles.ts";
import { requirementsShape } from "./schema.ts";
import { builtInOf, type Choice, type SandboxMode } from "./selection.ts";
import { keyText, lookup, own, ownTable } from "./values.ts";

/** What must hold, from all sources that apply. */
export interface Requirements {
  readonly allowedModes: readonly SandboxMode[] | null;
  readonly allowedProfiles: TomlTable | null;
  readonly fallback: Choice | null;
  readonly denied: readonly Entry[];
  /** `[experimental_network]`. */
  readonly network: TomlTable | null;
  /** Where they come from, for warnings. */
  readonly source: string;
}

/** Nothing required. */
export const NO_REQUIREMENTS: Requirements = {
  allowedModes: null,
  allowedProfiles: null,
  fallback: null,
  denied: [],
  network: null,
  source: "",
};

/** Whether a source counts beside `-P`: root's own always does. */
export function doRequirementsApply(
  request: Pick<ConfigRequest, "permissionProfile" | "requirements">,
  isOwnedByRoot: boolean,
): boolean {
  return request.permissionProfile === null || request.requirements === "all" ||
    isOwnedByRoot;
}

/** The requirements file as a place where something can stand. */
export function requirementsLayer(
  { file, table, text }: RequirementsFile,
): Layer {
  return { kind: "managed", file, base: parentOf(file), table, text };
}

/** Reads the requirements that apply; on faults, all of them. */
export function requirementsOf(
  loaded: LoadedConfig,
  request: ConfigRequest,
): Result<Requirements, readonly Fault[]> {
  const managed = managedMode(loaded, request);
  const file = loaded.requirements;
  if (file === null || !doRequirementsApply(request, file.isOwnedByRoot)) {
    return ok(managed);
  }
  const layer = requirementsLayer(file);
  const typeFaults = checkTypes(layer, requirementsShape());
  if (typeFaults.length > 0) {
    return fail(typeFaults.map(({ severity, path, at, message }) => ({
      severity,
      origin: originIn(layer, path),
      at,
      message: `failed to parse requirements layer: ${message}`,
    })));
  }
  const { table } = file;
  const modes = own(table, "allowed_sandbox_modes") as
    | readonly SandboxMode[]
    | undefined;
  const faults: Fault[] = [];
  if (modes !== undefined && !modes.includes("read-only")) {
    faults.push({
      severity: "error",
      origin: originIn(layer, ["allowed_sandbox_modes"]),
      message: "allowed_sandbox_modes must include 'read-only'",
    });
  }
  const denied = deniedEntries(table, layer, loaded, faults);
  const fallback = fallbackOf(table, layer, faults);
  if (faults.length > 0) return fail(faults);
  return ok({
    allowedModes: both(managed.allowedModes, modes ?? null),
    allowedProfiles: ownTable(table, "allowed_permission_profiles") ?? null,
    fallback,
    denied,
    network: ownTable(table, "experimental_network") ?? null,
    source: toText(file.file),
  });
}

/** The choice, or the administrator's where it isn't allowed. */
export function allowedChoice(
  choice: Choice,
  requirements: Requirements,
): { readonly choice: Choice; readonly warning: string | null } {
  const { allowedProfiles, fallback, source } = requirements;
  if (allowedProfiles === null || fallback === null) {
    return { choice, warning: null };
  }
  const name = choice.kind === "profile" ? choice.name : builtInOf(choice.mode);
  if (own(allowedProfiles, name) === true) return { choice, warning: null };
  const instead = fallback.kind === "profile" ? fallback.name : "";
  const warning =
    `profile "${name}" is not allowed by ${source}: "${instead}" is used`;
  return { choice: fallback, warning };
}

/** The profile with what is required laid over it. */
export function required(
  built: BuiltProfile,
  requirements: Requirements,
  context: ProfileContext,
): { readonly built: BuiltProfile; readonly warning: string | null } {
  const { allowedModes, denied, network, source } = requirements;
  const mode = modeOf(built.profile);
  const readOnly = (): BuiltProfile => buildBuiltIn(":read-only", context)!;
  if (allowedModes !== null && !allowedModes.includes(mode)) {
    const warning =
      `profile "${built.name}" is a ${mode} one, which ${source} does not allow: ":read-only" is used`;
    return { built: withDenied(readOnly(), denied), warning };
  }
  if (network !== null && built.profile.kind !== "managed") {
    const warning =
      `profile "${built.name}" can't keep the network that ${source} requires: ":read-only" is used`;
    return { built: withDenied(readOnly(), denied), warning };
  }
  if (denied.length === 0) return { built, warning: null };
  const isOpen = built.profile.kind !== "managed" ||
    built.profile.fileSystem.kind !== "restricted";
  if (!isOpen) return { built: withDenied(built, denied), warning: null };
  const warning =
    `profile "${built.name}" can't keep the paths that ${source} denies: ":read-only" is used`;
  return { built: withDenied(readOnly(), denied), warning };
}

/** The legacy mode that a profile amounts to. */
function modeOf(profile: PermissionProfile): SandboxMode {
  if (profile.kind !== "managed") return "danger-full-access";
  const files = profile.fileSystem;
  if (files.kind === "unrestricted") return "danger-full-access";
  let mode: SandboxMode = "read-only";
  for (const { access, path } of files.entries) {
    if (access !== "write") continue;
    const isRoot = path.kind === "path"
      ? path.path === "/"
      : path.kind === "special" && path.value.kind === "root";
    if (isRoot) return "danger-full-access";
    mode = "workspace-write";
  }
  return mode;
}

function withDenied(
  built: BuiltProfile,
  denied: readonly Entry[],
): BuiltProfile {
  const { profile } = built;
  if (
    profile.kind !== "managed" || profile.fileSystem.kind !== "restricted" ||
    denied.length === 0
  ) return built;
  const fileSystem = {
    ...profile.fileSystem,
    entries: [...profile.fileSystem.entries, ...denied],
  };
  return { ...built, profile: { ...profile, fileSystem } };
}

/** `sandbox_mode` in the managed config allows that mode and read-only. */
function managedMode(
  loaded: LoadedConfig,
  request: ConfigRequest,
): Requirements {
  const layer = loaded.layers.find((it) => it.kind === "managed");
  const mode = layer === undefined
    ? undefined
    : own(layer.table, "sandbox_mode");
  if (
    layer === undefined || mode === undefined ||
    !doRequirementsApply(request, layer.isOwnedByRoot === true)
  ) return NO_REQUIREMENTS;
  return {
    ...NO_REQUIREMENTS,
    allowedModes: ["read-only", mode as SandboxMode],
    source: layer.file === null ? "" : toText(layer.file),
  };
}

function both(
  one: readonly SandboxMode[] | null,
  other: readonly SandboxMode[] | null,
): readonly SandboxMode[] | null {
  if (one === null || other === null) return one ?? other;
  return one.filter((mode) => other.includes(mode));
}

function fallbackOf(
  table: TomlTable,
  layer: Layer,
  faults: Fault[],
): Choice | null {
  const allowed = ownTable(table, "allowed_permission_profiles");
  if (allowed === undefined) return null;
  const written = own(table, "default_permissions") as string | undefined;
  const name = written ?? ":read-only";
  const key = written === undefined
    ? "allowed_permission_profiles"
    : "default_permissions";
  const origin = originIn(layer, [key]);
  if (written !== undefined && own(allowed, name) !== true) {
    faults.push({
      severity: "error",
      origin,
      message: `default_permissions is "${name}", which ${
        keyText(["allowed_permission_profiles", name])
      } does not allow`,
    });
  }
  return { kind: "profile", name, origin };
}

function deniedEntries(
  table: TomlTable,
  layer: Layer,
  loaded: LoadedConfig,
  faults: Fault[],
): readonly Entry[] {
  const key = ["permissions", "filesystem", "deny_read"];
  const list = lookup(table, key) as readonly string[] | undefined;
  const origin = originIn(layer, key);
  const entries: Entry[] = [];
  for (const text of list ?? []) {
    const path = denyPathOf(text, loaded.home);
    if (path !== null) entries.push({ path, access: "deny", origin });
    else {
      faults.push({
        severity: "error",
        origin,
        message: `deny_read entry ${
          JSON.stringify(text)
        } must be absolute or use \`~/...\``,
      });
    }
  }
  return entries;
}
