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
import { toText } from "../bytes.ts";
import type {
  ConfigError,
  ConfigOrigin,
  ConfigRequest,
  Layer,
  LayerKind,
  LoadedConfig,
  RequirementsFile,
} from "./config.ts";
import type { ConfigHost } from "./host_files.ts";
import { readProjects } from "./load_projects.ts";
import { sessionLayer } from "./override.ts";
import {
  LOAD_OPTIONS,
  type Loading,
  type LoadOptions,
  parsed,
  readLayer,
  readText,
  unreadable,
} from "./read_layer.ts";
import { doRequirementsApply } from "./requirements.ts";
import { homeOf, variable } from "../host/origin.ts";
import { type AbsPath, childOf, toAbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";

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
  const refuse = (why: string, cure: string): Result<never, ConfigError> =>
    fail({
      kind: "config",
      file: null,
      key: "CODEX_HOME",
      message: `CODEX_HOME points to "${
        toText(set)
      }", but that path ${why}; ${cure} or unset CODEX_HOME`,
    });
  const another = "name another directory";
  const path = toAbsPath(set);
  if (path === null) return refuse("is not absolute", "name it from / on");
  const kind = host.kindOf(path, "follow");
  if (kind === "missing") return refuse("does not exist", "create it");
  if (kind === "unreadable") return refuse("can't be looked at", another);
  if (kind !== "directory") return refuse("is not a directory", another);
  const real = host.realPath(path);
  return real === null ? refuse("can't be resolved", another) : ok(real);
}

function spelledHome(origin: ConfigOrigin): AbsPath | null {
  const set = variable(origin.environment, "CODEX_HOME");
  return set === null || set === "" ? null : toAbsPath(set);
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
