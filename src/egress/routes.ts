/**
 * Routes of callers that bring their own proxy: which variables lead through it, and what the command sees instead.
 *
 * The outer stage plans from its environment, sends the specification (variables, no URLs) to the inner stage, and the inner stage
 * rewrites the variables to its own listeners. Fails closed: without a route there is no run.
 * Wire: `{"routes":[{"env_key":…,"uds_path":…}]}` (0.145) or `…"control_fd":N` (0.169). Pure.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";

/** An endpoint of a proxy on the host's loopback. */
export interface LoopbackEndpoint {
  /** As it must be dialled: `localhost` is 127.0.0.1. */
  readonly address: "127.0.0.1" | "::1";
  readonly port: number;
}

/** One variable and the endpoint that it leads to, an index into the plan's endpoints. */
export interface PlannedRoute {
  readonly name: string;
  readonly endpoint: number;
}

/** Routes sorted by variable name; each endpoint once, in the order of its first route. */
export interface RoutePlan {
  readonly routes: readonly PlannedRoute[];
  readonly endpoints: readonly LoopbackEndpoint[];
}

/** One entry of a route specification on the wire. */
export type RouteEntry =
  & { readonly envKey: string }
  & (
    | { readonly kind: "uds_path"; readonly path: string }
    | { readonly kind: "control_fd"; readonly fd: number }
  );

/** Variables that hold a proxy URL, in upper case; any letter case counts. */
const ROUTE_VARIABLES: ReadonlySet<string> = new Set([
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "ALL_PROXY",
  "FTP_PROXY",
  "WS_PROXY",
  "WSS_PROXY",
  "GRPC_PROXY",
  "YARN_HTTP_PROXY",
  "YARN_HTTPS_PROXY",
  "NPM_CONFIG_HTTP_PROXY",
  "NPM_CONFIG_HTTPS_PROXY",
  "NPM_CONFIG_PROXY",
  "BUNDLE_HTTP_PROXY",
  "BUNDLE_HTTPS_PROXY",
  "PIP_PROXY",
  "DOCKER_HTTP_PROXY",
  "DOCKER_HTTPS_PROXY",
]);

/** Variables that alone make no run a proxied one: the reference knows them not, or too late. */
const NOT_SUFFICIENT: ReadonlySet<string> = new Set(["GRPC_PROXY"]);

/** Plans routes from environment entries (`NAME=value`). @returns the failure is the reference's message */
export function planRoutes(
  environment: readonly string[],
): Result<RoutePlan, string> {
  const endpoints: LoopbackEndpoint[] = [];
  const routes: PlannedRoute[] = [];
  let hasVariable = false;
  for (const [name, value] of sortedEntries(environment)) {
    const upper = name.toUpperCase();
    if (!ROUTE_VARIABLES.has(upper) || value.trim() === "") continue;
    hasVariable ||= !NOT_SUFFICIENT.has(upper);
    const url = readProxyUrl(value);
    if (url === null) continue;
    let endpoint = endpoints.findIndex((known) =>
      known.port === url.port && known.address === url.address
    );
    if (endpoint === -1) {
      endpoint = endpoints.push({ address: url.address, port: url.port }) - 1;
    }
    routes.push({ name, endpoint });
  }
  if (!hasVariable) {
    return fail("managed proxy mode requires proxy environment variables");
  }
  if (!routes.some(({ name }) => !NOT_SUFFICIENT.has(name.toUpperCase()))) {
    return fail(
      "managed proxy mode requires parseable loopback proxy endpoints",
    );
  }
  return ok({ routes, endpoints });
}

/** The value with host and port replaced by the local listener; scheme, userinfo, path, query and fragment stay. `null` if not routable. */
export function rewriteProxyUrl(value: string, port: number): string | null {
  const url = readProxyUrl(value);
  return url === null ? null : `${url.before}127.0.0.1:${port}${url.after}`;
}

/**
 * Rewrites the variables of `routes` in place of their order.
 *
 * @param portOf local port of an entry
 * @returns the failure is the reference's message about a missing or unroutable variable
 */
export function rewriteEnvironment<Route extends { readonly envKey: string }>(
  environment: readonly string[],
  routes: readonly Route[],
  portOf: (route: Route) => number,
): Result<string[], string> {
  const rewritten = [...environment];
  for (const route of routes) {
    const prefix = `${route.envKey}=`;
    let isThere = false;
    // All duplicates: which one a program reads is its own choice.
    for (const [i, entry] of rewritten.entries()) {
      if (!entry.startsWith(prefix)) continue;
      const value = rewriteProxyUrl(entry.slice(prefix.length), portOf(route));
      if (value === null) {
        return fail(`proxy env key ${route.envKey} holds no routable URL`);
      }
      rewritten[i] = prefix + value;
      isThere = true;
    }
    if (!isThere) return fail(`missing proxy env key ${route.envKey}`);
  }
  return ok(rewritten);
}

/** Reads a specification strictly: known keys only, one way per route, no standard descriptor. */
export function parseRouteSpec(text: string): Result<RouteEntry[], string> {
  const bad = (what: string): Result<RouteEntry[], string> =>
    fail(`failed to parse proxy routing spec: ${what}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return bad("it is not JSON");
  }
  const list = isRecord(json) ? json.routes : undefined;
  if (!isRecord(json) || Object.keys(json).length !== 1 || !isList(list)) {
    return bad('it must be {"routes":[…]}');
  }
  if (list.length === 0) return fail("proxy routing spec contained no routes");
  const entries: RouteEntry[] = [];
  for (const item of list) {
    if (!isRecord(item) || Object.keys(item).length !== 2) {
      return bad("a route has env_key and either uds_path or control_fd");
    }
    const { env_key: envKey, uds_path: path, control_fd: fd } = item;
    if (typeof envKey !== "string" || !/^[^=\0]+$/.test(envKey)) {
      return bad("env_key must be a variable's name");
    }
    if (entries.some((entry) => entry.envKey === envKey)) {
      return bad(`env_key ${envKey} is there twice`);
    }
    if (typeof path === "string") {
      // sun_path has 108 bytes, one of them for NUL (`linux/un.h`).
      if (
        !path.startsWith("/") || path.includes("\0") ||
        Buffer.byteLength(path) > 107
      ) return bad("uds_path must be absolute and at most 107 bytes");
      entries.push({ kind: "uds_path", envKey, path });
    } else if (typeof fd === "number" && Number.isInteger(fd) && fd >= 0) {
      if (fd < 3) {
        return fail(
          "proxy bootstrap channel must not use standard descriptors",
        );
      }
      entries.push({ kind: "control_fd", envKey, fd });
    } else return bad("a route has env_key and either uds_path or control_fd");
  }
  return ok(entries);
}

/** 0.169's `--managed-network` value. */
export interface ManagedNetwork {
  readonly loopbackPorts: readonly number[];
  readonly allowLocalBinding: boolean;
  readonly allowUnixSockets: readonly string[];
  readonly dangerouslyAllowAllUnixSockets: boolean;
}

/** Reads `--managed-network JSON`. */
export function parseManagedNetwork(
  text: string,
): Result<ManagedNetwork, string> {
  const bad = (what: string): Result<ManagedNetwork, string> =>
    fail(`invalid --managed-network: ${what}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return bad("it is not JSON");
  }
  if (!isRecord(json)) return bad("it must be an object");
  const known = [
    "loopbackPorts",
    "allowLocalBinding",
    "allowUnixSockets",
    "dangerouslyAllowAllUnixSockets",
  ];
  const unknown = Object.keys(json).find((key) => !known.includes(key));
  if (unknown !== undefined) return bad(`unknown key "${unknown}"`);
  const ports = json.loopbackPorts ?? [];
  const sockets = json.allowUnixSockets ?? [];
  const local = json.allowLocalBinding ?? false;
  const all = json.dangerouslyAllowAllUnixSockets ?? false;
  if (!isList(ports) || !ports.every(isPort)) {
    return bad("loopbackPorts must be a list of ports");
  }
  if (!isList(sockets) || !sockets.every(isText)) {
    return bad("allowUnixSockets must be a list of paths");
  }
  if (typeof local !== "boolean" || typeof all !== "boolean") {
    return bad(
      "allowLocalBinding and dangerouslyAllowAllUnixSockets must be booleans",
    );
  }
  return ok({
    loopbackPorts: ports,
    allowLocalBinding: local,
    allowUnixSockets: sockets,
    dangerouslyAllowAllUnixSockets: all,
  });
}

/** Every endpoint of the plan must be among the managed ports. @returns the reference's message, `null` when all are */
export function outsideManaged(
  plan: RoutePlan,
  managed: ManagedNetwork,
): string | null {
  return plan.endpoints.every(({ port }) =>
      managed.loopbackPorts.includes(port)
    )
    ? null
    : "proxy endpoint is outside the managed sandbox context";
}

/** Variable that carries an attribution token; removed from the environment before anything else. */
export const ATTRIBUTION_VARIABLE = "CODEX_NETWORK_PROXY_ATTRIBUTION";

/** First bytes of an attribution frame. */
const ATTRIBUTION_MAGIC = [
  0x00,
  0x43,
  0x44,
  0x58,
  0x50,
  0x58,
  0x59,
  0x31,
] as const;

/**
 * The frame that goes before a client's bytes on every host-side connection.
 *
 * @param token UTF-8 bytes, one char each
 * @returns `null` when the token is empty or longer than 128 bytes
 */
export function attributionPreface(token: string): Buffer | null {
  if (token.length < 1 || token.length > 128) return null;
  return Buffer.from([
    ...ATTRIBUTION_MAGIC,
    0,
    token.length,
    ...Buffer.from(token, "latin1"),
  ]);
}

interface ProxyUrl extends LoopbackEndpoint {
  readonly before: string;
  readonly after: string;
}

/** Cuts a proxy URL around its host and port, `null` unless it leads to the loopback. */
function readProxyUrl(value: string): ProxyUrl | null {
  const form =
    /^((?:([a-zA-Z][a-zA-Z0-9+.-]*):\/\/)?(?:[^/?#@]*@)?)(localhost|127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?((?:[/?#].*)?)$/i
      .exec(value.trim());
  if (form === null) return null;
  const [, before = "", scheme = "http", host = "", portText, after = ""] =
    form;
  const port = portText === undefined ? defaultPort(scheme) : Number(portText);
  if (port < 1 || port > 65_535) return null;
  return {
    before,
    after,
    address: host === "[::1]" ? "::1" : "127.0.0.1",
    port,
  };
}

function defaultPort(scheme: string): number {
  const lower = scheme.toLowerCase();
  if (lower === "https") return 443;
  return lower.startsWith("socks") ? 1080 : 80;
}

/** Entries by name; of duplicates all. */
function sortedEntries(
  environment: readonly string[],
): (readonly [name: string, value: string])[] {
  const entries: [string, string][] = [];
  for (const entry of environment) {
    const equals = entry.indexOf("=");
    if (equals > 0) {
      entries.push([entry.slice(0, equals), entry.slice(equals + 1)]);
    }
  }
  return entries.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isList(value: unknown): value is unknown[] {
  return Array.isArray(value);
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 &&
    value <= 65_535;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
