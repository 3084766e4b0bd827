/**
 * What `codex doctor` found out about a host, as data: gathered by `look.ts`, judged by `report.ts`, made up by the tests.
 *
 * Pure: types, and one table.
 *
 * @module
 */
import type { NamespaceFacts } from "../bwrap_choice.ts";
import type { KeptPromise } from "../promises.ts";

/** Everything that a report is made from. */
export interface DoctorFacts {
  /** Our own version. */
  readonly version: string;
  readonly arch: "x64" | "arm64";
  readonly uid: number;
  /** `kernel.osrelease`: `6.1.0-13-amd64`. */
  readonly release: string;
  readonly distribution: Distribution;
  readonly namespaces: NamespaceFacts;
  readonly apparmor: AppArmor;
  /** What shows that we run in a container or in another sandbox. */
  readonly containers: readonly string[];
  readonly isInOurSandbox: boolean;
  /** `kernel.seccomp.actions_avail`, `null` where the kernel has no filters. */
  readonly seccompActions: readonly string[] | null;
  /** Version, or the errno of the question. */
  readonly landlock:
    | { readonly version: number }
    | { readonly errno: number };
  /** `vm.memfd_noexec`, `null` where the kernel has no such setting (before 6.3). */
  readonly memfdNoexec: number | null;
  /** Devices of `/dev` that every sandbox has and this host lacks: they are missing, or something else lies there. */
  readonly brokenDevices: readonly DeviceName[];
  /** Those of PATH in order, `/usr/bin/bwrap` if it is not among them, then the bundled one. */
  readonly bwraps: readonly BwrapFacts[];
  readonly state: StateFacts;
  readonly directory: DirectoryFacts | null;
  readonly profile: ProfileFacts;
  readonly leftovers: readonly LeftoverFacts[];
}

/** From os-release(5). */
export interface Distribution {
  /** `PRETTY_NAME`. */
  readonly name: string;
  /** `ID` and the words of `ID_LIKE`. */
  readonly ids: readonly string[];
}

/** AppArmor beyond the one setting that {@linkcode NamespaceFacts} has. */
export interface AppArmor {
  /** `/sys/module/apparmor/parameters/enabled`. */
  readonly isEnabled: boolean;
  /** Our own confinement (`/proc/self/attr/current`), `null` when it can't be read. */
  readonly confinement: string | null;
  /** A profile for bwrap lies in `/etc/apparmor.d`. */
  readonly hasBwrapProfile: boolean;
}

/** What bubblewrap binds into each `/dev` that it makes: name, and the numbers of mknod(1). */
export const DEVICES = {
  null: "1 3",
  zero: "1 5",
  full: "1 7",
  random: "1 8",
  urandom: "1 9",
  tty: "5 0",
} as const;
export type DeviceName = keyof typeof DEVICES;

/** One bubblewrap. */
export interface BwrapFacts {
  readonly kind: "system" | "bundled";
  /** As it would be found; `bundled` for the one that we carry. */
  readonly path: string;
  /** Of the build or of `--version`; empty when it wasn't asked or didn't say. */
  readonly version: string;
  /** `null`: it may be run. Otherwise why not, also for a bundled one that can't be loaded. */
  readonly refused: string | null;
  readonly isSetuid: boolean;
  /** Of `--help`, sorted; empty when it wasn't asked. */
  readonly options: readonly string[];
  /** Options that some plan needs and it lacks. */
  readonly missing: readonly string[];
  /** Small sandboxes, from the simplest on; none when it may not be run. */
  readonly trials: readonly Trial[];
  /** SHA-256 of a bundled one. */
  readonly sha256: string | null;
}

/** One small sandbox. */
export interface Trial {
  readonly what: TrialName;
  /** `null`: it works. Otherwise what bubblewrap said. */
  readonly failed: string | null;
}

/** Each contains those before it, `proc` and `disable-userns` aside. */
export type TrialName =
  | "user"
  | "pid"
  | "ipc"
  | "net"
  | "proc"
  | "disable-userns";

/** `$CODEX_HOME/sandbox`. */
export interface StateFacts {
  /** `null`: neither CODEX_HOME nor HOME names one. */
  readonly path: string | null;
  /** `missing`: the first run makes it. */
  readonly state: "usable" | "missing" | "unusable";
  readonly why: string;
}

/** The directory that a run would start in. */
export interface DirectoryFacts {
  readonly path: string;
  readonly uid: number;
  /** Permission bits. */
  readonly mode: number;
  /** `f_type` by name where it makes a difference: `nfs`, `autofs`, `9p`; otherwise empty. */
  readonly fileSystem: string;
}

/** What became of the profile that a run without `-P` uses. */
export interface ProfileFacts {
  /** Empty when the config files could not be read. */
  readonly name: string;
  /** The plan, or why there is none. */
  readonly plan:
    | {
      readonly kind: "planned";
      /** `bubblewrap`, `landlock_only` or `direct`. */
      readonly backEnd: string;
      /** Which file starts it, and why it. */
      readonly launcher: string;
      /** What this back end keeps, and what it doesn't. */
      readonly promises: readonly KeptPromise[];
      readonly warnings: readonly string[];
    }
    | { readonly kind: "refused"; readonly why: string };
  /** A run of `true` under it; `null` when there was no plan. */
  readonly run:
    | { readonly status: number | string; readonly output: string }
    | null;
}

/** What a dead run left. */
export interface LeftoverFacts {
  readonly path: string;
  readonly state: "removable" | "kept";
  readonly why: string;
}
