import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { connect } from "node:net";
import { readHello } from "../../src/egress/tls_hello.ts";
import { lines, openClient, startOrigin, startTestProxy } from "./fixtures.ts";
import { comesToHold } from "../patience.ts";

const kept = (name: string): Buffer =>
  readFileSync(join(import.meta.dirname ?? ".", "../corpus/tls", name));

const NAMES = [ // captured ClientHello, server name
  ["bun_sni", "a.good.test"],
  ["bun_no_sni", null],
  ["openssl_13", "python.good.test"],
  ["openssl_12", "old.good.test"],
] as const;
for (const [file, serverName] of NAMES) {
  test(`the ClientHello of ${file} names ${serverName}, however it is cut into packets`, () => {
    const bytes = kept(file);
    expect(readHello(bytes)).toEqual({ kind: "hello", serverName });
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(readHello(bytes.subarray(0, cut)).kind).toBe("more");
    }
  });
  test(`the ClientHello of ${file} names ${serverName}, however it is cut into records`, () => {
    const bytes = kept(file);
    const body = bytes.subarray(5);
    for (const size of [1, 3, 50, 1_000]) {
      const records: Buffer[] = [];
      for (let at = 0; at < body.length; at += size) {
        const part = body.subarray(at, at + size);
        records.push(
          Buffer.from([0x16, 3, 1, part.length >> 8, part.length & 255]),
          part,
        );
      }
      expect(readHello(Buffer.concat(records))).toEqual({
        kind: "hello",
        serverName,
      });
    }
  });
}

const record = (handshake: readonly number[]): Buffer =>
  Buffer.from([
    0x16,
    3,
    1,
    handshake.length >> 8,
    handshake.length & 255,
    ...handshake,
  ]);
const hello = (extensions: readonly number[]): Buffer => {
  const body = [
    3,
    3,
    ...new Array<number>(32).fill(0),
    0,
    0,
    2,
    0x13,
    1,
    1,
    0,
    extensions.length >> 8,
    extensions.length & 255,
    ...extensions,
  ];
  return record([1, 0, body.length >> 8, body.length & 255, ...body]);
};
const sni = (name: string): number[] => {
  const bytes = [...Buffer.from(name, "latin1")];
  const n = bytes.length;
  return [0, 0, 0, n + 5, 0, n + 3, 0, 0, n, ...bytes];
};

/** The same bytes but for one. */
const asType = (bytes: Buffer, at: number, type: number): Buffer => {
  const changed = Buffer.from(bytes);
  changed[at] = type;
  return changed;
};
/** A byte more than its extensions have. */
const grown = (bytes: Buffer): Buffer => {
  const body = [...bytes.subarray(9), 0];
  return record([1, 0, body.length >> 8, body.length & 255, ...body]);
};
const inTwoRecords = (bytes: Buffer, second: number): Buffer => {
  const handshake = [...bytes.subarray(5)];
  return Buffer.concat([
    record(handshake.slice(0, 20)),
    asType(record(handshake.slice(20)), 0, second),
  ]);
};

/** A hello of these bytes behind its version and random. */
const cutOff = (rest: readonly number[]): Buffer => {
  const body = [3, 3, ...new Array<number>(32).fill(0), ...rest];
  return record([1, 0, 0, body.length, ...body]);
};

const SHAPES = [ // bytes, kind, why
  [cutOff([0, 0, 2, 0x13, 1, 1, 0]), "hello", "an old one without extensions"],
  [cutOff([]), "malformed", "it ends before its session"],
  [cutOff([9, 0]), "malformed", "it ends in its session"],
  [
    cutOff([0, 0, 2, 0x13, 1, 1, 0, 0]),
    "malformed",
    "it ends in the length of its extensions",
  ],
  [hello([0, 0, 0, 3, 0, 1, 0]), "malformed", "a list too short for a name"],
  [
    hello([0, 0, 0, 9, 0, 6, 0, 0, 4, 97, 98, 99, 100]),
    "malformed",
    "a list shorter than its extension",
  ],
  [Buffer.from("SSH-2.0-x\r\n"), "not_tls", "ssh"],
  [Buffer.from("GET / HTTP/1.1\r\n"), "not_tls", "HTTP"],
  [Buffer.from([0x16, 2]), "not_tls", "no TLS version"],
  [Buffer.from([0x16]), "more", "one byte"],
  [
    Buffer.concat([Buffer.from([0x15, 3, 1, 0, 2, 1, 90]), hello(sni("a.t"))]),
    "malformed",
    "an alert before it, which some servers skip",
  ],
  [Buffer.from([0x14, 3, 3, 0, 1, 1]), "malformed", "a change of ciphers"],
  [Buffer.from([0x15, 1]), "not_tls", "no TLS version behind an alert"],
  [hello([]), "hello", "no extension"],
  [hello(sni("a.test")), "hello", "one name"],
  [
    hello([...sni("a.test"), ...sni("b.test")]),
    "malformed",
    "two name extensions",
  ],
  [
    hello([0, 0, 0, 9, 0, 7, 0, 0, 9, 97, 98, 99, 100]),
    "malformed",
    "a name longer than its list",
  ],
  [
    hello([0, 0, 0, 12, 0, 10, 0, 0, 2, 97, 97, 0, 0, 2, 98, 98]),
    "malformed",
    "two names in one list",
  ],
  [hello(sni("")), "malformed", "an empty name"],
  [hello([0, 0, 0xff, 0xff]), "malformed", "an extension beyond the end"],
  [record([2, 0, 0, 1, 0]), "malformed", "a ServerHello"],
  [asType(hello([]), 5, 2), "malformed", "a whole hello of another type"],
  [grown(hello(sni("a.test"))), "malformed", "bytes behind the extensions"],
  [
    inTwoRecords(hello(sni("a.test")), 0x17),
    "malformed",
    "its second half in a record of data",
  ],
  [record([1, 0xff, 0xff, 0xff]), "malformed", "16 MiB"],
  [Buffer.from([0x16, 3, 1, 0, 0]), "malformed", "an empty record"],
  [Buffer.from([0x16, 3, 1, 0xff, 0xff]), "malformed", "a record too long"],
  [
    Buffer.concat([record([1, 0, 0]), Buffer.from([0x15, 3, 1, 0, 2, 1, 0])]),
    "malformed",
    "an alert in the middle",
  ],
] as const;
for (const [bytes, kind, why] of SHAPES) {
  test(`${bytes.toString("hex").slice(0, 30)} is ${kind}: ${why}`, () => {
    expect(readHello(bytes).kind).toBe(kind);
  });
}

// ---- through the proxy

const DOMAINS = {
  "127.0.0.1": "allow",
  "*.good.test": "allow",
  "bad.good.test": "deny",
} as const;

const TUNNELS = [ // first bytes of the client, whether they reach the origin, why
  [kept("bun_sni"), true, "an allowed name"],
  [kept("bun_no_sni"), true, "no name"],
  [Buffer.from("SSH-2.0-x\r\n"), true, "no TLS at all"],
  [hello(sni("evil.test")), false, "a name that is not allowed"],
  [hello(sni("bad.good.test")), false, "a name that is denied"],
  [hello(sni("BAD.good.test")), false, "case is no way round"],
  [hello(sni("a.good.test\0.evil")), false, "NUL in the name"],
  [hello([...sni("a.good.test"), ...sni("evil.test")]), false, "two names"],
] as const;
for (const [bytes, passes, why] of TUNNELS) {
  for (const pieces of [1, 3]) {
    test(`a tunnel that begins with ${bytes.toString("hex", 0, 12)}, in ${pieces}, ${passes ? "passes" : "is closed"}: ${why}`, async () => {
      let seen = 0;
      await using origin = await startOrigin(({ received }) => {
        seen = received.length;
      });
      await using proxy = startTestProxy({ domains: DOMAINS });
      using client = await openClient(proxy.http);
      client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
      await client.until((text) => text.endsWith("\r\n\r\n"));
      const size = Math.ceil(bytes.length / pieces);
      for (let at = 0; at < bytes.length; at += size) {
        client.socket.write(bytes.subarray(at, at + size));
        await Bun.sleep(5);
      }
      if (passes) {
        await comesToHold(() => seen >= bytes.length, 4_000);
        expect(seen).toBe(bytes.length);
      } else {
        await client.untilEnd();
        expect([client.ended, seen]).toEqual(["reset", 0]);
        expect(proxy.events.at(-1)).toMatchObject({ verdict: "failed" });
      }
    });
  }
}

test("a tunnel by SOCKS is closed for a server name that is not allowed", async () => {
  let seen = 0;
  await using origin = await startOrigin(({ received }) => {
    seen = received.length;
  });
  await using proxy = startTestProxy({ domains: DOMAINS });
  using client = await openClient(proxy.socks);
  const { port } = origin;
  client.socket.write(
    Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]),
  );
  await client.until((text) => text.length >= 12);
  client.socket.write(hello(sni("evil.test")));
  await client.untilEnd();
  expect([client.ended, seen]).toEqual(["reset", 0]);
});

test("half a ClientHello is not waited for longer than a head", async () => {
  await using origin = await startOrigin(() => {});
  await using proxy = startTestProxy({
    domains: DOMAINS,
    limits: { headMs: 500 },
  });
  using client = await openClient(proxy.http);
  client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
  await client.until((text) => text.endsWith("\r\n\r\n"));
  client.socket.write(kept("bun_sni").subarray(0, 100));
  await client.untilEnd();
  expect(client.ended).toBe("reset");
});

test("a protocol whose server speaks first is not held up", async () => {
  await using origin = await startOrigin(
    () => {},
    ({ socket }) => socket.write("220 ready\r\n"),
  );
  await using proxy = startTestProxy({ domains: DOMAINS });
  using client = await openClient(proxy.http);
  client.socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
  await client.until((text) => text.endsWith("220 ready\r\n"));
});

test("a real TLS client is stopped by its server name, and only by it", async () => {
  await using origin = await startOrigin(({ socket }) => socket.end());
  await using proxy = startTestProxy({ domains: DOMAINS });
  const firstBytes = async (servername: string): Promise<number> => {
    const before = origin.connections.length;
    const socket = connect(proxy.http, "127.0.0.1");
    socket.write(lines(`CONNECT 127.0.0.1:${origin.port} HTTP/1.1`));
    await new Promise((resolve) => socket.once("data", resolve));
    const secure = connectTls({
      socket,
      servername,
      rejectUnauthorized: false,
    });
    await new Promise((resolve) =>
      secure.once("error", resolve).once("close", resolve)
    );
    await Bun.sleep(10);
    return origin.connections[before]?.received.length ?? -1;
  };
  expect(await firstBytes("a.good.test")).toBeGreaterThan(100);
  expect(await firstBytes("evil.test")).toBe(0);
});

test("a ClientHello in five thousand records is none", () => {
  const begun = [0x16, 3, 1, 0, 4, 1, 0, 0xf0, 0];
  const one = [0x16, 3, 1, 0, 1, 0];
  const records = (count: number): Buffer =>
    Buffer.from([...begun, ...Array<number[]>(count).fill(one).flat()]);
  expect([readHello(records(4_000)).kind, readHello(records(5_000)).kind])
    .toEqual(["more", "malformed"]);
});
