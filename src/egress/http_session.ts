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
  blockedUnixSocket,
  headTimedOut,
  noUnixSockets,
} from "./answers.ts";
import {
  type ProxyContext,
  reportUnservable,
  type Unservable,
} from "./context.ts";
import { type ProxyRequest, readProxyRequest } from "./http.ts";
import {
  keepInput,
  leave,
  onClientEnd,
  over,
  sayGoodbye,
  type Session,
  takeBody,
  waitForNext,
} from "./http_client.ts";
import { serveForward } from "./http_forward.ts";
import {
  findHeadEnd,
  type HeadFault,
  parseRequestHead,
  type RequestHead,
} from "./http_head.ts";
import { serveTunnel } from "./http_tunnel.ts";
import { closeLink, type Link } from "./link.ts";
import { READ_METHODS } from "../policy/network.ts";

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
    readOn: () => readRequests(session),
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
      } else if (session.phase.kind === "head") {
        if (session.client.isPaused) waitForNext(session);
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

function onExpire(session: Session): void {
  const { client, phase } = session;
  if (phase.kind === "closing") return closeLink(client);
  if (phase.kind !== "head") return;
  // A slow reader gets what it was promised; half a request gets an answer, silence does not.
  if (client.tail.length > 0) leave(session);
  else if (session.input !== null) {
    reportBad(session, null, "malformed", "its head did not come in time");
    sayGoodbye(session, headTimedOut());
  } else closeLink(client);
}

/** Reports what names nothing that the policy could be asked about. */
function reportBad(
  session: Session,
  head: RequestHead | null,
  reason: Unservable["reason"],
  detail: string,
): void {
  const method = head?.method ?? null;
  reportUnservable(session.context, {
    protocol: method === "CONNECT" ? "connect" : "http",
    endpoint: null,
    method,
    reason,
    detail,
  });
}

function refuseMalformed(
  session: Session,
  head: RequestHead | null,
  fault: HeadFault,
): void {
  const detail = fault.text === "" ? "it is no HTTP/1.x" : fault.text;
  reportBad(session, head, "malformed", detail);
  sayGoodbye(session, badRequest(fault));
}

function onClientData(session: Session, bytes: Buffer): void {
  switch (session.phase.kind) {
    case "head":
      if (session.input === null) {
        if (bytes[0] === 0 && session.isFirst) {
          // An attribution frame: no token was ever given out.
          reportBad(session, null, "malformed", "it is no HTTP/1.x");
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

/** Reads requests from the input until one has to be waited for, or the client has not read its last answer. */
function readRequests(session: Session): void {
  while (session.phase.kind === "head" && session.input !== null) {
    if (session.client.tail.length > 0) return;
    const input = withoutBlankLine(session.input);
    if (input === null) break;
    session.input = input;
    const found = findHeadEnd(input, session.scanned);
    if (!found.ok) return refuseMalformed(session, null, found.error);
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
    if (!head.ok) return refuseMalformed(session, null, head.error);
    const request = readProxyRequest(head.value);
    if (!request.ok) {
      return refuseMalformed(session, head.value, request.error);
    }
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
        !READ_METHODS.includes(head.method);
      reportBad(
        session,
        head,
        "not_supported",
        "unix sockets (x-unix-socket) are not supported",
      );
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
