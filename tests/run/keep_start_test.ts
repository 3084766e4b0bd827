/**
 * What is kept of a start, and of which one nothing: only what rests entirely on the questions that are kept with it.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import { DEFAULT_ENVIRONMENT_POLICY } from "../../src/config/config.ts";
import type { Launch } from "../../src/linux/launcher.ts";
import type { SandboxPlan } from "../../src/linux/plan.ts";
import { abs } from "../../src/policy/path.ts";
import { keepStart, type StartToKeep } from "../../src/run/keep_start.ts";
import type { KeptStart } from "../../src/run/kept_start.ts";
import type { Observation } from "../../src/sys/observed.ts";
import { planOf, READ } from "../linux/plans.ts";

let home = "";

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "codex-keep-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const PLAN = planOf({
  name: "read_only",
  why: "a start by exec",
  entries: [READ, ["/w/secret", "deny"]],
  tree: { "/w/secret": "file" },
});

/** Nothing has changed there for long. */
const OLD = "1 2 33188 0 0 1 9 1000000000.5";

const OBSERVATIONS: readonly Observation[] = [
  ["lstat", "/asked", OLD],
  ["stat", "/asked", OLD],
  ["open", "/asked", OLD],
];

/** What is different about one start. */
interface Difference {
  readonly plan?: Partial<SandboxPlan>;
  readonly launch?: Partial<Launch>;
  readonly observations?: readonly Observation[];
}

/** What is kept of such a start, `null` for nothing. */
function keptOf(
  { plan, launch, observations }: Difference = {},
): KeptStart | null {
  const folder = join(home, "sandbox/starts");
  const start: StartToKeep = {
    place: {
      folder: folder as ByteString,
      records: join(home, "sandbox/placeholders") as ByteString,
      name: "1.json",
      key: "key",
    },
    launch: {
      plan: { ...PLAN, ...plan },
      bwrap: { path: "/usr/bin/bwrap", identity: "test" },
      environment: [],
      lateEnvironment: [],
      filter: new Uint8Array(0),
      command: ["true"],
      innerOrders: null,
      softNofile: 1024,
      listenPorts: [],
      place: null,
      reportsFailures: false,
      ...launch,
    },
    observations: observations ?? OBSERVATIONS,
    environment: DEFAULT_ENVIRONMENT_POLICY,
    confinement: { network: "none", sandbox: "bubblewrap" },
    codexHome: abs(home),
    euid: process.geteuid?.() ?? 0,
  };
  keepStart(start);
  const file = join(folder, "1.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "latin1")) : null;
}

test("a start by exec is kept, with the question that two others follow from, and what is bound by what was seen", () => {
  const kept = keptOf();
  expect(kept?.observations).toEqual([["lstat", "/asked", OLD]]);
  expect(kept?.descriptors.map(({ kind }) => kind)).toEqual([
    "filter",
    "nothing",
  ]);
  expect(kept?.words.slice(-1)).toEqual(["--"]);
});

test("what is bound is kept by device and inode", () => {
  const kept = keptOf({
    plan: {
      mounts: [{
        op: {
          kind: "bind_seen",
          access: "read_only",
          path: abs("/w"),
          seen: { device: 5, inode: 6 },
        },
        reason: "test",
      }],
    },
  });
  const [, bind] = kept?.descriptors ?? [];
  expect(bind).toEqual({
    ...{ at: (kept?.words.indexOf("--ro-bind-fd") ?? 0) + 1, kind: "bind" },
    ...{ path: "/w", device: 5, inode: 6 },
  });
});

/** Answers that do not follow from lstat's of the same path. */
const OTHERS: readonly Observation[] = [
  ["lstat", "/link", "1 2 41471 0 0 1 9 1000000000.5"],
  ["stat", "/link", OLD],
  ["open", "/link", "1 2 33188 0 0 1 9 1000000001.5"],
];

test("no question is left out whose answer is another than that to lstat", () => {
  expect(keptOf({ observations: OTHERS })?.observations).toEqual(OTHERS);
});

const NOW = Math.floor(Date.now() / 1000);

/** Of each nothing is kept. */
const NOT_KEPT: readonly (readonly [what: string, difference: Difference])[] = [
  ["has an inner stage", { plan: { stage: { kind: "inner", reason: "" } } }],
  ["has a supervisor", { plan: { supervisor: ["a terminal"] } }],
  ["has something to warn of", { plan: { warnings: ["x"] } }],
  ["leaves abstract names open, and says so", {
    plan: { abstractSockets: { reach: "open", reason: "" } },
  }],
  ["rests on a search that was cut", {
    plan: {
      repositories: {
        found: [],
        shut: [],
        cut: { at: abs("/w"), why: "time" },
      },
    },
  }],
  ["has many mounts", {
    plan: {
      mounts: Array.from({ length: 129 }, () => ({
        op: { kind: "dev" } as const,
        reason: "",
      })),
    },
  }],
  ["binds a file of ours", {
    plan: {
      mounts: [{
        op: {
          kind: "bind_own",
          what: "library",
          source: abs("/x"),
          path: abs("/x"),
        },
        reason: "",
      }],
    },
  }],
  ["passes a descriptor on", { plan: { passFds: [3] } }],
  ["guards a stream", { plan: { guardedFds: [0] } }],
  ["opens a stream anew", {
    plan: { reboundFds: [{ fd: 0, place: abs("/x") }] },
  }],
  ["has orders for an inner stage", { launch: { innerOrders: "{}" } }],
  ["has loader variables", {
    launch: { lateEnvironment: ["LD_X=1" as ByteString] },
  }],
  ["rests on a file that changed a moment ago", {
    observations: [["open", "/asked", `1 2 33188 0 0 1 9 ${NOW}.5`]],
  }],
];

for (const [what, difference] of NOT_KEPT) {
  test(`nothing is kept of a start that ${what}`, () => {
    expect(keptOf(difference)).toBeNull();
  });
}

test("a start that was kept a moment ago is not written again", () => {
  const before = keptOf();
  expect(keptOf({ observations: OTHERS })).toEqual(before);
});

test("nothing is kept in a folder of others", () => {
  mkdirSync(join(home, "sandbox"), { mode: 0o755 });
  expect(keptOf()).toBeNull();
});
