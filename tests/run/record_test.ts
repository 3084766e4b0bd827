import { expect, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import type { Failure } from "../../src/failure.ts";
import { readReport, spellReport } from "../../src/linux/inner_report.ts";
import type { RunEnd } from "../../src/linux/run_events.ts";
import {
  recordOfEnd,
  recordOfFailure,
  type RunRecord,
  spellRecord,
} from "../../src/run/record.ts";

const NOTHING = { signal: null, reason: null, message: null };

const ENDS: readonly (readonly [RunEnd, Partial<RunRecord>, string])[] = [
  [{ kind: "exited", status: 0 }, { kind: "exited", status: 0 }, "success"],
  [{ kind: "exited", status: 128 }, {
    kind: "exited",
    status: 128,
  }, "128 is no signal"],
  [{ kind: "exited", status: 137 }, {
    kind: "signal",
    status: 137,
    signal: 9,
  }, "as a shell reads it"],
  [{ kind: "exited", status: 192 }, {
    kind: "signal",
    status: 192,
    signal: 64,
  }, "the highest signal"],
  [{ kind: "exited", status: 193 }, {
    kind: "exited",
    status: 193,
  }, "beyond the signals"],
  [{ kind: "signalled", signal: 15 }, {
    kind: "signal",
    status: 143,
    signal: 15,
  }, "we were told to end"],
  [{ kind: "timeout" }, { kind: "timeout", status: 124 }, "its time was over"],
  [
    {
      kind: "refused_inside",
      status: 125,
      report: { kind: "landlock_restrict", message: "m" },
    },
    { kind: "landlock_restrict", status: 125, message: "m" },
    "the inner stage's own word",
  ],
  [{ kind: "not_started" }, {
    kind: "launch",
    status: 125,
    message: "bubblewrap could not set the sandbox up",
  }, "bubblewrap's own failure"],
  [{ kind: "lost" }, {
    kind: "lost",
    status: 125,
    message: "the run could not be watched any longer and was ended",
  }, "not watched any longer"],
];
for (const [end, record, why] of ENDS) {
  test(`${JSON.stringify(end)} is told as ${record.kind}: ${why}`, () => {
    expect(recordOfEnd(end)).toEqual({ ...NOTHING, ...record } as RunRecord);
  });
}

const FAILURES: readonly (readonly [Failure, Partial<RunRecord>])[] = [
  [{ kind: "request", message: "m" }, {
    kind: "denied_before_start",
    status: 125,
    reason: "request",
    message: "m",
  }],
  [
    { kind: "plan", error: { kind: "plan", message: "m" } },
    {
      kind: "denied_before_start",
      status: 125,
      reason: "plan",
      message: "m",
    },
  ],
  [{ kind: "launch", error: { kind: "launch", message: "m" } }, {
    kind: "launch",
    status: 125,
    message: "m",
  }],
  [{ kind: "command_not_found", name: "x" as ByteString }, {
    kind: "command_not_found",
    status: 127,
    message: "Failed to execvp x: command not found (ENOENT)",
  }],
];
for (const [failure, record] of FAILURES) {
  test(`a failure of kind ${failure.kind} is told as ${record.kind}`, () => {
    expect(recordOfFailure(failure))
      .toEqual({ ...NOTHING, ...record } as RunRecord);
  });
}

test("a record is one line, whatever stands in it", () => {
  const line = spellRecord({
    ...NOTHING,
    kind: "launch",
    status: 125,
    message: 'two\nlines "and" more',
  }, { durationMs: 12.4, backend: "bubblewrap", profile: "a\nb" });
  expect(line.split("\n")).toHaveLength(2);
  expect(JSON.parse(line)).toEqual({
    kind: "launch",
    status: 125,
    signal: null,
    duration_ms: 12,
    backend: "bubblewrap",
    profile: "a\nb",
    reason: null,
    message: 'two\nlines "and" more',
  });
});

test("a report of the inner stage is read back, and nothing else is one", () => {
  const report = { kind: "seccomp_install", message: "a\nb" } as const;
  expect(readReport(spellReport(report))).toEqual(report);
  for (
    const text of [
      "",
      "{}\n",
      '{"kind":"exited","message":"m"}\n',
      '{"kind":"seccomp_install","message":1}\n',
      spellReport(report).trimEnd(),
      "null\n",
      "x\n",
    ]
  ) expect(readReport(text)).toBeNull();
});
