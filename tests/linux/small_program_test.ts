/**
 * The small programs as the kernel runs them: the interpreter itself, and what the one that listens does when a step fails.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import type { ByteString } from "../../src/bytes.ts";
import { accept, takeListeners } from "../../src/linux/control_channel.ts";
import {
  type Listening,
  listeningProgram,
} from "../../src/linux/listening_program.ts";
import {
  assembleProgram,
  type Block,
  type Call,
  COMPARE,
} from "../../src/linux/small_program.ts";
import { SYSCALLS } from "../../src/sys/abi.ts";
import { close, hostArch, poll } from "../../src/sys/calls.ts";
import { stableBytes } from "../../src/sys/ffi.ts";
import { sendMessage, socketPair } from "../../src/sys/sockets.ts";

const folder = mkdtempSync(`${tmpdir()}/codex-small-`);
afterAll(() => rmSync(folder, { recursive: true }));

const ARCH = hostArch();
const SYS = SYSCALLS[ARCH];
/** Inside nobody has a capability; here root would. */
const WITHOUT_CAPABILITIES = process.getuid?.() === 0
  ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
  : [];

let files = 0;

function place(program: Uint8Array): string {
  const path = `${folder}/${files++}`;
  writeFileSync(path, program, { mode: 0o755 });
  return path;
}

function block(text: string): Block {
  return { bytes: new TextEncoder().encode(text) };
}

function say(text: string): Call {
  return { number: SYS.write, words: [1, block(text), text.length] };
}

function end(status: number): Call {
  return { number: SYS.exit_group, words: [status] };
}

function run(
  calls: readonly Call[],
  ownWords = 0,
  words: string[] = [],
): { readonly status: number; readonly stdout: string } {
  const path = place(assembleProgram(ARCH, { calls, ownWords }));
  const done = Bun.spawnSync([path, ...words], { env: { A: "1", B: "two" } });
  return { status: done.exitCode, stdout: done.stdout.toString() };
}

test("calls are made one after the other, and nothing behind the last", () => {
  expect(run([say("one "), say("two"), end(7), say("three")]))
    .toEqual({ status: 7, stdout: "one two" });
});

test("a result below the least goes on with the other list, one that is the least does not", () => {
  const below = (least: number): Call => ({
    ...say("four"),
    below: { least, goOn: [say(" below"), end(1)] },
  });
  expect(run([below(4), end(0)])).toEqual({ status: 0, stdout: "four" });
  expect(run([below(5), end(0)])).toEqual({ status: 1, stdout: "four below" });
  const failing: Call = {
    number: SYS.close,
    words: [-1],
    below: { least: 0, goOn: [end(9)] },
  };
  expect(run([failing, end(0)]).status).toBe(9);
});

test("words are compared as 8 bytes, and what a call left can be one of them", () => {
  const count: Block = { bytes: new Uint8Array(8) };
  const compared = (left: number, right: number): Call[] => [
    { ...say("x".repeat(left)), into: { in: count, offset: 0 } },
    {
      number: COMPARE,
      words: [{ in: count, offset: 0 }, right],
      below: { least: 0, goOn: [end(1)] },
    },
    end(0),
  ];
  expect(run(compared(3, 3)).status).toBe(0);
  expect(run(compared(3, 4)).status).toBe(1);
  const high: Block = { bytes: new Uint8Array([3, 0, 0, 0, 0, 0, 0, 1]) };
  const both: Call = {
    number: COMPARE,
    words: [{ in: high, offset: 0 }, 3],
    below: { least: 0, goOn: [end(1)] },
  };
  expect(run([both, end(0)]).status).toBe(1);
});

test("what is executed gets the words behind our own, and the environment", () => {
  const shell = block("/bin/sh\0");
  const calls: Call[] = [
    { number: SYS.execve, words: [shell, "argv", "environment"] },
    end(1),
  ];
  const words = ["sh", "-c", 'echo "$0 $1 $A $B"', "zero", "one"];
  expect(run(calls, 1, words)).toEqual({
    status: 0,
    stdout: "zero one 1 two\n",
  });
});

test("neither segment can be written and executed", () => {
  for (const arch of ["x64", "arm64"] as const) {
    const file = assembleProgram(arch, { calls: [end(0)], ownWords: 0 });
    const view = new DataView(file.buffer);
    expect([0, 1, 2].map((index) => view.getUint32(64 + 56 * index + 4, true)))
      .toEqual([5, 6, 6]);
  }
});

const [PORT, SECOND] = await Promise.all([0, 0].map(freePort)) as [
  number,
  number,
];

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts the program that listens, its channel in our hands. */
function listening(
  changes: Partial<Listening> = {},
  asWhom: readonly string[] = WITHOUT_CAPABILITIES,
): {
  readonly outside: number;
  readonly outcome: () => Promise<{
    readonly status: number;
    readonly stdout: string;
    readonly stderr: string;
  }>;
} {
  const ends = socketPair("seqpacket");
  if (!ends.ok) throw new Error("no sockets");
  const [inside, outside] = ends.value;
  const path = place(listeningProgram({
    arch: ARCH,
    ports: [PORT, SECOND],
    channel: 3,
    self: 4,
    place: "/bin/sh" as ByteString,
    name: "sh",
    ...changes,
  }));
  const null4 = Bun.file("/dev/null");
  const child = Bun.spawn(
    [...asWhom, path, "sh", "-c", "echo ran; ls -l /proc/self/fd | wc -l"],
    { stdio: ["ignore", "pipe", "pipe", inside, null4] },
  );
  close(inside);
  return {
    outside,
    outcome: async () => ({
      status: await child.exited,
      stdout: await new Response(child.stdout).text(),
      stderr: await new Response(child.stderr).text(),
    }),
  };
}

/** The listeners, once they are there; `null` when the program has ended without. */
function taken(outside: number): readonly number[] | null {
  poll([{ fd: outside, events: 1 }], 10e9);
  const fds = takeListeners(outside, 2);
  if (!fds.ok) throw new Error("no listeners");
  return fds.value;
}

test("the program hands its listeners over, waits, and starts the command without a descriptor of ours", async () => {
  const { outside, outcome } = listening();
  const fds = taken(outside);
  expect(fds?.length).toBe(2);
  expect(accept(outside).ok).toBe(true);
  // "total", 0 to 2, and the one that ls reads.
  expect(await outcome()).toEqual({
    status: 0,
    stdout: "ran\n5\n",
    stderr: "",
  });
  for (const fd of fds ?? []) closeSync(fd);
  close(outside);
});

const LOST =
  "codex: Cannot start without the managed network: the host bridge did not accept its listener\n";

test("nothing is started where the supervisor goes away", async () => {
  const { outside, outcome } = listening();
  for (const fd of taken(outside) ?? []) closeSync(fd);
  close(outside);
  expect(await outcome()).toEqual({ status: 125, stdout: "", stderr: LOST });
});

for (const word of ["accepteD", "accepted, almost", "accept", "no"]) {
  test(`nothing is started on the answer "${word}"`, async () => {
    const { outside, outcome } = listening();
    for (const fd of taken(outside) ?? []) closeSync(fd);
    const bytes = stableBytes(word.length);
    Buffer.from(bytes.buffer).write(word, "latin1");
    sendMessage(outside, bytes, []);
    expect(await outcome()).toEqual({ status: 125, stdout: "", stderr: LOST });
    close(outside);
  });
}

test("nothing is started where a port is taken", async () => {
  const { outside, outcome } = listening({ ports: [PORT, PORT] });
  expect(await outcome()).toEqual({
    status: 125,
    stdout: "",
    stderr:
      `codex: Cannot listen on 127.0.0.1:${PORT} for the managed network; --stage inner says why\n`,
  });
  expect(taken(outside)).toBeNull();
  close(outside);
});

test.if(WITHOUT_CAPABILITIES.length > 0)(
  "nothing is started with capabilities",
  async () => {
    const { outside, outcome } = listening({}, []);
    expect(await outcome()).toEqual({
      status: 125,
      stdout: "",
      stderr:
        "codex: Linux sandbox retained effective or permitted capabilities\n",
    });
    expect(taken(outside)).toBeNull();
    close(outside);
  },
);

for (
  const [found, status, why] of [
    ["/nowhere/sh", 127, "command not found (ENOENT)"],
    [folder, 126, "it can't be executed"],
  ] as const
) {
  test(`a command that went away ends with ${status}: ${found.slice(0, 8)}`, async () => {
    const { outside, outcome } = listening({ place: found as ByteString });
    const fds = taken(outside);
    accept(outside);
    expect(await outcome()).toEqual({
      status,
      stdout: "",
      stderr: `codex: Failed to execvp sh: ${why}\n`,
    });
    for (const fd of fds ?? []) closeSync(fd);
    close(outside);
  });
}
