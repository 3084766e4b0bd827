/**
 * `codex policy why connect`: what a profile says about hosts, by which rule, and what would change it.
 *
 * Pure. Names are not resolved: whether one leads to a private address is seen when it is dialled.
 *
 * @module
 */
import type { Address } from "../policy/address.ts";
import { formatEndpoint, parseEndpoint } from "../policy/host.ts";
import {
  decideText,
  type DomainRule,
  EMPTY_NETWORK_POLICY,
  type NetworkPolicy,
} from "../policy/network.ts";
import type { NetworkMode, Origin } from "../policy/policy.ts";
import type { NetworkLack } from "../config/network_rules.ts";
import { ok, type Result, unreachable } from "../result.ts";
import {
  type CommandOutput,
  jsonText,
  originJson,
  originText,
} from "./output.ts";

/** What is asked, of what. */
export interface ConnectRequest {
  readonly profile: string;
  readonly network: NetworkMode;
  /** Why there is none, where `network` is `none`. */
  readonly lack: NetworkLack;
  /** `null` where the profile says nothing about hosts. */
  readonly rules: NetworkPolicy | null;
  /** Where hosts belong: `[permissions.ci.network.domains]`. */
  readonly domainsTable: string;
  /** `HOST[:PORT]`; the port is 443 when not given. */
  readonly targets: readonly string[];
  /** Addresses of this host's interfaces. */
  readonly own: readonly Address[];
  readonly format: "text" | "json";
  /** Adds line and column, where the file can be read again. */
  readonly locate: (origin: Origin) => Origin;
}

interface Answer {
  readonly target: string;
  readonly allowed: boolean;
  /** `allowed`, `host_network`, `no_network` or the code of a refusal. */
  readonly reason: string;
  readonly because: string;
  readonly rule: DomainRule | null;
  readonly change: string | null;
}

/** Verdicts in the order of the targets. Status 0: all allowed; 1: one is denied; 2: one is no host. */
export function policyConnect(request: ConnectRequest): CommandOutput {
  const answers: Answer[] = [];
  for (const target of request.targets) {
    const answer = answerOf(request, target);
    if (!answer.ok) {
      return { stdout: "", stderr: `codex: ${answer.error}\n`, status: 2 };
    }
    answers.push(answer.value);
  }
  const status = answers.every(({ allowed }) => allowed) ? 0 : 1;
  const stdout = request.format === "json"
    ? jsonText({
      profile: request.profile,
      network: request.network,
      results: answers.map((answer) => answerJson(request, answer)),
    })
    : answers.map((answer) => answerText(request, answer)).join("\n");
  return { stdout, stderr: "", status };
}

function answerOf(
  request: ConnectRequest,
  text: string,
): Result<Answer, string> {
  const { network, rules, domainsTable, own } = request;
  const policy = rules ?? EMPTY_NETWORK_POLICY;
  const endpoint = parseEndpoint(text, 443);
  const isPlain = policy.mode === "limited" && endpoint.ok &&
    endpoint.value.port !== 443;
  const protocol = isPlain ? "http" : "connect";
  const asked = decideText(policy, text, protocol, own);
  if (!asked.ok) return asked;
  const { decision } = asked.value;
  const target = formatEndpoint(asked.value.endpoint);
  if (network === "none") {
    return ok({
      target,
      allowed: false,
      reason: "no_network",
      rule: null,
      ...noNetwork(request, target),
    });
  }
  if (network === "host") {
    return ok({
      target,
      allowed: true,
      reason: "host_network",
      because: "the profile gives the host's network, where nothing is refused",
      rule: null,
      change: null,
    });
  }
  if (decision.verdict === "allow") {
    return ok({
      target,
      allowed: true,
      reason: "allowed",
      because: `"${decision.rule.written}" = "allow"${
        isPlain ? ", for GET, HEAD and OPTIONS of plain HTTP" : ""
      }`,
      rule: decision.rule,
      change: `replace that entry by "${decision.rule.written}" = "deny"`,
    });
  }
  return ok({
    target,
    allowed: false,
    reason: decision.reason,
    because: decision.rule === null
      ? decision.detail
      : `"${decision.rule.written}" = "deny"`,
    rule: decision.rule,
    change: decision.remedy !== null
      ? `add ${decision.remedy} to ${domainsTable}`
      : decision.rule !== null
      ? `replace that entry by "${decision.rule.written}" = "allow"`
      : null,
  });
}

/** A line of `domains` gives a network only where none was said: the other reasons have their own cures. */
function noNetwork(
  { profile, lack, domainsTable }: ConnectRequest,
  target: string,
): Pick<Answer, "because" | "change"> {
  const line = `add "${target}" = "allow" to`;
  switch (lack) {
    case "required":
      return {
        because:
          "the administrator's requirements say [experimental_network] enabled = false",
        change: null,
      };
    case "built_in":
      return {
        because: "the profile gives no network",
        change:
          `${line} [permissions.NAME.network.domains] of a profile of your own that extends "${profile}"`,
      };
    case "disabled":
      return {
        because: "the profile's network says enabled = false",
        change: `leave that out and ${line} ${domainsTable}`,
      };
    case "switched_off":
      return {
        because:
          "the proxy is switched off, and this profile has no network but the managed one",
        change:
          "leave out --disable network_proxy, or features.network_proxy = false",
      };
    case "unsaid":
      return {
        because: "the profile gives no network",
        change: `${line} ${domainsTable}`,
      };
    default:
      return unreachable(lack);
  }
}

function answerText({ locate }: ConnectRequest, answer: Answer): string {
  const { target, allowed, reason, because, rule, change } = answer;
  const verdict = allowed ? "allowed" : `denied (${reason})`;
  const place = rule === null ? "" : ` [${originText(locate(rule.origin))}]`;
  const lines = [
    `${verdict}: connect ${target}`,
    `  because ${because}${place}`,
  ];
  if (change !== null) lines.push(`  to change it, ${change}`);
  return `${lines.join("\n")}\n`;
}

function answerJson({ locate }: ConnectRequest, answer: Answer): unknown {
  const { target, allowed, reason, because, rule, change } = answer;
  return {
    target,
    operation: "connect",
    allowed,
    reason,
    because,
    decidedBy: rule === null ? null : {
      pattern: rule.written,
      access: rule.access,
      origin: originJson(locate(rule.origin)),
    },
    change,
  };
}
