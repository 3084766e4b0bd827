/**
 * The page of intended differences has a section for each rule of the comparison, and no other.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  type Difference,
  explanationOf,
  RULES,
} from "../../scripts/compare_rules.ts";

const PAGE = readFileSync(
  `${import.meta.dirname}/../../docs/differences.md`,
  "utf8",
);

test("docs/differences.md has one section for each rule, in the rules' words and order", () => {
  const sections = [...PAGE.matchAll(/^## (.+)$/gm)].map(([, title]) => title);
  const rules = RULES.map(({ id }) => id);
  expect(sections).toEqual(rules);
});

const KINDS: readonly (readonly [
  question: string,
  reference: string,
  ours: string,
  rule: string | null,
  why: string,
  said?: Difference["said"],
])[] = [
  [
    "write w/f",
    "ok",
    "EROFS",
    null,
    "a refusal that the reference doesn't know",
  ],
  ["write w/f", "EROFS", "ok", null, "something that the reference refuses"],
  ["write w/f", "EROFS", "EACCES", "another errno", "both refuse"],
  [
    "rename w/a w/new",
    "ok",
    "EBUSY",
    "what is protected can't be moved",
    "a pin",
  ],
  ["rename w/a w/new", "ok", "EACCES", null, "no pin"],
  [
    "status",
    "101",
    "127",
    "our own failures have statuses of their own",
    "not found",
    { reference: "thread 'main' panicked", ours: "codex: Cannot find it" },
  ],
  [
    "status",
    "1",
    "125",
    null,
    "a command's own status 1 there",
    { reference: "", ours: "codex: Cannot do it" },
  ],
  [
    "status",
    "1",
    "125",
    null,
    "a command's own status 125 here",
    { reference: "Error: no", ours: "" },
  ],
  ["status", "0", "125", null, "a refusal without a rule"],
  ["network", "none", "host", null, "more network than the reference gives"],
  ["network", "host", "none", "a writable root has no network either", "less"],
];

const SILENT = { reference: "", ours: "" };
for (const [question, reference, ours, rule, why, said = SILENT] of KINDS) {
  test(`"${question}" ${reference} there and ${ours} here is explained by ${rule}: ${why}`, () => {
    const difference: Difference = {
      case: {
        id: "a case",
        kind: "policy",
        face: "helper",
        words: [],
        cwd: "/",
        questions: [],
      },
      question,
      reference,
      ours,
      said,
    };
    expect(explanationOf(difference)?.id ?? null).toBe(rule);
  });
}
