/**
 * `codex proxy-connect HOST PORT`: standard input and output joined to a host through the run's proxy. For ssh's `ProxyCommand`.
 *
 * Runs inside the sandbox, under its filter, and decides nothing: it asks the proxy that the variables name by CONNECT.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { formatEndpoint, parseHost, parsePort } from "../policy/host.ts";
import { connectFd } from "../sys/connect.ts";
import { proxyEndpoint } from "./environment.ts";
import { fieldValue, findHeadEnd, parseResponseHead } from "./http_head.ts";
import {
  abort,
  adopt,
  finish,
  type Link,
  newLink,
  NO_OWNER,
  pause,
  resume,
  send,
  sendText,
} from "./link.ts";

/** What is asked. */
export interface ProxyConnectRequest {
  readonly host: string;
  readonly port: string;
  /** Entries of the process's own environment. */
  readonly environment: readonly ByteString[];
}

const DIAL_MS = 10_000;

/**
 * Joins and waits for the end.
 *
 * @returns `null` when the connection ended in order, else one line that says what went wrong
 */
export async function proxyConnect(
  request: ProxyConnectRequest,
): Promise<string | null> {
  const host = parseHost(request.host);
  const port = parsePort(request.port);
  if (!host.ok) {
    return `Cannot connect to "${request.host}": ${host.error}; write proxy-connect HOST PORT`;
  }
  if (port === null) {
    return `Cannot connect to port "${request.port}": it must be a number from 1 to 65535`;
  }
  const target = formatEndpoint({ host: host.value, port });
  const proxy = proxyEndpoint(request.environment, "HTTPS_PROXY");
  if (proxy === null || proxy.scheme !== "http") {
    return `Cannot connect to ${target}: HTTPS_PROXY names no proxy of this sandbox, such as http://127.0.0.1:PORT`;
  }
  const dialled = await connectFd(
    { bytes: [127, 0, 0, 1] },
    proxy.port,
    DIAL_MS,
  );
  if (!dialled.ok) {
    return `Cannot connect to ${target}: the proxy at 127.0.0.1:${proxy.port} does not answer (${dialled.error})`;
  }
  return await join(dialled.value, target);
}

function join(fd: number, target: string): Promise<string | null> {
  return new Promise((resolve) => {
    const link = newLink({
      ...NO_OWNER,
      onData: (bytes) => onHead(bytes),
      onEnd: () => end("the proxy closed the connection"),
      onClose: () => end("the proxy closed the connection"),
    });
    let head = Buffer.alloc(0);
    const end = (why: string): void => {
      link.owner = NO_OWNER;
      abort(link);
      resolve(`Cannot connect to ${target}: ${why}`);
    };
    const onHead = (bytes: Buffer): void => {
      head = Buffer.concat([head, bytes]);
      const found = findHeadEnd(head, 0);
      if (found.ok && found.value === null) return;
      const response = found.ok && found.value !== null
        ? parseResponseHead(head.toString("latin1", 0, found.value))
        : null;
      if (response === null || !response.ok || !found.ok) {
        return end("the proxy speaks no HTTP");
      }
      const { status, fields } = response.value;
      if (status !== 200) {
        const detail = fieldValue(fields, "x-proxy-detail");
        return end(
          `the proxy answered ${status}${
            detail === null ? "" : ` (${detail})`
          }`,
        );
      }
      joinStandardStreams(link, head.subarray(found.value ?? 0), resolve);
    };
    adopt(fd, link).then((isAdopted) => {
      if (!isAdopted) return end("the proxy closed the connection");
      sendText(link, `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    });
  });
}

function joinStandardStreams(
  link: Link,
  early: Buffer,
  resolve: (failure: string | null) => void,
): void {
  const { stdin, stdout } = process;
  const write = (bytes: Buffer): void => {
    if (bytes.length === 0 || stdout.write(bytes)) return;
    pause(link);
    stdout.once("drain", () => resume(link));
  };
  let isOver = false;
  const over = (failure: string | null): void => {
    if (isOver) return;
    isOver = true;
    stdin.destroy();
    // Whatever was received is out before we are gone.
    stdout.end(() => resolve(failure));
  };
  stdout.on("error", () => {
    abort(link);
    over(null);
  });
  link.owner = {
    onData: write,
    onEnd(): void {
      finish(link);
      over(null);
    },
    onDrain: () => void stdin.resume(),
    onClose: (isClean) => over(isClean ? null : "the connection was reset"),
  };
  stdin.on("data", (bytes: Buffer) => {
    if (!send(link, bytes)) stdin.pause();
  });
  stdin.on("end", () => finish(link));
  stdin.on("error", () => finish(link));
  write(early);
  if (link.isPeerDone) link.owner.onEnd();
}
