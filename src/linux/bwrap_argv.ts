/**
 * A plan as bubblewrap's argument list.
 *
 * Pure. Descriptors are slots: the launcher opens them and passes their numbers in; `--explain` passes names.
 * Source: bwrap(1).
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { unreachable } from "../result.ts";
import type { MountOp } from "./mounts.ts";
import type { SandboxPlan } from "./plan.ts";

/** bwrap stops at 9,000 arguments in all, those of `--args` and the command's included (its MAX_ARGS). */
const MAX_BWRAP_ARGUMENTS = 9_000;

/** Our edit of the bundled one (`scripts/bwrap_edits.ts`). */
export const MAX_BUNDLED_ARGUMENTS = 1_000_000;

/** What all options but the mounts take at most, with room to spare. */
export const OTHER_ARGUMENTS = 100;

/** Above this many arguments the command line goes to the inner stage by descriptor. */
export const MAX_DIRECT_ARGUMENTS = MAX_BWRAP_ARGUMENTS - OTHER_ARGUMENTS;

/** Plans of at most so many mounts are fit for any bwrap: 200 binds take upstream's some 60 ms. See `many_mounts.ts` for the others. */
export const FEW_MOUNTS = 200;

/** An option of the bundled bwrap alone: a mask that takes no descriptor. */
export const EMPTY_FILE_OPTION = "--empty-file";

/** Descriptor numbers, as text, that appear in the argument list. */
export interface BwrapFds {
  /** The filter, absent when the inner stage installs it. */
  readonly seccomp: string | null;
  /** One for each mount step that takes a descriptor, by the step's index. */
  readonly mounts: ReadonlyMap<number, string>;
  /** Of a supervised run: pipes to the supervisor and the watcher. */
  readonly supervised: {
    readonly info: string;
    readonly status: string;
    readonly sync: string;
    /** `null` when nothing is verified. */
    readonly block: string | null;
  } | null;
}

/** Whether a mount step takes a descriptor. */
export function takesDescriptor(op: MountOp): boolean {
  return op.kind === "bind_seen" || op.kind === "bind_own" ||
    (op.kind === "empty_file" && op.shared !== true);
}

/** How many arguments the mounts take. */
export function countMountWords(mounts: SandboxPlan["mounts"]): number {
  return mounts.reduce((sum, { op }) => sum + mountWords(op, "").length, 0);
}

/**
 * Everything after `bwrap` itself.
 *
 * @param environment `NAME=value` entries that bwrap must not have in its own environment (loader variables): set for the command
 * @param command what bwrap executes: the command, or our inner stage
 */
export function bwrapArguments(
  plan: SandboxPlan,
  fds: BwrapFds,
  environment: readonly ByteString[],
  command: readonly string[],
): string[] {
  const words: string[] = [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
  ];
  if (plan.network !== "host") words.push("--unshare-net");
  words.push("--cap-drop", "ALL");
  if (plan.disableUserns) words.push("--disable-userns");
  words.push("--new-session");
  // Under a supervisor the watcher does this job, without the race that bwrap's own has.
  if (fds.supervised === null) words.push("--die-with-parent");
  plan.mounts.forEach(({ op }, index) => {
    for (const word of mountWords(op, fds.mounts.get(index))) words.push(word);
  });
  if (plan.chdir !== null) words.push("--chdir", plan.chdir);
  if (fds.seccomp !== null) words.push("--seccomp", fds.seccomp);
  if (fds.supervised !== null) {
    const { info, status, sync, block } = fds.supervised;
    words.push(
      "--info-fd",
      info,
      "--json-status-fd",
      status,
      "--sync-fd",
      sync,
    );
    if (block !== null) words.push("--block-fd", block);
  }
  for (const entry of environment) {
    const equals = entry.indexOf("=");
    words.push("--setenv", entry.slice(0, equals), entry.slice(equals + 1));
  }
  words.push("--", ...command);
  return words;
}

function mountWords(op: MountOp, fd: string | undefined): readonly string[] {
  switch (op.kind) {
    case "bind_path":
      return [
        op.access === "writable" ? "--bind" : "--ro-bind",
        op.path,
        op.path,
      ];
    case "bind_seen":
      return [
        op.access === "writable" ? "--bind-fd" : "--ro-bind-fd",
        required(fd, op),
        op.path,
      ];
    case "bind_own":
      return ["--ro-bind-fd", required(fd, op), op.path];
    case "tmpfs":
      return ["--perms", octal(op.mode), "--tmpfs", op.path];
    case "empty_file":
      return [
        "--perms",
        octal(op.mode),
        ...(op.shared === true
          ? [EMPTY_FILE_OPTION]
          : ["--ro-bind-data", required(fd, op)]),
        op.path,
      ];
    case "remount_read_only":
      return ["--remount-ro", op.path];
    case "symlink":
      return ["--symlink", op.target, op.path];
    case "dev":
      return ["--dev", "/dev"];
    case "proc":
      return ["--proc", "/proc"];
    default:
      return unreachable(op);
  }
}

function required(fd: string | undefined, op: MountOp): string {
  if (fd === undefined) throw new Error(`no descriptor for ${op.kind}`);
  return fd;
}

function octal(mode: number): string {
  return mode.toString(8).padStart(3, "0");
}

/** Every option that the argument list uses: the chosen bwrap must know each. */
export function requiredOptions(
  plan: Pick<SandboxPlan, "mounts" | "supervisor" | "disableUserns">,
): string[] {
  const options: string[] = [...ALWAYS_USED];
  if (plan.disableUserns) options.push("--disable-userns");
  if (plan.supervisor.length > 0) options.push(...SUPERVISED);
  for (const { op } of plan.mounts) {
    for (const word of optionsOf(op)) {
      if (!options.includes(word)) options.push(word);
    }
  }
  return options;
}

const ALWAYS_USED = [
  "--unshare-user",
  "--unshare-pid",
  "--unshare-ipc",
  "--unshare-uts",
  "--unshare-net",
  "--cap-drop",
  "--new-session",
  "--die-with-parent",
  "--setenv",
  "--chdir",
  "--seccomp",
] as const;

const SUPERVISED = [
  "--info-fd",
  "--json-status-fd",
  "--sync-fd",
  "--block-fd",
] as const;

/** The option words of {@linkcode mountWords}. */
function optionsOf(op: MountOp): readonly string[] {
  switch (op.kind) {
    case "bind_path":
      return [op.access === "writable" ? "--bind" : "--ro-bind"];
    case "bind_seen":
      return [op.access === "writable" ? "--bind-fd" : "--ro-bind-fd"];
    case "bind_own":
      return ["--ro-bind-fd"];
    case "tmpfs":
      return ["--perms", "--tmpfs"];
    case "empty_file":
      return ["--perms", "--ro-bind-data"];
    case "remount_read_only":
      return ["--remount-ro"];
    case "symlink":
      return ["--symlink"];
    case "dev":
      return ["--dev"];
    case "proc":
      return ["--proc"];
    default:
      return unreachable(op);
  }
}
