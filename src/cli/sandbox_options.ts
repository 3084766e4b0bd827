/**
 * Words to the options of `codex sandbox`, with every default filled in.
 *
 * Pure.
 *
 * @module
 */
import { type ByteString, fromText, toText } from "../bytes.ts";
import type { FlagName } from "./flags.ts";
import {
  choice,
  type Command,
  commandOf,
  isOneOf,
  type Parsed,
  type SessionConfig,
  sessionConfig,
} from "./options.ts";
import {
  all,
  allText,
  has,
  only,
  onlyText,
  type ParsedWords,
  parseWords,
} from "./parse.ts";
import { limitsOf, MAX_FD, NO_LIMITS, type RunLimits } from "./run_limits.ts";
import { refuse, type UsageError } from "./usage.ts";
import { nearest } from "../nearest.ts";
import { PROMISE_NAMES, type PromiseName } from "../policy/policy.ts";
import { ok, type Result } from "../result.ts";

/** What `codex sandbox` was asked to do. */
export interface SandboxOptions {
  readonly kind: "sandbox";
  readonly policy: PolicyChoice;
  readonly config: SessionConfig;
  /** `run`, or print the plan and stop. */
  readonly action: "run" | "explain_text" | "explain_json";
  readonly printsTimings: boolean;
  /** Descriptors for the command besides 0–2: ascending, each once, 3 or higher. Whether they are open is not known here. */
  readonly passedFds: readonly number[];
  readonly lifetime: "dies_with_caller" | "outlives_caller";
  readonly backend: "auto" | "bubblewrap" | "landlock";
  /** `--give-up`: each once, with `landlock` only. */
  readonly givenUp: readonly PromiseName[];
  readonly launcher: "auto" | "system" | "bundled";
  readonly stage: "auto" | "one_start" | "inner";
  /** `--user`; `gid` is `null` when not given. `null`: as whoever calls. */
  readonly user: UserChoice | null;
  readonly network: NetworkReporting;
  readonly limits: RunLimits;
  readonly command: Command;
}

/** Where the policy of a run comes from. */
export type PolicyChoice =
  /** What the config files select; `legacyMode` is used where they have no permission profiles (`--full-auto`). */
  | {
    readonly kind: "configured";
    readonly legacyMode: "read_only" | "workspace_write";
  }
  /** `-P`. `cd` is as typed, relative to our own directory; `null` is our own directory. */
  | {
    readonly kind: "named";
    readonly profile: string;
    readonly cd: ByteString | null;
    /** Which requirements apply: `root_owned` alone, or `all` (`--include-managed-config`). */
    readonly requirements: "root_owned" | "all";
  }
  /** `--sandbox-state-json` with its companions. Roots are as typed. */
  | {
    readonly kind: "state";
    readonly json: string;
    readonly readableRoots: readonly ByteString[];
    readonly network: "as_stated" | "restricted";
  };

/** A user by number. */
export interface UserChoice {
  readonly uid: number;
  readonly gid: number | null;
}

/** What a run tells about its managed network. */
export interface NetworkReporting {
  /** When refusals are told on stderr; `auto`: when the command fails. */
  readonly report: "never" | "auto" | "always";
  /** As typed; `null` when not given. */
  readonly log: ByteString | null;
}

/**
 * The options of `codex sandbox`.
 *
 * @param words what stands behind `sandbox`
 * @param rootWords what stands before it: session settings only, `dispatch` has refused the rest
 */
export function parseSandboxOptions(
  words: readonly ByteString[],
  rootWords: readonly ByteString[] = [],
): Parsed<SandboxOptions> {
  const plain = rootWords.length === 0 ? plainOptions(words) : null;
  if (plain !== null) return ok(plain);
  const parsed = parseWords("sandbox", words, "first_positional");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "sandbox" });
  const flags = parsed.value;
  const config = sessionConfig(flags, rootWords);
  if (!config.ok) return config;
  const policy = policyChoice(flags);
  if (!policy.ok) return policy;
  const launcher = choice(flags, "launcher", ["auto", "system", "bundled"]);
  if (!launcher.ok) return launcher;
  const stage = choice(flags, "stage", ["auto", "one-start", "inner"]);
  if (!stage.ok) return stage;
  const backend = choice(flags, "backend", ["auto", "bubblewrap", "landlock"]);
  if (!backend.ok) return backend;
  const givenUp = promisesGivenUp(flags, backend.value);
  if (!givenUp.ok) return givenUp;
  const other = backend.value !== "landlock"
    ? undefined
    : (["launcher", "stage"] as const).find((name) => has(flags, name));
  if (other !== undefined) {
    return refuse(
      `the argument '--backend landlock' cannot be used with '--${other}'`,
      "it chooses among ways of bubblewrap's",
    );
  }
  const explain = choice(flags, "explain", ["text", "json"]);
  if (!explain.ok) return explain;
  const passedFds = descriptors(allText(flags, "pass-fd"));
  if (!passedFds.ok) return passedFds;
  const user = userChoice(onlyText(flags, "user"));
  if (!user.ok) return user;
  const report = choice(flags, "report-blocked", ["never", "auto", "always"]);
  if (!report.ok) return report;
  const limits = limitsOf(flags);
  if (!limits.ok) return limits;
  const command = commandOf(flags.rest, "codex sandbox");
  if (!command.ok) return command;
  return ok({
    kind: "sandbox",
    policy: policy.value,
    config: config.value,
    action: explain.value === null ? "run" : `explain_${explain.value}`,
    printsTimings: has(flags, "timings"),
    passedFds: passedFds.value,
    lifetime: has(flags, "outlive-caller")
      ? "outlives_caller"
      : "dies_with_caller",
    backend: backend.value ?? "auto",
    givenUp: givenUp.value,
    launcher: launcher.value ?? "auto",
    stage: stage.value === "one-start" ? "one_start" : stage.value ?? "auto",
    user: user.value,
    network: {
      report: report.value ?? "auto",
      log: only(flags, "network-log"),
    },
    limits: limits.value,
    command: command.value,
  });
}

/**
 * The options of a call without any flag: what the table comes to as well, in a tenth of the time (0.2 ms of a start).
 *
 * @returns `null` where there is a flag, or no command
 */
function plainOptions(words: readonly ByteString[]): SandboxOptions | null {
  const [first] = words;
  if (first === undefined) return null;
  const isMarked = first === "--";
  if (!isMarked && first.length > 1 && first[0] === "-") return null;
  const [program, ...rest] = isMarked ? words.slice(1) : words;
  if (program === undefined) return null;
  return {
    kind: "sandbox",
    policy: { kind: "configured", legacyMode: "read_only" },
    config: { overrides: [], features: [], configProfile: null },
    action: "run",
    printsTimings: false,
    passedFds: [],
    lifetime: "dies_with_caller",
    backend: "auto",
    givenUp: [],
    launcher: "auto",
    stage: "auto",
    user: null,
    network: { report: "auto", log: null },
    limits: NO_LIMITS,
    command: [program, ...rest],
  };
}

/** What excludes or needs what, among the flags that choose the policy. */
function policyChoice(flags: ParsedWords): Result<PolicyChoice, UsageError> {
  const json = onlyText(flags, "sandbox-state-json");
  const profile = onlyText(flags, "permission-profile");
  if (json !== null) {
    const others: readonly FlagName[] = [
      "permission-profile",
      "cd",
      "include-managed-config",
      "full-auto",
    ];
    for (const other of others) {
      if (!has(flags, other)) continue;
      return refuse(
        `the argument '--sandbox-state-json' cannot be used with '--${other}'`,
        "the state carries its own profile and directory",
      );
    }
    return ok({
      kind: "state",
      json,
      readableRoots: all(flags, "sandbox-state-readable-root"),
      network: has(flags, "sandbox-state-disable-network")
        ? "restricted"
        : "as_stated",
    });
  }
  const ofState: readonly FlagName[] = [
    "sandbox-state-readable-root",
    "sandbox-state-disable-network",
  ];
  for (const flag of ofState) {
    if (has(flags, flag)) {
      return refuse(`'--${flag}' requires --sandbox-state-json <JSON>`);
    }
  }
  if (profile === null) {
    // As in the reference: without a named profile a directory could bring its own policy along.
    for (const flag of ["cd", "include-managed-config"] as const) {
      if (has(flags, flag)) {
        return refuse(
          `'--${flag}' requires --permission-profile <NAME>`,
          "add for example -P :read-only or -P :workspace",
        );
      }
    }
    return ok({
      kind: "configured",
      legacyMode: has(flags, "full-auto") ? "workspace_write" : "read_only",
    });
  }
  if (has(flags, "full-auto")) {
    return refuse(
      "the argument '--full-auto' cannot be used with '--permission-profile'",
      "drop --full-auto; -P :workspace gives the same writes",
    );
  }
  return ok({
    kind: "named",
    profile,
    cd: only(flags, "cd"),
    requirements: has(flags, "include-managed-config") ? "all" : "root_owned",
  });
}

/** What is given up must be asked for by name, and only where nothing else would do. */
function promisesGivenUp(
  flags: ParsedWords,
  backend: string | null,
): Result<readonly PromiseName[], UsageError> {
  const names = allText(flags, "give-up");
  if (names.length > 0 && backend !== "landlock") {
    return refuse(
      "'--give-up' requires --backend landlock",
      "bubblewrap keeps every promise",
    );
  }
  const given = new Set<PromiseName>();
  for (const name of names) {
    if (!isOneOf(name, PROMISE_NAMES)) {
      const near = nearest(name, PROMISE_NAMES);
      return refuse(
        `invalid value '${
          toText(fromText(name))
        }' for '--give-up <PROMISE>': must be ${PROMISE_NAMES.join(", ")}`,
        near === null ? null : `did you mean '${near}'?`,
      );
    }
    given.add(name);
  }
  return ok([...given]);
}

function descriptors(
  words: readonly string[],
): Result<readonly number[], UsageError> {
  const fds = new Set<number>();
  for (const word of words) {
    const fd = /^(0|[1-9][0-9]{0,9})$/.test(word) ? Number(word) : NaN;
    if (!(fd >= 3 && fd <= MAX_FD)) {
      return refuse(
        `invalid value '${
          toText(fromText(word))
        }' for '--pass-fd <N>': must be a descriptor number, 3 or higher`,
        fd <= 2 ? "0, 1 and 2 are always passed" : null,
      );
    }
    fds.add(fd);
  }
  return ok([...fds].sort((a, b) => a - b));
}

/** @param word `UID` or `UID:GID` */
function userChoice(
  word: string | null,
): Result<UserChoice | null, UsageError> {
  if (word === null) return ok(null);
  const [uid = "", gid, ...surplus] = word.split(":");
  const numbers = [uid, ...(gid === undefined ? [] : [gid])];
  const areIds = numbers.every((it) =>
    /^(0|[1-9][0-9]{0,9})$/.test(it) && Number(it) <= MAX_ID
  );
  if (!areIds || surplus.length > 0) {
    return refuse(
      `invalid value '${
        toText(fromText(word))
      }' for '--user <UID[:GID]>': must be one or two numbers, ${MAX_ID} at most`,
      "id -u NAME prints a user's number",
    );
  }
  return ok({ uid: Number(uid), gid: gid === undefined ? null : Number(gid) });
}

/** The last number that is no sign for "unchanged" (setresuid(2)). */
const MAX_ID = 0xffff_fffe;
