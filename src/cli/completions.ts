/**
 * Completion scripts for bash, zsh and fish, made from the tables when they are asked for.
 *
 * Pure. Of the permission profiles only the built-in ones are offered: asking for the others would start us at every key press.
 * Each script finds out in which *context* the cursor stands (`root`, `sandbox`, `policy why`, …) by walking the words before it;
 * behind the first operand of `sandbox` the words are the command's (`args`).
 *
 * Source: `bash(1)` Programmable Completion, `zshcompsys(1)`, `complete(1)` of fish.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import { COMMANDS, type Shell, SHELLS } from "./dispatch.ts";
import {
  type CommandName,
  type Completion,
  type Flag,
  flagsOf,
} from "./flags.ts";

/** The script for `shell`, to be sourced (bash, fish) or put into `fpath` as `_codex` (zsh). */
export function completionScript(shell: Shell): string {
  switch (shell) {
    case "bash":
      return bashScript();
    case "zsh":
      return zshScript();
    case "fish":
      return fishScript();
    default:
      return unreachable(shell);
  }
}

const BUILT_IN_PROFILES = [":read-only", ":workspace", ":danger-full-access"];

const CONTEXTS: readonly CommandName[] = [
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
const OPERANDS: readonly (readonly [string, readonly string[]])[] = [
  ["root", COMMANDS.map((command) => command.name)],
  ["config", ["check", "show", "schema"]],
  ["policy", ["why", "list"]],
  ["completions", SHELLS],
  ["help", COMMANDS.map((command) => command.name)],
  ["policy why", ["read", "write", "exec", "connect"]],
];

function shownFlags(command: CommandName): readonly Flag[] {
  return flagsOf(command).filter((flag) => flag.isHidden !== true);
}

/** `-C` and `--cd`. */
function spellings(flag: Flag): string[] {
  return flag.short === undefined
    ? [`--${flag.long}`]
    : [`-${flag.short}`, `--${flag.long}`];
}

/** Flags of `command` whose value may be the next word. */
function flagsWithValue(command: CommandName): readonly Flag[] {
  return shownFlags(command).filter((flag) =>
    flag.value !== null && flag.value.optional === undefined
  );
}

/** Pairs of a context and a word that leads to another context. */
function turns(): (readonly [string, string, string])[] {
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

function bashScript(): string {
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
      sandbox|program) _codex_reply -c -- "$cur" ;;
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

function zshScript(): string {
  return `#compdef codex
# zsh completion of codex. Made by: codex completions zsh
_codex() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C ${zshFlags("root")} \\
    '1:command:->command' '*::argument:->argument'
  case $state in
    command)
      local -a commands
      commands=(${
    COMMANDS.map((it) => quote(`${it.name}:${it.summary}`)).join(" ")
  })
      _describe command commands ;;
    argument)
      curcontext="\${curcontext%:*:*}:codex-$line[1]:"
      case $line[1] in
        sandbox)
          _arguments -S ${zshFlags("sandbox")} \\
            '(-)1:command:_command_names -e' '*::argument:_normal' ;;
${zshBranch("config", ["check", "show", "schema"])}
${zshBranch("policy", ["why", "list"])}
        doctor) _arguments ${zshFlags("doctor")} ;;
        completions) _arguments '1:shell:(${SHELLS.join(" ")})' ;;
        help) _arguments '1:command:(${
    COMMANDS.map((it) => it.name).join(" ")
  })' ;;
      esac ;;
  esac
}

# Works as a function file in fpath and when sourced.
if [[ $funcstack[1] == _codex ]]; then _codex "$@"; else compdef _codex codex; fi
`;
}

function zshBranch(
  command: "config" | "policy",
  verbs: readonly string[],
): string {
  const operands: Record<string, string> = {
    check: " '*:file:_files'",
    why: " '1:operation:(read write exec)' '*:path:_files'",
  };
  const cases = verbs.map((verb) =>
    `            ${verb}) _arguments ${
      zshFlags(`${command} ${verb}` as CommandName)
    }${operands[verb] ?? ""} ;;`
  );
  return `        ${command})
          if (( CURRENT == 2 )); then
            _values 'sub-command' ${verbs.join(" ")}
          else
            shift words; (( CURRENT-- ))
            case $words[1] in
${cases.join("\n")}
            esac
          fi ;;`;
}

function zshFlags(command: CommandName): string {
  const specs = shownFlags(command).map((flag) => {
    const names = spellings(flag);
    const excluded = flag.isRepeatable
      ? quote("*")
      : names.length > 1
      ? quote(`(${names.join(" ")})`)
      : "";
    const forms = names.map((name) => name + zshJoint(name, flag));
    const listed = forms.length > 1 ? `{${forms.join(",")}}` : forms[0]!;
    return excluded + listed +
      quote(`[${zshText(flag.help)}]${zshValue(flag)}`);
  });
  return [...specs, quote("(- *)") + "{-h,--help}" + quote("[Show help]")]
    .join(" ");
}

/** How a value is joined: `-C+` in the word or as the next, `--cd=` likewise, `--explain=-` in the word only. */
function zshJoint(name: string, flag: Flag): string {
  if (flag.value === null) return "";
  if (flag.value.optional !== undefined) return "=-";
  return name.startsWith("--") ? "=" : "+";
}

function zshValue({ value }: Flag): string {
  if (value === null) return "";
  const colon = value.optional === undefined ? ":" : "::";
  const { completion } = value;
  const head = `${colon}${value.name}:`;
  switch (completion.kind) {
    case "profile":
      return `${head}(${
        BUILT_IN_PROFILES.map((it) => it.replace(":", "\\:")).join(" ")
      })`;
    case "directory":
      return `${head}_files -/`;
    case "file":
      return `${head}_files`;
    case "choice":
      return `${head}(${completion.words.join(" ")})`;
    case "nothing":
      return head;
    default:
      return unreachable(completion);
  }
}

function zshText(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&");
}

function fishScript(): string {
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

/** One word of a shell, in single quotes. */
function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
