/**
 * Config files of the project: which folders are asked, and whether they are trusted.
 *
 * Effects: all through {@linkcode ConfigHost}. Directories are only looked at when some project is trusted.
 *
 * @module
 */
import { type ByteString, fromText } from "../bytes.ts";
import type { ConfigError, Layer } from "./config.ts";
import type { ConfigHost } from "./host_files.ts";
import { isMarker } from "./layer_faults.ts";
import { mergeLayers } from "./layers.ts";
import { type Loading, readLayer, unreadable } from "./read_layer.ts";
import { own, ownTable } from "./values.ts";
import { gitdirTarget } from "../policy/git_pointers.ts";
import {
  type AbsPath,
  ancestry,
  childOf,
  nameOf,
  parentOf,
  resolvePath,
} from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";

/** Layers of trusted projects, from the project root down to the working directory. */
export function readProjects(
  loading: Loading,
  others: readonly Layer[],
): Result<
  { readonly layers: readonly Layer[]; readonly root: AbsPath | null },
  ConfigError
> {
  const trust = trustOf(others);
  if (trust === null) return ok({ layers: [], root: null });
  const { cwd, options: { host } } = loading;
  const root = projectRootOf(cwd, others, host);
  const layers: Layer[] = [];
  for (const directory of ancestry(cwd)) {
    if (directory.length < root.length) continue;
    const folder = childOf(directory, ".codex");
    const kind = host.kindOf(folder, "refuse");
    if (kind === "missing" || kind === "file" || kind === "other") continue;
    if (isCodexHome(folder, loading)) continue;
    if (!isTrusted(trust, directory, root, host)) continue;
    if (kind !== "directory") {
      const why = kind === "symlink"
        ? "a project's .codex must be a directory, not a symbolic link"
        : "it can't be looked at";
      return fail(unreadable(folder, why));
    }
    const file = childOf(folder, "config.toml");
    const layer = readLayer(loading, "project", file, directory === root);
    if (!layer.ok) return layer;
    if (layer.value !== null) layers.push(layer.value);
  }
  return ok({ layers, root });
}

/** Trust by path as it is written, `null` when nobody trusts anything: then no directory needs to be looked at. */
function trustOf(
  layers: readonly Layer[],
): ReadonlyMap<string, boolean> | null {
  const projects = ownTable(mergeLayers(layers), "projects");
  if (projects === undefined) return null;
  const trust = new Map<string, boolean>();
  let trustsAny = false;
  for (const key of Object.keys(projects)) {
    const level = own(ownTable(projects, key) ?? {}, "trust_level");
    if (level !== "trusted" && level !== "untrusted") continue;
    trust.set(fromText(key), level === "trusted");
    trustsAny ||= level === "trusted";
  }
  return trustsAny ? trust : null;
}

/** The nearest directory at or above the working directory that has a marker; the working directory when none has. */
function projectRootOf(
  cwd: AbsPath,
  layers: readonly Layer[],
  host: ConfigHost,
): AbsPath {
  const written = own(mergeLayers(layers), "project_root_markers");
  const markers = Array.isArray(written)
    ? written.filter((it): it is string =>
      typeof it === "string" && isMarker(it)
    )
    : [".git"];
  for (const directory of ancestry(cwd).reverse()) {
    for (const marker of markers) {
      const path = childOf(directory, fromText(marker));
      if (host.kindOf(path, "refuse") !== "missing") return directory;
    }
  }
  return cwd;
}

function isCodexHome(folder: AbsPath, loading: Loading): boolean {
  const { codexHome, options: { host } } = loading;
  if (codexHome === null) return false;
  return folder === codexHome ||
    host.realPath(folder) === host.realPath(codexHome);
}

/** The first of directory, project root and main checkout that somebody said something about. */
function isTrusted(
  trust: ReadonlyMap<string, boolean>,
  directory: AbsPath,
  root: AbsPath,
  host: ConfigHost,
): boolean {
  for (const path of [directory, root]) {
    const said = saidAbout(trust, path, host);
    if (said !== null) return said;
  }
  const main = mainCheckoutOf(root, host);
  return main !== null && saidAbout(trust, main, host) === true;
}

function saidAbout(
  trust: ReadonlyMap<string, boolean>,
  path: AbsPath,
  host: ConfigHost,
): boolean | null {
  const real = host.realPath(path);
  const said = real === null ? undefined : trust.get(real);
  return said ?? trust.get(path) ?? null;
}

/**
 * The repository that a linked worktree belongs to, `null` when `root` is none.
 *
 * The `.git` file is the worktree's own word, so the way back is checked: `<main>/.git/worktrees/<name>/gitdir` must lead to this
 * very file.
 */
function mainCheckoutOf(root: AbsPath, host: ConfigHost): AbsPath | null {
  const pointer = childOf(root, ".git");
  const text = smallFile(pointer, host);
  const target = text === null ? null : gitdirTarget(text, root);
  const folder = target === null ? null : host.realPath(target);
  if (folder === null) return null;
  const worktrees = parentOf(folder);
  const git = parentOf(worktrees);
  const isWorktree = nameOf(worktrees) === "worktrees" &&
    nameOf(git) === ".git";
  if (!isWorktree) return null;
  const back = smallFile(childOf(folder, "gitdir"), host);
  const claimed = back === null
    ? null
    : resolvePath(folder, back.replace(/[\r\n]+$/, ""));
  if (claimed === null) return null;
  const real = host.realPath(pointer);
  return real !== null && host.realPath(claimed) === real
    ? parentOf(git)
    : null;
}

function smallFile(path: AbsPath, host: ConfigHost): ByteString | null {
  const read = host.readFile(path, "refuse");
  return read.ok && read.value !== null ? read.value.bytes : null;
}
