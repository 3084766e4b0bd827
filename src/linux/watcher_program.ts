/**
 * The watcher while it waits: a program of a few hundred bytes, so that a run does not start our whole executable a second time only
 * to have it wait and be dismissed.
 *
 * It reads eight-byte words from the lifeline. 0 dismisses it. Any other is the number of the sandbox's first process, of which it
 * keeps a pidfd. At end of file the supervisor has died: it kills that process, if anybody inside is left, and becomes the watcher
 * proper (`watcher.ts`), by its own argv, which does the rest and also what did not come that far.
 *
 * Pure.
 *
 * @module
 */
import type * as abi from "../sys/abi.ts";

/** Its descriptors, under the numbers that it has. */
export interface WatcherFds {
  readonly lifeline: number;
  /** Its end of file means that nobody inside is left. */
  readonly sync: number;
  /** Our executable. */
  readonly executable: number;
}

/** The program without its descriptors. */
interface Template {
  /** An ELF file in base64. */
  readonly file: string;
  /** Where the number of each descriptor stands: 32 bits, little endian, so many bytes from the start. */
  readonly places: { readonly [name in keyof WatcherFds]: number };
}

/** Length of what goes through the lifeline, in bytes. */
export const WORD_BYTES = 8;

/** One word of the lifeline. @param pid of the sandbox's first process; 0: the supervisor has done everything itself */
export function lifelineWord(pid: number): Uint8Array<ArrayBuffer> {
  const word = new Uint8Array(new ArrayBuffer(WORD_BYTES));
  new DataView(word.buffer).setUint32(0, pid, true);
  return word;
}

/**
 * The template for each machine; `null` for one that it was not written for: the watcher proper waits there itself.
 *
 * Evaluated while our executable is built: a macro of `run_start.ts`.
 */
export function watcherTemplates(): Record<abi.Arch, Template | null> {
  return { x64: template(waitingCode()), arm64: null };
}

/** The program as an ELF file. */
export function watcherProgram(
  { file, places }: Template,
  fds: WatcherFds,
): Uint8Array {
  const program = Buffer.from(file, "base64");
  program.writeUInt32LE(fds.lifeline, places.lifeline);
  program.writeUInt32LE(fds.sync, places.sync);
  program.writeUInt32LE(fds.executable, places.executable);
  return program;
}

/** `asm/unistd_64.h`. */
const CALL = {
  read: 0,
  poll: 7,
  chdir: 80,
  exit_group: 231,
  execveat: 322,
  pidfd_send_signal: 424,
  pidfd_open: 434,
} as const;

const EINTR = 4;
const AT_EMPTY_PATH = 0x1000;
const POLLIN = 1;
const SIGKILL = 9;

/** Machine code of x86-64. Registers that a system call keeps: r12 argv, r13 envp, r14 the pidfd or -1, rbp a buffer. */
function waitingCode(): Code {
  const code = new Code();
  code.bytes(0x4c, 0x8d, 0x64, 0x24, 0x08); // lea r12, [rsp+8]: argv
  code.bytes(0x48, 0x8b, 0x04, 0x24); // mov rax, [rsp]: argc
  code.bytes(0x4d, 0x8d, 0x6c, 0xc4, 0x08); // lea r13, [r12+rax*8+8]: envp
  code.bytes(0x49, 0xc7, 0xc6, 0xff, 0xff, 0xff, 0xff); // mov r14, -1
  code.bytes(0x48, 0x83, 0xec, 0x10); // sub rsp, 16
  code.bytes(0x48, 0x89, 0xe5); // mov rbp, rsp
  // It holds nobody's mount.
  code.address(0x3d, "root"); // lea rdi, [rip+root]
  code.call(CALL.chdir);

  code.label("wait");
  code.bytes(0xbf); // mov edi, lifeline
  code.place("lifeline");
  code.bytes(0x48, 0x89, 0xee); // mov rsi, rbp
  code.move(0xba, WORD_BYTES); // mov edx, 8
  code.call(CALL.read);
  code.bytes(0x48, 0x83, 0xf8, -EINTR & 0xff); // cmp rax, -EINTR
  code.jump([0x74], "wait"); // je
  code.bytes(0x48, 0x83, 0xf8, WORD_BYTES); // cmp rax, 8
  code.jump([0x75], "died"); // jne
  code.bytes(0x48, 0x8b, 0x7d, 0x00); // mov rdi, [rbp]
  code.bytes(0x48, 0x85, 0xff); // test rdi, rdi
  code.jump([0x74], "dismissed"); // je
  code.bytes(0x31, 0xf6); // xor esi, esi
  code.call(CALL.pidfd_open);
  code.bytes(0x49, 0x89, 0xc6); // mov r14, rax
  code.jump([0xeb], "wait"); // jmp

  code.label("died");
  // The number may be another's once everybody inside is gone, and then the pipe is at its end.
  code.bytes(0xc7, 0x45, 0x00); // mov dword [rbp], sync
  code.place("sync");
  code.bytes(0xc7, 0x45, 0x04); // mov dword [rbp+4], POLLIN
  code.word(POLLIN);
  code.bytes(0x48, 0x89, 0xef); // mov rdi, rbp
  code.move(0xbe, 1); // mov esi, 1
  code.bytes(0x31, 0xd2); // xor edx, edx
  code.call(CALL.poll);
  code.bytes(0x85, 0xc0); // test eax, eax
  code.jump([0x75], "go on"); // jne
  code.bytes(0x4c, 0x89, 0xf7); // mov rdi, r14
  code.move(0xbe, SIGKILL); // mov esi, SIGKILL
  code.bytes(0x31, 0xd2); // xor edx, edx
  code.bytes(0x4d, 0x31, 0xd2); // xor r10, r10
  code.call(CALL.pidfd_send_signal);

  code.label("go on");
  code.bytes(0xbf); // mov edi, executable
  code.place("executable");
  code.address(0x35, "empty"); // lea rsi, [rip+empty]
  code.bytes(0x4c, 0x89, 0xe2); // mov rdx, r12
  code.bytes(0x4d, 0x89, 0xea); // mov r10, r13
  code.bytes(0x41); // with the next: mov r8d, AT_EMPTY_PATH
  code.move(0xb8, AT_EMPTY_PATH);
  code.call(CALL.execveat);
  code.move(0xbf, 125); // mov edi, 125
  code.call(CALL.exit_group);

  code.label("dismissed");
  code.bytes(0x31, 0xff); // xor edi, edi
  code.call(CALL.exit_group);

  code.label("root");
  code.bytes(0x2f);
  code.label("empty");
  code.bytes(0x00);
  return code;
}

/** Instructions one after the other, with names for places that are jumped to. */
class Code {
  readonly places = { lifeline: 0, sync: 0, executable: 0 };
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #jumps: {
    readonly at: number;
    readonly width: 1 | 4;
    readonly to: string;
  }[] = [];

  bytes(...bytes: readonly number[]): void {
    this.#bytes.push(...bytes);
  }

  /** 32 bits, little endian. */
  word(value: number): void {
    this.bytes(
      value & 0xff,
      (value >>> 8) & 0xff,
      (value >>> 16) & 0xff,
      (value >>> 24) & 0xff,
    );
  }

  /** 32 bits that are filled in later. */
  place(name: keyof WatcherFds): void {
    this.places[name] = this.#bytes.length;
    this.word(0);
  }

  label(name: string): void {
    this.#labels.set(name, this.#bytes.length);
  }

  /** A move of 32 bits into the register that the opcode names. */
  move(opcode: number, value: number): void {
    this.bytes(opcode);
    this.word(value);
  }

  /** mov eax, number; syscall. */
  call(number: number): void {
    this.move(0xb8, number);
    this.bytes(0x0f, 0x05);
  }

  /** A jump of at most 127 bytes. */
  jump(opcode: readonly number[], to: string): void {
    this.bytes(...opcode, 0);
    this.#jumps.push({ at: this.#bytes.length - 1, width: 1, to });
  }

  /** lea of a place into a register. @param modrm names the register */
  address(modrm: number, to: string): void {
    this.bytes(0x48, 0x8d, modrm, 0, 0, 0, 0);
    this.#jumps.push({ at: this.#bytes.length - 4, width: 4, to });
  }

  /** @throws {Error} for a jump too far, or to nowhere */
  assembled(): Uint8Array<ArrayBuffer> {
    const code = new Uint8Array(new ArrayBuffer(this.#bytes.length));
    code.set(this.#bytes);
    const view = new DataView(code.buffer);
    for (const { at, width, to } of this.#jumps) {
      const place = this.#labels.get(to);
      const distance = (place ?? NaN) - (at + width);
      const farthest = width === 1 ? 127 : 0x7fff_ffff;
      if (!(Math.abs(distance) <= farthest)) {
        throw new Error(`no way to "${to}"`);
      }
      if (width === 1) view.setInt8(at, distance);
      else view.setInt32(at, distance, true);
    }
    return code;
  }
}

/** Where the file is mapped: far above vm.mmap_min_addr. */
const BASE = 0x40_0000;
const ELF_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;

/** The code behind its headers. */
const CODE_START = ELF_HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;

function template(code: Code): Template {
  const { lifeline, sync, executable } = code.places;
  return {
    file: Buffer.from(elfFile(code.assembled())).toString("base64"),
    places: {
      lifeline: CODE_START + lifeline,
      sync: CODE_START + sync,
      executable: CODE_START + executable,
    },
  };
}

/** An executable of one segment that nobody can write, and of a stack that nobody can execute (elf(5)). */
function elfFile(code: Uint8Array): Uint8Array<ArrayBuffer> {
  const start = CODE_START;
  const file = new Uint8Array(new ArrayBuffer(start + code.length));
  const view = new DataView(file.buffer);
  // Magic, 64 bits, little endian, version 1.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 62, true); // EM_X86_64
  view.setUint32(20, 1, true);
  view.setUint32(24, BASE + start, true); // entry
  view.setUint32(32, ELF_HEADER_BYTES, true); // program headers
  view.setUint16(52, ELF_HEADER_BYTES, true);
  view.setUint16(54, PROGRAM_HEADER_BYTES, true);
  view.setUint16(56, 2, true);
  const load = ELF_HEADER_BYTES;
  view.setUint32(load, 1, true); // PT_LOAD
  view.setUint32(load + 4, 5, true); // read, execute
  view.setUint32(load + 16, BASE, true);
  view.setUint32(load + 24, BASE, true);
  view.setUint32(load + 32, file.length, true); // in the file
  view.setUint32(load + 40, file.length, true); // in memory
  view.setUint32(load + 48, 4096, true);
  const stack = load + PROGRAM_HEADER_BYTES;
  view.setUint32(stack, 0x6474e551, true); // PT_GNU_STACK
  view.setUint32(stack + 4, 6, true); // read, write
  file.set(code, start);
  return file;
}
