/**
 * Standard streams are no ways out: a file that the caller opened for reading can't be written through its descriptor.
 *
 * Needs Landlock 3 (Linux 6.2) for what is allowed; below it such a stream is refused.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  EVERY_VARIANT,
  leaveClean,
  matrix,
  setup,
  TRUE_STAGES,
  type Variant,
} from "./harness.ts";

afterAll(leaveClean);

/** With `auto` the planner has to notice by itself. */
const COLUMNS: readonly Variant[] = TRUE_STAGES;

/** Everything that a shell and Python know to make of a descriptor, on descriptor 0. */
const ATTACKS = [
  "echo written > /proc/self/fd/0",
  "echo written >> /dev/stdin",
  "echo written 1<> /proc/self/fd/0",
  "truncate -s 0 /proc/self/fd/0",
  "/usr/bin/python3 -c 'import os; os.open(\"/proc/self/fd/0\", os.O_RDONLY | os.O_TRUNC)'",
  "/usr/bin/python3 -c 'import os; os.truncate(\"/dev/fd/0\", 0)'",
  "dd if=/dev/zero of=/dev/stdin bs=1 count=1",
  "cp /etc/hostname /proc/self/fd/0",
].join("; ");

/** Writes a file that belongs to the actor, so that nothing but the sandbox is in the way. */
function plant(path: string, uid: number): void {
  writeFileSync(path, "kept");
  if (process.getuid?.() === 0) execFileSync("chown", [`${uid}`, path]);
}

for (const profile of [":read-only", ":workspace"]) {
  matrix(
    `${profile}: a file on stdin can be read and not be written through the descriptor`,
    COLUMNS,
    async ({ run, home, uid }) => {
      const file = `${home}/input`;
      plant(file, uid);
      const script = `cat; (${ATTACKS}) 2>/dev/null; echo done`;
      const { end, stdout } = await run(
        ["-P", profile, "--", "sh", "-c", script],
        { shell: `"$@" <${file}` },
      );
      expect({ end, stdout }).toEqual({ end: 0, stdout: "keptdone\n" });
      expect(readFileSync(file, "latin1")).toBe("kept");
    },
  );
}

matrix(
  "a file behind --pass-fd can't be written through the descriptor either",
  COLUMNS,
  async ({ run, home, uid }) => {
    const file = `${home}/input`;
    plant(file, uid);
    await run(
      ["--pass-fd", "7", "--", "sh", "-c", "echo x > /proc/self/fd/7"],
      { shell: `"$@" 7<${file}` },
    );
    expect(readFileSync(file, "latin1")).toBe("kept");
  },
);

matrix(
  "beside a guarded stream everything that the profile lets be written still is",
  COLUMNS,
  async ({ run, home, work, uid }) => {
    const file = `${home}/input`;
    plant(file, uid);
    plant(`${home}/output`, uid);
    const script = [
      "mkdir a b",
      "echo 1 > a/x",
      "mv a/x b/y",
      "ln b/y a/z",
      "truncate -s 1 b/y",
      "echo > /dev/null",
      "echo > /dev/shm/x",
      "echo t > /proc/self/comm",
      "echo named > /dev/stderr",
      "echo piped | tee /dev/fd/1 >/dev/null",
      "echo x > /tmp/codex-$$ && rm /tmp/codex-$$",
      "echo all",
    ].join(" && ");
    const { end, stdout, stderr } = await run(
      ["-P", ":workspace", "--", "sh", "-c", script],
      {
        shell:
          `"$@" <${file} 2>${home}/output; s=$?; cat ${home}/output >&2; exit $s`,
      },
    );
    expect({ end, stdout, stderr }).toEqual({
      end: 0,
      stdout: "all\n",
      stderr: "named\n",
    });
    expect(readFileSync(`${work}/a/z`, "latin1")).toBe("1");
  },
);

matrix(
  "a file that the profile lets be written needs no guard",
  EVERY_VARIANT,
  async ({ run, work, uid }) => {
    plant(`${work}/input`, uid);
    const { end } = await run(
      ["-P", ":workspace", "--", "sh", "-c", "echo mine > /proc/self/fd/0"],
      { shell: `"$@" <${work}/input` },
    );
    expect(end).toBe(0);
    expect(readFileSync(`${work}/input`, "latin1")).toBe("mine\n");
  },
);

matrix(
  "a protected file below a writable root is refused as a stream",
  COLUMNS,
  async ({ run, work, uid }) => {
    mkdirSync(`${work}/.git`);
    plant(`${work}/.git/config`, uid);
    const { end, stdout, stderr } = await run(
      ["-P", ":workspace", "--", "sh", "-c", "echo x > /proc/self/fd/0"],
      { shell: `"$@" <${work}/.git/config` },
    );
    expect({ end, stdout, lines: stderr.split("\n").length }).toEqual({
      end: 125,
      stdout: "",
      lines: 2,
    });
    expect(stderr).toContain("pipe it in");
    expect(readFileSync(`${work}/.git/config`, "latin1")).toBe("kept");
  },
);

test("--stage one-start is refused where a stream needs the guard", async () => {
  const subject = setup({
    actor: "root",
    launcher: "auto",
    stage: "one-start",
  });
  plant(`${subject.home}/input`, subject.uid);
  const { end, stderr } = await subject.run(["--", "true"], {
    shell: `"$@" <${subject.home}/input`,
  });
  expect({ end, stderr }).toEqual({
    end: 125,
    stderr:
      "codex: Cannot use --stage one-start: descriptor 0 is a file opened for reading: a Landlock rule keeps it from being written\n",
  });
});
