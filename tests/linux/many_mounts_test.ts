/**
 * Plans of many mounts: who may carry them out, and what they hold open.
 *
 * @module
 */
import { expect, test } from "bun:test";
import type { GlobMatch } from "../../src/policy/facts.ts";
import {
  bwrapArguments,
  countMountWords,
  takesDescriptor,
} from "../../src/linux/bwrap_argv.ts";
import type { BwrapAbility } from "../../src/linux/bwrap_choice.ts";
import { isLinear, sizeOf, unfitFor } from "../../src/linux/many_mounts.ts";
import type { SandboxPlan } from "../../src/linux/plan.ts";
import { type DraftRequest } from "../../src/linux/draft.ts";
import { completePlan, draftPlan } from "../../src/linux/planner.ts";
import { abs } from "../../src/policy/path.ts";
import type { ByteString } from "../../src/bytes.ts";
import { ABLE, READ, requestOf } from "./plans.ts";

const UPSTREAM = { options: " --ro-bind --ro-bind-data " };
const OURS = { options: " --empty-file --ro-bind --ro-bind-data " };

const FITNESS = [ // binds, words, ability, kernel has mount_setattr(2), the refusal or null, why
  [1_500, 7_500, UPSTREAM, true, null, "three seconds at most"],
  [
    1_501,
    7_505,
    UPSTREAM,
    true,
    "about 3 s for 1501 binds",
    "beyond that upstream's is refused",
  ],
  [
    2_900,
    5_800,
    UPSTREAM,
    true,
    "about 12 s for 2900 binds",
    "as measured: 11.6 s",
  ],
  [1_500, 8_901, UPSTREAM, true, "takes 9000 arguments", "upstream's limit"],
  [10_000, 50_000, OURS, true, null, "what the edits are for"],
  [1_500, 7_500, OURS, false, null, "an old kernel: as upstream's"],
  [
    1_501,
    7_505,
    OURS,
    false,
    "before Linux 5.12",
    "an old kernel makes the bundled one walk as well",
  ],
  [200_000, 1_000_000, OURS, true, "takes 1000000 arguments", "our own limit"],
] as const;
for (const [binds, words, ability, kernel, refusal, why] of FITNESS) {
  test(`${binds} binds in ${words} words, ${ability === OURS ? "bundled" : "upstream"}, ${kernel ? "new" : "old"} kernel: ${refusal ?? "fit"}: ${why}`, () => {
    const said = unfitFor({ binds, words }, ability, kernel);
    if (refusal === null) expect(said).toBeNull();
    else expect(said).toContain(refusal);
  });
}

test("only our edit on a kernel with mount_setattr(2) is linear", () => {
  expect([
    isLinear(OURS, true),
    isLinear(OURS, false),
    isLinear(UPSTREAM, true),
  ]).toEqual([true, false, false]);
});

test("masks of a large plan share one file with the bundled bubblewrap, and need no descriptor and no inner stage", () => {
  const plan = planOf(masked(2_000), OURS);
  expect(plan.stage.kind).toBe("one_start");
  expect(held(plan)).toBe(0);
  const words = bwrapArguments(
    plan,
    {
      seccomp: null,
      mounts: new Map(),
      supervised: null,
    },
    [],
    ["true"],
  );
  expect(words.filter((word) => word === "--empty-file")).toHaveLength(2_000);
  expect(words).not.toContain("--ro-bind-data");
});

test("so they do in a small plan of a glob, whose matches may be gone by then", () => {
  expect(held(planOf(masked(20), OURS))).toBe(0);
  expect(held(planOf(masked(20), UPSTREAM))).toBe(20);
});

test("a small plan without globs is the same for every bubblewrap", () => {
  const request = requestOf({
    name: "literal",
    why: "",
    entries: [READ, ["/etc/passwd", "deny"]],
  });
  expect(planOf(request, OURS).mounts).toEqual(
    planOf(request, UPSTREAM).mounts,
  );
  expect(held(planOf(request, OURS))).toBe(1);
});

test("masks that take more descriptors than the caller's limit leaves bring the inner stage with upstream's bubblewrap", () => {
  const plan = planOf(masked(1_200), UPSTREAM);
  expect(plan.stage).toEqual({
    kind: "inner",
    reason: "1200 descriptors are more than the limit of open files leaves",
  });
  expect(held(plan)).toBe(1_200);
});

test("--stage one-start is refused where they do", () => {
  const draft = draftPlan({ ...masked(1_200), forcedStage: "one_start" });
  if (!draft.ok) throw new Error(draft.error.message);
  expect(complete(draft.value, UPSTREAM)).toEqual({
    ok: false,
    error: {
      kind: "plan",
      message:
        "Cannot use --stage one-start: 1200 descriptors are more than the limit of open files leaves",
    },
  });
});

test("the size of a plan counts each operation after which the mount table is read", () => {
  const { mounts } = planOf(masked(300), UPSTREAM);
  const { binds, words } = sizeOf(mounts);
  expect(words).toBe(countMountWords(mounts));
  expect(binds).toBeGreaterThanOrEqual(300);
  expect(mounts.length - binds).toBeLessThan(10);
});

function held(plan: SandboxPlan): number {
  return plan.mounts.filter(({ op }) => takesDescriptor(op)).length;
}

/** Everything readable but so many files. */
function masked(count: number): DraftRequest {
  const pattern = "/w/**/*.env" as ByteString;
  const matches = Array.from({ length: count }, (_, index): GlobMatch => ({
    path: abs(`/w/d/${index}.env`),
    kind: "file",
    pattern,
  }));
  return requestOf({
    name: "masks",
    why: "",
    entries: [READ],
    globs: [pattern],
    matches,
  });
}

function planOf(
  request: DraftRequest,
  ability: Pick<BwrapAbility, "options">,
): SandboxPlan {
  const draft = draftPlan(request);
  if (!draft.ok) throw new Error(draft.error.message);
  const plan = complete(draft.value, ability);
  if (!plan.ok) throw new Error(plan.error.message);
  return plan.value;
}

function complete(
  draft: Parameters<typeof completePlan>[0],
  ability: Pick<BwrapAbility, "options">,
): ReturnType<typeof completePlan> {
  const launcher = {
    kind: "system",
    path: abs("/usr/bin/bwrap"),
    version: "0.12.0",
    reason: "test",
  } as const;
  return completePlan(draft, launcher, { ...ABLE, ...ability });
}
