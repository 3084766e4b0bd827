/**
 * The probe: a static C program that asks the kernel harmless questions from inside a sandbox (see the top of `probe/probe.c`).
 *
 * @module
 */
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { outDir } from "../../scripts/build_files.ts";

const SOURCE = `${import.meta.dirname}/probe/probe.c`;
const OUTPUTS = `${outDir}/probe`;

/**
 * Path of the probe, compiled when its source changed. Static: it runs in a view without libraries.
 *
 * @throws {Error} without a C compiler: a live test can't do without
 */
export function probeBinary(): string {
  const digest = new Bun.CryptoHasher("sha256").update(readFileSync(SOURCE))
    .digest("hex").slice(0, 16);
  mkdirSync(OUTPUTS, { recursive: true });
  const path = `${OUTPUTS}/probe-${process.arch}-${digest}`;
  if (!isExecutable(path)) compileTo(path);
  return path;
}

/** Compiled beside its place and renamed, so that two test runs at once never see half a file. */
function compileTo(path: string): void {
  const folder = mkdtempSync(`${OUTPUTS}/new-`);
  try {
    const made = Bun.spawnSync([
      "gcc",
      "-std=gnu11",
      "-static",
      "-O1",
      "-Wall",
      "-Wextra",
      "-o",
      `${folder}/probe`,
      SOURCE,
    ]);
    if (!made.success) {
      throw new Error(`cannot compile "${SOURCE}": ${made.stderr}`);
    }
    renameSync(`${folder}/probe`, path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
