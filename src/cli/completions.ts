/**
 * Completion scripts for bash, zsh and fish, made from the tables when they are asked for.
 *
 * Pure.
 *
 * @module
 */
import { unreachable } from "../result.ts";
import { bashScript } from "./completions_bash.ts";
import { fishScript } from "./completions_fish.ts";
import { zshScript } from "./completions_zsh.ts";
import type { Shell } from "./dispatch.ts";

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
