/**
 * What another reader makes of it: whatever the proxy accepts means the same to llhttp and to small readers written apart from ours.
 *
 * Refusing more than we do is no difference: then nobody is misled.
 *
 * @module
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { readProxyRequest, rewriteResponse } from "../../src/egress/http.ts";
import {
  bodyReader,
  type Framing,
  readBody,
  responseFraming,
} from "../../src/egress/http_body.ts";
import {
  findHeadEnd,
  parseRequestHead,
  parseResponseHead,
} from "../../src/egress/http_head.ts";
import { readSocksRequest } from "../../src/egress/socks5.ts";
import { formatHost, parseHost } from "../../src/policy/host.ts";
import { allows, denies, parsePattern } from "../../src/policy/pattern.ts";
import { formatPattern } from "../policy/format_pattern.ts";
import { type Check, corpus, fuzz, FUZZ_TIMEOUT_MS } from "../fuzzing.ts";
import { READERS } from "./fuzz_readers.ts";
import { messagesOf } from "./llhttp.ts";

const RUNS = 10_000;
const NEXT = "GET /next HTTP/1.1\r\nHost: next.test\r\n\r\n";
const BODY = "0123456789";

const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1");
const TOKENS = [
  ..."\r\n,\n,\r,\0, ,\t,:,;,@,%,[,],/,\\,#,*,.,\x05,\x01\x03,\xff,\x0b,\x0c,\x85,\xa0"
    .split(","),
  ..."Host: b.test\r\n|Content-Length: 5\r\n|Content-Length: +5\r\n|Transfer-Encoding: chunked\r\n"
    .split("|"),
  ..."Transfer-Encoding:\tchunked\r\n|Connection: host\r\n|0\r\n\r\n|127.0.0.1|::1|xn--|http://|**.|a*b"
    .split("|"),
].map(bytesOf);

function fuzzRoom(
  room: string,
  seed: number,
  grammar: fc.Arbitrary<string> | null,
  check: Check,
): number {
  const reads = READERS[room];
  return fuzz({
    room,
    seed,
    runs: RUNS,
    tokens: TOKENS,
    ...(grammar === null ? {} : { grammar: grammar.map(bytesOf) }),
    ...(reads === undefined ? {} : { reads }),
  }, check);
}

function same(theirs: unknown, ours: unknown, what: string): void {
  const [a, b] = [JSON.stringify(theirs), JSON.stringify(ours)];
  if (a !== b) throw new Error(`${what}: they read ${a}, we read ${b}`);
}

const blank = fc.constantFrom("", " ", "\t", "  ");
const field = fc.tuple(
  fc.constantFrom(
    ..."Host Accept Connection Content-Length Transfer-Encoding Expect Upgrade TE X-A Trailer Keep-Alive Via host"
      .split(" "),
  ),
  blank,
  fc.constantFrom(
    ...'a.test|b.test:80|5|10|0|05|chunked|gzip, chunked|close|keep-alive|100-continue|websocket|a\xffb|x, y|"q;"||host, content-length'
      .split("|"),
  ),
  blank,
).map(([name, before, value, after]) => `${name}:${before}${value}${after}`);
const head = fc.tuple(
  fc.constantFrom(
    "GET",
    "POST",
    "PUT",
    "OPTIONS",
    "HEAD",
    "DELETE",
    "M-SEARCH",
  ),
  fc.constantFrom(
    ..."http://a.test/|http://a.test|http://A.test:80/p?q#f|http://u@a.test/%20|/origin|*|https://a.test/x|http://[::1]:81/|http://a.test/\xff"
      .split("|"),
  ),
  fc.constantFrom("1.1", "1.1", "1.0"),
  fc.uniqueArray(field, {
    maxLength: 6,
    selector: (text) => text.split(":")[0]!.toLowerCase(),
  }),
);
const request = head.map(([method, target, version, fields]) =>
  `${[`${method} ${target} HTTP/${version}`, ...fields].join("\r\n")}\r\n\r\n`
);
const response = fc.tuple(
  fc.constantFrom(
    "200 OK",
    "204 None",
    "304 Old",
    "404",
    "500 x\xffy",
    "101 S",
  ),
  fc.constantFrom("1.1", "1.0"),
  fc.uniqueArray(field, {
    maxLength: 5,
    selector: (text) => text.split(":")[0]!.toLowerCase(),
  }),
).map(([status, version, fields]) =>
  `${[`HTTP/${version} ${status}`, ...fields].join("\r\n")}\r\n\r\n`
);

/** A body of this framing as we send it, and what it says. */
function bodyOf(
  framing: Framing,
): { readonly sent: string; readonly text: string } {
  switch (framing.kind) {
    case "none":
      return { sent: "", text: "" };
    case "length": {
      const text = BODY.repeat(Math.ceil(framing.bytes / BODY.length))
        .slice(0, framing.bytes);
      return { sent: text, text };
    }
    case "chunked":
      return { sent: `a\r\n${BODY}\r\n0\r\n\r\n`, text: BODY };
    case "until_close":
      return { sent: BODY, text: BODY };
  }
}

test(
  "a forwarded request is one request to llhttp, with our target, our fields and our body",
  () => {
    let accepted = 0;
    const tried = fuzzRoom("http", 31, request, (bytes) => {
      const end = findHeadEnd(bytes, 0);
      if (!end.ok || end.value === null) return;
      const parsed = parseRequestHead(bytes.toString("latin1", 0, end.value));
      if (!parsed.ok) return;
      const forward = readProxyRequest(parsed.value);
      if (!forward.ok || forward.value.kind !== "forward") return;
      const { framing, head: sent, version, upgrade } = forward.value;
      if (framing.kind === "length" && framing.bytes > 10_000) return;
      const ours = parseRequestHead(sent);
      if (!ours.ok) throw new Error("our own head is refused");
      const body = bodyOf(framing);
      const theirs = messagesOf(
        "request",
        bytesOf(`${sent}${body.sent}${NEXT}`),
      );
      const first = theirs?.[0];
      if (theirs === null || first === undefined) return;
      accepted++;
      same(first.method, ours.value.method, "method");
      same(first.url, ours.value.target, "target");
      const fields = ours.value.fields.flatMap((
        { name, value },
      ) => [name, value]);
      same(first.fields, fields, "fields");
      if (upgrade) return; // what follows is no HTTP
      same(first.body, body.text, "body");
      same(first.isComplete, true, "the end");
      // An HTTP/1.0 request ends its connection, for llhttp.
      if (version === 1) same(theirs[1]?.url, "/next", "the next request");
    });
    expect(accepted).toBeGreaterThan(tried / 20);
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "a response that is passed on is one response to llhttp, with our status, our fields and our body",
  () => {
    let accepted = 0;
    const tried = fuzzRoom("responses", 32, response, (bytes, random) => {
      const end = findHeadEnd(bytes, 0);
      if (!end.ok || end.value === null) return;
      const parsed = parseResponseHead(bytes.toString("latin1", 0, end.value));
      // An interim response and a switch are other functions' work.
      if (!parsed.ok || parsed.value.status < 200) return;
      const framing = responseFraming(parsed.value, "GET");
      if (!framing.ok) return;
      const version = random(2) === 0 ? 0 : 1;
      const passed = rewriteResponse(parsed.value, framing.value, {
        version,
        keepAlive: random(2) === 0,
      });
      const length = passed.framing.kind === "length"
        ? passed.framing.bytes
        : 0;
      if (length > 10_000) return;
      const ours = parseResponseHead(passed.head);
      if (!ours.ok) throw new Error("our own head is refused");
      const body = bodyOf(passed.framing);
      const theirs = messagesOf(
        "response",
        bytesOf(`${passed.head}${body.sent}`),
      );
      const first = theirs?.[0];
      if (theirs === null || first === undefined) return;
      accepted++;
      same(first.status, ours.value.status, "status");
      const fields = ours.value.fields.flatMap((
        { name, value },
      ) => [name, value]);
      same(first.fields, fields, "fields");
      same(first.body, body.text, "body");
      same(theirs.length, 1, "the number of responses");
    });
    expect(accepted).toBeGreaterThan(tried / 20);
  },
  FUZZ_TIMEOUT_MS,
);

const chunk = fc.tuple(
  fc.string({ maxLength: 20, unit: fc.constantFrom("a", "\r", "\n", "0") }),
  fc.constantFrom("", ";a", ";a=b", ' ;a="b;c"', ";", "\t; x"),
  fc.boolean(),
).map(([data, extension, upper]) => {
  const size = data.length.toString(16);
  return data === ""
    ? ""
    : `${upper ? size.toUpperCase() : `0${size}`}${extension}\r\n${data}\r\n`;
});
const chunks = fc.tuple(
  fc.array(chunk, { maxLength: 4 }),
  fc.constantFrom("0", "000", "0;x"),
  fc.constantFrom("", "A: b\r\n", "A: b\r\nC:\r\n", "Content-Length: 3\r\n"),
).map(([parts, last, trailer]) => `${parts.join("")}${last}\r\n${trailer}\r\n`);

test(
  "a chunked body that is read to its end has the same bytes and the same end for llhttp",
  () => {
    const start =
      "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let accepted = 0;
    const tried = fuzzRoom("chunks", 33, chunks, (bytes) => {
      const reader = bodyReader({ kind: "chunked" });
      let text = "";
      const end = readBody(reader, bytes, 0, (data) => {
        text += data.toString("latin1");
      });
      if (!end.ok || !reader.done) return;
      const whole = bytesOf(
        `${start}${bytes.toString("latin1", 0, end.value)}${NEXT}`,
      );
      const theirs = messagesOf("request", whole);
      // Refused in the middle: stricter than we are about extensions and trailers.
      if (theirs === null || theirs[0]?.isComplete !== true) return;
      accepted++;
      same(theirs[0].body, text, "body");
      same(theirs[1]?.url, "/next", "the next request");
    });
    expect(accepted).toBeGreaterThan(tried / 20);
  },
  FUZZ_TIMEOUT_MS,
);

const socks = fc.oneof(
  fc.tuple(fc.constant("\x01"), fc.string({ minLength: 4, maxLength: 4 })),
  fc.tuple(fc.constant("\x04"), fc.string({ minLength: 16, maxLength: 16 })),
  fc.tuple(
    fc.constant("\x03"),
    fc.constantFrom("a.test", "A.Test.", "10.1.2.3", "0x7f.1", "::1", "x")
      .map((name) => `${String.fromCharCode(name.length)}${name}`),
  ),
).chain(([type, address]) =>
  fc.tuple(
    fc.constantFrom("\x01", "\x01", "\x01", "\x02", "\x03"),
    fc.constantFrom("\0P", "\x01\xbb", "\0\0", "\xff\xff"),
    fc.constantFrom("", "GET / HTTP/1.1\r\n"),
  ).map(([command, port, rest]) =>
    `\x05${command}\0${type}${address}${port}${rest}`
  )
);

test(
  "a SOCKS request that is accepted has the host, the port and the end that RFC 1928 gives it",
  () => {
    let accepted = 0;
    const tried = fuzzRoom("socks", 34, socks, (bytes) => {
      const ours = readSocksRequest(bytes);
      if (ours.kind !== "connect") return;
      accepted++;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const type = view.getUint8(3);
      const at = type === 3 ? 5 : 4;
      const size = type === 3 ? view.getUint8(4) : type === 1 ? 4 : 16;
      same(
        [view.getUint8(0), view.getUint8(1), view.getUint8(2)],
        [5, 1, 0],
        "version, command, reserved",
      );
      same(view.getUint16(at + size), ours.endpoint.port, "port");
      same(at + size + 2, ours.used, "the end");
      const address = bytes.subarray(at, at + size);
      const host = formatHost(ours.endpoint.host);
      if (type === 1) same(address.join("."), host, "address");
      if (type === 4) {
        const groups = address.toString("hex").match(/.{4}/g)!.join(":");
        const theirs = new URL(`http://[${groups}]/`).hostname.slice(1, -1);
        // `::a.b.c.d` and `::ffff:a.b.c.d` are judged as IPv4, and being oddly spelled they are never allowed.
        const isInside = /^0{20}(?:ffff|0000(?!000000))/.test(
          address.toString("hex"),
        );
        const { host: read } = ours.endpoint;
        if (!isInside) same(theirs, host, "address");
        else {
          same(address.subarray(12).join("."), host, "the address inside");
          same(read.kind === "address" && read.usual, false, "usual");
        }
      }
      if (
        type === 3 && /^[a-z-][a-z0-9.-]*$/i.test(address.toString("latin1"))
      ) {
        const name = address.toString("latin1").toLowerCase().replace(
          /\.+$/,
          "",
        );
        if (!/(^|\.)(0x)?[0-9a-f]*$/.test(name)) same(name, host, "name");
      }
    });
    expect(accepted).toBeGreaterThan(tried / 50);
  },
  FUZZ_TIMEOUT_MS,
);

/** A pattern's normal form as a regular expression: the other implementation. */
function expressionOf(normal: string): RegExp {
  const plain = (text: string): string =>
    text.replace(/[.*+?^${}()|[\]\\-]/g, "\\$&");
  if (normal === "*") return /^/;
  if (normal.startsWith("**.")) {
    return new RegExp(`^(.+\\.)?${plain(normal.slice(3))}$`);
  }
  if (normal.startsWith("*.")) {
    return new RegExp(`^.+\\.${plain(normal.slice(2))}$`);
  }
  return new RegExp(`^${normal.split("*").map(plain).join(".*")}$`);
}

const label = fc.constantFrom(
  "a",
  "test",
  "x-y",
  "B",
  "1",
  "ä",
  "xn--e1",
  "_s",
);
const pattern = fc.tuple(
  fc.constantFrom("", "", "*.", "**.", "*", "a*", "-"),
  fc.array(label, { minLength: 1, maxLength: 3 }),
  fc.constantFrom("", ".", "*", ":80"),
).map(([before, labels, after]) => `${before}${labels.join(".")}${after}`);

test(
  "a domain pattern matches what its regular expression matches, and a deny covers its allow",
  () => {
    const names = corpus("hosts").map((bytes) => bytes.toString("utf8"));
    let matched = 0;
    const tried = fuzz(
      {
        room: "hosts",
        seed: 35,
        runs: RUNS,
        tokens: TOKENS,
        grammar: pattern.map((text) => Buffer.from(text)),
      },
      (bytes, random) => {
        const read = parsePattern(bytes.toString("utf8"));
        if (!read.ok || read.value.host.kind === "range") return;
        const { host: meant } = read.value;
        const normal = formatPattern({ host: meant, port: null });
        const expression = expressionOf(normal);
        const port = read.value.port ?? 443;
        const spelled = ["", "b", "b.c", "x."].flatMap((text) => [
          normal.replace(/\*+/, text),
          `${text}${normal.replaceAll("*", "")}`,
          `${normal.replaceAll("*", "")}${text}`,
        ]);
        for (const name of [...spelled, names[random(names.length)]!]) {
          const host = parseHost(name);
          if (!host.ok) continue;
          const isAllowed = allows(read.value, host.value, port);
          const text = formatHost(host.value);
          const isName = host.value.kind === "name";
          if (isName || meant.kind === "address") {
            const usual = host.value.kind === "name" || host.value.usual;
            // With nothing but numbers around its star it is a pattern of addresses.
            const isMeant = !isName || !/^\d+\.[\d.]*\*[\d.]*$/.test(normal);
            const isMatch = expression.test(text) && isMeant;
            same(isMatch && usual, isAllowed, `"${text}"`);
          }
          if (isAllowed) matched++;
          if (isAllowed && !denies(read.value, host.value, port)) {
            throw new Error(`"${text}" is allowed by what can't deny it`);
          }
          if (read.value.port !== null && allows(read.value, host.value, 1)) {
            same(read.value.port, 1, "port");
          }
        }
      },
    );
    expect(matched).toBeGreaterThan(tried / 4);
  },
  FUZZ_TIMEOUT_MS,
);
