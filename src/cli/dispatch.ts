/**
 * What this start of the executable is for, from its own name and its words.
 *
 * Pure, and the first thing that runs: nothing else may be read before. The common case, `sandbox` as the first word, touches no table.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { nearest } from "../nearest.ts";
import { HELPER_NAME } from "./helper_name.ts";
import type { HelpTopic } from "./options.ts";
import { has, parseWords } from "./parse.ts";
import { refuse, type UsageError } from "./usage.ts";

/** The shells that `codex completions` knows. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The commands that exist, in the order in which `--help` shows them. */
export const COMMANDS = [
  { name: "sandbox", summary: "Run a command in a sandbox" },
  { name: "config", summary: "Check, show or describe the config files" },
  { name: "policy", summary: "Ask what a permission profile allows" },
  {
    name: "proxy-connect",
    summary: "In a managed network: ssh's ProxyCommand",
  },
  { name: "doctor", summary: "Look at this host and say what would help" },
  { name: "completions", summary: "Print completions for bash, zsh or fish" },
  { name: "help", summary: "Show the help of a command" },
] as const;

/** What to do. `rootWords` are the session settings that stand before the command. */
export type Entry =
  | { readonly kind: "helper"; readonly words: readonly ByteString[] }
  | {
    readonly kind: "sandbox" | "clean" | "config" | "policy" | "doctor";
    readonly words: readonly ByteString[];
    readonly rootWords: readonly ByteString[];
  }
  | {
    readonly kind: "proxy_connect";
    readonly host: ByteString;
    readonly port: ByteString;
  }
  | { readonly kind: "completions"; readonly shell: Shell }
  | { readonly kind: "help"; readonly topic: HelpTopic }
  | { readonly kind: "version" }
  | { readonly kind: "usage_error"; readonly error: UsageError };

/**
 * Decides what to do.
 *
 * @param argv0 our name as the caller gave it; only its basename counts
 * @param words the arguments behind it
 */
export function dispatch(
  argv0: ByteString,
  words: readonly ByteString[],
): Entry {
  if (argv0.slice(argv0.lastIndexOf("/") + 1) === HELPER_NAME) {
    // The one name under which our executable is seen inside, where ssh calls it.
    return words[0] === "proxy-connect"
      ? proxyConnect(words.slice(1))
      : { kind: "helper", words };
  }
  if (words[0] === "sandbox") {
    return sandbox(words.slice(1), []);
  }
  const root = parseWords("root", words, "first_positional");
  if (!root.ok) return { kind: "usage_error", error: root.error };
  if (root.value.wantsHelp) return { kind: "help", topic: "codex" };
  if (has(root.value, "version")) return { kind: "version" };
  const [name, ...rest] = root.value.rest;
  const rootWords = words.slice(0, words.length - root.value.rest.length);
  switch (name as string | undefined) {
    case undefined:
      return usageError(
        "codex needs a command",
        `one of: ${COMMAND_NAMES.join(", ")}; see codex --help`,
      );
    case "sandbox":
      return sandbox(rest, rootWords);
    case "config":
    case "policy":
    case "doctor":
      return {
        kind: name as "config" | "policy" | "doctor",
        words: rest,
        rootWords,
      };
    case "proxy-connect":
      return proxyConnect(rest);
    case "completions":
      return completions(rest);
    case "help":
      return help(rest);
    default:
      return unknownCommand(name!);
  }
}

/** `clean` directly behind `sandbox` is ours; a program of that name stands behind `--`. */
function sandbox(
  words: readonly ByteString[],
  rootWords: readonly ByteString[],
): Entry {
  return words[0] === "clean"
    ? { kind: "clean", words: words.slice(1), rootWords }
    : { kind: "sandbox", words, rootWords };
}

const COMMAND_NAMES = COMMANDS.map((command) => command.name);

/** What `codex help` explains besides the commands. */
const TOPICS: readonly HelpTopic[] = [
  "sandbox",
  "config",
  "policy",
  "proxy-connect",
  "doctor",
  "clean",
  "completions",
  "help",
  "helper",
];

function proxyConnect(words: readonly ByteString[]): Entry {
  const [host, port, surplus] = words;
  if (host === "-h" || host === "--help") {
    return { kind: "help", topic: "proxy-connect" };
  }
  if (host === undefined || port === undefined || surplus !== undefined) {
    return usageError(
      "codex proxy-connect takes a host and a port",
      "for example: ssh -o ProxyCommand='codex proxy-connect %h %p' HOST",
    );
  }
  return { kind: "proxy_connect", host, port };
}

function completions(words: readonly ByteString[]): Entry {
  const [word, surplus] = words;
  if (word === "-h" || word === "--help") {
    return { kind: "help", topic: "completions" };
  }
  const shell = SHELLS.find((it) => it === word);
  if (shell === undefined) {
    return usageError(
      word === undefined
        ? "codex completions needs a shell"
        : `unknown shell '${toText(word)}'`,
      `one of: ${SHELLS.join(", ")}`,
    );
  }
  if (surplus !== undefined) {
    return usageError(
      `unexpected argument '${toText(surplus)}' of codex completions`,
    );
  }
  return { kind: "completions", shell };
}

function help(words: readonly ByteString[]): Entry {
  const [word] = words;
  if (word === undefined) return { kind: "help", topic: "codex" };
  if (word === "-h" || word === "--help") {
    return { kind: "help", topic: "help" };
  }
  const topic = TOPICS.find((it) => it === word) ??
    (word === HELPER_NAME ? "helper" : undefined);
  if (topic !== undefined) return { kind: "help", topic };
  const near = nearest(word, TOPICS);
  return usageError(
    `no help for '${toText(word)}'`,
    near === null
      ? `one of: ${TOPICS.join(", ")}`
      : `did you mean 'codex help ${near}'?`,
  );
}

function unknownCommand(name: ByteString): Entry {
  const near = nearest(name, COMMAND_NAMES);
  return usageError(
    `unknown command '${toText(name)}'`,
    near === null
      ? `to run it in a sandbox: codex sandbox -- ${toText(name)}`
      : `did you mean 'codex ${near}'?`,
  );
}

function usageError(message: string, hint?: string): Entry {
  return { kind: "usage_error", error: refuse(message, hint).error };
}
