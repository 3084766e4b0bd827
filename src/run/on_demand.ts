/**
 * Modules that only some runs need: loaded where they are used, so that the others never pay for them.
 *
 * @module
 */

/** For a run on Landlock alone. */
export function landlockRun(): typeof import("./landlock.ts") {
  return require("./landlock.ts");
}

/** For a run whose network is served. */
export function servedNetwork(): typeof import("../egress/network_request.ts") {
  return require("../egress/network_request.ts");
}

/** For a run whose network is proxied, before it is prepared. */
export function networkRequests(): typeof import("./network_requests.ts") {
  return require("./network_requests.ts");
}
