/**
 * The short spelling of an answer is the long one: what is kept by one is compared with the other.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import {
  askText,
  contentText,
  lstat,
  placeText,
  stat,
} from "../../src/sys/calls.ts";

const folder = mkdtempSync(join(tmpdir(), "codex-ask-"));
mkdirSync(join(folder, "empty"));
symlinkSync("nowhere", join(folder, "dangling"));
symlinkSync("/etc", join(folder, "link"));

const PLACES = [
  "/",
  "/proc",
  "/proc/sys",
  "/proc/self/exe",
  "/proc/self/ns/user",
  "/proc/sys/kernel/osrelease",
  "/dev/null",
  "/etc/passwd",
  "/usr/bin/env",
  "/nowhere/at/all",
  "/etc/passwd/x",
  `/${"x".repeat(300)}`,
  `${folder}/empty`,
  `${folder}/dangling`,
  `${folder}/link`,
] as ByteString[];

for (const place of PLACES) {
  const name = place.replace(folder, "…").slice(0, 40);
  test(`${name} is described by one line, however it is asked`, () => {
    try {
      expect([askText(place, "lstat"), askText(place, "stat")]).toEqual([
        placeText(place, lstat(place)),
        placeText(place, stat(place)),
      ]);
      // What the kernel makes below /proc is as young as the question.
      if (place.startsWith("/proc/")) return;
      expect(askText(place, "content")).toBe(contentText(stat(place)));
    } finally {
      if (place === PLACES.at(-1)) rmSync(folder, { recursive: true });
    }
  });
}

test("an open file is asked by its descriptor, and a closed one says so", () => {
  const fd = openSync("/etc/passwd", "r");
  const answer = askText("" as ByteString, "content", fd);
  expect(answer).toBe(contentText(stat("/etc/passwd" as ByteString)));
  closeSync(fd);
  expect(askText("" as ByteString, "content", fd)).toBe("-9");
});
