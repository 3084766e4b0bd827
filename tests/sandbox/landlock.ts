/**
 * What the live tests of the Landlock rung share: runs on it, a profile in one line, a folder of decoys.
 *
 * @module
 */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import type { Outcome, RunOptions, Subject } from "./harness.ts";

export const PYTHON = "/usr/bin/python3";

/** A run on the rung, chosen by hand; its one warning is taken off. */
export async function alone(
  { codexRun }: Subject,
  words: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const outcome = await codexRun(
    ["sandbox", "--backend", "landlock", ...words],
    options,
  );
  return { ...outcome, stderr: outcome.stderr.replace(WARNING, "") };
}

export const WARNING =
  /^codex: warning: confined by Landlock and seccomp alone [^\n]*; it lacks pid \([^\n]*\), ipc \([^\n]*\), proc \([^\n]*\)\n/;

export function plant(folder: string, uid: number): void {
  mkdirSync(folder);
  mkdirSync(`${folder}/sub`);
  writeFileSync(`${folder}/decoy`, "kept");
  for (const path of [folder, `${folder}/sub`, `${folder}/decoy`]) {
    chownSync(path, uid, uid);
  }
}

/** A profile of the command line: the platform's directories, and what `entries` say. */
export function profile(entries: Readonly<Record<string, string>>): string[] {
  const lines = Object.entries({ ":minimal": "read", ...entries })
    .map(([path, access]) => `${JSON.stringify(path)}="${access}"`);
  return ["-c", `permissions.p.filesystem={${lines.join(",")}}`, "-P", "p"];
}
