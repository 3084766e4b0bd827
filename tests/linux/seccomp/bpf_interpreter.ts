/**
 * Runs a classic BPF program over one syscall, as the kernel would, and tells the verdict.
 *
 * Written against `linux/filter.h` alone and apart from the assembler, so that a mistake there shows here. Strict: whatever the
 * kernel's checker (`seccomp_check_filter`) refuses is thrown.
 *
 * @module
 */

/** One call. `args` may hold up to six 64-bit values; those left out are 0. */
export interface Call {
  readonly arch: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

/** `ERRNO n` is the errno that the call answers. */
export type Outcome = "ALLOW" | "KILL_PROCESS" | `ERRNO ${number}`;

/** The verdict of an encoded program. */
export function runProgram(program: Uint8Array, call: Call): Outcome {
  const code = new DataView(
    program.buffer,
    program.byteOffset,
    program.byteLength,
  );
  const data = seccompData(call);
  const count = program.byteLength / 8;
  let accumulator = 0;
  for (let at = 0; at < count; at++) {
    const operation = code.getUint16(at * 8, true);
    const jt = code.getUint8(at * 8 + 2);
    const jf = code.getUint8(at * 8 + 3);
    const k = code.getUint32(at * 8 + 4, true);
    switch (operation) {
      case 0x20: // ld [k]
        if (k % 4 !== 0) throw new Error(`unaligned load at ${at}`);
        accumulator = data.getUint32(k, true);
        break;
      case 0x54: // and #k
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x05: // ja
        at += k;
        break;
      case 0x15: // jeq
        at += accumulator === k ? jt : jf;
        break;
      case 0x35: // jge
        at += accumulator >= k ? jt : jf;
        break;
      case 0x45: // jset
        at += (accumulator & k) !== 0 ? jt : jf;
        break;
      case 0x06: // ret #k
        return outcomeOf(k);
      default:
        throw new Error(`unknown code 0x${operation.toString(16)} at ${at}`);
    }
  }
  throw new Error("ran off the end");
}

/** `struct seccomp_data`, 64 bytes, little endian. */
function seccompData({ arch, nr, args = [] }: Call): DataView {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, nr >>> 0, true);
  data.setUint32(4, arch, true);
  for (const [index, arg] of args.entries()) {
    data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, arg), true);
  }
  return data;
}

function outcomeOf(value: number): Outcome {
  const action = (value & 0xffff0000) >>> 0;
  if (action === 0x80000000) return "KILL_PROCESS";
  if (action === 0x7fff0000) return "ALLOW";
  if (action === 0x00050000) return `ERRNO ${value & 0xffff}`;
  throw new Error(`unknown action 0x${value.toString(16)}`);
}
