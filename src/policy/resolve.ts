/**
 * From a permission profile with its symbols to the policy of one run: every path absolute, nothing asked of the host.
 *
 * Pure. What would open something by mistake is refused: a deny on a symbol that can't be enforced is never ignored.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { nearest as nearestWord } from "../nearest.ts";
import { fail, ok, type Result } from "../result.ts";
import type { PolicyError } from "./decision.ts";
import { compileGlob, escapeGlob, isGlob } from "./glob.ts";
import { type AbsPath, isInside, parentOf, ROOT, toAbsPath } from "./path.ts";
import { TMP } from "./places.ts";
import type {
  Entry,
  GlobDeny,
  Grant,
  NetworkMode,
  Origin,
  PermissionProfile,
  Policy,
  PolicyOptions,
  SpecialPath,
} from "./policy.ts";

/** What the symbols of a profile stand for in one run. */
export interface PolicyContext {
  /** What the user named, for messages. */
  readonly name: string;
  readonly cwd: AbsPath;
  /** All workspace roots, `cwd` first. */
  readonly workspaceRoots: readonly AbsPath[];
  readonly home: AbsPath | null;
  /** `$TMPDIR` of the caller, `null` when unset. */
  readonly tmpdir: ByteString | null;
  readonly network: NetworkMode;
  readonly options: PolicyOptions;
}

/** A policy, and one line per thing that was ignored. */
export interface ResolvedPolicy {
  readonly policy: Policy;
  readonly warnings: readonly PolicyWarning[];
}

/** Something that an entry says and that counts for nothing here. */
export interface PolicyWarning {
  readonly message: string;
  readonly origin: Origin;
}

/** The tokens of a profile that mean something. `:project_roots` is the older name of `:workspace_roots`. */
export const TOKENS: readonly string[] = [
  ":root",
  ":minimal",
  ":workspace_roots",
  ":project_roots",
  ":tmpdir",
  ":slash_tmp",
];

/** Resolves every entry of `profile`, in order. */
export function resolvePolicy(
  profile: PermissionProfile,
  context: PolicyContext,
): Result<ResolvedPolicy, PolicyError> {
  const resolving: Resolving = {
    context,
    grants: [],
    globs: [],
    warnings: [],
    minimal: false,
  };
  const files = profile.kind === "managed" ? profile.fileSystem : null;
  if (files !== null && files.kind === "restricted") {
    for (const entry of files.entries) {
      const error = addEntry(resolving, entry);
      if (error !== null) return fail(error);
    }
  }
  const { grants, globs, minimal, warnings } = resolving;
  const policy: Policy = {
    name: context.name,
    enforcement: profile.kind,
    unrestricted: files?.kind === "unrestricted",
    grants,
    globs,
    globScanMaxDepth: files?.kind === "restricted"
      ? files.globScanMaxDepth ?? null
      : null,
    minimal,
    network: context.network,
    cwd: context.cwd,
    workspaceRoots: context.workspaceRoots,
    options: context.options,
  };
  return ok({ policy, warnings });
}

interface Resolving {
  readonly context: PolicyContext;
  readonly grants: Grant[];
  readonly globs: GlobDeny[];
  readonly warnings: PolicyWarning[];
  minimal: boolean;
}

function addEntry(resolving: Resolving, entry: Entry): PolicyError | null {
  const { path } = entry;
  switch (path.kind) {
    case "path":
      resolving.grants.push(grantOf(entry, path.path));
      return null;
    case "glob_pattern":
      return addGlob(resolving, entry, path.pattern);
    case "special":
      return addSpecial(resolving, entry, path.value);
  }
}

function addGlob(
  { globs }: Resolving,
  entry: Entry,
  pattern: ByteString,
): PolicyError | null {
  // The wire format allows other accesses and gives them no meaning.
  if (entry.access !== "deny") return null;
  const glob = compileGlob(pattern);
  if (!glob.ok) {
    return refuse("invalid_glob", pattern, glob.error, entry.origin);
  }
  globs.push({ pattern, prefix: glob.value.prefix, origin: entry.origin });
  return null;
}

function addSpecial(
  resolving: Resolving,
  entry: Entry,
  value: SpecialPath,
): PolicyError | null {
  const { context, grants, warnings } = resolving;
  switch (value.kind) {
    case "root":
      grants.push(grantOf(entry, ROOT, ":root"));
      return null;
    case "slash_tmp":
      grants.push(grantOf(entry, TMP, ":slash_tmp"));
      return null;
    case "minimal":
      if (entry.access === "deny") {
        return refuse(
          "unknown_token",
          ":minimal" as ByteString,
          `":minimal" can't be denied: deny the directories by their paths`,
          entry.origin,
        );
      }
      resolving.minimal = true;
      return null;
    case "project_roots":
      return addProjectRoots(resolving, entry, value.subpath);
    case "tmpdir": {
      const { tmpdir } = context;
      if (tmpdir === null) return null;
      const usable = usableTmpdir(tmpdir, context.home);
      if (typeof usable !== "string") {
        grants.push(grantOf(entry, usable.path, ":tmpdir"));
        return null;
      }
      if (entry.access === "deny" && tmpdir !== "") {
        return refuse(
          "unknown_token",
          ":tmpdir" as ByteString,
          `":tmpdir" can't be denied: TMPDIR is "${toText(tmpdir)}", ${usable}`,
          entry.origin,
        );
      }
      warnings.push({
        message: `":tmpdir" is ignored: TMPDIR is "${
          toText(tmpdir)
        }", ${usable}`,
        origin: entry.origin,
      });
      return null;
    }
    case "unknown": {
      const token = toText(value.path);
      const meant = nearestWord(token, TOKENS);
      const hint = meant === null
        ? `known are ${TOKENS.join(", ")}`
        : `did you mean "${meant}"?`;
      if (entry.access === "deny") {
        return refuse(
          "unknown_token",
          value.path,
          `"${token}" is denied, but no such symbol is known (${hint})`,
          entry.origin,
        );
      }
      warnings.push({
        message: `unknown symbol "${token}" is ignored (${hint})`,
        origin: entry.origin,
      });
      return null;
    }
  }
}

/** Below each workspace root; a subpath on the wire may be a deny glob. */
function addProjectRoots(
  resolving: Resolving,
  entry: Entry,
  subpath: ByteString | undefined,
): PolicyError | null {
  for (const root of resolving.context.workspaceRoots) {
    if (subpath === undefined || subpath === "." || subpath === "") {
      resolving.grants.push(grantOf(entry, root, ":workspace_roots"));
      continue;
    }
    const parts = subpath.split("/");
    if (parts.includes("..") || subpath.startsWith("/")) {
      return refuse(
        "bad_subpath",
        subpath,
        `subpath "${
          toText(subpath)
        }" must be a descendant path without . or .. components`,
        entry.origin,
      );
    }
    if (entry.access === "deny" && isGlob(subpath)) {
      const pattern = `${escapeGlob(root)}/${subpath}` as ByteString;
      const error = addGlob(resolving, entry, pattern);
      if (error !== null) return error;
      continue;
    }
    const path = toAbsPath(`${root}/${subpath}`);
    if (path === null) {
      return refuse(
        "bad_subpath",
        subpath,
        `subpath "${toText(subpath)}" must not hold a NUL`,
        entry.origin,
      );
    }
    resolving.grants.push(grantOf(entry, path, ":workspace_roots"));
  }
  return null;
}

/** The directory that `$TMPDIR` names, or why `:tmpdir` must not stand for it. */
function usableTmpdir(
  tmpdir: ByteString,
  home: AbsPath | null,
): { readonly path: AbsPath } | string {
  if (tmpdir === "") return "which names no directory";
  const path = toAbsPath(tmpdir);
  if (path === null) return "which is not absolute";
  if (path === ROOT) return "which is the root";
  if (home !== null && path === home) return "which is the home directory";
  if (home !== null && isInside(parentOf(home), { root: path })) {
    return "which holds the home directory";
  }
  return { path };
}

function grantOf(
  entry: Entry,
  path: AbsPath,
  symbol?: NonNullable<Grant["symbol"]>,
): Grant {
  // A temporary directory that isn't there is no fault of the profile.
  const isOptional = entry.missingPathBehavior === "skip" ||
    symbol === ":tmpdir" || symbol === ":slash_tmp";
  return {
    path,
    access: entry.access,
    ...(symbol === undefined ? {} : { symbol }),
    ...(isOptional ? { skipIfMissing: true as const } : {}),
    origin: entry.origin,
  };
}

function refuse(
  kind: PolicyError["kind"],
  path: ByteString,
  message: string,
  origin: Origin,
): PolicyError {
  return { kind, path, message, origin };
}
