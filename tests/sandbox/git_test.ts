/**
 * What git itself makes: worktrees and submodules. Their hooks and settings stay as they are, and git still works in them.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import {
  EVERY_VARIANT,
  isThere,
  leaveClean,
  matrix,
  notProved,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

const HAS_GIT = existsSync("/usr/bin/git");
if (!HAS_GIT) notProved("worktrees and submodules", "git is not installed");
const COLUMNS = HAS_GIT
  ? EVERY_VARIANT.filter(({ stage }) => stage === "one-start")
  : [];

const IDENTITY = {
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@example.com",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@example.com",
};

async function made({ outside, work }: Subject, line: string): Promise<void> {
  const { end, stderr } = await outside(["sh", "-ec", line], {
    cwd: work,
    env: IDENTITY,
  });
  if (end !== 0) throw new Error(stderr);
}

/** Every way to plant a hook or a setting below the git directory `$d`; says `planted` for each that works. */
const PLANT =
  'for d; do for f in hooks/post-checkout config config.worktree commondir HEAD new; do (echo evil >> "$d/$f") 2>/dev/null && echo planted "$d/$f"; done; mkdir "$d/hooks/x" 2>/dev/null && echo planted; mv "$d" "$d.x" 2>/dev/null && echo moved "$d"; done; ';

/** The text of every setting and hook below `folder`. */
function settings(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true }).map(String)
    .filter((path) => /config|hooks\/|commondir$|gitdir$|\.git$/.test(path))
    .filter((path) => !isDirectory(`${folder}/${path}`)).sort()
    .map((path) => `${path}: ${readFileSync(`${folder}/${path}`, "latin1")}`);
}

function isDirectory(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch {
    return false;
  }
}

matrix(
  "a linked worktree: git works in it, and nothing is planted in its repository",
  COLUMNS,
  async (subject) => {
    const { run, work, home } = subject;
    await made(
      subject,
      "git init -q main; cd main; git commit -q --allow-empty -m one; git worktree add -q ../tree",
    );
    const before = settings(work);
    await Bun.write(
      `${home}/config.toml`,
      `default_permissions = "p"\n[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n"${work}" = "write"\n`,
    );
    const { end, stdout } = await run([
      ...["--", "sh", "-c"],
      `${PLANT} git status --porcelain; git log --format=%s; touch file; git status --porcelain; (echo evil > .git) 2>/dev/null && echo planted; git commit -q --allow-empty -m two 2>/dev/null && echo committed; exit 0`,
      ...["sh", "../main/.git", "../main/.git/worktrees/tree"],
    ], { cwd: `${work}/tree`, env: IDENTITY });
    expect({ end, stdout }).toEqual({ end: 0, stdout: "one\n?? file\n" });
    expect(settings(work)).toEqual(before);
    expect(isThere(`${work}/tree/file`)).toBe(true);
  },
);

matrix(
  "a submodule: git works in it, and nothing is planted where it keeps its settings",
  COLUMNS,
  async (subject) => {
    const { run, work } = subject;
    await made(
      subject,
      "git init -q lib; git -C lib commit -q --allow-empty -m lib; git init -q top; cd top; git -c protocol.file.allow=always submodule --quiet add ../lib deep/sub; git commit -q -m top",
    );
    const before = settings(`${work}/top`);
    const { end, stdout } = await run([
      ...["-P", ":workspace", "--", "sh", "-c"],
      `${PLANT} git status --porcelain; git -C deep/sub log --format=%s; (echo evil > deep/sub/.git) 2>/dev/null && echo planted; rm -rf deep/sub/.git 2>/dev/null && echo removed; touch deep/sub/file; git -C deep/sub status --porcelain; exit 0`,
      ...["sh", ".git", ".git/modules/deep/sub"],
    ], { cwd: `${work}/top`, env: IDENTITY });
    expect({ end, stdout }).toEqual({ end: 0, stdout: "lib\n?? file\n" });
    expect(settings(`${work}/top`)).toEqual(before);
  },
);
