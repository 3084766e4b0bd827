/**
 * Many masks: one run with more than upstream's bubblewrap can make, and the flags of every mount as that one sets them.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import { chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { outDir } from "../../scripts/build_files.ts";
import {
  ACTORS,
  BOTH_ACTORS,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
  setup,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

const MASKS = 1_900;
const STAGES = BOTH_ACTORS.flatMap((variant) => [
  variant,
  { ...variant, stage: "inner" as const },
]);

matrix(
  `${MASKS} files that a glob denies are all closed, under a hard limit of 256 open files`,
  STAGES,
  async (subject) => {
    const denied = denyAll(subject);
    const outcome = await subject.run(
      ["-P", "many", "--", "sh", "-c", READ_THEM],
      { shell: `ulimit -n 256; "$@"` },
    );
    expect({ ...outcome, denied }).toEqual({
      end: 0,
      stdout: `${MASKS} files, 0 bytes\n256\n`,
      stderr: "",
      denied: MASKS,
    });
  },
);

matrix(
  "the system's bubblewrap is refused for them, with the count and what would work",
  BOTH_ACTORS.filter(() => LAUNCHERS.includes("system"))
    .map((variant) => ({ ...variant, launcher: "system" as const })),
  async (subject) => {
    denyAll(subject);
    const outcome = await subject.run(["-P", "many", "--", "true"]);
    expect(outcome.end).toBe(125);
    expect(outcome.stderr).toMatch(
      /takes 9000 arguments at most, and the \d+ binds of this plan need \d+/,
    );
    expect(outcome.stderr).toContain("--launcher");
    expect(outcome.stderr.split("\n")).toHaveLength(2);
  },
);

const READ_THEM =
  'set -- d/*.env; echo "$# files, $(cat "$@" 2>/dev/null | wc -c) bytes"; ulimit -n';

/** Files with a letter in each, and a profile that hides them all. */
function denyAll({ home, work, uid }: Subject): number {
  mkdirSync(`${work}/d`);
  chownSync(`${work}/d`, uid, uid);
  for (let index = 0; index < MASKS; index++) {
    writeFileSync(`${work}/d/${index}.env`, "s");
  }
  writeFileSync(
    `${home}/config.toml`,
    `[permissions.many]
extends = ":read-only"
[permissions.many.filesystem]
"${work}/**/*.env" = "deny"
`,
  );
  return MASKS;
}

/** A tree of mounts as hosts have them; the last two are what upstream's walk leaves alone. */
const PREPARE = `set -e
mount --make-rprivate /
mount -t tmpfs t "$1"; cd "$1"
mkdir a b c "d e" f g h
mount -t tmpfs -o noexec,noatime t a
mkdir a/x; mount -t tmpfs -o nodiratime t a/x; mkdir a/x/y; mount -t tmpfs -o ro,nosuid,nodev,noexec t a/x/y
mount -t tmpfs -o ro t b
mount --bind a/x c
mount -t tmpfs -o size=64k t "d e"
touch f/file; mount --bind /dev/null f/file
mkdir g/low; mount -t tmpfs t g/low; mount -t tmpfs t g
mkdir h/in; mount -t tmpfs t h/in; chmod 0 h
shift; exec "$@"`;

const PLACES = [ // options of bubblewrap for a tree $B, why
  [["--ro-bind", "/", "/"], "all read-only"],
  [
    ["--ro-bind", "/", "/", "--bind", "$B", "$B"],
    "a writable tree keeps the read-only mounts in it",
  ],
  [
    ["--ro-bind", "/", "/", "--bind", "$B", "$B", "--ro-bind", "$B/a", "$B/a"],
    "a read-only tree below a writable one",
  ],
  [
    ["--bind", "/", "/", "--tmpfs", "$B/b", "--remount-ro", "$B/b"],
    "a remount is of one mount only",
  ],
  [
    ["--bind", "/", "/", "--remount-ro", "/"],
    "not even that of the root goes down",
  ],
  [
    ["--bind", "/", "/", "--dev-bind", "/dev", "/dev"],
    "where devices are passed they stay devices",
  ],
] as const;

const BUNDLED = `${outDir}/bwrap`;
const SYSTEM = "/usr/bin/bwrap";
const canCompare = ACTORS.includes("root") && LAUNCHERS.includes("system");
if (!canCompare) {
  notProved("flags of nested mounts", "needs root and /usr/bin/bwrap");
}
for (const actor of canCompare ? ACTORS : []) {
  for (const [options, why] of PLACES) {
    test(`every mount has the flags that upstream's bubblewrap sets, with mount_setattr(2) and without: ${why} [${actor}]`, async () => {
      const subject = setup({ actor: "root", launcher: "auto", stage: "auto" });
      const tree = `${subject.dir}/tree`;
      mkdirSync(tree);
      const filter = `${subject.dir}/filter`;
      writeFileSync(filter, NO_MOUNT_SETATTR);
      const table = async (
        bwrap: string,
        filtered: boolean,
      ): Promise<ReadonlyMap<string, string>> => {
        const words = [
          ...(actor === "root" ? [] : USER),
          ...[bwrap, "--unshare-user", "--unshare-pid"],
          ...options.map((word) => word.replace("$B", tree)),
          ...["--proc", "/proc", "--", "cat", "/proc/self/mountinfo"],
        ];
        const outer = filtered ? ["sh", "-c", OUTER, "sh", filter] : [];
        const { end, stdout, stderr } = await subject.outside([
          ...["unshare", "-m", "sh", "-c", PREPARE, "sh", tree],
          ...outer,
          ...words,
        ]);
        expect({ end, stderr }).toEqual({ end: 0, stderr: "" });
        return tableOf(stdout, tree);
      };
      const system = await table(SYSTEM, false);
      expect(system.size).toBeGreaterThan(7);
      expect(await table(BUNDLED, false)).toEqual(system);
      expect(await table(BUNDLED, true)).toEqual(await table(SYSTEM, true));
      rmSync(subject.dir, { recursive: true });
    });
  }
}

test.if(canCompare)(
  "a covered mount and one that the user can't reach are read-only too, which upstream leaves out",
  async () => {
    const subject = setup({ actor: "root", launcher: "auto", stage: "auto" });
    const tree = `${subject.dir}/tree`;
    mkdirSync(tree);
    const { stdout } = await subject.outside([
      ...["unshare", "-m", "sh", "-c", PREPARE, "sh", tree, ...USER, BUNDLED],
      ...["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/"],
      ...["--proc", "/proc", "--", "cat", "/proc/self/mountinfo"],
    ]);
    const lines = stdout.split("\n").filter((line) => line.includes(tree));
    expect(lines.length).toBeGreaterThan(10);
    expect(
      lines.filter((line) => !/ ro,nosuid,nodev(,|\s)/.test(line)),
    ).toEqual([]);
    rmSync(subject.dir, { recursive: true });
  },
);

/** A place from which mounts go on to whoever follows it, as on most hosts, and one that is made there while a command runs. */
const MOUNT_LATE = `set -e
tree=$1 work=$2; shift 2
mount --make-rprivate /
mount -t tmpfs t "$tree"; mount --make-shared "$tree"; mkdir "$tree/late"
"$@" & run=$!
until [ -e "$work/up" ]; do kill -0 "$run"; sleep 0.05; done
mount -t tmpfs t "$tree/late"; echo decoy > "$tree/late/file"; chmod 666 "$tree/late/file"
: > "$work/go"
wait "$run"; cat "$tree/late/file"`;

const LOOK_LATE = `: > up; until [ -e go ]; do sleep 0.05; done
cat "$0/late/file" 2>/dev/null; (echo changed > "$0/late/file") 2>/dev/null; echo looked`;

for (const actor of ACTORS.includes("root") ? ACTORS : []) {
  test(`what the host mounts during the run is neither seen nor written [${actor}]`, async () => {
    const subject = setup({ actor: "root", launcher: "auto", stage: "auto" });
    const { dir, home, work, codex, outside } = subject;
    const tree = `${dir}/tree`;
    mkdirSync(tree);
    if (actor === "user") {
      for (const path of [home, work]) chownSync(path, 65_534, 65_534);
    }
    const { end, stdout } = await outside([
      ...["unshare", "-m", "sh", "-c", MOUNT_LATE, "sh", tree, work],
      ...(actor === "root" ? [] : USER),
      ...[codex, "sandbox", "--launcher", "bundled", "-P", ":workspace"],
      ...["--", "sh", "-c", LOOK_LATE, tree],
    ]);
    expect({ end, stdout }).toEqual({ end: 0, stdout: "looked\ndecoy\n" });
    rmSync(dir, { recursive: true });
  });
}

const GONE = [ // below $B, what is said, why
  [
    "gone.env",
    /No such file or directory/,
    "a file that is not there any more",
  ],
  ["gone/x.env", /No such file or directory/, "nor its directory"],
  ["link.env", /symlink destination/, "a link in its place"],
  ["d", /Not a directory|Invalid argument/, "a directory in its place"],
] as const;
matrix(
  "a mask that has lost its file ends the start, and nothing is made on the host in its place",
  BOTH_ACTORS,
  async ({ outside, work }) => {
    await outside(["sh", "-c", `mkdir d; ln -s d/x link.env; echo s > d/x`]);
    for (const [name, says, why] of GONE) {
      const { end, stderr } = await outside([
        ...[BUNDLED, "--unshare-user", "--ro-bind", "/", "/"],
        ...["--bind", work, work, "--empty-file", `${work}/${name}`, "true"],
      ]);
      expect({ end, why }).toEqual({ end: 1, why });
      expect(stderr).toMatch(says);
    }
    const { stdout } = await outside(["find", ".", "-mindepth", "1"]);
    expect(stdout.split("\n").sort()).toEqual([
      "",
      "./d",
      "./d/x",
      "./link.env",
    ]);
  },
);

const USER = [
  ...["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"],
  "--",
];

/** In a sandbox of root's with all rights but one system call. */
const OUTER =
  `f=$1; shift; exec ${SYSTEM} --dev-bind / / --cap-add ALL --seccomp 9 -- "$@" 9<"$f"`;

/** struct sock_filter: load the number; if it is mount_setattr's answer EPERM, as older container filters do, else allow. */
const NO_MOUNT_SETATTR = program([
  [0x20, 0, 0, 0],
  [0x15, 0, 1, 442],
  [0x06, 0, 0, 0x0005_0001],
  [0x06, 0, 0, 0x7fff_0000],
]);

function program(
  instructions: readonly (readonly [number, number, number, number])[],
): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8 * instructions.length));
  for (const [index, [code, yes, no, k]] of instructions.entries()) {
    bytes.setUint16(8 * index, code, true);
    bytes.setUint8(8 * index + 2, yes);
    bytes.setUint8(8 * index + 3, no);
    bytes.setUint32(8 * index + 4, k, true);
  }
  return new Uint8Array(bytes.buffer);
}

/** Options by place, of the topmost mount; without what lies under another mount or in a closed directory. */
function tableOf(text: string, tree: string): ReadonlyMap<string, string> {
  const mounts = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, , , , place = "", options = ""] = line.split(" ");
    if (place === `${tree}/g/low` || place.startsWith(`${tree}/h`)) continue;
    if (place.startsWith(tree) || place === "/") mounts.set(place, options);
  }
  return mounts;
}
