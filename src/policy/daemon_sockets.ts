/**
 * Sockets of the host's daemons that take orders: with one of them a command gets something done outside of its sandbox.
 *
 * Pure: names only. They are hidden where the network is the host's; without it no AF_UNIX socket can be made at all. Left alone is
 * what only answers or stores: name services (nscd, resolved, userdb, sssd, avahi), logs, databases, nix.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { type AbsPath, isInside, ROOT, toAbsPath } from "./path.ts";
import { TMP } from "./places.ts";

/** One place that may be there. */
export interface KnownSocket {
  readonly path: AbsPath;
  /** `private_directory`: hidden whole only if it is the user's own and closed to others, as a runtime directory is. */
  readonly node: "socket" | "directory" | "private_directory";
  readonly daemon: string;
}

/** Whose they are, and their names below a base; one that ends in `/` is a directory that belongs to the daemon alone. */
type Known = readonly (readonly [daemon: string, ...names: string[]])[];

/** What may be below one directory. */
export interface SocketGroup {
  readonly base: AbsPath;
  readonly known: Known;
}

/** What decides where they are. */
export interface SocketSurroundings {
  readonly uid: number;
  /** Asked only where it is needed: it may take a look into `/etc/passwd`. */
  readonly home: () => AbsPath | null;
  /** Of the caller's environment. */
  readonly variable: (name: string) => ByteString | null;
}

const IN_RUN: Known = [
  ["Docker", "docker.sock", "docker/"],
  ["Podman", "podman/"],
  ["containerd", "containerd/", "k3s/", "buildkit/"],
  ["CRI-O", "crio/", "cri-dockerd.sock", "dockershim.sock"],
  ["libvirt", "libvirt/"],
  ["Incus", "incus/"],
  ["Multipass", "multipass_socket"],
  ["snapd", "snapd.socket", "snapd-snap.socket"],
  [
    "systemd",
    "systemd/private",
    "systemd/notify",
    "systemd/cgroups-agent",
    "systemd/io.systemd.ManagedOOM",
    "systemd/io.systemd.Manager",
    "systemd/io.systemd.MountFileSystem",
    "systemd/io.systemd.NamespaceResource",
    "systemd/io.systemd.Import",
    "systemd/io.systemd.Login",
    "systemd/io.systemd.Hostname",
    "systemd/io.systemd.Credentials",
    "systemd/io.systemd.BootControl",
    "systemd/io.systemd.FactoryReset",
    "systemd/io.systemd.Repart",
    "systemd/io.systemd.sysext",
    "systemd/machine/",
    "systemd/initctl/",
    "udev/control",
    "udev/io.systemd.udev",
  ],
  ["init", "initctl"],
  ["D-Bus", "dbus/"],
  ["supervisord", "supervisor.sock"],
  ["Tailscale", "tailscale/"],
  ["Open vSwitch", "openvswitch/"],
  ["LVM and multipath", "lvm/lvmpolld.socket", "multipathd.socket"],
  ["GSSAPI credentials", "gssproxy.sock"],
  ["smart cards", "pcscd/"],
  ["CUPS", "cups/cups.sock"],
  ["PulseAudio and PipeWire", "pulse/", "pipewire/"],
  ["a terminal multiplexer", "screen/"],
  ["Windows", "WSL/"],
];

const IN_RUNTIME_DIRECTORY: Known = [
  ["Docker", "docker.sock"],
  ["Podman", "podman/"],
  ["containerd", "containerd-rootless/"],
  ["libvirt", "libvirt/"],
  ["systemd", "systemd/"],
  ["D-Bus", "bus", "at-spi/"],
  ["Wayland", "wayland-0", "wayland-1", "hypr/", "gamescope-0"],
  ["PulseAudio and PipeWire", "pulse/", "pipewire-0", "pipewire-0-manager"],
  ["an ssh agent", "ssh-agent.socket", "gcr/", "keyring/"],
  ["GnuPG", "gnupg/"],
  ["an editor", "emacs/"],
];

const GNUPG = [
  "S.gpg-agent",
  "S.gpg-agent.ssh",
  "S.gpg-agent.extra",
  "S.gpg-agent.browser",
  "S.scdaemon",
  "S.keyboxd",
  "S.dirmngr",
];

const IN_HOME: Known = [
  [
    "Docker",
    ".docker/run/docker.sock",
    ".docker/desktop/",
    ".rd/docker.sock",
    ".colima/default/docker.sock",
  ],
  ["libvirt", ".cache/libvirt/libvirt-sock"],
  ["an ssh agent", ".1password/agent.sock", ".bitwarden-ssh-agent.sock"],
  ["GnuPG", ...GNUPG.map((name) => `.gnupg/${name}`)],
  ["a terminal multiplexer", ".screen/"],
  [
    "a shared ssh connection",
    ".ssh/sockets/",
    ".ssh/controlmasters/",
    ".ssh/control/",
    ".ssh/cm/",
    ".ansible/cp/",
  ],
];

const IN_VAR: Known = [
  [
    "the kubelet",
    "lib/kubelet/pod-resources/",
    "lib/kubelet/device-plugins/",
  ],
  ["LXD", "lib/lxd/unix.socket", "snap/lxd/common/lxd/unix.socket"],
  ["Incus", "lib/incus/unix.socket"],
  ["Multipass", "snap/multipass/common/"],
  ["GSSAPI credentials", "lib/gssproxy/default.sock"],
];

const IN_MNT: Known = [["Windows", "wslg/"]];

/** Variables that say where a socket is: as a path, or as an address that holds one (`unix:path=/…,guid=…`, `unix:///…`). */
const TOLD_BY: ReadonlyMap<string, string> = new Map([
  ["SSH_AUTH_SOCK", "an ssh agent"],
  ["DOCKER_HOST", "Docker"],
  ["CONTAINER_HOST", "Podman"],
  ["CONTAINERD_ADDRESS", "containerd"],
  ["BUILDKIT_HOST", "containerd"],
  ["DBUS_SESSION_BUS_ADDRESS", "D-Bus"],
  ["DBUS_SYSTEM_BUS_ADDRESS", "D-Bus"],
  ["DBUS_STARTER_ADDRESS", "D-Bus"],
  ["AT_SPI_BUS_ADDRESS", "D-Bus"],
  ["NOTIFY_SOCKET", "systemd"],
  ["WAYLAND_DISPLAY", "Wayland"],
  ["SWAYSOCK", "a window manager"],
  ["I3SOCK", "a window manager"],
  ["NIRI_SOCKET", "a window manager"],
  ["PULSE_SERVER", "PulseAudio and PipeWire"],
  ["PIPEWIRE_REMOTE", "PulseAudio and PipeWire"],
  ["TMUX", "a terminal multiplexer"],
  ["WSL_INTEROP", "Windows"],
  ["KITTY_LISTEN_ON", "a terminal"],
  ["ALACRITTY_SOCKET", "a terminal"],
  ["WEZTERM_UNIX_SOCKET", "a terminal"],
  ["VSCODE_IPC_HOOK", "an editor"],
  ["VSCODE_IPC_HOOK_CLI", "an editor"],
  ["VSCODE_GIT_IPC_HANDLE", "an editor"],
  ["REMOTE_CONTAINERS_IPC", "an editor"],
  ["NVIM", "an editor"],
  ["NVIM_LISTEN_ADDRESS", "an editor"],
  ["EMACS_SOCKET_NAME", "an editor"],
]);

const RUN = "/run" as AbsPath;
const VAR = "/var" as AbsPath;
const MNT = "/mnt" as AbsPath;

/** Everything to look for. */
export interface SocketSearch {
  readonly groups: readonly SocketGroup[];
  readonly single: readonly KnownSocket[];
}

/** Where to look for one user. */
export function socketSearch(
  { uid, home, variable }: SocketSurroundings,
): SocketSearch {
  const single: KnownSocket[] = [];
  const runtime: AbsPath[] = [`/run/user/${uid}` as AbsPath];
  const groups: SocketGroup[] = [
    { base: RUN, known: IN_RUN },
    { base: VAR, known: IN_VAR },
    { base: TMP, known: inTmp(uid) },
    { base: MNT, known: IN_MNT },
  ];
  for (const [name, daemon] of TOLD_BY) {
    for (const path of pathsIn(variable(name))) {
      single.push({ path, node: "socket", daemon });
    }
  }
  const named = toAbsPath(variable("XDG_RUNTIME_DIR") ?? "");
  if (named !== null && named !== ROOT && !runtime.includes(named)) {
    runtime.push(named);
  }
  const gnupg = toAbsPath(variable("GNUPGHOME") ?? "");
  if (gnupg !== null) {
    groups.push({ base: gnupg, known: [["GnuPG", ...GNUPG]] });
  }
  const tmux = toAbsPath(variable("TMUX_TMPDIR") ?? "");
  if (tmux !== null) {
    groups.push({
      base: tmux,
      known: [["a terminal multiplexer", `tmux-${uid}/`]],
    });
  }
  for (const base of runtime) {
    const daemon = "whoever runs in this session";
    single.push({ path: base, node: "private_directory", daemon });
    groups.push({ base, known: IN_RUNTIME_DIRECTORY });
  }
  const base = home();
  if (base !== null) groups.push({ base, known: IN_HOME });
  return { groups, single };
}

function inTmp(uid: number): Known {
  return [
    ["X11", ".X11-unix/", ".ICE-unix/"],
    [
      "a terminal multiplexer",
      `tmux-${uid}/`,
      `zellij-${uid}/`,
      "uscreens/",
    ],
    ["an editor", `emacs${uid}/`],
  ];
}

/** The absolute paths that a variable's value may mean; what isn't there is nobody's loss. */
function pathsIn(value: ByteString | null): AbsPath[] {
  if (value === null) return [];
  return value.split(/[,;]/).flatMap((part) => {
    const slash = part.indexOf("/");
    const path = slash === -1 ? null : toAbsPath(part.slice(slash));
    return path === null ? [] : [path];
  });
}

/** Where X servers have the sockets whose names exist a second time as abstract ones. */
const X11_SOCKETS = "/tmp/.X11-unix" as AbsPath;

/** Whether a profile opens an X server: clients try its abstract name first. */
export function opensX11(opened: readonly AbsPath[]): boolean {
  return opened.some((path) => isInside(path, { root: X11_SOCKETS }));
}
