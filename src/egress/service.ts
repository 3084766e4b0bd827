/**
 * Serves the listeners of one run: the managed proxy with its log and its report, or the relay to a caller's proxies.
 *
 * Effects: those of the proxy, the log file, and lines through `say`. What serving needs is loaded when it is needed.
 *
 * @module
 */
import { toText } from "../bytes.ts";
import { ok, type Result, unreachable } from "../result.ts";
import type { NetworkLog } from "./network_log.ts";
import type { NetworkRequest } from "./network_request.ts";
import type { BlockedReport } from "./report.ts";

/** Who serves the listeners of a run. */
export interface NetworkService {
  /** Loads what serving needs and asks the host: called while the sandbox is being set up. */
  readonly load: () => void;
  /**
   * Serves the listeners, in the order of their ports; they are its own from then on.
   *
   * @param files most descriptors that this process may have open
   * @throws when one is no listening socket
   */
  readonly start: (listeners: readonly number[], files: number) => void;
  /** Ends what is open and says what there is to say. @param hasFailed whether the command did */
  readonly end: (hasFailed: boolean) => Promise<void>;
}

/** Descriptors that are not for the served: the run's own, the log, questions to name servers, clients that wait. */
const OTHER_FILES = 192;

const RELAY_DIAL_MS = 10_000;

const LOOPBACK = {
  "127.0.0.1": { bytes: [127, 0, 0, 1] },
  "::1": { bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] },
} as const;

/** Opens what must be open before anything starts. @param say one line for people @returns the failure is one line */
export function prepareService(
  request: NetworkRequest,
  say: (line: string) => void,
): Result<NetworkService, string> {
  switch (request.kind) {
    case "managed":
      return managedService(request, say);
    case "relayed":
      return ok(relayService(request));
    default:
      return unreachable(request);
  }
}

function managedService(
  request: Extract<NetworkRequest, { kind: "managed" }>,
  say: (line: string) => void,
): Result<NetworkService, string> {
  let log: NetworkLog | null = null;
  if (request.log !== null) {
    const { openNetworkLog } = require(
      "./network_log.ts",
    ) as typeof import("./network_log.ts");
    const opened = openNetworkLog(request.log);
    if (!opened.ok) {
      return {
        ok: false,
        error: `Cannot open the network log ${
          toText(request.log)
        }: ${opened.error}`,
      };
    }
    log = opened.value;
  }
  let close: () => Promise<void> = () => Promise.resolve();
  let blocked: BlockedReport | null = null;
  let dialling: HostDialling | null = null;
  const prepareDialling = (): HostDialling =>
    dialling ??= serving().createHostDialer(
      request.policy,
      request.environment,
    );
  return ok({
    load(): void {
      try {
        prepareDialling();
      } catch {
        // Tried again when it is needed, where a failure ends the run.
      }
    },
    start(listeners, files): void {
      const { startProxy, createBlockedReport, limits } = serving();
      const [httpFd = -1, socksFd = null] = listeners;
      const { dialer, warnings } = prepareDialling();
      for (const warning of warnings) say(`warning: ${warning}`);
      const report = createBlockedReport(request.domainsTable);
      blocked = report;
      const proxy = startProxy({
        httpFd,
        socksFd,
        policy: request.policy,
        dialer,
        limits: {
          ...limits,
          connections: Math.min(limits.connections, clientsOf(files)),
        },
        onEvent(event): void {
          report.add(event);
          log?.write(event);
        },
      });
      close = proxy.close;
    },
    async end(hasFailed): Promise<void> {
      await close();
      const problem = log?.close() ?? null;
      if (problem !== null) say(problem);
      const { isReported } = serving();
      if (blocked === null || !isReported(request.report, hasFailed ? 1 : 0)) {
        return;
      }
      for (const line of blocked.lines()) say(line);
    },
  });
}

type HostDialling = ReturnType<
  typeof import("./host_dialer.ts").createHostDialer
>;

/** Each client costs two descriptors. */
function clientsOf(files: number): number {
  return Math.max(1, Math.floor((files - OTHER_FILES) / 2));
}

function relayService(
  request: Extract<NetworkRequest, { kind: "relayed" }>,
): NetworkService {
  let close: () => Promise<void> = () => Promise.resolve();
  return {
    load: () => void relaying(),
    start(listeners, files): void {
      const { startRelay, connectFd } = relaying();
      const relay = startRelay({
        routes: request.endpoints.map(({ address, port }, index) => ({
          fd: listeners[index] ?? -1,
          dial: () => connectFd(LOOPBACK[address], port, RELAY_DIAL_MS),
        })),
        preface: request.preface,
        connections: clientsOf(files),
      });
      close = relay.close;
    },
    end: () => close(),
  };
}

function serving(): {
  readonly startProxy: typeof import("./proxy.ts").startProxy;
  readonly createHostDialer: typeof import("./host_dialer.ts").createHostDialer;
  readonly createBlockedReport:
    typeof import("./report.ts").createBlockedReport;
  readonly isReported: typeof import("./report.ts").isReported;
  readonly limits: typeof import("./context.ts").DEFAULT_LIMITS;
} {
  const { startProxy } = require("./proxy.ts") as typeof import("./proxy.ts");
  const { createHostDialer } = require(
    "./host_dialer.ts",
  ) as typeof import("./host_dialer.ts");
  const { createBlockedReport, isReported } = require(
    "./report.ts",
  ) as typeof import("./report.ts");
  const { DEFAULT_LIMITS: limits } = require(
    "./context.ts",
  ) as typeof import("./context.ts");
  return {
    startProxy,
    createHostDialer,
    createBlockedReport,
    isReported,
    limits,
  };
}

function relaying(): {
  readonly startRelay: typeof import("./relay.ts").startRelay;
  readonly connectFd: typeof import("../sys/connect.ts").connectFd;
} {
  const { startRelay } = require("./relay.ts") as typeof import("./relay.ts");
  const { connectFd } = require(
    "../sys/connect.ts",
  ) as typeof import("../sys/connect.ts");
  return { startRelay, connectFd };
}
