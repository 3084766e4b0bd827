import { expect, test } from "bun:test";
import {
  judgeMarkers,
  type Marker,
  possibleTargets,
  registryName,
  targetKey,
} from "../../src/linux/reference_registry.ts";
import { abs } from "../../src/policy/path.ts";

const KEYS = [ // text, key, why: the published vectors of FNV-1a, 64 bits
  ["", "cbf29ce484222325", "nothing"],
  ["a", "af63dc4c8601ec8c", "one byte"],
  ["foobar", "85944171f73967e8", "six bytes"],
] as const;
for (const [text, key, why] of KEYS) {
  test(`the key of "${text}" is ${key}: ${why}`, () => {
    expect(targetKey(text)).toBe(key);
  });
}

const mark = (name: string, text: string, isAlive = false): Marker => ({
  name,
  text,
  isAlive,
});
const VERDICTS = [ // marks, verdict, why
  [[mark("7", "synthetic\n")], { kind: "dead", made: true }, "it made it"],
  [[mark("7", "existing\n")], { kind: "dead", made: false }, "it was there"],
  [
    [mark("7", "existing\n"), mark("8", "synthetic\n")],
    { kind: "dead", made: true },
    "the later one took the earlier one's for its own",
  ],
  [[mark("7", "protected-create\n")], {
    kind: "dead",
    made: false,
  }, "what was only watched is somebody's"],
  [
    [mark("7", "synthetic\n", true), mark("8", "synthetic\n")],
    { kind: "leave", why: "process 7 uses it" },
    "one lives",
  ],
  [[mark("x", "synthetic\n")], {
    kind: "leave",
    why: "there is something unknown in its record",
  }, "no pid"],
  [[mark("7", "else\n")], {
    kind: "leave",
    why: "there is something unknown in its record",
  }, "a text of a later release"],
  [[], { kind: "dead", made: false }, "an empty folder says nothing"],
] as const;
for (const [marks, verdict, why] of VERDICTS) {
  test(`${JSON.stringify(marks)} is ${verdict.kind}: ${why}`, () => {
    expect(judgeMarkers(marks)).toEqual(verdict);
  });
}

test("targets are looked for under the four names, in each directory", () => {
  const targets = possibleTargets([abs("/w"), abs("/")]);
  expect([...targets.values()]).toEqual(
    ["/w/.git", "/w/.agents", "/w/.codex", "/w/.aws"].map(abs).concat(
      ["/.git", "/.agents", "/.codex", "/.aws"].map(abs),
    ),
  );
  expect(targets.get(targetKey("/w/.git"))).toBe(abs("/w/.git"));
  expect(registryName(7)).toBe("codex-bwrap-synthetic-mount-targets-7");
});
