/**
 * What every call needs: the machine's numbers, a path as the kernel reads it, an outcome as a value.
 *
 * @module
 */
import { fail, ok, type Result } from "../result.ts";
import * as abi from "./abi.ts";
import { stableBytes } from "./ffi.ts";
import { writeLatin1 } from "./latin1.ts";

/** A system call that failed: its name with what it was asked, and errno as a positive number. */
export interface SysError {
  readonly kind: "sys";
  readonly call: string;
  readonly errno: number;
}

/** The running architecture. @throws {Error} on one that we have no numbers for; the build offers none such */
export function hostArch(): abi.Arch {
  const arch = process.arch;
  if (arch === "x64" || arch === "arm64") return arch;
  throw new Error(`Cannot run on ${arch}: x86-64 and arm64 are supported`);
}

export const ARCH: abi.Arch = process.arch === "arm64" ? "arm64" : "x64";
export const SYS = abi.SYSCALLS[ARCH];

/** NUL-terminated bytes of a byte string, for the kernel. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const bytes = stableBytes(text.length + 1);
  writeLatin1(text, bytes);
  return bytes;
}

/** Where one path at a time is spelled for the kernel: paths are at most PATH_MAX (4,096 bytes) long, the NUL included. */
const PATH_BYTES = 4096;
let pathScratch: Uint8Array<ArrayBuffer> | undefined;

/**
 * A path for one call, valid until the next: a buffer of its own for each would cost more than the call.
 *
 * A path that is too long gets a buffer of its own, and the kernel's ENAMETOOLONG.
 */
export function pathArgument(path: string): Uint8Array<ArrayBuffer> {
  if (path.length >= PATH_BYTES) return cString(path);
  pathScratch ??= stableBytes(PATH_BYTES);
  writeLatin1(path, pathScratch);
  return pathScratch;
}

/** A call's result as a value: what it gave, or why it failed. @param result minus errno where it failed */
export function outcome(
  call: string,
  result: number,
): Result<number, SysError> {
  return result < 0 ? failed(call, result) : ok(result);
}

/** A failed call. @param result minus errno */
export function failed(
  call: string,
  result: number,
): { readonly ok: false; readonly error: SysError } {
  return fail({ kind: "sys", call, errno: -result });
}
