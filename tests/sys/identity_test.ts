/**
 * Whose rights a thread has, as the kernel tells it: for a piece of work, for good, and without capabilities. Each in a process of its
 * own; an ordinary user can become nobody else, so that is shown by root alone.
 *
 * @module
 */
import { expect, test } from "bun:test";

const IS_ROOT = process.geteuid?.() === 0;
const SOURCES = `${import.meta.dirname}/../../src/sys`;
const PRELUDE = `
import { readFileSync } from "node:fs";
import { stableBytes, syscall } from "${SOURCES}/ffi.ts";
import { SYS } from "${SOURCES}/outcome.ts";
import { asUser, becomeUser, dropCapabilities } from "${SOURCES}/identity.ts";
/** Lines of proc_pid_status(5), of the thread that asks. */
const status = (...names) => Object.fromEntries(names.map((name) => {
  const text = readFileSync("/proc/thread-self/status", "utf8");
  return [name, new RegExp("^" + name + ":(.*)$", "m").exec(text)[1].trim().replaceAll("\\t", " ")];
}));
const USER = { uid: 65534, gid: 65533 };
const tell = (value) => console.log(JSON.stringify(value));
`;

/** Runs a script and gives back the lines that it told. */
function run(script: string): unknown[] {
  const { stdout, stderr } = Bun.spawnSync([
    process.execPath,
    "-e",
    PRELUDE + script,
  ]);
  const told = stdout.toString().split("\n").filter((line) => line !== "");
  if (told.length === 0) throw new Error(stderr.toString());
  return told.map((line) => JSON.parse(line) as unknown);
}

test.if(IS_ROOT)(
  "a process that becomes a user keeps nothing of root's",
  () => {
    expect(run(`
    becomeUser(USER);
    tell(status("Uid", "Gid", "Groups", "CapPrm", "CapEff"));
  `)).toEqual([{
      Uid: "65534 65534 65534 65534",
      Gid: "65533 65533 65533 65533",
      Groups: "",
      CapPrm: "0000000000000000",
      CapEff: "0000000000000000",
    }]);
  },
);

test.if(IS_ROOT)(
  "a piece of work has a user's rights, and root has his own back, also when it throws",
  () => {
    const told = run(`
    syscall(SYS.setgroups, 1, stableBytes(4)); // group 0
    const before = status("Uid", "Gid", "Groups", "CapEff");
    const during = asUser(USER, () => status("Uid", "Gid", "Groups", "CapEff"));
    try {
      asUser(USER, () => { throw new Error(); });
    } catch {}
    const after = status("Uid", "Gid", "Groups", "CapEff");
    tell([during.value, JSON.stringify(before) === JSON.stringify(after), before.Groups]);
  `);
    expect(told).toEqual([[
      {
        Uid: "65534 65534 0 65534",
        Gid: "65533 65533 0 65533",
        Groups: "",
        CapEff: "0000000000000000",
      },
      true,
      "0",
    ]]);
  },
);

/** Makes the lowest capability that we have an ambient one: a program that is executed would get it, whoever we are by then. */
const RAISE_AMBIENT = `
const header = stableBytes(8);
new DataView(header.buffer).setUint32(0, 0x20080522, true);
const sets = stableBytes(24);
syscall(SYS.capget, header, sets);
const words = new DataView(sets.buffer); // effective, permitted, inheritable, of the low half
const lowest = words.getUint32(4, true) & -words.getUint32(4, true);
words.setUint32(8, lowest, true);
syscall(SYS.capset, header, sets);
syscall(SYS.prctl, 47, 2, 31 - Math.clz32(lowest), 0, 0);
`;

test.if(IS_ROOT)("an ambient capability is no user's", () => {
  const [before, during] = run(`${RAISE_AMBIENT}
    tell(status("CapAmb"));
    tell(asUser(USER, () => status("CapAmb")).value);
  `);
  expect(before).not.toEqual({ CapAmb: "0000000000000000" });
  expect(during).toEqual({ CapAmb: "0000000000000000" });
});

test("a process that gives its capabilities up has none in any set that can be emptied", () => {
  const told = run(`${IS_ROOT ? RAISE_AMBIENT : ""}
    const maySetBounds = (parseInt(status("CapEff").CapEff.slice(-4), 16) & 1 << 8) !== 0;
    dropCapabilities();
    tell(status("CapInh", "CapPrm", "CapEff", "CapAmb"));
    tell(maySetBounds ? status("CapBnd").CapBnd : null);
  `);
  const none = "0000000000000000";
  expect(told[0])
    .toEqual({ CapInh: none, CapPrm: none, CapEff: none, CapAmb: none });
  // CAP_SETPCAP is what it takes.
  expect([none, null]).toContain(told[1] as string | null);
});
