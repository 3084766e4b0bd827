/**
 * What a placeholder's record says, whoever was killed while it was written.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { parseRecord } from "../../src/linux/placeholder_records.ts";

const BEGUN = '{"path":"/w/.git","node":"directory"}';
const ADDED = '{"device":1,"inode":2,"isMarked":true}';
const BEGINNING = { path: "/w/.git", node: "directory" };
const WHOLE = { ...BEGINNING, device: 1, inode: 2, isMarked: true };

for (
  const [text, says, why] of [
    [BEGUN, BEGINNING, "its owner has not made the placeholder yet"],
    [`${BEGUN}\n${ADDED}`, WHOLE, "complete"],
    [`${BEGUN}\n`, BEGINNING, "killed at the first byte"],
    [`${BEGUN}\n${ADDED.slice(0, -1)}`, BEGINNING, "killed in the middle"],
    [
      `${BEGUN}\n${ADDED.slice(0, 9)}\n${ADDED}`,
      WHOLE,
      "killed in the middle, then completed by the next run",
    ],
    [
      `${BEGUN}\n{"device":8,"inode":9,"isMarked":false}\n${ADDED}`,
      WHOLE,
      "made anew: the last one counts",
    ],
    [
      `${BEGUN}\n{"path":"/etc","node":"file","inode":2}`,
      { ...BEGINNING, inode: 2 },
      "its path stands in the first line",
    ],
    ["", null, "empty"],
    ["{", null, "no JSON"],
    ["null", null, "no object"],
    ['{"path":"w/.git","node":"directory"}', null, "not absolute"],
    [`\n${ADDED}`, null, "nothing but what was added"],
  ] as const
) {
  test(`a record is read as it is meant: ${why}`, () => {
    expect(parseRecord(text)).toEqual(says as ReturnType<typeof parseRecord>);
  });
}
