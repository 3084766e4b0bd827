/**
 * The pattern language of `domains`: what a pattern means and whether a host matches it.
 *
 * `example.com` one host; `*.example.com` all below it; `**.example.com` it and all below; `reg*.example.com` one star for any
 * characters, dots included; `*` everything; addresses and ranges (`10.1.0.0/16`). Each may carry a port: `example.com:443`,
 * `[::1]:8080`. Unicode names mean their ASCII form.
 *
 * Pure. Strict on purpose: a pattern that can't do what it seems to say is an error with the right spelling.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import {
  type Address,
  type AddressRange,
  embeddedIpv4,
  isInRange,
  parseRange,
  readAddress,
  sameAddress,
  unscoped,
} from "./address.ts";
import {
  formatHost,
  type Host,
  parseHost,
  parsePort,
  toAscii,
  wrongName,
} from "./host.ts";

/** What the host half of a pattern means. Names and literal parts are in normal form. */
export type HostPattern =
  | { readonly kind: "any" }
  | { readonly kind: "name"; readonly name: string }
  | {
    readonly kind: "below";
    readonly suffix: string;
    readonly apex: "included" | "excluded";
  }
  /** One star: any characters between `head` and `tail`. */
  | { readonly kind: "star"; readonly head: string; readonly tail: string }
  | { readonly kind: "address"; readonly address: Address }
  | { readonly kind: "range"; readonly range: AddressRange };

/** A pattern with its port, `null` for every port. */
export interface Pattern {
  readonly host: HostPattern;
  readonly port: number | null;
}

/**
 * Reads a pattern as people write it.
 *
 * @returns the failure is the end of a message; it quotes nothing of the file
 */
export function parsePattern(written: string): Result<Pattern, string> {
  const text = written.trim();
  if (text === "") {
    return fail("it is empty; write a host such as example.com");
  }
  const url = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\/([^/?#]*)/.exec(text);
  if (url !== null) {
    const host = (url[2] ?? "").replace(/^.*@/, "");
    return fail(
      `a pattern is a host, not a URL; write "${host || "example.com"}"`,
    );
  }
  const ranged = parseRangePattern(text);
  if (ranged !== null) return ranged;
  if (/[/?#@\\]/.test(text) && !text.includes("?")) {
    return fail(
      `a pattern is a host, without user or path; write "${
        text.replace(/[/#\\].*$/, "").replace(/^.*@/, "") || "example.com"
      }"`,
    );
  }
  const split = splitPatternPort(text);
  if (!split.ok) return split;
  const host = parseHostPattern(split.value.host, text);
  return host.ok ? ok({ host: host.value, port: split.value.port }) : host;
}

/** Whether a deny pattern speaks of the endpoint. NAT64 and 6to4 are also judged by the IPv4 inside, zones also without. */
export function denies(pattern: Pattern, host: Host, port: number): boolean {
  if (!coversPort(pattern, port)) return false;
  if (matchesHost(pattern.host, host)) return true;
  if (host.kind === "name") return false;
  const plain = unscoped(host.address);
  const inside = embeddedIpv4(host.address);
  const asHost = (address: Address): Host => ({
    kind: "address",
    address,
    usual: true,
  });
  return matchesHost(pattern.host, asHost(plain)) ||
    (inside !== null && matchesHost(pattern.host, asHost(inside)));
}

/** Whether an allow pattern speaks of the endpoint. An oddly spelled address is never allowed: others could read it otherwise. */
export function allows(pattern: Pattern, host: Host, port: number): boolean {
  if (!coversPort(pattern, port)) return false;
  if (host.kind === "address" && !host.usual) return false;
  if (host.kind === "name" && isAddressStar(pattern)) return false;
  return matchesHost(pattern.host, host);
}

/** Whether the star stands in an address, as in `10.1.*`: `10.1.example.com` is anybody's name and was not meant. */
export function isAddressStar({ host }: Pattern): boolean {
  return host.kind === "star" && /^[0-9]+\.[0-9.]*$/.test(host.head) &&
    /^[0-9.]*$/.test(host.tail);
}

/** Whether the pattern names the host itself: no star, no range. */
export function isLiteral(pattern: Pattern): boolean {
  return pattern.host.kind === "name" || pattern.host.kind === "address";
}

function coversPort(pattern: Pattern, port: number): boolean {
  return pattern.port === null || pattern.port === port;
}

function matchesHost(pattern: HostPattern, host: Host): boolean {
  switch (pattern.kind) {
    case "any":
      return true;
    case "name":
      return host.kind === "name" && host.name === pattern.name;
    case "below":
      return host.kind === "name" &&
        (host.name.endsWith(`.${pattern.suffix}`) &&
            host.name.length > pattern.suffix.length + 1 ||
          pattern.apex === "included" && host.name === pattern.suffix);
    case "star": {
      const text = formatHost(host);
      return text.length >= pattern.head.length + pattern.tail.length &&
        text.startsWith(pattern.head) && text.endsWith(pattern.tail);
    }
    case "address":
      return host.kind === "address" &&
        sameAddress(host.address, pattern.address);
    case "range":
      return host.kind === "address" && isInRange(host.address, pattern.range);
  }
}

/** `ADDRESS/BITS`, with brackets around the address or around all of it when a port follows; `null` when it isn't meant so. */
function parseRangePattern(text: string): Result<Pattern, string> | null {
  const form = /^\[?([0-9a-fA-F:.]+)\]?\/([0-9]{1,3})\]?(?::([0-9]*))?$/.exec(
    text,
  );
  if (form === null) return null;
  const [, address = "", bits = "", portText] = form;
  const port = portText === undefined ? null : parsePort(portText);
  if (portText !== undefined && port === null) return fail(BAD_PORT);
  const range = parseRange(`${address}/${bits}`);
  if (range === null) {
    return fail(
      "it is no address range; write the first address and its length, such as 10.1.0.0/16 or fd00::/8",
    );
  }
  const full = range.prefixLength === range.address.bytes.length * 8;
  return ok({
    host: full
      ? { kind: "address", address: range.address }
      : { kind: "range", range },
    port,
  });
}

const BAD_PORT =
  'its port is not a number from 1 to 65535; write "example.com:443", or leave it out for every port';

function splitPatternPort(
  text: string,
): Result<{ readonly host: string; readonly port: number | null }, string> {
  const brackets = /^\[([^\[\]]*)\](?::(.*))?$/.exec(text);
  const inner = brackets?.[1] ?? "";
  if (brackets !== null && (inner === "*" || inner.includes(":"))) {
    if (brackets[2] === undefined) return ok({ host: inner, port: null });
    const port = parsePort(brackets[2]);
    return port === null ? fail(BAD_PORT) : ok({ host: inner, port });
  }
  if (/[[\]]/.test(text)) {
    return fail(
      `brackets are only supported for IPv6 literals or [*]: ${text}`,
    );
  }
  const colon = text.indexOf(":");
  if (colon === -1 || text.indexOf(":", colon + 1) !== -1) {
    return ok({ host: text, port: null });
  }
  const port = parsePort(text.slice(colon + 1));
  return port === null
    ? fail(BAD_PORT)
    : ok({ host: text.slice(0, colon), port });
}

function parseHostPattern(
  host: string,
  written: string,
): Result<HostPattern, string> {
  if (/[?{}]/.test(host)) {
    return fail(
      `invalid glob pattern: ${written}: only * is a wildcard; write one pattern for each host`,
    );
  }
  if (host === "*" || host === "**") return ok({ kind: "any" });
  if (!host.includes("*")) return parseLiteral(host);
  const below = /^(\*{1,2})\.([^*]+)$/.exec(host);
  if (below !== null) {
    const suffix = normalPart(below[2] ?? "");
    if (suffix === null) return fail(NOT_A_HOST);
    if (readAddress(suffix).kind !== "name") {
      return fail("addresses have no hosts below them; write 10.1.0.0/16");
    }
    return ok({
      kind: "below",
      suffix,
      apex: below[1] === "**" ? "included" : "excluded",
    });
  }
  const star = /^([^*]*)\*([^*]*)$/.exec(host);
  if (star === null) return fail(`unsupported repeated wildcard: ${written}`);
  const head = (star[1] ?? "").toLowerCase();
  const tail = (star[2] ?? "").toLowerCase().replace(/\.+$/, "");
  if (head + tail === "") return ok({ kind: "any" });
  if (/:/.test(head + tail)) {
    return fail("IPv6 addresses take no star; write a range such as fd00::/8");
  }
  // Each side of a star is half a label: IDN can't be applied to half a label.
  if (!/^[a-z0-9._-]*$/.test(head + tail)) {
    return fail(
      "a star inside a label can't stand beside such characters; write it between ASCII letters, digits, dots and hyphens (xn--… for other names)",
    );
  }
  return ok({ kind: "star", head, tail });
}

const NOT_A_HOST = "it is no host name; write one such as example.com";

function parseLiteral(text: string): Result<HostPattern, string> {
  const host = parseHost(text);
  if (!host.ok) return fail(`it is no host: ${host.error}`);
  return host.value.kind === "name"
    ? ok(host.value)
    : ok({ kind: "address", address: host.value.address });
}

/** A dot-separated part of a pattern in normal form, or `null`. */
function normalPart(text: string): string | null {
  if (!/^[a-zA-Z0-9._\u00a0-\u{10ffff}-]+$/u.test(text)) return null;
  const name = toAscii(text)?.toLowerCase().replace(/\.+$/, "") ?? "";
  return name !== "" && wrongName(name) === null ? name : null;
}
