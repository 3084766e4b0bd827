/**
 * The inner stage, in a process of its own: what it does before the command, and that it starts none where any of it fails.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync, type StdioOptions } from "node:child_process";
import {
  closeSync,
  constants,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import { traceDomain } from "../../src/linux/domains.ts";
import type { InnerOrders } from "../../src/linux/inner_stage.ts";
import { abs } from "../../src/policy/path.ts";
import * as abi from "../../src/sys/abi.ts";
import { policyOf } from "../policy/world.ts";
import type { Orders } from "./become.ts";
import type { Refused } from "./refuse.ts";

const CHILD = `${import.meta.dirname}/become.ts`;
/** The command's status, and ours. */
const STARTED = 7;
const OURS = 125;

let folder = "";
const opened: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "codex-inner-"));
  writeFileSync(join(folder, "file"), "0123456789");
  writeFileSync(join(folder, "other"), "abcdefghij");
});
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

function bytes(text: string): ByteString {
  return text as ByteString;
}

/** A process's end. */
interface End {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function endOf(
  stage: Orders["stage"],
  refused: readonly Refused[],
  capabilities: Orders["capabilities"],
  stdio: StdioOptions,
): End {
  const orders: Orders = { stage, refused, capabilities };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [CHILD, JSON.stringify(orders)],
    { stdio, timeout: 20_000, encoding: "latin1" },
  );
  return { status, stdout, stderr };
}

/** What is different about one stage. */
interface Difference {
  readonly orders?: Partial<InnerOrders>;
  readonly refused?: readonly Refused[];
  readonly capabilities?: Orders["capabilities"];
  readonly stdio?: StdioOptions;
}

/** Runs a shell's line behind the inner stage. */
function run(line: string, difference: Difference = {}): End {
  const orders: InnerOrders = {
    command: ["/bin/sh", "-c", line].map(bytes),
    environment: [bytes("PATH=/usr/bin:/bin")],
    filter: null,
    softNofile: 1024,
    passFds: [],
    writeGuard: null,
    reboundFds: [],
    traceDomain: null,
    listenPorts: [],
    ...difference.orders,
  };
  const ordersFile = join(folder, "orders");
  writeFileSync(ordersFile, JSON.stringify(orders), "latin1");
  return endOf(
    { kind: "inner", ordersFile },
    difference.refused ?? [],
    difference.capabilities ?? "dropped",
    difference.stdio ?? ["ignore", "pipe", "pipe"],
  );
}

function stream(path: string, flags: number): number {
  const fd = openSync(path, flags);
  opened.push(fd);
  return fd;
}

/** Standard input as a file for reading, two bytes of which are read. */
function input(): StdioOptions {
  const fd = stream(join(folder, "file"), constants.O_RDONLY);
  readSync(fd, new Uint8Array(2));
  return [fd, "pipe", "pipe"];
}

function rebound(path: string, fd = 0): Partial<InnerOrders> {
  return { reboundFds: [{ fd, place: abs(path) }] };
}

function guard(
  places: readonly string[],
  fds = [0, 1, 2],
): Partial<InnerOrders> {
  return { writeGuard: { places: places.map(bytes), fds } };
}

/** Opens a file, and standard input anew, for writing, and says where it could. /dev/null is closed too. */
const WRITES =
  '(echo x >"$0/other") && echo other; (echo x >/proc/self/fd/0) && echo input; exit 7';

test("control: the command is started with its words, variables and directory", () => {
  const { status, stdout } = run("echo $PATH $PWD; exit 7");
  expect({ status, stdout }).toEqual({
    status: STARTED,
    stdout: `/usr/bin:/bin ${process.cwd()}\n`,
  });
});

test("a stream is opened anew, at the same offset and with one of its own", () => {
  linkSync(join(folder, "file"), join(folder, "second"));
  const stdio = input();
  const { status, stdout } = run("cat; exit 7", {
    orders: rebound(join(folder, "second")),
    stdio,
  });
  expect({ status, stdout }).toEqual({ status: STARTED, stdout: "23456789" });
  const [fd] = stdio as [number];
  const next = new Uint8Array(1);
  readSync(fd, next);
  expect(String.fromCharCode(...next)).toBe("2");
});

/** `unistd.h`: the third argument of lseek(2). */
const SEEK_SET = 0;

/** In each place lies nothing that may stand for the stream: nothing is started. */
const REBINDS: readonly (readonly [
  what: string,
  difference: () => Difference,
])[] = [
  ["another file lies there", () => ({
    orders: rebound(join(folder, "other")),
    stdio: input(),
  })],
  ["a place of the same inode number lies there, on another device", () => {
    // The roots of both are inode 1.
    expect([statSync("/sys").ino, statSync("/proc").ino]).toEqual([1, 1]);
    return {
      orders: rebound("/proc"),
      stdio: [stream("/sys", constants.O_RDONLY), "pipe", "pipe"],
    };
  }],
  ["nothing lies there", () => ({
    orders: rebound(join(folder, "gone")),
    stdio: input(),
  })],
  ["the stream is not open", () => ({
    orders: rebound(join(folder, "file"), 90),
  })],
  ["the offset can't be set", () => ({
    orders: rebound(join(folder, "file")),
    stdio: input(),
    refused: [{ call: "lseek", when: [2, SEEK_SET] }],
  })],
  ["the stream can't be replaced", () => ({
    orders: rebound(join(folder, "file")),
    stdio: input(),
    refused: [{ call: "dup3" }],
  })],
];

for (const [what, difference] of REBINDS) {
  test(`a stream is not opened anew, and nothing starts, where ${what}`, () => {
    const { status, stdout, stderr } = run("exit 7", difference());
    expect({ status, stdout }).toEqual({ status: OURS, stdout: "" });
    expect(stderr).toMatch(/^codex: Cannot open descriptor \d+ anew at /);
  });
}

test("behind a guard nothing is written through a stream for reading, and nothing outside of the guard's places", () => {
  const { status, stdout } = run(WRITES.replaceAll("$0", folder), {
    orders: guard([]),
    stdio: input(),
  });
  expect({ status, stdout }).toEqual({ status: STARTED, stdout: "" });
  expect(readFileSync(join(folder, "file"), "latin1")).toBe("0123456789");
});

test("behind a guard its places, and streams for writing, are written", () => {
  const out = stream(join(folder, "other"), constants.O_WRONLY);
  const { status } = run(
    `echo x >${folder}/file && echo y >/proc/self/fd/1 && exit 7`,
    { orders: guard([join(folder, "file")]), stdio: ["ignore", out, "pipe"] },
  );
  expect(status).toBe(STARTED);
  expect(readFileSync(join(folder, "file"), "latin1")).toBe("x\n");
  expect(readFileSync(join(folder, "other"), "latin1")).toBe("y\n");
});

const TRACED: Partial<InnerOrders> = { traceDomain: traceDomain(6) };
/** A filter that allows everything: BPF_RET, SECCOMP_RET_ALLOW. */
const FILTERED: Partial<InnerOrders> = {
  filter: "\x06\0\0\0\0\0\xff\x7f",
};

/** Nothing is started where one of these fails. */
const FAILURES: readonly (readonly [what: string, difference: Difference])[] = [
  ["it still has capabilities", { capabilities: "kept" }],
  ["inherited descriptors can't be closed", {
    refused: [{ call: "close_range" }],
  }],
  ["a descriptor can't be passed", { orders: { passFds: [90] } }],
  ["a signal can't be reset", { refused: [{ call: "rt_sigaction" }] }],
  ["the limit of open files can't be restored", {
    refused: [{ call: "prlimit64" }],
  }],
  ["the listeners can't be handed over", { orders: { listenPorts: [0] } }],
  ["a guard can't be made", {
    orders: guard([]),
    refused: [{ call: "landlock_create_ruleset" }],
  }],
  ["a place of a guard is not there", { orders: guard(["/nowhere/at/all"]) }],
  ["a place of a guard can't be allowed", {
    orders: guard(["/tmp"]),
    refused: [{ call: "landlock_add_rule" }],
  }],
  ["a guard can't be entered", {
    orders: guard([]),
    refused: [{ call: "landlock_restrict_self" }],
  }],
  ["the domain of debug can't be entered", {
    orders: TRACED,
    refused: [{ call: "landlock_restrict_self" }],
  }],
  ["no_new_privs can't be set", {
    refused: [{ call: "prctl", when: [0, abi.PR_SET_NO_NEW_PRIVS] }],
  }],
  ["the filter can't be installed", {
    orders: FILTERED,
    refused: [{ call: "seccomp" }],
  }],
];

for (const [what, difference] of FAILURES) {
  const needsRoot = what === "it still has capabilities";
  test.skipIf(needsRoot && process.geteuid?.() !== 0)(
    `the inner stage starts nothing where ${what}`,
    () => {
      const { status, stderr } = run("exit 7", difference);
      expect(status).toBe(OURS);
      expect(stderr).toMatch(/^codex: [^\n]+\n$/);
    },
  );
}

test("the command can't gain privileges, with a filter of its own or without", () => {
  for (const orders of [{}, FILTERED]) {
    const { status, stdout } = run(
      "grep NoNewPrivs /proc/self/status; exit 7",
      {
        orders,
      },
    );
    expect({ status, stdout })
      .toEqual({ status: STARTED, stdout: "NoNewPrivs:\t1\n" });
  }
});

test("an inner stage that can't see its capabilities starts nothing", () => {
  const { status, stderr } = run("exit 7", { refused: [{ call: "openat" }] });
  expect({ status, stderr }).toEqual({
    status: OURS,
    stderr:
      "codex: Linux sandbox retained effective or permitted capabilities\n",
  });
});

/** A caller's namespaces, as far as this test needs them: the command alone. */
function runCallers(
  network: "none" | "host" | "proxied",
  line: string,
  refused: readonly Refused[] = [],
): End {
  return endOf(
    {
      kind: "callers",
      policy: { ...policyOf([[":root", "read"]]), network },
      command: ["/bin/sh", "-c", line].map(bytes),
      environment: [bytes("PATH=/usr/bin:/bin")],
      routes: null,
    },
    refused,
    "dropped",
    ["ignore", "pipe", "pipe"],
  );
}

/** Says which families a socket can be made of. */
const FAMILIES = `/usr/bin/python3 -c 'import socket
for family in (socket.AF_INET, socket.AF_UNIX, socket.AF_VSOCK):
  try: socket.socket(family, socket.SOCK_STREAM); print("made", end=" ")
  except OSError as error: print(error.errno, end=" ")'; exit 7`;

/** What the command can make of AF_INET, AF_UNIX and AF_VSOCK. */
const SOCKETS: readonly (readonly [network: "none" | "host", made: string])[] =
  [
    ["none", "1 1 1 "],
    ["host", "made made 1 "],
  ];

for (const [network, made] of SOCKETS) {
  test(`a caller's inner stage with the network "${network}" installs its filter: ${made}`, () => {
    const { status, stdout } = runCallers(network, FAMILIES);
    expect({ status, stdout }).toEqual({ status: STARTED, stdout: made });
  });
}

/** Nothing is started where one of these fails. */
const CALLERS_FAILURES: readonly (readonly [
  what: string,
  network: "none" | "proxied",
  refused: readonly Refused[],
])[] = [
  ["inherited descriptors can't be closed", "none", [{ call: "close_range" }]],
  ["its routes can't be opened", "proxied", []],
  ["the filter can't be installed", "none", [{ call: "seccomp" }]],
];

for (const [what, network, refused] of CALLERS_FAILURES) {
  test(`a caller's inner stage starts nothing where ${what}`, () => {
    const { status, stderr } = runCallers(network, "exit 7", refused);
    expect(status).toBe(OURS);
    expect(stderr).toMatch(/^codex: [^\n]+\n$/);
  });
}
