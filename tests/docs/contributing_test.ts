/**
 * CONTRIBUTING.md: its map has every room, and its table every task.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pageText, REPOSITORY } from "./examples.ts";

const PAGE = pageText("CONTRIBUTING.md");

/** What is made or fetched, and what git keeps for itself. */
const NO_ROOMS = [".git", "build", "node_modules", "src"];

test("the map has every folder at the top and in src", () => {
  const foldersIn = (place: string): string[] =>
    readdirSync(join(REPOSITORY, place), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${place}${name}`);
  const rooms = [...foldersIn(""), ...foldersIn("src/")]
    .filter((name) => !NO_ROOMS.includes(name));
  const missing = rooms.filter((name) => !PAGE.includes(`| \`${name}/\` `));
  expect({ missing, many: rooms.length > 10 }).toEqual({
    missing: [],
    many: true,
  });
});

test("the table of tasks has every script of package.json but the set-up", () => {
  const text = readFileSync(join(REPOSITORY, "package.json"), "utf8");
  const { scripts } = JSON.parse(text) as { scripts: Record<string, string> };
  const missing = Object.keys(scripts).filter((name) =>
    name !== "setup" &&
    !new RegExp(`^\\| \`npm (?:run )?${name}[ \`]`, "m").test(PAGE)
  );
  expect(missing).toEqual([]);
});
