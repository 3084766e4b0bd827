/**
 * The 48 black-box facts of the reference releases, each as listed or as our rule with its reason.
 *
 * Facts that the proxy alone can show are tests here. Those that need the network namespace, the command line or both are listed in
 * {@linkcode LIVE} with who proves them.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { proxiedEnvironment } from "../../src/egress/environment.ts";
import { createBlockedReport } from "../../src/egress/report.ts";
import { planRoutes } from "../../src/egress/routes.ts";
import { readUpstream } from "../../src/egress/upstream.ts";
import { readNetworkTable } from "../../src/policy/network_table.ts";
import { fromText } from "../../src/bytes.ts";
import {
  ask,
  type Domains,
  lines,
  openClient,
  policyOf,
  startHttpOrigin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";

/** Facts proved through the built executable, by number: what is shown, or our rule. */
const LIVE: Readonly<Record<number, string>> = {
  2: "a profile with `enabled = true` alone has the host's network; one with `managed` or `domains` never has (config room)",
  3: "`enabled = false`: no variables, CODEX_SANDBOX_NETWORK_DISABLED=1 (config room, sandbox tests)",
  28: "direct connects fail in the namespace (sandbox tests)",
  29: "socket families by seccomp: ours allows NETLINK_ROUTE (seccomp room)",
  30: "no capabilities, no raw sockets, also as root (sandbox tests)",
  31: "own servers on 127.0.0.1, 0.0.0.0, ::1 (sandbox tests)",
  32: "ptrace and io_uring denied (seccomp room)",
  34: "no CA variables: HTTPS is never intercepted here",
  46: "`:workspace` with the feature on has no network (config room)",
  47:
    "signals end the whole run: ours does what the reference doesn't (sandbox tests)",
};

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FACTS: Domains = {
  "127.0.0.1": "allow",
  localhost: "allow",
  "*.allowed.test": "allow",
  "deny.allowed.test": "deny",
};

function status(answer: string): string {
  return answer.slice(9, 12);
}

const blocked = (host: string, reason: string, code: string) => ({
  host,
  reason,
  code,
});

// Facts 4 to 13 and 18 to 22: one request each. `PORT` is the origin's.
const REQUESTS = [ // number, head, status, reason and code when blocked, why
  [
    4,
    lines("GET http://127.0.0.1:PORT/ HTTP/1.1", "Host: 127.0.0.1:PORT"),
    "200",
    null,
    "a listed literal",
  ],
  [5, lines("GET http://localhost:PORT/ HTTP/1.1"), "200", null, "localhost"],
  [
    6,
    lines("GET http://example.com/ HTTP/1.1"),
    "403",
    blocked("example.com", "not_allowed", "blocked-by-allowlist"),
    "unlisted",
  ],
  [
    7,
    lines("GET http://deny.allowed.test/ HTTP/1.1"),
    "403",
    blocked("deny.allowed.test", "denied", "blocked-by-denylist"),
    "denied",
  ],
  [
    8,
    lines("GET http://a.allowed.test/ HTTP/1.1"),
    "502",
    null,
    "allowed but unresolvable",
  ],
  [
    9,
    lines("GET http://allowed.test/ HTTP/1.1"),
    "403",
    blocked("allowed.test", "not_allowed", "blocked-by-allowlist"),
    "the apex of *.",
  ],
  [
    10,
    lines("GET http://127.0.0.1:PORT/ HTTP/1.1", "Host: evil.com"),
    "400",
    null,
    "another Host",
  ],
  [
    10,
    lines("GET http://127.0.0.1:PORT/ HTTP/1.1", "Host: 127.0.0.1"),
    "400",
    null,
    "Host without the port",
  ],
  [11, lines("GET http://127.0.0.1:PORT/ HTTP/1.1"), "200", null, "no Host"],
  [12, lines("GET / HTTP/1.1"), "400", null, "origin form without Host"],
  [
    13,
    lines("GET / HTTP/1.1", "Host: 127.0.0.1:PORT"),
    "200",
    null,
    "origin form with Host",
  ],
  [17, lines("CONNECT 127.0.0.1:PORT HTTP/1.1"), "200", null, "a tunnel"],
  [20, lines("CONNECT LOCALHOST.:PORT HTTP/1.1"), "200", null, "case and dot"],
  [
    22,
    lines("GET http://127.1:PORT/ HTTP/1.1"),
    "403",
    blocked("127.0.0.1", "not_allowed", "blocked-by-allowlist"),
    "short; ours names the address that it means",
  ],
  [
    22,
    lines("GET http://0x7f.1:PORT/ HTTP/1.1"),
    "403",
    blocked("127.0.0.1", "not_allowed", "blocked-by-allowlist"),
    "hex",
  ],
  [
    22,
    lines("GET http://2130706433:PORT/ HTTP/1.1"),
    "403",
    blocked("127.0.0.1", "not_allowed", "blocked-by-allowlist"),
    "one number",
  ],
  [
    22,
    lines(
      "GET http://[::ffff:127.0.0.1]:PORT/ HTTP/1.1",
      "Host: [::ffff:127.0.0.1]:PORT",
    ),
    "403",
    blocked("127.0.0.1", "not_allowed", "blocked-by-allowlist"),
    "mapped, with its Host: ours reads it",
  ],
  [
    22,
    lines("GET http://0.0.0.0:PORT/ HTTP/1.1"),
    "403",
    blocked("0.0.0.0", "not_allowed", "blocked-by-allowlist"),
    "any",
  ],
  [
    23,
    lines(
      "GET http://127.0.0.1:PORT/ HTTP/1.1",
      "Host: 127.0.0.1:PORT",
      "Host: 127.0.0.1:PORT",
    ),
    "400",
    null,
    "two Hosts, as 0.169",
  ],
  [
    42,
    lines("GET http://127.0.0.1:PORT/ HTTP/1.1", "x-unix-socket: /run/x"),
    "501",
    null,
    "unix sockets",
  ],
] as const;
for (const [number, head, wanted, block, why] of REQUESTS) {
  test(`fact ${number}: ${JSON.stringify(head).slice(0, 70)} is ${wanted}: ${why}`, async () => {
    await using origin = await startHttpOrigin(OK);
    await using proxy = startTestProxy({ domains: FACTS });
    using client = await openClient(proxy.http);
    client.socket.write(head.replaceAll("PORT", String(origin.port)));
    const answer = await client.until((text) =>
      /\r\n\r\n/.test(text) && !/ 403 [^]*\r\n\r\n$/.test(text)
    );
    expect(status(answer)).toBe(wanted);
    if (block === null) return;
    const port = /:PORT/.test(head) ? origin.port : 80;
    expect(answer).toContain(`\r\nx-proxy-error: ${block.code}\r\n`);
    const { detail, ...body } = JSON.parse(
      answer.slice(answer.indexOf("\r\n\r\n") + 4),
    );
    expect(detail).toBeString();
    expect(body).toEqual({
      status: "blocked",
      host: block.host,
      reason: block.reason,
      decision: "deny",
      source: "baseline_policy",
      protocol: "http",
      port,
      message: block.reason === "denied"
        ? "Domain denied by the sandbox policy."
        : "Domain not in allowlist.",
    });
  });
}

test("fact 1: the variables, two distinct ports", () => {
  const environment = proxiedEnvironment([], {
    httpPort: 1_001,
    socksPort: 1_002,
    policy: policyOf({}),
    executable: "/x",
  });
  expect(environment.length).toBeGreaterThan(30);
  expect(environment).toContain(fromText("HTTP_PROXY=http://127.0.0.1:1001"));
  expect(environment).toContain(fromText("ALL_PROXY=socks5h://127.0.0.1:1002"));
});

test("fact 14: a refused port is 502", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  const answer = await ask(
    proxy.http,
    lines("GET http://127.0.0.1:1/ HTTP/1.1"),
  );
  expect(answer).toStartWith(
    "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\n",
  );
  expect(answer).toContain("ECONNREFUSED");
  expect(answer).toEndWith("\r\n\r\nupstream failure");
});

test("fact 15: TLS or garbage on the HTTP port is 400, closed, empty", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  for (
    const bytes of ["\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "hello\r\n\r\n"]
  ) {
    expect(await ask(proxy.http, bytes)).toBe(
      "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
  }
});

test("fact 16: hop-by-hop fields are stripped both ways", async () => {
  let seen = "";
  await using origin = await startHttpOrigin((head) => {
    seen = head;
    return "HTTP/1.1 200 OK\r\nX-Keep: 1\r\nX-Drop: 1\r\nConnection: X-Drop\r\nContent-Length: 0\r\n\r\n";
  });
  await using proxy = startTestProxy({ domains: FACTS });
  const answer = await ask(
    proxy.http,
    lines(
      `GET http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "X-Keep: 1",
      "X-Drop: 1",
      "Connection: close, X-Drop",
    ),
  );
  for (const text of [seen, answer]) {
    expect(text).toContain("X-Keep: 1\r\n");
    expect(text).not.toContain("X-Drop: 1");
  }
});

test("fact 18: a blocked CONNECT is 403 with a text of 24 bytes", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  const answer = await ask(
    proxy.http,
    lines("CONNECT example.com:443 HTTP/1.1"),
  );
  expect(answer).toMatch(
    /^HTTP\/1\.1 403 Forbidden\r\ncontent-type: text\/plain\r\nx-proxy-error: blocked-by-allowlist\r\n/,
  );
  expect(answer).toContain("\r\ncontent-length: 24\r\n");
  expect(answer).toEndWith("\r\n\r\nDomain not in allowlist.");
});

test("fact 19: CONNECT to a refused port is 502; ours dials before it says 200", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  expect(status(await ask(proxy.http, lines("CONNECT 127.0.0.1:1 HTTP/1.1"))))
    .toBe("502");
});

test("fact 21: CONNECT to unlisted IPv6 loopback is 403", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  expect(status(await ask(proxy.http, lines("CONNECT [::1]:80 HTTP/1.1"))))
    .toBe("403");
});

test("fact 24: websocket passes the forward path; ours, where the reference drops the upgrade", async () => {
  await using origin = await startHttpOrigin(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  );
  await using proxy = startTestProxy({ domains: FACTS });
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `GET http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Upgrade: websocket",
      "Connection: upgrade",
    ),
  );
  expect(status(await client.until((text) => text.endsWith("\r\n\r\n")))).toBe(
    "101",
  );
});

test("fact 25: 100-continue is relayed", async () => {
  await using origin = await startHttpOrigin("HTTP/1.1 100 Continue\r\n\r\n");
  await using proxy = startTestProxy({ domains: FACTS });
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Expect: 100-continue",
      "Content-Length: 1",
    ),
  );
  expect(status(await client.until((text) => text.endsWith("\r\n\r\n")))).toBe(
    "100",
  );
});

const named = (name: string): string =>
  `\x03${String.fromCharCode(name.length)}${name}`;
const SOCKS = [ // number, command, address, port or `null` for the origin's, reply code, why
  [26, 1, named("localhost"), null, 0, "a name"],
  [26, 1, "\x01\x7f\0\0\x01", null, 0, "IPv4"],
  [26, 1, named("example.com"), 80, 2, "blocked"],
  [26, 1, named("deny.allowed.test"), 80, 2, "denied"],
  [26, 1, "\x01\x7f\0\0\x01", 1, 5, "refused"],
  [
    26,
    1,
    named("a.allowed.test"),
    80,
    4,
    "unresolvable: ours says host unreachable instead of refused",
  ],
  [26, 2, "\x01\x7f\0\0\x01", 80, 7, "BIND"],
  [
    27,
    3,
    "\x01\0\0\0\0",
    0,
    7,
    "UDP ASSOCIATE: ours refuses what could never come back",
  ],
] as const;
for (const [number, command, address, port, code, why] of SOCKS) {
  test(`fact ${number}: SOCKS command ${command} to ${JSON.stringify(address)} is ${code}: ${why}`, async () => {
    await using origin = await startHttpOrigin(OK);
    await using proxy = startTestProxy({ domains: FACTS });
    using client = await openClient(proxy.socks);
    const at = port ?? origin.port;
    client.socket.write(
      `\x05\x01\0\x05${String.fromCharCode(command)}\0${address}${
        String.fromCharCode(at >> 8, at & 255)
      }`,
      "latin1",
    );
    const answer = await client.until((text) => text.length >= 12, "a reply");
    expect(answer.slice(0, 4)).toBe(`\x05\0\x05${String.fromCharCode(code)}`);
  });
}

test("what SOCKS is asked for and can't do is told like every refusal", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  for (
    const request of ["\x02\0\x01\x7f\0\0\x01\0\x50", "\x03\0\x01\0\0\0\0\0\0"]
  ) {
    await ask(proxy.socks, `\x05\x01\0\x05${request}`);
  }
  const report = createBlockedReport("[t]");
  for (const event of proxy.events) report.add(event);
  expect(report.lines()).toEqual([
    "network: 127.0.0.1:80 refused: SOCKS BIND is not supported, only TCP connections are",
    "network: 0.0.0.0:0 refused: SOCKS UDP ASSOCIATE is not supported, only TCP connections are",
  ]);
});

test("fact 26: user and password alone is 05ff, SOCKS4 and HTTP are closed without a byte", async () => {
  await using proxy = startTestProxy({ domains: FACTS });
  expect(await ask(proxy.socks, "\x05\x01\x02")).toBe("\x05\xff");
  expect(await ask(proxy.socks, "\x04\x01\0\x50\x7f\0\0\x01\0")).toBe("");
  expect(await ask(proxy.socks, "GET / HTTP/1.1\r\n\r\n")).toBe("");
});

const LIMITED = [ // head, status, reason, why
  [lines("GET http://127.0.0.1:PORT/ HTTP/1.1"), "200", null, "GET"],
  [lines("OPTIONS http://127.0.0.1:PORT/ HTTP/1.1"), "200", null, "OPTIONS"],
  [
    lines("POST http://127.0.0.1:PORT/ HTTP/1.1", "Content-Length: 0"),
    "403",
    "method-policy",
    "POST",
  ],
  [
    lines("get http://127.0.0.1:PORT/ HTTP/1.1"),
    "403",
    "method-policy",
    "lower case",
  ],
  [
    lines(
      "GET http://127.0.0.1:PORT/ HTTP/1.1",
      "Upgrade: websocket",
      "Connection: upgrade",
    ),
    "403",
    "method-policy",
    "an upgrade",
  ],
  [
    lines("CONNECT 127.0.0.1:PORT HTTP/1.1"),
    "403",
    "mitm-required",
    "ours refuses every tunnel: HTTPS is never intercepted",
  ],
  [
    lines("POST http://127.0.0.1:PORT/ HTTP/1.1", "x-unix-socket: /x"),
    "403",
    "method-policy",
    "a unix socket with a bad method",
  ],
] as const;
for (const [head, wanted, code, why] of LIMITED) {
  test(`fact 33: limited: ${head.split("\r\n")[0]} is ${wanted}: ${why}`, async () => {
    await using origin = await startHttpOrigin(OK);
    await using proxy = startTestProxy({
      domains: FACTS,
      policy: { mode: "limited" },
    });
    using client = await openClient(proxy.http);
    client.socket.write(head.replaceAll("PORT", String(origin.port)));
    const answer = await client.until((text) => text.includes("\r\n\r\n"));
    expect(status(answer)).toBe(wanted);
    if (code !== null) {
      expect(answer).toContain(`x-proxy-error: blocked-by-${code}`);
    }
  });
}

test("fact 33: limited: SOCKS is 0502 on every port", async () => {
  await using proxy = startTestProxy({
    domains: FACTS,
    policy: { mode: "limited" },
  });
  for (const port of ["\x01\xbb", "\0\x50"]) {
    expect(
      (await ask(proxy.socks, `\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01${port}`))
        .slice(2, 4),
    ).toBe("\x05\x02");
  }
});

test("fact 35: a listed 127.0.0.1 works without local binding, as in 0.169", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy({
    domains: { "127.0.0.1": "allow" },
    policy: { allowLocalBinding: false },
  });
  expect(
    status(
      await ask(
        proxy.http,
        lines(
          `GET http://127.0.0.1:${origin.port}/ HTTP/1.1`,
          "Connection: close",
        ),
      ),
    ),
  ).toBe("200");
});

test("fact 36: unlisted local addresses are not_allowed_local", async () => {
  await using proxy = startTestProxy({
    domains: { "127.0.0.1": "allow", "10.*": "allow", "*": "allow" },
    policy: { allowLocalBinding: false },
  });
  for (const host of ["127.0.0.2", "169.254.169.254", "[::1]", "10.1.2.3"]) {
    const answer = await ask(
      proxy.http,
      lines(`GET http://${host}/ HTTP/1.1`, "Connection: close"),
    );
    expect(answer).toContain('"reason":"not_allowed_local"');
  }
});

test("fact 37: an unlisted name is not_allowed without a lookup, as in 0.169", async () => {
  let lookups = 0;
  await using proxy = startTestProxy({
    domains: FACTS,
    policy: { allowLocalBinding: false },
    lookup: () => {
      lookups++;
      return Promise.reject(new Error("DNS is down"));
    },
  });
  const answer = await ask(
    proxy.http,
    lines("GET http://example.com/ HTTP/1.1", "Connection: close"),
  );
  expect(answer).toContain('"reason":"not_allowed"');
  await ask(proxy.http, lines("CONNECT example.com:443 HTTP/1.1"));
  await ask(
    proxy.socks,
    "\x05\x01\0\x05\x01\0\x03\x0bexample.com\x01\xbb",
  );
  expect(lookups).toBe(0);
});

test("fact 38: `*` can be allowed and not denied", () => {
  const read = (access: string): boolean =>
    readNetworkTable({
      name: "[permissions.t.network]",
      table: { domains: { "*": access } },
      originOf: () => ({ file: null, key: "" }),
      requirements: null,
    }).ok;
  expect([read("allow"), read("deny")]).toEqual([true, false]);
});

test("fact 39: without domains everything is 403", async () => {
  await using proxy = startTestProxy({ domains: {} });
  for (const host of ["example.com", "127.0.0.1", "localhost"]) {
    expect(
      status(
        await ask(
          proxy.http,
          lines(`GET http://${host}/ HTTP/1.1`, "Connection: close"),
        ),
      ),
    ).toBe("403");
  }
});

test("facts 40 and 41: without SOCKS ALL_PROXY is HTTP; proxy_url is validated and not used", () => {
  const reading = readNetworkTable({
    name: "[permissions.t.network]",
    table: { enable_socks5: false, proxy_url: "http://0.0.0.0:3999" },
    originOf: () => ({ file: null, key: "" }),
    requirements: null,
  });
  if (!reading.ok) throw new Error("refused");
  expect(reading.value.policy.socks5).toBe(false);
  expect(
    proxiedEnvironment([], {
      httpPort: 1,
      socksPort: null,
      policy: reading.value.policy,
      executable: "/x",
    }),
  )
    .toContain(fromText("ALL_PROXY=http://127.0.0.1:1"));
});

test("fact 43: the caller's HTTP_PROXY is used, ours honours NO_PROXY, and the switch turns it off", async () => {
  let seen = "";
  await using upstream = await startHttpOrigin((head) => {
    seen = head;
    return OK;
  });
  await using origin = await startHttpOrigin(OK);
  const settings = (list: string) =>
    readUpstream([
      fromText(`HTTP_PROXY=http://u:p%40@127.0.0.1:${upstream.port}`),
      fromText(`NO_PROXY=${list}`),
    ]);
  const request = lines(
    `GET http://127.0.0.1:${origin.port}/p HTTP/1.1`,
    "Connection: close",
  );
  {
    await using proxy = startTestProxy({
      domains: FACTS,
      upstream: settings(""),
    });
    expect(status(await ask(proxy.http, request))).toBe("200");
    expect(seen).toBe(
      lines(
        `GET http://127.0.0.1:${origin.port}/p HTTP/1.1`,
        `Host: 127.0.0.1:${origin.port}`,
        "Proxy-Authorization: Basic dTpwQA==",
      ),
    );
    expect(proxy.events[0]?.address).toStartWith("via upstream");
  }
  seen = "";
  for (
    const setup of [{ upstream: settings("127.0.0.0/8") }, {
      upstream: settings(""),
      policy: { allowUpstreamProxy: false },
    }]
  ) {
    await using proxy = startTestProxy({ domains: FACTS, ...setup });
    expect(status(await ask(proxy.http, request))).toBe("200");
    expect(seen).toBe("");
  }
});

test("fact 44: half-close works in both directions", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (socket.readableEnded) socket.end(`got ${received}`);
  });
  await using proxy = startTestProxy({ domains: FACTS });
  using client = await openClient(proxy.http);
  client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
  await client.until((text) => text.endsWith("\r\n\r\n"));
  client.socket.end("x");
  expect(await client.untilEnd()).toEndWith("got x");
  expect(client.ended).toBe("fin");
});

test("fact 45: the helper without usable variables fails with the two messages", () => {
  expect(planRoutes([])).toEqual({
    ok: false,
    error: "managed proxy mode requires proxy environment variables",
  });
  for (const host of ["corp.test:1", "127.0.0.2:1", "127.0.0.1:0"]) {
    expect(planRoutes([`HTTP_PROXY=http://${host}`])).toEqual({
      ok: false,
      error: "managed proxy mode requires parseable loopback proxy endpoints",
    });
  }
});

test("fact 48: the 129th tunnel is served; ours has room for thousands", async () => {
  await using origin = await startOrigin(() => {});
  await using proxy = startTestProxy({ domains: FACTS });
  const clients = await Promise.all(
    Array.from({ length: 200 }, () => openClient(proxy.http)),
  );
  try {
    for (const client of clients) {
      client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
    }
    for (const client of clients) {
      await client.until((text) => text.startsWith("HTTP/1.1 200"), "200");
    }
    expect(proxy.running.clients()).toEqual({ served: 200, waiting: 0 });
  } finally {
    for (const client of clients) client[Symbol.dispose]();
  }
});

test("every fact has a test here or a place elsewhere", async () => {
  const source = await Bun.file(import.meta.path).text();
  const here = new Set<number>();
  for (const [, list] of source.matchAll(/"facts? ([0-9 and,]+):/g)) {
    for (const [number] of (list ?? "").matchAll(/\d+/g)) {
      here.add(Number(number));
    }
  }
  for (const [number] of [...REQUESTS, ...SOCKS]) here.add(number);
  here.add(33);
  const missing = Array.from({ length: 48 }, (_, i) => i + 1)
    .filter((number) => !here.has(number) && LIVE[number] === undefined);
  expect(missing).toEqual([]);
});
