/**
 * `codex config schema`: every property is described, and the schema takes what the docs show and refuses what a run refuses.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { configSchema } from "../../src/commands/config_schema.ts";

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly propertyNames?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** Every word of JSON Schema that {@linkcode faults} knows: another one would be checked by nobody. */
const KNOWN_WORDS = new Set([
  ...["$schema", "title", "description", "type", "enum", "minimum", "maximum"],
  ...["items", "properties", "additionalProperties", "propertyNames", "anyOf"],
  ...["default", "examples"],
]);

const SCHEMA = JSON.parse(configSchema().stdout) as Schema;

function schemasBelow(
  schema: Schema,
  place = "",
): readonly (readonly [string, Schema])[] {
  const named = Object.entries(schema.properties ?? {})
    .map(([name, below]) => [`${place}.${name}`, below] as const);
  const { additionalProperties: others, items, anyOf = [] } = schema;
  const rest = [typeof others === "object" ? others : undefined, items]
    .filter((it) => it !== undefined)
    .map((below) => [`${place}.*`, below] as const);
  const alternatives = anyOf.map((below) => [place, below] as const);
  return [
    [place, schema],
    ...[...named, ...rest, ...alternatives]
      .flatMap(([at, below]) => schemasBelow(below, at)),
  ];
}

/** What `value` breaks, as places. */
function faults(schema: Schema, value: unknown, place = ""): readonly string[] {
  if (schema.anyOf !== undefined) {
    const isOne = schema.anyOf.some((it) => faults(it, value).length === 0);
    return isOne ? [] : [place];
  }
  if (schema.type !== undefined && !hasType(schema.type, value)) return [place];
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [place];
  if (typeof value === "number") {
    const { minimum = -Infinity, maximum = Infinity } = schema;
    return value < minimum || value > maximum ? [place] : [];
  }
  if (Array.isArray(value)) {
    const { items = {} } = schema;
    return value.flatMap((it, index) => faults(items, it, `${place}.${index}`));
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, below]) => {
    const at = `${place}.${name}`;
    const named = schema.properties;
    if (named !== undefined && Object.hasOwn(named, name)) {
      return faults(named[name]!, below, at);
    }
    const { additionalProperties: others = true } = schema;
    if (typeof others === "boolean") return others ? [] : [at];
    return faults(others, below, at);
  });
}

function hasType(type: string, value: unknown): boolean {
  switch (type) {
    case "integer":
      return Number.isInteger(value);
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null &&
        !Array.isArray(value);
    case "string":
      return typeof value === "string";
    case "boolean":
      return typeof value === "boolean";
    default:
      throw new Error(
        `the schema has a type "${type}" of which this test knows nothing`,
      );
  }
}

test("every property has a description of at least three words", () => {
  const bare = schemasBelow(SCHEMA).flatMap(([place, { properties = {} }]) =>
    Object.entries(properties)
      .filter(([, { description = "" }]) => description.split(" ").length < 3)
      .map(([name]) => `${place}.${name}`)
  );
  expect(bare).toEqual([]);
});

test("the schema uses no word that this test can't check", () => {
  const words = schemasBelow(SCHEMA).flatMap(([, schema]) =>
    Object.keys(schema)
  );
  expect(words.filter((word) => !KNOWN_WORDS.has(word))).toEqual([]);
});

test("every config of docs/profiles.md is valid", () => {
  const text = readFileSync(
    `${import.meta.dirname}/../../docs/profiles.md`,
    "utf8",
  );
  const blocks = [...text.matchAll(/^```toml\n(.*?)^```$/gms)];
  expect(blocks.length).toBeGreaterThan(6);
  for (const [, block = ""] of blocks) {
    expect({ block, wrong: faults(SCHEMA, Bun.TOML.parse(block)) })
      .toEqual({ block, wrong: [] });
  }
});

const REFUSED = [ // why, config, place
  [
    "a choice misspelt",
    'sandbox_mode = "workspace_write"',
    ".sandbox_mode",
  ],
  ["a number for a name", "default_permissions = 1", ".default_permissions"],
  [
    "an access misspelt",
    'permissions.p.filesystem."/x" = "raed"',
    ".permissions.p.filesystem./x",
  ],
  [
    "an access misspelt below a symbol",
    'permissions.p.filesystem.":workspace_roots"."a" = "raed"',
    ".permissions.p.filesystem.:workspace_roots",
  ],
  [
    "a depth of nothing",
    "permissions.p.filesystem.glob_scan_max_depth = 0",
    ".permissions.p.filesystem.glob_scan_max_depth",
  ],
  [
    "a text for a list",
    'shell_environment_policy.exclude = "A"',
    ".shell_environment_policy.exclude",
  ],
  [
    "a key misspelt in a profile",
    'permissions.p.extend = ":workspace"',
    ".permissions.p.extend",
  ],
] as const;

describe("refused", () => {
  for (const [why, config, place] of REFUSED) {
    test(why, () => {
      expect(faults(SCHEMA, Bun.TOML.parse(config))).toEqual([place]);
    });
  }
});
