/**
 * Which promises each rung of the ladder keeps of a policy, and how, or what is lacking.
 *
 * Pure. Landlock allows and never takes away: what is allowed for a directory is allowed for all below it, so a stricter entry inside a
 * wider one is a promise that it can't keep. Everything goes by a given version of it.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import type { SocketFact } from "../policy/facts.ts";
import type { MountPoint } from "../policy/decision.ts";
import type { Layout } from "../policy/layout.ts";
import { isInside } from "../policy/path.ts";
import { DEV } from "../policy/places.ts";
import type { NetworkMode, Policy, PromiseName } from "../policy/policy.ts";
import { kernelWith, rightsOf } from "./landlock_abi.ts";

/** What a rung makes of one promise. */
export interface KeptPromise {
  readonly name: PromiseName;
  readonly kept: boolean;
  /** How it is kept, or what is lacking: a clause without a full stop. */
  readonly why: string;
}

/** bubblewrap keeps everything, save a fresh `/proc` where a container forbids it. */
export function bubblewrapPromises(
  { proc, network }: {
    readonly proc: "fresh" | "host";
    readonly network: NetworkMode;
  },
): readonly KeptPromise[] {
  const kept = (name: PromiseName, why: string): KeptPromise => ({
    name,
    kept: true,
    why,
  });
  return [
    kept("read-deny", "masks and an empty root"),
    kept("write-deny", "read-only mounts"),
    kept("carve-outs", "a mount of its own for each"),
    kept(
      "network",
      network === "host"
        ? "nothing is denied"
        : "a network namespace and the filter",
    ),
    kept("pid", "a PID namespace"),
    kept("ipc", "an IPC namespace and the filter"),
    proc === "fresh" ? kept("proc", "a fresh /proc") : {
      name: "proc",
      kept: false,
      why:
        "a fresh /proc can't be mounted here, the host's is visible, read-only",
    },
  ];
}

/** What Landlock of this version, with seccomp, keeps of a policy. */
export function landlockPromises(
  policy: Policy,
  layout: Layout,
  version: number,
  sockets: readonly SocketFact[] = [],
): readonly KeptPromise[] {
  const { scopes } = rightsOf(version);
  return [
    promise(
      "read-deny",
      readDenyGap(layout, version),
      layout.mountPoints.some((point) =>
          point.state === "masked" && !isOwn(point)
        )
        ? "no rule allows it"
        : "nothing is denied",
    ),
    promise(
      "write-deny",
      writeDenyGap(layout, version),
      isRootWritable(layout)
        ? "nothing is denied"
        : "no rule allows it, and the filter denies changes of modes, owners and times",
    ),
    promise("carve-outs", carveOutGap(layout), "there is none"),
    promise(
      "network",
      networkGap(policy, version, sockets),
      policy.network !== "host"
        ? "the filter"
        : closesUnixSockets(policy, sockets)
        ? "nothing is denied but AF_UNIX sockets, by the filter: daemons take orders there"
        : "nothing is denied",
    ),
    promise(
      "pid",
      scopes.includes("SIGNAL")
        ? "processes of the host are seen, and what is left in the background lives on"
        : "processes of the host are seen and can be signalled, and what is left in the background lives on",
    ),
    promise("ipc", "System V objects and message queues are the host's"),
    promise("proc", "the host's /proc is visible, read-only"),
  ];
}

/**
 * Whether the host's network goes without AF_UNIX sockets: nothing hides a daemon's socket here, and before Linux 7.1 it is reached by
 * its path, whatever may be read there. Where the profile opens one with `unix_sockets` they must stay.
 */
export function closesUnixSockets(
  { network, options }: Policy,
  sockets: readonly SocketFact[],
): boolean {
  return network === "host" && sockets.length > 0 &&
    options.unixSockets.length === 0;
}

function promise(
  name: PromiseName,
  gap: string | null,
  how = "",
): KeptPromise {
  return { name, kept: gap === null, why: gap ?? how };
}

/** The place and how many more there are like it. */
function placesText(points: readonly MountPoint[]): string {
  const first = toText(points[0]!.path);
  return points.length === 1 ? first : `${first} and ${points.length - 1} more`;
}

function readDenyGap(layout: Layout, version: number): string | null {
  const open = layout.mountPoints.filter((point) =>
    point.state === "masked" && !isOwn(point) && allowedAbove(layout, point) > 0
  );
  if (open.length > 0) {
    return `${placesText(open)} could be read, as what is around it can`;
  }
  const masks = layout.mountPoints.some(({ state }) => state === "masked");
  return masks && version < 1 ? noLandlock() : null;
}

function noLandlock(): string {
  return `this kernel has no Landlock (Linux ${
    kernelWith("READ_FILE")
  }), or it is switched off`;
}

function writeDenyGap(layout: Layout, version: number): string | null {
  if (isRootWritable(layout)) return null;
  if (version < 1) {
    return noLandlock();
  }
  if (!rightsOf(version).files.includes("TRUNCATE")) {
    return `Landlock ${version} lets every file be emptied, before Linux ${
      kernelWith("TRUNCATE")
    }`;
  }
  const writable = writableDirectories(layout);
  return writable.length === 0
    ? null
    : `modes and times of files elsewhere could be changed, as they can below ${
      placesText(writable)
    }`;
}

function networkGap(
  policy: Policy,
  version: number,
  sockets: readonly SocketFact[],
): string | null {
  if (policy.network === "proxied") {
    return "the proxy needs a network namespace: there would be no network at all";
  }
  if (closesUnixSockets(policy, sockets)) return null;
  if (rightsOf(version).files.includes("RESOLVE_UNIX")) return null;
  const [first] = sockets.filter(({ path }) =>
    !policy.options.unixSockets.some((root) => isInside(path, { root }))
  );
  return first === undefined
    ? null
    : `${first.daemon} at ${
      toText(first.path)
    } could be given orders beside what unix_sockets opens, before Linux ${
      kernelWith("RESOLVE_UNIX")
    }`;
}

function carveOutGap(layout: Layout): string | null {
  const open = layout.mountPoints.filter((point) =>
    point.decider.kind === "private_tmp" ||
    point.decider.kind !== "socket" && wantedAt(point) < 2 &&
      allowedAbove(layout, point) === 2
  );
  if (open.length === 0) return null;
  const first = open[0]!;
  return first.decider.kind === "private_tmp"
    ? `${placesText(open)} can't be private without a mount`
    : `${placesText(open)} could be written, as what is around it can`;
}

/** Whether everything may be written that nothing takes away. */
export function isRootWritable({ mountPoints: [root] }: Layout): boolean {
  return root?.state === "writable";
}

/** Directories in which modes and times must be changeable, so that the filter can't deny it anywhere. */
export function writableDirectories(layout: Layout): readonly MountPoint[] {
  return layout.mountPoints.filter(({ state, node, decider }) =>
    state === "writable" && node === "directory" && decider.kind !== "pin"
  );
}

/** Hidden although the policy lets it be read: our own folder, and sockets, which are the network's business. */
function isOwn({ decider }: MountPoint): boolean {
  return decider.kind === "own" || decider.kind === "socket";
}

/** 0 nothing, 1 reading, 2 writing: what a mount point is to give. */
export function wantedAt({ state }: MountPoint): 0 | 1 | 2 {
  return state === "writable" ? 2 : state === "read_only" ? 1 : 0;
}

/** What rules of the places above allow at a mount point, whatever it says itself. `/dev` is left out of a root that may be read. */
export function allowedAbove(layout: Layout, point: MountPoint): 0 | 1 | 2 {
  let most: 0 | 1 | 2 = 0;
  for (let at = point.parent; at !== null;) {
    const above = layout.byPath.get(at);
    if (above === undefined) break;
    const wanted = wantedAt(above);
    if (wanted > most) most = wanted;
    if (above.path === DEV && !isRootWritable(layout)) break;
    at = above.parent;
  }
  return most;
}
