/**
 * `-c KEY=VALUE`, `--enable` and `--disable`: words to one table, the session layer.
 *
 * Pure. A value is exactly one TOML value or a plain string; a key may quote its parts, and a dot inside a path or host name must
 * be quoted, because it would name another one otherwise.
 *
 * @module
 */
import { nearest as nearestWord } from "../nearest.ts";
import type { AbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import type {
  ConfigError,
  ConfigRequest,
  Layer,
  TomlTable,
  TomlValue,
} from "./config.ts";
import type { TomlParser } from "./toml.ts";
import {
  keyText,
  mergeTables,
  newTable,
  withKeptProxyTable,
} from "./values.ts";

/** One `-c`, understood. */
export interface Override {
  readonly path: readonly string[];
  readonly value: TomlValue;
}

/** The features that `--enable` and `--disable` know. */
const FEATURE_NAMES: readonly string[] = [
  "network_proxy",
  "use_legacy_landlock",
];

/**
 * The session layer of a command line: overrides in order, then feature switches, then `-P` as `default_permissions`; `null` when
 * nothing was given. Each is laid over the ones before as a layer over a layer: later words win, tables grow, a value in the way of a
 * table is replaced by it.
 */
export function sessionLayer(
  request: ConfigRequest,
  { cwd, parse }: { readonly cwd: AbsPath; readonly parse: TomlParser },
): Result<Layer | null, ConfigError> {
  const { overrides, features, permissionProfile } = request;
  const isSilent = overrides.length === 0 && features.length === 0 &&
    permissionProfile === null;
  if (isSilent) return ok(null);
  const spellings = new Map<string, string>();
  const words: TomlTable[] = [];
  for (const raw of overrides) {
    const override = parseOverride(raw, parse);
    if (!override.ok) return override;
    const { path, value } = override.value;
    words.push(wordTable(path, value));
    spellings.set(keyText(path), `-c ${keyText(path)}`);
  }
  for (const { feature, isEnabled } of features) {
    const flag = `${isEnabled ? "--enable" : "--disable"} ${feature}`;
    if (!FEATURE_NAMES.includes(feature)) {
      return fail(refusal(flag, unknownFeature(feature)));
    }
    words.push(wordTable(["features", feature], isEnabled));
    spellings.set(`features.${feature}`, flag);
  }
  if (permissionProfile !== null) {
    words.push(wordTable(["default_permissions"], permissionProfile));
    const spelling = `-P ${JSON.stringify(permissionProfile)}`;
    spellings.set("default_permissions", spelling);
  }
  return ok({
    kind: "session",
    file: null,
    base: cwd,
    table: words.reduce((table, word) =>
      mergeTables(table, withKeptProxyTable(table, word))
    ),
    text: null,
    spellings,
    words,
  });
}

/** Splits one `KEY=VALUE` at the first `=` outside quotes and reads both halves. */
export function parseOverride(
  raw: string,
  parse: TomlParser,
): Result<Override, ConfigError> {
  const key = parseKey(raw, "=");
  if (key === null) {
    return fail(refusal(
      "-c",
      `Invalid override (missing '='): ${
        JSON.stringify(raw)
      } has an unclosed quote in its key`,
    ));
  }
  if (key.end === raw.length) {
    return fail(refusal(
      "-c",
      `Invalid override (missing '='): ${
        JSON.stringify(raw)
      } must be KEY=VALUE`,
    ));
  }
  const spelled = raw.slice(0, key.end).trim();
  if (spelled === "") {
    return fail(
      refusal("-c", `Empty key in override: ${JSON.stringify(raw)}`),
    );
  }
  const split = splitPath(key.parts);
  if (split !== null) {
    return fail(refusal(
      `-c ${spelled}`,
      `the dot in "${split.text}" splits the key: write ${split.quoted}=…`,
    ));
  }
  if (key.parts.some((part) => part.text === "" && !part.isQuoted)) {
    return fail(refusal(
      `-c ${spelled}`,
      `key "${spelled}" has an empty part: quote it if it is meant`,
    ));
  }
  const value = parseValue(raw.slice(key.end + 1).trim(), parse);
  if (value === null) {
    return fail(refusal(
      `-c ${spelled}`,
      `value ${
        raw.slice(key.end + 1).trim()
      } is neither one TOML value nor a plain string: quote it, as in ${spelled}='"…"'`,
    ));
  }
  const path = key.parts.map((part) => part.text);
  if (path.length === 1 && path[0] === "use_legacy_landlock") {
    path.unshift("features");
  }
  return ok({ path, value });
}

/** The parts of a dotted key as messages show it, `null` when it is none. Inverse of {@linkcode keyText}. */
export function pathOfKey(text: string): readonly string[] | null {
  const key = parseKey(text, "");
  return key === null ? null : key.parts.map((part) => part.text);
}

/** The table that says nothing but `value` at `path`. */
function wordTable(path: readonly string[], value: TomlValue): TomlTable {
  let said = value;
  for (const part of path.toReversed()) {
    const table = newTable();
    table[part] = said;
    said = table;
  }
  return said as TomlTable;
}

interface KeyPart {
  readonly text: string;
  readonly isQuoted: boolean;
}

/** Reads a dotted key up to the first `stop` outside quotes, or to the end. `null`: a quote that is not closed, or text beside one. */
function parseKey(
  raw: string,
  stop: string,
): { readonly parts: readonly KeyPart[]; readonly end: number } | null {
  const parts: KeyPart[] = [];
  let at = 0;
  while (true) {
    while (raw[at] === " " || raw[at] === "\t") at++;
    const quote = raw[at];
    if (quote === '"' || quote === "'") {
      const close = closingQuote(raw, at);
      if (close === -1) return null;
      const text = unquote(raw.slice(at, close + 1));
      if (text === null) return null;
      parts.push({ text, isQuoted: true });
      at = close + 1;
      while (raw[at] === " " || raw[at] === "\t") at++;
      if (at < raw.length && raw[at] !== "." && raw[at] !== stop) return null;
    } else {
      const from = at;
      while (at < raw.length && raw[at] !== "." && raw[at] !== stop) at++;
      parts.push({ text: raw.slice(from, at).trim(), isQuoted: false });
    }
    if (raw[at] !== ".") return { parts, end: at };
    at++;
  }
}

/** The quote that ends the one at `from`, -1 when there is none. */
function closingQuote(raw: string, from: number): number {
  const quote = raw[from];
  for (let at = from + 1; at < raw.length; at++) {
    if (raw[at] === "\\" && quote === '"') at++;
    else if (raw[at] === quote) return at;
  }
  return -1;
}

/** JSON knows the escapes that {@linkcode keyText} writes. */
function unquote(quoted: string): string | null {
  if (quoted.startsWith("'")) return quoted.slice(1, -1);
  try {
    return JSON.parse(quoted);
  } catch {
    return null;
  }
}

/** Tables whose keys are names with dots in them, `*` for any one part: the key stands right behind, then at most `tail` parts. */
const NAME_KEYED: readonly {
  readonly prefix: readonly string[];
  readonly tail: number;
  readonly isNested?: true;
}[] = [
  { prefix: ["permissions", "*", "filesystem"], tail: 0, isNested: true },
  { prefix: ["permissions", "*", "workspace_roots"], tail: 0 },
  { prefix: ["permissions", "*", "network", "domains"], tail: 0 },
  { prefix: ["permissions", "*", "network", "unix_sockets"], tail: 0 },
  { prefix: ["features", "network_proxy", "domains"], tail: 0 },
  { prefix: ["features", "network_proxy", "unix_sockets"], tail: 0 },
  { prefix: ["shell_environment_policy", "set"], tail: 0 },
  { prefix: ["projects"], tail: 1 },
];

/** An unquoted dot that cuts a name in two, with the spelling that doesn't; `null` when the key is fine. */
function splitPath(
  parts: readonly KeyPart[],
): { readonly text: string; readonly quoted: string } | null {
  const known = NAME_KEYED.find(({ prefix }) =>
    parts.length > prefix.length &&
    prefix.every((name, index) => name === "*" || name === parts[index]!.text)
  );
  if (known === undefined) return null;
  const from = known.prefix.length;
  const name = parts[from]!;
  // A nested entry is one more name: below a symbol, or below a path whose end is shown by quotes.
  const nests = known.isNested === true && parts.length > from + 1 &&
    (name.isQuoted || name.text.startsWith(":"));
  const first = nests ? from + 1 : from;
  const end = Math.max(parts.length - known.tail, first + 1);
  if (end === first + 1) return null;
  const text = parts.slice(first, end).map((part) => part.text).join(".");
  const head = parts.slice(0, first).map((part) => part.text);
  const tail = parts.slice(end).map((part) => part.text);
  return { text, quoted: spellOut(head, text, tail) };
}

/** Like {@linkcode keyText}, but symbols need no quotes on a command line. */
function spellOut(
  head: readonly string[],
  name: string,
  tail: readonly string[],
): string {
  const before = head.map((part) =>
    /^:[a-z_]+$/.test(part) ? part : keyText([part])
  );
  return [
    ...before,
    JSON.stringify(name),
    ...tail.map((part) => keyText([part])),
  ]
    .join(".");
}

/** What a value may begin with when it is TOML: a quote, a bracket, a sign or digit, or a word of TOML. */
const LOOKS_LIKE_TOML = /^(?:["'[{0-9+-]|true|false|inf|nan)/;

/** One TOML value, or the text itself. `null`: it begins like a string, list or table and is none. */
function parseValue(text: string, parse: TomlParser): TomlValue | null {
  if (!LOOKS_LIKE_TOML.test(text)) return text;
  const table = tryParse(`value = ${text}\n`, parse);
  // A second key means that the value brought a line of its own.
  if (table !== null && Object.keys(table).length === 1) return table.value!;
  return /^["'[{]/.test(text) ? null : text;
}

function tryParse(
  text: string,
  parse: TomlParser,
): { readonly [key: string]: TomlValue } | null {
  try {
    return parse(text) as { readonly [key: string]: TomlValue };
  } catch {
    return null;
  }
}

function unknownFeature(feature: string): string {
  const meant = nearestWord(feature, FEATURE_NAMES);
  const hint = meant === null
    ? `known are ${FEATURE_NAMES.join(" and ")}`
    : `did you mean ${meant}?`;
  return `Unknown feature flag: ${feature} (${hint})`;
}

function refusal(key: string, message: string): ConfigError {
  return {
    kind: "config",
    file: null,
    key,
    message: message.startsWith(key) ? message : `${key}: ${message}`,
  };
}
