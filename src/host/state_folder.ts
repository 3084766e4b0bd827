/**
 * `$CODEX_HOME/sandbox`: where caches, placeholder records and locks are kept. Mode 0700, ours, never visible inside a sandbox.
 *
 * Effects: mkdir(2), open(2). A folder that isn't ours alone is not used: another user could plant records in it.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, childOf, nameOf, parentOf } from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  fstat,
  getpid,
  mkdirAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  open,
  openAt,
  renameAt,
  type SysError,
  unlinkAt,
  writeAll,
} from "../sys/calls.ts";

/** Name of the state folder in `$CODEX_HOME`. */
const STATE_FOLDER_NAME = "sandbox";

/** Where the state folder lies, and whose it is. */
export interface StateHome {
  readonly codexHome: AbsPath;
  readonly euid: number;
}

/** The state folder of a `$CODEX_HOME`. */
export function stateFolderOf(codexHome: AbsPath): AbsPath {
  return childOf(codexHome, STATE_FOLDER_NAME);
}

/** Why a state folder can't be used. */
export interface StateError {
  readonly kind: "state";
  /** The folder of them that is in the way. */
  readonly path: AbsPath;
  readonly why: string;
  /** Nothing lies there. */
  readonly isMissing: boolean;
}

/**
 * Opens a folder of ours below `$CODEX_HOME`, made with its parents when `create` is set.
 *
 * @returns a directory descriptor
 */
export function openStateFolder(
  codexHome: AbsPath,
  names: readonly string[],
  options: { readonly create: boolean; readonly euid: number },
): Result<number, StateError> {
  const home = openHome(codexHome, options.create);
  if (!home.ok) return unusable(codexHome, home.error);
  let at = home.value;
  let path = codexHome;
  for (const name of [STATE_FOLDER_NAME, ...names]) {
    path = childOf(path, name);
    if (options.create) {
      const made = mkdirAt(at, name, 0o700);
      if (!made.ok && made.error.errno !== abi.EEXIST) {
        close(at);
        return unusable(path, made.error);
      }
    }
    const next = openAt(at, name, abi.O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    close(at);
    if (!next.ok) return unusable(path, next.error);
    const stat = fstat(next.value);
    if (
      !stat.ok || stat.value.uid !== options.euid ||
      (stat.value.mode & 0o077) !== 0
    ) {
      close(next.value);
      return fail({
        kind: "state",
        path,
        why: "it must belong to you and be closed to others (mode 700)",
        isMissing: false,
      });
    }
    at = next.value;
  }
  return ok(at);
}

function unusable(
  path: AbsPath,
  { errno }: SysError,
): { readonly ok: false; readonly error: StateError } {
  const why = `${
    abi.errnoText(errno)
  }; it must be a folder of yours, or one that you can make: set CODEX_HOME to such a place`;
  return fail({
    kind: "state",
    path,
    why,
    isMissing: errno === abi.ENOENT,
  });
}

function openHome(
  codexHome: AbsPath,
  create: boolean,
): Result<number, SysError> {
  const flags = abi.O_RDONLY | O_DIRECTORY;
  const there = open(codexHome, flags);
  if (there.ok || !create || there.error.errno !== abi.ENOENT) return there;
  // Only the last component: a home that doesn't exist isn't ours to make.
  const above = open(parentOf(codexHome), flags);
  if (!above.ok) return above;
  const made = mkdirAt(above.value, nameOf(codexHome), 0o700);
  close(above.value);
  if (!made.ok && made.error.errno !== abi.EEXIST) return made;
  return open(codexHome as ByteString, flags);
}

/** Gives an open folder of ours a file: written beside first, then renamed, so that a reader meets a whole one or none. */
export function replaceFile(
  folder: number,
  name: string,
  text: string,
): void {
  const beside = `${name}.${getpid()}`;
  const fd = openAt(
    folder,
    beside,
    abi.O_WRONLY | abi.O_CREAT | abi.O_EXCL | O_NOFOLLOW,
    0o600,
  );
  if (!fd.ok) return;
  const written = writeAll(fd.value, Buffer.from(text, "latin1"));
  close(fd.value);
  const renamed = written.ok && renameAt(folder, beside, name).ok;
  if (!renamed) unlinkAt(folder, beside, 0);
}
