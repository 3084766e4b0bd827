/**
 * What stalls ends in time, what is slow is waited for, what ends leaves nothing behind.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import {
  ask,
  lines,
  openClient,
  type RawClient,
  startHttpOrigin,
  startOrigin,
  startTestProxy,
} from "./fixtures.ts";
import { comesToHold } from "../patience.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

async function settled(count: () => number, wanted: number): Promise<number> {
  await comesToHold(() => count() <= wanted);
  return count();
}

test("a head that never ends is answered 408, a silent connection is closed", async () => {
  await using proxy = startTestProxy({ limits: { headMs: 500 } });
  using half = await openClient(proxy.http);
  half.socket.write("GET http://127.0.0.1/ HTTP/1.1\r\nX: ");
  using socks = await openClient(proxy.socks);
  socks.socket.write("\x05\x01");
  using silent = await openClient(proxy.http);
  expect(await half.untilEnd()).toStartWith("HTTP/1.1 408 Request Timeout\r\n");
  expect(await silent.untilEnd()).toBe("");
  expect(await socks.untilEnd()).toBe("");
});

test("a client that drips its head is closed all the same", async () => {
  await using proxy = startTestProxy({ limits: { headMs: 500 } });
  using client = await openClient(proxy.http);
  const drip = setInterval(() => client.socket.write("X"), 20);
  try {
    expect(await client.untilEnd()).toStartWith("HTTP/1.1 408");
  } finally {
    clearInterval(drip);
  }
});

test("an idle connection ends between two requests, not within one", async () => {
  await using origin = await startOrigin(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) {
      setTimeout(() => socket.write(OK), 1_200);
    }
  });
  await using proxy = startTestProxy({
    limits: { keepAliveMs: 500, headMs: 500 },
  });
  expect(
    await ask(
      proxy.http,
      lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`),
    ),
  ).toEndWith("ok");
});

test("an origin that never answers is 504, one that stops in the middle is a reset", async () => {
  await using silent = await startOrigin(() => {});
  await using stuck = await startOrigin(({ socket, received }) => {
    if (received.endsWith("\r\n\r\n")) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    }
  });
  await using proxy = startTestProxy({ limits: { responseMs: 500 } });
  expect(
    await ask(
      proxy.http,
      lines(`GET http://127.0.0.1:${silent.port}/ HTTP/1.1`),
    ),
  ).toStartWith("HTTP/1.1 504 Gateway Timeout");
  using client = await openClient(proxy.http);
  client.socket.write(lines(`GET http://127.0.0.1:${stuck.port}/ HTTP/1.1`));
  await client.untilEnd();
  expect(client.ended).toBe("reset");
});

test("a dial that takes too long is 504 and 04", async () => {
  // 192.0.2.1 is documentation: the kernel has no answer, or says at once that there is no route.
  const never = {
    dial: () => new Promise<never>(() => {}),
    upstreamOf: () => null,
    ownAddresses: () => [],
  };
  await using stuck = startTestProxy({ dialer: never });
  using client = await openClient(stuck.http);
  client.socket.write(lines("CONNECT 127.0.0.1:9 HTTP/1.1"));
  await Bun.sleep(50);
  expect(client.ended).toBeNull();
  const late = {
    ...never,
    dial: () =>
      Promise.resolve(
        {
          ok: false,
          error: { kind: "connect", errno: "ETIMEDOUT", detail: "too late" },
        } as const,
      ),
  };
  await using proxy = startTestProxy({ dialer: late });
  expect(await ask(proxy.http, lines("CONNECT 127.0.0.1:9 HTTP/1.1")))
    .toStartWith("HTTP/1.1 504 Gateway Timeout");
  expect(
    (await ask(proxy.socks, "\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\x09"))
      .slice(2, 4),
  ).toBe("\x05\x04");
});

const TUNNEL_IDLE_MS = 400;

test("an idle tunnel ends, a busy one doesn't", async () => {
  // On a machine that stood still for longer than the limit the busy one was idle too: that shows nothing.
  for (let attempt = 0; attempt < 5; attempt++) {
    const { isBusyThere, longestPauseMs } = await idleAndBusyTunnel();
    if (isBusyThere) return;
    expect(longestPauseMs).toBeGreaterThan(TUNNEL_IDLE_MS / 2);
  }
  throw new Error("the machine stood still each time");
});

/** Waits for the idle tunnel's end. @returns how it went with the busy one, and how long that was silent at most */
async function idleAndBusyTunnel(): Promise<
  { readonly isBusyThere: boolean; readonly longestPauseMs: number }
> {
  await using origin = await startOrigin(() => {});
  await using proxy = startTestProxy({
    limits: { tunnelIdleMs: TUNNEL_IDLE_MS },
  });
  using busy = await openClient(proxy.http);
  using idle = await openClient(proxy.http);
  for (const client of [busy, idle]) {
    client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
    await client.until((text) => text.endsWith("\r\n\r\n"));
  }
  let last = Date.now();
  let longestPauseMs = 0;
  const pause = (): void => {
    const now = Date.now();
    longestPauseMs = Math.max(longestPauseMs, now - last);
    last = now;
  };
  const beat = setInterval(() => {
    pause();
    busy.socket.write("x");
  }, 30);
  await idle.untilEnd();
  await Bun.sleep(TUNNEL_IDLE_MS);
  clearInterval(beat);
  pause();
  return { isBusyThere: busy.ended === null, longestPauseMs };
}

test("beyond the limit clients wait, and are served when others end", async () => {
  await using origin = await startHttpOrigin(OK);
  await using proxy = startTestProxy({ limits: { connections: 2 } });
  const request = lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`);
  const clients: RawClient[] = [];
  for (let i = 0; i < 4; i++) {
    const client = await openClient(proxy.http);
    client.socket.write(request);
    clients.push(client);
  }
  try {
    await clients[0]?.until((text) => text.endsWith("ok"));
    await clients[1]?.until((text) => text.endsWith("ok"));
    await Bun.sleep(50);
    expect(clients[2]?.received).toBe("");
    expect(proxy.running.clients()).toEqual({ served: 2, waiting: 2 });
    clients[0]?.socket.destroy();
    await clients[2]?.until((text) => text.endsWith("ok"));
    clients[1]?.socket.end();
    await clients[3]?.until((text) => text.endsWith("ok"));
  } finally {
    for (const client of clients) client[Symbol.dispose]();
  }
});

test("200 MB to a reader that stops stay at the origin, and all of it arrives afterwards", async () => {
  const SIZE = 200 * 1024 * 1024;
  const piece = Buffer.alloc(256 * 1024, "x");
  let sent = 0;
  const pour = (
    socket: {
      write: (b: Buffer) => boolean;
      once: (e: string, f: () => void) => void;
    },
  ): void => {
    while (sent < SIZE) {
      sent += piece.length;
      if (!socket.write(piece)) {
        socket.once("drain", () => pour(socket));
        return;
      }
    }
  };
  await using origin = await startOrigin(({ socket, received }) => {
    if (!received.endsWith("\r\n\r\n")) return;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
    pour(socket);
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  const before = process.memoryUsage.rss();
  let got = 0;
  client.socket.removeAllListeners("data");
  client.socket.on("data", (bytes) => {
    got += bytes.length;
  });
  client.socket.pause();
  client.socket.write(
    lines(`GET http://127.0.0.1:${origin.port}/ HTTP/1.1`, "Connection: close"),
  );
  await Bun.sleep(400);
  const grown = process.memoryUsage.rss() - before;
  expect(sent).toBeLessThan(48 * 1024 * 1024);
  expect(grown).toBeLessThan(64 * 1024 * 1024);
  client.socket.resume();
  await client.untilEnd();
  expect(got).toBeGreaterThan(SIZE);
  expect(proxy.events[0]?.bytesDown).toBe(SIZE);
});

test("an upload to an origin that reads slowly is held back and arrives whole", async () => {
  const SIZE = 32 * 1024 * 1024;
  let got = 0;
  await using origin = await startOrigin(() => {}, (connection) => {
    const { socket } = connection;
    socket.removeAllListeners("data");
    socket.pause();
    setTimeout(() => socket.resume(), 200);
    socket.on("data", (bytes) => {
      got += bytes.length;
      if (bytes.includes("END")) socket.write(OK);
    });
  });
  await using proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(
    lines(
      `POST http://127.0.0.1:${origin.port}/ HTTP/1.1`,
      `Content-Length: ${SIZE + 3}`,
    ),
  );
  client.socket.write(Buffer.alloc(SIZE));
  client.socket.write("END");
  await client.until((text) => text.endsWith("ok"), "the answer");
  expect(got).toBeGreaterThan(SIZE);
});

test("thousands of requests and hundreds of broken ones leave no descriptor behind", async () => {
  await using origin = await startHttpOrigin(OK);
  await using dying = await startOrigin(({ socket }) =>
    socket.resetAndDestroy()
  );
  await using proxy = startTestProxy({ limits: { lingerMs: 50 } });
  const url = (port: number): string => `http://127.0.0.1:${port}/`;
  const round = async (): Promise<void> => {
    const keep = lines(`GET ${url(origin.port)} HTTP/1.1`);
    const last = lines(`GET ${url(origin.port)} HTTP/1.1`, "Connection: close");
    await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      await ask(proxy.http, keep.repeat(49) + last);
      await ask(
        proxy.http,
        lines(`GET ${url(dying.port)} HTTP/1.1`, "Connection: close"),
      );
      await ask(proxy.http, lines("CONNECT 127.0.0.1:1 HTTP/1.1"));
      await ask(proxy.socks, "\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\x01");
      using gone = await openClient(proxy.http);
      gone.socket.write(
        i % 2 === 0 ? keep : lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`),
      );
      if (i % 3 === 0) gone.socket.resetAndDestroy();
    }));
  };
  await round();
  await settled(() => proxy.running.clients().served, 0);
  const before = openDescriptors();
  for (let i = 0; i < 4; i++) await round();
  expect(await settled(() => proxy.running.clients().served, 0)).toBe(0);
  expect(await settled(openDescriptors, before)).toBeLessThanOrEqual(before);
  expect(proxy.events.filter(({ verdict }) => verdict === "allowed").length)
    .toBeGreaterThanOrEqual(5_000);
});

test("closing the proxy ends its listeners and its clients", async () => {
  await using origin = await startOrigin(() => {});
  const before = openDescriptors();
  const proxy = startTestProxy();
  using client = await openClient(proxy.http);
  client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
  await client.until((text) => text.endsWith("\r\n\r\n"));
  await proxy.running.close();
  await client.untilEnd();
  await expect(openClient(proxy.http)).rejects.toThrow();
  for (const { socket } of origin.connections) socket.destroy();
  client.socket.destroy();
  expect(await settled(openDescriptors, before)).toBeLessThanOrEqual(before);
});
