/**
 * Entries that are allowed and probably not meant: for `codex config check`.
 *
 * Pure.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { PathFacts } from "./facts.ts";
import { describeDecider } from "./decider_text.ts";
import { compileGlob } from "./glob.ts";
import { layoutOf, writableRoots } from "./layout.ts";
import type { GlobDeny, Origin, Policy } from "./policy.ts";
import { rule } from "./rules.ts";

/** One doubt, with the entry it is about. The message is one line without the place. */
export interface PolicyDoubt {
  readonly origin: Origin | null;
  readonly message: string;
}

/** Every doubt about `policy` on the host that `facts` describe. */
export function policyDoubts(
  policy: Policy,
  facts: PathFacts,
): readonly PolicyDoubt[] {
  if (policy.enforcement !== "managed") return [];
  return [
    ...deadEntries(policy, facts),
    ...missingGrants(policy, facts),
    ...policy.globs.flatMap((glob) => globDoubts(glob, facts)),
    ...openRoots(policy, facts),
    ...uselessSockets(policy),
  ];
}

/** Entries that a stronger rule for the same place, or a mask around it, leaves without any effect. */
function deadEntries(policy: Policy, facts: PathFacts): PolicyDoubt[] {
  const { rules } = layoutOf(policy, facts);
  const doubts: PolicyDoubt[] = [];
  for (const [path, entries] of rules.entries) {
    const { decider: winner } = rule(rules, path);
    for (const { access, decider } of entries) {
      if (decider.kind !== "grant" || decider === winner) continue;
      const { origin } = decider.grant;
      // Built-in entries are nobody's slip, and a symbol may well fall on another's place.
      if (origin.file === null || decider.grant.symbol !== undefined) continue;
      if (winner.kind === "grant" && winner.grant.access === access) continue;
      doubts.push({
        origin,
        message: `${describeDecider(decider)} has no effect: ${
          describeDecider(winner)
        }`,
      });
    }
  }
  return doubts;
}

/** Write entries for what isn't there: a run passes over them, and nothing can be made in their place. */
function missingGrants(policy: Policy, facts: PathFacts): PolicyDoubt[] {
  return policy.grants.flatMap(({ path, access, origin, symbol }) => {
    if (access !== "write" || origin.file === null || symbol !== undefined) {
      return [];
    }
    if (facts.paths.get(path)?.kind !== "missing") return [];
    const message = `"${
      toText(path)
    }" = "write" has no effect: nothing is there, create it first`;
    return [{ origin, message }];
  });
}

function globDoubts(glob: GlobDeny, facts: PathFacts): PolicyDoubt[] {
  const { pattern, origin } = glob;
  const text = toText(pattern);
  const doubts: PolicyDoubt[] = [];
  if (!facts.globMatches.some((match) => match.pattern === pattern)) {
    doubts.push({ origin, message: `glob "${text}" matches nothing now` });
  }
  const compiled = compileGlob(pattern);
  const isOneLevel = compiled.ok &&
    compiled.value.alternatives.every((components) => components.length === 1);
  const last = pattern.slice(pattern.lastIndexOf("/") + 1);
  if (isOneLevel && last.startsWith("*.")) {
    const directory = toText(glob.prefix);
    const deep = `${directory === "/" ? "" : directory}/**/${last}`;
    doubts.push({
      origin,
      message:
        `glob "${text}" matches in "${directory}" only, not below: "${deep}" matches at any depth`,
    });
  }
  return doubts;
}

/** Without the host's network no AF_UNIX socket can be made, so there is nothing to open. */
function uselessSockets({ network, options }: Policy): PolicyDoubt[] {
  if (network === "host" || options.unixSockets.length === 0) return [];
  const what = network === "proxied" ? "a managed network" : "no network";
  return [{
    origin: null,
    message:
      `unix_sockets has no effect: it opens sockets beside the host's network, and this profile has ${what}`,
  }];
}

/** Writable roots that every user of the machine can write, without the sticky bit that protects `/tmp`. */
function openRoots(policy: Policy, facts: PathFacts): PolicyDoubt[] {
  const doubts: PolicyDoubt[] = [];
  for (const { path, decider } of writableRoots(layoutOf(policy, facts))) {
    const mode = facts.paths.get(path)?.mode ?? 0;
    if ((mode & 0o1002) !== 0o002 || decider.kind !== "grant") continue;
    doubts.push({
      origin: decider.grant.origin,
      message: `writable root "${
        toText(path)
      }" can be written by every user of this machine: chmod o-w it`,
    });
  }
  return doubts;
}
