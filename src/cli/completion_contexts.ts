/**
 * What every completion script knows: the contexts of a line, the flags and words of each, and which word leads from one to another.
 *
 * Pure. The *context* (`root`, `sandbox`, `policy why`, …) is where the cursor stands, found by walking the words before it; behind the
 * first operand of `sandbox` the words are the command's (`args`).
 *
 * @module
 */
import { COMMANDS, SHELLS } from "./dispatch.ts";
import { type CommandName, type Flag, flagsOf } from "./flags.ts";

/** Those of the config files are not offered: asking for them would start us at every key press. */
export const BUILT_IN_PROFILES = [
  ":read-only",
  ":workspace",
  ":danger-full-access",
];

/** Every context that has flags. */
export const CONTEXTS: readonly CommandName[] = [
  "root",
  "sandbox",
  "config check",
  "config show",
  "config schema",
  "policy why",
  "policy list",
  "doctor",
  "sandbox clean",
];

/** Words that are offered in a context besides flags. A word that is a context of its own leads there. */
export const OPERANDS: readonly (readonly [string, readonly string[]])[] = [
  ["root", COMMANDS.map((command) => command.name)],
  ["sandbox", ["clean"]],
  ["config", ["check", "show", "schema"]],
  ["policy", ["why", "list"]],
  ["completions", SHELLS],
  ["help", COMMANDS.map((command) => command.name)],
  ["policy why", ["read", "write", "exec", "connect"]],
];

/** The flags that help shows. */
export function shownFlags(command: CommandName): readonly Flag[] {
  return flagsOf(command).filter((flag) => flag.isHidden !== true);
}

/** `-C` and `--cd`. */
export function spellings(flag: Flag): string[] {
  return flag.short === undefined
    ? [`--${flag.long}`]
    : [`-${flag.short}`, `--${flag.long}`];
}

/** Flags of `command` whose value may be the next word. */
export function flagsWithValue(command: CommandName): readonly Flag[] {
  return shownFlags(command).filter((flag) =>
    flag.value !== null && flag.value.optional === undefined
  );
}

/** Pairs of a context and a word that leads to another context. */
export function turns(): (readonly [string, string, string])[] {
  return [
    ...COMMANDS.map((it) => ["root", it.name, it.name] as const),
    ["sandbox", "clean", "sandbox clean"],
    ...(["check", "show", "schema"] as const).map((it) =>
      ["config", it, `config ${it}`] as const
    ),
    ...(["why", "list"] as const).map((it) =>
      ["policy", it, `policy ${it}`] as const
    ),
  ];
}

/** One word of a shell, in single quotes. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
