/**
 * `codex config schema`: the JSON Schema of a config file, with the descriptions that editors show.
 *
 * Pure. Draft 07, which the TOML extensions of editors read.
 *
 * @module
 */
import {
  configShape,
  type Field,
  type Shape,
  type TableShape,
} from "../config/schema.ts";
import { unreachable } from "../result.ts";
import { type CommandOutput, jsonText } from "./output.ts";

/** The schema on stdout. */
export function configSchema(): CommandOutput {
  const schema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "codex config.toml",
    description: "Permission profiles and settings of `codex sandbox`",
    ...schemaOf(configShape()),
  };
  return { stdout: jsonText(schema), stderr: "", status: 0 };
}

type Schema = { readonly [key: string]: unknown };

/** The schema of one shape. */
function schemaOf(shape: Shape): Schema {
  switch (shape.kind) {
    case "string":
    case "boolean":
      return { type: shape.kind };
    case "integer":
      return {
        type: "integer",
        minimum: shape.min,
        ...(Number.isFinite(shape.max) ? { maximum: shape.max } : {}),
      };
    case "choice":
      return {
        type: "string",
        enum: [...shape.values, ...(shape.aliases ?? [])],
      };
    case "list":
      return { type: "array", items: schemaOf(shape.of) };
    case "map":
      return {
        type: "object",
        propertyNames: { description: shape.keys },
        ...(shape.except === undefined
          ? {}
          : { properties: propertiesOf(shape.except) }),
        additionalProperties: schemaOf(shape.of),
      };
    case "either":
      return { anyOf: shape.of.map(schemaOf) };
    case "any":
      return {};
    case "table":
      return tableSchema(shape);
    default:
      return unreachable(shape);
  }
}

function tableSchema({ keys, others }: TableShape): Schema {
  return {
    type: "object",
    properties: propertiesOf(keys),
    additionalProperties: others === "silent",
  };
}

function propertiesOf(keys: { readonly [key: string]: Field }): Schema {
  const properties: Record<string, Schema> = {};
  for (const [key, field] of Object.entries(keys)) {
    properties[key] = fieldSchema(field);
  }
  return properties;
}

/** Defaults are TOML; most read the same as JSON, the others are put into words. */
function fieldSchema(
  { shape, description, default: byDefault, example }: Field,
): Schema {
  const value = byDefault === undefined ? undefined : jsonValue(byDefault);
  const inWords = byDefault !== undefined && value === undefined
    ? ` (default: ${byDefault})`
    : "";
  const shown = example === undefined ? undefined : jsonValue(example);
  return {
    description: `${description}${inWords}`,
    ...schemaOf(shape),
    ...(value === undefined ? {} : { default: value }),
    ...(shown === undefined ? {} : { examples: [shown] }),
  };
}

/** `undefined` for TOML that is no JSON. */
function jsonValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
