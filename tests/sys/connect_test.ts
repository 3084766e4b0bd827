/**
 * Connects that nobody answers: a listener whose queue is full drops what comes, as a host behind a firewall does.
 *
 * @module
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { close } from "../../src/sys/calls.ts";
import { connectFd } from "../../src/sys/connect.ts";
import {
  bindLoopback,
  boundPort,
  listen,
  tcpSocket,
} from "../../src/sys/sockets.ts";

const LOOPBACK = { bytes: [127, 0, 0, 1] };
const held: number[] = [];
let port = 0;

beforeAll(async () => {
  const fd = tcpSocket();
  if (!fd.ok || !bindLoopback(fd.value, 0).ok || !listen(fd.value, 0).ok) {
    throw new Error("cannot listen");
  }
  const bound = boundPort(fd.value);
  if (!bound.ok) throw new Error("no port");
  held.push(fd.value);
  port = bound.value;
  for (;;) {
    const filler = await connectFd(LOOPBACK, port, 20);
    if (!filler.ok) break;
    held.push(filler.value);
  }
});

afterAll(() => {
  for (const fd of held.splice(0)) close(fd);
});

test("a connect that nobody answers ends after its time", async () => {
  expect(await connectFd(LOOPBACK, port, 30)).toEqual({
    ok: false,
    error: "ETIMEDOUT",
  });
});

test("a connect that is no longer wanted ends at once", async () => {
  const cancel = { cancelled: false };
  const asked = connectFd(LOOPBACK, port, 3_600_000, cancel);
  cancel.cancelled = true;
  expect(await asked).toEqual({ ok: false, error: "ECANCELED" });
});

test("neither leaves a descriptor", async () => {
  const before = readdirSync("/proc/self/fd").length;
  const cancel = { cancelled: false };
  const asked = [
    connectFd(LOOPBACK, port, 30),
    connectFd(LOOPBACK, port, 3_600_000, cancel),
  ];
  cancel.cancelled = true;
  await Promise.all(asked);
  expect(readdirSync("/proc/self/fd").length).toBe(before);
});
