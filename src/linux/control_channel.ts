/**
 * The channel between the inner stage and the supervisor: what is made inside the namespaces is handed out before the command starts.
 *
 * One inherited socket, of messages. A message is a word, and descriptors with it; the stage sends what its orders ask for, the
 * supervisor answers {@linkcode ACCEPTED} once it serves them, and the stage closes its end. By then nothing of the command has run,
 * so everything that comes through is ours. Whatever else is to be handed out later is a word more.
 *
 * Effects: sockets.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { close, type SysError } from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import {
  BACKLOG,
  bindLoopback,
  listen,
  receiveMessage,
  sendMessage,
  tcpSocket,
} from "../sys/sockets.ts";

/** What a message hands over. */
export type Word = "listeners";

/** The supervisor's answer: what was handed over is in use. */
const ACCEPTED = "accepted";

/** Longest word. */
const LIMIT_BYTES = 64;

/**
 * The inner stage's part: listens on ports of the namespace's own 127.0.0.1, hands the sockets out, waits until they are served, and
 * closes the channel.
 *
 * @returns the failure is one line
 */
export function handOverListeners(
  channel: number,
  ports: readonly number[],
): Result<void, string> {
  const fds: number[] = [];
  for (const port of ports) {
    const fd = listener(port);
    if (!fd.ok) {
      return fail(
        `Cannot listen on 127.0.0.1:${port} for the managed network: ${
          describe(fd.error)
        }`,
      );
    }
    fds.push(fd.value);
  }
  return handOver(channel, fds);
}

/** Hands listeners out, waits until they are served, and closes them and the channel. @returns the failure is one line */
export function handOver(
  channel: number,
  fds: readonly number[],
): Result<void, string> {
  const sent = send(channel, "listeners", fds);
  if (!sent.ok) {
    return fail(
      `Cannot hand the listeners over to the supervisor: ${
        describe(sent.error)
      }`,
    );
  }
  for (const fd of fds) close(fd);
  const answer = receiveMessage(channel, LIMIT_BYTES);
  close(channel);
  if (!answer.ok || answer.value === null || text(answer.value) !== ACCEPTED) {
    return fail(
      "Cannot start without the managed network: the host bridge did not accept its listener",
    );
  }
  return ok(undefined);
}

/**
 * The supervisor's part: takes one message, which must be the listeners.
 *
 * @returns `null` when the stage has ended without one; it has said why
 */
export function takeListeners(
  channel: number,
  count: number,
): Result<readonly number[] | null, SysError> {
  const message = receiveMessage(channel, LIMIT_BYTES);
  if (!message.ok) return message;
  if (message.value === null) return ok(null);
  const { fds } = message.value;
  if (text(message.value) === "listeners" && fds.length === count) {
    return ok(fds);
  }
  for (const fd of fds) close(fd);
  return fail({ kind: "sys", call: "recvmsg", errno: abi.EINVAL });
}

/** The supervisor's answer, after which the command starts. */
export function accept(channel: number): Result<void, SysError> {
  return send(channel, ACCEPTED, []);
}

/** A listening, non-blocking socket on a port of 127.0.0.1, 0 for a free one. */
export function listener(port: number): Result<number, SysError> {
  const fd = tcpSocket();
  if (!fd.ok) return fd;
  const bound = bindLoopback(fd.value, port);
  if (!bound.ok) return bound;
  const listening = listen(fd.value, BACKLOG);
  return listening.ok ? fd : listening;
}

function send(
  channel: number,
  word: Word | typeof ACCEPTED,
  fds: readonly number[],
): Result<void, SysError> {
  const bytes = stableBytes(word.length);
  Buffer.from(bytes.buffer).write(word, "latin1");
  return sendMessage(channel, bytes, fds);
}

function text(message: { readonly bytes: Uint8Array }): string {
  return Buffer.from(message.bytes).toString("latin1");
}

function describe(error: SysError): string {
  return `${error.call} says ${abi.errnoText(error.errno)}`;
}
