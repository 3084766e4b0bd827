/**
 * Says that the search for repositories was cut before it had seen all, once for each directory: a large tree cuts it every time.
 *
 * Effects: a file of ours that remembers which directories were told of.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import {
  openStateFolder,
  replaceFile,
  type StateHome,
} from "../host/state_folder.ts";
import type { Repositories } from "../policy/facts.ts";
import { recordName } from "../linux/placeholder_records.ts";
import type { AbsPath } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import { close, O_NOFOLLOW, openAt, readAll } from "../sys/calls.ts";

/** In the folder of caches: to lose it costs a line. */
export const TOLD_NAME = "cut-searches";

/** Directories that are remembered, a choice of ours: 8.5 kB. */
const MOST_TOLD = 500;

/** One name of a directory and its line end. */
const NAME_BYTES = 17;

/**
 * The line for people, `null` where they have had it.
 *
 * @param home where to remember it; `null`: nowhere, so it is said every time
 */
export function cutWarning(
  cwd: AbsPath,
  cut: NonNullable<Repositories["cut"]>,
  home: StateHome | null,
): string | null {
  if (home !== null && !isFirst(cwd, home)) return null;
  return `repositories were looked for up to "${
    toText(cut.at)
  }" (${cut.why}): one that lies beyond keeps its .git writable unless the profile says "read" of it; this is said once for a directory, and by --explain`;
}

/** Whether nobody was told of `directory` before; remembers it. */
function isFirst(directory: AbsPath, home: StateHome): boolean {
  const folder = openStateFolder(home.codexHome, ["cache"], {
    create: true,
    euid: home.euid,
  });
  if (!folder.ok) return true;
  const name = recordName(directory);
  const known = toldNames(folder.value);
  const first = !known.includes(name);
  if (first) {
    const kept = [...known, name].slice(-MOST_TOLD);
    replaceFile(folder.value, TOLD_NAME, `${kept.join("\n")}\n`);
  }
  close(folder.value);
  return first;
}

function toldNames(folder: number): string[] {
  const fd = openAt(
    folder,
    TOLD_NAME,
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,
  );
  if (!fd.ok) return [];
  const text = readAll(fd.value, 2 * MOST_TOLD * NAME_BYTES);
  close(fd.value);
  return text.ok
    ? text.value.split("\n").filter((name) => /^[0-9a-f]{16}$/.test(name))
    : [];
}
