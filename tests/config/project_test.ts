/**
 * A project may narrow, hardly widen: every way to widen has a row, and so has what stays allowed.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { allowanceOf } from "../../src/config/project.ts";
import { abs } from "../../src/policy/path.ts";
import { findings, refusal, runs, USER, type World } from "./setup.ts";

const ROOT = "/w/.codex/config.toml";
const SUB = "/w/sub/.codex/config.toml";
const TRUST = '\n[projects."/w"]\ntrust_level = "trusted"\n';

interface Case {
  /** What the user's config says besides trust. */
  readonly user?: string;
  readonly project?: string;
  /** A layer below the project root. */
  readonly sub?: string;
  readonly world?: World;
}

function worldOf({ user, project, sub, world }: Case): World {
  return {
    cwd: "/w/sub",
    ...world,
    files: {
      "/w/.git": "DIR",
      [USER]: (user ?? "") + TRUST,
      ...(project === undefined ? {} : { [ROOT]: project }),
      ...(sub === undefined ? {} : { [SUB]: sub }),
      ...world?.files,
    },
  };
}

const P = 'default_permissions = "p"\n';
const READ_ALL = '[permissions.p.filesystem]\n":root" = "read"\n';

const MAY: readonly (readonly [Case, string])[] = [
  [{ project: 'default_permissions = ":workspace"' }, "choose :workspace"],
  [
    {
      user: 'default_permissions = ":workspace"',
      project: 'default_permissions = ":read-only"',
    },
    "choose less",
  ],
  [
    {
      user: "[permissions.ci]\nextends = ':workspace'",
      project: 'default_permissions = "ci"',
    },
    "choose a profile of the user",
  ],
  [
    {
      user: 'default_permissions = ":read-only"',
      project: `${P}${READ_ALL}"/w/out" = "write"\n"/tmp/x" = "write"`,
    },
    "grant writes below the project root and /tmp",
  ],
  [
    {
      project: `${P}${READ_ALL}"/t/x" = "write"`,
      world: { environment: ["TMPDIR=/t"] },
    },
    "and below TMPDIR",
  ],
  [
    { project: `${P}${READ_ALL}"/home/me/.ssh" = "deny"` },
    "deny what nobody denied",
  ],
  [
    { project: `${P}${READ_ALL}"/opt" = "write"\n"/opt/" = "deny"` },
    "write a grant that its own deny of the same path takes back",
  ],
  [
    { project: `${P}[permissions.p.filesystem]\n` },
    "give nothing at all",
  ],
  [
    {
      user: `${P}${READ_ALL}[permissions.p.network]\nenabled = true`,
      project: "[permissions.p.network]\nenabled = false",
    },
    "switch the network off",
  ],
  [
    {
      user: `${P}${READ_ALL}[permissions.p.network]\nenabled = true`,
      project: "[permissions.p.network]\nmanaged = true",
    },
    "lead it through the proxy",
  ],
  [
    {
      user:
        `${P}${READ_ALL}[permissions.p.network.domains]\na = "allow"\nb = "allow"`,
      project: '[permissions.p.network.domains]\nb = "deny"\nc = "deny"',
    },
    "allow fewer hosts",
  ],
  [
    {
      project:
        '[shell_environment_policy]\ninherit = "core"\nset = { A = "1" }',
    },
    "thin the environment and set a variable",
  ],
  [
    {
      project: 'default_permissions = ":danger-full-access"',
      world: { request: { permissionProfile: ":workspace" } },
    },
    "say anything that the user overrules",
  ],
  [
    {
      project: 'default_permissions = ":workspace"',
      sub: 'default_permissions = ":read-only"',
    },
    "narrow again below the root",
  ],
  [
    {
      project: `[permissions.p.filesystem]\n":root" = "read"\n"/w" = "write"`,
      world: { request: { permissionProfile: "p" } },
    },
    "define a profile that the user asks for by name",
  ],
  [
    {
      user: 'default_permissions = ":danger-full-access"',
      project: `${P}${READ_ALL}"/opt" = "write"`,
    },
    "restrict full access to anything",
  ],
];

describe("a project may", () => {
  for (const [given, why] of MAY) {
    test(why, () => expect(refusal(worldOf(given))).toStartWith("runs as"));
  }
});

const MAY_NOT: readonly (readonly [Case, string, string])[] = [
  [
    { project: 'default_permissions = ":danger-full-access"' },
    `${ROOT}:1:23: a project may not give full access`,
    "full access",
  ],
  [
    {
      user: 'default_permissions = ":read-only"',
      project: 'sandbox_mode = "danger-full-access"',
    },
    `${ROOT}:1:16: a project may not give full access`,
    "full access by the legacy form (fact 13)",
  ],
  [
    { project: `${P}[permissions.p.filesystem]\n":root" = "write"` },
    `${ROOT}:3:11: a project may not grant write to "/": it lies outside`,
    "a writable root directory",
  ],
  [
    { project: `${P}${READ_ALL}"/opt" = "write"` },
    `${ROOT}:4:10: a project may not grant write to "/opt": it lies outside`,
    "a write elsewhere",
  ],
  [
    { project: `${P}${READ_ALL}"/opt/é" = "write"` },
    `${ROOT}:4:12: a project may not grant write to "/opt/é": it lies outside`,
    "a write elsewhere, named as it is written",
  ],
  [
    { project: `${P}${READ_ALL}"/w-evil" = "write"` },
    'grant write to "/w-evil": it lies outside',
    "a sibling that shares a prefix",
  ],
  [
    {
      project: `${P}${READ_ALL}"/w/link" = "write"`,
      world: { files: { "/w/link": "LINK /home/me/x", "/home/me/x": "DIR" } },
    },
    'grant write to "/home/me/x": it lies outside',
    "a write through a link of the project",
  ],
  [
    {
      project: `${P}[permissions.p]\nworkspace_roots = { "/opt" = true }\n` +
        'filesystem = { ":root" = "read", ":workspace_roots" = "write" }',
    },
    'grant write to "/opt": it lies outside',
    "a workspace root elsewhere",
  ],
  [
    { project: `${P}${READ_ALL}"/w/.git" = "write"` },
    'grant write to "/w/.git": its metadata is protected',
    "the repository's metadata",
  ],
  [
    { project: `${P}${READ_ALL}"/w/a/.codex/x" = "write"` },
    "its metadata is protected",
    "the next run's policy",
  ],
  [
    {
      user: `${P}${READ_ALL}"/w/docs" = "read"`,
      project:
        '[permissions.p.filesystem]\n"/w" = "write"\n"/w/docs" = "write"',
    },
    'grant write to "/w/docs": the user\'s layers make it read-only',
    "a carve-out of the user",
  ],
  [
    {
      user: `${P}${READ_ALL}"/w/docs" = "read"\n[permissions.q]\n`,
      project: 'default_permissions = "q"\n[permissions.q.filesystem]\n' +
        '":root" = "read"\n"/w" = "write"',
    },
    'grant write to "/w/docs": the user\'s layers make it read-only',
    "one that another profile drops",
  ],
  [
    {
      user: `${P}${READ_ALL}"/home/me/.ssh" = "deny"`,
      project: 'default_permissions = ":read-only"',
    },
    'grant read to "/home/me/.ssh": the user\'s layers deny it',
    "a read that the user denies",
  ],
  [
    {
      user: `${P}${READ_ALL}"/w/secret" = "deny"`,
      project: '[permissions.p.filesystem]\n"/w/secret" = "write"',
    },
    'grant write to "/w/secret": the user\'s layers deny it',
    "the same inside of the project",
  ],
  [
    {
      user: `${P}${READ_ALL}"/home/me/.ssh" = "deny"`,
      project: '[permissions.p.filesystem]\n"/home/me/.ssh/known" = "read"',
    },
    'grant read to "/home/me/.ssh/known": the user\'s layers deny it',
    "a read below a deny",
  ],
  [
    {
      user: `${P}${READ_ALL}"/home/me/.ssh" = "deny"`,
      project: '[permissions.p.filesystem]\n"/w/link" = "read"',
      world: {
        files: { "/w/link": "LINK /home/me/.ssh", "/home/me/.ssh": "DIR" },
      },
    },
    'grant read to "/home/me/.ssh": the user\'s layers deny it',
    "a read through a link",
  ],
  [
    {
      user: `${P}[permissions.p.filesystem]\n"/usr" = "read"`,
      project: '[permissions.p.filesystem]\n"/home/me" = "read"',
    },
    'grant read to "/home/me": it lies outside',
    "a read that no layer of the user grants",
  ],
  [
    {
      user: `${P}[permissions.p.filesystem]\n"/usr" = "read"`,
      project: '[permissions.p.filesystem]\n":minimal" = "read"',
    },
    'may not open ":minimal"',
    "the platform's directories",
  ],
  [
    {
      user: `${P}${READ_ALL}"/w/**/*.env" = "deny"`,
      project: 'default_permissions = ":read-only"',
    },
    'may not lift the deny glob "/w/**/*.env"',
    "fewer masks",
  ],
  [
    {
      user: `${P}${READ_ALL}"/w/**/*.env" = "deny"`,
      project: "[permissions.p.filesystem]\nglob_scan_max_depth = 1",
    },
    "may not make glob_scan_max_depth smaller",
    "masks that end earlier",
  ],
  [
    {
      user: "[permissions.net]\nextends = ':read-only'\nnetwork.enabled = true",
      project: 'default_permissions = "net"',
    },
    `${ROOT}:1:23: a project may not give more network: it is off without the project and the host's with it`,
    "more network, by a profile of the user",
  ],
  [
    {
      user: `${P}${READ_ALL}[permissions.p.network]\nmanaged = true`,
      project: '[permissions.p.network.domains]\na = "allow"',
    },
    'may not widen the network: domains."a" says more',
    "another host",
  ],
  [
    {
      user:
        `${P}${READ_ALL}[permissions.p.network.domains]\n"*" = "allow"\na = "deny"`,
      project: '[permissions.p.network.domains]\na = "allow"',
    },
    'may not widen the network: domains."a" says more',
    "a host that was denied",
  ],
  [
    {
      user: `${P}${READ_ALL}[permissions.p.network]\nmanaged = true`,
      project: "[permissions.p.network]\nallow_local_binding = true",
    },
    "may not widen the network: allow_local_binding says more",
    "private targets",
  ],
  [
    {
      user:
        `${P}${READ_ALL}[permissions.p.network]\nmode = "limited"\nmanaged = true`,
      project: '[permissions.p.network]\nmode = "full"',
    },
    "may not widen the network: mode says more",
    "other methods",
  ],
  [
    { project: `${P}[permissions.p]\nextends = ":read-only"\ndebug = true` },
    "may not set debug = true",
    "ptrace",
  ],
  [
    {
      project:
        `${P}[permissions.p]\nextends = ":read-only"\nnested_namespaces = true`,
    },
    "may not set nested_namespaces = true",
    "namespaces",
  ],
  [
    {
      project:
        `${P}[permissions.p]\nextends = ":read-only"\nnested_repositories = "write"`,
    },
    'may not set nested_repositories = "write"',
    "metadata of repositories inside",
  ],
  [
    {
      project:
        `${P}[permissions.p]\nextends = ":read-only"\nglob_backend = "ripgrep"`,
    },
    'may not set glob_backend = "ripgrep"',
    "a program of its own choice",
  ],
  [
    {
      project: `${P}[permissions.p]\nextends = ":read-only"\n` +
        'network.unix_sockets = { "/run/docker.sock" = "allow" }',
    },
    "may not set further unix_sockets",
    "a daemon's socket",
  ],
  [
    {
      user: `${P}[permissions.p]\nextends = ":read-only"\ntmp = "private"`,
      project: '[permissions.p]\ntmp = "shared"',
    },
    'may not set tmp = "shared"',
    "the shared /tmp",
  ],
  [
    {
      user: `${P}[permissions.p]\nextends = ":read-only"\nloopback = false`,
      project: "[permissions.p]\nloopback = true",
    },
    "may not set loopback = true",
    "sockets",
  ],
  [
    {
      user: `${P}[permissions.p]\nextends = ":read-only"\nrequire = ["proc"]`,
      project: "[permissions.p]\nrequire = []",
    },
    "may not set a shorter require",
    "fewer promises",
  ],
  [
    { project: '[projects."/x"]\ntrust_level = "trusted"' },
    `${ROOT}:1:2: a project may not set projects`,
    "trust",
  ],
  [
    { project: "project_root_markers = []" },
    "a project may not set project_root_markers",
    "what a project is",
  ],
  [
    { project: "[features]\nuse_legacy_landlock = true" },
    "a project may not set features",
    "features",
  ],
  [
    { project: '[shell_environment_policy.set]\nLD_PRELOAD = "x"' },
    `${ROOT}:2:1: a project may not set the variable LD_PRELOAD`,
    "code for bwrap",
  ],
  [
    { project: '[shell_environment_policy.set]\nGLIBC_TUNABLES = "x"' },
    "a project may not set the variable GLIBC_TUNABLES",
    "loader switches",
  ],
  [
    { project: '[shell_environment_policy.set]\nMALLOC_CHECK_ = "x"' },
    "a project may not set the variable MALLOC_CHECK_",
    "allocator switches",
  ],
  [
    { project: '[shell_environment_policy.set]\nPATH = "/w/bin"' },
    "a project may not set the variable PATH",
    "where programs come from",
  ],
  [
    {
      user: '[shell_environment_policy]\ninherit = "core"',
      project: '[shell_environment_policy]\ninherit = "all"',
    },
    "shell_environment_policy.inherit drops fewer",
    "more variables",
  ],
  [
    {
      user: '[shell_environment_policy]\nexclude = ["AWS_*"]',
      project: "[shell_environment_policy]\nexclude = []",
    },
    "shell_environment_policy.exclude drops fewer",
    "secrets that the user excludes",
  ],
  [
    {
      user: "[shell_environment_policy]\nignore_default_excludes = false",
      project: "[shell_environment_policy]\nignore_default_excludes = true",
    },
    "shell_environment_policy.ignore_default_excludes drops fewer",
    "the default excludes",
  ],
  [
    {
      user: '[shell_environment_policy]\ninclude_only = ["A"]',
      project: "[shell_environment_policy]\ninclude_only = []",
    },
    "shell_environment_policy.include_only drops fewer",
    "names that nobody listed",
  ],
  [
    { sub: 'default_permissions = ":workspace"' },
    `${SUB}:1:23: a project may not grant write to "/w/sub": a config below the project root may only narrow`,
    "writes by a config below the project root",
  ],
  [
    {
      project: 'default_permissions = ":workspace"',
      sub:
        `${P}[permissions.p]\nextends = ":workspace"\nfilesystem."/w/x" = "write"`,
    },
    'grant write to "/w/x": a config below the project root may only narrow',
    "also when the root's config writes",
  ],
  [
    {
      project: 'default_permissions = ":workspace"',
      world: {
        cwd: "/home/me",
        files: {
          [USER]: '[projects."/home/me"]\ntrust_level = "trusted"\n' +
            '[projects."/"]\ntrust_level = "trusted"',
          "/.git": "DIR",
          "/.codex/config.toml": 'default_permissions = ":workspace"',
        },
      },
    },
    'may not grant write to "/home/me": it lies outside',
    "a project that is the root directory",
  ],
];

describe("a project may not give", () => {
  for (const [given, fragment, why] of MAY_NOT) {
    test(why, () => {
      expect(refusal(worldOf(given))).toContain(fragment);
    });
  }
});

const ALLOWANCES: readonly (readonly [
  string,
  string | null,
  readonly string[],
  string,
])[] = [ // project root, home, writable, why
  ["/w", "/home/me", ["/w", "/tmp", "/t"], "the root and temporary folders"],
  ["/home/me/p", "/home/me", ["/home/me/p", "/tmp", "/t"], "below the home"],
  ["/", null, ["/tmp", "/t"], "the root directory is no project"],
  ["/home/me", "/home/me", ["/tmp", "/t"], "nor is the home"],
  ["/home", "/home/me", ["/tmp", "/t"], "nor what holds it"],
  ["/link", "/home/me", ["/link", "/real", "/tmp", "/t"], "by both names"],
  ["/hl", "/home/me", ["/tmp", "/t"], "a link to the home is the home"],
];

describe("where a project may give more than it found", () => {
  for (const [projectRoot, home, writable, why] of ALLOWANCES) {
    test(`${projectRoot}, home ${home}: ${why}`, () => {
      const links: { readonly [path: string]: string } = {
        "/link": "/real",
        "/hl": "/home/me",
      };
      const allowance = allowanceOf({
        projectRoot: abs(projectRoot),
        home: home === null ? null : abs(home),
        tmpdir: abs("/t"),
        realPath: (path) => abs(links[path] ?? path),
      });
      expect(allowance.writable as readonly string[]).toEqual(writable);
    });
  }
});

test("config check finds a widening too", () => {
  expect(
    findings(
      worldOf({ project: 'default_permissions = ":danger-full-access"' }),
    ),
  ).toEqual([
    `${ROOT}:1:23: a project may not give full access: use -P :danger-full-access`,
  ]);
});

test("a profile that only the project defines is compared with read-only", () => {
  const world = worldOf({
    project: "[permissions.p.network]\nenabled = true",
    world: { request: { permissionProfile: "p" } },
  });
  expect(refusal(world)).toContain("a project may not give more network");
});

test("what a project layer narrows is in the policy", () => {
  const run = runs(worldOf({
    user: P + READ_ALL,
    project: '[permissions.p.filesystem]\n"/home/me" = "deny"',
  }));
  expect(run.policy.grants.map(({ access, path }) => `${access} ${path}`))
    .toEqual(["deny /home/me", "read /"]);
});
