import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bareArguments } from "../../scripts/bench_start.ts";
import { repositoryRoot } from "../../scripts/build_files.ts";

let tree = "";

/** A tree with the real task runner, a build that does nothing, and a "codex" that shows how it was called. */
beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), "codex-task-"));
  for (const name of ["scripts", "tests", "build"]) mkdirSync(join(tree, name));
  for (const name of ["setup.mjs", "task.mjs"]) {
    copyFileSync(
      join(repositoryRoot, "scripts", name),
      join(tree, "scripts", name),
    );
  }
  symlinkSync(
    join(repositoryRoot, "node_modules"),
    join(tree, "node_modules"),
  );
  writeFileSync(join(tree, "package-lock.json"), `{"packages":{}}`);
  writeFileSync(join(tree, "scripts/build.ts"), "");
  writeFileSync(join(tree, "build/bwrap.json"), "{}");
  writeFileSync(
    join(tree, "build/codex"),
    `#!/bin/sh\nprintf '<%s>' "$@"\n[ "$3" != end ] || eval "$4"\ncat\n`,
    { mode: 0o755 },
  );
});

afterAll(() => rmSync(tree, { recursive: true, force: true }));

const SUITES: readonly (readonly [string, string, string, number])[] = [ // file, text, closing line, status
  [
    "good",
    `test("a", () => {}); test("b", () => {});`,
    "2 passed, 0 failed",
    0,
  ],
  [
    "skips",
    `test("a", () => {}); test.skip("b", () => {});`,
    "1 passed, 0 failed",
    0,
  ],
  [
    "fails",
    `test("a", () => {}); test("b", () => { throw new Error("no"); });`,
    "1 passed, 1 failed",
    1,
  ],
  [
    "crashes",
    `test("a", () => {}); test("b", () => { process.kill(process.pid, "SIGKILL"); });`,
    "0 passed, 1 failed",
    1,
  ],
  ["does not load", `import "./nowhere.ts";`, "0 passed, 1 failed", 1],
];
for (const [name, text, closing, status] of SUITES) {
  test(`a test file that ${name} ends the run with "${closing}" and status ${status}`, () => {
    const file = `tests/${name.replaceAll(" ", "_")}_test.ts`;
    writeFileSync(
      join(tree, file),
      `import { test } from "bun:test";\n${text}\n`,
    );
    const done = task(["test", file]);
    expect(done.stdout.trimEnd().split("\n").at(-1)).toBe(closing);
    expect(done.status).toBe(status);
  });
}

test("a run without any test file fails", () => {
  expect(task(["test", "tests/nothing"])).toMatchObject({
    status: 1,
    stdout: "0 passed, 0 failed\n",
  });
});

test("sandbox passes words, standard input, output and status through", () => {
  expect(task(["sandbox", "-P", "a  b", "--", "$x"], "given")).toMatchObject({
    status: 0,
    stdout: "<sandbox><-P><a  b><--><$x>given",
  });
  expect(task(["sandbox", "x", "end", "exit 9"]).status).toBe(9);
  expect(task(["sandbox", "x", "end", "kill -TERM $$"]).status).toBe(143);
});

test("an unknown task is named with status 2", () => {
  expect(task(["biuld"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining(`Unknown task "biuld"`),
  });
});

test("bare arguments are the plan's without descriptors of ours", () => {
  expect(bareArguments([
    ...["--unshare-user", "--ro-bind", "/", "/", "--bind-fd", "</a>", "/a"],
    ...["--perms", "444", "--ro-bind-data", "<empty>", "/a/x"],
    ...["--perms", "000", "--tmpfs", "/p", "--seccomp", "<filter>"],
    ...["--info-fd", "<info>", "--", "true", "--bind-fd"],
  ])).toEqual([
    ...["--unshare-user", "--ro-bind", "/", "/", "--bind", "/a", "/a"],
    ...["--ro-bind", "/dev/null", "/a/x", "--perms", "000", "--tmpfs", "/p"],
    ...["--", "true", "--bind-fd"],
  ]);
});

function task(
  words: readonly string[],
  stdin = "",
): { status: number; stdout: string; stderr: string } {
  const done = Bun.spawnSync(
    ["node", join(tree, "scripts/task.mjs"), ...words],
    { cwd: tree, stdin: Buffer.from(stdin), env: outerEnvironment() },
  );
  return {
    status: done.exitCode,
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
  };
}

/** Ours without the settings of the run that we are part of. */
function outerEnvironment(): Record<string, string | undefined> {
  const { CODEX_BUILD_DIR: _dir, CODEX_BIN: _bin, ...rest } = Bun.env;
  return rest;
}
