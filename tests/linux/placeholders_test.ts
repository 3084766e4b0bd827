/**
 * What a run stands on: made, recorded, locked and taken back, whatever others do in between. Through a sandbox:
 * `tests/sandbox/placeholder_test.ts` and `tests/sandbox/life_test.ts`.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import type { StateHome } from "../../src/host/state_folder.ts";
import {
  beginRecord,
  recordName,
  whileLocked,
} from "../../src/linux/placeholder_records.ts";
import {
  type HeldPlaceholder,
  makePlaceholders,
  releasePlaceholders,
} from "../../src/linux/placeholders.ts";
import type { Placeholder } from "../../src/linux/plan.ts";
import { abs } from "../../src/policy/path.ts";
import * as abi from "../../src/sys/abi.ts";
import { close, flock, open } from "../../src/sys/calls.ts";
import { comesToHold } from "../patience.ts";

const SOURCES = `${import.meta.dirname}/../../src`;

let base = "";

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "codex-places-")));
  mkdirSync(join(base, "work"));
});
afterEach(() => {
  rmSync(base, { recursive: true });
});

function homeOf(name: string): StateHome {
  return {
    codexHome: abs(join(base, name)),
    euid: process.geteuid?.() ?? 0,
  };
}

function at(name: string): string {
  return join(base, "work", name);
}

function placeOf(
  name: string,
  node: Placeholder["node"] = "directory",
): Placeholder {
  return { path: abs(at(name)), node };
}

/** A run, as far as its placeholders go. */
interface Holder {
  readonly held: readonly HeldPlaceholder[];
  readonly recordsFd: number;
}

function hold(wanted: readonly Placeholder[], home = "home"): Holder {
  const made = makePlaceholders(wanted, homeOf(home));
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}

function leave({ held, recordsFd }: Holder): void {
  releasePlaceholders(held, recordsFd);
  close(recordsFd);
}

function records(home = "home"): readonly string[] {
  return readdirSync(join(base, home, "sandbox/placeholders"));
}

function recordOf(name: string): string {
  const folder = join(base, "home/sandbox/placeholders");
  return join(folder, recordName(abs(at(name))));
}

/** The folder of records, and a record of a run that is dead. */
function leaveRecord(name: string, added: object | null): void {
  leave(hold([]));
  const lines = [{ path: at(name), node: "directory" }, added];
  const text = lines.filter((it) => it !== null)
    .map((it) => JSON.stringify(it));
  writeFileSync(recordOf(name), text.join("\n"));
}

/** What such a run is refused with, after whose end nothing of it may be left. */
function refusal(wanted: readonly Placeholder[]): string {
  const made = makePlaceholders(wanted, homeOf("home"));
  if (made.ok) return "nothing";
  const { error } = made;
  return error.kind === "placeholder" ? error.why : error.kind;
}

/** Runs lines in a process of its own, with all that it needs imported, and gives what it says. */
function alone(before: string, after: string): string {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["-e", scriptOf(before, after)],
    { encoding: "utf8", timeout: 60_000 },
  );
  return stdout === "" ? stderr : stdout;
}

function scriptOf(before: string, after: string): string {
  return `
import { meddle } from "${import.meta.dirname}/meddle.ts";
import { refuse } from "${import.meta.dirname}/refuse.ts";
import { mkdirSync, renameSync, rmdirSync, writeFileSync } from "node:fs";
const home = ${JSON.stringify(homeOf("home"))};
const work = ${JSON.stringify(join(base, "work"))};
const place = (name, node = "directory") => ({ path: work + "/" + name, node });
const said = (made) => made.ok ? "made" : made.error.why ?? made.error.kind;
${before}
const { makePlaceholders, releasePlaceholders } = await import("${SOURCES}/linux/placeholders.ts");
const { reclaimPlaceholders } = await import("${SOURCES}/linux/reclaim.ts");
${after}`;
}

test("a placeholder is there while it is held, with its record, its mark and its lock, and gone afterwards", () => {
  const run = hold([placeOf(".git"), placeOf("file", "file")]);
  const [folder, file] = run.held;
  expect(readdirSync(at("")).sort()).toEqual([".git", "file"]);
  expect(records().length).toBe(2);
  expect(statSync(at(".git")).mtimeMs).toBe(202_006_016_123.4567);
  expect([folder?.inode, file?.inode])
    .toEqual([statSync(at(".git")).ino, statSync(at("file")).ino]);
  for (const name of [".git", "file"]) {
    const other = open(at(name) as ByteString, abi.O_RDONLY);
    if (!other.ok) throw new Error("not there");
    expect(flock(other.value, abi.LOCK_EX | abi.LOCK_NB).ok).toBe(false);
    close(other.value);
  }
  leave(run);
  expect([readdirSync(at("")), records()]).toEqual([[], []]);
});

test("what can't be recorded is never made", () => {
  leave(hold([]));
  mkdirSync(join(recordOf(".git"), "full"), { recursive: true });
  utimesSync(at(""), 1, 1);
  expect(refusal([placeOf(".git")])).toBe("records");
  expect(statSync(at("")).mtimeMs).toBe(1_000);
  expect(records().length).toBe(1);
});

test("what can't be made leaves no record, and nothing that was made before it", () => {
  const wanted = {
    path: abs("/proc/codex-places"),
    node: "directory",
  } as const;
  expect(refusal([placeOf(".git"), wanted])).toMatch(/^mkdir/);
  expect([readdirSync(at("")), records()]).toEqual([[], []]);
});

/** What lies in the place of `.git` (a folder) or `file`, and with what a run is refused. */
const IN_THE_WAY: readonly (readonly [
  what: string,
  node: Placeholder["node"],
  make: (path: string) => void,
  why: RegExp,
])[] = [
  ["a folder with something in it", "directory", (path) => {
    mkdirSync(join(path, "full"), { recursive: true });
  }, /^something was put there/],
  ["a file with something in it", "file", (path) => {
    writeFileSync(path, "mine");
  }, /^something was put there/],
  ["a file in a folder's place", "directory", (path) => {
    writeFileSync(path, "");
  }, /^ENOTDIR/],
  ["a folder in a file's place", "file", (path) => {
    mkdirSync(join(path, "full"), { recursive: true });
  }, /^something was put there/],
  ["a link to an empty folder", "directory", (path) => {
    symlinkSync(base, path);
  }, /^ENOTDIR/],
  ["a link to an empty file", "file", (path) => {
    writeFileSync(join(base, "empty"), "");
    symlinkSync(join(base, "empty"), path);
  }, /^ELOOP/],
];

for (const [what, node, make, why] of IN_THE_WAY) {
  test(`${what} is refused, stays, and is not recorded`, () => {
    make(at("it"));
    const { ino } = statSync(at("it"));
    expect(refusal([placeOf("it", node)])).toMatch(why);
    expect(statSync(at("it")).ino).toBe(ino);
    expect(records()).toEqual([]);
  });
}

test("a pipe in a file's place holds nobody", () => {
  spawnSync("mkfifo", [at("it")]);
  const said = alone(
    `import { dieRatherThanWait } from "${import.meta.dirname}/refuse.ts";`,
    `
const { openStateFolder } = await import("${SOURCES}/host/state_folder.ts");
const { lockShared } = await import("${SOURCES}/linux/placeholders.ts");
const { open } = await import("${SOURCES}/sys/calls.ts");
const parent = open(work, 0).value;
dieRatherThanWait();
console.log(lockShared(parent, "it", "file"));
process.exit(0);`,
  );
  expect(said).toMatch(/^something was put there/);
});

test("an empty folder that was there before is held, not recorded, and stays", () => {
  mkdirSync(at(".git"));
  const run = hold([placeOf(".git")]);
  expect([run.held[0]?.record, records()]).toEqual([null, []]);
  leave(run);
  expect(readdirSync(at(""))).toEqual([".git"]);
});

test("an empty folder that took the place of a dead run's is not that run's", () => {
  mkdirSync(at(".git"));
  const { dev, ino } = statSync(at(".git"));
  leaveRecord(".git", { device: dev, inode: ino + 1 });
  const run = hold([placeOf(".git")]);
  expect(run.held[0]?.record).toBe(null);
  leave(run);
  expect(readdirSync(at(""))).toEqual([".git"]);
});

test("what a dead run has made is held as its own, and goes with the run that found it", () => {
  const dead = hold([placeOf(".git")]);
  for (const { lockFd, parentFd } of dead.held) {
    close(lockFd);
    close(parentFd);
  }
  close(dead.recordsFd);
  leave(hold([placeOf(".git")]));
  expect([readdirSync(at("")), records()]).toEqual([[], []]);
});

test("the inode is added to the record of a run that died before it could", () => {
  leaveRecord(".git", null);
  mkdirSync(at(".git"));
  const run = hold([placeOf(".git")]);
  expect(readFileSync(recordOf(".git"), "utf8"))
    .toContain(`"inode":${statSync(at(".git")).ino}`);
  leave(run);
  expect([readdirSync(at("")), records()]).toEqual([[], []]);
});

for (const other of ["home", "another"]) {
  test(`of two runs, the second with the state folder "${other}", the last one out removes what the first has made`, () => {
    const first = hold([placeOf(".git")]);
    const second = hold([placeOf(".git")], other);
    leave(first);
    expect([readdirSync(at("")), records().length]).toEqual([[".git"], 1]);
    leave(second);
    expect(readdirSync(at(""))).toEqual([]);
    expect(records(other)).toEqual([]);
  });
}

/** What others do to a placeholder that is held; it stays. */
const DONE: readonly (readonly [
  what: string,
  node: Placeholder["node"],
  act: (path: string) => void,
])[] = [
  ["a folder that somebody has filled", "directory", (path) => {
    mkdirSync(join(path, "full"));
  }],
  ["a file that somebody has filled", "file", (path) => {
    writeFileSync(path, "mine");
  }],
  ["an empty folder in the place of one", "directory", (path) => {
    mkdirSync(`${path}.new`);
    rmdirSync(path);
    spawnSync("mv", ["-T", `${path}.new`, path]);
  }],
];

for (const [what, node, act] of DONE) {
  test(`${what} stays, and its record goes`, () => {
    const run = hold([placeOf("it", node)]);
    act(at("it"));
    leave(run);
    expect([readdirSync(at("")), records()]).toEqual([["it"], []]);
  });
}

test("whatever the umask, everybody can open a placeholder, and the umask stays as it was", () => {
  const mask = process.umask(0o077);
  try {
    const run = hold([placeOf(".git"), placeOf("file", "file")]);
    const modes = [".git", "file"].map((name) => statSync(at(name)).mode);
    leave(run);
    expect(modes.map((mode) => mode & 0o777)).toEqual([0o755, 0o644]);
    expect(process.umask()).toBe(0o077);
  } finally {
    process.umask(mask);
  }
});

test("what can't be locked is taken back, with its record", () => {
  const said = alone(
    "",
    `
refuse([{ call: "flock" }]);
console.log(said(makePlaceholders([place(".git"), place("file", "file")], home)));`,
  );
  expect(said).toMatch(/^EPERM/);
  expect([readdirSync(at("")), records()]).toEqual([[], []]);
});

test("what can't be locked and somebody has filled in that moment stays", () => {
  const said = alone(
    `meddle({ flock: (real, fd, operation) => { if (operation === 1) writeFileSync(work + "/file", "mine"); return real(fd, operation); } });`,
    `console.log(said(makePlaceholders([place("file", "file")], home)));`,
  );
  expect(said).toMatch(/^something was put there/);
  expect([readFileSync(at("file"), "utf8"), records()]).toEqual(["mine", []]);
});

/** The record begins with its path and is completed later, when the disk is full. */
test("what can't be recorded to the end is taken back, with its record", () => {
  const said = alone(
    `let writes = 0;
meddle({ writeAll: (real, ...args) => ++writes === 2 ? { ok: false, error: { kind: "sys", call: "write", errno: 28 } } : real(...args) });`,
    `console.log(said(makePlaceholders([place(".git")], home)));`,
  );
  expect(said).toBe("records\n");
  expect([readdirSync(at("")), records()]).toEqual([[], []]);
});

test("what others keep removing is not tried for ever", () => {
  const said = alone(
    `let times = 0;
meddle({ mkdirAt: (real, dirfd, name, mode) => { const made = real(dirfd, name, mode); if (name === ".git") { times++; rmdirSync(work + "/.git"); } return made; } });`,
    `console.log(said(makePlaceholders([place(".git")], home)), times < 100);`,
  );
  expect(said).toBe("other runs keep removing it true\n");
});

test("what others put in a placeholder's place before it is locked is not relied on", () => {
  const said = alone(
    `let times = 0;
meddle({ flock: (real, fd, operation) => {
  const done = real(fd, operation);
  if (operation === 1 && times++ === 0) { renameSync(work + "/.git", work + "/old"); mkdirSync(work + "/.git"); }
  return done;
} });`,
    `
const { fstat } = await import("${SOURCES}/sys/calls.ts");
const { statSync } = await import("node:fs");
const made = makePlaceholders([place(".git")], home);
console.log(made.value.held[0].inode === statSync(work + "/.git").ino);`,
  );
  expect(said).toBe("true\n");
});

test("a signal cuts no lock short", () => {
  const said = alone(
    `let times = 0;
meddle({ flock: (real, ...args) => times++ % 2 === 0 ? { ok: false, error: { kind: "sys", call: "flock", errno: 4 } } : real(...args) });`,
    `console.log(said(makePlaceholders([place(".git")], home)), times);`,
  );
  // Two locks, each asked for twice, and one that is given back.
  expect(said).toBe("made 5\n");
});

test("while one is at work on its records nobody else has their lock", () => {
  leave(hold([]));
  const folder = join(base, "home/sandbox/placeholders") as ByteString;
  const [ours, other] = [0, 1].map(() => {
    const fd = open(folder, abi.O_RDONLY);
    return fd.ok ? fd.value : -1;
  }) as [number, number];
  const tryLock = (): boolean => flock(other, abi.LOCK_EX | abi.LOCK_NB).ok;
  expect([whileLocked(ours, tryLock), tryLock()]).toEqual([false, true]);
  close(ours);
  close(other);
});

/** Waits for the lock of the records: what it does, and what must not have been done before. */
const AT_WORK: readonly (readonly [what: string, line: string])[] = [
  ["makes", `makePlaceholders([place("made")], home);`],
  ["gives back", `releasePlaceholders([], recordsFd);`],
  ["reclaims", `reclaimPlaceholders(home);`],
];

for (const [what, line] of AT_WORK) {
  test(`whoever ${what} waits for whoever is at work on the same records`, async () => {
    const holder = hold([]);
    flock(holder.recordsFd, abi.LOCK_EX);
    const script = scriptOf(
      "",
      `
const { open } = await import("${SOURCES}/sys/calls.ts");
const recordsFd = open(home.codexHome + "/sandbox/placeholders", 0).value;
${line}`,
    );
    const child = spawn(process.execPath, ["-e", script], { stdio: "ignore" });
    const waiting = (): boolean =>
      new RegExp(`^\\d+: -> FLOCK .* ${child.pid} `, "m")
        .test(readFileSync("/proc/locks", "utf8"));
    const ended = new Promise((resolve) => child.on("close", resolve));
    let isOver = false;
    ended.then(() => isOver = true);
    await comesToHold(() => waiting() || isOver);
    expect([isOver, existsSync(at("made"))]).toEqual([false, false]);
    leave(holder);
    expect(await ended).toBe(0);
  });
}

test("a record that can't be given its name leaves no draft", () => {
  const fd = open(base as ByteString, abi.O_RDONLY);
  if (!fd.ok) throw new Error("no folder");
  mkdirSync(join(base, "record/full"), { recursive: true });
  const begun = beginRecord(fd.value, "record", { path: "/x", node: "file" });
  close(fd.value);
  expect([begun.ok, readdirSync(base).sort()])
    .toEqual([false, ["record", "work"]]);
});
