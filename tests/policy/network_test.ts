import { expect, test } from "bun:test";
import { fromText } from "../../src/bytes.ts";
import { type Address, parseAddress } from "../../src/policy/address.ts";
import { parseEndpoint, parseHost } from "../../src/policy/host.ts";
import {
  checkResolved,
  decide,
  decideServerName,
  decideText,
  EMPTY_NETWORK_POLICY,
  type NetworkPolicy,
  type Target,
} from "../../src/policy/network.ts";
import { parsePattern } from "../../src/policy/pattern.ts";
import { abs } from "../../src/policy/path.ts";

function policyOf(
  domains: Record<string, "allow" | "deny">,
  over: Partial<NetworkPolicy> = {},
): NetworkPolicy {
  return {
    ...EMPTY_NETWORK_POLICY,
    table: "[permissions.t.network]",
    rules: Object.entries(domains).map(([written, access]) => {
      const pattern = parsePattern(written);
      if (!pattern.ok) throw new Error(pattern.error);
      const origin = {
        file: abs("/c.toml"),
        key: `domains.${written}`,
        line: 3,
      };
      return { access, pattern: pattern.value, written, origin };
    }),
    ...over,
  };
}

function targetOf(text: string, over: Partial<Target> = {}): Target {
  const endpoint = parseEndpoint(text, 443);
  if (!endpoint.ok) throw new Error(endpoint.error);
  return { ...endpoint.value, protocol: "connect", ...over };
}

const ips = (...texts: string[]): Address[] =>
  texts.map((text) => parseAddress(text) as Address);

const FACTS = {
  "127.0.0.1": "allow",
  localhost: "allow",
  "*.allowed.test": "allow",
  "deny.allowed.test": "deny",
} as const;

const LOCAL = [ // target, verdict, why (allow_local_binding = true, the spec's fact table)
  ["127.0.0.1:80", "allow", "listed"],
  ["localhost:80", "allow", "listed"],
  ["LOCALHOST.:80", "allow", "case and dot"],
  ["a.allowed.test:80", "allow", "below the wildcard"],
  ["allowed.test:80", "not_allowed", "the apex of *."],
  ["deny.allowed.test:80", "denied", "deny beats allow"],
  ["example.com:443", "not_allowed", "unlisted"],
  ["[::1]:80", "not_allowed", "unlisted"],
  ["127.1:80", "not_allowed", "an odd spelling"],
  ["0x7f.1:80", "not_allowed", "an odd spelling"],
  ["2130706433:80", "not_allowed", "an odd spelling"],
  ["[::ffff:127.0.0.1]:80", "not_allowed", "an odd spelling"],
  ["0.0.0.0:80", "not_allowed", "unlisted"],
  ["169.254.169.254:80", "not_allowed_local", "metadata, whatever is open"],
  ["[fd00:ec2::254]:80", "not_allowed_local", "metadata by IPv6"],
] as const;
for (const [target, verdict, why] of LOCAL) {
  test(`with local binding open, ${target} is ${verdict}: ${why}`, () => {
    const decision = decide(
      policyOf(FACTS, { allowLocalBinding: true }),
      targetOf(target),
      [],
    );
    expect(decision.verdict === "deny" ? decision.reason : "allow")
      .toBe(verdict);
  });
}

const CLOSED = [ // domains, target, verdict, why (allow_local_binding = false)
  [{ "127.0.0.1": "allow" }, "127.0.0.1:80", "allow", "listed by itself"],
  [{ "127.0.0.1:80": "allow" }, "127.0.0.1:80", "allow", "with its port"],
  [
    { "127.0.0.1:80": "allow" },
    "127.0.0.1:81",
    "not_allowed_local",
    "other port",
  ],
  [
    { "*": "allow" },
    "127.0.0.2:80",
    "not_allowed_local",
    "a star is not enough",
  ],
  [{ "127.0.0.*": "allow" }, "127.0.0.7:80", "not_allowed_local", "nor a glob"],
  [{ "10.*": "allow" }, "10.0.0.1:80", "not_allowed_local", "nor 10.*"],
  [
    { "10.1.0.0/16": "allow" },
    "10.1.2.3:80",
    "allow",
    "a private range is meant",
  ],
  [
    { "0.0.0.0/0": "allow" },
    "10.1.2.3:80",
    "not_allowed_local",
    "all of IPv4 isn't",
  ],
  [{ "0.0.0.0/0": "allow" }, "8.8.8.8:80", "allow", "but opens public ones"],
  [{ "*": "allow" }, "169.254.169.254:80", "not_allowed_local", "metadata"],
  [
    { "169.254.0.0/16": "allow" },
    "169.254.169.254:80",
    "not_allowed_local",
    "metadata by range",
  ],
  [
    { "169.254.169.254": "allow" },
    "169.254.169.254:80",
    "allow",
    "metadata by itself",
  ],
  [{ "*": "allow" }, "[::1]:80", "not_allowed_local", "IPv6 loopback"],
  [
    { "*": "allow" },
    "[64:ff9b::7f00:1]:80",
    "not_allowed_local",
    "NAT64 of loopback",
  ],
  [
    { "*": "allow" },
    "[2002:7f00:1::]:80",
    "not_allowed_local",
    "6to4 of loopback",
  ],
  [{ "*": "allow" }, "192.0.2.77:80", "not_allowed_local", "documentation"],
  [{ "*": "allow" }, "9.9.9.9:80", "not_allowed_local", "our own interface"],
  [
    { "*": "allow" },
    "localhost:80",
    "not_allowed_local",
    "localhost by a star",
  ],
  ...["a.localhost:80", "ip6-localhost:80", "localhost.localdomain:80"].map((
    host,
  ) =>
    [
      { "*": "allow" },
      host,
      "not_allowed_local",
      "another name of the loopback by a star: a proxy further up would resolve it to its own",
    ] as const
  ),
  [{ "a.localhost": "allow" }, "a.localhost:80", "allow", "listed by itself"],
  [{ localhost: "allow" }, "localhost:80", "allow", "localhost by itself"],
  [
    { "*": "allow" },
    "metadata.google.internal:80",
    "not_allowed_local",
    "by a star",
  ],
  [
    { "**.google.internal": "allow" },
    "metadata.google.internal:80",
    "not_allowed_local",
    "by a suffix",
  ],
  [
    { "metadata.google.internal": "allow" },
    "metadata.google.internal:80",
    "allow",
    "by itself",
  ],
  [
    { "*": "allow" },
    "metadata.goog:80",
    "not_allowed_local",
    "its short name",
  ],
  [{ "*": "allow" }, "example.com:443", "allow", "any name, before DNS"],
  [{}, "example.com:443", "not_allowed", "an empty list is none"],
  [
    { "*": "allow", "bad.test": "deny" },
    "bad.test.:443",
    "denied",
    "deny beats *",
  ],
  [
    { "bad.test": "deny" },
    "good.test:443",
    "not_allowed",
    "deny alone opens nothing",
  ],
] as const;
for (const [domains, target, verdict, why] of CLOSED) {
  test(`${JSON.stringify(domains)}: ${target} is ${verdict}: ${why}`, () => {
    const decision = decide(
      policyOf(domains),
      targetOf(target),
      ips("9.9.9.9"),
    );
    expect(decision.verdict === "deny" ? decision.reason : "allow")
      .toBe(verdict);
  });
}

const RESOLVED = [ // domains, local binding, target, addresses, reason or null, why
  [{ "a.test": "allow" }, false, "a.test", ["93.184.216.34"], null, "public"],
  [
    { "a.test": "allow" },
    false,
    "a.test",
    ["93.184.216.34", "127.0.0.1"],
    "not_allowed_local",
    "one bad address refuses all",
  ],
  [
    { "a.test": "allow" },
    false,
    "a.test",
    ["10.0.0.1"],
    "not_allowed_local",
    "rebinding",
  ],
  [
    { "a.test": "allow" },
    false,
    "a.test",
    ["::ffff:10.0.0.1"],
    "not_allowed_local",
    "rebinding, mapped",
  ],
  [
    { "a.test": "allow" },
    false,
    "a.test",
    ["64:ff9b::a00:1"],
    "not_allowed_local",
    "rebinding, NAT64",
  ],
  [
    { "a.test": "allow" },
    false,
    "a.test",
    ["9.9.9.9"],
    "not_allowed_local",
    "our own interface",
  ],
  [
    { "a.test": "allow", "10.0.0.0/8": "allow" },
    false,
    "a.test",
    ["10.0.0.1"],
    null,
    "the address is listed too",
  ],
  [{ "a.test": "allow" }, true, "a.test", ["10.0.0.1"], null, "local binding"],
  [
    { "a.test": "allow" },
    true,
    "a.test",
    ["169.254.169.254"],
    "not_allowed_local",
    "never metadata",
  ],
  [
    { "a.test": "allow", "93.184.0.0/16": "deny" },
    false,
    "a.test",
    ["93.184.216.34"],
    "denied",
    "a denied range",
  ],
  [
    { localhost: "allow" },
    false,
    "localhost",
    ["127.0.0.1", "::1"],
    null,
    "localhost is loopback",
  ],
  [
    { "a.localhost": "allow" },
    false,
    "a.localhost",
    ["127.0.0.1", "::1"],
    null,
    "so is what lies below it",
  ],
  [
    { localhost: "allow" },
    false,
    "localhost",
    ["10.0.0.1"],
    "not_allowed_local",
    "and nothing else",
  ],
  [
    { "127.0.0.1": "allow" },
    false,
    "127.0.0.1",
    ["127.0.0.1"],
    null,
    "a listed literal is dialled",
  ],
  [
    { "metadata.google.internal": "allow" },
    false,
    "metadata.google.internal",
    ["169.254.169.254"],
    null,
    "a listed metadata name",
  ],
  [
    { "metadata.google.internal": "allow" },
    false,
    "metadata.google.internal",
    ["10.0.0.1"],
    "not_allowed_local",
    "a metadata name leads to nothing else that is local",
  ],
] as const;
for (const [domains, local, host, addresses, reason, why] of RESOLVED) {
  test(`${host} → ${addresses} is ${reason ?? "dialled"}: ${why}`, () => {
    const denial = checkResolved(
      policyOf(domains as never, { allowLocalBinding: local }),
      targetOf(host),
      ips(...addresses),
      ips("9.9.9.9"),
    );
    expect(denial?.reason ?? null).toBe(reason);
  });
}

const LIMITED = [ // protocol, method, upgrade, reason or allow, why
  ["http", "GET", false, "allow", "reading"],
  ["http", "HEAD", false, "allow", "reading"],
  ["http", "OPTIONS", false, "allow", "reading"],
  ["http", "POST", false, "method_not_allowed", "writing"],
  ["http", "get", false, "method_not_allowed", "methods have a case"],
  ["http", "GET", true, "method_not_allowed", "an upgrade can write"],
  ["connect", undefined, false, "mitm_required", "a tunnel can't be read"],
  ["socks5", undefined, false, "mitm_required", "nor can SOCKS"],
] as const;
for (const [protocol, method, upgrade, wanted, why] of LIMITED) {
  test(`limited: ${protocol} ${method ?? ""} is ${wanted}: ${why}`, () => {
    const decision = decide(
      policyOf({ "a.test": "allow" }, { mode: "limited" }),
      targetOf("a.test:80", {
        protocol,
        upgrade,
        ...(method === undefined ? {} : { method }),
      }),
      [],
    );
    expect(decision.verdict === "deny" ? decision.reason : "allow").toBe(
      wanted,
    );
  });
}

test("in limited mode the host is judged before the method", () => {
  const decision = decide(
    policyOf({}, { mode: "limited" }),
    targetOf("a.test:80", { protocol: "http", method: "POST" }),
    [],
  );
  expect(decision).toMatchObject({ reason: "not_allowed" });
});

test("a denial names the rule, where it is written, and the line that would allow", () => {
  const policy = policyOf({ "bad.test": "deny", "api.test:443": "allow" });
  const say = (text: string): unknown => decide(policy, targetOf(text), []);
  expect(say("bad.test")).toMatchObject({
    detail:
      'bad.test:443 is denied by "bad.test" = "deny" in /c.toml:3 ([permissions.t.network])',
    remedy: null,
  });
  expect(say("other.test:8443")).toEqual({
    verdict: "deny",
    reason: "not_allowed",
    rule: null,
    detail: "other.test:8443 is not in [permissions.t.network] domains",
    remedy: '"other.test:8443" = "allow"',
  });
  expect(say("api.test:80")).toMatchObject({
    detail:
      'api.test:80 is not allowed: "api.test:443" = "allow" in /c.toml:3 is for another port',
  });
  expect(say("127.1:80")).toMatchObject({ reason: "not_allowed_local" });
});

test("a refusal spells the rule's file as people read it", () => {
  const [rule] = policyOf({ "bad.test": "deny" }).rules;
  const file = abs(fromText("/home/\u00e4/c.toml"));
  const policy = policyOf({}, {
    rules: [{ ...rule!, origin: { ...rule!.origin, file } }],
  });
  expect(decide(policy, targetOf("bad.test"), [])).toMatchObject({
    detail:
      'bad.test:443 is denied by "bad.test" = "deny" in /home/\u00e4/c.toml:3 ([permissions.t.network])',
  });
});

const UNHELPFUL = [ // domains, asked, detail, remedy, why
  [
    { "127.0.0.1:80": "allow" },
    "127.1:80",
    "an unusual spelling of 127.0.0.1 is not allowed; write 127.0.0.1",
    null,
    "the address is listed already",
  ],
  [
    { "10.0.0.0/8": "allow" },
    "[::ffff:10.0.0.1]:80",
    "an unusual spelling of 10.0.0.1 is not allowed; write 10.0.0.1",
    null,
    "and so is its range",
  ],
  [
    { "127.0.0.1:80": "allow" },
    "127.0.0.1:81",
    '127.0.0.1:81 is not allowed: "127.0.0.1:80" = "allow" in /c.toml:3 is for another port',
    '"127.0.0.1:81" = "allow"',
    "and another port is",
  ],
  [
    { "10.0.0.0/8:443": "allow" },
    "10.0.0.1:80",
    '10.0.0.1:80 is not allowed: "10.0.0.0/8:443" = "allow" in /c.toml:3 is for another port',
    '"10.0.0.1:80" = "allow"',
    "a range with a port",
  ],
  [
    { "*:80": "allow" },
    "127.0.0.1:80",
    "127.0.0.1 is not public (loopback) and must be listed by itself in [permissions.t.network] domains, without a wildcard",
    '"127.0.0.1:80" = "allow"',
    "one port of the loopback is not all of them",
  ],
] as const;
for (const [domains, asked, detail, remedy, why] of UNHELPFUL) {
  test(`${JSON.stringify(domains)}: ${asked} is told what would help: ${why}`, () => {
    expect(decide(policyOf(domains), targetOf(asked), [])).toMatchObject({
      verdict: "deny",
      reason: "not_allowed_local",
      detail,
      remedy,
    });
  });
}

test("a name that leads to a private address is opened by that address with the port that was asked for", () => {
  const denial = checkResolved(
    policyOf({ "a.test": "allow" }),
    targetOf("a.test:8443"),
    ips("10.0.0.1"),
    [],
  );
  expect(denial?.remedy).toBe('"10.0.0.1:8443" = "allow"');
});

test("an allowed tunnel may not name a host that is not allowed", () => {
  const policy = policyOf({ "*.good.test": "allow", "bad.good.test": "deny" });
  const target = targetOf("a.good.test");
  const judge = (name: string): string => {
    const host = parseHost(name);
    if (!host.ok) throw new Error(host.error);
    const decision = decideServerName(policy, target, host.value);
    return decision.verdict === "deny" ? decision.reason : "allow";
  };
  expect(judge("b.good.test")).toBe("allow");
  expect(judge("bad.good.test")).toBe("denied");
  expect(judge("evil.test")).toBe("not_allowed");
});

test("a star allows no server name of a metadata service, its own line does", () => {
  const name = parseHost("metadata.google.internal");
  if (!name.ok) throw new Error(name.error);
  const judge = (domains: Record<string, "allow">): string =>
    decideServerName(policyOf(domains), targetOf("a.test"), name.value).verdict;
  expect(judge({ "*": "allow" })).toBe("deny");
  expect(judge({ "metadata.google.internal": "allow" })).toBe("allow");
});

test("a text for `policy why connect` is an endpoint, with 443 where no port is written", () => {
  const policy = policyOf({ "a.test": "allow" });
  const answer = decideText(policy, "A.test", "connect", []);
  expect(answer).toMatchObject({
    ok: true,
    value: { endpoint: { port: 443 }, decision: { verdict: "allow" } },
  });
  expect(decideText(policy, "a.test:x", "connect", []).ok).toBe(false);
});
