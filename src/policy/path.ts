/**
 * Absolute paths as bytes, and the questions asked of them.
 *
 * Pure and lexical: "exists" and "is a symbolic link" are facts of the host, not of a path.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";

declare const brand: unique symbol;

/**
 * An absolute, normalised path as a byte string: starts with `/`, no `.`, `..`, `//`, NUL, and no trailing `/` except the root.
 *
 * Only lexical truth: nothing is said about the host.
 */
export type AbsPath = ByteString & { readonly [brand]: "AbsPath" };

/** The root directory. */
export const ROOT = "/" as AbsPath;

/**
 * The path that `path` spells, lexically normalised (`.`, `..`, `//` and a trailing `/` folded, no link resolved), or `null` when
 * it is not absolute or holds a NUL.
 */
export function toAbsPath(path: string): AbsPath | null {
  if (!path.startsWith("/") || path.includes("\0")) return null;
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") kept.pop();
    else kept.push(part);
  }
  return `/${kept.join("/")}` as AbsPath;
}

/** {@linkcode toAbsPath} for paths known to be absolute: literals of ours and of tests. @throws {TypeError} otherwise */
export function abs(path: string): AbsPath {
  const result = toAbsPath(path);
  if (result === null) {
    throw new TypeError(`Cannot use "${path}" as a path: it must be absolute`);
  }
  return result;
}

/** `relative` below `base`, normalised; an absolute `relative` stands alone. `null` when it holds a NUL. */
export function resolvePath(base: AbsPath, relative: string): AbsPath | null {
  return toAbsPath(relative.startsWith("/") ? relative : `${base}/${relative}`);
}

/** Whether `path` is `root` or below it, by whole components: `/work-evil` is not in `/work`. */
export function isInside(
  path: AbsPath,
  { root }: { readonly root: AbsPath },
): boolean {
  if (path === root || root === "/") return true;
  return path.startsWith(root) && path.charCodeAt(root.length) === 0x2f;
}

/** The directory above, the root for the root. */
export function parentOf(path: AbsPath): AbsPath {
  const slash = path.lastIndexOf("/");
  return (slash <= 0 ? "/" : path.slice(0, slash)) as AbsPath;
}

/** The last component, empty for the root. */
export function nameOf(path: AbsPath): ByteString {
  return path.slice(path.lastIndexOf("/") + 1) as ByteString;
}

/** `name` (one component, no `/`, not `.` or `..`) inside `directory`. */
export function childOf(directory: AbsPath, name: string): AbsPath {
  return (directory === "/" ? `/${name}` : `${directory}/${name}`) as AbsPath;
}

/** Number of components below the root: 0 for `/`, 2 for `/a/b`. */
export function depthOf(path: AbsPath): number {
  if (path === "/") return 0;
  let depth = 0;
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
    depth++;
  }
  return depth;
}

/** All ancestors from the root down to and including `path`. */
export function ancestry(path: AbsPath): AbsPath[] {
  const chain: AbsPath[] = [ROOT];
  if (path === "/") return chain;
  for (
    let at = path.indexOf("/", 1);
    at !== -1;
    at = path.indexOf("/", at + 1)
  ) chain.push(path.slice(0, at) as AbsPath);
  chain.push(path);
  return chain;
}
