import { expect, test } from "bun:test";
import { fromText } from "../../src/bytes.ts";
import { abs } from "../../src/policy/path.ts";
import { parseProfile } from "../../src/policy/wire.ts";
import { writeProfile } from "./write_profile.ts";
import {
  adjustProfile,
  fileUriPath,
  parseSandboxState,
} from "../../src/policy/wire_state.ts";

const URIS = [ // uri, path or part of the refusal, why
  ["file:///home/u", "/home/u", "a plain URI"],
  ["FILE://localhost/home/u", "/home/u", "scheme and host in any case"],
  [
    "file:///a%20b/%C3%A4%ff",
    "/a b/\xc3\xa4\xff",
    "percent-decoding gives bytes",
  ],
  ["file:///ä", "/\xc3\xa4", "raw text is UTF-8"],
  ["file:///a/%2e%2e/b/", "/b", "dots are folded after decoding"],
  ["file:///", "/", "the root"],
  ["/home/u", "relative URL without a base", "a plain path"],
  ["http:///home/u", "file:///absolute/path", "another scheme"],
  ["file://host/x", "file:///absolute/path", "another host"],
  ["file:x", "file:///absolute/path", "no authority"],
  ["file:///a?b", "query", "a query"],
  ["file:///a#b", "fragment", "a fragment"],
  ["file:///a%2fb", "%2F", "an encoded slash"],
  ["file:///a%00", "%00", "an encoded NUL"],
  ["file:///a%zz", "hexadecimal", "a stray percent"],
  ["file:///a%4", "hexadecimal", "a cut escape"],
  ["file:///a\\b", "backslash", "a backslash"],
] as const;

for (const [uri, expected, why] of URIS) {
  test(`the path of ${uri}: ${why}`, () => {
    const path = fileUriPath(uri);
    if (path.ok) expect(path.value as string).toBe(expected);
    else expect(path.error).toContain(expected);
  });
}

const STATE = (profile: string, more = ""): string =>
  `{"permissionProfile":${profile},"sandboxCwd":"file:///w"${more}}`;

test("a state has a profile, a directory, and options that default", () => {
  const text = STATE(
    '{"type":"disabled"}',
    ',"codexLinuxSandboxExe":"/opt/h","useLegacyLandlock":true,"later":[]',
  );
  expect(parseSandboxState(fromText(text))).toEqual({
    ok: true,
    value: {
      profile: { kind: "disabled" },
      cwd: abs("/w"),
      helper: abs("/opt/h"),
      useLegacyLandlock: true,
    },
  });
  expect(parseSandboxState(fromText(STATE('{"type":"disabled"}')))).toEqual({
    ok: true,
    value: {
      profile: { kind: "disabled" },
      cwd: abs("/w"),
      helper: null,
      useLegacyLandlock: false,
    },
  });
});

const REFUSED = [
  [
    '{"permissionProfile":{"type":"disabled"},"sandboxCwd":"/w"}',
    "invalid URI: relative URL without a base",
  ],
  ['{"sandboxCwd":"file:///w"}', 'key "permissionProfile" is missing'],
  ['{"permissionProfile":{"type":"disabled"}}', 'key "sandboxCwd" is missing'],
  [STATE('{"type":"x"}'), "permissionProfile.type"],
  [STATE('{"type":"disabled"}', ',"useLegacyLandlock":1'), "useLegacyLandlock"],
  [
    STATE('{"type":"disabled"}', ',"codexLinuxSandboxExe":"x"'),
    "codexLinuxSandboxExe",
  ],
] as const;

for (const [text, part] of REFUSED) {
  test(`${text} is refused: ${part}`, () => {
    const state = parseSandboxState(fromText(text));
    const message = state.ok ? "" : state.error.message;
    expect(message).toStartWith("invalid --sandbox-state-json value: ");
    expect(message).toContain(part);
  });
}

const E = (path: string, access: string): string =>
  `{"path":${path},"access":"${access}"}`;
const PATH = (path: string): string => `{"type":"path","path":"${path}"}`;
const SPECIAL = (kind: string): string =>
  `{"type":"special","value":{"kind":"${kind}"}}`;
const MANAGED = (entries: string, network = "restricted"): string =>
  `{"type":"managed","file_system":{"type":"restricted","entries":[${entries}]},"network":"${network}"}`;

const ADJUSTED = [ // profile, readable roots, disable network, result, why
  [
    MANAGED(E(SPECIAL("root"), "read"), "enabled"),
    ["/x"],
    true,
    MANAGED(E(SPECIAL("root"), "read")),
    "full read needs no root; the network goes",
  ],
  [
    MANAGED(E(PATH("/w"), "read")),
    ["/w/a", "/x"],
    false,
    MANAGED(E(PATH("/w"), "read") + "," + E(PATH("/x"), "read")),
    "only what can't be read is added",
  ],
  [
    MANAGED(E(PATH("/w"), "read") + "," + E(PATH("/w/a"), "deny")),
    ["/w/a/b"],
    false,
    MANAGED(
      E(PATH("/w"), "read") + "," + E(PATH("/w/a"), "deny") + "," +
        E(PATH("/w/a/b"), "read"),
    ),
    "a deny below makes it unreadable",
  ],
  [
    MANAGED(E(PATH("/x"), "deny") + "," + E(PATH("/x"), "write")),
    ["/x"],
    false,
    MANAGED(
      E(PATH("/x"), "deny") + "," + E(PATH("/x"), "write") + "," +
        E(PATH("/x"), "read"),
    ),
    "of equals the strictest counts",
  ],
  [
    MANAGED(E(SPECIAL("project_roots"), "write")),
    ["/cwd/a"],
    false,
    MANAGED(E(SPECIAL("project_roots"), "write")),
    "symbols stand for their places",
  ],
  [
    MANAGED(E(SPECIAL("tmpdir"), "write")),
    ["/d/x", "/tmp"],
    false,
    MANAGED(E(SPECIAL("tmpdir"), "write") + "," + E(PATH("/tmp"), "read")),
    "$TMPDIR too",
  ],
  [
    '{"type":"external","network":"enabled"}',
    [],
    false,
    MANAGED(E(SPECIAL("root"), "read")),
    "external becomes read-only",
  ],
  [
    '{"type":"managed","file_system":{"type":"unrestricted"},"network":"enabled"}',
    ["/x"],
    true,
    '{"type":"managed","file_system":{"type":"unrestricted"},"network":"restricted"}',
    "unrestricted needs no root",
  ],
  [
    '{"type":"disabled"}',
    ["/x"],
    false,
    '{"type":"disabled"}',
    "disabled stays",
  ],
  [
    '{"type":"disabled"}',
    [],
    true,
    "--sandbox-state-disable-network cannot be applied to a disabled permission profile",
    "but can't lose the network",
  ],
] as const;

for (const [profile, readable, disableNetwork, expected, why] of ADJUSTED) {
  test(`companions: ${why}`, () => {
    const parsed = parseProfile(fromText(profile), "t");
    if (!parsed.ok) throw new Error(parsed.error.message);
    const state = {
      profile: parsed.value,
      cwd: abs("/cwd"),
      helper: null,
      useLegacyLandlock: false,
    };
    const readableRoots = readable.map(abs);
    const companions = { readableRoots, disableNetwork };
    const adjusted = adjustProfile(state, companions, abs("/d"));
    const written = adjusted.ok ? writeProfile(adjusted.value) : adjusted;
    expect(written.ok ? written.value : written.error.message).toBe(expected);
  });
}
