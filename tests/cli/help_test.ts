import { expect, test } from "bun:test";
import { FLAGS } from "../../src/cli/flags.ts";
import { helpText, manPage, versionText } from "../../src/cli/help.ts";
import type { HelpTopic } from "../../src/cli/options.ts";

const TOPICS: readonly HelpTopic[] = [
  "codex",
  "sandbox",
  "config",
  "policy",
  "proxy-connect",
  "completions",
  "doctor",
  "clean",
  "help",
  "helper",
];
for (const topic of TOPICS) {
  test(`the help of ${topic} has no line over 80 columns`, () => {
    const text = helpText(topic);
    expect(text.split("\n").filter((line) => line.length > 80)).toEqual([]);
    expect(text.endsWith("\n")).toBe(true);
    expect(text).not.toMatch(/[ \t]\n|\n\n\n|undefined/);
  });
}

test("each shown flag of sandbox is in its help and in the man page", () => {
  const page = manPage("1.0").replaceAll("\\-", "-");
  for (const flag of FLAGS) {
    if (!(flag.commands as readonly string[]).includes("sandbox")) continue;
    expect(helpText("sandbox")).toContain(`--${flag.long}`);
    expect(page).toContain(`--${flag.long}`);
  }
});

test("the helper's help hides what only our own stages use", () => {
  expect(helpText("helper")).not.toMatch(/apply-seccomp|route-spec|split/);
  expect(helpText("helper")).toContain("--permission-profile JSON");
});

test("no help text of a flag ends with a full stop or is too long", () => {
  for (const flag of FLAGS) {
    expect(flag.help).not.toMatch(/\.$/);
    expect(flag.help.length).toBeLessThanOrEqual(200);
  }
});

test("no line of the man page is taken for a request by mistake", () => {
  const requests = manPage("1.0").split("\n").filter((line) =>
    /^[.']/.test(line)
  );
  const known = /^\.(TH|SH|TP|B|PP|nf|fi|br)( |$)/;
  expect(requests.filter((line) => !known.test(line))).toEqual([]);
});

test("the version text names the version, the bundled bwrap and its digest", () => {
  expect(
    versionText({ version: "1.2", bwrapVersion: "0.11.0", bwrapDigest: "ab" }),
  ).toBe("codex 1.2\nbundled bwrap 0.11.0\nsha256 ab\n");
});
