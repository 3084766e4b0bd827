/**
 * The list of defences speaks of sources and tests that are there; what it says is asked by `npm run mutate`.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { DEFENCES } from "./defences.ts";

const ROOT = `${import.meta.dirname}/../..`;

for (const { step, file, text, instead, also, noticedBy } of DEFENCES) {
  test(`"${step}" can be taken out, and tests are named that must notice`, () => {
    const source = readFileSync(`${ROOT}/${file}`, "utf8");
    for (const one of [{ text, instead }, ...(also ? [also] : [])]) {
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
