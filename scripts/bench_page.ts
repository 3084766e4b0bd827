/**
 * Pages of a measurement: all tables (`docs/benchmarks.md`) or the short one (`README.md`) between two marks; the rest stays.
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

/** What a page may ask for, between `<!-- NAME: begin -->` and `<!-- NAME: end -->`. `null`: nothing of it was measured. */
const PARTS: Readonly<
  Record<string, (result: BenchResult) => string | null>
> = {
  bench: measured,
  "bench summary": summary,
  "bench claims": claims,
};

const TITLES: Readonly<Record<BenchRow["table"], string>> = {
  start: "Start-up",
  config: "Config files",
  masks: "Many masks and large trees",
  network: "The managed network",
};

/** `page` with the tables of `result` between its marks; what was not measured stays as it is. */
export function pageWith(page: string, result: BenchResult): string {
  checkPage(page, "the page");
  let text = page;
  for (const [name, write] of Object.entries(PARTS)) {
    const [from, to] = marksOf(text, name);
    const written = from === -1 ? null : write(result);
    if (written === null) continue;
    text = `${text.slice(0, from)}\n\n${written}\n\n${text.slice(to)}`;
  }
  return text;
}

/** @throws where there is no pair of marks */
export function checkPage(page: string, file: string): void {
  const names = Object.keys(PARTS);
  if (names.some((name) => marksOf(page, name)[0] !== -1)) return;
  throw new Error(
    `Cannot write "${file}": must hold <!-- ${names[0]}: begin --> and its end`,
  );
}

/** Where the text between two marks begins and ends, -1 where they are not there. */
function marksOf(page: string, name: string): readonly [number, number] {
  const begin = `<!-- ${name}: begin -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(`<!-- ${name}: end -->`);
  return from === -1 || to < from ? [-1, -1] : [from + begin.length, to];
}

const START = "default profile";

/** What is compared in a few words: a figure, and the row of each tool. */
const SUMMARY: readonly {
  readonly what: string;
  readonly cell: (row: BenchRow) => string;
  readonly rowOf: (tool: string | null) => string;
}[] = [
  {
    what: "start of `true`, median",
    cell: (row) => row.median === null ? "" : `${row.median.toFixed(1)} ms`,
    rowOf: (tool) => tool ?? START,
  },
  {
    what: "memory of all its processes, peak",
    cell: (row) => row.peakMb === null ? "" : `${row.peakMb.toFixed(0)} MB`,
    rowOf: (tool) => tool ?? START,
  },
  {
    what: "processes beside the command",
    cell: (row) => row.processes === null ? "" : String(row.processes),
    rowOf: (tool) => tool ?? START,
  },
  ...[
    ["start with a managed network", "true"],
    ["download through its proxy", "forward GET, 100 MB"],
    ["requests, kept connections", "kept connections, 16 clients"],
    ["2,000 tunnels, opened and held", "2000 tunnels, opened and held"],
  ].map(([what, row]) => ({
    what: what!,
    cell: ({ median, unit, note }: BenchRow): string =>
      median === null ? note ?? "" : `${median.toFixed(0)} ${unit}`,
    rowOf: (tool: string | null) => `${row}: ${tool ?? "ours"}`,
  })),
];

function peersOf({ bars }: BenchResult): readonly string[] {
  return bars.filter(({ isOurs, label, row }) => !isOurs && label === row)
    .map(({ row }) => row);
}

/** What a command can do, one column for each tool. */
function claims(result: BenchResult): string | null {
  if (result.claims.length === 0) return null;
  return `${
    tableOf([
      ["the command", "codex", ...peersOf(result)],
      ...result.claims.map(({ what, answers }) => [what, ...answers]),
    ])
  }\n\nTried on ${result.date.slice(0, 10)} as an ordinary user.`;
}

/** One column for each tool, one line for each figure that anybody has. */
function summary(result: BenchResult): string | null {
  const peers = peersOf(result);
  const lines = SUMMARY.map(({ what, cell, rowOf }) => [
    what,
    ...[null, ...peers].map((tool) => {
      const row = result.rows.find(({ name }) => name === rowOf(tool));
      return row === undefined ? "" : cell(row);
    }),
  ]).filter((cells) => cells.slice(1).some((cell) => cell !== ""));
  if (lines.length === 0) return null;
  const busy = result.busy.isBusy ? " The machine was busy." : "";
  return `${
    tableOf([["", "codex", ...peers], ...lines])
  }\n\n${result.machine.processor}, ${result.machine.cores} cores, ${
    result.date.slice(0, 10)
  }.${busy} An empty cell was not measured.`;
}

function measured(result: BenchResult): string | null {
  if (result.rows.length === 0) return null;
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
    ...(over === "" ? [] : ["Budgets missed:", over]),
    ...(open === "" ? [] : ["Not judged:", open]),
  ];
}

function markdown(rows: readonly BenchRow[]): string {
  return tableOf(cellsOf(rows));
}

function tableOf([head = [], ...body]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join(
    "\n",
  );
}
