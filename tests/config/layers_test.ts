/**
 * Which layer wins, and which layers are read at all. Each rule of precedence has a row of its own.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { abs } from "../../src/policy/path.ts";
import {
  load,
  MANAGED,
  refusal,
  run,
  runs,
  SYSTEM,
  USER,
  type World,
} from "./setup.ts";

const WORKSPACE = 'default_permissions = ":workspace"\n';
const READ_ONLY = 'default_permissions = ":read-only"\n';
const TRUST = '[projects."/w"]\ntrust_level = "trusted"\n';

const WINS: readonly (readonly [World, string, string])[] = [
  [{}, ":read-only", "nothing configured"],
  [{ files: { [SYSTEM]: WORKSPACE } }, ":workspace", "the system layer counts"],
  [
    { files: { [SYSTEM]: WORKSPACE, [USER]: READ_ONLY } },
    ":read-only",
    "user beats system",
  ],
  [
    {
      files: {
        [USER]: READ_ONLY,
        "/home/me/.codex/work.config.toml": WORKSPACE,
      },
      request: { configProfile: "work" },
    },
    ":workspace",
    "-p beats user (fact 24)",
  ],
  [
    {
      files: {
        [USER]: TRUST,
        "/home/me/.codex/work.config.toml": READ_ONLY,
        "/w/.codex/config.toml": WORKSPACE,
      },
      request: { configProfile: "work" },
    },
    ":workspace",
    "a trusted project beats -p",
  ],
  [
    {
      cwd: "/w/sub",
      files: {
        [USER]: READ_ONLY + TRUST,
        "/w/.git": "DIR",
        "/w/.codex/config.toml": WORKSPACE,
        "/w/sub/.codex/config.toml": READ_ONLY,
      },
    },
    ":read-only",
    "the deeper project layer wins (fact 16)",
  ],
  [
    {
      files: { [USER]: TRUST, "/w/.codex/config.toml": WORKSPACE },
      request: { overrides: ["default_permissions=:read-only"] },
    },
    ":read-only",
    "-c beats a project",
  ],
  [
    {
      request: {
        overrides: ["default_permissions=:workspace"],
        permissionProfile: ":read-only",
      },
    },
    ":read-only",
    "-P beats -c (fact 20)",
  ],
  [
    {
      files: { [MANAGED]: WORKSPACE },
      request: { permissionProfile: ":read-only" },
    },
    ":workspace",
    "managed beats -P (fact 17)",
  ],
  [
    {
      files: { [MANAGED]: WORKSPACE },
      request: { overrides: ["default_permissions=:read-only"] },
    },
    ":workspace",
    "managed beats -c",
  ],
  [
    { request: { configProfile: "nofile" } },
    ":read-only",
    "a missing -p file is empty (fact 25)",
  ],
];

describe("layers, lowest to highest", () => {
  for (const [world, name, why] of WINS) {
    test(why, () => expect(runs(world).name).toBe(name));
  }
});

const SYNTAX: readonly (readonly [World, string, string])[] = [
  [
    { files: { [USER]: 'sandbox_mode = "danger-full-access"' } },
    ":read-only",
    "a legacy mode in a file counts for nothing (fact 6)",
  ],
  [
    { request: { overrides: ["sandbox_mode=workspace-write"] } },
    ":workspace",
    "in -c it counts (fact 7)",
  ],
  [
    { files: { [USER]: `${WORKSPACE}sandbox_mode = "read-only"` } },
    ":workspace",
    "both in one layer: profiles (fact 9)",
  ],
  [
    {
      request: {
        overrides: [
          "sandbox_mode=workspace-write",
          "default_permissions=:read-only",
        ],
      },
    },
    ":read-only",
    "both in -c: profiles (fact 10)",
  ],
  [
    {
      files: { [USER]: READ_ONLY },
      request: { overrides: ["sandbox_mode=workspace-write"] },
    },
    ":workspace",
    "the higher layer decides the form (fact 11)",
  ],
  [
    {
      files: {
        [USER]: READ_ONLY + TRUST,
        "/w/.codex/config.toml": 'sandbox_mode = "workspace-write"',
      },
    },
    ":workspace",
    "a project's mode is revived by a profile below it (fact 12)",
  ],
  [
    {
      files: {
        [USER]: TRUST,
        "/w/.codex/config.toml": 'sandbox_mode = "workspace-write"',
      },
    },
    ":read-only",
    "but not without one",
  ],
  [
    {
      files: { [MANAGED]: 'sandbox_mode = "workspace-write"' },
      request: { permissionProfile: ":read-only" },
    },
    ":read-only",
    "profiles in the session beat a legacy mode above it",
  ],
  [
    {
      files: {
        [USER]: 'sandbox_mode = "workspace-write"\n[permissions.p]\n',
      },
    },
    ":read-only",
    "profiles without a choice, but with a mode: read-only",
  ],
  [
    { request: { legacyMode: "workspace_write" } },
    ":workspace",
    "--full-auto without any config",
  ],
  [
    {
      files: { [USER]: 'sandbox_mode = "read-only"' },
      request: { legacyMode: "workspace_write" },
    },
    ":workspace",
    "--full-auto beside a legacy mode in a file, which counts for nothing",
  ],
];

describe("profiles or the legacy form", () => {
  for (const [world, name, why] of SYNTAX) {
    test(why, () => expect(runs(world).name).toBe(name));
  }
});

const TRUSTS: readonly (readonly [World, string, string])[] = [
  [
    { files: { "/w/.codex/config.toml": WORKSPACE } },
    ":read-only",
    "an unknown project is not read (fact 14)",
  ],
  [
    {
      files: {
        [USER]: TRUST.replace("trusted", "untrusted"),
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":read-only",
    "an untrusted one neither",
  ],
  [
    { files: { [USER]: TRUST, "/w/.codex/config.toml": WORKSPACE } },
    ":workspace",
    "a trusted one is",
  ],
  [
    {
      files: {
        [USER]: '[projects."/v"]\ntrust_level = "trusted"',
        "/w/.codex/config.toml": "][",
      },
    },
    ":read-only",
    "what isn't trusted may be no TOML (fact 15)",
  ],
  [
    {
      cwd: "/w/sub",
      files: {
        [USER]: TRUST,
        "/w/.git": "DIR",
        "/w/sub/.codex/config.toml": READ_ONLY,
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":read-only",
    "trust in the project root covers what is below",
  ],
  [
    {
      cwd: "/w/sub",
      files: {
        [USER]: `${TRUST}[projects."/w/sub"]\ntrust_level = "untrusted"`,
        "/w/.git": "DIR",
        "/w/.codex/config.toml": WORKSPACE,
        "/w/sub/.codex/config.toml": READ_ONLY,
      },
    },
    ":workspace",
    "a directory's own word goes first",
  ],
  [
    {
      cwd: "/link",
      files: {
        "/link": "LINK /w",
        [USER]: TRUST,
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":workspace",
    "trust in the real path covers a directory reached through a link",
  ],
  [
    {
      cwd: "/link",
      files: {
        "/link": "LINK /w",
        [USER]: TRUST.replace("/w", "/link"),
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":workspace",
    "trust in a link covers the directory spelled like it",
  ],
  [
    {
      files: {
        "/link": "LINK /w",
        [USER]: TRUST.replace("/w", "/link"),
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":read-only",
    "and no other spelling",
  ],
  [
    {
      cwd: "/link",
      files: {
        "/link": "LINK /w",
        [USER]: TRUST.replace("trusted", "untrusted") +
          TRUST.replace("/w", "/link"),
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":read-only",
    "the word about the real path goes first",
  ],
  [
    {
      cwd: "/w/sub",
      files: {
        [USER]: TRUST,
        "/w/.git": "DIR",
        "/w/sub/.git": "DIR",
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":read-only",
    "the nearest marker ends the project",
  ],
  [
    {
      cwd: "/w/sub",
      files: {
        [USER]: `project_root_markers = []\n${TRUST}`,
        "/w/.git": "DIR",
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":read-only",
    "no markers: the working directory is the root",
  ],
  [
    {
      cwd: "/w/sub",
      files: {
        [USER]: `project_root_markers = [".hg"]\n${TRUST}`,
        "/w/.hg": "DIR",
        "/w/.codex/config.toml": WORKSPACE,
      },
    },
    ":workspace",
    "another marker",
  ],
  [
    {
      cwd: "/home/me",
      files: {
        [USER]: READ_ONLY + '[projects."/home/me"]\ntrust_level = "trusted"',
      },
    },
    ":read-only",
    "CODEX_HOME is no project layer",
  ],
];

describe("project layers", () => {
  for (const [world, name, why] of TRUSTS) {
    test(why, () => expect(runs(world).name).toBe(name));
  }
});

const WORKTREE = {
  [USER]: '[projects."/main"]\ntrust_level = "trusted"',
  "/w/.git": "gitdir: /main/.git/worktrees/w\n",
  "/main/.git/worktrees/w/gitdir": "/w/.git\n",
  "/w/.codex/config.toml": WORKSPACE,
};

const WORKTREES: readonly (readonly [World["files"], string, string])[] = [
  [WORKTREE, ":workspace", "a linked worktree inherits trust (fact 84)"],
  [
    { ...WORKTREE, "/main/.git/worktrees/w/gitdir": "/other/.git\n" },
    ":read-only",
    "but not when the way back leads elsewhere",
  ],
  [
    {
      [USER]: WORKTREE[USER]!,
      "/w/.git": WORKTREE["/w/.git"],
      "/w/.codex/config.toml": WORKSPACE,
      "/main/.git/config": "",
    },
    ":read-only",
    "nor when there is none",
  ],
  [
    {
      ...WORKTREE,
      "/w/.git": "gitdir: /main/worktrees/w\n",
      "/main/worktrees/w/gitdir": "/w/.git\n",
    },
    ":read-only",
    "nor from a folder that isn't below .git/worktrees",
  ],
  [
    {
      ...WORKTREE,
      "/w/.git": "gitdir: /w/x/.git/worktrees/w\n",
      "/w/x": "LINK /main",
    },
    ":workspace",
    "links on the way to it are followed",
  ],
];

describe("trust of a linked worktree", () => {
  for (const [files, name, why] of WORKTREES) {
    test(why, () => expect(runs({ files: files! }).name).toBe(name));
  }
});

const REFUSALS: readonly (readonly [World, string, string])[] = [
  [
    { files: { [USER]: TRUST, "/w/.codex/config.toml": "a = [\n" } },
    "/w/.codex/config.toml:",
    "a trusted project must be TOML (fact 15)",
  ],
  [
    {
      files: { [USER]: TRUST, "/w/.codex": "LINK /evil", "/evil/x": "" },
    },
    "a project's .codex must be a directory, not a symbolic link",
    "a link instead of .codex",
  ],
  [
    {
      files: {
        [USER]: TRUST,
        "/w/.codex/config.toml": "LINK /etc/shadow",
        "/etc/shadow": "",
      },
    },
    'Cannot read config file "/w/.codex/config.toml": it must be a regular file',
    "a link instead of a project's config.toml",
  ],
  [
    { files: { [USER]: 'profile = "work"' } },
    `${USER}:1:1: legacy \`profile = "work"\` config is no longer supported`,
    "the profile key of old",
  ],
  [
    {
      files: { [USER]: "[profiles.work]\n" },
      request: { configProfile: "work" },
    },
    "--profile `work` cannot be used while",
    "-p beside a table of old",
  ],
  [
    {
      files: { [USER]: 'profile = "work"' },
      request: { configProfile: "work" },
    },
    "--profile `work` cannot be used while",
    "-p beside the key of old",
  ],
  [
    { environment: ["CODEX_HOME=/missing"] },
    'CODEX_HOME points to "/missing", but that path does not exist; create it or unset CODEX_HOME',
    "CODEX_HOME must exist (fact 76)",
  ],
  [
    { environment: ["CODEX_HOME=/f"], files: { "/f": "" } },
    'CODEX_HOME points to "/f", but that path is not a directory; name another directory or unset CODEX_HOME',
    "and be a directory",
  ],
  [
    { files: { [USER]: "\u0000" } },
    `${USER}:1:1: invalid TOML`,
    "no TOML, with its place",
  ],
  [
    { files: { [USER]: "[permissions.p]\n" } },
    `${USER}:1:2: config defines \`[permissions]\` profiles but does not set \`default_permissions\``,
    "profiles and no choice (fact 19)",
  ],
  [
    {
      files: { [USER]: 'default_permissions = ":workspace"' },
      request: { legacyMode: "workspace_write" },
    },
    '--full-auto: it only serves legacy configs, but default_permissions is ":workspace": use -P :workspace',
    "--full-auto beside an active profile",
  ],
  [
    {
      request: {
        overrides: ["sandbox_mode=read-only"],
        legacyMode: "workspace_write",
      },
    },
    '--full-auto: it means workspace-write, but sandbox_mode is "read-only"',
    "--full-auto beside another mode",
  ],
  [
    { files: { [USER]: 'sandbox_mode = "x"\ntmp = 1\nfeatures = 3\n' } },
    "(+1 more: codex config check)",
    "the first error and the number of the others",
  ],
];

describe("refused", () => {
  for (const [world, fragment, why] of REFUSALS) {
    test(why, () => expect(refusal(world)).toContain(fragment));
  }
});

test("an empty CODEX_HOME is unset, a set one is read by its real name", () => {
  const files = {
    "/c": "LINK /real",
    "/real/config.toml": WORKSPACE,
    [USER]: READ_ONLY,
  };
  expect(runs({ files, environment: ["CODEX_HOME="] }).name)
    .toBe(":read-only");
  const run = runs({ files, environment: ["CODEX_HOME=/c"] });
  expect([run.name, run.ownFiles]).toEqual([
    ":workspace",
    // The link too: a command that could replace it would choose the next run's settings.
    [abs("/c"), abs("/real/config.toml")],
  ]);
});

test("a value is said to come from the highest layer that has it", () => {
  const files = { [SYSTEM]: READ_ONLY, [USER]: WORKSPACE };
  expect(runs({ files }).chosenBy).toEqual({
    file: abs(USER),
    key: "default_permissions",
  });
});

test("every file that was read is named, by its real path too", () => {
  const files = {
    [USER]: "LINK /dotfiles/codex.toml",
    "/dotfiles/codex.toml": TRUST,
    "/w/.codex/config.toml": "",
    [SYSTEM]: "",
  };
  expect(runs({ files }).ownFiles).toEqual([
    abs(SYSTEM),
    abs(USER),
    abs("/dotfiles/codex.toml"),
    abs("/w/.codex/config.toml"),
  ]);
});

test("without trusted projects no directory of the project is looked at", () => {
  const loaded = load({
    files: { [USER]: READ_ONLY, "/w/.codex/config.toml": WORKSPACE },
  });
  expect(loaded.ok && loaded.value.projectRoot).toBe(null);
});

test("unknown keys of other tools are silent, of ours one line", () => {
  const files = {
    [USER]: 'model = "x"\n[tui]\na = 1\n[features]\nweb = true\n' +
      '[shell_environment_policy]\ninherits = "all"\n[permissions.p]\nx = 1\n' +
      "[permissions.q.network]\ny = 1\n",
  };
  const { warnings } = runs({
    files,
    request: { permissionProfile: ":workspace" },
  });
  expect(warnings).toEqual([
    `${USER}: unknown key features.web is ignored (+3 more: codex config check)`,
  ]);
});

test("a merge takes tables key by key and replaces everything else", () => {
  const world: World = {
    files: {
      [SYSTEM]:
        '[shell_environment_policy]\nexclude = ["A", "B"]\nset = { X = "1", Y = "1" }',
      [USER]: '[shell_environment_policy]\nexclude = ["C"]\nset = { Y = "2" }',
    },
  };
  const result = run(world);
  expect(result.ok && result.value.environment).toEqual({
    inherit: "all",
    ignoreDefaultExcludes: true,
    exclude: ["C"],
    set: [["X", "1"], ["Y", "2"]],
    includeOnly: [],
  } as never);
});
