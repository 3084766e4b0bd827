/**
 * How long a client may hold what it was given, and how much of it: each limit by itself, with a clock and a kernel of the test's own.
 *
 * @module
 */
import { expect, spyOn, test } from "bun:test";
import {
  DEFAULT_LIMITS as LIMITS,
  newTally,
} from "../../src/egress/context.ts";
import { createResolver } from "../../src/egress/dns.ts";
import { startExchange } from "../../src/egress/exchange.ts";
import { serveHttp } from "../../src/egress/http_session.ts";
import { joinLinks } from "../../src/egress/pair.ts";
import { serveSocks } from "../../src/egress/socks_session.ts";
import { parseHost } from "../../src/policy/host.ts";
import { connectFd } from "../../src/sys/connect.ts";
import {
  fakeContext,
  type FakeLink,
  fakeLink,
  stopClock,
} from "./fake_link.ts";
import {
  ask,
  lines,
  openClient,
  type Origin,
  startHttpOrigin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";
import { comesToHold } from "../patience.ts";

const DENIED = lines("GET http://elsewhere.test/ HTTP/1.1");
const LAST = lines("GET http://elsewhere.test/ HTTP/1.1", "Connection: close");
/** A real limit that a test waits for. The client has it as well, and shall send its head within it on a busy machine. */
const SOON_MS = 500;
const KILOBYTE = "x".repeat(1_024);
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LOOPBACK = parseHost("127.0.0.1");

function httpClient(
  context: ReturnType<typeof fakeContext>,
  room = Infinity,
): FakeLink {
  const client = fakeLink(room);
  serveHttp(context, client.link, () => {});
  return client;
}

function socksClient(context: ReturnType<typeof fakeContext>): FakeLink {
  const client = fakeLink();
  serveSocks(context, client.link, () => {});
  return client;
}

test("a connection that asks nothing more ends after the time between two requests", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = httpClient(context);
  client.say(DENIED);
  clock.pass(LIMITS.keepAliveMs - 1, context);
  expect(client.deeds).toEqual([]);
  clock.pass(1, context);
  expect(client.deeds).toEqual(["end"]);
});

test("a second head has its own time limit, from its first byte", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = httpClient(context);
  client.say(DENIED);
  const answered = client.sent().length;
  client.say("GET http://elsewhere");
  clock.pass(LIMITS.headMs - 1, context);
  client.say(".test/");
  clock.pass(1, context);
  expect(client.sent().slice(answered)).toStartWith("HTTP/1.1 408 ");
});

test("half a head behind a request in one piece has that limit too", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy({ limits: { headMs: SOON_MS } });
  const asked = lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`);
  expect(await ask(proxy.http, `${asked}GET http://127`)).toContain(
    "okHTTP/1.1 408 ",
  );
});

test("after its last answer a client has a moment to read it, then the connection is closed", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = httpClient(context);
  client.say(LAST);
  client.say(KILOBYTE);
  clock.pass(LIMITS.lingerMs - 1, context);
  expect(client.deeds).toEqual(["shutdown"]);
  clock.pass(1, context);
  expect(client.deeds).toEqual(["shutdown", "end"]);
});

test("a client that never reads its last answer is waited for no longer than for an origin", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = httpClient(context, 10);
  client.say(LAST);
  clock.pass(LIMITS.responseMs - 1, context);
  expect(client.deeds).not.toContain("end");
  clock.pass(1, context);
  expect(client.deeds).toContain("end");
});

test("once it has read all of it the moment begins", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = httpClient(context, 10);
  client.say(LAST);
  clock.pass(LIMITS.responseMs / 2, context);
  client.read(100_000);
  clock.pass(LIMITS.lingerMs, context);
  expect(client.deeds.at(-1)).toBe("end");
});

test("a client that does not read an answer that it could go on from is waited for and closed", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = httpClient(context, 10);
  client.say(DENIED);
  clock.pass(LIMITS.responseMs, context);
  clock.pass(LIMITS.responseMs, context);
  expect(client.deeds.at(-1)).toBe("end");
});

test("a refused SOCKS client is closed after a moment", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = socksClient(context);
  client.say("\x05\x01\0\x05\x01\0\x01\x0a\0\0\x01\0\x50");
  clock.pass(LIMITS.lingerMs, context);
  expect(client.deeds).toEqual(["shutdown", "end"]);
});

test("a SOCKS client that wants to log in is closed after a moment", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = socksClient(context);
  client.say("\x05\x01\x02");
  clock.pass(LIMITS.lingerMs, context);
  expect(client.deeds).toEqual(["shutdown", "end"]);
});

test("the longest SOCKS request that says nothing yet waits for its end and for no byte more", () => {
  const context = fakeContext();
  const client = socksClient(context);
  const name = "a".repeat(255);
  client.say(`\x05\x01\0\x05\x01\0\x03\xff${name}\0`);
  expect(client.sent()).toBe("\x05\0");
  client.say("\x50");
  expect(client.sent().slice(2, 4)).toBe("\x05\x01");
});

test("a proxy further up that does not answer CONNECT is given up", async () => {
  await using silent = await startOrigin(() => {});
  if (!LOOPBACK.ok) throw new Error("127.0.0.1 is a host");
  const proxyUp = {
    endpoint: { host: LOOPBACK.value, port: silent.port },
    authorization: null,
  };
  await using proxy = startTestProxy({
    limits: { headMs: SOON_MS },
    upstream: { http: proxyUp, tunnel: proxyUp, bypass: [], warnings: [] },
    policy: { allowUpstreamProxy: true },
  });
  expect(await ask(proxy.http, lines("CONNECT a.allowed.test:443 HTTP/1.1")))
    .toStartWith("HTTP/1.1 504 ");
});

test("an origin that does not answer a TLS handshake is given up", async () => {
  await using silent = await startOrigin(() => {});
  await using proxy = startTestProxy({ limits: { headMs: SOON_MS } });
  expect(
    await ask(
      proxy.http,
      lines(`GET https://127.0.0.1:${silent.port}/ HTTP/1.1`),
    ),
  ).toContain("no TLS handshake in time");
  await isGone(silent);
});

test("a client that asks and does not read its refusals is read no further", () => {
  const context = fakeContext();
  const client = httpClient(context, 10);
  client.say(DENIED.repeat(1_000));
  expect([client.deeds, context.events.length]).toEqual([["pause"], 1]);
  client.read(1_000_000);
  expect([client.deeds.at(-1), context.events.length]).toEqual([
    "resume",
    1, // the others in the next turn
  ]);
});

test("what it asked before it was held back is answered when it reads", async () => {
  const context = fakeContext();
  const client = httpClient(context, 10);
  client.say(DENIED.repeat(3));
  client.read(1_000_000);
  await Bun.sleep(0);
  expect(context.events.length).toBe(3);
});

/** A context that connects to an origin on the loopback. @param mayDial not before */
function contextTo(
  port: number,
  mayDial: Promise<void> = Promise.resolve(),
): ReturnType<typeof fakeContext> {
  return fakeContext({
    dial: async () => {
      await mayDial;
      const fd = await connectFd({ bytes: [127, 0, 0, 1] }, port, 60_000);
      if (!fd.ok) throw new Error(fd.error);
      const address = { family: 4, bytes: [127, 0, 0, 1] } as const;
      return { ok: true, value: { fd: fd.value, address, via: null } };
    },
  });
}

test("a client that asks and does not read its answers is read no further", async () => {
  await using origin = await startHttpOrigin(OK);
  const context = contextTo(origin.port);
  const client = httpClient(context, 10);
  client.say(
    lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`).repeat(1_000),
  );
  for (let turn = 0; turn < 200; turn++) await Bun.sleep(0);
  expect([client.deeds.at(-1), context.events.length]).toEqual(["pause", 1]);
  client.link.owner.onClose(true);
});

test("requests that wait for their turn do not pile up", async () => {
  await using origin = await startHttpOrigin(OK);
  const context = contextTo(origin.port);
  const client = httpClient(context);
  const asked = lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`);
  let said = 0;
  for (let turn = 0; turn < 400; turn++) {
    if (!client.link.isPaused) {
      client.say(asked.repeat(1_000));
      said += 1_000;
    }
    await Bun.sleep(0);
  }
  expect(context.events.length).toBeGreaterThan(50);
  expect(said - context.events.length).toBeLessThan(4_000);
  client.link.owner.onClose(true);
});

/** An exchange under way, between a client and an origin that takes `room` bytes. */
function upload(room: number): {
  readonly client: FakeLink;
  readonly origin: FakeLink;
  readonly body: (text: string) => void;
  readonly cancel: () => void;
} {
  if (!LOOPBACK.ok) throw new Error("127.0.0.1 is a host");
  const client = fakeLink();
  const origin = fakeLink(room);
  const running = startExchange({
    context: fakeContext(),
    client: client.link,
    upstream: origin.link,
    asking: {
      method: "POST",
      version: 1,
      head: "POST / HTTP/1.1\r\n\r\n",
      framing: { kind: "length", bytes: 10_000 },
      upgrade: false,
      keepAlive: true,
    },
    tally: newTally("http", { host: LOOPBACK.value, port: 80 }, "POST", null),
    onEnding: () => {},
  });
  return {
    client,
    origin,
    body: (text) => void running.takeBody(Buffer.from(text)),
    cancel: running.cancel,
  };
}

test("a client that uploads is held back by an origin that does not read, until it does", () => {
  const { client, origin, body } = upload(100);
  body(KILOBYTE);
  expect(client.deeds).toEqual(["pause"]);
  origin.read(2_000);
  expect(client.deeds).toEqual(["pause", "resume"]);
});

test("an origin is held back by a client that does not read", () => {
  const { client, origin, body } = upload(100_000);
  body(KILOBYTE);
  client.read(-Infinity);
  origin.say(
    `HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n${KILOBYTE}`,
  );
  expect(origin.deeds).toEqual(["pause"]);
});

for (const from of ["client", "upstream"] as const) {
  test(`in a tunnel the ${from} is held back by the other side, until that one reads`, () => {
    const pair = { client: fakeLink(100), upstream: fakeLink(100) };
    joinLinks({
      client: pair.client.link,
      upstream: pair.upstream.link,
      onUp: (bytes) => bytes,
      onDown: () => {},
      heldBack: () => null,
      onOver: () => {},
    });
    const to = from === "client" ? pair.upstream : pair.client;
    pair[from].say(KILOBYTE);
    expect(pair[from].deeds).toEqual(["pause"]);
    to.read(10_000);
    expect(pair[from].deeds).toEqual(["pause", "resume"]);
  });
}

const BEFORE = [ // what is asked, how the client begins, why
  [
    "CONNECT",
    httpClient,
    lines("CONNECT 127.0.0.1:9 HTTP/1.1"),
  ],
  [
    "a forwarded request",
    httpClient,
    lines("POST http://127.0.0.1:9/ HTTP/1.1", "Content-Length: 999999"),
  ],
  [
    "SOCKS",
    socksClient,
    "\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\x09",
  ],
] as const;
for (const [what, open, begin] of BEFORE) {
  test(`what a client sends before its connection stands is bounded: ${what}`, () => {
    const client = open(fakeContext());
    client.say(begin);
    for (let i = 0; i < 64; i++) client.say(KILOBYTE);
    expect(client.deeds).toEqual([]);
    client.say(KILOBYTE);
    expect(client.deeds).toEqual(["pause"]);
  });
}

/** Begins as {@linkcode BEFORE} says, and goes away before the connection stands. */
for (const [what, open, begin] of BEFORE) {
  test(`a connection for a client that has gone is closed: ${what}`, async () => {
    await using origin = await startOrigin(() => {});
    const dialled = Promise.withResolvers<void>();
    const context = contextTo(origin.port, dialled.promise);
    const client = open(context);
    client.say(begin);
    client.link.owner.onClose(true);
    dialled.resolve();
    await isGone(origin);
    expect(origin.connections.length).toBe(1);
  });
}

test("a connection to an origin that waits for the next request ends with its client", async () => {
  await using origin = await startHttpOrigin(OK);
  const context = contextTo(origin.port);
  const client = httpClient(context);
  client.say(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
  while (context.events.length === 0) await Bun.sleep(1);
  client.link.owner.onClose(true);
  await isGone(origin);
  expect(origin.connections.length).toBe(1);
});

test("the connection of a request that is broken off is closed", () => {
  const { origin, cancel } = upload(Infinity);
  cancel();
  expect(origin.deeds).toEqual(["terminate"]);
});

test("a tunnel that breaks on one side is reset on the other", () => {
  const pair = { client: fakeLink(), upstream: fakeLink() };
  joinLinks({
    client: pair.client.link,
    upstream: pair.upstream.link,
    onUp: (bytes) => bytes,
    onDown: () => {},
    heldBack: () => null,
    onOver: () => {},
  });
  pair.upstream.link.owner.onClose(false);
  expect(pair.client.deeds).toEqual(["terminate"]);
});

test("a closed proxy looks at no time limit any more", async () => {
  using set = spyOn(globalThis, "setInterval");
  using clear = spyOn(globalThis, "clearInterval");
  const proxy = startTestProxy();
  const clock = set.mock.results[0]?.value;
  await proxy.running.close();
  expect([set.mock.calls.length, clear.mock.calls[0]?.[0] === clock])
    .toEqual([1, true]);
});

test("a closed proxy resets a client that still waits for its turn", async () => {
  await using proxy = startTestProxy({ limits: { connections: 1 } });
  using first = await openClient(proxy.http);
  first.socket.write(DENIED);
  await first.until((text) => text.includes("403"));
  using second = await openClient(proxy.http);
  while (proxy.running.clients().waiting === 0) await Bun.sleep(1);
  await proxy.running.close();
  await second.untilEnd();
  expect(second.ended).toBe("reset");
});

test("a question to the name servers waits for its turn no longer than twice its time", async () => {
  let asked = 0;
  const resolve = createResolver({ dnsMs: 20, dnsInFlight: 1 }, () => {
    asked++;
    return new Promise(() => {});
  });
  const answers = await Promise.all(["a", "b", "c", "d", "e"].map(resolve));
  expect(answers.at(-1)).toEqual({ ok: false, error: "ETIMEDOUT" });
  expect(asked).toBeLessThan(5);
});

/** Waits until the only connection has ended, whoever ended it. */
async function isGone({ connections }: Origin): Promise<void> {
  const hasEnded = (): boolean =>
    connections.length > 0 &&
    connections.every(({ socket }) => socket.destroyed || socket.readableEnded);
  if (!await comesToHold(hasEnded, 1_000)) {
    throw new Error("the connection is still there");
  }
}
