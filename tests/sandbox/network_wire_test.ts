/**
 * Bytes that are no request, or two at once, from inside a real run: they are answered here, and no origin ever sees them.
 *
 * Every reader's own table, and what a response may look like, is in `tests/egress`. Here the same proxy is behind a real listener.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { BOTH_ACTORS, leaveClean, matrix } from "./harness.ts";
import { CLIENTS } from "./network_fact_rows.ts";

afterAll(leaveClean);

const seen: string[] = [];
const port = await new Promise<number>((ready) => {
  const server = createServer((socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      seen.push(text);
      text = "";
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  server.unref();
  server.listen(
    0,
    "127.0.0.1",
    () => ready((server.address() as AddressInfo).port),
  );
});

const AT = `http://127.0.0.1:${port}`;
const HOST = `Host: 127.0.0.1:${port}`;
const CLOSE = "Connection: close";

/** What printf writes, the answer's status, why. */
const HEADS = [
  [`GET ${AT}/ HTTP/1.1\\r\\n${HOST}\\r\\n${HOST}`, "400", "two Hosts"],
  [`GET ${AT}/ HTTP/1.1\\r\\nHost: a.test`, "400", "another Host"],
  [
    `POST ${AT}/ HTTP/1.1\\r\\nContent-Length: 3\\r\\nTransfer-Encoding: chunked`,
    "400",
    "two framings",
  ],
  [
    `POST ${AT}/ HTTP/1.1\\r\\nContent-Length: 3\\r\\nContent-Length: 4`,
    "400",
    "two lengths",
  ],
  [`POST ${AT}/ HTTP/1.1\\r\\nContent-Length: +3`, "400", "a sign"],
  [
    `POST ${AT}/ HTTP/1.1\\r\\nTransfer-Encoding: xchunked`,
    "400",
    "an unknown coding",
  ],
  [
    `POST ${AT}/ HTTP/1.0\\r\\nTransfer-Encoding: chunked`,
    "400",
    "chunks in 1.0",
  ],
  [`GET ${AT}/ HTTP/1.1\\r\\nX: a\\r\\n b`, "400", "a folded field"],
  [`GET ${AT}/ HTTP/1.1\\r\\nX : a`, "400", "a space before the colon"],
  [`GET ${AT}/ HTTP/1.1\\r\\nX: a\\rY: b`, "400", "a bare CR"],
  [`GET ${AT}/ HTTP/1.1\\nX: a`, "400", "a bare LF"],
  [`GET ${AT}/ HTTP/1.1\\r\\nX: a\\0b`, "400", "NUL in a field"],
  [`GET ${AT}/\\0 HTTP/1.1`, "400", "NUL in the target"],
  [`GET ${AT}/ HTTP/1.2`, "505", "another version"],
  [`GET  ${AT}/ HTTP/1.1`, "400", "two spaces"],
  [`GET ftp://127.0.0.1:${port}/ HTTP/1.1`, "400", "another scheme"],
  [`CONNECT 127.0.0.1:${port}/ HTTP/1.1`, "400", "a path in an authority"],
  ["CONNECT 127.0.0.1 HTTP/1.1", "403", "no port means 443"],
  ["PRI * HTTP/2.0", "505", "HTTP/2"],
] as const;

/** Behind the version and method, what printf writes; the reply, in hex; why. */
const SOCKS = [
  ["\\5\\1\\0\\3\\x09127.0.0.2\\0\\x50", "0502", "an address as a name"],
  ["\\5\\1\\0\\3\\x0a2130706433\\0\\x50", "0502", "an address as one number"],
  ["\\5\\1\\0\\3\\x0bexample\\0com\\0\\x50", "0501", "NUL in a name"],
  ["\\5\\1\\0\\3\\0\\0\\x50", "0501", "no name"],
  ["\\5\\1\\0\\5\\1\\1\\0\\x50", "0508", "an unknown kind of address"],
  ["\\5\\2\\0\\1\\x7f\\0\\0\\1\\0\\x50", "0507", "BIND"],
] as const;

matrix(
  "what is malformed or means two things is answered and never forwarded",
  BOTH_ACTORS,
  async ({ home, run }) => {
    writeFileSync(
      `${home}/config.toml`,
      `default_permissions = "net"\n[permissions.net]\nextends = ":workspace"\n[permissions.net.network]\ndomains = { "127.0.0.1:${port}" = "allow" }\n`,
    );
    seen.length = 0;
    const good = `GET ${AT}/good HTTP/1.1\\r\\n\\r\\n`;
    const heads = HEADS.map(([head]) =>
      // By itself, and behind a good request on the same connection.
      `status '${head}'; ask 3128 '${good}${head}\\r\\n${CLOSE}\\r\\n\\r\\n' | grep -o 'HTTP/1.1 [1-5][0-9][0-9]' | cut -c 10-`
    );
    const socks = SOCKS.map(([bytes]) => `socks '${bytes}'`);
    const long =
      `status "GET ${AT}/ HTTP/1.1\\r\\nX: $(head -c 70000 /dev/zero | tr '\\0' x)"`;
    const { end, stdout, stderr } = await run([
      ...["--report-blocked=never", "--", "bash", "-c"],
      `${CLIENTS}\n${[...heads, ...socks, long].join("\n")}`,
    ]);
    expect({ end, stderr, lines: stdout.trim().split("\n") }).toEqual({
      end: 0,
      stderr: "",
      lines: [
        ...HEADS.flatMap(([, status]) => [status, "200", status]),
        ...SOCKS.map(([, reply]) => reply),
        "431",
      ],
    });
    expect(seen).toEqual(
      HEADS.map(() => `GET /good HTTP/1.1\r\n${HOST}\r\n\r\n`),
    );
  },
);
