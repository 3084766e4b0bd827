/**
 * The administrator's requirements: when they apply, and what they make of a choice.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import {
  entries,
  MANAGED,
  refusal,
  REQUIREMENTS,
  runs,
  USER,
  type World,
} from "./setup.ts";

const ONLY_READ = 'allowed_sandbox_modes = ["read-only"]';

const CHOICES: readonly (readonly [World, string, string])[] = [
  [
    {
      files: { [REQUIREMENTS]: ONLY_READ },
      request: { permissionProfile: ":workspace" },
    },
    ":read-only",
    "root's own apply with -P too (fact 18, ours)",
  ],
  [
    {
      files: { [REQUIREMENTS]: ONLY_READ },
      owner: 1000,
      request: { permissionProfile: ":workspace" },
    },
    ":workspace",
    "another owner's don't",
  ],
  [
    {
      files: { [REQUIREMENTS]: ONLY_READ },
      owner: 1000,
      request: { permissionProfile: ":workspace", requirements: "all" },
    },
    ":read-only",
    "but for --include-managed-config",
  ],
  [
    {
      files: {
        [REQUIREMENTS]: ONLY_READ,
        [USER]: 'default_permissions = ":workspace"',
      },
      owner: 1000,
    },
    ":read-only",
    "and without -P",
  ],
  [
    {
      files: { [REQUIREMENTS]: "no toml" },
      owner: 1000,
      request: { permissionProfile: ":workspace" },
    },
    ":workspace",
    "what doesn't apply may be broken",
  ],
  [
    {
      files: { [MANAGED]: 'sandbox_mode = "read-only"' },
      request: { permissionProfile: ":workspace" },
    },
    ":read-only",
    "a managed mode allows itself and read-only",
  ],
  [
    {
      files: { [MANAGED]: 'sandbox_mode = "workspace-write"' },
      request: { permissionProfile: ":danger-full-access" },
    },
    ":read-only",
    "and nothing above",
  ],
  [
    {
      files: { [MANAGED]: 'sandbox_mode = "workspace-write"' },
      request: { permissionProfile: ":workspace" },
    },
    ":workspace",
    "but itself",
  ],
  [
    {
      files: {
        [REQUIREMENTS]:
          'default_permissions = ":workspace"\n[allowed_permission_profiles]\n":workspace" = true',
      },
      request: { permissionProfile: ":danger-full-access" },
    },
    ":workspace",
    "a choice that isn't allowed becomes the administrator's",
  ],
  [
    {
      files: {
        [REQUIREMENTS]: '[allowed_permission_profiles]\n":workspace" = false',
      },
      request: { permissionProfile: ":workspace" },
    },
    ":read-only",
    "or read-only",
  ],
  [
    {
      files: {
        [REQUIREMENTS]: "[allowed_permission_profiles]\nci = true",
        [USER]: "[permissions.ci]\nextends = ':workspace'",
      },
      request: { permissionProfile: "ci" },
    },
    "ci",
    "an allowed profile of the user",
  ],
];

describe("choices", () => {
  for (const [world, name, why] of CHOICES) {
    test(why, () => expect(runs(world).name).toBe(name));
  }
});

const MODES: readonly (readonly [string, string, string])[] = [
  ['"/x" = "write"', "runs as p", "a write is workspace-write"],
  ['":root" = "write"', "runs as :read-only", "the whole root is full access"],
  ['"/" = "write"', "runs as :read-only", "by its path too"],
];

describe("what a profile amounts to", () => {
  for (const [line, expected, why] of MODES) {
    test(why, () => {
      expect(refusal({
        files: {
          [REQUIREMENTS]:
            'allowed_sandbox_modes = ["read-only", "workspace-write"]',
          [USER]:
            `default_permissions = "p"\n[permissions.p.filesystem]\n${line}`,
        },
      })).toBe(expected);
    });
  }
});

const DENY =
  '[permissions.filesystem]\ndeny_read = ["~/.ssh", "/srv/**/*.pem"]';

test("deny_read is laid over every profile, full access becomes read-only", () => {
  const denied = ["deny /home/me/.ssh", "deny /srv/**/*.pem"];
  const run = (name: string) =>
    runs({
      files: { [REQUIREMENTS]: DENY },
      request: { permissionProfile: name },
    });
  expect(entries(run(":read-only"))).toEqual(["read :root", ...denied]);
  expect(entries(run(":workspace")).slice(-2)).toEqual(denied);
  const full = run(":danger-full-access");
  expect([full.name, entries(full), full.warnings]).toEqual([
    ":read-only",
    ["read :root", ...denied],
    [
      `profile ":danger-full-access" can't keep the paths that ${REQUIREMENTS} denies: ":read-only" is used`,
    ],
  ]);
});

test("full access, which no proxy can bound, falls back where the network is required to be a managed one", () => {
  const { name, policy, warnings } = runs({
    files: { [REQUIREMENTS]: "[experimental_network]\n" },
    request: { permissionProfile: ":danger-full-access" },
  });
  expect([name, policy.network, warnings]).toEqual([
    ":read-only",
    "none",
    [
      `profile ":danger-full-access" can't keep the network that ${REQUIREMENTS} requires: ":read-only" is used`,
    ],
  ]);
});

test("a fallback is said in one line", () => {
  const { warnings } = runs({
    files: { [REQUIREMENTS]: ONLY_READ },
    request: { permissionProfile: ":workspace" },
  });
  expect(warnings).toEqual([
    `profile ":workspace" is a workspace-write one, which ${REQUIREMENTS} does not allow: ":read-only" is used`,
  ]);
});

const REFUSED: readonly (readonly [string, string])[] = [
  [
    'allowed_sandbox_modes = ["workspace-write"]',
    "must include 'read-only'",
  ],
  [
    "allowed_sandbox_mode = []",
    `${REQUIREMENTS}:1:1: failed to parse requirements layer: unknown key allowed_sandbox_mode (did you mean "allowed_sandbox_modes"?)`,
  ],
  ["[network]\nenabled = false", "unknown key network"],
  ["a = [", "failed to parse requirements layer: invalid TOML"],
  [
    '[permissions.filesystem]\ndeny_read = ["x"]',
    'deny_read entry "x" must be absolute',
  ],
  [
    '[permissions.filesystem]\ndeny_reads = ["x"]',
    "unknown key permissions.filesystem.deny_reads",
  ],
  [
    'default_permissions = "x"\n[allowed_permission_profiles]\ny = true',
    'default_permissions is "x", which allowed_permission_profiles.x does not allow',
  ],
  ['allowed_sandbox_modes = "read-only"', "expected a list of"],
];

describe("refused", () => {
  for (const [text, fragment] of REFUSED) {
    test(JSON.stringify(text), () => {
      expect(refusal({
        files: { [REQUIREMENTS]: text },
        request: { permissionProfile: ":workspace" },
      })).toContain(fragment);
    });
  }
});

test("keys that concern agents are no business of ours", () => {
  const text = 'allowed_approval_policies = ["never"]\n[mcp_servers.x]\na = 1';
  expect(refusal({ files: { [REQUIREMENTS]: text } }))
    .toBe("runs as :read-only");
});

const NETWORKS: readonly (readonly [string, string, string])[] = [
  ["domains = {}", "proxied", "an enabled network goes through the proxy"],
  ["enabled = false", "none", "or nowhere"],
];

describe("[experimental_network]", () => {
  for (const [line, mode, why] of NETWORKS) {
    test(why, () => {
      const run = runs({
        files: {
          [REQUIREMENTS]: `[experimental_network]\n${line}`,
          [USER]:
            'default_permissions = "p"\n[permissions.p.network]\nenabled = true',
        },
      });
      expect(run.policy.network).toBe(mode as never);
      expect(run.network.requirements).not.toBe(null);
    });
  }
});
