import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { type ByteString, fromText } from "../src/bytes.ts";
import { runConfigCommand, runPolicyCommand } from "../src/commands.ts";
import type { CommandOutput } from "../src/commands/output.ts";
import { describe, type Failure } from "../src/failure.ts";
import type { Origin } from "../src/host/origin.ts";
import { abs } from "../src/policy/path.ts";
import type { Result } from "../src/result.ts";

const SESSION = { overrides: [], features: [], configProfile: null };
const CONFIG = `default_permissions = "ci"
model = "x"

[permissions.ci]
description = "Build\\u0007"

[permissions.ci.filesystem]
":root" = "read"

[permissions.ci.filesystem.":workspace_roots"]
"." = "write"
"*.env" = "deny"
`;

let root = "";
let caller: Origin;
beforeAll(() => {
  root = realpathSync(mkdtempSync(`${tmpdir()}/commands-`));
  mkdirSync(`${root}/home`);
  mkdirSync(`${root}/w`);
  writeFileSync(`${root}/home/config.toml`, CONFIG);
  writeFileSync(`${root}/w/a.env`, "");
  const environment = [`CODEX_HOME=${root}/home`, "PATH=/usr/bin"];
  caller = {
    words: [],
    environment: environment as unknown as ByteString[],
    cwd: abs(`${root}/w`),
    uid: process.getuid?.() ?? 0,
    euid: process.geteuid?.() ?? 0,
    gid: 0,
    egid: 0,
  };
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function output(result: Result<CommandOutput, Failure>): CommandOutput {
  if (!result.ok) throw new Error(describe(result.error));
  const tidy = (text: string): string => text.replaceAll(root, "ROOT");
  const { stdout, stderr, status } = result.value;
  return { stdout: tidy(stdout), stderr: tidy(stderr), status };
}

function why(
  operation: "read" | "write" | "exec",
  path: string,
): CommandOutput {
  return output(runPolicyCommand({
    kind: "policy_why",
    profile: null,
    cd: null,
    operation,
    paths: [fromText(path)],
    format: "text",
    config: SESSION,
  }, caller));
}

test("policy why finds a glob's match and names its line", () => {
  const { stdout, status } = why("read", "a.env");
  expect(status).toBe(1);
  expect(stdout).toStartWith(
    'denied (EACCES): read ROOT/w/a.env\n  because glob "ROOT/w/*.env" = "deny" matches "ROOT/w/a.env" [ROOT/home/config.toml:12:',
  );
});

test("policy why protects CODEX_HOME and lets the workspace be written", () => {
  expect(why("write", "new").status).toBe(0);
  expect(why("write", ".git").status).toBe(1);
  expect(why("write", `${root}/home/config.toml`).status).toBe(1);
});

test("policy list marks the selected profile and escapes what a terminal would obey", () => {
  const { stdout, status } = output(
    runPolicyCommand(
      { kind: "policy_list", format: "text", config: SESSION },
      caller,
    ),
  );
  expect(status).toBe(0);
  expect(stdout).toContain("  :read-only           Read everything");
  expect(stdout).toMatch(/^\* ci +Build\\x07 {2}\[ROOT\/home\/config.toml:4/m);
});

test("config show names keys with their places and leaves other tools' out", () => {
  const options = { kind: "config_show", showsOrigins: true } as const;
  const { stdout } = output(
    runConfigCommand({ ...options, format: "text", config: SESSION }, caller),
  );
  expect(stdout).toStartWith(
    '# profile "ci", chosen by ROOT/home/config.toml:1:',
  );
  expect(stdout).toContain(
    'permissions.ci.filesystem.":workspace_roots"."*.env" = "deny"  # ROOT/home/config.toml:12:',
  );
  expect(stdout).not.toContain("model");
});

test("config check doubts a one-level glob", () => {
  const { stdout, status } = output(
    runConfigCommand(
      { kind: "config_check", file: null, config: SESSION },
      caller,
    ),
  );
  expect(status).toBe(1);
  expect(stdout).toContain(
    'glob "ROOT/w/*.env" matches in "ROOT/w" only, not below: "ROOT/w/**/*.env" matches at any depth',
  );
  expect(stdout).toEndWith("1 warning\n");
});

test("config check names the line of a glob that can't be expanded", () => {
  symlinkSync(root, `${root}/w/all.env`);
  try {
    const { stdout, status } = output(
      runConfigCommand(
        { kind: "config_check", file: null, config: SESSION },
        caller,
      ),
    );
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /^ROOT\/home\/config\.toml:12:11: Cannot expand glob "ROOT\/w\/\*\.env": "ROOT\/w\/all\.env" matches and is a link to "ROOT", which holds/,
    );
  } finally {
    rmSync(`${root}/w/all.env`);
  }
});

test("config check of one file that is no TOML is a finding", () => {
  writeFileSync(`${root}/bad.toml`, "a = = 1\n");
  const { stdout, status } = output(
    runConfigCommand({
      kind: "config_check",
      file: fromText(`${root}/bad.toml`),
      config: SESSION,
    }, caller),
  );
  expect(status).toBe(1);
  expect(stdout).toStartWith("ROOT/bad.toml:1:");
});

test("config schema describes every key of a profile", () => {
  const { stdout } = output(
    runConfigCommand({ kind: "config_schema" }, caller),
  );
  const schema = JSON.parse(stdout);
  const profile = schema.properties.permissions.additionalProperties;
  expect(schema.$schema).toBe("http://json-schema.org/draft-07/schema#");
  expect(Object.keys(profile.properties)).toContain("filesystem");
  expect(schema.additionalProperties).toBe(true);
  const bare = [...stdout.matchAll(/"description": ""/g)];
  expect(bare).toEqual([]);
});
