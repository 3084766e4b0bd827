/**
 * The bubblewrap that the build embedded into this executable, as bytes.
 *
 * Effects: reads our own file, whose last bytes say where ({@linkcode trailer}). Bun's in-memory file system holds the same bytes, but
 * asking it loads `node:fs`, which costs 0.9 ms. The bytes are not verified here; whoever executes them compares their digest with
 * `BWRAP_SHA256` first.
 *
 * @module
 */
import { BWRAP_BYTES } from "../build_info.ts";
import type { ByteString } from "../bytes.ts";
import { O_RDONLY } from "../sys/abi.ts";
import { close, fstat, open, readAt } from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { readLatin1, writeLatin1 } from "../sys/latin1.ts";

/** How the last 16 bytes of the executable begin; the offset follows, 8 bytes, little-endian. */
const TRAILER_START = "codexbw\n";
const TRAILER_BYTES = 16;

/** What the build puts at the end of the executable. @param offset of the embedded file in the executable, in bytes */
export function trailer(offset: number): Uint8Array {
  const bytes = stableBytes(TRAILER_BYTES);
  writeLatin1(TRAILER_START, bytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(8, offset % 2 ** 32, true);
  view.setUint32(12, Math.floor(offset / 2 ** 32), true);
  return bytes;
}

/** The embedded file's bytes, or `null` when this is not the built executable or its end was cut off. */
export function readEmbeddedBwrap(): Uint8Array | null {
  if (BWRAP_BYTES === 0) return null; // run from source: the file is the host's own bun
  const fd = open("/proc/self/exe" as ByteString, O_RDONLY);
  if (!fd.ok) return null;
  const bytes = readFrom(fd.value);
  close(fd.value);
  return bytes;
}

function readFrom(fd: number): Uint8Array | null {
  const stat = fstat(fd);
  if (!stat.ok) return null;
  const end = stableBytes(TRAILER_BYTES);
  const wasRead = readAt(fd, end, stat.value.sizeBytes - TRAILER_BYTES);
  if (!wasRead.ok || readLatin1(end, 0, 8) !== TRAILER_START) return null;
  const view = new DataView(end.buffer);
  const offset = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
  const bytes = stableBytes(BWRAP_BYTES);
  const count = readAt(fd, bytes, offset);
  return count.ok && count.value === bytes.length ? bytes : null;
}
