/**
 * Callers with little: few open files, little address space, no namespaces left, and company in the same workspace.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  BOTH_STAGES,
  isThere,
  leaveClean,
  matrix,
  TRUE_STAGES,
} from "./harness.ts";

afterAll(leaveClean);

const PLANTED = `
#include <fcntl.h>
__attribute__((constructor)) static void run(void) { open(PLACE, O_CREAT | O_WRONLY, 0644); }
int __errno_location, syscall;`;

matrix(
  "a libc planted in the working directory is not loaded where address space is short",
  BOTH_ACTORS,
  async ({ run, outside, work }) => {
    await outside(["sh", "-c", `cat > ${work}/e.c`], {
      input: new TextEncoder().encode(PLANTED),
    });
    const compiled = await outside([
      "sh",
      "-c",
      `cd ${work} && gcc -shared -fPIC -w -fno-builtin -DPLACE='"${work}/ran"' -o libc.so.6 e.c && cp libc.so.6 libc.musl-x86_64.so.1 && cp libc.so.6 libc.musl-aarch64.so.1`,
    ]);
    expect(compiled.end).toBe(0);
    const ends = [];
    for (const limit of [600_000, 2_000_000]) {
      const { end } = await run(["--", "true"], {
        shell: `ulimit -v ${limit}; "$@"`,
      });
      ends.push(end);
    }
    expect({ ends, ran: isThere(`${work}/ran`) }).toEqual({
      ends: [125, 125],
      ran: false,
    });
  },
);

for (const profile of [":read-only", ":workspace"]) {
  matrix(
    `${profile}: a hard limit of 64 open files is enough`,
    TRUE_STAGES,
    async ({ run }) => {
      const outcome = await run(
        ["-P", profile, "--", "sh", "-c", "ulimit -n; echo ok"],
        { shell: `ulimit -n 64; "$@"` },
      );
      expect(outcome).toEqual({ end: 0, stdout: "64\nok\n", stderr: "" });
    },
  );
}

matrix(
  "more read-only entries than the hard limit of open files lets be held are refused, and the limit is named",
  BOTH_ACTORS,
  async ({ run, outside, home, work }) => {
    await outside([
      "sh",
      "-c",
      "n=0; while [ $n -lt 100 ]; do n=$((n + 1)); echo s > $n; done",
    ]);
    const entries = Array.from(
      { length: 100 },
      (_, index) => `"${work}/${index + 1}" = "read"\n`,
    );
    writeFileSync(
      `${home}/config.toml`,
      `[permissions.p]\nextends = ":read-only"\n[permissions.p.filesystem]\n"${work}" = "write"\n"${work}/.git" = "write"\n"${work}/.codex" = "write"\n"${work}/.agents" = "write"\n${
        entries.join("")
      }`,
    );
    const few = await run(["-P", "p", "--", "true"], {
      shell: `ulimit -n 64; "$@"`,
    });
    expect(few.end).toBe(125);
    expect(few.stderr).toEndWith(
      "says EMFILE: too many open files, raise the hard limit (ulimit -n)\n",
    );
    const { end } = await run(["-P", "p", "--", "sh", "-c", "! echo x > 7"]);
    expect(end).toBe(0);
  },
);

matrix(
  "a sandbox inside a sandbox takes the second rung, and is refused in one line where the profile needs the first",
  BOTH_STAGES,
  async ({ run, codex }) => {
    const second = await run(["--", codex, "sandbox", "--", "true"]);
    expect(second.end).toBe(0);
    expect(second.stderr).toContain("confined by Landlock and seccomp alone");
    const inside = ["--", codex, "sandbox", "-P", ":workspace", "--", "true"];
    const { end, stderr } = await run(inside);
    expect({ end, lines: stderr.split("\n").length }).toEqual({
      end: 125,
      lines: 2,
    });
    expect(stderr).toContain("inside another sandbox");
  },
);

matrix(
  "runs that come and go in one workspace don't disturb one another",
  BOTH_ACTORS,
  async ({ run, work }) => {
    const ends: unknown[] = [];
    const one = async (): Promise<void> => {
      for (let round = 0; round < 8; round++) {
        const { end, stderr } = await run(["-P", ":workspace", "--", "true"]);
        ends.push(end === 0 ? 0 : stderr);
      }
    };
    await Promise.all([one(), one(), one(), one()]);
    expect(ends.filter((end) => end !== 0)).toEqual([]);
    expect(isThere(`${work}/.git`)).toBe(false);
  },
);
