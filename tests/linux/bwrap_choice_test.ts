/** Which bubblewrap is trusted, and what a refusal means. */
import { expect, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import { MISSING, type PathFact } from "../../src/policy/facts.ts";
import {
  bwrapCandidates,
  explainRefusal,
  hasOption,
  isWsl1,
  judgeBwrap,
  type NamespaceFacts,
  optionsOfHelp,
} from "../../src/linux/bwrap_choice.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";

const DIRECTORY: PathFact = {
  ...MISSING,
  kind: "directory",
  inode: 1,
  mode: 0o755,
  linkCount: 2,
};
const PROGRAM: PathFact = {
  ...MISSING,
  kind: "file",
  inode: 2,
  mode: 0o755,
  linkCount: 1,
};

function host(
  nodes: Readonly<Record<string, PathFact>>,
): { paths: Map<AbsPath, PathFact> } {
  const usual = {
    "/": DIRECTORY,
    "/usr": DIRECTORY,
    "/usr/bin": DIRECTORY,
    "/usr/bin/bwrap": PROGRAM,
  };
  return {
    paths: new Map(
      Object.entries({ ...usual, ...nodes }).map((
        [path, fact],
      ) => [abs(path), fact]),
    ),
  };
}

const FAR = {
  cwd: abs("/w"),
  workspaceRoots: [abs("/w")],
  writableRoots: [abs("/w"), abs("/tmp")],
};

const TRUST = [ // nodes, request, kind, why
  [{}, {}, "trusted", "root's own, in root's own directories"],
  [
    { "/usr/bin/bwrap": { ...PROGRAM, uid: 1000 } },
    {},
    "untrusted",
    "it belongs to a user",
  ],
  [
    { "/usr/bin/bwrap": { ...PROGRAM, mode: 0o775 } },
    {},
    "untrusted",
    "its group can write it",
  ],
  [
    { "/usr/bin": { ...DIRECTORY, mode: 0o777 } },
    {},
    "untrusted",
    "anybody can replace it",
  ],
  [
    { "/usr/bin": { ...DIRECTORY, mode: 0o1777 } },
    {},
    "untrusted",
    "a sticky directory is no better",
  ],
  [
    { "/usr": { ...DIRECTORY, uid: 1000 } },
    {},
    "untrusted",
    "a directory above belongs to a user",
  ],
  [
    { "/usr/bin/bwrap": { ...PROGRAM, mode: 0o4755 } },
    {},
    "untrusted",
    "setuid was its worst time",
  ],
  [
    { "/usr/bin/bwrap": { ...PROGRAM, mode: 0o644 } },
    {},
    "absent",
    "it can't be executed",
  ],
  [{ "/usr/bin/bwrap": DIRECTORY }, {}, "absent", "it is a directory"],
  [{ "/usr/bin/bwrap": MISSING }, {}, "absent", "it is not there"],
  [{}, { cwd: "/usr" }, "untrusted", "it lies in the working directory"],
  [{}, { cwd: "/" }, "trusted", "a working directory of / says nothing"],
  [
    {},
    { workspaceRoots: ["/usr/bin"] },
    "untrusted",
    "it lies in a workspace root",
  ],
  [{}, { writableRoots: ["/usr"] }, "untrusted", "the command could write it"],
  [
    {},
    { writableRoots: ["/"] },
    "untrusted",
    "the command could write everything",
  ],
  [{}, { cwd: "/usr/bi" }, "trusted", "a shared prefix is no directory"],
] as const;
for (const [nodes, change, kind, why] of TRUST) {
  test(`a system bwrap is ${kind}: ${why}`, () => {
    const request = {
      ...FAR,
      ...Object.fromEntries(
        Object.entries(change).map((
          [key, value],
        ) => [key, typeof value === "string" ? abs(value) : value.map(abs)]),
      ),
    };
    expect(judgeBwrap(host(nodes), abs("/usr/bin/bwrap"), request).kind).toBe(
      kind,
    );
  });
}

test("what makes a bwrap untrusted is named as people write it", () => {
  const path = abs("/\u00c3\u00a9/bwrap");
  const far = host({
    "/\u00c3\u00a9": { ...DIRECTORY, uid: 1000 },
    "/\u00c3\u00a9/bwrap": PROGRAM,
  });
  expect(judgeBwrap(far, path, FAR)).toMatchObject({
    why: "/é belongs to uid 1000, not to root",
  });
});

test("a link is judged by where it leads, and by who owns the link", () => {
  const link: PathFact = {
    ...MISSING,
    kind: "symlink",
    inode: 3,
    mode: 0o777,
    linkCount: 1,
    target: "/w/bwrap" as ByteString,
  };
  const far = host({
    "/usr/bin/bwrap": link,
    "/w": DIRECTORY,
    "/w/bwrap": PROGRAM,
  });
  expect(judgeBwrap(far, abs("/usr/bin/bwrap"), FAR)).toMatchObject({
    kind: "untrusted",
    path: "/w/bwrap",
  });
  const foreign = host({
    "/usr/bin/bwrap": {
      ...link,
      uid: 1000,
      target: "bwrap.real" as ByteString,
    },
    "/usr/bin/bwrap.real": PROGRAM,
  });
  expect(judgeBwrap(foreign, abs("/usr/bin/bwrap"), FAR).kind).toBe(
    "untrusted",
  );
});

const PATHS = [ // PATH, candidates, why
  ["/usr/bin:/bin", ["/usr/bin/bwrap", "/bin/bwrap"], "in order"],
  ["/usr/bin:/usr/bin/:/usr//bin", ["/usr/bin/bwrap"], "one directory once"],
  [
    ".:bin::/usr/bin:",
    ["/usr/bin/bwrap"],
    "relative and empty entries are the working directory",
  ],
  ["", [], "an empty PATH names none"],
  [null, [], "neither does a missing one"],
] as const;
for (const [path, expected, why] of PATHS) {
  test(`PATH ${JSON.stringify(path)} names ${expected.length} places: ${why}`, () => {
    expect(bwrapCandidates(path as ByteString | null)).toEqual(
      expected as unknown as AbsPath[],
    );
  });
}

test("options are whole words of the help", () => {
  const options = optionsOfHelp(
    "    --bind-try SRC DEST  x\n    --perms OCTAL\n --ro-bind-fd FD DEST, not --bind",
  );
  expect(hasOption({ options }, "--perms")).toBe(true);
  expect(hasOption({ options }, "--ro-bind-fd")).toBe(true);
  expect(hasOption({ options }, "--ro-bind")).toBe(false);
});

const KERNELS = [ // /proc/version, is WSL1, why
  ["4.4.0-22621-Microsoft", true, "the first WSL"],
  ["5.15.0-microsoft-standard-WSL1", true, "a number decides"],
  ["4.4.0-wsl-microsoft-standard-WSL1", true, "the first wsl with a number"],
  ["5.15.153.1-microsoft-standard-WSL2", false, "WSL2"],
  ["6.0-microsoft-standard-WSL3", false, "later ones"],
  ["4.19.104-microsoft-standard", false, "WSL2 without its number"],
  ["6.1.0-18-amd64 (debian)", false, "plain Linux"],
] as const;
for (const [version, expected, why] of KERNELS) {
  test(`${version} is ${expected ? "" : "not "}WSL1: ${why}`, () =>
    expect(isWsl1(version)).toBe(expected));
}

const PLAIN: NamespaceFacts = {
  kernel: "6.1",
  apparmorRestricts: null,
  maxUserNamespaces: 10_000,
  userNamespaceClone: null,
  filtered: false,
  uid: 1000,
};
const NO_NAMESPACE =
  "bwrap: No permissions to create a new namespace, likely because the kernel does not allow it";
const REFUSALS = [ // facts, stderr, part of the line, why
  [
    { kernel: "4.4.0-Microsoft" },
    NO_NAMESPACE,
    "--set-version NAME 2",
    "WSL1 has none at all",
  ],
  [
    { maxUserNamespaces: 0 },
    NO_NAMESPACE,
    "sysctl user.max_user_namespaces=",
    "switched off",
  ],
  [
    { userNamespaceClone: false },
    NO_NAMESPACE,
    "kernel.unprivileged_userns_clone=1",
    "Debian's switch",
  ],
  [
    { userNamespaceClone: false, uid: 0 },
    NO_NAMESPACE,
    "bubblewrap can't make a sandbox here",
    "root is not meant by it",
  ],
  [
    {},
    NO_NAMESPACE,
    "as it does in a chroot",
    "neither a setting nor a filter forbids them",
  ],
  [
    { uid: 0 },
    "bwrap: No permissions to creating new namespace, likely because",
    "as it does in a chroot",
    "root is refused there too; the words of bubblewrap 0.8",
  ],
  [
    { apparmorRestricts: true },
    "bwrap: setting up uid map: Permission denied",
    "AppArmor",
    "Ubuntu's restriction",
  ],
  [
    { apparmorRestricts: true },
    "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
    "AppArmor",
    "the same, met later",
  ],
  [
    { filtered: true },
    "bwrap: Creating new namespace failed: Operation not permitted",
    "seccomp",
    "a container's filter",
  ],
  [
    { filtered: true },
    "bwrap: loopback: Failed to look up lo: Operation not permitted",
    "sandboxes don't nest without the host's network",
    "our own filter, with nested_namespaces = true",
  ],
  [
    { filtered: true },
    "bwrap: Can't find source path /x",
    "Can't find source path",
    "no namespace is at fault",
  ],
] as const;
for (const [facts, stderr, part, why] of REFUSALS) {
  test(`a failed trial says "${part}": ${why}`, () => {
    const line = explainRefusal({ ...PLAIN, ...facts }, stderr);
    expect(line).toContain(part);
    expect(line).not.toContain("\n");
  });
}

test("bubblewrap's own guess at a cause is left out: in a container it would be the wrong one", () => {
  const line = explainRefusal(
    { ...PLAIN, filtered: true },
    "bwrap: No permissions to create a new namespace, likely because the kernel does not allow non-privileged user namespaces. On e.g. debian this can be enabled with 'sysctl kernel.unprivileged_userns_clone=1'.\n",
  );
  expect(line).not.toContain("sysctl");
  expect(line).toEndWith("(No permissions to create a new namespace)");
});
