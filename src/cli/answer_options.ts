/**
 * Words to the options of the commands that only answer: `config`, `policy`, `doctor`, and `sandbox clean`.
 *
 * Pure.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import {
  isOneOf,
  type Parsed,
  type SessionConfig,
  sessionConfig,
} from "./options.ts";
import { has, only, onlyText, parseWords } from "./parse.ts";
import { refuse, type UsageError } from "./usage.ts";
import { nearest } from "../nearest.ts";
import { ok, type Result, unreachable } from "../result.ts";

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
