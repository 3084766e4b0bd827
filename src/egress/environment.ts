/**
 * The variables that lead a command's programs to the proxy, and what must not stay beside them.
 *
 * A convenience, not the boundary: a program that ignores them has no network. Pure: entries in, entries out, as byte strings.
 *
 * @module
 */
import type { ByteString } from "../bytes.ts";
import { namesLocal, type NetworkPolicy } from "../policy/network.ts";
import { gitProxySettings } from "../policy/git_settings.ts";
import { parseEndpoint, parseHost } from "../policy/host.ts";

/** What the command will see. */
export interface ProxyEnvironment {
  /** Port of the HTTP listener on the sandbox's 127.0.0.1. */
  readonly httpPort: number;
  /** Port of the SOCKS5 listener, `null` when there is none. */
  readonly socksPort: number | null;
  readonly policy: NetworkPolicy;
  /** Our executable as the command sees it, for ssh's ProxyCommand. */
  readonly executable: string;
}

const HTTP_VARIABLES: readonly string[] = [
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "http_proxy",
  "https_proxy",
  "YARN_HTTP_PROXY",
  "YARN_HTTPS_PROXY",
  "npm_config_http_proxy",
  "npm_config_https_proxy",
  "npm_config_proxy",
  "NPM_CONFIG_HTTP_PROXY",
  "NPM_CONFIG_HTTPS_PROXY",
  "NPM_CONFIG_PROXY",
  "BUNDLE_HTTP_PROXY",
  "BUNDLE_HTTPS_PROXY",
  "PIP_PROXY",
  "DOCKER_HTTP_PROXY",
  "DOCKER_HTTPS_PROXY",
  // cargo's files, and git's, would be stronger than HTTPS_PROXY.
  "CARGO_HTTP_PROXY",
  "WS_PROXY",
  "WSS_PROXY",
  "ws_proxy",
  "wss_proxy",
  // gRPC's C core reads the lower-case name, its proxies speak CONNECT.
  "GRPC_PROXY",
  "grpc_proxy",
];

const ALL_VARIABLES: readonly string[] = [
  "ALL_PROXY",
  "all_proxy",
  "FTP_PROXY",
  "ftp_proxy",
];

const BYPASS_VARIABLES: readonly string[] = [
  "NO_PROXY",
  "no_proxy",
  "npm_config_noproxy",
  "NPM_CONFIG_NOPROXY",
  "BUNDLE_NO_PROXY",
  "NO_GRPC_PROXY",
  "no_grpc_proxy",
];

/** Loopback names that bypass the proxy: the command's own servers. */
const LOOPBACK_NAMES: readonly string[] = ["localhost", "127.0.0.1", "::1"];

/**
 * Lays the proxy's variables over an environment of `NAME=value` entries.
 *
 * Inherited proxy variables of the same names go; those with a password in their URL go whatever their name. `GIT_SSH_COMMAND` and
 * `JAVA_TOOL_OPTIONS` that the caller set are kept and added to.
 */
export function proxiedEnvironment(
  environment: readonly ByteString[],
  proxy: ProxyEnvironment,
): ByteString[] {
  const set = proxyVariables(environment, proxy);
  const names = new Set(set.map(([name]) => name));
  const kept = withoutProxySecrets(environment).filter((entry) =>
    !names.has(nameOf(entry)) && !isStaleProxy(nameOf(entry))
  ).map(withoutJavaProxy);
  return [
    ...kept,
    ...set.map(([name, value]) => `${name}=${value}` as ByteString),
  ];
}

/** Removes variables whose value is a URL of a proxy with user or password: for every run whose network is off or proxied. */
export function withoutProxySecrets(
  environment: readonly ByteString[],
): ByteString[] {
  return environment.filter((entry) => {
    const value = entry.slice(entry.indexOf("=") + 1);
    return !(/proxy/i.test(nameOf(entry)) && hasUserInfo(value)) &&
      !/^\s*socks[0-9a-z]*:\/\/[^/?#]*@/i.test(value);
  });
}

/** Names and values, in the order in which they are set. */
function proxyVariables(
  environment: readonly ByteString[],
  proxy: ProxyEnvironment,
): (readonly [name: string, value: string])[] {
  const http = `http://127.0.0.1:${proxy.httpPort}`;
  const all = proxy.socksPort === null
    ? http
    : `socks5h://127.0.0.1:${proxy.socksPort}`;
  const bypass = bypassedNames(proxy.policy);
  return [
    ["CODEX_NETWORK_PROXY_ACTIVE", "1"],
    [
      "CODEX_NETWORK_ALLOW_LOCAL_BINDING",
      proxy.policy.allowLocalBinding ? "1" : "0",
    ],
    ...HTTP_VARIABLES.map((name) => [name, http] as const),
    ...ALL_VARIABLES.map((name) => [name, all] as const),
    ...BYPASS_VARIABLES.map((name) => [name, bypass.join(",")] as const),
    ["ELECTRON_GET_USE_PROXY", "true"],
    ["NODE_USE_ENV_PROXY", "1"],
    // rsync speaks CONNECT and takes no scheme.
    ["RSYNC_PROXY", `127.0.0.1:${proxy.httpPort}`],
    ["CLOUDSDK_PROXY_TYPE", "http"],
    ["CLOUDSDK_PROXY_ADDRESS", "127.0.0.1"],
    ["CLOUDSDK_PROXY_PORT", String(proxy.httpPort)],
    ["JAVA_TOOL_OPTIONS", javaOptions(environment, proxy, bypass)],
    ["GIT_SSH_COMMAND", gitSsh(environment, proxy)],
    ...gitProxySettings(environment, http),
  ];
}

/** What bypasses the proxy: the command's own loopback, unless the policy allows that name on the host. */
export function bypassedNames(policy: NetworkPolicy): string[] {
  return LOOPBACK_NAMES.filter((name) => {
    const host = parseHost(name);
    return !(host.ok && namesLocal(policy, host.value));
  });
}

/**
 * JVMs read system properties only. Java's list has `|`, wants brackets around IPv6, and bypasses the loopback by default unless the
 * list is set; an empty list means nothing is bypassed.
 */
function javaOptions(
  environment: readonly ByteString[],
  proxy: ProxyEnvironment,
  bypass: readonly string[],
): string {
  // A JVM adds the whole loopback to any list but an empty one: where part of it is allowed, all of it goes to the proxy.
  const hosts = bypass.length < LOOPBACK_NAMES.length
    ? []
    : bypass.map((name) => name === "::1" ? "[::1]" : name);
  const options = [
    "-Dhttp.proxyHost=127.0.0.1",
    `-Dhttp.proxyPort=${proxy.httpPort}`,
    "-Dhttps.proxyHost=127.0.0.1",
    `-Dhttps.proxyPort=${proxy.httpPort}`,
    `-Dhttp.nonProxyHosts=${hosts.join("|")}`,
  ].join(" ");
  const before = withoutProxyWords(
    firstValue(environment, "JAVA_TOOL_OPTIONS") ?? "",
  );
  return before === "" ? options : `${before} ${options}`;
}

/** Where else options of JVMs stand: read beside `JAVA_TOOL_OPTIONS` and stronger, so the caller's own proxy must not be in them. */
const JAVA_VARIABLES: readonly string[] = [
  "_JAVA_OPTIONS",
  "JDK_JAVA_OPTIONS",
  "JAVA_OPTS",
  "MAVEN_OPTS",
  "GRADLE_OPTS",
  "ANT_OPTS",
  "SBT_OPTS",
];

function withoutJavaProxy(entry: ByteString): ByteString {
  const name = nameOf(entry);
  if (!JAVA_VARIABLES.includes(name)) return entry;
  const value = entry.slice(name.length + 1);
  return (PROXY_WORD.test(value)
    ? `${name}=${withoutProxyWords(value)}`
    : entry) as ByteString;
}

/** A system property about a proxy, its login included; Gradle writes `systemProp.` before it. */
const PROXY_WORD =
  /(?:^|\s)-D(?:systemProp\.)?(?:https?\.|ftp\.|socks|java\.net\.socks\.)(?:proxy|nonProxy|username|password)/i;

function withoutProxyWords(options: string): string {
  return options.split(/\s+/)
    .filter((word) => word !== "" && !PROXY_WORD.test(word)).join(" ");
}

/** ssh has no proxy variable: our own executable is its ProxyCommand. A command of the caller keeps its other options. */
function gitSsh(
  environment: readonly ByteString[],
  proxy: ProxyEnvironment,
): string {
  const before = firstValue(environment, "GIT_SSH_COMMAND");
  const command = before === null || before.trim() === "" ? "ssh" : before;
  // ssh takes the first of several values: where the caller's own has a ProxyCommand, it stays his.
  return `${command} -o ProxyCommand='${proxy.executable} proxy-connect %h %p'`;
}

function isStaleProxy(name: string): boolean {
  return name === "CODEX_NETWORK_PROXY_ATTRIBUTION" ||
    name === "YARN_NO_PROXY" ||
    /^CLOUDSDK_PROXY_/.test(name) ||
    name === "CODEX_SANDBOX_NETWORK_DISABLED";
}

/** Userinfo in a URL or in `user:password@host:port`. */
function hasUserInfo(value: string): boolean {
  return /^\s*(?:[a-z][a-z0-9+.-]*:\/\/)?[^/?#\s]*@/i.test(value);
}

function firstValue(
  environment: readonly ByteString[],
  name: string,
): string | null {
  // getenv(3) reads the first of duplicates.
  const entry = environment.find((candidate) => nameOf(candidate) === name);
  return entry === undefined ? null : entry.slice(name.length + 1);
}

function nameOf(entry: string): string {
  const equals = entry.indexOf("=");
  return equals === -1 ? entry : entry.slice(0, equals);
}

/** The endpoint of the proxy in a variable of ours: what `proxy-connect` dials inside. `null` when it is not loopback. */
export function proxyEndpoint(
  environment: readonly ByteString[],
  name: "ALL_PROXY" | "HTTPS_PROXY",
): { readonly scheme: "http" | "socks5h"; readonly port: number } | null {
  const value = firstValue(environment, name) ?? "";
  const form = /^(http|socks5h):\/\/(127\.0\.0\.1:[0-9]+)\/?$/.exec(value);
  if (form === null) return null;
  const endpoint = parseEndpoint(form[2] ?? "", null);
  if (!endpoint.ok) return null;
  return {
    scheme: form[1] === "http" ? "http" : "socks5h",
    port: endpoint.value.port,
  };
}
