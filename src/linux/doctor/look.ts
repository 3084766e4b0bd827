/**
 * Looks at a host for `codex doctor`: settings of the kernel, every bubblewrap, and what small sandboxes really do.
 *
 * Effects: reads `/proc`, `/sys` and `/etc/os-release`; runs bubblewrap where it is trusted. Changes nothing.
 *
 * @module
 */
import type { ByteString } from "../../bytes.ts";
import { decodeText, toText } from "../../bytes.ts";
import { type Origin, variable } from "../../host/origin.ts";
import { type FactMap, probePath } from "../../host/probe.ts";
import { openStateFolder, stateFolderOf } from "../../host/state_folder.ts";
import { type AbsPath, parentOf } from "../../policy/path.ts";
import * as abi from "../../sys/abi.ts";
import {
  accessWritable,
  close,
  hostArch,
  landlockVersion,
  readFile,
  stat,
} from "../../sys/calls.ts";
import { loadBundledBwrap } from "../bundled_bwrap.ts";
import { requiredOptions } from "../bwrap_argv.ts";
import {
  bwrapCandidates,
  firstLine,
  hasOption,
  judgeBwrap,
  optionsOfHelp,
  type TrustRequest,
} from "../bwrap_choice.ts";
import { namespaceFacts } from "../probe_bwrap.ts";
import { PROBE_TIMEOUT_MS, runProbe } from "../run_probe.ts";
import {
  type AppArmor,
  type BwrapFacts,
  type DeviceName,
  DEVICES,
  type DirectoryFacts,
  type Distribution,
  type DoctorFacts,
  type StateFacts,
  type Trial,
  type TrialName,
} from "./facts.ts";

/** A command that never exists: when bwrap says so, every step before it has worked. */
const NO_SUCH_COMMAND = "/dev/.codex-doctor";

const SILENT = `does not answer within ${PROBE_TIMEOUT_MS / 1000} s`;

/** Where AppArmor looks for profiles, and what a profile for bwrap is called there. */
const BWRAP_PROFILES = [
  "/etc/apparmor.d/bwrap-userns-restrict",
  "/etc/apparmor.d/bwrap",
] as const;

/** What the host says, everything but the profile and what was left. */
export function lookAtHost(
  origin: Origin,
  trust: TrustRequest,
): Omit<DoctorFacts, "version" | "profile" | "leftovers" | "state"> {
  const landlock = landlockVersion();
  return {
    arch: hostArch(),
    uid: origin.euid,
    release: text("/proc/sys/kernel/osrelease") ?? "unknown",
    distribution: distribution(),
    namespaces: namespaceFacts(origin.euid),
    apparmor: appArmor(),
    containers: containers(origin),
    isInOurSandbox: variable(origin.environment, "CODEX_SANDBOX") !== null,
    seccompActions:
      text("/proc/sys/kernel/seccomp/actions_avail")?.split(/\s+/) ?? null,
    landlock: landlock.ok
      ? { version: landlock.value }
      : { errno: landlock.error.errno },
    memfdNoexec: number("/proc/sys/vm/memfd_noexec"),
    brokenDevices: (Object.keys(DEVICES) as DeviceName[]).filter(isBroken),
    bwraps: [...systemBwraps(origin, trust), bundledBwrap()],
    directory: origin.cwd === null ? null : directory(origin.cwd),
  };
}

function isBroken(name: DeviceName): boolean {
  const there = stat(`/dev/${name}` as AbsPath);
  return !there.ok || (there.value.mode & abi.S_IFMT) !== abi.S_IFCHR;
}

function text(path: string): string | null {
  const read = readFile(path, 65_536);
  if (!read.ok) return null;
  return (decodeText(read.value) ?? read.value).trim();
}

function number(path: string): number | null {
  const value = text(path);
  return value === null || !/^\d+$/.test(value) ? null : Number(value);
}

function distribution(): Distribution {
  const release = text("/etc/os-release") ?? text("/usr/lib/os-release") ?? "";
  const value = (key: string): string | undefined =>
    new RegExp(`^${key}="?([^"\n]*)"?$`, "m").exec(release)?.[1];
  return {
    name: value("PRETTY_NAME") ?? "Linux",
    ids: [value("ID") ?? "", ...(value("ID_LIKE") ?? "").split(" ")]
      .filter((id) => id !== ""),
  };
}

function appArmor(): AppArmor {
  return {
    isEnabled: text("/sys/module/apparmor/parameters/enabled") === "Y",
    confinement: text("/proc/self/attr/current"),
    hasBwrapProfile: BWRAP_PROFILES.some((path) => stat(path as AbsPath).ok),
  };
}

function containers(origin: Origin): string[] {
  const found: string[] = [];
  for (const file of ["/.dockerenv", "/run/.containerenv"]) {
    if (stat(file as AbsPath).ok) found.push(file);
  }
  const named = variable(origin.environment, "container");
  if (named !== null) found.push(`container=${toText(named)}`);
  if (variable(origin.environment, "KUBERNETES_SERVICE_HOST") !== null) {
    found.push("KUBERNETES_SERVICE_HOST");
  }
  const group = /docker|kubepods|containerd|libpod|lxc/.exec(
    text("/proc/self/cgroup") ?? "",
  );
  if (group !== null) found.push(`cgroup ${group[0]}`);
  return found;
}

function directory(path: AbsPath): DirectoryFacts | null {
  const there = stat(path);
  if (!there.ok) return null;
  return {
    path: toText(path),
    uid: there.value.uid,
    mode: there.value.mode & 0o7777,
    fileSystem: remoteFileSystem(path),
  };
}

/** The type of the mount that holds `path` where it is one that stalls; otherwise empty (proc_pid_mountinfo(5)). */
function remoteFileSystem(path: AbsPath): string {
  const table = readFile("/proc/self/mountinfo", 16 * 1024 * 1024);
  let best = "";
  let type = "";
  for (const line of table.ok ? table.value.split("\n") : []) {
    const place = line.split(" ")[4];
    const kind = /^ - (\S+)/.exec(line.slice(line.indexOf(" - ")))?.[1];
    if (place === undefined || kind === undefined) continue;
    const holds = place === "/" || path === place ||
      path.startsWith(`${place}/`);
    if (holds && place.length >= best.length) {
      best = place;
      type = kind;
    }
  }
  return /^(nfs4?|autofs|cifs|smb3|9p|fuse\.sshfs|afs|ceph)$/.test(type)
    ? type
    : "";
}

/** What is known of `$CODEX_HOME/sandbox`. */
export function lookAtState(
  codexHome: AbsPath | null,
  euid: number,
): StateFacts {
  if (codexHome === null) return { path: null, state: "missing", why: "" };
  const path = toText(stateFolderOf(codexHome));
  for (const names of [["placeholders"], []]) {
    const folder = openStateFolder(codexHome, names, { create: false, euid });
    if (!folder.ok && folder.error.isMissing) continue;
    const refused = folder.ok ? whyNotWritten(folder.value) : folder.error.why;
    if (folder.ok) close(folder.value);
    if (refused === null) return { path, state: "usable", why: "" };
    const at = toText(
      [stateFolderOf(codexHome), ...names].join("/") as AbsPath,
    );
    return { path: at, state: "unusable", why: refused };
  }
  const why = whyNotMade(codexHome);
  return why === null
    ? { path, state: "missing", why: "" }
    : { path, state: "unusable", why: `it can't be made: ${why}` };
}

function whyNotWritten(folder: number): string | null {
  const asked = accessWritable(`/proc/self/fd/${folder}` as ByteString);
  return asked.ok ? null : abi.errnoText(asked.error.errno);
}

/** Why the first run can't make the folder: it makes `$CODEX_HOME` and what lies in it, and nothing above. */
function whyNotMade(codexHome: AbsPath): string | null {
  const home = accessWritable(codexHome);
  if (home.ok) return null;
  const above = home.error.errno === abi.ENOENT
    ? parentOf(codexHome)
    : codexHome;
  const writable = above === codexHome ? home : accessWritable(above);
  return writable.ok
    ? null
    : `"${toText(above)}": ${abi.errnoText(writable.error.errno)}`;
}

function systemBwraps(origin: Origin, trust: TrustRequest): BwrapFacts[] {
  const candidates = bwrapCandidates(variable(origin.environment, "PATH"));
  const usual = "/usr/bin/bwrap" as AbsPath;
  const all = candidates.includes(usual) ? candidates : [...candidates, usual];
  const seen = new Set<string>();
  return all.flatMap((candidate): BwrapFacts[] => {
    const there = stat(candidate);
    if (!there.ok) return [];
    // One file by two names, as /bin and /usr/bin often are.
    const identity = `${there.value.device}:${there.value.inode}`;
    if (seen.has(identity)) return [];
    seen.add(identity);
    const paths: FactMap = new Map();
    probePath(paths, candidate);
    const judged = judgeBwrap({ paths }, candidate, trust);
    const isSetuid = (there.value.mode & 0o6000) !== 0;
    const known = {
      kind: "system",
      path: toText(candidate),
      isSetuid,
    } as const;
    if (judged.kind !== "trusted") {
      const why = judged.kind === "absent"
        ? "it is no executable file"
        : `not trusted: ${judged.why}`;
      return [{ ...known, ...UNASKED, refused: why }];
    }
    const onPath = candidates.includes(candidate);
    const asked = ask(judged.path);
    return [{
      ...known,
      ...asked,
      sha256: null,
      refused: asked.refused ?? (onPath ? null : "not on PATH, so not used"),
    }];
  });
}

const UNASKED = {
  version: "",
  options: [],
  missing: [],
  trials: [],
  sha256: null,
} as const;

function bundledBwrap(): BwrapFacts {
  const loaded = loadBundledBwrap();
  const known = { kind: "bundled", path: "bundled", isSetuid: false } as const;
  if (!loaded.ok) {
    return { ...known, ...UNASKED, refused: loaded.error.message };
  }
  const { file, version, sha256 } = loaded.value;
  return { ...known, ...ask(file.path), version, sha256 };
}

function ask(
  path: string,
): Pick<
  BwrapFacts,
  "version" | "options" | "missing" | "trials" | "refused"
> {
  const run = (words: readonly string[]): ReturnType<typeof runProbe> =>
    runProbe(
      {
        path,
        argv: ["bwrap", ...words],
        environment: ["PATH=/usr/bin:/bin", "LC_ALL=C"],
      },
      PROBE_TIMEOUT_MS,
    );
  const help = run(["--help"]);
  if (!help.ok) {
    const refused = `can't be started: ${abi.errnoText(help.error.errno)}`;
    return { ...UNASKED, refused };
  }
  if (help.value.status.kind === "timed_out") {
    return {
      ...UNASKED,
      refused: SILENT,
    };
  }
  const version = run(["--version"]);
  const listed = optionsOfHelp(help.value.output);
  const has = (option: string): boolean =>
    hasOption({ options: listed }, option);
  return {
    version: version.ok
      ? /\d+(\.\d+)+/.exec(version.value.output)?.[0] ?? ""
      : "",
    options: listed.trim().split(" ").filter((it) => it !== ""),
    missing: everyOption().filter((option) => !has(option)),
    trials: trials(run, has),
    refused: null,
  };
}

/** Every option that some plan uses. */
function everyOption(): readonly string[] {
  return [
    ...requiredOptions({
      mounts: [],
      supervisor: ["placeholders"],
      disableUserns: true,
    }),
    ...["--bind", "--ro-bind", "--bind-fd", "--ro-bind-fd", "--perms"],
    ...["--tmpfs", "--ro-bind-data", "--remount-ro", "--symlink", "--dev"],
    "--proc",
  ];
}

function trials(
  run: (words: readonly string[]) => ReturnType<typeof runProbe>,
  has: (option: string) => boolean,
): Trial[] {
  const view = ["--ro-bind", "/", "/", "--dev", "/dev"];
  const all = ["--unshare-user", "--unshare-pid", "--unshare-ipc"];
  const kinds: readonly (readonly [TrialName, readonly string[]])[] = [
    ["user", ["--unshare-user", ...view]],
    ["pid", ["--unshare-user", "--unshare-pid", ...view]],
    ["ipc", [...all, "--unshare-uts", ...view]],
    ["net", [...all, "--unshare-net", ...view]],
    ["proc", [...all, ...view, "--proc", "/proc"]],
    ["disable-userns", [...all, "--disable-userns", ...view]],
  ];
  let isSilent = false;
  return kinds.filter(([what]) =>
    what !== "disable-userns" || has("--disable-userns")
  ).map(([what, words]): Trial => {
    // The others ask for much of the same, and nobody waits a minute and a half for a report.
    if (isSilent) return { what, failed: SILENT };
    const outcome = run([...words, "--cap-drop", "ALL", "--", NO_SUCH_COMMAND]);
    if (!outcome.ok) {
      return { what, failed: abi.errnoText(outcome.error.errno) };
    }
    const { output, status } = outcome.value;
    if (output.includes(`execvp ${NO_SUCH_COMMAND}`)) {
      return { what, failed: null };
    }
    isSilent = status.kind === "timed_out";
    if (isSilent) return { what, failed: SILENT };
    return {
      what,
      failed: output === ""
        ? `it ended with ${JSON.stringify(status)}`
        : toText(firstLine(output) as ByteString),
    };
  });
}
