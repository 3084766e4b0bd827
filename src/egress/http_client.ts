/**
 * What a session of the HTTP listener holds, and its client's side: bytes that nobody has read yet, answers, the end.
 *
 * @module
 */
import {
  type AnswerContext,
  blockedForward,
  blockedTunnel,
  upstreamFailed,
  type UpstreamFailure,
} from "./answers.ts";
import {
  type ProxyContext,
  reportDenied,
  reportDone,
  type Tally,
  type Timed,
} from "./context.ts";
import type { DialFailure, Dialled } from "./dial.ts";
import type { Exchange } from "./exchange.ts";
import {
  closeLink,
  finish,
  gather,
  type Link,
  NO_OWNER,
  pause,
  release,
  resume,
  sendText,
} from "./link.ts";

export interface Session {
  readonly context: ProxyContext;
  readonly client: Link;
  readonly timed: Timed;
  phase: Phase;
  /** Bytes of the client that nobody has read yet. */
  input: Buffer | null;
  /** Of those, how many were searched for the end of a head. */
  scanned: number;
  idle: IdleUpstream | null;
  isFirst: boolean;
  /** Reads the next request, where there is one. */
  readonly readOn: () => void;
  readonly onOver: () => void;
  isOver: boolean;
}

type Phase =
  | { readonly kind: "head" }
  | { readonly kind: "dialling" }
  | { readonly kind: "exchange"; readonly exchange: Exchange }
  | { readonly kind: "tunnel" }
  | { readonly kind: "closing" };

/** A connection to an origin that has answered and is free. */
export interface IdleUpstream {
  readonly link: Link;
  readonly dialled: Dialled;
  /** Scheme, `host:port`, and whether it goes through a proxy further up. */
  readonly key: string;
}

/** Why a connection was made in vain. */
export const CLIENT_GONE = "the client went away";

/** Unread bytes beyond which the client is paused: pipelined requests, or a body before its connection. */
const MAX_UNREAD_BYTES = 65_536;

export function over(session: Session): void {
  if (session.isOver) return;
  session.isOver = true;
  session.phase = { kind: "closing" };
  session.context.timed.delete(session.timed);
  session.input = null;
  dropIdle(session);
  session.onOver();
}

export function keepInput(session: Session, bytes: Buffer): void {
  session.input = session.input === null
    ? bytes
    : Buffer.concat([session.input, bytes]);
  if (
    session.phase.kind !== "head" && session.input.length > MAX_UNREAD_BYTES
  ) {
    pause(session.client);
  }
}

export function takeBody(
  session: Session,
  exchange: Exchange,
  bytes: Buffer,
): void {
  if (exchange.isRequestSent()) return keepInput(session, bytes);
  const taken = exchange.takeBody(bytes);
  if ("fault" in taken) exchange.refuse(taken.fault);
  else if (taken.rest !== null) keepInput(session, taken.rest);
}

export function onClientEnd(session: Session): void {
  const { phase } = session;
  if (phase.kind === "head") leave(session);
  else if (phase.kind === "closing") {
    if (session.client.tail.length === 0) closeLink(session.client);
  } else if (phase.kind === "exchange" && !phase.exchange.isRequestSent()) {
    // Half a body: the origin must not take it for a whole one, and the client is cut off with it.
    phase.exchange.cancel();
  }
}

export function waitForNext(session: Session): void {
  session.phase = { kind: "head" };
  session.timed.expiresAt = performance.now() + waitMs(session);
  resumeIfRead(session);
  // Not from within the exchange that is just ending: pipelined requests would nest.
  if (session.input !== null || session.client.isPeerDone) {
    queueMicrotask(() => {
      if (!session.isOver) session.readOn();
    });
  }
}

/** For the client's next move: to read what it was sent, to end a head that it has begun, to ask again. */
function waitMs({ client, context, input }: Session): number {
  const { responseMs, headMs, keepAliveMs } = context.limits;
  if (client.tail.length > 0) return responseMs;
  return input === null ? keepAliveMs : headMs;
}

/** Reads on where neither requests nor answers pile up: a client that only asks must not fill our memory. */
export function resumeIfRead({ client, input }: Session): void {
  const isAhead = client.tail.length > 0 ||
    (input?.length ?? 0) > MAX_UNREAD_BYTES;
  if (isAhead) pause(client);
  else resume(client);
}

export function answer(
  session: Session,
  text: string,
  keepAlive: boolean,
): void {
  if (!keepAlive) return sayGoodbye(session, text);
  sendText(session.client, text);
  session.timed.expiresAt = performance.now() + waitMs(session);
  resumeIfRead(session);
}

export function sayFailure(
  session: Session,
  tally: Tally,
  failure: DialFailure,
  answering: AnswerContext,
): void {
  const last: AnswerContext = { ...answering, keepAlive: false };
  if (failure.kind === "denied") {
    reportDenied(session.context, tally, failure.denial);
    return sayGoodbye(
      session,
      tally.protocol === "http"
        ? blockedForward(tally.endpoint, failure.denial, last)
        : blockedTunnel(failure.denial, last),
    );
  }
  reportDone(session.context, tally, failure.detail);
  const how: UpstreamFailure =
    failure.kind === "connect" && failure.errno === "ETIMEDOUT"
      ? "timed_out"
      : "failed";
  sayGoodbye(session, upstreamFailed(how, failure.detail, last));
}

/** Sends the last answer, then ends. */
export function sayGoodbye(session: Session, text: string): void {
  gather(session.client);
  sendText(session.client, text);
  release(session.client);
  leave(session);
}

/**
 * Ends our direction and reads on for a while: closing with unread bytes would send a reset, which may overtake the answer.
 */
export function leave(session: Session): void {
  const { client } = session;
  session.phase = { kind: "closing" };
  session.input = null;
  dropIdle(session);
  if (client.isClosed) return;
  // A slow reader gets all of it first: the good-bye begins when the tail is gone.
  session.timed.expiresAt = performance.now() +
    (client.tail.length > 0
      ? session.context.limits.responseMs
      : session.context.limits.lingerMs);
  finish(client);
  resume(client);
  if (client.isPeerDone && client.tail.length === 0) closeLink(client);
}

export function dropIdle(session: Session): void {
  const { idle } = session;
  if (idle === null) return;
  session.idle = null;
  idle.link.owner = NO_OWNER;
  closeLink(idle.link);
}
