/**
 * What a command says and how it ends, as data: `main` prints it.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { Origin } from "../policy/policy.ts";

/** Texts end with a newline or are empty. */
export interface CommandOutput {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
}

/** `value` as indented JSON with a newline. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** `FILE:LINE:COL`, or the key where no file holds it. */
export function originText(origin: Origin): string {
  if (origin.file === null) return origin.key;
  const line = origin.line === undefined ? "" : `:${origin.line}`;
  const column = origin.column === undefined ? "" : `:${origin.column}`;
  return `${toText(origin.file)}${line}${column}`;
}

/** An origin for machines: absent parts are null. */
export function originJson(origin: Origin): {
  readonly file: string | null;
  readonly key: string;
  readonly line: number | null;
  readonly column: number | null;
} {
  return {
    file: origin.file === null ? null : toText(origin.file),
    key: origin.key,
    line: origin.line ?? null,
    column: origin.column ?? null,
  };
}
