/**
 * What the proxy's tests share: listeners on the loopback, a proxy over them, an origin that does as it is told, a raw client.
 *
 * @module
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import {
  DEFAULT_LIMITS,
  type ProxyEvent,
  type ProxyLimits,
} from "../../src/egress/context.ts";
import { createDialer, type Dialer } from "../../src/egress/dial.ts";
import { createResolver, type Lookup } from "../../src/egress/dns.ts";
import { type RunningProxy, startProxy } from "../../src/egress/proxy.ts";
import type { UpstreamSettings } from "../../src/egress/upstream.ts";
import { type Address, parseAddress } from "../../src/policy/address.ts";
import {
  EMPTY_NETWORK_POLICY,
  type NetworkPolicy,
} from "../../src/policy/network.ts";
import { parsePattern } from "../../src/policy/pattern.ts";
import { SYSCALLS } from "../../src/sys/abi.ts";
import { close } from "../../src/sys/calls.ts";
import { connectFd } from "../../src/sys/connect.ts";
import { stableBytes, syscall } from "../../src/sys/ffi.ts";
import { afterPatience } from "../patience.ts";

const SYS = SYSCALLS[process.arch === "arm64" ? "arm64" : "x64"];

/** What a client waits for in vain is a failure after so long. */
const PATIENCE_MS = 4_000;

/** A limit that no test means, and no machine that stands still for a while reaches. */
const FAR_OFF_MS = 60_000;

/** No proxy further up. */
export const NO_UPSTREAM: UpstreamSettings = {
  http: null,
  tunnel: null,
  bypass: [],
  warnings: [],
};

/** A listening, non-blocking socket on 127.0.0.1, as the inner stage will make them. */
export function listenFd(): { readonly fd: number; readonly port: number } {
  const fd = syscall(SYS.socket, 2, 1 | 0o2000000 | 0o4000, 0);
  const name = stableBytes(16);
  name[0] = 2;
  name.set([127, 0, 0, 1], 4);
  if (
    syscall(SYS.bind, fd, name, 16) < 0 || syscall(SYS.listen, fd, 4_096) < 0
  ) {
    throw new Error("cannot listen");
  }
  const length = stableBytes(4);
  length[0] = 16;
  syscall(SYS.getsockname, fd, name, length);
  return { fd, port: (name[2] ?? 0) * 256 + (name[3] ?? 0) };
}

export type Domains = Readonly<Record<string, "allow" | "deny">>;

export function policyOf(
  domains: Domains,
  over: Partial<NetworkPolicy> = {},
): NetworkPolicy {
  return {
    ...EMPTY_NETWORK_POLICY,
    table: "[permissions.t.network]",
    rules: Object.entries(domains).map(([written, access]) => {
      const pattern = parsePattern(written);
      if (!pattern.ok) throw new Error(pattern.error);
      return {
        access,
        pattern: pattern.value,
        written,
        origin: { file: null, key: `domains.${written}` },
      };
    }),
    ...over,
  };
}

export interface ProxySetup {
  readonly domains?: Domains;
  readonly policy?: Partial<NetworkPolicy>;
  readonly limits?: Partial<ProxyLimits>;
  readonly dialMs?: number;
  readonly upstream?: UpstreamSettings;
  readonly lookup?: Lookup;
  readonly own?: readonly string[];
  readonly dialer?: Dialer;
}

export interface TestProxy extends AsyncDisposable {
  readonly http: number;
  readonly socks: number;
  readonly events: ProxyEvent[];
  readonly running: RunningProxy;
}

/** A proxy on the loopback; by default it allows 127.0.0.1, localhost and *.allowed.test, but not deny.allowed.test. */
export function startTestProxy(setup: ProxySetup = {}): TestProxy {
  const policy = policyOf(
    setup.domains ?? {
      "127.0.0.1": "allow",
      localhost: "allow",
      "*.allowed.test": "allow",
      "deny.allowed.test": "deny",
    },
    { allowLocalBinding: true, ...setup.policy },
  );
  const events: ProxyEvent[] = [];
  const http = listenFd();
  const socks = listenFd();
  const own = (setup.own ?? []).map((text) => parseAddress(text) as Address);
  const dialer = setup.dialer ?? createDialer({
    policy,
    upstream: setup.upstream ?? NO_UPSTREAM,
    resolve: createResolver(
      { dnsMs: FAR_OFF_MS, dnsInFlight: 64 },
      setup.lookup ?? (() => Promise.reject(new Error("no DNS"))),
    ),
    connectFd,
    closeFd: close,
    ownAddresses: () => own,
    dialMs: setup.dialMs ?? FAR_OFF_MS,
  });
  const running = startProxy({
    httpFd: http.fd,
    socksFd: socks.fd,
    policy,
    dialer,
    limits: { ...DEFAULT_LIMITS, ...setup.limits },
    onEvent: (event) => events.push(event),
  });
  return {
    http: http.port,
    socks: socks.port,
    events,
    running,
    [Symbol.asyncDispose]: () => running.close(),
  };
}

/** One connection to an origin, and what came on it. */
export interface OriginConnection {
  readonly socket: Socket;
  received: string;
}

export interface Origin extends AsyncDisposable {
  readonly port: number;
  readonly connections: OriginConnection[];
}

/** A raw origin. `serve` is called on each piece of data, with all that came so far. */
export async function startOrigin(
  serve: (connection: OriginConnection) => void,
  onOpen: (connection: OriginConnection) => void = () => {},
): Promise<Origin> {
  const connections: OriginConnection[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    const connection: OriginConnection = { socket, received: "" };
    connections.push(connection);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      connection.received += bytes.toString("latin1");
      serve(connection);
    });
    socket.on("end", () => serve(connection));
    onOpen(connection);
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", 1_024, () => resolve())
  );
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    async [Symbol.asyncDispose](): Promise<void> {
      for (const { socket } of connections) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** An origin that answers every complete head with `answer`. */
export function startHttpOrigin(
  answer: string | ((head: string) => string),
): Promise<Origin> {
  return startOrigin((connection) => {
    if (connection.socket.readableEnded) connection.socket.end();
    for (;;) {
      const end = connection.received.indexOf("\r\n\r\n");
      if (end === -1) return;
      const head = connection.received.slice(0, end + 4);
      connection.received = connection.received.slice(end + 4);
      connection.socket.write(
        typeof answer === "string" ? answer : answer(head),
        "latin1",
      );
    }
  });
}

/** A raw client: what it got so far, and how it ended. */
export interface RawClient extends Disposable {
  readonly socket: Socket;
  received: string;
  /** `fin`, `reset`, or `null` while it is open. */
  ended: "fin" | "reset" | null;
  readonly until: (
    condition: (received: string) => boolean,
    what?: string,
  ) => Promise<string>;
  readonly untilEnd: () => Promise<string>;
}

export async function openClient(port: number): Promise<RawClient> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", () => resolve());
    socket.once("error", reject);
  });
  const waiters = new Set<() => void>();
  const wake = (): void => {
    for (const waiter of waiters) waiter();
  };
  const until = (isMet: () => boolean, what: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const stopWaiting = afterPatience(PATIENCE_MS, () => {
        waiters.delete(check);
        reject(
          new Error(
            `waited in vain for ${what}; got ${
              JSON.stringify(client.received.slice(-300))
            }, ended ${client.ended}`,
          ),
        );
      });
      const check = (): void => {
        if (!isMet()) return;
        stopWaiting();
        waiters.delete(check);
        resolve(client.received);
      };
      waiters.add(check);
      check();
    });
  const client: RawClient = {
    socket,
    received: "",
    ended: null,
    until: (condition, what = "bytes") =>
      until(() => condition(client.received), what),
    untilEnd: () => until(() => client.ended !== null, "the end"),
    [Symbol.dispose]: () => {
      socket.destroy();
    },
  };
  socket.on("data", (bytes) => {
    client.received += bytes.toString("latin1");
    wake();
  });
  socket.on("end", () => {
    client.ended ??= "fin";
    wake();
  });
  socket.on("error", () => {
    client.ended = "reset";
    wake();
  });
  return client;
}

/** Sends `text` and gives back all that comes until the end. */
export async function ask(port: number, text: string): Promise<string> {
  using client = await openClient(port);
  client.socket.write(text, "latin1");
  return await client.untilEnd();
}

export const lines = (...list: string[]): string =>
  `${list.join("\r\n")}\r\n\r\n`;
