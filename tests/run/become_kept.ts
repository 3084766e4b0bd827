/**
 * A process that starts what is kept, or ends with {@linkcode LONG_WAY}: `start_kept_test.ts` gives it its orders as JSON.
 *
 * @module
 */
import type { Origin } from "../../src/host/origin.ts";
import { type KeptPlace, startKept } from "../../src/run/kept_start.ts";
import * as abi from "../../src/sys/abi.ts";
import {
  landlockRestrict,
  landlockRuleset,
  prctl,
} from "../../src/sys/calls.ts";
import { dieRatherThanWait } from "../linux/refuse.ts";

/** The status of a start that was not made from what is kept. */
export const LONG_WAY = 3;

/** What such a process is told. */
export interface Orders {
  readonly origin: Origin;
  readonly place: KeptPlace;
  /** It has as many domains of Landlock as a process may have, and can't enter another. */
  readonly isFull: boolean;
  /** It dies before it waits for anybody at a pipe. */
  readonly waitsForNobody: boolean;
}

/** landlock(7): domains of one process. */
const MOST_DOMAINS = 16;

function enterDomains(): void {
  prctl(abi.PR_SET_NO_NEW_PRIVS, 1);
  for (let count = 0; count < MOST_DOMAINS; count++) {
    const ruleset = landlockRuleset(abi.LANDLOCK_ACCESS_FS_MAKE_CHAR);
    if (ruleset.ok) landlockRestrict(ruleset.value);
  }
}

if (import.meta.main) {
  const orders = JSON.parse(process.argv[2] ?? "") as Orders;
  if (orders.isFull) enterDomains();
  if (orders.waitsForNobody) dieRatherThanWait();
  startKept(orders.origin, orders.place);
  process.exit(LONG_WAY);
}
