/**
 * docs/profiles.md: every example does what the page says, and every key is on it.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { checkTypes } from "../../src/config/check_types.ts";
import type { Layer, TomlTable } from "../../src/config/config.ts";
import {
  configShape,
  requirementsShape,
  type Shape,
} from "../../src/config/schema.ts";
import type { AbsPath } from "../../src/policy/path.ts";
import {
  blocksOf,
  machinesOf,
  pageText,
  resolved,
  testMachines,
} from "./examples.ts";

const PAGE = pageText("docs/profiles.md");
const BLOCKS = blocksOf(PAGE);

testMachines(machinesOf(BLOCKS));

test("the page names every key of the schema", () => {
  const spans = [...PAGE.matchAll(/`([^`\n]+)`|^#+ (.+)$/gm)];
  const named = new Set(
    spans.flatMap(([, code, heading]) => (code ?? heading)!.split(/[,. ]+/)),
  );
  const missing = [...keysOf(configShape()), ...keysOf(requirementsShape())]
    .filter((key) => !named.has(key));
  expect([...new Set(missing)]).toEqual([]);
});

test("the example of the requirements file has no finding", () => {
  const found = BLOCKS.filter(({ attribute }) => attribute === "requirements");
  expect(found.length).toBe(1);
  const text = found[0]!.text;
  const layer: Layer = {
    kind: "managed",
    file: "/etc/codex/requirements.toml" as AbsPath,
    base: "/etc/codex" as AbsPath,
    table: Bun.TOML.parse(text) as TomlTable,
    text,
  };
  expect(checkTypes(layer, requirementsShape())).toEqual([]);
});

test("control: a wrong line of output is seen", () => {
  expect(resolved("one\n…\nthree", "one\ntwo\nthree")).toBe("one\ntwo\nthree");
  expect(resolved("one\n…\nfour", "one\ntwo\nthree")).toBe("one\n…\nfour");
  expect(resolved("", "one")).toBe("");
});

/** The names of all fixed keys of a shape. */
function keysOf(shape: Shape): readonly string[] {
  switch (shape.kind) {
    case "table":
      return Object.entries(shape.keys).flatMap((
        [key, field],
      ) => [key, ...keysOf(field.shape)]);
    case "map":
      return [
        ...Object.keys(shape.except ?? {}),
        ...keysOf(shape.of),
      ];
    case "either":
      return shape.of.flatMap(keysOf);
    case "list":
      return keysOf(shape.of);
    default:
      return [];
  }
}
