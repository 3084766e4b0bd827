/**
 * What dead runs left is taken away: by `codex sandbox clean`, and by the next run, also by one that needs no supervisor.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { targetKey } from "../../src/linux/reference_registry.ts";
import {
  BOTH_ACTORS,
  killWithWatcher,
  leaveClean,
  matrix,
  notProved,
  ourProcesses,
  type Outcome,
  PLAIN,
  setup,
  type Subject,
  until,
} from "./harness.ts";

afterAll(leaveClean);

const NAMES = [".agents", ".codex", ".git"];
const NAP = "86397";

function placeholders(work: string): string[] {
  return readdirSync(work).filter((name) => NAMES.includes(name)).sort();
}

/** A run whose supervisor and watcher are killed at once, so that nobody takes its placeholders away. */
async function leaveBehind(subject: Subject): Promise<void> {
  const run = subject.start(["-P", ":workspace", "--", "sleep", NAP]);
  await until(
    () => ourProcesses().some(({ words }) => words === `sleep ${NAP}`),
    "a sleeper",
  );
  await killWithWatcher(run);
  expect(placeholders(subject.work)).toEqual(NAMES);
}

/** What clean says of the subject's folders: /tmp is looked at too, and what lies there is other people's. */
async function clean(
  subject: Subject,
  words: readonly string[] = [],
  tmp = "tmp",
): Promise<Outcome> {
  const outcome = await subject.codexRun(["sandbox", "clean", ...words], {
    env: { TMPDIR: `${subject.dir}/${tmp}` },
  });
  const lines = outcome.stdout.split("\n").filter((line) =>
    line.includes(subject.dir)
  );
  return { ...outcome, stdout: lines.map((line) => `${line}\n`).join("") };
}

matrix(
  "clean removes the placeholders of a dead run, and --dry-run only names them",
  BOTH_ACTORS,
  async (subject) => {
    await leaveBehind(subject);
    const dry = await clean(subject, ["--dry-run"]);
    const lines = dry.stdout.trim().split("\n").sort();
    for (const name of NAMES) {
      expect(lines).toContain(
        `would remove ${subject.work}/${name}: placeholder of a run that is dead`,
      );
    }
    expect(placeholders(subject.work)).toEqual(NAMES);
    const done = await clean(subject);
    expect(done.stdout.trim().split("\n").sort()).toEqual(
      lines.map((line) => line.replace("would remove", "removed")),
    );
    expect(done.end).toBe(0);
    expect(placeholders(subject.work)).toEqual([]);
    expect((await clean(subject)).stdout).toBe("");
  },
);

matrix(
  "a run without a supervisor takes away what a dead run left, too",
  BOTH_ACTORS,
  async (subject) => {
    await leaveBehind(subject);
    const next = await subject.run(["-P", ":read-only", "--", "true"]);
    expect(next).toEqual({ end: 0, stdout: "", stderr: "" });
    expect(placeholders(subject.work)).toEqual([]);
    await leaveBehind(subject);
    const alone = await subject.run([
      ...["-P", ":read-only", "--backend", "landlock", "--", "true"],
    ]);
    expect(alone.end).toBe(0);
    expect(placeholders(subject.work)).toEqual([]);
  },
);

matrix(
  "neither takes away what a run that goes on relies on, or what was filled",
  BOTH_ACTORS,
  async (subject) => {
    const { work } = subject;
    const run = subject.start([
      ...["-P", ":workspace", "--", "sh", "-c", `touch up; sleep ${NAP}`],
    ]);
    await until(() => existsSync(`${work}/up`), "the command runs");
    expect((await subject.run(["--", "true"])).end).toBe(0);
    expect((await clean(subject)).stdout).toBe("");
    expect(placeholders(work)).toEqual(NAMES);
    run.kill(15);
    await run.outcome;
    await leaveBehind(subject);
    writeFileSync(`${work}/.git/HEAD`, "x");
    await clean(subject);
    expect(placeholders(work)).toEqual([".git"]);
  },
);

/** The pid of a process that is gone. */
function deadPid(): number {
  const child = Bun.spawnSync(["true"]);
  return child.pid;
}

/** A registry as Codex's releases keep it, with one record. */
function register(
  subject: Subject,
  target: string,
  marks: Readonly<Record<string, string>>,
): string {
  const tmp = `${subject.dir}/tmp`;
  const registry = `${tmp}/codex-bwrap-synthetic-mount-targets-${subject.uid}`;
  const record = `${registry}/${targetKey(target)}`;
  mkdirSync(record, { recursive: true });
  writeFileSync(`${registry}/lock`, "");
  for (const [pid, text] of Object.entries(marks)) {
    writeFileSync(`${record}/${pid}`, text);
    chownSync(`${record}/${pid}`, subject.uid, subject.uid);
  }
  for (const path of [tmp, registry, record, `${registry}/lock`]) {
    chownSync(path, subject.uid, subject.uid);
  }
  return record;
}

function own(subject: Subject, path: string): void {
  chownSync(path, subject.uid, subject.uid);
}

matrix(
  "clean removes the empty mount point of a dead codex release, and its record",
  BOTH_ACTORS,
  async (subject) => {
    const target = `${subject.work}/.git`;
    mkdirSync(target);
    own(subject, target);
    const record = register(subject, target, { [deadPid()]: "synthetic\n" });
    expect((await clean(subject, ["--dry-run"])).stdout).toBe(
      `would remove ${target}: mount point of a codex run that is dead\n`,
    );
    expect((await clean(subject)).stdout).toBe(
      `removed ${target}: mount point of a codex run that is dead\n`,
    );
    expect(existsSync(target)).toBe(false);
    expect(existsSync(record)).toBe(false);
  },
);

const KEPT = [ // mark, filled, record goes, why
  ["synthetic\n", true, false, "somebody filled it"],
  ["existing\n", false, true, "it was there before the run"],
  ["protected-create\n", false, true, "it was only watched"],
] as const;
for (const [text, filled, forgets, why] of KEPT) {
  matrix(
    `clean keeps a target that is recorded as ${text.trim()}: ${why}`,
    BOTH_ACTORS,
    async (subject) => {
      const target = `${subject.work}/.codex`;
      mkdirSync(target);
      if (filled) writeFileSync(`${target}/file`, "");
      own(subject, target);
      const record = register(subject, target, { [deadPid()]: text });
      expect((await clean(subject)).stdout).toBe(
        forgets
          ? `removed ${record}: record of a codex run that is dead\n`
          : `kept ${target}: left by a dead run, but not empty any more\n`,
      );
      expect(existsSync(target)).toBe(true);
      expect(existsSync(record)).toBe(!forgets);
    },
  );
}

matrix(
  "clean leaves a target alone while its run lives, or when its path is unknown",
  BOTH_ACTORS,
  async (subject) => {
    const target = `${subject.work}/.agents`;
    mkdirSync(target);
    own(subject, target);
    register(subject, target, { [process.pid]: "synthetic\n" });
    expect((await clean(subject)).stdout).toContain(
      `process ${process.pid} uses it`,
    );
    const elsewhere = register(subject, "/nowhere/.git", {
      [deadPid()]: "synthetic\n",
    });
    const { stdout } = await clean(subject);
    expect(stdout).toContain(
      `kept ${elsewhere}: record of a codex run that is dead, without a path: clean in the directory of that run`,
    );
    expect(existsSync(target)).toBe(true);
    expect(existsSync(elsewhere)).toBe(true);
  },
);

matrix(
  "clean follows no link: neither to a registry nor to a target",
  BOTH_ACTORS,
  async (subject) => {
    const { dir, work, uid } = subject;
    mkdirSync(`${work}/empty`);
    own(subject, `${work}/empty`);
    const target = `${work}/.git`;
    symlinkSync("empty", target);
    register(subject, target, { [deadPid()]: "synthetic\n" });
    const { stdout } = await clean(subject);
    expect(stdout).toStartWith(`kept ${target}: left by a dead run, but`);
    expect(existsSync(`${work}/empty`)).toBe(true);
    const name = `codex-bwrap-synthetic-mount-targets-${uid}`;
    mkdirSync(`${dir}/other`);
    symlinkSync(`${dir}/tmp/${name}`, `${dir}/other/${name}`);
    expect((await clean(subject, [], "other")).stdout).toBe("");
  },
);

test("a registry that belongs to somebody else is not looked at", async () => {
  const subject = setup(PLAIN);
  if (subject.uid !== 0) {
    return notProved("a registry of somebody else's", "needs root");
  }
  const target = `${subject.work}/.git`;
  mkdirSync(target);
  register({ ...subject }, target, { [deadPid()]: "synthetic\n" });
  const registry = `${subject.dir}/tmp/codex-bwrap-synthetic-mount-targets-0`;
  chownSync(registry, 12_345, 12_345);
  expect((await clean(subject)).stdout).toBe(
    `kept ${registry}: it doesn't belong to you alone: not looked at\n`,
  );
  expect(existsSync(target)).toBe(true);
});

test("clean also runs where nothing was ever kept, and a program of that name is run by --", async () => {
  const subject = setup(PLAIN);
  expect(await clean(subject)).toEqual({ end: 0, stdout: "", stderr: "" });
  const program = await subject.run(["--", "clean"], {
    env: { PATH: "/nowhere" },
  });
  expect(program.end).toBe(127);
});

matrix(
  "clean does not say that nothing is left where it can't read what was recorded",
  BOTH_ACTORS,
  async (subject) => {
    const folder = `${subject.home}/sandbox`;
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    const { end, stdout, stderr } = await subject.codexRun([
      "sandbox",
      "clean",
    ]);
    expect({ end, stderr }).toMatchObject({
      end: 1,
      stderr:
        `codex: Cannot read what runs have recorded in ${folder}: it must belong to you and be closed to others (mode 700)\n`,
    });
    expect(stdout).not.toContain("nothing to clean");
  },
);

matrix(
  "nor where the records' own folder is none any more, and doctor says so as well",
  BOTH_ACTORS,
  async (subject) => {
    const folder = `${subject.home}/sandbox`;
    mkdirSync(folder, { mode: 0o700 });
    writeFileSync(`${folder}/placeholders`, "");
    for (const path of [folder, `${folder}/placeholders`]) {
      chownSync(path, subject.uid, subject.uid);
    }
    const cleaned = await subject.codexRun(["sandbox", "clean"]);
    expect({ end: cleaned.end, stdout: cleaned.stdout })
      .toEqual({ end: 1, stdout: "" });
    expect(cleaned.stderr).toStartWith(
      `codex: Cannot read what runs have recorded in ${folder}/placeholders: ENOTDIR: `,
    );
    const { stdout } = await subject.codexRun(["doctor"]);
    expect(stdout).toContain(`${folder}/placeholders can't be used: ENOTDIR: `);
  },
);
