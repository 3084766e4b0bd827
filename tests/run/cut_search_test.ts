import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StateHome } from "../../src/host/state_folder.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";
import { cutWarning, TOLD_NAME } from "../../src/run/cut_search.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function newHome(): StateHome {
  const folder = mkdtempSync(join(tmpdir(), "codex-cut-"));
  folders.push(folder);
  return { codexHome: abs(folder), euid: process.getuid?.() ?? 0 };
}

function isSaid(directory: AbsPath, home: StateHome | null): boolean {
  const cut = { at: abs("/w/deep"), why: "more than 5 ms of looking" };
  return cutWarning(directory, cut, home) !== null;
}

test("a cut search is said once for each directory", () => {
  const home = newHome();
  const asked = ["/w", "/w", "/v", "/w"].map((path) => isSaid(abs(path), home));
  expect(asked).toEqual([true, false, true, false]);
});

test("it is said each time where nothing can be remembered", () => {
  expect([isSaid(abs("/w"), null), isSaid(abs("/w"), null)])
    .toEqual([true, true]);
});

test("it is said each time where the state folder is open to others", () => {
  const home = newHome();
  isSaid(abs("/w"), home);
  chmodSync(`${home.codexHome}/sandbox`, 0o777);
  expect(isSaid(abs("/w"), home)).toBe(true);
});

test("garbage in the memory is forgotten, and what is kept has an end", () => {
  const home = newHome();
  isSaid(abs("/w"), home);
  const memory = `${home.codexHome}/sandbox/cache/${TOLD_NAME}`;
  const many = Array.from(
    { length: 600 },
    (_, index) => index.toString(16).padStart(16, "0"),
  );
  writeFileSync(memory, ["garbage", ...many].join("\n"));
  isSaid(abs("/w"), home);
  const kept = readFileSync(memory, "utf8").trimEnd().split("\n");
  expect([kept.length, kept.at(-2)]).toEqual([500, many.at(-1)]);
});
