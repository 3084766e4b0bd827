/**
 * The program that waits in the watcher's place, executed: there is no other way to see what machine code does.
 *
 * @module
 */
import { expect, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import {
  lifelineWord,
  watcherProgram,
  watcherTemplates,
} from "../../src/linux/watcher_program.ts";
import * as abi from "../../src/sys/abi.ts";
import {
  type ChildStatus,
  close,
  duplicate,
  getpid,
  kill,
  open,
  pipe,
  readAll,
  readlink,
  sealedMemfd,
  spawn,
  waitFor,
  writeAll,
} from "../../src/sys/calls.ts";

const TEMPLATE = watcherTemplates().x64;

interface Waiting {
  readonly pid: number;
  readonly lifeline: number;
  /** The write end of the pipe that everybody inside has. */
  readonly inside: number;
  /** What the program writes to its standard output. */
  readonly output: number;
}

function must<T>(
  result: { readonly ok: true; readonly value: T } | {
    readonly ok: false;
    readonly error: unknown;
  },
): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

/** The same file under a number above those of the child's own. */
function high(fd: number): number {
  const moved = must(duplicate(fd, 100));
  close(fd);
  return moved;
}

/** Started with `executable` in the place of ours and one word of argv. */
function waiting(executable: string): Waiting {
  const [lifeline, lifelineEnd] = must(pipe()).map(high) as [number, number];
  const [sync, inside] = must(pipe()).map(high) as [number, number];
  const [output, outputEnd] = must(pipe()).map(high) as [number, number];
  const file = high(must(open(executable as ByteString, abi.O_PATH)));
  if (TEMPLATE === null) throw new Error("no program for this machine");
  const program = high(must(sealedMemfd(
    "test-watcher",
    watcherProgram(TEMPLATE, { lifeline, sync, executable: file }),
    "executable",
  )));
  const pid = must(spawn({
    path: `/proc/self/fd/${program}`,
    argv: ["name", "became"],
    environment: [],
    session: "own",
    descriptors: [
      [outputEnd, 1],
      ...[lifeline, sync, file].map((fd) => [fd, fd] as const),
    ],
  }));
  for (const fd of [lifeline, sync, outputEnd, file, program]) close(fd);
  return { pid, lifeline: lifelineEnd, inside, output };
}

/** How it ends, and what it printed until then. */
function endOf({ pid, output }: Waiting): { end: ChildStatus; text: string } {
  const text = must(readAll(output, 4096));
  close(output);
  return { end: must(waitFor(pid)), text };
}

function sleeper(): number {
  return must(spawn({
    path: "/bin/sleep",
    argv: ["sleep", "60"],
    environment: [],
    session: "own",
    descriptors: [],
  }));
}

const ECHO = "/bin/echo";
const isHere = process.arch === "x64";

test.if(isHere)("a watcher that is dismissed ends and becomes nothing", () => {
  const watcher = waiting(ECHO);
  writeAll(watcher.lifeline, lifelineWord(0));
  expect(endOf(watcher)).toEqual({
    end: { kind: "exited", status: 0 },
    text: "",
  });
  close(watcher.lifeline);
  close(watcher.inside);
});

test.if(isHere)("one that was told a number can still be dismissed", () => {
  const watcher = waiting(ECHO);
  writeAll(watcher.lifeline, lifelineWord(getpid()));
  writeAll(watcher.lifeline, lifelineWord(0));
  expect(endOf(watcher)).toEqual({
    end: { kind: "exited", status: 0 },
    text: "",
  });
  close(watcher.lifeline);
  close(watcher.inside);
});

test.if(isHere)(
  "at the end of its lifeline it becomes our executable, with its own argv",
  () => {
    const watcher = waiting(ECHO);
    close(watcher.lifeline);
    expect(endOf(watcher)).toEqual({
      end: { kind: "exited", status: 0 },
      text: "became\n",
    });
    close(watcher.inside);
  },
);

test.if(isHere)(
  "it kills the process that it was told, while somebody is inside",
  () => {
    const watcher = waiting(ECHO);
    const pid = sleeper();
    writeAll(watcher.lifeline, lifelineWord(pid));
    close(watcher.lifeline);
    endOf(watcher);
    // One that was spared gets another signal: kill(2) of a zombie succeeds, but changes nothing.
    kill(pid, abi.SIGTERM);
    expect(must(waitFor(pid))).toEqual({
      kind: "signalled",
      signal: abi.SIGKILL,
    });
    close(watcher.inside);
  },
);

test.if(isHere)(
  "it kills nobody when everybody inside is gone: the number may be another's",
  () => {
    const watcher = waiting(ECHO);
    const pid = sleeper();
    writeAll(watcher.lifeline, lifelineWord(pid));
    close(watcher.inside);
    close(watcher.lifeline);
    endOf(watcher);
    kill(pid, abi.SIGTERM);
    expect(must(waitFor(pid))).toEqual({
      kind: "signalled",
      signal: abi.SIGTERM,
    });
  },
);

test.if(isHere)("it kills even where it can't become our executable", () => {
  const watcher = waiting("/dev/null");
  const pid = sleeper();
  writeAll(watcher.lifeline, lifelineWord(pid));
  close(watcher.lifeline);
  const { end } = endOf(watcher);
  kill(pid, abi.SIGTERM);
  expect({ end, pid: must(waitFor(pid)) }).toEqual({
    end: { kind: "exited", status: 125 },
    pid: { kind: "signalled", signal: abi.SIGKILL },
  });
  close(watcher.inside);
});

test.if(isHere)("it stands in /, so that it holds nobody's mount", async () => {
  const watcher = waiting(ECHO);
  let cwd = "";
  for (let look = 0; look < 4_000 && cwd !== "/"; look++) {
    await Bun.sleep(5);
    const link = readlink(`/proc/${watcher.pid}/cwd` as ByteString);
    cwd = link.ok ? link.value : "";
  }
  close(watcher.lifeline);
  endOf(watcher);
  close(watcher.inside);
  expect(cwd).toBe("/");
});
