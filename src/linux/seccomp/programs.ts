/**
 * The assembled filter of a request, from a table that is made at build time.
 *
 * Pure. The macro runs in the bundler; what ships is the strings.
 *
 * @module
 */
import { filterTable } from "./filter_table.ts" with { type: "macro" };
import { filterKey, type FilterRequest } from "./request.ts";

const PROGRAMS: Readonly<Record<string, string>> = filterTable();

/**
 * The encoded program, for `seccomp(2)` or `bwrap --seccomp FD`: the bytes of `filterProgram(request)`.
 *
 * @throws {Error} on a request outside the table, which the types forbid
 */
export function assembledFilter(request: FilterRequest): Uint8Array {
  const key = filterKey(request);
  const program = PROGRAMS[key];
  if (program === undefined) throw new Error(`no filter for "${key}"`);
  return Uint8Array.fromBase64(program);
}
