/**
 * The attempts of {@linkcode ESCAPES} on the second rung: Landlock and seccomp alone, `:read-only`, as root and as a user.
 *
 * Errnos differ, for there are no mounts; what counts is that nothing gets through but what {@linkcode OPEN} lists: what the policy
 * lets be read, and what the lacking promises (`pid`, `ipc`, `proc`) say. The decoys are looked at before and after.
 *
 * @module
 */
import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Escape, ESCAPES, lineOf } from "./escape_rows.ts";
import {
  type Actor,
  ACTORS,
  leaveClean,
  ourProcesses,
  PLAIN,
  setup,
} from "./harness.ts";
import { killIfThere } from "./our_processes.ts";

afterAll(leaveClean);

/** Attempts that get through here, and why they may. */
const OPEN: ReadonlyMap<string, string> = new Map([
  ...[
    ...["secret-read", "secret-self-root", "vault-list", "vault-inner"],
    ...[
      "vault-watch",
      "vault-fanotify",
      "deep-secret-read",
      "env-read",
      "env-deep-read",
    ],
    "hidden-outside",
  ].map((id) => [id, "the policy lets everything be read"] as const),
  ["pidfd-host", "pid: a process can be named; signals to it are denied"],
  ["sigio-host", "pid: the kernel denies the signal, not the naming"],
  ["affinity-host", "pid: affinity names threads of one's own by number"],
  ["init-cmdline", "proc: the host's is visible"],
  ["init-fd", "proc: the host's is visible, and numbers are no descriptors"],
  ["proc-read-only", "no mount: Landlock denies writing there instead"],
  ["state-list", "our folder can be read where everything can"],
]);

/** Those that need a terminal, a stream or the host's network have runs of their own; `ipc` is lacking whole. */
const ROWS: readonly Escape[] = ESCAPES.filter(({ run, class: kind, only }) =>
  (run === undefined || run === "workspace" || run === "read-only") &&
  kind !== "ipc" && (only !== "x64" || process.arch === "x64")
);

const ERRNO = /^(\w+:)?E[A-Z0-9]+$/;

for (const actor of ACTORS) {
  test(
    `of ${ROWS.length} attempts of ${actor} none gets through that isn't listed, and the decoys are as they were`,
    async () => {
      const subject = setup({ ...PLAIN, actor });
      const trap = setTrap(subject, actor);
      try {
        const before = trap.look();
        const rows = ROWS.filter((row) =>
          row.actor === undefined || row.actor === actor
        );
        const script = `${subject.dir}/attempts.sh`;
        writeFileSync(
          script,
          [
            ...rows.map((row) =>
              `printf '%s\t' ${row.id}; (${
                trap.fill(lineOf(row))
              }) 2>/dev/null | tr '\n' ' '; echo`
            ),
            "printf 'last\tlooked'; echo",
          ].join("\n"),
        );
        const { end, stdout } = await subject.codexRun(
          ["sandbox", "--backend", "landlock", "--", "sh", script],
          { timeoutMs: 60_000 },
        );
        expect(end).toBe(0);
        const answers = new Map(
          stdout.split("\n").map((line) => {
            const [id = "", answer = ""] = line.split("\t");
            return [id, answer.trim()] as const;
          }),
        );
        expect(answers.get("last")).toBe("looked");
        const through = rows.flatMap((row) => {
          const answer = answers.get(row.id) ?? "not tried";
          const isExpected = row.answer.replaceAll("{uid}", String(subject.uid))
            .split("|").includes(answer);
          // 127: what it would start could not even be laid down.
          const isDenied = ["", "127"].includes(answer) || ERRNO.test(answer);
          return isExpected || isDenied || OPEN.has(row.id)
            ? []
            : [`${row.id}: ${row.tries}: ${answer}`];
        });
        expect(through).toEqual([]);
        expect(trap.look()).toEqual(before);
      } finally {
        trap.end();
      }
    },
    120_000,
  );
}

interface Trap {
  readonly fill: (text: string) => string;
  readonly look: () => Readonly<Record<string, unknown>>;
  readonly end: () => void;
}

/** The tree that the attempts are about, and a process of the host. */
function setTrap(
  { dir, work, home, codex, probe, uid }: ReturnType<typeof setup>,
  actor: Actor,
): Trap {
  const folder = `${dir}/outside`;
  const name = `decoy-landlock-${process.pid}-${actor}`;
  const folders = [
    ...[folder, `${work}-evil`],
    ...["vault", "locked", "open", "a", "a/b", ".git", ".git/hooks"]
      .map((it) => `${work}/${it}`),
  ];
  const files = [
    ...[`${folder}/file`, `${folder}/hidden`, `${work}-evil/file`],
    ...["plain", "script", "secret", "vault/inner", "locked/file", "x.env"],
    ...["a/b/secret", "open/.hidden.env", ".git/config"],
    `/dev/shm/${name}`,
  ].map((it) => it.startsWith("/") ? it : `${work}/${it}`);
  for (const path of folders) mkdirSync(path);
  for (const path of files) writeFileSync(path, "decoy");
  writeFileSync(`${home}/config.toml`, "");
  const isRoot = process.getuid?.() === 0;
  for (const path of [...folders, ...files, `${home}/config.toml`]) {
    if (isRoot) chownSync(path, uid, uid);
  }
  for (const special of ["setuid", "capable"]) {
    copyFileSync(probe, `${folder}/${special}`);
    chmodSync(`${folder}/${special}`, special === "setuid" ? 0o4755 : 0o755);
  }
  for (
    const words of [
      ["/usr/sbin/setcap", "cap_sys_admin+ep", `${folder}/capable`],
      ["mknod", "-m", "666", `${folder}/zero`, "c", "1", "5"],
      ["mkfifo", "-m", "666", `${folder}/pipe-of-host`],
    ]
  ) Bun.spawnSync(words, { stderr: "ignore" });
  const asActor = actor === "root" || !isRoot ? [] : [
    ...["setpriv", "--reuid", String(uid), "--regid", String(uid)],
    ...["--clear-groups", "--"],
  ];
  const sleeper = Bun.spawn([...asActor, "sleep", "86395"]);
  const words: Readonly<Record<string, string>> = {
    ...{ work, outside: folder, home, codex, probe, name },
    ...{ pid: String(sleeper.pid), uid: String(uid) },
    namelen: String(3 + name.length),
    // Nobody is there: no socket can even be made.
    ...{ tcp: "9", udp: "9", shm: "0", sem: "0", msg: "0", key: "1" },
  };
  const stateOf = (path: string): string => {
    const { mode, uid, mtimeMs, nlink, ino } = statSync(path);
    return [mode.toString(8), uid, mtimeMs, nlink, ino].join(" ");
  };
  return {
    fill: (text) =>
      text.replace(/\{(\w+)\}/g, (whole, word) => words[word] ?? whole),
    look: () => ({
      ...Object.fromEntries(
        files.map((path) => [
          path,
          `${stateOf(path)} ${readFileSync(path, "utf8")}`,
        ]),
      ),
      ...Object.fromEntries(
        folders.map((path) => [
          path,
          `${stateOf(path)} ${readdirSync(path).sort()}`,
        ]),
      ),
      home: readdirSync(home).filter((it) => it !== "sandbox"),
      sleeper: `${sleeper.exitCode} ${sleeper.signalCode} ${
        readFileSync(`/proc/${sleeper.pid}/stat`, "utf8").split(" ")
          .slice(17, 19)
      }`,
      limits: readFileSync(`/proc/${sleeper.pid}/limits`, "utf8"),
    }),
    end: () => {
      sleeper.kill(9);
      // What an attempt leaves in the background lives on: pid is lacking.
      for (const { pid, words } of ourProcesses()) {
        if (words.startsWith("sleep 86397")) killIfThere(pid);
      }
      rmSync(`/dev/shm/${name}`, { force: true });
    },
  };
}
