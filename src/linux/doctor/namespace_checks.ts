/**
 * Findings about namespaces: which can't be made, and who forbids it.
 *
 * Pure. Source: user_namespaces(7).
 *
 * @module
 */
import { isLikeChroot, isWsl1 } from "../bwrap_choice.ts";
import { installCommands } from "./bwrap_checks.ts";
import { type Check, check, isClosedByFilter, isUsable } from "./check.ts";
import type { DoctorFacts, Trial, TrialName } from "./facts.ts";

/** What each small sandbox shows, by the bubblewrap that a run would use. */
export function namespaceChecks(facts: DoctorFacts): Check[] {
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
    const isFiltered = isClosedByFilter({ what, failed: said });
    const weight = isFiltered ? "note" : what === "proc" ? "warn" : "fail";
    const text = `${TRIAL_TEXTS[what]}${
      isFiltered ? ", by the filter alone" : ""
    }: ${said}`;
    const fix = what === first.what ? namespaceFix(first, facts) : [];
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
function namespaceFix(
  { what, failed }: Trial,
  facts: DoctorFacts,
): readonly string[] {
  const { namespaces, containers, isInOurSandbox } = facts;
  if (isWsl1(namespaces.kernel) || isInOurSandbox) return [];
  // Devices have findings of their own.
  if (facts.brokenDevices.length > 0) return [];
  if (what === "proc" || isClosedByFilter({ what, failed })) {
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
  if (isLikeChroot(namespaces, failed ?? "")) {
    return [
      "sudo systemd-nspawn -D ROOT codex doctor  # in place of chroot ROOT, where the kernel refuses user namespaces",
    ];
  }
  return [];
}
