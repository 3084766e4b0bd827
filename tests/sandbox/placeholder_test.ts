/**
 * What of a placeholder's place is never removed: what was there before, what somebody filled, what took its place.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { recordName } from "../../src/linux/placeholder_records.ts";
import type { AbsPath } from "../../src/policy/path.ts";
import {
  BOTH_STAGES,
  isThere,
  killWithWatcher,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
  type Subject,
  until,
} from "./harness.ts";

afterAll(leaveClean);

const WAIT = "touch up; while [ ! -e go ]; do sleep 0.02; done";

/** A run of `:workspace` that is up; `end` lets it go and waits for its end. */
async function during(
  { start, work, outside }: Subject,
  flags: readonly string[],
): Promise<() => Promise<void>> {
  const going = start([...flags, "--", "sh", "-c", WAIT]);
  await until(() => isThere(`${work}/up`), "up");
  return async () => {
    await outside(["touch", "go"]);
    expect((await going.outcome).end).toBe(0);
  };
}

const WORKSPACE = ["-P", ":workspace"];

matrix(
  "an empty folder that was there before the run is there afterwards",
  BOTH_STAGES,
  async ({ run, outside, work }) => {
    await outside(["mkdir", ".agents"]);
    for (let round = 0; round < 2; round++) {
      expect((await run([...WORKSPACE, "--", "true"])).end).toBe(0);
    }
    expect(readdirSync(work)).toEqual([".agents"]);
  },
);

matrix(
  "what the host writes into a placeholder file stays",
  BOTH_STAGES,
  async (subject) => {
    const { home, work, outside } = subject;
    writeFileSync(
      `${home}/config.toml`,
      `default_permissions = "p"\n[permissions.p]\nextends = ":workspace"\n[permissions.p.filesystem]\n"${work}/ghost" = "deny"\n`,
    );
    const end = await during(subject, []);
    await outside(["sh", "-c", "echo mine > ghost"]);
    await end();
    expect(readFileSync(`${work}/ghost`, "utf8")).toBe("mine\n");
    expect(readdirSync(work).sort()).toEqual(["ghost", "go", "up"]);
  },
);

matrix(
  "an empty folder that the host put in a placeholder's place stays",
  BOTH_STAGES,
  async (subject) => {
    const { work, outside } = subject;
    const end = await during(subject, WORKSPACE);
    const line = "mkdir new; rmdir .agents; mv -T new .agents";
    expect((await outside(["sh", "-ec", line])).end).toBe(0);
    await end();
    expect(readdirSync(work).sort()).toEqual([".agents", "go", "up"]);
  },
);

matrix(
  "an empty folder that took a dead run's place is not reclaimed",
  BOTH_STAGES,
  async (subject) => {
    const { work, outside, run } = subject;
    const { start } = subject;
    const going = start([...WORKSPACE, "--", "sh", "-c", WAIT]);
    await until(() => isThere(`${work}/up`), "up");
    await killWithWatcher(going);
    const line = "mkdir new && rmdir .agents && mv -T new .agents";
    expect((await outside(["sh", "-c", line])).end).toBe(0);
    for (let round = 0; round < 2; round++) {
      expect((await run([...WORKSPACE, "--", "true"])).end).toBe(0);
    }
    expect(isThere(`${work}/.agents`)).toBe(true);
  },
);

/** As in /tmp: everybody may make names there, nobody may remove another's. */
function openFolder({ dir }: Subject, name: string): string {
  const folder = `${dir}/${name}`;
  mkdirSync(folder);
  chmodSync(folder, 0o1777);
  return folder;
}

matrix(
  "what root's run under a strict umask stands on stays until the last run there is over",
  BOTH_STAGES.filter(({ actor }) => actor === "root"),
  async (subject) => {
    const cwd = openFolder(subject, "open");
    const other = setup({ ...subject.variant, actor: "user" });
    const first = subject.start([...WORKSPACE, "--", "sh", "-c", WAIT], {
      cwd,
      shell: 'umask 077; exec "$@"',
    });
    await until(() => isThere(`${cwd}/up`), "the first is up");
    const line =
      "touch up2; while [ ! -e go2 ]; do sleep 0.02; done; mkdir .git .codex .agents 2>/dev/null && echo made; umask";
    const second = other.start([...WORKSPACE, "--", "sh", "-c", line], { cwd });
    await until(() => isThere(`${cwd}/up2`), "the second is up");
    writeFileSync(`${cwd}/go`, "");
    expect((await first.outcome).end).toBe(0);
    writeFileSync(`${cwd}/go2`, "");
    expect(await second.outcome).toEqual({
      end: 0,
      stdout: "0022\n",
      stderr: "",
    });
  },
);

test("a placeholder of another's that can't be locked is refused: it would go away under the mount", async () => {
  if (process.getuid?.() !== 0) {
    return notProved("a closed placeholder", "needs root");
  }
  const subject = setup({ ...PLAIN, actor: "user" });
  const cwd = openFolder(subject, "open");
  mkdirSync(`${cwd}/.git`, 0o700);
  const mark = "@202006016.123456700";
  Bun.spawnSync(["touch", "-d", mark, `${cwd}/.git`]);
  const { end, stdout, stderr } = await subject.run([
    ...[...WORKSPACE, "--", "echo", "ran"],
  ], { cwd });
  expect({ end, stdout, stderr }).toEqual({
    end: 125,
    stdout: "",
    stderr: `codex: Cannot protect ${cwd}/.git: EACCES: permission denied\n`,
  });
  // An empty folder that is closed and bears no mark is nobody's placeholder.
  Bun.spawnSync(["touch", `${cwd}/.git`]);
  expect((await subject.run([...WORKSPACE, "--", "true"], { cwd })).end)
    .toBe(0);
});

matrix(
  "a record that a killed run never gave its name is removed, a living one's is not",
  BOTH_STAGES,
  async ({ run, home, outside }) => {
    expect((await run([...WORKSPACE, "--", "true"])).end).toBe(0);
    const records = `${home}/sandbox/placeholders`;
    const dead = ".0123456789abcdef.4194302"; // beyond the largest number of a process
    const living = `.0123456789abcdef.${process.pid}`;
    for (const name of [dead, living]) {
      await outside([
        "sh",
        "-c",
        `echo '{"path":"/x","node":"file"}' >${records}/${name}`,
      ]);
    }
    expect((await run([...WORKSPACE, "--", "true"])).end).toBe(0);
    const left = readdirSync(records).filter((name) => name.startsWith("."));
    expect(left).toEqual([living]);
  },
);

matrix(
  "a run that has too few descriptors leaves neither placeholder nor record",
  BOTH_STAGES,
  async ({ run, work, home }) => {
    // Not /tmp: what other runs hold there keeps its record, as it should.
    writeFileSync(
      `${home}/config.toml`,
      'default_permissions = "p"\n[permissions.p.filesystem]\n":root" = "read"\n":workspace_roots" = "write"\n',
    );
    expect((await run(["--", "true"])).end).toBe(0);
    // Also where a record is there already, of a run that is dead and whose placeholder somebody has removed.
    const path = `${work}/.git` as AbsPath;
    const old = recordName(path);
    const text = JSON.stringify({ path, node: "directory", inode: 1 });
    for (const recorded of [[], [old]]) {
      for (let limit = 8; limit < 40; limit++) {
        for (const name of recorded) {
          writeFileSync(`${home}/sandbox/placeholders/${name}`, text);
        }
        const { end } = await run(["--", "true"], {
          shell: `ulimit -n ${limit}; exec "$@"`,
        });
        const left = [
          ...readdirSync(work),
          ...readdirSync(`${home}/sandbox/placeholders`),
        ].filter((name) => name !== old || recorded.length === 0);
        expect({ limit, recorded, end, left }).toEqual({
          limit,
          recorded,
          end: end === 0 ? 0 : 125,
          left: [],
        });
      }
    }
  },
);

matrix(
  "a state folder that others can write is refused where records are needed",
  BOTH_STAGES,
  async ({ run, work, home }) => {
    expect((await run([...WORKSPACE, "--", "true"])).end).toBe(0);
    chmodSync(`${home}/sandbox`, 0o777);
    const { end, stdout, stderr } = await run([
      ...[...WORKSPACE, "--", "echo", "ran"],
    ]);
    expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
    expect(stderr).toMatch(/^codex: [^\n]*must belong to you[^\n]*\n$/);
    expect(readdirSync(work)).toEqual([]);
  },
);

matrix(
  "the caller's own inner stage refuses to go on with capabilities",
  BOTH_STAGES.filter(({ actor, stage }) =>
    actor === "root" && stage === "inner"
  ),
  async ({ outside, codex, work, dir }) => {
    const profile = JSON.stringify({
      type: "managed",
      file_system: {
        type: "restricted",
        entries: [{
          path: { type: "special", value: { kind: "root" } },
          access: "read",
        }],
      },
      network: "restricted",
    });
    await outside(["ln", "-s", codex, `${work}/codex-linux-sandbox`]);
    const { end, stdout, stderr } = await outside([
      ...[`${work}/codex-linux-sandbox`, "--sandbox-policy-cwd", dir],
      ...["--permission-profile", profile],
      ...["--apply-seccomp-then-exec", "--", "echo", "ran"],
    ]);
    expect({ end, stdout, stderr }).toEqual({
      end: 125,
      stdout: "",
      stderr:
        "codex: Linux sandbox retained effective or permitted capabilities\n",
    });
  },
);
