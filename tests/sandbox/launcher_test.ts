/**
 * Which bubblewrap is run: the system's only when it can be trusted and can do the job, the bundled one only when it is what was built,
 * and never a command without a sandbox.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import {
  ACTORS,
  BOTH_ACTORS,
  EVERY_VARIANT,
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
  type Variant,
} from "./harness.ts";

/** Folders of root outside of /var/tmp, which everybody can write: a trusted bwrap can't lie there. */
const trustedFolders: string[] = [];

afterAll(async () => {
  for (const folder of trustedFolders) rmSync(folder, { recursive: true });
  await leaveClean();
});

const isRoot = ACTORS.includes("root");

/** Of uid 0 the system's is not even asked: it is looked for as another user, whoever runs the tests. */
const USER: Variant = { ...PLAIN, actor: "user" };

const MEMFD_SETTING = "/proc/sys/vm/memfd_noexec";
const hasMemfdSetting = isThere(MEMFD_SETTING);
if (!hasMemfdSetting) notProved("forbidden memfds", "needs Linux 6.3");

const GUARDED =
  "uid 0 owns the host's device nodes, and only the bundled bwrap binds them read-only";

const SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

/** A folder in which a bwrap would be trusted. */
function trustedFolder(): string {
  const folder = mkdtempSync(`/opt/codex-live-${process.pid}-`);
  chmodSync(folder, 0o755);
  trustedFolders.push(folder);
  return folder;
}

/** A bwrap that leaves a mark wherever it can, and then does what `line` says. */
function fakeBwrap(path: string, line: string): void {
  writeFileSync(path, `#!/bin/sh\n${line}\n`);
  chmodSync(path, 0o755);
}

/** The launcher's line of `--explain`. */
async function launcherOf(
  { run }: Subject,
  path: string,
  flags: readonly string[] = [],
): Promise<string> {
  const { stdout, stderr } = await run([
    ...flags,
    "--explain",
    "--",
    "/bin/true",
  ], {
    env: { PATH: path },
  });
  return /^launcher +(.*)$/m.exec(stdout)?.[1] ?? stderr;
}

const UNTRUSTED: readonly {
  readonly why: string;
  readonly says: RegExp;
  /** Makes the bwrap and gives the folder for PATH. */
  readonly make: (subject: Subject, line: string) => string;
  readonly needsRoot: boolean;
}[] = [
  {
    why: "in the working directory",
    says: /not trusted/,
    make: ({ work }, line) => {
      fakeBwrap(`${work}/bwrap`, line);
      return work;
    },
    needsRoot: false,
  },
  {
    why: "below a directory that everybody can write",
    says: /not trusted: \/var\/tmp can be written/,
    make: ({ dir }, line) => {
      mkdirSync(`${dir}/bin`);
      fakeBwrap(`${dir}/bin/bwrap`, line);
      return `${dir}/bin`;
    },
    needsRoot: true,
  },
  {
    why: "of another user",
    says: /belongs to uid 65534/,
    make: (_, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      chownSync(`${folder}/bwrap`, 65_534, 65_534);
      return folder;
    },
    needsRoot: true,
  },
  {
    why: "in another user's directory",
    says: /belongs to uid 65534/,
    make: (_, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      chownSync(folder, 65_534, 65_534);
      return folder;
    },
    needsRoot: true,
  },
  {
    why: "in a directory that its group can write",
    says: /can be written by others than root/,
    make: (_, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      chmodSync(folder, 0o775);
      return folder;
    },
    needsRoot: true,
  },
  {
    why: "that its group can write",
    says: /can be written by others than root/,
    make: (_, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      chmodSync(`${folder}/bwrap`, 0o775);
      return folder;
    },
    needsRoot: true,
  },
  {
    why: "that is setuid",
    says: /setuid/,
    make: (_, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      chmodSync(`${folder}/bwrap`, 0o4755);
      return folder;
    },
    needsRoot: true,
  },
  {
    why: "that is a link to one which can't be trusted",
    says: /not trusted/,
    make: ({ dir }, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${dir}/real`, line);
      symlinkSync(`${dir}/real`, `${folder}/bwrap`);
      return folder;
    },
    needsRoot: true,
  },
  {
    why: "that is not executable",
    says: /no bwrap on PATH/,
    make: (_, line) => {
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      chmodSync(`${folder}/bwrap`, 0o644);
      return folder;
    },
    needsRoot: true,
  },
];

for (const { why, says, make, needsRoot } of UNTRUSTED) {
  const columns = BOTH_ACTORS.filter(() => !needsRoot || isRoot);
  if (columns.length === 0) {
    notProved(`a bwrap ${why}`, "only root can make it");
  }
  matrix(`a bwrap ${why} is never run`, columns, async (subject) => {
    const { run, dir } = subject;
    const mark = `${dir}/mark`;
    writeFileSync(mark, "");
    chmodSync(mark, 0o666);
    const folder = make(subject, `echo ran >> ${mark}`);
    expect(await launcherOf(subject, folder, ["--launcher", "system"]))
      .toMatch(says);
    expect(await launcherOf(subject, folder)).toMatch(
      subject.uid === 0 ? GUARDED : says,
    );
    const { end, stdout } = await run(["--", "/bin/echo", "ran"], {
      env: { PATH: folder },
    });
    expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
    expect(readFileSync(mark, "utf8")).toBe("");
    const only = await run(["--launcher", "system", "--", "/bin/echo", "ran"], {
      env: { PATH: folder },
    });
    expect({ end: only.end, stdout: only.stdout }).toEqual({
      end: 125,
      stdout: "",
    });
    expect(readFileSync(mark, "utf8")).toBe("");
  });
}

matrix(
  "relative and empty entries of PATH are never looked into for a bwrap",
  BOTH_ACTORS,
  async (subject) => {
    const { work, dir, run } = subject;
    writeFileSync(`${dir}/mark`, "");
    chmodSync(`${dir}/mark`, 0o666);
    fakeBwrap(`${work}/bwrap`, `echo ran >> ${dir}/mark`);
    for (const path of ["", ".", ":", "work/..", undefined]) {
      const { end } = await run(["--", "/bin/true"], { env: { PATH: path } });
      expect(end).toBe(0);
    }
    expect(readFileSync(`${dir}/mark`, "utf8")).toBe("");
  },
);

const isSystem = LAUNCHERS.includes("system");
if (!isSystem) notProved("the system's bwrap", "/usr/bin/bwrap is not there");

test.skipIf(!isSystem)(
  "the system's own bwrap is trusted and preferred",
  async () => {
    expect(await launcherOf(setup(USER), SYSTEM_PATH)).toMatch(
      /^\/usr\/bin\/bwrap /,
    );
  },
);

test.skipIf(!isSystem || !isRoot)(
  "uid 0 gets the bundled bwrap, but where it has no use for what only that one does",
  async () => {
    const subject = setup({ ...PLAIN, actor: "root" });
    expect(await launcherOf(subject, SYSTEM_PATH)).toContain(
      `bundled bubblewrap `,
    );
    expect(await launcherOf(subject, SYSTEM_PATH)).toContain(GUARDED);
    const system = /^\/usr\/bin\/bwrap /;
    chownSync(subject.work, 65_534, 65_534);
    for (const flags of [["--user", "65534"], ["--launcher", "system"]]) {
      expect(await launcherOf(subject, SYSTEM_PATH, flags)).toMatch(system);
    }
  },
);

/** The change of mode is one to what the node has already: nothing changes where it gets through. */
const CHANGES_NODES = `import os, stat
for n in ("null", "zero", "full", "random", "urandom", "tty"):
    try: os.chmod("/dev/" + n, stat.S_IMODE(os.stat("/dev/" + n).st_mode)); print(n, "changed")
    except OSError as e: print(n, e.strerror)
`;

matrix(
  "nobody changes the mode of a device node",
  BOTH_ACTORS,
  async ({ run, uid }) => {
    const { stdout } = await run([
      "--",
      "/usr/bin/python3",
      "-c",
      CHANGES_NODES,
    ]);
    const why = uid === 0 ? "Read-only file system" : "Operation not permitted";
    expect(stdout).toBe(
      ["null", "zero", "full", "random", "urandom", "tty"]
        .map((name) => `${name} ${why}\n`).join(""),
    );
  },
);

test("without a bwrap on PATH the bundled one is run", async () => {
  expect(await launcherOf(setup(USER), "/nowhere")).toMatch(
    /^bundled .*no bwrap on PATH/,
  );
});

/** Trusted bwraps that can't do the job. `$0` is the script; the real one is behind it. */
const UNFIT: readonly (readonly [why: string, line: string, says: RegExp])[] = [
  [
    "without --perms",
    `[ "$1" = --help ] && exec sh -c '/usr/bin/bwrap --help | grep -v perms'; exec /usr/bin/bwrap "$@"`,
    /lacks .*--perms/,
  ],
  [
    "without --ro-bind-fd",
    `[ "$1" = --help ] && exec sh -c '/usr/bin/bwrap --help | grep -v bind-fd'; exec /usr/bin/bwrap "$@"`,
    /lacks .*bind-fd/,
  ],
  [
    "without --disable-userns",
    `[ "$1" = --help ] && exec sh -c '/usr/bin/bwrap --help | grep -v userns'; exec /usr/bin/bwrap "$@"`,
    /lacks .*--disable-userns/,
  ],
  [
    "that always fails",
    'echo "bwrap: No permissions to create new namespace" >&2; exit 1',
    /lacks|does not work here/,
  ],
  ["that prints nothing", "exit 0", /lacks|does not work here/],
];

for (const [why, line, says] of UNFIT) {
  test.skipIf(!isRoot || !isSystem)(
    `a trusted bwrap ${why} is passed over for the bundled one`,
    async () => {
      const subject = setup(USER);
      const folder = trustedFolder();
      fakeBwrap(`${folder}/bwrap`, line);
      const said = await launcherOf(subject, folder, ["-P", ":workspace"]);
      expect(said).toMatch(/^bundled /);
      expect(said).toMatch(says);
      const { end, stdout } = await subject.run(["--", "/bin/echo", "ran"], {
        env: { PATH: folder },
      });
      expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
    },
  );
}

test.skipIf(!isRoot || !isSystem)(
  "a bwrap that can't mount /proc is used with the host's, read-only, and says so",
  async () => {
    const subject = setup();
    const folder = trustedFolder();
    fakeBwrap(
      `${folder}/bwrap`,
      `for a; do [ "$a" = --proc ] && { echo "bwrap: Can't mount proc on /newroot/proc: Operation not permitted" >&2; exit 1; }; done; exec /usr/bin/bwrap "$@"`,
    );
    const { end, stdout, stderr } = await subject.run([
      "--launcher",
      "system",
      "--",
      "/bin/sh",
      "-c",
      "echo ran; (: >> /proc/sys/kernel/hostname) 2>/dev/null && echo writable; echo end",
    ], { env: { PATH: folder } });
    expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\nend\n" });
    expect(stderr).toMatch(
      /^codex: warning: the host's \/proc is visible inside, read-only[^\n]*\n$/,
    );
  },
);

test.skipIf(!isRoot)(
  "a bwrap that hangs is given up after its time, with all that it started",
  async () => {
    const subject = setup(USER);
    const folder = trustedFolder();
    fakeBwrap(`${folder}/bwrap`, "sleep 60; exit 0");
    const { end, stdout } = await subject.run(["--", "/bin/echo", "ran"], {
      env: { PATH: folder },
      timeoutMs: 55_000,
    });
    expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
    // Nor does the script's own child stay: it would hold the folder for a minute.
    await until(
      () => !ourProcesses().some(({ words }) => words === "sleep 60"),
      "the script's own child is gone",
    );
  },
);

test.skipIf(!isRoot)(
  "a bwrap that is no use is asked once, by however many names PATH has it",
  async () => {
    const subject = setup(USER);
    const folder = trustedFolder();
    symlinkSync(folder, `${folder}/again`);
    const asked = `${subject.work}/asked`;
    fakeBwrap(`${folder}/bwrap`, `echo "$1" >> ${asked}; exit 1`);
    const { end } = await subject.run(["--", "/bin/true"], {
      env: { PATH: `${folder}:${folder}/again` },
    });
    expect(end).toBe(0);
    const words = readFileSync(asked, "utf8").split("\n");
    expect(words.filter((word) => word === "--help")).toEqual(["--help"]);
  },
);

const CACHES: readonly (readonly [
  why: string,
  prepare: (subject: Subject) => void,
])[] = [
  ["that is not there", ({ home }) => rmSync(home, { recursive: true })],
  ["that can't be written", ({ home }) => {
    chownSync(home, 0, 0);
    chmodSync(home, 0o555);
  }],
  ["with garbage in its cache", (subject) => {
    plant(subject, "{ not json");
  }],
  ["with lies in its cache", (subject) => {
    plant(subject, '{"x":{"options":[1],"version":2,"trial":null}}');
  }],
  ["with a state folder open to others", (subject) => {
    plant(subject, "{}");
    chmodSync(`${subject.home}/sandbox`, 0o777);
  }],
  ["with a link as its state folder", ({ home }) => {
    symlinkSync("/tmp", `${home}/sandbox`);
  }],
];

function plant({ home, uid }: Subject, text: string): void {
  for (const folder of ["sandbox", "sandbox/cache"]) {
    mkdirSync(`${home}/${folder}`, { mode: 0o700 });
    chownSync(`${home}/${folder}`, uid, uid);
  }
  writeFileSync(`${home}/sandbox/cache/bwrap-abilities.json`, text);
  chownSync(`${home}/sandbox/cache/bwrap-abilities.json`, uid, uid);
}

for (const [why, prepare] of CACHES) {
  matrix(
    `a CODEX_HOME ${why} costs time and nothing else`,
    BOTH_ACTORS.filter(({ actor }) => actor === "user" ? isRoot : true),
    async (subject) => {
      prepare(subject);
      // Without a home that may be made: a missing CODEX_HOME is refused by name, an unset one is not.
      const env = existsSync(subject.home)
        ? {}
        : { CODEX_HOME: undefined, HOME: subject.home };
      for (let round = 0; round < 2; round++) {
        const outcome = await subject.run(["--", "echo", "ran"], { env });
        expect(outcome).toEqual({ end: 0, stdout: "ran\n", stderr: "" });
      }
    },
  );
}

matrix(
  "what a container's mounts forbid is not remembered of the host, nor the other way round",
  EVERY_VARIANT.filter(({ actor, stage }) =>
    actor === "root" && stage === "one-start"
  ),
  async ({ run }) => {
    // A part of /proc is covered: the kernel mounts no fresh one there.
    const container =
      `exec unshare -m sh -c 'mount --bind /dev/null /proc/filesystems && exec "$@"' sh "$@"`;
    const warns = async (shell: string): Promise<boolean> => {
      const { end, stderr } = await run(["--", "true"], { shell });
      expect(end).toBe(0);
      return stderr.includes("the host's /proc is visible");
    };
    const here = 'exec "$@"';
    expect([
      await warns(here),
      await warns(container),
      await warns(here),
      await warns(container),
    ]).toEqual([false, true, false, true]);
  },
);

test("the second run asks no bwrap again", async () => {
  const { home, run } = setup();
  await run(["--", "true"]);
  const cache = `${home}/sandbox/cache`;
  const [name = ""] = readdirSync(cache);
  const before = statSync(`${cache}/${name}`).ctimeMs;
  expect((statSync(`${home}/sandbox`).mode & 0o777).toString(8)).toBe("700");
  await run(["--", "true"]);
  expect(statSync(`${cache}/${name}`).ctimeMs).toBe(before);
});

/** The offset of the embedded bubblewrap in the executable, by its first page. */
function offsetOfBwrap(codex: string): number {
  const bwrap = readFileSync(
    `${
      process.env["CODEX_BUILD_DIR"] ?? `${import.meta.dirname}/../../build`
    }/bwrap`,
  );
  // Not from its start: the header is like any other's.
  const sample = bwrap.subarray(bwrap.length >> 1, (bwrap.length >> 1) + 256);
  const fd = openSync(codex, "r");
  const chunk = Buffer.alloc(8 << 20);
  const size = statSync(codex).size;
  for (let at = 0; at < size; at += chunk.length - sample.length) {
    const count = readSync(fd, chunk, 0, chunk.length, at);
    const found = chunk.subarray(0, count).indexOf(sample);
    if (found !== -1) {
      closeSync(fd);
      return at + found;
    }
  }
  closeSync(fd);
  return -1;
}

for (
  const [what, change] of [
    ["one byte is missing", (size: number): number => size - 1],
    ["a byte is added", (size: number): number => size + 1],
  ] as const
) {
  test(`nothing is run in place of a bundled bwrap that can't be found: ${what}`, async () => {
    const subject = setup(USER);
    const copy = `${subject.dir}/damaged`;
    copyFileSync(subject.codex, copy);
    chmodSync(copy, 0o755);
    truncateSync(copy, change(statSync(copy).size));
    const outcome = await subject.outside(
      [copy, "sandbox", "--", "/bin/echo", "ran"],
      { env: { PATH: "/nowhere" } },
    );
    expect(outcome).toEqual({
      end: 125,
      stdout: "",
      stderr:
        "codex: bundled bubblewrap digest mismatch: the end of this executable is damaged; install codex again (no bwrap on PATH)\n",
    });
  });
}

test.skipIf(!isRoot)(
  "a damaged bundled bwrap is not replaced by the system's for uid 0 either",
  async () => {
    const subject = setup({ ...PLAIN, actor: "root" });
    const copy = `${subject.dir}/damaged`;
    copyFileSync(subject.codex, copy);
    truncateSync(copy, statSync(copy).size - 1);
    expect(
      await subject.outside([copy, "sandbox", "--", "/bin/echo", "ran"]),
    ).toEqual({
      end: 125,
      stdout: "",
      stderr:
        "codex: bundled bubblewrap digest mismatch: the end of this executable is damaged; install codex again\n",
    });
  },
);

/** The setting is the PID namespace's own (proc_sys_vm(5)): the host's stays as it is. */
const FORBIDS_MEMFDS =
  `exec unshare -pf --mount-proc --kill-child sh -c 'echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"' sh "$@"`;

const NO_MEMFD =
  `Cannot run the bundled bubblewrap: this host forbids executable memfds (vm.memfd_noexec is 2); install the distribution's bubblewrap or run "sysctl vm.memfd_noexec=1" as root`;

test.skipIf(!isRoot || !isSystem || !hasMemfdSetting)(
  "where executable memfds are forbidden the system's bwrap is used, or one line says what to do",
  async () => {
    const before = readFileSync(MEMFD_SETTING, "utf8");
    const { run } = setup({ ...PLAIN, actor: "root" });
    const words = ["--", "/bin/echo", "ran"];
    expect(await run(words, { shell: FORBIDS_MEMFDS })).toEqual({
      end: 0,
      stdout: "ran\n",
      stderr:
        `codex: warning: root can change the modes of the host's device nodes: only the bundled bubblewrap binds them read-only (${NO_MEMFD})\n`,
    });
    expect(
      await run(["-P", ":read-only", "-C", "/", "--user", "65534", ...words], {
        shell: FORBIDS_MEMFDS,
      }),
    ).toEqual({ end: 0, stdout: "ran\n", stderr: "" });
    const refused = await run(["--launcher", "bundled", ...words], {
      shell: FORBIDS_MEMFDS,
    });
    expect(refused).toEqual({
      end: 125,
      stdout: "",
      stderr: `codex: ${NO_MEMFD}\n`,
    });
    expect(readFileSync(MEMFD_SETTING, "utf8")).toBe(before);
  },
);

test("a bundled bwrap with one bit changed is not run", async () => {
  const subject = setup();
  const { codex, dir, work } = subject;
  const offset = offsetOfBwrap(codex);
  expect(offset).toBeGreaterThan(0);
  const copy = `${dir}/tampered`;
  copyFileSync(codex, copy);
  chmodSync(copy, 0o755);
  const fd = openSync(copy, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, offset);
  writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset);
  closeSync(fd);
  const { end, stdout, stderr } = await subject.outside([
    ...[copy, "sandbox", "--launcher", "bundled", "-P", ":workspace", "--"],
    ...["touch", `${work}/made`],
  ]);
  expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
  expect(stderr).toMatch(
    /^codex: bundled bubblewrap digest mismatch: expected sha256:[0-9a-f]{64}, got sha256:[0-9a-f]{64}[^\n]*\n$/,
  );
  // Nor anything else in its place: not even what Landlock alone would keep.
  const alone = await subject.outside(
    [copy, "sandbox", "--", "/bin/echo", "ran"],
    { env: { PATH: "/nowhere" } },
  );
  expect({ end: alone.end, stdout: alone.stdout })
    .toEqual({ end: 125, stdout: "" });
  expect(alone.stderr).toContain("digest mismatch");
  expect(isThere(`${work}/made`)).toBe(false);
});

test("a host without /proc gets one line, status 125 and no command", async () => {
  const { run, work } = setup({ ...PLAIN, launcher: "bundled" });
  const { end, stdout, stderr } = await run(
    ["-P", ":workspace", "--", "sh", "-c", "echo ran; touch made"],
    {
      shell:
        `exec unshare -Urm sh -c 'mount -t tmpfs none /proc && exec "$@"' sh "$@"`,
    },
  );
  expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
  expect(stderr).toMatch(/^codex: Cannot read \/proc[^\n]*\n$/);
  expect(readdirSync(work)).toEqual([]);
});

/** Hosts that can't make a sandbox, made by taking something away in a namespace of its own. */
const HOSTS: readonly (readonly [
  why: string,
  shell: string,
  says: RegExp,
])[] = [
  [
    "whose user namespaces are used up",
    // The limit is the new namespace's own: the host's stays as it is.
    `exec unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"' sh "$@"`,
    /max_user_namespaces is 0/,
  ],
];

for (const [why, shell, says] of HOSTS) {
  test(`a host ${why} gets one line and no command`, async () => {
    const limit = readFileSync("/proc/sys/user/max_user_namespaces", "utf8");
    const { run, work } = setup({ ...PLAIN, launcher: "bundled" });
    const { end, stdout, stderr } = await run(
      ["-P", ":workspace", "--", "sh", "-c", "echo ran; touch made"],
      { shell },
    );
    expect(readFileSync("/proc/sys/user/max_user_namespaces", "utf8"))
      .toBe(limit);
    expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
    expect(stderr).toMatch(/^codex: [^\n]+\n$/);
    expect(stderr).toMatch(says);
    expect(readdirSync(work)).toEqual([]);
  });
}
