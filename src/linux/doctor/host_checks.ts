/**
 * Findings about the kernel, its security modules and the directory that we are in.
 *
 * Pure. Sources: landlock(7), seccomp(2), memfd_create(2), and what users of such tools met.
 *
 * @module
 */
import { isWsl1 } from "../bwrap_choice.ts";
import { compare } from "./advisories.ts";
import { installCommands } from "./bwrap_checks.ts";
import { type Check, check, hasUsable, isAlone } from "./check.ts";
import { DEVICES, type DoctorFacts } from "./facts.ts";
import { LANDLOCK_VERSION } from "../landlock.ts";
import { errnoText } from "../../sys/abi.ts";

/** Linux before has no close_range(2) with a flag that we need. */
const OLDEST_KERNEL = [5, 11];

export function hostChecks(facts: DoctorFacts, isEnforced: boolean): Check[] {
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
          : "this runs inside a codex sandbox, where no other can be made: run it outside of that one",
      )]
      : []),
    seccompCheck(facts),
    landlockCheck(facts),
    memfdCheck(facts),
    appArmorCheck(facts),
    ...deviceChecks(facts),
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

/** Without them bubblewrap makes no `/dev`, and we start nothing: `/dev/null` is its standard input. */
function deviceChecks({ brokenDevices }: DoctorFacts): Check[] {
  return brokenDevices.map((name) =>
    check("host", `/dev/${name}`, "fail", "missing, or no device", [
      `sudo rm -f /dev/${name} && sudo mknod -m 666 /dev/${name} c ${
        DEVICES[name]
      }`,
    ])
  );
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
