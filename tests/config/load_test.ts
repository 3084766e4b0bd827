/**
 * The real host's files: what is read, and what a workspace can't make us read.
 *
 * @module
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromText } from "../../src/bytes.ts";
import { describeConfigError } from "../../src/config/config.ts";
import { CONFIG_HOST, MAX_FILE_BYTES } from "../../src/config/host_files.ts";
import { loadConfig, loadFile } from "../../src/config/load.ts";
import { LOAD_OPTIONS } from "../../src/config/read_layer.ts";
import { abs, type AbsPath } from "../../src/policy/path.ts";
import { NO_REQUEST } from "./setup.ts";

let base: string;
const at = (name: string): AbsPath => abs(fromText(join(base, name)));

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "config-load-"));
  mkdirSync(join(base, "etc"));
  mkdirSync(join(base, "home/.codex"), { recursive: true });
  writeFileSync(join(base, "plain"), "a = 1\n");
  writeFileSync(join(base, "exact"), Buffer.alloc(MAX_FILE_BYTES, "#"));
  writeFileSync(join(base, "large"), Buffer.alloc(MAX_FILE_BYTES + 1, "#"));
  writeFileSync(join(base, "binary"), Buffer.from([0x61, 0xff]));
  symlinkSync("plain", join(base, "link"));
  symlinkSync("loop", join(base, "loop"));
  symlinkSync("gone/x", join(base, "dangling"));
  mkdirSync(join(base, "directory"));
  execFileSync("mkfifo", [join(base, "fifo")]);
});
afterAll(() => rmSync(base, { recursive: true }));

const READS = [ // name, links, outcome
  ["plain", "refuse", "6 bytes"],
  ["link", "follow", "6 bytes"],
  ["link", "refuse", "ELOOP: a symbolic link stands in the way"],
  ["loop", "follow", "ELOOP: a symbolic link stands in the way"],
  ["missing", "refuse", "missing"],
  ["plain/x", "refuse", "missing"],
  ["fifo", "refuse", "it must be a regular file"],
  ["directory", "follow", "it must be a regular file"],
  ["exact", "refuse", `${MAX_FILE_BYTES} bytes`],
  ["large", "refuse", "it is larger than 1 MiB"],
] as const;

describe("reading", () => {
  for (const [name, links, outcome] of READS) {
    test(`${name}, links ${links}: ${outcome}`, () => {
      const read = CONFIG_HOST.readFile(at(name), links);
      const seen = !read.ok
        ? read.error
        : read.value === null
        ? "missing"
        : `${read.value.bytes.length} bytes`;
      expect(seen).toBe(outcome);
    });
  }
});

test("real paths follow links and keep a missing end", () => {
  const names = ["link", "dangling", "loop", "directory/../link/../x"];
  expect(names.map((name) => CONFIG_HOST.realPath(at(name)))).toEqual([
    at("plain"),
    at("gone/x"),
    null,
    at("x"),
  ]);
});

test("kinds with and without links", () => {
  const kinds = (name: string) => [
    CONFIG_HOST.kindOf(at(name), "refuse"),
    CONFIG_HOST.kindOf(at(name), "follow"),
  ];
  expect(["link", "fifo", "directory", "missing", "loop"].map(kinds)).toEqual([
    ["symlink", "file"],
    ["other", "other"],
    ["directory", "directory"],
    ["missing", "missing"],
    ["symlink", "unreadable"],
  ]);
});

function loaded(): ReturnType<typeof loadConfig> {
  return loadConfig(NO_REQUEST, {
    cwd: at("directory"),
    environment: [fromText(`HOME=${base}/home`)],
    uid: 0,
  }, { ...LOAD_OPTIONS, systemDirectory: at("etc") });
}

test("no files, no layers", () => {
  const config = loaded();
  expect(config.ok && [config.value.layers, config.value.files])
    .toEqual([[], []]);
});

test("a file of the user is read through its link, and both are our own", () => {
  symlinkSync(join(base, "plain"), join(base, "home/.codex/config.toml"));
  const config = loaded();
  rmSync(join(base, "home/.codex/config.toml"));
  expect(config.ok && config.value.files)
    .toEqual([at("home/.codex/config.toml"), at("plain")]);
});

test("where a link of the user's leads to no file yet is our own too", () => {
  symlinkSync(join(base, "gone/x"), join(base, "home/.codex/config.toml"));
  const config = loaded();
  rmSync(join(base, "home/.codex/config.toml"));
  expect(config.ok && [config.value.layers, config.value.files])
    .toEqual([[], [at("home/.codex/config.toml"), at("gone/x")]]);
});

test("a file that is no UTF-8, or none at all, is refused by name", () => {
  const origin = { cwd: at("directory"), environment: [], uid: 0 };
  const lines = ["binary", "missing", "fifo"].map((name) => {
    const file = loadFile(at(name), origin);
    return file.ok ? "read" : describeConfigError(file.error);
  });
  expect(lines).toEqual([
    `Cannot read config file "${base}/binary": it is not UTF-8`,
    `Cannot read config file "${base}/missing": no such file`,
    `Cannot read config file "${base}/fifo": it must be a regular file`,
  ]);
});
