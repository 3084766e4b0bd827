/**
 * What a measurement says: its rows as data, where they were measured, and their tables as text.
 *
 * @module
 */

/** Below this a ratio says too little and is refused. */
export const MIN_PAIRS = 20;

/** From this share on, what others did to the processors makes the measurement doubtful. */
const BUSY_SHARE = 0.1;
const BUSY_LOAD = 1;

/** A bound and whether it holds; `null`: not judged, because the ratio was refused. */
export type Budget = {
  readonly of: "median" | "ratio";
  readonly bound: "most" | "least";
  readonly value: number;
  readonly isKept: boolean | null;
};

export type BenchRow = {
  /** Which table it stands in. */
  readonly table: "start" | "config" | "masks" | "network";
  readonly name: string;
  /** `null` where there is nothing; then `note` says why. */
  readonly median: number | null;
  readonly p95: number | null;
  readonly unit: string;
  /** The row that this one is divided by, round for round. */
  readonly against: string | null;
  /** `null`: no such row, or fewer than {@linkcode MIN_PAIRS} rounds. */
  readonly ratio: number | null;
  readonly pairs: number;
  readonly budgets: readonly Budget[];
  /** All processes of a run together, sampled. */
  readonly peakMb: number | null;
  /** Resident beside the command. */
  readonly processes: number | null;
  readonly note: string | null;
};

/** One line of the picture. */
export type Bar = {
  readonly label: string;
  /** The name of a row. */
  readonly row: string;
  readonly isOurs: boolean;
};

/** What was tried, and what came of it with us and with each peer; an empty answer where the tool doesn't run here. */
export type Claim = {
  readonly what: string;
  readonly answers: readonly string[];
};

export type BenchResult = {
  readonly command: string;
  readonly date: string;
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly memoryGb: number;
    readonly kernel: string;
  };
  readonly versions: readonly string[];
  readonly rounds: number;
  /** The load when it began, and the share of the processors that others took while it ran. */
  readonly busy: {
    readonly load: number;
    readonly othersShare: number;
    readonly isBusy: boolean;
  };
  readonly rows: readonly BenchRow[];
  readonly bars: readonly Bar[];
  readonly claims: readonly Claim[];
};

export function isBusy(load: number, othersShare: number): boolean {
  return load > BUSY_LOAD || othersShare > BUSY_SHARE;
}

export function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ??
    Number.NaN;
}

/** A row of times. A ratio is the median of the rounds' ratios. */
export function timeRow(
  about: {
    readonly table: BenchRow["table"];
    readonly name: string;
    readonly times: readonly number[];
    readonly against?: {
      readonly name: string;
      readonly times: readonly number[];
    } | null;
    readonly mostRatio?: number | null;
    readonly mostMs?: number | null;
    readonly peakMb?: number | null;
    readonly processes?: number | null;
  },
): BenchRow {
  const { times, against = null, mostRatio = null, mostMs = null } = about;
  const median = quantile(times, 0.5);
  const pairs = against === null ? 0 : times.length;
  const ratio = against === null || pairs < MIN_PAIRS ? null : quantile(
    times.map((ms, round) => ms / against.times[round]!),
    0.5,
  );
  return {
    table: about.table,
    name: about.name,
    median,
    p95: quantile(times, 0.95),
    unit: "ms",
    against: against?.name ?? null,
    ratio,
    pairs,
    budgets: [
      ...(mostRatio === null ? [] : [{
        of: "ratio" as const,
        bound: "most" as const,
        value: mostRatio,
        isKept: ratio === null ? null : ratio <= mostRatio,
      }]),
      ...(mostMs === null ? [] : [{
        of: "median" as const,
        bound: "most" as const,
        value: mostMs,
        isKept: median <= mostMs,
      }]),
    ],
    peakMb: about.peakMb ?? null,
    processes: about.processes ?? null,
    note: null,
  };
}

/** A row that says why nothing was measured. */
export function emptyRow(
  table: BenchRow["table"],
  name: string,
  note: string,
): BenchRow {
  return {
    table,
    name,
    median: null,
    p95: null,
    unit: "",
    against: null,
    ratio: null,
    pairs: 0,
    budgets: [],
    peakMb: null,
    processes: null,
    note,
  };
}

/** Heads and cells of one table; columns that nothing stands in are left out. */
export function cellsOf(
  rows: readonly BenchRow[],
): readonly (readonly string[])[] {
  const head = [
    "row",
    "median",
    "p95",
    "ratio",
    "to",
    "budget",
    "peak MB",
    "processes",
  ];
  const body = rows.map((row) => [
    row.name,
    row.median === null
      ? row.note ?? "none"
      : `${withUnit(row.median, row.unit)}${
        row.note === null ? "" : `; ${row.note}`
      }`,
    row.p95 === null ? "" : figure(row.p95),
    row.ratio !== null
      ? row.ratio.toFixed(2)
      : row.against === null
      ? ""
      : `refused: ${row.pairs} pairs`,
    row.against ?? "",
    row.budgets.map(budgetText).join(", "),
    row.peakMb === null ? "" : row.peakMb.toFixed(1),
    row.processes === null ? "" : String(row.processes),
  ]);
  const used = head.map((_, column) =>
    body.some((line) => line[column] !== "")
  );
  return [head, ...body].map((line) =>
    line.filter((_, column) => used[column])
  );
}

/** Columns side by side, for a terminal. */
export function textTable(rows: readonly BenchRow[]): string {
  const cells = cellsOf(rows);
  const widths = cells[0]!.map((_, column) =>
    Math.max(...cells.map((line) => [...line[column]!].length))
  );
  return cells.map((line) =>
    line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")
      .trimEnd()
  ).join("\n");
}

/** Where it was measured, with what and how quietly: one line each. */
export function notesOf(result: BenchResult): readonly string[] {
  const { machine, versions, busy, rounds } = result;
  const share = Math.round(busy.othersShare * 100);
  return [
    `${rounds} rounds, all rows of a table once in each; a ratio is the median of the rounds' ratios, and is refused below ${MIN_PAIRS} pairs; masks and what goes through the network take ${MIN_PAIRS} rounds, or more where a round gave no pair`,
    `${machine.processor}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.kernel}`,
    versions.join(", "),
    `${result.date}, load ${
      busy.load.toFixed(2)
    } at the start, others took ${share} % of the processors${
      busy.isBusy ? ": the machine was BUSY, measure again" : ""
    }`,
  ];
}

function budgetText({ bound, value, of, isKept }: Budget): string {
  const verdict = isKept === null ? "" : isKept ? " ok" : " MISSED";
  return `${bound === "most" ? "≤" : "≥"} ${value}${
    of === "median" ? " ms" : ""
  }${verdict}`;
}

function withUnit(value: number, unit: string): string {
  return unit === "ms" ? figure(value) + " ms" : `${figure(value)} ${unit}`;
}

function figure(value: number): string {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}
