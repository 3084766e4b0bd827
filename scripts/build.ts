/**
 * Builds `OUT/codex`: static bubblewrap, sealed runtime, then one compile call. Run by Bun; `npm run build` sets up first.
 *
 * Nothing is done when the inputs are those of the last build. Outputs appear by rename, whole or not at all, so any number of
 * builds may run at once; a lock only spares them the doubled work. Equal sources give equal bytes from any folder: the
 * compiler runs in a stage folder with relative names, in an empty environment.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";
import {
  buildBwrap,
  presentKey,
  readBuiltBwrap,
  readBwrapChoice,
} from "./build_bwrap.ts";
import { outDir, repositoryRoot } from "./build_files.ts";
import { writeSealedRuntime } from "./seal_runtime.ts";
import { trailer } from "../src/linux/embedded_bwrap.ts";

/** Changing one of these changes the product; `docs/decisions.md` has the reasons. */
export const COMPILE_FLAGS = [
  "--compile",
  // Several modules: entry.ts with what the shortest start needs, main.ts, and whatever is loaded on demand.
  "--splitting",
  "--min-chunk-size=16384",
  "--chunk-naming=[name]-[hash].js",
  "--bytecode",
  "--format=esm",
  "--minify",
  "--target=bun",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-tsconfig",
  "--no-compile-autoload-package-json",
  "--compile-exec-argv=--disallow-code-generation-from-strings=strict",
] as const;

/** The budget of the binary, in bytes. */
const MAX_BINARY_BYTES = 115_000_000;

/** What is compiled, relative to the top. */
const COMPILED = [
  "entry.ts",
  "main.ts",
  "src",
  "vendor",
  "package.json",
] as const;

/** The packages that are part of the product; theirs come along. */
const BUNDLED_PACKAGES = ["toml-eslint-parser"] as const;

/** What the bytes of a build depend on. */
const INPUTS = [
  ...COMPILED,
  "scripts",
  "package-lock.json",
  "deno.json",
] as const;

/** What `OUT/codex.json` holds. */
export type BuiltCodex = {
  /** Digest of all inputs. */
  readonly key: string;
  readonly version: string;
  readonly bwrapVersion: string;
  readonly bwrapSha256: string;
  /** Of the binary, lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
};

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    process.exit(125);
  }
}

function main(): void {
  refuseOtherBun();
  const present = readBuilt();
  if (present !== null) {
    if (!process.argv.includes("--quiet")) report(present);
    return;
  }
  mkdirSync(outDir, { recursive: true });
  if (
    process.env["CODEX_BUILD_LOCKED"] === undefined &&
    existsSync("/usr/bin/flock")
  ) {
    const again = spawnSync("/usr/bin/flock", [
      join(outDir, ".lock"),
      process.execPath,
      import.meta.filename!,
    ], { stdio: "inherit", env: { ...process.env, CODEX_BUILD_LOCKED: "1" } });
    process.exit(again.status ?? 125);
  }
  removeAbandonedStages();
  report(buildCodex());
}

/** The bytes depend on the version: another Bun would build another product. */
function refuseOtherBun(): void {
  const locked = readPackage().optionalDependencies["@oven/bun-linux-x64"];
  const here = process.versions["bun"];
  if (here !== locked) {
    throw new Error(
      `Cannot build with Bun ${here}: package.json has ${locked}; use "npm run build"`,
    );
  }
}

function readPackage(): {
  version: string;
  optionalDependencies: Record<string, string>;
} {
  return JSON.parse(
    readFileSync(join(repositoryRoot, "package.json"), "utf8"),
  );
}

function buildCodex(): BuiltCodex {
  const bwrap = buildBwrap(outDir, say);
  const runtime = sealedRuntime();
  const key = inputsKey();
  const { version } = readPackage();
  const stage = mkdtempSync(join(outDir, "codex-stage-"));
  try {
    say("compiling codex");
    writeFileSync(join(stage, "bwrap"), readFileSync(join(outDir, "bwrap")));
    copySources(stage);
    const done = spawnSync(process.execPath, [
      "build",
      ...COMPILE_FLAGS,
      `--compile-executable-path=${runtime}`,
      "--asset=bwrap",
      ...defines({
        // A build is of one architecture; asking the runtime costs a start 60 microseconds.
        "process.arch": process.arch,
        BUILD_CODEX_VERSION: version,
        BUILD_BWRAP_VERSION: bwrap.version,
        BUILD_BWRAP_SHA256: bwrap.sha256,
        BUILD_BWRAP_BYTES: String(statSync(join(stage, "bwrap")).size),
      }),
      "--outfile=codex", // its basename is part of the bytes
      "entry.ts",
    ], {
      cwd: stage,
      env: { HOME: stage, PATH: process.env["PATH"] ?? "", TMPDIR: stage },
      encoding: "utf8",
    });
    const file = join(stage, "codex");
    if (done.status !== 0 || !existsSync(file)) {
      throw new Error(
        `Cannot compile codex: "bun build" ended with status ${done.status}\n${done.stderr}${done.stdout}`,
      );
    }
    const whole = withTrailer(readFileSync(file), join(stage, "bwrap"));
    const sizeBytes = whole.length;
    if (sizeBytes > MAX_BINARY_BYTES) {
      throw new Error(
        `Cannot accept the binary: it has ${sizeBytes} bytes, must be at most ${MAX_BINARY_BYTES}`,
      );
    }
    const built: BuiltCodex = {
      key,
      version,
      bwrapVersion: bwrap.version,
      bwrapSha256: bwrap.sha256,
      sha256: createHash("sha256").update(whole).digest("hex"),
      sizeBytes,
    };
    writeFileSync(
      join(stage, "codex.json"),
      `${JSON.stringify(built, null, 2)}\n`,
    );
    // Written anew in one piece: the page cache then holds it in large folios, and a start takes 1.5 ms less (measured).
    writeFileSync(join(stage, "whole"), whole, { mode: 0o755 });
    renameSync(join(stage, "whole"), join(outDir, "codex"));
    placeLink(stage);
    renameSync(join(stage, "codex.json"), join(outDir, "codex.json"));
    return built;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Everything that is compiled, in the stage itself: a path that leaves it would be part of the modules' names. */
function copySources(stage: string): void {
  for (const name of COMPILED) {
    cpSync(join(repositoryRoot, name), join(stage, name), { recursive: true });
  }
  const wanted: string[] = [...BUNDLED_PACKAGES];
  for (let name = wanted.shift(); name !== undefined; name = wanted.shift()) {
    const from = join(repositoryRoot, "node_modules", name);
    cpSync(from, join(stage, "node_modules", name), { recursive: true });
    const { dependencies = {} }: { dependencies?: Record<string, string> } =
      JSON.parse(readFileSync(join(from, "package.json"), "utf8"));
    wanted.push(...Object.keys(dependencies));
  }
}

/** The executable with a last word on where the embedded bwrap lies: a start then reads that and nothing else. */
function withTrailer(executable: Buffer, bwrap: string): Buffer {
  const at = executable.lastIndexOf(readFileSync(bwrap));
  if (at === -1) {
    throw new Error(
      'Cannot find the bundled bubblewrap in the executable: "bun build" has changed how it embeds files',
    );
  }
  return Buffer.concat([executable, trailer(at)]);
}

/** Under the lock nobody else has a stage, so each one left is that of a killed build. */
function removeAbandonedStages(): void {
  if (process.env["CODEX_BUILD_LOCKED"] === undefined) return;
  for (const name of readdirSync(outDir)) {
    if (/^(bwrap|codex)-stage-/.test(name)) {
      rmSync(join(outDir, name), { recursive: true });
    }
  }
}

/** The sealed copy of the very Bun that runs this script, made anew when Bun or the sealing changed. */
function sealedRuntime(): string {
  const file = join(outDir, "runtime");
  const record = join(outDir, "runtime.json");
  const script = readFileSync(join(repositoryRoot, "scripts/seal_runtime.ts"));
  const { size, mtimeMs } = statSync(process.execPath);
  const key = digest([
    process.versions["bun"] ?? "",
    size,
    mtimeMs,
    script.toString(),
  ]);
  if (existsSync(file) && existsSync(record)) {
    const made = JSON.parse(readFileSync(record, "utf8"));
    if (made.key === key && made.mtimeMs === statSync(file).mtimeMs) {
      return file;
    }
  }
  say("sealing the runtime");
  const seal = writeSealedRuntime({ from: process.execPath, to: file });
  const content = {
    key,
    mtimeMs: statSync(file).mtimeMs,
    stubOffset: seal.stubOffset,
    stubAddress: seal.stubAddress,
    oldEntry: seal.oldEntry,
  };
  const partial = `${record}.${process.pid}.partial`;
  writeFileSync(partial, `${JSON.stringify(content, null, 2)}\n`);
  renameSync(partial, record);
  return file;
}

/** The finished build in the output folder when it was made from the present inputs, else `null`. */
function readBuilt(): BuiltCodex | null {
  const record = join(outDir, "codex.json");
  const file = join(outDir, "codex");
  if (
    !existsSync(record) || !existsSync(file) ||
    !existsSync(`${file}-linux-sandbox`)
  ) return null;
  const built: BuiltCodex = JSON.parse(readFileSync(record, "utf8"));
  if (built.sizeBytes !== statSync(file).size || built.key !== inputsKey()) {
    return null;
  }
  return readBuiltBwrap(outDir, readBwrapChoice()) === null ? null : built;
}

function inputsKey(): string {
  const files = INPUTS.flatMap((name) => filesBelow(join(repositoryRoot, name)))
    .sort();
  const parts = files.map((file) => [
    relative(repositoryRoot, file),
    readFileSync(file, "utf8"),
  ]);
  return digest([
    process.versions["bun"] ?? "",
    presentKey(outDir, readBwrapChoice()),
    ...parts,
  ]);
}

function filesBelow(path: string): string[] {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesBelow(join(path, name)));
}

function placeLink(stage: string): void {
  const link = join(stage, "link");
  symlinkSync("codex", link);
  renameSync(link, join(outDir, "codex-linux-sandbox"));
}

function defines(constants: Readonly<Record<string, string>>): string[] {
  return Object.entries(constants).map(([name, value]) =>
    `--define=${name}=${JSON.stringify(value)}`
  );
}

function report(built: BuiltCodex): void {
  say(
    `codex ${built.version}, sha256 ${built.sha256}, ${
      (built.sizeBytes / 1e6).toFixed(1)
    } MB, ` +
      `bubblewrap ${built.bwrapVersion}: ${
        relative(process.cwd(), join(outDir, "codex"))
      }`,
  );
}

function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/** Progress goes to stderr: stdout belongs to what is run afterwards. */
function say(line: string): void {
  process.stderr.write(`build: ${line}\n`);
}
