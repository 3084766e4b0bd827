/**
 * Words to the limits of a run: `--timeout`, `--grace`, and whom `--result-json` tells its end.
 *
 * Pure.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { durationOf } from "./duration.ts";
import { only, onlyText, type ParsedWords, parseWords } from "./parse.ts";
import { refuse, type UsageError } from "./usage.ts";
import { ok, type Result } from "../result.ts";

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

export function limitsOf(flags: ParsedWords): Result<RunLimits, UsageError> {
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

/** A descriptor is a C `int`. */
export const MAX_FD = 0x7fff_ffff;
