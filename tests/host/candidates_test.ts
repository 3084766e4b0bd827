/** Where a command is looked for. */
import { expect, test } from "bun:test";
import type { ByteString } from "../../src/bytes.ts";
import { searchPath } from "../../src/host/candidates.ts";

test("PATH is read as execvp(3) reads it", () => {
  expect(searchPath("/a::b:" as ByteString)).toEqual(["/a", ".", "b", "."]);
  expect(searchPath(null)).toEqual(["/bin", "/usr/bin"]);
});
