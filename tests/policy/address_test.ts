import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Address,
  embeddedIpv4,
  formatAddress,
  isMetadataAddress,
  parseAddress,
  parseRange,
  readAddress,
  whyNotPublic,
} from "../../src/policy/address.ts";

const SPELLINGS = [ // text, printed, usual, why
  ["127.0.0.1", "127.0.0.1", true, "dotted decimal"],
  ["127.1", "127.0.0.1", false, "the last number fills the rest"],
  ["127.0.1", "127.0.0.1", false, "three numbers"],
  ["2130706433", "127.0.0.1", false, "one number"],
  ["0x7f.1", "127.0.0.1", false, "hex"],
  ["0x7f000001", "127.0.0.1", false, "hex in one number"],
  ["0177.0.0.1", "127.0.0.1", false, "octal"],
  ["0", "0.0.0.0", false, "a single zero"],
  ["0x", "0.0.0.0", false, "a bare 0x is zero for resolvers"],
  ["010.0.0.1", "8.0.0.1", false, "octal ten is eight"],
  ["::1", "::1", true, "loopback"],
  ["0:0:0:0:0:0:0:1", "::1", true, "uncompressed is still plain IPv6"],
  ["::", "::", true, "unspecified"],
  ["::ffff:127.0.0.1", "127.0.0.1", false, "mapped"],
  ["::ffff:7f00:1", "127.0.0.1", false, "mapped, in hex"],
  ["::127.0.0.1", "127.0.0.1", false, "compatible"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", true, "the first longest run"],
  ["64:ff9b::10.0.0.1", "64:ff9b::a00:1", true, "NAT64"],
  ["fe80::1%lo0", "fe80::1%lo0", true, "a zone"],
  ["fe80::1%25lo0", "fe80::1%lo0", true, "a zone as in a URL"],
] as const;
for (const [text, printed, usual, why] of SPELLINGS) {
  test(`${text} is ${printed}: ${why}`, () => {
    const reading = readAddress(text);
    expect(reading.kind).toBe("address");
    if (reading.kind !== "address") return;
    expect([formatAddress(reading.address), reading.usual]).toEqual([
      printed,
      usual,
    ]);
  });
}

const OTHERS = [ // text, kind, why
  ["example.com", "name", "a name"],
  ["1.2.3.4.example", "name", "it ends in a word"],
  ["0xg", "name", "no hex"],
  ["256.1.1.1", "invalid", "too large"],
  ["1.2.3.4.5", "invalid", "five numbers"],
  ["08", "invalid", "no octal digit"],
  ["4294967296", "invalid", "33 bits"],
  ["example.1", "invalid", "ends in a number"],
  ["1..2", "invalid", "an empty part"],
  ["1:2", "invalid", "short IPv6"],
  ["::1::", "invalid", "two gaps"],
  [":::", "invalid", "three colons"],
  ["1:2:3:4:5:6:7:8:9", "invalid", "nine groups"],
  ["::1.2.3", "invalid", "short IPv4 inside IPv6"],
  ["::01.2.3.4", "invalid", "octal inside IPv6"],
  ["::1%lo", "invalid", "only link-local addresses have zones"],
  ["fe80::1%", "invalid", "an empty zone"],
  ["fe80::1%a/b", "invalid", "a zone with a slash"],
  ["fe80::1%2525lo", "invalid", "a zone that could be read twice"],
] as const;
for (const [text, kind, why] of OTHERS) {
  test(`${text} is ${kind}: ${why}`, () => {
    expect(readAddress(text).kind).toBe(kind);
  });
}

const PUBLIC = [ // text, why not public, reason
  ["8.8.8.8", null, "a public resolver"],
  ["0.1.2.3", "this network", "0/8 leads to this machine on Linux"],
  ["127.255.255.254", "loopback", "the end of 127/8"],
  ["192.0.0.8", "protocol assignments", "192.0.0/24"],
  ["192.0.2.1", "documentation", "the first of three"],
  ["192.168.255.1", "private", "192.168/16"],
  ["198.19.0.1", "benchmarks", "the second half of 198.18/15"],
  ["198.51.100.1", "documentation", "the second"],
  ["203.0.113.1", "documentation", "the third"],
  ["239.255.255.250", "multicast", "the search for devices"],
  ["fe80::1", "link-local", "without a zone"],
  ["ff02::1", "multicast", "every neighbour"],
  ["10.1.2.3", "private", "10/8"],
  ["172.15.0.1", null, "just below 172.16/12"],
  ["172.31.255.255", "private", "the end of 172.16/12"],
  ["172.32.0.0", null, "just above"],
  ["100.64.0.1", "shared by a carrier", "CGNAT"],
  ["169.254.169.254", "link-local", "metadata"],
  ["168.63.129.16", "cloud metadata", "Azure, outside link-local"],
  ["192.88.99.1", "6to4 relay", "ours"],
  ["255.255.255.255", "reserved", "broadcast"],
  ["::1", "loopback", "IPv6 loopback"],
  ["::", "unspecified", "IPv6 any"],
  ["fc00::1", "private", "unique local"],
  ["fec0::1", "site-local", "ours"],
  ["2001:db8::1", "documentation", "ours"],
  ["2001:0:1::", "Teredo", "ours"],
  ["2001:4860:4860::8888", null, "a public resolver"],
  ["2001:2:0:1::1", "benchmarks", "ours"],
  ["2001:2:1::1", null, "behind it"],
  ["3fff:fff::1", "documentation", "ours"],
  ["4000::1", null, "behind it"],
  ["5f00::1", "segment routing", "ours: an operator's own network"],
  ["100::1", "discard", "ours"],
  ["100:0:0:1::1", "dummy", "ours"],
  ["64:ff9b:1::1", "local NAT64", "ours"],
  ["64:ff9b::10.0.0.1", "private", "NAT64 is judged by what is inside"],
  ["64:ff9b::8.8.8.8", null, "NAT64 of a public address"],
  ["2002:a00:1::", "private", "6to4 of 10.0.0.1"],
  ["2002:808:808::", null, "6to4 of 8.8.8.8"],
  ["::ffff:0:10.0.0.1", "private", "translated"],
  ["::ffff:10.0.0.1", "private", "mapped"],
  ["93.184.216.34", "address of this machine", "listed as our own"],
] as const;
for (const [text, why, reason] of PUBLIC) {
  test(`${text} is ${why ?? "public"}: ${reason}`, () => {
    const own = [parseAddress("93.184.216.34") as Address];
    expect(whyNotPublic(parseAddress(text) as Address, own)).toBe(why);
  });
}

test("metadata addresses are known in every wrapping", () => {
  for (
    const text of [
      "169.254.169.254",
      "::ffff:169.254.169.254",
      "64:ff9b::a9fe:a9fe",
      "169.254.170.2",
      "169.254.170.23",
      "168.63.129.16",
      "100.100.100.200",
      "192.0.0.192",
      "fd00:ec2::254",
      "fd20:ce::254",
    ]
  ) expect(isMetadataAddress(parseAddress(text) as Address)).toBe(true);
});

test("a range must name its first address", () => {
  expect(parseRange("10.1.0.0/16")).not.toBeNull();
  expect(parseRange("10.1.0.1/16")).toBeNull();
  expect(parseRange("10.0.0.0/33")).toBeNull();
  expect(parseRange("::ffff:10.0.0.0/104")).toBeNull();
  expect(parseRange("::ffff:10.0.0.0/8")).toBeNull();
  expect(parseRange("012.0.0.0/8")).toBeNull();
  expect(parseRange("fe80::/10")).not.toBeNull();
  expect(parseRange("0.0.0.0/0")).not.toBeNull();
});

test("what is printed is read back as the same address", () => {
  const bytes = fc.array(fc.nat(255), { minLength: 16, maxLength: 16 });
  const sparse = bytes.map((list) =>
    list.map((byte, i) => ((list[0] ?? 0) >> (i % 8)) & 1 ? byte : 0)
  );
  fc.assert(
    fc.property(fc.oneof(bytes, sparse), (list) => {
      const address: Address = { family: 6, bytes: list };
      const reading = readAddress(formatAddress(address));
      if (reading.kind !== "address") return false;
      // Mapped and compatible forms come back as IPv4.
      return reading.usual
        ? formatAddress(reading.address) === formatAddress(address)
        : reading.address.family === 4;
    }),
    { seed: 5, numRuns: 2_000 },
  );
});

test("our IPv4 reading agrees with the URL parser's", () => {
  const part = fc.oneof(
    fc.nat(300).map(String),
    fc.nat(300).map((n) => `0x${n.toString(16)}`),
    fc.nat(300).map((n) => `0${n.toString(8)}`),
    fc.nat(2 ** 33).map(String),
    fc.constantFrom("", "08", "0x", "a"),
  );
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
      const text = parts.join(".");
      if (text === "" || text.endsWith(".")) return;
      let theirs: string | null = null;
      try {
        theirs = new URL(`http://${text}/`).hostname;
      } catch { /* not a host */ }
      const ours = readAddress(text);
      if (ours.kind === "address") {
        expect(theirs).toBe(formatAddress(ours.address));
      } else if (ours.kind === "invalid") expect(theirs).toBeNull();
      else expect(theirs === null || !/^[0-9.]+$/.test(theirs)).toBe(true);
    }),
    { seed: 6, numRuns: 3_000 },
  );
});

test("only NAT64, 6to4 and translated addresses carry an IPv4 address", () => {
  expect(embeddedIpv4(parseAddress("2001:4860::1") as Address)).toBeNull();
  expect(embeddedIpv4(parseAddress("1.2.3.4") as Address)).toBeNull();
});
