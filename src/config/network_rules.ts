/**
 * The network table of a built profile as rules for the proxy, and what is wrong with it.
 *
 * Pure. Patterns, URLs and paths are checked here; types and unknown keys have been checked with the documents. Loaded on demand: most profiles have no
 * such table.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { NetworkPolicy } from "../policy/network.ts";
import { readNetworkTable } from "../policy/network_table.ts";
import type { AbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import type { TomlTable } from "./config.ts";
import type { Fault } from "./layers.ts";
import type { BuiltProfile } from "./built_in_profiles.ts";
import { keyText } from "./values.ts";

/** `[experimental_network]` and its file. */
export interface NetworkRequirements {
  readonly table: TomlTable;
  readonly file: AbsPath;
}

/** What the table says to the proxy. */
export interface NetworkRules {
  readonly policy: NetworkPolicy;
  readonly warnings: readonly string[];
}

/** Reads the table. @returns on failure every fault, in the order of the keys */
export function networkRulesOf(
  built: Pick<BuiltProfile, "name" | "networkTable" | "networkOriginOf">,
  requirements: NetworkRequirements | null,
): Result<NetworkRules, readonly Fault[]> {
  const { unix_sockets: _, ...table } = built.networkTable;
  const reading = readNetworkTable({
    name: `[${networkTableOf(built.name)}]`,
    // Sockets were read with the profile, where `~` means something.
    table,
    originOf: built.networkOriginOf,
    requirements: requirements?.table ?? null,
    requirementsOriginOf: (path) => ({
      file: requirements?.file ?? null,
      key: keyText(["experimental_network", ...path]),
    }),
  });
  if (!reading.ok) {
    return fail(
      reading.error.map((finding): Fault => ({
        severity: "error",
        ...finding,
      })),
    );
  }
  const { policy, warnings } = reading.value;
  return ok({
    policy,
    warnings: warnings.map(({ origin, message }) =>
      origin.file === null ? message : `${toText(origin.file)}: ${message}`
    ),
  });
}

/** Where a profile's hosts belong: built-in profiles have no table of their own. */
export function networkTableOf(profile: string): string {
  return profile.startsWith(":")
    ? "features.network_proxy"
    : keyText(["permissions", profile, "network"]);
}
