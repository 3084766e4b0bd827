import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { ByteString } from "../../src/bytes.ts";
import * as abi from "../../src/sys/abi.ts";
import {
  close,
  fileStatusFlags,
  open,
  openAt2,
  pipe,
  readAll,
  sealedMemfd,
} from "../../src/sys/calls.ts";
import { SYS } from "../../src/sys/outcome.ts";
import { stableBytes, syscall } from "../../src/sys/ffi.ts";

function must<T>(
  result: { readonly ok: true; readonly value: T } | { readonly ok: false },
): T {
  if (!result.ok) throw new Error("the call failed");
  return result.value;
}

const TEXT = Buffer.from("as it was");
/** `asm-generic/errno-base.h`. */
const EPERM = 1;

test("a sealed memory file can be neither written, grown, shrunk nor unsealed", () => {
  const fd = must(sealedMemfd("t", TEXT, "data"));
  const word = stableBytes(1);
  expect([
    syscall(SYS.pwrite64, fd, word, 1, 0),
    syscall(SYS.pwrite64, fd, word, 1, TEXT.length),
    syscall(SYS.fcntl, fd, abi.F_ADD_SEALS, 0),
  ]).toEqual([-EPERM, -EPERM, -EPERM]);
  expect(readAll(fd, 100)).toEqual({
    ok: true,
    value: TEXT.toString() as ByteString,
  });
  close(fd);
});

test("an executable in memory is open for reading only: else it could not be executed", () => {
  const fd = must(sealedMemfd("t", TEXT, "executable"));
  expect(must(fileStatusFlags(fd)) & abi.O_ACCMODE).toBe(abi.O_RDONLY);
  close(fd);
});

test("nothing that we open outlives an execve by itself", () => {
  const [from, to] = must(pipe());
  const opened = {
    open: must(open("/" as ByteString, abi.O_PATH)),
    openat2: must(openAt2(abi.AT_FDCWD, "/" as ByteString, abi.O_PATH, 0)),
    memfd: must(sealedMemfd("t", TEXT, "data")),
    pipe: from,
    "pipe's other end": to,
  };
  for (const [what, fd] of Object.entries(opened)) {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    const flags = parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? "", 8);
    expect([what, flags & abi.O_CLOEXEC]).toEqual([what, abi.O_CLOEXEC]);
    close(fd);
  }
});

test("a file is read up to a limit, and beyond it is an error, not a part", () => {
  const fd = must(sealedMemfd("t", Buffer.alloc(100, "x"), "data"));
  const read = readAll(fd, 99);
  expect(read.ok ? 0 : read.error.errno).toBe(abi.EFBIG);
  close(fd);
});
