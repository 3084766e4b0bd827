/**
 * `--result-json`: one line that tells how a run ended, whatever ended it, where the command can't write.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import {
  EVERY_VARIANT,
  isThere,
  leaveClean,
  matrix,
  ourProcesses,
  type RunOptions,
  setup,
  type Subject,
  TRUE_STAGES,
  until,
  untilNobodyIsLeft,
} from "./harness.ts";

afterAll(leaveClean);

/** Longer than any test; never in another's command line. */
const NAP = "86391";

interface Told {
  readonly kind: string;
  readonly status: number;
  readonly signal: number | null;
  readonly duration_ms: number;
  readonly backend: string | null;
  readonly profile: string | null;
  readonly reason: string | null;
  readonly message: string | null;
}

/** The shell's part of `--result-json fd:9`; the harness's streams stay the command's. */
function toFile(subject: Subject, before = ""): RunOptions {
  return { shell: `${before}"$@" 9>${subject.home}/result` };
}

function told(subject: Subject): Told {
  const text = readFileSync(`${subject.home}/result`, "utf8");
  expect(text.split("\n")).toHaveLength(2);
  return JSON.parse(text) as Told;
}

/** A result with the fields that tell, and nothing that differs from run to run. */
function short({ kind, status, signal, reason }: Told): unknown[] {
  return [kind, status, signal, reason];
}

type Row = readonly [
  words: readonly string[],
  expected: readonly unknown[],
  why: string,
];
const ENDS: readonly Row[] = [
  [["--", "true"], ["exited", 0, null, null], "a command that succeeds"],
  [["--", "sh", "-c", "exit 7"], ["exited", 7, null, null], "one that fails"],
  [
    ["--", "sh", "-c", "kill -SEGV $$"],
    ["signal", 139, 11, null],
    "one that a signal ends",
  ],
  [
    ["--timeout", "200ms", "--", "sleep", "60"],
    ["timeout", 124, null, null],
    "one that takes too long",
  ],
  [
    ["--", "no-such-program"],
    ["command_not_found", 127, null, null],
    "one that is not there",
  ],
  [
    ["--", "/etc"],
    ["command_not_executable", 126, null, null],
    "one that can't be executed",
  ],
  [
    ["-P", "nowhere", "--", "true"],
    ["denied_before_start", 125, null, "config"],
    "a profile that is not there",
  ],
  [
    ["-P", ":danger-full-access", "--", "true"],
    ["denied_before_start", 125, null, "request"],
    "no sandbox that could be watched",
  ],
  [
    ["--pass-fd", "200", "--", "true"],
    ["launch", 125, null, null],
    "a descriptor that is not open",
  ],
  [
    ["--timeout", "soon", "--", "true"],
    ["denied_before_start", 2, null, "usage"],
    "words that mean nothing",
  ],
];
for (const [words, expected, why] of ENDS) {
  matrix(
    `the result of ${why} is ${expected[0]}`,
    TRUE_STAGES,
    async (subject) => {
      const { end, stdout } = await subject.run(
        ["--result-json", "fd:9", ...words],
        toFile(subject),
      );
      const result = told(subject);
      expect(short(result)).toEqual([...expected]);
      expect({ end, stdout }).toEqual({ end: result.status, stdout: "" });
    },
  );
}

matrix(
  "a script whose interpreter is missing is told from inside",
  TRUE_STAGES,
  async (subject) => {
    writeFileSync(`${subject.work}/script`, "#!/no/such/program\n");
    chmodSync(`${subject.work}/script`, 0o755);
    await subject.run(
      ["--result-json", "fd:9", "--", `${subject.work}/script`],
      toFile(subject),
    );
    const result = told(subject);
    expect(short(result)).toEqual(["command_not_found", 127, null, null]);
    expect(result.backend).toBe("bubblewrap");
    expect(result.message).toContain("interpreter");
  },
);

matrix(
  "a run that is told to end tells by which signal",
  EVERY_VARIANT,
  async (subject) => {
    for (const profile of [":read-only", ":workspace"]) {
      const run = subject.start([
        ...["-P", profile, "--result-json", `${subject.home}/result`, "--"],
        ...["sleep", NAP],
      ]);
      await until(
        () => ourProcesses().some(({ words }) => words === `sleep ${NAP}`),
        "the command runs",
      );
      process.kill(run.pid, "SIGTERM");
      expect((await run.outcome).end).toBe("SIGTERM");
      const result = told(subject);
      expect(short(result)).toEqual(["signal", 143, 15, null]);
      expect([result.backend, result.profile]).toEqual(["bubblewrap", profile]);
      await untilNobodyIsLeft();
    }
  },
);

matrix(
  "the command does not get the result's descriptor, and can't write the result's file",
  EVERY_VARIANT,
  async (subject) => {
    const script =
      `ls /proc/self/fd | tr "\\n" " "; echo x >&9; echo x > ${subject.home}/result; exit 5`;
    const { end, stdout } = await subject.run(
      [
        ...["-P", ":workspace", "--result-json", "fd:9"],
        ...["--", "sh", "-c", `exec 2>/dev/null; ${script}`],
      ],
      toFile(subject),
    );
    expect({ end, stdout: stdout.trim() }).toEqual({
      end: 5,
      stdout: "0 1 2 3",
    });
    expect(short(told(subject))).toEqual(["exited", 5, null, null]);
  },
);

type Refusal = readonly [
  target: string,
  prepare: (subject: Subject) => void,
  shell: string,
  message: string,
];
/** No other run of this file makes it. */
const TMP_RESULT = `/tmp/codex-result-${process.pid}`;

const REFUSED: readonly Refusal[] = [
  ["result", () => {}, '"$@"', "the command can write there too"],
  [TMP_RESULT, () => {}, '"$@"', "the command can write there too"],
  [
    "out/result",
    ({ work }) => {
      mkdirSync(`${work}/real`);
      symlinkSync("real", `${work}/out`);
    },
    '"$@"',
    "the command can write there too",
  ],
  ["HOME", () => {}, '"$@"', "it is a directory"],
  [
    "HOME/link",
    ({ home }) => symlinkSync("elsewhere", `${home}/link`),
    '"$@"',
    "it is a symbolic link",
  ],
  [
    "HOME/twice",
    ({ home }) => {
      writeFileSync(`${home}/once`, "kept");
      linkSync(`${home}/once`, `${home}/twice`);
    },
    '"$@"',
    "it has another name",
  ],
  ["/dev/null", () => {}, '"$@"', "it is no regular file"],
  ["HOME/no/such", () => {}, '"$@"', "ENOENT"],
  ["fd:9", () => {}, '"$@"', "the caller has not opened it"],
  ["fd:9", () => {}, '"$@" 9</dev/null', "it is not open for writing"],
];
for (const [target, prepare, shell, message] of REFUSED) {
  test(
    `a result in ${
      target === TMP_RESULT ? "/tmp" : target
    } is refused, and nothing starts: ${message}`,
    async () => {
      const subject = setup();
      prepare(subject);
      const { end, stdout, stderr } = await subject.run([
        ...["-P", ":workspace"],
        ...["--result-json", target.replace("HOME", subject.home)],
        ...["--", "echo", "started"],
      ], { shell });
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toContain(message);
      expect(stderr.split("\n")).toHaveLength(2);
      expect(isThere(TMP_RESULT)).toBe(false);
    },
  );
}

test("a result's descriptor that --pass-fd hands over is refused", async () => {
  const subject = setup();
  const { end, stderr } = await subject.run(
    ["--pass-fd", "9", "--result-json", "fd:9", "--", "true"],
    { shell: '"$@" 9>/dev/null' },
  );
  expect(end).toBe(125);
  expect(stderr).toContain("--pass-fd 9");
});

test("a result that nobody reads any more changes neither status nor end", async () => {
  const subject = setup();
  const { end, stderr } = await subject.run(
    ["--result-json", "fd:9", "--", "sh", "-c", "exit 3"],
    { shell: 'mkfifo p; exec 9<>p; "$@" 9>/dev/full' },
  );
  expect(end).toBe(3);
  expect(stderr).toBe(
    "codex: Cannot write the result of --result-json: ENOSPC: no space left on the device\n",
  );
});

/** The inner stage by itself, with orders that can't be carried out: nothing that a host could be brought to. */
const BROKEN: readonly (readonly [string, Record<string, unknown>])[] = [
  ["seccomp_install", { filter: "x".repeat(8) }],
  ["landlock_restrict", {
    writeGuard: { places: ["/no/such/place"], fds: [] },
  }],
];
for (const [kind, orders] of BROKEN) {
  test(`an inner stage that fails tells ${kind}`, async () => {
    const subject = setup({ actor: "user", launcher: "auto", stage: "auto" });
    writeFileSync(
      `${subject.home}/orders`,
      JSON.stringify({
        command: ["true"],
        environment: [],
        filter: null,
        softNofile: 1024,
        passFds: [],
        writeGuard: null,
        reboundFds: [],
        traceDomain: null,
        listenPorts: [],
        ...orders,
      }),
    );
    symlinkSync(subject.codex, `${subject.work}/codex-linux-sandbox`);
    const { end } = await subject.outside(
      [`${subject.work}/codex-linux-sandbox`, "--inner-stage", "8", "-1", "9"],
      { shell: `"$@" 8<${subject.home}/orders 9>${subject.home}/result` },
    );
    expect(end).toBe(125);
    expect(told(subject).kind).toBe(kind);
  });
}

/** Fills standard output to the last byte and leaves it not waiting. */
const FILL = `
import fcntl, os
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
for size in (4096, 1):
    try:
        while True: os.write(1, b"x" * size)
    except BlockingIOError: pass
open("full", "w")
`;

matrix(
  "a command that shares the result's pipe can't keep the line out by filling it",
  TRUE_STAGES,
  async ({ run }) => {
    const { stdout } = await run([
      ...["-P", ":workspace", "--result-json", "fd:9", "--"],
      ...["/usr/bin/python3", "-c", FILL],
    ], {
      shell:
        '"$@" 9>&1 | { until [ -e full ]; do sleep 0.05; done; sleep 0.7; tail -c 400; }',
    });
    expect(stdout.replace(/^x+/, "")).toMatch(
      /^{"kind":"exited","status":0,.*}\n$/,
    );
  },
);
