/**
 * How a file that the caller opened for reading is kept from being written through its descriptor.
 *
 * Two cures. A Landlock rule leaves the stream as it is, and knows only places that may be written: it can't take one out of another.
 * Opening the file anew on a read-only mount works on every kernel and for every file that has a name, but the stream then has an
 * offset of its own: what the command has read, the caller reads again.
 *
 * Pure.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { type AbsPath, childOf } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import { LANDLOCK_VERSION } from "./landlock.ts";
import type { OwnBind } from "./mounts.ts";

/** A stream that needs a cure. */
export interface ExposedStream {
  readonly fd: number;
  /** Where the file lies, canonical; `null` when it has no name any more. */
  readonly path: AbsPath | null;
  /** It lies below a writable place. */
  readonly isBelowWritable: boolean;
  /** A character device: a read-only mount is no hindrance to writing it. */
  readonly isDevice: boolean;
}

/** A stream that the inner stage opens anew. */
export interface ReboundStream {
  readonly fd: number;
  /** Where the file is mounted read-only inside. */
  readonly place: AbsPath;
}

export interface StreamCures {
  /** Held by a Landlock rule. */
  readonly guarded: readonly number[];
  readonly rebound: readonly ReboundStream[];
}

export const NO_CURES: StreamCures = { guarded: [], rebound: [] };

/** Why a stream can't be passed. */
export interface StreamRefusal {
  readonly fd: number;
  readonly why: string;
}

/** @param landlock the kernel's version, 0 without it */
export function curesOf(
  streams: readonly ExposedStream[],
  landlock: number,
): Result<StreamCures, StreamRefusal> {
  const guarded: number[] = [];
  const rebound: ReboundStream[] = [];
  for (const { fd, path, isBelowWritable, isDevice } of streams) {
    if (landlock >= LANDLOCK_VERSION && !isBelowWritable) guarded.push(fd);
    else if (isDevice) return fail({ fd, why: DEVICE });
    else if (path !== null) rebound.push({ fd, place: placeOf(fd) });
    else return fail({ fd, why: whyNot(landlock) });
  }
  return ok({ guarded, rebound });
}

const DEVICE =
  `it is a device, and only Landlock ${LANDLOCK_VERSION} (Linux 6.2) keeps such a one from being opened for writing, outside of what the command may write`;

function whyNot(landlock: number): string {
  return `its file has no name any more, and only Landlock ${LANDLOCK_VERSION} (Linux 6.2) keeps such a one from being opened for writing: this kernel has ${
    landlock === 0 ? "none" : `version ${landlock}`
  }`;
}

/** The `/dev` of every plan is a tmpfs of its own. */
function placeOf(fd: number): AbsPath {
  return childOf("/dev" as AbsPath, `codex-stream-${fd}`);
}

/** For the reason of a stage, or a message. */
export function describeRebound({ fd, place }: ReboundStream): string {
  return `descriptor ${fd} is a file opened for reading: it is opened anew as ${
    toText(place)
  }, which is mounted read-only`;
}

/** The read-only mount of such a stream's file. */
export function rebindOf({ fd, place }: ReboundStream): OwnBind {
  const source = `/proc/self/fd/${fd}` as AbsPath;
  return { what: "stream", source, path: place };
}

/** The sandbox's first process has the caller's stream: only a fresh `/proc` covers it. */
export function streamNeedsProc({ fd }: ReboundStream): string {
  return `Cannot pass a file opened for reading as descriptor ${fd}: without a fresh /proc it could be opened for writing through the sandbox's first process; pipe it in, as in "cat FILE | codex sandbox ..."`;
}
