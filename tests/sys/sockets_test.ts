import { expect, test } from "bun:test";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import type { ByteString } from "../../src/bytes.ts";
import {
  accept,
  handOverListeners,
  listener,
  takeListeners,
} from "../../src/linux/control_channel.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../../src/sys/abi.ts";
import { close, pipe, poll, read, writeAll } from "../../src/sys/calls.ts";
import { connectFd } from "../../src/sys/connect.ts";
import { stableBytes } from "../../src/sys/ffi.ts";
import {
  bindLoopback,
  boundPort,
  connectUnix,
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
  const before = openCount();
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
  expect(poll([{ fd: outside, events: 1 }], 0)).not.toEqual({
    ok: true,
    value: [0],
  });
  expect(takeListeners(outside, 2)).toEqual({ ok: true, value: null });
  for (const fd of [...fds, outside]) close(fd);
  expect(openCount()).toBe(before);
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

/** Flags of an open descriptor, as proc_pid_fdinfo(5) has them: the octal bits of open(2). */
function flagsOf(fd: number): number {
  const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
  return parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? "", 8);
}

test("no socket outlives an execve, and none that we serve blocks", async () => {
  const [one, two] = pair("seqpacket");
  const tcp = tcpSocket();
  if (!tcp.ok) throw new Error("no socket");
  const folder = mkdtempSync(`${tmpdir()}/codex-sockets-`);
  const path = `${folder}/s` as ByteString;
  const handlers = { socket: { data(): void {} } };
  const servers = [
    Bun.listen({ unix: path, ...handlers }),
    Bun.listen({ hostname: "127.0.0.1", port: 0, ...handlers }),
  ] as const;
  const unix = connectUnix(path);
  const dialled = await connectFd(
    { bytes: [127, 0, 0, 1] },
    servers[1].port,
    60_000,
  );
  for (const server of servers) server.stop(true);
  rmSync(folder, { recursive: true });
  if (!unix.ok || !dialled.ok) throw new Error("no connection");
  sendMessage(one, bytes("word"), [tcp.value]);
  const message = receiveMessage(two, 64);
  const received = message.ok ? message.value?.fds[0] ?? -1 : -1;
  const fds = [one, two, tcp.value, received, unix.value, dialled.value];
  expect(fds.map((fd) => flagsOf(fd) & O_CLOEXEC)).toEqual(
    fds.map(() => O_CLOEXEC),
  );
  // Those that our event loop serves must not hold it.
  const served = [tcp.value, unix.value, dialled.value];
  expect(served.map((fd) => flagsOf(fd) & O_NONBLOCK)).toEqual(
    served.map(() => O_NONBLOCK),
  );
  for (const fd of fds) close(fd);
});

test("what we listen on inside is on 127.0.0.1 and nowhere else", () => {
  const fd = listener(0);
  const port = fd.ok ? boundPort(fd.value) : fd;
  if (!fd.ok || !port.ok) throw new Error("no listener");
  const hex = port.value.toString(16).toUpperCase().padStart(4, "0");
  const place = new RegExp(
    `^ *\\d+: ([0-9A-F]{8}):${hex} 00000000:0000 0A`,
    "m",
  );
  // proc_net_tcp(5): the address in the host's byte order.
  expect(place.exec(readFileSync("/proc/self/net/tcp", "utf8"))?.[1])
    .toBe("0100007F");
  close(fd.value);
});

test("a socket by path that nobody listens on is an error, and leaves no descriptor", () => {
  const before = openCount();
  const connected = connectUnix("/proc/none/socket" as ByteString);
  expect(connected.ok ? 0 : connected.error.errno).toBe(2); // ENOENT
  expect(openCount()).toBe(before);
});
