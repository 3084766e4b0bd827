/**
 * The complete list of what is wrong with the config files: `codex config check` wants all, also in profiles that nobody selected.
 *
 * Pure.
 *
 * @module
 */
import type { ConfigRequest, Finding, LoadedConfig } from "./config.ts";
import { documentFaults } from "./layer_faults.ts";
import { type Fault, findingOf } from "./layers.ts";
import { buildChoice, resolveBuilt } from "./profile.ts";
import { NO_REQUIREMENTS } from "./requirements.ts";
import {
  decide,
  placesOf,
  profileContextOf,
  type RealPath,
  rulesOf,
} from "./decide.ts";
import { type Choice, DEFAULT_ORIGIN } from "./selection.ts";
import { ownTable } from "./values.ts";
import { fail } from "../result.ts";

/** Every finding of the layers and requirements, selected or not, each once; errors of a document before those of its meaning. */
export function checkAll(
  loaded: LoadedConfig,
  request: ConfigRequest,
  realPath: RealPath,
): readonly Finding[] {
  const faults: Fault[] = [...documentFaults(loaded, request)];
  const areTypesRight = faults.every(({ severity }) => severity === "warning");
  const decided = areTypesRight
    ? decide(loaded, request, realPath)
    : fail<readonly Fault[]>([]);
  if (areTypesRight) faults.push(...profileFaults(loaded));
  if (!decided.ok) faults.push(...decided.error);
  const places = placesOf(loaded);
  const findings = new Map<string, Finding>();
  for (const fault of faults) {
    const finding = findingOf(places, fault);
    findings.set(JSON.stringify(finding), finding);
  }
  return [...findings.values()];
}

/** Faults of every profile of the user, selected or not. */
function profileFaults(loaded: LoadedConfig): readonly Fault[] {
  const context = profileContextOf(loaded);
  const permissions = ownTable(context.table, "permissions") ?? {};
  const faults: Fault[] = [];
  for (const name of Object.keys(permissions)) {
    const choice: Choice = { kind: "profile", name, origin: DEFAULT_ORIGIN };
    const built = buildChoice(choice, context);
    if (!built.ok) {
      faults.push(...built.error);
      continue;
    }
    const resolved = resolveBuilt(built.value, context);
    if (!resolved.ok) {
      faults.push(resolved.error);
      continue;
    }
    const rules = rulesOf(built.value, {
      loaded,
      requirements: NO_REQUIREMENTS,
    });
    if (!rules.ok) faults.push(...rules.error);
    for (const { message, origin } of resolved.value.warnings) {
      // What the caller's TMPDIR is today is no fault of a file.
      if (message.startsWith('":tmpdir"')) continue;
      faults.push({ severity: "warning", origin, message });
    }
  }
  return faults;
}
