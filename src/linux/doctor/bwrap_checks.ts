/**
 * Findings about each bwrap: may it be run, does it work, and how to install one.
 *
 * Pure.
 *
 * @module
 */
import { advisoriesOf } from "./advisories.ts";
import { type Check, check, isUsable, type Weight } from "./check.ts";
import type { BwrapFacts, DoctorFacts } from "./facts.ts";

export function bwrapChecks(bwrap: BwrapFacts, facts: DoctorFacts): Check[] {
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

/** How the distribution installs bubblewrap. */
export function installCommands(
  { distribution, bwraps, brokenDevices }: DoctorFacts,
): readonly string[] {
  // The one that is there could not be asked.
  if (brokenDevices.length > 0) return [];
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
