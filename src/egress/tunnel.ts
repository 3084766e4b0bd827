/**
 * Bytes both ways between a client and what it asked for, each direction ending on its own.
 *
 * A tunnel that begins with a ClientHello for a host that the policy does not allow is closed before a byte of it goes out.
 *
 * @module
 */
import { type ByteString, decodeText } from "../bytes.ts";
import { formatHost, parseHost } from "../policy/host.ts";
import { decideServerName, type Target } from "../policy/network.ts";
import {
  newTally,
  type ProxyContext,
  reportDenied,
  reportDone,
  type Tally,
  type Timed,
} from "./context.ts";
import {
  abort,
  finish,
  type Link,
  type LinkOwner,
  pause,
  resume,
  send,
} from "./link.ts";
import { readHello } from "./tls_hello.ts";

/** What a tunnel is made of. Both links are connected; whatever comes from now on is passed. */
export interface TunnelParts {
  readonly context: ProxyContext;
  readonly client: Link;
  readonly upstream: Link;
  readonly target: Target;
  readonly tally: Tally;
  /** `checked`: TLS server names are judged. Not for websocket, whose head was judged. */
  readonly serverNames: "checked" | "unchecked";
  /** Bytes of the client that came with its request. */
  readonly early: Buffer | null;
  /** Called once, when both links are closed. */
  readonly onOver: () => void;
}

/** Joins the two links. */
export function joinTunnel(parts: TunnelParts): void {
  const { context, client, upstream, tally } = parts;
  let hello: Buffer | null = parts.serverNames === "checked"
    ? Buffer.alloc(0)
    : null;
  let failure: string | null = null;
  let open = 2;
  let isReported = false;
  const timed: Timed = {
    expiresAt: performance.now() + context.limits.tunnelIdleMs,
    onExpire(): void {
      const idle = performance.now() - lastByteAt;
      // Bytes move no deadline, that would cost more than to look again now.
      const limit = hello !== null && hello.length > 0
        ? context.limits.headMs
        : context.limits.tunnelIdleMs;
      if (idle < limit) {
        timed.expiresAt = performance.now() + limit - idle;
        return;
      }
      failure = `no byte for ${limit} ms`;
      abort(client);
      abort(upstream);
    },
  };
  let lastByteAt = performance.now();
  context.timed.add(timed);

  const over = (): void => {
    if (--open > 0 || isReported) return;
    isReported = true;
    context.timed.delete(timed);
    reportDone(context, tally, failure);
    parts.onOver();
  };

  const direction = (
    to: Link,
    pass: (bytes: Buffer) => void,
  ): LinkOwner => ({
    onData: pass,
    onEnd: () => finish(to),
    onDrain: () => resume(to),
    onClose(isClean): void {
      if (isClean) {
        finish(to);
        // A link that is gone takes nothing more: its source must not wait for it.
        resume(to);
      } else abort(to);
      over();
    },
  });

  const passUp = (bytes: Buffer): void => {
    lastByteAt = performance.now();
    tally.bytesUp += bytes.length;
    if (!send(upstream, bytes)) pause(client);
  };
  const checkHello = (bytes: Buffer): void => {
    hello = hello === null || hello.length === 0
      ? bytes
      : Buffer.concat([hello, bytes]);
    lastByteAt = performance.now();
    const reading = readHello(hello);
    if (reading.kind === "more") {
      timed.expiresAt = lastByteAt + context.limits.headMs;
      return;
    }
    const refusal = reading.kind === "not_tls"
      ? null
      : reading.kind === "malformed"
      ? "malformed"
      : refusedName(parts, reading.serverName);
    if (refusal !== null) {
      failure = refusal === "malformed"
        ? "the TLS ClientHello is malformed"
        : `the TLS server name ${refusal} is not allowed`;
      abort(client);
      abort(upstream);
      return;
    }
    const first = hello;
    hello = null;
    timed.expiresAt = lastByteAt + context.limits.tunnelIdleMs;
    passUp(first);
  };
  const fromClient = (bytes: Buffer): void => {
    if (hello === null) passUp(bytes);
    else checkHello(bytes);
  };
  client.owner = {
    ...direction(upstream, fromClient),
    onEnd(): void {
      // Half a ClientHello and no more: whatever it is, it is not TLS.
      if (hello !== null && hello.length > 0) {
        const rest = hello;
        hello = null;
        passUp(rest);
      }
      finish(upstream);
    },
  };
  upstream.owner = direction(client, (bytes) => {
    lastByteAt = performance.now();
    tally.bytesDown += bytes.length;
    if (!send(client, bytes)) pause(upstream);
  });
  if (parts.early !== null && parts.early.length > 0) fromClient(parts.early);
  if (client.isPeerDone) client.owner.onEnd();
  if (upstream.isPeerDone) upstream.owner.onEnd();
  if (client.isClosed) client.owner.onClose(false);
  if (upstream.isClosed) upstream.owner.onClose(false);
  resume(client);
  resume(upstream);
}

/** The server name as text when the policy refuses it, else `null`. Reports the refusal. */
function refusedName(
  parts: TunnelParts,
  serverName: string | null,
): string | null {
  if (serverName === null) return null;
  const text = decodeText(serverName as ByteString);
  const host = text === null ? null : parseHost(text);
  if (host === null || !host.ok) return "(unreadable)";
  const name = formatHost(host.value);
  if (name === formatHost(parts.target.host)) return null;
  const decision = decideServerName(
    parts.context.policy,
    parts.target,
    host.value,
  );
  if (decision.verdict === "allow") return null;
  const { target } = parts;
  const tally = newTally(
    target.protocol,
    { host: host.value, port: target.port },
    null,
    null,
  );
  reportDenied(parts.context, tally, decision);
  return name;
}
