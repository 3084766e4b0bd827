/**
 * The small program that makes a proxied run's listeners inside and becomes the command: the inner stage where nothing else is to be
 * done there, without a start of the runtime.
 *
 * It keeps the order of the inner stage: no capability is left, the listeners are handed over, the supervisor serves them, nothing of
 * ours is open, then the command. Any step that fails ends it with a line and a status; nothing is left out.
 *
 * Pure. The supervisor's half is `control_channel.ts`.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import * as abi from "../sys/abi.ts";
import {
  assembleProgram,
  type Block,
  type Call,
  COMPARE,
} from "./small_program.ts";

/** What a run's listening program is made for. */
export interface Listening {
  readonly arch: abi.Arch;
  /** Ports of 127.0.0.1. */
  readonly ports: readonly number[];
  /** The control channel's inner end. */
  readonly channel: number;
  /** The descriptor that the program itself is executed from. */
  readonly self: number;
  /** Where the command lies, as execvp(3) would spell it. */
  readonly place: ByteString;
  /** The command's own name for itself in messages. */
  readonly name: string;
}

/** What is handed over, and the answer: words of the control channel. */
const LISTENERS = "listeners";
const ACCEPTED = "accepted";

const OURS = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** The program as an ELF file. Its argv is a word of ours and the command's. */
export function listeningProgram(
  listening: Listening,
): Uint8Array<ArrayBuffer> {
  return assembleProgram(listening.arch, {
    calls: listeningCalls(listening),
    ownWords: 1,
  });
}

/** What it does. */
function listeningCalls(listening: Listening): readonly Call[] {
  const { arch, ports, channel, self, place, name } = listening;
  const SYS = abi.SYSCALLS[arch];
  const end = (status: number, message: string): readonly Call[] => {
    const line = block(Buffer.from(`codex: ${message}\n`, "utf8"));
    return [
      { number: SYS.write, words: [2, line, line.bytes.length] },
      { number: SYS.exit_group, words: [status] },
    ];
  };
  const must = (
    goOn: readonly Call[],
    least = 0,
  ): NonNullable<Call["below"]> => ({ least, goOn });
  const rights = rightsOf(ports.length);
  const lost = end(
    OURS,
    "Cannot start without the managed network: the host bridge did not accept its listener",
  );
  // Longer than the word, so that a longer one is seen.
  const answer = { count: block(8), bytes: block(64) };
  const failure = block(8);
  const gone = end(
    NOT_FOUND,
    `Failed to execvp ${name}: command not found (ENOENT)`,
  );
  return [
    ...withoutCapabilities(
      SYS,
      end(OURS, "Linux sandbox retained effective or permitted capabilities"),
    ),
    ...ports.flatMap((port, index): Call[] => {
      const failed = end(
        OURS,
        `Cannot listen on 127.0.0.1:${port} for the managed network; --stage inner says why`,
      );
      const fd = {
        in: rights,
        offset: abi.CMSGHDR.bytes + 4 * index,
      };
      return [
        {
          number: SYS.socket,
          words: [
            abi.AF_INET,
            abi.SOCK_STREAM | abi.SOCK_CLOEXEC | abi.SOCK_NONBLOCK,
            0,
          ],
          into: fd,
          below: must(failed),
        },
        {
          number: SYS.bind,
          words: [fd, loopback(port), 16],
          below: must(failed),
        },
        { number: SYS.listen, words: [fd, BACKLOG], below: must(failed) },
      ];
    }),
    {
      number: SYS.sendmsg,
      words: [channel, message(LISTENERS, rights), abi.MSG_NOSIGNAL],
      below: must(lost, LISTENERS.length),
    },
    {
      number: SYS.read,
      words: [channel, answer.bytes, answer.bytes.bytes.length],
      into: { in: answer.count, offset: 0 },
      below: must(lost),
    },
    {
      number: COMPARE,
      words: [{ in: answer.count, offset: 0 }, ACCEPTED.length],
      below: must(lost),
    },
    {
      number: COMPARE,
      words: [
        { in: answer.bytes, offset: 0 },
        { in: block(Buffer.from(ACCEPTED, "latin1")), offset: 0 },
      ],
      below: must(lost),
    },
    // The listeners close by themselves when the command begins.
    { number: SYS.close, words: [channel], below: must(lost) },
    { number: SYS.close, words: [self], below: must(lost) },
    {
      number: SYS.execve,
      words: [
        block(Buffer.from(`${place}\0`, "latin1")),
        "argv",
        "environment",
      ],
      into: { in: failure, offset: 0 },
    },
    {
      number: COMPARE,
      // The result's lower half is kept.
      words: [{ in: failure, offset: 0 }, 2 ** 32 - abi.ENOENT],
      below: must(
        end(NOT_EXECUTABLE, `Failed to execvp ${name}: it can't be executed`),
      ),
    },
    ...gone,
  ];
}

/** A sandbox whose first program still has capabilities could undo its own mounts: never go on in one (capget(2)). */
function withoutCapabilities(
  SYS: abi.SyscallNumbers,
  refuse: readonly Call[],
): readonly Call[] {
  const header = block(8);
  new DataView(header.bytes.buffer).setUint32(
    0,
    LINUX_CAPABILITY_VERSION_3,
    true,
  );
  // Twice effective, permitted and inheritable, 32 bits each; all bits set, so that a call that writes nothing is noticed.
  const sets: Block = { bytes: new Uint8Array(24).fill(0xff) };
  const none = (offset: number): Call => ({
    number: COMPARE,
    words: [{ in: sets, offset }, 0],
    below: { least: 0, goOn: refuse },
  });
  return [
    {
      number: SYS.capget,
      words: [header, sets],
      below: { least: 0, goOn: refuse },
    },
    none(0),
    none(12),
  ];
}

/** `linux/capability.h`. */
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

/** As `sys/sockets.ts` has it. */
const BACKLOG = 4_096;

/** A control message for so many descriptors, which come into it later (cmsg(3)). */
function rightsOf(count: number): Block {
  // An argument is read as 8 bytes: behind the last descriptor there is room.
  const bytes = new Uint8Array((abi.CMSGHDR.bytes + 4 * count + 15) & ~7);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, abi.CMSGHDR.bytes + 4 * count, true);
  view.setInt32(abi.CMSGHDR.level, abi.SOL_SOCKET, true);
  view.setInt32(abi.CMSGHDR.type, abi.SCM_RIGHTS, true);
  return { bytes };
}

/** struct msghdr with one piece. */
function message(word: string, rights: Block): Block {
  const vector = block(16);
  new DataView(vector.bytes.buffer).setUint32(8, word.length, true);
  const header = new Uint8Array(abi.MSGHDR.bytes);
  const view = new DataView(header.buffer);
  view.setUint32(abi.MSGHDR.iovlen, 1, true);
  const used = new DataView(rights.bytes.buffer).getUint32(0, true);
  view.setUint32(abi.MSGHDR.controllen, used, true);
  return {
    bytes: header,
    pointers: [
      [abi.MSGHDR.iov, {
        bytes: vector.bytes,
        pointers: [[0, block(Buffer.from(word, "latin1"))]],
      }],
      [abi.MSGHDR.control, rights],
    ],
  };
}

/** struct sockaddr_in (`netinet/in.h`). */
function loopback(port: number): Block {
  const name = block(16);
  const view = new DataView(name.bytes.buffer);
  view.setUint16(0, abi.AF_INET, true);
  view.setUint16(2, port, false);
  view.setUint32(4, 0x7f00_0001, false);
  return name;
}

/** So many zero bytes, or a copy of these. */
function block(
  content: number | Uint8Array,
): Block & { readonly bytes: Uint8Array<ArrayBuffer> } {
  return {
    bytes: typeof content === "number"
      ? new Uint8Array(content)
      : new Uint8Array(content),
  };
}
