/**
 * What the host knows about mount points that the facts don't tell: may a missing one be made, may an empty one go away.
 *
 * Effects: asks for rights, and looks into directories that may be empty.
 *
 * @module
 */
import type { PathFacts } from "../policy/facts.ts";
import { isPlaceholderOfOthers } from "../linux/placeholders.ts";
import type { Placeholder } from "../linux/plan.ts";
import type { MountPoint } from "../policy/decision.ts";
import type { AbsPath } from "../policy/path.ts";
import { ok } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  accessWritable,
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  readDirectory,
  stat,
} from "../sys/calls.ts";

/**
 * Empty files and directories that the plan mounts on in a writable place. Each may be the placeholder of another run, which removes
 * it at its end unless somebody else holds its lock, and our mount would go with it: so their locks are taken as well.
 */
export function possiblePlaceholders(
  points: readonly MountPoint[],
  facts: PathFacts,
): Placeholder[] {
  const states = new Map(points.map(({ path, state }) => [path, state]));
  return points.flatMap(
    ({ path, state, node, parent, decider }): Placeholder[] => {
      if (state === "writable" || node === "missing" || parent === null) {
        return [];
      }
      const fact = facts.paths.get(path);
      if (states.get(parent) !== "writable" || fact === undefined) return [];
      // Daemons' own: no run ever made one.
      if (decider.kind === "socket") return [];
      // More than two links means subdirectories on most file systems: not empty, and no need to look.
      const mayBe = node === "directory"
        ? fact.linkCount <= 2
        : fact.kind === "file" && fact.sizeBytes === 0;
      return mayBe && isEmptyAndOpen(path, node) ? [{ path, node }] : [];
    },
  );
}

/**
 * Whether a run can make a name in `folder`. Where its user neither may nor owns the folder, so that it could open it up, and where the
 * host has it read-only, the name needs no placeholder: nobody in the sandbox has more rights than the caller.
 */
export function canMakeBelow(folder: AbsPath, euid: number): boolean {
  const asked = accessWritable(folder);
  if (asked.ok) return true;
  // Of a file system or a mount; a command can't remount either.
  if (asked.error.errno === abi.EROFS) return false;
  if (euid === 0) return true;
  const fact = stat(folder);
  return !fact.ok || fact.value.uid === euid;
}

/** Whether it has nothing in it, and can be opened for reading as every placeholder can: one that can't is refused with the locks. */
function isEmptyAndOpen(path: AbsPath, node: "directory" | "file"): boolean {
  const flags = abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK;
  const fd = open(path, node === "directory" ? flags | O_DIRECTORY : flags);
  // Gone meanwhile: it was another run's, which has ended. It is made again.
  if (!fd.ok) {
    return fd.error.errno === abi.ENOENT ||
      fd.error.errno === abi.EACCES && isPlaceholderOfOthers(path);
  }
  const names = node === "directory" ? readDirectory(fd.value) : ok([]);
  close(fd.value);
  // A directory that goes between the two calls has no names to give (ENOENT): it is made again, too.
  return names.ok ? names.value.length === 0 : names.error.errno === abi.ENOENT;
}
