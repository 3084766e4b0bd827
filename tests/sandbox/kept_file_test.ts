/**
 * A kept start is carried out only under its own key, and binds only what was seen: shown with a file that says one thing more.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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

/** Makes a start that is kept, adds a variable to its words and whatever else, and says what the next one's command sees of it. */
async function marked(
  { home, work, run, outside }: Subject,
  change: (kept: Kept) => void,
): Promise<string> {
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "p"\n[permissions.p.filesystem]\n":root" = "read"\n"${work}/vault" = "deny"\n"${work}/vault/open" = "read"\n`,
  );
  await outside(["mkdir", "-p", "vault/open"]);
  const words = ["--", "/bin/sh", "-c", "echo ${MARK-long way}"];
  await Bun.sleep(SETTLED_MS);
  // The first run only learns what bubblewrap can do.
  for (let round = 0; round < 2; round++) {
    expect((await run(words)).stdout).toBe("long way\n");
  }
  const folder = `${home}/sandbox/starts`;
  const [name = ""] = readdirSync(folder);
  const kept = JSON.parse(readFileSync(`${folder}/${name}`, "latin1")) as Kept;
  const end = kept.words.lastIndexOf("--");
  kept.words.splice(end, 0, "--setenv", "MARK", "kept");
  change(kept);
  writeFileSync(`${folder}/${name}`, JSON.stringify(kept), "latin1");
  return (await run(words)).stdout;
}

matrix(
  "control: what a kept start says is carried out",
  COLUMNS,
  async (subject) => {
    expect(await marked(subject, () => {})).toBe("kept\n");
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
