/**
 * `-c`, `--enable`, `--disable`: how words become one table.
 *
 * @module
 */
import { describe, expect, test } from "bun:test";
import {
  type ConfigRequest,
  describeConfigError,
} from "../../src/config/config.ts";
import {
  parseOverride,
  pathOfKey,
  sessionLayer,
} from "../../src/config/override.ts";
import { keyText } from "../../src/config/values.ts";
import { abs } from "../../src/policy/path.ts";
import { NO_REQUEST } from "./setup.ts";

const parse = (text: string): unknown => Bun.TOML.parse(text);

const READ = [ // word, path, value, why
  ["a=1", ["a"], 1, "an integer"],
  ["a=:workspace", ["a"], ":workspace", "a plain string"],
  ['a=":workspace"', ["a"], ":workspace", "the same in quotes"],
  ["a=':workspace'", ["a"], ":workspace", "or single quotes"],
  ["a=", ["a"], "", "an empty value is the empty string"],
  ["  a  =  true  ", ["a"], true, "both halves are trimmed"],
  ["a=trusted", ["a"], "trusted", "a word that begins like true"],
  ["a=10.0.0.1", ["a"], "10.0.0.1", "text that begins like a number"],
  ["a=b=c", ["a"], "b=c", "the first = splits"],
  ['a."b=c"=d', ["a", "b=c"], "d", "one in quotes doesn't"],
  ["a.'b.c'=d", ["a", "b.c"], "d", "single quotes in keys"],
  ['a."b\\"c"=d', ["a", 'b"c'], "d", "an escaped quote in a key"],
  ["a=[1, 2]", ["a"], [1, 2], "a list"],
  ['a={":root"="read"}', ["a"], { ":root": "read" }, "an inline table"],
  [
    "use_legacy_landlock=true",
    ["features", "use_legacy_landlock"],
    true,
    "the bare name is a feature",
  ],
  [
    'permissions.p.filesystem."/opt/a.b"=write',
    ["permissions", "p", "filesystem", "/opt/a.b"],
    "write",
    "a quoted path keeps its dot",
  ],
  [
    "permissions.p.filesystem.:root=read",
    ["permissions", "p", "filesystem", ":root"],
    "read",
    "symbols need no quotes",
  ],
  [
    "permissions.p.filesystem.:workspace_roots.docs=read",
    ["permissions", "p", "filesystem", ":workspace_roots", "docs"],
    "read",
    "a subpath of a symbol",
  ],
  [
    'permissions.p.filesystem."/srv"."a.b"=read',
    ["permissions", "p", "filesystem", "/srv", "a.b"],
    "read",
    "a subpath of a quoted path",
  ],
  [
    'projects."/home/me/x.y".trust_level=trusted',
    ["projects", "/home/me/x.y", "trust_level"],
    "trusted",
    "a quoted project",
  ],
  [
    "projects./home/me/x.trust_level=trusted",
    ["projects", "/home/me/x", "trust_level"],
    "trusted",
    "a project without a dot",
  ],
  ["other.tool.key=1", ["other", "tool", "key"], 1, "dots elsewhere are steps"],
] as const;

describe("-c reads", () => {
  for (const [word, path, value, why] of READ) {
    test(`${word}: ${why}`, () => {
      const override = parseOverride(word, parse);
      expect(override).toEqual(
        { ok: true, value: { path, value } } as unknown as typeof override,
      );
    });
  }
});

const REFUSED = [ // word, fragment, why
  ["foo", "Invalid override (missing '=')", "no ="],
  ["=x", "Empty key in override", "no key"],
  ['"a=b', "unclosed quote", "a quote that never ends"],
  ["a..b=1", "empty part", "two dots"],
  ['a="b', "neither one TOML value nor a plain string", "a broken string"],
  ["a=[1", "neither one TOML value nor a plain string", "a broken list"],
  ["a={b=1", "neither one TOML value nor a plain string", "a broken table"],
  [
    'a="b"\nc="d"',
    "neither one TOML value nor a plain string",
    "a value that brings a key of its own",
  ],
  [
    "permissions.p.filesystem./opt/a.b=write",
    'permissions.p.filesystem."/opt/a.b"=…',
    "a dot inside a path names another path",
  ],
  [
    "permissions.p.filesystem.:workspace_roots.a.b=write",
    'permissions.p.filesystem.:workspace_roots."a.b"=…',
    "a dot inside a subpath",
  ],
  [
    "permissions.p.filesystem.:workspace_roots..=write",
    'permissions.p.filesystem.:workspace_roots."."=…',
    "the subpath . itself",
  ],
  [
    "permissions.p.network.domains.example.com=allow",
    'permissions.p.network.domains."example.com"=…',
    "a dot inside a host",
  ],
  [
    "features.network_proxy.domains.example.com=allow",
    'features.network_proxy.domains."example.com"=…',
    "the same in the overlay",
  ],
  [
    "permissions.p.network.unix_sockets./run/docker.sock=allow",
    'permissions.p.network.unix_sockets."/run/docker.sock"=…',
    "a dot inside a socket's path",
  ],
  [
    "permissions.p.workspace_roots./srv/x.y=true",
    'permissions.p.workspace_roots."/srv/x.y"=…',
    "a dot inside a root",
  ],
  [
    "projects./home/me/x.y.trust_level=trusted",
    'projects."/home/me/x.y".trust_level=…',
    "a dot inside a project",
  ],
] as const;

describe("-c refuses", () => {
  for (const [word, fragment, why] of REFUSED) {
    test(`${JSON.stringify(word)}: ${why}`, () => {
      const override = parseOverride(word, parse);
      expect(override.ok ? "accepted" : describeConfigError(override.error))
        .toContain(fragment);
    });
  }
});

function session(request: Partial<ConfigRequest>): unknown {
  const layer = sessionLayer({ ...NO_REQUEST, ...request }, {
    cwd: abs("/w"),
    parse,
  });
  if (!layer.ok) return describeConfigError(layer.error);
  return layer.value === null ? null : layer.value.table;
}

const LAYERS: readonly (readonly [Partial<ConfigRequest>, unknown, string])[] =
  [
    [{}, null, "nothing said, no layer"],
    [{ overrides: ["a=1", "a=2"] }, { a: 2 }, "later words win"],
    [
      { overrides: ["a.b=1", "a.c=2"] },
      { a: { b: 1, c: 2 } },
      "tables grow",
    ],
    [
      { overrides: ["a={b=1}", "a.c=2"] },
      { a: { b: 1, c: 2 } },
      "an inline table grows too",
    ],
    [
      { overrides: ["a=1", "a.b=2"] },
      { a: { b: 2 } },
      "a value in the way goes",
    ],
    [
      {
        overrides: ["features.use_legacy_landlock=false"],
        features: [{ feature: "use_legacy_landlock", isEnabled: true }],
      },
      { features: { use_legacy_landlock: true } },
      "--enable beats -c (fact 83)",
    ],
    [
      {
        features: [
          { feature: "network_proxy", isEnabled: true },
          { feature: "network_proxy", isEnabled: false },
        ],
      },
      { features: { network_proxy: false } },
      "the later switch wins",
    ],
    [
      {
        overrides: ["features.network_proxy={mode='limited'}"],
        features: [{ feature: "network_proxy", isEnabled: false }],
      },
      { features: { network_proxy: { mode: "limited", enabled: false } } },
      "a switch keeps the table it switches",
    ],
    [
      {
        overrides: [
          "features.network_proxy={domains={a='allow'}}",
          "features.network_proxy=false",
        ],
      },
      {
        features: {
          network_proxy: { domains: { a: "allow" }, enabled: false },
        },
      },
      "so does -c that says no more than the switch",
    ],
    [
      { overrides: ["a={b={c=1}}", "a={b={d=2}}"] },
      { a: { b: { c: 1, d: 2 } } },
      "a table is laid over a table, as a layer over a layer",
    ],
    [
      {
        overrides: ["default_permissions=:workspace"],
        permissionProfile: ":read-only",
      },
      { default_permissions: ":read-only" },
      "-P beats -c (fact 20)",
    ],
    [
      { features: [{ feature: "network_prxy", isEnabled: true }] },
      "--enable network_prxy: Unknown feature flag: network_prxy (did you mean network_proxy?)",
      "an unknown feature",
    ],
  ];

describe("the session layer", () => {
  for (const [request, table, why] of LAYERS) {
    test(why, () => {
      expect(session(request)).toEqual(table);
    });
  }
});

test("a key that a message shows can be read back", () => {
  const paths = [["a"], ["a b", "c"], ["/x.y", 'q"\\', "ü"], ["", "."]];
  expect(paths.map((path) => pathOfKey(keyText(path)))).toEqual(paths);
});
