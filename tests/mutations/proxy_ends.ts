/**
 * The protective steps of how the proxy's conversations go on and end: what waits goes out in order, nothing is sent twice or to the
 * wrong one, who breaks off is cut off on both sides, and nobody who has gone holds a place, a descriptor or a time limit.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const CLIENT = "src/egress/http_client.ts";
const SESSION = "src/egress/http_session.ts";
const FORWARD = "src/egress/http_forward.ts";
const EXCHANGE = "src/egress/exchange.ts";
const LINK = "src/egress/link.ts";
const PAIR = "src/egress/pair.ts";
const TUNNEL = "src/egress/tunnel.ts";
const SOCKS = "src/egress/socks_session.ts";
const OPENING = "src/egress/open_upstream.ts";
const PROXY = "src/egress/proxy.ts";
const LISTENER = "src/egress/listener.ts";
const RELAY = "src/egress/relay.ts";

const EDGES: Notice = ["egress/sessions_test.ts"];
const LINKS: Notice = ["egress/link_test.ts"];

const LINK_STEPS: readonly Defence[] = [
  pure(
    "what is sent while other bytes wait is not lost",
    LINK,
    `  } else keep(link, bytes);
  return false;`,
    `  }
  return false;`,
    LINKS,
  ),
  pure(
    "nothing is sent behind our end",
    LINK,
    `  if (link.isClosed || link.isEnding || bytes.length === 0) return true;`,
    `  if (link.isClosed || bytes.length === 0) return true;`,
    LINKS,
  ),
  pure(
    "our end does not overtake what waits",
    LINK,
    `  if (link.tail.length === 0) link.socket?.shutdown();`,
    `  link.socket?.shutdown();`,
    LINKS,
  ),
  pure(
    "our end follows what waited",
    LINK,
    `  if (link.isEnding) link.socket?.shutdown();\n`,
    ``,
    LINKS,
  ),
  pure(
    "a cut message ends by a reset",
    LINK,
    `  closed(link, false);
  socket?.terminate();`,
    `  closed(link, false);
  socket?.end();`,
    LINKS,
  ),
  pure(
    "an error of a socket ends its connection",
    LINK,
    `    abort(socket.data);`,
    `    void socket;`,
    LINKS,
  ),
  pure(
    "a connection that breaks is told from one that ends in order",
    LINK,
    `    closed(socket.data, error === undefined || error === null);`,
    `    closed(socket.data, error !== 0);`,
    LINKS,
  ),
  pure(
    "the end of a connection is told once",
    LINK,
    `  if (link.isClosed) return;
  link.isClosed = true;`,
    `  link.isClosed = true;`,
    LINKS,
  ),
  pure(
    "what was held back of a tunnel's client goes out before its end",
    PAIR,
    `    if (rest !== null) send(upstream, rest);\n`,
    ``,
    LINKS,
  ),
  ...(["client", "upstream"] as const).flatMap((side) => [
    pure(
      `a tunnel is not joined to a link that is gone: ${side}`,
      PAIR,
      `  if (${side}.isClosed) ${side}.owner.onClose(false);\n`,
      ``,
      LINKS,
    ),
    pure(
      `an end before a tunnel is seen by it: ${side}`,
      PAIR,
      `  if (${side}.isPeerDone) ${side}.owner.onEnd();\n`,
      ``,
      LINKS,
    ),
  ]),
  pure(
    "a tunnel is over when both of its links are gone",
    PAIR,
    `      if (--open === 0) pairing.onOver();`,
    `      if (--open === 1) pairing.onOver();`,
    LINKS,
  ),
];

const REQUEST_STEPS: readonly Defence[] = [
  pure(
    "a request with a body is not sent twice",
    FORWARD,
    `ending.failure === "failed" && request.framing.kind === "none" &&`,
    `ending.failure === "failed" &&`,
    EDGES,
  ),
  pure(
    "a request that the origin began to answer is not sent twice",
    FORWARD,
    `origin.isReused && ending.isUntouched &&`,
    `origin.isReused &&`,
    EDGES,
  ),
  pure(
    "a request that was waited for is not sent twice",
    FORWARD,
    `        ending.failure === "failed" && request.framing`,
    `        request.framing`,
    EDGES,
  ),
  pure(
    "a kept connection that ended serves nobody",
    FORWARD,
    `onData: drop, onEnd: drop,`,
    `onData: drop, onEnd: () => {},`,
    EDGES,
  ),
  pure(
    "a kept connection that may be used no longer is closed",
    FORWARD,
    `  if (idle !== null && !stillGood) abort(idle.link);\n`,
    ``,
    ["egress/dial_test.ts", "is judged anew"],
  ),
  pure(
    "half a body is cut off, also when its end came before the connection",
    FORWARD,
    `  if (client.isPeerDone) onClientEnd(session);\n`,
    ``,
    EDGES,
  ),
  pure(
    "a body without a length that breaks off is no whole one",
    EXCHANGE,
    `      how === "clean" && state !== null &&`,
    `      state !== null &&`,
    EDGES,
  ),
  pure(
    "an origin that has not had the whole request serves no other",
    EXCHANGE,
    `isUpstreamFree: state.isReusable && isQuiet && request.done,`,
    `isUpstreamFree: state.isReusable && isQuiet,`,
    EDGES,
  ),
  pure(
    "an origin that closes serves no other request",
    EXCHANGE,
    `isUpstreamFree: state.isReusable && isQuiet && request.done,`,
    `isUpstreamFree: isQuiet && request.done,`,
    EDGES,
  ),
  pure(
    "an origin that has ended serves no other request",
    EXCHANGE,
    `used.value === bytes.length && !upstream.isPeerDone;`,
    `used.value === bytes.length;`,
    EDGES,
  ),
  pure(
    "a client of HTTP/1.0 gets no interim response",
    EXCHANGE,
    `      if (asking.version === 1) sendText(client, rewriteInterim(head));`,
    `      sendText(client, rewriteInterim(head));`,
    EDGES,
  ),
  pure(
    "an origin whose head is malformed is left at once",
    EXCHANGE,
    `      if (!found.ok) return fall("failed", "a malformed response");\n`,
    `      if (!found.ok) return;\n`,
    EDGES,
  ),
  pure(
    "an origin whose fields are malformed is left at once",
    EXCHANGE,
    `      if (!head.ok) return fall("failed", "a malformed response");\n`,
    `      if (!head.ok) return;\n`,
    EDGES,
  ),
  pure(
    "an origin whose body is malformed is left at once",
    EXCHANGE,
    '    if (!used.ok) return fall("failed", `a malformed response: ${used.error}`);\n',
    `    if (!used.ok) return;\n`,
    EDGES,
  ),
  pure(
    "an origin that failed is reset",
    EXCHANGE,
    `        : { kind: "cut", detail },
    );
    abort(upstream);`,
    `        : { kind: "cut", detail },
    );`,
    EDGES,
  ),
  pure(
    "an origin whose client sends a malformed body is reset",
    EXCHANGE,
    `"refused" : "cut", detail: fault });
      abort(upstream);`,
    `"refused" : "cut", detail: fault });`,
    EDGES,
  ),
  pure(
    "an exchange that is over leaves no time limit behind",
    EXCHANGE,
    `    isOver = true;
    context.timed.delete(timed);`,
    `    isOver = true;`,
    EDGES,
  ),
  pure(
    "a client that breaks off takes the origin's connection with it",
    SESSION,
    `      if (session.phase.kind === "exchange") session.phase.exchange.cancel();\n`,
    ``,
    EDGES,
  ),
  pure(
    "an attribution frame gets no byte",
    SESSION,
    `        if (bytes[0] === 0 && session.isFirst) {`,
    `        if (false) {`,
    EDGES,
  ),
  pure(
    "a client that was gone before it was served holds no place, over HTTP",
    SESSION,
    `  if (client.isClosed) over(session);\n  else `,
    `  `,
    EDGES,
  ),
  pure(
    "a client that has said all and was answered holds no place",
    SESSION,
    `  if (session.phase.kind === "head" && session.client.isPeerDone) {`,
    `  if (false) {`,
    EDGES,
  ),
  pure(
    "a session that is over leaves no time limit behind",
    CLIENT,
    `  session.context.timed.delete(session.timed);
  session.input = null;`,
    `  session.input = null;`,
    EDGES,
  ),
  pure(
    "a client is read on while it has its good-bye",
    CLIENT,
    `  finish(client);
  resume(client);`,
    `  finish(client);`,
    EDGES,
  ),
  pure(
    "an answer that ends the connection says so",
    CLIENT,
    `  const last: AnswerContext = { ...answering, keepAlive: false };`,
    `  const last: AnswerContext = answering;`,
    EDGES,
  ),
];

const TUNNEL_STEPS: readonly Defence[] = [
  pure(
    "a ClientHello that came with the request is judged as well",
    TUNNEL,
    `  if (parts.fromClient !== null) client.owner.onData(parts.fromClient);`,
    `  if (parts.fromClient !== null) upstream.socket?.write(parts.fromClient);`,
    EDGES,
  ),
  pure(
    "a ClientHello that comes drop by drop has one time limit",
    TUNNEL,
    `    if (before.length === 0) helloAt = lastByteAt;`,
    `    helloAt = lastByteAt;`,
    EDGES,
  ),
  pure(
    "a tunnel that is not allowed is reset",
    TUNNEL,
    `    abort(client); // which resets the other one as well\n`,
    ``,
    EDGES,
  ),
  pure(
    "a server name that is not allowed is told like every refusal",
    TUNNEL,
    `  reportDenied(context, tally, decision);
  return name;`,
    `  return name;`,
    EDGES,
  ),
  pure(
    "a tunnel that is over leaves no time limit behind",
    TUNNEL,
    `      context.timed.delete(timed);
      reportDone(context, tally, failure);`,
    `      reportDone(context, tally, failure);`,
    EDGES,
  ),
  pure(
    "a SOCKS client that was refused asks nothing more",
    SOCKS,
    `    phase = "closing";
    timed.expiresAt = performance.now() + context.limits.lingerMs;
    send`,
    `    timed.expiresAt = performance.now() + context.limits.lingerMs;
    send`,
    EDGES,
  ),
  pure(
    "a SOCKS client that wants to log in asks nothing more",
    SOCKS,
    `        phase = "closing";
        timed`,
    `        timed`,
    EDGES,
  ),
  pure(
    "a SOCKS client whose addresses are refused is told like every refusal",
    SOCKS,
    `          reportDenied(context, tally, dialled.error.denial);\n`,
    ``,
    EDGES,
  ),
  pure(
    "a SOCKS client is told of no connection that is not there",
    SOCKS,
    `      if (!isAdopted) {`,
    `      if (false) {`,
    EDGES,
  ),
  pure(
    "a SOCKS client that ends before it has asked holds no place",
    SOCKS,
    `      if (phase !== "dialling") closeLink(client);`,
    `      void phase;`,
    EDGES,
  ),
  pure(
    "a client that was gone before it was served holds no place, over SOCKS",
    SOCKS,
    `  if (client.isClosed) over();`,
    ``,
    EDGES,
  ),
  pure(
    "a SOCKS session that is over leaves no time limit behind",
    SOCKS,
    `    isOver = true;
    context.timed.delete(timed);`,
    `    isOver = true;`,
    EDGES,
  ),
  pure(
    "nothing is asked on a connection that is not there",
    OPENING,
    `  if (!await adopt(dialled.value.fd, link)) {`,
    `  await adopt(dialled.value.fd, link);
  if (false) {`,
    EDGES,
  ),
  pure(
    "a proxy further up that refuses opens no tunnel",
    OPENING,
    `      if (head.value.status >= 300) {`,
    `      if (false) {`,
    EDGES,
  ),
  pure(
    "an interim answer of a proxy further up opens no tunnel",
    OPENING,
    `      if (head.value.status < 200) {`,
    `      if (false) {`,
    EDGES,
  ),
  pure(
    "a proxy further up that opens no tunnel is closed",
    OPENING,
    `      if (opened.ok) pause(link);
      else abort(link);`,
    `      if (opened.ok) pause(link);`,
    EDGES,
  ),
  pure(
    "a proxy further up that speaks something else is left at once",
    OPENING,
    `        return end(failed("EPROTO", "the proxy further up speaks no HTTP/1"));`,
    `        return;`,
    EDGES,
  ),
  pure(
    "a proxy further up that ends is left at once",
    OPENING,
    `      onEnd: gone,\n`,
    ``,
    EDGES,
  ),
  pure(
    "a proxy further up that breaks is left at once",
    OPENING,
    `      onClose: gone,\n`,
    ``,
    EDGES,
  ),
  pure(
    "what was asked of a proxy further up leaves no time limit behind",
    OPENING,
    `      context.timed.delete(timed);\n`,
    ``,
    EDGES,
  ),
];

const PLACE_STEPS: readonly Defence[] = [
  pure(
    "a closed proxy looks at no time limit",
    PROXY,
    `      clearInterval(clock);\n`,
    ``,
    ["egress/limits_test.ts", "looks at no time limit"],
  ),
  pure(
    "a closed listener keeps no socket",
    LISTENER,
    `      if (kept.ok) close(kept.value);\n`,
    ``,
    ["egress/endurance_test.ts", "closing the proxy ends"],
  ),
  pure(
    "a client of a caller's proxy that is gone holds no place",
    RELAY,
    `    abort(client);
    return onOver();`,
    `    abort(client);
    return;`,
    ["egress/relay_test.ts", "is a reset"],
  ),
  pure(
    "a client of a caller's proxy that is gone is reset",
    RELAY,
    `    abort(client);
    return onOver();`,
    `    return onOver();`,
    ["egress/relay_test.ts", "is a reset"],
  ),
  pure(
    "without the log that was asked for nothing runs",
    "src/egress/service.ts",
    `    if (!opened.ok) {`,
    `    if (false) {`,
    ["egress/service_test.ts", "can't be opened"],
  ),
  pure(
    "a closed relay resets whom it serves",
    RELAY,
    `      for (const link of [...open]) abort(link);\n`,
    ``,
    ["egress/relay_test.ts", "resets who is served"],
  ),
  pure(
    "a closed relay listens no longer",
    RELAY,
    `      for (const listener of listeners) listener.close();\n`,
    ``,
    ["egress/relay_test.ts", "is a reset"],
  ),
  pure(
    "an origin that does not answer a TLS handshake is closed",
    LINK,
    `      if (failure !== null) abort(link);\n`,
    ``,
    ["egress/limits_test.ts", "TLS handshake is given up"],
  ),
];

export const PROXY_ENDS: readonly Defence[] = [
  ...LINK_STEPS,
  ...REQUEST_STEPS,
  ...TUNNEL_STEPS,
  ...PLACE_STEPS,
];
