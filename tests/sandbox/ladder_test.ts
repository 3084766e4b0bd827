/**
 * The ladder, live: when the second rung is taken, when it is refused, and what is said.
 *
 * A host on which bubblewrap can't work is made by an outer bubblewrap that forbids nested user namespaces.
 *
 * @module
 */
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import {
  BOTH_ACTORS,
  LAUNCHERS,
  leaveClean,
  matrix,
  notProved,
  type Outcome,
  setup,
} from "./harness.ts";
import { profile, WARNING } from "./landlock.ts";

afterAll(leaveClean);

/** A host whose user namespaces are used up, one namespace down. */
const NO_NAMESPACES =
  'exec /usr/bin/bwrap --unshare-user --disable-userns --dev-bind / / -- "$@"';

describe("where bubblewrap can't be used", () => {
  if (!LAUNCHERS.includes("system")) {
    test("the ladder", () => notProved("the ladder", "no /usr/bin/bwrap"));
    return;
  }

  matrix(
    "a profile that Landlock keeps runs, and one line says what is lacking and why",
    BOTH_ACTORS,
    async ({ codexRun, home }) => {
      writeFileSync(`${home}/decoy`, "kept");
      chmodSync(`${home}/decoy`, 0o666);
      const script =
        `echo $CODEX_SANDBOX; echo x > ${home}/decoy || cat ${home}/decoy`;
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", "--", "sh", "-c", script],
        { shell: NO_NAMESPACES },
      );
      expect({ end, stdout }).toEqual({ end: 0, stdout: "landlock\nkept" });
      const [line, ...rest] = stderr.trimEnd().split("\n");
      expect(`${line}\n`).toMatch(WARNING);
      expect(line).toContain("no more user namespaces can be made here");
      expect(rest.join()).toContain("decoy"); // the shell's own word
    },
  );

  matrix(
    "a profile that it can't keep is refused by name, and nothing runs",
    BOTH_ACTORS,
    async ({ codexRun, work }) => {
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", "-P", ":workspace", "--", "sh", "-c", "echo ran; touch a"],
        { shell: NO_NAMESPACES },
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(
        /^codex: no more user namespaces [^\n]*; Landlock alone can't keep "write-deny" \([^\n]*\) and "carve-outs" \([^\n]*--give-up carve-outs\n$/,
      );
      expect(readdirSync(work)).toEqual([]);
    },
  );

  for (const name of ["pid", "ipc", "proc"]) {
    matrix(
      `a profile that requires ${name} is refused by that name`,
      BOTH_ACTORS,
      async ({ codexRun }) => {
        const { end, stderr } = await codexRun([
          ...["sandbox", "-c", `permissions.p.require=["${name}"]`],
          ...[...profile({ "/": "read" }), "--", "echo", "ran"],
        ], { shell: NO_NAMESPACES });
        expect(end).toBe(125);
        expect(stderr).toContain(
          `Landlock alone can't keep the promise "${name}"`,
        );
      },
    );
  }

  for (
    const flags of [
      ["--backend", "bubblewrap"],
      ["--launcher", "bundled"],
      ["--launcher", "system"],
      ["--stage", "inner"],
    ]
  ) {
    test(`${flags.join(" ")} means bubblewrap: nothing falls back`, async () => {
      const { codexRun } = setup();
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", ...flags, "--", "echo", "ran"],
        { shell: NO_NAMESPACES },
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(/^codex: [^\n]*user namespaces[^\n]*\n$/);
      expect(stderr).not.toContain("Landlock");
    });
  }

  test("--explain shows the rung, its promises and what each is lacking", async () => {
    const { codexRun } = setup();
    const text = await codexRun(["sandbox", "--explain", "--", "true"], {
      shell: NO_NAMESPACES,
    });
    expect(text.stdout).toMatch(
      /^sandbox +Landlock \d+ and seccomp, without bubblewrap \(no more user/m,
    );
    expect(text.stdout).toMatch(/^ {2}kept +carve-outs: there is none$/m);
    expect(text.stdout).toMatch(/^ {2}lacking +pid: processes of the host/m);
    const json = await codexRun(["sandbox", "--explain=json", "--", "true"], {
      shell: NO_NAMESPACES,
    });
    const plan = JSON.parse(json.stdout);
    expect([plan.kind, plan.promises.length]).toEqual(["landlock_only", 7]);
  });

  matrix(
    "the helper climbs down as well",
    BOTH_ACTORS,
    async ({ dir, codex, outside }) => {
      symlinkSync(codex, `${dir}/codex-linux-sandbox`);
      const words = [
        ...[`${dir}/codex-linux-sandbox`, "--sandbox-policy-cwd", "/"],
        ...["--permission-profile", HELPER_READ_ONLY, "--", "echo", "ran"],
      ];
      const { end, stdout, stderr } = await outside(words, {
        shell: NO_NAMESPACES,
      });
      expect({ end, stdout }).toEqual({ end: 0, stdout: "ran\n" });
      expect(stderr).toMatch(WARNING);
    },
  );
});

const HELPER_READ_ONLY = helperProfile(
  '{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}',
);
const HELPER_WORKSPACE = helperProfile(
  '{"path":{"type":"special","value":{"kind":"root"}},"access":"read"},{"path":{"type":"special","value":{"kind":"project_roots"}},"access":"write"}',
);
const HELPER_FULL =
  '{"type":"managed","file_system":{"type":"unrestricted"},"network":"restricted"}';

function helperProfile(entries: string): string {
  return `{"type":"managed","file_system":{"type":"restricted","entries":[${entries}]},"network":"restricted"}`;
}

describe("use_legacy_landlock", () => {
  matrix(
    "of the helper is honoured for reading everything, refused for a workspace, ignored for full access",
    BOTH_ACTORS,
    async ({ dir, work, codex, outside }) => {
      symlinkSync(codex, `${dir}/codex-linux-sandbox`);
      const run = (profile: string): Promise<Outcome> =>
        outside([
          ...[`${dir}/codex-linux-sandbox`, "--sandbox-policy-cwd", work],
          ...["--permission-profile", profile, "--use-legacy-landlock", "--"],
          ...["sh", "-c", "readlink /proc/1/ns/pid || echo closed; echo $$"],
        ]);
      const honoured = await run(HELPER_READ_ONLY);
      expect(honoured.end).toBe(0);
      expect(honoured.stderr).toMatch(WARNING);
      const refused = await run(HELPER_WORKSPACE);
      expect({ ...refused, stderr: "" })
        .toEqual({ end: 125, stdout: "", stderr: "" });
      for (
        const fragment of [
          "filesystem-restricted execution requires bubblewrap",
          "permission profiles requiring direct runtime enforcement are incompatible with --use-legacy-landlock",
        ]
      ) expect(refused.stderr).toContain(fragment);
      const ignored = await run(HELPER_FULL);
      expect(ignored.end).toBe(0);
      expect(ignored.stderr).not.toContain("Landlock");
    },
  );

  test("of a state is the state's word, whatever the features say", async () => {
    const { codexRun, work } = setup();
    const run = (flag: string): Promise<Outcome> =>
      codexRun([
        ...["sandbox", "--sandbox-state-json"],
        `{"permissionProfile":${HELPER_READ_ONLY},"sandboxCwd":"file://${work}"${flag}}`,
        ...["--", "sh", "-c", "echo $CODEX_SANDBOX"],
      ]);
    expect((await run(',"useLegacyLandlock":true')).stdout).toBe("landlock\n");
    expect((await run("")).stdout).toBe("bubblewrap\n");
  });

  test("as a feature gives way to --backend", async () => {
    const { codexRun } = setup();
    const words = ["--enable", "use_legacy_landlock"];
    const script = ["--", "sh", "-c", "echo $CODEX_SANDBOX"];
    const honoured = await codexRun(["sandbox", ...words, ...script]);
    expect(honoured.stdout).toBe("landlock\n");
    const other = await codexRun([
      ...["sandbox", ...words, "--backend", "bubblewrap", ...script],
    ]);
    expect({ ...other }).toEqual({
      end: 0,
      stdout: "bubblewrap\n",
      stderr: "",
    });
  });
});

describe("by hand", () => {
  const ROWS: readonly (readonly [string, readonly string[], RegExp])[] = [
    [
      "a missing promise is named with the flag that waives it",
      ["-P", ":workspace"],
      /^codex: Cannot keep "write-deny" \([^\n]*\) and "carve-outs" \([^\n]*\) with Landlock alone: use bubblewrap, or add --give-up write-deny --give-up carve-outs\n$/,
    ],
    [
      "what is kept can't be given up",
      ["--give-up", "network"],
      /^codex: Cannot give up "network": [^\n]*\n$/,
    ],
    [
      "nobody stays who could end the run",
      ["--timeout", "5s"],
      /^codex: Landlock alone can't honour --timeout: [^\n]*\n$/,
    ],
    [
      "nobody stays who could tell the end",
      ["--result-json", "result.json"],
      /^codex: Landlock alone can't honour --result-json: nobody [^\n]*\n/,
    ],
    [
      "full access has no promise to keep",
      ["-P", ":danger-full-access", "--give-up", "pid"],
      /^codex: [^\n]*:danger-full-access[^\n]*\n$/,
    ],
  ];
  for (const [why, flags, line] of ROWS) {
    test(`${flags.join(" ")}: ${why}`, async () => {
      const { codexRun } = setup();
      const { end, stdout, stderr } = await codexRun(
        ["sandbox", "--backend", "landlock", ...flags, "--", "echo", "ran"],
      );
      expect({ end, stdout }).toEqual({ end: 125, stdout: "" });
      expect(stderr).toMatch(line);
    });
  }

  test("what was given up is not said again", async () => {
    const { codexRun } = setup();
    const flags = ["pid", "ipc", "proc"].flatMap((it) => ["--give-up", it]);
    expect(
      await codexRun(
        ["sandbox", "--backend", "landlock", ...flags, "--", "echo", "ran"],
      ),
    ).toEqual({ end: 0, stdout: "ran\n", stderr: "" });
  });
});

/** A host that covers parts of its /proc, as containers do: the kernel then mounts no fresh one. */
const NO_FRESH_PROC =
  'exec /usr/bin/bwrap --unshare-user --dev-bind / / --ro-bind /proc/version /proc/version -- "$@"';

describe("where a fresh /proc can't be mounted", () => {
  if (!LAUNCHERS.includes("system")) {
    test("the host's", () =>
      notProved("the host's /proc", "no /usr/bin/bwrap"));
    return;
  }

  test("the host's stays, read-only, --explain says so, and requiring proc refuses", async () => {
    const { codexRun } = setup();
    const shell = NO_FRESH_PROC;
    const script = "echo 0 > /proc/self/oom_score_adj; echo $$";
    const run = await codexRun(["sandbox", "--", "sh", "-c", script], {
      shell,
    });
    expect({ end: run.end, stdout: run.stdout })
      .toEqual({ end: 0, stdout: "2\n" });
    expect(run.stderr).toContain("warning: the host's /proc is visible");
    const plan = await codexRun(["sandbox", "--explain", "--", "true"], {
      shell,
    });
    expect(plan.stdout).toMatch(/^ {2}lacking +proc: a fresh \/proc can't/m);
    const refused = await codexRun([
      ...["sandbox", "-c", 'permissions.p.require=["proc"]'],
      ...[...profile({ "/": "read" }), "--", "echo", "ran"],
    ], { shell });
    expect({ end: refused.end, stdout: refused.stdout })
      .toEqual({ end: 125, stdout: "" });
    expect(refused.stderr).toMatch(
      /^codex: Cannot keep the promise "proc": [^\n]*\n$/,
    );
  });
});
