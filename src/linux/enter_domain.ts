/**
 * Puts this thread, and what it executes or starts, into a Landlock domain of `domains.ts`.
 *
 * Effects: prctl(2), landlock_*(2). Loaded only where a plan has such a domain.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  landlockAllow,
  landlockRestrict,
  landlockRuleset,
  open,
  prctl,
  type SysError,
} from "../sys/calls.ts";
import type { Domain } from "./domains.ts";

/** Sets no_new_privs, which the kernel asks for, and enters the domain. @returns the call that failed */
export function enterDomain(domain: Domain): Result<void, SysError> {
  const privileges = prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  if (!privileges.ok) return privileges;
  const ruleset = domain.kind === "scope"
    ? landlockRuleset(0, { net: 0, scopes: domain.scoped })
    : allowedEverywhere(domain.allowed);
  if (!ruleset.ok) return ruleset;
  const restricted = landlockRestrict(ruleset.value);
  close(ruleset.value);
  return restricted.ok ? ok(undefined) : restricted;
}

/** A ruleset that handles rights and gives them back below the root. */
function allowedEverywhere(rights: number): Result<number, SysError> {
  const ruleset = landlockRuleset(rights);
  if (!ruleset.ok) return ruleset;
  const root = open("/" as ByteString, abi.O_PATH);
  const added = root.ok
    ? landlockAllow(ruleset.value, root.value, rights)
    : root;
  if (root.ok) close(root.value);
  if (added.ok) return ruleset;
  close(ruleset.value);
  return fail(added.error);
}
