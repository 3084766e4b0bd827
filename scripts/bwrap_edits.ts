/**
 * Our build-time edits of bubblewrap's source, in the order in which they are applied.
 *
 * Upstream's source is not in this repository, so an edit is a search pattern, as short as uniqueness allows, and our own text.
 * Pure. A pattern that does not occur exactly once fails the build: the source is not the one the edit was written for.
 *
 * @module
 */

import { fail, ok, type Result } from "../src/result.ts";

/** One edit of one file of the unpacked source. */
export type SourceEdit = {
  /** Two digits, then what it does: `01-linear-mount-table`. Named in errors and in `bwrap.json`. */
  readonly name: string;
  /** A file at the top of the unpacked source. */
  readonly file: string;
  /** Why upstream's behaviour is not enough for us. */
  readonly why: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  /** Our text in its place. */
  readonly replace: string;
};

/** None so far: the bundled bubblewrap is upstream's source as released. */
export const SOURCE_EDITS: readonly SourceEdit[] = [];

/** The edited text, or one line that says why the edit does not fit. */
export function applyEdit(
  text: string,
  edit: SourceEdit,
): Result<string, string> {
  const count = text.split(edit.find).length - 1;
  if (count !== 1) {
    return fail(
      `Cannot apply edit "${edit.name}" to "${edit.file}": its pattern occurs ${count} times, must be 1`,
    );
  }
  return ok(text.replace(edit.find, () => edit.replace));
}
