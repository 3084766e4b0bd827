/**
 * Byte strings to bytes and back: every byte, every length at which the way changes, and nothing of what was there before.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readLatin1, writeLatin1 } from "../../src/sys/latin1.ts";
import { stableBytes } from "../../src/sys/ffi.ts";

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, at) => at))
  .toString("latin1");

const TEXTS: readonly (readonly [name: string, text: string])[] = [
  ["nothing", ""],
  ["ASCII", "/usr/bin/true"],
  ["every byte", EVERY_BYTE],
  ["one byte beyond ASCII, at the end", "/tmp/\xff"],
  ["what UTF-8 spells in two bytes", "\xc3\xa9\xc3\xa9"],
  ["as many as one call takes", EVERY_BYTE.repeat(32)],
  ["more than one call takes", `${EVERY_BYTE.repeat(32)}x`],
  ["a long environment", EVERY_BYTE.repeat(4096)],
];

for (const [name, text] of TEXTS) {
  test(`${name} is written as it is, with a NUL behind it, and read again`, () => {
    const bytes = stableBytes(text.length + 40).fill(0x55);
    writeLatin1(text, bytes);
    expect(
      Buffer.from(bytes).subarray(0, text.length).equals(
        Buffer.from(text, "latin1"),
      ),
    ).toBe(true);
    expect(bytes[text.length]).toBe(0);
    expect(readLatin1(bytes, 0, text.length)).toBe(text);
  });

  test(`${name} fills its bytes exactly`, () => {
    const bytes = stableBytes(text.length);
    writeLatin1(text, bytes);
    expect(readLatin1(bytes, 0, bytes.length)).toBe(text);
  });
}

test("a part is read from where it starts to where it ends", () => {
  const bytes = stableBytes(20_000);
  writeLatin1("0123456789".repeat(2_000), bytes);
  expect(readLatin1(bytes, 3, 7)).toBe("3456");
  expect(readLatin1(bytes, 3, 19_993)).toBe(
    "0123456789".repeat(2_000).slice(3, 19_993),
  );
});

test("bytes that begin behind others are written there", () => {
  const all = stableBytes(64).fill(0x2e);
  writeLatin1("\xe9t\xe9", all.subarray(8, 11));
  expect(readLatin1(all, 6, 13)).toBe("..\xe9t\xe9..");
});
