/**
 * A report for people and for programs.
 *
 * Pure. The JSON's shape is promised: `schema` grows when a member changes its meaning or goes; new members may come at any time.
 *
 * @module
 */
import { advisoriesOf } from "./advisories.ts";
import type { DoctorFacts } from "./facts.ts";
import { GROUPS } from "./check.ts";
import { type Report } from "./report.ts";

/** The report as text, ending in a newline. */
export function reportText(report: Report, facts: DoctorFacts): string {
  const width = Math.max(...report.checks.map(({ name }) => name.length));
  const lines = [`codex ${facts.version}`];
  for (const group of GROUPS) {
    lines.push("", group);
    for (const check of report.checks) {
      if (check.group !== group) continue;
      const weight = check.weight.padEnd(4);
      lines.push(`  ${weight}  ${check.name.padEnd(width)}  ${check.text}`);
    }
  }
  if (report.fixes.length > 0) {
    lines.push("", "what would help", ...report.fixes.map((it) => `  ${it}`));
  }
  const verdict = report.isEnforced
    ? "The default profile can be enforced here."
    : "The default profile can't be enforced here.";
  return `${[...lines, "", verdict].join("\n")}\n`;
}

/** The report as a value for JSON. */
export function reportJson(report: Report, facts: DoctorFacts): unknown {
  const { profile, namespaces, landlock } = facts;
  return {
    schema: 1,
    version: facts.version,
    enforced: report.isEnforced,
    host: {
      distribution: facts.distribution.name,
      kernel: facts.release,
      arch: facts.arch,
      uid: facts.uid,
      containers: facts.containers,
      nested: facts.isInOurSandbox,
      landlock: "version" in landlock ? landlock.version : null,
      seccompActions: facts.seccompActions,
      memfdNoexec: facts.memfdNoexec,
      apparmorRestrictsUserNamespaces: namespaces.apparmorRestricts,
      maxUserNamespaces: namespaces.maxUserNamespaces,
    },
    bwraps: facts.bwraps.map((it) => ({
      kind: it.kind,
      path: it.path,
      version: it.version === "" ? null : it.version,
      sha256: it.sha256,
      refused: it.refused,
      options: it.options,
      missing: it.missing,
      trials: it.trials,
      advisories: advisoriesOf(it.version, it.isSetuid),
    })),
    profile: {
      name: profile.name === "" ? null : profile.name,
      backEnd: profile.plan.kind === "planned" ? profile.plan.backEnd : null,
      launcher: profile.plan.kind === "planned" ? profile.plan.launcher : null,
      promises: profile.plan.kind === "planned" ? profile.plan.promises : null,
      refused: profile.plan.kind === "refused" ? profile.plan.why : null,
      run: profile.run,
    },
    leftovers: facts.leftovers,
    checks: report.checks,
    fixes: report.fixes,
  };
}
