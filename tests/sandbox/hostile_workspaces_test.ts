/**
 * Workspaces that somebody has prepared: links at every component, odd files where a small text is expected, odd names.
 *
 * Each is either refused with one line and status 125, or run with what must be protected unchanged, whatever the command tries on it.
 * Nothing hangs, nothing is left behind, nothing outside is touched.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import {
  ACTORS,
  BOTH_ACTORS,
  isThere,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
  recordedPlaces,
  setup,
  type Subject,
  TRUE_STAGES,
} from "./harness.ts";

afterAll(leaveClean);

/** As root and as a user, with both bubblewraps. */
const COLUMNS = TRUE_STAGES.filter(({ stage }) => stage === "auto");

interface Hostile {
  readonly why: string;
  /** Made in an empty workspace: a path that ends in `/` is a directory; `->` a link; anything else the text of a file. */
  readonly tree: readonly (readonly [path: string, text?: string])[];
  /** The user trusts the project: its config is read. */
  readonly trusted?: true;
  /** What the tree can't say: run in the workspace as root of the test. */
  readonly make?: (work: string) => void;
  /** Entries beside those of `:workspace`, as TOML. */
  readonly entries?: string;
  /** Paths that the command attacks, relative to the workspace; none of them may change. */
  readonly attacked: readonly string[];
  /** A piece of the one line with which it is refused; without it the command runs. */
  readonly refused?: RegExp;
  /** What a run says first. */
  readonly warned?: RegExp;
  /** The caller's shell around the run. */
  readonly shell?: string;
  /** The workspace inside `work`, where the run starts. */
  readonly below?: string;
  readonly onlyRoot?: true;
}

const GIT = [[".git/HEAD", "x"], [".git/config", "x"]] as const;
const TEN_GIB = 10 * 1024 ** 3;

function special(path: string, kind: "p" | "c" | "s"): (work: string) => void {
  return (work) => {
    const line = kind === "p"
      ? ["mkfifo", path]
      : kind === "c"
      ? ["mknod", path, "c", "1", "3"]
      : [
        process.execPath,
        "-e",
        `require("node:net").createServer().listen(${
          JSON.stringify(path)
        }, () => process.exit(0))`,
      ];
    Bun.spawnSync([...line], { cwd: work });
    // Node takes a socket's name away at its end: a link keeps it.
    if (kind === "s" && !isThere(`${work}/${path}`)) {
      Bun.spawnSync([
        process.execPath,
        "-e",
        `require("node:net").createServer().listen("socket", () => { require("node:fs").linkSync("socket", ${
          JSON.stringify(path)
        }); process.exit(0); })`,
      ], { cwd: work });
      rmSync(`${work}/socket`, { force: true });
    }
    if (!isThere(`${work}/${path}`)) throw new Error(`no ${path} was made`);
  };
}

function sparse(path: string): (work: string) => void {
  return (work) => {
    mkdirSync(`${work}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    writeFileSync(`${work}/${path}`, "gitdir: gd\n");
    truncateSync(`${work}/${path}`, TEN_GIB);
  };
}

const LONG = "n".repeat(255);
/** With the workspace's own path it comes to about 4,000 bytes. */
const DEEP = Array.from({ length: 19 }, () => "d".repeat(200)).join("/");

const WORKSPACES: readonly Hostile[] = [
  // Links at each component.
  {
    why: ".git is a link to a directory of the workspace",
    tree: [["store/HEAD", "x"], [".git", "->store"]],
    attacked: [".git"],
    refused: /crosses writable symlink [^ ]*\/work\/\.git \(/,
  },
  {
    why: ".git is a link that leads nowhere",
    tree: [[".git", "->nowhere"]],
    attacked: [".git"],
    refused: /crosses writable symlink [^ ]*\/work\/\.git \(/,
  },
  {
    why: ".git is a link to itself",
    tree: [[".git", "->.git"]],
    attacked: [".git"],
    refused: /loop/,
  },
  {
    why: ".codex is a link out of the workspace",
    tree: [[".codex", "->../decoy"]],
    attacked: [".codex"],
    refused: /crosses writable symlink [^ ]*\/work\/\.codex \(/,
  },
  {
    why: "the git directory lies behind a link, first component",
    tree: [["real/b/gd/HEAD", "x"], ["a", "->real"], [
      ".git",
      "gitdir: a/b/gd",
    ]],
    attacked: [".git"],
    refused:
      /named by .*\/\.git\) because it crosses writable symlink .*\/a\n$/,
  },
  {
    why: "the git directory lies behind a link, middle component",
    tree: [["real/gd/HEAD", "x"], ["a/b", "->../real"], [
      ".git",
      "gitdir: a/b/gd",
    ]],
    attacked: [".git"],
    refused: /because it crosses writable symlink .*\/a\/b\n$/,
  },
  {
    why: "the git directory is a link, last component",
    tree: [["real/HEAD", "x"], ["a/b/gd", "->../../real"], [
      ".git",
      "gitdir: a/b/gd",
    ]],
    attacked: [".git"],
    refused: /because it crosses writable symlink .*\/a\/b\/gd\n$/,
  },
  {
    why: "the git directory's name goes up behind a link",
    tree: [["x/y/"], ["gd/HEAD", "x"], ["l", "->x/y"], [
      ".git",
      "gitdir: l/../gd",
    ]],
    attacked: [".git"],
    refused: /goes up again/,
  },
  {
    why: "the common directory lies behind a link",
    tree: [...GIT, [".git/commondir", "../l\n"], ["real/config", "x"], [
      "l",
      "->real",
    ]],
    attacked: [".git"],
    refused: /named by .*commondir\) because it crosses writable symlink/,
  },
  {
    why: "the hooks are a link into the workspace",
    tree: [...GIT, ["githooks/pre-commit", "x"], [
      ".git/hooks",
      "->../githooks",
    ]],
    attacked: [".git", "githooks", "githooks/pre-commit"],
  },
  {
    why: "the hooks are a link to what doesn't exist",
    tree: [...GIT, [".git/hooks", "->../githooks"]],
    attacked: [".git", "githooks"],
  },
  {
    why: "git's config lies behind two links",
    tree: [...GIT.slice(0, 1), ["cfg", "x"], ["l", "->cfg"], [
      ".git/config",
      "->../l",
    ]],
    attacked: [".git"],
    refused: /crosses writable symlink .*\/work\/l\n$/,
  },
  {
    why: "a denied file lies behind a link",
    tree: [...GIT, ["real/key", "secret"], ["s", "->real"]],
    entries: '"WORK/s/key" = "deny"',
    attacked: [],
    refused:
      /deny-read path .* because it crosses writable symlink [^ ]*\/work\/s \(/,
  },
  // Odd files where a small text is expected.
  {
    why: ".git is a FIFO",
    tree: [],
    warned: /^codex: warning: ".*\/\.git" is a FIFO under a protected name/,
    make: special(".git", "p"),
    attacked: [".git"],
  },
  {
    why: ".git is a socket",
    tree: [],
    make: special(".git", "s"),
    attacked: [".git"],
  },
  {
    why: ".git is a device",
    tree: [],
    make: special(".git", "c"),
    attacked: [".git"],
    onlyRoot: true,
  },
  {
    why: ".git is a file of 10 GiB",
    tree: [["gd/HEAD", "x"]],
    make: sparse(".git"),
    attacked: [".git"],
    refused: /it has 10737418240 bytes/,
  },
  {
    why: "900,000 blank lines follow the pointer",
    tree: [["gd/HEAD", "x"], [".git", `gitdir: gd${"\n".repeat(900_000)}`]],
    attacked: [".git", "gd", "gd/HEAD"],
  },
  {
    why: "a NUL follows the pointer",
    tree: [["gd/HEAD", "x"], [".git", "gitdir: gd\0x\n"]],
    attacked: [".git", "gd", "gd/HEAD"],
  },
  {
    why: "the pointer's target ends in a blank",
    tree: [["gd /HEAD", "x"], [".git", "gitdir: gd \n"]],
    attacked: [".git", "gd ", "gd /HEAD"],
  },
  {
    why: "the pointer is not UTF-8",
    tree: [],
    make: (work) => {
      const folder = Buffer.concat([
        Buffer.from(`${work}/g`),
        Buffer.from([255]),
      ]);
      mkdirSync(folder);
      writeFileSync(Buffer.concat([folder, Buffer.from("/HEAD")]), "x");
      writeFileSync(
        `${work}/.git`,
        Buffer.concat([Buffer.from("gitdir: g"), Buffer.from([255, 10])]),
      );
    },
    attacked: [".git", "g\xff", "g\xff/HEAD"],
  },
  {
    why: "the pointer's target is missing",
    tree: [[".git", "gitdir: no/such/git\n"]],
    attacked: [".git", "no", "no/such/git"],
  },
  {
    why: "the pointer leads to the workspace itself",
    tree: [[".git", "gitdir: .\n"]],
    attacked: [".git"],
    refused: /it is ".*\/work", which the command may write/,
  },
  {
    why: "the pointer leads to the root",
    tree: [[".git", "gitdir: /\n"]],
    attacked: [".git"],
  },
  {
    why: ".git is an empty file",
    tree: [[".git", ""]],
    attacked: [".git"],
  },
  {
    why: "commondir is a FIFO",
    tree: GIT,
    make: special(".git/commondir", "p"),
    attacked: [".git", ".git/config"],
  },
  {
    why: "commondir has 10 GiB",
    tree: GIT,
    make: sparse(".git/commondir"),
    attacked: [".git"],
    refused: /commondir": it has 10737418240 bytes/,
  },
  {
    why: ".gitmodules is a FIFO",
    tree: GIT,
    make: special(".gitmodules", "p"),
    attacked: [".git", ".git/config"],
  },
  {
    why: ".gitmodules has 10 GiB",
    tree: GIT,
    make: sparse(".gitmodules"),
    attacked: [".git", ".git/config"],
  },
  {
    why: ".codex/config.toml is a FIFO",
    tree: [...GIT, [".codex/"]],
    make: special(".codex/config.toml", "p"),
    attacked: [".git", ".codex"],
  },
  {
    why: ".codex/config.toml has 10 GiB",
    tree: [...GIT, [".codex/"]],
    make: sparse(".codex/config.toml"),
    attacked: [".git", ".codex"],
  },
  {
    why: "the config of a trusted project is a FIFO",
    tree: [...GIT, [".codex/"]],
    make: special(".codex/config.toml", "p"),
    trusted: true,
    attacked: [".git", ".codex"],
    refused: /config\.toml/,
  },
  {
    why: "the config of a trusted project has 10 GiB",
    tree: [...GIT, [".codex/"]],
    make: sparse(".codex/config.toml"),
    trusted: true,
    attacked: [".git", ".codex"],
    refused: /config\.toml/,
  },
  {
    why: "the config of a trusted project is a link to a secret",
    tree: [...GIT, [".codex/config.toml", "->../../decoy/file"]],
    trusted: true,
    attacked: [".git", ".codex"],
    refused: /config\.toml/,
  },
  {
    why: "the protected names are of the wrong kind",
    tree: [[".git/HEAD", "x"], [".codex", "file"]],
    make: special(".agents", "p"),
    attacked: [".git", ".codex", ".agents"],
  },
  {
    why: ".git can't be entered by its owner",
    tree: GIT,
    make: (work) => chmodSync(`${work}/.git`, 0o000),
    attacked: [".git", ".git/config"],
  },
  {
    why: "git's config has a second name outside of .git",
    tree: [[".git/HEAD", "x"], [".git/config", "x"]],
    make: (work) => linkSync(`${work}/.git/config`, `${work}/cfg`),
    attacked: [".git", ".git/config"],
    warned:
      /^codex: warning: Cannot protect every name of ".*\/config": it has 2 hard links/,
  },
  {
    why: ".git is a mount point",
    tree: [...GIT, ["real/HEAD", "x"]],
    shell:
      `exec unshare -m sh -c 'mount --bind real .git && exec "$@"' sh "$@"`,
    attacked: [".git", ".git/HEAD"],
    onlyRoot: true,
  },
  {
    why: "there is a repository inside, of every odd kind",
    tree: [
      ...GIT,
      ["a/.git/HEAD", "x"],
      ["b/.git", "->../a/.git"],
      ["c/.git", "->c"],
      ["d/.git", "gitdir: ../l/x\n"],
      ["l", "->nowhere"],
    ],
    make: (work) => {
      mkdirSync(`${work}/e`);
      special("e/.git", "p")(work);
      sparse("f/.git")(work);
    },
    attacked: [".git", "a/.git", "a/.git/HEAD", "e/.git", "f/.git"],
  },
  {
    why: "a repository inside can't be looked at by its owner",
    tree: [...GIT, ["a/.git/HEAD", "x"]],
    make: (work) => chmodSync(`${work}/a`, 0o000),
    attacked: [".git"],
  },
  {
    why: ".gitmodules leads out, in circles and to the root",
    tree: [...GIT, [
      ".gitmodules",
      "path = ../decoy\npath = /\npath = .\npath = l/l/l\npath = .git\n",
    ], ["l", "->."]],
    attacked: [".git", ".git/HEAD"],
  },
  // Odd names.
  ...[
    ["a newline", "a\nb"],
    ["a tab, a backslash and a quote", "a\t\\b\"'c"],
    ["a per cent sign and an octal escape", "100%s\\040%n"],
    ["255 bytes", LONG],
    ["a name like an option", "--ro-bind"],
    ["blanks at both ends", " a "],
  ].map(([why = "", name = ""]): Hostile => ({
    why: `the workspace is called by ${why}`,
    tree: [...GIT, [".codex/c", "x"], [`${name}/.git/HEAD`, "x"], [
      `${name}/${name}/.git`,
      "gitdir: ../gd",
    ], [`${name}/gd/HEAD`, "x"]],
    below: name,
    attacked: [".git", ".git/HEAD", `${name}/.git`, "gd", "gd/HEAD"],
  })),
  {
    why: "the workspace's path is 4,000 bytes long",
    tree: [[`${DEEP}/.git/HEAD`, "x"]],
    below: DEEP,
    attacked: [".git", ".git/HEAD"],
  },
];

/** Tries everything on each of its words; a FIFO is never opened, because that would wait for ever. */
const ATTACK = `for p in "$@"; do p=$(printf '%b.' "$p"); p=\${p%.}
[ -p "$p" ] || { (echo evil > "$p"); (echo evil >> "$p"); (echo evil > "$p/HEAD"); (: > "$p/new"); }
chmod 777 "$p"; chmod 777 "$p/HEAD"; rm -rf "$p"; rmdir "$p"; unlink "$p"; mv -T "$p" moved; mv -T --exchange "$p" moved
mkdir -p "$p/hooks"; ln -sfn /tmp "$p"; ln -f /etc/hostname "$p"; truncate -s 0 "$p"; umount "$p"; setfattr -n user.x -v y "$p"
rm -rf moved; done 2>/dev/null >&2; echo looked`;

/** A path, one char per byte, as printf's %b takes it. */
function spelled(path: string): string {
  return path.replaceAll(
    /[^A-Za-z0-9./]/g,
    (char) => `\\0${char.charCodeAt(0).toString(8)}`,
  );
}

/** Everything below `folder`, by path: kind, mode, size, text or target. */
function snapshot(folder: Buffer, prefix = ""): string[] {
  return readdirSync(folder, { encoding: "buffer" }).flatMap((name) => {
    const at = Buffer.concat([folder, Buffer.from("/"), name]);
    const stat = lstatSync(at);
    const shown = `${prefix}/${name.toString("latin1")}`;
    const head = `${shown} ${stat.mode.toString(8)} ${
      stat.isDirectory() ? "" : stat.size
    }`;
    if (stat.isDirectory()) return [head, ...snapshot(at, shown)];
    if (stat.isSymbolicLink()) return [`${head} -> ${readlinkSync(at)}`];
    return stat.isFile() && stat.size < 2_000_000
      ? [`${head} ${Bun.hash(readFileSync(at))}`]
      : [head];
  }).sort();
}

function build(subject: Subject, hostile: Hostile): string {
  const { dir, work, uid } = subject;
  mkdirSync(`${dir}/decoy`);
  writeFileSync(`${dir}/decoy/file`, "decoy");
  for (const [path, text = ""] of hostile.tree) {
    const at = `${work}/${path}`;
    const folder = path.endsWith("/") ? at : at.slice(0, at.lastIndexOf("/"));
    mkdirSync(folder, { recursive: true });
    if (text.startsWith("->")) symlinkSync(text.slice(2), at);
    else if (!path.endsWith("/")) writeFileSync(at, text);
  }
  hostile.make?.(work);
  const owner = `${uid}:${uid === 0 ? 0 : 65_534}`;
  if (process.getuid?.() === 0) {
    Bun.spawnSync(["chown", "-Rh", owner, work, `${dir}/decoy`]);
  }
  return hostile.below === undefined ? work : `${work}/${hostile.below}`;
}

for (const hostile of WORKSPACES) {
  const { why, refused, attacked, onlyRoot, shell, entries, trusted } = hostile;
  const columns = COLUMNS.filter(({ actor }) => !onlyRoot || actor === "root");
  if (columns.length === 0) notProved(why, "only root can make it");
  matrix(
    `hostile workspace: ${why}: ${refused ? "refused" : "run and unchanged"}`,
    columns,
    async (subject) => {
      const { run, dir, work, home } = subject;
      const cwd = build(subject, hostile);
      writeFileSync(
        `${home}/config.toml`,
        `default_permissions = "p"\n[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n${
          entries?.replaceAll("WORK", work) ?? ""
        }\n${trusted ? `[projects."${work}"]\ntrust_level = "trusted"\n` : ""}`,
      );
      const before = snapshot(Buffer.from(dir)).filter(isOfInterest);
      const { end, stdout, stderr } = await run(
        ["--", "sh", "-c", ATTACK, "sh", ...attacked.map(spelled)],
        { cwd, ...(shell === undefined ? {} : { shell }) },
      );
      if (refused === undefined) {
        expect({ end, stdout, stderr: withoutWarnings(stderr) }).toEqual({
          end: 0,
          stdout: "looked\n",
          stderr: "",
        });
        expect(stderr).toMatch(hostile.warned ?? /^/);
      } else {
        expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
        expect(stderr).toMatch(/^codex: [^\n]+\n$/);
        expect(stderr).toMatch(refused);
      }
      expect(snapshot(Buffer.from(dir)).filter(isOfInterest)).toEqual(before);
      if (why.includes("by its owner")) {
        Bun.spawnSync(["chmod", "-R", "u+rwx", work]);
      }
    },
  );
}

matrix(
  "a second run that turns a directory into a link while others start moves nothing out of the workspace",
  COLUMNS,
  async (subject) => {
    const { run, start, dir, work, home } = subject;
    build(subject, {
      why: "",
      tree: [["s/key", "secret"], ["decoy", "->../decoy"]],
      attacked: [],
    });
    writeFileSync(
      `${home}/config.toml`,
      `[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n"${work}/s/key" = "deny"\n"${work}/s/no/such" = "read"\n`,
    );
    const decoy = Buffer.from(`${dir}/decoy`);
    const before = snapshot(decoy);
    const swapping = start([
      ...["-P", ":workspace", "--", "sh", "-c"],
      `until [ -e stop ]; do mv -T s t; mv -T decoy s; mv -T s decoy; mv -T t s; done 2>/dev/null`,
    ]);
    const ends = new Set<number | string>();
    for (let round = 0; round < 12; round++) {
      const { end, stderr, stdout } = await run([
        ...["-P", "p", "--", "sh", "-c"],
        `(: > s/new; mkdir s/no; echo x > s/key; : > decoy/new) 2>/dev/null; echo ran`,
      ]);
      ends.add(end);
      // Refused, by us or in bubblewrap's own set-up; or run.
      const wanted = end === 0
        ? "ran\n"
        : end === 125 || (end === 1 && stderr.includes("bwrap: "))
        ? ""
        : "neither run nor refused";
      expect({ end, stdout, stderr: end === 0 ? "" : stderr }).toEqual({
        end,
        stdout: wanted,
        stderr: end === 0 ? "" : stderr,
      });
    }
    writeFileSync(`${work}/stop`, "");
    await swapping.outcome;
    expect(ends.size).toBeGreaterThan(0);
    expect(snapshot(decoy)).toEqual(before);
    // What bubblewrap itself has made in a directory that was not there for a moment is in nobody's records: only ours are looked at.
    await run(["-P", "p", "--", "true"]);
    expect(recordedPlaces(subject)).toEqual([]);
  },
);

const SYSTEM = ACTORS.includes("root") && LAUNCHERS.includes("system");
if (!SYSTEM) {
  notProved("a swap in the midst of a start", "needs root and bwrap");
}

test.skipIf(!SYSTEM)(
  "a directory that is moved away between the plan and the mounts fails the run",
  async () => {
    const { run, work, home } = setup();
    const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
    try {
      chmodSync(folder, 0o755);
      mkdirSync(`${work}/s`);
      writeFileSync(`${work}/s/key`, "secret");
      // A trusted bubblewrap that first does what a second process could do at that moment.
      writeFileSync(
        `${folder}/bwrap`,
        `#!/bin/sh\ncase "$*" in *"${work}/s/key"*) /bin/mv "${work}/s" "${work}/t";; esac\nexec /usr/bin/bwrap "$@"\n`,
      );
      chmodSync(`${folder}/bwrap`, 0o755);
      writeFileSync(
        `${home}/config.toml`,
        `default_permissions = "p"\n[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n"${work}/s/key" = "read"\n`,
      );
      const { end, stdout, stderr } = await run([
        ...["--launcher", "system", "--", "/bin/sh", "-c"],
        "echo evil > t/key; echo ran",
      ], { env: { PATH: folder } });
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(/something was swapped/);
      expect(readFileSync(`${work}/t/key`, "utf8")).toBe("secret");
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

const FUSE = ACTORS.includes("root") && isThere("/dev/fuse");
if (!FUSE) notProved("a file system that ignores case", "needs root and FUSE");

matrix(
  "a workspace whose file system ignores case is refused, because .GIT would lead past the sandbox",
  FUSE ? COLUMNS : [],
  async ({ run, work, dir, uid }) => {
    const server = Bun.spawn([
      process.execPath,
      `${import.meta.dirname}/folding_file_system.ts`,
      work,
      String(uid),
    ], { stdout: "pipe", env: { BUN_BE_BUN: "1", PATH: process.env["PATH"] } });
    try {
      const first = await server.stdout.getReader().read();
      expect(Buffer.from(first.value ?? []).toString()).toBe("mounted\n");
      // Control: the other spelling is the same file, and lies beside any mount on the first.
      expect(lstatSync(`${work}/.GIT`).ino).toBe(lstatSync(`${work}/.git`).ino);
      const { end, stdout, stderr } = await run(
        ["-P", ":workspace", "-C", work, "--", "echo", "ran"],
        { cwd: "/" },
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(
        /^codex: cannot enforce sandbox read-only path [^ ]+: its file system ignores case, [^\n]+\n$/,
      );
      symlinkSync(work, `${dir}/l`);
      const linked = await run(
        ["-P", ":workspace", "-C", `${dir}/l`, "--", "echo", "ran"],
        { cwd: "/" },
      );
      expect(linked).toMatchObject({ end: 125, stdout: "" });
      const read = await run(
        ["-P", ":read-only", "-C", work, "--", "ls", "-A"],
        { cwd: "/" },
      );
      expect(read).toEqual({
        end: 0,
        stdout: ".agents\n.codex\n.git\n",
        stderr: "",
      });
      // Nor does the search for repositories go into it: whoever serves it could let it wait.
      const words = ["-P", ":workspace", "-C", dir, "--explain", "--", "true"];
      const { stdout: plan } = await run(words, { cwd: "/" });
      expect(plan).toContain("mounts");
      expect(plan).not.toContain(`read-only metadata  ${work}`);
    } finally {
      Bun.spawnSync(["umount", "-l", work]);
      server.kill(9);
      await server.exited;
    }
  },
);

/** Our own state folder changes with each run. */
function isOfInterest(line: string): boolean {
  return !line.startsWith("/home/");
}

function withoutWarnings(stderr: string): string {
  return stderr.replaceAll(/^codex: warning: [^\n]*\n/gm, "");
}

test("at least 30 hostile workspaces are tried", () => {
  expect(WORKSPACES.length).toBeGreaterThanOrEqual(30);
  expect(new Set(WORKSPACES.map(({ why }) => why)).size).toBe(
    WORKSPACES.length,
  );
  if (!ACTORS.includes("root")) notProved("devices and mounts", "needs root");
  expect(BOTH_ACTORS.length).toBe(ACTORS.length);
});
