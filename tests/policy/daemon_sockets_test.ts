/**
 * Where daemons' sockets are looked for, and what a policy makes of those that are there.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { fromText } from "../../src/bytes.ts";
import type { SocketFact } from "../../src/policy/facts.ts";
import { variable } from "../../src/host/origin.ts";
import {
  opensX11,
  type SocketSearch,
  socketSearch,
} from "../../src/policy/daemon_sockets.ts";
import { describeDecider } from "../../src/policy/decider_text.ts";
import { layoutOf, mountOf } from "../../src/policy/layout.ts";
import { abs } from "../../src/policy/path.ts";
import type { Access, Policy, PolicyOptions } from "../../src/policy/policy.ts";
import { factsOf, matchOf, policyOf, type Tree } from "./world.ts";

/** Every place of a search, directories with a slash behind them. */
function placesOf({ groups, single }: SocketSearch): string[] {
  return [
    ...single.map(({ path, node }) => node === "socket" ? path : `${path}/`),
    ...groups.flatMap(({ base, known }) =>
      known.flatMap(([, ...names]) => names.map((name) => `${base}/${name}`))
    ),
  ];
}

function search(
  environment: readonly string[] = [],
  home: string | null = "/home/u",
): string[] {
  return placesOf(socketSearch({
    uid: 1000,
    home: () => home === null ? null : abs(home),
    variable: (name) => variable(environment.map(fromText), name),
  }));
}

const KNOWN = [ // a place that is looked at, whose it is
  ["/run/docker.sock", "Docker"],
  ["/run/podman/", "Podman as root"],
  ["/run/user/1000/podman/", "rootless Podman"],
  ["/run/containerd/", "containerd"],
  ["/run/crio/", "CRI-O"],
  ["/run/libvirt/", "libvirt"],
  ["/var/lib/lxd/unix.socket", "LXD"],
  ["/var/lib/incus/unix.socket", "Incus"],
  ["/run/snapd.socket", "snapd"],
  ["/run/systemd/private", "systemd"],
  ["/run/user/1000/systemd/", "the user's systemd"],
  ["/run/systemd/io.systemd.MountFileSystem", "it mounts for any user"],
  ["/run/systemd/io.systemd.NamespaceResource", "it hands user ids out"],
  ["/run/systemd/io.systemd.Import", "it installs images"],
  ["/run/systemd/io.systemd.Login", "it ends sessions and the machine"],
  ["/run/udev/io.systemd.udev", "root's udev, without the bus"],
  ["/home/u/.ssh/sockets/", "a shell on another host, past its login"],
  ["/home/u/.ansible/cp/", "likewise"],
  ["/run/dbus/", "the system bus"],
  ["/run/user/1000/bus", "the session bus"],
  ["/tmp/.X11-unix/", "X11"],
  ["/run/user/1000/wayland-0", "Wayland"],
  ["/run/user/1000/pulse/", "PulseAudio"],
  ["/run/user/1000/pipewire-0", "PipeWire"],
  ["/run/user/1000/gnupg/", "GnuPG"],
  ["/home/u/.gnupg/S.gpg-agent", "GnuPG without a runtime directory"],
  ["/run/user/1000/keyring/", "GNOME's agent"],
  ["/var/lib/kubelet/pod-resources/", "the kubelet"],
  ["/tmp/tmux-1000/", "tmux types into the user's shells"],
  ["/run/cups/cups.sock", "CUPS"],
  ["/run/WSL/", "programs of Windows are started there"],
  ["/mnt/wslg/", "its windows, keyboard and sound"],
  ["/run/user/1000/", "the runtime directory as a whole"],
] as const;
for (const [place, whose] of KNOWN) {
  test(`${place} is looked at: ${whose}`, () => {
    expect(search()).toContain(place);
  });
}

const LEFT_ALONE = [
  ["nscd", "glibc asks it for users and hosts"],
  ["avahi-daemon", "it resolves names"],
  ["systemd/resolve", "it resolves names"],
  ["systemd/userdb", "it resolves users"],
  ["journal", "it only writes lines down"],
  ["postgresql", "a database serves its data"],
  ["/nix/", "builds ask it"],
] as const;
for (const [name, why] of LEFT_ALONE) {
  test(`${name} is left alone: ${why}`, () => {
    expect(search().filter((place) => place.includes(name))).toEqual([]);
  });
}

const TOLD = [ // an entry of the environment, the places it adds, why
  ["SSH_AUTH_SOCK=/tmp/ssh-x/agent.1", ["/tmp/ssh-x/agent.1"], "a path"],
  ["SSH_AUTH_SOCK=agent", [], "a relative one names nothing that we can find"],
  ["SSH_AUTH_SOCK=", [], "nor does an empty one"],
  ["DOCKER_HOST=unix:///var/run/d.sock", ["/var/run/d.sock"], "a URL"],
  ["DOCKER_HOST=tcp://10.0.0.1:2375", ["/10.0.0.1:2375"], "nothing is there"],
  [
    "DBUS_SESSION_BUS_ADDRESS=unix:path=/a/bus,guid=1;unix:path=/b/bus",
    ["/a/bus", "/b/bus"],
    "a list of addresses",
  ],
  ["DBUS_SESSION_BUS_ADDRESS=unix:abstract=x", [], "an abstract name"],
  ["TMUX=/tmp/t/default,123,0", ["/tmp/t/default"], "with words behind it"],
  ["WAYLAND_DISPLAY=wayland-7", [], "a name in the runtime directory"],
  ["WAYLAND_DISPLAY=/w/way", ["/w/way"], "a path of its own"],
  ["TMUX_TMPDIR=/t", ["/t/tmux-1000/"], "the directory of tmux"],
  ["GNUPGHOME=/g", [
    "/g/S.gpg-agent",
    "/g/S.gpg-agent.ssh",
    "/g/S.gpg-agent.extra",
    "/g/S.gpg-agent.browser",
    "/g/S.scdaemon",
    "/g/S.keyboxd",
    "/g/S.dirmngr",
  ], "the directory of GnuPG"],
  ["OTHER=/x", [], "any other variable"],
] as const;
for (const [entry, places, why] of TOLD) {
  test(`${entry} adds [${places}]: ${why}`, () => {
    const before = new Set(search());
    expect(search([entry]).filter((place) => !before.has(place)))
      .toEqual([...places]);
  });
}

test("a runtime directory of another name is searched beside the usual one", () => {
  const places = search(["XDG_RUNTIME_DIR=/rt"]);
  for (const place of ["/rt/", "/rt/bus", "/run/user/1000/bus"]) {
    expect(places).toContain(place);
  }
  expect(search(["XDG_RUNTIME_DIR=/"])).toEqual(search());
  expect(search(["XDG_RUNTIME_DIR=rt"])).toEqual(search());
});

test("without a home nothing is looked for in one", () => {
  expect(search([], null).filter((place) => place.startsWith("/home")))
    .toEqual([]);
});

test("opening a socket of an X server opens its abstract name, others don't", () => {
  expect(opensX11([abs("/tmp/.X11-unix/X0")])).toBe(true);
  expect(opensX11([abs("/tmp/.X11-unix")])).toBe(true);
  expect(opensX11([abs("/run/docker.sock"), abs("/tmp")])).toBe(false);
});

const TREE: Tree = {
  "/run/docker.sock": "socket",
  "/run/user/1000/bus": "socket",
  "/run/user/1000/podman/podman.sock": "socket",
  "/run/user/1000/work/x": "file",
  "/tmp/.X11-unix/X0": "socket",
  "/var/run": "-> ../run",
  "/w": "dir",
};
const SOCKETS: readonly SocketFact[] = [
  { path: abs("/run/docker.sock"), node: "socket", daemon: "Docker" },
  { path: abs("/run/user/1000"), node: "private_directory", daemon: "S" },
  { path: abs("/run/user/1000/bus"), node: "socket", daemon: "D-Bus" },
  { path: abs("/tmp/.X11-unix"), node: "directory", daemon: "X11" },
];
const R = [":root", "read"] as const;

const STATES: readonly (readonly [
  why: string,
  lines: readonly (readonly [string, Access])[],
  path: string,
  state: string,
  extra?: {
    readonly options?: Partial<PolicyOptions>;
    readonly network?: Policy["network"];
    readonly cwd?: string;
    readonly minimal?: boolean;
    readonly globs?: readonly string[];
  },
])[] = [
  ["a known socket is hidden", [R], "/run/docker.sock", "masked"],
  ["a directory of sockets is hidden", [R], "/tmp/.X11-unix/X0", "masked"],
  ["what lies beside is not", [R], "/run/other", "read_only"],
  ["nothing is without the network", [R], "/run/docker.sock", "read_only", {
    network: "none",
  }],
  ["nor with the proxy's", [R], "/run/docker.sock", "read_only", {
    network: "proxied",
  }],
  [
    "below a write entry it is hidden",
    [R, ["/run", "write"]],
    "/run/docker.sock",
    "masked",
  ],
  [
    "a file entry of its name doesn't open it",
    [R, ["/run/docker.sock", "write"]],
    "/run/docker.sock",
    "masked",
  ],
  [
    "unix_sockets does",
    [R],
    "/run/docker.sock",
    "read_only",
    opened("/run/docker.sock"),
  ],
  [
    "through a link too",
    [R],
    "/run/docker.sock",
    "read_only",
    opened("/var/run/docker.sock"),
  ],
  [
    "not another's",
    [R],
    "/run/user/1000/bus",
    "masked",
    opened("/run/docker.sock"),
  ],
  [
    "one in a hidden directory",
    [R],
    "/run/user/1000/podman/podman.sock",
    "read_only",
    opened("/run/user/1000/podman/podman.sock"),
  ],
  [
    "the rest of that directory stays hidden",
    [R],
    "/run/user/1000/bus",
    "masked",
    opened("/run/user/1000/podman/podman.sock"),
  ],
  [
    "a directory opens all that is below",
    [R],
    "/run/user/1000/bus",
    "read_only",
    opened("/run/user/1000"),
  ],
  [
    "one that is not there opens nothing",
    [R],
    "/run/no.sock",
    "read_only",
    opened("/run/no.sock"),
  ],
  [
    "a deny of its own path is stronger",
    [R, ["/run/docker.sock", "deny"]],
    "/run/docker.sock",
    "masked",
    opened("/run/docker.sock"),
  ],
  ["so is a glob", [R], "/run/docker.sock", "masked", {
    ...opened("/run/docker.sock"),
    globs: ["/run/*.sock"],
  }],
  [
    "a deny above is not",
    [R, ["/run", "deny"]],
    "/run/docker.sock",
    "read_only",
    opened("/run/docker.sock"),
  ],
  ["in an empty root it is opened too", [], "/run/docker.sock", "read_only", {
    ...opened("/run/docker.sock"),
    minimal: true,
  }],
  [
    "in a private /tmp too",
    [R, ["/tmp", "write"]],
    "/tmp/.X11-unix/X0",
    "read_only",
    { options: { tmp: "private", unixSockets: [abs("/tmp/.X11-unix/X0")] } },
  ],
  [
    "a private /tmp has none by itself",
    [R, ["/tmp", "write"]],
    "/tmp/.X11-unix/X0",
    "private_tmp",
    { options: { tmp: "private" } },
  ],
  [
    "an entry below a runtime directory shows it",
    [R, ["/run/user/1000/work", "write"]],
    "/run/user/1000/work/x",
    "writable",
  ],
  [
    "and only it",
    [R, ["/run/user/1000/work", "write"]],
    "/run/user/1000/podman/podman.sock",
    "masked",
  ],
  [
    "who works in the runtime directory sees it",
    [R],
    "/run/user/1000/work/x",
    "read_only",
    { cwd: "/run/user/1000/work" },
  ],
  [
    "the known names in it are hidden all the same",
    [R],
    "/run/user/1000/bus",
    "masked",
    { cwd: "/run/user/1000/work" },
  ],
  [
    "an entry for the runtime directory shows it likewise",
    [R, ["/run/user/1000", "write"]],
    "/run/user/1000/work/x",
    "writable",
  ],
  [
    "but for the known names",
    [R, ["/run/user/1000", "write"]],
    "/run/user/1000/bus",
    "masked",
  ],
];
for (const [why, lines, path, state, extra = {}] of STATES) {
  test(`${why}: ${path} is ${state}`, () => {
    const { network = "host", globs = [] } = extra;
    const policy = { ...policyOf(lines, extra), network };
    const facts = factsOf(TREE, policy, {
      asked: [path],
      matches: globs.map((glob) => matchOf(glob, path)),
      ...(network === "host" ? { sockets: SOCKETS } : {}),
    });
    expect(mountOf(layoutOf(policy, facts), abs(path)).state as string)
      .toBe(state);
  });
}

test("a hidden socket and an opened one say so", () => {
  const policy: Policy = {
    ...policyOf([], { options: { unixSockets: [abs("/run/docker.sock")] } }),
    network: "host",
  };
  const facts = factsOf(TREE, policy, { sockets: SOCKETS });
  const { decider } = mountOf(layoutOf(policy, facts), abs("/run/docker.sock"));
  expect(describeDecider(decider)).toBe(
    'unix_sockets opens "/run/docker.sock"',
  );
  const hidden = { ...policyOf([R]), network: "host" } as const;
  const seen = factsOf(TREE, hidden, { sockets: SOCKETS });
  expect(
    describeDecider(
      mountOf(layoutOf(hidden, seen), abs("/run/docker.sock")).decider,
    ),
  ).toBe(
    '"/run/docker.sock" is hidden beside the host\'s network: Docker takes orders there',
  );
});

function opened(path: string): { readonly options: Partial<PolicyOptions> } {
  return { options: { unixSockets: [abs(path)] } };
}
