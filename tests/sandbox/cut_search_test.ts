/**
 * A search for repositories that is cut says so: once for each directory, and by `--explain` each time.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { BOTH_ACTORS, leaveClean, matrix, type Subject } from "./harness.ts";

afterAll(leaveClean);

/** More repositories than are looked for, `SEARCH_LIMITS.repositories`: a cut that no clock decides. */
const TOO_MANY = 130;

function manyRepositories(folder: string, { uid }: Subject): void {
  mkdirSync(folder, { recursive: true });
  chownSync(folder, uid, uid);
  for (let index = 0; index < TOO_MANY; index++) {
    const git = `${folder}/r${index}/.git`;
    mkdirSync(git, { recursive: true });
    writeFileSync(`${git}/HEAD`, "x");
    for (const path of [`${folder}/r${index}`, git, `${git}/HEAD`]) {
      chownSync(path, uid, uid);
    }
  }
}

const SAID =
  /^codex: warning: repositories were looked for up to "[^"]+" \(more than [^)]+\): one that lies beyond keeps its \.git writable unless the profile says "read" of it; this is said once for a directory, and by --explain\n$/;

/** Repositories made a moment before a run count as made during it, which is right and not what is asked here. */
function aboutTheSearch(stderr: string): string {
  return stderr.replace(
    /^codex: warning: repositories appeared during the run: .*\n/m,
    "",
  );
}

matrix(
  "a search for repositories that was cut is said once for each directory",
  BOTH_ACTORS,
  async (subject) => {
    const { work, codexRun } = subject;
    const start = async (cd: string, ...flags: readonly string[]) => {
      const { stdout, stderr } = await codexRun([
        "sandbox",
        ...["-P", ":workspace", "-C", cd, ...flags],
        ...["--", "true"],
      ]);
      return { stdout, stderr: aboutTheSearch(stderr) };
    };
    for (const name of ["one", "two"]) {
      manyRepositories(`${work}/${name}`, subject);
    }
    expect((await start(`${work}/one`)).stderr).toMatch(SAID);
    expect((await start(`${work}/one`)).stderr).toBe("");
    expect((await start(`${work}/two`)).stderr).toMatch(SAID);
    expect((await start(`${work}/one`, "--explain")).stdout)
      .toMatch(/^ {2}the search ended at /m);
  },
);
