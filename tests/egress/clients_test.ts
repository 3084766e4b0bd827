/**
 * Programs that people use, led to the proxy by the variables alone. A program that is not installed is skipped by name.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromText } from "../../src/bytes.ts";
import { proxiedEnvironment } from "../../src/egress/environment.ts";
import {
  policyOf,
  startOrigin,
  startTestProxy,
  type TestProxy,
} from "./fixtures.ts";

const dir = mkdtempSync(join(tmpdir(), "codex-clients-"));
afterAll(() => rmSync(dir, { recursive: true }));

const DOMAINS = {
  "*.allowed.test": "allow",
  "deny.allowed.test": "deny",
} as const;

/** A proxy for which every name is on the loopback. */
function startNamedProxy(): TestProxy {
  return startTestProxy({
    domains: DOMAINS,
    lookup: () => Promise.resolve([{ address: "127.0.0.1" }]),
  });
}

/** A small web server: path to content. */
function startWeb(
  files: (path: string, port: number) => Buffer | string | null,
): Promise<Awaited<ReturnType<typeof startOrigin>>> {
  return startOrigin((connection) => {
    for (;;) {
      const end = connection.received.indexOf("\r\n\r\n");
      if (end === -1) return;
      const [, path = ""] = connection.received.split(" ");
      connection.received = connection.received.slice(end + 4);
      const content = files(
        decodeURIComponent(path),
        connection.socket.localPort ?? 0,
      );
      const body = Buffer.from(content ?? "none");
      connection.socket.write(
        `HTTP/1.1 ${
          content === null ? "404 Not Found" : "200 OK"
        }\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      connection.socket.write(body);
    }
  });
}

/** Runs a program with the variables of a proxied command. */
async function run(
  proxy: TestProxy,
  argv: readonly string[],
  extra: Readonly<Record<string, string>> = {},
): Promise<{ status: number; out: string; err: string }> {
  const executable = join(dir, "executable");
  const entries = proxiedEnvironment(
    [`PATH=${process.env.PATH}`, `HOME=${dir}`].map(fromText),
    {
      httpPort: proxy.http,
      socksPort: proxy.socks,
      policy: policyOf(DOMAINS),
      executable,
    },
  );
  const env: Record<string, string> = {};
  for (const entry of entries) {
    env[entry.slice(0, entry.indexOf("="))] = entry.slice(
      entry.indexOf("=") + 1,
    );
  }
  const child = Bun.spawn([...argv], {
    cwd: dir,
    env: { ...env, ...extra },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, out, err };
}

/** A test of a program, skipped where it is missing. */
function client(
  program: string,
  title: string,
  body: () => Promise<void>,
): void {
  if (Bun.which(program) === null) {
    test.skip(`${title} (${program} is not installed)`, body);
  } else test(title, body);
}

client(
  "curl",
  "curl by HTTP, by CONNECT and by SOCKS reaches allowed hosts and no others",
  async () => {
    await using web = await startWeb(() => "hello");
    await using proxy = startNamedProxy();
    const url = `http://a.allowed.test:${web.port}/`;
    for (
      const argv of [["curl", "-sS", url], ["curl", "-sSp", url], [
        "curl",
        "-sS",
        "--proxy",
        `socks5h://127.0.0.1:${proxy.socks}`,
        url,
      ]]
    ) {
      expect(await run(proxy, argv)).toEqual({
        status: 0,
        out: "hello",
        err: "",
      });
    }
    const refused = await run(proxy, ["curl", "-sS", "http://other.test/"]);
    expect(refused.out).toContain('"reason":"not_allowed"');
    expect(
      (await run(proxy, ["curl", "-sS", `https://deny.allowed.test/`])).err,
    ).toContain("403");
  },
);

client(
  "curl",
  "curl uploads 20 MB with 100-continue, chunked and with a length",
  async () => {
    const size = 20 * 1024 * 1024;
    writeFileSync(join(dir, "upload"), Buffer.alloc(size, "u"));
    await using web = await startOrigin((connection) => {
      const { socket, received } = connection;
      if (
        /expect: 100-continue/i.test(received) && received.endsWith("\r\n\r\n")
      ) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      const whole = /transfer-encoding: chunked/i.test(received)
        ? received.endsWith("0\r\n\r\n")
        : received.length > size;
      if (whole) {
        const count = received.split("u".repeat(1_024)).length;
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Length: ${
            String(count).length
          }\r\n\r\n${count}`,
        );
      }
    });
    await using proxy = startNamedProxy();
    const url = `http://a.allowed.test:${web.port}/`;
    for (const extra of [[], ["-H", "Transfer-Encoding: chunked"]]) {
      const result = await run(proxy, [
        "curl",
        "-sS",
        "-T",
        "upload",
        ...extra,
        url,
      ]);
      expect(result.err).toBe("");
      expect(Number(result.out)).toBeGreaterThan(size / 1_024 * 0.9);
    }
  },
);

client(
  "python3",
  "Python's urllib reaches an allowed host and is refused elsewhere",
  async () => {
    await using web = await startWeb(() => "hello");
    await using proxy = startNamedProxy();
    const code = (
      url: string,
    ): string[] => [
      "python3",
      "-c",
      `import urllib.request; print(urllib.request.urlopen("${url}").read().decode())`,
    ];
    expect((await run(proxy, code(`http://a.allowed.test:${web.port}/`))).out)
      .toBe("hello\n");
    expect((await run(proxy, code("http://other.test/"))).err).toContain("403");
  },
);

client("git", "git clones over HTTP", async () => {
  const git = (...words: string[]): void => {
    const result = Bun.spawnSync([
      "git",
      "-c",
      "user.name=t",
      "-c",
      "user.email=t@t.test",
      "-c",
      "init.defaultBranch=main",
      ...words,
    ], { cwd: dir, env: { PATH: process.env.PATH ?? "", HOME: dir } });
    if (result.exitCode !== 0) throw new Error(result.stderr.toString());
  };
  git("init", "-q", "source");
  writeFileSync(join(dir, "source/file"), "content");
  git("-C", "source", "add", ".");
  git("-C", "source", "commit", "-qm", "first");
  git("-C", "source", "update-server-info");
  await using web = await startWeb((path) => {
    try {
      return readFileSync(
        join(
          dir,
          "source/.git",
          path.replace(/\?.*/, "").replace("/r.git/", ""),
        ),
      );
    } catch {
      return null;
    }
  });
  await using proxy = startNamedProxy();
  const result = await run(proxy, [
    "git",
    "clone",
    "-q",
    `http://git.allowed.test:${web.port}/r.git`,
    "copy",
  ]);
  expect(result).toEqual({ status: 0, out: "", err: "" });
  expect(readFileSync(join(dir, "copy/file"), "utf8")).toBe("content");
});

client("npm", "npm installs from a registry", async () => {
  mkdirSync(join(dir, "package"));
  writeFileSync(
    join(dir, "package/package.json"),
    '{"name":"tiny","version":"1.0.0"}',
  );
  Bun.spawnSync(["tar", "czf", "tiny.tgz", "package"], { cwd: dir });
  const tarball = readFileSync(join(dir, "tiny.tgz"));
  await using web = await startWeb((path, port) =>
    path === "/tiny"
      ? JSON.stringify({
        name: "tiny",
        "dist-tags": { latest: "1.0.0" },
        versions: {
          "1.0.0": {
            name: "tiny",
            version: "1.0.0",
            dist: { tarball: `http://npm.allowed.test:${port}/tiny.tgz` },
          },
        },
      })
      : path === "/tiny.tgz"
      ? tarball
      : null
  );
  await using proxy = startNamedProxy();
  const result = await run(proxy, [
    "npm",
    "install",
    "--prefix",
    join(dir, "npm"),
    "--no-audit",
    "--no-fund",
    "--registry",
    `http://npm.allowed.test:${web.port}/`,
    "tiny",
  ]);
  // npm warns about a variable that older versions of it need.
  expect(result.status).toBe(0);
  expect(readFileSync(join(dir, "npm/node_modules/tiny/package.json"), "utf8"))
    .toContain("tiny");
});

client("java", "a JVM is led by JAVA_TOOL_OPTIONS", async () => {
  writeFileSync(
    join(dir, "Main.java"),
    "public class Main { public static void main(String[] a) throws Exception { System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }",
  );
  await using web = await startWeb(() => "hello");
  await using proxy = startNamedProxy();
  const result = await run(proxy, [
    "java",
    "Main.java",
    `http://a.allowed.test:${web.port}/`,
  ]);
  expect(result.out).toBe("hello");
  expect((await run(proxy, ["java", "Main.java", "http://other.test/"])).err)
    .toContain("403");
});

test("fetch of this runtime", async () => {
  await using web = await startWeb(() => "hello");
  await using proxy = startNamedProxy();
  const result = await run(proxy, [
    process.execPath,
    "-e",
    `console.log(await (await fetch("http://a.allowed.test:${web.port}/")).text())`,
  ]);
  expect(result.out).toBe("hello\n");
});

/** Our executable's `proxy-connect`, from source. */
function writeProxyConnect(): string {
  const module = join(
    import.meta.dirname ?? ".",
    "../../src/egress/proxy_connect.ts",
  );
  const bytes = join(import.meta.dirname ?? ".", "../../src/bytes.ts");
  const script = join(dir, "proxy_connect.ts");
  writeFileSync(
    script,
    `import { proxyConnect } from ${JSON.stringify(module)};
import { fromText } from ${JSON.stringify(bytes)};
const [, , , host = "", port = ""] = process.argv;
const environment = Object.entries(process.env).map(([name, value]) => fromText(\`\${name}=\${value}\`));
const failure = await proxyConnect({ host, port, environment });
if (failure !== null) process.stderr.write(failure + "\\n");
process.exit(failure === null ? 0 : 1);
`,
  );
  const executable = join(dir, "executable");
  writeFileSync(
    executable,
    `#!/bin/sh\nexec ${process.execPath} ${script} "$@"\n`,
  );
  chmodSync(executable, 0o755);
  return executable;
}

client("ssh", "git's ssh goes through our own ProxyCommand", async () => {
  writeProxyConnect();
  let seen = "";
  await using server = await startOrigin(({ socket, received }) => {
    seen = received;
    socket.end();
  }, ({ socket }) => socket.write("SSH-2.0-test\r\n"));
  await using proxy = startNamedProxy();
  await run(proxy, [
    "git",
    "ls-remote",
    `ssh://git@a.allowed.test:${server.port}/r.git`,
  ]);
  expect(seen).toStartWith("SSH-2.0-OpenSSH");
  const refused = await run(proxy, [
    "git",
    "ls-remote",
    "ssh://git@other.test/r.git",
  ]);
  expect(refused.err).toContain(
    "Cannot connect to other.test:22: the proxy answered 403 (other.test:22 is not in ",
  );
});

test("proxy-connect carries bytes both ways and ends when both have", async () => {
  const executable = writeProxyConnect();
  await using server = await startOrigin(({ socket, received }) => {
    if (socket.readableEnded) socket.end(`${received.length}`);
  });
  await using proxy = startNamedProxy();
  const child = Bun.spawn([
    executable,
    "proxy-connect",
    "a.allowed.test",
    String(server.port),
  ], {
    env: { HTTPS_PROXY: `http://127.0.0.1:${proxy.http}` },
    stdin: Buffer.alloc(5_000_000),
    stdout: "pipe",
    stderr: "inherit",
  });
  expect(await new Response(child.stdout).text()).toBe("5000000");
  expect(await child.exited).toBe(0);
});

const WRONG = [ // words, environment, fragment, why
  [
    ["a b", "22"],
    {},
    'Cannot connect to "a b": it holds a space',
    "a bad host",
  ],
  [["a.test", "0"], {}, 'Cannot connect to port "0"', "a bad port"],
  [
    ["a.test", "22"],
    {},
    "HTTPS_PROXY names no proxy of this sandbox",
    "no variable",
  ],
  [
    ["a.test", "22"],
    { HTTPS_PROXY: "http://corp.test:1" },
    "HTTPS_PROXY names no proxy of this sandbox",
    "somebody else's proxy",
  ],
  [
    ["a.test", "22"],
    { HTTPS_PROXY: "http://127.0.0.1:1" },
    "does not answer (ECONNREFUSED)",
    "nobody there",
  ],
] as const;
test("proxy-connect says in one line what is wrong", () => {
  const executable = writeProxyConnect();
  for (const [words, env, fragment] of WRONG) {
    const result = Bun.spawnSync([executable, "proxy-connect", ...words], {
      env,
    });
    expect([
      result.exitCode,
      result.stderr.toString().trim().split("\n").length,
    ]).toEqual([1, 1]);
    expect(result.stderr.toString()).toContain(fragment);
  }
});
