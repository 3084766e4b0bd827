/**
 * The texts of `--help`, `--version` and the man page, made from the tables when they are asked for.
 *
 * Pure. At most {@linkcode WIDTH} columns; every text ends with a newline.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import { COMMANDS } from "./dispatch.ts";
import { HELPER_NAME } from "./helper_name.ts";
import {
  type CommandName,
  type Flag,
  type FlagGroup,
  flagsOf,
} from "./flags.ts";
import type { HelpTopic } from "./options.ts";

/** Columns of a terminal that nobody has widened. */
const WIDTH = 80;
/** Where the help text of a flag starts; longer flags push it to the next line. */
const INDENT = 30;

/** The text of `--help` about `topic`. */
export function helpText(topic: HelpTopic): string {
  const page = pageOf(topic);
  const parts = [
    wrap(page.summary, 0),
    section("Usage", page.usage.map((line) => `  ${line}`)),
  ];
  if (page.listed !== undefined) {
    const rows = page.listed.map(([name, text]) => row(name, text));
    parts.push(section("Commands", rows));
  }
  for (const command of page.flagsOf) {
    parts.push(...flagSections(command, page.flagsOf.length > 1));
  }
  if (page.notes !== undefined) parts.push(wrap(page.notes, 0));
  if (page.examples.length > 0) {
    parts.push(section("Examples", page.examples.map((it) => `  ${it}`)));
  }
  return `${parts.join("\n\n")}\n`;
}

/** What `--version` prints; `bwrapDigest` is the SHA-256 of the bundled bwrap in hex. */
export function versionText(
  { version, bwrapVersion, bwrapDigest }: {
    readonly version: string;
    readonly bwrapVersion: string;
    readonly bwrapDigest: string;
  },
): string {
  return `codex ${version}\n` +
    `bundled bwrap ${bwrapVersion}\n` +
    `sha256 ${bwrapDigest}\n`;
}

/**
 * The man page `codex.1`, in man(7) macros.
 *
 * @param version goes into the footer; no date, so that builds stay the same
 */
export function manPage(version: string): string {
  const lines = [
    `.TH CODEX 1 "" "codex ${roff(version)}" "User Commands"`,
    ".SH NAME",
    "codex \\- run a command in a sandbox",
    ".SH SYNOPSIS",
    ...MANUAL_TOPICS.flatMap((topic) =>
      pageOf(topic).usage.flatMap((line) => [`.B ${roff(line)}`, ".br"])
    ),
    ".SH DESCRIPTION",
    roff(pageOf("sandbox").summary),
    ".SH COMMANDS",
    ...COMMANDS.flatMap((it) => [
      ".TP",
      `.B ${roff(it.name)}`,
      roff(`${it.summary}.`),
    ]),
  ];
  for (const command of MANUAL_COMMANDS) {
    lines.push(`.SH OPTIONS OF ${command.toUpperCase()}`);
    for (const flag of shownFlags(command)) {
      lines.push(
        ".TP",
        `.B ${roff(spelling(flag))}`,
        roff(`${sentence(flag)}.`),
      );
    }
  }
  lines.push(
    ".SH EXIT STATUS",
    ...EXIT_STATUS.flatMap(([status, text]) => [
      ".TP",
      `.B ${status}`,
      roff(`${text}.`),
    ]),
    ".SH EXAMPLES",
    ...pageOf("sandbox").examples.flatMap((it) => [
      ".PP",
      ".nf",
      roff(it),
      ".fi",
    ]),
  );
  return `${lines.join("\n")}\n`;
}

const MANUAL_TOPICS: readonly HelpTopic[] = [
  "sandbox",
  "clean",
  "config",
  "policy",
  "doctor",
  "proxy-connect",
  "completions",
  "help",
];

const MANUAL_COMMANDS: readonly CommandName[] = [
  "root",
  "sandbox",
  "config check",
  "config show",
  "policy why",
  "policy list",
  "doctor",
  "sandbox clean",
];

const EXIT_STATUS = [
  ["0\\(en255", "The command's own status"],
  ["128+N", "The command was ended by signal N"],
  ["127", "The command was not found"],
  ["126", "The command was found and cannot be executed"],
  ["124", "--timeout ended the command"],
  ["125", "We failed before the command started"],
  ["2", "Usage error"],
  ["1", "From bubblewrap, where its own set-up failed late"],
] as const;

interface Page {
  readonly summary: string;
  readonly usage: readonly string[];
  readonly listed?: readonly (readonly [string, string])[];
  readonly flagsOf: readonly CommandName[];
  readonly notes?: string;
  readonly examples: readonly string[];
}

function pageOf(topic: HelpTopic): Page {
  switch (topic) {
    case "codex":
      return {
        summary: "Runs commands in a sandbox.",
        usage: ["codex [OPTIONS] COMMAND ..."],
        listed: COMMANDS.map((it) => [it.name, it.summary]),
        flagsOf: ["root"],
        examples: [
          "codex sandbox -- make test",
          "codex sandbox -P :workspace -- npm test",
          "codex help sandbox",
        ],
      };
    case "sandbox":
      return {
        summary:
          "Runs COMMAND in a sandbox. Without -P the config files choose the profile; without config it is :read-only.",
        usage: ["codex sandbox [OPTIONS] [--] COMMAND [ARGS...]"],
        flagsOf: ["sandbox"],
        notes:
          "Everything from COMMAND on is passed as it is. Status: the command's own, 128+N for signal N, 127 not found, 126 not executable, 124 --timeout ended it, 125 we failed before it started, 2 usage.",
        examples: [
          "codex sandbox -- ls -l",
          "codex sandbox -P :workspace -- npm test",
          "codex sandbox -P :workspace -C ~/src/app -- make",
          "codex sandbox -P :workspace --explain -- make",
          "codex sandbox -c 'default_permissions=:workspace' -- touch made",
        ],
      };
    case "config":
      return {
        summary: "Checks, shows or describes the config files.",
        usage: [
          "codex config check [OPTIONS] [FILE]",
          "codex config show [OPTIONS]",
          "codex config schema",
        ],
        listed: [
          ["check", "Report every finding; status 1 when there are any"],
          ["show", "Print the effective values"],
          ["schema", "Print the JSON Schema of a config file"],
        ],
        flagsOf: ["config show"],
        notes: "config check takes the Configuration options too.",
        examples: [
          "codex config check",
          "codex config check ~/.codex/config.toml",
          "codex config show --origin",
        ],
      };
    case "policy":
      return {
        summary: "Tells what a permission profile allows, and why.",
        usage: [
          "codex policy why [OPTIONS] read|write|exec PATH...",
          "codex policy why [OPTIONS] connect HOST[:PORT]...",
          "codex policy list [OPTIONS]",
        ],
        listed: [
          ["why", "Verdict and deciding entry; status 0 allowed, 1 denied"],
          ["list", "The profiles with description and origin"],
        ],
        flagsOf: ["policy why"],
        notes: "policy list takes --json and the Configuration options too.",
        examples: [
          "codex policy why -P :workspace write .git/config",
          "codex policy why --json read /etc/passwd ~/.ssh",
          "codex policy why -P ci connect npm.mirror.example:443",
          "codex policy list",
        ],
      };
    case "proxy-connect":
      return {
        summary:
          "Joins standard input and output to HOST through the managed network of this sandbox. For ssh's ProxyCommand.",
        usage: ["codex proxy-connect HOST PORT"],
        flagsOf: [],
        notes:
          "Status: 0 when the connection ended in order, 1 when it could not be made or was cut.",
        examples: [
          "ssh -o ProxyCommand='codex proxy-connect %h %p' git@example.com",
        ],
      };
    case "doctor":
      return {
        summary:
          "Looks at this host: what a sandbox needs of it, which bubblewrap would be used, whether the default profile can be enforced, and what would help.",
        usage: ["codex doctor [OPTIONS]"],
        flagsOf: ["doctor"],
        notes:
          "Starts small sandboxes to see what works; changes nothing but the cache of $CODEX_HOME. Status: 0 the default profile can be enforced here, 1 it can't be.",
        examples: ["codex doctor", "codex doctor --json"],
      };
    case "clean":
      return {
        summary:
          "Removes what dead runs left: of this version, of older ones and of other tools. Only what is empty, recorded and used by nobody.",
        usage: ["codex sandbox clean [OPTIONS]"],
        flagsOf: ["sandbox clean"],
        notes:
          "A program called clean is run by: codex sandbox -- clean. Run it in the directory of the dead run: older records hold no path.",
        examples: [
          "codex sandbox clean --dry-run",
          "codex sandbox clean",
        ],
      };
    case "completions":
      return {
        summary: "Prints the completions of codex for a shell.",
        usage: ["codex completions bash|zsh|fish"],
        flagsOf: [],
        examples: [
          "source <(codex completions bash)",
          "codex completions zsh > ~/.zfunc/_codex",
          "codex completions fish > ~/.config/fish/completions/codex.fish",
        ],
      };
    case "help":
      return {
        summary: "Shows the help of codex or of one command.",
        usage: ["codex help [COMMAND]"],
        flagsOf: [],
        examples: ["codex help sandbox"],
      };
    case "helper":
      return {
        summary:
          "Linux helper of codex: enforces a resolved permission profile. For other programs; people use codex sandbox.",
        usage: [
          `${HELPER_NAME} --sandbox-policy-cwd DIR`,
          "    --permission-profile JSON [OPTIONS] [--] COMMAND [ARGS...]",
        ],
        flagsOf: ["helper"],
        examples: [],
      };
    default:
      return unreachable(topic);
  }
}

const GROUPS: readonly FlagGroup[] = [
  "Policy",
  "Configuration",
  "Run",
  "Inspect",
  "Older callers",
];

function flagSections(command: CommandName, isOneOfMany: boolean): string[] {
  const shown = shownFlags(command);
  const sections: string[] = [];
  for (const group of GROUPS) {
    const rows = shown.filter((flag) => flag.group === group)
      .map((flag) => row(spelling(flag), sentence(flag)));
    if (rows.length === 0) continue;
    sections.push(
      section(isOneOfMany ? `${group} (${command})` : group, rows),
    );
  }
  const help = row("-h, --help", "Show this help");
  sections[sections.length - 1] += `\n${help}`;
  return sections;
}

function shownFlags(command: CommandName): readonly Flag[] {
  return flagsOf(command).filter((flag) => flag.isHidden !== true);
}

/** `-C, --cd DIR`, `--explain[=FORMAT]`. */
function spelling(flag: Flag): string {
  const short = flag.short === undefined ? "" : `-${flag.short}, `;
  const { value } = flag;
  if (value === null) return `${short}--${flag.long}`;
  if (value.optional !== undefined) {
    return `${short}--${flag.long}[=${value.name}]`;
  }
  return `${short}--${flag.long} ${value.name}`;
}

function sentence(flag: Flag): string {
  return flag.isRepeatable ? `${flag.help}; repeatable` : flag.help;
}

function section(title: string, lines: readonly string[]): string {
  return [`${title}:`, ...lines].join("\n");
}

function row(name: string, text: string): string {
  const head = `  ${name}`;
  const body = wrap(text, INDENT);
  return head.length + 2 <= INDENT
    ? head + body.slice(head.length)
    : `${head}\n${body}`;
}

function wrap(text: string, indent: number): string {
  const margin = " ".repeat(indent);
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(margin + line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(margin + line);
  return lines.join("\n");
}

/** Text for a man page line: backslashes and dashes mean themselves, a dot or quote at the start is no request. */
function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-")
    .replace(/^(?=[.'])/, "\\&");
}
