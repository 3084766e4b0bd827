/**
 * Sockets of the control channel and listeners in the network namespace, one function for each call.
 *
 * Only what is loaded on demand imports this: a run without a proxy makes no socket.
 * Source: `man 2 socketpair`, `man 7 unix`, `man 3 cmsg`, `man 7 ip`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { close, type SysError } from "./calls.ts";
import { addressOf, stableBytes, syscall } from "./ffi.ts";
import { failed, SYS } from "./outcome.ts";

/** socketpair(2) of AF_UNIX, close-on-exec. @param flags SOCK_NONBLOCK or 0 */
export function socketPair(
  type: "stream" | "seqpacket",
  flags = 0,
): Result<readonly [number, number], SysError> {
  const ends = stableBytes(8);
  const kind = type === "stream" ? abi.SOCK_STREAM : abi.SOCK_SEQPACKET;
  const result = syscall(
    SYS.socketpair,
    abi.AF_UNIX,
    kind | abi.SOCK_CLOEXEC | flags,
    0,
    ends,
  );
  if (result < 0) return failed("socketpair", result);
  const view = new DataView(ends.buffer);
  return ok([view.getInt32(0, true), view.getInt32(4, true)]);
}

/** socket(2) for TCP over IPv4, close-on-exec and non-blocking. */
export function tcpSocket(): Result<number, SysError> {
  const type = abi.SOCK_STREAM | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK;
  const result = syscall(SYS.socket, abi.AF_INET, type, 0);
  return result < 0 ? failed("socket", result) : ok(result);
}

/** bind(2) to a port of 127.0.0.1, 0 for a free one. */
export function bindLoopback(
  fd: number,
  port: number,
): Result<void, SysError> {
  // struct sockaddr_in (`netinet/in.h`): u16 family, u16 port and u32 address in network order, 8 bytes of nothing.
  const name = stableBytes(16);
  const view = new DataView(name.buffer);
  view.setUint16(0, abi.AF_INET, true);
  view.setUint16(2, port, false);
  view.setUint32(4, 0x7f00_0001, false);
  const result = syscall(SYS.bind, fd, name, name.length);
  return result < 0 ? failed(`bind 127.0.0.1:${port}`, result) : ok(undefined);
}

/** The port that a TCP socket over IPv4 is bound to (getsockname(2)). */
export function boundPort(fd: number): Result<number, SysError> {
  const name = stableBytes(16);
  const length = stableBytes(4);
  length[0] = name.length;
  const result = syscall(SYS.getsockname, fd, name, length);
  return result < 0
    ? failed("getsockname", result)
    : ok(new DataView(name.buffer).getUint16(2, false));
}

/** connect(2) of an AF_UNIX stream to a path of at most 107 bytes. @returns a non-blocking, close-on-exec descriptor */
export function connectUnix(path: ByteString): Result<number, SysError> {
  const type = abi.SOCK_STREAM | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK;
  const fd = syscall(SYS.socket, abi.AF_UNIX, type, 0);
  if (fd < 0) return failed("socket", fd);
  // struct sockaddr_un (`linux/un.h`): u16 family, 108 bytes of path.
  const name = stableBytes(110);
  new DataView(name.buffer).setUint16(0, abi.AF_UNIX, true);
  Buffer.from(name.buffer).write(path, 2, 107, "latin1");
  const result = syscall(SYS.connect, fd, name, 2 + path.length + 1);
  if (result === 0) return ok(fd);
  close(fd);
  return failed("connect", result);
}

/** What waits in the kernel for accept(2), at most: the default of net.core.somaxconn. A burst of connections must not be dropped. */
export const BACKLOG = 4_096;

/** Gives a listener its backlog back: the runtime calls listen(2) again with 511 of its own. */
export function deepen(fd: number): void {
  // A listener with a short queue is slower, not wrong.
  listen(fd, BACKLOG);
}

/** listen(2). @param backlog cut down to net.core.somaxconn by the kernel */
export function listen(fd: number, backlog: number): Result<void, SysError> {
  const result = syscall(SYS.listen, fd, backlog);
  return result < 0 ? failed("listen", result) : ok(undefined);
}

/** sendmsg(2) of one message with descriptors. @param fds at most SCM_MAX_FD */
export function sendMessage(
  socket: number,
  bytes: Uint8Array<ArrayBuffer>,
  fds: readonly number[],
): Result<void, SysError> {
  const control = stableBytes(space(fds.length));
  if (fds.length > 0) {
    const view = new DataView(control.buffer);
    view.setUint32(0, abi.CMSGHDR.bytes + 4 * fds.length, true);
    view.setInt32(abi.CMSGHDR.level, abi.SOL_SOCKET, true);
    view.setInt32(abi.CMSGHDR.type, abi.SCM_RIGHTS, true);
    fds.forEach((fd, index) =>
      view.setInt32(abi.CMSGHDR.bytes + 4 * index, fd, true)
    );
  }
  const header = messageHeader(bytes, fds.length === 0 ? null : control);
  for (;;) {
    const result = syscall(
      SYS.sendmsg,
      socket,
      header.bytes,
      abi.MSG_NOSIGNAL,
    );
    if (result === -abi.EINTR) continue;
    // Named again, so that what the header points to outlives the call.
    if (result === bytes.length && header.kept.length > 0) return ok(undefined);
    return failed("sendmsg", result < 0 ? result : -abi.E2BIG);
  }
}

/** One received message; its descriptors are close-on-exec and belong to the caller. */
export interface Message {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly fds: readonly number[];
}

/**
 * recvmsg(2) of one message.
 *
 * @returns `null` at end of file; a message that did not fit is E2BIG, and its descriptors are closed
 */
export function receiveMessage(
  socket: number,
  limitBytes: number,
): Result<Message | null, SysError> {
  const bytes = stableBytes(limitBytes);
  const control = stableBytes(space(abi.SCM_MAX_FD));
  const header = messageHeader(bytes, control);
  for (;;) {
    const result = syscall(
      SYS.recvmsg,
      socket,
      header.bytes,
      abi.MSG_CMSG_CLOEXEC,
    );
    if (result === -abi.EINTR) continue;
    if (result < 0 || header.kept.length === 0) {
      return failed("recvmsg", result);
    }
    const view = new DataView(header.bytes.buffer);
    const used = view.getUint32(abi.MSGHDR.controllen, true);
    const fds = rightsOf(new DataView(control.buffer), used);
    const cut = view.getInt32(abi.MSGHDR.flags, true) &
      (abi.MSG_TRUNC | abi.MSG_CTRUNC);
    if (cut !== 0) {
      for (const fd of fds) close(fd);
      return failed("recvmsg", -abi.E2BIG);
    }
    if (result === 0 && fds.length === 0) return ok(null);
    return ok({ bytes: bytes.slice(0, result), fds });
  }
}

/** Every descriptor in the control messages. */
function rightsOf(view: DataView, used: number): number[] {
  const fds: number[] = [];
  for (let at = 0; at + abi.CMSGHDR.bytes <= used;) {
    const length = view.getUint32(at, true);
    if (length < abi.CMSGHDR.bytes) break;
    const isRights =
      view.getInt32(at + abi.CMSGHDR.level, true) === abi.SOL_SOCKET &&
      view.getInt32(at + abi.CMSGHDR.type, true) === abi.SCM_RIGHTS;
    const end = Math.min(at + length, used);
    for (
      let data = at + abi.CMSGHDR.bytes;
      isRights && data + 4 <= end;
      data += 4
    ) fds.push(view.getInt32(data, true));
    at += align(length);
  }
  return fds;
}

function messageHeader(
  bytes: Uint8Array<ArrayBuffer>,
  control: Uint8Array<ArrayBuffer> | null,
): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly kept: readonly unknown[];
} {
  // struct iovec (`bits/types/struct_iovec.h`): pointer and length.
  const vector = stableBytes(16);
  const pieces = new DataView(vector.buffer);
  pieces.setBigUint64(0, BigInt(addressOf(bytes)), true);
  pieces.setUint32(8, bytes.length, true);
  const header = stableBytes(abi.MSGHDR.bytes);
  const view = new DataView(header.buffer);
  view.setBigUint64(abi.MSGHDR.iov, BigInt(addressOf(vector)), true);
  view.setUint32(abi.MSGHDR.iovlen, 1, true);
  if (control !== null) {
    view.setBigUint64(abi.MSGHDR.control, BigInt(addressOf(control)), true);
    view.setUint32(abi.MSGHDR.controllen, control.length, true);
  }
  return { bytes: header, kept: [vector, bytes, control] };
}

/** CMSG_SPACE of so many descriptors. */
function space(count: number): number {
  return align(abi.CMSGHDR.bytes + 4 * count);
}

function align(length: number): number {
  return (length + 7) & ~7;
}
