import { expect, test } from "bun:test";
import { legacyLandlock } from "../../src/policy/legacy_landlock.ts";
import type { Access, Policy } from "../../src/policy/policy.ts";
import { policyOf } from "./world.ts";

type Entries = readonly (readonly [string, Access])[];

const CASES: readonly (readonly [
  entries: Entries,
  answer: "honoured" | "ignored" | "refused",
  why: string,
])[] = [
  [[[":root", "read"]], "honoured", "the older read-only mode"],
  [[["/", "read"]], "honoured", "the same, spelled as a path"],
  [
    [[":root", "read"], ["/srv", "read"]],
    "honoured",
    "a read below a read says nothing",
  ],
  [
    [[":root", "read"], ["/w", "write"]],
    "refused",
    "a workspace has protected names in it",
  ],
  [[["/srv", "read"]], "refused", "the older model reads everything"],
  [[], "refused", "the older model reads everything"],
  [
    [[":root", "read"], ["/srv", "deny"]],
    "refused",
    "the older model denies nothing",
  ],
  [[[":root", "write"]], "ignored", "full access has nothing to enforce"],
  [[["/", "write"]], "refused", "a path is not full access: names in it count"],
  [
    [[":root", "write"], ["/srv", "read"]],
    "refused",
    "a carve-out is none of the older model's",
  ],
  [[[":root", "deny"]], "refused", "nothing may be read"],
];

for (const [entries, answer, why] of CASES) {
  test(`use_legacy_landlock is ${answer} for ${JSON.stringify(entries)}: ${why}`, () => {
    expect(legacyLandlock(policyOf(entries))).toBe(answer);
  });
}

const READ: Entries = [[":root", "read"]];

test("the network makes no difference: the older model has it either way", () => {
  const policy: Policy = { ...policyOf(READ), network: "host" };
  expect(legacyLandlock(policy)).toBe("honoured");
});

test("a glob and a private /tmp are none of the older model's", () => {
  expect(legacyLandlock(policyOf(READ, { globs: ["/w/*.env"] })))
    .toBe("refused");
  expect(legacyLandlock(policyOf(READ, { options: { tmp: "private" } })))
    .toBe("refused");
});

test("a policy that confines no files ignores the flag", () => {
  for (const enforcement of ["disabled", "external"] as const) {
    expect(legacyLandlock({ ...policyOf([]), enforcement })).toBe("ignored");
  }
  expect(legacyLandlock({ ...policyOf([]), unrestricted: true }))
    .toBe("ignored");
});
