import { expect, test } from "bun:test";
import {
  assemble,
  encodeProgram,
  MAX_INSTRUCTIONS,
  type Statement,
} from "../../../src/linux/seccomp/bpf.ts";
import { runProgram } from "./bpf_interpreter.ts";

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const ret = (value: number): Statement => ({ kind: "return", value });
const label = (name: string): Statement => ({ kind: "label", name });
const ifEqual = (
  value: number,
  then: string,
  otherwise?: string,
): Statement => ({
  kind: "jump_if",
  comparison: "equal",
  value,
  then,
  ...(otherwise === undefined ? {} : { otherwise }),
});
const LOAD_NR: Statement = { kind: "load", offset: 0 };

test("a program of every instruction has exactly these bytes", () => {
  const program = assemble([
    LOAD_NR,
    ifEqual(0x01020304, "allow"),
    {
      kind: "jump_if",
      comparison: "greater_or_equal",
      value: 0x40000000,
      then: "kill",
      otherwise: "mask",
    },
    label("mask"),
    { kind: "and", mask: 0xf },
    {
      kind: "jump_if",
      comparison: "any_bit",
      value: 2,
      then: "kill",
    },
    { kind: "jump", to: "allow" },
    label("kill"),
    ret(KILL),
    label("allow"),
    ret(ALLOW),
  ]);
  expect(Buffer.from(encodeProgram(program)).toString("hex")).toBe(
    [
      "2000000000000000", // ld [0]
      "1500050004030201", // jeq #0x01020304, +5, +0
      "3500030000000040", // jge #0x40000000, +3, +0
      "540000000f000000", // and #15
      "4500010002000000", // jset #2, +1, +0
      "0500000001000000", // ja +1
      "0600000000000080", // ret KILL_PROCESS
      "060000000000ff7f", // ret ALLOW
    ].join(""),
  );
});

for (const gap of [254, 255, 256, 257, 600]) {
  test(`both ways of a jump arrive when ${gap} instructions lie between`, () => {
    const far = encodeProgram(assemble([
      LOAD_NR,
      ifEqual(7, "seven"),
      ifEqual(8, "eight", "filler"),
      label("filler"),
      ...Array.from({ length: gap }, (): Statement => LOAD_NR),
      ret(0x00050001),
      label("seven"),
      ret(ALLOW),
      label("eight"),
      ret(KILL),
    ]));
    const verdicts = [7, 8, 9].map((nr) => runProgram(far, { arch: 0, nr }));
    expect(verdicts).toEqual(["ALLOW", "KILL_PROCESS", "ERRNO 1"]);
  });
}

test("a jump arrives whose other way alone is far", () => {
  const program = encodeProgram(assemble([
    LOAD_NR,
    ifEqual(7, "seven", "else"),
    label("seven"),
    ...Array.from({ length: 300 }, (): Statement => LOAD_NR),
    ret(ALLOW),
    label("else"),
    ret(KILL),
  ]));
  const verdicts = [7, 8].map((nr) => runProgram(program, { arch: 0, nr }));
  expect(verdicts).toEqual(["ALLOW", "KILL_PROCESS"]);
});

test("a long jump whose other way is long too goes to the right one of both", () => {
  const filler = Array.from(
    { length: 300 },
    (_, index) => ifEqual(1000 + index, "third"),
  );
  const program = encodeProgram(assemble([
    LOAD_NR,
    ifEqual(1, "middle"),
    ifEqual(2, "second", "third"),
    label("middle"),
    ...filler,
    ret(0x00050001),
    label("second"),
    ret(ALLOW),
    label("third"),
    ret(KILL),
  ]));
  const verdicts = [1, 2, 3, 1299].map((nr) =>
    runProgram(program, { arch: 0, nr })
  );
  expect(verdicts).toEqual([
    "ERRNO 1",
    "ALLOW",
    "KILL_PROCESS",
    "KILL_PROCESS",
  ]);
});

const MISTAKES: readonly (readonly [string, readonly Statement[], RegExp])[] = [
  ["an empty program", [], /1 to 4096 instructions/],
  ["a program that falls off its end", [LOAD_NR], /no return/],
  ["an undefined label", [ifEqual(1, "x"), ret(ALLOW)], /not defined/],
  ["a label defined twice", [label("x"), label("x"), ret(ALLOW)], /twice/],
  ["a label after the last instruction", [
    ifEqual(1, "x"),
    ret(ALLOW),
    label("x"),
  ], /no return/],
  [
    "a jump backwards",
    [label("x"), LOAD_NR, { kind: "jump", to: "x" }],
    /backwards/,
  ],
  ["code after a return", [ret(ALLOW), ret(KILL)], /can't be reached/],
  ["a number of more than 32 bits", [ret(0x1_0000_0000)], /32-bit/],
  ["a negative number", [ret(-1)], /32-bit/],
  ["half a number", [ret(0.5)], /32-bit/],
  [
    "a program of 4097 instructions",
    [
      ...Array.from({ length: MAX_INSTRUCTIONS }, (): Statement => LOAD_NR),
      ret(ALLOW),
    ],
    /1 to 4096 instructions/,
  ],
];
for (const [what, statements, message] of MISTAKES) {
  test(`${what} is thrown`, () => {
    expect(() => assemble(statements)).toThrow(message);
  });
}

test("a program of 4096 instructions is accepted", () => {
  const program = assemble([
    ...Array.from({ length: MAX_INSTRUCTIONS - 1 }, (): Statement => LOAD_NR),
    ret(ALLOW),
  ]);
  expect(encodeProgram(program).length).toBe(MAX_INSTRUCTIONS * 8);
});
