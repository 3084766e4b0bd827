/**
 * The table of the mutation check shows the list: a step that is added, renamed or gone shows here.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { DEFENCES } from "../mutations/defences.ts";
import { pageText } from "./examples.ts";

test("docs/testing.md has one row for each protective step, in the list's order", () => {
  const table = pageText("docs/testing.md").split(/^\| taken out .*\n/m)[1] ??
    "";
  const rows = table.split("\n").slice(1).map((line) =>
    /^\| (.*?) +\| `(\S+)` +\|/.exec(line)
  );
  const end = rows.indexOf(null);
  expect(rows.slice(0, end).map((row) => [row?.[1], row?.[2]])).toEqual(
    DEFENCES.map(({ step, file }) => [step.replaceAll("|", "\\|"), file]),
  );
});
