/**
 * A host made of a few texts, so that whole config runs fit in one line of a table.
 *
 * @module
 */
import { type ByteString, fromText } from "../../src/bytes.ts";
import {
  type ConfigError,
  type ConfigRequest,
  describeConfigError,
  describeFinding,
  type LoadedConfig,
  type RunConfig,
} from "../../src/config/config.ts";
import type { ConfigHost, HostKind } from "../../src/config/host_files.ts";
import { loadConfig } from "../../src/config/load.ts";
import { checkAll } from "../../src/config/check_all.ts";
import { selectRun } from "../../src/config/run.ts";
import {
  abs,
  type AbsPath,
  childOf,
  nameOf,
  parentOf,
  ROOT,
} from "../../src/policy/path.ts";
import type { EntryPath } from "../../src/policy/policy.ts";
import { fail, ok, type Result } from "../../src/result.ts";

/** A file's text, `LINK target`, or `DIR` for an empty directory. */
export interface World {
  readonly files?: { readonly [path: string]: string };
  readonly cwd?: string;
  /** Added to `HOME=/home/me`. */
  readonly environment?: readonly string[];
  readonly request?: Partial<ConfigRequest>;
  /** Owner of all files, root unless told. */
  readonly owner?: number;
}

/** Where a user's config lies in these worlds. */
export const USER = "/home/me/.codex/config.toml";
/** Where the administrator's files lie. */
export const SYSTEM = "/etc/codex/config.toml";
export const MANAGED = "/etc/codex/managed_config.toml";
export const REQUIREMENTS = "/etc/codex/requirements.toml";

/** Nothing asked: files alone decide. */
export const NO_REQUEST: ConfigRequest = {
  overrides: [],
  features: [],
  configProfile: null,
  permissionProfile: null,
  legacyMode: "read_only",
  requirements: "root_owned",
};

export function load(world: World): Result<LoadedConfig, ConfigError> {
  return loadConfig(requestOf(world), {
    cwd: abs(world.cwd ?? "/w"),
    environment: ["HOME=/home/me", ...(world.environment ?? [])].map(fromText),
    uid: 1000,
  }, {
    host: hostOf(world),
    parse: (text) => Bun.TOML.parse(text),
    systemDirectory: abs("/etc/codex"),
  });
}

export function run(world: World): Result<RunConfig, ConfigError> {
  const loaded = load(world);
  if (!loaded.ok) return loaded;
  return selectRun(loaded.value, requestOf(world), hostOf(world).realPath);
}

/** The run's config. @throws {Error} with the message when it is refused */
export function runs(world: World): RunConfig {
  const result = run(world);
  if (!result.ok) throw new Error(describeConfigError(result.error));
  return result.value;
}

/** The one line with which a run is refused, or `runs as NAME`. */
export function refusal(world: World): string {
  const result = run(world);
  return result.ok
    ? `runs as ${result.value.name}`
    : describeConfigError(result.error);
}

/** The lines of `codex config check`. */
export function findings(world: World): readonly string[] {
  const loaded = load(world);
  if (!loaded.ok) return [describeConfigError(loaded.error)];
  return checkAll(loaded.value, requestOf(world), hostOf(world).realPath)
    .map(describeFinding);
}

/** `access path` for each entry of the profile, symbols in their TOML spelling. */
export function entries(config: RunConfig): readonly string[] {
  const { profile } = config;
  if (profile.kind !== "managed") return [profile.kind];
  if (profile.fileSystem.kind !== "restricted") return ["unrestricted"];
  return profile.fileSystem.entries.map(({ access, path }) =>
    `${access} ${shown(path)}`
  );
}

function shown(path: EntryPath): string {
  switch (path.kind) {
    case "path":
      return path.path;
    case "glob_pattern":
      return path.pattern;
    case "special":
      return path.value.kind === "unknown"
        ? path.value.path
        : `:${path.value.kind}`;
  }
}

function requestOf(world: World): ConfigRequest {
  return { ...NO_REQUEST, ...world.request };
}

/** Files, links and directories by path; parents exist by themselves. */
export function hostOf(world: World): ConfigHost {
  const files = new Map<string, string>(Object.entries(world.files ?? {}));
  const directories = new Set<string>(["/", world.cwd ?? "/w"]);
  for (const path of [...files.keys(), world.cwd ?? "/w"]) {
    for (let at = parentOf(abs(path)); !directories.has(at);) {
      directories.add(at);
      at = parentOf(at);
    }
  }
  const look = (path: AbsPath): HostKind => {
    const text = files.get(path);
    if (text?.startsWith("LINK ") === true) return "symlink";
    if (text === "DIR" || directories.has(path)) return "directory";
    return text === undefined ? "missing" : "file";
  };
  const realPath = (path: AbsPath): AbsPath | null => {
    let pending = path.split("/");
    let at: AbsPath = ROOT;
    for (let steps = 0; pending.length > 0; steps++) {
      if (steps > 200) return null;
      const name = pending.shift()!;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        at = parentOf(at);
        continue;
      }
      const next = childOf(at, name);
      if (look(next) !== "symlink") {
        at = next;
        continue;
      }
      const target = files.get(next)!.slice(5);
      if (target.startsWith("/")) at = ROOT;
      pending = [...target.split("/"), ...pending];
    }
    return at;
  };
  const resolved = (path: AbsPath, links: "follow" | "refuse"): AbsPath => {
    if (links === "follow") return realPath(path) ?? path;
    const above = realPath(parentOf(path));
    return above === null ? path : childOf(above, nameOf(path));
  };
  return {
    kindOf: (path, links) => look(resolved(path, links)),
    realPath,
    readFile: (path, links) => {
      const place = resolved(path, links);
      const kind = look(place);
      if (kind === "missing") return ok(null);
      if (kind !== "file") return fail("it must be a regular file");
      const bytes = fromText(files.get(place)!) as ByteString;
      return ok({ bytes, uid: world.owner ?? 0 });
    },
  };
}
