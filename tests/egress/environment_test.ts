import { expect, test } from "bun:test";
import { type ByteString, fromText } from "../../src/bytes.ts";
import {
  bypassedNames,
  proxiedEnvironment,
  proxyEndpoint,
  type ProxyEnvironment,
  withoutProxySecrets,
} from "../../src/egress/environment.ts";
import {
  EMPTY_NETWORK_POLICY,
  type NetworkPolicy,
} from "../../src/policy/network.ts";
import { parsePattern } from "../../src/policy/pattern.ts";

const entries = (...list: string[]): ByteString[] => list.map(fromText);

function policyOf(...allowed: string[]): NetworkPolicy {
  return {
    ...EMPTY_NETWORK_POLICY,
    rules: allowed.map((written) => {
      const pattern = parsePattern(written);
      if (!pattern.ok) throw new Error(pattern.error);
      const origin = { file: null, key: written };
      return { access: "allow", pattern: pattern.value, written, origin };
    }),
  };
}

const PROXY: ProxyEnvironment = {
  httpPort: 8001,
  socksPort: 8002,
  policy: policyOf(),
  executable: "/dev/codex-linux-sandbox",
};

function seen(
  environment: ByteString[],
  over: Partial<ProxyEnvironment> = {},
): Map<string, string> {
  const list = proxiedEnvironment(environment, { ...PROXY, ...over });
  const map = new Map<string, string>();
  for (const entry of list) {
    const name = entry.slice(0, entry.indexOf("="));
    expect(map.has(name)).toBe(false);
    map.set(name, entry.slice(name.length + 1));
  }
  return map;
}

const H = "http://127.0.0.1:8001";
const S = "socks5h://127.0.0.1:8002";
const LOOPBACK = "localhost,127.0.0.1,::1";

test("a command sees these variables and no others", () => {
  expect(Object.fromEntries(seen(entries("PATH=/bin")))).toEqual({
    PATH: "/bin",
    CODEX_NETWORK_PROXY_ACTIVE: "1",
    CODEX_NETWORK_ALLOW_LOCAL_BINDING: "0",
    HTTP_PROXY: H,
    HTTPS_PROXY: H,
    http_proxy: H,
    https_proxy: H,
    YARN_HTTP_PROXY: H,
    YARN_HTTPS_PROXY: H,
    npm_config_http_proxy: H,
    npm_config_https_proxy: H,
    npm_config_proxy: H,
    NPM_CONFIG_HTTP_PROXY: H,
    NPM_CONFIG_HTTPS_PROXY: H,
    NPM_CONFIG_PROXY: H,
    BUNDLE_HTTP_PROXY: H,
    BUNDLE_HTTPS_PROXY: H,
    PIP_PROXY: H,
    DOCKER_HTTP_PROXY: H,
    DOCKER_HTTPS_PROXY: H,
    CARGO_HTTP_PROXY: H,
    WS_PROXY: H,
    WSS_PROXY: H,
    ws_proxy: H,
    wss_proxy: H,
    GRPC_PROXY: H,
    grpc_proxy: H,
    ALL_PROXY: S,
    all_proxy: S,
    FTP_PROXY: S,
    ftp_proxy: S,
    NO_PROXY: LOOPBACK,
    no_proxy: LOOPBACK,
    npm_config_noproxy: LOOPBACK,
    NPM_CONFIG_NOPROXY: LOOPBACK,
    BUNDLE_NO_PROXY: LOOPBACK,
    NO_GRPC_PROXY: LOOPBACK,
    no_grpc_proxy: LOOPBACK,
    ELECTRON_GET_USE_PROXY: "true",
    NODE_USE_ENV_PROXY: "1",
    RSYNC_PROXY: "127.0.0.1:8001",
    CLOUDSDK_PROXY_TYPE: "http",
    CLOUDSDK_PROXY_ADDRESS: "127.0.0.1",
    CLOUDSDK_PROXY_PORT: "8001",
    JAVA_TOOL_OPTIONS:
      "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=8001 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=8001 -Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]",
    GIT_SSH_COMMAND:
      "ssh -o ProxyCommand='/dev/codex-linux-sandbox proxy-connect %h %p'",
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "http.proxy",
    GIT_CONFIG_VALUE_0: H,
  });
});

test("what the caller tells git by variables stays, but for its proxies", () => {
  const map = seen(entries(
    "GIT_CONFIG_COUNT=2",
    "GIT_CONFIG_KEY_0=user.email",
    "GIT_CONFIG_VALUE_0=u@x",
    "GIT_CONFIG_KEY_1=http.https://a.test/.Proxy",
    "GIT_CONFIG_VALUE_1=http://corp:3128",
    "GIT_CONFIG_KEY_2=beyond",
    "GIT_CONFIG_PARAMETERS='remote.o.proxy'='http://corp' 'a.b'='c'",
  ));
  const git = [...map].filter(([name]) => name.startsWith("GIT_CONFIG_"));
  expect(Object.fromEntries(git)).toEqual({
    GIT_CONFIG_COUNT: "3",
    GIT_CONFIG_KEY_0: "user.email",
    GIT_CONFIG_VALUE_0: "u@x",
    GIT_CONFIG_KEY_1: "http.https://a.test/.Proxy",
    GIT_CONFIG_VALUE_1: H,
    GIT_CONFIG_KEY_2: "http.proxy",
    GIT_CONFIG_VALUE_2: H,
    GIT_CONFIG_PARAMETERS: "'a.b'='c'",
  });
});

test("a count that git refuses is left to git", () => {
  const map = seen(entries("GIT_CONFIG_COUNT=many"));
  expect([map.get("GIT_CONFIG_COUNT"), map.has("GIT_CONFIG_KEY_0")])
    .toEqual(["many", false]);
});

test("a JVM, which adds the whole loopback to a list, bypasses nothing where part of it is allowed", () => {
  const options = seen([], { policy: policyOf("localhost") })
    .get("JAVA_TOOL_OPTIONS");
  expect(options).toEndWith(" -Dhttp.nonProxyHosts=");
});

test("without SOCKS everything leads to the HTTP listener", () => {
  expect(seen([], { socksPort: null }).get("ALL_PROXY")).toBe(H);
});

test("inherited proxy values are overwritten, other values of the caller are kept sane", () => {
  const map = seen(entries(
    "HTTP_PROXY=http://corp:3128",
    "YARN_NO_PROXY=x",
    "CODEX_NETWORK_PROXY_ATTRIBUTION=tok",
    "CODEX_SANDBOX_NETWORK_DISABLED=1",
    "CLOUDSDK_PROXY_USERNAME=u",
    "FTPS_PROXY=http://u:secret@corp:3128",
    "JAVA_TOOL_OPTIONS=-Xmx1g -Dhttps.proxyHost=corp -DsocksProxyHost=corp",
    "GIT_SSH_COMMAND=ssh -i key",
    "X=1",
  ));
  expect(map.get("HTTP_PROXY")).toBe(H);
  expect(map.get("X")).toBe("1");
  for (
    const gone of [
      "YARN_NO_PROXY",
      "CODEX_NETWORK_PROXY_ATTRIBUTION",
      "CODEX_SANDBOX_NETWORK_DISABLED",
      "CLOUDSDK_PROXY_USERNAME",
      "FTPS_PROXY",
    ]
  ) {
    expect(map.has(gone)).toBe(false);
  }
  expect(map.get("JAVA_TOOL_OPTIONS")).toStartWith(
    "-Xmx1g -Dhttp.proxyHost=127.0.0.1",
  );
  expect(map.get("JAVA_TOOL_OPTIONS")).not.toContain("corp");
  expect(map.get("GIT_SSH_COMMAND")).toBe(
    "ssh -i key -o ProxyCommand='/dev/codex-linux-sandbox proxy-connect %h %p'",
  );
});

test("proxy URLs with a password leave, whatever their variable is called", () => {
  expect(withoutProxySecrets(entries(
    "CARGO_HTTP_PROXY=http://u:secret@corp:3128",
    "my_proxy=u:secret@corp:3128",
    "TUNNEL=socks5://u:secret@corp:1080",
    "GOPROXY=https://proxy.test,direct",
    "DATABASE=postgres://u:p@db/x",
    "PROXY=http://corp:3128",
    "NOT AN ENTRY",
  ))).toEqual(entries(
    "GOPROXY=https://proxy.test,direct",
    "DATABASE=postgres://u:p@db/x",
    "PROXY=http://corp:3128",
    "NOT AN ENTRY",
  ));
});

test("the caller's own proxy leaves every variable of a JVM's options", () => {
  const map = seen(entries(
    "MAVEN_OPTS=-Xmx1g -Dhttp.proxyHost=corp -Dhttps.proxyPassword=secret -Da=b",
    "GRADLE_OPTS=-DsystemProp.http.proxyUser=u -Xss2m",
    "_JAVA_OPTIONS=-DsocksProxyHost=corp -Djava.net.socks.password=secret",
    "JAVA_OPTS=-Da.b='c  d'",
    "OTHER=-Dhttp.proxyHost=corp",
  ));
  expect(
    ["MAVEN_OPTS", "GRADLE_OPTS", "_JAVA_OPTIONS", "JAVA_OPTS", "OTHER"]
      .map((name) => map.get(name)),
  ).toEqual([
    "-Xmx1g -Da=b",
    "-Xss2m",
    "",
    "-Da.b='c  d'",
    "-Dhttp.proxyHost=corp",
  ]);
});

const BYPASS = [ // allowed, names that bypass, why
  [[], ["localhost", "127.0.0.1", "::1"], "the command's own servers"],
  [["localhost"], ["127.0.0.1", "::1"], "localhost of the host is wanted"],
  [["127.0.0.1:5432"], ["localhost", "::1"], "on one port"],
  [["127.0.0.0/8"], ["localhost", "::1"], "by a range"],
  [["*"], ["localhost", "127.0.0.1", "::1"], "a star names nobody"],
  [["127.*", "local*"], ["localhost", "127.0.0.1", "::1"], "nor does a part"],
  [["0.0.0.0/0"], ["localhost", "127.0.0.1", "::1"], "nor all addresses"],
] as const;
for (const [allowed, names, why] of BYPASS) {
  test(`${JSON.stringify(allowed)} bypasses ${names}: ${why}`, () => {
    expect(bypassedNames(policyOf(...allowed))).toEqual([...names]);
  });
}

test("what is refused on the host bypasses the proxy, and a part of a name counts where local addresses are open", () => {
  const open = { ...policyOf("local*", "127.0.0.1"), allowLocalBinding: true };
  expect(bypassedNames(open)).toEqual(["::1"]);
  const [allowed] = open.rules;
  if (allowed === undefined) throw new Error("no rule");
  const rules = [...open.rules, { ...allowed, access: "deny" as const }];
  expect(bypassedNames({ ...open, rules })).toEqual(["localhost", "::1"]);
});

test("proxy-connect finds the listener in the variables", () => {
  const environment = proxiedEnvironment([], PROXY);
  expect(proxyEndpoint(environment, "HTTPS_PROXY")).toEqual({
    scheme: "http",
    port: 8001,
  });
  expect(proxyEndpoint(environment, "ALL_PROXY")).toEqual({
    scheme: "socks5h",
    port: 8002,
  });
  expect(proxyEndpoint(entries("HTTPS_PROXY=http://corp:1"), "HTTPS_PROXY"))
    .toBeNull();
});
