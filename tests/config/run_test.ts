/**
 * The short way of a host without config files, held to the long one.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { plainRun } from "../../src/config/run.ts";
import { load, NO_REQUEST, run, USER, type World } from "./setup.ts";

const PROFILES = [null, ":read-only", ":workspace", ":danger-full-access"];
const ENVIRONMENTS = [[], ["TMPDIR=/var/tmp"], ["TMPDIR=/home/me/t"]];
const PLACES = ["/w", "/", "/home/me", "/tmp/x"];

test("without config files every built-in profile is what an empty config file makes of it", () => {
  for (const permissionProfile of PROFILES) {
    for (const environment of ENVIRONMENTS) {
      for (const cwd of PLACES) {
        const world: World = {
          cwd,
          environment,
          request: { permissionProfile },
          files: { "/var/tmp": "DIR", "/home/me/t": "DIR" },
        };
        const loaded = load(world);
        if (!loaded.ok) throw new Error(loaded.error.message);
        const plain = plainRun(loaded.value, {
          ...NO_REQUEST,
          permissionProfile,
        });
        const long = run({ ...world, files: { ...world.files, [USER]: "" } });
        if (!long.ok) throw new Error(long.error.message);
        expect(plain).not.toBeNull();
        expect(JSON.parse(JSON.stringify(plain)))
          .toEqual(JSON.parse(JSON.stringify({ ...long.value, ownFiles: [] })));
      }
    }
  }
});

const LONG: readonly (readonly [why: string, world: World])[] = [
  ["a config file", { files: { [USER]: "" } }],
  ["an override", { request: { overrides: ["a=1"] } }],
  ["a feature", {
    request: {
      features: [{ feature: "use_legacy_landlock", isEnabled: true }],
    },
  }],
  ["--full-auto", { request: { legacyMode: "workspace_write" } }],
  ["a profile of nobody's", { request: { permissionProfile: "p" } }],
  ["a TMPDIR that needs a warning", {
    request: { permissionProfile: ":workspace" },
    environment: ["TMPDIR=relative"],
  }],
];

for (const [why, world] of LONG) {
  test(`the long way is taken with ${why}`, () => {
    const loaded = load(world);
    if (!loaded.ok) throw new Error(loaded.error.message);
    expect(plainRun(loaded.value, { ...NO_REQUEST, ...world.request }))
      .toBeNull();
  });
}
