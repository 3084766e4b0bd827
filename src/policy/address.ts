/**
 * IP addresses: one parser for every spelling, one printer, ranges, and which addresses are not public.
 *
 * Every place that compares, logs or dials an address uses this file, so that no two parsers can disagree about a host.
 * Sources: `man 3 inet_aton` (short, octal and hex forms), RFC 4291 and 5952 (IPv6 text), RFC 6052 (NAT64), RFC 3056 (6to4),
 * RFC 6890 and the IANA special-purpose registries (ranges).
 *
 * @module
 */

/** An address as bytes in network order: 4 of them or 16. `zone` only on link-local IPv6. */
export interface Address {
  readonly family: 4 | 6;
  readonly bytes: readonly number[];
  readonly zone?: string;
}

/**
 * What a host text is as an address. `usual`: spelled as addresses are printed; `false` for short, octal, hex, one-number, IPv4-mapped
 * and IPv4-compatible forms, which a second parser could read as something else. `invalid`: it ends in a number, so no name either.
 */
export type AddressReading =
  | {
    readonly kind: "address";
    readonly address: Address;
    readonly usual: boolean;
  }
  | { readonly kind: "name" }
  | { readonly kind: "invalid" };

/** The first `prefixLength` bits of `address` are what counts. */
export interface AddressRange {
  readonly address: Address;
  readonly prefixLength: number;
}

/**
 * Reads a host text (no brackets, no port, no trailing dot, ASCII lower case) as an address.
 *
 * IPv4-mapped and IPv4-compatible IPv6 come out as the IPv4 address that they are.
 */
export function readAddress(text: string): AddressReading {
  if (text.includes(":")) return readIpv6(text);
  const last = text.slice(text.lastIndexOf(".") + 1);
  if (!/^(?:[0-9]+|0x[0-9a-f]*)$/.test(last)) return { kind: "name" };
  const bytes = parseIpv4(text);
  if (bytes === null) return { kind: "invalid" };
  return {
    kind: "address",
    address: { family: 4, bytes },
    usual: bytes.join(".") === text,
  };
}

/** The address that `text` spells in whatever form, or `null`. Brackets and case are forgiven. */
export function parseAddress(text: string): Address | null {
  const bare = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text;
  const reading = readAddress(bare.toLowerCase());
  return reading.kind === "address" ? reading.address : null;
}

/** Dotted decimal, or IPv6 as RFC 5952 prints it, with `%zone` if there is one. No brackets. */
export function formatAddress(address: Address): string {
  if (address.family === 4) return address.bytes.join(".");
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) {
    words.push(byteAt(address, i) * 256 + byteAt(address, i + 1));
  }
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && words[i + length] === 0) length++;
    if (length > best.length) best = { at: i, length };
  }
  const hex = (part: number[]): string =>
    part.map((word) => word.toString(16)).join(":");
  const text = best.at === -1
    ? hex(words)
    : `${hex(words.slice(0, best.at))}::${
      hex(words.slice(best.at + best.length))
    }`;
  return address.zone === undefined ? text : `${text}%${address.zone}`;
}

/** Whether two addresses are the same, zone included. */
export function sameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.zone === b.zone &&
    a.bytes.every((byte, i) => byte === b.bytes[i]);
}

/** Whether `address` is in `range`. Families never mix; a zone doesn't matter. */
export function isInRange(address: Address, range: AddressRange): boolean {
  if (address.family !== range.address.family) return false;
  let left = range.prefixLength;
  for (let i = 0; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff;
    if ((byteAt(address, i) & mask) !== (byteAt(range.address, i) & mask)) {
      return false;
    }
  }
  return true;
}

/** Whether all of `inner` lies in `outer`. */
function isSubrange(inner: AddressRange, outer: AddressRange): boolean {
  return inner.prefixLength >= outer.prefixLength &&
    isInRange(inner.address, outer);
}

/** The range that `ADDRESS/BITS` spells, or `null`; the bits behind the prefix must be zero. */
export function parseRange(text: string): AddressRange | null {
  const slash = text.indexOf("/");
  const bits = text.slice(slash + 1);
  if (slash === -1 || !/^(?:0|[1-9][0-9]{0,2})$/.test(bits)) return null;
  const reading = readAddress(text.slice(0, slash).toLowerCase());
  if (reading.kind !== "address" || reading.address.zone !== undefined) {
    return null;
  }
  // A mapped range would mean 96 bits less: nobody can say which was wanted.
  if (!reading.usual) return null;
  const { address } = reading;
  const prefixLength = Number(bits);
  if (prefixLength > address.bytes.length * 8) return null;
  const base = address.bytes.map((byte, i) =>
    byte &
    (0xff << Math.min(8, Math.max(0, 8 * (i + 1) - prefixLength)) & 0xff)
  );
  if (!sameAddress(address, { family: address.family, bytes: base })) {
    return null;
  }
  return { address, prefixLength };
}

/**
 * The IPv4 address that an IPv6 address leads to: NAT64 (64:ff9b::/96), 6to4 (2002::/16), translated (::ffff:0:0:0/96).
 * `null` for all others; mapped and compatible forms are IPv4 from {@linkcode readAddress} on.
 */
export function embeddedIpv4(address: Address): Address | null {
  if (address.family === 4) return null;
  const at = isInRange(address, SIX_TO_FOUR)
    ? 2
    : isInRange(address, NAT64) || isInRange(address, TRANSLATED)
    ? 12
    : null;
  return at === null
    ? null
    : { family: 4, bytes: address.bytes.slice(at, at + 4) };
}

/**
 * Why an address is not on the public internet, in a word or two, or `null` when it is.
 *
 * @param own addresses of the host's interfaces, read when the question is asked
 */
export function whyNotPublic(
  address: Address,
  own: readonly Address[],
): string | null {
  for (const candidate of own) {
    if (sameAddress(unscoped(candidate), unscoped(address))) {
      return "address of this machine";
    }
  }
  const inside = embeddedIpv4(address);
  if (inside !== null) return whyNotPublic(inside, own);
  for (const [range, name] of notPublic()) {
    if (isInRange(address, range)) return name;
  }
  return null;
}

/** Whether the whole range lies in one non-public range: then whoever lists it means just that. */
export function isPrivateRange(range: AddressRange): boolean {
  return notPublic().some(([outer]) => isSubrange(range, outer));
}

/** Whether the address serves credentials to whoever asks: cloud metadata services. No range or wildcard opens it. */
export function isMetadataAddress(address: Address): boolean {
  const judged = embeddedIpv4(address) ?? unscoped(address);
  return METADATA.includes(formatAddress(judged));
}

/** The address without its zone. */
export function unscoped(address: Address): Address {
  return { family: address.family, bytes: address.bytes };
}

const METADATA: readonly string[] = [
  "169.254.169.254", // most clouds
  "169.254.170.2", // AWS ECS
  "169.254.170.23", // AWS EKS
  "168.63.129.16", // Azure
  "100.100.100.200", // Alibaba
  "192.0.0.192", // Oracle
  "fd00:ec2::254", // AWS
  "fd20:ce::254", // Google
];

const NOT_PUBLIC: readonly (readonly [string, string])[] = [
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
];

let parsed: readonly (readonly [AddressRange, string])[] | null = null;

/** The table, parsed at first use: most runs never ask. */
function notPublic(): readonly (readonly [AddressRange, string])[] {
  parsed ??= NOT_PUBLIC.map(([text, name]) => {
    const range = parseRange(text);
    if (range === null) throw new Error(`bad range in the table: ${text}`);
    return [range, name] as const;
  });
  return parsed;
}

const NAT64: AddressRange = {
  address: { family: 6, bytes: padded([0, 0x64, 0xff, 0x9b]) },
  prefixLength: 96,
};
const SIX_TO_FOUR: AddressRange = {
  address: { family: 6, bytes: padded([0x20, 0x02]) },
  prefixLength: 16,
};
const TRANSLATED: AddressRange = {
  address: {
    family: 6,
    bytes: padded([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
  },
  prefixLength: 96,
};

function padded(bytes: readonly number[]): number[] {
  return [...bytes, ...new Array<number>(16 - bytes.length).fill(0)];
}

function byteAt(address: Address, index: number): number {
  return address.bytes[index] ?? 0;
}

/** `inet_aton`: one to four numbers, each decimal, 0octal or 0xhex; the last one fills what is left. */
function parseIpv4(text: string): number[] | null {
  const parts = text.split(".");
  if (parts.length > 4) return null;
  const numbers: number[] = [];
  for (const part of parts) {
    const value = parseNumber(part);
    if (value === null) return null;
    numbers.push(value);
  }
  const last = numbers.pop() ?? 0;
  if (numbers.some((value) => value > 255)) return null;
  const room = 4 - numbers.length;
  if (last >= 256 ** room) return null;
  for (let i = room - 1; i >= 0; i--) {
    numbers.push(Math.floor(last / 256 ** i) % 256);
  }
  return numbers;
}

function parseNumber(text: string): number | null {
  if (/^0x[0-9a-f]{0,16}$/.test(text)) {
    return text === "0x" ? 0 : Number(text);
  }
  if (/^0[0-7]{1,16}$/.test(text)) return parseInt(text, 8);
  return /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : null;
}

function readIpv6(text: string): AddressReading {
  const percent = text.indexOf("%");
  const bytes = parseIpv6(percent === -1 ? text : text.slice(0, percent));
  if (bytes === null) return { kind: "invalid" };
  const address: Address = { family: 6, bytes };
  if (percent !== -1) {
    // RFC 6874 writes `%25` in URLs, RFC 4007 a bare `%`.
    const zone = text.slice(percent + 1).replace(/^25(?=.)/, "");
    const linkLocal = bytes[0] === 0xfe && ((bytes[1] ?? 0) & 0xc0) === 0x80;
    // An interface whose name begins with "25" could not be told from the URL's spelling of another.
    if (!linkLocal || !/^(?!25.)[a-z0-9._-]{1,15}$/.test(zone)) {
      return { kind: "invalid" };
    }
    return { kind: "address", address: { ...address, zone }, usual: true };
  }
  const head = bytes.slice(0, 10).every((byte) => byte === 0);
  const mapped = head && bytes[10] === 0xff && bytes[11] === 0xff;
  const compatible = head && bytes[10] === 0 && bytes[11] === 0 &&
    bytes.slice(12, 15).some((byte) => byte !== 0);
  if (!mapped && !compatible) return { kind: "address", address, usual: true };
  return {
    kind: "address",
    address: { family: 4, bytes: bytes.slice(12) },
    usual: false,
  };
}

function parseIpv6(text: string): number[] | null {
  if (!/^[0-9a-f:.]{2,45}$/.test(text)) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const front = parseGroups(halves[0] ?? "", halves.length === 1);
  const back = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (front === null || back === null) return null;
  const missing = 16 - front.length - back.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return null;
  return [...front, ...new Array<number>(missing).fill(0), ...back];
}

/** Groups of a half as bytes; dotted decimal may only be its end, and only at the end of the whole address (`atEnd`). */
function parseGroups(text: string, atEnd: boolean): number[] | null {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [i, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/.test(group)) {
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 255);
      continue;
    }
    const dotted = atEnd && i === groups.length - 1 ? parseIpv4(group) : null;
    if (dotted === null || dotted.join(".") !== group) return null;
    bytes.push(...dotted);
  }
  return bytes;
}
