import { expect, test } from "bun:test";
import {
  ADVISORIES,
  advisoriesOf,
} from "../../../src/linux/doctor/advisories.ts";
import { reportOn } from "../../../src/linux/doctor/report.ts";
import { reportJson, reportText } from "../../../src/linux/doctor/text.ts";
import { BUNDLED, HOSTS, SYSTEM, WELL } from "./hosts.ts";

for (const host of HOSTS) {
  test(`the report on ${host.name} says what is wrong and what would help`, () => {
    const report = reportOn(host.facts);
    const findings = report.checks.filter(({ weight }) => weight !== "ok")
      .map(({ weight, name, text }) => [weight, name, text]);
    expect(findings).toEqual(host.findings.map((it) => [...it]));
    expect(report.fixes).toEqual([...host.fixes]);
    expect(report.isEnforced).toBe(host.isEnforced);
  });
}

test("where the default profile works nothing is a failure, and where it doesn't something is", () => {
  for (const { facts, isEnforced } of HOSTS) {
    const fails = reportOn(facts).checks.some(({ weight }) =>
      weight === "fail"
    );
    expect(fails).toBe(!isEnforced);
  }
});

test("only a run that ended well shows that the profile can be enforced", () => {
  const runs = [
    null,
    { status: 1, output: "" },
    { status: 125, output: "" },
    { status: "signal 9", output: "" },
  ];
  for (const run of runs) {
    const facts = { ...WELL, profile: { ...WELL.profile, run } };
    expect(reportOn(facts).isEnforced).toBe(false);
  }
});

test("the text is grouped and aligned, and ends with the verdict", () => {
  const { facts } = HOSTS.find(({ name }) => name.startsWith("an old"))!;
  expect(reportText(reportOn(facts), facts)).toBe(`codex 1.2.3

host
  ok    system          Debian GNU/Linux 13, x64, uid 1000
  ok    kernel          6.12.1-amd64
  ok    seccomp         filters are available
  ok    landlock        version 6
  ok    memfd           executable memory files work (vm.memfd_noexec is 0)
  ok    apparmor        doesn't restrict user namespaces

namespaces
  ok    work            user and mount namespaces, pid, ipc and uts, network, a fresh /proc, no further user namespaces inside

bubblewrap
  note  /usr/bin/bwrap  0.6.1, trusted, but lacks --disable-userns, --bind-fd
  note  /usr/bin/bwrap  may have CVE-2026-87766 (fixed in 0.12.0); here every mount is verified before the command starts
  ok    bundled         0.12.0, its SHA-256 is the build's, works

profile
  ok    :read-only      bubblewrap, /usr/bin/bwrap 0.12.0; a run ended well
  ok    promises        keeps network

leftovers
  ok    none            dead runs left nothing

The default profile can be enforced here.
`);
});

test("the JSON keeps its promised members", () => {
  const json = JSON.parse(
    JSON.stringify(reportJson(reportOn(WELL), WELL)),
  ) as Record<string, Record<string, unknown>>;
  expect(Object.keys(json)).toEqual([
    "schema",
    "version",
    "enforced",
    "host",
    "bwraps",
    "profile",
    "leftovers",
    "checks",
    "fixes",
  ]);
  expect(json["schema"]).toBe(1 as never);
  expect(json["profile"]).toEqual({
    name: ":read-only",
    backEnd: "bubblewrap",
    launcher: "/usr/bin/bwrap 0.12.0",
    promises: [{ name: "network", kept: true, why: "a namespace" }],
    refused: null,
    run: { status: 0, output: "" },
  });
  expect((json["bwraps"] as unknown as unknown[])[1]).toEqual({
    ...{ kind: "bundled", path: "bundled", version: "0.12.0" },
    sha256: "ab12",
    refused: null,
    options: [...BUNDLED.options],
    missing: [],
    trials: BUNDLED.trials.map((it) => ({ ...it })),
    advisories: [],
  });
});

const VERSIONS = [ // version, set-uid, advisories, why
  ["0.12.0", false, [], "the first without the latest"],
  ["0.11.2", false, ["CVE-2026-87766"], "links of the sandbox are followed"],
  ["0.11.1", false, ["CVE-2026-87766"], "not set-uid"],
  ["0.11.0", true, ["CVE-2026-87766", "CVE-2026-41163"], "set-uid"],
  ["0.10.0", true, ["CVE-2026-87766"], "before overlay mounts"],
  ["0.8.0", false, ["CVE-2026-87766"], "Debian 12"],
  ["0.4.0", true, ["CVE-2026-87766", "CVE-2020-5291"], "set-uid"],
  ["0.3.2", false, ["CVE-2026-87766", "CVE-2019-12439"], "a folder in /tmp"],
  ["0.12", false, [], "missing parts are 0"],
  ["1.0.0", false, [], "a later one"],
  ["", false, [], "an unknown version"],
] as const;
for (const [version, isSetuid, ids, why] of VERSIONS) {
  test(
    `bubblewrap "${version}"${isSetuid ? ", set-uid," : ""} may have ${
      ids.join(", ") || "nothing"
    }: ${why}`,
    () => {
      const found = advisoriesOf(version, isSetuid).map(({ id }) => id);
      expect(found).toEqual([...ids]);
    },
  );
}

test("every advisory says what keeps it from mattering here", () => {
  for (const { here, what, id } of ADVISORIES) {
    expect(id).toMatch(/^CVE-\d{4}-\d+$/);
    expect(here).not.toBe("");
    expect(what).not.toMatch(/\.$/);
  }
});

test("a bubblewrap that lacks only a fresh /proc is used", () => {
  const proc = SYSTEM.trials.map((trial) =>
    trial.what === "proc" ? { ...trial, failed: "no" } : trial
  );
  const facts = { ...WELL, bwraps: [{ ...SYSTEM, trials: proc }] };
  const [bwrap] = reportOn(facts).checks.filter(({ group }) =>
    group === "bubblewrap"
  );
  expect(bwrap?.weight).toBe("ok");
});
