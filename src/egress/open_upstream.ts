/**
 * A connection for a request or a tunnel: to the origin, or through a tunnel that a proxy further up opens.
 *
 * @module
 */
import { formatEndpoint, formatHost } from "../policy/host.ts";
import type { Target } from "../policy/network.ts";
import type { ProxyContext, Tally, Timed } from "./context.ts";
import { describeAddress, type DialFailure, type Dialled } from "./dial.ts";
import type { Scheme } from "./http.ts";
import { findHeadEnd, parseResponseHead } from "./http_head.ts";
import {
  abort,
  adopt,
  adoptTls,
  type Link,
  newLink,
  NO_OWNER,
  pause,
  sendText,
} from "./link.ts";
import type { UpstreamProxy } from "./upstream.ts";

/** A connection to an origin, ready for a request. */
export type OpenedOrigin =
  | { readonly ok: true; readonly link: Link; readonly dialled: Dialled }
  | { readonly ok: false; readonly failure: DialFailure };

export async function dialOrigin(
  context: ProxyContext,
  target: Target,
  scheme: Scheme,
): Promise<OpenedOrigin> {
  const dialled = await context.dialer.dial(target);
  if (!dialled.ok) return { ok: false, failure: dialled.error };
  const link = newLink(NO_OWNER);
  const { fd } = dialled.value;
  const detail = scheme === "https"
    ? await adoptTls(fd, link, {
      serverName: formatHost(target.host),
      timeoutMs: context.limits.headMs,
    })
    : await adopt(fd, link)
    ? null
    : "the origin closed the connection at once";
  return detail === null
    ? { ok: true, link, dialled: dialled.value }
    : { ok: false, failure: { kind: "connect", errno: "EPROTO", detail } };
}

export type Opened =
  | { readonly ok: true; readonly link: Link; readonly early: Buffer | null }
  | { readonly ok: false; readonly failure: DialFailure };

/** Dials and, behind a proxy further up, asks that one for a tunnel. */
export async function openTunnel(
  context: ProxyContext,
  target: Target,
  tally: Tally,
): Promise<Opened> {
  const dialled = await context.dialer.dial(target);
  if (!dialled.ok) return { ok: false, failure: dialled.error };
  tally.address = describeAddress(dialled.value);
  const waiting = createEarly();
  const link = newLink(waiting.owner);
  if (!await adopt(dialled.value.fd, link)) {
    return failed("ECONNRESET", "the origin closed the connection at once");
  }
  // Until the tunnel takes over, bytes of the origin wait in the kernel.
  const { via } = dialled.value;
  if (via === null) {
    pause(link);
    return { ok: true, link, early: waiting.take() };
  }
  return await askForTunnel(context, link, target, via, waiting.take());
}

function askForTunnel(
  context: ProxyContext,
  link: Link,
  target: Target,
  via: UpstreamProxy,
  early: Buffer | null,
): Promise<Opened> {
  return new Promise((resolve) => {
    let input = early ?? Buffer.alloc(0);
    const end = (opened: Opened): void => {
      context.timed.delete(timed);
      link.owner = NO_OWNER;
      if (opened.ok) pause(link);
      else abort(link);
      resolve(opened);
    };
    const timed: Timed = {
      expiresAt: performance.now() + context.limits.headMs,
      onExpire: () =>
        end(failed("ETIMEDOUT", "the proxy further up did not answer CONNECT")),
    };
    context.timed.add(timed);
    const gone = (): void =>
      end(failed("ECONNRESET", "the proxy further up closed the connection"));
    const read = (): void => {
      const found = findHeadEnd(input, 0);
      if (found.ok && found.value === null) return;
      const head = found.ok && found.value !== null
        ? parseResponseHead(input.toString("latin1", 0, found.value))
        : null;
      if (!found.ok || found.value === null || head === null || !head.ok) {
        return end(failed("EPROTO", "the proxy further up speaks no HTTP/1"));
      }
      if (head.value.status < 200) {
        input = input.subarray(found.value);
        return read();
      }
      if (head.value.status >= 300) {
        const { status } = head.value;
        return end(
          failed(
            "EACCES",
            `the proxy further up answered ${status} to CONNECT`,
          ),
        );
      }
      const rest = input.subarray(found.value);
      end({ ok: true, link, early: rest.length > 0 ? rest : null });
    };
    link.owner = {
      ...NO_OWNER,
      onData(part): void {
        input = Buffer.concat([input, part]);
        read();
      },
      onEnd: gone,
      onClose: gone,
    };
    const authority = formatEndpoint(target);
    const authorization = via.authorization === null
      ? ""
      : `proxy-authorization: ${via.authorization}\r\n`;
    sendText(
      link,
      `CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\nuser-agent: codex\r\n${authorization}\r\n`,
    );
    if (input.length > 0) read();
    if (link.isClosed) gone();
  });
}

/** Keeps what comes before somebody owns the link. */
function createEarly(): {
  readonly owner: Link["owner"];
  readonly take: () => Buffer | null;
} {
  let bytes: Buffer | null = null;
  return {
    owner: {
      ...NO_OWNER,
      onData(part): void {
        bytes = bytes === null ? part : Buffer.concat([bytes, part]);
      },
    },
    take(): Buffer | null {
      const taken = bytes;
      bytes = null;
      return taken;
    },
  };
}

function failed(errno: string, detail: string): Opened {
  return { ok: false, failure: { kind: "connect", errno, detail } };
}
