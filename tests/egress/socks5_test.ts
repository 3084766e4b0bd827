import { expect, test } from "bun:test";
import { formatEndpoint } from "../../src/policy/host.ts";
import {
  methodReply,
  readGreeting,
  readSocksRequest,
  REPLY,
  replyOfErrno,
  socksReply,
} from "../../src/egress/socks5.ts";

const hex = (text: string): Buffer =>
  Buffer.from(text.replace(/ /g, ""), "hex");
const named = (name: string, tail = "0050"): Buffer => {
  const bytes = Buffer.from(name, "latin1");
  return Buffer.concat([
    Buffer.from([5, 1, 0, 3, bytes.length]),
    bytes,
    hex(tail),
  ]);
};

const GREETINGS = [ // bytes, kind, why
  ["", "more", "nothing yet"],
  ["05", "more", "only the version"],
  ["05 02 00", "more", "one of two methods"],
  ["05 01 00", "accepted", "no authentication"],
  ["05 02 02 00", "accepted", "among others"],
  ["05 01 02", "no_method", "only user and password"],
  ["05 00", "no_method", "no method at all"],
  ["04 01", "foreign", "SOCKS4"],
  ["47 45 54", "foreign", "HTTP"],
] as const;
for (const [bytes, kind, why] of GREETINGS) {
  test(`the greeting ${bytes || "(empty)"} is ${kind}: ${why}`, () => {
    expect(readGreeting(hex(bytes)).kind).toBe(kind);
  });
}

const REQUESTS = [ // bytes, endpoint or outcome, why
  [hex("05 01 00 01 7f000001 0050"), "127.0.0.1:80", "IPv4"],
  [
    hex("05 01 00 04 00000000000000000000000000000001 01bb"),
    "[::1]:443",
    "IPv6",
  ],
  [
    hex("05 01 00 04 00000000000000000000ffff7f000001 01bb"),
    "127.0.0.1:443",
    "mapped IPv6",
  ],
  [named("Example.COM."), "example.com:80", "a name"],
  [named("127.0.0.1"), "127.0.0.1:80", "a name that spells an address"],
  [named("::1"), "[::1]:80", "IPv6 as a name"],
  [named("b\xc3\xbccher.test"), "xn--bcher-kva.test:80", "a Unicode name"],
  [named("a\0.test"), "refused 1", "NUL"],
  [named("a\r\nb"), "refused 1", "a line end"],
  [named("a%2e"), "refused 1", "percent"],
  [named(""), "refused 1", "an empty name"],
  [named("\xff"), "refused 1", "not UTF-8"],
  [named("a".repeat(255)), "refused 1", "a label too long"],
  [named("a.test", "0000"), "refused 1", "port 0"],
  [hex("05 02 00 01 7f000001 0050"), "BIND 127.0.0.1:80", "BIND"],
  [
    hex("05 03 00 01 00000000 0000"),
    "UDP ASSOCIATE 0.0.0.0:0",
    "UDP ASSOCIATE",
  ],
  [
    hex("05 09 00 01 7f000001 0050"),
    "command 9 127.0.0.1:80",
    "an unknown command",
  ],
  [
    hex("05 02 00 03 01 00 0050"),
    "BIND null",
    "BIND for a name that can't be read",
  ],
  [hex("05 01 00 05 7f"), "refused 8", "an unknown address type"],
  [hex("05 01 01 01 7f000001 0050"), "refused 1", "a reserved byte"],
  [hex("04 01 00 50 7f000001 00"), "foreign", "SOCKS4"],
  [hex("05 01 00 01 7f0000"), "more", "cut in the address"],
  [hex("05 01 00 03"), "more", "cut before the length"],
  [hex("05 01 00 03 05 61"), "more", "cut in the name"],
] as const;
for (const [bytes, wanted, why] of REQUESTS) {
  test(`the request ${bytes.toString("hex").slice(0, 40)} is ${wanted}: ${why}`, () => {
    const request = readSocksRequest(bytes);
    expect(
      request.kind === "connect"
        ? formatEndpoint(request.endpoint)
        : request.kind === "refused"
        ? `refused ${request.code}`
        : request.kind === "unsupported"
        ? `${request.command} ${
          request.endpoint === null ? null : formatEndpoint(request.endpoint)
        }`
        : request.kind,
    ).toBe(wanted);
  });
}

test("every request is read alike however it is cut, and the bytes behind it are left", () => {
  for (const [bytes, wanted] of REQUESTS) {
    if (!/:[0-9]+$/.test(wanted) || wanted.includes(" ")) continue;
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(readSocksRequest(bytes.subarray(0, cut)).kind).toBe("more");
    }
    expect(readSocksRequest(Buffer.concat([bytes, hex("1603")]))).toMatchObject(
      {
        kind: "connect",
        used: bytes.length,
      },
    );
  }
});

test("replies are the bytes of RFC 1928", () => {
  expect(methodReply("accepted").toString("hex")).toBe("0500");
  expect(methodReply("no_method").toString("hex")).toBe("05ff");
  expect(socksReply(REPLY.NOT_ALLOWED).toString("hex")).toBe(
    "05020001000000000000",
  );
  const bound = {
    address: { family: 4, bytes: [10, 0, 0, 1] },
    port: 258,
  } as const;
  expect(socksReply(REPLY.SUCCEEDED, bound).toString("hex")).toBe(
    "050000010a0000010102",
  );
});

const ERRNOS = [ // errno, code, why
  ["ECONNREFUSED", 5, "refused"],
  ["EHOSTUNREACH", 4, "no such host"],
  ["ETIMEDOUT", 4, "no answer"],
  ["ENOTFOUND", 4, "no such name"],
  ["ENETUNREACH", 3, "no route"],
  ["EACCES", 1, "anything else"],
] as const;
for (const [errno, code, why] of ERRNOS) {
  test(`${errno} is reply ${code}: ${why}`, () => {
    expect(replyOfErrno(errno)).toBe(code);
  });
}
