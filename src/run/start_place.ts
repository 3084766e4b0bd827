/**
 * Where the command starts: its own directory where the view shows it, else its home, else `/`.
 *
 * Effects: opens the home.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { follow, type PathFacts } from "../policy/facts.ts";
import { variable } from "../host/origin.ts";
import { type AbsPath, ROOT, toAbsPath } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import {
  accessExecutable,
  close,
  O_DIRECTORY,
  open,
  readlink,
} from "../sys/calls.ts";
import type { RunRequest } from "./request.ts";

export interface StartPlace {
  readonly chdir: AbsPath;
  readonly warnings: readonly string[];
}

/** The command's directory, canonical. Where the view doesn't show it: the home, or `/`, and a line that says so. */
export function startPlace(
  request: RunRequest,
  facts: Pick<PathFacts, "paths">,
  shows: (path: AbsPath) => boolean,
): StartPlace {
  const wanted = request.chdir ?? request.policy.cwd;
  const led = request.chdir === null ? follow(facts, wanted) : null;
  const place = request.chdir ?? (led?.exists ? led.resolved : null);
  if (place !== null && (shows(place) || OWN_DIRECTORIES.includes(place))) {
    return { chdir: place, warnings: [] };
  }
  const chdir = shownHome(request, shows) ?? ROOT;
  const warning = `profile ${request.policy.name} does not show ${
    toText(wanted)
  }: the command starts in ${toText(chdir)}`;
  return { chdir, warnings: [warning] };
}

function shownHome(
  request: RunRequest,
  shows: (path: AbsPath) => boolean,
): AbsPath | null {
  const home = toAbsPath(variable(request.environment, "HOME") ?? "");
  if (home === null) return null;
  const fd = open(home, abi.O_PATH | O_DIRECTORY);
  if (!fd.ok) return null;
  const real = readlink(`/proc/self/fd/${fd.value}` as ByteString);
  close(fd.value);
  const path = real.ok ? toAbsPath(real.value) : null;
  return path !== null && shows(path) && accessExecutable(path).ok
    ? path
    : null;
}

/** Directories that every view has as its own. */
const OWN_DIRECTORIES: readonly string[] = [
  "/proc",
  "/dev",
  "/dev/shm",
  "/dev/pts",
];
