/**
 * Times that a run is given: `--timeout` until its end, `--grace` between being told and being ended.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  EVERY_VARIANT,
  isThere,
  leaveClean,
  matrix,
  type Outcome,
  type Running,
  setup,
  type Subject,
  until,
  untilNobodyIsLeft,
} from "./harness.ts";

afterAll(leaveClean);

/** Longer than any test. */
const NAP = "86397";

matrix(
  "--timeout ends the command and everything that it started, with status 124",
  EVERY_VARIANT,
  async ({ run, work }) => {
    for (const profile of [":read-only", ":workspace"]) {
      const { end } = await run([
        ...["-P", profile, "--timeout", "300ms", "--", "sh", "-c"],
        `trap "" TERM INT HUP; sleep ${NAP} & setsid sleep ${NAP} & sleep ${NAP}`,
      ]);
      expect(end).toBe(124);
      await untilNobodyIsLeft();
      expect(readdirSync(work)).toEqual([]);
    }
  },
);

matrix(
  "a command that ends in time keeps its status",
  EVERY_VARIANT,
  async ({ run }) => {
    const { end } = await run(["--timeout", "1m", "--", "sh", "-c", "exit 9"]);
    expect(end).toBe(9);
  },
);

matrix(
  "--timeout with --grace sends SIGTERM first, and the status is 124 whatever the trap says",
  EVERY_VARIANT,
  async ({ run }) => {
    const outcome = await onceUp((limit) =>
      run([
        ...["--timeout", limit, "--grace", "60", "--", "sh", "-c"],
        `trap "echo trapped; exit 5" TERM; echo up; sleep ${NAP} & wait`,
      ])
    );
    expect(outcome).toEqual({ end: 124, stdout: "up\ntrapped\n" });
    await untilNobodyIsLeft();
  },
);

/**
 * What comes of a run that its time limit ends, once its command has come as far as saying `up`: on a busy machine that may be later
 * than a short limit.
 */
async function onceUp(
  run: (limit: string) => Promise<Outcome>,
): Promise<Pick<Outcome, "end" | "stdout">> {
  let last: Pick<Outcome, "end" | "stdout"> = { end: "", stdout: "" };
  for (const limit of ["300ms", "2s", "10s"]) {
    const outcome = await run(limit);
    last = { end: outcome.end, stdout: outcome.stdout };
    if (outcome.stdout.startsWith("up\n")) break;
  }
  return last;
}

/** A run that says that it is up, in its writable directory. */
async function started(subject: Subject, line: string): Promise<Running> {
  rmSync(`${subject.work}/up`, { force: true }); // of a run before this one
  const run = subject.start([
    ...["-P", ":workspace", "--grace", "60s", "--", "sh", "-c"],
    line,
  ]);
  await until(() => isThere(`${subject.work}/up`), "up");
  return run;
}

const TRAPPED = [
  ["SIGTERM", "TERM"],
  ["SIGINT", "INT"],
  ["SIGHUP", "HUP"],
  ["SIGQUIT", "QUIT"],
  ["SIGUSR1", "USR1"],
] as const;
for (const [signal, name] of TRAPPED) {
  matrix(
    `--grace lets the command handle ${signal}`,
    EVERY_VARIANT,
    async (subject) => {
      const run = await started(
        subject,
        `trap "echo trapped; exit 4" ${name}; touch up; while :; do sleep 0.05; done`,
      );
      process.kill(run.pid, signal);
      const { end, stdout } = await run.outcome;
      expect({ end, stdout }).toEqual({ end: 4, stdout: "trapped\n" });
      await untilNobodyIsLeft();
      expect(readdirSync(subject.work)).toEqual(["up"]);
    },
  );
}

matrix(
  "--grace: a command that dies of what it was sent takes us along, and a stopped one too",
  EVERY_VARIANT,
  async (subject) => {
    for (const stop of ["", "kill -STOP $$; "]) {
      const run = await started(subject, `touch up; ${stop}exec sleep ${NAP}`);
      await Bun.sleep(50);
      process.kill(run.pid, "SIGTERM");
      expect((await run.outcome).end).toBe("SIGTERM");
      await untilNobodyIsLeft();
    }
  },
);

matrix(
  "--grace ends what does not end",
  EVERY_VARIANT,
  async (subject) => {
    const run = subject.start([
      ...["-P", ":workspace", "--grace", "200ms", "--", "sh", "-c"],
      `trap "" TERM; touch up; sleep ${NAP} & sleep ${NAP}`,
    ]);
    await until(() => isThere(`${subject.work}/up`), "up");
    process.kill(run.pid, "SIGTERM");
    expect((await run.outcome).end).toBe("SIGTERM");
    await untilNobodyIsLeft();
    expect(readdirSync(subject.work)).toEqual(["up"]);
  },
);

test("a signal to the whole group, as timeout(1) sends it, leaves the command its time", async () => {
  const subject = setup();
  const run = subject.start([
    ...["-P", ":workspace", "--grace", "60s", "--", "sh", "-c"],
    `trap "echo trapped; exit 4" TERM; touch up; sleep ${NAP} & wait`,
  ], { shell: 'exec timeout 1h "$@"' });
  // timeout(1) does with a signal what it does when the time is over: it sends it to the group.
  await until(() => isThere(`${subject.work}/up`), "up");
  process.kill(run.pid, "SIGTERM");
  expect((await run.outcome).stdout).toBe("trapped\n");
  await untilNobodyIsLeft();
});

test("a run without a sandbox can't be timed, and says so", async () => {
  const subject = setup();
  const { end, stderr } = await subject.run([
    ...["-P", ":danger-full-access", "--timeout", "1", "--", "true"],
  ]);
  expect({ end, stderr }).toEqual({
    end: 125,
    stderr:
      "codex: Cannot honour --timeout under profile :danger-full-access: without a sandbox nothing holds what the command starts; leave it out, or use timeout(1)\n",
  });
});

/** A profile whose network we serve: the run goes on in an event loop. */
function serve({ home }: Subject): void {
  writeFileSync(
    `${home}/config.toml`,
    'default_permissions = "net"\n[permissions.net]\nextends = ":workspace"\n[permissions.net.network.domains]\n"example.com" = "allow"\n',
  );
}

const SERVED: readonly (readonly [
  flags: readonly string[],
  script: string,
  signal: NodeJS.Signals | null,
  end: number | string,
  stdout: string,
])[] = [
  [["--timeout", "300ms"], `sleep ${NAP}`, null, 124, ""],
  [
    ["--grace", "60"],
    'trap "echo trapped; exit 4" INT; touch up; while :; do sleep 0.05; done',
    "SIGINT",
    4,
    "trapped\n",
  ],
  [
    ["--grace", "200ms"],
    `trap "" TERM; touch up; sleep ${NAP} & sleep ${NAP}`,
    "SIGTERM",
    "SIGTERM",
    "",
  ],
];
for (const [flags, script, signal, end, stdout] of SERVED) {
  matrix(
    `${flags.join(" ")} holds where we serve the network too, ending in ${end}`,
    BOTH_ACTORS,
    async (subject) => {
      serve(subject);
      const run = subject.start([...flags, "--", "sh", "-c", script]);
      if (signal !== null) {
        await until(() => isThere(`${subject.work}/up`), "up");
        process.kill(run.pid, signal);
      }
      const outcome = await run.outcome;
      expect([outcome.end, outcome.stdout]).toEqual([end, stdout]);
      await untilNobodyIsLeft();
    },
  );
}

matrix(
  "--timeout with --grace holds where we serve the network too",
  BOTH_ACTORS,
  async (subject) => {
    serve(subject);
    const outcome = await onceUp((limit) =>
      subject.run([
        ...["--timeout", limit, "--grace", "60", "--", "sh", "-c"],
        `trap "echo trapped; exit 5" TERM; echo up; sleep ${NAP} & wait`,
      ])
    );
    expect(outcome).toEqual({ end: 124, stdout: "up\ntrapped\n" });
    await untilNobodyIsLeft();
  },
);
