/**
 * Absolute `https://` targets: the proxy makes the TLS connection and verifies it.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { readUpstream } from "../../src/egress/upstream.ts";
import { fromText } from "../../src/bytes.ts";
import { ask, lines, startTestProxy } from "./fixtures.ts";

const dir = mkdtempSync(join(tmpdir(), "codex-https-"));
afterAll(() => rmSync(dir, { recursive: true }));
const hasOpenssl = Bun.which("openssl") !== null;

/** A TLS origin for a.allowed.test, with a certificate of its own; `seen` gets what it was asked. */
async function startTlsOrigin(
  seen: string[],
): Promise<{ port: number; ca: string; stop: () => void }> {
  const [key, certificate] = [
    join(dir, "key.pem"),
    join(dir, "certificate.pem"),
  ];
  Bun.spawnSync([
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-keyout",
    key,
    "-out",
    certificate,
    "-days",
    "2",
    "-subj",
    "/CN=a.allowed.test",
    "-addext",
    "subjectAltName=DNS:a.allowed.test",
  ]);
  const server = createServer({
    key: readFileSync(key),
    cert: readFileSync(certificate),
  }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      seen.push(bytes.toString("latin1"));
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  return {
    port: (server.address() as AddressInfo).port,
    ca: certificate,
    stop: () => server.close(),
  };
}

const lookup = () => Promise.resolve([{ address: "127.0.0.1" }]);

test.if(hasOpenssl)(
  "a certificate that nobody vouches for is 502, and nothing is sent",
  async () => {
    const seen: string[] = [];
    const origin = await startTlsOrigin(seen);
    await using proxy = startTestProxy({ lookup });
    const answer = await ask(
      proxy.http,
      lines(`GET https://a.allowed.test:${origin.port}/secret HTTP/1.1`),
    );
    expect(answer).toMatch(
      /^HTTP\/1\.1 502[^]*TLS failed: DEPTH_ZERO_SELF_SIGNED_CERT/,
    );
    expect(seen).toEqual([]);
    origin.stop();
  },
);

test.if(hasOpenssl)(
  "a trusted origin is spoken to in TLS, by its name and no other",
  async () => {
    const seen: string[] = [];
    const origin = await startTlsOrigin(seen);
    const script = join(dir, "client.ts");
    const fixtures = join(import.meta.dirname ?? ".", "fixtures.ts");
    // A process of its own: the trusted roots are read at its start.
    writeFileSync(
      script,
      `import { ask, lines, startTestProxy } from ${JSON.stringify(fixtures)};
const proxy = startTestProxy({ lookup: () => Promise.resolve([{ address: "127.0.0.1" }]) });
const get = (host, ...extra) => lines(\`GET https://\${host}:${origin.port}/p HTTP/1.1\`, ...extra);
const twice = get("a.allowed.test") + get("a.allowed.test", "Connection: close");
console.log(JSON.stringify([await ask(proxy.http, twice), await ask(proxy.http, get("b.allowed.test"))]));
process.exit(0);
`,
    );
    const child = Bun.spawn([process.execPath, script], {
      env: { NODE_EXTRA_CA_CERTS: origin.ca },
      stdout: "pipe",
      stderr: "inherit",
    });
    const [good, other] = JSON.parse(await new Response(child.stdout).text());
    expect(good).toBe(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    );
    expect(other).toMatch(
      /^HTTP\/1\.1 502[^]*TLS failed: ERR_TLS_CERT_ALTNAME_INVALID/,
    );
    expect(seen).toEqual([
      lines("GET /p HTTP/1.1", `Host: a.allowed.test:${origin.port}`),
      lines("GET /p HTTP/1.1", `Host: a.allowed.test:${origin.port}`),
    ]);
    origin.stop();
  },
);

test("policy and limits hold for https targets too", async () => {
  await using proxy = startTestProxy({
    upstream: readUpstream([fromText("HTTP_PROXY=http://127.0.0.1:1")]),
  });
  expect(
    await ask(
      proxy.http,
      lines("GET https://other.test/ HTTP/1.1", "Connection: close"),
    ),
  ).toContain('"port":443');
  expect(await ask(proxy.http, lines("GET https://a.allowed.test/ HTTP/1.1")))
    .toContain("behind a proxy further up need CONNECT");
});
