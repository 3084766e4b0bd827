/**
 * The places where a command may lie, and what was found at one of them. `src/linux/command.ts` judges it.
 *
 * Pure. Source: execvp(3).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { AbsPath } from "../policy/path.ts";

/** How much of an executable is looked at, in bytes: the program headers and the interpreter's name of every usual one. */
export const HEAD_BYTES = 1_024;

/** What was found at one place where the command may lie. */
export interface Candidate {
  /** As execvp(3) would spell it. */
  readonly path: AbsPath;
  /** Where links lead; the same as `path` without any. */
  readonly real: AbsPath;
  readonly kind: "missing" | "directory" | "file" | "other" | "unknown";
  /** `no`: certain refusal (EACCES). `unknown`: only the kernel can tell. */
  readonly executable: "yes" | "no" | "unknown";
  /** The first bytes, `null` when they can't be read. */
  readonly head: ByteString | null;
}

/** The directories of PATH as execvp(3) reads them: glibc's default when unset, an empty entry is the working directory. */
export function searchPath(path: ByteString | null): readonly string[] {
  return (path ?? "/bin:/usr/bin").split(":").map((entry) =>
    entry === "" ? "." : entry
  );
}
