/**
 * What a placeholder's record says, whoever was killed while it was written.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  openParent,
  parseRecord,
} from "../../src/linux/placeholder_records.ts";
import { abs } from "../../src/policy/path.ts";
import { close } from "../../src/sys/calls.ts";

const SOURCES = `${import.meta.dirname}/../../src`;

const BEGUN = '{"path":"/w/.git","node":"directory"}';
const ADDED = '{"device":1,"inode":2,"isMarked":true}';
const BEGINNING = { path: "/w/.git", node: "directory" };
const WHOLE = { ...BEGINNING, device: 1, inode: 2, isMarked: true };

for (
  const [text, says, why] of [
    [BEGUN, BEGINNING, "its owner has not made the placeholder yet"],
    [`${BEGUN}\n${ADDED}`, WHOLE, "complete"],
    [`${BEGUN}\n`, BEGINNING, "killed at the first byte"],
    [`${BEGUN}\n${ADDED.slice(0, -1)}`, BEGINNING, "killed in the middle"],
    [
      `${BEGUN}\n${ADDED.slice(0, 9)}\n${ADDED}`,
      WHOLE,
      "killed in the middle, then completed by the next run",
    ],
    [
      `${BEGUN}\n{"device":8,"inode":9,"isMarked":false}\n${ADDED}`,
      WHOLE,
      "made anew: the last one counts",
    ],
    [
      `${BEGUN}\n{"path":"/etc","node":"file","inode":2}`,
      { ...BEGINNING, inode: 2 },
      "its path stands in the first line",
    ],
    ["", null, "empty"],
    ["{", null, "no JSON"],
    ["null", null, "no object"],
    ['{"path":"w/.git","node":"directory"}', null, "not absolute"],
    [`\n${ADDED}`, null, "nothing but what was added"],
  ] as const
) {
  test(`a record is read as it is meant: ${why}`, () => {
    expect(parseRecord(text)).toEqual(says as ReturnType<typeof parseRecord>);
  });
}

/** What is done with a record, and a shell's line that puts something else in its place: `$0` is the process. */
const STRANGE: readonly (readonly [
  what: string,
  expression: string,
  answer: string,
  make: string,
])[] = [
  [
    "a link is not read as a record",
    "records.readRecord(folder, 'record')",
    "null",
    "ln -s target record",
  ],
  [
    "a pipe in a record's place holds nobody who reads it",
    "records.readRecord(folder, 'record')",
    "null",
    "mkfifo record",
  ],
  [
    "nothing is added to a record through a link",
    "records.openRecord(folder, 'record').ok",
    "false",
    "ln -s target record",
  ],
  [
    "a pipe in a record's place holds nobody who adds to it",
    "records.openRecord(folder, 'record').ok",
    "false",
    "mkfifo record",
  ],
  [
    "a record is not begun through a link",
    "records.beginRecord(folder, 'record', { path: '/w', node: 'file' }).ok",
    "false",
    "ln -s target .record.$0",
  ],
];

/** Each in a process of its own: whoever opens a pipe without asking waits for the other side. */
for (const [what, expression, answer, make] of STRANGE) {
  test(what, () => {
    const folder = mkdtempSync(join(tmpdir(), "codex-record-"));
    writeFileSync(join(folder, "target"), BEGUN);
    const source = `
import * as records from "${SOURCES}/linux/placeholder_records.ts";
import { getpid, open } from "${SOURCES}/sys/calls.ts";
import { dieRatherThanWait } from "${import.meta.dirname}/refuse.ts";
import { execFileSync } from "node:child_process";
execFileSync("sh", ["-c", ${JSON.stringify(make)}, String(getpid())]);
const folder = open(".", 0).value;
${make.startsWith("mkfifo") ? "dieRatherThanWait();" : ""}
console.log(JSON.stringify(${expression}));
process.exit(0);`;
    try {
      const { stdout } = spawnSync(process.execPath, ["-e", source], {
        cwd: folder,
        encoding: "utf8",
        timeout: 20_000,
      });
      expect(stdout).toBe(`${answer}\n`);
      expect(readFileSync(join(folder, "target"), "utf8")).toBe(BEGUN);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

test("the directory of a placeholder is reached through no link", () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "codex-record-"));
  mkdirSync(join(folder, "real"));
  symlinkSync("real", join(folder, "link"));
  const opened = ["real", "link"].map((name) => {
    const fd = openParent(abs(join(folder, name, "x")));
    if (fd.ok) close(fd.value);
    return fd.ok;
  });
  rmSync(folder, { recursive: true });
  expect(opened).toEqual([true, false]);
});
