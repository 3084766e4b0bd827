/**
 * The caller's own proxy: which one a request has to go through, from the caller's environment alone.
 *
 * Pure. Only `http://` proxies; `NO_PROXY` counts. Behind such a proxy we resolve nothing: names and address literals decide.
 *
 * @module
 */
import { type ByteString, decodeText } from "../bytes.ts";
import { type AddressRange, isInRange, parseRange } from "../policy/address.ts";
import {
  type Endpoint,
  formatHost,
  parseEndpoint,
  parseHost,
  sameHost,
  splitPort,
} from "../policy/host.ts";

/** A proxy further up. */
export interface UpstreamProxy {
  readonly endpoint: Endpoint;
  /** Value of `Proxy-Authorization`, `null` without user. */
  readonly authorization: string | null;
}

/** What the caller's environment says. */
export interface UpstreamSettings {
  /** For plain HTTP. */
  readonly http: UpstreamProxy | null;
  /** For CONNECT. */
  readonly tunnel: UpstreamProxy | null;
  readonly bypass: readonly Bypass[];
  /** One line for each variable that can't be used. */
  readonly warnings: readonly string[];
}

type Bypass =
  | { readonly kind: "all" }
  /** The name and all below it. */
  | {
    readonly kind: "name";
    readonly name: string;
    readonly port: number | null;
  }
  | { readonly kind: "address"; readonly endpoint: BypassAddress }
  | { readonly kind: "range"; readonly range: AddressRange };

interface BypassAddress {
  readonly host: Endpoint["host"];
  readonly port: number | null;
}

/** Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, upper case before lower. */
export function readUpstream(
  environment: readonly ByteString[],
): UpstreamSettings {
  const warnings: string[] = [];
  const first = (names: readonly string[]): UpstreamProxy | null => {
    for (const name of names) {
      for (const spelled of [name, name.toLowerCase()]) {
        const value = variable(environment, spelled);
        if (value === null || value.trim() === "") continue;
        const proxy = readProxy(value.trim());
        if (proxy !== null) return proxy;
        const warning =
          `${spelled} is not used: only http:// proxies are, as http://HOST:PORT`;
        if (!warnings.includes(warning)) warnings.push(warning);
      }
    }
    return null;
  };
  const http = first(["HTTP_PROXY", "ALL_PROXY"]);
  const tunnel = first(["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"]);
  const list = variable(environment, "NO_PROXY") ??
    variable(environment, "no_proxy") ?? "";
  return { http, tunnel, bypass: readBypass(list), warnings };
}

/** The proxy for a request, `null` for a direct dial. */
export function upstreamFor(
  settings: UpstreamSettings,
  endpoint: Endpoint,
  kind: "http" | "tunnel",
): UpstreamProxy | null {
  const proxy = settings[kind];
  if (proxy === null) return null;
  return settings.bypass.some((entry) => bypasses(entry, endpoint))
    ? null
    : proxy;
}

function bypasses(entry: Bypass, endpoint: Endpoint): boolean {
  const { host, port } = endpoint;
  switch (entry.kind) {
    case "all":
      return true;
    case "name": {
      const name = formatHost(host);
      return (entry.port === null || entry.port === port) &&
        (name === entry.name || name.endsWith(`.${entry.name}`));
    }
    case "address":
      return (entry.endpoint.port === null || entry.endpoint.port === port) &&
        sameHost(entry.endpoint.host, host);
    case "range":
      return host.kind === "address" && isInRange(host.address, entry.range);
  }
}

function readBypass(list: string): Bypass[] {
  const entries: Bypass[] = [];
  for (const part of list.split(/[\s,]+/)) {
    if (part === "") continue;
    if (part === "*") {
      entries.push({ kind: "all" });
      continue;
    }
    const range = parseRange(part);
    if (range !== null) {
      entries.push({ kind: "range", range });
      continue;
    }
    const split = splitPort(part);
    const host = split === null
      ? null
      : parseHost(split.host.replace(/^\*?\./, ""));
    if (split === null || host === null || !host.ok) continue;
    const { port } = split;
    entries.push(
      host.value.kind === "name"
        ? { kind: "name", name: host.value.name, port }
        : { kind: "address", endpoint: { host: host.value, port } },
    );
  }
  return entries;
}

function readProxy(value: string): UpstreamProxy | null {
  const form = /^(?:http:\/\/)?(?:([^/?#]*)@)?([^/?#@]+)\/?$/i.exec(value);
  // No slash, so no other scheme either.
  if (form === null) return null;
  const endpoint = parseEndpoint(form[2] ?? "", 80);
  if (!endpoint.ok) return null;
  return {
    endpoint: endpoint.value,
    authorization: form[1] === undefined ? null : basic(form[1]),
  };
}

function basic(userInfo: string): string {
  const plain = userInfo.replace(
    /%([0-9a-f]{2})/gi,
    (_, hex: string) => String.fromCharCode(parseInt(hex, 16)),
  );
  return `Basic ${Buffer.from(plain, "latin1").toString("base64")}`;
}

function variable(
  environment: readonly ByteString[],
  name: string,
): string | null {
  const entry = environment.find((candidate) =>
    candidate.startsWith(`${name}=`)
  );
  return entry === undefined
    ? null
    : decodeText(entry.slice(name.length + 1) as ByteString);
}
