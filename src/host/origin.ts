/**
 * What the caller handed over: words, environment, working directory, ids. Read once, passed on as data.
 *
 * Effects: reads `/proc/self`, `getcwd(2)` and ids. `process.argv` and `process.env` are never used: both are decoded as UTF-8, and
 * the sealed runtime has an empty environment on purpose.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { toText } from "../bytes.ts";
import { type AbsPath, toAbsPath } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import { EACCES, EMFILE, errnoText } from "../sys/abi.ts";
import { getcwd, ids, readFile } from "../sys/calls.ts";
import { isObserving, observe } from "../sys/observed.ts";

/** Longest command line or environment that is read, in bytes; the kernel's own limit is a quarter of the stack limit. */
const TEXT_LIMIT_BYTES = 64 * 1024 * 1024;

/** The caller's words and surroundings. */
export interface Origin {
  /** Everything after argv[0]. */
  readonly words: readonly ByteString[];
  /** Environment entries as they are, also duplicates and entries without `=`. */
  readonly environment: readonly ByteString[];
  /** Canonical working directory, `null` when it was removed or is unreachable from our root. */
  readonly cwd: AbsPath | null;
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly egid: number;
}

/** Why the surroundings can't be read. `message` is one line. */
export interface OriginError {
  readonly kind: "origin";
  readonly message: string;
}

/** Reads argv, or says that `/proc` is missing. */
export function readWords(): Result<readonly ByteString[], OriginError> {
  return readList("/proc/self/cmdline");
}

/** Reads the rest of the surroundings. @param argv from {@linkcode readWords} */
export function readOrigin(
  argv: readonly ByteString[],
): Result<Origin, OriginError> {
  const own = ids();
  if (own.uid !== own.euid || own.gid !== own.egid) {
    // Everything that the caller hands over would be obeyed with rights that are not his.
    return fail({
      kind: "origin",
      message:
        `Cannot run setuid or setgid (uid ${own.uid}, effective ${own.euid}; gid ${own.gid}, effective ${own.egid}): take the bit off with "chmod ug-s"`,
    });
  }
  const environment = readList("/proc/self/environ");
  if (!environment.ok) return environment;
  const cwd = getcwd();
  return ok({
    words: argv.slice(1),
    environment: environment.value,
    cwd: cwd.ok ? toAbsPath(cwd.value) : null,
    uid: own.uid,
    euid: own.euid,
    gid: own.gid,
    egid: own.egid,
  });
}

function readList(path: string): Result<readonly ByteString[], OriginError> {
  const text = readFile(path, TEXT_LIMIT_BYTES);
  if (!text.ok) {
    const why = errnoText(text.error.errno);
    if (text.error.errno === EACCES) {
      // The kernel hides the process of a file that its user can't read, from the process itself too.
      return fail({
        kind: "origin",
        message:
          `Cannot read ${path} (${why}): the executable must be readable to you, try "chmod a+r" on it`,
      });
    }
    // A limit of the caller's is named by the errno itself.
    const cure = text.error.errno === EMFILE
      ? ""
      : ': the sandbox needs /proc mounted, try "mount -t proc proc /proc"';
    return fail({
      kind: "origin",
      message: `Cannot read ${path} (${why})${cure}`,
    });
  }
  if (text.value === "") return ok([]);
  const list = text.value.split("\0");
  // The last entry ends with a NUL too, so split leaves an empty string behind it.
  if (list[list.length - 1] === "") list.pop();
  return ok(list as ByteString[]);
}

/** What is observed of a variable that is not set: no value holds a NUL. */
export const NOT_SET = "\0";

/** The first value of a variable, as getenv(3) finds it; `null` when it is not set. */
export function variable(
  environment: readonly ByteString[],
  name: string,
): ByteString | null {
  const prefix = `${name}=`;
  let value: string | null = null;
  for (const entry of environment) {
    if (!entry.startsWith(prefix)) continue;
    value = entry.slice(prefix.length);
    break;
  }
  if (isObserving()) observe("variable", name, value ?? NOT_SET);
  return value as ByteString | null;
}

/** Where the user's home is: `$HOME`, else the passwd entry of `uid`. */
export function homeOf(
  environment: readonly ByteString[],
  uid: number,
): AbsPath | null {
  const set = variable(environment, "HOME");
  if (set !== null && set !== "") return toAbsPath(set);
  const home = passwdEntry(uid)?.[5];
  return home === undefined ? null : toAbsPath(home);
}

/** The group that `/etc/passwd` gives a user, `null` for one that is not in it. */
export function primaryGroup(uid: number): number | null {
  const gid = passwdEntry(uid)?.[3];
  return gid === undefined || !/^\d{1,10}$/.test(gid) ? null : Number(gid);
}

/** The fields of passwd(5) of `uid`. */
function passwdEntry(uid: number): readonly string[] | null {
  const passwd = readFile("/etc/passwd", 4 * 1024 * 1024);
  if (!passwd.ok) return null;
  for (const line of passwd.value.split("\n")) {
    const fields = line.split(":");
    if (fields[2] === String(uid) && fields[5] !== undefined) return fields;
  }
  return null;
}

/** A path of the caller for a message. */
export function shown(path: ByteString): string {
  return `"${toText(path)}"`;
}
