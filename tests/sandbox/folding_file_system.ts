/**
 * A file system that ignores case and that the kernel doesn't know to: a few fixed names, served over `/dev/fuse`.
 *
 * Run as a program: `bun folding_file_system.ts DIRECTORY UID`. It says `mounted`, serves until it is unmounted, and ends. Structures
 * are those of `linux/fuse.h`, protocol 7.31.
 *
 * @module
 */
import { openSync, readSync, writeSync } from "node:fs";
import process from "node:process";

const [directory = "", uid = "0"] = process.argv.slice(2);

interface Node {
  readonly id: number;
  readonly parent: number;
  readonly name: string;
  readonly isDirectory: boolean;
}
const NODES: readonly Node[] = [
  { id: 1, parent: 0, name: "", isDirectory: true },
  { id: 2, parent: 1, name: ".git", isDirectory: true },
  { id: 3, parent: 1, name: ".agents", isDirectory: true },
  { id: 4, parent: 1, name: ".codex", isDirectory: true },
  { id: 5, parent: 2, name: "head", isDirectory: false },
];

const [LOOKUP, FORGET, GETATTR, OPEN, STATFS] = [1, 2, 3, 14, 17];
const [INIT, OPENDIR, READDIR, ACCESS, BATCH_FORGET] = [26, 27, 28, 34, 42];
const ENOENT = -2;
const ENOSYS = -38;

function attributes(node: Node): Buffer {
  const bytes = Buffer.alloc(88);
  bytes.writeBigUInt64LE(BigInt(node.id), 0);
  bytes.writeUInt32LE(node.isDirectory ? 0o040755 : 0o100644, 60);
  bytes.writeUInt32LE(node.isDirectory ? 2 : 1, 64);
  bytes.writeUInt32LE(Number(uid), 68);
  bytes.writeUInt32LE(Number(uid), 72);
  bytes.writeUInt32LE(4096, 80);
  return bytes;
}

/** The body of the answer, an errno, or `null` where none is wanted. */
function answer(
  opcode: number,
  nodeId: number,
  body: Buffer,
): Buffer | number | null {
  const node = NODES.find(({ id }) => id === nodeId);
  switch (opcode) {
    case INIT: {
      const out = Buffer.alloc(64);
      out.writeUInt32LE(7, 0);
      out.writeUInt32LE(31, 4);
      out.writeUInt32LE(4096, 20);
      return out;
    }
    case FORGET:
    case BATCH_FORGET:
      return null;
    case LOOKUP: {
      const name = body.toString("latin1", 0, body.indexOf(0)).toLowerCase();
      const found = NODES.find((it) =>
        it.parent === nodeId && it.name === name
      );
      if (found === undefined) return ENOENT;
      const entry = Buffer.alloc(40);
      entry.writeBigUInt64LE(BigInt(found.id), 0);
      return Buffer.concat([entry, attributes(found)]);
    }
    case GETATTR:
      return node === undefined
        ? ENOENT
        : Buffer.concat([Buffer.alloc(16), attributes(node)]);
    case OPEN:
    case OPENDIR:
      return Buffer.alloc(16);
    case READDIR: {
      const offset = Number(body.readBigUInt64LE(8));
      const children = NODES.filter(({ parent }) => parent === nodeId);
      return Buffer.concat(
        children.slice(offset).map((child, index) => {
          const padded = Math.ceil(child.name.length / 8) * 8;
          const entry = Buffer.alloc(24 + padded);
          entry.writeBigUInt64LE(BigInt(child.id), 0);
          entry.writeBigUInt64LE(BigInt(offset + index + 1), 8);
          entry.writeUInt32LE(child.name.length, 16);
          entry.writeUInt32LE(child.isDirectory ? 4 : 8, 20);
          entry.write(child.name, 24, "latin1");
          return entry;
        }),
      );
    }
    case STATFS:
      return Buffer.alloc(80);
    case ACCESS:
      return 0;
    default:
      return ENOSYS;
  }
}

const device = openSync("/dev/fuse", "r+");
const mounted = Bun.spawnSync([
  ...["mount", "-i", "-t", "fuse", "-o"],
  "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,nosuid,nodev",
  ...["codex-test", directory],
], { stdio: ["ignore", "inherit", "inherit", device] });
if (!mounted.success) process.exit(1);
process.stdout.write("mounted\n");
const request = Buffer.alloc(1 << 18);
for (;;) {
  let length: number;
  try {
    length = readSync(device, request);
  } catch {
    break; // unmounted
  }
  const [opcode, unique] = [
    request.readUInt32LE(4),
    request.readBigUInt64LE(8),
  ];
  const nodeId = Number(request.readBigUInt64LE(16));
  const said = answer(opcode, nodeId, request.subarray(40, length));
  if (said === null) continue;
  const body = typeof said === "number" ? Buffer.alloc(0) : said;
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeInt32LE(typeof said === "number" ? said : 0, 4);
  head.writeBigUInt64LE(unique, 8);
  try {
    writeSync(device, Buffer.concat([head, body]));
  } catch {
    // whoever asked is gone
  }
}
