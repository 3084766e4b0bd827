/**
 * The managed proxy: an HTTP forward proxy with CONNECT and a SOCKS5 proxy over listening sockets that somebody else made.
 *
 * How to start it: make the listeners (in the command's network namespace: inner stage, passed by SCM_RIGHTS), make a dialler, then
 *
 *     const proxy = startProxy({ httpFd, socksFd, policy, dialer, limits: DEFAULT_LIMITS, onEvent });
 *     …
 *     await proxy.close(); // listeners and connections are gone when it resolves
 *
 * The descriptors belong to the proxy from then on. It runs in this process's event loop and holds no thread. Policy lives here and
 * nowhere else; all that reaches a listener is untrusted.
 *
 * @module
 */
import {
  type ProxyContext,
  type ProxyEvent,
  type ProxyLimits,
  sweep,
} from "./context.ts";
import type { Dialer } from "./dial.ts";
import { serveHttp } from "./http_session.ts";
import { abort, type Link, pause, resume } from "./link.ts";
import { listen, type Listener } from "./listener.ts";
import { serveSocks } from "./socks_session.ts";
import type { NetworkPolicy } from "../policy/network.ts";

/** What a proxy is made of. */
export interface ProxyParts {
  /** A listening, non-blocking TCP socket. */
  readonly httpFd: number;
  /** The same for SOCKS5, `null` for none. */
  readonly socksFd: number | null;
  readonly policy: NetworkPolicy;
  readonly dialer: Dialer;
  readonly limits: ProxyLimits;
  /** Called for each finished or refused request. Must not throw. */
  readonly onEvent: (event: ProxyEvent) => void;
}

export interface RunningProxy {
  /** Stops accepting, resets what is open. */
  readonly close: () => Promise<void>;
  /** Clients served and waiting now. */
  readonly clients: () => { readonly served: number; readonly waiting: number };
}

type Serve = (
  context: ProxyContext,
  client: Link,
  onOver: () => void,
) => void;

/** Clients that we hold open while they wait; the next ones wait in the kernel's queue. */
export const MAX_WAITING = 64;

/** Starts serving. @throws when a descriptor is no listening socket */
export function startProxy(parts: ProxyParts): RunningProxy {
  const { limits } = parts;
  const context: ProxyContext = {
    policy: parts.policy,
    dialer: parts.dialer,
    limits,
    onEvent: parts.onEvent,
    timed: new Set(),
  };
  const served = new Set<Link>();
  const waiting: { readonly link: Link; readonly serve: Serve }[] = [];
  let isClosed = false;

  const listeners: Listener[] = [];

  const begin = (link: Link, serve: Serve): void => {
    served.add(link);
    serve(context, link, () => {
      served.delete(link);
      beginNext();
    });
    resume(link);
  };
  const beginNext = (): void => {
    while (!isClosed && served.size < limits.connections) {
      const next = waiting.shift();
      if (next === undefined) break;
      if (!next.link.isClosed) begin(next.link, next.serve);
    }
    if (!isClosed && waiting.length < MAX_WAITING) {
      for (const listener of listeners) listener.resume();
    }
  };
  const accept = (link: Link, serve: Serve): void => {
    if (isClosed) return abort(link);
    if (served.size < limits.connections) return begin(link, serve);
    // Unread and unanswered: the client waits as it would in the kernel's queue.
    pause(link);
    waiting.push({ link, serve });
    if (waiting.length < MAX_WAITING) return;
    // Each would cost a descriptor, and those of the served must be enough.
    for (const listener of listeners) listener.pause();
  };

  listeners.push(listen(parts.httpFd, (link) => accept(link, serveHttp)));
  const { socksFd } = parts;
  if (socksFd !== null) {
    listeners.push(listen(socksFd, (link) => accept(link, serveSocks)));
  }
  const shortest = Math.min(
    limits.headMs,
    limits.keepAliveMs,
    limits.responseMs,
    limits.tunnelIdleMs,
    limits.lingerMs,
  );
  const period = Math.max(10, Math.min(1_000, shortest / 4));
  const clock = setInterval(() => sweep(context.timed), period);

  return {
    close(): Promise<void> {
      if (isClosed) return Promise.resolve();
      isClosed = true;
      clearInterval(clock);
      for (const listener of listeners) listener.close();
      for (const { link } of waiting.splice(0)) abort(link);
      for (const link of [...served]) abort(link);
      context.timed.clear();
      // Sockets are closed at the end of the event loop's turn.
      return new Promise((resolve) => setImmediate(resolve));
    },
    clients: () => ({ served: served.size, waiting: waiting.length }),
  };
}
