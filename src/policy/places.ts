/**
 * Places that enforcement knows by name: `:minimal`'s directories, and those that every plan makes afresh.
 *
 * Pure: names, and where a path leads according to the facts.
 *
 * @module
 */
import { factOf, follow, type PathFacts, type PathKind } from "./facts.ts";
import { type AbsPath, ancestry, isInside } from "./path.ts";

/** What `:minimal` makes readable where it exists (0.145). */
export const PLATFORM_DIRECTORIES = [
  "/bin",
  "/sbin",
  "/usr",
  "/etc",
  "/lib",
  "/lib64",
  "/nix/store",
  "/run/current-system/sw",
] as readonly string[] as readonly AbsPath[];

export const TMP = "/tmp" as AbsPath;
export const PROC = "/proc" as AbsPath;
export const DEV = "/dev" as AbsPath;
export const DEV_SHM = "/dev/shm" as AbsPath;
export const SYS = "/sys" as AbsPath;

/** What `bwrap --dev` puts into the fresh `/dev`: the only names there. */
export const DEVICE_NAMES: readonly string[] = [
  "null",
  "zero",
  "full",
  "random",
  "urandom",
  "tty",
  "console",
  "pts",
  "ptmx",
  "shm",
  "fd",
  "core",
  "stdin",
  "stdout",
  "stderr",
];

/** Whether `path` lies in the fresh `/dev` or `/proc`, where nothing of the host's is seen but what an entry brings in. */
export function isMadeFresh(path: AbsPath): boolean {
  return isInside(path, { root: PROC }) || isInside(path, { root: DEV });
}

/** Where a spelled path leads. */
export interface Place {
  /** Canonical as far as it exists. */
  readonly path: AbsPath;
  readonly node: "directory" | "file" | "missing";
  readonly kind: PathKind;
  /** Links crossed, each with a canonical parent, outermost first. */
  readonly links: readonly AbsPath[];
  /** For `missing`: the first component that isn't there. Otherwise `path`. */
  readonly firstMissing: AbsPath;
  /** For `missing`: what stands in the way, when it isn't plain absence. */
  readonly obstacle: "unreadable" | "not_a_directory" | null;
}

/** Where `path` leads, `null` when its links loop. */
export function placeOf(facts: PathFacts, path: AbsPath): Place | null {
  const led = follow(facts, path);
  if (led === null) return null;
  const { resolved, links } = led;
  if (led.exists) {
    const kind = factOf(facts, resolved).kind;
    const node = kind === "directory" ? "directory" : "file";
    const firstMissing = resolved;
    return { path: resolved, node, kind, links, firstMissing, obstacle: null };
  }
  for (const part of ancestry(resolved)) {
    const kind = factOf(facts, part).kind;
    if (kind === "directory") continue;
    const obstacle = kind === "missing"
      ? null
      : kind === "unreadable"
      ? "unreadable"
      : "not_a_directory";
    const base = { path: resolved, node: "missing", links } as const;
    return { ...base, kind: "missing", firstMissing: part, obstacle };
  }
  throw new Error(`${resolved} both exists and doesn't`);
}
