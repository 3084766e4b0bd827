/**
 * The routes of a caller who made the namespaces himself: listeners inside for the proxies that his specification names.
 *
 * A `control_fd` gets its listener over that socket, as our own supervisor does. A `uds_path` is led to by a bridge: our executable
 * again, as a child of the command, that dies with it and holds nobody's stdio.
 *
 * Effects: sockets, posix_spawn(3); the bridge has an event loop.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import {
  ATTRIBUTION_VARIABLE,
  parseRouteSpec,
  rewriteEnvironment,
  type RouteEntry,
} from "../egress/routes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  exitNow,
  getpid,
  getppid,
  open,
  prctl,
  readAll,
  readFile,
  sealedMemfd,
  spawn,
  type SysError,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { boundPort, connectUnix } from "../sys/sockets.ts";
import { handOver, listener } from "./control_channel.ts";

/** What the bridge is started with. Descriptor numbers are its own. */
interface BridgeOrders {
  readonly routes: readonly {
    readonly fd: number;
    readonly path: ByteString;
  }[];
  /** Who must be its parent: with it the bridge ends. */
  readonly parent: number;
}

const ORDERS_LIMIT_BYTES = 1024 * 1024;

/** Most clients at once: two descriptors each, within the lowest usual limit of open files. */
const BRIDGED_CLIENTS = 400;

/**
 * Opens every route.
 *
 * @returns the command's environment, or one line: nothing runs without its routes
 */
export function openRoutes(
  specJson: string | null,
  environment: readonly ByteString[],
): Result<readonly ByteString[], string> {
  if (specJson === null) {
    return fail("managed proxy mode requires --proxy-route-spec");
  }
  const entries = parseRouteSpec(specJson);
  if (!entries.ok) return entries;
  if (!isIsolated()) {
    return fail(
      "Cannot use --proxy-route-spec: the network namespace has routes of its own; make a new one, as bwrap --unshare-net does",
    );
  }
  const ports = new Map<string, number>();
  const bridged: { fd: number; path: ByteString }[] = [];
  for (const entry of entries.value) {
    if (ports.has(targetOf(entry))) continue;
    const opened = listen();
    if (!opened.ok) return opened;
    const { fd, port } = opened.value;
    ports.set(targetOf(entry), port);
    if (entry.kind === "uds_path") {
      const path = Buffer.from(entry.path).toString("latin1") as ByteString;
      bridged.push({ fd, path });
      continue;
    }
    const handed = handOver(entry.fd, [fd]);
    if (!handed.ok) return handed;
  }
  const mark = `${ATTRIBUTION_VARIABLE}=`;
  const rewritten = rewriteEnvironment(
    environment.filter((entry) => !entry.startsWith(mark)),
    entries.value,
    (entry) => ports.get(targetOf(entry)) ?? 0,
  );
  if (!rewritten.ok) return rewritten;
  if (bridged.length > 0) {
    const started = startBridge(bridged);
    if (!started.ok) {
      const { call, errno } = started.error;
      return fail(
        `Cannot start the bridge to the proxy: ${call} says ${
          abi.errnoText(errno)
        }`,
      );
    }
    for (const { fd } of bridged) close(fd);
  }
  return ok(rewritten.value as ByteString[]);
}

function targetOf(entry: RouteEntry): string {
  return entry.kind === "uds_path" ? entry.path : `fd ${entry.fd}`;
}

function listen(): Result<
  { readonly fd: number; readonly port: number },
  string
> {
  const fd = listener(0);
  const port = fd.ok ? boundPort(fd.value) : fd;
  if (fd.ok && port.ok) return ok({ fd: fd.value, port: port.value });
  const errno = port.ok ? 0 : port.error.errno;
  return fail(
    `Cannot listen on 127.0.0.1 for the managed network: ${
      abi.errnoText(errno)
    }`,
  );
}

/** Whether the network namespace that we are in leads nowhere. What can't be read leads somewhere. */
function isIsolated(): boolean {
  const routes = readFile("/proc/self/net/route", 1024 * 1024);
  const wider = readFile("/proc/self/net/ipv6_route", 1024 * 1024);
  if (wider.ok) return routes.ok && leadsNowhere(routes.value, wider.value);
  // A kernel without IPv6 has no such file.
  return routes.ok && wider.error.errno === abi.ENOENT &&
    leadsNowhere(routes.value, "");
}

/**
 * Whether a network namespace leads nowhere: with a route the filter of a proxied run would open the host's network.
 *
 * @param routes `/proc/net/route`: a line of titles, then one for each route (proc_net(5))
 * @param wider `/proc/net/ipv6_route`: a line for each, the interface last; the loopback has some of its own
 */
export function leadsNowhere(routes: string, wider: string): boolean {
  return routes.trim().split("\n").length <= 1 &&
    wider.split("\n").every((line) =>
      line.trim() === "" || line.trim().split(/\s+/).at(-1) === "lo"
    );
}

function startBridge(
  routes: BridgeOrders["routes"],
): Result<number, SysError> {
  const nothing = open("/dev/null" as ByteString, abi.O_RDWR);
  if (!nothing.ok) return nothing;
  const orders: BridgeOrders = { routes, parent: getpid() };
  const text = Buffer.from(JSON.stringify(orders), "latin1");
  const bytes = stableBytes(text.length);
  bytes.set(text);
  const ordersFd = sealedMemfd("codex-bridge", bytes, "data");
  if (!ordersFd.ok) return ordersFd;
  const child = spawn({
    path: "/proc/self/exe",
    argv: ["codex-linux-sandbox", "--relay", String(ordersFd.value)],
    environment: [],
    session: "own",
    descriptors: [
      [nothing.value, 0],
      [nothing.value, 1],
      [nothing.value, 2],
      [ordersFd.value, ordersFd.value],
      ...routes.map(({ fd }) => [fd, fd] as const),
    ],
  });
  close(nothing.value);
  close(ordersFd.value);
  return child;
}

/** Runs the bridge until its parent ends. @param ordersFd the sealed memfd */
export function runRelay(ordersFd: number): void {
  const text = readAll(ordersFd, ORDERS_LIMIT_BYTES);
  close(ordersFd);
  if (!text.ok) exitNow(125);
  const { routes, parent } = JSON.parse(text.value) as BridgeOrders;
  prctl(abi.PR_SET_DUMPABLE, 0);
  const bound = prctl(abi.PR_SET_PDEATHSIG, abi.SIGKILL);
  // The signal is for later: whoever is gone by now sends none.
  if (!bound.ok || getppid() !== parent) exitNow(0);
  const { startRelay } = require(
    "../egress/relay.ts",
  ) as typeof import("../egress/relay.ts");
  startRelay({
    routes: routes.map(({ fd, path }) => ({
      fd,
      dial: () => Promise.resolve(dial(path)),
    })),
    preface: null,
    connections: BRIDGED_CLIENTS,
  });
}

function dial(path: ByteString): Result<number, string> {
  const fd = connectUnix(path);
  return fd.ok ? fd : fail(abi.errnoText(fd.error.errno));
}
