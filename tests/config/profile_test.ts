/**
 * `[permissions.NAME]`: entries, inheritance, network, options, and the messages about them.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { entries, findings, refusal, runs, USER, type World } from "./setup.ts";

/** A user config that selects `p`; `lines` are the lines of its filesystem table. */
function files(...lines: readonly string[]): NonNullable<World["files"]> {
  const table = `[permissions.p.filesystem]\n${lines.join("\n")}\n`;
  return { [USER]: `default_permissions = "p"\n${table}` };
}

const BUILT_IN = [ // name, entries, network
  [":read-only", ["read :root"], "none"],
  [
    ":workspace",
    [
      "read :root",
      "write /w",
      "write :slash_tmp",
      "write :tmpdir",
      "read /w/.git",
      "read /w/.agents",
      "read /w/.codex",
    ],
    "none",
  ],
  [":danger-full-access", ["disabled"], "host"],
] as const;

describe("built-in profiles", () => {
  for (const [name, lines, network] of BUILT_IN) {
    test(name, () => {
      const run = runs({ request: { permissionProfile: name } });
      expect([entries(run), run.policy.network]).toEqual(
        [lines, network] as never,
      );
    });
  }
});

test("a legacy workspace writes its roots in the order of the reference", () => {
  const run = runs({
    files: {
      [USER]:
        'sandbox_workspace_write.writable_roots = ["/r1", "rel", "/w"]\n' +
        "sandbox_workspace_write.exclude_tmpdir_env_var = true\n" +
        "sandbox_workspace_write.network_access = true\n",
    },
    request: { overrides: ["sandbox_mode=workspace-write"] },
  });
  const rel = "/home/me/.codex/rel";
  expect(entries(run)).toEqual([
    "read :root",
    "write /w",
    "write /r1",
    `write ${rel}`,
    "write :slash_tmp",
    "write /r1",
    `write ${rel}`,
    ...[".git", ".agents", ".codex"].flatMap((name) =>
      ["/w", "/r1", rel].map((root) => `read ${root}/${name}`)
    ),
  ]);
  expect([run.policy.network, run.policy.workspaceRoots as readonly string[]])
    .toEqual(["host", ["/w", "/r1", rel]]);
});

test("-P :workspace ignores the legacy settings", () => {
  const run = runs({
    files: { [USER]: 'sandbox_workspace_write.writable_roots = ["/r1"]' },
    request: { permissionProfile: ":workspace" },
  });
  expect(entries(run)).not.toContain("write /r1");
});

const ENTRIES: readonly (readonly [
  readonly string[],
  readonly string[],
  string,
])[] = [
  [['":root" = "read"'], ["read :root"], "a symbol"],
  [['":root" = "none"'], ["deny :root"], "none is deny"],
  [
    ['"~/x" = "read"', '":root" = "read"', '"/z" = "write"'],
    ["write /z", "read :root", "read /home/me/x"],
    "keys in byte order",
  ],
  [
    ['"/usr/../etc/./x//y/" = "write"'],
    ["write /etc/x/y"],
    "paths are folded (fact 35)",
  ],
  [['"~" = "read"'], ["read /home/me"], "the home itself"],
  [
    ['":workspace_roots" = { "." = "write", "docs" = "read", "a//b/" = "deny" }'],
    ["write /w", "deny /w/a/b", "read /w/docs"],
    "subpaths of the workspace",
  ],
  [
    ['":project_roots" = "write"'],
    ["write /w"],
    "the older name (fact 32, as 0.169)",
  ],
  [['":root"."." = "read"'], ["read :root"], ". is the key itself"],
  [
    ['":future"."docs" = "read"'],
    ["read :future"],
    "an unknown symbol is kept",
  ],
  [
    ['":workspace_roots"."**/*.env" = "deny"'],
    ["deny /w/**/*.env"],
    "a deny glob",
  ],
  [['"~/**/*.pem" = "deny"'], ["deny /home/me/**/*.pem"], "one of the home"],
  [
    ['"/opt/../srv//x/*.k" = "deny"'],
    ["deny /srv/x/*.k"],
    "globs are folded too",
  ],
  [['"/opt/x/**" = "write"'], ["write /opt/x"], "a trailing /** (fact 38)"],
  [
    ['":workspace_roots"."docs/**" = "read"'],
    ["read /w/docs"],
    "in a subpath too",
  ],
  [['"/opt/x/**" = "deny"'], ["deny /opt/x/**"], "with deny it stays a glob"],
  [['"/w/a{b,c}" = "deny"'], ["deny /w/a{b,c}"], "braces alone are no glob"],
  [[], [], "an empty table means none"],
];

describe("entries", () => {
  for (const [lines, expected, why] of ENTRIES) {
    test(why, () => {
      expect(entries(runs({ files: files(...lines) }))).toEqual(expected);
    });
  }
});

test("a profile without tables gives nothing", () => {
  const run = runs({
    files: { [USER]: 'default_permissions = "p"\n[permissions.p]\n' },
  });
  expect([entries(run), run.policy.grants, run.policy.network])
    .toEqual([[], [], "none"]);
});

test("a working directory with glob characters stays one", () => {
  const { policy } = runs({
    cwd: "/w/a[b]",
    files: files('":workspace_roots"."*.env" = "deny"'),
  });
  const [glob] = policy.globs;
  expect([glob?.pattern, glob?.prefix] as readonly unknown[])
    .toEqual(["/w/a\\[b\\]/*.env", "/w/a[b]"]);
});

test("each further workspace root gets copies behind all other entries", () => {
  const run = runs({
    files: {
      [USER]: 'default_permissions = "p"\n[permissions.p.workspace_roots]\n' +
        '"other" = true\n"off" = false\n"~/x" = true\n' +
        '[permissions.p.filesystem]\n":workspace_roots" = { "." = "write", ' +
        '"*.env" = "deny" }\n"/z" = "read"\n"~/y" = "read"\n',
    },
  });
  expect(entries(run)).toEqual([
    "read /z",
    "deny /w/*.env",
    "write /w",
    "read /home/me/y",
    "deny /w/other/*.env",
    "deny /home/me/x/*.env",
    "write /w/other",
    "write /home/me/x",
  ]);
});

const BAD: readonly (readonly [readonly string[], string, string])[] = [
  [['":root"."etc" = "read"'], "does not support nested entries", "fact 33"],
  [['":tmpdir"."x" = "read"'], "does not support nested entries", ":tmpdir"],
  [['"foo" = "write"'], "filesystem path `foo` must be absolute", "fact 34"],
  [['"$HOME/x" = "write"'], "must be absolute", "no variables"],
  [['"~bob/x" = "write"'], "must be absolute", "no other homes"],
  [['"**/*.pem" = "deny"'], "must be absolute", "nor a relative glob"],
  [['":workspace_roots"."../x" = "read"'], "must be a descendant path", "36"],
  [['":workspace_roots"."./x" = "read"'], "must be a descendant path", "36"],
  [['":workspace_roots"."" = "read"'], "must be a descendant path", "36"],
  [['":workspace_roots"."/x" = "read"'], "must be a descendant path", "36"],
  [
    ['":workspace_roots"."c/./d" = "read"'],
    "must be a descendant path",
    "an inner dot, which 0.169 turns into a deny of everything",
  ],
  [['"/opt/*.txt" = "read"'], "only supports `deny` access", "fact 38"],
  [
    ['"/opt/x/*" = "write"'],
    "use an exact path or trailing `/**` for `write` subtree access",
    "fact 38",
  ],
  [
    ['":workspace_roots"."a[z-a]" = "deny"'],
    'error parsing glob "/w/a[z-a]": invalid range',
    "fact 62",
  ],
  [['"/a\\u0000b" = "read"'], "must not hold a NUL", "NUL in a path"],
  [
    ['":futre" = "deny"'],
    '":futre" is denied, but no such symbol is known',
    "a deny on an unknown symbol leaks when it is ignored",
  ],
  [
    ['":mininal" = "deny"'],
    'did you mean ":minimal"?',
    "the nearest spelling",
  ],
  [['":minimal" = "deny"'], `":minimal" can't be denied`, "it never narrows"],
];

describe("entries that are refused", () => {
  for (const [lines, fragment, why] of BAD) {
    test(`${lines[0]}: ${why}`, () => {
      const line = refusal({ files: files(...lines) });
      expect(line).toContain(fragment);
      expect(line).toStartWith(`${USER}:3:`);
    });
  }
});

const TYPES: readonly (readonly [string, string])[] = [
  [
    '[permissions.q.filesystem]\n":root" = "raed"',
    `${USER}:2:11: key permissions.q.filesystem.":root" is "raed", expected "read", "write" or "deny" (did you mean "read"?)`,
  ],
  [
    '[permissions.q.filesystem]\n"/x" = true',
    `${USER}:2:8: key permissions.q.filesystem."/x" is true, expected "read", "write" or "deny"`,
  ],
  [
    '[permissions.q.filesystem]\n"/x" = "READ"',
    `is "READ", expected "read", "write" or "deny" (did you mean "read"?)`,
  ],
  [
    "[permissions.q.filesystem]\nglob_scan_max_depth = 0",
    "glob_scan_max_depth must be at least 1",
  ],
  [
    "[permissions.q.filesystem]\nglob_scan_max_depth = 1.0",
    "is 1.0, expected an integer",
  ],
  ["[permissions.q.workspace_roots]\na = 1", "is 1, expected a boolean"],
  ['[permissions.q.network]\nenabled = "yes"', 'is "yes", expected a boolean'],
  [
    '[permissions.q.network]\nmode = "weird"',
    'is "weird", expected "full" or "limited"',
  ],
  [
    '[permissions.q.network.domains]\n"a" = "none"',
    'is "none", expected "allow" or "deny"',
  ],
  ['[permissions.q]\ntmp = "own"', 'expected "shared" or "private"'],
  ['[permissions.q]\nrequire = ["pids"]', 'did you mean "pid"?'],
  ['[permissions.q]\nrequire = "pid"', 'is "pid", expected a list of'],
  [
    "[permissions.q]\ndebug = 1",
    "permissions.q.debug is 1, expected a boolean",
  ],
  [
    '[projects."/x"]\ntrust_level = "yes"',
    'expected "trusted" or "untrusted"',
  ],
  [
    '[shell_environment_policy]\ninherit = "some"',
    'expected "core", "all" or "none"',
  ],
  [
    "[features]\nnetwork_proxy = { enabled = true, mitm = 1 }",
    "unknown key features.network_proxy.mitm",
  ],
  ["[features]\nuse_legacy_landlock = 2024-01-01", "is a date, expected"],
  ['[permissions.":x"]', "uses a reserved built-in profile prefix"],
  ["permissions = 3", "permissions is 3, expected a table"],
  ['project_root_markers = ["../x"]', 'project root marker "../x"'],
];

describe("types are strict in the whole document, used or not", () => {
  for (const [text, fragment] of TYPES) {
    test(`${JSON.stringify(text)}`, () => {
      expect(refusal({ files: { [USER]: text } })).toContain(fragment);
    });
  }
});

test("a file's path and key stand before the message, with line and column", () => {
  expect(refusal({
    files: { [USER]: '\n\n[permissions]\np = { filesystem = { "/x" = 1 } }' },
  })).toBe(
    `${USER}:4:29: key permissions.p.filesystem."/x" is 1, expected "read", "write" or "deny"`,
  );
});

const EXTENDS: readonly (readonly [string, string, string])[] = [
  ['p = { extends = ":workspace" }', "runs as p", "a built-in parent"],
  ['p = { extends = "q" }\nq = {}', "runs as p", "a parent of one's own"],
  [
    'p = { extends = "zz" }',
    "permissions profile `p` extends undefined profile `zz`",
    "an unknown parent",
  ],
  [
    'p = { extends = ":danger-full-access" }',
    "permissions profile `p` cannot extend unsupported built-in profile `:danger-full-access`",
    "fact 41",
  ],
  ['p = { extends = ":x" }', "unsupported built-in profile `:x`", "unknown"],
  [
    'p = { extends = "p" }',
    "permissions profile inheritance cycle detected: p -> p",
    "itself",
  ],
  [
    'p = { extends = "d" }\nd = { extends = "p" }',
    "permissions profile inheritance cycle detected: p -> d -> p",
    "a cycle",
  ],
  [
    'p = {}\nd = { extends = "d" }\ne = { filesystem = { "x" = "read" } }',
    "runs as p",
    "faults of meaning elsewhere don't stop a run (fact 42)",
  ],
];

describe("extends", () => {
  for (const [table, expected, why] of EXTENDS) {
    test(why, () => {
      const text = `default_permissions = "p"\n[permissions]\n${table}\n`;
      expect(refusal({ files: { [USER]: text } })).toContain(expected);
    });
  }
});

test("config check lists the faults that a run passes over", () => {
  const text = 'default_permissions = "p"\n[permissions]\np = {}\n' +
    'd = { extends = "d" }\ne = { filesystem = { "x" = "read" } }\n' +
    'f = { filesystem = { ":future" = "read" }, y = 1 }';
  expect(findings({ files: { [USER]: text } })).toEqual([
    `warning: ${USER}:6:44: unknown key permissions.f.y`,
    `${USER}:4:17: permissions profile inheritance cycle detected: d -> d`,
    `${USER}:5:28: filesystem path \`x\` must be absolute, use \`~/...\`, or start with \`:\``,
    `warning: ${USER}:6:34: unknown symbol ":future" is ignored (known are :root, :minimal, :workspace_roots, :project_roots, :tmpdir, :slash_tmp)`,
  ]);
});

test("a child overrides its parents key by key, and origins name who wrote what", () => {
  const text = 'default_permissions = "p"\n' +
    '[permissions.base]\nextends = ":workspace"\ndebug = true\n' +
    'filesystem = { "/a" = "read", "/b" = "read" }\n' +
    "[permissions.base.network]\nenabled = true\n" +
    '[permissions.base.network.domains]\n"Example.com." = "allow"\n' +
    '[permissions.p]\nextends = "base"\n' +
    'filesystem = { "/b" = "write", ":workspace_roots".".git" = "write" }\n' +
    '[permissions.p.network.domains]\n"example.com" = "deny"\n';
  const run = runs({ files: { [USER]: text } });
  expect(entries(run)).toEqual([
    "read /a",
    "write /b",
    "read :root",
    "write :slash_tmp",
    "write :tmpdir",
    "write /w",
    "read /w/.agents",
    "read /w/.codex",
    "write /w/.git",
  ]);
  expect(run.policy.grants.map(({ origin }) => origin.key)).toEqual([
    'permissions.base.filesystem."/a"',
    'permissions.p.filesystem."/b"',
    "built-in :workspace",
    "built-in :workspace",
    "built-in :workspace",
    "built-in :workspace",
    "built-in :workspace",
    'permissions.p.filesystem.":workspace_roots".".git"',
  ]);
  expect(run.network.table.domains).toEqual({ "example.com": "deny" });
  expect(run.network.originOf(["domains", "example.com"]).key)
    .toBe('permissions.p.network.domains."example.com"');
  expect(run.network.originOf(["enabled"]).key)
    .toBe("permissions.base.network.enabled");
  expect(run.policy.options.debug).toBe(true);
});

test("a child that writes a whole key replaces the parent's table", () => {
  const text = 'default_permissions = "p"\n[permissions.p]\n' +
    'extends = ":workspace"\nfilesystem.":workspace_roots" = "read"';
  expect(entries(runs({ files: { [USER]: text } }))).toEqual([
    "read :root",
    "write :slash_tmp",
    "write :tmpdir",
    "read /w",
  ]);
});

const NAMES: readonly (readonly [string, string, string])[] = [
  [
    "nope",
    '-P "nope": default_permissions requires a `[permissions]` table',
    "no table at all (fact 5)",
  ],
  [
    ":danger-no-sandbox",
    "refers to unknown built-in profile `:danger-no-sandbox`",
    "fact 4",
  ],
  [":workspac", "did you mean `:workspace`?", "the nearest spelling"],
  ["", "requires a `[permissions]` table", "an empty name"],
];

describe("names that no profile has", () => {
  for (const [name, fragment, why] of NAMES) {
    test(why, () => {
      expect(refusal({ request: { permissionProfile: name } }))
        .toContain(fragment);
    });
  }
});

test("an undefined name lists what is known", () => {
  const files = { [USER]: "[permissions.ci]\n[permissions.build]" };
  expect(refusal({ files, request: { permissionProfile: "zzz" } })).toBe(
    '-P "zzz": default_permissions refers to undefined profile `zzz` (known are ci, build, :read-only, :workspace, :danger-full-access)',
  );
});

const OPTIONS = 'default_permissions = "p"\n[permissions.p]\n' +
  'tmp = "private"\nrequire = ["proc", "pid", "proc"]\ndebug = true\n' +
  "nested_namespaces = true\nloopback = false\n" +
  'nested_repositories = "write"\n' +
  'glob_backend = "ripgrep"\n[permissions.p.network.unix_sockets]\n' +
  '"/run/b.sock" = "allow"\n"~/a.sock" = "allow"\n"/run/c" = "deny"\n';

test("the keys of a profile that are not entries", () => {
  expect(runs({ files: { [USER]: OPTIONS } }).policy.options).toEqual(
    {
      tmp: "private",
      require: ["proc", "pid"],
      debug: true,
      nestedNamespaces: true,
      loopback: false,
      nestedRepositories: "write",
      globBackend: "ripgrep",
      unixSockets: ["/run/b.sock", "/home/me/a.sock"],
    } as never,
  );
});

test("an allowed unix socket must be an absolute path", () => {
  const text = OPTIONS.replace("/run/b.sock", "b.sock");
  expect(refusal({ files: { [USER]: text } }))
    .toContain('unix socket "b.sock" must be an absolute path');
});

const NETWORK: readonly (readonly [string, string, string, string])[] = [
  // network table, features, mode and wire word, why
  ["", "", "none restricted", "nothing said"],
  ["enabled = false", "", "none restricted", "switched off"],
  ["enabled = true", "", "host enabled", "fact 69"],
  ["enabled = true", "network_proxy = true", "proxied enabled", "the feature"],
  ["", "network_proxy = true", "none restricted", "the feature opens nothing"],
  ["managed = true", "", "proxied restricted", "managed is enough"],
  ["domains = { a = 'allow' }", "", "proxied restricted", "so is a domain"],
  ["enabled = true\ndomains = {}", "", "proxied restricted", "empty is none"],
  ["enabled = true\nmode = 'limited'", "", "proxied restricted", "limited"],
  ["enabled = true\nmitm = {}", "", "proxied restricted", "interception"],
  [
    "enabled = true\nmanaged = true",
    "network_proxy = false",
    "none restricted",
    "the proxy switched off beside managed: no network, never the host's",
  ],
  [
    "enabled = true\ndomains = { a = 'allow' }",
    "network_proxy = { enabled = false }",
    "none restricted",
    "the same with a table",
  ],
  [
    "enabled = false\ndomains = { a = 'allow' }",
    "",
    "none restricted",
    "enabled = false beside domains",
  ],
  [
    "enabled = true",
    "network_proxy = false",
    "host enabled",
    "without managed the switch has nothing to say",
  ],
  [
    "enabled = true",
    "network_proxy = { domains = { a = 'allow' } }",
    "proxied enabled",
    "a table without enabled is on",
  ],
  [
    "enabled = true",
    "network_proxy = { enabled = false, domains = { a = 'allow' } }",
    "none restricted",
    "hosts named and the proxy off",
  ],
];

describe("the network", () => {
  for (const [table, features, expected, why] of NETWORK) {
    test(`${JSON.stringify(table)} ${features}: ${expected}: ${why}`, () => {
      const text = 'default_permissions = "p"\n[features]\n' + features +
        `\n[permissions.p.network]\n${table}\n`;
      const { policy, profile } = runs({ files: { [USER]: text } });
      const word = profile.kind === "managed" ? profile.network : profile.kind;
      expect(`${policy.network} ${word}`).toBe(expected);
    });
  }
});

const OPENED:
  readonly (readonly [string, readonly string[], string, string])[] = [
    // user's layer, -c words, part of the refusal or the network's mode, why
    [
      "[permissions.p.network]\nmanaged = true",
      ["permissions.p.network={ managed = false, enabled = true }"],
      "nothing takes back permissions.p.network.managed",
      "a switch of the command line",
    ],
    [
      "[permissions.p.network]\nmanaged = true",
      ["permissions.p.network.managed=false"],
      "none",
      "less than before is no opening",
    ],
    [
      "[permissions.p.network]\nenabled = true\nmode = 'limited'",
      ["permissions.p.network.mode=full"],
      "nothing takes back permissions.p.network.mode",
      "the other word for a managed network",
    ],
    [
      "[permissions.p]\nextends = 'q'\nnetwork = { managed = false, enabled = true }\n[permissions.q.network]\nmanaged = true",
      [],
      "nothing takes back permissions.q.network.managed",
      "a parent",
    ],
    [
      "[permissions.p.network]\nenabled = true\n[features.network_proxy]\ndomains = { a = 'allow' }",
      ["features.network_proxy=false"],
      "none",
      "a switch in the place of a table that names hosts",
    ],
    [
      "[permissions.p.network]\nenabled = true",
      [
        "features.network_proxy={domains={a='allow'}}",
        "features.network_proxy=false",
      ],
      "none",
      "a switch behind such a table on one command line",
    ],
    [
      "[permissions.p.network]\nenabled = true",
      [
        "features.network_proxy={domains={a='allow'}}",
        "features.network_proxy={enabled=false}",
      ],
      "none",
      "another table behind it",
    ],
    [
      "[permissions.p.network]\nenabled = true",
      [
        "features.network_proxy={mode='limited'}",
        "features.network_proxy={mode='full',enabled=false}",
      ],
      "none",
      "another value behind it",
    ],
    [
      "",
      [
        "permissions.p.network={domains={a='allow'}}",
        "permissions.p.network={enabled=true}",
      ],
      "proxied",
      "a profile's table behind its hosts on one command line",
    ],
    [
      "",
      [
        "permissions.p.network={managed=true}",
        "permissions.p.network={managed=false,enabled=true}",
      ],
      "-c permissions.p.network.managed: Cannot make this managed network the host's",
      "a later word takes back no earlier one",
    ],
    [
      "[permissions]\nq.network.managed = true\np.extends = 'q'\np.network.enabled = true",
      ["permissions.p.extends=:workspace"],
      "q.network.managed",
      "another parent",
    ],
    [
      "[permissions]\nq.network.domains.a = 'allow'\np.extends = 'q'\np.network.enabled = true",
      ["permissions.p.extends=:workspace"],
      "q.network.domains",
      "another parent in the place of one that names hosts",
    ],
    [
      "[permissions.p.network]\nenabled = true\ndomain = { a = 'allow' }",
      [],
      'unknown key permissions.p.network.domain: it may be meant to limit it; write "domains"',
      "a misspelled list of hosts",
    ],
    [
      "[permissions.p.network]\nenabled = true\nallowed_domains = ['a']",
      [],
      'unknown key permissions.p.network.allowed_domains: it may be meant to limit it; write "domains"',
      "another program's word for it",
    ],
    [
      "[permissions.p.network]\nenabled = true\nmanagd = true",
      [],
      'write "managed"',
      "a misspelled switch",
    ],
    ...[
      "allowlist = ['a']",
      "deny = ['a']",
      "sites = ['a']",
      "remote = { a = 'allow' }",
    ].map((line) =>
      [
        `[permissions.p.network]\nenabled = true\n${line}`,
        [] as readonly string[],
        'write "domains"',
        "a list in other words",
      ] as const
    ),
    ...[
      "note = 'x'",
      "managd = false",
      "node = 1",
      "modus = 'full'",
      "ports = [443]",
      "unix_socket = { '/run/docker.sock' = 'allow' }",
      "allow_local_bindings = true",
      "allow_upstrem_proxy = false",
    ].map((line) =>
      [
        `[permissions.p.network]\nenabled = true\n${line}`,
        [] as readonly string[],
        "host",
        "an unknown key that limits nothing is a warning",
      ] as const
    ),
    [
      "[permissions.p.network]\nenabled = true\nsocks_urls = 'x'",
      [],
      "host",
      "a misspelled key that limits nothing is a warning",
    ],
    [
      "[permissions.p.network]\nmanaged = true\ndomain = { a = 'allow' }",
      [],
      "proxied",
      "beside a managed network it opens nothing",
    ],
  ];
for (const [user, words, expected, why] of OPENED) {
  test(`${JSON.stringify(user)} ${words}: ${expected}: ${why}`, () => {
    const world: World = {
      files: { [USER]: `default_permissions = "p"\n${user}\n` },
      request: { overrides: words },
    };
    const isMode = ["none", "host", "proxied"].includes(expected);
    if (isMode) expect(runs(world).policy.network).toBe(expected as never);
    else expect(refusal(world)).toContain(expected);
  });
}

const TAKERS: readonly (readonly [string, string, string, string])[] = [
  // user's layer, the project's, where the refusal points to, why
  [
    "[permissions.p.network]\nmanaged = true\nenabled = true",
    "permissions.p.network.managed = false",
    "/w/.codex/config.toml:1:33",
    "the same key of a higher layer",
  ],
  [
    "[permissions.p.network]\nmode = 'limited'\nenabled = true",
    "permissions.p.network.mode = 'full'",
    "/w/.codex/config.toml:1:30",
    "the other word",
  ],
  [
    "[permissions.p]\nextends = 'q'\n[permissions.q.network]\nmanaged = true\nenabled = true",
    "permissions.p.network.managed = false",
    "/w/.codex/config.toml:1:33",
    "a child's key",
  ],
  [
    "[permissions]\np.extends = 'q'\nq.extends = 'r'\nr.network.managed = true\no.network.enabled = true",
    "permissions.q.extends = 'o'",
    "/w/.codex/config.toml:1:25",
    "another parent of a parent",
  ],
];
for (const [user, project, place, why] of TAKERS) {
  test(`a managed network that becomes the host's is refused where it is taken back: ${why}`, () => {
    const trust = '\n[projects."/w"]\ntrust_level = "trusted"\n';
    const world: World = {
      files: {
        "/w/.git": "DIR",
        [USER]: `default_permissions = "p"\n${user}${trust}`,
        "/w/.codex/config.toml": project,
      },
    };
    expect(refusal(world)).toStartWith(
      `${place}: Cannot make this managed network the host's: nothing takes back permissions.`,
    );
  });
}

test("--disable network_proxy beside managed means no network", () => {
  const text =
    'default_permissions = "p"\n[permissions.p.network]\nmanaged = true\nenabled = true';
  const run = runs({
    files: { [USER]: text },
    request: { features: [{ feature: "network_proxy", isEnabled: false }] },
  });
  expect(run.policy.network).toBe("none");
});

test("--enable network_proxy keeps the hosts of a file's table", () => {
  const text = 'default_permissions = "p"\n' +
    '[features.network_proxy]\nenabled = false\ndomains = { a = "allow" }\n' +
    "[permissions.p.network]\nenabled = true\n";
  const run = runs({
    files: { [USER]: text },
    request: { features: [{ feature: "network_proxy", isEnabled: true }] },
  });
  expect([run.policy.network, run.network.table.domains]).toEqual([
    "proxied",
    { a: "allow" },
  ]);
});

test("an unknown network key is one warning of a run", () => {
  const text = 'default_permissions = "p"\n[permissions.p.network]\n' +
    "managed = true\nnote = 'x'\nlater = 1\n";
  const { warnings } = runs({ files: { [USER]: text } });
  expect(warnings).toEqual([
    `${USER}: unknown key permissions.p.network.note is ignored (+1 more: codex config check)`,
  ]);
});

test("[features.network_proxy] is laid over the profile's table", () => {
  const text = 'default_permissions = "p"\n' +
    '[features.network_proxy]\nmode = "limited"\ndomains = { "B." = "deny" }\n' +
    "[permissions.p.network]\nenabled = true\n" +
    'domains = { a = "allow", b = "allow" }\n';
  const { network } = runs({ files: { [USER]: text } });
  expect(network.table).toEqual({
    enabled: true,
    mode: "limited",
    domains: { a: "allow", b: "deny" },
  });
  expect(
    [["domains", "a"], ["domains", "b"]].map((path) =>
      network.originOf(path).key
    ),
  ).toEqual([
    "permissions.p.network.domains.a",
    'features.network_proxy.domains."B."',
  ]);
});

test("of two spellings of one host deny stays", () => {
  for (const keys of [["DUP.test", "dup.test"], ["dup.test", "DUP.test"]]) {
    const text =
      'default_permissions = "p"\n[permissions.p.network.domains]\n' +
      `"${keys[0]}" = "deny"\n"${keys[1]}" = "allow"\n`;
    const { network } = runs({ files: { [USER]: text } });
    expect(network.table.domains).toEqual({ "dup.test": "deny" });
  }
});
