/**
 * Keeps the outcome of a plan for the next start of the same command (`kept_start.ts`).
 *
 * Only what a start by exec rests on entirely: no supervisor, no warning, no descriptor of the caller's, every question recorded.
 * What is kept lies in the state folder, which no sandbox shows.
 *
 * Effects: writes one file below `$CODEX_HOME/sandbox/starts`. Nothing depends on its success.
 *
 * @module
 */
import type { EnvironmentPolicy } from "../config/config.ts";
import type { Confinement } from "../config/command_environment.ts";
import { openStateFolder, replaceFile } from "../host/state_folder.ts";
import type { KeptDescriptor, KeptPlace, KeptStart } from "./kept_start.ts";
import { bwrapArguments, takesDescriptor } from "../linux/bwrap_argv.ts";
import type { Launch } from "../linux/launcher.ts";
import type { MountOp } from "../linux/mounts.ts";
import type { AbsPath } from "../policy/path.ts";
import { close, lstat } from "../sys/calls.ts";
import type { Observation } from "../sys/observed.ts";
import type { ByteString } from "../bytes.ts";

/** What the start that is to be kept was. */
export interface StartToKeep {
  readonly place: KeptPlace;
  readonly launch: Launch;
  readonly observations: readonly Observation[];
  readonly environment: EnvironmentPolicy;
  readonly confinement: Confinement;
  readonly codexHome: AbsPath;
  readonly euid: number;
}

/** A file that changed this recently may change again without a new ctime: the kernel's clock ticks every few milliseconds. */
const SETTLED_SECONDS = 2;

/** A slot is not written more often than this: where starts differ each time, keeping them would only cost. */
const REWRITE_SECONDS = 10;

/** With more, the long way counts descriptors against the caller's limit. */
const MAX_MOUNTS = 128;

/** Keeps it if it can be kept. */
export function keepStart(start: StartToKeep): void {
  const nowSeconds = Date.now() / 1000;
  const kept = keptStart(start, nowSeconds);
  if (kept === null) return;
  const { folder, name } = start.place;
  const old = lstat(`${folder}/${name}` as ByteString);
  if (
    old.ok && Math.abs(nowSeconds - old.value.ctimeSeconds) < REWRITE_SECONDS
  ) return;
  write(start, JSON.stringify(kept));
}

/** What is written, `null` for a start that rests on more than was recorded. */
function keptStart(
  start: StartToKeep,
  nowSeconds: number,
): KeptStart | null {
  const { launch, observations, place, environment, confinement } = start;
  const { plan, bwrap } = launch;
  const rests = plan.stage.kind === "one_start" &&
    plan.supervisor.length === 0 && plan.warnings.length === 0 &&
    plan.abstractSockets?.reach !== "open" &&
    // A search that was cut for time might see more the next time.
    (plan.repositories === null || plan.repositories.cut === null) &&
    plan.mounts.length <= MAX_MOUNTS && plan.passFds.length === 0 &&
    plan.guardedFds.length === 0 && plan.reboundFds.length === 0 &&
    launch.innerOrders === null && launch.lateEnvironment.length === 0;
  if (!rests || !observations.every((one) => isSettled(one, nowSeconds))) {
    return null;
  }
  const slots = new Map<number, string>();
  const waiting: [mark: string, descriptor: Unplaced][] = [
    [FILTER, { kind: "filter" }],
  ];
  for (const [index, { op }] of plan.mounts.entries()) {
    if (!takesDescriptor(op)) continue;
    const descriptor = descriptorOf(op);
    if (descriptor === null) return null;
    slots.set(index, `\0${index}`);
    waiting.push([`\0${index}`, descriptor]);
  }
  const words = bwrapArguments(
    plan,
    { seccomp: FILTER, mounts: slots, supervised: null },
    [],
    [],
  );
  const descriptors = waiting.map(([mark, descriptor]): KeptDescriptor => ({
    ...descriptor,
    at: words.indexOf(mark),
  }));
  return {
    key: place.key,
    observations: withoutImplied(observations),
    environment,
    confinement,
    bwrap: plan.launcher.kind === "bundled" ? null : bwrap.path,
    words,
    descriptors,
    filter: plan.filter,
    closesAbstract: plan.abstractSockets !== undefined,
  };
}

/** No path holds a NUL. */
const FILTER = "\0filter";

type Unplaced =
  | { readonly kind: "filter" | "nothing" }
  | {
    readonly kind: "bind";
    readonly path: string;
    readonly device: number;
    readonly inode: number;
  };

function descriptorOf(op: MountOp): Unplaced | null {
  switch (op.kind) {
    case "bind_seen":
      return { kind: "bind", path: op.path, ...op.seen };
    case "empty_file":
      return { kind: "nothing" };
    default:
      return null;
  }
}

/** Where lstat(2) gave the same answer for a path, stat(2) and open(2) met no link and the same content: one question is enough. */
function withoutImplied(
  observations: readonly Observation[],
): readonly Observation[] {
  const answers = (wanted: Observation[0]): ReadonlyMap<string, string> =>
    new Map(
      observations.flatMap(([kind, path, answer]) =>
        kind === wanted ? [[path, answer] as const] : []
      ),
    );
  const unfollowed = answers("lstat");
  const followed = answers("stat");
  return observations.filter(([kind, path, answer]) => {
    switch (kind) {
      case "stat":
        return unfollowed.get(path) !== answer;
      case "open":
        return unfollowed.get(path) !== answer &&
          followed.get(path) !== answer;
      default:
        return true;
    }
  });
}

/** An answer with a ctime ends with it. */
function isSettled([, , answer]: Observation, nowSeconds: number): boolean {
  const ctime = /^(?:\d+ ){7}(\d+)\.\d+$/.exec(answer)?.[1];
  return ctime === undefined || Number(ctime) < nowSeconds - SETTLED_SECONDS;
}

function write(start: StartToKeep, text: string): void {
  const { codexHome, euid, place: { name } } = start;
  const folder = openStateFolder(codexHome, ["starts"], { create: true, euid });
  if (!folder.ok) return;
  replaceFile(folder.value, name, text);
  close(folder.value);
}
