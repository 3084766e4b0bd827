/**
 * What the options of all commands share: the command to run, session settings, a choice among words.
 *
 * Pure: needs nothing but the words; no file, environment or directory is looked at. JSON and `KEY=VALUE` are only carried.
 * All refusals of options are usage errors (status 2), the missing command and the missing profile included: see `usage.ts`.
 *
 * @module
 */
import { type ByteString, decodeText, fromText, toText } from "../bytes.ts";
import type { FlagName } from "./flags.ts";
import { allText, onlyText, type ParsedWords, parseWords } from "./parse.ts";
import { refuse, type UsageError } from "./usage.ts";
import { nearest } from "../nearest.ts";
import { ok, type Result } from "../result.ts";

/** At least one word: the program and its arguments, byte for byte. */
export type Command = readonly [ByteString, ...ByteString[]];

/** What `--help` is about. */
export type HelpTopic =
  | "codex"
  | "sandbox"
  | "config"
  | "policy"
  | "proxy-connect"
  | "completions"
  | "doctor"
  | "clean"
  | "help"
  | "helper";

/** `-h` or `--help` instead of options. */
export interface HelpRequest {
  readonly kind: "help";
  readonly topic: HelpTopic;
}

/** Session settings, common to all commands that read config files. Words before the command come first. */
export interface SessionConfig {
  /** `KEY=VALUE` as typed, later ones win. */
  readonly overrides: readonly string[];
  /** `--enable` and `--disable` in the order given; they are laid over the overrides, later ones win. */
  readonly features: readonly FeatureSwitch[];
  /** `-p`: name of a config profile, letters, digits, `_` and `-`. The one behind the command wins. */
  readonly configProfile: string | null;
}

/** One `--enable` or `--disable`; whether the feature exists is not known here. */
export interface FeatureSwitch {
  readonly feature: string;
  readonly isEnabled: boolean;
}

export type Parsed<T> = Result<T | HelpRequest, UsageError>;

/** What no words parse to. */
const NO_WORDS: ParsedWords = {
  values: new Map(),
  ordered: [],
  rest: [],
  wantsHelp: false,
};

export function sessionConfig(
  flags: ParsedWords,
  rootWords: readonly ByteString[],
): Result<SessionConfig, UsageError> {
  const root = rootWords.length === 0
    ? ok(NO_WORDS)
    : parseWords("root", rootWords, "first_positional");
  if (!root.ok) return root;
  // Both are checked, although only one is used: a bad name is a slip wherever it stands.
  const names = [root.value, flags].map((it) => onlyText(it, "profile"));
  for (const name of names) {
    if (name !== null && !/^[A-Za-z0-9_-]+$/.test(name)) {
      return refuse(
        `invalid --profile value '${
          toText(fromText(name))
        }': only letters, digits, '_' and '-'`,
        name.startsWith(":")
          ? `permission profiles are chosen with -P ${name}`
          : null,
      );
    }
  }
  return ok({
    overrides: [...allText(root.value, "config"), ...allText(flags, "config")],
    features: [...featureSwitches(root.value), ...featureSwitches(flags)],
    configProfile: names[1] ?? names[0] ?? null,
  });
}

function featureSwitches(flags: ParsedWords): FeatureSwitch[] {
  const switches: FeatureSwitch[] = [];
  for (const { long, value } of flags.ordered) {
    if (long !== "enable" && long !== "disable") continue;
    switches.push({
      feature: decodeText(value)!,
      isEnabled: long === "enable",
    });
  }
  return switches;
}

export function commandOf(
  rest: readonly ByteString[],
  caller: "codex sandbox" | "codex-linux-sandbox",
): Result<Command, UsageError> {
  const [program, ...args] = rest;
  if (program !== undefined) return ok([program, ...args]);
  // The full stop belongs to the reference's message, which callers match.
  return refuse(
    "No command specified to execute.",
    `put it last: ${caller} [OPTIONS] -- COMMAND [ARGS...]`,
  );
}

export function choice<W extends string>(
  flags: ParsedWords,
  name: FlagName,
  words: readonly W[],
): Result<W | null, UsageError> {
  const value = onlyText(flags, name);
  if (value === null) return ok(null);
  if (isOneOf(value, words)) return ok(value);
  const near = nearest(value, words);
  return refuse(
    `invalid value '${toText(fromText(value))}' for '--${name}': must be ${
      words.join(", ")
    }`,
    near === null ? null : `did you mean '${near}'?`,
  );
}

export function isOneOf<W extends string>(
  word: string,
  words: readonly W[],
): word is W {
  return (words as readonly string[]).includes(word);
}
