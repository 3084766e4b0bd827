/**
 * Live: a program on the sealed runtime obeys no setting of its caller's environment and no file of its working directory,
 * while the same program on the unsealed runtime does (the positive control).
 *
 * @module
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { COMPILE_FLAGS } from "../../scripts/build.ts";
import { writeSealedRuntime } from "../../scripts/seal_runtime.ts";

type Setting = readonly [name: string, value: string];
type Outcome = {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
};

/** What runs code of the working directory in an unsealed program: the control must see each of them act. */
const CODE_RUNNERS: readonly Setting[] = [
  ["BUN_OPTIONS", "--preload ./evil.mjs"],
  ["BUN_BE_BUN", "1"],
];

/** What changes an unsealed program's output or end; the control needs most of them. */
const CHANGERS: readonly Setting[] = [
  ["BUN_JSC_dumpOptions", "2"],
  ["BUN_JSC_useJIT", "0"],
  ["BUN_JSC_logGC", "2"],
  ["BUN_JSC_validateOptions", "1"],
  ["BUN_JSC_dumpGeneratedBytecodes", "1"],
  ["BUN_JSC_useWasm", "0"],
  ["BUN_JSC_forceRAMSize", "1"],
  ["BUN_JSC_functionOverrides", "./overrides.txt"],
  ["BUN_JSC_configFile", "./overrides.txt"],
  ["BUN_JSC_dumpDisassembly", "1"],
  ["BUN_JSC_dumpDFGDisassembly", "1"],
  ["BUN_JSC_maxPerThreadStackUsage", "4096"],
  ["BUN_JSC_defaultErrorStackTraceLimit", "1"],
  ["BUN_JSC_showDisassembly", "1"],
  ["BUN_JSC_reportCompileTimes", "1"],
  ["BUN_JSC_dumpBytecodeOptimizer", "1"],
  ["BUN_JSC_forceWeakRandomSeed", "1"],
  ["BUN_JSC_collectContinuously", "1"],
  ["BUN_JSC_crashIfCantAllocateJITMemory", "1"],
  ["BUN_JSC_dumpSizeClasses", "1"],
  ["BUN_JSC_dumpHeapStatisticsAtVMDestruction", "1"],
  ["BUN_JSC_noSuchOption", "1"],
  ["MIMALLOC_VERBOSE", "1"],
  ["MIMALLOC_SHOW_STATS", "1"],
  ["MIMALLOC_SHOW_ERRORS", "1"],
  ["SIMDUTF_FORCE_IMPLEMENTATION", "fallback"],
  ["SIMDUTF_FORCE_IMPLEMENTATION", "nonsense"],
  ["FORCE_COLOR", "1"],
  ["FORCE_COLOR", "3"],
  ["TZ", "Pacific/Auckland"],
  ["NODE_OPTIONS", "--import ./evil.mjs"],
  ["NODE_OPTIONS", "--require ./evil.cjs"],
  ["BUN_OPTIONS", "--version"],
  ["BUN_OPTIONS", "--cwd /"],
  ["BUN_OPTIONS", "--config=./bunfig.toml"],
  ["BUN_OPTIONS", "--env-file=./.env"],
  ["BUN_OPTIONS", "--no-such-option"],
  ["BUN_OPTIONS", "--expose-gc --smol"],
];

/** Known names whose effect is rare or depends on more than a short program does. */
const OTHERS: readonly Setting[] = [
  ["BUN_INSPECT_PRELOAD", "./evil.mjs"],
  ...names("BUN_", "1", [
    "INSPECT",
    "INSPECT_NOTIFY",
    "INSPECT_CONNECT_TO",
    "DEBUG",
    "DEBUG_QUIET_LOGS",
    "GARBAGE_COLLECTOR_LEVEL",
    "RUNTIME_TRANSPILER_CACHE_PATH",
    "CONFIG_VERBOSE_FETCH",
    "CONFIG_MAX_HTTP_REQUESTS",
    "CONFIG_DNS_TIME_TO_LIVE_SECONDS",
    "CRASH_REPORT_URL",
    "ENABLE_CRASH_REPORTING",
    "DISABLE_TRANSPILER",
    "DESTRUCT_VM_ON_EXIT",
    "ENV",
    "INSTALL",
    "TMPDIR",
    "PORT",
    "TRACE",
    "WATCHER_TRACE",
    "THREADPOOL_STATS",
    "GC_TIMER_DISABLE",
    "GC_TIMER_INTERVAL",
    "IDLE_GC_SECONDS",
    "BYTECODE_ORDER_OUT",
    "BYTECODE_ORDER_NAMES_OUT",
    "BYTECODE_DIGEST_OUT",
    "TCC_OPTIONS",
    "WORKER_STDIO_KEY",
    "WORKER_MESSAGING_KEY",
    "INTERNAL_INTERACTIVE_ASSUME_TTY",
    "SHOW_BUN_STACKFRAMES",
    "FEATURE_FLAG_NO_ORPHANS",
    "FEATURE_FLAG_DISABLE_MEMFD",
    "FEATURE_FLAG_DISABLE_IO_POOL",
    "FEATURE_FLAG_FORCE_IO_POOL",
    "FEATURE_FLAG_FORCE_WAITER_THREAD",
    "FEATURE_FLAG_DISABLE_EPOLL_PWAIT2",
    "FEATURE_FLAG_DISABLE_SPAWNSYNC_FAST_PATH",
    "FEATURE_FLAG_SYNTHETIC_MEMORY_LIMIT",
    "FEATURE_FLAG_INTERNAL_FOR_TESTING",
    "FEATURE_FLAG_DISABLE_STANDALONE_MADVISE",
    "FEATURE_FLAG_VERBOSE_WARNINGS",
  ]),
  ...names("NODE_", "1", [
    "ENV",
    "PATH",
    "DEBUG",
    "EXTRA_CA_CERTS",
    "TLS_REJECT_UNAUTHORIZED",
    "PRESERVE_SYMLINKS",
    "NO_WARNINGS",
    "PENDING_DEPRECATION",
    "DISABLE_COLORS",
    "REDIRECT_WARNINGS",
    "REPL_HISTORY",
    "UNIQUE_ID",
    "CHANNEL_FD",
    "V8_COVERAGE",
    "USE_ENV_PROXY",
  ]),
  ...names("JSC_", "1", ["dumpOptions", "useJIT", "logGC", "configFile"]),
  ...names("MIMALLOC_", "1", [
    "LARGE_OS_PAGES",
    "RESERVE_HUGE_OS_PAGES",
    "MAX_ERRORS",
    "MAX_WARNINGS",
    "PURGE_DELAY",
    "DISALLOW_OS_ALLOC",
    "ARENA_EAGER_COMMIT",
  ]),
  ...names("UV_", "1", ["THREADPOOL_SIZE", "USE_IO_URING"]),
  ["SSL_CERT_FILE", "./.env"],
  ["SSL_CERT_DIR", "."],
  ["SSLKEYLOGFILE", "./TOUCHED-keys"],
  ["OPENSSL_CONF", "./.env"],
  ["NO_COLOR", "1"],
  ["CLICOLOR_FORCE", "1"],
  ["COLORTERM", "truecolor"],
  ["TERM", "xterm-256color"],
  ["DEBUG", "*"],
  ["HTTP_PROXY", "http://127.0.0.1:9"],
  ["HTTPS_PROXY", "http://127.0.0.1:9"],
  ["NO_PROXY", "*"],
  ["LOCALDOMAIN", "evil.example"],
  ["RES_OPTIONS", "debug"],
  ["HOSTALIASES", "./.env"],
  ["XDG_CONFIG_HOME", "."],
  ["XDG_CACHE_HOME", "."],
  ["HOME", "."],
  ["TMPDIR", "."],
  ["LANG", "tr_TR.UTF-8"],
  ["LC_ALL", "C"],
  ["COLUMNS", "3"],
  ["CI", "1"],
  ["GITHUB_ACTIONS", "true"],
  ["DO_NOT_TRACK", "1"],
  ["npm_config_registry", "http://127.0.0.1:9"],
  ["AGENT", "1"],
  ["CLAUDECODE", "1"],
  ["MALLOC_ARENA_MAX_", "1"],
  ["PRELOADED", "1"],
  ["PWD", "/nowhere"],
  ["=odd", "1"],
];

const SETTINGS = [...CODE_RUNNERS, ...CHANGERS, ...OTHERS];

let folder = "";
let cwd = "";
let payloads = "";
let sealed = "";
let unsealed = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "codex-seal-"));
  cwd = join(folder, "hostile");
  layHostileFolder(cwd);
  payloads = join(folder, "payloads"); // the same code, with no file that Bun reads by itself
  mkdirSync(payloads);
  for (const name of ["evil.mjs", "word"]) {
    writeFileSync(join(payloads, name), readFileSync(join(cwd, name)));
  }
  const runtime = join(folder, "runtime");
  writeSealedRuntime({ from: process.execPath, to: runtime });
  sealed = compile("sealed", [
    ...COMPILE_FLAGS,
    `--compile-executable-path=${runtime}`,
  ]);
  unsealed = compile("unsealed", ["--compile", "--minify", "--target=bun"]);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("there are at least 120 settings", () => {
  expect(new Set(SETTINGS.map(([name, value]) => `${name}=${value}`)).size)
    .toBeGreaterThanOrEqual(120);
});

test("the sealed program sees an empty environment in a hostile folder, and runs to its end", () => {
  const { status, stdout, stderr } = run(sealed, []);
  expect({ status, stderr }).toEqual({ status: 7, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({
    environment: [],
    words: ["word"],
    stripped: false,
  });
});

test("no single setting changes what the sealed program does", () => {
  // One variable leaves room for one of the two settings that the seal itself makes.
  const calm = run(sealed, [["A", "1"]]).stdout;
  const changed = SETTINGS.filter((setting) => {
    const { status, stdout, stderr } = run(sealed, [setting]);
    return status !== 7 || stdout !== calm ||
      stderr !== `${setting.join("=")}\0`;
  });
  expect(changed).toEqual([]);
  expect(touchedFiles()).toEqual([]);
}, 120_000);

test(
  "no setting whose name is in the runtime changes what the sealed program does, all of them together",
  () => {
    const calm = run(sealed, [["A", "1"], ["B", "2"]]).stdout;
    const known = namesInRuntime();
    expect(known.length).toBeGreaterThan(500);
    for (const value of ["1", "0", "true", "./evil.mjs"]) {
      const { status, stdout } = run(
        sealed,
        known.map((name) => [name, value] as const),
      );
      expect({ value, status, stdout }).toEqual({
        value,
        status: 7,
        stdout: calm,
      });
    }
    expect(touchedFiles()).toEqual([]);
  },
  120_000,
);

test("all settings together leave /proc/self/environ with the caller's exact bytes", () => {
  const unique = [...new Map(SETTINGS)];
  const { status, stderr } = run(sealed, unique);
  expect(status).toBe(7);
  expect(stderr.split("\0").filter((entry) => entry !== "").sort())
    .toEqual(unique.map((setting) => setting.join("=")).sort());
});

test("bytes that are not UTF-8 stay in /proc/self/environ", () => {
  const done = Bun.spawnSync(
    ["sh", "-c", `exec env -i "$(printf 'ODD\\377=\\376')" "$0" word`, sealed],
    { cwd, stdin: "ignore" },
  );
  expect(done.exitCode).toBe(7);
  expect([...done.stderr]).toEqual([
    ...Buffer.from("ODD\xff=\xfe\0", "latin1"),
  ]);
});

test("control: bunfig.toml alone makes the unsealed program run code of the folder", () => {
  expect(run(unsealed, []).stdout).toContain("evil.mjs ran");
  expect(touchedFiles()).toContain("TOUCHED");
  rmSync(join(cwd, "TOUCHED"));
});

test(
  "control: each code runner alone makes the unsealed program run code of the folder",
  () => {
    const quiet = CODE_RUNNERS.filter((setting) =>
      !run(unsealed, [setting], payloads).stdout.includes("evil.mjs ran")
    );
    expect(quiet).toEqual([]);
    expect(run(unsealed, [], payloads).stdout).not.toContain("evil.mjs ran");
  },
  120_000,
);

test(
  "control: many settings change what the unsealed program does outside the hostile folder",
  () => {
    const calm = run(unsealed, [], folder);
    const changed = CHANGERS.filter((setting) => {
      const { status, stdout, stderr } = run(unsealed, [setting], folder);
      return status !== calm.status ||
        withoutEnvironment(stdout) !== withoutEnvironment(calm.stdout) ||
        stderr !== `${setting.join("=")}\0`;
    });
    expect(changed.length).toBeGreaterThanOrEqual(8);
  },
  120_000,
);

function names(
  prefix: string,
  value: string,
  ends: readonly string[],
): Setting[] {
  return ends.map((end) => [prefix + end, value]);
}

/** Every file that Bun reads by itself from the folder it is started in, each of them with a payload that shows. */
function layHostileFolder(path: string): void {
  mkdirSync(join(path, "node_modules/evil"), { recursive: true });
  const payload = `import { writeFileSync } from "node:fs";
globalThis.preloaded = true;
writeFileSync(${JSON.stringify(join(path, "TOUCHED"))}, "");
console.log("evil.mjs ran");
`;
  const files: Readonly<Record<string, string>> = {
    "evil.mjs": payload,
    "evil.cjs": `globalThis.preloaded = true; console.log("evil.cjs ran");\n`,
    "bunfig.toml":
      `preload = ["./evil.mjs"]\nlogLevel = "debug"\nsmol = true\n[run]\nbun = true\n[define]\n"process.argv" = "'evil'"\n[test]\npreload = ["./evil.mjs"]\n`,
    ".env": "FROM_DOTENV=1\nBUN_OPTIONS=--preload ./evil.mjs\n",
    ".env.local": "FROM_DOTENV_LOCAL=1\n",
    ".env.production": "FROM_DOTENV_PRODUCTION=1\n",
    ".npmrc": "registry=http://127.0.0.1:9\n",
    "package.json":
      `{"name":"evil","type":"module","main":"./evil.mjs","imports":{"node:fs":"./evil.mjs"},"exports":"./evil.mjs"}\n`,
    "tsconfig.json":
      `{"compilerOptions":{"paths":{"*":["./evil.mjs"],"node:fs":["./evil.mjs"]},"jsxImportSource":"evil"}}\n`,
    "jsconfig.json": `{"compilerOptions":{"paths":{"*":["./evil.mjs"]}}}\n`,
    "overrides.txt": "override { function squares() {} } with { return 1 }\n",
    "word": payload,
    "word.ts": payload,
    "node_modules/evil/package.json":
      `{"name":"evil","main":"../../evil.mjs"}\n`,
    "node_modules/evil/jsx-runtime.js": payload,
  };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(path, name), text);
  }
}

let laid: readonly string[] | undefined;

/** Files of the folder that were not laid there, or were changed since. */
function touchedFiles(): string[] {
  const now = readdirSync(cwd, { recursive: true, encoding: "utf8" }).sort();
  laid ??= now.filter((name) => !name.startsWith("TOUCHED"));
  return now.filter((name) =>
    !laid!.includes(name) || statSync(join(cwd, name)).size > 100_000
  );
}

function compile(name: string, flags: readonly string[]): string {
  const done = Bun.spawnSync([
    process.execPath,
    "build",
    ...flags,
    `--outfile=${name}`,
    join(import.meta.dir, "fixtures/sealed_program.ts"),
  ], { cwd: folder, env: { HOME: folder }, stdin: "ignore" });
  if (done.exitCode !== 0) throw new Error(done.stderr.toString());
  return join(folder, name);
}

/** One run with exactly these settings as its environment. */
function run(
  program: string,
  settings: readonly Setting[],
  where: string = cwd,
): Outcome {
  const done = Bun.spawnSync([program, "word"], {
    cwd: where,
    env: Object.fromEntries(settings),
    stdin: "ignore",
    timeout: 60_000,
  });
  return {
    status: done.exitCode ?? -1,
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
  };
}

/** The control's program does see its environment: only what else changes counts. */
function withoutEnvironment(stdout: string): string {
  return stdout.replace(/"environment":\[[^\]]*\]/, "");
}

/** Every word in the runtime that looks like the name of a setting; JSC's options also as Bun spells them. */
function namesInRuntime(): string[] {
  const text = readFileSync(process.execPath).toString("latin1");
  const found = text.match(
    /\b(?:BUN|NODE|JSC|MIMALLOC|SIMDUTF|UV|SSL|OPENSSL|FORCE|XDG|HTTPS?|NO|WTF|GC|TLS)_[A-Za-z0-9_]{2,48}\b/g,
  ) ?? [];
  const all = found.flatMap((name) =>
    name.startsWith("JSC_") ? [name, `BUN_${name}`] : [name]
  );
  return [...new Set(all)].sort();
}
