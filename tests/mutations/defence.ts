/**
 * What an entry of the list of defences is, and short ways to write one.
 *
 * @module
 */

/**
 * Tests that must notice: a file below `tests/`, and a pattern over the titles where the whole file would take long. For the escape
 * test it is one over the rows' ids, and no other row is tried: what such a row does must be harmless without the defence.
 */
export type Notice = readonly [file: string, titles?: string];

/** One protective step. */
export interface Defence {
  /** The step, as a sentence that is no longer true without it. */
  readonly step: string;
  readonly file: string;
  readonly text: string;
  readonly instead: string;
  /** Where two steps cover each other, both go: the other one, in the same file or in another. */
  readonly also?: {
    readonly file?: string;
    readonly text: string;
    readonly instead: string;
  };
  /** `live`: through a build with the patch. `pure`: the sources are enough. */
  readonly kind: "live" | "pure";
  /** One failure in any of them is enough. */
  readonly noticedBy: readonly Notice[];
  /** Columns of the live tests; without it: root, the bundled bubblewrap, both ways to start. */
  readonly columns?: string;
}

/** What is to be written, in order: the step itself, and what goes with it. */
export function patchesOf(
  { file, text, instead, also }: Defence,
): readonly {
  readonly file: string;
  readonly text: string;
  readonly instead: string;
}[] {
  return [
    { file, text, instead },
    ...(also === undefined ? [] : [{ file, ...also }]),
  ];
}

/** Through a build. */
export function live(
  step: string,
  file: string,
  text: string,
  instead: string,
  ...noticedBy: readonly Notice[]
): Defence {
  return { step, file, text, instead, kind: "live", noticedBy };
}

/** Where it takes the system's bubblewrap to notice. */
export function withSystem(defence: Defence): Defence {
  return { ...defence, columns: "root system" };
}

/** By the sources alone. */
export function pure(
  step: string,
  file: string,
  text: string,
  instead: string,
  ...noticedBy: readonly Notice[]
): Defence {
  return { step, file, text, instead, kind: "pure", noticedBy };
}
