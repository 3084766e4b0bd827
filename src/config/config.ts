/**
 * The shapes of the config room: what was asked, what was read, what a run gets, and what can be wrong.
 *
 * Types only, and the one-line form of an error. Texts of files are JS text; paths and environment are byte strings.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import type { NetworkPolicy } from "../policy/network.ts";
import type { AbsPath } from "../policy/path.ts";
import type {
  NetworkMode,
  Origin,
  PermissionProfile,
  Policy,
} from "../policy/policy.ts";

/** A TOML table: own keys only, in no order that means anything. Read it with {@linkcode Object.keys} and {@linkcode Object.hasOwn}. */
export interface TomlTable {
  readonly [key: string]: TomlValue;
}

/** Any TOML value. Dates are objects of the parser's own and no key of ours takes one. Integers beyond 2^53 are bigints. */
export type TomlValue =
  | string
  | number
  | bigint
  | boolean
  | TomlTable
  | readonly TomlValue[]
  | TomlDate;

/** A date or time of any TOML kind. */
export interface TomlDate {
  readonly toJSON: () => string;
}

/** A place in a text: `line` and `column` count from 1, columns in UTF-16 units. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Where a layer comes from, lowest first. */
export type LayerKind =
  | "system"
  | "user"
  | "config_profile"
  | "project"
  | "session"
  | "managed";

/** One source of settings. */
export interface Layer {
  readonly kind: LayerKind;
  /** `null` for the session layer: `-c`, `--enable`, `--disable`, `-P`. */
  readonly file: AbsPath | null;
  /** Base of relative typed path fields: the directory of the file, the working directory for the session layer. */
  readonly base: AbsPath;
  readonly table: TomlTable;
  /** The text that `table` was read from, for positions; `null` for the session layer. */
  readonly text: string | null;
  /** Session layer: how a key was really spelled, by its dotted form: `default_permissions` → `-P "ci"`. */
  readonly spellings?: ReadonlyMap<string, string>;
  /** Session layer: each `-c` by itself, in order; `table` is all of them, one over the other. */
  readonly words?: readonly TomlTable[];
  /** Managed layer: whether root owns its file. */
  readonly isOwnedByRoot?: boolean;
  /** Project layers: whether it lies in the project root; those below may only narrow. */
  readonly inProjectRoot?: boolean;
}

/** A requirements source of the administrator. */
export interface RequirementsFile {
  readonly file: AbsPath;
  readonly table: TomlTable;
  readonly text: string;
  readonly isOwnedByRoot: boolean;
}

/** What the user asked of the config on the command line. */
export interface ConfigRequest {
  /** `-c KEY=VALUE` as text, in order. */
  readonly overrides: readonly string[];
  /** `--enable` and `--disable` in order; applied after the overrides. */
  readonly features: readonly {
    readonly feature: string;
    readonly isEnabled: boolean;
  }[];
  /** `-p`. */
  readonly configProfile: string | null;
  /** `-P`. */
  readonly permissionProfile: string | null;
  /** `--full-auto` is `workspace_write`: what a legacy config without a mode gets. */
  readonly legacyMode: "read_only" | "workspace_write";
  /** Which requirements apply beside `-P`: those of files that root owns, or `all` (`--include-managed-config`). */
  readonly requirements: "root_owned" | "all";
}

/** The caller's surroundings, read once. */
export interface ConfigOrigin {
  /** Working directory of policy and command, literal: `-C` applied. */
  readonly cwd: AbsPath;
  /** `NAME=value` entries as the kernel handed them over: any bytes, entries without `=`, duplicates. */
  readonly environment: readonly ByteString[];
  readonly uid: number;
}

/** All that was read for a run, nothing decided yet. */
export interface LoadedConfig {
  /** Lowest first; only layers that exist and are trusted. */
  readonly layers: readonly Layer[];
  readonly requirements: RequirementsFile | null;
  readonly cwd: AbsPath;
  /** `null` when neither HOME nor the passwd file names one. */
  readonly home: AbsPath | null;
  /** `null` when it is not set and there is no home. Canonical when set by CODEX_HOME. */
  readonly codexHome: AbsPath | null;
  /** `$TMPDIR` as the caller has it, `null` when unset. */
  readonly tmpdir: ByteString | null;
  /** Literal, `null` when nobody needed to look for it: no project is trusted. */
  readonly projectRoot: AbsPath | null;
  /** `CODEX_HOME` as it was spelled: a link on the way must not be the command's to replace. `null` when it is unset. */
  readonly spelledHome: AbsPath | null;
  /** Every file that was read, and the real path of one that was reached through a link. */
  readonly files: readonly AbsPath[];
}

/**
 * A fault of a config file, an override or a choice. `key` is dotted with quotes where needed. `message` is one line that names
 * key and value, without the place.
 */
export interface ConfigError {
  readonly kind: "config";
  readonly file: AbsPath | null;
  readonly line?: number;
  readonly column?: number;
  readonly key: string;
  readonly message: string;
  /** How many further errors `codex config check` would list. */
  readonly more?: number;
}

/** One line of `codex config check`. */
export interface Finding {
  readonly severity: "error" | "warning";
  readonly file: AbsPath | null;
  readonly line?: number;
  readonly column?: number;
  readonly key: string;
  readonly message: string;
}

/** Which variables a command sees (`[shell_environment_policy]`). Patterns are whole names with `*` and `?`, case counting nothing. */
export interface EnvironmentPolicy {
  readonly inherit: "all" | "core" | "none";
  readonly ignoreDefaultExcludes: boolean;
  readonly exclude: readonly ByteString[];
  readonly set: readonly (readonly [name: ByteString, value: ByteString])[];
  readonly includeOnly: readonly ByteString[];
}

/** What a config without `[shell_environment_policy]` gives: everything. */
export const DEFAULT_ENVIRONMENT_POLICY: EnvironmentPolicy = {
  inherit: "all",
  ignoreDefaultExcludes: true,
  exclude: [],
  set: [],
  includeOnly: [],
};

/** Everything about the network that a config says. */
export interface NetworkSettings {
  readonly mode: NetworkMode;
  /**
   * `[permissions.NAME.network]` of the selected profile, parents merged in and `[features.network_proxy]` laid over it; keys of
   * `domains` trimmed, lower-case and without trailing dots. Types are checked, patterns are not.
   */
  readonly table: TomlTable;
  /** Where a key of `table` was written: `originOf(["domains", "example.com"])`. */
  readonly originOf: (path: readonly string[]) => Origin;
  /** `[experimental_network]` of the requirements that apply. */
  readonly requirements: TomlTable | null;
  /** What both say to the proxy; `null` where the table says nothing about hosts. */
  readonly rules: NetworkPolicy | null;
}

/** Switches of ours below `[features]`. */
export interface Features {
  readonly useLegacyLandlock: boolean;
}

/** What one run does, decided by files and options. */
export interface RunConfig {
  /** The selected profile: `:workspace`, `ci`. */
  readonly name: string;
  /** Where that choice was made. */
  readonly chosenBy: Origin;
  readonly policy: Policy;
  readonly profile: PermissionProfile;
  readonly environment: EnvironmentPolicy;
  readonly network: NetworkSettings;
  readonly features: Features;
  /** One line each, for stderr. */
  readonly warnings: readonly string[];
  /** Config files that this run read: read-only inside. */
  readonly ownFiles: readonly AbsPath[];
}

/** `FILE:LINE:COL: message (+N more: codex config check)`. */
export function describeConfigError(error: ConfigError): string {
  const more = error.more === undefined || error.more === 0
    ? ""
    : ` (+${error.more} more: codex config check)`;
  return `${describePlace(error)}${error.message}${more}`;
}

/** `FILE:LINE:COL: message`, `warning: ` before it where it is one. */
export function describeFinding(finding: Finding): string {
  const label = finding.severity === "warning" ? "warning: " : "";
  return `${label}${describePlace(finding)}${finding.message}`;
}

function describePlace(
  place: {
    readonly file: AbsPath | null;
    readonly line?: number;
    readonly column?: number;
  },
): string {
  if (place.file === null) return "";
  const line = place.line === undefined ? "" : `:${place.line}`;
  const column = place.column === undefined ? "" : `:${place.column}`;
  return `${toText(place.file)}${line}${column}: `;
}
