/**
 * A bubblewrap that does not come to its end is not waited for for ever. What it has mounted is verified live:
 * `tests/sandbox/swap_test.ts`.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";

const SOURCES = `${import.meta.dirname}/../../src`;

/** Each in a process of its own, whose clock goes twenty seconds at a time. Nobody writes into its pipes. */
const WAITS: readonly (readonly [what: string, said: string, says: string])[] =
  [
    [
      "never tells its child's number",
      "",
      "bubblewrap ended while it was setting the sandbox up",
    ],
    [
      "never has its mounts ready",
      `{"child-pid": ${process.pid}}`,
      "the mounts were not ready within 30 s",
    ],
  ];

for (const [what, said, says] of WAITS) {
  test(`a bubblewrap that ${what} is not waited for for ever`, () => {
    const source = `
import { meddle } from "${import.meta.dirname}/meddle.ts";
let looks = 0;
meddle({ poll: (real, fds) => {
  if (++looks > 10_000) { console.log("waits for ever"); process.exit(1); }
  return real(fds, 0);
} });
const { pipe } = await import("${SOURCES}/sys/calls.ts");
const { verifyMounts } = await import("${SOURCES}/linux/verify_mounts.ts");
let now = 0;
performance.now = () => now += 20_000;
const [silent] = pipe().value;
const run = {
  launch: { plan: { mounts: [] } },
  said: { text: ${JSON.stringify(said)}, isHeard: false },
  status: silent,
  sync: silent,
};
console.log(verifyMounts(run, -1).error.message);`;
    const { stdout, status } = spawnSync(process.execPath, ["-e", source], {
      encoding: "utf8",
      timeout: 20_000,
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${says}\n` });
  });
}
