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
  realpathSync,
  rmSync,
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
];

for (const [what, change] of KEEPS) {
  test(`a mount point stays where ${what}`, () => {
    change();
    expect(isCleaned()).toBe(false);
  });
}

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
