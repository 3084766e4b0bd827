/**
 * Assembler for classic BPF, the instruction set of seccomp filters: labels in, bytes out.
 *
 * Pure. Knows only what our filters need: load a word of `struct seccomp_data`, mask, compare, jump forward, return.
 * Little-endian hosts only (x86-64, arm64). A program that is wrong in a way the kernel would refuse, or that holds dead code, is
 * our mistake and thrown.
 *
 * Source: `linux/filter.h`, `linux/bpf_common.h`, `linux/seccomp.h`; `man 2 seccomp`.
 *
 * @module
 */
import { unreachable } from "../../result.ts";

/** `BPF_MAXINSNS` (linux/bpf_common.h): instructions in one program, a kernel limit. */
export const MAX_INSTRUCTIONS = 4096;

/** The furthest that a conditional jump reaches, in instructions: `jt` and `jf` are one byte each. */
const SHORT_JUMP_MAX = 255;

// linux/bpf_common.h: class | size | mode, or class | operation | source.
const BPF_LD_W_ABS = 0x20;
const BPF_ALU_AND_K = 0x54;
const BPF_JMP_JA = 0x05;
const BPF_JMP_JEQ_K = 0x15;
const BPF_JMP_JGE_K = 0x35;
const BPF_JMP_JSET_K = 0x45;
const BPF_RET_K = 0x06;

/** A place in the program. */
export type Label = string;

/** How the accumulator is compared with a 32-bit value, unsigned; `any_bit`: they have a set bit in common. */
export type Comparison = "equal" | "greater_or_equal" | "any_bit";

/** One line of assembly. Numbers are unsigned 32-bit. */
export type Statement =
  /** The accumulator becomes the 32-bit word at `offset` (bytes, a multiple of 4) of `struct seccomp_data`. */
  | { readonly kind: "load"; readonly offset: number }
  | { readonly kind: "and"; readonly mask: number }
  /** Goes to `then` when the comparison holds, else to `otherwise`, which is the next line when absent. */
  | {
    readonly kind: "jump_if";
    readonly comparison: Comparison;
    readonly value: number;
    readonly then: Label;
    readonly otherwise?: Label;
  }
  | { readonly kind: "jump"; readonly to: Label }
  | { readonly kind: "return"; readonly value: number }
  | { readonly kind: "label"; readonly name: Label };

/** `struct sock_filter` (linux/filter.h), with the kernel's field names. */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

/**
 * Instructions for a list of statements; conditional jumps that are too far get unconditional ones to help them.
 *
 * @throws {Error} on an undefined or repeated label, a jump backwards, an end that is no return, unreachable code, a number that is
 * not 32-bit, an empty program or more than {@linkcode MAX_INSTRUCTIONS}
 */
export function assemble(statements: readonly Statement[]): Instruction[] {
  const long = new Set<number>();
  let layout = layOut(statements, long);
  while (growJumps(statements, layout, long)) {
    layout = layOut(statements, long);
  }
  const program = statements.flatMap((statement, index) =>
    emit(statement, index, layout, long.has(index))
  );
  validate(program);
  return program;
}

/**
 * Encodes a program as the kernel reads it.
 *
 * @param program what {@linkcode assemble} gave, so neither empty nor too long
 * @returns `8 * program.length` bytes, for `struct sock_fprog` or `bwrap --seccomp FD`
 */
export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jt);
    view.setUint8(index * 8 + 3, jf);
    view.setUint32(index * 8 + 4, k, true);
  }
  return bytes;
}

/** Where each statement starts, in instructions, and each label's statement. */
interface Layout {
  readonly starts: readonly number[];
  readonly labels: ReadonlyMap<Label, number>;
}

function layOut(
  statements: readonly Statement[],
  long: ReadonlySet<number>,
): Layout {
  const starts: number[] = [];
  const labels = new Map<Label, number>();
  let next = 0;
  for (const [index, statement] of statements.entries()) {
    starts.push(next);
    if (statement.kind === "label") {
      if (labels.has(statement.name)) {
        throw new Error(`label "${statement.name}" is defined twice`);
      }
      labels.set(statement.name, index);
    } else next += sizeOf(statement, long.has(index));
  }
  return { starts, labels };
}

/** Instructions of one statement. A long conditional jump is followed by a `ja` for each of its two ways that has a label. */
function sizeOf(statement: Statement, isLong: boolean): number {
  if (statement.kind === "label") return 0;
  if (statement.kind !== "jump_if" || !isLong) return 1;
  return statement.otherwise === undefined ? 2 : 3;
}

/** Marks the conditional jumps that don't reach; whether there was a new one. Jumps only ever grow, so this ends. */
function growJumps(
  statements: readonly Statement[],
  layout: Layout,
  long: Set<number>,
): boolean {
  const before = long.size;
  for (const [index, statement] of statements.entries()) {
    if (statement.kind !== "jump_if" || long.has(index)) continue;
    const from = layout.starts[index]! + 1;
    const { then, otherwise } = statement;
    const far = (label: Label): boolean =>
      distance(layout, from, label) > SHORT_JUMP_MAX;
    if (far(then) || (otherwise !== undefined && far(otherwise))) {
      long.add(index);
    }
  }
  return long.size > before;
}

/** Instructions to skip between `from` (the one after the jump) and the label. */
function distance(layout: Layout, from: number, label: Label): number {
  const statement = layout.labels.get(label);
  if (statement === undefined) {
    throw new Error(`label "${label}" is not defined`);
  }
  const skip = layout.starts[statement]! - from;
  if (skip < 0) throw new Error(`jump to label "${label}" goes backwards`);
  return skip;
}

function emit(
  statement: Statement,
  index: number,
  layout: Layout,
  isLong: boolean,
): Instruction[] {
  const at = layout.starts[index]!;
  switch (statement.kind) {
    case "label":
      return [];
    case "load":
      return [plain(BPF_LD_W_ABS, statement.offset)];
    case "and":
      return [plain(BPF_ALU_AND_K, statement.mask)];
    case "return":
      return [plain(BPF_RET_K, statement.value)];
    case "jump":
      return [plain(BPF_JMP_JA, distance(layout, at + 1, statement.to))];
    case "jump_if": {
      const { then, otherwise } = statement;
      const code = comparisonCode(statement.comparison);
      const k = word(statement.value);
      if (!isLong) {
        const jf = otherwise === undefined
          ? 0
          : distance(layout, at + 1, otherwise);
        return [{ code, jt: distance(layout, at + 1, then), jf, k }];
      }
      const jumps = [plain(BPF_JMP_JA, distance(layout, at + 2, then))];
      if (otherwise !== undefined) {
        jumps.push(plain(BPF_JMP_JA, distance(layout, at + 3, otherwise)));
      }
      return [{ code, jt: 0, jf: 1, k }, ...jumps];
    }
    default:
      return unreachable(statement);
  }
}

function plain(code: number, k: number): Instruction {
  return { code, jt: 0, jf: 0, k: word(k) };
}

function comparisonCode(comparison: Comparison): number {
  switch (comparison) {
    case "equal":
      return BPF_JMP_JEQ_K;
    case "greater_or_equal":
      return BPF_JMP_JGE_K;
    case "any_bit":
      return BPF_JMP_JSET_K;
    default:
      return unreachable(comparison);
  }
}

function word(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new Error(`${value} is not an unsigned 32-bit number`);
  }
  return value;
}

/** Follows every way through the program: each instruction must be reached, and each way must end in a return. */
function validate(program: readonly Instruction[]): void {
  if (program.length === 0 || program.length > MAX_INSTRUCTIONS) {
    throw new Error(
      `a program has 1 to ${MAX_INSTRUCTIONS} instructions, this one ${program.length}`,
    );
  }
  const reached = new Set([0]);
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    if (!reached.has(index)) {
      throw new Error(`instruction ${index} can't be reached`);
    }
    const next = code === BPF_RET_K
      ? []
      : code === BPF_JMP_JA
      ? [index + 1 + k]
      : [index + 1 + jt, index + 1 + jf];
    for (const target of next) {
      if (target >= program.length) {
        throw new Error(`instruction ${index} runs off the end: no return`);
      }
      reached.add(target);
    }
  }
}
