/**
 * A pattern against one path, by the steps that the walk of the host takes from name to name.
 *
 * @module
 */
import type { ByteString } from "../../src/bytes.ts";
import { type Glob, isAccepted, START, step } from "../../src/policy/glob.ts";
import { type AbsPath, isInside, ROOT } from "../../src/policy/path.ts";

/** Whether the pattern names `path` itself. Being below a match is not matching. */
export function matchesPath(glob: Glob, path: AbsPath): boolean {
  if (path === glob.prefix || !isInside(path, { root: glob.prefix })) {
    return false;
  }
  const rest = path.slice(glob.prefix === ROOT ? 1 : glob.prefix.length + 1);
  const names = rest.split("/") as ByteString[];
  return glob.alternatives.some((components) => {
    let state = START;
    for (const [index, name] of names.entries()) {
      state = step(components, state, name);
      if (state === 0) return false;
      if (index === names.length - 1) return isAccepted(components, state);
    }
    return false;
  });
}
