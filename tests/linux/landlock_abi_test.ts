/**
 * Landlock's versions as a table: what each one can restrict. Old kernels are emulated by passing their number.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import {
  fileBits,
  grantedRights,
  kernelWith,
  LANDLOCK_VERSIONS,
  netBits,
  rightsOf,
  scopeBits,
} from "../../src/linux/landlock_abi.ts";

/** Version, first kernel, bits of files, of the network, of scopes: written out from the kernel's header, version by version. */
const VERSIONS: readonly (readonly [number, string, number, number, number])[] =
  [
    [1, "5.13", 0x1fff, 0, 0],
    [2, "5.19", 0x3fff, 0, 0],
    [3, "6.2", 0x7fff, 0, 0],
    [4, "6.7", 0x7fff, 0b11, 0],
    [5, "6.10", 0xffff, 0b11, 0],
    [6, "6.12", 0xffff, 0b11, 0b11],
    [7, "6.15", 0xffff, 0b11, 0b11],
    [8, "7.0", 0xffff, 0b11, 0b11],
    [9, "7.1", 0x1ffff, 0b11, 0b11],
    [10, "7.2", 0x1ffff, 0b1111, 0b11],
  ];

for (const [version, kernel, files, net, scopes] of VERSIONS) {
  test(`Landlock ${version}, of Linux ${kernel}, can restrict these rights and no others`, () => {
    const rights = rightsOf(version);
    expect(LANDLOCK_VERSIONS[version - 1]?.kernel).toBe(kernel);
    expect([
      fileBits(rights.files),
      netBits(rights.net),
      scopeBits(rights.scopes),
    ]).toEqual([files, net, scopes]);
  });
}

test("the table has every version once, in order", () => {
  expect(LANDLOCK_VERSIONS.map(({ abi }) => abi))
    .toEqual(VERSIONS.map(([version]) => version));
});

test("a kernel without Landlock restricts nothing, one newer than the table what the newest does", () => {
  expect(rightsOf(0)).toEqual({ files: [], net: [], scopes: [] });
  expect(rightsOf(-1)).toEqual(rightsOf(0));
  expect(rightsOf(99)).toEqual(rightsOf(10));
});

test("no right is granted that the version doesn't know: the kernel would refuse the rule", () => {
  for (const [version, , files] of VERSIONS) {
    for (const access of ["read", "write", "device"] as const) {
      for (const node of ["directory", "file"] as const) {
        const bits = fileBits(grantedRights(version, access, node));
        expect([version, access, node, bits & ~files])
          .toEqual([version, access, node, 0]);
      }
    }
  }
});

/** The rights that landlock_add_rule(2) takes for something that is no directory. */
const ON_A_FILE = 0x7 | 0x4000 | 0x8000;

test("a rule for a file has only rights that a file can have", () => {
  for (const access of ["read", "write", "device"] as const) {
    const bits = fileBits(grantedRights(10, access, "file"));
    expect([access, bits & ~ON_A_FILE]).toEqual([access, 0]);
  }
});

const GRANTS = [ // version, access, node, rights, why
  [7, "read", "directory", "EXECUTE READ_FILE READ_DIR", "reading"],
  [7, "read", "file", "EXECUTE READ_FILE", "a file can't be listed"],
  [
    7,
    "write",
    "directory",
    "EXECUTE READ_FILE READ_DIR WRITE_FILE REMOVE_DIR REMOVE_FILE MAKE_DIR MAKE_REG MAKE_SOCK MAKE_FIFO MAKE_SYM REFER TRUNCATE",
    "all but devices",
  ],
  [
    1,
    "write",
    "directory",
    "EXECUTE READ_FILE READ_DIR WRITE_FILE REMOVE_DIR REMOVE_FILE MAKE_DIR MAKE_REG MAKE_SOCK MAKE_FIFO MAKE_SYM",
    "nothing moves between directories, and emptying can't be restricted",
  ],
  [
    7,
    "write",
    "file",
    "EXECUTE READ_FILE WRITE_FILE TRUNCATE",
    "nothing is made below a file",
  ],
  [
    4,
    "device",
    "file",
    "WRITE_FILE READ_FILE TRUNCATE",
    "before Linux 6.10 commands to devices are free",
  ],
] as const;
for (const [version, access, node, rights, why] of GRANTS) {
  test(`Landlock ${version} grants ${access} on a ${node} as ${rights}: ${why}`, () => {
    expect(grantedRights(version, access, node).join(" ")).toBe(rights);
  });
}

test("no grant lets devices be made", () => {
  for (const [version] of VERSIONS) {
    const rights = grantedRights(version, "write", "directory");
    expect(rights).not.toContain("MAKE_CHAR");
    expect(rights).not.toContain("MAKE_BLOCK");
  }
});

test("a right's kernel is the one of the version that brought it", () => {
  expect([kernelWith("EXECUTE"), kernelWith("REFER"), kernelWith("TRUNCATE")])
    .toEqual(["5.13", "5.19", "6.2"]);
});

const HEADER = "/usr/include/linux/landlock.h";
test.if(existsSync(HEADER))(
  "the bits are those of this machine's header, as far as it goes",
  () => {
    const defined = [
      ...readFileSync(HEADER, "utf8").matchAll(
        /^#define LANDLOCK_ACCESS_FS_(\w+)\s+\(1ULL << (\d+)\)/gm,
      ),
    ];
    // The first version has thirteen.
    expect(defined.length).toBeGreaterThanOrEqual(13);
    for (const [, name, bit] of defined) {
      expect([name, fileBits([name as "EXECUTE"])])
        .toEqual([name, 1 << Number(bit)]);
    }
  },
);
