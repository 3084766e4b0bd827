/**
 * Plans of the Landlock rung as text: a changed plan shows as a diff of `tests/golden/plans`. Old kernels are emulated by their version.
 *
 * `UPDATE_GOLDEN=1` writes the files anew.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import type { ByteString } from "../../src/bytes.ts";
import type { SocketFact } from "../../src/policy/facts.ts";
import { explainJson, explainText } from "../../src/linux/explain.ts";
import { chooseRung } from "../../src/linux/ladder.ts";
import { LANDLOCK_VERSIONS } from "../../src/linux/landlock_abi.ts";
import { planLandlock } from "../../src/linux/landlock_plan.ts";
import type { LandlockPlan } from "../../src/linux/plan.ts";
import { layoutOf } from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access, Policy, PromiseName } from "../../src/policy/policy.ts";
import { factsOf, policyOf, type Tree } from "../policy/world.ts";

const GOLDEN = `${import.meta.dirname}/../golden/plans`;

const HOST: Tree = {
  "/bin/sh": "exe",
  "/etc/passwd": "file",
  "/srv/pub/a": "file",
  "/srv/log": "file",
  "/sys": "dir",
  "/tmp": "sticky",
  "/usr/bin/true": "exe",
  "/w/.git/HEAD": "file",
  "/w/src": "dir",
};

interface Case {
  readonly name: string;
  readonly why: string;
  readonly entries: readonly (readonly [string, Access])[];
  readonly minimal?: boolean;
  readonly network?: Policy["network"];
  readonly enforcement?: Policy["enforcement"];
  readonly sockets?: readonly SocketFact[];
  readonly landlock?: number;
  readonly givenUp?: readonly PromiseName[];
}

const READ = [":root", "read"] as const;

const CASES: readonly Case[] = [
  { name: "read_only", why: "one rule for all files", entries: [READ] },
  {
    name: "read_only_linux_6_2",
    why: "Landlock 3 knows no ports, no scopes, no commands to devices",
    entries: [READ],
    landlock: 3,
  },
  {
    name: "read_only_linux_7_2",
    why: "Landlock 10 knows UDP and sockets in the file system",
    entries: [READ],
    landlock: 10,
  },
  {
    name: "minimal",
    why: "a rule for each directory, and for the host's /proc",
    entries: [["/srv/pub", "read"]],
    minimal: true,
  },
  {
    name: "writable_file",
    why: "a file's rule, and modes stay denied",
    entries: [READ, ["/srv/log", "write"]],
  },
  {
    name: "network_of_the_host",
    why: "ports are not restricted, scopes are",
    entries: [READ],
    network: "host",
  },
  {
    name: "network_of_the_host_with_a_daemon",
    why: "no mount hides its socket: no AF_UNIX socket can be made",
    entries: [READ],
    network: "host",
    sockets: [
      { path: abs("/srv/log"), node: "socket", daemon: "an ssh agent" },
    ],
  },
  {
    name: "external",
    why: "no file is confined, the network is",
    entries: [],
    enforcement: "external",
  },
  {
    name: "workspace_given_up",
    why: "what can't be taken out stays writable, by hand only",
    entries: [READ, ["/w", "write"], ["/w/src", "read"]],
    givenUp: ["carve-outs", "write-deny"],
  },
  {
    name: "workspace_given_up_linux_5_13",
    why: "Landlock 1: nothing moves between directories",
    entries: [READ, ["/w", "write"]],
    givenUp: ["carve-outs", "write-deny"],
    landlock: 1,
  },
];

for (const one of CASES) {
  test(`the Landlock plan of ${one.name} is the golden one: ${one.why}`, () => {
    const file = `${GOLDEN}/landlock_${one.name}.txt`;
    const text = explainText(planOf(one));
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, text);
    expect(existsSync(file)).toBe(true);
    expect(text).toBe(readFileSync(file, "utf8"));
  });
}

for (const one of CASES) {
  test(`no rule of ${one.name} allows what the domain doesn't decide about, on any kernel that keeps it`, () => {
    for (const { abi } of LANDLOCK_VERSIONS) {
      if (abi < 3 && one.givenUp === undefined) continue;
      const plan = planOf({ ...one, landlock: abi });
      for (const { path, rights } of plan.rules) {
        const beyond = rights.filter((it) => !plan.handled.files.includes(it));
        expect([abi, path, beyond]).toEqual([abi, path, []]);
        expect(rights.length).toBeGreaterThan(0);
      }
    }
  });
}

test("without namespaces the filter denies them, and every socket where there is no network", () => {
  for (const one of CASES) {
    const { filter } = planOf(one);
    expect(filter.namespaces).toBe("denied");
    expect(filter.network).toBe(
      one.sockets !== undefined
        ? "host_without_unix"
        : one.network === "host"
        ? "host"
        : "shared_restricted",
    );
  }
});

test("what is seen at a granted place is kept, so that another thing there is a failure", () => {
  const plan = planOf({ name: "", why: "", entries: [["/srv/pub", "read"]] });
  const rule = plan.rules.find(({ path }) => path === "/srv/pub" as string);
  expect(rule?.seen).toEqual({
    device: expect.any(Number),
    inode: expect.any(Number),
  });
});

test("the JSON has the rung's promises and what was given up", () => {
  const one = CASES.find(({ name }) => name === "workspace_given_up")!;
  const plan = JSON.parse(explainJson(planOf(one)));
  expect([plan.kind, plan.landlock, plan.givenUp]).toEqual([
    "landlock_only",
    7,
    ["carve-outs", "write-deny"],
  ]);
  expect(
    plan.promises.map(({ name, kept }: { name: string; kept: boolean }) =>
      `${name} ${kept}`
    ),
  ).toEqual([
    "read-deny true",
    "write-deny false",
    "carve-outs false",
    "network true",
    "pid false",
    "ipc false",
    "proc false",
  ]);
});

test("what is lacking is said in one line, what was given up by hand is not", () => {
  const [line, ...more] = planOf(CASES[0]!).warnings;
  expect(more).toEqual([]);
  expect(line).toMatch(/^confined by Landlock .* pid \(.*ipc \(.*proc \(/);
  const givenUp = ["pid", "ipc", "proc"] as const;
  expect(planOf({ ...CASES[0]!, givenUp }).warnings).toEqual([]);
});

function planOf(one: Case): LandlockPlan {
  const { landlock = 7, givenUp = [] } = one;
  const made = policyOf(one.entries, { minimal: one.minimal ?? false });
  const policy: Policy = {
    ...made,
    network: one.network ?? "none",
    enforcement: one.enforcement ?? "managed",
  };
  const facts = factsOf(HOST, policy, {
    ...(one.sockets === undefined ? {} : { sockets: one.sockets }),
  });
  const layout = layoutOf(policy, facts);
  const rung = chooseRung({
    policy,
    layout,
    ...(one.sockets === undefined ? {} : { sockets: one.sockets }),
    bubblewrap: null,
    landlock,
    mayFallBack: true,
    givenUp,
  });
  if (!rung.ok) throw new Error(rung.error.message);
  if (rung.value.kind !== "landlock") throw new Error("bubblewrap");
  return planLandlock({
    policy,
    layout,
    rung: rung.value,
    landlock,
    givenUp,
    factAt: (path) => {
      const fact = facts.paths.get(path);
      if (fact === undefined) throw new Error(`no fact about ${path}`);
      return fact;
    },
    arch: "x86_64",
    user: undefined,
    sockets: one.sockets ?? [],
    rootPlaces: ["bin", "dev", "etc", "proc", "srv", "usr", "w"].map((
      name,
    ) => ({
      path: abs(`/${name}`),
      node: "directory",
    })),
    chdir: abs("/w"),
    passFds: [],
    environmentChanges: [],
    command: ["true" as ByteString],
    warnings: [],
  });
}
