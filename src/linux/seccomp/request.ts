/**
 * What decides about a seccomp filter, and the name of each combination.
 *
 * Pure, and apart from the rules so that a run loads neither them nor the assembler.
 *
 * @module
 */
import type { Arch } from "./syscalls.ts";

/** What decides about the filter. Twenty of them per architecture. */
export interface FilterRequest {
  readonly arch: Arch;
  readonly network: FilterNetwork;
  /** ptrace and process_vm_*: the profile's key `debug`. */
  readonly debug: boolean;
  /** `denied`: new namespaces and mounts are the filter's business, because bwrap's `--disable-userns` is not there to do it. */
  readonly namespaces: "allowed" | "denied";
  /** Modes, owners, times and attributes of files: Landlock has no right for them. Only where namespaces are denied and no sockets isolated. */
  readonly attributes?: "denied";
}

/**
 * Sockets:
 *
 * - `isolated`: a network namespace of its own is the boundary; internet sockets with all their calls.
 * - `isolated_tight`: the same without them (`loopback = false`), the reference's table.
 * - `shared_restricted`: no network namespace (Landlock rung), no network; no socket at all can be made.
 * - `host`: the network is enabled.
 * - `host_without_unix`: the same without AF_UNIX sockets, where no mount can hide those of daemons (Landlock rung).
 */
export type FilterNetwork = (typeof FILTER_NETWORKS)[number];

export const FILTER_ARCHES: readonly Arch[] = ["x86_64", "arm64"];
export const FILTER_NETWORKS = [
  "isolated",
  "isolated_tight",
  "shared_restricted",
  "host",
  "host_without_unix",
] as const;

/** The request as one word, unique per request: the key of the table of made programs. */
export function filterKey(request: FilterRequest): string {
  const { arch, network, debug, namespaces, attributes } = request;
  const mode = debug ? "debug" : "plain";
  const files = attributes === undefined ? "" : "/attributes";
  return `${arch}/${network}/${mode}/${namespaces}${files}`;
}
