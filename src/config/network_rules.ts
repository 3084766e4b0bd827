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
import { asksForLess } from "./network_settings.ts";
import { keyText, own } from "./values.ts";

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

/** Where a line that allows a host belongs: `[permissions.ci.network.domains]`. @param rules of the profile, `null` where it says nothing about hosts */
export function domainsTableOf(
  profile: string,
  rules: NetworkPolicy | null,
): string {
  const table = rules?.table ?? `[${networkTableOf(profile)}]`;
  const domains = `${table.slice(0, -1)}.domains]`;
  return table.startsWith("[experimental_network")
    ? `${domains} of the administrator's requirements`
    : domains;
}

/** Why a profile without a network has none: what would have to change. */
export type NetworkLack =
  /** The administrator's requirements switch it off. */
  | "required"
  /** A built-in profile, which nothing can be added to. */
  | "built_in"
  /** `enabled = false`. */
  | "disabled"
  /** Its proxy is switched off: `features.network_proxy = false`. */
  | "switched_off"
  /** No word about one. */
  | "unsaid";

/** @param table of the profile, with the feature's laid over it */
export function networkLackOf(
  profile: string,
  table: TomlTable,
  requirements: TomlTable | null,
): NetworkLack {
  if (profile.startsWith(":")) return "built_in";
  if (own(table, "enabled") === false) return "disabled";
  if (requirements !== null && own(requirements, "enabled") === false) {
    return "required";
  }
  return asksForLess(table) ? "switched_off" : "unsaid";
}

/** Where a profile's hosts belong: built-in profiles have no table of their own. */
function networkTableOf(profile: string): string {
  return profile.startsWith(":")
    ? "features.network_proxy"
    : keyText(["permissions", profile, "network"]);
}
