/**
 * Typical mistakes, each with the one line that a run says about it: where, what, and what would be right.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { fromText } from "../../src/bytes.ts";
import { leaveClean, PLAIN, setup } from "./harness.ts";

afterAll(leaveClean);

const P = 'default_permissions = "p"\n';
const FS = `${P}[permissions.p.filesystem]\n`;

/** What the config says, and what a run says then. `FILE` is the config; every run ends with 125. */
const IN_THE_FILE: readonly (readonly [
  why: string,
  config: string,
  line: string,
])[] = [
  [
    "a bare word as a value",
    "a = tru\n",
    'FILE:1:5: invalid TOML: Strings must be quoted: "tru"',
  ],
  [
    "a key twice",
    `${P}${P}`,
    "FILE:2:1: invalid TOML: Cannot redefine key 'default_permissions'",
  ],
  [
    "a value without its quotes",
    "default_permissions = :workspace\n",
    "FILE:1:23: invalid TOML: Expected a value but found ':'",
  ],
  [
    "an access misspelt",
    `${FS}":root" = "raed"\n`,
    'FILE:3:11: key permissions.p.filesystem.":root" is "raed", expected "read", "write" or "deny" (did you mean "read"?)',
  ],
  [
    "a boolean as access",
    `${FS}":root" = true\n`,
    'FILE:3:11: key permissions.p.filesystem.":root" is true, expected "read", "write" or "deny"',
  ],
  [
    "an unknown symbol with deny",
    `${FS}":tmpdri" = "deny"\n`,
    'FILE:3:13: ":tmpdri" is denied, but no such symbol is known (did you mean ":tmpdir"?)',
  ],
  [
    "a relative path",
    `${FS}"foo" = "read"\n`,
    "FILE:3:9: filesystem path `foo` must be absolute, use `~/...`, or start with `:`",
  ],
  [
    "a subpath that climbs",
    `${FS}":workspace_roots"."../x" = "read"\n`,
    "FILE:3:29: filesystem subpath `../x` must be a descendant path without `.` or `..` components",
  ],
  [
    "an entry below a symbol that has none",
    `${FS}":root"."etc" = "read"\n`,
    "FILE:3:17: filesystem path `:root` does not support nested entries",
  ],
  [
    "a profile that nobody defines",
    'default_permissions = "wrk"\n[permissions.work]\n',
    "FILE:1:23: default_permissions refers to undefined profile `wrk` (did you mean `work`? known are work, :read-only, :workspace, :danger-full-access)",
  ],
  [
    "a built-in profile that doesn't exist",
    'default_permissions = ":workspaces"\n',
    "FILE:1:23: default_permissions refers to unknown built-in profile `:workspaces` (did you mean `:workspace`? known are :read-only, :workspace, :danger-full-access)",
  ],
  [
    "a parent that nobody defines",
    `${P}[permissions.p]\nextends = "q"\n[permissions.qq]\n`,
    "FILE:3:11: permissions profile `p` extends undefined profile `q` (did you mean `qq`?)",
  ],
  [
    "a circle of parents",
    `${P}permissions.p.extends = "q"\npermissions.q.extends = "p"\n`,
    "FILE:3:25: permissions profile inheritance cycle detected: p -> q -> p (+1 more: codex config check)",
  ],
  [
    "an underscore for a dash",
    'sandbox_mode = "workspace_write"\n',
    'FILE:1:16: key sandbox_mode is "workspace_write", expected "read-only", "workspace-write" or "danger-full-access" (did you mean "workspace-write"?)',
  ],
  [
    "a text for a list",
    '[sandbox_workspace_write]\nwritable_roots = "/x"\n',
    'FILE:2:18: key sandbox_workspace_write.writable_roots is "/x", expected a list of strings',
  ],
  [
    "yes for true",
    '[sandbox_workspace_write]\nnetwork_access = "yes"\n',
    'FILE:2:18: key sandbox_workspace_write.network_access is "yes", expected a boolean',
  ],
  [
    "a boolean in quotes",
    '[features]\nuse_legacy_landlock = "true"\n',
    'FILE:2:23: key features.use_legacy_landlock is "true", expected a boolean',
  ],
  [
    "a level of trust misspelt",
    '[projects."/x"]\ntrust_level = "trust"\n',
    'FILE:2:15: key projects."/x".trust_level is "trust", expected "trusted" or "untrusted" (did you mean "trusted"?)',
  ],
  [
    "an inheritance misspelt",
    '[shell_environment_policy]\ninherit = "non"\n',
    'FILE:2:11: key shell_environment_policy.inherit is "non", expected "core", "all" or "none" (did you mean "none"?)',
  ],
  [
    "a number for a variable",
    "[shell_environment_policy]\nset = { A = 1 }\n",
    "FILE:2:13: key shell_environment_policy.set.A is 1, expected a string",
  ],
  [
    "a depth that is no integer",
    `${FS}glob_scan_max_depth = 1.0\n`,
    "FILE:3:23: key permissions.p.filesystem.glob_scan_max_depth is 1.0, expected an integer",
  ],
  [
    "a depth of nothing",
    `${FS}glob_scan_max_depth = 0\n`,
    "FILE:3:23: key permissions.p.filesystem.glob_scan_max_depth is 0: glob_scan_max_depth must be at least 1",
  ],
  [
    "a glob with a range that runs backwards",
    `${FS}":root" = "read"\n":workspace_roots"."a[z-a]" = "deny"\n`,
    'FILE:4:31: error parsing glob "WORK/a[z-a]": invalid range "z-a"',
  ],
  [
    "a glob that grants",
    `${FS}"/opt/*.txt" = "read"\n`,
    "FILE:3:16: filesystem glob path `/opt/*.txt` only supports `deny` access; use an exact path or trailing `/**` for `read` subtree access",
  ],
  [
    "a host's verdict misspelt",
    `${P}[permissions.p.network]\ndomains = { "a.b" = "alow" }\n`,
    'FILE:3:21: key permissions.p.network.domains."a.b" is "alow", expected "allow" or "deny" (did you mean "allow"?)',
  ],
  [
    "a URL for a host",
    `${P}[permissions.p.network.domains]\n"https://a.b" = "allow"\n`,
    'FILE:3:17: Cannot use "https://a.b" in network.domains: a pattern is a host, not a URL; write "a.b"',
  ],
  [
    "no host for a URL",
    `${P}[permissions.p.network]\nmanaged = true\nproxy_url = ""\n`,
    "FILE:4:13: failed to start managed network proxy: failed to build network proxy: invalid network.proxy_url: ",
  ],
  [
    "every host denied",
    `${P}[permissions.p.network.domains]\n"*" = "deny"\n`,
    "FILE:3:7: network proxy constraints are invalid: invalid value for network.denied_domains: * (allowed exact hosts or scoped wildcards like *.example.com or **.example.com)",
  ],
  [
    "a text for the table of profiles",
    `${P}permissions = "x"\n`,
    'FILE:2:15: key permissions is "x", expected a table of values',
  ],
  [
    "a kind of /tmp misspelt",
    `${P}[permissions.p]\ntmp = "privat"\n`,
    'FILE:3:7: key permissions.p.tmp is "privat", expected "shared" or "private" (did you mean "private"?)',
  ],
  [
    "a profile with the name of a built-in one",
    '[permissions.":x"]\n',
    "FILE:1:2: permissions profile `:x` uses a reserved built-in profile prefix: drop the colon",
  ],
  [
    "the profile key of old",
    'profile = "x"\n',
    'FILE:1:1: legacy `profile = "x"` config is no longer supported: use -p x with $CODEX_HOME/x.config.toml',
  ],
  [
    "two mistakes, of which one is in no profile that is used",
    `${FS}":root" = "raed"\n[permissions.q]\nextends = 1\n`,
    'FILE:3:11: key permissions.p.filesystem.":root" is "raed", expected "read", "write" or "deny" (did you mean "read"?) (+1 more: codex config check)',
  ],
];

/** Words before the command, the status, and what is said. */
const IN_THE_WORDS: readonly (readonly [
  why: string,
  words: readonly string[],
  end: number,
  line: string,
])[] = [
  [
    "no value",
    ["-c", "foo"],
    125,
    "-c: Invalid override (missing '='): \"foo\" must be KEY=VALUE",
  ],
  ["no key", ["-c", "=x"], 125, '-c: Empty key in override: "=x"'],
  [
    "a dot in a path",
    ["-c", "permissions.p.filesystem./opt/a.b=write"],
    125,
    '-c permissions.p.filesystem./opt/a.b: the dot in "/opt/a.b" splits the key: write permissions.p.filesystem."/opt/a.b"=…',
  ],
  [
    "a value that isn't one",
    ["-c", "sandbox_mode=workspace"],
    125,
    '-c sandbox_mode: key sandbox_mode is "workspace", expected "read-only", "workspace-write" or "danger-full-access" (did you mean "workspace-write"?)',
  ],
  [
    "a profile misspelt",
    ["-P", ":worspace"],
    125,
    '-P ":worspace": default_permissions refers to unknown built-in profile `:worspace` (did you mean `:workspace`? known are :read-only, :workspace, :danger-full-access)',
  ],
  [
    "a feature misspelt",
    ["--enable", "use_legacy_landlok"],
    125,
    "--enable use_legacy_landlok: Unknown feature flag: use_legacy_landlok (did you mean use_legacy_landlock?)",
  ],
  [
    "an option misspelt",
    ["--permision-profile", "x"],
    2,
    "unexpected argument '--permision-profile' found; did you mean '--permission-profile'?",
  ],
];

describe("one line about", () => {
  const { home, work, run, codexRun } = setup();
  const file = `${home}/config.toml`;
  for (const [why, config, line] of IN_THE_FILE) {
    test(why, async () => {
      writeFileSync(file, config);
      const said = line.replaceAll("FILE", file).replaceAll("WORK", work);
      expect(await run(["--", "true"])).toEqual({
        end: 125,
        stdout: "",
        stderr: `codex: ${said}\n`,
      });
      const check = await codexRun(["config", "check"]);
      expect(check.end).toBe(1);
      expect(check.stdout.split("\n")).toContain(
        said.replace(/ \(\+\d+ more.*/, ""),
      );
    });
  }
  for (const [why, words, end, line] of IN_THE_WORDS) {
    test(`${why} on the command line`, async () => {
      writeFileSync(file, "");
      expect(await run([...words, "--", "true"])).toEqual({
        end,
        stdout: "",
        stderr: fromText(`codex: ${line}\n`),
      });
    });
  }
});

/** Where a run stands: variables, a limit for its shell, words, and what is said with status 125. */
const IN_THE_PLACE: readonly {
  readonly why: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly limit?: string;
  readonly profile?: string;
  readonly line: string;
}[] = [
  {
    why: "a CODEX_HOME that is not there",
    env: { CODEX_HOME: "/no/such" },
    line:
      'CODEX_HOME points to "/no/such", but that path does not exist; create it or unset CODEX_HOME',
  },
  {
    why: "a relative CODEX_HOME",
    env: { CODEX_HOME: "such" },
    line:
      'CODEX_HOME points to "such", but that path is not absolute; name it from / on or unset CODEX_HOME',
  },
  {
    why: "files of no length",
    limit: "ulimit -Sf 0",
    profile: ":read-only",
    line:
      "Cannot open the seccomp filter: pwrite64 says EFBIG: file too large, raise the limit (ulimit -f)",
  },
  {
    why: "ten open files",
    limit: "ulimit -n 10",
    profile: ":read-only",
    line:
      "Cannot load the bundled bubblewrap: EMFILE: too many open files, raise the hard limit (ulimit -n) (/usr/bin/bwrap can't be started: EMFILE: too many open files, raise the hard limit (ulimit -n))",
  },
  {
    why: "five open files",
    limit: "ulimit -n 5",
    profile: ":read-only",
    line:
      "Cannot read /proc/self/cmdline (EMFILE: too many open files, raise the hard limit (ulimit -n))",
  },
  {
    why: "an address space of one gigabyte",
    limit: "ulimit -v 1000000",
    profile: ":read-only",
    line:
      "Cannot start the runtime: it lacks address space, raise the limit (ulimit -v) to 3000000 or more",
  },
];

describe("one line, with what would help, about", () => {
  // uid 0 is not asked about the system's bubblewrap.
  const { run } = setup({ ...PLAIN, actor: "user" });
  for (const { why, env, limit, profile, line } of IN_THE_PLACE) {
    test(why, async () => {
      const outcome = await run(
        ["-P", profile ?? ":workspace", "--", "true"],
        {
          ...(env === undefined ? {} : { env }),
          ...(limit === undefined ? {} : { shell: `${limit}; "$@"` }),
        },
      );
      expect(outcome).toEqual({
        end: 125,
        stdout: "",
        stderr: `codex: ${line}\n`,
      });
    });
  }
});

describe("what this version can't do is said by a run, by check and by why", () => {
  const { home, run, codexRun } = setup();
  const cases = [ // a line of the profile, what is said
    [
      "loopback = false\n[permissions.p.network]\nenabled = true\nmanaged = true",
      "Cannot honour loopback = false of profile p",
    ],
  ] as const;
  for (const [line, said] of cases) {
    test(line, async () => {
      writeFileSync(
        `${home}/config.toml`,
        `${P}[permissions.p]\nextends = ":workspace"\n${line}\n`,
      );
      const ran = await run(["--", "true"]);
      const check = await codexRun(["config", "check"]);
      const why = await codexRun(["policy", "why", "read", "/etc/passwd"]);
      expect([ran.end, check.end, why.end]).toEqual([125, 1, 0]);
      for (const text of [ran.stderr, check.stdout, why.stderr]) {
        expect(text).toContain(said);
      }
    });
  }
});

describe("a state folder that can't be had is named with what would work", () => {
  const { dir, run } = setup();
  const CURE =
    "it must be a folder of yours, or one that you can make: set CODEX_HOME to such a place";
  const cases = [ // what is in the way, CODEX_HOME, HOME, what is named, why
    [
      "a missing home",
      undefined,
      "a/b",
      "a/b/.codex",
      "ENOENT: no such file or directory",
    ],
    [
      "a file in its place",
      "filled",
      "",
      "filled/sandbox",
      "ENOTDIR: not a directory",
    ],
  ] as const;
  for (const [what, home, user, named, why] of cases) {
    test(what, async () => {
      mkdirSync(`${dir}/filled`, { recursive: true });
      writeFileSync(`${dir}/filled/sandbox`, "");
      const { end, stderr } = await run(["-P", ":workspace", "--", "true"], {
        env: {
          CODEX_HOME: home && `${dir}/${home}`,
          HOME: `${dir}/${user}`,
        },
      });
      expect({ end, stderr }).toEqual({
        end: 125,
        stderr:
          `codex: Cannot use the state folder ${dir}/${named}: ${why}; ${CURE}\n`,
      });
    });
  }
});
