/**
 * What the supervisor of one proxied run holds while 100,000 requests go through it, a slow reader gets 200 MB, and 2,000 tunnels stand.
 *
 * Descriptors and resident memory are read from outside, before and after each lot. They must be where they were: a leak of one byte a
 * request is not seen, one of a descriptor or of a kilobyte is. And all of it must have gone through: a request that failed, a byte
 * that is missing or a tunnel that brought nothing back is a failure too.
 *
 * Usage: bun scripts/soak_network.ts [--codex FILE] [--requests N]
 *
 * @module
 */

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { BODY_BYTES, LOAD_PROGRAM, startOrigin } from "./bench_network_load.ts";
import { outDir } from "./build_files.ts";
import { misused, scriptWords, wholeNumber } from "./script_words.ts";

const LOTS = 4;
const TUNNELS = 2_000;
const SAMPLE_MS = 20;
/** Sockets that are just closing, and what the runtime keeps for itself. */
const SPARE_FILES = 8;
const MOST_GROWTH_BYTES = 64 * 1024 * 1024;

/** One answer of the load. */
type Answer = Readonly<Record<string, number>>;

/** What goes through at one time. */
type Part = {
  readonly name: string;
  /** The line of a shell inside. */
  readonly line: string;
  /** Whether an answer says that all of it went through. */
  readonly isWhole: (answer: Answer) => boolean;
};

type Held = { readonly files: number; readonly bytes: number };

if (import.meta.main) process.exitCode = await main();

async function main(): Promise<number> {
  const { values, positionals: [surplus] } = scriptWords(import.meta.path, {
    codex: { type: "string", default: join(outDir, "codex") },
    requests: { type: "string", default: "100000" },
  });
  if (surplus !== undefined) {
    misused(import.meta.path, `Unknown word "${surplus}"`);
  }
  const requests = wholeNumber(
    import.meta.path,
    "--requests",
    values.requests,
  );
  const folder = mkdtempSync("/var/tmp/codex-soak-");
  try {
    const origin = startOrigin(folder);
    try {
      return await soak(resolve(values.codex), {
        folder,
        port: origin.port,
        lot: Math.ceil(requests / LOTS / 2),
      });
    } finally {
      origin.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function soak(
  codex: string,
  { folder, port, lot }: {
    readonly folder: string;
    readonly port: string;
    readonly lot: number;
  },
): Promise<number> {
  const home = join(folder, "home");
  const work = join(folder, "work");
  for (const made of [home, work]) mkdirSync(made);
  writeFileSync(
    join(home, "config.toml"),
    'default_permissions = "net"\n[permissions.net]\nextends = ":read-only"\n[permissions.net.network]\ndomains = { "127.0.0.1" = "allow" }\n',
  );
  const parts = partsOf(port, lot);
  // After each part a rest, in which what it held can go.
  const script = parts.map(({ line }) => `${line} && sleep 3 && echo`)
    .join(" over && ");
  const child = Bun.spawn(
    [codex, "sandbox", "--", "sh", "-c", `${script} over`],
    {
      cwd: work,
      env: {
        PATH: "/usr/bin:/bin",
        HOME: home,
        CODEX_HOME: home,
      },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  let text = "";
  let peak: Held = { files: 0, bytes: 0 };
  let first: Held | null = null;
  let part = 0;
  let isKept = true;
  const sampler = setInterval(() => {
    const now = held(child.pid);
    peak = {
      files: Math.max(peak.files, now.files),
      bytes: Math.max(peak.bytes, now.bytes),
    };
  }, SAMPLE_MS);
  for await (const bytes of child.stdout) {
    text += new TextDecoder().decode(bytes);
    for (;;) {
      const end = text.indexOf("over\n");
      if (end < 0) break;
      const said = text.slice(0, end).trim().split("\n");
      const { name, isWhole } = parts[part++]!;
      const isDone = said.every((answer) => isWhole(JSON.parse(answer)));
      text = text.slice(end + "over\n".length);
      const now = held(child.pid);
      first ??= now;
      const isFlat = now.files <= first.files + SPARE_FILES &&
        peak.bytes - first.bytes < MOST_GROWTH_BYTES;
      isKept &&= isFlat && isDone;
      process.stdout.write(
        `${name}: ${now.files} descriptors, ${
          megabytes(now.bytes)
        } MB; at most ${peak.files} and ${megabytes(peak.bytes)} MB${
          isFlat ? "" : " GROWN"
        }; ${said.join(" ")}${isDone ? "" : " NOT WHOLE"}\n`,
      );
      peak = now;
    }
  }
  clearInterval(sampler);
  const status = await child.exited;
  if (status !== 0) {
    process.stderr.write(`soak: the run ended with ${status}\n`);
    return 125;
  }
  return isKept ? 0 : 1;
}

function partsOf(port: string, lot: number): readonly Part[] {
  const load = (words: string): string =>
    `${process.execPath} ${LOAD_PROGRAM} ${words}`;
  const requests = (name: string, count: number): Part => ({
    name,
    line: `${load(`keep-alive ${port} ${count}`)} && ${
      load(`new ${port} ${count}`)
    }`,
    isWhole: (answer) => answer["count"]! >= count,
  });
  return [
    requests("warm-up", 2_000),
    ...Array.from(
      { length: LOTS },
      (_, index) => requests(`${(index + 1) * lot * 2} requests`, lot),
    ),
    {
      name: `${megabytes(BODY_BYTES)} MB, read slowly`,
      line: load(`slow ${port}`),
      isWhole: (answer) => answer["bytes"]! >= BODY_BYTES,
    },
    {
      name: `${TUNNELS} tunnels`,
      line: load(`tunnels ${port} ${TUNNELS}`),
      isWhole: (answer) => answer["stood"] === TUNNELS,
    },
  ];
}

/** What a process holds; nothing when it has ended. */
function held(pid: number): Held {
  try {
    const [, pages] = readFileSync(`/proc/${pid}/statm`, "latin1").split(" ");
    return {
      files: readdirSync(`/proc/${pid}/fd`).length,
      bytes: Number(pages) * 4096,
    };
  } catch {
    return { files: 0, bytes: 0 };
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
