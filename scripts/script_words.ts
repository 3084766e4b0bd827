/**
 * The words of a script: strictly read, with the usage of its own head for `--help` and for mistakes.
 *
 * Effects: reads the script's source, writes the usage, ends the process where that is all there is to do.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";
import { parseArgs, type ParseArgsConfig } from "node:util";

const USAGE_STATUS = 2;

type Options = NonNullable<ParseArgsConfig["options"]>;

/** What a script was called with. */
export type ScriptWords<T extends Options> = ReturnType<
  typeof parseArgs<{ readonly options: T; readonly allowPositionals: true }>
>;

/**
 * Reads the words of a script, as parseArgs of `node:util` does. A mistake ends the process with status 2, `--help` with 0.
 *
 * @param source the script's path (`import.meta.path`); its head has a paragraph that begins with "Usage:"
 */
export function scriptWords<const T extends Options>(
  source: string,
  options: T,
): ScriptWords<T> {
  const words = process.argv.slice(2);
  if (words.includes("--help") || words.includes("-h")) {
    process.stdout.write(`${usageOf(readFileSync(source, "utf8"))}\n`);
    process.exit(0);
  }
  try {
    return parseArgs({ args: words, options, allowPositionals: true });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    // What the runtime adds is about words that begin with a dash; no script has such.
    return misused(source, why.split(". ")[0] ?? why);
  }
}

/** Says what is wrong with the words and how they should be, and ends with status 2. */
export function misused(source: string, why: string): never {
  const name = basename(source).replace(/\.ts$/, "");
  const usage = usageOf(readFileSync(source, "utf8"));
  process.stderr.write(`${name}: ${why}\n${usage}\n`);
  process.exit(USAGE_STATUS);
}

/** A whole number from 1 to 9,999,999,999. */
export function wholeNumber(
  source: string,
  flag: string,
  word: string,
): number {
  return /^[1-9][0-9]{0,9}$/.test(word)
    ? Number(word)
    : misused(source, `Cannot use ${flag} "${word}": must be a number from 1`);
}

/** The paragraph of a script's head that begins with "Usage:", without the stars. */
export function usageOf(text: string): string {
  const head = text.slice(0, text.indexOf("*/"));
  const lines = head.split("\n").map((line) => line.replace(/^ \* ?/, ""));
  const first = lines.findIndex((line) => line.startsWith("Usage:"));
  const after = lines.findIndex((line, index) => index > first && line === "");
  return lines.slice(first, after).join("\n");
}
