/**
 * Callers of the helper that bring a proxy of their own: what is led to it, what it sees, and that nothing runs without it.
 *
 * The caller's proxy listens on the host's loopback, or on a Unix socket, in this process, and writes down what it gets.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import {
  BOTH_ACTORS,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
  ourProcesses,
  type Outcome,
  setup,
  type Subject,
  until,
  untilNobodyIsLeft,
} from "./harness.ts";
import { listenFd } from "../egress/fixtures.ts";

afterAll(leaveClean);

const READS_ALL =
  '{"type":"managed","file_system":{"type":"restricted","entries":[{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}]},"network":"restricted"}';

interface CallersProxy extends AsyncDisposable {
  readonly port: number;
  readonly got: string[];
}

/** Answers `ok` when a client has said all. @param path of a Unix socket instead of a port */
async function callersProxy(
  at: { readonly host: string } | { readonly path: string },
  onAsked: () => void = () => {},
): Promise<CallersProxy> {
  const got: string[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = "";
    socket.on("data", (bytes) => text += bytes.toString("latin1"));
    socket.on("error", () => {});
    socket.on("end", () => {
      got.push(text);
      onAsked();
      socket.end("ok\n");
    });
  });
  await new Promise<void>((ready) =>
    "path" in at
      ? server.listen(at.path, ready)
      : server.listen(0, at.host, ready)
  );
  const address = server.address();
  return {
    port: typeof address === "string" ? 0 : (address as AddressInfo).port,
    got,
    async [Symbol.asyncDispose](): Promise<void> {
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** bash: asks the proxy that the first word's variable names, half-closing behind the question. */
const ASK = `
ask() {
  at=\${!1#*://}; at=\${at#*@}; at=\${at%%[/?#]*}
  exec 3<>"/dev/tcp/\${at%:*}/\${at##*:}" && printf 'from %s\\n' "$1" >&3
}
`;

function helper(
  { outside, codex, dir, work }: Subject,
  flags: readonly string[],
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const link = `${dir}/codex-linux-sandbox`;
  try {
    symlinkSync(codex, link);
  } catch {
    // there already
  }
  return outside([
    link,
    ...["--sandbox-policy-cwd", work, "--permission-profile", READS_ALL],
    ...flags,
    "--",
    ...command,
  ], { env });
}

matrix(
  "bytes go to the caller's proxy behind the attribution frame, and variables are rewritten in place",
  BOTH_ACTORS,
  async (subject) => {
    await using one = await callersProxy({ host: "127.0.0.1" });
    await using two = await callersProxy({ host: "::1" });
    const { end, stdout, stderr } = await helper(
      subject,
      ["--allow-network-for-proxy"],
      [
        "bash",
        "-c",
        `${ASK}
        echo "$HTTP_PROXY $https_proxy $WS_PROXY $SOMEWHERE_PROXY"
        env | grep -c ATTRIBUTION
        ask HTTP_PROXY; exec 3>&-; ask WS_PROXY; exec 3>&-
        sleep 0.2`,
      ],
      {
        HTTP_PROXY: `http://u:p@127.0.0.1:${one.port}/a/b?c#d`,
        https_proxy: "http://192.0.2.1:3128",
        WS_PROXY: `[::1]:${two.port}`,
        SOMEWHERE_PROXY: `http://127.0.0.1:${one.port}`,
        CODEX_NETWORK_PROXY_ATTRIBUTION: "tok123",
      },
    );
    expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
    expect(stdout).toBe(
      `http://u:p@127.0.0.1:3128/a/b?c#d http://192.0.2.1:3128 127.0.0.1:3129 http://127.0.0.1:${one.port}\n0\n`,
    );
    const frame = "\0CDXPXY1\0\x06tok123";
    await until(() => one.got.length + two.got.length === 2, "both asked");
    expect([one.got, two.got]).toEqual([
      [`${frame}from HTTP_PROXY\n`],
      [`${frame}from WS_PROXY\n`],
    ]);
  },
);

matrix(
  "with a caller's proxy there is no other way out, and files stay confined",
  BOTH_ACTORS,
  async (subject) => {
    await using proxy = await callersProxy({ host: "127.0.0.1" });
    const env = { HTTP_PROXY: `http://127.0.0.1:${proxy.port}` };
    const flags = ["--allow-network-for-proxy"];
    const ask = (command: readonly string[]): Promise<Outcome> =>
      helper(subject, flags, command, env);
    const { probe, work } = subject;
    expect(
      (await ask([probe, "connect-inet", "127.0.0.1", String(proxy.port)]))
        .stdout,
    ).toBe("ECONNREFUSED\n");
    expect((await ask([probe, "connect-inet", "192.0.2.1", "80"])).stdout)
      .toBe("ENETUNREACH\n");
    expect((await ask([probe, "loopback"])).stdout).toBe("ok abc\n");
    expect((await ask(["touch", `${work}/made`])).end).toBe(1);
    expect(proxy.got).toEqual([]);
  },
);

const CLOSED: readonly (readonly [
  why: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
  line: string,
])[] = [
  [
    "no variable",
    ["--allow-network-for-proxy"],
    {},
    "managed proxy mode requires proxy environment variables",
  ],
  [
    "a host elsewhere",
    ["--allow-network-for-proxy"],
    { HTTP_PROXY: "http://192.0.2.1:80" },
    "managed proxy mode requires parseable loopback proxy endpoints",
  ],
  [
    "another loopback address",
    ["--allow-network-for-proxy"],
    { HTTP_PROXY: "http://127.0.0.2:80" },
    "managed proxy mode requires parseable loopback proxy endpoints",
  ],
  [
    "port 0",
    ["--allow-network-for-proxy"],
    { HTTP_PROXY: "http://127.0.0.1:0" },
    "managed proxy mode requires parseable loopback proxy endpoints",
  ],
  [
    "an endpoint that is not managed",
    ["--managed-network", '{"loopbackPorts":[1]}'],
    { HTTP_PROXY: "http://127.0.0.1:2" },
    "proxy endpoint is outside the managed sandbox context",
  ],
  [
    "a managed network that is none",
    ["--managed-network", "{"],
    { HTTP_PROXY: "http://127.0.0.1:2" },
    "invalid --managed-network: it is not JSON",
  ],
  [
    "a token that is too long",
    ["--allow-network-for-proxy"],
    {
      HTTP_PROXY: "http://127.0.0.1:2",
      CODEX_NETWORK_PROXY_ATTRIBUTION: "x".repeat(129),
    },
    "Cannot use CODEX_NETWORK_PROXY_ATTRIBUTION: a token has 1 to 128 bytes",
  ],
];

for (const [why, flags, env, line] of CLOSED) {
  test(`nothing runs with ${why}`, async () => {
    expect(await helper(setup(), flags, ["echo", "ran"], env))
      .toEqual({ end: 125, stdout: "", stderr: `codex: ${line}\n` });
  });
}

test("a managed endpoint is led to, also where files are not confined", async () => {
  await using proxy = await callersProxy({ host: "127.0.0.1" });
  const subject = setup();
  const { codex, dir, work, outside } = subject;
  symlinkSync(codex, `${dir}/codex-linux-sandbox`);
  const run = await outside([
    `${dir}/codex-linux-sandbox`,
    ...["--sandbox-policy-cwd", work, "--permission-profile"],
    '{"type":"disabled"}',
    "--managed-network",
    JSON.stringify({ loopbackPorts: [proxy.port], allowLocalBinding: false }),
    ...[
      "--",
      "bash",
      "-c",
      `${ASK}ask HTTP_PROXY; touch made; cat /proc/net/dev | grep -c :`,
    ],
  ], { env: { HTTP_PROXY: `http://127.0.0.1:${proxy.port}` } });
  expect(run).toEqual({ end: 0, stdout: "1\n", stderr: "" });
  await until(() => proxy.got.length === 1, "the proxy was asked");
});

/** A namespace as a caller's outer stage makes it. */
function callersStage(
  subject: Subject,
  net: readonly string[],
  spec: string,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const { codex, dir, work, outside } = subject;
  try {
    symlinkSync(codex, `${dir}/codex-linux-sandbox`);
  } catch {
    // there already
  }
  return outside([
    "/usr/bin/bwrap",
    ...["--unshare-user", "--unshare-pid", ...net, "--cap-drop", "ALL"],
    ...["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"],
    "--die-with-parent",
    "--",
    `${dir}/codex-linux-sandbox`,
    ...["--sandbox-policy-cwd", work, "--permission-profile", READS_ALL],
    ...["--apply-seccomp-then-exec", "--allow-network-for-proxy"],
    ...["--proxy-route-spec", spec, "--", ...command],
  ], { env });
}

if (LAUNCHERS.includes("system")) {
  matrix(
    "a caller's own namespaces are bridged to its socket, and the bridge ends with the command",
    BOTH_ACTORS,
    async (subject) => {
      const path = `${subject.dir}/proxy.sock`;
      await using proxy = await callersProxy({ path });
      chmodSync(path, 0o777);
      const spec = JSON.stringify({
        routes: [
          { env_key: "HTTP_PROXY", uds_path: path },
          { env_key: "HTTPS_PROXY", uds_path: path },
        ],
      });
      const run = await callersStage(
        subject,
        ["--unshare-net"],
        spec,
        [
          "bash",
          "-c",
          `${ASK}[ "$HTTP_PROXY" = "$HTTPS_PROXY" ] && ask HTTP_PROXY && exec 3>&-
          sleep 0.2; "$0" socket 1 1 0`,
          subject.probe,
        ],
        {
          HTTP_PROXY: "http://127.0.0.1:9",
          HTTPS_PROXY: "http://127.0.0.1:9",
        },
      );
      expect(run).toEqual({ end: 0, stdout: "EPERM\n", stderr: "" });
      await until(() => proxy.got.length === 1, "the proxy was asked");
      expect(proxy.got).toEqual(["from HTTP_PROXY\n"]);
      await untilNobodyIsLeft();
      expect(ourProcesses()).toEqual([]);
    },
  );

  /**
   * Runs `words` in a caller's stage with a bridge, `then` in the namespaces beside it. The bridge's cmdline is found by `[-]-relay`;
   * `asked` is there as soon as somebody has asked through it.
   */
  const besideBridge = async (
    subject: Subject,
    words: readonly string[],
    then: string,
  ): Promise<string> => {
    const { codex, dir, work, outside } = subject;
    symlinkSync(codex, `${dir}/codex-linux-sandbox`);
    const path = `${dir}/proxy.sock`;
    await using _proxy = await callersProxy(
      { path },
      () => writeFileSync(`${dir}/asked`, ""),
    );
    chmodSync(path, 0o777);
    const { stdout } = await outside([
      "/usr/bin/bwrap",
      ...["--unshare-user", "--unshare-pid", "--unshare-net"],
      ...["--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev"],
      ...["--proc", "/proc", "--die-with-parent", "--"],
      ...["bash", "-c", `"$@"\n${then}`, "bash"],
      `${dir}/codex-linux-sandbox`,
      ...["--sandbox-policy-cwd", work, "--permission-profile", READS_ALL],
      ...["--apply-seccomp-then-exec", "--allow-network-for-proxy"],
      "--proxy-route-spec",
      JSON.stringify({ routes: [{ env_key: "HTTP_PROXY", uds_path: path }] }),
      ...["--", ...words],
    ], { env: { HTTP_PROXY: "http://127.0.0.1:9" } });
    return stdout;
  };

  matrix(
    "the bridge ends with the command, also where its namespaces go on",
    BOTH_ACTORS,
    async (subject) => {
      const isThere = "grep -qa -e '[-]-relay' /proc/[0-9]*/cmdline";
      const stdout = await besideBridge(
        subject,
        // Once it serves: by then it is bound to the command, which it looks at first.
        [
          "bash",
          "-c",
          `${ASK}ask HTTP_PROXY; exec 3>&-; until [ -e ${subject.dir}/asked ]; do sleep 0.01; done; ${isThere} && echo there`,
        ],
        `for i in {1..1000}; do ${isThere} || { echo gone; exit; }; sleep 0.01; done; echo there`,
      );
      expect(stdout).toBe("there\ngone\n");
    },
  );

  matrix(
    "the command can't look into the bridge",
    BOTH_ACTORS,
    async (subject) => {
      // It is closed from its first moments on, but not from the first.
      const look = (file: string): string =>
        `for i in {1..5000}; do
          bridge=$(grep -la -e '[-]-relay' /proc/[0-9]*/cmdline) || continue
          cat "\${bridge%/cmdline}/${file}" 2>&1 >/dev/null | grep -o 'Permission denied' && break
          sleep 0.01
        done\n`;
      expect(
        await besideBridge(
          subject,
          ["bash", "-c", look("mem") + look("environ")],
          "",
        ),
      ).toBe("Permission denied\nPermission denied\n");
    },
  );

  test("a bridge whose command has gone before it was ready ends at once", () => {
    const { dir, codex } = setup();
    symlinkSync(codex, `${dir}/codex-linux-sandbox`);
    writeFileSync(
      `${dir}/orders`,
      JSON.stringify({ routes: [{ fd: 4, path: "/x" }], parent: 1 }),
    );
    const orders = openSync(`${dir}/orders`, "r");
    const listening = listenFd();
    const bridge = Bun.spawnSync(
      [`${dir}/codex-linux-sandbox`, "--relay", "3"],
      {
        stdio: ["ignore", "ignore", "ignore", orders, listening.fd],
        timeout: 20_000,
        killSignal: "SIGKILL",
      },
    );
    for (const fd of [orders, listening.fd]) closeSync(fd);
    expect(bridge.exitCode).toBe(0);
  });

  const SPECS = [ // specification, what is said
    ['{"routes":[]}', "proxy routing spec contained no routes"],
    ['{"routes":[{"env_key":"A","uds_path":"/x"}]}', "missing proxy env key A"],
    [
      '{"routes":[{"env_key":"HTTP_PROXY","control_fd":2}]}',
      "proxy bootstrap channel must not use standard descriptors",
    ],
    [
      '{"routes":[{"env_key":"HTTP_PROXY","control_fd":77}]}',
      "Cannot hand the listeners over",
    ],
    ["{", "failed to parse proxy routing spec"],
  ] as const;
  for (const [spec, said] of SPECS) {
    test(`a caller's inner stage runs nothing with ${spec}`, async () => {
      const run = await callersStage(
        setup(),
        ["--unshare-net"],
        spec,
        ["echo", "ran"],
        { HTTP_PROXY: "http://127.0.0.1:9" },
      );
      expect({ end: run.end, stdout: run.stdout })
        .toEqual({ end: 125, stdout: "" });
      expect(run.stderr).toContain(said);
    });
  }

  test("a caller's inner stage runs nothing in a network that leads somewhere", async () => {
    const spec = '{"routes":[{"env_key":"HTTP_PROXY","uds_path":"/x"}]}';
    const ways = readFileSync("/proc/net/route", "utf8").trim().split("\n");
    if (ways.length <= 1) return notProved("routes are seen", "no route here");
    const run = await callersStage(setup(), [], spec, ["echo", "ran"], {
      HTTP_PROXY: "http://127.0.0.1:9",
    });
    expect({ end: run.end, stdout: run.stdout })
      .toEqual({ end: 125, stdout: "" });
  });
} else notProved("a caller's own namespaces", "no bwrap here");
