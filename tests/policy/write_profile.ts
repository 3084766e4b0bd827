/**
 * The permission profile as JSON, written byte for byte as Codex 0.145 does.
 *
 * The other half of every round trip, and what tests hand to the helper. The product reads profiles and writes none.
 *
 * @module
 */
import { type ByteString, decodeText, toText } from "../../src/bytes.ts";
import type {
  Entry,
  EntryPath,
  FileSystemProfile,
  PermissionProfile,
  SpecialPath,
} from "../../src/policy/policy.ts";
import type { WireError } from "../../src/policy/wire.ts";
import { fail, ok, type Result, unreachable } from "../../src/result.ts";

/** `profile` on one line. A path that is not UTF-8 has no JSON form: then the profile can't be written. */
export function writeProfile(
  profile: PermissionProfile,
): Result<string, WireError> {
  switch (profile.kind) {
    case "disabled":
      return ok('{"type":"disabled"}');
    case "external":
      return ok(`{"type":"external","network":"${profile.network}"}`);
    case "managed": {
      const files = writeFileSystem(profile.fileSystem);
      if (!files.ok) return files;
      return ok(
        `{"type":"managed","file_system":${files.value},"network":"${profile.network}"}`,
      );
    }
    default:
      return unreachable(profile);
  }
}

function writeFileSystem(files: FileSystemProfile): Result<string, WireError> {
  if (files.kind === "unrestricted") return ok('{"type":"unrestricted"}');
  const entries: string[] = [];
  for (const entry of files.entries) {
    const written = writeEntry(entry);
    if (!written.ok) return written;
    entries.push(written.value);
  }
  const depth = files.globScanMaxDepth === undefined
    ? ""
    : `,"glob_scan_max_depth":${files.globScanMaxDepth}`;
  return ok(`{"type":"restricted","entries":[${entries.join(",")}]${depth}}`);
}

function writeEntry(entry: Entry): Result<string, WireError> {
  const path = writeEntryPath(entry.path);
  if (!path.ok) return path;
  const missing = entry.missingPathBehavior === undefined
    ? ""
    : `,"missing_path_behavior":"${entry.missingPathBehavior}"`;
  return ok(`{"path":${path.value},"access":"${entry.access}"${missing}}`);
}

function writeEntryPath(path: EntryPath): Result<string, WireError> {
  switch (path.kind) {
    case "path": {
      const text = quoted(path.path);
      return text.ok ? ok(`{"type":"path","path":${text.value}}`) : text;
    }
    case "glob_pattern": {
      const text = quoted(path.pattern);
      if (!text.ok) return text;
      return ok(`{"type":"glob_pattern","pattern":${text.value}}`);
    }
    case "special": {
      const value = writeSpecial(path.value);
      return value.ok ? ok(`{"type":"special","value":${value.value}}`) : value;
    }
    default:
      return unreachable(path);
  }
}

function writeSpecial(special: SpecialPath): Result<string, WireError> {
  const parts = [`"kind":"${special.kind}"`];
  if (special.kind === "unknown") {
    const path = quoted(special.path);
    if (!path.ok) return path;
    parts.push(`"path":${path.value}`);
  }
  if ("subpath" in special && special.subpath !== undefined) {
    const subpath = quoted(special.subpath);
    if (!subpath.ok) return subpath;
    parts.push(`"subpath":${subpath.value}`);
  }
  return ok(`{${parts.join(",")}}`);
}

/** `JSON.stringify` escapes exactly what serde_json does, as long as there are no lone surrogates. */
function quoted(bytes: ByteString): Result<string, WireError> {
  const text = decodeText(bytes);
  if (text !== null) return ok(JSON.stringify(text));
  return fail({
    kind: "wire",
    message: `Cannot write the path "${
      toText(bytes)
    }" as JSON: it is not UTF-8, only UTF-8 paths can be passed on`,
  });
}
