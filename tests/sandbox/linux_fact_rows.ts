/**
 * The 65 facts about the reference's Linux sandbox, each as listed or as our rule, claimed once.
 *
 * A fact stands here with its calls, or names the test that shows it. {@linkcode LINUX_FACTS} is run by `linux_facts_test.ts` as root
 * and as a user, with both bubblewraps, with one start and the inner stage.
 *
 * `@W` is the workspace, `@D` the folder above it (the user's too, granted to nobody), `@P` the probe.
 *
 * @module
 */

/** One call of `codex sandbox`, or of the helper. */
export interface FactCall {
  /** What follows `codex sandbox` (launcher and stage are added), or with `helper` what follows the helper's policy. */
  readonly words: readonly string[];
  readonly helper?: true;
  /** Below the workspace; the workspace itself without it. */
  readonly folder?: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly end: number | string;
  /** Words of standard output, or a pattern over it. */
  readonly stdout?: string | RegExp;
  /** Standard error; without it nothing is said there. */
  readonly says?: RegExp;
}

/** A fact that is shown by its calls. */
export interface ShownFact {
  readonly number: number;
  readonly given: string;
  /** Lines of a shell outside, as the user, in the workspace, before the calls. */
  readonly before?: string;
  /** The user's config.toml. */
  readonly config?: string;
  readonly calls: readonly FactCall[];
  /** Names in the workspace afterwards. */
  readonly leaves?: readonly string[];
  /** Where forcing one start would bend the truth: the planner's own choice instead. */
  readonly stages?: "true";
  readonly actor?: "root" | "user";
  /** Our reason, where the fact differs. */
  readonly ours?: string;
}

/** A fact that another test shows. */
export interface ClaimedFact {
  readonly number: number;
  readonly given: string;
  readonly file: string;
  /** Part of the file: the test's title, or the row's id. */
  readonly text: string;
  readonly ours?: string;
}

/** One fact. */
export type LinuxFact = ShownFact | ClaimedFact;

const READ = ["-P", ":read-only"];
const WORK = ["-P", ":workspace"];
const FULL = ["-P", ":danger-full-access"];
const DP = 'default_permissions = "p"\n';
const NET =
  `${DP}[permissions.p]\nextends = ":workspace"\nnetwork = { enabled = true }\n`;

/** A shell. Whatever fails there says so on standard output by its own `|| echo`. */
function sh(
  flags: readonly string[],
  line: string,
): readonly string[] {
  return [...flags, "--", "sh", "-c", line];
}

/** Profile `p` on top of `:workspace`, selected. */
function onWorkspace(...lines: readonly string[]): string {
  return `${DP}[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n${
    lines.join("\n")
  }\n`;
}

const STATUSES = "126 and 127 tell the two cases apart, as every shell does";
const FAILS = "125 is ours: the command never ran";
const EROFS = /Read-only file system/;

const SHOWN: readonly ShownFact[] = [
  {
    number: 1,
    given: "echo hi",
    calls: [{ words: [...READ, "--", "echo", "hi"], end: 0, stdout: "hi" }],
  },
  {
    number: 2,
    given: "exit 42",
    calls: [{ words: sh(READ, "exit 42"), end: 42 }],
  },
  {
    number: 3,
    given: "kill -TERM $$",
    calls: [{ words: sh(READ, "kill -TERM $$"), end: 143 }],
  },
  {
    number: 4,
    given: "kill -9 $$",
    calls: [{ words: sh(READ, "kill -9 $$"), end: 137 }],
  },
  {
    number: 5,
    given: "kill -SEGV $$",
    calls: [{ words: sh(READ, "ulimit -c 0; kill -SEGV $$"), end: 139 }],
  },
  {
    number: 6,
    given: "disabled and kill -TERM $$: a real SIGTERM",
    calls: [{ words: sh(FULL, "kill -TERM $$"), end: "SIGTERM" }],
  },
  {
    number: 7,
    given: "an unknown command",
    stages: "true",
    calls: [{
      words: [...READ, "--", "nosuchcmd"],
      end: 127,
      says: /nosuchcmd.*not found/,
    }],
    ours: STATUSES,
  },
  {
    number: 8,
    given: "/etc/passwd as command",
    stages: "true",
    calls: [{
      words: [...READ, "--", "/etc/passwd"],
      end: 126,
      says: /\/etc\/passwd/,
    }],
    ours: STATUSES,
  },
  {
    number: 9,
    given: "the empty string as command",
    stages: "true",
    calls: [{ words: [...READ, "--", ""], end: 127, says: /not found/ }],
    ours: STATUSES,
  },
  {
    number: 10,
    given: "stdin passes through",
    calls: [{
      words: [...READ, "--", "cat"],
      input: "one two",
      end: 0,
      stdout: "one two",
    }],
  },
  {
    number: 11,
    given: "argv a\\nb, empty, --, -x",
    calls: [{
      words: [...READ, "--", "@P", "args", "a\nb", "", "--", "-x"],
      end: 0,
      stdout: /^a\\x0ab\n\n--\n-x\n$/,
    }],
  },
  {
    number: 13,
    given: "/bin/echo --no-proc hi without -- prints it",
    calls: [
      {
        words: [...READ, "/bin/echo", "--no-proc", "hi"],
        end: 0,
        stdout: "--no-proc hi",
      },
      {
        words: ["/bin/echo", "--no-proc", "hi"],
        helper: true,
        end: 0,
        stdout: "--no-proc hi",
      },
    ],
  },
  {
    number: 14,
    given: "$$ is 2, its parent, group and session are 1",
    calls: [{
      words: [...READ, "--", "@P", "ids"],
      end: 0,
      stdout: /^2 1 1 1 \d+ \d+\n$/,
    }],
  },
  {
    number: 15,
    given: "only processes of the sandbox in /proc",
    calls: [{
      words: sh(READ, "cd /proc; echo [0-9]*"),
      end: 0,
      stdout: "1 2",
    }],
  },
  {
    number: 17,
    given: "kill -9 1 and kill -TERM 1",
    calls: [{
      words: sh(READ, "kill -9 1; kill -TERM 1; sleep 0.05; echo on; exit 3"),
      end: 3,
      stdout: "on",
    }],
    ours: "as 145: process 1 ignores what comes from inside",
  },
  {
    number: 18,
    given: "kill -9 -1 finds nobody",
    calls: [{
      words: sh(READ, "kill -9 -1; echo on"),
      end: 0,
      stdout: "on",
      says: /No such process/,
    }],
  },
  {
    number: 19,
    given: "NoNewPrivs 1, Seccomp 2, with the network and without",
    config: NET,
    calls: [
      {
        words: sh(READ, "@P caps | grep -E 'NoNew|Sec' | sort"),
        end: 0,
        stdout: "NoNewPrivs 1 Seccomp 2",
      },
      {
        words: sh(["-P", "p"], "@P caps | grep -E 'NoNew|Sec' | sort"),
        end: 0,
        stdout: "NoNewPrivs 1 Seccomp 2",
      },
    ],
    ours: "as 169: the filter stands with the network too",
  },
  {
    number: 24,
    given: "/dev",
    calls: [{
      words: sh(READ, "ls /dev | grep -v codex-"),
      end: 0,
      stdout:
        "core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero",
    }],
    ours: "and our executable, where the inner stage started the command",
  },
  {
    number: 25,
    given: "/dev/null can be written",
    calls: [{
      words: sh(READ, "echo x > /dev/null && echo yes"),
      end: 0,
      stdout: "yes",
    }],
  },
  {
    number: 26,
    given: "/dev/shm is private and empty",
    calls: [{
      words: sh(READ, "touch /dev/shm/codex-fact && ls -A /dev/shm"),
      end: 0,
      stdout: "codex-fact",
    }, {
      words: sh(READ, "ls -A /dev/shm"),
      end: 0,
      stdout: "",
    }],
  },
  {
    number: 27,
    given: "/dev/tty",
    calls: [{ words: [...READ, "--", "@P", "tty"], end: 0, stdout: "ENXIO" }],
  },
  {
    number: 28,
    given: "TIOCSTI",
    calls: [{
      words: [...READ, "--", "@P", "tiocsti"],
      end: 0,
      stdout: "EPERM EPERM EPERM",
    }],
  },
  {
    number: 29,
    given: "touch in the workspace and elsewhere",
    calls: [{
      words: sh(WORK, "touch a && echo a; touch @D/b || echo no"),
      end: 0,
      stdout: "a no",
      says: EROFS,
    }],
    leaves: ["a"],
  },
  {
    number: 30,
    given: "mkdir .git in a bare workspace; its siblings",
    calls: [{
      words: sh(
        WORK,
        "mkdir .git 2>&1 | grep -o 'File exists'; touch .git/x 2>&1 | grep -o 'Read-only'; rmdir .codex 2>&1 | grep -o busy; mv .agents z 2>&1 | grep -o busy",
      ),
      end: 0,
      stdout: "File exists Read-only busy busy",
    }],
    leaves: [],
  },
  {
    number: 31,
    given: "an existing .git: reads, no write, no rename, no removal",
    before: "mkdir .git; echo c > .git/config",
    calls: [{
      words: sh(
        WORK,
        "cat .git/config; exec 2>/dev/null; (echo x > .git/config) || echo 1; mv .git g || echo 2; rm -rf .git || echo 3; cat .git/config",
      ),
      end: 0,
      stdout: "c 1 2 3 c",
    }],
    leaves: [".git"],
  },
  {
    number: 32,
    given: "a gitdir target in the workspace",
    before: "mkdir real; echo c > real/config; echo 'gitdir: real' > .git",
    calls: [{
      words: sh(
        WORK,
        "cat real/config; exec 2>/dev/null; touch real/x || echo 1; mv real r || echo 2; (echo x > .git) || echo 3",
      ),
      end: 0,
      stdout: "c 1 2 3",
    }],
    leaves: [".git", "real"],
  },
  {
    number: 33,
    given: "a .codex that is a link in the workspace",
    before: "mkdir d; ln -s d .codex",
    calls: [{
      words: sh(WORK, "echo ran"),
      end: 125,
      says: /^codex: [^\n]*\.codex[^\n]*symlink[^\n]*\n$/,
    }],
    leaves: [".codex", "d"],
    ours: FAILS,
  },
  {
    number: 34,
    given: "a denied path through a writable link",
    before: "mkdir d; echo s > d/secret; ln -s d l",
    config: onWorkspace('"@W/l/secret" = "deny"'),
    calls: [{
      words: sh([], "cat d/secret"),
      end: 125,
      says: /^codex: [^\n]*@W\/l[^\n]*\n$/,
    }],
    ours: FAILS,
  },
  {
    number: 35,
    given: "a denied folder",
    before: "mkdir v; echo s > v/inner",
    config: onWorkspace('"@W/v" = "deny"'),
    calls: [{
      words: sh(
        [],
        "ls v 2>&1 | grep -o 'Permission denied'; cat v/inner 2>&1 | grep -oE 'denied|No such'; stat -c %a v",
      ),
      end: 0,
      stdout: /^Permission denied\n(denied|No such)\n(0|111)\n$/,
    }],
    ours:
      "as uid 0 a mask of mode 0 is closed too: no capability reads through it",
  },
  {
    number: 36,
    given: "a writable child of a denied folder",
    before: "mkdir -p v/open; echo s > v/inner; echo t > v/open/file",
    config: onWorkspace('"@W/v" = "deny"', '"@W/v/open" = "write"'),
    calls: [{
      words: sh(
        [],
        "cat v/open/file; echo u > v/open/new; exec 2>/dev/null; cat v/inner || echo closed",
      ),
      end: 0,
      stdout: "t closed",
    }, {
      words: sh([], "cat v/open/new"),
      end: 0,
      stdout: "u",
    }],
  },
  {
    number: 37,
    given: "chmod of masks",
    before: "mkdir v; echo s > f",
    config: onWorkspace('"@W/v" = "deny"', '"@W/f" = "deny"'),
    calls: [{
      words: sh([], "chmod 777 v; chmod 666 f; echo end"),
      end: 0,
      stdout: "end",
      says: /Read-only file system[^]*Read-only file system/,
    }],
  },
  {
    number: 38,
    given: "mv and ln of a masked file",
    before: "echo s > f",
    config: onWorkspace('"@W/f" = "deny"'),
    calls: [{
      words: [
        "--",
        "@P",
        "calls",
        ...["renameat2", "-100", "s:@W/f", "-100", "s:@W/g", "0"],
      ],
      end: 0,
      stdout: "EBUSY",
    }, {
      words: [
        "--",
        "@P",
        "calls",
        ...["linkat", "-100", "s:@W/f", "-100", "s:@W/g", "0"],
      ],
      end: 0,
      stdout: "EXDEV",
    }],
    leaves: ["f"],
  },
  {
    number: 39,
    given: "a writable root that is missing",
    config: onWorkspace('"@D/ghost" = "write"'),
    calls: [{ words: sh([], "touch f; echo on"), end: 0, stdout: "on" }],
    leaves: ["f"],
  },
  {
    number: 40,
    given: "/dev/shm as a writable root reaches the host",
    before: "mkdir -p /dev/shm/codex-fact-40",
    config: onWorkspace('"/dev/shm" = "write"'),
    calls: [{
      words: sh(
        [],
        "ls -d /dev/shm/codex-fact-40; rmdir /dev/shm/codex-fact-40",
      ),
      end: 0,
      stdout: "/dev/shm/codex-fact-40",
    }],
  },
  {
    number: 41,
    given: "a child of a repository: mkdir .git",
    before: "mkdir -p .git/objects child",
    calls: [{
      words: sh(
        [...WORK, "-C", "@W/child"],
        "mkdir .git 2>&1 | grep -o 'File exists'; echo on",
      ),
      folder: "child",
      end: 0,
      stdout: "File exists on",
    }],
    leaves: [".git", "child"],
    ours: "as 169: it can't be made, and nothing is deleted afterwards",
  },
  {
    number: 42,
    given: "exit 7 is kept there",
    before: "mkdir -p .git/objects child",
    calls: [{
      words: sh([...WORK, "-C", "@W/child"], "mkdir .git 2>/dev/null; exit 7"),
      folder: "child",
      end: 7,
    }],
  },
  {
    number: 43,
    given: "the parent's repository is found from the child",
    before: "git init -q .; mkdir child",
    calls: [{
      words: sh(
        [...WORK, "-C", "@W/child"],
        "git rev-parse --show-toplevel; git status --porcelain | wc -l",
      ),
      folder: "child",
      end: 0,
      stdout: "@W 0",
    }],
  },
  {
    number: 44,
    given: "**/*.env finds hidden and ignored files",
    before:
      "mkdir -p .hid a; echo '*.env' > .gitignore; for f in .env x.env .hid/y.env a/.z.env; do echo s > $f; done",
    config: onWorkspace('":workspace_roots" = { "**/*.env" = "deny" }'),
    calls: [{
      words: sh(
        [],
        "exec 2>/dev/null; for f in .env x.env .hid/y.env a/.z.env; do cat $f || echo closed; done",
      ),
      end: 0,
      stdout: "closed closed closed closed",
    }],
  },
  {
    number: 45,
    given: "depth 2 masks to depth 2 only",
    before: "mkdir -p a/b; for d in . a a/b; do echo open > $d/x.env; done",
    config: onWorkspace(
      "glob_scan_max_depth = 2",
      '":workspace_roots" = { "**/*.env" = "deny" }',
    ),
    calls: [{
      words: sh(
        [],
        "exec 2>/dev/null; for d in . a a/b; do cat $d/x.env || echo closed; done",
      ),
      end: 0,
      stdout: "closed closed open",
    }],
  },
  {
    number: 46,
    given: "a fake rg on PATH is not run",
    before:
      "mkdir bin; printf '#!/bin/sh\\necho ran > @W/ran\\nexit 2\\n' > bin/rg; chmod 755 bin/rg; echo s > x.env",
    config: onWorkspace('":workspace_roots" = { "**/*.env" = "deny" }'),
    calls: [{
      words: sh([], "cat x.env 2>/dev/null || echo closed"),
      env: { PATH: "@W/bin:/usr/bin:/bin" },
      end: 0,
      stdout: "closed",
    }],
    leaves: ["bin", "x.env"],
    ours: "as 169: no search tool is ever run",
  },
  {
    number: 54,
    given: "--no-proc: the host's processes are seen, $$ is 2",
    calls: [{
      words: [
        ...["--no-proc", "--", "/bin/sh", "-c"],
        "PATH=/usr/bin:/bin; echo $$; [ $(ls -d /proc/[0-9]* | wc -l) -gt 4 ] && echo many; (: >> /proc/sys/kernel/hostname) 2>/dev/null && echo open; echo end",
      ],
      helper: true,
      end: 0,
      stdout: "2 many end",
      says: /^codex: warning: the host's \/proc is visible inside, read-only/,
    }],
    ours: "read-only, and a warning says so",
  },
  {
    number: 55,
    given: "statuses by the main command, CODEX_SANDBOX_NETWORK_DISABLED, PATH",
    calls: [
      { words: ["--", "sh", "-c", "exit 5"], end: 5 },
      { words: ["--", "sh", "-c", "kill -9 $$"], end: 137 },
      {
        words: ["--", "sh", "-c", "echo $CODEX_SANDBOX_NETWORK_DISABLED $PATH"],
        env: { PATH: "/usr/bin:/bin" },
        end: 0,
        stdout: "1 /usr/bin:/bin",
      },
    ],
    ours: "PATH is the caller's: there is no folder of ours to put into it",
  },
  {
    number: 56,
    given: "no command",
    calls: [{ words: [], end: 2, says: /command/ }],
    ours: "a usage error like any other",
  },
  {
    number: 57,
    given: "a linked working directory: PWD and pwd are canonical",
    before: "mkdir real; ln -s real link",
    calls: [{
      words: ["--", "sh", "-c", "echo $PWD; /bin/pwd"],
      folder: "link",
      env: { PWD: "@W/link" },
      end: 0,
      stdout: "@W/real @W/real",
    }],
  },
  {
    number: 58,
    given: "--command-cwd /usr from elsewhere",
    calls: [{
      words: ["--command-cwd", "/usr", "--", "/bin/pwd"],
      helper: true,
      end: 0,
      stdout: "@W",
    }],
  },
  {
    number: 63,
    given: "an empty .codex file that is there already",
    before: ": > .codex",
    calls: [{
      words: sh(
        WORK,
        "(echo x > .codex) 2>&1 | grep -o Read-only; rm .codex 2>&1 | grep -oE 'busy|Read-only'; stat -c %s .codex",
      ),
      end: 0,
      stdout: /^Read-only\n(busy|Read-only)\n0\n$/,
    }],
    leaves: [".codex"],
  },
];

const CLAIMED: readonly ClaimedFact[] = [
  {
    number: 12,
    given: "an argument that is no UTF-8",
    file: "tests/sandbox/state_test.ts",
    text: "arguments reach the command byte for byte",
    ours: "arguments are bytes: they are passed on, not refused with 2",
  },
  {
    number: 16,
    given: "a background job dies with the command",
    file: "tests/sandbox/life_test.ts",
    text: "what a command leaves in the background ends with it",
  },
  {
    number: 20,
    given: "/proc/net/dev shows only lo",
    file: "tests/sandbox/confinement_test.ts",
    text: "the network has nothing but lo",
  },
  {
    number: 21,
    given: "TCP to the host's loopback: refused without network, fine with it",
    file: "tests/sandbox/escape_rows.ts",
    text: 'id: "host-control"',
    ours:
      "ECONNREFUSED instead of EPERM: the loopback is the sandbox's own, and servers on it work",
  },
  {
    number: 22,
    given: "a unix stream: refused without network, fine with it",
    file: "tests/sandbox/escape_rows.ts",
    text: 'id: "host-unix"',
    ours: "socket() itself is refused, not connect()",
  },
  {
    number: 23,
    given: "an abstract unix socket",
    file: "tests/sandbox/escape_rows.ts",
    text: 'id: "host-abstract"',
    ours: "without network no AF_UNIX socket can be made at all",
  },
  {
    number: 47,
    given: "PATH=/nope: the bundled bubblewrap works",
    file: "tests/sandbox/launcher_test.ts",
    text: "without a bwrap on PATH the bundled one is run",
  },
  {
    number: 48,
    given: "a bwrap inside the working directory",
    file: "tests/sandbox/launcher_test.ts",
    text:
      "relative and empty entries of PATH are never looked into for a bwrap",
  },
  {
    number: 49,
    given: "a bwrap without --perms",
    file: "tests/sandbox/launcher_test.ts",
    text: '"without --perms"',
  },
  {
    number: 50,
    given: "a bwrap that only fails /proc",
    file: "tests/sandbox/launcher_test.ts",
    text:
      "a bwrap that can't mount /proc is used with the host's, read-only, and says so",
    ours: 'not silently: a warning, and a refusal with require = ["proc"]',
  },
  {
    number: 51,
    given: "a tampered bundled bubblewrap",
    file: "tests/sandbox/launcher_test.ts",
    text: "a bundled bwrap with one bit changed is not run",
    ours: FAILS,
  },
  {
    number: 52,
    given: "no bubblewrap at all",
    file: "tests/sandbox/launcher_test.ts",
    text: "is never run`",
    ours: "the bundled one is part of the executable and can't be missing",
  },
  {
    number: 53,
    given: "a bubblewrap that fails in its set-up",
    file: "tests/sandbox/launcher_test.ts",
    text: "gets one line and no command",
    ours: "125 and one line of ours wherever it can be known beforehand",
  },
  {
    number: 59,
    given: "SIGTERM to us",
    file: "tests/sandbox/life_test.ts",
    text: "to us ends everything inside, and us by it",
  },
  {
    number: 60,
    given: "SIGKILL to us leaves empty folders",
    file: "tests/sandbox/life_test.ts",
    text: "SIGKILL to us ends everything inside and leaves no placeholder",
    ours: "nothing is left: a watcher outlives it",
  },
  {
    number: 61,
    given: "runs at once in one workspace",
    file: "tests/sandbox/life_test.ts",
    text: "twenty runs at once in one workspace leave nothing",
  },
  {
    number: 62,
    given: "git init on the host during a run",
    file: "tests/sandbox/life_test.ts",
    text: "what the host's user puts into a placeholder during the run stays",
  },
  {
    number: 64,
    given: "a sandbox in a sandbox",
    file: "tests/sandbox/limits_test.ts",
    text: "a sandbox inside a sandbox takes the second rung",
    ours:
      "Landlock alone, where that keeps the profile; else 125 instead of 101",
  },
  {
    number: 65,
    given: "int 0x80",
    file: "tests/sandbox/confinement_test.ts",
    text: "the 32-bit entry and the x32 table end the command",
  },
];

/** All of them, by number. */
export const LINUX_FACTS: readonly LinuxFact[] = [...SHOWN, ...CLAIMED]
  .sort((a, b) => a.number - b.number);
