/**
 * The filter in the kernel: bwrap installs it, the probe asks, and real programs run under it.
 *
 * What can't be proved on this machine is said on stderr, and is a failure in CI.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { outDir } from "../../../scripts/build_files.ts";
import { assembledFilter } from "../../../src/linux/seccomp/programs.ts";
import type { FilterRequest } from "../../../src/linux/seccomp/filters.ts";
import {
  type Arch,
  type SyscallName,
  syscallNumber,
} from "../../../src/linux/seccomp/syscalls.ts";
import { notProved } from "../../sandbox/harness.ts";
import { probeBinary } from "../../sandbox/probe.ts";

const ARCH: Arch = process.arch === "arm64" ? "arm64" : "x86_64";
const PROGRAM_TIMEOUT_MS = 60_000;
const work = mkdtempSync("/tmp/seccomp-live-");
afterAll(() => rmSync(work, { recursive: true, force: true }));

const BWRAP = ["/usr/bin/bwrap", `${outDir}/bwrap`].filter((path) =>
  existsSync(path)
);
const bwrap = BWRAP.find((path) => enters(path)) ?? null;
if (bwrap === null) {
  notProved(
    "the filter in the kernel",
    `no working bwrap among ${JSON.stringify(BWRAP)}`,
  );
}
const liveTest = bwrap === null ? test.skip : test;

/** Numbers through the kernel's door: call, arguments, answer under the filter, answer without it. */
const CALL_ROWS: readonly (readonly [
  SyscallName,
  readonly string[],
  string,
  string,
])[] = [
  ["io_uring_setup", ["0", "0"], "EPERM", "EFAULT"],
  ["io_uring_enter", ["-1"], "EPERM", "EBADF"],
  ["io_uring_register", ["-1", "0xffff"], "EPERM", "EINVAL"],
  ["ptrace", ["16", "0"], "EPERM", "ESRCH"],
  [
    "process_vm_readv",
    ["0x7fffffff", "0", "0", "0", "0", "1"],
    "EPERM",
    "EINVAL",
  ],
  [
    "process_vm_writev",
    ["0x7fffffff", "0", "0", "0", "0", "1"],
    "EPERM",
    "EINVAL",
  ],
  ["process_madvise", ["-1", "0", "0", "0", "1"], "EPERM", "EINVAL"],
  ["pidfd_getfd", ["-1", "-1", "1"], "EPERM", "EINVAL"],
  ["add_key", ["0", "0", "0", "0", "0"], "EPERM", "EFAULT"],
  ["request_key", ["0", "0", "0", "0"], "EPERM", "EFAULT"],
  ["keyctl", ["-1"], "EPERM", "EOPNOTSUPP"],
  ["userfaultfd", ["0xff"], "EPERM", "EINVAL"],
  ["unshare", ["0x10000001"], "EPERM", "EINVAL"],
  ["unshare", ["0"], "ok 0", "ok 0"],
  ["setns", ["-1", "0"], "EPERM", "EBADF"],
  ["clone3", ["0", "0"], "ENOSYS", "EINVAL"],
  ["open_tree", ["-1", "0", "0"], "EPERM", "EFAULT"],
  ["chroot", ["0"], "EPERM", "EFAULT"],
  ["ioctl", ["-1", "0x5413"], "EBADF", "EBADF"],
];
for (const [name, args, filtered, bare] of CALL_ROWS) {
  liveTest(
    `the kernel answers ${filtered} to ${name}(${args.join()}), without the filter ${bare}`,
    () => {
      const words = ["syscall", String(syscallNumber(name, ARCH)), ...args];
      expect(ask(words, strict("isolated"))).toBe(filtered);
      const without = ask(words, null);
      if (without === "EPERM" && filtered === "EPERM") {
        notProved(name, "this machine denies it without a filter");
      } else expect(without).toBe(bare);
    },
  );
}

/** Probe words; answers under isolated, isolated_tight, shared_restricted, host. */
const SOCKET_ROWS: readonly (readonly [string, readonly string[]])[] = [
  ["socket 2 1 0", ["ok", "EPERM", "EPERM", "ok"]],
  ["socket 0xdead00000002 1 0", ["ok", "EPERM", "EPERM", "ok"]],
  ["socket 2 10 0", ["EPERM", "EPERM", "EPERM", "EPERM"]],
  ["socket 16 3 0", ["ok", "EPERM", "EPERM", "ok"]],
  ["socket 16 3 16", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["socket 1 1 0", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["socket 1 2 0", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["socket 0x100000001 2 0", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["socket 1 3 0", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["socket 40 1 0", ["EPERM", "EPERM", "EPERM", "EPERM"]],
  ["socket 0x100000028 1 0", ["EPERM", "EPERM", "EPERM", "EPERM"]],
  ["socket 38 5 0", ["EPERM", "EPERM", "EPERM", "EPERM"]],
  ["socketpair 1 1 0", ["ok", "ok", "ok", "ok"]],
  ["socketpair 1 0x80805 0", ["ok", "ok", "ok", "ok"]],
  ["socketpair 1 2 0", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["socketpair 1 0x100000003 0", ["EPERM", "EPERM", "EPERM", "ok"]],
  ["send-pair 1", ["ok 5", "EPERM", "ok 5", "ok 5"]],
  ["send-pair 5", ["ok 5", "EPERM", "ok 5", "ok 5"]],
  ["sendmsg-pair 1 /tmp/x", ["EISCONN", "EISCONN", "EISCONN", "EISCONN"]],
  ["sendmsg-pair 5 /tmp/x", ["ok 5", "ok 5", "ok 5", "ok 5"]],
  ["tiocsti", Array(4).fill("EPERM\nEPERM\nEPERM")],
  ["tioclinux", Array(4).fill("EPERM\nEPERM\nEPERM")],
  ["clone-flags 0", Array(4).fill("EINVAL")],
  ["clone-flags 0x10000000", Array(4).fill("EPERM")],
  ["clone-flags 0x00020000", Array(4).fill("EPERM")],
  ["loopback", ["ok abc", "EPERM", "EPERM", "ok abc"]],
];
for (const [words, answers] of SOCKET_ROWS) {
  liveTest(`"${words}" is answered ${JSON.stringify(answers)} by mode`, () => {
    const modes = [
      "isolated",
      "isolated_tight",
      "shared_restricted",
      "host",
    ] as const;
    expect(modes.map((mode) => ask(words.split(" "), strict(mode))))
      .toEqual([...answers]);
  });
}

liveTest(
  "foreign doors kill the process: int 0x80 and x32 end in SIGSYS",
  () => {
    if (ARCH !== "x86_64") {
      return notProved("int 0x80 and x32", "this is no x86-64");
    }
    for (const words of [["int80"], ["x32"]]) {
      expect(inSandbox([probeBinary(), ...words], strict("host")).status)
        .toBe(128 + 31);
    }
  },
);

liveTest("debug opens ptrace and process_vm_*, and nothing else", () => {
  const request = { ...strict("isolated"), debug: true };
  const answers = (["ptrace", "process_vm_readv", "io_uring_setup"] as const)
    .map((name) =>
      ask([
        "syscall",
        String(syscallNumber(name, ARCH)),
        ...["16", "0", "0", "0", "0", "1"],
      ], request)
    );
  expect(answers).toEqual(["ESRCH", "EINVAL", "EPERM"]);
});

liveTest(
  "a seqpacket or stream pair can't send to a host's datagram socket, a datagram socket could",
  async () => {
    const path = `${work}/datagram`;
    const receive = async (words: string[], request: FilterRequest) => {
      rmSync(path, { force: true });
      const listener = Bun.spawn(
        [probeBinary(), "receive-dgram", path, "60000"],
        { stdout: "pipe" },
      );
      while (!existsSync(path)) await Bun.sleep(2);
      ask(words, request);
      // Behind what was sent: the listener tells of the first alone.
      Bun.spawnSync(["python3", "-c", SEND_THREE_BYTES, path], {
        stderr: "ignore",
      });
      return (await new Response(listener.stdout).text()).trim();
    };
    const isolated = strict("isolated");
    expect([
      await receive(["sendmsg-dgram", path], strict("host")),
      await receive(["sendmsg-dgram", path], isolated),
      await receive(["sendmsg-dgram-pair", path], isolated),
      await receive(["sendmsg-pair", "5", path], isolated),
    ]).toEqual([
      "ready\ngot 5", // the control: what the filter is there for
      "ready\ngot 3",
      "ready\ngot 3",
      "ready\ngot 3",
    ]);
  },
);

const SEND_THREE_BYTES =
  'import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"end", sys.argv[1])';

const NODE_SERVER = `
const http = require("http"), os = require("os"), { Worker } = require("worker_threads");
const server = http.createServer((_, answer) => answer.end("hello")).listen(0, "127.0.0.1", () =>
  http.get({ port: server.address().port, host: "127.0.0.1" }, (got) => got.on("data", (text) => {
    const child = require("child_process").spawnSync("echo", ["child"]);
    new Worker("0", { eval: true }).on("exit", (code) => {
      console.log(String(text), String(child.stdout).trim(), Object.keys(os.networkInterfaces()).join(), code);
      server.close();
    });
  })));
`;
const PYTHON_PROGRAM = `
import asyncio, multiprocessing, subprocess, threading
def double(n): return 2 * n
async def main():
    async def serve(reader, writer):
        writer.write(await reader.read(5)); await writer.drain(); writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello"); text = await reader.read(5); writer.close()
    done = await asyncio.create_subprocess_exec("true")
    return text.decode(), await done.wait()
if __name__ == "__main__":
    print(asyncio.run(main()), multiprocessing.Pool(2).map(double, [1, 2, 3]))
`;
const JAVA_PROGRAM = `
import java.net.*; import java.util.stream.*;
public class Probe {
  public static void main(String[] words) throws Exception {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
         Socket client = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort());
         Socket peer = server.accept()) {
      client.getOutputStream().write(42);
      System.out.println(peer.getInputStream().read() + " " + IntStream.range(0, 1000).parallel().sum());
    }
  }
}
`;
const MAKEFILE = "all: a b c\na b c:\n\t@sleep 0.05; echo $@ > $@\n";

/** Title, programs that it needs, files, shell words, what comes out on stdout. */
const PROGRAM_ROWS: readonly (readonly [
  string,
  readonly string[],
  Readonly<Record<string, string>>,
  string,
  string,
])[] = [
  [
    "node serves itself, starts a child and a thread, lists interfaces",
    ["node"],
    { "server.cjs": NODE_SERVER },
    "node server.cjs",
    "hello child lo 0\n",
  ],
  [
    "Python runs asyncio with a server and a child, and a pool of processes",
    ["python3"],
    { "program.py": PYTHON_PROGRAM },
    "python3 program.py",
    "('hello', 0) [2, 4, 6]\n",
  ],
  [
    "git makes a repository and a commit",
    ["git"],
    {},
    "git init -q repo && cd repo && echo x > x && git add x && git -c user.name=a -c user.email=a@b commit -qm one && git log --format=%s",
    "one\n",
  ],
  [
    "make runs two jobs at once",
    ["make"],
    { "Makefile": MAKEFILE },
    "make -s -j2 && cat a b c",
    "a\nb\nc\n",
  ],
  [
    "a JVM starts, compiles and talks to itself",
    ["java", "javac"],
    { "Probe.java": JAVA_PROGRAM },
    "javac -d . Probe.java && java -Xshare:auto -XX:TieredStopAtLevel=1 Probe",
    "42 499500\n",
  ],
];
for (const [title, programs, files, script, output] of PROGRAM_ROWS) {
  liveTest(`without network, ${title}`, () => {
    const missing = programs.filter((program) => Bun.which(program) === null);
    if (missing.length > 0) {
      return notProved(title, `no ${missing.join(", ")} on PATH`);
    }
    const folder = mkdtempSync(`${work}/program-`);
    mkdirSync(`${folder}/home`);
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(`${folder}/${name}`, text);
    }
    const command = ["sh", "-c", `cd ${folder} && ${script}`];
    expect(inSandbox(command, strict("isolated"))).toEqual({
      status: 0,
      stdout: output,
      stderr: "",
    });
  }, PROGRAM_TIMEOUT_MS);
}

interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The most that a mode denies. */
function strict(network: FilterRequest["network"]): FilterRequest {
  return { arch: ARCH, network, debug: false, namespaces: "denied" };
}

/** What the probe prints under a filter, or without one. */
function ask(words: readonly string[], request: FilterRequest | null): string {
  return inSandbox([probeBinary(), ...words], request).stdout.trim();
}

function inSandbox(
  command: readonly string[],
  request: FilterRequest | null,
): Answer {
  const filter = `${work}/filter`;
  writeFileSync(filter, request === null ? "" : assembledFilter(request));
  const fd = openSync(filter, "r");
  try {
    const ran = Bun.spawnSync([
      bwrap!,
      ...SANDBOX,
      ...(request?.network === "host" ? [] : ["--unshare-net"]),
      ...(request === null ? [] : ["--seccomp", "3"]),
      "--",
      ...command,
    ], { stdio: ["ignore", "pipe", "pipe", fd] });
    return {
      status: ran.exitCode,
      stdout: ran.stdout!.toString(),
      stderr: ran.stderr!.toString(),
    };
  } finally {
    closeSync(fd);
  }
}

const SANDBOX = [
  "--ro-bind",
  "/",
  "/",
  "--dev",
  "/dev",
  "--proc",
  "/proc",
  "--bind",
  work,
  work,
  "--unshare-user",
  "--unshare-pid",
  "--unshare-ipc",
  "--cap-drop",
  "ALL",
  "--die-with-parent",
  "--setenv",
  "TMPDIR",
  work,
] as const;

/** Whether a bwrap can make a sandbox here at all. */
function enters(path: string): boolean {
  return Bun.spawnSync([
    path,
    "--ro-bind",
    "/",
    "/",
    "--proc",
    "/proc",
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--",
    "true",
  ]).success;
}
