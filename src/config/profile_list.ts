/**
 * Which profiles there are to choose from.
 *
 * Pure.
 *
 * @module
 */
import { builtInOrigin } from "./built_in_profiles.ts";
import type { Layer, TomlTable } from "./config.ts";
import { originOf } from "./layers.ts";
import { BUILT_IN_NAMES } from "./selection.ts";
import { lookup, newTable, ownTable } from "./values.ts";
import type { Origin } from "../policy/policy.ts";

/** What `codex policy list` shows: every profile with its description and where it is defined. */
export function listProfiles(
  layers: readonly Layer[],
  table: TomlTable,
): readonly {
  readonly name: string;
  readonly description: string | null;
  readonly origin: Origin;
}[] {
  const permissions = ownTable(table, "permissions") ?? newTable();
  const own = Object.keys(permissions).sort().map((name) => {
    const description = lookup(permissions, [name, "description"]);
    return {
      name,
      description: typeof description === "string" ? description : null,
      origin: originOf(layers, ["permissions", name]),
    };
  });
  const builtIn = BUILT_IN_NAMES.map((name) => ({
    name,
    description: BUILT_IN_DESCRIPTIONS[name] ?? null,
    origin: builtInOrigin(name),
  }));
  return [...builtIn, ...own];
}

const BUILT_IN_DESCRIPTIONS: { readonly [name: string]: string } = {
  ":read-only": "Read everything, write nothing, no network",
  ":workspace":
    "Read everything, write the working directory and temporary folders, no network",
  ":danger-full-access": "No sandbox at all",
};
