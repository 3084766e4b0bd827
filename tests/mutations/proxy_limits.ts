/**
 * The protective steps of a proxied run that bound what a client costs: how long it is waited for, how much of it is held, how many
 * are served.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const CLIENT = "src/egress/http_client.ts";
const SESSION = "src/egress/http_session.ts";
const FORWARD = "src/egress/http_forward.ts";
const TUNNELS = "src/egress/http_tunnel.ts";
const SOCKS_SESSION = "src/egress/socks_session.ts";
const UPSTREAM_LINKS = "src/egress/open_upstream.ts";
const EXCHANGE = "src/egress/exchange.ts";
const TUNNEL = "src/egress/tunnel.ts";
const LINK = "src/egress/link.ts";
const PAIR = "src/egress/pair.ts";
const PROXY = "src/egress/proxy.ts";
const RELAY = "src/egress/relay.ts";
const CONNECT = "src/sys/connect.ts";

const LIMITS: Notice = ["egress/limits_test.ts"];
const LASTS: Notice = ["egress/endurance_test.ts"];
const PROXIED: Notice = ["egress/proxy_test.ts"];
const RELAYED: Notice = ["egress/relay_test.ts"];
const DIALS: Notice = ["egress/dial_test.ts"];

const TIME_STEPS: readonly Defence[] = [
  pure(
    "a head has a time limit",
    SESSION,
    `      expiresAt: performance.now() + context.limits.headMs,
      onExpire: () => onExpire(session),`,
    `      expiresAt: Infinity,
      onExpire: () => onExpire(session),`,
    LASTS,
  ),
  pure(
    "a SOCKS request has a time limit",
    SOCKS_SESSION,
    `    expiresAt: performance.now() + context.limits.headMs,
    onExpire`,
    `    expiresAt: Infinity,
    onExpire`,
    LASTS,
  ),
  pure(
    "an origin's answer has a time limit",
    EXCHANGE,
    `    expiresAt: lastByteAt + context.limits.responseMs,`,
    `    expiresAt: Infinity,`,
    LASTS,
  ),
  pure(
    "an idle tunnel has a time limit",
    TUNNEL,
    `    expiresAt: lastByteAt + tunnelIdleMs,`,
    `    expiresAt: Infinity,`,
    LASTS,
  ),
  pure(
    "half a hello has a time limit",
    TUNNEL,
    `        hello = whole;
        timed.expiresAt = helloAt + headMs;`,
    `        hello = whole;
        timed.expiresAt = Infinity;`,
    ["egress/tls_hello_test.ts"],
  ),
  pure(
    "a later head has a time limit",
    SESSION,
    `        if (!session.isFirst) {`,
    `        if (false) {`,
    LIMITS,
  ),
  pure(
    "half a head behind a request has a time limit",
    CLIENT,
    `  return input === null ? keepAliveMs : headMs;`,
    `  return input === null ? keepAliveMs : Infinity;`,
    LIMITS,
  ),
  pure(
    "a connection between two requests has a time limit",
    CLIENT,
    `  return input === null ? keepAliveMs : headMs;`,
    `  return input === null ? Infinity : headMs;`,
    LIMITS,
  ),
  pure(
    "an answer that nobody reads has a time limit",
    CLIENT,
    `  if (client.tail.length > 0) return responseMs;`,
    `  if (client.tail.length > 0) return Infinity;`,
    LIMITS,
  ),
  pure(
    "a last answer that nobody reads has a time limit",
    CLIENT,
    `      ? session.context.limits.responseMs
      : session.context.limits.lingerMs);`,
    `      ? Infinity
      : session.context.limits.lingerMs);`,
    LIMITS,
  ),
  pure(
    "a good-bye has a time limit",
    CLIENT,
    `      ? session.context.limits.responseMs
      : session.context.limits.lingerMs);`,
    `      ? session.context.limits.responseMs
      : Infinity);`,
    LIMITS,
  ),
  pure(
    "a good-bye that waited for its reader has a time limit",
    SESSION,
    `        session.timed.expiresAt = performance.now() +
          session.context.limits.lingerMs;`,
    `        session.timed.expiresAt = Infinity;`,
    LIMITS,
  ),
  pure(
    "a client that stays after its good-bye is closed",
    SESSION,
    `  if (phase.kind === "closing") return closeLink(client);`,
    `  if (phase.kind === "closing") return;`,
    LIMITS,
  ),
  pure(
    "a refused SOCKS client's good-bye has a time limit",
    SOCKS_SESSION,
    `    timed.expiresAt = performance.now() + context.limits.lingerMs;
    send(client, socksReply(code));`,
    `    timed.expiresAt = Infinity;
    send(client, socksReply(code));`,
    LIMITS,
  ),
  pure(
    "the good-bye to a SOCKS client that wants to log in has a time limit",
    SOCKS_SESSION,
    `        timed.expiresAt = performance.now() + context.limits.lingerMs;
        return finish(client);`,
    `        timed.expiresAt = Infinity;
        return finish(client);`,
    LIMITS,
  ),
  pure(
    "a proxy further up has a time limit to answer CONNECT",
    UPSTREAM_LINKS,
    `      expiresAt: performance.now() + context.limits.headMs,`,
    `      expiresAt: Infinity,`,
    LIMITS,
  ),
  pure(
    "a TLS handshake has a time limit",
    LINK,
    `setTimeout(() => end("no TLS handshake in time"), timeoutMs);`,
    `setTimeout(() => end("no TLS handshake in time"), 1e9);`,
    LIMITS,
  ),
  pure(
    "time limits are looked at",
    PROXY,
    `const clock = setInterval(() => sweep(context.timed), period);`,
    `const clock = setInterval(() => {}, period);`,
    LASTS,
  ),
  pure(
    "a connect has a time limit",
    CONNECT,
    `    else if (now >= connect.expiresAt) {`,
    `    else if (false) {`,
    DIALS,
    ["sys/connect_test.ts"],
  ),
  pure(
    "a connect that is no longer wanted is given up",
    CONNECT,
    `    if (connect.cancel.cancelled) {`,
    `    if (false) {`,
    DIALS,
    ["sys/connect_test.ts"],
  ),
];

const ROOM_STEPS: readonly Defence[] = [
  pure(
    "clients beyond the limit wait",
    PROXY,
    `    if (served.size < limits.connections) return begin(link, serve);`,
    `    return begin(link, serve);`,
    LASTS,
  ),
  pure(
    "clients beyond those that wait are left in the kernel's queue",
    PROXY,
    `    if (waiting.length < MAX_WAITING) return;`,
    `    return;`,
    PROXIED,
  ),
  pure(
    "a closed proxy resets what it serves",
    PROXY,
    `      for (const link of [...served]) abort(link);\n`,
    ``,
    LASTS,
  ),
  pure(
    "an origin is held back by a reader that stops",
    EXCHANGE,
    `      if (!isOver && !release(client)) pause(upstream);`,
    `      if (!isOver) release(client);`,
    LIMITS,
  ),
  pure(
    "clients of a caller's proxy beyond the limit wait",
    RELAY,
    `      for (const listener of listeners) listener.pause();`,
    ``,
    RELAYED,
  ),
  pure(
    "an attribution frame goes before a client's bytes",
    RELAY,
    `  if (parts.preface !== null) send(upstream, parts.preface);\n`,
    ``,
    RELAYED,
  ),
  pure(
    "a client that does not read its answers is asked nothing more: refusals",
    SESSION,
    `    if (session.client.tail.length > 0) return;\n`,
    ``,
    LIMITS,
  ),
  pure(
    "a client that does not read its answers is not read",
    CLIENT,
    `  const isAhead = client.tail.length > 0 ||
    `,
    `  const isAhead = `,
    LIMITS,
  ),
  pure(
    "a client whose requests pile up is not read",
    CLIENT,
    `    (input?.length ?? 0) > MAX_UNREAD_BYTES;`,
    `    false;`,
    LIMITS,
  ),
  pure(
    "a client whose requests pile up is not read between two of them",
    CLIENT,
    `  session.timed.expiresAt = performance.now() + waitMs(session);
  resumeIfRead(session);
  // Not`,
    `  session.timed.expiresAt = performance.now() + waitMs(session);
  resume(session.client);
  // Not`,
    LIMITS,
  ),
  pure(
    "a client whose requests pile up is not read during one of them",
    FORWARD,
    `    release(origin.link);
    resumeIfRead(session);`,
    `    release(origin.link);
    resume(client);`,
    LIMITS,
  ),
  pure(
    "what a client sends before its connection stands is bounded, over HTTP",
    CLIENT,
    `    session.phase.kind !== "head" && session.input.length > MAX_UNREAD_BYTES`,
    `    false`,
    LIMITS,
  ),
  pure(
    "what a client sends before its connection stands is bounded, over SOCKS",
    SOCKS_SESSION,
    `      else if (input.length > MAX_EARLY_BYTES) pause(client);`,
    ``,
    LIMITS,
  ),
  pure(
    "a client that uploads is held back by an origin that stops",
    EXCHANGE,
    `      if (!release(upstream)) pause(client);`,
    `      release(upstream);`,
    LIMITS,
  ),
  pure(
    "a tunnel's client is held back by an origin that stops",
    PAIR,
    `    if (passed !== null && !send(upstream, passed)) pause(client);`,
    `    if (passed !== null) send(upstream, passed);`,
    LIMITS,
  ),
  pure(
    "a tunnel's origin is held back by a client that stops",
    PAIR,
    `    if (!send(client, bytes)) pause(upstream);`,
    `    send(client, bytes);`,
    LIMITS,
  ),
  pure(
    "a client of a caller's proxy is not read before it is connected",
    RELAY,
    `  pause(client);
  const dialled`,
    `  const dialled`,
    RELAYED,
  ),
  ...[
    [
      "CONNECT",
      TUNNELS,
      `      if (opened.ok) abort(opened.link);\n`,
    ],
    [
      "a forwarded request",
      FORWARD,
      `      if (opened.ok) abort(opened.link);\n`,
    ],
    [
      "SOCKS",
      SOCKS_SESSION,
      `        abort(upstream);\n        return reportDone`,
    ],
  ].map(([what = "", file = "", text = ""]) =>
    pure(
      `a connection for a client that has gone is closed: ${what}`,
      file,
      text,
      text.replace("abort(opened.link)", "void 0").replace(
        "abort(upstream)",
        "void 0",
      ),
      LIMITS,
    )
  ),
  pure(
    "an origin's idle connection ends with its client",
    CLIENT,
    `  session.input = null;
  dropIdle(session);
  session.onOver();`,
    `  session.input = null;
  session.onOver();`,
    LIMITS,
    LASTS,
    PROXIED,
  ),
  pure(
    "the connection of a request that is broken off is closed",
    EXCHANGE,
    `      end({ kind: "cut", detail: "the client went away" });
      abort(upstream);`,
    `      end({ kind: "cut", detail: "the client went away" });`,
    LIMITS,
    LASTS,
    PROXIED,
  ),
  pure(
    "both sides of a tunnel are closed when one breaks",
    PAIR,
    `      } else abort(to);`,
    `      }`,
    LIMITS,
    LASTS,
    PROXIED,
  ),
  pure(
    "a closed proxy resets who waits",
    PROXY,
    `      for (const { link } of waiting.splice(0)) abort(link);\n`,
    ``,
    LIMITS,
  ),
  pure(
    "a closed proxy listens no longer",
    PROXY,
    `      for (const listener of listeners) listener.close();\n`,
    ``,
    LASTS,
  ),
  pure(
    "each client costs two descriptors",
    "src/egress/service.ts",
    `          connections: Math.min(limits.connections, clientsOf(files)),`,
    `          connections: limits.connections,`,
    ["egress/service_test.ts"],
  ),
  pure(
    "each client of a caller's proxy costs two descriptors",
    "src/egress/service.ts",
    `        connections: clientsOf(files),`,
    `        connections: 4_096,`,
    ["egress/service_test.ts"],
  ),
];

export const PROXY_LIMITS: readonly Defence[] = [
  ...TIME_STEPS,
  ...ROOM_STEPS,
];
