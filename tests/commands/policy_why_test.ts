import { expect, test } from "bun:test";
import { type CommandOutput } from "../../src/commands/output.ts";
import { policyWhy } from "../../src/commands/policy_why.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access, Origin, PolicyOptions } from "../../src/policy/policy.ts";
import { factsOf, matchOf, policyOf, type Tree } from "../policy/world.ts";

const R = [":root", "read"] as const;
const W = ["/w", "write"] as const;
const HOST: Tree = {
  "/w/a": "file",
  "/w/s/key": "file",
  "/w/.git/config": "file",
  "/usr/bin/true": "exe",
  "/tmp/here": "file",
  "/l": "-> /w",
};

type Lines = readonly (readonly [string, Access])[];

function why(
  lines: Lines,
  operation: "read" | "write" | "exec",
  paths: readonly string[],
  extra: {
    readonly format?: "text" | "json";
    readonly name?: string;
    readonly globs?: readonly string[];
    readonly matches?: readonly ReturnType<typeof matchOf>[];
    readonly options?: Partial<PolicyOptions>;
    readonly own?: readonly string[];
  } = {},
): CommandOutput {
  const policy = { ...policyOf(lines, extra), name: extra.name ?? "ci" };
  const own = { readOnly: (extra.own ?? []).map(abs), hidden: [] };
  const matches = extra.matches ?? [];
  const facts = factsOf(HOST, policy, { asked: paths, matches, own });
  const locate = (origin: Origin): Origin => ({
    ...origin,
    file: abs("/c.toml"),
    line: 7,
    column: 3,
  });
  const format = extra.format ?? "text";
  const asked = paths.map(abs);
  return policyWhy({ policy, facts, operation, paths: asked, format, locate });
}

const ANSWERS: readonly (readonly [
  lines: Lines,
  operation: "read" | "write" | "exec",
  path: string,
  lines: readonly string[],
  why: string,
  extra?: Parameters<typeof why>[3],
])[] = [
  [[R, W], "write", "/w/a", [
    "allowed: write /w/a",
    '  because "/w" = "write" [/c.toml:7:3]',
    '  over :root = "read" [/c.toml:7:3]',
    '  to change it, add "/w/a" = "read" to [permissions.ci.filesystem]',
  ], "the deciding entry with its place, and what it beat"],
  [
    [R],
    "exec",
    "/tmp/here",
    [
      "allowed: exec /tmp/here",
      "  it doesn't exist: judged as if it were made now",
      '  because "/tmp" is the run\'s own empty directory (tmp = "private")',
      '  over :root = "read" [/c.toml:7:3]',
    ],
    "the host's file is not in a private /tmp, and its mode counts nothing",
    {
      options: { tmp: "private" },
    },
  ],
  [[R, W], "write", "/l/.git/config", [
    "denied (EROFS): write /l/.git/config",
    "  it is /w/.git/config",
    '  because ".git" is protected in the writable root "/w"',
    '  over :root = "read" [/c.toml:7:3]',
    '  over "/w" = "write" [/c.toml:7:3]',
    '  to change it, add "/w/.git" = "write" to [permissions.ci.filesystem]',
  ], "metadata, through a link"],
  [
    [R],
    "write",
    "/w/new",
    [
      "denied (EROFS): write /w/new",
      "  it doesn't exist: judged as if it were made now",
      '  because :root = "read" [/c.toml:7:3]',
      '  to change it, create "/w/new" outside, then add "/w/new" = "write" to a profile of your own that extends ":read-only"',
    ],
    "a built-in profile is extended",
    { name: ":read-only" },
  ],
  [[], "read", "/w/a", [
    "denied (ENOENT): read /w/a",
    "  because no entry covers it",
    '  to change it, add "/w/a" = "read" to [permissions.ci.filesystem]',
  ], "nothing is a deny"],
  [[R, ["/w/s", "deny"]], "read", "/w/s", [
    "denied (EACCES): read /w/s",
    '  because "/w/s" = "deny" [/c.toml:7:3]',
    '  over :root = "read" [/c.toml:7:3]',
    '  to change it, replace that entry by "/w/s" = "read"',
  ], "a deny for this very path"],
  [[R, ["/w/s", "deny"]], "read", "/w/s/key", [
    "denied (EACCES): read /w/s/key",
    '  because "/w/s" = "deny" [/c.toml:7:3]',
    '  over :root = "read" [/c.toml:7:3]',
    '  to change it, add "/w/s/key" = "read" to [permissions.ci.filesystem]',
  ], "a deny above can be reopened"],
  [
    [R],
    "read",
    "/w/a",
    [
      "denied (EACCES): read /w/a",
      '  because glob "/w/*" = "deny" matches "/w/a" [/c.toml:7:3]',
      '  over :root = "read" [/c.toml:7:3]',
      "  to change it, narrow that pattern: no other entry is stronger than a glob",
    ],
    "a glob",
    { globs: ["/w/*"], matches: [matchOf("/w/*", "/w/a")] },
  ],
  [
    [R, W],
    "write",
    "/w/a",
    [
      "denied (EROFS): write /w/a",
      `  because "/w/a" is one of the sandbox's own places, which stay read-only`,
      '  over :root = "read" [/c.toml:7:3]',
      '  over "/w" = "write" [/c.toml:7:3]',
    ],
    "our own files can't be opened",
    { own: ["/w/a"] },
  ],
  [[R], "exec", "/w/a", [
    "denied (EACCES): exec /w/a",
    "  because its mode has no executable bit",
    '  to change it, make "/w/a" an executable file',
  ], "the mode decides"],
  [[R], "read", "/w/\xff", [
    "allowed: read /w/\\xff",
    "  it doesn't exist: judged as if it were made now",
    '  because :root = "read" [/c.toml:7:3]',
    "  to change it, name a directory above it: a config file is UTF-8 and can't hold this name",
  ], "a name that no config can hold"],
  [[R], "read", "/w/\n", [
    "allowed: read /w/\\x0a",
    "  it doesn't exist: judged as if it were made now",
    '  because :root = "read" [/c.toml:7:3]',
    '  to change it, add "/w/\\n" = "deny" to [permissions.ci.filesystem]',
  ], "a name that TOML escapes"],
  [[R, ["/gone", "write"]], "write", "/gone", [
    "denied (EROFS): write /gone",
    "  it doesn't exist: judged as if it were made now",
    '  because :root = "read"; "/gone" = "write" has no effect, as nothing is there [/c.toml:7:3]',
    '  over "/gone" = "write" [/c.toml:7:3]',
    '  to change it, create "/gone" outside, then add "/gone" = "write" to [permissions.ci.filesystem]',
  ], "a write entry for nothing"],
];

for (const [lines, operation, path, expected, title, extra] of ANSWERS) {
  test(`policy why ${operation} ${path}: ${title}`, () => {
    const output = why(lines, operation, [path], extra);
    expect(output.stdout.trimEnd().split("\n")).toEqual([...expected]);
    expect(output.status).toBe(expected[0]?.startsWith("allowed") ? 0 : 1);
  });
}

test("one denied path makes the status 1", () => {
  expect(why([R, W], "write", ["/w/a", "/usr/bin/true"]).status).toBe(1);
  expect(why([R, W], "exec", ["/usr/bin/true"]).status).toBe(0);
});

test("a profile that can't be enforced has no answers", () => {
  const output = why([R, ["/proc", "deny"]], "read", ["/w/a"]);
  expect(output).toEqual({
    stdout: "",
    stderr:
      'codex: a run with profile "ci" is refused: Cannot apply "deny" to "/proc": /proc is made afresh for each run, remove the entry (/c.toml:7:3)\n',
    status: 125,
  });
});

test("machines get the same answer", () => {
  const output = why([R, W], "read", ["/w/a"], { format: "json" });
  const origin = (key: string): unknown => ({
    file: "/c.toml",
    key,
    line: 7,
    column: 3,
  });
  expect(JSON.parse(output.stdout)).toEqual({
    profile: "ci",
    cwd: "/w",
    results: [{
      path: "/w/a",
      operation: "read",
      allowed: true,
      errno: null,
      canonicalPath: "/w/a",
      exists: true,
      reason: '"/w" = "write"',
      decidedBy: {
        kind: "grant",
        path: "/w",
        says: '"/w" = "write"',
        origin: origin("/w"),
      },
      lost: [{
        kind: "grant",
        path: "/",
        says: ':root = "read"',
        origin: origin(":root"),
      }],
      change: 'add "/w/a" = "deny" to [permissions.ci.filesystem]',
    }],
  });
});
