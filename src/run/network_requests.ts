/**
 * Who serves the network of a run, and what the command's environment says about it.
 *
 * The wiring of config and `egress`, loaded where a network is proxied. Effects: follows the folder of the log.
 *
 * @module
 */
import { type ByteString, toText } from "../bytes.ts";
import type { HelperProxy } from "../cli/helper_options.ts";
import type { NetworkReporting } from "../cli/sandbox_options.ts";
import type { RunConfig } from "../config/config.ts";
import { CONFIG_HOST } from "../config/host_files.ts";
import { domainsTableOf } from "../config/network_rules.ts";
import { proxiedEnvironment } from "../egress/environment.ts";
import {
  HTTP_PORT,
  listenPorts,
  type NetworkRequest,
  SOCKS_PORT,
} from "../egress/network_request.ts";
import {
  ATTRIBUTION_VARIABLE,
  attributionPreface,
  outsideManaged,
  parseManagedNetwork,
  planRoutes,
  rewriteEnvironment,
} from "../egress/routes.ts";
import type { Origin } from "../host/origin.ts";
import { INNER_EXECUTABLE } from "../linux/own_files.ts";
import {
  type AbsPath,
  childOf,
  nameOf,
  parentOf,
  resolvePath,
} from "../policy/path.ts";
import { fail, ok, type Result } from "../result.ts";

/** A served network, and the command's whole environment beside it. */
export interface ServedNetwork {
  readonly network: NetworkRequest;
  readonly environment: readonly ByteString[];
}

/** The managed proxy of a profile. @param environment the command's, as its own policy has it */
export function managedNetwork(
  run: RunConfig,
  reporting: NetworkReporting,
  origin: Origin,
  environment: readonly ByteString[],
): Result<ServedNetwork, string> {
  const { rules } = run.network;
  if (rules === null) throw new Error("a proxied network has rules");
  const log = reporting.log === null
    ? ok(null)
    : logPath(reporting.log, origin.cwd);
  if (!log.ok) return log;
  return ok({
    network: {
      kind: "managed",
      policy: rules,
      environment: origin.environment,
      domainsTable: domainsTableOf(run.name, rules),
      report: reporting.report,
      log: log.value,
    },
    environment: proxiedEnvironment(environment, {
      httpPort: HTTP_PORT,
      socksPort: rules.socks5 ? SOCKS_PORT : null,
      policy: rules,
      executable: INNER_EXECUTABLE,
    }),
  });
}

/** By its folder's real path: links below a writable root could lead anywhere. */
function logPath(
  typed: ByteString,
  cwd: AbsPath | null,
): Result<AbsPath, string> {
  if (typed === "") {
    return fail("Cannot open the network log: --network-log names no file");
  }
  const path = resolvePath(cwd ?? "/" as AbsPath, typed);
  const folder = path === null || path === "/"
    ? null
    : CONFIG_HOST.realPath(parentOf(path));
  if (path === null || folder === null) {
    return fail(
      `Cannot open the network log ${
        toText(typed)
      }: its folder is not there; make it first`,
    );
  }
  return ok(childOf(folder, nameOf(path)));
}

/**
 * The proxies of the helper's caller, as its environment names them.
 *
 * @returns the failure is the reference's message
 */
export function callersNetwork(
  proxy: Exclude<HelperProxy, { kind: "none" }>,
  caller: readonly ByteString[],
): Result<ServedNetwork, string> {
  const mark = `${ATTRIBUTION_VARIABLE}=`;
  const token = caller.find((entry) => entry.startsWith(mark));
  const environment = caller.filter((entry) => !entry.startsWith(mark));
  const preface = token === undefined
    ? null
    : attributionPreface(token.slice(mark.length));
  if (token !== undefined && preface === null) {
    return fail(
      `Cannot use ${ATTRIBUTION_VARIABLE}: a token has 1 to 128 bytes`,
    );
  }
  const plan = planRoutes(environment);
  if (!plan.ok) return plan;
  if (proxy.kind === "managed") {
    const managed = parseManagedNetwork(proxy.json);
    if (!managed.ok) return managed;
    const outside = outsideManaged(plan.value, managed.value);
    if (outside !== null) return fail(outside);
  }
  const { routes, endpoints } = plan.value;
  const network: NetworkRequest = { kind: "relayed", endpoints, preface };
  const ports = listenPorts(network);
  const rewritten = rewriteEnvironment(
    environment,
    routes.map(({ name, endpoint }) => ({ envKey: name, endpoint })),
    ({ endpoint }) => ports[endpoint] ?? 0,
  );
  if (!rewritten.ok) return rewritten;
  return ok({ network, environment: rewritten.value as ByteString[] });
}
