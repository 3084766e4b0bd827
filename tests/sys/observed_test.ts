/**
 * Every function that asks the host about something that a plan can rest on reports the question, or spoils the record.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";

const FOLDER = `${import.meta.dirname}/../../src/sys`;

/** Nothing is asked there: numbers, a re-export, the recorder itself; sockets belong to runs that somebody stays for. */
const LEFT_OUT = new Set([
  "abi.ts",
  "calls.ts",
  "connect.ts",
  "ffi.ts",
  "latin1.ts",
  "observed.ts",
  "sockets.ts",
]);

/** Functions that need not report, and why. */
const SILENT: Readonly<Record<string, readonly string[]>> = {
  "the same as long as the host is up": [
    ...["hasMountSetattr", "landlockVersion", "hostArch"],
  ],
  "part of the key, or asked at every start": [
    ...[
      "getcwd",
      "ids",
      "getLimit",
      "startingSoftNofile",
      "getppid",
      "fileStatusFlags",
    ],
    ...["isTerminal", "terminalModes", "foregroundGroup"],
  ],
  "of a descriptor whose opening is reported": [
    ...["read", "readAt", "readAll", "tell", "seek", "fstat", "close"],
    ...["isHarmlessDevice"],
    ...["readDirectory", "visitDirectory", "modifiedAt", "setModified"],
  ],
  "calls one that reports": ["open", "accessExecutable", "accessWritable"],
  "changes us or another process, and asks nothing": [
    ...["prctl", "landlockRuleset", "landlockAllow", "landlockRestrict"],
    ...["seccompSetFilter", "duplicate", "dupTo", "setCloseOnExec"],
    ...["closeOnExecFrom", "chdir", "setUmask", "writeAll", "memfdCreate"],
    ...["sealedMemfd", "becomeUser", "asUser", "dropCapabilities"],
    ...["getpid", "getpgrp", "setsid", "exitNow", "pidfdOpen", "pidfdKill"],
    ...[
      "kill",
      "raise",
      "waitFor",
      "reapIfEnded",
      "poll",
      "setSoftLimit",
      "execve",
    ],
    ...["signalDefault", "signalIgnore", "unblockSignal", "catchSignals"],
    ...["noticeChildren", "setTerminalModes", "setFileStatusFlags", "fchmod"],
  ],
  "asks what was recorded again, and is called by kept_start.ts alone": [
    "askText",
  ],
  "only computes": [
    ...["cString", "pathArgument", "outcome", "failed", "signalSet"],
    ...["signalWriterCode", "placeText", "contentText"],
  ],
};

/** Exported functions by name, with their text. */
function functionsOf(text: string): readonly (readonly [string, string])[] {
  return text.split(/^(?=export (?:async )?function )/m).slice(1).map((
    part,
  ) => [/^export (?:async )?function (\w+)/.exec(part)?.[1] ?? "", part]);
}

test("every kernel call that a plan can rest on is recorded for kept starts", () => {
  const silent = new Set(Object.values(SILENT).flat());
  const found = new Set<string>();
  const unrecorded: string[] = [];
  for (const file of readdirSync(FOLDER)) {
    if (LEFT_OUT.has(file)) continue;
    for (
      const [name, text] of functionsOf(
        readFileSync(`${FOLDER}/${file}`, "utf8"),
      )
    ) {
      found.add(name);
      const reports = /\b(observe\w*|spoil)\(/.test(text);
      if (!reports && !silent.has(name)) unrecorded.push(`${file}: ${name}`);
      if (reports && silent.has(name)) unrecorded.push(`${name} does report`);
    }
  }
  expect(unrecorded).toEqual([]);
  expect([...silent].filter((name) => !found.has(name))).toEqual([]);
});

test("only a kept start asks without recording", () => {
  const callers = [...new Bun.Glob("**/*.ts").scanSync("src")].filter((file) =>
    /\baskText\(/.test(readFileSync(`src/${file}`, "utf8"))
  );
  expect(callers.sort()).toEqual(["run/kept_start.ts", "sys/stat.ts"]);
});
