/**
 * The Landlock launcher, in a process of its own: what is swapped before it opens it is refused, and nothing starts where a step fails.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync, type StdioOptions } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import { landlockVersion } from "../../src/sys/calls.ts";
import type { LandlockPlan, LandlockRule } from "../../src/linux/plan.ts";
import { abs } from "../../src/policy/path.ts";
import * as abi from "../../src/sys/abi.ts";
import { CAME_BACK, type Orders } from "./become.ts";
import type { Refused } from "./refuse.ts";

const CHILD = `${import.meta.dirname}/become.ts`;
const STARTED = 7;
const isRoot = process.geteuid?.() === 0;
const version = landlockVersion();
/** Truncation is handled from version 3 on. */
const isAble = version.ok && version.value >= 3;

let folder = "";
const opened: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "codex-alone-"));
  mkdirSync(join(folder, "granted"));
  writeFileSync(join(folder, "granted/file"), "granted");
  writeFileSync(join(folder, "secret"), "secret");
});
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

/** Enough for a shell. */
const SYSTEM: readonly LandlockRule[] = ["/usr", "/etc", "/proc", "/dev"].map(
  (path) => ({
    path: abs(path),
    rights: ["READ_FILE", "READ_DIR", "EXECUTE"],
    seen: null,
    reason: "a shell",
  }),
);

/** A rule for a folder as it is now. */
function ruleFor(path: string): LandlockRule {
  const { dev, ino } = statSync(path);
  return {
    path: abs(path),
    rights: ["READ_FILE", "READ_DIR", "WRITE_FILE"],
    seen: { device: dev, inode: ino },
    reason: "test",
  };
}

/** What is different about one start. */
interface Difference {
  readonly rules?: readonly LandlockRule[];
  readonly plan?: Partial<LandlockPlan>;
  readonly refused?: readonly Refused[];
  readonly stdio?: StdioOptions;
}

interface End {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a shell's line alone with Landlock. */
function run(line: string, { rules, plan, refused, stdio }: Difference): End {
  const whole: LandlockPlan = {
    kind: "landlock_only",
    profile: "test",
    cwd: abs("/"),
    chdir: null,
    reason: "test",
    landlock: 3,
    handled: {
      files: ["READ_FILE", "READ_DIR", "WRITE_FILE", "TRUNCATE", "EXECUTE"],
      net: [],
      scopes: [],
    },
    rules: [...SYSTEM, ...rules ?? []],
    network: "none",
    filter: {
      arch: process.arch === "x64" ? "x86_64" : "arm64",
      network: "shared_restricted",
      debug: false,
      namespaces: "denied",
    },
    promises: [],
    givenUp: [],
    passFds: [],
    environmentChanges: [],
    command: ["/bin/sh", "-c", line] as ByteString[],
    warnings: [],
    ...plan,
  };
  const environment = ["PATH=/usr/bin:/bin"] as ByteString[];
  const orders: Orders = {
    stage: {
      kind: "landlock",
      launch: { plan: whole, environment, softNofile: 1024 },
    },
    refused: refused ?? [],
    capabilities: "kept",
  };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [CHILD, JSON.stringify(orders)],
    {
      stdio: stdio ?? ["ignore", "pipe", "pipe"],
      timeout: 20_000,
      encoding: "latin1",
    },
  );
  return { status, stdout, stderr };
}

function stream(path: string, flags: number): number {
  const fd = openSync(path, flags);
  opened.push(fd);
  return fd;
}

const able = test.skipIf(!isAble);

able("control: what is granted is read, and nothing else", () => {
  const { status, stdout } = run(
    `cat ${folder}/granted/file; cat ${folder}/secret; exit 7`,
    { rules: [ruleFor(join(folder, "granted"))] },
  );
  expect({ status, stdout }).toEqual({ status: STARTED, stdout: "granted" });
});

/** Each is done by the folder's owner after it was looked at. */
const SWAPS: readonly (readonly [what: string, swap: () => void])[] = [
  ["another folder", () => {
    renameSync(join(folder, "granted"), join(folder, "old"));
    mkdirSync(join(folder, "granted"));
  }],
  ["a link to itself", () => {
    renameSync(join(folder, "granted"), join(folder, "old"));
    symlinkSync("old", join(folder, "granted"));
  }],
  ["nothing", () => rmSync(join(folder, "granted"), { recursive: true })],
];

for (const [what, swap] of SWAPS) {
  able(`nothing starts where a granted folder was swapped for ${what}`, () => {
    const rules = [ruleFor(join(folder, "granted"))];
    swap();
    expect(run("exit 7", { rules }).status).toBe(CAME_BACK);
  });
}

able("nothing starts where a granted folder is seen on another device", () => {
  const rule = ruleFor(join(folder, "granted"));
  const inode = rule.seen?.inode ?? 0;
  const rules = [{ ...rule, seen: { device: 1, inode } }];
  expect(run("exit 7", { rules }).status).toBe(CAME_BACK);
});

able("what nobody granted by name may be missing", () => {
  const [rule] = SYSTEM;
  const rules = rule === undefined
    ? []
    : [{ ...rule, path: abs("/nowhere/at/all") }];
  expect(run("exit 7", { rules }).status).toBe(STARTED);
});

able("a directory as a stream grants nothing below it", () => {
  const { status, stdout } = run("cat /proc/self/fd/0/secret; exit 7", {
    stdio: [stream(folder, constants.O_RDONLY), "pipe", "pipe"],
  });
  expect({ status, stdout }).toEqual({ status: STARTED, stdout: "" });
});

able(
  "a stream for writing grants no reading, and one for reading no writing",
  () => {
    writeFileSync(join(folder, "out"), "out");
    const out = stream(join(folder, "out"), constants.O_WRONLY);
    const secret = stream(join(folder, "secret"), constants.O_RDONLY);
    const { status, stderr } = run(
      "head -c 3 </proc/self/fd/1 >&2; (echo x >/proc/self/fd/0); exit 7",
      { stdio: [secret, out, "pipe"] },
    );
    expect(status).toBe(STARTED);
    expect(stderr).not.toContain("out");
    expect(readFileSync(join(folder, "secret"), "latin1")).toBe("secret");
  },
);

test.skipIf(!isAble || !isRoot)(
  "with --user the command is that user, in his groups",
  () => {
    const { status, stdout } = run("id -u; id -g; id -G; exit 7", {
      plan: { user: { uid: 65_534, gid: 65_534 } },
    });
    expect({ status, stdout }).toEqual({
      status: STARTED,
      stdout: "65534\n65534\n65534\n",
    });
  },
);

/** Nothing is started where one of these fails. */
const FAILURES: readonly (readonly [what: string, difference: Difference])[] = [
  ["a domain can't be made", {
    refused: [{ call: "landlock_create_ruleset" }],
  }],
  ["a place can't be allowed", { refused: [{ call: "landlock_add_rule" }] }],
  ["the domain can't be entered", {
    refused: [{ call: "landlock_restrict_self" }],
  }],
  ["inherited descriptors can't be closed", {
    refused: [{ call: "close_range" }],
  }],
  ["the user can't be had", {
    plan: { user: { uid: 65_534, gid: 65_534 } },
    refused: [{ call: "setresuid" }],
  }],
  ["the working directory is gone", {
    plan: { chdir: abs("/nowhere/at/all") },
  }],
  ["no_new_privs can't be set", {
    refused: [{ call: "prctl", when: [0, abi.PR_SET_NO_NEW_PRIVS] }],
  }],
  ["capabilities can't be given up", { refused: [{ call: "capset" }] }],
  ["the filter can't be installed", { refused: [{ call: "seccomp" }] }],
];

for (const [what, difference] of FAILURES) {
  able(`nothing starts without bubblewrap where ${what}`, () => {
    const { status, stderr } = run("exit 7", difference);
    expect([CAME_BACK, 125]).toContain(status ?? 0);
    expect(stderr).toMatch(/Cannot /);
  });
}
