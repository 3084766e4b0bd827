/**
 * The picture of a measurement: start-up by tool, one bar for each, drawn as SVG.
 *
 * Pure. Readable on a light and on a dark page, and by a screen reader: title, description, and every figure as text.
 *
 * @module
 */
import type { BenchResult, BenchRow } from "./bench_result.ts";

const WIDTH = 760;
const BAR = 22;
const STEP = 38;
const TOP = 56;
const LEFT = 250;
const RIGHT = 130;

/** An SVG document with the bars of `result`, in their order; rows without a figure are left out. */
export function picture(result: BenchResult): string {
  const bars = result.bars.flatMap(({ label, row, isOurs }) => {
    const found = result.rows.find(({ name }) => name === row);
    return found?.median === null || found === undefined
      ? []
      : [{ label, isOurs, median: found.median, p95: p95Of(found) }];
  });
  const longest = Math.max(1, ...bars.map(({ p95 }) => p95));
  const scale = (WIDTH - LEFT - RIGHT) / longest;
  const height = TOP + bars.length * STEP + 34;
  const title = "Start-up of a sandbox, by tool";
  const said = bars.map(({ label, median, p95 }) =>
    `${label}: ${median.toFixed(1)} ms, 95 % within ${p95.toFixed(1)} ms`
  ).join("; ");
  const lines = bars.map(({ label, isOurs, median, p95 }, index) => {
    const y = TOP + index * STEP;
    const middle = y + BAR / 2;
    const end = LEFT + median * scale;
    const far = LEFT + p95 * scale;
    return `  <text x="${LEFT - 12}" y="${middle + 5}" class="label">${
      escape(label)
    }</text>
  <rect x="${LEFT}" y="${y}" width="${
      (median * scale).toFixed(1)
    }" height="${BAR}" rx="3" class="${isOurs ? "ours" : "other"}"/>
  <path d="M${end.toFixed(1)} ${middle}H${far.toFixed(1)}m0 -5v10" class="p95"/>
  <text x="${(far + 10).toFixed(1)}" y="${middle + 5}">${
      median.toFixed(1)
    } ms</text>`;
  });
  const busy = result.busy.isBusy ? "; the machine was busy" : "";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title description">
  <title id="title">${title}</title>
  <desc id="description">${escape(said)}</desc>
  <style>
    text { font: 14px system-ui, sans-serif; fill: #1f2328 }
    .head { font-size: 17px; font-weight: 600 }
    .label { text-anchor: end }
    .small { font-size: 12px }
    .ours { fill: #2f7d4f }
    .other { fill: #8a94a0 }
    .p95 { fill: none; stroke: #57606a; stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .ours { fill: #4fb37a }
      .other { fill: #737d89 }
      .p95 { stroke: #b1bac4 }
    }
  </style>
  <text x="20" y="30" class="head">${title}: the whole run of “true”</text>
${lines.join("\n")}
  <text x="20" y="${height - 12}" class="small">${
    escape(
      `median and 95 % of ${result.rounds} interleaved rounds, ${result.machine.cores} cores, ${
        result.date.slice(0, 10)
      }${busy}`,
    )
  }</text>
</svg>
`;
}

function p95Of(row: BenchRow): number {
  return row.p95 ?? row.median!;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
