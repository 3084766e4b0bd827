/**
 * The edges of a conversation: who is told what when a client, an origin or a time limit ends it, mostly without a kernel.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  DEFAULT_LIMITS as LIMITS,
  newTally,
} from "../../src/egress/context.ts";
import { type Ending, startExchange } from "../../src/egress/exchange.ts";
import { serveHttp } from "../../src/egress/http_session.ts";
import { closeLink, LINK_HANDLERS } from "../../src/egress/link.ts";
import { serveSocks } from "../../src/egress/socks_session.ts";
import { joinTunnel } from "../../src/egress/tunnel.ts";
import { parseHost } from "../../src/policy/host.ts";
import { connectFd } from "../../src/sys/connect.ts";
import { comesToHold } from "../patience.ts";
import {
  fakeContext,
  type FakeLink,
  fakeLink,
  stopClock,
} from "./fake_link.ts";
import {
  lines,
  openClient,
  type Origin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";

type Context = ReturnType<typeof fakeContext>;

const parsed = parseHost("127.0.0.1");
if (!parsed.ok) throw new Error(parsed.error);
const LOOPBACK = parsed.value;
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/** A name that 127.0.0.1's tunnels may not speak to. */
const HELLO = readFileSync(`${import.meta.dirname}/../corpus/tls/bun_sni`);

/** A client, and how often it was told to be over. */
interface Served extends FakeLink {
  readonly overs: () => number;
}

/** @param before done to the connection before it is served */
function served(
  serve: typeof serveHttp,
  context: Context,
  before: (client: FakeLink) => void = () => {},
): Served {
  const client = fakeLink();
  let overs = 0;
  before(client);
  serve(context, client.link, () => void overs++);
  return { ...client, overs: () => overs };
}

function ended({ link }: FakeLink): void {
  LINK_HANDLERS.end(link.socket!);
}

const SESSIONS = [["HTTP", serveHttp], ["SOCKS", serveSocks]] as const;
for (const [what, serve] of SESSIONS) {
  test(`a client that was gone before it was served holds no place: ${what}`, () => {
    const context = fakeContext();
    const { overs } = served(serve, context, ({ link }) => closeLink(link));
    expect([overs(), context.timed.size]).toEqual([1, 0]);
  });

  test(`a session that is over leaves no time limit behind, and is over once: ${what}`, () => {
    const context = fakeContext();
    const { link, overs } = served(serve, context);
    const before = context.timed.size;
    link.owner.onClose(true);
    link.owner.onClose(true);
    expect([before, overs(), context.timed.size]).toEqual([1, 1, 0]);
  });
}

test("an attribution frame is closed without a byte, and told", () => {
  const context = fakeContext();
  const client = served(serveHttp, context);
  client.say("\0\x05token");
  expect([client.sent(), client.deeds, context.events.length])
    .toEqual(["", ["end"], 1]);
});

test("a request that takes longer than a head may is not answered in between", () => {
  using clock = stopClock();
  const context = fakeContext();
  const client = served(serveHttp, context);
  client.say(lines("CONNECT 127.0.0.1:9 HTTP/1.1"));
  clock.pass(2 * LIMITS.headMs, context);
  expect([client.sent(), client.deeds]).toEqual(["", []]);
});

test("a client that was held back is read again for its good-bye", async () => {
  const context = fakeContext({
    dial: () =>
      Promise.resolve({
        ok: false,
        error: { kind: "connect", errno: "ECONNREFUSED", detail: "refused" },
      }),
  });
  const client = served(serveHttp, context);
  client.say(
    lines("POST http://127.0.0.1:9/ HTTP/1.1", "Content-Length: 999999"),
  );
  client.say("x".repeat(70_000));
  await Bun.sleep(0);
  expect(client.deeds).toEqual(["pause", "shutdown", "resume"]);
  expect(client.sent().toLowerCase()).toContain("\r\nconnection: close\r\n");
});

/** Connects to an origin on the loopback. @param mayDial not before @param isProxy it is one further up */
function contextTo(
  origin: Origin,
  mayDial: Promise<void> = Promise.resolve(),
  isProxy = false,
): Context {
  const endpoint = { host: LOOPBACK, port: origin.port };
  const via = isProxy ? { endpoint, authorization: null } : null;
  return fakeContext({
    dial: async () => {
      await mayDial;
      const fd = await connectFd(
        { bytes: [127, 0, 0, 1] },
        origin.port,
        60_000,
      );
      if (!fd.ok) throw new Error(fd.error);
      const address = { family: 4, bytes: [127, 0, 0, 1] } as const;
      return { ok: true, value: { fd: fd.value, address, via } };
    },
  });
}

/** Whether all connections to the origin come to their end: what never ends is waited for a second. */
function comesToEnd({ connections }: Origin): Promise<boolean> {
  return comesToHold(
    () =>
      connections.length > 0 &&
      connections.every(({ socket }) =>
        socket.destroyed || socket.readableEnded
      ),
    1_000,
  );
}

test("a client that breaks off in the middle of a request takes the origin's connection with it", async () => {
  await using origin = await startOrigin(() => {});
  const client = served(serveHttp, contextTo(origin));
  client.say(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Content-Length: 9",
    ),
  );
  await comesToHold(() => origin.connections[0]?.received.length !== undefined);
  client.link.owner.onClose(false);
  expect(await comesToEnd(origin)).toBe(true);
});

test("half a body whose client ended while it was dialled for is cut off", async () => {
  await using origin = await startOrigin(() => {});
  const dialled = Promise.withResolvers<void>();
  const client = served(serveHttp, contextTo(origin, dialled.promise));
  client.say(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Content-Length: 9",
    ),
  );
  client.say("half");
  ended(client);
  dialled.resolve();
  expect(await comesToHold(() => client.deeds.includes("terminate"), 1_000))
    .toBe(true);
});

test("a client that has said all and was answered is not waited for", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.write(OK);
  });
  const client = served(serveHttp, contextTo(origin));
  client.say(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
  ended(client);
  await comesToHold(() => client.deeds.includes("end"), 1_000);
  expect([client.sent(), client.deeds]).toEqual([OK, ["shutdown", "end"]]);
});

test("an origin that ends between two requests is dialled anew, also for what can't be repeated", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) socket.end(OK);
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  const url = `http://127.0.0.1:${origin.port}/`;
  client.socket.write(lines(`GET ${url} HTTP/1.1`));
  await client.until((text) => text.endsWith("ok"));
  expect(await comesToEnd(origin)).toBe(true);
  client.socket.write(lines(`DELETE ${url} HTTP/1.1`));
  await client.until((text) => text.split("ok").length === 3);
  expect(origin.connections.length).toBe(2);
});

const UNREPEATED = [ // second request, what the origin does with it, answer, why
  [
    (url: string) => `${lines(`GET ${url} HTTP/1.1`, "Content-Length: 4")}body`,
    "",
    "502",
    "its body is gone",
  ],
  [
    (url: string) => lines(`GET ${url} HTTP/1.1`),
    "HTTP/1.1 2",
    "502",
    "the origin had begun to answer",
  ],
  [
    (url: string) => lines(`GET ${url} HTTP/1.1`),
    null,
    "504",
    "it has been waited for already",
  ],
] as const;
for (const [ask, reaction, status, why] of UNREPEATED) {
  test(`a request on a kept connection is not sent twice: ${why}`, async () => {
    using clock = stopClock();
    await using origin = await startOrigin(({ socket, received }) => {
      if (received.split("\r\n\r\n").length === 2) socket.write(OK);
      else if (reaction !== null) socket.end(reaction);
    });
    const context = contextTo(origin);
    const client = served(serveHttp, context);
    const url = `http://127.0.0.1:${origin.port}/`;
    client.say(lines(`GET ${url} HTTP/1.1`));
    await comesToHold(() => client.sent().endsWith("ok"));
    const first = client.sent().length;
    client.say(ask(url));
    if (reaction === null) {
      const hasBoth = (): boolean =>
        origin.connections[0]?.received.split("\r\n\r\n").length === 3;
      await comesToHold(hasBoth);
      clock.pass(LIMITS.responseMs, context);
    }
    await comesToHold(() => client.deeds.includes("shutdown"), 1_000);
    const answer = client.sent().slice(first).toLowerCase();
    expect([answer.slice(0, 12), origin.connections.length])
      .toEqual([`http/1.1 ${status}`, 1]);
    expect(answer).toContain("\r\nconnection: close\r\n");
    client.link.owner.onClose(true);
  });
}

interface Running {
  readonly context: Context;
  readonly client: FakeLink;
  readonly origin: FakeLink;
  readonly endings: readonly Ending[];
  readonly running: ReturnType<typeof startExchange>;
}

/** An exchange under way: a whole GET, or a POST whose body is still to come. */
function exchange(
  method: "GET" | "POST" = "GET",
  version: 0 | 1 = 1,
): Running {
  const context = fakeContext();
  const client = fakeLink();
  const origin = fakeLink();
  const endings: Ending[] = [];
  const running = startExchange({
    context,
    client: client.link,
    upstream: origin.link,
    asking: {
      method,
      version,
      head: lines(`${method} / HTTP/1.1`),
      framing: method === "GET" ? { kind: "none" } : { kind: "chunked" },
      upgrade: false,
      keepAlive: true,
    },
    tally: newTally("http", { host: LOOPBACK, port: 80 }, method, null),
    onEnding: (ending) => endings.push(ending),
  });
  return { context, client, origin, endings, running };
}

test("a body without a length is whole when its connection ends, and cut when it breaks", () => {
  const kinds = ([true, false] as const).map((isClean) => {
    const { origin, endings } = exchange();
    origin.say("HTTP/1.1 200 OK\r\n\r\nall or half");
    LINK_HANDLERS.close(origin.link.socket!, isClean ? null : new Error());
    return endings[0]?.kind;
  });
  expect(kinds).toEqual(["done", "cut"]);
});

test("an origin that answers before it has the whole request serves no other", () => {
  const { origin, endings } = exchange("POST");
  origin.say("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
  expect(endings)
    .toEqual([{ kind: "done", keepAlive: false, isUpstreamFree: false }]);
});

const SPENT = [ // what the origin does, why
  [
    ({ origin }: Running) =>
      origin.say(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
      ),
    "it says that it closes",
  ],
  [
    ({ origin }: Running) => {
      origin.link.isPeerDone = true;
      origin.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    },
    "it has ended already",
  ],
] as const;
for (const [deed, why] of SPENT) {
  test(`a connection is not kept for another request: ${why}`, () => {
    const running = exchange();
    deed(running);
    expect(running.endings).toMatchObject([{ isUpstreamFree: false }]);
  });
}

test("a client of HTTP/1.0 gets no interim response", () => {
  const { client, origin } = exchange("GET", 0);
  origin.say("HTTP/1.1 103 Early Hints\r\n\r\n");
  expect(client.sent()).toBe("");
});

const BROKEN = [ // what the origin says, how the exchange ends, why
  ["HTTP/1.1 200 OK\nX: y\n\n", "failed", "no head"],
  ["HTTP/1.1 200 OK\r\nX y\r\n\r\n", "failed", "no field"],
  [
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "cut",
    "no chunk",
  ],
] as const;
for (const [text, kind, why] of BROKEN) {
  test(`an origin that speaks no HTTP is reset at once: ${why}`, () => {
    const { origin, endings, context } = exchange();
    origin.say(text);
    expect([endings[0]?.kind, origin.deeds, context.timed.size])
      .toEqual([kind, ["terminate"], 0]);
  });
}

test("an origin is reset when its client's body is malformed", () => {
  const { origin, endings, running } = exchange("POST");
  running.refuse("a chunk size is malformed");
  expect([endings[0]?.kind, origin.deeds]).toEqual(["refused", ["terminate"]]);
});

test("the time for an answer counts from the last byte, and ends the exchange once", () => {
  using clock = stopClock();
  const { context, origin, endings } = exchange();
  clock.pass(LIMITS.responseMs - 1, context);
  origin.say("HTTP/1.1 ");
  clock.pass(LIMITS.responseMs - 1, context);
  expect(endings).toEqual([]);
  clock.pass(1, context);
  clock.pass(LIMITS.responseMs, context);
  expect(endings).toMatchObject([{ kind: "failed", failure: "timed_out" }]);
});

interface Tunnelled {
  readonly context: Context;
  readonly client: FakeLink;
  readonly upstream: FakeLink;
}

function tunnel(fromClient: Buffer | null = null): Tunnelled {
  const context = fakeContext();
  const client = fakeLink();
  const upstream = fakeLink();
  const endpoint = { host: LOOPBACK, port: 443 };
  joinTunnel({
    context,
    client: client.link,
    upstream: upstream.link,
    target: { ...endpoint, protocol: "connect" },
    tally: newTally("connect", endpoint, "CONNECT", "127.0.0.1"),
    serverNames: "checked",
    fromClient,
    fromUpstream: null,
    onOver: () => {},
  });
  return { context, client, upstream };
}

test("a ClientHello that came with the request is judged as well", () => {
  const { client, upstream } = tunnel(HELLO);
  expect([upstream.sent(), upstream.deeds, client.deeds])
    .toEqual(["", ["terminate"], ["terminate"]]);
});

test("a server name that is not allowed is told like every refusal", () => {
  const { context, client } = tunnel();
  client.say(HELLO.toString("latin1"));
  expect(context.events).toMatchObject([
    { verdict: "denied", host: "a.good.test", port: 443 },
    { verdict: "failed", host: "127.0.0.1" },
  ]);
});

test("a ClientHello that comes drop by drop has the time of one head", () => {
  using clock = stopClock();
  const { context, client } = tunnel();
  client.say(HELLO.toString("latin1", 0, 10));
  clock.pass(LIMITS.headMs - 1, context);
  client.say(HELLO.toString("latin1", 10, 20));
  expect(client.deeds).toEqual([]);
  clock.pass(1, context);
  expect(client.deeds).toEqual(["terminate"]);
});

test("behind a ClientHello a tunnel has the time of a tunnel", () => {
  using clock = stopClock();
  const { context, client } = tunnel();
  client.say("SSH-2.0-x\r\n");
  clock.pass(LIMITS.tunnelIdleMs - 1, context);
  expect(client.deeds).toEqual([]);
  clock.pass(1, context);
  expect(client.deeds).toEqual(["terminate"]);
});

test("half a ClientHello and no more to come is no ClientHello", () => {
  using clock = stopClock();
  const { context, client, upstream } = tunnel();
  const half = HELLO.toString("latin1", 0, 10);
  client.say(half);
  ended(client);
  clock.pass(LIMITS.headMs, context);
  expect([upstream.sent(), upstream.deeds]).toEqual([half, ["shutdown"]]);
});

test("a tunnel that is over leaves no time limit behind", () => {
  const { context, client } = tunnel();
  client.link.owner.onClose(false);
  expect(context.timed.size).toBe(0);
});

const GREETING = "\x05\x01\0";
const ELSEWHERE = "\x05\x01\0\x01\x0a\0\0\x01\0\x50";
const ALLOWED = "\x05\x01\0\x01\x7f\0\0\x01\0\x50";

const FINISHED = [ // what the client says, what it hears, why
  [
    `${GREETING}${ELSEWHERE}`,
    "\x05\0\x05\x02\0\x01\0\0\0\0\0\0",
    "its request was refused",
  ],
  ["\x05\x01\x02", "\x05\xff", "it wants to log in"],
] as const;
for (const [text, answer, why] of FINISHED) {
  test(`nothing more is asked by a SOCKS client to which good-bye was said: ${why}`, () => {
    let dials = 0;
    const context = fakeContext({
      dial: () => {
        dials++;
        return new Promise(() => {});
      },
    });
    const client = served(serveSocks, context);
    client.say(text);
    client.say(`${GREETING}${ALLOWED}`);
    client.say(ALLOWED);
    expect([client.sent(), dials, context.events.length])
      .toEqual([answer, 0, 1]);
  });
}

const DIALS = [ // how dialling ends, verdict of the event, answer, why
  [
    { kind: "denied", denial: { reason: "not_allowed_local" } },
    "denied",
    "\x02",
    "its addresses are refused",
  ],
  [
    { kind: "connect", errno: "ECONNREFUSED", detail: "refused" },
    "failed",
    "\x05",
    "nobody listens there",
  ],
] as const;
for (const [error, verdict, code, why] of DIALS) {
  for (const isThere of [true, false]) {
    test(`a SOCKS request that came to nothing is told, ${isThere ? "and answered" : "but not answered to who has gone"}: ${why}`, async () => {
      const context = fakeContext({
        dial: () => Promise.resolve({ ok: false, error: error as never }),
      });
      const client = served(serveSocks, context);
      client.say(`${GREETING}${ALLOWED}`);
      if (!isThere) client.link.owner.onClose(false);
      await Bun.sleep(0);
      expect([client.sent().slice(2, 4), context.events[0]?.verdict])
        .toEqual([isThere ? `\x05${code}` : "", verdict]);
    });
  }
}

test("a SOCKS client that ends before it has asked is closed", () => {
  const client = served(serveSocks, fakeContext());
  client.say(GREETING);
  ended(client);
  expect(client.deeds).toEqual(["end"]);
});

test("one that has said all is closed at once when its request came to nothing", async () => {
  const context = fakeContext({
    dial: () =>
      Promise.resolve({
        ok: false,
        error: { kind: "connect", errno: "ECONNREFUSED", detail: "refused" },
      }),
  });
  const client = served(serveSocks, context);
  client.say(`${GREETING}${ALLOWED}`);
  ended(client);
  await Bun.sleep(0);
  expect(client.deeds).toEqual(["shutdown", "end"]);
});

const NO_FD = 1_000_000;
const UNADOPTED = [ // how it is asked for, how it is served, what the client hears
  [
    "CONNECT",
    serveHttp,
    lines("CONNECT 127.0.0.1:9 HTTP/1.1"),
    /^HTTP\/1\.1 502 /,
  ],
  [
    "a forwarded request",
    serveHttp,
    lines("GET http://127.0.0.1:9/ HTTP/1.1"),
    /^HTTP\/1\.1 502 [^]*\r\nconnection: close\r\n/i,
  ],
  ["SOCKS", serveSocks, `${GREETING}${ALLOWED}`, "\x05\0\x05\x05"],
] as const;
for (const [what, serve, text, answer] of UNADOPTED) {
  test(`a connection that was gone at once is told: ${what}`, async () => {
    const address = { family: 4, bytes: [127, 0, 0, 1] } as const;
    const context = fakeContext({
      dial: () =>
        Promise.resolve({ ok: true, value: { fd: NO_FD, address, via: null } }),
    });
    const client = served(serve, context);
    client.say(text);
    await comesToHold(() => client.deeds.includes("shutdown"), 1_000);
    expect(client.sent()).toMatch(answer);
    expect(context.events.map(({ verdict }) => verdict)).toEqual(["failed"]);
  });
}

const CONNECT = lines("CONNECT 127.0.0.1:9 HTTP/1.1");
const GONE = "the proxy further up closed the connection";
const PROXIES_UP = [ // what it does when it is asked, what is told
  [({ socket }) => socket.end(), GONE, "it ends"],
  [({ socket }) => socket.resetAndDestroy(), GONE, "it breaks"],
  [
    ({ socket }) => socket.write("SSH-2.0-x\r\n\r\n"),
    "the proxy further up speaks no HTTP/1",
    "it is none",
  ],
  [
    ({ socket }) => socket.write("HTTP/1.1 407 No\r\n\r\n"),
    "the proxy further up answered 407 to CONNECT",
    "it refuses",
  ],
] as const satisfies readonly (readonly [
  (connection: Origin["connections"][number]) => unknown,
  string,
  string,
])[];
for (const [react, detail, why] of PROXIES_UP) {
  test(`a proxy further up that opens no tunnel is left at once: ${why}`, async () => {
    await using up = await startOrigin(react);
    const context = contextTo(up, Promise.resolve(), true);
    const client = served(serveHttp, context);
    client.say(CONNECT);
    await comesToHold(() => client.deeds.includes("shutdown"), 1_000);
    expect(context.events.map((event) => event.detail)).toEqual([detail]);
    expect([await comesToEnd(up), context.timed.size]).toEqual([true, 1]);
  });
}

test("a proxy further up may say that it is busy before it opens the tunnel", async () => {
  await using up = await startOrigin(({ socket }) =>
    socket.write("HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello")
  );
  const context = contextTo(up, Promise.resolve(), true);
  const client = served(serveHttp, context);
  client.say(CONNECT);
  await comesToHold(() => client.sent().endsWith("hello"), 1_000);
  expect(client.sent()).toMatch(
    /^HTTP\/1\.1 200 OK\r\ndate: [^\r]+\r\n\r\nhello$/,
  );
  // The tunnel's own, and none of the asking.
  expect(context.timed.size).toBe(1);
  client.link.owner.onClose(false);
});

const NO_TLS = [ // what the origin does with a ClientHello, why
  [({ socket }) => socket.end(), "it ends"],
  [({ socket }) => socket.resetAndDestroy(), "it breaks"],
  [
    ({ socket }) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
    "it speaks no TLS",
  ],
] as const satisfies readonly (readonly [
  (connection: Origin["connections"][number]) => unknown,
  string,
])[];
for (const [react, why] of NO_TLS) {
  test(`an origin whose TLS does not come to be is left at once: ${why}`, async () => {
    await using origin = await startOrigin(react);
    const context = contextTo(origin);
    const client = served(serveHttp, context);
    client.say(lines(`GET https://127.0.0.1:${origin.port}/ HTTP/1.1`));
    await comesToHold(() => client.deeds.includes("shutdown"), 1_000);
    expect(context.events[0]?.detail).toMatch(
      /^TLS failed|in the TLS handshake$/,
    );
    expect(await comesToEnd(origin)).toBe(true);
  });
}
