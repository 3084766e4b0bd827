/**
 * README.md: the two commands come first and once, the tour does what it says, and no page leads nowhere.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { PROMISE_NAMES } from "../../src/policy/policy.ts";
import { ESCAPES } from "../sandbox/escape_rows.ts";
import {
  blocksOf,
  CODEX,
  machinesOf,
  pageText,
  REPOSITORY,
  testMachines,
} from "./examples.ts";

const PAGE = pageText("README.md");
const BLOCKS = blocksOf(PAGE);

const COMMANDS = [
  "npm run sandbox -- -P :workspace -- sh -c 'echo hi > made-inside.txt && ! touch /etc/refused'",
  "npm test",
] as const;

testMachines(machinesOf(BLOCKS));

test("the first two blocks are the two commands", () => {
  expect(BLOCKS.slice(0, 2).map(({ text }) => text)).toEqual([...COMMANDS]);
});

for (const command of COMMANDS) {
  test(`the README has "${command}" once`, () => {
    expect(PAGE.split(command).length - 1).toBe(1);
  });
}

test("the libc floor of the README is the newest version that the executable asks for", () => {
  const file = readFileSync(CODEX);
  const minors: number[] = [];
  const mark = "GLIBC_2.";
  for (
    let at = file.indexOf(mark);
    at !== -1;
    at = file.indexOf(mark, at + 1)
  ) {
    const digits = file.toString("latin1", at + mark.length, at + 12);
    minors.push(Number.parseInt(digits, 10) || 0);
  }
  const floor = `glibc 2.${Math.max(...minors)}`;
  expect(PAGE).toContain(`**The libc floor is ${floor}.**`);
});

const PAGES = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "THIRD_PARTY_NOTICES.md",
  ...readdirSync(join(REPOSITORY, "docs")).filter((name) =>
    name.endsWith(".md")
  )
    .map((name) => `docs/${name}`),
];

for (const page of PAGES) {
  test(`every link of ${page} to a file of the repository leads to one`, () => {
    const targets = [...pageText(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target!);
    const missing = targets.filter((target) =>
      !existsSync(join(REPOSITORY, dirname(page), target))
    );
    expect(missing).toEqual([]);
  });
}

/** Names of files and folders of ours that a page speaks of, in code spans. */
const PLACE = /`((?:src|tests|scripts|docs|vendor|\.ci)\/[A-Za-z0-9_./-]*)`/g;

for (const page of PAGES) {
  test(`every file of ours that ${page} names is there`, () => {
    const named = [...pageText(page).matchAll(PLACE)].map(([, path]) => path!);
    const missing = named.filter((path) => !existsSync(join(REPOSITORY, path)));
    expect([...new Set(missing)]).toEqual([]);
  });
}

test("the security page has a row for each promise", () => {
  const page = pageText("docs/security.md");
  const missing = PROMISE_NAMES.filter((name) =>
    !page.includes(`| \`${name}\``)
  );
  expect(missing).toEqual([]);
});

test("every test title that the threat model names is a title of that file", () => {
  const rows = [
    ...pageText("docs/threat-model.md").replaceAll(/\s+/g, " ").matchAll(
      /`(tests\/[a-z0-9_/]+\.ts)`: "([^"]+)"/g,
    ),
  ];
  const missing = rows.filter(([, file, title]) =>
    !existsSync(join(REPOSITORY, file!)) || !pageText(file!).includes(title!)
  ).map(([row]) => row);
  const listed = pageText("docs/threat-model.md").match(/^- `tests\//gm) ?? [];
  expect(rows.length).toBe(listed.length);
  expect(rows.length).toBeGreaterThan(20);
  expect(missing).toEqual([]);
});

test("the pages speak of as many ways out as the table tries, to the nearest ten below", () => {
  const tens = Math.floor(ESCAPES.length / 10) * 10;
  const said = ["security", "testing", "threat-model"].map((name) =>
    /about (\d+) (?:ways out|attempts)/i.exec(pageText(`docs/${name}.md`))?.[1]
  );
  expect(said).toEqual(said.map(() => String(tens)));
});
