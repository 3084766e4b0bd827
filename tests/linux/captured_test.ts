/**
 * The 29 plans that were captured of Codex 0.145, each beside ours: `tests/golden/plans/captured_NN_*.txt`.
 *
 * `UPDATE_GOLDEN=1` writes the files anew.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { explainText } from "../../src/linux/explain.ts";
import { matchOf } from "../policy/world.ts";
import { ALL_METADATA, type Case, planOf, READ, WORKSPACE } from "./plans.ts";

const ROOT = `${import.meta.dirname}/../..`;
const GOLDEN = `${ROOT}/tests/golden/plans`;

type Shape = Omit<Case, "name"> & {
  readonly name: string;
  /** The captured shapes that this is. */
  readonly captured: readonly number[];
  /** What differs from the capture, and why. Everywhere: more namespaces, no capabilities, `/proc` guarded, binds by descriptor. */
  readonly why: string;
};

const NESTED: Case["tree"] = { ...ALL_METADATA, "/w/s/t/x": "file" };
const ENV = "/w/**/*.env";

const SHAPES: readonly Shape[] = [
  {
    captured: [1],
    name: "read_only",
    why: "nothing differs",
    entries: [READ],
  },
  {
    captured: [2],
    name: "read_only_with_network",
    why: "nothing differs",
    entries: [READ],
    network: "host",
  },
  {
    captured: [3],
    name: "workspace_with_metadata",
    why: "nothing differs; the names are in the order of the alphabet",
    entries: WORKSPACE,
    tree: {
      "/w/.git/HEAD": "file",
      "/w/.agents/a": "file",
      "/w/.codex/config.toml": "file",
    },
  },
  {
    captured: [4],
    name: "workspace_bare",
    why: "placeholders are recorded and locked, and a supervisor removes them",
    entries: WORKSPACE,
  },
  {
    captured: [5],
    name: "workspace_without_tmp",
    why: "the order of the names, which changes nothing",
    entries: [READ, ["/w", "write"]],
  },
  {
    captured: [6],
    name: "minimal",
    why: "the root is read-only: a write beside what was granted fails",
    entries: [],
    minimal: true,
  },
  {
    captured: [7],
    name: "minimal_with_workspace",
    why: "no read-only bind below the writable one, which covers it",
    entries: [["/w", "write"]],
    minimal: true,
  },
  {
    captured: [8],
    name: "minimal_with_read",
    why: "as 6",
    entries: [["/d", "read"]],
    minimal: true,
    tree: { "/d/a": "file" },
  },
  {
    captured: [9],
    name: "denied_directory_and_file",
    why: "nothing differs",
    entries: [READ, ["/s", "deny"], ["/f", "deny"]],
    tree: { "/s/a": "file", "/f": "file" },
  },
  {
    captured: [10],
    name: "denied_and_reopened_in_workspace",
    why: "the mask is closed after its child is mounted: no second --dir",
    entries: [...WORKSPACE, ["/w/s", "deny"], ["/w/s/t", "write"]],
    tree: NESTED,
  },
  {
    captured: [11],
    name: "denied_and_reopened",
    why: "as 10",
    entries: [READ, ["/s", "deny"], ["/s/t", "write"]],
    tree: { "/s/t/x": "file" },
  },
  {
    captured: [12],
    name: "workspace_with_glob",
    why: "nothing differs",
    entries: WORKSPACE,
    globs: [ENV],
    matches: [matchOf(ENV, "/w/.env"), matchOf(ENV, "/w/sub/.env")],
    tree: { ...ALL_METADATA, "/w/.env": "file", "/w/sub/.env": "file" },
  },
  {
    captured: [13],
    name: "workspace_with_glob_of_depth_1",
    why: "nothing differs; the walk ends at depth 1",
    entries: WORKSPACE,
    globs: [ENV],
    matches: [matchOf(ENV, "/w/.env")],
    tree: { ...ALL_METADATA, "/w/.env": "file", "/w/sub/.env": "file" },
  },
  {
    captured: [14],
    name: "root_writable_without_network",
    why: "bubblewrap, not the filter alone: there is a network namespace",
    entries: [[":root", "write"]],
  },
  {
    captured: [15],
    name: "root_writable_with_network",
    why:
      "bubblewrap too: processes and IPC of the host stay out of reach; only `disabled` runs bare",
    entries: [[":root", "write"]],
    network: "host",
  },
  {
    captured: [16],
    name: "root_writable_with_glob",
    why: "/dev comes after the root, so /dev/null works",
    entries: [[":root", "write"]],
    globs: [ENV],
    matches: [matchOf(ENV, "/w/.env")],
    tree: { "/w/.env": "file" },
  },
  {
    captured: [17],
    name: "root_writable_with_denied_directory",
    why: "as 16",
    entries: [[":root", "write"], ["/s", "deny"]],
    tree: { "/s/a": "file" },
  },
  {
    captured: [18],
    name: "root_writable_with_read",
    why: "as 16",
    entries: [[":root", "write"], ["/d", "read"]],
    tree: { "/d/a": "file" },
  },
  {
    captured: [19],
    name: "missing_denied",
    why: "the occupying file has mode 444: it is there to be seen",
    entries: [...WORKSPACE, ["/w/no/such/file", "deny"]],
    tree: ALL_METADATA,
  },
  {
    captured: [20],
    name: "missing_read",
    why: "as 19",
    entries: [...WORKSPACE, ["/w/no/such/file", "read"]],
    tree: ALL_METADATA,
  },
  {
    captured: [21],
    name: "missing_writable_root",
    why: "skipped as well; inside a writable root it is refused by name",
    entries: [READ, ["/gone", "write"]],
  },
  {
    captured: [22],
    name: "writable_file",
    why: "[W] a file has no metadata: it is bound and nothing else",
    entries: [READ, ["/f", "write"]],
    tree: { "/f": "file" },
  },
  {
    captured: [23],
    name: "writable_shm",
    why: "nothing differs",
    entries: [READ, ["/dev/shm", "write"]],
  },
  {
    captured: [24],
    name: "write_read_write",
    why: "nothing differs",
    entries: [...WORKSPACE, ["/w/b", "read"], ["/w/b/c", "write"]],
    tree: { ...ALL_METADATA, "/w/b/c/x": "file" },
  },
  {
    captured: [25],
    name: "git_opened",
    why:
      "no bind of its own: nothing changes at a place that is writable already",
    entries: [...WORKSPACE, ["/w/.git", "write"]],
    tree: ALL_METADATA,
  },
  {
    captured: [26],
    name: "gitdir_file",
    why: "nothing differs; a commondir behind it would be followed too",
    entries: WORKSPACE,
    tree: {
      ...ALL_METADATA,
      "/w/.git/HEAD": "dir",
      "/w/.git": "file: gitdir: gd",
      "/w/gd/HEAD": "file",
    },
  },
  {
    captured: [27],
    name: "linked_workspace",
    why: "nothing differs",
    entries: [READ, ["/link", "write"]],
    cwd: "/link",
    tree: { "/link": "-> w", ...ALL_METADATA },
  },
  {
    captured: [28],
    name: "nothing_granted",
    why: "as 6",
    entries: [],
  },
  {
    captured: [29],
    name: "unconfined_with_proxy",
    why: "a private /dev",
    entries: [],
    enforcement: "external",
    network: "proxied",
  },
];

/** What was wanted of the captured plans and wasn't there, and the test that holds it. */
const WANTED: readonly (readonly [
  wanted: string,
  file: string,
  title: string,
])[] = [
  [
    "our own executable is in the view, by descriptor",
    "tests/sandbox/workspace_test.ts",
    "an empty view holds our executable where the inner stage needs it",
  ],
  [
    "a writable file has no metadata",
    "tests/linux/captured_test.ts",
    "a writable root that is a file has one bind and nothing below it",
  ],
  [
    "the empty root becomes read-only last",
    "tests/linux/captured_test.ts",
    "an empty root is closed by the last mount",
  ],
  [
    "a deny or write on /proc is refused",
    "tests/policy/refusals_test.ts",
    "/proc can't be hidden",
  ],
  [
    "a denied link in a read-only tree hides its target",
    "tests/policy/access_test.ts",
    "a denied link hides its target",
  ],
  [
    "a glob below the root is refused",
    "tests/policy/refusals_test.ts",
    "a glob below the root",
  ],
];

/** The filter has a table of its own, and is the same in all of them. */
function withoutFilter(text: string): string {
  return text.replace(/^filter\n(?: .*\n)*/m, "");
}

for (const shape of SHAPES) {
  const [number = 0] = shape.captured;
  const file = `captured_${String(number).padStart(2, "0")}_${shape.name}.txt`;
  test(`our plan for captured shape ${number} is ${file}: ${shape.why}`, () => {
    const path = `${GOLDEN}/${file}`;
    const text = withoutFilter(explainText(planOf(shape)));
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
    expect(existsSync(path)).toBe(true);
    expect(text).toBe(readFileSync(path, "utf8"));
  });
}

test("each of the 29 captured shapes has one golden plan, and no plan is left over", () => {
  expect(SHAPES.flatMap(({ captured }) => captured)).toEqual(
    Array.from({ length: 29 }, (_, index) => index + 1),
  );
  const files = readdirSync(GOLDEN).filter((name) =>
    name.startsWith("captured_")
  );
  expect(files).toHaveLength(SHAPES.length);
});

test("a writable root that is a file has one bind and nothing below it", () => {
  const shape = SHAPES.find(({ name }) => name === "writable_file");
  if (shape === undefined) throw new Error("no such shape");
  const places = planOf(shape).mounts.flatMap(({ op }) =>
    "path" in op && op.path.startsWith("/f") ? [op] : []
  );
  expect(places).toMatchObject([{ kind: "bind_seen", access: "writable" }]);
});

test("an empty root is closed by the last mount", () => {
  for (const shape of SHAPES) {
    const { mounts } = planOf(shape);
    const isEmpty = mounts[0]?.op.kind === "tmpfs";
    const last = mounts.at(-1)?.op;
    const closes = last?.kind === "remount_read_only" && last.path === "/";
    expect([shape.name, closes]).toEqual([shape.name, isEmpty]);
  }
});

describe("what was wanted beyond the captured plans is tested:", () => {
  for (const [wanted, file, title] of WANTED) {
    test(wanted, () => {
      const text = readFileSync(`${ROOT}/${file}`, "utf8");
      expect(title).not.toBe("");
      expect(text).toContain(title);
    });
  }
});
