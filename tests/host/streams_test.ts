/**
 * Which open files of the caller are taken for streams that the command could open again for writing.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import {
  isOfRuntime,
  liesBelow,
  readOnlyStreams,
} from "../../src/host/streams.ts";
import { abs } from "../../src/policy/path.ts";
import { sealedMemfd } from "../../src/sys/calls.ts";

const US = process.geteuid?.() ?? 0;
const base = realpathSync(mkdtempSync(`${tmpdir()}/codex-streams-`));
afterAll(() => rmSync(base, { recursive: true }));

function fileOf(name: string, mode: number, flags: number): number {
  const path = `${base}/${name}`;
  writeFileSync(path, "");
  chmodSync(path, mode);
  return openSync(path, flags);
}

function memoryFile(): number {
  const fd = sealedMemfd("t", new Uint8Array(1), "executable");
  if (!fd.ok) throw new Error("no memfd");
  return fd.value;
}

const { O_RDONLY, O_RDWR, O_WRONLY } = constants;
const NONE: readonly string[] = [];
const STREAMS: readonly (readonly [
  string,
  () => number,
  number,
  readonly (string | null)[],
])[] = [
  ["one's own, for reading", () => fileOf("a", 0o600, O_RDONLY), US, ["a"]],
  ["one's own, for both", () => fileOf("b", 0o600, O_RDWR), US, NONE],
  ["one's own, for writing", () => fileOf("c", 0o600, O_WRONLY), US, NONE],
  [
    "one's own, which may be opened up",
    () => fileOf("d", 0o400, O_RDONLY),
    US,
    ["d"],
  ],
  ["another's", () => fileOf("e", 0o644, O_RDONLY), US + 1, NONE],
  [
    "another's that the group may write",
    () => fileOf("f", 0o664, O_RDONLY),
    US + 1,
    ["f"],
  ],
  [
    "another's that all may write",
    () => fileOf("g", 0o646, O_RDONLY),
    US + 1,
    ["g"],
  ],
  [
    "one without a name",
    () => {
      const fd = fileOf("h", 0o600, O_RDONLY);
      unlinkSync(`${base}/h`);
      return fd;
    },
    US,
    [null],
  ],
  [
    "one whose last name was given to another, with the kernel's mark",
    () => {
      const fd = fileOf("i", 0o600, O_RDONLY);
      unlinkSync(`${base}/i`);
      writeFileSync(`${base}/i (deleted)`, "");
      return fd;
    },
    US,
    [null],
  ],
  ["one in memory", memoryFile, US, NONE],
  ["a directory", () => openSync(base, O_RDONLY), US, NONE],
  ["/dev/null", () => openSync("/dev/null", O_RDONLY), US, NONE],
];
for (const [what, make, euid, expected] of STREAMS) {
  test(`${expected.length === 0 ? "not to be guarded" : "to be guarded"} is ${what}`, () => {
    const fd = make();
    const found = readOnlyStreams([fd], euid);
    closeSync(fd);
    expect(found.map(({ path }) => path)).toEqual(
      expected.map((name) => name === null ? null : abs(`${base}/${name}`)),
    );
  });
}

test("a descriptor that is closed is no stream, and the runtime's to refuse", () => {
  const fd = openSync(base, O_RDONLY);
  closeSync(fd);
  expect([readOnlyStreams([fd], US), isOfRuntime(fd)]).toEqual([[], true]);
});

test("the runtime's queues and counters are told from what the caller opened", () => {
  const own = readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const kind = readlinkSync(`/proc/self/fd/${fd}`);
      return /^anon_inode:\[event(?:poll|fd)\]$/.test(kind) ? [Number(fd)] : [];
    } catch {
      return []; // the listing's own
    }
  });
  const file = openSync(base, O_RDONLY);
  const seen = [...own, file].map(isOfRuntime);
  closeSync(file);
  expect(own.length).toBeGreaterThan(1);
  expect(seen).toEqual([...own.map(() => true), false]);
});

test("what lies below a place is told by what the directories are, not by their names", () => {
  mkdirSync(`${base}/place/inner`, { recursive: true });
  mkdirSync(`${base}/placebo`);
  symlinkSync("place", `${base}/way`);
  const places = [abs(`${base}/place`), abs(`${base}/none`)];
  const below = ["place", "place/inner", "way/inner/x", "placebo", "none/x"]
    .map((name) => liesBelow(abs(`${base}/${name}`), places));
  expect(below).toEqual([true, true, true, false, false]);
});
