/**
 * Runs the same policies, settings and commands through a reference release of Codex and through ours, and explains each difference.
 *
 * A difference that no rule of `compare_rules.ts` explains is a failure; `docs/differences.md` has a section for each rule.
 * The reference is installed from npm into a folder outside of this repository (`npm i @openai/codex@0.145.0`).
 * Limits: needs gcc for the probe; whatever it makes lies below /var/tmp and goes at the end.
 *
 * Usage: npm run compare -- --reference FILE [--codex FILE] [--runs N] [--seed N] [--all]
 *
 * @module
 */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { makeTree } from "../tests/policy/on_disk.ts";
import { probeBinary } from "../tests/sandbox/probe.ts";
import { outDir } from "./build_files.ts";
import {
  type Case,
  commandCases,
  policyCases,
  settingCases,
} from "./compare_cases.ts";
import { type Difference, explanationOf, RULES } from "./compare_rules.ts";
import { misused, scriptWords, wholeNumber } from "./script_words.ts";

const RUN_TIMEOUT_MS = 20_000;
const SAFE_PATH = "/usr/local/bin:/usr/bin:/bin";

/** As root the reference keeps every capability inside, and its masks hide nothing: an ordinary user's runs can be compared. */
const USER = 65_534;
const isRoot = process.getuid?.() === 0;
const AS_USER = isRoot
  ? ["setpriv", "--reuid", `${USER}`, "--regid", `${USER}`, "--clear-groups"]
  : [];

const OWNER = isRoot
  ? { uid: USER, gid: USER }
  : { uid: process.getuid!(), gid: process.getgid!() };

/** One of the two programs, with names for both of its faces. */
interface Side {
  readonly name: "reference" | "ours";
  readonly codex: string;
  readonly helper: string;
}

/** What came of a case on one side. */
interface Reply {
  readonly status: number | string;
  readonly lines: readonly string[];
  readonly stderr: string;
}

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    process.stderr.write(
      `compare: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exit(125);
  }
}

function main(): void {
  const { values, positionals } = scriptWords(import.meta.path, {
    reference: { type: "string" },
    codex: { type: "string", default: join(outDir, "codex") },
    runs: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    all: { type: "boolean", default: false },
  });
  const misusedBy = (why: string): never => misused(import.meta.path, why);
  const [surplus] = positionals;
  if (surplus !== undefined) misusedBy(`Unknown word "${surplus}"`);
  if (values.reference === undefined) {
    return misusedBy(
      "Cannot compare without --reference FILE: the codex executable of a release, as npm installs it",
    );
  }
  const reference = resolve(values.reference);
  const version = versionOf(reference);
  if (version === null) {
    return misusedBy(
      `Cannot compare with "${values.reference}": its --version is no release's; name the large file bin/codex below the package's vendor folder`,
    );
  }
  process.stdout.write(`the reference is ${version}\n`);
  const numberOf = (flag: string, word: string): number =>
    wholeNumber(import.meta.path, flag, word);
  const runs = numberOf("--runs", values.runs);
  const seed = numberOf("--seed", values.seed);
  const folder = mkdtempSync("/var/tmp/codex-compare-");
  chmodSync(folder, 0o755);
  try {
    const sides = (["reference", "ours"] as const).map((name) =>
      side(
        name,
        name === "ours" ? resolve(values.codex) : reference,
        folder,
      )
    );
    const place = { folder, base: join(folder, "base"), probe: "" };
    mkdirSync(join(folder, "bin"));
    place.probe = join(folder, "bin/probe");
    copyFileSync(probeBinary(), place.probe);
    chmodSync(place.probe, 0o755);
    const cases = [
      ...policyCases(place, runs, seed),
      ...settingCases(place),
      ...commandCases(place),
    ];
    const differences = cases.flatMap((one) => {
      const [reference, ours] = sides.map((it) => run(one, it, place));
      return differencesOf(one, reference!, ours!);
    });
    process.exitCode = report(cases.length, differences, values.all);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `codex-cli 0.169.0`, or `null` for what is no release. */
function versionOf(file: string): string | null {
  try {
    const done = Bun.spawnSync([file, "--version"], {
      env: { PATH: SAFE_PATH, HOME: "/nonexistent" },
      stdin: "ignore",
      timeout: RUN_TIMEOUT_MS,
    });
    return /^codex-cli \d+(?:\.\d+)+/.exec(done.stdout.toString())?.[0] ??
      null;
  } catch {
    return null;
  }
}

function side(name: Side["name"], codex: string, folder: string): Side {
  const own = join(folder, name);
  mkdirSync(own);
  const helper = join(own, "codex-linux-sandbox");
  symlinkSync(codex, helper);
  return { name, codex, helper };
}

function run(
  one: Case,
  { name, codex, helper }: Side,
  { folder, base }: { readonly folder: string; readonly base: string },
): Reply {
  makeTree(base, OWNER);
  const home = join(folder, `home-${name}`);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { mode: 0o700 });
  chownSync(home, OWNER.uid, OWNER.gid);
  if (one.config !== undefined) {
    writeFileSync(join(home, "config.toml"), one.config);
  }
  const done = Bun.spawnSync([
    ...AS_USER,
    one.face === "helper" ? helper : codex,
    ...one.words,
  ], {
    cwd: one.cwd,
    env: { PATH: SAFE_PATH, HOME: home, CODEX_HOME: home, LC_ALL: "C" },
    stdin: "ignore",
    timeout: RUN_TIMEOUT_MS,
  });
  return {
    status: done.signalCode ?? done.exitCode ?? "none",
    lines: done.stdout.toString("latin1").trimEnd().split("\n"),
    stderr: done.stderr.toString("latin1").trim(),
  };
}

function differencesOf(one: Case, reference: Reply, ours: Reply): Difference[] {
  const from = (question: string, a: unknown, b: unknown): Difference[] =>
    a === b ? [] : [{
      case: one,
      question,
      reference: String(a),
      ours: String(b),
      said: { reference: reference.stderr, ours: ours.stderr },
    }];
  const start = from("status", reference.status, ours.status);
  // Where one of them refused there are no answers to compare.
  if (start.length > 0 && one.questions.length > 0) return start;
  return [
    ...start,
    ...one.questions.flatMap((question, index) =>
      from(question, reference.lines[index] ?? "", ours.lines[index] ?? "")
    ),
  ];
}

/** @returns the status: 1 when a difference has no rule */
function report(
  cases: number,
  differences: readonly Difference[],
  all: boolean,
): number {
  const counts = new Map<string, number>(RULES.map(({ id }) => [id, 0]));
  let unexplained = 0;
  for (const difference of differences) {
    const rule = explanationOf(difference);
    if (rule === null) unexplained++;
    else counts.set(rule.id, (counts.get(rule.id) ?? 0) + 1);
    if (rule === null || all) print(difference, rule?.id ?? "NO RULE");
  }
  process.stdout.write(
    `${cases} cases, ${differences.length} differences, ${unexplained} without a rule\n`,
  );
  for (const { id, why } of RULES) {
    process.stdout.write(
      `${String(counts.get(id)).padStart(6)}  ${id}: ${why}\n`,
    );
  }
  return unexplained > 0 ? 1 : 0;
}

function print(difference: Difference, verdict: string): void {
  const { case: one, question, reference, ours, said } = difference;
  process.stdout.write(
    `${verdict}\n  case      ${one.id}\n  question  ${question}\n  reference ${reference}  ${
      said.reference.slice(0, 200)
    }\n  ours      ${ours}  ${said.ours.slice(0, 200)}\n`,
  );
}
