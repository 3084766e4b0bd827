import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  encodeStub,
  planSeal,
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

test("the stub of x86-64 asks for /proc, puts two settings where the environment has room, ends it and jumps to the entry", () => {
  expect(encodeStub(EM_X86_64, 0x1a40770, 0x1a40d00)).toEqual(stub(
    "b8 15 00 00 00  48 8d 3d ad 00 00 00  31 f6 0f 05  85 c0 74 24  b8 01 00 00 00  bf 02 00 00 00 48 8d 35 a7 00 00 00  ba 67 00 00 00  0f 05  b8 e7 00 00 00  bf 7d 00 00 00  0f 05 " +
      "48 8b 04 24  48 8d 44 c4 10  48 83 38 00  74 24  48 8d 0d 22 00 00 00  48 89 08 " +
      "48 83 78 08 00  74 13  48 8d 0d 3a 00 00 00  48 89 48 08  48 c7 40 10 00 00 00 00  e9 20 05 00 00",
  ));
});

test("the stub of arm64 does the same", () => {
  const code =
    "e9 03 00 aa 60 0c 80 92 a1 05 00 30 02 00 80 d2 08 06 80 d2 01 00 00 d4 40 01 00 b4 40 00 80 d2 81 05 00 10 e2 0c 80 d2 08 08 80 d2 01 00 00 d4 a0 0f 80 d2 c8 0b 80 d2 01 00 00 d4 1f 20 03 d5 e0 03 09 aa " +
    "e9 03 40 f9  e9 6f 29 8b  2a 09 40 f9  0a 01 00 b4  0a 01 00 10  2a 09 00 f9 " +
    "2a 0d 40 f9  8a 00 00 b4  ca 01 00 30  2a 0d 00 f9  3f 11 00 f9 ";
  expect(encodeStub(EM_AARCH64, 0x10000, 0x11070)).toEqual(
    stub(`${code} 00 04 00 14`),
  );
  expect(encodeStub(EM_AARCH64, 0x11000, 0x11060)).toEqual(
    stub(`${code} fc ff ff 17`),
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
    expect(encodeStub(machine, address, target)).toEqual({ ok: false, error });
  });
}

test("the stub lies after the last used byte, aligned to 16, at the address the kernel maps it to", () => {
  const plan = planSeal(synthetic(GOOD));
  expect(plan).toMatchObject({
    ok: true,
    value: { stubOffset: 0x1770, stubAddress: 0x402770, oldEntry: 0x402d40 },
  });
});

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

test("only the entry and the stub change, the sealed copy runs, and a second seal is refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "codex-seal-"));
  try {
    const to = join(folder, "runtime");
    const seal = writeSealedRuntime({ from: process.execPath, to });
    const before = readFileSync(process.execPath);
    const after = readFileSync(to);
    before.set(after.subarray(24, 32), 24);
    before.set(seal.stub, seal.stubOffset);
    expect(before.equals(after)).toBe(true);

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
