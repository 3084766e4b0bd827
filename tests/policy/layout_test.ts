import { expect, test } from "bun:test";
import {
  carveOuts,
  type Layout,
  layoutOf,
  writableRoots,
} from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import type { MountPoint } from "../../src/policy/decision.ts";
import { factsOf, matchOf, policyOf } from "./world.ts";

const R = [":root", "read"] as const;
const W = ["/w", "write"] as const;

/** Mount points that show files read-only inside something that hides them: the root, or a masked directory. */
function readableRoots(layout: Layout): readonly MountPoint[] {
  return layout.mountPoints.filter((point) =>
    point.state === "read_only" && point.decider.kind !== "system" &&
    (point.parent === null ? null : layout.byPath.get(point.parent)?.state) ===
      "masked"
  );
}

/** Mount points that hide something. The root is left out: an empty root is the base, not a mask. */
function deniedPaths(layout: Layout): readonly MountPoint[] {
  return layout.mountPoints.filter((point) =>
    point.state === "masked" && point.path !== "/"
  );
}

/** The carve-outs directly below `root` that no entry asked for: `.git`, `.agents`, `.codex` and git's targets. */
function protectedMetadata(
  layout: Layout,
  root: MountPoint,
): readonly MountPoint[] {
  return carveOuts(layout, root).filter(({ decider }) =>
    decider.kind === "metadata" || decider.kind === "git_pointer" ||
    decider.kind === "nested_repository" || decider.kind === "shut_directory"
  );
}

/** Directories to be bound onto themselves so that they can't be renamed. */
function pins(layout: Layout): readonly MountPoint[] {
  return layout.mountPoints.filter((point) => point.decider.kind === "pin");
}

/** `state path node(placeholder)/decider`. */
function line(point: MountPoint): string {
  const node = point.placeholder === undefined
    ? point.node
    : `missing ${point.placeholder}`;
  const mode = point.state === "masked" && point.traversable
    ? "masked but traversable"
    : point.state;
  return `${point.path}: ${mode}, ${node}, ${point.decider.kind}`;
}

test("mount points of a workspace, outermost first", () => {
  const policy = policyOf([
    R,
    W,
    ["/w/docs", "read"],
    ["/w/s", "deny"],
    ["/w/s/t", "write"],
    ["/w/a/b/key", "deny"],
    ["/w/no/such", "read"],
    ["/w/docs/more", "read"],
    ["/w/plain", "write"],
  ]);
  const facts = factsOf({
    "/w/docs/more": "dir",
    "/w/s/t": "dir",
    "/w/a/b/key": "file",
    "/w/.git": "dir",
    "/w/plain": "dir",
  }, policy);
  expect(layoutOf(policy, facts).mountPoints.map(line)).toEqual([
    "/: read_only, directory, grant",
    "/dev: private_tmp, directory, system",
    "/proc: read_only, directory, system",
    "/w: writable, directory, grant",
    "/w/.agents: read_only, missing directory, metadata",
    "/w/.codex: read_only, missing directory, metadata",
    "/w/.git: read_only, directory, metadata",
    "/w/a: writable, directory, pin",
    "/w/a/b: writable, directory, pin",
    "/w/a/b/key: masked, file, grant",
    "/w/docs: read_only, directory, grant",
    "/w/no: read_only, missing file, grant",
    "/w/plain: writable, directory, pin",
    "/w/plain/.agents: read_only, missing directory, metadata",
    "/w/plain/.codex: read_only, missing directory, metadata",
    "/w/plain/.git: read_only, missing directory, metadata",
    "/w/s: masked but traversable, directory, grant",
    "/w/s/t: writable, directory, grant",
    "/w/s/t/.agents: read_only, missing directory, metadata",
    "/w/s/t/.codex: read_only, missing directory, metadata",
    "/w/s/t/.git: read_only, missing directory, metadata",
  ]);
});

test("an empty root shows what is granted", () => {
  const policy = policyOf([["/l/x", "read"], W, ["/w/s", "deny"]]);
  const facts = factsOf(
    { "/l": "-> /y", "/y/x": "dir", "/w/s": "dir" },
    policy,
  );
  const layout = layoutOf(policy, facts);
  const paths = (points: readonly MountPoint[]): string[] =>
    points.map((point) => point.path);
  expect(layout.mountPoints[0]?.state).toBe("masked");
  expect(paths(readableRoots(layout))).toEqual(["/y/x"]);
  expect(paths(writableRoots(layout))).toEqual(["/w"]);
  expect(paths(deniedPaths(layout))).toEqual(["/w/s"]);
  expect(layout.links).toEqual([abs("/l")]);
});

test("carve-outs and metadata belong to the nearest writable root, pins passed over", () => {
  const policy = policyOf([R, W, ["/w/a/b", "read"], ["/x", "write"]]);
  const facts = factsOf({ "/w/a/b": "dir", "/x": "dir" }, policy);
  const layout = layoutOf(policy, facts);
  const [x, w] = [...writableRoots(layout)].reverse();
  if (x === undefined || w === undefined) throw new Error("two roots");
  const paths = (points: readonly MountPoint[]): string[] =>
    points.map((point) => point.path);
  expect(paths(carveOuts(layout, w))).toEqual([
    "/w/.agents",
    "/w/.codex",
    "/w/.git",
    "/w/a/b",
  ]);
  expect(paths(protectedMetadata(layout, x))).toEqual([
    "/x/.agents",
    "/x/.codex",
    "/x/.git",
  ]);
  expect(paths(pins(layout))).toEqual(["/w/a"]);
});

const PINNED = [ // pattern, match, pins, why
  ["/w/**/*.env", "/w/a/b/x.env", [], "found again anywhere"],
  ["/w/a/**/*.env", "/w/a/b/x.env", ["/w/a"], "the prefix is literal"],
  ["/w/*/x.env", "/w/a/x.env", ["/w/a"], "a component of its own"],
  [
    "/w/**/conf/x.env",
    "/w/a/conf/x.env",
    ["/w/a/conf"],
    "the component behind **",
  ],
  ["/w/{a,b/c}/x*", "/w/b/c/x.env", ["/w/b", "/w/b/c"], "alternatives"],
] as const;

for (const [pattern, match, expected, why] of PINNED) {
  test(`pins of ${pattern} at ${match}: ${why}`, () => {
    const policy = policyOf([R, W], { globs: [pattern] });
    const matches = [matchOf(pattern, match)];
    const facts = factsOf({ "/w/.git": "dir", "/w/a": "dir" }, policy, {
      matches,
    });
    const pinned = pins(layoutOf(policy, facts)).map((point) =>
      point.path as string
    );
    expect(pinned).toEqual([...expected]);
  });
}

test("an alias that a link of the pattern leads to is hidden and pinned", () => {
  const policy = policyOf([R, W], { globs: ["/w/*.env"] });
  const matches = [matchOf("/w/*.env", "/w/a/real", "file", "/w/l.env")];
  const facts = factsOf({ "/w/a/real": "file" }, policy, { matches });
  const layout = layoutOf(policy, facts);
  expect(deniedPaths(layout).map((point) => point.path)).toEqual([
    abs("/w/a/real"),
  ]);
  expect(pins(layout).map((point) => point.path)).toEqual([abs("/w/a")]);
});

test("a private temporary directory is one mount, and nested ones are made in it", () => {
  const policy = policyOf([R, [":slash_tmp", "write"], [
    ":tmpdir=/tmp/u",
    "write",
  ], ["/tmp/s", "deny"]], {
    options: { tmp: "private" },
  });
  const facts = factsOf({ "/tmp/u": "dir", "/tmp/s": "dir" }, policy);
  expect(layoutOf(policy, facts).mountPoints.map(line)).toEqual([
    "/: read_only, directory, grant",
    "/dev: private_tmp, directory, system",
    "/proc: read_only, directory, system",
    "/tmp: private_tmp, directory, private_tmp",
    "/tmp/u: private_tmp, directory, private_tmp",
  ]);
});

test("a profile that doesn't confine files has one writable root", () => {
  const policy = { ...policyOf([]), enforcement: "disabled" as const };
  expect(layoutOf(policy, factsOf({}, policy)).mountPoints.map(line)).toEqual([
    "/: writable, directory, unconfined",
  ]);
});
