/**
 * What this process has asked the host so far, with the answers: the grounds of a decision that is to be kept.
 *
 * The functions of `calls.ts` report here while somebody observes, and do nothing else otherwise. A call whose answer can't be asked
 * for again (a child was started, something was made) spoils the record.
 *
 * @module
 */

/**
 * One question and its answer.
 *
 * `lstat`, `stat`: what lies at a path; `open`: the same of what was opened there, its content included; `access`: faccessat(2) with
 * the mode before the path; `link`: readlink(2); `text`: the content of a file that the kernel makes; `file_system`: the kind of one,
 * by statfs(2); `variable`: of the caller's environment.
 */
export type Observation = readonly [
  kind:
    | "lstat"
    | "stat"
    | "open"
    | "access"
    | "link"
    | "text"
    | "file_system"
    | "variable",
  subject: string,
  answer: string,
];

/** Longest kernel-made text that is kept. */
const MAX_TEXT = 4096;

/** More questions than this take longer to ask again than to decide anew. */
const MAX_OBSERVATIONS = 256;

let record: Map<string, Observation> | null = null;
let isPaused = false;

/** From now on every question is recorded. */
export function startObserving(): void {
  record = new Map();
}

/** Whether a question is to be reported. */
export function isObserving(): boolean {
  return record !== null && !isPaused;
}

/** Adds a question. Asked twice with two answers, the record is spoilt: the host was changing. */
export function observe(
  kind: Observation[0],
  subject: string,
  answer: string,
): void {
  if (record === null || isPaused) return;
  const key = `${kind} ${subject}`;
  const before = record.get(key);
  if (before !== undefined && before[2] === answer) return;
  if (
    before !== undefined || answer.length > MAX_TEXT ||
    record.size >= MAX_OBSERVATIONS
  ) record = null;
  else record.set(key, [kind, subject, answer]);
}

/** What was decided rests on more than questions: it can't be kept. */
export function spoil(): void {
  if (!isPaused) record = null;
}

/** Runs `look` without recording: what it asks is asked anew at every start. */
export function unobserved<T>(look: () => T): T {
  const before = isPaused;
  isPaused = true;
  try {
    return look();
  } finally {
    isPaused = before;
  }
}

/** Everything that was asked, in order; `null` when nobody observed or the record is spoilt. */
export function observations(): readonly Observation[] | null {
  return record === null ? null : [...record.values()];
}
