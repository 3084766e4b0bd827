/**
 * Where the soak test stands: folders of its own, a copy of the executable, runs, and a look for whatever is left.
 *
 * What is started is known by `tests/sandbox/our_processes.ts`; nothing is ended by name.
 *
 * @module
 */
import { spawn } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  killIfThere,
  type OurProcess,
  processesOf,
} from "../tests/sandbox/our_processes.ts";
import { outDir } from "./build_files.ts";

/** The command of a run that doesn't end by itself. */
export const NAP = "86390";

/** What a run protects in its workspace, and has a placeholder for where it is missing. */
export const METADATA_NAMES = [".git", ".agents", ".codex"];

/** How a run ended. */
export interface Ended {
  /** The status, or the signal's name. */
  readonly end: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A run that goes on. */
export interface Going {
  /** `null` where it could not be started: as a number 0 would mean our own group. */
  readonly pid: number | null;
  readonly ended: Promise<Ended>;
}

/** Folders and runs of one soak test. */
export interface Ground {
  readonly top: string;
  readonly home: string;
  readonly work: string;
  readonly codex: string;
  /** Starts any program in `work`. */
  readonly start: (words: readonly string[], cwd?: string) => Going;
  /** Everything that was started and is still there. */
  readonly processes: () => OurProcess[];
  /** What is left of runs that are over, waited for a while: one line each. */
  readonly leftovers: (folders?: readonly string[]) => Promise<string[]>;
  readonly clean: () => void;
}

/** Makes the folders, closed to nobody. The profile's one writable root is the workspace: /tmp is others' too. */
export function makeGround(): Ground {
  const top = mkdtempSync("/var/tmp/codex-soak-");
  const [home, work, codex] = ["home", "work", "codex"].map((name) =>
    join(top, name)
  ) as [string, string, string];
  chmodSync(top, 0o755);
  for (const folder of [home, work]) mkdirSync(folder);
  copyFileSync(join(outDir, "codex"), codex);
  chmodSync(codex, 0o755);
  writeFileSync(join(home, "config.toml"), CONFIG);
  const mark = `CODEX_SOAK=${top}`;
  const start = (words: readonly string[], cwd = work): Going => {
    const [program = "", ...rest] = words;
    const child = spawn(program, rest, {
      cwd,
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        HOME: home,
        CODEX_HOME: home,
        CODEX_SOAK: top,
        LC_ALL: "C",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const texts = ["", ""];
    child.stdout.on("data", (chunk) => texts[0] += chunk);
    child.stderr.on("data", (chunk) => texts[1] += chunk);
    const ended = new Promise<Ended>((resolve) => {
      child.on(
        "error",
        (error) =>
          resolve({ end: "not started", stdout: "", stderr: error.message }),
      );
      child.on("close", (status, signal) =>
        resolve({
          end: signal ?? status ?? "unknown",
          stdout: texts[0] ?? "",
          stderr: texts[1] ?? "",
        }));
    });
    return { pid: child.pid ?? null, ended };
  };
  const processes = (): OurProcess[] =>
    processesOf({ mark, folders: [top], codex });
  return {
    top,
    home,
    work,
    codex,
    start,
    processes,
    leftovers: (folders = [work]) => leftovers({ home, folders, processes }),
    clean: () => {
      for (const { pid } of processes()) killIfThere(pid);
      rmSync(top, { recursive: true, force: true });
    },
  };
}

const CONFIG = `default_permissions = "soak"
[permissions.soak]
extends = ":read-only"
[permissions.soak.filesystem]
":workspace_roots" = "write"
`;

async function leftovers(
  { home, folders, processes }: {
    readonly home: string;
    readonly folders: readonly string[];
    readonly processes: () => OurProcess[];
  },
): Promise<string[]> {
  const started = performance.now();
  for (;;) {
    const alive = processes();
    const found = [
      ...alive.map(({ pid, words }) =>
        `process ${pid}: ${words.slice(0, 120)}`
      ),
      ...folders.flatMap((folder) =>
        METADATA_NAMES.map((name) => join(folder, name)).filter((path) =>
          existsSync(path)
        ).map((path) => `file ${path}`)
      ),
      ...readIfThere(join(home, "sandbox/placeholders")).map((name) =>
        `record ${name}`
      ),
      ...readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter((
        line,
      ) => line.includes("codex-soak-")).map((line) => `mount ${line}`),
    ];
    // Where nobody is left, nobody removes anything any more.
    const patienceMs = alive.length > 0 ? 5_000 : 300;
    if (found.length === 0 || performance.now() > started + patienceMs) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function readIfThere(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** What came of one part of the soak test. */
export interface Outcome {
  readonly runs: number;
  /** Each is a failure. */
  readonly faults: readonly string[];
  readonly note: string;
}

export function isThere(path: string): boolean {
  return existsSync(path);
}

/** A count by the size of the soak test. */
export function atLeast(count: number, scale: number, least: number): number {
  return Math.max(least, Math.round(count * scale));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
