/**
 * Requests that name no host, or are none: refused before any policy is asked, and told like every refusal.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { serveHttp } from "../../src/egress/http_session.ts";
import { createBlockedReport, formatLogLine } from "../../src/egress/report.ts";
import { serveSocks } from "../../src/egress/socks_session.ts";
import { fakeContext, fakeLink, stopClock } from "./fake_link.ts";
import { ask, lines, startTestProxy } from "./fixtures.ts";

const UNSERVABLE = [ // listener, bytes, the log's words, why
  [
    "http",
    lines("GET / HTTP/1.1"),
    ["http", "GET", "malformed", "missing host"],
    "no host at all",
  ],
  [
    "http",
    lines("GET http://a/ HTTP/1.1", "Host: b"),
    ["http", "GET", "malformed", "Host header does not match request target"],
    "two hosts: neither is the one",
  ],
  [
    "http",
    lines("CONNECT a:b:c HTTP/1.1"),
    ["connect", "CONNECT", "malformed", "invalid CONNECT target"],
    "a tunnel to nowhere",
  ],
  [
    "http",
    "\x16\x03\x01\x02\0\x01\r\n\r\n",
    ["http", null, "malformed", "it is no HTTP/1.x"],
    "TLS to the plain port",
  ],
  [
    "http",
    "\0CDXPXY1\0\x06tok123",
    ["http", null, "malformed", "it is no HTTP/1.x"],
    "an attribution frame",
  ],
  [
    "http",
    "a\n\n",
    ["http", null, "malformed", "it is no HTTP/1.x"],
    "line ends of one byte",
  ],
  [
    "http",
    lines("POST http://a/ HTTP/1.1", "x-unix-socket: /run/docker.sock"),
    [
      "http",
      "POST",
      "not_supported",
      "unix sockets (x-unix-socket) are not supported",
    ],
    "a daemon's socket",
  ],
  [
    "socks",
    "\x04\x01\0\x50\x7f\0\0\x01\0",
    ["socks5", null, "malformed", "it is no SOCKS5"],
    "SOCKS4",
  ],
  [
    "socks",
    "\x05\x01\x02",
    ["socks5", null, "not_supported", "SOCKS5 with a login is not supported"],
    "only with a password",
  ],
  [
    "socks",
    "\x05\x01\0\x05\x01\0\x09\0",
    ["socks5", null, "malformed", "address type 9 is unknown"],
    "an address of no known type",
  ],
  [
    "socks",
    "\x05\x01\0\x04",
    ["socks5", null, "malformed", "it is no SOCKS5"],
    "a greeting and then something else",
  ],
  [
    "socks",
    "\x05\x01\0\x05\x02\0\x03\x01 \0\x50",
    [
      "socks5",
      "BIND",
      "not_supported",
      "SOCKS BIND is not supported, only TCP connections are",
    ],
    "BIND to a name that is none",
  ],
] as const;
for (
  const [listener, bytes, [protocol, method, reason, detail], why] of UNSERVABLE
) {
  test(`what names no host has one line in the log, without a host: ${why}`, async () => {
    await using proxy = startTestProxy();
    await ask(proxy[listener], bytes);
    const told = proxy.events.map((event) => JSON.parse(formatLogLine(event)));
    expect(told).toEqual([{
      time: expect.any(String),
      protocol,
      method,
      host: null,
      port: null,
      address: null,
      verdict: "denied",
      rule: null,
      reason,
      detail,
      bytes_up: 0,
      bytes_down: 0,
      duration_ms: 0,
    }]);
  });
}

const SERVE = { http: serveHttp, socks: serveSocks } as const;

const HALVES = [ // listener, bytes, why
  ["http", "GET http://127.0.0.1/ HT", "half a head"],
  ["socks", "\x05", "half a greeting"],
  ["socks", "\x05\x01\0", "a greeting without a request"],
] as const;
for (const [listener, bytes, why] of HALVES) {
  test(`a request that never ends is told when its time is over: ${why}`, () => {
    using clock = stopClock();
    const context = fakeContext();
    const client = fakeLink();
    SERVE[listener](context, client.link, () => {});
    client.say(bytes);
    clock.pass(context.limits.headMs, context);
    expect(context.events.map(({ host, reason }) => ({ host, reason })))
      .toEqual([{ host: null, reason: "malformed" }]);
  });
}

test("a client that never says a word is no request", () => {
  using clock = stopClock();
  const context = fakeContext();
  for (const serve of [serveHttp, serveSocks]) {
    serve(context, fakeLink().link, () => {});
  }
  clock.pass(context.limits.headMs, context);
  expect(context.events).toEqual([]);
});

test("equal faults are one line of the report, different ones a line each", async () => {
  await using proxy = startTestProxy();
  await ask(proxy.http, lines("GET / HTTP/1.1"));
  await ask(proxy.http, lines("HEAD / HTTP/1.1"));
  await ask(proxy.http, lines("CONNECT a:b:c HTTP/1.1"));
  await ask(proxy.socks, "\x04");
  const report = createBlockedReport("[t]");
  for (const event of proxy.events) report.add(event);
  expect(report.lines()).toEqual([
    "network: a request by HTTP refused (2 times): missing host",
    "network: a request by CONNECT refused: invalid CONNECT target",
    "network: a request by SOCKS5 refused: it is no SOCKS5",
  ]);
});
