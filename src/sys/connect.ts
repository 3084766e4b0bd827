/**
 * TCP connections that tell the truth about failure: a non-blocking connect(2), its errno, and a socket to go on with.
 *
 * The runtime's own connect reports ECONNREFUSED for every failure (measured), so a client could not be told "no route" from
 * "refused". Waiting is done by ppoll(2) with no time-out, from a timer that only runs while connects are pending.
 * Source: `man 2 connect`, `man 7 tcp`, `netinet/in.h`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import {
  AF_INET,
  AF_INET6,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "./abi.ts";
import { close, poll, readFile } from "./calls.ts";
import { stableBytes, syscall } from "./ffi.ts";
import { SYS } from "./outcome.ts";

// `netinet/in.h`, `netinet/tcp.h`, `asm-generic/socket.h`, `bits/poll.h`.
const SO_ERROR = 4;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const POLLOUT = 4;
const EINPROGRESS = 115;

/** Errnos that a connect can end with, by name (`asm-generic/errno.h`, `errno-base.h`). */
const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  13: "EACCES",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  32: "EPIPE",
  97: "EAFNOSUPPORT",
  99: "EADDRNOTAVAIL",
  100: "ENETDOWN",
  101: "ENETUNREACH",
  103: "ECONNABORTED",
  104: "ECONNRESET",
  105: "ENOBUFS",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  112: "EHOSTDOWN",
  113: "EHOSTUNREACH",
};

/** Where to connect to. `bytes` in network order, 4 or 16; `zone` an interface name for link-local IPv6. */
export interface SocketAddress {
  readonly bytes: readonly number[];
  readonly zone?: string;
}

/** Cancels a connect that is no longer wanted: its promise then fails with `ECANCELED`. */
export interface ConnectCancel {
  cancelled: boolean;
}

/**
 * Connects by TCP.
 *
 * @param timeoutMs after which it fails with `ETIMEDOUT`
 * @returns a connected, non-blocking descriptor with TCP_NODELAY that the caller owns, or the errno's name
 */
export function connectFd(
  address: SocketAddress,
  port: number,
  timeoutMs: number,
  cancel: ConnectCancel = { cancelled: false },
): Promise<Result<number, string>> {
  const started = start(address, port);
  if (!started.ok) return Promise.resolve(started);
  const fd = started.value;
  // Loopback connects are done before connect(2) returns.
  const [events] = pollWritable([fd]);
  if (events !== 0) return Promise.resolve(finish(fd));
  return new Promise((resolve) => {
    pending.push({
      fd,
      expiresAt: performance.now() + timeoutMs,
      startedAt: performance.now(),
      cancel,
      resolve,
    });
    schedule();
  });
}

interface Pending {
  readonly fd: number;
  readonly startedAt: number;
  readonly expiresAt: number;
  readonly cancel: ConnectCancel;
  readonly resolve: (result: Result<number, string>) => void;
}

const pending: Pending[] = [];
let timer: ReturnType<typeof setTimeout> | null = null;

/** Asks again after about a tenth of the youngest one's age: 1 ms for near hosts, 20 ms for far ones. */
function schedule(): void {
  if (timer !== null || pending.length === 0) return;
  const now = performance.now();
  const youngest = pending.reduce(
    (age, { startedAt }) => Math.min(age, now - startedAt),
    200,
  );
  timer = setTimeout(settle, Math.max(1, Math.min(20, youngest / 10)));
}

function settle(): void {
  timer = null;
  const asked = pending.splice(0);
  const events = pollWritable(asked.map(({ fd }) => fd));
  const now = performance.now();
  asked.forEach((connect, i) => {
    if (connect.cancel.cancelled) {
      close(connect.fd);
      connect.resolve(fail("ECANCELED"));
    } else if (events[i] !== 0) connect.resolve(finish(connect.fd));
    else if (now >= connect.expiresAt) {
      close(connect.fd);
      connect.resolve(fail("ETIMEDOUT"));
    } else pending.push(connect);
  });
  schedule();
}

function start(
  address: SocketAddress,
  port: number,
): Result<number, string> {
  const name = socketName(address, port);
  if (name === null) return fail("EINVAL");
  const fd = syscall(
    SYS.socket,
    address.bytes.length === 4 ? AF_INET : AF_INET6,
    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
    0,
  );
  if (fd < 0) return fail(errnoName(-fd));
  setOption(fd, IPPROTO_TCP, TCP_NODELAY);
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE);
  const result = syscall(SYS.connect, fd, name, name.length);
  if (result === 0 || result === -EINPROGRESS) return ok(fd);
  close(fd);
  return fail(errnoName(-result));
}

/** struct sockaddr_in (16 bytes) or sockaddr_in6 (28). */
function socketName(address: SocketAddress, port: number): Uint8Array | null {
  const isIpv4 = address.bytes.length === 4;
  const name = stableBytes(isIpv4 ? 16 : 28);
  const view = new DataView(name.buffer);
  view.setUint16(0, isIpv4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port, false);
  name.set(address.bytes, isIpv4 ? 4 : 8);
  if (address.zone !== undefined) {
    const scope = interfaceIndex(address.zone);
    if (scope === null) return null;
    view.setUint32(24, scope, true);
  }
  return name;
}

function interfaceIndex(zone: string): number | null {
  if (/^[1-9][0-9]{0,8}$/.test(zone)) return Number(zone);
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,14}$/.test(zone)) return null;
  const text = readFile(
    `/sys/class/net/${zone}/ifindex` as ByteString,
    16,
  );
  const index = text.ok ? Number(text.value.trim()) : NaN;
  return Number.isInteger(index) && index > 0 ? index : null;
}

function setOption(fd: number, level: number, option: number): void {
  const one = stableBytes(4);
  one[0] = 1;
  // A socket without it is slower, not wrong.
  syscall(SYS.setsockopt, fd, level, option, one, 4);
}

/** SO_ERROR is the errno of a finished connect, 0 when it stands. */
function finish(fd: number): Result<number, string> {
  const value = stableBytes(4);
  const length = stableBytes(4);
  length[0] = 4;
  const result = syscall(
    SYS.getsockopt,
    fd,
    SOL_SOCKET,
    SO_ERROR,
    value,
    length,
  );
  const errno = result < 0 ? -result : new DataView(value.buffer).getInt32(
    0,
    true,
  );
  if (errno === 0) return ok(fd);
  close(fd);
  return fail(errnoName(errno));
}

function pollWritable(fds: readonly number[]): number[] {
  const events = poll(fds.map((fd) => ({ fd, events: POLLOUT })), 0);
  return events.ok ? events.value : fds.map(() => 0);
}

function errnoName(errno: number): string {
  return NAMES[errno] ?? `E${errno}`;
}
