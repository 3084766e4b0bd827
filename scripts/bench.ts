/**
 * Measures what a sandbox costs, as ratios within one run: starts, config files, many masks, the managed network.
 *
 * Absolute times differ between machines and hours; a ratio within one round does not, much. Needs root: `/tmp` of the measurement is
 * a private one that has all metadata names, so that nothing is left on the host's.
 *
 * Usage: npm run bench -- [--rounds N] [--codex FILE] [--peer NAME=FILE]… [--peers DIR…] [--row PART]…
 *   [--json FILE] [--svg FILE] [--page FILE]… [--from FILE]
 *
 * `--peers` takes folders with releases from npm. `--json` gets all rows, `--svg` the picture, `--page` the tables
 * that it has marks for. `--from` measures nothing: it takes the rows that an earlier `--json` has left.
 *
 * @module
 */

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { loadavg } from "node:os";
import { join, relative, resolve } from "node:path";
import process from "node:process";
import { claimsOf } from "./bench_claims.ts";
import { configRows } from "./bench_config.ts";
import {
  machineOf,
  processorTicks,
  sharesOf,
  versionsOf,
} from "./bench_machine.ts";
import { masksRows } from "./bench_masks.ts";
import { networkRows } from "./bench_network.ts";
import { checkPage, pageWith } from "./bench_page.ts";
import { type Peer, peerOf, peersIn } from "./bench_peers.ts";
import { picture } from "./bench_picture.ts";
import {
  type BenchResult,
  type BenchRow,
  type Claim,
  isBusy,
  notesOf,
  textTable,
} from "./bench_result.ts";
import { METADATA_NAMES, startBars, startRows } from "./bench_start.ts";
import { outDir } from "./build_files.ts";
import { misused, scriptWords, wholeNumber } from "./script_words.ts";
import { repositoryRoot, toolPath } from "./setup.mjs";

const DEFAULT_ROUNDS = 40;
const PRIVATE_TMP_MARK = "CODEX_BENCH_PRIVATE_TMP";
/** The file that the measurement leaves for its caller outside of the namespace. */
const RESULT_MARK = "CODEX_BENCH_RESULT";

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    process.stderr.write(
      `bench: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    process.exit(125);
  }
}

type Words = {
  readonly rounds: number;
  readonly codex: string;
  readonly peers: readonly Peer[];
  readonly row: readonly string[];
  /** Results of an earlier measurement, to draw and write again. */
  readonly from?: string | undefined;
  readonly json?: string | undefined;
  readonly svg?: string | undefined;
  readonly page: readonly string[];
};

function wordsOf(): Words {
  const { values, positionals } = scriptWords(import.meta.path, {
    rounds: { type: "string", default: String(DEFAULT_ROUNDS) },
    codex: { type: "string", default: join(outDir, "codex") },
    peer: { type: "string", multiple: true, default: [] },
    peers: { type: "string", multiple: true, default: [] },
    row: { type: "string", multiple: true, default: [] },
    from: { type: "string" },
    json: { type: "string" },
    svg: { type: "string" },
    page: { type: "string", multiple: true, default: [] },
  });
  const rounds = wholeNumber(import.meta.path, "--rounds", values.rounds);
  // What stands behind a first --peers are further folders.
  const [surplus] = positionals;
  if (surplus !== undefined && values.peers.length === 0) {
    misused(import.meta.path, `Unknown word "${surplus}"`);
  }
  const peers: readonly Peer[] = [
    ...values.peer.map(peerOf),
    ...[...values.peers, ...positionals].flatMap(peersIn),
  ];
  return { ...values, rounds, peers };
}

function main(): void {
  const words = wordsOf();
  if (words.from !== undefined) {
    return writeOut(words, readFileSync(words.from, "utf8").trim());
  }
  if (process.env[PRIVATE_TMP_MARK] === undefined) return measureApart(words);
  const result = measured(process.env[PRIVATE_TMP_MARK], words);
  writeFileSync(process.env[RESULT_MARK]!, JSON.stringify(result, null, 2));
}

function measured(codex: string, words: Words): BenchResult {
  const { rounds, peers, row: parts } = words;
  const folder = mkdtempSync("/var/tmp/codex-bench-");
  try {
    const env = layFolders(folder);
    const [load] = loadavg();
    const before = processorTicks();
    const isAsked = (table: string): boolean =>
      parts.length === 0 || parts.some((part) => part.startsWith(table));
    const rows: BenchRow[] = [];
    const add = (added: readonly BenchRow[]): void => {
      rows.push(...added);
      if (added.length > 0) process.stdout.write(`${textTable(added)}\n\n`);
    };
    const place = { folder, env, rounds };
    const starts = parts.filter((part) =>
      !["config", "masks", "network", "claims"].some((table) =>
        part.startsWith(table)
      )
    );
    if (parts.length === 0 || starts.length > 0) {
      const chosen = starts.includes("start") ? [] : starts;
      add(startRows(codex, { ...place, peers, parts: chosen }));
    }
    if (isAsked("config")) add(configRows(codex, place));
    if (isAsked("masks")) {
      const bundled = join(folder, "bwrap");
      copyFileSync(join(outDir, "bwrap"), bundled);
      add(masksRows(codex, { ...place, bundled }));
    }
    const network = parts.filter((part) => part.startsWith("network"));
    if (parts.length === 0 || network.length > 0) {
      add(networkRows(codex, { ...place, peers, parts: network }));
    }
    const othersShare = sharesOf(before, processorTicks());
    if (rows.length === 0 && !isAsked("claims")) {
      const asked = parts.map((part) => `"${part}"`).join(", ");
      throw new Error(
        `Cannot measure --row ${asked}: no row has that in its name; a table is start, config, masks, network or claims`,
      );
    }
    const result: BenchResult = {
      command: commandText(words),
      date: `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
      machine: machineOf(),
      versions: versionsOf(codex, peers),
      rounds,
      busy: { load: load!, othersShare, isBusy: isBusy(load!, othersShare) },
      rows,
      bars: startBars(peers),
      claims: isAsked("claims") ? claimsBeside(codex, peers, env["PATH"]!) : [],
    };
    process.stdout.write(`${notesOf(result).join("\n")}\n`);
    return result;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What a command can do, here and with each peer. Whoever may not read our file gets a copy of it. */
function claimsBeside(
  codex: string,
  peers: readonly Peer[],
  path: string,
): readonly Claim[] {
  const shelter = mkdtempSync("/var/tmp/codex-bench-");
  try {
    chmodSync(shelter, 0o755);
    const copy = join(shelter, "codex");
    copyFileSync(codex, copy);
    chmodSync(copy, 0o755);
    return claimsOf([
      { name: "codex", argv: [copy, "sandbox", "--"] },
      ...peers,
    ], path);
  } finally {
    rmSync(shelter, { recursive: true, force: true });
  }
}

/** Starts this script again in a mount namespace of its own, with an empty `/tmp` that has the metadata names. */
function measureApart(words: Words): void {
  const codex = resolve(words.codex);
  if (process.getuid?.() !== 0) {
    throw new Error("Cannot make a private /tmp: run as root");
  }
  if (!existsSync(codex)) {
    throw new Error(`Cannot measure "${codex}": there is no such file`);
  }
  // Said before minutes are spent.
  for (const file of words.page) checkPage(readFileSync(file, "utf8"), file);
  // What lies below /tmp is hidden by the private one.
  const shelter = mkdtempSync("/var/tmp/codex-bench-");
  try {
    const kept = codex.startsWith("/tmp/") ? join(shelter, "codex") : codex;
    if (kept !== codex) copyFileSync(codex, kept);
    const file = join(shelter, "result.json");
    const script = `mount -t tmpfs -o mode=1777 tmpfs /tmp && mkdir ${
      METADATA_NAMES.map((name) => `/tmp/${name}`).join(" ")
    } && touch ${
      METADATA_NAMES.map((name) => `/tmp/${name}/kept`).join(" ")
    } && exec "$@"`;
    const done = Bun.spawnSync([
      "unshare",
      "--mount",
      "--propagation=private",
      "sh",
      "-c",
      script,
      "sh",
      process.execPath,
      import.meta.path,
      ...process.argv.slice(2),
    ], {
      env: {
        ...process.env,
        [PRIVATE_TMP_MARK]: kept,
        [RESULT_MARK]: file,
      },
      stdio: ["ignore", "inherit", "inherit"],
    });
    process.exitCode = done.exitCode ?? 125;
    if (process.exitCode !== 0) return;
    writeOut(words, readFileSync(file, "utf8"));
  } finally {
    rmSync(shelter, { recursive: true, force: true });
  }
}

function writeOut(words: Words, json: string): void {
  const result: BenchResult = JSON.parse(json);
  if (words.json !== undefined) writeFileSync(words.json, `${json}\n`);
  const written: string[] = [];
  if (words.svg !== undefined) {
    writeFileSync(words.svg, picture(result));
    written.push(words.svg);
  }
  for (const file of words.page) {
    writeFileSync(file, pageWith(readFileSync(file, "utf8"), result));
    written.push(file);
  }
  // The gate wants them in this form.
  if (written.length > 0) {
    Bun.spawnSync([toolPath("deno"), "fmt", "--quiet", ...written]);
  }
}

/** As anybody would type it: folders of this machine are left out. */
function commandText({ rounds, row, peers, svg, page }: Words): string {
  return [
    "npm run bench --",
    ...(rounds === DEFAULT_ROUNDS ? [] : [`--rounds ${rounds}`]),
    ...row.map((part) => `--row '${part}'`),
    ...(peers.length === 0 ? [] : ["--peers DIR…"]),
    "--json FILE",
    ...(svg === undefined
      ? []
      : [`--svg ${relative(repositoryRoot, resolve(svg))}`]),
    ...page.map((file) => `--page ${relative(repositoryRoot, resolve(file))}`),
  ].join(" ");
}

/** An empty workspace, one with all metadata names, and a state folder that no sandbox can write. */
function layFolders(folder: string): Record<string, string> {
  for (
    const name of [
      "home",
      "plain",
      ...METADATA_NAMES.map((name) => `repo/${name}`),
    ]
  ) {
    mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
  }
  // An empty one could be another run's placeholder, and would bring a supervisor.
  for (const name of METADATA_NAMES) {
    writeFileSync(join(folder, "repo", name, "kept"), "");
  }
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: join(folder, "home"),
    CODEX_HOME: join(folder, "home"),
    LANG: "C.UTF-8",
  };
}
