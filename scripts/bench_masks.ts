/**
 * What many masks and large trees cost a run: 1,000 and 10,000 files denied by a glob, and a glob over 100,000 files.
 *
 * The trees are made here. Rounds are interleaved like those of the other rows; a ratio is the median of the rounds' ratios.
 *
 * @module
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BenchRow, MIN_PAIRS, timeRow } from "./bench_result.ts";
import { interleaved, runMs } from "./bench_runs.ts";
import { bareArguments, explain, METADATA_NAMES } from "./bench_start.ts";

const RIPGREP = "/usr/bin/rg";
const FILES_PER_DIRECTORY = 100;

type MaskRow = {
  readonly name: string;
  readonly argv: readonly string[];
  /** A row and the highest ratio to it, `null` for a ratio that nothing is held to. */
  readonly against?: { readonly name: string; readonly most: number | null };
  readonly budgetMs?: number;
};

/** The rows with their budgets. */
export function masksRows(
  codex: string,
  { folder, env, rounds, bundled }: {
    readonly folder: string;
    readonly env: Record<string, string>;
    readonly rounds: number;
    readonly bundled: string;
  },
): readonly BenchRow[] {
  const home = join(folder, "masks-home");
  mkdirSync(home, { mode: 0o700 });
  const trees = { k1: "1,000", k10: "10,000", large: "100,000" };
  for (const name of Object.keys(trees)) makeTree(join(folder, name), name);
  writeFileSync(
    join(home, "config.toml"),
    Object.keys(trees).map((name) => profile(name, join(folder, name))).join(
      "\n",
    ),
  );
  const place = { cwd: join(folder, "k1"), env: { ...env, CODEX_HOME: home } };
  const rows = rowsOf(codex, place, folder, bundled);
  // What takes seconds is done no more often than a ratio needs.
  const most = Math.min(rounds, MIN_PAIRS);
  const times = interleaved(rows.length, most, (index) => {
    const { name, argv } = rows[index]!;
    // rg stops looking when its output goes to /dev/null.
    const stdout = argv[0] === RIPGREP ? "pipe" : "ignore";
    return runMs({ name, argv, cwd: place.cwd }, place.env, stdout);
  });
  return rows.map(({ name, against, budgetMs }, index) =>
    timeRow({
      table: "masks",
      name,
      times: times[index]!,
      against: against === undefined ? null : {
        name: against.name,
        times: times[rows.findIndex((row) => row.name === against.name)]!,
      },
      mostRatio: against?.most ?? null,
      mostMs: budgetMs ?? null,
    })
  );
}

function rowsOf(
  codex: string,
  place: Place,
  folder: string,
  bundled: string,
): MaskRow[] {
  const system = "/usr/bin/bwrap";
  const { bwrapArguments: plan } = explain(
    [codex, "sandbox", "-P", "k1"],
    place.cwd,
    place.env,
  );
  const upstream = "1,000 masks: bare system's bwrap";
  const edited = "1,000 masks: bare bundled bwrap";
  const files = "100,000 files: rg --files";
  return [
    ...(existsSync(system)
      ? [{ name: upstream, argv: [system, ...bareArguments(plan)] }]
      : []),
    { name: edited, argv: [bundled, ...bareArguments(plan)] },
    ...(existsSync(system)
      ? [{
        name: "1,000 masks",
        argv: [codex, "sandbox", "-P", "k1", "--", "true"],
        against: { name: upstream, most: 1.3 },
        budgetMs: 1_600,
      }]
      : []),
    {
      name: "1,000 masks, by the bundled bwrap's measure",
      argv: [codex, "sandbox", "-P", "k1", "--", "true"],
      against: { name: edited, most: null },
    },
    {
      name: "10,000 masks",
      argv: [codex, "sandbox", "-P", "k10", "--", "true"],
      budgetMs: 1_000,
    },
    ...(existsSync(RIPGREP)
      ? [{ name: files, argv: [RIPGREP, "--files", join(folder, "large")] }]
      : []),
    {
      name: "100,000 files, 50 masks",
      argv: [codex, "sandbox", "-P", "large", "--", "true"],
      ...(existsSync(RIPGREP) ? { against: { name: files, most: 1.2 } } : {}),
    },
  ];
}

type Place = {
  readonly cwd: string;
  readonly env: Record<string, string>;
};

function profile(name: string, tree: string): string {
  return `[permissions.${name}]
extends = ":read-only"
[permissions.${name}.filesystem]
"${tree}" = "write"
"${tree}/**/*.env" = "deny"
`;
}

/** `k1` and `k10` have nothing but matches, `large` has one in every twentieth directory. */
function makeTree(tree: string, name: string): void {
  const directories = { k1: 10, k10: 100 }[name] ?? 1_000;
  for (const metadata of METADATA_NAMES) {
    mkdirSync(join(tree, metadata), { recursive: true });
    writeFileSync(join(tree, metadata, "kept"), "");
  }
  for (let index = 0; index < directories; index++) {
    const directory = join(
      tree,
      `a${Math.floor(index / 100)}`,
      `b${Math.floor(index / 10) % 10}`,
      `c${index % 10}`,
    );
    mkdirSync(directory, { recursive: true });
    for (let file = 0; file < FILES_PER_DIRECTORY; file++) {
      const matches = name !== "large" || (file === 0 && index % 20 === 0);
      writeFileSync(
        join(directory, matches ? `${file}.env` : `file${file}.ts`),
        "",
      );
    }
  }
}
