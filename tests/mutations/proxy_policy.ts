/**
 * The protective steps of the managed network's decision: addresses, hosts, patterns, rules, requirements. Pure code, so all of it is
 * asked without a build.
 *
 * @module
 */
import { type Defence, type Notice, pure } from "./defence.ts";

const ADDRESS = "src/policy/address.ts";
const HOST = "src/policy/host.ts";
const PATTERN = "src/policy/pattern.ts";
const NETWORK = "src/policy/network.ts";
const TABLE = "src/policy/network_table.ts";
const SETTINGS = "src/config/network_settings.ts";
const OPEN = "src/config/open_network.ts";

const ADDRESSES: Notice = ["policy/address_test.ts"];
const DECISIONS: Notice = ["policy/network_test.ts"];
const PATTERNS: Notice = ["policy/pattern_test.ts"];
const TABLES: Notice = ["policy/network_table_test.ts"];
const PROFILES: Notice = ["config/profile_test.ts"];

/** What is not public, and what is metadata: every line of the two tables. */
const RANGES: readonly Defence[] = [
  ...[
    ["0.0.0.0/8", "this network"],
    ["10.0.0.0/8", "private"],
    ["100.64.0.0/10", "shared by a carrier"],
    ["127.0.0.0/8", "loopback"],
    ["168.63.129.16/32", "cloud metadata"],
    ["169.254.0.0/16", "link-local"],
    ["172.16.0.0/12", "private"],
    ["192.0.0.0/24", "protocol assignments"],
    ["192.0.2.0/24", "documentation"],
    ["192.88.99.0/24", "6to4 relay"],
    ["192.168.0.0/16", "private"],
    ["198.18.0.0/15", "benchmarks"],
    ["198.51.100.0/24", "documentation"],
    ["203.0.113.0/24", "documentation"],
    ["224.0.0.0/4", "multicast"],
    ["240.0.0.0/4", "reserved"],
    ["::1/128", "loopback"],
    ["::/96", "unspecified"],
    ["64:ff9b:1::/48", "local NAT64"],
    ["100::/64", "discard"],
    ["100:0:0:1::/64", "dummy"],
    ["2001::/32", "Teredo"],
    ["2001:2::/48", "benchmarks"],
    ["2001:db8::/32", "documentation"],
    ["3fff::/20", "documentation"],
    ["5f00::/16", "segment routing"],
    ["fc00::/7", "private"],
    ["fe80::/10", "link-local"],
    ["fec0::/10", "site-local"],
    ["ff00::/8", "multicast"],
  ].map(([range = "", name = ""]) =>
    pure(
      `${range} is not public: ${name}`,
      ADDRESS,
      `  ["${range}", "${name}"],\n`,
      "",
      ADDRESSES,
    )
  ),
  ...[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
  ].map((address) =>
    pure(
      `${address} is a metadata service`,
      ADDRESS,
      `  "${address}", //`,
      `  //`,
      ADDRESSES,
      DECISIONS,
    )
  ),
];

const ADDRESS_STEPS: readonly Defence[] = [
  pure(
    "an IPv4-mapped address is that IPv4 address",
    ADDRESS,
    `const mapped = head && bytes[10] === 0xff && bytes[11] === 0xff;`,
    `const mapped = false;`,
    ADDRESSES,
  ),
  pure(
    "an IPv4-compatible address is that IPv4 address",
    ADDRESS,
    `const compatible = head && bytes[10] === 0 && bytes[11] === 0 &&`,
    `const compatible = false &&`,
    ADDRESSES,
  ),
  pure(
    "a 6to4 address leads to its IPv4 address",
    ADDRESS,
    `isInRange(address, SIX_TO_FOUR)`,
    `false`,
    ADDRESSES,
  ),
  pure(
    "a NAT64 address leads to its IPv4 address",
    ADDRESS,
    `isInRange(address, NAT64) || isInRange(address, TRANSLATED)`,
    `isInRange(address, TRANSLATED)`,
    ADDRESSES,
  ),
  pure(
    "a translated address leads to its IPv4 address",
    ADDRESS,
    `isInRange(address, NAT64) || isInRange(address, TRANSLATED)`,
    `isInRange(address, NAT64)`,
    ADDRESSES,
  ),
  pure(
    "the address inside an address decides whether it is public",
    ADDRESS,
    `  if (inside !== null) return whyNotPublic(inside, own);\n`,
    ``,
    ADDRESSES,
  ),
  pure(
    "an address of this machine is not public",
    ADDRESS,
    `      return "address of this machine";`,
    `      continue;`,
    ADDRESSES,
    DECISIONS,
  ),
  pure(
    "metadata inside an IPv6 address is metadata",
    ADDRESS,
    `const judged = embeddedIpv4(address) ?? unscoped(address);`,
    `const judged = unscoped(address);`,
    ADDRESSES,
    DECISIONS,
  ),
  pure(
    "octal is read as octal",
    ADDRESS,
    `return parseInt(text, 8);`,
    `return Number(text);`,
    ADDRESSES,
  ),
  pure(
    "hexadecimal is an address",
    ADDRESS,
    "  if (/^0x[0-9a-f]{0,16}$/.test(text)) {",
    "  if (false) {",
    ADDRESSES,
  ),
  pure(
    "a short, octal or hex form is an odd spelling",
    ADDRESS,
    `usual: bytes.join(".") === text,`,
    `usual: true,`,
    ADDRESSES,
    DECISIONS,
  ),
  pure(
    "a mapped form is an odd spelling",
    ADDRESS,
    `    usual: false,`,
    `    usual: true,`,
    ADDRESSES,
  ),
  pure(
    "a part above 255 is no address",
    ADDRESS,
    `  if (numbers.some((value) => value > 255)) return null;\n`,
    ``,
    ADDRESSES,
  ),
  pure(
    "a last number that does not fit is no address",
    ADDRESS,
    `  if (last >= 256 ** room) return null;\n`,
    ``,
    ADDRESSES,
  ),
  pure(
    "a zone is for link-local addresses only",
    ADDRESS,
    `    if (!linkLocal || `,
    `    if (`,
    ADDRESSES,
  ),
  pure(
    "a zone has one meaning in URLs and beside them",
    ADDRESS,
    `.replace(/^25(?=.)/, "")`,
    ``,
    ADDRESSES,
    PATTERNS,
  ),
  pure(
    "an interface that looks like a URL's escape is refused",
    ADDRESS,
    `/^(?!25.)[a-z0-9._-]{1,15}$/`,
    `/^[a-z0-9._-]{1,15}$/`,
    ADDRESSES,
  ),
  pure(
    "a range with bits behind its prefix is refused",
    ADDRESS,
    `  if (!sameAddress(address, { family: address.family, bytes: base })) {
    return null;
  }
`,
    ``,
    ADDRESSES,
    PATTERNS,
  ),
  pure(
    "a range in an odd spelling is refused",
    ADDRESS,
    `  if (!reading.usual) return null;\n`,
    ``,
    ADDRESSES,
    PATTERNS,
  ),
];

const HOST_STEPS: readonly Defence[] = [
  pure(
    "a host with NUL, a control character, a percent sign or a separator is refused",
    HOST,
    "  if (forbidden !== null) return fail(`it holds ${forbidden}`);\n",
    "",
    PATTERNS,
    DECISIONS,
    ["egress/socks5_test.ts"],
  ),
  pure(
    "a Unicode name is its ASCII form",
    HOST,
    `  const ascii = toAscii(bare);`,
    `  const ascii = bare as string | null;`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "no mapping of a Unicode name makes another character",
    HOST,
    `return /^[a-z0-9._-]+$/.test(name) ? name : null;`,
    `return name;`,
    PATTERNS,
    DECISIONS,
    ["egress/http_test.ts"],
  ),
  pure(
    "a trailing dot makes no other name",
    HOST,
    String.raw`ascii.toLowerCase().replace(/\.+$/, "")`,
    `ascii.toLowerCase()`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "capitals make no other name",
    HOST,
    `ascii.toLowerCase().replace`,
    `ascii.replace`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "a name that ends in a number is refused",
    HOST,
    `  if (reading.kind === "invalid") {
    return fail("it ends in a number but is no address");
  }
`,
    ``,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "an address in full-width digits is an odd spelling",
    HOST,
    `usual: reading.usual && isAscii(bare)`,
    `usual: reading.usual`,
    DECISIONS,
    PATTERNS,
  ),
  pure(
    "an empty or overlong label is refused",
    HOST,
    `return wrong === null ? ok({ kind: "name", name }) : fail(wrong);`,
    `return ok({ kind: "name", name });`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "a port is 1 to 65535",
    HOST,
    `return port >= 1 && port <= 65_535 ? port : null;`,
    `return port;`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "a port is decimal digits",
    HOST,
    `  if (!/^[0-9]{1,5}$/.test(text)) return null;\n`,
    ``,
    PATTERNS,
    ["egress/http_test.ts"],
  ),
];

const PATTERN_STEPS: readonly Defence[] = [
  pure(
    "an oddly spelled address is never allowed",
    PATTERN,
    `  if (host.kind === "address" && !host.usual) return false;\n`,
    ``,
    DECISIONS,
    PATTERNS,
  ),
  pure(
    "a pattern's port counts",
    PATTERN,
    `return pattern.port === null || pattern.port === port;`,
    `return true;`,
    PATTERNS,
  ),
  pure(
    "a denial holds whatever the zone",
    PATTERN,
    `matchesHost(pattern.host, asHost(plain)) ||`,
    `false ||`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "a denial holds for the address inside an address",
    PATTERN,
    `(inside !== null && matchesHost(pattern.host, asHost(inside)))`,
    `false`,
    PATTERNS,
    DECISIONS,
  ),
  pure(
    "hosts below a name begin at a dot",
    PATTERN,
    "host.name.endsWith(`.${pattern.suffix}`)",
    "host.name.endsWith(pattern.suffix)",
    PATTERNS,
  ),
  pure(
    "one star leaves the name itself out",
    PATTERN,
    `pattern.apex === "included" && host.name === pattern.suffix`,
    `host.name === pattern.suffix`,
    PATTERNS,
  ),
  pure(
    "what stands before and behind a star does not overlap",
    PATTERN,
    `      return text.length >= pattern.head.length + pattern.tail.length &&
        text.startsWith`,
    `      return text.startsWith`,
    PATTERNS,
  ),
  pure(
    "a pattern with a path, a user or a backslash is refused",
    PATTERN,
    String.raw`  if (/[/?#@\\]/.test(text) && !text.includes("?")) {`,
    `  if (false) {`,
    PATTERNS,
  ),
  pure(
    "a URL is no pattern",
    PATTERN,
    `  if (url !== null) {`,
    `  if (false) {`,
    PATTERNS,
  ),
  pure(
    "addresses have no hosts below them",
    PATTERN,
    `    if (readAddress(suffix).kind !== "name") {`,
    `    if (false) {`,
    PATTERNS,
  ),
  pure(
    "no other wildcard than a star is taken for a letter",
    PATTERN,
    `  if (/[?{}]/.test(host)) {`,
    `  if (false) {`,
    PATTERNS,
  ),
  pure(
    "a second star is refused",
    PATTERN,
    "  if (star === null) return fail(`unsupported repeated wildcard: ${written}`);",
    `  if (star === null) return ok({ kind: "any" });`,
    PATTERNS,
  ),
  pure(
    "a star in an address allows no name",
    PATTERN,
    `  if (host.kind === "name" && isAddressStar(pattern)) return false;\n`,
    "",
    PATTERNS,
  ),
  pure(
    "nothing but letters of a name stands beside a star",
    PATTERN,
    `  if (!/^[a-z0-9._-]*$/.test(head + tail)) {`,
    `  if (false) {`,
    PATTERNS,
  ),
  pure(
    "a Unicode pattern is its ASCII form",
    PATTERN,
    `const name = toAscii(text)?.toLowerCase()`,
    `const name = text.toLowerCase()`,
    PATTERNS,
  ),
];

const DECISION_STEPS: readonly Defence[] = [
  pure(
    "deny beats allow",
    NETWORK,
    `  if (denied !== null) return deniedBy(policy, target, denied);\n`,
    ``,
    DECISIONS,
  ),
  pure(
    "a local address must be listed by itself",
    NETWORK,
    `  if (local !== null) return local;\n`,
    ``,
    DECISIONS,
  ),
  pure(
    "what no rule allows is refused: an empty list allows nothing",
    NETWORK,
    `  if (rule === null) return notAllowed(policy, target);
  return decideMode`,
    `  if (rule === null) return { verdict: "allow", rule: { written: "" } as never };
  return decideMode`,
    DECISIONS,
  ),
  pure(
    "limited mode is asked",
    NETWORK,
    `return decideMode(policy, target) ?? { verdict: "allow", rule };`,
    `return { verdict: "allow", rule };`,
    DECISIONS,
  ),
  pure(
    "limited mode has no tunnels",
    NETWORK,
    `  if (target.protocol !== "http") {
    return {`,
    `  if (false) {
    return {`,
    DECISIONS,
  ),
  pure(
    "limited mode has no upgrades",
    NETWORK,
    `  if (target.upgrade === true || !READ_METHODS`,
    `  if (!READ_METHODS`,
    DECISIONS,
  ),
  pure(
    "limited mode has reading methods only",
    NETWORK,
    ` || !READ_METHODS.includes(target.method ?? "")) {`,
    `) {`,
    DECISIONS,
  ),
  ...["metadata.google.internal", "metadata.goog"].map((name) =>
    pure(
      `no wildcard leads to ${name}`,
      NETWORK,
      `  "${name}",\n`,
      ``,
      DECISIONS,
    )
  ),
  pure(
    "every address of a name is judged",
    NETWORK,
    `for (const address of addresses) {`,
    `for (const address of addresses.slice(0, 1)) {`,
    DECISIONS,
  ),
  pure(
    "a denied address is denied behind an allowed name",
    NETWORK,
    `    if (denied !== null) {
      return deniedBy(policy, { ...target, host }, denied);
    }
`,
    ``,
    DECISIONS,
  ),
  pure(
    "no name leads to a local address",
    NETWORK,
    `    if (why === null && !metadata) continue;`,
    `    if (!metadata) continue;`,
    DECISIONS,
  ),
  pure(
    "no name leads to metadata",
    NETWORK,
    `    if (why === null && !metadata) continue;`,
    `    if (why === null || metadata) continue;`,
    DECISIONS,
  ),
  pure(
    "to list a name opens no private address that it has",
    NETWORK,
    `    if (explicit && mayLead(target.host, address)) continue;`,
    `    if (explicit) continue;`,
    DECISIONS,
  ),
  pure(
    "allow_local_binding opens no metadata behind a name",
    NETWORK,
    `    if (policy.allowLocalBinding && !metadata) continue;`,
    `    if (policy.allowLocalBinding) continue;`,
    DECISIONS,
  ),
  pure(
    "allow_local_binding opens no metadata by itself",
    NETWORK,
    `policy.allowLocalBinding && local.kind === "local"`,
    `policy.allowLocalBinding`,
    DECISIONS,
  ),
  pure(
    "no wildcard opens a local address",
    NETWORK,
    `    (isLiteral(pattern) ||
      pattern.host.kind === "range" && !metadata &&
        isPrivateRange(pattern.host.range)) &&
`,
    ``,
    DECISIONS,
  ),
  pure(
    "no range opens metadata",
    NETWORK,
    `pattern.host.kind === "range" && !metadata &&`,
    `pattern.host.kind === "range" &&`,
    DECISIONS,
  ),
  pure(
    "a range that is partly public opens nothing local",
    NETWORK,
    `        isPrivateRange(pattern.host.range)) &&`,
    `        true) &&`,
    DECISIONS,
  ),
  pure(
    "localhost leads to the loopback and nowhere else",
    NETWORK,
    `return whyNotPublic(address, []) === "loopback";`,
    `return true;`,
    DECISIONS,
  ),
  pure(
    "a metadata name leads to metadata only",
    NETWORK,
    `return isMetadataName(host) && isMetadataAddress(address);`,
    `return isMetadataName(host);`,
    DECISIONS,
  ),
  pure(
    "no other name leads to metadata",
    NETWORK,
    `return isMetadataName(host) && isMetadataAddress(address);`,
    `return isMetadataAddress(address);`,
    DECISIONS,
  ),
  pure(
    "localhost is local",
    NETWORK,
    `    if (isLoopbackName(host.name)) return { kind: "local", why: "loopback" };\n`,
    ``,
    DECISIONS,
  ),
  pure(
    "so is every other name of the loopback",
    "src/policy/host.ts",
    `  return name === "localhost" || name.endsWith(".localhost") ||
    LOOPBACK_NAMES.includes(name);`,
    `  return name === "localhost";`,
    DECISIONS,
  ),
  pure(
    "a denied server name is denied",
    NETWORK,
    `  if (denied !== null) return deniedBy(policy, named, denied);\n`,
    ``,
    DECISIONS,
  ),
  pure(
    "a server name of a metadata service must be listed by itself",
    NETWORK,
    `const rule = isMetadataName(serverName)`,
    `const rule = false`,
    DECISIONS,
  ),
  pure(
    "a server name that no rule allows is refused",
    NETWORK,
    `  return rule === null ? notAllowed(policy, named) : { verdict: "allow", rule };
}

/** The fixed`,
    `  return { verdict: "allow", rule: rule as never };
}

/** The fixed`,
    DECISIONS,
  ),
];

const TABLE_STEPS: readonly Defence[] = [
  pure(
    "a table with an error is refused",
    TABLE,
    `return errors.length > 0 ? fail(errors) : ok({ policy: ruled, warnings });`,
    `return ok({ policy: ruled, warnings });`,
    TABLES,
  ),
  pure(
    "an administrator's rules count",
    TABLE,
    `    rules: [...rules, ...kept],`,
    `    rules: kept,`,
    TABLES,
  ),
  pure(
    "an administrator may leave nobody else's allowances",
    TABLE,
    `rule.access === "deny" || !only`,
    `true`,
    TABLES,
  ),
  pure(
    "a profile's denials stay beside an administrator's allowances",
    TABLE,
    `rule.access === "deny" || !only`,
    `!only`,
    TABLES,
  ),
  pure(
    "an administrator decides about local addresses",
    TABLE,
    `readBoolean(required, "allow_local_binding") ??`,
    `undefined ??`,
    TABLES,
  ),
  pure(
    "an administrator decides about proxies further up",
    TABLE,
    `readBoolean(required, "allow_upstream_proxy") ??`,
    `undefined ??`,
    TABLES,
  ),
  pure(
    "interception that can't be had is refused",
    TABLE,
    `  if (names.length === 0 || reader.errors.length > before) return;`,
    `  return;`,
    TABLES,
  ),
];

/** What must never come out as the host's network. */
const OPEN_STEPS: readonly Defence[] = [
  pure(
    "a managed network is never the host's",
    SETTINGS,
    `    if (isManaged) return isSwitchedOff ? "none" : "proxied";\n`,
    "",
    PROFILES,
  ),
  pure(
    "a switch in the place of a table that names hosts opens nothing",
    SETTINGS,
    `isNamingHosts ? "none" : "host"`,
    `"host"`,
    PROFILES,
  ),
  pure(
    "full access does not go round an administrator's network",
    "src/config/requirements.ts",
    `  if (network !== null && built.profile.kind !== "managed") {`,
    `  if (false) {`,
    ["config/requirements_test.ts"],
  ),
  pure(
    "nothing takes back what a layer or a parent says of a managed network",
    OPEN,
    `  if (!asksForLess(table)) return null;`,
    `  if (asksForLess(table)) return null;`,
    PROFILES,
  ),
  pure(
    "a misspelled list of hosts opens nothing",
    OPEN,
    `    if (meant === null) continue;`,
    `    continue;`,
    PROFILES,
  ),
  pure(
    "a list of hosts in other words opens nothing",
    OPEN,
    `nearest === null && listsWords(value) ? "domains" : null`,
    `null`,
    PROFILES,
  ),
  pure(
    "another parent takes nothing back",
    OPEN,
    `        if (typeof parent === "string") names.add(parent);\n`,
    "",
    PROFILES,
  ),
  pure(
    "a later word of one command line takes nothing back",
    "src/config/layers.ts",
    `  return layer.words ?? [layer.table];`,
    `  return [layer.table];`,
    PROFILES,
  ),
  pure(
    "a switch behind a table that names hosts keeps them",
    "src/config/values.ts",
    `  if (typeof word !== "boolean" || !isTable(lookup(low, PROXY_FEATURE))) {`,
    `  if (word !== null) {`,
    PROFILES,
  ),
  pure(
    "a table behind a table on one command line keeps its hosts",
    "src/config/override.ts",
    `      mergeTables(table, withKeptProxyTable(table, word))`,
    `      ({ ...table, ...withKeptProxyTable(table, word) })`,
    PROFILES,
  ),
];

export const PROXY_POLICY: readonly Defence[] = [
  ...RANGES,
  ...ADDRESS_STEPS,
  ...HOST_STEPS,
  ...PATTERN_STEPS,
  ...DECISION_STEPS,
  ...TABLE_STEPS,
  ...OPEN_STEPS,
];
