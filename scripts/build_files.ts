/**
 * Where a build's inputs and outputs are, for the scripts only: `CODEX_BUILD_DIR` moves the outputs.
 *
 * @module
 */

import { dirname, resolve } from "node:path";
import process from "node:process";

/** The top of the repository. */
export const repositoryRoot: string = dirname(import.meta.dirname!);

/** The folder of all outputs: `CODEX_BUILD_DIR`, else `build/` at the top. */
export const outDir: string = resolve(
  repositoryRoot,
  process.env["CODEX_BUILD_DIR"] || "build",
);
