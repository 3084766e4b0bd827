/**
 * A program of a few system calls, as an ELF file of some hundred bytes: for what must be done beside us or inside a sandbox, and is
 * not worth a start of the runtime.
 *
 * It is a list of calls with a small interpreter in front. Each call may have its result looked at, and another list to go on with
 * when it is too low; so what such a program does can be read here in TypeScript, and the machine code is the same for all of them.
 * Two segments, one to execute and one to write, never both; no library, no loader, no heap.
 *
 * Pure. Sources: elf(5); syscall(2) for the registers; execve(2), "process stack", for argc, argv and envp.
 *
 * @module
 */
import type { Arch } from "../sys/abi.ts";

/** Bytes in the program's memory that can be written, at an address which arguments and other bytes can name. */
export interface Block {
  readonly bytes: Uint8Array;
  /** Where addresses of other blocks stand in it, 8 bytes each. */
  readonly pointers?: readonly (readonly [offset: number, to: Block])[];
}

/** An argument of a call. */
export type Argument =
  /** Itself. */
  | number
  /** The block's address. */
  | Block
  /** The 8 bytes that lie there when the call is made. */
  | { readonly in: Block; readonly offset: number }
  /** The program's own vectors: what is executed next gets them. */
  | "argv"
  | "environment";

/** Instead of a system call: 0 when its first two arguments are equal, else -1. */
export const COMPARE = -1;

/** One step. */
export interface Call {
  /** Of the system call, or {@linkcode COMPARE}. */
  readonly number: number;
  /** At most five. */
  readonly words: readonly Argument[];
  /** Where the lower 4 bytes of the result go. */
  readonly into?: { readonly in: Block; readonly offset: number };
  /** What follows instead of the next call when the result is below `least`. */
  readonly below?: { readonly least: number; readonly goOn: readonly Call[] };
}

/** What a program is made of. Every way through its calls must end with one that does not return. */
export interface SmallProgram {
  readonly calls: readonly Call[];
  /** How many of its own words the program's argv begins with; `argv` leaves them out. */
  readonly ownWords: number;
}

const EHDR_BYTES = 64;
const PHDR_BYTES = 56;
const CODE_OFFSET = EHDR_BYTES + 3 * PHDR_BYTES;

/** Where the file is mapped. Both segments lie in the file's first pages, mapped once to execute and once to write. */
const CODE_BASE = 0x400000;
/** A multiple of the largest page there is, 64 KiB, behind the code. */
const DATA_BASE = 0x410000;

/** The number, five arguments, where the result goes, the least result, what follows below it. 8 bytes each. */
const RECORD_WORDS = 9;

/** Before the records: argv and envp, which the code writes there. */
const HEAD_WORDS = 2;

/** No result is below it: a call whose result nobody looks at. */
const ANY_RESULT = -0x7fffffff;

/** The ELF file. */
export function assembleProgram(
  arch: Arch,
  program: SmallProgram,
): Uint8Array<ArrayBuffer> {
  const data = layOut(program.calls);
  const dataOffset = align(CODE_OFFSET + CODE_LIMIT);
  const code = arch === "x64"
    ? codeOfX64(DATA_BASE + dataOffset, program.ownWords)
    : codeOfArm64(DATA_BASE + dataOffset, program.ownWords);
  const file = new Uint8Array(new ArrayBuffer(dataOffset + data.bytes));
  const view = new DataView(file.buffer);
  writeHeaders(view, arch, dataOffset, data.bytes);
  file.set(code, CODE_OFFSET);
  data.write(file, view, dataOffset);
  return file;
}

interface Data {
  readonly bytes: number;
  readonly write: (file: Uint8Array, view: DataView, offset: number) => void;
}

/** Records first, then a cell for each argument that is a number or an address, then the blocks. */
function layOut(calls: readonly Call[]): Data {
  const records: Call[] = [];
  const starts: number[] = [];
  const lists: (readonly Call[])[] = [];
  const collect = (list: readonly Call[]): void => {
    if (lists.includes(list)) return;
    lists.push(list);
    starts.push(records.length);
    for (const call of list) records.push(call);
    for (const { below } of list) if (below !== undefined) collect(below.goOn);
  };
  collect(calls);
  const scratch: Block = { bytes: new Uint8Array(8) };
  const blocks: Block[] = [];
  const offsets: number[] = [];
  const cells: (number | Block)[] = [];
  const cellsAt = align((HEAD_WORDS + records.length * RECORD_WORDS) * 8);
  const keep = (block: Block): void => {
    if (blocks.includes(block)) return;
    blocks.push(block);
    for (const [, to] of block.pointers ?? []) keep(to);
  };
  const cellOf = (value: number | Block): number => {
    const known = cells.indexOf(value);
    return known === -1 ? cells.push(value) - 1 : known;
  };
  keep(scratch);
  for (const { words, into } of records) {
    for (const word of words) {
      if (typeof word === "string") continue;
      if (typeof word === "number") cellOf(word);
      else if ("in" in word) keep(word.in);
      else {
        keep(word);
        cellOf(word);
      }
    }
    if (into !== undefined) keep(into.in);
  }
  cellOf(0);
  let end = cellsAt + cells.length * 8;
  for (const { bytes } of blocks) {
    offsets.push(end);
    end = align(end + bytes.length);
  }
  const addressOf = (block: Block, base: number): number =>
    base + offsets[blocks.indexOf(block)]!;
  const wordAt = (word: Argument, base: number): number => {
    if (word === "argv") return base;
    if (word === "environment") return base + 8;
    if (typeof word === "object" && "in" in word) {
      return addressOf(word.in, base) + word.offset;
    }
    return base + cellsAt + 8 * cellOf(word);
  };
  return {
    // An argument is read as 8 bytes wherever it lies.
    bytes: end + 8,
    write(file, view, offset): void {
      const base = DATA_BASE + offset;
      records.forEach((call, index) => {
        const at = offset + (HEAD_WORDS + index * RECORD_WORDS) * 8;
        putWord(view, at, call.number);
        for (let word = 0; word < 5; word++) {
          const address = wordAt(call.words[word] ?? 0, base);
          putWord(view, at + 8 + 8 * word, address);
        }
        const { into, below } = call;
        putWord(
          view,
          at + 48,
          wordAt(into ?? { in: scratch, offset: 0 }, base),
        );
        putWord(view, at + 56, below?.least ?? ANY_RESULT);
        const next = below === undefined
          ? 0
          : starts[lists.indexOf(below.goOn)]!;
        putWord(view, at + 64, base + (HEAD_WORDS + next * RECORD_WORDS) * 8);
      });
      cells.forEach((value, index) => {
        const word = typeof value === "number" ? value : addressOf(value, base);
        putWord(view, offset + cellsAt + 8 * index, word);
      });
      blocks.forEach(({ bytes, pointers }, index) => {
        const at = offset + offsets[index]!;
        file.set(bytes, at);
        for (const [where, to] of pointers ?? []) {
          putWord(view, at + where, addressOf(to, base));
        }
      });
    },
  };
}

/** A whole number of 32 bits, its sign extended. */
function putWord(view: DataView, at: number, value: number): void {
  view.setInt32(at, value | 0, true);
  view.setInt32(at + 4, value < 0 ? -1 : 0, true);
}

function align(length: number): number {
  return (length + 15) & ~15;
}

function writeHeaders(
  view: DataView,
  arch: Arch,
  dataOffset: number,
  dataBytes: number,
): void {
  view.setUint32(0, 0x7f454c46); // \x7fELF
  view.setUint32(4, 0x02010100); // 64 bits, little-endian, version 1, System V
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, arch === "x64" ? 62 : 183, true); // EM_X86_64, EM_AARCH64
  view.setUint32(20, 1, true); // EV_CURRENT
  putWord(view, 24, CODE_BASE + CODE_OFFSET); // e_entry
  putWord(view, 32, EHDR_BYTES); // e_phoff
  view.setUint16(52, EHDR_BYTES, true);
  view.setUint16(54, PHDR_BYTES, true);
  view.setUint16(56, 3, true); // e_phnum
  const segment = (
    index: number,
    [type, flags, offset, address, bytes]: readonly [
      type: number,
      flags: number,
      offset: number,
      address: number,
      bytes: number,
    ],
  ): void => {
    const at = EHDR_BYTES + index * PHDR_BYTES;
    view.setUint32(at, type, true);
    view.setUint32(at + 4, flags, true);
    putWord(view, at + 8, offset);
    putWord(view, at + 16, address);
    putWord(view, at + 24, address);
    putWord(view, at + 32, bytes);
    putWord(view, at + 40, bytes);
    putWord(view, at + 48, type === PT_LOAD ? 0x10000 : 16);
  };
  segment(0, [PT_LOAD, PF_R | PF_X, 0, CODE_BASE, dataOffset]);
  segment(1, [
    PT_LOAD,
    PF_R | PF_W,
    dataOffset,
    DATA_BASE + dataOffset,
    dataBytes,
  ]);
  // Without it the stack could be executed.
  segment(2, [PT_GNU_STACK, PF_R | PF_W, 0, 0, 0]);
}

/** `elf.h`. */
const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;

/** No interpreter is longer. */
const CODE_LIMIT = 160;

/** The interpreter for x86-64. @param data the data's address @param ownWords as {@linkcode SmallProgram} has it */
function codeOfX64(data: number, ownWords: number): number[] {
  const start = [
    ...[0x48, 0x8b, 0x04, 0x24], // mov rax, [rsp]: argc
    ...[0x48, 0x8d, 0x4c, 0x24, 8 + 8 * ownWords], // lea rcx, [rsp + …]: argv behind our words
    ...[0x48, 0x89, 0x0c, 0x25, ...littleEndian(data)], // mov [argv], rcx
    ...[0x48, 0x8d, 0x54, 0xc4, 0x10], // lea rdx, [rsp + rax*8 + 16]: envp
    ...[0x48, 0x89, 0x14, 0x25, ...littleEndian(data + 8)], // mov [envp], rdx
    ...[0xbb, ...littleEndian(data + 8 * HEAD_WORDS)], // mov ebx, the first record
  ];
  const step = [
    ...[0x48, 0x8b, 0x7b, 0x08, 0x48, 0x8b, 0x3f], // mov rdi, [rbx + 8]; mov rdi, [rdi]
    ...[0x48, 0x8b, 0x73, 0x10, 0x48, 0x8b, 0x36], // mov rsi, [rbx + 16]; mov rsi, [rsi]
    ...[0x48, 0x8b, 0x53, 0x18, 0x48, 0x8b, 0x12], // mov rdx, [rbx + 24]; mov rdx, [rdx]
    ...[0x4c, 0x8b, 0x53, 0x20, 0x4d, 0x8b, 0x12], // mov r10, [rbx + 32]; mov r10, [r10]
    ...[0x4c, 0x8b, 0x43, 0x28, 0x4d, 0x8b, 0x00], // mov r8, [rbx + 40]; mov r8, [r8]
    ...[0x48, 0x8b, 0x03], // mov rax, [rbx]
    ...[0x85, 0xc0, 0x78, 0x04], // test eax, eax; js compare
    ...[0x0f, 0x05, 0xeb, 0x09], // syscall; jmp judge
    ...[0x48, 0x31, 0xf7, 0x48, 0xf7, 0xdf], // compare: xor rdi, rsi; neg rdi
    ...[0x48, 0x19, 0xc0], // sbb rax, rax
    ...[0x48, 0x8b, 0x4b, 0x30, 0x89, 0x01], // judge: mov rcx, [rbx + 48]; mov [rcx], eax
    ...[0x48, 0x3b, 0x43, 0x38, 0x7c, 0x06], // cmp rax, [rbx + 56]; jl below
    ...[0x48, 0x83, 0xc3, 8 * RECORD_WORDS], // add rbx, a record
  ];
  const again = -(step.length + 2);
  const below = [0x48, 0x8b, 0x5b, 0x40]; // below: mov rbx, [rbx + 64]
  return [
    ...start,
    ...step,
    ...[0xeb, again & 0xff], // jmp step
    ...below,
    ...[0xeb, (again - below.length - 2) & 0xff], // jmp step
  ];
}

/** The interpreter for arm64. */
function codeOfArm64(data: number, ownWords: number): number[] {
  const start = [
    0xf94003e9, // ldr x9, [sp]: argc
    0x910003ea | ((8 + 8 * ownWords) << 10), // add x10, sp, …: argv behind our words
    0x8b296feb, // add x11, sp, x9, lsl #3
    0x9100416b, // add x11, x11, #16: envp
    0xd2800013 | ((data & 0xffff) << 5), // movz x19, the data
    0xf2a00013 | ((data >>> 16) << 5), // movk x19, its upper half, lsl #16
    0xa9002e6a, // stp x10, x11, [x19]
    0x91000273 | ((8 * HEAD_WORDS) << 10), // add x19, x19, …: the first record
  ];
  const step = [
    0xa9400268, // ldp x8, x0, [x19]
    0xa9410a61, // ldp x1, x2, [x19, #16]
    0xa9421263, // ldp x3, x4, [x19, #32]
    0xf9400000, // ldr x0, [x0]
    0xf9400021, // ldr x1, [x1]
    0xf9400042, // ldr x2, [x2]
    0xf9400063, // ldr x3, [x3]
    0xf9400084, // ldr x4, [x4]
    0x37f80068, // tbnz w8, #31, compare
    0xd4000001, // svc 0
    0x14000003, // b judge
    0xeb01001f, // compare: cmp x0, x1
    0xda9f03e0, // csetm x0, ne
    0xa9431a65, // judge: ldp x5, x6, [x19, #48]
    0xb90000a0, // str w0, [x5]
    0xeb06001f, // cmp x0, x6
    0x5400006b, // b.lt below
    0x91000273 | ((8 * RECORD_WORDS) << 10), // add x19, x19, a record
  ];
  const back = (from: number): number => (0x14000000 | (-from & 0x3ffffff));
  return [
    ...start,
    ...step,
    back(step.length), // b step
    0xf9402273, // below: ldr x19, [x19, #64]
    back(step.length + 2), // b step
  ].flatMap(littleEndian);
}

function littleEndian(word: number): number[] {
  return [
    word & 0xff,
    (word >>> 8) & 0xff,
    (word >>> 16) & 0xff,
    (word >>> 24) & 0xff,
  ];
}
