/**
 * Live: what a build of a copied tree gives, beside the build of this tree in `build/`.
 *
 * @module
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import {
  applyEdit,
  SOURCE_EDITS,
  type SourceEdit,
} from "../../scripts/bwrap_edits.ts";
import {
  type BwrapChoice,
  bwrapRefusal,
  readBuiltBwrap,
  readBwrapSource,
} from "../../scripts/build_bwrap.ts";
import { outDir, repositoryRoot } from "../../scripts/build_files.ts";
import { TEST_PROGRAMS } from "../../scripts/setup.mjs";

const COPIED = [
  "entry.ts",
  "main.ts",
  "src",
  "scripts",
  "vendor",
  "package.json",
  "package-lock.json",
  "deno.json",
];

/** The source that this tree's build has kept; not there when it was given a finished bubblewrap. */
const TARBALL = join(outDir, `bubblewrap-${readBwrapSource().version}.tar.xz`);

let folder = "";
let copy = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "codex-build-"));
  chmodSync(folder, 0o755); // set-up is also run as another user
  copy = join(folder, "a tree with spaces");
  mkdirSync(copy);
  for (const name of COPIED) {
    cpSync(join(repositoryRoot, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(repositoryRoot, "node_modules"), join(copy, "node_modules"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test(
  "several builds of a copied tree at once give the bytes of this tree's build, and leave only outputs",
  async () => {
    const ends = await Promise.all([1, 2, 3].map(() => build(copy)));
    expect(ends.map(({ status }) => status)).toEqual([0, 0, 0]);
    const compiled = ends.filter(({ stderr }) =>
      stderr.includes("compiling codex")
    );
    expect(compiled.length).toBe(1);

    const ours = readFileSync(join(outDir, "codex"));
    const theirs = readFileSync(join(copy, "build/codex"));
    expect(theirs.equals(ours)).toBe(true);
    expect(readlinkSync(join(copy, "build/codex-linux-sandbox"))).toBe("codex");
    expect(
      readdirSync(join(copy, "build")).filter((name) => !name.startsWith("."))
        .sort(),
    ).toEqual([
      ...(existsSync(TARBALL) ? [basename(TARBALL)] : []), // a given source is kept
      "bwrap",
      "bwrap.json",
      "codex",
      "codex-linux-sandbox",
      "codex.json",
      "runtime",
      "runtime.json",
    ]);
  },
  120_000,
);

test(
  "a second build does nothing, a touched file neither, a changed file builds",
  async () => {
    expect((await build(copy)).stderr).not.toContain("compiling");
    utimesSync(join(copy, "main.ts"), new Date(0), new Date(0));
    expect((await build(copy)).stderr).not.toContain("compiling");
    writeFileSync(
      join(copy, "src/build_info.ts"),
      `${readFileSync(join(copy, "src/build_info.ts"), "utf8")}// changed\n`,
    );
    expect((await build(copy)).stderr).toContain("compiling codex");
  },
  120_000,
);

test("a bundled bwrap that was tampered with is built anew", async () => {
  const file = join(copy, "build/bwrap");
  const good = readFileSync(file);
  writeFileSync(file, "#!/bin/sh\n");
  expect((await build(copy)).status).toBe(0);
  expect(readFileSync(file).equals(good)).toBe(true);
}, 120_000);

test("the version and the digest of the bundled bwrap are baked in", () => {
  const record = JSON.parse(readFileSync(join(outDir, "bwrap.json"), "utf8"));
  const digest = new Bun.CryptoHasher("sha256").update(
    readFileSync(join(outDir, "bwrap")),
  ).digest("hex");
  const said = Bun.spawnSync([join(outDir, "codex"), "--version"], { env: {} })
    .stdout.toString();
  const { version } = JSON.parse(
    readFileSync(join(repositoryRoot, "package.json"), "utf8"),
  );
  expect(record.sha256).toBe(digest);
  expect(said).toContain(version);
  expect(said).toContain(record.version);
  expect(said).toContain(digest);
});

const REFUSED: readonly (readonly [Record<string, string>, string, string])[] =
  [ // environment, message, why
    [
      { BWRAP_BINARY: "/nowhere/bwrap" },
      `Cannot read BWRAP_BINARY "/nowhere/bwrap": there is no such file`,
      "no file",
    ],
    [
      { BWRAP_BINARY: "/etc" },
      `Cannot read BWRAP_BINARY "/etc": it is no regular file`,
      "a folder",
    ],
    [
      { BWRAP_TARBALL: "/dev/zero" },
      `Cannot read BWRAP_TARBALL "/dev/zero": it is no regular file`,
      "a device",
    ],
    [
      { BWRAP_BINARY: "/bin/sh" },
      "it is linked dynamically, must be static",
      "not static",
    ],
    [
      { BWRAP_BINARY: "/etc/passwd" },
      "it is not a 64-bit ELF file",
      "no executable",
    ],
    [
      { BWRAP_TARBALL: "/nowhere/t.tar.xz" },
      `Cannot read BWRAP_TARBALL "/nowhere/t.tar.xz": there is no such file`,
      "no file",
    ],
    [
      { BWRAP_TARBALL: "/etc/passwd" },
      `Cannot use BWRAP_TARBALL "/etc/passwd": its SHA-256 is`,
      "another source",
    ],
  ];
for (const [environment, message, why] of REFUSED) {
  test(`${Object.keys(environment)} is refused with 125 in one line: ${why}`, async () => {
    const out = join(folder, `out-${why}-${Object.keys(environment)}`);
    const { status, stderr } = await build(copy, {
      ...environment,
      CODEX_BUILD_DIR: out,
    });
    expect(status).toBe(125);
    expect(stderr.trim().split("\n").length).toBe(1);
    expect(stderr).toContain(message);
    expect(existsSync(join(out, "codex"))).toBe(false);
  });
}

test("the built bwrap is static and of the locked version", () => {
  expect(bwrapRefusal(join(outDir, "bwrap"), readBwrapSource().version))
    .toBeNull();
  expect(bwrapRefusal(join(outDir, "bwrap"), "9.9")).toContain(
    `must be "bubblewrap 9.9"`,
  );
});

test("a bubblewrap that was given once is kept without the variable, until another is asked for", () => {
  const out = join(folder, "given-once");
  mkdirSync(out);
  writeFileSync(join(out, "bwrap"), "given");
  const built = {
    key: "of the given file",
    version: readBwrapSource().version,
    sha256: createHash("sha256").update("given").digest("hex"),
    origin: "BWRAP_BINARY 0123456789ab",
  };
  const read = (
    change: Partial<typeof built>,
    choice: Partial<BwrapChoice> = {},
  ): unknown => {
    writeFileSync(
      join(out, "bwrap.json"),
      JSON.stringify({ ...built, ...change }),
    );
    return readBuiltBwrap(out, { binary: null, tarball: null, ...choice });
  };
  expect({
    given: read({}),
    "of another version": read({ version: "0.11.0" }),
    "not the recorded bytes": read({ sha256: "0".repeat(64) }),
    "compiled from other sources": read({ origin: "built" }),
    "beside a tarball": read({}, { tarball: "t.tar.xz" }),
    "beside another file": read({}, { binary: "/etc/passwd" }),
  }).toEqual({
    given: built,
    "of another version": null,
    "not the recorded bytes": null,
    "compiled from other sources": null,
    "beside a tarball": null,
    "beside another file": null,
  });
});

const EDIT: SourceEdit = {
  name: "01-example",
  file: "x.c",
  why: "a test",
  find: "old()",
  replace: "$& new()",
};
test("an edit replaces its pattern by our text as it is written", () => {
  expect(applyEdit("a; old(); b;", EDIT)).toEqual({
    ok: true,
    value: "a; $& new(); b;",
  });
});
for (const [text, count] of [["a; b;", 0], ["old(); old();", 2]] as const) {
  test(`an edit whose pattern occurs ${count} times fails the build`, () => {
    expect(applyEdit(text, EDIT)).toEqual({
      ok: false,
      error:
        `Cannot apply edit "01-example" to "x.c": its pattern occurs ${count} times, must be 1`,
    });
  });
}

test("another edit is another bubblewrap: a finished build is not taken for it", () => {
  const key = (): string => {
    const done = Bun.spawnSync([
      process.execPath,
      "-e",
      `import { bwrapKey } from ${
        JSON.stringify(join(copy, "scripts/build_bwrap.ts"))
      }; console.log(bwrapKey({ binary: null, tarball: null }));`,
    ]);
    expect(done.stderr.toString()).toBe("");
    return done.stdout.toString().trim();
  };
  const edits = join(copy, "scripts/bwrap_edits.ts");
  const text = readFileSync(edits, "utf8");
  const before = key();
  expect(before).toMatch(/^[0-9a-f]{64}$/);
  writeFileSync(edits, text.replace("MAX_ARGS = 1000000", "MAX_ARGS = 999999"));
  const after = key();
  writeFileSync(edits, text);
  expect(after).not.toBe(before);
  expect(key()).toBe(before);
});

test("the edits are numbered in the order of their application, and each says why", () => {
  expect(SOURCE_EDITS.length).toBeGreaterThan(0);
  SOURCE_EDITS.forEach(({ name, why }, index) => {
    expect(name.slice(0, 3)).toBe(`${String(index + 1).padStart(2, "0")}-`);
    expect(why.length).toBeGreaterThan(20);
  });
});

test("set-up touches nothing and takes little time when all is there", () => {
  const done = Bun.spawnSync([
    "node",
    join(repositoryRoot, "scripts/setup.mjs"),
    "--tests",
  ], { stdin: "ignore" });
  expect({ status: done.exitCode, stderr: done.stderr.toString() }).toEqual({
    status: 0,
    stderr: "",
  });
  // Of its own and of what it starts, whatever else the machine does; 70 ms on a quiet one.
  expect(Number(done.resourceUsage.cpuTime.total) / 1_000).toBeLessThan(1_500);
});

test("set-up without apt-get names what is missing and ends with 125", () => {
  const out = join(folder, "no-apt");
  const { status, stderr } = setupWithPrograms(out, ["node"]);
  expect(status).toBe(125);
  expect(stderr).toMatch(
    /^setup: Missing: gcc, .*tar, xz\. This is not Debian: install them .*BWRAP_BINARY=FILE.*\n$/,
  );
});

test("set-up of a user who is not root names the command to run and ends with 125", () => {
  const { status, stderr } = setupWithPrograms(join(folder, "no-root"), [
    "node",
    "apt-get",
  ], 65_534);
  expect(status).toBe(125);
  expect(stderr).toMatch(
    /^setup: Missing: gcc, .* Run: sudo apt-get update && sudo apt-get install -y .*gcc.*\n$/,
  );
});

test("with BWRAP_BINARY set-up asks for no compiler", () => {
  const { status, stderr } = setupWithPrograms(
    join(folder, "given"),
    ["node"],
    undefined,
    {
      BWRAP_BINARY: join(outDir, "bwrap"),
    },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test("set-up for the tests names what is missing once, and offers no BWRAP_BINARY where that would not be enough", () => {
  const { status, stderr } = setupWithPrograms(
    join(folder, "no-test-programs"),
    ["node"],
    undefined,
    {},
    ["--tests"],
  );
  expect(status).toBe(125);
  const [, list = ""] = /^setup: Missing: ([^.]*)\. /.exec(
    stderr.replace("libc.a", "libc_a"),
  ) ?? [];
  const named = list.split(", ");
  expect(named).toContain("gcc");
  expect(named).toContain("make");
  expect(named).toEqual([...new Set(named)]);
  expect(stderr).not.toContain("BWRAP_BINARY");
});

/** What every Debian has, and what a test makes itself or does without. */
const NOT_INSTALLED = new Set([
  ..."bash dash echo env flock mv pwd sh sleep touch true".split(" "), // Essential: yes
  ..."bwrap.real codex x".split(" "), // made or made up
  "node", // what the README asks for
  "sshd", // used where it is; dropbear otherwise
]);

test("every program that a test starts by its path, or looks for, is one that set-up installs", () => {
  const installed = new Set(TEST_PROGRAMS.map(([name]) => String(name)));
  const started = [...new Bun.Glob("tests/**/*.{ts,py}").scanSync({
    cwd: repositoryRoot,
  })].flatMap((file) =>
    [
      ...readFileSync(join(repositoryRoot, file), "utf8").matchAll(
        /(?:["'`](?:\/usr)?\/s?bin\/|Bun\.which\(")([a-z0-9][a-z0-9.-]*)["'`]/g,
      ),
    ].map(([, name]) => name!)
  );
  expect(started).toContain("setcap");
  expect(
    [...new Set(started)].filter((name) =>
      !installed.has(name) && !NOT_INSTALLED.has(name)
    ),
  ).toEqual([]);
});

/** Runs set-up where PATH holds only these programs. */
function setupWithPrograms(
  out: string,
  programs: readonly string[],
  uid?: number,
  environment: Record<string, string> = {},
  flags: readonly string[] = [],
): { status: number; stderr: string } {
  const path = `${out}-path`;
  mkdirSync(path);
  for (const name of programs) symlinkSync(Bun.which(name)!, join(path, name));
  const as = uid === undefined || process.getuid!() !== 0
    ? []
    : [Bun.which("setpriv")!, `--reuid=${uid}`, "--clear-groups"];
  const done = Bun.spawnSync(
    [...as, Bun.which("node")!, readableSetup(), ...flags],
    {
      env: { PATH: path, CODEX_BUILD_DIR: out, ...environment },
      stdin: "ignore",
    },
  );
  return { status: done.exitCode, stderr: done.stderr.toString() };
}

/** A copy of set-up in a folder that every user may read. */
function readableSetup(): string {
  const place = join(folder, "setup");
  const file = join(place, "scripts/setup.mjs");
  if (existsSync(file)) return file;
  mkdirSync(join(place, "scripts"), { recursive: true, mode: 0o755 });
  copyFileSync(join(repositoryRoot, "scripts/setup.mjs"), file);
  writeFileSync(join(place, "package-lock.json"), `{"packages":{}}`);
  return file;
}

/** One build of a tree, with the finished bwrap of this tree, in an otherwise plain environment. */
async function build(
  tree: string,
  environment: Record<string, string> = {},
): Promise<{ status: number; stderr: string }> {
  const out = environment["CODEX_BUILD_DIR"] ?? join(tree, "build");
  mkdirSync(out, { recursive: true });
  const given = existsSync(TARBALL)
    ? { BWRAP_TARBALL: TARBALL }
    : { BWRAP_BINARY: join(outDir, "bwrap") };
  const child = Bun.spawn([process.execPath, join(tree, "scripts/build.ts")], {
    env: {
      PATH: process.env["PATH"] ?? "",
      ...("BWRAP_BINARY" in environment || "BWRAP_TARBALL" in environment
        ? {}
        : given),
      ...environment,
    },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const stderr = await new Response(child.stderr).text();
  return { status: await child.exited, stderr };
}
