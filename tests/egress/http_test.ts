import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatEndpoint, parseHost } from "../../src/policy/host.ts";
import {
  isReusable,
  readProxyRequest,
  rewriteInterim,
  rewriteResponse,
  rewriteSwitch,
} from "../../src/egress/http.ts";
import {
  bodyReader,
  type Framing,
  readBody,
  responseFraming,
} from "../../src/egress/http_body.ts";
import {
  findHeadEnd,
  MAX_HEAD_BYTES,
  parseRequestHead,
  parseResponseHead,
} from "../../src/egress/http_head.ts";

const lines = (...list: string[]): string => `${list.join("\r\n")}\r\n\r\n`;

/** What the proxy makes of a request: `STATUS text`, or the endpoint. */
function judge(head: string): string {
  const bytes = Buffer.from(head, "latin1");
  const end = findHeadEnd(bytes, 0);
  if (!end.ok) return `${end.error.status} ${end.error.text}`;
  if (end.value === null) return "incomplete";
  const parsed = parseRequestHead(head.slice(0, end.value));
  if (!parsed.ok) return `${parsed.error.status} ${parsed.error.text}`;
  const request = readProxyRequest(parsed.value);
  if (!request.ok) return `${request.error.status} ${request.error.text}`;
  return request.value.kind === "unix_socket"
    ? "unix socket"
    : formatEndpoint(request.value.endpoint);
}

function forwarded(...list: string[]): string {
  const parsed = parseRequestHead(lines(...list));
  if (!parsed.ok) throw new Error(parsed.error.text);
  const request = readProxyRequest(parsed.value);
  if (!request.ok) throw new Error(request.error.text);
  if (request.value.kind !== "forward") throw new Error(request.value.kind);
  return request.value.head;
}

const REQUESTS = [ // head, answer or endpoint, why
  [
    lines("GET http://a.test/ HTTP/1.1", "Host: a.test"),
    "a.test:80",
    "absolute",
  ],
  [lines("GET http://a.test HTTP/1.1", "Host: a.test"), "a.test:80", "no path"],
  [
    lines("GET http://a.test:81/ HTTP/1.1", "Host: a.test:81"),
    "a.test:81",
    "a port",
  ],
  [lines("GET http://a.test/ HTTP/1.1"), "a.test:80", "absolute without Host"],
  [lines("GET / HTTP/1.1", "Host: a.test:8080"), "a.test:8080", "origin form"],
  [
    lines("GET http://u:p@a.test/ HTTP/1.1", "Host: a.test"),
    "a.test:80",
    "userinfo is dropped",
  ],
  [
    lines("GET HTTP://A.test./ HTTP/1.1", "Host: a.TEST"),
    "a.test:80",
    "case and dot are equal",
  ],
  [
    lines("GET http://[::1]:80/ HTTP/1.1", "Host: [::1]"),
    "[::1]:80",
    "IPv6 in Host",
  ],
  [
    lines(
      "GET http://[::ffff:127.0.0.1]/ HTTP/1.1",
      "Host: [::ffff:127.0.0.1]",
    ),
    "127.0.0.1:80",
    "mapped in Host",
  ],
  [
    lines(
      "GET http://xn--bcher-kva.test/ HTTP/1.1",
      "Host: b\xc3\xbccher.test",
    ),
    "xn--bcher-kva.test:80",
    "Unicode Host",
  ],
  [lines("CONNECT a.test:443 HTTP/1.1"), "a.test:443", "tunnel"],
  [lines("CONNECT a.test HTTP/1.1"), "a.test:443", "a tunnel without port"],
  [
    lines("CONNECT a.test:443 HTTP/1.1", "Host: evil.test"),
    "a.test:443",
    "Host of CONNECT is not compared",
  ],
  [lines("CONNECT [::1]:443 HTTP/1.1"), "[::1]:443", "IPv6 tunnel"],
  [lines("OPTIONS * HTTP/1.1", "Host: a.test"), "a.test:80", "asterisk form"],
  ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 ", "TLS"],
  ["hello\n\n", "400 ", "garbage"],
  [lines("GET / HTTP/1.1"), "400 missing host", "no host at all"],
  [lines("GET / HTTP/1.1", "Host:"), "400 missing host", "an empty Host"],
  [
    lines("GET http://a.test:81/ HTTP/1.1", "Host: a.test"),
    "400 Host header does not match request target",
    "another port",
  ],
  [
    lines("GET http://a.test/ HTTP/1.1", "Host: evil.test"),
    "400 Host header does not match request target",
    "another host",
  ],
  [
    lines("GET http://a.test/ HTTP/1.1", "Host: a.test", "Host: a.test"),
    "400 multiple Host headers",
    "two Hosts",
  ],
  [
    lines("GET / HTTP/1.1", "Host: a.test", "hOST: b.test"),
    "400 multiple Host headers",
    "two Hosts, another case",
  ],
  [lines("GET / HTTP/1.1", "Host: a b"), "400 invalid Host header", "a space"],
  [
    lines("GET / HTTP/1.1", "Host: a.test, b.test"),
    "400 invalid Host header",
    "a list",
  ],
  [
    lines("GET / HTTP/1.1", "Host: a.test@b.test"),
    "400 invalid Host header",
    "userinfo",
  ],
  [
    lines("GET / HTTP/1.1", "Host: a%2etest"),
    "400 invalid Host header",
    "percent",
  ],
  [
    lines("GET / HTTP/1.1", "Host: a.test:0"),
    "400 invalid Host header",
    "port 0",
  ],
  [
    lines("GET / HTTP/1.1", "Host: \xff.test"),
    "400 invalid Host header",
    "not UTF-8",
  ],
  [lines("GET http://a@b@c/ HTTP/1.1"), "400 invalid target", "two at signs"],
  [lines("GET http:///x HTTP/1.1"), "400 invalid target", "no authority"],
  [
    lines("GET ftp://a.test/ HTTP/1.1"),
    "400 unsupported scheme; only http and https are forwarded",
    "ftp",
  ],
  [
    lines("GET https://a.test/ HTTP/1.1"),
    "a.test:443",
    "https has its own port",
  ],
  [
    lines("GET a.test HTTP/1.1", "Host: a.test"),
    "400 invalid target",
    "neither path nor URL",
  ],
  [
    lines("CONNECT a.test:443/ HTTP/1.1"),
    "400 invalid CONNECT target",
    "a path",
  ],
  [
    lines("CONNECT u@a.test:443 HTTP/1.1"),
    "400 invalid CONNECT target",
    "userinfo",
  ],
  [
    lines("CONNECT a.test:443 HTTP/1.1", "Content-Length: 5"),
    "400 invalid CONNECT target",
    "a body",
  ],
  [
    lines("CONNECT a.test:99999 HTTP/1.1"),
    "400 invalid CONNECT target",
    "a port too large",
  ],
  [
    lines(
      "POST / HTTP/1.1",
      "Host: a.test",
      "Content-Length: 1",
      "Transfer-Encoding: chunked",
    ),
    "400 both Content-Length and Transfer-Encoding",
    "CL and TE",
  ],
  [
    lines(
      "POST / HTTP/1.1",
      "Host: a.test",
      "Content-Length: 1",
      "Content-Length: 2",
    ),
    "400 multiple Content-Length headers",
    "two lengths",
  ],
  [
    lines("POST / HTTP/1.1", "Host: a.test", "Content-Length: 1, 1"),
    "400 invalid Content-Length",
    "a list of lengths",
  ],
  [
    lines("POST / HTTP/1.1", "Host: a.test", "Content-Length: +1"),
    "400 invalid Content-Length",
    "a sign",
  ],
  [
    lines("POST / HTTP/1.1", "Host: a.test", "Content-Length: 0x1"),
    "400 invalid Content-Length",
    "hex",
  ],
  [
    lines("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: gzip"),
    "400 invalid Transfer-Encoding",
    "not chunked at the end",
  ],
  [
    lines(
      "POST / HTTP/1.1",
      "Host: a.test",
      "Transfer-Encoding: gzip, chunked",
    ),
    "501 unsupported Transfer-Encoding",
    "gzip as transfer coding",
  ],
  [
    lines("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: \xa0chunked"),
    "400 invalid Transfer-Encoding",
    "a no-break space, which is no white space of HTTP",
  ],
  [
    lines(
      "POST / HTTP/1.1",
      "Host: a.test",
      "Transfer-Encoding: chunked, chunked",
    ),
    "400 invalid Transfer-Encoding",
    "chunked twice",
  ],
  [
    lines(
      "POST / HTTP/1.1",
      "Host: a.test",
      "Transfer-Encoding: chunked",
      "Transfer-Encoding: identity",
    ),
    "400 invalid Transfer-Encoding",
    "two fields",
  ],
  [
    lines("POST / HTTP/1.0", "Host: a.test", "Transfer-Encoding: chunked"),
    "400 Transfer-Encoding in HTTP/1.0",
    "1.0 has no chunks",
  ],
  [lines("GET / HTTP/1.1", "Host: a.test", " folded: x"), "400 ", "obs-fold"],
  [lines("GET / HTTP/1.1", "Host: a.test", "X: a\n\tb"), "400 ", "a bare LF"],
  [lines("GET / HTTP/1.1", "Host: a.test", "X: a\rb"), "400 ", "a bare CR"],
  [lines("GET / HTTP/1.1", "Host: a.test", "X: a\0b"), "400 ", "NUL"],
  [
    lines("GET / HTTP/1.1", "Host : a.test"),
    "400 ",
    "a space before the colon",
  ],
  [lines("GET / HTTP/1.1", "Host: a.test", ": x"), "400 ", "no name"],
  [lines("GET / HTTP/1.1", "Host: a.test", "no colon"), "400 ", "no colon"],
  [lines("GET  / HTTP/1.1", "Host: a.test"), "400 ", "two spaces"],
  [lines("GET /a b HTTP/1.1", "Host: a.test"), "400 ", "a space in the target"],
  [
    lines("GET / HTTP/2.0", "Host: a.test"),
    "505 only HTTP/1.0 and HTTP/1.1 are spoken",
    "HTTP/2",
  ],
  [
    lines("GET / HTTP/1.2", "Host: a.test"),
    "505 only HTTP/1.0 and HTTP/1.1 are spoken",
    "HTTP/1.2",
  ],
  [lines("GET /"), "400 ", "HTTP/0.9"],
  [
    "GET / HTTP/1.1\r\nHost: a.test\r\n",
    "incomplete",
    "the blank line is missing",
  ],
  ["GET / HTTP/1.1\r\nHost: a.test\r", "incomplete", "half a line end"],
  ["GET / HTTP/1.1\nHost: a.test\n\n", "400 ", "LF only"],
  [
    lines("GET / HTTP/1.1", `X: ${"a".repeat(MAX_HEAD_BYTES)}`),
    `431 request head exceeds 65536 bytes or 1000 fields`,
    "a large head",
  ],
  [
    `GET / HTTP/1.1\r\nX: ${"a".repeat(MAX_HEAD_BYTES)}`,
    `431 request head exceeds 65536 bytes or 1000 fields`,
    "a large head that goes on",
  ],
  [
    lines("CONNECT a.test:443 HTTP/1.1", "Transfer-Encoding: chunked"),
    "400 CONNECT has no body",
    "chunks would be the tunnel's first bytes",
  ],
  [
    lines("CONNECT u@a.test:443 HTTP/1.1"),
    "400 invalid CONNECT target",
    "a tunnel has no user",
  ],
  [
    lines("CONNECT a.test:443/x HTTP/1.1"),
    "400 invalid CONNECT target",
    "nor a path",
  ],
  [
    lines("GET / HTTP/1.1", ...new Array<string>(1_001).fill("a:b")),
    `431 request head exceeds 65536 bytes or 1000 fields`,
    "many fields",
  ],
  [
    lines("GET / HTTP/1.1", "X-Unix-Socket: /run/x"),
    "unix socket",
    "before any host",
  ],
] as const;
for (const [head, wanted, why] of REQUESTS) {
  test(`${JSON.stringify(head).slice(0, 60)} → ${wanted}: ${why}`, () => {
    expect(judge(head)).toBe(wanted);
  });
}

test("a forwarded head has origin form, its case and order, and no hop-by-hop field", () => {
  expect(forwarded(
    "POST http://u:p@A.test:8080/p?q#f HTTP/1.1",
    "hOsT: A.test:8080",
    "X-Keep: 1",
    "Connection: X-Drop, host",
    "X-Drop: 1",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: X-Drop",
    "Proxy-Authorization: Basic x",
    "Proxy-Authentication-Info: x",
    "TE: trailers",
    "Trailer: x",
    "Upgrade: h2c",
    "HTTP2-Settings: x",
    "Expect: 100-continue",
    "content-Length: 5",
  )).toBe(lines(
    "POST /p?q HTTP/1.1",
    "hOsT: A.test:8080",
    "X-Keep: 1",
    "Expect: 100-continue",
    "content-Length: 5",
  ));
});

test("Host is added where it is missing, and only Unicode ones are respelled", () => {
  expect(forwarded("GET http://a.test/ HTTP/1.1", "X: 1"))
    .toBe(lines("GET / HTTP/1.1", "Host: a.test", "X: 1"));
  expect(forwarded("GET / HTTP/1.1", "Host: b\xc3\xbccher.test:81"))
    .toBe(lines("GET / HTTP/1.1", "Host: xn--bcher-kva.test:81"));
});

test("a chunked body is announced anew, websocket is the only upgrade", () => {
  expect(
    forwarded("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: Chunked"),
  )
    .toBe(
      lines("POST / HTTP/1.1", "Host: a.test", "Transfer-Encoding: chunked"),
    );
  expect(
    forwarded(
      "GET / HTTP/1.1",
      "Host: a.test",
      "Upgrade: WebSocket",
      "Connection: Upgrade",
    ),
  )
    .toBe(
      lines(
        "GET / HTTP/1.1",
        "Host: a.test",
        "Connection: Upgrade",
        "Upgrade: websocket",
      ),
    );
  expect(
    forwarded(
      "GET / HTTP/1.1",
      "Host: a.test",
      "Upgrade: h2c, websocket",
      "Connection: Upgrade",
    ),
  )
    .toBe(lines("GET / HTTP/1.1", "Host: a.test"));
});

const UPGRADES = [ // request line, fields, passed on, why
  ["GET / HTTP/1.1", [], true, "as a browser asks"],
  ["GET / HTTP/1.0", [], false, "HTTP/1.0 switches nothing"],
  ["POST / HTTP/1.1", [], false, "the handshake is a GET"],
  ["GET / HTTP/1.1", ["Content-Length: 5"], false, "a body would be frames"],
] as const;
for (const [line, fields, wanted, why] of UPGRADES) {
  test(`${line} ${fields} with an upgrade to websocket ${wanted ? "passes it on" : "loses it"}: ${why}`, () => {
    const head = forwarded(
      line,
      "Host: a.test",
      "Upgrade: websocket",
      "Connection: Upgrade",
      ...fields,
    );
    expect(head.includes("Upgrade")).toBe(wanted);
  });
}

test("whatever upgrade is wished is known, also one that is not passed on", () => {
  const parsed = parseRequestHead(
    lines("GET / HTTP/1.1", "Host: a.test", "Upgrade: h2c"),
  );
  const request = parsed.ok ? readProxyRequest(parsed.value) : parsed;
  expect(request).toMatchObject({
    value: { upgrade: false, wantsUpgrade: true },
  });
});

test("Proxy-Connection: close ends the client's connection as Connection does", () => {
  for (const name of ["Connection", "Proxy-Connection"]) {
    const parsed = parseRequestHead(
      lines("GET / HTTP/1.1", "Host: a.test", `${name}: close`),
    );
    const request = parsed.ok ? readProxyRequest(parsed.value) : parsed;
    expect(request).toMatchObject({ value: { keepAlive: false } });
  }
});

function response(...list: string[]): ReturnType<typeof parseResponseHead> {
  return parseResponseHead(lines(...list));
}

const RESPONSES = [ // method, lines, framing or "bad", why
  ["GET", ["HTTP/1.1 200 OK", "Content-Length: 3"], "length", "a length"],
  [
    "HEAD",
    ["HTTP/1.1 200 OK", "Content-Length: 3"],
    "none",
    "HEAD has no body",
  ],
  ["GET", ["HTTP/1.1 204 No", "Content-Length: 3"], "none", "204 has none"],
  ["GET", ["HTTP/1.1 304 No", "Content-Length: 3"], "none", "304 has none"],
  ["GET", ["HTTP/1.1 100 Continue"], "none", "interim"],
  [
    "GET",
    ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"],
    "chunked",
    "chunks",
  ],
  ["GET", ["HTTP/1.1 200"], "until_close", "no reason, no length"],
  ["GET", ["HTTP/1.0 200 OK"], "until_close", "1.0"],
  [
    "GET",
    ["HTTP/1.1 200 OK", "Content-Length: 3", "Transfer-Encoding: chunked"],
    "bad",
    "CL and TE",
  ],
  [
    "GET",
    ["HTTP/1.1 200 OK", "Content-Length: 3", "Content-Length: 3"],
    "bad",
    "two lengths",
  ],
  ["GET", ["HTTP/1.1 200 OK", "Content-Length: x"], "bad", "no number"],
  [
    "GET",
    ["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"],
    "bad",
    "gzip",
  ],
  [
    "GET",
    ["HTTP/1.0 200 OK", "Transfer-Encoding: chunked"],
    "bad",
    "1.0 has no chunks",
  ],
  ["GET", ["HTTP/2 200 OK"], "bad", "HTTP/2"],
  ["GET", ["HTTP/1.1 99 Low"], "bad", "two digits"],
  ["GET", ["HTTP/1.1 200 OK", "X: a\rb"], "bad", "bare CR"],
  ["GET", ["HTTP/1.1 200 OK", " folded"], "bad", "obs-fold"],
] as const;
for (const [method, list, wanted, why] of RESPONSES) {
  test(`${method} answered ${JSON.stringify(list)} is ${wanted}: ${why}`, () => {
    const head = response(...list);
    const framing = head.ok ? responseFraming(head.value, method) : head;
    expect(framing.ok ? framing.value.kind : "bad").toBe(wanted);
  });
}

test("a response loses hop-by-hop fields and says when the connection ends", () => {
  const head = response(
    "HTTP/1.0 200 Fine",
    "Connection: X-Drop",
    "X-Drop: 1",
    "x-Keep: 2",
    "Proxy-Authenticate: Basic",
  );
  if (!head.ok) throw new Error("refused");
  expect(
    rewriteResponse(head.value, { kind: "until_close" }, {
      version: 1,
      keepAlive: true,
    }),
  )
    .toEqual({
      head: lines("HTTP/1.1 200 Fine", "x-Keep: 2", "Connection: close"),
      framing: { kind: "until_close" },
      keepAlive: false,
    });
  expect(
    rewriteResponse(head.value, { kind: "length", bytes: 1 }, {
      version: 0,
      keepAlive: true,
    }).head,
  )
    .toBe(lines("HTTP/1.0 200 Fine", "x-Keep: 2", "Connection: keep-alive"));
});

test("chunks become a plain stream for HTTP/1.0", () => {
  const head = response("HTTP/1.1 200 OK", "Transfer-Encoding: chunked");
  if (!head.ok) throw new Error("refused");
  expect(
    rewriteResponse(head.value, { kind: "chunked" }, {
      version: 0,
      keepAlive: true,
    }),
  )
    .toEqual({
      head: lines("HTTP/1.0 200 OK", "Connection: close"),
      framing: { kind: "until_close" },
      keepAlive: false,
    });
});

test("a 204 loses a length that a client could wait for, a 304 keeps it", () => {
  const texts = ["204 No Content", "304 Not Modified"].map((status) => {
    const head = response(`HTTP/1.1 ${status}`, "Content-Length: 100");
    if (!head.ok) throw new Error("refused");
    return rewriteResponse(head.value, { kind: "none" }, {
      version: 1,
      keepAlive: true,
    }).head;
  });
  expect(texts).toEqual([
    lines("HTTP/1.1 204 No Content"),
    lines("HTTP/1.1 304 Not Modified", "Content-Length: 100"),
  ]);
});

test("an interim response passes, a switch only to websocket", () => {
  const hint = response(
    "HTTP/1.1 103 Early Hints",
    "Link: x",
    "Connection: close",
  );
  if (!hint.ok) throw new Error("refused");
  expect(rewriteInterim(hint.value)).toBe(
    lines("HTTP/1.1 103 Early Hints", "Link: x"),
  );
  const sized = response("HTTP/1.1 100 Continue", "Content-Length: 5");
  if (!sized.ok) throw new Error("refused");
  expect(rewriteInterim(sized.value)).toBe(lines("HTTP/1.1 100 Continue"));
  const web = response(
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
  );
  const h2c = response(
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: h2c",
    "Connection: Upgrade",
  );
  if (!web.ok || !h2c.ok) throw new Error("refused");
  expect(rewriteSwitch(web.value)).toBe(
    lines(
      "HTTP/1.1 101 Switching Protocols",
      "Connection: Upgrade",
      "Upgrade: websocket",
    ),
  );
  expect(rewriteSwitch(h2c.value)).toBeNull();
});

const REUSE = [ // lines, framing, reusable, why
  [["HTTP/1.1 200 OK"], "length", true, "1.1 persists"],
  [["HTTP/1.1 200 OK", "Connection: close"], "length", false, "told to close"],
  [["HTTP/1.1 200 OK"], "until_close", false, "nothing left to reuse"],
  [["HTTP/1.0 200 OK"], "length", false, "1.0 ends"],
  [
    ["HTTP/1.0 200 OK", "Connection: keep-alive"],
    "length",
    true,
    "unless it says",
  ],
  [
    ["HTTP/1.1 401 No", "WWW-Authenticate: Basic x, Negotiate"],
    "length",
    false,
    "Negotiate",
  ],
  [["HTTP/1.1 401 No", "WWW-Authenticate: NTLM"], "length", false, "NTLM"],
] as const;
for (const [list, kind, wanted, why] of REUSE) {
  test(`${JSON.stringify(list)} is ${wanted ? "" : "not "}reusable: ${why}`, () => {
    const head = response(...list);
    if (!head.ok) throw new Error("refused");
    const framing: Framing = kind === "length" ? { kind, bytes: 1 } : { kind };
    expect(isReusable(head.value, framing)).toBe(wanted);
  });
}

/** Decodes a chunked body cut at `cuts`: the text, or the fault. */
function decode(text: string, cuts: readonly number[]): string {
  const reader = bodyReader({ kind: "chunked" });
  const bytes = Buffer.from(text, "latin1");
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))]
    .sort((a, b) => a - b);
  let data = "";
  let from = 0;
  for (const to of [...places, bytes.length]) {
    const used = readBody(reader, bytes.subarray(from, to), 0, (part) => {
      data += part.toString("latin1");
    });
    if (!used.ok) return `! ${used.error}`;
    if (reader.done) {
      return `${data}|${bytes.toString("latin1", from + used.value)}`;
    }
    from = to;
  }
  return `${data}…`;
}

const CHUNKS = [ // wire, decoded, why
  ["5\r\nhello\r\n0\r\n\r\nrest", "hello|rest", "one chunk, then other bytes"],
  ["5;a=b\r\nhello\r\n00\r\n\r\n", "hello|", "an extension"],
  ["A\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "0123456789|", "a trailer"],
  ["5\r\nhel", "hel…", "cut"],
  ["5\r\nhelloX\r\n", "! a chunk is longer than its size", "too long"],
  ["5\r\nhelloX", "! a chunk is longer than its size", "said at once"],
  ["5\nhello\r\n0\r\n\r\n", "! a chunk size is malformed", "a bare LF"],
  ["5 \r\nhello\r\n", "! a chunk size is malformed", "a space"],
  ["-5\r\nhello\r\n", "! a chunk size is malformed", "a sign"],
  ["0x5\r\nhello\r\n", "! a chunk size is malformed", "a prefix"],
  ["\r\nhello", "! a chunk size is malformed", "no size"],
  ["1234567890123\r\n", "! a chunk size is malformed", "52 bits"],
  ["5;\0\r\nhello\r\n", "! a chunk size is malformed", "NUL in an extension"],
  ["0\r\nno colon\r\n\r\n", "! a trailer is malformed", "a bad trailer"],
  ["0\r\n folded: x\r\n\r\n", "! a trailer is malformed", "a folded trailer"],
  [
    `5;${"a".repeat(5_000)}`,
    "! a line of the chunked body is too long",
    "an endless extension",
  ],
  [
    `5;${"a".repeat(5_000)}\r\nhello\r\n0\r\n\r\n`,
    "! a line of the chunked body is too long",
    "a long extension that ends",
  ],
  [
    `0\r\n${"a: b\r\n".repeat(12_000)}\r\n`,
    "! trailers are too long",
    "trailers without end",
  ],
] as const;
for (const [wire, wanted, why] of CHUNKS) {
  test(`the chunks ${JSON.stringify(wire).slice(0, 40)}: ${why}`, () => {
    expect(decode(wire, [])).toBe(wanted);
  });
}

test("cuts in the wire never change what a chunked body means", () => {
  const wire = fc.constantFrom(...CHUNKS.map(([text]) => text));
  fc.assert(
    fc.property(wire, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      expect(decode(text, cuts)).toBe(decode(text, []));
    }),
    { seed: 7, numRuns: 1_000 },
  );
});

test("a request head means the same however it arrives", () => {
  const head = fc.constantFrom(
    ...REQUESTS.map(([text]) => text).filter((text) => text.length < 500),
  );
  fc.assert(
    fc.property(head, fc.nat(), (text, cut) => {
      const bytes = Buffer.from(text, "latin1");
      const at = cut % (bytes.length + 1);
      const early = findHeadEnd(bytes.subarray(0, at), 0);
      const whole = findHeadEnd(bytes, 0);
      if (!early.ok) expect(judge(text)).toStartWith("400");
      else if (early.value !== null) expect(whole).toEqual(early);
      else expect(findHeadEnd(bytes, at)).toEqual(whole);
    }),
    { seed: 8, numRuns: 2_000 },
  );
});

test("white space and dots without end are read in one go", () => {
  // Each of these took seconds when a regular expression looked for their ends, and nobody else was served meanwhile.
  const spaces = " ".repeat(60_000);
  const heads = [
    `GET http://a.test/ HTTP/1.1\r\nX:${spaces}\x01\r\n\r\n`,
    `GET http://a.test/ HTTP/1.1\r\nConnection: a${spaces}b\r\n\r\n`,
    `CONNECT ${".".repeat(60_000)}a:443 HTTP/1.1\r\n\r\n`,
  ];
  for (let i = 0; i < 40; i++) {
    expect(heads.map(judge)).toEqual([
      "400 ",
      "a.test:80",
      "400 invalid CONNECT target",
    ]);
  }
});

test("a host of many dots is refused for its length, not read to its end", () => {
  expect(parseHost(`${".".repeat(60_000)}a`)).toEqual({
    ok: false,
    error: "it is longer than 253 characters",
  });
  expect(parseHost(`a.test${".".repeat(2_000)}`).ok).toBe(false);
});
