/**
 * The search for repositories on real directories, with a clock of its own.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { type ByteString, fromText } from "../../src/bytes.ts";
import {
  findRepositories,
  type RepositoryReader,
  SEARCH_LIMITS,
  valuesOf,
} from "../../src/host/repositories.ts";
import {
  foreignPlaces,
  kernelRepositoryReader,
} from "../../src/host/repository_reader.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Makes `paths` (a trailing slash is a directory, `-> ` a link, `: ` a text) and searches the folder that they lie in. */
function search(
  paths: readonly string[],
  { closed = [], limits = {}, reader = {} }: {
    readonly closed?: readonly string[];
    readonly limits?: Partial<typeof SEARCH_LIMITS>;
    readonly reader?: Partial<RepositoryReader>;
  } = {},
): {
  readonly found: readonly string[];
  readonly shut: readonly string[];
  readonly cut: string | null;
} {
  const base = realpathSync(mkdtempSync(`${tmpdir()}/codex-repositories-`));
  folders.push(base);
  for (const spec of paths) {
    const [, path = "", kind, text = ""] = /^(.*?)(?:( -> |: )(.*))?$/s.exec(
      spec,
    )!;
    const at = `${base}/${path}`;
    mkdirSync(path.endsWith("/") ? at : at.slice(0, at.lastIndexOf("/")), {
      recursive: true,
    });
    if (kind === " -> ") symlinkSync(text, at);
    else if (!path.endsWith("/")) writeFileSync(at, text);
  }
  const below = (path: AbsPath): string => path.slice(base.length + 1);
  const still = { ...kernelRepositoryReader(0), now: (): number => 0 };
  const { found, shut, cut } = findRepositories(
    [abs(base)],
    (path) => closed.includes(below(path)),
    { ...still, ...reader },
    { ...SEARCH_LIMITS, ...limits },
  );
  return {
    found: found.map(below),
    shut: shut.map(below),
    cut: cut === null ? null : `${below(cut.at)}: ${cut.why}`,
  };
}

const FINDS: readonly (readonly [
  paths: readonly string[],
  found: readonly string[],
  why: string,
])[] = [
  [["a/.git/HEAD"], ["a"], "a repository"],
  [["a/b/c/d/e/.git/HEAD"], ["a/b/c/d/e"], "a deep one"],
  [["a/.git: gitdir: x"], ["a"], "a worktree or submodule"],
  [["a/.git/"], [], "an empty one is the placeholder of another run"],
  [["a/.git -> nowhere"], ["a"], "a link, whatever it leads to"],
  [["a/.git/HEAD", "a/b/.git/HEAD"], ["a", "a/b"], "one inside another"],
  [[".git/HEAD", "a/"], [], "the root itself is somebody else's matter"],
  [
    ["a/.git/modules/b/.git/HEAD", "a/.git/HEAD"],
    ["a"],
    "what is inside a .git is protected with it",
  ],
  [["l -> a", "a/.git/HEAD"], ["a"], "by its own name, not by a link's"],
  [["a/.GIT/HEAD"], [], "git looks for .git"],
  [["a/git/HEAD", "a/.gitx/HEAD"], [], "nor for these"],
  [["a\nb\t%/.git/HEAD"], ["a\nb\t%"], "whatever it is called"],
];
for (const [paths, found, why] of FINDS) {
  test(`the walk finds ${JSON.stringify(found)} in ${JSON.stringify(paths)}: ${why}`, () => {
    expect(search(paths)).toEqual({ found, shut: [], cut: null });
  });
}

/** With a walk that ends at once: only git's own files tell. */
const NAMED: readonly (readonly [
  paths: readonly string[],
  found: readonly string[],
  why: string,
])[] = [
  [
    [
      '.gitmodules: [submodule "b"]\n\tpath = deep/b\n',
      "deep/b/.git: gitdir: x",
    ],
    ["deep/b"],
    ".gitmodules",
  ],
  [
    ['.gitmodules: [submodule "b"]\n\tpath = "deep/a b"\n', "deep/a b/.git: x"],
    ["deep/a b"],
    "a quoted path",
  ],
  [
    [
      ".git/modules/b/HEAD: x",
      ".git/modules/b/config: [core]\n\tworktree = ../../../deep/b\n",
      "deep/b/.git: gitdir: x",
    ],
    ["deep/b"],
    "a submodule that .gitmodules doesn't name any more",
  ],
  [
    [
      ".git/modules/x/y/HEAD: x",
      ".git/modules/x/y/config: worktree = ../../../../b\n",
      "b/.git: x",
    ],
    ["b"],
    "a submodule with a slash in its name",
  ],
  [
    [
      ".git/modules/b/HEAD: x",
      ".git/modules/b/modules/c/HEAD: x",
      ".git/modules/b/modules/c/config: worktree = ../../../../../b/c\n",
      "b/c/.git: x",
    ],
    ["b/c"],
    "a submodule of a submodule",
  ],
  [
    [".gitmodules: path = l/b\n", "l -> real", "real/b/.git/HEAD"],
    [],
    "a path through a link leads anywhere",
  ],
  [
    [".gitmodules: path = ../../etc\npath = /etc\n"],
    [],
    "a path that leads out",
  ],
  [[".gitmodules: path = b\n", "b/"], [], "one that isn't checked out"],
  [
    [".gitmodules -> m", "m: path = b\n", "b/.git/HEAD"],
    [],
    "a link is not read",
  ],
];
describe("git's own files name", () => {
  for (const [paths, found, why] of NAMED) {
    test(`${JSON.stringify(found)}: ${why}`, () => {
      const names = new Set<string>();
      const kernel = kernelRepositoryReader(0);
      const blind: RepositoryReader["read"] = (directory, visit, enough) => {
        names.add(directory);
        return directory.includes("/.git/")
          ? kernel.read(directory, visit, enough)
          : true;
      };
      expect(search(paths, { reader: { read: blind } }).found).toEqual(found);
      expect(names.size).toBeGreaterThan(0);
    });
  }
});

test("a closed directory is not entered, nor looked for by name", () => {
  const paths = [
    ".gitmodules: path = a/b\n",
    "a/b/.git/HEAD",
    "a/c/.git/HEAD",
    "d/.git/HEAD",
  ];
  expect(search(paths, { closed: ["a"] })).toEqual({
    found: ["d"],
    shut: [],
    cut: null,
  });
});

/** A reader to which the modes of `modes` apply as to an ordinary user; 4 is listing, 1 is entering. */
function readerUnder(
  modes: Readonly<Record<string, number>>,
  strangers: readonly string[],
): Partial<RepositoryReader> {
  const kernel = kernelRepositoryReader(process.geteuid?.() ?? 0);
  const ending = (path: string): string | undefined =>
    Object.keys(modes).find((name) => path.endsWith(`/${name}`));
  const mayEnter = (path: string): boolean => {
    const above = path.slice(0, path.lastIndexOf("/"));
    if (above === "") return true;
    const name = ending(above);
    return mayEnter(above) && (name === undefined || (modes[name]! & 1) !== 0);
  };
  return {
    kindOf: (path) => mayEnter(path) ? kernel.kindOf(path) : "unreadable",
    isOurs: (path) => !strangers.some((name) => path.endsWith(`/${name}`)),
    read: (path, visit, enough) => {
      const name = ending(path);
      const mayList = name === undefined || (modes[name]! & 4) !== 0;
      return mayEnter(path) && mayList && kernel.read(path, visit, enough);
    },
  };
}

const SHUT: readonly (readonly [
  paths: readonly string[],
  modes: Readonly<Record<string, number>>,
  strangers: readonly string[],
  found: readonly string[],
  shut: readonly string[],
  why: string,
])[] = [
  [
    ["a/", "b/.git/HEAD", "c/.git/HEAD"],
    { a: 0 },
    [],
    ["b", "c"],
    ["a"],
    "one shut directory does not end the search",
  ],
  [["a/", "b/.git/HEAD"], { a: 0 }, ["a"], ["b"], [], "a stranger's stays so"],
  [["a/b/.git/HEAD"], { a: 1 }, [], [], ["a"], "entered, not listed"],
  [["a/.git/HEAD"], { a: 1 }, [], ["a"], ["a"], "whose .git has a name"],
  [["a/b/.git/HEAD"], { a: 4 }, [], [], ["a"], "listed, not entered"],
  [["a/.git/HEAD"], { a: 4 }, [], [], ["a"], "with the .git itself in it"],
  [["a/b/c/"], { b: 0 }, [], [], ["a/b"], "a deeper one"],
  [
    [".gitmodules: path = a/b/m\n", "a/b/m/.git: gitdir: x"],
    { a: 0 },
    [],
    [],
    ["a"],
    "the topmost on the way to a submodule",
  ],
];
for (const [paths, modes, strangers, found, shut, why] of SHUT) {
  test(`the search finds ${JSON.stringify(found)} and shut ${JSON.stringify(shut)}: ${why}`, () => {
    const reader = readerUnder(modes, strangers);
    expect(search(paths, { reader })).toEqual({ found, shut, cut: null });
  });
}

test("a shut directory that is named by .gitmodules counts when the walk ends at once", () => {
  const paths = [".gitmodules: path = a/m\n", "a/m/.git: gitdir: x"];
  const limits = { timeMs: -1, leastDirectories: 0, leastEntries: 0 };
  const reader = readerUnder({ a: 0 }, []);
  expect(search(paths, { reader, limits }).shut).toEqual(["a"]);
});

test("a root that can't be listed is no whole search", () => {
  const { cut } = search(["a/.git/HEAD"], { reader: { read: () => false } });
  expect(cut).toBe(": it can't be read");
});

test("where a directory doesn't tell what its names are, each is looked at", () => {
  const { read } = kernelRepositoryReader(0);
  const untold: RepositoryReader["read"] = (directory, visit, enough) =>
    read(
      directory,
      (buffer, start, end) => visit(buffer, start, end, null),
      enough,
    );
  expect(search(["a/b/.git/HEAD"], { reader: { read: untold } }).found)
    .toEqual(["a/b"]);
});

test("what a repository inside names is looked at where the walk does not come to it", () => {
  const paths = [
    "a/.git/HEAD",
    "a/.gitmodules: path = deep/b\n",
    "a/deep/b/.git: gitdir: x",
  ];
  const { read } = kernelRepositoryReader(0);
  const blind: RepositoryReader["read"] = (directory, visit, enough) =>
    directory.includes("/deep") || read(directory, visit, enough);
  expect(search(paths, { reader: { read: blind } }).found)
    .toEqual(["a", "a/deep/b"]);
});

const CUTS: readonly (readonly [
  limits: Partial<typeof SEARCH_LIMITS>,
  cut: RegExp,
  why: string,
])[] = [
  [{ entries: 2 }, /^[a-c]?: more than 2 names$/, "names"],
  [{ repositories: 1 }, /more than 1 repositories$/, "repositories"],
  [
    { timeMs: -1, leastDirectories: 0, leastEntries: 0 },
    /^: more than -1 ms of looking$/,
    "time",
  ],
];
for (const [limits, cut, why] of CUTS) {
  test(`a search is cut by ${why}, and says where`, () => {
    const paths = ["a/.git/HEAD", "b/.git/HEAD", "c/.git/HEAD"];
    expect(search(paths, { limits }).cut).toMatch(cut);
  });
}

test("64 directories are seen however late it is", () => {
  const paths = Array.from({ length: 90 }, (_, at) => `${at}/.git/HEAD`);
  let now = 0;
  const { found, cut } = search(paths, { reader: { now: () => now += 10 } });
  expect(found.length).toBeGreaterThan(25);
  expect(found.length).toBeLessThan(90);
  expect(cut).toMatch(/more than 5 ms of looking$/);
});

test("a huge directory is left when the time is over", () => {
  let visited = 0;
  let now = 0;
  const name = new Uint8Array([0x61]);
  const { cut } = findRepositories([abs("/huge")], () => false, {
    kindOf: () => "missing",
    isOurs: () => true,
    text: () => null,
    now: () => now,
    read: (_, visit, enough) => {
      while (!enough() && visited < 1e6) {
        for (let at = 0; at < 500; at++) visit(name, 0, 1, "file");
        visited += 500;
        now += 1;
      }
      return true;
    },
  });
  expect(cut?.why).toBe("more than 5 ms of looking");
  expect(visited).toBeLessThan(10_000);
});

const VALUES: readonly (readonly [string, readonly string[], string])[] = [
  ["path = a", ["a"], "plain"],
  ["\tPATH=a\r\n", ["a"], "any case, no blanks"],
  ['path = "a b"', ["a b"], "quotes"],
  ['path = "a\\"b\\\\c"', ['a"b\\c'], "escapes"],
  ["path =\nurl = x", [], "nothing"],
  ["xpath = a", [], "another key"],
  [`path${" ".repeat(100_000)}x`, [], "no value, and no quadratic time"],
];
for (const [text, values, why] of VALUES) {
  test(`the values of path in ${JSON.stringify(text.slice(0, 20))}: ${why}`, () => {
    expect(valuesOf(fromText(text), "path")).toEqual(values);
  });
}

test("no text has no values", () => {
  expect(valuesOf(null, "path")).toEqual([]);
  expect(valuesOf("" as ByteString, "path")).toEqual([]);
});

test("a directory that was swapped for a link is not read, and the search is not whole", () => {
  const folder = mkdtempSync(`${tmpdir()}/codex-swapped-`);
  mkdirSync(`${folder}/real/inside`, { recursive: true });
  symlinkSync("real", `${folder}/link`);
  const reader = kernelRepositoryReader(process.geteuid?.() ?? 0);
  const looks = ["real", "link"].map((name) => {
    let entries = 0;
    const isWhole = reader.read(
      abs(`${folder}/${name}`),
      () => void entries++,
      () => false,
    );
    return { isWhole, hasEntries: entries > 0 };
  });
  folders.push(folder);
  expect(looks).toEqual([
    { isWhole: true, hasEntries: true },
    { isWhole: false, hasEntries: false },
  ]);
});

test("the kernel's reader tells what it can't look at from what is not there, and whose a directory is", () => {
  const folder = mkdtempSync(`${tmpdir()}/codex-reader-`);
  folders.push(folder);
  writeFileSync(`${folder}/file`, "");
  const euid = process.geteuid?.() ?? 0;
  const { kindOf, isOurs } = kernelRepositoryReader(euid);
  const kinds = ["file", "none", "file/below", "x".repeat(300)].map((name) =>
    kindOf(abs(`${folder}/${name}`))
  );
  const owners = [
    isOurs(abs(folder)),
    kernelRepositoryReader(euid + 1).isOurs(abs(folder)),
    isOurs(abs(`${folder}/none`)),
  ];
  expect({ kinds, owners }).toEqual({
    kinds: ["file", "missing", "missing", "unreadable"],
    owners: [true, false, false],
  });
});

const MOUNTS: readonly (readonly [string, readonly string[], string])[] = [
  ["22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n", [], "a disk"],
  ["40 22 0:5 / /n rw - nfs4 server:/ rw\n", ["/n"], "another machine's"],
  [
    "40 22 0:5 / /auto rw shared:3 master:1 - autofs systemd-1 rw\n",
    ["/auto"],
    "an automounter, behind optional fields",
  ],
  ["40 22 0:5 / /f rw - fuse.sshfs h:/ rw\n", ["/f"], "a program's"],
  [
    "40 22 0:5 / /a\\040b\\011\\134 rw - 9p x rw\n",
    ["/a b\t\\"],
    "a place with blanks and a backslash",
  ],
  [
    "40 22 0:5 / /n rw - nfs x rw\n41 22 0:6 / /t rw - tmpfs x rw\n42 22 0:7 / /c rw - cifs x rw\n",
    ["/n", "/c"],
    "several",
  ],
  ["40 22 0:5 / /n rw - nfs x rw", [], "half a line"],
  ["", [], "no table"],
];
for (const [table, places, why] of MOUNTS) {
  test(`foreign in ${JSON.stringify(table)} are ${JSON.stringify(places)}: ${why}`, () => {
    expect([...foreignPlaces(table)]).toEqual(places as AbsPath[]);
  });
}
