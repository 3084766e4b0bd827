/**
 * Runs the examples of a Markdown page through the built executable, and compares all that they print and their status.
 *
 * Each heading and each `toml` block begins a machine of its own: a home below /var/tmp with that block as its config file.
 * Limits: a `console` block with `needs=PROGRAM` is left out where that program isn't there.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { notProved } from "../sandbox/harness.ts";

export const REPOSITORY = join(import.meta.dirname!, "../..");

/** The built executable. */
export const CODEX = process.env["CODEX_BIN"] ??
  join(REPOSITORY, "build/codex");
const COMMAND_TIMEOUT_MS = 60_000;

/** One fenced block. */
export interface Block {
  readonly line: number;
  readonly heading: string;
  readonly language: string;
  readonly attribute: string;
  readonly text: string;
}

/** One command of a `console` block with what must come of it. */
interface Step {
  readonly command: string;
  readonly output: string;
  readonly status: number;
}

/** Blocks that share a home. */
export interface Machine {
  readonly title: string;
  readonly config: string;
  readonly consoles: readonly Block[];
}

/** The text of a file of the repository. */
export function pageText(name: string): string {
  return readFileSync(join(REPOSITORY, name), "utf8");
}

/** One test for each machine. */
export function testMachines(machines: readonly Machine[]): void {
  const created: string[] = [];
  afterAll(() => {
    for (const path of created) rmSync(path, { recursive: true, force: true });
  });
  for (const { title, config, consoles } of machines) {
    test(`the commands of ${title} do what the page says`, () => {
      const top = realpathSync(mkdtempSync("/var/tmp/codex-docs-"));
      created.push(top);
      const home = join(top, "home/dev");
      mkdirSync(join(home, "project"), { recursive: true });
      mkdirSync(join(home, ".codex"));
      mkdirSync(join(top, "bin"));
      symlinkSync(realpathSync(CODEX), join(top, "bin/codex"));
      if (config !== "") {
        const placed = config.replaceAll('"/home/dev', `"${home}`);
        writeFileSync(join(home, ".codex/config.toml"), placed);
      }
      expect(consoles.length).toBeGreaterThan(0);
      for (const { attribute, text } of consoles) {
        if (!isRunnable(attribute)) {
          notProved(`the commands of ${title}`, attribute);
          continue;
        }
        const steps = stepsOf(text);
        expect(steps.length).toBeGreaterThan(0);
        for (const step of steps) {
          const { output, status } = perform(step.command, top);
          expect({ command: step.command, output, status }).toEqual({
            ...step,
            output: resolved(step.output, output),
          });
        }
      }
    });
  }
}

/** The fenced blocks of a page, in order. */
export function blocksOf(page: string): readonly Block[] {
  const blocks: Block[] = [];
  const lines = page.split("\n");
  let heading = "";
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!;
    if (line.startsWith("#")) heading = line.replace(/^#+ /, "");
    const fence = /^```(\S+) ?(.*)$/.exec(line);
    if (fence === null) continue;
    const end = lines.indexOf("```", at);
    const text = lines.slice(at + 1, end).join("\n");
    const [, language = "", attribute = ""] = fence;
    blocks.push({ line: at + 1, heading, language, attribute, text });
    at = end;
  }
  return blocks;
}

/** What shares a home: the `console` blocks below one `toml` block or heading. Other languages are text. */
export function machinesOf(blocks: readonly Block[]): readonly Machine[] {
  const machines: {
    title: string;
    heading: string;
    config: string;
    consoles: Block[];
  }[] = [];
  for (const block of blocks) {
    if (block.attribute === "requirements") continue;
    const { heading, language, line } = block;
    if (language !== "toml" && language !== "console") continue;
    const last = machines.at(-1);
    const isNew = language === "toml" || last === undefined ||
      last.heading !== heading;
    if (isNew) {
      const config = language === "toml" ? `${block.text}\n` : "";
      const title = `"${heading}", line ${line}`;
      machines.push({ title, heading, config, consoles: [] });
    }
    if (language === "console") machines.at(-1)!.consoles.push(block);
  }
  return machines;
}

function stepsOf(text: string): readonly Step[] {
  const steps: Step[] = [];
  for (const part of text.split(/^\$ /m).slice(1)) {
    const lines = part.replace(/\n$/, "").split("\n");
    const status = /^\[status (\d+)\]$/.exec(lines.at(-1)!);
    const output = lines.slice(1, status === null ? undefined : -1).join("\n");
    steps.push({
      command: lines[0]!,
      output,
      status: Number(status?.[1] ?? 0),
    });
  }
  return steps;
}

function isRunnable(attribute: string): boolean {
  const program = /^needs=(\S+)$/.exec(attribute)?.[1];
  return program === undefined ||
    (process.env["PATH"] ?? "").split(":").some((folder) =>
      existsSync(join(folder, program))
    );
}

/** Both streams in one pipe, so that lines keep their order; the home is shown where the page has it. */
function perform(
  command: string,
  top: string,
): { readonly output: string; readonly status: number | null } {
  const home = join(top, "home/dev");
  const done = Bun.spawnSync(["/bin/sh", "-c", `exec 2>&1\n${command}`], {
    cwd: join(home, "project"),
    env: {
      PATH: `${join(top, "bin")}:${process.env["PATH"] ?? "/usr/bin:/bin"}`,
      HOME: home,
      LC_ALL: "C",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_AUTHOR_NAME: "dev",
      GIT_AUTHOR_EMAIL: "dev@example.com",
      GIT_COMMITTER_NAME: "dev",
      GIT_COMMITTER_EMAIL: "dev@example.com",
    },
    timeout: COMMAND_TIMEOUT_MS,
  });
  const output = done.stdout.toString().replaceAll(top, "").trimEnd();
  return { output, status: done.exitCode };
}

/** The page's lines with `…` filled in from what was printed, or as they are where they don't fit. */
export function resolved(written: string, printed: string): string {
  const escape = (text: string): string =>
    text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const pattern = written.split("…").map(escape).join("[^]*");
  return new RegExp(`^${pattern}$`).test(printed) ? printed : written;
}
