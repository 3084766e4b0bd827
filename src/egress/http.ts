/**
 * What a forward proxy does with an HTTP/1.x head: find the target, rewrite the request, rewrite the response.
 *
 * Pure. Hop-by-hop fields never pass, header case and order stay, nothing tells of a proxy. Checks come in the reference's order
 * (target, Host, framing); the policy is somebody else's question.
 * Source: RFC 9110 §7, RFC 9112 §3 and 9.
 *
 * @module
 */
import { type ByteString, decodeText } from "../bytes.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseEndpoint,
  sameHost,
} from "../policy/host.ts";
import { fail, ok, type Result } from "../result.ts";
import { type Framing, requestFraming } from "./http_body.ts";
import {
  type Field,
  fieldCount,
  fieldValue,
  type HeadFault,
  listMembers,
  type RequestHead,
  type ResponseHead,
  type Version,
} from "./http_head.ts";

/** Schemes that are forwarded. */
export type Scheme = "http" | "https";

/** A request as the proxy will treat it. */
export type ProxyRequest =
  | { readonly kind: "tunnel"; readonly endpoint: Endpoint }
  | {
    readonly kind: "forward";
    readonly endpoint: Endpoint;
    /** `https`: the connection to the origin is TLS, ours to make and to verify. */
    readonly scheme: Scheme;
    readonly method: string;
    readonly version: Version;
    readonly framing: Framing;
    /** The head to send to the origin, latin-1 text with its blank line. */
    readonly head: string;
    /** The head to send to a proxy further up: the same with an absolute target. */
    readonly headForProxy: string;
    /** `websocket` was asked for, and the head above still asks. Any other protocol was left out. */
    readonly upgrade: boolean;
    /** Some upgrade was asked for, whichever: limited mode refuses it. */
    readonly wantsUpgrade: boolean;
    /** Whether the client wants to send another request on this connection. */
    readonly keepAlive: boolean;
  }
  /** `x-unix-socket`: not on this platform, whatever the config says. */
  | { readonly kind: "unix_socket"; readonly method: string };

/** Reads a parsed head as a request to the proxy. */
export function readProxyRequest(
  head: RequestHead,
): Result<ProxyRequest, HeadFault> {
  if (fieldValue(head.fields, "x-unix-socket") !== null) {
    return ok({ kind: "unix_socket", method: head.method });
  }
  if (fieldCount(head.fields, "host") > 1) {
    return fail({ status: 400, text: "multiple Host headers" });
  }
  return head.method === "CONNECT" ? readTunnel(head) : readForward(head);
}

function readTunnel(head: RequestHead): Result<ProxyRequest, HeadFault> {
  const framing = requestFraming(head);
  if (!framing.ok) return framing;
  if (framing.value.kind === "chunked") {
    return fail({ status: 400, text: "CONNECT has no body" });
  }
  const endpoint = readAuthority(head.target, 443);
  // A length of zero is harmless, others would make body bytes look like the tunnel's first.
  if (
    endpoint === null ||
    framing.value.kind === "length" && framing.value.bytes > 0
  ) return fail({ status: 400, text: "invalid CONNECT target" });
  return ok({ kind: "tunnel", endpoint });
}

function readForward(head: RequestHead): Result<ProxyRequest, HeadFault> {
  const target = readTarget(head);
  if (!target.ok) return target;
  const { scheme } = target.value;
  const hostField = fieldValue(head.fields, "host");
  const named = hostField === null || hostField === ""
    ? null
    : readAuthority(hostField, DEFAULT_PORT[scheme]);
  if (hostField !== null && hostField !== "" && named === null) {
    return fail({ status: 400, text: "invalid Host header" });
  }
  const endpoint = target.value.endpoint ?? named;
  if (endpoint === null) return fail({ status: 400, text: "missing host" });
  if (
    named !== null &&
    (named.port !== endpoint.port || !sameHost(named.host, endpoint.host))
  ) {
    return fail({
      status: 400,
      text: "Host header does not match request target",
    });
  }
  const framing = requestFraming(head);
  if (!framing.ok) return framing;
  const connection = connectionMembers(head.fields);
  const upgrades = listMembers(head.fields, "upgrade");
  const wantsUpgrade = upgrades.length > 0;
  const upgrade = wantsUpgrade && upgrades.length === 1 &&
    upgrades[0] === "websocket" && connection.includes("upgrade") &&
    head.method === "GET" && head.version === 1 &&
    framing.value.kind === "none";
  const fields = requestFields(head, {
    authority: authorityText(endpoint, scheme),
    framing: framing.value,
    upgrade,
    connection,
  });
  const startOf = (text: string): string =>
    `${head.method} ${text} HTTP/1.${head.version}\r\n${fields}\r\n`;
  return ok({
    kind: "forward",
    endpoint,
    scheme,
    method: head.method,
    version: head.version,
    framing: framing.value,
    head: startOf(target.value.path),
    headForProxy: startOf(
      `${scheme}://${authorityText(endpoint, scheme)}${
        target.value.path === "*" ? "" : target.value.path
      }`,
    ),
    upgrade,
    wantsUpgrade,
    keepAlive: head.version === 1
      ? !connection.includes("close")
      : connection.includes("keep-alive"),
  });
}

/** Absolute form, origin form, or `*`. The path is what the origin gets. */
function readTarget(
  head: RequestHead,
): Result<
  { endpoint: Endpoint | null; scheme: Scheme; path: string },
  HeadFault
> {
  const { target, method } = head;
  if (target.startsWith("/")) {
    const path = withoutFragment(target);
    return ok({ endpoint: null, scheme: "http", path });
  }
  if (target === "*" && method === "OPTIONS") {
    return ok({ endpoint: null, scheme: "http", path: "*" });
  }
  const url = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\/([^/?#]*)(.*)$/.exec(target);
  if (url === null) return fail({ status: 400, text: "invalid target" });
  const [, written = "", authority = "", rest = ""] = url;
  const scheme = written.toLowerCase();
  if (scheme !== "http" && scheme !== "https") {
    return fail({
      status: 400,
      text: "unsupported scheme; only http and https are forwarded",
    });
  }
  const at = authority.indexOf("@");
  if (at !== authority.lastIndexOf("@")) {
    return fail({ status: 400, text: "invalid target" });
  }
  const endpoint = readAuthority(authority.slice(at + 1), DEFAULT_PORT[scheme]);
  if (endpoint === null) return fail({ status: 400, text: "invalid target" });
  const path = withoutFragment(rest);
  const full = path.startsWith("/") ? path : `/${path}`;
  return ok({
    endpoint,
    scheme,
    path: method === "OPTIONS" && path === "" ? "*" : full,
  });
}

function withoutFragment(path: string): string {
  const hash = path.indexOf("#");
  return hash === -1 ? path : path.slice(0, hash);
}

/** The endpoint of an authority in latin-1; Unicode hosts come as UTF-8. */
function readAuthority(text: string, defaultPort: number): Endpoint | null {
  const decoded = decodeText(text as ByteString);
  if (decoded === null) return null;
  const endpoint = parseEndpoint(decoded, defaultPort);
  return endpoint.ok ? endpoint.value : null;
}

/** Options of `Connection` and of the older `Proxy-Connection`. */
function connectionMembers(fields: readonly Field[]): string[] {
  return [
    ...listMembers(fields, "connection"),
    ...listMembers(fields, "proxy-connection"),
  ];
}

/** Fields that belong to one connection, in either direction. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "proxy-authenticate",
  "proxy-authentication-info",
  "trailer",
  "transfer-encoding",
  "te",
  "upgrade",
  "http2-settings",
]);

/** Fields that say where a message goes and ends: naming them in `Connection` doesn't remove them. */
const KEPT: ReadonlySet<string> = new Set(["host", "content-length"]);

function isPassed(key: string, connection: readonly string[]): boolean {
  return !HOP_BY_HOP.has(key) && (KEPT.has(key) || !connection.includes(key));
}

function requestFields(
  head: RequestHead,
  about: {
    readonly authority: string;
    readonly framing: Framing;
    readonly upgrade: boolean;
    readonly connection: readonly string[];
  },
): string {
  let text = "";
  let hasHost = false;
  for (const field of head.fields) {
    if (!isPassed(field.key, about.connection)) continue;
    if (field.key === "host") {
      hasHost = true;
      text += `${field.name}: ${hostValue(field.value, about.authority)}\r\n`;
    } else text += `${field.name}: ${field.value}\r\n`;
  }
  if (!hasHost) text = `Host: ${about.authority}\r\n${text}`;
  if (about.framing.kind === "chunked") {
    text += "Transfer-Encoding: chunked\r\n";
  }
  if (about.upgrade) text += "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  return text;
}

/** The client's spelling, except where the origin could read another host in it. */
function hostValue(value: string, authority: string): string {
  return /^[a-zA-Z0-9.:[\]_-]+$/.test(value) ? value : authority;
}

const DEFAULT_PORT: Readonly<Record<Scheme, number>> = { http: 80, https: 443 };

/** The authority without the scheme's own port. */
function authorityText(endpoint: Endpoint, scheme: Scheme): string {
  const text = formatEndpoint(endpoint);
  const port = DEFAULT_PORT[scheme];
  return endpoint.port === port ? text.slice(0, -`:${port}`.length) : text;
}

/** A response as the proxy passes it on. */
export interface ProxyResponse {
  /** Latin-1 text with its blank line. */
  readonly head: string;
  /** How the body is framed towards the client. */
  readonly framing: Framing;
  /** Whether the client may use the connection again. */
  readonly keepAlive: boolean;
}

/** What is known of the request that a response answers. */
export interface Asked {
  readonly version: Version;
  readonly keepAlive: boolean;
}

/**
 * Rewrites a final response for the client.
 *
 * @param framing of the body that the origin sends; chunked bodies to HTTP/1.0 clients become close-delimited
 */
export function rewriteResponse(
  head: ResponseHead,
  framing: Framing,
  asked: Asked,
): ProxyResponse {
  const towards: Framing = framing.kind === "chunked" && asked.version === 0
    ? { kind: "until_close" }
    : framing;
  const keepAlive = asked.keepAlive && towards.kind !== "until_close";
  let text = startLine(head, asked.version) + passedFields(head);
  if (towards.kind === "chunked") text += "Transfer-Encoding: chunked\r\n";
  if (!keepAlive) text += "Connection: close\r\n";
  else if (asked.version === 0) text += "Connection: keep-alive\r\n";
  return { head: `${text}\r\n`, framing: towards, keepAlive };
}

/** An interim response (100, 103) for the client. */
export function rewriteInterim(head: ResponseHead): string {
  return `${startLine(head, 1)}${passedFields(head)}\r\n`;
}

/** A 101 for the client that asked for websocket. @returns `null` when the origin switches to something else */
export function rewriteSwitch(head: ResponseHead): string | null {
  const upgrades = listMembers(head.fields, "upgrade");
  if (upgrades.length !== 1 || upgrades[0] !== "websocket") return null;
  return `${startLine(head, 1)}${
    passedFields(head)
  }Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
}

/** Whether the origin keeps the connection open, and no state of the client's identity clings to it. */
export function isReusable(head: ResponseHead, framing: Framing): boolean {
  if (framing.kind === "until_close") return false;
  const connection = connectionMembers(head.fields);
  const persists = head.version === 1
    ? !connection.includes("close")
    : connection.includes("keep-alive");
  return persists && !bindsConnection(head.fields);
}

/** NTLM and Negotiate authenticate the connection, not the request. */
function bindsConnection(fields: readonly Field[]): boolean {
  return fields.some(({ key, value }) =>
    (key === "www-authenticate" || key === "proxy-authenticate") &&
    /(?:^|,)\s*(?:negotiate|ntlm)\b/i.test(value)
  );
}

function startLine(head: ResponseHead, version: Version): string {
  return `HTTP/1.${version} ${head.status} ${head.reason}\r\n`;
}

function passedFields(head: ResponseHead): string {
  const connection = connectionMembers(head.fields);
  // RFC 9110 §8.6. A client that believed such a length would take the next response for this one's body.
  const isBodiless = head.status < 200 || head.status === 204;
  let text = "";
  for (const { name, key, value } of head.fields) {
    if (isBodiless && key === "content-length") continue;
    if (isPassed(key, connection)) text += `${name}: ${value}\r\n`;
  }
  return text;
}
