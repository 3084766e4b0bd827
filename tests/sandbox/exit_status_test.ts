/**
 * Exit statuses: the command's own, 128+n by signal, 127 not found, 126 not executable, whoever executes it.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  BOTH_STAGES,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  type Outcome,
  type Subject,
  TRUE_STAGES,
} from "./harness.ts";

afterAll(leaveClean);

const STATUSES = [0, 1, 2, 7, 42, 125, 126, 127, 128, 200, 255];

/** Signals of signal(7) that stop, continue or are ignored: they end nobody. */
const HARMLESS = [17, 18, 19, 20, 21, 22, 23, 28];
const DEADLY = [
  ...Array.from({ length: 31 }, (_, index) => index + 1).filter((signal) =>
    !HARMLESS.includes(signal)
  ),
  34,
  35,
  50,
  64,
];

matrix(
  "a command's status is the run's",
  EVERY_VARIANT,
  async ({ run }) => {
    const ends = [];
    for (const status of STATUSES) {
      ends.push((await run(["--", "sh", "-c", `exit ${status}`])).end);
    }
    expect(ends).toEqual(STATUSES);
  },
);

matrix(
  "a command that a signal ended gives 128 and the signal's number",
  BOTH_STAGES,
  async ({ run }) => {
    const ends = [];
    for (const signal of DEADLY) {
      ends.push(
        (await run(["--", "sh", "-c", `ulimit -c 0; kill -${signal} $$`])).end,
      );
    }
    expect(ends).toEqual(DEADLY.map((signal) => 128 + signal));
  },
);

/** `prepare` makes `work/thing`; `words` is what is run. */
const REFUSALS: readonly {
  readonly why: string;
  readonly words: (subject: Subject) => readonly string[];
  readonly prepare?: (thing: string) => void;
  readonly status: number;
}[] = [
  {
    why: "a name that is nowhere in PATH",
    words: () => ["no-such-command-here"],
    status: 127,
  },
  {
    why: "a path that is not there",
    words: ({ work }) => [`${work}/missing`],
    status: 127,
  },
  {
    why: "a path through a file",
    words: () => ["/etc/passwd/x"],
    status: 127,
  },
  { why: "an empty name", words: () => [""], status: 127 },
  {
    why: "a directory",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => mkdirSync(thing),
    status: 126,
  },
  {
    why: "a file without the execute bit",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => writeFileSync(thing, "#!/bin/sh\n", { mode: 0o644 }),
    status: 126,
  },
  {
    why: "a script whose interpreter is not there",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => script(thing, "#!/nowhere/interpreter\n"),
    status: 127,
  },
  {
    why: "an ELF file whose loader is not there",
    words: ({ work }) => [`${work}/thing`],
    prepare: withoutLoader,
    status: 127,
  },
  {
    why: "a script without #!, which sh runs",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => script(thing, "exit 9\n"),
    status: 9,
  },
  {
    why: "an empty executable file, which sh runs",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => script(thing, ""),
    status: 0,
  },
  {
    why: "a script with an argument on its first line",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => script(thing, "#!/bin/sh -e\nfalse\nexit 9\n"),
    status: 1,
  },
  {
    why: "a script whose first line has no end",
    words: ({ work }) => [`${work}/thing`],
    prepare: (thing) => script(thing, "#!/bin/true"),
    status: 0,
  },
];

for (const { why, words, prepare, status } of REFUSALS) {
  matrix(`${why} gives ${status}`, TRUE_STAGES, async (subject) => {
    prepare?.(`${subject.work}/thing`);
    const outcome = await subject.run(["--", ...words(subject)]);
    expect(outcome).toMatchObject({ end: status });
  });
}

const SEARCHES: readonly {
  readonly why: string;
  readonly path: (work: string) => string | undefined;
  readonly name: string;
  readonly status: number;
  readonly says?: RegExp;
}[] = [
  {
    why: "a file in PATH that is not executable is passed over for one that is",
    path: (work) => `${work}/closed:${work}/open`,
    name: "tool",
    status: 5,
  },
  {
    why: "a file in PATH that is not executable, and no other, gives 126",
    path: (work) => `${work}/closed:/nowhere`,
    name: "tool",
    status: 126,
  },
  {
    why: "a directory in PATH of the command's name is passed over",
    path: (work) => `${work}/folder:${work}/open`,
    name: "tool",
    status: 5,
  },
  {
    why: "a directory of PATH that can't be searched is passed over",
    path: (work) => `${work}/locked:${work}/open`,
    name: "tool",
    status: 5,
  },
  {
    why:
      "a directory of PATH that can't be searched, and nothing else, gives 127 and is named",
    path: (work) => `/nowhere:${work}/locked:${work}/folder/tool`,
    name: "tool",
    status: 127,
    says:
      /^codex: Failed to execvp tool: command not found \(ENOENT\); \S*\/locked of PATH can't be searched\n$/,
  },
  {
    why: "an empty entry of PATH is the working directory",
    path: () => ":/nowhere",
    name: "here",
    status: 6,
  },
  {
    why: "without PATH the C library's default finds true",
    path: () => undefined,
    name: "true",
    status: 0,
  },
  {
    why: "an empty PATH is the working directory alone",
    path: () => "",
    name: "true",
    status: 127,
  },
];

for (const { why, path, name, status, says } of SEARCHES) {
  matrix(
    why,
    TRUE_STAGES.filter(({ launcher }) => launcher === "bundled"),
    async (subject) => {
      const { work, run } = subject;
      for (const folder of ["closed", "open", "folder", "folder/tool"]) {
        mkdirSync(`${work}/${folder}`);
      }
      script(`${work}/closed/tool`, "#!/bin/sh\nexit 4\n");
      chmodSync(`${work}/closed/tool`, 0o644);
      mkdirSync(`${work}/locked`);
      script(`${work}/locked/tool`, "#!/bin/sh\nexit 7\n");
      chmodSync(`${work}/locked`, 0);
      script(`${work}/open/tool`, "#!/bin/sh\nexit 5\n");
      script(`${work}/here`, "#!/bin/sh\nexit 6\n");
      const outcome: Outcome = await run(["--", name], {
        env: { PATH: path(work) },
      });
      expect(outcome).toMatchObject({
        end: status,
        ...(says === undefined ? {} : { stderr: expect.stringMatching(says) }),
      });
    },
  );
}

function script(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

/** A copy of a dynamic executable that asks for a loader of the same length that is nowhere. */
function withoutLoader(path: string): void {
  const bytes = readFileSync("/usr/bin/env");
  const loader = /\/lib(?:64)?\/ld-linux[^\0]*/.exec(bytes.toString("latin1"));
  if (loader === null) throw new Error("env has no loader");
  bytes.write("/nox", loader.index, "latin1");
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
}
