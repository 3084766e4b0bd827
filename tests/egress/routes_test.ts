import { expect, test } from "bun:test";
import {
  attributionPreface,
  outsideManaged,
  parseManagedNetwork,
  parseRouteSpec,
  planRoutes,
  rewriteEnvironment,
  rewriteProxyUrl,
} from "../../src/egress/routes.ts";

const URLS = [ // value, rewritten to port 99 or null, why
  ["http://127.0.0.1:18080", "http://127.0.0.1:99", "plain"],
  [
    "http://u:p@127.0.0.1:18080/a/b?c#d",
    "http://u:p@127.0.0.1:99/a/b?c#d",
    "all parts stay",
  ],
  ["127.0.0.1:18080", "127.0.0.1:99", "no scheme stays without"],
  ["localhost:3128", "127.0.0.1:99", "localhost"],
  ["LOCALHOST", "127.0.0.1:99", "the default port"],
  ["http://[::1]:3128/", "http://127.0.0.1:99/", "IPv6 loopback"],
  ["socks5h://127.0.0.1", "socks5h://127.0.0.1:99", "the port of SOCKS"],
  [" http://127.0.0.1:1 ", "http://127.0.0.1:99", "white space around"],
  ["http://127.0.0.2:3128", null, "another loopback address"],
  ["http://127.0.0.1:0", null, "port 0"],
  ["http://127.0.0.1:65536", null, "no port"],
  ["http://proxy.corp:3128", null, "not the loopback"],
  ["http://127.0.0.1.evil.test:3128", null, "a longer name"],
  ["http://127.0.0.1:1@evil.test:3128", null, "loopback as user"],
  ["", null, "empty"],
] as const;
for (const [value, wanted, why] of URLS) {
  test(`${JSON.stringify(value)} becomes ${wanted}: ${why}`, () => {
    expect(rewriteProxyUrl(value, 99)).toBe(wanted);
  });
}

test("routes are sorted by name, endpoints are there once, others pass untouched", () => {
  expect(planRoutes([
    "https_proxy=http://localhost:2",
    "HTTP_PROXY=http://127.0.0.1:1",
    "ALL_PROXY=socks5h://127.0.0.1:2",
    "FTP_PROXY=http://corp:3",
    "PATH=/bin",
  ])).toEqual({
    ok: true,
    value: {
      routes: [
        { name: "ALL_PROXY", endpoint: 0 },
        { name: "HTTP_PROXY", endpoint: 1 },
        { name: "https_proxy", endpoint: 0 },
      ],
      endpoints: [
        { address: "127.0.0.1", port: 2 },
        { address: "127.0.0.1", port: 1 },
      ],
    },
  });
});

const CLOSED = [ // environment, message, why
  [
    ["PATH=/bin"],
    "managed proxy mode requires proxy environment variables",
    "none",
  ],
  [
    ["HTTP_PROXY="],
    "managed proxy mode requires proxy environment variables",
    "empty",
  ],
  [
    ["HTTP_PROXY=http://corp:1"],
    "managed proxy mode requires parseable loopback proxy endpoints",
    "not loopback",
  ],
  [
    ["HTTP_PROXY=http://127.0.0.2:1"],
    "managed proxy mode requires parseable loopback proxy endpoints",
    "127.0.0.2",
  ],
  [
    ["HTTP_PROXY=http://127.0.0.1:0"],
    "managed proxy mode requires parseable loopback proxy endpoints",
    "port 0",
  ],
  [
    ["GRPC_PROXY=http://127.0.0.1:1"],
    "managed proxy mode requires proxy environment variables",
    "a variable that the reference doesn't know",
  ],
] as const;
for (const [environment, message, why] of CLOSED) {
  test(`${environment} fails closed: ${why}`, () => {
    expect(planRoutes(environment)).toEqual({ ok: false, error: message });
  });
}

test("both forms of the specification are read", () => {
  const text =
    '{"routes":[{"env_key":"HTTP_PROXY","uds_path":"/t/proxy-route-1.sock"},{"env_key":"ALL_PROXY","control_fd":9}]}';
  const spec = parseRouteSpec(text);
  if (!spec.ok) throw new Error(spec.error);
  expect(spec.value).toEqual([
    { kind: "uds_path", envKey: "HTTP_PROXY", path: "/t/proxy-route-1.sock" },
    { kind: "control_fd", envKey: "ALL_PROXY", fd: 9 },
  ]);
});

const SPECS = [ // text, fragment, why
  ["", "not JSON", "nothing"],
  ['{"routes":[]}', "proxy routing spec contained no routes", "no route"],
  ['{"routes":[{"env_key":"A"}]}', "either uds_path or control_fd", "no way"],
  [
    '{"routes":[{"env_key":"A","control_fd":1}]}',
    "proxy bootstrap channel must not use standard descriptors",
    "stdout",
  ],
  [
    '{"routes":[{"env_key":"A","control_fd":3.5}]}',
    "either uds_path",
    "half a descriptor",
  ],
  [
    '{"routes":[{"env_key":"A=B","control_fd":3}]}',
    "a variable's name",
    "an equals sign",
  ],
  [
    '{"routes":[{"env_key":"A","uds_path":"x"}]}',
    "absolute",
    "a relative path",
  ],
  [
    '{"routes":[{"env_key":"A","control_fd":3},{"env_key":"A","control_fd":4}]}',
    "twice",
    "a duplicate",
  ],
  [
    '{"routes":[{"env_key":"A","control_fd":3,"x":1}]}',
    "a route has",
    "another key",
  ],
  ["[]", "it must be", "a list"],
] as const;
for (const [text, fragment, why] of SPECS) {
  test(`the specification ${text || "(empty)"} is refused: ${why}`, () => {
    const spec = parseRouteSpec(text);
    expect(spec.ok ? "accepted" : spec.error).toContain(fragment);
  });
}

test("the environment is rewritten in place, and a missing key fails", () => {
  const environment = ["A=1", "HTTP_PROXY=http://127.0.0.1:1/", "B=2"];
  const route = { envKey: "HTTP_PROXY" };
  expect(rewriteEnvironment(environment, [route], () => 7)).toEqual({
    ok: true,
    value: ["A=1", "HTTP_PROXY=http://127.0.0.1:7/", "B=2"],
  });
  expect(rewriteEnvironment(["A=1"], [route], () => 7)).toEqual({
    ok: false,
    error: "missing proxy env key HTTP_PROXY",
  });
  // Of duplicates too: which one a program reads is its own choice.
  const twice = [...environment, "HTTP_PROXY=http://corp:3128"];
  expect(rewriteEnvironment(twice, [route], () => 7)).toEqual({
    ok: false,
    error: "proxy env key HTTP_PROXY holds no routable URL",
  });
});

test("0.169's managed network is read strictly, and confines the endpoints", () => {
  const managed = parseManagedNetwork(
    '{"loopbackPorts":[1],"allowLocalBinding":true,"allowUnixSockets":[],"dangerouslyAllowAllUnixSockets":false}',
  );
  if (!managed.ok) throw new Error(managed.error);
  const plan = (port: number): string | null => {
    const planned = planRoutes([`HTTP_PROXY=http://127.0.0.1:${port}`]);
    return planned.ok ? outsideManaged(planned.value, managed.value) : "";
  };
  expect(plan(1)).toBeNull();
  expect(plan(2)).toBe("proxy endpoint is outside the managed sandbox context");
  for (
    const bad of [
      "{",
      "[]",
      '{"x":1}',
      '{"loopbackPorts":[0]}',
      '{"allowLocalBinding":1}',
    ]
  ) {
    expect(parseManagedNetwork(bad).ok).toBe(false);
  }
});

test("the attribution frame is the reference's bytes", () => {
  expect(attributionPreface("tok123")?.toString("hex"))
    .toBe("0043445850585931" + "0006" + "746f6b313233");
  expect(attributionPreface("")).toBeNull();
  expect(attributionPreface("x".repeat(129))).toBeNull();
});
