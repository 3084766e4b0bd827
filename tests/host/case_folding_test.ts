import { afterAll, expect, test } from "bun:test";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import type { ByteString } from "../../src/bytes.ts";
import {
  foldingDevices,
  foldsCase,
  turnCase,
} from "../../src/host/case_folding.ts";
import { NO_OWN_PATHS } from "../../src/policy/facts.ts";
import { type FactMap, probePath } from "../../src/host/probe.ts";
import { abs } from "../../src/policy/path.ts";
import { fail, ok } from "../../src/result.ts";
import { policyOf } from "../policy/world.ts";

const base = realpathSync(mkdtempSync(`${tmpdir()}/codex-folding-`));
afterAll(() => rmSync(base, { recursive: true }));

test("a directory that tells spellings apart doesn't fold", () => {
  writeFileSync(`${base}/abc`, "");
  writeFileSync(`${base}/ABC`, "");
  expect(foldsCase(abs(base), true)).toBe(false);
  expect(foldsCase(abs(`${base}/none`), true)).toBe(false);
});

test("one in which two spellings are one file does: a hard link plays the second", () => {
  writeFileSync(`${base}/.git`, "");
  linkSync(`${base}/.git`, `${base}/.GIT`);
  expect(foldsCase(abs(`${base}/.git`), false)).toBe(true);
});

/** A directory in which a hard link plays the second spelling of one name, among many names without letters. */
function foldingDirectory(name: string, others = 0): string {
  const at = `${base}/${name}`;
  mkdirSync(at);
  writeFileSync(`${at}/abc`, "");
  linkSync(`${at}/abc`, `${at}/ABC`);
  for (let other = 0; other < others; other++) {
    writeFileSync(`${at}/${other}`, "");
  }
  return at;
}

test("a directory is told by what lies in it, if it is one", () => {
  const at = foldingDirectory("1");
  expect([foldsCase(abs(at), true), foldsCase(abs(at), false)])
    .toEqual([true, false]);
});

test("names without letters say nothing, however many they are", () => {
  expect(foldsCase(abs(foldingDirectory("2", 600)), true)).toBe(true);
});

test("nothing is looked at behind a link", () => {
  foldingDirectory("3");
  symlinkSync("3", `${base}/4`);
  expect(foldsCase(abs(`${base}/4`), true)).toBe(false);
});

const FUSE = 0x65735546;
const EXT4 = 0xef53;
const DEVICES = [ // type, device of the root, whether it is found, why
  [ok(FUSE), -1, true, "a program serves it"],
  [ok(EXT4), -1, false, "the kernel knows which names are one on its own"],
  [
    fail({ kind: "sys", call: "statfs", errno: 5 } as const),
    -1,
    false,
    "nobody knows what it is",
  ],
  [ok(FUSE), null, false, "the root's own file system"],
] as const;
for (const [type, rootDevice, isFound, why] of DEVICES) {
  test(`a place on which names ignore case is ${isFound ? "" : "not "}told: ${why}`, () => {
    const at = `${base}/1`;
    const paths: FactMap = new Map();
    for (const path of [at, `${base}/none`]) probePath(paths, abs(path));
    const device = paths.get(abs(at))!.device;
    paths.set(abs("/"), {
      ...paths.get(abs("/"))!,
      device: rootDevice ?? device,
    });
    const facts = {
      paths,
      gitPointers: new Map(),
      globMatches: [],
      own: NO_OWN_PATHS,
    };
    const policy = policyOf([[`${base}/none`, "write"], [at, "write"]], {
      cwd: `${base}/none`,
    });
    expect([...foldingDevices(policy, facts, () => type)])
      .toEqual(isFound ? [device] : []);
  });
}

test("only letters of ASCII are turned", () => {
  expect(turnCase(".gIt-9\xe9" as ByteString)).toBe(".GiT-9\xe9" as ByteString);
  expect(turnCase("12" as ByteString)).toBe("12" as ByteString);
});
