/**
 * `codex config check`: everything that is wrong with the config files, and what is probably not meant.
 *
 * Pure: files are read and facts gathered before.
 *
 * @module
 */
import { describeFinding, type Finding } from "../config/config.ts";
import type { PathFacts } from "../policy/facts.ts";
import { policyDoubts } from "../policy/lint.ts";
import type { Origin, Policy } from "../policy/policy.ts";
import { policyErrors } from "../policy/refusals.ts";
import type { CommandOutput } from "./output.ts";

/** What is checked. */
export interface CheckRequest {
  /** Of the documents and profiles. */
  readonly findings: readonly Finding[];
  /** The selected policy on this host; `null` when there is none to look at, because of an error or of a single FILE. */
  readonly run: { readonly policy: Policy; readonly facts: PathFacts } | null;
  /** Files that were looked at. */
  readonly fileCount: number;
  readonly locate: (origin: Origin) => Origin;
}

/** One line for each finding on stdout. Status 1 when there is one, warnings included. */
export function configCheck(request: CheckRequest): CommandOutput {
  const findings = [...request.findings, ...hostFindings(request)];
  if (findings.length === 0) {
    const files = request.fileCount === 1
      ? "1 file"
      : `${request.fileCount} files`;
    return {
      stdout: `${files} checked, nothing found\n`,
      stderr: "",
      status: 0,
    };
  }
  const lines = findings.map(describeFinding);
  const errors = findings.filter((it) => it.severity === "error").length;
  const warnings = findings.length - errors;
  const count = [
    ...(errors > 0 ? [`${errors} error${errors === 1 ? "" : "s"}`] : []),
    ...(warnings > 0
      ? [`${warnings} warning${warnings === 1 ? "" : "s"}`]
      : []),
  ].join(", ");
  return {
    stdout: `${lines.join("\n")}\n${count}\n`,
    stderr: "",
    status: 1,
  };
}

/** What the selected policy meets on this host. */
function hostFindings({ run, locate }: CheckRequest): readonly Finding[] {
  if (run === null) return [];
  const finding = (
    severity: Finding["severity"],
    origin: Origin | null,
    message: string,
  ): Finding => {
    const place = origin === null
      ? { file: null, key: run.policy.name }
      : locate(origin);
    return { severity, ...place, message };
  };
  const errors = policyErrors(run.policy, run.facts);
  if (errors.length > 0) {
    return errors.map(({ origin, message }) =>
      finding("error", origin, message)
    );
  }
  return policyDoubts(run.policy, run.facts).map(({ origin, message }) =>
    finding("warning", origin, message)
  );
}
