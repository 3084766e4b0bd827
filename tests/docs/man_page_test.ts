import { expect, test } from "bun:test";
import { currentManPage } from "../../scripts/man_page.ts";
import { pageText } from "./examples.ts";

test("docs/codex.1 is what scripts/man_page.ts makes of the flags", () => {
  expect(pageText("docs/codex.1")).toBe(currentManPage());
});

test("the man page holds no date, no path of a machine and no character out of ASCII", () => {
  expect(currentManPage()).not.toMatch(
    /20\d\d-\d\d|\/root|\/home\/[a-z]|[^\n -~]/,
  );
});
