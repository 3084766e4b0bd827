/**
 * Builds the static bubblewrap that is embedded into `codex`: fetch, verify, edit, one compiler call, check.
 *
 * The result is `OUT/bwrap` beside `OUT/bwrap.json`, which holds its digest and the key of its inputs; with an equal key nothing
 * is done. `BWRAP_BINARY=FILE` takes a finished static bwrap instead, `BWRAP_TARBALL=FILE` a tarball with the digest of
 * `vendor/bubblewrap/source.json`. Facts about the build: `vendor/bubblewrap/README.md`.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { applyEdit, SOURCE_EDITS } from "./bwrap_edits.ts";
import { repositoryRoot } from "./build_files.ts";

const C_FILES = [
  "bubblewrap.c",
  "bind-mount.c",
  "network.c",
  "utils.c",
  "chroot_realpath.c",
  "safe_openat.c",
] as const;

/** What is ours in the source tree. */
const OWN_HEADERS = ["config.h", "sys/capability.h"] as const;

/** Where Debian has the kernel's headers, behind musl's own. */
const KERNEL_HEADERS: readonly string[] = [
  "/usr/include",
  `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
];

/** Hardened, stripped, and free of anything that names the machine: equal bytes from any folder. */
const COMPILER_FLAGS = [
  "-std=gnu11",
  "-D_GNU_SOURCE",
  "-DHAVE_CONFIG_H",
  "-I.",
  "-O2",
  "-g0",
  "-s",
  "-static",
  "-fstack-protector-strong",
  "-ffunction-sections",
  "-Wl,-z,relro,-z,now,--gc-sections,--build-id=none",
  ...KERNEL_HEADERS.flatMap((folder) => ["-idirafter", folder]),
] as const;

/** As a distribution makes it: upstream's code, the C library by its loader. */
const UPSTREAM_FLAGS = [
  "-std=gnu11",
  "-D_GNU_SOURCE",
  "-DHAVE_CONFIG_H",
  "-I.",
  "-O2",
] as const;

const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const INSTALLED_BWRAPS = ["/usr/local/bin/bwrap", "/usr/bin/bwrap"] as const;

/** What `vendor/bubblewrap/source.json` holds: the one source that we build. */
export type BwrapSource = {
  readonly version: string;
  readonly tarball: string;
  readonly debianPool: string;
  readonly sha256: string;
};

/** What `OUT/bwrap.json` holds. */
export type BuiltBwrap = {
  /** Digest of all that went in; see {@linkcode bwrapKey}. */
  readonly key: string;
  readonly version: string;
  /** Of the built file, lower-case hex. */
  readonly sha256: string;
  /** `built`, or where the finished file came from. */
  readonly origin: string;
};

/** How the origin of a given file begins. */
const GIVEN = "BWRAP_BINARY ";

/** The environment's choices; `null` where not given. */
export type BwrapChoice = {
  readonly binary: string | null;
  readonly tarball: string | null;
};

/** The source lock. */
export function readBwrapSource(root: string = repositoryRoot): BwrapSource {
  return JSON.parse(
    readFileSync(join(root, "vendor/bubblewrap/source.json"), "utf8"),
  );
}

/** `BWRAP_BINARY` and `BWRAP_TARBALL` as the caller has them. */
export function readBwrapChoice(): BwrapChoice {
  return {
    binary: process.env["BWRAP_BINARY"] || null,
    tarball: process.env["BWRAP_TARBALL"] || null,
  };
}

/** Digest of the inputs: a given binary's bytes, or the source's digest, our headers, our edits and the compiler call. */
export function bwrapKey(
  choice: BwrapChoice,
  root: string = repositoryRoot,
): string {
  const source = readBwrapSource(root);
  const inputs = choice.binary !== null
    ? { binary: sha256(readGiven("BWRAP_BINARY", choice.binary)) }
    : {
      source: source.sha256,
      headers: OWN_HEADERS.map((name) =>
        readFileSync(join(root, "vendor/bubblewrap", name), "utf8")
      ),
      call: [...COMPILER_FLAGS, ...C_FILES],
      edits: SOURCE_EDITS,
      machine: process.arch,
    };
  return sha256(JSON.stringify(inputs));
}

/** The bwrap in `outDir` when it was built from these very inputs and is unharmed, else `null`. */
export function readBuiltBwrap(
  outDir: string,
  choice: BwrapChoice,
): BuiltBwrap | null {
  const record = join(outDir, "bwrap.json");
  const file = join(outDir, "bwrap");
  if (!existsSync(record) || !existsSync(file)) return null;
  const built: BuiltBwrap = JSON.parse(readFileSync(record, "utf8"));
  if (
    built.key !== presentKey(outDir, choice) ||
    built.sha256 !== sha256(readFileSync(file))
  ) return null;
  return built;
}

/**
 * {@linkcode bwrapKey} of what the next build bundles: of a file that was given earlier, where nothing else is asked for now. Whoever
 * has no network gives it once.
 */
export function presentKey(outDir: string, choice: BwrapChoice): string {
  const record = join(outDir, "bwrap.json");
  if (choice.binary === null && choice.tarball === null && existsSync(record)) {
    const built: BuiltBwrap = JSON.parse(readFileSync(record, "utf8"));
    const isGiven = built.origin.startsWith(GIVEN);
    if (isGiven && built.version === readBwrapSource().version) {
      return built.key;
    }
  }
  return bwrapKey(choice);
}

/**
 * Makes `OUT/bwrap` and its record, unless both are there already.
 *
 * @throws {Error} with one line: what was tried and what would work
 */
export function buildBwrap(
  outDir: string,
  note: (line: string) => void,
): BuiltBwrap {
  const choice = readBwrapChoice();
  const present = readBuiltBwrap(outDir, choice);
  if (present !== null) {
    if (choice.binary === null && present.origin.startsWith(GIVEN)) {
      note(
        `bundling the bubblewrap that BWRAP_BINARY gave earlier; without ${
          join(outDir, "bwrap.json")
        } it is compiled`,
      );
    }
    return present;
  }

  mkdirSync(outDir, { recursive: true });
  const stage = mkdtempSync(join(outDir, "bwrap-stage-"));
  try {
    const { version } = readBwrapSource();
    const file = join(stage, "bwrap");
    const origin = placeBwrap(choice, { file, stage, outDir, note });
    const refusal = bwrapRefusal(file, version);
    if (refusal !== null) {
      throw new Error(`Cannot bundle bubblewrap (${origin}): ${refusal}`);
    }
    const built: BuiltBwrap = {
      key: bwrapKey(choice),
      version,
      sha256: sha256(readFileSync(file)),
      origin,
    };
    writeFileSync(
      join(stage, "bwrap.json"),
      `${JSON.stringify(built, null, 2)}\n`,
    );
    renameSync(file, join(outDir, "bwrap"));
    renameSync(join(stage, "bwrap.json"), join(outDir, "bwrap.json"));
    note(`bubblewrap ${version}, sha256 ${built.sha256}`);
    return built;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Why a file must not be bundled, or `null`: static, and of the version that we state. */
export function bwrapRefusal(file: string, version: string): string | null {
  const elf = readFileSync(file);
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2) {
    return "it is not a 64-bit ELF file";
  }
  const table = Number(view.getBigUint64(32, true));
  for (let i = 0; i < view.getUint16(56, true); i++) {
    const type = view.getUint32(table + i * view.getUint16(54, true), true);
    if (type === PT_INTERP || type === PT_DYNAMIC) {
      return "it is linked dynamically, must be static";
    }
  }
  const run = spawnSync(file, ["--version"], { encoding: "utf8", env: {} });
  const said = (run.stdout ?? "").trim();
  if (run.status !== 0 || said !== `bubblewrap ${version}`) {
    return `"--version" says "${said}" with status ${run.status}, must be "bubblewrap ${version}"`;
  }
  return null;
}

/** Puts a bwrap at `file`; returns where it came from. */
function placeBwrap(
  choice: BwrapChoice,
  { file, stage, outDir, note }: {
    file: string;
    stage: string;
    outDir: string;
    note: (line: string) => void;
  },
): string {
  if (choice.binary !== null) {
    writeFileSync(file, readGiven("BWRAP_BINARY", choice.binary), {
      mode: 0o755,
    });
    return `${GIVEN}${sha256(readFileSync(file)).slice(0, 12)}`;
  }
  const tarball = findTarball(choice, { outDir, note });
  if (tarball === null) {
    const { version } = readBwrapSource();
    const installed = INSTALLED_BWRAPS.find((path) =>
      existsSync(path) && bwrapRefusal(path, version) === null
    );
    if (installed !== undefined) {
      copyExecutable(installed, file);
      return installed;
    }
    throw new Error(
      `${noSource()} or BWRAP_BINARY=FILE (a static bwrap ${version})`,
    );
  }
  compile(tarball, { file, stage, note });
  return "built";
}

function compile(
  tarball: string,
  { file, stage, note }: {
    file: string;
    stage: string;
    note: (line: string) => void;
  },
): void {
  // The compiler is asked for here, where it is really needed, so that a given binary or a finished one needs none.
  run(
    ["node", join(repositoryRoot, "scripts/setup.mjs"), "--compiler"],
    "set up the compiler",
  );
  note("compiling bubblewrap");
  const tree = unpack(tarball, stage);
  for (const edit of SOURCE_EDITS) {
    const path = join(tree, edit.file);
    const edited = applyEdit(readFileSync(path, "utf8"), edit);
    if (!edited.ok) throw new Error(edited.error);
    writeFileSync(path, edited.value);
  }
  run(
    ["musl-gcc", ...COMPILER_FLAGS, ...C_FILES, "-o", file],
    "compile bubblewrap",
    tree,
  );
}

/**
 * Makes what the bench measures beside ours: bubblewrap without our edits, linked with the C library of this machine. Its source is the
 * one that the last build has kept in `outDir`.
 *
 * @throws {Error} with one line
 */
export function buildUpstreamBwrap(
  outDir: string,
  folder: string,
): { readonly file: string; readonly version: string } {
  const { version } = readBwrapSource();
  const tarball = findTarball(readBwrapChoice(), { outDir, note: () => {} });
  if (tarball === null) throw new Error(noSource());
  const file = join(folder, "upstream-bwrap");
  run(
    ["gcc", ...UPSTREAM_FLAGS, ...C_FILES, "-o", file],
    "compile bubblewrap without our edits",
    unpack(tarball, folder),
  );
  return { file, version };
}

function noSource(): string {
  const { version, tarball } = readBwrapSource();
  return `Cannot get the source of bubblewrap ${version}: neither Debian's pool nor "${tarball}" answered with it; set BWRAP_TARBALL=FILE`;
}

/** The source with our headers beside it. */
function unpack(tarball: string, stage: string): string {
  const tree = join(stage, "source");
  mkdirSync(tree);
  run(
    [
      "tar",
      "-xf",
      tarball,
      "-C",
      tree,
      "--strip-components=1",
      "--no-same-owner",
    ],
    "unpack bubblewrap",
  );
  mkdirSync(join(tree, "sys"));
  for (const name of OWN_HEADERS) {
    const from = join(repositoryRoot, "vendor/bubblewrap", name);
    copyFileSync(from, join(tree, name));
  }
  return tree;
}

/** A tarball with the locked digest: given, kept from an earlier build, or fetched; `null` when nobody has it. */
function findTarball(
  choice: BwrapChoice,
  { outDir, note }: { outDir: string; note: (line: string) => void },
): string | null {
  const source = readBwrapSource();
  const kept = join(outDir, `bubblewrap-${source.version}.tar.xz`);
  const isKept = existsSync(kept) &&
    sha256(readFileSync(kept)) === source.sha256;
  if (choice.tarball !== null) {
    const bytes = readGiven("BWRAP_TARBALL", choice.tarball);
    const found = sha256(bytes);
    if (found !== source.sha256) {
      throw new Error(
        `Cannot use BWRAP_TARBALL "${choice.tarball}": its SHA-256 is ${found}, must be ${source.sha256}`,
      );
    }
    if (!isKept) {
      const partial = `${kept}.${process.pid}.partial`;
      writeFileSync(partial, bytes);
      renameSync(partial, kept);
    }
    return kept;
  }
  if (isKept) return kept;
  for (
    const url of [
      ...debianMirrors().map((uri) => uri + source.debianPool),
      source.tarball,
    ]
  ) {
    note(`fetching bubblewrap ${source.version} from ${url}`);
    const partial = `${kept}.${process.pid}.partial`;
    try {
      if (!fetchFile(url, partial, source.sha256)) continue;
      if (sha256(readFileSync(partial)) !== source.sha256) continue;
      renameSync(partial, kept);
      return kept;
    } finally {
      rmSync(partial, { force: true });
    }
  }
  return null;
}

/** The Debian archives that this machine's apt is set up for, each with a slash at its end. */
function debianMirrors(): string[] {
  const listed = listMirrors();
  if (listed.length > 0) return listed;
  // A fresh machine has no package lists yet, and apt names no archive without them.
  spawnSync("apt-get", ["update", "-q"], { stdio: "ignore" });
  return listMirrors();
}

function listMirrors(): string[] {
  const listed = spawnSync("apt-get", [
    "indextargets",
    "--format",
    "$(REPO_URI)|$(CREATED_BY)",
  ], {
    encoding: "utf8",
  });
  const uris = (listed.stdout ?? "").split("\n")
    .filter((line) =>
      line.endsWith("|Packages") && !line.includes("-security/")
    )
    .map((line) => line.slice(0, -"|Packages".length));
  return [...new Set(uris)];
}

/** Fetches with apt's own transport (its proxies and certificates are set up already), else with ours. */
function fetchFile(url: string, to: string, digest: string): boolean {
  const helper = "/usr/lib/apt/apt-helper";
  if (existsSync(helper)) {
    const got = spawnSync(helper, [
      "download-file",
      url,
      to,
      `SHA256:${digest}`,
    ], {
      stdio: "ignore",
      timeout: 60_000,
    });
    if (got.status === 0 && existsSync(to)) return true;
  }
  const code =
    "const r = await fetch(process.argv[1], { signal: AbortSignal.timeout(60000) });" +
    "if (!r.ok) process.exit(1); await Bun.write(process.argv[2], r);";
  const got = spawnSync(process.execPath, ["-e", code, url, to], {
    stdio: "ignore",
  });
  return got.status === 0 && existsSync(to);
}

function readGiven(variable: string, path: string): Uint8Array {
  if (!existsSync(path)) {
    throw new Error(`Cannot read ${variable} "${path}": there is no such file`);
  }
  if (!statSync(path).isFile()) {
    throw new Error(`Cannot read ${variable} "${path}": it is no regular file`);
  }
  return readFileSync(path);
}

function copyExecutable(from: string, to: string): void {
  writeFileSync(to, readFileSync(from), { mode: 0o755 });
}

function run(
  [program, ...args]: readonly string[],
  doing: string,
  cwd?: string,
): void {
  const done = spawnSync(program!, args, {
    stdio: ["ignore", "inherit", "inherit"],
    cwd,
  });
  if (done.error !== undefined) {
    throw new Error(`Cannot ${doing}: ${done.error.message}`);
  }
  if (done.status !== 0) {
    throw new Error(
      `Cannot ${doing}: "${program}" ended with status ${done.status}`,
    );
  }
}

function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
