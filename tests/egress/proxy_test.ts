import { expect, test } from "bun:test";
import { MAX_WAITING } from "../../src/egress/proxy.ts";
import {
  ask,
  lines,
  openClient,
  startHttpOrigin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";
import { comesToHold } from "../patience.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

function get(port: number, ...extra: string[]): string {
  return lines(
    `GET http://127.0.0.1:${port}/p?q HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    "Connection: close",
    ...extra,
  );
}

test("a request reaches the origin in origin form, and its answer comes back", async () => {
  let seen = "";
  await using origin = await startHttpOrigin((head) => {
    seen = head;
    return "HTTP/1.1 200 Fine\r\nX-Keep: 1\r\nX-Drop: 2\r\nConnection: X-Drop\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok";
  });
  await using proxy = startTestProxy();
  const answer = await ask(
    proxy.http,
    get(origin.port, "X-Keep: a", "Connection: X-Drop", "X-Drop: b"),
  );
  expect(seen).toBe(
    lines("GET /p?q HTTP/1.1", `Host: 127.0.0.1:${origin.port}`, "X-Keep: a"),
  );
  expect(answer).toBe(
    "HTTP/1.1 200 Fine\r\nX-Keep: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
  );
  expect(proxy.events).toMatchObject([{
    protocol: "http",
    host: "127.0.0.1",
    port: origin.port,
    address: "127.0.0.1",
    method: "GET",
    verdict: "allowed",
    rule: "127.0.0.1",
    bytesDown: 2,
  }]);
});

test("requests on one client connection share one connection to the origin", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  for (let i = 1; i <= 5; i++) {
    client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
    await client.until(
      (text) => text.split("ok").length === i + 1,
      `answer ${i}`,
    );
  }
  expect(origin.connections.length).toBe(1);
});

test("two clients never share a connection to the origin", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy();
  using one = await openClient(proxy.http);
  using two = await openClient(proxy.http);
  for (const client of [one, two]) {
    client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
    await client.until((text) => text.endsWith("ok"));
  }
  expect(origin.connections.length).toBe(2);
});

test("pipelined requests are answered in order, also with bodies between", async () => {
  await using origin = await startOrigin((connection) => {
    const whole = /^(?:GET|POST) \/(\d+)[^]*?\r\n\r\n(?:body)?/;
    for (;;) {
      const found = whole.exec(connection.received);
      if (
        found === null ||
        found[0].startsWith("POST") && !found[0].endsWith("body")
      ) return;
      connection.received = connection.received.slice(found[0].length);
      connection.socket.write(
        `HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${found[1]}`,
      );
    }
  });
  await using proxy = startTestProxy();
  const url = `http://127.0.0.1:${origin.port}`;
  const answer = await ask(
    proxy.http,
    lines(`GET ${url}/1 HTTP/1.1`) +
      lines(`POST ${url}/2 HTTP/1.1`, "Content-Length: 4") + "body" +
      lines(`POST ${url}/3 HTTP/1.1`, "Content-Length: 4") + "body" +
      lines(`GET ${url}/4 HTTP/1.1`, "Connection: close"),
  );
  expect(answer.match(/\r\n\r\n(\d)/g)?.join("").replace(/\r\n/g, "")).toBe(
    "1234",
  );
});

const ANSWERS = [ // title, origin's bytes, what the client gets, why
  [
    "chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "framed anew, without extension and trailer",
  ],
  [
    "204",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    "no body",
  ],
  [
    "304 with a length",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
    "no body",
  ],
  [
    "interim responses",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "relayed",
  ],
] as const;
for (const [title, bytes, wanted, why] of ANSWERS) {
  test(`${title}: ${why}`, async () => {
    await using origin = await startHttpOrigin(bytes);
    await using proxy = startTestProxy();
    expect(await ask(proxy.http, get(origin.port))).toBe(wanted);
  });
}

test("HEAD has a length and no body, and the connection goes on", async () => {
  await using origin = await startHttpOrigin((head) =>
    head.startsWith("HEAD")
      ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
      : OK
  );
  await using proxy = startTestProxy();
  const url = `http://127.0.0.1:${origin.port}/`;
  const answer = await ask(
    proxy.http,
    lines(`HEAD ${url} HTTP/1.1`) +
      lines(`GET ${url} HTTP/1.1`, "Connection: close"),
  );
  expect(answer).toBe(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
  );
});

test("a body without length ends with the connection", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) {
      socket.end("HTTP/1.0 200 OK\r\n\r\nall of it");
    }
  });
  await using proxy = startTestProxy();
  const answer = await ask(
    proxy.http,
    lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`),
  );
  expect(answer).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
});

test("an HTTP/1.0 client gets 1.0, chunks undone, and keeps its connection where it asks", async () => {
  await using origin = await startHttpOrigin((head) =>
    head.includes("/chunks")
      ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
      : OK
  );
  await using proxy = startTestProxy();
  const url = `http://127.0.0.1:${origin.port}`;
  const answer = await ask(
    proxy.http,
    lines(`GET ${url}/ HTTP/1.0`, "Connection: keep-alive") +
      lines(`GET ${url}/chunks HTTP/1.0`, "Connection: keep-alive"),
  );
  expect(answer).toBe(
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nokHTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc",
  );
});

test("100-continue is relayed before the body is sent", async () => {
  await using origin = await startOrigin((connection) => {
    const { socket, received } = connection;
    if (received.endsWith("\r\n\r\n")) {
      socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (received.endsWith("hello")) socket.write(OK);
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Content-Length: 5",
      "Expect: 100-continue",
      "Connection: close",
    ),
  );
  await client.until((text) => text === "HTTP/1.1 100 Continue\r\n\r\n", "100");
  client.socket.write("hello");
  expect(await client.untilEnd()).toEndWith("\r\n\r\nok");
});

test("a chunked request is decoded and framed anew", async () => {
  let body = "";
  await using origin = await startOrigin(({ socket, received }) => {
    if (!received.endsWith("0\r\n\r\n")) return;
    body = received.slice(received.indexOf("\r\n\r\n") + 4);
    socket.write(OK);
  });
  await using proxy = startTestProxy();
  const answer = await ask(
    proxy.http,
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Transfer-Encoding: chunked",
      "Connection: close",
    ) + "2;ext\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n",
  );
  expect(answer).toEndWith("ok");
  expect(body).toBe("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
});

const BAD_ANSWERS = [ // origin's bytes, why
  [
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "CL and TE",
  ],
  [
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "two lengths",
  ],
  [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "a switch to websocket that nobody asked for",
  ],
  ["HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare LF"],
  ["SSH-2.0-OpenSSH\r\n", "no HTTP"],
  [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    "an unasked switch",
  ],
  [`HTTP/1.1 200 OK\r\nX: ${"a".repeat(70_000)}\r\n\r\n`, "a large head"],
] as const;
for (const [bytes, why] of BAD_ANSWERS) {
  test(`a malformed response is 502 and nothing of it: ${why}`, async () => {
    await using origin = await startOrigin(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.end(bytes);
    });
    await using proxy = startTestProxy();
    const answer = await ask(proxy.http, get(origin.port));
    expect(answer).toStartWith(
      "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\n",
    );
    expect(answer).toEndWith("\r\n\r\nupstream failure");
  });
}

const INTERIM = "HTTP/1.1 103 Early Hints\r\n\r\n";

test("interim responses are relayed one by one, however many come at once", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (!received.includes("\r\n\r\n") || socket.bytesWritten > 0) return;
    socket.write(
      `${INTERIM.repeat(500)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`,
    );
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
  await client.until((text) => text.endsWith("\r\n\r\nok"), "the response");
  expect(client.received.split("103 Early Hints").length - 1).toBe(500);
});

test("an origin that sends interim responses without end is 502", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (!received.includes("\r\n\r\n") || socket.bytesWritten > 0) return;
    socket.write(INTERIM.repeat(200_000));
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
  expect(await client.untilEnd()).toEndWith("\r\n\r\nupstream failure");
  expect(proxy.events.map(({ detail }) => detail))
    .toEqual(["too many interim responses"]);
});

test("half a response is a reset, never a shorter whole", async () => {
  for (
    const bytes of [
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    ]
  ) {
    await using origin = await startOrigin(({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.end(bytes);
    });
    await using proxy = startTestProxy();
    using client = await openClient(proxy.http);
    client.socket.write(get(origin.port));
    await client.untilEnd();
    expect(client.ended).toBe("reset");
    expect(proxy.events[0]?.verdict).toBe("failed");
  }
});

test("a reused connection that died is dialled again for GET, and never for POST", async () => {
  let served = 0;
  await using origin = await startOrigin((connection) => {
    if (!connection.received.includes("\r\n\r\n")) return;
    connection.received = "";
    // Each connection serves one request and dies at the next.
    if (connection.socket.bytesWritten > 0) connection.socket.destroy();
    else {
      served++;
      connection.socket.write(OK);
    }
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  const url = `http://127.0.0.1:${origin.port}/`;
  client.socket.write(lines(`GET ${url} HTTP/1.1`));
  await client.until((text) => text.endsWith("ok"));
  client.socket.write(lines(`GET ${url} HTTP/1.1`));
  await client.until(
    (text) => text.split("ok").length === 3,
    "the second answer",
  );
  expect(served).toBe(2);
  client.socket.write(lines(`POST ${url} HTTP/1.1`, "Content-Length: 0"));
  await client.until((text) => text.includes("502 Bad Gateway"), "502");
  expect(served).toBe(2);
  // Without any body too: it is the method that can't be repeated.
  using other = await openClient(proxy.http);
  other.socket.write(lines(`GET ${url} HTTP/1.1`));
  await other.until((text) => text.endsWith("ok"));
  other.socket.write(lines(`DELETE ${url} HTTP/1.1`));
  await other.until((text) => text.includes("502 Bad Gateway"), "502");
  expect(served).toBe(3);
});

test("an origin that sends bytes nobody asked for is not used again", async () => {
  await using origin = await startHttpOrigin(
    `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
  );
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  for (let i = 1; i <= 2; i++) {
    client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
    await client.until((text) => text.split("ok").length === i + 1);
  }
  expect(client.received).not.toContain("evil");
  expect(origin.connections.length).toBe(2);
});

test("bytes of an origin between two requests end its connection", async () => {
  await using origin = await startOrigin((connection) => {
    const { socket } = connection;
    if (!connection.received.endsWith("\r\n\r\n")) return;
    connection.received = "";
    socket.write(OK);
    setTimeout(() => socket.write("HTTP/1.1 200 OK\r\n"), 20);
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  for (let i = 1; i <= 2; i++) {
    client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
    await client.until((text) => text.split("ok").length === i + 1);
    const { socket } = origin.connections[i - 1] ?? {};
    const isOver = await comesToHold(
      () => socket?.destroyed === true || socket?.readableEnded === true,
      4_000,
    );
    expect([i, isOver]).toEqual([i, true]);
  }
  expect(origin.connections.length).toBe(2);
});

test("a connection to one origin serves no request to another", async () => {
  const named = (name: string): string =>
    `HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${name}`;
  await using one = await startHttpOrigin(named("one"));
  await using two = await startHttpOrigin(named("two"));
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  for (const [origin, name] of [[one, "one"], [two, "two"]] as const) {
    client.socket.write(lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`));
    await client.until((text) => text.endsWith(name), name);
  }
});

test("the body of a refused request is not read as a request", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy();
  const inner = get(origin.port);
  const answer = await ask(
    proxy.http,
    lines(
      "POST http://evil.test/ HTTP/1.1",
      `Content-Length: ${inner.length}`,
    ) +
      inner,
  );
  expect(answer.match(/^HTTP\/1\.1 \d+/gm)).toEqual(["HTTP/1.1 403"]);
  expect(origin.connections.length).toBe(0);
});

test("a malformed chunk of a request is answered 400, and the origin is cut off", async () => {
  await using origin = await startOrigin(() => {});
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Transfer-Encoding: chunked",
    ) + "2\r\nab\r\n",
  );
  await comesToHold(() => origin.connections.length > 0);
  client.socket.write("zz\r\nGET http://evil.test/ HTTP/1.1\r\n\r\n");
  expect([await client.untilEnd(), client.ended]).toEqual([
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 25\r\nconnection: close\r\n\r\na chunk size is malformed",
    "fin",
  ]);
  expect(origin.connections[0]?.received).not.toContain("0\r\n\r\n");
  expect(proxy.events.map(({ verdict, detail }) => [verdict, detail]))
    .toEqual([["failed", "a chunk size is malformed"]]);
});

test("a malformed chunk after half a response is a reset", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received.includes("\r\n\r\n") && socket.bytesWritten === 0) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    }
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Transfer-Encoding: chunked",
    ) + "2\r\nab\r\n",
  );
  await client.until((text) => text.includes("half"), "half a response");
  client.socket.write("zz\r\n");
  await client.untilEnd();
  expect(client.ended).toBe("reset");
});

test("an early final answer ends the connection instead of reading the body as a request", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received.includes("\r\n\r\n") && socket.bytesWritten === 0) {
      socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    }
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Content-Length: 100",
    ),
  );
  await client.until((text) => text.includes("413"), "413");
  client.socket.write(lines("GET http://evil.test/ HTTP/1.1"));
  expect(await client.untilEnd()).toBe(
    "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  );
});

test("websocket is upgraded, and bytes flow both ways with half-close", async () => {
  await using origin = await startOrigin((connection) => {
    const { socket, received } = connection;
    if (received.endsWith("\r\n\r\n")) {
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
      );
    } else if (received.endsWith("ping")) socket.end("pong");
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `GET http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Key: x",
    ),
  );
  await client.until((text) => text.endsWith("first"), "101");
  expect(client.received).toStartWith(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
  );
  client.socket.write("ping");
  expect(await client.untilEnd()).toEndWith("firstpong");
});

test("CONNECT says 200 only when the connection stands; early bytes are passed", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received === "hello") socket.end("world");
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    `${lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`)}hello`,
  );
  const answer = await client.untilEnd();
  expect(answer).toMatch(
    /^HTTP\/1\.1 200 OK\r\ndate: [^\r]+ GMT\r\n\r\nworld$/,
  );
});

test("half-close: a reply after the client's FIN arrives, and the server's FIN does too", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (socket.readableEnded) socket.end(`got ${received}`);
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
  await client.until((text) => text.endsWith("\r\n\r\n"), "200");
  client.socket.end("question");
  expect(await client.untilEnd()).toEndWith("got question");
  expect(client.ended).toBe("fin");
});

test("an origin that ends first still reads what the client sends", async () => {
  let seen = "";
  await using origin = await startOrigin((connection) => {
    seen = connection.received;
  }, ({ socket }) => socket.end("banner"));
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
  await client.until((text) => text.endsWith("banner"), "the banner");
  client.socket.end("late");
  await comesToHold(() => seen === "late", 4_000);
  expect(seen).toBe("late");
});

test("a reset on one side of a tunnel is a reset on the other", async () => {
  await using origin = await startOrigin(({ socket }) =>
    socket.resetAndDestroy()
  );
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(`${lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`)}x`);
  await client.untilEnd();
  expect(client.ended).toBe("reset");
});

test("SOCKS5 by name and by address, with half-close", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (socket.readableEnded) socket.end(`got ${received}`);
  });
  await using proxy = startTestProxy();
  const port = String.fromCharCode(origin.port >> 8, origin.port & 255);
  for (
    const host of ["\x01\x7f\0\0\x01", "\x03\x09localhost", "\x03\x09127.0.0.1"]
  ) {
    using client = await openClient(proxy.socks);
    client.socket.write("\x05\x01\0", "latin1");
    await client.until((text) => text === "\x05\0", "the method");
    client.socket.end(`\x05\x01\0${host}${port}question`, "latin1");
    expect(await client.untilEnd()).toBe(
      "\x05\0\x05\0\0\x01\0\0\0\0\0\0got question",
    );
  }
});

test("a SOCKS client that is gone before its connection stands is in the log all the same", async () => {
  await using origin = await startOrigin(() => {});
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<{ address: string }[]>();
  await using proxy = startTestProxy({
    lookup: () => {
      asked.resolve();
      return answer.promise;
    },
  });
  const port = String.fromCharCode(origin.port >> 8, origin.port & 255);
  using client = await openClient(proxy.socks);
  client.socket.write(
    `\x05\x01\0\x05\x01\0\x03\x0ea.allowed.test${port}`,
    "latin1",
  );
  await asked.promise;
  client.socket.resetAndDestroy();
  await Bun.sleep(20);
  answer.resolve([{ address: "127.0.0.1" }]);
  await comesToHold(() => proxy.events.length > 0, 4_000);
  expect(
    proxy.events.map(({ host, address, detail }) => [host, address, detail]),
  )
    .toEqual([["a.allowed.test", "127.0.0.1", "the client went away"]]);
});

test("a burst of a thousand connections waits in the kernel while we are busy", async () => {
  await using proxy = startTestProxy();
  const dial = `
    let open = 0;
    const done = () => { console.log(open); process.exit(0); };
    setTimeout(done, 60_000);
    for (let i = 0; i < 1_000; i++) {
      Bun.connect({ hostname: "127.0.0.1", port: ${proxy.http}, socket: {
        open() { if (++open === 1_000) done(); }, data() {},
      } });
    }`;
  // Synchronous: our event loop accepts nobody meanwhile.
  const client = Bun.spawnSync([process.execPath, "-e", dial]);
  expect(client.stdout.toString()).toBe("1000\n");
});

test("clients beyond those that we hold wait in the kernel, and each is served in the end", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy({ limits: { connections: 2 } });
  const clients = await Promise.all(
    Array.from({ length: 300 }, () => openClient(proxy.http)),
  );
  await comesToHold(() => proxy.running.clients().waiting >= MAX_WAITING);
  expect(proxy.running.clients()).toEqual({ served: 2, waiting: MAX_WAITING });
  const answers = await Promise.all(clients.map((client) => {
    client.socket.end(get(origin.port));
    return client.untilEnd();
  }));
  expect(answers.filter((text) => text.endsWith("ok")).length).toBe(300);
  expect(proxy.running.clients()).toEqual({ served: 0, waiting: 0 });
});
