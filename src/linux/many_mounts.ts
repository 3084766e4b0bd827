/**
 * Plans of many mounts: which bubblewrap can carry them out, and how long one that can't would take.
 *
 * Pure, and loaded by such plans only. Upstream's bubblewrap reads the whole mount table again after each bind, so its time grows
 * with the square of their number, and it takes 9,000 arguments at most. The bundled one has neither limit where the kernel has
 * mount_setattr(2) (`scripts/bwrap_edits.ts`).
 *
 * @module
 */
import {
  countMountWords,
  EMPTY_FILE_OPTION,
  MAX_BUNDLED_ARGUMENTS,
  MAX_DIRECT_ARGUMENTS,
  OTHER_ARGUMENTS,
} from "./bwrap_argv.ts";
import { type BwrapAbility, hasOption } from "./bwrap_choice.ts";
import type { MountStep } from "./mounts.ts";

/** What a bubblewrap of quadratic time is trusted with. Spec: 1,500 binds, about three seconds. */
const MAX_QUADRATIC_BINDS = 1_500;

/** Measured with 0.8.0 and 0.12.0: 1,000 binds 1.4 s, 2,900 binds 11.6 s. */
const SECONDS_PER_SQUARED_BIND = 1.4e-6;

/** The size of a plan, as far as bubblewrap cares. */
export interface PlanSize {
  /** Operations after which the mount table is read. */
  readonly binds: number;
  /** Arguments of all mounts. */
  readonly words: number;
}

/** The size of a plan. */
export function sizeOf(mounts: readonly MountStep[]): PlanSize {
  const binds =
    mounts.filter(({ op }) =>
      op.kind.startsWith("bind_") || op.kind === "empty_file" ||
      op.kind === "remount_read_only"
    ).length;
  return { binds, words: countMountWords(mounts) };
}

/** Whether this bubblewrap's time grows with the number of mounts, not with its square. */
export function isLinear(
  ability: Pick<BwrapAbility, "options">,
  kernelSetsAttributes: boolean,
): boolean {
  return kernelSetsAttributes && hasOption(ability, EMPTY_FILE_OPTION);
}

/** Why this bubblewrap must not carry the plan out, as the end of a sentence that begins with its name; `null` when it may. */
export function unfitFor(
  { binds, words }: PlanSize,
  ability: Pick<BwrapAbility, "options">,
  kernelSetsAttributes: boolean,
): string | null {
  const edited = hasOption(ability, EMPTY_FILE_OPTION);
  const most = edited
    ? MAX_BUNDLED_ARGUMENTS - OTHER_ARGUMENTS
    : MAX_DIRECT_ARGUMENTS;
  if (words > most) {
    return `takes ${
      most + OTHER_ARGUMENTS
    } arguments at most, and the ${binds} binds of this plan need ${words}`;
  }
  if (binds <= MAX_QUADRATIC_BINDS || isLinear(ability, kernelSetsAttributes)) {
    return null;
  }
  const seconds = Math.round(binds * binds * SECONDS_PER_SQUARED_BIND);
  return `would take about ${seconds} s for ${binds} binds, because its time grows with their square${
    edited ? " before Linux 5.12" : ""
  } (at most ${MAX_QUADRATIC_BINDS})`;
}

/** The plan with one empty file for all masks, which takes no descriptors. */
export function shareEmptyFile(mounts: readonly MountStep[]): MountStep[] {
  return mounts.map((step) =>
    step.op.kind === "empty_file"
      ? { ...step, op: { ...step.op, shared: true } }
      : step
  );
}
