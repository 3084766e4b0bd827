/**
 * What the command sees of the environment.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { type ByteString, fromText } from "../../src/bytes.ts";
import {
  DEFAULT_ENVIRONMENT_POLICY,
  type EnvironmentPolicy,
} from "../../src/config/config.ts";
import {
  commandEnvironment,
  type Confinement,
  matchesName,
} from "../../src/config/command_environment.ts";
import { refusal, runs, USER } from "./setup.ts";
import { coreTimeMs } from "../patience.ts";

const OPEN: Confinement = { network: "host", sandbox: null };

function environment(
  policy: Partial<EnvironmentPolicy>,
  caller: readonly string[],
  confinement: Confinement = OPEN,
): readonly string[] {
  return commandEnvironment(
    { ...DEFAULT_ENVIRONMENT_POLICY, ...policy },
    caller as readonly ByteString[],
    confinement,
  );
}

const b = (...words: readonly string[]): readonly ByteString[] =>
  words.map(fromText);
const set = (...pairs: readonly (readonly [string, string])[]) =>
  pairs as unknown as EnvironmentPolicy["set"];

const CALLER = [
  "PATH=/bin",
  "Home=/h",
  "FOO=1",
  "foo_bar=2",
  "my_secret=3",
  "MY_KEY=4",
  "API_TOKEN=5",
  "NOEQUALS",
  "FOO=twice",
  "=odd",
];

const POLICIES: readonly (readonly [
  Partial<EnvironmentPolicy>,
  readonly string[],
  string,
])[] = [
  [{}, CALLER, "by default everything, as it is"],
  [{ inherit: "none" }, [], "nothing"],
  [
    { inherit: "core" },
    ["PATH=/bin", "Home=/h"],
    "core names in any case (fact 75)",
  ],
  [
    { exclude: b("FOO*", "*SeCret") },
    [
      "PATH=/bin",
      "Home=/h",
      "MY_KEY=4",
      "API_TOKEN=5",
      "NOEQUALS",
      "=odd",
    ],
    "exclude (fact 72)",
  ],
  [
    { ignoreDefaultExcludes: false, set: set(["X_KEY", "k"]) },
    ["PATH=/bin", "Home=/h", "FOO=1", "foo_bar=2", "NOEQUALS", "FOO=twice"]
      .concat("=odd", "X_KEY=k"),
    "default excludes come before set (fact 74)",
  ],
  [
    {
      includeOnly: b("foo*", "HOME"),
      set: set(["ZED", "1"], ["FOOZ", "2"]),
    },
    ["Home=/h", "FOO=1", "foo_bar=2", "FOO=twice", "FOOZ=2"],
    "include_only comes last and counts for set (fact 73)",
  ],
  [
    { set: set(["FOO", "new"]), includeOnly: b("FOO") },
    ["FOO=new"],
    "set replaces every entry of that name",
  ],
  [
    { exclude: b("FOO"), set: set(["FOO", "new"]), includeOnly: b("foo") },
    ["FOO=new"],
    "exclude comes before set",
  ],
  [
    { inherit: "none", set: set(["A", "$HOME"]) },
    ["A=$HOME"],
    "values never expand",
  ],
];

describe("the policy", () => {
  for (const [policy, expected, why] of POLICIES) {
    test(why, () => expect(environment(policy, CALLER)).toEqual(expected));
  }
});

const NAMES = [ // name, pattern, matches, why
  ["FOO", "FO", false, "whole names"],
  ["FOO", "FO?", true, "? is one character"],
  ["FO", "FO?", false, "and no less"],
  ["foo", "FOO", true, "case counts nothing"],
  ["FOO", "[F]OO", false, "no classes"],
  ["AXBXC", "A*B*C", true, "stars"],
  ["AC", "A*C", true, "a star may be empty"],
  ["", "*", true, "an empty name"],
  ["\xc3\xa9x", "?x", true, "? is one UTF-8 character"],
  ["\xff\xfe", "??", true, "or one byte that is none"],
  ["\xc3\x89", "\xc3\xa9", false, "only ASCII letters have a case"],
] as const;

describe("patterns", () => {
  for (const [name, pattern, matches, why] of NAMES) {
    test(`${name} ${pattern}: ${why}`, () => {
      expect(matchesName(name, pattern)).toBe(matches);
    });
  }
});

test("a hostile pattern costs a product of lengths, not a power", () => {
  const costMs = coreTimeMs(() => {
    expect(matchesName("a".repeat(2000), "*a".repeat(200) + "b")).toBe(false);
  });
  expect(costMs).toBeLessThan(500);
});

const MARKS: readonly (readonly [
  Confinement,
  readonly string[],
  readonly string[],
  string,
])[] = [
  [
    { network: "none", sandbox: "bubblewrap" },
    ["A=1"],
    ["A=1", "CODEX_SANDBOX=bubblewrap", "CODEX_SANDBOX_NETWORK_DISABLED=1"],
    "both marks",
  ],
  [
    { network: "proxied", sandbox: "landlock" },
    ["CODEX_SANDBOX=old"],
    ["CODEX_SANDBOX=landlock"],
    "a proxied network is not disabled, and a mark replaces an inherited one",
  ],
  [
    OPEN,
    ["CODEX_SANDBOX_NETWORK_DISABLED=1", "CODEX_SANDBOX=x"],
    ["CODEX_SANDBOX_NETWORK_DISABLED=1", "CODEX_SANDBOX=x"],
    "without a sandbox inherited marks stay",
  ],
];

describe("marks", () => {
  for (const [confinement, caller, expected, why] of MARKS) {
    test(why, () => {
      expect(environment({}, caller, confinement)).toEqual(expected);
    });
  }
});

test("marks outlive include_only", () => {
  expect(environment({ includeOnly: b("A") }, ["A=1", "B=2"], {
    network: "none",
    sandbox: null,
  })).toEqual(["A=1", "CODEX_SANDBOX_NETWORK_DISABLED=1"]);
});

const PROXIES = [ // entry, kept, why
  ["CARGO_HTTP_PROXY=http://u:secret@p:1", false, "a login in a URL"],
  ["https_proxy=u:secret@p:1", false, "without a scheme"],
  ["all_proxy=socks5h://u@p", false, "a name alone"],
  ["http_proxy=http://p:1/@x", true, "an @ behind the host"],
  ["http_proxy=http://p:1", true, "no login"],
  ["NO_PROXY=a@b", true, "no proxy at all"],
  ["DATABASE_URL=postgres://u:p@h/d", true, "not a proxy"],
  ["TUNNEL=socks5://u:p@h:1", false, "SOCKS by another name"],
] as const;

describe("proxy variables with a login, when the network is ours", () => {
  for (const [entry, kept, why] of PROXIES) {
    test(`${entry}: ${why}`, () => {
      const seen = (network: Confinement["network"]) =>
        environment({}, [entry], { network, sandbox: null }).includes(entry);
      expect([seen("none"), seen("proxied"), seen("host")])
        .toEqual([kept, kept, true]);
    });
  }
});

const GIT_KEYS = b(
  "GIT_CONFIG_KEY_0=http.proxy",
  "GIT_CONFIG_KEY_1=user.email",
);

const GIT_PROXIES = [ // entry, without the host's network, why
  [
    "GIT_CONFIG_VALUE_0=http://u:secret@p:1",
    "GIT_CONFIG_VALUE_0=",
    "a key needs a value",
  ],
  ["GIT_CONFIG_VALUE_0=http://p:1/@x", "GIT_CONFIG_VALUE_0=", "whatever it is"],
  ["GIT_CONFIG_VALUE_1=u@x", "GIT_CONFIG_VALUE_1=u@x", "another key's"],
  ["GIT_CONFIG_VALUE_7=u@x", "GIT_CONFIG_VALUE_7=u@x", "no key's"],
  [
    "GIT_CONFIG_PARAMETERS='http.proxy'='http://u:it'\\''s@p' 'user.email'='u@x'",
    "GIT_CONFIG_PARAMETERS='user.email'='u@x'",
    "one of two settings",
  ],
  [
    "GIT_CONFIG_PARAMETERS='user.email=u@x' 'remote.a b.proxy=http://u:p@h'",
    "GIT_CONFIG_PARAMETERS='user.email=u@x' ",
    "as git wrote it before 2.31",
  ],
  [
    "GIT_CONFIG_PARAMETERS='http.proxyAuthMethod'='basic' 'a.proxy'='u@x' 'b.c'",
    "GIT_CONFIG_PARAMETERS='http.proxyAuthMethod'='basic' 'a.proxy'='u@x' 'b.c'",
    "no proxy of git's",
  ],
] as const;

describe("what git is told of a proxy with a login, when the network is ours", () => {
  for (const [entry, left, why] of GIT_PROXIES) {
    test(`${entry}: ${why}`, () => {
      const seen = (network: Confinement["network"]) =>
        environment({}, [...GIT_KEYS, entry], { network, sandbox: null })
          .filter((one) =>
            one.startsWith("GIT_CONFIG_") &&
            !GIT_KEYS.includes(one as ByteString)
          );
      expect([seen("none"), seen("proxied"), seen("host")] as unknown)
        .toEqual([[left], [left], [entry]]);
    });
  }
});

test("one that set writes stays", () => {
  const entry = "HTTP_PROXY=http://u:p@h";
  expect(
    environment({ set: set(["HTTP_PROXY", "http://u:p@h"]) }, [], {
      network: "none",
      sandbox: null,
    }),
  ).toContain(entry);
});

test("bytes that are no UTF-8 pass through", () => {
  expect(environment({ exclude: b("X") }, ["A=\xff\xfe", "\xff=1"]))
    .toEqual(["A=\xff\xfe", "\xff=1"]);
});

test("text of a config becomes UTF-8 bytes", () => {
  const run = runs({
    files: { [USER]: '[shell_environment_policy]\nset = { "Ä" = "ö" }' },
  });
  expect(run.environment.set as readonly unknown[])
    .toEqual([["\xc3\x84", "\xc3\xb6"]]);
});

const REFUSED = [ // line, fragment
  ['set = { "" = "x" }', 'variable name "" must not be empty'],
  [
    'set = { "A=B" = "x" }',
    'variable name "A=B" must not be empty or hold "="',
  ],
  ['set = { A = "\\u0000" }', 'the value of variable "A" must not hold a NUL'],
  ["set = { A = 1 }", "shell_environment_policy.set.A is 1, expected a string"],
] as const;

describe("refused", () => {
  for (const [line, fragment] of REFUSED) {
    test(line, () => {
      const text = `[shell_environment_policy]\n${line}`;
      expect(refusal({ files: { [USER]: text } })).toContain(fragment);
    });
  }
});
