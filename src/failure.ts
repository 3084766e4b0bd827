/**
 * All failures in one place: their one line and their exit status.
 *
 * Pure. Statuses after env(1) and the table in the design: the command's own, 128+n by signal, 127 not found, 126 not executable, 125
 * ours before the command started, 2 usage.
 *
 * @module
 */
import type { ByteString } from "./bytes.ts";
import { toText } from "./bytes.ts";
import type { UsageError } from "./cli/usage.ts";
import { type ConfigError, describeConfigError } from "./config/config.ts";
import type { GlobError } from "./host/glob.ts";
import type { OriginError } from "./host/origin.ts";
import type { LaunchError } from "./linux/process_state.ts";
import type { PlanError } from "./linux/plan.ts";
import type { PolicyError } from "./policy/decision.ts";
import type { Origin, Policy } from "./policy/policy.ts";
import { fail, unreachable } from "./result.ts";

/** Why a run did not start, or why a question can't be answered. */
export type Failure =
  | { readonly kind: "usage"; readonly error: UsageError }
  | { readonly kind: "origin"; readonly error: OriginError }
  | { readonly kind: "config"; readonly error: ConfigError }
  | { readonly kind: "policy"; readonly error: PolicyError }
  | { readonly kind: "plan"; readonly error: PlanError }
  | { readonly kind: "launch"; readonly error: LaunchError }
  /** What was asked for can't be had, before any host was looked at. */
  | { readonly kind: "request"; readonly message: string }
  | { readonly kind: "command_not_found"; readonly name: ByteString }
  | {
    readonly kind: "command_not_executable";
    readonly name: ByteString;
    readonly why: string;
  };

/** A failure of what was asked for. */
export function requestFailure(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "request", message });
}

/** A failure while the sandbox is set up. */
export function launchFailure(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "launch", error: { kind: "launch", message } });
}

/** The line for stderr, without our name and without a newline. */
export function describe(failure: Failure): string {
  switch (failure.kind) {
    case "usage": {
      const { message, hint } = failure.error;
      if (hint === undefined) return message;
      // One fixed message ends in a full stop: callers match it.
      return message.endsWith(".")
        ? `${message} ${hint[0]?.toUpperCase() ?? ""}${hint.slice(1)}`
        : `${message}; ${hint}`;
    }
    case "request":
      return failure.message;
    case "origin":
    case "plan":
    case "launch":
      return failure.error.message;
    case "config":
      return describeConfigError(failure.error);
    case "policy":
      return `${failure.error.message}${describeOrigin(failure.error.origin)}`;
    case "command_not_found": {
      const name = failure.name === "" ? '""' : toText(failure.name);
      return `Failed to execvp ${name}: command not found (ENOENT)`;
    }
    case "command_not_executable":
      return `Failed to execvp ${
        toText(failure.name)
      }: ${failure.why} (EACCES)`;
    default:
      return unreachable(failure);
  }
}

/** A glob that could not be expanded, with the place of its entry. */
export function globFailure(
  error: GlobError,
  policy: Policy,
): Extract<Failure, { kind: "policy" }> {
  const glob = policy.globs.find((it) => it.pattern === error.pattern);
  return {
    kind: "policy",
    error: {
      kind: "invalid_glob",
      path: error.pattern,
      message: error.message,
      origin: glob?.origin ?? null,
    },
  };
}

function describeOrigin(origin: Origin | null): string {
  if (origin === null) return "";
  const line = origin.line === undefined ? "" : `:${origin.line}`;
  return origin.file === null
    ? ` (from ${origin.key})`
    : ` (from ${toText(origin.file)}${line}, ${origin.key})`;
}

/** The exit status. */
export function exitStatus(failure: Failure): number {
  switch (failure.kind) {
    case "usage":
      return 2;
    case "command_not_executable":
      return 126;
    case "command_not_found":
      return 127;
    case "request":
    case "origin":
    case "config":
    case "policy":
    case "plan":
    case "launch":
      return 125;
    default:
      return unreachable(failure);
  }
}
