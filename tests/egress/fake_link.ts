/**
 * A connection without a kernel, and a clock that a test moves: what a time limit or a full buffer does is told without waiting for it.
 *
 * @module
 */
import { spyOn } from "bun:test";
import {
  DEFAULT_LIMITS,
  type ProxyContext,
  type ProxyEvent,
  sweep,
} from "../../src/egress/context.ts";
import type { Dialer } from "../../src/egress/dial.ts";
import {
  type Link,
  LINK_HANDLERS,
  newLink,
  NO_OWNER,
} from "../../src/egress/link.ts";
import { type Domains, policyOf } from "./fixtures.ts";

/** What was done to the socket, in order: `pause`, `resume`, `shutdown`, `end` (both directions), `terminate` (a reset). */
export type Deed = "pause" | "resume" | "shutdown" | "end" | "terminate";

export interface FakeLink {
  readonly link: Link;
  readonly deeds: readonly Deed[];
  /** What the kernel has taken. */
  readonly sent: () => string;
  /** The peer sends. */
  readonly say: (text: string) => void;
  /** The peer reads: room for so many bytes more. */
  readonly read: (bytes: number) => void;
}

/** @param room bytes that the kernel takes until the peer reads */
export function fakeLink(room = Infinity): FakeLink {
  const link = newLink(NO_OWNER);
  const deeds: Deed[] = [];
  let left = room;
  let sent = "";
  const socket = {
    data: link,
    write(bytes: Buffer): number {
      const taken = Math.min(left, bytes.length);
      left -= taken;
      sent += bytes.toString("latin1", 0, taken);
      return taken;
    },
    ...Object.fromEntries(
      (["pause", "resume", "shutdown", "end", "terminate"] as const).map(
        (deed) => [deed, () => void deeds.push(deed)],
      ),
    ),
  } as unknown as Bun.Socket<Link>;
  link.socket = socket;
  return {
    link,
    deeds,
    sent: () => sent,
    say: (text) => LINK_HANDLERS.data(socket, Buffer.from(text, "latin1")),
    read(bytes): void {
      left += bytes;
      LINK_HANDLERS.drain(socket);
    },
  };
}

/** What the sessions of a proxy share, without a proxy: 127.0.0.1 is allowed, and nothing is ever connected unless `dial` does so. */
export function fakeContext(
  setup: { readonly domains?: Domains; readonly dial?: Dialer["dial"] } = {},
): ProxyContext & { readonly events: ProxyEvent[] } {
  const events: ProxyEvent[] = [];
  return {
    policy: policyOf(setup.domains ?? { "127.0.0.1": "allow" }, {
      allowLocalBinding: true,
    }),
    dialer: {
      dial: setup.dial ?? (() => new Promise(() => {})),
      upstreamOf: () => null,
      ownAddresses: () => [],
    },
    limits: DEFAULT_LIMITS,
    onEvent: (event) => events.push(event),
    timed: new Set(),
    events,
  };
}

/** A clock that stands still until it is moved. */
export interface FakeClock extends Disposable {
  /** Lets time pass, and the proxy's sweep look. */
  readonly pass: (ms: number, context: ProxyContext) => void;
}

export function stopClock(): FakeClock {
  let now = performance.now();
  const spy = spyOn(performance, "now").mockImplementation(() => now);
  return {
    pass(ms, { timed }): void {
      now += ms;
      sweep(timed);
    },
    [Symbol.dispose]: () => void spy.mockRestore(),
  };
}
