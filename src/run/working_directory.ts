/**
 * Where a run starts and a question is asked: `-C`, or where we are.
 *
 * Effects: looks at the directory.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { type Failure, requestFailure } from "../failure.ts";
import { type AbsPath, resolvePath, ROOT } from "../policy/path.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { stat } from "../sys/calls.ts";

/** Literal: the real place is the planner's matter. @param cwd `null`: it was removed, or lies outside the root */
export function workingDirectory(
  cwd: AbsPath | null,
  cd: ByteString | null,
): Result<AbsPath, Failure> {
  if (cd === null) {
    if (cwd !== null) return ok(cwd);
    return requestFailure(
      "Cannot run here: the working directory was removed or is outside the root; go to another or use -C DIR",
    );
  }
  // An empty name comes of a variable that is not set: the directory that we are in is not what was meant to be opened.
  if (cd === "") return requestFailure('Cannot use -C "": the name is empty');
  const isRelative = !cd.startsWith("/");
  const path = cwd === null && isRelative ? null : resolvePath(cwd ?? ROOT, cd);
  if (path === null) {
    return requestFailure(
      `Cannot use -C ${
        toText(cd)
      }: the working directory was removed or is outside the root; name an absolute path`,
    );
  }
  const refused = whyNoDirectory(path);
  return refused === null ? ok(path) : requestFailure(
    `Cannot use -C ${toText(path)}: ${refused}; name a directory that is there`,
  );
}

/** Why nobody can be in `path`; `null` when it is a directory. */
export function whyNoDirectory(path: AbsPath): string | null {
  const there = stat(path);
  if (!there.ok) return abi.errnoText(there.error.errno);
  const isDirectory = (there.value.mode & abi.S_IFMT) === abi.S_IFDIR;
  return isDirectory ? null : abi.errnoText(abi.ENOTDIR);
}
