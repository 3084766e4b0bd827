/**
 * The permission profile as JSON, read from other programs.
 *
 * Pure. Also read: the aliases `none` and `current_working_directory`, the legacy form, and 0.169's `missing_path_behavior`. Unknown
 * kinds fail, unknown keys are ignored in the tagged form and refused in the legacy form, as there.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type JsonObject, type JsonValue, readJson } from "./json.ts";
import type { AbsPath } from "./path.ts";
import type {
  Access,
  Entry,
  EntryPath,
  FileSystemProfile,
  NetworkAccess,
  PermissionProfile,
  SpecialPath,
} from "./policy.ts";
import {
  booleanAt,
  bytesAt,
  countAt,
  listAt,
  member,
  mismatch,
  objectAt,
  onlyKeys,
  pathAt,
  required,
  type ShapeError,
  wordAt,
} from "./shape.ts";
import { fail, ok, type Result, unreachable } from "../result.ts";

/** Why a text is no profile: one line, no full stop. */
export interface WireError {
  readonly kind: "wire";
  readonly message: string;
}

/**
 * The profile that `text` spells.
 *
 * @param source what the text came in, for the entries' origins: `--permission-profile`
 */
export function parseProfile(
  text: ByteString,
  source: string,
): Result<PermissionProfile, WireError> {
  const json = readJson(text);
  const profile = json.ok ? profileAt(json.value, "", source) : json;
  if (profile.ok) return profile;
  return fail({
    kind: "wire",
    message: `invalid permission profile JSON: ${profile.error.message}`,
  });
}

/** The profile at `place`, in the tagged or the legacy form. */
export function profileAt(
  value: JsonValue,
  place: string,
  source: string,
): Result<PermissionProfile, ShapeError> {
  const object = objectAt(value, place);
  if (!object.ok) return object;
  const tag = object.value.members.get("type");
  if (tag === undefined) return legacyProfileAt(object.value, place, source);
  const type = wordAt(tag, at(place, "type"), [
    "managed",
    "disabled",
    "external",
  ]);
  if (!type.ok) return type;
  if (type.value === "disabled") return ok({ kind: "disabled" });
  const network = networkAt(object.value, place);
  if (!network.ok) return network;
  if (type.value === "external") {
    return ok({ kind: "external", network: network.value });
  }
  const files = required(object.value, place, "file_system");
  if (!files.ok) return files;
  const fileSystem = fileSystemAt(
    files.value,
    at(place, "file_system"),
    source,
  );
  if (!fileSystem.ok) return fileSystem;
  return ok({
    kind: "managed",
    fileSystem: fileSystem.value,
    network: network.value,
  });
}

/** One entry at `place`. `source` and `place` become its origin. */
function entryAt(
  value: JsonValue,
  place: string,
  source: string,
): Result<Entry, ShapeError> {
  const object = objectAt(value, place);
  if (!object.ok) return object;
  const where = required(object.value, place, "path");
  if (!where.ok) return where;
  const path = entryPathAt(where.value, at(place, "path"));
  if (!path.ok) return path;
  const what = required(object.value, place, "access");
  if (!what.ok) return what;
  const access = accessAt(what.value, at(place, "access"));
  if (!access.ok) return access;
  const origin = { file: null, key: at(source, place) };
  const entry = { path: path.value, access: access.value, origin };
  const missing = member(object.value, "missing_path_behavior");
  if (missing === null) return ok(entry);
  const behavior = wordAt(missing, at(place, "missing_path_behavior"), [
    "skip",
  ]);
  if (!behavior.ok) return behavior;
  return ok({ ...entry, missingPathBehavior: behavior.value });
}

/** `a.b`, without a point where one half is empty. */
export function at(place: string, key: string): string {
  return place === "" ? key : key === "" ? place : `${place}.${key}`;
}

export function networkWordAt(
  value: JsonValue,
  place: string,
): Result<NetworkAccess, ShapeError> {
  return wordAt(value, place, ["restricted", "enabled"]);
}

/** `glob_scan_max_depth`, or `null`. */
function scanDepthAt(
  object: JsonObject,
  place: string,
): Result<number | null, ShapeError> {
  const value = member(object, "glob_scan_max_depth");
  return value === null
    ? ok(null)
    : countAt(value, at(place, "glob_scan_max_depth"));
}

function networkAt(
  object: JsonObject,
  place: string,
): Result<NetworkAccess, ShapeError> {
  const value = required(object, place, "network");
  return value.ok ? networkWordAt(value.value, at(place, "network")) : value;
}

function fileSystemAt(
  value: JsonValue,
  place: string,
  source: string,
): Result<FileSystemProfile, ShapeError> {
  const object = objectAt(value, place);
  if (!object.ok) return object;
  const tag = required(object.value, place, "type");
  if (!tag.ok) return tag;
  const type = wordAt(tag.value, at(place, "type"), [
    "restricted",
    "unrestricted",
  ]);
  if (!type.ok) return type;
  if (type.value === "unrestricted") return ok({ kind: "unrestricted" });
  const list = required(object.value, place, "entries");
  if (!list.ok) return list;
  return restrictedAt(object.value, list.value, place, source);
}

/** A restricted file system of `list` and the depth that `object` may hold. */
export function restrictedAt(
  object: JsonObject,
  list: JsonValue,
  place: string,
  source: string,
): Result<FileSystemProfile, ShapeError> {
  const entries = listAt(
    list,
    at(place, "entries"),
    (item, itemPlace) => entryAt(item, itemPlace, source),
  );
  if (!entries.ok) return entries;
  const depth = scanDepthAt(object, place);
  if (!depth.ok) return depth;
  const profile = { kind: "restricted", entries: entries.value } as const;
  return ok(
    depth.value === null
      ? profile
      : { ...profile, globScanMaxDepth: depth.value },
  );
}

function accessAt(value: JsonValue, place: string): Result<Access, ShapeError> {
  if (value.kind === "string" && value.value === "none") return ok("deny");
  return wordAt(value, place, ["read", "write", "deny"]);
}

function entryPathAt(
  value: JsonValue,
  place: string,
): Result<EntryPath, ShapeError> {
  const object = objectAt(value, place);
  if (!object.ok) return object;
  const tag = required(object.value, place, "type");
  if (!tag.ok) return tag;
  const type = wordAt(tag.value, at(place, "type"), [
    "path",
    "glob_pattern",
    "special",
  ]);
  if (!type.ok) return type;
  switch (type.value) {
    case "path": {
      const text = required(object.value, place, "path");
      if (!text.ok) return text;
      const path = pathAt(text.value, at(place, "path"));
      return path.ok ? ok({ kind: "path", path: path.value }) : path;
    }
    case "glob_pattern": {
      const text = required(object.value, place, "pattern");
      if (!text.ok) return text;
      const pattern = bytesAt(text.value, at(place, "pattern"));
      if (!pattern.ok) return pattern;
      return ok({ kind: "glob_pattern", pattern: pattern.value });
    }
    case "special": {
      const inner = required(object.value, place, "value");
      if (!inner.ok) return inner;
      const special = specialAt(inner.value, at(place, "value"));
      return special.ok
        ? ok({ kind: "special", value: special.value })
        : special;
    }
    default:
      return unreachable(type.value);
  }
}

function specialAt(
  value: JsonValue,
  place: string,
): Result<SpecialPath, ShapeError> {
  const object = objectAt(value, place);
  if (!object.ok) return object;
  const tag = required(object.value, place, "kind");
  if (!tag.ok) return tag;
  const kind = wordAt(tag.value, at(place, "kind"), [
    "root",
    "minimal",
    "project_roots",
    "current_working_directory",
    "tmpdir",
    "slash_tmp",
    "unknown",
  ]);
  if (!kind.ok) return kind;
  switch (kind.value) {
    case "root":
    case "minimal":
    case "tmpdir":
    case "slash_tmp":
      return ok({ kind: kind.value });
    case "project_roots":
    case "current_working_directory": {
      const subpath = subpathAt(object.value, place);
      if (!subpath.ok) return subpath;
      return ok({ kind: "project_roots", ...subpath.value });
    }
    case "unknown": {
      const text = required(object.value, place, "path");
      if (!text.ok) return text;
      const path = bytesAt(text.value, at(place, "path"));
      if (!path.ok) return path;
      const subpath = subpathAt(object.value, place);
      if (!subpath.ok) return subpath;
      return ok({ kind: "unknown", path: path.value, ...subpath.value });
    }
    default:
      return unreachable(kind.value);
  }
}

/** A descendant: nothing absolute, no `..`, or the entry would speak of another place than its symbol. */
function subpathAt(
  object: JsonObject,
  place: string,
): Result<{ readonly subpath?: ByteString }, ShapeError> {
  const value = member(object, "subpath");
  if (value === null) return ok({});
  const subpath = bytesAt(value, at(place, "subpath"));
  if (!subpath.ok) return subpath;
  if (
    subpath.value.startsWith("/") || subpath.value.split("/").includes("..")
  ) {
    const wish = 'a relative path without ".."';
    return mismatch(value, at(place, "subpath"), wish);
  }
  return ok({ subpath: subpath.value });
}

/** A plain entry that no file holds; `key` names it. */
export function pathEntry(path: AbsPath, access: Access, key: string): Entry {
  return { path: { kind: "path", path }, access, origin: { file: null, key } };
}

/** `{"network":{"enabled":true},"file_system":{"read":[…],"write":[…]}}`: what is absent, null or empty is not allowed. */
function legacyProfileAt(
  object: JsonObject,
  place: string,
  source: string,
): Result<PermissionProfile, ShapeError> {
  const known = onlyKeys(object, place, ["network", "file_system"]);
  if (!known.ok) return known;
  const network = legacyNetworkAt(object, place);
  if (!network.ok) return network;
  const fileSystem = legacyFileSystemAt(object, place, source);
  if (!fileSystem.ok) return fileSystem;
  return ok({
    kind: "managed",
    fileSystem: fileSystem.value,
    network: network.value,
  });
}

function legacyNetworkAt(
  object: JsonObject,
  place: string,
): Result<NetworkAccess, ShapeError> {
  const value = member(object, "network");
  if (value === null) return ok("restricted");
  const network = objectAt(value, at(place, "network"));
  if (!network.ok) return network;
  const known = onlyKeys(network.value, at(place, "network"), ["enabled"]);
  if (!known.ok) return known;
  const enabled = member(network.value, "enabled");
  if (enabled === null) return ok("restricted");
  const isEnabled = booleanAt(enabled, at(place, "network.enabled"));
  if (!isEnabled.ok) return isEnabled;
  return ok(isEnabled.value ? "enabled" : "restricted");
}

function legacyFileSystemAt(
  object: JsonObject,
  place: string,
  source: string,
): Result<FileSystemProfile, ShapeError> {
  const value = member(object, "file_system");
  const where = at(place, "file_system");
  if (value === null) return ok({ kind: "restricted", entries: [] });
  const files = objectAt(value, where);
  if (!files.ok) return files;
  const list = files.value.members.get("entries");
  if (list !== undefined) {
    const keys = ["entries", "glob_scan_max_depth"];
    const known = onlyKeys(files.value, where, keys);
    return known.ok ? restrictedAt(files.value, list, where, source) : known;
  }
  const known = onlyKeys(files.value, where, ["read", "write"]);
  if (!known.ok) return known;
  const entries: Entry[] = [];
  for (const access of ["read", "write"] as const) {
    const paths = member(files.value, access);
    if (paths === null) continue;
    const listed = listAt(paths, at(where, access), pathAt);
    if (!listed.ok) return listed;
    for (const [index, path] of listed.value.entries()) {
      const key = at(source, `${at(where, access)}[${index}]`);
      entries.push(pathEntry(path, access, key));
    }
  }
  return ok({ kind: "restricted", entries });
}
