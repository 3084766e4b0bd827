/**
 * The one table of flags: parser, `--help`, man page and completions are all read from it.
 *
 * Pure, and only data: what a flag means beside others is in the options file of its command. A new flag is a row here and a line there.
 * Source: the flag table of ripgrep (`crates/core/flags`) for the idea; the flags' names are Codex's.
 *
 * @module
 */
import { PROMISE_NAMES } from "../policy/policy.ts";

/** Whose words are read: `root` stands before the command, `helper` is `codex-linux-sandbox`. */
export type CommandName =
  | "root"
  | "sandbox"
  | "helper"
  | "config check"
  | "config show"
  | "config schema"
  | "policy why"
  | "policy list"
  | "doctor"
  | "sandbox clean";

/** What a shell offers for a value. */
export type Completion =
  | { readonly kind: "profile" }
  | { readonly kind: "directory" }
  | { readonly kind: "file" }
  | { readonly kind: "choice"; readonly words: readonly string[] }
  | { readonly kind: "nothing" };

/**
 * What follows a flag. `text` must be UTF-8, `bytes` is carried as it is. An `optional` value is given with `=` only; without it the
 * flag means `optional`.
 */
export interface FlagValue {
  readonly name: string;
  readonly encoding: "text" | "bytes";
  readonly optional?: string;
  readonly completion: Completion;
}

/** The heading under which `--help` shows a flag. */
export type FlagGroup =
  | "Policy"
  | "Configuration"
  | "Run"
  | "Inspect"
  | "Older callers";

/** One row: a flag of one or more commands. */
export interface Flag {
  /** Without the two dashes. Unique within a command. */
  readonly long: string;
  /** Without the dash. */
  readonly short?: string;
  /** Long spellings that work and are not shown. */
  readonly hiddenAliases?: readonly string[];
  /** `null` for a switch. */
  readonly value: FlagValue | null;
  readonly isRepeatable: boolean;
  /** Works, but `--help` and completions leave it out. */
  readonly isHidden?: boolean;
  readonly group: FlagGroup;
  /** One sentence without a full stop, at most 200 characters, for `--help` and the man page. */
  readonly help: string;
  readonly commands: readonly CommandName[];
}

/** A flag that is known and refused with its own reason. */
export interface RefusedFlag {
  /** Spellings with their dashes. */
  readonly names: readonly string[];
  readonly commands: readonly CommandName[];
  readonly message: string;
  readonly hint?: string;
}

const NOTHING: Completion = { kind: "nothing" };
const DIRECTORY: Completion = { kind: "directory" };
const CONFIGURED: readonly CommandName[] = [
  "root",
  "sandbox",
  "config check",
  "config show",
  "policy why",
  "policy list",
  "doctor",
];

/** Every flag, in the order in which `--help` shows them. */
export const FLAGS = [
  {
    long: "permission-profile",
    short: "P",
    hiddenAliases: ["permissions-profile"],
    value: {
      name: "NAME",
      encoding: "text",
      completion: { kind: "profile" },
    },
    isRepeatable: false,
    group: "Policy",
    help:
      "Use this permission profile: a built-in (:read-only, :workspace, :danger-full-access) or one of the config files",
    commands: ["sandbox", "policy why"],
  },
  {
    long: "cd",
    short: "C",
    value: { name: "DIR", encoding: "bytes", completion: DIRECTORY },
    isRepeatable: false,
    group: "Policy",
    help: "Directory of the command and of the policy; needs -P",
    commands: ["sandbox"],
  },
  {
    long: "cd",
    short: "C",
    value: { name: "DIR", encoding: "bytes", completion: DIRECTORY },
    isRepeatable: false,
    group: "Policy",
    help: "Directory of the policy instead of the current one",
    commands: ["policy why"],
  },
  {
    long: "full-auto",
    value: null,
    isRepeatable: false,
    group: "Policy",
    help:
      "For configs without permission profiles: workspace-write instead of read-only",
    commands: ["sandbox"],
  },
  {
    long: "include-managed-config",
    value: null,
    isRepeatable: false,
    group: "Policy",
    help: "Apply all managed requirements although -P is given; needs -P",
    commands: ["sandbox"],
  },
  {
    long: "sandbox-state-json",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Policy",
    help: "Apply a ready-made permission state instead of the configured one",
    commands: ["sandbox"],
  },
  {
    long: "sandbox-state-readable-root",
    value: { name: "PATH", encoding: "bytes", completion: DIRECTORY },
    isRepeatable: true,
    group: "Policy",
    help: "Add a readable path to --sandbox-state-json",
    commands: ["sandbox"],
  },
  {
    long: "sandbox-state-disable-network",
    value: null,
    isRepeatable: false,
    group: "Policy",
    help: "Take the network away from --sandbox-state-json",
    commands: ["sandbox"],
  },
  {
    long: "config",
    short: "c",
    value: { name: "KEY=VALUE", encoding: "text", completion: NOTHING },
    isRepeatable: true,
    group: "Configuration",
    help: "Override one configuration value; VALUE is TOML or a plain string",
    commands: CONFIGURED,
  },
  {
    long: "enable",
    value: { name: "FEATURE", encoding: "text", completion: NOTHING },
    isRepeatable: true,
    group: "Configuration",
    help: "Same as -c features.FEATURE=true, after all -c",
    commands: CONFIGURED,
  },
  {
    long: "disable",
    value: { name: "FEATURE", encoding: "text", completion: NOTHING },
    isRepeatable: true,
    group: "Configuration",
    help: "Same as -c features.FEATURE=false, after all -c",
    commands: CONFIGURED,
  },
  {
    long: "profile",
    short: "p",
    value: { name: "NAME", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Configuration",
    help: "Lay $CODEX_HOME/NAME.config.toml over the user's config",
    commands: CONFIGURED,
  },
  {
    long: "pass-fd",
    value: { name: "N", encoding: "text", completion: NOTHING },
    isRepeatable: true,
    group: "Run",
    help: "Hand descriptor N (3 or higher) to the command; others are closed",
    commands: ["sandbox"],
  },
  {
    long: "outlive-caller",
    value: null,
    isRepeatable: false,
    group: "Run",
    help: "Keep running when the thread that started us ends",
    commands: ["sandbox"],
  },
  {
    long: "user",
    value: { name: "UID[:GID]", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Run",
    help:
      "As root: run as this user instead; numbers only, without supplementary groups",
    commands: ["sandbox"],
  },
  {
    long: "timeout",
    value: { name: "DURATION", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Run",
    help:
      "End the command after this time (500ms, 30s, 5m, 1h; a plain number is seconds) with status 124",
    commands: ["sandbox"],
  },
  {
    long: "grace",
    value: { name: "DURATION", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Run",
    help:
      "Pass signals on to the command and leave it so much time before everything ends",
    commands: ["sandbox"],
  },
  {
    long: "result-json",
    value: {
      name: "FILE|fd:N",
      encoding: "bytes",
      completion: { kind: "file" },
    },
    isRepeatable: false,
    group: "Run",
    help:
      "Write one JSON line about the end of the run to a file outside of its reach, or to descriptor N",
    commands: ["sandbox"],
  },
  {
    long: "launcher",
    value: {
      name: "WHICH",
      encoding: "text",
      completion: { kind: "choice", words: ["auto", "system", "bundled"] },
    },
    isRepeatable: false,
    group: "Run",
    help: "Which bwrap starts the sandbox: auto, system or bundled",
    commands: ["sandbox"],
  },
  {
    long: "stage",
    value: {
      name: "PATH",
      encoding: "text",
      completion: { kind: "choice", words: ["auto", "one-start", "inner"] },
    },
    isRepeatable: false,
    group: "Run",
    help:
      "Force the way of the start: auto, one-start or inner; refused where it cannot be taken",
    commands: ["sandbox"],
  },
  {
    long: "backend",
    value: {
      name: "WHICH",
      encoding: "text",
      completion: {
        kind: "choice",
        words: ["auto", "bubblewrap", "landlock"],
      },
    },
    isRepeatable: false,
    group: "Run",
    help:
      "What confines the command: auto, bubblewrap, or Landlock and seccomp alone",
    commands: ["sandbox"],
  },
  {
    long: "give-up",
    value: {
      name: "PROMISE",
      encoding: "text",
      completion: { kind: "choice", words: PROMISE_NAMES },
    },
    isRepeatable: true,
    group: "Run",
    help:
      "Do without a promise that Landlock can't keep; needs --backend landlock",
    commands: ["sandbox"],
  },
  {
    long: "report-blocked",
    value: {
      name: "WHEN",
      encoding: "text",
      completion: { kind: "choice", words: ["never", "auto", "always"] },
    },
    isRepeatable: false,
    group: "Run",
    help:
      "Name the hosts that the managed network refused: never, always, or auto (when the command fails)",
    commands: ["sandbox"],
  },
  {
    long: "network-log",
    value: { name: "FILE", encoding: "bytes", completion: { kind: "file" } },
    isRepeatable: false,
    group: "Run",
    help:
      "Append a line of JSON for each request of the managed network to FILE, which the sandbox must not be able to write",
    commands: ["sandbox"],
  },
  {
    long: "explain",
    value: {
      name: "FORMAT",
      encoding: "text",
      optional: "text",
      completion: { kind: "choice", words: ["text", "json"] },
    },
    isRepeatable: false,
    group: "Inspect",
    help: "Print the plan (text or json) and do not run the command",
    commands: ["sandbox"],
  },
  {
    long: "timings",
    value: null,
    isRepeatable: false,
    group: "Inspect",
    help: "Print where the milliseconds of the start went",
    commands: ["sandbox"],
  },
  {
    long: "version",
    short: "V",
    value: null,
    isRepeatable: false,
    group: "Inspect",
    help: "Print the version and that of the bundled bwrap",
    commands: ["root"],
  },
  {
    long: "origin",
    value: null,
    isRepeatable: false,
    group: "Inspect",
    help: "Show the file and line that each value came from",
    commands: ["config show"],
  },
  {
    long: "json",
    value: null,
    isRepeatable: false,
    group: "Inspect",
    help: "Print JSON",
    commands: ["config show", "policy why", "policy list", "doctor"],
  },
  {
    long: "dry-run",
    value: null,
    isRepeatable: false,
    group: "Run",
    help: "Print what would be removed and remove nothing",
    commands: ["sandbox clean"],
  },
  {
    long: "sandbox-policy-cwd",
    value: { name: "DIR", encoding: "bytes", completion: DIRECTORY },
    isRepeatable: false,
    group: "Policy",
    help:
      "Directory that workspace roots and relative globs refer to; required",
    commands: ["helper"],
  },
  {
    long: "command-cwd",
    value: { name: "DIR", encoding: "bytes", completion: DIRECTORY },
    isRepeatable: false,
    group: "Policy",
    help: "Directory of the command as the caller spells it",
    commands: ["helper"],
  },
  {
    long: "permission-profile",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Policy",
    help: "The permission profile to enforce; required",
    commands: ["helper"],
  },
  {
    long: "use-legacy-landlock",
    value: null,
    isRepeatable: false,
    group: "Run",
    help: "Landlock instead of bwrap, where the profile allows it",
    commands: ["helper"],
  },
  {
    long: "no-proc",
    value: null,
    isRepeatable: false,
    group: "Run",
    help: "Mount no fresh /proc",
    commands: ["helper"],
  },
  {
    long: "allow-network-for-proxy",
    value: null,
    isRepeatable: false,
    group: "Run",
    help: "Let the command reach only the proxy named in the environment",
    commands: ["helper"],
  },
  {
    long: "managed-network",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    group: "Run",
    help: "The same with a proxy policy, for callers from 0.169 on",
    commands: ["helper"],
  },
  {
    long: "proxy-route-spec",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    isHidden: true,
    group: "Run",
    help: "Routes prepared by the outer stage",
    commands: ["helper"],
  },
  {
    long: "apply-seccomp-then-exec",
    value: null,
    isRepeatable: false,
    isHidden: true,
    group: "Run",
    help: "Marks the inner stage",
    commands: ["helper"],
  },
  {
    long: "sandbox-policy",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    isHidden: true,
    group: "Older callers",
    help: "Legacy policy, in place of --permission-profile",
    commands: ["helper"],
  },
  {
    long: "file-system-sandbox-policy",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    isHidden: true,
    group: "Older callers",
    help: "File system half of a split policy",
    commands: ["helper"],
  },
  {
    long: "network-sandbox-policy",
    value: { name: "JSON", encoding: "text", completion: NOTHING },
    isRepeatable: false,
    isHidden: true,
    group: "Older callers",
    help: "Network half of a split policy",
    commands: ["helper"],
  },
] as const satisfies readonly Flag[];

/** The long name of any flag. */
export type FlagName = (typeof FLAGS)[number]["long"];

const AFTER_SANDBOX =
  "options of the run go after `sandbox`: codex sandbox -P :workspace -- COMMAND";

/**
 * Flags that are refused with a reason.
 *
 * The agent's own flags before `sandbox` are accepted and ignored by the reference. Someone who writes `codex --sandbox read-only
 * sandbox -- X` or `codex -C /x sandbox -- X` would get another sandbox than the words say, so we refuse.
 */
export const REFUSED_FLAGS: readonly RefusedFlag[] = [
  {
    names: ["--strict-config"],
    commands: ["root", "sandbox"],
    message: "'--strict-config' is not supported for `codex sandbox`",
    hint: "run `codex config check` to be strict about config files",
  },
  {
    names: ["--remote"],
    commands: ["root", "sandbox"],
    message: "'--remote' is only supported for interactive commands",
    hint: "leave it out: `codex sandbox` always runs here",
  },
  {
    names: ["--sandbox", "-s"],
    commands: ["root", "sandbox"],
    message: "'--sandbox' chooses the agent's mode, not that of this command",
    hint:
      "choose with -P after `sandbox`: :read-only, :workspace or :danger-full-access",
  },
  {
    names: ["--cd", "-C"],
    commands: ["root"],
    message: "'--cd' before `sandbox` would not move the command",
    hint: "put it behind: codex sandbox -P NAME -C DIR -- COMMAND",
  },
  {
    names: ["--add-dir"],
    commands: ["root", "sandbox"],
    message: "'--add-dir' does not widen this sandbox",
    hint:
      'grant it in a profile: [permissions.NAME.filesystem] with DIR = "write"',
  },
  {
    names: ["--dangerously-bypass-approvals-and-sandbox", "--yolo"],
    commands: ["root", "sandbox"],
    message:
      "'--dangerously-bypass-approvals-and-sandbox' does not switch this sandbox off",
    hint: "use -P :danger-full-access after `sandbox`, or run the command bare",
  },
  {
    names: ["--permission-profile", "--permissions-profile", "-P"],
    commands: ["root"],
    message: "'--permission-profile' is not an option of `codex` itself",
    hint: AFTER_SANDBOX,
  },
  {
    names: ["--full-auto"],
    commands: ["root"],
    message: "'--full-auto' is not an option of `codex` itself",
    hint: AFTER_SANDBOX,
  },
  {
    names: ["--version", "-V"],
    commands: ["sandbox", "helper"],
    message: "unexpected argument '--version' found",
    hint: "codex --version prints the version",
  },
  {
    names: ["--cwd"],
    commands: ["sandbox"],
    message: "unexpected argument '--cwd' found",
    hint: "it is called --cd (-C) now",
  },
  {
    names: ["--verify-fd-mount"],
    commands: ["helper"],
    message:
      "'--verify-fd-mount' is not supported: mounts are verified by the outer stage",
    hint: "leave it out",
  },
  {
    names: ["--inherit-pid-namespace"],
    commands: ["helper"],
    message:
      "'--inherit-pid-namespace' is not supported: a run always gets its own PID namespace",
    hint: "leave it out",
  },
];

/** The rows of one command, in table order. */
export function flagsOf(command: CommandName): readonly Flag[] {
  return (FLAGS as readonly Flag[]).filter((flag) =>
    flag.commands.includes(command)
  );
}

/** How messages name a flag: `--cd <DIR>`, or `--timings`. */
export function spell(flag: Flag): string {
  if (flag.value === null) return `--${flag.long}`;
  return `--${flag.long} <${flag.value.name}>`;
}
