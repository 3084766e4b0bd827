import { afterAll, expect, test } from "bun:test";
import {
  linkSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import type { ByteString } from "../../src/bytes.ts";
import { foldsCase, turnCase } from "../../src/host/case_folding.ts";
import { abs } from "../../src/policy/path.ts";

const base = realpathSync(mkdtempSync(`${tmpdir()}/codex-folding-`));
afterAll(() => rmSync(base, { recursive: true }));

test("a directory that tells spellings apart doesn't fold", () => {
  writeFileSync(`${base}/abc`, "");
  writeFileSync(`${base}/ABC`, "");
  expect(foldsCase(abs(base), true)).toBe(false);
  expect(foldsCase(abs(`${base}/none`), true)).toBe(false);
});

test("one in which two spellings are one file does: a hard link plays the second", () => {
  writeFileSync(`${base}/.git`, "");
  linkSync(`${base}/.git`, `${base}/.GIT`);
  expect(foldsCase(abs(`${base}/.git`), false)).toBe(true);
});

test("only letters of ASCII are turned", () => {
  expect(turnCase(".gIt-9\xe9" as ByteString)).toBe(".GiT-9\xe9" as ByteString);
  expect(turnCase("12" as ByteString)).toBe("12" as ByteString);
});
