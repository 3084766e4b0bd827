/**
 * Which bubblewrap may be run: the rules of trust, and what its answers mean.
 *
 * Pure. A system bwrap is preferred, because on hosts with AppArmor only the distribution's own may create user namespaces; it is
 * trusted only when nobody but root could have put it there.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import { follow, type PathFacts } from "../policy/facts.ts";
import {
  type AbsPath,
  ancestry,
  childOf,
  isInside,
  toAbsPath,
} from "../policy/path.ts";

/** What one bwrap can do here, from its `--help` and one trial run. */
export interface BwrapAbility {
  /** Option names of `--help`, each between spaces: one string, because a list costs start-up time to read and to search. */
  readonly options: string;
  /** Of `--version`, `0.8.0`; empty when it didn't say. */
  readonly version: string;
  /**
   * The trial run: a sandbox with a fresh `/proc`, one with the host's, or none; and who keeps the command from namespaces of its own:
   * bwrap by a setting below `/proc/sys`, or, where a container has that read-only, our filter.
   */
  readonly trial:
    | {
      readonly kind: "works";
      readonly proc: "fresh" | "host";
      readonly nesting: "bwrap" | "filter";
    }
    | { readonly kind: "fails"; readonly stderr: string };
}

/** Absolute candidates in the order of PATH. Relative and empty entries are never looked at: they name the working directory. */
export function bwrapCandidates(
  path: ByteString | null,
  name = "bwrap",
): AbsPath[] {
  const found: AbsPath[] = [];
  for (const entry of (path ?? "").split(":")) {
    const directory = toAbsPath(entry);
    if (directory === null) continue;
    const candidate = childOf(directory, name);
    if (!found.includes(candidate)) found.push(candidate);
  }
  return found;
}

/** Whether the thing at `candidate` may be run with the caller's rights, before any sandbox exists. */
export type Trust =
  | { readonly kind: "trusted"; readonly path: AbsPath }
  | { readonly kind: "absent" }
  | {
    readonly kind: "untrusted";
    readonly path: AbsPath;
    readonly why: string;
  };

/** What a bwrap must stay out of: places that the command, or whoever wrote the workspace, can write. */
export interface TrustRequest {
  readonly cwd: AbsPath;
  readonly workspaceRoots: readonly AbsPath[];
  readonly writableRoots: readonly AbsPath[];
}

/** Judges one candidate by the facts about it and every directory above it, links followed. */
export function judgeBwrap(
  facts: Pick<PathFacts, "paths">,
  candidate: AbsPath,
  request: TrustRequest,
): Trust {
  const led = follow(facts, candidate);
  if (led === null || !led.exists) return { kind: "absent" };
  const real = led.resolved;
  const fact = facts.paths.get(real);
  if (fact === undefined || fact.kind !== "file" || (fact.mode & 0o111) === 0) {
    return { kind: "absent" };
  }
  const untrusted = (why: string): Trust => ({
    kind: "untrusted",
    path: real,
    why,
  });
  for (const place of [...ancestry(real), ...led.links]) {
    const at = facts.paths.get(place);
    if (at === undefined) {
      return untrusted(`${toText(place)} could not be looked at`);
    }
    if (at.uid !== 0) {
      return untrusted(
        `${toText(place)} belongs to uid ${at.uid}, not to root`,
      );
    }
    // A link's own mode says nothing; who may replace it is its directory's matter.
    if (at.kind !== "symlink" && (at.mode & 0o022) !== 0) {
      return untrusted(`${toText(place)} can be written by others than root`);
    }
  }
  if ((fact.mode & 0o6000) !== 0) {
    return untrusted(`${toText(real)} is setuid or setgid`);
  }
  const near: readonly (readonly [AbsPath, string])[] = [
    [request.cwd, "the working directory"],
    ...request.workspaceRoots.map((root) =>
      [root, "a workspace root"] as const
    ),
    ...request.writableRoots.map((root) => [root, "a writable root"] as const),
  ];
  for (const [root, what] of near) {
    // A working directory of / contains everything and says nothing.
    if (root === "/" && what !== "a writable root") continue;
    if (isInside(real, { root })) {
      return untrusted(`${toText(real)} is inside ${what} ${toText(root)}`);
    }
  }
  return { kind: "trusted", path: real };
}

/** The options that a bwrap's help lists, as {@linkcode BwrapAbility} keeps them. */
export function optionsOfHelp(help: string): string {
  return ` ${
    [...new Set(help.match(/--[a-z][a-z0-9-]*/g) ?? [])].sort().join(" ")
  } `;
}

/** Whether a bwrap has an option. */
export function hasOption(
  ability: Pick<BwrapAbility, "options">,
  option: string,
): boolean {
  return ability.options.includes(` ${option} `);
}

/** What the host says about user namespaces, for telling one refusal from another. */
export interface NamespaceFacts {
  /** `/proc/version`. */
  readonly kernel: string;
  /** `kernel.apparmor_restrict_unprivileged_userns`, `null` when there is no such setting. */
  readonly apparmorRestricts: boolean | null;
  /** `user.max_user_namespaces`. */
  readonly maxUserNamespaces: number | null;
  /** Debian's `kernel.unprivileged_userns_clone`. */
  readonly userNamespaceClone: boolean | null;
  /** `Seccomp:` of our own `/proc/self/status` is not 0: we run in a container or a sandbox. */
  readonly filtered: boolean;
  readonly uid: number;
}

/**
 * Whether bwrap could not close user namespaces for the command, as the setting for it can't be written: in a container with its usual
 * `/proc`, and in a sandbox of ours with `nested_namespaces = true`. Our filter does it instead.
 */
export function isSettingReadOnly(stderr: string): boolean {
  return /max_user_namespaces: Read-only file system/.test(stderr);
}

/** WSL1 by its kernel's name: the first `wsl` with a digit decides, else `microsoft` without `microsoft-standard`. */
export function isWsl1(version: string): boolean {
  const text = version.toLowerCase();
  const numbered = /wsl(\d+)/.exec(text);
  if (numbered !== null) return numbered[1] === "1";
  return text.includes("microsoft") && !text.includes("microsoft-standard");
}

/** One line: why no sandbox can be made here, and what would work. @param stderr of the trial run */
export function explainRefusal(facts: NamespaceFacts, stderr: string): string {
  const said = firstLine(stderr);
  if (isWsl1(facts.kernel)) {
    return 'WSL1 can\'t create user namespaces: convert the distribution with "wsl --set-version NAME 2"';
  }
  const namespaces =
    /Creating new namespace|No permissions to creat|setting up uid map|RTM_NEW|unshare/i
      .test(stderr);
  if (namespaces && facts.maxUserNamespaces === 0) {
    return `user namespaces are switched off (user.max_user_namespaces is 0): as root run "sysctl user.max_user_namespaces=15000" (${said})`;
  }
  if (namespaces && facts.uid !== 0 && facts.userNamespaceClone === false) {
    return `user namespaces are reserved to root (kernel.unprivileged_userns_clone is 0): as root run "sysctl kernel.unprivileged_userns_clone=1" (${said})`;
  }
  if (namespaces && facts.uid !== 0 && facts.apparmorRestricts === true) {
    return `AppArmor keeps this bwrap from user namespaces: install the distribution's bubblewrap (/usr/bin/bwrap) with its AppArmor profile "bwrap-userns-restrict" (${said})`;
  }
  if (/\(ENOSPC\)|max_\*_namespaces exceeded|No space left/.test(stderr)) {
    return `no more user namespaces can be made here, as inside another sandbox: run it outside of that one (${said})`;
  }
  if (facts.filtered && /look up lo: Operation not permitted/.test(stderr)) {
    // A sandbox of ours that lets namespaces be made: bubblewrap finds its loopback by an AF_UNIX socket.
    return `sandboxes don't nest without the host's network, not even with nested_namespaces = true: run it outside of the other one (${said})`;
  }
  if (namespaces && facts.filtered) {
    return `this container's seccomp profile forbids user namespaces: start the container with "--security-opt seccomp=unconfined" or a profile that allows clone, unshare and mount (${said})`;
  }
  if (isLikeChroot(facts, stderr)) {
    return `the kernel refuses user namespaces, as it does in a chroot: run it outside, or enter that tree with "systemd-nspawn" or pivot_root (${said})`;
  }
  return `bubblewrap can't make a sandbox here: ${said}`;
}

/**
 * Whether namespaces are refused (EPERM) and nothing that forbids them is in sight. Then the process is in a chroot, where the kernel
 * refuses them to root as well (user_namespaces(7)): a chroot itself can't be seen from inside where its top is a mount point.
 */
export function isLikeChroot(facts: NamespaceFacts, stderr: string): boolean {
  return /No permissions to creat/.test(stderr) && !facts.filtered &&
    facts.userNamespaceClone !== false && facts.maxUserNamespaces !== 0 &&
    !(facts.apparmorRestricts === true && facts.uid !== 0);
}

/**
 * What bubblewrap said, in one line. Its guess at a cause is left out: it names a setting of Debian's, wherever namespaces are refused.
 */
export function firstLine(text: string): string {
  const [line = ""] = text.trim().split("\n");
  return line.replace(/^bwrap: /, "").replace(/, likely because .*$/, "") ||
    "it said nothing";
}
