/**
 * Finds out what a bwrap can do here, once per boot, and remembers it.
 *
 * Effects: runs bwrap with `--help` and in one trial sandbox, reads and writes a cache below `$CODEX_HOME/sandbox`. A missing,
 * broken or unwritable cache only costs time; a trial that failed is never remembered.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { openStateFolder, replaceFile } from "../host/state_folder.ts";
import type { AbsPath } from "../policy/path.ts";
import { ok, type Result } from "../result.ts";
import * as abi from "../sys/abi.ts";
import {
  close,
  O_NOFOLLOW,
  openAt,
  readAll,
  readFile,
  stat,
  type SysError,
} from "../sys/calls.ts";
import type { Identity } from "../sys/identity.ts";
import { unobserved } from "../sys/observed.ts";
import {
  type BwrapAbility,
  hasOption,
  isSettingReadOnly,
  type NamespaceFacts,
  optionsOfHelp,
} from "./bwrap_choice.ts";
import { PROBE_TIMEOUT_MS, runProbe } from "./run_probe.ts";

/** What is known of a bwrap that hangs: it isn't asked again. */
const SILENT = {
  kind: "fails",
  stderr: `it did not answer within ${PROBE_TIMEOUT_MS / 1000} s`,
} as const;

/** A command that never exists: when bwrap says so, every step before it has worked. */
const NO_SUCH_COMMAND = "/dev/.codex-trial";

const CACHE_LIMIT_BYTES = 256 * 1024;
const CACHE_NAME = "bwrap-abilities.json";

/** A bwrap that can be started. */
export interface BwrapFile {
  /** A path, or `/proc/self/fd/N` of the checked bytes: close-on-exec, so that nothing but the exec itself uses N. */
  readonly path: string;
  /** What identifies the file: device, inode and ctime, or the digest. */
  readonly identity: string;
}

/** Where the cache is, `null` to go without. */
export interface CachePlace {
  readonly codexHome: AbsPath;
  readonly euid: number;
}

/** What `file` can do, from the cache or from asking it. @param user whom it is asked as, `null` for ourselves */
export function abilityOf(
  file: BwrapFile,
  cache: CachePlace | null,
  user: Identity | null = null,
): Result<BwrapAbility, SysError> {
  const key = cacheKey(file, cache, user);
  const known = cache === null || key === null
    ? null
    : unobserved(() => readCache(cache));
  if (known !== null && key !== null) {
    const hit = known[key];
    if (isAbility(hit)) return ok(hit);
  }
  const asked = user === null ? ask(file) : askAs(user, file);
  if (
    asked.ok && asked.value.trial.kind === "works" && cache !== null &&
    key !== null
  ) {
    writeCache(cache, key, asked.value, known);
  }
  return asked;
}

function askAs(
  user: Identity,
  file: BwrapFile,
): Result<BwrapAbility, SysError> {
  const { asUser }: typeof import("../sys/identity.ts") = require(
    "../sys/identity.ts",
  );
  const asked = asUser(user, () => ask(file));
  return asked.ok ? asked.value : asked;
}

function ask(file: BwrapFile): Result<BwrapAbility, SysError> {
  const run = (words: readonly string[]): ReturnType<typeof runProbe> =>
    runProbe(
      {
        path: file.path,
        argv: ["bwrap", ...words],
        environment: ["PATH=/usr/bin:/bin", "LC_ALL=C"],
      },
      PROBE_TIMEOUT_MS,
    );
  const help = run(["--help"]);
  if (!help.ok) return help;
  if (help.value.status.kind === "timed_out") {
    return ok({ options: "", version: "", trial: SILENT });
  }
  const version = run(["--version"]);
  if (!version.ok) return version;
  const options = optionsOfHelp(help.value.output);
  const trial = firstThatWorks(run, options);
  if (!trial.ok) return trial;
  return ok({
    options,
    version: /\d+(\.\d+)+/.exec(version.value.output)?.[0] ?? "",
    trial: trial.value,
  });
}

type Run = (words: readonly string[]) => ReturnType<typeof runProbe>;

/**
 * The whole sandbox, or what a container leaves of it: with masks in its `/proc` the kernel allows no fresh one (mount_namespaces(7)),
 * and with `/proc/sys` read-only bwrap can't close user namespaces. One that fails otherwise fails.
 */
function firstThatWorks(
  run: Run,
  options: string,
): Result<BwrapAbility["trial"], SysError> {
  let proc: "fresh" | "host" = "fresh";
  let nesting: "bwrap" | "filter" = hasOption({ options }, "--disable-userns")
    ? "bwrap"
    : "filter";
  for (;;) {
    const trial = trialRun(run, proc, nesting);
    if (!trial.ok || trial.value.kind === "works") return trial;
    const { stderr } = trial.value;
    if (proc === "fresh" && /Can't mount proc/.test(stderr)) proc = "host";
    else if (nesting === "bwrap" && isSettingReadOnly(stderr)) {
      nesting = "filter";
    } else return trial;
  }
}

/** A sandbox of the least kind that every plan needs. */
function trialRun(
  run: Run,
  proc: "fresh" | "host",
  nesting: "bwrap" | "filter",
): Result<BwrapAbility["trial"], SysError> {
  const outcome = run([
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-net",
    "--cap-drop",
    "ALL",
    ...(nesting === "bwrap" ? ["--disable-userns"] : []),
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    ...(proc === "fresh" ? ["--proc", "/proc"] : []),
    "--",
    NO_SUCH_COMMAND,
  ]);
  if (!outcome.ok) return outcome;
  const { output, status } = outcome.value;
  if (output.includes(`execvp ${NO_SUCH_COMMAND}`)) {
    return ok({ kind: "works", proc, nesting });
  }
  if (status.kind === "timed_out") {
    return ok(SILENT);
  }
  return ok({
    kind: "fails",
    stderr: output === "" ? `it ended with ${JSON.stringify(status)}` : output,
  });
}

/** Everything that a remembered answer depends on: the file, this boot, this user, and the namespaces of users and of mounts, which decide about a fresh `/proc`: a container may share our state folder. */
function cacheKey(
  file: BwrapFile,
  cache: CachePlace | null,
  user: Identity | null,
): string | null {
  const boot = readFile("/proc/sys/kernel/random/boot_id", 64);
  const namespace = stat("/proc/self/ns/user" as ByteString);
  const mounts = stat("/proc/self/ns/mnt" as ByteString);
  if (!boot.ok || !namespace.ok || !mounts.ok || cache === null) return null;
  const uid = user?.uid ?? cache.euid;
  return `${boot.value.trim()} ${namespace.value.inode} ${mounts.value.inode} ${uid} ${file.identity}`;
}

function readCache(cache: CachePlace): Record<string, unknown> | null {
  const folder = openStateFolder(cache.codexHome, ["cache"], {
    create: false,
    euid: cache.euid,
  });
  if (!folder.ok) return null;
  const fd = openAt(
    folder.value,
    CACHE_NAME,
    abi.O_RDONLY | O_NOFOLLOW | abi.O_NONBLOCK,
  );
  close(folder.value);
  if (!fd.ok) return null;
  const text = readAll(fd.value, CACHE_LIMIT_BYTES);
  close(fd.value);
  if (!text.ok) return null;
  try {
    const parsed: unknown = JSON.parse(text.value);
    return typeof parsed === "object" && parsed !== null
      ? parsed as Record<string, unknown>
      : null;
  } catch {
    return null;
  }
}

function isAbility(value: unknown): value is BwrapAbility {
  if (typeof value !== "object" || value === null) return false;
  const { options, version, trial } = value as Partial<BwrapAbility>;
  return typeof options === "string" &&
    typeof version === "string" && typeof trial === "object" &&
    trial?.kind === "works" &&
    (trial.proc === "fresh" || trial.proc === "host") &&
    (trial.nesting === "bwrap" || trial.nesting === "filter");
}

/** Writes beside and renames, so that a reader never meets half a file. Entries of earlier boots are left out. */
function writeCache(
  cache: CachePlace,
  key: string,
  ability: BwrapAbility,
  known: Record<string, unknown> | null,
): void {
  const folder = openStateFolder(cache.codexHome, ["cache"], {
    create: true,
    euid: cache.euid,
  });
  if (!folder.ok) return;
  const boot = key.slice(0, key.indexOf(" "));
  const kept = Object.entries(known ?? {}).filter(([other]) =>
    other.startsWith(boot)
  ).slice(-31);
  const text = JSON.stringify({ ...Object.fromEntries(kept), [key]: ability });
  replaceFile(folder.value, CACHE_NAME, text);
  close(folder.value);
}

/** What the host says about user namespaces; asked only after a trial has failed. */
export function namespaceFacts(uid: number): NamespaceFacts {
  const text = (path: string): string | null => {
    const read = readFile(path, 65_536);
    return read.ok ? read.value.trim() : null;
  };
  const flag = (path: string): boolean | null => {
    const value = text(path);
    return value === null ? null : value !== "0";
  };
  const most = text("/proc/sys/user/max_user_namespaces");
  return {
    kernel: text("/proc/version") ?? "",
    apparmorRestricts: flag(
      "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    ),
    maxUserNamespaces: most === null ? null : Number(most),
    userNamespaceClone: flag("/proc/sys/kernel/unprivileged_userns_clone"),
    filtered: /^Seccomp:\s*[12]/m.test(text("/proc/self/status") ?? ""),
    uid,
  };
}
