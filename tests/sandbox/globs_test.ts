/**
 * Deny globs over a hostile tree: what is hidden, what `--explain` counts, and the same with `glob_backend = "ripgrep"`.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import {
  ACTORS,
  BOTH_ACTORS,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
  type Subject,
} from "./harness.ts";

const trustedFolders: string[] = [];
afterAll(async () => {
  for (const folder of trustedFolders) rmSync(folder, { recursive: true });
  await leaveClean();
});

/** Odd names, kinds and rules of ignoring, in which "**\/*.env" matches sixteen times. */
const HOSTILE = `set -e
mkdir -p .hidden .git/x node_modules/y "sp ace/tab	" deep/1/2/3/4 dir.env/in empty.env other closed
for f in top .hidden/h .git/x/g node_modules/y/n "sp ace/tab	/t" deep/1/2/3/4/d dir.env/in/side closed/c; do echo S > "$f.env"; done
printf S > "$(printf 'new\\nline.env')"; printf S > "$(printf 'byte\\377.env')"; printf S > -dash.env; printf S > '[x].env'
echo '*.env' > .gitignore; cp .gitignore .ignore; cp .gitignore .rgignore; echo '--glob=!*' > rc
echo S > other/real; ln -s other/real link.env; ln -s gone dangling.env; ln -s deep way; ln -s .. up; ln -s loop loop.env
mkfifo pipe.env; ln top.env second-name
chmod 0 closed`;

const EXPECTED = [
  "'-dash.env'",
  "'[x].env'",
  ".git/x/g.env",
  ".hidden/h.env",
  "deep/1/2/3/4/d.env",
  "dir.env",
  "empty.env",
  "node_modules/y/n.env",
  "other/real",
  "pipe.env",
  "sp ace/tab\t/t.env",
  "top.env",
].map((name) => name.replaceAll("'", ""));

async function makeTree(subject: Subject, backend: string): Promise<void> {
  const { home, work, outside, uid } = subject;
  const { end, stderr } = await outside(["sh", "-c", HOSTILE]);
  expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
  // Somebody else's closed directory is passed over; one's own would be refused.
  if (uid === 0) chmodSync(`${work}/closed`, 0o755);
  else chownSync(`${work}/closed`, 0, 0);
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "p"
[permissions.p]
extends = ":read-only"
glob_backend = "${backend}"
[permissions.p.filesystem]
"${work}/**/*.env" = "deny"
`,
  );
}

interface Explained {
  readonly mounts: readonly {
    readonly op: {
      readonly kind: string;
      readonly path?: unknown;
      readonly mode?: number;
    };
  }[];
  readonly globs: readonly {
    readonly files: number;
    readonly directories: number;
  }[];
}

async function explain(subject: Subject): Promise<Explained> {
  const { end, stdout, stderr } = await subject.run(
    ["--explain=json", "--", "true"],
    { env: { RIPGREP_CONFIG_PATH: `${subject.work}/rc` } },
  );
  expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
  return JSON.parse(stdout);
}

/** Hidden places below the workspace; those that are no text as they are printed. */
function hidden({ mounts }: Explained, work: string): string[] {
  return mounts.flatMap(({ op }) => {
    if (op.mode !== 0 || op.kind === "remount_read_only") return [];
    const path = typeof op.path === "string"
      ? op.path
      : JSON.stringify(op.path);
    return path.startsWith("/proc") || path.endsWith("/sandbox")
      ? []
      : [path.startsWith(work) ? path.slice(work.length + 1) : path];
  }).sort();
}

// Root and whoever may look find closed/c.env too.
matrix(
  "a glob finds hidden, ignored and oddly named files, links by their target and directories whole, and --explain counts them",
  BOTH_ACTORS,
  async (subject) => {
    await makeTree(subject, "builtin");
    const { work, uid } = subject;
    const plan = await explain(subject);
    const closed = uid === 0 ? ["closed/c.env"] : [];
    const found = hidden(plan, work);
    for (const name of [...EXPECTED, ...closed]) expect(found).toContain(name);
    expect(found).toHaveLength(EXPECTED.length + closed.length + 2);
    expect(plan.globs.map(({ files, directories }) => [files, directories]))
      .toEqual([[12 + closed.length, 2]]);
    const text = await subject.run(["--explain", "--", "true"]);
    expect(text.stdout).toContain(
      `/**/*.env covers ${
        12 + closed.length
      } files and 2 directories as of now\n`,
    );
    const read = await subject.run([
      "--",
      "sh",
      "-c",
      'for f in * .hidden/* .git/x/* node_modules/y/* "sp ace/tab	/"*; do cat < "$f"; done 2>/dev/null | grep -c S; cat link.env other/real 2>&1 | grep -c "Permission denied"',
    ]);
    expect(read.stdout).toBe("1\n2\n"); // the second hard link of top.env, as the warning says
    expect(read.stderr).toContain("hard links");
  },
);

const RG = "/usr/bin/rg";
const hasRg = existsSync(RG);
if (!hasRg) notProved('glob_backend = "ripgrep"', `${RG} is not there`);

matrix(
  'glob_backend = "ripgrep" hides what the walker hides, whatever configuration and ignore files say',
  hasRg ? BOTH_ACTORS : [],
  async (subject) => {
    await makeTree(subject, "builtin");
    const { work, home, outside } = subject;
    const walked = hidden(await explain(subject), work);
    expect(walked.length).toBeGreaterThan(12);
    const config = readFileSync(`${home}/config.toml`, "utf8");
    writeFileSync(`${home}/config.toml`, config.replace("builtin", "ripgrep"));
    // What lies in the workspace under its name is not it.
    await outside([
      "sh",
      "-c",
      `printf '#!/bin/sh\\necho ran > ${work}/ran\\n' > rg; chmod 755 rg`,
    ]);
    const { stdout, end } = await subject.run(
      ["--explain=json", "--", "true"],
      {
        env: {
          PATH: `${work}:.:/usr/bin:/bin`,
          RIPGREP_CONFIG_PATH: `${work}/rc`,
        },
      },
    );
    expect(end).toBe(0);
    expect(hidden(JSON.parse(stdout), work)).toEqual(walked);
    expect(existsSync(`${work}/ran`)).toBe(false);
  },
);

for (
  const [path, says, why] of [
    ["/var/empty", "no rg on PATH", "it is not there"],
    [".", "no rg on PATH", "a relative entry is not looked into"],
    ["WORK", "not trusted", "it lies in the workspace"],
  ] as const
) {
  matrix(
    `glob_backend = "ripgrep" is refused by name: ${why}`,
    BOTH_ACTORS,
    async (subject) => {
      await makeTree(subject, "ripgrep");
      await subject.outside([
        "sh",
        "-c",
        "echo '#!/bin/sh' > rg; chmod 755 rg",
      ]);
      const { end, stdout, stderr } = await subject.run(["--", "/bin/true"], {
        env: { PATH: path.replace("WORK", subject.work) },
      });
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toContain(
        'Cannot honour glob_backend = "ripgrep" of profile p: ',
      );
      expect(stderr).toContain(says);
      expect(stderr).toEndWith("; leave it out\n");
    },
  );
}

const FAKES = [ // a trusted rg that does this, status, what is said, why
  [
    'tr "\\0" "\\n" < /proc/$$/environ >&2; exit 0',
    0,
    "",
    "it gets no environment: it would be seen as a complaint",
  ],
  ["cat >&2; exit 1", 0, "", "and no input; status 1 is no file at all"],
  [
    'echo "regex parse error" >&2; exit 2',
    125,
    'rg says "regex parse error"',
    "a complaint is not overheard",
  ],
  [
    'echo "rg: /x: Permission denied (os error 13)" >&2; exit 2',
    0,
    "",
    "a closed directory is the walker's matter",
  ],
  ["kill -9 $$", 125, "rg was ended by signal 9", "a signal"],
] as const;
for (const [line, status, says, why] of FAKES) {
  const title = `a trusted rg that ends oddly: ${why}`;
  if (!ACTORS.includes("root")) {
    notProved(title, "needs root");
    continue;
  }
  test(title, async () => {
    const subject = setup(PLAIN);
    const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
    trustedFolders.push(folder);
    chmodSync(folder, 0o755);
    writeFileSync(`${folder}/rg`, `#!/bin/sh\n: > ${folder}/ran\n${line}\n`);
    chmodSync(`${folder}/rg`, 0o755);
    mkdirSync(`${subject.work}/d`);
    writeFileSync(
      `${subject.home}/config.toml`,
      `[permissions.p]\nextends = ":read-only"\nglob_backend = "ripgrep"\n[permissions.p.filesystem]\n"${subject.work}/**/*.env" = "deny"\n`,
    );
    const { end, stderr } = await subject.run(["-P", "p", "--", "/bin/true"], {
      env: { PATH: `${folder}:/usr/bin:/bin` },
      input: new TextEncoder().encode("not for rg\n"),
    });
    if (says === "") expect(stderr).toBe("");
    else expect(stderr).toContain(says);
    expect(end).toBe(status);
    expect(existsSync(`${folder}/ran`)).toBe(true);
  });
}
