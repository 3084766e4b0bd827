/**
 * Words to options: what the user asked for, with every default filled in.
 *
 * Pure: needs nothing but the words; no file, environment or directory is looked at. JSON and `KEY=VALUE` are only carried.
 * All refusals here are usage errors (status 2), the missing command and the missing profile included: see `usage.ts`.
 *
 * @module
 */
import { type ByteString, decodeText, fromText, toText } from "../bytes.ts";
import { nearest } from "../nearest.ts";
import { PROMISE_NAMES, type PromiseName } from "../policy/policy.ts";
import { ok, type Result, unreachable } from "../result.ts";
import { durationOf } from "./duration.ts";
import type { FlagName } from "./flags.ts";
import {
  all,
  allText,
  has,
  only,
  onlyText,
  type ParsedWords,
  parseWords,
} from "./parse.ts";
import { refuse, type UsageError } from "./usage.ts";

/** At least one word: the program and its arguments, byte for byte. */
export type Command = readonly [ByteString, ...ByteString[]];

/** What `--help` is about. */
export type HelpTopic =
  | "codex"
  | "sandbox"
  | "config"
  | "policy"
  | "proxy-connect"
  | "completions"
  | "doctor"
  | "clean"
  | "help"
  | "helper";

/** `-h` or `--help` instead of options. */
export interface HelpRequest {
  readonly kind: "help";
  readonly topic: HelpTopic;
}

/** Session settings, common to all commands that read config files. Words before the command come first. */
export interface SessionConfig {
  /** `KEY=VALUE` as typed, later ones win. */
  readonly overrides: readonly string[];
  /** `--enable` and `--disable` in the order given; they are laid over the overrides, later ones win. */
  readonly features: readonly FeatureSwitch[];
  /** `-p`: name of a config profile, letters, digits, `_` and `-`. The one behind the command wins. */
  readonly configProfile: string | null;
}

/** One `--enable` or `--disable`; whether the feature exists is not known here. */
export interface FeatureSwitch {
  readonly feature: string;
  readonly isEnabled: boolean;
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

/** How a run may end, in milliseconds, and who is told; `null`: not given. */
export interface RunLimits {
  readonly timeoutMs: number | null;
  readonly graceMs: number | null;
  readonly result: ResultTarget | null;
}

/** Where `--result-json` writes. The path is as typed. */
export type ResultTarget =
  | { readonly kind: "file"; readonly path: ByteString }
  | { readonly kind: "fd"; readonly fd: number };

export const NO_LIMITS: RunLimits = {
  timeoutMs: null,
  graceMs: null,
  result: null,
};

/** The policy as the helper's caller sends it. All members are JSON texts. */
export type HelperPolicy =
  | { readonly kind: "profile"; readonly json: string }
  /** Older callers: the legacy policy alone. */
  | { readonly kind: "legacy"; readonly json: string }
  /** Older callers: both halves, and perhaps the legacy policy, which must then agree. */
  | {
    readonly kind: "split";
    readonly fileSystemJson: string;
    readonly networkJson: string;
    readonly legacyJson: string | null;
  };

/** How the helper's caller wants the network routed. */
export type HelperProxy =
  | { readonly kind: "none" }
  /** `--allow-network-for-proxy`; the inner stage has the routes, the outer stage has `null`. */
  | { readonly kind: "environment"; readonly routeSpecJson: string | null }
  /** `--managed-network`. */
  | { readonly kind: "managed"; readonly json: string };

/** What `codex-linux-sandbox` was asked to do. */
export interface HelperOptions {
  readonly kind: "helper";
  /** As typed; relative to our own directory. */
  readonly policyCwd: ByteString;
  /** As typed; `null` when not given: then the command starts where we are. */
  readonly commandCwd: ByteString | null;
  readonly policy: HelperPolicy;
  readonly proxy: HelperProxy;
  readonly enforcement: "bubblewrap" | "legacy_landlock";
  readonly stage: "outer" | "inner";
  /** `none`: mount no fresh `/proc`. */
  readonly proc: "fresh" | "none";
  readonly command: Command;
}

/** What `codex config` was asked to do. */
export type ConfigOptions =
  /** `file`: one file as typed, `null` for all layers of this directory. */
  | {
    readonly kind: "config_check";
    readonly file: ByteString | null;
    readonly config: SessionConfig;
  }
  | {
    readonly kind: "config_show";
    readonly showsOrigins: boolean;
    readonly format: "text" | "json";
    readonly config: SessionConfig;
  }
  | { readonly kind: "config_schema" };

/** What `codex policy` was asked to do. */
export type PolicyOptions =
  /** `profile` and `cd`: `null` when not given. `paths` are as typed, relative to `cd`. */
  | {
    readonly kind: "policy_why";
    readonly profile: string | null;
    readonly cd: ByteString | null;
    readonly operation: "read" | "write" | "exec";
    readonly paths: readonly [ByteString, ...ByteString[]];
    readonly format: "text" | "json";
    readonly config: SessionConfig;
  }
  /** `targets` are as typed: `HOST[:PORT]`. */
  | {
    readonly kind: "policy_connect";
    readonly profile: string | null;
    readonly cd: ByteString | null;
    readonly targets: readonly [ByteString, ...ByteString[]];
    readonly format: "text" | "json";
    readonly config: SessionConfig;
  }
  | {
    readonly kind: "policy_list";
    readonly format: "text" | "json";
    readonly config: SessionConfig;
  };

/** What `codex doctor` was asked to do. */
export interface DoctorOptions {
  readonly kind: "doctor";
  readonly format: "text" | "json";
  readonly config: SessionConfig;
}

/** What `codex sandbox clean` was asked to do. */
export interface CleanOptions {
  readonly kind: "clean";
  readonly removes: boolean;
}

type Parsed<T> = Result<T | HelpRequest, UsageError>;

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

/**
 * The options of `codex-linux-sandbox`.
 *
 * The order of the checks is the reference's: words, required flags, command, stage against Landlock, profile, proxy. Directories and
 * the command are carried as bytes; the reference refuses what is not UTF-8, we refuse it only in the JSON texts.
 */
export function parseHelperOptions(
  words: readonly ByteString[],
): Parsed<HelperOptions> {
  const parsed = parseWords("helper", words, "first_positional");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "helper" });
  const flags = parsed.value;
  const policyCwd = only(flags, "sandbox-policy-cwd");
  if (policyCwd === null) {
    return refuse(
      "the following required arguments were not provided: --sandbox-policy-cwd <DIR>",
    );
  }
  const command = commandOf(flags.rest, "codex-linux-sandbox");
  if (!command.ok) return command;
  const isInner = has(flags, "apply-seccomp-then-exec");
  const isLegacy = has(flags, "use-legacy-landlock");
  if (isInner && isLegacy) {
    return refuse(
      "--apply-seccomp-then-exec is incompatible with --use-legacy-landlock",
    );
  }
  const policy = helperPolicy(flags);
  if (!policy.ok) return policy;
  const proxy = helperProxy(flags, isInner ? "inner" : "outer");
  if (!proxy.ok) return proxy;
  return ok({
    kind: "helper",
    policyCwd,
    commandCwd: only(flags, "command-cwd"),
    policy: policy.value,
    proxy: proxy.value,
    enforcement: isLegacy ? "legacy_landlock" : "bubblewrap",
    stage: isInner ? "inner" : "outer",
    proc: has(flags, "no-proc") ? "none" : "fresh",
    command: command.value,
  });
}

/** The options of `codex config`: its sub-command and that one's words. Flags and operands may be mixed. */
export function parseConfigOptions(
  words: readonly ByteString[],
  rootWords: readonly ByteString[] = [],
): Parsed<ConfigOptions> {
  const verb = subcommand("config", words, ["check", "show", "schema"]);
  if (!verb.ok) return verb;
  if (verb.value === "help") return ok({ kind: "help", topic: "config" });
  const name = `config ${verb.value}` as const;
  const parsed = parseWords(name, words.slice(1), "double_dash");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "config" });
  const flags = parsed.value;
  const config = sessionConfig(flags, rootWords);
  if (!config.ok) return config;
  const surplus = flags.rest[verb.value === "check" ? 1 : 0];
  if (surplus !== undefined) return refuseOperand(name, surplus);
  switch (verb.value) {
    case "check":
      return ok({
        kind: "config_check",
        file: flags.rest[0] ?? null,
        config: config.value,
      });
    case "show":
      return ok({
        kind: "config_show",
        showsOrigins: has(flags, "origin"),
        format: has(flags, "json") ? "json" : "text",
        config: config.value,
      });
    case "schema":
      return ok({ kind: "config_schema" });
    default:
      return unreachable(verb.value);
  }
}

/** The options of `codex policy`: its sub-command and that one's words. Flags and operands may be mixed. */
export function parsePolicyOptions(
  words: readonly ByteString[],
  rootWords: readonly ByteString[] = [],
): Parsed<PolicyOptions> {
  const verb = subcommand("policy", words, ["why", "list"]);
  if (!verb.ok) return verb;
  if (verb.value === "help") return ok({ kind: "help", topic: "policy" });
  const name = `policy ${verb.value}` as const;
  const parsed = parseWords(name, words.slice(1), "double_dash");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "policy" });
  const flags = parsed.value;
  const config = sessionConfig(flags, rootWords);
  if (!config.ok) return config;
  const format = has(flags, "json") ? "json" : "text";
  if (verb.value === "list") {
    const [surplus] = flags.rest;
    if (surplus !== undefined) return refuseOperand(name, surplus);
    return ok({ kind: "policy_list", format, config: config.value });
  }
  const [operation, path, ...paths] = flags.rest;
  if (operation === undefined) {
    return refuse(
      "policy why needs an operation and what it is about",
      WHY_USAGE,
    );
  }
  if (!isOneOf(operation, OPERATIONS)) {
    const near = nearest(operation, OPERATIONS);
    return refuse(
      `unknown operation '${
        toText(operation)
      }', must be read, write, exec or connect`,
      near === null ? WHY_USAGE : `did you mean '${near}'?`,
    );
  }
  if (path === undefined) {
    return refuse(
      operation === "connect"
        ? "policy why connect needs a host: HOST or HOST:PORT"
        : `policy why ${operation} needs a path`,
      WHY_USAGE,
    );
  }
  const common = {
    profile: onlyText(flags, "permission-profile"),
    cd: only(flags, "cd"),
    format,
    config: config.value,
  } as const;
  if (operation === "connect") {
    return ok({ kind: "policy_connect", ...common, targets: [path, ...paths] });
  }
  return ok({
    kind: "policy_why",
    ...common,
    operation,
    paths: [path, ...paths],
  });
}

/** The options of `codex doctor`. */
export function parseDoctorOptions(
  words: readonly ByteString[],
  rootWords: readonly ByteString[] = [],
): Parsed<DoctorOptions> {
  const parsed = parseWords("doctor", words, "double_dash");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "doctor" });
  const config = sessionConfig(parsed.value, rootWords);
  if (!config.ok) return config;
  const [surplus] = parsed.value.rest;
  if (surplus !== undefined) return refuseOperand("doctor", surplus);
  return ok({
    kind: "doctor",
    format: has(parsed.value, "json") ? "json" : "text",
    config: config.value,
  });
}

/** The options of `codex sandbox clean`. A program of that name stands behind `--`. */
export function parseCleanOptions(
  words: readonly ByteString[],
): Parsed<CleanOptions> {
  const parsed = parseWords("sandbox clean", words, "double_dash");
  if (!parsed.ok) return parsed;
  if (parsed.value.wantsHelp) return ok({ kind: "help", topic: "clean" });
  const [surplus] = parsed.value.rest;
  if (surplus !== undefined) {
    return refuse(
      `unexpected argument '${toText(surplus)}' of codex sandbox clean`,
      "to run a program of that name: codex sandbox -- clean ...",
    );
  }
  return ok({ kind: "clean", removes: !has(parsed.value, "dry-run") });
}

const OPERATIONS = ["read", "write", "exec", "connect"] as const;
const WHY_USAGE = "for example: codex policy why -P :workspace write src";

/** What no words parse to. */
const NO_WORDS: ParsedWords = {
  values: new Map(),
  ordered: [],
  rest: [],
  wantsHelp: false,
};

function sessionConfig(
  flags: ParsedWords,
  rootWords: readonly ByteString[],
): Result<SessionConfig, UsageError> {
  const root = rootWords.length === 0
    ? ok(NO_WORDS)
    : parseWords("root", rootWords, "first_positional");
  if (!root.ok) return root;
  // Both are checked, although only one is used: a bad name is a slip wherever it stands.
  const names = [root.value, flags].map((it) => onlyText(it, "profile"));
  for (const name of names) {
    if (name !== null && !/^[A-Za-z0-9_-]+$/.test(name)) {
      return refuse(
        `invalid --profile value '${
          toText(fromText(name))
        }': only letters, digits, '_' and '-'`,
        name.startsWith(":")
          ? `permission profiles are chosen with -P ${name}`
          : null,
      );
    }
  }
  return ok({
    overrides: [...allText(root.value, "config"), ...allText(flags, "config")],
    features: [...featureSwitches(root.value), ...featureSwitches(flags)],
    configProfile: names[1] ?? names[0] ?? null,
  });
}

function featureSwitches(flags: ParsedWords): FeatureSwitch[] {
  const switches: FeatureSwitch[] = [];
  for (const { long, value } of flags.ordered) {
    if (long !== "enable" && long !== "disable") continue;
    switches.push({
      feature: decodeText(value)!,
      isEnabled: long === "enable",
    });
  }
  return switches;
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

function helperPolicy(flags: ParsedWords): Result<HelperPolicy, UsageError> {
  const json = onlyText(flags, "permission-profile");
  const legacyJson = onlyText(flags, "sandbox-policy");
  const fileSystemJson = onlyText(flags, "file-system-sandbox-policy");
  const networkJson = onlyText(flags, "network-sandbox-policy");
  if (json !== null) {
    const older: readonly FlagName[] = [
      "sandbox-policy",
      "file-system-sandbox-policy",
      "network-sandbox-policy",
    ];
    const other = older.find((flag) => has(flags, flag));
    if (other === undefined) return ok({ kind: "profile", json });
    return refuse(
      `the argument '--permission-profile' cannot be used with '--${other}'`,
    );
  }
  if (fileSystemJson !== null && networkJson !== null) {
    return ok({ kind: "split", fileSystemJson, networkJson, legacyJson });
  }
  if (fileSystemJson !== null || networkJson !== null) {
    return refuse(
      "file-system and network sandbox policies must be provided together",
    );
  }
  if (legacyJson !== null) return ok({ kind: "legacy", json: legacyJson });
  return refuse(
    "missing permission profile configuration",
    "give --permission-profile <JSON>",
  );
}

function helperProxy(
  flags: ParsedWords,
  stage: "outer" | "inner",
): Result<HelperProxy, UsageError> {
  const routeSpecJson = onlyText(flags, "proxy-route-spec");
  const managed = onlyText(flags, "managed-network");
  const isProxied = has(flags, "allow-network-for-proxy");
  if (managed !== null && isProxied) {
    return refuse(
      "the argument '--managed-network' cannot be used with '--allow-network-for-proxy'",
    );
  }
  if (routeSpecJson !== null && (stage === "outer" || !isProxied)) {
    return refuse(
      "'--proxy-route-spec' requires --apply-seccomp-then-exec and --allow-network-for-proxy",
    );
  }
  if (managed !== null) return ok({ kind: "managed", json: managed });
  if (!isProxied) return ok({ kind: "none" });
  if (stage === "inner" && routeSpecJson === null) {
    return refuse("managed proxy mode requires --proxy-route-spec");
  }
  return ok({ kind: "environment", routeSpecJson });
}

function commandOf(
  rest: readonly ByteString[],
  caller: "codex sandbox" | "codex-linux-sandbox",
): Result<Command, UsageError> {
  const [program, ...args] = rest;
  if (program !== undefined) return ok([program, ...args]);
  // The full stop belongs to the reference's message, which callers match.
  return refuse(
    "No command specified to execute.",
    `put it last: ${caller} [OPTIONS] -- COMMAND [ARGS...]`,
  );
}

function choice<W extends string>(
  flags: ParsedWords,
  name: FlagName,
  words: readonly W[],
): Result<W | null, UsageError> {
  const value = onlyText(flags, name);
  if (value === null) return ok(null);
  if (isOneOf(value, words)) return ok(value);
  const near = nearest(value, words);
  return refuse(
    `invalid value '${toText(fromText(value))}' for '--${name}': must be ${
      words.join(", ")
    }`,
    near === null ? null : `did you mean '${near}'?`,
  );
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
      }' for '--user <UID[:GID]>': must be one or two numbers`,
      "id -u NAME prints a user's number",
    );
  }
  return ok({ uid: Number(uid), gid: gid === undefined ? null : Number(gid) });
}

/** The last number that is no sign for "unchanged" (setresuid(2)). */
const MAX_ID = 0xffff_fffe;

/** A descriptor is a C `int`. */
const MAX_FD = 0x7fff_ffff;

function limitsOf(flags: ParsedWords): Result<RunLimits, UsageError> {
  const timeout = onlyText(flags, "timeout");
  const grace = onlyText(flags, "grace");
  const result = only(flags, "result-json");
  if (timeout === null && grace === null && result === null) {
    return ok(NO_LIMITS);
  }
  const timeoutMs = timeout === null
    ? ok(null)
    : durationOf("timeout", timeout);
  if (!timeoutMs.ok) return timeoutMs;
  const graceMs = grace === null ? ok(null) : durationOf("grace", grace);
  if (!graceMs.ok) return graceMs;
  const target = result === null ? ok(null) : resultTarget(result);
  return target.ok
    ? ok({
      timeoutMs: timeoutMs.value,
      graceMs: graceMs.value,
      result: target.value,
    })
    : target;
}

/** Whom to tell of words that mean nothing, where at least the words themselves can be told apart. */
export function resultTargetOf(
  words: readonly ByteString[],
): ResultTarget | null {
  const parsed = parseWords("sandbox", words, "first_positional");
  const word = parsed.ok ? only(parsed.value, "result-json") : null;
  const target = word === null ? null : resultTarget(word);
  return target?.ok === true ? target.value : null;
}

function resultTarget(word: ByteString): Result<ResultTarget, UsageError> {
  const refused = (hint: string): Result<never, UsageError> =>
    refuse(
      `invalid value '${
        toText(word)
      }' for '--result-json <FILE|fd:N>': must be a file or a descriptor`,
      hint,
    );
  if (word === "") return refused("name a file, or fd:3");
  if (!word.startsWith("fd:")) return ok({ kind: "file", path: word });
  const digits = word.slice(3);
  const fd = /^(0|[1-9][0-9]{0,9})$/.test(digits) ? Number(digits) : NaN;
  if (fd >= 3 && fd <= MAX_FD) return ok({ kind: "fd", fd });
  return refused(
    fd <= 2
      ? "0, 1 and 2 are the command's: use fd:3 or higher"
      : "for a file of that name write ./fd:...",
  );
}

function subcommand<V extends string>(
  command: "config" | "policy",
  words: readonly ByteString[],
  verbs: readonly V[],
): Result<V | "help", UsageError> {
  const [word] = words;
  if (word === "-h" || word === "--help" || word === "help") return ok("help");
  if (word === undefined) {
    return refuse(
      `codex ${command} needs a sub-command`,
      `one of: ${verbs.join(", ")}`,
    );
  }
  if (isOneOf(word, verbs)) return ok(word);
  const near = nearest(word, verbs);
  return refuse(
    `unknown sub-command '${toText(word)}' of codex ${command}`,
    near === null
      ? `one of: ${verbs.join(", ")}`
      : `did you mean 'codex ${command} ${near}'?`,
  );
}

function refuseOperand(
  name: string,
  operand: ByteString,
): { readonly ok: false; readonly error: UsageError } {
  return refuse(`unexpected argument '${toText(operand)}' of codex ${name}`);
}

function isOneOf<W extends string>(
  word: string,
  words: readonly W[],
): word is W {
  return (words as readonly string[]).includes(word);
}
