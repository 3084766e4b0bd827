/**
 * Byte strings (one char code per byte) to the bytes that the kernel reads, and back.
 *
 * Pure. `Buffer` does the same, but its first use costs 0.2 ms (measured), which no start that is made again need pay: it is used for
 * long texts only.
 *
 * @module
 */

/** Up to here bytes beyond ASCII are handled without `Buffer`. */
const FEW_BYTES = 8_192;

let encoder: TextEncoder | undefined;
let decoder: TextDecoder | undefined;

/**
 * Writes `text` into `bytes` from the start on, and a NUL behind it where there is room.
 *
 * @param bytes at least `text.length` long; what lies behind the NUL may be overwritten too
 */
export function writeLatin1(
  text: string,
  bytes: Uint8Array<ArrayBuffer>,
): void {
  encoder ??= new TextEncoder();
  const { read, written } = encoder.encodeInto(text, bytes);
  // UTF-8 spells ASCII as it is, and anything else in more bytes than one.
  if (read !== text.length || written !== read) writeBytes(text, bytes);
  if (bytes.length > text.length) bytes[text.length] = 0;
}

function writeBytes(text: string, bytes: Uint8Array<ArrayBuffer>): void {
  if (text.length <= FEW_BYTES) {
    for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
    return;
  }
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    .write(text, 0, "latin1");
}

/** The bytes from `start` up to `end`, one char code each. */
export function readLatin1(
  bytes: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
): string {
  const part = bytes.subarray(start, end);
  decoder ??= new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    // What is UTF-8 and has as many characters as bytes is ASCII.
    const text = decoder.decode(part);
    if (text.length === part.length) return text;
  } catch {
    // Not UTF-8: bytes all the same.
  }
  return readBytes(part);
}

function readBytes(bytes: Uint8Array<ArrayBuffer>): string {
  if (bytes.length > FEW_BYTES) {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      .toString("latin1");
  }
  let text = "";
  for (let at = 0; at < bytes.length; at++) {
    text += String.fromCharCode(bytes[at]!);
  }
  return text;
}
