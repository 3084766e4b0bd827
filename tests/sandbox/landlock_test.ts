/**
 * The Landlock rung, live: what Landlock and seccomp keep alone.
 *
 * Attacks are tried outside first, so that nothing but the rung stands in their way.
 *
 * @module
 */
import { afterAll, describe, expect } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import {
  attempted,
  BOTH_ACTORS,
  leaveClean,
  matrix,
  until,
} from "./harness.ts";
import { alone, plant, profile, PYTHON } from "./landlock.ts";

afterAll(leaveClean);

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
        const { stdout } = await alone(
          subject,
          ["--", "sh", "-c", attempted(line)],
          { env: { D: `${dir}/inside` } },
        );
        expect(stdout).toBe("refused\n");
        expect(stateOf(`${dir}/inside`)).toEqual(before);
        expect(statSync(`${dir}/inside`).mode).toBe(mode);
      },
    );
  }
});

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
    const other = outside(["sh", "-c", "echo $$ > pid; exec sleep 600"]);
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
      const { stdout } = await alone(
        subject,
        ["--", "sh", "-c", attempted(line)],
      );
      expect({ line, stdout }).toEqual({ line, stdout: "refused\n" });
    }
  },
);

matrix(
  "of what can be read as root nothing can be opened for writing but /dev/null: no setting of the kernel, disk or group",
  BOTH_ACTORS,
  async (subject) => {
    const script = `
import glob, os
places = ["/dev/null", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/sys/kernel/uevent_helper", "/dev/kmsg", "/dev/mem", "/dev/tty", "/etc/passwd"]
places += glob.glob("/dev/[sv]d?") + glob.glob("/dev/nvme*") + glob.glob("/sys/fs/cgroup/*") + glob.glob("/dev/shm")
for place in places:
    try:
        os.open(place, os.O_WRONLY)
        print(place)
    except OSError:
        pass
`;
    const { end, stdout } = await alone(subject, ["--", PYTHON, "-c", script]);
    expect({ end, stdout }).toEqual({ end: 0, stdout: "/dev/null\n" });
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
  "a device can't be opened for commands alone either, which asks for no right of Landlock's",
  BOTH_ACTORS,
  async (subject) => {
    const words = [subject.probe, "calls", "openat", "-100", "s:/dev/ptmx"];
    const outside = await subject.outside([...words, "3"]);
    const alike = await alone(subject, ["--", ...words, "3"]);
    expect([outside.stdout, alike.stdout]).toEqual(["ok\n", "EPERM\n"]);
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
