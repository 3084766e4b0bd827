/**
 * Which of the known sockets are there, and within reach of a run.
 *
 * Effects: stat(2), and the probe's. Loaded only where the network is the host's.
 *
 * @module
 */
import type {
  KnownSocket,
  SocketGroup,
  SocketSearch,
} from "../policy/daemon_sockets.ts";
import { type AbsPath, ancestry, childOf, parentOf } from "../policy/path.ts";
import * as abi from "../sys/abi.ts";
import { lstat, stat } from "../sys/calls.ts";
import { follow, type SocketFact } from "../policy/facts.ts";
import { type FactMap, probePath } from "./probe.ts";

/** Adds what it finds to the facts. @param euid whose rights a run has: no capability among them */
export function findSockets(
  paths: FactMap,
  { groups, single }: SocketSearch,
  euid: number,
): readonly SocketFact[] {
  const found = new Map<AbsPath, SocketFact>();
  const consider = (known: KnownSocket): void => {
    if (!isThere(known, euid)) return;
    probePath(paths, known.path);
    const led = follow({ paths }, known.path);
    if (led === null || !led.exists || found.has(led.resolved)) return;
    if (!isInReach(paths, led.resolved, euid)) return;
    found.set(led.resolved, { ...known, path: led.resolved });
  };
  for (const known of single) consider(known);
  for (const group of withVarRun(groups)) {
    for (const known of present(group)) consider(known);
  }
  return [...found.values()];
}

/** The places of a group that a look at directories doesn't rule out already. */
function* present({ base, known }: SocketGroup): Generator<KnownSocket> {
  if (!stat(base).ok) return;
  const parents = new Map<AbsPath, boolean>([[base, true]]);
  for (const [daemon, ...names] of known) {
    for (const name of names) {
      const node = name.endsWith("/") ? "directory" : "socket";
      const path = childOf(
        base,
        node === "directory" ? name.slice(0, -1) : name,
      );
      const parent = parentOf(path);
      let isThere = parents.get(parent);
      if (isThere === undefined) {
        parents.set(parent, isThere = stat(parent).ok);
      }
      if (isThere) yield { path, node, daemon };
    }
  }
}

/** `/var/run` is `/run` nearly everywhere; where it isn't, it has sockets of its own. */
function withVarRun(groups: readonly SocketGroup[]): readonly SocketGroup[] {
  const varRun = lstat("/var/run" as AbsPath);
  return varRun.ok && (varRun.value.mode & abi.S_IFMT) === abi.S_IFDIR
    ? groups.flatMap((group) =>
      group.base === "/run"
        ? [group, { ...group, base: "/var/run" as AbsPath }]
        : [group]
    )
    : groups;
}

/** A directory in `/tmp` that is a link is somebody's trick to have another place hidden. */
function isThere({ path, node }: KnownSocket, euid: number): boolean {
  const there = node === "directory" ? lstat(path) : stat(path);
  if (!there.ok) return false;
  const { mode, uid } = there.value;
  const type = mode & abi.S_IFMT;
  switch (node) {
    case "socket":
      return type === abi.S_IFSOCK || type === abi.S_IFIFO;
    case "directory":
      return type === abi.S_IFDIR;
    case "private_directory":
      return type === abi.S_IFDIR && uid === euid && (mode & 0o077) === 0;
  }
}

/** Root looks further than a run of root's, which has no capability: what that can't reach can't be mounted on either. */
function isInReach(paths: FactMap, place: AbsPath, euid: number): boolean {
  if (euid !== 0) return true;
  return ancestry(parentOf(place)).every((above) => {
    const fact = paths.get(above);
    return fact !== undefined &&
      (fact.mode & (fact.uid === 0 ? 0o100 : 0o011)) !== 0;
  });
}
