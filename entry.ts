/**
 * The first module of the executable: a start that was made before is made again, everything else is `main.ts`.
 *
 * The rest of the program is a module of its own, so that a kept start neither reads nor links it.
 *
 * @module
 */
import { HELPER_NAME } from "./src/cli/helper_name.ts";
import { readOrigin, readWords } from "./src/host/origin.ts";
import {
  commandIndex,
  keptPlace,
  missStart,
  startKept,
} from "./src/kept_start.ts";

function tryKept(): void {
  const argv = readWords();
  if (!argv.ok) return;
  const [argv0 = "", ...words] = argv.value;
  if (argv0.endsWith(HELPER_NAME) || commandIndex(words) === null) return;
  const origin = readOrigin(argv.value);
  const place = origin.ok ? keptPlace(origin.value) : null;
  if (!origin.ok || place === null) return;
  startKept(origin.value, place);
  missStart(place);
}

try {
  tryKept();
} catch {
  // Whatever is wrong, the long way meets it too and says it.
}
import("./main.ts");
