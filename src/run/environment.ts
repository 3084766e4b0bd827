/**
 * What is to be known of a run's environment beside its values: which names act on the loader, which changed.
 *
 * Pure.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { isLoaderVariable } from "../config/command_environment.ts";
import type { EnvironmentChange } from "../linux/plan.ts";
import type { RunRequest } from "./request.ts";

/** Whether an entry's name acts on the dynamic loader or on malloc: it reaches the command and nothing that we start before it. */
export function isLoaderEntry(entry: ByteString): boolean {
  const first = entry[0];
  if (first !== "L" && first !== "M" && first !== "G") return false;
  return isLoaderVariable(entry.split("=", 1)[0] ?? "");
}

/** Names of variables that differ from the caller's; values are nobody's business. */
export function environmentChanges(
  request: RunRequest,
  late: readonly ByteString[],
): EnvironmentChange[] {
  if (!request.explains) return [];
  const before = new Set(request.callerEnvironment);
  const after = new Set(request.environment);
  const names = (entries: Iterable<string>): Set<string> =>
    new Set([...entries].map((entry) => entry.split("=", 1)[0] ?? ""));
  const set = names(
    [...after].filter((entry) => !before.has(entry as ByteString)),
  );
  const kept = names(after);
  const changes: EnvironmentChange[] = [];
  for (const name of set) {
    changes.push({ name: toText(name as ByteString), change: "set" });
  }
  for (const name of names(before)) {
    if (!kept.has(name)) {
      changes.push({ name: toText(name as ByteString), change: "removed" });
    }
  }
  for (const name of names(late)) {
    changes.push({
      name: toText(name as ByteString),
      change: "kept from all but the command",
    });
  }
  return changes.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}
