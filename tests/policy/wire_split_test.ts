import { expect, test } from "bun:test";
import { fromText } from "../../src/bytes.ts";
import { abs } from "../../src/policy/path.ts";
import { writeProfile } from "./write_profile.ts";
import { profileFromSplit } from "../../src/policy/wire_split.ts";

const ROOT_READ =
  '{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}';
const CWD = '{"type":"special","value":{"kind":"current_working_directory"}}';
const E = (path: string, access: string): string =>
  `{"path":${path},"access":"${access}"}`;
const PATH = (path: string): string => `{"type":"path","path":"${path}"}`;
const FS = (entries: string): string =>
  `{"kind":"restricted","entries":[${entries}]}`;
const SLASH = E('{"type":"special","value":{"kind":"slash_tmp"}}', "write");
const TMPDIR = E('{"type":"special","value":{"kind":"tmpdir"}}', "write");
const ROOTS = E('{"type":"special","value":{"kind":"project_roots"}}', "write");
const RO = '{"type":"read-only"}';
const WW =
  '{"type":"workspace-write","network_access":false,"exclude_tmpdir_env_var":false,"exclude_slash_tmp":false}';
const OUT = (entries: string, network = "restricted"): string =>
  `{"type":"managed","file_system":{"type":"restricted","entries":[${entries}]},"network":"${network}"}`;
const OFF = '"restricted"';
const ON = '"enabled"';
const MATCH = "legacy sandbox policy must match split sandbox policies";
const TOGETHER =
  "file-system and network sandbox policies must be provided together";

const ROWS = [ // legacy, file system, network, profile or message, why
  [null, null, null, "missing sandbox policy configuration", "nothing given"],
  [null, FS(ROOT_READ), null, TOGETHER, "only one half"],
  [RO, null, OFF, TOGETHER, "only the other half"],
  [RO, null, null, OUT(ROOT_READ), "legacy alone"],
  [
    '{"type":"read-only","network_access":true}',
    null,
    null,
    OUT(ROOT_READ, "enabled"),
    "with network",
  ],
  [
    WW,
    null,
    null,
    OUT(
      [ROOT_READ, ROOTS, SLASH, TMPDIR, E(PATH("/w/.codex"), "read")].join(","),
    ),
    "workspace-write protects .codex even when missing",
  ],
  [
    '{"type":"workspace-write","writable_roots":["/r"],"exclude_tmpdir_env_var":true,"exclude_slash_tmp":true}',
    null,
    null,
    OUT(
      [ROOT_READ, ROOTS, E(PATH("/r"), "write"), E(PATH("/w/.codex"), "read")]
        .join(","),
    ),
    "extra roots, no temporary folders",
  ],
  [
    '{"type":"danger-full-access"}',
    null,
    null,
    '{"type":"disabled"}',
    "full access",
  ],
  [
    '{"type":"external-sandbox","network_access":"enabled"}',
    null,
    null,
    '{"type":"external","network":"enabled"}',
    "external",
  ],
  [
    '{"type":"external-sandbox"}',
    null,
    null,
    '{"type":"external","network":"restricted"}',
    "what is absent is not allowed",
  ],
  [
    null,
    FS(E(CWD, "write") + "," + E(PATH("/x"), "none")),
    ON,
    OUT(ROOTS + "," + E(PATH("/x"), "deny"), "enabled"),
    "halves alone, old spellings",
  ],
  [
    null,
    '{"kind":"external-sandbox"}',
    OFF,
    '{"type":"external","network":"restricted"}',
    "external half",
  ],
  [
    null,
    '{"kind":"unrestricted"}',
    OFF,
    '{"type":"managed","file_system":{"type":"unrestricted"},"network":"restricted"}',
    "unrestricted half",
  ],
  [RO, FS(ROOT_READ), OFF, OUT(ROOT_READ), "all three, equal"],
  [
    WW,
    FS(
      [
        ROOT_READ,
        E(PATH("/w"), "write"),
        SLASH,
        TMPDIR,
        E(PATH("/w/.git"), "read"),
      ].join(","),
    ),
    OFF,
    OUT(
      [
        ROOT_READ,
        E(PATH("/w"), "write"),
        SLASH,
        TMPDIR,
        E(PATH("/w/.git"), "read"),
      ].join(","),
    ),
    "equal once the symbol is resolved and metadata left out",
  ],
  [
    '{"type":"danger-full-access"}',
    '{"kind":"unrestricted"}',
    ON,
    '{"type":"disabled"}',
    "full access in both spellings",
  ],
  [RO, FS(ROOT_READ), ON, MATCH, "the network differs"],
  [
    RO,
    FS(ROOT_READ + "," + E(CWD, "write")),
    OFF,
    MATCH,
    "the split writes more",
  ],
  [WW, FS(ROOT_READ), OFF, MATCH, "the split writes less"],
  [RO, '{"kind":"unrestricted"}', OFF, MATCH, "the split is unrestricted"],
  [
    RO,
    FS(ROOT_READ + "," + E(PATH("/x"), "deny")),
    OFF,
    OUT(ROOT_READ + "," + E(PATH("/x"), "deny")),
    "what legacy can't say wins",
  ],
  [
    RO,
    FS(E(PATH("/usr"), "read")),
    OFF,
    OUT(E(PATH("/usr"), "read")),
    "restricted reading too",
  ],
  [
    null,
    FS(ROOT_READ),
    "restricted",
    "invalid value for --network-sandbox-policy: no JSON value at offset 0",
    "the network is a JSON string",
  ],
  [
    '{"type":"workspace"}',
    null,
    null,
    "invalid value for --sandbox-policy: type: unknown variant",
    "an unknown kind",
  ],
  [null, '{"kind":"restrcted"}', OFF, 'did you mean "restricted"?', "a slip"],
] as const;

for (const [legacy, files, network, expected, why] of ROWS) {
  test(`older flags: ${why}`, () => {
    const bytes = (text: string | null): ReturnType<typeof fromText> | null =>
      text === null ? null : fromText(text);
    const profile = profileFromSplit({
      sandboxPolicy: bytes(legacy),
      fileSystemPolicy: bytes(files),
      networkPolicy: bytes(network),
    }, abs("/w"));
    const written = profile.ok ? writeProfile(profile.value) : profile;
    const result = written.ok ? written.value : written.error.message;
    if (written.ok) expect(result).toBe(expected);
    else expect(result).toContain(expected);
  });
}
