/**
 * Tells how a run ended, for `--result-json`: one JSON line in a file or to a descriptor of the caller's.
 *
 * Loaded only with that flag. The file is opened before the command starts, so that nothing which happens during the run can lead
 * elsewhere, and only where the command can't write it. Effects: opens, looks at and writes that one file or descriptor.
 *
 * @module
 */
import { isOfRuntime } from "../host/streams.ts";
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import type { ResultTarget } from "../cli/run_limits.ts";
import type { Failure } from "../failure.ts";
import type { PathFacts } from "../policy/facts.ts";
import { firstOwnFd } from "../linux/process_state.ts";
import type { RunEnd } from "../linux/run_events.ts";
import { layoutOf, mountOf } from "../policy/layout.ts";
import { childOf, toAbsPath } from "../policy/path.ts";
import type { Policy } from "../policy/policy.ts";
import { fail, ok, type Result } from "../result.ts";
import {
  recordOfEnd,
  recordOfFailure,
  type RunRecord,
  spellRecord,
} from "./record.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  duplicate,
  fileStatusFlags,
  fstat,
  lstatAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt,
  poll,
  readlink,
  writeAll,
} from "../sys/calls.ts";

const POLLOUT = 4;

/** So long is waited for whoever reads the result. A choice of ours: nothing else is left to do. */
const FULL_TIMEOUT_NS = 10e9;

/** Where the result goes, and how it is told. Each run tells once. */
export interface ResultTeller {
  /** From here on the profile is known. */
  readonly begin: (profile: string) => void;
  /** Opens the file, now that it is known what the command may write. A descriptor is open already. */
  readonly open: (
    policy: Policy,
    facts: PathFacts,
  ) => Result<void, Failure>;
  readonly tellEnd: (end: RunEnd) => void;
  readonly tellFailure: (failure: Failure) => void;
  readonly tellMistake: (message: string) => void;
}

/**
 * @param passFds what the command gets: the result's descriptor must not be among them
 * @param say for what could not be written: the run is over by then, and its status stays
 */
export function resultTeller(
  target: ResultTarget,
  passFds: readonly number[],
  say: (line: string) => void,
): Result<ResultTeller, Failure> {
  const claimed = target.kind === "fd" ? claimFd(target.fd, passFds) : ok(null);
  if (!claimed.ok) return claimed;
  let fd = claimed.value;
  let profile: string | null = null;
  let planned = false;
  let told = false;
  const tell = (record: RunRecord): void => {
    if (told) return;
    told = true;
    if (fd === null && target.kind === "file") {
      const opened = openFile(target.path, null);
      if (!opened.ok) return say(messageOf(opened.error));
      fd = opened.value;
    }
    const line = spellRecord(record, {
      durationMs: performance.now(),
      backend: planned ? "bubblewrap" : null,
      profile,
    });
    // A pipe that the command shares may be full and, by its doing, not wait.
    poll([{ fd: fd ?? -1, events: POLLOUT }], FULL_TIMEOUT_NS);
    const written = writeAll(fd ?? -1, Buffer.from(line, "utf8"));
    if (!written.ok) {
      say(
        `Cannot write the result of --result-json: ${
          abi.errnoText(written.error.errno)
        }`,
      );
    }
  };
  return ok({
    begin: (name) => {
      profile = name;
    },
    open: (policy, facts) => {
      planned = true;
      // Open already: a descriptor, or the file of a plan that was made anew.
      if (target.kind === "fd" || fd !== null) return ok(undefined);
      const opened = openFile(target.path, { policy, facts });
      // What can't be told there is told on stderr alone.
      if (!opened.ok) told = true;
      else fd = opened.value;
      return opened.ok ? ok(undefined) : opened;
    },
    tellEnd: (end) => tell(recordOfEnd(end)),
    tellFailure: (failure) => tell(recordOfFailure(failure)),
    tellMistake: (message) => {
      const nothing = { signal: null, reason: null };
      tell({ ...nothing, kind: "internal", status: 125, message });
    },
  });
}

function refuse(
  what: string,
  why: string,
): { readonly ok: false; readonly error: Failure } {
  return fail({
    kind: "request",
    message: `Cannot write the result to ${what} (--result-json): ${why}`,
  });
}

function messageOf(failure: Failure): string {
  return failure.kind === "request" ? failure.message : failure.kind;
}

/** The caller's descriptor under a number that the command does not get. */
function claimFd(
  fd: number,
  passFds: readonly number[],
): Result<number, Failure> {
  const what = `fd:${fd}`;
  const flags = fileStatusFlags(fd);
  if (!flags.ok || isOfRuntime(fd)) {
    return refuse(what, "the caller has not opened it");
  }
  // One that only names a file has this mode too (O_PATH).
  if ((flags.value & abi.O_ACCMODE) === abi.O_RDONLY) {
    return refuse(what, "it is not open for writing");
  }
  if (passFds.includes(fd)) {
    return refuse(
      what,
      `--pass-fd ${fd} would give it to the command, which could write there too`,
    );
  }
  const moved = duplicate(fd, firstOwnFd());
  if (!moved.ok) return refuse(what, abi.errnoText(moved.error.errno));
  close(fd);
  return moved;
}

/** @param view what the command will see; `null` when no command starts */
function openFile(
  path: ByteString,
  view: { readonly policy: Policy; readonly facts: PathFacts } | null,
): Result<number, Failure> {
  const what = toText(path);
  const slash = path.lastIndexOf("/");
  const name = path.slice(slash + 1);
  const folder = slash === -1 ? "." : path.slice(0, slash + 1);
  if (name === "" || name === "." || name === "..") {
    return refuse(what, "it is a directory; name a file in it");
  }
  const parent = open(folder as ByteString, abi.O_PATH | O_DIRECTORY);
  if (!parent.ok) return refuse(what, abi.errnoText(parent.error.errno));
  const opened = openIn(parent.value, name as ByteString, what, view);
  close(parent.value);
  return opened;
}

function openIn(
  parent: number,
  name: ByteString,
  what: string,
  view: { readonly policy: Policy; readonly facts: PathFacts } | null,
): Result<number, Failure> {
  const folder = readlink(`/proc/self/fd/${parent}` as ByteString);
  const place = folder.ok ? toAbsPath(folder.value) : null;
  if (view !== null) {
    const state = place === null
      ? "writable"
      : mountOf(layoutOf(view.policy, view.facts), childOf(place, name)).state;
    if (state === "writable") {
      return refuse(
        what,
        "the command can write there too; name a file outside of its writable directories, or pass a descriptor, as in --result-json fd:3 3>FILE",
      );
    }
  }
  const there = lstatAt(parent, name);
  if (there.ok) {
    const type = there.value.mode & abi.S_IFMT;
    if (type === abi.S_IFDIR) {
      return refuse(what, "it is a directory; name a file in it");
    }
    if (type === abi.S_IFLNK) return refuse(what, "it is a symbolic link");
    if (type !== abi.S_IFREG) {
      return refuse(what, "it is no regular file; pass a descriptor, as fd:3");
    }
    if (there.value.linkCount > 1) {
      return refuse(
        what,
        "it has another name, which could be writable inside",
      );
    }
  }
  const fd = openAt(
    parent,
    name,
    abi.O_WRONLY | abi.O_CREAT | abi.O_TRUNC | abi.O_NONBLOCK | O_NOFOLLOW,
    0o666,
  );
  if (!fd.ok) return refuse(what, abi.errnoText(fd.error.errno));
  const file = fstat(fd.value);
  if (file.ok && (file.value.mode & abi.S_IFMT) === abi.S_IFREG) {
    const moved = duplicate(fd.value, firstOwnFd());
    close(fd.value);
    return moved.ok ? moved : refuse(what, abi.errnoText(moved.error.errno));
  }
  close(fd.value);
  return refuse(what, "it is no regular file; pass a descriptor, as fd:3");
}
