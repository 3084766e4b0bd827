/**
 * Success or an expected failure, as a value.
 *
 * A bad flag, bad TOML or a host without user namespaces is expected: it is returned, early.
 * Our own mistakes (an impossible case) are thrown and crash.
 *
 * @module
 */

/** `value` when `ok`, else `error`. */
export type Result<T, E> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

/** A success that carries `value`. */
export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

/** A failure that carries `error`. */
export function fail<E>(error: E): { readonly ok: false; readonly error: E } {
  return { ok: false, error };
}

/**
 * Closes an exhaustive switch: a new case of a union fails to compile here.
 *
 * @throws {Error} always: reaching it is our mistake
 */
export function unreachable(value: never): never {
  throw new Error(`unreachable case: ${JSON.stringify(value)}`);
}
