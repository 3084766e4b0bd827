/**
 * Sandbox state: a ready-made profile with its working directory (`--sandbox-state-json`), and the flags that adjust it.
 *
 * Pure. Unknown keys are ignored, as Codex 0.145 does.
 *
 * @module
 */
import { type ByteString, fromText, toText } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import { type JsonValue, readJson } from "./json.ts";
import {
  type AbsPath,
  depthOf,
  isInside,
  resolvePath,
  ROOT,
  toAbsPath,
} from "./path.ts";
import { TMP } from "./places.ts";
import type { Access, Entry, PermissionProfile } from "./policy.ts";
import {
  booleanAt,
  member,
  mismatch,
  objectAt,
  pathAt,
  required,
  type ShapeError,
  stringAt,
} from "./shape.ts";
import { pathEntry, profileAt, type WireError } from "./wire.ts";

/** What `--sandbox-state-json` carries. */
export interface SandboxState {
  readonly profile: PermissionProfile;
  /** Working directory of policy and command. */
  readonly cwd: AbsPath;
  /** The helper to execute with argv[0] `codex-linux-sandbox`, `null` for our own. */
  readonly helper: AbsPath | null;
  readonly useLegacyLandlock: boolean;
}

/** The flags beside it. */
export interface StateCompanions {
  /** `--sandbox-state-readable-root`, made absolute. */
  readonly readableRoots: readonly AbsPath[];
  /** `--sandbox-state-disable-network`. */
  readonly disableNetwork: boolean;
}

const SOURCE = "--sandbox-state-json";

/** The state that `text` spells. */
export function parseSandboxState(
  text: ByteString,
): Result<SandboxState, WireError> {
  const json = readJson(text);
  const state = json.ok ? stateAt(json.value) : json;
  if (state.ok) return state;
  return fail({
    kind: "wire",
    message: `invalid --sandbox-state-json value: ${state.error.message}`,
  });
}

/**
 * The profile to enforce: `external` becomes read-only without network, the network is taken away if asked, and each readable root
 * that can't be read yet gets a read entry at the end.
 *
 * @param tmpdir `$TMPDIR` as far as the policy heeds it, for what can be read already
 */
export function adjustProfile(
  state: SandboxState,
  companions: StateCompanions,
  tmpdir: AbsPath | null,
): Result<PermissionProfile, WireError> {
  const profile = state.profile.kind === "external" ? READ_ONLY : state.profile;
  if (profile.kind === "disabled") {
    if (!companions.disableNetwork) return ok(profile);
    return fail({
      kind: "wire",
      message:
        "--sandbox-state-disable-network cannot be applied to a disabled permission profile",
    });
  }
  const network = companions.disableNetwork ? "restricted" : profile.network;
  const { fileSystem } = profile;
  if (fileSystem.kind === "unrestricted") return ok({ ...profile, network });
  const entries = [...fileSystem.entries];
  for (const root of companions.readableRoots) {
    const symbols = { cwd: state.cwd, tmpdir };
    if (canRead(entries, root, symbols)) continue;
    const key = `--sandbox-state-readable-root ${toText(root)}`;
    entries.push(pathEntry(root, "read", key));
  }
  return ok({
    kind: "managed",
    fileSystem: { ...fileSystem, entries },
    network,
  });
}

const READ_ONLY = {
  kind: "managed",
  fileSystem: {
    kind: "restricted",
    entries: [{
      path: { kind: "special", value: { kind: "root" } },
      access: "read",
      origin: { file: null, key: "built-in :read-only" },
    }],
  },
  network: "restricted",
} as const satisfies PermissionProfile;

/** What symbols stand for. */
export interface Symbols {
  readonly cwd: AbsPath;
  readonly tmpdir: AbsPath | null;
}

/** Where an entry lies, lexically; `null` for globs and for symbols that name no single place. */
export function entryPlace(entry: Entry, symbols: Symbols): AbsPath | null {
  if (entry.path.kind === "path") return entry.path.path;
  if (entry.path.kind === "glob_pattern") return null;
  const special = entry.path.value;
  switch (special.kind) {
    case "root":
      return ROOT;
    case "project_roots":
      return resolvePath(symbols.cwd, special.subpath ?? ".");
    case "tmpdir":
      return symbols.tmpdir;
    case "slash_tmp":
      return TMP;
    default:
      return null;
  }
}

/** The deepest entry at or above `path` decides; of equals the strictest for reading. No link is followed. */
function canRead(
  entries: readonly Entry[],
  path: AbsPath,
  symbols: Symbols,
): boolean {
  let depth = -1;
  let access: Access = "deny";
  for (const entry of entries) {
    const place = entryPlace(entry, symbols);
    if (place === null || !isInside(path, { root: place })) continue;
    if (depthOf(place) > depth) access = entry.access;
    else if (depthOf(place) === depth && entry.access === "deny") {
      access = "deny";
    }
    depth = Math.max(depth, depthOf(place));
  }
  return access !== "deny";
}

function stateAt(value: JsonValue): Result<SandboxState, ShapeError> {
  const object = objectAt(value, "");
  if (!object.ok) return object;
  const nested = required(object.value, "", "permissionProfile");
  if (!nested.ok) return nested;
  const profile = profileAt(nested.value, "permissionProfile", SOURCE);
  if (!profile.ok) return profile;
  const directory = required(object.value, "", "sandboxCwd");
  if (!directory.ok) return directory;
  const cwd = uriAt(directory.value, "sandboxCwd");
  if (!cwd.ok) return cwd;
  const exe = member(object.value, "codexLinuxSandboxExe");
  const helper = exe === null ? ok(null) : pathAt(exe, "codexLinuxSandboxExe");
  if (!helper.ok) return helper;
  const flag = member(object.value, "useLegacyLandlock");
  const landlock = flag === null
    ? ok(false)
    : booleanAt(flag, "useLegacyLandlock");
  if (!landlock.ok) return landlock;
  return ok({
    profile: profile.value,
    cwd: cwd.value,
    helper: helper.value,
    useLegacyLandlock: landlock.value,
  });
}

function uriAt(value: JsonValue, place: string): Result<AbsPath, ShapeError> {
  const text = stringAt(value, place);
  if (!text.ok) return text;
  const path = fileUriPath(text.value);
  return path.ok ? path : mismatch(value, place, path.error);
}

/**
 * The path of a `file:` URI (RFC 8089), percent-decoded to bytes.
 *
 * @returns the wish, when it is none: a plain path, another host, a query, an encoded `/` or NUL
 */
export function fileUriPath(uri: string): Result<AbsPath, string> {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1];
  if (scheme === undefined) {
    return fail("a file URI (invalid URI: relative URL without a base)");
  }
  const match = /^file:\/\/(?:localhost)?(\/.*)$/i.exec(uri);
  if (match?.[1] === undefined) return fail("a URI like file:///absolute/path");
  // deno-lint-ignore no-control-regex
  if (/[?#\\\x00-\x1f\x7f]/.test(match[1])) {
    return fail("a file URI without query, fragment, backslash and controls");
  }
  if (/%(?:2f|00)/i.test(match[1])) {
    return fail("a file URI without %2F and %00");
  }
  if (/%(?![0-9a-f]{2})/i.test(match[1])) {
    return fail("two hexadecimal digits after each % of a file URI");
  }
  const decoded = fromText(match[1]).replace(
    /%([0-9a-f]{2})/gi,
    (_, digits: string) => String.fromCharCode(parseInt(digits, 16)),
  );
  const path = toAbsPath(decoded);
  return path === null ? fail("an absolute file URI") : ok(path);
}
