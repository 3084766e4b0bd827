/**
 * What the inner stage tells the supervisor when it could not start the command: one JSON line in a pipe, beside its line on stderr.
 *
 * Pure.
 *
 * @module
 */

/** What could not be done, in the words of `--result-json`. */
const INNER_FAILURES = [
  "seccomp_install",
  "seccomp_backend",
  "landlock_restrict",
  "inner_stage",
  "command_not_found",
  "command_not_executable",
] as const;

export type InnerFailure = typeof INNER_FAILURES[number];

export interface InnerReport {
  readonly kind: InnerFailure;
  readonly message: string;
}

/** The line, with its newline. */
export function spellReport(report: InnerReport): string {
  return `${JSON.stringify(report)}\n`;
}

/** @returns `null` for anything that is not a whole report: the stage executed the command, or was ended */
export function readReport(text: string): InnerReport | null {
  if (!text.endsWith("\n")) return null;
  try {
    const { kind, message } = JSON.parse(text) as Record<string, unknown>;
    const known = INNER_FAILURES.find((one) => one === kind);
    return known === undefined || typeof message !== "string"
      ? null
      : { kind: known, message };
  } catch {
    return null;
  }
}
