import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStateFolder, replaceFile } from "../../src/host/state_folder.ts";
import { abs } from "../../src/policy/path.ts";
import { close } from "../../src/sys/calls.ts";

const OURS = process.geteuid?.() ?? 0;
let home = "";

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "codex-state-"));
});
afterEach(() => rmSync(home, { recursive: true }));

/** `opened`, or why it was refused. */
function open(euid = OURS): string {
  const folder = openStateFolder(abs(home), ["records"], {
    create: true,
    euid,
  });
  if (!folder.ok) return folder.error.why;
  close(folder.value);
  return "opened";
}

const NOT_OURS = "it must belong to you and be closed to others (mode 700)";

test("a state folder is made for us alone", () => {
  expect(open()).toBe("opened");
  for (const name of ["sandbox", "sandbox/records"]) {
    expect(statSync(join(home, name)).mode & 0o777).toBe(0o700);
  }
});

test("a link in its place is not followed", () => {
  mkdirSync(join(home, "elsewhere"), { mode: 0o700 });
  symlinkSync("elsewhere", join(home, "sandbox"));
  expect(open()).toContain("; it must be a folder of yours");
  expect(existsSync(join(home, "elsewhere/records"))).toBe(false);
});

test("one that others may open is refused", () => {
  mkdirSync(join(home, "sandbox"));
  chmodSync(join(home, "sandbox"), 0o711);
  expect(open()).toBe(NOT_OURS);
});

test("one of another user is refused", () => {
  mkdirSync(join(home, "sandbox"), { mode: 0o700 });
  if (OURS === 0) chownSync(join(home, "sandbox"), 65_534, 65_534);
  // Without root's rights to give it away, we are somebody else instead.
  expect(open(OURS === 0 ? 0 : OURS + 1)).toBe(NOT_OURS);
});

test("a file of it is private, whole, and never written through a link", () => {
  const folder = openStateFolder(abs(home), [], { create: true, euid: OURS });
  if (!folder.ok) throw new Error(folder.error.why);
  replaceFile(folder.value, "kept", "text");
  expect(readFileSync(join(home, "sandbox/kept"), "utf8")).toBe("text");
  expect(statSync(join(home, "sandbox/kept")).mode & 0o777).toBe(0o600);
  symlinkSync(join(home, "victim"), join(home, `sandbox/kept.${process.pid}`));
  replaceFile(folder.value, "kept", "other");
  close(folder.value);
  expect(existsSync(join(home, "victim"))).toBe(false);
  expect(readdirSync(join(home, "sandbox"))).toContain("kept");
});

test("a file of it that can't be put in its place leaves nothing beside it", () => {
  const folder = openStateFolder(abs(home), [], { create: true, euid: OURS });
  if (!folder.ok) throw new Error(folder.error.why);
  mkdirSync(join(home, "sandbox/kept"));
  replaceFile(folder.value, "kept", "text");
  close(folder.value);
  expect(readdirSync(join(home, "sandbox"))).toEqual(["kept"]);
});
