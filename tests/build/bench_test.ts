/**
 * What the bench says about its figures: what is refused, what is judged, and what the page and the picture show.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pageWith } from "../../scripts/bench_page.ts";
import { peerOf, peersIn } from "../../scripts/bench_peers.ts";
import { picture } from "../../scripts/bench_picture.ts";
import {
  type BenchResult,
  isBusy,
  notesOf,
  textTable,
  timeRow,
} from "../../scripts/bench_result.ts";
import { interleaved } from "../../scripts/bench_runs.ts";

const times = (count: number, ms: number): number[] => Array(count).fill(ms);
const bare = { name: "bare", times: times(20, 5) };

test("a ratio from 20 pairs is given and judged, one from 19 is refused and not judged", () => {
  const row = (count: number) =>
    timeRow({
      table: "start",
      name: "ours",
      times: times(count, 12),
      against: { name: "bare", times: times(count, 5) },
      mostRatio: 2.5,
    });
  expect(row(20)).toMatchObject({
    ratio: 2.4,
    budgets: [{ value: 2.5, isKept: true }],
  });
  expect(row(19)).toMatchObject({ ratio: null, budgets: [{ isKept: null }] });
  expect(textTable([row(19)])).toContain("refused: 19 pairs");
});

test("a ratio is the median of the rounds' ratios, not the ratio of medians", () => {
  const ours = [...times(10, 10), ...times(10, 100)];
  const base = [...times(10, 5), ...times(10, 50)];
  const row = timeRow({
    table: "start",
    name: "ours",
    times: ours,
    against: { name: "bare", times: base },
  });
  expect(row.ratio).toBe(2);
});

test("every round asks each subject once, beginning one further, and warm-ups are not counted", () => {
  const asked: number[] = [];
  const answers = interleaved(3, 3, (subject) => asked.push(subject), {
    warmUps: 1,
  });
  expect(asked).toEqual([0, 1, 2, 0, 1, 2, 1, 2, 0, 2, 0, 1]);
  expect(answers).toEqual([[4, 9, 11], [5, 7, 12], [6, 8, 10]]);
});

test("a subject may be left out of a round, and what is enough ends the rounds", () => {
  const answers = interleaved(
    2,
    9,
    (subject, soFar) => subject === 1 && soFar[1]!.length === 2 ? null : 7,
    { isEnough: (soFar) => soFar[0]!.length === 3 },
  );
  expect(answers).toEqual([[7, 7, 7], [7, 7]]);
});

const BUSY = [ // load, share of others, busy, why
  [0.3, 0.02, false, "a quiet machine"],
  [1.5, 0.02, true, "something ran when it began"],
  [0.3, 0.4, true, "something ran meanwhile"],
] as const;
for (const [load, share, expected, why] of BUSY) {
  test(`load ${load} and ${share} of the processors for others is ${expected ? "" : "not "}busy: ${why}`, () => {
    expect(isBusy(load, share)).toBe(expected);
  });
}

function result(isOver: boolean): BenchResult {
  const ours = timeRow({
    table: "start",
    name: "default profile",
    times: times(20, isOver ? 15 : 10),
    against: bare,
    mostRatio: 2.5,
  });
  return {
    command: "npm run bench --",
    date: "2026-01-02 03:04 UTC",
    machine: { processor: "P", cores: 2, memoryGb: 8, kernel: "Linux 6.1" },
    versions: ["codex 0"],
    rounds: 20,
    busy: { load: 3, othersShare: 0.5, isBusy: true },
    rows: [ours],
    claims: [{ what: "runs", answers: ["yes"] }],
    bars: [
      { label: "ours <1>", row: "default profile", isOurs: true },
      { label: "missing", row: "no such row", isOurs: true },
    ],
  };
}

test("a busy machine is said in the notes and in the picture", () => {
  expect(notesOf(result(false)).join("\n")).toContain("BUSY");
  expect(picture(result(false))).toContain("the machine was busy");
});

test("the picture has a title, a description with every figure, and no bar for what was not measured", () => {
  const drawn = picture(result(false));
  expect(drawn).toContain('role="img"');
  expect(drawn).toMatch(/<desc[^>]*>ours &lt;1>: 10\.0 ms/);
  expect(drawn).not.toContain("missing");
  expect(drawn.match(/<rect /g)?.length).toBe(1);
});

test("the page keeps what stands around the marks, and names the budgets that were missed", () => {
  const page = "# A\n\n<!-- bench: begin -->\nold\n<!-- bench: end -->\n\nB\n";
  const written = pageWith(page, result(true));
  expect(written).toStartWith("# A\n");
  expect(written).toEndWith("\n\nB\n");
  expect(written).not.toContain("old");
  expect(written).toContain("Budgets missed:\n\n- default profile");
  expect(pageWith(written, result(false))).toContain("Every budget is kept.");
  expect(() => pageWith("# A\n", result(true))).toThrow("must hold");
});

test("a page may ask for the short table: a column for each tool, a line for each figure", () => {
  const peer = timeRow({
    table: "start",
    name: "Other 1",
    times: times(20, 50),
  });
  const { rows, bars, ...rest } = result(false);
  const page = pageWith(
    "A\n<!-- bench summary: begin -->\n<!-- bench summary: end -->\n",
    {
      ...rest,
      rows: [...rows, peer],
      bars: [...bars, { label: "Other 1", row: "Other 1", isOurs: false }],
    },
  );
  expect(page).toContain("|  | codex | Other 1 |");
  expect(page).toContain("| start of `true`, median | 10.0 ms | 50.0 ms |");
  expect(page).not.toContain("tunnels");
});

test("what was not measured stays as it is on the page", () => {
  const page =
    "<!-- bench: begin -->\nold\n<!-- bench: end -->\n<!-- bench claims: begin -->\n<!-- bench claims: end -->\n";
  const written = pageWith(page, { ...result(false), rows: [] });
  expect(written).toContain("old");
  expect(written).toContain("| runs | yes |");
});

test("peers are found in a folder and directly below it, and a folder without any is refused by name", () => {
  const folder = mkdtempSync(join(tmpdir(), "codex-peers-"));
  const put = (path: string, text: string): void => {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  try {
    expect(() => peersIn(folder)).toThrow(`Cannot use --peers "${folder}"`);
    const reference = "a/node_modules/@openai";
    put(`${reference}/codex/package.json`, '{"version":"1.2.3"}');
    expect(() => peersIn(folder)).toThrow("without its executable");
    put(
      `${reference}/codex-linux-x64/vendor/x-unknown-linux-musl/bin/codex`,
      "",
    );
    put(
      "b/node_modules/@anthropic-ai/sandbox-runtime/package.json",
      '{"version":"0.1.2"}',
    );
    expect(peersIn(folder).map(({ name }) => name)).toEqual([
      "Codex 1.2.3",
      "srt 0.1.2",
    ]);
    expect(peersIn(join(folder, "b"))).toHaveLength(1);
    expect(() => peerOf("nothing")).toThrow("must be NAME=FILE");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
