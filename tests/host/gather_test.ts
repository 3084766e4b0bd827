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
import type { ByteString } from "../../src/bytes.ts";
import { NO_OWN_PATHS } from "../../src/policy/facts.ts";
import { gatherFacts } from "../../src/host/gather.ts";
import { access } from "../../src/policy/access.ts";
import { abs } from "../../src/policy/path.ts";
import { policyErrors } from "../../src/policy/refusals.ts";
import { policyOf } from "../policy/world.ts";

let root = "";
beforeAll(() => {
  root = realpathSync(mkdtempSync(`${tmpdir()}/gather-`));
  mkdirSync(`${root}/main/.git/worktrees/w`, { recursive: true });
  mkdirSync(`${root}/w`);
  writeFileSync(`${root}/w/.git`, `gitdir: ../main/.git/worktrees/w\n`);
  writeFileSync(`${root}/main/.git/worktrees/w/commondir`, "../..\n");
  writeFileSync(`${root}/main/.git/config`, "");
  writeFileSync(`${root}/w/x.env`, "");
  symlinkSync("w", `${root}/link`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test("facts of a worktree on this host: pointers followed twice, globs expanded through a linked prefix", () => {
  const policy = policyOf([[":root", "read"], [root, "write"], [
    `${root}/w`,
    "write",
  ]], {
    globs: [`${root}/w/*.env`],
    cwd: `${root}/w`,
  });
  const asked = [`${root}/main/.git/config`, `${root}/link/x.env`].map(abs);
  const euid = process.geteuid?.() ?? 0;
  const facts = gatherFacts({ policy, own: NO_OWN_PATHS, asked, euid });
  if (!facts.ok) throw new Error(facts.error.message);
  expect(policyErrors(policy, facts.value)).toEqual([]);
  const verdicts = asked.map((path) => {
    const write = access(policy, facts.value, path, { kind: "write" });
    return [write.errno, write.decider.kind];
  });
  expect(verdicts).toEqual([["EROFS", "git_pointer"], ["EACCES", "glob"]]);
});

test("without all that the globs hide there are no facts", () => {
  const policy = policyOf([[":root", "read"]], { globs: [`${root}/*.loop`] });
  symlinkSync(".", `${root}/x.loop`);
  const euid = process.geteuid?.() ?? 0;
  const facts = gatherFacts({ policy, own: NO_OWN_PATHS, euid });
  expect(facts.ok ? "facts" : facts.error.message).toContain(
    "which holds the pattern's own directory",
  );
});

test("a pointer of git's that is too long has an empty text, and is refused", () => {
  mkdirSync(`${root}/long`);
  writeFileSync(`${root}/long/.git`, `gitdir: ${"x".repeat(2_000_000)}\n`);
  const policy = policyOf([[":root", "read"], [`${root}/long`, "write"]], {
    cwd: `${root}/long`,
  });
  const euid = process.geteuid?.() ?? 0;
  const facts = gatherFacts({ policy, own: NO_OWN_PATHS, euid });
  if (!facts.ok) throw new Error(facts.error.message);
  expect([...facts.value.gitPointers.values()]).toEqual(["" as ByteString]);
  expect(policyErrors(policy, facts.value).length).toBeGreaterThan(0);
});
