/**
 * `:workspace` and `:danger-full-access`: what may be written, and what stays protected below it.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import {
  BOTH_ACTORS,
  BOTH_STAGES,
  EVERY_VARIANT,
  isThere,
  leaveClean,
  matrix,
  notProved,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

const WORKSPACE = ["-P", ":workspace", "--", "sh", "-c"];
const NAMES = [".git", ".agents", ".codex"];

function own(subject: Subject, path: string): void {
  chownSync(path, subject.uid, subject.uid === 0 ? 0 : 65_534);
}

matrix(
  "the workspace and /tmp can be written, nothing else",
  EVERY_VARIANT,
  async ({ run, work, dir, home }) => {
    const name = dir.slice(dir.lastIndexOf("/") + 1);
    try {
      const { end, stdout } = await run([
        ...WORKSPACE,
        `echo hi > made; mkdir -p a/b; touch /tmp/${name}; for d in ${dir} ${home} /etc /var/tmp / /run /usr; do touch $d/${name} 2>/dev/null && echo $d; done; echo looked`,
      ]);
      expect({ end, stdout }).toEqual({ end: 0, stdout: "looked\n" });
      expect(readdirSync(work).sort()).toEqual(["a", "made"]);
      expect(isThere(`/tmp/${name}`)).toBe(true);
    } finally {
      rmSync(`/tmp/${name}`, { force: true });
    }
  },
);

matrix(
  "-C moves the workspace",
  BOTH_STAGES,
  async ({ run, work, dir, uid }) => {
    mkdirSync(`${work}/inner`);
    chownSync(`${work}/inner`, uid, uid === 0 ? 0 : 65_534);
    const { stdout } = await run([
      ...["-P", ":workspace", "-C", `${work}/inner`, "--", "sh", "-c"],
      `pwd; touch here; touch ${work}/there 2>/dev/null || echo refused`,
    ], { cwd: dir });
    expect(stdout).toBe(`${work}/inner\nrefused\n`);
    expect(isThere(`${work}/inner/here`)).toBe(true);
  },
);

/** Ways to make, fill or take away a protected name; each says `did` when it worked. */
const ATTACKS: readonly (readonly [why: string, line: string])[] = [
  ["make it", 'mkdir "$n"'],
  ["make it as a file", 'echo x > "$n"'],
  ["make it as a link", 'ln -s /tmp "$n"'],
  ["move a folder there", 'mkdir m && mv -T m "$n"'],
  ["swap it for a folder", 'mkdir s && mv --exchange s "$n"'],
  ["link a file there", 'touch f && ln f "$n"'],
  ["remove it", 'rmdir "$n"'],
  ["remove it with all in it", 'rm -rf "$n"'],
  ["move it away", 'mv "$n" away'],
  ["make a file in it", 'touch "$n/file"'],
  ["make a hook in it", 'mkdir -p "$n/hooks"'],
  ["write its config", 'echo x >> "$n/config"'],
  ["open it up", 'chmod 777 "$n" && touch "$n/x"'],
  ["unmount it", 'umount "$n"'],
  ["write it by a link", 'ln -s "$n" l && touch l/file'],
  ["write it by /proc/self/cwd", 'touch "/proc/self/cwd/$n/file"'],
  ["write it by /proc/self/root", 'touch "/proc/self/root$PWD/$n/file"'],
];

const ATTACK_ALL = NAMES.map((name) =>
  ATTACKS.map(([, line], index) =>
    `(n=${name}; ${line}) >/dev/null 2>&1 && echo "${name} ${index}"; rm -rf m s f l away`
  ).join("\n")
).join("\n");

matrix(
  "missing .git, .agents and .codex can't be made, and are not there afterwards",
  EVERY_VARIANT,
  async ({ run, work }) => {
    const { end, stdout } = await run([
      ...WORKSPACE,
      `${ATTACK_ALL}\necho looked`,
    ]);
    expect({ end, stdout }).toEqual({ end: 0, stdout: "looked\n" });
    expect(readdirSync(work)).toEqual([]);
  },
);

/** The working directory as a read-only mount of the host's. */
const READ_ONLY_HERE =
  `exec unshare -m sh -c 'mount --bind . . && mount -o remount,ro,bind "$PWD" && cd "$PWD" && exec "$@"' sh "$@"`;

const ROOTS = EVERY_VARIANT.filter(({ actor }) => actor === "root");
if (ROOTS.length === 0) notProved("a read-only mount", "only root can make it");
matrix(
  "in a directory that the host has read-only nothing has to be kept from being made, and nothing can be",
  ROOTS,
  async ({ run, work }) => {
    const outcome = await run([
      ...WORKSPACE,
      `mkdir .git 2>&1; touch /tmp/made && rm /tmp/made && echo ran`,
    ], { shell: READ_ONLY_HERE });
    expect(outcome).toEqual({
      end: 0,
      stdout:
        "mkdir: cannot create directory '.git': Read-only file system\nran\n",
      stderr: "",
    });
    expect(readdirSync(work)).toEqual([]);
  },
);

matrix(
  "present .git, .agents and .codex can be read and not be changed",
  EVERY_VARIANT,
  async (subject) => {
    const { run, work } = subject;
    for (const name of NAMES) {
      mkdirSync(`${work}/${name}`);
      writeFileSync(`${work}/${name}/config`, `config of ${name}`);
      own(subject, `${work}/${name}/config`);
      own(subject, `${work}/${name}`);
    }
    const { stdout } = await run([
      ...WORKSPACE,
      `cat .git/config; echo; ${ATTACK_ALL}\necho looked`,
    ]);
    expect(stdout).toBe("config of .git\nlooked\n");
    expect(readdirSync(work).sort()).toEqual([...NAMES].sort());
    for (const name of NAMES) {
      expect(readdirSync(`${work}/${name}`)).toEqual(["config"]);
      expect(readFileSync(`${work}/${name}/config`, "utf8")).toBe(
        `config of ${name}`,
      );
    }
  },
);

matrix(
  "a .git file, as a worktree has, and its target are read-only",
  BOTH_STAGES,
  async (subject) => {
    const { run, work, dir } = subject;
    mkdirSync(`${work}/real`);
    writeFileSync(`${work}/real/config`, "c");
    mkdirSync(`${work}/tree`);
    writeFileSync(`${work}/tree/.git`, "gitdir: ../real\n");
    for (const path of ["real", "real/config", "tree", "tree/.git"]) {
      own(subject, `${work}/${path}`);
    }
    const { stdout } = await run([
      ...["-P", ":workspace", "-C", `${work}/tree`, "--", "sh", "-c"],
      `touch ok; (echo x > .git) 2>/dev/null && echo file; rm -f .git 2>/dev/null; (echo x > ../real/config) 2>/dev/null && echo target; echo looked`,
    ], { cwd: dir });
    expect(stdout).toBe("looked\n");
    expect(readFileSync(`${work}/tree/.git`, "utf8")).toBe("gitdir: ../real\n");
    expect(readFileSync(`${work}/real/config`, "utf8")).toBe("c");
  },
);

matrix(
  "a link under a protected name is not a way round",
  BOTH_STAGES,
  async (subject) => {
    const { run, work } = subject;
    mkdirSync(`${work}/store`);
    own(subject, `${work}/store`);
    symlinkSync("store", `${work}/.git`);
    const { stdout, stderr, end } = await run([
      ...WORKSPACE,
      `touch .git/file 2>/dev/null && echo through; rm .git 2>/dev/null && echo removed; touch store/file 2>/dev/null && echo target; echo looked`,
    ]);
    expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
    expect(stderr).toContain(`it crosses writable symlink ${work}/.git`);
    expect(isThere(`${work}/.git`)).toBe(true);
  },
);

matrix(
  "CODEX_HOME and our own executable are read-only in the workspace too",
  BOTH_STAGES,
  async (subject) => {
    const { outside, work, codex } = subject;
    mkdirSync(`${work}/home`);
    copyFileSync(codex, `${work}/codex`);
    chmodSync(`${work}/codex`, 0o755);
    own(subject, `${work}/home`);
    own(subject, `${work}/codex`);
    const { stdout, stderr } = await outside([
      `${work}/codex`,
      "sandbox",
      ...WORKSPACE,
      `touch ok; touch home/x 2>/dev/null && echo home; (: >> codex) 2>/dev/null && echo executable; rm -f codex 2>/dev/null && echo removed; mv codex c2 2>/dev/null && echo moved; mv home h2 2>/dev/null && echo home moved; ls home/sandbox 2>/dev/null; echo looked`,
    ], { env: { CODEX_HOME: `${work}/home` } });
    expect({ stdout, stderr }).toEqual({ stdout: "looked\n", stderr: "" });
    expect(isThere(`${work}/ok`)).toBe(true);
    expect(isThere(`${work}/codex`)).toBe(true);
  },
);

matrix(
  ":danger-full-access runs the command where it is, as what it is",
  BOTH_ACTORS,
  async ({ run, work, outside }) => {
    const line = "readlink /proc/self/ns/mnt /proc/self/ns/user; id -u";
    const here = await outside(["sh", "-c", line]);
    const there = await run([
      ...["-P", ":danger-full-access", "--", "sh", "-c"],
      `${line}; touch made; exit 9`,
    ]);
    expect(there).toEqual({ end: 9, stdout: here.stdout, stderr: "" });
    expect(isThere(`${work}/made`)).toBe(true);
  },
);

matrix(
  "CODEX_HOME through a link that the command could replace is refused, through another it is not",
  BOTH_ACTORS,
  async ({ run, home, work, outside }) => {
    await outside(["ln", "-s", home, `${work}/link`]);
    const refused = await run(["-P", ":workspace", "--", "rm", "link"], {
      env: { CODEX_HOME: `${work}/link` },
    });
    expect(refused).toEqual({
      end: 125,
      stdout: "",
      stderr:
        `codex: cannot enforce sandbox read-only path ${work}/link because it crosses writable symlink ${work}/link\n`,
    });
    const kept = await run(["--", "echo", "ran"], {
      env: { CODEX_HOME: `${work}/link` },
    });
    expect(kept).toEqual({ end: 0, stdout: "ran\n", stderr: "" });
  },
);

/** Where a link of the user's leads, below the workspace: nothing is there, or nothing but the folder. */
const AWAITED = ["gone/config.toml", "folder/config.toml"];

matrix(
  "a config file that a link of yours leads to in the workspace can't be made there, and is not there afterwards",
  EVERY_VARIANT,
  async (subject) => {
    const { run, home, work } = subject;
    mkdirSync(`${work}/folder`);
    own(subject, `${work}/folder`);
    for (const path of AWAITED) {
      rmSync(`${home}/config.toml`, { force: true });
      symlinkSync(`${work}/${path}`, `${home}/config.toml`);
      const { stdout } = await run([
        ...["-P", ":workspace", "--", "sh", "-c"],
        `dir=\${0%/*}; (mkdir -p $dir; echo x > $0) 2>/dev/null && echo planted
        (mv $dir other || rm -r $dir) 2>/dev/null && echo moved
        echo looked`,
        path,
      ]);
      expect(`${path}: ${stdout}`).toBe(`${path}: looked\n`);
    }
    expect(readdirSync(work)).toEqual(["folder"]);
    expect(readdirSync(`${work}/folder`)).toEqual([]);
  },
);

matrix(
  "an empty view holds our executable where the inner stage needs it, and nothing of where it lies",
  BOTH_ACTORS,
  async ({ run, home, codex }) => {
    writeFileSync(
      `${home}/config.toml`,
      `default_permissions = "p"\n[permissions.p.filesystem]\n":minimal" = "read"\n`,
    );
    const { end, stdout, stderr } = await run([
      ...["--stage", "inner", "--", "/bin/sh", "-c"],
      `ls -d ${codex} 2>/dev/null; ls /dev/codex-linux-sandbox; (: >> /dev/codex-linux-sandbox) 2>/dev/null && echo written; ls -d ${home} 2>/dev/null; (: > /made) 2>/dev/null && echo made; echo looked`,
    ], { cwd: "/usr" });
    expect({ end, stdout, stderr }).toEqual({
      end: 0,
      stdout: "/dev/codex-linux-sandbox\nlooked\n",
      stderr: "",
    });
  },
);

/** A tree with repositories of every kind inside; what the command may not change of them. */
function plantRepositories(subject: Subject): readonly string[] {
  const { work } = subject;
  const files = [
    [".git/HEAD", "x"],
    [".git/modules/s/HEAD", "x"],
    [".git/modules/s/config", "[core]\n\tworktree = ../../../deep/s\n"],
    [".gitmodules", '[submodule "s"]\n\tpath = deep/s\n'],
    ["a/.git/config", "x"],
    ["a/.git/HEAD", "x"],
    ["a/b/.git/HEAD", "x"],
    ["a/.codex/config.toml", "x"],
    ["a/b/.git/hooks/pre-commit", "x"],
    ["deep/s/.git", "gitdir: ../../.git/modules/s\n"],
    ["tree/.git", "gitdir: ../elsewhere\n"],
    ["elsewhere/HEAD", "x"],
  ] as const;
  for (const [path, text] of files) {
    const parts = path.split("/");
    parts.slice(0, -1).forEach((_, index) => {
      const folder = `${work}/${parts.slice(0, index + 1).join("/")}`;
      if (isThere(folder)) return;
      mkdirSync(folder);
      own(subject, folder);
    });
    writeFileSync(`${work}/${path}`, text);
    own(subject, `${work}/${path}`);
  }
  return [
    "a/.git/config",
    "a/.codex/config.toml",
    "a/b/.git/hooks/pre-commit",
    "deep/s/.git",
    ".git/modules/s/config",
    "tree/.git",
    "elsewhere/HEAD",
  ];
}

matrix(
  "repositories inside the workspace keep their .git and .codex, and can be worked in and moved",
  EVERY_VARIANT,
  async (subject) => {
    const { run, work } = subject;
    const files = plantRepositories(subject);
    const { end, stdout, stderr } = await run([
      ...WORKSPACE,
      `for f in ${
        files.join(" ")
      }; do (echo evil > $f) 2>/dev/null && echo wrote $f; rm -rf $f 2>/dev/null; mv $f x 2>/dev/null; ln -f /etc/hostname $f 2>/dev/null; done; for d in a/.git a/b/.git a/.codex elsewhere; do mv $d x 2>/dev/null && echo moved $d; (: > $d/new) 2>/dev/null && echo made in $d; done; echo work > a/file; mkdir a/.agents; mv a/b a/c; (: > a/c/.git/new) 2>/dev/null && echo made in moved; echo looked`,
    ]);
    expect({ end, stdout, stderr }).toEqual({
      end: 0,
      stdout: "looked\n",
      stderr: "",
    });
    for (const file of files) {
      const now = file.replace(/^a\/b\//, "a/c/");
      expect(readFileSync(`${work}/${now}`, "utf8")).not.toContain("evil");
    }
    const again = await run([
      ...WORKSPACE,
      `(: > a/c/.git/new) 2>/dev/null && echo made; echo looked`,
    ]);
    expect(again.stdout).toBe("looked\n");
  },
);

matrix(
  "a directory that one run shuts neither hides repositories from the next one nor can be opened there",
  EVERY_VARIANT.filter(({ actor }) => actor === "user"),
  async (subject) => {
    const { run, work } = subject;
    const files = plantRepositories(subject);
    const shut = await run([
      ...WORKSPACE,
      "mkdir 0; chmod 0 0; chmod 300 tree; chmod 0 deep; echo shut",
    ]);
    expect(shut.stdout).toBe("shut\n");
    // Three times: a kept start has to notice as much.
    for (let time = 0; time < 3; time++) {
      const { end, stdout } = await run([
        ...WORKSPACE,
        `chmod 700 0 tree deep 2>/dev/null; mv deep x 2>/dev/null; for f in ${
          files.join(" ")
        }; do (echo evil > $f) 2>/dev/null && echo wrote $f; done; (: > 0/x) 2>/dev/null; echo looked`,
      ]);
      expect({ end, stdout }).toEqual({ end: 0, stdout: "looked\n" });
    }
    for (const folder of ["0", "tree", "deep"]) {
      chmodSync(`${work}/${folder}`, 0o700);
    }
    for (const file of files) {
      expect(readFileSync(`${work}/${file}`, "utf8")).not.toContain("evil");
    }
  },
);

matrix(
  'nested_repositories = "write" leaves them to the command',
  BOTH_ACTORS,
  async (subject) => {
    const { run, work, home } = subject;
    plantRepositories(subject);
    writeFileSync(
      `${home}/config.toml`,
      'default_permissions = "p"\n[permissions.p]\nextends = ":workspace"\nnested_repositories = "write"\n',
    );
    const { stdout } = await run([
      ...["--", "sh", "-c"],
      "echo new > a/.git/config; cat a/.git/config; (: > .git/new) 2>/dev/null; ls .git",
    ]);
    expect(stdout).toBe("new\nHEAD\nmodules\n");
    expect(readFileSync(`${work}/a/.git/config`, "utf8")).toBe("new\n");
  },
);

matrix(
  "a supervised run names repositories that appeared during it, in one line",
  BOTH_ACTORS,
  async (subject) => {
    const { run, work } = subject;
    mkdirSync(`${work}/old`);
    mkdirSync(`${work}/old/.git`);
    writeFileSync(`${work}/old/.git/HEAD`, "");
    own(subject, `${work}/old/.git`);
    own(subject, `${work}/old`);
    const { end, stdout, stderr } = await run([
      ...WORKSPACE,
      "mkdir -p new/.git deep/er none/.git; : > new/.git/HEAD; echo x > deep/er/.git; mv old moved; exit 3",
    ]);
    expect({ end, stdout, stderr }).toEqual({
      end: 3,
      stdout: "",
      stderr:
        `codex: warning: repositories appeared during the run: "${work}/deep/er", "${work}/new"; git obeys their hooks and settings when you use it there\n`,
    });
  },
);
