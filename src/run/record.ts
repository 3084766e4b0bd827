/**
 * The one line of `--result-json`: how a run ended, or why it did not begin.
 *
 * Pure.
 *
 * @module
 */
import { describe, exitStatus, type Failure } from "../failure.ts";
import type { InnerFailure } from "../linux/inner_report.ts";
import { LOST, type RunEnd } from "../linux/run_events.ts";
import { unreachable } from "../result.ts";

/** How a run ended. */
export type RecordKind =
  /** By itself. */
  | "exited"
  /** By a signal: its own, or one that we were given. */
  | "signal"
  | "timeout"
  /** Refused by what was asked for: `reason` names what. Nothing was started. */
  | "denied_before_start"
  /** The sandbox could not be set up. */
  | "launch"
  | InnerFailure
  /** The run could not be watched any longer and was ended. */
  | "lost"
  /** A mistake of ours. */
  | "internal";

/** What is written. Fields that don't apply are `null`. */
export interface RunRecord {
  readonly kind: RecordKind;
  /** What the shell sees of us. */
  readonly status: number;
  readonly signal: number | null;
  /** Of `denied_before_start`. */
  readonly reason: string | null;
  /** Why the command did not run. */
  readonly message: string | null;
}

/** Where the record is from. */
export interface RecordFrame {
  /** From our start to now. */
  readonly durationMs: number;
  /** `null` before it was decided. */
  readonly backend: "bubblewrap" | null;
  readonly profile: string | null;
}

/** Statuses above 128 are signals to a shell; the highest one is 64. */
const MAX_SIGNAL = 64;

/** A run that began. */
export function recordOfEnd(end: RunEnd): RunRecord {
  const nothing = { signal: null, reason: null, message: null };
  switch (end.kind) {
    case "exited": {
      const signal = end.status - 128;
      return signal >= 1 && signal <= MAX_SIGNAL
        ? { ...nothing, kind: "signal", status: end.status, signal }
        : { ...nothing, kind: "exited", status: end.status };
    }
    case "signalled": {
      const { signal } = end;
      return { ...nothing, kind: "signal", status: 128 + signal, signal };
    }
    case "timeout":
      return { ...nothing, kind: "timeout", status: 124 };
    case "refused_inside": {
      const { status, report: { kind, message } } = end;
      return { ...nothing, kind, status, message };
    }
    case "not_started": {
      const message = "bubblewrap could not set the sandbox up";
      return { ...nothing, kind: "launch", status: 125, message };
    }
    case "lost":
      return { ...nothing, kind: "lost", status: 125, message: LOST };
    default:
      return unreachable(end);
  }
}

/** A run that did not begin. */
export function recordOfFailure(failure: Failure): RunRecord {
  const frame = {
    status: exitStatus(failure),
    signal: null,
    reason: null,
    message: describe(failure),
  };
  switch (failure.kind) {
    case "launch":
    case "command_not_found":
    case "command_not_executable":
      return { ...frame, kind: failure.kind };
    case "usage":
    case "origin":
    case "config":
    case "policy":
    case "plan":
    case "request":
      return { ...frame, kind: "denied_before_start", reason: failure.kind };
    default:
      return unreachable(failure);
  }
}

/** The line, with its newline. */
export function spellRecord(record: RunRecord, frame: RecordFrame): string {
  const { kind, status, signal, reason, message } = record;
  const line = {
    kind,
    status,
    signal,
    duration_ms: Math.round(frame.durationMs),
    backend: frame.backend,
    profile: frame.profile,
    reason,
    message,
  };
  return `${JSON.stringify(line)}\n`;
}
