/**
 * Patterns of `domains` as text: the other half of their round trips.
 *
 * @module
 */
import { formatAddress } from "../../src/policy/address.ts";
import type { HostPattern, Pattern } from "../../src/policy/pattern.ts";

/** A pattern in its normal form: equal patterns print equally. */
export function formatPattern(pattern: Pattern): string {
  const host = formatHostPattern(pattern.host);
  if (pattern.port === null) return host;
  return host.includes(":")
    ? `[${host}]:${pattern.port}`
    : `${host}:${pattern.port}`;
}

function formatHostPattern(pattern: HostPattern): string {
  switch (pattern.kind) {
    case "any":
      return "*";
    case "name":
      return pattern.name;
    case "below":
      return `${pattern.apex === "included" ? "**" : "*"}.${pattern.suffix}`;
    case "star":
      return `${pattern.head}*${pattern.tail}`;
    case "address":
      return formatAddress(pattern.address);
    case "range":
      return `${
        formatAddress(pattern.range.address)
      }/${pattern.range.prefixLength}`;
  }
}
