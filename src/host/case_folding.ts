/**
 * Finds file systems that ignore case without the kernel's knowing: those that a program or another machine serves.
 *
 * Looked at by what they do: a name with its case turned round that leads to the same inode.
 *
 * Effects: statfs(2), lstat(2), getdents64(2).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, childOf, nameOf, parentOf } from "../policy/path.ts";
import { placeOf } from "../policy/places.ts";
import type { Policy } from "../policy/policy.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  fileSystemType,
  lstat,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  visitDirectory,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { factOf, type PathFacts } from "../policy/facts.ts";

/** `linux/magic.h` and the file systems' own sources: FUSE and virtiofs, 9p, CIFS, SMB, SMB 2, NFS, vboxsf, vmhgfs, prl_fs. */
const SERVED = new Set([
  0x65735546,
  0x01021997,
  0xff534d42,
  0x0000517b,
  0xfe534d42,
  0x00006969,
  0x786f4256,
  0xbacbacbc,
  0x7c7c6673,
]);

/**
 * The devices of what `policy` names on which names ignore case; `facts` know those places.
 *
 * @param typeOf the kind of file system at a place, by its magic number
 */
export function foldingDevices(
  policy: Policy,
  facts: PathFacts,
  typeOf: typeof fileSystemType = fileSystemType,
): ReadonlySet<number> {
  const folding = new Set<number>();
  // The root's own file system is what the machine was started from.
  const seen = new Set([facts.paths.get("/" as AbsPath)?.device ?? 0]);
  const named = [
    policy.cwd,
    ...policy.grants.map(({ path }) => path),
    ...policy.globs.map(({ prefix }) => prefix),
  ];
  for (const spelled of named) {
    const place = placeOf(facts, spelled);
    if (place === null || place.node === "missing") continue;
    const { device } = factOf(facts, place.path);
    if (seen.has(device)) continue;
    seen.add(device);
    const type = typeOf(place.path);
    if (!type.ok || !SERVED.has(type.value)) continue;
    if (foldsCase(place.path, place.node === "directory")) folding.add(device);
  }
  return folding;
}

/** Whether a name at or in `path` is found with its case turned round. */
export function foldsCase(path: AbsPath, isDirectory: boolean): boolean {
  return isFoundTurned(path) || (isDirectory &&
    namesIn(path).some((name) => isFoundTurned(childOf(path, name))));
}

function isFoundTurned(path: AbsPath): boolean {
  const turned = turnCase(nameOf(path));
  if (turned === nameOf(path)) return false;
  const one = lstat(path);
  const other = lstat(childOf(parentOf(path), turned));
  return one.ok && other.ok && one.value.inode === other.value.inode &&
    one.value.device === other.value.device;
}

/** One name suffices, if it has letters; those without are not counted. */
const MAX_NAMES = 8;

/** So many names without letters are looked at, and it takes less than a millisecond. */
const MAX_ENTRIES = 10_000;

function namesIn(directory: AbsPath): readonly ByteString[] {
  const fd = open(directory, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd.ok) return [];
  const names: ByteString[] = [];
  const buffer = stableBytes(4_096);
  visitDirectory(fd.value, buffer, (start, end) => {
    const name = Buffer.from(buffer.buffer)
      .toString("latin1", start, end) as ByteString;
    if (turnCase(name) !== name) names.push(name);
  }, (entries) => names.length >= MAX_NAMES || entries >= MAX_ENTRIES);
  close(fd.value);
  return names;
}

/** ASCII letters only: whoever folds case folds these. */
export function turnCase(name: ByteString): ByteString {
  return name.replaceAll(
    /[a-zA-Z]/g,
    (letter) => String.fromCharCode(letter.charCodeAt(0) ^ 0x20),
  ) as ByteString;
}
