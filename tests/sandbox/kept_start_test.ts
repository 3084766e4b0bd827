/**
 * A start that was made before is made again in a short way, and only while everything it rests on is as it was.
 *
 * What is kept is marked by the test: a kept start then shows a variable that no other start has.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import {
  BOTH_ACTORS,
  isThere,
  leaveClean,
  matrix,
  notProved,
  type Outcome,
  type RunOptions,
  setup,
  type Subject,
  until,
} from "./harness.ts";

afterAll(leaveClean);

const SHOW = ["--", "sh", "-c", "echo ${KEPT:-made anew}"];

/** Longer than a file must have been left alone before anything that rests on it is kept. */
const SETTLED_MS = 3_200;

type Case = readonly [
  title: string,
  body: (subject: Subject) => Promise<void>,
];

/** Each waits for its files to settle, so all of them wait together. */
const CASES: Case[] = [];

function starts(subject: Subject): string {
  return `${subject.home}/sandbox/starts`;
}

/**
 * Runs twice, marks what was kept and sees that it is used. The first run only learns what bubblewrap can do.
 *
 * A kept start rests on places of the host as well, where other test files make and remove things at the same time: then it is made
 * anew, and is tried again here. So what a kept start shows is looked at in this third run, and not in one that follows.
 *
 * @param third the run that is to be a kept one and says so first; the same once more without it
 * @returns the file, and what came of the third run
 */
async function keep(
  subject: Subject,
  words: readonly string[] = SHOW,
  options: RunOptions = {},
  third: () => Promise<Outcome> = () => subject.run(words, options),
): Promise<{ readonly file: string; readonly outcome: Outcome }> {
  for (let attempt = 1;; attempt++) {
    await Bun.sleep(SETTLED_MS);
    for (let round = 0; round < 2; round++) await subject.run(words, options);
    const names = namesIn(starts(subject));
    if (names.length === 1) {
      const file = `${starts(subject)}/${names[0]}`;
      markKept(file);
      const outcome = await third();
      if (outcome.stdout.startsWith("kept")) return { file, outcome };
    }
    if (attempt === 4) throw new Error("never kept");
    rmSync(starts(subject), { recursive: true, force: true });
  }
}

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Whoever uses it shows that he does. */
function markKept(file: string): void {
  const kept = JSON.parse(readFileSync(file, "latin1"));
  kept.words.splice(-1, 0, "--setenv", "KEPT", "kept");
  writeFileSync(file, Buffer.from(JSON.stringify(kept), "latin1"));
}

async function shows(
  subject: Subject,
  options: RunOptions = {},
  words: readonly string[] = SHOW,
): Promise<string> {
  const { end, stdout }: Outcome = await subject.run(words, options);
  expect(end).toBe(0);
  return stdout.trim();
}

CASES.push([
  "the third start of a command in a place is a kept one, with other words, variables and streams",
  async (subject) => {
    const other = [
      "--",
      "sh",
      "-c",
      'echo "$KEPT $OTHER $1"; cat',
      "x",
      "\xff",
    ];
    const { outcome } = await keep(subject, SHOW, {}, () =>
      subject.run(other, {
        env: { OTHER: "else" },
        shell: 'printf in | "$@" | cat',
      }));
    expect(outcome.stdout).toBe(
      "kept else \xff\nin".replace("\xff", "\xc3\xbf"),
    );
  },
]);

CASES.push([
  "a kept start confines as every other does",
  async (subject) => {
    const { work, dir, home } = subject;
    const script =
      `echo "$KEPT"; for d in ${dir} ${home} ${work} /etc /tmp; do touch $d/escaped 2>/dev/null && echo $d; done; ` +
      `ls ${home}/sandbox 2>&1 | grep -c "denied"; grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; exit 7`;
    const words = ["--", "sh", "-c", script];
    const { end, stdout } = (await keep(subject, words)).outcome;
    expect({ end, stdout }).toEqual({
      end: 7,
      stdout:
        "kept\n1\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n",
    });
  },
]);

/** What changes, and that nothing kept before is used afterwards. */
const CHANGES: readonly (readonly [
  what: string,
  change: (subject: Subject, file: string) => RunOptions | void,
])[] = [
  ["a config file appears", ({ home }) => {
    writeFileSync(`${home}/config.toml`, "");
  }],
  ["a variable that was asked for changes", ({ work }) => ({
    env: { TMPDIR: work },
  })],
  ["a killed run has left a record of placeholders", ({ home }) => {
    mkdirSync(`${home}/sandbox/placeholders/left`, { recursive: true });
  }],
  ["PATH changes", () => ({ env: { PATH: "/usr/bin:/bin" } })],
  [
    "a loader variable is set",
    () => ({ env: { LD_LIBRARY_PATH: "/nowhere" } }),
  ],
  ["the working directory is another", ({ dir }) => ({ cwd: dir })],
  ["the working directory was replaced by another of its name", (subject) => {
    renameSync(subject.work, `${subject.work}.old`);
    mkdirSync(subject.work);
    chownSync(subject.work, subject.uid, subject.uid);
  }],
  ["standard input is a file that could be written", ({ work }) => ({
    shell: `echo x > ${work}/in; exec "$@" < ${work}/in`,
  })],
  ["the folder of kept starts is open to others", (subject) => {
    chmodSync(starts(subject), 0o755);
  }],
  ["what was kept is open to others", (_, file) => chmodSync(file, 0o644)],
  ["what was kept is a link to it", (_, file) => {
    renameSync(file, `${file}.moved`);
    symlinkSync(`${file}.moved`, file);
  }],
  ["what was kept is cut off", (_, file) => {
    writeFileSync(file, readFileSync(file, "latin1").slice(0, -2), "latin1");
  }],
  ["the executable is another file", ({ codex, dir, work }) => {
    copyFileSync(codex, `${dir}/codex`);
    chmodSync(`${dir}/codex`, 0o755);
    return { cwd: work, shell: `shift; exec ${dir}/codex "$@"` };
  }],
];

for (const [what, change] of CHANGES) {
  CASES.push([`a kept start is not used when ${what}`, async (subject) => {
    const { file } = await keep(subject);
    const options = change(subject, file) ?? {};
    expect(await shows(subject, options)).toBe("made anew");
  }]);
}

CASES.push([
  "a kept start is not used when standard input is a device that takes orders",
  async (subject) => {
    // Nobody else can make one.
    if (subject.uid !== 0) return;
    const device = `${subject.dir}/device`;
    execFileSync("mknod", [device, "c", "1", "11"]);
    await keep(subject);
    const options = { shell: `"$@" <${device}` };
    expect(await shows(subject, options)).toBe("made anew");
  },
]);

CASES.push([
  "a kept start with the host's network closes abstract names, and a socket that has appeared is hidden",
  async (subject) => {
    const { home, work, probe } = subject;
    writeFileSync(
      `${home}/config.toml`,
      'default_permissions = "p"\n[permissions.p]\nextends = ":read-only"\nnetwork = { enabled = true }\n',
    );
    const plan = await subject.run(["--explain", "--", "true"]);
    if (plan.stdout.includes("abstract names can be reached")) {
      return notProved("kept starts with a network", "needs Landlock 6");
    }
    const name = `codex-live-kept-${process.pid}-${Math.random()}`;
    const agent = `${work}/agent.sock`;
    const servers = [await listen(`\0${name}`)];
    try {
      const script =
        'echo ${KEPT:-anew} $("$0" connect-unix "@$1") $("$0" connect-unix "$2")';
      const words = ["--", "sh", "-c", script, probe, name, agent];
      const env = { SSH_AUTH_SOCK: agent };
      const { outcome } = await keep(subject, words, { env });
      expect(outcome.stdout).toBe("kept EPERM ENOENT\n");
      servers.push(await listen(agent));
      expect(await shows(subject, { env }, words)).toBe("anew EPERM EACCES");
    } finally {
      for (const server of servers) server.close();
    }
  },
]);

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      if (!path.startsWith("\0")) chmodSync(path, 0o777);
      resolve(server);
    });
  });
}

CASES.push([
  "a command that was replaced is looked at anew",
  async (subject) => {
    const tool = `${subject.work}/tool`;
    writeFileSync(tool, "#!/bin/sh\necho ${KEPT:-made anew}\n");
    chmodSync(tool, 0o755);
    await keep(subject, ["--", tool]);
    writeFileSync(tool, "#!/nowhere/sh\n");
    const { end, stderr } = await subject.run(["--", tool]);
    expect({ end, line: /interpreter/.test(stderr) }).toEqual({
      end: 127,
      line: true,
    });
  },
]);

CASES.push([
  "nothing is kept of a run that rests on a file changed a moment ago, that has a supervisor, or that is only explained",
  async (subject) => {
    const { run, home, outside } = subject;
    await Bun.sleep(SETTLED_MS);
    await run(["--", "true"]);
    // Again and again: on a machine that stands still for seconds one change would be an old one.
    const changing = outside([
      ...["sh", "-c", "until [ -e stop ]; do : >$0; sleep 0.05; done"],
      `${home}/config.toml`,
    ]);
    await until(() => isThere(`${home}/config.toml`), "the file changes");
    await run(["--", "true"]);
    writeFileSync(`${subject.work}/stop`, "");
    await changing;
    rmSync(`${home}/config.toml`);
    await run(["--outlive-caller", "--", "true"]);
    await run(["--explain", "--", "true"]);
    expect(existsSync(starts(subject))).toBe(false);
  },
]);

CASES.push([
  "a state folder that can't be written only costs time",
  async (subject) => {
    await Bun.sleep(SETTLED_MS);
    await subject.run(["--", "true"]);
    writeFileSync(starts(subject), "in the way");
    const { end, stderr } = await subject.run(["--", "true"]);
    expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
  },
]);

matrix(
  "kept starts: every case above",
  BOTH_ACTORS,
  async ({ variant }) => {
    const failures = await Promise.all(CASES.map(async ([title, body]) => {
      try {
        await body(setup(variant));
        return [];
      } catch (error) {
        return [`${title}: ${error}`];
      }
    }));
    expect(failures.flat()).toEqual([]);
  },
);
