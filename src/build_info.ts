/**
 * What the build baked in: our version, and the version and digest of the bundled bubblewrap.
 *
 * Pure constants, replaced by `--define` in `scripts/build.ts`. Run from source there is no digest, so nothing can vouch for a
 * bundled bwrap and it is not used.
 *
 * @module
 */

declare const BUILD_CODEX_VERSION: string | undefined;
declare const BUILD_BWRAP_VERSION: string | undefined;
declare const BUILD_BWRAP_SHA256: string | undefined;
declare const BUILD_BWRAP_BYTES: string | undefined;

/** Our own version, from `package.json`. */
export const CODEX_VERSION: string = typeof BUILD_CODEX_VERSION === "string"
  ? BUILD_CODEX_VERSION
  : "0.0.0-source";

/** The bundled bubblewrap's version, or `null` when none is bundled. */
export const BWRAP_VERSION: string | null =
  typeof BUILD_BWRAP_VERSION === "string" ? BUILD_BWRAP_VERSION : null;

/** SHA-256 of the bundled bubblewrap in lower-case hex, or `null`: then the bundled one must not be used. */
export const BWRAP_SHA256: string | null =
  typeof BUILD_BWRAP_SHA256 === "string" ? BUILD_BWRAP_SHA256 : null;

/** Size of the bundled bubblewrap in bytes, 0 when none is bundled. */
export const BWRAP_BYTES: number = typeof BUILD_BWRAP_BYTES === "string"
  ? Number(BUILD_BWRAP_BYTES)
  : 0;
