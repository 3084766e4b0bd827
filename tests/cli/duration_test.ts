import { expect, test } from "bun:test";
import { durationOf } from "../../src/cli/duration.ts";

const CASES: readonly (readonly [
  text: string,
  ms: number | null,
  why: string,
])[] = [
  ["30", 30_000, "a plain number is seconds, as in timeout(1)"],
  ["500ms", 500, "milliseconds"],
  ["1.5s", 1_500, "a fraction"],
  ["5m", 300_000, "minutes"],
  ["1h", 3_600_000, "hours"],
  ["2d", 172_800_000, "days"],
  ["0.0001", 1, "rounded up: what was asked for is a time"],
  ["365d", 31_536_000_000, "the longest"],
  ["366d", null, "longer is a slip"],
  ["0", null, "no time is not a time"],
  ["", null, "nothing"],
  ["s", null, "no number"],
  ["-1", null, "no sign"],
  ["1e3", null, "no exponent"],
  ["0x10", null, "no other base"],
  ["1 s", null, "no space"],
  [".5", null, "digits first"],
  ["1w", null, "no weeks"],
  ["1S", null, "units are small letters"],
  ["9999999999999", null, "more digits than any time"],
];
for (const [text, ms, why] of CASES) {
  test(`"${text}" is ${ms === null ? "refused" : `${ms} ms`}: ${why}`, () => {
    const read = durationOf("timeout", text);
    expect(read.ok ? read.value : null).toBe(ms);
  });
}
