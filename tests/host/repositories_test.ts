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
  type SearchRoot,
  valuesOf,
} from "../../src/host/repositories.ts";
import { kernelRepositoryReader } from "../../src/host/repository_reader.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Makes `paths` (a trailing slash is a directory, `-> ` a link, `: ` a text) and searches the folder that they lie in. */
function search(
  paths: readonly string[],
  { closed = [], limits = {}, reader = {}, depth = "all" }: {
    readonly closed?: readonly string[];
    readonly limits?: Partial<typeof SEARCH_LIMITS>;
    readonly reader?: Partial<RepositoryReader>;
    readonly depth?: SearchRoot["depth"];
  } = {},
): { readonly found: readonly string[]; readonly cut: string | null } {
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
  const { found, cut } = findRepositories(
    [{ path: abs(base), depth }],
    (path) => closed.includes(below(path)),
    { ...still, ...reader },
    { ...SEARCH_LIMITS, ...limits },
  );
  return {
    found: found.map(below),
    cut: cut === null ? null : `${below(cut.at)}: ${cut.why}`,
  };
}

const FINDS: readonly (readonly [
  paths: readonly string[],
  found: readonly string[],
  why: string,
])[] = [
  [["a/.git/"], ["a"], "a repository"],
  [["a/b/c/d/e/.git/"], ["a/b/c/d/e"], "a deep one"],
  [["a/.git: gitdir: x"], ["a"], "a worktree or submodule"],
  [["a/.git -> nowhere"], ["a"], "a link, whatever it leads to"],
  [["a/.git/", "a/b/.git/"], ["a", "a/b"], "one inside another"],
  [[".git/", "a/"], [], "the root itself is somebody else's matter"],
  [
    ["a/.git/modules/b/.git/"],
    ["a"],
    "what is inside a .git is protected with it",
  ],
  [["l -> a", "a/.git/"], ["a"], "by its own name, not by a link's"],
  [["a/.GIT/"], [], "git looks for .git"],
  [["a/git/", "a/.gitx/"], [], "nor for these"],
  [["a\nb\t%/.git/"], ["a\nb\t%"], "whatever it is called"],
];
for (const [paths, found, why] of FINDS) {
  test(`the walk finds ${JSON.stringify(found)} in ${JSON.stringify(paths)}: ${why}`, () => {
    expect(search(paths)).toEqual({ found, cut: null });
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
    [".gitmodules: path = l/b\n", "l -> real", "real/b/.git/"],
    [],
    "a path through a link leads anywhere",
  ],
  [
    [".gitmodules: path = ../../etc\npath = /etc\n"],
    [],
    "a path that leads out",
  ],
  [[".gitmodules: path = b\n", "b/"], [], "one that isn't checked out"],
  [[".gitmodules -> m", "m: path = b\n", "b/.git/"], [], "a link is not read"],
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
    "a/b/.git/",
    "a/c/.git/",
    "d/.git/",
  ];
  expect(search(paths, { closed: ["a"] })).toEqual({ found: ["d"], cut: null });
});

test("of a temporary folder only the children are looked at", () => {
  expect(search(["a/.git/", "b/c/.git/"], { depth: "children" })).toEqual({
    found: ["a"],
    cut: null,
  });
});

const CUTS: readonly (readonly [
  limits: Partial<typeof SEARCH_LIMITS>,
  cut: RegExp,
  why: string,
])[] = [
  [{ entries: 2 }, /^[a-c]?: more than 2 names$/, "names"],
  [{ repositories: 1 }, /more than 1 repositories$/, "repositories"],
  [{ timeMs: -1 }, /^: more than -1 ms of looking$/, "time"],
];
for (const [limits, cut, why] of CUTS) {
  test(`a search is cut by ${why}, and says where`, () => {
    const paths = ["a/.git/", "b/.git/", "c/.git/"];
    expect(search(paths, { limits }).cut).toMatch(cut);
  });
}

test("a huge directory is left when the time is over", () => {
  let visited = 0;
  let now = 0;
  const kernel = kernelRepositoryReader(0);
  const base = mkdtempSync(`${tmpdir()}/codex-repositories-`);
  folders.push(base);
  for (let at = 0; at < 3_000; at++) writeFileSync(`${base}/${at}`, "");
  const { cut } = findRepositories(
    [{ path: abs(base), depth: "all" }],
    () => false,
    {
      ...kernel,
      now: () => now,
      read: (directory, visit, enough) =>
        kernel.read(directory, (...entry) => {
          visited++;
          now = 6;
          visit(...entry);
        }, enough),
    },
  );
  expect(cut?.why).toBe("more than 5 ms of looking");
  expect(visited).toBeLessThan(2_000);
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
