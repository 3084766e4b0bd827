import { expect, test } from "bun:test";
import { decide, type NetworkPolicy } from "../../src/policy/network.ts";
import { parseEndpoint } from "../../src/policy/host.ts";
import {
  type NetworkReading,
  type RawTable,
  readNetworkTable,
} from "../../src/policy/network_table.ts";
import { abs } from "../../src/policy/path.ts";
import type { Result } from "../../src/result.ts";
import type { NetworkFinding } from "../../src/policy/network_table.ts";

function read(
  table: RawTable,
  requirements: RawTable | null = null,
): Result<NetworkReading, readonly NetworkFinding[]> {
  return readNetworkTable({
    name: "[permissions.ci.network]",
    table,
    originOf: (path) => ({ file: abs("/c.toml"), key: path.join(".") }),
    requirements,
  });
}

function policyOf(
  table: RawTable,
  requirements: RawTable | null = null,
): NetworkPolicy {
  const reading = read(table, requirements);
  if (!reading.ok) throw new Error(reading.error[0]?.message ?? "");
  return reading.value.policy;
}

function verdict(policy: NetworkPolicy, text: string): string {
  const endpoint = parseEndpoint(text, 443);
  if (!endpoint.ok) throw new Error(endpoint.error);
  return decide(policy, { ...endpoint.value, protocol: "connect" }, []).verdict;
}

test("an empty table allows nothing and has the defaults", () => {
  expect(read({})).toEqual({
    ok: true,
    value: {
      policy: {
        table: "[permissions.ci.network]",
        mode: "full",
        rules: [],
        allowLocalBinding: false,
        allowUpstreamProxy: true,
        socks5: true,
      },
      warnings: [],
    },
  });
});

test("every key is read", () => {
  expect(policyOf({
    enabled: true,
    managed: true,
    mode: "limited",
    enable_socks5: false,
    allow_upstream_proxy: false,
    allow_local_binding: true,
    proxy_url: "http://0.0.0.0:3999",
    socks_url: "127.0.0.1:8081",
    domains: { "a.test": "allow" },
    unix_sockets: { "/run/x.sock": "allow" },
    mitm: {},
  })).toMatchObject({
    mode: "limited",
    allowLocalBinding: true,
    allowUpstreamProxy: false,
    socks5: false,
    rules: [{ access: "allow", written: "a.test" }],
  });
});

test("two spellings of one host: deny stays", () => {
  const policy = policyOf({
    domains: { "DUP.test": "allow", "dup.test": "deny" },
  });
  expect(verdict(policy, "dup.test")).toBe("deny");
});

const ERRORS = [ // table, fragment, key, why
  [
    { mode: "weird" },
    "unknown variant `weird`, expected `limited` or `full`",
    "mode",
    "a mode",
  ],
  [
    { domains: { a: "none" } },
    "unknown variant `none`, expected `allow` or `deny`",
    "domains.a",
    "an access",
  ],
  [
    { domains: { a: true } },
    "invalid type: boolean `true`, expected `allow` or `deny`",
    "domains.a",
    "a flag",
  ],
  [
    { domains: ["a"] },
    "invalid type: sequence, expected a table",
    "domains",
    "a list",
  ],
  [
    { domains: null },
    "invalid type: map, expected a table",
    "domains",
    "null is not a list of hosts",
  ],
  [
    { enable_socks5: "yes" },
    'invalid type: string "yes", expected a boolean',
    "enable_socks5",
    "a word",
  ],
  [
    { domains: { "*": "deny" } },
    "network proxy constraints are invalid: invalid value for network.denied_domains: * (allowed exact hosts or scoped wildcards like *.example.com or **.example.com)",
    "domains.*",
    "deny everything",
  ],
  [
    { unix_sockets: { "run/x": "allow" } },
    'invalid network.allow_unix_sockets[0]: expected a NUL-free absolute path for Linux, got "run/x"',
    "unix_sockets.run/x",
    "a relative socket",
  ],
  [
    { proxy_url: "" },
    "failed to start managed network proxy: failed to build network proxy: invalid network.proxy_url: ",
    "proxy_url",
    "no URL",
  ],
  [
    { domains: { "a[.com": "allow" } },
    "brackets are only supported for IPv6 literals or [*]: a[.com",
    "domains.a[.com",
    "a bracket",
  ],
  [
    { domains: { "deep.**.test": "allow" } },
    "unsupported repeated wildcard: deep.**.test",
    "domains.deep.**.test",
    "two wildcards",
  ],
  [
    { domains: { "http://a.test": "allow" } },
    'write "a.test"',
    "domains.http://a.test",
    "a URL",
  ],
  [
    { mitm: { hooks: { h: { action: [] } } } },
    "network.mitm.hooks.h.action must not be empty",
    "mitm.hooks.h.action",
    "no action",
  ],
  [
    { mitm: { hooks: { h: { body: 1 } } } },
    "network.mitm_hooks[0].match.body is reserved",
    "mitm.hooks.h.body",
    "a body",
  ],
  [
    { mitm: { hooks: { h: { methods: [] } } } },
    "methods must not be empty",
    "mitm.hooks.h.methods",
    "no methods",
  ],
  [
    { mitm: { hooks: { h: { path_prefixes: [] } } } },
    "path_prefixes must not be empty",
    "mitm.hooks.h.path_prefixes",
    "no prefixes",
  ],
  [
    { mitm: { actions: { a: {} } } },
    "network.mitm.actions.a must define at least one operation",
    "mitm.actions.a",
    "no operation",
  ],
  [
    {
      mitm: {
        actions: {
          a: { inject_request_headers: [{ name: "x", secret_file: "k" }] },
        },
      },
    },
    "secret_file must be an absolute path",
    "mitm.actions.a.inject_request_headers",
    "a relative secret",
  ],
  [{ mitm: { other: 1 } }, "unknown field `other`", "mitm.other", "a typo"],
  [
    {
      mitm: {
        hooks: { h: { host: "a.test", methods: ["GET"], action: ["a"] } },
      },
    },
    "HTTPS is never intercepted here",
    "mitm",
    "a sound hook is refused by name",
  ],
] as const;
for (const [table, fragment, key, why] of ERRORS) {
  test(`${JSON.stringify(table)} is refused: ${why}`, () => {
    const reading = read(table as unknown as RawTable);
    const [error] = reading.ok ? [] : reading.error;
    expect(error?.message ?? "accepted").toContain(fragment);
    expect(error?.origin.key).toBe(key);
  });
}

test("doubtful stars are warned about, each with its place", () => {
  const reading = read({
    domains: { "*example.com": "allow", "10.*": "allow" },
  });
  if (!reading.ok) throw new Error("refused");
  expect(
    reading.value.warnings.map(({ origin, message }) => [origin.key, message]),
  )
    .toEqual([
      [
        "domains.*example.com",
        '"*example.com" also matches evilexample.com; write "*.example.com" for the hosts below it',
      ],
      [
        "domains.10.*",
        '"10.*" is for addresses and no names; write a range such as 10.1.0.0/16',
      ],
    ]);
});

const REQUIRED = [ // requirements, host, verdict, why (the user allows user.test and denies no.test)
  [{}, "user.test", "allow", "an empty table adds nothing"],
  [
    { domains: { "corp.test": "allow" } },
    "corp.test",
    "allow",
    "allow lists are joined",
  ],
  [
    { domains: { "corp.test": "allow" } },
    "user.test",
    "allow",
    "and the user's stays",
  ],
  [
    { domains: { "user.test": "deny" } },
    "user.test",
    "deny",
    "the administrator denies",
  ],
  [
    { domains: { "no.test": "allow" } },
    "no.test",
    "deny",
    "the user's denials stay",
  ],
  [
    { managed_allowed_domains_only: true, domains: { "corp.test": "allow" } },
    "user.test",
    "deny",
    "only managed hosts",
  ],
  [
    { managed_allowed_domains_only: true, domains: { "*.test": "allow" } },
    "no.test",
    "deny",
    "the user's denials stay there too",
  ],
  [
    { managed_allowed_domains_only: true },
    "user.test",
    "deny",
    "no managed list is none",
  ],
] as const;
for (const [requirements, host, wanted, why] of REQUIRED) {
  test(`required ${JSON.stringify(requirements)}: ${host} is ${wanted}: ${why}`, () => {
    const policy = policyOf(
      { domains: { "user.test": "allow", "no.test": "deny" } },
      requirements as unknown as RawTable,
    );
    expect(verdict(policy, host)).toBe(wanted);
  });
}

test("requirements overwrite the switches", () => {
  expect(policyOf(
    { allow_local_binding: true, allow_upstream_proxy: true },
    { allow_local_binding: false, allow_upstream_proxy: false },
  )).toMatchObject({ allowLocalBinding: false, allowUpstreamProxy: false });
});
