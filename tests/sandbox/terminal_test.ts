/**
 * A run at a terminal is as one under a shell: keys reach the command, it can be stopped and continued, and the terminal is left as it was.
 *
 * A terminal of the test's own, played by a few lines of Python (`terminal.py`).
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  BOTH_STAGES,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  setup,
  type Subject,
  untilNobodyIsLeft,
} from "./harness.ts";

afterAll(leaveClean);

const PLAYER = readFileSync(`${import.meta.dirname}/terminal.py`, "utf8");

type Step = readonly [op: string, argument?: unknown];

interface Played {
  /** The status; negative for a signal. */
  readonly end: number;
  readonly shown: string;
  readonly notes: readonly string[];
}

async function play(
  subject: Subject,
  words: readonly string[],
  steps: readonly Step[],
): Promise<Played> {
  const { stdout, stderr } = await subject.outside([
    "/usr/bin/python3",
    "-c",
    PLAYER,
    JSON.stringify(steps.map(([op, argument = null]) => [op, argument])),
    ...words,
  ], { timeoutMs: 110_000 });
  expect(stderr).toBe("");
  const played = JSON.parse(stdout) as Played;
  if (typeof played.end === "string") throw new Error(stdout);
  return played;
}

/** The words of `codex sandbox` with the variant's flags. */
function sandbox(subject: Subject, ...words: string[]): string[] {
  const { launcher, stage } = subject.variant;
  return [
    subject.codex,
    "sandbox",
    ...(launcher === "auto" ? [] : ["--launcher", launcher]),
    ...(stage === "auto" ? [] : ["--stage", stage]),
    ...words,
  ];
}

const LOOP = "while :; do sleep 0.05; done";

/** What the command does, and is still there to be looked at until the player changes the window's size. */
function untilResized(line: string): string {
  return `trap "exit 0" WINCH; ${line}; ${LOOP}`;
}
const RESIZE: Step = ["size", [33, 101]];

matrix(
  "^C is the command's to handle, and its status is the run's",
  EVERY_VARIANT,
  async (subject) => {
    const line = `trap 'echo trapped; exit 7' INT; echo ready; ${LOOP}`;
    const { end, shown } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", line),
      [["expect", "ready"], ["send", "\x03"], ["expect", "trapped"]],
    );
    expect({ end, shown }).toEqual({
      end: 7,
      shown: "ready\r\n^Ctrapped\r\n",
    });
    await untilNobodyIsLeft();
  },
);

matrix(
  "^C without a handler ends the command with its children, and us by SIGINT",
  EVERY_VARIANT,
  async (subject) => {
    const { end } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", "cat; echo after"),
      // A child that answers is there: dash forgets a SIGINT that comes while it forks.
      [["send", "x\n"], ["expect", "x\r\nx\r\n"], ["send", "\x03"]],
    );
    expect(end).toBe(-2);
    await untilNobodyIsLeft();
  },
);

matrix(
  "the terminal's node inside is read-only: its mode stays",
  BOTH_STAGES,
  async (subject) => {
    const line =
      "chmod $(stat -c %a /dev/console) /dev/console && echo changed; exit 7";
    const { end, shown } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", line),
      [],
    );
    expect({ end, isReadOnly: /Read-only file system/.test(shown) }).toEqual({
      end: 7,
      isReadOnly: true,
    });
  },
);

matrix(
  "a command that ignores ^C goes on",
  BOTH_ACTORS,
  async (subject) => {
    const line = "trap '' INT; echo ready; read x; echo got $x";
    const { end } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", line),
      [
        ["expect", "ready"],
        ["send", "\x03"],
        ["pause", 0.2],
        ["send", "line\n"],
        ["expect", "got line"],
      ],
    );
    expect(end).toBe(0);
  },
);

matrix(
  "^Z stops the command and us, the shell has the terminal, and fg goes on with both",
  EVERY_VARIANT,
  async (subject) => {
    const line = "echo ready; read x; echo got $x; exit 5";
    const words = sandbox(subject, "--", "sh", "-c", `'${line}'`).join(" ");
    const { end } = await play(
      subject,
      ["/bin/bash", "--norc", "--noprofile", "-i"],
      [
        ["send", `PS1='shell> '\n`],
        ["expect", "\nshell> "],
        ["send", `${words}\n`],
        ["expect", "\nready"],
        ["send", "\x1a"],
        ["expect", "Stopped"],
        // What is typed now is the shell's: nobody inside may read it.
        ["send", "echo $((6*7))\n"],
        ["expect", "\n42"],
        ["send", "fg\n"],
        ["expect", "sandbox"],
        ["pause", 0.1],
        ["send", "again\n"],
        ["expect", "got again"],
        ["send", "echo status $?\n"],
        ["expect", "status 5"],
        ["send", "exit 0\n"],
      ],
    );
    expect(end).toBe(0);
    await untilNobodyIsLeft();
  },
);

matrix(
  "while a run is stopped nobody inside reads what is typed, not even from a session of its own",
  EVERY_VARIANT,
  async (subject) => {
    const line =
      'exec 3<&0; setsid sh -c "while read y; do echo stolen \\$y; done" <&3 & trap "echo going" CONT; echo ready; while :; do sleep 0.05; done';
    const words = sandbox(subject, "--", "sh", "-c", `'${line}'`).join(" ");
    const { shown } = await play(
      subject,
      ["/bin/bash", "--norc", "--noprofile", "-i"],
      [
        ["send", `${words}\n`],
        ["expect", "ready\r\n"],
        ["pause", 0.1],
        ["send", "\x1a"],
        ["expect", "Stopped"],
        ["send", "read -s x; echo $((6*7))\n"],
        ["pause", 0.1],
        ["send", "secret\n"],
        ["expect", "42"],
        ["send", "fg\n"],
        // Before that the key would be the shell's.
        ["expect", "going\r\n"],
        ["send", "\x03"],
        ["expect", "\\^C[^$]*bash-[0-9.]+[$#] "],
        ["send", "exit 0\n"],
      ],
    );
    expect(shown).not.toContain("stolen secret");
    expect(shown).not.toContain("stolen read");
    await untilNobodyIsLeft();
  },
);

matrix(
  "^Z runs the command's own handlers for SIGTSTP and SIGCONT",
  BOTH_ACTORS,
  async (subject) => {
    const line =
      `trap "echo stopping" TSTP; trap "echo continued; exit 6" CONT; echo ready; ${LOOP}`;
    const words = sandbox(subject, "--", "sh", "-c", `'${line}'`).join(" ");
    const { end, shown } = await play(
      subject,
      ["/bin/bash", "--norc", "--noprofile", "-i"],
      [
        ["send", `${words}\n`],
        ["expect", "\nready"],
        ["send", "\x1a"],
        ["expect", "Stopped"],
        ["send", "fg\n"],
        ["expect", "continued"],
        ["send", "exit $?\n"],
      ],
    );
    // Where the machine is too busy to run it before the run is stopped, it runs afterwards.
    expect({ end, said: shown.match(/(?:stopping|continued)\r$/gm) })
      .toEqual({ end: 6, said: ["stopping\r", "continued\r"] });
  },
);

matrix(
  "a new size of the window reaches the command",
  EVERY_VARIANT,
  async (subject) => {
    const line = `trap 'stty size; exit 0' WINCH; echo ready; ${LOOP}`;
    const { end, shown } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", line),
      [["expect", "ready"], ["size", [33, 101]], ["expect", "33 101"]],
    );
    expect({ end, shown }).toEqual({ end: 0, shown: "ready\r\n33 101\r\n" });
  },
);

matrix(
  "the terminal's modes are as before, also after a command that changed them and was killed",
  EVERY_VARIANT,
  async (subject) => {
    const { end, notes } = await play(
      subject,
      sandbox(
        subject,
        ...["--", "sh", "-c"],
        "stty raw -echo; echo ready; read x; kill -9 $$",
      ),
      [
        ["expect", "ready"],
        ["modes"],
        ["send", "\n"],
        ["wait"],
        ["modes"],
      ],
    );
    expect({ end, notes }).toEqual({
      end: 137,
      notes: ["changed", "as before"],
    });
  },
);

matrix(
  "a terminal that the command made non-blocking waits again when the run is over",
  EVERY_VARIANT,
  async (subject) => {
    const F_SETFL = 4, O_NONBLOCK_RDWR = 0o4002;
    const line = untilResized(
      `${subject.probe} calls fcntl 0 ${F_SETFL} ${O_NONBLOCK_RDWR}`,
    );
    const { shown, notes } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", line),
      [["expect", "ok"], ["flags"], RESIZE, ["wait"], ["flags"]],
    );
    expect({ shown, notes }).toEqual({
      shown: "ok\r\n",
      notes: ["does not wait", "waits"],
    });
  },
);

matrix(
  "a terminal that the command opened to everybody is closed again when the run is over",
  EVERY_VARIANT,
  async (subject) => {
    const line = untilResized(`${subject.probe} calls fchmod 0 ${0o666}`);
    const { shown, notes } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", line),
      [["rights"], ["expect", "ok"], ["rights"], RESIZE, ["wait"], ["rights"]],
    );
    expect({ shown, notes }).toEqual({
      shown: "ok\r\n",
      notes: [notes[0] ?? "", "0o666", notes[0] ?? ""],
    });
    expect(notes[0]).not.toBe("0o666");
  },
);

matrix(
  "a stopped run leaves the terminal as it was and finds its own modes again",
  BOTH_ACTORS,
  async (subject) => {
    // Its own modes are there again before it is continued.
    const line =
      `on=; trap "on=1" CONT; stty -echo; echo ready; until [ $on ]; do sleep 0.05; done; stty -a | grep -o "[-]echo "`;
    const words = sandbox(subject, "--", "sh", "-c", `'${line}'`).join(" ");
    // dash, unlike bash, leaves a job's modes alone.
    const { end } = await play(
      subject,
      ["/bin/dash", "-im"],
      [
        ["send", `${words}\n`],
        ["expect", "ready\r\n"],
        ["send", "\x1a"],
        ["expect", "Stopped"],
        ["send", "stty -a | grep -o ' echo '\n"],
        ["expect", " echo \\r"],
        ["send", "fg\n"],
        ["expect", "-echo \\r"],
        ["send", "exit 0\n"],
      ],
    );
    expect(end).toBe(0);
  },
);

matrix(
  "a terminal that hangs up ends the run",
  EVERY_VARIANT,
  async (subject) => {
    const { end } = await play(
      subject,
      sandbox(subject, "--", "sh", "-c", "echo ready; sleep 60"),
      [["expect", "ready"], ["hang up"]],
    );
    expect(end).toBe(-1);
    await untilNobodyIsLeft();
  },
);

matrix(
  "keys reach the command where we serve the network too",
  BOTH_ACTORS,
  async (subject) => {
    writeFileSync(
      `${subject.home}/config.toml`,
      'default_permissions = "net"\n[permissions.net]\nextends = ":workspace"\n[permissions.net.network.domains]\n"example.com" = "allow"\n',
    );
    const line =
      'trap "echo trapped" INT; echo ready; until read x && [ $x ]; do :; done; echo got $x';
    const words = sandbox(subject, "--", "sh", "-c", `'${line}'`).join(" ");
    const { end } = await play(
      subject,
      ["/bin/bash", "--norc", "--noprofile", "-i"],
      [
        ["send", `${words}\n`],
        ["expect", "ready\r\n"],
        ["send", "\x03"],
        ["expect", "trapped"],
        ["send", "\x1a"],
        ["expect", "Stopped"],
        ["send", "echo $((6*7))\n"],
        ["expect", "\n42"],
        ["send", "fg\n"],
        ["expect", "sandbox"],
        ["pause", 0.1],
        ["send", "again\n"],
        ["expect", "got again"],
        ["send", "exit 0\n"],
      ],
    );
    expect(end).toBe(0);
    await untilNobodyIsLeft();
  },
);

matrix(
  "a command in the background can't make the terminal signal the shell",
  EVERY_VARIANT,
  async (subject) => {
    const F_SETSIG = 10, F_SETFL = 4, FIOASYNC = 0x5452, SIGUSR1 = 10;
    const calls = [
      `fcntl 0 ${F_SETSIG} ${SIGUSR1} , fcntl 0 ${F_SETFL} ${0o20002}`,
      `ioctl 0 ${FIOASYNC} x:01000000`,
    ].map((call) => `${subject.probe} calls ${call}`).join("; ");
    const words = sandbox(
      subject,
      "--",
      "sh",
      "-c",
      `'echo; ${calls}; echo tried'`,
    );
    const { shown } = await play(
      subject,
      ["/bin/bash", "--norc", "--noprofile", "-i"],
      [
        // With the quotes it is not what the trap says.
        ["send", 'trap "echo sig""nalled" USR1\n'],
        ["send", `${words.join(" ")} &\n`],
        ["expect", "\ntried\r\n"],
        ["send", "wait; echo typed\n"],
        ["expect", "\ntyped"],
        ["send", "exit 0\n"],
      ],
    );
    const said = shown.split("\r\n").filter((line) =>
      /^(ok|E[A-Z]+|signalled)$/.test(line)
    );
    expect(said).toEqual(["EPERM", "EPERM"]);
  },
);

test("SIGKILL at a terminal leaves nobody", async () => {
  const subject = setup();
  const { end } = await play(
    subject,
    sandbox(subject, "--", "sh", "-c", "echo ready; sleep 60"),
    [["expect", "ready"], ["signal", 9]],
  );
  expect(end).toBe(-9);
  await untilNobodyIsLeft();
});

test("a run at a terminal says why somebody stays, and one without does not", async () => {
  const subject = setup();
  const words = sandbox(subject, "--explain", "--", "true");
  const { shown } = await play(subject, words, []);
  expect(shown).toMatch(/supervisor {3}a terminal\r\n/);
  expect((await subject.run(["--explain", "--", "true"])).stdout)
    .toMatch(/supervisor {3}none\n/);
});
