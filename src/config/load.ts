/**
 * Which config files a run has, and what is in them.
 *
 * Effects: all through {@linkcode ConfigHost}. Without config files this costs a handful of failed opens; directories of the
 * project are only looked at when some project is trusted.
 *
 * Order, lowest first: system, user, `-p`, trusted projects from the project root down, command line, managed.
 *
 * @module
 */
import { type ByteString, decodeText, fromText, toText } from "../bytes.ts";
import { homeOf, variable } from "../host/origin.ts";
import { gitdirTarget } from "../policy/git_pointers.ts";
import {
  type AbsPath,
  ancestry,
  childOf,
  nameOf,
  parentOf,
  resolvePath,
  toAbsPath,
} from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import type {
  ConfigError,
  ConfigOrigin,
  ConfigRequest,
  Layer,
  LayerKind,
  LoadedConfig,
  RequirementsFile,
  TomlTable,
} from "./config.ts";
import { CONFIG_HOST, type ConfigHost } from "./host_files.ts";
import { mergeLayers } from "./layers.ts";
import { sessionLayer } from "./override.ts";
import { doRequirementsApply } from "./requirements.ts";
import { isMarker } from "./run.ts";
import { parseToml, type TomlParser } from "./toml.ts";
import { own, ownTable } from "./values.ts";

/** What tests replace. */
export interface LoadOptions {
  readonly host: ConfigHost;
  readonly parse: TomlParser;
  readonly systemDirectory: AbsPath;
}

/** The real ones. */
export const LOAD_OPTIONS: LoadOptions = {
  host: CONFIG_HOST,
  parse: (text) => Bun.TOML.parse(text),
  systemDirectory: "/etc/codex" as AbsPath,
};

/** Reads every file that counts for a run. */
export function loadConfig(
  request: ConfigRequest,
  origin: ConfigOrigin,
  options: LoadOptions = LOAD_OPTIONS,
): Result<LoadedConfig, ConfigError> {
  const home = homeOf(origin.environment, origin.uid);
  const codexHome = codexHomeOf(origin, home, options.host);
  if (!codexHome.ok) return codexHome;
  const session = sessionLayer(request, {
    cwd: origin.cwd,
    parse: options.parse,
  });
  if (!session.ok) return session;
  const loading: Loading = {
    request,
    cwd: origin.cwd,
    codexHome: codexHome.value,
    options,
    files: [],
  };
  const below = readUserLayers(loading);
  if (!below.ok) return below;
  const managed = readManaged(loading);
  if (!managed.ok) return managed;
  const top = [session.value, managed.value].filter((it) => it !== null);
  const projects = readProjects(loading, [...below.value, ...top]);
  if (!projects.ok) return projects;
  const requirements = readRequirements(loading);
  if (!requirements.ok) return requirements;
  return ok({
    layers: [...below.value, ...projects.value.layers, ...top],
    requirements: requirements.value,
    cwd: origin.cwd,
    home,
    codexHome: codexHome.value,
    spelledHome: spelledHome(origin),
    tmpdir: variable(origin.environment, "TMPDIR"),
    projectRoot: projects.value.root,
    files: [...new Set(loading.files)],
  });
}

/** One file as the only layer, for `codex config check FILE`. */
export function loadFile(
  file: AbsPath,
  origin: ConfigOrigin,
  options: LoadOptions = LOAD_OPTIONS,
): Result<LoadedConfig, ConfigError> {
  const home = homeOf(origin.environment, origin.uid);
  const loading: Loading = {
    request: null,
    cwd: origin.cwd,
    codexHome: null,
    options,
    files: [],
  };
  const layer = readLayer(loading, "user", file);
  if (!layer.ok) return layer;
  if (layer.value === null) {
    return fail(unreadable(file, "no such file"));
  }
  return ok({
    layers: [layer.value],
    requirements: null,
    cwd: origin.cwd,
    home,
    codexHome: null,
    spelledHome: null,
    tmpdir: variable(origin.environment, "TMPDIR"),
    projectRoot: null,
    files: loading.files,
  });
}

/** `CODEX_HOME`, canonical, or `.codex` in the home, which need not exist. Empty is unset. */
function codexHomeOf(
  origin: ConfigOrigin,
  home: AbsPath | null,
  host: ConfigHost,
): Result<AbsPath | null, ConfigError> {
  const set = variable(origin.environment, "CODEX_HOME");
  if (set === null || set === "") {
    return ok(home === null ? null : childOf(home, ".codex"));
  }
  const refuse = (why: string): Result<never, ConfigError> =>
    fail({
      kind: "config",
      file: null,
      key: "CODEX_HOME",
      message: `CODEX_HOME points to "${toText(set)}", but that path ${why}`,
    });
  const path = toAbsPath(set);
  if (path === null) return refuse("is not absolute");
  const kind = host.kindOf(path, "follow");
  if (kind === "missing") return refuse("does not exist");
  if (kind === "unreadable") return refuse("can't be looked at");
  if (kind !== "directory") return refuse("is not a directory");
  const real = host.realPath(path);
  return real === null ? refuse("can't be resolved") : ok(real);
}

function spelledHome(origin: ConfigOrigin): AbsPath | null {
  const set = variable(origin.environment, "CODEX_HOME");
  return set === null || set === "" ? null : toAbsPath(set);
}

interface Loading {
  /** `null` where no run is meant. */
  readonly request: ConfigRequest | null;
  readonly cwd: AbsPath;
  readonly codexHome: AbsPath | null;
  readonly options: LoadOptions;
  /** Grows with each file read. */
  readonly files: AbsPath[];
}

function readUserLayers(
  loading: Loading,
): Result<readonly Layer[], ConfigError> {
  const { codexHome, options, request } = loading;
  const profile = request?.configProfile ?? null;
  const candidates: (readonly [LayerKind, AbsPath])[] = [
    ["system", childOf(options.systemDirectory, "config.toml")],
  ];
  if (codexHome !== null) {
    candidates.push(["user", childOf(codexHome, "config.toml")]);
  }
  if (profile !== null) {
    if (codexHome === null || !/^[A-Za-z0-9_-]+$/.test(profile)) {
      return fail({
        kind: "config",
        file: null,
        key: "-p",
        message: codexHome === null
          ? `-p ${profile}: there is no CODEX_HOME and no home directory to look in`
          : `invalid --profile value ${
            JSON.stringify(profile)
          }: letters, digits, "_" and "-" only`,
      });
    }
    const file = childOf(codexHome, `${profile}.config.toml`);
    candidates.push(["config_profile", file]);
  }
  const layers: Layer[] = [];
  for (const [kind, file] of candidates) {
    const layer = readLayer(loading, kind, file);
    if (!layer.ok) return layer;
    if (layer.value !== null) layers.push(layer.value);
  }
  return ok(layers);
}

function readManaged(loading: Loading): Result<Layer | null, ConfigError> {
  const directory = loading.options.systemDirectory;
  return readLayer(
    loading,
    "managed",
    childOf(directory, "managed_config.toml"),
  );
}

function readRequirements(
  loading: Loading,
): Result<RequirementsFile | null, ConfigError> {
  const file = childOf(loading.options.systemDirectory, "requirements.toml");
  const read = readText(loading, file, "follow");
  if (!read.ok) return read;
  if (read.value === null) return ok(null);
  const { text, uid } = read.value;
  const isOwnedByRoot = uid === 0;
  const { request } = loading;
  // What doesn't apply may be broken.
  if (request !== null && !doRequirementsApply(request, isOwnedByRoot)) {
    return ok(null);
  }
  const table = parsed(
    loading,
    file,
    text,
    "failed to parse requirements layer: ",
  );
  return table.ok
    ? ok({ file, table: table.value, text, isOwnedByRoot })
    : table;
}

// ---- files ----

function readLayer(
  loading: Loading,
  kind: LayerKind,
  file: AbsPath,
  inProjectRoot?: boolean,
): Result<Layer | null, ConfigError> {
  const read = readText(
    loading,
    file,
    kind === "project" ? "refuse" : "follow",
  );
  if (!read.ok) return read;
  if (read.value === null) return ok(null);
  const { text, uid } = read.value;
  const what = kind === "project"
    ? `Error parsing project config file ${toText(file)}: `
    : "";
  const table = parsed(loading, file, text, what);
  if (!table.ok) return table;
  return ok({
    kind,
    file,
    base: parentOf(file),
    table: table.value,
    text,
    ...(kind === "managed" ? { isOwnedByRoot: uid === 0 } : {}),
    ...(inProjectRoot === undefined ? {} : { inProjectRoot }),
  });
}

function readText(
  { options, files }: Loading,
  file: AbsPath,
  links: "follow" | "refuse",
): Result<{ readonly text: string; readonly uid: number } | null, ConfigError> {
  const read = options.host.readFile(file, links);
  if (!read.ok) return fail(unreadable(file, read.error));
  if (read.value === null) return ok(null);
  const text = decodeText(read.value.bytes);
  if (text === null) return fail(unreadable(file, "it is not UTF-8"));
  files.push(file);
  const real = options.host.realPath(file);
  if (real !== null) files.push(real);
  return ok({ text, uid: read.value.uid });
}

function parsed(
  { options }: Loading,
  file: AbsPath,
  text: string,
  what: string,
): Result<TomlTable, ConfigError> {
  const table = parseToml(text, options.parse);
  if (table.ok) return table;
  const { message, line, column } = table.error;
  return fail({
    kind: "config",
    file,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
    key: "",
    message: `${what}${message}`,
  });
}

function unreadable(file: AbsPath, why: string): ConfigError {
  return {
    kind: "config",
    file: null,
    key: "",
    message: `Cannot read config file "${toText(file)}": ${why}`,
  };
}

// ---- projects ----

/** Layers of trusted projects, from the project root down to the working directory. */
function readProjects(
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
