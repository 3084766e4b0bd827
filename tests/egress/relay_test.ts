import { expect, test } from "bun:test";
import { type Dial, startRelay } from "../../src/egress/relay.ts";
import { attributionPreface } from "../../src/egress/routes.ts";
import { connectFd } from "../../src/sys/connect.ts";
import { ask, listenFd, openClient, startOrigin } from "./fixtures.ts";
import { comesToHold } from "../patience.ts";

function dialTo(port: number): Dial {
  return () => connectFd({ bytes: [127, 0, 0, 1] }, port, 60_000);
}

test("bytes go to the caller's proxy behind the attribution frame, and half-close works", async () => {
  await using callersProxy = await startOrigin(({ socket, received }) => {
    if (socket.readableEnded) socket.end(`got ${received.length}`);
  });
  const listener = listenFd();
  const relay = startRelay({
    routes: [{
      fd: listener.fd,
      dial: dialTo(callersProxy.port),
    }],
    preface: attributionPreface("tok123"),
    connections: 9,
  });
  using client = await openClient(listener.port);
  client.socket.end("GET / HTTP/1.1\r\n\r\n");
  expect(await client.untilEnd()).toBe("got 34");
  expect(client.ended).toBe("fin");
  expect(callersProxy.connections[0]?.received).toBe(
    "\0CDXPXY1\0\x06tok123GET / HTTP/1.1\r\n\r\n",
  );
  await relay.close();
});

test("each listener leads to its own endpoint and nowhere else", async () => {
  await using one = await startOrigin(({ socket }) => socket.end("one"));
  await using two = await startOrigin(({ socket }) => socket.end("two"));
  const listeners = [listenFd(), listenFd()];
  const relay = startRelay({
    routes: listeners.map(({ fd }, i) => ({
      fd,
      dial: dialTo((i === 0 ? one : two).port),
    })),
    preface: null,
    connections: 9,
  });
  expect(await ask(listeners[0]?.port ?? 0, "x")).toBe("one");
  expect(await ask(listeners[1]?.port ?? 0, "x")).toBe("two");
  await relay.close();
});

test("a proxy that is gone is a reset, and the relay goes on", async () => {
  const gone = await startOrigin(() => {});
  const { port } = gone;
  await gone[Symbol.asyncDispose]();
  const listener = listenFd();
  const relay = startRelay({
    routes: [{ fd: listener.fd, dial: dialTo(port) }],
    preface: null,
    // So that one which kept its place would keep the next ones out.
    connections: 1,
  });
  for (let i = 0; i < 3; i++) {
    using client = await openClient(listener.port);
    await comesToHold(() => client.ended !== null, 1_000);
    expect(client.ended).toBe("reset");
  }
  await relay.close();
  await expect(openClient(listener.port)).rejects.toThrow();
});

test("a relay that is closed resets who is served", async () => {
  await using callersProxy = await startOrigin(({ socket }) =>
    socket.write("it")
  );
  const listener = listenFd();
  const relay = startRelay({
    routes: [{ fd: listener.fd, dial: dialTo(callersProxy.port) }],
    preface: null,
    connections: 9,
  });
  using client = await openClient(listener.port);
  client.socket.write("x");
  await client.until((text) => text === "it");
  await relay.close();
  await comesToHold(() => client.ended !== null, 1_000);
  expect(client.ended).toBe("reset");
});

test("clients beyond the limit wait in the kernel and are served in turn", async () => {
  await using callersProxy = await startOrigin(({ socket }) =>
    socket.end("ok")
  );
  const listener = listenFd();
  const relay = startRelay({
    routes: [{ fd: listener.fd, dial: dialTo(callersProxy.port) }],
    preface: null,
    connections: 2,
  });
  const clients = await Promise.all(
    Array.from({ length: 50 }, () => openClient(listener.port)),
  );
  const [first, second, ...others] = clients;
  await comesToHold(() => callersProxy.connections.length >= 2);
  await Bun.sleep(20);
  expect(callersProxy.connections.length).toBe(2);
  for (const client of [first, second, ...others]) client?.socket.end("x");
  const answers = await Promise.all(clients.map((it) => it.untilEnd()));
  expect(answers).toEqual(clients.map(() => "ok"));
  await relay.close();
});

test("what a client sends before its connection stands is not lost", async () => {
  await using callersProxy = await startOrigin(({ socket, received }) => {
    if (socket.readableEnded) socket.end(`got ${received}`);
  });
  const listener = listenFd();
  const relay = startRelay({
    routes: [{
      fd: listener.fd,
      dial: async () => {
        await Bun.sleep(50);
        return await dialTo(callersProxy.port)();
      },
    }],
    preface: null,
    connections: 9,
  });
  expect(await askAndEnd(listener.port, "early")).toBe("got early");
  await relay.close();
});

async function askAndEnd(port: number, text: string): Promise<string> {
  using client = await openClient(port);
  client.socket.end(text);
  return await client.untilEnd();
}
