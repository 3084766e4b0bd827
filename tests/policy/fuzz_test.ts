/**
 * Texts of callers: policy JSON, sandbox states, `-c` words and glob patterns. Nothing throws, and what is accepted means one thing.
 *
 * Mutations of the kept corpora (`tests/corpus`), fixed seed. `FUZZ_RUNS` sets the inputs per reader.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { parseOverride } from "../../src/config/override.ts";
import { keyText } from "../../src/config/values.ts";
import { compileGlob, escapeGlob, matchesPath } from "../../src/policy/glob.ts";
import { readJson, toPlain } from "../../src/policy/json.ts";
import { abs, isInside, toAbsPath } from "../../src/policy/path.ts";
import { parseProfile, writeProfile } from "../../src/policy/wire.ts";
import { parseSandboxState } from "../../src/policy/wire_state.ts";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 5_000);
const TIMEOUT_MS = 600_000;
const MAX_EDITS = 4;

/** A small generator with a fixed seed (xorshift32). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function corpus(room: string): readonly string[] {
  const folder = join(import.meta.dirname ?? ".", "../corpus", room);
  return readdirSync(folder).sort().map((name) =>
    readFileSync(join(folder, name), "latin1")
  );
}

const TOKENS = [
  ...'{}[]",:=\\/.*?!^-# \n\t\0'.split(""),
  ...["true", "null", "1.0", "-0", "1e999", '\\u0000"', "\\ud800", "\xff"],
  ...['"access":"deny"', '"type":"special"', "**", "..", "//", "{a,b}", "[!"],
  ...["file://", "%2F", "%00", "'''", '"""', "__proto__", "\xc3\xa9"],
];

/** Calls `check` with every entry as it is, then with mutations of them. */
function fuzz(room: string, check: (text: ByteString) => void): void {
  const entries = corpus(room);
  const random = generator(7);
  for (let run = 0; run < RUNS; run++) {
    let text = entries[run] ?? entries[random(entries.length)] ?? "";
    const edits = run < entries.length ? 0 : 1 + random(MAX_EDITS);
    for (let edit = 0; edit < edits; edit++) {
      const at = random(text.length + 1);
      const until = at + random(8);
      const other = entries[random(entries.length)] ?? "";
      const inserts = [
        TOKENS[random(TOKENS.length)] ?? "",
        String.fromCharCode(random(256)),
        other.slice(random(other.length + 1)),
        text.slice(at, until),
        "",
      ];
      const insert = inserts[random(inserts.length)] ?? "";
      text = text.slice(0, at) + insert +
        text.slice(random(2) === 0 ? at : until);
    }
    try {
      check(text.slice(0, 4_096) as ByteString);
    } catch (error) {
      throw new Error(`input ${JSON.stringify(text)}: ${error}`);
    }
  }
}

function utf8(bytes: ByteString): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function expectOneLine(message: string): void {
  expect(message).not.toMatch(/[\n\r]|^$|\.$/);
}

test("JSON: what we accept, JSON.parse accepts with the same value", () => {
  fuzz("json", (text) => {
    const read = readJson(text);
    if (!read.ok) return expectOneLine(read.error.message);
    expect(toPlain(read.value)).toEqual(JSON.parse(utf8(text)));
  });
}, TIMEOUT_MS);

test(
  "profiles: what we accept is written, read again and written the same",
  () => {
    let accepted = 0;
    fuzz("permission_profile", (text) => {
      const profile = parseProfile(text, "fuzz");
      if (!profile.ok) return expectOneLine(profile.error.message);
      accepted++;
      JSON.parse(utf8(text));
      const written = writeProfile(profile.value);
      if (!written.ok) return expectOneLine(written.error.message);
      const again = parseProfile(fromText(written.value), "fuzz");
      if (!again.ok) throw new Error(again.error.message);
      expect(writeProfile(again.value)).toEqual(written);
      expect(JSON.stringify(again.value)).toBe(JSON.stringify(profile.value));
    });
    expect(accepted).toBeGreaterThan(RUNS / 100);
  },
  TIMEOUT_MS,
);

test(
  "states: what we accept has a normal absolute directory and a profile that can be read",
  () => {
    let accepted = 0;
    fuzz("sandbox_state", (text) => {
      const state = parseSandboxState(text);
      if (!state.ok) return expectOneLine(state.error.message);
      accepted++;
      const plain = JSON.parse(utf8(text)) as {
        readonly sandboxCwd: string;
        readonly permissionProfile: unknown;
      };
      expect(plain.sandboxCwd.toLowerCase()).toStartWith("file:");
      const { cwd } = state.value;
      expect(toAbsPath(cwd)).toBe(cwd);
      expect(plain.permissionProfile).toBeObject();
    });
    expect(accepted).toBeGreaterThan(RUNS / 100);
  },
  TIMEOUT_MS,
);

test(
  "-c: what we accept, spelled out, is the same key and the same string",
  () => {
    const parse = (text: string): ReturnType<typeof Bun.TOML.parse> =>
      Bun.TOML.parse(text);
    let accepted = 0;
    fuzz("override", (text) => {
      const raw = utf8(text);
      const override = parseOverride(raw, parse as never);
      if (!override.ok) return expect(override.error.message).not.toBe("");
      accepted++;
      const { path, value } = override.value;
      expect(path.length).toBeGreaterThan(0);
      // Controls other than those that JSON escapes, and what was no text, have no spelling.
      if (typeof value !== "string" || /[\x7f\ufffd]/.test(value)) return;
      const spelled = `${keyText(path)}=${JSON.stringify(value)}`;
      expect(parseOverride(spelled, parse as never))
        .toEqual({ ok: true, value: { path, value } });
    });
    expect(accepted).toBeGreaterThan(RUNS / 100);
  },
  TIMEOUT_MS,
);

test(
  "globs: a match lies below the prefix, and an escaped path matches itself alone",
  () => {
    const paths = [
      ...["/", "/w", "/w/a", "/w/a/b", "/w/x.env", "/w/a/x.env", "/w/{a,b}"],
      ...["/w/[ab]", "/w/*x", "/x/y", "/w/\xff", "/w/\xc3\xa9"],
    ].map((path) => abs(path));
    let accepted = 0;
    fuzz("glob", (text) => {
      const glob = compileGlob(text);
      if (!glob.ok) return expect(glob.error).not.toBe("");
      accepted++;
      const prefix = glob.value.prefix;
      for (const path of paths) {
        const inside = isInside(path, { root: prefix });
        expect(!matchesPath(glob.value, path) || inside).toBe(true);
      }
      const literal = toAbsPath(text);
      if (literal === null) return;
      const escaped = compileGlob(escapeGlob(literal));
      // Longer than a pattern may be, once every sign has its escape.
      if (!escaped.ok) return;
      for (const path of [...paths, literal]) {
        expect(matchesPath(escaped.value, path)).toBe(path === literal);
      }
    });
    expect(accepted).toBeGreaterThan(RUNS / 100);
  },
  TIMEOUT_MS,
);
