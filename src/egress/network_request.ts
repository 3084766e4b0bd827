/**
 * What a run's network is to be served with, and the ports inside that lead to it.
 *
 * Pure. The namespace is the run's own, so the ports are always the same: a tool that reads no variable can be told them once.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { NetworkPolicy } from "../policy/network.ts";
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
