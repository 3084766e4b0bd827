/**
 * What a command may do: the permission profile with its symbols, and the policy it resolves to.
 *
 * Types only, so that every room can speak of a policy. The wire form is `wire.ts`, the meaning of a path is `access.ts`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { AbsPath } from "./path.ts";

/** What an entry gives. The legacy spelling `none` is read as `deny`. Among entries of equal depth deny beats write beats read. */
export type Access = "read" | "write" | "deny";

/**
 * Where a value was written. `file` is `null` for what no file holds: then `key` names it (`-c permissions.p…`, `built-in :workspace`).
 * `line` and `column` count from 1 and are absent where nobody looked for them yet.
 */
export interface Origin {
  readonly file: AbsPath | null;
  readonly key: string;
  readonly line?: number;
  readonly column?: number;
}

/** The symbol of a permission profile entry, by its kind on the wire. Paths and subpaths are byte strings. */
export type SpecialPath =
  | { readonly kind: "root" }
  | { readonly kind: "minimal" }
  | { readonly kind: "project_roots"; readonly subpath?: ByteString }
  | { readonly kind: "tmpdir" }
  | { readonly kind: "slash_tmp" }
  | {
    readonly kind: "unknown";
    readonly path: ByteString;
    readonly subpath?: ByteString;
  };

/** What an entry speaks of. */
export type EntryPath =
  | { readonly kind: "path"; readonly path: AbsPath }
  | { readonly kind: "glob_pattern"; readonly pattern: ByteString }
  | { readonly kind: "special"; readonly value: SpecialPath };

/** One line of a permission profile. */
export interface Entry {
  readonly path: EntryPath;
  readonly access: Access;
  /** 0.169: an entry that counts only where its path exists. */
  readonly missingPathBehavior?: "skip";
  readonly origin: Origin;
}

/** The file system half of a managed profile. */
export type FileSystemProfile =
  | {
    readonly kind: "restricted";
    readonly entries: readonly Entry[];
    readonly globScanMaxDepth?: number;
  }
  | { readonly kind: "unrestricted" };

/** The network bit of the wire format. What the managed proxy allows is {@linkcode NetworkPolicy}. */
export type NetworkAccess = "restricted" | "enabled";

/** A permission profile as it travels on the wire: symbols still symbolic. */
export type PermissionProfile =
  | {
    readonly kind: "managed";
    readonly fileSystem: FileSystemProfile;
    readonly network: NetworkAccess;
  }
  | { readonly kind: "disabled" }
  | { readonly kind: "external"; readonly network: NetworkAccess };

/** One path with one access, resolved. */
export interface Grant {
  readonly path: AbsPath;
  readonly access: Access;
  /** The symbol it was written with; `:root` = write and `/` = write differ. Absent for a plain path. */
  readonly symbol?: ":root" | ":workspace_roots" | ":tmpdir" | ":slash_tmp";
  /** Counts only where the path exists. */
  readonly skipIfMissing?: true;
  readonly origin: Origin;
}

/** One deny pattern, absolute; its literal prefix directory is what the walker starts from. */
export interface GlobDeny {
  readonly pattern: ByteString;
  /** The directory before the first component that isn't plain text: `globPrefix` of `glob.ts`. */
  readonly prefix: AbsPath;
  readonly origin: Origin;
}

/** A guarantee that a back end keeps, by the name used in `require = [...]` and `--give-up`. */
export type PromiseName = (typeof PROMISE_NAMES)[number];

/** What a policy says by its entries and its network, then what a back end gives beyond that. */
export const PROMISE_NAMES = [
  "read-deny",
  "write-deny",
  "carve-outs",
  "network",
  "pid",
  "ipc",
  "proc",
] as const;

/** Where the command's packets may go. `proxied` is a network namespace whose only exit is our proxy. */
export type NetworkMode = "none" | "proxied" | "host";

/** Keys of a profile that are not entries. Each has a default that is the safest. */
export interface PolicyOptions {
  /** `private`: the run has its own empty `/tmp` and `$TMPDIR`. */
  readonly tmp: "shared" | "private";
  /** Promises without which the run is refused. */
  readonly require: readonly PromiseName[];
  /** ptrace and process_vm_* among the command's own processes. */
  readonly debug: boolean;
  /** User namespaces inside the sandbox. */
  readonly nestedNamespaces: boolean;
  /** Sockets on the sandbox's own loopback. `false` gives the tight socket table. */
  readonly loopback: boolean;
  /** Whether `.git`, `.agents` and `.codex` of repositories inside a writable directory stay read-only. */
  readonly nestedRepositories: "read" | "write";
  /** Who expands deny globs. */
  readonly globBackend: "builtin" | "ripgrep";
  /** Host sockets of known daemons that stay reachable. */
  readonly unixSockets: readonly AbsPath[];
}

/** The options of a profile that sets none. */
export const DEFAULT_POLICY_OPTIONS: PolicyOptions = {
  tmp: "shared",
  require: [],
  debug: false,
  nestedNamespaces: false,
  loopback: true,
  nestedRepositories: "read",
  globBackend: "builtin",
  unixSockets: [],
};

/**
 * The resolved, absolute, host-free rule of one run.
 *
 * `enforcement` `disabled` runs the command directly; `external` means that somebody else confines files and only the network is
 * ours. `minimal`: the platform's directories are readable although the root is not.
 */
export interface Policy {
  /** What the user named, for messages: `:workspace`, `ci`, `--permission-profile`. */
  readonly name: string;
  readonly enforcement: "managed" | "disabled" | "external";
  /** `unrestricted` file system: `grants` and `globs` are empty. */
  readonly unrestricted: boolean;
  readonly grants: readonly Grant[];
  readonly globs: readonly GlobDeny[];
  readonly globScanMaxDepth: number | null;
  readonly minimal: boolean;
  readonly network: NetworkMode;
  /** Base of relative things and of `:workspace_roots`. */
  readonly cwd: AbsPath;
  /** All workspace roots, `cwd` first: no bwrap is trusted from inside them. */
  readonly workspaceRoots: readonly AbsPath[];
  readonly options: PolicyOptions;
}

/** Names that are protected as direct children of every writable root. */
export const METADATA_NAMES: readonly ByteString[] = [
  ".git",
  ".agents",
  ".codex",
] as unknown as readonly ByteString[];
