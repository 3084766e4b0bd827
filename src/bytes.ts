/**
 * Byte strings: text from the kernel (arguments, environment, paths), one char code (0–255) per byte.
 *
 * The kernel's strings are bytes and need not be UTF-8. A JS string decoded as UTF-8 would name another file, so everything
 * that goes back to the kernel is kept as a byte string; ASCII text looks the same in both. Text that people write (TOML, JSON)
 * comes in through {@linkcode fromText}, and goes out to people through {@linkcode toText}.
 *
 * Pure. Comparison with `<` is bytewise; `length` is bytes.
 *
 * @module
 */

declare const brand: unique symbol;

/** Bytes as a string: each char code is one byte, 0–255. Convert with `Buffer.from(s, "latin1")`. */
export type ByteString = string & { readonly [brand]: "ByteString" };

/** The UTF-8 bytes of a text, as a byte string. Lone surrogates become U+FFFD: check the text before if that matters. */
export function fromText(text: string): ByteString {
  if (isAscii(text)) return text as ByteString;
  return Buffer.from(text, "utf8").toString("latin1") as ByteString;
}

/**
 * The text that a byte string spells in UTF-8, or `null` when it is not UTF-8.
 *
 * For wire formats, which can carry text only. For messages see {@linkcode toText}.
 */
export function decodeText(bytes: ByteString): string | null {
  if (isAscii(bytes)) return bytes;
  const raw = Buffer.from(bytes, "latin1");
  const text = raw.toString("utf8");
  return Buffer.from(text, "utf8").equals(raw) ? text : null;
}

/**
 * A byte string for a person's eyes: UTF-8 where it is, `\xNN` for control characters, for DEL and for bytes that are not UTF-8.
 *
 * Never feed it back to the kernel.
 */
export function toText(bytes: ByteString): string {
  const text = decodeText(bytes) ?? bytes.replace(/[\x80-\xff]/g, escapeByte);
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f\u0080-\u009f]/g, escapeByte);
}

/** Whether every char is below 0x80: then text and byte string are the same. */
export function isAscii(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/[^\x00-\x7f]/.test(text);
}

function escapeByte(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
