/**
 * Every filter there is, assembled: evaluated while the executable is built, so that no start assembles one.
 *
 * Pure. Called as a macro by `programs.ts`; a macro's result must be plain JSON.
 *
 * @module
 */
import { filterProgram } from "./filters.ts";
import {
  FILTER_ARCHES,
  FILTER_NETWORKS,
  filterKey,
  type FilterRequest,
} from "./request.ts";

/** All requests, in a fixed order. */
export function allFilterRequests(): FilterRequest[] {
  return FILTER_ARCHES.flatMap((arch) =>
    FILTER_NETWORKS.flatMap((network) =>
      [false, true].flatMap((debug): FilterRequest[] => {
        const isLandlock = network === "shared_restricted" ||
          network === "host" || network === "host_without_unix";
        return [
          { arch, network, debug, namespaces: "allowed" },
          { arch, network, debug, namespaces: "denied" },
          ...(isLandlock
            ? [
              {
                arch,
                network,
                debug,
                namespaces: "denied",
                attributes: "denied",
              } as const,
            ]
            : []),
        ];
      })
    )
  );
}

/** Key of the request to its encoded program in base64: ASCII, so that the bundle stays one byte per character. */
export function filterTable(): Record<string, string> {
  return Object.fromEntries(
    allFilterRequests().map((request) => [
      filterKey(request),
      Buffer.from(filterProgram(request)).toString("base64"),
    ]),
  );
}
