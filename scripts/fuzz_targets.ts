/**
 * What `scripts/fuzz.ts` can be pointed at: each property is one test, by its file and title, and says what must hold.
 *
 * @module
 */

/** A file below `tests/` and the titles of its fuzz tests. */
export type Properties = readonly (readonly [string, string])[];

export const TARGETS: Readonly<Record<string, Properties>> = {
  toml: [[
    "config/fuzz_test.ts",
    "both TOML parsers read the same, and every value has a place",
  ]],
  overrides: [
    [
      "config/fuzz_test.ts",
      "a value of -c is what the exact parser reads, or the text itself",
    ],
    [
      "policy/fuzz_test.ts",
      "-c: what we accept, spelled out, is the same key and the same string",
    ],
  ],
  "permission-json": [
    [
      "policy/fuzz_test.ts",
      "JSON: what we accept, JSON.parse accepts with the same value",
    ],
    [
      "policy/fuzz_test.ts",
      "profiles: what we accept is written, read again and written the same",
    ],
  ],
  "state-json": [[
    "policy/fuzz_test.ts",
    "states: what we accept has a normal absolute directory and a profile that can be read",
  ]],
  argv: [
    [
      "cli/fuzz_test.ts",
      "what helper accepts means the same in its plainest spelling",
    ],
    [
      "cli/fuzz_test.ts",
      "what sandbox accepts means the same in its plainest spelling",
    ],
  ],
  "http-heads": [
    [
      "egress/fuzz_test.ts",
      "a request that is accepted is forwarded as one unambiguous request for the judged host",
    ],
    [
      "egress/fuzz_test.ts",
      "a head is found at the same place however it arrives",
    ],
    ["egress/fuzz_test.ts", "a response head never throws"],
    [
      "egress/other_readers_test.ts",
      "a forwarded request is one request to llhttp, with our target, our fields and our body",
    ],
    [
      "egress/other_readers_test.ts",
      "a response that is passed on is one response to llhttp, with our status, our fields and our body",
    ],
  ],
  "http-bodies": [
    [
      "egress/fuzz_test.ts",
      "a chunked body decodes alike however it is cut, and never beyond its end",
    ],
    [
      "egress/other_readers_test.ts",
      "a chunked body that is read to its end has the same bytes and the same end for llhttp",
    ],
  ],
  socks: [
    [
      "egress/fuzz_test.ts",
      "SOCKS messages are read alike however they are cut, and name one host",
    ],
    [
      "egress/other_readers_test.ts",
      "a SOCKS request that is accepted has the host, the port and the end that RFC 1928 gives it",
    ],
  ],
  "tls-hello": [[
    "egress/fuzz_test.ts",
    "a ClientHello is read alike however it is cut",
  ]],
  domains: [
    [
      "egress/fuzz_test.ts",
      "a host is its own normal form, and the runtime's URL parser reads no other",
    ],
    [
      "egress/fuzz_test.ts",
      "a pattern means the same as its normal form",
    ],
    [
      "egress/other_readers_test.ts",
      "a domain pattern matches what its regular expression matches, and a deny covers its allow",
    ],
  ],
  gitdir: [[
    "policy/other_readers_test.ts",
    "the directory that git takes a pointer to name is one of those that are protected, or the pointer is refused",
  ]],
  globs: [
    [
      "policy/fuzz_test.ts",
      "globs: a match lies below the prefix, and an escaped path matches itself alone",
    ],
    [
      "policy/other_readers_test.ts",
      "a glob matches what the runtime's matcher matches",
    ],
  ],
};
