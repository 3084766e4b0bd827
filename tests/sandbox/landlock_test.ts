/**
 * The Landlock rung, live: what Landlock and seccomp keep alone, what the command gets, and when the rung is taken.
 *
 * A host on which bubblewrap can't work is made by an outer bubblewrap that forbids nested user namespaces. Attacks are tried outside
 * first, so that nothing but the rung stands in their way.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import {
  ACTORS,
  BOTH_ACTORS,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
  type Outcome,
  PLAIN,
  type RunOptions,
  setup,
  type Subject,
  until,
} from "./harness.ts";

afterAll(leaveClean);

const PYTHON = "/usr/bin/python3";

/** A run on the rung, chosen by hand; its one warning is taken off. */
async function alone(
  { codexRun }: Subject,
  words: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const outcome = await codexRun(
    ["sandbox", "--backend", "landlock", ...words],
    options,
  );
  return { ...outcome, stderr: outcome.stderr.replace(WARNING, "") };
}

const WARNING =
  /^codex: warning: confined by Landlock and seccomp alone [^\n]*; it lacks pid \([^\n]*\), ipc \([^\n]*\), proc \([^\n]*\)\n/;

/** Everything about a folder that an attack could change. */
function stateOf(folder: string): readonly string[] {
  return readdirSync(folder).sort().map((name) => {
    const { mode, uid, mtimeMs, ino } = statSync(`${folder}/${name}`);
    const text = statSync(`${folder}/${name}`).isFile()
      ? readFileSync(`${folder}/${name}`, "latin1")
      : "";
    return [name, mode, uid, mtimeMs, ino, text].join(" ");
  });
}

function plant(folder: string, uid: number): void {
  mkdirSync(folder);
  mkdirSync(`${folder}/sub`);
  writeFileSync(`${folder}/decoy`, "kept");
  for (const path of [folder, `${folder}/sub`, `${folder}/decoy`]) {
    chownSync(path, uid, uid);
  }
}

/** Each a shell's line about `$D`, which the actor owns. */
const ATTACKS: readonly (readonly [what: string, line: string])[] = [
  ["writes a file", "echo x > $D/decoy"],
  ["appends to a file", "echo x >> $D/decoy"],
  [
    "empties a file by name",
    `${PYTHON} -c 'import os; os.truncate("'$D'/decoy", 0)'`,
  ],
  [
    "empties a file that it opens for reading",
    `${PYTHON} -c 'import os; os.open("'$D'/decoy", os.O_RDONLY | os.O_TRUNC)'`,
  ],
  ["makes a file", "touch $D/new"],
  ["makes a directory", "mkdir $D/new"],
  ["makes a link", "ln -s decoy $D/new"],
  ["makes a second name", "ln $D/decoy $D/new"],
  ["makes a fifo", "mkfifo $D/new"],
  [
    "makes a socket",
    `${PYTHON} -c 'import os, stat; os.mknod("'$D'/new", stat.S_IFSOCK | 0o600)'`,
  ],
  ["removes a file", "rm -f $D/decoy"],
  ["removes a directory", "rmdir $D/sub"],
  ["renames a file", "mv $D/decoy $D/new"],
  ["moves a file to another directory", "mv $D/decoy $D/sub/decoy"],
  ["changes a mode", "chmod 4777 $D/decoy"],
  ["changes the mode of the folder", "chmod 777 $D"],
  [
    "changes a mode by a descriptor for reading",
    `${PYTHON} -c 'import os; os.fchmod(os.open("'$D'/decoy", os.O_RDONLY), 0o777)'`,
  ],
  ["changes a time", "touch -d 2001-01-01 $D/decoy"],
  [
    "writes through a descriptor of /proc",
    `${PYTHON} -c 'import os; f = os.open("'$D'/decoy", os.O_PATH); os.open("/proc/self/fd/%d" % f, os.O_WRONLY | os.O_TRUNC)'`,
  ],
];

describe("a place that nothing grants to write", () => {
  for (const [what, line] of ATTACKS) {
    matrix(
      `stays as it is when a command ${what}`,
      BOTH_ACTORS,
      async (subject) => {
        const { dir, uid, outside } = subject;
        for (const name of ["outside", "inside"]) plant(`${dir}/${name}`, uid);
        const before = stateOf(`${dir}/inside`);
        const { mode } = statSync(`${dir}/inside`);
        const control = stateOf(`${dir}/outside`);
        const folder = statSync(`${dir}/outside`).mode;
        await outside(["sh", "-c", line], { env: { D: `${dir}/outside` } });
        expect([...stateOf(`${dir}/outside`), statSync(`${dir}/outside`).mode])
          .not.toEqual([...control, folder]);
        const { end } = await alone(subject, ["--", "sh", "-c", line], {
          env: { D: `${dir}/inside` },
        });
        expect(end).not.toBe(0);
        expect(stateOf(`${dir}/inside`)).toEqual(before);
        expect(statSync(`${dir}/inside`).mode).toBe(mode);
      },
    );
  }
});

/** A profile of the command line: the platform's directories, and what `entries` say. */
function profile(entries: Readonly<Record<string, string>>): string[] {
  const lines = Object.entries({ ":minimal": "read", ...entries })
    .map(([path, access]) => `${JSON.stringify(path)}="${access}"`);
  return ["-c", `permissions.p.filesystem={${lines.join(",")}}`, "-P", "p"];
}

matrix(
  "what no entry lets be read can't be read, listed or executed; what is granted can",
  BOTH_ACTORS,
  async (subject) => {
    const { dir, uid, work } = subject;
    plant(`${dir}/closed`, uid);
    plant(`${work}/open`, uid);
    writeFileSync(`${dir}/closed/tool`, "#!/bin/sh\necho ran\n");
    chmodSync(`${dir}/closed/tool`, 0o755);
    const script = `cat ${work}/open/decoy; ls ${work}/open
for try in "cat ${dir}/closed/decoy" "ls ${dir}/closed" ${dir}/closed/tool \\
  "${PYTHON} -c 'open(\\"/proc/self/root${dir}/closed/decoy\\")'"; do
  sh -c "$try" 2>/dev/null && echo "done: $try"
done; exit 5`;
    const { end, stdout, stderr } = await alone(
      subject,
      [...profile({ [work]: "read" }), "--", "sh", "-c", script],
    );
    expect({ end, stdout, stderr })
      .toEqual({ end: 5, stdout: "keptdecoy\nsub\n", stderr: "" });
  },
);

matrix(
  "a file that is granted can be written, and nothing beside it",
  BOTH_ACTORS,
  async (subject) => {
    const { dir, uid } = subject;
    plant(`${dir}/place`, uid);
    writeFileSync(`${dir}/place/other`, "kept");
    chownSync(`${dir}/place/other`, uid, uid);
    const script =
      `cd ${dir}/place; echo changed > decoy; (echo x > other; touch new; rm decoy) 2>/dev/null; true`;
    const { end, stderr } = await alone(subject, [
      ...profile({ "/": "read", [`${dir}/place/decoy`]: "write" }),
      ...["--", "sh", "-c", script],
    ]);
    expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
    expect(readFileSync(`${dir}/place/decoy`, "latin1")).toBe("changed\n");
    expect(readFileSync(`${dir}/place/other`, "latin1")).toBe("kept");
    expect(readdirSync(`${dir}/place`).sort())
      .toEqual(["decoy", "other", "sub"]);
  },
);

const GIVEN_UP = ["--give-up", "carve-outs", "--give-up", "write-deny"];

matrix(
  "a workspace that was given up by hand can be worked in, and nothing else written",
  BOTH_ACTORS,
  async (subject) => {
    const { dir, uid, work } = subject;
    plant(`${dir}/closed`, uid);
    const before = stateOf(`${dir}/closed`);
    const script =
      `mkdir -p a/b && echo x > a/b/c && mv a/b/c a/c && ln a/c a/d && rm a/d && chmod 700 a/c && ln -s c a/l && rm -r a/b && ls a
(cd ${dir}/closed; echo x > decoy; touch new; rm decoy; mv sub ${work}/; ln decoy ${work}/second; cp decoy ${work}/copy) 2>/dev/null; ls`;
    const { end, stdout, stderr } = await alone(
      subject,
      ["-P", ":workspace", ...GIVEN_UP, "--", "sh", "-c", script],
    );
    expect({ end, stdout, stderr })
      .toEqual({ end: 0, stdout: "c\nl\na\ncopy\n", stderr: "" });
    expect(stateOf(`${dir}/closed`)).toEqual(before);
  },
);

const SOCKETS = `
import errno, socket, sys
def tried(make):
    try:
        make()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
port = int(sys.argv[1])
def udp():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))
def path():
    socket.socket(socket.AF_UNIX).connect(sys.argv[2])
def abstract():
    socket.socket(socket.AF_UNIX).connect("\\0nobody")
def datagram():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
def pair():
    a, b = socket.socketpair()
    a.sendall(b"x")
    b.recv(1)
print(tried(lambda: socket.create_connection(("127.0.0.1", port))), tried(udp), tried(path), tried(abstract), tried(datagram), tried(pair))
`;

matrix(
  "without network no socket reaches the host, and pairs of one's own work",
  BOTH_ACTORS,
  async (subject) => {
    const { dir } = subject;
    chmodSync(dir, 0o777);
    const tcp = createServer();
    const unix = createServer();
    await new Promise<void>((done) => tcp.listen(0, "127.0.0.1", done));
    await new Promise<void>((done) => unix.listen(`${dir}/socket`, done));
    chmodSync(`${dir}/socket`, 0o777);
    try {
      const { port } = tcp.address() as { port: number };
      const words = [PYTHON, "-c", SOCKETS, `${port}`, `${dir}/socket`];
      const outside = await subject.outside(words);
      expect(outside.stdout).toBe("done done done ECONNREFUSED done done\n");
      const { stdout } = await alone(subject, ["--", ...words]);
      expect(stdout).toBe("EPERM EPERM EPERM EPERM EPERM done\n");
      const given = await alone(subject, [
        ...["-c", "permissions.p.network.enabled=true"],
        ...profile({ "/": "read" }),
        ...["--", ...words],
      ]);
      // Where a daemon of the host has its socket AF_UNIX is closed; else Landlock's scope keeps abstract names apart.
      expect(given.stdout).toMatch(
        /^done done (EPERM EPERM EPERM|\w+ (EPERM|ECONNREFUSED) done) done\n$/,
      );
      const agent = await alone(subject, [
        ...["-c", "permissions.p.network.enabled=true"],
        ...profile({ "/": "read" }),
        ...["--", ...words],
      ], { env: { SSH_AUTH_SOCK: `${dir}/socket` } });
      expect(agent.stdout).toBe("done done EPERM EPERM EPERM done\n");
    } finally {
      tcp.close();
      unix.close();
    }
  },
);

/** A pipe whose owner is another process: whoever writes makes the kernel send it a deadly signal. */
const SIGIO =
  'import fcntl, os, sys; r, w = os.pipe(); fcntl.fcntl(r, 8, int(sys.argv[1])); fcntl.fcntl(r, 10, 9); fcntl.fcntl(r, 4, 0x2000); os.write(w, b"x"); sys.exit(1)';

matrix(
  "processes of the host can't be signalled, traced or looked into",
  BOTH_ACTORS,
  async (subject) => {
    const { outside, work } = subject;
    const other = outside(["sh", "-c", "echo $$ > pid; exec sleep 20"]);
    const read = (): string =>
      existsSync(`${work}/pid`) ? readFileSync(`${work}/pid`, "latin1") : "";
    await until(() => read().endsWith("\n"), "the other process is there");
    const pid = read().trim();
    const looks = (): string =>
      readFileSync(`/proc/${pid}/stat`, "latin1").split(" ").slice(17, 19)
        .join() + readFileSync(`/proc/${pid}/limits`, "latin1");
    const before = looks();
    const script = `for try in "kill -0 ${pid}" "kill -9 ${pid}" \\
  "cat /proc/${pid}/environ" "readlink /proc/${pid}/fd/1" "cat /proc/${pid}/fd/0" "ls /proc/${pid}/root/" \\
  "dd if=/proc/${pid}/mem bs=1 count=1 skip=4194304" "ls /proc/${pid}/cwd/" \\
  "renice -n 5 -p ${pid}" "ionice -c 3 -p ${pid}" "chrt -i -p 0 ${pid}" \\
  "prlimit --pid ${pid} --cpu=0" "${PYTHON} -c '${SIGIO}' ${pid}" \\
  "${PYTHON} -c 'import os; os.kill(-1, 0)'"; do
  sh -c "$try" >/dev/null 2>&1 && echo "done: $try"
done; sh -c 'kill -9 $$'; echo "own $?"`;
    try {
      const { stdout } = await alone(subject, ["--", "sh", "-c", script]);
      // Its own processes are the command's business; -1 means those then.
      expect(stdout.replace(/^done: .*os\.kill\(-1.*\n/m, ""))
        .toBe("own 137\n");
      expect(looks()).toBe(before);
    } finally {
      process.kill(Number(pid), "SIGKILL");
      await other;
    }
  },
);

const NOTHING = "0".repeat(16);

matrix(
  "a command has no capability, no_new_privs and one filter, as root too",
  BOTH_ACTORS,
  async (subject) => {
    const { stdout } = await alone(subject, ["--", subject.probe, "caps"]);
    expect(stdout.trimEnd().split("\n").sort()).toEqual([
      `CapAmb ${NOTHING}`,
      `CapBnd ${subject.uid === 0 ? NOTHING : boundingSet()}`,
      `CapEff ${NOTHING}`,
      `CapInh ${NOTHING}`,
      `CapPrm ${NOTHING}`,
      "NoNewPrivs 1",
      "Seccomp 2",
    ]);
  },
);

/** An ordinary user can't change it, and with no_new_privs it gives nobody anything. */
function boundingSet(): string {
  return /^CapBnd:\s*(\w+)$/m.exec(
    readFileSync("/proc/self/status", "latin1"),
  )![1]!;
}

matrix(
  "no namespace, mount or root of one's own can be had",
  BOTH_ACTORS,
  async (subject) => {
    const tries = [
      "unshare -U true",
      "unshare -Ur true",
      "unshare -m true",
      "unshare -n true",
      "mount -t tmpfs none /mnt",
      "chroot / true",
      "nsenter -t 1 -m true",
    ];
    for (const line of tries) {
      const { end } = await alone(subject, ["--", "sh", "-c", line]);
      expect([line, end === 0]).toEqual([line, false]);
    }
  },
);

matrix(
  "what can be read as root can't be opened for writing: the kernel's settings, disks and groups",
  BOTH_ACTORS,
  async (subject) => {
    const script = `
import glob, os
places = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/sys/kernel/uevent_helper", "/dev/kmsg", "/dev/mem", "/dev/tty", "/etc/passwd"]
places += glob.glob("/dev/[sv]d?") + glob.glob("/dev/nvme*") + glob.glob("/sys/fs/cgroup/*") + glob.glob("/dev/shm")
for place in places:
    try:
        os.open(place, os.O_WRONLY)
        print(place)
    except OSError:
        pass
`;
    const { end, stdout } = await alone(subject, ["--", PYTHON, "-c", script]);
    expect({ end, stdout }).toEqual({ end: 0, stdout: "" });
  },
);

matrix(
  "devices are closed but for harmless ones, also where everything else can be read",
  BOTH_ACTORS,
  async (subject) => {
    const decoy = `/dev/shm/codex-live-${subject.dir.slice(-6)}`;
    writeFileSync(decoy, "decoy");
    chmodSync(decoy, 0o644);
    try {
      // Only what opening does not change: a watchdog starts, a tape rewinds.
      const script =
        `for f in ${decoy} /dev/ptmx /dev/tty /etc/hostname /dev/null /dev/urandom; do head -c 0 $f 2>/dev/null && echo $f; done`;
      const words = ["sh", "-c", script];
      const outside = await subject.outside(words);
      expect(outside.stdout).toContain(`${decoy}\n/dev/ptmx\n`);
      const { stdout } = await alone(subject, ["--", ...words]);
      expect(stdout).toBe("/etc/hostname\n/dev/null\n/dev/urandom\n");
    } finally {
      rmSync(decoy);
    }
  },
);

matrix(
  "the caller's terminal can be used and not be typed into",
  BOTH_ACTORS,
  async (subject) => {
    const line = `${subject.codex} sandbox --backend landlock -- ${
      "sh -c 'test -t 0 && echo terminal; " + subject.probe + " tiocsti'"
    }`.replaceAll("'", `'"'"'`);
    const { stdout } = await subject.outside([
      "sh",
      "-c",
      `exec script -qec '${line}' /dev/null`,
    ]);
    const lines = stdout.replaceAll("\r", "").split("\n").filter((it) =>
      it !== "" && !it.startsWith("codex: warning")
    );
    expect(lines).toEqual(["terminal", "EPERM", "EPERM", "EPERM"]);
  },
);

describe("what the command gets", () => {
  const STATUSES: readonly (readonly [string, number | string])[] = [
    ["exit 0", 0],
    ["exit 7", 7],
    ["exit 255", 255],
    ["kill -TERM $$", "SIGTERM"],
    ["kill -KILL $$", "SIGKILL"],
    ["kill -SEGV $$", "SIGSEGV"],
  ];

  matrix("its own status is ours", BOTH_ACTORS, async (subject) => {
    for (const [script, end] of STATUSES) {
      const outcome = await alone(subject, ["--", "sh", "-c", script]);
      expect([script, outcome.end]).toEqual([script, end]);
    }
  });

  matrix(
    "127 for what isn't there, 126 for what can't be executed, sh for what has no format",
    BOTH_ACTORS,
    async (subject) => {
      const { work } = subject;
      writeFileSync(`${work}/plain`, "echo ran $1\n");
      writeFileSync(`${work}/orphan`, "#!/no/interpreter\n");
      for (const name of ["plain", "orphan"]) {
        chmodSync(`${work}/${name}`, 0o755);
      }
      const rows = [
        [["no-such-command"], 127, ""],
        [["/no/such/command"], 127, ""],
        [["./orphan"], 127, ""],
        [["/etc/passwd"], 126, ""],
        [["/etc"], 126, ""],
        [["./plain", "well"], 0, "ran well\n"],
      ] as const;
      for (const [words, end, stdout] of rows) {
        const outcome = await alone(subject, ["--", ...words]);
        expect([words, outcome.end, outcome.stdout])
          .toEqual([words, end, stdout]);
      }
    },
  );

  matrix(
    "signals, limits and mask are the caller's",
    BOTH_ACTORS,
    async (subject) => {
      const { probe, work } = subject;
      const signals = await alone(subject, ["--", probe, "sigs"]);
      expect(signals.stdout).toMatch(
        /^SigBlk 0+\nSigIgn 0+\nSigCgt 0+\n$/,
      );
      const ignored = await alone(subject, ["--", probe, "sigs"], {
        shell: `trap '' INT; "$@"`,
      });
      expect(ignored.stdout).toMatch(/^SigIgn 0+2$/m);
      const limits = await alone(subject, [
        ...["--", "sh", "-c", "ulimit -Sn; umask"],
      ], { shell: `ulimit -Sn 300; umask 027; "$@"` });
      expect(limits.stdout).toBe("300\n0027\n");
      await alone(subject, ["--", "sh", "-c", "yes; exit $?"], {
        shell: `{ "$@"; echo $? > ${work}/status; } | head -1`,
      });
      expect(readFileSync(`${work}/status`, "latin1")).toBe("141\n");
    },
  );

  matrix(
    "streams, arguments and variables reach it byte for byte, a loader's too",
    BOTH_ACTORS,
    async (subject) => {
      const sent = new Uint8Array(1 << 20);
      for (let at = 0; at < sent.length; at += 65_536) {
        crypto.getRandomValues(sent.subarray(at, at + 65_536));
      }
      const echoed = await alone(subject, ["--", "cat"], { input: sent });
      expect(Buffer.from(sent).equals(Buffer.from(echoed.stdout, "latin1")))
        .toBe(true);
      const words = ["a\nb", "", "--", "-x", "é"];
      const args = await alone(subject, [
        ...["--", "printf", "[%s]", ...words],
      ]);
      expect(Buffer.from(args.stdout, "latin1").toString("utf8"))
        .toBe("[a\nb][][--][-x][é]");
      const env = { MALLOC_ARENA_MAX: "1", ODD: "a=b c", LD_BIND_NOW: "1" };
      const { stdout } = await alone(
        subject,
        ["--", "cat", "/proc/self/environ"],
        { env, cwd: "/usr" },
      );
      expect(stdout).toContain("MALLOC_ARENA_MAX=1\0");
      expect(stdout).toContain("LD_BIND_NOW=1\0");
      expect(stdout).toContain("ODD=a=b c\0");
      expect(stdout).toContain("CODEX_SANDBOX=landlock\0");
      expect(stdout).toContain("CODEX_SANDBOX_NETWORK_DISABLED=1\0");
      expect(stdout).toEndWith("PWD=/usr\0");
      const at = await alone(subject, ["--", "pwd"], { cwd: "/usr" });
      expect(at.stdout).toBe("/usr\n");
    },
  );

  matrix(
    "no descriptor but 0 to 2 and those of --pass-fd",
    BOTH_ACTORS,
    async (subject) => {
      const words = ["--", PYTHON, "-c", FDS];
      const shell = `exec 5</etc/hostname 7</etc/passwd; "$@"`;
      const { stdout } = await alone(
        subject,
        ["--pass-fd", "7", ...words],
        { shell },
      );
      expect(stdout).toBe("0 1 2 7\n");
    },
  );

  const FDS = `
import os
def there(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False
print(*[fd for fd in range(256) if there(fd)])
`;

  matrix(
    "a file that the caller opened for reading can't be written through its descriptor, one for writing can be opened again",
    BOTH_ACTORS,
    async (subject) => {
      const { work, uid } = subject;
      for (const name of ["in", "out"]) {
        writeFileSync(`${work}/${name}`, "kept\n");
        chownSync(`${work}/${name}`, uid, uid);
      }
      const script =
        "cat; (echo x > /proc/self/fd/0; truncate -s 0 /dev/stdin; chmod 777 /dev/stdin) 2>/dev/null; echo again > /dev/stdout; cat /dev/null > /dev/null";
      const { end } = await alone(subject, ["--", "sh", "-c", script], {
        shell: `"$@" < ${work}/in >> ${work}/out`,
      });
      expect(end).toBe(0);
      expect(readFileSync(`${work}/in`, "latin1")).toBe("kept\n");
      expect(readFileSync(`${work}/out`, "latin1")).toBe("again\n");
    },
  );

  matrix(
    "threads, pipes and harmless devices",
    BOTH_ACTORS,
    async (subject) => {
      const script = `
import errno, os, subprocess, threading
done = []
threads = [threading.Thread(target=lambda: done.append(1)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
open("/dev/null", "w").write("x")
open("/dev/zero", "rb").read(4)
os.urandom(4)
try:
    full = open("/dev/full", "w"); full.write("x"); full.flush()
except OSError as error:
    print(errno.errorcode[error.errno], len(done), subprocess.check_output("echo a | tr a b", shell=True).decode().strip(), flush=True)
os._exit(0)
`;
      const { end, stdout, stderr } = await alone(
        subject,
        ["--", PYTHON, "-c", script],
      );
      expect({ end, stdout, stderr })
        .toEqual({ end: 0, stdout: "ENOSPC 8 b\n", stderr: "" });
    },
  );
});

test("--user gives the rights of another user and no others", async () => {
  if (!ACTORS.includes("root")) {
    return notProved("--user on the Landlock rung", "needs root");
  }
  const subject = setup({ ...PLAIN, actor: "root" });
  const { end, stdout } = await alone(
    subject,
    [
      "--user",
      "65534:65534",
      "--",
      "sh",
      "-c",
      "id -u; id -G; cat /etc/shadow",
    ],
  );
  expect({ end, stdout }).toEqual({ end: 1, stdout: "65534\n65534\n" });
});

/** A host whose user namespaces are used up, one namespace down. */
const NO_NAMESPACES =
  'exec /usr/bin/bwrap --unshare-user --disable-userns --dev-bind / / -- "$@"';

describe("where bubblewrap can't be used", () => {
  if (!LAUNCHERS.includes("system")) {
    test("the ladder", () => notProved("the ladder", "no /usr/bin/bwrap"));
    return;
  }

  matrix(
    "a profile that Landlock keeps runs, and one line says what is lacking and why",
    BOTH_ACTORS,
    async ({ codexRun, home }) => {
      writeFileSync(`${home}/decoy`, "kept");
      chmodSync(`${home}/decoy`, 0o666);
      const script =
        `echo $CODEX_SANDBOX; echo x > ${home}/decoy || cat ${home}/decoy`;
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", "--", "sh", "-c", script],
        { shell: NO_NAMESPACES },
      );
      expect({ end, stdout }).toEqual({ end: 0, stdout: "landlock\nkept" });
      const [line, ...rest] = stderr.trimEnd().split("\n");
      expect(`${line}\n`).toMatch(WARNING);
      expect(line).toContain("no more user namespaces can be made here");
      expect(rest.join()).toContain("decoy"); // the shell's own word
    },
  );

  matrix(
    "a profile that it can't keep is refused by name, and nothing runs",
    BOTH_ACTORS,
    async ({ codexRun, work }) => {
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", "-P", ":workspace", "--", "sh", "-c", "echo ran; touch a"],
        { shell: NO_NAMESPACES },
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(
        /^codex: no more user namespaces [^\n]*; Landlock alone can't keep "write-deny" \([^\n]*\) and "carve-outs" \([^\n]*--give-up carve-outs\n$/,
      );
      expect(readdirSync(work)).toEqual([]);
    },
  );

  for (const name of ["pid", "ipc", "proc"]) {
    matrix(
      `a profile that requires ${name} is refused by that name`,
      BOTH_ACTORS,
      async ({ codexRun }) => {
        const { end, stderr } = await codexRun([
          ...["sandbox", "-c", `permissions.p.require=["${name}"]`],
          ...[...profile({ "/": "read" }), "--", "echo", "ran"],
        ], { shell: NO_NAMESPACES });
        expect(end).toBe(125);
        expect(stderr).toContain(
          `Landlock alone can't keep the promise "${name}"`,
        );
      },
    );
  }

  for (
    const flags of [
      ["--backend", "bubblewrap"],
      ["--launcher", "bundled"],
      ["--launcher", "system"],
      ["--stage", "inner"],
    ]
  ) {
    test(`${flags.join(" ")} means bubblewrap: nothing falls back`, async () => {
      const { codexRun } = setup();
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", ...flags, "--", "echo", "ran"],
        { shell: NO_NAMESPACES },
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(/^codex: [^\n]*user namespaces[^\n]*\n$/);
      expect(stderr).not.toContain("Landlock");
    });
  }

  test("--explain shows the rung, its promises and what each is lacking", async () => {
    const { codexRun } = setup();
    const text = await codexRun(["sandbox", "--explain", "--", "true"], {
      shell: NO_NAMESPACES,
    });
    expect(text.stdout).toMatch(
      /^sandbox +Landlock \d+ and seccomp, without bubblewrap \(no more user/m,
    );
    expect(text.stdout).toMatch(/^ {2}kept +carve-outs: there is none$/m);
    expect(text.stdout).toMatch(/^ {2}lacking +pid: processes of the host/m);
    const json = await codexRun(["sandbox", "--explain=json", "--", "true"], {
      shell: NO_NAMESPACES,
    });
    const plan = JSON.parse(json.stdout);
    expect([plan.kind, plan.promises.length]).toEqual(["landlock_only", 7]);
  });

  matrix(
    "the helper climbs down as well",
    BOTH_ACTORS,
    async ({ dir, codex, outside }) => {
      symlinkSync(codex, `${dir}/codex-linux-sandbox`);
      const words = [
        ...[`${dir}/codex-linux-sandbox`, "--sandbox-policy-cwd", "/"],
        ...["--permission-profile", HELPER_READ_ONLY, "--", "echo", "ran"],
      ];
      const { end, stdout, stderr } = await outside(words, {
        shell: NO_NAMESPACES,
      });
      expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
      expect(stderr).toMatch(WARNING);
    },
  );
});

const HELPER_READ_ONLY = helperProfile(
  '{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}',
);
const HELPER_WORKSPACE = helperProfile(
  '{"path":{"type":"special","value":{"kind":"root"}},"access":"read"},{"path":{"type":"special","value":{"kind":"project_roots"}},"access":"write"}',
);
const HELPER_FULL =
  '{"type":"managed","file_system":{"type":"unrestricted"},"network":"restricted"}';

function helperProfile(entries: string): string {
  return `{"type":"managed","file_system":{"type":"restricted","entries":[${entries}]},"network":"restricted"}`;
}

describe("use_legacy_landlock", () => {
  matrix(
    "of the helper is honoured for reading everything, refused for a workspace, ignored for full access",
    BOTH_ACTORS,
    async ({ dir, work, codex, outside }) => {
      symlinkSync(codex, `${dir}/codex-linux-sandbox`);
      const run = (profile: string): Promise<Outcome> =>
        outside([
          ...[`${dir}/codex-linux-sandbox`, "--sandbox-policy-cwd", work],
          ...["--permission-profile", profile, "--use-legacy-landlock", "--"],
          ...["sh", "-c", "readlink /proc/1/ns/pid || echo closed; echo $$"],
        ]);
      const honoured = await run(HELPER_READ_ONLY);
      expect(honoured.end).toBe(0);
      expect(honoured.stderr).toMatch(WARNING);
      const refused = await run(HELPER_WORKSPACE);
      expect({ ...refused, stderr: "" })
        .toEqual({ end: 125, stdout: "", stderr: "" });
      for (
        const fragment of [
          "filesystem-restricted execution requires bubblewrap",
          "permission profiles requiring direct runtime enforcement are incompatible with --use-legacy-landlock",
        ]
      ) expect(refused.stderr).toContain(fragment);
      const ignored = await run(HELPER_FULL);
      expect(ignored.end).toBe(0);
      expect(ignored.stderr).not.toContain("Landlock");
    },
  );

  test("of a state is the state's word, whatever the features say", async () => {
    const { codexRun, work } = setup();
    const run = (flag: string): Promise<Outcome> =>
      codexRun([
        ...["sandbox", "--sandbox-state-json"],
        `{"permissionProfile":${HELPER_READ_ONLY},"sandboxCwd":"file://${work}"${flag}}`,
        ...["--", "sh", "-c", "echo $CODEX_SANDBOX"],
      ]);
    expect((await run(',"useLegacyLandlock":true')).stdout).toBe("landlock\n");
    expect((await run("")).stdout).toBe("bubblewrap\n");
  });

  test("as a feature gives way to --backend", async () => {
    const { codexRun } = setup();
    const words = ["--enable", "use_legacy_landlock"];
    const script = ["--", "sh", "-c", "echo $CODEX_SANDBOX"];
    const honoured = await codexRun(["sandbox", ...words, ...script]);
    expect(honoured.stdout).toBe("landlock\n");
    const other = await codexRun([
      ...["sandbox", ...words, "--backend", "bubblewrap", ...script],
    ]);
    expect({ ...other }).toEqual({
      end: 0,
      stdout: "bubblewrap\n",
      stderr: "",
    });
  });
});

describe("by hand", () => {
  const ROWS: readonly (readonly [string, readonly string[], RegExp])[] = [
    [
      "a missing promise is named with the flag that waives it",
      ["-P", ":workspace"],
      /^codex: Cannot keep "write-deny" \([^\n]*\) and "carve-outs" \([^\n]*\) with Landlock alone: use bubblewrap, or add --give-up write-deny --give-up carve-outs\n$/,
    ],
    [
      "what is kept can't be given up",
      ["--give-up", "network"],
      /^codex: Cannot give up "network": [^\n]*\n$/,
    ],
    [
      "nobody stays who could end the run",
      ["--timeout", "5s"],
      /^codex: Landlock alone can't honour --timeout: [^\n]*\n$/,
    ],
    [
      "nobody stays who could tell the end",
      ["--result-json", "result.json"],
      /^codex: Landlock alone can't honour --result-json: nobody [^\n]*\n/,
    ],
    [
      "full access has no promise to keep",
      ["-P", ":danger-full-access", "--give-up", "pid"],
      /^codex: [^\n]*:danger-full-access[^\n]*\n$/,
    ],
  ];
  for (const [why, flags, line] of ROWS) {
    test(`${flags.join(" ")}: ${why}`, async () => {
      const { codexRun } = setup();
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", "--backend", "landlock", ...flags, "--", "echo", "ran"],
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(line);
    });
  }

  test("what was given up is not said again", async () => {
    const { codexRun } = setup();
    const flags = ["pid", "ipc", "proc"].flatMap((it) => ["--give-up", it]);
    expect(
      await codexRun(
        ["sandbox", "--backend", "landlock", ...flags, "--", "echo", "ran"],
      ),
    ).toEqual({ end: 0, stdout: "ran\n", stderr: "" });
  });
});

/** A host that covers parts of its /proc, as containers do: the kernel then mounts no fresh one. */
const NO_FRESH_PROC =
  'exec /usr/bin/bwrap --unshare-user --dev-bind / / --ro-bind /proc/version /proc/version -- "$@"';

describe("where a fresh /proc can't be mounted", () => {
  if (!LAUNCHERS.includes("system")) {
    test("the host's", () =>
      notProved("the host's /proc", "no /usr/bin/bwrap"));
    return;
  }

  test("the host's stays, read-only, --explain says so, and requiring proc refuses", async () => {
    const { codexRun } = setup();
    const shell = NO_FRESH_PROC;
    const script = "echo 0 > /proc/self/oom_score_adj; echo $$";
    const run = await codexRun(["sandbox", "--", "sh", "-c", script], {
      shell,
    });
    expect({ end: run.end, stdout: run.stdout })
      .toEqual({ end: 0, stdout: "2\n" });
    expect(run.stderr).toContain("warning: the host's /proc is visible");
    const plan = await codexRun(["sandbox", "--explain", "--", "true"], {
      shell,
    });
    expect(plan.stdout).toMatch(/^ {2}lacking +proc: a fresh \/proc can't/m);
    const refused = await codexRun([
      ...["sandbox", "-c", 'permissions.p.require=["proc"]'],
      ...[...profile({ "/": "read" }), "--", "echo", "ran"],
    ], { shell });
    expect({ end: refused.end, stdout: refused.stdout })
      .toEqual({ end: 125, stdout: "" });
    expect(refused.stderr).toMatch(
      /^codex: Cannot keep the promise "proc": [^\n]*\n$/,
    );
  });
});
