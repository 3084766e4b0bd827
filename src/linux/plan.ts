/**
 * All that will be done, as data: mounts, network, filter, launcher, stage, environment, and why each was chosen.
 *
 * Pure types. `--explain` prints a plan, the launcher carries it out, golden files hold it.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { Repositories } from "../policy/facts.ts";
import type { AbsPath } from "../policy/path.ts";
import type { NetworkMode, PromiseName } from "../policy/policy.ts";
import type { Identity as User } from "../sys/identity.ts";
import type { Domain } from "./domains.ts";
import type { KeptPromise } from "./promises.ts";
import type { FileRight, LandlockRights } from "./landlock_abi.ts";
import type { Identity, MountStep } from "./mounts.ts";
import type { RunRules } from "./run_events.ts";
import type { ReboundStream } from "./stream_cures.ts";
import type { FilterRequest } from "./seccomp/filters.ts";

/** Why no plan can be made. `message` is one line. */
export interface PlanError {
  readonly kind: "plan";
  readonly message: string;
}

/** Which bubblewrap runs, and why it and no other. */
export type Launcher =
  | {
    readonly kind: "system";
    readonly path: AbsPath;
    readonly version: string;
    readonly reason: string;
  }
  | {
    readonly kind: "bundled";
    readonly version: string;
    readonly sha256: string;
    readonly reason: string;
  };

/** How the command is started inside. */
export type Stage =
  | {
    /** `one_start`: bwrap executes the command. `inner`: our executable does, inside the namespaces. */
    readonly kind: "one_start" | "inner";
    readonly reason: string;
  }
  | {
    /** A small program makes the listeners of the managed network and executes the command. */
    readonly kind: "listening";
    readonly reason: string;
    /** Where the command lies, as execvp(3) would spell it. */
    readonly place: ByteString;
  };

/** What a deny glob hides in this run: what exists now, and nothing that comes later. */
export interface GlobCover {
  readonly pattern: ByteString;
  readonly files: number;
  readonly directories: number;
}

/** Whether the host's abstract names can be reached, which no mount can hide. */
export interface AbstractSockets {
  /** `closed`: by a Landlock scope that bubblewrap is started in. */
  readonly reach: "closed" | "open";
  readonly reason: string;
}

/** Why a supervisor of ours stays for the run. */
export type SupervisorReason =
  | "placeholders"
  | "mount verification"
  | "--outlive-caller"
  | "managed network"
  | "a terminal"
  | "--timeout"
  | "--grace"
  | "--result-json";

/** What is changed in the command's environment, by name only: values are never printed. */
export interface EnvironmentChange {
  readonly name: string;
  readonly change: "set" | "removed" | "kept from all but the command";
}

/** A run in a bubblewrap sandbox. */
export interface SandboxPlan {
  readonly kind: "bubblewrap";
  readonly profile: string;
  readonly cwd: AbsPath;
  /** Where the command starts; `null` when `cwd` is not in the view. */
  readonly chdir: AbsPath | null;
  readonly mounts: readonly MountStep[];
  readonly proc: "fresh" | "host";
  readonly network: NetworkMode;
  /** The proxy and its hosts, a line each, for `--explain` alone. */
  readonly served?: readonly string[];
  /** Abstract AF_UNIX names of the host: absent where the network namespace has none of them. */
  readonly abstractSockets?: AbstractSockets;
  readonly filter: FilterRequest;
  readonly launcher: Launcher;
  readonly stage: Stage;
  /** Empty: no process of ours is left resident. */
  readonly supervisor: readonly SupervisorReason[];
  /** How the run may end. */
  readonly rules: RunRules;
  /** Missing paths that need a mount point on the host for the run. */
  readonly placeholders: readonly Placeholder[];
  /** Those found inside writable directories; `null` where nobody looked. */
  readonly repositories: Repositories | null;
  readonly disableUserns: boolean;
  /** Whom uid 0 becomes first (`--user`). */
  readonly user?: User;
  readonly passFds: readonly number[];
  /** Streams that the caller opened for reading on a file that must not be opened for writing through them. */
  readonly guardedFds: readonly number[];
  /** Those that the inner stage opens anew on a read-only mount. */
  readonly reboundFds: readonly ReboundStream[];
  /** `debug = true`: the Landlock domain in which the command's processes may trace each other. */
  readonly traceDomain: Domain | null;
  readonly environmentChanges: readonly EnvironmentChange[];
  readonly command: readonly ByteString[];
  /** Counted for `--explain` alone. */
  readonly globs: readonly GlobCover[];
  readonly warnings: readonly string[];
}

/** A mount point that has to exist on the host while the run lasts. */
export interface Placeholder {
  readonly path: AbsPath;
  readonly node: "directory" | "file";
}

/** A run without a sandbox, which only `:danger-full-access` and the `disabled` profile of the helper give. */
export interface DirectPlan {
  readonly kind: "direct";
  readonly profile: string;
  readonly cwd: AbsPath;
  readonly user?: User;
  readonly environmentChanges: readonly EnvironmentChange[];
  readonly passFds: readonly number[];
  readonly command: readonly ByteString[];
  readonly warnings: readonly string[];
}

/** One rule of a Landlock domain: what is allowed at a place and below it. */
export interface LandlockRule {
  readonly path: AbsPath;
  /** As far as the kernel's version of Landlock knows them. */
  readonly rights: readonly FileRight[];
  /** What was seen there: another thing at the same path is a failure. `null` for what no user can replace. */
  readonly seen: Identity | null;
  readonly reason: string;
}

/** A run that Landlock and the filter confine, without namespaces and mounts: we become the command. */
export interface LandlockPlan {
  readonly kind: "landlock_only";
  readonly profile: string;
  readonly cwd: AbsPath;
  /** Where the command starts; `null` when nothing there may be read. */
  readonly chdir: AbsPath | null;
  /** Why it is not bubblewrap. */
  readonly reason: string;
  /** The version of Landlock that the kernel has; 0 where it has none and none is needed. */
  readonly landlock: number;
  /** What the domain decides about: what no rule allows of it is denied. */
  readonly handled: LandlockRights;
  readonly rules: readonly LandlockRule[];
  readonly network: NetworkMode;
  readonly filter: FilterRequest;
  readonly promises: readonly KeptPromise[];
  /** Promises that were given up by hand. */
  readonly givenUp: readonly PromiseName[];
  /** Whom uid 0 becomes first (`--user`). */
  readonly user?: User;
  readonly passFds: readonly number[];
  readonly environmentChanges: readonly EnvironmentChange[];
  readonly command: readonly ByteString[];
  readonly warnings: readonly string[];
}

/** What `codex sandbox` is about to do. */
export type Plan = SandboxPlan | LandlockPlan | DirectPlan;
