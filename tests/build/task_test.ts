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
import { failuresIn } from "../../scripts/test_output.mjs";
import { bareArguments } from "../../scripts/bench_start.ts";
import { repositoryRoot } from "../../scripts/build_files.ts";

let tree = "";

/** A tree with the real task runner, a build that does nothing, and a "codex" that shows how it was called. */
beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), "codex-task-"));
  for (const name of ["scripts", "tests", "build"]) mkdirSync(join(tree, name));
  for (const name of ["setup.mjs", "task.mjs", "test_output.mjs"]) {
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

test("a run names its failures once more before the count, and prints nothing of what passed", () => {
  const files = { odd: "crash", two: `expect(1).toBe(2)` };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(
      join(tree, `tests/${name}_test.ts`),
      `import { expect, test } from "bun:test";
test("good [1]", () => console.log("said"));
test("bad [2, x]", () => { ${
        text === "crash" ? `process.kill(process.pid, "SIGKILL")` : text
      }; });
test("good [3]", () => {});
`,
    );
  }
  const { stdout } = task(["test", "tests/odd_test.ts", "tests/two_test.ts"]);
  expect(stdout.split("\n").slice(-4)).toEqual([
    ...[
      "FAILED tests/odd_test.ts: the file itself ended with SIGKILL",
      "FAILED tests/two_test.ts: bad [2, x]",
    ].toSorted((a, b) => stdout.lastIndexOf(a) - stdout.lastIndexOf(b)),
    "2 passed, 2 failed",
    "",
  ]);
  expect(stdout).toMatch(/expect\(1\)\.toBe\(2\)[^]*\n\(fail\) bad \[2, x\]/);
  expect(stdout).not.toMatch(/\(pass\)/);
});

const OUTPUTS:
  readonly (readonly [string, string, string, readonly string[]])[] = [ // why, output, what is kept, titles
    [
      "what a test said, its error and its verdict stay together",
      "said\n(pass) a [1.00ms]\nheard\n1 | expect(a)\nerror: no\n(fail) b [2.00ms]\nsaid\n(pass) c\n",
      "heard\n1 | expect(a)\nerror: no\n(fail) b [2.00ms]\n",
      ["b"],
    ],
    [
      "a time-out's reason comes behind the verdict",
      "(pass) a\n(fail) b [5.00ms]\n  ^ this test timed out after 5ms.\n(pass) c\n",
      "(fail) b [5.00ms]\n  ^ this test timed out after 5ms.\n",
      ["b"],
    ],
    [
      "an error outside of tests is nobody's",
      `(pass) a\nsaid\n# Unhandled error between tests\n${
        "-".repeat(31)
      }\nerror: no\n${"-".repeat(31)}\nsaid\n(pass) b\n`,
      `# Unhandled error between tests\n${"-".repeat(31)}\nerror: no\n${
        "-".repeat(31)
      }\n`,
      [],
    ],
    [
      "a test may end its words without a newline",
      "said(pass) a [1.00ms]\nsaid(fail) b [1.00s]\n",
      "said(fail) b [1.00s]\n",
      ["b"],
    ],
    [
      "a verdict in quoted source is none",
      "7 | (pass) x [1.00ms]\nerror: no\n(fail) b > c [1.00ms]\n",
      "7 | (pass) x [1.00ms]\nerror: no\n(fail) b > c [1.00ms]\n",
      ["b > c"],
    ],
    [
      "a file that ended in the midst of a test leaves what came last",
      "(pass) a\nsegmentation fault\n",
      "segmentation fault\n",
      [],
    ],
    [
      "bun's own list at the end names nothing twice",
      "error: no\n(fail) b\n(pass) c\n\n1 tests failed:\n(fail) b\n\n 1 pass\n",
      "error: no\n(fail) b\n\n1 tests failed:\n(fail) b\n\n 1 pass\n",
      ["b"],
    ],
  ];
for (const [why, output, text, titles] of OUTPUTS) {
  test(`of a failed file's output the failures are kept: ${why}`, () => {
    expect(failuresIn(output)).toEqual({ text, titles: [...titles] });
  });
}

test("a path without a test file fails and is named, also beside others", () => {
  writeFileSync(
    join(tree, "tests/beside_test.ts"),
    `import { test } from "bun:test";\ntest("a", () => {});\n`,
  );
  for (const paths of [["tests/nothing"], ["tests/beside_test.ts", "typo"]]) {
    expect(task(["test", ...paths])).toMatchObject({
      status: 2,
      stdout: "0 passed, 0 failed\n",
      stderr: expect.stringContaining(`Cannot test "${paths.at(-1)}"`),
    });
  }
});

test("a folder may be named with a slash, and absolutely", () => {
  mkdirSync(join(tree, "tests/room"));
  writeFileSync(
    join(tree, "tests/room/a_test.ts"),
    `import { test } from "bun:test";\ntest("a", () => {});\n`,
  );
  for (const path of ["tests/room/", join(tree, "tests/room")]) {
    expect(task(["test", path]).stdout).toEndWith("1 passed, 0 failed\n");
  }
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
