/**
 * What is read of a workspace, which its author has filled as he liked.
 *
 * @module
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { probePath, readSmallFile } from "../../src/host/probe.ts";
import { abs } from "../../src/policy/path.ts";

let base = "";

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "codex-probe-"));
  writeFileSync(join(base, "file"), "text");
  writeFileSync(join(base, "large"), "x".repeat(11));
  symlinkSync("file", join(base, "link"));
  symlinkSync("/dev/null", join(base, "device"));
  mkdirSync(join(base, "directory"));
  Bun.spawnSync(["mkfifo", join(base, "pipe")]);
});
afterAll(() => rmSync(base, { recursive: true }));

const FILES = [ // name, what is read, why
  ["file", "text", "a regular file"],
  ["link", null, "it could lead to another's file"],
  ["large", null, "longer than the limit"],
  ["directory", null, "no file"],
  ["missing", null, "not there"],
] as const;
for (const [name, text, why] of FILES) {
  test(`of ${name} ${text === null ? "nothing" : "all"} is read: ${why}`, () => {
    expect(readSmallFile(abs(join(base, name)), 10)).toEqual({
      ok: true,
      value: text as never,
    });
  });
}

test("a device is not read, whatever it would say", () => {
  const read = readSmallFile(abs("/dev/zero"), 10);
  expect(read).toEqual({ ok: true, value: null });
});

/** Each in a process of its own: whoever opens a pipe without asking waits for a writer. */
const READERS = [ // what is read, module, expression
  ["a small file", "host/probe.ts", "readSmallFile(path, 10).ok"],
  ["config", "config/host_files.ts", "CONFIG_HOST.readFile(path, 'refuse').ok"],
] as const;
for (const [what, module, expression] of READERS) {
  test(`a pipe in the place of ${what} holds nobody`, async () => {
    const source = `${import.meta.dirname}/../../src/${module}`;
    const script =
      `const { dieRatherThanWait } = await import("${import.meta.dirname}/../linux/refuse.ts"); const { readSmallFile, CONFIG_HOST } = await import(${
        JSON.stringify(source)
      }); const path = ${
        JSON.stringify(join(base, "pipe"))
      }; dieRatherThanWait(); ${expression}; console.log("read"); process.exit(0);`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    expect(await new Response(child.stdout).text()).toBe("read\n");
  });
}

test("what can't be looked at is not taken for missing", () => {
  const facts = new Map();
  const paths = ["none", "file/below", "x".repeat(300)].map((name) =>
    abs(join(base, name))
  );
  for (const path of paths) probePath(facts, path);
  expect(paths.map((path) => facts.get(path)?.kind))
    .toEqual(["missing", undefined, "unreadable"]);
});

test("links that loop are not followed for ever", () => {
  const folder = mkdtempSync(join(tmpdir(), "codex-loop-"));
  symlinkSync("b", join(folder, "a"));
  symlinkSync("a", join(folder, "b"));
  const source = `
import { probePath } from "${import.meta.dirname}/../../src/host/probe.ts";
probePath(new Map(), "${folder}/a");
console.log("done");`;
  // Two seconds of a core, whatever the clock says: a start takes a tenth of one.
  const { stdout } = Bun.spawnSync([
    ...["/bin/sh", "-c", 'ulimit -t 2; exec "$@"', "sh"],
    ...[process.execPath, "-e", source],
  ], { timeout: 60_000 });
  rmSync(folder, { recursive: true });
  expect(stdout.toString()).toBe("done\n");
});
