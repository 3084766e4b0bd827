import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { completionScript } from "../../src/cli/completions.ts";
import { SHELLS } from "../../src/cli/dispatch.ts";

/** What bash would offer for `line` with the cursor at its end. */
function completeInBash(line: string, cwd = "/"): string[] {
  const script = `${completionScript("bash")}
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
COMP_LINE=$LINE COMP_POINT=\${#LINE}
_codex
printf '%s\\n' "\${COMPREPLY[@]}"
`;
  const done = spawnSync("bash", ["--norc", "-c", script], {
    cwd,
    env: { PATH: "/usr/bin:/bin", LINE: line, LC_ALL: "C" },
    encoding: "utf8",
  });
  expect(done.stderr).toBe("");
  return done.stdout.split("\n").filter((word) => word !== "");
}

const CASES: readonly (readonly [string, readonly string[], string])[] = [
  [
    "codex ",
    [
      "sandbox",
      "config",
      "policy",
      "proxy-connect",
      "doctor",
      "completions",
      "help",
    ],
    "commands",
  ],
  ["codex sa", ["sandbox"], "the beginning of a command"],
  ["codex sandbox --st", ["--stage"], "a flag of the command"],
  ["codex sandbox clean --d", ["--dry-run"], "a flag of sandbox clean"],
  ["codex doctor --j", ["--json"], "a flag of doctor"],
  ["codex sandbox --apply", [], "no flag of the helper"],
  ["codex --la", [], "no flag of another command"],
  ["codex -c a=b sandbox --la", ["--launcher"], "a value is no command"],
  ["codex -c sandbox --la", [], "a value is no command"],
  ["codex sandbox --launcher b", ["bundled"], "a choice"],
  ["codex sandbox --explain=j", ["json"], "a choice behind ="],
  [
    "codex sandbox -P :",
    ["read-only", "workspace", "danger-full-access"],
    "readline replaces only what stands behind the colon",
  ],
  ["codex sandbox --permission-profile=:w", ["workspace"], "= and a colon"],
  ["codex sandbox -C /us", ["/usr"], "a directory"],
  ["codex sandbox -C /usr --timi", ["--timings"], "behind a value"],
  ["codex sandbox ls --expl", [], "the command's words are its own"],
  ["codex sandbox -- ls --expl", [], "the command's words are its own"],
  ["codex sandbox -- ls /us", ["/usr"], "files for the command"],
  ["codex config ", ["check", "show", "schema"], "sub-commands"],
  ["codex config show --o", ["--origin"], "a flag of a sub-command"],
  ["codex policy why wr", ["write"], "an operation"],
  ["codex policy why read /us", ["/usr"], "a path"],
  ["codex completions ", ["bash", "zsh", "fish"], "shells"],
];
for (const [line, expected, why] of CASES) {
  test(`bash completes "${line}" to [${expected}]: ${why}`, () => {
    expect(completeInBash(line)).toEqual([...expected]);
  });
}

test("bash offers programs behind --", () => {
  expect(completeInBash("codex sandbox -- tru")).toContain("true");
});

test("bash offers the sub-command of sandbox beside programs", () => {
  expect(completeInBash("codex sandbox clea")).toContain("clean");
});

for (const shell of SHELLS) {
  const path = spawnSync("sh", ["-c", `command -v ${shell}`], {
    encoding: "utf8",
  }).stdout.trim();
  test.skipIf(path === "")(
    `${shell} accepts the grammar of its script (skipped where ${shell} is missing)`,
    () => {
      const done = spawnSync(path, ["-n"], {
        input: completionScript(shell),
        encoding: "utf8",
      });
      expect([done.status, done.stderr]).toEqual([0, ""]);
    },
  );
}

const ZSH = pathOf("zsh");
const FISH = pathOf("fish");

function pathOf(shell: string): string | null {
  return Bun.which(shell, { PATH: "/usr/local/bin:/usr/bin:/bin" });
}

/** Two that can be asked: a line, words that must be offered, and one that must not. */
const ASKED: readonly (readonly [string, readonly string[], string])[] = [
  ["codex ", ["sandbox", "proxy-connect", "help"], "clean"],
  ["codex sandbox --la", ["--launcher"], "--timings"],
  ["codex sandbox --launcher ", ["auto", "system", "bundled"], "sandbox"],
  ["codex sandbox cl", ["clean"], "sandbox"],
  ["codex sandbox clean --d", ["--dry-run"], "--launcher"],
  ["codex sandbox -P ", [":read-only", ":workspace"], "clean"],
  ["codex policy ", ["why", "list"], "check"],
  ["codex policy why ", ["read", "write", "exec", "connect"], "why"],
  ["codex completions ", ["bash", "zsh", "fish"], "sandbox"],
];

/** A shell at a terminal of its own types the line and TAB; whatever is added as a match is written down. */
const ZSH_DRIVER = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'source $SETUP'
while [[ ! -e $READY ]]; do zpty -r -t z word; sleep 0.02; done
zpty -w -n z "$LINE"$'\t\x15'
zpty -w z 'print -r -- over > $OVER'
while [[ ! -e $OVER ]]; do zpty -r -t z word; sleep 0.02; done
zpty -d z`;

const ZSH_SETUP = `autoload -U compinit; compinit -D -u; source $SCRIPT
compadd() {
  local -a hits
  builtin compadd -O hits "$@"
  (( $#hits )) && print -rl -- $hits >> $HITS
  builtin compadd "$@"
}
zle-line-init() { : > $READY }
zle -N zle-line-init
`;

function completeInZsh(line: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), "codex-zsh-"));
  try {
    const at = (name: string): string => join(folder, name);
    writeFileSync(at("script"), completionScript("zsh"));
    writeFileSync(at("setup"), ZSH_SETUP);
    writeFileSync(at("hits"), "");
    const done = spawnSync(ZSH!, ["-f", "-c", ZSH_DRIVER], {
      cwd: folder,
      env: {
        PATH: "/usr/bin:/bin",
        HOME: folder,
        TERM: "dumb",
        LINE: line,
        SETUP: at("setup"),
        SCRIPT: at("script"),
        HITS: at("hits"),
        READY: at("ready"),
        OVER: at("over"),
      },
      encoding: "utf8",
      timeout: 90_000,
    });
    expect([done.status, done.signal]).toEqual([0, null]);
    return readFileSync(at("hits"), "utf8").split("\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function completeInFish(line: string): string[] {
  // fish makes folders in its home, and the home itself.
  const folder = mkdtempSync(join(tmpdir(), "codex-fish-"));
  try {
    const done = spawnSync(FISH!, [
      "--no-config",
      "-c",
      `source (printf %s $SCRIPT | psub); complete -C $LINE`,
    ], {
      env: {
        PATH: "/usr/bin:/bin",
        HOME: folder,
        LINE: line,
        SCRIPT: completionScript("fish"),
      },
      encoding: "utf8",
    });
    return done.stdout.split("\n").map((one) => one.split("\t")[0] ?? "");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (
  const [shell, path, complete] of [
    ["zsh", ZSH, completeInZsh],
    ["fish", FISH, completeInFish],
  ] as const
) {
  for (const [line, offered, other] of ASKED) {
    test.skipIf(path === null)(
      `${shell} completes "${line}" to ${offered} (skipped where ${shell} is missing)`,
      () => {
        const words = complete(line);
        expect([...offered, other].filter((word) => words.includes(word)))
          .toEqual([...offered]);
      },
    );
  }
}
