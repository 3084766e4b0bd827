/**
 * Hosts as `codex doctor` would find them: one that is well, and those that users have met, each as its difference from that one.
 *
 * @module
 */
import type {
  BwrapFacts,
  DoctorFacts,
  Trial,
  TrialName,
} from "../../../src/linux/doctor/facts.ts";

const ALL: readonly TrialName[] = [
  "user",
  "pid",
  "ipc",
  "net",
  "proc",
  "disable-userns",
];

/** Every small sandbox, those of `failing` with what was said. */
export function trials(
  said: string | null,
  failing: readonly TrialName[] = ALL,
): Trial[] {
  return ALL.map((what) => ({
    what,
    failed: failing.includes(what) ? said : null,
  }));
}

const OPTIONS = ["--bind", "--bind-fd", "--disable-userns", "--perms"];

export const SYSTEM: BwrapFacts = {
  kind: "system",
  path: "/usr/bin/bwrap",
  version: "0.12.0",
  refused: null,
  isSetuid: false,
  options: OPTIONS,
  missing: [],
  trials: trials(null),
  sha256: null,
};

export const BUNDLED: BwrapFacts = {
  ...SYSTEM,
  kind: "bundled",
  path: "bundled",
  sha256: "ab12",
};

/** A workstation on which everything works. */
export const WELL: DoctorFacts = {
  version: "1.2.3",
  arch: "x64",
  uid: 1000,
  release: "6.12.1-amd64",
  distribution: { name: "Debian GNU/Linux 13", ids: ["debian"] },
  namespaces: {
    kernel: "Linux version 6.12.1-amd64 (debian)",
    apparmorRestricts: null,
    maxUserNamespaces: 63_000,
    userNamespaceClone: true,
    filtered: false,
    uid: 1000,
  },
  apparmor: {
    isEnabled: true,
    confinement: "unconfined",
    hasBwrapProfile: false,
  },
  containers: [],
  isInOurSandbox: false,
  seccompActions: ["kill_process", "errno", "log", "allow"],
  landlock: { version: 6 },
  memfdNoexec: 0,
  brokenDevices: [],
  bwraps: [SYSTEM, BUNDLED],
  state: { path: "/home/u/.codex/sandbox", state: "usable", why: "" },
  directory: { path: "/home/u/w", uid: 1000, mode: 0o755, fileSystem: "" },
  profile: {
    name: ":read-only",
    plan: {
      kind: "planned",
      backEnd: "bubblewrap",
      launcher: "/usr/bin/bwrap 0.12.0",
      promises: [{ name: "network", kept: true, why: "a namespace" }],
      warnings: [],
    },
    run: { status: 0, output: "" },
  },
  leftovers: [],
};

const broken = (why: string): Partial<DoctorFacts> => ({
  profile: { name: ":read-only", plan: { kind: "refused", why }, run: null },
});

const EPERM = "No permissions to create new namespace";
const NO_USERNS = "Creating new namespace failed: Operation not permitted";
const failing = (said: string): readonly BwrapFacts[] => [
  { ...SYSTEM, trials: trials(said) },
  { ...BUNDLED, trials: trials(said) },
];

/** A host that users have met, and what the report must say of it. */
export interface Host {
  readonly name: string;
  readonly facts: DoctorFacts;
  readonly isEnforced: boolean;
  /** Every finding that is not `ok`: weight, name, text. */
  readonly findings: readonly (readonly [string, string, string])[];
  readonly fixes: readonly string[];
}

const REFUSED_LINE = "bubblewrap can't make a sandbox here";
const NOT_HERE = [
  ["fail", "/usr/bin/bwrap", "0.12.0, trusted, but does not work here"],
  ["fail", "bundled", "0.12.0, trusted, but does not work here"],
] as const;

export const HOSTS: readonly Host[] = [
  {
    name: "a workstation on which everything works",
    facts: WELL,
    isEnforced: true,
    findings: [],
    fixes: [],
  },
  {
    name: "WSL1",
    facts: {
      ...WELL,
      release: "5.15.0-22621-Microsoft",
      namespaces: {
        ...WELL.namespaces,
        kernel: "Linux version 4.4.0-22621-Microsoft",
      },
      bwraps: failing(NO_USERNS),
      ...broken("WSL1 can't create user namespaces"),
    },
    isEnforced: false,
    findings: [
      ["fail", "wsl", "WSL1 has no user namespaces"],
      ["fail", "refused", `user and mount namespaces: ${NO_USERNS}`],
      ...NOT_HERE,
      ["fail", ":read-only", "WSL1 can't create user namespaces"],
    ],
    fixes: [
      "wsl --set-version NAME 2  # in Windows; NAME is what wsl -l prints",
    ],
  },
  {
    name: "WSL2",
    facts: {
      ...WELL,
      release: "6.6.87.2-microsoft-standard-WSL2",
      namespaces: {
        ...WELL.namespaces,
        kernel: "Linux version 6.6.87.2-microsoft-standard-WSL2",
      },
    },
    isEnforced: true,
    findings: [],
    fixes: [],
  },
  {
    name: "Ubuntu 24.04 without bubblewrap: AppArmor stops the bundled one",
    facts: {
      ...WELL,
      distribution: { name: "Ubuntu 24.04", ids: ["ubuntu", "debian"] },
      namespaces: { ...WELL.namespaces, apparmorRestricts: true },
      bwraps: [{
        ...BUNDLED,
        trials: trials("setting up uid map: Permission denied"),
      }],
      ...broken("AppArmor keeps this bwrap from user namespaces"),
    },
    isEnforced: false,
    findings: [
      [
        "fail",
        "apparmor",
        "restricts user namespaces: only programs with a profile get them",
      ],
      [
        "fail",
        "refused",
        "user and mount namespaces: setting up uid map: Permission denied",
      ],
      ["fail", "bundled", "0.12.0, trusted, but does not work here"],
      ["fail", ":read-only", "AppArmor keeps this bwrap from user namespaces"],
    ],
    fixes: [
      "sudo apt install bubblewrap",
      "sudo apt install apparmor-profiles",
      "sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/",
      "sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict",
    ],
  },
  {
    name: "Ubuntu 25.04 with its own bubblewrap and profile",
    facts: {
      ...WELL,
      distribution: { name: "Ubuntu 25.04", ids: ["ubuntu", "debian"] },
      namespaces: { ...WELL.namespaces, apparmorRestricts: true },
      apparmor: { ...WELL.apparmor, hasBwrapProfile: true },
      bwraps: [SYSTEM, {
        ...BUNDLED,
        trials: trials("setting up uid map: Permission denied"),
      }],
    },
    isEnforced: true,
    findings: [
      ["note", "bundled", "0.12.0, trusted, but does not work here"],
    ],
    fixes: [],
  },
  {
    name: "Docker with its default seccomp profile",
    facts: {
      ...WELL,
      uid: 0,
      containers: ["/.dockerenv"],
      apparmor: { ...WELL.apparmor, confinement: "docker-default (enforce)" },
      namespaces: { ...WELL.namespaces, filtered: true, uid: 0 },
      directory: { ...WELL.directory!, uid: 0 },
      bwraps: [{ ...BUNDLED, trials: trials(NO_USERNS) }],
      ...broken("this container's seccomp profile forbids user namespaces"),
    },
    isEnforced: false,
    findings: [
      ["note", "container", "this looks like a container (/.dockerenv)"],
      [
        "note",
        "apparmor",
        "we run under its profile docker-default (enforce), which may forbid mounts",
      ],
      ["fail", "refused", `user and mount namespaces: ${NO_USERNS}`],
      ["fail", "bundled", "0.12.0, trusted, but does not work here"],
      [
        "fail",
        ":read-only",
        "this container's seccomp profile forbids user namespaces",
      ],
    ],
    fixes: [
      "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...",
    ],
  },
  {
    name: "the same, and Landlock alone keeps what the default profile says",
    facts: {
      ...WELL,
      containers: ["/.dockerenv"],
      namespaces: { ...WELL.namespaces, filtered: true },
      bwraps: [{ ...BUNDLED, trials: trials(NO_USERNS) }],
      profile: {
        ...WELL.profile,
        plan: {
          kind: "planned",
          backEnd: "landlock_only",
          launcher: "Landlock 6 and seccomp alone",
          promises: [
            { name: "network", kept: true, why: "a filter" },
            { name: "pid", kept: false, why: "no namespace" },
          ],
          warnings: ["confined by Landlock and seccomp alone"],
        },
      },
    },
    isEnforced: true,
    findings: [
      ["note", "container", "this looks like a container (/.dockerenv)"],
      ["warn", "refused", `user and mount namespaces: ${NO_USERNS}`],
      ["warn", "bundled", "0.12.0, trusted, but does not work here"],
      ["note", "promises", "keeps network; lacks pid"],
      ["warn", ":read-only", "confined by Landlock and seccomp alone"],
    ],
    fixes: [
      "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...",
    ],
  },
  {
    name: "a container that allows namespaces and masks its /proc",
    facts: {
      ...WELL,
      containers: ["/run/.containerenv"],
      bwraps: [{
        ...BUNDLED,
        trials: trials(
          "Can't mount proc on /newroot/proc: Operation not permitted",
          ["proc"],
        ),
      }],
      profile: {
        ...WELL.profile,
        plan: {
          kind: "planned",
          backEnd: "bubblewrap",
          launcher: "the bundled bubblewrap 0.12.0",
          promises: [],
          warnings: ["the host's /proc is visible inside, read-only"],
        },
      },
    },
    isEnforced: true,
    findings: [
      ["note", "container", "this looks like a container (/run/.containerenv)"],
      [
        "warn",
        "refused",
        "a fresh /proc: Can't mount proc on /newroot/proc: Operation not permitted",
      ],
      [
        "warn",
        ":read-only",
        "the host's /proc is visible inside, read-only",
      ],
    ],
    fixes: [
      "docker run --security-opt systempaths=unconfined ...  # podman: --security-opt unmask=ALL",
    ],
  },
  {
    name: "a container as runc and crun make it: /proc/sys is read-only too",
    facts: {
      ...WELL,
      containers: ["/.dockerenv"],
      bwraps: [{
        ...BUNDLED,
        trials: ALL.map((what) => ({
          what,
          failed: what === "proc"
            ? "Can't mount proc on /newroot/proc: Operation not permitted"
            : what === "disable-userns"
            ? "cannot open /proc/sys/user/max_user_namespaces: Read-only file system"
            : null,
        })),
      }],
      profile: {
        ...WELL.profile,
        plan: {
          kind: "planned",
          backEnd: "bubblewrap",
          launcher: "the bundled bubblewrap 0.12.0",
          promises: [],
          warnings: ["the host's /proc is visible inside, read-only"],
        },
      },
    },
    isEnforced: true,
    findings: [
      ["note", "container", "this looks like a container (/.dockerenv)"],
      [
        "warn",
        "refused",
        "a fresh /proc: Can't mount proc on /newroot/proc: Operation not permitted",
      ],
      [
        "note",
        "refused",
        "no further user namespaces inside, by the filter alone: cannot open /proc/sys/user/max_user_namespaces: Read-only file system",
      ],
      [
        "warn",
        ":read-only",
        "the host's /proc is visible inside, read-only",
      ],
    ],
    fixes: [
      "docker run --security-opt systempaths=unconfined ...  # podman: --security-opt unmask=ALL",
    ],
  },
  {
    name: "a chroot without /dev/null",
    facts: {
      ...WELL,
      containers: ["/.dockerenv"],
      brokenDevices: ["null", "tty"],
      bwraps: [{
        ...BUNDLED,
        trials: [],
        refused: "can't be started: ENOENT: no such file or directory",
      }],
      ...broken("can't be started"),
    },
    isEnforced: false,
    findings: [
      ["note", "container", "this looks like a container (/.dockerenv)"],
      ["fail", "/dev/null", "missing, or no device"],
      ["fail", "/dev/tty", "missing, or no device"],
      [
        "fail",
        "tried",
        "nothing could be tried: there is no bubblewrap that may be run",
      ],
      [
        "fail",
        "bundled",
        "0.12.0, can't be started: ENOENT: no such file or directory",
      ],
      ["fail", ":read-only", "can't be started"],
    ],
    fixes: [
      "sudo rm -f /dev/null && sudo mknod -m 666 /dev/null c 1 3",
      "sudo rm -f /dev/tty && sudo mknod -m 666 /dev/tty c 5 0",
    ],
  },
  {
    name: "a container with a broken /dev",
    facts: {
      ...WELL,
      containers: ["/.dockerenv"],
      brokenDevices: ["full"],
      bwraps: [{
        ...BUNDLED,
        trials: trials(
          "Can't bind mount /oldroot/dev/full on /newroot/dev/full",
        ),
      }],
      ...broken("Can't bind mount"),
    },
    isEnforced: false,
    findings: [
      ["note", "container", "this looks like a container (/.dockerenv)"],
      ["fail", "/dev/full", "missing, or no device"],
      [
        "fail",
        "refused",
        "user and mount namespaces: Can't bind mount /oldroot/dev/full on /newroot/dev/full",
      ],
      ["fail", "bundled", "0.12.0, trusted, but does not work here"],
      ["fail", ":read-only", "Can't bind mount"],
    ],
    fixes: ["sudo rm -f /dev/full && sudo mknod -m 666 /dev/full c 1 7"],
  },
  {
    name: "a chroot",
    facts: {
      ...WELL,
      uid: 0,
      namespaces: { ...WELL.namespaces, uid: 0 },
      directory: { ...WELL.directory!, uid: 0 },
      bwraps: failing(EPERM),
      ...broken("the kernel refuses user namespaces, as it does in a chroot"),
    },
    isEnforced: false,
    findings: [
      ["fail", "refused", `user and mount namespaces: ${EPERM}`],
      ...NOT_HERE,
      [
        "fail",
        ":read-only",
        "the kernel refuses user namespaces, as it does in a chroot",
      ],
    ],
    fixes: [
      "sudo systemd-nspawn -D ROOT codex doctor  # in place of chroot ROOT, where the kernel refuses user namespaces",
    ],
  },
  {
    name: "no user namespaces: user.max_user_namespaces is 0",
    facts: {
      ...WELL,
      namespaces: { ...WELL.namespaces, maxUserNamespaces: 0 },
      bwraps: failing(NO_USERNS),
      ...broken("user namespaces are switched off"),
    },
    isEnforced: false,
    findings: [
      ["fail", "refused", `user and mount namespaces: ${NO_USERNS}`],
      ["fail", "limit", "user.max_user_namespaces is 0"],
      ...NOT_HERE,
      ["fail", ":read-only", "user namespaces are switched off"],
    ],
    fixes: [
      "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/90-userns.conf",
      "sudo sysctl --system",
    ],
  },
  {
    name: "no user namespaces for users: kernel.unprivileged_userns_clone is 0",
    facts: {
      ...WELL,
      namespaces: { ...WELL.namespaces, userNamespaceClone: false },
      bwraps: failing(EPERM),
      ...broken("user namespaces are reserved to root"),
    },
    isEnforced: false,
    findings: [
      ["fail", "refused", `user and mount namespaces: ${EPERM}`],
      [
        "fail",
        "limit",
        "kernel.unprivileged_userns_clone is 0: only root may make them",
      ],
      ...NOT_HERE,
      ["fail", ":read-only", "user namespaces are reserved to root"],
    ],
    fixes: [
      "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-userns.conf",
      "sudo sysctl --system",
    ],
  },
  {
    name: "an old bubblewrap: the bundled one takes its place",
    facts: {
      ...WELL,
      bwraps: [
        {
          ...SYSTEM,
          version: "0.6.1",
          missing: ["--disable-userns", "--bind-fd"],
          trials: trials(null).slice(0, 5),
        },
        BUNDLED,
      ],
    },
    isEnforced: true,
    findings: [
      [
        "note",
        "/usr/bin/bwrap",
        "0.6.1, trusted, but lacks --disable-userns, --bind-fd",
      ],
      [
        "note",
        "/usr/bin/bwrap",
        "may have CVE-2026-87766 (fixed in 0.12.0); here every mount is verified before the command starts",
      ],
    ],
    fixes: [],
  },
  {
    name: "a set-uid bubblewrap and one in a home directory",
    facts: {
      ...WELL,
      bwraps: [
        {
          ...SYSTEM,
          path: "/home/u/bin/bwrap",
          version: "",
          refused: "not trusted: /home/u belongs to uid 1000, not to root",
          options: [],
          trials: [],
        },
        {
          ...SYSTEM,
          version: "",
          refused: "not trusted: /usr/bin/bwrap is setuid or setgid",
          isSetuid: true,
          options: [],
          trials: [],
        },
        BUNDLED,
      ],
    },
    isEnforced: true,
    findings: [
      [
        "note",
        "/home/u/bin/bwrap",
        "not trusted: /home/u belongs to uid 1000, not to root",
      ],
      [
        "note",
        "/usr/bin/bwrap",
        "not trusted: /usr/bin/bwrap is setuid or setgid",
      ],
    ],
    fixes: [],
  },
  {
    name: "a kernel without Landlock",
    facts: { ...WELL, landlock: { errno: 38 } },
    isEnforced: true,
    findings: [[
      "note",
      "landlock",
      "ENOSYS: not available on this kernel: a file as stdin that could be written gets an offset of its own, and there is no fallback without bubblewrap",
    ]],
    fixes: [],
  },
  {
    name: "Landlock built in and switched off",
    facts: { ...WELL, landlock: { errno: 95 } },
    isEnforced: true,
    findings: [[
      "note",
      "landlock",
      "built in and switched off: a file as stdin that could be written gets an offset of its own, and there is no fallback without bubblewrap",
    ]],
    fixes: [
      "# add landlock to lsm=... on the kernel's command line and reboot",
    ],
  },
  {
    name: "vm.memfd_noexec is 2 and no bubblewrap is installed",
    facts: {
      ...WELL,
      distribution: { name: "Fedora 43", ids: ["fedora"] },
      memfdNoexec: 2,
      bwraps: [{
        ...BUNDLED,
        refused: "this host forbids executable memfds",
        options: [],
        trials: [],
      }],
      ...broken("this host forbids executable memfds"),
    },
    isEnforced: false,
    findings: [
      [
        "fail",
        "memfd",
        "vm.memfd_noexec is 2: the bundled bubblewrap can't be started",
      ],
      [
        "fail",
        "tried",
        "nothing could be tried: there is no bubblewrap that may be run",
      ],
      ["fail", "bundled", "0.12.0, this host forbids executable memfds"],
      ["fail", ":read-only", "this host forbids executable memfds"],
    ],
    fixes: [
      "sudo dnf install bubblewrap",
      "sudo sysctl -w vm.memfd_noexec=1",
    ],
  },
  {
    name: "a kernel before 5.11",
    facts: {
      ...WELL,
      release: "5.4.0-150-generic",
      profile: {
        ...WELL.profile,
        run: { status: 125, output: "codex: Cannot close descriptors" },
      },
    },
    isEnforced: false,
    findings: [
      ["fail", "kernel", "5.4.0-150-generic: 5.11 or later is needed"],
      [
        "fail",
        ":read-only",
        "bubblewrap, /usr/bin/bwrap 0.12.0; a run ended with 125: codex: Cannot close descriptors",
      ],
    ],
    fixes: [],
  },
  {
    name: "inside another codex sandbox",
    facts: {
      ...WELL,
      isInOurSandbox: true,
      namespaces: { ...WELL.namespaces, filtered: true },
      bwraps: [{
        ...BUNDLED,
        trials: trials("Creating new namespace failed: (ENOSPC)"),
      }],
      ...broken(REFUSED_LINE),
    },
    isEnforced: false,
    findings: [
      [
        "fail",
        "nested",
        "this runs inside a codex sandbox, where no other can be made: run it outside of that one",
      ],
      [
        "fail",
        "refused",
        "user and mount namespaces: Creating new namespace failed: (ENOSPC)",
      ],
      ["fail", "bundled", "0.12.0, trusted, but does not work here"],
      ["fail", ":read-only", REFUSED_LINE],
    ],
    fixes: [],
  },
  {
    name: "CI as root in a checkout of uid 1000",
    facts: {
      ...WELL,
      uid: 0,
      namespaces: { ...WELL.namespaces, uid: 0 },
      directory: { path: "/src", uid: 1000, mode: 0o755, fileSystem: "" },
    },
    isEnforced: true,
    findings: [[
      "warn",
      "directory",
      "/src belongs to uid 1000: root has no capability in a sandbox and can't write there",
    ]],
    fixes: ["codex sandbox --user 1000 -P :workspace -- COMMAND"],
  },
  {
    name: "a home on NFS",
    facts: {
      ...WELL,
      directory: { ...WELL.directory!, fileSystem: "nfs4" },
    },
    isEnforced: true,
    findings: [[
      "note",
      "directory",
      "/home/u/w is on nfs4: a dead server stalls a start, and other machines don't see our locks",
    ]],
    fixes: [],
  },
  {
    name: "leftovers of a dead run",
    facts: {
      ...WELL,
      leftovers: [
        {
          path: "/tmp/.git",
          state: "removable",
          why: "placeholder of a run that is dead",
        },
        { path: "/w/.codex", state: "kept", why: "not empty any more" },
      ],
    },
    isEnforced: true,
    findings: [
      ["note", "/tmp/.git", "placeholder of a run that is dead"],
      ["note", "/w/.codex", "not empty any more; it stays"],
    ],
    fixes: ["codex sandbox clean"],
  },
  {
    name: "no home",
    facts: {
      ...WELL,
      state: { path: null, state: "missing", why: "" },
    },
    isEnforced: true,
    findings: [[
      "warn",
      "state",
      "neither CODEX_HOME nor HOME names a directory: what needs records is refused",
    ]],
    fixes: ["export CODEX_HOME=DIRECTORY"],
  },
  {
    name: "a home that is not there",
    facts: {
      ...WELL,
      state: {
        path: "/nonexistent/.codex/sandbox",
        state: "unusable",
        why:
          'it can\'t be made: "/nonexistent": ENOENT: no such file or directory',
      },
    },
    isEnforced: true,
    findings: [[
      "warn",
      "state",
      "/nonexistent/.codex/sandbox can't be used: it can't be made: \"/nonexistent\": ENOENT: no such file or directory; what needs records is refused",
    ]],
    fixes: ["export CODEX_HOME=DIRECTORY"],
  },
  {
    name: "config files that can't be read",
    facts: {
      ...WELL,
      profile: {
        name: "",
        plan: { kind: "refused", why: "config.toml:3:1: no value" },
        run: null,
      },
    },
    isEnforced: false,
    findings: [["fail", "default", "config.toml:3:1: no value"]],
    fixes: [],
  },
];
