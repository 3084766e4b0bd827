/**
 * From an allowed target to a connected socket: resolve once, judge every address, dial only those that were judged.
 *
 * Never dials a name. Several addresses are tried in turn with a head start each (RFC 8305); a proxy further up gets the name.
 *
 * @module
 */
import {
  type Address,
  formatAddress,
  isMetadataAddress,
} from "../policy/address.ts";
import { type Endpoint, formatHost, isLoopbackName } from "../policy/host.ts";
import {
  checkResolved,
  type Denial,
  type NetworkPolicy,
  type Target,
} from "../policy/network.ts";
import { fail, ok, type Result } from "../result.ts";
import type { ConnectCancel, SocketAddress } from "../sys/connect.ts";
import type { Resolve } from "./dns.ts";
import {
  upstreamFor,
  type UpstreamProxy,
  type UpstreamSettings,
} from "./upstream.ts";

/** A connected descriptor that the caller owns. `via` is the proxy further up that it leads to: the request goes there. */
export interface Dialled {
  readonly fd: number;
  readonly address: Address;
  readonly via: UpstreamProxy | null;
}

/** Why there is no connection. `errno` is a name such as `ECONNREFUSED`, also for resolver failures. */
export type DialFailure =
  | { readonly kind: "denied"; readonly denial: Denial }
  | {
    readonly kind: "dns" | "connect";
    readonly errno: string;
    readonly detail: string;
  };

/** TCP connect with a time limit; see `sys/connect.ts`. */
export type ConnectFd = (
  address: SocketAddress,
  port: number,
  timeoutMs: number,
  cancel?: ConnectCancel,
) => Promise<Result<number, string>>;

/** What a dialler is made of. */
export interface DialerParts {
  readonly policy: NetworkPolicy;
  readonly upstream: UpstreamSettings;
  readonly resolve: Resolve;
  readonly connectFd: ConnectFd;
  readonly closeFd: (fd: number) => void;
  /** Addresses of the host's interfaces, read now. */
  readonly ownAddresses: () => readonly Address[];
  readonly dialMs: number;
}

export interface Dialer {
  /** Dials a target that {@linkcode decide} allowed. */
  readonly dial: (target: Target) => Promise<Result<Dialled, DialFailure>>;
  /** Whether a request of this kind goes to a proxy further up. */
  readonly upstreamOf: (target: Target) => UpstreamProxy | null;
  readonly ownAddresses: () => readonly Address[];
}

/** Head start of an address over the next one, RFC 8305 §5. */
const HEAD_START_MS = 250;

/** Most addresses of one name that are tried. */
const MAX_ADDRESSES = 16;

export function createDialer(parts: DialerParts): Dialer {
  return {
    dial: (target) => dial(parts, target),
    upstreamOf: (target) => upstreamOf(parts, target),
    ownAddresses: parts.ownAddresses,
  };
}

function upstreamOf(parts: DialerParts, target: Target): UpstreamProxy | null {
  // SOCKS clients expect a plain connection: the reference never leads them through a proxy either.
  if (!parts.policy.allowUpstreamProxy || target.protocol === "socks5") {
    return null;
  }
  return upstreamFor(
    parts.upstream,
    target,
    target.protocol === "http" ? "http" : "tunnel",
  );
}

async function dial(
  parts: DialerParts,
  target: Target,
): Promise<Result<Dialled, DialFailure>> {
  const via = upstreamOf(parts, target);
  const goal: Endpoint = via?.endpoint ?? target;
  const found = await addressesOf(parts, goal);
  if (!found.ok) {
    return fail({
      kind: "dns",
      errno: found.error,
      detail: `Cannot resolve ${formatHost(goal.host)}: ${found.error}`,
    });
  }
  if (via === null) {
    const denial = checkResolved(
      parts.policy,
      target,
      found.value,
      parts.ownAddresses(),
    );
    if (denial !== null) return fail({ kind: "denied", denial });
  } else if (found.value.some(isMetadataAddress)) {
    return fail({
      kind: "connect",
      errno: "EACCES",
      detail: "the proxy further up has the address of a metadata service",
    });
  }
  const won = await race(parts, interleaved(found.value), goal.port);
  if (won.ok) return ok({ ...won.value, via });
  const who = via === null ? "" : "the proxy further up, ";
  return fail({
    kind: "connect",
    errno: won.error,
    detail: `Cannot connect to ${who}${
      formatHost(goal.host)
    } port ${goal.port}: ${won.error}`,
  });
}

/** `localhost` and its like are the loopback, whatever a resolver says (RFC 6761). */
const LOCALHOST: readonly Address[] = [
  { family: 4, bytes: [127, 0, 0, 1] },
  { family: 6, bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] },
];

function addressesOf(
  parts: DialerParts,
  endpoint: Endpoint,
): Promise<Result<readonly Address[], string>> {
  const { host } = endpoint;
  if (host.kind === "address") return Promise.resolve(ok([host.address]));
  if (isLoopbackName(host.name)) return Promise.resolve(ok(LOCALHOST));
  return parts.resolve(host.name);
}

/** The families in turn, beginning with the one that came first (RFC 8305 §4). */
function interleaved(addresses: readonly Address[]): Address[] {
  const first = addresses[0]?.family;
  const same = addresses.filter(({ family }) => family === first);
  const other = addresses.filter(({ family }) => family !== first);
  const order: Address[] = [];
  for (let i = 0; i < Math.max(same.length, other.length); i++) {
    for (const address of [same[i], other[i]]) {
      if (address !== undefined) order.push(address);
    }
  }
  return order.slice(0, MAX_ADDRESSES);
}

/** Starts an address when the one before failed or had its head start; the first connection wins, the others are closed. */
function race(
  parts: DialerParts,
  addresses: readonly Address[],
  port: number,
): Promise<Result<{ readonly fd: number; readonly address: Address }, string>> {
  const deadline = performance.now() + parts.dialMs;
  const cancel: ConnectCancel = { cancelled: false };
  return new Promise((resolve) => {
    let next = 0;
    let running = 0;
    let isOver = false;
    let lastError = "ETIMEDOUT";
    let timer: ReturnType<typeof setTimeout> | undefined;
    const startNext = (): void => {
      clearTimeout(timer);
      const address = addresses[next++];
      if (address === undefined) return;
      running++;
      const left = Math.max(1, deadline - performance.now());
      parts.connectFd(address, port, left, cancel).then((result) => {
        running--;
        settle(address, result);
      });
      if (!isOver && next < addresses.length) {
        timer = setTimeout(startNext, HEAD_START_MS);
      }
    };
    const settle = (address: Address, result: Result<number, string>): void => {
      if (isOver) {
        if (result.ok) parts.closeFd(result.value);
        return;
      }
      if (result.ok) {
        isOver = true;
        cancel.cancelled = true;
        clearTimeout(timer);
        resolve(ok({ fd: result.value, address }));
        return;
      }
      lastError = result.error;
      if (next < addresses.length && performance.now() < deadline) startNext();
      else if (running === 0) {
        isOver = true;
        resolve(fail(lastError));
      }
    };
    startNext();
  });
}

/** For messages and the log. */
export function describeAddress(dialled: Dialled): string {
  const text = formatAddress(dialled.address);
  return dialled.via === null ? text : `via upstream ${text}`;
}
