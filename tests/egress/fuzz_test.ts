/**
 * Untrusted bytes: whatever comes in, nothing throws, cuts change nothing, and what is accepted means one thing only.
 *
 * Mutations of the kept corpus (`tests/corpus`), fixed seed; `npm run fuzz` tries more.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readProxyRequest } from "../../src/egress/http.ts";
import {
  type BodyReader,
  bodyReader,
  readBody,
} from "../../src/egress/http_body.ts";
import {
  findHeadEnd,
  parseRequestHead,
  parseResponseHead,
} from "../../src/egress/http_head.ts";
import { readGreeting, readSocksRequest } from "../../src/egress/socks5.ts";
import { readHello } from "../../src/egress/tls_hello.ts";
import {
  formatEndpoint,
  formatHost,
  parseHost,
  sameHost,
} from "../../src/policy/host.ts";
import { parsePattern } from "../../src/policy/pattern.ts";
import { formatPattern } from "../policy/format_pattern.ts";
import {
  type Check,
  corpus,
  fuzz as inputs,
  FUZZ_TIMEOUT_MS,
} from "../fuzzing.ts";
import { READERS } from "./fuzz_readers.ts";

const RUNS = 20_000;

const TOKENS = [
  "\r\n",
  "\n",
  "\r",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "@",
  "%",
  "[",
  "]",
  "/",
  "\\",
  "#",
  "*",
  ".",
  "\x05",
  "\x01\x03",
  "\xff",
  "Host: b.test\r\n",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Connection: host\r\n",
  "0\r\n\r\n",
  "127.0.0.1",
  "::1",
  "0x7f",
  "xn--",
  "http://",
].map((text) => Buffer.from(text, "latin1"));

/** Mutations of the corpus, {@linkcode RUNS} of them where nobody asks for more. @returns the inputs tried */
function fuzz(room: string, seed: number, check: Check): number {
  const reads = READERS[room];
  return inputs({
    room,
    seed,
    runs: RUNS,
    tokens: TOKENS,
    ...(reads === undefined ? {} : { reads }),
  }, check);
}

function holds(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

test(
  "a request that is accepted is forwarded as one unambiguous request for the judged host",
  () => {
    let forwarded = 0;
    const tried = fuzz("http", 11, (bytes) => {
      const end = findHeadEnd(bytes, 0);
      if (!end.ok || end.value === null) return;
      const head = parseRequestHead(bytes.toString("latin1", 0, end.value));
      if (!head.ok) return;
      const request = readProxyRequest(head.value);
      if (!request.ok || request.value.kind === "unix_socket") return;
      const { endpoint } = request.value;
      const again = parseHost(formatHost(endpoint.host));
      holds(
        again.ok && sameHost(again.value, endpoint.host),
        "the host is not in normal form",
      );
      if (request.value.kind !== "forward") return;
      forwarded++;
      const sent = request.value.head;
      holds(
        // deno-lint-ignore no-control-regex
        !/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|[^\r]\n/.test(sent),
        "a control character is forwarded",
      );
      holds(
        sent.indexOf("\r\n\r\n") === sent.length - 4,
        "the head ends twice",
      );
      const parsed = parseRequestHead(sent);
      if (!parsed.ok) throw new Error("our own head is refused");
      const { fields } = parsed.value;
      holds(
        fields.filter(({ key }) => key === "host").length === 1,
        "not one Host",
      );
      holds(
        fields.filter(({ key }) =>
          key === "content-length" || key === "transfer-encoding"
        ).length <= 1,
        "two framings",
      );
      const second = readProxyRequest(parsed.value);
      if (!second.ok || second.value.kind !== "forward") {
        throw new Error("our own request is refused");
      }
      holds(
        formatEndpoint(second.value.endpoint) === formatEndpoint(endpoint),
        "the origin could see another host",
      );
      holds(
        JSON.stringify(second.value.framing) ===
          JSON.stringify(request.value.framing),
        "the origin could see another body",
      );
      holds(
        second.value.head === sent,
        "rewriting twice is not rewriting once",
      );
    });
    expect(forwarded).toBeGreaterThan(tried / 20);
  },
  FUZZ_TIMEOUT_MS,
);

test("a head is found at the same place however it arrives", () => {
  fuzz("http", 12, (bytes, random) => {
    const whole = findHeadEnd(bytes, 0);
    const cut = random(bytes.length + 1);
    const early = findHeadEnd(bytes.subarray(0, cut), 0);
    if (!early.ok) {
      // A bare line end before the head's end: the whole must not be accepted as a request either.
      if (whole.ok && whole.value !== null) {
        holds(
          !parseRequestHead(bytes.toString("latin1", 0, whole.value)).ok,
          "refused early, accepted late",
        );
      }
    } else if (early.value === null) {
      const late = findHeadEnd(bytes, cut);
      holds(
        late.ok === whole.ok &&
          (!late.ok || !whole.ok || late.value === whole.value),
        "another end",
      );
    } else holds(whole.ok && whole.value === early.value, "the end moved");
  });
}, FUZZ_TIMEOUT_MS);

test("a response head never throws", () => {
  fuzz("http", 13, (bytes) => {
    parseResponseHead(
      bytes.toString("latin1").replace(/^[^\r]*/, "HTTP/1.1 200 OK"),
    );
  });
}, FUZZ_TIMEOUT_MS);

test(
  "a chunked body decodes alike however it is cut, and never beyond its end",
  () => {
    const decode = (bytes: Buffer, cut: number): string => {
      const reader: BodyReader = bodyReader({ kind: "chunked" });
      let text = "";
      let at = 0;
      for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (reader.done) break;
        const used = readBody(reader, part, 0, (data) => {
          text += data.toString("latin1");
        });
        if (!used.ok) return "!";
        at += used.value;
      }
      return `${text}|${reader.done ? at : "more"}`;
    };
    fuzz("chunks", 14, (bytes, random) => {
      holds(
        decode(bytes, bytes.length) === decode(bytes, random(bytes.length + 1)),
        "a cut changes the body",
      );
    });
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "SOCKS messages are read alike however they are cut, and name one host",
  () => {
    let connected = 0;
    const tried = fuzz("socks", 15, (bytes, random) => {
      const cut = random(bytes.length + 1);
      const whole = readSocksRequest(bytes);
      const early = readSocksRequest(bytes.subarray(0, cut));
      holds(
        early.kind === "more" ||
          JSON.stringify(early) === JSON.stringify(whole),
        "a cut changes the request",
      );
      if (whole.kind === "connect") {
        connected++;
        const again = parseHost(formatHost(whole.endpoint.host));
        holds(
          again.ok && sameHost(again.value, whole.endpoint.host),
          "the host is not in normal form",
        );
        holds(
          whole.used <= bytes.length && whole.endpoint.port > 0,
          "more was read than came",
        );
      }
      const greeting = readGreeting(bytes);
      const earlyGreeting = readGreeting(bytes.subarray(0, cut));
      holds(
        earlyGreeting.kind === "more" || earlyGreeting.kind === greeting.kind,
        "a cut changes the greeting",
      );
    });
    expect(connected).toBeGreaterThan(tried / 50);
  },
  FUZZ_TIMEOUT_MS,
);

test("a ClientHello is read alike however it is cut", () => {
  fuzz("tls", 16, (bytes, random) => {
    const whole = readHello(bytes);
    const early = readHello(bytes.subarray(0, random(bytes.length + 1)));
    holds(
      early.kind === "more" || JSON.stringify(early) === JSON.stringify(whole),
      "a cut changes the name",
    );
  });
}, FUZZ_TIMEOUT_MS);

test(
  "a host is its own normal form, and the runtime's URL parser reads no other",
  () => {
    let compared = 0;
    const tried = fuzz("hosts", 17, (bytes) => {
      const text = bytes.toString("utf8");
      const host = parseHost(text);
      if (!host.ok) return;
      const normal = formatHost(host.value);
      holds(/^[a-z0-9._:%-]+$/.test(normal), "an odd character");
      const again = parseHost(normal);
      holds(
        again.ok && sameHost(again.value, host.value),
        "not its own normal form",
      );
      if (normal.includes("%") || normal.startsWith("-")) return;
      let theirs: string;
      try {
        theirs =
          new URL(`http://${normal.includes(":") ? `[${normal}]` : normal}/`)
            .hostname;
      } catch {
        // Stricter than we are, about names with underscores and hyphens in odd places: then nobody can be misled.
        return;
      }
      holds(
        theirs.replace(/^\[|\]$/g, "") === normal,
        `the URL parser reads ${theirs}`,
      );
      compared++;
    });
    expect(compared).toBeGreaterThan(tried / 20);
  },
  FUZZ_TIMEOUT_MS,
);

test("a pattern means the same as its normal form", () => {
  let accepted = 0;
  const tried = fuzz("hosts", 18, (bytes) => {
    const pattern = parsePattern(bytes.toString("utf8"));
    if (!pattern.ok) return;
    accepted++;
    const again = parsePattern(formatPattern(pattern.value));
    holds(
      again.ok && JSON.stringify(again.value) === JSON.stringify(pattern.value),
      formatPattern(pattern.value),
    );
  });
  expect(accepted).toBeGreaterThan(tried / 20);
}, FUZZ_TIMEOUT_MS);

test("the corpus is there", () => {
  for (const room of ["http", "socks", "chunks", "tls", "hosts"]) {
    expect(corpus(room).length).toBeGreaterThan(3);
  }
});
