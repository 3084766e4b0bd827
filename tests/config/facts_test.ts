/**
 * The 84 facts of the reference about config and policy, each as listed or as our rule with its reason.
 *
 * Rows that need a kernel or the option parser are in tests/sandbox/fact_rows.ts; one test here sees that none is lost.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { fromText } from "../../src/bytes.ts";
import { commandEnvironment } from "../../src/config/command_environment.ts";
import { FACT_ROWS } from "../sandbox/fact_rows.ts";
import {
  entries,
  MANAGED,
  refusal,
  REQUIREMENTS,
  runs,
  USER,
  type World,
} from "./setup.ts";

const READ_ONLY = "read :root";
const WORKSPACE_ENTRIES = [
  "read :root",
  "write /w",
  "write :slash_tmp",
  "write :tmpdir",
  "read /w/.git",
  "read /w/.agents",
  "read /w/.codex",
].join(", ");

const R = '":root" = "read"';
const DP = 'default_permissions = "p"\n';
const TRUST = '[projects."/w"]\ntrust_level = "trusted"\n';
const PROJECT = "/w/.codex/config.toml";

/** A user config with profile `p`, selected, and the lines of its filesystem table. */
function p(...lines: readonly string[]): World {
  const text = `${DP}[permissions.p.filesystem]\n${lines.join("\n")}\n`;
  return { files: { [USER]: text } };
}

function user(text: string, more: World = {}): World {
  return { ...more, files: { [USER]: text, ...more.files } };
}

function c(...overrides: readonly string[]): World {
  return { request: { overrides } };
}

function named(permissionProfile: string, world: World = {}): World {
  return { ...world, request: { ...world.request, permissionProfile } };
}

type Row =
  /** `runs` means the entries of the profile, `says` a fragment of the refusal. `ours` is the reason where the fact differs. */
  | {
    readonly number: number;
    readonly given: string;
    readonly world: World;
    readonly runs: string;
    readonly ours?: string;
  }
  | {
    readonly number: number;
    readonly given: string;
    readonly world: World;
    readonly says: string;
    readonly ours?: string;
  }
  /** Something else about the run. */
  | {
    readonly number: number;
    readonly given: string;
    readonly yields: () => unknown;
    readonly expected: unknown;
    readonly ours?: string;
  };

function shell(lines: string, ...caller: readonly string[]): readonly string[] {
  const run = runs(user(`[shell_environment_policy]\n${lines}`));
  return commandEnvironment(run.environment, caller.map(fromText), {
    network: run.policy.network,
    sandbox: null,
  });
}

const WIDENS =
  "a project may narrow, hardly widen: docs/decisions.md; refused by file and key, status 125";

const ROWS: readonly Row[] = [
  { number: 1, given: "no config", world: {}, runs: READ_ONLY },
  {
    number: 2,
    given: "-P :workspace",
    world: named(":workspace"),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 3,
    given: "-P :danger-full-access: no helper, no network mark",
    yields: () => {
      const run = runs(named(":danger-full-access"));
      return [
        run.policy.enforcement,
        commandEnvironment(run.environment, [], {
          network: run.policy.network,
          sandbox: null,
        }),
      ];
    },
    expected: ["disabled", []],
  },
  {
    number: 4,
    given: "-P :danger-no-sandbox",
    world: named(":danger-no-sandbox"),
    says: "unknown built-in profile `:danger-no-sandbox`",
  },
  {
    number: 5,
    given: "-P nope without [permissions]",
    world: named("nope"),
    says: "requires a `[permissions]` table",
  },
  {
    number: 6,
    given: "user sandbox_mode danger-full-access",
    world: user('sandbox_mode = "danger-full-access"'),
    runs: READ_ONLY,
  },
  {
    number: 7,
    given: "-c sandbox_mode=workspace-write",
    world: c("sandbox_mode=workspace-write"),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 8,
    given: "-c sandbox_mode=bogus",
    world: c("sandbox_mode=bogus"),
    says:
      '-c sandbox_mode: key sandbox_mode is "bogus", expected "read-only", "workspace-write" or "danger-full-access"',
    ours: "our form of messages instead of `unknown variant`",
  },
  {
    number: 9,
    given: "one file with both",
    world: user(
      'default_permissions = ":workspace"\nsandbox_mode = "read-only"',
    ),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 10,
    given: "-c with both",
    world: c("sandbox_mode=workspace-write", "default_permissions=:read-only"),
    runs: READ_ONLY,
  },
  {
    number: 11,
    given: "user dp, -c sandbox_mode",
    world: user(
      'default_permissions = ":read-only"',
      c(
        "sandbox_mode=workspace-write",
      ),
    ),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 12,
    given: "user dp, trusted project sandbox_mode workspace-write",
    world: user(`default_permissions = ":read-only"\n${TRUST}`, {
      files: { [PROJECT]: 'sandbox_mode = "workspace-write"' },
    }),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 13,
    given: "user dp, trusted project sandbox_mode danger-full-access",
    world: user(`default_permissions = ":workspace"\n${TRUST}`, {
      files: { [PROJECT]: 'sandbox_mode = "danger-full-access"' },
    }),
    says: "a project may not give full access",
    ours: WIDENS,
  },
  {
    number: 14,
    given: "project dp, not trusted / untrusted / trusted",
    yields: () =>
      ["", TRUST.replace("trusted", "untrusted"), TRUST].map((text) =>
        runs(user(text, {
          files: { [PROJECT]: 'default_permissions = ":workspace"' },
        })).name
      ),
    expected: [":read-only", ":read-only", ":workspace"],
  },
  {
    number: 15,
    given: "project config is no TOML, untrusted / trusted",
    yields: () =>
      ["", TRUST].map((text) =>
        refusal(user(text, { files: { [PROJECT]: "a" } })).replace(
          /(config file).*/,
          "$1",
        )
      ),
    expected: [
      "runs as :read-only",
      `${PROJECT}:1:2: Error parsing project config file`,
    ],
  },
  {
    number: 16,
    given: "config in the project and in sub: the one in sub wins",
    world: user(TRUST, {
      cwd: "/w/sub",
      files: {
        "/w/.git": "DIR",
        [PROJECT]: 'default_permissions = ":workspace"',
        "/w/sub/.codex/config.toml": 'default_permissions = ":read-only"',
      },
    }),
    runs: READ_ONLY,
  },
  {
    number: 17,
    given: "managed dp against -P",
    world: named(":read-only", {
      files: { [MANAGED]: 'default_permissions = ":workspace"' },
    }),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 18,
    given: "requirements against -P, without / with --include-managed-config",
    yields: () =>
      (["root_owned", "all"] as const).map((requirements) =>
        runs({
          files: { [REQUIREMENTS]: 'allowed_sandbox_modes = ["read-only"]' },
          request: { permissionProfile: ":workspace", requirements },
        }).name
      ),
    expected: [":read-only", ":read-only"],
    ours: "the row's own word: requirements of root apply also with -P",
  },
  {
    number: 19,
    given: "profiles and no choice",
    world: user("[permissions.p]\n"),
    says: "does not set `default_permissions`",
  },
  {
    number: 20,
    given: "-c dp=:workspace -P :read-only",
    world: named(":read-only", c("default_permissions=:workspace")),
    runs: READ_ONLY,
  },
  {
    number: 21,
    given: "-c foo / -c =x",
    yields: () => ["foo", "=x"].map((word) => refusal(c(word)).split(":")[1]),
    expected: [
      " Invalid override (missing '=')",
      " Empty key in override",
    ],
  },
  {
    number: 24,
    given: "-p work over user dp",
    world: user('default_permissions = ":read-only"', {
      files: {
        "/home/me/.codex/work.config.toml":
          'default_permissions = ":workspace"',
      },
      request: { configProfile: "work" },
    }),
    runs: WORKSPACE_ENTRIES,
  },
  {
    number: 25,
    given: "-p nofile",
    world: { request: { configProfile: "nofile" } },
    runs: READ_ONLY,
  },
  {
    number: 26,
    given: "-p ../x, -p a.b, -p ''",
    yields: () =>
      ["../x", "a.b", ""].map((configProfile) =>
        refusal({ request: { configProfile } }).slice(0, 23)
      ),
    expected: Array(3).fill("invalid --profile value"),
  },
  {
    number: 31,
    given: "an unknown symbol with write",
    yields: () => {
      const run = runs(p(R, '":future" = "write"'));
      return [entries(run), run.policy.grants.length, run.warnings];
    },
    expected: [
      ["write :future", "read :root"],
      1,
      [
        `${USER}: unknown symbol ":future" is ignored (known are :root, :minimal, :workspace_roots, :project_roots, :tmpdir, :slash_tmp)`,
      ],
    ],
    ours: "one warning line: a word that does nothing should say so",
  },
  {
    number: 32,
    given: ":project_roots",
    world: p(R, '":project_roots" = "write"'),
    runs: "write /w, read :root",
    ours: "as 0.169: the older name of :workspace_roots",
  },
  {
    number: 33,
    given: "an entry below :root",
    world: p('":root"."etc" = "read"'),
    says: "does not support nested entries",
  },
  {
    number: 34,
    given: "foo, $HOME/x, ~bob/x",
    yields: () =>
      ["foo", "$HOME/x", "~bob/x"].map((key) =>
        refusal(p(`"${key}" = "write"`)).includes("must be absolute")
      ),
    expected: [true, true, true],
  },
  {
    number: 35,
    given: "/usr/../etc/./x//y/",
    world: p('"/usr/../etc/./x//y/" = "write"'),
    runs: "write /etc/x/y",
  },
  {
    number: 36,
    given: "../x, ./x, empty, /x below :workspace_roots",
    yields: () =>
      ["../x", "./x", "", "/x"].map((key) =>
        refusal(p(`":workspace_roots"."${key}" = "read"`))
          .includes("must be a descendant path")
      ),
    expected: [true, true, true, true],
  },
  {
    number: 37,
    given: ":root = exec",
    world: p('":root" = "exec"'),
    says: 'is "exec", expected "read", "write" or "deny"',
    ours: "says what would work instead of naming a type of the reference",
  },
  {
    number: 38,
    given: "globs with read and write",
    yields: () =>
      [
        '"/opt/*.txt" = "read"',
        '"/opt/x/*" = "write"',
        '"/opt/x/**" = "write"',
      ].map((line) => refusal(p(line)).includes("only supports `deny` access")),
    expected: [true, true, false],
  },
  {
    number: 39,
    given: "glob_scan_max_depth = 0",
    world: p("glob_scan_max_depth = 0"),
    says: "glob_scan_max_depth must be at least 1",
  },
  {
    number: 40,
    given: '[permissions.":x"]',
    world: user('[permissions.":x"]'),
    says: "uses a reserved built-in profile prefix",
  },
  {
    number: 41,
    given: "extends :danger-full-access; itself; a cycle",
    yields: () =>
      [
        'p.extends = ":danger-full-access"',
        'p.extends = "p"',
        'p.extends = "q"\nq.extends = "p"',
      ].map((text) =>
        refusal(user(`${DP}[permissions]\n${text}`)).replace(/.*\d: /, "")
          .slice(0, 48)
      ),
    expected: [
      "permissions profile `p` cannot extend unsupporte",
      "permissions profile inheritance cycle detected: ",
      "permissions profile inheritance cycle detected: ",
    ],
  },
  {
    number: 42,
    given: "an unused profile with a relative path; an unused cycle",
    world: user(
      '[permissions.p.filesystem]\nx = "read"\n[permissions.q]\nextends = "q"',
      named(":read-only"),
    ),
    runs: READ_ONLY,
  },
  {
    number: 43,
    given: "an unused profile with a bad access value",
    world: user(
      '[permissions.p.filesystem]\n"/x" = "exec"',
      named(":read-only"),
    ),
    says: 'is "exec", expected',
  },
  {
    number: 44,
    given: "extends :workspace, .git = write",
    world: user(
      `${DP}[permissions.p]\nextends = ":workspace"\nfilesystem.":workspace_roots".".git" = "write"`,
    ),
    runs:
      "read :root, write :slash_tmp, write :tmpdir, write /w, read /w/.agents, read /w/.codex, write /w/.git",
  },
  {
    number: 56,
    given: '"/missing" = "write"',
    world: p('"/missing" = "write"'),
    runs: "write /missing",
  },
  {
    number: 58,
    given: "**/*.env = none",
    world: p('":workspace_roots"."**/*.env" = "none"'),
    runs: "deny /w/**/*.env",
  },
  {
    number: 59,
    given: "glob_scan_max_depth = 2",
    yields: () =>
      runs(
        p('":workspace_roots"."**/*.env" = "none"', "glob_scan_max_depth = 2"),
      )
        .policy.globScanMaxDepth,
    expected: 2,
  },
  {
    number: 62,
    given: "a[z-a]",
    world: p('":workspace_roots"."a[z-a]" = "none"'),
    says: "invalid range",
  },
  {
    number: 64,
    given: "TMPDIR=/d -P :workspace",
    yields: () =>
      runs(named(":workspace", { environment: ["TMPDIR=/d"] })).policy.grants
        .filter(({ symbol }) => symbol === ":tmpdir")
        .map(({ access, path }) => `${access} ${path}`),
    expected: ["write /d"],
  },
  {
    number: 65,
    given: ":slash_tmp = deny",
    world: p(R, '":slash_tmp" = "deny"'),
    runs: "read :root, deny :slash_tmp",
  },
  {
    number: 68,
    given: "-c use_legacy_landlock=true",
    yields: () => runs(c("use_legacy_landlock=true")).features,
    expected: { useLegacyLandlock: true },
  },
  {
    number: 69,
    given: "network enabled = true",
    yields: () => {
      const { profile, policy } = runs(
        user(`${DP}[permissions.p.network]\nenabled = true`),
      );
      return [profile.kind === "managed" && profile.network, policy.network];
    },
    expected: ["enabled", "host"],
  },
  {
    number: 70,
    given: "network domains only",
    yields: () => {
      const { profile, policy } = runs(
        user(`${DP}[permissions.p.network.domains]\n"a.test" = "allow"`),
      );
      return [profile.kind === "managed" && profile.network, policy.network];
    },
    expected: ["restricted", "proxied"],
    ours: "any domains entry is enough for the managed proxy: docs/profiles.md",
  },
  {
    number: 71,
    given: "workspace_roots other = true, off = false",
    world: user(
      `${DP}[permissions.p]\nworkspace_roots = { other = true, off = false }\nfilesystem.":workspace_roots" = "write"`,
    ),
    runs: "write /w, write /w/other",
  },
  {
    number: 72,
    given: "exclude",
    yields: () =>
      shell(
        'exclude = ["FOO*", "*SeCret"]',
        "FOO=1",
        "foo_bar=1",
        "my_secret=1",
        "A=1",
      ),
    expected: ["A=1", "CODEX_SANDBOX_NETWORK_DISABLED=1"],
  },
  {
    number: 73,
    given: "include_only and set",
    yields: () =>
      shell(
        'include_only = ["foo*", "HOME"]\nset = { ZED = "1", FOOZ = "2" }',
        "FOO=1",
        "foo_bar=1",
        "HOME=/h",
        "A=1",
      ),
    expected: [
      "FOO=1",
      "foo_bar=1",
      "HOME=/h",
      "FOOZ=2",
      "CODEX_SANDBOX_NETWORK_DISABLED=1",
    ],
  },
  {
    number: 74,
    given: "ignore_default_excludes = false",
    yields: () =>
      shell(
        'ignore_default_excludes = false\nset = { X_KEY = "k" }',
        "MY_KEY=1",
      ),
    expected: ["X_KEY=k", "CODEX_SANDBOX_NETWORK_DISABLED=1"],
  },
  {
    number: 75,
    given: 'inherit = "core"',
    yields: () => shell('inherit = "core"', "PATH=/b", "A=1", "Lang=C"),
    expected: ["PATH=/b", "Lang=C", "CODEX_SANDBOX_NETWORK_DISABLED=1"],
  },
  {
    number: 76,
    given: "CODEX_HOME=/missing",
    world: { environment: ["CODEX_HOME=/missing"] },
    says: "does not exist",
  },
  {
    number: 83,
    given: "--enable against -c",
    yields: () =>
      runs({
        request: {
          overrides: ["features.use_legacy_landlock=false"],
          features: [{ feature: "use_legacy_landlock", isEnabled: true }],
        },
      }).features.useLegacyLandlock,
    expected: true,
  },
  {
    number: 84,
    given: "a linked worktree of a trusted repository",
    world: {
      files: {
        [USER]: '[projects."/main"]\ntrust_level = "trusted"',
        "/w/.git": "gitdir: /main/.git/worktrees/w\n",
        "/main/.git/worktrees/w/gitdir": "/w/.git\n",
        [PROJECT]: 'default_permissions = ":workspace"',
      },
    },
    runs: WORKSPACE_ENTRIES,
  },
];

test("each of the 84 facts is shown here or through the built executable, none twice", () => {
  const numbers = [...ROWS, ...FACT_ROWS].map(({ number }) => number);
  expect(numbers.sort((a, b) => a - b)).toEqual(
    Array.from({ length: 84 }, (_, index) => index + 1),
  );
});

describe("fact", () => {
  for (const row of ROWS) {
    const title = `${row.number}: ${row.given}`;
    if ("runs" in row) {
      test(title, () => {
        expect(entries(runs(row.world)).join(", ")).toBe(row.runs);
      });
    } else if ("says" in row) {
      test(title, () => expect(refusal(row.world)).toContain(row.says));
    } else test(title, () => expect(row.yields()).toEqual(row.expected));
  }
});
