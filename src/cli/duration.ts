/**
 * Lengths of time as timeout(1) takes them, and `ms` besides.
 *
 * Pure.
 *
 * @module
 */
import { fromText, toText } from "../bytes.ts";
import { ok, type Result } from "../result.ts";
import { refuse, type UsageError } from "./usage.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A year: what is longer is a slip. */
const MAX_MS = 365 * 86_400_000;

/** @returns milliseconds, at least 1 */
export function durationOf(
  flag: "timeout" | "grace",
  text: string,
): Result<number, UsageError> {
  const found = /^([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|[smhd])?$/.exec(text);
  const unit = UNIT_MS[found?.[2] ?? "s"] ?? NaN;
  const ms = Math.ceil(Number(found?.[1] ?? NaN) * unit);
  if (ms >= 1 && ms <= MAX_MS) return ok(ms);
  return refuse(
    `invalid value '${
      toText(fromText(text))
    }' for '--${flag} <DURATION>': must be a length of time such as 500ms, 30s, 5m or 1h`,
    durationHint(flag, ms),
  );
}

function durationHint(flag: string, ms: number): string | null {
  if (ms === 0) return `leave --${flag} out for none`;
  return ms > MAX_MS ? "365d is the longest" : null;
}
