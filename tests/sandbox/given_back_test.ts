/**
 * What a profile can give back, and what it can't: tracing by `debug`, user namespaces by `nested_namespaces`.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

/** `debug` needs the inner stage. */
const INNER = EVERY_VARIANT.filter(({ stage }) => stage === "inner");
const AS_USER = EVERY_VARIANT.filter(({ actor }) => actor === "user");

function configure({ home }: Subject, profile: string): void {
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "p"\n[permissions.p]\n${profile}`,
  );
}

const DEBUG = 'extends = ":read-only"\ndebug = true\n';
const NESTED = 'extends = ":read-only"\nnested_namespaces = true\n';

matrix(
  "debug lets a command trace its children and not process 1",
  INNER,
  async (subject) => {
    configure(subject, DEBUG);
    const { run, probe } = subject;
    expect(await run(["--", probe, "trace"]))
      .toEqual({ end: 0, stdout: "ok\nEPERM\nEPERM\n", stderr: "" });
    const mem = await run(["--", probe, "open-read", "/proc/1/mem"]);
    expect(mem.stdout).toBe("/proc/1/mem\tEACCES\n");
  },
);

matrix(
  "debug without bubblewrap lets a command trace its children and nobody of the host",
  BOTH_ACTORS,
  async (subject) => {
    configure(subject, DEBUG);
    const { codexRun, probe } = subject;
    const { stdout } = await codexRun(
      ["sandbox", "--backend", "landlock", "--", probe, "trace"],
    );
    expect(stdout).toBe("ok\nEPERM\nEPERM\n");
  },
);

matrix(
  "without debug nobody is traced, not even a child",
  EVERY_VARIANT,
  async ({ run, probe }) => {
    expect((await run(["--", probe, "trace"])).stdout)
      .toBe("EPERM\nEPERM\nEPERM\n");
  },
);

describe("debuggers work with debug", () => {
  const subject = setup();
  const tools = [
    ["strace", ["-f", "-o", "/dev/null", "sh", "-c", "echo exited normally"]],
    ["gdb", ["-nx", "-batch", "-ex", "run", "/bin/true"]],
  ] as const;
  for (const [tool, words] of tools) {
    test.skipIf(Bun.which(tool) === null)(tool, async () => {
      configure(subject, DEBUG);
      const { end, stdout } = await subject.run(["--", tool, ...words]);
      expect(end).toBe(0);
      expect(stdout).toContain("exited normally");
    });
  }
});

test("debug and its domain are named by --explain", async () => {
  const subject = setup();
  configure(subject, DEBUG);
  const { stdout } = await subject.run(["--explain", "--", "true"]);
  expect(stdout).toContain("stage        inner: debug = true\n");
  expect(stdout).toContain(
    "debug        the command's processes can trace each other; a Landlock domain keeps process 1 out of reach\n",
  );
});

test("--stage one-start is refused beside debug", async () => {
  const subject = setup({ ...PLAIN, stage: "one-start" });
  configure(subject, DEBUG);
  const { end, stderr } = await subject.run(["--", "true"]);
  expect([end, stderr]).toEqual([
    125,
    "codex: Cannot use --stage one-start: debug = true\n",
  ]);
});

test("debug works where the command sees no library of ours", async () => {
  const subject = setup();
  const folder = subject.probe.slice(0, subject.probe.lastIndexOf("/"));
  configure(
    subject,
    `debug = true\nfilesystem = { ${JSON.stringify(folder)} = "read" }\n`,
  );
  expect((await subject.run(["--", subject.probe, "trace"])).stdout)
    .toBe("ok\nEPERM\nEPERM\n");
});

matrix(
  "nested_namespaces lets a command make a user namespace, and a bubblewrap in it",
  AS_USER,
  async (subject) => {
    configure(subject, NESTED);
    const { run } = subject;
    const nested = await run(["--", "unshare", "-Ur", "id", "-u"]);
    expect(nested).toEqual({ end: 0, stdout: "0\n", stderr: "" });
    if (Bun.which("bwrap") === null) {
      return notProved("a bubblewrap inside", "no bwrap on PATH");
    }
    const words = ["--ro-bind", "/", "/", "--dev", "/dev", "--unshare-all"];
    const inner = await run(["--", "bwrap", ...words, "echo", "within"]);
    expect(inner).toEqual({ end: 0, stdout: "within\n", stderr: "" });
  },
);

matrix(
  "a namespace of the command's own neither opens what is hidden nor moves it",
  AS_USER,
  async (subject) => {
    const { dir, run, probe } = subject;
    mkdirSync(`${dir}/hidden`);
    writeFileSync(`${dir}/hidden/decoy`, "decoy");
    configure(
      subject,
      `${NESTED}filesystem = { ${JSON.stringify(`${dir}/hidden`)} = "deny" }\n`,
    );
    // The mask itself can be opened by a root of its own namespace; it is empty.
    const left = await run(["--", probe, "leave", dir, "hidden"]);
    expect(left.stdout).toBe("ok\nEROFS\n");
    const below = await run(["--", probe, "leave", dir, "hidden/decoy"]);
    expect(below.stdout.split("\n")[0]).toBe("ENOENT");
    const scripts = [
      `umount ${dir}/hidden; cat ${dir}/hidden/decoy`,
      `mount --bind ${dir} /tmp && cat /tmp/hidden/decoy`,
      `mount --rbind ${dir} /tmp && cat /tmp/hidden/decoy`,
      `mount -t overlay -o lowerdir=${dir}:/usr none /tmp && cat /tmp/hidden/decoy`,
      `mount -o remount,rw / && touch ${dir}/new`,
    ];
    for (const script of scripts) {
      const { end, stdout } = await run([
        ...["--", "unshare", "-Urm", "sh", "-c", script],
      ]);
      expect([script, end === 0, stdout]).toEqual([script, false, ""]);
    }
  },
);

matrix(
  "nested_namespaces is refused beside protected metadata, by name",
  AS_USER,
  async (subject) => {
    configure(
      subject,
      'extends = ":workspace"\ntmp = "private"\nnested_namespaces = true\n',
    );
    const { end, stderr } = await subject.run(["--", "true"]);
    expect(end).toBe(125);
    expect(stderr).toContain(
      `Cannot honour nested_namespaces = true of profile p: "${subject.work}/.agents" is protected below the writable "${subject.work}"`,
    );
    const check = await subject.codexRun(["config", "check"]);
    expect([check.end, check.stdout.includes("nested_namespaces = true")])
      .toEqual([1, true]);
  },
);

test("nested_namespaces is refused as root, who could map nobody", async () => {
  if (PLAIN.actor !== "root") {
    return notProved("the refusal of nested_namespaces as root", "not root");
  }
  const subject = setup();
  configure(subject, NESTED);
  const { end, stderr } = await subject.run(["--", "true"]);
  expect([end, stderr.split(":")[1]]).toEqual([
    125,
    " Cannot honour nested_namespaces = true of profile p as root",
  ]);
});
