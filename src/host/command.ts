/**
 * Looks up where a command lies, in the way of execvp(3).
 *
 * Effects: lstat(2), faccessat(2), reads the first bytes of the file found.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, ancestry, resolvePath } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import {
  accessExecutable,
  close,
  fstat,
  open,
  read,
  stat,
} from "../sys/calls.ts";
import { stableBytes } from "../sys/ffi.ts";
import { type Candidate, HEAD_BYTES, searchPath } from "./candidates.ts";
import { follow } from "../policy/facts.ts";
import { type FactMap, probePath } from "./probe.ts";

/** Who asks, and from where. */
export interface LookUp {
  readonly name: ByteString;
  readonly cwd: AbsPath;
  /** PATH of the command's own environment. */
  readonly path: ByteString | null;
  readonly euid: number;
}

/** The places of a command, in order, up to and including the first that can be executed. */
export function lookUpCommand(facts: FactMap, request: LookUp): Candidate[] {
  if (request.name === "") return [];
  const spelled = request.name.includes("/")
    ? [request.name]
    : searchPath(request.path).map((directory) =>
      `${directory}/${request.name}`
    );
  const found: Candidate[] = [];
  for (const place of spelled) {
    const path = resolvePath(request.cwd, place);
    if (path === null) continue;
    if (/(^|\/)\.\.(\/|$)/.test(place)) {
      // Folding ".." is only right where no link precedes it.
      found.push({
        path,
        real: path,
        kind: "unknown",
        executable: "unknown",
        head: null,
      });
      break;
    }
    const candidate = lookAt(facts, path, request.euid);
    found.push(candidate);
    if (candidate.kind === "file" && candidate.executable !== "no") break;
    if (candidate.kind === "unknown") break;
  }
  return found;
}

function lookAt(facts: FactMap, path: AbsPath, euid: number): Candidate {
  // Most places of PATH are empty: one call instead of a walk. Where the view differs from the host, the judge looks at `path` alone.
  const there = stat(path);
  if (!there.ok && there.error.errno === abi.ENOENT) return missing(path);
  probePath(facts, path);
  const led = follow({ paths: facts }, path);
  if (led === null) {
    return {
      path,
      real: path,
      kind: "unknown",
      executable: "unknown",
      head: null,
    };
  }
  if (!led.exists) {
    const unreadable = ancestry(led.resolved).some((at) =>
      facts.get(at)?.kind === "unreadable"
    );
    return {
      path,
      real: led.resolved,
      kind: unreadable ? "unknown" : "missing",
      executable: "unknown",
      head: null,
    };
  }
  const real = led.resolved;
  const fact = facts.get(real);
  if (fact?.kind === "directory") {
    return { path, real, kind: "directory", executable: "no", head: null };
  }
  if (fact?.kind !== "file") {
    return { path, real, kind: "other", executable: "no", head: null };
  }
  const executable = canExecute(facts, real, euid);
  return {
    path,
    real,
    kind: "file",
    executable,
    head: executable === "yes" ? readHead(real) : null,
  };
}

function missing(path: AbsPath): Candidate {
  return {
    path,
    real: path,
    kind: "missing",
    executable: "unknown",
    head: null,
  };
}

/**
 * Whether the command, which has no capabilities, may execute the file.
 *
 * faccessat(2) answers for the caller: as root it overlooks mode bits that count inside, so these are read as well.
 */
function canExecute(
  facts: FactMap,
  real: AbsPath,
  euid: number,
): "yes" | "no" | "unknown" {
  if (!accessExecutable(real).ok) return "no";
  if (euid !== 0) return "yes";
  for (const place of ancestry(real)) {
    const fact = facts.get(place);
    if (fact === undefined) return "unknown";
    const bit = fact.uid === 0 ? 0o100 : 0o001;
    if ((fact.mode & bit) === 0) return "unknown";
  }
  return "yes";
}

/**
 * Whether an interpreter or loader can be executed, as far as anyone can tell from outside.
 *
 * A script as interpreter is the kernel's matter: up to four of them may follow each other.
 */
export function canRun(path: AbsPath): boolean {
  const there = stat(path);
  if (!there.ok || (there.value.mode & abi.S_IFMT) !== abi.S_IFREG) {
    return false;
  }
  if ((there.value.mode & 0o001) === 0 || !accessExecutable(path).ok) {
    return false;
  }
  return readHead(path)?.startsWith("\x7fELF") === true;
}

function readHead(path: AbsPath): ByteString | null {
  const fd = open(path, abi.O_RDONLY | abi.O_NONBLOCK);
  if (!fd.ok) return null;
  const stat = fstat(fd.value);
  const buffer = stableBytes(HEAD_BYTES);
  const count = stat.ok && (stat.value.mode & abi.S_IFMT) === abi.S_IFREG
    ? read(fd.value, buffer)
    : null;
  close(fd.value);
  return count?.ok === true
    ? Buffer.from(buffer.buffer).toString(
      "latin1",
      0,
      count.value,
    ) as ByteString
    : null;
}
