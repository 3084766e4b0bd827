/**
 * What all conversations of one proxy share: limits, policy, dialler, events, and the clock that ends what stalls. Types and a sweep.
 *
 * @module
 */
import type { ReportedEvent } from "./report.ts";
import { type Endpoint, formatHost } from "../policy/host.ts";
import type { Denial, NetworkPolicy, Protocol } from "../policy/network.ts";
import type { Dialer } from "./dial.ts";

/** Time limits in milliseconds, and how many clients are served at once. */
export interface ProxyLimits {
  /** For a whole request head, a SOCKS request or a ClientHello, from its first byte or from the connection's start. */
  readonly headMs: number;
  /** A connection between two requests. */
  readonly keepAliveMs: number;
  /** From a request to the response's head, and between any two pieces of a body. */
  readonly responseMs: number;
  /** A tunnel without a byte in either direction. */
  readonly tunnelIdleMs: number;
  /** After an answer that ends the connection: for the client to read it. */
  readonly lingerMs: number;
  /** Clients beyond wait, unread, until one ends. */
  readonly connections: number;
}

export const DEFAULT_LIMITS: ProxyLimits = {
  headMs: 30_000,
  keepAliveMs: 120_000,
  responseMs: 300_000,
  tunnelIdleMs: 3_600_000,
  lingerMs: 2_000,
  connections: 4_096,
};

/** One finished request or tunnel. */
export type ProxyEvent = ReportedEvent;

/** Something that ends when its time is over. */
export interface Timed {
  /** On the clock of `performance.now()`. */
  expiresAt: number;
  readonly onExpire: () => void;
}

export interface ProxyContext {
  readonly policy: NetworkPolicy;
  readonly dialer: Dialer;
  readonly limits: ProxyLimits;
  readonly onEvent: (event: ProxyEvent) => void;
  readonly timed: Set<Timed>;
}

/** What is counted of a request while it lasts. */
export interface Tally {
  readonly time: number;
  readonly startedAt: number;
  readonly protocol: Protocol;
  readonly endpoint: Endpoint;
  readonly method: string | null;
  readonly rule: string | null;
  address: string | null;
  bytesUp: number;
  bytesDown: number;
}

export function newTally(
  protocol: Protocol,
  endpoint: Endpoint,
  method: string | null,
  rule: string | null,
): Tally {
  return {
    time: Date.now(),
    startedAt: performance.now(),
    protocol,
    endpoint,
    method,
    rule,
    address: null,
    bytesUp: 0,
    bytesDown: 0,
  };
}

/** Reports the end of an allowed request. @param failure what went wrong, `null` when nothing did */
export function reportDone(
  context: ProxyContext,
  tally: Tally,
  failure: string | null,
): void {
  context.onEvent({
    ...common(tally),
    verdict: failure === null ? "allowed" : "failed",
    rule: tally.rule,
    reason: null,
    detail: failure,
    remedy: null,
  });
}

/** Reports a refusal. */
export function reportDenied(
  context: ProxyContext,
  tally: Tally,
  denial: Denial,
): void {
  context.onEvent({
    ...common(tally),
    verdict: "denied",
    rule: denial.rule?.written ?? null,
    reason: denial.reason,
    detail: denial.detail,
    remedy: denial.remedy,
  });
}

/** A request that is refused whatever the policy says: nobody can be served so. */
export interface Unservable {
  readonly protocol: Protocol;
  /** `null` where it names none that can be read. */
  readonly endpoint: Endpoint | null;
  readonly method: string | null;
  readonly reason: "not_supported" | "malformed";
  /** Why, for people. */
  readonly detail: string;
}

/** Reports a request that no policy was asked about. */
export function reportUnservable(
  { onEvent }: ProxyContext,
  { protocol, endpoint, method, reason, detail }: Unservable,
): void {
  onEvent({
    time: Date.now(),
    protocol,
    host: endpoint === null ? null : formatHost(endpoint.host),
    port: endpoint?.port ?? null,
    address: null,
    method,
    verdict: "denied",
    rule: null,
    reason,
    detail,
    remedy: null,
    bytesUp: 0,
    bytesDown: 0,
    durationMs: 0,
  });
}

function common(
  tally: Tally,
): Omit<ProxyEvent, "verdict" | "rule" | "reason" | "detail" | "remedy"> {
  return {
    time: tally.time,
    protocol: tally.protocol,
    host: formatHost(tally.endpoint.host),
    port: tally.endpoint.port,
    address: tally.address,
    method: tally.method,
    bytesUp: tally.bytesUp,
    bytesDown: tally.bytesDown,
    durationMs: Math.round(performance.now() - tally.startedAt),
  };
}

/** Ends everything whose time is over. */
export function sweep(timed: Set<Timed>): void {
  const now = performance.now();
  for (const one of timed) {
    if (one.expiresAt > now) continue;
    // Whoever wants more time says so in `onExpire`.
    one.expiresAt = Infinity;
    one.onExpire();
  }
}
