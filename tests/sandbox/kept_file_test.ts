/**
 * A kept start is carried out only under its own key, and binds only what was seen: shown with a file that says one thing more.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import {
  ACTORS,
  leaveClean,
  matrix,
  type Subject,
  type Variant,
} from "./harness.ts";

afterAll(leaveClean);

/** Nothing but what a kept start may have before the command; the bundled bubblewrap verifies nothing, so nobody stays. */
const COLUMNS: readonly Variant[] = ACTORS.map((actor) => ({
  actor,
  launcher: "bundled",
  stage: "auto",
}));

/** Longer than a file must have been left alone before anything that rests on it is kept. */
const SETTLED_MS = 3_200;

interface Kept {
  key: string;
  words: string[];
  descriptors: { at: number; kind: string; inode?: number }[];
}

const WORDS = ["--", "/bin/sh", "-c", "echo ${MARK-long way}"];

/**
 * Makes a start that is kept, adds a variable to its words and sees that it is carried out; then changes whatever else is to be changed.
 *
 * A kept start rests on places of the host as well, where other test files make and remove things at the same time: then it is made
 * anew, and is tried again here.
 *
 * @returns what the command of the next start sees of the variable
 */
async function marked(
  subject: Subject,
  change: (kept: Kept) => void = () => {},
): Promise<string> {
  const { home, work, run, outside } = subject;
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "p"\n[permissions.p.filesystem]\n":root" = "read"\n"${work}/vault" = "deny"\n"${work}/vault/open" = "read"\n`,
  );
  await outside(["mkdir", "-p", "vault/open"]);
  for (let attempt = 0; attempt < 4; attempt++) {
    const file = await keptFile(subject);
    if (file === null) continue;
    const kept = JSON.parse(readFileSync(file, "latin1")) as Kept;
    kept.words.splice(
      kept.words.lastIndexOf("--"),
      ...[0, "--setenv", "MARK", "kept"] as const,
    );
    writeFileSync(file, JSON.stringify(kept), "latin1");
    const { stdout } = await run(WORDS);
    if (stdout !== "kept\n") continue;
    change(kept);
    writeFileSync(file, JSON.stringify(kept), "latin1");
    return (await run(WORDS)).stdout;
  }
  throw new Error("never kept");
}

/** Starts twice: the first run only learns what bubblewrap can do. @returns the file of the start, if it was kept */
async function keptFile({ home, run }: Subject): Promise<string | null> {
  const folder = `${home}/sandbox/starts`;
  rmSync(folder, { recursive: true, force: true });
  await Bun.sleep(SETTLED_MS);
  for (let round = 0; round < 2; round++) {
    expect((await run(WORDS)).stdout).toBe("long way\n");
  }
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.length === 1 ? `${folder}/${names[0]}` : null;
}

matrix(
  "control: what a kept start says is carried out",
  COLUMNS,
  async (subject) => {
    expect(await marked(subject)).toBe("kept\n");
  },
);

matrix(
  "a kept start of another key is not carried out",
  COLUMNS,
  async (subject) => {
    expect(
      await marked(subject, (kept) => {
        kept.key = `${kept.key}x`;
      }),
    ).toBe("long way\n");
  },
);

matrix(
  "a kept start whose bind is another inode now is not carried out",
  COLUMNS,
  async (subject) => {
    expect(
      await marked(subject, (kept) => {
        const bind = kept.descriptors.find(({ kind }) => kind === "bind");
        expect(bind).toBeDefined();
        if (bind?.inode !== undefined) bind.inode += 1;
      }),
    ).toBe("long way\n");
  },
);
