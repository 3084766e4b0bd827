/**
 * Writes docs/codex.1 from the table of flags. `tests/docs/man_page_test.ts` tells when it is out of date.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { manPage } from "../src/cli/help.ts";

const REPOSITORY = join(import.meta.dirname!, "..");
const PAGE = join(REPOSITORY, "docs/codex.1");

/** The page of the version in package.json. */
export function currentManPage(): string {
  const text = readFileSync(join(REPOSITORY, "package.json"), "utf8");
  return manPage((JSON.parse(text) as { readonly version: string }).version);
}

if (import.meta.main) writeFileSync(PAGE, currentManPage());
