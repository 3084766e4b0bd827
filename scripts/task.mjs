/**
 * The tasks of package.json and deno.json: each sets up and builds what it needs, then does its work.
 *
 * Plain Node without dependencies. Progress goes to stderr; stdout belongs to what is run.
 *
 * Usage: node scripts/task.mjs build | sandbox ARGS… | test [PATH…] | gates | ok | bench ARGS… | compare ARGS… | fuzz ARGS… |
 *   mutate ARGS… | soak ARGS…
 *
 * @module
 */

// deno-lint-ignore-file explicit-function-return-type -- plain JavaScript has no place for them

import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { availableParallelism, constants, cpus, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { outDir, repositoryRoot, setup, toolPath } from "./setup.mjs";
import { failuresIn } from "./test_output.mjs";

const FILE_TIMEOUT_MS = 900_000;
const TEST_TIMEOUT_MS = 120_000;

/** Where the live tests have their folders (`tests/sandbox/harness.ts`). No test file runs as long as an hour. */
const LIVE_FOLDERS = ["/var/tmp", "/opt"];
const LIVE_FOLDER_MAX_AGE_MS = 3_600_000;

const TASKS = {
  build,
  sandbox,
  test,
  gates,
  ok,
  bench,
  fuzz,
  compare: (words) => script("compare", words),
  mutate: (words) => script("mutate", words),
  soak: (words) => script("soak", words),
};

const [name = "", ...args] = process.argv.slice(2);
const task = Object.hasOwn(TASKS, name) ? TASKS[name] : undefined;
if (task === undefined) {
  process.stderr.write(
    `task: Unknown task "${name}", must be ${Object.keys(TASKS).join(", ")}\n`,
  );
  process.exitCode = 2;
} else {
  await task(args);
}

function build() {
  setup();
  compile();
}

function sandbox(words) {
  setup();
  compile("--quiet");
  return passThrough(join(outDir, "codex"), ["sandbox", ...words]);
}

function bench(words) {
  setup();
  compile("--quiet");
  return passThrough(toolPath("bun"), [
    join(repositoryRoot, "scripts/bench.ts"),
    ...words,
  ]);
}

/** A script of ours that works on the finished build. */
function script(name, words) {
  setup({ tests: true });
  compile("--quiet");
  return passThrough(toolPath("bun"), [
    join(repositoryRoot, `scripts/${name}.ts`),
    ...words,
  ]);
}

async function test(paths) {
  const files = testFiles(paths);
  setup({ tests: true });
  compile("--quiet");
  const counts = await runTests(files);
  process.exitCode = report(counts);
}

function fuzz(words) {
  setup({ tests: true });
  return passThrough(toolPath("bun"), [
    join(repositoryRoot, "scripts/fuzz.ts"),
    ...words,
  ]);
}

/** The one gate: form, lint, types, tests. All of it runs, so that one pass names all that is wrong. */
async function ok(paths) {
  const files = testFiles(paths);
  setup({ tests: true });
  const broken = brokenGates();
  compile("--quiet");
  const status = report(await runTests(files));
  sayBroken(broken);
  process.exitCode = broken.length > 0 ? 1 : status;
}

/** Form, lint and types alone. */
function gates() {
  setup();
  const broken = brokenGates();
  sayBroken(broken);
  process.exitCode = broken.length > 0 ? 1 : 0;
}

function brokenGates() {
  return [["fmt", "--check"], ["lint"], [
    "check",
    "--quiet",
    ...typeScriptFiles(),
  ]]
    .filter((words) => !deno(words)).map(([word]) => `deno ${word}`);
}

function sayBroken(broken) {
  if (broken.length > 0) {
    process.stderr.write(`ok: failed: ${broken.join(", ")}\n`);
  }
}

function deno(words) {
  const done = spawnSync(toolPath("deno"), words, {
    cwd: repositoryRoot,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
  });
  return done.status === 0;
}

function typeScriptFiles() {
  const below = ["src", "scripts", "tests"].flatMap((folder) =>
    filesBelow(join(repositoryRoot, folder))
  );
  return [
    join(repositoryRoot, "entry.ts"),
    join(repositoryRoot, "main.ts"),
    ...below,
  ].filter((file) => file.endsWith(".ts"));
}

function compile(...flags) {
  const done = spawnSync(toolPath("bun"), [
    join(repositoryRoot, "scripts/build.ts"),
    ...flags,
  ], {
    stdio: ["ignore", 2, 2],
  });
  if (done.status !== 0) process.exit(done.status ?? 125);
}

/** Runs a program in our place: its standard streams are ours, its end is ours, signals to us are passed on. */
function passThrough(program, words) {
  return new Promise((resolve) => {
    const child = spawn(program, words, { stdio: "inherit" });
    const ends = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"];
    // A terminal sends SIGINT and SIGQUIT to the whole group: the child has them already, we only have to outlive it.
    const passOn = (signal) => {
      if (
        !(process.stdin.isTTY && (signal === "SIGINT" || signal === "SIGQUIT"))
      ) child.kill(signal);
    };
    for (const signal of ends) process.on(signal, passOn);
    child.on("error", (error) => {
      process.stderr.write(`task: Cannot run "${program}": ${error.message}\n`);
      process.exitCode = 125;
      resolve();
    });
    child.on("exit", (status, signal) => {
      for (const name of ends) process.off(name, passOn);
      process.exitCode = signal === null
        ? status
        : 128 + constants.signals[signal];
      resolve();
    });
  });
}

/** The test files of `paths`, all without any. A path that has none ends the task: its tests would be left out in silence. */
function testFiles(paths) {
  const all = filesBelow(join(repositoryRoot, "tests"))
    .filter((file) => file.endsWith("_test.ts")).sort();
  if (paths.length === 0) return all;
  const wanted = new Set();
  for (const path of paths) {
    const place = resolve(repositoryRoot, path);
    const found = all.filter((file) =>
      file === place || file.startsWith(`${place}/`)
    );
    if (found.length === 0) {
      report({ passed: 0, failed: 0, skipped: 0, failures: [] });
      process.stderr.write(
        `test: Cannot test "${path}": there is no *_test.ts at or below it, must be a file or folder below tests/\n`,
      );
      process.exit(2);
    }
    for (const file of found) wanted.add(file);
  }
  return [...wanted].sort();
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory()
      ? filesBelow(path)
      : entry.isFile()
      ? [path]
      : [];
  });
}

/** Folders of test files that were killed. One with a mount below it is left alone. */
function removeOldFolders() {
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  const all = LIVE_FOLDERS.filter((place) => existsSync(place)).flatMap(
    (place) => readdirSync(place).map((name) => join(place, name)),
  );
  for (const folder of all) {
    if (!basename(folder).startsWith("codex-live-")) continue;
    if (mounts.includes(folder)) continue;
    const stat = lstatSync(folder, { throwIfNoEntry: false });
    if (
      stat?.isDirectory() && stat.uid === process.getuid?.() &&
      Date.now() - stat.mtimeMs > LIVE_FOLDER_MAX_AGE_MS
    ) rmSync(folder, { recursive: true, force: true });
  }
}

/** Each file in a process of its own, as many at once as there are cores; the counts and failures of all together. */
async function runTests(files, environment = {}) {
  removeOldFolders();
  const reports = mkdtempSync(join(tmpdir(), "codex-tests-"));
  const total = { passed: 0, failed: 0, skipped: 0, failures: [] };
  const queue = files.map((file, i) => ({
    file,
    out: join(reports, `${i}.xml`),
  }));
  const cores = typeof availableParallelism === "function"
    ? availableParallelism()
    : cpus().length;
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { counts, failures } = await runTestFile(
        next.file,
        next.out,
        environment,
      );
      for (const key of Object.keys(counts)) total[key] += counts[key];
      total.failures.push(...failures);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(cores, 4) }, worker));
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
  return total;
}

/** @returns the file's counts, and a line for each failure: the file and the test's title, or how the file itself ended */
async function runTestFile(file, out, environment) {
  const started = Date.now();
  const { status, end, output } = await capture(toolPath("bun"), [
    "test",
    `--timeout=${TEST_TIMEOUT_MS}`,
    "--reporter=junit",
    `--reporter-outfile=${out}`,
    file,
  ], {
    CODEX_BIN: join(outDir, "codex"),
    CODEX_BUILD_DIR: outDir,
    ...environment,
  });
  const counts = readCounts(out);
  // A crash, a time-out or an error outside of any test leaves no failed test behind: the file itself is the failure.
  const isOwnFailure = status !== 0 && counts.failed === 0;
  if (isOwnFailure) counts.failed = 1;
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const name = file.slice(repositoryRoot.length + 1);
  const verdict = counts.failed > 0 ? "FAILED" : "ok    ";
  process.stdout.write(
    `${verdict} ${name}  ${describe(counts)}  (${seconds} s)\n`,
  );
  if (counts.failed === 0) return { counts, failures: [] };
  const { text, titles } = failuresIn(output);
  process.stdout.write(`${text}\n`);
  const failures = titles.map((title) => `${name}: ${title}`);
  if (isOwnFailure) failures.push(`${name}: the file itself ${end}`);
  return { counts, failures };
}

function readCounts(out) {
  if (!existsSync(out)) return { passed: 0, failed: 0, skipped: 0 };
  const head = /<testsuites [^>]*>/.exec(readFileSync(out, "utf8"))?.[0] ?? "";
  const count = (key) =>
    Number(new RegExp(` ${key}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = count("failures");
  const skipped = count("skipped");
  return { passed: count("tests") - failed - skipped, failed, skipped };
}

function capture(program, words, environment) {
  return new Promise((resolve) => {
    const child = spawn(program, words, {
      cwd: repositoryRoot,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    const chunks = [];
    let isLate = false;
    const clock = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, FILE_TIMEOUT_MS);
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.stderr.on("data", (chunk) => chunks.push(chunk));
    const done = (status, end) => {
      clearTimeout(clock);
      const output = Buffer.concat(chunks).toString();
      resolve({ status: status ?? 125, end, output });
    };
    child.on("error", (error) => done(125, `can't be run: ${error.message}`));
    child.on("close", (status, signal) => {
      const late = `did not end within ${FILE_TIMEOUT_MS / 1000} s`;
      const end = `ended with ${signal ?? `status ${status}`}`;
      done(status, isLate ? late : end);
    });
  });
}

/**
 * The failures of all files once more, then the count: either end of a log that was cut names them. The last line is the count and
 * nothing else: what reads it looks for these words. @returns the exit status
 */
function report({ failures, ...counts }) {
  if (counts.skipped > 0) {
    process.stdout.write(`${counts.skipped} skipped\n`);
  }
  for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`);
  process.stdout.write(`${describe({ ...counts, skipped: 0 })}\n`);
  if (counts.passed + counts.failed === 0) {
    process.stderr.write("test: no test was run\n");
    return 1;
  }
  return counts.failed === 0 ? 0 : 1;
}

function describe({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${
    skipped > 0 ? `, ${skipped} skipped` : ""
  }`;
}
