/**
 * Whether bwrap itself may execute the command, or our inner stage must.
 *
 * bwrap ends with status 1 for a missing interpreter, a missing loader and a directory alike. So the direct path is taken only where
 * the outcome is known beforehand; whatever is uncertain goes to the inner stage, which sees the kernel's answer.
 *
 * Pure. Sources: execve(2), execvp(3), elf(5).
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import type { Candidate } from "../host/candidates.ts";
import { type AbsPath, toAbsPath } from "../policy/path.ts";

/** What the planner decides. */
export type CommandVerdict =
  | { readonly kind: "direct"; readonly path: AbsPath }
  | { readonly kind: "inner"; readonly reason: string }
  | { readonly kind: "not_found" }
  | {
    readonly kind: "not_executable";
    readonly path: AbsPath;
    readonly why: string;
  };

/** How the plan's view differs from the host. */
export interface View {
  /** Whether `path` shows in the sandbox what it shows on the host. */
  readonly shows: (path: AbsPath) => boolean;
  /** Whether an interpreter or loader lies there on the host and can be executed. */
  readonly runs: (path: AbsPath) => boolean;
  /** The ELF machine number of this host (62 x86-64, 183 arm64). */
  readonly machine: number;
}

/** Judges the places in the order in which execvp(3) tries them. */
export function judgeCommand(
  candidates: readonly Candidate[],
  view: View,
): CommandVerdict {
  let refused: CommandVerdict | null = null;
  for (const candidate of candidates) {
    if (!view.shows(candidate.path) || !view.shows(candidate.real)) {
      return inner(`${toText(candidate.path)} may not be visible`);
    }
    if (candidate.kind === "missing") continue;
    if (candidate.kind === "unknown" || candidate.executable === "unknown") {
      return inner(`${toText(candidate.path)} can't be judged from outside`);
    }
    if (candidate.kind !== "file" || candidate.executable === "no") {
      const why = candidate.kind === "directory"
        ? "it is a directory"
        : "it is not executable";
      refused ??= { kind: "not_executable", path: candidate.path, why };
      continue;
    }
    return judgeFile(candidate, view);
  }
  return refused ?? { kind: "not_found" };
}

function inner(reason: string): CommandVerdict {
  return { kind: "inner", reason };
}

function judgeFile(candidate: Candidate, view: View): CommandVerdict {
  if (candidate.head === null) {
    return inner(`${toText(candidate.path)} can't be read`);
  }
  const interpreter = interpreterOf(candidate.head, view.machine);
  switch (interpreter.kind) {
    case "none":
      return { kind: "direct", path: candidate.path };
    case "unknown":
      return inner(
        `the format of ${toText(candidate.path)} is not a usual one`,
      );
    case "path":
      return view.shows(interpreter.path) && view.runs(interpreter.path)
        ? { kind: "direct", path: candidate.path }
        : inner(`${toText(candidate.path)} needs ${toText(interpreter.path)}`);
  }
}

/** What must exist besides the file itself. */
export type Interpreter =
  | { readonly kind: "none" }
  | { readonly kind: "path"; readonly path: AbsPath }
  | { readonly kind: "unknown" };

/** The `#!` interpreter or ELF loader that a file names in its first bytes. */
export function interpreterOf(head: ByteString, machine: number): Interpreter {
  if (head.startsWith("#!")) {
    // execve(2): the line ends at a newline, the name at a space or tab.
    const line = head.slice(2, 257);
    const end = line.search(/\n/);
    const name =
      (end === -1 ? line : line.slice(0, end)).trim().split(/[ \t]/)[0] ?? "";
    const path = toAbsPath(name);
    return path === null || end === -1
      ? { kind: "unknown" }
      : { kind: "path", path };
  }
  if (head.startsWith("\x7fELF")) return elfInterpreter(head, machine);
  return { kind: "unknown" };
}

/** PT_INTERP of elf(5), of 64-bit little-endian files only. */
function elfInterpreter(head: ByteString, machine: number): Interpreter {
  const bytes = Buffer.from(head, "latin1");
  if (bytes.length < 64 || bytes[4] !== 2 || bytes[5] !== 1) {
    return { kind: "unknown" };
  }
  if (bytes.readUInt16LE(18) !== machine) return { kind: "unknown" };
  const table = Number(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  const count = bytes.readUInt16LE(56);
  if (size < 56 || table + size * count > bytes.length) {
    return { kind: "unknown" };
  }
  for (let index = 0; index < count; index++) {
    const at = table + index * size;
    if (bytes.readUInt32LE(at) !== 3) continue;
    const from = Number(bytes.readBigUInt64LE(at + 8));
    const length = Number(bytes.readBigUInt64LE(at + 32));
    if (length < 2 || from + length > bytes.length) return { kind: "unknown" };
    const path = toAbsPath(head.slice(from, from + length - 1));
    return path === null ? { kind: "unknown" } : { kind: "path", path };
  }
  return { kind: "none" };
}
