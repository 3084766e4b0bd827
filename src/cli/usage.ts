/**
 * Words on the command line that we cannot accept.
 *
 * Everything this room refuses is visible in the words alone, so all of it ends with status 2; what needs a file or the host to be
 * refused is another room's and ends with 125. The reference uses 101 for some of these (no command, no profile): our table has one rule.
 *
 * @module
 */

/** A refusal of the user's words: one line each, no full stop. `hint` says what would work. */
export interface UsageError {
  readonly kind: "usage";
  readonly message: string;
  readonly hint?: string;
}

/** A failed result that carries a {@linkcode UsageError}. */
export function refuse(
  message: string,
  hint?: string | null,
): { readonly ok: false; readonly error: UsageError } {
  const error: UsageError = hint === undefined || hint === null
    ? { kind: "usage", message }
    : { kind: "usage", message, hint };
  return { ok: false, error };
}
