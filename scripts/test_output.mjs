/**
 * What of a test file's output belongs to its failures.
 *
 * Pure. `bun test` prints what a test said and its errors before the line with its verdict, and a time-out's reason behind it. A log
 * that is cut must not lose a failure among hundreds of passes, so those go, and what they said with them.
 *
 * @module
 */

// deno-lint-ignore-file explicit-function-return-type -- plain JavaScript has no place for them

/** Before and behind an error that no test has thrown, as bun has it. */
const OUTSIDE = "# Unhandled error between tests";
const RULE = /^-{31}$/;

/** The reason of the verdict above it. */
const BEHIND = /^ {2}\^ /;

/** Where many tests have run, bun names those that failed once more. */
const AGAIN = /^\d+ tests? failed:$/;

/** A title may hold anything, and what a test said without a newline stands before its verdict: then only the time tells. */
const VERDICT =
  /^(?:(?!\s*\d+ \| ).*(?=\(\w+\) .* \[[\d.]+m?s\]$))?\((pass|fail|skip|todo)\) (.*?)(?: \[[\d.]+m?s\])?$/;

/**
 * @param output what `bun test` of one file has printed, both streams as they came
 * @returns the lines that belong to failures and those behind the last verdict; the titles of the tests that failed, in order
 */
export function failuresIn(output) {
  const kept = [];
  const titles = [];
  let pending = [];
  let last = "";
  let isOver = false;
  for (const line of output.split("\n")) {
    isOver ||= AGAIN.test(line);
    const [, verdict, title] = (isOver ? null : VERDICT.exec(line)) ?? [];
    if (verdict === undefined) {
      if (BEHIND.test(line) && pending.length === 0) {
        if (last === "fail") kept.push(line);
      } else pending.push(line);
      continue;
    }
    last = verdict;
    if (verdict === "fail") {
      kept.push(...pending, line);
      titles.push(title);
    } else kept.push(...outsideOfTests(pending));
    pending = [];
  }
  return { text: [...kept, ...pending].join("\n"), titles };
}

/** The errors among the lines before a verdict that no test has thrown. */
function outsideOfTests(lines) {
  let rules = 2;
  return lines.filter((line) => {
    if (line === OUTSIDE) rules = 0;
    const belongs = rules < 2;
    if (RULE.test(line)) rules += 1;
    return belongs;
  });
}
