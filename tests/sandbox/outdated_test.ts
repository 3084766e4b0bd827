/**
 * What goes away between the look at the host and the moment at which a run holds what it rests on: the plan is made anew.
 *
 * The lock on the records, which a run takes after it has planned, makes that moment as long as a test needs it.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import {
  BOTH_STAGES,
  isThere,
  leaveClean,
  matrix,
  notProved,
  type Running,
  type Subject,
  until,
  untilLockedOut,
  untilNobodyIsLeft,
} from "./harness.ts";

afterAll(leaveClean);

/** A run that has planned and holds nothing yet; `go` lets it go on. */
async function planned(
  { home, work, run, start, outside }: Subject,
  command: readonly string[],
): Promise<{ readonly going: Running; readonly go: () => Promise<void> }> {
  // Fills the caches and makes the folder of records.
  expect((await run(["-P", ":workspace", "--", "true"])).end).toBe(0);
  const lock = outside([
    ...["flock", `${home}/sandbox/placeholders`, "sh", "-c"],
    `touch "$1/up"; while [ ! -e "$1/go" ]; do sleep 0.01; done; rm "$1/up" "$1/go"`,
    ...["sh", work],
  ]);
  await until(() => isThere(`${work}/up`), "the lock is held");
  const going = start(command);
  await untilLockedOut(going);
  return {
    going,
    go: async () => {
      writeFileSync(`${work}/go`, "");
      await lock;
    },
  };
}

async function plantRepository({ outside }: Subject): Promise<void> {
  const line = "mkdir -p sub/.git && echo x > sub/.git/HEAD";
  expect((await outside(["sh", "-ec", line])).end).toBe(0);
}

matrix(
  "a repository that is removed while a run starts does not hinder it",
  BOTH_STAGES,
  async (subject) => {
    const { work, outside } = subject;
    await plantRepository(subject);
    const { going, go } = await planned(subject, [
      ...["-P", ":workspace", "--", "sh", "-c"],
      "mkdir .git 2>/dev/null && echo made; echo ran",
    ]);
    await outside(["rm", "-r", "sub/.git"]);
    await go();
    expect(await going.outcome).toEqual({
      end: 0,
      stdout: "ran\n",
      stderr: "",
    });
    expect(readdirSync(work)).toEqual(["sub"]);
  },
);

matrix(
  "a signal that came before the plan was made anew ends the run",
  BOTH_STAGES,
  async (subject) => {
    const { work, outside } = subject;
    await plantRepository(subject);
    const { going, go } = await planned(subject, [
      ...["-P", ":workspace", "--", "sleep", "60"],
    ]);
    await outside(["rm", "-r", "sub/.git"]);
    going.kill(15);
    await go();
    expect((await going.outcome).end).toBe("SIGTERM");
    await untilNobodyIsLeft();
    expect(readdirSync(work)).toEqual(["sub"]);
  },
);

matrix(
  "a folder in which the user can't make what root's run takes away is left as it is",
  BOTH_STAGES.filter(({ actor }) => actor === "user"),
  async (subject) => {
    if (process.getuid?.() !== 0) {
      return notProved("what root's run takes away", "needs root");
    }
    const { dir, home } = subject;
    const closed = `${dir}/closed`;
    mkdirSync(`${closed}/.git`, { recursive: true });
    writeFileSync(
      `${home}/config.toml`,
      `[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n"${closed}" = "write"\n`,
    );
    const { going, go } = await planned(subject, [
      ...["-P", "p", "--", "sh", "-c"],
      `mkdir ${closed}/.git 2>/dev/null && echo made; echo ran`,
    ]);
    rmSync(`${closed}/.git`, { recursive: true });
    await go();
    expect(await going.outcome).toEqual({
      end: 0,
      stdout: "ran\n",
      stderr: "",
    });
    expect(readdirSync(closed)).toEqual([]);
  },
);
