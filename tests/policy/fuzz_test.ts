/**
 * Texts of callers: policy JSON, sandbox states, `-c` words and glob patterns. Nothing throws, and what is accepted means one thing.
 *
 * The kept corpora (`tests/corpus`), texts of a grammar and mutations of both, fixed seed; `npm run fuzz` tries more.
 *
 * @module
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { parseOverride } from "../../src/config/override.ts";
import { keyText } from "../../src/config/values.ts";
import { compileGlob, escapeGlob } from "../../src/policy/glob.ts";
import { readJson } from "../../src/policy/json.ts";
import { matchesPath } from "./matches_path.ts";
import { toPlain } from "./to_plain.ts";
import { abs, isInside, toAbsPath } from "../../src/policy/path.ts";
import { parseProfile } from "../../src/policy/wire.ts";
import { writeProfile } from "./write_profile.ts";
import { parseSandboxState } from "../../src/policy/wire_state.ts";
import { fuzz as inputs, FUZZ_TIMEOUT_MS } from "../fuzzing.ts";

const RUNS = 5_000;

const TOKENS = [
  ...'{}[]",:=\\/.*?!^-# \n\t\0'.split(""),
  ...["true", "null", "1.0", "-0", "1e999", '\\u0000"', "\\ud800", "\xff"],
  ...['"access":"deny"', '"type":"special"', "**", "..", "//", "{a,b}", "[!"],
  ...["file://", "%2F", "%00", "'''", '"""', "__proto__", "\xc3\xa9"],
].map((text) => Buffer.from(text, "latin1"));

const access = fc.constantFrom("read", "write", "deny", "none");
const special = fc.constantFrom(
  { kind: "root" },
  { kind: "minimal" },
  { kind: "project_roots" },
  { kind: "project_roots", subpath: ".git" },
  { kind: "tmpdir" },
  { kind: "slash_tmp" },
  { kind: "odd" },
).map((value) => ({ type: "special", value }));
const path = fc.constantFrom("/", "/w", "/w/../x", "/a b/\u00fc", "w", "/w//x")
  .map((path) => ({ type: "path", path }));
const pattern = fc.constantFrom("/w/**/*.env", "/w/{a,b}*", "/w/[a-c]?", "*")
  .map((pattern) => ({ type: "glob_pattern", pattern }));
const network = fc.constantFrom("restricted", "enabled");
const profile = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ type: "disabled" }) },
  {
    weight: 1,
    arbitrary: network.map((network) => ({ type: "external", network })),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("managed"),
      file_system: fc.oneof(
        { weight: 1, arbitrary: fc.constant({ type: "unrestricted" }) },
        {
          weight: 4,
          arbitrary: fc.record({
            type: fc.constant("restricted"),
            entries: fc.array(
              fc.record({ path: fc.oneof(special, path, pattern), access }),
              { maxLength: 4 },
            ),
            glob_scan_max_depth: fc.constantFrom(1, 3, 64, 0, 1.5),
          }, { requiredKeys: ["type", "entries"] }),
        },
      ),
      network,
    }),
  },
);
const state = fc.record({
  permissionProfile: profile,
  sandboxCwd: fc.constantFrom(
    ..."file:///w|file:///|file:///w/%2Fx|file:///a%20b|file://localhost/w|/w|file:///w/../x|FILE:///w"
      .split("|"),
  ),
  codexLinuxSandboxExe: fc.constantFrom(null, "/opt/codex", "codex"),
  useLegacyLandlock: fc.boolean(),
}, { requiredKeys: ["permissionProfile", "sandboxCwd"] });

/** Texts of what a caller would send. */
const GRAMMARS: Readonly<Record<string, fc.Arbitrary<Buffer>>> = {
  json: fc.json().map((text) => Buffer.from(text)),
  permission_profile: profile.map((it) => Buffer.from(JSON.stringify(it))),
  sandbox_state: state.map((it) => Buffer.from(JSON.stringify(it))),
};

/** What the reader of a room makes of its inputs. */
const READERS: Readonly<Record<string, (text: ByteString) => unknown>> = {
  json: readJson,
  permission_profile: (text) => parseProfile(text, "fuzz"),
  sandbox_state: parseSandboxState,
  glob: compileGlob,
};

/** Calls `check` with every entry as it is, then with texts of its grammar and with mutations. @returns the inputs tried */
function fuzz(room: string, check: (text: ByteString) => void): number {
  const reads = READERS[room];
  return inputs(
    {
      room,
      seed: 7,
      runs: RUNS,
      tokens: TOKENS,
      maxBytes: 4_096,
      ...(GRAMMARS[room] === undefined ? {} : { grammar: GRAMMARS[room] }),
      ...(reads === undefined ? {} : {
        reads: (bytes) => reads(bytes.toString("latin1") as ByteString),
      }),
    },
    (bytes) => check(bytes.toString("latin1") as ByteString),
  );
}

function utf8(bytes: ByteString): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function expectOneLine(message: string): void {
  expect(message).not.toMatch(/[\n\r]|^$|\.$/);
}

test("JSON: what we accept, JSON.parse accepts with the same value", () => {
  let accepted = 0;
  const tried = fuzz("json", (text) => {
    const read = readJson(text);
    if (!read.ok) return expectOneLine(read.error.message);
    accepted++;
    expect(toPlain(read.value)).toEqual(JSON.parse(utf8(text)));
  });
  expect(accepted).toBeGreaterThan(tried / 100);
}, FUZZ_TIMEOUT_MS);

test(
  "profiles: what we accept is written, read again and written the same",
  () => {
    let accepted = 0;
    const tried = fuzz("permission_profile", (text) => {
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
    expect(accepted).toBeGreaterThan(tried / 100);
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "states: what we accept has a normal absolute directory and a profile that can be read",
  () => {
    let accepted = 0;
    const tried = fuzz("sandbox_state", (text) => {
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
    expect(accepted).toBeGreaterThan(tried / 100);
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "-c: what we accept, spelled out, is the same key and the same string",
  () => {
    const parse = (text: string): ReturnType<typeof Bun.TOML.parse> =>
      Bun.TOML.parse(text);
    let accepted = 0;
    const tried = fuzz("override", (text) => {
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
    expect(accepted).toBeGreaterThan(tried / 100);
  },
  FUZZ_TIMEOUT_MS,
);

test(
  "globs: a match lies below the prefix, and an escaped path matches itself alone",
  () => {
    const paths = [
      ...["/", "/w", "/w/a", "/w/a/b", "/w/x.env", "/w/a/x.env", "/w/{a,b}"],
      ...["/w/[ab]", "/w/*x", "/x/y", "/w/\xff", "/w/\xc3\xa9"],
    ].map((path) => abs(path));
    let accepted = 0;
    const tried = fuzz("glob", (text) => {
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
    expect(accepted).toBeGreaterThan(tried / 100);
  },
  FUZZ_TIMEOUT_MS,
);
