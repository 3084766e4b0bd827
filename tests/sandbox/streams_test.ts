/**
 * Standard streams are no ways out: a file that the caller opened for reading can't be written through its descriptor.
 *
 * Two cures: a Landlock rule (Linux 6.2), and a read-only mount where no rule can hold or none is there. Which one is taken on which
 * kernel is a table in `tests/linux/stream_cures_test.ts`; here both are tried on this one.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import {
  EVERY_VARIANT,
  leaveClean,
  matrix,
  PLAIN,
  setup,
  type Subject,
  TRUE_STAGES,
  type Variant,
} from "./harness.ts";

afterAll(leaveClean);

/** With `auto` the planner has to notice by itself. */
const COLUMNS: readonly Variant[] = TRUE_STAGES;

/** Everything that a shell and Python know to make of a descriptor, on descriptor 0. */
const ATTACKS = [
  "echo written > /proc/self/fd/0",
  "echo written >> /dev/stdin",
  "echo written 1<> /proc/self/fd/0",
  "truncate -s 0 /proc/self/fd/0",
  "/usr/bin/python3 -c 'import os; os.open(\"/proc/self/fd/0\", os.O_RDONLY | os.O_TRUNC)'",
  "/usr/bin/python3 -c 'import os; os.truncate(\"/dev/fd/0\", 0)'",
  "dd if=/dev/zero of=/dev/stdin bs=1 count=1",
  "cp /etc/hostname /proc/self/fd/0",
].join("; ");

/** Writes a file that belongs to the actor, so that nothing but the sandbox is in the way. */
function plant(path: string, uid: number): void {
  writeFileSync(path, "kept");
  if (process.getuid?.() === 0) execFileSync("chown", [`${uid}`, path]);
}

for (const profile of [":read-only", ":workspace"]) {
  matrix(
    `${profile}: a file on stdin can be read and not be written through the descriptor`,
    COLUMNS,
    async ({ run, home, uid }) => {
      const file = `${home}/input`;
      plant(file, uid);
      const script = `cat; (${ATTACKS}) 2>/dev/null; echo done`;
      const { end, stdout } = await run(
        ["-P", profile, "--", "sh", "-c", script],
        { shell: `"$@" <${file}` },
      );
      expect({ end, stdout }).toEqual({ end: 0, stdout: "keptdone\n" });
      expect(readFileSync(file, "latin1")).toBe("kept");
    },
  );
}

matrix(
  "a file behind --pass-fd can't be written through the descriptor either",
  COLUMNS,
  async ({ run, home, uid }) => {
    const file = `${home}/input`;
    plant(file, uid);
    const line = "cat <&7; (echo x > /proc/self/fd/7) 2>/dev/null; echo done";
    const { stdout } = await run(
      ["--pass-fd", "7", "--", "sh", "-c", line],
      { shell: `"$@" 7<${file}` },
    );
    expect(stdout).toBe("keptdone\n");
    expect(readFileSync(file, "latin1")).toBe("kept");
  },
);

matrix(
  "a device that the caller opened for reading can't be opened for writing, and /dev/null can",
  COLUMNS.filter(({ actor }) => actor === "root"),
  async ({ run, home }) => {
    // A second node of the kernel's log. It is only opened.
    const device = `${home}/device`;
    execFileSync("mknod", [device, "c", "1", "11"]);
    const script =
      "(: > /proc/self/fd/0) 2>/dev/null && echo opened; echo done";
    for (const [stream, stdout] of [[device, ""], ["/dev/null", "opened\n"]]) {
      const done = await run(
        ["--", "sh", "-c", script],
        { shell: `"$@" <${stream}` },
      );
      expect(done).toMatchObject({ end: 0, stdout: `${stdout}done\n` });
    }
  },
);

matrix(
  "beside a guarded stream everything that the profile lets be written still is",
  COLUMNS,
  async ({ run, home, work, uid }) => {
    const file = `${home}/input`;
    plant(file, uid);
    plant(`${home}/output`, uid);
    const script = [
      "mkdir a b",
      "echo 1 > a/x",
      "mv a/x b/y",
      "ln b/y a/z",
      "truncate -s 1 b/y",
      "echo > /dev/null",
      "echo > /dev/shm/x",
      // Root's /proc is read-only as a whole.
      ...(uid === 0 ? [] : ["echo t > /proc/self/comm"]),
      "echo named > /dev/stderr",
      "echo piped | tee /dev/fd/1 >/dev/null",
      "echo x > /tmp/codex-$$ && rm /tmp/codex-$$",
      "echo all",
    ].join(" && ");
    const { end, stdout, stderr } = await run(
      ["-P", ":workspace", "--", "sh", "-c", script],
      {
        shell:
          `"$@" <${file} 2>${home}/output; s=$?; cat ${home}/output >&2; exit $s`,
      },
    );
    expect({ end, stdout, stderr }).toEqual({
      end: 0,
      stdout: "all\n",
      stderr: "named\n",
    });
    expect(readFileSync(`${work}/a/z`, "latin1")).toBe("1");
  },
);

matrix(
  "a file that the profile lets be written needs no guard",
  EVERY_VARIANT,
  async ({ run, work, uid }) => {
    plant(`${work}/input`, uid);
    const { end } = await run(
      ["-P", ":workspace", "--", "sh", "-c", "echo mine > /proc/self/fd/0"],
      { shell: `"$@" <${work}/input` },
    );
    expect(end).toBe(0);
    expect(readFileSync(`${work}/input`, "latin1")).toBe("mine\n");
  },
);

/** Where no Landlock rule can hold: the file is opened anew on a read-only mount, as everywhere before Linux 6.2. */
function plantProtected(
  { work, uid }: Pick<Subject, "work" | "uid">,
  content = "kept",
): string {
  const file = `${work}/.git/config`;
  mkdirSync(`${work}/.git`);
  plant(file, uid);
  writeFileSync(file, content);
  return file;
}

matrix(
  "a protected file below a writable root can be read on stdin and not be written through any descriptor",
  COLUMNS,
  async ({ run, ...subject }) => {
    const file = plantProtected(subject);
    const more = [
      "for p in /proc/[0-9]*; do echo written > $p/fd/0; done",
      "chmod 777 /proc/self/fd/0",
      "rm -f /dev/codex-stream-0",
      "mv /dev/codex-stream-0 /dev/shm/",
      "echo written > /dev/codex-stream-0",
    ].join("; ");
    const mode = statSync(file).mode;
    const script = `cat; (${ATTACKS}; ${more}) 2>/dev/null; echo done`;
    const { end, stdout, stderr } = await run(
      ["-P", ":workspace", "--", "sh", "-c", script],
      { shell: `"$@" <${file}` },
    );
    expect({ end, stdout, stderr }).toEqual({
      end: 0,
      stdout: "keptdone\n",
      stderr: "",
    });
    expect(readFileSync(file, "latin1")).toBe("kept");
    expect(statSync(file).mode).toBe(mode);
  },
);

matrix(
  "a stream that is opened anew begins where the caller was, and leaves the caller there",
  COLUMNS,
  async ({ run, ...subject }) => {
    const file = plantProtected(subject, "one\ntwo\nthree\n");
    const { end, stdout } = await run(
      ["-P", ":workspace", "--", "sh", "-c", "read x; echo inside $x"],
      { shell: `{ read x; "$@"; read x; echo outside $x; } <${file}` },
    );
    expect({ end, stdout }).toEqual({
      end: 0,
      stdout: "inside two\noutside two\n",
    });
  },
);

matrix(
  "an offset beyond 2^32 is kept when a stream is opened anew",
  [PLAIN],
  async ({ run, ...subject }) => {
    const file = plantProtected(subject, "");
    truncateSync(file, 5 * 2 ** 30);
    appendFileSync(file, "end");
    const { stdout } = await run(
      ["-P", ":workspace", "--", "cat"],
      {
        shell:
          `exec /usr/bin/python3 -c 'import os,sys; f=os.open("${file}",os.O_RDONLY); os.dup2(f,0); os.lseek(0,${
            5 * 2 ** 30
          },0); os.execv(sys.argv[1],sys.argv[1:])' "$@"`,
      },
    );
    expect(stdout).toBe("end");
  },
);

matrix(
  "a protected file behind --pass-fd can't be written through the descriptor either",
  COLUMNS,
  async ({ run, ...subject }) => {
    const file = plantProtected(subject);
    const { stdout } = await run(
      [
        ...["-P", ":workspace", "--pass-fd", "7", "--", "sh", "-c"],
        "cat <&7; (echo x > /proc/self/fd/7) 2>/dev/null; (echo x > /dev/codex-stream-7) 2>/dev/null; echo done",
      ],
      { shell: `"$@" 7<${file}` },
    );
    expect(stdout).toBe("keptdone\n");
    expect(readFileSync(file, "latin1")).toBe("kept");
  },
);

test("--stage one-start is refused where a stream needs the guard", async () => {
  const subject = setup({
    actor: "root",
    launcher: "auto",
    stage: "one-start",
  });
  plant(`${subject.home}/input`, subject.uid);
  const { end, stderr } = await subject.run(["--", "true"], {
    shell: `"$@" <${subject.home}/input`,
  });
  expect({ end, stderr }).toEqual({
    end: 125,
    stderr:
      "codex: Cannot use --stage one-start: descriptor 0 is a file opened for reading: a Landlock rule keeps it from being written\n",
  });
});

/** Starts its words with one end of a pair of sockets as standard input; the other end is this process's, on the host. */
const WITH_SOCKET = `
import socket, subprocess, sys
ours, theirs = socket.socketpair()
sys.exit(subprocess.run(sys.argv[1:], stdin=theirs).returncode)
`;

/** What a socket tells of the process behind it, and what that is good for; prints what was granted. */
const PEER = `
import ctypes, fcntl, os, signal, socket
SO_PEERPIDFD, SIOCUNIXFILE, SIOCGSKNS, SETNS_MOUNTS = 77, 0x89E0, 0x894C, 0x20000
NAMESPACES = range(0xFF01, 0xFF0B)
libc = ctypes.CDLL(None, use_errno=True)
there = socket.socket(fileno=0)
granted = []
def attempt(name, call):
    try:
        if call() != -1: granted.append(name)
    except OSError: pass
attempt("file", lambda: fcntl.ioctl(0, SIOCUNIXFILE))
attempt("network", lambda: fcntl.ioctl(0, SIOCGSKNS))
attempt("number", lambda: os.kill(int.from_bytes(there.getsockopt(1, 17, 12)[:4], "little") or -1, 0))
try: process = int.from_bytes(there.getsockopt(1, SO_PEERPIDFD, 4), "little")
except OSError: process = -1
attempt("signal", lambda: signal.pidfd_send_signal(process, 0))
attempt("setns", lambda: libc.setns(process, SETNS_MOUNTS))
attempt("descriptor", lambda: libc.syscall(438, process, 0, 0))
for number in NAMESPACES:
    attempt("namespace %x" % number, lambda: fcntl.ioctl(process, number))
print(granted)
`;

matrix(
  "a socket on stdin gives no hold on the process behind it",
  COLUMNS,
  async ({ run }) => {
    const shell = `exec /usr/bin/python3 -c '${WITH_SOCKET}' "$@"`;
    const words = ["--", "/usr/bin/python3", "-c", PEER];
    const { end, stdout } = await run(words, { shell });
    expect({ end, stdout }).toEqual({ end: 0, stdout: "[]\n" });
  },
);
