/**
 * Which of the known places of daemons' sockets are taken for one: what somebody else can put there must hide nothing of others.
 *
 * @module
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
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

/** Places below a base, by the names that are there. */
function inGroup(...names: string[]): readonly string[] {
  const groups = [{ base: abs(base), known: [["test", ...names]] as const }];
  return findSockets(new Map(), { groups, single: [] }, US).map((found) =>
    `${found.node} ${found.path.slice(base.length + 1)}`
  );
}

test("known places below a base are looked for by their kind", () => {
  mkdirSync(`${base}/deep`);
  Bun.spawnSync(["mkfifo", `${base}/deep/pipe`]);
  expect(inGroup("socket", "folder/", "deep/pipe", "gone/none", "file"))
    .toEqual(["socket socket", "directory folder", "socket deep/pipe"]);
});

test("a base that is not there has no places", () => {
  const groups = [{
    base: abs(`${base}/gone`),
    known: [["test", "socket"]] as const,
  }];
  expect(findSockets(new Map(), { groups, single: [] }, US)).toEqual([]);
});

test("a socket is hidden where it is, and once, whatever leads to it", () => {
  symlinkSync("socket", `${base}/other`);
  expect(inGroup("other", "socket")).toEqual(["socket socket"]);
});

test("what a run of root's can't reach is not looked at", () => {
  const shut = `${base}/shut`;
  mkdirSync(shut, { mode: 0o700 });
  Bun.spawnSync(["mkfifo", `${shut}/pipe`]);
  // Somebody else's to root, who has no capability in a run.
  if (US === 0) chownSync(shut, 65_534, 65_534);
  const single = [{
    path: abs(`${shut}/pipe`),
    node: "socket" as const,
    daemon: "test",
  }];
  const found = [0o700, 0o711].map((mode) => {
    chmodSync(shut, mode);
    return findSockets(new Map(), { groups: [], single }, 0).length;
  });
  expect(found).toEqual([0, 1]);
});
