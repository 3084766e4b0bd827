/**
 * How many clients a run's network serves at once, by the descriptors that it may have.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { prepareService } from "../../src/egress/service.ts";
import { abs } from "../../src/policy/path.ts";
import {
  lines,
  listenFd,
  openClient,
  policyOf,
  type RawClient,
  startOrigin,
} from "./fixtures.ts";

/** Enough for two clients: two descriptors each, beside those of the run. */
const FILES = 192 + 2 * 2;

/** The third client waits until one of the others ends. */
async function expectTwoAtOnce(
  port: number,
  isServed: (received: string) => boolean,
): Promise<void> {
  const clients: RawClient[] = [];
  for (let i = 0; i < 3; i++) {
    const client = await openClient(port);
    clients.push(client);
    client.socket.write(lines("GET http://elsewhere.test/ HTTP/1.1"));
    if (i < 2) await client.until(isServed);
  }
  const [first, , third] = clients;
  await Bun.sleep(50);
  expect(third?.received).toBe("");
  first?.socket.destroy();
  await third?.until(isServed);
  for (const client of clients) client.socket.destroy();
}

test("a log that can't be opened is no reason to go on without one", () => {
  const service = prepareService({
    kind: "managed",
    policy: policyOf({}),
    environment: [],
    domainsTable: "[t]",
    report: "never",
    log: abs("/proc/none/log"),
  }, () => {});
  expect(service.ok ? "goes on" : service.error).toStartWith(
    "Cannot open the network log /proc/none/log: ",
  );
});

test("a proxy serves as many clients as it has descriptors for", async () => {
  const http = listenFd();
  const service = prepareService({
    kind: "managed",
    policy: policyOf({}),
    environment: [],
    domainsTable: "[t]",
    report: "never",
    log: null,
  }, () => {});
  if (!service.ok) throw new Error(service.error);
  service.value.start([http.fd], FILES);
  try {
    await expectTwoAtOnce(http.port, (text) => text.includes("403"));
  } finally {
    await service.value.end(false);
  }
});

test("a relay to a caller's proxy serves as many clients as it has descriptors for", async () => {
  await using proxy = await startOrigin(({ socket }) => socket.write("it"));
  const inside = listenFd();
  const service = prepareService({
    kind: "relayed",
    endpoints: [{ address: "127.0.0.1", port: proxy.port }],
    preface: null,
  }, () => {});
  if (!service.ok) throw new Error(service.error);
  service.value.start([inside.fd], FILES);
  try {
    await expectTwoAtOnce(inside.port, (text) => text.startsWith("it"));
  } finally {
    await service.value.end(false);
  }
});
