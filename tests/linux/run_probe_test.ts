/**
 * The time limit of probes, in a process of its own: it is stopped.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const LIMIT_MS = 3_000;
const STOPPED_MS = 4_000;

/** Runs `line` as a probe with `LIMIT_MS` and tells what came of it; `line` gets a folder and says there who it is. */
const PROBE = `
import { runProbe } from "${import.meta.dirname}/../../src/linux/run_probe.ts";
const [line, folder] = process.argv.slice(1);
const words = ["sh", "-c", line, "sh", folder];
const done = runProbe(
  { path: "/bin/sh", argv: words, environment: ["PATH=/usr/bin:/bin"] },
  ${LIMIT_MS},
);
console.log(JSON.stringify(done));
`;

const CASES: readonly (readonly [
  why: string,
  line: string,
  stops: boolean,
  outcome: unknown,
])[] = [
  [
    "a machine that stood still for longer than the limit has cost the program nothing",
    'echo $$ >"$1/me"; mv "$1/me" "$1/up"; until [ -e "$1/go" ]; do sleep 0.05; done; echo done',
    true,
    { status: { kind: "exited", status: 0 }, output: "done\n" },
  ],
  [
    "a program that hangs is given up",
    'echo $$ >"$1/up"; echo said; sleep 60',
    false,
    { status: { kind: "timed_out" }, output: "said\n" },
  ],
  [
    "a program that says something again and again is given up too",
    "while echo said; do sleep 0.01; done",
    false,
    {
      status: { kind: "timed_out" },
      output: expect.stringMatching(/^(said\n)+$/),
    },
  ],
];

for (const [why, line, stops, outcome] of CASES) {
  test(`${why}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "codex-probe-"));
    try {
      const probe = Bun.spawn([process.execPath, "-e", PROBE, line, folder], {
        stdout: "pipe",
        stderr: "inherit",
      });
      if (stops) {
        while (!existsSync(`${folder}/up`)) await Bun.sleep(5);
        const both = [
          probe.pid,
          Number(readFileSync(`${folder}/up`, "utf8")),
        ];
        for (const pid of both) process.kill(pid, "SIGSTOP");
        await Bun.sleep(STOPPED_MS);
        for (const pid of both) process.kill(pid, "SIGCONT");
        writeFileSync(`${folder}/go`, "");
      }
      expect(JSON.parse(await new Response(probe.stdout).text())).toEqual({
        ok: true,
        value: outcome,
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
