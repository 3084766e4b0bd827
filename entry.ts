/**
 * The first module of the executable: what starts most often and needs least. Everything else is `main.ts`.
 *
 * The rest of the program is a module of its own, so that a start that was made before, the inner stage and the watcher neither read
 * nor link it.
 *
 * @module
 */
import type { ByteString } from "./src/bytes.ts";
import { HELPER_NAME } from "./src/cli/helper_name.ts";
import { readOrigin, readWords } from "./src/host/origin.ts";
import {
  commandIndex,
  keptPlace,
  missStart,
  startKept,
} from "./src/run/kept_start.ts";
import { runInnerStage } from "./src/linux/inner_stage.ts";
import { withoutLoader } from "./src/linux/own_files.ts";
import { runWatcher } from "./src/linux/watcher.ts";
import { exitNow, writeAll } from "./src/sys/calls.ts";

/** @returns where the long way is to be gone */
function enter(): void {
  const argv = readWords();
  if (!argv.ok) return;
  const [argv0 = "" as ByteString, ...words] = withoutLoader(argv.value);
  if (argv0.slice(argv0.lastIndexOf("/") + 1) === HELPER_NAME) {
    enterOwn(words);
  } else if (commandIndex(words) !== null) {
    tryKept(argv.value);
  }
}

/** Our own spellings; a caller who uses them gets a command with fewer rights and nothing else. */
function enterOwn([spelling, ...fds]: readonly ByteString[]): void {
  if (spelling !== "--inner-stage" && spelling !== "--watcher") return;
  const [orders, channel, report] = fds.map(Number);
  try {
    if (spelling === "--watcher") runWatcher(orders ?? -1);
    runInnerStage(orders ?? -1, channel ?? -1, report ?? -1);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const line = `codex: internal error: ${why}; please report it\n`;
    writeAll(2, Buffer.from(line, "utf8"));
    exitNow(125);
  }
}

function tryKept(argv: readonly ByteString[]): void {
  const origin = readOrigin(argv);
  const place = origin.ok ? keptPlace(origin.value) : null;
  if (!origin.ok || place === null) return;
  startKept(origin.value, place);
  missStart(place);
}

try {
  enter();
} catch {
  // Whatever is wrong, the long way meets it too and says it.
}
import("./main.ts");
