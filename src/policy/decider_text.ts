/**
 * What a rule says, for people.
 *
 * Pure.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { unreachable } from "../result.ts";
import type { Decider } from "./decision.ts";
import { DEV, PROC } from "./places.ts";

/** What a rule says, in one clause. */
export function describeDecider(decider: Decider): string {
  const at = toText(decider.path);
  switch (decider.kind) {
    case "grant":
      return `${
        decider.grant.symbol ?? `"${toText(decider.grant.path)}"`
      } = "${decider.grant.access}"`;
    case "glob":
      return `glob "${toText(decider.glob.pattern)}" = "deny" matches "${
        toText(decider.match.via ?? decider.match.path)
      }"`;
    case "platform":
      return `":minimal" = "read" covers "${at}"`;
    case "metadata":
      return `"${toText(decider.name)}" is protected in the writable root "${
        toText(decider.root)
      }"`;
    case "git_pointer":
      return `"${at}" is the git directory that "${
        toText(decider.pointer)
      }" points to`;
    case "nested_repository":
      return `"${at}" belongs to the repository "${
        toText(decider.repository)
      }" inside a writable directory`;
    case "shut_directory":
      return `the mode of "${at}" forbids to look for repositories in it`;
    case "own":
      return decider.access === "hidden"
        ? `"${at}" holds the sandbox's own state, which is hidden`
        : `"${at}" is one of the sandbox's own places, which stay read-only`;
    case "socket":
      return decider.opened
        ? `unix_sockets opens "${at}"`
        : `"${at}" is hidden beside the host's network: ${decider.daemon} takes orders there`;
    case "private_tmp":
      return `"${at}" is the run's own empty directory (tmp = "private")`;
    case "system":
      return decider.path === PROC || decider.path === DEV
        ? `"${at}" is made afresh for each run`
        : `"${at}" is read-only in each run`;
    case "pin":
      return `"${at}" may not be renamed because "${
        toText(decider.guards)
      }" below it is protected`;
    case "no_entry":
      return "no entry covers it";
    case "unconfined":
      return "the profile does not restrict files";
    default:
      return unreachable(decider);
  }
}
