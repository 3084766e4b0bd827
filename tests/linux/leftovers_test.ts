/**
 * What dead runs of Codex's releases left is removed only while nobody else has a part in it, or uses it.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import { leftovers } from "../../src/linux/leftovers.ts";
import { registryName, targetKey } from "../../src/linux/reference_registry.ts";
import { abs } from "../../src/policy/path.ts";
import * as abi from "../../src/sys/abi.ts";
import { close, flock, open } from "../../src/sys/calls.ts";

const isRoot = process.geteuid?.() === 0;
/** As root we are nobody's number: the registry of no user of this host is touched. */
const US = isRoot ? 54_321 : process.geteuid?.() ?? 0;

let base = "";
const held: number[] = [];

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "codex-leftovers-")));
  const made = [
    "tmp",
    "work",
    `tmp/${registryName(US)}`,
    `tmp/${registryName(US)}/${targetKey(join(base, "work/.git"))}`,
  ].map((name) => join(base, name));
  for (const path of made) mkdirSync(path);
  const [, , registry = "", record = ""] = made;
  const files = [join(registry, "lock"), join(base, "work/.git")];
  for (const path of files) writeFileSync(path, "");
  const mark = join(record, String(deadPid()));
  writeFileSync(mark, "synthetic\n");
  if (isRoot) { for (const path of [...made, ...files, mark]) own(path, US); }
});
afterEach(() => {
  for (const fd of held.splice(0)) close(fd);
  rmSync(base, { recursive: true });
});

function own(path: string, uid: number): void {
  lchownSync(path, uid, uid);
}

/** The number of a process that is gone. */
function deadPid(): number {
  return spawnSync("true").pid;
}

function lock(path: string, operation: number): void {
  const fd = open(path as ByteString, abi.O_RDONLY);
  if (!fd.ok || !flock(fd.value, operation).ok) throw new Error("no lock");
  held.push(fd.value);
}

/** Whether the mount point of the dead run is gone after a look round that removes. */
function isCleaned(): boolean {
  leftovers({
    codexHome: null,
    euid: US,
    cwd: abs(join(base, "work")),
    home: null,
    tmpdir: abs(join(base, "tmp")),
  }, true);
  return !existsSync(join(base, "work/.git"));
}

test("control: the empty mount point of a dead run is removed", () => {
  expect(isCleaned()).toBe(true);
});

/** Each keeps it where it is. */
const KEEPS: readonly (readonly [what: string, change: () => void])[] = [
  ["its registry can be written by others", () => {
    chmodSync(join(base, "tmp", registryName(US)), 0o777);
  }],
  ["another run has the registry's lock", () => {
    lock(join(base, "tmp", registryName(US), "lock"), abi.LOCK_EX);
  }],
  ["somebody has filled it", () => {
    writeFileSync(join(base, "work/.git"), "gitdir: x");
  }],
  ["another run of ours uses it", () => {
    lock(join(base, "work/.git"), abi.LOCK_SH);
  }],
  ["a process of its record lives", () => {
    mark(String(process.pid), "synthetic\n");
  }],
  ["its record has something else in it", () => {
    mark("x", "synthetic\n");
  }],
  ["its record says something else", () => {
    mark(deadMark(), "mine\n");
  }],
  ["it was there before the run", () => {
    mark(deadMark(), "existing\n");
  }],
  ["its mark is a link", () => {
    const path = join(recordPath(), deadMark());
    rmSync(path);
    writeFileSync(join(base, "elsewhere"), "synthetic\n");
    symlinkSync(join(base, "elsewhere"), path);
  }],
  ["its record is a link", () => {
    renameSync(recordPath(), join(base, "record"));
    symlinkSync(join(base, "record"), recordPath());
  }],
  ["its registry is a link", () => {
    const path = join(base, "tmp", registryName(US));
    renameSync(path, join(base, "registry"));
    symlinkSync(join(base, "registry"), path);
  }],
];

function recordPath(of = "work/.git"): string {
  return join(base, "tmp", registryName(US), targetKey(join(base, of)));
}

function deadMark(): string {
  return readdirSync(recordPath())[0] ?? "";
}

function mark(name: string, text: string): void {
  writeFileSync(join(recordPath(), name), text);
}

for (const [what, change] of KEEPS) {
  test(`a mount point stays where ${what}`, () => {
    change();
    expect(isCleaned()).toBe(false);
  });
}

for (
  const [what, name, text] of [
    ["of a process that lives", String(process.pid), "synthetic\n"],
    ["with something else in it", "x", "synthetic\n"],
    ["that says something else", "4194303", "mine\n"],
  ] as const
) {
  test(`a record ${what} stays`, () => {
    mark(name, text);
    expect([isCleaned(), readdirSync(recordPath()).length]).toEqual([false, 2]);
  });
}

test("a mount point stays where a folder above it became a link", () => {
  renameSync(join(base, "work"), join(base, "real"));
  symlinkSync("real", join(base, "work"));
  expect(isCleaned()).toBe(false);
});

test("who only looks removes neither a mount point nor its record", () => {
  const found = leftovers({
    codexHome: null,
    euid: US,
    cwd: abs(join(base, "work")),
    home: null,
    tmpdir: abs(join(base, "tmp")),
  }, false);
  const ours = found.filter(({ path }) => path.startsWith(base));
  expect(ours.map(({ state }) => state)).toEqual(["removable"]);
  expect([existsSync(join(base, "work/.git")), existsSync(recordPath())])
    .toEqual([true, true]);
});

/** Runs a look round that removes in a process of its own, with calls that are others. */
function cleanWith(calls: string): void {
  const source = `
import { meddle } from "${import.meta.dirname}/meddle.ts";
import { mkdirSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
const base = ${JSON.stringify(base)};
meddle(${calls});
const { leftovers } = await import("${import.meta.dirname}/../../src/linux/leftovers.ts");
leftovers({ codexHome: null, euid: ${US}, cwd: base + "/work", home: null, tmpdir: base + "/tmp" }, true);`;
  const { status } = spawnSync(process.execPath, ["-e", source], {
    timeout: 60_000,
  });
  expect(status).toBe(0);
}

test("a file that takes a mount point's place while it is judged stays", () => {
  cleanWith(`{ lstatAt: (real, fd, name) => {
    renameSync(base + "/work/.git", base + "/old");
    writeFileSync(base + "/work/.git", "mine");
    return real(fd, name);
  } }`);
  expect(readFileSync(join(base, "work/.git"), "utf8")).toBe("mine");
});

test("a mount point stays where nobody may ask whether its process lives", () => {
  cleanWith(
    `{ kill: () => ({ ok: false, error: { kind: "sys", call: "kill", errno: 1 } }) }`,
  );
  expect(existsSync(join(base, "work/.git"))).toBe(true);
});

test("a record goes with its mount point", () => {
  expect([isCleaned(), existsSync(recordPath())]).toEqual([true, false]);
});

test("a pipe in a mount point's place, or in that of a registry's lock, holds nobody", () => {
  const places = ["work/.git", `tmp/${registryName(US)}/lock`];
  for (const path of places.map((name) => join(base, name))) {
    rmSync(path);
    spawnSync("mkfifo", [path]);
    if (isRoot) own(path, US);
  }
  const source = `
import { leftovers } from "${import.meta.dirname}/../../src/linux/leftovers.ts";
import { dieRatherThanWait } from "${import.meta.dirname}/refuse.ts";
const base = ${JSON.stringify(base)};
dieRatherThanWait();
leftovers({ codexHome: null, euid: ${US}, cwd: base + "/work", home: null, tmpdir: base + "/tmp" }, true);
console.log("done");
process.exit(0);`;
  const { stdout } = spawnSync(process.execPath, ["-e", source], {
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(stdout).toBe("done\n");
});

test.skipIf(!isRoot)("a mount point stays where it is another's by now", () => {
  chownSync(join(base, "work/.git"), US + 1, US + 1);
  expect(isCleaned()).toBe(false);
});

test("what a writer has not finished stays while he lives", () => {
  const starts = join(base, "home/sandbox/starts");
  mkdirSync(starts, { recursive: true });
  for (const name of ["home", "home/sandbox", "home/sandbox/starts"]) {
    chmodSync(join(base, name), 0o700);
    if (isRoot) own(join(base, name), US);
  }
  const dead = join(starts, `1.json.${deadPid()}`);
  const alive = join(starts, `2.json.${process.pid}`);
  for (const path of [dead, alive]) writeFileSync(path, "{");
  leftovers({
    codexHome: abs(join(base, "home")),
    euid: US,
    cwd: null,
    home: null,
    tmpdir: abs(join(base, "tmp")),
  }, true);
  expect([existsSync(dead), existsSync(alive)]).toEqual([false, true]);
});
