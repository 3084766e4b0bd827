import { expect, test } from "bun:test";
import { access } from "../../src/policy/access.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access, PolicyOptions } from "../../src/policy/policy.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import { policyWarnings } from "../../src/policy/warnings.ts";
import { factsOf, matchOf, policyOf, type Tree } from "./world.ts";

const R = [":root", "read"] as const;
const W = ["/w", "write"] as const;
type Lines = readonly (readonly [string, Access])[];

/** Write entries for the names that are protected in a writable root. */
const OPEN_METADATA = (root: string): Lines =>
  [".git", ".agents", ".codex"].map((name) => [`${root}/${name}`, "write"]);
/** A writable root with nothing protected in it. */
const BARE: Lines = [W, ...OPEN_METADATA("/w")];
const NESTED = { options: { nestedNamespaces: true } } as const;
const nested = (path: string, done: string, root: string): string =>
  `Cannot honour nested_namespaces = true of profile test: "${path}" is ${done} below the writable "${root}", and in a namespace of its own the command could move it away; leave nested_namespaces out, or write nothing above it`;

const REFUSED: readonly (readonly [
  lines: Lines,
  tree: Tree,
  message: string,
  why: string,
  extra?: {
    readonly globs?: readonly string[];
    readonly own?: readonly string[];
    readonly options?: Partial<PolicyOptions>;
  },
])[] = [
  [
    [R, W],
    { "/w/.codex": "-> /x" },
    "cannot enforce sandbox read-only path /w/.codex because it crosses writable symlink /w/.codex",
    "metadata that is a link",
  ],
  [
    [R, W],
    { "/w": "dir", "/w/.git": "-> gone" },
    "cannot enforce sandbox read-only path /w/.git because it crosses writable symlink /w/.git",
    "also when it leads nowhere",
  ],
  [
    [R, W],
    {
      "/w/.git": "file: gitdir: l/gd",
      "/w/l": "-> real",
      "/w/real/gd/HEAD": "file",
    },
    "cannot enforce sandbox read-only path /w/l/gd (named by /w/.git) because it crosses writable symlink /w/l",
    "a git directory behind a link of the command's",
  ],
  [
    [R, W],
    { "/w/.git": "file: gitdir: l", "/w/l": "-> gone" },
    "cannot enforce sandbox read-only path /w/l (named by /w/.git) because it crosses writable symlink /w/l",
    "a git directory behind a link that leads nowhere",
  ],
  [
    [R, W],
    { "/w/.git": "file: gitdir: l", "/w/l": "-> l" },
    "cannot enforce sandbox read-only path /w/l (named by /w/.git): its symbolic links loop",
    "or to itself",
  ],
  [
    [R, W],
    {
      "/w/.git/commondir": "file: ../l\n",
      "/w/l": "-> real",
      "/w/real": "dir",
    },
    "cannot enforce sandbox read-only path /w/l (named by /w/.git/commondir) because it crosses writable symlink /w/l",
    "a common directory behind one",
  ],
  [
    [R, W],
    { "/w/.git/hooks": "-> ../l/hooks", "/w/l": "-> x", "/w/x/hooks": "dir" },
    "cannot enforce sandbox read-only path /w/.git/hooks because it crosses writable symlink /w/l",
    "hooks behind two",
  ],
  [
    [R, W],
    { "/w/.git/commondir": "-> ../cd", "/w/cd": "file: x" },
    'Cannot protect the git directory behind "/w/.git/commondir": it is a link, and git writes none there',
    "a commondir that is a link",
  ],
  [
    [R, W],
    {
      "/w/.git": "file: gitdir: /r/wt",
      "/r/wt/commondir": "huge",
    },
    'Cannot protect the git directory behind "/r/wt/commondir": it has 10737418240 bytes, and git reads no more than 1048576',
    "a linked worktree's",
  ],
  [
    [R, W],
    { "/w/.git": "file: gitdir: l/../gd", "/w/l": "-> x/y", "/w/gd": "dir" },
    'Cannot protect the git directory behind "/w/.git": its path goes up again ("..") behind a name',
    "what is above a link is not above its name",
  ],
  [
    [R, W],
    { "/w/.git": "file: gitdir: ." },
    'Cannot protect the git directory behind "/w/.git": it is "/w", which the command may write',
    "the workspace as its own git directory",
  ],
  [
    [R, ["/w/a", "write"], ["/w", "write"]],
    { "/w/a/.git": "file: gitdir: .." },
    'Cannot protect the git directory behind "/w/a/.git": it is "/w", which the command may write',
    "a directory above it",
  ],
  [
    [R, W, [":slash_tmp", "write"]],
    { "/w/.git": "file: gitdir: /tmp", "/tmp": "dir" },
    'Cannot protect the git directory behind "/w/.git": it is "/tmp", which the command may write',
    "a temporary folder",
  ],
  [
    [R, W],
    { "/w/.git/commondir": "file: ..\n" },
    'Cannot protect the git directory behind "/w/.git/commondir": it is "/w", which the command may write',
    "the workspace as the common directory",
  ],
  [
    [R, W],
    { "/w/.git": "huge" },
    'Cannot protect the git directory behind "/w/.git": it has 10737418240 bytes, and git reads no more than 1048576',
    "a pointer that nobody reads",
  ],
  [
    [R, W],
    { "/w/.git/commondir": "huge" },
    'Cannot protect the git directory behind "/w/.git/commondir": it has 10737418240 bytes, and git reads no more than 1048576',
    "a common directory that nobody reads",
  ],
  [
    [R, W, ["/w/l/x", "deny"]],
    { "/w/l": "-> /y", "/y/x": "file" },
    "cannot enforce sandbox deny-read path /w/l/x because it crosses writable symlink /w/l",
    "a deny through a link of the command's",
  ],
  [
    [R, W, ["/w/l", "read"]],
    { "/w/l": "-> /y", "/y": "dir" },
    "cannot enforce sandbox read-only path /w/l because it crosses writable symlink /w/l",
    "a read likewise",
  ],
  [
    [R, W, ["/w/l", "write"]],
    { "/w/l": "-> /home", "/home": "dir" },
    "cannot enforce sandbox writable path /w/l because it crosses writable symlink /w/l",
    "a write would open what the link was turned to",
  ],
  [
    [R, W, ["/w/s/l", "write"]],
    { "/w/s/l": "-> /home", "/home": "dir" },
    "cannot enforce sandbox writable path /w/s/l because it crosses writable symlink /w/s/l",
    "further down too",
  ],
  [
    [R, W],
    { "/w/l": "-> /y", "/y/a": "file" },
    "cannot enforce sandbox deny-read path /w/l because it crosses writable symlink /w/l",
    "a glob below a link of the command's",
    { globs: ["/w/l/*.env"] },
  ],
  [
    [R],
    { "/loop": "-> /loop" },
    'Cannot expand glob "/loop/*.env": the symbolic links of "/loop" loop',
    "a glob below a loop finds nothing",
    { globs: ["/loop/*.env"] },
  ],
  [
    [R, W],
    { "/w/.agents": "-> .agents" },
    "cannot enforce sandbox read-only path /w/.agents: its symbolic links loop",
    "metadata that is a loop",
  ],
  [
    [R, ["/loop", "deny"]],
    { "/loop": "-> /loop" },
    'Cannot use "/loop": its symbolic links loop',
    "a loop hides nothing",
  ],
  [
    [R, W, ["/w/new", "write"]],
    { "/w": "dir" },
    `Cannot grant write to "/w/new": it doesn't exist, and it lies in the writable root "/w", create it or remove the entry`,
    "a missing writable root in a writable one",
  ],
  [
    [R],
    {},
    'unreadable glob "/**/*.env" cannot be safely expanded; use a pattern with a non-root directory prefix',
    "a glob below the root",
    { globs: ["/**/*.env"] },
  ],
  [
    [R],
    { "/l": "-> /" },
    'unreadable glob "/l/*.env" cannot be safely expanded; use a pattern with a non-root directory prefix',
    "also through a link",
    { globs: ["/l/*.env"] },
  ],
  [
    [R],
    { "/w": "dir" },
    'error parsing glob "/w/[z-a]": invalid range "z-a"',
    "a malformed glob",
    { globs: ["/w/[z-a]"] },
  ],
  [
    [R, ["/proc", "deny"]],
    {},
    'Cannot apply "deny" to "/proc": /proc is made afresh for each run, remove the entry',
    "/proc can't be hidden",
  ],
  [
    [R, ["/proc/sys", "write"]],
    { "/proc/sys": "dir" },
    'Cannot apply "write" to "/proc/sys": /proc is made afresh for each run, remove the entry',
    "nor opened",
  ],
  [
    [R, ["/sys", "write"]],
    { "/sys": "dir" },
    'Cannot apply "write" to "/sys": /sys is read-only in each run, use "read" or "deny"',
    "/sys can't be opened",
  ],
  [
    [R, ["/dev/null", "deny"]],
    { "/dev/null": "device" },
    'Cannot apply "deny" to "/dev/null": /dev is made afresh for each run with the standard devices, remove the entry',
    "a standard device can't be hidden",
  ],
  [
    [R, ["/dev/kvm", "write"]],
    { "/dev/kvm": "device" },
    'Cannot apply "write" to "/dev/kvm": /dev is made afresh for each run with the standard devices, remove the entry',
    "a device of the host's can't be opened",
  ],
  [
    [R],
    { "/proc/x": "dir" },
    'unreadable glob "/proc/x/*" cannot be safely expanded: /proc and /dev are made afresh for each run, remove the entry',
    "a glob there",
    { globs: ["/proc/x/*"] },
  ],
  [
    [R, ["/x/disk", "write"]],
    { "/x/disk": "device" },
    'Cannot grant write to "/x/disk": it is a device, and devices are not passed into the sandbox',
    "devices elsewhere",
  ],
  [
    [R, ["/home/u/.codex", "write"]],
    { "/home/u/.codex": "dir" },
    `Cannot grant write to "/home/u/.codex": it is one of the sandbox's own places, which stay read-only`,
    "our own files",
    { own: ["/home/u/.codex"] },
  ],
  [
    [R, ["/home/u/.codex/x", "write"]],
    { "/home/u/.codex/x": "dir" },
    `Cannot grant write to "/home/u/.codex/x": it is inside "/home/u/.codex", one of the sandbox's own places, which stay read-only`,
    "and what is in them",
    { own: ["/home/u/.codex"] },
  ],
  [
    [R, W],
    { "/w/l": "-> /y", "/y/home": "dir" },
    "cannot enforce sandbox read-only path /w/l/home because it crosses writable symlink /w/l",
    "our own files behind a link of the command's",
    { own: ["/w/l/home"] },
  ],
  [
    [R, W, ["/w/locked/x", "deny"]],
    { "/w/locked": "locked" },
    `Cannot enforce the entry for "/w/locked/x": "/w/locked" lies in a writable root and can't be examined, make it searchable`,
    "what can't be looked at may be opened by the command",
  ],
  [
    [R, W, ["/w/f/x", "deny"]],
    { "/w/f": "file" },
    `Cannot enforce the entry for "/w/f/x": "/w/f" lies in a writable root and is no directory, remove it or the entry`,
    "the command could make a directory of it",
  ],
  [
    [R, W],
    { "/w": "dir" },
    nested("/w/.agents", "protected", "/w"),
    "nested namespaces beside missing metadata",
    NESTED,
  ],
  [
    [R, ...BARE, ["/w/b", "read"]],
    { "/w/b": "dir" },
    nested("/w/b", "protected", "/w"),
    "nested namespaces beside a carve-out",
    NESTED,
  ],
  [
    [R, ...BARE, ["/w/a/b", "deny"]],
    { "/w/a/b": "dir" },
    nested("/w/a/b", "hidden", "/w"),
    "nested namespaces beside a mask, deep below",
    NESTED,
  ],
  [
    [R, ["/home/u", "write"], ...OPEN_METADATA("/home/u")],
    { "/home/u/x/config.toml": "file" },
    nested("/home/u/x/config.toml", "protected", "/home/u"),
    "nested namespaces beside our own files",
    { ...NESTED, own: ["/home/u/x/config.toml"] },
  ],
];

/** A link at each component of `/w/a/b/c/f`, which the command may write down to the link. */
const COMPONENTS = ["/w/a", "/w/a/b", "/w/a/b/c", "/w/a/b/c/f"];
for (const link of COMPONENTS) {
  const rest = "/w/a/b/c/f".slice(link.length);
  for (
    const [mode, what] of [["deny", "deny-read"], [
      "read",
      "read-only",
    ]] as const
  ) {
    for (const target of ["/out", "/w/in", "../in", "gone"]) {
      test(`"${mode}" on /w/a/b/c/f where ${link} is a link to ${target} is refused by name`, () => {
        const there = target === "/out" ? "/out" : "/w/in";
        const tree = {
          [link]: `-> ${target}`,
          [`${there}${rest}`]: "file",
          "/w/x": "dir",
        };
        const policy = policyOf([R, W, ["/w/a/b/c/f", mode]]);
        const messages = policyErrors(policy, factsOf(tree, policy))
          .map(({ message }) => message);
        expect(messages).toEqual([
          `cannot enforce sandbox ${what} path /w/a/b/c/f because it crosses writable symlink ${link}`,
        ]);
      });
    }
  }
}
for (const link of COMPONENTS) {
  test(`where ${link} is a link that the command can't turn, the target is hidden`, () => {
    const rest = "/w/a/b/c/f".slice(link.length);
    const tree = { [link]: "-> /out", [`/out${rest}`]: "file" };
    const policy = policyOf([R, ["/w/a/b/c/f", "deny"]]);
    const facts = factsOf(tree, policy, { asked: [`/out${rest}`] });
    expect(policyErrors(policy, facts)).toEqual([]);
    for (const path of [`/out${rest}`, "/w/a/b/c/f"]) {
      expect(access(policy, facts, abs(path), { kind: "read" }).errno).toBe(
        "EACCES",
      );
    }
  });
}

/** Every node of the world is on device 1. */
const FOLDING: readonly (readonly [Lines, refused: number, why: string])[] = [
  [[R], 0, "nothing is protected in a read-only tree"],
  [[R, W], 3, "metadata, present or not, has other spellings"],
  [[R, ["/w/s", "deny"]], 1, "a denied file has them"],
  [[R, ["/w/9", "deny"]], 0, "a name without letters has none"],
  [
    [R, W, ["/w/.git", "write"], ["/w/.agents", "write"], [
      "/w/.codex",
      "write",
    ]],
    0,
    "where nothing is protected nothing is refused",
  ],
];

for (const [lines, refused, why] of FOLDING) {
  test(`where names ignore case: ${why}`, () => {
    const policy = policyOf(lines);
    const tree = { "/w/.git": "dir", "/w/s": "file", "/w/9": "file" };
    const facts = factsOf(tree, policy);
    expect(policyErrors(policy, facts)).toEqual([]);
    const folding = { ...facts, foldingDevices: new Set([1]) };
    const errors = policyErrors(policy, folding).map(({ message }) => message);
    expect(errors.filter((it) => it.includes("ignores case")).length).toBe(
      refused,
    );
    const other = { ...facts, foldingDevices: new Set([2]) };
    expect(policyErrors(policy, other)).toEqual([]);
  });
}

for (const [lines, tree, message, why, extra = {}] of REFUSED) {
  test(`refused: ${why}`, () => {
    const policy = policyOf(lines, extra);
    const own = { readOnly: (extra.own ?? []).map(abs), hidden: [] };
    const facts = factsOf(tree, policy, { own });
    expect(policyErrors(policy, facts).map((error) => error.message)).toEqual([
      message,
    ]);
  });
}

const NEST: readonly (readonly [
  lines: Lines,
  tree: Tree,
  why: string,
  tmp?: "private",
])[] = [
  [[R], {}, "nothing can be written"],
  [
    [R, ["/srv", "deny"], ["/srv/pub", "read"]],
    { "/srv/pub/a": "file" },
    "masks below nothing writable stay where they are: EROFS",
  ],
  [[R, ...BARE], { "/w": "dir" }, "a writable root with nothing protected"],
  [
    [R, ["/tmp", "write"]],
    { "/tmp": "sticky" },
    "a /tmp of the run's own has no metadata of the host's",
    "private",
  ],
];
for (const [lines, tree, why, tmp = "shared"] of NEST) {
  test(`nested namespaces are accepted: ${why}`, () => {
    const policy = policyOf(lines, {
      options: { nestedNamespaces: true, tmp },
    });
    expect(policyErrors(policy, factsOf(tree, policy))).toEqual([]);
  });
}

const ACCEPTED: readonly (readonly [Lines, Tree, string, string?])[] = [
  [
    [R, W, ["/w/.git/hooks", "write"]],
    { "/w": "dir" },
    "a write below missing metadata, which stays protected",
  ],
  [
    [R, ["/l", "deny"]],
    { "/l": "-> /y", "/y": "dir" },
    "a link in a read-only place stays what it is",
  ],
  [
    [R, W, ["/w/l", "write"]],
    { "/w/l": "-> a", "/w/a": "dir" },
    "a write through a link within the root gives nothing new",
  ],
  [
    [R, W, ["/w/.git", "write"]],
    { "/w": "dir" },
    "opening missing metadata needs no mount",
  ],
  [
    [R, [":slash_tmp", "write"], [":tmpdir=/tmp/gone", "write"]],
    {},
    "a missing $TMPDIR is passed over",
  ],
  [
    [R, ["/gone", "write"]],
    {},
    "a missing root in a read-only place is passed over",
  ],
  [
    [R, ["/home/dev/.ssh", "deny"]],
    { "/root": "locked" },
    "what nobody can look at in a read-only place is safe",
  ],
  [
    [R, ["/proc", "read"], ["/dev", "read"]],
    {},
    "reading /proc and /dev is what every run has",
  ],
  [
    [R, ["/dev/kvm", "deny"]],
    { "/dev/kvm": "device" },
    "the host's devices are never there",
  ],
  [
    [R, ["/dev/shm", "write"]],
    { "/dev/shm": "dir" },
    "/dev/shm can be the host's",
  ],
  [[R, ["/sys", "deny"]], { "/sys": "dir" }, "/sys can be hidden"],
  [
    [R, ["/home/u/.codex", "deny"]],
    { "/home/u/.codex": "dir" },
    "our own files can be hidden",
    "/home/u/.codex",
  ],
  [
    [R, ["/home/u", "write"]],
    { "/home/u/.codex": "dir" },
    "a write above our own files is carved out",
    "/home/u/.codex",
  ],
];

for (const [lines, tree, why, own] of ACCEPTED) {
  test(`accepted: ${why}`, () => {
    const policy = policyOf(lines);
    const readOnly = own === undefined ? [] : [abs(own)];
    const facts = factsOf(tree, policy, { own: { readOnly, hidden: [] } });
    expect(policyErrors(policy, facts)).toEqual([]);
  });
}

test("a policy that doesn't confine files is never refused", () => {
  const policy = policyOf([["/proc", "write"]]);
  for (const enforcement of ["disabled", "external"] as const) {
    const free = { ...policy, enforcement };
    expect(policyErrors(free, factsOf({}, free))).toEqual([]);
  }
});

test("a covered file with another name is warned of", () => {
  const policy = policyOf([R, W, ["/w/key", "deny"]]);
  const facts = factsOf({ "/w/key": "hard" }, policy);
  expect(policyWarnings(policy, facts)).toEqual([
    'Cannot hide every name of "/w/key": it has 2 hard links, and only this name is covered',
  ]);
});

const ODD:
  readonly (readonly [tree: Tree, lines: readonly string[], why: string])[] = [
    [
      { "/w/.git/config": "hard" },
      ['Cannot protect every name of "/w/.git/config": it has 2 hard links, and only this name is covered'],
      "another name of git's settings",
    ],
    [
      { "/w/.git": "file: gitdir: gd", "/w/gd/config.worktree": "hard" },
      ['Cannot protect every name of "/w/gd/config.worktree": it has 2 hard links, and only this name is covered'],
      "also where a pointer leads",
    ],
    [
      { "/w/.git": "fifo" },
      ['"/w/.git" is a FIFO under a protected name: it stays as it is'],
      "a FIFO under a protected name",
    ],
    [
      { "/w/.codex": "device" },
      ['"/w/.codex" is a device under a protected name: it stays as it is'],
      "a device",
    ],
    [{ "/w/.git/config": "file", "/w/.codex": "dir" }, [], "nothing odd"],
  ];
for (const [tree, lines, why] of ODD) {
  test(`protected metadata is warned of: ${why}`, () => {
    const policy = policyOf([R, W]);
    expect(policyWarnings(policy, factsOf(tree, policy))).toEqual(lines);
  });
}

test("protected metadata that an entry names is warned of as well", () => {
  const policy = policyOf([R, W, ["/w/.git", "read"]]);
  const facts = factsOf({ "/w/.git/config": "hard" }, policy);
  expect(policyWarnings(policy, facts).length).toBe(1);
});

test("a glob's matches with other names are warned of, three by name and the others by number", () => {
  const policy = policyOf([R, W], { globs: ["/w/*.env"] });
  const matches = ["a", "b", "c", "d", "e", "f"].map((name) => ({
    ...matchOf("/w/*.env", `/w/${name}.env`),
    ...(name === "b" ? {} : { linkCount: 3 }),
  }));
  const warned = (count: number): readonly string[] =>
    policyWarnings(
      policy,
      factsOf({}, policy, { matches: matches.slice(0, count) }),
    );
  const line = (name: string): string =>
    `Cannot hide every name of "/w/${name}.env": it has 3 hard links, and only this name is covered`;
  expect(warned(2)).toEqual([line("a")]);
  expect(warned(4)).toEqual([line("a"), line("c"), line("d")]);
  expect(warned(5)).toEqual([
    ...[line("a"), line("c"), line("d")],
    "Cannot hide every name of 1 more match of deny globs: they have hard links",
  ]);
  expect(warned(6).at(-1)).toContain("2 more matches");
});

test("matches of a pattern that nobody denied are our mistake", () => {
  const policy = policyOf([R, W]);
  const facts = factsOf({ "/w/x": "file" }, policy, {
    matches: [],
  });
  const wrong = { ...facts, globMatches: [matchOf("/w/*", "/w/x")] };
  expect(() => policyErrors(policy, wrong)).toThrow("nobody denied");
});
