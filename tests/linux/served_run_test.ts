/**
 * The handover of a served run's listeners, with a sandbox that is a sleeping process and an inner stage that is this test.
 *
 * @module
 */
import { afterEach, expect, spyOn, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import type { NetworkService } from "../../src/egress/service.ts";
import { leadsNowhere } from "../../src/linux/callers_routes.ts";
import type { Run } from "../../src/linux/run.ts";
import { AT_ONCE } from "../../src/linux/run_events.ts";
import { handOver } from "../../src/linux/served_run.ts";
import { close, pidfdOpen, pipe, spawn } from "../../src/sys/calls.ts";
import { stableBytes } from "../../src/sys/ffi.ts";
import { sendMessage, socketPair } from "../../src/sys/sockets.ts";

const opened: number[] = [];

afterEach(() => {
  for (const fd of opened.splice(0)) close(fd);
});

function held<T extends readonly number[]>(
  made: { readonly ok: true; readonly value: T } | { readonly ok: false },
): T {
  if (!made.ok) throw new Error("no descriptors");
  opened.push(...made.value);
  return made.value;
}

/** A run whose sandbox sleeps. @returns with it the inner stage's end of the control channel */
function sleepingRun(): { readonly run: Run; readonly inside: number } {
  const child = spawn({
    path: "/bin/sleep" as ByteString,
    argv: ["sleep", "2"] as ByteString[],
    environment: [],
    session: "own",
    descriptors: [],
  });
  if (!child.ok) throw new Error("no sleep");
  const handle = pidfdOpen(child.value);
  if (!handle.ok) throw new Error("no handle");
  opened.push(handle.value);
  const [from, to] = held(pipe());
  // At its end: bubblewrap has not named a child.
  const [status, statusTo] = held(pipe());
  close(statusTo);
  opened.splice(opened.indexOf(statusTo), 1);
  const [inside, outside] = held(socketPair("seqpacket"));
  opened.splice(opened.indexOf(outside), 1); // the handover's to close
  const run = {
    launch: { listenPorts: [3_128] },
    signals: { from, to },
    status,
    said: { text: "" },
    init: { handle: null },
    bwrap: child.value,
    bwrapHandle: handle.value,
    watcherHandle: from, // nothing ever comes from there
    channel: outside,
    timers: new Map(),
  } as unknown as Run;
  return { run, inside };
}

const NOBODY: NetworkService = {
  load: () => {},
  start: () => {},
  end: () => Promise.resolve(),
};

test("an inner stage that never hands its listeners over is not waited for, and its sandbox ends", () => {
  const { run } = sleepingRun();
  let now = 0;
  const clock = spyOn(performance, "now").mockImplementation(() =>
    now += 31_000
  );
  try {
    const { state, failure } = handOver(run, AT_ONCE, NOBODY);
    expect(failure?.message).toBe("the inner stage was not ready within 30 s");
    expect(state.kind).toBe("over");
  } finally {
    clock.mockRestore();
  }
});

test("an inner stage that hands over something else starts nothing", () => {
  const { run, inside } = sleepingRun();
  const word = stableBytes(3);
  word.set(Buffer.from("pty"));
  sendMessage(inside, word, []);
  const { state, failure } = handOver(run, AT_ONCE, NOBODY);
  expect(failure?.message).toContain("Cannot take over the listeners");
  expect(state.kind).toBe("over");
});

test("listeners that can't be served start nothing", () => {
  const { run, inside } = sleepingRun();
  const word = stableBytes(9);
  word.set(Buffer.from("listeners"));
  sendMessage(inside, word, [inside]);
  const { state, failure } = handOver(run, AT_ONCE, {
    ...NOBODY,
    start(): void {
      throw new Error("no listening socket");
    },
  });
  expect(failure?.message).toBe(
    "Cannot serve the managed network: no listening socket",
  );
  expect(state.kind).toBe("over");
});

const TITLES =
  "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const LO =
  "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001       lo\n";
const NAMESPACES = [ // route, ipv6_route, leads nowhere, why
  ["", "", true, "a namespace whose loopback is down"],
  [TITLES, LO, true, "the loopback's own routes"],
  [
    `${TITLES}eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`,
    LO,
    false,
    "a way out by IPv4",
  ],
  [TITLES, LO + LO.replace("      lo", "    eth0"), false, "a way by IPv6"],
] as const;
for (const [route, wider, isIsolated, why] of NAMESPACES) {
  test(`a caller's namespace leads ${isIsolated ? "nowhere" : "somewhere"}: ${why}`, () => {
    expect(leadsNowhere(route, wider)).toBe(isIsolated);
  });
}
