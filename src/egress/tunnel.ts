/**
 * Bytes both ways between a client and what it asked for, watched for silence and for TLS server names.
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
import { abort, type Link } from "./link.ts";
import { joinLinks } from "./pair.ts";
import { readHello } from "./tls_hello.ts";

/** What a tunnel is made of. Both links are connected. */
export interface TunnelParts {
  readonly context: ProxyContext;
  readonly client: Link;
  readonly upstream: Link;
  readonly target: Target;
  readonly tally: Tally;
  /** `checked`: TLS server names are judged. Not for websocket, whose head was judged. */
  readonly serverNames: "checked" | "unchecked";
  /** Bytes of the client that came with its request. */
  readonly fromClient: Buffer | null;
  /** Bytes of the origin that came before the tunnel. */
  readonly fromUpstream: Buffer | null;
  /** Called once, when both links are closed. */
  readonly onOver: () => void;
}

/** Joins the two links. */
export function joinTunnel(parts: TunnelParts): void {
  const { context, client, upstream, tally } = parts;
  const { headMs, tunnelIdleMs } = context.limits;
  /** The beginning of a ClientHello, `null` once it was judged. */
  let hello: Buffer | null = parts.serverNames === "checked"
    ? Buffer.alloc(0)
    : null;
  let failure: string | null = null;
  let lastByteAt = performance.now();
  let helloAt = 0;
  const timed: Timed = {
    expiresAt: lastByteAt + tunnelIdleMs,
    onExpire(): void {
      const now = performance.now();
      const isInHello = hello !== null && hello.length > 0;
      // Bytes move no deadline, that would cost more than to look again now.
      const end = isInHello ? helloAt + headMs : lastByteAt + tunnelIdleMs;
      if (now < end) {
        timed.expiresAt = end;
        return;
      }
      stop(
        isInHello
          ? `half a ClientHello for ${headMs} ms`
          : `no byte for ${tunnelIdleMs} ms`,
      );
    },
  };
  const stop = (why: string): void => {
    failure = why;
    abort(client); // which resets the other one as well
  };

  /** Holds back until the server name is known. @returns what may go on */
  const judge = (bytes: Buffer, before: Buffer): Buffer | null => {
    if (before.length === 0) helloAt = lastByteAt;
    const whole = before.length === 0 ? bytes : Buffer.concat([before, bytes]);
    const reading = readHello(whole);
    switch (reading.kind) {
      case "more":
        hello = whole;
        timed.expiresAt = helloAt + headMs;
        return null;
      case "malformed":
        stop("the TLS ClientHello is malformed");
        return null;
      case "hello": {
        const refused = refusedName(parts, reading.serverName);
        if (refused !== null) {
          stop(`the TLS server name ${refused} is not allowed`);
          return null;
        }
      }
    }
    hello = null;
    return whole;
  };

  context.timed.add(timed);
  joinLinks({
    client,
    upstream,
    onUp(bytes): Buffer | null {
      lastByteAt = performance.now();
      const passed = hello === null ? bytes : judge(bytes, hello);
      if (passed !== null) tally.bytesUp += passed.length;
      return passed;
    },
    onDown(bytes): void {
      lastByteAt = performance.now();
      tally.bytesDown += bytes.length;
    },
    heldBack(): Buffer | null {
      // Half a ClientHello and no more to come: no server can make a session of it.
      const rest = hello;
      hello = null;
      return rest;
    },
    onOver(): void {
      context.timed.delete(timed);
      reportDone(context, tally, failure);
      parts.onOver();
    },
  });
  if (parts.fromClient !== null) client.owner.onData(parts.fromClient);
  if (parts.fromUpstream !== null) upstream.owner.onData(parts.fromUpstream);
}

/** The server name as text when the policy refuses it, else `null`. Reports the refusal. */
function refusedName(
  parts: TunnelParts,
  serverName: string | null,
): string | null {
  if (serverName === null) return null;
  const { target, context } = parts;
  const text = decodeText(serverName as ByteString);
  const host = text === null ? null : parseHost(text);
  if (host === null || !host.ok) return "(unreadable)";
  const name = formatHost(host.value);
  if (name === formatHost(target.host)) return null;
  const decision = decideServerName(context.policy, target, host.value);
  if (decision.verdict === "allow") return null;
  const endpoint = { host: host.value, port: target.port };
  const tally = newTally(target.protocol, endpoint, null, null);
  reportDenied(context, tally, decision);
  return name;
}
