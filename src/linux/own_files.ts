/**
 * What our executable needs in the view when it runs as the inner stage.
 *
 * Effects: reads `/proc/self/maps` and `/proc/self/exe`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, childOf, nameOf, toAbsPath } from "../policy/path.ts";
import { readFile, readlink } from "../sys/calls.ts";
import type { OwnBind } from "./mounts.ts";

/** Where our executable lies inside. The `/dev` tmpfs exists in every plan, and the name makes it the helper on any bwrap. */
export const INNER_EXECUTABLE = "/dev/codex-linux-sandbox" as AbsPath;

/** Where its loader and libraries lie where the view lacks them. */
const INNER_LIBRARIES = "/dev/codex-lib" as AbsPath;

/** Our own file on the host, `null` when it was deleted or replaced while we run. */
export function ownExecutable(): AbsPath | null {
  const path = readlink("/proc/self/exe" as ByteString);
  return path.ok && !path.value.endsWith(" (deleted)")
    ? toAbsPath(path.value)
    : null;
}

/** The shared libraries of this process as the kernel maps them, loader included; empty for a static build. */
function ownLibraries(): AbsPath[] {
  const maps = readFile("/proc/self/maps", 16 * 1024 * 1024);
  if (!maps.ok) return [];
  const found = new Set<AbsPath>();
  for (
    const [, path] of maps.value.matchAll(/^\S+ r\S+ \S+ \S+ \S+ +(\/\S.*)$/gm)
  ) {
    const absolute = path === undefined || !/\.so(\.|$)/.test(path)
      ? null
      : toAbsPath(path);
    if (absolute !== null) found.add(absolute);
  }
  return [...found];
}

/** The binds that the inner stage needs, and how it is started with them. */
export interface InnerStart {
  readonly own: readonly OwnBind[];
  /** argv up to and including our executable. */
  readonly words: readonly string[];
}

/** @param shows whether a path of the host is visible, as it is, in the plan's view */
export function innerStart(shows: (path: AbsPath) => boolean): InnerStart {
  const executable: OwnBind = {
    what: "executable",
    source: "/proc/self/exe" as AbsPath,
    path: INNER_EXECUTABLE,
  };
  const libraries = ownLibraries();
  const loader = libraries.find((path) => nameOf(path).startsWith("ld-"));
  if (loader === undefined || libraries.every(shows)) {
    return { own: [executable], words: [INNER_EXECUTABLE] };
  }
  const own = libraries.map((source): OwnBind => ({
    what: source === loader ? "loader" : "library",
    source,
    path: childOf(INNER_LIBRARIES, nameOf(source)),
  }));
  return {
    own: [executable, ...own],
    words: [
      childOf(INNER_LIBRARIES, nameOf(loader)),
      "--library-path",
      INNER_LIBRARIES,
      INNER_EXECUTABLE,
    ],
  };
}

/**
 * The words as they would be without the loader before them.
 *
 * Started by {@linkcode InnerStart}'s loader, `/proc/self/cmdline` begins with it. Anyone may write these words too: they only say
 * what the words behind them would say alone.
 */
export function withoutLoader(
  argv: readonly ByteString[],
): readonly ByteString[] {
  const [loader = "", flag, folder] = argv;
  return loader.startsWith(`${INNER_LIBRARIES}/`) &&
      flag === "--library-path" as string && folder === INNER_LIBRARIES
    ? argv.slice(3)
    : argv;
}
