/**
 * In a container as OCI runtimes make it: parts of its `/proc` are masked and `/proc/sys` is read-only, so that no fresh `/proc` can be
 * mounted and bubblewrap can't close user namespaces.
 *
 * Such a host is a mount namespace of the test's own; nothing below `/proc` is written. Source: the default spec of runc and crun
 * (`readonlyPaths`, `maskedPaths`).
 *
 * @module
 */
import { afterAll, expect } from "bun:test";
import { existsSync } from "node:fs";
import {
  BOTH_ACTORS,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  PLAIN,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

/** A user mounts as the root of a user namespace. */
function inContainer(
  { uid }: Subject,
  start = 'exec "$@"',
): { readonly shell: string } {
  const script = [
    "for part in bus fs irq sys; do",
    "[ -d /proc/$part ] || continue",
    "mount --bind /proc/$part /proc/$part",
    "mount -o remount,bind,ro,nosuid,nodev,noexec /proc/$part || exit 90",
    "done",
    "mount --bind /dev/null /proc/timer_list 2>/dev/null",
    start,
  ].join("\n");
  return {
    shell: `exec unshare ${uid === 0 ? "-m" : "-Urm"} sh -c '${
      script.replaceAll("'", `'\\''`)
    }' sh "$@"`,
  };
}

/** A system's bubblewrap is trusted for its owner, who is nobody in a user namespace. */
const COLUMNS = EVERY_VARIANT.filter(({ actor, launcher }) =>
  actor === "root" || launcher === "bundled"
);

const WARNING =
  "codex: warning: the host's /proc is visible inside, read-only: a fresh one can't be mounted here\n";

matrix(
  "in a container that masks its /proc :workspace runs, with what it protects, and leaves nothing",
  COLUMNS,
  async (subject) => {
    const { run, work } = subject;
    const { end, stdout, stderr } = await run(
      [
        ...["-P", ":workspace", "--", "sh", "-c"],
        "touch made; mkdir .git 2>/dev/null || echo refused; echo $CODEX_SANDBOX",
      ],
      inContainer(subject),
    );
    expect({ end, stdout, stderr }).toEqual({
      end: 0,
      stdout: "refused\nbubblewrap\n",
      stderr: WARNING,
    });
    expect([existsSync(`${work}/made`), existsSync(`${work}/.git`)])
      .toEqual([true, false]);
  },
);

const NAMESPACES = [
  "unshare -U true",
  "unshare -Ur true",
  "unshare -Um true",
  `python3 -c 'import ctypes; raise SystemExit(ctypes.CDLL(None).syscall(56, 0x10000011, 0, 0, 0, 0) < 0)'`,
];

matrix(
  "in a container that masks its /proc no namespace can be made inside",
  COLUMNS,
  async (subject) => {
    const script = NAMESPACES.map((it) => `${it} 2>/dev/null && echo made`)
      .join("\n");
    const { stdout } = await subject.run(
      ["--", "sh", "-c", `${script}\necho tried`],
      inContainer(subject),
    );
    expect(stdout).toBe("tried\n");
  },
);

/** In the container's own shell: a look at the workspace ends by turns, not by the clock. */
const KILLED = `"$@" &
turns=0
until [ -e up ] || [ $turns = 1000 ]; do turns=$((turns + 1)); sleep 0.02; done
kill -9 $!
wait $! 2>/dev/null
turns=0
until [ "$(ls -A)" = up ] || [ $turns = 1000 ]; do turns=$((turns + 1)); sleep 0.02; done
ls -A`;

matrix(
  "in a container that masks its /proc SIGKILL to us leaves nothing either",
  BOTH_ACTORS,
  async (subject) => {
    const { stdout } = await subject.run(
      ["-P", ":workspace", "--", "sh", "-c", "touch up; exec sleep 86127"],
      inContainer(subject, KILLED),
    );
    expect(stdout).toBe("up\n");
  },
);

matrix(
  "doctor in a container that masks its /proc says what is lacking, and that the profile is enforced",
  [PLAIN],
  async (subject) => {
    const { end, stdout } = await subject.codexRun(
      ["doctor", "-c", 'default_permissions=":workspace"'],
      inContainer(subject),
    );
    expect(end).toBe(0);
    expect(stdout).toMatch(/ warn +refused +a fresh \/proc: /);
    expect(stdout).toMatch(
      / note +refused +no further user namespaces inside, by the filter alone: /,
    );
  },
);
