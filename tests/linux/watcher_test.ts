/**
 * Whom the watcher ends. Numbers of processes are used again, so the one that bubblewrap named may be anybody's by then.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { killInit } from "../../src/linux/watcher.ts";
import { close, pipe } from "../../src/sys/calls.ts";
import { comesToHold } from "../patience.ts";

test("a process that is no sandbox's first is left alone", async () => {
  const ends = pipe();
  if (!ends.ok) throw new Error("no pipe");
  const [sync, inside] = ends.value;
  const stranger = Bun.spawn(["sleep", "60"], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  expect(killInit(stranger.pid, sync)).toBe(null);
  await Bun.sleep(20);
  expect(stranger.exitCode ?? stranger.signalCode).toBe(null);
  stranger.kill();
  for (const fd of [sync, inside]) close(fd);
});

/** Process 1 of a PID namespace of its own, by its number on the host. */
async function firstProcess(): Promise<
  { readonly pid: number; readonly end: () => void } | null
> {
  const unshare = Bun.spawn(
    [
      "unshare",
      "--user",
      "--map-root-user",
      "--pid",
      "--fork",
      "--kill-child",
      "sleep",
      "60",
    ],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  for (let i = 0; i < 4_000; i++) {
    const text = await Bun.file(
      `/proc/${unshare.pid}/task/${unshare.pid}/children`,
    ).text().catch(() => "");
    const pid = Number(text.trim());
    if (pid > 0) return { pid, end: () => unshare.kill() };
    if (unshare.exitCode !== null) return null; // no user namespaces here
    await Bun.sleep(5);
  }
  return null;
}

function hasEnded(pid: number): boolean {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return true; // and nobody has waited for it any more
  }
}

for (
  const [isHeld, fate] of [[true, "killed"], [
    false,
    "left alone: nobody of the sandbox is left, so it is another's",
  ]] as const
) {
  test(`a first process is ${fate}`, async () => {
    const first = await firstProcess();
    if (first === null) {
      process.stderr.write("NOT PROVED: no user namespaces here\n");
      return;
    }
    const own = pipe();
    if (!own.ok) throw new Error("no pipe");
    const [from, to] = own.value;
    if (!isHeld) close(to);
    const handle = killInit(first.pid, from);
    const isGone = await comesToHold(
      () => hasEnded(first.pid),
      isHeld ? undefined : 50,
    );
    first.end();
    for (
      const fd of [
        from,
        ...(isHeld ? [to] : []),
        ...(handle === null ? [] : [handle]),
      ]
    ) close(fd);
    expect(isGone).toBe(isHeld);
  });
}
