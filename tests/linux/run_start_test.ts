/**
 * The start of a run that somebody stays for, with a bubblewrap that is a script: what is started with what, and that nobody is left
 * where any of it fails. Each in a process of its own.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Refused } from "./refuse.ts";

const SOURCES = `${import.meta.dirname}/../../src`;

let base = "";

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "codex-begin-")));
  mkdirSync(join(base, "work"));
  // What it was given, and then what its first word says; without one it says that the command has ended.
  script(`os.write(fd("--json-status-fd"), b'{"exit-code": 0}')`);
});
afterEach(() => {
  rmSync(base, { recursive: true });
});

/** What stands in bubblewrap's place: Python over its words `a`. */
function script(line: string): void {
  const path = join(base, "bwrap");
  writeFileSync(
    path,
    `#!/usr/bin/python3
import json,os,sys
a=sys.argv
fd=lambda name: int(a[a.index(name)+1])
links={n: os.readlink("/proc/self/fd/"+n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/"+n)}
with open(${JSON.stringify(base)}+"/started","w") as file:
 json.dump({"words": a, "fds": links, "session": os.getsid(0)==os.getpid(), "environment": open("/proc/self/environ").read()}, file)
${line}
`,
  );
  chmodSync(path, 0o755);
}

/** Waits until it is let go or killed; nothing more is heard of it. */
const WAITS = `os.close(fd("--json-status-fd"))
os.read(fd("--block-fd"), 1)
open(${JSON.stringify("BASE/ran")}, "w").close()`;

function started(): Record<string, unknown> | null {
  const path = join(base, "started");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
}

/** Runs lines that have a `launch` and say something. */
function alone(before: string, after: string): string {
  const source = `
import { meddle } from "${import.meta.dirname}/meddle.ts";
import { refuse } from "${import.meta.dirname}/refuse.ts";
import { readdirSync, readFileSync, readlinkSync, lstatSync, mkdirSync, statSync } from "node:fs";
const base = ${JSON.stringify(base)};
const home = { codexHome: base + "/home", euid: process.geteuid() };
const launch = (plan = {}, more = {}) => ({
  plan: {
    mounts: [], supervisor: [], placeholders: [], passFds: [], network: "none", disableUserns: false, chdir: null, proc: "fresh",
    command: ["true"], ...plan,
  },
  bwrap: { path: base + "/bwrap", identity: "" }, environment: ["KEPT=1"], lateEnvironment: [], filter: new Uint8Array(8),
  command: ["true"], innerOrders: null, softNofile: 1024, listenPorts: [], place: null, reportsFailures: false, ...more,
});
const children = () => readFileSync("/proc/self/task/" + process.pid + "/children", "latin1").trim();
${before}
const { AT_ONCE } = await import("${SOURCES}/linux/run_events.ts");
const { beginRun, catchRunSignals, endLike, superviseRun } = await import("${SOURCES}/linux/supervisor.ts");
const { finishRun, killAll } = await import("${SOURCES}/linux/run.ts");
const rules = AT_ONCE;
const nothing = { prepare: () => {}, conclude: () => {} };
const begin = (one, home = null, its = rules) => beginRun(one, home, its, catchRunSignals(one, its).value);
const say = (value) => console.log(JSON.stringify(value));
${after}`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["-e", source.replaceAll("BASE", base)],
    { encoding: "utf8", timeout: 60_000 },
  );
  return stdout === "" ? stderr : stdout;
}

test("a run goes to its end, and nobody is left", () => {
  const said = alone(
    "",
    `
const one = launch();
const end = superviseRun(one, null, rules, catchRunSignals(one, rules).value, nothing);
say([end, children()]);`,
  );
  expect(JSON.parse(said)).toEqual([
    { ok: true, value: { kind: "exited", status: 0 } },
    "",
  ]);
  expect(started()?.["environment"]).toBe("KEPT=1\0");
});

/** What is refused, when, and what is said of it; bubblewrap would wait to be let go. */
const FAILURES:
  readonly (readonly [what: string, refused: Refused, said: RegExp])[] = [
    [
      "inherited descriptors can't be closed",
      { call: "close_range" },
      /^Cannot close inherited/,
    ],
    ["there are no pipes", { call: "pipe2" }, /^Cannot make pipes/],
    [
      "nothing can be kept in memory",
      { call: "memfd_create" },
      /^Cannot open the seccomp filter/,
    ],
    [
      "the limit of open files can't be given back",
      { call: "prlimit64" },
      /^Cannot restore the limit/,
    ],
    ["nobody can be watched", { call: "pidfd_open" }, /^Cannot watch the run/],
  ];

for (const [what, refused, message] of FAILURES) {
  test(`nothing runs and nobody is left where ${what}`, () => {
    script(WAITS.replace("BASE", base));
    const said = alone(
      "",
      `
const one = launch({ supervisor: ["mount verification"] });
const signals = catchRunSignals(one, rules).value;
refuse(${JSON.stringify([refused])});
const begun = beginRun(one, null, rules, signals);
say([begun.error?.message, children()]);
process.exit(0);`,
    );
    const [says, children] = JSON.parse(said);
    expect(says).toMatch(message);
    expect([children, existsSync(join(base, "ran"))]).toEqual(["", false]);
  });
}

test("where bubblewrap can't be started nobody is left, and nothing that it was to stand on", () => {
  rmSync(join(base, "bwrap"));
  const said = alone(
    "",
    `
const one = launch({ placeholders: [{ path: base + "/work/.git", node: "directory" }] });
say([begin(one, home).error?.message, children()]);`,
  );
  const [says, children] = JSON.parse(said);
  expect(says).toMatch(/^Cannot start bubblewrap/);
  expect(children).toBe("");
  expect(readdirSync(join(base, "work"))).toEqual([]);
  expect(readdirSync(join(base, "home/sandbox/placeholders"))).toEqual([]);
});

test("a run takes away what it stood on, and what a dead one left", () => {
  const said = alone(
    "",
    `
const { makePlaceholders } = await import("${SOURCES}/linux/placeholders.ts");
const { close } = await import("${SOURCES}/sys/calls.ts");
const place = (name) => ({ path: base + "/work/" + name, node: "directory" });
const dead = makePlaceholders([place("dead")], home).value;
for (const { lockFd, parentFd } of dead.held) { close(lockFd); close(parentFd); }
close(dead.recordsFd);
const one = launch({ placeholders: [place(".git")] });
let during = [];
superviseRun(one, home, rules, catchRunSignals(one, rules).value, { ...nothing, prepare: () => during = readdirSync(base + "/work") });
say(during);`,
  );
  expect(JSON.parse(said)).toEqual([".git"]);
  expect(readdirSync(join(base, "work"))).toEqual([]);
  expect(readdirSync(join(base, "home/sandbox/placeholders"))).toEqual([]);
});

test("without a place for records nothing that needs one is started", () => {
  const said = alone(
    "",
    `
const one = launch({ placeholders: [{ path: base + "/work/.git", node: "directory" }] });
say(begin(one, null).error?.message);`,
  );
  expect(said).toMatch(/Cannot keep placeholder records: /);
  expect([started(), readdirSync(join(base, "work"))]).toEqual([null, []]);
});

test("what another run has replaced before it was locked is mounted as it is locked", () => {
  const said = alone(
    "",
    `
mkdirSync(base + "/work/.git");
const path = base + "/work/.git";
const op = { kind: "bind_seen", access: "read_only", path, seen: { device: 1, inode: 1 } };
const one = launch({ mounts: [{ op, why: "" }], placeholders: [{ path, node: "directory" }] });
say(superviseRun(one, home, rules, catchRunSignals(one, rules).value, nothing));`,
  );
  expect(JSON.parse(said).value).toEqual({ kind: "exited", status: 0 });
});

test("what can't be verified is never let go, and nobody is left", () => {
  script(WAITS.replace("BASE", base));
  // Time passes only while nothing comes: who waits for what does not end has waited.
  const said = alone(
    `
let skippedMs = 0;
const now = performance.now.bind(performance);
performance.now = () => now() + skippedMs;
meddle({ poll: (real, fds, ns) => {
  const some = real(fds, ns === null ? ns : Math.min(ns, 1e8));
  if (some.ok && some.value.every((it) => it === 0)) skippedMs += (ns ?? 0) / 1e6;
  return some;
} });`,
    `
const one = launch({ supervisor: ["mount verification"] });
const begun = begin(one);
say([begun.error?.message, children()]);
process.exit(0);`,
  );
  const [says, children] = JSON.parse(said);
  expect(says).toMatch(/^bubblewrap ended while it was setting/);
  expect([children, existsSync(join(base, "ran"))]).toEqual(["", false]);
});

test("the watcher has a session of its own, no stream, no environment, and the reading ends of the run's pipes only", () => {
  script(WAITS.replace("BASE", base));
  const said = alone(
    "",
    `
const one = launch({ supervisor: [] });
const run = begin(one).value;
const { watcher } = run;
const folder = "/proc/" + watcher + "/";
// An exec lets whoever spawned go on before it closes what is to be closed: done it is when the watcher waits.
const state = () => { const text = readFileSync(folder + "stat", "latin1"); return text[text.lastIndexOf(")") + 2]; };
for (let turn = 0; turn < 20_000 && state() !== "S"; turn++) Bun.sleepSync(1);
const fds = readdirSync(folder + "fd").map((fd) => [fd, readlinkSync(folder + "fd/" + fd), lstatSync(folder + "fd/" + fd).mode & 0o700]);
const text = readFileSync(folder + "stat", "latin1");
const session = Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[3]);
say({
  session: session === watcher,
  environment: readFileSync(folder + "environ", "latin1"),
  streams: fds.filter(([fd]) => Number(fd) < 3).map(([, link]) => link),
  pipes: fds.filter(([, link]) => link.startsWith("pipe:")).map(([, , mode]) => mode),
  others: fds.filter(([fd, link]) => Number(fd) > 2 && !link.startsWith("pipe:")).length,
});
killAll(run);
finishRun(run);`,
  );
  expect(JSON.parse(said)).toEqual({
    session: true,
    environment: "",
    streams: ["/dev/null", "/dev/null", "/dev/null"],
    pipes: [0o500, 0o500, 0o500],
    others: 2, // its orders and our executable
  });
});

test("bubblewrap has the descriptors of its words, no other, and no watcher's", () => {
  const said = alone(
    `import { openSync } from "node:fs"; openSync(base, 0); const { duplicate, setCloseOnExec } = await import("${SOURCES}/sys/calls.ts");
setCloseOnExec(duplicate(0, 50).value, false);`,
    `
const one = launch();
superviseRun(one, null, rules, catchRunSignals(one, rules).value, nothing);
say(children());`,
  );
  expect(said).toBe('""\n');
  const { words, fds } = started() as {
    readonly words: readonly string[];
    readonly fds: Readonly<Record<string, string>>;
  };
  const named = ["--seccomp", "--info-fd", "--json-status-fd", "--sync-fd"]
    .map((name) => words[words.indexOf(name) + 1] ?? "");
  const own = Object.keys(fds).filter((fd) =>
    Number(fd) > 2 && !fds[fd]?.startsWith(base) &&
    !fds[fd]?.startsWith("/proc/")
  );
  expect(own.sort()).toEqual(named.sort());
});

for (
  const [rules, own] of [
    ["rules", false],
    [`{ ...rules, graceMs: 1000 }`, true],
    [`{ ...rules, terminal: true }`, true],
  ] as const
) {
  test(`bubblewrap has ${own ? "a session of its own" : "ours"} under ${rules}`, () => {
    alone(
      "",
      `
const one = launch();
superviseRun(one, null, ${rules}, catchRunSignals(one, ${rules}).value, nothing);`,
    );
    expect(started()?.["session"]).toBe(own);
  });
}

/** Nothing is begun where one of these is refused. */
const CATCHING:
  readonly (readonly [what: string, refused: Refused, said: RegExp])[] = [
    [
      "signals can't be caught",
      { call: "rt_sigaction" },
      /^Cannot catch signals/,
    ],
    [
      "it would not end with its caller",
      { call: "prctl", when: [0, 1] },
      /^Cannot end with the caller/,
    ],
    [
      "orphans would not come to it",
      { call: "prctl", when: [0, 36] },
      /^Cannot become the parent of orphans/,
    ],
    ["there is no pipe", { call: "pipe2" }, /^Cannot make pipes/],
  ];

for (const [what, refused, message] of CATCHING) {
  test(`a run does not begin where ${what}`, () => {
    const said = alone(
      "",
      `refuse(${
        JSON.stringify([refused])
      }); say(catchRunSignals(launch(), rules).error?.message); process.exit(0);`,
    );
    expect(JSON.parse(said)).toMatch(message);
  });
}

test("a caller that ignores its children's end does not keep it from a served run", () => {
  const said = alone(
    `const { kill, poll, signalIgnore } = await import("${SOURCES}/sys/calls.ts"); signalIgnore(17);`,
    `
const { from } = catchRunSignals(launch({}, { listenPorts: [3128] }), rules).value;
kill(process.pid, 17);
say(poll([{ fd: from, events: 1 }], 0).value);
process.exit(0);`,
  );
  expect(said).toBe("[1]\n");
});

/** How a run ended, and how we do. */
const ENDS: readonly (readonly [
  end: object,
  status: number | null,
  signal: string | null,
])[] = [
  [{ kind: "exited", status: 7 }, 7, null],
  [{ kind: "refused_inside", status: 126 }, 126, null],
  [{ kind: "timeout" }, 124, null],
  [{ kind: "not_started" }, 125, null],
  [{ kind: "lost" }, 125, null],
  [{ kind: "signalled", signal: 15 }, null, "SIGTERM"],
];

for (const [end, status, signal] of ENDS) {
  test(`after ${JSON.stringify(end)} we end with ${status ?? signal}`, () => {
    const source = `
import { catchRunSignals, endLike } from "${SOURCES}/linux/supervisor.ts";
import { AT_ONCE } from "${SOURCES}/linux/run_events.ts";
catchRunSignals({ plan: { supervisor: [] }, listenPorts: [] }, AT_ONCE);
endLike(${JSON.stringify(end)});`;
    const ended = spawnSync(process.execPath, ["-e", source], {
      stdio: "ignore",
      timeout: 60_000,
    });
    expect([ended.status, ended.signal as string | null])
      .toEqual([status, signal]);
  });
}
