/**
 * Descriptors that the command gets: which can't be passed on, and what keeps files opened for reading from being written.
 *
 * Effects: asks the kernel about our descriptors.
 *
 * @module
 */
import { type Failure, launchFailure } from "../failure.ts";
import { isOfRuntime, liesBelow, readOnlyStreams } from "../host/streams.ts";
import {
  curesOf,
  type ExposedStream,
  NO_CURES,
  type StreamCures,
  type StreamRefusal,
} from "../linux/stream_cures.ts";
import { type Layout, mountOf, writableRoots } from "../policy/layout.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { fileStatusFlags, fstat, landlockVersion } from "../sys/calls.ts";
import { type RunRequest } from "./request.ts";

/** Standard streams that would be ways out, and descriptors that aren't there. */
export function checkDescriptors(request: RunRequest): Result<void, Failure> {
  const refuse = (message: string): Result<void, Failure> =>
    fail({ kind: "launch", error: { kind: "launch", message } });
  for (const fd of [0, 1, 2]) {
    const what = wayOut(fd);
    if (what !== null) {
      return refuse(
        `Cannot pass ${what} as descriptor ${fd}: it would open the host's files to the command; redirect it`,
      );
    }
  }
  for (const fd of request.passFds) {
    const open = fileStatusFlags(fd);
    if (!open.ok || isOfRuntime(fd)) {
      return refuse(
        `Cannot pass descriptor ${fd} of --pass-fd: the caller has not opened it; open it first, as in ${fd}<FILE`,
      );
    }
    const what = wayOut(fd);
    if (what !== null) {
      return refuse(
        `Cannot pass descriptor ${fd} of --pass-fd: it is ${what}, which would open the host's files to the command; pass a file, a pipe or a socket`,
      );
    }
  }
  return ok(undefined);
}

/** What a descriptor is that would open the host's files; `null` for anything else, a closed one included. */
function wayOut(fd: number): string | null {
  const stat = fstat(fd);
  if (!stat.ok) return null;
  const type = stat.value.mode & abi.S_IFMT;
  if (type === abi.S_IFDIR) return "a directory";
  return type === abi.S_IFBLK ? "a block device" : null;
}

/** What keeps files that were opened for reading from being written, or why nothing can: never without it. */
export function cureStreams(
  request: RunRequest,
  layout: Layout,
): Result<StreamCures, Failure> {
  const fds = [0, 1, 2, ...request.passFds];
  const streams = readOnlyStreams(fds, request.euid);
  if (streams.length === 0) return ok(NO_CURES);
  const writable = writableRoots(layout).map(({ path }) => path);
  const exposed = streams.flatMap((stream): ExposedStream[] => {
    const { path } = stream;
    if (path === null) return [{ ...stream, isBelowWritable: false }];
    if (mountOf(layout, path).state === "writable") return [];
    return [{ ...stream, isBelowWritable: liesBelow(path, writable) }];
  });
  if (exposed.length === 0) return ok(NO_CURES);
  const version = landlockVersion();
  const cures = curesOf(exposed, version.ok ? version.value : 0);
  return cures.ok ? cures : cannotPass(cures.error);
}

/** A stream without a cure. */
export function cannotPass(
  { fd, why }: StreamRefusal,
): { readonly ok: false; readonly error: Failure } {
  return launchFailure(
    `Cannot pass a file opened for reading as descriptor ${fd}: ${why}; pipe it in, as in "cat FILE | codex sandbox ..."`,
  );
}
