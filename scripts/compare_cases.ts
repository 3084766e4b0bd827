/**
 * The policies, settings and commands that are run through both programs.
 *
 * Every case asks its questions with the probe of the live tests or with a shell line, one answer per line.
 *
 * @module
 */
import fc from "fast-check";
import { type GeneratedLine, linesBelow } from "../tests/policy/generate.ts";
import {
  GLOBS,
  profileJson,
  questionsBelow,
  type Renames,
  wordsOf,
} from "../tests/policy/on_disk.ts";

/** One call, and what its lines of output answer. */
export interface Case {
  /** What a person needs to see to run it by hand. */
  readonly id: string;
  readonly kind: "policy" | "settings" | "command";
  readonly face: "helper" | "codex";
  readonly words: readonly string[];
  readonly cwd: string;
  /** `$CODEX_HOME/config.toml`. */
  readonly config?: string;
  readonly questions: readonly string[];
  /** Of a random policy, below the tree: paths with their access, and denied globs. */
  readonly policy?: {
    readonly lines: readonly GeneratedLine[];
    readonly globs: readonly string[];
  };
}

/** Where a comparison takes place. */
export interface Place {
  readonly folder: string;
  readonly base: string;
  readonly probe: string;
}

const RENAMES: Renames = [
  ["w/f", "w/a/new"],
  ["w/a", "w/new"],
  ["w/a/b/h", "w/a/new"],
  ["w/e", "x/new"],
  ["w/.git", "w/new"],
];

/** Random permission profiles through the helper. */
export function policyCases(
  place: Place,
  runs: number,
  seed: number,
): readonly Case[] {
  const { base, folder, probe } = place;
  const globs = fc.uniqueArray(fc.constantFrom(...GLOBS), { maxLength: 2 });
  const generated = fc.sample(fc.tuple(linesBelow(base), globs), {
    numRuns: runs,
    seed,
  });
  const questions = questionsBelow(base, RENAMES).map(wordsOf);
  return generated.map(([lines, some]): Case => {
    const json = profileJson([...lines, [`${folder}/bin`, "read"]], [
      ...some.map((glob) => `${base}/${glob}`),
    ]);
    return {
      id: `policy ${json.replaceAll(base, "BASE")}`,
      kind: "policy",
      face: "helper",
      words: [
        ...["--sandbox-policy-cwd", base, "--command-cwd", base],
        ...["--permission-profile", json, "--", probe, "path-ops"],
        ...questions.flat(),
      ],
      cwd: base,
      questions: questions.map((words) =>
        words.map((word) => word.replace(`${base}/`, "")).join(" ")
      ),
      policy: {
        lines: lines.map(([path, access]) => [below(base, path), access]),
        globs: some,
      },
    };
  });
}

function below(base: string, path: string): string {
  if (path === base) return "";
  return path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path;
}

/** A shell line whose output answers the questions one by one. */
type Asked = readonly (readonly [question: string, shell: string])[];

/** What a profile's files are like: each line prints `yes` or `no`. */
const FILE_QUESTIONS: Asked = [
  ...["w/f", "w/a/g", "w/a/b/h", "w/e/j", "x/k", "w/.git/config"].flatMap((
    path,
  ): Asked => [
    [`read ${path}`, `{ true < ${path}; } 2>/dev/null && echo yes || echo no`],
    [
      `write ${path}`,
      `{ true >> ${path}; } 2>/dev/null && echo yes || echo no`,
    ],
  ]),
  ...["new", "w/new", "w/a/new", "x/new", "w/.codex/new", "/tmp/codex-compare"]
    .map((path): Asked[number] => [
      `create ${path}`,
      `{ true > ${path} && rm ${path}; } 2>/dev/null && echo yes || echo no`,
    ]),
  [
    "network",
    "grep -q lo: /proc/net/dev && [ $(wc -l < /proc/net/dev) -gt 3 ] && echo host || echo none",
  ],
];

function shellCase(
  place: Place,
  kind: Case["kind"],
  id: string,
  flags: readonly string[],
  asked: Asked,
  config?: string,
): Case {
  return {
    id,
    kind,
    face: "codex",
    words: [
      "sandbox",
      ...flags,
      "--",
      "sh",
      "-c",
      asked.map(([, line]) => line).join("\n"),
    ],
    cwd: place.base,
    ...(config === undefined ? {} : { config }),
    questions: asked.map(([question]) => question),
  };
}

/** Config files and `-c` through `codex sandbox`. */
export function settingCases(place: Place): readonly Case[] {
  const { base } = place;
  const profile = (body: string): string =>
    `default_permissions = "p"\n[permissions.p.filesystem]\n${body}`;
  const root = '":root" = "read"\n';
  const sets: readonly (readonly [
    id: string,
    flags: readonly string[],
    config?: string,
  ])[] = [
    ["no config", []],
    ["-P :read-only", ["-P", ":read-only"]],
    ["-P :workspace", ["-P", ":workspace"]],
    ["-P :danger-full-access", ["-P", ":danger-full-access"]],
    ["-P :nonsense", ["-P", ":nonsense"]],
    ["-c sandbox_mode=read-only", ["-c", "sandbox_mode=read-only"]],
    ["-c sandbox_mode=workspace-write", ["-c", "sandbox_mode=workspace-write"]],
    [
      "workspace-write with network",
      [
        ...["-c", "sandbox_mode=workspace-write"],
        ...["-c", "sandbox_workspace_write.network_access=true"],
      ],
    ],
    [
      "workspace-write without /tmp",
      [
        ...["-c", "sandbox_mode=workspace-write"],
        ...["-c", "sandbox_workspace_write.exclude_slash_tmp=true"],
      ],
    ],
    ["a profile that reads all", [], profile(root)],
    [
      "a profile that writes the project",
      [],
      profile(`${root}":workspace_roots" = "write"\n`),
    ],
    [
      "a profile that writes one folder of the project",
      [],
      profile(`${root}":workspace_roots" = { "w" = "write" }\n`),
    ],
    [
      "a carve-out",
      [],
      profile(`${root}"${base}" = "write"\n"${base}/w/a" = "read"\n`),
    ],
    [
      "a carve-out and a grant inside it",
      [],
      profile(
        `${root}"${base}" = "write"\n"${base}/w" = "read"\n"${base}/w/a" = "write"\n`,
      ),
    ],
    [
      "a denied file",
      [],
      profile(`${root}"${base}" = "write"\n"${base}/w/a/g" = "deny"\n`),
    ],
    [
      "a denied folder",
      [],
      profile(`${root}"${base}" = "write"\n"${base}/w/a" = "deny"\n`),
    ],
    [
      "a denied glob",
      [],
      profile(`${root}"${base}" = "write"\n"${base}/**/h" = "deny"\n`),
    ],
    [
      "none as another word for deny",
      [],
      profile(`${root}"${base}/w/a" = "none"\n`),
    ],
    [
      "the whole file system writable",
      [],
      profile('":root" = "write"\n'),
    ],
    [
      "/tmp writable",
      [],
      profile(`${root}":slash_tmp" = "write"\n`),
    ],
    [
      "the minimal view",
      [],
      profile(`":minimal" = "read"\n"${base}" = "write"\n`),
    ],
    [
      "network enabled",
      [],
      `${profile(root)}[permissions.p.network]\nenabled = true\n`,
    ],
    [
      "network disabled",
      [],
      `${profile(root)}[permissions.p.network]\nenabled = false\n`,
    ],
    [
      "extends :workspace",
      [],
      `default_permissions = "p"\n[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n"${base}/w/a" = "deny"\n`,
    ],
    ["a profile that does not exist", ["-P", "q"], profile(root)],
    ["an empty profile", [], 'default_permissions = "p"\n[permissions.p]\n'],
    ["an unknown access word", [], profile(`"${base}" = "append"\n`)],
    ["a relative path", [], profile('"w" = "write"\n')],
    ["an unknown token", [], profile(`${root}":nonsense" = "write"\n`)],
    ["broken TOML", [], "default_permissions = [\n"],
    ["an unknown top key", [], 'no_such_key = "x"\n'],
    ["-c without a value", ["-c", "sandbox_mode"]],
    ["-c with a wrong type", ["-c", "sandbox_mode=3"]],
    [
      "environment: inherit none",
      [],
      '[shell_environment_policy]\ninherit = "none"\nset = { PATH = "/usr/bin:/bin" }\n',
    ],
  ];
  return sets.map(([id, flags, config]) =>
    shellCase(place, "settings", id, flags, FILE_QUESTIONS, config)
  );
}

/** Single commands under the default profile. */
export function commandCases(place: Place): readonly Case[] {
  const { base } = place;
  const plain: readonly (readonly [string, ...string[]])[] = [
    ["true"],
    ["false"],
    ["sh", "-c", "exit 7"],
    ["sh", "-c", "exit 255"],
    ["sh", "-c", "kill -TERM $$"],
    ["sh", "-c", "kill -KILL $$"],
    ["sh", "-c", "kill -SEGV $$"],
    ["no-such-command"],
    ["./w"],
    ["/etc/passwd"],
    ["sh", "-c", "yes | head -n 1"],
  ];
  const asked: Asked = [
    ["uid", "id -u"],
    ["working directory", "pwd"],
    ["umask", "umask"],
    ["limit of open files", "ulimit -n"],
    ["pid is 1", "[ $$ = 1 ] && echo yes || echo no"],
    [
      "processes seen",
      "ls /proc | grep -c '^[0-9]' | grep -q '^[1-6]$' && echo own || echo all",
    ],
    ["no_new_privs", "grep NoNewPrivs /proc/self/status | tr -d '\t'"],
    ["filter", "grep '^Seccomp:' /proc/self/status | tr -d '\t'"],
    ["capabilities", "grep CapEff /proc/self/status | tr -d '\t'"],
    ["bounding set", "grep CapBnd /proc/self/status | tr -d '\t'"],
    ["ignored signals", "grep SigIgn /proc/self/status | tr -d '\t'"],
    [
      "host name",
      "[ $(hostname) = $(cat /etc/hostname) ] && echo same || echo other",
    ],
    ["/dev/null", "echo x > /dev/null && echo yes || echo no"],
    [
      "/dev/shm",
      "{ true > /dev/shm/codex-compare; } 2>/dev/null && echo yes || echo no",
    ],
    [
      "/proc/sys opens for writing",
      "( exec 9<>/proc/sys/kernel/hostname ) 2>/dev/null && echo yes || echo no",
    ],
    ["terminal", "( exec 9<>/dev/tty ) 2>/dev/null && echo yes || echo no"],
    ["a user namespace", "unshare -U true 2>/dev/null && echo yes || echo no"],
    ["a process of the host", "kill -0 2 2>/dev/null && echo yes || echo no"],
    ["CODEX_SANDBOX_NETWORK_DISABLED", "echo $CODEX_SANDBOX_NETWORK_DISABLED"],
    ["CODEX_SANDBOX", "echo $CODEX_SANDBOX"],
    ["HOME", '[ -n "$HOME" ] && echo set || echo unset'],
    [
      "policy in process 1",
      "tr '\\0' ' ' < /proc/1/cmdline 2>/dev/null | grep -q permission-profile && echo yes || echo no",
    ],
  ];
  return [
    ...plain.map((words): Case => ({
      id: words.join(" "),
      kind: "command",
      face: "codex",
      words: ["sandbox", "--", ...words],
      cwd: base,
      questions: [],
    })),
    shellCase(place, "command", "surroundings", [], asked),
  ];
}
