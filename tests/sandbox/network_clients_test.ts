/**
 * Programs that people use, inside a sandbox with a managed network, led to the proxy by their variables alone.
 *
 * Everything they talk to listens on the host's loopback: a web server, one with TLS, git's own CGI, two registries, an SSH server with
 * a key and a home of its own. Each program also asks for a host that is not listed, and has to fail there.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import {
  ACTORS,
  BOTH_ACTORS,
  leaveClean,
  matrix,
  notProved,
  type Outcome,
  type Subject,
} from "./harness.ts";

const TOOLS = "/usr/local/bin:/usr/bin:/bin";
const HOST_ENV = {
  PATH: TOOLS,
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "t",
  GIT_AUTHOR_EMAIL: "t@t.test",
  GIT_COMMITTER_NAME: "t",
  GIT_COMMITTER_EMAIL: "t@t.test",
};

/** What the servers serve. */
const dir = mkdtempSync("/var/tmp/codex-served-");
chmodSync(dir, 0o755);

const web = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 60,
  fetch: answer,
});
const secure = hasCertificate()
  ? Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: {
      cert: readFileSync(`${dir}/cert.pem`, "utf8"),
      key: readFileSync(`${dir}/key.pem`, "utf8"),
    },
    fetch: answer,
  })
  : null;

afterAll(async () => {
  await web.stop(true);
  await secure?.stop(true);
  await leaveClean();
  rmSync(dir, { recursive: true, force: true });
});

/** Runs a program of the host's and throws when it fails. */
function make(words: readonly string[], cwd = dir): void {
  const { exitCode, stderr } = Bun.spawnSync([...words], {
    cwd,
    env: { ...HOST_ENV, HOME: dir },
  });
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
}

function hasCertificate(): boolean {
  if (!has("openssl")) return false;
  make([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"],
    ...["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"],
    ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
    ...["-keyout", "key.pem", "-out", "cert.pem"],
  ]);
  return true;
}

async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname.startsWith("/git/")) return await git(request);
  const files: Readonly<Record<string, () => BodyInit>> = {
    "/hello": () => "hello",
    "/tiny": () => registered(),
    "/tiny.tgz": () => readFileSync(`${dir}/tiny.tgz`),
    "/simple/tiny/": () => `<a href="/${WHEEL}">${WHEEL}</a>`,
    [`/${WHEEL}`]: () => readFileSync(`${dir}/${WHEEL}`),
  };
  const file = files[pathname];
  return file === undefined
    ? new Response("none", { status: 404 })
    : new Response(file(), {
      headers: pathname.startsWith("/simple/")
        ? { "content-type": "text/html" }
        : {},
    });
}

/** git's own server, by CGI. */
async function git(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const child = Bun.spawn(["git", "http-backend"], {
    env: {
      ...HOST_ENV,
      HOME: dir,
      GIT_PROJECT_ROOT: dir,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_PROTOCOL: request.headers.get("git-protocol") ?? "",
      HTTP_CONTENT_ENCODING: request.headers.get("content-encoding") ?? "",
      CONTENT_TYPE: request.headers.get("content-type") ?? "",
      PATH_INFO: pathname.slice("/git".length),
      QUERY_STRING: search.slice(1),
      REMOTE_USER: "somebody",
      REQUEST_METHOD: request.method,
    },
    stdin: new Uint8Array(await request.arrayBuffer()),
    stdout: "pipe",
  });
  const bytes = Buffer.from(await new Response(child.stdout).arrayBuffer());
  const end = bytes.indexOf("\r\n\r\n");
  const lines = bytes.toString("latin1", 0, end).split("\r\n").map((line) =>
    line.split(": ") as [string, string]
  );
  const status = lines.find(([name]) => name === "Status")?.[1];
  return new Response(bytes.subarray(end + 4), {
    status: Number(status?.slice(0, 3) ?? 200),
    headers: lines.filter(([name]) => name !== "Status"),
  });
}

const WHEEL = "tiny-1.0-py3-none-any.whl";

function serveRepository(): void {
  if (existsSync(`${dir}/served.git`)) return;
  make(["git", "init", "-q", "-b", "main", "made"]);
  writeFileSync(`${dir}/made/file`, "content\n".repeat(100_000));
  make(["git", "-C", "made", "add", "."]);
  make(["git", "-C", "made", "commit", "-qm", "first"]);
  make(["git", "clone", "-q", "--bare", "made", "served.git"]);
}

/** What npm's registry says of a package. */
function registered(): string {
  return JSON.stringify({
    name: "tiny",
    "dist-tags": { latest: "1.0.0" },
    versions: {
      "1.0.0": {
        name: "tiny",
        version: "1.0.0",
        dist: { tarball: `http://127.0.0.1:${web.port}/tiny.tgz` },
      },
    },
  });
}

function has(program: string): boolean {
  return Bun.which(program, { PATH: TOOLS }) !== null;
}

/** The profile: `:workspace` and the loopback, by name and by address. */
function configure({ home }: Subject): void {
  writeFileSync(
    `${home}/config.toml`,
    'default_permissions = "net"\n[permissions.net]\nextends = ":workspace"\n[permissions.net.network]\ndomains = { "127.0.0.1" = "allow", "localhost" = "allow" }\n',
  );
}

function inside(
  subject: Subject,
  line: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  return subject.run(["--report-blocked=never", "--", "bash", "-c", line], {
    timeoutMs: 60_000,
    env: { HOME: subject.work, PATH: TOOLS, ...env },
  });
}

/** A program: a line that reaches what is allowed and what it prints, and one that must fail for the proxy's 403. */
interface Client {
  readonly program: string;
  readonly title: string;
  readonly prepare?: (subject: Subject) => void;
  readonly reaches: (subject: Subject) => string;
  readonly prints: string | RegExp;
  readonly refused?: string;
}

const url = (path: string): string => `http://127.0.0.1:${web.port}${path}`;

const CLIENTS: readonly Client[] = [
  {
    program: "curl",
    title: "curl by HTTP, CONNECT and SOCKS",
    reaches: () =>
      `curl -sS ${url("/hello")} && curl -sSp ${
        url("/hello")
      } && curl -sS -x "$ALL_PROXY" ${url("/hello")}`,
    prints: "hellohellohello",
    refused:
      'curl -sSf http://example.com/ || curl -sS https://example.com/ || curl -sS -x "$ALL_PROXY" http://example.com/',
  },
  {
    program: "openssl",
    title:
      "curl over TLS, by CONNECT and by SOCKS, to the name and the address",
    prepare: ({ work }) => cpSync(`${dir}/cert.pem`, `${work}/cert.pem`),
    reaches: () =>
      `for host in localhost 127.0.0.1; do curl -sS --cacert cert.pem https://$host:${secure?.port}/hello && curl -sS --cacert cert.pem -x "$ALL_PROXY" https://$host:${secure?.port}/hello; done`,
    prints: "hellohellohellohello",
    refused:
      `curl -sS --cacert cert.pem --connect-to example.com:443:127.0.0.1:${"PORT"} https://example.com/hello`,
  },
  {
    program: "git",
    title: "git clones and pushes over HTTP",
    prepare: serveRepository,
    reaches: ({ variant }) =>
      `git clone -q ${url("/git/served.git")} copy && cd copy &&
      head -c 3000000 /dev/urandom > random && git add . &&
      git -c user.name=t -c user.email=t@t.test commit -qm second &&
      git push -q origin HEAD:refs/heads/by-${variant.actor} && git ls-remote origin | grep -c by-${variant.actor}`,
    prints: "1\n",
    refused: "git ls-remote http://example.com/x.git",
  },
  {
    program: "git",
    title: "git whose own file names a proxy of the host's",
    prepare: ({ work }) => {
      serveRepository();
      writeFileSync(
        `${work}/.gitconfig`,
        "[http]\nproxy = http://127.0.0.1:9\n",
      );
    },
    reaches: () =>
      `git ls-remote ${url("/git/served.git")} | grep -c refs/heads/main`,
    prints: "1\n",
    refused: "git ls-remote http://example.com/x.git",
  },
  {
    program: "npm",
    title: "npm installs from a registry",
    prepare: () => {
      mkdirSync(`${dir}/package`, { recursive: true });
      writeFileSync(
        `${dir}/package/package.json`,
        '{"name":"tiny","version":"1.0.0"}',
      );
      make(["tar", "czf", "tiny.tgz", "package"]);
    },
    reaches: () =>
      `npm install --prefix npm --no-audit --no-fund --loglevel=error --registry ${
        url("/")
      } tiny >/dev/null && cat npm/node_modules/tiny/package.json`,
    prints: '{"name":"tiny","version":"1.0.0"}',
    refused:
      "npm view --fetch-retries=0 --registry http://example.com/ tiny 2>&1",
  },
  {
    program: "pip3",
    title: "pip installs a wheel from an index",
    prepare: () =>
      make([
        "python3",
        "-c",
        `import zipfile
z = zipfile.ZipFile("${WHEEL}", "w")
z.writestr("tiny.py", "print('tiny')")
z.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
z.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
z.writestr("tiny-1.0.dist-info/RECORD", "")
z.close()`,
      ]),
    reaches: () =>
      `python3 -m pip install -q --no-cache-dir --disable-pip-version-check --root-user-action=ignore --target got --index-url ${
        url("/simple")
      } tiny && PYTHONPATH=got python3 -m tiny`,
    prints: "tiny\n",
    refused:
      "python3 -m pip download -q --no-cache-dir --no-deps --disable-pip-version-check http://example.com/tiny-1.0-py3-none-any.whl",
  },
  {
    program: "python3",
    title: "Python's urllib",
    reaches: () =>
      `python3 -c 'import urllib.request as r; print(r.urlopen("${
        url("/hello")
      }").read().decode())'`,
    prints: "hello\n",
    refused:
      "python3 -c 'import urllib.request as r; r.urlopen(\"http://example.com/\")'",
  },
  {
    program: "javac",
    title: "a JVM",
    prepare: ({ work }) =>
      writeFileSync(
        `${work}/Main.java`,
        "public class Main { public static void main(String[] a) throws Exception { System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }",
      ),
    reaches: () => `java Main.java ${url("/hello")} 2>/dev/null`,
    prints: "hello",
    refused: "java Main.java http://example.com/",
  },
  {
    program: "node",
    title: "fetch of node, where it reads the variables",
    reaches: () =>
      `node -e 'fetch("${
        url("/hello")
      }").then((r) => r.text()).then((t) => console.log(t))'`,
    prints: "hello\n",
    refused:
      "node -e 'fetch(\"http://example.com/\").then((r) => { console.error(r.status); process.exit(r.status === 403 ? 1 : 0); })'",
  },
];

for (const client of CLIENTS) {
  const { program, title, prepare, reaches, prints, refused } = client;
  if (!has(program)) {
    notProved(title, `${program} is not installed`);
    continue;
  }
  if (program === "node" && nodeMajor() < 24) {
    test.skip(`${title} (this one does not)`, () => {});
    process.stderr.write(`NOT PROVED: ${title}: from node 24 on\n`);
    continue;
  }
  matrix(title, BOTH_ACTORS, async (subject) => {
    configure(subject);
    prepare?.(subject);
    const reached = await inside(subject, reaches(subject));
    expect(withoutWarning(reached)).toEqual({
      end: 0,
      stdout: expect.anything(),
      stderr: "",
    });
    if (typeof prints === "string") expect(reached.stdout).toBe(prints);
    else expect(reached.stdout).toMatch(prints);
    if (refused === undefined) return;
    const failed = await inside(
      subject,
      refused.replace("PORT", String(secure?.port)),
    );
    expect(failed.end).not.toBe(0);
    expect(failed.stdout + failed.stderr).toMatch(
      /403|[Ff]orbidden|reset|unexpected eof|SSL_ERROR_SYSCALL/,
    );
  });
}

/** A repository that appears is warned about, which is right and not what is asked here. */
function withoutWarning(outcome: Outcome): Outcome {
  const stderr = outcome.stderr
    .replace(/^codex: warning: repositories appeared .*\n/m, "");
  return { ...outcome, stderr };
}

function nodeMajor(): number {
  const { stdout } = Bun.spawnSync(["node", "-p", "process.versions.node"], {
    env: HOST_ENV,
  });
  return Number(stdout.toString().split(".")[0]);
}

matrix("fetch of this runtime", BOTH_ACTORS, async (subject) => {
  configure(subject);
  const bun = `${subject.dir}/bun`;
  cpSync(process.execPath, bun);
  const line = (to: string): string =>
    `${bun} -e 'const r = await fetch("${to}"); console.log(r.status, (await r.text()).slice(0, 5))'`;
  expect((await inside(subject, line(url("/hello")))).stdout)
    .toBe("200 hello\n");
  expect((await inside(subject, line("http://example.com/"))).stdout)
    .toStartWith("403 ");
});

/** A server of SSH: a line that runs it in the foreground on `$PORT`, with its key made in `$HOST_KEY`. */
interface SshServer {
  readonly program: string;
  readonly makeKey: (path: string) => readonly string[];
  readonly line: string;
}

const DROPBEAR: SshServer = {
  program: "/usr/sbin/dropbear",
  makeKey: (path) => ["dropbearkey", "-t", "ed25519", "-f", path],
  line:
    'exec dropbear -F -E -s -r "$HOST_KEY" -P "$HOST_KEY.pid" -p "127.0.0.1:$PORT"',
};

/** Not installed by the set-up: Debian's package starts a service. Tried where it is there. */
const OPENSSH: SshServer = {
  program: "/usr/sbin/sshd",
  makeKey: (
    path,
  ) => ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path],
  line:
    'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec /usr/sbin/sshd -D -e -f /dev/null -h "$HOST_KEY" -o ListenAddress="127.0.0.1:$PORT" -o PidFile=none -o UsePAM=no -o PermitRootLogin=prohibit-password',
};

if (!existsSync(DROPBEAR.program) || !ACTORS.includes("root") || !has("ssh")) {
  notProved(
    "ssh and git over ssh",
    `needs root, ssh and ${DROPBEAR.program}`,
  );
} else {
  for (const server of [DROPBEAR, OPENSSH]) {
    if (existsSync(server.program)) {
      matrix(
        `ssh and git over it go through our own ProxyCommand to ${server.program}`,
        BOTH_ACTORS,
        (subject) => usesSsh(subject, server),
      );
    }
  }
}

async function usesSsh(subject: Subject, server: SshServer): Promise<void> {
  configure(subject);
  const { work, uid } = subject;
  const key = `${work}/key`;
  make(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]);
  chownSync(key, uid, uid);
  const home = `${subject.dir}/ssh-home`;
  mkdirSync(`${home}/.ssh`, { recursive: true, mode: 0o700 });
  cpSync(`${key}.pub`, `${home}/.ssh/authorized_keys`);
  chmodSync(`${home}/.ssh/authorized_keys`, 0o600);
  make(["git", "init", "-q", "--bare", "-b", "main", `${home}/r.git`]);
  make(server.makeKey(`${home}/host-key`));
  const port = await freePort();
  // root's home is another one in its mount namespace: nothing of the host's is read or written.
  const running = Bun.spawn([
    ...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
    `mount --bind ${home} "$HOME" && cd / && ${server.line}`,
  ], {
    env: {
      PATH: `${TOOLS}:/usr/sbin:/sbin`,
      HOME: "/root",
      PORT: String(port),
      HOST_KEY: `${home}/host-key`,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    await listening(port);
    const flags =
      `-p ${port} -i ${key} -o UserKnownHostsFile=${work}/known -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR`;
    const run = await inside(
      subject,
      `eval "$GIT_SSH_COMMAND ${flags} root@127.0.0.1 echo by-ssh" &&
        git init -q -b main here && cd here && echo x > file && git add . &&
        git -c user.name=t -c user.email=t@t.test commit -qm first &&
        GIT_SSH_COMMAND="$GIT_SSH_COMMAND ${flags}" git push -q root@127.0.0.1:r.git main &&
        GIT_SSH_COMMAND="$GIT_SSH_COMMAND ${flags}" git ls-remote root@127.0.0.1:r.git | cut -f 2`,
    );
    expect(withoutWarning(run)).toEqual({
      end: 0,
      stdout: "by-ssh\nHEAD\nrefs/heads/main\n",
      stderr: "",
    });
    const refused = await inside(
      subject,
      `git ls-remote ssh://root@example.com/r.git`,
    );
    expect(refused.end).not.toBe(0);
    expect(refused.stderr).toContain("the proxy answered 403");
  } finally {
    running.kill();
    await running.exited;
  }
}

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === "object" ? address?.port ?? 0 : 0)
      );
    });
  });
}

async function listening(port: number): Promise<void> {
  for (let i = 0; i < 2_000; i++) {
    try {
      (await Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: { data(): void {} },
      })).end();
      return;
    } catch {
      await Bun.sleep(20);
    }
  }
  throw new Error(`nobody listens on ${port}`);
}

test("what the programs made is below the workspaces only", () => {
  expect(readdirSync(dir).filter((name) => name.startsWith(".")))
    .toEqual([]);
});
