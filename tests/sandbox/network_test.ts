/**
 * The managed network through the built file: what is reached, what is not, what is said about it, and that it dies with its run.
 *
 * Origins listen on the host's loopback, in this process; they are listed by themselves, because nothing private is opened by a
 * wildcard. Clients inside are bash's own sockets and the probe.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createConnection, createServer } from "node:net";
import {
  BOTH_ACTORS,
  leaveClean,
  matrix,
  ourProcesses,
  type Outcome,
  PLAIN,
  setup,
  type Subject,
  TRUE_STAGES,
  until,
  untilNobodyIsLeft,
  type Variant,
} from "./harness.ts";

afterAll(leaveClean);

/** With the small program that listens inside, and with the inner stage. */
const COLUMNS: readonly Variant[] = TRUE_STAGES;

const NAP = "86397";

/** Answers every request with its host line, and counts. */
const origin = await new Promise<{ port: number; asked: string[] }>((ready) => {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      asked.push(text);
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin");
    });
  });
  server.unref();
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo;
    ready({ port, asked });
  });
});

/** bash: `http`, `tunnel` and `socks` HOST PORT, each one line about what came. */
const CLIENTS = `
http() {
  exec 3<>/dev/tcp/127.0.0.1/3128
  printf 'GET http://%s:%s/ HTTP/1.1\\r\\nHost: %s:%s\\r\\nConnection: close\\r\\n\\r\\n' $1 $2 $1 $2 >&3
  head -n 1 <&3 | tr -d '\\r'
}
tunnel() {
  exec 3<>/dev/tcp/127.0.0.1/3128
  printf 'CONNECT %s:%s HTTP/1.1\\r\\nHost: %s:%s\\r\\n\\r\\n' $1 $2 $1 $2 >&3
  read -r line <&3
  echo "\${line%?}"
  case $line in *" 200 "*) ;; *) return ;; esac
  while read -r line <&3 && [ "\${#line}" -gt 1 ]; do :; done
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
  tail -n 1 <&3
  echo
}
socks() {
  exec 3<>/dev/tcp/127.0.0.1/1080
  printf '\\5\\1\\0' >&3
  head -c 2 <&3 | od -An -tx1
  printf "\\5\\1\\0\\3\\x$(printf %02x \${#1})$1\\x$(printf %02x $(($2 / 256)))\\x$(printf %02x $(($2 % 256)))" >&3
  head -c 2 <&3 | od -An -tx1
}
`;

/** Writes the config: profile `net` with these hosts. */
function allow(
  { home }: Subject,
  domains: Readonly<Record<string, "allow" | "deny">>,
  more = "",
): void {
  const lines = Object.entries(domains).map(([pattern, verdict]) =>
    `${JSON.stringify(pattern)} = "${verdict}"\n`
  );
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "net"\n[permissions.net]\nextends = ":workspace"\n${more}[permissions.net.network.domains]\n${
      lines.join("")
    }`,
  );
}

const QUIET = ["--report-blocked=never"];

function bash(script: string): readonly string[] {
  return ["--", "bash", "-c", `${CLIENTS}${script}`];
}

matrix(
  "an allowed host is reached by every way, and no other host by any",
  COLUMNS,
  async (subject) => {
    const { port } = origin;
    allow(subject, {
      [`127.0.0.1:${port}`]: "allow",
      [`localhost:${port}`]: "allow",
      "denied.test": "deny",
    });
    const ways = `for how in http tunnel socks; do
      $how 127.0.0.1 ${port}; $how localhost ${port}; $how 127.0.0.1 ${
      port === 65_535 ? 1 : port + 1
    }; $how denied.test 80; $how example.org 443
    done`;
    const { end, stdout, stderr } = await subject.run([
      ...QUIET,
      ...bash(ways),
    ]);
    expect({ end, stderr, lines: stdout.split("\n") }).toEqual({
      end: 0,
      stderr: "",
      lines: [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 200 OK",
        "origin",
        "HTTP/1.1 200 OK",
        "origin",
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 403 Forbidden",
        "HTTP/1.1 403 Forbidden",
        " 05 00",
        " 05 00",
        " 05 00",
        " 05 00",
        " 05 00",
        " 05 02",
        " 05 00",
        " 05 02",
        " 05 00",
        " 05 02",
        "",
      ],
    });
  },
);

matrix("there is no way past the proxy", COLUMNS, async (subject) => {
  allow(subject, { [`127.0.0.1:${origin.port}`]: "allow" });
  const { probe } = subject;
  const before = origin.asked.length;
  const asks = [
    [["connect-inet", "127.0.0.1", String(origin.port)], "ECONNREFUSED"],
    [["connect-inet", "192.0.2.1", "80"], "ENETUNREACH"],
    [["socket", "1", "1", "0"], "EPERM"], // AF_UNIX
    [["socket", "17", "3", "0"], "EPERM"], // AF_PACKET
    [["socket", "2", "3", "1"], "EPERM"], // a raw socket
  ] as const;
  for (const [words, answer] of asks) {
    expect((await subject.run(["--", probe, ...words])).stdout)
      .toBe(`${answer}\n`);
  }
  const links = await subject.run(["--", "cat", "/proc/net/dev"]);
  expect(links.stdout.match(/^\s*\w+:/gm)?.map((it) => it.trim()))
    .toEqual(["lo:"]);
  expect(origin.asked.length).toBe(before);
});

matrix("the command's own servers work", COLUMNS, async (subject) => {
  allow(subject, {});
  expect(await subject.run(["--", subject.probe, "loopback"]))
    .toEqual({ end: 0, stdout: "ok abc\n", stderr: "" });
});

matrix(
  "nobody else reaches the listeners of a run",
  COLUMNS,
  async (subject) => {
    allow(subject, { [`127.0.0.1:${origin.port}`]: "allow" });
    const held = subject.start(["--", "sleep", NAP]);
    await until(
      () => ourProcesses().some(({ words }) => words === `sleep ${NAP}`),
      "the sleeper",
    );
    // From the host, and from another run, whose own listeners have the same ports.
    for (const port of [3128, 1080]) {
      expect(await dials(port)).toBe("ECONNREFUSED");
    }
    const other = await subject.run([
      "-P",
      ":workspace",
      "--",
      subject.probe,
      "connect-inet",
      "127.0.0.1",
      "3128",
    ]);
    expect(other.stdout).toBe("ECONNREFUSED\n");
    held.kill(15);
    await held.outcome;
    await untilNobodyIsLeft();
  },
);

function dials(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port });
    socket.on("connect", () => {
      socket.destroy();
      resolve("connected");
    });
    socket.on("error", (error) => resolve((error as { code?: string }).code!));
  });
}

matrix(
  "the environment leads to the proxies and holds no secret",
  COLUMNS,
  async (subject) => {
    allow(subject, { "example.org": "allow" });
    const { stdout } = await subject.run(["--", "env"], {
      env: {
        HTTP_PROXY: "http://user:secret@proxy.example:3128",
        CARGO_HTTP_PROXY: "http://user:secret@proxy.example:3128",
        CODEX_SANDBOX_NETWORK_DISABLED: "1",
        GIT_SSH_COMMAND: "ssh -v",
      },
    });
    const lines = stdout.split("\n");
    expect(lines).toContain("HTTP_PROXY=http://127.0.0.1:3128");
    expect(lines).toContain("ALL_PROXY=socks5h://127.0.0.1:1080");
    expect(lines).toContain("NO_PROXY=localhost,127.0.0.1,::1");
    expect(lines).toContain("CODEX_NETWORK_PROXY_ACTIVE=1");
    expect(lines).toContain(
      "GIT_SSH_COMMAND=ssh -v -o ProxyCommand='/dev/codex-linux-sandbox proxy-connect %h %p'",
    );
    expect(stdout).not.toContain("secret");
    expect(stdout).not.toContain("CODEX_SANDBOX_NETWORK_DISABLED");
  },
);

matrix(
  "our own executable is ssh's ProxyCommand inside",
  COLUMNS,
  async (subject) => {
    allow(subject, { [`127.0.0.1:${origin.port}`]: "allow" });
    const asked = await subject.run([
      ...QUIET,
      ...bash(
        `connect='/dev/codex-linux-sandbox proxy-connect'
        printf 'GET / HTTP/1.0\\r\\n\\r\\n' | $connect 127.0.0.1 ${origin.port} | tail -n 1; echo
        $connect example.org 22; echo $?`,
      ),
    ]);
    expect(asked.stdout).toBe("origin\n1\n");
    expect(asked.stderr).toMatch(
      /^codex: Cannot connect to example\.org:22: the proxy answered 403 \(.*\)\n$/,
    );
  },
);

matrix(
  "it is so in a view without libraries too",
  BOTH_ACTORS,
  async ({ home, work, probe, codexRun }) => {
    const folder = probe.slice(0, probe.lastIndexOf("/"));
    writeFileSync(
      `${home}/config.toml`,
      `default_permissions = "p"\n[permissions.p]\nnetwork.managed = true\n[permissions.p.filesystem]\n"${folder}" = "read"\n"${work}" = "read"\n`,
    );
    const run = (words: readonly string[]): Promise<Outcome> =>
      codexRun(["sandbox", "--report-blocked=never", "--", ...words]);
    const { stdout } = await run([probe, "environ"]);
    const command = /^GIT_SSH_COMMAND=ssh -o ProxyCommand='(.*) %h %p'$/m
      .exec(stdout)?.[1]?.split(" ") ?? [];
    expect(command.length).toBeGreaterThan(3);
    const asked = await run([...command, "example.org", "22"]);
    expect(asked.end).toBe(1);
    expect(asked.stderr).toContain("example.org:22: the proxy answered 403");
  },
);

matrix(
  "a refusal is told after a failure, with the line that allows it",
  COLUMNS,
  async (subject) => {
    const { port } = origin;
    allow(subject, {});
    const words = bash(
      `http 127.0.0.1 ${port} | grep -q 200 || { http 127.0.0.1 ${port}; exit 3; }`,
    );
    const refused = await subject.run(words);
    expect(refused.end).toBe(3);
    const line = /; to allow: (".*" = "allow") in (\[.*\])$/m
      .exec(refused.stderr);
    expect(refused.stderr).toBe(
      `codex: network: 127.0.0.1:${port} refused (2 times): a local or private address, which must be listed by itself; to allow: "127.0.0.1:${port}" = "allow" in [permissions.net.network.domains]\n`,
    );
    const file = `${subject.home}/config.toml`;
    expect(readFileSync(file, "utf8")).toEndWith(`${line?.[2]}\n`);
    writeFileSync(file, `${readFileSync(file, "utf8")}${line?.[1]}\n`);
    expect(await subject.run(words)).toEqual({
      end: 0,
      stdout: "",
      stderr: "",
    });
  },
);

test("a report is as it was asked for", async () => {
  const subject = setup();
  allow(subject, {});
  const script = bash("http example.org 80 >/dev/null; exit $END");
  const cases = [ // flag, the command's status, whether there is a line
    [[], "0", false],
    [[], "1", true],
    [["--report-blocked=auto"], "1", true],
    [["--report-blocked=always"], "0", true],
    [["--report-blocked=never"], "1", false],
  ] as const;
  for (const [flags, status, isTold] of cases) {
    const env = { END: status };
    const { end, stderr } = await subject.run([...flags, ...script], { env });
    expect({ flags, end, isTold: stderr !== "" })
      .toEqual({ flags, end: Number(status), isTold });
  }
});

matrix("a log has a line for each request", COLUMNS, async (subject) => {
  allow(subject, { [`127.0.0.1:${origin.port}`]: "allow" });
  const log = `${subject.home}/net.log`;
  const asked = bash(
    `http 127.0.0.1 ${origin.port}; tunnel example.org 443`,
  );
  for (let run = 1; run <= 2; run++) {
    const { end } = await subject.run(["--network-log", log, ...asked]);
    expect(end).toBe(0);
    const lines = readFileSync(log, "utf8").trimEnd().split("\n");
    expect(lines.length).toBe(2 * run);
    expect(lines.slice(-2).map((line) => JSON.parse(line))).toMatchObject([
      {
        protocol: "http",
        host: "127.0.0.1",
        port: origin.port,
        verdict: "allowed",
        rule: `127.0.0.1:${origin.port}`,
        bytes_down: 6,
      },
      { protocol: "connect", host: "example.org", verdict: "denied" },
    ]);
  }
  expect(statSync(log).mode & 0o777).toBe(0o600);
});

test("a log that the sandbox could write is refused", async () => {
  const subject = setup();
  allow(subject, {});
  const { home, work } = subject;
  writeFileSync(`${home}/file`, "");
  linkSync(`${home}/file`, `${work}/other-name`);
  symlinkSync(`${home}/elsewhere`, `${home}/link`);
  symlinkSync(work, `${home}/folder`);
  const cases = [ // where, what is said
    ["net.log", "the sandbox could write it too"],
    [`${home}/new/net.log`, "ENOENT"],
    [`${home}/folder/net.log`, "the sandbox could write it too"],
    [`${home}/file`, "it has another name"],
    [`${home}/link`, "ELOOP"],
    [home, "EISDIR"],
    ["/dev/null", "it is no regular file"],
    ["", "--network-log names no file"],
  ] as const;
  for (const [file, said] of cases) {
    const run = await subject.run(["--network-log", file, "--", "touch", "m"]);
    expect({ file, end: run.end }).toEqual({ file, end: 125 });
    expect(run.stderr).toContain(said);
  }
  expect(readdirSync(work)).toEqual(["other-name"]);
  const none = await subject.run(
    ["-P", ":workspace", "--network-log", "l", "--", "true"],
  );
  expect(none.end).toBe(125);
  expect(none.stderr).toContain("has no managed network");
});

matrix(
  "the caller's own proxy is used for what we dial, unless the profile says no",
  COLUMNS,
  async (subject) => {
    const { port, asked } = origin;
    const table = "network.allow_upstream_proxy = false\n";
    const env = {
      HTTP_PROXY: `http://127.0.0.1:${port}`,
      NO_PROXY: "direct.test",
    };
    const ask = async (host: string, more = ""): Promise<string> => {
      allow(subject, { "**.test": "allow" }, more);
      const run = await subject.run([...QUIET, ...bash(`http ${host} 80`)], {
        env,
      });
      return run.stdout;
    };
    const before = asked.length;
    expect(await ask("up.test")).toBe("HTTP/1.1 200 OK\n");
    expect(asked.slice(before).map((text) => text.split("\r\n")[0]))
      .toEqual(["GET http://up.test/ HTTP/1.1"]);
    expect(await ask("direct.test")).toStartWith("HTTP/1.1 502");
    expect(await ask("up.test", table)).toStartWith("HTTP/1.1 502");
    expect(asked.length).toBe(before + 1);
  },
);

test("without SOCKS5 there is one port, and every variable leads to it", async () => {
  const subject = setup();
  allow(subject, {}, "network.enable_socks5 = false\n");
  const { stdout } = await subject.run(
    bash('echo $ALL_PROXY; "$0" connect-inet 127.0.0.1 1080').concat(
      subject.probe,
    ),
  );
  expect(stdout).toBe("http://127.0.0.1:3128\nECONNREFUSED\n");
});

test("limited mode reads over plain HTTP and does nothing else", async () => {
  const subject = setup();
  const { port } = origin;
  const host = { [`127.0.0.1:${port}`]: "allow" } as const;
  allow(subject, host, 'network.mode = "limited"\n');
  const post =
    `post() { exec 3<>/dev/tcp/127.0.0.1/3128; printf 'POST http://%s/ HTTP/1.1\\r\\nHost: %s\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n' $1 $1 >&3; head -n 1 <&3 | tr -d '\\r'; }`;
  const { end, stdout, stderr } = await subject.run(bash(
    `${post}
    http 127.0.0.1 ${port}; post 127.0.0.1:${port}; tunnel 127.0.0.1 ${port}
    socks 127.0.0.1 ${port}; exit 1`,
  ));
  expect({ end, stdout }).toEqual({
    end: 1,
    stdout:
      "HTTP/1.1 200 OK\nHTTP/1.1 403 Forbidden\nHTTP/1.1 403 Forbidden\n 05 00\n 05 02\n",
  });
  expect(stderr).toContain("POST is not allowed in limited mode");
  expect(stderr).toContain("tunnels are not allowed in limited mode");
});

test("--explain names the proxies, the hosts in the order in which they decide, and where each was written", async () => {
  const subject = setup();
  allow(subject, { "*.example.org": "allow", "bad.example.org": "deny" });
  const log = `${subject.home}/net.log`;
  const { stdout } = await subject.run([
    ...["--explain", "--network-log", log, "--", "true"],
  ]);
  const lines = stdout.split("\n");
  const at = lines.findIndex((line) => line.startsWith("network "));
  const place = `${subject.home}/config.toml (permissions.net.network.domains.`;
  expect(lines.slice(at - 2, at + 7)).toEqual([
    "stage        listening: the listeners of the managed network are made inside",
    lines[at - 1] ?? "",
    "network      proxied: a network namespace whose only exit is our proxy",
    "  HTTP at 127.0.0.1:3128, SOCKS5 at 127.0.0.1:1080",
    `  deny  bad.example.org  # ${place}"bad.example.org")`,
    `  allow *.example.org  # ${place}"*.example.org")`,
    "  deny  every other host",
    "  local and private addresses only where they are listed themselves",
    `  log   ${log}`,
  ]);
  expect(lines[at - 1]).toContain("managed network");
  expect(existsSync(log)).toBe(false);
});

test("a time limit and a grace hold with a proxy too", async () => {
  const subject = setup();
  allow(subject, {});
  const nap = ["--", "sleep", NAP];
  expect((await subject.run(["--timeout", "100ms", ...nap])).end).toBe(124);
  const graced = subject.start([
    ...["--grace", "60s", "--", "bash", "-c"],
    `trap 'echo told; exit 3' TERM; sleep ${NAP} & wait`,
  ]);
  await until(
    () => ourProcesses().some(({ words }) => words === `sleep ${NAP}`),
    "the sleeper",
  );
  graced.kill(15);
  expect(await graced.outcome).toEqual({
    end: 3,
    stdout: "told\n",
    stderr: "",
  });
  await untilNobodyIsLeft();
});

for (const signal of [2, 9, 15]) {
  matrix(
    `the run dies with its supervisor, by signal ${signal}`,
    COLUMNS,
    async (subject) => {
      allow(subject, {});
      const run = subject.start([
        "--",
        "sh",
        "-c",
        `sleep ${NAP} & sleep ${NAP}`,
      ]);
      await until(
        () =>
          ourProcesses().filter(({ words }) => words === `sleep ${NAP}`)
            .length === 2,
        "two sleepers",
      );
      run.kill(signal);
      const { end } = await run.outcome;
      expect(end).toBe({ 2: "SIGINT", 9: "SIGKILL", 15: "SIGTERM" }[signal]!);
      await untilNobodyIsLeft();
      const left = readdirSync(subject.work);
      expect(left).toEqual([]);
    },
  );
}

matrix(
  "output ends with the command, whatever it leaves behind",
  COLUMNS,
  async (subject) => {
    allow(subject, {});
    // The time limit of a run is the observable: a reader would wait for the sleeper.
    expect(
      await subject.run(["--", "sh", "-c", `sleep ${NAP} & echo done`]),
    ).toEqual({ end: 0, stdout: "done\n", stderr: "" });
    await untilNobodyIsLeft();
  },
);

matrix("a status is the command's own", COLUMNS, async (subject) => {
  allow(subject, {});
  const cases = [ // words, status
    [["true"], 0],
    [["sh", "-c", "exit 7"], 7],
    [["sh", "-c", "kill -9 $$"], 137],
    [["no-such-command"], 127],
    [["/etc/passwd"], 126],
  ] as const;
  for (const [words, status] of cases) {
    const { end } = await subject.run(["--", ...words]);
    expect({ words, end }).toEqual({ words, end: status });
  }
});

test("several runs at once have each their own proxy", async () => {
  const subject = setup();
  allow(subject, { [`127.0.0.1:${origin.port}`]: "allow" });
  const runs = Array.from({ length: 6 }, (_, index) =>
    subject.run([
      ...QUIET,
      ...bash(
        index % 2 === 0
          ? `http 127.0.0.1 ${origin.port}`
          : "http example.org 80",
      ),
    ]));
  expect((await Promise.all(runs)).map(({ stdout }) => stdout)).toEqual(
    Array.from(
      { length: 6 },
      (_, index) =>
        `HTTP/1.1 ${index % 2 === 0 ? "200 OK" : "403 Forbidden"}\n`,
    ),
  );
});

test("a command has the caller's limit of open files, whatever the proxy has", async () => {
  const subject = setup();
  allow(subject, {});
  const { stdout } = await subject.run(["--", subject.probe, "nofile"], {
    shell: 'ulimit -Sn 777; "$@"',
  });
  expect(stdout).toStartWith("777 ");
});

test("the command holds no descriptor of the run's", async () => {
  const subject = setup();
  allow(subject, {});
  const { stdout } = await subject.run(["--", subject.probe, "fds"]);
  expect(stdout.trim().split("\n").map((line) => line.split(/\s/)[0]))
    .toEqual(["0", "1", "2"]);
});

test("a managed network is refused where it could not be had", async () => {
  const subject = setup(PLAIN);
  const cases = [ // lines of the profile, words, what is said
    ["loopback = false\n", [], "Cannot honour loopback = false"],
    ["", ["--stage", "one-start"], "Cannot use --stage one-start"],
    [
      'network.mitm.hooks.h = { host = "a", action = ["b"] }\n',
      [],
      "HTTPS is never intercepted",
    ],
  ] as const;
  for (const [more, words, said] of cases) {
    allow(subject, {}, more);
    const run = await subject.run([...words, "--", "touch", "made"]);
    expect({ more, end: run.end }).toEqual({ more, end: 125 });
    expect(run.stderr).toContain(said);
  }
  expect(readdirSync(subject.work)).toEqual([]);
});
