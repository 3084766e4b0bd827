import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  encodeStub,
  planSeal,
  type Seal,
  writeSealedRuntime,
} from "../../scripts/seal_runtime.ts";

const EM_X86_64 = 62;
const EM_AARCH64 = 183;

type Shape = {
  readonly machine: number;
  readonly entry: number;
  readonly textOffset: number;
  readonly textAddress: number;
  readonly readOnlyBytes: number;
  readonly textFlags: number;
  readonly secondText: boolean;
  readonly overlap: boolean;
  readonly gapByte: number;
};

/** A small executable of the real one's shape: a read-only segment, a gap of zeroes, an executable segment. */
const GOOD: Shape = {
  machine: EM_X86_64,
  entry: 0x402d40,
  textOffset: 0x1d00,
  textAddress: 0x402d00,
  readOnlyBytes: 0x1764,
  textFlags: 5,
  secondText: false,
  overlap: false,
  gapByte: 0,
};

const STRINGS =
  "BUN_JSC_thresholdForJITAfterWarmUp=10000\0BUN_JSC_useWarmUpMarkedBlocks=0\0/proc/self/environ\0" +
  'codex: Cannot read /proc/self/environ: the sandbox needs /proc mounted, try "mount -t proc proc /proc"\n';

/** Machine code as hex, the strings behind it. */
function stub(code: string): { ok: true; value: Uint8Array } {
  return {
    ok: true,
    value: new Uint8Array([
      ...bytes(code),
      ...new TextEncoder().encode(STRINGS),
    ]),
  };
}

/** Two ranges, before the stub and around it. */
const WIDE = [
  { start: 0x200000, bytes: 0x1839000 },
  { start: 0x1a40000, bytes: 0x4e0a000 },
];

test("the stub of x86-64 asks for huge pages, keeps the limit of open files, takes SIGPWR back, asks for /proc, puts two settings where the environment has room, ends it and jumps to the entry", () => {
  expect(encodeStub(EM_X86_64, 0x1a40770, 0x1a40d00, WIDE)).toEqual(stub(
    "49 89 d0  48 8d 3d 86 f8 7b fe  be 00 90 83 01  ba 0e 00 00 00  b8 1c 00 00 00  0f 05 " +
      "48 8d 3d 6e f8 ff ff  be 00 a0 e0 04  ba 0e 00 00 00  b8 1c 00 00 00  0f 05 " +
      "31 ff  be 07 00 00 00  31 d2  4c 8d 54 24 c0  b8 2e 01 00 00  0f 05  48 8b 74 24 c0  48 ff c6  bf 01 10 00 00  b8 9e 00 00 00  0f 05 " +
      "31 c0  48 89 44 24 c0  48 89 44 24 c8  48 89 44 24 d0  48 89 44 24 d8  bf 1e 00 00 00  48 8d 74 24 c0  31 d2  41 ba 08 00 00 00  b8 0d 00 00 00  0f 05  4c 89 c2 " +
      "b8 15 00 00 00  48 8d 3d ad 00 00 00  31 f6 0f 05  85 c0 74 24  b8 01 00 00 00  bf 02 00 00 00 48 8d 35 a7 00 00 00  ba 67 00 00 00  0f 05  b8 e7 00 00 00  bf 7d 00 00 00  0f 05 " +
      "48 8b 04 24  48 8d 44 c4 10  48 83 38 00  74 24  48 8d 0d 22 00 00 00  48 89 08 " +
      "48 83 78 08 00  74 13  48 8d 0d 3a 00 00 00  48 89 48 08  48 c7 40 10 00 00 00 00  e9 92 04 00 00",
  ));
});

test("the stub of arm64 does the same", () => {
  const code = // behind the advice
    "e9 03 00 aa 60 0c 80 92 a1 05 00 30 02 00 80 d2 08 06 80 d2 01 00 00 d4 40 01 00 b4 40 00 80 d2 81 05 00 10 e2 0c 80 d2 08 08 80 d2 01 00 00 d4 a0 0f 80 d2 c8 0b 80 d2 01 00 00 d4 1f 20 03 d5 e0 03 09 aa " +
    "e9 03 40 f9  e9 6f 29 8b  2a 09 40 f9  0a 01 00 b4  0a 01 00 10  2a 09 00 f9 " +
    "2a 0d 40 f9  8a 00 00 b4  ca 01 00 30  2a 0d 00 f9  3f 11 00 f9 ";
  const advice = (first: string, second: string): string =>
    `e9 03 00 aa  ${first} 01 00 92 d2 61 30 a0 f2 c2 01 80 d2 28 1d 80 d2 01 00 00 d4 ` +
    `${second} 01 00 94 d2 01 9c a0 f2 c2 01 80 d2 28 1d 80 d2 01 00 00 d4  e0 03 09 aa `;
  // adrp counts pages: -0x1841 and -1, then -0x1842 and -2.
  expect(encodeStub(EM_AARCH64, 0x1a41000, 0x1a420a8, WIDE)).toEqual(
    stub(
      `${advice("e0 3d ff f0", "e0 ff ff f0")} ${code} 00 04 00 14`,
    ),
  );
  expect(encodeStub(EM_AARCH64, 0x1a42000, 0x1a42098, WIDE)).toEqual(
    stub(
      `${advice("e0 3d ff d0", "e0 ff ff d0")} ${code} fc ff ff 17`,
    ),
  );
});

const STUB_REFUSALS = [ // machine, address, target, error
  [
    EM_X86_64,
    0x1000,
    0x1000 + 2 ** 32,
    "its entry point is too far for a jump",
  ],
  [
    EM_AARCH64,
    0x1000,
    0x1000 + 2 ** 28,
    "its entry point is too far for a branch",
  ],
  [EM_AARCH64, 0x1000, 0x2002, "its entry point is too far for a branch"],
  [40, 0, 0, "its machine is 40, must be 62 (x86-64) or 183 (arm64)"],
] as const;
for (const [machine, address, target, error] of STUB_REFUSALS) {
  test(`no stub for machine ${machine} from ${address} to ${target}: ${error}`, () => {
    expect(encodeStub(machine, address, target, [])).toEqual({
      ok: false,
      error,
    });
  });
}

test("the stub lies after the last used byte, aligned to 16, at the address the kernel maps it to", () => {
  const plan = planSeal(synthetic(GOOD));
  expect(plan).toMatchObject({
    ok: true,
    value: { stubAddress: 0x402770, oldEntry: 0x402d40 },
  });
});

const SHIFTS: readonly (readonly [Partial<Shape>, number, string])[] = [ // change, bytes, why
  [{}, 0x1000, "code lies a page too early in the file"],
  [
    { textAddress: 0x601d00, entry: 0x601d40 },
    0,
    "offset and address agree already",
  ],
  [
    { textAddress: 0x481d00, entry: 0x481d40 },
    0x80000,
    "the most that is worth it",
  ],
  [
    { textAddress: 0x482d00, entry: 0x482d40 },
    0,
    "too many zeroes for too little",
  ],
];
for (const [change, shiftBytes, why] of SHIFTS) {
  test(`what follows the stub moves by ${shiftBytes} bytes: ${why}`, () => {
    const plan = planSeal(synthetic({ ...GOOD, ...change }));
    expect(plan).toMatchObject({
      ok: true,
      value: {
        shiftOffset: 0x1770,
        shiftBytes,
        stubOffset: 0x1770 + shiftBytes,
      },
    });
  });
}

const REFUSALS: readonly (readonly [Partial<Shape>, string, string])[] = [ // change, part of the error, why
  [{ gapByte: 1 }, "are not all zero", "somebody uses the gap"],
  [{ readOnlyBytes: 0x1cfc }, "bytes are free before", "the gap is too small"],
  [
    { textOffset: 0x2000, textAddress: 0x403000, entry: 0x403000 },
    "0 bytes are free",
    "the segment begins a page",
  ],
  [{ entry: 0x402770 }, "is sealed already", "a second seal, or another shape"],
  [
    { entry: 0x500000 },
    "outside the executable segment",
    "the entry is elsewhere",
  ],
  [{ textFlags: 4 }, "0 executable segments", "nothing is executable"],
  [{ secondText: true }, "2 executable segments", "two are executable"],
  [
    { textAddress: 0x402e00, entry: 0x402e00 },
    "differ within the page",
    "the kernel would not map it",
  ],
  [
    { overlap: true },
    "another segment is mapped over",
    "the stub's page is shared",
  ],
  [{ machine: 3 }, "its machine is 3", "i386"],
];
for (const [change, part, why] of REFUSALS) {
  test(`an executable is refused with "${part}": ${why}`, () => {
    const plan = planSeal(synthetic({ ...GOOD, ...change }));
    expect(plan.ok ? "sealed" : plan.error).toContain(part);
  });
}

test("what is no 64-bit ELF file is refused", () => {
  expect(planSeal(new Uint8Array(10))).toEqual({
    ok: false,
    error: "it is not an ELF file",
  });
  expect(planSeal(new TextEncoder().encode("#!/bin/sh\n".repeat(10)))).toEqual({
    ok: false,
    error: "it is not an ELF file",
  });
  const elf32 = synthetic(GOOD);
  elf32[4] = 1;
  expect(planSeal(elf32)).toMatchObject({ ok: false });
});

const ODD: readonly (readonly [
  (view: DataView) => void,
  string,
  string,
])[] = [ // what is changed, part of the error, why
  [
    (view) => view.setUint8(5, 2),
    "it is not a 64-bit little-endian ELF file",
    "big-endian",
  ],
  [
    (view) => view.setUint16(16, 1, true),
    "its ELF type is 1, must be 2 or 3",
    "not linked",
  ],
  [
    (view) => view.setUint16(56, 0xffff, true),
    "its program headers lie outside the file",
    "more of them than there is file",
  ],
  [
    (view) => view.setUint16(54, 32, true),
    "its program headers lie outside the file",
    "of another size",
  ],
];
for (const [change, error, why] of ODD) {
  test(`an odd executable is refused with "${error}": ${why}`, () => {
    const elf = synthetic(GOOD);
    change(new DataView(elf.buffer));
    expect(planSeal(elf)).toEqual({ ok: false, error });
  });
}

const SECTIONS: readonly (readonly [
  table: number,
  section: readonly [type: number, offset: number, size: number],
  stub: number,
  why: string,
])[] = [
  [0x3800, [1, 0x1764, 0x100], 0x1870, "behind a section in the gap"],
  [0x3800, [8, 0x1764, 0x100], 0x1770, "not behind one that has no bytes"],
  [0x3800, [1, 0x2800, 0x100], 0x1770, "not behind one that lies further on"],
  [0x1780, [0, 0, 0], 0x17c0, "behind the table of sections"],
];
for (const [table, [type, offset, size], stubAt, why] of SECTIONS) {
  test(`the stub lies at ${stubAt.toString(16)}: ${why}`, () => {
    const elf = synthetic(GOOD);
    const view = new DataView(elf.buffer);
    view.setBigUint64(40, BigInt(table), true);
    view.setUint16(60, 1, true);
    view.setUint32(table + 4, type, true);
    view.setBigUint64(table + 24, BigInt(offset), true);
    view.setBigUint64(table + 32, BigInt(size), true);
    const plan = planSeal(elf);
    expect(plan.ok ? plan.value.shiftOffset : plan.error).toBe(stubAt);
  });
}

test("the sealed copy has the runtime's segments and sections, runs, and a second seal is refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "codex-seal-"));
  try {
    const to = join(folder, "runtime");
    const seal = writeSealedRuntime({ from: process.execPath, to });
    const before = readFileSync(process.execPath);
    const after = readFileSync(to);
    expect(after.length).toBe(before.length + seal.shiftBytes);
    expect(segments(after)).toEqual(
      segments(before).map((segment) => ({
        ...segment,
        offset: moved(seal, segment.offset),
      })),
    );
    expect(sections(before).length).toBeGreaterThan(10);
    expect(sections(after)).toEqual(
      sections(before).map((offset) => moved(seal, offset)),
    );
    const [code] = segments(after).filter(({ type, flags }) =>
      type === 1 && (flags & 1) === 1
    );
    expect(((code?.address ?? 1) - (code?.offset ?? 0)) % 0x200000).toBe(0);
    // Apart from headers, entry and stub every byte is where the shift puts it.
    const table = Number(before.readBigUInt64LE(40));
    expect(
      before.subarray(0x1000, seal.shiftOffset).equals(
        after.subarray(0x1000, seal.shiftOffset),
      ),
    ).toBe(true);
    const rest = seal.shiftOffset + seal.stub.length;
    expect(
      before.subarray(rest, table).equals(
        after.subarray(rest + seal.shiftBytes, table + seal.shiftBytes),
      ),
    ).toBe(true);

    const done = Bun.spawnSync([
      to,
      "-e",
      "console.log(Object.keys(process.env).join())",
    ], {
      env: { A: "1", B: "2", C: "3" },
      cwd: folder,
    });
    expect(done.stdout.toString()).toBe(
      "BUN_JSC_thresholdForJITAfterWarmUp,BUN_JSC_useWarmUpMarkedBlocks\n",
    );
    expect(() => writeSealedRuntime({ from: to, to: join(folder, "twice") }))
      .toThrow("is sealed already");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a runtime that can't be sealed leaves no file behind", () => {
  const folder = mkdtempSync(join(tmpdir(), "codex-seal-"));
  try {
    const from = join(folder, "odd");
    writeFileSync(from, synthetic({ ...GOOD, gapByte: 1 }));
    expect(() => writeSealedRuntime({ from, to: join(folder, "runtime") }))
      .toThrow(
        `Cannot seal the runtime "${from}": the bytes before its executable segment`,
      );
    expect([...new Bun.Glob("*").scanSync(folder)]).toEqual(["odd"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A file offset after the shift. */
function moved(seal: Seal, offset: number): number {
  return offset >= seal.shiftOffset ? offset + seal.shiftBytes : offset;
}

/** Where the sections of an executable lie, by `elf.h`. */
function sections(elf: Buffer): number[] {
  const table = Number(elf.readBigUInt64LE(40));
  return Array.from(
    { length: elf.readUInt16LE(60) },
    (_, index) => Number(elf.readBigUInt64LE(table + index * 64 + 24)),
  );
}

/** The program headers of an executable, by `elf.h`. */
function segments(elf: Buffer): {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
}[] {
  const count = elf.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => {
    const at = Number(elf.readBigUInt64LE(32)) + index * 56;
    return {
      type: elf.readUInt32LE(at),
      flags: elf.readUInt32LE(at + 4),
      offset: Number(elf.readBigUInt64LE(at + 8)),
      address: Number(elf.readBigUInt64LE(at + 16)),
      fileBytes: Number(elf.readBigUInt64LE(at + 32)),
    };
  });
}

function synthetic(shape: Shape): Uint8Array {
  const elf = new Uint8Array(0x4000);
  const view = new DataView(elf.buffer);
  view.setUint32(0, 0x7f454c46);
  elf.set([2, 1, 1], 4); // 64-bit, little-endian, version 1
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, shape.machine, true);
  view.setBigUint64(24, BigInt(shape.entry), true);
  view.setBigUint64(32, 64n, true); // program headers follow the header
  view.setUint16(54, 56, true);
  const segments = [
    [4, 0, 0x400000, shape.readOnlyBytes],
    [shape.textFlags, shape.textOffset, shape.textAddress, 0x1000],
    ...(shape.secondText ? [[5, 0x3800, 0x407800, 0x100]] : []),
    ...(shape.overlap ? [[6, 0x3000, 0x402000, 0x100]] : []),
  ] as const;
  view.setUint16(56, segments.length, true);
  segments.forEach(([flags, offset, address, size], i) => {
    const at = 64 + i * 56;
    view.setUint32(at, 1, true); // PT_LOAD
    view.setUint32(at + 4, flags!, true);
    view.setBigUint64(at + 8, BigInt(offset!), true);
    view.setBigUint64(at + 16, BigInt(address!), true);
    view.setBigUint64(at + 32, BigInt(size!), true);
    view.setBigUint64(at + 40, BigInt(size!), true);
  });
  elf[shape.textOffset - 4] = shape.gapByte;
  return elf;
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(
    hex.trim().split(/\s+/).map((byte) => parseInt(byte, 16)),
  );
}
