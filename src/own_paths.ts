/**
 * The sandbox's own places, which a command may not change: for runs and for the commands that explain them.
 *
 * Effects: asks where our executable lies.
 *
 * @module
 */
import type { OwnPaths } from "./policy/facts.ts";
import { stateFolderOf } from "./host/state_folder.ts";
import { ownExecutable } from "./linux/own_files.ts";
import type { AbsPath } from "./policy/path.ts";

/** @param configFiles every config file that this run read */
export function ownPathsOf(
  codexHome: AbsPath | null,
  configFiles: readonly AbsPath[],
): OwnPaths {
  const executable = ownExecutable();
  return {
    readOnly: [
      ...(codexHome === null ? [] : [codexHome]),
      "/etc/codex" as AbsPath,
      ...configFiles,
      ...(executable === null ? [] : [executable]),
    ],
    hidden: codexHome === null ? [] : [stateFolderOf(codexHome)],
  };
}
