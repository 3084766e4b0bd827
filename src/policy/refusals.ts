/**
 * The policies that can't be enforced on a host, each refused by name instead of enforced half.
 *
 * Pure. Fragments of the messages that callers match on: "cannot enforce sandbox read-only path", "cannot enforce sandbox deny-read
 * path", "crosses writable symlink", "cannot be safely expanded".
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { PathFacts } from "./facts.ts";
import { fail, ok, type Result } from "../result.ts";
import type { PolicyError } from "./decision.ts";
import { compileGlob } from "./glob.ts";
import {
  carveOuts,
  type Layout,
  layoutOf,
  mountOf,
  writableRoots,
} from "./layout.ts";
import { type AbsPath, isInside, nameOf, parentOf, ROOT } from "./path.ts";
import {
  DEV,
  DEV_SHM,
  DEVICE_NAMES,
  isMadeFresh,
  type Place,
  placeOf,
  PROC,
  SYS,
} from "./places.ts";
import {
  type GlobDeny,
  type Grant,
  METADATA_NAMES,
  type Policy,
} from "./policy.ts";
import { foldingErrors, pointerErrors } from "./metadata_refusals.ts";
import { nearest, type Rule } from "./rules.ts";

/** Nothing when `policy` can be enforced as it stands, else the first of {@linkcode policyErrors}. */
export function validatePolicy(
  policy: Policy,
  facts: PathFacts,
): Result<void, PolicyError> {
  const [first] = policyErrors(policy, facts);
  return first === undefined ? ok(undefined) : fail(first);
}

/** Every reason for refusal, entries in their order first. */
export function policyErrors(
  policy: Policy,
  facts: PathFacts,
): readonly PolicyError[] {
  if (policy.enforcement !== "managed") return [];
  const layout = layoutOf(policy, facts);
  const errors: (PolicyError | null)[] = layout.rules.looping.map(linkLoop);
  for (const glob of policy.globs) errors.push(globError(glob, layout, facts));
  for (const rules of layout.rules.entries.values()) {
    for (const rule of rules) errors.push(entryError(rule, layout));
  }
  for (const metadata of layout.rules.caps.values()) {
    if (metadata.kind !== "metadata") continue;
    errors.push(protectedError(metadata.path, layout, facts));
  }
  for (const error of pointerErrors(layout, facts)) errors.push(error);
  for (const error of foldingErrors(layout, facts)) errors.push(error);
  for (const own of [...facts.own.readOnly, ...facts.own.hidden]) {
    errors.push(protectedError(own, layout, facts));
  }
  if (policy.options.nestedNamespaces) errors.push(nestedError(policy, layout));
  return errors.filter((error) => error !== null);
}

/**
 * In a namespace of its own a command can leave our mounts behind: then the name of what they cover, in a place that it may write,
 * can be moved away on the host, and another thing put in its place. What lies below nothing writable stays: there the kernel
 * answers EROFS to the rename.
 */
function nestedError(policy: Policy, layout: Layout): PolicyError | null {
  for (const root of writableRoots(layout)) {
    const inside = carveOuts(layout, root).find(({ decider }) =>
      decider.kind !== "system"
    );
    if (inside === undefined) continue;
    const path = toText(inside.path);
    return {
      kind: "nested_namespaces",
      path: inside.path,
      message:
        `Cannot honour nested_namespaces = true of profile ${policy.name}: "${path}" is ${
          inside.state === "masked" ? "hidden" : "protected"
        } below the writable "${
          toText(root.path)
        }", and in a namespace of its own the command could move it away; leave nested_namespaces out, or write nothing above it`,
      origin: null,
    };
  }
  return null;
}

function linkLoop(grant: Grant): PolicyError {
  return {
    kind: "link_loop",
    path: grant.path,
    message: `Cannot use "${toText(grant.path)}": its symbolic links loop`,
    origin: grant.origin,
  };
}

function globError(
  glob: GlobDeny,
  layout: Layout,
  facts: PathFacts,
): PolicyError | null {
  const { pattern: path, origin } = glob;
  const compiled = compileGlob(path);
  if (!compiled.ok) {
    return { kind: "invalid_glob", path, message: compiled.error, origin };
  }
  const place = placeOf(facts, glob.prefix);
  const text = toText(path);
  if (place === null) {
    const message = `Cannot expand glob "${text}": the symbolic links of "${
      toText(glob.prefix)
    }" loop`;
    return { kind: "link_loop", path, message, origin };
  }
  if (place.path === ROOT) {
    const message =
      `unreadable glob "${text}" cannot be safely expanded; use a pattern with a non-root directory prefix`;
    return { kind: "root_prefix_glob", path, message, origin };
  }
  if (isMadeFresh(place.path) && !isInside(place.path, { root: DEV_SHM })) {
    const message =
      `unreadable glob "${text}" cannot be safely expanded: /proc and /dev are made afresh for each run, remove the entry`;
    return { kind: "system_path", path, message, origin };
  }
  return crossing(glob.prefix, place, "deny-read", origin, layout, null);
}

function entryError(rule: Rule, layout: Layout): PolicyError | null {
  if (rule.decider.kind !== "grant") return null;
  const { grant } = rule.decider;
  const { place } = rule;
  return systemError(grant, place) ??
    ownError(grant, place, layout) ??
    obstacleError(grant, place, layout) ??
    (grant.access === "write" ? writeError(rule, grant, layout) : crossing(
      grant.path,
      place,
      grant.access === "read" ? "read-only" : "deny-read",
      grant.origin,
      layout,
      null,
    ));
}

/** A place that must be protected without an entry: metadata, our own files. */
function protectedError(
  path: AbsPath,
  layout: Layout,
  facts: PathFacts,
): PolicyError | null {
  // An entry for this very path has its own check.
  if (layout.rules.entries.has(path)) return null;
  const place = placeOf(facts, path);
  if (place === null) {
    const message = `cannot enforce sandbox read-only path ${
      toText(path)
    }: its symbolic links loop`;
    return { kind: "link_loop", path, message, origin: null };
  }
  return crossing(path, place, "read-only", null, layout, null) ??
    obstacle(path, place, layout, null);
}

/** `except`: a grant whose own mount point must not speak for it. */
function crossing(
  path: AbsPath,
  place: Place,
  what: "read-only" | "deny-read" | "writable",
  origin: Grant["origin"] | null,
  layout: Layout,
  except: Grant | null,
): PolicyError | null {
  for (const link of place.links) {
    const around = mountOf(layout, parentOf(link));
    if (around.state !== "writable") continue;
    if (
      except !== null && isInside(place.path, { root: around.path }) &&
      !(around.decider.kind === "grant" && around.decider.grant === except)
    ) continue;
    const message = `cannot enforce sandbox ${what} path ${
      toText(path)
    } because it crosses writable symlink ${toText(link)}`;
    return { kind: "crosses_writable_symlink", path, message, origin };
  }
  return null;
}

/** `/proc` and `/dev` are fresh in each run and `/sys` is never writable: what can't work there is said. */
function systemError(grant: Grant, place: Place): PolicyError | null {
  const { path, access, origin } = grant;
  const at = place.path;
  const refuse = (why: string): PolicyError => ({
    kind: "system_path",
    path,
    message: `Cannot apply "${access}" to "${toText(path)}": ${why}`,
    origin,
  });
  if (isInside(at, { root: SYS })) {
    return access === "write"
      ? refuse(`/sys is read-only in each run, use "read" or "deny"`)
      : null;
  }
  if (isInside(at, { root: PROC })) {
    return at === PROC && access === "read"
      ? null
      : refuse("/proc is made afresh for each run, remove the entry");
  }
  if (!isInside(at, { root: DEV }) || isInside(at, { root: DEV_SHM })) {
    return null;
  }
  if (at === DEV && access === "read") return null;
  const known = at === DEV || DEVICE_NAMES.includes(at.split("/")[2] ?? "");
  if (access === "deny" && !known) return null;
  return refuse(
    "/dev is made afresh for each run with the standard devices, remove the entry",
  );
}

function ownError(
  grant: Grant,
  place: Place,
  layout: Layout,
): PolicyError | null {
  if (grant.access !== "write") return null;
  const own = nearest(layout.rules.own, place.path) ??
    nearest(layout.rules.hidden, place.path);
  if (own?.kind !== "own") return null;
  const inside = own.path === place.path
    ? ""
    : `inside "${toText(own.path)}", `;
  return {
    kind: "own_path",
    path: grant.path,
    message: `Cannot grant write to "${
      toText(grant.path)
    }": it is ${inside}one of the sandbox's own places, which stay read-only`,
    origin: grant.origin,
  };
}

function obstacleError(
  grant: Grant,
  place: Place,
  layout: Layout,
): PolicyError | null {
  return obstacle(grant.path, place, layout, grant.origin);
}

/** A component that could be changed into a way around the entry, and that nothing can be mounted below. */
function obstacle(
  path: AbsPath,
  place: Place,
  layout: Layout,
  origin: Grant["origin"] | null,
): PolicyError | null {
  if (place.obstacle === null) return null;
  const at = place.firstMissing;
  if (mountOf(layout, parentOf(at)).state !== "writable") return null;
  const unreadable = place.obstacle === "unreadable";
  const why = unreadable
    ? "can't be examined, make it searchable"
    : "is no directory, remove it or the entry";
  return {
    kind: unreadable ? "unreadable_component" : "not_a_directory",
    path,
    message: `Cannot enforce the entry for "${toText(path)}": "${
      toText(at)
    }" lies in a writable root and ${why}`,
    origin,
  };
}

function writeError(
  rule: Rule,
  grant: Grant,
  layout: Layout,
): PolicyError | null {
  const { place } = rule;
  const { path, origin } = grant;
  if (place.kind === "char_device" || place.kind === "block_device") {
    const message = `Cannot grant write to "${
      toText(path)
    }": it is a device, and devices are not passed into the sandbox`;
    return { kind: "device_write", path, message, origin };
  }
  const crossed = crossing(path, place, "writable", origin, layout, grant);
  if (crossed !== null) return crossed;
  if (place.node !== "missing" || grant.symbol === ":tmpdir") return null;
  if (opensMetadata(place.path, layout)) return null;
  const around = mountOf(layout, place.firstMissing);
  if (around.state !== "writable") return null;
  const message = `Cannot grant write to "${
    toText(path)
  }": it doesn't exist, and it lies in the writable root "${
    toText(around.path)
  }", create it or remove the entry`;
  return { kind: "missing_writable_root", path, message, origin };
}

/** Whether a write entry only lifts the protection of a metadata name: then there is nothing to mount. */
function opensMetadata(path: AbsPath, layout: Layout): boolean {
  return METADATA_NAMES.includes(nameOf(path)) &&
    layout.rules.caps.get(path)?.kind === "metadata";
}
