/**
 * What a profile, the feature switch and the requirements say about the network together.
 *
 * Pure. Whatever names hosts, or asks for less than everything, means the managed proxy or no network: never the host's.
 *
 * @module
 */
import type { NetworkAccess, NetworkMode } from "../policy/policy.ts";
import type { TomlTable, TomlValue } from "./config.ts";
import { isTable, mergeTables, newTable, own, ownTable } from "./values.ts";

/** The decision, and the table that the proxy is set up from. */
export interface NetworkDecision {
  readonly mode: NetworkMode;
  /** The network word of the wire format: `enabled` only where the profile itself enables an open network. */
  readonly access: NetworkAccess;
  readonly table: TomlTable;
}

/** What `features.network_proxy` says. */
export interface NetworkFeature {
  readonly value: TomlValue | undefined;
  /** Some layer's table names hosts, also where a layer above has a plain switch in its place. */
  readonly isNamingHosts: boolean;
}

/** Decides for one profile. @param profile its merged network table */
export function decideNetwork(
  profile: TomlTable,
  { value: feature, isNamingHosts }: NetworkFeature,
  requirements: TomlTable | null,
): NetworkDecision {
  const overlay = isTable(feature) ? feature : null;
  const table = overlay === null ? profile : overlaid(profile, overlay);
  const isEnabled = own(profile, "enabled");
  const isManaged = asksForLess(profile);
  const isSwitchedOn = overlay === null
    ? feature === true
    : own(overlay, "enabled") !== false;
  const isSwitchedOff = feature !== undefined && !isSwitchedOn;
  const mode = ((): NetworkMode => {
    if (isEnabled === false) return "none";
    if (!isManaged && isEnabled !== true) return "none";
    if (requirements !== null) {
      return own(requirements, "enabled") === false ? "none" : "proxied";
    }
    if (isManaged) return isSwitchedOff ? "none" : "proxied";
    if (isSwitchedOn) return "proxied";
    return isNamingHosts ? "none" : "host";
  })();
  const isOpen = isEnabled === true && !isManaged && mode !== "none";
  return { mode, access: isOpen ? "enabled" : "restricted", table };
}

/** A profile table with its `domains` spelled alike: `Example.com.` is `example.com`. Of two that become one, deny stays. */
export function withPlainDomains(network: TomlTable): TomlTable {
  const domains = ownTable(network, "domains");
  if (domains === undefined) return network;
  const plain = newTable();
  for (const key of Object.keys(domains)) {
    const host = plainDomain(key);
    if (plain[host] !== "deny") plain[host] = domains[key]!;
  }
  return mergeTables(withoutKey(network, "domains"), { domains: plain });
}

/** A host pattern as it is compared. */
export function plainDomain(pattern: string): string {
  return pattern.trim().toLowerCase().replace(/\.+$/, "");
}

/** Whether a network table asks for the managed network. */
export function asksForLess(table: TomlTable): boolean {
  return namesHosts(table) || own(table, "managed") === true;
}

/** Keys that only make sense with the proxy. */
export function namesHosts(table: TomlTable): boolean {
  return own(table, "domains") !== undefined ||
    own(table, "mode") === "limited" || own(table, "mitm") !== undefined;
}

/** `enabled` of the overlay is the switch, not the profile's bit. */
function overlaid(profile: TomlTable, overlay: TomlTable): TomlTable {
  const above = withPlainDomains(withoutKey(overlay, "enabled"));
  return mergeTables(profile, above);
}

function withoutKey(table: TomlTable, key: string): TomlTable {
  const rest = newTable();
  for (const name of Object.keys(table)) {
    if (name !== key) rest[name] = table[name]!;
  }
  return rest;
}
