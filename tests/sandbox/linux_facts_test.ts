/**
 * The facts of {@linkcode LINUX_FACTS} through the built executable.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { EVERY_VARIANT, leaveClean, matrix, TRUE_STAGES } from "./harness.ts";
import { LINUX_FACTS, type ShownFact } from "./linux_fact_rows.ts";

afterAll(leaveClean);

const ROOT = `${import.meta.dirname}/../..`;

/** What the helper needs to be told: everything readable, nothing else. */
const READ_ALL = JSON.stringify({
  type: "managed",
  file_system: {
    type: "restricted",
    entries: [{
      path: { type: "special", value: { kind: "root" } },
      access: "read",
    }],
  },
  network: "restricted",
});

const shown = LINUX_FACTS.filter((fact): fact is ShownFact => "calls" in fact);

for (const fact of shown) {
  const columns = fact.stages === "true" ? TRUE_STAGES : EVERY_VARIANT;
  matrix(
    `fact ${fact.number}: ${fact.given}`,
    columns.filter(({ actor }) =>
      fact.actor === undefined || actor === fact.actor
    ),
    async ({ dir, home, work, probe, codex, run, outside, variant }) => {
      const fill = (text: string): string =>
        text.replaceAll("@W", work).replaceAll("@D", dir)
          .replaceAll("@P", probe);
      const matched = (pattern: RegExp): RegExp =>
        new RegExp(fill(pattern.source), pattern.flags);
      const helper = `${dir}/codex-linux-sandbox`;
      symlinkSync(codex, helper);
      if (fact.config !== undefined) {
        writeFileSync(`${home}/config.toml`, fill(fact.config));
      }
      const before = await outside(["sh", "-ec", fill(fact.before ?? ":")]);
      expect(before).toEqual({ end: 0, stdout: "", stderr: "" });
      for (const call of fact.calls) {
        const words = call.words.map(fill);
        const options = {
          cwd: `${work}/${call.folder ?? ""}`,
          ...(call.input === undefined
            ? {}
            : { input: new TextEncoder().encode(call.input) }),
          env: Object.fromEntries(
            Object.entries(call.env ?? {}).map((
              [name, value],
            ) => [name, value === undefined ? undefined : fill(value)]),
          ),
        };
        const { launcher } = variant;
        const outcome = call.helper
          ? await outside([
            ...[helper, "--sandbox-policy-cwd", work],
            ...["--permission-profile", READ_ALL, ...words],
          ], {
            ...options,
            // The helper takes no flag of ours: an empty PATH leads it to the bundled one.
            env: launcher === "bundled" ? { PATH: "/nope" } : {},
          })
          : await run(words, options);
        expect(outcome.stderr).toMatch(
          call.says === undefined ? /^$/ : matched(call.says),
        );
        expect(outcome.end).toBe(call.end);
        if (call.stdout instanceof RegExp) {
          expect(outcome.stdout).toMatch(matched(call.stdout));
        } else {
          expect(outcome.stdout.trim().split(/\s+/).join(" ")).toBe(
            fill(call.stdout ?? ""),
          );
        }
      }
      if (fact.leaves !== undefined) {
        expect(readdirSync(work).sort()).toEqual([...fact.leaves].sort());
      }
    },
  );
}

test("all 65 facts are claimed, none twice, and what claims one is there", () => {
  expect(LINUX_FACTS.map(({ number }) => number)).toEqual(
    Array.from({ length: 65 }, (_, index) => index + 1),
  );
  const claims = LINUX_FACTS.flatMap((fact) =>
    "file" in fact ? [`${fact.file}: ${fact.text}`] : []
  );
  expect(new Set(claims).size).toBe(claims.length);
  for (const fact of LINUX_FACTS) {
    if (!("file" in fact)) continue;
    expect(readFileSync(`${ROOT}/${fact.file}`, "utf8")).toContain(fact.text);
  }
});
