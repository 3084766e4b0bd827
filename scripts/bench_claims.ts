/**
 * What a command can do in the sandbox that each tool makes when nothing else is asked for: tried, not read from a page.
 *
 * Everything is tried on decoys, as an ordinary user: as root some tools keep every capability, and nothing could be compared.
 *
 * @module
 */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import type { Claim } from "./bench_result.ts";

const USER = 65_534;
const RUN_MS = 15_000;
const SETTLED_MS = 1_500;

type Tool = { readonly name: string; readonly argv: readonly string[] };

/** The control: the command alone. */
const NO_TOOL: Tool = { name: "no sandbox", argv: [] };

type Ground = {
  readonly folder: string;
  readonly env: Record<string, string>;
  /** A process of the user outside. */
  readonly outsider: number;
};

type Trial = {
  readonly what: string;
  readonly answer: (tool: Tool, ground: Ground) => string;
};

/** `yes` where the line of a shell ends with status 0. */
function can(what: string, line: (ground: Ground) => string): Trial {
  return {
    what,
    answer: (tool, ground) =>
      statusOf(tool, ["sh", "-c", line(ground)], ground) === 0 ? "yes" : "no",
  };
}

/** A system call by number (x86-64) that answers no error. */
function canCall(what: string, call: string): Trial {
  return can(what, () => `perl -e 'exit(syscall(${call}) >= 0 ? 0 : 1)'`);
}

const TRIALS: readonly Trial[] = [
  {
    what: "writes a file of yours that nothing grants",
    answer(tool, ground): string {
      const file = decoy(ground, "elsewhere");
      statusOf(tool, ["sh", "-c", `echo new > ${file}`], ground);
      return readFileSync(file, "utf8") === "old\n" ? "no" : "yes";
    },
  },
  {
    what: "writes a file that you gave it to read as standard input",
    answer(tool, ground): string {
      const file = decoy(ground, "input");
      statusOf(tool, ["sh", "-c", "echo new > /proc/self/fd/0"], ground, file);
      return readFileSync(file, "utf8") === "old\n" ? "no" : "yes";
    },
  },
  can("reaches your processes", ({ outsider }) => `kill -0 ${outsider}`),
  can(
    "reaches a daemon's socket in the file system",
    ({ folder }) =>
      `perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new(Peer => "${folder}/socket") ? 0 : 1)'`,
  ),
  can("makes a user namespace", () => "unshare --user --map-root-user true"),
  canCall("traces (ptrace)", "101, 0, 0, 0, 0"),
  canCall("asks for io_uring", '425, 1, $b = "\\0" x 120'),
  canCall("uses the session's keyring", "250, 0, -3, 1"),
  {
    what: "goes on after SIGKILL of the tool",
    answer: (tool, ground) => goesOn(tool, ground, "SIGKILL"),
  },
  {
    what: "goes on after SIGTERM of the tool",
    answer: (tool, ground) => goesOn(tool, ground, "SIGTERM"),
  },
  {
    what: "status where the command is not found",
    answer: (tool, ground) =>
      String(statusOf(tool, ["no-such-command"], ground)),
  },
  {
    what: "status where it can't be executed",
    answer: (tool, ground) =>
      String(statusOf(tool, [decoy(ground, "plain")], ground)),
  },
];

/** Every trial that works without a sandbox, with every tool, in the order of `tools`. A tool that runs nothing here has no answers. */
export function claimsOf(
  tools: readonly Tool[],
  path: string,
): readonly Claim[] {
  const folder = mkdtempSync("/var/tmp/codex-claims-");
  const home = join(folder, "home");
  chmodSync(folder, 0o755);
  mkdirSync(home);
  chownSync(home, USER, USER);
  const outside = Bun.spawn(asUser(["sleep", "600"]), {
    stdio: ["ignore", "ignore", "ignore"],
  });
  const server = createServer().listen(join(home, "socket"));
  try {
    chownSync(join(home, "socket"), USER, USER);
    const ground: Ground = {
      folder: home,
      env: { PATH: path, HOME: home, CODEX_HOME: join(home, ".codex") },
      outsider: outside.pid,
    };
    mkdirSync(join(home, ".codex"), { mode: 0o700 });
    chownSync(join(home, ".codex"), USER, USER);
    const runs = tools.map((tool) => statusOf(tool, ["true"], ground) === 0);
    // What can't be done without a sandbox either says nothing about one.
    const trials = TRIALS.filter(({ what, answer }) =>
      what.startsWith("status") || answer(NO_TOOL, ground) === "yes"
    );
    return trials.map(({ what, answer }) => ({
      what,
      answers: tools.map((tool, index) =>
        runs[index] ? answer(tool, ground) : ""
      ),
    }));
  } finally {
    server.close();
    outside.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

function asUser(argv: readonly string[]): string[] {
  return [
    "setpriv",
    "--reuid",
    `${USER}`,
    "--regid",
    `${USER}`,
    "--clear-groups",
    ...argv,
  ];
}

function statusOf(
  tool: Tool,
  command: readonly string[],
  { folder, env }: Ground,
  input: string | null = null,
): number | null {
  return Bun.spawnSync(asUser([...tool.argv, ...command]), {
    cwd: folder,
    env,
    stdio: [input === null ? "ignore" : Bun.file(input), "ignore", "ignore"],
    timeout: RUN_MS,
  }).exitCode;
}

function decoy({ folder }: Ground, name: string): string {
  const file = join(folder, name);
  writeFileSync(file, "old\n");
  chownSync(file, USER, USER);
  chmodSync(file, 0o644);
  return file;
}

/** Whether what was started inside lives when the tool has been ended. */
function goesOn(
  tool: Tool,
  { folder, env }: Ground,
  signal: "SIGKILL" | "SIGTERM",
): string {
  // A number that no other process sleeps for.
  const seconds = String(100_000 + Math.floor(Math.random() * 800_000));
  const run = Bun.spawn(
    asUser([...tool.argv, "sh", "-c", `sleep ${seconds} & sleep ${seconds}`]),
    { cwd: folder, env, stdio: ["ignore", "ignore", "ignore"] },
  );
  Bun.sleepSync(SETTLED_MS);
  const wasThere = sleepers(seconds).length > 0;
  run.kill(signal);
  Bun.sleepSync(SETTLED_MS);
  const left = sleepers(seconds);
  for (const pid of left) process.kill(pid, "SIGKILL");
  return wasThere ? left.length > 0 ? "yes" : "no" : "";
}

function sleepers(seconds: string): readonly number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1") ===
          `sleep\0${seconds}\0`;
      } catch {
        return false;
      }
    }).map(Number);
}
