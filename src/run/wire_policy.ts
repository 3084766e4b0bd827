/**
 * A profile off the wire, with the symbols that the caller's surroundings give it.
 *
 * Effects: asks for the home.
 *
 * @module
 */
import type { Failure } from "../failure.ts";
import { homeOf, type Origin, variable } from "../host/origin.ts";
import type { AbsPath } from "../policy/path.ts";
import {
  DEFAULT_POLICY_OPTIONS,
  type NetworkMode,
  type PermissionProfile,
  type Policy,
} from "../policy/policy.ts";
import { resolvePolicy } from "../policy/resolve.ts";
import { fail, ok, type Result } from "../result.ts";

/** A profile off the wire, with the symbols that the caller's surroundings give it. */
export function wirePolicy(
  profile: PermissionProfile,
  name: string,
  cwd: AbsPath,
  origin: Origin,
  network: NetworkMode =
    profile.kind === "disabled" || profile.network === "enabled"
      ? "host"
      : "none",
): Result<
  { readonly policy: Policy; readonly warnings: readonly string[] },
  Failure
> {
  const resolved = resolvePolicy(profile, {
    name,
    cwd,
    workspaceRoots: [cwd],
    home: homeOf(origin.environment, origin.uid),
    tmpdir: variable(origin.environment, "TMPDIR"),
    network,
    options: DEFAULT_POLICY_OPTIONS,
  });
  if (!resolved.ok) return fail({ kind: "policy", error: resolved.error });
  const warnings = resolved.value.warnings.map(({ message }) => message);
  return ok({ policy: resolved.value.policy, warnings });
}
