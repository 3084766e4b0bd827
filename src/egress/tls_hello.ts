/**
 * The server name of a TLS ClientHello: what a tunnel really asks for.
 *
 * Pure. Reads only as far as the name; a handshake may be spread over several records. What an Encrypted ClientHello hides stays
 * hidden: the outer name is what is judged.
 * Source: RFC 8446 §4.1.2 and 5.1, RFC 6066 §3.
 *
 * @module
 */

/** Bytes after which an unfinished ClientHello is taken for malformed. Post-quantum key shares need about 2 KiB. */
const MAX_HELLO_BYTES = 65_536;

/** Records of one ClientHello. They are read again with each packet, and one byte in each would hold up the whole run. */
const MAX_RECORDS = 4_096;

/** ContentTypes of TLS, change_cipher_spec to heartbeat. Some servers skip an alert before the ClientHello: it must not hide the name. */
const FIRST_TYPE = 0x14;
const LAST_TYPE = 0x18;

export type HelloReading =
  | { readonly kind: "more" }
  /** Something else than TLS: nothing to judge. */
  | { readonly kind: "not_tls" }
  /** It starts like a ClientHello but can't be one. */
  | { readonly kind: "malformed" }
  | { readonly kind: "hello"; readonly serverName: string | null };

/** Reads the first bytes of a tunnel. `serverName` is latin-1 text as sent. */
export function readHello(bytes: Buffer): HelloReading {
  if (bytes.length === 0) return { kind: "more" };
  // ContentType, then version 3.x.
  const isRecord = FIRST_TYPE <= bytes[0]! && bytes[0]! <= LAST_TYPE;
  if (!isRecord || (bytes.length > 1 && bytes[1] !== 3)) {
    return { kind: "not_tls" };
  }
  const handshake = joinRecords(bytes);
  if (handshake === null) return { kind: "malformed" };
  if (handshake.length > 0 && handshake[0] !== 1) return { kind: "malformed" };
  const length = handshake.length < 4 ? null : handshake.readUIntBE(1, 3);
  if (length !== null && length > MAX_HELLO_BYTES) return { kind: "malformed" };
  if (length === null || handshake.length < 4 + length) {
    return bytes.length > MAX_HELLO_BYTES
      ? { kind: "malformed" }
      : { kind: "more" };
  }
  return readExtensions(handshake.subarray(4, 4 + length));
}

/** The handshake bytes of all records so far, `null` when a record is of another kind or empty, or when there are too many. */
function joinRecords(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  let joined = 0;
  let at = 0;
  while (at + 5 <= bytes.length) {
    const size = bytes.readUInt16BE(at + 3);
    if (bytes[at] !== 0x16 || bytes[at + 1] !== 3) return null;
    if (size === 0 || size > 16_384) return null;
    if (parts.length === MAX_RECORDS) return null;
    const part = bytes.subarray(at + 5, at + 5 + size);
    parts.push(part);
    joined += part.length;
    at += 5 + size;
    const first = parts[0]!;
    if (first.length >= 4 && joined >= 4 + first.readUIntBE(1, 3)) break;
  }
  return parts.length === 1 ? parts[0] ?? null : Buffer.concat(parts);
}

/** @param body of the ClientHello, without type and length */
function readExtensions(body: Buffer): HelloReading {
  const malformed: HelloReading = { kind: "malformed" };
  // legacy_version 2, random 32, then session id, cipher suites and compression methods with their lengths.
  let at = 34;
  at = skip(body, at, 1);
  at = skip(body, at, 2);
  at = skip(body, at, 1);
  if (at === body.length) return { kind: "hello", serverName: null };
  if (at + 2 > body.length) return malformed;
  const end = at + 2 + body.readUInt16BE(at);
  if (end !== body.length) return malformed;
  at += 2;
  let name: string | null = null;
  while (at + 4 <= end) {
    const type = body.readUInt16BE(at);
    const next = at + 4 + body.readUInt16BE(at + 2);
    if (type === 0) {
      const found = readName(body.subarray(at + 4, next));
      // A second list, or an unreadable one, could be read otherwise by the server.
      if (found === null || name !== null) return malformed;
      name = found;
    }
    at = next;
  }
  // An extension that reaches over the end leads beyond it.
  return at === end ? { kind: "hello", serverName: name } : malformed;
}

/** ServerNameList with exactly one host_name. */
function readName(list: Buffer): string | null {
  if (list.length < 5 || list.readUInt16BE(0) !== list.length - 2) return null;
  if (list[2] !== 0 || list.readUInt16BE(3) !== list.length - 5) return null;
  return list.length === 5 ? null : list.toString("latin1", 5);
}

/** The offset behind a vector with a length of `size` bytes; beyond the end when it is cut. */
function skip(body: Buffer, at: number, size: 1 | 2): number {
  if (at + size > body.length) return body.length + 1;
  return at + size + body.readUIntBE(at, size);
}
