/**
 * The older helper flags (`--sandbox-policy`, `--file-system-sandbox-policy`, `--network-sandbox-policy`), turned into a profile.
 *
 * Pure. Behaves as Codex 0.120 where the three agree or only one reading is possible; anything else is refused with its message.
 *
 * @module
 */
import { type ByteString, fromText } from "../bytes.ts";
import { fail, ok, type Result, unreachable } from "../result.ts";
import { type JsonObject, type JsonValue, readJson } from "./json.ts";
import { type AbsPath, childOf, nameOf, parentOf } from "./path.ts";
import {
  type Access,
  type Entry,
  type EntryPath,
  METADATA_NAMES,
  type NetworkAccess,
  type PermissionProfile,
} from "./policy.ts";
import {
  booleanAt,
  listAt,
  member,
  objectAt,
  pathAt,
  required,
  type ShapeError,
  wordAt,
} from "./shape.ts";
import {
  networkWordAt,
  pathEntry,
  restrictedAt,
  type WireError,
} from "./wire.ts";
import { entryPlace } from "./wire_state.ts";

/** The flags' values, `null` where a flag is absent. */
export interface SplitFlags {
  readonly sandboxPolicy: ByteString | null;
  readonly fileSystemPolicy: ByteString | null;
  readonly networkPolicy: ByteString | null;
}

/** `usage`: the text of a flag is malformed (exit 2 there). `conflict`: the flags don't fit together (exit 101 there). */
export interface SplitError extends Omit<WireError, "kind"> {
  readonly kind: "usage" | "conflict";
}

/** The profile that the flags mean together, with `cwd` as the workspace. */
export function profileFromSplit(
  flags: SplitFlags,
  cwd: AbsPath,
): Result<PermissionProfile, SplitError> {
  const legacy = readFlag(flags.sandboxPolicy, LEGACY_FLAG, legacyAt);
  if (!legacy.ok) return legacy;
  const files = readFlag(flags.fileSystemPolicy, FILES_FLAG, filesAt);
  if (!files.ok) return files;
  const network = readFlag(
    flags.networkPolicy,
    NETWORK_FLAG,
    (value) => networkWordAt(value, ""),
  );
  if (!network.ok) return network;
  if ((files.value === null) !== (network.value === null)) {
    return conflict(
      "file-system and network sandbox policies must be provided together",
    );
  }
  const derived = legacy.value === null ? null : fromLegacy(legacy.value, cwd);
  if (files.value === null || network.value === null) {
    return derived === null
      ? conflict("missing sandbox policy configuration")
      : ok(derived);
  }
  const split = fromSplit(files.value, network.value);
  if (derived === null || !isLegacyShaped(split, cwd)) return ok(split);
  return summary(derived, cwd) === summary(split, cwd)
    ? ok(split)
    : conflict("legacy sandbox policy must match split sandbox policies");
}

const LEGACY_FLAG = "--sandbox-policy";
const FILES_FLAG = "--file-system-sandbox-policy";
const NETWORK_FLAG = "--network-sandbox-policy";

type Legacy =
  | { readonly kind: "read-only"; readonly network: NetworkAccess }
  | {
    readonly kind: "workspace-write";
    readonly network: NetworkAccess;
    readonly writableRoots: readonly AbsPath[];
    readonly excludeTmpdir: boolean;
    readonly excludeSlashTmp: boolean;
  }
  | { readonly kind: "danger-full-access" }
  | { readonly kind: "external-sandbox"; readonly network: NetworkAccess };

type Files =
  | Extract<PermissionProfile, { kind: "managed" }>["fileSystem"]
  | { readonly kind: "external-sandbox" };

function conflict(
  message: string,
): { readonly ok: false; readonly error: SplitError } {
  return fail({ kind: "conflict", message });
}

function readFlag<T>(
  text: ByteString | null,
  flag: string,
  read: (value: JsonValue) => Result<T, ShapeError>,
): Result<T | null, SplitError> {
  if (text === null) return ok(null);
  const json = readJson(text);
  const value = json.ok ? read(json.value) : json;
  if (value.ok) return value;
  const message = `invalid value for ${flag}: ${value.error.message}`;
  return fail({ kind: "usage", message });
}

function legacyAt(value: JsonValue): Result<Legacy, ShapeError> {
  const object = objectAt(value, "");
  if (!object.ok) return object;
  const tag = required(object.value, "", "type");
  if (!tag.ok) return tag;
  const kind = wordAt(tag.value, "type", [
    "read-only",
    "workspace-write",
    "danger-full-access",
    "external-sandbox",
  ]);
  if (!kind.ok) return kind;
  switch (kind.value) {
    case "danger-full-access":
      return ok({ kind: kind.value });
    case "external-sandbox": {
      const access = member(object.value, "network_access");
      const network = access === null
        ? ok("restricted" as const)
        : networkWordAt(access, "network_access");
      return network.ok
        ? ok({ kind: kind.value, network: network.value })
        : network;
    }
    case "read-only": {
      const enabled = flagAt(object.value, "network_access");
      if (!enabled.ok) return enabled;
      return ok({ kind: kind.value, network: networkFor(enabled.value) });
    }
    case "workspace-write":
      return workspaceAt(object.value);
    default:
      return unreachable(kind.value);
  }
}

function workspaceAt(object: JsonObject): Result<Legacy, ShapeError> {
  const enabled = flagAt(object, "network_access");
  if (!enabled.ok) return enabled;
  const excludeTmpdir = flagAt(object, "exclude_tmpdir_env_var");
  if (!excludeTmpdir.ok) return excludeTmpdir;
  const excludeSlashTmp = flagAt(object, "exclude_slash_tmp");
  if (!excludeSlashTmp.ok) return excludeSlashTmp;
  const list = member(object, "writable_roots");
  const roots = list === null ? ok([]) : listAt(list, "writable_roots", pathAt);
  if (!roots.ok) return roots;
  return ok({
    kind: "workspace-write",
    network: networkFor(enabled.value),
    writableRoots: roots.value,
    excludeTmpdir: excludeTmpdir.value,
    excludeSlashTmp: excludeSlashTmp.value,
  });
}

function flagAt(object: JsonObject, key: string): Result<boolean, ShapeError> {
  const value = member(object, key);
  return value === null ? ok(false) : booleanAt(value, key);
}

function networkFor(isEnabled: boolean): NetworkAccess {
  return isEnabled ? "enabled" : "restricted";
}

function filesAt(value: JsonValue): Result<Files, ShapeError> {
  const object = objectAt(value, "");
  if (!object.ok) return object;
  const tag = required(object.value, "", "kind");
  if (!tag.ok) return tag;
  const kind = wordAt(tag.value, "kind", [
    "restricted",
    "unrestricted",
    "external-sandbox",
  ]);
  if (!kind.ok) return kind;
  if (kind.value !== "restricted") return ok({ kind: kind.value });
  const list = member(object.value, "entries");
  if (list === null) return ok({ kind: "restricted", entries: [] });
  return restrictedAt(object.value, list, "", FILES_FLAG);
}

/** What a legacy policy means. `CWD/.codex` is protected even when missing; other metadata needs no entry. */
function fromLegacy(legacy: Legacy, cwd: AbsPath): PermissionProfile {
  switch (legacy.kind) {
    case "danger-full-access":
      return { kind: "disabled" };
    case "external-sandbox":
      return { kind: "external", network: legacy.network };
    case "read-only":
      return managed([symbolEntry({ kind: "root" }, "read")], legacy.network);
    case "workspace-write": {
      const key = `${LEGACY_FLAG} writable_roots`;
      const entries = [
        symbolEntry({ kind: "root" }, "read"),
        symbolEntry({ kind: "project_roots" }, "write"),
        ...(legacy.excludeSlashTmp
          ? []
          : [symbolEntry({ kind: "slash_tmp" }, "write")]),
        ...(legacy.excludeTmpdir
          ? []
          : [symbolEntry({ kind: "tmpdir" }, "write")]),
        ...legacy.writableRoots.map((root) => pathEntry(root, "write", key)),
        pathEntry(childOf(cwd, ".codex"), "read", LEGACY_FLAG),
      ];
      return managed(entries, legacy.network);
    }
    default:
      return unreachable(legacy);
  }
}

function managed(
  entries: readonly Entry[],
  network: NetworkAccess,
): PermissionProfile {
  return {
    kind: "managed",
    fileSystem: { kind: "restricted", entries },
    network,
  };
}

function symbolEntry(
  value: Extract<EntryPath, { kind: "special" }>["value"],
  access: Access,
): Entry {
  const origin = { file: null, key: `${LEGACY_FLAG} type` };
  return { path: { kind: "special", value }, access, origin };
}

function fromSplit(files: Files, network: NetworkAccess): PermissionProfile {
  if (files.kind === "external-sandbox") return { kind: "external", network };
  // Full access in both halves is what the legacy policy spells as one.
  if (files.kind === "unrestricted" && network === "enabled") {
    return { kind: "disabled" };
  }
  return { kind: "managed", fileSystem: files, network };
}

/**
 * Whether a legacy policy could say the same: everything readable, no deny, no glob, and read entries only for metadata. Otherwise
 * the split flags say more, and win.
 */
function isLegacyShaped(profile: PermissionProfile, cwd: AbsPath): boolean {
  if (profile.kind !== "managed") return true;
  if (profile.fileSystem.kind === "unrestricted") return true;
  const { entries } = profile.fileSystem;
  const rootRead = entries.some(({ path, access }) =>
    path.kind === "special" && path.value.kind === "root" && access === "read"
  );
  return rootRead && entries.every((entry) => {
    if (entry.access === "deny" || entry.path.kind === "glob_pattern") {
      return false;
    }
    const symbol = entry.path.kind === "special" ? entry.path.value.kind : null;
    if (entry.access === "write") return symbol !== "root";
    return symbol === "root" || isMetadata(entry, entries, cwd);
  });
}

/** Whether a read entry only repeats the protection of metadata in a writable root. */
function isMetadata(
  entry: Entry,
  entries: readonly Entry[],
  cwd: AbsPath,
): boolean {
  const place = entryPlace(entry, { cwd, tmpdir: null });
  if (place === null || !METADATA_NAMES.includes(nameOf(place))) return false;
  return entries.some((other) =>
    other.access === "write" &&
    entryPlace(other, { cwd, tmpdir: null }) === parentOf(place)
  );
}

/** What a legacy shaped profile says, spelled in one way: symbols of one place made paths, metadata left out, sorted. */
function summary(profile: PermissionProfile, cwd: AbsPath): string {
  if (profile.kind === "disabled") return "disabled";
  if (profile.kind === "external") return `external ${profile.network}`;
  const { fileSystem, network } = profile;
  if (fileSystem.kind === "unrestricted") return `unrestricted ${network}`;
  const lines = new Set<string>();
  for (const entry of fileSystem.entries) {
    if (isMetadata(entry, fileSystem.entries, cwd)) continue;
    const place = entryPlace(entry, { cwd, tmpdir: TMPDIR });
    // Symbols that stand for nothing enforce nothing.
    if (place !== null) lines.add(`${entry.access} ${place}`);
  }
  return [network, ...[...lines].sort()].join("\n");
}

/** Stands for `$TMPDIR`, whatever it is: no path can hold a NUL. */
const TMPDIR = fromText("\0tmpdir") as unknown as AbsPath;
