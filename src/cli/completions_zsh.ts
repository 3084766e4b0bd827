/**
 * The completion script for zsh.
 *
 * Source: `zshcompsys(1)`.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import {
  BUILT_IN_PROFILES,
  quote,
  shownFlags,
  spellings,
} from "./completion_contexts.ts";
import { COMMANDS, SHELLS } from "./dispatch.ts";
import type { CommandName, Flag } from "./flags.ts";

/** To be put into `fpath` as `_codex`, or sourced. */
export function zshScript(): string {
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
          if (( CURRENT > 2 )) && [[ $words[2] == clean ]]; then
            shift words; (( CURRENT-- ))
            _arguments ${zshFlags("sandbox clean")}
          else
            _arguments -S ${zshFlags("sandbox")} \\
              '(-)1:command:_codex_program' '*::argument:_normal'
          fi ;;
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

_codex_program() {
  _alternative 'verbs:sub-command:(clean)' 'commands:command:_command_names -e'
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
    why: " '1:operation:(read write exec connect)' '*:path:_files'",
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
