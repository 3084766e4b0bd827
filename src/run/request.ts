/**
 * What one run was asked for, and what it is once prepared: the shapes that the parts of a run hand on.
 *
 * Pure.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { RunLimits } from "../cli/run_limits.ts";
import type { EnvironmentPolicy } from "../config/config.ts";
import type { NetworkRequest } from "../egress/network_request.ts";
import type { PathFacts } from "../policy/facts.ts";
import type { StateHome } from "../host/state_folder.ts";
import type { DirectPlan, LandlockPlan, SandboxPlan } from "../linux/plan.ts";
import type { BwrapFile } from "../linux/probe_bwrap.ts";
import type { AbsPath } from "../policy/path.ts";
import type { Policy, PromiseName } from "../policy/policy.ts";
import type { Identity } from "../sys/identity.ts";
import type { ResultTeller } from "./result.ts";

/** What one run was asked for, everything resolved but the host. */
export interface RunRequest {
  readonly policy: Policy;
  readonly command: readonly [ByteString, ...ByteString[]];
  /** The environment that we were started with: its PATH finds a system bwrap. */
  readonly callerEnvironment: readonly ByteString[];
  /** The command's whole environment but PWD. */
  readonly environment: readonly ByteString[];
  /** How it was made from the caller's; `null` where the caller made it himself. */
  readonly environmentPolicy: EnvironmentPolicy | null;
  /** `null`: there is no home; nothing is cached, and what needs records is refused. */
  readonly codexHome: AbsPath | null;
  /** `environment` has our own marks. */
  readonly marksSandbox: boolean;
  /** Config files that were read. */
  readonly ownFiles: readonly AbsPath[];
  readonly uid: number;
  /** Whom the command runs as. */
  readonly euid: number;
  /** Whom the state folder belongs to: the caller. Another than `euid` only with `user`. */
  readonly stateOwner: number;
  /** Whom uid 0 becomes before anything of the sandbox is started (`--user`); `null`: nobody else. */
  readonly user: Identity | null;
  /** `auto`: Landlock alone where bubblewrap can't be used and all that the policy says is kept. */
  readonly backend: "auto" | "bubblewrap" | "landlock";
  /** Promises that the caller does without, by hand, with `landlock` only. */
  readonly givenUp: readonly PromiseName[];
  readonly launcher: "auto" | "system" | "bundled";
  readonly stage: "auto" | "one_start" | "inner";
  readonly outlivesCaller: boolean;
  readonly limits: RunLimits;
  /** Whom `--result-json` tells the end; `null` without it. */
  readonly teller: ResultTeller | null;
  readonly passFds: readonly number[];
  /** Who serves the network; `null` unless it is proxied. */
  readonly network: NetworkRequest | null;
  readonly warnings: readonly string[];
  /** `none`: the helper was told not to mount a fresh `/proc`. */
  readonly proc: "fresh" | "none";
  /** Where the command starts, canonical; `null`: in the policy's directory. */
  readonly chdir: AbsPath | null;
  /** The plan is going to be printed: everything in it is worked out, also what a run needs not. */
  readonly explains: boolean;
  readonly mark: (step: string) => void;
}

/** A plan that is ready to be carried out. */
export type Prepared =
  | { readonly kind: "direct"; readonly plan: DirectPlan }
  | {
    readonly kind: "sandbox";
    readonly plan: SandboxPlan;
    readonly bwrap: BwrapFile;
    readonly innerWords: readonly string[];
    readonly facts: PathFacts;
    /** By the wall clock. */
    readonly startedMs: number;
  }
  | { readonly kind: "landlock"; readonly plan: LandlockPlan };

/** Whose state folder this run uses; `null` where there is no home. */
export function stateHomeOf(
  { codexHome, stateOwner: euid }: RunRequest,
): StateHome | null {
  return codexHome === null ? null : { codexHome, euid };
}

/** The flag that asks for somebody who stays with the run, `null` for none. */
export function limitNameOf(limits: RunLimits): string | null {
  if (limits.timeoutMs !== null) return "--timeout";
  if (limits.graceMs !== null) return "--grace";
  return limits.result !== null ? "--result-json" : null;
}
