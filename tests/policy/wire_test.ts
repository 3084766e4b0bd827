import { expect, test } from "bun:test";
import fc from "fast-check";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { abs } from "../../src/policy/path.ts";
import type {
  Entry,
  EntryPath,
  PermissionProfile,
} from "../../src/policy/policy.ts";
import { parseProfile } from "../../src/policy/wire.ts";
import { writeProfile } from "./write_profile.ts";

function parse(text: string): PermissionProfile | string {
  const profile = parseProfile(fromText(text), "flag");
  return profile.ok ? profile.value : profile.error.message;
}

function rewrite(text: string): string {
  const profile = parse(text);
  if (typeof profile === "string") return profile;
  const written = writeProfile(profile);
  return written.ok ? written.value : written.error.message;
}

const RESTRICTED = (entries: string, more = ""): string =>
  `{"type":"managed","file_system":{"type":"restricted","entries":[${entries}]${more}},"network":"restricted"}`;
const ENTRY = (path: string, access = "read", more = ""): string =>
  `{"path":${path},"access":"${access}"${more}}`;

const KEPT = [ // text that is written as it was read, why
  [
    RESTRICTED(ENTRY('{"type":"special","value":{"kind":"root"}}')),
    "read-only as captured from 0.145",
  ],
  [
    RESTRICTED([
      ENTRY('{"type":"special","value":{"kind":"root"}}'),
      ENTRY('{"type":"path","path":"/home/dev/ws"}', "write"),
      ENTRY('{"type":"special","value":{"kind":"slash_tmp"}}', "write"),
      ENTRY('{"type":"special","value":{"kind":"tmpdir"}}', "write"),
      ENTRY('{"type":"path","path":"/home/dev/ws/.git"}'),
      ENTRY('{"type":"path","path":"/home/dev/ws/.agents"}'),
      ENTRY('{"type":"path","path":"/home/dev/ws/.codex"}'),
    ].join(",")),
    ":workspace as captured from 0.145",
  ],
  [
    RESTRICTED(
      ENTRY('{"type":"glob_pattern","pattern":"/w/**/*.env"}', "deny"),
      ',"glob_scan_max_depth":2',
    ),
    "a glob and its depth",
  ],
  [
    RESTRICTED(
      ENTRY(
        '{"type":"special","value":{"kind":"project_roots","subpath":"docs"}}',
      ),
    ),
    "a subpath",
  ],
  [
    RESTRICTED(
      ENTRY(
        '{"type":"special","value":{"kind":"unknown","path":":future","subpath":"docs"}}',
      ),
    ),
    "an unknown symbol",
  ],
  [
    RESTRICTED(ENTRY('{"type":"special","value":{"kind":"minimal"}}')),
    ":minimal",
  ],
  [
    RESTRICTED(
      ENTRY(
        '{"type":"path","path":"/w/.git"}',
        "read",
        ',"missing_path_behavior":"skip"',
      ),
    ),
    "0.169's addition",
  ],
  [
    '{"type":"managed","file_system":{"type":"unrestricted"},"network":"enabled"}',
    "unrestricted",
  ],
  ['{"type":"disabled"}', "disabled"],
  ['{"type":"external","network":"enabled"}', "external"],
  [
    RESTRICTED(
      ENTRY('{"type":"path","path":"/w/ä\u2028\\"\\\\\\n\\u0001\u007f😀"}'),
    ),
    "text is escaped as serde does",
  ],
] as const;

for (const [text, why] of KEPT) {
  test(`${text} is written as it was read: ${why}`, () => {
    expect(rewrite(text)).toBe(text);
  });
}

const NORMALISED = [ // text, written, why
  [
    RESTRICTED(ENTRY('{"type":"path","path":"/a/./b/../c//d/"}', "none")),
    RESTRICTED(ENTRY('{"type":"path","path":"/a/c/d"}', "deny")),
    "none is deny, paths are folded",
  ],
  [
    RESTRICTED(
      ENTRY('{"type":"special","value":{"kind":"current_working_directory"}}'),
    ),
    RESTRICTED(ENTRY('{"type":"special","value":{"kind":"project_roots"}}')),
    "the old name of project_roots",
  ],
  ["{}", RESTRICTED(""), "the legacy form allows nothing by itself"],
  [
    '{"network":null,"file_system":null}',
    RESTRICTED(""),
    "null allows nothing",
  ],
  [
    '{"network":{"enabled":null},"file_system":{"read":null,"write":[]}}',
    RESTRICTED(""),
    "empty allows nothing",
  ],
  [
    '{"network":{"enabled":true},"file_system":{"read":["/"],"write":["/w"]}}',
    RESTRICTED(
      ENTRY('{"type":"path","path":"/"}') + "," +
        ENTRY('{"type":"path","path":"/w"}', "write"),
    ).replace(/restricted"}$/, 'enabled"}'),
    "the legacy form",
  ],
  [
    `{"file_system":{"entries":[${
      ENTRY('{"type":"path","path":"/w"}')
    }],"glob_scan_max_depth":1}}`,
    RESTRICTED(
      ENTRY('{"type":"path","path":"/w"}'),
      ',"glob_scan_max_depth":1',
    ),
    "the legacy form with entries",
  ],
  [
    RESTRICTED(
      ENTRY('{"type":"path","path":"/w","x":1}', "read", ',"y":2'),
      ',"z":3',
    ),
    RESTRICTED(ENTRY('{"type":"path","path":"/w"}')),
    "unknown keys of the tagged form are ignored",
  ],
] as const;

for (const [text, written, why] of NORMALISED) {
  test(`${text} is normalised: ${why}`, () => {
    expect(rewrite(text)).toBe(written);
  });
}

const P = '{"type":"path","path":"/w"}';
const REFUSED = [ // text, part of the message, why
  ['{"type":"zzz"}', 'type: unknown variant "zzz"', "an unknown kind"],
  ['{"type":"manged"}', 'did you mean "managed"?', "the nearest kind is named"],
  [
    '{"type":"managed","network":"restricted"}',
    'key "file_system" is missing',
    "no file system",
  ],
  [
    '{"type":"managed","file_system":{"type":"unrestricted"}}',
    'key "network" is missing',
    "no network",
  ],
  ['{"type":"external"}', 'key "network" is missing', "no network"],
  [
    '{"type":"managed","file_system":{"type":"unrestricted"},"network":"on"}',
    'network: unknown variant "on"',
    "a network word",
  ],
  [
    RESTRICTED(ENTRY(P, "raed")),
    'entries[0].access: unknown variant "raed", expected one of "read", "write", "deny" at offset',
    "an access word",
  ],
  [
    RESTRICTED(ENTRY(P, "raed")),
    'did you mean "read"?',
    "the nearest access is named",
  ],
  [RESTRICTED(ENTRY(P, "READ")), "unknown variant", "case counts"],
  [
    RESTRICTED(ENTRY('{"type":"path","path":"w"}')),
    'entries[0].path.path: "w" at offset',
    "a relative path",
  ],
  [
    RESTRICTED(ENTRY('{"type":"path","path":"/w\\u0000"}')),
    "without NUL",
    "a NUL in a path",
  ],
  [
    RESTRICTED(ENTRY('{"type":"glob_pattern","pattern":"/w\\u0000*"}')),
    "without NUL",
    "a NUL in a pattern",
  ],
  [
    RESTRICTED(ENTRY('{"type":"special","value":{"kind":"home"}}')),
    'unknown variant "home"',
    "an unknown symbol kind",
  ],
  [
    RESTRICTED(
      ENTRY(
        '{"type":"special","value":{"kind":"project_roots","subpath":"../x"}}',
      ),
    ),
    '".."',
    "a subpath that leaves its root",
  ],
  [
    RESTRICTED(
      ENTRY(
        '{"type":"special","value":{"kind":"project_roots","subpath":"/etc"}}',
      ),
    ),
    "relative path",
    "an absolute subpath",
  ],
  [
    RESTRICTED(ENTRY(P, "read", ',"missing_path_behavior":"create"')),
    "missing_path_behavior",
    "an unknown behaviour",
  ],
  [RESTRICTED("", ',"glob_scan_max_depth":0'), "at least 1", "no depth at all"],
  [RESTRICTED("", ',"glob_scan_max_depth":1.0'), "whole number", "a fraction"],
  [RESTRICTED("", ',"glob_scan_max_depth":1e0'), "whole number", "an exponent"],
  [RESTRICTED("", ',"glob_scan_max_depth":"2"'), "whole number", "a string"],
  [
    RESTRICTED("", ',"glob_scan_max_depth":99999999999999999999'),
    "2^53",
    "a number that can't be held",
  ],
  [
    '{"file_system":{},"netwrk":{}}',
    'unknown field "netwrk"',
    "unknown keys of the legacy form are refused",
  ],
  ['{"file_system":{"reed":["/"]}}', 'did you mean "read"?', "also inside"],
  ['{"file_system":{"read":"/"}}', "an array", "a string is no list"],
  [
    '{"type":"disabled","type":"disabled"}',
    'duplicate key "type"',
    "duplicate keys",
  ],
  ["[]", "expected an object", "no object"],
  ["", "a value is missing", "nothing"],
] as const;

for (const [text, part, why] of REFUSED) {
  test(`${text} is refused: ${why}`, () => {
    const result = parse(text);
    expect(result).toStartWith("invalid permission profile JSON: ");
    expect(result).toContain(part);
  });
}

test("an entry's origin names the flag and the place", () => {
  const profile = parse(RESTRICTED(ENTRY(P) + "," + ENTRY(P)));
  const keys = typeof profile !== "string" && profile.kind === "managed" &&
      profile.fileSystem.kind === "restricted"
    ? profile.fileSystem.entries.map((entry) => entry.origin.key)
    : [];
  expect(keys).toEqual([
    "flag.file_system.entries[0]",
    "flag.file_system.entries[1]",
  ]);
});

test("a path that is not UTF-8 can't be written, and says so", () => {
  const path = abs("/w/\xff");
  const entry: Entry = {
    path: { kind: "path", path },
    access: "read",
    origin: { file: null, key: "" },
  };
  const written = writeProfile({
    kind: "managed",
    fileSystem: { kind: "restricted", entries: [entry] },
    network: "restricted",
  });
  expect(written).toEqual({
    ok: false,
    error: {
      kind: "wire",
      message:
        'Cannot write the path "/w/\\xff" as JSON: it is not UTF-8, only UTF-8 paths can be passed on',
    },
  });
});

const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 })
  .filter((text) => !/[/\0]/.test(text) && text !== "." && text !== "..");
const bytes = name.map(fromText);
const path = fc.array(name, { maxLength: 4 }).map((parts) =>
  abs(`/${fromText(parts.join("/"))}`)
);
const subpath = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) =>
  fromText(parts.join("/"))
);
const entryPath: fc.Arbitrary<EntryPath> = fc.oneof(
  path.map((it): EntryPath => ({ kind: "path", path: it })),
  bytes.map((it): EntryPath => ({
    kind: "glob_pattern",
    pattern: `/${it}/*` as ByteString,
  })),
  fc.constantFrom("root", "minimal", "tmpdir", "slash_tmp").map(
    (kind): EntryPath => ({ kind: "special", value: { kind } }),
  ),
  fc.option(subpath, { nil: undefined }).map((it): EntryPath => ({
    kind: "special",
    value: it === undefined
      ? { kind: "project_roots" }
      : { kind: "project_roots", subpath: it },
  })),
  fc.tuple(bytes, fc.option(subpath, { nil: undefined })).map((
    [token, it],
  ): EntryPath => ({
    kind: "special",
    value: it === undefined
      ? { kind: "unknown", path: token }
      : { kind: "unknown", path: token, subpath: it },
  })),
);
const network = fc.constantFrom("restricted" as const, "enabled" as const);

test("every profile is read as it was written", () => {
  const entry = fc.tuple(
    entryPath,
    fc.constantFrom("read" as const, "write" as const, "deny" as const),
    fc.boolean(),
  );
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 6 }),
      fc.option(fc.integer({ min: 1, max: 2 ** 31 }), { nil: undefined }),
      network,
      (list, depth, net) => {
        const entries = list.map(([at, access, skip], index): Entry => {
          const key = `flag.file_system.entries[${index}]`;
          const plain = { path: at, access, origin: { file: null, key } };
          return skip ? { ...plain, missingPathBehavior: "skip" } : plain;
        });
        const files = { kind: "restricted", entries } as const;
        const profile: PermissionProfile = {
          kind: "managed",
          fileSystem: depth === undefined
            ? files
            : { ...files, globScanMaxDepth: depth },
          network: net,
        };
        const written = writeProfile(profile);
        expect(parse(written.ok ? written.value : "")).toEqual(profile);
      },
    ),
    { numRuns: 500, seed: 3 },
  );
});
