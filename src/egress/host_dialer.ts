/**
 * The dialler of a real run: c-ares, connect(2), the host's interfaces, the caller's own proxy settings.
 *
 * @module
 */
import { networkInterfaces } from "node:os";
import type { ByteString } from "../bytes.ts";
import { type Address, parseAddress } from "../policy/address.ts";
import type { NetworkPolicy } from "../policy/network.ts";
import { close } from "../sys/calls.ts";
import { connectFd } from "../sys/connect.ts";
import { createDialer, type Dialer } from "./dial.ts";
import { createResolver } from "./dns.ts";
import { readUpstream } from "./upstream.ts";

/** Limits of dialling: milliseconds, and questions at once. */
export interface DialLimits {
  readonly dialMs: number;
  readonly dnsMs: number;
  readonly dnsInFlight: number;
}

const DEFAULT_DIAL_LIMITS: DialLimits = {
  dialMs: 10_000,
  dnsMs: 2_000,
  dnsInFlight: 64,
};

/** How long a reading of the interfaces is good for: it costs 40 µs, a request must not. */
const INTERFACES_MS = 500;

/**
 * A dialler over the host.
 *
 * @param environment of the caller, for its own proxy; never the command's
 * @returns also one line for each proxy variable of the caller that can't be used
 */
export function createHostDialer(
  policy: NetworkPolicy,
  environment: readonly ByteString[],
  limits: DialLimits = DEFAULT_DIAL_LIMITS,
): { readonly dialer: Dialer; readonly warnings: readonly string[] } {
  const upstream = readUpstream(policy.allowUpstreamProxy ? environment : []);
  const dialer = createDialer({
    policy,
    upstream,
    resolve: createResolver(limits),
    connectFd,
    closeFd: close,
    ownAddresses: createInterfaceReader(),
    dialMs: limits.dialMs,
  });
  return { dialer, warnings: upstream.warnings };
}

/**
 * Addresses of the host's interfaces, loopback included, read again after half a second. Where they can't be read, as without a free
 * descriptor, the last reading counts.
 *
 * @throws when the first reading fails
 */
export function createInterfaceReader(
  readAddresses: () => readonly Address[] = interfaceAddresses,
): () => readonly Address[] {
  let read = readAddresses();
  let readAt = performance.now();
  return () => {
    const now = performance.now();
    if (now - readAt < INTERFACES_MS) return read;
    readAt = now;
    try {
      read = readAddresses();
    } catch {
      // To know an address too much or too few for a moment is better than to end the run.
    }
    return read;
  };
}

function interfaceAddresses(): readonly Address[] {
  return Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? []).flatMap(({ address }) => {
      const parsed = parseAddress(address);
      return parsed === null ? [] : [parsed];
    })
  );
}
