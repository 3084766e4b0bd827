/**
 * Words to flags and positionals, by the table of `flags.ts`.
 *
 * Pure. Values stay bytes. Nothing behind the first positional is looked at where a command starts there.
 *
 * @module
 */
import { type ByteString, decodeText, toText } from "../bytes.ts";
import { nearest } from "../nearest.ts";
import { ok, type Result } from "../result.ts";
import {
  type CommandName,
  type Flag,
  type FlagName,
  flagsOf,
  REFUSED_FLAGS,
  spell,
} from "./flags.ts";
import { refuse, type UsageError } from "./usage.ts";

/** The words of one command, sorted. */
export interface ParsedWords {
  /** Values by long name, in the order given; a switch has the one value `""`. */
  readonly values: ReadonlyMap<string, readonly ByteString[]>;
  /** Every flag in the order given: what {@linkcode values} cannot tell of flags that undo each other. */
  readonly ordered: readonly FlagWord[];
  /** What is left: the command with its arguments, or a command's operands. */
  readonly rest: readonly ByteString[];
  /** `-h` or `--help` was seen; then nothing behind it was read. */
  readonly wantsHelp: boolean;
}

/** One flag as given. */
export interface FlagWord {
  readonly long: string;
  readonly value: ByteString;
}

/**
 * Where flags end. `first_positional`: there, and all behind it is verbatim (one `--` before it is dropped). `double_dash`: only at
 * `--`, so flags and operands may be mixed.
 */
export type FlagsEnd = "first_positional" | "double_dash";

/** Sorts the words of `command`. Fails on the first word that is no flag of it, lacks its value or comes twice. */
export function parseWords(
  command: CommandName,
  words: readonly ByteString[],
  flagsEnd: FlagsEnd,
): Result<ParsedWords, UsageError> {
  const values = new Map<string, ByteString[]>();
  const ordered: FlagWord[] = [];
  const operands: ByteString[] = [];
  let at = 0;
  while (at < words.length) {
    const word = words[at]!;
    if (word === "--") {
      return ok({
        values,
        ordered,
        rest: [...operands, ...words.slice(at + 1)],
        wantsHelp: false,
      });
    }
    if (word.length < 2 || word[0] !== "-") {
      if (flagsEnd === "first_positional") {
        return ok({ values, ordered, rest: words.slice(at), wantsHelp: false });
      }
      operands.push(word);
      at++;
      continue;
    }
    if (word === "-h" || word === "--help") {
      return ok({ values, ordered, rest: operands, wantsHelp: true });
    }
    const taken = takeFlag(command, words, at);
    if (!taken.ok) return taken;
    const { flag, value, next } = taken.value;
    const earlier = values.get(flag.long);
    if (earlier === undefined) values.set(flag.long, [value]);
    else if (flag.isRepeatable) earlier.push(value);
    else {
      return refuse(
        `the argument '${spell(flag)}' cannot be used multiple times`,
      );
    }
    ordered.push({ long: flag.long, value });
    at = next;
  }
  return ok({ values, ordered, rest: operands, wantsHelp: false });
}

/** Whether the switch, or a value for the flag, was given. */
export function has(parsed: ParsedWords, name: FlagName): boolean {
  return parsed.values.has(name);
}

/** The only value of a flag that may come once, or `null`. */
export function only(parsed: ParsedWords, name: FlagName): ByteString | null {
  return parsed.values.get(name)?.[0] ?? null;
}

/** {@linkcode only} of a flag whose value is text: the parser has checked that it is UTF-8. */
export function onlyText(parsed: ParsedWords, name: FlagName): string | null {
  const value = only(parsed, name);
  return value === null ? null : decodeText(value)!;
}

/** All values of a repeatable flag. */
export function all(
  parsed: ParsedWords,
  name: FlagName,
): readonly ByteString[] {
  return parsed.values.get(name) ?? [];
}

/** {@linkcode all} of a flag whose values are text. */
export function allText(parsed: ParsedWords, name: FlagName): string[] {
  return all(parsed, name).map((value) => decodeText(value)!);
}

interface Taken {
  readonly flag: Flag;
  readonly value: ByteString;
  readonly next: number;
}

function takeFlag(
  command: CommandName,
  words: readonly ByteString[],
  at: number,
): Result<Taken, UsageError> {
  const word = words[at]!;
  const isLong = word.startsWith("--");
  const equals = word.indexOf("=");
  const name = isLong
    ? (equals === -1 ? word : word.slice(0, equals))
    : word.slice(0, 2);
  const flag = findFlag(command, name);
  if (flag === undefined) return refuseUnknown(command, isLong ? name : word);

  let attached: ByteString | null = null;
  if (isLong && equals !== -1) {
    attached = word.slice(equals + 1) as ByteString;
  } else if (!isLong && word.length > 2) {
    // `-Cdir` and, as the reference has it, `-C=dir`.
    attached = word.slice(word[2] === "=" ? 3 : 2) as ByteString;
  }

  const { value } = flag;
  if (value === null) {
    if (attached === null) return ok({ flag, value: EMPTY, next: at + 1 });
    return refuse(
      `unexpected value '${toText(attached)}' for '${spell(flag)}' found`,
      `'${spell(flag)}' takes no value`,
    );
  }
  if (attached === null && value.optional !== undefined) {
    return ok({ flag, value: value.optional as ByteString, next: at + 1 });
  }
  const given = attached ?? words[at + 1];
  // A word with a dash is rather a flag whose turn it is than a value; `--cd=-odd` says it plainly.
  const isMissing = given === undefined ||
    (attached === null && given.length > 1 && given[0] === "-");
  if (isMissing) {
    return refuse(
      `a value is required for '${spell(flag)}' but none was supplied`,
      given === undefined || given === "--"
        ? null
        : `if '${toText(given)}' is the value, write --${flag.long}=${
          toText(given)
        }`,
    );
  }
  if (value.encoding === "text" && decodeText(given) === null) {
    return refuse(
      `invalid UTF-8 was detected in one or more arguments: '${
        spell(flag)
      }' needs text, got '${toText(given)}'`,
    );
  }
  return ok({ flag, value: given, next: at + (attached === null ? 2 : 1) });
}

const EMPTY = "" as ByteString;

function findFlag(command: CommandName, name: string): Flag | undefined {
  if (name.startsWith("--")) {
    const long = name.slice(2);
    return flagsOf(command).find((flag) =>
      flag.long === long || flag.hiddenAliases?.includes(long)
    );
  }
  const short = name.slice(1);
  return flagsOf(command).find((flag) => flag.short === short);
}

function refuseUnknown(
  command: CommandName,
  name: string,
): { readonly ok: false; readonly error: UsageError } {
  const short = name.startsWith("--") ? name : name.slice(0, 2);
  const refused = REFUSED_FLAGS.find((it) =>
    it.commands.includes(command) && it.names.includes(short)
  );
  if (refused !== undefined) return refuse(refused.message, refused.hint);
  const near = nearest(
    name,
    flagsOf(command).map((flag) => `--${flag.long}`).concat("--help"),
  );
  return refuse(
    `unexpected argument '${toText(name as ByteString)}' found`,
    near !== null
      ? `did you mean '${near}'?`
      : takesCommand(command)
      ? `a command whose name starts with a dash goes behind '--'`
      : `an operand that starts with a dash goes behind '--'`,
  );
}

function takesCommand(command: CommandName): boolean {
  return command === "sandbox" || command === "helper";
}
