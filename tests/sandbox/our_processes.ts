/**
 * Which processes of this machine are a test's own, and what of theirs may be ended and taken away.
 *
 * Nothing is ended by name: what is ours carries a mark in its environment, stands in one of our folders, or runs our file and holds
 * one of them open. No test runner in here: the soak test and the mutation check use it too.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";

/** A process of ours. */
export interface OurProcess {
  readonly pid: number;
  readonly words: string;
  readonly exe: string;
}

/** By what a process is known to be ours. */
export interface OurSigns {
  /** An entry of the environment, `NAME=VALUE`. */
  readonly mark: string;
  readonly folders: readonly string[];
  /** The executable that is tested; `null` while none was started. */
  readonly codex: string | null;
}

/** Every process with one of these signs that is still there, but for the caller. */
export function processesOf(signs: OurSigns): OurProcess[] {
  const { mark, folders, codex } = signs;
  const isInside = (path: string): boolean =>
    folders.some((folder) => path.startsWith(folder));
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap(
    (name): OurProcess[] => {
      const pid = Number(name);
      if (pid === process.pid) return [];
      const read = (file: string): string => {
        try {
          return readFileSync(`/proc/${name}/${file}`, "latin1");
        } catch {
          return ""; // gone meanwhile, or not ours
        }
      };
      const exe = linkOf(`/proc/${name}/exe`);
      const isOurs = read("environ").split("\0").includes(mark) ||
        isInside(linkOf(`/proc/${name}/cwd`)) ||
        isExecutableOf(exe, codex) && openFiles(name).some(isInside);
      if (!isOurs || /^State:\s*Z/m.test(read("status"))) return [];
      const words = read("cmdline").replaceAll("\0", " ").trim();
      return [{ pid, words, exe }];
    },
  );
}

/** Whether a process runs our own file, or the program that waits in the watcher's place. */
export function isExecutableOf(exe: string, codex: string | null): boolean {
  return exe === codex || exe.startsWith("/memfd:codex-watcher");
}

/** Where a process's descriptors lead: a watcher has no environment and stands in `/`, but it holds the folders of its placeholders. */
function openFiles(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) =>
      linkOf(`/proc/${pid}/fd/${fd}`)
    );
  } catch {
    return []; // gone meanwhile
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // gone meanwhile, or not ours
  }
}

/** SIGKILL to a process that may have gone with another one by now. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone meanwhile
  }
}

/** Takes an empty folder away that a killed run has left in a place that is everybody's. What somebody holds, or has filled, stays. */
export function removeUnheld(path: string): void {
  // Under the lock it is still the one that was opened, or else it is another run's by now.
  const line =
    'exec 9<"$0" && flock -n -x 9 && [ "$0" -ef /proc/self/fd/9 ] && rmdir "$0"';
  spawnSync("sh", ["-c", line, path], { stdio: "ignore" });
}
