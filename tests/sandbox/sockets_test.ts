/**
 * Daemons of the host that take orders, as decoys that only listen: hidden beside the host's network, opened by `unix_sockets`.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import {
  BOTH_ACTORS,
  EVERY_VARIANT,
  leaveClean,
  matrix,
  notProved,
  PLAIN,
  setup,
  type Subject,
} from "./harness.ts";

afterAll(leaveClean);

/** Servers that answer nothing, and the environment that leads to them. */
interface Decoys {
  readonly agent: string;
  readonly bus: string;
  readonly podman: string;
  readonly later: string;
  readonly gpg: string;
  readonly unknown: string;
  readonly env: Readonly<Record<string, string>>;
  readonly servers: Server[];
}

async function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  if (!path.startsWith("\0")) chmodSync(path, 0o777);
  return server;
}

/** A runtime directory of the actor's own, an agent somewhere else, GnuPG in the home, and one that nobody knows. */
async function decoys({ dir, home, uid }: Subject): Promise<Decoys> {
  const runtime = `${dir}/runtime`;
  for (
    const folder of [
      runtime,
      `${runtime}/podman`,
      `${dir}/ssh`,
      `${home}/.gnupg`,
    ]
  ) {
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, uid, uid);
  }
  const paths = {
    agent: `${dir}/ssh/agent.1`,
    bus: `${runtime}/bus`,
    podman: `${runtime}/podman/podman.sock`,
    later: `${runtime}/nobody-knows.sock`,
    gpg: `${home}/.gnupg/S.gpg-agent`,
    unknown: `${dir}/unknown.sock`,
  };
  const servers = await Promise.all(Object.values(paths).map(listen));
  const env = { SSH_AUTH_SOCK: paths.agent, XDG_RUNTIME_DIR: runtime };
  return { ...paths, env, servers };
}

/** Runs `body` with decoys, which stop at its end. */
async function withDecoys(
  subject: Subject,
  body: (found: Decoys) => Promise<void>,
): Promise<void> {
  const found = await decoys(subject);
  try {
    await body(found);
  } finally {
    for (const server of found.servers) server.close();
  }
}

function configure(
  { home }: Subject,
  { base = ":read-only", opened = [], more = "" }: {
    readonly base?: string;
    readonly opened?: readonly string[];
    readonly more?: string;
  } = {},
): void {
  const sockets = opened.map((path) => `${JSON.stringify(path)} = "allow"`);
  writeFileSync(
    `${home}/config.toml`,
    `default_permissions = "p"\n[permissions.p]\nextends = "${base}"\n${more}
[permissions.p.network]\nenabled = true\nunix_sockets = { ${
      sockets.join(", ")
    } }\n`,
  );
}

async function connect(
  { run, probe }: Subject,
  { env }: Pick<Decoys, "env">,
  paths: readonly string[],
): Promise<readonly string[]> {
  const script = 'for path; do "$0" connect-unix "$path"; done';
  const { stdout, stderr } = await run(
    ["--", "sh", "-c", script, probe, ...paths],
    { env },
  );
  expect(stderr).toBe("");
  return stdout.trimEnd().split("\n");
}

matrix(
  "daemons' sockets are hidden beside the host's network",
  EVERY_VARIANT,
  (subject) =>
    withDecoys(subject, async (found) => {
      configure(subject);
      const { agent, bus, podman, later, gpg, unknown } = found;
      expect(
        await connect(subject, found, [agent, bus, podman, later, gpg]),
      ).toEqual(["EACCES", "EACCES", "EACCES", "EACCES", "EACCES"]);
      // Control: what no list names is reached.
      expect(await connect(subject, found, [unknown])).toEqual(["ok"]);
    }),
);

matrix(
  "in a writable workspace they are hidden too, and can't be moved into sight",
  EVERY_VARIANT,
  async (subject) => {
    const { work, uid, run, probe } = subject;
    mkdirSync(`${work}/ssh`);
    chownSync(`${work}/ssh`, uid, uid);
    const agent = `${work}/ssh/agent.1`;
    const server = await listen(agent);
    try {
      configure(subject, { base: ":workspace" });
      const env = { SSH_AUTH_SOCK: agent };
      expect(await connect(subject, { env }, [agent])).toEqual(["EACCES"]);
      const moves = [
        ["rename", `${work}/ssh`, `${work}/moved`],
        ["rename", agent, `${work}/ssh/moved`],
      ];
      const moved = await run(["--", probe, "path-ops", ...moves.flat()], {
        env,
      });
      expect(moved.stdout).toBe("EBUSY\nEBUSY\n");
    } finally {
      server.close();
    }
  },
);

matrix(
  "no other path and no namespace of the command's own leads to a hidden socket",
  EVERY_VARIANT,
  (subject) =>
    withDecoys(subject, async (found) => {
      const { agent, bus, env } = found;
      const { run, probe, uid } = subject;
      configure(subject, { more: uid === 0 ? "" : "nested_namespaces = true" });
      const ways = [agent, bus].flatMap((path) => [
        `/proc/self/root${path}`,
        `/proc/self/cwd/../../../../../../..${path}`,
        `/proc/thread-self/root/..${path}`,
      ]);
      for (const answer of await connect(subject, found, ways)) {
        expect(answer).toBe("EACCES");
      }
      if (uid === 0) return;
      // A root of its own namespace opens the mask, which is no socket, and an empty directory.
      const script =
        'umount "$1" "${2%/*}" 2>/dev/null; umount -l "$1" 2>/dev/null; mount --bind "${1%/*}" /tmp 2>/dev/null; for path in "$1" "$2" /tmp/agent.1; do "$0" connect-unix "$path"; done';
      const { stdout } = await run(
        ["--", "unshare", "-Urm", "sh", "-c", script, probe, agent, bus],
        { env },
      );
      expect(stdout).toBe("ECONNREFUSED\nENOENT\nENOENT\n");
    }),
);

matrix(
  "unix_sockets opens what it names and nothing beside",
  EVERY_VARIANT,
  (subject) =>
    withDecoys(subject, async (found) => {
      const { agent, bus, podman, later, gpg } = found;
      configure(subject, { opened: [agent, podman] });
      expect(
        await connect(subject, found, [agent, podman, bus, later, gpg]),
      ).toEqual(["ok", "ok", "ENOENT", "ENOENT", "EACCES"]);
    }),
);

matrix(
  "what unix_sockets opens is there in an empty root too",
  BOTH_ACTORS,
  (subject) =>
    withDecoys(subject, async (found) => {
      const { home, probe, work } = subject;
      writeFileSync(
        `${home}/config.toml`,
        `default_permissions = "p"\n[permissions.p]\nfilesystem = { ":minimal" = "read", ${
          JSON.stringify(probe.slice(0, probe.lastIndexOf("/")))
        } = "read", ${
          JSON.stringify(work)
        } = "read" }\nnetwork = { enabled = true, unix_sockets = { ${
          JSON.stringify(found.agent)
        } = "allow" } }\n`,
      );
      expect(await connect(subject, found, [found.agent, found.bus]))
        .toEqual(["ok", "ENOENT"]);
    }),
);

matrix(
  "an abstract name of the host can't be reached beside its network",
  EVERY_VARIANT,
  async (subject) => {
    const name = `codex-live-${process.pid}-${Math.random()}`;
    const server = await listen(`\0${name}`);
    try {
      configure(subject);
      const { run, outside, probe } = subject;
      const words = [probe, "connect-unix", `@${name}`];
      expect((await outside(words)).stdout).toBe("ok\n");
      const { stdout } = await run(["--explain", "--", "true"]);
      if (stdout.includes("abstract names can be reached")) {
        return notProved("abstract names", "needs Landlock 6 (Linux 6.12)");
      }
      expect((await run(["--", ...words])).stdout).toBe("EPERM\n");
      // Its own are nobody else's business.
      const own = await run([
        ...["--", "/bin/sh", "-c"],
        '"$0" receive-dgram "@$1" 60000 & until "$0" sendmsg-dgram "@$1" | grep ok; do sleep 0.1; done; wait',
        ...[probe, `${name}-own`],
      ]);
      expect(own.stdout.trimEnd().split("\n").sort())
        .toEqual(["got 5", "ok 5", "ready"]);
    } finally {
      server.close();
    }
  },
);

matrix(
  "opening an X server's socket opens abstract names, and says so",
  BOTH_ACTORS,
  async (subject) => {
    const name = `codex-live-x-${process.pid}-${Math.random()}`;
    const server = await listen(`\0${name}`);
    try {
      configure(subject, { opened: ["/tmp/.X11-unix/X99"] });
      const { run, probe } = subject;
      expect((await run(["--", probe, "connect-unix", `@${name}`])).stdout)
        .toBe("ok\n");
      expect((await run(["--explain", "--", "true"])).stdout).toContain(
        "sockets      the host's abstract names can be reached: unix_sockets opens X11",
      );
    } finally {
      server.close();
    }
  },
);

matrix(
  "debug works beside the host's network",
  BOTH_ACTORS,
  async (subject) => {
    configure(subject, { more: "debug = true" });
    expect((await subject.run(["--", subject.probe, "trace"])).stdout)
      .toBe("ok\nEPERM\nEPERM\n");
  },
);

describe("a hidden socket is named with its reason", () => {
  const subject = setup();
  test("by --explain, and by policy why with what opens it", () =>
    withDecoys(subject, async (found) => {
      configure(subject);
      const { run, codexRun } = subject;
      const { env, agent } = found;
      const explained = await run(["--explain", "--", "true"], { env });
      expect(explained.stdout).toContain(
        `empty file ${agent} (mode 000)  # an ssh agent takes orders there: unix_sockets opens it\n`,
      );
      const why = await codexRun(["policy", "why", "read", agent], { env });
      expect(why).toEqual({
        end: 1,
        stdout: `denied (EACCES): read ${agent}
  because "${agent}" is hidden beside the host's network: an ssh agent takes orders there
  over :root = "read" [built-in :read-only]
  to change it, add "${agent}" = "allow" to [permissions.p.network.unix_sockets]
`,
        stderr: "",
      });
      expect((await codexRun(["config", "check"], { env })).end).toBe(0);
    }));

  test("the variable that led to it stays as it was", () =>
    withDecoys(setup(), async ({ env, agent }) => {
      const one = setup(PLAIN);
      configure(one);
      const { stdout } = await one.run(
        ["--", "sh", "-c", 'printf %s "$SSH_AUTH_SOCK"'],
        { env },
      );
      expect(stdout).toBe(agent);
    }));
});

matrix(
  "full access and a profile without network hide no socket",
  BOTH_ACTORS,
  (subject) =>
    withDecoys(subject, async ({ agent, env }) => {
      const { run, probe } = subject;
      const words = ["--", probe, "connect-unix", agent];
      const open = await run(["-P", ":danger-full-access", ...words], { env });
      expect(open.stdout).toBe("ok\n");
      const none = await run(["-P", ":read-only", ...words], { env });
      expect(none.stdout).toBe("socket EPERM\n");
      const plan = await run(
        ["-P", ":read-only", "--explain", "--", "true"],
        { env },
      );
      expect(plan.stdout).not.toContain("takes orders");
    }),
);
