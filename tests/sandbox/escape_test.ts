/**
 * The attempts of {@linkcode ESCAPES}: as root and as a user, with both bubblewraps, with both ways to start the command and as kept
 * starts.
 *
 * All rows of one kind of run go through one sandbox, each in a process of its own; a test is one row in every column. The decoys
 * are looked at before and after: whatever got through without an answer of its own is seen there.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import {
  EVERY_VARIANT,
  leaveClean,
  notProved,
  ourProcesses,
  setup,
  type Subject,
  untilNobodyIsLeft,
  type Variant,
} from "./harness.ts";
import { type Escape, type EscapeRun, ESCAPES, lineOf } from "./escape_rows.ts";

afterAll(leaveClean);

const RUNS: readonly EscapeRun[] = [
  "workspace",
  "read-only",
  "stream",
  "terminal",
  "network", // the last one: its control rows do reach the decoys
];

const NAP = "86396";

/** `scripts/mutate.ts` tries only what it names: without a defence the other attempts would get through, to the host. */
const only = process.env["CODEX_TEST_ESCAPES"];
const TRIED = only === undefined
  ? ESCAPES
  : ESCAPES.filter(({ id }) => new RegExp(only).test(id));

/** A variant whose start is made anew, or one that is kept (`kept_start.ts`), for which no stage can be asked. */
type Case = Variant & { readonly isKept: boolean };

/** Mutants try what they name in starts that are made anew, unless they ask for `kept`. */
const wantsKept = only === undefined ||
  (process.env["CODEX_TEST_COLUMNS"] ?? "").split(" ").includes("kept");

const CASES: readonly Case[] = [
  ...EVERY_VARIANT.map((variant) => ({ ...variant, isKept: false })),
  ...EVERY_VARIANT
    .filter(({ stage }) => wantsKept && stage === EVERY_VARIANT[0]?.stage)
    .map((variant): Case => ({ ...variant, stage: "auto", isKept: true })),
];

/** Longer than a file must have been left alone before anything that rests on it is kept. */
const SETTLED_MS = 3_100;

/** What needs a guard needs the inner stage too; what needs that or a terminal is never kept. */
function canMake({ stage, isKept }: Case, run: EscapeRun): boolean {
  return isKept
    ? run !== "stream" && run !== "terminal"
    : run !== "stream" || stage !== "one-start";
}

function whereOf({ actor, launcher, stage, isKept }: Case): string {
  return `${actor}, ${launcher}, ${isKept ? "kept" : stage}`;
}

/** What came of all rows in one column. */
interface Column {
  readonly variant: Case;
  readonly answers: ReadonlyMap<string, string>;
  readonly made: string;
  /** What each run said beside the answers, and its end. */
  readonly ends: Readonly<Record<string, string>>;
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
  readonly survivors: readonly string[];
  /** What the decoy servers heard while there was no network. */
  readonly heard: string;
}

const columns = new Map<Case, Promise<Column>>();

/** The answers of a column; asked once. */
function column(variant: Case): Promise<Column> {
  let made = columns.get(variant);
  if (made === undefined) columns.set(variant, made = attack(variant));
  return made;
}

const CONFIG = `default_permissions = "p"
[permissions.p]
extends = ":workspace"
[permissions.p.filesystem]
"{work}/secret" = "deny"
"{work}/vault" = "deny"
"{work}/locked" = "read"
"{work}/a/b/secret" = "deny"
"{outside}/hidden" = "deny"
":workspace_roots" = { "**/*.env" = "deny" }
[permissions.n]
extends = "p"
network = { enabled = true }
`;

/** Two things are never kept: a pattern's search, and a supervisor, which what is protected in a writable place needs. */
const KEPT_CONFIG = CONFIG
  .replace('":workspace"', '":read-only"')
  .replace(
    '":workspace_roots" = { "**/*.env" = "deny" }',
    '"{work}/x.env" = "deny"\n"{work}/open/.hidden.env" = "deny"',
  );

async function attack(variant: Case): Promise<Column> {
  const subject = setup(variant);
  const host = await setTrap(subject, variant);
  try {
    if (variant.isKept) await Bun.sleep(SETTLED_MS);
    const before = host.look();
    const answers = new Map<string, string>();
    const ends: Record<string, string> = {};
    let heard = "";
    for (const run of RUNS) {
      if (run === "network") heard = host.heard();
      if (!canMake(variant, run)) continue;
      const rows = TRIED.filter((row) =>
        row.run === run && isFor(row, variant)
      );
      if (rows.length === 0) continue;
      const tryOnce = async (): Promise<Tried> => {
        if (variant.isKept) await keepStart(subject, run);
        return await tryAll(variant, subject, host, run, rows);
      };
      let { text, end } = await tryOnce();
      for (let again = 0; again < 3 && text.includes(MADE_ANEW); again++) {
        await Bun.sleep(SETTLED_MS);
        ({ text, end } = await tryOnce());
      }
      ends[run] = end;
      for (const line of text.split("\n")) {
        const found = /^(\S+)\t(.*?)\s*$/.exec(line);
        if (found !== null) answers.set(found[1] ?? "", found[2] ?? "");
      }
    }
    const napping = ourProcesses().filter(({ words }) =>
      words.includes("sleep 86397")
    );
    return {
      variant,
      made: host.made,
      answers,
      ends,
      before,
      after: host.look(),
      survivors: napping.map(({ words }) => words),
      heard,
    };
  } finally {
    await host.end();
    rmSync(subject.dir, { recursive: true, force: true });
  }
}

/**
 * Starts a kind of run twice and marks what is kept of it: a kept start then shows a variable that no other has.
 *
 * Alone in the folder: two that share a slot would keep each other out. What other test files make on the host at the same time may
 * still make a start anew; then it is tried again.
 */
async function keepStart(subject: Subject, run: EscapeRun): Promise<void> {
  const folder = `${subject.home}/sandbox/starts`;
  rmSync(folder, { recursive: true, force: true });
  for (let round = 0; round < 2; round++) {
    await subject.run(["-P", profileOf(run), "--", "sh", "-c", "true"]);
  }
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const kept = JSON.parse(readFileSync(`${folder}/${name}`, "latin1"));
    kept.words.splice(-1, 0, "--setenv", "KEPT", "kept");
    writeFileSync(
      `${folder}/${name}`,
      Buffer.from(JSON.stringify(kept), "latin1"),
    );
  }
}

function profileOf(run: EscapeRun): string {
  return run === "read-only" ? ":read-only" : run === "network" ? "n" : "p";
}

/** What is tried by something that the attempt itself makes in the workspace, or on a placeholder. */
const NOT_KEPT: ReadonlySet<string> = new Set([
  "outside-by-link",
  "env-link",
  "codex-config",
  "agents-chmod",
  "agents-fill",
  "agents-xattr",
  "setuid-loader",
  "nested-helper",
]);

/** The decoys on the host. */
interface Trap {
  /** What the making of SysV objects and of a message queue answered. */
  readonly made: string;
  readonly words: Readonly<Record<string, string>>;
  /** Everything that an attack could have changed. */
  readonly look: () => Record<string, unknown>;
  readonly heard: () => string;
  readonly end: () => Promise<void>;
}

const HOST_SIDE = `
import os, socket, sys, threading
folder, name = sys.argv[1], sys.argv[2]
log = open(folder + "/log", "a", buffering=1)
def serve(kind, address, family=socket.AF_UNIX):
    s = socket.socket(family, kind)
    s.bind(address)
    if kind == socket.SOCK_STREAM: s.listen(16)
    def loop():
        while True:
            if kind == socket.SOCK_STREAM:
                c, _ = s.accept(); c.close(); log.write(str(family.name) + " connected\\n")
            else:
                s.recv(64); log.write(str(family.name) + " received\\n")
    threading.Thread(target=loop, daemon=True).start()
    return s
serve(socket.SOCK_STREAM, folder + "/stream"); serve(socket.SOCK_DGRAM, folder + "/dgram")
serve(socket.SOCK_STREAM, "\\0" + name)
tcp = serve(socket.SOCK_STREAM, ("127.0.0.1", 0), socket.AF_INET)
udp = serve(socket.SOCK_DGRAM, ("127.0.0.1", 0), socket.AF_INET)
for f in ("stream", "dgram"): os.chmod(folder + "/" + f, 0o777)
print(tcp.getsockname()[1], udp.getsockname()[1], flush=True)
sys.stdin.read()
`;

async function setTrap(
  subject: Subject,
  { isKept }: Case,
): Promise<Trap> {
  const { dir, work, home, probe, codex, uid, outside } = subject;
  const folder = `${dir}/outside`;
  const name = `decoy-${dir.slice(dir.lastIndexOf("-") + 1)}`;
  const isUser = uid !== 0 && process.getuid?.() === 0;
  for (
    const path of [folder, `${work}-evil`, `${work}/vault`, `${work}/locked`]
  ) mkdirSync(path);
  for (const path of ["open", "a", "a/b", ".git", ".git/hooks"]) {
    mkdirSync(`${work}/${path}`);
  }
  for (
    const path of [
      ...["file", "hidden"].map((file) => `${folder}/${file}`),
      `${work}-evil/file`,
      ...["plain", "script", "secret", "vault/inner", "locked/file", "x.env"]
        .map((file) => `${work}/${file}`),
      `${work}/a/b/secret`,
      `${work}/open/.hidden.env`,
      `${work}/.git/config`,
      `/dev/shm/${name}`,
    ]
  ) writeFileSync(path, "decoy");
  const fill = (text: string): string =>
    text.replaceAll("{work}", work).replaceAll("{outside}", folder);
  writeFileSync(`${home}/config.toml`, fill(isKept ? KEPT_CONFIG : CONFIG));
  if (isUser) {
    await Bun
      .$`chown -R ${uid}:${uid} ${folder} ${work} ${work}-evil ${home} /dev/shm/${name}`;
  }
  for (
    const [file, prepare] of [
      ["setuid", (path: string) => chmodSync(path, 0o4755)],
      ["capable", (path: string) => {
        const words = ["/usr/sbin/setcap", "cap_sys_admin+ep", path];
        const { success, stderr } = Bun.spawnSync(words, { stderr: "pipe" });
        if (!success) notProved("a file with capabilities", `${stderr}`);
      }],
    ] as const
  ) {
    copyFileSync(probe, `${folder}/${file}`);
    chownSync(
      `${folder}/${file}`,
      process.getuid?.() ?? 0,
      process.getgid?.() ?? 0,
    );
    chmodSync(`${folder}/${file}`, 0o755);
    prepare(`${folder}/${file}`);
  }
  Bun.spawnSync(["mknod", "-m", "666", `${folder}/zero`, "c", "1", "5"], {
    stderr: "ignore",
  });
  Bun.spawnSync(["mkfifo", "-m", "666", `${folder}/pipe-of-host`]);
  const key = 0x10000000 + (process.pid * 16 + subject.dir.length) % 0xffffff;
  const made = await outside([
    "/usr/bin/python3",
    "-c",
    `import ctypes,sys
c=ctypes.CDLL(None,use_errno=True)
print(c.shmget(${key},4096,0o1666),c.semget(${key},1,0o1666),c.msgget(${key},0o1666))`,
  ]);
  const queue = await outside(
    [probe, "calls", "mq_open", `s:${name}`, "66", "384", "0"],
  );
  const [shm = "", sem = "", msg = ""] = made.stdout.trim().split(" ");
  const server = Bun.spawn(
    asUser(uid, ["/usr/bin/python3", "-c", HOST_SIDE, folder, name]),
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  const sleeper = await sleeperAs(uid);
  const [tcp = "", udp = ""] = (await firstLine(server.stdout)).split(" ");
  const contents = (path: string): string => {
    const { mode, uid, mtimeMs, nlink, ino } = statSync(path);
    return `${mode.toString(8)} ${uid} ${mtimeMs} ${nlink} ${ino} ${
      readFileSync(path, "utf8")
    }`;
  };
  const nice = (): string =>
    readFileSync(`/proc/${sleeper.pid}/stat`, "utf8").split(" ").slice(16, 20)
      .join(" ");
  const watched = [
    `${folder}/file`,
    `${folder}/hidden`,
    `${work}-evil/file`,
    `${work}/secret`,
    `${work}/vault/inner`,
    `${work}/locked/file`,
    `${work}/a/b/secret`,
    `${work}/.git/config`,
    `${home}/config.toml`,
  ];
  return {
    made: made.stdout + queue.stdout,
    words: {
      work,
      outside: folder,
      home,
      codex,
      probe,
      name,
      namelen: String(3 + name.length),
      shm,
      sem,
      msg,
      tcp,
      udp,
      key: String(key),
      pid: String(sleeper.pid),
      uid: String(uid),
    },
    look: () => ({
      ...Object.fromEntries(watched.map((path) => [path, contents(path)])),
      outside: readdirSync(folder).filter((name) => name !== "log").sort(),
      work: readdirSync(work).sort(),
      git: readdirSync(`${work}/.git/hooks`),
      home: readdirSync(home).filter((name) => name !== "sandbox").sort(),
      sleeper: `${sleeper.exitCode} ${sleeper.signalCode} ${nice()}`,
      shm: Bun.spawnSync(["ipcs", "-m", "-i", shm]).success,
      sem: Bun.spawnSync(["ipcs", "-s", "-i", sem]).success,
      msg: /\tqnum=\d+/.exec(
        Bun.spawnSync(["ipcs", "-q", "-i", msg]).stdout.toString(),
      )?.[0],
    }),
    heard: () => readFileSync(`${folder}/log`, "utf8"),
    end: async () => {
      server.stdin.end();
      await server.exited;
      sleeper.kill(9);
      await sleeper.exited;
      for (const [flag, id] of [["-m", shm], ["-s", sem], ["-q", msg]]) {
        Bun.spawnSync(["ipcrm", flag ?? "", id ?? ""]);
      }
      Bun.spawnSync([
        "/usr/bin/python3",
        "-c",
        `import ctypes;ctypes.CDLL(None).mq_unlink(b"/${name}")`,
      ]);
      rmSync(`/dev/shm/${name}`, { force: true });
    },
  };
}

/** Above what all attempts of a run together use in their own namespace: there, a number means one of them or nobody. */
const FIRST_FOREIGN_PID = 6_000;

/** Uses up numbers until they are high enough. After the last one (`kernel.pid_max`) they begin again at 300. */
const USE_UP_NUMBERS = `import os,sys
while True:
 pid=os.fork()
 if pid==0: os._exit(0)
 os.waitpid(pid,0)
 if pid>int(sys.argv[1]): break`;

/** A process of the host whose number none has in a sandbox. */
async function sleeperAs(uid: number): Promise<Bun.Subprocess> {
  for (;;) {
    const sleeper = Bun.spawn(asUser(uid, ["sleep", NAP]));
    if (sleeper.pid > FIRST_FOREIGN_PID) return sleeper;
    sleeper.kill(9);
    await sleeper.exited;
    Bun.spawnSync([
      ...["/usr/bin/python3", "-c", USE_UP_NUMBERS],
      String(FIRST_FOREIGN_PID),
    ]);
  }
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0] ?? "";
}

function asUser(uid: number, words: readonly string[]): string[] {
  return uid === 0 || process.getuid?.() !== 0 ? [...words] : [
    ...["setpriv", "--reuid", String(uid), "--regid", String(uid)],
    ...["--clear-groups", "--", ...words],
  ];
}

/** What a sandbox said on standard output, then its status and what it said beside it. */
interface Tried {
  readonly text: string;
  readonly end: string;
}

/** The last answer of a run that was to be a kept start and is none. */
const MADE_ANEW = "made anew";

/** Runs all rows in one sandbox. */
async function tryAll(
  variant: Case,
  subject: Subject,
  { words }: Trap,
  run: EscapeRun,
  rows: readonly Escape[],
): Promise<Tried> {
  const fill = (text: string): string =>
    text.replace(/\{(\w+)\}/g, (whole, name) => words[name] ?? whole);
  const script = `${subject.dir}/${run}.sh`;
  const lines = rows.map((row) =>
    `printf '%s\t' ${row.id}; (${
      fill(lineOf(row))
    }) 2>/dev/null | tr '\n' ' '; echo`
  );
  const end = variant.isKept ? `\${KEPT:-${MADE_ANEW}}` : "looked";
  lines.push(`printf '%s\t' last-${run}; echo "${end}"`);
  writeFileSync(script, lines.join("\n"));
  const { launcher, stage, isKept } = variant;
  // Another flag than the launcher's makes no kept start.
  const flags = ["--launcher", launcher, ...(isKept ? [] : ["--stage", stage])];
  const call = [
    subject.codex,
    "sandbox",
    ...flags,
    "-P",
    profileOf(run),
    "--",
    "sh",
    script,
  ];
  const options = { timeoutMs: 60_000 };
  const folder = words["outside"] ?? "";
  const outcome = run === "terminal"
    ? await subject.outside(
      ["script", "-qec", call.join(" "), "/dev/null"],
      options,
    )
    : await subject.outside(call, {
      ...options,
      shell: run === "stream"
        ? `exec <${folder}/file; exec "$@"`
        : `exec 7<${folder} 8<>${folder}/file 9<${folder}/hidden; exec "$@"`,
    });
  const said = outcome.stderr.replace(/^codex: warning:.*\n/gm, "");
  return {
    text: outcome.stdout.replaceAll("\r", ""),
    end: `${outcome.end} ${said}`,
  };
}

function isFor(row: Escape, { actor, launcher, isKept }: Case): boolean {
  return (row.only !== "x64" || process.arch === "x64") &&
    (row.actor === undefined || row.actor === actor) &&
    // A user owns no node, whoever binds it.
    (row.launcher === undefined || row.launcher === launcher ||
      actor === "user") &&
    !(isKept && NOT_KEPT.has(row.id));
}

for (const row of TRIED) {
  test.skipIf(row.only === "x64" && process.arch !== "x64")(
    `${row.class}, ${row.run}: ${row.id}: ${row.tries}: ${row.answer}`,
    async () => {
      for (const variant of CASES) {
        if (!isFor(row, variant) || !canMake(variant, row.run ?? "workspace")) {
          continue;
        }
        const { answers } = await column(variant);
        const answer = answers.get(row.id) ?? "";
        const uid = variant.actor === "root"
          ? "0"
          : String(process.getuid?.() || 65_534);
        const expected = row.answer.replaceAll("{uid}", uid).split("|");
        const where = whereOf(variant);
        const also = variant.isKept ? ["EROFS"] : [];
        expect(`${where}: ${answer}`).toBeOneOf(
          [...expected, ...also].map((one) => `${where}: ${one}`),
        );
      }
    },
    180_000,
  );
}

for (const variant of CASES) {
  const where = whereOf(variant);
  test(`every run of attempts went to its end [${where}]`, async () => {
    const { answers, ends } = await column(variant);
    const runs = Object.keys(ends);
    expect(runs.map((run) => answers.get(`last-${run}`) ?? run)).toEqual(
      runs.map(() => variant.isKept ? "kept" : "looked"),
    );
    expect(ends).toEqual(Object.fromEntries(runs.map((run) => [run, "0 "])));
  });

  test(`the decoys are as they were [${where}]`, async () => {
    const { made, before, after, survivors, heard } = await column(variant);
    // Without them the right answers would say nothing.
    expect(made).toMatch(/^\d+ \d+ \d+\nok\n$/);
    expect(after).toEqual(before);
    expect(heard).toBe("");
    expect(survivors).toEqual([]);
    await untilNobodyIsLeft();
  });
}

test("the table has more than 350 attempts, none twice, and silence is no right answer", () => {
  const ids = ESCAPES.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBeGreaterThan(350);
  expect(ESCAPES.filter(({ answer }) => answer === "")).toEqual([]);
});
