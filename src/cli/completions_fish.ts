/**
 * The completion script for fish.
 *
 * Source: fish's `complete(1)`.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import {
  BUILT_IN_PROFILES,
  CONTEXTS,
  flagsWithValue,
  OPERANDS,
  quote,
  shownFlags,
  spellings,
  turns,
} from "./completion_contexts.ts";
import type { CommandName, Flag } from "./flags.ts";

/** To be sourced. */
export function fishScript(): string {
  const lines = CONTEXTS.flatMap((context) => [
    ...shownFlags(context).map((flag) => fishFlag(context, flag)),
    `complete -c codex -n ${at(context)} -s h -l help -d 'Show help'`,
  ]);
  for (const [context, words] of OPERANDS) {
    lines.push(
      `complete -c codex -n ${at(context)} -a ${quote(words.join(" "))}`,
    );
  }
  const pending = CONTEXTS.flatMap((context) =>
    flagsWithValue(context).flatMap(spellings).map((it) =>
      quote(`${context} ${it}`)
    )
  );
  return `# fish completion of codex. Made by: codex completions fish
function __codex_context
    set -l typed (commandline -opc)
    set -e typed[1]
    set -l context root
    set -l pending no
    for word in $typed
        if test $pending = yes
            set pending no
            continue
        end
        switch "$context $word"
            case 'args *' 'program *'
                set context args
            case 'sandbox --'
                set context program
            case ${pending.join(" ")}
                set pending yes
            case '* -*'
                continue
${
    turns().map(([from, word, to]) =>
      `            case ${
        quote(`${from} ${word}`)
      }\n                set context ${quote(to)}`
    ).join("\n")
  }
            case 'sandbox *'
                set context args
        end
    end
    echo $context
end

function __codex_at
    contains -- (__codex_context) $argv
end

complete -c codex -f
${lines.join("\n")}
complete -c codex -n "__codex_at sandbox program" -a '(__fish_complete_command)'
complete -c codex -n "__codex_at args 'config check' 'policy why'" -F
`;
}

function fishFlag(context: CommandName, flag: Flag): string {
  const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
  return `complete -c codex -n ${at(context)}${short} -l ${flag.long}${
    fishValue(flag)
  } -d ${quote(flag.help)}`;
}

function fishValue({ value }: Flag): string {
  if (value === null) return "";
  const { completion } = value;
  const words = (list: readonly string[]): string =>
    ` -a ${quote(list.join(" "))}`;
  // Without -r the value is optional, and then given with "=".
  const required = value.optional === undefined ? " -x" : " -f";
  switch (completion.kind) {
    case "profile":
      return required + words(BUILT_IN_PROFILES);
    case "directory":
      return `${required} -a '(__fish_complete_directories)'`;
    case "file":
      return " -r -F";
    case "choice":
      // For an optional value the words would also be offered as operands: the flag alone is offered.
      return value.optional === undefined
        ? required + words(completion.words)
        : "";
    case "nothing":
      return required;
    default:
      return unreachable(completion);
  }
}

function at(context: string): string {
  return context.includes(" ")
    ? `"__codex_at '${context}'"`
    : `"__codex_at ${context}"`;
}
