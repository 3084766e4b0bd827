/**
 * What a run is refused with before anything is planned or started: what no back end keeps, what is not the caller's to give, what
 * would leave the command more than it was meant to have.
 *
 * @module
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { spawnSync, type StdioOptions } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteString } from "../../src/bytes.ts";
import type { HelperOptions } from "../../src/cli/helper_options.ts";
import {
  parseSandboxOptions,
  type SandboxOptions,
} from "../../src/cli/sandbox_options.ts";
import type { RunConfig } from "../../src/config/config.ts";
import { describe, type Failure, launchFailure } from "../../src/failure.ts";
import { MISSING, type PathFact } from "../../src/policy/facts.ts";
import type { ProbedFacts } from "../../src/host/probe.ts";
import type { Origin } from "../../src/host/origin.ts";
import { DIGEST_MISMATCH } from "../../src/linux/bundled_bwrap.ts";
import type { Draft } from "../../src/linux/draft.ts";
import { backEndOf, backEndRefusal } from "../../src/run/back_end.ts";
import { isOfTheHost } from "../../src/run/choose_bwrap.ts";
import { helperPolicy, helperRequest } from "../../src/run/helper_request.ts";
import { prepareLandlock } from "../../src/run/landlock.ts";
import { launchOf } from "../../src/run/launch.ts";
import { possiblePlaceholders } from "../../src/run/mount_places.ts";
import { prepareRun } from "../../src/run/prepare.ts";
import type { Prepared, RunRequest } from "../../src/run/request.ts";
import { sandboxRequest } from "../../src/run/sandbox_request.ts";
import { stateRun } from "../../src/run/state_policy.ts";
import { whyNoDirectory } from "../../src/run/working_directory.ts";
import type { MountPoint } from "../../src/policy/decision.ts";
import { abs } from "../../src/policy/path.ts";
import type { Policy } from "../../src/policy/policy.ts";
import type { Result } from "../../src/result.ts";
import type { Refused } from "../linux/refuse.ts";
import { policyOf } from "../policy/world.ts";

const SOURCES = `${import.meta.dirname}/../../src`;
const EUID = process.geteuid?.() ?? 0;

let base = "";
const opened: number[] = [];

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "codex-refusals-")));
});
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
  rmSync(base, { recursive: true });
});

function origin(environment: readonly string[] = []): Origin {
  return {
    environment: environment as ByteString[],
    cwd: abs(base),
    uid: EUID,
    euid: EUID,
    egid: 0,
  } as unknown as Origin;
}

function said<T>(result: Result<T, Failure>): string {
  return result.ok ? "nothing" : describe(result.error);
}

const READS: Policy = policyOf([[":root", "read"]]);

/** A policy, whether the flag of old asks for Landlock, and what no back end keeps of it. */
const BACK_ENDS: readonly (readonly [
  why: string,
  policy: Policy,
  legacy: boolean,
  refused: RegExp | null,
])[] = [
  [
    "the managed network is reached over the loopback",
    {
      ...READS,
      network: "proxied",
      options: { ...READS.options, loopback: false },
    },
    false,
    /loopback = false/,
  ],
  ["it has one", { ...READS, network: "proxied" }, false, null],
  [
    "Landlock alone can't take a part out",
    policyOf([[":root", "read"], ["/secret", "deny"]]),
    true,
    /requires bubblewrap/,
  ],
  [
    "bubblewrap can",
    policyOf([[":root", "read"], ["/secret", "deny"]]),
    false,
    null,
  ],
];

for (const [why, policy, legacy, refused] of BACK_ENDS) {
  test(`a policy ${refused === null ? "has a back end" : "is refused"}: ${why}`, () => {
    const refusal = backEndRefusal(policy, legacy);
    if (refused === null) expect(refusal).toBe(null);
    else expect(refusal).toMatch(refused);
  });
}

test("the flag of old chooses Landlock only for what Landlock keeps whole", () => {
  const narrow = policyOf([[":root", "read"], ["/secret", "deny"]]);
  expect([
    backEndOf("auto", true, READS),
    backEndOf("auto", false, READS),
    backEndOf("auto", true, narrow),
  ]).toEqual(["landlock", "auto", "auto"]);
});

/** What bubblewrap says, and whether it speaks of the host, so that a lower rung may be taken. */
const FAILURES: readonly (readonly [says: string, isOfTheHost: boolean])[] = [
  ["No permissions to create new namespace", true],
  ["pipe2 says EMFILE: too many open files", false],
  ["open says ENFILE: too many open files", false],
  ["posix_spawn says ENOMEM: no memory", false],
  ["posix_spawn says EAGAIN: try again", false],
  ["write says EFBIG: file too large", false],
  [`${DIGEST_MISMATCH}: other bytes`, false],
];

for (const [says, expected] of FAILURES) {
  test(`"${says}" ${expected ? "is" : "is not"} about the host`, () => {
    expect(isOfTheHost(launchFailure(says).error)).toBe(expected);
  });
}

/** Flags that Landlock alone can't honour. */
const LIMITS = [
  [{ timeoutMs: 1, graceMs: null, result: null }, "--timeout"],
  [{ timeoutMs: null, graceMs: 1, result: null }, "--grace"],
  [
    { timeoutMs: null, graceMs: null, result: { kind: "fd", fd: 3 } },
    "--result-json",
  ],
] as const;

for (const [limits, name] of LIMITS) {
  test(`on the Landlock rung ${name} is refused`, () => {
    const request = { policy: READS, limits } as unknown as RunRequest;
    const prepared = prepareLandlock(
      request,
      null as unknown as ProbedFacts,
      null as unknown as Draft,
      null,
    );
    expect(said(prepared)).toContain(`can't honour ${name}`);
  });
}

test("on the Landlock rung a stream that needs a mount is refused", () => {
  const request = {
    policy: READS,
    limits: { timeoutMs: null, graceMs: null, result: null },
  } as unknown as RunRequest;
  const draft = {
    request: { reboundFds: [{ fd: 0, place: "/x" }] },
  } as unknown as Draft;
  expect(said(
    prepareLandlock(request, null as unknown as ProbedFacts, draft, null),
  )).toMatch(/^Cannot pass a file opened for reading as descriptor 0/);
});

/** A helper's options. */
function helper(more: Partial<HelperOptions> = {}): HelperOptions {
  return {
    kind: "helper",
    policyCwd: base,
    commandCwd: null,
    policy: { kind: "profile", json: '{"type":"disabled"}' },
    proxy: { kind: "none" },
    enforcement: "bubblewrap",
    stage: "outer",
    proc: "fresh",
    command: ["true"],
    ...more,
  } as unknown as HelperOptions;
}

/** What a caller asks for, and the network that the command has. */
const HELPERS: readonly (readonly [
  why: string,
  more: Partial<HelperOptions>,
  enforcement: string,
  network: string,
])[] = [
  ["nothing is confined", {}, "disabled", "host"],
  [
    "a caller's proxy confines the network, whatever files may be",
    {
      proxy: { kind: "environment", routeSpecJson: null },
    },
    "external",
    "proxied",
  ],
  [
    "Landlock has no way out to offer",
    {
      proxy: { kind: "environment", routeSpecJson: null },
      enforcement: "legacy_landlock",
    },
    "external",
    "none",
  ],
];

for (const [why, more, enforcement, network] of HELPERS) {
  test(`the helper's network is "${network}": ${why}`, () => {
    const resolved = helperPolicy(helper(more), origin());
    const policy = resolved.ok ? resolved.value.policy : null;
    expect([policy?.enforcement as string, policy?.network as string])
      .toEqual([enforcement, network]);
  });
}

test("the helper refuses a proxy that is none, and what no back end keeps", () => {
  const proxied = helper({
    proxy: { kind: "environment", routeSpecJson: null },
  });
  const legacy = helper({
    enforcement: "legacy_landlock",
    policy: {
      kind: "profile",
      json: JSON.stringify({
        type: "managed",
        file_system: {
          type: "restricted",
          entries: [{ path: { type: "path", path: base }, access: "read" }],
        },
        network: "restricted",
      }),
    },
  });
  const refusals = [proxied, legacy].map((options) =>
    said(helperRequest(options, origin(), () => {}))
  );
  expect(refusals[0]).toMatch(/proxy/);
  expect(refusals[1]).toMatch(/requires bubblewrap/);
});

/** A state, and what it is refused with. */
const STATES: readonly (readonly [
  why: string,
  more: (folder: string) => object,
  refused: RegExp,
])[] = [
  [
    "another helper",
    () => ({ codexLinuxSandboxExe: "/bin/sh" }),
    /is its own helper/,
  ],
  [
    "a directory that is not there",
    (folder) => ({ sandboxCwd: `file://${folder}/gone` }),
    /ENOENT/,
  ],
  [
    "a directory that is a file",
    (folder) => ({ sandboxCwd: `file://${folder}/file` }),
    /ENOTDIR/,
  ],
];

for (const [why, more, refused] of STATES) {
  test(`a state is refused that names ${why}`, () => {
    writeFileSync(join(base, "file"), "");
    const json = JSON.stringify({
      permissionProfile: { type: "disabled" },
      sandboxCwd: `file://${base}`,
      codexLinuxSandboxExe: null,
      useLegacyLandlock: false,
      ...more(base),
    });
    const choice = {
      kind: "state",
      json,
      readableRoots: [],
      network: "profile",
    } as unknown as Extract<SandboxOptions["policy"], { kind: "state" }>;
    const run = { warnings: [] } as unknown as RunConfig;
    expect(said(stateRun(choice, run, origin()))).toMatch(refused);
  });
}

test("nobody starts in what is no directory", () => {
  writeFileSync(join(base, "file"), "");
  expect(
    [base, join(base, "file"), join(base, "gone")].map((path) =>
      whyNoDirectory(abs(path))?.slice(0, 7) ?? null
    ),
  ).toEqual([null, "ENOTDIR", "ENOENT:"]);
});

const ENVIRONMENT = [
  "A=b",
  "LD_PRELOAD=/x.so",
  "MALLOC_CHECK_=3",
  "GLIBC_TUNABLES=x",
  "LD_BARE",
];

function launched(stage: "one_start" | "inner"): ReturnType<typeof launchOf> {
  const request = {
    environment: ENVIRONMENT,
    command: ["true"],
    network: null,
    teller: null,
    passFds: [],
  } as unknown as RunRequest;
  const plan = {
    filter: {
      arch: "x86_64",
      network: "host",
      debug: false,
      namespaces: "denied",
    },
    stage: { kind: stage, reason: "" },
    mounts: [],
    guardedFds: [],
    reboundFds: [],
    traceDomain: null,
  };
  const prepared = { plan, bwrap: {}, innerWords: [] };
  return launchOf(
    request,
    prepared as unknown as Extract<Prepared, { kind: "sandbox" }>,
  );
}

test("bubblewrap gets no variable that acts on a loader, the command gets them all", () => {
  const { environment, lateEnvironment } = launched("one_start");
  expect([...environment] as string[]).toEqual(["A=b"]);
  expect([...lateEnvironment] as string[]).toEqual(ENVIRONMENT.slice(1, 4));
});

test("before an inner stage nobody has a variable of the command's", () => {
  const { environment, lateEnvironment, innerOrders } = launched("inner");
  expect([environment, lateEnvironment]).toEqual([[], []]);
  expect(JSON.parse(innerOrders ?? "").environment).toEqual(ENVIRONMENT);
});

/** What stands at a mount point, how the facts have it, and whether it may be another run's. */
const POINTS: readonly (readonly [
  why: string,
  make: (path: string) => void,
  point: Partial<MountPoint>,
  fact: Partial<PathFact>,
  mayBe: boolean,
])[] = [
  ["an empty folder", mkdirSync, {}, {}, true],
  ["an empty file", (path) => writeFileSync(path, ""), { node: "file" }, {
    kind: "file",
    sizeBytes: 0,
  }, true],
  ["one that has gone meanwhile", () => {}, {}, {}, true],
  [
    "a folder with something in it",
    (path) => {
      mkdirSync(join(path, "full"), { recursive: true });
    },
    {},
    {},
    false,
  ],
  [
    "a file with something in it",
    (path) => writeFileSync(path, "x"),
    {
      node: "file",
    },
    { kind: "file", sizeBytes: 1 },
    false,
  ],
  ["what may be written", mkdirSync, { state: "writable" }, {}, false],
  [
    "what lies where nothing can be made",
    mkdirSync,
    { parent: null },
    {},
    false,
  ],
  [
    "a daemon's own",
    mkdirSync,
    {
      decider: { kind: "socket" } as unknown as MountPoint["decider"],
    },
    {},
    false,
  ],
];

for (const [why, make, point, fact, mayBe] of POINTS) {
  test(`${why} ${mayBe ? "may" : "can't"} be another run's placeholder`, () => {
    const path = abs(join(base, "it"));
    make(path);
    const above = {
      path: abs(base),
      state: "writable",
      node: "directory",
      parent: null,
      decider: { kind: "grant" },
    };
    const one = { ...above, path, state: "read_only", parent: base, ...point };
    const facts = new Map([
      [path, { ...MISSING, kind: "directory", linkCount: 2, ...fact }],
    ]);
    const found = possiblePlaceholders(
      [above, one] as unknown as MountPoint[],
      { paths: facts } as unknown as ProbedFacts,
    );
    expect(found.map((it) => it.path)).toEqual(mayBe ? [path] : []);
  });
}

/** A run of ours, as far as it is asked here. */
function requestOf(more: object): RunRequest {
  return {
    policy: READS,
    command: ["/bin/sh"],
    callerEnvironment: ["PATH=/nowhere"],
    environment: ["PATH=/nowhere"],
    environmentPolicy: null,
    codexHome: null,
    marksSandbox: true,
    ownFiles: [],
    uid: EUID,
    euid: EUID,
    stateOwner: EUID,
    user: null,
    backend: "auto",
    givenUp: [],
    launcher: "auto",
    stage: "auto",
    outlivesCaller: false,
    limits: { timeoutMs: null, graceMs: null, result: null },
    teller: null,
    passFds: [],
    network: null,
    warnings: [],
    proc: "fresh",
    chdir: null,
    explains: false,
    mark: () => {},
    ...more,
  } as unknown as RunRequest;
}

const DISABLED: Policy = { ...READS, enforcement: "disabled" };

/** What no run of that kind can have. */
const UNPREPARED: readonly (readonly [
  what: string,
  more: (base: string) => object,
  refused: RegExp,
])[] = [
  ["a limit without a sandbox", () => ({
    policy: DISABLED,
    limits: { timeoutMs: 1, graceMs: null, result: null },
  }), /^Cannot honour --timeout under profile test/],
  ["a promise without a sandbox", () => ({
    policy: {
      ...DISABLED,
      options: { ...DISABLED.options, require: ["network"] },
    },
  }), /^Cannot keep or give up "network"/],
  ["a promise that is given up without a sandbox", () => ({
    policy: DISABLED,
    givenUp: ["network"],
  }), /^Cannot keep or give up "network"/],
  ["a descriptor that is not open", () => ({
    policy: DISABLED,
    passFds: [77],
  }), /has not opened it/],
  [
    "a launcher that is not there",
    () => ({ launcher: "system" }),
    /^Cannot use a system bubblewrap/,
  ],
  ["a policy that can't be kept", (folder) => {
    symlinkSync("loop", join(folder, "loop"));
    const lines = [[":root", "read"], [join(folder, "loop"), "deny"]] as const;
    return { policy: policyOf(lines, { cwd: folder }) };
  }, /loop/],
];

for (const [what, more, refused] of UNPREPARED) {
  test(`${what} is refused before anything is started`, () => {
    const cwd = { ...READS, cwd: abs(base), workspaceRoots: [abs(base)] };
    const request = requestOf({ policy: cwd, ...more(base) });
    expect(said(prepareRun(request))).toMatch(refused);
  });
}

/** Flags, and what is said of them to an ordinary user. */
const ASKED: readonly (readonly [words: readonly string[], said: RegExp])[] = [
  [["--user", "7", "--", "true"], /only root can become another user/],
  [
    ["-P", ":workspace", "--network-log", "log", "--", "true"],
    /has no managed network/,
  ],
  [["-P", ":workspace", "-C", "", "--", "true"], /the name is empty/],
  [["-P", ":workspace", "-C", "gone", "--", "true"], /ENOENT/],
];

for (const [words, refused] of ASKED) {
  test(`"${words.join(" ")}" is refused`, () => {
    const options = parseSandboxOptions(words as ByteString[]);
    if (!options.ok || options.value.kind !== "sandbox") throw new Error("no");
    const from = {
      ...origin([`CODEX_HOME=${base}`, `HOME=${base}`]),
      euid: 1_000,
      egid: 1_000,
    };
    expect(said(sandboxRequest(options.value, from, null, () => {})))
      .toMatch(refused);
  });
}

/** Runs lines in a process of its own, and gives what it says. */
function alone(lines: string, stdio: StdioOptions = "pipe"): string {
  const source = `
import { refuse } from "${import.meta.dirname}/../linux/refuse.ts";
import { carryOut } from "${SOURCES}/run/carry_out.ts";
import { checkDescriptors } from "${SOURCES}/run/descriptors.ts";
import { describe } from "${SOURCES}/failure.ts";
const base = ${JSON.stringify(base)};
${lines}
process.exit(0);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", source], {
    stdio,
    encoding: "utf8",
    timeout: 60_000,
  });
  return stdout === "" ? stderr : stdout;
}

/** Descriptors that the command must not have. */
const DESCRIPTORS: readonly (readonly [
  what: string,
  fds: string,
  said: RegExp,
])[] = [
  ["that nobody has opened", "[77]", /has not opened it/],
  [
    "of the runtime's",
    `[Number(readdirSync("/proc/self/fd").find((fd) => { try { return /eventpoll/.test(readlinkSync("/proc/self/fd/" + fd)); } catch { return false; } }))]`,
    /has not opened it/,
  ],
  ["that is a folder", `[openSync(base, "r")]`, /it is a directory/],
];

for (const [what, fds, refused] of DESCRIPTORS) {
  test(`a descriptor ${what} is not passed on`, () => {
    expect(alone(`
import { openSync, readdirSync, readlinkSync } from "node:fs";
console.log(describe(checkDescriptors({ passFds: ${fds} }).error));`))
      .toMatch(refused);
  });
}

test("a folder is no standard stream", () => {
  const fd = openSync(base, "r");
  opened.push(fd);
  expect(alone(
    `console.log(describe(checkDescriptors({ passFds: [] }).error));`,
    [fd, "pipe", "pipe"],
  )).toMatch(/^Cannot pass a directory as descriptor 0/);
});

/** A run without a sandbox: what fails of what comes before its command. */
const DIRECT: readonly (readonly [
  what: string,
  request: string,
  refused: readonly Refused[],
  said: RegExp | null,
])[] = [
  ["nothing is wrong", "{}", [], null],
  [
    "inherited descriptors can't be closed",
    "{}",
    [{ call: "close_range" }],
    /^Cannot close inherited/,
  ],
  ["nobody can become another", "{ user: { uid: 54321, gid: 54321 } }", [
    { call: "setgroups" },
    { call: "setresgid" },
    { call: "setresuid" },
  ], /^Cannot become uid 54321/],
  [
    "its directory is gone",
    "{ policy: { cwd: base + '/gone' } }",
    [],
    /^Cannot run in /,
  ],
];

for (const [what, request, refused, message] of DIRECT) {
  test(`a run without a sandbox ${message === null ? "starts its command" : "starts nothing"} where ${what}`, () => {
    const said = alone(`
refuse(${JSON.stringify(refused)});
const request = { passFds: [], user: null, policy: { cwd: base }, command: ["/bin/sh", "-c", "echo ran >ran"], environment: [], ...${request} };
console.log(describe(carryOut(request, { kind: "direct" }, () => {}, () => {})));`);
    if (message !== null) expect(said).toMatch(message);
    expect(existsSync(join(base, "ran"))).toBe(message === null);
  });
}

test("nothing starts where the host's abstract names can't be closed", () => {
  writeFileSync(join(base, "bwrap"), `#!/bin/sh\necho ran >${base}/ran\n`);
  chmodSync(join(base, "bwrap"), 0o755);
  const said = alone(`
refuse([{ call: "landlock_create_ruleset" }]);
const request = {
  passFds: [], user: null, policy: { cwd: base, network: "host" }, command: ["true"], environment: [], mark: () => {}, network: null,
  teller: null, codexHome: null,
};
const plan = {
  abstractSockets: { reach: "closed", reason: "" }, supervisor: [], stage: { kind: "one_start" }, mounts: [], passFds: [],
  network: "host", disableUserns: false, chdir: null,
  filter: { arch: "x86_64", network: "host", debug: false, namespaces: "denied" },
};
const prepared = { kind: "sandbox", plan, bwrap: { path: base + "/bwrap" }, innerWords: [] };
console.log(describe(carryOut(request, prepared, () => {}, () => {})));`);
  expect(said).toMatch(/^Cannot close the host's abstract sockets/);
  expect(existsSync(join(base, "ran"))).toBe(false);
});
