/**
 * What is advised where a host can't be reached: only what would really help.
 *
 * @module
 */
import { expect, test } from "bun:test";
import {
  domainsTableOf,
  type NetworkLack,
  networkLackOf,
} from "../../src/config/network_rules.ts";
import { REQUIREMENTS, runs, USER, type World } from "./setup.ts";

const HOSTS = "[permissions.p.network.domains]\na = 'allow'\n";

const LACKS: readonly (readonly [World, NetworkLack, string])[] = [
  [{ request: { permissionProfile: ":workspace" } }, "built_in", "a built-in"],
  [{ files: { [USER]: "[permissions.p]\n" } }, "unsaid", "no word of it"],
  [
    { files: { [USER]: `[permissions.p.network]\nenabled = false\n${HOSTS}` } },
    "disabled",
    "hosts, and no network",
  ],
  [
    {
      files: { [USER]: HOSTS },
      request: { overrides: ["features.network_proxy=false"] },
    },
    "switched_off",
    "hosts, and no proxy",
  ],
  [
    {
      files: {
        [USER]: HOSTS,
        [REQUIREMENTS]: "[experimental_network]\nenabled = false\n",
      },
    },
    "required",
    "the administrator's word",
  ],
];
for (const [world, lack, why] of LACKS) {
  test(`a profile without a network lacks it for a reason: ${why}`, () => {
    const { name, network } = runs({
      ...world,
      request: { permissionProfile: "p", ...world.request },
    });
    expect([
      network.mode,
      networkLackOf(name, network.table, network.requirements),
    ]).toEqual(["none", lack]);
  });
}

const TABLES: readonly (readonly [string, string, string])[] = [
  [
    "domains = { b = 'allow' }",
    "[permissions.p.network.domains]",
    "hosts of both count",
  ],
  [
    "managed_allowed_domains_only = true",
    "[experimental_network.domains] of the administrator's requirements",
    "a line of the profile would change nothing",
  ],
];
for (const [required, table, why] of TABLES) {
  test(`beside the administrator's ${required} a host belongs in ${table}: ${why}`, () => {
    const { name, network } = runs({
      files: {
        [USER]: `default_permissions = "p"\n${HOSTS}`,
        [REQUIREMENTS]: `[experimental_network]\n${required}\n`,
      },
    });
    expect(domainsTableOf(name, network.rules)).toBe(table);
  });
}
