/**
 * Parts of the soak test that take something away: room on a disk, processes, descriptors.
 *
 * @module
 */
import process from "node:process";
import type { Ended, Ground, Outcome } from "./soak_ground.ts";

/** One line of ours, or nothing: no report of the runtime, no stack. */
function saysTooMuch({ stderr }: Ended): boolean {
  return stderr.split("\n").some((line) =>
    line !== "" && !/^(codex|bwrap|sh|prlimit|timeout):/.test(line)
  );
}

/** A small file system in a mount namespace of its own: nothing of it is left when its shell ends. */
export async function onTmpfs(
  ground: Ground,
  what: "home" | "work",
  how: "full" | "read-only",
): Promise<Outcome> {
  const { codex, start, top } = ground;
  const folder = ground[what];
  const spoil = how === "full"
    ? `dd if=/dev/zero of=${folder}/fill bs=4k 2>/dev/null; i=0; while true > ${folder}/f$i; do i=$((i+1)); done 2>/dev/null`
    : `mount -o remount,ro ${folder}`;
  const line = `cp -r ${folder} ${top}/copy
mount -t tmpfs -o size=64k,nr_inodes=64 none ${folder} && cp -r ${top}/copy/. ${folder} && cd ${ground.work} || exit 90
{ ${spoil}; } 2>/dev/null
for profile in :read-only soak; do for round in 1 2 3; do
timeout 20 ${codex} sandbox -P $profile -- sh -c 'echo ran'; echo "$profile $?"
done; done
rm -f ${folder}/fill ${folder}/f[0-9]* 2>/dev/null
for name in .git .agents .codex; do [ -e ${ground.work}/$name ] && echo "left $name"; done
ls ${ground.home}/sandbox/placeholders 2>/dev/null | sed 's/^/left record /'; echo end`;
  const unshare = process.getuid?.() === 0 ? ["-m"] : ["-Urm"];
  const { end, stdout, stderr } = await start([
    "unshare",
    ...unshare,
    "sh",
    "-c",
    line,
  ]).ended;
  const lines = stdout.trim().split("\n");
  const statuses = lines.filter((one) => /^(:read-only|soak) \d+$/.test(one));
  const faults = [
    ...(lines.at(-1) === "end" ? [] : [`it ended with ${end}: ${stderr}`]),
    ...lines.filter((one) => one.startsWith("left")),
    ...statuses.filter((one) => !/ (0|125)$/.test(one)),
    ...(statuses.length === 6 ? [] : [`${statuses.length} runs of 6 ended`]),
    ...(saysTooMuch({ end, stdout, stderr }) ? [`it said: ${stderr}`] : []),
    ...await ground.leftovers(what === "work" ? [] : [ground.work]),
  ];
  return {
    runs: statuses.length,
    faults,
    note: `statuses ${statuses.map((one) => one.split(" ")[1]).join(" ")}`,
  };
}

/** As a user of whom nobody else is: the limit counts all his processes. */
export async function processes(ground: Ground): Promise<Outcome> {
  if (process.getuid?.() !== 0) {
    return { runs: 0, faults: [], note: "not tried: needs root" };
  }
  const { codex, start, top } = ground;
  const uid = "64321";
  await start(["chown", "-R", `${uid}:${uid}`, `${top}/home`, `${top}/work`])
    .ended;
  const faults: string[] = [];
  const ends: (number | string)[] = [];
  for (let limit = 1; limit <= 16; limit++) {
    const ended = await start([
      ...["timeout", "20", "setpriv", "--reuid", uid, "--regid", uid],
      ...["--clear-groups", "prlimit", `--nproc=${limit}`],
      ...[codex, "sandbox", "--", "sh", "-c", "true"],
    ]).ended;
    ends.push(ended.end);
    // 1 is bubblewrap's, where its own fork fails.
    if (![0, 1, 125].includes(Number(ended.end))) {
      faults.push(`with ${limit} processes: ${ended.end}: ${ended.stderr}`);
    }
    for (const line of await ground.leftovers()) {
      faults.push(`with ${limit} processes: ${line}`);
    }
  }
  return { runs: ends.length, faults, note: `statuses ${ends.join(" ")}` };
}

export async function descriptors(ground: Ground): Promise<Outcome> {
  const { codex, start } = ground;
  const faults: string[] = [];
  const ends: (number | string)[] = [];
  for (const limit of [4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96]) {
    const ended = await start([
      ...["timeout", "20", "prlimit", `--nofile=${limit}:${limit}`],
      ...[codex, "sandbox", "--", "sh", "-c", "true"],
    ]).ended;
    ends.push(ended.end);
    // Below six the runtime itself gives up, in its own way.
    const expected = limit < 6 ? [1] : [0, 125];
    if (!expected.includes(Number(ended.end))) {
      faults.push(`with ${limit} descriptors: ${ended.end}: ${ended.stderr}`);
    }
    for (const line of await ground.leftovers()) {
      faults.push(`with ${limit} descriptors: ${line}`);
    }
  }
  return { runs: ends.length, faults, note: `statuses ${ends.join(" ")}` };
}
