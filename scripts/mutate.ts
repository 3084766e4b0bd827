/**
 * Takes each protective step of `tests/mutations/defences.ts` out, one at a time, and asks whether a test notices.
 *
 * Each step is taken out of a copy of the sources in a folder of its own; for a live test the copy is built. Then the named tests
 * run, and at least one must fail. A text that stands in its file not exactly once is a failure too: the list is stale.
 *
 * Usage: npm run mutate -- [--list] [--pure | --live] [--markdown] [--jobs N] [--minutes N] [WORD...]   only steps that contain every WORD
 *
 * With `--minutes` no step is begun after so long, and the commit decides which is the first: on a slow machine each step gets its turn
 * with some commit.
 *
 * Limits: the live tests' own: root shows most. Nothing is proved about tests that fail anyway; run the tests first.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type Defence, patchesOf } from "../tests/mutations/defence.ts";
import { DEFENCES } from "../tests/mutations/defences.ts";
import { removeUnheld } from "../tests/sandbox/our_processes.ts";
import { outDir, repositoryRoot } from "./build_files.ts";
import { misused, scriptWords, wholeNumber } from "./script_words.ts";

/** What of the tree is no source. */
const LEFT_OUT = [".git", "build", "node_modules"];

/** What no source of ours changes: spared to every build. */
const BUILT = ["bwrap", "bwrap.json", "runtime", "runtime.json"] as const;

/** As many as the machine has, and two are enough. */
const JOBS = 2;

const TEST_TIMEOUT_MS = 120_000;

/** Pure tests are short; one that waits for ever has noticed. */
const PURE_TIMEOUT_MS = 10_000;

/** For a whole file of them: one that waits without an event loop ends by our hand only. */
const PURE_FILE_TIMEOUT_MS = 60_000;

/** No status of a process. */
const STUCK = -1;

/** What a killed run may leave behind as an empty folder, in places that are everybody's. */
const PLACEHOLDERS = ["/tmp", "/"].flatMap((folder) =>
  [".git", ".agents", ".codex"].map((name) => join(folder, name))
);

/** What came of one step's absence. */
interface Verdict {
  readonly defence: Defence;
  /** The first failed test, or `null`. */
  readonly noticedBy: string | null;
  /** Why it could not be asked. */
  readonly broken: string | null;
  readonly seconds: number;
}

/** The folder of a copy that its tests take for the temporary one, but for those of `tests/sandbox/`, which have places of their own. */
const TEMPORARY = "temporary";

if (import.meta.main) await main();

async function main(): Promise<void> {
  const { values, positionals } = scriptWords(import.meta.path, {
    list: { type: "boolean", default: false },
    pure: { type: "boolean", default: false },
    live: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
    jobs: { type: "string", default: String(JOBS) },
    minutes: { type: "string" },
  });
  const jobs = wholeNumber(import.meta.path, "--jobs", values.jobs);
  const minutes = values.minutes === undefined
    ? Infinity
    : wholeNumber(import.meta.path, "--minutes", values.minutes);
  if (values.pure && values.live) {
    misused(
      import.meta.path,
      "Cannot use --pure beside --live: no step is both",
    );
  }
  const chosen = DEFENCES.filter(({ kind, step, file }) =>
    !(values.pure && kind === "live") &&
    !(values.live && kind === "pure") &&
    positionals.every((name) => `${step} ${file}`.includes(name))
  );
  if (chosen.length === 0) {
    const words = positionals.map((word) => `"${word}"`).join(" and ");
    misused(import.meta.path, `No step has ${words}: --list names them all`);
  }
  if (values.list) {
    for (const one of chosen) say(`${one.kind}  ${one.file}  ${one.step}`);
    return;
  }
  const started = Date.now();
  const verdicts = await judgeAll(chosen, {
    jobs,
    endsAt: started + minutes * 60_000,
    first: minutes === Infinity ? 0 : commitNumber() % chosen.length,
  });
  if (values.markdown) {
    say("| taken out | where | noticed by |");
    say("| --------- | ----- | ---------- |");
  }
  for (const one of verdicts) {
    say(values.markdown ? rowOf(one) : lineOf(one));
  }
  const missed = verdicts.filter(({ noticedBy }) => noticedBy === null);
  say(
    `${verdicts.length} steps taken out, ${
      verdicts.length - missed.length
    } noticed, ${missed.length} not (${
      Math.round((Date.now() - started) / 1000)
    } s)`,
  );
  if (verdicts.length < chosen.length) {
    say(
      `${
        chosen.length - verdicts.length
      } steps not asked about: ${minutes} minutes were over`,
    );
  }
  process.exitCode = missed.length === 0 && verdicts.length > 0 ? 0 : 1;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function lineOf({ defence, noticedBy, broken, seconds }: Verdict): string {
  const verdict = noticedBy !== null
    ? `noticed    | ${noticedBy}`
    : broken !== null
    ? `BROKEN     | ${broken}`
    : "NOT NOTICED |";
  return `${verdict} | ${defence.step} | ${defence.file} | ${
    seconds.toFixed(1)
  } s`;
}

/** A row of the table in docs/testing.md. */
function rowOf({ defence, noticedBy }: Verdict): string {
  const title = (noticedBy ?? "nothing").replace(/ \[[^\]]*\]$/, "")
    .replaceAll("|", "\\|");
  return `| ${defence.step} | \`${defence.file}\` | ${title} |`;
}

/** Another one for each commit. @throws {Error} where there is none */
function commitNumber(): number {
  const { status, stdout } = spawnSync("git", ["rev-parse", "HEAD"], {
    cwd: repositoryRoot,
    encoding: "utf8",
  });
  if (status !== 0) {
    throw new Error(`Cannot use --minutes: ${repositoryRoot} has no commit`);
  }
  return Number.parseInt(stdout.slice(0, 8), 16);
}

/** In the order of the list, begun at the `first`; several at once, each in a folder of its own. Without those that time did not allow. */
async function judgeAll(
  defences: readonly Defence[],
  { jobs, endsAt, first }: {
    readonly jobs: number;
    /** Milliseconds since 1970: no step is begun after it. */
    readonly endsAt: number;
    readonly first: number;
  },
): Promise<Verdict[]> {
  const top = mkdtempSync("/var/tmp/codex-mutate-");
  const verdicts: (Verdict | undefined)[] = [];
  const strangers = PLACEHOLDERS.filter((path) => existsSync(path));
  const entries = [...defences.entries()];
  const queue = [...entries.slice(first), ...entries.slice(0, first)];
  const worker = async (slot: number): Promise<void> => {
    const tree = join(top, String(slot));
    copyTree(tree);
    while (Date.now() < endsAt) {
      const next = queue.shift();
      if (next === undefined) return;
      const [index, defence] = next;
      try {
        const verdict = await judge(defence, tree);
        // Some are a matter of who comes first, and a machine may have no memory left for a moment: what nobody noticed is asked
        // once more.
        const last = verdict.noticedBy === null
          ? await judge(defence, tree)
          : verdict;
        verdicts[index] = last;
        process.stderr.write(`${lineOf(last)}\n`);
      } finally {
        clearPlaceholders(strangers);
      }
    }
  };
  // A live test ends what it started in its own end; a signal to us must not leave the copies.
  const clean = (): void => {
    rmSync(top, { recursive: true, force: true });
    clearPlaceholders(strangers);
  };
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    process.once(signal, () => {
      clean();
      process.exit(status);
    });
  }
  try {
    const slots = Math.min(jobs, defences.length);
    await Promise.all(Array.from({ length: slots }, (_, slot) => worker(slot)));
  } finally {
    clean();
  }
  return verdicts.filter((verdict) => verdict !== undefined);
}

/** What killed runs of a broken build leave in places that are everybody's. Held or filled ones stay, and those that were there before. */
function clearPlaceholders(strangers: readonly string[]): void {
  for (const path of PLACEHOLDERS) {
    if (strangers.includes(path) || !existsSync(path)) continue;
    removeUnheld(path);
  }
}

/** Readable to the other user of the live tests. */
function copyTree(tree: string): void {
  mkdirSync(join(tree, "build"), { recursive: true, mode: 0o755 });
  mkdirSync(join(tree, TEMPORARY));
  spawnSync("chmod", ["755", join(tree, ".."), tree]);
  for (const name of readdirSync(repositoryRoot)) {
    if (LEFT_OUT.includes(name)) continue;
    cpSync(join(repositoryRoot, name), join(tree, name), { recursive: true });
  }
  symlinkSync(
    join(repositoryRoot, "node_modules"),
    join(tree, "node_modules"),
  );
  // The source of bubblewrap, for a step that is an edit of it.
  const sources = readdirSync(outDir).filter((name) =>
    /\.tar\.\w+$/.test(name)
  );
  for (const name of [...BUILT, ...sources]) {
    const from = join(outDir, name);
    try {
      linkSync(from, join(tree, "build", name));
    } catch {
      cpSync(from, join(tree, "build", name)); // another file system
    }
  }
}

async function judge(defence: Defence, tree: string): Promise<Verdict> {
  const started = Date.now();
  const end = (noticedBy: string | null, broken: string | null): Verdict => ({
    defence,
    noticedBy,
    broken,
    seconds: (Date.now() - started) / 1000,
  });
  const sources = new Map<string, string>();
  const mutants = new Map<string, string>();
  for (const { file, text, instead } of patchesOf(defence)) {
    const path = join(tree, file);
    const mutant = mutants.get(path) ?? readFileSync(path, "utf8");
    if (!sources.has(path)) sources.set(path, mutant);
    const count = mutant.split(text).length - 1;
    if (count !== 1) return end(null, `its text is there ${count} times`);
    mutants.set(path, mutant.replace(text, () => instead));
  }
  for (const [path, mutant] of mutants) writeFileSync(path, mutant);
  try {
    const failed = await firstFailure(defence, tree);
    return typeof failed === "string" ? end(failed, null) : end(
      null,
      failed?.broken ?? null,
    );
  } finally {
    for (const [path, source] of sources) writeFileSync(path, source);
  }
}

async function firstFailure(
  { kind, noticedBy, columns }: Defence,
  tree: string,
): Promise<string | { readonly broken: string } | null> {
  if (kind === "live") {
    const built = await run([bun(), "scripts/build.ts", "--quiet"], tree, {});
    if (built.status !== 0) {
      return { broken: `the build fails: ${built.text.trim().slice(-200)}` };
    }
  }
  for (const [file, titles] of noticedBy) {
    if (!existsSync(join(tree, "tests", file))) {
      return { broken: `tests/${file} is not there` };
    }
    const isEscape = file.endsWith("escape_test.ts");
    const { text, status } = await run(
      [
        ...[bun(), "test", "--bail"],
        `--timeout=${kind === "pure" ? PURE_TIMEOUT_MS : TEST_TIMEOUT_MS}`,
        ...(titles === undefined || isEscape ? [] : ["-t", titles]),
        `tests/${file}`,
      ],
      tree,
      {
        CODEX_BIN: join(tree, "build/codex"),
        CODEX_BUILD_DIR: join(tree, "build"),
        CODEX_TEST_COLUMNS: columns ?? "root bundled",
        // A test that stops at its first failure does not come to removing its folders; these go with the copy.
        ...(file.startsWith("sandbox/")
          ? {}
          : { TMPDIR: join(tree, TEMPORARY) }),
        ...(isEscape && titles !== undefined
          ? { CODEX_TEST_ESCAPES: titles }
          : {}),
      },
      kind === "pure" ? PURE_FILE_TIMEOUT_MS : 4 * TEST_TIMEOUT_MS,
    );
    if (status === STUCK) return `tests/${file} never ends`;
    const failed = /^\(fail\) (.*?)(?: \[[\d.]+m?s\])?$/m.exec(text)?.[1];
    if (failed !== undefined) return failed;
    if (status !== 0 && !/^ *0 fail/m.test(text)) {
      return { broken: `tests/${file}: ${text.trim().slice(-200)}` };
    }
  }
  return null;
}

/** A test that fails with `--bail` leaves its folders (`tests/sandbox/harness.ts`). One with a mount below it is left alone. */
function removeFoldersOf(pid: number): void {
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  for (const place of ["/var/tmp", "/opt"]) {
    for (const name of existsSync(place) ? readdirSync(place) : []) {
      const folder = join(place, name);
      if (!name.startsWith(`codex-live-${pid}-`)) continue;
      if (mounts.includes(folder)) continue;
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

function bun(): string {
  return process.execPath;
}

function run(
  [program = "", ...words]: readonly string[],
  cwd: string,
  environment: Readonly<Record<string, string>>,
  timeoutMs = 4 * TEST_TIMEOUT_MS,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, words, {
      cwd,
      env: {
        ...process.env,
        CODEX_BUILD_DIR: join(cwd, "build"),
        ...environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
    let isStuck = false;
    const clock = setTimeout(() => {
      isStuck = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.on("close", (status) => {
      clearTimeout(clock);
      removeFoldersOf(child.pid ?? 0);
      resolve({
        status: isStuck ? STUCK : status ?? 125,
        text: Buffer.concat(chunks).toString(),
      });
    });
  });
}
