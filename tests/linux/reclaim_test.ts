/**
 * What dead runs left is removed only while it is theirs, empty and nobody's, whatever others do in between. Through runs:
 * `tests/sandbox/clean_test.ts` and `tests/sandbox/life_test.ts`.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import type { StateHome } from "../../src/host/state_folder.ts";
import { recordName } from "../../src/linux/placeholder_records.ts";
import { makePlaceholders } from "../../src/linux/placeholders.ts";
import type { Placeholder } from "../../src/linux/plan.ts";
import { reclaimPlaceholders } from "../../src/linux/reclaim.ts";
import { abs } from "../../src/policy/path.ts";
import * as abi from "../../src/sys/abi.ts";
import { close, flock, open } from "../../src/sys/calls.ts";

const SOURCES = `${import.meta.dirname}/../../src`;
const LOOKS = { dryRun: true, waits: true };
const REMOVES = { dryRun: false, waits: true };

let base = "";
let home: StateHome = { codexHome: abs("/"), euid: 0 };
const opened: number[] = [];

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "codex-reclaim-")));
  mkdirSync(join(base, "work"));
  const euid = process.geteuid?.() ?? 0;
  home = { codexHome: abs(join(base, "home")), euid };
});
afterEach(() => {
  for (const fd of opened.splice(0)) close(fd);
  rmSync(base, { recursive: true });
});

function at(name: string): string {
  return join(base, "work", name);
}

function records(): readonly string[] {
  return readdirSync(join(base, "home/sandbox/placeholders"));
}

/** What is there: of the workspace, and how many records. */
function left(): readonly [names: readonly string[], records: number] {
  return [readdirSync(at("")).sort(), records().length];
}

/** What a run has left that was killed while it relied on it. */
function leaveBehind(...wanted: readonly Placeholder[]): void {
  const made = makePlaceholders(wanted, home);
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  for (const { lockFd, parentFd } of made.value.held) {
    close(lockFd);
    close(parentFd);
  }
  close(made.value.recordsFd);
}

function folder(name: string): Placeholder {
  return { path: abs(at(name)), node: "directory" };
}

/** Runs lines in a process of its own, and gives what it says. */
function alone(before: string, after: string): string {
  const source = `
import { meddle } from "${import.meta.dirname}/meddle.ts";
import { dieRatherThanWait } from "${import.meta.dirname}/refuse.ts";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
const home = ${JSON.stringify(home)};
const work = ${JSON.stringify(join(base, "work"))};
${before}
const { reclaimIfAny, reclaimPlaceholders } = await import("${SOURCES}/linux/reclaim.ts");
${after}
process.exit(0);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", source], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return stdout === "" ? stderr : stdout;
}

test("what a dead run left is removed with its records, and only named by who looks", () => {
  leaveBehind(folder(".git"), { path: abs(at("file")), node: "file" });
  const found = [at(".git"), at("file")];
  const named = (options: typeof LOOKS): readonly string[] =>
    reclaimPlaceholders(home, options).map(({ path }) => path).sort();
  expect(named(LOOKS)).toEqual(found);
  expect(left()).toEqual([[".git", "file"], 2]);
  expect(named(REMOVES)).toEqual(found);
  expect(left()).toEqual([[], 0]);
});

/** What happened to what a dead run left: whether it stays, and whether its record does. */
const STAYS: readonly (readonly [
  what: string,
  node: Placeholder["node"],
  act: (path: string) => void,
  names: readonly string[],
  records: number,
])[] = [
  [
    "a living run holds it",
    "directory",
    (path) => {
      const fd = open(path as ByteString, abi.O_RDONLY);
      if (!fd.ok || !flock(fd.value, abi.LOCK_SH).ok) {
        throw new Error("no lock");
      }
      opened.push(fd.value);
    },
    ["it"],
    1,
  ],
  [
    "somebody has filled the folder",
    "directory",
    (path) => {
      mkdirSync(join(path, "full"));
    },
    ["it"],
    0,
  ],
  [
    "somebody has filled the file",
    "file",
    (path) => {
      writeFileSync(path, "mine");
    },
    ["it"],
    0,
  ],
  [
    "somebody has filled the file, and its time is what it was",
    "file",
    (path) => {
      writeFileSync(path, "mine");
      spawnSync("touch", ["-d", "@202006016.123456700", path]);
    },
    ["it"],
    0,
  ],
  [
    "another folder has its name",
    "directory",
    (path) => {
      mkdirSync(`${path}.new`);
      rmdirSync(path);
      renameSync(`${path}.new`, path);
    },
    ["it"],
    0,
  ],
  [
    "it bears our mark no longer",
    "directory",
    (path) => {
      utimesSync(path, 1, 1);
    },
    ["it"],
    0,
  ],
  [
    "a link has its name",
    "directory",
    (path) => {
      renameSync(path, `${path}.old`);
      symlinkSync(`${path}.old`, path);
    },
    ["it", "it.old"],
    1,
  ],
  [
    "a file has the folder's name",
    "directory",
    (path) => {
      rmdirSync(path);
      writeFileSync(path, "");
    },
    ["it"],
    1,
  ],
];

for (const [what, node, act, names, count] of STAYS) {
  test(`what a dead run left stays where ${what}`, () => {
    leaveBehind({ path: abs(at("it")), node });
    act(at("it"));
    expect(reclaimPlaceholders(home, LOOKS)).toEqual([]);
    expect(left()).toEqual([names, 1]);
    expect(reclaimPlaceholders(home, REMOVES)).toEqual([]);
    expect(left()).toEqual([names, count]);
  });
}

test("what a run says that it relies on is not looked at", () => {
  leaveBehind(folder(".git"));
  const live = new Set([recordName(abs(at(".git")))]);
  expect(reclaimPlaceholders(home, REMOVES, live)).toEqual([]);
  expect(left()).toEqual([[".git"], 1]);
});

test("a folder that takes a leftover's place while it is judged stays", () => {
  leaveBehind(folder(".git"));
  const said = alone(
    `meddle({ flock: (real, fd, operation) => {
  if (operation === 6) { // LOCK_EX | LOCK_NB
    renameSync(work + "/.git", work + "/old"); mkdirSync(work + "/.git"); }
  return real(fd, operation);
} });`,
    `console.log(reclaimPlaceholders(home).length);`,
  );
  expect(said).toBe("0\n");
  expect(existsSync(at(".git"))).toBe(true);
});

test("a pipe in a leftover's place holds nobody", () => {
  const path = at("it");
  leaveBehind({ path: abs(path), node: "file" });
  rmSync(path);
  spawnSync("mkfifo", [path]);
  const said = alone(
    "",
    `dieRatherThanWait(); console.log(reclaimPlaceholders(home).length);`,
  );
  expect(said).toBe("0\n");
});

test("what can't be removed is told so, and keeps its record", () => {
  leaveBehind(folder(".git"));
  const said = alone(
    `meddle({ unlinkAt: (real, fd, name, flags) => name === ".git"
  ? { ok: false, error: { kind: "sys", call: "unlink", errno: 16 } } : real(fd, name, flags) });`,
    `console.log(JSON.stringify(reclaimPlaceholders(home).map(({ refused }) => refused)));`,
  );
  expect(said).toBe('["EBUSY: busy"]\n');
  expect(left()).toEqual([[".git"], 1]);
});

/** Records of what is not there any more; each goes, but for the last. */
const GONE:
  readonly (readonly [what: string, act: () => void, kept: number])[] = [
    ["somebody has removed it", () => rmdirSync(at(".git")), 0],
    ["its folder is gone", () => rmSync(at(""), { recursive: true }), 0],
    ["a file is where its folder was", () => {
      rmSync(at(""), { recursive: true });
      writeFileSync(at(""), "");
    }, 0],
    ["its run died before it could make it", () => {
      rmdirSync(at(".git"));
      const path = join(base, "home/sandbox/placeholders", records()[0] ?? "");
      const text = JSON.stringify({ path: at(".git"), node: "directory" });
      writeFileSync(path, text);
    }, 0],
    ["its file system may be mounted again", () => {
      rmSync(at(""), { recursive: true });
      const path = join(base, "home/sandbox/placeholders", records()[0] ?? "");
      const lines = [
        { path: at(".git"), node: "directory" },
        { device: 0, inode: 1, isMarked: true },
      ];
      writeFileSync(path, lines.map((it) => JSON.stringify(it)).join("\n"));
    }, 1],
  ];

for (const [what, act, kept] of GONE) {
  test(`a record ${kept === 0 ? "goes" : "stays"} where ${what}`, () => {
    leaveBehind(folder(".git"));
    act();
    expect(reclaimPlaceholders(home, LOOKS)).toEqual([]);
    expect(records().length).toBe(1);
    expect(reclaimPlaceholders(home, REMOVES)).toEqual([]);
    expect(records().length).toBe(kept);
  });
}

test("a record that no run can have the lock of may be a living run's, and stays", () => {
  leaveBehind(folder(".git"));
  GONE[3]?.[1]();
  const said = alone(
    `import { refuse } from "${import.meta.dirname}/refuse.ts";`,
    `refuse([{ call: "flock" }]); console.log(reclaimPlaceholders(home).length);`,
  );
  expect([said, records().length]).toEqual(["0\n", 1]);
});

test("a draft goes when its writer is dead, and only then", () => {
  leaveBehind();
  const drafts = [
    `.0123456789abcdef.${spawnSync("true").pid}`,
    `.0123456789abcdef.${process.pid}`,
  ];
  for (const name of drafts) {
    writeFileSync(join(base, "home/sandbox/placeholders", name), "{");
  }
  reclaimPlaceholders(home, LOOKS);
  expect([...records()].sort()).toEqual([...drafts].sort());
  reclaimPlaceholders(home, REMOVES);
  expect(records()).toEqual(drafts.slice(1));
});

test("a run that needs no placeholder takes away what a dead run left, and waits for nobody", () => {
  leaveBehind(folder(".git"));
  const fd = open(
    join(base, "home/sandbox/placeholders") as ByteString,
    abi.O_RDONLY,
  );
  if (!fd.ok) throw new Error("no records");
  opened.push(fd.value);
  flock(fd.value, abi.LOCK_EX);
  // Waiting is the end here.
  const said = alone(
    `meddle({ flock: (real, fd, operation) => {
  if (operation === 2) { // LOCK_EX, and no LOCK_NB
    console.log("waits"); process.exit(0); }
  return real(fd, operation);
} });`,
    `reclaimIfAny(home); console.log("done");`,
  );
  expect([said, left()]).toEqual(["done\n", [[".git"], 1]]);
  flock(fd.value, abi.LOCK_UN);
  alone("", "reclaimIfAny(home);");
  expect(left()).toEqual([[], 0]);
});
