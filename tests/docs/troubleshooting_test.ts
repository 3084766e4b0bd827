/**
 * docs/troubleshooting.md: what it says that the doctor says is what the doctor says.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { explainRefusal } from "../../src/linux/bwrap_choice.ts";
import { reportOn } from "../../src/linux/doctor/report.ts";
import { reportJson } from "../../src/linux/doctor/text.ts";
import { HOSTS, WELL } from "../linux/doctor/hosts.ts";
import { pageText } from "./examples.ts";

const PAGE = pageText("docs/troubleshooting.md");
const LINE = /^(?:fail|warn|note) {2}\S+ {2}.*$/gm;

/** What says that a profile can't be enforced is the run's own line, and of the run's kind: not a line to learn. */
const SAID = HOSTS.flatMap(({ facts }) =>
  reportOn(facts).checks.filter(({ group, weight }) =>
    weight !== "ok" && (group !== "profile" || weight === "warn")
  ).map(({ weight, name, text }) => `${weight}  ${name}  ${text}`)
);

test("every line of the doctor that the page shows is one that the doctor says", () => {
  const shown = PAGE.match(LINE) ?? [];
  expect(shown.length).toBeGreaterThan(20);
  expect(shown.filter((line) => !SAID.includes(line))).toEqual([]);
});

test("every line that the doctor says of the known hosts is on the page", () => {
  const shown = new Set(PAGE.match(LINE) ?? []);
  expect([...new Set(SAID)].filter((line) => !shown.has(line))).toEqual([]);
});

const NAMESPACES = { ...WELL.namespaces };
const SYMPTOMS = [ // facts, what bubblewrap said, what the page quotes
  [
    { kernel: "4.4.0-22621-Microsoft" },
    "",
    "WSL1 can't create user namespaces",
  ],
  [{ maxUserNamespaces: 0 }, "unshare", "user namespaces are switched off"],
  [
    { userNamespaceClone: false },
    "No permissions to create new namespace",
    "user namespaces are reserved to root",
  ],
  [
    {},
    "(ENOSPC)",
    "no more user namespaces can be made here, as inside another sandbox",
  ],
  [
    {},
    "No permissions to create new namespace",
    "the kernel refuses user namespaces, as it does in a chroot",
  ],
  [
    { filtered: true },
    "Creating new namespace failed",
    "this container's seccomp profile forbids user namespaces",
  ],
] as const;
for (const [facts, said, quoted] of SYMPTOMS) {
  test(`a run says "${quoted}", and the page quotes it`, () => {
    const line = explainRefusal({ ...NAMESPACES, ...facts }, said);
    expect(line).toContain(quoted);
    expect(PAGE.replaceAll(/\s+/g, " ")).toContain(quoted);
  });
}

test("every command that the doctor advises is on the page", () => {
  const commands = HOSTS.flatMap(({ facts }) => reportOn(facts).fixes)
    .filter((it) => it.startsWith("sudo ") && !/install|\bdnf\b/.test(it));
  const missing = commands.filter((it) => !PAGE.includes(it));
  expect([...new Set(missing)]).toEqual([]);
});

test("every member of the JSON is in the page's table", () => {
  const json = reportJson(reportOn(WELL), WELL) as Record<string, unknown>;
  const members = Object.keys(json);
  expect(members.filter((it) => !PAGE.includes(`| \`${it}\``))).toEqual([]);
});
