/**
 * Where the result of a run goes: into no place of the command's, through no link, to no descriptor that the command has. Through runs:
 * `tests/sandbox/result_test.ts`.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import type { ResultTarget } from "../../src/cli/run_limits.ts";
import { describe } from "../../src/failure.ts";
import { resultTeller } from "../../src/run/result.ts";
import { firstOwnFd } from "../../src/linux/process_state.ts";
import { factsOf, policyOf } from "../policy/world.ts";

const SOURCES = `${import.meta.dirname}/../../src`;

let base = "";

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "codex-result-")));
  for (const name of ["out", "work"]) mkdirSync(join(base, name));
  writeFileSync(join(base, "victim"), "theirs");
});
afterEach(() => {
  rmSync(base, { recursive: true });
});

/** The command may write `work`, and nothing else of the base. */
function openAs(path: string): string {
  const target: ResultTarget = { kind: "file", path: path as ByteString };
  const said: string[] = [];
  const teller = resultTeller(target, [], (line) => said.push(line));
  if (!teller.ok) return describe(teller.error);
  const policy = policyOf([[":root", "read"], [join(base, "work"), "write"]], {
    cwd: join(base, "work"),
  });
  const tree = {
    [base]: "dir",
    [join(base, "work")]: "dir",
    [join(base, "out")]: "dir",
  };
  const opened = teller.value.open(policy, factsOf(tree, policy));
  teller.value.tellEnd({ kind: "exited", status: 7 });
  teller.value.tellEnd({ kind: "exited", status: 8 });
  if (!opened.ok) return describe(opened.error);
  return said.join("\n");
}

test("a result is one line, and its file is there before the command is", () => {
  const path = join(base, "out/result");
  writeFileSync(path, "longer than what will be written: ".repeat(100));
  expect(openAs(path)).toBe("");
  const text = readFileSync(path, "utf8");
  expect(text).toEndWith("\n");
  expect(JSON.parse(text).status).toBe(7);
});

/** What is made before, the name that is given, and why it is none. */
const REFUSED: readonly (readonly [
  what: string,
  name: string,
  make: (path: string) => void,
  why: RegExp,
])[] = [
  [
    "lies where the command writes",
    "work/result",
    () => {},
    /the command can write there too/,
  ],
  ["lies where the command writes, by a link", "link/result", () => {
    symlinkSync("work", join(base, "link"));
  }, /the command can write there too/],
  [
    "is a link",
    "out/result",
    (path) => symlinkSync("../victim", path),
    /symbolic link/,
  ],
  ["is a folder", "out", () => {}, /is a directory/],
  ["ends in no name", "out/.", () => {}, /is a directory/],
  [
    "is a pipe",
    "out/result",
    (path) => void spawnSync("mkfifo", [path]),
    /no regular file/,
  ],
  [
    "has another name",
    "out/result",
    (path) => linkSync(join(base, "victim"), path),
    /another name/,
  ],
];

for (const [what, name, make, why] of REFUSED) {
  test(`a result whose file ${what} is refused, and nothing is written`, () => {
    make(join(base, name));
    expect(openAs(join(base, name))).toMatch(why);
    expect(readFileSync(join(base, "victim"), "utf8")).toBe("theirs");
    expect(readdirSync(join(base, "work"))).toEqual([]);
  });
}

/** What takes the name between the look and the opening. */
const SWAPS: readonly (readonly [what: string, line: string])[] = [
  ["a link", `symlinkSync("../victim", "result");`],
  [
    "a pipe that somebody reads",
    `execFileSync("mkfifo", ["result"]); openSync("result", constants.O_RDONLY | constants.O_NONBLOCK);`,
  ],
  [
    "a pipe that nobody reads",
    `execFileSync("mkfifo", ["result"]); dieRatherThanWait();`,
  ],
];

for (const [what, line] of SWAPS) {
  test(`a result goes into no file whose name ${what} takes in the last moment`, () => {
    const source = `
import { meddle } from "${import.meta.dirname}/../linux/meddle.ts";
import { constants, openSync, symlinkSync } from "node:fs";
import { execFileSync } from "node:child_process";
meddle({ lstatAt: (real, ...args) => { const there = real(...args); ${line} return there; } });
const { dieRatherThanWait } = await import("${import.meta.dirname}/../linux/refuse.ts");
const { resultTeller } = await import("${SOURCES}/run/result.ts");
const said = [];
const teller = resultTeller({ kind: "file", path: "result" }, [], (line) => said.push(line)).value;
teller.tellMistake("none");
console.log(said.length);
process.exit(0);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["-e", source], {
      cwd: join(base, "out"),
      encoding: "utf8",
      timeout: 60_000,
    });
    expect(stdout === "" ? stderr : stdout).toBe("1\n");
    expect(readFileSync(join(base, "victim"), "utf8")).toBe("theirs");
  });
}

/** A descriptor that can't be had, or must not. */
const DESCRIPTORS: readonly (readonly [
  what: string,
  open: () => number,
  passed: boolean,
  why: RegExp,
])[] = [
  ["is not open", () => 77, false, /has not opened it/],
  [
    "is the runtime's",
    () => {
      const own = readdirSync("/proc/self/fd").find((fd) => {
        try {
          return /eventpoll/.test(readlinkSync(`/proc/self/fd/${fd}`));
        } catch {
          return false;
        }
      });
      return Number(own);
    },
    false,
    /has not opened it/,
  ],
  [
    "is open for reading",
    () => openSync(join(base, "victim"), "r"),
    false,
    /not open for writing/,
  ],
  [
    "only names a file",
    () => openSync(join(base, "victim"), 0o10000000 | 1),
    false,
    /not open for writing/,
  ],
  [
    "is given to the command",
    () => openSync(join(base, "victim"), "a"),
    true,
    /would give it to the command/,
  ],
];

for (const [what, open, passed, why] of DESCRIPTORS) {
  test(`a result to a descriptor that ${what} is refused`, () => {
    const fd = open();
    const teller = resultTeller(
      { kind: "fd", fd },
      passed ? [fd] : [],
      () => {},
    );
    expect(teller.ok ? "" : describe(teller.error)).toMatch(why);
    if (fd !== 77 && what !== "is the runtime's") closeSync(fd);
  });
}

test("a result's descriptor is no longer under the number that the command would get", () => {
  const fd = openSync(join(base, "victim"), "a");
  const teller = resultTeller({ kind: "fd", fd }, [], () => {});
  expect(teller.ok).toBe(true);
  const numbers = readdirSync("/proc/self/fd").filter((it) => {
    try {
      return readlinkSync(`/proc/self/fd/${it}`) === join(base, "victim");
    } catch {
      return false;
    }
  }).map(Number);
  expect(numbers.filter((it) => it < firstOwnFd())).toEqual([]);
  for (const it of numbers) closeSync(it);
});
