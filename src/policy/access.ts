/**
 * What happens when the command does something to a path: the answer of `policy why`, and the promise that tests hold the kernel to.
 *
 * Pure: it walks the mount points of `layout.ts` as the kernel walks mounts. Ownership and permission bits of the host are not
 * looked at, except the executable ones for `exec`. What is missing is judged as if it were made now, on a file's terms.
 * Sources: path_resolution(7), rename(2), link(2); the order of errors is that of Linux `fs/namei.c`.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { factOf, follow, type PathFacts } from "./facts.ts";
import { unreachable } from "../result.ts";
import { describeDecider } from "./decider_text.ts";
import type { Decider, MountPoint } from "./decision.ts";
import { type Layout, layoutOf, leadsToVisible, mountOf } from "./layout.ts";
import {
  type AbsPath,
  ancestry,
  childOf,
  isInside,
  nameOf,
  parentOf,
  ROOT,
} from "./path.ts";
import { DEV, DEVICE_NAMES } from "./places.ts";
import type { Policy } from "./policy.ts";
import { losers, rule } from "./rules.ts";

/** What the command does. `read` lists directories, `create` makes a new name of any type, `exec` starts the file. */
export type Operation =
  | { readonly kind: "read" | "write" | "create" | "remove" | "exec" }
  | { readonly kind: "rename" | "link"; readonly to: AbsPath };

/** How the kernel says no (errno(3)). */
export type Errno =
  | "EACCES"
  | "EBUSY"
  | "EEXIST"
  | "ELOOP"
  | "ENOENT"
  | "ENOTDIR"
  | "EPERM"
  | "EROFS"
  | "EXDEV";

/** The answer about one path. */
export interface Verdict {
  readonly allowed: boolean;
  /** What the command's call fails with, `null` when allowed. */
  readonly errno: Errno | null;
  /** The canonical path that was judged. */
  readonly path: AbsPath;
  /** Whether it exists now: on the host, and not left out by a directory of the run's own. */
  readonly exists: boolean;
  readonly decider: Decider;
  /** The rules that spoke of the path and lost, outermost first. */
  readonly lost: readonly Decider[];
  /** Why, in one line for people: what decided, not what to do. */
  readonly reason: string;
}

/**
 * Whether the command may do `operation` on `path`, with the error that the kernel gives otherwise.
 *
 * `facts` must know `path`, and the target of a rename or link: add both to the probe's questions.
 */
export function access(
  policy: Policy,
  facts: PathFacts,
  path: AbsPath,
  operation: Operation,
): Verdict {
  const view: View = { layout: layoutOf(policy, facts), facts };
  switch (operation.kind) {
    case "read":
      return followed(view, path, (at) => readVerdict(view, at));
    case "exec":
      return followed(view, path, (at) => execVerdict(view, at));
    case "write":
      return followed(view, path, (at) => writeVerdict(view, at));
    case "create":
      return named(view, path, (at) => createVerdict(view, at));
    case "remove":
      return named(view, path, (at) => removeVerdict(view, at));
    case "rename":
      return named(
        view,
        path,
        (from) =>
          named(view, operation.to, (to) => renameVerdict(view, from, to)),
      );
    case "link":
      return named(
        view,
        path,
        (from) =>
          named(view, operation.to, (to) => linkVerdict(view, from, to)),
      );
    default:
      return unreachable(operation);
  }
}

interface View {
  readonly layout: Layout;
  readonly facts: PathFacts;
}

/** A canonical path, and whether the host has it and the view may. */
interface Node {
  readonly path: AbsPath;
  readonly exists: boolean;
}

/** Judges where `path` leads, if every link on the way can be seen. */
function followed(
  view: View,
  path: AbsPath,
  judge: (node: Node) => Verdict,
): Verdict {
  const led = follow(view.facts, path);
  if (led === null) return loops(view, path);
  for (const link of led.links) {
    const hidden = hiddenLink(view, link);
    if (hidden !== null) return hidden;
  }
  const exists = led.exists && !isLeftOut(view, led.resolved);
  return judge({ path: led.resolved, exists });
}

/** Judges the name itself: a link in the last component is not followed. */
function named(
  view: View,
  path: AbsPath,
  judge: (node: Node) => Verdict,
): Verdict {
  if (path === ROOT) return judge({ path: ROOT, exists: true });
  return followed(view, parentOf(path), (directory) => {
    const at = childOf(directory.path, nameOf(path));
    const exists = directory.exists &&
      factOf(view.facts, at).kind !== "missing" && !isLeftOut(view, at);
    return judge({ path: at, exists });
  });
}

/** Whether `path` lies in a directory of the run's own, which starts with nothing but the mount points in it. */
function isLeftOut({ layout }: View, path: AbsPath): boolean {
  const point = mountOf(layout, path);
  return point.decider.kind === "private_tmp" && point.path !== path &&
    !leadsToVisible(layout, path);
}

function loops(view: View, path: AbsPath): Verdict {
  const ruling = rule(view.layout.rules, ROOT);
  return {
    allowed: false,
    errno: "ELOOP",
    path,
    exists: false,
    decider: ruling.decider,
    lost: [],
    reason: `the symbolic links of "${toText(path)}" loop`,
  };
}

/** A link that the view doesn't have; those that entries cross are remade in an empty root. */
function hiddenLink(view: View, link: AbsPath): Verdict | null {
  const node = { path: link, exists: true };
  const walked = walk(view, node);
  if (walked !== null) return walked;
  const around = mountOf(view.layout, link);
  if (around.state === "read_only" || around.state === "writable") return null;
  if (view.layout.links.includes(link) && around.path === ROOT) return null;
  return refuse(view, node, "ENOENT", around);
}

/** The error of reaching `node`'s directory, `null` when it can be reached. */
function walk(view: View, node: Node): Verdict | null {
  if (node.path === ROOT) return null;
  for (const directory of ancestry(parentOf(node.path))) {
    const point = mountOf(view.layout, directory);
    if (point.node === "missing" && point.placeholder === "file") {
      return refuse(view, node, "ENOTDIR", point);
    }
    if (point.state !== "masked") continue;
    if (point.node === "file") return refuse(view, node, "ENOTDIR", point);
    if (point.path !== ROOT && !point.traversable) {
      return refuse(view, node, "EACCES", point);
    }
    if (directory === point.path) continue;
    if (!leadsToVisible(view.layout, directory)) {
      return refuse(view, node, "ENOENT", point);
    }
  }
  return null;
}

function readVerdict(view: View, node: Node): Verdict {
  const walked = walk(view, node);
  if (walked !== null) return walked;
  const point = mountOf(view.layout, node.path);
  if (point.state === "masked") return maskedVerdict(view, node, point);
  if (isAbsentDevice(view, node.path)) {
    return refuse(view, node, "ENOENT", point);
  }
  return allow(view, node, point);
}

/** Reading a mask, or a path that a masked directory or an empty root doesn't have. */
function maskedVerdict(view: View, node: Node, point: MountPoint): Verdict {
  const covered = point.path === node.path && point.path !== ROOT;
  return refuse(view, node, covered ? "EACCES" : "ENOENT", point);
}

function execVerdict(view: View, node: Node): Verdict {
  const read = readVerdict(view, node);
  if (!read.allowed || !node.exists) return read;
  const fact = factOf(view.facts, node.path);
  const point = mountOf(view.layout, node.path);
  if (fact.kind === "file" && (fact.mode & 0o111) !== 0) return read;
  const reason = fact.kind === "directory"
    ? "it is a directory"
    : fact.kind === "file"
    ? "its mode has no executable bit"
    : "it is no regular file";
  return { ...refuse(view, node, "EACCES", point), reason };
}

function writeVerdict(view: View, node: Node): Verdict {
  const point = mountOf(view.layout, node.path);
  // A placeholder is there, though the host has nothing.
  if (!node.exists && point.path !== node.path) {
    return createVerdict(view, node);
  }
  const walked = walk(view, node);
  if (walked !== null) return walked;
  switch (point.state) {
    case "masked":
      return maskedVerdict(view, node, point);
    case "read_only":
      return refuse(view, node, "EROFS", point);
    case "private_tmp":
      return isAbsentDevice(view, node.path)
        ? refuse(view, node, "EACCES", point)
        : allow(view, node, point);
    case "writable":
      return allow(view, node, point);
    default:
      return unreachable(point.state);
  }
}

/** The kernel looks a name up before it says that the file system is read-only: EEXIST comes first. */
function createVerdict(view: View, node: Node): Verdict {
  const walked = walk(view, node);
  if (walked !== null) return walked;
  const own = mountOf(view.layout, node.path);
  if (isPresent(view, node, own)) return refuse(view, node, "EEXIST", own);
  if (own.state === "read_only" || own.state === "masked") {
    return refuse(view, node, "EROFS", own);
  }
  return allow(view, node, own);
}

/** Whether the view has the name: on the host and not hidden, a mount point, or the way to one. */
function isPresent(view: View, node: Node, own: MountPoint): boolean {
  if (own.path === node.path) return true;
  if (own.state === "masked" || own.state === "private_tmp") {
    return leadsToVisible(view.layout, node.path);
  }
  return node.exists;
}

function removeVerdict(view: View, node: Node): Verdict {
  const walked = walk(view, node);
  if (walked !== null) return walked;
  const own = mountOf(view.layout, node.path);
  if (node.path === ROOT) return refuse(view, node, "EBUSY", own);
  const directory = mountOf(view.layout, parentOf(node.path));
  if (isUnchangeable(directory)) return refuse(view, node, "EROFS", directory);
  if (own.path === node.path) return refuse(view, node, "EBUSY", own);
  return allow(view, node, own);
}

/** rename(2) compares mounts first, then asks for mount points, then whether it may write. */
function renameVerdict(view: View, from: Node, to: Node): Verdict {
  const walked = walk(view, from) ?? walk(view, to);
  if (walked !== null) return walked;
  if (from.path === ROOT || to.path === ROOT) {
    return refuse(view, from, "EBUSY", mountOf(view.layout, ROOT));
  }
  const source = mountOf(view.layout, parentOf(from.path));
  const target = mountOf(view.layout, parentOf(to.path));
  if (source.path !== target.path || crossesDevices(view, from, to)) {
    return acrossMounts(view, from, to);
  }
  if (isUnchangeable(source)) return refuse(view, from, "EROFS", source);
  for (const node of [from, to]) {
    const own = mountOf(view.layout, node.path);
    if (own.path === node.path) return refuse(view, node, "EBUSY", own);
  }
  return allow(view, from, source);
}

/** link(2) makes the new name first: EEXIST and EROFS come before EXDEV. */
function linkVerdict(view: View, from: Node, to: Node): Verdict {
  const walked = walk(view, from) ?? walk(view, to);
  if (walked !== null) return walked;
  const source = mountOf(view.layout, from.path);
  if (source.state === "masked" && source.path !== from.path) {
    return refuse(view, from, "ENOENT", source);
  }
  const own = mountOf(view.layout, to.path);
  if (isPresent(view, to, own)) return refuse(view, to, "EEXIST", own);
  const target = mountOf(view.layout, parentOf(to.path));
  if (isUnchangeable(target)) return refuse(view, to, "EROFS", target);
  if (source.path !== target.path || crossesDevices(view, from, to)) {
    return acrossMounts(view, from, to);
  }
  if (from.exists && factOf(view.facts, from.path).kind === "directory") {
    const verdict = refuse(view, from, "EPERM", source);
    return { ...verdict, reason: "directories can't have hard links" };
  }
  return allow(view, from, source);
}

/** The deeper of the two mount points is what stands between them. */
function acrossMounts(view: View, from: Node, to: Node): Verdict {
  const source = mountOf(view.layout, from.path);
  const target = mountOf(view.layout, parentOf(to.path));
  const between = isInside(source.path, { root: target.path })
    ? source
    : target;
  const verdict = refuse(view, from, "EXDEV", between);
  const reason = `"${toText(from.path)}" and "${
    toText(to.path)
  }" lie on different mounts: ${because(between)}`;
  return { ...verdict, reason };
}

/** Different file systems of the host; mounts that only the plan makes are not in the facts. */
function crossesDevices(view: View, from: Node, to: Node): boolean {
  const source = deviceOf(view, parentOf(from.path));
  const target = deviceOf(view, parentOf(to.path));
  return source !== null && target !== null && source !== target;
}

function deviceOf(view: View, path: AbsPath): number | null {
  const fact = factOf(view.facts, path);
  return fact.kind === "directory" ? fact.device : null;
}

function isUnchangeable(point: MountPoint): boolean {
  return point.state === "read_only" || point.state === "masked";
}

/** The fresh `/dev` has the standard devices, nothing of the host's. */
function isAbsentDevice(view: View, path: AbsPath): boolean {
  if (!isInside(path, { root: DEV }) || path === DEV) return false;
  if (mountOf(view.layout, path).path !== DEV) return false;
  return !DEVICE_NAMES.includes(path.split("/")[2] ?? "");
}

function allow(view: View, node: Node, point: MountPoint): Verdict {
  return verdict(view, node, null, point);
}

function refuse(
  view: View,
  node: Node,
  errno: Errno,
  point: MountPoint,
): Verdict {
  return verdict(view, node, errno, point);
}

/** The deepest rule names itself; where a mount point alone decides (a pin, a placeholder, `/dev`) that is named. */
function verdict(
  view: View,
  node: Node,
  errno: Errno | null,
  point: MountPoint,
): Verdict {
  const { rules } = view.layout;
  const ruling = rule(rules, node.path);
  const decider =
    ruling.state === point.state && point.decider.kind !== "pin" &&
      point.decider.kind !== "system" && point.node !== "missing"
      ? ruling.decider
      : errno !== "EBUSY" && errno !== "EXDEV" && point.decider.kind === "pin"
      ? ruling.decider
      : point.decider;
  return {
    allowed: errno === null,
    errno,
    path: node.path,
    exists: node.exists,
    decider,
    lost: losers(rules, node.path, decider),
    reason: errno === "EBUSY"
      ? `"${toText(node.path)}" is a mount point of the sandbox: ${
        because(point)
      }`
      : describeDecider(decider) + unmade(view, node, errno),
  };
}

/** A write entry for what doesn't exist makes nothing: said where it would else look forgotten. */
function unmade(view: View, node: Node, errno: Errno | null): string {
  if (errno === null || node.exists) return "";
  const { state, decider } = rule(view.layout.rules, node.path);
  if (state !== "writable") return "";
  return `; ${describeDecider(decider)} has no effect, as nothing is there`;
}

function because(point: MountPoint): string {
  const isLoneFile = point.decider.kind === "grant" &&
    point.state === "writable" && point.node === "file";
  return describeDecider(point.decider) +
    (isLoneFile
      ? "; a file that is granted alone can be written, not replaced"
      : "");
}
