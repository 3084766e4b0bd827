/**
 * `codex doctor` on this host: its verdict is that of a real run.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
} from "./harness.ts";

afterAll(leaveClean);

interface Json {
  readonly schema: number;
  readonly enforced: boolean;
  readonly host: { readonly nested: boolean };
  readonly bwraps: readonly {
    readonly kind: string;
    readonly path: string;
    readonly refused: string | null;
  }[];
  readonly profile: {
    readonly name: string | null;
    readonly refused: string | null;
    readonly run: { readonly status: number } | null;
  };
}

matrix(
  "doctor says that the default profile can be enforced where a run works, and leaves the directory as it was",
  BOTH_ACTORS,
  async (subject) => {
    const text = await subject.codexRun(["doctor"]);
    expect(text.stderr).toBe("");
    expect(text.stdout).toEndWith(
      "The default profile can be enforced here.\n",
    );
    expect(text.end).toBe(0);
    const { stdout, end } = await subject.codexRun(["doctor", "--json"]);
    const json = JSON.parse(stdout) as Json;
    expect([json.schema, json.enforced, end]).toEqual([1, true, 0]);
    expect(json.profile.name).toBe(":read-only");
    expect(json.profile.run?.status).toBe(0);
    expect(readdirSync(subject.work)).toEqual([]);
  },
);

matrix(
  "doctor inside a sandbox finds the second rung, and ends with 1 where the profile needs the first",
  BOTH_ACTORS,
  async (subject) => {
    const nested = await subject.run(["--", subject.codex, "doctor"]);
    expect(nested.end).toBe(0);
    expect(nested.stdout).toContain("note  nested ");
    expect(nested.stdout).toMatch(
      / :read-only +Landlock \d+ and seccomp alone; /,
    );
    const doctor = ["doctor", "-c", 'default_permissions=":workspace"'];
    const { stdout, end } = await subject.run([
      ...["--", subject.codex, ...doctor],
    ]);
    expect(end).toBe(1);
    expect(stdout).toContain("fail  nested ");
    expect(stdout).toContain("Landlock alone can't keep");
    expect(stdout).toEndWith(
      "The default profile can't be enforced here.\n",
    );
  },
);

matrix(
  "doctor ends with 1 where the config names no profile, and with its file and line",
  BOTH_ACTORS,
  async (subject) => {
    writeFileSync(
      `${subject.home}/config.toml`,
      'default_permissions = "nothing"\n',
    );
    const { stdout, end } = await subject.codexRun(["doctor", "--json"]);
    const json = JSON.parse(stdout) as Json;
    expect([end, json.enforced, json.profile.run]).toEqual([1, false, null]);
    expect(json.profile.refused).toContain("nothing");
    expect(json.profile.refused).toContain(`${subject.home}/config.toml:1`);
  },
);

matrix(
  "doctor never runs a bwrap that is not trusted, and says why not",
  BOTH_ACTORS,
  async (subject) => {
    const bin = `${subject.dir}/bin`;
    mkdirSync(bin);
    writeFileSync(`${bin}/bwrap`, `#!/bin/sh\ntouch ${subject.work}/ran\n`);
    chmodSync(`${bin}/bwrap`, 0o755);
    const { stdout } = await subject.codexRun(["doctor", "--json"], {
      env: { PATH: `${bin}:/usr/bin:/bin` },
    });
    const found = (JSON.parse(stdout) as Json).bwraps[0];
    expect(found?.path).toBe(`${bin}/bwrap`);
    expect(found?.refused).toStartWith("not trusted: /var/tmp can be written");
    expect(readdirSync(subject.work)).toEqual([]);
  },
);

/** The filter of Docker's default profile, as far as it concerns us: x86-64 only. Offsets are those of struct seccomp_data. */
function containerFilter(): Uint8Array {
  const LOAD = 0x20, IS = 0x15, HAS = 0x45, RETURN = 6;
  const words: readonly (readonly [number, number, number, number])[] = [
    [LOAD, 0, 0, 0],
    [IS, 6, 0, 272], // unshare
    [IS, 5, 0, 165], // mount
    [IS, 5, 0, 435], // clone3
    [IS, 0, 2, 56], // clone: its flags
    [LOAD, 0, 0, 16],
    [HAS, 1, 0, 0x1000_0000], // CLONE_NEWUSER
    [RETURN, 0, 0, 0x7fff_0000], // allow
    [RETURN, 0, 0, 0x5_0001], // EPERM
    [RETURN, 0, 0, 0x5_0026], // ENOSYS
  ];
  const bytes = new DataView(new ArrayBuffer(words.length * 8));
  words.forEach(([code, yes, no, value], index) => {
    bytes.setUint16(index * 8, code, true);
    bytes.setUint8(index * 8 + 2, yes);
    bytes.setUint8(index * 8 + 3, no);
    bytes.setUint32(index * 8 + 4, value, true);
  });
  return new Uint8Array(bytes.buffer);
}

if (!LAUNCHERS.includes("system") || process.arch !== "x64") {
  notProved("a container's filter", "needs /usr/bin/bwrap on x86-64");
} else {
  matrix(
    "under a container's filter doctor names it, and its status agrees with a real run",
    BOTH_ACTORS,
    async (subject) => {
      writeFileSync(`${subject.dir}/filter`, containerFilter());
      const inside = ["/usr/bin/bwrap", "--dev-bind", "/", "/"];
      const shell = { shell: 'exec 9<../filter; exec "$@"' };
      const words = [...inside, "--seccomp", "9", "--", subject.codex];
      const run = await subject.outside(
        [...words, "sandbox", "--", "true"],
        shell,
      );
      const doctor = await subject.outside([...words, "doctor"], shell);
      expect(doctor.end).toBe(run.end === 0 ? 0 : 1);
      expect(doctor.stdout).toContain("we run under a filter already");
      expect(doctor.stdout).toMatch(
        /^ {2}(fail|warn) {2}refused +user and mount namespaces: (No permissions to|Creating) /m,
      );
      expect(doctor.stdout).toContain(
        "docker run --security-opt seccomp=unconfined",
      );
      expect(doctor.stdout).not.toContain("sysctl");
    },
  );
}
