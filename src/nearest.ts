/**
 * The word that was probably meant, for "did you mean" hints.
 *
 * Pure. Used on errors only, so clarity comes before speed; long words are not compared at all.
 * Source: the optimal string alignment distance (an edit is one insertion, deletion, replacement or swap of neighbours).
 *
 * @module
 */

/** Longer words get no hint: their cost grows with the square of the length and a typing slip is not the reason. */
const MAX_LENGTH = 80;

/**
 * The candidate that `word` most probably means, or `null` when none is near.
 *
 * Near is at most one edit per three characters (at least one edit), case counting nothing; failing that, the only candidate that
 * `word` (three characters or more) begins. Of equally near candidates the first is taken.
 */
export function nearest(
  word: string,
  candidates: readonly string[],
): string | null {
  if (word === "" || word.length > MAX_LENGTH) return null;
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let bestEdits = Infinity;
  for (const candidate of candidates) {
    if (candidate.length > MAX_LENGTH) continue;
    const longer = Math.max(wanted.length, candidate.length);
    const allowed = Math.max(1, Math.floor(longer / 3));
    const edits = editDistance(wanted, candidate.toLowerCase());
    // A distance of the whole length shares nothing: "a" is no slip of "b".
    if (edits <= allowed && edits < longer && edits < bestEdits) {
      best = candidate;
      bestEdits = edits;
    }
  }
  if (best !== null || wanted.length < 3) return best;
  const begun = candidates.filter((it) => it.toLowerCase().startsWith(wanted));
  return begun.length === 1 ? begun[0]! : null;
}

/** The number of edits (insert, delete, replace, swap two neighbours) between two words, counted in UTF-16 units. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let edits = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (same ? 0 : 1),
      );
      const swapped = row > 1 && column > 1 &&
        a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) edits = Math.min(edits, beforeLast[column - 2]! + 1);
      current.push(edits);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length]!;
}
