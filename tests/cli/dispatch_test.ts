import { expect, test } from "bun:test";
import { fromText } from "../../src/bytes.ts";
import { dispatch, type Entry } from "../../src/cli/dispatch.ts";

function entry(argv0: string, line: readonly string[]): unknown {
  const result: Entry = dispatch(fromText(argv0), line.map(fromText));
  return result;
}

const CASES:
  readonly (readonly [string, readonly string[], unknown, string])[] = [
    ["codex-linux-sandbox", ["sandbox"], {
      kind: "helper",
      words: ["sandbox"],
    }, "a bare helper name"],
    ["/a/b/codex-linux-sandbox", [], { kind: "helper", words: [] }, "a path"],
    ["/codex-linux-sandbox/codex", ["--version"], {
      kind: "version",
    }, "only the basename counts"],
    ["codex-linux-sandbox.bak", ["-V"], {
      kind: "version",
    }, "another name is the main CLI"],
    ["", ["--help"], { kind: "help", topic: "codex" }, "an empty name"],
    ["codex", ["sandbox", "--", "true"], {
      kind: "sandbox",
      words: ["--", "true"],
      rootWords: [],
    }, "the common case"],
    ["codex", ["-c", "a=b", "-pwork", "sandbox", "-c", "c=d", "true"], {
      kind: "sandbox",
      words: ["-c", "c=d", "true"],
      rootWords: ["-c", "a=b", "-pwork"],
    }, "session settings may stand before the command"],
    ["codex", ["-c", "sandbox", "sandbox", "x"], {
      kind: "sandbox",
      words: ["x"],
      rootWords: ["-c", "sandbox"],
    }, "a value is no command"],
    ["codex", ["config", "check"], {
      kind: "config",
      words: ["check"],
      rootWords: [],
    }, "config"],
    ["codex", ["sandbox", "clean", "--dry-run"], {
      kind: "clean",
      words: ["--dry-run"],
      rootWords: [],
    }, "clean directly behind sandbox is ours"],
    ["codex", ["sandbox", "--", "clean"], {
      kind: "sandbox",
      words: ["--", "clean"],
      rootWords: [],
    }, "a program called clean stands behind --"],
    ["codex", ["-c", "a=b", "doctor", "--json"], {
      kind: "doctor",
      words: ["--json"],
      rootWords: ["-c", "a=b"],
    }, "doctor"],
    ["codex", ["policy", "list"], {
      kind: "policy",
      words: ["list"],
      rootWords: [],
    }, "policy"],
    ["codex", ["help"], { kind: "help", topic: "codex" }, "help alone"],
    ["codex", ["help", "sandbox"], {
      kind: "help",
      topic: "sandbox",
    }, "help of a command"],
    ["codex", ["help", "codex-linux-sandbox"], {
      kind: "help",
      topic: "helper",
    }, "help of the helper"],
    ["codex", ["proxy-connect", "h", "22"], {
      kind: "proxy_connect",
      host: "h",
      port: "22",
    }, "for ssh"],
    ["/dev/codex-linux-sandbox", ["proxy-connect", "h", "22"], {
      kind: "proxy_connect",
      host: "h",
      port: "22",
    }, "for ssh, by the name inside"],
    ["codex", ["completions", "fish"], {
      kind: "completions",
      shell: "fish",
    }, "a shell"],
    ["codex", ["completions", "--help"], {
      kind: "help",
      topic: "completions",
    }, "help instead of a shell"],
  ];
for (const [argv0, words, expected, why] of CASES) {
  test(`"${argv0}" ${words.join(" ")} is dispatched: ${why}`, () => {
    expect(entry(argv0, words)).toEqual(expected);
  });
}

const REFUSED: readonly (readonly [readonly string[], string, string])[] = [
  [[], "codex needs a command", "one of: sandbox, config, policy"],
  [["sandbx"], "unknown command 'sandbx'", "did you mean 'codex sandbox'?"],
  [["ls"], "unknown command 'ls'", "codex sandbox -- ls"],
  [["nurse"], "unknown command 'nurse'", "codex sandbox -- nurse"],
  [["help", "sandobx"], "no help for 'sandobx'", "codex help sandbox"],
  [["completions"], "codex completions needs a shell", "bash, zsh, fish"],
  [["proxy-connect", "h"], "takes a host and a port", "ProxyCommand"],
  [["proxy-connect", "h", "1", "2"], "takes a host and a port", "ssh"],
  [["completions", "tcsh"], "unknown shell 'tcsh'", "bash, zsh, fish"],
  [
    ["completions", "bash", "x"],
    "unexpected argument 'x' of codex completions",
    "",
  ],
  [["--strict-config", "sandbox", "x"], "'--strict-config' is not", "check"],
  [["--remote", "h", "sandbox", "x"], "'--remote' is only", "leave it out"],
  [["--sandbox", "read-only", "sandbox", "x"], "'--sandbox' chooses", "-P"],
  [["-s", "read-only", "sandbox", "x"], "'--sandbox' chooses", "-P"],
  [["-C", "/x", "sandbox", "x"], "'--cd' before", "-C DIR"],
  [["-C/x", "sandbox", "x"], "'--cd' before", "-C DIR"],
  [["--add-dir=/x", "sandbox", "x"], "'--add-dir' does", "grant it"],
  [
    ["--dangerously-bypass-approvals-and-sandbox", "sandbox", "x"],
    "does not switch this sandbox off",
    "-P :danger-full-access",
  ],
  [["-P", ":workspace", "sandbox", "x"], "is not an option", "after `sandbox`"],
  [["--enabel", "f", "sandbox"], "unexpected argument '--enabel'", "--enable"],
];
for (const [words, message, hint] of REFUSED) {
  test(`codex ${words.join(" ")} is refused with "${message}"`, () => {
    const result = dispatch(fromText("codex"), words.map(fromText));
    expect(result.kind).toBe("usage_error");
    if (result.kind !== "usage_error") return;
    expect(result.error.message).toContain(message);
    if (hint === "") expect(result.error.hint).toBeUndefined();
    else expect(result.error.hint).toContain(hint);
  });
}
