/**
 * What is started for a plan: bubblewrap, the orders of the inner stage, the environment before and behind the start.
 *
 * Effects: asks for the limit of open files; assembles the filter.
 *
 * @module
 */
import type { InnerOrders } from "../linux/inner_stage.ts";
import { writablePlaces } from "../linux/landlock.ts";
import {
  CHANNEL_FD,
  INNER_FD,
  type Launch,
  PROGRAM_PATH,
  REPORT_FD,
} from "../linux/launcher.ts";
import { callerSoftLimit } from "../linux/process_state.ts";
import { assembledFilter } from "../linux/seccomp/programs.ts";
import { isLoaderEntry } from "./environment.ts";
import { servedNetwork } from "./on_demand.ts";
import type { Prepared, RunRequest } from "./request.ts";

/** What the launcher gets for a prepared run. */
export function launchOf(
  request: RunRequest,
  prepared: Extract<Prepared, { kind: "sandbox" }>,
): Launch {
  const { plan, bwrap } = prepared;
  const filter = assembledFilter(plan.filter);
  const softNofile = callerSoftLimit();
  if (plan.stage.kind === "one_start") {
    return {
      plan,
      bwrap,
      environment: request.environment.filter((entry) => !isLoaderEntry(entry)),
      lateEnvironment: request.environment.filter((entry) =>
        isLoaderEntry(entry) && entry.includes("=")
      ),
      filter,
      command: request.command,
      innerOrders: null,
      softNofile,
      listenPorts: [],
      place: null,
      reportsFailures: false,
    };
  }
  const ports = request.network === null
    ? []
    : servedNetwork().listenPorts(request.network);
  if (plan.stage.kind === "listening" && request.network !== null) {
    const environment = servedNetwork().asStarted(
      request.environment,
      prepared.innerWords,
    );
    return {
      plan,
      bwrap,
      environment: environment.filter((entry) => !isLoaderEntry(entry)),
      lateEnvironment: environment.filter((entry) =>
        isLoaderEntry(entry) && entry.includes("=")
      ),
      filter,
      command: [PROGRAM_PATH, ...request.command],
      innerOrders: null,
      softNofile,
      listenPorts: ports,
      place: plan.stage.place,
      reportsFailures: false,
    };
  }
  const orders: InnerOrders = {
    command: request.command,
    environment: request.network === null
      ? request.environment
      : servedNetwork().asStarted(
        request.environment,
        prepared.innerWords,
      ),
    filter: null,
    softNofile,
    passFds: request.passFds,
    writeGuard: plan.guardedFds.length === 0 ? null : {
      places: writablePlaces(plan.mounts),
      fds: [0, 1, 2, ...request.passFds],
    },
    reboundFds: plan.reboundFds,
    traceDomain: plan.traceDomain,
    listenPorts: ports,
  };
  return {
    plan,
    bwrap,
    environment: [],
    lateEnvironment: [],
    filter,
    command: [
      ...prepared.innerWords,
      "--inner-stage",
      INNER_FD,
      ...(request.teller !== null
        ? [ports.length === 0 ? "-1" : CHANNEL_FD, REPORT_FD]
        : ports.length === 0
        ? []
        : [CHANNEL_FD]),
    ],
    innerOrders: JSON.stringify(orders),
    softNofile,
    listenPorts: ports,
    place: null,
    reportsFailures: request.teller !== null,
  };
}
