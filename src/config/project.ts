/**
 * A project may narrow, hardly widen: what changes when project layers count, and whether that is allowed.
 *
 * Pure. Two policies are compared as wholes, so it doesn't matter which key or which inheritance made the difference. Below the
 * project root a layer may only narrow: one run must not plant the next one's policy.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import {
  type AbsPath,
  childOf,
  depthOf,
  isInside,
  parentOf,
  ROOT,
} from "../policy/path.ts";
import {
  type Access,
  type Grant,
  METADATA_NAMES,
  type NetworkMode,
  type Origin,
  type Policy,
} from "../policy/policy.ts";
import type {
  EnvironmentPolicy,
  Layer,
  TomlTable,
  TomlValue,
} from "./config.ts";
import { isLoaderVariable } from "./command_environment.ts";
import { type Fault, originIn } from "./layers.ts";
import { isTable, newTable, own, ownTable } from "./values.ts";

/** Everything about a run that a project could widen. */
export interface Outcome {
  readonly policy: Policy;
  readonly network: TomlTable;
  readonly environment: EnvironmentPolicy;
}

/** Where a project layer may give more than it found. */
export interface Allowance {
  /** The project root and the temporary folders, by all their names; empty below the project root. */
  readonly writable: readonly AbsPath[];
  /** The path with every link followed, missing ends kept; `null` when that can't be told. */
  readonly realPath: (path: AbsPath) => AbsPath | null;
}

/** The first thing that `after` gives and `before` doesn't. `origin` where one entry is to blame. */
export interface Widening {
  readonly message: string;
  readonly origin: Origin | null;
}

/** Keys that no project layer may have, whatever they say. */
export function forbiddenKeys(layer: Layer): readonly Fault[] {
  const faults: Fault[] = [];
  for (const key of ["projects", "project_root_markers", "features"]) {
    if (!Object.hasOwn(layer.table, key)) continue;
    faults.push({
      severity: "error",
      origin: originIn(layer, [key]),
      at: "key",
      message:
        `a project may not set ${key}: move it to $CODEX_HOME/config.toml`,
    });
  }
  const policy = ownTable(layer.table, "shell_environment_policy");
  const set = policy === undefined ? undefined : ownTable(policy, "set");
  for (const name of Object.keys(set ?? {})) {
    if (name !== "PATH" && !isLoaderVariable(name)) continue;
    faults.push({
      severity: "error",
      origin: originIn(layer, ["shell_environment_policy", "set", name]),
      at: "key",
      message:
        `a project may not set the variable ${name}: it decides what code runs`,
    });
  }
  return faults;
}

/** Compares the outcome without and with a project layer; `null` when nothing was widened. */
export function wideningOf(
  before: Outcome,
  after: Outcome,
  allowance: Allowance,
): Widening | null {
  if (before.policy.enforcement === "disabled") {
    return widenedEnvironment(before.environment, after.environment);
  }
  if (after.policy.enforcement === "disabled") {
    return {
      message: "a project may not give full access: use -P :danger-full-access",
      origin: null,
    };
  }
  return widenedFiles(before.policy, after.policy, allowance) ??
    widenedGlobs(before.policy, after.policy) ??
    widenedOptions(before.policy, after.policy) ??
    widenedNetwork(before, after) ??
    widenedEnvironment(before.environment, after.environment);
}

// ---- files ----

/** The strongest grant of each path: deny before write before read. */
type GrantMap = ReadonlyMap<AbsPath, Grant>;

const STRENGTH = { read: 0, write: 1, deny: 2 } as const;

function widenedFiles(
  before: Policy,
  after: Policy,
  allowance: Allowance,
): Widening | null {
  const was = strongest(before.grants);
  const is = strongest(after.grants);
  if (after.minimal && !before.minimal && !was.has(ROOT)) {
    return {
      message: `a project may not open ":minimal": the user's layers don't`,
      origin: null,
    };
  }
  for (const path of new Set([...is.keys(), ...was.keys()])) {
    const grant = decider(is, path);
    if (grant === null || grant.access === "deny") continue;
    const widened = widenedPath(was, path, grant, allowance);
    if (widened !== null) return widened;
  }
  return widenedThroughLinks(was, is, allowance);
}

/** A grant of the project's whose path has a link in it acts elsewhere: there it must be allowed as well. */
function widenedThroughLinks(
  was: GrantMap,
  is: GrantMap,
  allowance: Allowance,
): Widening | null {
  for (const [path, grant] of is) {
    if (grant.access === "deny" || was.get(path)?.access === grant.access) {
      continue;
    }
    const real = allowance.realPath(path);
    if (real === null) {
      return {
        message: `a project may not grant ${grant.access} to "${
          toText(path)
        }": where its links lead can't be told`,
        origin: grant.origin,
      };
    }
    if (real === path) continue;
    const widened = widenedPath(was, real, grant, allowance);
    if (widened !== null) return widened;
  }
  return null;
}

function widenedPath(
  was: GrantMap,
  path: AbsPath,
  grant: Grant,
  { writable }: Allowance,
): Widening | null {
  const below = decider(was, path);
  const had: Access | null = below?.access ?? null;
  if (had === "write" || had === grant.access) return null;
  const refuse = (why: string): Widening => ({
    message: `a project may not grant ${grant.access} to "${
      toText(path)
    }": ${why}`,
    origin: grant.origin,
  });
  if (had === "deny") return refuse("the user's layers deny it");
  const root = writable.find((it) => isInside(path, { root: it }));
  if (root === undefined) {
    return refuse(
      writable.length === 0
        ? "a config below the project root may only narrow"
        : "it lies outside of the project root and the temporary folders",
    );
  }
  if (grant.access === "read") return null;
  if (isMetadata(path, root)) return refuse("its metadata is protected");
  // What the user made read-only inside of the project stays so.
  const isCarved = below !== null && below.path !== root &&
    isInside(below.path, { root });
  return isCarved ? refuse("the user's layers make it read-only") : null;
}

/** Whether a component below `root` is `.git`, `.agents` or `.codex`. */
function isMetadata(path: AbsPath, root: AbsPath): boolean {
  const below = path.slice(root === ROOT ? 1 : root.length + 1);
  const names: readonly string[] = METADATA_NAMES;
  return below.split("/").some((part) => names.includes(part));
}

function strongest(grants: readonly Grant[]): GrantMap {
  const map = new Map<AbsPath, Grant>();
  for (const grant of grants) {
    const same = map.get(grant.path);
    if (same === undefined || STRENGTH[grant.access] > STRENGTH[same.access]) {
      map.set(grant.path, grant);
    }
  }
  return map;
}

/** The grant that speaks about `path`: the nearest at or above it. */
function decider(grants: GrantMap, path: AbsPath): Grant | null {
  for (let at = path;; at = parentOf(at)) {
    const grant = grants.get(at);
    if (grant !== undefined) return grant;
    if (at === ROOT) return null;
  }
}

function widenedGlobs(before: Policy, after: Policy): Widening | null {
  const kept = new Set<string>(after.globs.map((glob) => glob.pattern));
  for (const { pattern } of before.globs) {
    if (kept.has(pattern)) continue;
    return {
      message: `a project may not lift the deny glob "${toText(pattern)}"`,
      origin: null,
    };
  }
  const had = before.globScanMaxDepth ?? Infinity;
  const has = after.globScanMaxDepth ?? Infinity;
  if (before.globs.length > 0 && has < had) {
    return {
      message: `a project may not make glob_scan_max_depth smaller: it is ${
        before.globScanMaxDepth ?? "unlimited"
      } without the project and ${has} with it`,
      origin: null,
    };
  }
  return null;
}

// ---- everything else ----

function widenedOptions(before: Policy, after: Policy): Widening | null {
  const had = before.options;
  const has = after.options;
  const further = has.unixSockets.find((it) => !had.unixSockets.includes(it));
  const widened = [
    has.debug && !had.debug && "debug = true",
    has.nestedNamespaces && !had.nestedNamespaces && "nested_namespaces = true",
    has.loopback && !had.loopback && "loopback = true",
    has.nestedRepositories === "write" && had.nestedRepositories === "read" &&
    'nested_repositories = "write"',
    has.tmp === "shared" && had.tmp === "private" && 'tmp = "shared"',
    has.globBackend === "ripgrep" && had.globBackend !== "ripgrep" &&
    'glob_backend = "ripgrep"',
    had.require.some((it) => !has.require.includes(it)) && "a shorter require",
    further !== undefined &&
    `further unix_sockets ("${toText(further)}")`,
  ].find((it) => it !== false);
  return widened === undefined ? null : {
    message: `a project may not set ${widened}: the user's layers don't`,
    origin: null,
  };
}

const REACH: { readonly [mode in NetworkMode]: number } = {
  none: 0,
  proxied: 1,
  host: 2,
};

function widenedNetwork(before: Outcome, after: Outcome): Widening | null {
  const had = before.policy.network;
  const has = after.policy.network;
  if (REACH[has] > REACH[had]) {
    return {
      message: `a project may not give more network: it is ${
        NETWORK_WORDS[had]
      } without the project and ${NETWORK_WORDS[has]} with it`,
      origin: null,
    };
  }
  if (has !== "proxied" || had !== "proxied") return null;
  const key = widenedNetworkKey(before.network, after.network);
  return key === null ? null : {
    message: `a project may not widen the network: ${key} says more with it`,
    origin: null,
  };
}

const NETWORK_WORDS: { readonly [mode in NetworkMode]: string } = {
  none: "off",
  proxied: "the managed proxy",
  host: "the host's",
};

/** Keys of a network table that may change, and the values they may change to. */
const NARROWER: { readonly [key: string]: TomlValue } = {
  enabled: false,
  managed: true,
  mode: "limited",
  enable_socks5: false,
  enable_socks5_udp: false,
  allow_upstream_proxy: false,
  allow_local_binding: false,
  dangerously_allow_non_loopback_proxy: false,
  dangerously_allow_all_unix_sockets: false,
};

function widenedNetworkKey(had: TomlTable, has: TomlTable): string | null {
  for (const key of new Set([...Object.keys(had), ...Object.keys(has)])) {
    const old = own(had, key);
    const now = own(has, key);
    if (isSame(old, now)) continue;
    if (key === "domains" || key === "unix_sockets") {
      const word = widenedVerdicts(
        isTable(old) ? old : newTable(),
        isTable(now) ? now : newTable(),
      );
      if (word !== null) return `${key}.${JSON.stringify(word)}`;
    } else if (
      !Object.hasOwn(NARROWER, key) || now !== NARROWER[key]
    ) return key;
  }
  return null;
}

/** Allowed now and not before, or denied before and not now. */
function widenedVerdicts(had: TomlTable, has: TomlTable): string | null {
  for (const key of Object.keys(has)) {
    if (has[key] === "allow" && own(had, key) !== "allow") return key;
  }
  for (const key of Object.keys(had)) {
    if (had[key] === "deny" && own(has, key) !== "deny") return key;
  }
  return null;
}

const INHERITS: { readonly [word in EnvironmentPolicy["inherit"]]: number } = {
  none: 0,
  core: 1,
  all: 2,
};

function widenedEnvironment(
  had: EnvironmentPolicy,
  has: EnvironmentPolicy,
): Widening | null {
  const widened = [
    INHERITS[has.inherit] > INHERITS[had.inherit] && "inherit",
    has.ignoreDefaultExcludes && !had.ignoreDefaultExcludes &&
    "ignore_default_excludes",
    had.exclude.some((it) => !has.exclude.includes(it)) && "exclude",
    had.includeOnly.length > 0 &&
    (has.includeOnly.length === 0 ||
      has.includeOnly.some((it) => !had.includeOnly.includes(it))) &&
    "include_only",
  ].find((it) => it !== false);
  return widened === undefined ? null : {
    message:
      `a project may not show the command more variables: shell_environment_policy.${widened} drops fewer with it`,
    origin: null,
  };
}

function isSame(
  one: TomlValue | undefined,
  other: TomlValue | undefined,
): boolean {
  if (one === other) return true;
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The place to name: the entry itself where the project wrote it, else the project's key that led there. */
export function blame(
  widening: Widening,
  chosenBy: Origin,
  layers: readonly Layer[],
): Origin {
  const projects = layers.filter((layer) => layer.kind === "project");
  const isOfProject = (origin: Origin | null): origin is Origin =>
    origin !== null && projects.some((layer) => layer.file === origin.file);
  if (isOfProject(widening.origin)) return widening.origin;
  if (isOfProject(chosenBy)) return chosenBy;
  for (const layer of projects.toReversed()) {
    const key = BLAMED_KEYS.find((it) => Object.hasOwn(layer.table, it));
    if (key !== undefined) return originIn(layer, [key]);
  }
  return chosenBy;
}

const BLAMED_KEYS: readonly string[] = [
  "permissions",
  "default_permissions",
  "sandbox_mode",
  "sandbox_workspace_write",
  "shell_environment_policy",
];

/**
 * What a layer in the project root may open: the root by its literal and real name, and the temporary folders. A root that is `/`,
 * the home or above it is no project: then nothing.
 */
export function allowanceOf(
  options: {
    readonly projectRoot: AbsPath;
    readonly home: AbsPath | null;
    readonly tmpdir: AbsPath | null;
    readonly realPath: (path: AbsPath) => AbsPath | null;
  },
): Allowance {
  const { projectRoot, home, tmpdir, realPath } = options;
  const names = (path: AbsPath): readonly AbsPath[] => {
    const real = realPath(path);
    return real === null || real === path ? [path] : [path, real];
  };
  const homes = home === null ? [] : names(home);
  const roots = names(projectRoot);
  const isTooWide = roots.some((root) =>
    depthOf(root) === 0 || homes.some((it) => isInside(it, { root }))
  );
  const temporary = [
    childOf(ROOT, "tmp"),
    ...(tmpdir === null ? [] : [tmpdir]),
  ];
  return {
    writable: [...(isTooWide ? [] : roots), ...temporary.flatMap(names)],
    realPath,
  };
}
