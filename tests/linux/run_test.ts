/**
 * A run that is going on, with calls that are written down instead of made: whom it tells, whom it kills, in which order, and what it
 * takes for an end. Each in a process of its own. With real processes: `tests/sandbox/life_test.ts`.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";

const SOURCES = `${import.meta.dirname}/../../src`;

/** Numbers beyond the largest that a process can have (2²²). */
const BWRAP = 5_100_001;
const WATCHER = 5_100_002;
const FIRST = 5_100_003;
const ORPHAN = 5_100_004;

/**
 * Runs lines about a `run` whose processes are numbers, and gives what was done to them, in order.
 *
 * `made` has what they say of themselves: files below /proc by name, and the status with which bubblewrap has ended.
 */
function done(lines: string): readonly string[] {
  const source = `
import { meddle } from "${import.meta.dirname}/meddle.ts";
const done = [];
const made = {
  files: {
    "/proc/${FIRST}/status": "NSpid:\\t${FIRST}\\t1\\n",
    ["/proc/" + process.pid + "/task/" + process.pid + "/children"]: "${WATCHER} ${ORPHAN} ",
  },
  status: { kind: "exited", status: 0 },
  handles: new Map(),
};
const names = { ${BWRAP}: "bwrap", ${WATCHER}: "watcher", ${FIRST}: "first", ${ORPHAN}: "orphan", "${-FIRST}": "its group" };
const nameOf = (pid) => names[pid] ?? pid;
const fine = (value) => ({ ok: true, value });
const none = { ok: false, error: { kind: "sys", call: "none", errno: 3 } };
meddle({
  kill: (_, pid, signal) => { done.push("kill " + nameOf(pid) + " " + signal); return fine(0); },
  waitFor: (_, pid) => { done.push("wait " + nameOf(pid)); return made.status === null ? none : fine(made.status); },
  pidfdOpen: (_, pid) => { const fd = 9_000 + made.handles.size; made.handles.set(fd, pid); return fine(fd); },
  pidfdKill: (_, fd, signal) => { done.push("end " + nameOf(made.handles.get(fd)) + " " + signal); return fine(0); },
  readFile: (real, path, limit) => path.startsWith("/proc/")
    ? path in made.files ? fine(made.files[path]) : none
    : real(path, limit),
  poll: (real, fds, ns) => {
    if (made.poll !== undefined) { const answer = made.poll(fds, ns); if (answer !== null) return answer; }
    return real(fds.map((one) => one.fd >= 9_000 ? { fd: -1, events: 1 } : one), ns);
  },
  flock: (_, _fd, operation) => { done.push("lock " + operation); return fine(0); },
  raise: (_, signal) => { done.push("raise " + signal); made.raised?.(); return fine(0); },
});
const { close, pipe, read, setFileStatusFlags, writeAll } = await import("${SOURCES}/sys/calls.ts");
const { stableBytes } = await import("${SOURCES}/sys/ffi.ts");
const { feed, finishRun, killAll, hearStatus, takeEvent, dismissWatcher } = await import("${SOURCES}/linux/run.ts");
const { AT_ONCE, BEGINNING } = await import("${SOURCES}/linux/run_events.ts");
const ends = () => { const [from, to] = pipe(2048).value; return { from, to }; };
const signals = ends(), lifeline = ends(), status = ends(), sync = ends(), quiet = ends(), report = ends();
const run = {
  launch: { plan: { proc: "fresh", mounts: [], supervisor: [], placeholders: [] } },
  held: [], recordsFd: null, signals, lifeline: lifeline.to, status: status.from, said: { text: "", isHeard: false }, sync: sync.from,
  watcher: ${WATCHER}, watcherHandle: quiet.from, bwrap: ${BWRAP}, init: { handle: null }, bwrapHandle: quiet.from, blocked: null,
  channel: null, report: null, terminal: null, timers: new Map(),
};
const says = (text) => writeAll(status.to, Buffer.from(text));
const named = () => says('{ "child-pid": ${FIRST} }');
/** What the watcher was told. */
const told = () => {
  const words = stableBytes(64);
  const count = read(lifeline.from, words);
  const list = [];
  for (let at = 0; count.ok && at < count.value; at += 8) list.push(nameOf(new DataView(words.buffer).getUint32(at, true)));
  return list;
};
const show = (value) => done.push(typeof value === "string" ? value : JSON.stringify(value));
const end = () => { console.log(JSON.stringify(done)); process.exit(0); };
${lines}
end();`;
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", source], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return stdout === "" ? [stderr] : JSON.parse(stdout);
}

/** What happens, and what is done about it. */
const CASES: readonly (readonly [
  what: string,
  lines: string,
  done: readonly string[],
])[] = [
  [
    "the watcher is told the first process as soon as it is named, once",
    `named(); hearStatus(run, 0); says(" "); hearStatus(run, 0); show(told()); show(run.said.isHeard);`,
    [`["first"]`, "true"],
  ],
  [
    "a process that is no sandbox's first is not ended in its place",
    `made.files["/proc/${FIRST}/status"] = "NSpid:\\t${FIRST}\\n"; named(); killAll(run);`,
    ["kill bwrap 9", "wait bwrap"],
  ],
  [
    "to end all is to end the first process, then bubblewrap, and to wait for it",
    `named(); killAll(run);`,
    ["end first 9", "kill bwrap 9", "wait bwrap"],
  ],
  [
    "when bubblewrap has ended, the first process is ended too",
    `named(); hearStatus(run, 0); says('{ "exit-code": 7 }'); made.status = { kind: "exited", status: 7 };
run.bwrapHandle = 9_999; made.poll = (fds) => fds.length > 2 ? fine([0, 1, 0, 0]) : null;
show(takeEvent(run, "no_wait"));`,
    [
      "wait bwrap",
      "end first 9",
      `{"kind":"ended","status":7,"ran":true,"report":null}`,
    ],
  ],
  [
    "what bubblewrap said last is heard before its end is judged",
    `made.status = { kind: "exited", status: 1 }; named(); says('{ "exit-code": 1 }');
made.poll = (fds) => fds.length > 2 ? fine([0, 1, 0, 0]) : null;
show(takeEvent(run, "no_wait").ran);`,
    ["wait bwrap", "end first 9", "true"],
  ],
  [
    "a bubblewrap that said nothing has not run the command",
    `made.status = { kind: "exited", status: 1 }; close(status.to);
made.poll = (fds) => fds.length > 2 ? fine([0, 1, 0, 0]) : null;
show(takeEvent(run, "no_wait").ran);`,
    ["wait bwrap", "false"],
  ],
  [
    "a bubblewrap that died of a signal has a status above 128",
    `made.status = { kind: "signaled", signal: 9 }; close(status.to);
made.poll = (fds) => fds.length > 2 ? fine([0, 1, 0, 0]) : null;
show(takeEvent(run, "no_wait").status);`,
    ["wait bwrap", "137"],
  ],
  [
    "an end that nobody tells is a lost run",
    `made.status = null; made.poll = (fds) => fds.length > 2 ? fine([0, 1, 0, 0]) : null;
show(takeEvent(run, "no_wait"));`,
    ["wait bwrap", `{"kind":"lost"}`],
  ],
  [
    "a run that can't be waited for is lost",
    `made.poll = () => none; show(takeEvent(run, "until_event"));`,
    [`{"kind":"lost"}`],
  ],
  [
    "a run whose watcher has ended is lost",
    `made.poll = () => fine([0, 0, 1, 0]); show(takeEvent(run, "no_wait"));`,
    [`{"kind":"lost"}`],
  ],
  [
    "a signal comes before all else",
    `writeAll(signals.to, new Uint8Array([10])); made.poll = () => fine([1, 1, 1, 1]); show(takeEvent(run, "until_event"));`,
    [`{"kind":"signal","signal":10}`],
  ],
  [
    "a signal that can't be read is one to end",
    `made.poll = () => fine([1, 0, 0, 0]); show(takeEvent(run, "until_event"));`,
    [`{"kind":"signal","signal":15}`],
  ],
  [
    "a signal is passed on to the group that the command begins in",
    `named(); feed(run, BEGINNING, { kind: "signal", signal: 10 }, { ...AT_ONCE, graceMs: 1 });`,
    ["kill its group 10"],
  ],
  [
    "a signal that comes before the command is there ends the run, since the first process alone would not hear it",
    `named(); made.files["/proc/${FIRST}/task/${FIRST}/children"] = "";
show(feed(run, BEGINNING, { kind: "signal", signal: 15 }, { ...AT_ONCE, graceMs: 1 }).end);`,
    [
      "end first 9",
      "kill bwrap 9",
      "wait bwrap",
      `{"kind":"signalled","signal":15}`,
    ],
  ],
  [
    "a change of the window's size before the command is there ends nothing",
    `named(); made.files["/proc/${FIRST}/task/${FIRST}/children"] = "";
show(feed(run, BEGINNING, { kind: "signal", signal: 28 }, { ...AT_ONCE, terminal: true }).kind);`,
    ["running"],
  ],
  [
    "when nobody inside is left a signal goes to nobody, whose number may be another's by then",
    `named(); hearStatus(run, 0); close(sync.to);
show(feed(run, BEGINNING, { kind: "signal", signal: 15 }, { ...AT_ONCE, graceMs: 1 }).kind);`,
    ["kill bwrap 9", "wait bwrap", "over"],
  ],
  [
    "what bubblewrap leaves to us is killed, but for the watcher, who is dismissed last",
    `close(sync.to); finishRun(run, () => done.push("meanwhile")); show(told());`,
    ["kill orphan 9", "kill watcher 9", "meanwhile", "wait watcher", "[0]"],
  ],
  [
    "a sandbox that does not go is left to the watcher",
    `let now = 0; performance.now = () => now += 20_000;
finishRun(run, () => done.push("meanwhile")); show(told());`,
    ["kill orphan 9", "meanwhile", "[]"],
  ],
  [
    "where nothing proves that a sandbox is gone, what it stood on is not looked at",
    `run.launch.plan.proc = "host"; run.recordsFd = 9_000; close(sync.to); finishRun(run);`,
    ["kill orphan 9", "kill watcher 9", "wait watcher"],
  ],
  [
    "where a fresh /proc proves that a sandbox is gone, what it stood on is looked at",
    `run.recordsFd = 9_000; close(sync.to); finishRun(run);`,
    ["kill orphan 9", "lock 2", "lock 8", "kill watcher 9", "wait watcher"],
  ],
  [
    "at the terminal's stop all inside are stopped, then we are, and all go on",
    `named();
const state = (pid, letter) => { made.files["/proc/" + pid + "/stat"] = pid + " (a) b) " + letter + " 1"; };
const childrenOf = (pid, text) => { made.files["/proc/" + pid + "/task/" + pid + "/children"] = text; };
state(${FIRST}, "S"); state(${ORPHAN}, "R"); childrenOf(${FIRST}, "${ORPHAN}");
let looks = 0;
made.poll = (fds) => { if (fds.length !== 0) return null; if (++looks === 3) { state(${FIRST}, "T"); state(${ORPHAN}, "Z"); } return fine([]); };
hearStatus(run, 0);
feed(run, BEGINNING, { kind: "timer", timer: "stop" }, { ...AT_ONCE, terminal: true });`,
    [
      "kill first 19",
      "kill orphan 19",
      "raise 20",
      "kill first 18",
      "kill orphan 18",
      "kill its group 18",
    ],
  ],
  [
    "a command that never stops is not waited for for ever",
    `named(); made.files["/proc/${FIRST}/stat"] = "1 (a) R 1";
let looks = 0;
made.poll = (fds) => { if (fds.length === 0 && ++looks > 1_000) end(); return fds.length === 0 ? fine([]) : null; };
hearStatus(run, 0);
feed(run, BEGINNING, { kind: "timer", timer: "stop" }, { ...AT_ONCE, terminal: true });`,
    ["kill first 19", "raise 20", "kill first 18", "kill its group 18"],
  ],
  [
    "when nobody inside is left nobody is stopped, whose number may be another's by then",
    `named(); made.files["/proc/${FIRST}/stat"] = "1 (a) R 1"; hearStatus(run, 0); close(sync.to);
feed(run, BEGINNING, { kind: "timer", timer: "stop" }, { ...AT_ONCE, terminal: true });`,
    ["raise 20"],
  ],
  [
    "after a stop signals are caught again",
    `const { kill: real } = process; named(); close(sync.to);
made.raised = () => done.push("here the shell goes on");
feed(run, BEGINNING, { kind: "timer", timer: "stop" }, { ...AT_ONCE, terminal: true });
real.call(process, process.pid, "SIGCONT");
const byte = stableBytes(1); read(signals.from, byte); show(byte[0]);`,
    ["raise 20", "here the shell goes on", "18"],
  ],
];

for (const [what, lines, expected] of CASES) {
  test(what, () => {
    expect(done(lines)).toEqual(expected);
  });
}
