/**
 * How codex is called: its name, its words, and one line with the right status for every mistake.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  linkSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import {
  BOTH_ACTORS,
  leaveClean,
  matrix,
  notProved,
  setup,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

const REFUSED = ["--", "sh", "-c", "touch made 2>/dev/null; echo ran"];

async function expectSandboxed(subject: Subject, file: string): Promise<void> {
  const outcome = await subject.outside([file, "sandbox", ...REFUSED]);
  expect(outcome).toEqual({ end: 0, stdout: "ran\n", stderr: "" });
  expect(await Bun.file(`${subject.work}/made`).exists()).toBe(false);
}

matrix(
  "the file alone in another folder, under another name, works",
  BOTH_ACTORS,
  async (subject) => {
    const { dir, codex } = subject;
    copyFileSync(codex, `${dir}/other name`);
    chmodSync(`${dir}/other name`, 0o755);
    await expectSandboxed(subject, `${dir}/other name`);
    linkSync(`${dir}/other name`, `${dir}/hard`);
    await expectSandboxed(subject, `${dir}/hard`);
  },
);

matrix("a link to the file works", BOTH_ACTORS, async (subject) => {
  symlinkSync(subject.codex, `${subject.dir}/link`);
  symlinkSync("link", `${subject.dir}/second`);
  await expectSandboxed(subject, `${subject.dir}/second`);
});

matrix(
  "only the name codex-linux-sandbox makes it the helper",
  BOTH_ACTORS,
  async ({ dir, codex, outside }) => {
    const asked = ["--version"];
    symlinkSync(codex, `${dir}/codex-linux-sandbox`);
    symlinkSync(codex, `${dir}/codex-linux-sandbox-x`);
    const main = await outside([codex, ...asked]);
    expect(main.stdout).toStartWith("codex ");
    expect(await outside([`${dir}/codex-linux-sandbox-x`, ...asked]))
      .toEqual(main);
    // The helper has no --version; it says so, by the link and by argv[0] alike.
    const byLink = await outside([`${dir}/codex-linux-sandbox`, ...asked]);
    expect(byLink.end).toBe(2);
    const byName = await outside([codex, ...asked], {
      shell: 'exec /bin/bash -c \'exec -a codex-linux-sandbox "$@"\' bash "$@"',
    });
    expect(byName).toEqual(byLink);
  },
);

test("--version names itself, the bundled bubblewrap and its digest", async () => {
  const { codexRun } = setup();
  const { end, stdout } = await codexRun(["--version"]);
  expect(end).toBe(0);
  expect(stdout).toMatch(
    /^codex \d+\.\d+\.\d+\nbundled bwrap \d+\.\d+\.\d+\nsha256 [0-9a-f]{64}\n$/,
  );
});

test("help goes to stdout with status 0, however it is asked for", async () => {
  const { codexRun } = setup();
  const asked = [["--help"], ["sandbox", "--help"], ["help", "sandbox"], [
    "sandbox",
    "-h",
  ], ["help"]];
  const texts: string[] = [];
  for (const words of asked) {
    const { end, stdout, stderr } = await codexRun(words);
    expect({ words, end, stderr }).toEqual({ words, end: 0, stderr: "" });
    expect(stdout).toContain("Usage:");
    texts.push(stdout);
  }
  expect(texts[1]).toBe(texts[2] ?? "");
  expect(texts[0]).toBe(texts[4] ?? "");
});

test("completions are valid in their shells", async () => {
  const { codexRun, work } = setup();
  for (const shell of ["bash", "zsh", "fish"]) {
    const { end, stdout } = await codexRun(["completions", shell]);
    expect(end).toBe(0);
    expect(stdout).toContain("sandbox");
    writeFileSync(`${work}/${shell}`, stdout);
    const path = Bun.which(shell);
    if (path === null) continue; // the text itself has its own tests
    expect(Bun.spawnSync([path, "-n", `${work}/${shell}`]).exitCode).toBe(0);
  }
});

/** Words, the status, and the line on stderr. */
const MISTAKES: readonly (readonly [
  words: readonly string[],
  status: number,
  line: RegExp,
])[] = [
  [[], 2, /needs a command/],
  [["sandbx"], 2, /did you mean 'codex sandbox'/],
  [["no-such"], 2, /unknown command 'no-such'/],
  [["sandbox"], 2, /No command specified/],
  [["sandbox", "--"], 2, /No command specified/],
  [["sandbox", "--permision-profile", "x"], 2, /'--permission-profile'/],
  [["sandbox", "--lancher", "auto", "true"], 2, /'--launcher'/],
  [["sandbox", "-P"], 2, /a value is required/],
  [["sandbox", "--launcher", "x", "true"], 2, /auto, system, bundled/],
  [["sandbox", "--stage", "x", "true"], 2, /one-start/],
  [["sandbox", "--pass-fd", "1", "true"], 2, /3 or higher/],
  [["sandbox", "-C", "/", "true"], 2, /requires --permission-profile/],
  [["sandbox", "-P", ":read-only", "-C", "", "true"], 125, /name is empty/],
  [
    ["policy", "why", "-P", ":read-only", "-C", "", "read", "x"],
    125,
    /name is empty/,
  ],
  [
    ["sandbox", "-P", ":read-only", "-C", "/nowhere", "true"],
    125,
    /\/nowhere.*no such file/,
  ],
  [
    ["sandbox", "-P", ":read-only", "-C", "/etc/passwd", "true"],
    125,
    /\/etc\/passwd.*not a directory/,
  ],
  [
    ["sandbox", "-P", "nope", "true"],
    125,
    /nope.*:read-only, :workspace, :danger-full-access/,
  ],
  [
    ["sandbox", "-P", ":nope", "true"],
    125,
    /:nope.*:read-only, :workspace, :danger-full-access/,
  ],
  [
    ["sandbox", "-P", ":danger-no-sandbox", "true"],
    125,
    /danger-no-sandbox/,
  ],
  [["completions", "nosh"], 2, /bash, zsh, fish/],
];

for (const [words, status, line] of MISTAKES) {
  test(`codex ${words.join(" ")}: one line and status ${status}`, async () => {
    const { codexRun } = setup();
    const { end, stdout, stderr } = await codexRun(words);
    expect({ end, stdout }).toEqual({ end: status, stdout: "" });
    expect(stderr).toMatch(/^codex: [^\n]+[^.\n]\n$/);
    expect(stderr).toMatch(line);
  });
}

matrix(
  "a CODEX_HOME that is a file is refused by name",
  BOTH_ACTORS,
  async ({ run }) => {
    const { end, stderr } = await run(["--", "true"], {
      env: { CODEX_HOME: "/etc/passwd" },
    });
    expect(end).toBe(125);
    expect(stderr).toMatch(/^codex: CODEX_HOME [^\n]*"\/etc\/passwd"[^\n]*\n$/);
  },
);

test("--explain prints names of variables and never their values", async () => {
  const { run } = setup();
  const secret = "s3cr3t-value-of-a-variable";
  const env = {
    LD_PRELOAD: `/${secret}.so`,
    API_TOKEN: secret,
    MALLOC_ARENA_MAX: secret,
  };
  for (const flag of ["--explain", "--explain=json"]) {
    const { end, stdout, stderr } = await run([flag, "--", "true"], { env });
    expect(end).toBe(0);
    expect(stdout).toContain("LD_PRELOAD");
    expect(stdout + stderr.replaceAll(/^ERROR: ld\.so.*$/gm, ""))
      .not.toContain(secret);
  }
});

test("--explain runs nothing", async () => {
  const { run, work } = setup();
  const { end, stdout } = await run([
    "-P",
    ":workspace",
    "--explain",
    "--",
    "touch",
    "made",
  ]);
  expect(end).toBe(0);
  expect(stdout).toContain("touch made");
  expect(await Bun.file(`${work}/made`).exists()).toBe(false);
});

test("--explain=json is JSON that says what would be done", async () => {
  const { run, work } = setup();
  const { stdout } = await run([
    "-P",
    ":workspace",
    "--explain=json",
    "--",
    "true",
  ]);
  const plan = JSON.parse(stdout);
  expect({ kind: plan.kind, profile: plan.profile, cwd: plan.cwd }).toEqual({
    kind: "bubblewrap",
    profile: ":workspace",
    cwd: work,
  });
});

test("--timings says where the milliseconds went, on stderr, and runs the command", async () => {
  const { run } = setup();
  const { end, stdout, stderr } = await run(["--timings", "--", "echo", "ran"]);
  expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
  expect(stderr).toMatch(/^(codex: +[\d.]+ ms [^\n]+\n)+$/);
});

/** Plans as text, with this machine's own paths and versions made the same everywhere. */
const GOLDEN = `${import.meta.dirname}/../golden`;

for (const profile of [":read-only", ":workspace", ":danger-full-access"]) {
  test(`the plan of ${profile} is the one in tests/golden`, async () => {
    const { run, dir, codex } = setup({
      actor: process.getuid?.() === 0 ? "root" : "user",
      launcher: "bundled",
      stage: "auto",
    });
    const words = ["-P", profile, "--explain", "--", "/bin/sh", "-c", "true"];
    const { stdout } = await run(words);
    const text = stdout
      .replaceAll(codex, "/CODEX")
      .replaceAll(`${dir}/work`, "/WORKSPACE")
      .replaceAll(dir, "/DIR")
      .replaceAll(/sha256[ :]?[0-9a-f]{64}/g, "sha256:DIGEST")
      .replaceAll(/bubblewrap \d[\d.]*/g, "bubblewrap VERSION")
      // What a kernel may lack, and what another run may have made.
      .replaceAll(
        /^.*\/proc\/sysrq-trigger.*\n/gm,
        "",
      )
      // Of root's runs only.
      .replaceAll(/^ {2}read-only {2}\/proc {2}.*\n/gm, "")
      .replaceAll(/^.*\/tmp\/\.(?:git|agents|codex).*\n/gm, "")
      .replaceAll(/^.*\/etc\/codex.*\n/gm, "");
    const path = `${GOLDEN}/${profile.slice(1).replaceAll("-", "_")}.txt`;
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
    expect(text).toBe(readFileSync(path, "utf8"));
  });
}

for (const mode of [0o4755, 0o2755]) {
  test(`a file of root's with mode ${mode.toString(8)} is refused to others in one line`, async () => {
    if (process.getuid?.() !== 0) {
      return notProved("a setuid file of root's", "needs root");
    }
    const { dir, codex, outside } = setup({
      actor: "user",
      launcher: "auto",
      stage: "auto",
    });
    const file = `${dir}/codex-odd`;
    copyFileSync(codex, file);
    chmodSync(file, mode);
    const { end, stdout, stderr } = await outside([file, "sandbox", "true"]);
    expect({ end, stdout, lines: stderr.split("\n").length }).toEqual({
      end: 125,
      stdout: "",
      lines: 2,
    });
    expect(stderr).toContain("setuid or setgid");
  });
}
