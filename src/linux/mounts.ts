/**
 * The mount plan: every operation that builds the command's view, in order, each with its reason.
 *
 * Pure. The order is a promise, each step for a reason:
 * 1. The root: the host's read-only or writable, or an empty tmpfs.
 * 2. `/dev`: after the root, because a bind of the root would hide it again.
 * 3. `/sys` read-only, where the root is writable.
 * 4. Links into what is granted, where the root is empty; then the layout's mount points, those above before those below: a mount hides what lies under it.
 * 5. Masked directories become read-only once their children have been mounted.
 * 6. `/proc`, and in it what must stay out of reach: a layout entry can't cover the fresh `/proc`.
 * 7. Our executable for the inner stage, in the `/dev` tmpfs that every plan has.
 * 8. The root tmpfs becomes read-only last, when all mount points in it exist.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, isInside } from "../policy/path.ts";
import type { MountPoint } from "../policy/decision.ts";
import type { PathFact } from "../policy/facts.ts";

/** What the planner saw at a path: the launcher opens it and compares, a difference is a failure. */
export interface Identity {
  readonly device: number;
  readonly inode: number;
}

/** One operation of bubblewrap. Modes are octal permission bits. */
export type MountOp =
  | {
    readonly kind: "bind_path";
    readonly access: "read_only" | "writable";
    readonly path: AbsPath;
  }
  | {
    /** By descriptor: what was seen is what is mounted. */
    readonly kind: "bind_seen";
    readonly access: "read_only" | "writable";
    readonly path: AbsPath;
    readonly seen: Identity;
  }
  | { readonly kind: "tmpfs"; readonly path: AbsPath; readonly mode: number }
  | {
    readonly kind: "empty_file";
    readonly path: AbsPath;
    readonly mode: number;
    /** The same empty file for every mask: only the bundled bwrap can, and only a plan of many mounts needs it. */
    readonly shared?: true;
  }
  | { readonly kind: "remount_read_only"; readonly path: AbsPath }
  /** A link of the host that an empty root lacks; `target` is readlink(2)'s answer. */
  | {
    readonly kind: "symlink";
    readonly path: AbsPath;
    readonly target: ByteString;
  }
  | { readonly kind: "dev" }
  | { readonly kind: "proc" }
  /** A descriptor that the launcher opens itself, bound read-only. */
  | {
    readonly kind: "bind_own";
    readonly what: OwnBind["what"];
    readonly source: AbsPath;
    readonly path: AbsPath;
  };

/** One step of the plan. */
export interface MountStep {
  readonly op: MountOp;
  /** Why it is there, for `--explain`. */
  readonly reason: string;
}

/** What the mount plan is made from. */
export interface MountRequest {
  /** Of the layout, parents first; the first one is the root. */
  readonly mountPoints: readonly MountPoint[];
  /** Links crossed by entries: an empty root needs them remade. */
  readonly links: readonly AbsPath[];
  readonly factAt: (path: AbsPath) => PathFact;
  /** `fresh`: of the sandbox's own PID namespace. `host`: it can't be mounted here, the host's stays, read-only. */
  readonly proc: "fresh" | "host";
  readonly root: boolean;
  /** Paths below `/proc` and `/sys` that exist on the host. */
  readonly exists: (path: AbsPath) => boolean;
  readonly own: readonly OwnBind[];
}

/** A file of ours that the inner stage needs in the view. */
export interface OwnBind {
  readonly what: "executable" | "loader" | "library" | "stream";
  readonly source: AbsPath;
  readonly path: AbsPath;
}

const ROOT = "/" as AbsPath;
const PROC = "/proc" as AbsPath;
const SYS = "/sys" as AbsPath;
/** Where telinit(8) writes to init; gone with newer systemd, there with sysvinit. */
const INIT_PIPE = "/run/initctl" as AbsPath;

/** The ordered mount plan. @throws {Error} when the layout has no root: our mistake */
export function planMounts(request: MountRequest): MountStep[] {
  const [root, ...others] = request.mountPoints;
  // /dev and /proc have steps of their own.
  const below = others.filter(({ decider, path }) =>
    decider.kind !== "system" || path === SYS
  );
  if (root === undefined || root.path !== "/") {
    throw new Error("a layout starts with the root");
  }
  return [
    baseStep(root),
    { op: { kind: "dev" }, reason: "a private /dev with the harmless devices" },
    ...(root.state === "writable" && !below.some(({ path }) => path === SYS) &&
        request.exists(SYS)
      ? [{
        op: bindPath("read_only", "/sys"),
        reason: "kernel settings stay read-only below a writable root",
      }]
      : []),
    ...linkSteps(root, below, request),
    ...layoutSteps(below, request),
    ...procSteps(request, root),
    ...(request.root && root.state !== "masked" && request.exists(INIT_PIPE)
      ? [{
        op: { kind: "empty_file", path: INIT_PIPE, mode: 0o000 } as const,
        reason:
          "root could tell the host's init to stop: a pipe is written through a read-only mount",
      }]
      : []),
    ...request.own.map((own): MountStep => ({
      op: { kind: "bind_own", ...own },
      reason: own.what === "executable"
        ? "our executable, for the inner stage"
        : own.what === "stream"
        ? "a file that the caller opened for reading, to be opened anew"
        : "a library that our executable needs",
    })),
    ...(root.state === "masked"
      ? [{
        op: { kind: "remount_read_only", path: ROOT } as const,
        reason: "nothing can be written beside what was granted",
      }]
      : []),
  ];
}

function bindPath(access: "read_only" | "writable", path: string): MountOp {
  return { kind: "bind_path", access, path: path as AbsPath };
}

function baseStep(root: MountPoint): MountStep {
  switch (root.state) {
    case "read_only":
      return {
        op: bindPath("read_only", "/"),
        reason: "the host's files, read-only",
      };
    case "writable":
      return {
        op: bindPath("writable", "/"),
        reason: "the host's files, writable as the policy says",
      };
    default:
      return {
        op: { kind: "tmpfs", path: ROOT, mode: 0o755 },
        reason: "an empty root: only what is granted appears",
      };
  }
}

/** Only links that stand in the empty root itself: the others come with the directory that holds them. */
function linkSteps(
  root: MountPoint,
  below: readonly MountPoint[],
  request: MountRequest,
): MountStep[] {
  if (root.state !== "masked") return [];
  return request.links.flatMap((path): MountStep[] => {
    const { target } = request.factAt(path);
    const covered = below.some((point) => isInside(path, { root: point.path }));
    if (target === undefined || covered) return [];
    return [{
      op: { kind: "symlink", path, target },
      reason: "a link that leads to what is granted",
    }];
  });
}

function layoutSteps(
  points: readonly MountPoint[],
  request: MountRequest,
): MountStep[] {
  const steps: MountStep[] = [];
  const open: AbsPath[] = [];
  const closeUntil = (path: AbsPath | null): void => {
    for (
      let top = open.at(-1);
      top !== undefined && (path === null || !isInside(path, { root: top }));
      top = open.at(-1)
    ) {
      steps.push({
        op: { kind: "remount_read_only", path: top },
        reason: "the mask itself can't be written",
      });
      open.pop();
    }
  };
  for (const point of points) {
    closeUntil(point.path);
    for (const step of pointSteps(point, request)) steps.push(step);
    if (isMaskedDirectory(point)) open.push(point.path);
  }
  closeUntil(null);
  return steps;
}

/** Whether a tmpfs stands there that must become read-only once its children are mounted. */
function isMaskedDirectory(point: MountPoint): boolean {
  if (point.node === "missing") return point.placeholder === "directory";
  return point.state === "masked" && point.node === "directory";
}

function pointSteps(point: MountPoint, request: MountRequest): MountStep[] {
  const reason = reasonOf(point);
  if (point.node === "missing") {
    return point.placeholder === "directory"
      ? [{ op: { kind: "tmpfs", path: point.path, mode: 0o555 }, reason }]
      : [{ op: { kind: "empty_file", path: point.path, mode: 0o444 }, reason }];
  }
  switch (point.state) {
    case "masked":
      return point.node === "directory"
        ? [{
          op: {
            kind: "tmpfs",
            path: point.path,
            mode: point.traversable ? 0o111 : 0o000,
          },
          reason,
        }]
        : [{
          op: { kind: "empty_file", path: point.path, mode: 0o000 },
          reason,
        }];
    case "private_tmp":
      return [{
        op: { kind: "tmpfs", path: point.path, mode: 0o1777 },
        reason,
      }];
    case "read_only":
    case "writable": {
      const fact = request.factAt(point.path);
      return [{
        op: {
          kind: "bind_seen",
          access: point.state,
          path: point.path,
          seen: { device: fact.device, inode: fact.inode },
        },
        reason,
      }];
    }
  }
}

/** The sentence of `--explain` for a mount point. */
function reasonOf(point: MountPoint): string {
  const { decider } = point;
  const absent = point.node === "missing"
    ? ", missing: it can't be created"
    : "";
  switch (decider.kind) {
    case "grant":
      return `${decider.grant.access} by ${decider.grant.origin.key}${absent}`;
    case "glob":
      return `deny by ${decider.glob.origin.key}`;
    case "platform":
      return "a directory of :minimal";
    case "metadata":
      return `protected metadata of a writable root${absent}`;
    case "git_pointer":
      return "a git directory that a .git file leads to";
    case "nested_repository":
      return "metadata of a repository inside a writable directory";
    case "shut_directory":
      return "its mode forbids to look for repositories in it";
    case "own":
      return decider.access === "hidden"
        ? "our state folder is hidden"
        : "our own files stay read-only";
    case "socket":
      return decider.opened
        ? "opened by unix_sockets"
        : `${decider.daemon} takes orders there: unix_sockets opens it`;
    case "private_tmp":
      return 'tmp = "private"';
    case "system":
      return "made by every plan";
    case "pin":
      return "pinned, so that what is protected below can't be moved away";
    case "no_entry":
      return "no entry grants it";
    case "unconfined":
      return "full access";
  }
}

/** What of a fresh `/proc` stays out of reach. Each has been a way out of other sandboxes. */
function procSteps(request: MountRequest, root: MountPoint): MountStep[] {
  const readOnly = (path: string, reason: string): MountStep[] =>
    request.exists(path as AbsPath)
      ? [{ op: bindPath("read_only", path), reason }]
      : [];
  const guards = [
    ...readOnly(
      "/proc/sys",
      "kernel settings: root could write them on the host",
    ),
    ...readOnly("/proc/sysrq-trigger", "root could trigger the host's kernel"),
  ];
  if (request.proc === "host") {
    const bind = root.state === "read_only" ? [] : [{
      op: bindPath("read_only", PROC),
      reason: "the host's /proc: no fresh one is mounted",
    }];
    return [...bind, ...(root.state === "read_only" ? [] : guards)];
  }
  return [
    {
      op: { kind: "proc" },
      reason: "a fresh /proc of the sandbox's own processes",
    },
    ...guards,
    {
      op: { kind: "tmpfs", path: "/proc/1" as AbsPath, mode: 0o000 },
      reason: "PID 1 is the reaper: its memory is out of reach",
    },
    {
      op: { kind: "remount_read_only", path: "/proc/1" as AbsPath },
      reason: "the mask itself can't be written",
    },
    // Modes and owners are of the file behind every /proc of the machine, and uid 0 owns them with no capability.
    ...(request.root
      ? [{
        op: { kind: "remount_read_only", path: PROC } as const,
        reason: "root could write and change the mode of what is the host's",
      }]
      : []),
  ];
}
