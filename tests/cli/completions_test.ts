import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
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
