/**
 * Loader and malloc variables are the command's environment: they act on the command and on nothing that we start before it.
 *
 * A small library writes the name of each executable that loads it. Ourselves are the caller's to start, with whatever it likes, and
 * so are left out of what is counted: the caller's dynamic loader has loaded the library before our first instruction.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import {
  EVERY_VARIANT,
  leaveClean,
  matrix,
  notProved,
  ourProcesses,
  type Subject,
  until,
  untilNobodyIsLeft,
} from "./harness.ts";

afterAll(leaveClean);

/** Appends what it was loaded into to a file whose place is compiled in. Also serves as an auditor of ld.so. */
const SOURCE = `
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
unsigned int la_version(unsigned int version) { return version; }
__attribute__((constructor)) static void loaded(void)
{
    char exe[4096], line[4200];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0)
        n = 0;
    exe[n] = 0;
    int fd = open(MARKER, O_WRONLY | O_APPEND);
    if (fd < 0)
        return;
    n = snprintf(line, sizeof line, "%d %s\\n", getpid(), exe);
    if (write(fd, line, (size_t)n) < 0)
        return;
    close(fd);
}
`;

/** @returns the library's path, or `null` without a compiler */
function makeLibrary({ dir, work }: Subject, name: string): string | null {
  const path = `${dir}/${name}`;
  writeFileSync(`${dir}/mark.c`, SOURCE);
  const made = Bun.spawnSync([
    ...["gcc", "-shared", "-fPIC", "-O1", `-DMARKER="${work}/loaded"`],
    ...["-o", path, `${dir}/mark.c`],
  ]);
  if (!made.success) {
    notProved("loader variables", `no library can be made: ${made.stderr}`);
    return null;
  }
  writeFileSync(`${work}/loaded`, "");
  chmodSync(`${work}/loaded`, 0o666);
  return path;
}

/** What loaded the library, in order, the caller's own start of codex left out. */
function loadedInto({ work, codex }: Subject, pid: number): string[] {
  return readFileSync(`${work}/loaded`, "utf8").trimEnd().split("\n").filter(
    (line) => line !== "" && line !== `${pid} ${codex}`,
  ).map((line) => line.slice(line.indexOf(" ") + 1));
}

for (const variable of ["LD_PRELOAD", "LD_AUDIT"]) {
  matrix(
    `${variable} reaches the command and nothing before it`,
    EVERY_VARIANT,
    async (subject) => {
      const library = makeLibrary(subject, "libmark.so");
      if (library === null) return;
      // The variable is set by the last exec before codex, so that setpriv and sh don't have it.
      const run = subject.start(["-P", ":workspace", "--", "/usr/bin/env"], {
        shell: `exec env ${variable}=${library} "$@"`,
      });
      const { end, stdout } = await run.outcome;
      expect(end).toBe(0);
      expect(stdout).toContain(`${variable}=${library}\n`);
      expect(loadedInto(subject, run.pid)).toEqual(["/usr/bin/env"]);
    },
  );
}

matrix(
  "LD_LIBRARY_PATH reaches the command and nothing before it",
  EVERY_VARIANT,
  async (subject) => {
    const { dir } = subject;
    const library = makeLibrary(subject, "libcap.so.2");
    if (library === null) return;
    // bwrap needs libcap.so.2: a bwrap that saw the variable would load ours and fail or leave a mark.
    const run = subject.start([
      ...["-P", ":workspace", "--", "sh", "-c"],
      'echo "$LD_LIBRARY_PATH"',
    ], { shell: `exec env LD_LIBRARY_PATH=${dir} "$@"` });
    const { end, stdout } = await run.outcome;
    expect({ end, stdout }).toEqual({ end: 0, stdout: `${dir}\n` });
    expect(loadedInto(subject, run.pid)).toEqual([]);
  },
);

matrix(
  "GLIBC_TUNABLES and MALLOC_ variables reach the command",
  EVERY_VARIANT,
  async ({ run }) => {
    const env = {
      GLIBC_TUNABLES: "glibc.malloc.check=3",
      MALLOC_ARENA_MAX: "1",
      MALLOC_PERTURB_: "7",
      LD_BIND_NOW: "1",
    };
    const { stdout } = await run(["--", "env"], { env });
    const lines = stdout.split("\n");
    for (const [name, value] of Object.entries(env)) {
      expect(lines).toContain(`${name}=${value}`);
    }
  },
);

matrix(
  "LD_DEBUG speaks for the command alone",
  EVERY_VARIANT,
  async (subject) => {
    const { run, work } = subject;
    // ld.so writes one file for each process that has the variable.
    const { end } = await run(["-P", ":workspace", "--", "true"], {
      shell: `exec env LD_DEBUG=files LD_DEBUG_OUTPUT=${work}/debug "$@"`,
    });
    expect(end).toBe(0);
    const texts = [...new Bun.Glob("debug.*").scanSync(work)].map((name) =>
      readFileSync(`${work}/${name}`, "latin1")
    );
    const programs = texts.flatMap((text) =>
      [...text.matchAll(/initialize program: (\S+)/g)].map((found) =>
        found[1]?.split("/").at(-1)
      )
    );
    expect(programs.sort()).toEqual(["codex", "true"]);
  },
);

matrix(
  "a loader variable's value stands in no command line on the host",
  EVERY_VARIANT,
  async ({ start }) => {
    for (const profile of [":read-only", ":workspace"]) {
      const run = start([
        ...["-P", profile, "--", "sh", "-c"],
        'echo "$LD_LIBRARY_PATH $MALLOC_ARENA_MAX."; exec sleep 60',
      ], {
        env: { LD_LIBRARY_PATH: "/a secret/place", MALLOC_ARENA_MAX: "" },
      });
      await until(
        () => ourProcesses().some(({ words }) => words === "sleep 60"),
        "the command runs",
      );
      const lines = ourProcesses().map(({ words }) => words);
      expect(lines.filter((words) => words.includes("secret"))).toEqual([]);
      expect(lines.filter((words) => words.startsWith("bwrap "))).not
        .toEqual([]);
      run.kill(15);
      expect((await run.outcome).stdout).toBe("/a secret/place .\n");
      await untilNobodyIsLeft();
    }
  },
);
