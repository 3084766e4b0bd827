/**
 * What each call leaves in the record of a start that may be kept: the question with its answer, or no record at all.
 *
 * @module
 */
import { afterAll, afterEach, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import type { ByteString } from "../../src/bytes.ts";
import { variable } from "../../src/host/origin.ts";
import * as abi from "../../src/sys/abi.ts";
import {
  access,
  close,
  contentText,
  fileSystemType,
  flock,
  fstat,
  getgroups,
  lstat,
  lstatAt,
  mkdirAt,
  open,
  openAt,
  openAt2,
  pipe,
  placeText,
  readFile,
  readlink,
  renameAt,
  spawn,
  stat,
  unlinkAt,
} from "../../src/sys/calls.ts";
import { canWriteWithoutCapabilities } from "../../src/sys/identity.ts";
import {
  observations,
  observe,
  spoil,
  startObserving,
  unobserved,
} from "../../src/sys/observed.ts";

const base = realpathSync(mkdtempSync(`${tmpdir()}/codex-recorded-`));
const at = (name: string): ByteString => `${base}/${name}` as ByteString;
writeFileSync(at("file"), "text");
mkdirSync(at("folder"));
symlinkSync("file", at("link"));
afterEach(spoil);
afterAll(() => rmSync(base, { recursive: true }));

/** What is recorded of `ask`: kind, subject and answer of each question, `null` where nothing may be kept. */
function recordOf(ask: () => unknown): ReturnType<typeof observations> {
  startObserving();
  ask();
  return observations();
}

function opened(path: ByteString): void {
  const fd = open(path, abi.O_RDONLY);
  if (fd.ok) close(fd.value);
}

const answer = (path: ByteString): string => placeText(path, lstat(path));

const QUESTIONS: readonly (readonly [
  () => unknown,
  readonly (readonly [string, string, string])[],
  string,
])[] = [
  [
    () => lstat(at("link")),
    [["lstat", at("link"), answer(at("link"))]],
    "what lies at a place",
  ],
  [() => lstat(at("none")), [["lstat", at("none"), "-2"]], "that it is empty"],
  [
    () => stat(at("link")),
    [["stat", at("link"), answer(at("file"))]],
    "what a link leads to",
  ],
  [
    () => opened(at("file")),
    [["open", at("file"), contentText(stat(at("file")))]],
    "what was opened, with its content",
  ],
  [() => opened(at("none")), [["open", at("none"), "-2"]], "that it was not"],
  [
    () => readFile(at("file"), 100),
    [["open", at("file"), contentText(stat(at("file")))]],
    "what was read",
  ],
  [
    () => access(4, at("file")),
    [["access", `4${at("file")}`, "0"]],
    "what one may do",
  ],
  [
    () => access(4, at("none")),
    [["access", `4${at("none")}`, "-2"]],
    "what one may not",
  ],
  [
    () => readlink(at("link")),
    [["link", at("link"), "file"]],
    "where a link points to",
  ],
  [
    () => readlink(at("file")),
    [["link", at("file"), "-22"]],
    "that it is no link",
  ],
  [
    () => readFile("/proc/sys/kernel/ostype", 100),
    [["text", "/proc/sys/kernel/ostype", "Linux\n"]],
    "what the kernel says",
  ],
  [
    () => readFile("/proc/none", 100),
    [["text", "/proc/none", "-2"]],
    "that it says nothing",
  ],
  [
    () => fileSystemType("/proc" as ByteString),
    [["file_system", "/proc", String(0x9fa0)]],
    "the kind of a file system",
  ],
  [
    () => fileSystemType(at("none")),
    [["file_system", at("none"), "-2"]],
    "that there is none",
  ],
  [
    () => variable(["NAME=value" as ByteString], "NAME"),
    [["variable", "NAME", "value"]],
    "a variable of the caller",
  ],
  [
    () => variable([], "NAME"),
    [["variable", "NAME", "\0"]],
    "that it is not set",
  ],
];
for (const [ask, record, why] of QUESTIONS) {
  test(`the record has ${why}`, () => {
    expect(recordOf(ask)).toEqual(record as never);
  });
}

const SPOILERS: readonly (readonly [string, (fd: number) => unknown])[] = [
  ["a file below a descriptor", (fd) => {
    const file = openAt(fd, "file", abi.O_RDONLY);
    if (file.ok) close(file.value);
  }],
  ["an open file below /proc", () => opened("/proc/self/stat" as ByteString)],
  ["a file that is opened without links", (fd) => {
    const file = openAt2(fd, "file", abi.O_RDONLY, 0);
    if (file.ok) close(file.value);
  }],
  ["what lies below a descriptor", (fd) => lstatAt(fd, "file")],
  ["a folder that was made", (fd) => mkdirAt(fd, "made", 0o700)],
  ["a name that was taken away", (fd) => unlinkAt(fd, "none", 0)],
  ["a name that was changed", (fd) => renameAt(fd, "none", "other")],
  ["a lock", (fd) => flock(fd, abi.LOCK_SH)],
  ["a pipe", () => {
    const ends = pipe();
    if (ends.ok) { for (const end of ends.value) close(end); }
  }],
  ["the caller's groups", () => getgroups()],
  [
    "what root could do without capabilities",
    () => canWriteWithoutCapabilities(at("folder"), "directory"),
  ],
  ["a child", () =>
    spawn({
      path: at("none"),
      argv: ["none"],
      environment: [],
      descriptors: [],
      session: "inherited",
    })],
];
for (const [what, ask] of SPOILERS) {
  test(`nothing is kept of a start that rests on ${what}`, () => {
    const folder = open(base as ByteString, abi.O_RDONLY);
    if (!folder.ok) throw new Error("no folder");
    const record = recordOf(() => ask(folder.value));
    close(folder.value);
    expect(record).toBe(null);
  });
}

test("what is asked of an open file was recorded when it was opened", () => {
  expect(recordOf(() => fstat(0))).toEqual([]);
});

test("a question that is asked twice is recorded once, if the answers are the same", () => {
  const seen = ["same", "other"].map((second) =>
    recordOf(() => {
      observe("text", "subject", "same");
      observe("text", "subject", second);
    })?.length ?? null
  );
  expect(seen).toEqual([1, null]);
});

test("a record that was spoilt stays so", () => {
  expect(recordOf(() => {
    spoil();
    observe("text", "subject", "answer");
  })).toBe(null);
});

test("a long text and too many questions are not kept", () => {
  const asked = (count: number, length: number): number | null =>
    recordOf(() => {
      for (let i = 0; i < count; i++) {
        observe("text", `${i}`, "x".repeat(length));
      }
    })?.length ?? null;
  expect([asked(1, 4_096), asked(1, 4_097), asked(256, 1), asked(257, 1)])
    .toEqual([1, null, 256, null]);
});

test("what is asked anew at every start is neither recorded nor spoils, also when it fails", () => {
  const record = recordOf(() => {
    unobserved(() => unobserved(() => lstat(at("file"))));
    unobserved(spoil);
    expect(() =>
      unobserved(() => {
        throw new Error("it fails");
      })
    ).toThrow("it fails");
    lstat(at("folder"));
  });
  expect(record?.map(([, subject]) => subject)).toEqual([at("folder")]);
});
