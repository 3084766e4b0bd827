/**
 * System calls of ours with somebody else's doing between them: what another process does in that very moment, as no test can time it.
 *
 * For a process of its own (`bun -e`), which imports whatever makes such calls, `refuse.ts` as well, only after
 * {@linkcode meddle}.
 *
 * @module
 */
import { readFileSync } from "node:fs";

/** What a call is instead: it may do something before or after, and it may answer itself. */
type Meddled = (
  real: (...args: unknown[]) => unknown,
  ...args: unknown[]
) => unknown;

/** From here on the functions of `src/sys/` with these names are others, for whoever is imported later. */
export function meddle(calls: Readonly<Record<string, Meddled>>): void {
  Object.assign(globalThis, { meddled: calls });
  Bun.plugin({
    name: "meddle",
    setup: (build): void => {
      build.onLoad({ filter: /\/src\/sys\/\w+\.ts$/ }, ({ path }) => {
        let contents = readFileSync(path, "utf8");
        for (const name of Object.keys(calls)) {
          const head = `export function ${name}(`;
          if (!contents.includes(head)) continue;
          contents = contents.replace(head, `function real_${name}(`) +
            `\nexport function ${name}(...args) { return globalThis.meddled.${name}(real_${name}, ...args); }\n`;
        }
        return { contents, loader: "ts" };
      });
    },
  });
}
