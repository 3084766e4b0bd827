/**
 * The bubblewrap that the build embedded into this executable, as bytes.
 *
 * Effects: reads the end of our own file. Bun's in-memory file system holds the same bytes, but asking it loads `node:fs`, which
 * costs 0.9 ms. The bytes are not verified here; whoever executes them compares their digest with `BWRAP_SHA256` first.
 *
 * @module
 */
import { BWRAP_BYTES } from "../build_info.ts";
import type { ByteString } from "../bytes.ts";
import { O_RDONLY } from "../sys/abi.ts";
import { close, fstat, open, readAt } from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";

/** The compiler puts assets last, behind them a table of some 50 kB; this much is searched beyond the size. */
const TABLE_BYTES = 512 * 1024;

/** EI_MAG, ELFCLASS64, ELFDATA2LSB, EV_CURRENT of elf(5). */
const ELF_START = "\x7fELF\x02\x01\x01";

/** The embedded file's bytes, or `null` when this is not the built executable or its end was cut off. */
export function readEmbeddedBwrap(): Uint8Array | null {
  if (BWRAP_BYTES === 0) return null; // run from source: the file is the host's own bun
  const fd = open("/proc/self/exe" as ByteString, O_RDONLY);
  if (!fd.ok) return null;
  const stat = fstat(fd.value);
  const size = stat.ok ? stat.value.sizeBytes : 0;
  const tail = stableBytes(Math.min(size, BWRAP_BYTES + TABLE_BYTES));
  const count = readAt(fd.value, tail, size - tail.length);
  close(fd.value);
  if (!count.ok || count.value !== tail.length) return null;
  // The last one that has room behind it: our own code, which names these bytes too, lies before.
  const last = tail.length - BWRAP_BYTES;
  const at = Buffer.from(tail.buffer).lastIndexOf(ELF_START, last, "latin1");
  return at === -1 ? null : tail.subarray(at, at + BWRAP_BYTES);
}
