/**
 * A kept start is made only while everything is as it was: a start that holds, and each thing that may be different about it.
 *
 * Through a process of its own with a program in bubblewrap's place: what is asked and opened is the host's, and nothing else is
 * needed. The same through the built file, with a sandbox: `tests/sandbox/kept_start_test.ts`.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync, type StdioOptions } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import { DEFAULT_ENVIRONMENT_POLICY } from "../../src/config/config.ts";
import { NOT_SET, type Origin } from "../../src/host/origin.ts";
import { abs } from "../../src/policy/path.ts";
import {
  type KeptPlace,
  keptPlace,
  type KeptStart,
} from "../../src/run/kept_start.ts";
import { askText } from "../../src/sys/calls.ts";
import type { Observation } from "../../src/sys/observed.ts";
import { LONG_WAY, type Orders } from "./become_kept.ts";

const CHILD = `${import.meta.dirname}/become_kept.ts`;
const KEPT = 7;
const OURS = process.geteuid?.() ?? 0;
const isRoot = OURS === 0;

/** Everything below one folder that is there, as it was when the start was kept. */
interface Scene {
  readonly home: string;
  readonly origin: Origin;
  readonly place: KeptPlace;
  /** The kept file. */
  readonly file: string;
  readonly kept: KeptStart;
}

let home = "";
const opened: number[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "codex-kept-"));
});
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
  rmSync(home, { recursive: true, force: true });
});

function bytes(text: string): ByteString {
  return text as ByteString;
}

function originOf(): Origin {
  return {
    words: [bytes("sandbox"), bytes("--"), bytes("true")],
    environment: [bytes(`CODEX_HOME=${home}`), bytes("ASKED=as it was")],
    cwd: abs(home),
    uid: OURS,
    euid: OURS,
    gid: process.getgid?.() ?? 0,
    egid: process.getegid?.() ?? 0,
  };
}

/** Writes a start that holds. Its program says what it got: descriptors, variables, words. */
function scene(): Scene {
  const origin = originOf();
  const place = keptPlace(origin);
  if (place === null) throw new Error("no place");
  mkdirSync(place.folder, { recursive: true, mode: 0o700 });
  for (const name of ["sandbox", "sandbox/starts"]) {
    chmodSync(join(home, name), 0o700);
  }
  mkdirSync(join(home, "bound"));
  symlinkSync("bound", join(home, "link"));
  writeFileSync(join(home, "asked"), "as it was");
  const program = join(home, "program");
  writeFileSync(
    program,
    `#!/bin/sh\nls -l /proc/self/fd >${home}/fds\nenv >${home}/env\nprintf '%s\\n' "$@" >${home}/words\nexit ${KEPT}\n`,
  );
  chmodSync(program, 0o755);
  const { dev, ino } = statSync(join(home, "bound"));
  const asked = bytes(join(home, "asked"));
  const kept: KeptStart = {
    key: place.key,
    observations: [
      [
        "lstat",
        join(home, "link"),
        askText(bytes(join(home, "link")), "lstat"),
      ],
      ["stat", join(home, "link"), askText(bytes(join(home, "link")), "stat")],
      ["open", asked, askText(asked, "content")],
      ["access", `4${asked}`, "0"],
      ["link", join(home, "link"), "bound"],
      ["text", "/proc/self/comm", readFileSync("/proc/self/comm", "latin1")],
      ["file_system", "/proc", String(0x9fa0)],
      ["variable", "ASKED", "as it was"],
      ["variable", "UNASKED", NOT_SET],
    ],
    environment: DEFAULT_ENVIRONMENT_POLICY,
    confinement: { network: "none", sandbox: "bubblewrap" },
    bwrap: program,
    words: ["--seccomp", "", "--bind-fd", "", "--null", "", "--"],
    descriptors: [
      { at: 1, kind: "filter" },
      {
        ...{ at: 3, kind: "bind", path: join(home, "bound") },
        ...{ device: dev, inode: ino },
      },
      { at: 5, kind: "nothing" },
    ],
    filter: {
      arch: "x86_64",
      network: "isolated",
      debug: false,
      namespaces: "allowed",
    },
    closesAbstract: false,
  };
  const file = `${place.folder}/${place.name}`;
  const made = { home, origin, place, file, kept };
  write(made, kept);
  return made;
}

function write({ file }: Scene, kept: KeptStart): void {
  writeFileSync(file, JSON.stringify(kept), {
    encoding: "latin1",
    mode: 0o600,
  });
}

/** What is different about one start. */
interface Difference {
  readonly origin?: Partial<Origin>;
  readonly stdio?: StdioOptions;
  /** A shell's line, in which `"$@"` is the start. */
  readonly shell?: string;
  readonly isFull?: boolean;
  readonly waitsForNobody?: boolean;
}

function start(
  { origin, place }: Scene,
  { origin: other, stdio, shell, isFull, waitsForNobody }: Difference = {},
): number | null {
  const orders: Orders = {
    origin: { ...origin, ...other },
    place,
    isFull: isFull ?? false,
    waitsForNobody: waitsForNobody ?? false,
  };
  const words = [process.execPath, CHILD, JSON.stringify(orders)];
  const [program = "", ...rest] = shell === undefined
    ? words
    : ["/bin/sh", "-c", `${shell}; exit $?`, "sh", ...words];
  const { status } = spawnSync(program, rest, {
    stdio: stdio ?? ["ignore", "pipe", "pipe"],
    timeout: 20_000,
  });
  return status;
}

/** An open file for a stream. */
function stream(path: string, flags: number): number {
  const fd = openSync(path, flags);
  opened.push(fd);
  return fd;
}

/** The streams of a start, of which one is `fd`. */
function streamsWith(at: number, fd: number): StdioOptions {
  const streams: ("ignore" | "pipe" | number)[] = ["ignore", "pipe", "pipe"];
  streams[at] = fd;
  return streams as StdioOptions;
}

function answered(
  scene: Scene,
  kind: Observation[0],
  answer: string,
): void {
  write(scene, {
    ...scene.kept,
    observations: scene.kept.observations.map((one) =>
      one[0] === kind ? [one[0], one[1], answer] : one
    ),
  });
}

test("a start that holds is made: its program, its descriptors and no other, its words, the caller's variables", () => {
  const made = scene();
  expect(start(made)).toBe(KEPT);
  const read = (name: string): string =>
    readFileSync(join(home, name), "latin1");
  const [, seccomp = "", , bound = "", , nothing = "", ...rest] = read("words")
    .trim().split("\n");
  expect(rest).toEqual(["--", "true"]);
  const targets = new Map(
    read("fds").split("\n").map((line) =>
      / (\d+) -> (.*)$/.exec(line)?.slice(1) as [string, string]
    ).filter((pair) => pair !== undefined),
  );
  const passed = [...targets].filter(([fd]) => Number(fd) >= 10);
  expect(passed).toEqual([
    [seccomp, "/memfd:codex-filter (deleted)"],
    [bound, join(home, "bound")],
    [nothing, "/dev/null"],
  ]);
  expect(read("env")).toContain("ASKED=as it was\n");
  expect(read("env")).toContain("CODEX_SANDBOX=bubblewrap\n");
});

test("a start's descriptors are none of the caller's streams, even where he has closed one", () => {
  const made = scene();
  expect(start(made, { shell: '"$@" <&-' })).toBe(KEPT);
  const words = readFileSync(join(home, "words"), "latin1").split("\n");
  expect([words[1], words[3], words[5]].every((fd) => Number(fd) >= 100)).toBe(
    true,
  );
});

test("variables that a policy leaves out stay out", () => {
  const made = scene();
  const environment = {
    ...DEFAULT_ENVIRONMENT_POLICY,
    exclude: [bytes("ASKED")],
  };
  write(made, { ...made.kept, environment });
  expect(start(made)).toBe(KEPT);
  expect(readFileSync(join(home, "env"), "latin1")).not.toContain("ASKED=");
});

/** After each the start goes the long way. */
const DIFFERENCES: readonly (readonly [
  what: string,
  change: (scene: Scene) => Difference | void,
])[] = [
  ["the folder is another user's", (made) => {
    // Without root's rights to give the file away, we are somebody else instead: then it is both.
    if (!isRoot) return { origin: { euid: OURS + 1 } };
    return chownSync(made.place.folder, 65_534, 0);
  }],
  ["the folder may be read by others", ({ place }) => {
    chmodSync(place.folder, 0o740);
  }],
  ["the folder is a link to one of ours", ({ place }) => {
    renameSync(place.folder, `${place.folder}.moved`);
    symlinkSync("starts.moved", place.folder);
  }],
  ["the file is another user's", ({ file }) => {
    if (!isRoot) return { origin: { euid: OURS + 1 } };
    return chownSync(file, 65_534, 0);
  }],
  ["the file may be written by others", ({ file }) => chmodSync(file, 0o602)],
  ["the file is a link to one of ours", ({ file }) => {
    renameSync(file, `${file}.moved`);
    symlinkSync(`${file}.moved`, file);
  }],
  ["the file is a pipe", ({ file }) => {
    rmSync(file);
    spawnSync("mkfifo", ["-m", "600", file]);
    return { waitsForNobody: true };
  }],
  ["the file is too long", ({ file, kept }) => {
    writeFileSync(file, JSON.stringify(kept) + " ".repeat(131_072), "latin1");
  }],
  ["the file is cut off", ({ file }) => {
    writeFileSync(file, readFileSync(file, "latin1").slice(0, -1), "latin1");
  }],
  ["the file has another key", (made) => {
    write(made, { ...made.kept, key: `${made.kept.key}x` });
  }],
  ["a place is another, links not followed", (made) => {
    answered(made, "lstat", made.kept.observations[1]?.[2] ?? "");
  }],
  ["a place is another, links followed", (made) => {
    answered(made, "stat", made.kept.observations[0]?.[2] ?? "");
  }],
  ["what was read has another content", () => {
    writeFileSync(join(home, "asked"), "as it is");
  }],
  ["what could be read can't be", (made) => answered(made, "access", "-13")],
  ["a link leads elsewhere", (made) => answered(made, "link", "else")],
  ["the kernel says something else", (made) => answered(made, "text", "x\n")],
  ["a file system is another", (made) => answered(made, "file_system", "1")],
  ["a variable has another value", ({ origin }) => ({
    origin: {
      environment: origin.environment.map((entry) =>
        entry.startsWith("ASKED=") ? bytes("ASKED=as it is") : entry
      ),
    },
  })],
  ["a variable that was not set is set", ({ origin }) => ({
    origin: { environment: [...origin.environment, bytes("UNASKED=")] },
  })],
  ["a question is of a kind that nobody can ask", (made) => {
    const unknown = ["smell", "/", "null"] as unknown as Observation;
    write(made, { ...made.kept, observations: [unknown] });
  }],
  ["what is bound has another inode number", (made) => {
    write(made, changed(made.kept, { inode: 1 }));
  }],
  ["what is bound lies on another device", (made) => {
    write(made, changed(made.kept, { device: 1 }));
  }],
  ["what is bound is reached by a link", (made) => {
    write(made, changed(made.kept, { path: join(home, "link") }));
  }],
  ["what is bound is gone", (made) => {
    write(made, changed(made.kept, { path: join(home, "gone") }));
  }],
  ["a descriptor is of a kind that nobody can open", (made) => {
    const unknown = { at: 5, kind: "else" } as unknown as {
      at: 5;
      kind: "nothing";
    };
    write(made, { ...made.kept, descriptors: [unknown] });
  }],
  ["a run has left a record", ({ place }) => {
    mkdirSync(join(place.records, "left"), { recursive: true });
  }],
  ["a loader variable is set: LD_", ({ origin }) => ({
    origin: { environment: [...origin.environment, bytes("LD_DEBUG=all")] },
  })],
  ["a loader variable is set: MALLOC_", ({ origin }) => ({
    origin: {
      environment: [...origin.environment, bytes("MALLOC_PERTURB_=1")],
    },
  })],
  ["a loader variable is set: GLIBC_TUNABLES", ({ origin }) => ({
    origin: { environment: [...origin.environment, bytes("GLIBC_TUNABLES=")] },
  })],
  ["the caller has few descriptors", () => ({ shell: 'ulimit -Sn 200; "$@"' })],
  ["the command has more words than bubblewrap takes", ({ origin }) => ({
    origin: {
      words: [...origin.words, ...Array<ByteString>(8_892).fill(bytes("x"))],
    },
  })],
  ["the host's abstract names can't be closed", (made) => {
    write(made, { ...made.kept, closesAbstract: true });
    return { isFull: true };
  }],
  ["standard input was opened for reading", () => ({
    stdio: streamsWith(0, stream(join(home, "asked"), constants.O_RDONLY)),
  })],
  ["standard output was opened for reading", () => ({
    stdio: streamsWith(1, stream(join(home, "asked"), constants.O_RDONLY)),
  })],
  ["standard error was opened for reading", () => ({
    stdio: streamsWith(2, stream(join(home, "asked"), constants.O_RDONLY)),
  })],
  ["standard input is a terminal", () => ({
    stdio: streamsWith(
      0,
      stream("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY),
    ),
  })],
  ["standard input is a directory", () => ({
    stdio: streamsWith(0, stream(home, constants.O_RDONLY)),
  })],
];

function changed(
  kept: KeptStart,
  bind: {
    readonly path?: string;
    readonly device?: number;
    readonly inode?: number;
  },
): KeptStart {
  return {
    ...kept,
    descriptors: kept.descriptors.map((one) =>
      one.kind === "bind" ? { ...one, ...bind } : one
    ),
  };
}

for (const [what, change] of DIFFERENCES) {
  test(`a kept start is not made where ${what}`, () => {
    const made = scene();
    expect(start(made, change(made) ?? {})).toBe(LONG_WAY);
  });
}

test("control: with as many domains as a process may have, a start that closes nothing is made", () => {
  expect(start(scene(), { isFull: true })).toBe(KEPT);
});

/** Each makes another key. */
const PARTS: readonly (readonly [what: string, change: Partial<Origin>])[] = [
  ["user", { uid: OURS + 1 }],
  ["group", { gid: OURS + 1 }],
  ["$CODEX_HOME", { environment: [bytes("CODEX_HOME=/else")] }],
  ["working directory", { cwd: abs("/else") }],
  ["profile", {
    words: [bytes("sandbox"), bytes("-P"), bytes("x"), bytes("true")],
  }],
  ["command", { words: [bytes("sandbox"), bytes("--"), bytes("false")] }],
];

for (const [what, change] of PARTS) {
  test(`a start with another ${what} has another key`, () => {
    const origin = originOf();
    const other = keptPlace({ ...origin, ...change });
    expect(other).not.toBeNull();
    expect(other?.key).not.toBe(keptPlace(origin)?.key);
  });
}

test("a start's key names the executable: another one, or a newer one in its place, reads nothing of it", () => {
  const [own] = keptPlace(originOf())?.key.split("\0") ?? [];
  expect(own).toBe(askText(bytes("/proc/self/exe"), "content"));
});

/** None has a place. */
const NOWHERE: readonly (readonly [what: string, change: Partial<Origin>])[] = [
  ["without a working directory", { cwd: null }],
  ["whose $CODEX_HOME is relative", { environment: [bytes("CODEX_HOME=x")] }],
  ["with neither $CODEX_HOME nor $HOME", { environment: [] }],
  ["of nothing", { words: [bytes("sandbox")] }],
];

for (const [what, change] of NOWHERE) {
  test(`a start ${what} is not kept`, () => {
    expect(keptPlace({ ...originOf(), ...change })).toBeNull();
  });
}
