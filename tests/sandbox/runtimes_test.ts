/**
 * Runtimes that ask much of a kernel, under the default filter: threads, workers, servers on one's own loopback, pools of processes.
 *
 * Each says `fine`. What a run without network denies them is in the same table. A runtime that isn't here is passed over.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { ACTORS, leaveClean, setup } from "./harness.ts";

afterAll(leaveClean);

const NETWORKS = ["none", "host"] as const;
type Network = (typeof NETWORKS)[number];

interface Row {
  readonly what: string;
  readonly why: string;
  /** The program, then the flag that takes a script; the script comes last. */
  readonly runtime: readonly [program: string, ...words: string[]];
  readonly script: string;
  /** The last line of stdout. */
  readonly says: Readonly<Record<Network, string>>;
}

const FINE = { none: "fine", host: "fine" } as const;
const PYTHON = ["/usr/bin/python3", "-c"] as const;
const NODE = ["node", "-e"] as const;

const ROWS: readonly Row[] = [
  {
    what: "a pool of processes",
    why: "named semaphores lie in /dev/shm",
    runtime: PYTHON,
    script: `
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
print("fine")`,
    says: FINE,
  },
  {
    what: "a pool of threads and a queue",
    why: "clone with all the flags of threads, and semaphores again",
    runtime: PYTHON,
    script: `
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
import multiprocessing
queue = multiprocessing.get_context("fork").SimpleQueue()
queue.put("fine")
print(queue.get())`,
    says: FINE,
  },
  {
    what: "an event loop with a subprocess and a server",
    why: "a self-pipe, a child watcher, TCP on its own loopback",
    runtime: PYTHON,
    script: `
import asyncio
async def main():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"fine\\n")
    child = await asyncio.create_subprocess_exec("true")
    assert await child.wait() == 0
    print((await reader.readline()).decode().strip())
asyncio.run(main())`,
    says: FINE,
  },
  {
    what: "a path socket of its own",
    why: "the filter closes AF_UNIX where there is no network",
    runtime: PYTHON,
    script: `
import socket
try:
    server = socket.socket(socket.AF_UNIX)
    server.bind("/dev/shm/own")
    server.listen()
    socket.socket(socket.AF_UNIX).connect("/dev/shm/own")
    print("fine")
except OSError as error:
    print(error.strerror)`,
    says: { none: "Operation not permitted", host: "fine" },
  },
  {
    what: "an abstract socket of its own",
    why: "the scope is closed to the host's, not to its own",
    runtime: PYTHON,
    script: `
import socket
try:
    server = socket.socket(socket.AF_UNIX)
    server.bind("\\0codex-runtimes")
    server.listen()
    socket.socket(socket.AF_UNIX).connect("\\0codex-runtimes")
    print("fine")
except OSError as error:
    print(error.strerror)`,
    says: { none: "Operation not permitted", host: "fine" },
  },
  {
    what: "worker threads",
    why: "threads come by clone3, or by clone where that is closed",
    runtime: NODE,
    script: `
const { Worker } = require("node:worker_threads");
const code = 'require("node:worker_threads").parentPort.postMessage("fine")';
new Worker(code, { eval: true }).on("message", (word) => console.log(word));`,
    says: FINE,
  },
  {
    what: "a forked child with messages",
    why: "they go over a stream pair",
    runtime: NODE,
    script: `
const { fork } = require("node:child_process");
const { writeFileSync } = require("node:fs");
writeFileSync("/dev/shm/child.cjs", 'process.send("fine", () => process.exit())');
fork("/dev/shm/child.cjs").on("message", (word) => console.log(word));`,
    says: FINE,
  },
  {
    what: "a server and its client",
    why: "its own loopback, and the interfaces by NETLINK_ROUTE",
    runtime: NODE,
    script: `
const { createServer, get } = require("node:http");
require("node:os").networkInterfaces();
const server = createServer((_, answer) => answer.end("fine"));
server.listen(0, "127.0.0.1", () =>
  get({ port: server.address().port, host: "127.0.0.1" }, (answer) => {
    answer.on("data", (text) => console.log(String(text)));
    answer.on("end", () => server.close());
  }));`,
    says: FINE,
  },
  {
    what: "a virtual machine with threads and a server",
    why: "a JVM maps much, starts many threads and asks for interfaces",
    runtime: ["java", "-Xmx256m"],
    script: `
import java.net.*;
class Main {
  public static void main(String[] words) throws Exception {
    NetworkInterface.getNetworkInterfaces();
    try (var server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      var other = new Thread(() -> {
        try (var client = server.accept()) {
          client.getOutputStream().write("fine\\n".getBytes());
        } catch (Exception error) { throw new RuntimeException(error); }
      });
      other.start();
      try (var own = new Socket(server.getInetAddress(), server.getLocalPort())) {
        System.out.println(new String(own.getInputStream().readAllBytes()).trim());
      }
      other.join();
    }
  }
}`,
    says: FINE,
  },
];

for (const actor of ACTORS) {
  describe(`as ${actor}`, () => {
    const subject = setup({ actor, launcher: "auto", stage: "auto" });
    const { home, work, run } = subject;
    writeFileSync(
      `${home}/config.toml`,
      '[permissions.host]\nextends = ":read-only"\nnetwork = { enabled = true }\n',
    );
    for (const { what, why, runtime, script, says } of ROWS) {
      const [program, ...words] = runtime;
      for (const network of NETWORKS) {
        test.skipIf(Bun.which(program) === null)(
          `${program}: ${what} with network ${network} says "${
            says[network]
          }": ${why}`,
          async () => {
            const file = `${work}/Main.java`;
            if (program === "java") writeFileSync(file, script);
            const outcome = await run([
              ...["-P", network === "host" ? "host" : ":read-only", "--"],
              ...[program, ...words, program === "java" ? file : script],
            ]);
            expect([outcome.stdout.trimEnd().split("\n").at(-1), outcome.end])
              .toEqual([says[network], 0]);
          },
        );
      }
    }
  });
}
