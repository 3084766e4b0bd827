/**
 * Writes docs/codex.1 from the table of flags, or tells that it is out of date.
 *
 * Usage: bun scripts/man_page.ts [--check]
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { manPage } from "../src/cli/help.ts";

const REPOSITORY = join(import.meta.dirname!, "..");
const PAGE = join(REPOSITORY, "docs/codex.1");

/** The page of the version in package.json. */
export function currentManPage(): string {
  const text = readFileSync(join(REPOSITORY, "package.json"), "utf8");
  return manPage((JSON.parse(text) as { readonly version: string }).version);
}

if (import.meta.main) {
  const page = currentManPage();
  if (process.argv[2] !== "--check") writeFileSync(PAGE, page);
  else if (readFileSync(PAGE, "utf8") !== page) {
    process.stderr.write(
      'man_page: "docs/codex.1" is out of date, run: bun scripts/man_page.ts\n',
    );
    process.exitCode = 1;
  }
}
