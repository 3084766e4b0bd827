/**
 * What the managed network allows: one pure decision for the proxy, for `policy why connect` and for the tests.
 *
 * Order: deny patterns, non-public literals, allow patterns, method; only then is a name resolved, and {@linkcode checkResolved} judges
 * every address it has. Only addresses that passed may be dialled. Deny beats allow; an empty list allows nothing.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import {
  type Address,
  formatAddress,
  isMetadataAddress,
  isPrivateRange,
  whyNotPublic,
} from "./address.ts";
import {
  type Endpoint,
  formatEndpoint,
  formatHost,
  type Host,
  isLoopbackName,
  parseEndpoint,
} from "./host.ts";
import { allows, denies, isLiteral, type Pattern } from "./pattern.ts";
import type { Origin } from "./policy.ts";

/** One line of `domains`. */
export interface DomainRule {
  readonly access: "allow" | "deny";
  readonly pattern: Pattern;
  /** As the user wrote it. */
  readonly written: string;
  readonly origin: Origin;
}

/** The rules of one run's proxy. */
export interface NetworkPolicy {
  /** The table's name for messages: `[permissions.ci.network]`. */
  readonly table: string;
  readonly mode: "full" | "limited";
  readonly rules: readonly DomainRule[];
  /** Opens loopback and private targets to every allow pattern. */
  readonly allowLocalBinding: boolean;
  /** The caller's own proxy variables apply to what we dial. */
  readonly allowUpstreamProxy: boolean;
  readonly socks5: boolean;
}

/** A policy that allows nothing, to build others from. */
export const EMPTY_NETWORK_POLICY: NetworkPolicy = {
  table: "[permissions.NAME.network]",
  mode: "full",
  rules: [],
  allowLocalBinding: false,
  allowUpstreamProxy: true,
  socks5: true,
};

/** How the request came: plain HTTP through the forward proxy, a CONNECT tunnel, a SOCKS5 tunnel. */
export type Protocol = "http" | "connect" | "socks5";

/** What somebody asks for. `method` and `upgrade` only with `http`. */
export interface Target extends Endpoint {
  readonly protocol: Protocol;
  readonly method?: string;
  readonly upgrade?: boolean;
}

/** Codes of refusals, as the reference's block responses have them. */
export type DenyReason =
  | "not_allowed"
  | "not_allowed_local"
  | "denied"
  | "method_not_allowed"
  | "mitm_required";

/** A refusal. `detail` names the rule or its absence, and what would work; one line, no full stop. */
export interface Denial {
  readonly verdict: "deny";
  readonly reason: DenyReason;
  /** The rule that decided, `null` when it was the lack of one or a built-in. */
  readonly rule: DomainRule | null;
  readonly detail: string;
  /** Line of TOML that would allow it, `null` when no line of `domains` would. */
  readonly remedy: string | null;
}

/** A permission by `rule`. */
export interface Permission {
  readonly verdict: "allow";
  readonly rule: DomainRule;
}

export type Decision = Permission | Denial;

/** Methods of limited mode. Case counts, as in HTTP. */
export const READ_METHODS: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/** Names that only lead to credentials of the machine: no wildcard and no `allow_local_binding` opens them. */
const METADATA_NAMES: readonly string[] = [
  "metadata.google.internal",
  "metadata.goog",
];

/**
 * Decides before anything is resolved.
 *
 * @param own addresses of the host's interfaces
 */
export function decide(
  policy: NetworkPolicy,
  target: Target,
  own: readonly Address[],
): Decision {
  const { host, port } = target;
  const denied = denyRule(policy, host, port);
  if (denied !== null) return deniedBy(policy, target, denied);
  const local = decideLocal(policy, target, own);
  if (local !== null) return local;
  const rule = allowRule(policy, host, port);
  if (rule === null) return notAllowed(policy, target);
  return decideMode(policy, target) ?? { verdict: "allow", rule };
}

/**
 * Judges the addresses that an allowed name has, all of them: one bad address refuses the name.
 *
 * @param addresses what the resolver answered; for an address literal the address itself
 */
export function checkResolved(
  policy: NetworkPolicy,
  target: Target,
  addresses: readonly Address[],
  own: readonly Address[],
): Denial | null {
  const explicit = explicitRule(policy, target.host, target.port) !== null;
  for (const address of addresses) {
    const host: Host = { kind: "address", address, usual: true };
    const denied = denyRule(policy, host, target.port);
    if (denied !== null) {
      return deniedBy(policy, { ...target, host }, denied);
    }
    const why = whyNotPublic(address, own);
    const metadata = isMetadataAddress(address);
    if (why === null && !metadata) continue;
    if (explicit && mayLead(target.host, address)) continue;
    if (explicitRule(policy, host, target.port) !== null) continue;
    if (policy.allowLocalBinding && !metadata) continue;
    const text = formatAddress(address);
    return {
      verdict: "deny",
      reason: "not_allowed_local",
      rule: null,
      detail: `${formatHost(target.host)} leads to ${text} (${
        metadata ? "cloud metadata" : why
      }), which must be listed by itself in ${policy.table} domains`,
      remedy: allowLine({ host, port: target.port }),
    };
  }
  return null;
}

/** Decides `HOST[:PORT]` for `policy why connect`. The default port is 443. @returns the failure says why the text is no endpoint */
export function decideText(
  policy: NetworkPolicy,
  text: string,
  protocol: Protocol,
  own: readonly Address[],
): Result<
  { readonly endpoint: Endpoint; readonly decision: Decision },
  string
> {
  const endpoint = parseEndpoint(text, 443);
  if (!endpoint.ok) {
    return fail(`Cannot read "${text}" as HOST[:PORT]: ${endpoint.error}`);
  }
  const target: Target = protocol === "http"
    ? { ...endpoint.value, protocol, method: "GET" }
    : { ...endpoint.value, protocol };
  return ok({
    endpoint: endpoint.value,
    decision: decide(policy, target, own),
  });
}

/** Whether the SNI of a tunnel that was opened to `target` is allowed on its port. */
export function decideServerName(
  policy: NetworkPolicy,
  target: Target,
  serverName: Host,
): Decision {
  const named: Target = { ...target, host: serverName, protocol: "connect" };
  const denied = denyRule(policy, serverName, target.port);
  if (denied !== null) return deniedBy(policy, named, denied);
  const rule = isMetadataName(serverName)
    ? explicitRule(policy, serverName, target.port)
    : allowRule(policy, serverName, target.port);
  return rule === null ? notAllowed(policy, named) : { verdict: "allow", rule };
}

/** The fixed text of a reason in block responses. */
export function reasonMessage(reason: DenyReason): string {
  switch (reason) {
    case "not_allowed":
      return "Domain not in allowlist.";
    case "not_allowed_local":
      return "Sandbox policy blocks local/private network addresses.";
    case "denied":
      return "Domain denied by the sandbox policy.";
    case "method_not_allowed":
      return "Method not allowed in limited mode.";
    case "mitm_required":
      return "MITM required for limited HTTPS.";
  }
}

/** A rule and where it was written, for messages: `"*.x" = "deny" in /home/a/.codex/config.toml:7`. */
function describeRule(rule: DomainRule): string {
  const { origin } = rule;
  const place = origin.file === null
    ? origin.key
    : `${toText(origin.file)}${
      origin.line === undefined ? "" : `:${origin.line}`
    }`;
  return `"${rule.written}" = "${rule.access}" in ${place}`;
}

function decideLocal(
  policy: NetworkPolicy,
  target: Target,
  own: readonly Address[],
): Decision | null {
  const { host, port } = target;
  const name = formatHost(host);
  const local = localKind(host, own);
  if (local === null) return null;
  if (policy.allowLocalBinding && local.kind === "local") return null;
  const rule = explicitRule(policy, host, port);
  if (rule !== null) return null;
  const usual = usualSpelling(host);
  if (usual !== host && explicitRule(policy, usual, port) !== null) {
    return refusedSpelling(target, "not_allowed_local");
  }
  const otherPort = policy.rules.find((rule) =>
    rule.pattern.port !== null && isExplicit(rule, usual, rule.pattern.port)
  );
  return {
    verdict: "deny",
    reason: "not_allowed_local",
    rule: null,
    detail: otherPort === undefined
      ? `${name} is ${local.why} and must be listed by itself in ${policy.table} domains, without a wildcard`
      : refusedPort(target, otherPort),
    remedy: allowLine(target),
  };
}

function localKind(
  host: Host,
  own: readonly Address[],
): { readonly kind: "local" | "metadata"; readonly why: string } | null {
  if (host.kind === "name") {
    if (isLoopbackName(host.name)) return { kind: "local", why: "loopback" };
    return isMetadataName(host)
      ? { kind: "metadata", why: "cloud metadata" }
      : null;
  }
  if (isMetadataAddress(host.address)) {
    return { kind: "metadata", why: "cloud metadata" };
  }
  const why = whyNotPublic(host.address, own);
  return why === null ? null : { kind: "local", why: `not public (${why})` };
}

function decideMode(policy: NetworkPolicy, target: Target): Denial | null {
  if (policy.mode === "full") return null;
  const where = `${policy.table} mode = "limited"`;
  if (target.protocol !== "http") {
    return {
      verdict: "deny",
      reason: "mitm_required",
      rule: null,
      detail: `${where} allows plain HTTP only, no ${
        target.protocol === "connect" ? "CONNECT" : "SOCKS"
      } tunnel; set mode = "full" to reach ${formatEndpoint(target)}`,
      remedy: null,
    };
  }
  if (target.upgrade === true || !READ_METHODS.includes(target.method ?? "")) {
    return {
      verdict: "deny",
      reason: "method_not_allowed",
      rule: null,
      detail: target.upgrade === true
        ? `${where} allows no Upgrade; set mode = "full"`
        : `${where} allows GET, HEAD and OPTIONS; set mode = "full"`,
      remedy: null,
    };
  }
  return null;
}

function denyRule(
  policy: NetworkPolicy,
  host: Host,
  port: number,
): DomainRule | null {
  return policy.rules.find((rule) =>
    rule.access === "deny" && denies(rule.pattern, host, port)
  ) ?? null;
}

function allowRule(
  policy: NetworkPolicy,
  host: Host,
  port: number,
): DomainRule | null {
  return policy.rules.find((rule) =>
    rule.access === "allow" && allows(rule.pattern, host, port)
  ) ?? null;
}

/** The rule that lists a local host as itself. A range counts when all of it is non-public, but never for metadata services. */
function explicitRule(
  policy: NetworkPolicy,
  host: Host,
  port: number,
): DomainRule | null {
  return policy.rules.find((rule) => isExplicit(rule, host, port)) ?? null;
}

/** Whether some port of a local host may be reached. `*` alone says nothing of the loopback, whatever else it opens. */
export function namesLocal(policy: NetworkPolicy, host: Host): boolean {
  const isDenied = policy.rules.some(({ access, pattern }) =>
    access === "deny" && pattern.port === null && denies(pattern, host, 0)
  );
  return !isDenied && policy.rules.some((rule) => {
    const onAnyPort = { ...rule, pattern: { ...rule.pattern, port: null } };
    return isExplicit(onAnyPort, host, 0) ||
      policy.allowLocalBinding && rule.access === "allow" &&
        rule.pattern.host.kind !== "any" && allows(onAnyPort.pattern, host, 0);
  });
}

function isExplicit(
  { access, pattern }: DomainRule,
  host: Host,
  port: number,
): boolean {
  const metadata = host.kind === "address" && isMetadataAddress(host.address);
  return access === "allow" &&
    (isLiteral(pattern) ||
      pattern.host.kind === "range" && !metadata &&
        isPrivateRange(pattern.host.range)) &&
    allows(pattern, host, port);
}

/** Whether a listed host may lead to this non-public address: itself, loopback for localhost, metadata for its names. */
function mayLead(host: Host, address: Address): boolean {
  if (host.kind === "address") return true;
  if (isLoopbackName(host.name)) {
    return whyNotPublic(address, []) === "loopback";
  }
  return isMetadataName(host) && isMetadataAddress(address);
}

function isMetadataName(host: Host): boolean {
  return host.kind === "name" && METADATA_NAMES.includes(host.name);
}

function deniedBy(
  policy: NetworkPolicy,
  target: Target,
  rule: DomainRule,
): Denial {
  return {
    verdict: "deny",
    reason: "denied",
    rule,
    detail: `${formatEndpoint(target)} is denied by ${
      describeRule(rule)
    } (${policy.table})`,
    remedy: null,
  };
}

function notAllowed(policy: NetworkPolicy, target: Target): Denial {
  const { host, port } = target;
  if (usualSpelling(host) !== host) {
    return refusedSpelling(target, "not_allowed");
  }
  // A pattern for the same host with another port is the likeliest reason.
  const otherPort = policy.rules.find(({ access, pattern }) =>
    access === "allow" && pattern.port !== null &&
    allows({ ...pattern, port: null }, host, port)
  );
  const name = formatHost(host);
  return {
    verdict: "deny",
    reason: "not_allowed",
    rule: null,
    detail: otherPort === undefined
      ? `${formatEndpoint(target)} is not in ${policy.table} domains`
      : refusedPort(target, otherPort),
    remedy: port === 80 || port === 443
      ? `"${name}" = "allow"`
      : allowLine(target),
  };
}

/** Two parsers could read an address such as `127.1` as two: whatever is listed, it is refused. */
function refusedSpelling(target: Target, reason: DenyReason): Denial {
  const name = formatHost(target.host);
  return {
    verdict: "deny",
    reason,
    rule: null,
    detail: `an unusual spelling of ${name} is not allowed; write ${name}`,
    remedy: null,
  };
}

function refusedPort(target: Target, rule: DomainRule): string {
  return `${formatEndpoint(target)} is not allowed: ${
    describeRule(rule)
  } is for another port`;
}

/** The line that opens just this: a port of the host's own loopback is not all of them. */
function allowLine(endpoint: Endpoint): string {
  return `"${formatEndpoint(endpoint)}" = "allow"`;
}

function usualSpelling(host: Host): Host {
  return host.kind === "name" || host.usual ? host : { ...host, usual: true };
}
