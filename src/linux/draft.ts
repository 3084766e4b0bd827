/**
 * What a plan is made from, and a plan that lacks only its bwrap.
 *
 * Pure: shapes.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { PathFact, Repositories } from "../policy/facts.ts";
import type { CommandVerdict } from "./command.ts";
import type { Domain } from "./domains.ts";
import type { PlanSize } from "./many_mounts.ts";
import type { OwnBind } from "./mounts.ts";
import type {
  EnvironmentChange,
  Placeholder,
  SandboxPlan,
  Stage,
} from "./plan.ts";
import type { RunRules } from "./run_events.ts";
import type { FilterRequest } from "./seccomp/filters.ts";
import type { ReboundStream } from "./stream_cures.ts";
import type { MountPoint } from "../policy/decision.ts";
import type { AbsPath } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import type { Result } from "../result.ts";
import type { Identity } from "../sys/identity.ts";

/** What the plan is made from, all of it known before a bwrap is chosen. */
export interface DraftRequest {
  readonly policy: Policy;
  readonly mountPoints: readonly MountPoint[];
  readonly links: readonly AbsPath[];
  readonly repositories: Repositories | null;
  readonly factAt: (path: AbsPath) => PathFact;
  readonly exists: (path: AbsPath) => boolean;
  /** Empty files and directories under our mounts: another run's placeholders, perhaps. They are locked like our own. */
  readonly possiblePlaceholders: readonly Placeholder[];
  readonly root: boolean;
  readonly arch: FilterRequest["arch"];
  readonly command: readonly ByteString[];
  readonly verdict: CommandVerdict;
  /** The directories of the command's PATH, as execvp(3) reads them. */
  readonly searchPath: () => readonly string[];
  /** Whether this host executes programs from memory; asked only where a plan would. */
  readonly runsFromMemory: () => boolean;
  readonly forcedStage: "auto" | "one_start" | "inner";
  readonly outlivesCaller: boolean;
  readonly rules: RunRules;
  readonly tellsResult: boolean;
  readonly proc: "fresh" | "none";
  readonly chdir: AbsPath | null;
  readonly passFds: readonly number[];
  readonly guardedFds: readonly number[];
  readonly reboundFds: readonly ReboundStream[];
  /** The kernel's version of Landlock, or why it has none; asked only where a plan needs a domain. */
  readonly landlock: () => Result<number, string>;
  readonly environmentChanges: readonly EnvironmentChange[];
  readonly softNofile: number;
  /** `--user`. */
  readonly user?: Identity | null;
  /** What the inner stage needs in the view; asked only where there is one, because it costs 0.4 ms to find out. */
  readonly own: () => readonly OwnBind[];
  /** For `--explain`; absent where nobody asks. */
  readonly globs?: SandboxPlan["globs"];
  /** Of the network, where somebody asks what is planned. */
  readonly served?: readonly string[];
  readonly warnings: readonly string[];
}

/** A plan that lacks only its bwrap and what follows from it. */
export interface Draft {
  readonly request: DraftRequest;
  readonly traceDomain: Domain | null;
  readonly stage: Stage;
  readonly placeholders: readonly Placeholder[];
  readonly filter: FilterRequest;
  /** Options that any bwrap for this plan must know. */
  readonly needed: readonly string[];
  /** The mount plan with a fresh `/proc`, which nearly every host can have. */
  readonly mounts: SandboxPlan["mounts"];
  /** Of a plan of many mounts, for which not every bwrap is fit; else `null`. */
  readonly size: PlanSize | null;
  /** Some mount lies below a writable root, where others can move things about. */
  readonly mountsBelowWritable: boolean;
}
