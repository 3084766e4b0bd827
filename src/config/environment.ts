/**
 * The `[shell_environment_policy]` of a merged config table.
 *
 * Pure.
 *
 * @module
 */
import { type ByteString, fromText } from "../bytes.ts";
import {
  DEFAULT_ENVIRONMENT_POLICY,
  type EnvironmentPolicy,
  type Layer,
  type TomlTable,
} from "./config.ts";
import { type Fault, originOf } from "./layers.ts";
import { own, ownTable } from "./values.ts";

/** The `[shell_environment_policy]` of a merged table whose types are right, and what is wrong with it. */
export function environmentOf(
  table: TomlTable,
  layers: readonly Layer[],
): { readonly policy: EnvironmentPolicy; readonly faults: readonly Fault[] } {
  const settings = ownTable(table, "shell_environment_policy");
  if (settings === undefined) {
    return { policy: DEFAULT_ENVIRONMENT_POLICY, faults: [] };
  }
  const faults: Fault[] = [];
  const set: [ByteString, ByteString][] = [];
  const values = ownTable(settings, "set") ?? {};
  for (const name of Object.keys(values)) {
    const value = values[name] as string;
    const fault = faultOfVariable(name, value);
    if (fault === null) set.push([fromText(name), fromText(value)]);
    else {
      const path = ["shell_environment_policy", "set", name];
      const origin = originOf(layers, path);
      faults.push({ severity: "error", origin, at: "key", message: fault });
    }
  }
  const policy: EnvironmentPolicy = {
    inherit: (own(settings, "inherit") ?? "all") as "all" | "core" | "none",
    ignoreDefaultExcludes: own(settings, "ignore_default_excludes") !== false,
    exclude: patterns(settings, "exclude"),
    set,
    includeOnly: patterns(settings, "include_only"),
  };
  return { policy, faults };
}

function patterns(settings: TomlTable, key: string): readonly ByteString[] {
  const list = own(settings, key) as readonly string[] | undefined;
  return list === undefined ? [] : list.map(fromText);
}

function faultOfVariable(name: string, value: string): string | null {
  if (name === "" || /[=\0]/.test(name)) {
    return `variable name ${
      JSON.stringify(name)
    } must not be empty or hold "=" or a NUL`;
  }
  return value.includes("\0")
    ? `the value of variable ${JSON.stringify(name)} must not hold a NUL`
    : null;
}
