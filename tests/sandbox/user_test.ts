/**
 * `--user`, and what uid 0 is told about files that it can't use without capabilities. Needs root; a user proves the refusal.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  writeFileSync,
} from "node:fs";
import {
  ACTORS,
  EVERY_VARIANT,
  isThere,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
  until,
  untilNobodyIsLeft,
} from "./harness.ts";

afterAll(leaveClean);

const USER = 12_345;
const GROUP = 54_321;
const AS_ROOT = EVERY_VARIANT.filter(({ actor }) => actor === "root");

if (!ACTORS.includes("root")) {
  notProved("--user", "only root can become another user");
}

matrix(
  "--user runs the command as that user, its group and no other, without a capability",
  AS_ROOT,
  async (subject) => {
    chownSync(subject.work, USER, GROUP);
    for (const profile of [":read-only", ":workspace"]) {
      const line =
        "id -u; id -g; id -G; grep -c '^Cap.*:[[:space:]]0*$' /proc/self/status";
      const outcome = await subject.run([
        ...["--user", `${USER}:${GROUP}`, "-P", profile, "--", "sh", "-c"],
        line,
      ]);
      expect(outcome).toEqual({
        end: 0,
        stdout: `${USER}\n${GROUP}\n${GROUP}\n5\n`,
        stderr: "",
      });
    }
  },
);

matrix(
  "with --user a workspace of that user can be written, and the files are his",
  AS_ROOT,
  async (subject) => {
    chownSync(subject.work, USER, GROUP);
    const outcome = await subject.run([
      ...["--user", `${USER}:${GROUP}`, "-P", ":workspace", "--"],
      ...["sh", "-c", "echo hi > made; mkdir .git || exit 3"],
    ]);
    expect(outcome.end).toBe(3);
    const made = lstatSync(`${subject.work}/made`);
    expect([made.uid, made.gid]).toEqual([USER, GROUP]);
    expect(readdirSync(subject.work)).toEqual(["made"]);
  },
);

matrix(
  "with --user root's own files can't be read",
  AS_ROOT,
  async (subject) => {
    writeFileSync(`${subject.dir}/secret`, "s", { mode: 0o600 });
    const outcome = await subject.run([
      ...["--user", String(USER), "--", "cat", "../secret"],
    ]);
    expect(outcome.end).toBe(1);
    expect(outcome.stderr).toContain("Permission denied");
  },
);

matrix(
  "with --user what root's other groups may read can't be read",
  AS_ROOT,
  async (subject) => {
    const secret = `${subject.dir}/secret`;
    writeFileSync(secret, "s");
    chmodSync(secret, 0o640);
    chownSync(secret, 0, GROUP + 1);
    const outcome = await subject.run(
      ["--user", String(USER), "--", "cat", "../secret"],
      { shell: `exec setpriv --groups ${GROUP + 1} -- "$@"` },
    );
    expect(outcome.end).toBe(1);
    expect(outcome.stderr).toContain("Permission denied");
  },
);

matrix(
  "with --user root's state folder can be neither moved nor opened, also in that user's own workspace",
  AS_ROOT,
  async (subject) => {
    chownSync(subject.work, USER, GROUP);
    const home = `${subject.work}/state`;
    mkdirSync(home);
    for (const mode of [0o700, 0o755]) {
      chmodSync(home, mode);
      const outcome = await subject.run(
        [
          ...["--user", String(USER), "-P", ":workspace", "--", "sh", "-c"],
          "mv state other; ls state/sandbox; touch state/x; touch made",
        ],
        { env: { CODEX_HOME: home } },
      );
      expect(outcome.stdout).toBe("");
      expect(outcome.end).toBe(0);
      expect(readdirSync(subject.work).sort()).toEqual(["made", "state"]);
      expect(readdirSync(home)).toEqual(["sandbox"]);
    }
  },
);

matrix(
  "SIGKILL to us ends a run of another user and leaves no placeholder",
  AS_ROOT,
  async (subject) => {
    chownSync(subject.work, USER, GROUP);
    const run = subject.start([
      ...["--user", String(USER), "-P", ":workspace", "--"],
      ...["sh", "-c", "touch up; sleep 86398"],
    ]);
    await until(() => isThere(`${subject.work}/up`), "the command runs");
    expect(isThere(`${subject.work}/.git`)).toBe(true);
    process.kill(run.pid, "SIGKILL");
    expect((await run.outcome).end).toBe("SIGKILL");
    await untilNobodyIsLeft();
    expect(readdirSync(subject.work)).toEqual(["up"]);
  },
);

matrix(
  "root is told when a workspace belongs to somebody else",
  AS_ROOT,
  async (subject) => {
    chownSync(subject.work, USER, GROUP);
    const outcome = await subject.run(["-P", ":workspace", "--", "true"]);
    expect(outcome).toEqual({
      end: 125,
      stdout: "",
      stderr:
        `codex: Cannot write ${subject.work} as root, which has no capability in the sandbox: workspace belongs to uid ${USER}: run as that user, or --user ${USER}\n`,
    });
    expect((await subject.run(["--", "true"])).end).toBe(0);
  },
);

const USABLE = [ // uid, gid, mode, why
  [0, 0, 0o555, "root can open up what it owns"],
  [USER, USER, 0o777, "everybody may write it"],
  [USER, USER, 0o1777, "as in /tmp"],
  [USER, 0, 0o775, "root's group may write it"],
] as const;
for (const [uid, gid, mode, why] of USABLE) {
  matrix(
    `a workspace of uid ${uid}, gid ${gid}, mode ${
      mode.toString(8)
    } is no reason to refuse root: ${why}`,
    AS_ROOT.slice(0, 1),
    async (subject) => {
      chownSync(subject.work, uid, gid);
      chmodSync(subject.work, mode);
      const outcome = await subject.run(["-P", ":workspace", "--", "true"]);
      expect(outcome).toEqual({ end: 0, stdout: "", stderr: "" });
    },
  );
}

matrix(
  "--user works under full access too",
  AS_ROOT.slice(0, 1),
  async (subject) => {
    const outcome = await subject.run([
      ...["--user", `${USER}:${GROUP}`, "-P", ":danger-full-access", "--"],
      ...["sh", "-c", "id -u; id -G"],
    ]);
    expect(outcome.stdout).toBe(`${USER}\n${GROUP}\n`);
  },
);

matrix(
  "--user is refused where that user can't be in the directory, or can't start us inside",
  AS_ROOT.slice(0, 1),
  async (subject) => {
    const closed = `${subject.dir}/closed`;
    mkdirSync(closed, { mode: 0o700 });
    copyFileSync(subject.codex, `${closed}/codex`);
    const user = ["sandbox", "--user", String(USER)];
    const there = await subject.codexRun([...user, "--", "true"], {
      cwd: closed,
    });
    expect(there.end).toBe(125);
    expect(there.stderr).toContain(`Cannot run in ${closed} as uid ${USER}`);
    const inside = [...user, "--stage", "inner", "--", "true"];
    const inner = await subject.outside([`${closed}/codex`, ...inside]);
    expect(inner.end).toBe(125);
    expect(inner.stderr).toContain(`can't read and execute ${closed}/codex`);
  },
);

matrix(
  "--user is refused where root itself may not become another",
  AS_ROOT,
  async (subject) => {
    for (const lost of ["setuid", "setgid"]) {
      for (const profile of [":read-only", ":danger-full-access"]) {
        const outcome = await subject.run(
          ["--user", String(USER), "-P", profile, "--", "id"],
          { shell: `setpriv --bounding-set=-${lost} -- "$@"` },
        );
        expect(outcome.end).toBe(125);
        expect(outcome.stdout).toBe("");
        expect(outcome.stderr).toContain(
          `Cannot become uid ${USER}, gid ${USER}`,
        );
      }
    }
  },
);

test("--explain names the user", async () => {
  const subject = setup({ ...PLAIN });
  const words = ["--user", `${subject.uid}`, "--explain", "--", "true"];
  const self = await subject.run(words);
  expect(self.end).toBe(0);
  expect(self.stdout).not.toContain("\nuser ");
  if (subject.uid !== 0) return notProved("--explain --user", "needs root");
  const other = await subject.run([
    ...["--user", `${USER}:${GROUP}`, "--explain", "--", "true"],
  ]);
  expect(other.stdout).toContain(
    `\nuser         uid ${USER}, gid ${GROUP}, no other groups\n`,
  );
});

test("an ordinary user can't become another", async () => {
  const subject = setup({ ...PLAIN, actor: "user" });
  const outcome = await subject.run(["--user", "0", "--", "true"]);
  expect(outcome.end).toBe(125);
  expect(outcome.stderr).toContain(
    "Cannot use --user 0: only root can become another user",
  );
});
