/**
 * Policies in, plans out, as text: a changed plan shows as a diff of `tests/golden/plans`.
 *
 * `UPDATE_GOLDEN=1` writes the files anew.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import type { ByteString } from "../../src/bytes.ts";
import {
  bwrapArguments,
  requiredOptions,
  takesDescriptor,
} from "../../src/linux/bwrap_argv.ts";
import type { DraftRequest } from "../../src/linux/draft.ts";
import type { SandboxPlan } from "../../src/linux/plan.ts";
import {
  completePlan,
  draftPlan,
  followsLinks,
} from "../../src/linux/planner.ts";
import { shownArguments } from "../../src/linux/explain.ts";
import type { SocketFact } from "../../src/policy/facts.ts";
import { abs } from "../../src/policy/path.ts";
import { fail, ok } from "../../src/result.ts";
import {
  ABLE,
  ALL_METADATA,
  type Case,
  planOf,
  READ,
  requestOf,
  WORKSPACE,
} from "./plans.ts";
import type { Tree } from "../policy/world.ts";

const GOLDEN = `${import.meta.dirname}/../golden/plans`;

const SOCKETS_TREE: Tree = {
  "/tmp": "sticky",
  "/run/docker.sock": "socket",
  "/run/user/1000/podman/podman.sock": "socket",
  "/tmp/.X11-unix/X0": "socket",
  "/tmp/ssh-x/agent.1": "socket",
};
const SOCKETS: readonly SocketFact[] = [
  { path: abs("/run/docker.sock"), node: "socket", daemon: "Docker" },
  {
    path: abs("/run/user/1000"),
    node: "private_directory",
    daemon: "whoever runs in this session",
  },
  { path: abs("/tmp/.X11-unix"), node: "directory", daemon: "X11" },
  { path: abs("/tmp/ssh-x/agent.1"), node: "socket", daemon: "an ssh agent" },
];

const CASES: readonly Case[] = [
  { name: "read_only", why: "everything readable", entries: [READ] },
  {
    name: "network_of_the_host",
    why: "no network namespace",
    entries: [READ],
    network: "host",
  },
  {
    name: "workspace_bare",
    why: "missing metadata gets placeholders",
    entries: WORKSPACE,
  },
  {
    name: "workspace_whole",
    why: "metadata that is there is bound read-only",
    entries: WORKSPACE,
    tree: ALL_METADATA,
  },
  {
    name: "minimal",
    why: "an empty root with the platform's directories",
    entries: [],
    minimal: true,
  },
  {
    name: "minimal_with_workspace",
    why: "a writable root in an empty one",
    entries: [["/w", "write"]],
    minimal: true,
    tree: ALL_METADATA,
  },
  {
    name: "minimal_merged_usr",
    why: "links of the root are made again",
    entries: [],
    minimal: true,
    tree: { "/bin": "-> usr/bin", "/usr/bin/sh": "exe", "/bin/sh": "exe" },
  },
  {
    name: "denied_directory_and_file",
    why: "masks in a read-only root",
    entries: [READ, ["/srv/secret", "deny"], ["/srv/key", "deny"]],
    tree: { "/srv/secret/a": "file", "/srv/key": "file" },
  },
  {
    name: "denied_with_reopened_child",
    why: "a mask with something visible below it can be walked through",
    entries: [...WORKSPACE, ["/w/s", "deny"], ["/w/s/t", "write"]],
    tree: { ...ALL_METADATA, "/w/s/t/x": "file" },
  },
  {
    name: "read_below_deny",
    why: "read reopens reading",
    entries: [READ, ["/srv", "deny"], ["/srv/pub", "read"]],
    tree: { "/srv/pub/a": "file" },
  },
  {
    name: "carve_out_in_workspace",
    why: "write, read, write, each deeper",
    entries: [...WORKSPACE, ["/w/b", "read"], ["/w/b/c", "write"]],
    tree: { ...ALL_METADATA, "/w/b/c/x": "file" },
  },
  {
    name: "deep_carve_out_is_pinned",
    why: "directories above a literal carve-out can't be renamed",
    entries: [...WORKSPACE, ["/w/a/b/c", "read"]],
    tree: { ...ALL_METADATA, "/w/a/b/c/x": "file" },
  },
  {
    name: "missing_denied_path",
    why: "the first missing component is occupied",
    entries: [...WORKSPACE, ["/w/no/such/file", "deny"]],
    tree: ALL_METADATA,
  },
  {
    name: "root_writable_with_carve_out",
    why: "/dev and /sys stay ours below a writable root",
    entries: [[":root", "write"], ["/w", "read"]],
    tree: ALL_METADATA,
  },
  {
    name: "gitdir_file",
    why: "the git directory that a .git file names is read-only",
    entries: WORKSPACE,
    tree: {
      ...ALL_METADATA,
      "/w/.git/HEAD": "dir",
      "/w/.git": "file: gitdir: /w/real",
      "/w/real/HEAD": "file",
    },
  },
  { name: "nothing_granted", why: "an empty view", entries: [] },
  {
    name: "debug",
    why: "through the inner stage, in a domain of its own",
    entries: [READ],
    options: { debug: true },
  },
  {
    name: "hidden_sockets",
    why: "with the host's network nobody takes orders from inside",
    entries: [READ],
    network: "host",
    tree: SOCKETS_TREE,
    sockets: SOCKETS,
  },
  {
    name: "opened_sockets",
    why: "what unix_sockets names stays, in a hidden directory too",
    entries: [READ],
    network: "host",
    tree: SOCKETS_TREE,
    sockets: SOCKETS,
    options: {
      unixSockets: [
        "/run/docker.sock",
        "/run/user/1000/podman/podman.sock",
        "/tmp/.X11-unix/X0",
      ].map(abs),
    },
  },
  {
    name: "hidden_sockets_in_a_writable_root",
    why: "masks there are pinned like any other",
    entries: WORKSPACE,
    network: "host",
    tree: { ...ALL_METADATA, ...SOCKETS_TREE },
    sockets: SOCKETS,
  },
  {
    name: "opened_socket_in_an_empty_root",
    why: "what is opened is there",
    entries: [],
    minimal: true,
    network: "host",
    tree: SOCKETS_TREE,
    sockets: SOCKETS,
    options: { unixSockets: [abs("/run/docker.sock")] },
  },
  {
    name: "nested_namespaces",
    why: "nothing closes further user namespaces",
    entries: [READ],
    options: { nestedNamespaces: true },
    root: false,
  },
  {
    name: "own_files_in_the_workspace",
    why: "our own files are read-only and hidden below a write grant",
    entries: WORKSPACE,
    tree: {
      ...ALL_METADATA,
      "/w/home/sandbox/cache": "dir",
      "/w/home/config.toml": "file",
    },
    own: { readOnly: [abs("/w/home")], hidden: [abs("/w/home/sandbox")] },
  },
];

for (const one of CASES) {
  test(`the plan of ${one.name} is the golden one: ${one.why}`, () => {
    const file = `${GOLDEN}/${one.name}.txt`;
    const text = `${lines(planOf(one)).join("\n")}\n`;
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, text);
    expect(existsSync(file)).toBe(true);
    expect(text).toBe(readFileSync(file, "utf8"));
  });
}

describe("every plan", () => {
  for (const one of CASES) {
    const plan = planOf(one);
    const words = shownArguments(plan);

    test(`of ${one.name} drops all capabilities and closes nested user namespaces`, () => {
      expect(words.join(" ")).toContain(
        one.options?.nestedNamespaces === true
          ? "--cap-drop ALL --new-session"
          : "--cap-drop ALL --disable-userns --new-session",
      );
    });

    test(`of ${one.name} covers PID 1 and the kernel's settings after the fresh /proc`, () => {
      const fresh = words.indexOf("--proc");
      expect(fresh).toBeGreaterThan(0);
      for (const place of ["/proc/sys", "/proc/1"]) {
        expect(words.lastIndexOf(place)).toBeGreaterThan(fresh);
      }
    });

    test(`of ${one.name} mounts nothing of the layout over what lies below it`, () => {
      const places = plan.mounts.flatMap(({ op }) =>
        "path" in op && op.kind !== "remount_read_only" ? [op.path] : []
      );
      for (const [index, place] of places.entries()) {
        const above = places.slice(index + 1).filter((later) =>
          place.startsWith(`${later}/`) && later !== "/"
        );
        expect(above).toEqual([]);
      }
    });

    test(`of ${one.name} names every option that it uses as needed`, () => {
      const needed = requiredOptions(plan);
      const used = words.slice(0, words.indexOf("--")).filter((word) =>
        /^--[a-z]/.test(word)
      );
      expect(used.filter((word) => !needed.includes(word))).toEqual([]);
    });
  }
});

const VERSIONS = [ // version, whether its mounts are verified, why
  ["0.8.0", true, "Debian 12's follows a last component that became a link"],
  ["0.11.2", true, "the last one that does"],
  ["0.12.0", false, "the first that doesn't"],
  ["0.13.1", false, "later ones"],
  ["1.0.0", false, "a major version"],
  ["", true, "one that doesn't say counts as old"],
  ["weird", true, "and so does what can't be read"],
] as const;
for (const [version, verified, why] of VERSIONS) {
  test(`mounts below a writable root are ${verified ? "" : "not "}verified with bubblewrap "${version}": ${why}`, () => {
    expect(followsLinks(version)).toBe(verified);
    const plan = planOf({
      name: "v",
      why,
      entries: WORKSPACE,
      tree: ALL_METADATA,
    }, { ...ABLE, version });
    expect(plan.supervisor.includes("mount verification")).toBe(verified);
  });
}

test("a plan without placeholders, verification or --outlive-caller leaves nobody resident", () => {
  expect(
    planOf({ name: "x", why: "", entries: WORKSPACE, tree: ALL_METADATA })
      .supervisor,
  ).toEqual([]);
});

/** Of a host that has the pipe. */
const ROOT_ONLY = ["/proc", "/run/initctl"];

for (const root of [true, false]) {
  test(`what uid 0 alone could write on the host is ${root ? "closed to root" : "no matter for a user"}`, () => {
    const draft = draftPlan({
      ...requestOf({ name: "x", why: "", entries: [READ] }),
      root,
      exists: () => true,
    });
    if (!draft.ok) throw new Error(draft.error.message);
    const closed = draft.value.mounts.flatMap(({ op }) =>
      op.kind === "empty_file" || op.kind === "remount_read_only"
        ? [String(op.path)]
        : []
    );
    expect(ROOT_ONLY.filter((path) => closed.includes(path))).toEqual(
      root ? ROOT_ONLY : [],
    );
  });
}

test("below a writable root the host's /proc is bound read-only where no fresh one can be had", () => {
  const plan = planOf(
    { name: "x", why: "", entries: [["/", "write"]] },
    { ...ABLE, trial: { kind: "works", proc: "host", nesting: "bwrap" } },
  );
  expect(plan.mounts.map(({ op }) => op)).toContainEqual({
    kind: "bind_path",
    access: "read_only",
    path: abs("/proc"),
  });
});

for (const nested of [false, true]) {
  test(`where bubblewrap can't close user namespaces the filter ${nested ? "leaves open those that the profile gives" : "denies them"}`, () => {
    const draft = draftPlan(
      requestOf(
        { name: "x", why: "", entries: [READ], root: false },
        { nestedNamespaces: nested },
      ),
    );
    if (!draft.ok) throw new Error(draft.error.message);
    const done = completePlan(
      draft.value,
      { kind: "bundled", version: "0.12.0", sha256: "", reason: "" },
      { ...ABLE, trial: { kind: "works", proc: "fresh", nesting: "filter" } },
    );
    if (!done.ok) throw new Error(done.error.message);
    const { disableUserns, filter } = done.value;
    expect([disableUserns, filter.namespaces]).toEqual([
      false,
      nested ? "allowed" : "denied",
    ]);
  });
}

test("a supervised run leaves --die-with-parent to the watcher, the others have it", () => {
  const alone = planOf({ name: "x", why: "", entries: [READ] });
  const fds = { seccomp: "9", mounts: new Map<number, string>() };
  expect(bwrapArguments(alone, { ...fds, supervised: null }, [], ["true"]))
    .toContain("--die-with-parent");
  const supervised = { info: "1", status: "2", sync: "3", block: null };
  expect(bwrapArguments(alone, { ...fds, supervised }, [], ["true"])).not
    .toContain("--die-with-parent");
});

test("a loader variable is set for the command by --setenv, value untouched", () => {
  const plan = planOf({ name: "x", why: "", entries: [READ] });
  const words = bwrapArguments(
    plan,
    { seccomp: "9", mounts: new Map(), supervised: null },
    ["LD_PRELOAD=/a b=c" as ByteString],
    ["true"],
  );
  expect(words.slice(-5)).toEqual([
    "--setenv",
    "LD_PRELOAD",
    "/a b=c",
    "--",
    "true",
  ]);
});

test('the host\'s /proc breaks the promise "proc": refused, not run', () => {
  const draft = draftPlan(
    requestOf({ name: "x", why: "", entries: [READ] }, { require: ["proc"] }),
  );
  if (!draft.ok) throw new Error(draft.error.message);
  const done = completePlan(draft.value, {
    kind: "system",
    path: abs("/usr/bin/bwrap"),
    version: "0.8.0",
    reason: "",
  }, {
    ...ABLE,
    trial: { kind: "works", proc: "host", nesting: "bwrap" },
  });
  expect(done.ok).toBe(false);
});

const TRACE = [ // Landlock's version, the domain's kind, why
  [7, "scope", "a scope leaves mounts alone"],
  [6, "scope", "the first version with scopes"],
  [5, "rights", "without scopes a right must be handled"],
  [2, "rights", "the first that can give renames back"],
  [1, null, "every domain would forbid renames across directories"],
  [null, null, "no Landlock, no domain"],
] as const;
for (const [version, kind, why] of TRACE) {
  test(`debug with Landlock ${version} is ${kind ?? "refused"}: ${why}`, () => {
    const draft = draftPlan({
      ...requestOf({ name: "x", why, entries: [READ] }, { debug: true }),
      landlock: () => version === null ? fail("ENOSYS") : ok(version),
    });
    expect(draft.ok ? draft.value.traceDomain?.kind : null).toBe(kind);
    if (!draft.ok) {
      expect(draft.error.message).toStartWith(
        "Cannot honour debug = true of profile test: it needs Landlock 2",
      );
    }
  });
}

const ABSTRACT = [ // Landlock's version, what unix_sockets opens, the reach, why
  [7, [], "closed", "a scope is there"],
  [
    6,
    ["/run/docker.sock"],
    "closed",
    "another socket is nobody's abstract name",
  ],
  [5, [], "open", "scopes came with version 6"],
  [null, [], "open", "no Landlock, no scope"],
  [7, ["/tmp/.X11-unix/X0"], "open", "X clients try the abstract name first"],
  [7, ["/tmp/.X11-unix"], "open", "the whole directory likewise"],
] as const;
for (const [version, opened, reach, why] of ABSTRACT) {
  test(`abstract sockets are ${reach} with Landlock ${version} and [${opened}] opened: ${why}`, () => {
    const one: Case = { name: "x", why, entries: [READ], network: "host" };
    const options = { unixSockets: opened.map(abs) };
    const draft = draftPlan({
      ...requestOf(one, options),
      landlock: () => version === null ? fail("ENOSYS") : ok(version),
    });
    if (!draft.ok) throw new Error(draft.error.message);
    const launcher = {
      kind: "system",
      path: abs("/usr/bin/bwrap"),
      version: "0.12.0",
      reason: "test",
    } as const;
    const plan = completePlan(draft.value, launcher, ABLE);
    expect(plan.ok && plan.value.abstractSockets?.reach).toBe(reach);
  });
}

test("no domain and no question for one without debug", () => {
  const draft = draftPlan({
    ...requestOf({ name: "x", why: "", entries: [READ] }),
    landlock: () => {
      throw new Error("asked");
    },
  });
  expect(draft.ok && draft.value.traceDomain).toBe(null);
});

test("nested_namespaces is refused as root, who could map nobody", () => {
  const request = requestOf(
    { name: "x", why: "", entries: [READ] },
    { nestedNamespaces: true },
  );
  expect(draftPlan(request).ok).toBe(false);
  expect(draftPlan({ ...request, root: false }).ok).toBe(true);
});

test("--stage one-start is refused where only the inner stage can do it", () => {
  const request = requestOf({ name: "x", why: "", entries: [READ] });
  const many = Array.from({ length: 9_000 }, () => "a" as ByteString);
  expect(draftPlan({ ...request, command: many, forcedStage: "one_start" }).ok)
    .toBe(false);
  const auto = draftPlan({ ...request, command: many });
  expect(auto.ok && auto.value.stage.kind).toBe("inner");
});

const PROXIED: Case = {
  name: "x",
  why: "",
  entries: [READ],
  network: "proxied",
};

const LISTENING: readonly [
  changes: Partial<DraftRequest>,
  kind: "listening" | "inner",
  why: string,
][] = [
  [{}, "listening", "nothing else is to be done inside"],
  [{ forcedStage: "inner" }, "inner", "the caller wants it"],
  [{ runsFromMemory: () => false }, "inner", "the host forbids the program"],
  [{ tellsResult: true }, "inner", "it tells why a command can't be started"],
  [{ guardedFds: [0] }, "inner", "it sets the rule that guards a stream"],
  [
    { verdict: { kind: "inner", reason: "may not be visible" } },
    "inner",
    "only it can tell how the start went",
  ],
  [
    { command: ["./true" as ByteString] },
    "listening",
    "a path is executed as it was typed",
  ],
  [
    { searchPath: () => ["/usr/bin/../bin"] },
    "inner",
    "a script would see another name of itself",
  ],
];

for (const [changes, kind, why] of LISTENING) {
  const changed = Object.keys(changes).join() || "nothing";
  test(`a proxied run with ${changed} changed has the stage ${kind}: ${why}`, () => {
    const draft = draftPlan({ ...requestOf(PROXIED), ...changes });
    expect(draft.ok && draft.value.stage.kind).toBe(kind);
  });
}

test("a place is spelled as execvp(3) would, and a path as it was typed", () => {
  const place = (changes: Partial<DraftRequest>): unknown => {
    const draft = draftPlan({ ...requestOf(PROXIED), ...changes });
    const stage = draft.ok ? draft.value.stage : null;
    return stage?.kind === "listening" ? stage.place : null;
  };
  expect(place({})).toBe("/usr/bin/true");
  const typed = "./bin/true" as ByteString;
  expect(place({ command: [typed, "x" as ByteString] })).toBe(typed);
});

/** One option with its values a line, descriptors by what they are open on. */
function lines(plan: SandboxPlan): string[] {
  const text: string[] = [];
  for (const word of shownArguments(plan)) {
    if (word.startsWith("--") || text.length === 0) text.push(word);
    else text[text.length - 1] += ` ${word}`;
  }
  const held = plan.mounts.filter(({ op }) => takesDescriptor(op)).length;
  return [
    ...text,
    `# supervisor: ${plan.supervisor.join(", ") || "none"}`,
    `# placeholders: ${
      plan.placeholders.map(({ path, node }) => `${node} ${path}`).join(", ") ||
      "none"
    }`,
    `# descriptors: ${held}`,
    ...(plan.abstractSockets === undefined ? [] : [
      `# abstract sockets: ${plan.abstractSockets.reach} (${plan.abstractSockets.reason})`,
    ]),
    ...(plan.traceDomain === null
      ? []
      : [`# trace domain: ${JSON.stringify(plan.traceDomain)}`]),
  ];
}
