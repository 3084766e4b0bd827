/**
 * The first module of the executable: what starts most often and needs least. Everything else is `main.ts`.
 *
 * The rest of the program, and each of our own stages, are modules of their own: a start that was made before neither reads nor links
 * any of them.
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
import { withoutLoader } from "./src/linux/own_files.ts";
import { exitNow, writeAll } from "./src/sys/calls.ts";

/**
 * Goes the shortest way, or says which module goes the right one.
 *
 * Our own spellings stand behind the helper's name; a caller who uses them gets a command with fewer rights and nothing else.
 */
function enter(): () => Promise<unknown> {
  const argv = readWords();
  if (!argv.ok) return loadMain;
  const [argv0 = "" as ByteString, ...words] = withoutLoader(argv.value);
  if (argv0.slice(argv0.lastIndexOf("/") + 1) === HELPER_NAME) {
    if (words[0] === "--inner-stage") return () => innerStage(words);
    if (words[0] === "--watcher") return () => watcher(words);
  } else if (commandIndex(words) !== null) {
    tryKept(argv.value);
  }
  return loadMain;
}

function loadMain(): Promise<unknown> {
  return import("./main.ts");
}

async function innerStage(words: readonly ByteString[]): Promise<void> {
  const { runInnerStage } = await import("./src/linux/inner_stage.ts");
  runInnerStage(Number(words[1]), Number(words[2]), Number(words[3]));
}

async function watcher(words: readonly ByteString[]): Promise<void> {
  const { runWatcher } = await import("./src/linux/watcher.ts");
  runWatcher(Number(words[1]));
}

function tryKept(argv: readonly ByteString[]): void {
  const origin = readOrigin(argv);
  const place = origin.ok ? keptPlace(origin.value) : null;
  if (!origin.ok || place === null) return;
  startKept(origin.value, place);
  missStart(place);
}

/** Nothing was started, and nobody above this module is left to say so. */
function fail(error: unknown): never {
  const why = error instanceof Error ? error.message : String(error);
  const line = `codex: internal error: ${why}; please report it\n`;
  writeAll(2, Buffer.from(line, "utf8"));
  exitNow(125);
}

let load = loadMain;
try {
  load = enter();
} catch {
  // Whatever is wrong, the long way meets it too and says it.
}
load().catch(fail);
