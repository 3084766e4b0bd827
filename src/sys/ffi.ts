/**
 * The only importer of `bun:ffi`: libc's `syscall` on the hot path, `posix_spawn` where a child is needed.
 *
 * Symbols are bound at first use, because each costs start-up time (one: 0.1 ms, a dozen: 0.3 ms, measured).
 *
 * @module
 */
import { dlopen, FFIType, ptr, read, toArrayBuffer } from "bun:ffi";

/** A pointer argument: an address, a typed array over an explicit ArrayBuffer, or a plain integer in its place. */
export type Word = number | Uint8Array | null;

type SyscallFunction = (
  number: number,
  a: Word,
  b: Word,
  c: Word,
  d: Word,
  e: Word,
  f: Word,
) => number;

interface Libc {
  readonly syscall: SyscallFunction;
  readonly errnoAddress: () => number;
}

let libc: Libc | undefined;

/**
 * glibc first, then musl, whose file carries the architecture's name.
 *
 * A name that the loader does not find is looked for in the working directory by the runtime, which would run foreign code: glibc's is
 * loaded already in any process that it can be found in, musl's must be a whole path.
 */
function openFirst<T>(open: (name: string) => T): T {
  try {
    return open("libc.so.6");
  } catch (error) {
    try {
      return open(
        process.arch === "arm64"
          ? "/lib/libc.musl-aarch64.so.1"
          : "/lib/libc.musl-x86_64.so.1",
      );
    } catch {
      throw error;
    }
  }
}

function bindLibc(): Libc {
  const word = FFIType.ptr;
  const { symbols } = openFirst((name) =>
    dlopen(name, {
      // long syscall(long number, ...): the results that we use fit 32 bits.
      syscall: {
        args: [FFIType.i64, word, word, word, word, word, word],
        returns: FFIType.i32,
      },
      __errno_location: { args: [], returns: FFIType.ptr },
    })
  );
  return {
    syscall: symbols.syscall as unknown as SyscallFunction,
    errnoAddress: symbols.__errno_location as unknown as () => number,
  };
}

/**
 * Calls the kernel.
 *
 * @param number of the running architecture's table
 * @returns the result truncated to 32 bits, or minus errno when the call failed
 */
export function syscall(
  number: number,
  a: Word = 0,
  b: Word = 0,
  c: Word = 0,
  d: Word = 0,
  e: Word = 0,
  f: Word = 0,
): number {
  libc ??= bindLibc();
  const result = libc.syscall(number, a, b, c, d, e, f);
  // Only -1 is libc's sign of failure; errno is read at once, before the runtime makes a call of its own.
  if (result !== -1) return result;
  return -read.i32(libc.errnoAddress() as never, 0);
}

/** Zeroed bytes that never move: a typed array made without an explicit buffer moves when `.buffer` is first touched. */
export function stableBytes(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(size));
}

/** The address of stable bytes. The caller keeps `bytes` referenced until the kernel is done with it. */
export function addressOf(bytes: Uint8Array): number {
  return ptr(bytes) as unknown as number;
}

type SpawnFunction = (
  pid: Uint8Array,
  path: Uint8Array,
  actions: Uint8Array,
  attributes: Uint8Array,
  argv: Uint8Array,
  envp: Uint8Array,
) => number;

/** posix_spawn(3) and its helpers; each returns 0 or an errno. */
export interface SpawnSymbols {
  readonly posix_spawn: SpawnFunction;
  readonly posix_spawn_file_actions_init: (actions: Uint8Array) => number;
  readonly posix_spawn_file_actions_adddup2: (
    actions: Uint8Array,
    from: number,
    to: number,
  ) => number;
  readonly posix_spawn_file_actions_destroy: (actions: Uint8Array) => number;
  readonly posix_spawnattr_init: (attributes: Uint8Array) => number;
  readonly posix_spawnattr_setflags: (
    attributes: Uint8Array,
    flags: number,
  ) => number;
  readonly posix_spawnattr_setsigdefault: (
    attributes: Uint8Array,
    set: Uint8Array,
  ) => number;
  readonly posix_spawnattr_destroy: (attributes: Uint8Array) => number;
}

let spawnSymbols: SpawnSymbols | undefined;

/** libc's posix_spawn family, bound at first use. */
export function spawnFamily(): SpawnSymbols {
  if (spawnSymbols !== undefined) return spawnSymbols;
  const p = FFIType.ptr;
  const i = FFIType.i32;
  const { symbols } = openFirst((name) =>
    dlopen(name, {
      posix_spawn: { args: [p, p, p, p, p, p], returns: i },
      posix_spawn_file_actions_init: { args: [p], returns: i },
      posix_spawn_file_actions_adddup2: { args: [p, i, i], returns: i },
      posix_spawn_file_actions_destroy: { args: [p], returns: i },
      posix_spawnattr_init: { args: [p], returns: i },
      posix_spawnattr_setflags: { args: [p, FFIType.i16], returns: i },
      posix_spawnattr_setsigdefault: { args: [p, p], returns: i },
      posix_spawnattr_destroy: { args: [p], returns: i },
    })
  );
  spawnSymbols = symbols as unknown as SpawnSymbols;
  return spawnSymbols;
}

/**
 * Code that the kernel may call: a page of its own, written first and executable afterwards, never both.
 *
 * @returns its address; the page lives as long as the process
 * @throws {Error} where the host forbids executable memory: the runtime's own compiler needs it too
 */
export function executablePage(code: Uint8Array): number {
  const { symbols } = openFirst((name) =>
    dlopen(name, {
      mmap: {
        args: [
          FFIType.ptr,
          FFIType.u64,
          FFIType.i32,
          FFIType.i32,
          FFIType.i32,
          FFIType.i64,
        ],
        returns: FFIType.ptr,
      },
      mprotect: {
        args: [FFIType.ptr, FFIType.u64, FFIType.i32],
        returns: FFIType.i32,
      },
    })
  );
  // sys/mman.h: PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4; MAP_PRIVATE 2 | MAP_ANONYMOUS 0x20.
  const address = symbols.mmap(null, 4096, 3, 0x22, -1, 0);
  if (address === null || Number(address) < 0) {
    throw new Error("no memory for a signal handler");
  }
  new Uint8Array(toArrayBuffer(address, 0, code.length)).set(code);
  if (symbols.mprotect(address, 4096, 5) !== 0) {
    throw new Error("no executable memory for a signal handler");
  }
  return Number(address);
}
