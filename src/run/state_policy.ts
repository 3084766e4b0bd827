/**
 * The policy of `--sandbox-state-json`.
 *
 * Effects: looks at the state's directory and at our own executable.
 *
 * @module
 */
import { whyNoDirectory } from "./working_directory.ts";
import { fromText, toText } from "../bytes.ts";
import type { SandboxOptions } from "../cli/sandbox_options.ts";
import type { RunConfig } from "../config/config.ts";
import { CONFIG_HOST } from "../config/host_files.ts";
import { type Failure, requestFailure } from "../failure.ts";
import { type Origin, variable } from "../host/origin.ts";
import { type AbsPath, resolvePath, toAbsPath } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import { adjustProfile, parseSandboxState } from "../policy/wire_state.ts";
import { ok, type Result } from "../result.ts";
import { wirePolicy } from "./wire_policy.ts";

/** `--sandbox-state-json`: the state decides about permissions, config files only about the environment. */
export function stateRun(
  choice: Extract<SandboxOptions["policy"], { kind: "state" }>,
  run: RunConfig,
  origin: Origin,
): Result<
  {
    readonly policy: Policy;
    readonly warnings: readonly string[];
    readonly usesLandlock: boolean;
  },
  Failure
> {
  const state = parseSandboxState(fromText(choice.json));
  if (!state.ok) return requestFailure(state.error.message);
  const own = CONFIG_HOST.realPath("/proc/self/exe" as AbsPath);
  const { helper } = state.value;
  if (helper !== null && CONFIG_HOST.realPath(helper) !== own) {
    return requestFailure(
      `Cannot use codexLinuxSandboxExe ${
        toText(helper)
      } of --sandbox-state-json: this executable is its own helper; leave it out`,
    );
  }
  const refused = whyNoDirectory(state.value.cwd);
  if (refused !== null) {
    return requestFailure(
      `Cannot use cwd ${
        toText(state.value.cwd)
      } of --sandbox-state-json: ${refused}; name a directory that is there`,
    );
  }
  const readableRoots: AbsPath[] = [];
  for (const root of choice.readableRoots) {
    const path = resolvePath(origin.cwd ?? "/" as AbsPath, root);
    if (path === null) {
      return requestFailure(
        `Cannot use --sandbox-state-readable-root ${
          toText(root)
        }: it holds a NUL`,
      );
    }
    readableRoots.push(path);
  }
  const tmpdir = variable(origin.environment, "TMPDIR");
  const profile = adjustProfile(
    state.value,
    { readableRoots, disableNetwork: choice.network === "restricted" },
    tmpdir === null ? null : toAbsPath(tmpdir),
  );
  if (!profile.ok) return requestFailure(profile.error.message);
  const resolved = wirePolicy(
    profile.value,
    "--sandbox-state-json",
    state.value.cwd,
    origin,
  );
  if (!resolved.ok) return resolved;
  return ok({
    policy: resolved.value.policy,
    warnings: [...run.warnings, ...resolved.value.warnings],
    usesLandlock: state.value.useLegacyLandlock,
  });
}
