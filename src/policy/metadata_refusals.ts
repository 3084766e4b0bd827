/**
 * Refusals about what is protected without an entry: git's pointers that can't be followed safely, and directories whose names ignore
 * case without the kernel's knowing.
 *
 * Pure.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { MAX_POINTER_BYTES, type PathFacts } from "./facts.ts";
import type { PolicyError } from "./decision.ts";
import { gitTargets, goesUpBehindName } from "./git_pointers.ts";
import { type Layout, mountOf } from "./layout.ts";
import {
  type AbsPath,
  ancestry,
  childOf,
  isInside,
  nameOf,
  parentOf,
} from "./path.ts";
import { type Place, placeOf } from "./places.ts";
import { rule as ruleAt, writableRootPaths } from "./rules.ts";

/** Git's pointers behind the `.git` of each writable root: where one leads must be known, and stay so for the run and after it. */
export function* pointerErrors(
  layout: Layout,
  facts: PathFacts,
): Generator<PolicyError | null> {
  const { rules } = layout;
  if (rules.fullWrite) return;
  for (const root of writableRootPaths(rules)) {
    const dotGit = childOf(root, ".git");
    // Who may write the pointer itself is not kept from what it leads to.
    if (facts.paths.get(dotGit) === undefined) continue;
    if (ruleAt(rules, dotGit).state === "writable") continue;
    yield* pointerErrorsOf(root, layout, facts);
  }
}

function* pointerErrorsOf(
  root: AbsPath,
  layout: Layout,
  facts: PathFacts,
): Generator<PolicyError | null> {
  const pointers = new Set([childOf(root, ".git")]);
  pointers.add(childOf(root, ".git/commondir"));
  for (const [pointer, target] of gitTargets(facts, root)) {
    pointers.add(pointer);
    const place = placeOf(facts, target);
    if (nameOf(pointer) === ".git" && place !== null) {
      pointers.add(childOf(place.path, "commondir"));
    }
    yield crossedPointer(pointer, target, place, layout) ??
      openPointer(pointer, place, root, layout);
  }
  for (const pointer of pointers) yield unclearPointer(pointer, facts);
}

function crossedPointer(
  pointer: AbsPath,
  target: AbsPath,
  place: Place | null,
  layout: Layout,
): PolicyError | null {
  const behind = pointer === target
    ? toText(pointer)
    : `${toText(target)} (named by ${toText(pointer)})`;
  if (place === null) {
    const message =
      `cannot enforce sandbox read-only path ${behind}: its symbolic links loop`;
    return { kind: "link_loop", path: target, message, origin: null };
  }
  const at = place.links.find((link) =>
    mountOf(layout, parentOf(link)).state === "writable"
  );
  if (at === undefined) return null;
  const message =
    `cannot enforce sandbox read-only path ${behind} because it crosses writable symlink ${
      toText(at)
    }`;
  return {
    kind: "crosses_writable_symlink",
    path: target,
    message,
    origin: null,
  };
}

/** A pointer to what must stay writable as a whole: the command could make a git directory of it. */
function openPointer(
  pointer: AbsPath,
  place: Place | null,
  root: AbsPath,
  layout: Layout,
): PolicyError | null {
  if (place === null) return null;
  const { state, decider } = ruleAt(layout.rules, place.path);
  if (state !== "writable") return null;
  // An entry for this very place is meant; a symbol for it, or what holds the root, is not.
  const isMeant = decider.kind === "grant" &&
    decider.grant.symbol === undefined && !isInside(root, { root: place.path });
  if (isMeant) return null;
  return {
    kind: "git_pointer",
    path: pointer,
    message: `Cannot protect the git directory behind "${
      toText(pointer)
    }": it is "${toText(place.path)}", which the command may write`,
    origin: null,
  };
}

/** A pointer that we can't read as git does. */
function unclearPointer(
  pointer: AbsPath,
  facts: PathFacts,
): PolicyError | null {
  const fact = facts.paths.get(pointer);
  const refuse = (why: string): PolicyError => ({
    kind: "git_pointer",
    path: pointer,
    message: `Cannot protect the git directory behind "${
      toText(pointer)
    }": ${why}`,
    origin: null,
  });
  if (fact === undefined) return null;
  if (fact.kind === "symlink" && nameOf(pointer) === "commondir") {
    return refuse("it is a link, and git writes none there");
  }
  if (fact.kind !== "file") return null;
  if (fact.sizeBytes > MAX_POINTER_BYTES) {
    return refuse(
      `it has ${fact.sizeBytes} bytes, and git reads no more than ${MAX_POINTER_BYTES}`,
    );
  }
  const text = facts.gitPointers.get(pointer);
  if (text === undefined || !goesUpBehindName(text)) return null;
  return refuse('its path goes up again ("..") behind a name');
}

/**
 * What is protected or hidden where another spelling of its name leads to the same file past our mount.
 *
 * The kernel's own file systems keep one entry for all spellings, so that a mount covers them. One that is served from elsewhere
 * (FUSE, 9p, SMB: a macOS or Windows host's folder in a virtual machine) has an entry for each.
 */
export function* foldingErrors(
  layout: Layout,
  facts: PathFacts,
): Generator<PolicyError> {
  const devices = facts.foldingDevices;
  if (devices === undefined || devices.size === 0) return;
  for (const { path, state, decider } of layout.mountPoints) {
    if (state !== "read_only" && state !== "masked") continue;
    if (decider.kind === "system" || !/[a-z]/i.test(nameOf(path))) continue;
    const above = ancestry(parentOf(path)).reverse().find((at) =>
      facts.paths.get(at)?.kind === "directory"
    );
    const device = above === undefined ? 0 : facts.paths.get(above)?.device;
    if (device === undefined || !devices.has(device)) continue;
    yield {
      kind: "case_folding",
      path,
      message: `cannot enforce sandbox ${
        state === "masked" ? "deny-read" : "read-only"
      } path ${
        toText(path)
      }: its file system ignores case, and other spellings of the name would lead past the sandbox; work in a directory that tells them apart`,
      origin: null,
    };
  }
}
