import { expect, test } from "bun:test";
import { policyConnect } from "../../src/commands/policy_connect.ts";
import type { CommandOutput } from "../../src/commands/output.ts";
import { EMPTY_NETWORK_POLICY } from "../../src/policy/network.ts";
import { readNetworkTable } from "../../src/policy/network_table.ts";
import type { NetworkLack } from "../../src/config/network_rules.ts";
import { abs } from "../../src/policy/path.ts";
import type { NetworkMode, Origin } from "../../src/policy/policy.ts";

const TABLE = "[permissions.ci.network.domains]";

function why(
  targets: readonly string[],
  over: {
    readonly network?: NetworkMode;
    readonly lack?: NetworkLack;
    readonly profile?: string;
    readonly domains?: Readonly<Record<string, string>>;
    readonly mode?: string;
    readonly format?: "text" | "json";
  } = {},
): CommandOutput {
  const reading = readNetworkTable({
    name: "[permissions.ci.network]",
    table: {
      domains: over.domains ?? {},
      ...(over.mode === undefined ? {} : { mode: over.mode }),
    },
    originOf: (path) => ({ file: abs("/c.toml"), key: path.join(".") }),
    requirements: null,
  });
  return policyConnect({
    profile: over.profile ?? "ci",
    lack: over.lack ?? "unsaid",
    network: over.network ?? "proxied",
    rules: reading.ok ? reading.value.policy : EMPTY_NETWORK_POLICY,
    domainsTable: TABLE,
    targets,
    own: [],
    format: over.format ?? "text",
    locate: (origin: Origin) => ({ ...origin, line: 7, column: 3 }),
  });
}

const DOMAINS = {
  "*.allowed.test": "allow",
  "api.test:8443": "allow",
  "bad.allowed.test": "deny",
};

const ANSWERS: readonly (readonly [
  target: string,
  over: Parameters<typeof why>[1],
  status: number,
  lines: readonly string[],
])[] = [
  ["a.allowed.test", {}, 0, [
    "allowed: connect a.allowed.test:443",
    '  because "*.allowed.test" = "allow" [/c.toml:7:3]',
    '  to change it, replace that entry by "*.allowed.test" = "deny"',
  ]],
  ["bad.allowed.test:80", {}, 1, [
    "denied (denied): connect bad.allowed.test:80",
    '  because "bad.allowed.test" = "deny" [/c.toml:7:3]',
    '  to change it, replace that entry by "bad.allowed.test" = "allow"',
  ]],
  ["allowed.test", {}, 1, [
    "denied (not_allowed): connect allowed.test:443",
    "  because allowed.test:443 is not in [permissions.ci.network] domains",
    `  to change it, add "allowed.test" = "allow" to ${TABLE}`,
  ]],
  ["api.test", {}, 1, [
    "denied (not_allowed): connect api.test:443",
    '  because api.test:443 is not allowed: "api.test:8443" = "allow" in /c.toml is for another port',
    `  to change it, add "api.test" = "allow" to ${TABLE}`,
  ]],
  ["[::1]:22", {}, 1, [
    "denied (not_allowed_local): connect [::1]:22",
    "  because ::1 is not public (loopback) and must be listed by itself in [permissions.ci.network] domains, without a wildcard",
    `  to change it, add "[::1]:22" = "allow" to ${TABLE}`,
  ]],
  ["a.allowed.test", { network: "none" }, 1, [
    "denied (no_network): connect a.allowed.test:443",
    "  because the profile gives no network",
    `  to change it, add "a.allowed.test:443" = "allow" to ${TABLE}`,
  ]],
  ["a.test", { network: "none", lack: "disabled" }, 1, [
    "denied (no_network): connect a.test:443",
    "  because the profile's network says enabled = false",
    `  to change it, leave that out and add "a.test:443" = "allow" to ${TABLE}`,
  ]],
  ["a.test", { network: "none", lack: "switched_off" }, 1, [
    "denied (no_network): connect a.test:443",
    "  because the proxy is switched off, and this profile has no network but the managed one",
    "  to change it, leave out --disable network_proxy, or features.network_proxy = false",
  ]],
  ["a.test", { network: "none", lack: "required" }, 1, [
    "denied (no_network): connect a.test:443",
    "  because the administrator's requirements say [experimental_network] enabled = false",
  ]],
  ["a.test", { network: "none", lack: "built_in", profile: ":workspace" }, 1, [
    "denied (no_network): connect a.test:443",
    "  because the profile gives no network",
    '  to change it, add "a.test:443" = "allow" to [permissions.NAME.network.domains] of a profile of your own that extends ":workspace"',
  ]],
  ["other.test", { network: "host" }, 0, [
    "allowed: connect other.test:443",
    "  because the profile gives the host's network, where nothing is refused",
  ]],
  ["a.allowed.test", { mode: "limited" }, 1, [
    "denied (mitm_required): connect a.allowed.test:443",
    '  because [permissions.ci.network] mode = "limited" allows plain HTTP only, no CONNECT tunnel; set mode = "full" to reach a.allowed.test:443',
  ]],
  ["a.allowed.test:80", { mode: "limited" }, 0, [
    "allowed: connect a.allowed.test:80",
    '  because "*.allowed.test" = "allow", for GET, HEAD and OPTIONS of plain HTTP [/c.toml:7:3]',
    '  to change it, replace that entry by "*.allowed.test" = "deny"',
  ]],
];

for (const [target, over, status, lines] of ANSWERS) {
  test(`connect ${target} ${JSON.stringify(over)}: ${lines[0]}`, () => {
    expect(why([target], { domains: DOMAINS, ...over })).toEqual({
      stdout: `${lines.join("\n")}\n`,
      stderr: "",
      status,
    });
  });
}

test("one refusal among many hosts is the status, and JSON has them all", () => {
  const { stdout, status } = why(["a.allowed.test", "x.test"], {
    domains: DOMAINS,
    format: "json",
  });
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    profile: "ci",
    network: "proxied",
    results: [
      {
        target: "a.allowed.test:443",
        operation: "connect",
        allowed: true,
        reason: "allowed",
        because: '"*.allowed.test" = "allow"',
        decidedBy: {
          pattern: "*.allowed.test",
          access: "allow",
          origin: {
            file: "/c.toml",
            key: "domains.*.allowed.test",
            line: 7,
            column: 3,
          },
        },
        change: 'replace that entry by "*.allowed.test" = "deny"',
      },
      {
        target: "x.test:443",
        operation: "connect",
        allowed: false,
        reason: "not_allowed",
        because: "x.test:443 is not in [permissions.ci.network] domains",
        decidedBy: null,
        change: `add "x.test" = "allow" to ${TABLE}`,
      },
    ],
  });
});

for (const target of ["http://a.b", "a b", "a.b:0", ""]) {
  test(`${JSON.stringify(target)} is no host: status 2`, () => {
    const { stdout, stderr, status } = why(["a.b", target]);
    expect({ stdout, status }).toEqual({ stdout: "", status: 2 });
    expect(stderr).toStartWith(`codex: Cannot read "${target}" as HOST[:PORT]`);
  });
}
