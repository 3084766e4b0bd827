/**
 * Files by which git finds another directory: `.git` of a linked worktree or submodule, and `commondir`.
 *
 * Pure: text in, path out. Source: gitrepository-layout(5).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, resolvePath } from "./path.ts";

/**
 * Where a `.git` file leads, or `null` when it is no pointer.
 *
 * What stands before the first `:` must be `gitdir`; both halves are trimmed; a relative target starts at `directory`.
 */
export function gitdirTarget(
  text: ByteString,
  directory: AbsPath,
): AbsPath | null {
  const colon = text.indexOf(":");
  if (colon === -1 || trimBytes(text.slice(0, colon)) !== "gitdir") return null;
  return targetOf(text.slice(colon + 1), directory);
}

/** Where a `commondir` file in the git directory `directory` leads, or `null` when it is empty or holds a NUL. */
export function commondirTarget(
  text: ByteString,
  directory: AbsPath,
): AbsPath | null {
  return targetOf(text, directory);
}

function targetOf(text: string, directory: AbsPath): AbsPath | null {
  const target = trimBytes(text);
  return target === "" ? null : resolvePath(directory, target);
}

/** ASCII white space only: `String.prototype.trim` would cut byte 0xA0 out of a UTF-8 name. */
function trimBytes(text: string): string {
  return text.replace(/^[ \t\r\n\f\v]+|[ \t\r\n\f\v]+$/g, "");
}
