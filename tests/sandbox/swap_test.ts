/**
 * What is swapped while a sandbox is set up: between the look and the mount, and while bubblewrap mounts. Never a weaker sandbox.
 *
 * The first window is held open by the lock that a run waits for before it opens what it binds; the second by a bubblewrap that lies.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import {
  ACTORS,
  BOTH_STAGES,
  isThere,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
  ourProcesses,
  PLAIN,
  setup,
  type Subject,
  until,
  untilLockedOut,
  untilNobodyIsLeft,
  watcherOf,
} from "./harness.ts";

const trusted: string[] = [];

afterAll(async () => {
  for (const folder of trusted) rmSync(folder, { recursive: true });
  await leaveClean();
});

/** A workspace with a read-only folder two levels down, and names for placeholders. */
async function prepare(subject: Subject): Promise<void> {
  const { home, work, outside } = subject;
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "p"
[permissions.p]
extends = ":workspace"
[permissions.p.filesystem]
"${work}/a/locked" = "read"
`,
  );
  const line =
    "mkdir -p a/locked other/locked; echo mine > a/locked/file; echo other > other/locked/file";
  expect((await outside(["sh", "-ec", line])).end).toBe(0);
}

/** Each is done by the workspace's owner once the run has looked at everything. */
const SWAPS: readonly (readonly [
  why: string,
  swap: (work: string) => void,
])[] = [
  ["the folder itself for another", (work) => {
    renameSync(`${work}/a/locked`, `${work}/a/old`);
    renameSync(`${work}/other/locked`, `${work}/a/locked`);
  }],
  ["the folder above for another", (work) => {
    renameSync(`${work}/a`, `${work}/old`);
    renameSync(`${work}/other`, `${work}/a`);
  }],
  ["the folder above for a link to itself", (work) => {
    renameSync(`${work}/a`, `${work}/old`);
    symlinkSync("old", `${work}/a`);
  }],
  ["the folder itself for a link to itself", (work) => {
    renameSync(`${work}/a/locked`, `${work}/a/old`);
    symlinkSync("old", `${work}/a/locked`);
  }],
];

for (const [why, swap] of SWAPS) {
  matrix(
    `swapped between look and mount: ${why}: 125, nothing runs`,
    BOTH_STAGES,
    async (subject) => {
      const { home, work, run, start, outside } = subject;
      await prepare(subject);
      // Fills the caches and makes the folder of records.
      expect((await run(["--", "true"])).end).toBe(0);
      const records = `${home}/sandbox/placeholders`;
      const lock = outside([
        ...["flock", records, "sh", "-c"],
        `touch "$1/up"; while [ ! -e "$1/go" ]; do sleep 0.01; done`,
        ...["sh", work],
      ]);
      await until(() => isThere(`${work}/up`), "the lock is held");
      const going = start(["--", "sh", "-c", "touch ran; cat a/locked/file"]);
      await untilLockedOut(going);
      expect(isThere(`${work}/ran`)).toBe(false);
      swap(work);
      writeFileSync(`${work}/go`, "");
      await lock;
      const { end, stdout, stderr } = await going.outcome;
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(/^codex: [^\n]+\n$/);
      expect(isThere(`${work}/ran`)).toBe(false);
      expect(isThere(`${work}/.git`)).toBe(false);
    },
  );
}

/** What a bubblewrap that lies does to its words: Python over the list `a`; `w` is the workspace. */
const LIES: readonly (readonly [why: string, change: string])[] = [
  [
    "leaves a mount out",
    `i=a.index(w+"/a/locked"); del a[i-2:i+1]`,
  ],
  [
    "binds something else",
    `i=a.index(w+"/a/locked"); a[i-2]="--ro-bind"; a[i-1]=w+"/other/locked"`,
  ],
  [
    "binds what is read-only writable",
    `i=a.index(w+"/a/locked"); a[i-2]="--bind-fd"`,
  ],
  [
    "leaves the mask of a missing name out",
    `i=a.index(w+"/.codex"); del a[i-1:i+1]
for n,x in enumerate(a):
  if x=="--remount-ro" and a[n+1]==w+"/.codex": del a[n:n+2]; break`,
  ],
  [
    "leaves /proc's cover out",
    `i=a.index("/proc/1"); del a[i-3:i+1]; i=a.index("/proc/1"); del a[i-1:i+1]`,
  ],
  [
    "mounts where a link leads",
    `import os; os.rename(w+"/a",w+"/old"); os.symlink("old",w+"/a")`,
  ],
  [
    "covers what it has mounted with a link that leads back there on the host",
    `import os; d=os.path.dirname(w); f=os.path.dirname(os.path.abspath(__file__)); os.symlink(w,f+"/x")
i=a.index("--chdir"); a[i:i]=["--tmpfs",d,"--symlink",f+"/x",w,"--tmpfs",f,"--dir",f+"/x"]`,
  ],
  [
    "mounts below a folder that was swapped",
    `import os; os.rename(w+"/a",w+"/old"); os.rename(w+"/other",w+"/a")`,
  ],
];

const canLie = ACTORS.includes("root") && LAUNCHERS.includes("system");
if (!canLie) {
  notProved("a bubblewrap that lies", "only root can make one that is trusted");
}

for (const [why, change] of LIES) {
  test.skipIf(!canLie)(
    `a bubblewrap that ${why} starts nothing`,
    async () => {
      const subject = setup({ ...PLAIN, actor: "root", launcher: "system" });
      const { work, run } = subject;
      await prepare(subject);
      const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
      trusted.push(folder);
      chmodSync(folder, 0o755);
      // Probes and trial runs have no workspace in their words: those are passed on as they are.
      writeFileSync(
        `${folder}/bwrap`,
        `#!/usr/bin/python3
import os,sys
w=${JSON.stringify(work)}
a=sys.argv[:]
if w+"/a/locked" in a:
${change.split("\n").map((line) => ` ${line}`).join("\n")}
os.execv("/usr/bin/bwrap",a)
`,
      );
      chmodSync(`${folder}/bwrap`, 0o755);
      const { end, stdout, stderr } = await run(
        ["--", "/bin/sh", "-c", "/bin/touch ran; echo ran"],
        { env: { PATH: folder } },
      );
      expect(stderr).toMatch(/^(bwrap: [^\n]+\n)?codex: [^\n]+\n$/);
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(isThere(`${work}/ran`)).toBe(false);
    },
  );
}

test.skipIf(!canLie)(
  "a bubblewrap that ends and leaves a process of the sandbox behind is cleaned up after",
  async () => {
    const subject = setup({ ...PLAIN, actor: "root", launcher: "system" });
    await prepare(subject);
    const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
    trusted.push(folder);
    chmodSync(folder, 0o755);
    // The child holds --sync-fd, as one does that waits for a dead monitor; nobody was told its number.
    writeFileSync(
      `${folder}/bwrap`,
      `#!/usr/bin/python3
import os,sys
a=sys.argv
if "--sync-fd" not in a: os.execv("/usr/bin/bwrap",a)
if os.fork()==0:
 os.setsid()
 keep=int(a[a.index("--sync-fd")+1])
 for fd in range(3,1024):
  if fd!=keep:
   try: os.close(fd)
   except OSError: pass
 os.execv("/bin/sleep",["sleep","300"])
sys.stderr.write("bwrap: no more\\n")
os._exit(1)
`,
    );
    chmodSync(`${folder}/bwrap`, 0o755);
    const { end } = await subject.run(
      ["--", "/bin/sh", "-c", "/bin/touch ran"],
      { env: { PATH: folder } },
    );
    expect(end).toBe(125);
    expect(ourProcesses().map(({ words }) => words)).toEqual([]);
    expect(isThere(`${subject.work}/.git`)).toBe(false);
  },
);

/** State of a process (proc_pid_stat(5)), `X` for one that is gone. */
function stateOf(pid: number): string {
  const text = textOf(`/proc/${pid}/stat`);
  return text === "" ? "X" : text.charAt(text.lastIndexOf(")") + 2);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // gone meanwhile
  }
}

/** Whether a sandbox waits for the byte that lets it go: one of its processes is in read(2) of that pipe. */
function isBlocked(): boolean {
  return ourProcesses().some(({ pid, words }) => {
    const fd = / --block-fd (\d+) /.exec(words)?.[1];
    if (fd === undefined) return false;
    const [call, argument] = textOf(`/proc/${pid}/syscall`).split(" ");
    const isRead = call === "0" || call === "63"; // x86-64, arm64
    return isRead && Number(argument) === Number(fd);
  });
}

test.skipIf(!canLie)(
  "a supervisor that is killed before it has verified the mounts lets nothing go",
  async () => {
    const subject = setup({ ...PLAIN, actor: "root", launcher: "system" });
    const { work, start } = subject;
    await prepare(subject);
    const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
    trusted.push(folder);
    chmodSync(folder, 0o755);
    writeFileSync(
      `${folder}/bwrap`,
      `#!/usr/bin/python3
import os,signal,sys
if "--block-fd" in sys.argv: os.kill(os.getppid(),signal.SIGSTOP)
os.execv("/usr/bin/bwrap",sys.argv)
`,
    );
    chmodSync(`${folder}/bwrap`, 0o755);
    const going = start(["--", "/bin/sh", "-c", "/bin/touch ran"], {
      env: { PATH: folder },
    });
    await until(() => stateOf(going.pid) === "T", "it stands still");
    const watcher = watcherOf(going.pid);
    // Nobody ends the sandbox meanwhile: whether it was let go is not a matter of who comes first.
    process.kill(watcher, "SIGSTOP");
    await until(isBlocked, "the mounts are made");
    process.kill(going.pid, "SIGKILL");
    await until(() => "ZX".includes(stateOf(going.pid)), "it is dead");
    await until(() => isThere(`${work}/ran`) || isBlocked(), "the sandbox");
    process.kill(watcher, "SIGCONT");
    await going.outcome;
    await untilNobodyIsLeft();
    expect(isThere(`${work}/ran`)).toBe(false);
  },
);

test.skipIf(!canLie)(
  "control: a bubblewrap that changes nothing starts the command",
  async () => {
    const subject = setup({ ...PLAIN, actor: "root", launcher: "system" });
    await prepare(subject);
    const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
    trusted.push(folder);
    chmodSync(folder, 0o755);
    writeFileSync(`${folder}/bwrap`, `#!/bin/sh\nexec /usr/bin/bwrap "$@"\n`);
    chmodSync(`${folder}/bwrap`, 0o755);
    mkdirSync(`${subject.work}/x`);
    const { end, stdout } = await subject.run(
      ["--", "/bin/sh", "-c", "echo ran"],
      { env: { PATH: folder } },
    );
    expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
  },
);
