/**
 * The list of defences speaks of sources and tests that are there; what it says is asked by `npm run mutate`.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { patchesOf } from "./defence.ts";
import { DEFENCES } from "./defences.ts";

const ROOT = `${import.meta.dirname}/../..`;

for (const defence of DEFENCES) {
  const { step, noticedBy } = defence;
  test(`"${step}" can be taken out, and tests are named that must notice`, () => {
    for (const one of patchesOf(defence)) {
      const source = readFileSync(`${ROOT}/${one.file}`, "utf8");
      expect(source.split(one.text).length - 1).toBe(1);
      expect(one.instead).not.toBe(one.text);
    }
    expect(noticedBy.length).toBeGreaterThan(0);
    for (const [name] of noticedBy) {
      expect([name, existsSync(`${ROOT}/tests/${name}`)]).toEqual([name, true]);
    }
  });
}

test("no step is there twice", () => {
  const steps = DEFENCES.map(({ step }) => step);
  expect(new Set(steps).size).toBe(steps.length);
});
