/**
 * The part of the soak test whose wall clock jumps, between runs and during them, by decades; the host's is never touched.
 *
 * Every program of the runs that asks the C library for the time, `codex` and its supervisor first, is given a shifted one by a library of
 * a few lines: named in an `ld.so.preload` that only a mount namespace of the test's own has, so that no variable of the environment
 * changes the way of the start. What the kernel stamps on files stays true, as it does for files from before a jump. A line of the
 * network log shows that the product sees the shifted time.
 *
 * Source: ld.so(8), clock_gettime(3).
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { comesToHold } from "../tests/patience.ts";
import { killIfThere } from "../tests/sandbox/our_processes.ts";
import { type Ground, isThere, type Outcome, pause } from "./soak_ground.ts";

const YEAR_S = 31_556_952;

/** Nothing here takes as long. */
const PATIENCE_S = 120;

/** Years from now: beyond what 32 bits count, before anything was written here, and back to the truth. */
const JUMPS = [30, -20, 0, 75, -40];

/** Shifts what programs are told, not what the kernel does: a wait until a shifted time is given the true one. */
const LIBRARY = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
  char text[32] = { 0 };
  int fd = syscall(SYS_openat, AT_FDCWD, SHIFT_FILE, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
  if (!failed && is_wall) now->tv_sec += shift();
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  int failed = syscall(SYS_gettimeofday, now, zone);
  if (!failed && now) now->tv_sec += shift();
  return failed;
}

time_t time(time_t *place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place) *place = now.tv_sec;
  return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  struct timespec at = *until;
  long by = shift();
  /* A time of the monotonic clock is none of ours: it lies far from the shifted now. */
  long far = at.tv_sec - time(NULL);
  if (far > -86400 && far < 315360000) at.tv_sec -= by;
  return next(condition, mutex, &at);
}
`;

/** What one shell does at one shift: kept starts, time limits, and a proxied run whose log has the time in it. */
const ROUND = `say() { echo "$1 $2"; }
for i in 1 2 3 4; do
  codex sandbox -P :read-only -- date +%Y | sed 's/^/year /'
done
codex sandbox --timeout 20s -- sh -c 'sleep 0.05; exit 3'; say exits $?
timeout -s KILL 60 codex sandbox --timeout 100ms -- sleep 86391; say limit $?
timeout -s KILL 60 codex sandbox --timeout 100ms --grace 100ms -- sh -c 'trap "" TERM; sleep 86391 & wait; wait'; say grace $?
codex sandbox -P net -c "$NET" --network-log "$LOG" --report-blocked never -- curl -s -o /dev/null http://refused.invalid/; say proxied $?
`;

const NET =
  'permissions.net={extends=":read-only",network={domains={"allowed.invalid"="allow"}}}';

/** What a round prints, the year apart. */
const EXPECTED = ["exits 3", "limit 124", "grace 124", "proxied 0"];

export async function wallClock(ground: Ground): Promise<Outcome> {
  const { top } = ground;
  const shiftFile = `${top}/shift`;
  const library = `${top}/clock.so`;
  writeFileSync(shiftFile, "0");
  writeFileSync(`${top}/clock.c`, LIBRARY);
  const compiled = await ground.start([
    ...["gcc", "-shared", "-fPIC", "-O1", `-DSHIFT_FILE="${shiftFile}"`],
    ...["-o", library, `${top}/clock.c`, "-ldl"],
  ]).ended;
  if (compiled.end !== 0) {
    return { runs: 0, faults: [`gcc: ${compiled.stderr}`], note: "" };
  }
  const start = (script: string): ReturnType<Ground["start"]> =>
    ground.start(preloaded(ground, library, script));
  const tried = await start("true").ended;
  if (tried.end === 90) {
    return {
      runs: 0,
      faults: [],
      note: `not tried: no overlay over /etc here (${tried.stderr.trim()})`,
    };
  }
  const faults: string[] = [];
  let runs = 0;
  for (const [index, years] of JUMPS.entries()) {
    const found: string[] = [];
    writeFileSync(shiftFile, String(years * YEAR_S));
    found.push(...await oneShift(ground, start, years));
    const next = JUMPS[(index + 1) % JUMPS.length] ?? 0;
    found.push(
      ...await jumpDuring(
        ground,
        start,
        () => writeFileSync(shiftFile, String(next * YEAR_S)),
      ),
    );
    writeFileSync(shiftFile, String(years * YEAR_S));
    found.push(
      ...await killed(
        ground,
        start,
        () => writeFileSync(shiftFile, String(next * YEAR_S)),
      ),
    );
    found.push(...await ground.leftovers());
    faults.push(...found.map((line) => `${years} years: ${line}`));
    runs += 11;
  }
  // The overlay's own folder in it is closed to its owner.
  await ground.start(["chmod", "-R", "u+rwx", `${top}/at`]).ended;
  return {
    runs,
    faults,
    note: `${
      JUMPS.join(", ")
    } years from now, and from one to the next while a run goes on`,
  };
}

/** The words of a shell that has the library named for every program, and nothing else of its own. */
function preloaded(
  { top, codex }: Ground,
  library: string,
  script: string,
): string[] {
  const unshare = process.getuid?.() === 0 ? "-m" : "-Urm";
  const line = `mkdir -p ${top}/up ${top}/at &&
mount -t overlay -o lowerdir=/etc,upperdir=${top}/up,workdir=${top}/at none /etc || exit 90
{ echo ${library}; cat ${top}/preload; } > /etc/ld.so.preload || exit 90
codex() { ${codex} "$@"; }
${script}`;
  writeFileSync(`${top}/preload`, textOf("/etc/ld.so.preload"));
  return [
    ...["timeout", "-s", "KILL", String(PATIENCE_S), "unshare", unshare],
    ...["env", `NET=${NET}`, `LOG=${top}/log`, "sh", "-c", line],
  ];
}

type Start = (script: string) => ReturnType<Ground["start"]>;

async function oneShift(
  { top }: Ground,
  start: Start,
  years: number,
): Promise<string[]> {
  writeFileSync(`${top}/log`, "");
  const first = yearIn(years);
  const { end, stdout, stderr } = await start(ROUND.replaceAll(
    "timeout -s KILL 60 codex",
    `timeout -s KILL 60 ${top}/codex`,
  )).ended;
  // A year may end meanwhile.
  const isNow = (year: unknown): boolean =>
    year === first || year === yearIn(years);
  const lines = stdout.trim().split("\n");
  const told = lines.filter((line) => line.startsWith("year ")).map((line) =>
    Number(line.slice(5))
  );
  const rest = lines.filter((line) => !line.startsWith("year "));
  const logged = textOf(`${top}/log`).split("\n").filter((line) => line !== "")
    .map((line) => new Date(JSON.parse(line).time).getUTCFullYear());
  return [
    ...(end === 0 ? [] : [`the shell ended with ${end}`]),
    ...(stderr === "" ? [] : [`it said: ${stderr.trim()}`]),
    ...(told.length === 4 && told.every(isNow)
      ? []
      : [`the command's years are ${told.join(" ")}`]),
    ...(logged.length === 1 && logged.every(isNow)
      ? []
      : [`the log's years are ${logged.join(" ")}`]),
    ...(rest.join() === EXPECTED.join() ? [] : [`it ended: ${rest.join()}`]),
  ];
}

/** Under a time limit that must count true seconds: neither at once nor never. */
async function jumpDuring(
  { work }: Ground,
  start: Start,
  jump: () => void,
): Promise<string[]> {
  const going = start(
    "codex sandbox --timeout 60s -- sh -c 'touch up; until [ -e on ]; do sleep 0.02; done; rm up on; exit 3'",
  );
  const isUp = await comesToHold(() => isThere(`${work}/up`));
  jump();
  await pause(100);
  writeFileSync(`${work}/on`, "");
  const { end, stderr } = await going.ended;
  return isUp && end === 3 && stderr === ""
    ? []
    : [`a jump during a run: ${end}: ${stderr.trim()}`];
}

/** A run that is killed at one time leaves nothing once another has run at the other. */
async function killed(
  ground: Ground,
  start: Start,
  jump: () => void,
): Promise<string[]> {
  const going = start("codex sandbox -- sh -c 'touch up; sleep 86391'");
  const isUp = await comesToHold(() => isThere(`${ground.work}/up`));
  for (const { pid } of ground.processes()) killIfThere(pid);
  await going.ended;
  jump();
  const { end, stderr } = await start("codex sandbox -- rm up").ended;
  return isUp && end === 0 && stderr === ""
    ? []
    : [`after a kill: ${end}: ${stderr.trim()}`];
}

function yearIn(years: number): number {
  return new Date(Date.now() + years * YEAR_S * 1000).getUTCFullYear();
}

function textOf(path: string): string {
  return isThere(path) ? readFileSync(path, "utf8") : "";
}
