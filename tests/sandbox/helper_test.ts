/**
 * The helper's interface, live, flag by flag and mistake by mistake: what callers of `codex-linux-sandbox` rely on.
 *
 * Message fragments are those of the releases that callers were written for; statuses are ours.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import {
  ACTORS,
  BOTH_ACTORS,
  leaveClean,
  matrix,
  notProved,
  type Outcome,
  PLAIN,
  type RunOptions,
  setup,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

function helper(
  { dir, codex, outside }: Subject,
  words: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const link = `${dir}/codex-linux-sandbox`;
  if (!readdirSync(dir).includes("codex-linux-sandbox")) {
    symlinkSync(codex, link);
  }
  return outside([link, ...words], options);
}

function restricted(entries: readonly unknown[]): string {
  const file_system = { type: "restricted", entries };
  return JSON.stringify({
    type: "managed",
    file_system,
    network: "restricted",
  });
}

function special(kind: string, access: string): unknown {
  return { path: { type: "special", value: { kind } }, access };
}

const READ_ONLY = restricted([special("root", "read")]);
const WORKSPACE = restricted([
  special("root", "read"),
  special("project_roots", "write"),
]);
const CWD = ["--sandbox-policy-cwd", "/"] as const;
const PROFILE = ["--permission-profile", READ_ONLY] as const;
const RUN = ["--", "echo", "ran"] as const;
const LEGACY = ["--use-legacy-landlock"] as const;

/** Words, status, what the one line says. None of them runs anything. */
const MISTAKES: readonly (readonly [
  why: string,
  words: readonly string[],
  status: number,
  says: string,
])[] = [
  [
    "no policy directory",
    [...PROFILE, ...RUN],
    2,
    "the following required arguments were not provided: --sandbox-policy-cwd",
  ],
  [
    "no command",
    [...CWD, ...PROFILE],
    2,
    "No command specified to execute.",
  ],
  [
    "nothing behind --",
    [...CWD, ...PROFILE, "--"],
    2,
    "No command specified to execute.",
  ],
  [
    "no profile",
    [...CWD, ...RUN],
    2,
    "missing permission profile configuration",
  ],
  [
    "a profile that is no JSON",
    [...CWD, "--permission-profile", "{", ...RUN],
    2,
    "invalid value for '--permission-profile': invalid permission profile JSON",
  ],
  [
    "a profile of an unknown type",
    [...CWD, "--permission-profile", '{"type":"zzz"}', ...RUN],
    2,
    "zzz",
  ],
  [
    "an unknown flag",
    [...CWD, ...PROFILE, "--x", ...RUN],
    2,
    "unexpected argument '--x' found",
  ],
  [
    "a near miss",
    [...CWD, ...PROFILE, "--no-prc", ...RUN],
    2,
    "did you mean '--no-proc'?",
  ],
  [
    "a flag twice",
    [...CWD, ...CWD, ...PROFILE, ...RUN],
    2,
    "cannot be used multiple times",
  ],
  [
    "a switch twice",
    [...CWD, ...PROFILE, "--no-proc", "--no-proc", ...RUN],
    2,
    "cannot be used multiple times",
  ],
  [
    "a switch with a value",
    [...CWD, ...PROFILE, "--no-proc=yes", ...RUN],
    2,
    "takes no value",
  ],
  [
    "the inner stage with Landlock",
    [...CWD, ...PROFILE, "--apply-seccomp-then-exec", ...LEGACY, ...RUN],
    2,
    "--apply-seccomp-then-exec is incompatible with --use-legacy-landlock",
  ],
  [
    "the inner stage of a proxy without routes",
    [
      ...[...CWD, ...PROFILE, "--apply-seccomp-then-exec"],
      ...["--allow-network-for-proxy", ...RUN],
    ],
    2,
    "managed proxy mode requires --proxy-route-spec",
  ],
  [
    "a proxy that no variable names",
    [...CWD, ...PROFILE, "--allow-network-for-proxy", ...RUN],
    125,
    "managed proxy mode requires proxy environment variables",
  ],
  [
    "Landlock for a workspace",
    [...CWD, "--permission-profile", WORKSPACE, ...LEGACY, ...RUN],
    125,
    "permission profiles requiring direct runtime enforcement are incompatible with --use-legacy-landlock",
  ],
  [
    "the same in the words of later callers",
    [...CWD, "--permission-profile", WORKSPACE, ...LEGACY, ...RUN],
    125,
    "filesystem-restricted execution requires bubblewrap",
  ],
  [
    "the same in the words of earlier callers",
    [
      ...CWD,
      ...["--sandbox-policy", '{"type":"workspace-write"}'],
      ...[...LEGACY, ...RUN],
    ],
    125,
    "split sandbox policies requiring direct runtime enforcement are incompatible with --use-legacy-landlock",
  ],
  [
    "half of the older flags",
    [...CWD, "--network-sandbox-policy", '"restricted"', ...RUN],
    2,
    "file-system and network sandbox policies must be provided together",
  ],
  [
    "older flags that disagree",
    [
      ...[...CWD, "--sandbox-policy", '{"type":"danger-full-access"}'],
      "--file-system-sandbox-policy",
      '{"kind":"restricted","entries":[{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}]}',
      ...["--network-sandbox-policy", '"restricted"', ...RUN],
    ],
    125,
    "legacy sandbox policy must match split sandbox policies",
  ],
  [
    "an older network policy without its quotes",
    [
      ...[...CWD, "--file-system-sandbox-policy", '{"kind":"unrestricted"}'],
      ...["--network-sandbox-policy", "restricted", ...RUN],
    ],
    2,
    "--network-sandbox-policy",
  ],
  [
    "two generations of flags at once",
    [...CWD, ...PROFILE, "--sandbox-policy", "{}", ...RUN],
    2,
    "cannot be used with '--sandbox-policy'",
  ],
  [
    "the bwrap flag of old",
    [...CWD, ...PROFILE, "--use-bwrap-sandbox", ...RUN],
    2,
    "unexpected argument '--use-bwrap-sandbox' found",
  ],
  [
    "a flag between stages of another release",
    [...CWD, ...PROFILE, "--verify-fd-mount", "3", ...RUN],
    2,
    "'--verify-fd-mount' is not supported",
  ],
  [
    "another's PID namespace",
    [...CWD, ...PROFILE, "--inherit-pid-namespace", ...RUN],
    2,
    "'--inherit-pid-namespace' is not supported",
  ],
  ["--version", ["--version"], 2, "unexpected argument '--version' found"],
  [
    "a command that isn't there",
    [...CWD, ...PROFILE, "--", "no-such-command"],
    127,
    "Failed to execvp no-such-command: command not found (ENOENT)",
  ],
  [
    "a command without a name",
    [...CWD, ...PROFILE, "--", ""],
    127,
    "Failed to execvp",
  ],
  [
    "a command that can't be executed",
    [...CWD, ...PROFILE, "--", "/etc/passwd"],
    126,
    "Failed to execvp /etc/passwd",
  ],
  // The order of the checks: what comes first speaks.
  [
    "a bad flag before everything that is missing",
    ["--x"],
    2,
    "unexpected argument '--x'",
  ],
  ["the directory before the command", [], 2, "--sandbox-policy-cwd"],
  ["the command before the profile", [...CWD], 2, "No command specified"],
  [
    "the command before stage and Landlock",
    [...CWD, "--apply-seccomp-then-exec", ...LEGACY],
    2,
    "No command specified",
  ],
  [
    "stage and Landlock before the profile",
    [...CWD, "--apply-seccomp-then-exec", ...LEGACY, ...RUN],
    2,
    "is incompatible with --use-legacy-landlock",
  ],
  [
    "the profile before Landlock's support",
    [...CWD, "--permission-profile", "[]", ...LEGACY, ...RUN],
    2,
    "'--permission-profile'",
  ],
];

for (const [why, words, status, says] of MISTAKES) {
  test(`${why}: one line with "${says}", status ${status}, and nothing runs`, async () => {
    const { end, stdout, stderr } = await helper(setup(), words, {
      env: { HTTP_PROXY: undefined, http_proxy: undefined },
    });
    expect({ end, stdout }).toEqual({ end: status, stdout: "" });
    expect(stderr).toMatch(/^codex: [^\n]+\n$/);
    expect(stderr).toContain(says);
  });
}

test("a profile that is no UTF-8 is refused", async () => {
  const subject = setup();
  const { end, stderr } = await helper(subject, [], {
    shell:
      `exec "$1" --sandbox-policy-cwd / --permission-profile "$(printf '\\377')" true`,
  });
  expect(end).toBe(2);
  expect(stderr).toContain(
    "invalid UTF-8 was detected in one or more arguments",
  );
});

test("only proxies of the host's loopback can be led to", async () => {
  const { end, stderr } = await helper(setup(), [
    ...[...CWD, ...PROFILE, "--allow-network-for-proxy", ...RUN],
  ], { env: { HTTP_PROXY: "http://192.0.2.1:3128" } });
  expect(end).toBe(125);
  expect(stderr).toContain("requires parseable loopback proxy endpoints");
});

test("a link at a protected name is refused before anything is mounted", async () => {
  const subject = setup();
  symlinkSync("/etc", `${subject.work}/.codex`);
  const { end, stdout, stderr } = await helper(subject, [
    ...["--sandbox-policy-cwd", subject.work],
    ...["--permission-profile", WORKSPACE, ...RUN],
  ]);
  expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
  expect(stderr).toContain("cannot enforce sandbox read-only path");
  expect(stderr).toContain("crosses writable symlink");
});

const WHERE = '[ "$(pwd)" = /usr ] || echo here';

/** Everything that works, in both spellings where there are two. */
const CALLS: readonly (readonly [
  why: string,
  words: readonly string[],
  stdout: string,
])[] = [
  ["flags with a word each", [...CWD, ...PROFILE, ...RUN], "ran\n"],
  [
    "flags with an equals sign",
    [
      "--sandbox-policy-cwd=/",
      `--permission-profile=${READ_ONLY}`,
      "--command-cwd=/",
      ...RUN,
    ],
    "ran\n",
  ],
  ["no -- before the command", [...CWD, ...PROFILE, "echo", "ran"], "ran\n"],
  [
    "flags behind the command are the command's",
    [...CWD, ...PROFILE, "echo", "--no-proc", "--x", "--", "-h"],
    "--no-proc --x -- -h\n",
  ],
  [
    "only one -- is taken",
    [...CWD, ...PROFILE, "--", "echo", "--", "ran"],
    "-- ran\n",
  ],
  [
    "a policy directory that is relative, or not there",
    ["--sandbox-policy-cwd", "no/such", ...PROFILE, ...RUN],
    "ran\n",
  ],
  ["--no-proc", [...CWD, ...PROFILE, "--no-proc", ...RUN], "ran\n"],
  [
    "--command-cwd moves nobody, when it is spelled without links",
    [...CWD, ...PROFILE, "--command-cwd", "/usr", "--", "sh", "-c", WHERE],
    "here\n",
  ],
  [
    "the older policy alone",
    [...CWD, "--sandbox-policy", '{"type":"read-only"}', ...RUN],
    "ran\n",
  ],
  [
    "both halves of the older policy",
    [
      ...[...CWD, "--file-system-sandbox-policy", '{"kind":"unrestricted"}'],
      ...["--network-sandbox-policy", '"restricted"', ...RUN],
    ],
    "ran\n",
  ],
  [
    "Landlock by the older policy that it fits",
    [
      ...[...CWD, "--sandbox-policy", '{"type":"read-only"}'],
      ...[...LEGACY, "--", "sh", "-c", "touch /var/tmp || echo closed"],
    ],
    "closed\n",
  ],
];

for (const [why, words, stdout] of CALLS) {
  matrix(why, BOTH_ACTORS, async (subject) => {
    const outcome = await helper(subject, words);
    expect({ end: outcome.end, stdout: outcome.stdout })
      .toEqual({ end: 0, stdout });
  });
}

test("--no-proc says that it is the reason for the host's /proc", async () => {
  const { stderr } = await helper(setup(), [
    ...[...CWD, ...PROFILE, "--no-proc", ...RUN],
  ]);
  expect(stderr).toBe(
    "codex: warning: the host's /proc is visible inside, read-only: --no-proc asks for no fresh one\n",
  );
});

test("--command-cwd through a link leads to the real place", async () => {
  const subject = setup();
  mkdirSync(`${subject.work}/real`);
  symlinkSync("real", `${subject.work}/link`);
  const { stdout } = await helper(subject, [
    ...[...CWD, ...PROFILE, "--command-cwd", `${subject.work}/link`],
    ...["--", "sh", "-c", "pwd; echo $PWD"],
  ]);
  const real = `${subject.work}/real`;
  expect(stdout).toBe(`${real}\n${real}\n`);
});

test("--help tells what callers of today need, and hides the rest", async () => {
  for (const word of ["-h", "--help"]) {
    const { end, stdout, stderr } = await helper(setup(), [word]);
    expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
    for (const flag of ["--sandbox-policy-cwd", "--no-proc"]) {
      expect(stdout).toContain(flag);
    }
    for (const flag of ["--apply-seccomp-then-exec", "--proxy-route-spec"]) {
      expect(stdout).not.toContain(flag);
    }
  }
});

/** What a policy of each kind leaves to the command: no_new_privs, filter, whether `/var/tmp/...` of the actor can be written. */
const KINDS: readonly (readonly [string, string, string])[] = [
  ["disabled: nothing at all", '{"type":"disabled"}', "0 0 written"],
  [
    "external without network: the filter, and somebody else confines files",
    '{"type":"external","network":"restricted"}',
    "1 2 written",
  ],
  [
    "unrestricted files without network",
    '{"type":"managed","file_system":{"type":"unrestricted"},"network":"restricted"}',
    "1 2 written",
  ],
  ["restricted files", READ_ONLY, "1 2 refused"],
];

for (const [why, profile, answer] of KINDS) {
  matrix(`a profile that is ${why}`, BOTH_ACTORS, async (subject) => {
    writeFileSync(`${subject.home}/own`, "");
    const script =
      `awk '/^NoNewPrivs|^Seccomp:/ { printf "%s ", $2 }' /proc/self/status; (echo x > ${subject.work}/file) 2>/dev/null && echo written || echo refused`;
    const { stdout } = await helper(subject, [
      ...[...CWD, "--permission-profile", profile, "--", "sh", "-c", script],
    ]);
    expect(stdout).toBe(`${answer}\n`);
  });
}

test("the inner stage outside of a sandbox is refused to root, who has capabilities", async () => {
  if (!ACTORS.includes("root")) {
    return notProved("the inner stage with capabilities", "needs root");
  }
  const { end, stdout, stderr } = await helper(
    setup({ ...PLAIN, actor: "root" }),
    [...CWD, ...PROFILE, "--apply-seccomp-then-exec", ...RUN],
  );
  expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
  expect(stderr).toContain(
    "Linux sandbox retained effective or permitted capabilities",
  );
});

test("the inner stage without capabilities adds the filter and nothing else", async () => {
  const subject = setup({ ...PLAIN, actor: "user" });
  const script =
    `awk '/^NoNewPrivs|^Seccomp:/ { printf "%s ", $2 }' /proc/self/status; touch ${subject.work}/made && echo made`;
  const { end, stdout } = await helper(subject, [
    ...[...CWD, ...PROFILE, "--apply-seccomp-then-exec"],
    ...["--", "sh", "-c", script],
  ]);
  expect({ end, stdout }).toEqual({ end: 0, stdout: "1 2 made\n" });
});
