/**
 * Time limits of tests, counted in time in which the test itself could run.
 *
 * A machine that stands still for seconds, or gives its cores to others, has cost whoever is waited for that time as well: it is no
 * failure of theirs. So a limit is so many turns of a clock, and what passes between two turns counts as one of them.
 *
 * @module
 */

/** One turn of the clock. */
const TURN_MS = 50;

/** Calls `onLate` once when so much time has passed. @returns ends the waiting */
export function afterPatience(
  limitMs: number,
  onLate: () => void,
): () => void {
  let leftMs = limitMs;
  const clock = setInterval(() => {
    leftMs -= TURN_MS;
    if (leftMs > 0) return;
    clearInterval(clock);
    onLate();
  }, TURN_MS);
  return () => clearInterval(clock);
}

/**
 * Waits until `holds`, looking every few milliseconds.
 *
 * @returns whether it came to hold within `limitMs`
 */
export async function comesToHold(
  holds: () => boolean,
  limitMs = 20_000,
): Promise<boolean> {
  let leftMs = limitMs;
  for (let before = Date.now(); !holds();) {
    if (leftMs <= 0) return false;
    await Bun.sleep(5);
    const now = Date.now();
    leftMs -= Math.min(Math.max(now - before, 0), TURN_MS);
    before = now;
  }
  return true;
}

/** What `work` costs this process's cores, in milliseconds: whatever else the machine does meanwhile. */
export function coreTimeMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
