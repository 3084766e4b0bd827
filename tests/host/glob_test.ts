import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { type ByteString, fromText } from "../../src/bytes.ts";
import { kernelDirectoryReader } from "../../src/host/directory_reader.ts";
import type { GlobMatch } from "../../src/policy/facts.ts";
import {
  type DirectoryReader,
  findMatches,
  WALK_LIMITS,
} from "../../src/host/glob.ts";
import { type Wanted, wantedBy } from "../../src/host/glob_searches.ts";
import { compileGlob } from "../../src/policy/glob.ts";
import { abs } from "../../src/policy/path.ts";
import { ok } from "../../src/result.ts";
import { factsOf, policyOf } from "../policy/world.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(`${tmpdir()}/glob-`);
  for (
    const directory of ["a/b", ".hidden", "node_modules/x", "secrets", "o"]
  ) {
    mkdirSync(`${root}/${directory}`, { recursive: true });
  }
  const files = [
    "top.env",
    "a/one.env",
    "a/b/two.env",
    "a/b/two.txt",
    ".hidden/h.env",
    "node_modules/x/n.env",
    "secrets/key",
    "o/real",
    "dir.env",
  ];
  writeFileSync(`${root}/.gitignore`, "*.env\n");
  for (const file of files) {
    if (file === "dir.env") {
      mkdirSync(`${root}/dir.env/inner.env`, { recursive: true });
    } else writeFileSync(`${root}/${file}`, "");
  }
  symlinkSync("o/real", `${root}/link.env`);
  linkSync(`${root}/secrets/key`, `${root}/secrets/second`);
  symlinkSync("secrets/key", `${root}/way-to-key`);
  symlinkSync("gone", `${root}/dangling.env`);
  symlinkSync("/dev/null", `${root}/null.env`);
  symlinkSync("a", `${root}/way`);
  writeFileSync(Buffer.from(`${root}/\xff\x80.env`, "latin1"), "");
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function wanted(pattern: string, inside = root): Wanted {
  const glob = compileGlob(fromText(`${inside}/${pattern}`));
  if (!glob.ok) throw new Error(glob.error);
  const { prefix } = glob.value;
  const origin = { file: null, key: pattern };
  const deny = { pattern: glob.value.pattern, prefix, origin };
  return { deny, glob: glob.value, prefix };
}

function find(
  patterns: readonly string[],
  maxDepth: number | null = null,
): string[] {
  const reader = kernelDirectoryReader(process.geteuid?.() ?? 0);
  const found = findMatches(patterns.map((it) => wanted(it)), maxDepth, reader);
  if (!found.ok) throw new Error(found.error.message);
  return found.value.map(shown);
}

function shown({ path, kind, via, linkCount }: GlobMatch): string {
  const short = path.slice(root.length + 1);
  const mark = kind === "directory" ? "/" : "";
  const names = linkCount === undefined ? "" : ` (${linkCount} names)`;
  return `${short}${mark}${via === undefined ? "" : " via a link"}${names}`;
}

const FOUND = [ // patterns, depth, matches, why
  [["**/*.env"], null, [
    ".hidden/h.env",
    "a/b/two.env",
    "a/one.env",
    "dir.env/",
    "node_modules/x/n.env",
    "o/real via a link",
    "top.env",
    "\xff\x80.env",
  ], "hidden, ignored, odd names; links by target; directories whole"],
  [["*.env"], null, [
    "dir.env/",
    "o/real via a link",
    "top.env",
    "\xff\x80.env",
  ], "one level"],
  [["**/*.env"], 1, [
    "dir.env/",
    "o/real via a link",
    "top.env",
    "\xff\x80.env",
  ], "depth 1 is the direct children"],
  [["**/two*"], 2, [], "depth 2 ends above"],
  [["**/two*"], 3, ["a/b/two.env", "a/b/two.txt"], "depth 3 reaches them"],
  [["sec*"], null, ["secrets/"], "a directory is hidden whole"],
  [
    ["secrets/**"],
    null,
    ["secrets/key (2 names)", "secrets/second (2 names)"],
    "everything in a directory, not itself; a file's other names are counted",
  ],
  [
    ["way-to*"],
    null,
    ["secrets/key via a link (2 names)"],
    "those of a link's target too",
  ],
  [["way/*"], null, [], "links to directories are not walked"],
  [["wa?"], null, ["a/ via a link"], "but hidden when they match"],
  [["a/*.env", "**/*.txt", "a/b/*"], null, [
    "a/b/two.env",
    "a/b/two.txt",
    "a/one.env",
  ], "several patterns, prefixes inside prefixes"],
  [["gone/*"], null, [], "a missing prefix has no matches"],
  [["top.env/*"], null, [], "nor has a file"],
  [["{a,o}/*"], null, ["a/b/", "a/one.env", "o/real"], "alternatives"],
  [["a/*.env"], 1, ["a/one.env"], "depth counts from the pattern's own prefix"],
  [
    ["a/b/*.env", "o/rea?"],
    null,
    ["a/b/two.env", "o/real"],
    "a prefix that is less deep is no way to another's",
  ],
] as const;

for (const [patterns, depth, expected, why] of FOUND) {
  test(`${patterns.join(" ")} to depth ${depth ?? "any"}: ${why}`, () => {
    expect(find(patterns, depth)).toEqual([...expected]);
  });
}

/** A tree in memory: names end with `/` for directories, `!` for those that can't be opened. */
function memoryReader(
  children: (path: string) => readonly string[],
  extra: Partial<DirectoryReader> = {},
): DirectoryReader & { readonly opened: string[] } {
  const opened: string[] = [];
  let clock = 0;
  return {
    opened,
    open: (parent, name) => {
      if (name.endsWith("!")) return { ok: false, error: 13 };
      const base = parent === null ? "" : `${opened[parent]}/`;
      return ok(opened.push(`${base}${name}`) - 1);
    },
    read: (directory, visit, enough) => {
      let entries = 0;
      for (const entry of children(opened[directory] ?? "")) {
        if (enough(entries++)) return 0;
        const name = entry.replace(/\/$/, "");
        const bytes = Buffer.from(name, "latin1");
        const kind = entry.endsWith("/") ? "directory" : "file";
        visit(bytes, 0, bytes.length, kind);
      }
      enough(entries);
      return 0;
    },
    close: () => {},
    kindOf: () => "file",
    linkCountOf: () => 1,
    isOwn: () => true,
    resolve: () => null,
    now: () => clock++,
    ...extra,
  };
}

function errorOf(
  reader: DirectoryReader,
  limits = WALK_LIMITS,
  prefixes: readonly string[] = ["/w"],
): string {
  const patterns = prefixes.map((prefix) => wanted("**/*.env", prefix));
  const found = findMatches(patterns, null, reader, limits);
  return found.ok ? "" : found.error.message;
}

test("subtrees that can't match are not opened", () => {
  const reader = memoryReader((path) =>
    path === "/w" ? ["a/", "b/", "c/"] : path === "/w/a" ? ["d/", "x"] : []
  );
  findMatches([wanted("a/*/x*", "/w")], null, reader);
  expect(reader.opened).toEqual(["/w/a", "/w/a/d"]);
});

const LIMITED = [ // children, limits, part of the message, why
  [
    ["a", "b", "c"],
    { entries: 2 },
    'more than 2 entries by "/w", set glob_scan_max_depth',
    "entries",
  ],
  [["a.env", "b.env"], { matches: 1 }, "more than 1 matches", "matches"],
  [["a/"], { timeMs: 0 }, "more than 0 ms", "time"],
  [["a/"], {}, "lies 500 levels deep", "levels"],
  [
    ["locked!/"],
    {},
    `directory "/w/locked!" can't be opened (its mode forbids it)`,
    "a directory of one's own that is closed",
  ],
] as const;

for (const [children, limits, part, why] of LIMITED) {
  test(`a walk is refused, not cut short: ${why}`, () => {
    const reader = memoryReader(() => children);
    expect(errorOf(reader, { ...WALK_LIMITS, ...limits })).toContain(part);
  });
}

test("a directory that holds more than is allowed isn't read to its end", () => {
  let visited = 0;
  const reader = memoryReader(() => [], {
    read: (_, visit, enough) => {
      for (; visited < 1_000 && !enough(visited); visited++) {
        visit(Buffer.from("a"), 0, 1, "file");
      }
      return 0;
    },
  });
  const limits = { ...WALK_LIMITS, entries: 10, timeMs: 100_000 };
  expect(errorOf(reader, limits)).toContain('more than 10 entries by "/w"');
  expect(visited).toBe(11);
});

test("the limits are those of all walks together", () => {
  const reader = memoryReader(() => ["a", "b"]);
  const limits = { ...WALK_LIMITS, entries: 3 };
  expect(errorOf(reader, limits, ["/v", "/w"]))
    .toContain('more than 3 entries by "/w"');
});

test("a walk that is given up looks into no further directory", () => {
  const reader = memoryReader((path) =>
    path === "/w" ? ["a/", "b/", "c/"] : ["x"]
  );
  errorOf(reader, { ...WALK_LIMITS, entries: 3 });
  expect(reader.opened).toEqual(["/w", "/w/a"]);
});

test("every directory that was opened is closed", () => {
  const closed: number[] = [];
  const reader = memoryReader(
    (path) => path === "/w" ? ["a/", "b/"] : path === "/w/a" ? ["c/"] : [],
    { close: (directory) => void closed.push(directory) },
  );
  errorOf(reader);
  expect(closed.length).toBe(reader.opened.length);
});

test("a pattern whose own directory is closed by its mode is refused", () => {
  const reader = memoryReader(() => []);
  expect(errorOf(reader, WALK_LIMITS, ["/w!"])).toContain(
    `directory "/w!" can't be opened (its mode forbids it)`,
  );
});

test("somebody else's directory that can't be opened for another reason than its mode is refused", () => {
  const EMFILE = 24;
  const reader = memoryReader(() => ["x/"], {
    isOwn: () => false,
    open: (parent) => parent === null ? ok(0) : { ok: false, error: EMFILE },
  });
  expect(errorOf(reader)).toContain(`x" can't be opened (EMFILE: `);
});

test("somebody else's closed directory is passed over", () => {
  const children = (path: string): string[] => path === "/w" ? ["x!/"] : [];
  expect(errorOf(memoryReader(children, { isOwn: () => false }))).toBe("");
});

test("a directory that can't be read to its end is refused", () => {
  expect(errorOf(memoryReader(() => [], { read: () => 5 }))).toContain(
    `"/w" can't be read (EIO: input/output error)`,
  );
});

test("a link to what holds the pattern is refused, not hidden", () => {
  const reader = memoryReader(() => [], {
    read: (_, visit) => {
      visit(Buffer.from("a.env"), 0, 5, "symlink");
      return 0;
    },
    resolve: () => ({ path: abs("/"), kind: "directory" }),
  });
  expect(errorOf(reader)).toContain(
    `"/w/a.env" matches and is a link to "/", which holds the pattern's own directory`,
  );
});

test("an entry whose kind the directory doesn't tell is asked for", () => {
  const reader = memoryReader(() => [], {
    read: (_, visit) => {
      visit(Buffer.from("a.env"), 0, 5, null);
      return 0;
    },
    kindOf: () => "fifo",
  });
  const found = findMatches([wanted("*.env", "/w")], null, reader);
  const pattern = fromText("/w/*.env") as ByteString;
  expect(found).toEqual(
    ok([{ path: abs("/w/a.env"), kind: "fifo", pattern }]),
  );
});

test("a directory that was swapped for a link is not entered", () => {
  const reader = kernelDirectoryReader(process.geteuid?.() ?? 0);
  // "way" is a link to "a".
  const opened = ["a", "way"].map((name) => {
    const fd = reader.open(null, abs(`${root}/${name}`));
    if (fd.ok) reader.close(fd.value);
    return fd.ok;
  });
  expect(opened).toEqual([true, false]);
});

test("the kernel's reader tells what lies in a directory, whose it is, and what can't be read", () => {
  const euid = process.geteuid?.() ?? 0;
  const reader = kernelDirectoryReader(euid);
  const directory = openSync(root, "r");
  const file = openSync(`${root}/top.env`, "r");
  const kinds = ["a", "top.env", "link.env", "gone"].map((name) =>
    reader.kindOf(directory, fromText(name))
  );
  const own = ["a", "gone"].map((name) => [
    reader.isOwn(directory, fromText(name)),
    kernelDirectoryReader(euid + 1).isOwn(directory, fromText(name)),
  ]);
  const errno = reader.read(file, () => {}, () => false, null);
  closeSync(directory);
  closeSync(file);
  expect({ kinds, own, errno }).toEqual({
    kinds: ["directory", "file", "symlink", "missing"],
    own: [[true, false], [true, true]], // what can't be told may be anybody's
    errno: 20, // ENOTDIR
  });
});

const LOOKED_FOR = [ // prefix, whether, why
  ["/dev/shm/x", true, "it can be the host's, where a grant says so"],
  ["/dev/x", false, "made afresh in the sandbox"],
  ["/w/x", true, "the host's"],
] as const;
for (const [prefix, isLookedFor, why] of LOOKED_FOR) {
  test(`patterns below ${prefix} are ${isLookedFor ? "" : "not "}looked for: ${why}`, () => {
    const policy = policyOf([[":root", "read"]], {
      globs: [`${prefix}/*.env`],
    });
    const facts = factsOf({ [prefix]: "dir" }, policy);
    expect(wantedBy(policy, facts).length).toBe(isLookedFor ? 1 : 0);
  });
}
