/**
 * Host names and authorities (`host:port`) as requests and patterns spell them, in one normal form.
 *
 * Order, which matters: forbidden characters are refused first, then IDN, then the one address parser. Otherwise `%61`, full-width
 * digits or `0x7f.1` would be another host for us than for whoever dials.
 * Source: RFC 1123, RFC 3986 §3.2.2, RFC 5890; the IDN mapping is the runtime's URL parser (UTS 46).
 *
 * @module
 */
import { isAscii } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import {
  type Address,
  formatAddress,
  readAddress,
  sameAddress,
} from "./address.ts";

/** A host in normal form. A name is ASCII, lower case, without a trailing dot. */
export type Host =
  | { readonly kind: "name"; readonly name: string }
  | {
    readonly kind: "address";
    readonly address: Address;
    /** `false`: a short, octal, hex, full-width or mapped spelling. */
    readonly usual: boolean;
  };

/** A host and where on it. */
export interface Endpoint {
  readonly host: Host;
  readonly port: number;
}

/**
 * The host that `text` spells: a name in ASCII or Unicode, an address in any spelling, IPv6 with or without brackets, a zone as
 * `%lo` or `%25lo`.
 *
 * @returns the failure is a short reason such as `it holds a space`
 */
export function parseHost(text: string): Result<Host, string> {
  if (text === "") return fail("it is empty");
  // First: what follows takes more than linear time.
  if (text.length > MAX_WRITTEN) return fail(TOO_LONG);
  const bracketed = text.startsWith("[") && text.endsWith("]");
  const bare = bracketed ? text.slice(1, -1) : text;
  if (bracketed || bare.includes(":")) {
    const reading = readAddress(bare.toLowerCase());
    return bare.includes(":") && reading.kind === "address"
      ? ok(reading)
      : fail("it is no IPv6 address");
  }
  const forbidden = forbiddenIn(bare);
  if (forbidden !== null) return fail(`it holds ${forbidden}`);
  const ascii = toAscii(bare);
  if (ascii === null) return fail("it is no internationalised name");
  const name = ascii.toLowerCase().replace(/\.+$/, "");
  if (name === "") return fail("it is empty");
  const reading = readAddress(name);
  if (reading.kind === "invalid") {
    return fail("it ends in a number but is no address");
  }
  if (reading.kind === "address") {
    // A spelling that only became an address through IDN is as odd as an octal one.
    return ok({ ...reading, usual: reading.usual && isAscii(bare) });
  }
  const wrong = wrongName(name);
  return wrong === null ? ok({ kind: "name", name }) : fail(wrong);
}

/**
 * The endpoint of `HOST[:PORT]`. IPv6 with a port needs brackets.
 *
 * @param defaultPort the port where none is written, or `null` to insist on one
 */
export function parseEndpoint(
  text: string,
  defaultPort: number | null,
): Result<Endpoint, string> {
  const split = splitPort(text);
  if (split === null) return fail("its port is not a number from 1 to 65535");
  const port = split.port ?? defaultPort;
  if (port === null) return fail("it has no port");
  const host = parseHost(split.host);
  return host.ok ? ok({ host: host.value, port }) : host;
}

/** Cuts `:PORT` off, `port` being `null` where none is written; `null` for a bad port. Bare IPv6 has no port. */
export function splitPort(
  text: string,
): { readonly host: string; readonly port: number | null } | null {
  const colon = text.lastIndexOf(":");
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    if (close === text.length - 1) return { host: text, port: null };
    if (close === -1 || colon !== close + 1) return null;
  } else if (colon === -1 || text.indexOf(":") !== colon) {
    return { host: text, port: null };
  }
  const port = parsePort(text.slice(colon + 1));
  return port === null ? null : { host: text.slice(0, colon), port };
}

/** A decimal port from 1 to 65535, or `null`. */
export function parsePort(text: string): number | null {
  if (!/^[0-9]{1,5}$/.test(text)) return null;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : null;
}

/** The host as text, without brackets. ASCII. */
export function formatHost(host: Host): string {
  return host.kind === "name" ? host.name : formatAddress(host.address);
}

/** `host:port`, IPv6 in brackets. */
export function formatEndpoint(endpoint: Endpoint): string {
  const { host, port } = endpoint;
  const text = formatHost(host);
  return text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`;
}

/** Whether two hosts are the same in normal form. */
export function sameHost(a: Host, b: Host): boolean {
  if (a.kind === "name") return b.kind === "name" && a.name === b.name;
  return b.kind === "address" && sameAddress(a.address, b.address);
}

/** The ASCII form of a name that may hold Unicode, or `null`. ASCII comes back as it is. */
export function toAscii(text: string): string | null {
  if (isAscii(text)) return text;
  try {
    const name = new URL(`http://${text}/`).hostname;
    return /^[a-z0-9._-]+$/.test(name) ? name : null;
  } catch {
    return null;
  }
}

const TOO_LONG = "it is longer than 253 characters";

/** Characters of the longest name in Unicode or with further dots that is looked at. */
const MAX_WRITTEN = 1_024;

/** Names of the loopback in the hosts files of distributions. */
const LOOPBACK_NAMES: readonly string[] = [
  "localhost.localdomain",
  "localhost4",
  "localhost4.localdomain4",
  "localhost6",
  "localhost6.localdomain6",
  "ip6-localhost",
  "ip6-loopback",
];

/** Whether a name is the loopback's, whatever a resolver says: `localhost` and all below it (RFC 6761 §6.3), and what hosts files call it. */
export function isLoopbackName(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost") ||
    LOOPBACK_NAMES.includes(name);
}

/** What makes a (dot-separated, lower-case ASCII) name impossible, or `null`. */
export function wrongName(name: string): string | null {
  if (name.length > 253) return TOO_LONG;
  for (const label of name.split(".")) {
    if (label === "") return "it holds an empty label";
    if (label.length > 63) return "it holds a label of more than 63 characters";
  }
  return null;
}

function forbiddenIn(text: string): string | null {
  for (const char of text) {
    if (/[a-zA-Z0-9._-]/.test(char)) continue;
    const code = char.codePointAt(0) ?? 0;
    if (code > 0x9f && !/\s/.test(char)) continue;
    if (char === "%") return "a percent sign";
    if (char === "*") return "an asterisk";
    if (/\s/.test(char) && code > 0x1f) return "a space";
    if (code < 0x20 || code >= 0x7f) return "a control character";
    return `"${char}"`;
  }
  return null;
}
