/**
 * Wiring and exit status of `codex`, nothing else.
 *
 * @module
 */

import process from "node:process";
import {
  BWRAP_SHA256,
  BWRAP_VERSION,
  CODEX_VERSION,
} from "./src/build_info.ts";

if (process.argv[2] === "--version") {
  process.stdout.write(
    `codex ${CODEX_VERSION}\nbubblewrap ${BWRAP_VERSION} (sha256 ${BWRAP_SHA256})\n`,
  );
} else {
  process.stderr.write("codex: not built yet: only --version answers\n");
  process.exitCode = 125;
}
