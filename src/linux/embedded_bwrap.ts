/**
 * The bubblewrap that the build embedded into this executable, as bytes.
 *
 * An effect file: it reads Bun's in-memory file system. The bytes are not verified here; whoever executes them compares their
 * digest with `BWRAP_SHA256` first.
 *
 * @module
 */

import { BWRAP_SHA256 } from "../build_info.ts";

/** Where `bun build --compile --asset=bwrap` puts it; no file of the host can have this name's content. */
const EMBEDDED_PATH = "/$bunfs/root/bwrap";

/**
 * The embedded file's bytes, or `null` when this is not the built executable.
 *
 * Reading takes about 0.5 ms: call it only when the bundled bwrap is really wanted.
 */
export function readEmbeddedBwrap(): Uint8Array | null {
  if (BWRAP_SHA256 === null) return null; // run from source: the path would be the host's
  try {
    // Looked up here and not imported: loading node:fs costs every start 0.9 ms (measured).
    return process.getBuiltinModule("node:fs").readFileSync(EMBEDDED_PATH);
  } catch {
    return null;
  }
}
