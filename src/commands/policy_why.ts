/**
 * `codex policy why`: what a profile says about paths, which entry decides, which lost, and what would change it.
 *
 * Pure: the config is resolved and the facts are gathered before.
 *
 * @module
 */
import { decodeText, toText } from "../bytes.ts";
import type { PathFacts } from "../policy/facts.ts";
import { access, type Verdict } from "../policy/access.ts";
import { describeDecider } from "../policy/decider_text.ts";
import type { Decider } from "../policy/decision.ts";
import type { AbsPath } from "../policy/path.ts";
import type { Origin, Policy } from "../policy/policy.ts";
import { policyErrors } from "../policy/refusals.ts";
import { unreachable } from "../result.ts";
import {
  type CommandOutput,
  jsonText,
  originJson,
  originText,
} from "./output.ts";

/** What is asked, of what. */
export interface WhyRequest {
  readonly policy: Policy;
  /** Of this policy, with each of `paths` asked. */
  readonly facts: PathFacts;
  readonly operation: "read" | "write" | "exec";
  readonly paths: readonly AbsPath[];
  readonly format: "text" | "json";
  /** Adds line and column, where the file can be read again. */
  readonly locate: (origin: Origin) => Origin;
}

/** Verdicts in the order of the paths. Status 0: all allowed; 1: one is denied; 125: a run with this profile is refused. */
export function policyWhy(request: WhyRequest): CommandOutput {
  const { policy, facts, operation, paths } = request;
  const [refusal] = policyErrors(policy, facts);
  if (refusal !== undefined) {
    const origin = refusal.origin === null
      ? ""
      : ` (${originText(request.locate(refusal.origin))})`;
    const message =
      `codex: a run with profile "${policy.name}" is refused: ${refusal.message}${origin}\n`;
    return { stdout: "", stderr: message, status: 125 };
  }
  const verdicts = paths.map((path) => {
    const verdict = access(policy, facts, path, { kind: operation });
    return { path, verdict };
  });
  const status = verdicts.every(({ verdict }) => verdict.allowed) ? 0 : 1;
  const stdout = request.format === "json"
    ? jsonText({
      profile: policy.name,
      cwd: toText(policy.cwd),
      results: verdicts.map(({ path, verdict }) =>
        whyJson(request, path, verdict)
      ),
    })
    : verdicts.map(({ path, verdict }) => whyText(request, path, verdict))
      .join("\n");
  return { stdout, stderr: "", status };
}

function whyText(
  request: WhyRequest,
  path: AbsPath,
  verdict: Verdict,
): string {
  const answer = verdict.allowed ? "allowed" : `denied (${verdict.errno})`;
  const lines = [`${answer}: ${request.operation} ${toText(path)}`];
  if (verdict.path !== path) lines.push(`  it is ${toText(verdict.path)}`);
  if (!verdict.exists) {
    lines.push("  it doesn't exist: judged as if it were made now");
  }
  // A mode has no place in a config.
  const place = isOnlyUnexecutable(request, verdict)
    ? ""
    : placeText(request, verdict.decider);
  lines.push(`  because ${verdict.reason}${place}`);
  for (const lost of verdict.lost) {
    lines.push(
      `  over ${describeDecider(lost)}${placeText(request, lost)}`,
    );
  }
  const change = changeFor(request, verdict);
  if (change !== null) lines.push(`  to change it, ${change}`);
  return `${lines.join("\n")}\n`;
}

function placeText(request: WhyRequest, decider: Decider): string {
  const origin = originOf(decider);
  return origin === null ? "" : ` [${originText(request.locate(origin))}]`;
}

function whyJson(
  request: WhyRequest,
  path: AbsPath,
  verdict: Verdict,
): unknown {
  const decider = (it: Decider): unknown => {
    const origin = originOf(it);
    return {
      kind: it.kind,
      path: toText(it.path),
      says: describeDecider(it),
      origin: origin === null ? null : originJson(request.locate(origin)),
    };
  };
  return {
    path: toText(path),
    operation: request.operation,
    allowed: verdict.allowed,
    errno: verdict.errno,
    canonicalPath: toText(verdict.path),
    exists: verdict.exists,
    reason: verdict.reason,
    decidedBy: decider(verdict.decider),
    lost: verdict.lost.map(decider),
    change: changeFor(request, verdict),
  };
}

function originOf(decider: Decider): Origin | null {
  switch (decider.kind) {
    case "grant":
      return decider.grant.origin;
    case "glob":
      return decider.glob.origin;
    default:
      return null;
  }
}

/** A path as a key of a config file; `null` where TOML, which is UTF-8, can't hold it. */
function keyOf(path: AbsPath): string | null {
  const text = decodeText(path);
  return text === null
    ? null
    : JSON.stringify(text).replaceAll("\x7f", "\\u007f");
}

/** What to write, and where; `null` when nothing would help. */
function changeFor(request: WhyRequest, verdict: Verdict): string | null {
  const { policy, operation } = request;
  const wanted = operation === "write" ? "write" : "read";
  const { path } = verdict;
  const add = (at: AbsPath, mode: string): string => {
    const key = keyOf(at);
    return key === null
      ? "name a directory above it: a config file is UTF-8 and can't hold this name"
      : `add ${key} = "${mode}" ${tableOf(policy)}`;
  };
  // A grant is a mount, and where nothing is there is nothing to mount.
  const reopen = (at: AbsPath): string =>
    verdict.exists
      ? add(at, wanted)
      : `create "${toText(at)}" outside, then ${add(at, wanted)}`;
  const { decider } = verdict;
  if (verdict.allowed) {
    const closes = operation === "write" ? "read" : "deny";
    switch (decider.kind) {
      case "unconfined":
        return "choose a profile that confines files";
      case "system":
      case "private_tmp":
        return null;
      default:
        return add(path, closes);
    }
  }
  if (verdict.errno === "ELOOP") return null;
  if (isOnlyUnexecutable(request, verdict)) {
    return `make "${toText(path)}" an executable file`;
  }
  switch (decider.kind) {
    case "grant": {
      const { grant } = decider;
      if (grant.access === "write") return `create "${toText(decider.path)}"`;
      return grant.access === "deny" && decider.path === verdict.path
        ? `replace that entry by ${keyOf(grant.path)} = "${wanted}"`
        : reopen(path);
    }
    case "glob":
      return "narrow that pattern: no other entry is stronger than a glob";
    case "metadata":
    case "git_pointer":
    case "nested_repository":
    case "shut_directory":
      return add(decider.path, "write");
    case "platform":
    case "no_entry":
      return reopen(path);
    case "socket":
      return `add ${keyOf(path)} = "allow" ${
        tableOf(policy, "network.unix_sockets")
      }`;
    case "own":
    case "system":
    case "private_tmp":
    case "pin":
    case "unconfined":
      return null;
    default:
      return unreachable(decider);
  }
}

/** Whether only the file itself stands against executing it. */
function isOnlyUnexecutable(
  { policy, facts, operation }: WhyRequest,
  verdict: Verdict,
): boolean {
  return operation === "exec" && !verdict.allowed && verdict.exists &&
    access(policy, facts, verdict.path, { kind: "read" }).allowed;
}

/** Built-in profiles can't be edited: they are extended. */
function tableOf(policy: Policy, table = "filesystem"): string {
  if (!policy.name.startsWith(":")) {
    const name = /^[A-Za-z0-9_-]+$/.test(policy.name)
      ? policy.name
      : JSON.stringify(policy.name);
    return `to [permissions.${name}.${table}]`;
  }
  return policy.name === ":danger-full-access"
    ? "to a profile of your own"
    : `to a profile of your own that extends "${policy.name}"`;
}
