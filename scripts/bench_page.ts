/**
 * The page of a measurement: its tables between two marks of `docs/benchmarks.md`; what stands around them stays.
 *
 * Pure.
 *
 * @module
 */
import {
  type BenchResult,
  type BenchRow,
  cellsOf,
  notesOf,
} from "./bench_result.ts";

const BEGIN = "<!-- bench: begin -->";
const END = "<!-- bench: end -->";

const TITLES: Readonly<Record<BenchRow["table"], string>> = {
  start: "Start-up",
  config: "Config files",
  masks: "Many masks and large trees",
  network: "The managed network",
};

/** `page` with the tables of `result`. @throws where the marks are missing */
export function pageWith(page: string, result: BenchResult): string {
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from === -1 || to < from) {
    throw new Error(`Cannot write the page: must hold ${BEGIN} and ${END}`);
  }
  return `${page.slice(0, from + BEGIN.length)}\n\n${measured(result)}\n\n${
    page.slice(to)
  }`;
}

function measured(result: BenchResult): string {
  const tables = Object.entries(TITLES).flatMap(([table, title]) => {
    const rows = result.rows.filter((row) => row.table === table);
    return rows.length === 0 ? [] : [`## ${title}\n\n${markdown(rows)}`];
  });
  return [
    "```sh\n" + result.command + "\n```",
    notesOf(result).map((note) => `- ${note}`).join("\n"),
    ...tables,
    ...verdict(result.rows),
  ].join("\n\n");
}

/** Which budgets don't hold, and which were not judged. */
function verdict(rows: readonly BenchRow[]): readonly string[] {
  const named = (isKept: boolean | null): string =>
    rows.filter(({ budgets }) => budgets.some((it) => it.isKept === isKept))
      .map(({ name }) => `- ${name}`).join("\n");
  const [over, open] = [named(false), named(null)];
  if (over === "" && open === "") return ["Every budget is kept."];
  return [
    ...(over === "" ? [] : ["Over budget:", over]),
    ...(open === "" ? [] : ["Not judged:", open]),
  ];
}

function markdown(rows: readonly BenchRow[]): string {
  const [head = [], ...body] = cellsOf(rows);
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join(
    "\n",
  );
}
