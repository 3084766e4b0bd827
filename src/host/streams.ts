/**
 * Which streams of the caller could be opened again for writing although the policy forbids it.
 *
 * Effects: fstat(2), fcntl(2), readlink(2) and stat(2); nothing is opened, read or moved.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, ancestry, toAbsPath } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import {
  fileStatusFlags,
  fstat,
  isHarmlessDevice,
  isTerminal,
  readlink,
  stat,
} from "../sys/calls.ts";

/** A stream that the caller opened for reading only, on a file that the command's user could write. */
export interface ReadOnlyStream {
  readonly fd: number;
  /** Where the file lies, canonical; `null` when it has no name any more. */
  readonly path: AbsPath | null;
  /** A character device that may take orders: neither a terminal nor `/dev/null` and its kin. */
  readonly isDevice: boolean;
}

/** Those of `fds` that are regular files or devices, opened for reading only, and writable to `euid` by owner or mode. */
export function readOnlyStreams(
  fds: readonly number[],
  euid: number,
): ReadOnlyStream[] {
  return fds.flatMap((fd): ReadOnlyStream[] => {
    const file = fstat(fd);
    if (!file.ok) return [];
    const type = file.value.mode & abi.S_IFMT;
    const isDevice = type === abi.S_IFCHR;
    if (!isDevice && type !== abi.S_IFREG) return [];
    const flags = fileStatusFlags(fd);
    if (!flags.ok || (flags.value & abi.O_ACCMODE) !== abi.O_RDONLY) return [];
    // An owner can give himself the right; the group's bits are also the mask of an access list.
    const mayWrite = file.value.uid === euid || (file.value.mode & 0o022) !== 0;
    if (!mayWrite) return [];
    if (isDevice && (isHarmlessDevice(fd) || isTerminal(fd))) return [];
    const target = readlink(`/proc/self/fd/${fd}` as ByteString);
    // A memfd lies on no mount of anyone's: Landlock has no say there, and the file is the caller's and nobody else's.
    if (target.ok && target.value.startsWith("/memfd:")) return [];
    const named = target.ok ? stat(target.value) : target;
    const same = named.ok && named.value.inode === file.value.inode &&
      named.value.device === file.value.device;
    const path = target.ok && same ? toAbsPath(target.value) : null;
    return [{ fd, path, isDevice }];
  });
}

/** Whether `path` lies below one of `places` under any name: by the inodes of the directories above it, for that is how Landlock goes. */
export function liesBelow(path: AbsPath, places: readonly AbsPath[]): boolean {
  const identities = new Set(places.flatMap(identityOf));
  return ancestry(path).some((above) =>
    identityOf(above).some((identity) => identities.has(identity))
  );
}

function identityOf(path: AbsPath): string[] {
  const found = stat(path);
  return found.ok ? [`${found.value.device}:${found.value.inode}`] : [];
}

/**
 * Whether the runtime opened the descriptor: at its start it makes an event queue and an event counter and nothing that stays open
 * besides. It marks everything from 4 up close-on-exec, so that flag tells nothing. A caller's own counter is refused with them.
 */
export function isOfRuntime(fd: number): boolean {
  const target = readlink(`/proc/self/fd/${fd}` as ByteString);
  return !target.ok || target.value === "anon_inode:[eventpoll]" ||
    target.value === "anon_inode:[eventfd]";
}
