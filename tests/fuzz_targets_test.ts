/**
 * The table of fuzz targets: every fuzz test is in it, and what it names exists.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TARGETS } from "../scripts/fuzz_targets.ts";

const NAMED = Object.values(TARGETS).flat();

/** The titles in a test file, those made from a list of commands included. */
function titlesOf(file: string): readonly string[] {
  const source = readFileSync(join(import.meta.dir, file), "utf8");
  return [...source.matchAll(/^ *test\(\s*(["`])((?:\\.|(?!\1).)+)\1/gm)]
    .flatMap(([, , title]) =>
      title!.includes("${command}")
        ? ["helper", "sandbox"].map((it) => title!.replace("${command}", it))
        : [title!]
    );
}

test("every property that a target names is a test of that file", () => {
  const missing = NAMED.filter(([file, title]) =>
    !titlesOf(file).includes(title)
  );
  expect(missing).toEqual([]);
});

test("every fuzz test belongs to a target", () => {
  const files = readdirSync(import.meta.dir, {
    recursive: true,
    encoding: "utf8",
  })
    .filter((file) => file.endsWith("_test.ts"))
    .filter((file) =>
      /from "\.\.\/fuzzing\.ts"/.test(
        readFileSync(join(import.meta.dir, file), "utf8"),
      )
    );
  const titles = files.flatMap((file) =>
    titlesOf(file).map((title) => [file, title] as const)
  );
  const left = titles.filter(([file, title]) =>
    !NAMED.some(([it, name]) => it === file && name === title)
  ).map(([, title]) => title);
  expect(files.length).toBeGreaterThan(5);
  expect(left).toEqual(["the corpus is there"]);
});
