/**
 * Both ends of a measurement of the managed network: the origin on the host's loopback, and the load from inside a sandbox.
 *
 * Raw sockets of the runtime, and no parser: whoever is between the two is what is measured.
 *
 * Usage: bun scripts/bench_network_load.ts origin FILE | keep-alive PORT [COUNT] | new PORT [COUNT] | tunnels PORT COUNT | slow PORT
 *
 * @module
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** This file: the program that plays each role. */
export const LOAD_PROGRAM = import.meta.path;

/** Bytes of a body that is asked for, or sent. */
export const BODY_BYTES = 200_000_000;
/** The same for what is done in many rounds: `/half`. */
export const HALF_BYTES = BODY_BYTES / 2;

const CLIENTS = 16;
const LOAD_MS = 500;
const COUNTED_MS = 300_000;
const TUNNELS_MS = 10_000;
/** Within this the origin listens. */
const ORIGIN_MS = 10_000;
/** Between two pieces of what is read slowly: 200 MB take ten seconds or more. */
const SLOW_TURN_MS = 5;
/** Tunnels that are being opened at one time. */
const OPENING = 128;
const HEAD_END = "\r\n\r\n";
const OK = `HTTP/1.1 200 OK\r\nContent-Length: 2${HEAD_END}ok`;

if (import.meta.main) await main(process.argv.slice(2));

async function main([role, ...words]: readonly string[]): Promise<void> {
  const [first = "", second = ""] = words;
  const origin = Number(first);
  switch (role) {
    case "origin":
      return serve(first);
    case "keep-alive":
      return say(await load(origin, "keep-alive", Number(second || Infinity)));
    case "new":
      return say(await load(origin, "close", Number(second || Infinity)));
    case "slow":
      return say(await readSlowly(origin));
    case "tunnels":
      return say(await openTunnels(origin, Number(second)));
    default:
      throw new Error(`Cannot play "${role}"`);
  }
}

function say(result: Readonly<Record<string, number>>): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}

// ---- the origin

/** The origin as a process of its own; the file with its port lies in `folder`. @throws {Error} when it doesn't come to listen */
export function startOrigin(
  folder: string,
): { readonly port: string; readonly stop: () => void } {
  const file = join(folder, "origin-port");
  const child = Bun.spawn([process.execPath, LOAD_PROGRAM, "origin", file], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const until = performance.now() + ORIGIN_MS;
  while (!existsSync(file)) {
    if (performance.now() > until) {
      child.kill();
      throw new Error("Cannot load a network: the origin does not listen");
    }
    Bun.sleepSync(10);
  }
  return { port: readFileSync(file, "utf8"), stop: () => child.kill() };
}

interface Served {
  head: string;
  /** Bytes of the request's body that are still to come. */
  toCome: number;
  /** Bytes of the answer that are still to go. */
  toGo: number;
  isEcho: boolean;
}

const ZEROS = new Uint8Array(1 << 18);

/** Serves until it is ended; the port is in `file` as soon as it is there. */
function serve(file: string): void {
  const listener = Bun.listen<Served>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket): void {
        socket.data = { head: "", toCome: 0, toGo: 0, isEcho: false };
      },
      data(socket, bytes): void {
        takeRequest(socket, bytes);
      },
      drain: pour,
    },
  });
  writeFileSync(`${file}.new`, String(listener.port));
  renameSync(`${file}.new`, file);
}

function takeRequest(socket: Bun.Socket<Served>, bytes: Buffer): void {
  const served = socket.data;
  if (served.isEcho) return void socket.write(bytes);
  if (served.toCome > 0) {
    served.toCome -= bytes.length;
    if (served.toCome <= 0) socket.write(OK);
    return;
  }
  served.head += bytes.toString("latin1");
  const end = served.head.indexOf(HEAD_END);
  if (end < 0) return;
  const { head } = served;
  served.head = "";
  if (head.startsWith("ECHO")) served.isEcho = true;
  else if (/^GET \/(big|half) /.test(head)) {
    served.toGo = bodyOf(head);
    socket.write(
      `HTTP/1.1 200 OK\r\nContent-Length: ${served.toGo}${HEAD_END}`,
    );
    pour(socket);
  } else if (head.startsWith("POST") || head.startsWith("PUT")) {
    served.toCome = bodyOf(head) - (head.length - end - HEAD_END.length);
  } else socket.write(OK);
}

/** As the first line asks. */
function bodyOf(head: string): number {
  return /^\S+ \/half /.test(head) ? HALF_BYTES : BODY_BYTES;
}

function pour(socket: Bun.Socket<Served>): void {
  const served = socket.data;
  while (served.toGo > 0) {
    const taken = socket.write(
      served.toGo < ZEROS.length ? ZEROS.subarray(0, served.toGo) : ZEROS,
    );
    if (taken <= 0) return;
    served.toGo -= taken;
  }
}

// ---- the load

/** Where the proxy of this sandbox listens. */
function proxyPort(): number {
  return Number(new URL(process.env["HTTP_PROXY"] ?? "").port);
}

/**
 * Requests in a second by sixteen clients, each with one connection or with one for each request.
 *
 * @param most so many and then no more, however long it takes; without a number for as long as a measurement lasts
 */
async function load(
  origin: number,
  kind: "keep-alive" | "close",
  most: number,
): Promise<{ readonly perSecond: number; readonly count: number }> {
  const port = proxyPort();
  const request =
    `GET http://127.0.0.1:${origin}/ok HTTP/1.1\r\nHost: 127.0.0.1:${origin}\r\nConnection: ${kind}${HEAD_END}`;
  let count = 0;
  const begun = performance.now();
  const isCounted = Number.isFinite(most);
  const until = begun + (isCounted ? COUNTED_MS : LOAD_MS);
  const done = Promise.withResolvers<void>();
  const client = (): void => {
    let text = "";
    Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open: (socket) => void socket.write(request),
        data(socket, bytes): void {
          text += bytes.toString("latin1");
          if (!text.endsWith(`${HEAD_END}ok`)) return;
          text = "";
          if (performance.now() > until) return void socket.end();
          if (++count >= most) return done.resolve();
          if (kind === "keep-alive") return void socket.write(request);
          socket.end();
          client();
        },
      },
    }).catch(() => {
      if (performance.now() < until) setTimeout(client, 1);
    });
  };
  for (let i = 0; i < CLIENTS; i++) client();
  await Promise.race([done.promise, Bun.sleep(until - begun)]);
  return { count, perSecond: count / (performance.now() - begun) * 1_000 };
}

/** Reads a large body with long rests, so that it must be held back somewhere. */
async function readSlowly(
  origin: number,
): Promise<{ readonly bytes: number }> {
  let bytes = 0;
  const done = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: proxyPort(),
    socket: {
      data(from, part): void {
        bytes += part.length;
        if (bytes >= BODY_BYTES) return done.resolve();
        from.pause();
      },
      close: () => done.resolve(),
    },
  });
  socket.write(
    `GET http://127.0.0.1:${origin}/big HTTP/1.1\r\nHost: 127.0.0.1:${origin}${HEAD_END}`,
  );
  const timer = setInterval(() => socket.resume(), SLOW_TURN_MS);
  await done.promise;
  clearInterval(timer);
  return { bytes };
}

/** Opens tunnels, holds them all, then sees a byte come back through each. */
async function openTunnels(
  origin: number,
  wanted: number,
): Promise<{ readonly stood: number; readonly ms: number }> {
  const port = proxyPort();
  const authority = `127.0.0.1:${origin}`;
  const begun = performance.now();
  let left = wanted;
  let stood = 0;
  let answered = 0;
  let ms = 0;
  const open: Bun.Socket<undefined>[] = [];
  const done = Promise.withResolvers<void>();
  const settle = (isOpen: boolean): void => {
    answered++;
    if (isOpen) stood++;
    ms = performance.now() - begun;
    if (answered === wanted) done.resolve();
    else next();
  };
  const next = (): void => {
    if (left-- <= 0) return;
    let isSettled = false;
    const end = (isOpen: boolean): void => {
      if (isSettled) return;
      isSettled = true;
      settle(isOpen);
    };
    Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open(socket): void {
          socket.write(
            `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}${HEAD_END}`,
          );
        },
        data(socket, bytes): void {
          const text = bytes.toString("latin1");
          if (isSettled) return;
          if (text.startsWith("HTTP/1.1 200") && text.endsWith(HEAD_END)) {
            socket.write(`ECHO${HEAD_END}`);
            // What comes back is asked for when all stand.
            open.push(socket as Bun.Socket<undefined>);
            end(true);
          } else if (!"HTTP/1.1 200".startsWith(text.slice(0, 12))) end(false);
        },
        close: () => end(false),
        error: () => end(false),
      },
    }).catch(() => end(false));
  };
  for (let i = 0; i < OPENING; i++) next();
  await Promise.race([done.promise, Bun.sleep(TUNNELS_MS)]);
  return { stood: await alive(open, stood), ms };
}

/** How many of the tunnels bring a byte back. */
async function alive(
  open: readonly Bun.Socket<undefined>[],
  stood: number,
): Promise<number> {
  let back = 0;
  const all = Promise.withResolvers<void>();
  for (const socket of open) {
    socket.reload({
      socket: {
        data(): void {
          if (++back === stood) all.resolve();
        },
      },
    });
    socket.write("x");
  }
  await Promise.race([all.promise, Bun.sleep(5_000)]);
  return back;
}
