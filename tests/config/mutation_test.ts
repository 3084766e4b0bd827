/**
 * Removing any one rule of precedence between layers must make a test fail: each mutant goes through the tests of this folder.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";

const ROOT = dirname(dirname(import.meta.dir));
const TABLES = ["facts_test.ts", "layers_test.ts", "project_test.ts"];
const TIMEOUT_MS = 60_000;

const MUTANTS = [ // the rule that is lost, file, text, what stands there instead
  [
    "managed config stands over the command line",
    "load.ts",
    "[session.value, managed.value].filter",
    "[managed.value, session.value].filter",
  ],
  [
    "projects stand over the user",
    "load.ts",
    "[...below.value, ...projects.value.layers, ...top]",
    "[...projects.value.layers, ...below.value, ...top]",
  ],
  [
    "the command line stands over projects",
    "load.ts",
    "[...below.value, ...projects.value.layers, ...top]",
    "[...below.value, ...top, ...projects.value.layers]",
  ],
  [
    "only trusted projects count",
    "load_projects.ts",
    "if (!isTrusted(trust, directory, root, host)) continue;",
    "",
  ],
  [
    "the higher layer wins",
    "values.ts",
    "      : above;",
    "      : below ?? above;",
  ],
  [
    "a project gives no full access",
    "project.ts",
    'if (after.policy.enforcement === "disabled") {',
    "if (false) {",
  ],
  [
    "sandbox_mode of a file alone counts nothing",
    "selection.ts",
    "const counts = isActive ||",
    "const counts = true ||",
  ],
] as const;

test("every mutant fails a test", async () => {
  const folder = mkdtempSync(`${tmpdir()}/mutants-`);
  try {
    const survivors: string[] = [];
    expect(await passes(prepare(`${folder}/original`, null))).toBe(true);
    for (const mutant of MUTANTS) {
      const tree = prepare(`${folder}/${MUTANTS.indexOf(mutant)}`, mutant);
      if (await passes(tree)) survivors.push(mutant[0]);
    }
    expect(survivors).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, TIMEOUT_MS);

function prepare(
  tree: string,
  mutant: readonly [string, string, string, string] | null,
): string {
  for (const path of ["src", "tests/config", "tests/sandbox"]) {
    cpSync(`${ROOT}/${path}`, `${tree}/${path}`, { recursive: true });
  }
  symlinkSync(`${ROOT}/node_modules`, `${tree}/node_modules`);
  if (mutant === null) return tree;
  const [rule, file, text, instead] = mutant;
  const path = `${tree}/src/config/${file}`;
  const source = readFileSync(path, "utf8");
  if (!source.includes(text)) throw new Error(`no place to remove: ${rule}`);
  writeFileSync(path, source.replace(text, () => instead));
  return tree;
}

async function passes(tree: string): Promise<boolean> {
  const files = TABLES.map((name) => `./tests/config/${name}`);
  const run = Bun.spawn([process.execPath, "test", ...files], {
    cwd: tree,
    stdio: ["ignore", "ignore", "ignore"],
  });
  return await run.exited === 0;
}
