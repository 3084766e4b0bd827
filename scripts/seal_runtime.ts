/**
 * Seals a copy of the Bun executable against its caller's environment: an entry stub ends it after two settings of ours, so the
 * runtime sees nothing of the caller's while `/proc/self/environ` keeps the caller's exact bytes.
 *
 * The stub lies in the zero bytes before the executable segment, in the part of its first page that the kernel maps with it.
 * Every assumption is checked; a runtime of another shape fails the build. Pure up to {@linkcode writeSealedRuntime}.
 *
 * Before that the stub saves what the runtime would change or complain of: the soft limit of open files, and an ignored SIGPWR.
 *
 * The stub also asks for huge pages for code and constants, and the copy is laid out so that the kernel can map them: a start then
 * takes some 180 page faults less (1.2 ms of 15, measured).
 * Source: `elf.h`; System V ABI, "Process Initialization" (argc, argv, NULL, envp, NULL from the stack pointer up); madvise(2).
 *
 * @module
 */

import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fail, ok, type Result } from "../src/result.ts";

const PAGE_BYTES = 4096; // the smallest page: a larger one maps more before the segment, never less
const STUB_ALIGN_BYTES = 16;
const EHDR_BYTES = 64; // sizeof(Elf64_Ehdr)
const PHDR_BYTES = 56; // sizeof(Elf64_Phdr)
const SHDR_BYTES = 64; // sizeof(Elf64_Shdr)
const E_ENTRY_OFFSET = 24; // offsetof(Elf64_Ehdr, e_entry)
const E_SHOFF_OFFSET = 40; // offsetof(Elf64_Ehdr, e_shoff)
const ET_EXEC = 2;
const ET_DYN = 3;
const PT_LOAD = 1;
const PF_X = 1;
const PF_W = 2;
const SHT_NOBITS = 8;
const EM_X86_64 = 62;
const EM_AARCH64 = 183;

/** What one entry of a page middle directory maps, where a page has 4 KiB. */
const HUGE_PAGE_BYTES = 2 * 1024 * 1024;

/** Zeroes that are worth a better layout; a runtime that would need more is left as it is. */
const MAX_SHIFT_BYTES = 512 * 1024;

/** `asm-generic/mman-common.h`. */
const MADV_HUGEPAGE = 14;

/** Addresses of whole pages. */
export type PageRange = { readonly start: number; readonly bytes: number };

/** What has to be written into a copy of the executable; nothing else changes. */
export type Seal = {
  /** Everything from this file offset on moves by {@linkcode Seal.shiftBytes}: nothing lies across it. */
  readonly shiftOffset: number;
  /** So that the code's file offset and address differ by whole huge pages: only then can the kernel map one. */
  readonly shiftBytes: number;
  /** File offset of the stub, after the shift. */
  readonly stubOffset: number;
  /** Where the kernel maps the stub: the new `e_entry`. */
  readonly stubAddress: number;
  readonly stub: Uint8Array;
  /** Where the runtime began, and where the stub jumps to. */
  readonly oldEntry: number;
};

type Segment = {
  readonly type: number;
  readonly flags: number;
  /** Where its entry of the program header table is in the file. */
  readonly header: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
};

/** Where the stub goes and what it says, or one line that says why this file can't be sealed. */
export function planSeal(elf: Uint8Array): Result<Seal, string> {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (elf.length < EHDR_BYTES || view.getUint32(0) !== 0x7f454c46) {
    return fail("it is not an ELF file");
  }
  if (view.getUint8(4) !== 2 || view.getUint8(5) !== 1) {
    return fail("it is not a 64-bit little-endian ELF file");
  }
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) {
    return fail(`its ELF type is ${type}, must be 2 or 3`);
  }
  const machine = view.getUint16(18, true);
  const oldEntry = readOffset(view, E_ENTRY_OFFSET);
  const segments = readSegments(view);
  if (segments === null) {
    return fail("its program headers lie outside the file");
  }

  const executable = segments.filter((s) =>
    s.type === PT_LOAD && (s.flags & PF_X) !== 0
  );
  const [text] = executable;
  if (text === undefined || executable.length > 1) {
    return fail(`it has ${executable.length} executable segments, must be 1`);
  }
  if (oldEntry < text.address || oldEntry >= text.address + text.fileBytes) {
    return fail(
      `its entry point ${
        hex(oldEntry)
      } is outside the executable segment: it is sealed already, or it changed its shape`,
    );
  }
  if (text.offset % PAGE_BYTES !== text.address % PAGE_BYTES) {
    return fail(
      "file offset and address of its executable segment differ within the page",
    );
  }

  const gapStart = Math.max(
    text.offset - (text.offset % PAGE_BYTES),
    endOfUsedBytes(view, segments, text.offset),
  );
  const stubOffset = Math.ceil(gapStart / STUB_ALIGN_BYTES) * STUB_ALIGN_BYTES;
  const stubAddress = text.address - (text.offset - stubOffset);
  const readOnly = segments.filter((s) =>
    s.type === PT_LOAD && (s.flags & PF_W) === 0
  );
  const stub = encodeStub(
    machine,
    stubAddress,
    oldEntry,
    readOnly.map(pagesOf),
  );
  if (!stub.ok) return stub;
  if (stubOffset + stub.value.length > text.offset) {
    return fail(
      `${
        text.offset - gapStart
      } bytes are free before its executable segment, ${stub.value.length} are needed`,
    );
  }
  if (elf.subarray(gapStart, text.offset).some((byte) => byte !== 0)) {
    return fail(
      `the bytes before its executable segment, from ${
        hex(gapStart)
      }, are not all zero`,
    );
  }
  const page = stubAddress - (stubAddress % PAGE_BYTES);
  const shares = segments.some((s) =>
    s.type === PT_LOAD && s !== text && s.address < page + PAGE_BYTES &&
    s.address + s.memoryBytes > page
  );
  if (shares) {
    return fail(
      `another segment is mapped over the stub's page at ${hex(page)}`,
    );
  }
  const distance = (text.address - text.offset) % HUGE_PAGE_BYTES;
  const isCheap = distance <= MAX_SHIFT_BYTES && distance % PAGE_BYTES === 0;
  const shiftBytes = isCheap ? distance : 0;
  return ok({
    shiftOffset: stubOffset,
    shiftBytes,
    stubOffset: stubOffset + shiftBytes,
    stubAddress,
    stub: stub.value,
    oldEntry,
  });
}

/** The whole pages that a segment touches. */
function pagesOf({ address, memoryBytes }: Segment): PageRange {
  const start = address - (address % PAGE_BYTES);
  const end = Math.ceil((address + memoryBytes) / PAGE_BYTES) * PAGE_BYTES;
  return { start, bytes: end - start };
}

/**
 * The stub's machine code: huge pages for `wide`, our two settings into `envp`, then NULL, jump. An environment that has fewer than two entries gets as many
 * of them: behind its NULL lies the auxiliary vector.
 *
 * Only registers that are free at process entry are changed, and on x86-64 the base of `gs`: `rdx` and `x0` carry ld.so's exit function.
 */
export function encodeStub(
  machine: number,
  address: number,
  target: number,
  wide: readonly PageRange[],
): Result<Uint8Array, string> {
  switch (machine) {
    case EM_X86_64: {
      const check = [...adviseX86(address, wide), ...checkX86()];
      const code = new Uint8Array(56);
      const words = new DataView(code.buffer);
      const second = code.length + FIRST.length;
      code.set([0x48, 0x8b, 0x04, 0x24]); // mov rax, [rsp]
      code.set([0x48, 0x8d, 0x44, 0xc4, 0x10], 4); // lea rax, [rsp + rax*8 + 16]
      code.set([0x48, 0x83, 0x38, 0], 9); // cmp qword [rax], 0
      code.set([0x74, 51 - 15], 13); // je to the jump
      code.set([0x48, 0x8d, 0x0d], 15); // lea rcx, [rip + ...]: the first setting
      words.setInt32(18, code.length - 22, true);
      code.set([0x48, 0x89, 0x08], 22); // mov [rax], rcx
      code.set([0x48, 0x83, 0x78, 0x08, 0], 25); // cmp qword [rax + 8], 0
      code.set([0x74, 51 - 32], 30); // je to the jump
      code.set([0x48, 0x8d, 0x0d], 32); // lea rcx, [rip + ...]: the second setting
      words.setInt32(35, second - 39, true);
      code.set([0x48, 0x89, 0x48, 0x08], 39); // mov [rax + 8], rcx
      code.set([0x48, 0xc7, 0x40, 0x10, 0, 0, 0, 0], 43); // mov qword [rax + 16], 0
      const distance = target - (address + check.length + code.length);
      if (distance !== (distance | 0)) {
        return fail("its entry point is too far for a jump");
      }
      code[51] = 0xe9; // jmp rel32
      words.setInt32(52, distance, true);
      return ok(new Uint8Array([...check, ...code, ...STRINGS]));
    }
    case EM_AARCH64: {
      const check = [...adviseArm(address, wide), ...checkArm()];
      const code = new Uint8Array(48);
      const words = new DataView(code.buffer);
      const second = code.length + FIRST.length;
      words.setUint32(0, 0xf94003e9, true); // ldr x9, [sp]
      words.setUint32(4, 0x8b296fe9, true); // add x9, sp, x9, lsl #3
      words.setUint32(8, 0xf940092a, true); // ldr x10, [x9, #16]
      words.setUint32(12, branchIfZero(44 - 12), true); // cbz x10, to the branch
      words.setUint32(16, addressOf(10, code.length - 16), true); // adr x10: the first setting
      words.setUint32(20, 0xf900092a, true); // str x10, [x9, #16]
      words.setUint32(24, 0xf9400d2a, true); // ldr x10, [x9, #24]
      words.setUint32(28, branchIfZero(44 - 28), true); // cbz x10, to the branch
      words.setUint32(32, addressOf(10, second - 32), true); // adr x10: the second setting
      words.setUint32(36, 0xf9000d2a, true); // str x10, [x9, #24]
      words.setUint32(40, 0xf900113f, true); // str xzr, [x9, #32]
      const distance = target - (address + check.length + 44);
      if (distance % 4 !== 0 || Math.abs(distance) >= 2 ** 27) {
        return fail("its entry point is too far for a branch");
      }
      words.setUint32(44, 0x14000000 | ((distance / 4) & 0x3ffffff), true); // b target
      return ok(new Uint8Array([...check, ...code, ...STRINGS]));
    }
    default:
      return fail(
        `its machine is ${machine}, must be 62 (x86-64) or 183 (arm64)`,
      );
  }
}

/**
 * madvise(2) for each range, whatever comes of it. What is read from disk for these pages afterwards is read in huge pages and stays in
 * the page cache like that, for every start after this one.
 */
function adviseX86(
  address: number,
  wide: readonly PageRange[],
): readonly number[] {
  const code = new Uint8Array(wide.length * 24);
  const words = new DataView(code.buffer);
  for (const [index, { start, bytes }] of wide.entries()) {
    const at = index * 24;
    code.set([0x48, 0x8d, 0x3d], at); // lea rdi, [rip + ...]: the first page
    words.setInt32(at + 3, start - (address + 3 + at + 7), true);
    code[at + 7] = 0xbe; // mov esi, the size
    words.setUint32(at + 8, bytes, true);
    code.set([0xba, MADV_HUGEPAGE, 0, 0, 0], at + 12); // mov edx, the advice
    code.set([0xb8, 28, 0, 0, 0], at + 17); // mov eax, 28 (madvise)
    code.set([0x0f, 0x05], at + 22); // syscall
  }
  // mov r8, rdx before; mov rdx, r8 after
  return [
    ...[0x49, 0x89, 0xd0],
    ...code,
    ...keepLimitX86(),
    ...allowCollectorX86(),
    ...[0x4c, 0x89, 0xc2],
  ];
}

/**
 * The soft limit of open files, plus one, becomes the base of `gs`, which nothing on Linux uses: the runtime raises that limit before any
 * line of ours runs, and the command shall have the caller's. `src/sys/processes.ts` reads it; without it, as on arm64, the
 * parent's limit is taken. prlimit64(2), arch_prctl(2). The memory is the dead stack below.
 */
function keepLimitX86(): readonly number[] {
  return [
    ...[0x31, 0xff], // xor edi, edi: this process
    ...[0xbe, 7, 0, 0, 0], // mov esi, 7 (RLIMIT_NOFILE)
    ...[0x31, 0xd2], // xor edx, edx: nothing new
    ...[0x4c, 0x8d, 0x54, 0x24, 0xc0], // lea r10, [rsp - 64]
    ...[0xb8, 0x2e, 1, 0, 0], // mov eax, 302 (prlimit64)
    ...[0x0f, 0x05], // syscall
    ...[0x48, 0x8b, 0x74, 0x24, 0xc0], // mov rsi, [rsp - 64]
    ...[0x48, 0xff, 0xc6], // inc rsi: 0 says that nothing is known
    ...[0xbf, 1, 0x10, 0, 0], // mov edi, 0x1001 (ARCH_SET_GS)
    ...[0xb8, 158, 0, 0, 0], // mov eax, 158 (arch_prctl)
    ...[0x0f, 0x05], // syscall
  ];
}

/**
 * SIGPWR at its default: the collector of the runtime takes this signal, and prints a line of its own where the caller ignores it.
 * rt_sigaction(2).
 */
function allowCollectorX86(): readonly number[] {
  return [
    ...[0x31, 0xc0], // xor eax, eax
    ...[0x48, 0x89, 0x44, 0x24, 0xc0], // mov [rsp - 64], rax: SIG_DFL
    ...[0x48, 0x89, 0x44, 0x24, 0xc8], // mov [rsp - 56], rax: flags
    ...[0x48, 0x89, 0x44, 0x24, 0xd0], // mov [rsp - 48], rax: restorer
    ...[0x48, 0x89, 0x44, 0x24, 0xd8], // mov [rsp - 40], rax: mask
    ...[0xbf, 30, 0, 0, 0], // mov edi, 30 (SIGPWR)
    ...[0x48, 0x8d, 0x74, 0x24, 0xc0], // lea rsi, [rsp - 64]
    ...[0x31, 0xd2], // xor edx, edx
    ...[0x41, 0xba, 8, 0, 0, 0], // mov r10d, 8
    ...[0xb8, 13, 0, 0, 0], // mov eax, 13 (rt_sigaction)
    ...[0x0f, 0x05], // syscall
  ];
}

/** {@linkcode adviseX86} for arm64; `x0` is kept in `x9`. */
function adviseArm(
  address: number,
  wide: readonly PageRange[],
): readonly number[] {
  const code = new Uint8Array(8 + wide.length * 24);
  const words = new DataView(code.buffer);
  words.setUint32(0, 0xaa0003e9, true); // mov x9, x0
  for (const [index, { start, bytes }] of wide.entries()) {
    const at = 4 + index * 24;
    words.setUint32(at, pageOf(0, address + at, start), true); // adrp x0: the first page
    words.setUint32(at + 4, (0xd2800001 | (bytes % 2 ** 16) << 5) >>> 0, true); // mov x1, the size's low half
    const high = Math.floor(bytes / 2 ** 16);
    words.setUint32(at + 8, (0xf2a00001 | (high << 5)) >>> 0, true); // movk x1, the high half
    words.setUint32(at + 12, 0xd2800002 | (MADV_HUGEPAGE << 5), true); // mov x2, the advice
    words.setUint32(at + 16, 0xd2801d28, true); // mov x8, 233 (madvise)
    words.setUint32(at + 20, 0xd4000001, true); // svc 0
  }
  words.setUint32(code.length - 4, 0xaa0903e0, true); // mov x0, x9
  return [...code];
}

/**
 * Without `/proc` the runtime aborts with a report of its own before any line of ours runs. So the stub asks for it first, and ends
 * with one line and status 125 where it is missing.
 */
function checkX86(): Uint8Array {
  const code = new Uint8Array(56);
  const words = new DataView(code.buffer);
  const strings = code.length + 56 + FIRST.length + SECOND.length;
  code.set([0xb8, 21, 0, 0, 0]); // mov eax, 21 (access)
  code.set([0x48, 0x8d, 0x3d], 5); // lea rdi, [rip + ...]: the path
  words.setInt32(8, strings - 12, true);
  code.set([0x31, 0xf6, 0x0f, 0x05], 12); // xor esi, esi; syscall
  code.set([0x85, 0xc0, 0x74, 56 - 20], 16); // test eax, eax; jz over the rest
  code.set([0xb8, 1, 0, 0, 0, 0xbf, 2, 0, 0, 0], 20); // mov eax, 1 (write); mov edi, 2
  code.set([0x48, 0x8d, 0x35], 30); // lea rsi, [rip + ...]: the line
  words.setInt32(33, strings + PATH.length - 37, true);
  code.set([0xba], 37); // mov edx, its length
  words.setInt32(38, LINE.length, true);
  code.set([0x0f, 0x05], 42); // syscall
  code.set([0xb8, 231, 0, 0, 0, 0xbf, 125, 0, 0, 0], 44); // mov eax, 231 (exit_group); mov edi, 125
  code.set([0x0f, 0x05], 54); // syscall
  return code;
}

/** {@linkcode checkX86} for arm64; `x0` carries ld.so's exit function and is kept in `x9`. */
function checkArm(): Uint8Array {
  const code = new Uint8Array(68);
  const words = new DataView(code.buffer);
  const strings = code.length + 48 + FIRST.length + SECOND.length;
  words.setUint32(0, 0xaa0003e9, true); // mov x9, x0
  words.setUint32(4, 0x92800c60, true); // mov x0, -100 (AT_FDCWD)
  words.setUint32(8, addressOf(1, strings - 8), true); // adr x1: the path
  words.setUint32(12, 0xd2800002, true); // mov x2, 0
  words.setUint32(16, 0xd2800608, true); // mov x8, 48 (faccessat)
  words.setUint32(20, 0xd4000001, true); // svc 0
  words.setUint32(24, 0xb4000140, true); // cbz x0, over the rest
  words.setUint32(28, 0xd2800040, true); // mov x0, 2
  words.setUint32(32, addressOf(1, strings + PATH.length - 32), true); // adr x1: the line
  words.setUint32(36, 0xd2800002 | (LINE.length << 5), true); // mov x2, its length
  words.setUint32(40, 0xd2800808, true); // mov x8, 64 (write)
  words.setUint32(44, 0xd4000001, true); // svc 0
  words.setUint32(48, 0xd2800fa0, true); // mov x0, 125
  words.setUint32(52, 0xd2800bc8, true); // mov x8, 94 (exit_group)
  words.setUint32(56, 0xd4000001, true); // svc 0
  words.setUint32(60, 0xd503201f, true); // nop
  words.setUint32(64, 0xaa0903e0, true); // mov x0, x9
  return code;
}

/** `adr` into a register, so many bytes ahead. */
function addressOf(register: number, distance: number): number {
  return (0x10000000 | ((distance & 3) << 29) | ((distance >> 2) << 5) |
    register) >>> 0;
}

/** `adrp` into a register at `from`: the page of 4 KiB that starts at `page`. */
function pageOf(register: number, from: number, page: number): number {
  const pages = (page - (from - (from % 4096))) / 4096;
  return (0x90000000 | ((pages & 3) << 29) |
    (((pages >> 2) & 0x7ffff) << 5) | register) >>> 0;
}

/** `cbz x10`, so many bytes ahead. */
function branchIfZero(distance: number): number {
  return 0xb4000000 | ((distance / 4) << 5) | 10;
}

/**
 * What the sealed runtime sees instead of the caller's variables, as far as there was room for it. A start then has no thread but
 * one, and exec waits for nobody (measured: 1.0 to 2 ms less of 15):
 * a function is compiled after 667 calls instead of 34, which no start reaches and every proxy does;
 * no thread makes heap blocks ahead of need.
 */
const [FIRST, SECOND] = [
  "BUN_JSC_thresholdForJITAfterWarmUp=10000",
  "BUN_JSC_useWarmUpMarkedBlocks=0",
].map((setting) => new TextEncoder().encode(`${setting}\0`)) as [
  Uint8Array,
  Uint8Array,
];

/** What the runtime reads before anything else. */
const PATH = new TextEncoder().encode("/proc/self/environ\0");

const LINE = new TextEncoder().encode(
  'codex: Cannot read /proc/self/environ: the sandbox needs /proc mounted, try "mount -t proc proc /proc"\n',
);

/** Everything behind the code, in the order in which it is addressed. */
const STRINGS = new Uint8Array([...FIRST, ...SECOND, ...PATH, ...LINE]);

/**
 * Writes a sealed copy of the executable at `from` to `to`, which appears whole or not at all.
 *
 * @throws {Error} with one line, when the runtime can't be sealed
 */
export function writeSealedRuntime(
  { from, to }: { from: string; to: string },
): Seal {
  const elf = readFileSync(from);
  const plan = planSeal(elf);
  if (!plan.ok) {
    throw new Error(`Cannot seal the runtime "${from}": ${plan.error}`);
  }
  const partial = `${to}.${process.pid}.partial`;
  try {
    writeFileSync(partial, sealed(elf, plan.value), { mode: 0o755 });
    renameSync(partial, to);
  } finally {
    rmSync(partial, { force: true });
  }
  return plan.value;
}

/** The copy: moved apart, with the stub and the new entry. */
function sealed(elf: Uint8Array, seal: Seal): Uint8Array {
  const { shiftOffset, shiftBytes } = seal;
  const copy = new Uint8Array(elf.length + shiftBytes);
  copy.set(elf.subarray(0, shiftOffset));
  copy.set(elf.subarray(shiftOffset), shiftOffset + shiftBytes);
  const view = new DataView(copy.buffer);
  const move = (at: number): void => {
    const offset = readOffset(view, at);
    if (offset >= shiftOffset) {
      view.setBigUint64(at, BigInt(offset + shiftBytes), true);
    }
  };
  for (const { header } of readSegments(view) ?? []) move(header + 8);
  move(E_SHOFF_OFFSET);
  const table = readOffset(view, E_SHOFF_OFFSET);
  const count = table === 0 ? 0 : view.getUint16(60, true);
  for (let index = 0; index < count; index++) {
    move(table + index * SHDR_BYTES + 24);
  }
  copy.set(seal.stub, seal.stubOffset);
  view.setBigUint64(E_ENTRY_OFFSET, BigInt(seal.stubAddress), true);
  return copy;
}

function readSegments(view: DataView): Segment[] | null {
  const table = readOffset(view, 32);
  const size = view.getUint16(54, true);
  const count = view.getUint16(56, true);
  if (size !== PHDR_BYTES || table + count * size > view.byteLength) {
    return null;
  }
  return Array.from({ length: count }, (_, i) => {
    const at = table + i * size;
    return {
      type: view.getUint32(at, true),
      flags: view.getUint32(at + 4, true),
      header: at,
      offset: readOffset(view, at + 8),
      address: readOffset(view, at + 16),
      fileBytes: readOffset(view, at + 32),
      memoryBytes: readOffset(view, at + 40),
    };
  });
}

/** The end of the last header, segment or section that begins before `limit`: bytes from there on belong to nobody. */
function endOfUsedBytes(
  view: DataView,
  segments: readonly Segment[],
  limit: number,
): number {
  const ends = [
    EHDR_BYTES,
    readOffset(view, 32) + segments.length * PHDR_BYTES,
  ];
  for (const { offset, fileBytes } of segments) {
    if (offset < limit) ends.push(offset + fileBytes);
  }
  const table = readOffset(view, E_SHOFF_OFFSET);
  const count = view.getUint16(60, true);
  if (table !== 0 && table < limit) ends.push(table + count * SHDR_BYTES);
  for (let at = table; at < table + count * SHDR_BYTES; at += SHDR_BYTES) {
    if (at + SHDR_BYTES > view.byteLength) break;
    const offset = readOffset(view, at + 24);
    const isInFile = view.getUint32(at + 4, true) !== SHT_NOBITS;
    if (isInFile && offset < limit) {
      ends.push(offset + readOffset(view, at + 32));
    }
  }
  return Math.max(...ends);
}

/** A 64-bit field as a number: offsets and addresses of a real executable stay far below 2^53. */
function readOffset(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
