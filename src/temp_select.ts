import type { ByteString } from "./bytes.ts";
import { fromText } from "./bytes.ts";
import type { SandboxOptions } from "./cli/options.ts";
import type { RunRequest } from "./backend.ts";
import { homeOf, type Origin, variable } from "./host/origin.ts";
import type { Failure } from "./failure.ts";
import { abs, childOf, resolvePath, toAbsPath } from "./policy/path.ts";
import {
  DEFAULT_POLICY_OPTIONS,
  type Grant,
  type Policy,
} from "./policy/policy.ts";
import { ok, type Result } from "./result.ts";
export function resolveTemp(
  o: SandboxOptions,
  origin: Origin,
  timer: { mark: (s: string) => void },
): Result<RunRequest, Failure> {
  const home = homeOf(origin.environment, origin.uid);
  const ch = variable(origin.environment, "CODEX_HOME");
  const codexHome = ch
    ? toAbsPath(ch)
    : home === null
    ? null
    : childOf(home, ".codex");
  const name = o.policy.kind === "named" ? o.policy.profile : ":read-only";
  let cwd = origin.cwd!;
  if (o.policy.kind === "named" && o.policy.cd !== null) {
    cwd = resolvePath(cwd, o.policy.cd)!;
  }
  const g = (path: string, access: "read" | "write"): Grant => ({
    path: abs(path),
    access,
    origin: { file: null, key: `built-in ${name}` },
  });
  const grants = name === ":workspace"
    ? [g("/", "read"), g(cwd, "write"), g("/tmp", "write")]
    : [g("/", "read")];
  const policy: Policy = {
    name,
    enforcement: name === ":danger-full-access" ? "disabled" : "managed",
    unrestricted: false,
    grants,
    globs: [],
    globScanMaxDepth: null,
    minimal: false,
    network: "none",
    cwd,
    workspaceRoots: [cwd],
    options: DEFAULT_POLICY_OPTIONS,
  };
  return ok({
    policy,
    command: o.command,
    callerEnvironment: origin.environment,
    environment: [
      ...origin.environment,
      "CODEX_SANDBOX_NETWORK_DISABLED=1" as ByteString,
    ],
    codexHome,
    ownFiles: [],
    uid: origin.uid,
    euid: origin.euid,
    launcher: o.launcher,
    stage: o.stage,
    outlivesCaller: o.lifetime === "outlives_caller",
    passFds: o.passedFds,
    warnings: [],
    mark: timer.mark,
  });
}
void fromText;
