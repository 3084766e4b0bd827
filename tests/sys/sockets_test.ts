import { expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import {
  accept,
  handOverListeners,
  takeListeners,
} from "../../src/linux/control_channel.ts";
import { close, pipe, poll, read, writeAll } from "../../src/sys/calls.ts";
import { stableBytes } from "../../src/sys/ffi.ts";
import {
  bindLoopback,
  boundPort,
  listen,
  receiveMessage,
  sendMessage,
  socketPair,
  tcpSocket,
} from "../../src/sys/sockets.ts";

function pair(type: "stream" | "seqpacket"): readonly [number, number] {
  const ends = socketPair(type);
  if (!ends.ok) throw new Error(ends.error.call);
  return ends.value;
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  const made = stableBytes(text.length);
  Buffer.from(made.buffer).write(text, "latin1");
  return made;
}

function openCount(): number {
  return readdirSync("/proc/self/fd").length;
}

test("a message arrives with its descriptors, which are the same open files", () => {
  const [one, two] = pair("seqpacket");
  const ends = pipe();
  if (!ends.ok) throw new Error("no pipe");
  const [from, to] = ends.value;
  expect(sendMessage(one, bytes("word"), [to, from]).ok).toBe(true);
  expect(sendMessage(one, bytes("next"), []).ok).toBe(true);
  const message = receiveMessage(two, 64);
  if (!message.ok || message.value === null) throw new Error("no message");
  expect(Buffer.from(message.value.bytes).toString()).toBe("word");
  expect(message.value.fds.length).toBe(2);
  const [writes = -1, reads = -1] = message.value.fds;
  writeAll(writes, bytes("x"));
  expect(read(from, stableBytes(4))).toEqual({ ok: true, value: 1 });
  expect(readlinkSync(`/proc/self/fd/${reads}`))
    .toBe(readlinkSync(`/proc/self/fd/${from}`));
  const next = receiveMessage(two, 64);
  expect(next.ok && next.value?.fds).toEqual([]);
  for (const fd of [one, two, from, to, writes, reads]) close(fd);
});

test("a closed channel is the end, and sending into it is an error, not a signal", () => {
  const [one, two] = pair("seqpacket");
  close(one);
  expect(receiveMessage(two, 64)).toEqual({ ok: true, value: null });
  const sent = sendMessage(two, bytes("x"), []);
  expect(sent.ok ? 0 : sent.error.errno).toBe(32); // EPIPE
  close(two);
});

test("a message that is cut leaves no descriptor behind", () => {
  const [one, two] = pair("seqpacket");
  const before = openCount();
  sendMessage(one, bytes("longer than that"), [one]);
  const message = receiveMessage(two, 4);
  expect(message.ok ? 0 : message.error.errno).toBe(7); // E2BIG
  expect(openCount()).toBe(before);
  close(one);
  close(two);
});

test("a listener on the loopback takes a free port, and a taken one is refused", () => {
  const [first, second] = [tcpSocket(), tcpSocket()];
  if (!first.ok || !second.ok) throw new Error("no socket");
  expect(bindLoopback(first.value, 0).ok).toBe(true);
  expect(listen(first.value, 8).ok).toBe(true);
  const port = boundPort(first.value);
  expect(port.ok && port.value > 0).toBe(true);
  const taken = bindLoopback(second.value, port.ok ? port.value : 0);
  expect(taken.ok ? 0 : taken.error.errno).toBe(98); // EADDRINUSE
  close(first.value);
  close(second.value);
});

test("the stage hands its listeners over and goes on when they are accepted", () => {
  const [inside, outside] = pair("seqpacket");
  expect(accept(outside).ok).toBe(true);
  expect(handOverListeners(inside, [0, 0])).toEqual({
    ok: true,
    value: undefined,
  });
  const taken = takeListeners(outside, 2);
  const fds = taken.ok ? taken.value ?? [] : [];
  expect(fds.length).toBe(2);
  for (const fd of fds) {
    const port = boundPort(fd);
    expect(port.ok && port.value > 0).toBe(true);
    expect(poll([{ fd, events: 1 }], 0)).toEqual({ ok: true, value: [0] });
  }
  // The stage's end is closed: there is nothing more to come.
  expect(takeListeners(outside, 2)).toEqual({ ok: true, value: null });
  for (const fd of [...fds, outside]) close(fd);
});

test("the stage goes no further when nobody accepts", () => {
  const [inside, outside] = pair("seqpacket");
  close(outside);
  expect(handOverListeners(inside, [0]).ok).toBe(false);
  const [one, two] = pair("seqpacket");
  sendMessage(two, bytes("no"), []);
  expect(handOverListeners(one, [0]).ok).toBe(false);
  close(two);
});

test("another word, or another number of listeners, is no handover, and nothing stays open", () => {
  const [inside, outside] = pair("seqpacket");
  const before = openCount();
  sendMessage(inside, bytes("listeners"), [inside]);
  expect(takeListeners(outside, 2).ok).toBe(false);
  sendMessage(inside, bytes("pty"), [inside]);
  expect(takeListeners(outside, 1).ok).toBe(false);
  expect(openCount()).toBe(before);
  close(inside);
  close(outside);
});
