/**
 * From what was found on a host to a report: each finding with its weight, and what to do in commands.
 *
 * Pure. Whether the default profile can be enforced is decided by the run that was tried and by nothing else; the findings explain
 * it. Sources: user_namespaces(7), landlock(7), seccomp(2), memfd_create(2), and what users of such tools met.
 *
 * @module
 */
import { errnoText } from "../../sys/abi.ts";
import { isWsl1 } from "../bwrap_choice.ts";
import type { KeptPromise } from "../ladder.ts";
import { LANDLOCK_VERSION } from "../landlock.ts";
import { advisoriesOf, compare } from "./advisories.ts";
import type { BwrapFacts, DoctorFacts, TrialName } from "./facts.ts";

/** How much a finding weighs: `fail` keeps sandboxes from working, `warn` will hurt somebody, `note` is good to know. */
export type Weight = "ok" | "note" | "warn" | "fail";

/** One finding. */
export interface Check {
  readonly group: Group;
  readonly name: string;
  readonly weight: Weight;
  readonly text: string;
  /** Commands for a shell, in order. A word in capitals is to be replaced. */
  readonly fix: readonly string[];
}

/** The headings, in order. */
export const GROUPS = [
  "host",
  "namespaces",
  "bubblewrap",
  "profile",
  "leftovers",
] as const;
export type Group = (typeof GROUPS)[number];

/** The whole report. */
export interface Report {
  /** The default profile was tried and works. */
  readonly isEnforced: boolean;
  readonly checks: readonly Check[];
  /** Every fix once, those of failures first. */
  readonly fixes: readonly string[];
}

/** Linux before has no close_range(2) with a flag that we need. */
const OLDEST_KERNEL = [5, 11];

/** The report on a host. */
export function reportOn(facts: DoctorFacts): Report {
  const isEnforced = facts.profile.run?.status === 0;
  const found = [
    ...hostChecks(facts, isEnforced),
    ...namespaceChecks(facts),
    ...facts.bwraps.flatMap((it) => bwrapChecks(it, facts)),
    ...profileChecks(facts, isEnforced),
    ...leftoverChecks(facts),
  ];
  // Where runs work nothing keeps them from working: what is wrong costs something else.
  const checks = found.map((check): Check =>
    isEnforced && check.weight === "fail" ? { ...check, weight: "warn" } : check
  );
  const order: readonly Weight[] = ["fail", "warn", "note", "ok"];
  const fixes = order.flatMap((weight) =>
    checks.filter((check) => check.weight === weight).flatMap(({ fix }) => fix)
  );
  return { isEnforced, checks, fixes: [...new Set(fixes)] };
}

function check(
  group: Group,
  name: string,
  weight: Weight,
  text: string,
  fix: readonly string[] = [],
): Check {
  return { group, name, weight, text, fix };
}

function hostChecks(facts: DoctorFacts, isEnforced: boolean): Check[] {
  const { release, distribution, namespaces, containers } = facts;
  const numbers = /^(\d+)\.(\d+)/.exec(release)?.slice(1).map(Number);
  const isOld = numbers !== undefined && compare(numbers, OLDEST_KERNEL) < 0;
  const wsl = wslVersion(namespaces.kernel);
  return [
    check(
      "host",
      "system",
      "ok",
      `${distribution.name}, ${facts.arch}, uid ${facts.uid}`,
    ),
    isOld
      ? check("host", "kernel", "fail", `${release}: 5.11 or later is needed`)
      : check("host", "kernel", "ok", release),
    ...(wsl === 0
      ? []
      : wsl === 1
      ? [check("host", "wsl", "fail", "WSL1 has no user namespaces", [
        "wsl --set-version NAME 2  # in Windows; NAME is what wsl -l prints",
      ])]
      : [check("host", "wsl", "ok", `WSL${wsl}`)]),
    ...(containers.length === 0 ? [] : [
      check(
        "host",
        "container",
        "note",
        `this looks like a container (${containers.join(", ")})`,
      ),
    ]),
    ...(facts.isInOurSandbox
      ? [check(
        "host",
        "nested",
        isEnforced ? "note" : "fail",
        isEnforced
          ? isAlone(facts)
            ? "this runs inside a codex sandbox, where no other can be made: Landlock alone confines what it can; for the rest run it outside"
            : "this runs inside a codex sandbox that allows another"
          : "this runs inside a codex sandbox, where no other can be made: run it outside, or give the outer profile nested_namespaces = true",
      )]
      : []),
    seccompCheck(facts),
    landlockCheck(facts),
    memfdCheck(facts),
    appArmorCheck(facts),
    ...(facts.isInOurSandbox ? [] : directoryChecks(facts)),
  ];
}

/** 0: no WSL. */
function wslVersion(kernel: string): number {
  if (isWsl1(kernel)) return 1;
  const text = kernel.toLowerCase();
  const numbered = /wsl(\d+)/.exec(text)?.[1];
  if (numbered !== undefined) return Number(numbered);
  return text.includes("microsoft-standard") ? 2 : 0;
}

function seccompCheck({ seccompActions, namespaces }: DoctorFacts): Check {
  if (seccompActions === null) {
    return check(
      "host",
      "seccomp",
      "fail",
      "the kernel has no system call filters (CONFIG_SECCOMP_FILTER)",
    );
  }
  const needed = ["kill_process", "errno", "allow"];
  const lacking = needed.filter((it) => !seccompActions.includes(it));
  if (lacking.length > 0) {
    return check(
      "host",
      "seccomp",
      "fail",
      `the kernel's filters lack ${lacking.join(", ")}`,
    );
  }
  const above = namespaces.filtered ? "; we run under a filter already" : "";
  return check("host", "seccomp", "ok", `filters are available${above}`);
}

function landlockCheck({ landlock }: DoctorFacts): Check {
  const consequence =
    "a file as stdin that could be written gets an offset of its own, and there is no fallback without bubblewrap";
  if ("errno" in landlock) {
    const isOff = landlock.errno === 95;
    const why = isOff ? "built in and switched off" : errnoText(landlock.errno);
    const fix = isOff
      ? ["# add landlock to lsm=... on the kernel's command line and reboot"]
      : [];
    return check("host", "landlock", "note", `${why}: ${consequence}`, fix);
  }
  const { version } = landlock;
  return version < LANDLOCK_VERSION
    ? check(
      "host",
      "landlock",
      "note",
      `version ${version}, ${LANDLOCK_VERSION} is needed for some things: ${consequence}`,
    )
    : check("host", "landlock", "ok", `version ${version}`);
}

function memfdCheck(facts: DoctorFacts): Check {
  const { memfdNoexec } = facts;
  if (memfdNoexec === 2) {
    return check(
      "host",
      "memfd",
      hasUsable(facts, "system") ? "note" : "fail",
      "vm.memfd_noexec is 2: the bundled bubblewrap can't be started",
      [...installCommands(facts), "sudo sysctl -w vm.memfd_noexec=1"],
    );
  }
  const said = memfdNoexec === null
    ? "no restriction in this kernel"
    : `vm.memfd_noexec is ${memfdNoexec}`;
  return check("host", "memfd", "ok", `executable memory files work (${said})`);
}

function appArmorCheck(facts: DoctorFacts): Check {
  const { apparmor, namespaces } = facts;
  if (!apparmor.isEnabled) {
    return check("host", "apparmor", "ok", "not in use");
  }
  const { confinement } = apparmor;
  if (confinement !== null && !/^(?:unconfined)?$/.test(confinement)) {
    return check(
      "host",
      "apparmor",
      "note",
      `we run under its profile ${confinement}, which may forbid mounts`,
    );
  }
  if (namespaces.apparmorRestricts !== true) {
    return check("host", "apparmor", "ok", "doesn't restrict user namespaces");
  }
  if (facts.uid === 0) {
    return check(
      "host",
      "apparmor",
      "note",
      "restricts user namespaces of ordinary users, not of root",
    );
  }
  const text =
    "restricts user namespaces: only programs with a profile get them";
  if (hasUsable(facts, "system")) {
    return check("host", "apparmor", "ok", `${text}; the system's bwrap does`);
  }
  const hasSystem = facts.bwraps.some(({ kind }) => kind === "system");
  return check("host", "apparmor", "fail", text, [
    ...(hasSystem ? [] : installCommands(facts)),
    ...(apparmor.hasBwrapProfile ? [] : [
      "sudo apt install apparmor-profiles",
      "sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/",
    ]),
    "sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict",
  ]);
}

function directoryChecks({ directory, uid }: DoctorFacts): Check[] {
  if (directory === null) {
    return [check(
      "host",
      "directory",
      "fail",
      "the working directory was removed or can't be reached",
      ["cd  # and try again"],
    )];
  }
  const checks: Check[] = [];
  const isForeign = uid === 0 && directory.uid !== 0 &&
    (directory.mode & 0o003) !== 0o003;
  if (isForeign) {
    checks.push(check(
      "host",
      "directory",
      "warn",
      `${directory.path} belongs to uid ${directory.uid}: root has no capability in a sandbox and can't write there`,
      [`codex sandbox --user ${directory.uid} -P :workspace -- COMMAND`],
    ));
  }
  if (directory.fileSystem !== "") {
    checks.push(check(
      "host",
      "directory",
      "note",
      `${directory.path} is on ${directory.fileSystem}: a dead server stalls a start, and other machines don't see our locks`,
    ));
  }
  return checks;
}

/** What each small sandbox shows, by the bubblewrap that a run would use. */
function namespaceChecks(facts: DoctorFacts): Check[] {
  const { namespaces } = facts;
  const tried = facts.bwraps.filter(({ trials }) => trials.length > 0);
  const best = tried.find(isUsable) ?? tried[0];
  if (best === undefined) {
    return [check(
      "namespaces",
      "tried",
      "fail",
      "nothing could be tried: there is no bubblewrap that may be run",
      installCommands(facts),
    )];
  }
  const failed = best.trials.filter((trial) => trial.failed !== null);
  const [first] = failed;
  const working = best.trials.filter((trial) => trial.failed === null)
    .map(({ what }) => TRIAL_TEXTS[what]);
  const checks: Check[] = working.length === 0
    ? []
    : [check("namespaces", "work", "ok", working.join(", "))];
  if (first === undefined) return checks;
  for (const { what, failed: said } of failed) {
    // What follows fails for the same reason: it contains the first.
    if (what !== first.what && said === first.failed) continue;
    // A sandbox with less is a sandbox still only where /proc is concerned.
    const weight = what === "proc" ? "warn" : "fail";
    const text = `${TRIAL_TEXTS[what]}: ${said}`;
    const fix = what === first.what ? namespaceFix(what, facts) : [];
    checks.push(check("namespaces", "refused", weight, text, fix));
  }
  if (namespaces.maxUserNamespaces === 0) {
    checks.push(
      check("namespaces", "limit", "fail", "user.max_user_namespaces is 0"),
    );
  }
  if (namespaces.userNamespaceClone === false && namespaces.uid !== 0) {
    checks.push(
      check(
        "namespaces",
        "limit",
        "fail",
        "kernel.unprivileged_userns_clone is 0: only root may make them",
      ),
    );
  }
  return checks;
}

const TRIAL_TEXTS: { readonly [name in TrialName]: string } = {
  user: "user and mount namespaces",
  pid: "pid",
  ipc: "ipc and uts",
  net: "network",
  proc: "a fresh /proc",
  "disable-userns": "no further user namespaces inside",
};

/** Why the first small sandbox that failed does so, in commands. The order is from the certain to the likely. */
function namespaceFix(what: TrialName, facts: DoctorFacts): readonly string[] {
  const { namespaces, containers, isInOurSandbox } = facts;
  if (isWsl1(namespaces.kernel) || isInOurSandbox) return [];
  if (what === "proc") {
    return containers.length === 0 ? [] : [
      "docker run --security-opt systempaths=unconfined ...  # podman: --security-opt unmask=ALL",
    ];
  }
  if (namespaces.maxUserNamespaces === 0) {
    return [
      "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/90-userns.conf",
      "sudo sysctl --system",
    ];
  }
  if (namespaces.userNamespaceClone === false && namespaces.uid !== 0) {
    return [
      "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-userns.conf",
      "sudo sysctl --system",
    ];
  }
  // AppArmor has a finding of its own.
  if (namespaces.apparmorRestricts === true && namespaces.uid !== 0) return [];
  if (namespaces.filtered || containers.length > 0) {
    return [
      "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...",
    ];
  }
  return [];
}

function isUsable({ refused, missing, trials }: BwrapFacts): boolean {
  return refused === null && missing.length === 0 && trials.length > 0 &&
    trials.every(({ what, failed }) => failed === null || what === "proc");
}

function hasUsable(facts: DoctorFacts, kind: BwrapFacts["kind"]): boolean {
  return facts.bwraps.some((it) => it.kind === kind && isUsable(it));
}

function bwrapChecks(bwrap: BwrapFacts, facts: DoctorFacts): Check[] {
  const { path, kind, version, refused, missing } = bwrap;
  const name = kind === "bundled" ? "bundled" : path;
  const shown = version === "" ? "" : `${version}, `;
  const verdict = (weight: Weight, text: string): Check =>
    check("bubblewrap", name, weight, `${shown}${text}`);
  const other = facts.bwraps.some((it) => it !== bwrap && isUsable(it));
  const weight = other ? "note" : "fail";
  const checks = [
    refused !== null
      ? verdict(weight, refused)
      : missing.length > 0
      ? verdict(weight, `trusted, but lacks ${missing.join(", ")}`)
      : !isUsable(bwrap)
      ? verdict(weight, "trusted, but does not work here")
      : verdict(
        "ok",
        kind === "bundled"
          ? "its SHA-256 is the build's, works"
          : "trusted, works",
      ),
  ];
  for (const advisory of advisoriesOf(version, bwrap.isSetuid)) {
    checks.push(check(
      "bubblewrap",
      name,
      "note",
      `may have ${advisory.id} (fixed in ${advisory.fixed}); here ${advisory.here}`,
    ));
  }
  return checks;
}

/** Whether the second rung was taken. */
function isAlone({ profile: { plan } }: DoctorFacts): boolean {
  return plan.kind === "planned" && plan.backEnd === "landlock_only";
}

function profileChecks(
  { profile }: DoctorFacts,
  isEnforced: boolean,
): Check[] {
  const { name, plan, run } = profile;
  const named = name === "" ? "default" : name;
  if (plan.kind === "refused") {
    return [check("profile", named, "fail", plan.why)];
  }
  const tried = run === null
    ? "was not tried"
    : isEnforced
    ? "a run ended well"
    : `a run ended with ${run.status}: ${firstLine(run.output)}`;
  return [
    check(
      "profile",
      named,
      isEnforced ? "ok" : "fail",
      `${BACK_ENDS[plan.backEnd] ?? plan.backEnd}${plan.launcher}; ${tried}`,
    ),
    ...promiseCheck(plan.promises),
    ...plan.warnings.map((text) => check("profile", named, "warn", text)),
  ];
}

/** How a back end is introduced; Landlock's names itself. */
const BACK_ENDS: { readonly [kind: string]: string } = {
  bubblewrap: "bubblewrap, ",
  landlock_only: "",
  direct: "",
};

function promiseCheck(promises: readonly KeptPromise[]): Check[] {
  if (promises.length === 0) return [];
  const names = (kept: boolean): string =>
    promises.filter((it) => it.kept === kept).map(({ name }) => name)
      .join(", ");
  const lacking = names(false);
  return [
    check(
      "profile",
      "promises",
      lacking === "" ? "ok" : "note",
      `keeps ${names(true)}${lacking === "" ? "" : `; lacks ${lacking}`}`,
    ),
  ];
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] || "it said nothing";
}

function leftoverChecks({ leftovers, state }: DoctorFacts): Check[] {
  const checks: Check[] = [];
  if (state.path === null) {
    checks.push(check(
      "leftovers",
      "state",
      "warn",
      "neither CODEX_HOME nor HOME names a directory: what needs records is refused",
      ["export CODEX_HOME=DIRECTORY"],
    ));
  } else if (state.state === "unusable") {
    checks.push(check(
      "leftovers",
      "state",
      "warn",
      `${state.path} can't be used: ${state.why}`,
    ));
  }
  for (const { path, state: kept, why } of leftovers) {
    checks.push(
      kept === "removable"
        ? check("leftovers", path, "note", why, ["codex sandbox clean"])
        : check("leftovers", path, "note", `${why}; it stays`),
    );
  }
  return checks.length > 0
    ? checks
    : [check("leftovers", "none", "ok", "dead runs left nothing")];
}

/** How the distribution installs bubblewrap. */
function installCommands(
  { distribution, bwraps }: DoctorFacts,
): readonly string[] {
  if (bwraps.some((it) => it.kind === "system" && it.refused === null)) {
    return [];
  }
  for (const [ids, command] of INSTALLERS) {
    if (distribution.ids.some((id) => ids.includes(id))) return [command];
  }
  return ["# install your distribution's package bubblewrap"];
}

const INSTALLERS: readonly (readonly [readonly string[], string])[] = [
  [["debian", "ubuntu"], "sudo apt install bubblewrap"],
  [["fedora", "rhel", "centos"], "sudo dnf install bubblewrap"],
  [["arch"], "sudo pacman -S bubblewrap"],
  [["alpine"], "sudo apk add bubblewrap"],
  [["suse", "opensuse"], "sudo zypper install bubblewrap"],
  [["gentoo"], "sudo emerge sys-apps/bubblewrap"],
];
