/**
 * `codex doctor` on this host: its verdict is that of a real run.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { BOTH_ACTORS, leaveClean, matrix } from "./harness.ts";

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
    expect(nested.stdout).toMatch(/ :read-only +landlock_only, Landlock \d+ /);
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
