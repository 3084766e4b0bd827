/**
 * How runs end: by themselves, by a signal to us, by SIGKILL of any of us; and what is left then: nothing.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { lifelineWord } from "../../src/linux/watcher_program.ts";
import { close, pipe, writeAll } from "../../src/sys/calls.ts";
import {
  BOTH_STAGES,
  EVERY_VARIANT,
  isOurExecutable,
  isThere,
  killWithWatcher,
  leaveClean,
  matrix,
  ourProcesses,
  PLAIN,
  recordedPlaces,
  type Running,
  type RunOptions,
  setup,
  type Subject,
  until,
  untilNobodyIsLeft,
  type Variant,
  watcherOf,
} from "./harness.ts";
import { type OurProcess } from "./our_processes.ts";

afterAll(leaveClean);

const NAMES = [".agents", ".codex", ".git"];

/** Longer than any test; in no other command line, that of another run of this file included. */
const NAP = `86399.${process.pid}`;

/** Processes of ours that are this run's command, all of them inside. */
function sleepers(): OurProcess[] {
  return ourProcesses().filter(({ words }) => words === `sleep ${NAP}`);
}

/** Those that run our own executable: supervisor, watcher, inner stage. */
function ours(): OurProcess[] {
  return ourProcesses().filter(({ exe }) => isOurExecutable(exe));
}

async function running(
  subject: Subject,
  profile: string,
  flags: readonly string[] = [],
): Promise<Running> {
  const started = subject.start([
    ...["-P", profile, ...flags, "--", "sh", "-c"],
    `sleep ${NAP} & sleep ${NAP}`,
  ]);
  await until(() => sleepers().length === 2, "two sleepers");
  return started;
}

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return Number(stat.slice(stat.lastIndexOf(")")).split(" ")[2]);
}

function placeholders(work: string): string[] {
  return readdirSync(work).filter((name) => NAMES.includes(name)).sort();
}

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const) {
  matrix(
    `${signal} to us ends everything inside, and us by it`,
    EVERY_VARIANT,
    async (subject) => {
      for (const profile of [":read-only", ":workspace"]) {
        const run = await running(subject, profile);
        process.kill(run.pid, signal);
        expect((await run.outcome).end).toBe(signal);
        await untilNobodyIsLeft();
        expect(readdirSync(subject.work)).toEqual([]);
      }
    },
  );
}

/** pidfd_open(2), `asm-generic/unistd.h`: one number on every architecture. */
const PIDFD_OPEN = 434;

matrix(
  "on a host that gives no handle of a process a run that needs one is refused, and nothing of it starts",
  EVERY_VARIANT,
  async ({ run, work, probe }) => {
    const { end, stdout, stderr } = await run(
      ["-P", ":workspace", "--", "touch", "made"],
      { shell: `exec ${probe} deny ${PIDFD_OPEN} 1 "$@"` },
    );
    await untilNobodyIsLeft();
    expect({ end, stdout, made: readdirSync(work) })
      .toEqual({ end: 125, stdout: "", made: [] });
    expect(stderr).toBe(
      "codex: Cannot watch the run: pidfd_open says EPERM: operation not permitted\n",
    );
  },
);

/** A container whose process 1 reaps nobody that it did not start, and tells who came to wait for that in a second run: the first has tried bubblewrap out. */
const NO_REAPER = `exec unshare -pf --mount-proc python3 -c '
import glob, subprocess, sys
def ended(path):
    try: return open(path).read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError: return False
def left():
    subprocess.run(sys.argv[1:])
    return {path for path in glob.glob("/proc/[0-9]*/stat") if ended(path)}
before = left()
print(sorted(left() - before))' "$@"`;

matrix(
  "a run that somebody stays for leaves nobody to a process 1 that reaps nobody",
  EVERY_VARIANT.filter(({ actor }) => actor === "root"),
  async ({ run }) => {
    const { stdout } = await run(
      [
        "-P",
        ":workspace",
        "--timeout",
        "1h",
        "--",
        "sh",
        "-c",
        "sleep 9 & true",
      ],
      { shell: NO_REAPER },
    );
    expect(stdout).toBe("[]\n");
  },
);

test("an end by SIGQUIT leaves no core file of ours", async () => {
  const subject = setup(PLAIN);
  const run = subject.start(
    ["-P", ":workspace", "--", "sh", "-c", "touch up; exec sleep 60"],
    { shell: 'ulimit -c unlimited; exec "$@"' },
  );
  await until(() => isThere(`${subject.work}/up`), "up");
  process.kill(run.pid, "SIGQUIT");
  expect((await run.outcome).end).toBe("SIGQUIT");
  expect(readdirSync(subject.work)).toEqual(["up"]);
});

matrix(
  "a signal's end is the end of the cleaning up too: nobody else does it afterwards",
  BOTH_STAGES,
  async ({ start, work }) => {
    for (let round = 0; round < 5; round++) {
      // Nothing of the sandbox holds a pipe of ours: the outcome is there as soon as codex itself is gone.
      const going = start(
        ["-P", ":workspace", "--", "sh", "-c", `touch up; sleep ${NAP}`],
        // Less than a supervisor waits for a sandbox that doesn't go, counted in this test's own time.
        { shell: 'exec "$@" >/dev/null 2>&1', timeoutMs: 8_000 },
      );
      await until(() => isThere(`${work}/up`), "up");
      process.kill(going.pid, "SIGTERM");
      expect((await going.outcome).end).toBe("SIGTERM");
      expect(placeholders(work)).toEqual([]);
      rmSync(`${work}/up`);
    }
    await untilNobodyIsLeft();
  },
);

matrix(
  "SIGKILL to us ends everything inside and leaves no placeholder",
  EVERY_VARIANT,
  async (subject) => {
    for (const profile of [":read-only", ":workspace"]) {
      const run = await running(subject, profile);
      process.kill(run.pid, "SIGKILL");
      expect((await run.outcome).end).toBe("SIGKILL");
      await untilNobodyIsLeft();
      expect(readdirSync(subject.work)).toEqual([]);
    }
  },
);

matrix(
  "SIGKILL to bubblewrap's own processes ends everything and leaves no placeholder",
  EVERY_VARIANT,
  async (subject) => {
    const isBwrap = ({ words }: OurProcess): boolean =>
      words.startsWith("bwrap ");
    for (const which of ["monitor", "reaper"]) {
      const run = await running(subject, ":workspace");
      const found = ourProcesses().filter(isBwrap);
      expect(found).toHaveLength(2);
      // The monitor is the parent of the process 1 that it made; the numbers may have begun anew between the two.
      const parents = found.map(({ pid }) => parentOf(pid));
      const victim = found.find(({ pid }) =>
        parents.includes(pid) === (which === "monitor")
      );
      // Never 0: that would be our own group.
      if (victim === undefined) throw new Error(`no ${which}`);
      process.kill(victim.pid, "SIGKILL");
      const { end } = await run.outcome;
      expect(end).toBe(137);
      await untilNobodyIsLeft();
      expect(readdirSync(subject.work)).toEqual([]);
    }
  },
);

matrix(
  "a run that needs no supervisor leaves no process of ours",
  EVERY_VARIANT,
  async (subject) => {
    const run = await running(subject, ":read-only");
    expect(ours()).toEqual([]);
    run.kill(15);
    await run.outcome;
  },
);

matrix(
  "what a command leaves in the background ends with it",
  EVERY_VARIANT,
  async (subject) => {
    for (const profile of [":read-only", ":workspace"]) {
      const { end } = await subject.run([
        ...["-P", profile, "--", "sh", "-c"],
        `exec </dev/null >/dev/null 2>&1; sleep ${NAP} & setsid sleep ${NAP} & sleep 0.1; exit 3`,
      ]);
      expect(end).toBe(3);
      await untilNobodyIsLeft();
    }
  },
);

matrix(
  "when a supervised run has ended, nobody inside lives even for a moment",
  BOTH_STAGES,
  async (subject) => {
    const many =
      `exec </dev/null >/dev/null 2>&1; i=0; while [ $i -lt 150 ]; do setsid sleep ${NAP} & i=$((i+1)); done; sleep 0.3`;
    // Between the end of codex and the look there must be nothing, not even this process.
    const shell =
      '"$@"; echo $?; for p in /proc/[0-9]*; do read -r line <$p/comm; [ "$line" = sleep ] && read -r line <$p/cmdline; case $line in sleep*) echo $line;; esac; done 2>/dev/null | tr "\\0" " " | grep -c ' +
      NAP;
    const { stdout } = await subject.run(
      ["-P", ":workspace", "--", "sh", "-c", many],
      { shell },
    );
    expect(stdout).toBe("0\n0\n");
  },
);

matrix(
  "twenty runs at once in one workspace leave nothing",
  BOTH_STAGES,
  async ({ run, work }) => {
    const ends = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const { end, stderr } = await run([
          ...["-P", ":workspace", "--", "sh", "-c"],
          `mkdir .git 2>/dev/null && exit 99; touch .codex/x 2>/dev/null && exit 98; sleep 0.0${index}; exit ${index}`,
        ]);
        return `${end} ${stderr}`;
      }),
    );
    expect(ends).toEqual(Array.from({ length: 20 }, (_, index) => `${index} `));
    expect(readdirSync(work)).toEqual([]);
  },
);

matrix(
  "runs at once in several workspaces leave nothing",
  BOTH_STAGES,
  async ({ run, work, outside }) => {
    const folders = Array.from(
      { length: 10 },
      (_, index) => `${work}/${index}`,
    );
    await outside(["mkdir", ...folders]);
    const ends = await Promise.all(folders.map(async (cwd, index) => {
      const { end } = await run(
        ["-P", ":workspace", "--", "sh", "-c", `touch made; exit ${index}`],
        { cwd },
      );
      return end;
    }));
    expect(ends).toEqual(folders.map((_, index) => index));
    for (const folder of folders) expect(readdirSync(folder)).toEqual(["made"]);
  },
);

matrix(
  "a run that ends does not open up one that goes on",
  BOTH_STAGES,
  async ({ run, start, work }) => {
    const long = start([
      ...["-P", ":workspace", "--", "sh", "-c"],
      "touch up; while [ ! -e go ]; do sleep 0.02; done; mkdir .git .codex .agents; touch .git/x; ls -A",
    ]);
    await until(() => isThere(`${work}/up`), "the long run is up");
    for (let round = 0; round < 3; round++) {
      expect((await run(["-P", ":workspace", "--", "true"])).end).toBe(0);
    }
    await run(["-P", ":workspace", "--", "touch", "go"]);
    const { stdout } = await long.outcome;
    expect(stdout).toBe(".agents\n.codex\n.git\ngo\nup\n");
    expect(readdirSync(work).sort()).toEqual(["go", "up"]);
  },
);

matrix(
  "a run elsewhere does not open up one that goes on",
  BOTH_STAGES,
  async ({ run, start, work, dir, uid }) => {
    const elsewhere = `${dir}/elsewhere`;
    mkdirSync(elsewhere);
    chownSync(elsewhere, uid, uid);
    const long = start([
      ...["-P", ":workspace", "--", "sh", "-c"],
      "touch up; while [ ! -e go ]; do sleep 0.02; done; touch .git/x; ls -A",
    ]);
    await until(() => isThere(`${work}/up`), "the long run is up");
    // It shares nothing with the long one but the folder of records, and looks at all of them.
    const { end } = await run(["-P", ":workspace", "--", "true"], {
      cwd: elsewhere,
    });
    expect({ end, left: placeholders(work) }).toEqual({ end: 0, left: NAMES });
    await Bun.write(`${work}/go`, "");
    expect((await long.outcome).stdout).toBe(
      ".agents\n.codex\n.git\ngo\nup\n",
    );
    expect(placeholders(work)).toEqual([]);
  },
);

matrix(
  "the first of two runs ends, and the second still protects and cleans up",
  BOTH_STAGES,
  async ({ start, work }) => {
    const line = (name: string): string[] => [
      ...["-P", ":workspace", "--", "sh", "-c"],
      `touch up${name}; while [ ! -e go${name} ]; do sleep 0.02; done; mkdir .git 2>/dev/null && echo made; touch .git/x 2>/dev/null && echo wrote; exit 0`,
    ];
    const first = start(line("1"));
    await until(() => isThere(`${work}/up1`), "the first is up");
    const second = start(line("2"));
    await until(() => isThere(`${work}/up2`), "the second is up");
    await Bun.write(`${work}/go1`, "");
    expect((await first.outcome).stdout).toBe("");
    expect(placeholders(work)).toEqual(NAMES);
    await Bun.write(`${work}/go2`, "");
    expect((await second.outcome).stdout).toBe("");
    expect(placeholders(work)).toEqual([]);
  },
);

matrix(
  "of two runs with different state folders the last one out removes what the first has made",
  BOTH_STAGES,
  async (subject) => {
    const { start, work, dir, uid } = subject;
    mkdirSync(`${dir}/home2`);
    chownSync(`${dir}/home2`, uid, uid === 0 ? 0 : 65_534);
    // One that is there before, empty and not ours, stays whatever runs come and go.
    mkdirSync(`${work}/.agents`);
    chownSync(`${work}/.agents`, uid, uid === 0 ? 0 : 65_534);
    const line = (name: string): string[] => [
      ...["-P", ":workspace", "--", "sh", "-c"],
      `touch up${name}; while [ ! -e go${name} ]; do sleep 0.02; done; mkdir .git .codex .agents 2>/dev/null && echo made; exit 0`,
    ];
    const first = start(line("1"));
    await until(() => isThere(`${work}/up1`), "the first is up");
    const second = start(line("2"), { env: { CODEX_HOME: `${dir}/home2` } });
    await until(() => isThere(`${work}/up2`), "the second is up");
    await Bun.write(`${work}/go1`, "");
    expect((await first.outcome).stdout).toBe("");
    expect(placeholders(work)).toEqual(NAMES);
    await Bun.write(`${work}/go2`, "");
    expect((await second.outcome).stdout).toBe("");
    expect(placeholders(work)).toEqual([".agents"]);
  },
);

matrix(
  "what the host's user puts into a placeholder during the run stays",
  BOTH_STAGES,
  async ({ outside, start, work }) => {
    const long = start([
      ...["-P", ":workspace", "--", "sh", "-c"],
      "touch up; while [ ! -e go ]; do sleep 0.02; done; ls -A .git; rm -rf .git",
    ]);
    await until(() => isThere(`${work}/up`), "up");
    const git = await outside(["git", "init", "-q"]);
    expect(git).toEqual({ end: 0, stdout: "", stderr: "" });
    await Bun.write(`${work}/go`, "");
    const { stdout } = await long.outcome;
    expect(stdout).toBe("");
    expect(readFileSync(`${work}/.git/HEAD`, "utf8")).toStartWith("ref:");
    expect(placeholders(work)).toEqual([".git"]);
  },
);

matrix(
  "what a killed supervisor and its killed watcher left, the next run removes",
  BOTH_STAGES,
  async (subject) => {
    const { work, run, dir, outside } = subject;
    const long = await running(subject, ":workspace");
    await killWithWatcher(long);
    expect(placeholders(work)).toEqual(NAMES);
    // From the same folder or from another one.
    const other = subject.variant.stage === "inner" ? `${dir}/other` : work;
    if (other !== work) {
      mkdirSync(other);
      if (process.getuid?.() === 0) {
        Bun.spawnSync(["chown", String(subject.uid), other]);
      }
    }
    await outside(["true"]);
    expect((await run(["-P", ":workspace", "--", "true"], { cwd: other })).end)
      .toBe(0);
    expect(placeholders(work)).toEqual([]);
  },
);

matrix(
  "SIGKILL to the watcher ends everything inside, and leaves no placeholder",
  EVERY_VARIANT,
  async (subject) => {
    const long = await running(subject, ":workspace", ["--outlive-caller"]);
    process.kill(watcherOf(long.pid), "SIGKILL");
    const { end, stderr } = await long.outcome;
    expect({ end, stderr }).toEqual({
      end: 125,
      stderr: "codex: the run could not be watched any longer and was ended\n",
    });
    await untilNobodyIsLeft();
    expect(placeholders(subject.work)).toEqual([]);
  },
);

test("--outlive-caller outlives the process that started it", async () => {
  const { work, start } = setup(PLAIN);
  const shell = start([
    ...["-P", ":workspace", "--outlive-caller", "--", "sh", "-c"],
    "touch up; while [ ! -e go ]; do sleep 0.02; done; touch end",
  ], { shell: `("$@" </dev/null >/dev/null 2>&1 &)` });
  expect((await shell.outcome).end).toBe(0);
  await until(() => isThere(`${work}/up`), "up");
  await Bun.sleep(200);
  await Bun.write(`${work}/go`, "");
  await until(() => isThere(`${work}/end`), "the end");
  await untilNobodyIsLeft();
});

const THREAD = `
import subprocess, sys, threading, time
def begin():
    global child
    child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
thread = threading.Thread(target=begin)
thread.start()
thread.join()
print("thread gone", flush=True)
if sys.argv[1] == "lives":
    time.sleep(0.5)
    child.stdin.close()
print(child.wait())
`;

test("a run dies with the thread that started it, unless --outlive-caller", async () => {
  const subject = setup(PLAIN);
  // The thread stays until the command is up, and the command until it is told or killed.
  const words = ["-P", ":read-only", "--", "sh", "-c", "echo up; exec cat"];
  const shell = (fate: string): RunOptions => ({
    shell: `exec /usr/bin/python3 -c '${THREAD}' ${fate} "$@"`,
  });
  const dies = await subject.run(words, shell("dies"));
  expect(dies.stdout).toBe("thread gone\n-9\n");
  const supervised = ["-P", ":workspace", ...words.slice(2)];
  const ends = await subject.run(supervised, shell("dies"));
  expect(ends.stdout).toBe("thread gone\n-15\n");
  expect(readdirSync(subject.work)).toEqual([]);
  for (const call of [words, supervised]) {
    const lives = await subject.run(
      ["--outlive-caller", ...call],
      shell("lives"),
    );
    expect(lives.stdout).toBe("thread gone\n0\n");
  }
});

/** SIGKILL at any moment of the start, with a supervisor: nothing may be left. */
const AT_ANY_MOMENT: Variant = { ...PLAIN, stage: "one-start" };

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`${signal} at any moment of a supervised start leaves nothing`, async () => {
    const subject = setup(AT_ANY_MOMENT);
    for (let delayMs = 0; delayMs < 40; delayMs += 2) {
      const run = subject.start(["-P", ":workspace", "--", "sleep", NAP]);
      await Bun.sleep(delayMs);
      process.kill(run.pid, signal);
      await run.outcome;
      await untilNobodyIsLeft();
    }
    // What died between the record and the watcher is the next run's to remove.
    await subject.run(["-P", ":workspace", "--", "true"]);
    expect(readdirSync(subject.work)).toEqual([]);
  });
}

test("the watcher proper can wait itself: a number does not dismiss it, 0 does", async () => {
  const { codex } = setup(PLAIN);
  const ends = [pipe(), pipe()].map((made) => {
    if (!made.ok) throw new Error(JSON.stringify(made.error));
    return made.value;
  });
  const [[lifeline, lifelineEnd], [info, infoEnd]] = ends as [
    readonly [number, number],
    readonly [number, number],
  ];
  const orders = { lifeline: 4, info: 5, sync: 5, records: null };
  const file = Bun.file(`/tmp/codex-orders-${process.pid}`);
  await Bun.write(file, JSON.stringify({ ...orders, placeholders: [] }));
  const child = Bun.spawn([codex, "--watcher", "3"], {
    argv0: "codex-linux-sandbox",
    stdio: ["ignore", "ignore", "inherit", file, lifeline, info],
  });
  // One that took this for the end would wait at --info-fd, which stays open.
  writeAll(lifelineEnd, lifelineWord(process.pid));
  await Bun.sleep(100);
  const before = child.exitCode;
  writeAll(lifelineEnd, lifelineWord(0));
  expect([before, await child.exited]).toEqual([null, 0]);
  for (const fd of [lifeline, lifelineEnd, info, infoEnd]) close(fd);
  await file.delete();
});

test("nothing is left in the records either", async () => {
  const subject = setup(PLAIN);
  const { end } = await subject.run(["-P", ":workspace", "--", "true"]);
  expect(end).toBe(0);
  expect(recordedPlaces(subject)).toEqual([]);
});

matrix(
  "a bubblewrap that is killed while it sets up leaves nobody behind and no placeholder",
  BOTH_STAGES,
  async (subject) => {
    // Fills the cache: a probe of bubblewrap is not what is to be killed.
    await subject.run(["-P", ":workspace", "--", "true"]);
    for (let round = 0; round < 6; round++) {
      const started = subject.start([
        ...["-P", ":workspace", "--", "sleep", NAP],
      ]);
      const monitor = (): OurProcess | undefined =>
        ourProcesses().find(({ words }) => words.includes(" --sync-fd "));
      await until(() => monitor() !== undefined, "bubblewrap runs");
      await Bun.sleep(round * 0.5);
      // The first one found has the lowest number: it is the monitor.
      const found = monitor();
      if (found !== undefined) process.kill(found.pid, "SIGKILL");
      await started.outcome;
      await untilNobodyIsLeft();
      expect(placeholders(subject.work)).toEqual([]);
    }
  },
);
