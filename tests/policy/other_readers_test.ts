/**
 * What another reader makes of it: globs as the runtime's own matcher reads them, and git's pointers as git reads them.
 *
 * @module
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import {
  gitdirTargets,
  goesUpBehindName,
} from "../../src/policy/git_pointers.ts";
import { compileGlob } from "../../src/policy/glob.ts";
import { matchesPath } from "./matches_path.ts";
import { abs } from "../../src/policy/path.ts";
import { fuzz, FUZZ_TIMEOUT_MS } from "../fuzzing.ts";

const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1");

const piece = fc.constantFrom(
  ..."a b . x.env * ? [ab] [a-c] {a,b} {a,b/c} \\* \\[ - _".split(
    " ",
  ),
);
const component = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.array(piece, { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join("")),
  },
  { weight: 1, arbitrary: fc.constant("**") },
);
const glob = fc.array(component, { minLength: 1, maxLength: 4 })
  .map((parts) => `/w/${parts.join("/")}`);

/** What both know and mean alike: whole components `**`, classes of letters, alternatives with something in each. */
const COMMON =
  /^\/w(?:\/(?:\*\*|(?:[a-z._-]|\?|\*(?!\*)|\[[a-z](?:-[a-z])?[a-z]?\]|\{[a-z/]+(?:,[a-z/]+)*\}|\\[*[])+))+$/;

test("a glob matches what the runtime's matcher matches", () => {
  const names = ["a", "b", "c", "x", ".", "-", "*", "["];
  let hits = 0;
  const tried = fuzz({
    room: "glob",
    seed: 41,
    runs: 5_000,
    tokens: ["*", "?", "[a]", "{a,b}", "/", "**/", "/**", "\\*"].map(bytesOf),
    grammar: glob.map(bytesOf),
    maxBytes: 200,
  }, (bytes, random) => {
    const text = bytes.toString("latin1");
    // A negated class of theirs takes a slash as well. Dots alone, slashes at the end of an alternative and stars that meet are read otherwise, or refused.
    if (!COMMON.test(text) || /\*\*[^/]|[^/]\*\*|\/\.+(?:\/|$)/.test(text)) {
      return;
    }
    if (/[{,]\/|\/[,}]|\*\*\/\*\*|\*\*[,}]|[a-z*]\/\*\*\}/.test(text)) return;
    const [low, high] = /\[([a-z])-([a-z])/.exec(text)?.slice(1) ?? [];
    if (low !== undefined && low > high!) return;
    const ours = compileGlob(text as ByteString);
    if (!ours.ok) return;
    const theirs = new Bun.Glob(text);
    for (let i = 0; i < 8; i++) {
      // Half of the paths are made from the pattern, so that something matches.
      const path = i % 2 === 0
        ? `/w/${
          Array.from({ length: 1 + random(3) }, () =>
            Array.from(
              { length: 1 + random(2) },
              () => names[random(names.length)],
            ).join("")).join("/")
        }`
        : text.replace(/\*\*/g, () => ["a", "b/a"][random(2)]!)
          .replace(/\{([^,}]*)(?:,[^}]*)?\}/g, "$1")
          .replace(/\[!?([a-z])[^\]]*\]|\\(.)/g, "$1$2")
          .replace(/[*?]/g, () => names[random(4)]!);
      if (/\/\.*(?:\/|$)/.test(path)) continue;
      const expected = theirs.match(path);
      if (expected) hits++;
      if (matchesPath(ours.value, abs(path)) !== expected) {
        throw new Error(`${text} on ${path}: they say ${expected}`);
      }
    }
  });
  expect(hits).toBeGreaterThan(tried / 4);
}, FUZZ_TIMEOUT_MS);

/** Directories that pointers may lead to; all of them are git directories for git. */
const GIT_DIRECTORIES = ["g", "g ", " g", "d/g", "g\t", "é", "G:", "gitdir: g"];
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "codex-gitdir-"));
  mkdirSync(join(folder, "w"));
  for (const name of GIT_DIRECTORIES) {
    const directory = join(folder, "w", name);
    mkdirSync(join(directory, "objects"), { recursive: true });
    mkdirSync(join(directory, "refs"));
    writeFileSync(join(directory, "HEAD"), "ref: refs/heads/main\n");
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pointer = fc.tuple(
  fc.constantFrom("gitdir: ", "gitdir: ", "gitdir:", "gitdir:  ", " gitdir: "),
  fc.constantFrom("", "./", "././", "d/../", "//", "../w/"),
  fc.constantFrom(...GIT_DIRECTORIES, "none"),
  fc.constantFrom("", "/", " ", "\t", "\0", "\0x", "/."),
  fc.constantFrom("\n", "", "\r\n", "\n\n", "\nx\n", "\r", " \n"),
).map((parts) => Buffer.from(parts.join("")));

test(
  "the directory that git takes a pointer to name is one of those that are protected, or the pointer is refused",
  () => {
    const place = join(folder, "w");
    const env = {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      HOME: folder,
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CEILING_DIRECTORIES: folder,
      LC_ALL: "C",
    };
    let followed = 0;
    const tried = fuzz({
      room: "gitdir",
      seed: 42,
      runs: 150, // each starts git
      tokens: ["gitdir:", " ", "\n", "\0", "../", "/", "\r", "\xa0"].map(
        bytesOf,
      ),
      grammar: pointer,
      maxBytes: 300,
    }, (bytes) => {
      writeFileSync(join(place, ".git"), bytes);
      const git = Bun.spawnSync(["git", "rev-parse", "--absolute-git-dir"], {
        cwd: place,
        env,
        stdin: "ignore",
      });
      if (git.exitCode !== 0) return;
      followed++;
      const theirs = git.stdout.toString("latin1").replace(/\n$/, "");
      const text = bytes.toString("latin1") as ByteString;
      if (goesUpBehindName(text)) return;
      const ours = gitdirTargets(text, abs(place));
      if (!ours.includes(abs(theirs))) {
        throw new Error(`git goes to ${theirs}, we protect ${ours.join(", ")}`);
      }
    });
    expect(followed).toBeGreaterThan(tried / 10);
  },
  FUZZ_TIMEOUT_MS,
);
