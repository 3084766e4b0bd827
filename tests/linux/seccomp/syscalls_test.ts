import { expect, test } from "bun:test";
import { checkNumbers } from "../../../scripts/syscall_numbers.ts";
import { SYSCALLS } from "../../../src/linux/seccomp/syscalls.ts";

test("every number is the one of the kernel headers", () => {
  const check = checkNumbers();
  if (check.kind === "no_headers") {
    // deno-lint-ignore no-console
    console.warn(`not proved: the numbers of syscalls.ts, no ${check.missing}`);
    return;
  }
  expect(check.differences).toEqual([]);
});

test("no two names share a number", () => {
  for (const index of [0, 1] as const) {
    const numbers = Object.values(SYSCALLS).map((row) => row[index]);
    expect(new Set(numbers).size).toBe(numbers.length);
  }
});
