/**
 * From what was found on a host to a report: each finding with its weight, and what to do in commands.
 *
 * Pure. Whether the default profile can be enforced is decided by the run that was tried and by nothing else; the findings explain
 * it. Each kind of finding lies in a file of its own.
 *
 * @module
 */
import { bwrapChecks } from "./bwrap_checks.ts";
import { type Check, check, firstLine, type Weight } from "./check.ts";
import type { DoctorFacts } from "./facts.ts";
import { hostChecks } from "./host_checks.ts";
import { namespaceChecks } from "./namespace_checks.ts";
import type { KeptPromise } from "../promises.ts";

/** The whole report. */
export interface Report {
  /** The default profile was tried and works. */
  readonly isEnforced: boolean;
  readonly checks: readonly Check[];
  /** Every fix once, those of failures first. */
  readonly fixes: readonly string[];
}

/** The report on a host. */
export function reportOn(facts: DoctorFacts): Report {
  const isEnforced = facts.profile.run?.status === 0;
  const found = [
    ...hostChecks(facts, isEnforced),
    ...namespaceChecks(facts),
    ...facts.bwraps.flatMap((it) => bwrapChecks(it, facts)),
    ...profileChecks(facts, isEnforced),
    ...leftoverChecks(facts),
  ];
  // Where runs work nothing keeps them from working: what is wrong costs something else.
  const checks = found.map((check): Check =>
    isEnforced && check.weight === "fail" ? { ...check, weight: "warn" } : check
  );
  const order: readonly Weight[] = ["fail", "warn", "note", "ok"];
  const fixes = order.flatMap((weight) =>
    checks.filter((check) => check.weight === weight).flatMap(({ fix }) => fix)
  );
  return { isEnforced, checks, fixes: [...new Set(fixes)] };
}

function profileChecks(
  { profile }: DoctorFacts,
  isEnforced: boolean,
): Check[] {
  const { name, plan, run } = profile;
  const named = name === "" ? "default" : name;
  if (plan.kind === "refused") {
    return [check("profile", named, "fail", plan.why)];
  }
  const tried = run === null
    ? "was not tried"
    : isEnforced
    ? "a run ended well"
    : `a run ended with ${run.status}: ${firstLine(run.output)}`;
  return [
    check(
      "profile",
      named,
      isEnforced ? "ok" : "fail",
      `${BACK_ENDS[plan.backEnd] ?? plan.backEnd}${plan.launcher}; ${tried}`,
    ),
    ...promiseCheck(plan.promises),
    ...plan.warnings.map((text) => check("profile", named, "warn", text)),
  ];
}

/** How a back end is introduced; Landlock's names itself. */
const BACK_ENDS: { readonly [kind: string]: string } = {
  bubblewrap: "bubblewrap, ",
  landlock_only: "",
  direct: "",
};

function promiseCheck(promises: readonly KeptPromise[]): Check[] {
  if (promises.length === 0) return [];
  const names = (kept: boolean): string =>
    promises.filter((it) => it.kept === kept).map(({ name }) => name)
      .join(", ");
  const lacking = names(false);
  return [
    check(
      "profile",
      "promises",
      lacking === "" ? "ok" : "note",
      `keeps ${names(true)}${lacking === "" ? "" : `; lacks ${lacking}`}`,
    ),
  ];
}

function leftoverChecks({ leftovers, state }: DoctorFacts): Check[] {
  const checks: Check[] = [];
  if (state.path === null) {
    checks.push(check(
      "leftovers",
      "state",
      "warn",
      "neither CODEX_HOME nor HOME names a directory: what needs records is refused",
      ["export CODEX_HOME=DIRECTORY"],
    ));
  } else if (state.state === "unusable") {
    checks.push(check(
      "leftovers",
      "state",
      "warn",
      `${state.path} can't be used: ${state.why}; what needs records is refused`,
      ["export CODEX_HOME=DIRECTORY"],
    ));
  }
  for (const { path, state: kept, why } of leftovers) {
    checks.push(
      kept === "removable"
        ? check("leftovers", path, "note", why, ["codex sandbox clean"])
        : check("leftovers", path, "note", `${why}; it stays`),
    );
  }
  return checks.length > 0
    ? checks
    : [check("leftovers", "none", "ok", "dead runs left nothing")];
}
