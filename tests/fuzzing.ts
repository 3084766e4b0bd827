/**
 * The inputs of the fuzz tests: a kept corpus (`tests/corpus`), texts of a grammar, and mutations of both. The first input that gets an
 * answer of a new kind is mutated from then on like those of the corpus: so a reader is led on, step by step.
 *
 * In a test run the number of inputs and the seed are fixed. `scripts/fuzz.ts` gives seconds and another seed instead, and a folder
 * for what is found: the input is made smaller for as long as it still fails, and written there, to be tried first from then on.
 *
 * @module
 */
import fc from "fast-check";
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

/** A number from 0 to below `below`. */
export type Random = (below: number) => number;

/** Checks one input; throws when what must hold doesn't. */
export type Check = (bytes: Buffer, random: Random) => void;

export interface FuzzOptions {
  /** A folder of the corpus. */
  readonly room: string;
  readonly seed: number;
  /** Inputs of a run without `FUZZ_RUNS` and `FUZZ_SECONDS`. */
  readonly runs: number;
  /** Pieces that mutations insert. */
  readonly tokens: readonly Buffer[];
  /** Texts that are mostly well formed. */
  readonly grammar?: fc.Arbitrary<Buffer>;
  /** Longer inputs are cut. */
  readonly maxBytes?: number;
  /** What the reader under test makes of an input: the kind of its answer is what leads on. */
  readonly reads?: (bytes: Buffer) => unknown;
}

export const CORPUS = join(import.meta.dirname ?? ".", "corpus");

/** No test of `bun test` may end before its inputs do. */
export const FUZZ_TIMEOUT_MS = 3_600_000;

const MAX_EDITS = 4;
const DEFAULT_MAX_BYTES = 16_384;
const GRAMMAR_BATCH = 200;
const SHRINKING_MS = 3_000;

/** Inputs that are kept beside the corpus: with more, each would be mutated too rarely. */
const MAX_KINDS = 2_000;

/** What `scripts/fuzz.ts` asks for. */
const ASKED = {
  runs: numberIn("FUZZ_RUNS"),
  seconds: numberIn("FUZZ_SECONDS"),
  seed: numberIn("FUZZ_SEED") ?? 0,
  /** Where finds go; a test run writes none. */
  finds: process.env["FUZZ_FINDS"] ?? null,
  /** A file that gets one line for each property. */
  report: process.env["FUZZ_REPORT"] ?? null,
};

/** A small generator with a fixed seed (mulberry32). */
export function generator(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** The kept inputs of a room, in the order of their names. */
export function corpus(room: string): readonly Buffer[] {
  const folder = join(CORPUS, room);
  return readdirSync(folder).sort().map((name) =>
    readFileSync(join(folder, name))
  );
}

/** Tries the corpus, then inputs without end until the budget is used. A failure shows its input. @returns the inputs tried */
export function fuzz(options: FuzzOptions, check: Check): number {
  const entries = corpus(options.room);
  const seed = options.seed + ASKED.seed;
  const random = generator(seed);
  const deadline = ASKED.seconds === null
    ? Infinity
    : performance.now() + ASKED.seconds * 1_000;
  const runs = ASKED.seconds !== null ? Infinity : ASKED.runs ?? options.runs;
  const pool = [...entries];
  const kinds = new Set<string>();
  const next = inputs(options, pool, random, seed);
  const { reads } = options;
  let tried = 0;
  for (; tried < runs; tried++) {
    if (tried >= entries.length && performance.now() > deadline) break;
    const bytes = entries[tried] ?? next();
    const fault = faultOf(check, bytes, seed + tried);
    const isKnown = tried < entries.length;
    if (fault === null) {
      const kind = reads === undefined ? null : kindOf(reads(bytes));
      if (kind === null || kinds.has(kind)) continue;
      kinds.add(kind);
      if (!isKnown && pool.length < entries.length + MAX_KINDS) {
        pool.push(bytes);
      }
      continue;
    }
    const least = isKnown ? bytes : smaller(check, bytes, seed + tried);
    const kept = isKnown ? "" : keep(options.room, least);
    throw new Error(
      `input ${tried} of ${options.room}, seed ${seed}, hex ${
        least.toString("hex")
      }${kept}: ${fault.message}`,
      { cause: fault },
    );
  }
  if (ASKED.report !== null) appendFileSync(ASKED.report, `${tried}\n`);
  return tried;
}

/** Inputs one after another: of the grammar where there is one, and mutations. */
function inputs(
  options: FuzzOptions,
  entries: readonly Buffer[],
  random: Random,
  seed: number,
): () => Buffer {
  const { grammar, tokens, maxBytes = DEFAULT_MAX_BYTES } = options;
  let batch: Buffer[] = [];
  let batches = 0;
  const fromGrammar = (arbitrary: fc.Arbitrary<Buffer>): Buffer => {
    if (batch.length === 0) {
      batch = fc.sample(arbitrary, {
        seed: seed + batches++,
        numRuns: GRAMMAR_BATCH,
      });
    }
    return batch.pop()!;
  };
  return () => {
    const entry = entries[random(entries.length)] ?? Buffer.alloc(0);
    if (grammar === undefined) {
      return mutated(entry, entries, tokens, random).subarray(0, maxBytes);
    }
    switch (random(4)) {
      case 0:
        return fromGrammar(grammar).subarray(0, maxBytes);
      case 1:
        return mutated(fromGrammar(grammar), entries, tokens, random)
          .subarray(0, maxBytes);
      default:
        return mutated(entry, entries, tokens, random).subarray(0, maxBytes);
    }
  };
}

function mutated(
  entry: Buffer,
  entries: readonly Buffer[],
  tokens: readonly Buffer[],
  random: Random,
): Buffer {
  let bytes = entry;
  for (let i = random(MAX_EDITS + 1); i > 0; i--) {
    const at = random(bytes.length + 1);
    const to = Math.min(bytes.length, at + random(8));
    const before = bytes.subarray(0, at);
    const other = entries[random(entries.length)] ?? Buffer.alloc(0);
    const token = tokens[random(tokens.length)] ?? Buffer.alloc(0);
    switch (random(6)) {
      case 0:
        bytes = Buffer.concat([before, token, bytes.subarray(at)]);
        break;
      case 1:
        bytes = Buffer.concat([before, bytes.subarray(to)]);
        break;
      case 2:
        bytes = Buffer.concat([
          before,
          Buffer.from([random(256)]),
          bytes.subarray(at + 1),
        ]);
        break;
      case 3:
        bytes = Buffer.concat([
          before,
          other.subarray(random(other.length + 1)),
        ]);
        break;
      case 4:
        bytes = Buffer.concat([before, token, bytes.subarray(to)]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    }
  }
  return bytes;
}

/** Words by which answers differ in kind; any other text is a text. */
const TELLING = new Set(
  "kind access network scheme family node call verdict symbol".split(" "),
);

/**
 * An answer without what makes each input its own: texts by what is quoted in them left out, numbers by their size, lists by the kinds
 * in them.
 */
export function kindOf(answer: unknown, key = ""): string {
  switch (typeof answer) {
    case "string":
      if (TELLING.has(key)) return answer;
      return key === "error" || key === "message" || key === "text"
        ? answer.replace(/"[^"]*"|`[^`]*`|[0-9]+|[^ -~]+/g, "_").slice(0, 80)
        : answer === ""
        ? "e"
        : "s";
    case "number":
      return answer < 2 ? String(answer) : "n";
    case "object":
      break;
    default:
      return String(answer);
  }
  if (answer === null) return "null";
  if (ArrayBuffer.isView(answer)) return answer.byteLength === 0 ? "e" : "b";
  if (Array.isArray(answer)) {
    return `[${[...new Set(answer.map((one) => kindOf(one)))].sort()}]`;
  }
  return `{${
    Object.entries(answer).map(([name, value]) =>
      `${name}:${kindOf(value, name)}`
    )
  }}`;
}

/** The check's generator begins with the same number for the same input, so that a failure can be seen again. */
function faultOf(check: Check, bytes: Buffer, seed: number): Error | null {
  try {
    check(bytes, generator(seed));
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Takes parts out of a failing input for as long as it still fails. */
function smaller(check: Check, bytes: Buffer, seed: number): Buffer {
  const until = performance.now() + SHRINKING_MS;
  let least = bytes;
  for (let size = bytes.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < least.length && performance.now() < until;) {
      const shorter = Buffer.concat([
        least.subarray(0, at),
        least.subarray(at + size),
      ]);
      if (faultOf(check, shorter, seed) === null) at += size;
      else least = shorter;
    }
  }
  return least;
}

/** @returns the end of a message that names the file */
function keep(room: string, bytes: Buffer): string {
  if (ASKED.finds === null) return "";
  const name = `found_${
    new Bun.CryptoHasher("sha256").update(bytes).digest("hex").slice(0, 12)
  }`;
  const folder = join(ASKED.finds, room);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), bytes);
  return `, kept as ${room}/${name}`;
}

function numberIn(variable: string): number | null {
  const text = process.env[variable] ?? "";
  return text === "" ? null : Number(text);
}
