/**
 * The ladder: which promises each rung keeps for which policy on which kernel, and which rung is taken.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import {
  NO_OWN_PATHS,
  type OwnPaths,
  type SocketFact,
} from "../../src/policy/facts.ts";
import { type BubblewrapOutcome, chooseRung } from "../../src/linux/ladder.ts";
import {
  bubblewrapPromises,
  landlockPromises,
} from "../../src/linux/promises.ts";
import { LANDLOCK_VERSIONS } from "../../src/linux/landlock_abi.ts";
import { type Layout, layoutOf } from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import {
  type Access,
  type Policy,
  PROMISE_NAMES,
  type PromiseName,
} from "../../src/policy/policy.ts";
import { factsOf, policyOf, type Tree } from "../policy/world.ts";

const HOST: Tree = {
  "/bin/sh": "exe",
  "/etc/passwd": "file",
  "/srv/pub/a": "file",
  "/srv/key": "file",
  "/sys": "dir",
  "/tmp": "sticky",
  "/usr/bin/true": "exe",
  "/w/log": "file",
};

const NEWEST = LANDLOCK_VERSIONS.length;
const READ = [":root", "read"] as const;

interface Case {
  readonly entries: readonly (readonly [string, Access])[];
  readonly minimal?: boolean;
  readonly network?: Policy["network"];
  readonly enforcement?: Policy["enforcement"];
  readonly options?: Partial<Policy["options"]>;
  readonly own?: OwnPaths;
  readonly globs?: readonly string[];
  readonly matches?: readonly string[];
  readonly sockets?: readonly SocketFact[];
}

function worldOf(one: Case): {
  readonly policy: Policy;
  readonly layout: Layout;
} {
  const { minimal = false, options = {}, globs = [], matches = [] } = one;
  const made = policyOf(one.entries, { minimal, options, globs });
  const policy: Policy = {
    ...made,
    network: one.network ?? "none",
    enforcement: one.enforcement ?? "managed",
  };
  const facts = factsOf(HOST, policy, {
    own: one.own ?? NO_OWN_PATHS,
    ...(one.sockets === undefined ? {} : { sockets: one.sockets }),
    matches: matches.map((path) => ({
      pattern: policy.globs[0]!.pattern,
      path: abs(path),
      kind: "file",
    })),
  });
  return { policy, layout: layoutOf(policy, facts) };
}

function lackingOf(one: Case, version: number): readonly PromiseName[] {
  const { policy, layout } = worldOf(one);
  return landlockPromises(policy, layout, version, one.sockets)
    .filter(({ name, kept }) => !kept && !["pid", "ipc", "proc"].includes(name))
    .map(({ name }) => name);
}

const OPEN_METADATA = [
  ["/w/.git", "write"],
  ["/w/.agents", "write"],
  ["/w/.codex", "write"],
] as const;

const AGENT: SocketFact = {
  path: abs("/srv/key"),
  node: "socket",
  daemon: "an ssh agent",
};

/** What Landlock of the newest version can't keep of a policy. */
const POLICIES: readonly (readonly [
  what: string,
  why: string,
  one: Case,
  lacking: readonly PromiseName[],
])[] = [
  ["everything readable", "nothing is denied", { entries: [READ] }, []],
  [
    "an empty root with :minimal",
    "what no rule allows is denied",
    { entries: [], minimal: true },
    [],
  ],
  [
    "one readable directory",
    "what no rule allows is denied",
    { entries: [["/srv", "read"]] },
    [],
  ],
  [
    "a deny below a read",
    "nothing takes away what a rule above allows",
    { entries: [READ, ["/srv", "deny"]] },
    ["read-deny"],
  ],
  [
    "a deny of what was never allowed",
    "there is no rule above",
    { entries: [["/usr", "read"], ["/srv", "deny"]] },
    [],
  ],
  [
    "a read below a deny below a read",
    "the deny is what fails",
    { entries: [READ, ["/srv", "deny"], ["/srv/pub", "read"]] },
    ["read-deny"],
  ],
  [
    "a deny of what isn't there",
    "nothing is hidden as of now, as with bubblewrap",
    { entries: [READ, ["/nope", "deny"]] },
    [],
  ],
  [
    "a glob that matches",
    "a match is a deny",
    { entries: [READ], globs: ["/srv/*"], matches: ["/srv/key"] },
    ["read-deny"],
  ],
  [
    "a glob without a match",
    "nothing is hidden as of now, as with bubblewrap",
    { entries: [READ], globs: ["/srv/*.env"] },
    [],
  ],
  [
    "a hidden /dev/shm",
    "/dev is closed but for harmless devices",
    { entries: [READ, ["/dev/shm", "deny"]] },
    [],
  ],
  [
    "a writable workspace",
    "protected names are carve-outs, and modes can't be denied elsewhere only",
    { entries: [READ, ["/w", "write"]] },
    ["write-deny", "carve-outs"],
  ],
  [
    "a workspace whose protected names are opened but missing",
    "modes can't be denied elsewhere only",
    { entries: [READ, ["/w", "write"], ...OPEN_METADATA] },
    ["write-deny"],
  ],
  [
    "one writable file",
    "a file has no protected names, and its mode needn't change",
    { entries: [READ, ["/w/log", "write"]] },
    [],
  ],
  [
    "a hidden file in a workspace",
    "it could be read and written",
    { entries: [["/srv", "write"], ["/srv/key", "deny"]] },
    ["read-deny", "write-deny", "carve-outs"],
  ],
  [
    "a private /tmp",
    "only a mount makes one",
    { entries: [READ], options: { tmp: "private" } },
    ["carve-outs"],
  ],
  [
    "our state folder in a readable place",
    "the policy lets it be read",
    {
      entries: [READ],
      own: { readOnly: [abs("/w")], hidden: [abs("/w/log")] },
    },
    [],
  ],
  [
    "our state folder in a writable place",
    "it must not be written",
    {
      entries: [READ, ["/w", "write"], ...OPEN_METADATA],
      own: { readOnly: [], hidden: [abs("/w/log")] },
    },
    ["write-deny", "carve-outs"],
  ],
  [
    "our own file in a writable place",
    "it must not be written",
    {
      entries: [READ, ["/w", "write"], ...OPEN_METADATA],
      own: { readOnly: [abs("/w/log")], hidden: [] },
    },
    ["write-deny", "carve-outs"],
  ],
  [
    "everything writable",
    "/sys, /dev and /proc would be too",
    { entries: [[":root", "write"]] },
    ["carve-outs"],
  ],
  [
    "files confined by somebody else",
    "only the network is ours, and the filter keeps it",
    { entries: [], enforcement: "external" },
    [],
  ],
  [
    "the host's network",
    "nothing is denied",
    { entries: [READ], network: "host" },
    [],
  ],
  [
    "the host's network with a daemon's socket",
    "the filter closes AF_UNIX, as no mask hides the socket",
    { entries: [READ], network: "host", sockets: [AGENT] },
    [],
  ],
  [
    "a daemon's socket in a writable place",
    "the same",
    {
      entries: [[":root", "read"], ["/w", "write"], ...OPEN_METADATA],
      network: "host",
      sockets: [{ ...AGENT, path: abs("/w/log") }],
    },
    ["write-deny"],
  ],
  [
    "a daemon's socket beside one that unix_sockets opens",
    "then AF_UNIX stays, and Linux 7.1 restricts the other",
    {
      entries: [READ],
      network: "host",
      sockets: [AGENT],
      options: { unixSockets: [abs("/srv/pub")] },
    },
    [],
  ],
  [
    "a managed network",
    "a proxy without a namespace can be passed by",
    { entries: [READ], network: "proxied" },
    ["network"],
  ],
];

describe("Landlock alone", () => {
  for (const [what, why, one, lacking] of POLICIES) {
    test(`lacks ${lacking.join(", ") || "nothing"} for ${what}: ${why}`, () => {
      expect(lackingOf(one, NEWEST)).toEqual([...lacking]);
    });
  }

  for (const { abi, kernel } of LANDLOCK_VERSIONS) {
    const kept = abi >= 3;
    test(`of version ${abi} (Linux ${kernel}) ${kept ? "keeps" : "does not keep"} what :read-only says`, () => {
      expect(lackingOf({ entries: [READ] }, abi))
        .toEqual(kept ? [] : ["write-deny"]);
    });
  }

  test("keeps nothing about files where the kernel has none, and the network all the same", () => {
    expect(lackingOf({ entries: [READ] }, 0)).toEqual(["write-deny"]);
    expect(lackingOf({ entries: [], minimal: true }, 0))
      .toEqual(["read-deny", "write-deny"]);
    expect(lackingOf({ entries: [], enforcement: "external" }, 0)).toEqual([]);
  });

  test("before Linux 7.1 lacks the network where unix_sockets opens one socket and another daemon is there", () => {
    const one: Case = {
      entries: [["/usr", "read"]],
      network: "host",
      sockets: [AGENT],
    };
    const opens = (path: string): Case => ({
      ...one,
      options: { unixSockets: [abs(path)] },
    });
    for (const { abi } of LANDLOCK_VERSIONS.slice(2)) {
      expect([abi, lackingOf(opens("/srv/pub"), abi)])
        .toEqual([abi, abi < 9 ? ["network"] : []]);
      // Closed by the filter, and opened by name.
      expect([abi, lackingOf(one, abi)]).toEqual([abi, []]);
      expect([abi, lackingOf(opens(AGENT.path), abi)]).toEqual([abi, []]);
    }
  });

  test("never keeps pid, ipc and proc, whatever the kernel; before version 6 signals are free", () => {
    for (const version of [0, ...LANDLOCK_VERSIONS.map(({ abi }) => abi)]) {
      const { policy, layout } = worldOf({ entries: [READ] });
      const promises = landlockPromises(policy, layout, version);
      expect(promises.map(({ name }) => name)).toEqual([...PROMISE_NAMES]);
      const [pid, ipc, proc] = promises.slice(4);
      expect([pid!.kept, ipc!.kept, proc!.kept]).toEqual([false, false, false]);
      expect(pid!.why.includes("can be signalled")).toBe(version < 6);
    }
  });
});

describe("bubblewrap", () => {
  for (const name of PROMISE_NAMES) {
    test(`keeps ${name} with a fresh /proc, so that requiring it is honoured`, () => {
      const all = bubblewrapPromises({ proc: "fresh", network: "none" });
      expect(all.find((it) => it.name === name)?.kept).toBe(true);
      const one: Case = { entries: [READ], options: { require: [name] } };
      expect(rungOf(one, WORKS)).toBe("bubblewrap");
    });

    test(`with the host's /proc ${name === "proc" ? "lacks" : "keeps"} ${name}`, () => {
      const one: Case = { entries: [READ], options: { require: [name] } };
      expect(rungOf(one, { kind: "works", proc: "host" })).toBe(
        name === "proc"
          ? "Cannot keep the promise \"proc\": a fresh /proc can't be mounted here, the host's is visible, read-only; leave it out of require = [...]"
          : "bubblewrap",
      );
    });
  }
});

const WORKS: BubblewrapOutcome = { kind: "works", proc: "fresh" };
const FAILS: BubblewrapOutcome = { kind: "fails", why: "no bwrap" };

/** The rung's kind, or the message of the refusal. */
function rungOf(
  one: Case,
  bubblewrap: BubblewrapOutcome,
  { landlock = NEWEST, mayFallBack = true, givenUp = [] }: {
    readonly landlock?: number;
    readonly mayFallBack?: boolean;
    readonly givenUp?: readonly PromiseName[];
  } = {},
): string {
  const rung = chooseRung({
    ...worldOf(one),
    bubblewrap,
    landlock,
    mayFallBack,
    givenUp,
  });
  return rung.ok ? rung.value.kind : rung.error.message;
}

describe("the rung", () => {
  const READ_ONLY: Case = { entries: [READ] };
  const WORKSPACE: Case = { entries: [READ, ["/w", "write"]] };

  test("is bubblewrap wherever it works, whatever Landlock could do", () => {
    expect(rungOf(READ_ONLY, WORKS)).toBe("bubblewrap");
    expect(rungOf(WORKSPACE, WORKS, { landlock: 0 })).toBe("bubblewrap");
  });

  test("is Landlock where bubblewrap fails and all that the policy says is kept", () => {
    expect(rungOf(READ_ONLY, FAILS)).toBe("landlock");
  });

  test("is a refusal that names bubblewrap's failure, each missing promise and the way out", () => {
    expect(rungOf(WORKSPACE, FAILS)).toBe(
      'no bwrap; Landlock alone can\'t keep "write-deny" (modes and times of files elsewhere could be changed, as they can below /w) and "carve-outs" (/w/.agents and 2 more could be written, as what is around it can): mend the first, or waive the second by hand with --backend landlock --give-up write-deny --give-up carve-outs',
    );
  });

  test("is bubblewrap's failure alone where Landlock was not to follow", () => {
    expect(rungOf(READ_ONLY, FAILS, { mayFallBack: false })).toBe("no bwrap");
  });

  test("is a refusal on a kernel without Landlock, or with one that lets files be emptied", () => {
    expect(rungOf(READ_ONLY, FAILS, { landlock: 0 })).toContain(
      "this kernel has no Landlock (Linux 5.13)",
    );
    expect(rungOf(READ_ONLY, FAILS, { landlock: 2 })).toContain(
      "Landlock 2 lets every file be emptied, before Linux 6.2",
    );
  });

  for (const name of ["pid", "ipc", "proc"] as const) {
    const one: Case = { entries: [READ], options: { require: [name] } };
    test(`is a refusal where the profile requires ${name}, unless it is given up by hand`, () => {
      expect(rungOf(one, FAILS)).toMatch(
        new RegExp(
          `^no bwrap; Landlock alone can't keep the promise "${name}": .*; leave it out of require = \\[\\.\\.\\.\\]$`,
        ),
      );
      expect(rungOf(one, null)).toStartWith(
        `Cannot keep the promise "${name}": `,
      );
      expect(rungOf(one, null, { givenUp: [name] })).toBe("landlock");
    });
  }

  test("chosen by hand needs every missing promise to be given up", () => {
    const given = (...givenUp: PromiseName[]): string =>
      rungOf(WORKSPACE, null, { givenUp });
    expect(given()).toStartWith('Cannot keep "write-deny" (');
    expect(given("carve-outs")).toStartWith('Cannot keep "write-deny" (');
    expect(given("write-deny")).toStartWith('Cannot keep "carve-outs" (');
    expect(given("carve-outs", "write-deny")).toBe("landlock");
  });

  test("is a refusal where the profile wants namespaces inside", () => {
    const one: Case = { entries: [READ], options: { nestedNamespaces: true } };
    expect(rungOf(one, FAILS)).toBe(
      "no bwrap; Landlock alone can't honour nested_namespaces = true of profile test: its filter denies namespaces; leave it out",
    );
    expect(rungOf(one, null)).toStartWith("Landlock alone can't honour");
  });

  test("refuses to give up what is kept: it would be no waiver of anything", () => {
    expect(rungOf(READ_ONLY, null, { givenUp: ["network"] })).toBe(
      'Cannot give up "network": Landlock keeps it for this profile, leave --give-up network out',
    );
  });
});
