/**
 * The command's environment: what the caller has, thinned and filled by `[shell_environment_policy]`, plus our own marks.
 *
 * Pure, over byte strings: an entry is what the kernel had, with any bytes, without `=` or twice. Loader variables pass here; the
 * launcher hands them to the command alone. The shortest start reads this module, so it imports no reader of config files.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import type { NetworkMode } from "../policy/policy.ts";
import type { EnvironmentPolicy } from "./config.ts";

/** How the run confines the command, for the marks it can see. */
export interface Confinement {
  readonly network: NetworkMode;
  /** The value of `CODEX_SANDBOX`: the back end that confines files, `null` when none does. */
  readonly sandbox: "bubblewrap" | "landlock" | "seatbelt" | null;
}

/** The environment for the command, in the caller's order, then `set`, then our marks. */
export function commandEnvironment(
  policy: EnvironmentPolicy,
  caller: readonly ByteString[],
  confinement: Confinement,
): readonly ByteString[] {
  const marks = marksOf(confinement);
  const isNetworkOurs = confinement.network !== "host";
  let entries: readonly ByteString[] = caller;
  if (!keepsAll(policy)) entries = applied(policy, caller);
  const isLost = (entry: ByteString): boolean => {
    const name = nameOfEntry(entry);
    if (hasName(marks, name)) return true;
    return isNetworkOurs && !hasName(policy.set, name) &&
      isProxyWithLogin(name, entry);
  };
  const isGits = (entry: ByteString): boolean =>
    isNetworkOurs && entry.startsWith("GIT_CONFIG_") &&
    !hasName(policy.set, nameOfEntry(entry));
  const kept: ByteString[] = [];
  for (const entry of entries) {
    // Nearly every entry is neither a mark nor an address with a login: two native looks tell, where names cost start-up time.
    const isPlain = !entry.startsWith("CODEX_") && !entry.includes("@");
    if (isPlain) kept.push(entry);
    else if (isGits(entry)) kept.push(withoutGitLogin(entry, entries));
    else if (!isLost(entry)) kept.push(entry);
  }
  for (const [name, value] of marks) {
    kept.push(`${name}=${value}` as ByteString);
  }
  return kept;
}

/** Whether `name` matches a pattern of `*` and `?`, as a whole, case of ASCII letters counting nothing. */
export function matchesName(name: string, pattern: string): boolean {
  const text = lowerAscii(name);
  const wish = lowerAscii(pattern);
  let at = 0;
  let wished = 0;
  let star = -1;
  let retry = 0;
  while (at < text.length) {
    if (wish[wished] === "*") {
      star = wished++;
      retry = at;
    } else if (wish[wished] === "?") {
      wished++;
      at = nextCharacter(text, at);
    } else if (wished < wish.length && wish[wished] === text[at]) {
      wished++;
      at++;
    } else if (star !== -1) {
      wished = star + 1;
      at = ++retry;
    } else return false;
  }
  while (wish[wished] === "*") wished++;
  return wished === wish.length;
}

/** Variables that the dynamic loader or the allocator obeys before a program's first instruction. */
export function isLoaderVariable(name: string): boolean {
  return name.startsWith("LD_") || name.startsWith("MALLOC_") ||
    name === "GLIBC_TUNABLES";
}

/** The steps of the policy, in their order; `include_only` comes last and counts for `set` too. */
function applied(
  policy: EnvironmentPolicy,
  caller: readonly ByteString[],
): readonly ByteString[] {
  const set = new Map<string, ByteString>(policy.set);
  let entries = caller.filter((entry) => {
    const name = nameOfEntry(entry);
    return isInherited(policy, name) && !isExcluded(policy, name) &&
      !set.has(name);
  });
  for (const [name, value] of set) {
    entries.push(`${name}=${value}` as ByteString);
  }
  if (policy.includeOnly.length > 0) {
    entries = entries.filter((entry) =>
      matchesAny(nameOfEntry(entry), policy.includeOnly)
    );
  }
  return entries;
}

function isInherited({ inherit }: EnvironmentPolicy, name: string): boolean {
  switch (inherit) {
    case "all":
      return true;
    case "core":
      return CORE_NAMES.includes(lowerAscii(name));
    case "none":
      return false;
  }
}

function isExcluded(policy: EnvironmentPolicy, name: string): boolean {
  if (!policy.ignoreDefaultExcludes && matchesAny(name, DEFAULT_EXCLUDES)) {
    return true;
  }
  return matchesAny(name, policy.exclude);
}

const CORE_NAMES: readonly string[] = [
  "path",
  "shell",
  "tmpdir",
  "temp",
  "tmp",
  "home",
  "lang",
  "lc_all",
  "lc_ctype",
  "logname",
  "user",
];

const DEFAULT_EXCLUDES: readonly string[] = ["*KEY*", "*SECRET*", "*TOKEN*"];

function keepsAll(policy: EnvironmentPolicy): boolean {
  return policy.inherit === "all" && policy.ignoreDefaultExcludes &&
    policy.exclude.length === 0 && policy.set.length === 0 &&
    policy.includeOnly.length === 0;
}

/** Our marks outlive `include_only`. Without a mark an inherited one stays: the caller may be confined already. */
function marksOf(
  { network, sandbox }: Confinement,
): readonly (readonly [string, string])[] {
  const marks: (readonly [string, string])[] = [];
  if (sandbox !== null) marks.push(["CODEX_SANDBOX", sandbox]);
  if (network === "none") marks.push(["CODEX_SANDBOX_NETWORK_DISABLED", "1"]);
  return marks;
}

/** `HTTP_PROXY=http://user:password@host`, or SOCKS by any name: useless without the host's network, and a secret. */
function isProxyWithLogin(name: string, entry: ByteString): boolean {
  if (!entry.includes("@", name.length + 1)) return false;
  const word = lowerAscii(name);
  const value = entry.slice(name.length + 1);
  const isNamedSo = word.includes("proxy") && !word.includes("no_proxy");
  if (!isNamedSo && !/^\s*socks[0-9a-z]*:\/\//i.test(value)) return false;
  const authority = value.replace(/^\s*[A-Za-z][A-Za-z0-9+.-]*:\/\//, "")
    .split(/[/?#]/, 1)[0]!;
  return authority.includes("@");
}

/** What git is told of a proxy with a login: its value becomes empty, since git refuses a key without one. */
function withoutGitLogin(
  entry: ByteString,
  entries: readonly ByteString[],
): ByteString {
  const { isGitProxyValue, PARAMETERS, withoutGitProxies } = require(
    "../policy/git_settings.ts",
  ) as typeof import("../policy/git_settings.ts");
  const name = nameOfEntry(entry);
  if (isGitProxyValue(name, entries)) return `${name}=` as ByteString;
  return name === PARAMETERS
    ? `${name}=${withoutGitProxies(entry.slice(name.length + 1))}` as ByteString
    : entry;
}

/** A loop, because a start asks once: `some` costs it 60 microseconds. */
function hasName(
  entries: readonly (readonly [name: string, value: string])[],
  wanted: string,
): boolean {
  for (const [name] of entries) if (name === wanted) return true;
  return false;
}

/** All before the first `=`, the whole entry when it has none. */
function nameOfEntry(entry: ByteString): string {
  const end = entry.indexOf("=");
  return end === -1 ? entry : entry.slice(0, end);
}

function matchesAny(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => matchesName(name, pattern));
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (run) => run.toLowerCase());
}

/** Past one UTF-8 character, or one byte where it is none. */
function nextCharacter(text: string, at: number): number {
  let end = at + 1;
  if (text.charCodeAt(at) < 0xc0) return end;
  while (end < text.length && (text.charCodeAt(end) & 0xc0) === 0x80) end++;
  return end;
}
