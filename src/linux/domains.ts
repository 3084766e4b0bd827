/**
 * Landlock domains that forbid no file: for what only a domain can bound, by the version that the kernel has.
 *
 * Pure. A process traces others of its own domain and of domains made inside it, and nobody else (ptrace(2) itself, process_vm_*,
 * `/proc/PID/mem`); that comes with any domain. Scopes are version 6 (Linux 6.12). Source: `linux/landlock.h`, landlock(7).
 *
 * @module
 */
import {
  LANDLOCK_ACCESS_FS_REFER,
  LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
} from "../sys/abi.ts";

/** A domain as the kernel is told: rights that it handles and allows everywhere again, or scopes. */
export type Domain =
  | { readonly kind: "rights"; readonly allowed: number }
  | { readonly kind: "scope"; readonly scoped: number };

/** The first version whose domain can leave renames across directories alone (Linux 5.19). */
export const TRACE_VERSION = 2;

/** The first version with scopes (Linux 6.12). */
export const SCOPE_VERSION = 6;

/**
 * The domain of `debug = true`. Process 1 of the sandbox is not in it.
 *
 * A ruleset may not be empty. Up to version 5 REFER is handled, and allowed below the root; that forbids mounts too, which a scope
 * doesn't. @returns `null` when the kernel is too old
 */
export function traceDomain(version: number): Domain | null {
  if (version >= SCOPE_VERSION) return ABSTRACT_SCOPE;
  return version >= TRACE_VERSION
    ? { kind: "rights", allowed: LANDLOCK_ACCESS_FS_REFER }
    : null;
}

/** Abstract sockets of nobody outside of the domain can be reached. */
const ABSTRACT_SCOPE: Domain = {
  kind: "scope",
  scoped: LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
};
