/**
 * The facts of {@linkcode FACT_ROWS} through the built executable, as root and as an ordinary user.
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { FACT_ROWS } from "./fact_rows.ts";
import { BOTH_ACTORS, leaveClean, matrix } from "./harness.ts";

afterAll(leaveClean);

for (const row of FACT_ROWS) {
  matrix(
    `fact ${row.number}: ${row.given}`,
    BOTH_ACTORS,
    async ({ dir, home, work, codex, codexRun, outside }) => {
      const temporary = `/tmp/${dir.slice(dir.lastIndexOf("/") + 1)}`;
      const fill = (text: string): string =>
        text.replaceAll("@W", work).replaceAll("@T", temporary);
      const helper = `${dir}/codex-linux-sandbox`;
      symlinkSync(codex, helper);
      try {
        if (row.config !== undefined) {
          writeFileSync(`${home}/config.toml`, fill(row.config));
        }
        const before = await outside(["sh", "-ec", fill(row.before ?? ":")]);
        expect(before).toEqual({ end: 0, stdout: "", stderr: "" });
        for (const call of row.calls) {
          const words = call.words.map(fill);
          const options = { cwd: `${work}/${call.folder ?? ""}` };
          const { end, stdout, stderr } = call.isHelper
            ? await outside([helper, ...words], options)
            : await codexRun(words, options);
          expect({ end, stdout: stdout.trim().split(/\s+/).join(" "), stderr })
            .toEqual({
              end: call.end,
              stdout: fill(call.stdout ?? ""),
              stderr: call.says === undefined
                ? ""
                : expect.stringContaining(fill(call.says)),
            });
        }
        if (row.leaves !== undefined) {
          expect(readdirSync(work).sort()).toEqual([...row.leaves].sort());
        }
      } finally {
        rmSync(temporary, { recursive: true, force: true });
      }
    },
  );
}

matrix(
  "a static command runs where nothing but its own folder is visible, our loader and libraries included",
  BOTH_ACTORS,
  async ({ home, work, probe, codexRun }) => {
    const folder = probe.slice(0, probe.lastIndexOf("/"));
    writeFileSync(
      `${home}/config.toml`,
      `default_permissions = "p"\n[permissions.p.filesystem]\n"${folder}" = "read"\n`,
    );
    for (const stage of ["one-start", "inner"]) {
      const { end, stdout, stderr } = await codexRun([
        ...["sandbox", "--stage", stage, "--", probe],
        ...["path-ops", "read", "/usr", "read", probe],
      ]);
      expect({ end, stdout, stderr }).toEqual({
        end: 0,
        stdout: "ENOENT\nok\n",
        stderr:
          `codex: warning: profile p does not show ${work}: the command starts in /\n`,
      });
    }
  },
);
