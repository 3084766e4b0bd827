/**
 * What the command gets on the Landlock rung: status, signals, limits, streams, descriptors, variables, user.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, readFileSync, writeFileSync } from "node:fs";
import {
  ACTORS,
  BOTH_ACTORS,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
} from "./harness.ts";
import { alone, PYTHON } from "./landlock.ts";

afterAll(leaveClean);

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
