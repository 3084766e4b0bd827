/**
 * The facts of the reference about config and policy that only the built executable can show, each as listed or as our rule.
 *
 * The other rows stand in tests/config/facts_test.ts; together they are all 84, none twice.
 *
 * @module
 */

/** One call of codex. `@W` is the workspace, `@T` a name in /tmp that nobody else has. */
export interface Call {
  /** What follows `codex`; with `isHelper` what follows `codex-linux-sandbox`. */
  readonly words: readonly string[];
  readonly isHelper?: true;
  /** Below the workspace; the workspace itself without it. */
  readonly folder?: string;
  readonly end: number;
  readonly stdout?: string;
  /** A fragment of standard error; without it nothing is said there. */
  readonly says?: string;
}

/** One fact. */
export interface FactRow {
  readonly number: number;
  readonly given: string;
  /** Lines of a shell outside, in the workspace, before the calls. */
  readonly before?: string;
  /** The user's config.toml. */
  readonly config?: string;
  readonly calls: readonly Call[];
  /** Names in the workspace afterwards. */
  readonly leaves?: readonly string[];
  /** Our reason, where the fact differs. */
  readonly ours?: string;
}

const DP = 'default_permissions = "p"\n';

/** Profile `p`, selected: everything readable, and these lines. */
function p(...lines: readonly string[]): string {
  return `${DP}[permissions.p.filesystem]\n":root" = "read"\n${
    lines.join("\n")
  }\n`;
}

function onWorkspace(...lines: readonly string[]): string {
  return `${DP}[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n${
    lines.join("\n")
  }\n`;
}

/** A shell in the sandbox. Whatever fails there says so on standard output by its own `|| echo`. */
function shell(line: string, ...flags: readonly string[]): readonly string[] {
  return ["sandbox", ...flags, "--", "sh", "-c", `exec 2>/dev/null\n${line}`];
}

function state(sandboxCwd: string, permissionProfile: unknown): string {
  return JSON.stringify({ permissionProfile, sandboxCwd });
}

const READ_ALL = {
  type: "managed",
  file_system: {
    type: "restricted",
    entries: [{
      path: { type: "special", value: { kind: "root" } },
      access: "read",
    }],
  },
  network: "restricted",
};

const STATUSES =
  "docs/decisions.md, exit status: 126 and 127 tell the two cases apart, as every shell does";

/** Sorted by number. */
export const FACT_ROWS: readonly FactRow[] = [
  {
    number: 22,
    given: "-C without -P; --include-managed-config without -P; --full-auto",
    calls: [
      {
        words: ["sandbox", "-C", "@W", "--", "true"],
        end: 2,
        says: "--cd",
      },
      {
        words: ["sandbox", "--include-managed-config", "--", "true"],
        end: 2,
        says: "--include-managed-config",
      },
      { words: shell("touch f && echo f", "--full-auto"), end: 0, stdout: "f" },
    ],
    ours: "--full-auto serves legacy configs: docs/profiles.md",
  },
  {
    number: 23,
    given: "-P :workspace -C DIR -- pwd",
    before: "mkdir inner",
    calls: [{
      words: shell(
        "pwd; touch f && echo f; touch ../f || echo refused",
        ...["-P", ":workspace", "-C", "@W/inner"],
      ),
      end: 0,
      stdout: "@W/inner f refused",
    }],
  },
  {
    number: 27,
    given: "exit 7; TERM; KILL",
    calls: [
      { words: shell("exit 7"), end: 7 },
      { words: shell("kill -TERM $$"), end: 143 },
      { words: shell("kill -KILL $$"), end: 137 },
    ],
  },
  {
    number: 28,
    given: "-- nosuchcmd; -- /etc/passwd",
    calls: [
      { words: ["sandbox", "--", "nosuchcmd"], end: 127, says: "nosuchcmd" },
      {
        words: ["sandbox", "--", "/etc/passwd"],
        end: 126,
        says: "/etc/passwd",
      },
    ],
    ours: STATUSES,
  },
  {
    number: 29,
    given: "-P :danger-full-access -- nosuchcmd",
    calls: [{
      words: ["sandbox", "-P", ":danger-full-access", "--", "nosuchcmd"],
      end: 127,
      says: "nosuchcmd",
    }],
    ours: STATUSES,
  },
  {
    number: 30,
    given: "no command",
    calls: [
      { words: ["sandbox"], end: 2, says: "command" },
      {
        words: ["sandbox", "-P", ":danger-full-access", "--"],
        end: 2,
        says: "command",
      },
    ],
    ours: "a usage error like any other: 2",
  },
  {
    number: 45,
    given: "write, read, none, write nested",
    before:
      "mkdir -p docs secrets/tmp; echo d > docs/d; echo s > secrets/s; echo t > secrets/tmp/t",
    config: p(
      '"@W" = "write"',
      '"@W/docs" = "read"',
      '"@W/secrets" = "none"',
      '"@W/secrets/tmp" = "write"',
    ),
    calls: [{
      words: shell(
        "touch f && echo f; cat docs/d; touch docs/f || echo docs; ls secrets || echo hidden; cat secrets/s || echo hidden; cat secrets/tmp/t; touch secrets/tmp/f && echo tmp",
      ),
      end: 0,
      stdout: "f d docs hidden hidden t tmp",
    }],
  },
  {
    number: 46,
    given: 'W = write and WS."." = deny',
    before: "echo x > f",
    config: p(
      '"@W" = "write"',
      '":workspace_roots" = { "." = "deny" }',
    ),
    calls: [{
      words: shell("cat @W/f || echo denied; touch @W/g || echo denied"),
      end: 0,
      stdout: "denied denied",
      says: "profile p does not show @W: the command starts in",
    }],
    leaves: ["f"],
  },
  {
    number: 47,
    given: "W = read and WS = write",
    config: p('"@W" = "read"', '":workspace_roots" = "write"'),
    calls: [{ words: shell("touch f && echo f"), end: 0, stdout: "f" }],
  },
  {
    number: 48,
    given: "WS = write only",
    before: "mkdir a",
    config: p('":workspace_roots" = "write"'),
    calls: [{
      words: shell(
        "for n in .git .codex .agents a/.git .aws; do mkdir $n && echo $n; done; true",
      ),
      end: 0,
      stdout: "a/.git .aws",
    }],
    leaves: [".aws", "a"],
    ours: ".aws as 145: only the three names are documented",
  },
  {
    number: 49,
    given: ":workspace, existing .git",
    before: "mkdir .git; echo c > .git/config",
    calls: [{
      words: shell(
        "cat .git/config; (echo x > .git/config) || echo locked; LC_ALL=C mv .git g 2>&1 | grep -o busy; rm -r .git || echo stays",
        ...["-P", ":workspace"],
      ),
      end: 0,
      stdout: "c locked busy stays",
    }],
    leaves: [".git"],
  },
  {
    number: 50,
    given: "+ .git = write, missing",
    config: onWorkspace('":workspace_roots" = { ".git" = "write" }'),
    calls: [{
      words: shell("mkdir .git && echo made; mkdir .codex || echo refused"),
      end: 0,
      stdout: "made refused",
    }],
    leaves: [".git"],
  },
  {
    number: 51,
    given: "+ .git/hooks = write",
    before: "mkdir -p .git/hooks",
    config: onWorkspace('":workspace_roots" = { ".git/hooks" = "write" }'),
    calls: [{
      words: shell("touch .git/hooks/x && echo hook; touch .git/x || echo no"),
      end: 0,
      stdout: "hook no",
    }],
  },
  {
    number: 52,
    given: "gitdir: a/realgit",
    before: "mkdir -p a/realgit; echo 'gitdir: a/realgit' > .git",
    calls: [{
      words: shell(
        "touch a/x && echo a; touch a/realgit/x || echo realgit; (echo x > .git) || echo .git",
        ...["-P", ":workspace"],
      ),
      end: 0,
      stdout: "a realgit .git",
    }],
  },
  {
    number: 53,
    given: "gitdir: /tmp/gd",
    before: "mkdir @T; echo 'gitdir: @T' > .git",
    calls: [{
      words: shell(
        "touch @T/x || echo gd; touch @T-beside && rm @T-beside && echo tmp",
        ...["-P", ":workspace"],
      ),
      end: 0,
      stdout: "gd tmp",
    }],
  },
  {
    number: 54,
    given: ".git is a symlink, :workspace",
    before: "mkdir store; ln -s store .git",
    calls: [{
      words: shell("true", "-P", ":workspace"),
      end: 125,
      says: "symlink",
    }],
  },
  {
    number: 55,
    given: "missing read or deny",
    config: p(
      '":workspace_roots" = "write"',
      '"@W/ghost" = "read"',
      '"@W/spirit" = "deny"',
    ),
    calls: [{
      words: shell(
        "mkdir ghost || echo ghost; touch spirit/x || echo spirit; touch f",
      ),
      end: 0,
      stdout: "ghost spirit",
    }],
    leaves: ["f"],
  },
  {
    number: 57,
    given: '"W/f.txt" = "write", a file',
    before: "echo old > f.txt; echo old > g.txt",
    config: p('"@W/f.txt" = "write"'),
    calls: [{
      words: shell(
        "echo new > f.txt && cat f.txt; (echo new > g.txt) || echo g",
      ),
      end: 0,
      stdout: "new g",
    }],
    ours: "a write grant on a regular file works: docs/differences.md",
  },
  {
    number: 60,
    given: 'WS."*.env" = none, file a/y.env',
    before: "mkdir a; echo x > x.env; echo y > a/y.env",
    config: p('":workspace_roots" = { "." = "write", "*.env" = "none" }'),
    calls: [{
      words: shell("cat x.env || echo hidden; cat a/y.env"),
      end: 0,
      stdout: "hidden y",
    }],
  },
  {
    number: 61,
    given: 'WS."sec*" = none on a directory',
    before: "mkdir secrets; echo s > secrets/s",
    config: p('":workspace_roots" = { "." = "write", "sec*" = "none" }'),
    calls: [{
      words: shell("cat secrets/s || echo hidden; ls secrets || echo hidden"),
      end: 0,
      stdout: "hidden hidden",
    }],
    ours: "a glob that matches a directory hides it: docs/differences.md",
  },
  {
    number: 63,
    given: "secrets = deny, secrets/tmp = read",
    before: "mkdir -p secrets/tmp; echo s > secrets/s; echo t > secrets/tmp/t",
    config: p('"@W/secrets" = "deny"', '"@W/secrets/tmp" = "read"'),
    calls: [{
      words: shell(
        "cat secrets/s || echo hidden; cat secrets/tmp/t; touch secrets/tmp/x || echo no",
      ),
      end: 0,
      stdout: "hidden t no",
    }],
    ours: "read below deny reopens reading: docs/decisions.md",
  },
  {
    number: 66,
    given: ":root = write",
    before: "mkdir inner beside",
    config: p('":root" = "write"').replace('":root" = "read"\n', ""),
    calls: [{
      words: shell("touch ../beside/f && echo f; mkdir .git && echo .git"),
      folder: "inner",
      end: 0,
      stdout: "f .git",
    }],
  },
  {
    number: 67,
    given: ":root = write and W = read",
    before: "mkdir inner beside",
    config: p('":root" = "write"', '"@W/inner" = "read"')
      .replace('":root" = "read"\n', ""),
    calls: [{
      words: shell(
        "touch f || echo no; touch ../beside/f && echo f; : > /dev/null && echo null",
      ),
      folder: "inner",
      end: 0,
      stdout: "no f null",
      // A search of all of / for repositories is cut, and says so.
      says: "",
    }],
    ours: "/dev/null works, as in 169",
  },
  {
    number: 77,
    given: "state JSON with a plain path; with file:///",
    calls: [
      {
        words: [
          ...["sandbox", "--sandbox-state-json", state("@W", READ_ALL)],
          ...["--", "pwd"],
        ],
        end: 125,
        says: "sandboxCwd",
      },
      {
        words: [
          ...["sandbox", "--sandbox-state-json", state("file://@W", READ_ALL)],
          ...["--", "pwd"],
        ],
        end: 0,
        stdout: "@W",
      },
    ],
  },
  {
    number: 78,
    given: "state external",
    calls: [{
      words: shell(
        "cat /etc/passwd > /dev/null && echo read; touch f || echo no",
        "--sandbox-state-json",
        state("file://@W", { type: "external", network: "enabled" }),
      ),
      end: 0,
      stdout: "read no",
    }],
    leaves: [],
  },
  {
    number: 79,
    given: 'helper with {"type":"zzz"}',
    calls: [{
      words: [
        ...["--sandbox-policy-cwd", "@W"],
        ...["--permission-profile", '{"type":"zzz"}', "--", "true"],
      ],
      isHelper: true,
      end: 2,
      says: "zzz",
    }],
  },
  {
    number: 80,
    given: "helper without --permission-profile",
    calls: [{
      words: ["--sandbox-policy-cwd", "@W", "--", "true"],
      isHelper: true,
      end: 2,
      says: "--permission-profile",
    }],
    ours: "a usage error like any other: 2",
  },
  {
    number: 81,
    given: '"/parent" = "write", cwd /parent/w',
    before: "mkdir w",
    config: p('"@W" = "write"'),
    calls: [{
      words: shell("mkdir .git && echo here; mkdir @W/.git || echo above"),
      folder: "w",
      end: 0,
      stdout: "here above",
    }],
    leaves: ["w"],
  },
  {
    number: 82,
    given: "-p a before, -p b after `sandbox`",
    before:
      `echo 'default_permissions = ":read-only"' > "$CODEX_HOME/a.config.toml"; echo 'default_permissions = ":workspace"' > "$CODEX_HOME/b.config.toml"`,
    calls: [
      {
        words: ["-p", "a", ...shell("touch f && echo b", "-p", "b")],
        end: 0,
        stdout: "b",
      },
      {
        words: ["-p", "b", ...shell("touch g || echo a", "-p", "a")],
        end: 0,
        stdout: "a",
      },
    ],
  },
];
