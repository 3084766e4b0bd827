/**
 * What the command gets from its caller, untouched: streams, signals, limits, umask, directory, descriptors, environment, arguments.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  BOTH_STAGES,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
  TRUE_STAGES,
} from "./harness.ts";

afterAll(leaveClean);

const BIG = 50 * 1024 * 1024;

matrix(
  "50 MB go through stdin and stdout byte for byte",
  BOTH_STAGES,
  async ({ run }) => {
    const sent = new Uint8Array(BIG);
    for (let at = 0; at < BIG; at += 65_536) {
      crypto.getRandomValues(sent.subarray(at, at + 65_536));
    }
    const { end, stdout } = await run(["--", "cat"], { input: sent });
    expect(end).toBe(0);
    expect(Buffer.from(sent).equals(Buffer.from(stdout, "latin1"))).toBe(true);
  },
);

for (
  const [fd, redirection] of [[0, "<&-"], [1, ">&-"], [2, "2>&-"]] as const
) {
  matrix(
    `descriptor ${fd} closed by the caller reaches the command closed`,
    BOTH_STAGES,
    async ({ run, work }) => {
      const script = `[ -e /proc/self/fd/${fd} ] && exit 3; exit 4`;
      const { end } = await run(["--", "sh", "-c", script], {
        shell: `"$@" ${redirection}`,
        cwd: work,
      });
      expect(end).toBe(4);
    },
  );
}

matrix(
  "a caller's terminal is not left non-blocking",
  BOTH_STAGES,
  async ({ outside, codex, variant, work }) => {
    const flags = (name: string): string =>
      `sed -n 's/^flags:[[:space:]]*//p' /proc/self/fdinfo/0 > ${work}/${name}`;
    const { launcher, stage } = variant;
    const line = `${
      flags("before")
    }; ${codex} sandbox --launcher ${launcher} --stage ${stage} -- echo ran; ${
      flags("after")
    }`;
    const { stdout } = await outside(["script", "-qec", line, "/dev/null"]);
    expect(stdout).toBe("ran\r\n");
    const after = readFileSync(`${work}/after`, "latin1");
    expect(after).toMatch(/^0[0-7]+\n$/);
    expect(after).toBe(readFileSync(`${work}/before`, "latin1"));
    expect(Number.parseInt(after, 8) & 0o4000).toBe(0);
  },
);

matrix(
  "SIGPIPE ends a writer whose reader is gone",
  BOTH_STAGES,
  async ({ run, work }) => {
    await run(["--", "sh", "-c", "yes; exit $?"], {
      shell: `{ "$@"; echo $? > ${work}/status; } | head -1`,
    });
    expect(readFileSync(`${work}/status`, "latin1")).toBe("141\n");
  },
);

/** Sets of /proc/self/status, as bits from signal 1 up. */
function signals(text: string, name: string): bigint {
  return BigInt(
    `0x${new RegExp(`^${name} ([0-9a-f]+)$`, "m").exec(text)?.[1]}`,
  );
}

matrix(
  "no signal is ignored or blocked that the caller did not ignore or block",
  BOTH_STAGES,
  async ({ run, probe }) => {
    const { stdout } = await run(["--", probe, "sigs"]);
    expect(signals(stdout, "SigIgn")).toBe(0n);
    expect(signals(stdout, "SigBlk")).toBe(0n);
    expect(signals(stdout, "SigCgt")).toBe(0n);
  },
);

matrix(
  "a run with a supervisor ignores no signal either, not even the C library's own",
  BOTH_STAGES,
  async ({ run, probe }) => {
    const { stdout } = await run(["--timeout", "60s", "--", probe, "sigs"]);
    expect(signals(stdout, "SigIgn")).toBe(0n);
  },
);

matrix(
  "SIGINT and SIGHUP that the caller ignores stay ignored",
  BOTH_STAGES,
  async ({ run, probe }) => {
    const { stdout } = await run(["--", probe, "sigs"], {
      shell: `trap '' INT HUP; "$@"`,
    });
    expect(signals(stdout, "SigIgn")).toBe(0b11n);
  },
);

matrix(
  "of what the caller ignores the runtime's own signals alone are back at their defaults",
  BOTH_STAGES,
  async ({ run, probe }) => {
    // SIGKILL, SIGSTOP and the C library's own 32 and 33 can't be ignored.
    const ignored = Array.from({ length: 64 }, (_, index) => index + 1)
      .filter((signal) => ![9, 19, 32, 33].includes(signal));
    const python = `import os,signal,sys\nfor n in ${
      JSON.stringify(ignored)
    }: signal.signal(n,signal.SIG_IGN)\nos.execv(sys.argv[1],sys.argv[1:])`;
    const { stdout, stderr } = await run(["--", probe, "sigs"], {
      shell: `exec /usr/bin/python3 -c '${python}' "$@"`,
    });
    expect(stderr).toBe("");
    const kept = signals(stdout, "SigIgn");
    const back = ignored.filter((signal) =>
      (kept >> BigInt(signal - 1) & 1n) === 0n
    );
    // ILL TRAP ABRT BUS FPE SEGV PIPE CHLD XFSZ PWR SYS
    expect(back).toEqual([4, 5, 6, 7, 8, 11, 13, 17, 25, 30, 31]);
  },
);

matrix(
  "a caller that ignores or blocks SIGCHLD gets the status, also of a run with a supervisor",
  BOTH_ACTORS,
  async ({ codexRun, home }) => {
    writeFileSync(
      `${home}/config.toml`,
      'default_permissions = ":read-only"\n[permissions.net]\nextends = ":read-only"\nnetwork.managed = true\n',
    );
    const ways = [
      "signal.signal(signal.SIGCHLD,signal.SIG_IGN)",
      "signal.pthread_sigmask(signal.SIG_BLOCK,[signal.SIGCHLD])",
    ];
    const runs = [[], ["--outlive-caller"], ["-P", "net"]];
    for (const way of ways) {
      const python =
        `import os,signal,sys;${way};os.execv(sys.argv[1],sys.argv[1:])`;
      for (const flags of runs) {
        const { end, stderr } = await codexRun([
          "sandbox",
          ...flags,
          "--",
          "sh",
          "-c",
          "exit 7",
        ], {
          shell: `exec /usr/bin/python3 -c '${python}' "$@"`,
        });
        expect({ way, flags, end, stderr })
          .toEqual({ way, flags, end: 7, stderr: "" });
      }
    }
  },
);

matrix(
  "a signal that the caller blocks stays blocked",
  BOTH_STAGES,
  async ({ run, probe }) => {
    const python =
      "import os,signal,sys;signal.pthread_sigmask(signal.SIG_BLOCK,[signal.SIGUSR1]);os.execv(sys.argv[1],sys.argv[1:])";
    const { stdout, stderr } = await run(["--", probe, "sigs"], {
      shell: `exec /usr/bin/python3 -c '${python}' "$@"`,
    });
    expect(stderr).toBe("");
    expect(signals(stdout, "SigBlk")).toBe(1n << 9n);
  },
);

for (const limit of [256, 1_024, 4_096]) {
  matrix(
    `a soft limit of ${limit} open files is kept`,
    BOTH_STAGES,
    async ({ run, probe }) => {
      const { stdout } = await run(["--", probe, "nofile"], {
        shell: `ulimit -Sn ${limit}; "$@"`,
      });
      expect(stdout.split(" ")[0]).toBe(String(limit));
    },
  );
}

matrix(
  "a soft limit of open files that was made for this start alone is kept",
  BOTH_STAGES,
  async ({ run, probe }) => {
    const { stdout } = await run(["--", probe, "nofile"], {
      shell: `ulimit -Sn 300; exec "$@"`,
    });
    expect(stdout.split(" ")[0]).toBe("300");
  },
);

for (const mask of ["000", "022", "077"]) {
  matrix(`umask ${mask} is kept`, BOTH_STAGES, async ({ run, probe }) => {
    const { stdout } = await run(["--", probe, "umask"], {
      shell: `umask ${mask}; "$@"`,
    });
    expect(stdout).toBe(`${mask}\n`);
  });
}

matrix("other limits are kept", BOTH_STAGES, async ({ run }) => {
  const { stdout } = await run([
    "--",
    "sh",
    "-c",
    "ulimit -c; ulimit -f; ulimit -s",
  ], {
    shell: `ulimit -c 0; ulimit -f 12345; ulimit -Ss 4096; "$@"`,
  });
  expect(stdout).toBe("0\n12345\n4096\n");
});

for (
  const [name, escape] of [
    ["with spaces", "a b  c"],
    ["with a newline", "a\\nb"],
    ["that is not UTF-8", "\\377\\376x"],
    ["with every quote", 'a"b\\047c`d'],
  ] as const
) {
  matrix(
    `the working directory ${name} is kept`,
    BOTH_STAGES,
    async ({ run, work }) => {
      const { end, stdout } = await run(
        ["--", "sh", "-c", "pwd -P; echo end"],
        {
          shell:
            `d="$(printf '${work}/${escape}')"; mkdir "$d" && cd "$d" && "$@"`,
        },
      );
      const expected = Bun.spawnSync(["printf", `${work}/${escape}`]).stdout
        .toString("latin1");
      expect({ end, stdout }).toEqual({ end: 0, stdout: `${expected}\nend\n` });
    },
  );
}

matrix(
  "no descriptor but 0 to 2 reaches the command",
  EVERY_VARIANT,
  async ({ run, probe, work }) => {
    writeFileSync(`${work}/secret`, "secret");
    // The first run asks bubblewrap what it can do, and closes everything for that already.
    await run(["--", "true"]);
    const opening = [3, 4, 5, 6, 7, 8, 9].map((fd) => `${fd}<${work}/secret`)
      .join(" ");
    for (const profile of [":read-only", ":workspace"]) {
      const { stdout } = await run(["-P", profile, "--", probe, "fds"], {
        shell: `exec ${opening}; "$@"`,
      });
      expect(stdout.replaceAll(/ .*/g, "")).toBe("0\n1\n2\n");
    }
  },
);

matrix(
  "a descriptor above a thousand does not reach the command either",
  BOTH_ACTORS,
  async ({ run, probe, work }) => {
    writeFileSync(`${work}/secret`, "secret");
    const python =
      `import os,sys,fcntl;f=os.open("${work}/secret",0);os.set_inheritable(fcntl.fcntl(f,fcntl.F_DUPFD,1500),True);os.set_inheritable(fcntl.fcntl(f,fcntl.F_DUPFD,100),True);os.execv(sys.argv[1],sys.argv[1:])`;
    const { stdout } = await run(["--", probe, "fds"], {
      shell: `ulimit -n 2048; exec /usr/bin/python3 -c '${python}' "$@"`,
    });
    const open = stdout.trim().split("\n").map((line) => line.split(" ")[0]);
    expect(open).toEqual(["0", "1", "2"]);
  },
);

matrix(
  "--pass-fd gives the command that descriptor and no other",
  TRUE_STAGES, // a file that its owner could reopen for writing needs the inner stage
  async ({ run, work }) => {
    writeFileSync(`${work}/given`, "given");
    writeFileSync(`${work}/secret`, "secret");
    for (const profile of [":read-only", ":workspace"]) {
      const { stdout } = await run([
        ...["-P", profile, "--pass-fd", "7", "--", "sh", "-c"],
        "cat <&7; [ -e /proc/self/fd/8 ] || echo /no eight",
      ], { shell: `exec 7<${work}/given 8<${work}/secret; "$@"` });
      expect(stdout).toBe("given/no eight\n");
    }
  },
);

matrix(
  "--pass-fd refuses a descriptor that the caller has not opened",
  BOTH_STAGES,
  async ({ run, work }) => {
    const outcomes = [];
    for (const fd of [3, 5, 8, 11, 200]) {
      outcomes.push(
        await run(["--pass-fd", String(fd), "--", "touch", `${work}/ran`], {
          shell: `exec 9</dev/null; "$@"`,
        }),
      );
    }
    expect(outcomes.map(({ end }) => end)).toEqual([125, 125, 125, 125, 125]);
    expect(outcomes[0]?.stderr).toBe(
      "codex: Cannot pass descriptor 3 of --pass-fd: the caller has not opened it; open it first, as in 3<FILE\n",
    );
  },
);

for (
  const [fd, redirection] of [[0, "</"], [1, "1</"], [2, "2</"]] as const
) {
  matrix(
    `a directory as descriptor ${fd} is refused`,
    BOTH_STAGES,
    async ({ run, work }) => {
      const { end } = await run(["--", "sh", "-c", `ls /proc/self/fd/${fd}/`], {
        shell: `"$@" ${redirection}`,
        cwd: work,
      });
      expect(end).toBe(125);
    },
  );
}

matrix(
  "a directory in --pass-fd is refused",
  BOTH_STAGES,
  async ({ run }) => {
    const { end, stdout } = await run(["--pass-fd", "5", "--", "echo", "ran"], {
      shell: `exec 5</; "$@"`,
    });
    expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
  },
);

test("a block device as a standard stream is refused", async () => {
  const device = ["/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0"].find((
    path,
  ) => Bun.spawnSync(["sh", "-c", `[ -b ${path} ] && exec 0<${path}`]).success);
  if (device === undefined) {
    return notProved("a block device as stdin", "none can be opened here");
  }
  const { end, stdout } = await setup().run(["--", "echo", "ran"], {
    shell: `"$@" <${device}`,
  });
  expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
});

const ENTRIES = [
  "PLAIN=value",
  "EMPTY=",
  "TWO=first",
  "TWO=second",
  "NO_EQUALS_SIGN",
  "BYTES=\\xff\\xfe=\\x80",
  "NEWLINE=a\\x0ab",
  "=starts with it",
];

matrix(
  "the environment reaches the command byte for byte",
  EVERY_VARIANT,
  async ({ run, probe, home }) => {
    const list = ENTRIES.map((entry) => `b"${entry}"`).join(",");
    const python = [
      "import ctypes,sys",
      "libc=ctypes.CDLL(None)",
      "words=[w.encode() for w in sys.argv[1:]]",
      "argv=(ctypes.c_char_p*(len(words)+1))(*words)",
      `entries=[${list},b"PATH=/usr/bin:/bin",b"CODEX_HOME=${home}"]`,
      "envp=(ctypes.c_char_p*(len(entries)+1))(*entries)",
      "libc.execve(words[0],argv,envp)",
    ].join("\n");
    const { stdout, stderr } = await run(["--", probe, "environ"], {
      shell: `exec /usr/bin/python3 -c '${python}' "$@"`,
    });
    expect(stderr).toBe("");
    const lines = stdout.trimEnd().split("\n");
    expect(lines.filter((line) => ENTRIES.includes(line))).toEqual(ENTRIES);
    const names = lines.map((line) => line.split("=")[0]);
    // What the sandbox adds, and nothing else.
    expect(
      names.filter((name) =>
        !ENTRIES.some((entry) => entry.split("=")[0] === name)
      ).sort(),
    ).toEqual([
      "CODEX_HOME",
      "CODEX_SANDBOX",
      "CODEX_SANDBOX_NETWORK_DISABLED",
      "PATH",
      "PWD",
    ]);
  },
);

const ARGUMENTS =
  `"$(printf '\\377\\200')" "$(printf 'a\\nb')" '' -- -x --help '
' 'a b' '$HOME' '*'`;

matrix(
  "arguments reach the command byte for byte",
  EVERY_VARIANT,
  async ({ run, probe }) => {
    const { stdout } = await run(["--", probe, "args"], {
      shell: `"$@" ${ARGUMENTS}`,
    });
    expect(stdout).toBe(
      "\\xff\\x80\na\\x0ab\n\n--\n-x\n--help\n\\x0a\na b\n$HOME\n*\n",
    );
  },
);

matrix(
  "20,000 arguments reach the command",
  BOTH_ACTORS,
  async ({ run, work }) => {
    mkdirSync(`${work}/x`);
    const { stdout } = await run(
      ["--", "sh", "-c", "echo $# $1 $20000", "sh"],
      {
        shell: `"$@" $(seq 1 20000)`,
      },
    );
    // $20000 is $2 followed by 0000 in sh.
    expect(stdout).toBe("20000 1 20000\n");
  },
);

matrix(
  "an argument of 100 kB reaches the command",
  BOTH_STAGES,
  async ({ run }) => {
    const { stdout } = await run([
      "--",
      "sh",
      "-c",
      "echo ${#1}",
      "sh",
      "x".repeat(100_000),
    ]);
    expect(stdout).toBe("100000\n");
  },
);

test("everything after the first positional word is the command's, -- included", async () => {
  const { run, probe } = setup(PLAIN);
  const { stdout } = await run([probe, "args", "-P", ":nope", "--", "--help"]);
  expect(stdout).toBe("-P\n:nope\n--\n--help\n");
});

/** What the profile `narrow` shows, beside what programs need. */
const NARROW: readonly (readonly [
  grant: "HOME" | null,
  place: "HOME" | "/",
  why: string,
])[] = [
  ["HOME", "HOME", "the home"],
  [null, "/", "the root, where the home is hidden too"],
];
for (const [grant, place, why] of NARROW) {
  matrix(
    `a command whose directory is not shown starts in ${why}, and a line says so`,
    EVERY_VARIANT,
    async (subject) => {
      const { home, work } = subject;
      const user = `${subject.dir}/user`;
      mkdirSync(user);
      writeFileSync(
        `${home}/config.toml`,
        [
          "[permissions.narrow.filesystem]",
          '":minimal" = "read"',
          ...(grant === null ? [] : [`"${user}" = "read"`]),
        ].join("\n"),
      );
      const { end, stdout, stderr } = await subject.run(
        ["-P", "narrow", "--", "pwd"],
        { env: { HOME: user } },
      );
      const expected = place === "HOME" ? user : place;
      expect({ end, stdout, stderr }).toEqual({
        end: 0,
        stdout: `${expected}\n`,
        stderr:
          `codex: warning: profile narrow does not show ${work}: the command starts in ${expected}\n`,
      });
    },
  );
}

matrix(
  "a directory that every sandbox has as its own is where the command starts",
  BOTH_STAGES,
  async ({ run }) => {
    for (const cwd of ["/dev/shm", "/proc", "/dev"]) {
      const { stdout, stderr } = await run(["--", "pwd"], { cwd });
      expect({ stdout, stderr }).toEqual({ stdout: `${cwd}\n`, stderr: "" });
    }
  },
);
