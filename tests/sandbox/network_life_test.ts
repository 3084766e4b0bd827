/**
 * The end of a proxied run that makes nothing on the host, wherever its supervisor is killed.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import {
  leaveClean,
  matrix,
  ourProcesses,
  type Subject,
  TRUE_STAGES,
  until,
  untilNobodyIsLeft,
  watcherOf,
} from "./harness.ts";

afterAll(leaveClean);

/** With the small program that listens inside, and with the inner stage. */
const COLUMNS = TRUE_STAGES;
const NAP = "86396";

function configure({ home }: Subject): void {
  writeFileSync(
    `${home}/config.toml`,
    'default_permissions = "net"\n[permissions.net]\nextends = ":read-only"\nnetwork.managed = true\n',
  );
}

for (const signal of [1, 2, 9, 15]) {
  matrix(
    `a run that makes nothing on the host dies with its supervisor, by signal ${signal}`,
    COLUMNS,
    async (subject) => {
      configure(subject);
      const run = subject.start([
        "--",
        "sh",
        "-c",
        `trap '' HUP INT TERM; setsid sleep ${NAP} & sleep ${NAP}; sleep ${NAP}`,
      ]);
      const sleepers = (): number =>
        ourProcesses().filter(({ words }) => words === `sleep ${NAP}`).length;
      await until(() => sleepers() === 2, "two sleepers");
      run.kill(signal);
      expect(typeof (await run.outcome).end).toBe("string");
      await untilNobodyIsLeft();
    },
  );
}

matrix(
  "SIGKILL to the watcher ends everything inside",
  COLUMNS,
  async (subject) => {
    configure(subject);
    const run = subject.start(["--", "sleep", NAP]);
    const sleepers = (): number =>
      ourProcesses().filter(({ words }) => words === `sleep ${NAP}`).length;
    await until(() => sleepers() === 1, "a sleeper");
    process.kill(watcherOf(run.pid), "SIGKILL");
    expect((await run.outcome).end).toBe(125);
    await untilNobodyIsLeft();
  },
);

matrix(
  "a supervisor that is killed at any moment of its start leaves nobody",
  COLUMNS,
  async (subject) => {
    configure(subject);
    for (let ms = 0; ms < 90; ms += 3) {
      const run = subject.start(["--", "sleep", NAP]);
      await Bun.sleep(ms);
      run.kill(9);
      expect((await run.outcome).end).toBe("SIGKILL");
      await untilNobodyIsLeft();
    }
  },
);
