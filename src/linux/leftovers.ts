/**
 * What dead runs left, of this version, of older ones and of Codex's own releases: found, and removed if asked.
 *
 * Only what is recorded as made by a run, only while it is empty, and only when nobody uses it; nothing is removed recursively. A
 * mount point is locked (flock(2)) while it is judged, so that runs of ours that rely on it are respected.
 *
 * Effects: openat2(2), flock(2), kill(2) with signal 0, unlinkat(2).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { openStateFolder } from "../host/state_folder.ts";
import {
  type AbsPath,
  ancestry,
  childOf,
  nameOf,
  parentOf,
} from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  flock,
  fstat,
  kill,
  lstatAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  openAt,
  openAt2,
  readAll,
  readDirectory,
  readFile,
  unlinkAt,
} from "../sys/calls.ts";
import { reclaimPlaceholders } from "./reclaim.ts";
import {
  judgeMarkers,
  possibleTargets,
  registryName,
} from "./reference_registry.ts";

/** One thing that was left. */
export interface Leftover {
  readonly path: ByteString;
  /** `removable` stands for removed where removing was asked for. */
  readonly state: "removable" | "kept";
  readonly why: string;
}

/** Where to look. */
export interface LeftoverPlaces {
  /** `null`: we have no state folder. */
  readonly codexHome: AbsPath | null;
  readonly euid: number;
  /** Where we are: its parents are looked at too. */
  readonly cwd: AbsPath | null;
  readonly home: AbsPath | null;
  readonly tmpdir: AbsPath | null;
}

const TEXT_LIMIT_BYTES = 256 * 1024;
const ABILITIES = "bwrap-abilities.json";

/** Records, the cache and kept starts while they are written: the name to be, and the writer's pid. */
const UNFINISHED =
  /^(?:\.[0-9a-f]{16}|bwrap-abilities\.json|cut-searches|\d+\.json)\.([1-9][0-9]*)$/;

/** Everything that was left. @param removes `false` only looks */
export function leftovers(
  places: LeftoverPlaces,
  removes: boolean,
): Leftover[] {
  const ours = places.codexHome === null ? [] : [
    ...ourPlaceholders(places.codexHome, places.euid, removes),
    ...staleFiles(places.codexHome, places.euid, removes),
  ];
  const tmp = "/tmp" as AbsPath;
  const folders = places.tmpdir === null || places.tmpdir === tmp
    ? [tmp]
    : [places.tmpdir, tmp];
  return [
    ...ours,
    ...folders.flatMap((folder) => referenceTargets(folder, places, removes)),
  ];
}

function ourPlaceholders(
  codexHome: AbsPath,
  euid: number,
  removes: boolean,
): Leftover[] {
  return reclaimPlaceholders({ codexHome, euid }, {
    dryRun: !removes,
    waits: true,
  }).map(({ path, refused }) => {
    const why = "placeholder of a run that is dead";
    return refused === null
      ? { path, state: "removable", why }
      : kept(path, `${why}, but ${refused}`);
  });
}

/** Files that a writer left when it died, and caches of an earlier boot. */
function staleFiles(
  codexHome: AbsPath,
  euid: number,
  removes: boolean,
): Leftover[] {
  const found: Leftover[] = [];
  for (const folder of ["cache", "placeholders", "starts"]) {
    const fd = openStateFolder(codexHome, [folder], { create: false, euid });
    if (!fd.ok) continue;
    const names = readDirectory(fd.value);
    for (const name of names.ok ? names.value : []) {
      const why = folder === "cache" && name === ABILITIES
        ? (isOfThisBoot(fd.value) ? null : "cache of an earlier boot")
        : unfinished(name);
      if (why === null) continue;
      if (removes && !unlinkAt(fd.value, name, 0).ok) continue;
      const path = `${codexHome}/sandbox/${folder}/${name}` as ByteString;
      found.push({ path, state: "removable", why });
    }
    close(fd.value);
  }
  return found;
}

/** A file is written beside as `NAME.PID` and renamed: one whose writer is dead stays half written for ever. */
function unfinished(name: string): string | null {
  const pid = UNFINISHED.exec(name)?.[1];
  return pid === undefined || isAlive(Number(pid))
    ? null
    : "half written by a run that is dead";
}

function isOfThisBoot(cacheFd: number): boolean {
  const boot = readFile("/proc/sys/kernel/random/boot_id", 64);
  const text = readText(cacheFd, ABILITIES);
  return !boot.ok || text === null || text.includes(boot.value.trim());
}

function isAlive(pid: number): boolean {
  const asked = kill(pid, 0);
  return asked.ok || asked.error.errno !== abi.ESRCH;
}

function readText(folder: number, name: string): ByteString | null {
  const fd = openAt(folder, name, abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK);
  if (!fd.ok) return null;
  const text = readAll(fd.value, TEXT_LIMIT_BYTES);
  close(fd.value);
  return text.ok ? text.value : null;
}

/** The registry of Codex's own releases in one folder for temporary files. */
function referenceTargets(
  tmp: AbsPath,
  places: LeftoverPlaces,
  removes: boolean,
): Leftover[] {
  const { euid, cwd, home, tmpdir } = places;
  const path = childOf(tmp, registryName(euid));
  const registry = openFolder(abi.AT_FDCWD, path);
  if (registry === null) return [];
  try {
    const stat = fstat(registry);
    if (
      !stat.ok || stat.value.uid !== euid || (stat.value.mode & 0o022) !== 0
    ) {
      // In a shared folder anybody can make one of this name: it says nothing about runs of ours.
      return [kept(path, "it doesn't belong to you alone: not looked at")];
    }
    const flags = abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK;
    const lock = openAt(registry, "lock", flags);
    const free = !lock.ok || flock(lock.value, abi.LOCK_EX | abi.LOCK_NB).ok;
    if (!free) {
      if (lock.ok) close(lock.value);
      return [kept(path, "another run uses it: try again")];
    }
    const directories = [
      tmp,
      tmpdir,
      home,
      ...(cwd === null ? [] : ancestry(cwd)),
    ]
      .filter((it) => it !== null);
    const known = possibleTargets([...new Set(directories)]);
    const names = readDirectory(registry);
    const found = (names.ok ? names.value : []).flatMap((name) =>
      /^[0-9a-f]{16}$/.test(name)
        ? oneTarget({ registry, path, name, target: known.get(name) ?? null }, {
          euid,
          removes,
        })
        : []
    );
    if (lock.ok) close(lock.value);
    return found;
  } finally {
    close(registry);
  }
}

function kept(path: ByteString, why: string): Leftover {
  return { path, state: "kept", why };
}

interface Target {
  readonly registry: number;
  /** The registry's. */
  readonly path: AbsPath;
  readonly name: string;
  /** `null`: none of the paths that we know. */
  readonly target: AbsPath | null;
}

function oneTarget(
  { registry, path, name, target }: Target,
  options: { readonly euid: number; readonly removes: boolean },
): Leftover[] {
  const folder = openFolder(registry, name);
  if (folder === null) return [];
  const record = `${path}/${name}` as ByteString;
  const names = readDirectory(folder);
  const markers = (names.ok ? names.value : []).map((marker) => ({
    name: marker,
    text: readText(folder, marker) ?? "",
    isAlive: isAlive(Number(marker)),
  }));
  const verdict = judgeMarkers(markers);
  const end = (found: Leftover[], forget: boolean): Leftover[] => {
    if (forget && options.removes) {
      for (const marker of markers) unlinkAt(folder, marker.name, 0);
      unlinkAt(registry, name, abi.AT_REMOVEDIR);
    }
    close(folder);
    return found;
  };
  if (verdict.kind === "leave") return end([kept(record, verdict.why)], false);
  const dead = { path: record, state: "removable" } as const;
  if (!verdict.made) {
    return end([{ ...dead, why: "record of a codex run that is dead" }], true);
  }
  if (target === null) {
    const why =
      "record of a codex run that is dead, without a path: clean in the directory of that run";
    return end([kept(record, why)], false);
  }
  const removed = removeIfEmpty(target, options);
  switch (removed) {
    case "removed":
      return end([{
        path: target,
        state: "removable",
        why: "mount point of a codex run that is dead",
      }], true);
    case "gone":
      return end(
        [{ ...dead, why: "record of a codex run that is dead" }],
        true,
      );
    default:
      return end([kept(target, removed)], false);
  }
}

/** @returns `removed` also for what only would be, or why it stays */
function removeIfEmpty(
  path: AbsPath,
  { euid, removes }: { readonly euid: number; readonly removes: boolean },
): string {
  const parent = openAt2(
    abi.AT_FDCWD,
    parentOf(path),
    abi.O_RDONLY | O_DIRECTORY,
    abi.RESOLVE_NO_SYMLINKS,
  );
  if (!parent.ok) {
    const { errno } = parent.error;
    return errno === abi.ENOENT || errno === abi.ENOTDIR
      ? "gone"
      : `left by a dead run, but ${abi.errnoText(errno)}`;
  }
  const fd = openAt(
    parent.value,
    nameOf(path),
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,
  );
  try {
    if (!fd.ok) {
      return fd.error.errno === abi.ENOENT
        ? "gone"
        : `left by a dead run, but ${abi.errnoText(fd.error.errno)}`;
    }
    const stat = fstat(fd.value);
    if (!stat.ok || stat.value.uid !== euid) {
      return "left by a dead run, but not yours any more";
    }
    const type = stat.value.mode & abi.S_IFMT;
    const names = type === abi.S_IFDIR ? readDirectory(fd.value) : null;
    const isEmpty = type === abi.S_IFREG
      ? stat.value.sizeBytes === 0
      : names !== null && names.ok && names.value.length === 0;
    if (!isEmpty) return "left by a dead run, but not empty any more";
    if (!flock(fd.value, abi.LOCK_EX | abi.LOCK_NB).ok) {
      return "left by a dead run, but another run uses it";
    }
    const named = lstatAt(parent.value, nameOf(path));
    if (!named.ok || named.value.inode !== stat.value.inode) {
      return "left by a dead run, but replaced while it was looked at";
    }
    if (!removes) return "removed";
    const gone = unlinkAt(
      parent.value,
      nameOf(path),
      type === abi.S_IFDIR ? abi.AT_REMOVEDIR : 0,
    );
    return gone.ok
      ? "removed"
      : `left by a dead run, but ${abi.errnoText(gone.error.errno)}`;
  } finally {
    if (fd.ok) close(fd.value);
    close(parent.value);
  }
}

function openFolder(parent: number, name: string): number | null {
  const fd = openAt(parent, name, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return fd.ok ? fd.value : null;
}
