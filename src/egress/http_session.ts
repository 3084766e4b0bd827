/**
 * One client of the HTTP listener: its requests in order, on one connection.
 *
 * At any moment it waits for a head, dials, exchanges, tunnels, or says good-bye. One idle connection to an origin is kept for it and
 * for it alone.
 *
 * @module
 */
import {
  type AnswerContext,
  badRequest,
  blockedForward,
  blockedTunnel,
  blockedUnixSocket,
  headTimedOut,
  noUnixSockets,
  tunnelOpen,
  upstreamFailed,
  type UpstreamFailure,
} from "./answers.ts";
import {
  newTally,
  type ProxyContext,
  reportDenied,
  reportDone,
  type Tally,
  type Timed,
} from "./context.ts";
import { describeAddress, type DialFailure, type Dialled } from "./dial.ts";
import { type Ending, type Exchange, startExchange } from "./exchange.ts";
import { type ProxyRequest, readProxyRequest, type Scheme } from "./http.ts";
import {
  findHeadEnd,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
} from "./http_head.ts";
import {
  abort,
  adopt,
  adoptTls,
  closeLink,
  finish,
  gather,
  type Link,
  newLink,
  NO_OWNER,
  pause,
  release,
  resume,
  sendText,
} from "./link.ts";
import { checkResolved, decide, type Target } from "../policy/network.ts";
import { type Endpoint, formatEndpoint, formatHost } from "../policy/host.ts";
import { joinTunnel } from "./tunnel.ts";
import type { UpstreamProxy } from "./upstream.ts";

type Forward = Extract<ProxyRequest, { kind: "forward" }>;

/** A connection to an origin that has answered and is free. */
interface IdleUpstream {
  readonly link: Link;
  readonly dialled: Dialled;
  /** Scheme, `host:port`, and whether it goes through a proxy further up. */
  readonly key: string;
}

type Phase =
  | { readonly kind: "head" }
  | { readonly kind: "dialling" }
  | { readonly kind: "exchange"; readonly exchange: Exchange }
  | { readonly kind: "tunnel" }
  | { readonly kind: "closing" };

interface Session {
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
  readonly onOver: () => void;
  isOver: boolean;
}

/** Unread bytes beyond which the client is paused: pipelined requests, or a body before its connection. */
const MAX_UNREAD_BYTES = 65_536;

const NO_BYTES = Buffer.alloc(0);

const CLIENT_GONE = "the client went away";

/** Serves a client until its connection ends. @param onOver called once */
export function serveHttp(
  context: ProxyContext,
  client: Link,
  onOver: () => void,
): void {
  const session: Session = {
    context,
    client,
    timed: {
      expiresAt: performance.now() + context.limits.headMs,
      onExpire: () => onExpire(session),
    },
    phase: { kind: "head" },
    input: null,
    scanned: 0,
    idle: null,
    isFirst: true,
    onOver,
    isOver: false,
  };
  context.timed.add(session.timed);
  own(session);
  if (client.isClosed) over(session);
  else if (client.isPeerDone) onClientEnd(session);
}

/** Makes the session the client's owner. */
function own(session: Session): void {
  session.client.owner = {
    onData: (bytes) => onClientData(session, bytes),
    onEnd: () => onClientEnd(session),
    onDrain(): void {
      if (session.phase.kind === "exchange") {
        session.phase.exchange.onClientDrain();
      } else if (session.phase.kind === "closing") {
        session.timed.expiresAt = performance.now() +
          session.context.limits.lingerMs;
      }
    },
    onClose(): void {
      if (session.phase.kind === "exchange") session.phase.exchange.cancel();
      over(session);
    },
  };
}

function over(session: Session): void {
  if (session.isOver) return;
  session.isOver = true;
  session.phase = { kind: "closing" };
  session.context.timed.delete(session.timed);
  session.input = null;
  dropIdle(session);
  session.onOver();
}

function onExpire(session: Session): void {
  const { client, phase } = session;
  if (phase.kind === "closing") return closeLink(client);
  if (phase.kind !== "head") return;
  // Half a request gets an answer, silence does not; a slow reader gets what it was promised.
  if (session.input !== null) sayGoodbye(session, headTimedOut());
  else if (client.tail.length > 0) leave(session);
  else closeLink(client);
}

function onClientData(session: Session, bytes: Buffer): void {
  switch (session.phase.kind) {
    case "head":
      if (session.input === null) {
        if (bytes[0] === 0 && session.isFirst) {
          // An attribution frame: no token was ever given out.
          closeLink(session.client);
          return;
        }
        if (!session.isFirst) {
          session.timed.expiresAt = performance.now() +
            session.context.limits.headMs;
        }
      }
      keepInput(session, bytes);
      readRequests(session);
      return;
    case "exchange":
      takeBody(session, session.phase.exchange, bytes);
      return;
    case "dialling":
    case "tunnel":
      keepInput(session, bytes);
      return;
    case "closing":
      return;
  }
}

function keepInput(session: Session, bytes: Buffer): void {
  session.input = session.input === null
    ? bytes
    : Buffer.concat([session.input, bytes]);
  if (
    session.phase.kind !== "head" && session.input.length > MAX_UNREAD_BYTES
  ) {
    pause(session.client);
  }
}

function takeBody(session: Session, exchange: Exchange, bytes: Buffer): void {
  if (exchange.isRequestSent()) return keepInput(session, bytes);
  const taken = exchange.takeBody(bytes);
  if ("fault" in taken) {
    exchange.cancel();
    abort(session.client);
  } else if (taken.rest !== null) keepInput(session, taken.rest);
}

function onClientEnd(session: Session): void {
  const { phase } = session;
  if (phase.kind === "head") leave(session);
  else if (phase.kind === "closing") {
    if (session.client.tail.length === 0) closeLink(session.client);
  } else if (phase.kind === "exchange" && !phase.exchange.isRequestSent()) {
    // Half a body: the origin must not take it for a whole one.
    phase.exchange.cancel();
    abort(session.client);
  }
}

/** Reads requests from the input until one has to be waited for. */
function readRequests(session: Session): void {
  while (session.phase.kind === "head" && session.input !== null) {
    const input = withoutBlankLine(session.input);
    if (input === null) break;
    session.input = input;
    const found = findHeadEnd(input, session.scanned);
    if (!found.ok) return sayGoodbye(session, badRequest(found.error));
    if (found.value === null) {
      session.scanned = input.length;
      break;
    }
    const text = input.toString("latin1", 0, found.value);
    session.input = found.value < input.length
      ? input.subarray(found.value)
      : null;
    session.scanned = 0;
    session.isFirst = false;
    session.timed.expiresAt = Infinity;
    const head = parseRequestHead(text);
    if (!head.ok) return sayGoodbye(session, badRequest(head.error));
    const request = readProxyRequest(head.value);
    if (!request.ok) return sayGoodbye(session, badRequest(request.error));
    serveRequest(session, head.value, request.value);
  }
  if (session.phase.kind === "head" && session.client.isPeerDone) {
    leave(session);
  }
}

/** A blank line before a request is forgiven once (RFC 9112 §2.2). @returns `null` while it can't be told */
function withoutBlankLine(input: Buffer): Buffer | null {
  if (input[0] !== 13) return input;
  if (input.length < 2) return null;
  return input[1] === 10 ? input.subarray(2) : input;
}

function serveRequest(
  session: Session,
  head: RequestHead,
  request: ProxyRequest,
): void {
  switch (request.kind) {
    case "unix_socket": {
      const context: AnswerContext = {
        version: head.version,
        keepAlive: false,
      };
      const isLimited = session.context.policy.mode === "limited" &&
        !["GET", "HEAD", "OPTIONS"].includes(head.method);
      return sayGoodbye(
        session,
        isLimited ? blockedUnixSocket(context) : noUnixSockets(context),
      );
    }
    case "tunnel":
      return serveTunnel(session, head, request.endpoint);
    case "forward":
      return serveForward(session, request);
  }
}

// ---- CONNECT

function serveTunnel(
  session: Session,
  head: RequestHead,
  endpoint: Endpoint,
): void {
  const { context } = session;
  const answering: AnswerContext = { version: head.version, keepAlive: false };
  const target: Target = { ...endpoint, protocol: "connect" };
  const decision = decide(
    context.policy,
    target,
    context.dialer.ownAddresses(),
  );
  const tally = newTally(
    "connect",
    endpoint,
    "CONNECT",
    decision.verdict === "allow" ? decision.rule.written : null,
  );
  if (decision.verdict === "deny") {
    reportDenied(context, tally, decision);
    return sayGoodbye(session, blockedTunnel(decision, answering));
  }
  session.phase = { kind: "dialling" };
  openTunnel(session, target, tally).then((opened) => {
    if (session.isOver) {
      if (opened.ok) abort(opened.link);
      return reportDone(context, tally, CLIENT_GONE);
    }
    if (!opened.ok) {
      return sayFailure(session, tally, opened.failure, answering);
    }
    session.phase = { kind: "tunnel" };
    const early = session.input;
    session.input = null;
    sendText(
      session.client,
      tunnelOpen(head.version, new Date().toUTCString()),
    );
    handOver(session, opened.link, target, tally, {
      fromClient: early,
      fromUpstream: opened.early,
      serverNames: "checked",
    });
  });
}

/** From here on the tunnel owns both links, and the session is over with it. */
function handOver(
  session: Session,
  upstream: Link,
  target: Target,
  tally: Tally,
  early: {
    readonly fromClient: Buffer | null;
    readonly fromUpstream: Buffer | null;
    readonly serverNames: "checked" | "unchecked";
  },
): void {
  session.context.timed.delete(session.timed);
  joinTunnel({
    context: session.context,
    client: session.client,
    upstream,
    target,
    tally,
    ...early,
    onOver: () => over(session),
  });
}

type Opened =
  | { readonly ok: true; readonly link: Link; readonly early: Buffer | null }
  | { readonly ok: false; readonly failure: DialFailure };

/** Dials and, behind a proxy further up, asks that one for a tunnel. */
async function openTunnel(
  session: Session,
  target: Target,
  tally: Tally,
): Promise<Opened> {
  const { context } = session;
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

function failed(errno: string, detail: string): Opened {
  return { ok: false, failure: { kind: "connect", errno, detail } };
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

// ---- forwarding

function serveForward(session: Session, request: Forward): void {
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

const HTTPS_VIA_PROXY: DialFailure = {
  kind: "connect",
  errno: "EPROTO",
  detail: "https targets behind a proxy further up need CONNECT",
};

async function dialOrigin(
  context: ProxyContext,
  target: Target,
  scheme: Scheme,
): Promise<
  | { readonly ok: true; readonly link: Link; readonly dialled: Dialled }
  | { readonly ok: false; readonly failure: DialFailure }
> {
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
  // Before the body, which may pause the client again.
  resume(client);
  if (running.isRequestSent()) release(origin.link);
  else {
    const body = session.input;
    session.input = null;
    takeBody(session, running, body ?? NO_BYTES);
  }
  if (client.isPeerDone) onClientEnd(session);
  if (origin.link.isClosed) origin.link.owner.onClose(false);
  else if (origin.link.isPeerDone) origin.link.owner.onEnd();
}

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
      if (mayRetry && !client.isClosed) {
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

function dropIdle(session: Session): void {
  const { idle } = session;
  if (idle === null) return;
  session.idle = null;
  idle.link.owner = NO_OWNER;
  closeLink(idle.link);
}

// ---- answers and ends

function waitForNext(session: Session): void {
  session.phase = { kind: "head" };
  session.timed.expiresAt = performance.now() +
    (session.input === null
      ? session.context.limits.keepAliveMs
      : session.context.limits.headMs);
  resume(session.client);
  // Not from within the exchange that is just ending: pipelined requests would nest.
  if (session.input !== null || session.client.isPeerDone) {
    queueMicrotask(() => {
      if (!session.isOver) readRequests(session);
    });
  }
}

function answer(session: Session, text: string, keepAlive: boolean): void {
  if (!keepAlive) return sayGoodbye(session, text);
  sendText(session.client, text);
  session.timed.expiresAt = performance.now() +
    session.context.limits.keepAliveMs;
}

function sayFailure(
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
function sayGoodbye(session: Session, text: string): void {
  gather(session.client);
  sendText(session.client, text);
  release(session.client);
  leave(session);
}

/**
 * Ends our direction and reads on for a while: closing with unread bytes would send a reset, which may overtake the answer.
 */
function leave(session: Session): void {
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
