/**
 * Symbols to paths: what `:tmpdir` and its kin stand for in one run, and what is refused rather than ignored.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { abs } from "../../src/policy/path.ts";
import {
  type Access,
  DEFAULT_POLICY_OPTIONS,
  type SpecialPath,
} from "../../src/policy/policy.ts";
import { type PolicyContext, resolvePolicy } from "../../src/policy/resolve.ts";

const CONTEXT: PolicyContext = {
  name: "p",
  cwd: abs("/w"),
  workspaceRoots: [abs("/w"), abs("/v")],
  home: abs("/home/me"),
  tmpdir: fromText("/t"),
  network: "none",
  options: DEFAULT_POLICY_OPTIONS,
};

/** `access path symbol` of each grant and glob, then the warnings; or the message of the refusal. */
function resolved(
  access: Access,
  value: SpecialPath,
  context: Partial<PolicyContext> = {},
): string {
  const result = resolvePolicy({
    kind: "managed",
    network: "restricted",
    fileSystem: {
      kind: "restricted",
      entries: [{
        path: { kind: "special", value },
        access,
        origin: { file: null, key: "k" },
      }],
    },
  }, { ...CONTEXT, ...context });
  if (!result.ok) return `refused: ${result.error.message}`;
  const { policy, warnings } = result.value;
  return [
    ...policy.grants.map((it) => `${it.access} ${it.path} ${it.symbol}`),
    ...policy.globs.map((it) => `glob ${it.pattern}`),
    ...(policy.minimal ? ["minimal"] : []),
    ...warnings.map((it) => `warning: ${it.message}`),
  ].join("; ");
}

const b = (text: string): ByteString => fromText(text);

const TMPDIRS: readonly (readonly [
  string | null,
  Access,
  string,
])[] = [
  ["/t", "write", "write /t :tmpdir"],
  ["/t//x/", "write", "write /t/x :tmpdir"],
  [null, "write", ""],
  [
    "",
    "write",
    'warning: ":tmpdir" is ignored: TMPDIR is "", which names no directory',
  ],
  [
    "t",
    "write",
    'warning: ":tmpdir" is ignored: TMPDIR is "t", which is not absolute',
  ],
  [
    "/",
    "write",
    'warning: ":tmpdir" is ignored: TMPDIR is "/", which is the root',
  ],
  [
    "/home/me/.",
    "write",
    'warning: ":tmpdir" is ignored: TMPDIR is "/home/me/.", which is the home directory',
  ],
  [
    "/home",
    "write",
    'warning: ":tmpdir" is ignored: TMPDIR is "/home", which holds the home directory',
  ],
  ["/home/me/tmp", "write", "write /home/me/tmp :tmpdir"],
  ["/home/mex", "write", "write /home/mex :tmpdir"],
  [
    "/home",
    "deny",
    `refused: ":tmpdir" can't be denied: TMPDIR is "/home", which holds the home directory`,
  ],
];

describe(":tmpdir", () => {
  for (const [tmpdir, access, expected] of TMPDIRS) {
    test(`TMPDIR=${tmpdir}, ${access}: ${expected}`, () => {
      const context = { tmpdir: tmpdir === null ? null : b(tmpdir) };
      expect(resolved(access, { kind: "tmpdir" }, context)).toBe(expected);
    });
  }
});

const SYMBOLS: readonly (readonly [Access, SpecialPath, string])[] = [
  ["write", { kind: "root" }, "write / :root"],
  ["read", { kind: "slash_tmp" }, "read /tmp :slash_tmp"],
  ["write", { kind: "minimal" }, "minimal"],
  [
    "write",
    { kind: "project_roots" },
    "write /w :workspace_roots; write /v :workspace_roots",
  ],
  [
    "read",
    { kind: "project_roots", subpath: b("a//b") },
    "read /w/a/b :workspace_roots; read /v/a/b :workspace_roots",
  ],
  [
    "deny",
    { kind: "project_roots", subpath: b("**/*.env") },
    "glob /w/**/*.env; glob /v/**/*.env",
  ],
  [
    "read",
    { kind: "project_roots", subpath: b("../x") },
    'refused: subpath "../x" must be a descendant path without . or .. components',
  ],
  [
    "read",
    { kind: "unknown", path: b(":slash_tmpp") },
    'warning: unknown symbol ":slash_tmpp" is ignored (did you mean ":slash_tmp"?)',
  ],
  [
    "deny",
    { kind: "unknown", path: b(":slash_tmpp") },
    'refused: ":slash_tmpp" is denied, but no such symbol is known (did you mean ":slash_tmp"?)',
  ],
];

describe("symbols", () => {
  for (const [access, value, expected] of SYMBOLS) {
    test(`${access} ${JSON.stringify(value)}`, () => {
      expect(resolved(access, value)).toBe(expected);
    });
  }
});
