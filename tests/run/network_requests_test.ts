import { expect, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import type { RunConfig } from "../../src/config/config.ts";
import type { Origin } from "../../src/host/origin.ts";
import {
  callersNetwork,
  managedNetwork,
} from "../../src/run/network_requests.ts";
import { policyOf } from "../egress/fixtures.ts";

const entries = (...list: string[]): ByteString[] => list as ByteString[];

test("the proxy further up is the caller's, never one that a set table or the command's environment names", () => {
  const run = {
    name: "ci",
    network: { rules: policyOf({}) },
  } as unknown as RunConfig;
  const caller = entries("HTTP_PROXY=http://callers.test:1");
  const served = managedNetwork(
    run,
    { report: "never", log: null },
    { environment: caller } as unknown as Origin,
    entries("HTTP_PROXY=http://commands.test:2", "A=b"),
  );
  const network = served.ok ? served.value.network : null;
  expect(network?.kind === "managed" && network.environment).toEqual(caller);
});

test("a caller's token that is no token stops the run", () => {
  const served = callersNetwork(
    { kind: "environment", routeSpecJson: null },
    entries(
      "HTTP_PROXY=http://127.0.0.1:9",
      "CODEX_NETWORK_PROXY_ATTRIBUTION=",
    ),
  );
  expect(served).toEqual({
    ok: false,
    error:
      "Cannot use CODEX_NETWORK_PROXY_ATTRIBUTION: a token has 1 to 128 bytes",
  });
});
