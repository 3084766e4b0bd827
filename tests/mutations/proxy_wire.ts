/**
 * The protective steps of what the proxy reads and writes: HTTP heads and bodies, requests and responses, SOCKS, TLS hellos. Nearly
 * all of it is pure code, so it is asked without a build.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const HEAD = "src/egress/http_head.ts";
const BODY = "src/egress/http_body.ts";
const HTTP = "src/egress/http.ts";
const CLIENT = "src/egress/http_client.ts";
const FORWARD = "src/egress/http_forward.ts";
const EXCHANGE = "src/egress/exchange.ts";
const LINK = "src/egress/link.ts";
const SOCKS = "src/egress/socks5.ts";
const HELLO = "src/egress/tls_hello.ts";
const TUNNEL = "src/egress/tunnel.ts";

const HEADS: Notice = ["egress/http_test.ts"];
const PROXY: Notice = ["egress/proxy_test.ts"];
const FACTS: Notice = ["egress/facts_test.ts"];
const CUTS: Notice = ["egress/cuts_test.ts"];
const READERS: Notice = ["egress/other_readers_test.ts"];
const MESSAGES: Notice = ["egress/socks5_test.ts"];
const UNSERVABLE: Notice = ["egress/unservable_test.ts"];
const HELLOS: Notice = ["egress/tls_hello_test.ts"];

const HEAD_STEPS: readonly Defence[] = [
  pure(
    "a head that is too long is refused when it ends",
    HEAD,
    `if (end !== -1 && end + 4 <= MAX_HEAD_BYTES) return ok(end + 4);`,
    `if (end !== -1) return ok(end + 4);`,
    HEADS,
    FACTS,
  ),
  pure(
    "a head that is too long is refused before it ends",
    HEAD,
    `  if (end !== -1 || bytes.length > MAX_HEAD_BYTES) return fail(TOO_LARGE);`,
    `  if (end !== -1) return fail(TOO_LARGE);`,
    HEADS,
    FACTS,
  ),
  pure(
    "a head of too many fields is refused",
    HEAD,
    `    if (fields.length === MAX_FIELDS) return fail(TOO_LARGE);\n`,
    ``,
    HEADS,
  ),
  pure(
    "a bare line end or NUL is refused at once",
    HEAD,
    `return hasBareLineEnd(bytes, start) ? fail(GARBAGE) : ok(null);`,
    `return ok(null);`,
    HEADS,
    FACTS,
  ),
  pure(
    "a bare LF ends no line",
    HEAD,
    `    if (cr === -1 || lf !== cr + 1) return true;\n`,
    ``,
    HEADS,
  ),
  pure(
    "NUL is refused before the head ends",
    HEAD,
    `return bytes.indexOf(0, from) !== -1;`,
    `return false;`,
    HEADS,
    FACTS,
  ),
  pure(
    "no control character, CR, LF or NUL is in a field's value",
    HEAD,
    String.raw`0-9A-Za-z-]+):([\t -~\x80-\xff]*)$/;`,
    String.raw`0-9A-Za-z-]+):([^]*)$/;`,
    HEADS,
    READERS,
  ),
  pure(
    "no space stands between a field's name and its colon",
    HEAD,
    String.raw`0-9A-Za-z-]+):([\t -~`,
    String.raw`0-9A-Za-z-]+)[\t ]*:([\t -~`,
    HEADS,
    READERS,
  ),
  pure(
    "a folded line is refused",
    HEAD,
    `    if (line === null) return fail(GARBAGE);
    const name`,
    String.raw`    if (line === null && /^[\t ]/.test(head.slice(at, end))) {
      at = end + 2;
      continue;
    }
    if (line === null) return fail(GARBAGE);
    const name`,
    HEADS,
    READERS,
  ),
  pure(
    "other versions than HTTP/1.0 and 1.1 are refused",
    HEAD,
    `  if (major !== "1" || (minor !== "0" && minor !== "1")) {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "a request's target has no space and no control character",
    HEAD,
    String.raw` ([!-~\x80-\xff]+) HTTP`,
    String.raw` ([^]+) HTTP`,
    HEADS,
    READERS,
  ),
  pure(
    "a status has three digits",
    HEAD,
    String.raw` ([1-5][0-9]{2})(?:`,
    String.raw` ([0-9]+)(?:`,
    PROXY,
    HEADS,
  ),
];

const BODY_STEPS: readonly Defence[] = [
  pure(
    "Content-Length beside Transfer-Encoding is refused",
    BODY,
    `  if (lengths > 0 && encodings > 0) {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "a second Content-Length is refused",
    BODY,
    `  if (lengths > 1) {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "no other coding than chunked is taken for it",
    BODY,
    `    if (encodings === 1 && codings.length === 1 && codings[0] === "chunked") {`,
    `    if (codings.includes("chunked")) {`,
    HEADS,
  ),
  pure(
    "Transfer-Encoding twice is refused",
    BODY,
    `    if (encodings === 1 && codings.length === 1 && codings[0] === "chunked") {`,
    `    if (codings.every((one) => one === "chunked")) {`,
    HEADS,
  ),
  pure(
    "a request of HTTP/1.0 has no Transfer-Encoding",
    BODY,
    `    return fail({ status: 400, text: "Transfer-Encoding in HTTP/1.0" });
  }
  return ok(declared.value ?? { kind: "none" });`,
    `  }
  return ok(declared.value ?? { kind: "none" });`,
    HEADS,
  ),
  pure(
    "a response of HTTP/1.0 has no Transfer-Encoding",
    BODY,
    `    return fail({ status: 400, text: "Transfer-Encoding in HTTP/1.0" });
  }
  return ok(declared.value ?? { kind: "until_close" });`,
    `  }
  return ok(declared.value ?? { kind: "until_close" });`,
    HEADS,
    PROXY,
  ),
  pure(
    "a length is decimal digits",
    BODY,
    `  if (!/^[0-9]{1,15}$/.test(length)) {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "a chunk ends where its size says",
    BODY,
    String.raw`      if (line !== "\r\n") return OVERLONG_CHUNK;` + "\n",
    ``,
    HEADS,
  ),
  pure(
    "a chunk that does not end is not waited for",
    BODY,
    String
      .raw`    if (reader.place === "data_end" && line !== "\r") return OVERLONG_CHUNK;` +
      "\n",
    ``,
    HEADS,
  ),
  pure(
    "a chunk's size is hex digits, an extension and CRLF",
    BODY,
    String.raw`/^([0-9a-fA-F]{1,12})(?:[\t ]*;[\t -~\x80-\xff]*)?\r\n$/`,
    String.raw`/^\s*(?:0x)?([0-9a-fA-F]{1,12})[^]*\n$/`,
    HEADS,
  ),
  pure(
    "a chunk's extension has an end",
    BODY,
    `      if (line.length > MAX_CHUNK_LINE) return OVERLONG_LINE;\n`,
    ``,
    HEADS,
  ),
  pure(
    "a half line of a chunked body has an end",
    BODY,
    `    return line.length > limit ? OVERLONG_LINE : null;`,
    `    return null;`,
    HEADS,
  ),
  pure(
    "trailers are fields",
    BODY,
    "parseFields(`${line}\\r\\n`, 0).ok ? null",
    "true ? null",
    HEADS,
  ),
  pure(
    "trailers have an end",
    BODY,
    `      if (reader.trailerBytes > MAX_HEAD_BYTES) return "trailers are too long";\n`,
    ``,
    HEADS,
  ),
];

const REQUEST_STEPS: readonly Defence[] = [
  pure(
    "a Unix socket is never asked for",
    HTTP,
    `  if (fieldValue(head.fields, "x-unix-socket") !== null) {`,
    `  if (false) {`,
    HEADS,
    FACTS,
  ),
  pure(
    "two Hosts are refused",
    HTTP,
    `  if (fieldCount(head.fields, "host") > 1) {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "a CONNECT with a chunked body is refused",
    HTTP,
    `  if (framing.value.kind === "chunked") {
    return fail`,
    `  if (false) {
    return fail`,
    HEADS,
  ),
  pure(
    "a CONNECT with a body of a length is refused",
    HTTP,
    `    framing.value.kind === "length" && framing.value.bytes > 0`,
    `    false`,
    HEADS,
  ),
  pure(
    "an unreadable Host is refused",
    HTTP,
    `  if (hostField !== null && hostField !== "" && named === null) {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "Host and target are the same host and port",
    HTTP,
    `    named !== null &&
    (named.port`,
    `    false && named !== null &&
    (named.port`,
    HEADS,
  ),
  pure(
    "Host and target have the same port",
    HTTP,
    `(named.port !== endpoint.port || !sameHost(named.host, endpoint.host))`,
    `!sameHost(named.host, endpoint.host)`,
    HEADS,
  ),
  pure(
    "no other scheme is forwarded",
    HTTP,
    `  if (scheme !== "http" && scheme !== "https") {`,
    `  if (false) {`,
    HEADS,
  ),
  pure(
    "no fragment goes to the origin",
    HTTP,
    `return hash === -1 ? path : path.slice(0, hash);`,
    `return path;`,
    HEADS,
  ),
  pure(
    "a user in the target goes nowhere",
    HTTP,
    `readAuthority(authority.slice(at + 1), DEFAULT_PORT[scheme]);`,
    `readAuthority(authority, DEFAULT_PORT[scheme]);`,
    HEADS,
  ),
  ...[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
    "trailer",
    "transfer-encoding",
    "te",
    "upgrade",
    "http2-settings",
  ].map((name) =>
    pure(
      `${name} is not passed on`,
      HTTP,
      `  "${name}",\n`,
      ``,
      HEADS,
      FACTS,
    )
  ),
  pure(
    "what Connection names is not passed on",
    HTTP,
    `(KEPT.has(key) || !connection.includes(key))`,
    `true`,
    HEADS,
  ),
  pure(
    "Connection takes neither Host nor the length away",
    HTTP,
    `(KEPT.has(key) || !connection.includes(key))`,
    `!connection.includes(key)`,
    HEADS,
  ),
  pure(
    "Proxy-Connection is read as Connection",
    HTTP,
    `    ...listMembers(fields, "proxy-connection"),\n`,
    ``,
    HEADS,
    PROXY,
  ),
  pure(
    "white space around a member of a list is HTTP's and no other",
    HEAD,
    `withoutSpace(part).toLowerCase()`,
    `part.trim().toLowerCase()`,
    HEADS,
  ),
  pure(
    "an origin sends interim responses with an end",
    EXCHANGE,
    `      if (++interim > MAX_INTERIM) {`,
    `      if (false) {`,
    PROXY,
  ),
  pure(
    "a ClientHello comes in few records",
    HELLO,
    `    if (parts.length === MAX_RECORDS) return null;\n`,
    "",
    HELLOS,
  ),
  pure(
    "a host too long for a name is looked at no further",
    "src/policy/host.ts",
    `  if (text.length > MAX_WRITTEN) return fail(TOO_LONG);\n`,
    "",
    HEADS,
  ),
  pure(
    "a length goes with no answer that can't have a body",
    HTTP,
    `    if (isBodiless && key === "content-length") continue;\n`,
    "",
    HEADS,
  ),
  pure(
    "a Host that could be read otherwise is spelled anew",
    HTTP,
    String.raw`return /^[a-zA-Z0-9.:[\]_-]+$/.test(value) ? value : authority;`,
    `return value;`,
    HEADS,
  ),
  pure(
    "websocket is the only upgrade that is passed on",
    HTTP,
    `wantsUpgrade && upgrades.length === 1 &&
    upgrades[0] === "websocket" &&`,
    `wantsUpgrade &&`,
    HEADS,
  ),
  pure(
    "an upgrade has no body",
    HTTP,
    `    head.method === "GET" && head.version === 1 &&
    framing.value.kind === "none";`,
    `    head.method === "GET" && head.version === 1;`,
    HEADS,
  ),
  pure(
    "an upgrade is a GET of HTTP/1.1",
    HTTP,
    `    head.method === "GET" && head.version === 1 &&
    framing`,
    `    framing`,
    HEADS,
  ),
  pure(
    "any upgrade that is wished is told to limited mode",
    HTTP,
    `const wantsUpgrade = upgrades.length > 0;`,
    `const wantsUpgrade = upgrades.includes("websocket");`,
    HEADS,
    FACTS,
  ),
  pure(
    "limited mode hears of an upgrade",
    FORWARD,
    `    upgrade: request.wantsUpgrade,\n`,
    ``,
    FACTS,
  ),
];

const RESPONSE_STEPS: readonly Defence[] = [
  pure(
    "a connection that has logged in serves no other request",
    HTTP,
    `return persists && !bindsConnection(head.fields);`,
    `return persists;`,
    HEADS,
  ),
  pure(
    "the origin switches to websocket only",
    HTTP,
    `  if (upgrades.length !== 1 || upgrades[0] !== "websocket") return null;\n`,
    ``,
    HEADS,
  ),
  pure(
    "the origin switches only where it was asked to",
    EXCHANGE,
    `const text = asking.upgrade ? rewriteSwitch(head) : null;`,
    `const text = rewriteSwitch(head);`,
    PROXY,
  ),
  pure(
    "a response of two lengths is refused",
    EXCHANGE,
    `    if (!framing.ok) {
      return fall("failed", \`a malformed response: \${framing.error.text}\`);
    }
    const rewritten = rewriteResponse(head, framing.value, {`,
    `    if (!framing.ok) (framing as { value?: unknown }).value = { kind: "until_close" };
    const rewritten = rewriteResponse(head, framing.value, {`,
    PROXY,
  ),
  pure(
    "an origin that sends more than was asked serves no other request",
    EXCHANGE,
    `const isQuiet = used.value === bytes.length && !upstream.isPeerDone;`,
    `const isQuiet = true;`,
    PROXY,
  ),
  pure(
    "bytes that nobody asked for end a kept connection",
    FORWARD,
    `link.owner = { onData: drop, onEnd`,
    `link.owner = { onData: () => {}, onEnd`,
    PROXY,
    CUTS,
  ),
  pure(
    "a body that is under way is not read as a request",
    EXCHANGE,
    `      keepAlive: asking.keepAlive && request.done,`,
    `      keepAlive: asking.keepAlive,`,
    PROXY,
  ),
  pure(
    "a body behind a refusal is not read as a request",
    FORWARD,
    `keepAlive: request.keepAlive && request.framing.kind === "none",`,
    `keepAlive: request.keepAlive,`,
    FACTS,
    PROXY,
    CUTS,
  ),
  pure(
    "half a response is cut off, not ended",
    EXCHANGE,
    `    } else fall("failed", "the origin closed the connection too early");`,
    `    } else end({ kind: "done", keepAlive: false, isUpstreamFree: false });`,
    PROXY,
  ),
  pure(
    "half a request body is cut off, not ended",
    CLIENT,
    `  } else if (phase.kind === "exchange" && !phase.exchange.isRequestSent()) {`,
    `  } else if (false && phase.kind === "exchange") {`,
    PROXY,
    CUTS,
  ),
  pure(
    "a malformed body of a request is cut off",
    CLIENT,
    `  if ("fault" in taken) exchange.refuse(taken.fault);`,
    `  if ("fault" in taken) void 0;`,
    PROXY,
    CUTS,
    ["egress/other_readers_test.ts"],
  ),
  pure(
    "what can't be repeated is not sent twice",
    FORWARD,
    `        (request.method === "GET" || request.method === "HEAD");`,
    `        true;`,
    PROXY,
  ),
  pure(
    "a kept connection serves its own host, port and scheme only",
    FORWARD,
    `  if (idle.key !== key || idle.link.isClosed) {`,
    `  if (idle.link.isClosed) {`,
    PROXY,
    FACTS,
    ["egress/dial_test.ts"],
    ["egress/https_target_test.ts"],
  ),
  pure(
    "a kept connection is judged anew",
    FORWARD,
    `      checkResolved(context.policy, target, [idle.dialled.address], own) ===
        null);`,
    `      true);`,
    PROXY,
    ["egress/dial_test.ts"],
  ),
  {
    ...pure(
      "the certificate of an https target is verified",
      LINK,
      `rejectUnauthorized: true`,
      `rejectUnauthorized: false`,
      ["egress/https_target_test.ts"],
    ),
    also: {
      text: `const isVerified = isDone && socket.authorized === true;`,
      instead: `const isVerified = isDone;`,
    },
  },
  pure(
    "the certificate of an https target is for its host",
    LINK,
    `      tls: { serverName, rejectUnauthorized: true },`,
    `      tls: { serverName: "localhost", rejectUnauthorized: true },`,
    ["egress/https_target_test.ts"],
  ),
];

const SOCKS_STEPS: readonly Defence[] = [
  pure(
    "another protocol on the SOCKS port gets no byte",
    SOCKS,
    `  if (bytes.length > 0 && bytes[0] !== 5) return { kind: "foreign" };
  const count`,
    `  const count`,
    MESSAGES,
  ),
  pure(
    "a request of another version gets no byte",
    SOCKS,
    `  if (bytes.length > 0 && bytes[0] !== 5) return { kind: "foreign" };
  if (bytes.length > 2`,
    `  if (bytes.length > 2`,
    MESSAGES,
  ),
  pure(
    "a reserved byte is zero",
    SOCKS,
    `  if (bytes.length > 2 && bytes[2] !== 0) {`,
    `  if (false) {`,
    MESSAGES,
  ),
  pure(
    "BIND and UDP ASSOCIATE are refused",
    SOCKS,
    `  if (bytes[1] !== 1) {`,
    `  if (false) {`,
    MESSAGES,
  ),
  pure(
    "what SOCKS can't do is told like every refusal",
    "src/egress/socks_session.ts",
    `    reportUnservable(context, {
      protocol: "socks5",
      endpoint,`,
    `    String({
      protocol: "socks5",
      endpoint,`,
    FACTS,
  ),
  pure(
    "what names no host is told over SOCKS",
    "src/egress/socks_session.ts",
    `    reportUnservable(context, {
      protocol: "socks5",
      endpoint: null,`,
    `    String({
      protocol: "socks5",
      endpoint: null,`,
    UNSERVABLE,
  ),
  pure(
    "what names no host is told over HTTP",
    "src/egress/http_session.ts",
    `  reportUnservable(session.context, {`,
    `  String({`,
    UNSERVABLE,
  ),
  pure(
    "port 0 is refused",
    SOCKS,
    `  if (host === null || !host.ok || port === 0) {`,
    `  if (host === null || !host.ok) {`,
    MESSAGES,
  ),
  pure(
    "a SOCKS name that spells an address is that address",
    SOCKS,
    `const host = text === null ? null : parseHost(text);`,
    `const host = text === null ? null : type === 3 ? { ok: true as const, value: { kind: "name" as const, name: text } } : parseHost(text);`,
    MESSAGES,
    FACTS,
  ),
  pure(
    "only a client without authentication is accepted",
    SOCKS,
    `return bytes.subarray(2, used).includes(0)`,
    `return true`,
    MESSAGES,
  ),
];

const HELLO_STEPS: readonly Defence[] = [
  pure(
    "a handshake that begins with something else is closed",
    HELLO,
    `  if (handshake.length > 0 && handshake[0] !== 1) return { kind: "malformed" };\n`,
    ``,
    HELLOS,
  ),
  pure(
    "another record before a hello is closed",
    HELLO,
    `  const isRecord = FIRST_TYPE <= bytes[0]! && bytes[0]! <= LAST_TYPE;`,
    `  const isRecord = bytes[0] === 0x16;`,
    HELLOS,
  ),
  pure(
    "a hello has an end",
    HELLO,
    `  if (length !== null && length > MAX_HELLO_BYTES) return { kind: "malformed" };\n`,
    ``,
    HELLOS,
  ),
  pure(
    "another record between a hello's is closed",
    HELLO,
    `    if (bytes[at] !== 0x16 || bytes[at + 1] !== 3) return null;\n`,
    ``,
    HELLOS,
  ),
  pure(
    "an empty or overlong record is closed",
    HELLO,
    `    if (size === 0 || size > 16_384) return null;\n`,
    ``,
    HELLOS,
  ),
  pure(
    "a hello that ends in its session is closed",
    HELLO,
    `  if (at + size > body.length) return body.length + 1;\n`,
    ``,
    HELLOS,
  ),
  pure(
    "a hello that ends in the length of its extensions is closed",
    HELLO,
    `  if (at + 2 > body.length) return malformed;\n`,
    ``,
    HELLOS,
  ),
  pure(
    "a list of server names is as long as it says",
    HELLO,
    `  if (list.length < 5 || list.readUInt16BE(0) !== list.length - 2) return null;\n`,
    ``,
    HELLOS,
  ),
  pure(
    "a hello's extensions fill it",
    HELLO,
    `  if (end !== body.length) return malformed;\n`,
    ``,
    HELLOS,
  ),
  pure(
    "a second server name is closed",
    HELLO,
    `      if (found === null || name !== null) return malformed;`,
    `      if (found === null) return malformed;`,
    HELLOS,
  ),
  pure(
    "an unreadable list of server names is closed",
    HELLO,
    `      if (found === null || name !== null) return malformed;`,
    `      if (name !== null) return malformed;`,
    HELLOS,
  ),
  pure(
    "a list of server names has one",
    HELLO,
    `  if (list[2] !== 0 || list.readUInt16BE(3) !== list.length - 5) return null;`,
    `  if (list[2] !== 0) return null;`,
    HELLOS,
  ),
  pure(
    "a malformed hello goes nowhere",
    TUNNEL,
    `        stop("the TLS ClientHello is malformed");
        return null;`,
    `        break;`,
    HELLOS,
  ),
  pure(
    "a server name that is not allowed goes nowhere",
    TUNNEL,
    `        if (refused !== null) {`,
    `        if (false) {`,
    HELLOS,
  ),
  pure(
    "half a hello is held back",
    TUNNEL,
    `        timed.expiresAt = helloAt + headMs;
        return null;`,
    `        timed.expiresAt = helloAt + headMs;
        return bytes;`,
    HELLOS,
  ),
  pure(
    "an unreadable server name goes nowhere",
    TUNNEL,
    `  if (host === null || !host.ok) return "(unreadable)";`,
    `  if (host === null || !host.ok) return null;`,
    HELLOS,
  ),
  pure(
    "tunnels by CONNECT are watched for server names",
    "src/egress/http_tunnel.ts",
    `      fromUpstream: opened.early,
      serverNames: "checked",`,
    `      fromUpstream: opened.early,
      serverNames: "unchecked",`,
    HELLOS,
  ),
  pure(
    "tunnels by SOCKS are watched for server names",
    "src/egress/socks_session.ts",
    `        serverNames: "checked",`,
    `        serverNames: "unchecked",`,
    HELLOS,
  ),
];

export const PROXY_WIRE: readonly Defence[] = [
  ...HEAD_STEPS,
  ...BODY_STEPS,
  ...REQUEST_STEPS,
  ...RESPONSE_STEPS,
  ...SOCKS_STEPS,
  ...HELLO_STEPS,
];
