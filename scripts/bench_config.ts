/**
 * What config files cost a run: the milliseconds that `--timings` gives for the step `config`, as differences between configs.
 *
 * The files are made here. Rounds are interleaved like those of the other rows; medians are compared.
 *
 * @module
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BenchRow, quantile, timeRow } from "./bench_result.ts";
import { interleaved } from "./bench_runs.ts";

const PROFILES = 200;
const ENTRIES_PER_PROFILE = 10;

type ConfigRow = {
  readonly name: string;
  /** `null`: no file at all. */
  readonly text: string | null;
  /** The row whose median is taken off, and the most that may remain, in milliseconds. */
  readonly over: string | null;
  readonly budgetMs: number;
};

const ROWS: readonly ConfigRow[] = [
  { name: "no config file", text: null, over: null, budgetMs: 0.5 },
  {
    name: "an empty config file",
    text: "",
    over: "no config file",
    budgetMs: 1.5,
  },
  {
    name: "a config of 30 lines",
    text: thirtyLines(),
    over: "no config file",
    budgetMs: 1.5,
  },
  {
    name: `${PROFILES} profiles, ${PROFILES * ENTRIES_PER_PROFILE} entries`,
    text: manyProfiles(),
    over: "an empty config file",
    budgetMs: 5,
  },
];

/** A row for each config, with its budget. */
export function configRows(
  codex: string,
  { folder, env, rounds }: {
    readonly folder: string;
    readonly env: Record<string, string>;
    readonly rounds: number;
  },
): readonly BenchRow[] {
  const homes = ROWS.map(({ text }, index) => {
    const home = join(folder, `config-${index}`);
    mkdirSync(home, { mode: 0o700 });
    if (text !== null) writeFileSync(join(home, "config.toml"), text);
    return home;
  });
  const times = interleaved(
    ROWS.length,
    rounds,
    (row) =>
      configMs(codex, join(folder, "plain"), {
        ...env,
        CODEX_HOME: homes[row]!,
      }),
  );
  const medians = times.map((own) => quantile(own, 0.5));
  return ROWS.map(({ name, over, budgetMs }, index) => {
    const base = over === null
      ? 0
      : medians[ROWS.findIndex((row) => row.name === over)]!;
    return timeRow({
      table: "config",
      name: over === null ? name : `${name}, over ${over}`,
      times: times[index]!.map((ms) => Math.max(0, ms - base)),
      mostMs: budgetMs,
    });
  });
}

function configMs(
  codex: string,
  cwd: string,
  env: Record<string, string>,
): number {
  const done = Bun.spawnSync([codex, "sandbox", "--timings", "--", "true"], {
    cwd,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said = done.stderr.toString();
  const ms = /^codex: ([\d.]+) ms config$/m.exec(said)?.[1];
  if (done.exitCode !== 0 || ms === undefined) {
    throw new Error(
      `Cannot measure a config: status ${done.exitCode}, ${said.trim()}`,
    );
  }
  return Number(ms);
}

function thirtyLines(): string {
  return `default_permissions = "build"
project_root_markers = [".git", ".hg"]

[projects."/srv/app"]
trust_level = "trusted"

[permissions.build]
description = "Build and test"
extends = ":workspace"

[permissions.build.filesystem]
"~/.cache/build" = "write"
"/opt/tools" = "read"
"/srv/secrets" = "deny"
"/srv/secrets/public" = "read"

[permissions.build.filesystem.":workspace_roots"]
"docs" = "read"
"secrets" = "deny"
"vendor" = "read"

[permissions.review]
description = "Look, and touch nothing"
extends = ":read-only"

[permissions.review.filesystem]
"~/.ssh" = "deny"

[shell_environment_policy]
inherit = "all"
exclude = ["*_TOKEN"]
`;
}

function manyProfiles(): string {
  const profiles = Array.from({ length: PROFILES }, (_, profile) => {
    const entries = Array.from(
      { length: ENTRIES_PER_PROFILE },
      (_, entry) =>
        `"/srv/p${profile}/e${entry}" = "${
          ["read", "write", "deny"][entry % 3]
        }"`,
    );
    return `[permissions.p${profile}]\nextends = ":workspace"\n[permissions.p${profile}.filesystem]\n${
      entries.join("\n")
    }\n`;
  });
  return `default_permissions = "p7"\n${profiles.join("\n")}`;
}
