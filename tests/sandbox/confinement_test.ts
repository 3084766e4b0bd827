/**
 * What a command can't do to the kernel, to other processes and to the host, whoever it is and whoever started it.
 *
 * Probes ask with bad descriptors and pointers, or only open: nothing is ever written to the host.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import {
  attempted,
  BOTH_ACTORS,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  setup,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

const NOTHING = "0".repeat(16);

matrix(
  "a command has no capability, no_new_privs and a filter",
  EVERY_VARIANT,
  async ({ run, probe }) => {
    const { stdout } = await run(["--", probe, "caps"]);
    const lines = stdout.trimEnd().split("\n").sort();
    expect(lines).toEqual([
      `CapAmb ${NOTHING}`,
      `CapBnd ${NOTHING}`,
      `CapEff ${NOTHING}`,
      `CapInh ${NOTHING}`,
      `CapPrm ${NOTHING}`,
      "NoNewPrivs 1",
      "Seccomp 2",
    ]);
  },
);

matrix(
  "a command has no controlling terminal, even where its caller has one",
  EVERY_VARIANT,
  async ({ outside, codex, probe, variant }) => {
    const { launcher, stage } = variant;
    const line =
      `${codex} sandbox --launcher ${launcher} --stage ${stage} -- ${probe} tty`;
    const { stdout } = await outside(["script", "-qec", line, "/dev/null"]);
    expect(stdout.trim()).toBe("ENXIO");
  },
);

matrix(
  "a command whose streams are no terminal can't open its caller's either",
  EVERY_VARIANT,
  async ({ outside, codex, probe, work, variant }) => {
    const { launcher, stage } = variant;
    const line =
      `${codex} sandbox --launcher ${launcher} --stage ${stage} -- ${probe} tty </dev/null 2>&1 | cat >${work}/answer`;
    await outside(["script", "-qec", line, "/dev/null"]);
    expect(readFileSync(`${work}/answer`, "utf8")).toBe("ENXIO\n");
  },
);

/** Words of the probe, and its whole answer. */
const ANSWERS: readonly (readonly [
  why: string,
  words: readonly string[],
  answer: string,
])[] = [
  ["typing into the terminal", ["tiocsti"], "EPERM\nEPERM\nEPERM\n"],
  ["the console's paste", ["tioclinux"], "EPERM\nEPERM\nEPERM\n"],
  ["an AF_UNIX stream", ["socket", "1", "1", "0"], "EPERM\n"],
  ["an AF_UNIX datagram socket", ["socket", "1", "2", "0"], "EPERM\n"],
  ["an AF_VSOCK socket", ["socket", "40", "1", "0"], "EPERM\n"],
  ["an AF_ALG socket", ["socket", "38", "5", "0"], "EPERM\n"],
  ["a pair of datagram sockets", ["socketpair", "1", "2", "0"], "EPERM\n"],
  ["a pair of streams, which works", ["socketpair", "1", "1", "0"], "ok\n"],
  ["its own loopback, which works", ["loopback"], "ok abc\n"],
  ["a keyring", ["syscall", "250", "0", "0"], "EPERM\n"],
  ["io_uring", ["syscall", "425", "1", "0"], "EPERM\n"],
  ["bpf", ["syscall", "321", "0", "0", "0"], "EPERM\n"],
  ["ptrace", ["syscall", "101", "16", "0", "0", "0"], "EPERM\n"],
  ["userfaultfd", ["syscall", "323", "0"], "EPERM\n"],
  ["perf events", ["syscall", "298", "0", "0", "0", "0", "0"], "EPERM\n"],
];

for (const [why, words, answer] of ANSWERS) {
  // The probe's numbers are those of x86-64; the filter's own table has both architectures.
  test.skipIf(process.arch !== "x64" && words[0] === "syscall")(
    `${why}: ${answer.trim().replaceAll("\n", ", ")}`,
    async () => {
      await everyVariant(async ({ run, probe }) => {
        expect((await run(["--", probe, ...words])).stdout).toBe(answer);
      });
    },
  );
}

async function everyVariant(
  body: (subject: Subject) => Promise<void>,
): Promise<void> {
  for (const variant of EVERY_VARIANT) await body(setup(variant));
}

test.skipIf(process.arch !== "x64")(
  "the 32-bit entry and the x32 table end the command",
  async () => {
    await everyVariant(async ({ run, probe }) => {
      expect((await run(["--", probe, "int80"])).end).toBe(159);
      expect((await run(["--", probe, "x32"])).end).toBe(159);
    });
  },
);

matrix(
  "no file of /proc/sys can be opened for writing",
  EVERY_VARIANT,
  async ({ run }) => {
    // sh opens with O_TRUNC, which the kernel ignores there; nothing is written.
    const { stdout } = await run([
      "--",
      "sh",
      "-c",
      "for f in $(find /proc/sys -type f 2>/dev/null); do ( : >> $f ) 2>/dev/null && echo $f; done; echo looked",
    ], { timeoutMs: 60_000 });
    expect(stdout).toBe("looked\n");
  },
);

matrix(
  "the knobs of /proc and /sys can't be opened for writing",
  EVERY_VARIANT,
  async ({ run, probe, variant }) => {
    const knobs = [
      // Open to every user by the kernel's design: a user's triggers cost nobody anything.
      ...(variant.actor === "root" ? ["/proc/pressure/cpu"] : []),
      "/proc/sysrq-trigger",
      "/proc/sys/kernel/core_pattern",
      "/proc/sys/vm/drop_caches",
      "/proc/irq/default_smp_affinity",
      "/sys/kernel/uevent_helper",
      "/sys/power/state",
      "/sys/fs/cgroup/cgroup.procs",
      "/dev/kmsg",
      "/dev/mem",
      "/dev/vda",
      "/dev/sda",
    ];
    const { stdout } = await run(
      ["--", probe, "open-write", "/dev/null", ...knobs],
    );
    const [control, ...answers] = stdout.trimEnd().split("\n");
    expect(control).toBe("/dev/null\tok");
    expect(answers.map((line) => line.split("\t")[0])).toEqual(knobs);
    expect(answers.filter((line) => line.endsWith("\tok"))).toEqual([]);
  },
);

matrix("process 1 is out of reach", EVERY_VARIANT, async ({ run, probe }) => {
  const { stdout } = await run([
    "--",
    probe,
    "open-read",
    "/proc/1/mem",
    "/proc/1/root/etc/passwd",
    "/proc/1/environ",
    "/proc/1/fd/0",
    "/proc/1/maps",
  ]);
  const answers = stdout.trimEnd().split("\n").map((line) =>
    line.split("\t")[1]
  );
  expect(answers).toHaveLength(5);
  expect(answers.every((answer) => answer === "EACCES" || answer === "ENOENT"))
    .toBe(true);
});

const FUSES: readonly (readonly [why: string, command: string])[] = [
  ["a nested user namespace", "unshare -U true"],
  ["a nested user namespace as its root", "unshare -Ur true"],
  ["a mount namespace", "unshare -m true"],
  ["unmounting the mask of process 1", "umount /proc/1"],
  ["unmounting lazily", "umount -l /proc/1"],
  ["remounting the root writable", "mount -o remount,rw,bind / /"],
  ["a tmpfs", "mount -t tmpfs none /mnt"],
  ["a bind mount", "mount --bind /dev/null /etc/passwd"],
  ["another proc", "mount -t proc proc /proc"],
  ["a device node", "mknod /dev/disk b 254 0"],
  ["entering a namespace of another", "nsenter -t 2 -m true"],
  ["chroot", "chroot / true"],
  ["another host name", "hostname elsewhere"],
];

for (const [why, command] of FUSES) {
  test(`refused: ${why}`, async () => {
    await everyVariant(async ({ run }) => {
      const { stdout } = await run(["--", "sh", "-c", attempted(command)]);
      expect(stdout).toBe("refused\n");
    });
  });
}

matrix(
  "the host's loopback is out of reach, TCP and abstract names alike",
  EVERY_VARIANT,
  async ({ run, probe }) => {
    const server = createServer();
    await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    try {
      const { stdout } = await run([
        "--",
        probe,
        "connect-inet",
        "127.0.0.1",
        String(port),
      ]);
      expect(stdout).toBe("ECONNREFUSED\n");
    } finally {
      server.close();
    }
  },
);

matrix("the network has nothing but lo", EVERY_VARIANT, async ({ run }) => {
  const { stdout } = await run(["--", "cat", "/proc/net/dev"]);
  const names = stdout.split("\n").slice(2).map((line) =>
    line.split(":")[0]?.trim()
  ).filter(Boolean);
  // Kernels with tunnel modules built in add their idle devices to every namespace.
  expect(
    names.filter((name) =>
      !/^(tunl|gre|gretap|erspan|sit|ip6)/.test(name ?? "")
    ),
  )
    .toEqual(["lo"]);
});

matrix(
  "SysV shared memory of the host is not seen",
  BOTH_ACTORS,
  async ({ run, outside }) => {
    const made = await outside(["ipcmk", "-M", "64"]);
    const id = /: (\d+)/.exec(made.stdout)?.[1];
    expect(id).toBeDefined();
    try {
      const { stdout } = await run([
        "--",
        "sh",
        "-c",
        "cat /proc/sysvipc/shm | wc -l",
      ]);
      expect(stdout).toBe("1\n");
    } finally {
      await outside(["ipcrm", "-m", String(id)]);
    }
  },
);

matrix("namespaces are its own", EVERY_VARIANT, async ({ run, outside }) => {
  const line =
    "for n in user pid mnt net ipc uts; do readlink /proc/self/ns/$n; done";
  const here = (await outside(["sh", "-c", line])).stdout.split("\n");
  const inside = (await run(["--", "sh", "-c", line])).stdout.split("\n");
  expect(inside).toHaveLength(7);
  expect(inside.filter((name) => name !== "" && here.includes(name))).toEqual(
    [],
  );
});

matrix(
  "only the sandbox's processes are seen",
  EVERY_VARIANT,
  async ({ run }) => {
    const { stdout } = await run([
      "--",
      "sh",
      "-c",
      "echo /proc/[0-9]*",
    ]);
    const seen = stdout.trim().split(" ");
    expect(seen).toContain("/proc/1");
    expect(seen.length).toBeLessThan(6);
  },
);

matrix("the host can't be written anywhere", EVERY_VARIANT, async (subject) => {
  const { run, work, home } = subject;
  mkdirSync(`${work}/sub`);
  writeFileSync(`${work}/sub/file`, "before");
  const before = readdirSync(work);
  const places = [
    work,
    `${work}/sub`,
    home,
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/etc",
    "/run",
    "/",
    "/root",
    "/usr/local/bin",
  ];
  const { stdout } = await run([
    "--",
    "sh",
    "-c",
    `for d in ${
      places.join(" ")
    }; do touch $d/codex-live-mark 2>/dev/null && echo $d; done; echo x 2>/dev/null >${work}/sub/file; rm -rf ${work}/sub 2>/dev/null; mv ${work}/sub ${work}/moved 2>/dev/null; ln ${work}/sub/file ${work}/link 2>/dev/null; chmod 777 ${work} 2>/dev/null; echo looked`,
  ]);
  // /dev is the sandbox's own, so is what a command may find below it.
  expect(stdout.replace("/dev/shm\n", "")).toBe("looked\n");
  expect(readdirSync("/dev/shm")).not.toContain("codex-live-mark");
  expect(readdirSync(work)).toEqual(before);
  expect(await Bun.file(`${work}/sub/file`).text()).toBe("before");
});
