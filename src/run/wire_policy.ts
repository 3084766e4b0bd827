/**
 * A profile off the wire, with the symbols that the caller's surroundings give it.
 *
 * Effects: looks at a directory.
 *
 * @module
 */
import { toText } from "../bytes.ts";
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
import { stat } from "../sys/calls.ts";
import * as abi from "../sys/abi.ts";

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

export function isDirectory(path: AbsPath): Result<void, Failure> {
  const there = stat(path);
  if (!there.ok) {
    return wrong(
      `Cannot run in ${toText(path)}: ${abi.errnoText(there.error.errno)}`,
    );
  }
  if ((there.value.mode & abi.S_IFMT) === abi.S_IFDIR) return ok(undefined);
  return wrong(`Cannot run in ${toText(path)}: ${abi.errnoText(abi.ENOTDIR)}`);
}

export function wrong(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "request", message });
}

export function usage(
  message: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({ kind: "usage", error: { kind: "usage", message } });
}
