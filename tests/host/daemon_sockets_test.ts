/**
 * Which of the known places of daemons' sockets are taken for one: what somebody else can put there must hide nothing of others.
 *
 * @module
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { findSockets } from "../../src/host/daemon_sockets.ts";
import type { KnownSocket } from "../../src/policy/daemon_sockets.ts";
import { abs } from "../../src/policy/path.ts";

const US = process.geteuid?.() ?? 0;
let base = "";
let server: Server;

beforeAll(async () => {
  base = realpathSync(mkdtempSync(`${tmpdir()}/sock-`));
  mkdirSync(`${base}/folder`, { mode: 0o700 });
  mkdirSync(`${base}/open`);
  chmodSync(`${base}/open`, 0o755);
  symlinkSync("folder", `${base}/link`);
  writeFileSync(`${base}/file`, "");
  server = createServer();
  await new Promise<void>((done) => server.listen(`${base}/socket`, done));
});
afterAll(() => {
  server.close();
  rmSync(base, { recursive: true });
});

const PLACES: readonly (readonly [
  name: string,
  node: KnownSocket["node"],
  euid: number,
  isFound: boolean,
  why: string,
])[] = [
  ["socket", "socket", US, true, "a socket"],
  ["file", "socket", US, false, "a file of that name"],
  ["gone", "socket", US, false, "nothing"],
  ["folder", "directory", US, true, "a folder"],
  ["link", "directory", US, false, "a link is somebody's trick"],
  ["file", "directory", US, false, "a file of that name"],
  ["folder", "private_directory", US, true, "the user's own, closed"],
  ["open", "private_directory", US, false, "others can look into it"],
  ["folder", "private_directory", US + 1, false, "another's"],
];

for (const [name, node, euid, isFound, why] of PLACES) {
  test(`${name} as ${node} of ${euid === US ? "ours" : "another"} is ${isFound ? "" : "not "}taken for one: ${why}`, () => {
    const single = [{ path: abs(`${base}/${name}`), node, daemon: "test" }];
    const found = findSockets(new Map(), { groups: [], single }, euid);
    expect(found.length).toBe(isFound ? 1 : 0);
  });
}
