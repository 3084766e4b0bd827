/**
 * Makes everything that a build needs, and says what it installs: npm packages by the lock file, Debian packages by name.
 *
 * Plain Node without dependencies, because nothing else is there yet. Nothing is touched when all is there. Where it can't install
 * (no apt-get, not root) it names what is missing and ends with 125.
 *
 * Usage: node scripts/setup.mjs [--compiler] [--tests]
 *
 * @module
 */

// deno-lint-ignore-file explicit-function-return-type -- plain JavaScript has no place for them

import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
} from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const repositoryRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** The folder of all outputs: `CODEX_BUILD_DIR`, else `build/` at the top. */
export const outDir = resolve(
  repositoryRoot,
  process.env.CODEX_BUILD_DIR || "build",
);

const ARCHITECTURES = {
  x64: { bun: "@oven/bun-linux-x64", deno: "@deno/linux-x64-glibc" },
  arm64: { bun: "@oven/bun-linux-aarch64", deno: "@deno/linux-arm64-glibc" },
};

/** What the static bubblewrap is compiled with: [what it is, how it is found, Debian package]. */
const COMPILER = [
  ["gcc", () => isInPath("gcc"), "gcc"],
  ["musl-gcc", () => isInPath("musl-gcc"), "musl-tools"],
  [
    "Linux headers",
    () => existsSync("/usr/include/linux/sched.h"),
    "linux-libc-dev",
  ],
  ["tar", () => isInPath("tar"), "tar"],
  ["xz", () => isInPath("xz"), "xz-utils"],
];

/** What only the tests use: programs that are run inside the sandbox, and the system's bubblewrap. */
export const TEST_PROGRAMS = [
  ["bwrap", () => existsSync("/usr/bin/bwrap"), "bubblewrap"],
  ["gcc", () => isInPath("gcc"), "gcc"],
  ["libc.a", () => isLibrary("libc.a"), "libc6-dev"],
  ["git", () => isInPath("git"), "git"],
  ["script", () => isInPath("script"), "bsdutils"],
  ["rg", () => existsSync("/usr/bin/rg"), "ripgrep"],
  ["make", () => isInPath("make"), "make"],
  ["zsh", () => isInPath("zsh"), "zsh"],
  ["fish", () => isInPath("fish"), "fish"],
  ["python3", () => existsSync("/usr/bin/python3"), "python3"],
  ["setpriv", () => isInPath("setpriv"), "util-linux"],
  ["ps", () => isInPath("ps"), "procps"],
  ["strace", () => isInPath("strace"), "strace"],
  ["ip", () => isInPath("ip"), "iproute2"],
  ["setcap", () => existsSync("/usr/sbin/setcap"), "libcap2-bin"],
  ["curl", () => isInPath("curl"), "curl"],
  ["openssl", () => isInPath("openssl"), "openssl"],
  ["ssh", () => isInPath("ssh"), "openssh-client"],
  // Without a service that would be started: only the tests start it.
  ["dropbear", () => existsSync("/usr/sbin/dropbear"), "dropbear-bin"],
  ["pip", () => isPythonModule("pip"), "python3-pip"],
  ["npm", () => isInPath("npm"), "npm"],
  // A JVM with its compiler: the tests give it a source.
  ["javac", () => isInPath("javac"), "default-jdk-headless"],
];

/** The path of the Bun or Deno that the lock file names, for this machine. */
export function toolPath(name) {
  const tools = ARCHITECTURES[process.arch];
  if (tools === undefined) {
    stop(
      `Cannot build on "${process.arch}": Bun is locked for x64 and arm64 only`,
    );
  }
  const inPackage = { bun: "bin/bun", deno: "deno" }[name];
  return join(repositoryRoot, "node_modules", tools[name], inPackage);
}

/**
 * Installs what is missing.
 *
 * @param {{ compiler?: boolean, tests?: boolean }} wanted `compiler`: even when a bubblewrap is built already
 */
export function setup({ compiler = false, tests = false } = {}) {
  if (process.platform !== "linux") {
    stop(`Cannot build on "${process.platform}": the sandbox is for Linux`);
  }
  const isBwrapThere = Boolean(process.env.BWRAP_BINARY) ||
    existsSync(join(outDir, "bwrap.json"));
  const needs = [
    ...(compiler || !isBwrapThere ? COMPILER : []),
    ...(tests ? TEST_PROGRAMS : []),
  ];
  const modules = missingModules();
  const missing = needs.filter(([, isThere]) => !isThere());
  if (modules.length === 0 && missing.length === 0) return;
  if (process.env.CODEX_SETUP_LOCKED === undefined && isInPath("flock")) {
    return setupLocked({ compiler, tests });
  }
  if (modules.length > 0) installModules(modules);
  if (missing.length > 0) installPackages(missing);
}

/** One set-up at a time: starts this script again under flock, where it finds what another one has done meanwhile. */
function setupLocked({ compiler, tests }) {
  mkdirSync(outDir, { recursive: true });
  const again = spawnSync("flock", [
    join(outDir, ".setup.lock"),
    process.execPath,
    fileURLToPath(import.meta.url),
    ...(compiler ? ["--compiler"] : []),
    ...(tests ? ["--tests"] : []),
  ], {
    stdio: ["ignore", 2, 2],
    env: { ...process.env, CODEX_SETUP_LOCKED: "1" },
  });
  if (again.status !== 0) process.exit(again.status ?? 125);
}

/** Packages of the lock file that belong on this machine and are not there in that version. */
function missingModules() {
  const { packages } = JSON.parse(
    readFileSync(join(repositoryRoot, "package-lock.json"), "utf8"),
  );
  const isForUs = ({ os, cpu, libc }) =>
    (os === undefined || os.includes(process.platform)) &&
    (cpu === undefined || cpu.includes(process.arch)) &&
    (libc === undefined || libc.includes("glibc"));
  return Object.entries(packages).filter(([path, locked]) =>
    path !== "" && isForUs(locked) && installedVersion(path) !== locked.version
  ).map(([path]) => path);
}

function installedVersion(path) {
  try {
    return JSON.parse(
      readFileSync(join(repositoryRoot, path, "package.json"), "utf8"),
    ).version;
  } catch {
    return null;
  }
}

function installModules(missing) {
  const modules = join(repositoryRoot, "node_modules");
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink()) {
    stop(
      `Cannot install npm packages: "node_modules" is a link; run "npm ci" where it points to`,
    );
  }
  say(
    `installing ${missing.length} npm packages of package-lock.json (npm ci)`,
  );
  const npm = process.env.npm_execpath;
  const [program, ...args] = npm?.endsWith(".js")
    ? [process.execPath, npm]
    : ["npm"];
  const flags = [
    "--include=dev",
    "--include=optional",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
  ];
  const done = spawnSync(
    program,
    [...args, "ci", ...flags, "--loglevel=error"],
    {
      cwd: repositoryRoot,
      stdio: ["ignore", 2, 2],
    },
  );
  if (done.error) stop(`Cannot run "npm ci": ${done.error.message}`);
  if (done.status !== 0) {
    stop(
      `Cannot install npm packages: "npm ci" ended with status ${done.status}`,
    );
  }
  const left = missingModules();
  if (left.length > 0) {
    stop(`Cannot build: "npm ci" left out ${left.join(", ")}`);
  }
}

function installPackages(needs) {
  const things = [...new Set(needs.map(([what]) => what))].join(", ");
  const packages = [...new Set(needs.map(([, , name]) => name))];
  const command = `apt-get install -y --no-install-recommends ${
    packages.join(" ")
  }`;
  const instead = needs.every((need) => COMPILER.includes(need))
    ? "; or set BWRAP_BINARY=FILE to a static bwrap, which needs no compiler"
    : "";
  if (!isInPath("apt-get")) {
    stop(
      `Missing: ${things}. This is not Debian: install them with this system's package manager (Debian's names: ${
        packages.join(" ")
      })${instead}`,
    );
  }
  if (process.getuid() !== 0) {
    stop(
      `Missing: ${things}. Run: sudo apt-get update && sudo ${command}${instead}`,
    );
  }
  say(`installing Debian packages: ${packages.join(" ")}`);
  apt(["update", "-qq"], command, instead);
  apt(
    ["install", "-qq", "-y", "--no-install-recommends", ...packages],
    command,
    instead,
  );
  const left = needs.filter(([, isThere]) => !isThere()).map(([what]) => what)
    .join(", ");
  if (left !== "") {
    stop(
      `Cannot build: after "${command}" there is still no ${left}${instead}`,
    );
  }
}

function apt(args, command, instead) {
  const done = spawnSync("apt-get", [
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Dpkg::Use-Pty=0",
    ...args,
  ], {
    stdio: ["ignore", 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  if (done.status !== 0) {
    stop(
      `Cannot install Debian packages: "apt-get ${
        args[0]
      }" ended with status ${done.status}; run: ${command}${instead}`,
    );
  }
}

function isInPath(program) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) =>
    isExecutable(join(folder, program))
  );
}

/** Whether the system's python3 finds a module. */
function isPythonModule(name) {
  return spawnSync("/usr/bin/python3", ["-c", `import ${name}`]).status === 0;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether a static library lies where Debian's compiler looks, multi-arch or not. */
function isLibrary(name) {
  const folders = readdirSync("/usr/lib").filter((entry) =>
    entry.endsWith("-linux-gnu")
  );
  return ["", ...folders, "../lib64"].some((folder) =>
    existsSync(join("/usr/lib", folder, name))
  );
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

function stop(line) {
  say(line);
  process.exit(125);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flags = process.argv.slice(2);
  const unknown = flags.find((flag) =>
    flag !== "--compiler" && flag !== "--tests"
  );
  if (unknown !== undefined) {
    stop(`Unknown flag "${unknown}", must be --compiler or --tests`);
  }
  setup({
    compiler: flags.includes("--compiler"),
    tests: flags.includes("--tests"),
  });
}
