/**
 * The plan of the Landlock rung: a layout's mount points as rules that allow.
 *
 * Pure. A rule holds for all below its path and nothing takes away from it, so a mount point needs one only where it gives more than
 * those above it. What a layout takes away inside is no rule at all: `promises.ts` has said so before.
 *
 * @module
 */
import type { PathFact, SocketFact } from "../policy/facts.ts";
import type { Layout } from "../policy/layout.ts";
import { type AbsPath, ROOT } from "../policy/path.ts";
import { DEV, PROC } from "../policy/places.ts";
import type { Policy, PromiseName } from "../policy/policy.ts";
import type { Rung } from "./ladder.ts";
import {
  grantedRights,
  type LandlockRights,
  rightsOf,
} from "./landlock_abi.ts";
import type { LandlockPlan, LandlockRule } from "./plan.ts";
import {
  allowedAbove,
  closesUnixSockets,
  isRootWritable,
  type KeptPromise,
  wantedAt,
  writableDirectories,
} from "./promises.ts";
import type { FilterRequest } from "./seccomp/request.ts";

/** What the plan is made from, beside what it passes on as it is. */
export interface LandlockRequest extends
  Pick<
    LandlockPlan,
    "chdir" | "passFds" | "environmentChanges" | "command" | "warnings"
  > {
  readonly policy: Policy;
  readonly layout: Layout;
  readonly factAt: (path: AbsPath) => PathFact;
  readonly arch: FilterRequest["arch"];
  readonly rung: Extract<Rung, { kind: "landlock" }>;
  readonly landlock: number;
  readonly givenUp: readonly PromiseName[];
  readonly user: LandlockPlan["user"];
  /** Known sockets of daemons that are there. */
  readonly sockets: readonly SocketFact[];
  /** What lies directly in the root, links left out. */
  readonly rootPlaces: readonly RootPlace[];
}

/** One thing in the root. */
export interface RootPlace {
  readonly path: AbsPath;
  readonly node: "directory" | "file";
}

/** The whole plan. */
export function planLandlock(request: LandlockRequest): LandlockPlan {
  const { policy, layout, landlock, rung, givenUp } = request;
  return {
    kind: "landlock_only",
    profile: policy.name,
    cwd: policy.cwd,
    chdir: request.chdir,
    reason: rung.reason,
    landlock,
    handled: handledRights(policy, layout, landlock),
    rules: landlockRules(request),
    network: policy.network,
    filter: filterOf(request),
    promises: rung.promises,
    givenUp,
    ...(request.user === undefined ? {} : { user: request.user }),
    passFds: request.passFds,
    environmentChanges: request.environmentChanges,
    command: request.command,
    warnings: [...request.warnings, ...lackingWarning(request)],
  };
}

/** Everything that the version can restrict and the policy doesn't give away whole. */
function handledRights(
  policy: Policy,
  layout: Layout,
  version: number,
): LandlockRights {
  const all = rightsOf(version);
  return {
    files: isRootWritable(layout)
      // REFER is denied wherever there is a domain that doesn't allow it.
      ? all.files.filter((right) => right === "REFER")
      : all.files,
    net: policy.network === "host" ? [] : all.net,
    scopes: all.scopes,
  };
}

/** Devices that hold nothing of anybody's; bubblewrap's `/dev` has them too. */
const HARMLESS_DEVICES = ["null", "zero", "full", "random", "urandom"];

/** The rules of a layout, parents first. */
function landlockRules(
  { policy, layout, landlock: version, factAt, rootPlaces }: LandlockRequest,
): readonly LandlockRule[] {
  if (version < 1) return [];
  if (isRootWritable(layout)) {
    const rights = rightsOf(version).files.filter((it) => it === "REFER");
    return rights.length === 0
      ? []
      : [{ path: ROOT, rights, seen: null, reason: "everything is writable" }];
  }
  const rules: LandlockRule[] = [];
  for (const point of layout.mountPoints) {
    const { path, node, decider } = point;
    const wanted = wantedAt(point);
    if (node === "missing" || wanted <= allowedAbove(layout, point)) continue;
    const access = wanted === 2 ? "write" : "read";
    if (path === ROOT) {
      rules.push(...readableRoot(version, rootPlaces));
      continue;
    }
    rules.push({
      path,
      rights: grantedRights(version, access, node),
      seen: path === PROC ? null : identityOf(factAt(path)),
      reason: path === PROC
        ? "the host's /proc, read-only: there is no other"
        : decider.kind === "grant"
        ? `${decider.grant.access} by ${decider.grant.origin.key}`
        : decider.kind === "platform"
        ? "a directory of :minimal"
        : "readable as the policy says",
    });
  }
  rules.push(...openedSockets(policy, version));
  const device = grantedRights(version, "device", "file");
  for (const name of HARMLESS_DEVICES) {
    rules.push({
      path: `${DEV}/${name}` as AbsPath,
      rights: device,
      seen: null,
      reason: "a harmless device",
    });
  }
  return rules;
}

/**
 * Everything can be listed, and everything but `/dev` be read: through a device one reads raw disks and what is typed into other
 * terminals. The root has few entries and only root adds one, so naming each freezes nothing that changes.
 */
function readableRoot(
  version: number,
  places: readonly RootPlace[],
): readonly LandlockRule[] {
  const [list] = grantedRights(version, "read", "directory").filter((it) =>
    it === "READ_DIR"
  );
  return [
    {
      path: ROOT,
      rights: list === undefined ? [] : [list],
      seen: null,
      reason: "every folder can be listed",
    },
    ...places.filter(({ path }) => path !== DEV).map((
      { path, node },
    ): LandlockRule => ({
      path,
      rights: grantedRights(version, "read", node),
      seen: null,
      reason: "readable, as all of the root but its devices",
    })),
  ];
}

/** From Linux 7.1 on a socket of others is reached only where a rule says so. */
function openedSockets(
  { network, options }: Policy,
  version: number,
): readonly LandlockRule[] {
  if (network !== "host") return [];
  const rights = rightsOf(version).files.filter((it) => it === "RESOLVE_UNIX");
  if (rights.length === 0) return [];
  return options.unixSockets.map((path): LandlockRule => ({
    path,
    rights,
    seen: null,
    reason: "opened by unix_sockets",
  }));
}

function identityOf(
  { device, inode }: PathFact,
): { readonly device: number; readonly inode: number } {
  return { device, inode };
}

/** Without a namespace the tight table; nested namespaces and mounts are the filter's business too. */
function filterOf(
  { policy, layout, arch, sockets }: LandlockRequest,
): FilterRequest {
  const filter: FilterRequest = {
    arch,
    network: policy.network !== "host"
      ? "shared_restricted"
      : closesUnixSockets(policy, sockets)
      ? "host_without_unix"
      : "host",
    debug: policy.options.debug,
    namespaces: "denied",
  };
  // Landlock has no right for modes, owners, times and attributes: where nothing is writable they can be denied everywhere.
  return writableDirectories(layout).length === 0
    ? { ...filter, attributes: "denied" }
    : filter;
}

/** The one line about what the run has to do without. */
function lackingWarning(
  { rung, givenUp }: LandlockRequest,
): readonly string[] {
  const lacking = rung.promises.filter(({ name, kept }) =>
    !kept && !givenUp.includes(name)
  );
  if (lacking.length === 0) return [];
  return [
    `confined by Landlock and seccomp alone (${rung.reason}); it lacks ${
      lacking.map(lackText).join(", ")
    }`,
  ];
}

function lackText({ name, why }: KeptPromise): string {
  return `${name} (${why})`;
}
