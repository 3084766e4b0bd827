import { expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { fromText } from "../../src/bytes.ts";
import {
  type ConnectFd,
  createDialer,
  type Dialer,
} from "../../src/egress/dial.ts";
import { createResolver, type Lookup } from "../../src/egress/dns.ts";
import { createInterfaceReader } from "../../src/egress/host_dialer.ts";
import { readUpstream, upstreamFor } from "../../src/egress/upstream.ts";
import {
  type Address,
  formatAddress,
  parseAddress,
} from "../../src/policy/address.ts";
import { parseEndpoint } from "../../src/policy/host.ts";
import type { Target } from "../../src/policy/network.ts";
import { fail, ok } from "../../src/result.ts";
import { connectFd } from "../../src/sys/connect.ts";
import { close } from "../../src/sys/calls.ts";
import {
  ask,
  lines,
  listenFd,
  NO_UPSTREAM,
  openClient,
  policyOf,
  startHttpOrigin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";
import { comesToHold } from "../patience.ts";

const LIMITS = { dnsMs: 200, dnsInFlight: 4 };

function target(text: string): Target {
  const endpoint = parseEndpoint(text, 443);
  if (!endpoint.ok) throw new Error(endpoint.error);
  return { ...endpoint.value, protocol: "connect" };
}

function ip(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(text);
  return address;
}

/** A dialler whose names and connects are tables: an errno, or milliseconds until it stands. */
function dialerOf(
  names: Readonly<Record<string, readonly string[]>>,
  connects: Readonly<Record<string, string | number>>,
  dialled: string[] = [],
  closed: number[] = [],
): Dialer {
  const connect: ConnectFd = async (address, _port, timeoutMs) => {
    const text = formatAddress({
      family: address.bytes.length === 4 ? 4 : 6,
      bytes: address.bytes,
    });
    dialled.push(text);
    const how = connects[text] ?? "ECONNREFUSED";
    if (typeof how === "string") return fail(how);
    await Bun.sleep(Math.min(how, timeoutMs));
    return how > timeoutMs ? fail("ETIMEDOUT") : ok(dialled.length + 1_000);
  };
  return createDialer({
    policy: policyOf({ "**.test": "allow", localhost: "allow" }),
    upstream: { http: null, tunnel: null, bypass: [], warnings: [] },
    resolve: (name) => {
      const list = names[name];
      return Promise.resolve(
        list === undefined ? fail("ENOTFOUND") : ok(list.map(ip)),
      );
    },
    connectFd: connect,
    closeFd: (fd) => closed.push(fd),
    ownAddresses: () => [],
    dialMs: 60_000,
  });
}

const DIALS = [ // names, connects, result, dialled, why
  [["1.1.1.1"], { "1.1.1.1": 0 }, "1.1.1.1", ["1.1.1.1"], "one address"],
  [
    ["1.1.1.1", "2.2.2.2"],
    { "2.2.2.2": 0 },
    "2.2.2.2",
    ["1.1.1.1", "2.2.2.2"],
    "the next one after a failure",
  ],
  [["1.1.1.1", "1.1.1.2", "2600::1"], { "1.1.1.2": 0 }, "1.1.1.2", [
    "1.1.1.1",
    "2600::1",
    "1.1.1.2",
  ], "families in turn"],
  [["2600::1", "1.1.1.1"], { "2600::1": 30_000, "1.1.1.1": 0 }, "1.1.1.1", [
    "2600::1",
    "1.1.1.1",
  ], "a slow one has a head start only"],
  [
    ["1.1.1.1"],
    { "1.1.1.1": "EHOSTUNREACH" },
    "! EHOSTUNREACH",
    ["1.1.1.1"],
    "the errno is the truth",
  ],
  [
    ["1.1.1.1", "127.0.0.1"],
    {},
    "! not_allowed_local",
    [],
    "one bad address: none is dialled",
  ],
] as const;
for (const [addresses, connects, wanted, dialledWanted, why] of DIALS) {
  test(`${addresses} gives ${wanted}: ${why}`, async () => {
    const dialled: string[] = [];
    const closed: number[] = [];
    const dialer = dialerOf({ "a.test": addresses }, connects, dialled, closed);
    const result = await dialer.dial(target("a.test"));
    const text = result.ok
      ? formatAddress(result.value.address)
      : `! ${
        result.error.kind === "denied"
          ? result.error.denial.reason
          : result.error.errno
      }`;
    expect([text, dialled]).toEqual([wanted, [...dialledWanted]]);
  });
}

test("the loser of a race is closed", async () => {
  const closed: number[] = [];
  const dialer = dialerOf(
    { "a.test": ["2600::1", "1.1.1.1"] },
    { "2600::1": 400, "1.1.1.1": 0 },
    [],
    closed,
  );
  expect((await dialer.dial(target("a.test"))).ok).toBe(true);
  await comesToHold(() => closed.length > 0, 4_000);
  expect(closed.length).toBe(1);
});

test("SOCKS is dialled as it is, whatever proxy the caller has", async () => {
  await using origin = await startHttpOrigin("");
  await using upstream = await startHttpOrigin("");
  const dialer = createDialer({
    policy: policyOf({ "127.0.0.1": "allow" }),
    upstream: readUpstream(
      [fromText(`ALL_PROXY=http://127.0.0.1:${upstream.port}`)],
    ),
    resolve: () => Promise.resolve(fail("ENOTFOUND")),
    connectFd,
    closeFd: close,
    ownAddresses: () => [],
    dialMs: 1_000,
  });
  const goal = target(`127.0.0.1:${origin.port}`);
  expect(dialer.upstreamOf(goal)).not.toBeNull();
  expect(dialer.upstreamOf({ ...goal, protocol: "socks5" })).toBeNull();
});

test("a proxy further up that has a metadata service's address is not dialled", async () => {
  const dialled: string[] = [];
  const dialer = createDialer({
    policy: policyOf({ "a.test": "allow" }),
    upstream: readUpstream([fromText("HTTPS_PROXY=http://169.254.169.254:80")]),
    resolve: () => Promise.resolve(fail("ENOTFOUND")),
    connectFd: (address) => {
      dialled.push(formatAddress(address as Address));
      return Promise.resolve(fail("ECONNREFUSED"));
    },
    closeFd: close,
    ownAddresses: () => [],
    dialMs: 1_000,
  });
  expect(await dialer.dial(target("a.test"))).toMatchObject({
    error: { errno: "EACCES" },
  });
  expect(dialled).toEqual([]);
});

test("a name with very many addresses is tried at a few, each within what is left of the time", async () => {
  const limits: number[] = [];
  const dialer = createDialer({
    policy: policyOf({ "a.test": "allow" }),
    upstream: NO_UPSTREAM,
    resolve: () =>
      Promise.resolve(
        ok(Array.from({ length: 99 }, (_, i) => ip(`8.8.8.${i}`))),
      ),
    connectFd: (_address, _port, timeoutMs) => {
      limits.push(timeoutMs);
      return Promise.resolve(fail("ECONNREFUSED"));
    },
    closeFd: close,
    ownAddresses: () => [],
    dialMs: 1_000,
  });
  expect((await dialer.dial(target("a.test"))).ok).toBe(false);
  expect(limits.length).toBe(16);
  expect(Math.max(...limits)).toBeLessThanOrEqual(1_000);
});

test("a name is asked once for each dial, so that what was judged is what is dialled", async () => {
  let asked = 0;
  const dialled: string[] = [];
  const dialer = createDialer({
    policy: policyOf({ "a.test": "allow" }),
    upstream: NO_UPSTREAM,
    resolve: () =>
      Promise.resolve(ok([ip(asked++ === 0 ? "8.8.8.8" : "127.0.0.1")])),
    connectFd: (address) => {
      dialled.push(formatAddress(address as Address));
      return Promise.resolve(fail("ECONNREFUSED"));
    },
    closeFd: close,
    ownAddresses: () => [],
    dialMs: 1_000,
  });
  await dialer.dial(target("a.test"));
  expect([asked, dialled]).toEqual([1, ["8.8.8.8"]]);
});

test("localhost is the loopback without asking anybody", async () => {
  const dialled: string[] = [];
  await dialerOf({ localhost: ["10.0.0.1"] }, {}, dialled).dial(
    target("localhost"),
  );
  expect(dialled).toEqual(["127.0.0.1", "::1"]);
});

test("a name that is not found is a DNS failure", async () => {
  expect(await dialerOf({}, {}).dial(target("a.test"))).toMatchObject({
    ok: false,
    error: { kind: "dns", errno: "ENOTFOUND" },
  });
});

test("connect(2) stands, is refused, or says why not, and leaks nothing", async () => {
  const listener = listenFd();
  const stands = await connectFd(ip("127.0.0.1"), listener.port, 60_000);
  expect(stands.ok).toBe(true);
  if (stands.ok) close(stands.value);
  close(listener.fd);
  expect(await connectFd(ip("127.0.0.1"), listener.port, 60_000)).toEqual({
    ok: false,
    error: "ECONNREFUSED",
  });
  expect(
    await connectFd({ bytes: ip("fe80::1").bytes, zone: "no/such" }, 1, 1_000),
  ).toEqual({ ok: false, error: "EINVAL" });
  const other = await connectFd(ip("255.255.255.255"), 1, 100);
  expect(other.ok ? "" : other.error).toMatch(
    /^E(ACCES|NETUNREACH|INVAL|PERM)$/,
  );
});

// ---- resolver

test("equal questions are asked once, at most so many at a time, and none waits for ever", async () => {
  let asked = 0;
  let most = 0;
  let now = 0;
  const lookup: Lookup = async () => {
    asked++;
    most = Math.max(most, ++now);
    await Bun.sleep(20);
    now--;
    return [{ address: "1.1.1.1" }];
  };
  const resolve = createResolver({ ...LIMITS, dnsMs: 60_000 }, lookup);
  await Promise.all(
    Array.from({ length: 20 }, (_, i) => resolve(`h${i % 10}.test`)),
  );
  expect([asked, most]).toEqual([10, 4]);
  const silent = createResolver(LIMITS, () => new Promise(() => {}));
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, i) => silent(`h${i}.test`)),
  );
  for (const answer of answers) {
    expect(answer).toEqual({ ok: false, error: "ETIMEDOUT" });
  }
});

test("names that nobody waits for any more are not asked, and keep no other waiting", async () => {
  const asked: string[] = [];
  const resolve = createResolver(LIMITS, (name) => {
    asked.push(name);
    return name === "good.test"
      ? Promise.resolve([{ address: "1.1.1.1" }])
      : new Promise(() => {});
  });
  const names = Array.from({ length: 100 }, (_, i) => `slow${i}.test`);
  await Promise.all(names.map(resolve));
  // At four at once and 200 ms each, the hundred would take five seconds.
  expect(await resolve("good.test")).toMatchObject({ ok: true });
  expect(asked.length).toBeLessThan(20);
});

test("an unreadable address spoils the answer, an empty answer is none", async () => {
  const of = (list: readonly string[]) =>
    createResolver(
      LIMITS,
      () => Promise.resolve(list.map((address) => ({ address }))),
    )("a.test");
  expect(await of(["1.1.1.1", "what"])).toEqual({
    ok: false,
    error: "EBADRESP",
  });
  expect(await of([])).toEqual({ ok: false, error: "ENOTFOUND" });
});

// ---- rebinding

test("a name that changes its address is judged by the address that would be dialled", async () => {
  let reached = 0;
  await using inside = await startOrigin(({ socket }) => {
    reached++;
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
  });
  let answers = 0;
  await using proxy = startTestProxy({
    domains: { "*.rebind.test": "allow" },
    policy: { allowLocalBinding: false },
    dialMs: 300,
    // The first answer is public, all later ones are not.
    lookup: () =>
      Promise.resolve([{
        address: answers++ === 0 ? "192.0.2.1" : "127.0.0.1",
      }]),
  });
  const request = lines(
    `GET http://a.rebind.test:${inside.port}/ HTTP/1.1`,
    "Connection: close",
  );
  for (let i = 0; i < 3; i++) {
    const answer = await ask(proxy.http, request);
    expect(answer).toMatch(/^HTTP\/1\.1 403/);
    expect(answer).toContain('"reason":"not_allowed_local"');
  }
  expect(answers).toBe(3);
  expect(reached).toBe(0);
});

test("a connection that is kept is judged anew for the next request", async () => {
  await using origin = await startHttpOrigin(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  );
  const own: Address[] = [];
  const address = parseAddress("93.184.216.34") as Address;
  const domains = { "a.test": "allow" } as const;
  await using proxy = startTestProxy({
    domains,
    policy: { allowLocalBinding: false },
    dialer: createDialer({
      policy: policyOf(domains),
      upstream: NO_UPSTREAM,
      resolve: () => Promise.resolve(ok([address])),
      connectFd: (_address, _port, timeoutMs) =>
        connectFd({ bytes: [127, 0, 0, 1] }, origin.port, timeoutMs),
      closeFd: close,
      ownAddresses: () => own,
      dialMs: 1_000,
    }),
  });
  using client = await openClient(proxy.http);
  const request = lines("GET http://a.test/ HTTP/1.1");
  client.socket.write(request);
  await client.until((text) => text.endsWith("ok"));
  // The host has got the address that the connection leads to.
  own.push(address);
  client.socket.write(request);
  await client.until((text) => text.includes("HTTP/1.1 403"), "403");
  const [kept, ...others] = origin.connections;
  const isClosed = (): boolean =>
    kept?.socket.destroyed === true || kept?.socket.readableEnded === true;
  expect([await comesToHold(isClosed, 1_000), others]).toEqual([true, []]);
});

/** A DNS server that answers A questions from a list of addresses, in turn. */
async function startDns(
  addresses: readonly string[],
): Promise<{ port: number; asked: () => number; stop: () => void }> {
  const socket = createSocket("udp4");
  let asked = 0;
  socket.on("message", (query, from) => {
    const end = query.indexOf(0, 12) + 5;
    const question = query.subarray(12, end);
    const isA = question.readUInt16BE(question.length - 4) === 1;
    const address = addresses[Math.min(asked, addresses.length - 1)] ?? "";
    if (isA) asked++;
    const head = Buffer.concat([
      query.subarray(0, 2),
      Buffer.from([0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]),
    ]);
    const record = Buffer.concat([
      Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]),
      Buffer.from(address.split(".").map(Number)),
    ]);
    socket.send(
      Buffer.concat(isA ? [head, question, record] : [head, question]),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((resolve) =>
    socket.bind(0, "127.0.0.1", () => resolve())
  );
  return {
    port: socket.address().port,
    asked: () => asked,
    stop: () => socket.close(),
  };
}

test("a DNS server of ours that rebinds gets nobody into the loopback", async () => {
  const dns = await startDns(["93.184.216.34", "127.0.0.1"]);
  // A process of its own: the resolver's servers are a setting of the whole runtime.
  const script = `
    const { createResolver } = await import(${
    JSON.stringify(new URL("../../src/egress/dns.ts", import.meta.url).href)
  });
    const { checkResolved } = await import(${
    JSON.stringify(new URL("../../src/policy/network.ts", import.meta.url).href)
  });
    const { policyOf } = await import(${
    JSON.stringify(new URL("./fixtures.ts", import.meta.url).href)
  });
    require("node:dns").setServers(["127.0.0.1:${dns.port}"]);
    const resolve = createResolver({ dnsMs: 2000, dnsInFlight: 4 });
    const target = { host: { kind: "name", name: "a.rebind.test" }, port: 80, protocol: "http" };
    for (let i = 0; i < 2; i++) {
      const answer = await resolve("a.rebind.test");
      const denial = answer.ok ? checkResolved(policyOf({ "a.rebind.test": "allow" }), target, answer.value, []) : answer;
      console.log(answer.ok ? answer.value[0].bytes.join(".") : answer.error, denial?.reason ?? "dialled");
    }`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  await child.exited;
  dns.stop();
  expect(text.trim().split("\n")).toEqual([
    "93.184.216.34 dialled",
    "127.0.0.1 not_allowed_local",
  ]);
});

// ---- the caller's own proxy

const UPSTREAMS = [ // environment, target, kind, proxy or null, why
  [["HTTP_PROXY=http://p:1"], "a.test:80", "http", "p:1", "plain HTTP"],
  [["HTTP_PROXY=p"], "a.test:80", "http", "p:80", "without scheme and port"],
  [
    ["http_proxy=http://low:1", "HTTP_PROXY=http://up:1"],
    "a.test:80",
    "http",
    "up:1",
    "upper case first",
  ],
  [["ALL_PROXY=http://p:1"], "a.test:80", "http", "p:1", "the one for all"],
  [["HTTPS_PROXY=http://p:1"], "a.test:80", "http", null, "not for plain HTTP"],
  [
    ["HTTP_PROXY=http://p:1"],
    "a.test:443",
    "tunnel",
    "p:1",
    "tunnels use it as a last but one",
  ],
  [
    ["HTTPS_PROXY=http://s:1", "HTTP_PROXY=http://p:1"],
    "a.test:443",
    "tunnel",
    "s:1",
    "their own first",
  ],
  [
    ["HTTP_PROXY=https://p:1"],
    "a.test:80",
    "http",
    null,
    "TLS proxies are not used",
  ],
  [
    ["HTTP_PROXY=socks5://p:1", "ALL_PROXY=http://q:1"],
    "a.test:80",
    "http",
    "q:1",
    "the next usable one",
  ],
  [
    ["HTTP_PROXY=http://p:1", "NO_PROXY=a.test"],
    "a.test:80",
    "http",
    null,
    "the name",
  ],
  [
    ["HTTP_PROXY=http://p:1", "NO_PROXY=.a.test"],
    "b.a.test:80",
    "http",
    null,
    "a suffix with a dot",
  ],
  [
    ["HTTP_PROXY=http://p:1", "NO_PROXY=a.test"],
    "b.a.test:80",
    "http",
    null,
    "a suffix without",
  ],
  [
    ["HTTP_PROXY=http://p:1", "NO_PROXY=a.test"],
    "xa.test:80",
    "http",
    "p:1",
    "only whole labels",
  ],
  [
    ["HTTP_PROXY=http://p:1", "NO_PROXY=a.test:81"],
    "a.test:80",
    "http",
    "p:1",
    "another port",
  ],
  [
    ["HTTP_PROXY=http://p:1", "no_proxy=x, 10.0.0.0/8"],
    "10.1.1.1:80",
    "http",
    null,
    "a range",
  ],
  [["HTTP_PROXY=http://p:1", "NO_PROXY=::1"], "[::1]:80", "http", null, "IPv6"],
  [
    ["HTTP_PROXY=http://p:1", "NO_PROXY=*"],
    "a.test:80",
    "http",
    null,
    "everything",
  ],
] as const;
for (const [environment, to, kind, wanted, why] of UPSTREAMS) {
  test(`${environment} to ${to}: ${why}`, () => {
    const endpoint = parseEndpoint(to, null);
    if (!endpoint.ok) throw new Error(endpoint.error);
    const proxy = upstreamFor(
      readUpstream(environment.map(fromText)),
      endpoint.value,
      kind,
    );
    const text = proxy === null
      ? null
      : `${
        proxy.endpoint.host.kind === "name" ? proxy.endpoint.host.name : ""
      }:${proxy.endpoint.port}`;
    expect(text).toBe(wanted);
  });
}

test("a variable that can't be used is warned about by name, without its value", () => {
  expect(
    readUpstream(["HTTPS_PROXY=https://u:secret@p:1"].map(fromText)).warnings,
  ).toEqual([
    "HTTPS_PROXY is not used: only http:// proxies are, as http://HOST:PORT",
  ]);
});

test("a tunnel through a proxy further up: asked for by name, resolved by nobody here", async () => {
  let seen = "";
  await using upstream = await startOrigin((connection) => {
    const { socket, received } = connection;
    if (seen === "" && received.endsWith("\r\n\r\n")) {
      seen = received;
      connection.received = "";
      socket.write("HTTP/1.1 200 Connection established\r\n\r\nbanner");
    } else if (received === "ping") socket.end("pong");
  });
  await using proxy = startTestProxy({
    upstream: readUpstream([
      fromText(`HTTPS_PROXY=http://127.0.0.1:${upstream.port}`),
    ]),
  });
  const answer = await ask(
    proxy.http,
    `${lines("CONNECT a.allowed.test:443 HTTP/1.1")}ping`,
  );
  expect(seen).toBe(
    lines(
      "CONNECT a.allowed.test:443 HTTP/1.1",
      "host: a.allowed.test:443",
      "user-agent: codex",
    ),
  );
  expect(answer).toEndWith("\r\n\r\nbannerpong");
  await comesToHold(() => proxy.events.length > 0);
  expect(proxy.events[0]).toMatchObject({
    host: "a.allowed.test",
    address: "via upstream 127.0.0.1",
  });
});

test("a proxy further up that refuses is 502 with its status, and names are still judged", async () => {
  await using upstream = await startOrigin(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) {
      socket.write(
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
      );
    }
  });
  await using proxy = startTestProxy({
    upstream: readUpstream([
      fromText(`HTTPS_PROXY=http://127.0.0.1:${upstream.port}`),
    ]),
  });
  expect(await ask(proxy.http, lines("CONNECT a.allowed.test:443 HTTP/1.1")))
    .toMatch(/^HTTP\/1\.1 502[^]*answered 407 to CONNECT/);
  expect(await ask(proxy.http, lines("CONNECT example.com:443 HTTP/1.1")))
    .toStartWith("HTTP/1.1 403");
  expect(await ask(proxy.http, lines("CONNECT deny.allowed.test:443 HTTP/1.1")))
    .toStartWith("HTTP/1.1 403");
});

test("interfaces that can't be read for a moment are those of before, and the first reading must work", async () => {
  const readings: (() => readonly Address[])[] = [
    () => [{ family: 4, bytes: [10, 0, 0, 1] }],
    () => {
      throw new Error("EMFILE");
    },
  ];
  const read = createInterfaceReader(() => readings.shift()!());
  await Bun.sleep(600);
  expect(read()).toEqual([{ family: 4, bytes: [10, 0, 0, 1] }]);
  expect(readings.length).toBe(0);
  expect(() =>
    createInterfaceReader(() => {
      throw new Error("EMFILE");
    })
  ).toThrow("EMFILE");
});
