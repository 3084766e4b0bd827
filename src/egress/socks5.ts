/**
 * SOCKS5 as a server speaks it: an incremental reader of greeting and request, and the replies.
 *
 * No authentication: whoever reaches the listener is the command. Domain names are judged by the same parser as all other hosts;
 * a name that spells an address is that address. Pure.
 * Source: RFC 1928.
 *
 * @module
 */
import { type ByteString, decodeText } from "../bytes.ts";
import { type Address, formatAddress } from "../policy/address.ts";
import { type Endpoint, parseHost } from "../policy/host.ts";

/** Reply codes, RFC 1928 §6. */
export const REPLY = {
  SUCCEEDED: 0x00,
  GENERAL_FAILURE: 0x01,
  NOT_ALLOWED: 0x02,
  NETWORK_UNREACHABLE: 0x03,
  HOST_UNREACHABLE: 0x04,
  CONNECTION_REFUSED: 0x05,
  TTL_EXPIRED: 0x06,
  COMMAND_NOT_SUPPORTED: 0x07,
  ADDRESS_TYPE_NOT_SUPPORTED: 0x08,
} as const;

export type ReplyCode = typeof REPLY[keyof typeof REPLY];

/** What the bytes so far say. `used` bytes belong to the message. */
export type Greeting =
  | { readonly kind: "more" }
  /** Not SOCKS5: closed without a byte. */
  | { readonly kind: "foreign" }
  /** No method that we speak: answered `05 FF`. */
  | { readonly kind: "no_method"; readonly used: number }
  | { readonly kind: "accepted"; readonly used: number };

/** Reads the client's greeting: version, methods. */
export function readGreeting(bytes: Buffer): Greeting {
  if (bytes.length > 0 && bytes[0] !== 5) return { kind: "foreign" };
  const count = bytes[1];
  if (count === undefined || bytes.length < 2 + count) return { kind: "more" };
  const used = 2 + count;
  return bytes.subarray(2, used).includes(0)
    ? { kind: "accepted", used }
    : { kind: "no_method", used };
}

export type SocksRequest =
  | { readonly kind: "more" }
  /** Not a SOCKS5 request: closed without a byte. */
  | { readonly kind: "foreign" }
  /** Answered with `code` and closed. */
  | {
    readonly kind: "refused";
    readonly code: ReplyCode;
    readonly what: string;
  }
  /** BIND, UDP ASSOCIATE or something else that is no CONNECT: answered `07`. `endpoint` is `null` where it can't be read. */
  | {
    readonly kind: "unsupported";
    readonly command: string;
    readonly endpoint: Endpoint | null;
  }
  | {
    readonly kind: "connect";
    readonly endpoint: Endpoint;
    readonly used: number;
  };

/** Reads a request after the greeting; it waits for 262 bytes at most, those of a name of 255. Port 0, a name with NUL or other forbidden characters, and BIND and UDP are refused. */
export function readSocksRequest(bytes: Buffer): SocksRequest {
  if (bytes.length > 0 && bytes[0] !== 5) return { kind: "foreign" };
  if (bytes.length > 2 && bytes[2] !== 0) {
    return refused(REPLY.GENERAL_FAILURE, "a reserved byte is not zero");
  }
  const type = bytes[3];
  if (type === undefined) return { kind: "more" };
  const length = addressLength(type, bytes[4]);
  if (length === "unknown") {
    return refused(
      REPLY.ADDRESS_TYPE_NOT_SUPPORTED,
      `address type ${type} is unknown`,
    );
  }
  if (length === "more" || bytes.length < 4 + length + 2) {
    return { kind: "more" };
  }
  const used = 4 + length + 2;
  const text = hostText(type, bytes.subarray(4, 4 + length));
  const host = text === null ? null : parseHost(text);
  const port = bytes.readUInt16BE(used - 2);
  if (bytes[1] !== 1) {
    return {
      kind: "unsupported",
      command: commandName(bytes[1]!),
      endpoint: host?.ok === true ? { host: host.value, port } : null,
    };
  }
  if (host === null || !host.ok || port === 0) {
    const why = host === null
      ? "it is not UTF-8"
      : host.ok
      ? "its port is 0"
      : host.error;
    return refused(REPLY.GENERAL_FAILURE, `the target is invalid: ${why}`);
  }
  return { kind: "connect", endpoint: { host: host.value, port }, used };
}

/** `05 00`, no authentication, or `05 FF`. */
export function methodReply(accepted: "accepted" | "no_method"): Buffer {
  return Buffer.from([5, accepted === "accepted" ? 0 : 0xff]);
}

/**
 * A reply. The bound address is only sent where one is known; a client has no use for it after CONNECT, so zeros are as good.
 */
export function socksReply(
  code: ReplyCode,
  bound: { readonly address: Address; readonly port: number } | null = null,
): Buffer {
  const address = bound?.address ?? { family: 4, bytes: [0, 0, 0, 0] };
  const port = bound?.port ?? 0;
  return Buffer.from([
    5,
    code,
    0,
    address.family === 4 ? 1 : 4,
    ...address.bytes,
    port >> 8,
    port & 255,
  ]);
}

/** The reply for a connect that failed with this errno name. */
export function replyOfErrno(errno: string): ReplyCode {
  switch (errno) {
    case "ECONNREFUSED":
      return REPLY.CONNECTION_REFUSED;
    case "ENETUNREACH":
    case "ENETDOWN":
      return REPLY.NETWORK_UNREACHABLE;
    case "EHOSTUNREACH":
    case "EHOSTDOWN":
    case "ETIMEDOUT":
    case "ENOTFOUND":
      return REPLY.HOST_UNREACHABLE;
    default:
      return REPLY.GENERAL_FAILURE;
  }
}

function commandName(command: number): string {
  if (command === 2) return "BIND";
  return command === 3 ? "UDP ASSOCIATE" : `command ${command}`;
}

function refused(code: ReplyCode, what: string): SocksRequest {
  return { kind: "refused", code, what };
}

/** Bytes of the address field, its length byte included. */
function addressLength(
  type: number,
  first: number | undefined,
): number | "more" | "unknown" {
  switch (type) {
    case 1:
      return 4;
    case 4:
      return 16;
    case 3:
      return first === undefined ? "more" : 1 + first;
    default:
      return "unknown";
  }
}

function hostText(type: number, field: Buffer): string | null {
  if (type === 3) {
    return decodeText(field.toString("latin1", 1) as ByteString);
  }
  const address: Address = { family: type === 1 ? 4 : 6, bytes: [...field] };
  return formatAddress(address);
}
