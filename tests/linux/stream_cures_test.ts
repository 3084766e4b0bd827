import { expect, test } from "bun:test";
import {
  curesOf,
  rebindOf,
  streamNeedsProc,
} from "../../src/linux/stream_cures.ts";
import { abs } from "../../src/policy/path.ts";
import { completePlan, draftPlan } from "../../src/linux/planner.ts";
import { requestOf } from "./plans.ts";

const FILE = {
  fd: 0,
  path: abs("/h/f"),
  isBelowWritable: false,
  isDevice: false,
};
const BELOW = {
  fd: 7,
  path: abs("/w/.git/config"),
  isBelowWritable: true,
  isDevice: false,
};
const NAMELESS = { fd: 0, path: null, isBelowWritable: false, isDevice: false };
const DEVICE = { ...FILE, path: abs("/dev/kmsg"), isDevice: true };
const NEW_0 = { fd: 0, place: "/dev/codex-stream-0" };
const NEW_7 = { fd: 7, place: "/dev/codex-stream-7" };

const CASES: readonly (readonly [
  streams: Parameters<typeof curesOf>[0],
  landlock: number,
  cures: unknown,
  why: string,
])[] = [
  [[], 0, { guarded: [], rebound: [] }, "no stream"],
  [
    [FILE],
    3,
    { guarded: [0], rebound: [] },
    "a rule leaves the stream as it is",
  ],
  [[FILE], 7, { guarded: [0], rebound: [] }, "a newer kernel"],
  [
    [FILE],
    2,
    { guarded: [], rebound: [NEW_0] },
    "Debian 12's kernel knows no truncation",
  ],
  [[FILE], 0, { guarded: [], rebound: [NEW_0] }, "no Landlock at all"],
  [
    [BELOW],
    7,
    { guarded: [], rebound: [NEW_7] },
    "no rule takes out of what another allows",
  ],
  [[DEVICE], 3, { guarded: [0], rebound: [] }, "a rule holds for devices too"],
  [
    [DEVICE],
    2,
    {
      fd: 0,
      why:
        "it is a device, and only Landlock 3 (Linux 6.2) keeps such a one from being opened for writing, outside of what the command may write",
    },
    "a read-only mount lets devices be written",
  ],
  [
    [{ ...DEVICE, isBelowWritable: true }],
    7,
    {
      fd: 0,
      why:
        "it is a device, and only Landlock 3 (Linux 6.2) keeps such a one from being opened for writing, outside of what the command may write",
    },
    "nor can a rule take it out of a writable place",
  ],
  [[FILE, BELOW], 7, { guarded: [0], rebound: [NEW_7] }, "each its own"],
  [[NAMELESS], 3, { guarded: [0], rebound: [] }, "a rule needs no name"],
  [
    [NAMELESS],
    2,
    {
      fd: 0,
      why:
        "its file has no name any more, and only Landlock 3 (Linux 6.2) keeps such a one from being opened for writing: this kernel has version 2",
    },
    "a mount needs one",
  ],
  [
    [BELOW, NAMELESS],
    0,
    {
      fd: 0,
      why:
        "its file has no name any more, and only Landlock 3 (Linux 6.2) keeps such a one from being opened for writing: this kernel has none",
    },
    "one without a cure is enough",
  ],
];
for (const [streams, landlock, cures, why] of CASES) {
  test(
    `streams [${
      streams.map(({ fd }) => fd)
    }] under Landlock ${landlock}: ${why}`,
    () => {
      const made = curesOf(streams, landlock);
      expect<unknown>(made.ok ? made.value : made.error).toEqual(cures);
    },
  );
}

test("the mount of a stream is of the descriptor itself", () => {
  expect<unknown>(rebindOf({ fd: 7, place: abs("/dev/codex-stream-7") }))
    .toEqual({
      what: "stream",
      source: "/proc/self/fd/7",
      path: "/dev/codex-stream-7",
    });
});

test("without a fresh /proc a stream is not opened anew: process 1 still has the caller's", () => {
  const stream = { fd: 0, place: abs("/dev/codex-stream-0") };
  const request = requestOf({ name: "x", why: "", entries: [] });
  const draft = draftPlan({ ...request, reboundFds: [stream] });
  if (!draft.ok) throw new Error(draft.error.message);
  const plan = (proc: "fresh" | "host"): unknown => {
    const done = completePlan(draft.value, {
      kind: "bundled",
      version: "0.12.0",
      sha256: "",
      reason: "",
    }, {
      version: "0.12.0",
      options: "",
      trial: { kind: "works", proc, nesting: "bwrap" },
    });
    return done.ok ? done.value.stage.reason : done.error.message;
  };
  expect(plan("host")).toBe(streamNeedsProc(stream));
  expect(plan("fresh")).toBe(
    "descriptor 0 is a file opened for reading: it is opened anew as /dev/codex-stream-0, which is mounted read-only",
  );
});
