/**
 * The registry in which Codex's own releases note their mount points, read so that what their dead runs left can be taken away.
 *
 * Pure. A folder per target, named by a hash of its path, with a file per process in it. The path itself is written nowhere: only
 * paths that somebody asks about can be found again.
 *
 * @module
 */
import { type AbsPath, childOf } from "../policy/path.ts";

/** Name of the registry in `$TMPDIR` or `/tmp`, by the effective uid. */
export function registryName(euid: number): string {
  return `codex-bwrap-synthetic-mount-targets-${euid}`;
}

/** Names that the releases stand placeholders on. */
const TARGET_NAMES = [".git", ".agents", ".codex", ".aws"] as const;

/** Name of a target's folder: 64-bit FNV-1a of its path's bytes, 16 hex digits. */
export function targetKey(path: string): string {
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (let at = 0; at < path.length; at++) {
    hash = ((hash ^ BigInt(path.charCodeAt(at))) * 0x100_0000_01b3n) &
      0xffff_ffff_ffff_ffffn;
  }
  return hash.toString(16).padStart(16, "0");
}

/** What may lie in the registry of runs in `directories`, by the names of the targets' folders. */
export function possibleTargets(
  directories: readonly AbsPath[],
): ReadonlyMap<string, AbsPath> {
  return new Map(
    directories.flatMap((directory) =>
      TARGET_NAMES.map((name) => {
        const path = childOf(directory, name);
        return [targetKey(path), path] as const;
      })
    ),
  );
}

/** One process's mark in a target's folder. */
export interface Marker {
  /** File name: a pid, if it is a mark at all. */
  readonly name: string;
  readonly text: string;
  readonly isAlive: boolean;
}

/** What is to be done with a target's folder, and why. */
export type MarkerVerdict =
  /** A run lives, or something in there is not understood. */
  | { readonly kind: "leave"; readonly why: string }
  /** All are dead. `made`: one of them made the target. */
  | { readonly kind: "dead"; readonly made: boolean };

/** Judges a target by its marks. Only `synthetic` says that a run made it; anything else was there before, or was only watched. */
export function judgeMarkers(markers: readonly Marker[]): MarkerVerdict {
  for (const { name, text, isAlive } of markers) {
    if (!/^[1-9][0-9]*$/.test(name) || !KNOWN_TEXTS.has(text.trim())) {
      return { kind: "leave", why: "there is something unknown in its record" };
    }
    if (isAlive) return { kind: "leave", why: `process ${name} uses it` };
  }
  const made = markers.some(({ text }) => text.trim() === "synthetic");
  return { kind: "dead", made };
}

const KNOWN_TEXTS: ReadonlySet<string> = new Set([
  "synthetic",
  "existing",
  "protected-create",
]);
