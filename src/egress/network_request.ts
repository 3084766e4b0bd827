/**
 * What a run's network is to be served with, and the ports inside that lead to it.
 *
 * Pure. The namespace is the run's own, so the ports are always the same: a tool that reads no variable can be told them once.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import type { DomainRule, NetworkPolicy } from "../policy/network.ts";
import type { AbsPath } from "../policy/path.ts";
import { unreachable } from "../result.ts";
import type { LoopbackEndpoint } from "./routes.ts";

/** Port of the HTTP proxy on the sandbox's 127.0.0.1; of a caller's own proxies, the first. */
export const HTTP_PORT = 3_128;

/** Port of the SOCKS5 proxy. */
export const SOCKS_PORT = 1_080;

/** When refusals are told on stderr; `auto`: when the command failed. */
export type ReportMode = "never" | "auto" | "always";

/** Who serves the network. */
export type NetworkRequest =
  /** Our proxy. */
  | {
    readonly kind: "managed";
    readonly policy: NetworkPolicy;
    /** The caller's, for a proxy of its own behind ours; never the command's. */
    readonly environment: readonly ByteString[];
    /** Where a line that allows a host belongs: `[permissions.ci.network.domains]`. */
    readonly domainsTable: string;
    readonly report: ReportMode;
    readonly log: AbsPath | null;
  }
  /** The proxies of a caller, which decide by themselves. */
  | {
    readonly kind: "relayed";
    readonly endpoints: readonly LoopbackEndpoint[];
    /** What each connection to them begins with. */
    readonly preface: Buffer | null;
  };

/** What the proxy is and what it lets through, a line each, for `--explain`. */
export function describeNetwork(request: NetworkRequest): readonly string[] {
  const ports = listenPorts(request);
  if (request.kind === "relayed") {
    return request.endpoints.map(({ address, port }, index) =>
      `127.0.0.1:${ports[index]} leads to the caller's proxy at ${
        address === "::1" ? "[::1]" : address
      }:${port}`
    );
  }
  const { policy, log } = request;
  // In the order in which they decide.
  const rules = [...policy.rules].sort((one, other) =>
    Number(other.access === "deny") - Number(one.access === "deny")
  );
  return [
    `HTTP at 127.0.0.1:${HTTP_PORT}${
      policy.socks5 ? `, SOCKS5 at 127.0.0.1:${SOCKS_PORT}` : ""
    }`,
    ...(policy.mode === "limited"
      ? ["limited: GET, HEAD and OPTIONS of plain HTTP"]
      : []),
    ...rules.map((rule) =>
      `${rule.access.padEnd(5)} ${rule.written}  # ${originText(rule)}`
    ),
    "deny  every other host",
    ...(policy.allowLocalBinding
      ? ["local and private addresses are like any other"]
      : ["local and private addresses only where they are listed themselves"]),
    ...(log === null ? [] : [`log   ${toText(log)}`]),
  ];
}

function originText({ origin }: DomainRule): string {
  return origin.file === null
    ? origin.key
    : `${toText(origin.file)} (${origin.key})`;
}

/** The environment where our executable is started inside by other words than its name alone: a view without its libraries. */
export function asStarted(
  environment: readonly ByteString[],
  words: readonly string[],
): readonly ByteString[] {
  const name = words.at(-1);
  if (name === undefined || words.length === 1) return environment;
  return environment.map((entry) =>
    entry.startsWith("GIT_SSH_COMMAND=")
      ? entry.replace(
        `'${name} proxy-connect`,
        () => `'${words.join(" ")} proxy-connect`,
      ) as ByteString
      : entry
  );
}

/** What is listened on inside. */
export function listenPorts(request: NetworkRequest): readonly number[] {
  switch (request.kind) {
    case "managed":
      return request.policy.socks5 ? [HTTP_PORT, SOCKS_PORT] : [HTTP_PORT];
    case "relayed":
      return request.endpoints.map((_, index) => HTTP_PORT + index);
    default:
      return unreachable(request);
  }
}
