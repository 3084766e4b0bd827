/**
 * `codex config show`: the effective values of our keys, each with the place that it came from.
 *
 * Pure. Top-level keys of other tools are left out: they may hold secrets, and we have no say in them.
 *
 * @module
 */
import type { Layer, TomlTable, TomlValue } from "../config/config.ts";
import { mergeLayers, originOf } from "../config/layers.ts";
import { configShape } from "../config/schema.ts";
import { isTable, keyText } from "../config/values.ts";
import type { Origin } from "../policy/policy.ts";
import {
  type CommandOutput,
  jsonText,
  originJson,
  originText,
} from "./output.ts";

/** What is shown. */
export interface ShowRequest {
  readonly layers: readonly Layer[];
  /** The profile that a run uses, and what chose it; `null` when a run would be refused. */
  readonly selected: {
    readonly name: string;
    readonly chosenBy: Origin;
  } | null;
  readonly showsOrigins: boolean;
  readonly format: "text" | "json";
  readonly locate: (origin: Origin) => Origin;
}

/** One line `KEY = VALUE` for each leaf, in TOML, after a comment that names the profile. */
export function configShow(request: ShowRequest): CommandOutput {
  const leaves = leavesOf(ownKeys(mergeLayers(request.layers)));
  return {
    stdout: request.format === "json"
      ? showJson(request, leaves)
      : showText(request, leaves),
    stderr: "",
    status: 0,
  };
}

type Leaf = readonly [path: readonly string[], value: TomlValue];

function showText(
  { layers, selected, showsOrigins, locate }: ShowRequest,
  leaves: readonly Leaf[],
): string {
  const lines = selected === null
    ? ["# a run is refused: codex config check"]
    : [
      `# profile ${JSON.stringify(selected.name)}${
        showsOrigins
          ? `, chosen by ${originText(locate(selected.chosenBy))}`
          : ""
      }`,
    ];
  for (const [path, value] of leaves) {
    const origin = showsOrigins
      ? `  # ${originText(locate(originOf(layers, path)))}`
      : "";
    lines.push(`${keyText(path)} = ${tomlText(value)}${origin}`);
  }
  return `${lines.join("\n")}\n`;
}

function showJson(
  { layers, selected, showsOrigins, locate }: ShowRequest,
  leaves: readonly Leaf[],
): string {
  const values = leaves.map(([path, value]) => ({
    path,
    value: plainValue(value),
    ...(showsOrigins
      ? { origin: originJson(locate(originOf(layers, path))) }
      : {}),
  }));
  const profile = selected === null
    ? null
    : { name: selected.name, chosenBy: originJson(locate(selected.chosenBy)) };
  return jsonText({ profile, values });
}

function ownKeys(table: TomlTable): TomlTable {
  const { keys } = configShape();
  const own: [string, TomlValue][] = Object.entries(table)
    .filter(([key]) => Object.hasOwn(keys, key));
  return Object.fromEntries(own);
}

/** Every value that is no table, and every empty table: it counts. */
function leavesOf(table: TomlTable, above: readonly string[] = []): Leaf[] {
  const leaves: Leaf[] = [];
  for (const key of Object.keys(table).sort()) {
    const value = table[key];
    if (value === undefined) continue;
    const path = [...above, key];
    if (isTable(value) && Object.keys(value).length > 0) {
      leaves.push(...leavesOf(value, path));
    } else leaves.push([path, value]);
  }
  return leaves;
}

/** A value as TOML on one line. */
function tomlText(value: TomlValue): string {
  if (typeof value === "string") return tomlString(value);
  if (typeof value === "number") return numberText(value);
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(tomlText).join(", ")}]`;
  if (!isTable(value)) return String((value as { toJSON(): string }).toJSON());
  const members = Object.keys(value).map((key) => {
    const member = value[key];
    return member === undefined
      ? ""
      : `${keyText([key])} = ${tomlText(member)}`;
  });
  return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return String(value);
}

/** JSON's escapes are TOML's, but for DEL, which TOML wants escaped. */
function tomlString(text: string): string {
  return JSON.stringify(text).replaceAll("\x7f", "\\u007F");
}

function plainValue(value: TomlValue): unknown {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return value.map(plainValue);
  if (!isTable(value)) return value;
  return Object.fromEntries(
    Object.keys(value).map((key) => [key, plainValue(value[key] ?? "")]),
  );
}
