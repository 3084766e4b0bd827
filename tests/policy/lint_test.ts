import { expect, test } from "bun:test";
import { abs } from "../../src/policy/path.ts";
import { policyDoubts } from "../../src/policy/lint.ts";
import type { Policy } from "../../src/policy/policy.ts";
import { factsOf, matchOf, policyOf } from "./world.ts";

/** As if a file had said it: built-in entries are never doubted. */
function written(policy: Policy): Policy {
  const grants = policy.grants.map((grant) => ({
    ...grant,
    origin: { file: abs("/c.toml"), key: grant.origin.key },
  }));
  return { ...policy, grants };
}

const R = [":root", "read"] as const;

test("entries without effect are named with what beats them", () => {
  const policy = written(policyOf([
    R,
    ["/w", "write"],
    ["/w", "deny"],
    ["/x", "read"],
    ["/x", "read"],
    ["/y/a", "read"],
  ], { globs: ["/y/**"] }));
  const matches = [matchOf("/y/**", "/y/a")];
  const tree = { "/w": "dir", "/x": "dir", "/y/a": "file" };
  const facts = factsOf(tree, policy, { matches });
  expect(policyDoubts(policy, facts).map(({ message }) => message)).toEqual([
    '"/w" = "write" has no effect: "/w" = "deny"',
    '"/y/a" = "read" has no effect: glob "/y/**" = "deny" matches "/y/a"',
  ]);
});

test("built-in entries and symbols that meet others are no slip", () => {
  const policy = policyOf([R, ["/w", "write"], ["/w", "deny"]]);
  expect(policyDoubts(policy, factsOf({ "/w": "dir" }, policy))).toEqual([]);
});

test("globs that find nothing, or one level where all were meant", () => {
  const policy = policyOf([R], { globs: ["/w/*.env", "/w/**/*.key", "/w/a*"] });
  const matches = [matchOf("/w/*.env", "/w/x.env"), matchOf("/w/a*", "/w/a")];
  const facts = factsOf({ "/w": "dir" }, policy, { matches });
  expect(policyDoubts(policy, facts).map(({ message }) => message)).toEqual([
    'glob "/w/*.env" matches in "/w" only, not below: "/w/**/*.env" matches at any depth',
    'glob "/w/**/*.key" matches nothing now',
  ]);
});

test("a writable root that everybody can write, unless it is sticky", () => {
  const policy = policyOf([R, ["/open", "write"], ["/tmp", "write"], [
    "/w",
    "write",
  ]]);
  const facts = factsOf(
    { "/open": "open", "/tmp": "sticky", "/w": "dir" },
    policy,
  );
  expect(policyDoubts(policy, facts).map(({ message }) => message)).toEqual([
    'writable root "/open" can be written by every user of this machine: chmod o-w it',
  ]);
});

test("a write entry for what is missing does nothing, unless it is a built-in profile's", () => {
  const policy = policyOf([R, ["/w", "write"], ["/gone", "write"]]);
  const facts = factsOf({ "/w": "dir" }, policy);
  expect(policyDoubts(policy, facts)).toEqual([]);
  expect(policyDoubts(written(policy), facts).map(({ message }) => message))
    .toEqual([
      '"/gone" = "write" has no effect: nothing is there, create it first',
    ]);
});

const SOCKETS = [
  ["none", true, "no AF_UNIX socket can be made"],
  ["proxied", true, "nor beside a managed network"],
  ["host", false, "there it opens one"],
] as const;
for (const [network, isDoubt, why] of SOCKETS) {
  test(`unix_sockets with network ${network} is ${isDoubt ? "doubted" : "fine"}: ${why}`, () => {
    const options = { unixSockets: [abs("/run/docker.sock")] };
    const policy = { ...policyOf([R], { options }), network };
    const doubts = policyDoubts(policy, factsOf({}, policy));
    expect(doubts.map(({ message }) => message.slice(0, 26)))
      .toEqual(isDoubt ? ["unix_sockets has no effect"] : []);
  });
}
