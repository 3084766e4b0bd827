/**
 * What another uid changes: asking as the user of `--user`, and root's rights, which end where its capabilities do.
 *
 * Effects: takes on that user's identity, and asks what it may.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { type Failure, launchFailure } from "../failure.ts";
import type { PathFacts } from "../policy/facts.ts";
import { ownExecutable } from "../linux/own_files.ts";
import type { Draft } from "../linux/draft.ts";
import type { MountPoint } from "../policy/decision.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import { accessExecutable, close, open, type SysError } from "../sys/calls.ts";
import type { Identity } from "../sys/identity.ts";
import { type RunRequest } from "./request.ts";

/** Does `work` as `user`, where one was named. */
export function withRightsOf<T>(
  user: Identity | null,
  work: () => Result<T, Failure>,
): Result<T, Failure> {
  if (user === null) return work();
  const done = identity().asUser(user, work);
  return done.ok ? done.value : cannotBecome(user, done.error);
}

function cannotBecome(
  user: Identity,
  error: SysError,
): { readonly ok: false; readonly error: Failure } {
  return launchFailure(
    `Cannot become uid ${user.uid}, gid ${user.gid} (--user): ${error.call} says ${
      abi.errnoText(error.errno)
    }`,
  );
}

/** Becomes `user` for good, before a command without a sandbox. */
export function becomeForGood(user: Identity): Result<void, Failure> {
  const become = identity().becomeUser(user);
  return become.ok ? ok(undefined) : cannotBecome(user, become.error);
}

/** What root can use and `--user` can't, although the run needs it. Asked with that user's rights. */
export function outOfReach(
  { policy, euid, backend }: RunRequest,
  { stage }: Draft,
): { readonly ok: false; readonly error: Failure } | null {
  const there = accessExecutable(policy.cwd);
  if (!there.ok) {
    return launchFailure(
      `Cannot run in ${toText(policy.cwd)} as uid ${euid} (--user): ${
        abi.errnoText(there.error.errno)
      }`,
    );
  }
  const isNeeded = stage.kind !== "one_start" && backend !== "landlock";
  const own = isNeeded ? ownExecutable() : null;
  if (own === null) return null;
  const readable = open(own, abi.O_RDONLY);
  if (readable.ok) close(readable.value);
  return readable.ok && accessExecutable(own).ok ? null : launchFailure(
    `Cannot run as uid ${euid} (--user): that user can't read and execute ${
      toText(own)
    }, which is started inside the sandbox (${stage.reason}); put it where everybody can, as in /usr/local/bin`,
  );
}

/**
 * Why a run as uid 0 could not work: without capabilities root is one user among others. `null` when nothing stands in the way.
 *
 * Owner and mode come from the facts; only where they say no is the kernel asked, which knows access lists and groups as well.
 */
export function unusableRoot(
  roots: readonly MountPoint[],
  facts: PathFacts,
): string | null {
  for (const { path, node } of roots) {
    const fact = facts.paths.get(path);
    // What root owns it can open up; what everybody may write it may write too.
    if (fact === undefined || fact.uid === 0) continue;
    const isDirectory = fact.kind === "directory";
    const needed = isDirectory ? 0o003 : 0o002;
    if ((fact.mode & needed) === needed) continue;
    if (node === "missing" || (!isDirectory && fact.kind !== "file")) continue;
    const kind = isDirectory ? "directory" : "file";
    if (identity().canWriteWithoutCapabilities(path, kind)) continue;
    return `Cannot write ${
      toText(path)
    } as root, which has no capability in the sandbox: workspace belongs to uid ${fact.uid}: run as that user, or --user ${fact.uid}`;
  }
  return null;
}

/** Loaded only with `--user`, or where root meets another's files: a start without either doesn't pay for it. */
function identity(): typeof import("../sys/identity.ts") {
  return require("../sys/identity.ts");
}
