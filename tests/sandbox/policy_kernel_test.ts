/**
 * The engine against the kernel: random policies, globs among them, each enforced on a real tree, every answer compared errno by errno.
 *
 * One sandbox asks about all paths, so that a policy costs one run. `POLICY_RUNS` says how many policies are enforced for each of
 * root and an ordinary user (default 260, so that there are more than 500).
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { NO_OWN_PATHS, type PathFacts } from "../../src/policy/facts.ts";
import { gatherFacts } from "../../src/host/gather.ts";
import { access, type Verdict } from "../../src/policy/access.ts";
import { layoutOf, leadsToVisible, mountOf } from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import type { Policy } from "../../src/policy/policy.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import { type GeneratedLine, linesBelow } from "../policy/generate.ts";
import {
  GLOBS,
  makeTree,
  pathsOf,
  profileJson,
  type Question,
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

const RUNS = Number(process.env["POLICY_RUNS"] ?? 260);
const TIMEOUT_MS = 600_000;

const RENAMES: Renames = [
  ["w/f", "w/a/new"],
  ["w/f", "w/new"],
  ["w/a", "w/new"],
  ["w/a/b", "w/new"],
  ["w/a/b/h", "w/a/new"],
  ["w/e", "x/new"],
  ["x/l", "x/new"],
  ["w/.git", "w/new"],
  ["w/f", "w/.codex"],
];

interface Generated {
  readonly lines: readonly GeneratedLine[];
  readonly globs: readonly string[];
}

/** One actor's place: a tree to be enforced on, and the probe beside it. */
interface Place extends Subject {
  readonly base: string;
  readonly helper: string;
  readonly tool: string;
  readonly questions: readonly Question[];
}

function placeOf(subject: Subject): Place {
  const { dir, codex, probe } = subject;
  const base = `${dir}/base`;
  const helper = `${dir}/codex-linux-sandbox`;
  const tool = `${dir}/bin/probe`;
  symlinkSync(codex, helper);
  mkdirSync(`${dir}/bin`);
  writeFileSync(tool, readFileSync(probe));
  chmodSync(tool, 0o755);
  return {
    ...subject,
    base,
    helper,
    tool,
    questions: questionsBelow(base, RENAMES),
  };
}

function factsOn(policy: Policy, { questions, uid }: Place): PathFacts {
  const asked = pathsOf(questions);
  const facts = gatherFacts({ policy, own: NO_OWN_PATHS, asked, euid: uid });
  if (!facts.ok) throw new Error(JSON.stringify(facts.error));
  return facts.value;
}

async function askKernel(
  generated: Generated,
  { questions, helper, tool, dir, outside }: Place,
): Promise<readonly string[]> {
  const words = questions.flatMap(wordsOf);
  const { end, stdout, stderr } = await outside([
    ...[helper, "--sandbox-policy-cwd", dir],
    ...["--permission-profile", profileJson(generated.lines, generated.globs)],
    ...["--", tool, "path-ops", ...words],
  ], { cwd: dir });
  if (end !== 0) throw new Error(`${stderr}: ${JSON.stringify(generated)}`);
  return stdout.trim().split("\n");
}

function isWay(policy: Policy, facts: PathFacts, path: string): boolean {
  const layout = layoutOf(policy, facts);
  const { state, path: covering } = mountOf(layout, abs(path));
  return state === "masked" && covering !== path &&
    leadsToVisible(layout, abs(path));
}

/** Where two refusals stand side by side the kernel may name the other one. */
function agrees(verdict: Verdict, answer: string): boolean {
  if (verdict.allowed || answer === "ok") {
    return verdict.allowed && answer === "ok";
  }
  const pair = new Set([verdict.errno as string, answer]);
  return pair.size === 1 ||
    [["EACCES", "EROFS"], ["ENOENT", "EROFS"], ["ENOENT", "EACCES"], [
      "EBUSY",
      "ENOTDIR",
    ], ["EBUSY", "EISDIR"]].some((
      both,
    ) => both.every((it) => pair.has(it)));
}

function policies(base: string): Iterable<Generated> {
  const globs = fc.uniqueArray(fc.constantFrom(...GLOBS), { maxLength: 2 });
  const generated = fc.tuple(linesBelow(base), globs).map(([lines, some]) => ({
    lines,
    globs: some.map((glob) => `${base}/${glob}`),
  }));
  // Some are refused before any sandbox: a third more than are wanted is enough.
  return fc.sample(generated, { numRuns: Math.ceil(RUNS * 1.5), seed: 6 });
}

afterAll(leaveClean);

describe("a real sandbox agrees with the engine", () => {
  for (const actor of ACTORS) {
    test(`on ${RUNS} policies of ${actor}`, async () => {
      const place = placeOf(setup({ ...PLAIN, actor }));
      const { base, dir, questions } = place;
      const reopened: GeneratedLine = [`${dir}/bin`, "read"];
      let enforced = 0;
      for (const { lines: some, globs } of policies(base)) {
        if (enforced === RUNS) break;
        const lines = [...some, reopened];
        makeTree(base, ownerOf(place));
        const policy = { ...policyOf(lines, { globs }), cwd: abs(dir) };
        const facts = factsOn(policy, place);
        if (policyErrors(policy, facts).length > 0) continue;
        const answers = await askKernel({ lines, globs }, place);
        const wrong = questions.flatMap(([path, operation], index) => {
          const verdict = access(policy, facts, abs(path), operation);
          const answer = answers[index] ?? "nothing";
          // An empty directory on the way to something granted can be listed: it shows names that the policy itself spells.
          if (operation.kind === "read" && isWay(policy, facts, path)) {
            return [];
          }
          if (agrees(verdict, answer)) return [];
          const to = "to" in operation ? ` to ${operation.to}` : "";
          return [
            `${operation.kind} ${path}${to}: engine ${
              verdict.errno ?? "ok"
            }, kernel ${answer}`,
          ];
        });
        expect({ lines, globs, wrong }).toEqual({ lines, globs, wrong: [] });
        enforced++;
      }
      expect(enforced).toBe(RUNS);
    }, TIMEOUT_MS);
  }
});
