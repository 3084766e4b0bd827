/**
 * Removing any one rule must make a test fail: each mutant of the sources is put through the tables of access and refusals.
 */
import { expect, test } from "bun:test";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";

const ROOT = dirname(dirname(import.meta.dir));
const COPIED = [
  "src/result.ts",
  "src/bytes.ts",
  "src/nearest.ts",
  "src/policy",
  "tests/policy/world.ts",
  "tests/policy/access_test.ts",
  "tests/policy/refusals_test.ts",
];

const MUTANTS = [ // the rule that is lost, file, text, what stands there instead
  [
    "a glob beats every entry",
    "rules.ts",
    "if (glob !== null) return",
    "if (false) return",
  ],
  [
    "our state is hidden",
    "rules.ts",
    "if (hidden !== null) return",
    "if (false) return",
  ],
  [
    "no entry is a deny",
    "rules.ts",
    `state: "masked", decider: { kind: "no_entry"`,
    `state: "read_only", decider: { kind: "no_entry"`,
  ],
  [
    "deny hides",
    "rules.ts",
    `if (access === "deny") return { state: "masked"`,
    `if (access === "deny") return { state: "read_only"`,
  ],
  [
    "read does not write",
    "rules.ts",
    `if (access === "read") return { state: "read_only"`,
    `if (access === "read") return { state: "writable"`,
  ],
  ["deny beats write and private", "rules.ts", "deny: 3", "deny: 0.5"],
  [
    "write beats read",
    "rules.ts",
    "{ read: 0, write: 1",
    "{ read: 1, write: 0",
  ],
  ["private beats write", "rules.ts", "private: 2", "private: 0.5"],
  [
    "our own files are read-only",
    "rules.ts",
    "if (own !== null) return",
    "if (false) return",
  ],
  [
    "metadata caps a write from above",
    "rules.ts",
    "depthOf(cap.path) > depthOf(decider.path)",
    "false",
  ],
  [
    "an entry at the name lifts the cap",
    "rules.ts",
    "depthOf(cap.path) > depthOf(decider.path)",
    "true",
  ],
  [
    "full write protects no metadata",
    "rules.ts",
    "if (!fullWrite) {",
    "if (true) {",
  ],
  [
    "a narrowed root is not full write",
    "rules.ts",
    "placed.every((rule) => written.has(rule.place.path))",
    "true",
  ],
  [
    "the path / is not full write",
    "rules.ts",
    `decider.grant.symbol === ":root"`,
    `decider.path === ROOT`,
  ],
  [":minimal closes nothing", "rules.ts", "if (!denied) return;", ""],
  [
    "git's directory is protected",
    "git_pointers.ts",
    "targets.push([dotGit, target]);",
    "",
  ],
  [
    "the common directory too",
    "git_pointers.ts",
    "targets.push([pointer, target]);",
    "",
  ],
  [
    "a repository inside is protected",
    "rules.ts",
    "addNested(facts, rules);",
    "",
  ],
  [
    "a directory that nobody could look into stays shut",
    "rules.ts",
    `rules.caps.set(path, { kind: "shut_directory", path });`,
    "",
  ],
  [
    "what lies above it may be moved",
    "layout.ts",
    `if (decider.kind === "shut_directory" && !literal) return [];`,
    "",
  ],
  [
    "a repository inside may be moved",
    "layout.ts",
    `if (decider.kind === "nested_repository" && !literal) return [];`,
    "",
  ],
  [
    "a link in a git directory is followed",
    "git_pointers.ts",
    `targets.push([link, link]);`,
    "",
  ],
  [
    "a pointer's text ends at a NUL",
    "git_pointers.ts",
    "nul === -1 ? text : text.slice(0, nul)",
    "text",
  ],
  [
    "git cuts no blanks off",
    "git_pointers.ts",
    "trimEnd(upToNul(exact), LINE_ENDS)",
    "trim(upToNul(exact), BLANKS)",
  ],
  [
    "skipped where missing",
    "rules.ts",
    `if (grant.skipIfMissing === true && place.node === "missing") continue;`,
    "",
  ],
  [
    "what is missing is occupied",
    "layout.ts",
    "drafts.set(at, {",
    "drafts.has(at) || ({",
  ],
  [
    "directories above a mask are pinned",
    "layout.ts",
    "addPins(rules, facts, drafts);",
    "",
  ],
  [
    "a ** finds again what moved",
    "layout.ts",
    "const { prefix, fixed } = known;",
    "const { prefix } = known; const fixed = () => true;",
  ],
  [
    "a mask is not crossed",
    "access.ts",
    "if (point.path !== ROOT && !point.traversable)",
    "if (false)",
  ],
  [
    "a name that exists can't be made",
    "access.ts",
    `if (isPresent(view, node, own)) return refuse(view, node, "EEXIST", own);`,
    "",
  ],
  [
    "a mount point can't be removed",
    "access.ts",
    `if (own.path === node.path) return refuse(view, node, "EBUSY", own);\n  return allow(view, node, own);`,
    "return allow(view, node, own);",
  ],
  [
    "mounts are not crossed by rename",
    "access.ts",
    "if (source.path !== target.path || crossesDevices(view, from, to)) {\n    return acrossMounts(view, from, to);\n  }\n  if (isUnchangeable(source))",
    "if (isUnchangeable(source))",
  ],
  [
    "links that the view lacks hide",
    "access.ts",
    "if (hidden !== null) return hidden;",
    "",
  ],
  [
    "a link of the command's is refused",
    "refusals.ts",
    `if (around.state !== "writable") continue;`,
    "continue;",
  ],
  [
    "a missing root in a root is refused",
    "refusals.ts",
    `if (around.state !== "writable") return null;\n  const message = \`Cannot grant`,
    "return null;\n  const message = `Cannot grant",
  ],
  [
    "a glob below the root is refused",
    "refusals.ts",
    "if (place.path === ROOT) {",
    "if (false) {",
  ],
  [
    "our own files can't be granted",
    "refusals.ts",
    `if (own?.kind !== "own") return null;`,
    "return null;",
  ],
] as const;

test("every mutant fails a table", async () => {
  const folder = mkdtempSync(`${tmpdir()}/mutants-`);
  try {
    const survivors: string[] = [];
    expect(await passes(prepare(`${folder}/original`, null))).toBe(true);
    const queue = [...MUTANTS];
    const work = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        const [rule] = next;
        const tree = prepare(`${folder}/${queue.length}`, next);
        if (await passes(tree)) survivors.push(rule);
      }
    };
    await Promise.all([work(), work()]);
    expect(survivors).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);

function prepare(
  tree: string,
  mutant: readonly [string, string, string, string] | null,
): string {
  for (const path of COPIED) {
    mkdirSync(dirname(`${tree}/${path}`), { recursive: true });
    cpSync(`${ROOT}/${path}`, `${tree}/${path}`, { recursive: true });
  }
  if (mutant === null) return tree;
  const [rule, file, text, instead] = mutant;
  const path = `${tree}/src/policy/${file}`;
  const source = readFileSync(path, "utf8");
  if (!source.includes(text)) throw new Error(`no place to remove: ${rule}`);
  writeFileSync(path, source.replace(text, () => instead));
  return tree;
}

async function passes(tree: string): Promise<boolean> {
  const run = Bun.spawn([process.execPath, "test", "tests/policy"], {
    cwd: tree,
    stdout: "ignore",
    stderr: "ignore",
  });
  return await run.exited === 0;
}
