import { expect, test } from "bun:test";
import { formatHost, parseEndpoint, parseHost } from "../../src/policy/host.ts";
import { allows, denies, parsePattern } from "../../src/policy/pattern.ts";
import { formatPattern } from "./format_pattern.ts";

const MATCHES = [ // pattern, host:port, allowed, why
  ["example.com", "example.com:443", true, "the host itself"],
  ["example.com", "EXAMPLE.com.:443", true, "case and trailing dot"],
  ["Example.COM.", "example.com:443", true, "the pattern likewise"],
  ["example.com", "a.example.com:443", false, "not below it"],
  ["*.example.com", "a.example.com:443", true, "below"],
  ["*.example.com", "a.b.example.com:443", true, "any depth"],
  ["*.example.com", "example.com:443", false, "not the apex"],
  ["*.example.com", "evilexample.com:443", false, "a shared suffix"],
  ["**.example.com", "example.com:443", true, "the apex"],
  ["**.example.com", "a.b.example.com:443", true, "and below"],
  ["**.example.com", "evilexample.com:443", false, "a shared suffix"],
  ["*", "anything.test:1", true, "every host"],
  ["[*]", "anything.test:1", true, "every host, in brackets"],
  ["*:443", "anything.test:443", true, "every host on one port"],
  ["*:443", "anything.test:80", false, "another port"],
  ["reg*.mid.test", "reg1.mid.test:443", true, "a star in a label"],
  ["reg*.mid.test", "regx.y.mid.test:443", true, "the star crosses dots"],
  ["reg*.mid.test", "x.reg1.mid.test:443", false, "but starts at reg"],
  ["reg*eg.test", "reg.test:443", false, "the halves don't overlap"],
  ["127.0.0.*", "127.0.0.7:80", true, "a star over an address"],
  ["10.2.*", "10.2.evil.test:443", false, "whose name begins like one"],
  ["10.*", "10.evil.test:443", false, "nor with one number"],
  ["8.8.*", "8.8.4.4:443", true, "a public address"],
  ["1*.test", "1password.test:443", true, "a digit alone begins a name"],
  ["127.0.0.1", "127.0.0.1:80", true, "a literal"],
  ["127.0.0.1", "127.1:80", false, "an odd spelling is not allowed"],
  ["127.0.0.1", "[::ffff:127.0.0.1]:80", false, "nor the mapped form"],
  ["*", "0x7f.1:80", false, "not even by the star"],
  ["127.1", "127.0.0.1:80", true, "a pattern means its address"],
  ["10.1.0.0/16", "10.1.255.255:80", true, "in the range"],
  ["10.1.0.0/16", "10.2.0.0:80", false, "behind the range"],
  ["10.1.0.0/16:443", "10.1.0.1:443", true, "a range with a port"],
  ["10.1.0.0/16:443", "10.1.0.1:80", false, "another port"],
  ["[fd00::/8]:443", "[fd00::1]:443", true, "an IPv6 range with a port"],
  ["fd00::/8", "[fdff::1]:80", true, "an IPv6 range"],
  ["::1", "[::1]:8080", true, "IPv6 without brackets"],
  ["[::1]", "[::1]:8080", true, "IPv6 with brackets"],
  ["[::1]:8080", "[::1]:8080", true, "IPv6 with a port"],
  ["[::1]:8080", "[::1]:8081", false, "another port"],
  ["[::0001]", "[0:0:0:0:0:0:0:1]:80", true, "IPv6 is compared as bits"],
  ["fe80::1%25lo0", "[fe80::1%lo0]:80", true, "both spellings of a zone"],
  ["api.example.com:443", "api.example.com:443", true, "host and port"],
  ["api.example.com:443", "api.example.com:80", false, "another port"],
  ["*.example.com:443", "a.example.com:443", true, "wildcard and port"],
  ["bücher.example", "xn--bcher-kva.example:443", true, "IDN, ASCII asked"],
  ["xn--bcher-kva.example", "BÜCHER.example:443", true, "IDN, Unicode asked"],
  ["*.bücher.example", "a.xn--bcher-kva.example:443", true, "IDN below"],
] as const;
for (const [pattern, target, allowed, why] of MATCHES) {
  test(`${pattern} ${allowed ? "allows" : "doesn't allow"} ${target}: ${why}`, () => {
    const parsed = parsePattern(pattern);
    const endpoint = parseEndpoint(target, null);
    if (!parsed.ok) throw new Error(parsed.error);
    if (!endpoint.ok) throw new Error(endpoint.error);
    expect(allows(parsed.value, endpoint.value.host, endpoint.value.port))
      .toBe(allowed);
  });
}

const DENIES = [ // pattern, host:port, denied, why
  ["127.0.0.1", "127.1:80", true, "a short spelling"],
  ["127.0.0.1", "[::ffff:7f00:1]:80", true, "the mapped form"],
  ["10.0.0.0/8", "[64:ff9b::10.9.9.9]:80", true, "NAT64"],
  ["10.0.0.0/8", "[2002:a09:909::1]:80", true, "6to4"],
  ["fe80::1", "[fe80::1%eth0]:80", true, "any zone"],
  ["fe80::1%lo", "[fe80::1%eth0]:80", false, "another zone"],
  ["bad.test:22", "bad.test:22", true, "one port"],
  ["bad.test:22", "bad.test:443", false, "not the others"],
  ["10.2.*", "10.2.evil.test:443", true, "a name too: rather too much"],
] as const;
for (const [pattern, target, denied, why] of DENIES) {
  test(`${pattern} ${denied ? "denies" : "doesn't deny"} ${target}: ${why}`, () => {
    const parsed = parsePattern(pattern);
    const endpoint = parseEndpoint(target, null);
    if (!parsed.ok) throw new Error(parsed.error);
    if (!endpoint.ok) throw new Error(endpoint.error);
    expect(denies(parsed.value, endpoint.value.host, endpoint.value.port))
      .toBe(denied);
  });
}

const REFUSED = [ // pattern, part of the message, why
  ["http://api.example.com/v1", 'write "api.example.com"', "a URL"],
  ["https://u:p@h.test:1/", 'write "h.test:1"', "a URL with user and port"],
  ["example.com/path", 'write "example.com"', "a path"],
  [
    "a[.com",
    "brackets are only supported for IPv6 literals or [*]: a[.com",
    "a set",
  ],
  [
    "[ab].test",
    "brackets are only supported for IPv6 literals or [*]",
    "a set",
  ],
  ["h?st.test", "invalid glob pattern: h?st.test", "a question mark"],
  ["{a,b}.test", "invalid glob pattern: {a,b}.test", "braces"],
  ["deep.**.test", "unsupported repeated wildcard: deep.**.test", "two stars"],
  ["a*b*.test", "unsupported repeated wildcard", "two groups"],
  ["host:0", "port is not a number", "port 0"],
  ["host:65536", "port is not a number", "a large port"],
  ["host:", "port is not a number", "an empty port"],
  ["host:0x50", "port is not a number", "hex, which is 80 to a number parser"],
  ["host:8e1", "port is not a number", "an exponent, likewise"],
  ["ex\u00e4*.test", "can't stand beside such characters", "half of a label"],
  ["10.1.2.3/16", "no address range", "bits behind the prefix"],
  ["10.0.0.0/33", "no address range", "a long prefix"],
  ["a b.test", "it holds a space", "a space"],
  ["a%62.test", "it holds a percent sign", "percent"],
  ["a\0.test", "a control character", "NUL"],
  ["999.1.1.1", "ends in a number", "no address"],
  ["*.1.2.3.4", "addresses have no hosts below", "a star over an address"],
  ["[fd00:*]", "IPv6 addresses take no star", "a star in IPv6"],
  ["", "empty", "nothing"],
  ["a..b", "empty label", "two dots"],
] as const;
for (const [pattern, fragment, why] of REFUSED) {
  test(`the pattern ${JSON.stringify(pattern)} is refused: ${why}`, () => {
    const parsed = parsePattern(pattern);
    expect(parsed.ok ? "accepted" : parsed.error).toContain(fragment);
  });
}

test("an address in full-width digits is an odd spelling, so no pattern allows it", () => {
  const host = parseHost("\uff11\uff12\uff17.0.0.1");
  const pattern = parsePattern("127.0.0.1");
  if (!pattern.ok || !host.ok) throw new Error("refused");
  expect(host.value).toMatchObject({ kind: "address", usual: false });
  expect(allows(pattern.value, host.value, 80)).toBe(false);
  expect(denies(pattern.value, host.value, 80)).toBe(true);
});

test("patterns that mean the same print the same", () => {
  for (
    const [a, b] of [
      ["Example.com.", "example.com"],
      ["[::1]:80", "[0:0::1]:80"],
      ["*.BÜCHER.example", "*.xn--bcher-kva.example"],
      ["10.0.0.1/32", "10.0.0.1"],
    ] as const
  ) {
    const [left, right] = [parsePattern(a), parsePattern(b)];
    if (!left.ok || !right.ok) throw new Error("refused");
    expect(formatPattern(left.value)).toBe(formatPattern(right.value));
  }
});

const HOSTS = [ // text, host or failure, why
  ["example.com..", "example.com", "all trailing dots go"],
  ["a_b.test", "a_b.test", "underscores exist"],
  ["１２７.0.0.1", "127.0.0.1", "full-width digits are digits"],
  ["a\uff01b.test", "! it is no internationalised name", "it would become !"],
  ["ex%61mple.com", "! it holds a percent sign", "percent is never decoded"],
  ["a\u3000b", "! it holds a space", "a Unicode space"],
  ["a\u0085b", "! it holds a control character", "C1"],
  ["a@b", '! it holds "@"', "userinfo"],
  ["a/b", '! it holds "/"', "a path"],
  ["[example.com]", "! it is no IPv6 address", "brackets are for IPv6"],
  ["[127.0.0.1]", "! it is no IPv6 address", "also not for IPv4"],
  [".", "! it is empty", "only a dot"],
  [".com", "! it holds an empty label", "a leading dot"],
  ["a".repeat(64), "! it holds a label of more than 63 characters", "long"],
] as const;
for (const [text, wanted, why] of HOSTS) {
  test(`the host ${JSON.stringify(text).slice(0, 40)}: ${why}`, () => {
    const host = parseHost(text);
    expect(host.ok ? formatHost(host.value) : `! ${host.error}`).toBe(wanted);
  });
}
