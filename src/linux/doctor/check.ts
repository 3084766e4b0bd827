/**
 * One line of a report: a finding with its weight, and what to do in commands.
 *
 * Pure.
 *
 * @module
 */
import { isSettingReadOnly } from "../bwrap_choice.ts";
import type { BwrapFacts, DoctorFacts, Trial } from "./facts.ts";

/** How much a finding weighs: `fail` keeps sandboxes from working, `warn` will hurt somebody, `note` is good to know. */
export type Weight = "ok" | "note" | "warn" | "fail";

/** One finding. */
export interface Check {
  readonly group: Group;
  readonly name: string;
  readonly weight: Weight;
  readonly text: string;
  /** Commands for a shell, in order. A word in capitals is to be replaced. */
  readonly fix: readonly string[];
}

/** The headings, in order. */
export const GROUPS = [
  "host",
  "namespaces",
  "bubblewrap",
  "profile",
  "leftovers",
] as const;
export type Group = (typeof GROUPS)[number];

export function check(
  group: Group,
  name: string,
  weight: Weight,
  text: string,
  fix: readonly string[] = [],
): Check {
  return { group, name, weight, text, fix };
}

export function firstLine(text: string): string {
  return text.trim().split("\n")[0] || "it said nothing";
}

export function isUsable({ refused, missing, trials }: BwrapFacts): boolean {
  return refused === null && missing.length === 0 && trials.length > 0 &&
    trials.every((trial) => trial.failed === null || canDoWithout(trial));
}

/** A sandbox with less is a sandbox still where `/proc` is concerned, and where our filter closes what bwrap can't. */
export function canDoWithout({ what, failed }: Trial): boolean {
  return what === "proc" || isClosedByFilter({ what, failed });
}

export function isClosedByFilter({ what, failed }: Trial): boolean {
  return what === "disable-userns" && isSettingReadOnly(failed ?? "");
}

export function hasUsable(
  facts: DoctorFacts,
  kind: BwrapFacts["kind"],
): boolean {
  return facts.bwraps.some((it) => it.kind === kind && isUsable(it));
}

/** Whether the second rung was taken. */
export function isAlone({ profile: { plan } }: DoctorFacts): boolean {
  return plan.kind === "planned" && plan.backEnd === "landlock_only";
}
