import { expect, test } from "bun:test";
import { access, type Errno, type Operation } from "../../src/policy/access.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access, PolicyOptions } from "../../src/policy/policy.ts";
import { validatePolicy } from "../../src/policy/refusals.ts";
import { factsOf, matchOf, policyOf, type Tree } from "./world.ts";

const HOST: Tree = {
  "/etc/passwd": "file",
  "/usr/bin/true": "exe",
  "/bin": "-> usr/bin",
  "/w/a.txt": "file",
  "/w/docs/b.txt": "file",
  "/w/docs/deep/c.txt": "file",
  "/w/secrets/key": "file",
  "/w/secrets/tmp/x": "file",
  "/w/.git/config": "file",
  "/w/x.env": "file",
  "/w/sub/y.env": "file",
  "/work-evil/f": "file",
  "/home/u/.ssh/id": "file",
  "/tmp/t": "file",
  "/link": "-> /w",
  "/sys/kernel": "dir",
  "/dev/shm": "dir",
  "/dev/kvm": "device",
};

type Lines = readonly (readonly [string, Access])[];
type Row = readonly [
  lines: Lines,
  operation: Operation["kind"] | readonly ["rename" | "link", string],
  path: string,
  errno: Errno | null,
  why: string,
  extra?: {
    readonly globs?: readonly string[];
    readonly options?: Partial<PolicyOptions>;
    readonly minimal?: boolean;
    readonly matches?: readonly ReturnType<typeof matchOf>[];
    readonly own?: readonly string[];
    readonly hidden?: readonly string[];
    readonly repositories?: readonly string[];
    readonly shut?: readonly string[];
    readonly tree?: Tree;
  },
];

const R = [":root", "read"] as const;
const W = ["/w", "write"] as const;

const ROWS: readonly Row[] = [
  // Precedence: depth, then deny > write > read, then nothing.
  [[R], "read", "/etc/passwd", null, "an entry above speaks for a path"],
  [[], "read", "/etc/passwd", "ENOENT", "no entry is a deny"],
  [[R], "write", "/w/a.txt", "EROFS", "read is not write"],
  [[R, W], "write", "/w/a.txt", null, "the deeper entry wins over the root"],
  [[W, R], "write", "/w/a.txt", null, "order is irrelevant"],
  [[R, W], "write", "/work-evil/f", "EROFS", "a prefix is a whole component"],
  [[R, W, ["/w", "read"]], "write", "/w/a.txt", null, "write beats read"],
  [[R, W, ["/w", "deny"]], "read", "/w/a.txt", "EACCES", "deny beats write"],
  [
    [R, ["/w", "deny"], ["/w", "read"]],
    "read",
    "/w/a.txt",
    "EACCES",
    "deny beats read",
  ],
  [
    [R, W, ["/w/docs", "read"]],
    "write",
    "/w/docs/b.txt",
    "EROFS",
    "a carve-out closes its parent",
  ],
  [
    [R, W, ["/w/docs", "read"]],
    "read",
    "/w/docs/b.txt",
    null,
    "a read carve-out is readable",
  ],
  [
    [R, W, ["/w/docs", "read"], ["/w/docs/deep", "write"]],
    "write",
    "/w/docs/deep/c.txt",
    null,
    "a deeper write reopens",
  ],
  [
    [R, W, ["/w/secrets", "deny"]],
    "read",
    "/w/secrets/key",
    "EACCES",
    "a denied directory can't be searched",
  ],
  [
    [R, W, ["/w/secrets", "deny"], ["/w/secrets/tmp", "write"]],
    "write",
    "/w/secrets/tmp/x",
    null,
    "write below deny reopens",
  ],
  [
    [R, W, ["/w/secrets", "deny"], ["/w/secrets/tmp", "read"]],
    "read",
    "/w/secrets/tmp/x",
    null,
    "read below deny reopens reading",
  ],
  [
    [R, W, ["/w/secrets", "deny"], ["/w/secrets/tmp", "read"]],
    "write",
    "/w/secrets/tmp/x",
    "EROFS",
    "read below deny does not open writing",
  ],
  [
    [R, W, ["/w/secrets", "deny"], ["/w/secrets/tmp", "read"]],
    "read",
    "/w/secrets/key",
    "ENOENT",
    "what isn't reopened is not there",
  ],
  [
    [R, W, ["/w/secrets", "deny"], ["/w/secrets/tmp", "read"]],
    "create",
    "/w/secrets/new",
    "EROFS",
    "a mask can't be filled",
  ],
  // Metadata.
  [
    [R, W],
    "write",
    "/w/.git/config",
    "EROFS",
    "metadata of a writable root is read-only",
  ],
  [[R, W], "read", "/w/.git/config", null, "metadata is readable"],
  [[R, W], "create", "/w/.codex", "EEXIST", "missing metadata is occupied"],
  [
    [R, W],
    "create",
    "/w/.agents/x",
    "EROFS",
    "nothing can be made in a placeholder",
  ],
  [
    [R, W],
    "create",
    "/w/sub/.git",
    null,
    "metadata is protected in the root itself only",
  ],
  [
    [R, W, ["/w/sub", "write"]],
    "create",
    "/w/sub/.git",
    "EEXIST",
    "a nested root has metadata of its own",
  ],
  [
    [R, W, ["/w/.git", "write"]],
    "write",
    "/w/.git/config",
    null,
    "a write entry opens metadata",
  ],
  [
    [R, W, ["/w/.git/hooks", "write"]],
    "write",
    "/w/.git/config",
    "EROFS",
    "a deeper write opens its subtree only",
    { tree: { ...HOST, "/w/.git/hooks/h": "file" } },
  ],
  [
    [R, W, ["/w/.git/hooks", "write"]],
    "write",
    "/w/.git/hooks/h",
    null,
    "a deeper write opens its subtree",
    { tree: { ...HOST, "/w/.git/hooks/h": "file" } },
  ],
  [
    [R, W, ["/w/.git", "deny"]],
    "read",
    "/w/.git/config",
    "EACCES",
    "an explicit entry replaces the protection",
  ],
  [[R, W], "rename", "/w/.git", "EBUSY", "metadata can't be renamed"],
  [
    [R, W],
    ["rename", "/w/.codex"],
    "/w/a.txt",
    "EBUSY",
    "missing metadata can't be renamed in",
  ],
  [[R, W], "remove", "/w/.git", "EBUSY", "metadata can't be removed"],
  [
    [[":root", "write"]],
    "create",
    "/.git",
    null,
    "full write protects none in the root either",
  ],
  [
    [[":root", "write"]],
    "write",
    "/w/.git/config",
    null,
    "full write protects no metadata",
  ],
  [
    [["/", "write"]],
    "create",
    "/.git",
    "EEXIST",
    "the path / is not full write",
  ],
  [
    [[":root", "write"], ["/w/docs", "read"]],
    "create",
    "/.git",
    "EEXIST",
    "a narrowed :root is not full write",
  ],
  // git's own pointers.
  [
    [R, W],
    "write",
    "/w/real/HEAD",
    "EROFS",
    "where a .git file points is read-only",
    { tree: { "/w/.git": "file: gitdir: real\n", "/w/real/HEAD": "file" } },
  ],
  [
    [R, W, [":slash_tmp", "write"]],
    "write",
    "/tmp/m/.git/config",
    "EROFS",
    "and the common directory behind it",
    {
      tree: {
        "/w/.git": "file: gitdir: /tmp/m/.git/worktrees/w",
        "/tmp/m/.git/worktrees/w/commondir": "file: ../..\n",
        "/tmp/m/.git/config": "file",
      },
    },
  ],
  [
    [R, W, ["/w/real", "write"]],
    "write",
    "/w/real/HEAD",
    null,
    "an entry for the target replaces that",
    { tree: { "/w/.git": "file: gitdir: real", "/w/real/HEAD": "file" } },
  ],
  [
    [R, W, ["/home/u/.ssh", "deny"]],
    "read",
    "/home/u/.ssh/id",
    "EACCES",
    "a hostile pointer doesn't open a deny",
    {
      tree: {
        "/w/.git": "file: gitdir: /home/u/.ssh",
        "/home/u/.ssh/id": "file",
      },
    },
  ],
  [[R, W], "write", "/w/real/HEAD", null, "other text is no pointer", {
    tree: { "/w/.git": "file: directory: real", "/w/real/HEAD": "file" },
  }],
  [
    [R, W],
    "write",
    "/w/real/HEAD",
    "EROFS",
    "commondir in a .git directory counts",
    { tree: { "/w/.git/commondir": "file: ../real", "/w/real/HEAD": "file" } },
  ],
  [
    [R, W],
    "write",
    "/w/real /HEAD",
    "EROFS",
    "git takes a blank at the end for part of the name",
    {
      tree: { "/w/.git": "file: gitdir: real \n", "/w/real /HEAD": "file" },
    },
  ],
  [
    [R, W],
    "write",
    "/w/real/HEAD",
    "EROFS",
    "other programs cut it off",
    {
      tree: { "/w/.git": "file: gitdir: real \n", "/w/real/HEAD": "file" },
    },
  ],
  [
    [R, W],
    "write",
    "/w/real/HEAD",
    "EROFS",
    "git reads up to a NUL",
    {
      tree: { "/w/.git": "file: gitdir: real\0x\n", "/w/real/HEAD": "file" },
    },
  ],
  [
    [R, W],
    "write",
    "/w/real/HEAD",
    "EROFS",
    "however many lines follow that are blank",
    {
      tree: {
        "/w/.git": `file: gitdir: real${"\n".repeat(20_000)}`,
        "/w/real/HEAD": "file",
      },
    },
  ],
  [
    [R, W],
    "create",
    "/w/real",
    "EEXIST",
    "a missing target in the workspace can't be made",
    { tree: { "/w/.git": "file: gitdir: real" } },
  ],
  [
    [R, W],
    "create",
    "/w/no",
    "EEXIST",
    "nor a directory above it",
    { tree: { "/w/.git": "file: gitdir: no/such/git" } },
  ],
  [
    [R, W],
    "write",
    "/w/githooks/pre-commit",
    "EROFS",
    "a link to hooks outside of the git directory is followed",
    {
      tree: {
        "/w/.git/hooks": "-> ../githooks",
        "/w/githooks/pre-commit": "exe",
      },
    },
  ],
  [
    [R, W, [":slash_tmp", "write"]],
    "write",
    "/w/cfg",
    "EROFS",
    "a link in the common directory of a worktree too",
    {
      tree: {
        "/w/.git": "file: gitdir: /tmp/m/.git/worktrees/w",
        "/tmp/m/.git/worktrees/w/commondir": "file: ../..\n",
        "/tmp/m/.git/config": "-> /w/cfg",
        "/w/cfg": "file",
      },
    },
  ],
  // Repositories inside a writable directory.
  ...([
    [[R, W], "write", "/w/a/.git/config", "EROFS", "its .git is read-only"],
    [[R, W], "remove", "/w/a/.git", "EBUSY", "and stays"],
    [[R, W], "write", "/w/a/.codex/c", "EROFS", "so is its .codex"],
    [[R, W], "create", "/w/a/.agents", null, "what is missing may be made"],
    [
      [R, W],
      ["rename", "/w/b"],
      "/w/a",
      null,
      "it may be moved: the next run finds it again",
    ],
    [
      [R, W],
      "write",
      "/w/gd/HEAD",
      "EROFS",
      "where its .git file leads is read-only",
    ],
    [
      [R, W],
      "write",
      "/w/hooks/h",
      "EROFS",
      "where a link in its .git leads too",
    ],
    [
      [R, W, ["/w/a/.git", "write"]],
      "write",
      "/w/a/.git/config",
      null,
      "an entry of its own opens it",
    ],
    [
      [R, W, ["/w/a", "write"]],
      "write",
      "/w/a/.git/config",
      "EROFS",
      "one above doesn't",
    ],
    [
      [R, W, ["/w/a", "deny"]],
      "read",
      "/w/a/.git/config",
      "EACCES",
      "a deny hides it as before",
    ],
  ] as const).map((row): Row => [...row, {
    repositories: ["/w/a", "/w/t"],
    tree: {
      "/w/a/.git/config": "file",
      "/w/a/.git/hooks": "-> ../../hooks",
      "/w/hooks/h": "exe",
      "/w/a/.codex/c": "file",
      "/w/t/.git": "file: gitdir: ../gd",
      "/w/gd/HEAD": "file",
    },
  }]),
  [
    [R, W],
    "write",
    "/w/x",
    null,
    "one behind a link, a loop or nothing is no reason to refuse a run",
    {
      repositories: ["/w/a", "/w/b", "/w/c"],
      tree: {
        "/w/a/.git": "-> loop",
        "/w/a/loop": "-> .git",
        "/w/b/.git": "file: gitdir: l/gd",
        "/w/b/l": "-> gone",
        "/w/c/.git": "huge",
        "/w/x": "file",
      },
    },
  ],
  ...([
    ["write", "/w/s/f", "EROFS", "nor is anything in it written"],
    ["create", "/w/s/new", "EROFS", "nor made"],
    ["write", "/w/s", "EROFS", "what nobody could look into stays shut"],
    [["rename", "/w/z"], "/w/s", "EBUSY", "nor can it be moved"],
    [["rename", "/w/z"], "/w/p", null, "what lies above it can"],
  ] as const).map(([what, path, errno, why]): Row => [
    [R, W],
    what,
    path,
    errno,
    why,
    {
      repositories: [],
      shut: ["/w/s", "/w/p/s"],
      tree: { "/w/s/f": "file", "/w/p/s/f": "file" },
    },
  ]),
  // Globs.
  [[R, W], "read", "/w/x.env", "EACCES", "a match is hidden", {
    globs: ["/w/**/*.env"],
    matches: [matchOf("/w/**/*.env", "/w/x.env")],
  }],
  [
    [R, W, ["/w/x.env", "write"]],
    "read",
    "/w/x.env",
    "EACCES",
    "a match beats a more specific entry",
    { globs: ["/w/**/*.env"], matches: [matchOf("/w/**/*.env", "/w/x.env")] },
  ],
  [
    [R, W],
    "read",
    "/w/secrets/key",
    "EACCES",
    "a matching directory is hidden whole",
    {
      globs: ["/w/sec*"],
      matches: [matchOf("/w/sec*", "/w/secrets", "directory")],
    },
  ],
  [[R, W], "create", "/w/new.env", null, "what matches later is not hidden", {
    globs: ["/w/**/*.env"],
  }],
  [
    [R, W],
    ["rename", "/w/z"],
    "/w/sub",
    null,
    "a directory that ** finds again isn't pinned",
    {
      globs: ["/w/**/*.env"],
      matches: [matchOf("/w/**/*.env", "/w/sub/y.env")],
    },
  ],
  [
    [R, W],
    ["rename", "/w/z"],
    "/w/sub",
    "EBUSY",
    "the literal prefix of a glob is pinned",
    {
      globs: ["/w/sub/*.env"],
      matches: [matchOf("/w/sub/*.env", "/w/sub/y.env")],
    },
  ],
  [
    [R, W],
    ["rename", "/w/z"],
    "/w/sub",
    "EBUSY",
    "a component of the pattern's own is pinned",
    {
      globs: ["/w/s*/y.env"],
      matches: [matchOf("/w/s*/y.env", "/w/sub/y.env")],
    },
  ],
  // Pins, mounts and renames.
  [
    [R, W, ["/w/docs/deep", "deny"]],
    ["rename", "/w/z"],
    "/w/docs",
    "EBUSY",
    "a directory above a mask is pinned",
  ],
  [
    [R, W, ["/w/docs/deep", "deny"]],
    ["rename", "/w/docs/n"],
    "/w/a.txt",
    "EXDEV",
    "a pin is a mount of its own",
  ],
  [
    [R, W, ["/w/docs/deep", "deny"]],
    "write",
    "/w/docs/b.txt",
    null,
    "a pin stays writable",
  ],
  [
    [R, W],
    ["rename", "/w/sub/a.txt"],
    "/w/a.txt",
    null,
    "within a root renames work",
  ],
  [
    [R, W, [":slash_tmp", "write"]],
    ["rename", "/w/t"],
    "/tmp/t",
    "EXDEV",
    "roots are mounts of their own",
  ],
  [[R, W], ["link", "/w/p"], "/etc/passwd", "EXDEV", "no link into a root"],
  [[R, W], ["link", "/w/b"], "/w/a.txt", null, "links within a root work"],
  [[R, W], ["link", "/w/sub"], "/w/a.txt", "EEXIST", "a name that is taken"],
  [[R, W], ["link", "/w/d"], "/w/docs", "EPERM", "no link to a directory"],
  [
    [R, W],
    ["link", "/etc/p"],
    "/w/a.txt",
    "EROFS",
    "no link out into a read-only place",
  ],
  [
    [R, W, ["/w/a.txt", "deny"]],
    ["link", "/w/b"],
    "/w/a.txt",
    "EXDEV",
    "a masked file can't be linked",
  ],
  [
    [R, W, ["/w/a.txt", "deny"]],
    "remove",
    "/w/a.txt",
    "EBUSY",
    "a mask can't be removed",
  ],
  [
    [R],
    ["rename", "/etc/q"],
    "/etc/passwd",
    "EROFS",
    "nothing is renamed in a read-only place",
  ],
  // File grants.
  [
    [R, ["/w/a.txt", "write"]],
    "write",
    "/w/a.txt",
    null,
    "a file can be granted",
  ],
  [
    [R, ["/w/a.txt", "write"]],
    ["rename", "/w/a.txt"],
    "/w/docs/b.txt",
    "EROFS",
    "its directory stays read-only",
  ],
  [
    [R, ["/w/a.txt", "write"]],
    "remove",
    "/w/a.txt",
    "EROFS",
    "and it can't be removed",
  ],
  [
    [R, W, ["/w/docs", "read"], ["/w/docs/b.txt", "write"]],
    ["rename", "/w/docs/b.txt"],
    "/w/a.txt",
    "EXDEV",
    "a file grant can't be replaced by rename",
  ],
  // Missing paths.
  [
    [R, W, ["/w/gh/ost", "read"]],
    "create",
    "/w/gh",
    "EEXIST",
    "the first missing component is occupied",
  ],
  [
    [R, W, ["/w/gh/ost", "deny"]],
    "create",
    "/w/gh/ost",
    "ENOTDIR",
    "so nothing can be made below",
  ],
  [
    [R, W, ["?/w/gh/ost", "deny"]],
    "create",
    "/w/gh",
    null,
    "an entry that skips missing paths occupies nothing",
  ],
  [
    [R, ["/missing", "write"]],
    "create",
    "/missing",
    "EROFS",
    "a missing root is not made",
  ],
  [
    [R, W],
    "create",
    "/w/new/file",
    null,
    "what is missing is judged as made now",
  ],
  [[R, W], "create", "/w/a.txt", "EEXIST", "what exists can't be created"],
  [
    [R],
    "create",
    "/etc/new",
    "EROFS",
    "nothing is created in a read-only place",
  ],
  // Links.
  [
    [R, ["/link", "write"]],
    "write",
    "/w/a.txt",
    null,
    "a write entry through a link opens the target",
  ],
  [
    [R, ["/link", "write"]],
    "write",
    "/link/a.txt",
    null,
    "under both spellings",
  ],
  [
    [R, ["/link", "write"]],
    "write",
    "/w/.git/config",
    "EROFS",
    "with the metadata of the target",
  ],
  [
    [R, ["/link", "deny"]],
    "read",
    "/w/a.txt",
    "EACCES",
    "a denied link hides its target",
  ],
  [[R, W], "remove", "/link", "EROFS", "removing a link is about the link"],
  [[R], "read", "/loop", "ELOOP", "a loop leads nowhere", {
    tree: { "/loop": "-> /loop" },
  }],
  // Empty roots.
  [[W], "read", "/w/a.txt", null, "a lone root is visible"],
  [[W], "create", "/new", "EROFS", "the empty root is read-only"],
  [
    [W],
    "read",
    "/link/a.txt",
    "ENOENT",
    "a link that no entry crosses is not there",
  ],
  [
    [["/link", "read"]],
    "read",
    "/link/a.txt",
    null,
    "a link that an entry crosses is",
  ],
  [[], "read", "/usr/bin/true", null, ":minimal reads the platform", {
    minimal: true,
  }],
  [[], "read", "/bin/true", null, "through its links", { minimal: true }],
  [
    [["/usr", "deny"]],
    "read",
    "/usr/bin/true",
    "ENOENT",
    "a deny beats :minimal at its own place",
    { minimal: true, tree: { "/usr/bin/true": "exe" } },
  ],
  [
    [[":root", "write"], ["/usr", "write"]],
    "write",
    "/usr/bin/true",
    null,
    ":minimal closes nothing",
    { minimal: true },
  ],
  [[], "read", "/w/a.txt", "ENOENT", ":minimal is no more than that", {
    minimal: true,
  }],
  // exec.
  [[R], "exec", "/usr/bin/true", null, "readable and executable"],
  [[R], "exec", "/etc/passwd", "EACCES", "no executable bit"],
  [[R], "exec", "/usr", "EACCES", "a directory"],
  [[], "exec", "/usr/bin/true", "ENOENT", "not readable"],
  // System places.
  [[], "read", "/proc", null, "/proc is in every view"],
  [
    [[":root", "write"]],
    "write",
    "/sys/kernel",
    "EROFS",
    "/sys is never writable",
  ],
  [[R], "read", "/dev/kvm", "ENOENT", "/dev is fresh"],
  [[R], "write", "/dev/shm/x", null, "/dev/shm is the run's own"],
  [
    [R, ["/dev/shm", "read"]],
    "create",
    "/dev/shm/x",
    "EROFS",
    "unless an entry brings the host's",
  ],
  [[R, ["/dev/shm", "deny"]], "create", "/dev/shm/x", "EACCES", "or hides it"],
  // Private temporary directory.
  [
    [R, [":slash_tmp", "write"]],
    "create",
    "/tmp/t",
    null,
    "the host's files are not there",
    { options: { tmp: "private" } },
  ],
  [
    [R, [":slash_tmp", "write"]],
    "create",
    "/tmp/.git",
    null,
    "nothing needs protection",
    { options: { tmp: "private" } },
  ],
  [
    [R, ["/tmp", "write"]],
    "create",
    "/tmp/t",
    null,
    "private beats a write entry",
    { options: { tmp: "private" } },
  ],
  [
    [R, [":slash_tmp", "deny"]],
    "create",
    "/tmp/n",
    "EACCES",
    "deny beats private",
    { options: { tmp: "private" } },
  ],
  [
    [R, ["/tmp/ws", "write"]],
    "create",
    "/tmp/ws/.git",
    "EEXIST",
    "a deeper root is the host's",
    { options: { tmp: "private" }, tree: { "/tmp/ws": "dir" } },
  ],
  // Our own files.
  [
    [R, W],
    "write",
    "/w/home/config.toml",
    "EROFS",
    "our own files are read-only below a write entry",
    { own: ["/w/home"], tree: { "/w/home/config.toml": "file" } },
  ],
  [
    [[":root", "write"]],
    "write",
    "/w/home/config.toml",
    "EROFS",
    "also with full write",
    { own: ["/w/home"], tree: { "/w/home/config.toml": "file" } },
  ],
  [[R, W], "create", "/w/home", "EEXIST", "also when missing", {
    own: ["/w/home"],
    tree: { "/w": "dir" },
  }],
  [[R], "read", "/w/home/locks/l", "EACCES", "our state is hidden", {
    hidden: ["/w/home/locks"],
    tree: { "/w/home/locks/l": "file" },
  }],
];

for (const [lines, what, path, errno, why, extra = {}] of ROWS) {
  const operation: Operation = typeof what !== "string"
    ? { kind: what[0], to: abs(what[1]) }
    : what === "rename" || what === "link"
    ? { kind: what, to: abs("/w/unused") }
    : { kind: what };
  const entries = lines.map(([at, mode]) => `${at}=${mode}`).join(" ");
  const title = `${entries || "nothing"}: ${operation.kind} ${path} is ${
    errno ?? "allowed"
  }: ${why}`;
  test(title, () => {
    const policy = policyOf(lines, extra);
    const asked = "to" in operation ? [path, operation.to] : [path];
    const own = {
      readOnly: (extra.own ?? []).map(abs),
      hidden: (extra.hidden ?? []).map(abs),
    };
    const matches = extra.matches ?? [];
    const facts = factsOf(extra.tree ?? HOST, policy, {
      asked,
      own,
      matches,
      repositories: extra.repositories ?? null,
      shut: extra.shut ?? [],
    });
    expect(validatePolicy(policy, facts)).toEqual({
      ok: true,
      value: undefined,
    });
    const verdict = access(policy, facts, abs(path), operation);
    expect(verdict.errno).toBe(errno);
    expect(verdict.allowed).toBe(errno === null);
  });
}
