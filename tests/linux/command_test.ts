/** When bubblewrap itself may execute the command. */
import { expect, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import type { Candidate } from "../../src/host/candidates.ts";
import {
  interpreterOf,
  judgeCommand,
  type View,
} from "../../src/linux/command.ts";
import { abs } from "../../src/policy/path.ts";

const X86_64 = 62;

/** A 64-bit ELF head with one PT_INTERP of the given name, or none. */
function elf(interpreter: string | null, machine = X86_64): ByteString {
  const bytes = Buffer.alloc(256);
  bytes.write("\x7fELF\x02\x01\x01", 0, "latin1");
  bytes.writeUInt16LE(machine, 18);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt32LE(interpreter === null ? 1 : 3, 64);
  bytes.writeBigUInt64LE(160n, 72);
  bytes.writeBigUInt64LE(BigInt((interpreter?.length ?? 0) + 1), 96);
  bytes.write(interpreter ?? "", 160, "latin1");
  return bytes.toString("latin1") as ByteString;
}

const LOADER = "/lib64/ld-linux-x86-64.so.2";
const HEADS = [ // head, interpreter, why
  ["#!/bin/sh\n", { kind: "path", path: "/bin/sh" }, "a script"],
  [
    "#! /usr/bin/env node\nx",
    { kind: "path", path: "/usr/bin/env" },
    "a blank before, an argument behind",
  ],
  [
    "#!sh\n",
    { kind: "unknown" },
    "a relative interpreter is looked for in the working directory",
  ],
  ["#!\n", { kind: "unknown" }, "no interpreter at all"],
  ["#!/bin/sh", { kind: "unknown" }, "a line without an end may be cut off"],
  ["echo hi\n", { kind: "unknown" }, "no format that the kernel knows"],
  ["", { kind: "unknown" }, "an empty file"],
  [elf(LOADER), { kind: "path", path: LOADER }, "a program with a loader"],
  [elf(null), { kind: "none" }, "a static program"],
  [elf(LOADER, 183), { kind: "unknown" }, "another machine's"],
  ["\x7fELF\x01\x01\x01", { kind: "unknown" }, "a 32-bit one"],
] as const;
for (const [head, expected, why] of HEADS) {
  test(`${JSON.stringify(head.slice(0, 12))} needs ${JSON.stringify(expected)}: ${why}`, () => {
    expect(interpreterOf(head as ByteString, X86_64)).toEqual(
      expected as never,
    );
  });
}

const OPEN: View = { shows: () => true, runs: () => true, machine: X86_64 };

function at(path: string, change: Partial<Candidate> = {}): Candidate {
  return {
    path: abs(path),
    real: abs(path),
    kind: "file",
    executable: "yes",
    head: elf(LOADER),
    ...change,
  };
}

test("a command that can't be judged is named as people write it", () => {
  const command = at("/\u00c3\u00a9", { head: null });
  expect(judgeCommand([command], OPEN)).toEqual({
    kind: "inner",
    reason: "/é can't be read",
  });
});

const MISSING = { kind: "missing", executable: "unknown", head: null } as const;
const VERDICTS:
  readonly (readonly [string, readonly Candidate[], Partial<View>, string])[] =
    [
      ["direct", [at("/bin/true")], {}, "a program whose loader is there"],
      [
        "direct",
        [at("/a/true", MISSING), at("/bin/true")],
        {},
        "an empty place of PATH is passed by",
      ],
      ["not_found", [at("/a/true", MISSING)], {}, "nothing anywhere"],
      ["not_found", [], {}, "an empty name"],
      [
        "not_executable",
        [at("/etc", { kind: "directory", executable: "no" })],
        {},
        "a directory",
      ],
      [
        "not_executable",
        [at("/etc/passwd", { executable: "no" })],
        {},
        "no execute bit",
      ],
      [
        "direct",
        [at("/a/x", { executable: "no" }), at("/b/x")],
        {},
        "execvp goes on behind EACCES",
      ],
      [
        "inner",
        [at("/bin/x", { executable: "unknown" })],
        {},
        "root's rights differ inside",
      ],
      ["inner", [at("/bin/x", { kind: "unknown" })], {}, "a loop of links"],
      [
        "inner",
        [at("/bin/x", { head: null })],
        {},
        "it can be executed but not read",
      ],
      ["inner", [at("/bin/x")], { runs: () => false }, "its loader is missing"],
      [
        "inner",
        [at("/bin/x")],
        { shows: (path) => path !== LOADER },
        "its loader is hidden",
      ],
      ["inner", [at("/secret/x")], {
        shows: (path) => !path.startsWith("/secret"),
      }, "it is hidden itself"],
      ["inner", [at("/secret/x", MISSING), at("/bin/x")], {
        shows: (path) => !path.startsWith("/secret"),
      }, "a place before it is hidden: who knows what is there"],
    ];
for (const [kind, candidates, view, why] of VERDICTS) {
  test(`a command is judged ${kind}: ${why}`, () => {
    expect(judgeCommand(candidates, { ...OPEN, ...view }).kind).toBe(
      kind as never,
    );
  });
}
