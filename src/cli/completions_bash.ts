/**
 * The completion script for bash.
 *
 * Source: `bash(1)`, Programmable Completion.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import {
  BUILT_IN_PROFILES,
  CONTEXTS,
  flagsWithValue,
  OPERANDS,
  shownFlags,
  spellings,
  turns,
} from "./completion_contexts.ts";
import type { Completion } from "./flags.ts";

/** To be sourced. */
export function bashScript(): string {
  const pending = CONTEXTS.flatMap((context) =>
    flagsWithValue(context).flatMap(spellings).map((it) => `"${context} ${it}"`)
  );
  const values = CONTEXTS.flatMap((context) =>
    shownFlags(context).flatMap((flag) =>
      flag.value === null ? [] : [
        `    ${spellings(flag).map((it) => `"${context} ${it}"`).join("|")}) ${
          bashValue(flag.value.completion)
        } ;;`,
      ]
    )
  );
  const flags = CONTEXTS.map((context) =>
    `    "${context}") words="${
      [...shownFlags(context).flatMap(spellings), "-h", "--help"].join(" ")
    }" ;;`
  );
  const operands = OPERANDS.map(([context, words]) =>
    `    "${context}") words="${words.join(" ")}" ;;`
  );
  return `# bash completion of codex. Made by: codex completions bash
_codex_reply() { # arguments of compgen
  local reply
  while IFS= read -r reply; do COMPREPLY+=("$reply"); done < <(compgen "$@")
}

_codex_value() { # context flag value-so-far
  case "$1 $2" in
${values.join("\n")}
  esac
}

_codex() {
  # The line is split here and not by readline, which would also split at ":" and "=".
  local line=\${COMP_LINE:0:COMP_POINT} context=root pending="" word words=""
  local -a typed
  read -ra typed <<<"$line"
  [[ $line == *[[:space:]] ]] && typed+=("")
  local cur=\${typed[\${#typed[@]}-1]} i
  COMPREPLY=()
  for ((i = 1; i < \${#typed[@]} - 1; i++)); do
    word=\${typed[i]}
    if [[ -n $pending ]]; then pending=""; continue; fi
    case "$context $word" in
      "args "*|"program "*) context=args ;;
      "sandbox --") context=program ;;
      ${pending.join("|")}) pending=$word ;;
      *" -"*) ;;
${
    turns().map(([from, word, to]) =>
      `      "${from} ${word}") context="${to}" ;;`
    ).join("\n")
  }
      "sandbox "*) context=args ;;
    esac
  done
  if [[ -n $pending ]]; then
    _codex_value "$context" "$pending" "$cur"
  elif [[ $context == args ]]; then
    compopt -o filenames 2>/dev/null
    _codex_reply -f -- "$cur"
  elif [[ $context != program && $cur == --*=* ]]; then
    _codex_value "$context" "\${cur%%=*}" "\${cur#*=}"
    COMPREPLY=("\${COMPREPLY[@]/#/\${cur%%=*}=}")
  elif [[ $context != program && $cur == -* ]]; then
    case "$context" in
${flags.join("\n")}
    esac
    _codex_reply -W "$words" -- "$cur"
  else
    case "$context" in
${operands.join("\n")}
    esac
    case "$context" in
      sandbox|program) _codex_reply -c -W "$words" -- "$cur" ;;
      "config check"|"policy why")
        compopt -o filenames 2>/dev/null
        _codex_reply -f -W "$words" -- "$cur" ;;
      *) _codex_reply -W "$words" -- "$cur" ;;
    esac
  fi
  # Readline replaces only what stands behind its last break character.
  local kept=\${cur%"\${cur##*[:=]}"}
  if [[ -n $kept && $COMP_WORDBREAKS == *[:=]* ]]; then
    COMPREPLY=("\${COMPREPLY[@]#"$kept"}")
  fi
}

complete -F _codex codex
`;
}

function bashValue(completion: Completion): string {
  switch (completion.kind) {
    case "profile":
      return `_codex_reply -W "${BUILT_IN_PROFILES.join(" ")}" -- "$3"`;
    case "directory":
      return 'compopt -o filenames 2>/dev/null; _codex_reply -d -- "$3"';
    case "file":
      return 'compopt -o filenames 2>/dev/null; _codex_reply -f -- "$3"';
    case "choice":
      return `_codex_reply -W "${completion.words.join(" ")}" -- "$3"`;
    case "nothing":
      return ":";
    default:
      return unreachable(completion);
  }
}
