/**
 * One config file: its bytes, its text, its table.
 *
 * Effects: all through {@linkcode ConfigHost}.
 *
 * @module
 */
import { decodeText, toText } from "../bytes.ts";
import type {
  ConfigError,
  ConfigRequest,
  Layer,
  LayerKind,
  TomlTable,
} from "./config.ts";
import { CONFIG_HOST, type ConfigHost } from "./host_files.ts";
import { parseToml, type TomlParser } from "./toml.ts";
import { type AbsPath, parentOf } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";

/** What tests replace. */
export interface LoadOptions {
  readonly host: ConfigHost;
  readonly parse: TomlParser;
  readonly systemDirectory: AbsPath;
}

/** The real ones. */
export const LOAD_OPTIONS: LoadOptions = {
  host: CONFIG_HOST,
  parse: (text) => Bun.TOML.parse(text),
  systemDirectory: "/etc/codex" as AbsPath,
};

export interface Loading {
  /** `null` where no run is meant. */
  readonly request: ConfigRequest | null;
  readonly cwd: AbsPath;
  readonly codexHome: AbsPath | null;
  readonly options: LoadOptions;
  /** Grows with each file read, and with where a link to a missing one leads. */
  readonly files: AbsPath[];
}

export function readLayer(
  loading: Loading,
  kind: LayerKind,
  file: AbsPath,
  inProjectRoot?: boolean,
): Result<Layer | null, ConfigError> {
  const read = readText(
    loading,
    file,
    kind === "project" ? "refuse" : "follow",
  );
  if (!read.ok) return read;
  if (read.value === null) return ok(null);
  const { text, uid } = read.value;
  const what = kind === "project"
    ? `Error parsing project config file ${toText(file)}: `
    : "";
  const table = parsed(loading, file, text, what);
  if (!table.ok) return table;
  return ok({
    kind,
    file,
    base: parentOf(file),
    table: table.value,
    text,
    ...(kind === "managed" ? { isOwnedByRoot: uid === 0 } : {}),
    ...(inProjectRoot === undefined ? {} : { inProjectRoot }),
  });
}

export function readText(
  { options, files }: Loading,
  file: AbsPath,
  links: "follow" | "refuse",
): Result<{ readonly text: string; readonly uid: number } | null, ConfigError> {
  const keep = (path: AbsPath): void => {
    files.push(path);
    const real = options.host.realPath(path);
    if (real !== null) files.push(real);
  };
  const read = options.host.readFile(file, links);
  if (!read.ok) return fail(unreadable(file, read.error));
  if (read.value === null) {
    // A link that leads to nothing: whoever makes what is missing writes the next run's policy.
    if (options.host.kindOf(file, "refuse") === "symlink") keep(file);
    return ok(null);
  }
  const text = decodeText(read.value.bytes);
  if (text === null) return fail(unreadable(file, "it is not UTF-8"));
  keep(file);
  return ok({ text, uid: read.value.uid });
}

export function parsed(
  { options }: Loading,
  file: AbsPath,
  text: string,
  what: string,
): Result<TomlTable, ConfigError> {
  const table = parseToml(text, options.parse);
  if (table.ok) return table;
  const { message, line, column } = table.error;
  return fail({
    kind: "config",
    file,
    ...(line === undefined ? {} : { line }),
    ...(column === undefined ? {} : { column }),
    key: "",
    message: `${what}${message}`,
  });
}

export function unreadable(file: AbsPath, why: string): ConfigError {
  return {
    kind: "config",
    file: null,
    key: "",
    message: `Cannot read config file "${toText(file)}": ${why}`,
  };
}
