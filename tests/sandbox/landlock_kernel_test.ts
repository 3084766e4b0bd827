/**
 * The second rung against the engine: random policies, each either kept by Landlock alone, answer for answer, or refused by name.
 *
 * Whether an answer is yes or no is compared; the errno of a refusal differs, for there are no mounts. `LANDLOCK_RUNS` says how many
 * policies are tried for each of root and an ordinary user (default 120).
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { NO_OWN_PATHS } from "../../src/policy/facts.ts";
import { gatherFacts } from "../../src/host/gather.ts";
import { landlockOfKernel } from "../../src/run/landlock.ts";
import { landlockPromises } from "../../src/linux/promises.ts";
import { access } from "../../src/policy/access.ts";
import { layoutOf, leadsToVisible, mountOf } from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access } from "../../src/policy/policy.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import {
  EXISTING,
  type GeneratedLine,
  pathsBelow,
} from "../policy/generate.ts";
import {
  makeTree,
  pathsOf,
  profileJson,
  questionsBelow,
  type Renames,
  wordsOf,
} from "../policy/on_disk.ts";
import { policyOf } from "../policy/world.ts";
import {
  ACTORS,
  leaveClean,
  ownerOf,
  PLAIN,
  setup,
  type Subject,
} from "./harness.ts";

const RUNS = Number(process.env["LANDLOCK_RUNS"] ?? 120);
const TIMEOUT_MS = 300_000;

afterAll(leaveClean);

/** Mostly what Landlock can keep: reading here and there, single files to write, now and then a denial or a writable folder. */
function policies(base: string): Iterable<readonly GeneratedLine[]> {
  const paths = pathsBelow(base);
  const files = EXISTING.filter((it) => !it.endsWith("/"))
    .map((it) => abs(`${base}/${it}`));
  const read = fc.tuple(fc.constantFrom(...paths), fc.constant<Access>("read"));
  const write = fc.tuple(
    fc.constantFrom(...files),
    fc.constant<Access>("write"),
  );
  const other = fc.tuple(
    fc.constantFrom(...paths),
    fc.constantFrom<Access>("deny", "write"),
  );
  const line = fc.oneof(
    { arbitrary: read, weight: 6 },
    { arbitrary: write, weight: 4 },
    { arbitrary: other, weight: 1 },
  );
  const root = fc.option(fc.constant<GeneratedLine>([":root", "read"]));
  const lines = fc.uniqueArray(line, { maxLength: 6, selector: ([it]) => it });
  return fc.sample(
    fc.tuple(root, lines).map(([whole, some]) => [
      ...(whole === null ? [] : [whole]),
      ...some,
    ]),
    { numRuns: RUNS, seed: 11 },
  );
}

const RENAMES: Renames = [["w/f", "w/new"], ["w/a/g", "w/f"], ["x/k", "x/new"]];

async function tryPolicy(
  subject: Subject,
  some: readonly GeneratedLine[],
): Promise<"kept" | "refused" | "impossible"> {
  const { dir, codexRun, probe, uid } = subject;
  const base = `${dir}/base`;
  const tool = `${dir}/bin/probe`;
  if (!(await Bun.file(tool).exists())) {
    mkdirSync(`${dir}/bin`);
    writeFileSync(tool, readFileSync(probe));
    chmodSync(tool, 0o755);
  }
  makeTree(base, ownerOf(subject));
  const lines: readonly GeneratedLine[] = [...some, [`${dir}/bin`, "read"]];
  const policy = { ...policyOf(lines), cwd: abs(dir) };
  const questions = questionsBelow(base, RENAMES);
  const asked = pathsOf(questions);
  const gathered = gatherFacts({
    policy,
    own: NO_OWN_PATHS,
    asked,
    euid: uid,
  });
  if (!gathered.ok) throw new Error(JSON.stringify(gathered.error));
  const facts = gathered.value;
  if (policyErrors(policy, facts).length > 0) return "impossible";
  const layout = layoutOf(policy, facts);
  const lacking = landlockPromises(policy, layout, landlockOfKernel())
    .filter(({ name, kept }) => !kept && !["pid", "ipc", "proc"].includes(name))
    .map(({ name }) => name);
  const words = questions.flatMap(wordsOf);
  const state = `{"permissionProfile":${
    profileJson(lines)
  },"sandboxCwd":"file://${dir}"}`;
  const { end, stdout, stderr } = await codexRun([
    ...["sandbox", "--backend", "landlock"],
    ...["--sandbox-state-json", state],
    ...["--", tool, "path-ops", ...words],
  ]);
  if (lacking.length > 0) {
    expect({ lines, end, stdout }).toEqual({ lines, end: 125, stdout: "" });
    for (const name of lacking) expect(stderr).toContain(`"${name}" (`);
    return "refused";
  }
  expect({ lines, end }).toEqual({ lines, end: 0 });
  expect(stderr).toMatch(/^(codex: warning: [^\n]+\n)+$/);
  const answers = stdout.trim().split("\n");
  const wrong = questions.flatMap(([path, operation], index) => {
    const verdict = access(policy, facts, abs(path), operation);
    const answer = answers[index] ?? "nothing";
    const covering = mountOf(layout, abs(path));
    // bubblewrap shows an empty folder on the way to something granted; here the folder is the host's, and closed.
    const isWay = operation.kind === "read" && covering.state === "masked" &&
      covering.path !== path && leadsToVisible(layout, abs(path));
    if (isWay || verdict.allowed === (answer === "ok")) return [];
    return [`${operation.kind} ${path}: engine ${verdict.errno}, ${answer}`];
  });
  expect({ lines, wrong }).toEqual({ lines, wrong: [] });
  return "kept";
}

describe("Landlock alone keeps a policy as the engine says, or refuses it by name", () => {
  for (const actor of ACTORS) {
    test(`on ${RUNS} policies of ${actor}`, async () => {
      const subject = setup({ ...PLAIN, actor });
      const tally = { kept: 0, refused: 0, impossible: 0 };
      for (const lines of policies(`${subject.dir}/base`)) {
        tally[await tryPolicy(subject, lines)]++;
      }
      // Both ways out are really taken.
      expect(tally.kept).toBeGreaterThan(RUNS / 4);
      expect(tally.refused).toBeGreaterThan(RUNS / 20);
    }, TIMEOUT_MS);
  }
});
