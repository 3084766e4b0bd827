import { expect, test } from "bun:test";
import { assert, property, string, uniqueArray } from "fast-check";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { FLAGS } from "../../src/cli/flags.ts";
import {
  parseCleanOptions,
  parseConfigOptions,
  parseDoctorOptions,
  parsePolicyOptions,
} from "../../src/cli/answer_options.ts";
import { parseHelperOptions } from "../../src/cli/helper_options.ts";
import { parseSandboxOptions } from "../../src/cli/sandbox_options.ts";

const bytes = (words: readonly string[]): ByteString[] =>
  words.map((word) => word as ByteString);

const CONFIG = { overrides: [], features: [], configProfile: null };
const DEFAULTS = {
  kind: "sandbox",
  policy: { kind: "configured", legacyMode: "read_only" },
  config: CONFIG,
  action: "run",
  printsTimings: false,
  passedFds: [],
  lifetime: "dies_with_caller",
  backend: "auto",
  givenUp: [],
  launcher: "auto",
  stage: "auto",
  user: null,
  network: { report: "auto", log: null },
  limits: { timeoutMs: null, graceMs: null, result: null },
  command: ["x"],
};
const NAMED = {
  kind: "named",
  profile: ":workspace",
  cd: null,
  requirements: "root_owned",
};

type Row = readonly [readonly string[], Record<string, unknown>, string];
const SANDBOX: readonly Row[] = [
  [["x"], {}, "no flag at all"],
  [["--", "x"], {}, "one -- is dropped"],
  [["--", "echo", "--", "-x"], {
    command: ["echo", "--", "-x"],
  }, "a later -- is kept"],
  [["sh", "-c", "echo $1", "-P", "x", "--help"], {
    command: ["sh", "-c", "echo $1", "-P", "x", "--help"],
  }, "everything behind the program is verbatim"],
  [["--", "--help"], { command: ["--help"] }, "-- protects a program's name"],
  [["linux", "--", "x"], {
    command: ["linux", "--", "x"],
  }, "no system sub-command"],
  [["-"], { command: ["-"] }, "a lone dash is a program"],
  [["--", ""], { command: [""] }, "an empty name is carried"],
  [["--", "\xff\xfe", "a\x80"], {
    command: ["\xff\xfe", "a\x80"],
  }, "bytes that are not UTF-8 are carried"],
  [["-P", ":workspace", "x"], { policy: NAMED }, "a short flag and a word"],
  [["-P:workspace", "x"], { policy: NAMED }, "a short flag with its value"],
  [["-P=:workspace", "x"], { policy: NAMED }, "the same with ="],
  [["--permission-profile", ":workspace", "x"], { policy: NAMED }, "long"],
  [["--permission-profile=:workspace", "x"], { policy: NAMED }, "long with ="],
  [["--permissions-profile=:workspace", "x"], { policy: NAMED }, "the alias"],
  [["-P", "", "x"], {
    policy: { ...NAMED, profile: "" },
  }, "an empty name fails later, as undefined"],
  [["-P", fromText("größe"), "x"], {
    policy: { ...NAMED, profile: "größe" },
  }, "a name is text"],
  [["-P", ":workspace", "-C", "/a\xff", "x"], {
    policy: { ...NAMED, cd: "/a\xff" },
  }, "a directory is bytes"],
  [["-P", ":workspace", "--cd=-odd", "x"], {
    policy: { ...NAMED, cd: "-odd" },
  }, "= allows a dash"],
  [["-P", ":workspace", "--cd=", "x"], {
    policy: { ...NAMED, cd: "" },
  }, "= allows nothing"],
  [["-P", ":workspace", "--include-managed-config", "x"], {
    policy: { ...NAMED, requirements: "all" },
  }, "managed requirements"],
  [["--full-auto", "x"], {
    policy: { kind: "configured", legacyMode: "workspace_write" },
  }, "full auto"],
  [["--sandbox-state-json", "{}", "x"], {
    policy: {
      kind: "state",
      json: "{}",
      readableRoots: [],
      network: "as_stated",
    },
  }, "a state"],
  [
    [
      "--sandbox-state-readable-root",
      "/a",
      "--sandbox-state-json={}",
      "--sandbox-state-readable-root=b\xff",
      "--sandbox-state-disable-network",
      "x",
    ],
    {
      policy: {
        kind: "state",
        json: "{}",
        readableRoots: ["/a", "b\xff"],
        network: "restricted",
      },
    },
    "a state with its companions, in any order",
  ],
  [["-c", "a=b", "--config=c=d", "-ce=f", "x"], {
    config: { ...CONFIG, overrides: ["a=b", "c=d", "e=f"] },
  }, "overrides in their order"],
  [["--disable", "a", "--enable", "a", "--enable=b", "x"], {
    config: {
      ...CONFIG,
      features: [
        { feature: "a", isEnabled: false },
        { feature: "a", isEnabled: true },
        { feature: "b", isEnabled: true },
      ],
    },
  }, "enable and disable keep their common order"],
  [["-p", "wo_rk-2", "x"], {
    config: { ...CONFIG, configProfile: "wo_rk-2" },
  }, "a config profile"],
  [
    ["--explain", "x"],
    { action: "explain_text" },
    "explain alone takes no word",
  ],
  [
    ["--explain=json", "x"],
    { action: "explain_json" },
    "explain with a format",
  ],
  [["--timings", "x"], { printsTimings: true }, "timings"],
  [["--pass-fd", "9", "--pass-fd=3", "--pass-fd", "9", "x"], {
    passedFds: [3, 9],
  }, "descriptors are sorted, each once"],
  [["--timeout", "30", "--grace=1.5s", "x"], {
    limits: { timeoutMs: 30_000, graceMs: 1_500, result: null },
  }, "times"],
  [["--result-json", "r\xff", "x"], {
    limits: {
      timeoutMs: null,
      graceMs: null,
      result: { kind: "file", path: "r\xff" },
    },
  }, "a result in a file"],
  [["--result-json=fd:7", "x"], {
    limits: {
      timeoutMs: null,
      graceMs: null,
      result: { kind: "fd", fd: 7 },
    },
  }, "a result to a descriptor"],
  [["--outlive-caller", "x"], { lifetime: "outlives_caller" }, "lifetime"],
  [["--launcher", "bundled", "x"], { launcher: "bundled" }, "launcher"],
  [["--report-blocked", "always", "--network-log=l\xff", "x"], {
    network: { report: "always", log: "l\xff" },
  }, "what a managed network tells"],
  [["--stage=one-start", "x"], { stage: "one_start" }, "stage"],
  [["--stage=inner", "x"], { stage: "inner" }, "stage"],
  [["--user", "1000", "x"], { user: { uid: 1000, gid: null } }, "a user"],
  [["--user=0:7", "x"], { user: { uid: 0, gid: 7 } }, "a user and a group"],
  [["--user", "4294967294", "x"], {
    user: { uid: 4294967294, gid: null },
  }, "the last number"],
  [["--backend=bubblewrap", "x"], { backend: "bubblewrap" }, "back end"],
  [["--backend", "landlock", "x"], { backend: "landlock" }, "back end"],
  [
    [
      "--give-up=pid",
      "--backend=landlock",
      "--give-up",
      "carve-outs",
      "--give-up=pid",
      "x",
    ],
    { backend: "landlock", givenUp: ["pid", "carve-outs"] },
    "promises given up, each once, in any order",
  ],
];
for (const [words, changes, why] of SANDBOX) {
  test(`sandbox ${JSON.stringify(words)} is accepted: ${why}`, () => {
    expect(parseSandboxOptions(bytes(words))).toEqual(
      { ok: true, value: { ...DEFAULTS, ...changes } } as never,
    );
  });
}

test("words before the command come first, and its own profile wins", () => {
  const result = parseSandboxOptions(
    bytes(["-c", "c=d", "-p", "b", "--disable", "f", "x"]),
    bytes(["-p", "a", "-c", "a=b", "--enable", "f"]),
  );
  expect(result).toEqual(
    {
      ok: true,
      value: {
        ...DEFAULTS,
        config: {
          overrides: ["a=b", "c=d"],
          features: [
            { feature: "f", isEnabled: true },
            { feature: "f", isEnabled: false },
          ],
          configProfile: "b",
        },
      },
    } as never,
  );
});

test("a profile before the command counts when the command has none", () => {
  const result = parseSandboxOptions(bytes(["x"]), bytes(["-p", "a"]));
  expect(result.ok && result.value.kind === "sandbox" && result.value.config)
    .toEqual({ ...CONFIG, configProfile: "a" });
});

for (const words of [["-h"], ["--help", "--nonsense"], ["--timings", "-h"]]) {
  test(`sandbox ${words.join(" ")} asks for help`, () => {
    expect(parseSandboxOptions(bytes(words)))
      .toEqual({ ok: true, value: { kind: "help", topic: "sandbox" } });
  });
}

type Refusal = readonly [readonly string[], string, string];
const SANDBOX_REFUSALS: readonly Refusal[] = [
  [[], "No command specified to execute.", "-- COMMAND"],
  [["--"], "No command specified to execute.", "-- COMMAND"],
  [["--explain"], "No command specified to execute.", "put it last"],
  [["--help-me", "x"], "unexpected argument '--help-me' found", "--help"],
  [["--permision-profile", "x"], "unexpected argument", "--permission-profile"],
  [["--timing=1", "x"], "unexpected argument '--timing' found", "--timings"],
  [["--zzz", "x"], "unexpected argument '--zzz' found", "behind '--'"],
  [["--\xff", "x"], "unexpected argument '--\\xff' found", "behind '--'"],
  [["-x", "x"], "unexpected argument '-x' found", "behind '--'"],
  [["--version"], "unexpected argument '--version' found", "codex --version"],
  [["--cwd", "/"], "unexpected argument '--cwd' found", "--cd"],
  [["--sandbox-policy-cwd", "/", "x"], "unexpected argument", "behind '--'"],
  [["-P", "a", "-P", "a", "x"], "cannot be used multiple times", ""],
  [["-P", "a", "--permissions-profile=a", "x"], "multiple times", ""],
  [["--timings", "--timings", "x"], "'--timings' cannot be used multiple", ""],
  [["-P"], "a value is required for '--permission-profile <NAME>'", ""],
  [["-P", "--", "x"], "a value is required for '--permission-profile", ""],
  [["-P", "-C", "x"], "a value is required", "--permission-profile=-C"],
  [
    ["--timings=yes", "x"],
    "unexpected value 'yes' for '--timings'",
    "no value",
  ],
  [["-c", "a=\xff", "x"], "invalid UTF-8 was detected in one or more", ""],
  [["-P", "\xff", "x"], "invalid UTF-8 was detected in one or more", ""],
  [["-C", "/x", "x"], "'--cd' requires --permission-profile <NAME>", "-P"],
  [["--include-managed-config", "x"], "requires --permission-profile", "-P"],
  [["--full-auto", "-P", "a", "x"], "cannot be used with", "-P :workspace"],
  [
    ["--sandbox-state-json={}", "-P", "a", "x"],
    "'--permission-profile'",
    "its own profile",
  ],
  [
    ["--sandbox-state-json={}", "-C", "a", "x"],
    "cannot be used with",
    "its own profile",
  ],
  [
    ["--sandbox-state-json={}", "--full-auto", "x"],
    "'--full-auto'",
    "its own profile",
  ],
  [
    ["--sandbox-state-json={}", "--include-managed-config", "x"],
    "cannot be used with '--include-managed-config'",
    "its own profile",
  ],
  [["--sandbox-state-readable-root", "/", "x"], "requires --sandbox-state", ""],
  [["--sandbox-state-disable-network", "x"], "requires --sandbox-state", ""],
  [["-p", "../x", "x"], "invalid --profile value '../x'", ""],
  [["-p", "a.b", "x"], "invalid --profile value 'a.b'", ""],
  [["-p", "", "x"], "invalid --profile value ''", ""],
  [["-p", "a\n", "x"], "invalid --profile value 'a\\x0a'", ""],
  [["-p", ":workspace", "x"], "invalid --profile value", "-P :workspace"],
  [["--pass-fd", "2", "x"], "invalid value '2'", "always passed"],
  [["--pass-fd", "03", "x"], "invalid value '03'", ""],
  [["--pass-fd=-3", "x"], "invalid value '-3'", ""],
  [["--pass-fd", "3.0", "x"], "invalid value '3.0'", ""],
  [["--pass-fd", "2147483648", "x"], "invalid value '2147483648'", ""],
  [["--launcher", "sytem", "x"], "must be auto, system, bundled", "system"],
  [["--report-blocked=alwys", "x"], "must be never, auto, always", "always"],
  [["--network-log"], "a value is required", ""],
  [["--stage", "", "x"], "invalid value '' for '--stage'", ""],
  [["--user", "", "x"], "invalid value ''", "id -u NAME"],
  [["--user", "root", "x"], "invalid value 'root'", "id -u NAME"],
  [["--user", "1:2:3", "x"], "invalid value '1:2:3'", "id -u NAME"],
  [["--user", "1:", "x"], "invalid value '1:'", "id -u NAME"],
  [["--user", "-1", "x"], "a value is required", "--user=-1"],
  [
    ["--user", "4294967295", "x"],
    "invalid value '4294967295' for '--user <UID[:GID]>': must be one or two numbers, 4294967294 at most",
    "id -u NAME",
  ],
  [
    ["--backend", "landlok", "x"],
    "invalid value 'landlok' for '--backend': must be auto, bubblewrap, landlock",
    "did you mean 'landlock'?",
  ],
  [
    ["--give-up", "pid", "x"],
    "'--give-up' requires --backend landlock",
    "bubblewrap keeps",
  ],
  [
    ["--backend=bubblewrap", "--give-up", "pid", "x"],
    "'--give-up' requires --backend landlock",
    "bubblewrap keeps every promise",
  ],
  [
    ["--backend=landlock", "--give-up", "carve-out", "x"],
    "invalid value 'carve-out' for '--give-up <PROMISE>': must be read-deny, write-deny, carve-outs, network, pid, ipc, proc",
    "did you mean 'carve-outs'?",
  ],
  [
    ["--backend=landlock", "--launcher=bundled", "x"],
    "the argument '--backend landlock' cannot be used with '--launcher'",
    "ways of bubblewrap's",
  ],
  [
    ["--backend=landlock", "--stage=inner", "x"],
    "the argument '--backend landlock' cannot be used with '--stage'",
    "ways of bubblewrap's",
  ],
  [["--explain=yaml", "x"], "invalid value 'yaml' for '--explain'", ""],
];
for (const [words, message, hint] of SANDBOX_REFUSALS) {
  test(`sandbox ${JSON.stringify(words)} is refused with "${message}"`, () => {
    expectRefusal(parseSandboxOptions(bytes(words)), message, hint);
  });
}

test("a bad profile name before the command is refused though another wins", () => {
  const result = parseSandboxOptions(
    bytes(["-p", "b", "x"]),
    bytes(["-p", "a/b"]),
  );
  expectRefusal(result, "invalid --profile value 'a/b'", "");
});

const REQUIRED = ["--sandbox-policy-cwd", "/w", "--permission-profile", "{}"];
const HELPER_DEFAULTS = {
  kind: "helper",
  policyCwd: "/w",
  commandCwd: null,
  policy: { kind: "profile", json: "{}" },
  proxy: { kind: "none" },
  enforcement: "bubblewrap",
  stage: "outer",
  proc: "fresh",
  command: ["x"],
};
const CWD = "--sandbox-policy-cwd=/w";
const HELPER: readonly Row[] = [
  [[...REQUIRED, "--", "x"], {}, "the least"],
  [[...REQUIRED, "x", "--no-proc"], {
    command: ["x", "--no-proc"],
  }, "behind the program all is verbatim"],
  [
    ["--sandbox-policy-cwd=\xff", "--permission-profile={}", "x", "\xff"],
    { policyCwd: "\xff", command: ["x", "\xff"] },
    "directories and the command are bytes",
  ],
  [[...REQUIRED, "--command-cwd", "/w/l", "x"], { commandCwd: "/w/l" }, "cwd"],
  [[...REQUIRED, "--use-legacy-landlock", "x"], {
    enforcement: "legacy_landlock",
  }, "Landlock"],
  [[...REQUIRED, "--no-proc", "x"], { proc: "none" }, "no /proc"],
  [[...REQUIRED, "--apply-seccomp-then-exec", "x"], {
    stage: "inner",
  }, "the inner stage"],
  [[...REQUIRED, "--allow-network-for-proxy", "x"], {
    proxy: { kind: "environment", routeSpecJson: null },
  }, "a proxy of the environment"],
  [
    [
      ...REQUIRED,
      "--apply-seccomp-then-exec",
      "--allow-network-for-proxy",
      "--proxy-route-spec={}",
      "x",
    ],
    {
      stage: "inner",
      proxy: { kind: "environment", routeSpecJson: "{}" },
    },
    "the inner stage of it",
  ],
  [[...REQUIRED, "--managed-network", "{}", "x"], {
    proxy: { kind: "managed", json: "{}" },
  }, "a managed proxy"],
  [[CWD, "--sandbox-policy", "{}", "x"], {
    policy: { kind: "legacy", json: "{}" },
  }, "an old caller"],
  [
    [
      CWD,
      "--file-system-sandbox-policy={}",
      '--network-sandbox-policy="enabled"',
      "x",
    ],
    {
      policy: {
        kind: "split",
        fileSystemJson: "{}",
        networkJson: '"enabled"',
        legacyJson: null,
      },
    },
    "both halves",
  ],
  [
    [
      CWD,
      "--sandbox-policy=[]",
      "--file-system-sandbox-policy={}",
      "--network-sandbox-policy=1",
      "x",
    ],
    {
      policy: {
        kind: "split",
        fileSystemJson: "{}",
        networkJson: "1",
        legacyJson: "[]",
      },
    },
    "both halves and the legacy policy",
  ],
];
for (const [words, changes, why] of HELPER) {
  test(`helper ${JSON.stringify(words)} is accepted: ${why}`, () => {
    expect(parseHelperOptions(bytes(words))).toEqual(
      { ok: true, value: { ...HELPER_DEFAULTS, ...changes } } as never,
    );
  });
}

const HELPER_REFUSALS: readonly Refusal[] = [
  [["x"], "the following required arguments were not provided", ""],
  [[], "the following required arguments were not provided", ""],
  [[CWD], "No command specified to execute.", "codex-linux-sandbox"],
  [[CWD, "--"], "No command specified to execute.", "put it last"],
  [
    [CWD, "x"],
    "missing permission profile configuration",
    "--permission-profile <JSON>",
  ],
  [[CWD, "--x", "x"], "unexpected argument '--x' found", "behind '--'"],
  [[CWD, CWD, "x"], "cannot be used multiple times", ""],
  [
    [CWD, "--permission-profile=\xff", "x"],
    "invalid UTF-8 was detected in one or more arguments",
    "",
  ],
  [
    [CWD, "--apply-seccomp-then-exec", "--use-legacy-landlock", "x"],
    "--apply-seccomp-then-exec is incompatible with --use-legacy-landlock",
    "",
  ],
  [
    [CWD, "--apply-seccomp-then-exec", "--use-legacy-landlock"],
    "No command specified to execute.",
    "put it last",
  ],
  [
    [
      ...REQUIRED,
      "--apply-seccomp-then-exec",
      "--allow-network-for-proxy",
      "x",
    ],
    "managed proxy mode requires --proxy-route-spec",
    "",
  ],
  [[...REQUIRED, "--proxy-route-spec={}", "x"], "requires --apply-seccomp", ""],
  [
    [...REQUIRED, "--managed-network={}", "--allow-network-for-proxy", "x"],
    "cannot be used with '--allow-network-for-proxy'",
    "",
  ],
  [
    [...REQUIRED, "--verify-fd-mount=3", "x"],
    "'--verify-fd-mount' is not",
    "leave it out",
  ],
  [
    [...REQUIRED, "--inherit-pid-namespace", "x"],
    "own PID namespace",
    "leave it out",
  ],
  [[...REQUIRED, "--sandbox-policy={}", "x"], "cannot be used with", ""],
  [
    [CWD, "--file-system-sandbox-policy={}", "x"],
    "file-system and network sandbox policies must be provided together",
    "",
  ],
  [
    [CWD, "--sandbox-policy={}", "--network-sandbox-policy=1", "x"],
    "must be provided together",
    "",
  ],
  [["--version"], "unexpected argument '--version' found", "codex --version"],
];
for (const [words, message, hint] of HELPER_REFUSALS) {
  test(`helper ${JSON.stringify(words)} is refused with "${message}"`, () => {
    expectRefusal(parseHelperOptions(bytes(words)), message, hint);
  });
}

const CONFIG_WORDS: readonly Row[] = [
  [["check"], { kind: "config_check", file: null, config: CONFIG }, "layers"],
  [["check", "a\xff.toml"], {
    kind: "config_check",
    file: "a\xff.toml",
    config: CONFIG,
  }, "one file, as bytes"],
  [["check", "--", "-a"], {
    kind: "config_check",
    file: "-a",
    config: CONFIG,
  }, "a file with a dash"],
  [["show"], {
    kind: "config_show",
    showsOrigins: false,
    format: "text",
    config: CONFIG,
  }, "the least"],
  [["show", "--json", "--origin", "-p", "w"], {
    kind: "config_show",
    showsOrigins: true,
    format: "json",
    config: { ...CONFIG, configProfile: "w" },
  }, "all flags"],
  [["schema"], { kind: "config_schema" }, "the schema"],
  [["show", "-h"], { kind: "help", topic: "config" }, "help"],
  [["help"], { kind: "help", topic: "config" }, "help"],
];
for (const [words, value, why] of CONFIG_WORDS) {
  test(`config ${JSON.stringify(words)} is accepted: ${why}`, () => {
    expect(parseConfigOptions(bytes(words)))
      .toEqual({ ok: true, value } as never);
  });
}

const POLICY_WORDS: readonly Row[] = [
  [["why", "-P", "p", "-C", "d\xff", "write", "a", "--json", "b\xff"], {
    kind: "policy_why",
    profile: "p",
    cd: "d\xff",
    operation: "write",
    paths: ["a", "b\xff"],
    format: "json",
    config: CONFIG,
  }, "flags and operands may be mixed"],
  [["why", "-C", "/d", "read", "--", "-a", "--json"], {
    kind: "policy_why",
    profile: null,
    cd: "/d",
    operation: "read",
    paths: ["-a", "--json"],
    format: "text",
    config: CONFIG,
  }, "-- ends the flags, and -C needs no -P here"],
  [["list", "--json", "-c", "a=b"], {
    kind: "policy_list",
    format: "json",
    config: { ...CONFIG, overrides: ["a=b"] },
  }, "list"],
  [["why", "connect", "a.b:443", "--json", "[::1]"], {
    kind: "policy_connect",
    profile: null,
    cd: null,
    targets: ["a.b:443", "[::1]"],
    format: "json",
    config: CONFIG,
  }, "hosts"],
  [["why", "--help"], { kind: "help", topic: "policy" }, "help"],
];
for (const [words, value, why] of POLICY_WORDS) {
  test(`policy ${JSON.stringify(words)} is accepted: ${why}`, () => {
    expect(parsePolicyOptions(bytes(words)))
      .toEqual({ ok: true, value } as never);
  });
}

const OTHER_REFUSALS: readonly (readonly ["config" | "policy", ...Refusal])[] =
  [
    ["config", [], "codex config needs a sub-command", "check, show, schema"],
    ["config", ["chekc"], "unknown sub-command 'chekc'", "codex config check"],
    ["config", ["check", "a", "b"], "unexpected argument 'b'", ""],
    ["config", ["show", "a"], "unexpected argument 'a'", ""],
    [
      "config",
      ["schema", "--json"],
      "unexpected argument '--json'",
      "behind '--'",
    ],
    ["config", ["check", "-a"], "unexpected argument '-a'", "an operand"],
    ["policy", [], "codex policy needs a sub-command", "why, list"],
    ["policy", ["list", "a"], "unexpected argument 'a'", ""],
    ["policy", ["why"], "needs an operation", "for example"],
    ["policy", ["why", "raed", "a"], "unknown operation 'raed'", "'read'"],
    ["policy", ["why", "exec"], "policy why exec needs a path", "for example"],
    [
      "policy",
      ["why", "connect"],
      "policy why connect needs a host",
      "for example",
    ],
  ];
for (const [command, words, message, hint] of OTHER_REFUSALS) {
  test(`${command} ${words.join(" ")} is refused with "${message}"`, () => {
    const parse = command === "config"
      ? parseConfigOptions
      : parsePolicyOptions;
    expectRefusal(parse(bytes(words)), message, hint);
  });
}

test("no flag of a command has the name of another one", () => {
  const seen = new Set<string>();
  for (const flag of FLAGS) {
    for (const command of flag.commands) {
      const names = [`--${flag.long}`];
      if ("short" in flag) names.push(`-${flag.short}`);
      if ("hiddenAliases" in flag) {
        names.push(...flag.hiddenAliases.map((it) => `--${it}`));
      }
      for (const name of names) {
        expect(seen.has(`${command} ${name}`)).toBe(false);
        seen.add(`${command} ${name}`);
      }
    }
  }
});

test("any words are accepted or refused in one line, never thrown", () => {
  const word = string({ unit: "binary-ascii", maxLength: 12 });
  const flags = FLAGS.map((flag) => `--${flag.long}`);
  assert(
    property(uniqueArray(word, { maxLength: 6 }), (words) => {
      const mixed = words.flatMap((it, at) => [
        flags[(it.length * 7 + at) % flags.length]!,
        it,
        `-${it}`,
      ]);
      for (const given of [words, mixed]) {
        for (
          const parse of [
            parseSandboxOptions,
            parseHelperOptions,
            parseConfigOptions,
            parsePolicyOptions,
          ]
        ) {
          const result = parse(bytes(given));
          if (!result.ok) {
            // deno-lint-ignore no-control-regex
            expect(/[\x00-\x1f\x7f]/.test(result.error.message)).toBe(false);
          }
        }
      }
    }),
    { seed: 2, numRuns: 300 },
  );
});

test("a program and its arguments come out byte for byte", () => {
  const word = string({ unit: "binary-ascii", maxLength: 8 });
  assert(
    property(uniqueArray(word, { minLength: 1, maxLength: 5 }), (words) => {
      const result = parseSandboxOptions(bytes(["--timings", "--", ...words]));
      expect(result.ok && result.value.kind === "sandbox" && result.value)
        .toEqual(
          { ...DEFAULTS, printsTimings: true, command: words } as never,
        );
    }),
    { seed: 3, numRuns: 200 },
  );
});

function expectRefusal(
  result:
    | { readonly ok: true }
    | {
      readonly ok: false;
      readonly error: { readonly message: string; readonly hint?: string };
    },
  message: string,
  hint: string,
): void {
  expect(result.ok).toBe(false);
  if (result.ok) return;
  expect(result.error.message).toContain(message);
  if (hint === "") expect(result.error.hint).toBeUndefined();
  else expect(result.error.hint).toContain(hint);
}

const PLAIN_CALLS = [ // words, why they need no table
  ["true"],
  ["--", "true"],
  ["--", "-x", "--explain"],
  ["-", "a"],
  ["", "a"],
  ["sh", "-c", "exit 1", "--"],
  ["--", "--", "x"],
] as const;
for (const words of PLAIN_CALLS) {
  test(`a call without flags means what the table makes of it: ${JSON.stringify(words)}`, () => {
    const bytes = words.map((word) => fromText(word));
    // A root word sends the same call through the table; its own effect is taken away again.
    const long = parseSandboxOptions(bytes, [fromText("-c"), fromText("a=1")]);
    const short = parseSandboxOptions(bytes);
    if (!long.ok || long.value.kind !== "sandbox") {
      throw new Error("no options");
    }
    expect(short).toEqual({
      ok: true,
      value: { ...long.value, config: { ...long.value.config, overrides: [] } },
    });
  });
}

test("doctor takes --json and session settings, and no operand", () => {
  const asked = parseDoctorOptions(bytes(["--json", "-c", "a=b"]));
  expect(asked).toEqual({
    ok: true,
    value: {
      kind: "doctor",
      format: "json",
      config: { ...CONFIG, overrides: ["a=b"] },
    },
  });
  expectRefusal(
    parseDoctorOptions(bytes(["x"])),
    "unexpected argument 'x'",
    "",
  );
});

test("clean takes --dry-run, and points to -- for a program of that name", () => {
  expect(parseCleanOptions([])).toEqual({
    ok: true,
    value: { kind: "clean", removes: true },
  });
  expect(parseCleanOptions(bytes(["--dry-run"]))).toEqual({
    ok: true,
    value: { kind: "clean", removes: false },
  });
  expectRefusal(
    parseCleanOptions(bytes(["all"])),
    "unexpected argument 'all'",
    "codex sandbox -- clean",
  );
});
