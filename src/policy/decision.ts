/**
 * What decides about a path, and the mount points that make the decision true. Types only.
 *
 * `layout.ts` computes mount points from a policy and facts; the mount planner makes them, `access.ts` reads them. Both work on the
 * same list, so that `why` can't promise what the kernel won't keep.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { GlobMatch } from "./facts.ts";
import type { AbsPath } from "./path.ts";
import type { GlobDeny, Grant, Origin } from "./policy.ts";

/** The rule that speaks about a path. `path` is canonical: where the rule acts, links followed. */
export type Decider =
  | { readonly kind: "grant"; readonly path: AbsPath; readonly grant: Grant }
  | {
    readonly kind: "glob";
    readonly path: AbsPath;
    readonly glob: GlobDeny;
    readonly match: GlobMatch;
  }
  /** A directory of `:minimal`, readable. */
  | { readonly kind: "platform"; readonly path: AbsPath }
  /** `.git`, `.agents`, `.codex` directly in the writable root `root`. */
  | {
    readonly kind: "metadata";
    readonly path: AbsPath;
    readonly root: AbsPath;
    readonly name: ByteString;
  }
  /** Where the file `pointer` (`.git` or `commondir`) leads. */
  | {
    readonly kind: "git_pointer";
    readonly path: AbsPath;
    readonly pointer: AbsPath;
  }
  /** Metadata, or a git directory, of a repository inside a writable directory. */
  | {
    readonly kind: "nested_repository";
    readonly path: AbsPath;
    readonly repository: AbsPath;
  }
  /** A directory inside a writable one whose mode forbids to look for repositories in it. */
  | { readonly kind: "shut_directory"; readonly path: AbsPath }
  | {
    readonly kind: "own";
    readonly path: AbsPath;
    readonly access: "read_only" | "hidden";
  }
  /** A socket through which a daemon of the host takes orders, or a directory of such. `opened`: by `unix_sockets`. */
  | {
    readonly kind: "socket";
    readonly path: AbsPath;
    readonly daemon: string;
    readonly opened: boolean;
  }
  /** `tmp = "private"`: an empty directory of the run's own. */
  | { readonly kind: "private_tmp"; readonly path: AbsPath }
  /** `/proc`, `/dev`, `/sys`, which every plan makes by itself. */
  | { readonly kind: "system"; readonly path: AbsPath }
  /** A directory that may not be renamed because `guards` (a mount point below it) was named by a literal path. */
  | {
    readonly kind: "pin";
    readonly path: AbsPath;
    readonly guards: AbsPath;
  }
  /** No entry speaks of it: denied. */
  | { readonly kind: "no_entry"; readonly path: AbsPath }
  /** Full access: nothing is enforced on files. */
  | { readonly kind: "unconfined"; readonly path: AbsPath };

/** What a mount point shows: the host's files read-only or writable, nothing, or a fresh temporary directory. */
export type MountState = "read_only" | "writable" | "masked" | "private_tmp";

/**
 * One mount point that enforcement needs. A list is a tree, depth first: those above come before those below.
 *
 * Where a path has no mount point of its own, the nearest one above speaks for it.
 */
export interface MountPoint {
  /** Canonical place, no link in it. */
  readonly path: AbsPath;
  readonly state: MountState;
  readonly decider: Decider;
  /**
   * What lies at `path` on the host. `missing`: it lies in a writable place and must be occupied by an empty placeholder for the
   * run (then `placeholder` says of what kind), so that it can't be created.
   */
  readonly node: "directory" | "file" | "missing";
  /** For `missing` only: metadata names become directories, everything else files. */
  readonly placeholder?: "directory" | "file";
  /** A masked directory with something visible below it: mode 111 instead of 000. */
  readonly traversable: boolean;
  /** The nearest mount point above, `null` for the root. */
  readonly parent: AbsPath | null;
}

/**
 * Why a policy can't be enforced here. `path` is as the user wrote it.
 *
 * Fragments of the messages are fixed: callers match on them.
 */
export interface PolicyError {
  readonly kind:
    | "crosses_writable_symlink"
    | "link_loop"
    | "missing_writable_root"
    | "root_prefix_glob"
    | "invalid_glob"
    | "system_path"
    | "own_path"
    | "unreadable_component"
    | "not_a_directory"
    | "device_write"
    | "nested_namespaces"
    | "unknown_token"
    | "bad_subpath"
    | "git_pointer"
    | "case_folding";
  readonly path: ByteString;
  /** One line, no full stop, without the origin. */
  readonly message: string;
  readonly origin: Origin | null;
}
