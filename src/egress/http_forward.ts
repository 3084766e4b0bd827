/**
 * Forwarded requests: decided, dialled or sent on the idle connection, exchanged, and what follows each ending.
 *
 * @module
 */
import { formatEndpoint } from "../policy/host.ts";
import { checkResolved, decide, type Target } from "../policy/network.ts";
import {
  type AnswerContext,
  badRequest,
  blockedForward,
  upstreamFailed,
} from "./answers.ts";
import { newTally, reportDenied, reportDone, type Tally } from "./context.ts";
import { describeAddress, type DialFailure, type Dialled } from "./dial.ts";
import { type Ending, startExchange } from "./exchange.ts";
import type { ProxyRequest, Scheme } from "./http.ts";
import {
  answer,
  CLIENT_GONE,
  dropIdle,
  type IdleUpstream,
  leave,
  onClientEnd,
  resumeIfRead,
  sayFailure,
  sayGoodbye,
  type Session,
  takeBody,
  waitForNext,
} from "./http_client.ts";
import { handOver } from "./http_tunnel.ts";
import {
  abort,
  closeLink,
  type Link,
  NO_OWNER,
  release,
  resume,
} from "./link.ts";
import { dialOrigin } from "./open_upstream.ts";

type Forward = Extract<ProxyRequest, { kind: "forward" }>;

/** Serves a request that names its target: forwards it, or says why not. */
export function serveForward(session: Session, request: Forward): void {
  const { context } = session;
  const { endpoint, method } = request;
  const answering: AnswerContext = {
    version: request.version,
    // A body that nobody reads would be taken for the next request.
    keepAlive: request.keepAlive && request.framing.kind === "none",
    bodiless: method === "HEAD",
  };
  const target: Target = {
    ...endpoint,
    protocol: "http",
    method,
    upgrade: request.wantsUpgrade,
  };
  const own = context.dialer.ownAddresses();
  const decision = decide(context.policy, target, own);
  const tally = newTally(
    "http",
    endpoint,
    method,
    decision.verdict === "allow" ? decision.rule.written : null,
  );
  if (decision.verdict === "deny") {
    reportDenied(context, tally, decision);
    return answer(
      session,
      blockedForward(endpoint, decision, answering),
      answering.keepAlive,
    );
  }
  if (
    request.scheme === "https" && context.dialer.upstreamOf(target) !== null
  ) {
    return sayFailure(session, tally, HTTPS_VIA_PROXY, answering);
  }
  const idle = takeIdle(session, idleKey(session, request.scheme, target));
  const stillGood = idle !== null &&
    (idle.dialled.via !== null ||
      checkResolved(context.policy, target, [idle.dialled.address], own) ===
        null);
  if (idle !== null && !stillGood) abort(idle.link);
  if (idle !== null && stillGood) {
    return exchange(session, request, target, tally, answering, {
      link: idle.link,
      dialled: idle.dialled,
      isReused: true,
    });
  }
  dialAndExchange(session, request, target, tally, answering);
}

const HTTPS_VIA_PROXY: DialFailure = {
  kind: "connect",
  errno: "EPROTO",
  detail: "https targets behind a proxy further up need CONNECT",
};

function dialAndExchange(
  session: Session,
  request: Forward,
  target: Target,
  tally: Tally,
  answering: AnswerContext,
): void {
  session.phase = { kind: "dialling" };
  dialOrigin(session.context, target, request.scheme).then((opened) => {
    if (session.isOver) {
      if (opened.ok) abort(opened.link);
      return reportDone(session.context, tally, CLIENT_GONE);
    }
    if (!opened.ok) {
      return sayFailure(session, tally, opened.failure, answering);
    }
    exchange(session, request, target, tally, answering, {
      link: opened.link,
      dialled: opened.dialled,
      isReused: false,
    });
  });
}

interface Origin {
  readonly link: Link;
  readonly dialled: Dialled;
  readonly isReused: boolean;
}

function exchange(
  session: Session,
  request: Forward,
  target: Target,
  tally: Tally,
  answering: AnswerContext,
  origin: Origin,
): void {
  const { context, client } = session;
  const { via } = origin.dialled;
  tally.address = describeAddress(origin.dialled);
  const head = via === null
    ? request.head
    : withAuthorization(request.headForProxy, via.authorization);
  const running = startExchange({
    context,
    client,
    upstream: origin.link,
    asking: { ...request, head },
    tally,
    onEnding: (ending) =>
      onEnding(session, request, target, tally, answering, origin, ending),
  });
  session.phase = { kind: "exchange", exchange: running };
  if (running.isRequestSent()) {
    release(origin.link);
    resumeIfRead(session);
  } else {
    // Before the body, which may pause the client again.
    resume(client);
    const body = session.input;
    session.input = null;
    takeBody(session, running, body ?? NO_BYTES);
  }
  if (client.isPeerDone) onClientEnd(session);
  if (origin.link.isClosed) origin.link.owner.onClose(false);
  else if (origin.link.isPeerDone) origin.link.owner.onEnd();
}

const NO_BYTES = Buffer.alloc(0);

function withAuthorization(head: string, authorization: string | null): string {
  return authorization === null
    ? head
    : `${head.slice(0, -2)}Proxy-Authorization: ${authorization}\r\n\r\n`;
}

function onEnding(
  session: Session,
  request: Forward,
  target: Target,
  tally: Tally,
  answering: AnswerContext,
  origin: Origin,
  ending: Ending,
): void {
  const { context, client } = session;
  switch (ending.kind) {
    case "done":
      reportDone(context, tally, null);
      keepOrClose(
        session,
        idleKey(session, request.scheme, target),
        origin,
        ending.isUpstreamFree,
      );
      if (ending.keepAlive) waitForNext(session);
      else leave(session);
      return;
    case "failed": {
      const mayRetry = origin.isReused && ending.isUntouched &&
        ending.failure === "failed" && request.framing.kind === "none" &&
        (request.method === "GET" || request.method === "HEAD");
      if (mayRetry) {
        dialAndExchange(session, request, target, tally, answering);
        return;
      }
      reportDone(context, tally, ending.detail);
      const text = upstreamFailed(ending.failure, ending.detail, {
        ...answering,
        keepAlive: false,
      });
      sayGoodbye(session, text);
      return;
    }
    case "refused":
      reportDone(context, tally, ending.detail);
      return sayGoodbye(
        session,
        badRequest({ status: 400, text: ending.detail }),
      );
    case "cut":
      reportDone(context, tally, ending.detail);
      abort(client);
      return;
    case "switched": {
      session.phase = { kind: "tunnel" };
      const early = session.input;
      session.input = null;
      handOver(session, origin.link, target, tally, {
        fromClient: early,
        fromUpstream: ending.early,
        serverNames: "unchecked",
      });
      return;
    }
  }
}

function idleKey(session: Session, scheme: Scheme, target: Target): string {
  const isVia = session.context.dialer.upstreamOf(target) !== null;
  return `${isVia ? "via " : ""}${scheme}://${formatEndpoint(target)}`;
}

function takeIdle(session: Session, key: string): IdleUpstream | null {
  const { idle } = session;
  if (idle === null) return null;
  if (idle.key !== key || idle.link.isClosed) {
    dropIdle(session);
    return null;
  }
  session.idle = null;
  return idle;
}

function keepOrClose(
  session: Session,
  key: string,
  origin: Origin,
  isFree: boolean,
): void {
  const { link, dialled } = origin;
  if (!isFree || link.isClosed || session.isOver) {
    link.owner = NO_OWNER;
    return closeLink(link);
  }
  const idle: IdleUpstream = { link, dialled, key };
  const drop = (): void => {
    if (session.idle === idle) session.idle = null;
    link.owner = NO_OWNER;
    abort(link);
  };
  // Bytes that nobody asked for, or its end: either way it serves nobody any more.
  link.owner = { onData: drop, onEnd: drop, onDrain: () => {}, onClose: drop };
  resume(link);
  dropIdle(session);
  session.idle = idle;
}
