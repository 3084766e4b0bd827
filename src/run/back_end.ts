/**
 * Which back end a policy may have, and the flag of old that asks for Landlock.
 *
 * Pure.
 *
 * @module
 */
import type { Policy } from "../policy/policy.ts";
import type { RunRequest } from "./request.ts";

/** What no run can enforce is refused by name, a weaker sandbox is never chosen instead: what a run would refuse `policy` with, `null` when it wouldn't. */
export function backEndRefusal(
  policy: Policy,
  usesLandlock: boolean,
): string | null {
  if (policy.network === "proxied" && !policy.options.loopback) {
    return `Cannot honour loopback = false of profile ${policy.name}: the command reaches the managed network over its own loopback; leave one of both out`;
  }
  if (usesLandlock && legacyLandlock(policy) === "refused") {
    return "filesystem-restricted execution requires bubblewrap: permission profiles requiring direct runtime enforcement are incompatible with --use-legacy-landlock; leave use_legacy_landlock out";
  }
  return null;
}

/** The flag of old chooses Landlock where its rule of equality holds. */
export function backEndOf(
  chosen: RunRequest["backend"],
  isLegacy: boolean,
  policy: Policy,
): RunRequest["backend"] {
  return isLegacy && legacyLandlock(policy) === "honoured"
    ? "landlock"
    : chosen;
}

/** Loaded on demand: hardly anybody sets the flag. */
function legacyLandlock(
  policy: Policy,
): ReturnType<typeof import("../policy/legacy_landlock.ts").legacyLandlock> {
  const module: typeof import("../policy/legacy_landlock.ts") = require(
    "../policy/legacy_landlock.ts",
  );
  return module.legacyLandlock(policy);
}
